/* SPDX-License-Identifier: MIT */
/*
 * Paging without the device: it takes what is written and gives back nothing, at once.
 *
 *   soft.soft_fault.ratio       a load of a page that is on the standby list, over m
 *   soft.pageout.ratio          a page leaves a working set and is handed to the device: aging it
 *                               until it is old, its place, the flush, the transfer; for each page
 *   soft.pagein.ratio           a load of a page that is not in memory; pages next to it come
 * along, and are loaded next soft.aging.ms_per_gib       one pass over 1 GiB in memory
 *   soft.aging.shared_1000.ratio
 *                               the same where 1,000 forks share it, over that
 *   soft.paged.bytes            metadata of a page that is not in memory, its entry included
 */
#include "parts.h"

#include "workset.h"

enum { PAGES = 8 * QUIRE_TABLE_ENTRIES, ROUNDS = 21 };

static void device_start(void *cookie, struct quire_io *io)
{
    (void)cookie;
    quire_io_done(io, true);
}

static void page_to_nothing(uint64_t pages)
{
    static const struct quire_pager device = {.start = device_start};
    struct quire_pagefile *file;

    must(quire_pagefile_add(world.q, &device, NULL, PAGE(pages), 0, 0, &file));
}

static void pass(bool trim)
{
    uint64_t left;

    while (!qi_pass_slice(world.q, trim, &left))
        ;
}

static void write_all(void)
{
    while (qi_page_out(world.q))
        ;
}

static void steal_all(void)
{
    struct qi_cpu *cpu = qi_enter(world.q);

    qi_paged_steal(cpu, UINT32_MAX);
    qi_leave(cpu);
}

/* A load of each page. */
static double time_loads(void)
{
    struct watch watch = watch_start();

    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t word;

        must(soft_load(world.cpu[0], PAGE(i), &word, sizeof word));
    }
    return watch_stop(watch) / PAGES;
}

static double time_copies(struct quire_space *space)
{
    static unsigned char *pages[PAGES];
    static unsigned char buffer[1 << QUIRE_PAGE_SHIFT];
    struct watch watch;

    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = bytes_of(space, PAGE(i));
    watch = watch_start();
    for (unsigned i = 0; i + 1 < PAGES; i += 2)
        copy_bytes(pages[i], pages[i + 1], QUIRE_PAGE_SIZE);
    copy_bytes(buffer, pages[0], QUIRE_PAGE_SIZE);
    return watch_stop(watch) / (PAGES / 2);
}

static void bench_faults(void)
{
    static double out[ROUNDS], soft[ROUNDS], in[ROUNDS], copies[ROUNDS];
    struct quire_space *space;

    world_begin_with((struct test_options){.frames = 4 * PAGES, .max_slots = 2 * PAGES});
    page_to_nothing(2 * PAGES);
    space = space_new();
    map(space, 0, PAGE(PAGES), RW);
    fill(space, 0, PAGE(PAGES));
    test_run(&world, 0, space);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct watch watch = watch_start();
        struct quire_stats before, after;

        quire_stats(world.q, &before);
        do {
            pass(true);
            quire_stats(world.q, &after);
        } while (after.trimmed < before.trimmed + PAGES);
        write_all();
        out[round] = watch_stop(watch) / PAGES;
        soft[round] = time_loads();
        pass(true);
        while (quire_stats(world.q, &after), after.standby < PAGES)
            pass(true);
        steal_all();
        in[round] = time_loads();
        copies[round] = time_copies(space);
        fill(space, 0, PAGE(PAGES)); /* so that they have to be written again */
    }
    figure_over_copy("soft.soft_fault", median(soft, ROUNDS), median(copies, ROUNDS));
    figure_over_copy("soft.pageout", median(out, ROUNDS), median(copies, ROUNDS));
    figure_over_copy("soft.pagein", median(in, ROUNDS), median(copies, ROUNDS));
    test_end(&world, space);
    world_end();
}

static double time_passes(void)
{
    static double samples[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct watch watch = watch_start();

        quire_age(world.q);
        samples[i] = watch_stop(watch);
    }
    return median(samples, ROUNDS);
}

static void bench_aging(void)
{
    enum { FORKS = 1000 };
    static struct quire_space *forks[FORKS];
    struct quire_space *space;
    double alone, shared;

    world_begin_with((struct test_options){
        .frames = GIB / QUIRE_PAGE_SIZE + 8192, .max_spaces = FORKS + 8, .max_slots = 64});
    space = space_new();
    map(space, 0, GIB, RW);
    fill(space, 0, GIB);
    alone = time_passes();
    for (unsigned i = 0; i < FORKS; i++)
        forks[i] = fork_of(space);
    shared = time_passes();
    figure("soft.aging.ms_per_gib", alone / 1e6, "ms");
    figure("soft.aging.shared_1000.ratio", shared / alone, "ratio");
    for (unsigned i = 0; i < FORKS; i++)
        quire_space_destroy(forks[i]);
    test_end(&world, space);
    world_end();
}

static void bench_metadata(void)
{
    enum { SLOTS = 1 << 20 };
    struct quire_config none = world.config, some;

    none.max_slots = 64;
    some = none;
    some.max_slots += SLOTS;
    figure("soft.paged.bytes",
           8 + (double)(quire_arena_size(&some) - quire_arena_size(&none)) / SLOTS, "bytes");
}

void bench_paging(void)
{
    bench_faults();
    bench_aging();
    world_begin(64, 8);
    bench_metadata();
    world_end();
}
