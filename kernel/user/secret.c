/* SPDX-License-Identifier: MIT */
/*
 * Tests of what nobody may see or change: bytes of other processes and of memory that was given
 * back, and files that were opened for reading.
 *
 * Goal: memory that a program gets, in whatever way, holds nothing of anybody else's.  Method: one
 * process fills memory of every kind with a secret and ends, or waits; another takes memory of
 * every kind, more than was given back, and looks for the secret at every eight bytes.  The secret
 * is made when it is needed and its complement is what is kept, so nobody has it by accident.
 */
#include "usertests.h"

enum {
    HIDDEN = 3000, /* pages of each kind that hold the secret */
    MOST = 40000,  /* pages to look at where the machine is larger than the tests' own */
    BLOCK = 64,    /* pages of one mapping */
    FILES = 40,    /* short files */
    PIPES = 20,
};

static const volatile uint64_t complement = ~UINT64_C(0x5ec2e7b175a11d0c);

static void secret_fill(uint8_t *to, uint64_t length)
{
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
        *(volatile uint64_t *)(to + i) = ~complement;
    }
}

/* Nobody's bytes are here. */
static void secret_absent(const uint8_t *at, uint64_t length, const char *where)
{
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
        if (~*(const volatile uint64_t *)(at + i) == complement) {
            test_failed(__FILE__, __LINE__, where, (long)i);
        }
    }
}

/* A file without a name. */
static int file_scratch(void)
{
    static const char *const name = "/tmp/usertests.secret";
    int fd = (int)sys_open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);

    EXPECT(fd >= 0);
    EXPECT_EQUAL(sys_unlink(name), 0);
    return fd;
}

__attribute__((noinline)) static void stack_fill(void)
{
    uint8_t room[100 * PAGE];

    secret_fill(room, sizeof(room));
    secret_absent(room, 0, "");
}

__attribute__((noinline)) static void stack_look(void)
{
    volatile uint8_t room[400 * PAGE];

    secret_absent((const uint8_t *)(uintptr_t)address_of(room), sizeof(room), "the stack");
}

/* The secret in memory of every kind. */
static void hide(void)
{
    static uint8_t block[BLOCK * PAGE];
    uint64_t start = sys_brk(0);
    int ends[2];

    secret_fill(block, sizeof(block));
    secret_fill(pages_map(HIDDEN), HIDDEN * PAGE);
    secret_fill(pages_share(HIDDEN), HIDDEN * PAGE);
    EXPECT_EQUAL(sys_brk(start + HIDDEN * PAGE), start + HIDDEN * PAGE);
    secret_fill(pointer_to((start + 7) & ~UINT64_C(7)), HIDDEN * PAGE - 8);
    stack_fill();
    int file = file_scratch();
    int memory = memory_file("hidden", 0, 0);
    for (unsigned i = 0; i < HIDDEN / BLOCK; i++) {
        EXPECT_EQUAL(sys_write(file, block, sizeof(block)), sizeof(block));
        EXPECT_EQUAL(sys_write(memory, block, sizeof(block)), sizeof(block));
    }
    uint8_t *own = file_view(memory, 100, PROT_RW, MAP_PRIVATE);
    secret_fill(own, 100 * PAGE);
    for (unsigned i = 0; i < PIPES; i++) {
        EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
        EXPECT_EQUAL(sys_write(ends[1], block, 65536), 65536);
    }
    /* Given back in parts, while it lives. */
    EXPECT_EQUAL(call3(SYS_madvise, address_of(own), 50 * PAGE, MADV_DONTNEED), 0);
    EXPECT_EQUAL(sys_ftruncate(memory, 10 * PAGE), 0);
}

/* Pages that are there, so that they must be somebody's or cleared. */
static void pages_look(uint8_t *at, uint64_t pages, const char *where)
{
    for (uint64_t i = 0; i < pages; i++) {
        at[i * PAGE + 11] = 1;
    }
    secret_absent(at, pages * PAGE, where);
}

/* Files that are longer than what was written to them, as their readers and mappings see them. */
static void files_look(void)
{
    static uint8_t page[2 * PAGE];

    for (unsigned i = 0; i < FILES; i++) {
        int fd = i % 2 ? file_scratch() : memory_file("look", 0, 0);
        EXPECT_EQUAL(sys_pwrite(fd, "x", 1, i), 1);
        uint8_t *view = file_view(fd, 1, PROT_RW, i % 4 < 2 ? MAP_SHARED : MAP_PRIVATE);
        secret_absent(view, PAGE, "behind the end of a file");
        EXPECT_EQUAL(sys_pwrite(fd, "y", 1, 3 * PAGE + 100 * i), 1);
        memset(page, 0x55, sizeof(page));
        EXPECT_EQUAL(sys_pread(fd, page, sizeof(page), PAGE), sizeof(page));
        EXPECT_EQUAL(page[PAGE], 0);
        secret_absent(page, sizeof(page), "the hole of a file");
        EXPECT_EQUAL(sys_ftruncate(fd, 20 * PAGE), 0);
        pages_look(file_view(fd, 20, PROT_RW, MAP_SHARED), 20, "a file that grew");
    }
}

/* A read gives what was written and touches nothing behind it. */
static void pipes_look(void)
{
    static uint8_t room[PAGE];
    int ends[2];

    for (unsigned i = 0; i < PIPES; i++) {
        EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
        memset(room, 0x55, sizeof(room));
        EXPECT_EQUAL(sys_write(ends[1], "abc", 3), 3);
        EXPECT_EQUAL(sys_read(ends[0], room, sizeof(room)), 3);
        EXPECT_EQUAL(room[3], 0x55);
        secret_absent(room, sizeof(room), "a pipe");
    }
}

/* Memory of every kind, most of what is free. */
static void look(void)
{
    uint64_t start = sys_brk(0);
    uint64_t most = on_quire() ? (uint64_t)frames_free() * 3 / 4 : MOST;

    stack_look();
    pipes_look();
    files_look();
    EXPECT_EQUAL(sys_brk(start + 1000 * PAGE), start + 1000 * PAGE);
    pages_look(pointer_to((start + PAGE - 1) & ~(uint64_t)(PAGE - 1)), 999, "the heap");
    pages_look(pages_share(1000), 1000, "shared memory");
    pages_look(file_view(memory_file("grown", 1000, 0), 1000, PROT_RW, MAP_SHARED), 1000,
               "a file of memory that grew");
    for (uint64_t pages = 4000; pages + BLOCK < most; pages += BLOCK) {
        pages_look(pages_map(BLOCK), BLOCK, "private memory");
    }
}

static void child_expect(void (*function)(void))
{
    int pid = child_fork();

    if (pid == 0) {
        function();
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

/* Of memory that was given back when a process ended. */
void test_secrets_freed(void)
{
    child_expect(hide);
    child_expect(look);
}

/* Of a process that lives. */
void test_secrets_living(void)
{
    int ready[2];
    char byte;

    EXPECT_EQUAL(sys_pipe2(ready, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        hide();
        EXPECT_EQUAL(sys_write(ready[1], "x", 1), 1);
        for (;;) {
            (void)call3(SYS_pause, 0, 0, 0);
        }
    }
    EXPECT_EQUAL(sys_read(ready[0], &byte, 1), 1);
    child_expect(look);
    EXPECT_EQUAL(sys_kill(pid, SIGKILL), 0);
    EXPECT(ended_by_signal(child_wait(pid), SIGKILL));
    child_expect(look);
}

/* ---- a file that was opened for reading ------------------------------------------------------ */

/* Every way to write `view`, a shared mapping of what may only be read; none of them works. */
static void writes_refused(uint8_t *view)
{
    int mem = (int)sys_open("/proc/self/mem", O_RDWR, 0);
    int zero = memory_file("source", 1, 9);
    uint64_t at = address_of(view);
    struct {
        uint64_t base, length;
    } own = {address_of(&zero), 1}, there = {at, 1};
    int ends[2];

    EXPECT_EQUAL(fault_of(view, true), SEGV_FORBIDDEN);
    EXPECT_EQUAL(sys_mprotect(at, PAGE, PROT_RW), -EACCES);
    EXPECT_EQUAL(sys_mprotect(at, PAGE, PROT_WRITE), -EACCES);
    EXPECT_EQUAL(sys_pwrite(mem, "x", 1, at), -EIO);
    EXPECT_EQUAL(call6(SYS_process_vm_writev, (uint64_t)sys_getpid(), address_of(&own), 1,
                       address_of(&there), 1, 0),
                 -EFAULT);
    EXPECT_EQUAL(sys_pread(zero, view, 1, 0), -EFAULT);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    EXPECT_EQUAL(sys_write(ends[1], "x", 1), 1);
    EXPECT_EQUAL(sys_read(ends[0], view, 1), -EFAULT);
    EXPECT_EQUAL(call3(SYS_madvise, at, PAGE, MADV_REMOVE), -EACCES);
    EXPECT_EQUAL(call3(SYS_madvise, at, PAGE, MADV_POPULATE_WRITE), -EINVAL);
    EXPECT_EQUAL(call3(SYS_clock_gettime, 1, at, 0), -EFAULT);
}

void test_read_only_file(void)
{
    static const char *const path = "/tmp/usertests.readonly";
    int made = (int)sys_open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    uint8_t page[PAGE];
    uint64_t number;

    memset(page, 3, sizeof(page));
    EXPECT_EQUAL(sys_write(made, page, PAGE), PAGE);
    EXPECT_EQUAL(sys_close(made), 0);
    int fd = (int)sys_open(path, O_RDONLY, 0);
    number = (uint64_t)fd;
    EXPECT_EQUAL(call6(SYS_mmap, 0, PAGE, PROT_RW, MAP_SHARED, number, 0), -EACCES);
    EXPECT_EQUAL(sys_pwrite(fd, "x", 1, 0), -EBADF);
    EXPECT_EQUAL(sys_ftruncate(fd, 0), -EINVAL);
    uint8_t *view = file_view(fd, 1, PROT_READ, MAP_SHARED);
    writes_refused(view);
    /* Seen a second time, moved, forked, after being forbidden altogether. */
    long again = call6(SYS_mremap, address_of(view), 0, PAGE, MREMAP_MAYMOVE, 0, 0);
    EXPECT(again > 0);
    writes_refused(pointer_to((uint64_t)again));
    EXPECT_EQUAL(call6(SYS_mremap, (uint64_t)again, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                       address_of(pages_map(1)), 0) < 0,
                 false);
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_mprotect(address_of(view), PAGE, PROT_NONE), 0);
        EXPECT_EQUAL(sys_mprotect(address_of(view), PAGE, PROT_RW), -EACCES);
        EXPECT_EQUAL(sys_mprotect(address_of(view), PAGE, PROT_READ), 0);
        writes_refused(view);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    /* Private, it is written as a copy. */
    uint8_t *own = file_view(fd, 1, PROT_RW, MAP_PRIVATE);
    own[0] = 4;
    int mem = (int)sys_open("/proc/self/mem", O_RDWR, 0);
    uint8_t *text = file_view(fd, 1, PROT_READ, MAP_PRIVATE);
    EXPECT_EQUAL(sys_pwrite(mem, "x", 1, address_of(text)), 1);
    EXPECT_EQUAL(text[0], 'x');
    EXPECT_EQUAL(view[0], 3);
    EXPECT_EQUAL(sys_pread(fd, page, PAGE, 0), PAGE);
    for (unsigned i = 0; i < PAGE; i++) {
        EXPECT_EQUAL(page[i], 3);
    }
    EXPECT_EQUAL(sys_unlink(path), 0);
}
