/* SPDX-License-Identifier: MIT */
/*
 * Tests of copy-on-write as a program sees it: after a fork each side has its own memory, whoever
 * writes first, however protections change, however often it forks, and whoever does the writing,
 * the program or the kernel on its behalf.
 *
 * Goal: no byte written on one side is ever seen on the other, and none is lost.  Method: families
 * of processes that write different values to the same addresses, take turns by pipes, and compare.
 * Rows are those of docs/bugs.md.
 */
#include "usertests.h"

enum { PAGES = 40 };

static void pages_fill(uint8_t *at, unsigned count, uint8_t seed)
{
    for (unsigned i = 0; i < count; i++) {
        at[i * PAGE] = (uint8_t)(seed + i);
        at[i * PAGE + PAGE - 1] = (uint8_t)(seed ^ i);
    }
}

static bool pages_hold(const volatile uint8_t *at, unsigned count, uint8_t seed)
{
    for (unsigned i = 0; i < count; i++) {
        if (at[i * PAGE] != (uint8_t)(seed + i) || at[i * PAGE + PAGE - 1] != (uint8_t)(seed ^ i)) {
            return false;
        }
    }
    return true;
}

/* A barrier between two processes: each end of it gives way to the other. */
struct turns {
    int to_child[2], to_parent[2];
};

static void turns_make(struct turns *t)
{
    EXPECT_EQUAL(sys_pipe2(t->to_child, 0), 0);
    EXPECT_EQUAL(sys_pipe2(t->to_parent, 0), 0);
}

static void turn_give(int pipe[2])
{
    char byte = 0;

    EXPECT_EQUAL(sys_write(pipe[1], &byte, 1), 1);
}

static void turn_await(int pipe[2])
{
    char byte;

    EXPECT_EQUAL(sys_read(pipe[0], &byte, 1), 1);
}

void test_cow_child_writes(void)
{
    uint8_t *at = pages_map(PAGES);

    pages_fill(at, PAGES, 1);
    int pid = child_fork();
    if (pid == 0) {
        EXPECT(pages_hold(at, PAGES, 1));
        pages_fill(at, PAGES, 99);
        EXPECT(pages_hold(at, PAGES, 99));
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT(pages_hold(at, PAGES, 1));
    pages_fill(at, PAGES, 50);
    EXPECT(pages_hold(at, PAGES, 50));
}

void test_cow_parent_writes(void)
{
    struct turns turns;
    uint8_t *at = pages_map(PAGES);

    turns_make(&turns);
    pages_fill(at, PAGES, 1);
    int pid = child_fork();
    if (pid == 0) {
        turn_await(turns.to_child);
        EXPECT(pages_hold(at, PAGES, 1));
        pages_fill(at, PAGES, 3);
        turn_give(turns.to_parent);
        turn_await(turns.to_child);
        EXPECT(pages_hold(at, PAGES, 3));
        sys_exit(0);
    }
    pages_fill(at, PAGES, 2);
    turn_give(turns.to_child);
    turn_await(turns.to_parent);
    EXPECT(pages_hold(at, PAGES, 2));
    pages_fill(at, PAGES, 4);
    turn_give(turns.to_child);
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT(pages_hold(at, PAGES, 4));
}

/* Row 35: fork again while pages are still shared from the first fork, then write in all three. */
void test_refork_before_write(void)
{
    uint8_t *at = pages_map(PAGES);

    pages_fill(at, PAGES, 1);
    int first = child_fork();
    if (first == 0) {
        int pid = child_fork();
        if (pid == 0) {
            pages_fill(at, PAGES, 7);
            EXPECT(pages_hold(at, PAGES, 7));
            sys_exit(0);
        }
        EXPECT(pages_hold(at, PAGES, 1));
        pages_fill(at, PAGES, 8);
        EXPECT(ended_by_exit(child_wait(pid), 0));
        EXPECT(pages_hold(at, PAGES, 8));
        sys_exit(0);
    }
    int second = child_fork();
    if (second == 0) {
        pages_fill(at, PAGES, 9);
        EXPECT(pages_hold(at, PAGES, 9));
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(first), 0));
    EXPECT(ended_by_exit(child_wait(second), 0));
    EXPECT(pages_hold(at, PAGES, 1));
    pages_fill(at, PAGES, 2);
    EXPECT(pages_hold(at, PAGES, 2));
}

/* Row 36: read-only at the instant of the fork, writable after it: still private to each side. */
void test_readonly_then_writable(void)
{
    uint8_t *at = pages_map(PAGES);
    uint64_t length = PAGES * PAGE;

    pages_fill(at, PAGES, 1);
    EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_READ), 0);
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_RW), 0);
        pages_fill(at, PAGES, 5);
        EXPECT(pages_hold(at, PAGES, 5));
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT(pages_hold(at, PAGES, 1));
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_WRITE), SIGSEGV);
    EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_RW), 0);
    pages_fill(at, PAGES, 6);
    EXPECT(pages_hold(at, PAGES, 6));
}

/* Each generation writes its own tenth of the pages, forks, and finds its elders' writes. */
static void generation_live(uint8_t *at, unsigned depth, unsigned last)
{
    pages_fill(at + depth * 4 * PAGE, 4, (uint8_t)(10 * depth));
    if (depth < last) {
        int pid = child_fork();
        if (pid == 0) {
            generation_live(at, depth + 1, last);
            sys_exit(0);
        }
        EXPECT(ended_by_exit(child_wait(pid), 0));
        /* What the descendants wrote must not be here. */
        EXPECT_EQUAL(at[(depth + 1) * 4 * PAGE], 0xee);
    }
    for (unsigned i = 0; i <= depth; i++) {
        EXPECT(pages_hold(at + i * 4 * PAGE, 4, (uint8_t)(10 * i)));
    }
}

void test_fork_of_fork_of_fork(void)
{
    uint8_t *at = pages_map(PAGES);

    memset(at, 0xee, PAGES * PAGE);
    generation_live(at, 0, 9);
}

/* Row 39: the same addresses are unmapped and mapped again while a fork twin uses the old pages. */
void test_remap_while_twin_lives(void)
{
    struct turns turns;
    uint8_t *at = pages_map(PAGES);
    uint64_t half = PAGES / 2 * PAGE;

    turns_make(&turns);
    pages_fill(at, PAGES, 1);
    int pid = child_fork();
    if (pid == 0) {
        turn_await(turns.to_child);
        EXPECT(pages_hold(at, PAGES, 1));
        pages_fill(at, PAGES, 2);
        turn_give(turns.to_parent);
        turn_await(turns.to_child);
        EXPECT(pages_hold(at, PAGES, 2));
        sys_exit(0);
    }
    EXPECT_EQUAL(sys_munmap(address_of(at) + half, half), 0);
    EXPECT_EQUAL(
        sys_mmap(address_of(at) + half, half, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
        address_of(at) + half);
    for (uint64_t i = 0; i < half; i++) {
        EXPECT_EQUAL(at[half + i], 0);
    }
    pages_fill(at + half, PAGES / 2, 30);
    turn_give(turns.to_child);
    turn_await(turns.to_parent);
    EXPECT(pages_hold(at, PAGES / 2, 1));
    EXPECT(pages_hold(at + half, PAGES / 2, 30));
    turn_give(turns.to_child);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

enum state {
    STATE_UNTOUCHED,
    STATE_ZERO,
    STATE_PRIVATE,
    STATE_SHARED_PARENT,
    STATE_SHARED_CHILD,
    STATE_LAST_SHARER,
    STATE_REFORKED,
    STATE_PROTECTED_ONCE,
    STATE_COUNT
};

static int helper_pid;
static struct turns helper_turns;

/* A child that keeps sharing `at` until helper_end, then checks that it saw no write. */
static void helper_start(uint8_t *at, uint8_t seed)
{
    turns_make(&helper_turns);
    helper_pid = child_fork();
    if (helper_pid == 0) {
        turn_await(helper_turns.to_child);
        EXPECT(pages_hold(at, 2, seed));
        sys_exit(0);
    }
}

static void helper_end(void)
{
    turn_give(helper_turns.to_child);
    EXPECT(ended_by_exit(child_wait(helper_pid), 0));
    for (int i = 0; i < 2; i++) {
        (void)sys_close(helper_turns.to_child[i]);
        (void)sys_close(helper_turns.to_parent[i]);
    }
}

/* The kernel writes 100 bytes across the boundary of two pages, and reads them back. */
static void copyout_check(uint8_t *at)
{
    uint8_t out[100];
    uint8_t back[100];
    int ends[2];

    for (unsigned i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i + 100);
    }
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    EXPECT_EQUAL(sys_write(ends[1], out, sizeof(out)), sizeof(out));
    EXPECT_EQUAL(sys_read(ends[0], at + PAGE - 50, sizeof(out)), sizeof(out));
    EXPECT_EQUAL(memcmp(at + PAGE - 50, out, sizeof(out)), 0);
    EXPECT_EQUAL(sys_write(ends[1], at + PAGE - 50, sizeof(out)), sizeof(out));
    EXPECT_EQUAL(sys_read(ends[0], back, sizeof(back)), sizeof(back));
    EXPECT_EQUAL(memcmp(back, out, sizeof(out)), 0);
    (void)sys_close(ends[0]);
    (void)sys_close(ends[1]);
}

/* Row 44: the kernel's own writes to a page in every state that copy-on-write knows. */
static void copyout_in(enum state state)
{
    uint8_t *at = pages_map(2);
    int pid;

    if (state == STATE_ZERO) {
        EXPECT_EQUAL(*(volatile uint8_t *)at + *(volatile uint8_t *)(at + PAGE), 0);
    } else if (state != STATE_UNTOUCHED) {
        pages_fill(at, 2, 9);
    }
    switch (state) {
    case STATE_SHARED_PARENT:
        helper_start(at, 9);
        copyout_check(at);
        helper_end();
        break;
    case STATE_SHARED_CHILD:
    case STATE_REFORKED:
        pid = child_fork();
        if (pid == 0) {
            if (state == STATE_REFORKED) {
                helper_start(at, 9);
            }
            copyout_check(at);
            if (state == STATE_REFORKED) {
                helper_end();
            }
            sys_exit(0);
        }
        EXPECT(ended_by_exit(child_wait(pid), 0));
        EXPECT(pages_hold(at, 2, 9));
        break;
    case STATE_LAST_SHARER:
        helper_start(at, 9);
        at[0] = at[0];
        helper_end();
        copyout_check(at);
        break;
    case STATE_PROTECTED_ONCE:
        EXPECT_EQUAL(sys_mprotect(address_of(at), 2 * PAGE, PROT_READ), 0);
        helper_start(at, 9);
        EXPECT_EQUAL(sys_mprotect(address_of(at), 2 * PAGE, PROT_RW), 0);
        copyout_check(at);
        helper_end();
        break;
    case STATE_UNTOUCHED:
    case STATE_ZERO:
    case STATE_PRIVATE:
    case STATE_COUNT: copyout_check(at); break;
    }
    EXPECT_EQUAL(sys_munmap(address_of(at), 2 * PAGE), 0);
}

void test_copyout_states(void)
{
    int ends[2];
    uint8_t *at = pages_map(3);

    for (int state = 0; state < STATE_COUNT; state++) {
        copyout_in((enum state)state);
    }
    /* The kernel is refused where the program would be. */
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    pages_fill(at, 3, 4);
    EXPECT_EQUAL(sys_mprotect(address_of(at), PAGE, PROT_READ), 0);
    EXPECT_EQUAL(sys_mprotect(address_of(at) + PAGE, PAGE, PROT_NONE), 0);
    EXPECT_EQUAL(sys_munmap(address_of(at) + 2 * PAGE, PAGE), 0);
    EXPECT_EQUAL(sys_write(ends[1], "abc", 3), 3);
    EXPECT_EQUAL(sys_write(ends[1], at + PAGE, 3), -EFAULT);
    EXPECT_EQUAL(sys_write(ends[1], at + 2 * PAGE, 3), -EFAULT);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT_EQUAL(sys_read(ends[0], at + i * PAGE, 1), -EFAULT);
    }
    EXPECT_EQUAL(at[0], 4);
}

/* Row 44, second half: a fork happens between the call and the copy, in a read that waits. */
void test_copyout_fork_between(void)
{
    uint8_t *at = pages_map(2);
    int ends[2];

    pages_fill(at, 2, 1);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        sleep_ms(20);
        pages_fill(at, 2, 2);
        int grandchild = child_fork();
        if (grandchild == 0) {
            EXPECT_EQUAL(sys_write(ends[1], "qqqqqqqq", 8), 8);
            EXPECT(pages_hold(at, 2, 2));
            sys_exit(0);
        }
        EXPECT(ended_by_exit(child_wait(grandchild), 0));
        sleep_ms(5);
        EXPECT(pages_hold(at, 2, 2));
        sys_exit(0);
    }
    EXPECT_EQUAL(sys_read(ends[0], at + PAGE - 4, 8), 8);
    EXPECT_EQUAL(at[PAGE - 4], 'q');
    EXPECT_EQUAL(at[PAGE + 3], 'q');
    EXPECT_EQUAL(at[0], 1);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

void test_protect_forked(void)
{
    uint8_t *at = pages_map(PAGES);

    pages_fill(at, PAGES, 1);
    int pid = child_fork();
    if (pid == 0) {
        /* A part of what is shared becomes read-only here, and here alone. */
        EXPECT_EQUAL(sys_mprotect(address_of(at) + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
        EXPECT_EQUAL(access_try(address_of(at) + 4 * PAGE, ACCESS_WRITE), SIGSEGV);
        EXPECT_EQUAL(access_try(address_of(at) + 7 * PAGE, ACCESS_READ), 0);
        EXPECT_EQUAL(access_try(address_of(at) + 3 * PAGE, ACCESS_WRITE), 0);
        EXPECT_EQUAL(access_try(address_of(at) + 8 * PAGE, ACCESS_WRITE), 0);
        EXPECT(pages_hold(at, PAGES, 1));
        EXPECT_EQUAL(sys_mprotect(address_of(at), PAGES * PAGE, PROT_RW), 0);
        pages_fill(at, PAGES, 2);
        EXPECT(pages_hold(at, PAGES, 2));
        sys_exit(0);
    }
    pages_fill(at, PAGES / 2, 3);
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT(pages_hold(at, PAGES / 2, 3));
}

void test_protect_none_and_back(void)
{
    uint8_t *at = pages_map(PAGES);
    uint64_t length = PAGES * PAGE;

    pages_fill(at, PAGES, 1);
    EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_NONE), 0);
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_READ), SIGSEGV);
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_RW), 0);
        EXPECT(pages_hold(at, PAGES, 1));
        pages_fill(at, PAGES, 2);
        EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_NONE), 0);
        EXPECT_EQUAL(access_try(address_of(at) + length - 1, ACCESS_READ), SIGSEGV);
        EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_READ), 0);
        EXPECT(pages_hold(at, PAGES, 2));
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_READ), SIGSEGV);
    EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_RW), 0);
    EXPECT(pages_hold(at, PAGES, 1));
    /* Hidden again while a child shares the tables, shown again after it has gone. */
    pid = child_fork();
    if (pid == 0) {
        EXPECT(pages_hold(at, PAGES, 1));
        sys_exit(0);
    }
    EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_NONE), 0);
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(sys_mprotect(address_of(at), length, PROT_RW), 0);
    EXPECT(pages_hold(at, PAGES, 1));
    pages_fill(at, PAGES, 5);
    EXPECT(pages_hold(at, PAGES, 5));
}

/* Row 28: more sharers of one page than a narrow count could hold. */
void test_many_sharers(void)
{
    enum { SHARERS = 300 };
    static int pids[SHARERS];
    struct turns turns;
    uint8_t *at = pages_map(2);
    char byte;
    int count;

    turns_make(&turns);
    pages_fill(at, 2, 1);
    for (count = 0; count < SHARERS; count++) {
        pids[count] = sys_fork();
        if (pids[count] == 0) {
            (void)sys_close(turns.to_child[1]);
            (void)sys_read(turns.to_child[0], &byte, 1);
            EXPECT(pages_hold(at, 2, 1));
            at[0] = (uint8_t)count;
            EXPECT_EQUAL(at[0], (uint8_t)count);
            sys_exit(0);
        }
        if (pids[count] < 0) {
            break;
        }
    }
    EXPECT(count >= 257);
    at[0] = 77;
    (void)sys_close(turns.to_child[1]);
    for (int i = 0; i < count; i++) {
        EXPECT(ended_by_exit(child_wait(pids[i]), 0));
    }
    EXPECT_EQUAL(at[0], 77);
}

/* Pages below different tables of every level, so that a fork shares many separate subtrees. */
void test_sparse_fork(void)
{
    static const uint64_t places[] = {0x10000000000, 0x10000001000, 0x10000200000, 0x10040000000,
                                      0x20000000000, 0x30000000000, 0x30000201000, 0x500000000000};
    enum { COUNT = sizeof(places) / sizeof(places[0]) };

    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_EQUAL(sys_mmap(places[i], PAGE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
                     places[i]);
        *(uint8_t *)pointer_to(places[i]) = (uint8_t)i;
    }
    int pid = child_fork();
    if (pid == 0) {
        for (unsigned i = 0; i < COUNT; i += 2) {
            *(uint8_t *)pointer_to(places[i]) = 100;
        }
        for (unsigned i = 1; i < COUNT; i += 2) {
            EXPECT_EQUAL(*(uint8_t *)pointer_to(places[i]), i);
        }
        sys_exit(0);
    }
    *(uint8_t *)pointer_to(places[1]) = 101;
    EXPECT(ended_by_exit(child_wait(pid), 0));
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_EQUAL(*(uint8_t *)pointer_to(places[i]), i == 1 ? 101 : (int)i);
    }
}

/* Row 49: a long line of generations, each of which ends once its child is there. */
void test_deep_generations(void)
{
    enum { GENERATIONS = 500 };
    uint8_t *at = pages_map(2);
    struct turns turns;

    turns_make(&turns);
    pages_fill(at, 2, 1);
    int pid = child_fork();
    if (pid > 0) {
        EXPECT(ended_by_exit(child_wait(pid), 0));
        turn_await(turns.to_parent);
        EXPECT(pages_hold(at, 2, 1));
        return;
    }
    for (int i = 0; i < GENERATIONS; i++) {
        pid = child_fork();
        if (pid > 0) {
            sys_exit(0);
        }
        at[PAGE - 1] = 1;
        EXPECT_EQUAL(at[0], i == 0 ? 1 : (uint8_t)(i - 1));
        at[0] = (uint8_t)i;
    }
    turn_give(turns.to_parent);
    sys_exit(0);
}
