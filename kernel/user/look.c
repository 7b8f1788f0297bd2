/* SPDX-License-Identifier: MIT */
/*
 * Tests of how a process looks at another, or at itself from outside: process_vm_readv and writev,
 * /proc/PID/mem, and what /proc says of mappings.
 *
 * Goal: a debugger's writes reach one process alone and no file; the figures of smaps and status
 * are those of the pages that were touched.  Method: a child is looked at while it waits, and says
 * afterwards what it saw.
 */
#include "usertests.h"

enum { PAGES = 8 };

/* ---- another's memory ------------------------------------------------------------------------ */

struct piece {
    uint64_t base, length;
};

static long vm_copy(int number, int pid, struct piece own, struct piece other)
{
    return call6(number, (uint64_t)pid, address_of(&own), 1, address_of(&other), 1, 0);
}

void test_other_memory(void)
{
    static uint8_t here[3 * PAGE];
    uint8_t *plain = pages_map(4);
    struct piece lists[2];
    int ends[2];
    char byte;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    memset(plain, 5, 4 * PAGE);
    EXPECT_EQUAL(sys_munmap(address_of(plain + 3 * PAGE), PAGE), 0);
    int pid = child_fork();
    if (pid == 0) {
        (void)sys_close(ends[1]);
        EXPECT_EQUAL(sys_mprotect(address_of(plain + 2 * PAGE), PAGE, PROT_READ), 0);
        EXPECT_EQUAL(sys_read(ends[0], &byte, 1), 1);
        EXPECT_EQUAL(plain[PAGE - 1], 9);
        EXPECT_EQUAL(plain[PAGE], 9);
        EXPECT_EQUAL(plain[2 * PAGE], 5);
        EXPECT_EQUAL(sys_read(ends[0], &byte, 1), 0);
        sys_exit(0);
    }
    memset(plain, 6, PAGE);
    sleep_ms(20);
    const struct piece there = {address_of(plain) + 100, 2 * PAGE};
    EXPECT_EQUAL(
        vm_copy(SYS_process_vm_readv, pid, (struct piece){address_of(here), sizeof(here)}, there),
        2 * PAGE);
    EXPECT_EQUAL(here[0], 5);
    EXPECT_EQUAL(here[2 * PAGE - 1], 5);
    EXPECT_EQUAL(here[2 * PAGE], 0);
    memset(here, 9, sizeof(here));
    EXPECT_EQUAL(vm_copy(SYS_process_vm_writev, pid, (struct piece){address_of(here), 2},
                         (struct piece){address_of(plain) + PAGE - 1, 2}),
                 2);
    EXPECT_EQUAL(plain[PAGE], 5);
    /* As far as it goes; nothing, where it goes nowhere, and never where the other may not. */
    EXPECT_EQUAL(vm_copy(SYS_process_vm_readv, pid, (struct piece){address_of(here), PAGE},
                         (struct piece){address_of(plain) + 3 * PAGE - 7, PAGE}),
                 7);
    EXPECT_EQUAL(vm_copy(SYS_process_vm_readv, pid, (struct piece){address_of(here), PAGE},
                         (struct piece){address_of(plain) + 3 * PAGE, PAGE}),
                 -EFAULT);
    EXPECT_EQUAL(vm_copy(SYS_process_vm_writev, pid, (struct piece){address_of(here), 1},
                         (struct piece){address_of(plain) + 2 * PAGE, 1}),
                 -EFAULT);
    EXPECT_EQUAL(vm_copy(SYS_process_vm_readv, pid, (struct piece){8, 8}, there), -EFAULT);
    EXPECT_EQUAL(vm_copy(SYS_process_vm_readv, 30000, (struct piece){address_of(here), 8}, there),
                 -ESRCH);
    EXPECT_EQUAL(vm_copy(SYS_process_vm_readv, pid, (struct piece){address_of(here), ~0ull}, there),
                 -EINVAL);
    lists[0] = (struct piece){address_of(plain), 3};
    lists[1] = (struct piece){8, 8};
    EXPECT_EQUAL(
        call6(SYS_process_vm_readv, (uint64_t)pid, address_of(lists), 1, address_of(lists), 2, 0),
        3);
    EXPECT_EQUAL(call6(SYS_process_vm_readv, (uint64_t)pid, address_of(lists), 1, address_of(lists),
                       1025, 0),
                 -EINVAL);
    EXPECT_EQUAL(
        call6(SYS_process_vm_readv, (uint64_t)pid, address_of(lists), 1, address_of(lists), 1, 1),
        -EINVAL);
    EXPECT_EQUAL(call6(SYS_process_vm_readv, (uint64_t)pid, address_of(lists), 0, 8, 0, 0), 0);
    EXPECT_EQUAL(sys_write(ends[1], "x", 1), 1);
    (void)sys_close(ends[1]);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

/* A function of one page alone, so that a test may write over it. */
__attribute__((noinline, aligned(4096))) static int answer(void)
{
    __asm__ volatile("");
    return 41;
}

static int ask(void)
{
    int (*volatile function)(void) = answer;

    return function();
}

/* Where the constant stands in the code of `answer`. */
static uint64_t answer_place(void)
{
    const volatile uint8_t *at = (const volatile uint8_t *)(uintptr_t)answer;

    while (*at != 41) {
        at++;
    }
    return address_of(at);
}

void test_memory_file(void)
{
    int mem = (int)sys_open("/proc/self/mem", O_RDWR, 0);
    int fd = memory_file("memory", 2, 1);
    uint8_t *plain = pages_map(2);
    uint8_t *shared = file_view(fd, 4, PROT_RW, MAP_SHARED);
    uint8_t byte = 42;

    EXPECT(mem >= 0);
    plain[PAGE - 1] = 3;
    EXPECT_EQUAL(byte_at(mem, address_of(plain) + PAGE - 1), 3);
    byte_put(mem, address_of(plain), 4);
    EXPECT_EQUAL(plain[0], 4);
    byte_put(mem, address_of(shared) + PAGE, 8);
    EXPECT_EQUAL(byte_at(fd, PAGE), 8);
    /* As far as it goes. */
    EXPECT_EQUAL(sys_pwrite(mem, plain, PAGE, address_of(shared) + 2 * PAGE - 5), 5);
    EXPECT_EQUAL(sys_pwrite(mem, plain, 1, address_of(shared) + 2 * PAGE), -EIO);
    EXPECT_EQUAL(sys_pread(mem, &byte, 1, address_of(shared) + 2 * PAGE), -EIO);
    EXPECT_EQUAL(sys_pread(mem, &byte, 1, 8), -EIO);
    EXPECT_EQUAL(sys_pread(mem, &byte, 1, 1ull << 47), -EIO);
    EXPECT_EQUAL(sys_pread(mem, pointer_to(8), 1, address_of(plain)), -EFAULT);
    /* What the mapping forbids: private memory becomes a copy, shared memory refuses. */
    EXPECT_EQUAL(sys_mprotect(address_of(plain), PAGE, PROT_NONE), 0);
    EXPECT_EQUAL(byte_at(mem, address_of(plain)), 4);
    byte_put(mem, address_of(plain), 5);
    EXPECT_EQUAL(fault_of(plain, false), SEGV_FORBIDDEN);
    EXPECT_EQUAL(sys_mprotect(address_of(plain), PAGE, PROT_READ), 0);
    EXPECT_EQUAL(plain[0], 5);
    EXPECT_EQUAL(fault_of(plain, true), SEGV_FORBIDDEN);
    EXPECT_EQUAL(sys_mprotect(address_of(shared), PAGE, PROT_READ), 0);
    EXPECT_EQUAL(byte_at(mem, address_of(shared)), 1);
    EXPECT_EQUAL(sys_pwrite(mem, &byte, 1, address_of(shared)), -EIO);
    EXPECT_EQUAL(byte_at(fd, 0), 1);
    /* A program's text: a breakpoint for one process alone, and none in the file. */
    uint64_t place = answer_place();
    int pid = child_fork();
    if (pid == 0) {
        int mine = (int)sys_open("/proc/self/mem", O_RDWR, 0);
        byte_put(mine, place, 43);
        EXPECT_EQUAL(ask(), 43);
        int child = child_fork();
        if (child == 0) {
            EXPECT_EQUAL(ask(), 43);
            sys_exit(0);
        }
        EXPECT(ended_by_exit(child_wait(child), 0));
        EXPECT_EQUAL(fault_of(pointer_to(place), true), SEGV_FORBIDDEN);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(ask(), 41);
}

/* ---- what /proc says ------------------------------------------------------------------------- */

static bool hex_is(const char **at, uint64_t wanted)
{
    uint64_t value = 0;

    for (; (**at >= '0' && **at <= '9') || (**at >= 'a' && **at <= 'f'); (*at)++) {
        value = value << 4 | (uint64_t)(**at <= '9' ? **at - '0' : **at - 'a' + 10);
    }
    return value == wanted;
}

const char *line_of(const char *text, const void *at, uint64_t pages)
{
    for (const char *line = text; *line != '\0';) {
        const char *c = line;
        if (hex_is(&c, address_of(at)) && *c == '-') {
            c++;
            if (hex_is(&c, address_of(at) + pages * PAGE)) {
                return c + 1;
            }
        }
        while (*line != '\0' && *line++ != '\n') {
        }
    }
    test_failed(__FILE__, __LINE__, "no line for the mapping", (long)address_of(at));
}

long kib_of(const char *from, const char *label)
{
    long n = 0;
    const char *behind = number_find(from, label, &n);

    EXPECT(behind != NULL && string_starts(behind, " kB\n"));
    return n;
}

void test_maps_text(void)
{
    int fd = memory_file("maps text", PAGES, 1);
    uint8_t *view = pointer_to(
        (uint64_t)call6(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, (uint64_t)fd, 3 * PAGE));
    uint8_t *own = file_view(fd, 2, PROT_RW, MAP_PRIVATE);
    uint8_t *plain = pages_map(PAGES);
    uint8_t *shared = pages_share(2);

    EXPECT_EQUAL(sys_mprotect(address_of(plain) + PAGE, PAGE, PROT_NONE), 0);
    EXPECT_EQUAL(sys_mprotect(address_of(plain) + 2 * PAGE, PAGE, PROT_READ | PROT_EXEC), 0);
    const char *text = file_text("/proc/self/maps");
    EXPECT(string_starts(line_of(text, view, 1), "r--s 00003000 00:"));
    EXPECT(string_starts(line_of(text, own, 2), "rw-p 00000000 00:"));
    EXPECT(string_starts(line_of(text, plain + PAGE, 1), "---p 00000000 00:00 0 \n"));
    EXPECT(string_starts(line_of(text, plain + 2 * PAGE, 1), "r-xp 00000000 00:00 0 \n"));
    EXPECT(string_starts(line_of(text, shared, 2), "rw-s 00000000 00:"));
    const char *line = line_of(text, view, 1);
    while (*line != '/') {
        line++;
    }
    EXPECT(string_starts(line, "/memfd:maps text (deleted)\n"));
    line = line_of(text, shared, 2);
    while (*line != '/') {
        line++;
    }
    EXPECT(string_starts(line, "/dev/zero (deleted)\n"));
}

/* What smaps says of a mapping. */
static void smaps_expect(const void *at, uint64_t pages, const long wanted[6])
{
    static const char *const labels[] = {
        "Rss:", "Pss:", "Shared_Clean:", "Shared_Dirty:", "Private_Clean:", "Private_Dirty:"};

    const char *entry = line_of(file_text("/proc/self/smaps"), at, pages);
    EXPECT_EQUAL(kib_of(entry, "Size:"), pages * 4);
    for (unsigned i = 0; i < 6; i++) {
        long is = kib_of(entry, labels[i]);
        if (is != wanted[i]) {
            test_failed(__FILE__, __LINE__, labels[i], is);
        }
    }
}

void test_smaps(void)
{
    uint8_t *plain = pages_map(PAGES);
    uint8_t *shared = pages_share(PAGES);
    int ends[2];
    char byte;

    smaps_expect(plain, PAGES, (const long[]){0, 0, 0, 0, 0, 0});
    memset(plain, 1, 4 * PAGE);
    memset(shared, 1, 2 * PAGE);
    (void)*(volatile uint8_t *)(plain + 6 * PAGE); /* the zero page is nobody's */
    smaps_expect(plain, PAGES, (const long[]){16, 16, 0, 0, 0, 16});
    smaps_expect(shared, PAGES, (const long[]){8, 8, 0, 0, 0, 8});
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int ready[2];
    EXPECT_EQUAL(sys_pipe2(ready, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        (void)sys_close(ends[1]);
        plain[0] = 2;
        shared[0] = 2;
        EXPECT_EQUAL(sys_write(ready[1], "x", 1), 1);
        (void)sys_read(ends[0], &byte, 1);
        sys_exit(0);
    }
    EXPECT_EQUAL(sys_read(ready[0], &byte, 1), 1);
    /* Three pages are half each; the fourth has become two. */
    smaps_expect(plain, PAGES, (const long[]){16, 10, 0, 12, 0, 4});
    const char *text = file_text("/proc/self/smaps_rollup");
    long parts = kib_of(text, "Pss_Anon:") + kib_of(text, "Pss_File:") + kib_of(text, "Pss_Shmem:");
    EXPECT(parts <= kib_of(text, "Pss:"));
    EXPECT(parts + 2 >= kib_of(text, "Pss:")); /* each is rounded down */
    (void)sys_close(ends[1]);
    EXPECT(ended_by_exit(child_wait(pid), 0));
    smaps_expect(plain, PAGES, (const long[]){16, 16, 0, 0, 0, 16});
    EXPECT_EQUAL(call3(SYS_mlock, address_of(plain), PAGE, 0), 0);
    file_text("/proc/self/status");
    EXPECT_EQUAL(kib_of(text, "VmLck:"), 4);
    EXPECT_EQUAL(kib_of(text, "RssAnon:") + kib_of(text, "RssFile:") + kib_of(text, "RssShmem:"),
                 kib_of(text, "VmRSS:"));
    EXPECT(kib_of(text, "RssShmem:") >= 8);
    long before = kib_of(text, "RssAnon:");
    memset(pages_map(20), 1, 20 * PAGE);
    file_text("/proc/self/status");
    EXPECT(kib_of(text, "RssAnon:") >= before + 80);
}
