/* SPDX-License-Identifier: MIT */
/*
 * Small calls about processes and the machine: numbers of processes and groups, limits, names,
 * random bytes, and the end of it all.  Every program is root, because there is nobody else.
 *
 * Random bytes come from the processor (RDRAND) when it has it, mixed with the time-stamp counter;
 * without it only the counter feeds the generator, which is then good for programs that want
 * different bytes and not for keys.
 */
#include "process.h"

enum {
    RLIMIT_STACK = 3,
    RLIMIT_NOFILE = 7,
    RLIMITS = 16,
    ARCH_SET_GS = 0x1001,
    ARCH_SET_FS = 0x1002,
    ARCH_GET_FS = 0x1003,
    REBOOT_MAGIC = (int)0xfee1dead,
    UTS_LENGTH = 65,
    RANDOM_MAX = 16 << 20, /* bytes of one getrandom: interrupts are off meanwhile */
};

static char host_name[UTS_LENGTH] = "quire";

long sys_getpid(const uint64_t *a)
{
    (void)a;
    return current->pid;
}

long sys_gettid(const uint64_t *a)
{
    (void)a;
    return current->pid;
}

long sys_getppid(const uint64_t *a)
{
    (void)a;
    return current->parent ? current->parent->pid : 0;
}

long sys_getuid(const uint64_t *a)
{
    (void)a;
    return USER_ID;
}

long sys_setuid(const uint64_t *a)
{
    (void)a;
    return 0;
}

long sys_getresuid(const uint64_t *a)
{
    uint32_t id = USER_ID;

    if (copy_out(a[0], &id, 4) || copy_out(a[1], &id, 4) || copy_out(a[2], &id, 4))
        return -EFAULT;
    return 0;
}

long sys_getgroups(const uint64_t *a)
{
    (void)a;
    return 0;
}

/* The process that a group call names: 0 is the caller. */
static struct proc *named(int pid) { return pid == 0 ? current : pid > 0 ? proc_find(pid) : NULL; }

static bool group_in_session(int pgid, int sid)
{
    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        if (p->pgid == pgid && p->sid == sid)
            return true;
    }
    return false;
}

long sys_setpgid(const uint64_t *a)
{
    struct proc *p = named((int)a[0]);
    int pgid = (int)a[1];

    if (pgid < 0)
        return -EINVAL;
    if (!p || (p != current && p->parent != current) || p->state == PROC_ZOMBIE)
        return -ESRCH;
    if (pgid == 0)
        pgid = p->pid;
    if (p->sid != current->sid || p->pid == p->sid)
        return -EPERM;
    if (pgid != p->pid && !group_in_session(pgid, p->sid))
        return -EPERM;
    p->pgid = pgid;
    return 0;
}

long sys_getpgid(const uint64_t *a)
{
    struct proc *p = named((int)a[0]);

    return p ? p->pgid : -ESRCH;
}

long sys_getpgrp(const uint64_t *a)
{
    (void)a;
    return current->pgid;
}

long sys_setsid(const uint64_t *a)
{
    (void)a;
    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        if (p->pgid == current->pid)
            return -EPERM;
    }
    current->sid = current->pgid = current->pid;
    return current->pid;
}

long sys_getsid(const uint64_t *a)
{
    struct proc *p = named((int)a[0]);

    return p ? p->sid : -ESRCH;
}

long sys_uname(const uint64_t *a)
{
    char uts[6][UTS_LENGTH] = {"Linux",  "",      "6.1.0-quire", "#1 quire demonstration kernel",
                               "x86_64", "(none)"};

    memcpy(uts[1], host_name, sizeof host_name);
    return copy_out(a[0], uts, sizeof uts);
}

long sys_sethostname(const uint64_t *a)
{
    char name[UTS_LENGTH] = {0};

    if (a[1] >= UTS_LENGTH)
        return -EINVAL;
    if (copy_in(name, a[0], a[1]))
        return -EFAULT;
    memcpy(host_name, name, sizeof name);
    return 0;
}

long sys_arch_prctl(const uint64_t *a)
{
    switch (a[0]) {
    case ARCH_SET_FS:
        if (a[1] >= USER_HIGH)
            return -EPERM;
        current->fs_base = a[1];
        cpu_set_fs(a[1]);
        return 0;
    case ARCH_GET_FS: return copy_out(a[1], &current->fs_base, 8);
    case ARCH_SET_GS:
    default: return -EINVAL;
    }
}

long sys_prctl(const uint64_t *a)
{
    enum { PR_SET_NAME = 15, PR_GET_NAME = 16 };
    char name[NAME_LENGTH];
    long n;

    if (a[0] == PR_GET_NAME)
        return copy_out(a[1], current->name, NAME_LENGTH);
    if (a[0] != PR_SET_NAME)
        return -EINVAL;
    n = copy_in_string(name, a[1], sizeof name);
    if (n == -EFAULT)
        return n;
    name[NAME_LENGTH - 1] = 0;
    strlcpy(current->name, name, sizeof current->name);
    return 0;
}

long sys_set_tid_address(const uint64_t *a)
{
    current->clear_child_tid = a[0];
    return current->pid;
}

/* There are no futexes that a death would have to release. */
long sys_set_robust_list(const uint64_t *a) { return a[1] == 24 ? 0 : -EINVAL; }

static void limit_of(uint64_t resource, uint64_t *limit)
{
    limit[0] = limit[1] = UINT64_MAX;
    if (resource == RLIMIT_STACK)
        limit[0] = STACK_BYTES;
    if (resource == RLIMIT_NOFILE)
        limit[0] = limit[1] = 256;
}

/* Limits can be read; setting one is accepted and changes nothing. */
long sys_prlimit64(const uint64_t *a)
{
    uint64_t limit[2], new[2];

    if (a[1] >= RLIMITS)
        return -EINVAL;
    if (!named((int)a[0]))
        return -ESRCH;
    if (a[2]) {
        if (copy_in(new, a[2], sizeof new))
            return -EFAULT;
        if (new[0] > new[1])
            return -EINVAL;
    }
    limit_of(a[1], limit);
    return a[3] ? copy_out(a[3], limit, sizeof limit) : 0;
}

long sys_getrlimit(const uint64_t *a)
{
    return sys_prlimit64((const uint64_t[6]){0, a[0], 0, a[1]});
}

long sys_setrlimit(const uint64_t *a)
{
    return sys_prlimit64((const uint64_t[6]){0, a[0], a[1], 0});
}

long sys_sysinfo(const uint64_t *a)
{
    struct {
        int64_t uptime;
        uint64_t loads[3], total_ram, free_ram, shared_ram, buffer_ram, total_swap, free_swap;
        uint16_t procs, pad;
        uint32_t pad2;
        uint64_t total_high, free_high;
        uint32_t unit, pad3;
    } info = {.unit = PAGE_SIZE};
    struct quire_stats stats;

    quire_stats(quire, &stats);
    info.uptime = (int64_t)(now_ns() / 1000000000);
    info.total_ram = stats.frames;
    info.free_ram = stats.frames_free;
    for (struct proc *p = proc_next(NULL); p; p = proc_next(p))
        info.procs++;
    return copy_out(a[0], &info, 112);
}

long sys_sched_yield(const uint64_t *a)
{
    (void)a;
    sched_yield_cpu();
    return 0;
}

long sys_sched_getaffinity(const uint64_t *a)
{
    uint64_t mask = 1;

    if (a[1] < sizeof mask)
        return -EINVAL;
    if (copy_out(a[2], &mask, sizeof mask))
        return -EFAULT;
    return sizeof mask;
}

/* xorshift64*, with whatever entropy there is stirred in at every word. */
static uint64_t random_word(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    uint64_t hardware = 0;
    uint32_t a = 1, b, c, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d) : "2"(0));
    if (c & 1u << 30)
        __asm__ volatile("rdrand %0" : "=r"(hardware) : : "cc");
    state ^= hardware ^ tsc_read() * 0x2545f4914f6cdd1d;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    if (state == 0)
        state = 1;
    return state * 0x2545f4914f6cdd1d;
}

void random_fill(void *to, size_t n)
{
    uint8_t *p = to;

    while (n > 0) {
        uint64_t word = random_word();
        size_t piece = n < 8 ? n : 8;

        memcpy(p, &word, piece);
        p += piece;
        n -= piece;
    }
}

long sys_getrandom(const uint64_t *a)
{
    uint8_t bytes[256];
    uint64_t done = 0, n = a[1] < RANDOM_MAX ? a[1] : RANDOM_MAX;

    if (a[2] & ~UINT64_C(7))
        return -EINVAL;
    while (done < n) {
        size_t piece = n - done < sizeof bytes ? n - done : sizeof bytes;

        random_fill(bytes, piece);
        if (copy_out(a[0] + done, bytes, piece))
            return done ? (long)done : -EFAULT;
        done += piece;
    }
    return (long)done;
}

/* Power off or restart alike: QEMU ends with the status that means success. */
long sys_reboot(const uint64_t *a)
{
    if ((int)a[0] != REBOOT_MAGIC)
        return -EINVAL;
    if ((uint32_t)a[2] == 0 || (uint32_t)a[2] == 0x89abcdef)
        return 0; /* Ctrl-Alt-Del on or off */
    kernel_end(true);
}

long sys_getpriority(const uint64_t *a)
{
    (void)a;
    return 20;
}

long sys_setpriority(const uint64_t *a)
{
    (void)a;
    return 0;
}
