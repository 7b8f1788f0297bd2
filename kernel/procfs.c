/* SPDX-License-Identifier: MIT */
/*
 * /proc: processes, the machine, and what quire is doing, as text.
 *
 * Nothing is stored: an inode of /proc is made when a path leads to it and says only which node of
 * which process it is, so one that outlives its process finds nobody and answers ESRCH.  A text is
 * written whole when a read begins at its start, into a store that lasts as long as the open file,
 * so that a reader in small steps sees one state.
 *
 *   /proc/quire/counters   struct quire_stats by name
 *   /proc/quire/spaces     a line for each process: whose pages and tables are its own, and what it
 *                          has copied since it was made
 *   /proc/quire/forks      the last forks, each with its cost in time and in frames
 *   /proc/quire/syscalls   how often each call was made, and how often it was unknown
 *   /proc/quire/audit      reading it runs quire_check: findings go to the console, their number
 * here /proc/PID/quire        the regions of one space, and the kinds of the pages in each
 *
 * Cycles become nanoseconds by comparing the time-stamp counter with the clock since boot.
 */
#include "vfs.h"

enum {
    USER_END_BIT = 47,
    PAGES_LISTED_MAX = 16384, /* regions up to this long are looked at page by page */
    INO_ROOT = 1,
    INO_QUIRE = 2,
    INO_NODES = 16,       /* nodes of /proc */
    INO_QUIRE_NODES = 64, /* nodes of /proc/quire */
    INO_FD_DIRECTORY = 256,
    INO_FDS = 512,
    COOKIE_PIDS = 1000, /* /proc's processes come behind its fixed names */
};

#define USER_END (1ull << USER_END_BIT)

/* ---- texts ----------------------------------------------------------------------------------- */

struct text {
    struct store store;
};

/* Append, at most 255 bytes.  When memory has run out the text is cut short. */
__attribute__((format(printf, 2, 3))) static void text_print(struct text *text, const char *format,
                                                             ...)
{
    char line[256];
    va_list list;

    va_start(list, format);
    int n = kvsnprintf(line, sizeof(line), format, list);
    va_end(list);
    if (n > (int)sizeof(line) - 1) {
        n = sizeof(line) - 1;
    }
    struct buffer from = {(uintptr_t)line, false};
    (void)store_write(&text->store, &from, (size_t)n, text->store.size);
}

/* A name in /proc: a text (print) or a link (link). */
struct proc_node {
    const char *name;
    void (*print)(struct text *text, const struct proc *p);
    long (*link)(struct proc *p, char *to, size_t size);
};

/* ---- the machine ----------------------------------------------------------------------------- */

static uint64_t kib(uint64_t frames) { return frames * (PAGE_SIZE / 1024); }

static void print_meminfo(struct text *text, const struct proc *p)
{
    struct quire_stats s;

    (void)p;
    quire_stats(quire, &s);
    text_print(text, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\n", kib(s.frames),
               kib(s.frames_free));
    text_print(text, "MemAvailable:   %8lu kB\nBuffers:        %8u kB\n", kib(s.frames_free), 0);
    text_print(text, "Cached:         %8u kB\nSwapCached:     %8u kB\n", 0, 0);
    text_print(text, "SwapTotal:      %8u kB\nSwapFree:       %8u kB\n", 0, 0);
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
    text_print(text, "%5s %-15s %8s %8s %8s %7s %7s %8s %8s %8s\n", "pid", "name", "private",
               "shared", "zero", "tables", "shared", "copies", "reuses", "unshared");
    for (struct proc *each = proc_next(NULL); each != NULL; each = proc_next(each)) {
        if (each->mm == NULL) {
            continue;
        }
        quire_space_usage(each->mm->space, 0, USER_END, &u);
        text_print(text, "%5d %-15s %8lu %8lu %8lu %7lu %7lu %8lu %8lu %8lu\n", each->pid,
                   each->name, u.pages_private, u.pages_shared, u.pages_zero, u.tables_private,
                   u.tables_shared, u.copies, u.reuses, u.unshared);
    }
}

static struct {
    uint64_t cycles, ns;
} boot_moment;

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

static const char *region_name(const struct mm *mm, const struct quire_region *r)
{
    if (mm->brk_end > mm->brk_start && r->start < mm->brk_end && r->end > mm->brk_start) {
        return "[heap]";
    }
    return r->start < mm->stack_high && r->end > mm->stack_low ? "[stack]" : NULL;
}

static void print_maps(struct text *text, const struct proc *p)
{
    struct quire_region r = {0, 0, 0};

    while (p->mm != NULL && quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        const char *name = region_name(p->mm, &r);
        uint64_t before = text->store.size;
        text_print(text, "%08lx-%08lx %c%c%cp 00000000 00:00 0 ", r.start, r.end,
                   (r.prot & QUIRE_READ) != 0 ? 'r' : '-', (r.prot & QUIRE_WRITE) != 0 ? 'w' : '-',
                   (r.prot & QUIRE_EXEC) != 0 ? 'x' : '-');
        if (name != NULL) {
            /* Linux begins names in column 73. */
            int used = (int)(text->store.size - before);
            text_print(text, "%*s%s", used < 73 ? 73 - used : 0, "", name);
        }
        text_print(text, "\n");
    }
}

/* Pages in memory; *mapped is how many the regions span. */
static uint64_t resident(const struct proc *p, uint64_t *mapped)
{
    struct quire_region r = {0, 0, 0};
    struct quire_usage u;

    *mapped = 0;
    if (p->mm == NULL) {
        return 0;
    }
    while (quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        *mapped += (r.end - r.start) / PAGE_SIZE;
    }
    quire_space_usage(p->mm->space, 0, USER_END, &u);
    return u.pages_private + u.pages_shared;
}

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
    uint64_t mapped;
    uint64_t rss = resident(p, &mapped);

    text_print(text, "Name:\t%s\nUmask:\t%04o\nState:\t%c (%s)\n", p->name, p->umask, letter,
               state_name(letter));
    text_print(text, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", p->pid, p->pid,
               parent_pid(p));
    text_print(text, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t%d\nGroups:\t\n", OPEN_MAX);
    if (p->mm != NULL) {
        text_print(text, "VmSize:\t%8lu kB\nVmRSS:\t%8lu kB\n", kib(mapped), kib(rss));
    }
    text_print(text, "Threads:\t1\n");
}

static void print_proc_stat(struct text *text, const struct proc *p)
{
    uint64_t mapped;
    uint64_t rss = resident(p, &mapped);
    int foreground;
    uint32_t terminal = tty_number(p->sid, &foreground);

    text_print(text, "%d (%s) %c %d %d %d %u %d 0 %lu 0 0 0 ", p->pid, p->name,
               proc_state_letter(p), parent_pid(p), p->pgid, p->sid, terminal, foreground,
               p->minor_faults);
    text_print(text, "%lu %lu %lu %lu 20 0 1 0 %lu %lu %lu ", p->user_ns / 10000000,
               p->system_ns / 10000000, p->child_user_ns / 10000000, p->child_system_ns / 10000000,
               p->start_ns / 10000000, mapped * PAGE_SIZE, rss);
    text_print(text, "18446744073709551615 0 0 %lu 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 ",
               p->mm == NULL ? 0 : p->mm->stack_high);
    text_print(text, "%lu %lu %lu %lu 0\n", p->mm == NULL ? 0 : p->mm->arg_start,
               p->mm == NULL ? 0 : p->mm->arg_end, p->mm == NULL ? 0 : p->mm->env_start,
               p->mm == NULL ? 0 : p->mm->env_end);
}

static void print_statm(struct text *text, const struct proc *p)
{
    uint64_t mapped;
    uint64_t rss = resident(p, &mapped);

    text_print(text, "%lu %lu 0 0 0 %lu 0\n", mapped, rss, mapped);
}

static void print_name(struct text *text, const struct proc *p)
{
    text_print(text, "%s\n", p->name);
}

/* Bytes of the process's own memory, which it may have unmapped or changed: as far as they go. */
static void print_memory(struct text *text, const struct proc *p, uintptr_t start, uintptr_t end)
{
    char piece[256];

    while (start < end && text->store.size < PAGE_SIZE) {
        size_t part = end - start < sizeof(piece) ? end - start : sizeof(piece);
        size_t done = 0;
        struct buffer from = {(uintptr_t)piece, false};
        if (quire_read(p->mm->space, start, piece, part, &done) != QUIRE_OK) {
            part = done;
            end = start;
        }
        (void)store_write(&text->store, &from, part, text->store.size);
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
    struct quire_region r = {0, 0, 0};
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
    text_print(text, "since it was made: copies %lu reuses %lu unshared %lu\n", u.copies, u.reuses,
               u.unshared);
}

static long link_copy(const char *text, char *to, size_t size)
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
    return p->mm == NULL ? -ENOENT : link_copy(p->exe, to, size);
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
    return link_copy("/", to, size);
}

static long link_self(struct proc *p, char *to, size_t size)
{
    (void)p;
    return ksnprintf(to, size, "%d", current->pid);
}

/* ---- the names ------------------------------------------------------------------------------- */

static const struct proc_node root_nodes[] = {
    {"self", NULL, link_self},
    {"meminfo", print_meminfo, NULL},
    {"uptime", print_uptime, NULL},
    {"stat", print_stat, NULL},
    {"loadavg", print_loadavg, NULL},
    {"version", print_version, NULL},
    {"cmdline", print_command_line, NULL},
    {"mounts", print_mounts, NULL},
    {"filesystems", print_filesystems, NULL},
};

static const struct proc_node quire_nodes[] = {
    {"counters", print_counters, NULL}, {"spaces", print_spaces, NULL},
    {"forks", print_forks, NULL},       {"syscalls", print_syscalls, NULL},
    {"audit", print_audit, NULL},
};

static const struct proc_node pid_nodes[] = {
    {"maps", print_maps, NULL},
    {"status", print_status, NULL},
    {"stat", print_proc_stat, NULL},
    {"statm", print_statm, NULL},
    {"comm", print_name, NULL},
    {"cmdline", print_arguments, NULL},
    {"environ", print_environment, NULL},
    {"quire", print_space, NULL},
    {"exe", NULL, link_exe},
    {"cwd", NULL, link_cwd},
    {"root", NULL, link_root},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct inode_ops root_ops, quire_ops, pid_ops, fds_ops, text_ops, link_ops,
    fd_link_ops;

static struct inode *proc_inode(const struct inode_ops *ops, uint32_t mode, uint64_t ino, int pid,
                                int *error)
{
    struct inode *inode = inode_create(ops, DEVICE_PROC, mode);

    *error = -ENOMEM;
    if (inode != NULL) {
        inode->ino = ino;
        inode->as.proc.pid = pid;
        inode->links = (mode & S_IFMT) == S_IFDIR ? 2 : 1;
    }
    return inode;
}

/* Inode numbers of a process's things start here. */
static uint64_t pid_ino(int pid) { return (uint64_t)(pid + 1) << 12; }

struct inode *proc_root_create(void)
{
    int e = 0;

    boot_moment.cycles = __builtin_ia32_rdtsc();
    boot_moment.ns = now_ns();
    return proc_inode(&root_ops, S_IFDIR | 0555, INO_ROOT, 0, &e);
}

static bool name_is(const char *name, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(name, wanted, length) == 0;
}

/* The number that the name is, or -1. */
static int name_number(const char *name, size_t length)
{
    int n = 0;

    for (size_t i = 0; i < length; i++) {
        if (name[i] < '0' || name[i] > '9' || n > 999999 || (i > 0 && name[0] == '0')) {
            return -1;
        }
        n = n * 10 + (name[i] - '0');
    }
    return length == 0 ? -1 : n;
}

static struct inode *node_inode(const struct proc_node *node, uint64_t ino, int pid, int *error)
{
    uint32_t mode = node->link != NULL ? S_IFLNK | 0777 : S_IFREG | 0444;
    struct inode *inode =
        proc_inode(node->link != NULL ? &link_ops : &text_ops, mode, ino, pid, error);

    if (inode != NULL) {
        inode->as.proc.node = node;
    }
    return inode;
}

/* One of a table's nodes by name; null and *error otherwise. */
static struct inode *nodes_lookup(const struct proc_node *nodes, size_t count, uint64_t ino,
                                  int pid, const char *name, size_t length, int *error)
{
    for (size_t i = 0; i < count; i++) {
        if (name_is(name, length, nodes[i].name)) {
            return node_inode(&nodes[i], ino + i, pid, error);
        }
    }
    *error = -ENOENT;
    return NULL;
}

static struct inode *pid_directory(int pid, int *error)
{
    return proc_inode(&pid_ops, S_IFDIR | 0555, pid_ino(pid), pid, error);
}

static struct inode *root_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    int pid = name_number(name, length);

    (void)dir;
    if (pid >= 0) {
        *error = -ENOENT;
        return proc_find(pid) == NULL ? NULL : pid_directory(pid, error);
    }
    if (name_is(name, length, "quire")) {
        return proc_inode(&quire_ops, S_IFDIR | 0555, INO_QUIRE, 0, error);
    }
    return nodes_lookup(root_nodes, COUNT_OF(root_nodes), INO_NODES, 0, name, length, error);
}

static struct inode *quire_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    (void)dir;
    return nodes_lookup(quire_nodes, COUNT_OF(quire_nodes), INO_QUIRE_NODES, 0, name, length,
                        error);
}

static struct inode *pid_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    int pid = dir->as.proc.pid;

    *error = -ENOENT;
    if (proc_find(pid) == NULL) {
        return NULL;
    }
    if (name_is(name, length, "fd")) {
        return proc_inode(&fds_ops, S_IFDIR | 0500, pid_ino(pid) + INO_FD_DIRECTORY, pid, error);
    }
    return nodes_lookup(pid_nodes, COUNT_OF(pid_nodes), pid_ino(pid) + 1, pid, name, length, error);
}

/* The open file that a /proc/PID/fd inode is about, or null. */
static struct file *fd_file(int pid, int fd)
{
    struct proc *p = proc_find(pid);

    return p == NULL ? NULL : descriptor_peek(p, fd);
}

static struct inode *fds_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    int pid = dir->as.proc.pid;
    int fd = name_number(name, length);

    *error = -ENOENT;
    if (fd < 0 || fd_file(pid, fd) == NULL) {
        return NULL;
    }
    struct inode *inode =
        proc_inode(&fd_link_ops, S_IFLNK | 0700, pid_ino(pid) + INO_FDS + (uint64_t)fd, pid, error);
    if (inode != NULL) {
        inode->as.proc.fd = fd;
    }
    return inode;
}

static struct inode *above_root(struct inode *dir, int *error)
{
    (void)dir;
    (void)error;
    return inode_root();
}

static struct inode *above_first(struct inode *dir, int *error)
{
    (void)dir;
    return inode_lookup("/proc", error);
}

static struct inode *above_fds(struct inode *dir, int *error)
{
    return pid_directory(dir->as.proc.pid, error);
}

static void view_set(struct entry_view *view, uint64_t cookie, uint64_t ino, uint32_t mode)
{
    view->cookie = cookie;
    view->ino = ino;
    view->mode = mode;
}

/* Entry number `after` (from 0) of a table, if there is one. */
static bool nodes_entry(const struct proc_node *nodes, size_t count, uint64_t ino, uint64_t after,
                        struct entry_view *out)
{
    if (after >= count) {
        return false;
    }
    view_set(out, after + 1, ino + after, nodes[after].link != NULL ? S_IFLNK : S_IFREG);
    strlcpy(out->name, nodes[after].name, sizeof(out->name));
    return true;
}

static bool root_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    int least = 0;

    (void)dir;
    if (nodes_entry(root_nodes, COUNT_OF(root_nodes), INO_NODES, after, out)) {
        return true;
    }
    if (after == COUNT_OF(root_nodes)) {
        view_set(out, after + 1, INO_QUIRE, S_IFDIR);
        strlcpy(out->name, "quire", sizeof(out->name));
        return true;
    }
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p)) {
        if ((uint64_t)p->pid + COOKIE_PIDS > after && (least == 0 || p->pid < least)) {
            least = p->pid;
        }
    }
    if (least == 0) {
        return false;
    }
    view_set(out, (uint64_t)least + COOKIE_PIDS, pid_ino(least), S_IFDIR);
    ksnprintf(out->name, sizeof(out->name), "%d", least);
    return true;
}

static bool quire_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    (void)dir;
    return nodes_entry(quire_nodes, COUNT_OF(quire_nodes), INO_QUIRE_NODES, after, out);
}

static bool pid_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    int pid = dir->as.proc.pid;

    if (after == COUNT_OF(pid_nodes)) {
        view_set(out, after + 1, pid_ino(pid) + INO_FD_DIRECTORY, S_IFDIR);
        strlcpy(out->name, "fd", sizeof(out->name));
        return true;
    }
    return nodes_entry(pid_nodes, COUNT_OF(pid_nodes), pid_ino(pid) + 1, after, out);
}

static bool fds_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    int pid = dir->as.proc.pid;

    for (int fd = (int)(after < OPEN_MAX ? after : OPEN_MAX); fd < OPEN_MAX; fd++) {
        if (fd_file(pid, fd) != NULL) {
            view_set(out, (uint64_t)fd + 1, pid_ino(pid) + INO_FDS + (uint64_t)fd, S_IFLNK);
            ksnprintf(out->name, sizeof(out->name), "%d", fd);
            return true;
        }
    }
    return false;
}

/* ---- links ----------------------------------------------------------------------------------- */

static long proc_link_text(struct inode *link, char *to, size_t size)
{
    struct proc *p = link->as.proc.pid == 0 ? current : proc_find(link->as.proc.pid);

    return p == NULL ? -ENOENT : link->as.proc.node->link(p, to, size);
}

static struct inode *fd_link_follow(struct inode *link, int *error)
{
    struct file *file = fd_file(link->as.proc.pid, link->as.proc.fd);

    *error = -ENOENT;
    return file == NULL ? NULL : inode_get(file->inode);
}

static long fd_link_text(struct inode *link, char *to, size_t size)
{
    struct file *file = fd_file(link->as.proc.pid, link->as.proc.fd);
    char text[48];

    if (file == NULL) {
        return -ENOENT;
    }
    if (inode_is(file->inode, S_IFDIR)) {
        long n = directory_path(file->inode, to, size);
        return n < 0 ? n : n - 1;
    }
    /* An open file does not know the name it was opened by; devices' names are known. */
    if (inode_is(file->inode, S_IFCHR)) {
        const char *name = file->inode->rdev == DEVICE_CONSOLE ? "/dev/console"
                           : file->inode->rdev == DEVICE_NULL  ? "/dev/null"
                                                               : "/dev/tty";
        return link_copy(name, to, size);
    }
    ksnprintf(text, sizeof(text), "%s:[%lu]", inode_is(file->inode, S_IFIFO) ? "pipe" : "file",
              file->inode->ino);
    return link_copy(text, to, size);
}

/* ---- open texts ------------------------------------------------------------------------------ */

static long text_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    struct text *text = file->data;
    struct inode *inode = file->inode;
    const struct proc *p = inode->as.proc.pid == 0 ? current : proc_find(inode->as.proc.pid);

    if (offset == 0) {
        if (p == NULL) {
            return -ESRCH;
        }
        (void)store_resize(&text->store, 0);
        inode->as.proc.node->print(text, p);
    }
    return store_read(&text->store, to, n, offset);
}

static void text_release(struct file *file)
{
    struct text *text = file->data;

    (void)store_resize(&text->store, 0);
    kfree(text);
}

static const struct file_ops text_file_ops = {
    .seekable = true,
    .read = text_read,
    .release = text_release,
};

static int text_open(struct inode *inode, struct file *file)
{
    (void)inode;
    if ((file->flags & O_ACCMODE) != O_RDONLY) {
        return -EACCES;
    }
    file->data = kzalloc(sizeof(struct text));
    if (file->data == NULL) {
        return -ENOMEM;
    }
    file->ops = &text_file_ops;
    return 0;
}

static long proc_directory_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    (void)file;
    (void)to;
    (void)n;
    (void)offset;
    return -EISDIR;
}

static int proc_directory_open(struct inode *dir, struct file *file)
{
    static const struct file_ops ops = {.seekable = true, .read = proc_directory_read};

    (void)dir;
    file->ops = &ops;
    return 0;
}

static const struct inode_ops root_ops = {
    .lookup = root_lookup,
    .parent = above_root,
    .entry = root_entry,
    .open = proc_directory_open,
};

static const struct inode_ops quire_ops = {
    .lookup = quire_lookup,
    .parent = above_first,
    .entry = quire_entry,
    .open = proc_directory_open,
};

static const struct inode_ops pid_ops = {
    .lookup = pid_lookup,
    .parent = above_first,
    .entry = pid_entry,
    .open = proc_directory_open,
};

static const struct inode_ops fds_ops = {
    .lookup = fds_lookup,
    .parent = above_fds,
    .entry = fds_entry,
    .open = proc_directory_open,
};

static const struct inode_ops text_ops = {.open = text_open};
static const struct inode_ops link_ops = {.link_text = proc_link_text};
static const struct inode_ops fd_link_ops = {.link_text = fd_link_text, .follow = fd_link_follow};
