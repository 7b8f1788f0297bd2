/* SPDX-License-Identifier: MIT */
/*
 * Tests of the calls that shape a space: brk, mmap, munmap, mprotect, the stack's growth, and
 * running out of memory.
 *
 * Goal: each call does what Linux's does, to exactly its range, and refuses what Linux refuses,
 * with the same error and nothing changed.  Method: try an access from a forked child (access_try),
 * since that is the only witness of what is mapped that a call cannot flatter.
 */
#include "usertests.h"

static const uint64_t kernel_addresses[] = {
    0x800000000000,     0xffff7fffffffffff, 0xffff800000000000,
    0xffffffff80000000, 0xfffffffffffff000, 0xffffffffffffffff,
};

enum { KERNEL_ADDRESSES = sizeof(kernel_addresses) / sizeof(kernel_addresses[0]) };

void test_brk(void)
{
    uint64_t start = sys_brk(0);

    EXPECT(start != 0);
    EXPECT_EQUAL(sys_brk(start + 3 * PAGE + 100), start + 3 * PAGE + 100);
    uint8_t *at = pointer_to(start);
    for (unsigned i = 0; i < 3 * PAGE + 100; i++) {
        EXPECT_EQUAL(at[i], 0);
        at[i] = 0xaa;
    }
    /* Shrink and grow: whole pages that were given back are zeros again. */
    EXPECT_EQUAL(sys_brk(start + PAGE), start + PAGE);
    EXPECT_EQUAL(sys_brk(start + 3 * PAGE), start + 3 * PAGE);
    uint64_t edge = (start + 2 * PAGE - 1) & ~(uint64_t)(PAGE - 1);
    EXPECT_EQUAL(*(uint8_t *)pointer_to(edge - 1), 0xaa);
    for (uint64_t p = edge + PAGE; p < start + 3 * PAGE; p++) {
        EXPECT_EQUAL(*(uint8_t *)pointer_to(p), 0);
    }
    /* What cannot be leaves it where it is. */
    EXPECT_EQUAL(sys_brk(start - PAGE), start + 3 * PAGE);
    EXPECT_EQUAL(sys_brk(0x7ffffffff000), start + 3 * PAGE);
    for (unsigned i = 0; i < KERNEL_ADDRESSES; i++) {
        EXPECT_EQUAL(sys_brk(kernel_addresses[i]), start + 3 * PAGE);
    }
    /* A child's brk is its own. */
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_brk(start), start);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(*(uint8_t *)pointer_to(start), 0xaa);
}

void test_map_holes(void)
{
    uint8_t *at = pages_map(8);
    uint64_t base = address_of(at);

    memset(at, 7, 8 * PAGE);
    EXPECT_EQUAL(sys_munmap(base + 2 * PAGE, PAGE), 0);
    EXPECT_EQUAL(sys_munmap(base + 5 * PAGE, 2 * PAGE), 0);
    static const bool mapped[] = {true, true, false, true, true, false, false, true};
    for (unsigned i = 0; i < 8; i++) {
        EXPECT_EQUAL(access_try(base + i * PAGE, ACCESS_READ), mapped[i] ? 0 : SIGSEGV);
        EXPECT_EQUAL(access_try(base + i * PAGE + PAGE - 1, ACCESS_WRITE), mapped[i] ? 0 : SIGSEGV);
    }
    /* Unmapping over holes is no error, and protecting over them is. */
    EXPECT_EQUAL(sys_mprotect(base, 8 * PAGE, PROT_READ), -ENOMEM);
    EXPECT_EQUAL(sys_mmap(base + 2 * PAGE, PAGE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
                 base + 2 * PAGE);
    EXPECT_EQUAL(at[2 * PAGE], 0);
    EXPECT_EQUAL(at[3 * PAGE], 7);
    EXPECT_EQUAL(sys_munmap(base, 8 * PAGE), 0);
    EXPECT_EQUAL(access_try(base + 7 * PAGE, ACCESS_READ), SIGSEGV);
    EXPECT_EQUAL(sys_munmap(base, 8 * PAGE), 0);
}

void test_unmap_unmaps(void)
{
    for (unsigned pages = 1; pages <= 1024; pages *= 4) {
        uint8_t *at = pages_map(pages);
        for (unsigned i = 0; i < pages; i++) {
            at[i * PAGE] = 1;
        }
        EXPECT_EQUAL(sys_munmap(address_of(at), (uint64_t)pages * PAGE), 0);
        EXPECT_EQUAL(access_try(address_of(at), ACCESS_READ), SIGSEGV);
        EXPECT_EQUAL(access_try(address_of(at) + (uint64_t)pages * PAGE - 1, ACCESS_WRITE),
                     SIGSEGV);
    }
}

/* What was unmapped and is mapped again shows nobody's bytes; MAP_FIXED replaces in one step. */
void test_unmap_zeroes(void)
{
    uint8_t *at = pages_map(16);

    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 16 * PAGE; i += 512) {
            EXPECT_EQUAL(at[i], 0);
            at[i] = (uint8_t)(round + 1);
        }
        if (round % 2 == 0) {
            EXPECT_EQUAL(sys_munmap(address_of(at), 16 * PAGE), 0);
        }
        EXPECT_EQUAL(
            sys_mmap(address_of(at), 16 * PAGE, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
            address_of(at));
    }
}

void test_map_arguments(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;

    EXPECT_EQUAL(sys_mmap(0, 0, PROT_RW, flags), -EINVAL);
    EXPECT_EQUAL(sys_mmap(0, PAGE, PROT_RW, MAP_ANONYMOUS), -EINVAL);
    EXPECT_EQUAL(sys_mmap(0x100000001, PAGE, PROT_RW, flags | MAP_FIXED), -EINVAL);
    EXPECT_EQUAL(sys_mmap(0, ~0ull - 100, PROT_RW, flags), -ENOMEM);
    EXPECT_EQUAL(sys_mmap(0, 1ull << 47, PROT_RW, flags), -ENOMEM);
    EXPECT_EQUAL(sys_mmap(0, 1ull << 63, PROT_RW, flags), -ENOMEM);
    EXPECT_EQUAL(sys_mmap(0x7ffffffff000, 2 * PAGE, PROT_RW, flags | MAP_FIXED), -ENOMEM);
    for (unsigned i = 0; i < KERNEL_ADDRESSES; i++) {
        uint64_t page = kernel_addresses[i] & ~(uint64_t)(PAGE - 1);
        EXPECT_EQUAL(sys_mmap(page, PAGE, PROT_RW, flags | MAP_FIXED), -ENOMEM);
        /* As a mere hint it is passed over. */
        long at = sys_mmap(page, PAGE, PROT_RW, flags);
        EXPECT(at > 0);
        EXPECT_EQUAL(sys_munmap((uint64_t)at, PAGE), 0);
    }
    /* A descriptor that is none. */
    EXPECT_EQUAL(call6(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 99, 0), -EBADF);
    /* A hint in use is passed over, and what is there stays. */
    uint8_t *there = pages_map(1);
    there[0] = 3;
    long at = sys_mmap(address_of(there), PAGE, PROT_RW, flags);
    EXPECT(at > 0);
    EXPECT((uint64_t)at != address_of(there));
    EXPECT_EQUAL(there[0], 3);
    /* A length is rounded up to pages. */
    at = sys_mmap(0, PAGE + 1, PROT_RW, flags);
    EXPECT(at > 0);
    *(uint8_t *)pointer_to((uint64_t)at + 2 * PAGE - 1) = 1;
}

void test_unmap_arguments(void)
{
    uint8_t *at = pages_map(2);
    uint64_t base = address_of(at);

    at[0] = 5;
    EXPECT_EQUAL(sys_munmap(base, 0), -EINVAL);
    EXPECT_EQUAL(sys_munmap(base + 1, PAGE), -EINVAL);
    EXPECT_EQUAL(sys_munmap(base, ~0ull), -EINVAL);
    EXPECT_EQUAL(sys_munmap(base, 1ull << 63), -EINVAL);
    for (unsigned i = 0; i < KERNEL_ADDRESSES; i++) {
        EXPECT_EQUAL(sys_munmap(kernel_addresses[i], PAGE), -EINVAL);
        EXPECT_EQUAL(sys_munmap(kernel_addresses[i] & ~(uint64_t)(PAGE - 1), PAGE), -EINVAL);
    }
    EXPECT_EQUAL(at[0], 5);
    EXPECT_EQUAL(sys_munmap(base, 1), 0);
    EXPECT_EQUAL(access_try(base, ACCESS_READ), SIGSEGV);
    EXPECT_EQUAL(access_try(base + PAGE, ACCESS_READ), 0);
}

void test_protect_arguments(void)
{
    uint8_t *at = pages_map(2);
    uint64_t base = address_of(at);

    EXPECT_EQUAL(sys_mprotect(base, 0, PROT_READ), 0);
    EXPECT_EQUAL(sys_mprotect(base + 1, PAGE, PROT_READ), -EINVAL);
    EXPECT_EQUAL(sys_mprotect(base, PAGE, 0x1000), -EINVAL);
    EXPECT_EQUAL(sys_mprotect(base, ~0ull & ~(uint64_t)(PAGE - 1), PROT_READ), -ENOMEM);
    for (unsigned i = 0; i < KERNEL_ADDRESSES; i++) {
        EXPECT_EQUAL(sys_mprotect(kernel_addresses[i] & ~(uint64_t)(PAGE - 1), PAGE, PROT_READ),
                     -ENOMEM);
    }
    at[0] = 1;
    EXPECT_EQUAL(sys_mprotect(base, 1, PROT_READ), 0);
    EXPECT_EQUAL(access_try(base + PAGE - 1, ACCESS_WRITE), SIGSEGV);
    EXPECT_EQUAL(access_try(base + PAGE, ACCESS_WRITE), 0);
}

void test_runaway_stack(void)
{
    int pid = child_fork();

    if (pid == 0) {
        sys_exit((int)stack_run_away(0));
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
    /* A stack that stays within 4 MiB is well. */
    pid = child_fork();
    if (pid == 0) {
        volatile uint8_t *low = (volatile uint8_t *)__builtin_frame_address(0);
        for (unsigned i = 0; i < 1024; i++) {
            *(low - i * PAGE) = (uint8_t)i;
        }
        for (unsigned i = 0; i < 1024; i++) {
            EXPECT_EQUAL(*(low - i * PAGE), (uint8_t)i);
        }
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

void test_noexec(void)
{
    uint8_t *at = pages_map(1);

    at[0] = 0xc3; /* ret */
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_JUMP), SIGSEGV);
    EXPECT_EQUAL(sys_mprotect(address_of(at), PAGE, PROT_READ | PROT_EXEC), 0);
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_JUMP), 0);
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_WRITE), SIGSEGV);
    EXPECT_EQUAL(sys_mprotect(address_of(at), PAGE, PROT_RW), 0);
    EXPECT_EQUAL(access_try(address_of(at), ACCESS_JUMP), SIGSEGV);
    /* The program's own code is not writable. */
    EXPECT_EQUAL(access_try((uint64_t)(uintptr_t)test_noexec, ACCESS_WRITE), SIGSEGV);
}

/* Memory that the machine does not have, touched until the kernel ends it. */
static _Noreturn void memory_eat(void)
{
    for (;;) {
        long at = sys_mmap(0, 64 << 20, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS);
        if (at < 0) {
            /* Refused the addresses: touched all that it could get. */
            sys_exit(3);
        }
        for (uint64_t i = 0; i < 64 << 20; i += PAGE) {
            *(uint8_t *)pointer_to((uint64_t)at + i) = 1;
        }
    }
}

void test_out_of_memory(void)
{
    int hold[2];
    uint8_t *at = pages_map(64);
    char byte = 0;

    if (!on_quire()) {
        return;
    }
    /* A bystander keeps its memory through the famine. */
    EXPECT_EQUAL(sys_pipe2(hold, 0), 0);
    memset(at, 0x5a, 64 * PAGE);
    int bystander = child_fork();
    if (bystander == 0) {
        EXPECT_EQUAL(sys_read(hold[0], &byte, 1), 1);
        for (unsigned i = 0; i < 64 * PAGE; i++) {
            EXPECT_EQUAL(at[i], 0x5a);
        }
        at[0] = 1;
        sys_exit(0);
    }
    for (int round = 0; round < 3; round++) {
        int pid = child_fork();
        if (pid == 0) {
            memory_eat();
        }
        int status = child_wait(pid);
        EXPECT((status & 0x7f) != 0 || ended_by_exit(status, 3));
    }
    EXPECT_EQUAL(sys_write(hold[1], &byte, 1), 1);
    EXPECT(ended_by_exit(child_wait(bystander), 0));
    for (unsigned i = 0; i < 64 * PAGE; i++) {
        EXPECT_EQUAL(at[i], 0x5a);
    }
}

/* The copies that a fork put off find no memory: one of the two is killed, the other is whole. */
void test_out_of_memory_forked(void)
{
    enum { CHUNK = 256, CHUNKS_MAX = 1024 };
    static uint8_t *at[CHUNKS_MAX];
    uint64_t chunks = 0;

    if (!on_quire()) {
        return;
    }
    int owner = child_fork();
    if (owner == 0) {
        /* Six tenths of what is free, so that a second set cannot fit. */
        uint64_t wanted = (uint64_t)frames_free() * 6 / 10 / CHUNK;
        for (; chunks < wanted && chunks < CHUNKS_MAX; chunks++) {
            at[chunks] = pages_map(CHUNK);
            for (unsigned i = 0; i < CHUNK; i++) {
                at[chunks][i * PAGE] = (uint8_t)chunks;
            }
        }
        int pid = child_fork();
        if (pid == 0) {
            for (uint64_t c = 0; c < chunks; c++) {
                for (unsigned i = 0; i < CHUNK; i++) {
                    at[c][i * PAGE] = 0xff;
                }
            }
            memory_eat();
        }
        int status = child_wait(pid);
        EXPECT((status & 0x7f) != 0 || ended_by_exit(status, 3));
        for (uint64_t c = 0; c < chunks; c++) {
            for (unsigned i = 0; i < CHUNK; i++) {
                EXPECT_EQUAL(at[c][i * PAGE], (uint8_t)c);
                at[c][i * PAGE] = 1;
            }
        }
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(owner), 0));
}

/* Who finds no memory because its child has taken it all outlives the child. */
void test_out_of_memory_parent(void)
{
    enum { PAGES = 512 };
    uint8_t *mine = pages_map(PAGES);
    int ready[2];
    char byte = 0;

    if (!on_quire()) {
        return;
    }
    EXPECT_EQUAL(sys_pipe2(ready, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        uint64_t count = (uint64_t)frames_free() - PAGES / 2;
        uint8_t *at = pages_map(count);
        for (uint64_t i = 0; i < count; i++) {
            at[i * PAGE] = 1;
        }
        (void)sys_write(ready[1], &byte, 1);
        for (;;) {
            sleep_ms(1000);
        }
    }
    EXPECT_EQUAL(sys_read(ready[0], &byte, 1), 1);
    for (unsigned i = 0; i < PAGES; i++) {
        mine[i * PAGE] = (uint8_t)i;
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGKILL));
    for (unsigned i = 0; i < PAGES; i++) {
        EXPECT_EQUAL(mine[i * PAGE], (uint8_t)i);
    }
}
