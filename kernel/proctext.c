/* SPDX-License-Identifier: MIT */
/*
 * What the files of /proc say.
 *
 *   /proc/quire/counters   struct quire_stats by name
 *   /proc/quire/spaces     a line for each process: whose pages and tables are its own, and what it
 *                          has copied since it was made
 *   /proc/quire/forks      the last forks, each with its cost in time and in frames
 *   /proc/quire/syscalls   how often each call was made, and how often it was unknown
 *   /proc/quire/audit      reading it runs quire_check: findings go to the console, here is their
 *                          number
 *   /proc/PID/quire        the regions of one space, and the kinds of the pages in each
 *
 * The rest is Linux's, as far as ps, free, top and df read it; procmaps.c has what is said about
 * mappings.  A function here writes one text; a process may be a zombie, whose memory is gone.
 * Cycles become nanoseconds by comparing the time-stamp counter with the clock since boot.
 */
#include "procfs.h"

enum {
    PAGES_LISTED_MAX = 16384, /* regions up to this long are looked at page by page */
};

/* ---- texts ----------------------------------------------------------------------------------- */

void text_append(struct text *text, const char *bytes, size_t n)
{
    struct buffer from = {(uintptr_t)bytes, false};

    (void)store_write(&text->store, &from, n, store_size(&text->store));
}

void text_print(struct text *text, const char *format, ...)
{
    char line[256];
    va_list list;

    va_start(list, format);
    int n = kvsnprintf(line, sizeof(line), format, list);
    va_end(list);
    if (n > (int)sizeof(line) - 1) {
        n = sizeof(line) - 1;
    }
    text_append(text, line, (size_t)n);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void print_meminfo(struct text *text, const struct proc *p)
{
    struct quire_stats s;

    (void)p;
    quire_stats(quire, &s);
    text_print(text, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\n", kib(s.frames),
               kib(s.frames_free));
    text_print(text, "MemAvailable:   %8lu kB\nBuffers:        %8u kB\n", kib(s.frames_free), 0);
    text_print(text, "Cached:         %8u kB\nSwapCached:     %8u kB\n", 0, 0);
    text_print(text, "SwapTotal:      %8lu kB\nSwapFree:       %8lu kB\n", kib(s.slots),
               kib(s.slots - s.slots_used));
    text_print(text, "AnonPages:      %8lu kB\nShmem:          %8u kB\n", kib(s.frames_data), 0);
    text_print(text, "Slab:           %8lu kB\nPageTables:     %8lu kB\n", kib(s.frames_taken),
               kib(s.frames_table + s.frames_side + s.frames_node));
}

static void print_uptime(struct text *text, const struct proc *p)
{
    uint64_t up = now_ns() / 10000000;
    uint64_t idle = idle_ns() / 10000000;

    (void)p;
    text_print(text, "%lu.%02lu %lu.%02lu\n", up / 100, up % 100, idle / 100, idle % 100);
}

static void print_stat(struct text *text, const struct proc *p)
{
    uint64_t idle = idle_ns() / 10000000;
    uint64_t switches = 0;
    int running = 0;

    (void)p;
    for (struct proc *each = proc_next(NULL); each != NULL; each = proc_next(each)) {
        switches += each->switches;
        running += proc_state_letter(each) == 'R';
    }
    for (int i = 0; i < 2; i++) {
        text_print(text, "%s %lu 0 0 %lu 0 0 0 0 0 0\n", i == 0 ? "cpu " : "cpu0",
                   now_ns() / 10000000 - idle, idle);
    }
    text_print(text, "intr %lu\nctxt %lu\nbtime %lu\n", timer_ticks(), switches,
               (wall_ns() - now_ns()) / 1000000000);
    text_print(text, "processes %lu\nprocs_running %d\nprocs_blocked 0\n", fork_count(), running);
}

static void print_loadavg(struct text *text, const struct proc *p)
{
    int all = 0;
    int running = 0;
    int last = 0;

    (void)p;
    for (struct proc *each = proc_next(NULL); each != NULL; each = proc_next(each)) {
        all++;
        running += proc_state_letter(each) == 'R';
        last = each->pid > last ? each->pid : last;
    }
    text_print(text, "0.00 0.00 0.00 %d/%d %d\n", running, all, last);
}

static void print_version(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "Linux version 6.1.0-quire (the demonstration kernel of quire)\n");
}

static void print_command_line(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "%s\n", kernel_command_line());
}

static void print_mounts(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "root / tmpfs rw 0 0\nproc /proc proc rw 0 0\n");
}

static void print_mountinfo(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "1 0 0:%d / / rw - tmpfs root rw\n", DEVICE_TMPFS);
    text_print(text, "2 1 0:%d / /proc rw - proc proc rw\n", DEVICE_PROC);
}

static void print_vmstat(struct text *text, const struct proc *p)
{
    struct quire_stats s;

    (void)p;
    quire_stats(quire, &s);
    text_print(text, "nr_free_pages %lu\nnr_page_table_pages %lu\n", s.frames_free, s.frames_table);
    text_print(text, "pgpgin %lu\npgpgout %lu\n", s.pages_read, s.pages_written);
    text_print(text, "pswpin %lu\npswpout %lu\n", s.paged_in, s.paged_out);
    text_print(text, "pgfault %lu\npgmajfault %lu\n", s.faults,
               s.pages_read + s.paged_in - s.paged_around);
    text_print(text, "pgsteal %lu\npgtrim %lu\npgsoft %lu\npgpurge %lu\n", s.stolen, s.trimmed,
               s.soft_faults, s.purged);
    text_print(text, "pswpin_errors %lu\npswpout_errors %lu\n", s.page_read_errors,
               s.page_write_errors);
}

static void print_cpuinfo(struct text *text, const struct proc *p)
{
    char vendor[13] = "";
    uint32_t a = 0, b, c, d;

    (void)p;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    memcpy(vendor, &b, 4);
    memcpy(vendor + 4, &d, 4);
    memcpy(vendor + 8, &c, 4);
    text_print(text, "processor\t: 0\nvendor_id\t: %s\nmodel name\t: one processor\n\n", vendor);
}

static void print_filesystems(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "nodev\ttmpfs\nnodev\tproc\n");
}

/* ---- quire ----------------------------------------------------------------------------------- */

static void print_counters(struct text *text, const struct proc *p)
{
    struct quire_stats s;

    (void)p;
    quire_stats(quire, &s);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"faults", s.faults},
        {"zero_maps", s.zero_maps},
        {"zero_fills", s.zero_fills},
        {"copies", s.copies},
        {"reuses", s.reuses},
        {"upgrades", s.upgrades},
        {"loosened", s.loosened},
        {"spurious", s.spurious},
        {"unmapped", s.unmapped},
        {"forbidden", s.forbidden},
        {"no_memory", s.no_memory},
        {"pushed_down", s.pushed_down},
        {"hidden", s.hidden},
        {"forks", s.forks},
        {"spaces", s.spaces},
        {"frames", s.frames},
        {"frames_free", s.frames_free},
        {"frames_data", s.frames_data},
        {"frames_table", s.frames_table},
        {"frames_side", s.frames_side},
        {"frames_node", s.frames_node},
        {"frames_taken", s.frames_taken},
        {"table_share_sum", s.table_share_sum},
    };
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        text_print(text, "%s %lu\n", counters[i].name, counters[i].value);
    }
    for (int level = 1; level <= QUIRE_LEVELS; level++) {
        text_print(text, "unshared_level_%d %lu\n", level, s.unshared[level]);
    }
}

static void print_spaces(struct text *text, const struct proc *p)
{
    struct quire_usage u;

    (void)p;
    text_print(text, "%5s %-15s %8s %8s %8s %7s %7s\n", "pid", "name", "private", "shared", "zero",
               "tables", "shared");
    for (struct proc *each = proc_next(NULL); each != NULL; each = proc_next(each)) {
        if (each->mm == NULL) {
            continue;
        }
        quire_space_usage(each->mm->space, 0, USER_END, &u);
        text_print(text, "%5d %-15s %8lu %8lu %8lu %7lu %7lu\n", each->pid, each->name,
                   u.pages_private, u.pages_shared, u.pages_zero, u.tables_private,
                   u.tables_shared);
    }
}

static struct {
    uint64_t cycles, ns;
} boot_moment;

void proc_clock_start(void)
{
    boot_moment.cycles = __builtin_ia32_rdtsc();
    boot_moment.ns = now_ns();
}

/* Cycles as nanoseconds.  The ratio is kept in 1/1024, exact enough for a second and more since
 * boot. */
static uint64_t cycles_to_ns(uint64_t cycles)
{
    uint64_t ticks = (__builtin_ia32_rdtsc() - boot_moment.cycles) / 1024;
    uint64_t ns = now_ns() - boot_moment.ns;

    return ticks == 0 ? 0 : cycles * (ns / 1024) / ticks;
}

static void print_forks(struct text *text, const struct proc *p)
{
    struct fork_record r;

    (void)p;
    text_print(text, "# forks %lu, the last %u of them\n", fork_count(), FORK_RECORDS);
    text_print(text, "# parent child kind quire_ns call_ns quire_cycles call_cycles quire_frames "
                     "call_frames pages_mapped\n");
    for (unsigned i = 0; fork_record_get(i, &r); i++) {
        text_print(text, "%d %d %s %lu %lu %lu %lu %lu %lu %lu\n", r.parent, r.child,
                   r.vfork ? "vfork" : "fork", cycles_to_ns(r.quire_cycles),
                   cycles_to_ns(r.call_cycles), r.quire_cycles, r.call_cycles, r.frames_quire,
                   r.frames_call, r.pages_mapped);
    }
}

static void print_syscalls(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "# number name calls unknown\n");
    for (unsigned nr = 0; nr <= SYSCALL_NUMBERS; nr++) {
        uint64_t calls = nr < SYSCALL_NUMBERS ? syscall_count(nr) : syscall_unknown(nr);
        uint64_t unknown = syscall_unknown(nr);
        const char *name = nr < SYSCALL_NUMBERS ? syscall_name(nr) : "larger";
        if (calls + unknown > 0) {
            text_print(text, "%u %s %lu %lu\n", nr, name == NULL ? "-" : name, calls, unknown);
        }
    }
}

static void print_audit(struct text *text, const struct proc *p)
{
    (void)p;
    text_print(text, "audit: %u findings\n", quire_check(quire));
}

/* ---- one process ----------------------------------------------------------------------------- */

static const char *state_name(char letter)
{
    switch (letter) {
    case 'R': return "running";
    case 'T': return "stopped";
    case 'Z': return "zombie";
    default: return "sleeping";
    }
}

static int parent_pid(const struct proc *p) { return p->parent == NULL ? 0 : p->parent->pid; }

static void print_status(struct text *text, const struct proc *p)
{
    char letter = proc_state_letter(p);

    text_print(text, "Name:\t%s\nUmask:\t%04o\nState:\t%c (%s)\n", p->name, p->umask, letter,
               state_name(letter));
    text_print(text, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", p->pid, p->pid,
               parent_pid(p));
    text_print(text, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t%d\nGroups:\t\n", OPEN_MAX);
    print_status_memory(text, p);
    text_print(text, "Threads:\t1\n");
}

static void print_proc_stat(struct text *text, const struct proc *p)
{
    struct memory_sum m = memory_sum(p);
    int foreground;
    uint32_t terminal = tty_number(p->sid, &foreground);

    text_print(text, "%d (%s) %c %d %d %d %u %d 0 %lu 0 0 0 ", p->pid, p->name,
               proc_state_letter(p), parent_pid(p), p->pgid, p->sid, terminal, foreground,
               p->minor_faults);
    text_print(text, "%lu %lu %lu %lu 20 0 1 0 %lu %lu %lu ", p->user_ns / 10000000,
               p->system_ns / 10000000, p->child_user_ns / 10000000, p->child_system_ns / 10000000,
               p->start_ns / 10000000, m.size * PAGE_SIZE, m.anonymous + m.file + m.shmem);
    text_print(text, "18446744073709551615 0 0 %lu 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 ",
               p->mm == NULL ? 0 : p->mm->stack_high);
    text_print(text, "%lu %lu %lu %lu 0\n", p->mm == NULL ? 0 : p->mm->arg_start,
               p->mm == NULL ? 0 : p->mm->arg_end, p->mm == NULL ? 0 : p->mm->env_start,
               p->mm == NULL ? 0 : p->mm->env_end);
}

static void print_name(struct text *text, const struct proc *p)
{
    text_print(text, "%s\n", p->name);
}

/* Bytes of the process's own memory, which it may have unmapped or changed: as far as they go. */
static void print_memory(struct text *text, const struct proc *p, uintptr_t start, uintptr_t end)
{
    char piece[256];

    while (start < end && store_size(&text->store) < PAGE_SIZE) {
        size_t part = end - start < sizeof(piece) ? end - start : sizeof(piece);
        size_t done = 0;
        if (quire_read(p->mm->space, start, piece, part, &done) != QUIRE_OK) {
            part = done;
            end = start;
        }
        text_append(text, piece, part);
        start += part;
    }
}

static void print_arguments(struct text *text, const struct proc *p)
{
    if (p->mm != NULL) {
        print_memory(text, p, p->mm->arg_start, p->mm->arg_end);
    }
}

static void print_environment(struct text *text, const struct proc *p)
{
    if (p->mm != NULL) {
        print_memory(text, p, p->mm->env_start, p->mm->env_end);
    }
}

/* The kinds of all pages of one region, or what a walk counts when it is too long to look at each.
 */
static void print_kinds(struct text *text, struct quire_space *space, const struct quire_region *r)
{
    uint64_t kinds[QUIRE_PAGE_KIND_COUNT] = {0};
    uint64_t pages = (r->end - r->start) / PAGE_SIZE;
    struct quire_usage u;
    struct quire_page page;

    if (pages > PAGES_LISTED_MAX) {
        quire_space_usage(space, r->start, r->end, &u);
        kinds[QUIRE_PAGE_ZERO] = u.pages_zero;
        kinds[QUIRE_PAGE_PRIVATE] = u.pages_private;
        kinds[QUIRE_PAGE_SHARED] = u.pages_shared;
        kinds[QUIRE_PAGE_EMPTY] = pages - u.pages_zero - u.pages_private - u.pages_shared;
    } else {
        for (vaddr_t at = r->start; at < r->end; at += PAGE_SIZE) {
            quire_page(space, at, &page);
            kinds[page.kind]++;
        }
    }
    text_print(text, " %8lu %8lu %8lu %8lu %8lu\n", kinds[QUIRE_PAGE_EMPTY], kinds[QUIRE_PAGE_ZERO],
               kinds[QUIRE_PAGE_PRIVATE], kinds[QUIRE_PAGE_SHARED], kinds[QUIRE_PAGE_BORROWED]);
}

static void print_space(struct text *text, const struct proc *p)
{
    struct quire_region r = {.end = 0};
    struct quire_usage u;

    if (p->mm == NULL) {
        return;
    }
    text_print(text, "# %-27s prot %8s %8s %8s %8s %8s\n", "region", "empty", "zero", "private",
               "shared", "borrowed");
    while (quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        text_print(text, "%014lx-%014lx %c%c%c ", r.start, r.end,
                   (r.prot & QUIRE_READ) != 0 ? 'r' : '-', (r.prot & QUIRE_WRITE) != 0 ? 'w' : '-',
                   (r.prot & QUIRE_EXEC) != 0 ? 'x' : '-');
        print_kinds(text, p->mm->space, &r);
    }
    quire_space_usage(p->mm->space, 0, USER_END, &u);
    text_print(text, "tables private %lu shared %lu\n", u.tables_private, u.tables_shared);
}

long proc_link_copy(const char *text, char *to, size_t size)
{
    size_t n = text == NULL ? 0 : strlen(text);

    if (n == 0) {
        return -ENOENT;
    }
    n = n < size ? n : size;
    memcpy(to, text, n);
    return (long)n;
}

static long link_exe(struct proc *p, char *to, size_t size)
{
    return p->mm == NULL ? -ENOENT : proc_link_copy(p->exe, to, size);
}

static long link_cwd(struct proc *p, char *to, size_t size)
{
    if (p->cwd == NULL) {
        return -ENOENT;
    }
    long n = directory_path(p->cwd, to, size);
    return n < 0 ? n : n - 1;
}

static long link_root(struct proc *p, char *to, size_t size)
{
    (void)p;
    return proc_link_copy("/", to, size);
}

static long link_self(struct proc *p, char *to, size_t size)
{
    (void)p;
    return ksnprintf(to, size, "%d", current->pid);
}

/* ---- the tables ------------------------------------------------------------------------------ */

const struct proc_node proc_root_nodes[] = {
    {.name = "self", .link = link_self},
    {.name = "meminfo", .print = print_meminfo},
    {.name = "uptime", .print = print_uptime},
    {.name = "stat", .print = print_stat},
    {.name = "loadavg", .print = print_loadavg},
    {.name = "version", .print = print_version},
    {.name = "cmdline", .print = print_command_line},
    {.name = "cpuinfo", .print = print_cpuinfo},
    {.name = "vmstat", .print = print_vmstat},
    {.name = "mounts", .print = print_mounts},
    {.name = "filesystems", .print = print_filesystems},
};

const struct proc_node proc_quire_nodes[] = {
    {.name = "counters", .print = print_counters}, {.name = "spaces", .print = print_spaces},
    {.name = "forks", .print = print_forks},       {.name = "syscalls", .print = print_syscalls},
    {.name = "audit", .print = print_audit},
};

const struct proc_node proc_pid_nodes[] = {
    {.name = "maps", .print = print_maps},
    {.name = "smaps", .print = print_smaps},
    {.name = "smaps_rollup", .print = print_smaps_rollup},
    {.name = "mem", .file = &proc_mem_ops},
    {.name = "pagemap", .file = &proc_pagemap_ops},
    {.name = "mounts", .print = print_mounts},
    {.name = "mountinfo", .print = print_mountinfo},
    {.name = "status", .print = print_status},
    {.name = "stat", .print = print_proc_stat},
    {.name = "statm", .print = print_statm},
    {.name = "comm", .print = print_name},
    {.name = "cmdline", .print = print_arguments},
    {.name = "environ", .print = print_environment},
    {.name = "quire", .print = print_space},
    {.name = "exe", .link = link_exe},
    {.name = "cwd", .link = link_cwd},
    {.name = "root", .link = link_root},
};

const size_t proc_root_count = sizeof(proc_root_nodes) / sizeof(proc_root_nodes[0]);
const size_t proc_quire_count = sizeof(proc_quire_nodes) / sizeof(proc_quire_nodes[0]);
const size_t proc_pid_count = sizeof(proc_pid_nodes) / sizeof(proc_pid_nodes[0]);
