/* SPDX-License-Identifier: MIT */
/*
 * Pins of pages that are the space's own already, which is what a driver that uses the same buffers
 * again sees; a page that is not is faulted in first, and write.c has what that costs.
 *
 *   soft.pin.ns, soft.unpin.ns  one page
 *   soft.pin.mib.ns, soft.unpin.mib.ns
 *                               256 pages in one handle
 */
#include "parts.h"

static void bench_pins(const char *suffix, struct quire_space *space, uint64_t length)
{
    static double pin[SAMPLES], unpin[SAMPLES];
    static struct quire_run runs[MIB / QUIRE_PAGE_SIZE];

    for (unsigned i = 0; i < SAMPLES; i++) {
        struct quire_pin handle;
        struct watch watch = watch_start();

        must(quire_pin(space, i * length % LEAF, length, QUIRE_WRITE, runs,
                       (uint32_t)(length / QUIRE_PAGE_SIZE), &handle));
        pin[i] = watch_stop(watch);
        watch = watch_start();
        must(quire_unpin(world.q, &handle));
        unpin[i] = watch_stop(watch);
    }
    figure_part("soft.pin", suffix, median(pin, SAMPLES), "ns");
    figure_part("soft.unpin", suffix, median(unpin, SAMPLES), "ns");
}

void bench_pin(void)
{
    struct quire_space *space;

    world_begin(2048, 8);
    space = space_new();
    map(space, 0, LEAF, RW);
    fill(space, 0, LEAF);
    bench_pins("ns", space, QUIRE_PAGE_SIZE);
    bench_pins("mib.ns", space, MIB);
    test_end(&world, space);
    world_end();
}
