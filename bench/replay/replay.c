/* SPDX-License-Identifier: MIT */
/*
 * replay TRACE...: recorded programs in less memory than they touch, with quire itself.
 *
 * For each trace (tools/pagesim/trace.h) a program loads and stores what the recorded one did, on
 * the soft machine, over a page file that is as fast as memory.  It is given frames for a part of
 * the pages that it ever touches, and as many more as tables and records take.  What counts is how
 * often it waits for the page file, over how often it would under the optimum, which knows the
 * future (Belady: A study of replacement algorithms, 1966).
 *
 *   paging.vs_optimum.75pct, .50pct, .25pct        waits for the page file over the optimum's; the
 *                                                  geometric mean over all traces
 *   paging.vs_optimum_pages.75pct, .50pct, .25pct  pages read, neighbours that come along included,
 *                                                  over the optimum's, which reads one at a time
 *   paging.run.100pct, .75pct, .50pct, .25pct      processor time of the run over that with memory
 *                                                  for twice as many pages; likewise
 *
 * With memory for all pages nothing is read, and that is demanded.  Where the optimum reads nothing
 * there is no ratio: such a run counts in paging.run alone, and is printed.
 */
#include "bounds.h"
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The device: each page at its place. */
static unsigned char *device;
static uint64_t reads, pages_read;

static void device_start(void *cookie, struct quire_io *io)
{
    (void)cookie;
    reads += !io->write;
    pages_read += io->write ? 0 : io->pages;
    for (uint32_t i = 0; i < io->pages; i++) {
        unsigned char *stored = device + io->offset + PAGE(i);

        if (io->write)
            memcpy(stored, frame_bytes(io->frames[i]), QUIRE_PAGE_SIZE);
        else
            memcpy(frame_bytes(io->frames[i]), stored, QUIRE_PAGE_SIZE);
    }
    quire_io_done(io, true);
}

/* What a run came to. */
struct run {
    uint64_t reads, pages;
    double ns;
    uint32_t overhead; /* frames that were not pages */
};

/* Each page holds its number, from the first reference on, so that it takes a frame; a store leaves
 * it as it is. */
static void refer(const struct trace *trace, uint32_t reference)
{
    uint32_t page = reference / 2;
    vaddr_t at = trace->address[page] << QUIRE_PAGE_SHIFT;
    uint64_t word;

    must(soft_load(world.cpu[0], at, &word, sizeof word));
    expect(word == 0 || word == page + 1, "a page is not what was stored in it");
    if (word == 0 || (reference & 1)) {
        word = page + 1;
        must(soft_store(world.cpu[0], at, &word, sizeof word));
    }
}

static struct run run_in(const struct trace *trace, uint32_t frames)
{
    static const struct quire_pager pager = {.start = device_start};
    struct quire_pagefile *file;
    struct quire_space *space;
    struct quire_stats stats;
    struct timespec from, to;

    world_begin_with((struct test_options){
        .frames = frames, .max_slots = 2 * trace->pages + 64, .keep_free = 16});
    must(quire_pagefile_add(world.q, &pager, NULL, PAGE(2 * trace->pages), 0, 0, &file));
    space = space_new();
    for (uint32_t i = 0; i < trace->pages; i++) {
        vaddr_t at = trace->address[i] << QUIRE_PAGE_SHIFT;

        must(quire_map(space, &at, QUIRE_PAGE_SIZE, RW, QUIRE_MAP_FIXED));
    }
    test_run(&world, 0, space);
    reads = pages_read = 0;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (size_t i = 0; i < trace->count; i++)
        refer(trace, trace->reference[i]);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    quire_stats(world.q, &stats);
    test_end(&world, space);
    world_end();
    return (struct run){
        .reads = reads,
        .pages = pages_read,
        .ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec),
        .overhead = (uint32_t)(stats.frames - stats.frames_free - stats.frames_data)};
}

/* Logarithms of ratios, summed over traces. */
struct mean {
    double sum;
    unsigned count;
};

static void mean_add(struct mean *mean, double over, double under)
{
    mean->sum += log(over / under);
    mean->count++;
}

static void mean_figure(const struct mean *mean, const char *name, unsigned part)
{
    char text[16];

    if (mean->count == 0)
        return;
    snprintf(text, sizeof text, "%upct", part);
    figure_part(name, text, exp(mean->sum / mean->count), "ratio");
}

int main(int argc, char **argv)
{
    enum { PARTS = 4 };
    static const unsigned parts[PARTS] = {100, 75, 50, 25};
    static struct mean waits[PARTS], pages[PARTS], time[PARTS];

    for (int i = 1; i < argc; i++) {
        struct trace trace = {0};
        struct run all;

        expect(trace_open(&trace, argv[i]), "not a trace");
        device = calloc(2 * trace.pages, QUIRE_PAGE_SIZE);
        all = run_in(&trace, 2 * trace.pages + 512);
        printf("%s: %u pages, %zu references\n", argv[i], trace.pages, trace.count);
        for (unsigned n = 0; n < PARTS; n++) {
            uint32_t frames = trace.pages * parts[n] / 100;
            uint64_t best = bounds_optimum(&trace, frames);
            struct run run;

            if (frames < trace.window)
                continue;
            run = run_in(&trace, frames + all.overhead);
            printf("    %u frames: %llu reads of %llu pages, the optimum %llu\n", frames,
                   (unsigned long long)run.reads, (unsigned long long)run.pages,
                   (unsigned long long)best);
            mean_add(&time[n], run.ns, all.ns);
            expect(parts[n] < 100 || run.reads == 0, "memory for all pages, and some are read");
            if (best == 0)
                continue;
            mean_add(&waits[n], (double)run.reads, (double)best);
            mean_add(&pages[n], (double)run.pages, (double)best);
        }
        free(device);
        trace_free(&trace);
    }
    for (unsigned n = 0; n < PARTS; n++) {
        mean_figure(&waits[n], "paging.vs_optimum", parts[n]);
        mean_figure(&pages[n], "paging.vs_optimum_pages", parts[n]);
        mean_figure(&time[n], "paging.run", parts[n]);
    }
    return 0;
}
