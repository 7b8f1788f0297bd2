/* SPDX-License-Identifier: MIT */
/*
 * Tests of files, descriptors and pipes.
 *
 * Goal: what shells and filters rely on.  Method: small exchanges through files under /tmp and
 * pipes, between one process and its children.
 */
#include "usertests.h"

enum { PIPE_CAPACITY = 65536, ATOMIC = 4096 };

void test_pipe_end_of_file(void)
{
    int ends[2];
    char text[16];

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        (void)sys_close(ends[0]);
        EXPECT_EQUAL(sys_write(ends[1], "hello", 5), 5);
        sys_exit(0);
    }
    (void)sys_close(ends[1]);
    EXPECT_EQUAL(sys_read(ends[0], text, sizeof(text)), 5);
    EXPECT_EQUAL(memcmp(text, "hello", 5), 0);
    EXPECT_EQUAL(sys_read(ends[0], text, sizeof(text)), 0);
    EXPECT_EQUAL(sys_read(ends[0], text, 0), 0);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

void test_pipe_sigpipe(void)
{
    int ends[2];

    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
        (void)sys_close(ends[0]);
        (void)sys_write(ends[1], "x", 1);
        sys_exit(0);
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGPIPE));
    signal_set(SIGPIPE, SIG_IGN, 0);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    (void)sys_close(ends[0]);
    EXPECT_EQUAL(sys_write(ends[1], "x", 1), -EPIPE);
    EXPECT_EQUAL(sys_read(ends[1], &pid, 1), -EBADF);
}

/* More than fits goes through in order, the writer waiting for the reader. */
void test_pipe_blocking(void)
{
    enum { TOTAL = 5 * PIPE_CAPACITY + 123 };
    static uint8_t out[10000];
    static uint8_t in[7001];
    int ends[2];
    uint32_t sent = 0;
    uint32_t got = 0;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        (void)sys_close(ends[0]);
        while (sent < TOTAL) {
            uint32_t n = TOTAL - sent < sizeof(out) ? TOTAL - sent : sizeof(out);
            for (uint32_t i = 0; i < n; i++) {
                out[i] = (uint8_t)((sent + i) * 7 >> 3);
            }
            EXPECT_EQUAL(sys_write(ends[1], out, n), n);
            sent += n;
        }
        sys_exit(0);
    }
    (void)sys_close(ends[1]);
    for (;;) {
        long n = sys_read(ends[0], in, sizeof(in));
        EXPECT(n >= 0);
        if (n == 0) {
            break;
        }
        for (long i = 0; i < n; i++) {
            EXPECT_EQUAL(in[i], (uint8_t)((got + (uint32_t)i) * 7 >> 3));
        }
        got += (uint32_t)n;
    }
    EXPECT_EQUAL(got, TOTAL);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

void test_pipe_nonblocking(void)
{
    static uint8_t block[ATOMIC];
    int ends[2];
    int total = 0;
    long n;

    EXPECT_EQUAL(sys_pipe2(ends, O_NONBLOCK), 0);
    EXPECT_EQUAL(sys_read(ends[0], block, 1), -EAGAIN);
    while ((n = sys_write(ends[1], block, sizeof(block))) > 0) {
        EXPECT_EQUAL(n, sizeof(block));
        total += (int)n;
    }
    EXPECT_EQUAL(n, -EAGAIN);
    EXPECT_EQUAL(total, PIPE_CAPACITY);
    EXPECT_EQUAL(sys_pipe2(ends, 0x40), -EINVAL);
    EXPECT_EQUAL(sys_pipe2(pointer_to(8), 0), -EFAULT);
}

/* Four writers of 4096-byte blocks: no block is ever broken. */
void test_pipe_atomic(void)
{
    enum { WRITERS = 4, BLOCKS = 40 };
    static uint8_t block[ATOMIC];
    int counts[WRITERS] = {0};
    int ends[2];
    uint32_t used = 0;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    for (int w = 0; w < WRITERS; w++) {
        int pid = child_fork();
        if (pid == 0) {
            memset(block, 'A' + w, sizeof(block));
            for (int i = 0; i < BLOCKS; i++) {
                EXPECT_EQUAL(sys_write(ends[1], block, sizeof(block)), sizeof(block));
            }
            sys_exit(0);
        }
    }
    (void)sys_close(ends[1]);
    for (;;) {
        long n = sys_read(ends[0], block + used, sizeof(block) - used);
        EXPECT(n >= 0);
        if (n == 0) {
            break;
        }
        used += (uint32_t)n;
        if (used < sizeof(block)) {
            continue;
        }
        for (unsigned i = 1; i < sizeof(block); i++) {
            EXPECT_EQUAL(block[i], block[0]);
        }
        counts[block[0] - 'A']++;
        used = 0;
    }
    for (int w = 0; w < WRITERS; w++) {
        EXPECT_EQUAL(counts[w], BLOCKS);
        int status = -1;
        EXPECT(sys_wait4(-1, &status, 0) > 0);
        EXPECT(ended_by_exit(status, 0));
    }
}

static const char *const path = "/tmp/usertests.file";

static int file_make(int flags)
{
    long fd = sys_open(path, O_CREAT | O_TRUNC | O_RDWR | flags, 0644);

    EXPECT(fd >= 0);
    return (int)fd;
}

void test_dup_shares_offset(void)
{
    char text[8];
    int fd = file_make(0);

    EXPECT_EQUAL(sys_write(fd, "abcdef", 6), 6);
    long copy = call3(SYS_dup, (uint64_t)fd, 0, 0);
    EXPECT(copy > fd);
    EXPECT_EQUAL(sys_lseek((int)copy, 2, 0), 2);
    EXPECT_EQUAL(sys_read(fd, text, 2), 2);
    EXPECT_EQUAL(text[0], 'c');
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(sys_read(fd, text, 1), 1);
        EXPECT_EQUAL(text[0], 'e');
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(sys_read((int)copy, text, 5), 1);
    EXPECT_EQUAL(text[0], 'f');
    /* Opened again, it has an offset of its own. */
    long other = sys_open(path, O_RDONLY, 0);
    EXPECT_EQUAL(sys_read((int)other, text, 1), 1);
    EXPECT_EQUAL(text[0], 'a');
    EXPECT_EQUAL(call3(SYS_dup2, (uint64_t)other, (uint64_t)fd, 0), fd);
    EXPECT_EQUAL(sys_read(fd, text, 1), 1);
    EXPECT_EQUAL(text[0], 'b');
    EXPECT_EQUAL(sys_unlink(path), 0);
}

void test_append(void)
{
    int fd = file_make(O_APPEND);
    long other = sys_open(path, O_WRONLY, 0);
    char text[16];

    EXPECT_EQUAL(sys_write(fd, "one", 3), 3);
    EXPECT_EQUAL(sys_write((int)other, "ONE222", 6), 6);
    EXPECT_EQUAL(sys_write(fd, "three", 5), 5);
    EXPECT_EQUAL(sys_lseek(fd, 0, 0), 0);
    EXPECT_EQUAL(sys_read(fd, text, sizeof(text)), 11);
    EXPECT_EQUAL(memcmp(text, "ONE222three", 11), 0);
    EXPECT_EQUAL(sys_unlink(path), 0);
}

void test_unlinked_file(void)
{
    char text[16];
    int fd = file_make(0);

    EXPECT_EQUAL(sys_write(fd, "still here", 10), 10);
    EXPECT_EQUAL(sys_unlink(path), 0);
    EXPECT_EQUAL(sys_open(path, O_RDONLY, 0), -ENOENT);
    EXPECT_EQUAL(sys_lseek(fd, 0, 0), 0);
    EXPECT_EQUAL(sys_read(fd, text, sizeof(text)), 10);
    EXPECT_EQUAL(memcmp(text, "still here", 10), 0);
    /* Cut and grown again, it shows zeros. */
    EXPECT_EQUAL(call3(SYS_ftruncate, (uint64_t)fd, 3, 0), 0);
    EXPECT_EQUAL(call3(SYS_ftruncate, (uint64_t)fd, 9000, 0), 0);
    EXPECT_EQUAL(sys_lseek(fd, 0, 0), 0);
    EXPECT_EQUAL(sys_read(fd, text, 10), 10);
    EXPECT_EQUAL(memcmp(text, "sti\0\0\0\0\0\0\0", 10), 0);
    EXPECT_EQUAL(sys_lseek(fd, 0, 2), 9000);
}

void test_bad_descriptors(void)
{
    static const int bad[] = {-1, 99, 255, 256, 1000, 0x7fffffff, -0x7fffffff - 1};
    char byte;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        EXPECT_EQUAL(sys_read(bad[i], &byte, 1), -EBADF);
        EXPECT_EQUAL(sys_write(bad[i], &byte, 1), -EBADF);
        EXPECT_EQUAL(sys_close(bad[i]), -EBADF);
        EXPECT_EQUAL(sys_lseek(bad[i], 0, 0), -EBADF);
        EXPECT_EQUAL(call3(SYS_dup, (uint64_t)(int64_t)bad[i], 0, 0), -EBADF);
        EXPECT_EQUAL(call3(SYS_fcntl, (uint64_t)(int64_t)bad[i], 3, 0), -EBADF);
    }
    EXPECT_EQUAL(call3(SYS_dup2, 0, (uint64_t)-1, 0), -EBADF);
    EXPECT_EQUAL(call3(SYS_dup2, 1, 1, 0), 1);
    /* Descriptors run out with an error, and come back. */
    int last = -1;
    long fd;
    while ((fd = call3(SYS_dup, 1, 0, 0)) >= 0 && fd < 5000) {
        last = (int)fd;
    }
    EXPECT(last > 20);
    while (last > 2 && sys_close(last) == 0) {
        last--;
    }
    EXPECT(call3(SYS_dup, 1, 0, 0) >= 0);
}

void test_close_on_exec(void)
{
    int ends[2];
    char *argv[] = {(char *)"usertests", (char *)"@args", (char *)"", (char *)"two words", NULL};
    char *envp[] = {(char *)"NAME=value", NULL};
    char byte;

    EXPECT_EQUAL(sys_pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQUAL(call3(SYS_fcntl, (uint64_t)ends[1], 1, 0), 1);
    int pid = child_fork();
    if (pid == 0) {
        /* The program reads nothing; were the pipe's end still open in it, we would wait for it. */
        (void)sys_execve("/proc/self/exe", argv, envp);
        sys_exit(1);
    }
    (void)sys_close(ends[1]);
    EXPECT_EQUAL(sys_read(ends[0], &byte, 1), 0);
    EXPECT(ended_by_exit(child_wait(pid), 42));
    /* dup'ed, it stays open. */
    EXPECT_EQUAL(sys_pipe2(ends, O_CLOEXEC), 0);
    long copy = call3(SYS_dup, (uint64_t)ends[1], 0, 0);
    EXPECT_EQUAL(call3(SYS_fcntl, (uint64_t)copy, 1, 0), 0);
}

void test_big_file(void)
{
    enum { BLOCK = 3000, BLOCKS = 700 };
    static uint8_t block[BLOCK];
    int fd = file_make(0);

    for (int i = 0; i < BLOCKS; i++) {
        memset(block, i, BLOCK);
        EXPECT_EQUAL(sys_write(fd, block, BLOCK), BLOCK);
    }
    EXPECT_EQUAL(sys_lseek(fd, 0, 1), BLOCK * BLOCKS);
    for (int i = BLOCKS - 1; i >= 0; i -= 7) {
        EXPECT_EQUAL(sys_lseek(fd, (int64_t)i * BLOCK, 0), (int64_t)i * BLOCK);
        EXPECT_EQUAL(sys_read(fd, block, BLOCK), BLOCK);
        EXPECT_EQUAL(block[0], (uint8_t)i);
        EXPECT_EQUAL(block[BLOCK - 1], (uint8_t)i);
    }
    /* Far beyond its end: a hole. */
    EXPECT_EQUAL(sys_lseek(fd, 100 << 20, 0), 100 << 20);
    EXPECT_EQUAL(sys_write(fd, "x", 1), 1);
    EXPECT_EQUAL(sys_lseek(fd, 50 << 20, 0), 50 << 20);
    EXPECT_EQUAL(sys_read(fd, block, BLOCK), BLOCK);
    EXPECT_EQUAL(block[7], 0);
    EXPECT_EQUAL(sys_lseek(fd, -1, 0), -EINVAL);
    EXPECT_EQUAL(sys_unlink(path), 0);
}

/* A file as long as a file can be: it is made so long again, and not a byte longer. */
void test_longest_file(void)
{
    const uint64_t LONGEST = UINT64_C(1) << 40;
    char byte = 0;

    if (!on_quire()) {
        return;
    }
    int fd = file_make(0);
    EXPECT_EQUAL(sys_write(fd, "x", 1), 1);
    for (unsigned round = 0; round < 2; round++) {
        EXPECT_EQUAL(call3(SYS_ftruncate, (uint64_t)fd, LONGEST, 0), 0);
        EXPECT_EQUAL(sys_lseek(fd, 0, 2), LONGEST);
    }
    EXPECT_EQUAL(call3(SYS_ftruncate, (uint64_t)fd, LONGEST + 1u, 0), -EFBIG);
    EXPECT_EQUAL(sys_write(fd, "y", 1), -EFBIG);
    EXPECT_EQUAL(sys_lseek(fd, LONGEST - 1, 0), LONGEST - 1);
    EXPECT_EQUAL(sys_write(fd, "yz", 2), 1);
    EXPECT_EQUAL(sys_lseek(fd, LONGEST - 1, 0), LONGEST - 1);
    EXPECT_EQUAL(sys_read(fd, &byte, 1), 1);
    EXPECT_EQUAL(byte, 'y');
    EXPECT_EQUAL(sys_unlink(path), 0);
    EXPECT_EQUAL(sys_close(fd), 0);
}

/* Writing until nothing more fits is an error for the writer alone, and unlinking gives it back. */
void test_full_disk(void)
{
    static uint8_t block[1 << 16];
    long before = frames_free();
    uint64_t written = 0;
    long n;

    if (!on_quire()) {
        return;
    }
    int fd = file_make(0);
    while ((n = sys_write(fd, block, sizeof(block))) > 0) {
        written += (uint64_t)n;
    }
    EXPECT_EQUAL(n, -ENOSPC);
    EXPECT(written > sizeof(block));
    EXPECT(frames_free() > 0);
    int pid = child_fork();
    if (pid == 0) {
        block[0] = 1;
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(sys_unlink(path), 0);
    EXPECT_EQUAL(sys_close(fd), 0);
    EXPECT(frames_free() > before - 64);
}

static long name_call(long number, const char *a, const char *b)
{
    return call3(number, address_of(a), address_of(b), 0);
}

void test_names(void)
{
    int fd = file_make(0);
    char long_name[300];

    EXPECT_EQUAL(sys_close(fd), 0);
    EXPECT_EQUAL(call3(SYS_mkdir, address_of("/tmp/ut"), 0755, 0), 0);
    EXPECT_EQUAL(call3(SYS_mkdir, address_of("/tmp/ut"), 0755, 0), -EEXIST);
    EXPECT_EQUAL(call3(SYS_mkdir, address_of("/tmp/ut/d"), 0755, 0), 0);
    EXPECT_EQUAL(call3(SYS_mkdir, address_of("/tmp/ut/x/y"), 0755, 0), -ENOENT);
    EXPECT_EQUAL(name_call(SYS_link, path, "/tmp/ut/f"), 0);
    EXPECT_EQUAL(name_call(SYS_link, path, "/tmp/ut/f"), -EEXIST);
    EXPECT_EQUAL(name_call(SYS_link, "/tmp/ut/d", "/tmp/ut/e"), -EPERM);
    EXPECT_EQUAL(name_call(SYS_rename, "/tmp/ut/f", "/tmp/ut/d"), -EISDIR);
    EXPECT_EQUAL(name_call(SYS_rename, "/tmp/ut/d", "/tmp/ut/f"), -ENOTDIR);
    EXPECT_EQUAL(name_call(SYS_rename, "/tmp/ut", "/tmp/ut/d/in"), -EINVAL);
    EXPECT_EQUAL(name_call(SYS_rename, "/tmp/ut/f", "/tmp/ut/d/g"), 0);
    EXPECT_EQUAL(sys_open("/tmp/ut/f", O_RDONLY, 0), -ENOENT);
    EXPECT_EQUAL(sys_open("/tmp/ut/d/g/h", O_RDONLY, 0), -ENOTDIR);
    EXPECT_EQUAL(sys_open("/tmp/ut/d", O_WRONLY, 0), -EISDIR);
    EXPECT_EQUAL(sys_unlink("/tmp/ut/d"), -EISDIR);
    EXPECT_EQUAL(call3(SYS_rmdir, address_of("/tmp/ut/d"), 0, 0), -ENOTEMPTY);
    EXPECT_EQUAL(name_call(SYS_symlink, "b", "/tmp/ut/a"), 0);
    EXPECT_EQUAL(name_call(SYS_symlink, "a", "/tmp/ut/b"), 0);
    EXPECT_EQUAL(sys_open("/tmp/ut/a", O_RDONLY, 0), -ELOOP);
    memset(long_name, 'n', sizeof(long_name));
    memcpy(long_name, "/tmp/", 5);
    long_name[sizeof(long_name) - 1] = '\0';
    EXPECT_EQUAL(sys_open(long_name, O_CREAT, 0600), -36);
    static const char *const left[] = {"/tmp/ut/a", "/tmp/ut/b", "/tmp/ut/d/g"};
    for (unsigned i = 0; i < 3; i++) {
        EXPECT_EQUAL(sys_unlink(left[i]), 0);
    }
    EXPECT_EQUAL(call3(SYS_rmdir, address_of("/tmp/ut/d"), 0, 0), 0);
    EXPECT_EQUAL(call3(SYS_rmdir, address_of("/tmp/ut"), 0, 0), 0);
    EXPECT_EQUAL(sys_unlink(path), 0);
}

/* A directory that is emptied while it is read shows each name once. */
void test_directory_reading(void)
{
    enum { NAMES = 60 };
    char name[] = "/tmp/ut.d/n00";
    static uint8_t records[200];
    unsigned seen = 0;
    long n;

    EXPECT_EQUAL(call3(SYS_mkdir, address_of("/tmp/ut.d"), 0755, 0), 0);
    for (unsigned i = 0; i < NAMES; i++) {
        name[11] = (char)('0' + i / 10);
        name[12] = (char)('0' + i % 10);
        long fd = sys_open(name, O_CREAT | O_WRONLY, 0600);
        EXPECT(fd >= 0);
        (void)sys_close((int)fd);
    }
    long dir = sys_open("/tmp/ut.d", O_RDONLY, 0);
    EXPECT_EQUAL(sys_read((int)dir, records, 1), -EISDIR);
    EXPECT_EQUAL(call3(SYS_getdents64, (uint64_t)dir, address_of(records), 8), -EINVAL);
    while ((n = call3(SYS_getdents64, (uint64_t)dir, address_of(records), sizeof(records))) > 0) {
        for (long at = 0; at < n; at += records[at + 16] | records[at + 17] << 8) {
            const char *entry = (const char *)records + at + 19;
            if (entry[0] == '.') {
                continue;
            }
            memcpy(name + 10, entry, 3);
            EXPECT_EQUAL(sys_unlink(name), 0);
            seen++;
        }
    }
    EXPECT_EQUAL(n, 0);
    EXPECT_EQUAL(seen, NAMES);
    EXPECT_EQUAL(sys_close((int)dir), 0);
    EXPECT_EQUAL(call3(SYS_rmdir, address_of("/tmp/ut.d"), 0, 0), 0);
}

void test_poll(void)
{
    enum { READ = 1, WRITE = 4, ERROR = 8, HANG_UP = 16, INVALID = 32 };
    struct {
        int fd;
        short events, revents;
    } polls[3];
    int ends[2];
    char byte = 0;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    polls[0].fd = ends[0];
    polls[0].events = READ;
    polls[1].fd = ends[1];
    polls[1].events = WRITE;
    polls[2].fd = 99;
    polls[2].events = READ;
    EXPECT_EQUAL(call3(SYS_poll, address_of(polls), 3, 0), 2);
    EXPECT_EQUAL(polls[0].revents, 0);
    EXPECT_EQUAL(polls[1].revents, WRITE);
    EXPECT_EQUAL(polls[2].revents, INVALID);
    int64_t start = clock_ms();
    EXPECT_EQUAL(call3(SYS_poll, address_of(polls), 1, 50), 0);
    EXPECT(clock_ms() - start >= 49);
    int pid = child_fork();
    if (pid == 0) {
        sleep_ms(20);
        (void)sys_write(ends[1], "p", 1);
        sys_exit(0);
    }
    EXPECT_EQUAL(call3(SYS_poll, address_of(polls), 1, 5000), 1);
    EXPECT_EQUAL(polls[0].revents, READ);
    EXPECT_EQUAL(sys_read(ends[0], &byte, 1), 1);
    EXPECT(ended_by_exit(child_wait(pid), 0));
    (void)sys_close(ends[1]);
    EXPECT_EQUAL(call3(SYS_poll, address_of(polls), 1, -1), 1);
    EXPECT_EQUAL(polls[0].revents, HANG_UP);
    EXPECT_EQUAL(call3(SYS_poll, 8, 1, 0), -EFAULT);
    EXPECT_EQUAL(call3(SYS_poll, address_of(polls), ~0u, 0), -EINVAL);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    (void)sys_close(ends[0]);
    polls[0].fd = ends[1];
    polls[0].events = WRITE;
    EXPECT_EQUAL(call3(SYS_poll, address_of(polls), 1, 0), 1);
    EXPECT_EQUAL(polls[0].revents, WRITE | ERROR);
}
