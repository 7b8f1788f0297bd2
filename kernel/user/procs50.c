/* SPDX-License-Identifier: MIT */
/*
 * What 50 processes of one program take, over what one takes: each page that they share counts
 * once.
 *
 * The program is /bin/cat, fed by a pipe.  One that has handed a byte on is started, and has done
 * what it does.  What the first one takes is its resident pages, as /proc says; what the others
 * take is what they make fewer of the machine's free pages, tables and the kernel's records
 * included.  As process 1 it ends the machine.
 */
#include "user.h"

enum { PROCESSES = 50, SYS_sysinfo = 99 };

int user_main(int argc, char **argv, char **envp);

struct process {
    int pid, in, out; /* the ends that are ours */
};

static void process_start(struct process *process)
{
    static char *const argv[] = {"/bin/cat", NULL}, *const envp[] = {NULL};
    int in[2], out[2];
    uint8_t byte = 'x';

    EXPECT_EQUAL(sys_pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQUAL(sys_pipe2(out, O_CLOEXEC), 0);
    process->pid = child_fork();
    if (process->pid == 0) {
        (void)call3(SYS_dup2, (uint64_t)in[0], 0, 0);
        (void)call3(SYS_dup2, (uint64_t)out[1], 1, 0);
        (void)sys_execve(argv[0], argv, envp);
        sys_exit(127);
    }
    sys_close(in[0]);
    sys_close(out[1]);
    EXPECT_EQUAL(sys_write(in[1], &byte, 1), 1);
    EXPECT_EQUAL(sys_read(out[0], &byte, 1), 1);
    process->in = in[1];
    process->out = out[0];
}

/* Until its end, which the end of its input is. */
static void process_end(const struct process *process)
{
    sys_close(process->in);
    EXPECT(ended_by_exit(child_wait(process->pid), 0));
    sys_close(process->out);
}

static long frames_free(void)
{
    uint64_t info[14] = {0};

    (void)call3(SYS_sysinfo, address_of(info), 0, 0);
    return (long)((uint32_t)info[13] == PAGE ? info[5] : info[5] / PAGE);
}

/* Resident pages: the second number of /proc/PID/statm. */
static long resident(int pid)
{
    char path[32] = "/proc/", digits[12], text[64] = {0};
    size_t n = 6, d = 0;
    long pages = 0;

    for (; pid > 0; pid /= 10)
        digits[d++] = (char)('0' + pid % 10);
    while (d > 0)
        path[n++] = digits[--d];
    memcpy(path + n, "/statm", 7);
    int fd = sys_open(path, O_RDONLY, 0);
    EXPECT(fd >= 0 && sys_read(fd, text, sizeof(text) - 1) > 0);
    sys_close(fd);
    for (n = 0; text[n] != ' '; n++)
        EXPECT(text[n] != 0);
    for (n++; text[n] >= '0' && text[n] <= '9'; n++)
        pages = pages * 10 + text[n] - '0';
    return pages;
}

static void measure(void)
{
    static struct process processes[PROCESSES];
    long one, before, others;

    process_start(&processes[0]);
    one = resident(processes[0].pid);
    before = frames_free();
    for (int i = 1; i < PROCESSES; i++)
        process_start(&processes[i]);
    others = before - frames_free();
    for (int i = 0; i < PROCESSES; i++)
        process_end(&processes[i]);
    EXPECT(one > 0 && others > 0);
    print("kernel.procs50.one.pages %ld\n", one);
    print("kernel.procs50.each_other.pages %ld\n", others / (PROCESSES - 1));
    long hundredths = (one + others) * 100 / one;
    print("kernel.procs50.resident_ratio %ld.%ld%ld ratio\n", hundredths / 100,
          hundredths / 10 % 10, hundredths % 10);
}

int user_main(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    (void)envp;
    int pid = sys_getpid() == 1 ? child_fork() : 0;
    if (pid == 0) {
        measure();
        sys_exit(0);
    }
    return ended_by_exit(child_wait(pid), 0) ? 0 : 1;
}
