/* SPDX-License-Identifier: MIT */
/*
 * Writes after a fork, over m, the copy of one page.
 *
 *   soft.cow.ratio          write to a shared page whose leaf table is private already: all pages
 *                           of a leaf in order, so that pages come from the outer caches
 *   soft.cow.fault.ratio    the same, but only what happens within quire_fault: the store itself
 *                           walks the tables in software, before the fault and after it
 *   soft.reuse.ratio        such a fault where the other sharer has gone, so that the writer takes
 *                           the page uncopied; soft.reuse.store.ratio is the whole store
 *   soft.two_cpus.          these two faults where the manager has another CPU, which rests
 *   soft.cow_hot.ratio, soft.reuse_hot.ratio
 *                           one such page over and over, all in the inner caches, where memcpy is
 *                           so fast that the fault's own instructions are what one sees
 *   soft.dense.ratio        every page of 64 MiB, for each page; the tables' first writes included
 *   soft.sparse.ratio       one page in every 2 MiB of them, for each page
 *   soft.first_write.ratio  first write in a full 2 MiB after a fork, upper tables private
 *                           already, all in the inner caches
 *
 * and the same with all tables shared, with full upper tables (deep), of a fork of a fork; and the
 * frames that a first write takes.
 *
 * There are two ways to have the same cache temperature.  A *pass* writes many pages in order
 * (pass.h).  A *single* write is repeated, and every other repetition does all that leads up to
 * it, takes the free frame that the write would have taken, and copies the same page there instead.
 */
#include "parts.h"
#include "pass.h"

/* ---- passes ---------------------------------------------------------------------------------- */

static struct quire_space *writer_child(const struct pass *pass, struct quire_space **parent)
{
    (void)pass;
    return fork_of(*parent);
}

/* A child whose leaf is its own already, for it has written the page below `first`. */
static struct quire_space *writer_owns_leaf(const struct pass *pass, struct quire_space **parent)
{
    struct quire_space *child = fork_of(*parent);

    put(child, pass->first - QUIRE_PAGE_SIZE);
    return child;
}

/* The same, and the parent has gone: the writer is the last sharer of every page. */
static struct quire_space *writer_alone(const struct pass *pass, struct quire_space **parent)
{
    struct quire_space *child = writer_owns_leaf(pass, parent);

    test_end(&world, *parent);
    *parent = child;
    return child;
}

enum { LEAVES = 32, ENTRIES = QUIRE_TABLE_ENTRIES };

/* The passes over a parent of 64 MiB, in a world of `cpus`. */
static void bench_passes(const struct pass *passes, unsigned count, uint32_t cpus)
{
    struct quire_space *parent;

    world_begin_with(
        (struct test_options){.frames = 4 * LEAVES * ENTRIES, .max_spaces = 8, .cpus = cpus});
    parent = space_new();
    map(parent, 0, GIB, RW);
    fill(parent, 0, LEAVES * LEAF);
    for (unsigned i = 0; i < count; i++)
        pass_run(&passes[i], &parent);
    test_end(&world, parent);
    world_end();
}

static void bench_all_passes(void)
{
    static const struct pass one[] = {
        {"soft.cow", writer_owns_leaf, pass_stores, PAGE(1), PAGE(1), ENTRIES - 1, 201},
        {"soft.cow.fault", writer_owns_leaf, pass_write_faults, PAGE(1), PAGE(1), ENTRIES - 1, 201},
        {"soft.cow.with_first_write", writer_child, pass_stores, 0, PAGE(1), ENTRIES, 201},
        {"soft.dense", writer_child, pass_stores, 0, PAGE(1), LEAVES * ENTRIES, 31},
        {"soft.sparse", writer_child, pass_stores, 0, LEAF, LEAVES, 201},
        {"soft.reuse", writer_alone, pass_write_faults, PAGE(1), PAGE(1), ENTRIES - 1, 201},
        {"soft.reuse.store", writer_alone, pass_stores, PAGE(1), PAGE(1), ENTRIES - 1, 201},
    };
    static const struct pass two[] = {
        {"soft.two_cpus.cow.fault", writer_owns_leaf, pass_write_faults, PAGE(1), PAGE(1),
         ENTRIES - 1, 201},
        {"soft.two_cpus.reuse", writer_alone, pass_write_faults, PAGE(1), PAGE(1), ENTRIES - 1,
         201},
    };

    bench_passes(one, sizeof one / sizeof one[0], 1);
    bench_passes(two, sizeof two / sizeof two[0], 2);
}

/* ---- single writes --------------------------------------------------------------------------- */

static double operation[SAMPLES], copies[SAMPLES];

/* The copy that a write to `address` would make, into the frame that it would take. */
static double time_copy(struct quire_space *space, vaddr_t address)
{
    unsigned char *from = bytes_of(space, address);
    struct watch watch;
    double ns;
    pfn_t pfn;

    must(quire_frame_take(world.q, &pfn));
    watch = watch_start();
    copy_bytes(frame_bytes(pfn), from, QUIRE_PAGE_SIZE);
    ns = watch_stop(watch);
    quire_frame_give(world.q, pfn);
    return ns;
}

/* One repetition: the write to `address` in `space`, or the copy and then the write. */
static void single_write(int i, struct quire_space *space, vaddr_t address)
{
    test_run(&world, 0, space);
    if (i & 1) {
        copies[i / 2] = time_copy(space, address);
        put(space, address);
    } else {
        operation[i / 2] = time_stores(address, 0, 1);
    }
}

static void single_figures(const char *name, int samples)
{
    figure_over_copy(name, median(operation, (size_t)samples), median(copies, (size_t)samples));
}

/* What a child's write to `address` costs after it wrote `before` (none if they are equal). */
static void bench_write(const char *name, struct quire_space *parent, vaddr_t before,
                        vaddr_t address, int samples)
{
    for (int i = 0; i < 2 * samples; i++) {
        struct quire_space *child = fork_of(parent);

        if (before != address)
            put(child, before);
        single_write(i, child, address);
        test_end(&world, child);
    }
    single_figures(name, samples);
}

/* What the last sharer's write to page 1 costs; the parent of each repetition is the writer of the
 * last. */
static void bench_reuse_hot(struct quire_space **parent)
{
    struct pass pass = {.first = PAGE(1)};

    for (int i = 0; i < 2 * SAMPLES; i++)
        single_write(i, writer_alone(&pass, parent), PAGE(1));
    single_figures("soft.reuse_hot", SAMPLES);
}

static void bench_singles(void)
{
    struct quire_space *parent, *middle;
    struct quire_stats before, after;

    world_begin(16384, 8);
    parent = space_new();
    map(parent, 0, 1024 * GIB, RW);
    fill(parent, 0, 2 * LEAF);
    bench_write("soft.cow_hot", parent, 0, PAGE(1), SAMPLES);
    bench_write("soft.first_write", parent, LEAF, PAGE(1), SAMPLES);
    bench_write("soft.first_write_all_tables", parent, PAGE(1), PAGE(1), SAMPLES);

    quire_stats(world.q, &before);
    middle = fork_of(parent);
    put(middle, PAGE(1));
    quire_stats(world.q, &after);
    figure("soft.first_write.frames", (double)(before.frames_free - after.frames_free), "frames");

    /* A fork of a fork: the leaf that is frozen now borrows most of its pages already. */
    put(middle, LEAF + PAGE(1));
    bench_write("soft.first_write_fork_of_fork", middle, LEAF, PAGE(2), SAMPLES);
    test_end(&world, middle);

    /* Full upper tables: a leaf below each entry of a GiB, and a GiB below each entry of 512. */
    for (unsigned i = 2; i < QUIRE_TABLE_ENTRIES; i++)
        put(parent, i * LEAF);
    for (unsigned i = 1; i < QUIRE_TABLE_ENTRIES; i++)
        put(parent, i * GIB);
    bench_write("soft.first_write_deep", parent, PAGE(1), PAGE(1), 1000);
    bench_reuse_hot(&parent);
    test_end(&world, parent);
    world_end();
}

void bench_writes(void)
{
    bench_singles();
    bench_all_passes();
}
