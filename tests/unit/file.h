/* SPDX-License-Identifier: MIT */
/*
 * A world with a section over a file, for the tests of both.
 */
#ifndef TESTS_UNIT_FILE_H
#define TESTS_UNIT_FILE_H

#include "pager.h"
#include "unit.h"

enum { FILE_PAGES = 3 * QUIRE_TABLE_ENTRIES / 2 };
static uint8_t disk[FILE_PAGES << QUIRE_PAGE_SHIFT];

struct fixture {
    struct unit u;
    struct test_file file;
    struct quire_section *section;
    struct quire_space *space;
};

/* The byte that the file holds at the start of page n. */
static inline uint8_t stored(unsigned n) { return (uint8_t)(100 + n % 100); }

static inline void fixture_begin_with(struct fixture *f, struct test_options options)
{
    options.max_sections = 4;
    begin_with(&f->u, &options);
    for (size_t i = 0; i < sizeof disk; i++)
        disk[i] = (uint8_t)(stored((unsigned)(i >> QUIRE_PAGE_SHIFT)) + i % QUIRE_PAGE_SIZE % 7);
    test_file_init(&f->file, &f->u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f->file, sizeof disk, &f->section));
    f->space = space_new(&f->u);
}

static inline void fixture_begin(struct fixture *f)
{
    fixture_begin_with(f, (struct test_options){0});
}

static inline void fixture_finish(struct fixture *f)
{
    end(&f->u, f->space);
    quire_section_close(f->section);
    CHECK(f->file.gone);
    finish(&f->u);
}

static inline void view(struct fixture *f, struct quire_space *space, vaddr_t at, uint64_t pages,
                        uint32_t prot, uint32_t flags, uint64_t page)
{
    vaddr_t address = at;

    CHECK_OK(quire_map_view(space, &address, PAGE(pages), prot, flags | QUIRE_MAP_FIXED, f->section,
                            PAGE(page)));
    CHECK(address == at);
    audit(&f->u);
}

static inline uint8_t file_byte(struct fixture *f, uint64_t at)
{
    uint8_t byte = 0;
    size_t done;

    CHECK_OK(quire_section_read(f->section, at, &byte, 1, 0, &done));
    CHECK(done == 1);
    audit(&f->u);
    return byte;
}

static inline void file_put(struct fixture *f, uint64_t at, uint8_t byte)
{
    size_t done;

    CHECK_OK(quire_section_write(f->section, at, &byte, 1, 0, &done));
    CHECK(done == 1);
    audit(&f->u);
}

#endif
