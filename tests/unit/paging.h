/* SPDX-License-Identifier: MIT */
/*
 * What the tests of paging share: a world with one page file, and the steps by which a page goes.
 *
 * The device is an array of bytes (tests/host/pager.h), full of a pattern that no test writes.
 * finish_pages() wants every slot back.
 */
#ifndef TESTS_UNIT_PAGING_H
#define TESTS_UNIT_PAGING_H

#include "pager.h"
#include "unit.h"

#include "workset.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64, KEEP = 4 };

struct fixture {
    struct unit u;
    struct test_file file;
    struct quire_pagefile *pagefile;
    uint8_t *device;
};

static inline void begin_pages(struct fixture *f, struct test_options options)
{
    const size_t size = (size_t)SLOTS << QUIRE_PAGE_SHIFT;

    options.max_slots = options.max_slots ? options.max_slots : SLOTS;
    options.max_sections = 2;
    options.keep_free = options.keep_free ? options.keep_free : KEEP;
    begin_with(&f->u, &options);
    f->device = malloc(size);
    memset(f->device, 0xa5, size);
    test_file_init(&f->file, &f->u.w, f->device, size);
    f->pagefile = test_file_page_to(&f->file, QUIRE_PAGEFILE_CHECKSUM);
}

static inline void finish_pages(struct fixture *f)
{
    struct quire_pagefile_info info;

    quire_pagefile_info(f->pagefile, &info);
    CHECK(info.used == 0);
    CHECK_OK(quire_pagefile_remove(f->pagefile));
    finish(&f->u);
    free(f->device);
}

/* What has left is written. */
static inline void write_all(struct fixture *f)
{
    while (quire_balance(f->u.w.q))
        audit(&f->u);
    audit(&f->u);
}

/* Pages of a range leave, and are written. */
static inline void send_out(struct fixture *f, struct quire_space *space, uint64_t pages)
{
    CHECK_OK(quire_advise_pages(space, 0, PAGE(pages), QUIRE_PAGES_OUT));
    audit(&f->u);
    write_all(f);
}

/* Frames of standby pages are given away, at most so many; returns how many. */
static inline uint32_t steal(struct fixture *f, uint32_t most)
{
    struct qi_cpu *cpu = qi_enter(f->u.w.q);
    uint32_t count = qi_paged_steal(cpu, most);

    qi_leave(cpu);
    return count;
}

static inline void steal_all(struct fixture *f)
{
    (void)steal(f, UINT32_MAX);
    CHECK(stats_of(&f->u).standby == 0);
    audit(&f->u);
}

/* Passes until whatever may leave has left. */
static inline void pass_all(struct fixture *f)
{
    for (int i = 0; i < 20; i++)
        for (uint64_t left; !qi_pass_slice(f->u.w.q, true, &left);)
            audit(&f->u);
}

/* What may leave has left, and its frames are given away. */
static inline void all_out(struct fixture *f)
{
    pass_all(f);
    write_all(f);
    steal_all(f);
}

#endif
