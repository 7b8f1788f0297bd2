/* SPDX-License-Identifier: MIT */
/*
 * Tests of mappings of files and of shared memory.
 *
 * Goal: what is written one way is seen every other way, a private page is its process's for good,
 * and the end of a file is the end of its mappings.  Method: the same byte is read through
 * mappings, files and children after each step; what must not be done is tried in a child, which
 * says by which signal and code it ended.
 */
#include "usertests.h"

enum { PAGES = 8, LENGTH = PAGES * PAGE };

uint8_t byte_at(int fd, uint64_t offset)
{
    uint8_t byte = 0xee;

    EXPECT_EQUAL(sys_pread(fd, &byte, 1, offset), 1);
    return byte;
}

void byte_put(int fd, uint64_t offset, uint8_t byte)
{
    EXPECT_EQUAL(sys_pwrite(fd, &byte, 1, offset), 1);
}

int memory_file(const char *name, uint64_t pages, uint8_t first)
{
    int fd = (int)call3(SYS_memfd_create, address_of(name), MFD_ALLOW_SEALING, 0);

    EXPECT(fd >= 0);
    EXPECT_EQUAL(sys_ftruncate(fd, pages * PAGE), 0);
    for (uint64_t i = 0; first != 0 && i < pages; i++) {
        byte_put(fd, i * PAGE, (uint8_t)(first + i));
    }
    return fd;
}

uint8_t *file_view(int fd, uint64_t pages, int prot, int flags)
{
    long at = call6(SYS_mmap, 0, pages * PAGE, (uint64_t)prot, (uint64_t)flags, (uint64_t)fd, 0);

    EXPECT(at > 0);
    return pointer_to((uint64_t)at);
}

static uint64_t tried;

static void on_fault(int signal, struct siginfo *info, void *context)
{
    (void)context;
    sys_exit(info->address == tried ? signal << 3 | info->code : 1);
}

int fault_of(const volatile uint8_t *at, bool write)
{
    int pid = child_fork();

    if (pid == 0) {
        tried = address_of(at);
        signal_catch(SIGSEGV, on_fault, 0);
        signal_catch(SIGBUS, on_fault, 0);
        if (write) {
            *(volatile uint8_t *)pointer_to(tried) = 1;
        } else {
            (void)*at;
        }
        sys_exit(0);
    }
    return child_wait(pid) >> 8;
}

/* ---- what agrees ----------------------------------------------------------------------------- */

void test_view_agrees(void)
{
    int fd = memory_file("agrees", PAGES, 10);
    uint8_t *shared = file_view(fd, PAGES, PROT_RW, MAP_SHARED);
    uint8_t *again = file_view(fd, PAGES, PROT_READ, MAP_SHARED);
    uint8_t *own = file_view(fd, PAGES, PROT_RW, MAP_PRIVATE);
    uint8_t byte = 0;

    for (unsigned i = 0; i < PAGES; i++) {
        EXPECT_EQUAL(shared[i * PAGE], 10 + i);
        EXPECT_EQUAL(own[i * PAGE], 10 + i);
        byte_put(fd, i * PAGE, (uint8_t)(50 + i));
        EXPECT_EQUAL(shared[i * PAGE], 50 + i);
        EXPECT_EQUAL(again[i * PAGE], 50 + i);
        EXPECT_EQUAL(own[i * PAGE], 50 + i);
        shared[i * PAGE + 9] = (uint8_t)(90 + i);
        EXPECT_EQUAL(byte_at(fd, i * PAGE + 9), 90 + i);
        EXPECT_EQUAL(again[i * PAGE + 9], 90 + i);
        EXPECT_EQUAL(own[i * PAGE + 9], 90 + i);
    }
    /* What a private view has written is its own; the rest of it still follows the file. */
    own[PAGE] = 1;
    shared[PAGE + 1] = 2;
    shared[2 * PAGE] = 3;
    EXPECT_EQUAL(byte_at(fd, PAGE), 51);
    EXPECT_EQUAL(shared[PAGE], 51);
    EXPECT_EQUAL(own[PAGE + 1], 0);
    EXPECT_EQUAL(own[2 * PAGE], 3);
    /* Across a page's end, from a mapping of the file into the file itself. */
    EXPECT_EQUAL(sys_pwrite(fd, shared + 3 * PAGE - 4, 16, 5 * PAGE - 8), 16);
    EXPECT_EQUAL(again[5 * PAGE - 4], 53);
    EXPECT_EQUAL(sys_pread(fd, again, 1, 0), -EFAULT);
    EXPECT_EQUAL(sys_pread(fd, shared + 7 * PAGE, 1, PAGE), 1);
    EXPECT_EQUAL(byte_at(fd, 7 * PAGE), 51);
    /* Unmapped in one place, it stays in the others, and in the file after all of them. */
    EXPECT_EQUAL(sys_munmap(address_of(shared), LENGTH), 0);
    EXPECT_EQUAL(fault_of(shared, false), SEGV_NOTHING);
    EXPECT_EQUAL(again[9], 90);
    EXPECT_EQUAL(sys_munmap(address_of(again), LENGTH), 0);
    EXPECT_EQUAL(sys_pread(fd, &byte, 1, 9), 1);
    EXPECT_EQUAL(byte, 90);
}

/* A mapping of the middle of a file, at every offset and with the descriptor closed. */
void test_view_offsets(void)
{
    int fd = memory_file("offsets", PAGES, 1);

    for (unsigned from = 0; from < PAGES; from++) {
        long at = call6(SYS_mmap, 0, (PAGES - from) * PAGE, PROT_RW,
                        from % 2 ? MAP_SHARED : MAP_PRIVATE, (uint64_t)fd, from * PAGE);
        EXPECT(at > 0);
        for (unsigned i = from; i < PAGES; i++) {
            EXPECT_EQUAL(((uint8_t *)pointer_to((uint64_t)at))[(i - from) * PAGE], 1 + i);
        }
    }
    uint8_t *last = file_view(fd, 1, PROT_READ, MAP_SHARED);
    EXPECT_EQUAL(sys_close(fd), 0);
    EXPECT_EQUAL(last[0], 1);
}

/* ---- the end of a file ----------------------------------------------------------------------- */

/* What was a process's own beyond the new end stays its own (on Linux it goes with the rest). */
static void own_copy_expect(const uint8_t *copy, uint8_t first, uint8_t second)
{
    if (on_quire()) {
        EXPECT_EQUAL(copy[0], first);
        EXPECT_EQUAL(copy[1], second);
    }
}

void test_view_truncated(void)
{
    int fd = memory_file("truncated", PAGES, 1);
    uint8_t *shared = file_view(fd, PAGES, PROT_RW, MAP_SHARED);
    uint8_t *own = file_view(fd, PAGES, PROT_RW, MAP_PRIVATE);

    for (unsigned i = 0; i < PAGES; i++) {
        memset(shared + i * PAGE, (int)i + 1, PAGE);
    }
    own[6 * PAGE] = 77;
    EXPECT_EQUAL(own[5 * PAGE], 6);
    EXPECT_EQUAL(sys_ftruncate(fd, 3 * PAGE + 100), 0);
    /* Beyond the last page nobody sees anything. */
    EXPECT_EQUAL(fault_of(shared + 4 * PAGE, false), BUS_BEYOND);
    EXPECT_EQUAL(fault_of(shared + 7 * PAGE, true), BUS_BEYOND);
    EXPECT_EQUAL(fault_of(own + 5 * PAGE, false), BUS_BEYOND);
    EXPECT_EQUAL(fault_of(own + 5 * PAGE, true), BUS_BEYOND);
    own_copy_expect(own + 6 * PAGE, 77, 7);
    EXPECT_EQUAL(sys_write(1, shared + 5 * PAGE, 1), -EFAULT);
    /* The tail of the last page is zeros, whatever is written there. */
    EXPECT_EQUAL(shared[3 * PAGE + 99], 4);
    for (unsigned i = 100; i < PAGE; i++) {
        EXPECT_EQUAL(shared[3 * PAGE + i], 0);
    }
    shared[3 * PAGE + 200] = 9;
    EXPECT_EQUAL(sys_pread(fd, own, 1, 3 * PAGE + 200), 0);
    /* Grown again, it is zeros. */
    EXPECT_EQUAL(sys_ftruncate(fd, LENGTH), 0);
    for (unsigned i = 4 * PAGE; i < LENGTH; i += 64) {
        EXPECT_EQUAL(shared[i], 0);
        EXPECT(own[i] == 0 || i / PAGE == 6);
    }
    own_copy_expect(own + 6 * PAGE, 77, 7);
    /* A child that maps it too loses it too. */
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_ftruncate(fd, PAGE), 0);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(fault_of(shared + PAGE, false), BUS_BEYOND);
    EXPECT_EQUAL(sys_ftruncate(fd, 0), 0);
    EXPECT_EQUAL(fault_of(shared, false), BUS_BEYOND);
    own_copy_expect(own + 6 * PAGE, 77, 7);
}

/* ---- fork ------------------------------------------------------------------------------------ */

enum { DEPTH = 6 };

/* Generation `n` sees what those before it wrote, and nobody above sees what it writes. */
static void generation(unsigned n, int fd, uint8_t *own, uint8_t *shared)
{
    if (n == DEPTH) {
        return;
    }
    own[n * PAGE] = (uint8_t)(100 + n);
    int pid = child_fork();
    if (pid == 0) {
        for (unsigned i = 0; i < PAGES; i++) {
            EXPECT_EQUAL(own[i * PAGE], i <= n ? 100 + i : 1 + i);
            EXPECT_EQUAL(byte_at(fd, i * PAGE), 1 + i);
        }
        own[0] = (uint8_t)(200 + n);
        shared[PAGE + n] = (uint8_t)(1 + n);
        own[0] = 100;
        generation(n + 1, fd, own, shared);
        own[(n + 1) % PAGES * PAGE + 5] = 5;
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(shared[PAGE + n], 1 + n);
    EXPECT_EQUAL(own[0], 100);
    EXPECT_EQUAL(own[(n + 1) * PAGE], 2 + n);
    EXPECT_EQUAL(own[(n + 1) * PAGE + 5], 0);
}

void test_view_generations(void)
{
    int fd = memory_file("generations", PAGES, 1);
    uint8_t *own = file_view(fd, PAGES, PROT_RW, MAP_PRIVATE);
    uint8_t *shared = pages_share(PAGES);

    generation(0, fd, own, shared);
    for (unsigned n = 0; n < DEPTH; n++) {
        EXPECT_EQUAL(shared[PAGE + n], 1 + n);
    }
    /* What nobody has written follows the file, in each generation. */
    byte_put(fd, 7 * PAGE, 70);
    EXPECT_EQUAL(own[7 * PAGE], 70);
}

/* Shared memory without a name: both ways, for children of children, after its maker is gone. */
void test_shared_memory(void)
{
    uint8_t *shared = pages_share(PAGES);
    int ends[2];
    char byte;

    EXPECT_EQUAL(shared[5], 0);
    int pid = child_fork();
    if (pid == 0) {
        shared[0] = 1;
        int second = child_fork();
        if (second == 0) {
            EXPECT_EQUAL(shared[0], 1);
            shared[PAGE] = 2;
            sys_exit(0);
        }
        EXPECT(ended_by_exit(child_wait(second), 0));
        EXPECT_EQUAL(sys_munmap(address_of(shared), LENGTH), 0);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(shared[0], 1);
    EXPECT_EQUAL(shared[PAGE], 2);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    pid = child_fork();
    if (pid == 0) {
        (void)sys_close(ends[1]);
        EXPECT_EQUAL(sys_read(ends[0], &byte, 1), 0);
        sys_exit(shared[2 * PAGE]);
    }
    shared[2 * PAGE] = 42;
    EXPECT_EQUAL(sys_munmap(address_of(shared), LENGTH), 0);
    (void)sys_close(ends[1]);
    EXPECT(ended_by_exit(child_wait(pid), 42));
}

/* ---- seals ----------------------------------------------------------------------------------- */

static long seal(int fd, uint64_t seals)
{
    return call3(SYS_fcntl, (uint64_t)fd, F_ADD_SEALS, seals);
}

void test_seals(void)
{
    int fd = memory_file("seals", 2, 1);
    uint8_t *shared = file_view(fd, 1, PROT_RW, MAP_SHARED);
    const uint64_t share = MAP_SHARED;

    EXPECT_EQUAL(seal(fd, F_SEAL_WRITE), -EBUSY);
    EXPECT_EQUAL(seal(fd, 1 << 20), -EINVAL);
    EXPECT_EQUAL(seal(fd, F_SEAL_FUTURE_WRITE), 0);
    EXPECT_EQUAL(sys_pwrite(fd, "x", 1, 0), -EPERM);
    EXPECT_EQUAL(call6(SYS_mmap, 0, PAGE, PROT_RW, share, (uint64_t)fd, 0), -EPERM);
    uint8_t *look = file_view(fd, 1, PROT_READ, MAP_SHARED);
    EXPECT_EQUAL(sys_mprotect(address_of(look), PAGE, PROT_RW), -EACCES);
    shared[0] = 9;
    EXPECT_EQUAL(look[0], 9);
    EXPECT_EQUAL(sys_munmap(address_of(shared), PAGE), 0);
    EXPECT_EQUAL(seal(fd, F_SEAL_WRITE), 0);
    EXPECT_EQUAL(sys_pwrite(fd, "x", 1, 0), -EPERM);
    uint8_t *own = file_view(fd, 1, PROT_RW, MAP_PRIVATE);
    own[0] = 10;
    EXPECT_EQUAL(look[0], 9);
    EXPECT_EQUAL(seal(fd, F_SEAL_SHRINK), 0);
    EXPECT_EQUAL(sys_ftruncate(fd, PAGE), -EPERM);
    EXPECT_EQUAL(sys_ftruncate(fd, 3 * PAGE), 0);
    EXPECT_EQUAL(seal(fd, F_SEAL_GROW), 0);
    EXPECT_EQUAL(sys_ftruncate(fd, 4 * PAGE), -EPERM);
    EXPECT_EQUAL(seal(fd, F_SEAL_SEAL), 0);
    EXPECT_EQUAL(seal(fd, F_SEAL_GROW), -EPERM);
    EXPECT_EQUAL(call3(SYS_fcntl, (uint64_t)fd, F_GET_SEALS, 0), 31);
    EXPECT_EQUAL(byte_at(fd, 0), 9);
}
