/* SPDX-License-Identifier: MIT */
/*
 * Figures of the software machine, production build.
 *
 * Every figure is a median over many repetitions.  Where a figure is a ratio over m, m is the copy
 * of one page by memcpy at the same cache temperature: every other repetition does all that leads
 * up to the operation, takes the free frame that the operation would have taken, and copies the
 * same source page there instead.
 *
 *   soft.fork.ns            fork of a space that has written since its last fork
 *   soft.fork.flat_bytes    largest over smallest of these, 1 MiB to 1 TiB mapped, touched sparsely
 *   soft.fork.flat_regions  the same for 1 to 100,000 regions
 *   soft.cow.ratio          write to a shared page whose leaf table is private already, over m: all
 *                           pages of a leaf in order, so that pages come from the outer caches
 *   soft.cow_hot.ratio      one such page over and over, all in the inner caches, where memcpy is
 *                           so fast that the fault's own instructions are what one sees
 *   soft.first_write.ratio  first write in a full 2 MiB after a fork, upper tables private
 *                           already, over m, all in the inner caches
 *
 * The program is built twice: soft over the library as it is shipped, and soft_native over one
 * that was compiled for this processor.  The C library's memcpy always is, so that is the fairer
 * comparison, and the first is what a user gets who sets nothing.
 *
 * Nothing is hidden that fork puts off: there is the same with all tables shared, with full upper
 * tables (deep), of a fork of a fork; the drop of a child; the frames that a first write takes.  A
 * line for each: "bench NAME VALUE UNIT".
 *
 * The spaces of a comparison take turns in short blocks, so that a change of the computer's speed
 * meets them all.
 */
#define _GNU_SOURCE
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCKS = 60, BLOCK = 60, SAMPLES = BLOCKS * BLOCK, SPOTS = 64 };

#define RW (QUIRE_READ | QUIRE_WRITE)
#define PAGE(n) ((vaddr_t)(n) << QUIRE_PAGE_SHIFT)
#define LEAF PAGE(QUIRE_TABLE_ENTRIES)

/* ---- time ------------------------------------------------------------------------------------ */

static double clock_cost; /* nanoseconds that a pair of readings measures of nothing */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The mean of the middle fifth: a median that does not step with the clock's resolution. */
static double median(double *samples, size_t count)
{
    size_t first = count * 2 / 5, last = count * 3 / 5;
    double sum = 0;

    qsort(samples, count, sizeof samples[0], compare);
    for (size_t i = first; i <= last; i++)
        sum += samples[i];
    return sum / (double)(last - first + 1) - clock_cost;
}

static void clock_calibrate(void)
{
    static double samples[SAMPLES];

    for (int i = 0; i < SAMPLES; i++) {
        double start = now();

        samples[i] = now() - start;
    }
    clock_cost = 0;
    clock_cost = median(samples, SAMPLES);
}

/* `name` is "frame.bytes" or begins with "soft.", for which the program's own name is put. */
static void figure(const char *name, double value, const char *unit)
{
    bool soft = strncmp(name, "soft.", 5) == 0;

    printf("bench %s%s %.3f %s\n", soft ? BENCH_NAME : "", soft ? name + 4 : name, value, unit);
}

/* ---- a world --------------------------------------------------------------------------------- */

static struct test_world world;

static void must(enum quire_status status)
{
    if (status == QUIRE_OK)
        return;
    fprintf(stderr, "bench: %s\n", quire_status_name(status));
    exit(1);
}

static struct quire_space *space_new(void)
{
    struct quire_space *space;

    must(quire_space_create(world.q, &space));
    return space;
}

static struct quire_space *fork_of(struct quire_space *parent)
{
    struct quire_space *child;

    must(quire_space_fork(parent, &child));
    return child;
}

static void map(struct quire_space *space, vaddr_t address, uint64_t length, uint32_t prot)
{
    must(quire_map(space, &address, length, prot, QUIRE_MAP_FIXED));
}

static void put(struct quire_space *space, vaddr_t address)
{
    must(test_store(&world, space, address, 1));
}

static void fill_leaf(struct quire_space *space, vaddr_t leaf)
{
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
        put(space, leaf + PAGE(i));
}

/* The bytes of a page of a space, for memcpy. */
static unsigned char *bytes_of(struct quire_space *space, vaddr_t address)
{
    struct quire_page page;

    quire_page(space, address, &page);
    return world.frames + (size_t)(page.pfn - world.config.first_frame) * QUIRE_PAGE_SIZE;
}

/* The C library's own: kept from the compiler, which would make a copy of a known size itself. */
static void *(*volatile copy_bytes)(void *to, const void *from, size_t length) = memcpy;

static double time_store(struct quire_space *space, vaddr_t address)
{
    double start;
    uint8_t byte = 2;
    enum quire_status status;

    test_run(&world, 0, space);
    start = now();
    status = soft_store(world.cpu[0], address, &byte, 1);
    start = now() - start;
    must(status);
    return start;
}

/* ---- fork ------------------------------------------------------------------------------------ */

struct subject {
    struct quire_space *space;
    vaddr_t touched; /* a page that it writes before each fork */
    double samples[SAMPLES];
};

static void fork_block(struct subject *s, int block)
{
    for (int i = 0; i < BLOCK; i++) {
        struct quire_space *child;
        enum quire_status status;
        double start;

        put(s->space, s->touched);
        start = now();
        status = quire_space_fork(s->space, &child);
        s->samples[block * BLOCK + i] = now() - start;
        must(status);
        quire_space_destroy(child);
    }
}

/* Largest over smallest median; *largest gets the former. */
static double forks_compare(struct subject *subjects, unsigned count, double *largest)
{
    double least = 1e300, most = 0;

    for (int block = 0; block < BLOCKS; block++) {
        for (unsigned i = 0; i < count; i++)
            fork_block(&subjects[i], block);
    }
    for (unsigned i = 0; i < count; i++) {
        double ns = median(subjects[i].samples, SAMPLES);

        least = ns < least ? ns : least;
        most = ns > most ? ns : most;
    }
    *largest = most;
    return most / least;
}

static void bench_fork_bytes(void)
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
    ratio = forks_compare(subjects, 6, &ns);
    figure("soft.fork.ns", ns, "ns");
    figure("soft.fork.flat_bytes", ratio, "ratio");
    for (unsigned n = 0; n < 6; n++)
        test_end(&world, subjects[n].space);
}

static void bench_fork_regions(void)
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
    ratio = forks_compare(subjects, 6, &ns);
    figure("soft.fork.flat_regions", ratio, "ratio");
    figure("soft.fork.100000_regions.ns", ns, "ns");
    for (unsigned n = 0; n < 6; n++)
        test_end(&world, subjects[n].space);
}

/* A page below every entry of the root, all of them writable again before each fork. */
static void bench_fork_spread(void)
{
    static double samples[200];
    struct quire_space *space = space_new();
    uint64_t step = MMU_ADDRESS_END / MMU_ROOT_ENTRIES;

    map(space, 0, MMU_ADDRESS_END, RW);
    for (int i = 0; i < 200; i++) {
        struct quire_space *child;
        double start;

        for (unsigned k = 0; k < MMU_ROOT_ENTRIES; k += 8)
            put(space, step * k);
        start = now();
        child = fork_of(space);
        samples[i] = now() - start;
        quire_space_destroy(child);
    }
    figure("soft.fork.spread.ns", median(samples, 200), "ns");
    test_end(&world, space);
}

/* ---- writes after a fork --------------------------------------------------------------------- */

static double operation[SAMPLES], copies[SAMPLES];

/* The copy that a write to `address` would make, into the frame that it would take. */
static double time_copy(struct quire_space *space, vaddr_t address)
{
    unsigned char *from = bytes_of(space, address), *to;
    double start;
    pfn_t pfn;

    must(quire_frame_take(world.q, &pfn));
    to = world.frames + (size_t)(pfn - world.config.first_frame) * QUIRE_PAGE_SIZE;
    start = now();
    copy_bytes(to, from, QUIRE_PAGE_SIZE);
    start = now() - start;
    quire_frame_give(world.q, pfn);
    return start;
}

/*
 * What a child's write to `address` costs after it wrote `before` (none if they are equal), over
 * the copy of the page.
 */
static void bench_write(const char *name, struct quire_space *parent, vaddr_t before,
                        vaddr_t address, int samples)
{
    char line[80];
    double m, ns;

    for (int i = 0; i < 2 * samples; i++) {
        struct quire_space *child = fork_of(parent);

        if (before != address)
            put(child, before);
        test_run(&world, 0, child);
        if (i & 1) {
            copies[i / 2] = time_copy(child, address);
            put(child, address);
        } else {
            operation[i / 2] = time_store(child, address);
        }
        test_end(&world, child);
    }
    m = median(copies, (size_t)samples);
    ns = median(operation, (size_t)samples);
    snprintf(line, sizeof line, "%s.ratio", name);
    figure(line, ns / m, "ratio");
    snprintf(line, sizeof line, "%s.ns", name);
    figure(line, ns, "ns");
    snprintf(line, sizeof line, "%s.copy.ns", name);
    figure(line, m, "ns");
}

/*
 * A child writes the pages of a full leaf one after another; and the same pages are copied by
 * memcpy to as many frames, each of which was last written one round ago, like those that the child
 * gets.
 */
static void bench_dense(struct quire_space *parent, vaddr_t leaf)
{
    enum { ROUNDS = 201, PAGES = QUIRE_TABLE_ENTRIES };
    static double whole[ROUNDS], first[ROUNDS], plain[ROUNDS];
    static unsigned char *from[PAGES], *to[PAGES];
    static pfn_t spare[PAGES];
    double m, fault;

    for (unsigned i = 0; i < PAGES; i++) {
        must(quire_frame_take(world.q, &spare[i]));
        to[i] = world.frames + (size_t)(spare[i] - world.config.first_frame) * QUIRE_PAGE_SIZE;
        from[i] = bytes_of(parent, leaf + PAGE(i));
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct quire_space *child = fork_of(parent);
        uint8_t byte = 3;
        double start;

        test_run(&world, 0, child);
        first[round] = time_store(child, leaf);
        start = now();
        for (unsigned i = 1; i < PAGES; i++)
            must(soft_store(world.cpu[0], leaf + PAGE(i), &byte, 1));
        whole[round] = now() - start;
        test_end(&world, child);
        start = now();
        for (unsigned i = 1; i < PAGES; i++)
            copy_bytes(to[i], from[i], QUIRE_PAGE_SIZE);
        plain[round] = now() - start;
    }
    m = median(plain, ROUNDS) / (PAGES - 1);
    fault = median(whole, ROUNDS) / (PAGES - 1);
    figure("soft.cow.ratio", fault / m, "ratio");
    figure("soft.cow.ns", fault, "ns");
    figure("soft.cow.copy.ns", m, "ns");
    figure("soft.cow.with_first_write.ratio",
           (median(first, ROUNDS) + fault * (PAGES - 1)) / PAGES / m, "ratio");
    for (unsigned i = 0; i < PAGES; i++)
        quire_frame_give(world.q, spare[i]);
}

static void bench_writes(void)
{
    struct quire_space *parent = space_new(), *middle;
    uint64_t gib = UINT64_C(1) << 30, upper = UINT64_C(512) << 30;
    struct quire_stats before, after;

    map(parent, 0, 2 * upper, RW);
    fill_leaf(parent, 0);
    fill_leaf(parent, LEAF);
    bench_write("soft.cow_hot", parent, 0, PAGE(1), SAMPLES);
    bench_dense(parent, 0);
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
        put(parent, i * gib);
    bench_write("soft.first_write_deep", parent, PAGE(1), PAGE(1), 1000);
    test_end(&world, parent);
}

/* ---- what else fork puts off ----------------------------------------------------------------- */

static void bench_drop(void)
{
    static double idle[SAMPLES], wrote[SAMPLES], snapshot[SAMPLES];
    struct quire_space *parent = space_new();

    map(parent, 0, UINT64_C(1) << 30, RW);
    fill_leaf(parent, 0);
    for (int i = 0; i < SAMPLES; i++) {
        struct quire_space *child = fork_of(parent);
        double start = now();

        quire_space_destroy(child);
        idle[i] = now() - start;
        child = fork_of(parent);
        put(child, PAGE(1));
        soft_cpu_run(world.cpu[0], world.q, NULL);
        start = now();
        quire_space_destroy(child);
        wrote[i] = now() - start;
        /* A snapshot that nobody wrote to: fork of it, run, drop. */
        start = now();
        child = fork_of(parent);
        soft_cpu_run(world.cpu[0], world.q, child);
        soft_cpu_run(world.cpu[0], world.q, NULL);
        quire_space_destroy(child);
        snapshot[i] = now() - start;
    }
    figure("soft.drop.idle.ns", median(idle, SAMPLES), "ns");
    figure("soft.drop.one_page.ns", median(wrote, SAMPLES), "ns");
    figure("soft.fork_run_drop.ns", median(snapshot, SAMPLES), "ns");
    test_end(&world, parent);
}

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
    double start;

    map(space, 0, PAGE(64), RW);
    for (unsigned i = 0; i < 64; i++)
        put(space, PAGE(i));
    test_run(&world, 0, space);
    start = now();
    for (unsigned i = 0; i < LOADS; i++) {
        uint64_t word;

        must(soft_load(world.cpu[0], PAGE(i & 63) + (sum & 8), &word, sizeof word));
        sum += word;
    }
    figure("soft.load.ns", (now() - start) / LOADS, "ns");
    test_end(&world, space);
}

int main(void)
{
    test_world_create(&world, &(struct test_options){.frames = 32768, .max_spaces = 64});
    clock_calibrate();
    bench_fork_bytes();
    bench_fork_regions();
    bench_fork_spread();
    bench_writes();
    bench_drop();
    bench_access();
    bench_frame_bytes();
    if (quire_check(world.q)) {
        fprintf(stderr, "bench: the auditor is not content\n");
        return 1;
    }
    test_world_destroy(&world);
    return 0;
}
