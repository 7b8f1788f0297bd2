/* SPDX-License-Identifier: MIT */
/*
 * Virtual CPUs on real threads, all of them in one manager at once.
 *
 * Goal: whatever the processors' timing, every space reads back what was stored in it, a right that
 * was taken away is gone, a fork has one instant, and nothing is lost.  Method: each case is a
 * number of rounds.  In a round every worker is a thread that plays one virtual CPU; before and
 * after it the main thread is alone, and then the auditor finds nothing and every frame comes back.
 *
 * Words.  Pages are written in words of eight bytes.  Each worker has words of its own in every
 * page and stores nowhere else, so it knows what it must read, and the accesses of two workers
 * never race in the program's own terms (the thread sanitizer would say so).  A stored word names
 * its worker, and counts, so a word that reads wrong says whose it is.
 *
 * A run can not be repeated, since the processors decide; a failure prints the seed, which makes
 * the workers choose the same operations again.
 */
#define _GNU_SOURCE
#include "threads.h"
#include "space.h"

#include <time.h>

/* ---- rounds ---------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static void (*work)(struct worker *w); /* of this round; null: end */
static uint64_t seed = 1;              /* of this round */
static double seconds = 1;             /* of each test */
static uint32_t limbo_max;             /* of the manager, as it was made */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;

    for (;;) {
        pthread_barrier_wait(&barrier);
        if (!work)
            return NULL;
        /* In one round of four two workers say that they are the same CPU: they take turns. */
        test_cpu = seed % 4 == 0 ? w->number / 2 : w->number;
        memset(w->shadow, 0, sizeof w->shadow);
        work(w);
        run(w, NULL);
        soft_cpu_leave(w->cpu);
        pthread_barrier_wait(&barrier);
    }
}

static void round_run(void (*begin)(void), void (*each)(struct worker *w), void (*end)(void))
{
    uint32_t free = quire_free_frames(world.q);

    /* In one round of two what is freed is used again as early as it may be. */
    world.q->frames.limbo_max = seed % 2 ? limbo_max : 0;
    begin();
    say(0);
    work = each;
    for (uint32_t i = 0; i < WORKERS; i++)
        workers[i].random = seed * WORKERS + i;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    test_world_audit(&world, "after the workers");
    end();
    test_world_audit(&world, "at the end of a round");
    CHECK(quire_free_frames(world.q) == free);
}

static void world_begin(uint32_t frames, uint32_t slots)
{
    test_world_create(&world, &(struct test_options){.cpus = WORKERS + 1,
                                                     .threads = true,
                                                     .frames = frames,
                                                     .max_slots = slots,
                                                     .keep_free = frames, /* all that can leave */
                                                     .max_pins = WORKERS,
                                                     .max_sections = 1});
    limbo_max = world.q->frames.limbo_max;
    test_cpu = WORKERS;
    pthread_barrier_init(&barrier, NULL, WORKERS + 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.number = i, .cpu = world.cpu[i]};
        CHECK(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
    }
}

static void world_end(void)
{
    work = NULL;
    pthread_barrier_wait(&barrier);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
    test_world_destroy(&world);
}

void rounds_in(uint32_t frames, uint32_t slots, void (*begin)(void), void (*each)(struct worker *w),
               void (*end)(void))
{
    uint64_t until = now_ns() + (uint64_t)(seconds * 1e9), first = seed;
    static char name[80];

    world_begin(frames, slots);
    for (const char *test = check_name; now_ns() < until; seed++) {
        /* A failed CHECK prints it. */
        snprintf(name, sizeof name, "%s --seed %llu", test, (unsigned long long)seed);
        check_name = name;
        round_run(begin, each, end);
        check_name = test;
    }
    world_end();
    FIGURES("%llu rounds", (unsigned long long)(seed - first));
}

/* ---- faults and forks ------------------------------------------------------------------------ */

/* Each worker in a leaf of its own: zero pages, fresh pages, tables. */
static void work_apart(struct worker *w)
{
    vaddr_t leaf = (2 + w->number) * LEAF;

    run(w, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        uint32_t page = below(w, PAGES);
        uint64_t *shadow = &w->shadow[0][page][0];

        if (below(w, 2))
            store(w, leaf + PAGE(page), *shadow = word_new(w));
        CHECK(load(w, leaf + PAGE(page)) == *shadow);
    }
}

/* All workers in the same pages of the same leaves. */
static void work_together(struct worker *w)
{
    run(w, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS; i++)
        touch(w, 0);
    verify(w, 0);
}

/* The same in many spaces, from one to the other: identifiers, and flushes for spaces that do not
 * run. */
static void begin_many(void)
{
    for (uint32_t s = 0; s < SPACES; s++)
        spaces[s] = s ? fork_of(spaces[0]) : space_new();
}

static void work_switching(struct worker *w)
{
    uint32_t s = 0;

    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (i % 8 == 0) {
            s = below(w, SPACES);
            run(w, spaces[s]);
        }
        touch(w, s);
    }
    for (s = 0; s < SPACES; s++) {
        run(w, spaces[s]);
        verify(w, s);
    }
}

/* The mark has gone, and the space borrows all pages but two from tables of its own past: nearly
 * all first writes take the page, and whoever is second finds it taken. */
static void begin_reuses(void)
{
    begin_copies();
    for (uint32_t page = PAGES - 2; page < PAGES; page++)
        CHECK_OK(quire_write(spaces[0], page_at(page) + MIDDLE, &nobodys, sizeof nobodys, NULL));
    quire_space_destroy(spaces[1]);
    spaces[1] = NULL;
}

/*
 * What is said to be stored is seen: worker 0 copies page after page under the others' translations
 * and says how far it is; who hears it reads the copies (bugs.md row 12).
 */
static void work_passing(struct worker *w)
{
    uint32_t passed = 0;

    run(w, spaces[0]);
    for (uint32_t page = 0; w->number == 0 && page < PAGES; page++) {
        store(w, word_at(w, page, 0), page + 1);
        say(page + 1);
        rest(w);
    }
    for (uint32_t i = 1; passed < PAGES; i++) {
        uint32_t page = below(w, PAGES);

        CHECK(load(w, page_at(page) + MIDDLE) == nobodys);
        passed = said();
        for (page = 0; page < passed; page++)
            CHECK(load(w, word_at(&workers[0], page, 0)) == page + 1);
        if (i % 64 == 0)
            rest(w);
    }
}

/* Half of the workers go through quire_read and quire_write. */
static void work_outside(struct worker *w)
{
    if (w->number % 2)
        run(w, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (w->number % 2)
            touch(w, 0);
        else
            touch_through_quire(w, 0);
    }
    run(w, spaces[0]);
    verify(w, 0);
}

/*
 * Forks with faults in flight.  A writer counts in two pages of two leaves, first in A, then in B;
 * a forker's child was made at one instant, so its A is its B, or one more.
 */
static void fork_and_look(struct worker *w, struct quire_space **child)
{
    soft_cpu_leave(w->cpu);
    *child = fork_of(spaces[0]);
    run(w, *child);
    for (uint32_t i = 0; i < WORKERS; i++) {
        uint64_t a, b;

        a = load(w, word_at(&workers[i], 0, 0));
        b = load(w, word_at(&workers[i], 1, 0));
        CHECK(count_of(a) == count_of(b) || count_of(a) == count_of(b) + 1);
        CHECK(a == 0 || owner_of(a) == i + 1);
    }
    store(w, word_at(w, below(w, PAGES), 1), word_new(w));
}

static void work_forks(struct worker *w)
{
    struct quire_space *children[3] = {NULL};
    bool writes = w->number % 2;

    if (writes)
        run(w, spaces[0]);
    for (uint32_t i = 1; i <= OPERATIONS / 4; i++) {
        struct quire_space **child = &children[i % 3];
        uint64_t word = word_new(w);

        if (writes) {
            store(w, word_at(w, 0, 0), (uint64_t)(w->number + 1) << 56 | i);
            store(w, word_at(w, 1, 0), (uint64_t)(w->number + 1) << 56 | i);
            store(w, word_at(w, 2 + i % (PAGES - 2), 0), word);
            CHECK(load(w, word_at(w, 2 + i % (PAGES - 2), 0)) == word);
            continue;
        }
        if (*child) {
            run(w, NULL);
            soft_cpu_leave(w->cpu);
            quire_space_destroy(*child);
        }
        fork_and_look(w, child);
    }
    run(w, NULL);
    soft_cpu_leave(w->cpu);
    for (uint32_t i = 0; i < 3; i++) {
        if (children[i])
            quire_space_destroy(children[i]);
    }
}

/*
 * Twins: each worker runs a fork of one parent, forks and ends its own as it goes; who is the last
 * user of a page changes all the time.  The parent ends first.
 */
static void work_twins(struct worker *w)
{
    struct quire_space *space = spaces[1 + w->number], *child;

    memset(w->shadow[0], 0, sizeof w->shadow[0]);
    run(w, space);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (w->number == 0 && i == OPERATIONS / 2) {
            soft_cpu_leave(w->cpu);
            quire_space_destroy(spaces[0]);
            spaces[0] = NULL;
            soft_cpu_enter(w->cpu);
        }
        if (i % 50 == 49) {
            soft_cpu_leave(w->cpu);
            child = fork_of(space);
            run(w, child);
            soft_cpu_leave(w->cpu);
            quire_space_destroy(space);
            soft_cpu_enter(w->cpu);
            space = child;
        }
        touch(w, 0);
    }
    verify(w, 0);
    run(w, NULL);
    soft_cpu_leave(w->cpu);
    quire_space_destroy(space);
    spaces[1 + w->number] = NULL;
}

static void begin_twins(void)
{
    begin_full();
    for (uint32_t i = 0; i < WORKERS; i++)
        spaces[1 + i] = fork_of(spaces[0]);
}

void rounds(void (*begin)(void), void (*each)(struct worker *w), void (*end)(void))
{
    rounds_in(8192, 0, begin, each, end);
}

static void apart(void) { rounds(begin_one, work_apart, end_all); }
static void together(void) { rounds(begin_one, work_together, end_all); }
static void switching(void) { rounds(begin_many, work_switching, end_all); }
static void copies(void) { rounds(begin_copies, work_together, end_copies); }
static void reuses(void) { rounds(begin_reuses, work_together, end_all); }
static void passing(void) { rounds(begin_copies, work_passing, end_copies); }
static void outside(void) { rounds(begin_copies, work_outside, end_copies); }
static void forks(void) { rounds(begin_one, work_forks, end_all); }
static void twins(void) { rounds(begin_twins, work_twins, end_all); }

/* [--seconds N] [--seed N] [tests...] */
int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        TEST(apart),   TEST(together),     TEST(switching),    TEST(copies),       TEST(reuses),
        TEST(passing), TEST(outside),      TEST(forks),        TEST(twins),        TEST(taken_away),
        TEST(moved),   TEST(discarded),    TEST(backed_up),    TEST(pinned),       TEST(looked_at),
        TEST(scarce),  TEST(written_back), TEST(written_late), TEST(cut_off),      TEST(copied),
        TEST(paged),   TEST(paged_late),   TEST(paged_twins),  TEST(paged_scarce),
    };
    int count = 1;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            seconds = atof(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else
            argv[count++] = argv[i];
    }
    return check_main("threads", tests, sizeof tests / sizeof tests[0], count, argv);
}
