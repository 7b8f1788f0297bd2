/* SPDX-License-Identifier: MIT */
/*
 * A program four times as large as its memory, without a disk.
 *
 * 4 MiB of a space live in 1 MiB of frames: what was not used for longest is compressed (LZ4) into
 * a store, which is all the page file there is.  Every page is written, then read again.
 */
#include <quire/quire.h>

#include "codec.h"
#include "soft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 256, PAGES = 1024, STORE = 1 << 20, LINES = 64 };

/* Where frame 1 is. */
static void *frames;

/* A store with STORE bytes of memory, as a page file of this manager. */
static struct quire_store *page_to_store(struct quire *q)
{
    static struct quire_codec codec;
    struct quire_store *store;
    struct quire_pagefile *file;
    struct quire_store_config config = {.memory = aligned_alloc(64, STORE),
                                        .memory_size = STORE,
                                        .size = PAGES * QUIRE_PAGE_SIZE,
                                        .codec = &codec,
                                        .direct_map = frames,
                                        .first_frame = 1};

    codec = lz4_codec();
    if (quire_store_create(&config, &store) ||
        quire_pagefile_add(q, &quire_store_pager, store, config.size, 0, QUIRE_PAGEFILE_CHECKSUM,
                           &file))
        exit(1);
    return store;
}

/* What a page holds: lines of a log. */
static void page_text(char *text, unsigned page)
{
    memset(text, 0, QUIRE_PAGE_SIZE);
    for (unsigned i = 0; i < LINES; i++)
        snprintf(text + i * QUIRE_PAGE_SIZE / LINES, QUIRE_PAGE_SIZE / LINES,
                 "%08u line %u of page %u: all is well, nothing to report", page * 7919 + i, i,
                 page);
}

int main(void)
{
    struct soft_config machine = {.cpus = 1, .first_frame = 1, .frame_count = FRAMES};
    frames = machine.direct_map = aligned_alloc(QUIRE_PAGE_SIZE, FRAMES * QUIRE_PAGE_SIZE);
    struct soft_machine *m =
        soft_machine_init(aligned_alloc(64, soft_machine_size(&machine)), &machine);
    struct quire_config config = {.first_frame = 1,
                                  .frame_count = FRAMES,
                                  .max_spaces = 4,
                                  .max_slots = PAGES,
                                  .direct_map = frames,
                                  .machine = m};
    config.arena_size = quire_arena_size(&config);
    config.arena = aligned_alloc(64, (config.arena_size + 63) & ~(size_t)63);

    struct quire *q;
    struct quire_space *space;
    vaddr_t at = 0;
    if (quire_create(&config, &q) || quire_add_frames(q, 1, FRAMES))
        return 1;
    struct quire_store *store = page_to_store(q);
    if (quire_space_create(q, &space) ||
        quire_map(space, &at, PAGES * QUIRE_PAGE_SIZE, QUIRE_WRITE, 0))
        return 1;

    static char text[QUIRE_PAGE_SIZE], again[QUIRE_PAGE_SIZE];
    soft_cpu_run(&m->cpus[0], q, space);
    for (unsigned i = 0; i < PAGES; i++) {
        page_text(text, i);
        if (soft_store(&m->cpus[0], at + i * QUIRE_PAGE_SIZE, text, sizeof text))
            return 1;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        page_text(text, i);
        if (soft_load(&m->cpus[0], at + i * QUIRE_PAGE_SIZE, again, sizeof again) ||
            memcmp(text, again, sizeof text) != 0)
            return 1;
    }
    struct quire_store_info info;
    quire_store_info(store, &info);
    printf("%u pages in %u frames; in the store %llu pages in %llu KiB\n", PAGES, FRAMES,
           (unsigned long long)info.pages, (unsigned long long)info.used >> 10);
    return quire_check(q); /* the auditor recounts everything: 0 differences */
}
