/* SPDX-License-Identifier: MIT */
/*
 * Tests of processes: fork, wait, exit, vfork, exec.
 *
 * Goal: the life of a process is Linux's, as a shell relies on it.  Method: small families whose
 * exit statuses, and the memory they leave behind, are known beforehand.
 */
#include "usertests.h"

void test_exit_codes(void)
{
    static const int codes[] = {0, 1, 2, 42, 127, 128, 255, 256, -1};

    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        int pid = child_fork();
        if (pid == 0) {
            sys_exit(codes[i]);
        }
        EXPECT(ended_by_exit(child_wait(pid), codes[i]));
    }
}

void test_fork_many(void)
{
    for (int i = 0; i < 200; i++) {
        int pid = child_fork();
        if (pid == 0) {
            sys_exit(i & 0x7f);
        }
        EXPECT(ended_by_exit(child_wait(pid), i & 0x7f));
    }
}

/* The sum of all nodes of a binary tree of processes comes back through exit codes. */
static int tree_count(int depth)
{
    int count = 1;

    if (depth == 0) {
        return count;
    }
    int pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = child_fork();
        if (pids[i] == 0) {
            sys_exit(tree_count(depth - 1));
        }
    }
    for (int i = 0; i < 2; i++) {
        count += child_wait(pids[i]) >> 8;
    }
    return count;
}

void test_fork_tree(void) { EXPECT_EQUAL(tree_count(6), 127); }

void test_wait_variants(void)
{
    int ends[2];
    int status = 77;
    char byte = 'x';

    EXPECT_EQUAL(sys_wait4(-1, &status, 0), -ECHILD);
    EXPECT_EQUAL(sys_wait4(-1, &status, WNOHANG), -ECHILD);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        (void)sys_read(ends[0], &byte, 1);
        sys_exit(9);
    }
    EXPECT_EQUAL(sys_wait4(-1, &status, WNOHANG), 0);
    EXPECT_EQUAL(sys_wait4(pid, &status, WNOHANG), 0);
    EXPECT_EQUAL(sys_wait4(pid + 1000, &status, 0), -ECHILD);
    EXPECT_EQUAL(sys_wait4(pid, &status, 0x40), -EINVAL);
    EXPECT_EQUAL(sys_write(ends[1], &byte, 1), 1);
    EXPECT_EQUAL(sys_wait4(0, &status, 0), pid);
    EXPECT(ended_by_exit(status, 9));
    /* A null status pointer is allowed; a bad one loses the status but not the error. */
    pid = child_fork();
    if (pid == 0) {
        sys_exit(1);
    }
    EXPECT_EQUAL(sys_wait4(pid, NULL, 0), pid);
    EXPECT_EQUAL(sys_wait4(pid, NULL, 0), -ECHILD);
    /* Killed by a signal. */
    pid = child_fork();
    if (pid == 0) {
        (void)sys_read(ends[0], &byte, 1);
        sys_exit(0);
    }
    EXPECT_EQUAL(sys_kill(pid, 0), 0);
    EXPECT_EQUAL(sys_kill(pid, SIGTERM), 0);
    EXPECT(ended_by_signal(child_wait(pid), SIGTERM));
}

void test_orphans(void)
{
    int ends[2];
    int parent = 0;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        int me = sys_getpid();
        if (child_fork() == 0) {
            /* The grandchild outlives its parent and finds itself adopted. */
            for (int i = 0; i < 2000 && parent != me; i++) {
                parent = (int)call3(SYS_getppid, 0, 0, 0);
                if (parent != me) {
                    break;
                }
                sleep_ms(1);
                parent = 0;
            }
            (void)sys_write(ends[1], &parent, sizeof(parent));
            sys_exit(0);
        }
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(sys_read(ends[0], &parent, sizeof(parent)), sizeof(parent));
    EXPECT(parent != 0);
    EXPECT(parent != pid);
}

static volatile int vfork_word;

/*
 * The child of vfork runs in its parent's memory, and the parent waits until it has gone.  The
 * child must not return from this function, so it ends here.
 */
static __attribute__((noinline)) int vfork_store(int value)
{
    long pid = call3(SYS_vfork, 0, 0, 0);

    if (pid == 0) {
        vfork_word = value;
        for (;;) {
            (void)call3(SYS_exit_group, 5, 0, 0);
        }
    }
    return (int)pid;
}

static __attribute__((noinline)) int vfork_exec(const char *path, char *const argv[])
{
    long pid = call3(SYS_vfork, 0, 0, 0);

    if (pid == 0) {
        vfork_word = 3;
        (void)call3(SYS_execve, address_of(path), address_of(argv), address_of(argv + 5));
        vfork_word = 4;
        for (;;) {
            (void)call3(SYS_exit_group, 6, 0, 0);
        }
    }
    return (int)pid;
}

void test_vfork(void)
{
    char *argv[] = {(char *)"usertests",
                    (char *)"@args",
                    (char *)"",
                    (char *)"two words",
                    NULL,
                    (char *)"NAME=value",
                    NULL};
    uint8_t *page = pages_map(1);

    page[0] = 1;
    vfork_word = 1;
    int pid = vfork_store(2);
    EXPECT(pid > 0);
    EXPECT_EQUAL(vfork_word, 2);
    EXPECT(ended_by_exit(child_wait(pid), 5));
    pid = vfork_exec("/proc/self/exe", argv);
    EXPECT(pid > 0);
    EXPECT_EQUAL(vfork_word, 3);
    EXPECT(ended_by_exit(child_wait(pid), 42));
    pid = vfork_exec("/does/not/exist", argv);
    EXPECT_EQUAL(vfork_word, 4);
    EXPECT(ended_by_exit(child_wait(pid), 6));
    /* Fork right after vfork: the space that was lent is whole again. */
    pid = child_fork();
    if (pid == 0) {
        page[0] = 2;
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(page[0], 1);
}

void test_exec_arguments(void)
{
    char *argv[] = {(char *)"usertests", (char *)"@args", (char *)"", (char *)"two words", NULL};
    char *envp[] = {(char *)"NAME=value", NULL};
    int pid = child_fork();

    if (pid == 0) {
        (void)sys_execve("/proc/self/exe", argv, envp);
        sys_exit(1);
    }
    EXPECT(ended_by_exit(child_wait(pid), 42));
}

void test_exec_errors(void)
{
    char *argv[] = {(char *)"x", NULL};
    char *bad[] = {(char *)8, NULL};
    uint8_t *page = pages_map(1);

    page[0] = 17;
    EXPECT_EQUAL(sys_execve("/nothing/here", argv, argv + 1), -ENOENT);
    EXPECT_EQUAL(sys_execve("", argv, argv + 1), -ENOENT);
    EXPECT_EQUAL(sys_execve(pointer_to(8), argv, argv + 1), -EFAULT);
    EXPECT_EQUAL(sys_execve("/proc/self/exe", bad, argv + 1), -EFAULT);
    EXPECT_EQUAL(sys_execve("/proc/self/exe", pointer_to(8), argv + 1), -EFAULT);
    EXPECT(sys_execve("/dev", argv, argv + 1) < 0);
    EXPECT(sys_execve("/dev/null", argv, argv + 1) < 0);
    /* A failed exec leaves the caller as it was. */
    EXPECT_EQUAL(page[0], 17);
}
