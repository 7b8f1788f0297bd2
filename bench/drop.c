/* SPDX-License-Identifier: MIT */
/*
 * The end of a child: what fork put off, and has to cost no more than what the child changed.
 *
 *   soft.drop.idle.ns       a child that wrote nothing
 *   soft.drop.one_page.ns   one that wrote to one page
 *   soft.fork_run_drop.ns   a snapshot that is run and not written to: fork of it, run, drop
 *   soft.drop.flat          a child that changed 16 pages, one in each of the first 16 MiB: largest
 *                           over smallest, for parents of 16 MiB to 4 GiB with a page in every MiB
 *   soft.drop.flat_one_leaf the same where the 16 pages lie together, so that most of what is
 *                           dropped is upper tables, which are the fuller the larger the parent is
 *   soft.drop.flat_mapped   the same for parents that have mapped so much and touched little
 *   soft.fork_drop.ns       one turn of a loop that forks, writes 3 pages, and drops the child
 *   soft.fork_drop.fork.ns  the fork in it, which may free what earlier children left
 *   soft.fork_drop.frames   free frames that 100,000 turns have cost
 */
#include "parts.h"

static void bench_small(void)
{
    static double idle[SAMPLES], wrote[SAMPLES], snapshot[SAMPLES];
    struct quire_space *parent = space_new();

    map(parent, 0, GIB, RW);
    fill(parent, 0, LEAF);
    for (int i = 0; i < SAMPLES; i++) {
        struct quire_space *child = fork_of(parent);
        struct watch watch = watch_start();

        quire_space_destroy(child);
        idle[i] = watch_stop(watch);
        child = fork_of(parent);
        put(child, PAGE(1));
        rest();
        watch = watch_start();
        quire_space_destroy(child);
        wrote[i] = watch_stop(watch);
        watch = watch_start();
        child = fork_of(parent);
        test_run(&world, 0, child);
        rest();
        quire_space_destroy(child);
        snapshot[i] = watch_stop(watch);
    }
    figure("soft.drop.idle.ns", median(idle, SAMPLES), "ns");
    figure("soft.drop.one_page.ns", median(wrote, SAMPLES), "ns");
    figure("soft.fork_run_drop.ns", median(snapshot, SAMPLES), "ns");
    test_end(&world, parent);
}

static double drop_turn(struct subject *s)
{
    struct quire_space *child = fork_of(s->space);
    struct watch watch;

    for (unsigned i = 0; i < 16; i++)
        put(child, s->first + i * s->step);
    rest();
    watch = watch_start();
    quire_space_destroy(child);
    return watch_stop(watch);
}

/*
 * Children that change 16 pages, `step` bytes apart, of parents of each size: largest over
 * smallest.  `everywhere`: the parents have a page in every MiB.
 */
static void bench_flat(const char *name, uint64_t step, bool everywhere)
{
    enum { SIZES = 5 };
    static struct subject subjects[SIZES];
    double ratio, largest;

    world_begin(16384, 16);
    for (unsigned n = 0; n < SIZES; n++) {
        uint64_t size = 16 * MIB << 2 * n;

        subjects[n] = (struct subject){.space = space_new(), .step = step};
        map(subjects[n].space, 0, size, RW);
        for (unsigned i = 0; i < 16; i++)
            put(subjects[n].space, i * step);
        for (vaddr_t a = 0; everywhere && a < size; a += MIB)
            put(subjects[n].space, a);
    }
    ratio = subjects_compare(subjects, SIZES, drop_turn, &largest);
    figure(name, ratio, "ratio");
    figure_part(name, "ns", largest, "ns");
    for (unsigned n = 0; n < SIZES; n++)
        test_end(&world, subjects[n].space);
    world_end();
}

/* An embedder that goes back to a snapshot again and again: nothing may pile up. */
static void bench_loop(void)
{
    enum { TURNS = 100000, WARM = 1000 };
    static double whole[TURNS], fork[TURNS];
    struct quire_space *parent = space_new();
    uint32_t before = 0;

    map(parent, 0, GIB, RW);
    fill(parent, 0, LEAF);
    for (int i = 0; i < TURNS; i++) {
        struct quire_space *child;
        struct watch watch = watch_start();

        if (i == WARM)
            before = quire_free_frames(world.q);
        child = fork_of(parent);
        fork[i] = watch_stop(watch);
        for (unsigned k = 0; k < 3; k++)
            put(child, PAGE(k));
        test_end(&world, child);
        whole[i] = watch_stop(watch);
    }
    figure("soft.fork_drop.ns", median(whole, TURNS), "ns");
    figure("soft.fork_drop.fork.ns", median(fork, TURNS), "ns");
    figure("soft.fork_drop.frames", (double)before - quire_free_frames(world.q), "frames");
    test_end(&world, parent);
}

void bench_drop(void)
{
    world_begin(2048, 16);
    bench_small();
    bench_loop();
    world_end();
    bench_flat("soft.drop.flat", MIB, true);
    bench_flat("soft.drop.flat_one_leaf", QUIRE_PAGE_SIZE, true);
    bench_flat("soft.drop.flat_mapped", MIB, false);
}
