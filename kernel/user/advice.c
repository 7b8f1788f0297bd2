/* SPDX-License-Identifier: MIT */
/*
 * Tests of the calls that say something about mappings, or ask about them: madvise, mlock and its
 * family, msync, mincore, mremap of views.
 *
 * Goal: each does what Linux's does to exactly its range, and answers as Linux does.  Method: the
 * bytes before and after, and what mincore and pagemap say of each page, which must agree with
 * what was touched.
 */
#include "usertests.h"

enum { PAGES = 8, LENGTH = PAGES * PAGE };

long advise(const void *at, uint64_t pages, int advice)
{
    return call3(SYS_madvise, address_of(at), pages * PAGE, (uint64_t)advice);
}

static long sync(const void *at, uint64_t length, int flags)
{
    return call3(SYS_msync, address_of(at), length, (uint64_t)flags);
}

void test_sync(void)
{
    int fd = memory_file("sync", PAGES, 1);
    uint8_t *shared = file_view(fd, PAGES, PROT_RW, MAP_SHARED);

    shared[3] = 33;
    EXPECT_EQUAL(sync(shared, LENGTH, MS_SYNC), 0);
    EXPECT_EQUAL(byte_at(fd, 3), 33);
    EXPECT_EQUAL(sync(shared, 1, MS_ASYNC), 0);
    EXPECT_EQUAL(sync(shared, 0, MS_SYNC), 0);
    EXPECT_EQUAL(sync(shared, LENGTH, 0), 0);
    EXPECT_EQUAL(sync(shared, LENGTH, MS_SYNC | MS_INVALIDATE), 0);
    EXPECT_EQUAL(shared[3], 33);
    EXPECT_EQUAL(sync(shared, LENGTH, MS_SYNC | MS_ASYNC), -EINVAL);
    EXPECT_EQUAL(sync(shared, LENGTH, 8), -EINVAL);
    EXPECT_EQUAL(sync(shared + 1, PAGE, MS_SYNC), -EINVAL);
    EXPECT_EQUAL(sync(shared, ~UINT64_C(0), MS_SYNC), 0); /* rounded up it is nothing */
    EXPECT_EQUAL(sync(shared, ~UINT64_C(0) - PAGE, MS_SYNC), -ENOMEM);
    EXPECT_EQUAL(call3(SYS_mlock, address_of(shared), PAGE, 0), 0);
    EXPECT_EQUAL(sync(shared, LENGTH, MS_SYNC | MS_INVALIDATE), -EBUSY);
    EXPECT_EQUAL(sync(shared + PAGE, PAGE, MS_SYNC | MS_INVALIDATE), 0);
    EXPECT_EQUAL(sys_munmap(address_of(shared + 2 * PAGE), PAGE), 0);
    EXPECT_EQUAL(sync(shared, LENGTH, MS_SYNC), -ENOMEM);
    EXPECT_EQUAL(sync(shared + 3 * PAGE, PAGE, MS_SYNC), 0);
}

void test_advice(void)
{
    int fd = memory_file("advice", PAGES, 1);
    uint8_t *shared = file_view(fd, PAGES, PROT_RW, MAP_SHARED);
    uint8_t *own = file_view(fd, PAGES, PROT_RW, MAP_PRIVATE);
    uint8_t *plain = pages_map(PAGES);

    /* Forgotten, private memory is zeros, and a private view shows the file again. */
    memset(plain, 7, LENGTH);
    own[0] = 99;
    shared[1] = 11;
    EXPECT_EQUAL(advise(plain + PAGE, 2, MADV_DONTNEED), 0);
    EXPECT_EQUAL(advise(own, PAGES, MADV_DONTNEED), 0);
    EXPECT_EQUAL(advise(shared, PAGES, MADV_DONTNEED), 0);
    EXPECT_EQUAL(plain[PAGE - 1], 7);
    EXPECT_EQUAL(plain[PAGE], 0);
    EXPECT_EQUAL(plain[3 * PAGE], 7);
    EXPECT_EQUAL(own[0], 1);
    EXPECT_EQUAL(own[1], 11);
    EXPECT_EQUAL(shared[1], 11);
    /* Removed, it is gone for all. */
    own[2 * PAGE] = 55;
    EXPECT_EQUAL(advise(shared + PAGE, 2, MADV_REMOVE), 0);
    EXPECT_EQUAL(shared[PAGE], 0);
    EXPECT_EQUAL(own[PAGE], 0);
    EXPECT_EQUAL(own[2 * PAGE], 55);
    EXPECT_EQUAL(byte_at(fd, 2 * PAGE), 0);
    EXPECT_EQUAL(byte_at(fd, 3 * PAGE), 4);
    EXPECT_EQUAL(advise(own, 1, MADV_REMOVE), -EACCES);
    EXPECT_EQUAL(advise(plain, 1, MADV_REMOVE), -EINVAL);
    /* What may be forgotten must still be there or be zeros. */
    EXPECT_EQUAL(advise(plain + 5 * PAGE, 1, MADV_FREE), 0);
    EXPECT(plain[5 * PAGE] == 7 || plain[5 * PAGE] == 0);
    EXPECT_EQUAL(advise(shared, 1, MADV_FREE), -EINVAL);
    EXPECT_EQUAL(advise(own, 1, MADV_FREE), -EINVAL);
    static const int harmless[] = {MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_COLD,
                                   MADV_PAGEOUT};
    for (unsigned i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        EXPECT_EQUAL(advise(shared, PAGES, harmless[i]), 0);
        EXPECT_EQUAL(advise(plain, PAGES, harmless[i]), 0);
        EXPECT_EQUAL(shared[3 * PAGE], 4);
        EXPECT_EQUAL(plain[3 * PAGE], 7);
    }
    EXPECT_EQUAL(advise(plain + 1, 1, MADV_DONTNEED), -EINVAL);
    EXPECT_EQUAL(advise(plain, 1, 12345), -EINVAL);
    EXPECT_EQUAL(sys_munmap(address_of(plain), PAGE), 0);
    EXPECT_EQUAL(advise(plain, 2, MADV_NORMAL), -ENOMEM);
}

void test_advice_fork(void)
{
    uint8_t *plain = pages_map(4);
    uint8_t *shared = pages_share(1);

    for (unsigned i = 0; i < 4; i++) {
        plain[i * PAGE] = (uint8_t)(1 + i);
    }
    EXPECT_EQUAL(advise(plain, 1, MADV_WIPEONFORK), 0);
    EXPECT_EQUAL(advise(plain + PAGE, 1, MADV_DONTFORK), 0);
    EXPECT_EQUAL(advise(plain + 2 * PAGE, 1, MADV_WIPEONFORK), 0);
    EXPECT_EQUAL(advise(plain + 2 * PAGE, 1, MADV_KEEPONFORK), 0);
    EXPECT_EQUAL(advise(plain, 1, MADV_DOFORK), 0);
    EXPECT_EQUAL(advise(shared, 1, MADV_WIPEONFORK), -EINVAL);
    EXPECT_EQUAL(advise(shared, 1, MADV_KEEPONFORK), 0);
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(plain[0], 0);
        EXPECT_EQUAL(plain[2 * PAGE], 3);
        EXPECT_EQUAL(plain[3 * PAGE], 4);
        EXPECT_EQUAL(fault_of(plain + PAGE, false), SEGV_NOTHING);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(plain[0], 1);
    EXPECT_EQUAL(advise(plain + PAGE, 1, MADV_DOFORK), 0);
    EXPECT_EQUAL(fault_of(plain + PAGE, false), 0);
}

const char *core_of(const void *at, unsigned pages)
{
    static char text[SHOWN_MAX + 1];
    uint8_t bytes[SHOWN_MAX];

    EXPECT(pages <= SHOWN_MAX);
    EXPECT_EQUAL(call3(SYS_mincore, address_of(at), (uint64_t)pages * PAGE, address_of(bytes)), 0);
    for (unsigned i = 0; i < pages; i++) {
        text[i] = (bytes[i] & 1) != 0 ? '1' : '0';
    }
    text[pages] = '\0';
    return text;
}

const char *map_of(const void *at, unsigned pages)
{
    static char text[SHOWN_MAX + 1];
    uint64_t words[SHOWN_MAX];
    int fd = (int)sys_open("/proc/self/pagemap", O_RDONLY, 0);

    EXPECT(pages <= SHOWN_MAX);
    EXPECT_EQUAL(sys_pread(fd, words, pages * 8, address_of(at) / PAGE * 8), pages * 8);
    (void)sys_close(fd);
    for (unsigned i = 0; i < pages; i++) {
        bool there = words[i] >> 63 != 0;
        bool shared = (words[i] >> 61 & 1) != 0;
        bool out = (words[i] >> 62 & 1) != 0;
        EXPECT(!there || !out);
        text[i] = out ? 'o' : !there ? '0' : shared ? 's' : '1';
    }
    text[pages] = '\0';
    return text;
}

void test_residence(void)
{
    int fd = memory_file("residence", PAGES, 0);
    uint8_t *shared = file_view(fd, PAGES, PROT_RW, MAP_SHARED);
    uint8_t *plain = pages_map(PAGES);
    uint64_t word;
    uint8_t byte;

    EXPECT(string_equal(core_of(plain, PAGES), "00000000"));
    EXPECT(string_equal(map_of(plain, PAGES), "00000000"));
    plain[PAGE] = 1;
    plain[6 * PAGE + 7] = 1;
    EXPECT(string_equal(core_of(plain, PAGES), "01000010"));
    EXPECT(string_equal(map_of(plain, PAGES), "01000010"));
    EXPECT_EQUAL(advise(plain, 3, MADV_DONTNEED), 0);
    EXPECT(string_equal(core_of(plain, PAGES), "00000010"));
    int pid = child_fork();
    if (pid == 0) {
        plain[3 * PAGE] = 1;
        EXPECT(string_equal(map_of(plain, PAGES), "00010010"));
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT(string_equal(map_of(plain, PAGES), "00000010"));
    /* A file's page is in memory for all who map it, and mapped by who touched it. */
    EXPECT(string_equal(core_of(shared, PAGES), "00000000"));
    byte_put(fd, 2 * PAGE, 1);
    EXPECT(string_equal(core_of(shared, PAGES), "00100000"));
    EXPECT(string_equal(map_of(shared, PAGES), "00000000"));
    shared[5 * PAGE] = 1;
    EXPECT(string_equal(core_of(shared, PAGES), "00100100"));
    EXPECT_EQUAL(map_of(shared, PAGES)[5], 's');
    EXPECT_EQUAL(map_of(shared, PAGES)[4], '0');
    uint8_t *own = file_view(fd, PAGES, PROT_RW, MAP_PRIVATE);
    own[5 * PAGE] = 2;
    EXPECT_EQUAL(map_of(own, PAGES)[5], '1');
    EXPECT_EQUAL(sys_ftruncate(fd, 4 * PAGE), 0);
    EXPECT(string_equal(core_of(shared, PAGES), "00100000"));
    /* What they refuse. */
    EXPECT_EQUAL(call3(SYS_mincore, address_of(plain) + 1, PAGE, address_of(&byte)), -EINVAL);
    EXPECT_EQUAL(call3(SYS_mincore, address_of(plain), PAGE, 8), -EFAULT);
    EXPECT_EQUAL(call3(SYS_mincore, 1ull << 47, PAGE, address_of(&byte)), -ENOMEM);
    EXPECT_EQUAL(sys_munmap(address_of(plain), PAGE), 0);
    EXPECT_EQUAL(call3(SYS_mincore, address_of(plain), PAGE, address_of(&byte)), -ENOMEM);
    fd = (int)sys_open("/proc/self/pagemap", O_RDONLY, 0);
    EXPECT_EQUAL(sys_pread(fd, &word, 4, 0), -EINVAL);
    EXPECT_EQUAL(sys_pread(fd, &word, 8, 4), -EINVAL);
    EXPECT_EQUAL(sys_pread(fd, &word, 8, (1ull << 47) / PAGE * 8), 0);
}

void test_locking(void)
{
    uint8_t *plain = pages_map(PAGES);
    int fd = memory_file("locking", 2, 1);
    uint8_t *view = file_view(fd, 4, PROT_RW, MAP_SHARED);

    EXPECT_EQUAL(call3(SYS_mlock, address_of(plain) + 100, 2 * PAGE, 0), 0);
    EXPECT(string_equal(core_of(plain, PAGES), "11100000"));
    EXPECT_EQUAL(advise(plain, 1, MADV_DONTNEED), -EINVAL);
    EXPECT_EQUAL(advise(plain + 3 * PAGE, 1, MADV_DONTNEED), 0);
    EXPECT_EQUAL(advise(plain, 1, MADV_DONTNEED_LOCKED), 0);
    EXPECT_EQUAL(advise(plain, 1, MADV_COLD), -EINVAL);
    /* A child's are not locked. */
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(advise(plain, PAGES, MADV_DONTNEED), 0);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(call3(SYS_munlock, address_of(plain), LENGTH, 0), 0);
    EXPECT_EQUAL(advise(plain, PAGES, MADV_DONTNEED), 0);
    EXPECT(string_equal(core_of(plain, PAGES), "00000000"));
    EXPECT_EQUAL(call3(SYS_mlock2, address_of(plain), PAGE, 1), 0);
    EXPECT(string_equal(core_of(plain, 1), "0"));
    EXPECT_EQUAL(call3(SYS_mlock2, address_of(plain), PAGE, 2), -EINVAL);
    /* What cannot be made present. */
    EXPECT_EQUAL(call3(SYS_mlock, address_of(view), 4 * PAGE, 0), -ENOMEM);
    EXPECT_EQUAL(sys_mprotect(address_of(plain) + PAGE, PAGE, PROT_NONE), 0);
    EXPECT_EQUAL(call3(SYS_mlock, address_of(plain), LENGTH, 0), -ENOMEM);
    EXPECT_EQUAL(sys_munmap(address_of(plain) + PAGE, PAGE), 0);
    EXPECT_EQUAL(call3(SYS_munlock, address_of(plain), LENGTH, 0), -ENOMEM);
    /* All that is, and all that comes. */
    EXPECT_EQUAL(call3(SYS_mlockall, 0, 0, 0), -EINVAL);
    EXPECT_EQUAL(call3(SYS_mlockall, MCL_ONFAULT, 0, 0), -EINVAL);
    EXPECT_EQUAL(call3(SYS_mlockall, MCL_CURRENT | MCL_FUTURE, 0, 0), 0);
    EXPECT(string_equal(core_of(plain + 2 * PAGE, 6), "111111"));
    EXPECT(string_equal(core_of(pages_map(2), 2), "11"));
    EXPECT_EQUAL(call3(SYS_munlockall, 0, 0, 0), 0);
    EXPECT(string_equal(core_of(pages_map(2), 2), "00"));
}

void test_populate(void)
{
    int fd = memory_file("populate", 2, 1);
    uint8_t *view = file_view(fd, 4, PROT_RW, MAP_SHARED);
    uint8_t *look = file_view(fd, 2, PROT_READ, MAP_PRIVATE);
    uint8_t *plain = pages_map(PAGES);

    EXPECT_EQUAL(advise(plain + PAGE, 3, MADV_POPULATE_WRITE), 0);
    EXPECT(string_equal(map_of(plain, PAGES), "01110000"));
    EXPECT_EQUAL(advise(plain + 5 * PAGE, 1, MADV_POPULATE_READ), 0);
    EXPECT(string_equal(core_of(plain, PAGES), "01110100"));
    EXPECT_EQUAL(plain[5 * PAGE], 0);
    EXPECT_EQUAL(advise(view, 4, MADV_POPULATE_READ), -EFAULT);
    EXPECT_EQUAL(advise(view, 2, MADV_POPULATE_READ), 0);
    EXPECT(string_equal(map_of(view, 4), "ss00"));
    EXPECT_EQUAL(advise(view, 4, MADV_POPULATE_WRITE), -EFAULT);
    EXPECT_EQUAL(advise(look, 1, MADV_POPULATE_WRITE), -EINVAL);
    EXPECT_EQUAL(sys_munmap(address_of(plain), PAGE), 0);
    EXPECT_EQUAL(advise(plain, 2, MADV_POPULATE_READ), -ENOMEM);
    uint8_t *there = pointer_to(
        (uint64_t)sys_mmap(0, LENGTH, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE));
    EXPECT(string_equal(map_of(there, PAGES), "11111111"));
}

static long remap(const void *at, uint64_t old, uint64_t new, int flags, uint64_t to)
{
    return call6(SYS_mremap, address_of(at), old * PAGE, new *PAGE, (uint64_t)flags, to, 0);
}

void test_remap_views(void)
{
    int fd = memory_file("remap", PAGES, 1);
    uint8_t *view = file_view(fd, 4, PROT_RW, MAP_SHARED);
    uint8_t *own = file_view(fd, 4, PROT_RW, MAP_PRIVATE);
    uint8_t *room = pages_map(PAGES);

    own[PAGE] = 99;
    /* It moves, grows along the file, and keeps what was its own. */
    long at = remap(own, 4, PAGES, MREMAP_MAYMOVE | MREMAP_FIXED, address_of(room));
    EXPECT_EQUAL(at, address_of(room));
    EXPECT_EQUAL(fault_of(own, false), SEGV_NOTHING);
    for (unsigned i = 0; i < PAGES; i++) {
        EXPECT_EQUAL(room[i * PAGE], i == 1 ? 99 : 1 + i);
    }
    EXPECT_EQUAL(remap(room, PAGES, 2, 0, 0), at);
    EXPECT_EQUAL(fault_of(room + 2 * PAGE, false), SEGV_NOTHING);
    /* Moved of nothing, shared memory is seen twice. */
    at = remap(view, 0, 2, MREMAP_MAYMOVE, 0);
    EXPECT(at > 0);
    uint8_t *twice = pointer_to((uint64_t)at);
    twice[PAGE] = 44;
    EXPECT_EQUAL(view[PAGE], 44);
    EXPECT_EQUAL(byte_at(fd, PAGE), 44);
    EXPECT_EQUAL(remap(view + PAGE, 0, 1, 0, 0), -ENOMEM);
    EXPECT_EQUAL(remap(room, 0, 1, MREMAP_MAYMOVE, 0), -EINVAL);
    /* Grown beyond the file's end. */
    at = remap(view, 4, PAGES + 2, MREMAP_MAYMOVE, 0);
    EXPECT(at > 0);
    view = pointer_to((uint64_t)at);
    EXPECT_EQUAL(view[7 * PAGE], 8);
    EXPECT_EQUAL(fault_of(view + 8 * PAGE, false), BUS_BEYOND);
    EXPECT_EQUAL(remap(view, 1, 2, 8, 0), -EINVAL);
    EXPECT_EQUAL(remap(view, 1, 1, MREMAP_FIXED, 0), -EINVAL);
    EXPECT_EQUAL(remap(view + 1, 1, 1, MREMAP_MAYMOVE, 0), -EINVAL);
    EXPECT_EQUAL(remap(twice, 3, 4, MREMAP_MAYMOVE, 0), -EFAULT);
}
