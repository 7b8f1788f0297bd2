/* SPDX-License-Identifier: MIT */
/*
 * Many spaces at once, and many generations.
 *
 *   soft.depth.ratio        reads of a working set by a space that came out of 100,000 nested
 *                           forks, over the same reads of one that never forked
 *   soft.depth_kept.ratio   the same where all the ancestors live on
 *   soft.depth.stack.bytes, soft.depth.frames_per_page
 *                           what those generations took: the deepest stack of any call, and frames
 *                           at the end for each page of the working set
 *   soft.live_forks.memory_ratio, soft.live_forks.metadata.bytes
 *                           memory of 10,000 live forks that changed 16 pages of one leaf each,
 *                           over these 16 pages; and what is not those pages, for each fork
 *   soft.live_forks_spread  the same with the 16 pages in 16 leaves
 *
 * A generation: fork, the child writes a page that the last ones did not, the parent goes.  So
 * each leaves a version of a page behind that has its home in a table of its own, which is the
 * worst that can be done to what a reader walks.
 *
 * Memory counts frames of every use but the embedder's, and the records of the spaces.
 */
#define _GNU_SOURCE
#include "parts.h"

#include <string.h>
#include <ucontext.h>

enum {
    SET = 2 * QUIRE_TABLE_ENTRIES, /* pages of the working set */
    GENERATIONS = 100000,
    FORKS = 10000,
    CHANGED = 16,
};

static struct quire_space *space_with_set(void)
{
    struct quire_space *space = space_new();

    map(space, 0, PAGE(SET), RW);
    fill(space, 0, PAGE(SET));
    return space;
}

/* ---- depth ----------------------------------------------------------------------------------- */

/* A word of each page, at another place of each, so that they do not meet in one set of a cache.
 * There are more pages than the machine's TLB holds, so each is walked for. */
static double read_turn(struct subject *s)
{
    struct watch watch;
    uint64_t word;

    test_run(&world, 0, s->space);
    watch = watch_start();
    for (unsigned i = 0; i < SET; i++)
        must(soft_load(world.cpu[0], PAGE(i) + i * 64 % QUIRE_PAGE_SIZE, &word, sizeof word));
    return watch_stop(watch);
}

/* Reads of `deep` over reads of a space that never forked. */
static double reads_ratio(struct quire_space *deep)
{
    static struct subject subjects[2];
    double largest;

    subjects[0].space = deep;
    subjects[1].space = space_with_set();
    subjects_compare(subjects, 2, read_turn, &largest);
    test_end(&world, subjects[1].space);
    return median(subjects[0].samples, SAMPLES) / median(subjects[1].samples, SAMPLES);
}

/*
 * The stack on which generations pass, so that one can see how deep it was.  A painted byte that
 * is not the paint any more was used.
 */
static unsigned char stack[1 << 20];
enum { PAINT = 0xa5 };
static ucontext_t caller, generations;
static struct quire_space *last;

static void pass_generations(void)
{
    uint32_t early = 0;

    for (unsigned i = 0; i < GENERATIONS; i++) {
        struct quire_space *child = fork_of(last);

        put(child, PAGE(i % SET));
        test_end(&world, last);
        last = child;
        if (i == GENERATIONS / 10)
            early = frames_used();
    }
    /* At most a table and a side frame for each version of a page that somebody still uses. */
    expect(frames_used() <= 3 * SET + 64, "generations leave frames behind");
    expect(frames_used() <= early + early / 8, "generations leave more and more frames behind");
}

static unsigned stack_used(void)
{
    unsigned free = 0;

    while (free < sizeof stack && stack[free] == PAINT)
        free++;
    return (unsigned)sizeof stack - free;
}

static void bench_depth(void)
{
    world_begin(8 * SET, 8);
    last = space_with_set();
    memset(stack, PAINT, sizeof stack);
    getcontext(&generations);
    generations.uc_stack.ss_sp = stack;
    generations.uc_stack.ss_size = sizeof stack;
    generations.uc_link = &caller;
    makecontext(&generations, pass_generations, 0);
    swapcontext(&caller, &generations);
    figure("soft.depth.ratio", reads_ratio(last), "ratio");
    figure("soft.depth.stack.bytes", stack_used(), "bytes");
    figure("soft.depth.frames_per_page", (double)frames_used() / SET, "frames");
    expect(stack_used() < 16384, "the stack grows with the generations");
    test_end(&world, last);
    world_end();
}

/* All ancestors live; every 16th of them wrote a page. */
static void bench_depth_kept(void)
{
    static struct quire_space *chain[GENERATIONS + 1];
    uint32_t free_before;

    world_begin(65536, GENERATIONS + 8);
    free_before = quire_free_frames(world.q);
    chain[0] = space_with_set();
    for (unsigned i = 1; i <= GENERATIONS; i++) {
        chain[i] = fork_of(chain[i - 1]);
        if (i % 16 == 0)
            put(chain[i], PAGE(i / 16 % SET));
    }
    figure("soft.depth_kept.ratio", reads_ratio(chain[GENERATIONS]), "ratio");
    for (unsigned i = 0; i <= GENERATIONS; i++)
        test_end(&world, chain[i]);
    expect(quire_free_frames(world.q) >= free_before, "a chain of forks leaves frames behind");
    world_end();
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Bytes of the arena for each space. */
static double record_bytes(void)
{
    struct quire_config one = world.config, two = world.config;

    two.max_spaces *= 2;
    return (double)(quire_arena_size(&two) - quire_arena_size(&one)) / one.max_spaces;
}

/* Forks of a space with 16 full leaves; each changes 16 pages, `step` bytes apart. */
static void bench_live_forks(const char *name, unsigned forks, uint64_t step, uint32_t frames_each)
{
    static struct quire_space *children[FORKS];
    const double pages = (double)CHANGED * QUIRE_PAGE_SIZE;
    struct quire_space *parent;
    uint32_t before;
    double each;

    world_begin(forks * frames_each + 2 * CHANGED * QUIRE_TABLE_ENTRIES, forks + 8);
    parent = space_new();
    map(parent, 0, GIB, RW);
    fill(parent, 0, CHANGED * LEAF);
    before = frames_used();
    for (unsigned i = 0; i < forks; i++) {
        children[i] = fork_of(parent);
        for (unsigned k = 0; k < CHANGED; k++)
            put(children[i], k * step);
    }
    each = (double)(frames_used() - before) * QUIRE_PAGE_SIZE / forks + record_bytes();
    figure_part(name, "memory_ratio", each / pages, "ratio");
    figure_part(name, "metadata.bytes", each - pages, "bytes");
    for (unsigned i = 0; i < forks; i++)
        test_end(&world, children[i]);
    put(parent, 0); /* takes its tables back */
    expect(frames_used() <= before, "forks leave frames behind");
    test_end(&world, parent);
    world_end();
}

void bench_many(void)
{
    bench_depth();
    bench_depth_kept();
    bench_live_forks("soft.live_forks", FORKS, QUIRE_PAGE_SIZE, CHANGED + QUIRE_LEVELS);
    bench_live_forks("soft.live_forks_spread", FORKS / 4, LEAF, 2 * CHANGED + QUIRE_LEVELS);
}
