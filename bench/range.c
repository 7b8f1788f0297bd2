/* SPDX-License-Identifier: MIT */
/*
 * What is done to a whole range at once.
 *
 *   soft.populate.ratio       a fresh 64 MiB resolved for writing ahead of time, over the same by a
 *                             store to each page
 *   soft.populate.ns          the former, for each page
 *   soft.move_1gib.us         a GiB, every page of it in memory, moved by 4 GiB: whole tables move
 *   soft.move_1gib_apart.us   and by 4 GiB and a page: every entry moves
 *   soft.clone.ratio          16 MiB cloned into another space (quire_clone), over the same bytes
 *                             copied; soft.clone_read.ratio: and every page of the clone read
 *   soft.diff.us              what has changed of that GiB since a mark: 100 pages
 *   soft.diff_and_mark.us     the same, with a new mark
 */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

static void bench_populate(void)
{
    enum { ROUNDS = 21, PAGES = 16384 };
    static double ahead[ROUNDS], stores[ROUNDS];
    struct quire_space *space;
    double ns;

    world_begin(PAGES + 256, 8);
    space = space_new();
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        map(space, 0, PAGE(PAGES), RW);
        test_run(&world, 0, space);
        if (i & 1) {
            stores[i / 2] = time_stores(0, QUIRE_PAGE_SIZE, PAGES);
        } else {
            struct watch watch = watch_start();

            must(quire_populate(space, 0, PAGE(PAGES), QUIRE_WRITE, NULL));
            ahead[i / 2] = watch_stop(watch);
        }
        must(quire_unmap(space, 0, PAGE(PAGES)));
    }
    ns = median(ahead, ROUNDS);
    figure("soft.populate.ratio", ns / median(stores, ROUNDS), "ratio");
    figure("soft.populate.ns", ns / PAGES, "ns");
    test_end(&world, space);
    world_end();
}

/* A message of 16 MiB: passed by sharing, and by copying its bytes. */
static void bench_clone(void)
{
    enum { ROUNDS = 21, PAGES = 4096 };
    static double clones[ROUNDS], reads[ROUNDS], copies[ROUNDS];
    const uint64_t length = PAGE(PAGES);
    unsigned char *buffer = malloc(length);
    struct quire_space *from, *to;

    world_begin(3 * PAGES, 8);
    from = space_new();
    to = space_new();
    map(from, 0, length, RW);
    map(to, GIB, length, RW);
    fill(from, 0, length);
    fill(to, GIB, length);
    test_run(&world, 0, to);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct watch watch = watch_start();

        must(quire_read(from, 0, buffer, length, NULL));
        must(quire_write(to, GIB, buffer, length, NULL));
        copies[i] = watch_stop(watch);
        watch = watch_start();
        must(quire_clone(from, 0, to, GIB, length, NULL));
        clones[i] = watch_stop(watch);
        watch = watch_start();
        for (unsigned k = 0; k < PAGES; k++) {
            unsigned char byte;

            must(soft_load(world.cpu[0], GIB + PAGE(k), &byte, 1));
        }
        reads[i] = clones[i] + watch_stop(watch);
    }
    figure("soft.clone.ratio", median(clones, ROUNDS) / median(copies, ROUNDS), "ratio");
    figure("soft.clone_read.ratio", median(reads, ROUNDS) / median(copies, ROUNDS), "ratio");
    test_end(&world, from);
    test_end(&world, to);
    world_end();
    free(buffer);
}

/* There and back again. */
static void bench_move(const char *name, struct quire_space *space, vaddr_t other)
{
    enum { ROUNDS = 20 };
    static double samples[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        vaddr_t from = i & 1 ? other : 0, to = i & 1 ? 0 : other;
        struct watch watch = watch_start();

        must(quire_move(space, from, GIB, &to, GIB, QUIRE_MOVE_FIXED));
        samples[i] = watch_stop(watch);
    }
    figure(name, median(samples, ROUNDS) / 1000, "us");
}

static uint64_t bits[GIB / QUIRE_PAGE_SIZE / 64];

/* The last diff found the pages that were written, and no others. */
static void expect_bits(unsigned count)
{
    unsigned found = 0;

    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        found += (unsigned)__builtin_popcountll(bits[i]);
    expect(found == count, "a diff does not show the pages that were written");
}

static void bench_diff(struct quire_space *space)
{
    enum { ROUNDS = 200, CHANGED = 100 };
    static double alone[ROUNDS], and_mark[ROUNDS];
    struct quire_space *mark = fork_of(space);

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct watch watch;

        for (unsigned k = 0; k < CHANGED; k++)
            put(space, PAGE(GIB / QUIRE_PAGE_SIZE / CHANGED * k));
        memset(bits, 0, sizeof bits);
        watch = watch_start();
        must(quire_diff(space, mark, 0, GIB, bits));
        alone[i] = watch_stop(watch);
        expect_bits(CHANGED);
        watch = watch_start();
        must(quire_diff_and_mark(space, &mark, 0, GIB, bits));
        and_mark[i] = watch_stop(watch);
        expect_bits(CHANGED);
    }
    figure("soft.diff.us", median(alone, ROUNDS) / 1000, "us");
    figure("soft.diff_and_mark.us", median(and_mark, ROUNDS) / 1000, "us");
    quire_space_destroy(mark);
}

void bench_range(void)
{
    struct quire_space *space;

    bench_populate();
    bench_clone();
    world_begin((uint32_t)(GIB / QUIRE_PAGE_SIZE) + 4096, 8);
    space = space_new();
    map(space, 0, GIB, RW);
    fill(space, 0, GIB);
    bench_diff(space);
    bench_move("soft.move_1gib.us", space, 4 * GIB);
    bench_move("soft.move_1gib_apart.us", space, 4 * GIB + QUIRE_PAGE_SIZE);
    test_end(&world, space);
    world_end();
}
