/* SPDX-License-Identifier: MIT */
/*
 * A compressed store with LZ4, over m, the copy of one page.
 *
 *   soft.store.write.ratio  a page is compressed and kept, in transfers of eight pages;
 *   soft.store.read.ratio   and read back
 *   soft.store.shrink.ratio memory that it takes then, over what it was
 *   soft.store.word.ratio   a page that is zeros is written
 *
 * Pages are what a program has in memory, in turns: one of this program's own file, one of nodes of
 * a list, with pointers and small numbers.  There are 2,048, which is more than the caches near the
 * processor hold, and m is a copy of one of them.  The store's memory was written before, so that
 * no figure includes the operating system's page faults.
 */
#include "parts.h"

#include "codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES = 2048, RUN = 8, TURNS = 5, RUNS = PAGES / RUN, TIMES = TURNS * RUNS };

static unsigned char *frames; /* of PAGES pages, and as many to read into */
static struct quire_store *store;

static void transfer_ended(struct quire_io *io, bool ok)
{
    (void)io;
    expect(ok, "a transfer failed");
}

/* The time of a page, in transfers of all pages from or to the frames from `first` on. */
static double transfer_all(bool write, pfn_t first)
{
    static double times[TIMES];

    for (unsigned i = 0; i < TIMES; i++) {
        unsigned page = i % RUNS * RUN;
        struct quire_io io = {
            .offset = PAGE(page), .pages = RUN, .write = write, .ended = transfer_ended};

        for (unsigned n = 0; n < RUN; n++)
            io.frames[n] = first + page + n;
        struct watch watch = watch_start();
        quire_store_pager.start(store, &io);
        times[i] = watch_stop(watch) / RUN;
    }
    return median(times, TIMES);
}

static double copy_all(void)
{
    static double times[TIMES];

    for (unsigned i = 0; i < TIMES; i++) {
        unsigned char *from = frames + PAGE(i % RUNS * RUN);
        struct watch watch = watch_start();

        for (unsigned n = 0; n < RUN; n++)
            copy_bytes(from + PAGE(PAGES + n), from + PAGE(n), QUIRE_PAGE_SIZE);
        times[i] = watch_stop(watch) / RUN;
    }
    return median(times, TIMES);
}

/* ---- what is in the pages -------------------------------------------------------------------- */

struct node {
    uint64_t next, previous, name;
    uint32_t count, flags;
};

enum { NODES = QUIRE_PAGE_SIZE / sizeof(struct node) };

/* The next page of this program's file, from its beginning again at its end. */
static void page_of_file(unsigned char *to, FILE *file)
{
    while (fread(to, QUIRE_PAGE_SIZE, 1, file) != 1)
        rewind(file);
}

/* The page of a list on a heap, whose nodes are nearly in order. */
static void page_of_list(unsigned char *to, uint64_t number)
{
    struct node *nodes = (struct node *)to;
    const uint64_t heap = UINT64_C(0x55d5c0a00000) + number * QUIRE_PAGE_SIZE;

    for (unsigned i = 0; i < NODES; i++) {
        uint64_t random = number * NODES + i, r = test_random(&random);

        nodes[i] = (struct node){.next = heap + (i + 1 + r % 16) * sizeof *nodes,
                                 .previous = heap + (i - 1) * sizeof *nodes,
                                 .name = heap + (r >> 8 & 0xffff0),
                                 .count = (uint32_t)(r >> 40 & 63),
                                 .flags = (uint32_t)(r >> 50 & 3)};
    }
}

static void pages_make(void)
{
    FILE *file = fopen("/proc/self/exe", "rb");

    expect(file != NULL, "no file of this program");
    for (unsigned i = 0; i < PAGES; i += 2) {
        page_of_file(frames + PAGE(i), file);
        page_of_list(frames + PAGE(i + 1), i);
    }
    fclose(file);
}

/* ---- the figures ----------------------------------------------------------------------------- */

static void store_begin(const struct quire_codec *codec)
{
    struct quire_store_config config = {
        .size = PAGE(PAGES), .codec = codec, .direct_map = frames, .first_frame = 1};

    config.memory_size = quire_store_size(&config) + 2 * PAGE(PAGES);
    config.memory = aligned_alloc(64, (config.memory_size + 63) & ~(size_t)63);
    expect(config.memory != NULL, "no memory");
    memset(config.memory, 1, config.memory_size);
    must(quire_store_create(&config, &store));
}

void bench_store(void)
{
    const struct quire_codec codec = lz4_codec();
    struct quire_store_info info;
    double copy;

    frames = aligned_alloc(QUIRE_PAGE_SIZE, 2 * PAGE(PAGES));
    expect(frames != NULL, "no memory");
    pages_make();
    memset(frames + PAGE(PAGES), 0, PAGE(PAGES));
    copy = copy_all();
    store_begin(&codec);
    figure_part("soft.store", "write.ratio", transfer_all(true, 1) / copy, "ratio");
    quire_store_info(store, &info);
    figure_part("soft.store", "shrink.ratio",
                (double)info.used / ((double)info.pages * QUIRE_PAGE_SIZE), "ratio");
    figure_part("soft.store", "read.ratio", transfer_all(false, 1 + PAGES) / copy, "ratio");
    expect(memcmp(frames, frames + PAGE(PAGES), PAGE(PAGES)) == 0, "a page came back another");
    memset(frames, 0, PAGE(PAGES));
    figure_part("soft.store", "word.ratio", transfer_all(true, 1) / copy, "ratio");
    figure_part("soft.store", "copy.ns", copy, "ns");
}
