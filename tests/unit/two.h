/* SPDX-License-Identifier: MIT */
/*
 * Two calls at once, on one thread: CPU 0 makes one, and CPU 1 the other, on a stack of its own.
 *
 * CPU 1 begins where a test says so, or when CPU 0 has passed a list of *spots*, accesses to shared
 * words.  It stops at the last spot of a list of its own, in its first flush, or where it says so
 * itself, and goes on when CPU 0 has to wait, for which there is nobody else; so each test is one
 * exact schedule.
 */
#ifndef TESTS_UNIT_TWO_H
#define TESTS_UNIT_TWO_H

#include <ucontext.h>

#include "unit.h"

enum { SPOTS = 4, OTHER_STACK = 1 << 18 };

struct spot {
    const void *word;
    bool write;
};

static struct {
    struct spot way[2][SPOTS]; /* of each CPU: spots that it passes, in order */
    unsigned passed[2];
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
    CHECK(two.began > two.ended); /* else nobody can end the wait */
    if (test_cpu == 0)
        other_go_on();
    else
        other_stop();
}

/*
 * CPU 0 makes `call`, and CPU 1 the other one: at once, if no spots are given.  Returns whether CPU
 * 0 waited for CPU 1.
 */
static inline bool two_calls(struct unit *u, void (*call)(void), void (*other)(void))
{
    bool waited;

    two.other = other;
    two.began = two.ended = 0;
    two.passed[0] = two.passed[1] = 0;
    u->w.wait = two_wait;
    u->w.machine->on_flush = two_flush;
    test_touch = two_touch;
    if (!two.way[0][0].word)
        other_begin();
    call();
    waited = two.ended > 0;
    while (two.ended < two.began)
        other_go_on();
    test_touch = NULL;
    u->w.machine->on_flush = NULL;
    u->w.wait = NULL;
    CHECK(two.began == 1);
    CHECK(!two.in_flush && (!two.way[1][0].word || two.passed[1] == SPOTS));
    memset(two.way, 0, sizeof two.way);
    return waited;
}

#endif
