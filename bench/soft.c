/* SPDX-License-Identifier: MIT */
/*
 * Figures of the software machine, production build.
 *
 * Every figure is a median over many repetitions.  Where a figure is a ratio over m, m is the copy
 * of one page by memcpy at the same cache temperature (write.c says how that is had).
 *
 *   fork.c   fork
 *   write.c  the first writes after it
 *   drop.c   the end of a child
 *   many.c   many spaces at once, and many generations
 *   range.c  what is done to a whole range: populate, move, diff
 *   pin.c    pins
 *   file.c   views of files
 *   store.c  pages that are compressed
 *   paging.c pages that leave and come back
 *
 * and here what belongs to none of these: the machine's own speed, and what a frame's record takes.
 * measure.h has what they share.
 *
 * The program is built twice: soft over the library as it is shipped, and soft_native over one
 * that was compiled for this processor.  The C library's memcpy always is, so that is the fairer
 * comparison, and the first is what a user gets who sets nothing.
 *
 * A line for each figure: "bench NAME VALUE UNIT".  Nothing is hidden that fork puts off.
 */
#include "parts.h"

static void bench_frame_bytes(void)
{
    struct quire_config one = world.config, two = world.config;

    two.frame_count *= 2;
    figure("frame.bytes",
           (double)(quire_arena_size(&two) - quire_arena_size(&one)) / one.frame_count, "bytes");
}

static void bench_access(void)
{
    enum { LOADS = 1000000 };
    struct quire_space *space = space_new();
    uint64_t sum = 0;
    struct watch watch;

    map(space, 0, PAGE(64), RW);
    fill(space, 0, PAGE(64));
    test_run(&world, 0, space);
    watch = watch_start();
    for (unsigned i = 0; i < LOADS; i++) {
        uint64_t word;

        must(soft_load(world.cpu[0], PAGE(i & 63) + (sum & 8), &word, sizeof word));
        sum += word;
    }
    figure("soft.load.ns", watch_stop(watch) / LOADS, "ns");
    test_end(&world, space);
}

int main(void)
{
    bench_fork();
    bench_writes();
    bench_drop();
    bench_many();
    bench_range();
    bench_pin();
    bench_file();
    bench_store();
    bench_paging();
    world_begin(4096, 8);
    bench_access();
    bench_frame_bytes();
    world_end();
    return 0;
}
