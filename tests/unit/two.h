/* SPDX-License-Identifier: MIT */
/*
 * Two calls at once, on one thread: CPU 0 makes one, and CPU 1 the other, on a stack of its own.
 *
 * CPU 1 begins where a test says so, when CPU 0 has passed a list of *spots*, accesses to shared
 * words, or at the n-th access of all (two_calls_at: a test can try every n).  It stops at the last
 * spot of a list of its own, in its first flush, or where it says so itself, and goes on when CPU 0
 * has to wait, for which there is nobody else; so each test is one exact schedule.
 */
#ifndef TESTS_UNIT_TWO_H
#define TESTS_UNIT_TWO_H

#include <ucontext.h>

#include "unit.h"

enum { SPOTS = 4, OTHER_STACK = 1 << 18, PATIENCE = 16 };

struct spot {
    const void *word;
    bool write;
};

static struct {
    struct spot way[2][SPOTS]; /* of each CPU: spots that it passes, in order */
    unsigned passed[2];
    unsigned at;           /* accesses of CPU 0 until CPU 1 begins; 0: it goes by the spots */
    unsigned alone;        /* waits with nobody else there */
    unsigned yields;       /* since one of them gave up looking */
    bool in_flush;         /* CPU 1 stops in its flush */
    unsigned began, ended; /* calls of CPU 1 */
    void (*other)(void);   /* CPU 1's call */
    ucontext_t context[2];
    char stack[OTHER_STACK];
} two;

static void other_body(void)
{
    two.other();
    two.ended++;
    test_cpu = 0;
}

static void other_go_on(void)
{
    test_cpu = 1;
    CHECK(swapcontext(&two.context[0], &two.context[1]) == 0);
}

static void other_stop(void)
{
    test_cpu = 0;
    CHECK(swapcontext(&two.context[1], &two.context[0]) == 0);
}

static void other_begin(void)
{
    two.began++;
    CHECK(getcontext(&two.context[1]) == 0);
    two.context[1].uc_stack.ss_sp = two.stack;
    two.context[1].uc_stack.ss_size = sizeof two.stack;
    two.context[1].uc_link = &two.context[0];
    makecontext(&two.context[1], other_body, 0);
    other_go_on();
}

static void two_touch(const void *address, bool write)
{
    unsigned cpu = test_cpu, *passed = &two.passed[cpu];
    const struct spot *spot = &two.way[cpu][*passed];

    if (cpu == 0 && two.at > 0 && --two.at == 0)
        other_begin();
    if (*passed == SPOTS || spot->word != address || spot->write != write)
        return;
    ++*passed;
    if (*passed < SPOTS && two.way[cpu][*passed].word)
        return;
    *passed = SPOTS;
    if (cpu == 0)
        other_begin();
    else
        other_stop();
}

static void two_flush(struct soft_machine *machine, struct quire_space *space, vaddr_t low,
                      vaddr_t high)
{
    (void)machine, (void)space, (void)low, (void)high;
    if (test_cpu == 0 || !two.in_flush)
        return;
    two.in_flush = false;
    other_stop();
}

static void two_wait(struct test_world *world, const void *key)
{
    (void)world, (void)key;
    if (two.began == two.ended)
        CHECK(++two.alone < PATIENCE); /* what it waits for has ended meanwhile, or never will */
    else if (test_cpu == 0)
        other_go_on();
    else
        other_stop();
}

/* Who has looked again and again lets the other one go on. */
static inline void two_yield(struct test_world *world)
{
    (void)world;
    if (++two.yields < PATIENCE)
        return;
    two.yields = 0;
    if (test_cpu == 1)
        other_stop();
    else if (two.began > two.ended)
        other_go_on();
}

static bool two_run(struct unit *u, void (*call)(void), void (*other)(void))
{
    bool waited;

    two.other = other;
    two.began = two.ended = two.alone = 0;
    two.passed[0] = two.passed[1] = 0;
    u->w.wait = two_wait;
    u->w.machine->on_flush = two_flush;
    test_touch = two_touch;
    if (!two.way[0][0].word && two.at == 0)
        other_begin();
    call();
    waited = two.ended > 0;
    while (two.ended < two.began)
        other_go_on();
    test_touch = NULL;
    u->w.machine->on_flush = NULL;
    u->w.wait = NULL;
    return waited;
}

/* CPU 0 makes `call`, and CPU 1 the other one at CPU 0's n-th access; false: there are fewer. */
static inline bool two_calls_at(struct unit *u, void (*call)(void), void (*other)(void), unsigned n)
{
    two.at = n;
    (void)two_run(u, call, other);
    two.at = 0;
    return two.began == 1;
}

/*
 * CPU 0 makes `call`, and CPU 1 the other one: at once, if no spots are given.  Returns whether CPU
 * 0 waited for CPU 1.
 */
static inline bool two_calls(struct unit *u, void (*call)(void), void (*other)(void))
{
    bool waited = two_run(u, call, other);

    CHECK(two.began == 1);
    CHECK(!two.in_flush && (!two.way[1][0].word || two.passed[1] == SPOTS));
    memset(two.way, 0, sizeof two.way);
    return waited;
}

#endif
