/* SPDX-License-Identifier: MIT */
/*
 * A file for tests.  See pager.h.
 */
#include "pager.h"

#include <stdlib.h>
#include <string.h>

/* The page of frame `pfn`, where the world keeps it. */
static uint8_t *frame_bytes(const struct test_file *file, pfn_t pfn)
{
    const struct test_world *world = file->world;

    return (uint8_t *)world->config.direct_map +
           ((uint64_t)(pfn - world->config.first_frame) << QUIRE_PAGE_SHIFT);
}

static void page_store(const struct test_file *file, uint64_t size, size_t at, const uint8_t *page)
{
    size_t kept = at >= size                    ? 0
                  : size - at < QUIRE_PAGE_SIZE ? (size_t)(size - at)
                                                : QUIRE_PAGE_SIZE;

    memcpy(file->bytes + at, page, kept);
    memset(file->bytes + at + kept, 0, QUIRE_PAGE_SIZE - kept);
}

static void transfer(struct test_file *file, struct quire_io *io)
{
    bool ok = !(io->write ? file->fail_writes : file->fail_reads) &&
              !(file->fails && file->fails(file, io));
    uint64_t size = io->section ? quire_section_size(io->section) : file->capacity;
    uint32_t moved = ok ? io->pages : io->pages / 2;

    for (uint32_t i = 0; i < moved; i++) {
        size_t at = (size_t)io->offset + i * QUIRE_PAGE_SIZE;
        uint8_t *page = frame_bytes(file, io->frames[i]);

        if (at + QUIRE_PAGE_SIZE > file->capacity)
            abort(); /* beyond what a section over this file can have */
        if (io->write)
            page_store(file, size, at, page);
        else
            memcpy(page, file->bytes + at, QUIRE_PAGE_SIZE);
    }
    if (ok && !io->write && file->corrupts) {
        frame_bytes(file, io->frames[0])[QUIRE_PAGE_SIZE / 2] ^= 1;
        file->corrupts = false;
    }
    *(io->write ? &file->failed_writes : &file->failed_reads) += !ok;
    quire_io_done(io, ok);
}

static void file_start(void *cookie, struct quire_io *io)
{
    struct test_file *file = cookie;

    *(io->write ? &file->writes : &file->reads) += 1;
    *(io->write ? &file->pages_written : &file->pages_read) += io->pages;
    if (!file->late) {
        transfer(file, io);
        return;
    }
    if (file->waiting_count == TEST_FILE_WAITING)
        abort();
    file->waiting[file->waiting_count++] = io;
}

static void file_gone(void *cookie)
{
    struct test_file *file = cookie;

    file->gone++;
}

void test_file_init(struct test_file *file, struct test_world *world, uint8_t *bytes,
                    size_t capacity)
{
    *file = (struct test_file){.world = world, .bytes = bytes, .capacity = capacity};
}

const struct quire_pager test_file_pager = {.start = file_start, .gone = file_gone, .stable = true};

struct quire_pagefile *test_file_page_to(struct test_file *file, uint32_t flags)
{
    struct quire_pagefile *out;

    if (quire_pagefile_add(file->world->q, &test_file_pager, file, file->capacity, 0, flags,
                           &out) != QUIRE_OK)
        abort();
    return out;
}

enum quire_status test_file_open(struct test_file *file, uint64_t size, struct quire_section **out)
{
    static const struct quire_pager unstable = {.start = file_start, .gone = file_gone};
    static const struct quire_pager memory = {.gone = file_gone};

    return quire_section_create(file->world->q, size,
                                !file->bytes     ? &memory
                                : file->unstable ? &unstable
                                                 : &test_file_pager,
                                file, out);
}

void test_file_end(struct test_file *file, unsigned index)
{
    struct quire_io *io = file->waiting[index];

    file->waiting[index] = file->waiting[--file->waiting_count];
    transfer(file, io);
}
