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
#include "vfs.h"

enum {
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

void limits_begin(struct proc *p)
{
    for (int i = 0; i < RLIMITS; i++)
        p->limits[i][0] = p->limits[i][1] = UINT64_MAX;
    p->limits[RLIMIT_STACK][0] = STACK_BYTES;
    p->limits[RLIMIT_NOFILE][0] = p->limits[RLIMIT_NOFILE][1] = OPEN_MAX;
    p->limits[RLIMIT_MEMLOCK][0] = p->limits[RLIMIT_MEMLOCK][1] = STACK_BYTES;
}

/* Limits are kept and inherited; only the one on descriptors is held. */
long sys_prlimit64(const uint64_t *a)
{
    struct proc *p = named((int)a[0]);
    uint64_t old[2], new[2];

    if (a[1] >= RLIMITS)
        return -EINVAL;
    if (!p)
        return -ESRCH;
    if (a[2] && copy_in(new, a[2], sizeof new))
        return -EFAULT;
    if (a[2] && new[0] > new[1])
        return -EINVAL;
    if (a[2] && a[1] == RLIMIT_NOFILE && new[1] > OPEN_MAX)
        return -EPERM;
    memcpy(old, p->limits[a[1]], sizeof old);
    if (a[2])
        memcpy(p->limits[a[1]], new, sizeof new);
    return a[3] ? copy_out(a[3], old, sizeof old) : 0;
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

    info.uptime = (int64_t)(now_ns() / 1000000000);
    info.total_ram = frames_total();
    info.free_ram = quire_free_frames(quire);
    quire_stats(quire, &stats);
    info.total_swap = stats.slots;
    info.free_swap = stats.slots - stats.slots_used;
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

/* Every program is root and may everything; what it gives up is not remembered. */
long sys_capget(const uint64_t *a)
{
    enum { VERSION_1 = 0x19980330, VERSION_2 = 0x20071026, VERSION_3 = 0x20080522 };
    enum { ALL_HIGH = 0x1ff };
    const uint32_t data[6] = {UINT32_MAX, UINT32_MAX, 0, ALL_HIGH, ALL_HIGH, 0};
    uint32_t header[2], version = VERSION_3;

    if (copy_in(header, a[0], sizeof header))
        return -EFAULT;
    if (header[0] != VERSION_1 && header[0] != VERSION_3 && header[0] != VERSION_2)
        return copy_out(a[0], &version, 4) || a[1] ? -EINVAL : 0;
    if (!named((int)header[1]))
        return -ESRCH;
    if (!a[1])
        return 0;
    return copy_out(a[1], data, header[0] == VERSION_1 ? sizeof data / 2 : sizeof data);
}

long sys_capset(const uint64_t *a)
{
    (void)a;
    return 0;
}

long sys_sched_setaffinity(const uint64_t *a)
{
    uint8_t first;

    if (a[1] == 0)
        return -EINVAL;
    if (copy_in(&first, a[2], 1))
        return -EFAULT;
    return first & 1 ? 0 : -EINVAL; /* there is one processor */
}

/* Everybody has the ordinary policy, number 0. */
long sys_sched_getscheduler(const uint64_t *a) { return named((int)a[0]) ? 0 : -ESRCH; }

long sys_sched_setscheduler(const uint64_t *a)
{
    int priority;

    if (!named((int)a[0]))
        return -ESRCH;
    if (copy_in(&priority, a[2], sizeof priority))
        return -EFAULT;
    return a[1] == 0 && priority == 0 ? 0 : -EINVAL;
}

long sys_sched_getparam(const uint64_t *a)
{
    int priority = 0;

    return named((int)a[0]) ? copy_out(a[1], &priority, sizeof priority) : -ESRCH;
}

long sys_sched_get_priority_max(const uint64_t *a)
{
    enum { FIFO = 1, ROUND_ROBIN = 2, HIGHEST = 99, LAST_POLICY = 6 };

    return a[0] > LAST_POLICY ? -EINVAL : a[0] == FIFO || a[0] == ROUND_ROBIN ? HIGHEST : 0;
}

long sys_sched_get_priority_min(const uint64_t *a)
{
    long highest = sys_sched_get_priority_max(a);

    return highest > 0 ? 1 : highest;
}

long sys_getcpu(const uint64_t *a)
{
    uint32_t zero = 0;

    if ((a[0] && copy_out(a[0], &zero, 4)) || (a[1] && copy_out(a[1], &zero, 4)))
        return -EFAULT;
    return 0;
}

/* Linux's, and nothing else. */
long sys_personality(const uint64_t *a)
{
    return a[0] == 0 || (uint32_t)a[0] == UINT32_MAX ? 0 : -EINVAL;
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
