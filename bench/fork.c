/* SPDX-License-Identifier: MIT */
/*
 * Fork itself, which costs the same whatever is mapped.
 *
 *   soft.fork.ns            fork of a space that has written since its last fork
 *   soft.fork.flat_bytes    largest over smallest of these, 1 MiB to 1 TiB mapped, touched sparsely
 *   soft.fork.flat_regions  the same for 1 to 100,000 regions
 *   soft.fork.spread.ns     with a page below every eighth entry of the root
 */
#include "parts.h"

enum { SPOTS = 64 };

static double fork_turn(struct subject *s)
{
    struct quire_space *child;
    enum quire_status status;
    struct watch watch;
    double ns;

    put(s->space, s->first);
    watch = watch_start();
    status = quire_space_fork(s->space, &child);
    ns = watch_stop(watch);
    must(status);
    quire_space_destroy(child);
    return ns;
}

static void bench_bytes(void)
{
    static struct subject subjects[6];
    static const unsigned shifts[] = {20, 24, 28, 32, 36, 40};
    double ratio, ns;

    for (unsigned n = 0; n < 6; n++) {
        uint64_t size = UINT64_C(1) << shifts[n];

        subjects[n].space = space_new();
        map(subjects[n].space, 0, size, RW);
        for (unsigned i = 0; i < SPOTS; i++)
            put(subjects[n].space, size / SPOTS * i & ~(vaddr_t)(QUIRE_PAGE_SIZE - 1));
    }
    ratio = subjects_compare(subjects, 6, fork_turn, &ns);
    figure("soft.fork.ns", ns, "ns");
    figure("soft.fork.flat_bytes", ratio, "ratio");
    for (unsigned n = 0; n < 6; n++)
        test_end(&world, subjects[n].space);
}

static void bench_regions(void)
{
    static struct subject subjects[6];
    double ratio, ns;
    unsigned regions = 1;

    for (unsigned n = 0; n < 6; n++, regions *= 10) {
        subjects[n].space = space_new();
        for (unsigned i = 0; i < regions; i++)
            map(subjects[n].space, PAGE(i), PAGE(1), i & 1 ? RW | QUIRE_EXEC : RW);
        for (unsigned i = 0; i < SPOTS; i++)
            put(subjects[n].space, PAGE(regions / SPOTS * i));
    }
    ratio = subjects_compare(subjects, 6, fork_turn, &ns);
    figure("soft.fork.flat_regions", ratio, "ratio");
    figure("soft.fork.100000_regions.ns", ns, "ns");
    for (unsigned n = 0; n < 6; n++)
        test_end(&world, subjects[n].space);
}

/* All of the pages are writable again before each fork. */
static void bench_spread(void)
{
    static double samples[200];
    struct quire_space *space = space_new();
    uint64_t step = MMU_ADDRESS_END / MMU_ROOT_ENTRIES;

    map(space, 0, MMU_ADDRESS_END, RW);
    for (int i = 0; i < 200; i++) {
        struct quire_space *child;
        struct watch watch;

        for (unsigned k = 0; k < MMU_ROOT_ENTRIES; k += 8)
            put(space, step * k);
        watch = watch_start();
        child = fork_of(space);
        samples[i] = watch_stop(watch);
        quire_space_destroy(child);
    }
    figure("soft.fork.spread.ns", median(samples, 200), "ns");
    test_end(&world, space);
}

void bench_fork(void)
{
    world_begin(16384, 64);
    bench_bytes();
    bench_regions();
    bench_spread();
    world_end();
}
