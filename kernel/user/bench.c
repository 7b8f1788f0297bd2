/* SPDX-License-Identifier: MIT */
/*
 * What operations on memory cost a program, in guest instructions.
 *
 * Under `qemu -icount shift=0` the time-stamp counter advances by one with each instruction, the
 * kernel's included, so the difference of two readings in the program is the whole price of what
 * lies between. The program uses nothing but system calls that Linux has too: it runs there as
 * well, and the numbers compare.  As process 1 it measures in a child and ends the machine.
 *
 * Each line of output is `name value`.  What a reading itself costs is taken off.  A timer
 * interrupt can fall into a measurement: where one operation is timed the smallest of several runs
 * counts, where many are the mean after the largest tenth is dropped.
 */
#include <stddef.h>
#include <stdint.h>

enum {
    PAGE = 4096,
    LEAF_PAGES = 512,
    RUNS = 9,
    SAMPLES = 256,
    SYS_WRITE = 1,
    SYS_MMAP = 9,
    SYS_MPROTECT = 10,
    SYS_MUNMAP = 11,
    SYS_SIGACTION = 13,
    SYS_SIGRETURN = 15,
    SYS_PIPE = 22,
    SYS_READ = 0,
    SYS_OPEN = 2,
    SYS_CLOSE = 3,
    SYS_LSEEK = 8,
    SYS_GETPID = 39,
    SYS_FORK = 57,
    SYS_EXIT = 60,
    SYS_WAIT4 = 61,
    SYS_REBOOT = 169,
    SYS_UNLINK = 87,
    SYS_SYSINFO = 99,
    SYS_GETPPID = 110,
};
#define MIB (UINT64_C(1) << 20)
#define LEAF (2 * MIB)

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline uint64_t now(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static uint64_t samples[SAMPLES];
static uint64_t overhead;       /* of now() twice */
static int channel[2], gate[2]; /* child to parent, parent to child */

static void print(const char *text, size_t n)
{
    (void)call(SYS_WRITE, 1, (long)text, (long)n, 0, 0, 0);
}

/* One line: the name, the kind of figure that ends it, the value. */
static void report(const char *name, const char *kind, uint64_t value)
{
    char line[96], digits[24];
    size_t n = 0, d = 0;

    while (*name && n < 40)
        line[n++] = *name++;
    while (*kind && n < 64)
        line[n++] = *kind++;
    line[n++] = ' ';
    do {
        digits[d++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (d > 0)
        line[n++] = digits[--d];
    line[n++] = '\n';
    print(line, n);
}

static void fail(const char *what)
{
    size_t n = 0;

    while (what[n])
        n++;
    print("bench: failed: ", 15);
    print(what, n);
    print("\n", 1);
    (void)call(SYS_EXIT, 1, 0, 0, 0, 0, 0);
    for (;;)
        continue;
}

static void sort(uint64_t *v, int n)
{
    for (int i = 1; i < n; i++) {
        uint64_t x = v[i];
        int j = i;

        for (; j > 0 && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

/* The mean of the samples without the largest tenth. */
static uint64_t mean(int n)
{
    uint64_t sum = 0;
    int used = n - n / 10;

    sort(samples, n);
    for (int i = 0; i < used; i++)
        sum += samples[i];
    sum /= (uint64_t)used;
    return sum > overhead ? sum - overhead : 0;
}

static uint64_t least(int n)
{
    sort(samples, n);
    return samples[0] > overhead ? samples[0] - overhead : 0;
}

/* `length` bytes of fresh memory whose start is a multiple of 2 MiB. */
static char *memory(uint64_t length)
{
    long p = call(SYS_MMAP, 0, (long)(length + LEAF), 3, 0x22, -1, 0);

    if (p < 0)
        fail("mmap");
    return (char *)(((uintptr_t)p + LEAF - 1) & ~(uintptr_t)(LEAF - 1));
}

static void memory_free(char *p, uint64_t length)
{
    (void)call(SYS_MUNMAP, (long)p, (long)length, 0, 0, 0, 0);
}

static void touch(char *p, uint64_t length)
{
    for (uint64_t i = 0; i < length; i += PAGE)
        *(volatile char *)(p + i) = 1;
}

static uint64_t write_cost(char *p)
{
    uint64_t start = now();

    *(volatile char *)p = 2;
    return now() - start;
}

static uint64_t read_cost(const char *p)
{
    uint64_t start = now();

    (void)*(const volatile char *)p;
    return now() - start;
}

static long fork(void)
{
    long pid = call(SYS_FORK, 0, 0, 0, 0, 0, 0);

    if (pid < 0)
        fail("fork");
    return pid;
}

static void leave(void)
{
    (void)call(SYS_EXIT, 0, 0, 0, 0, 0, 0);
    for (;;)
        continue;
}

static void wait(long pid)
{
    if (call(SYS_WAIT4, pid, 0, 0, 0, 0, 0) != pid)
        fail("wait4");
}

static void tell(uint64_t value)
{
    (void)call(SYS_WRITE, channel[1], (long)&value, sizeof value, 0, 0, 0);
}

static uint64_t hear(void)
{
    uint64_t value = 0;

    if (call(SYS_READ, channel[0], (long)&value, sizeof value, 0, 0, 0) != sizeof value)
        fail("pipe");
    return value;
}

/* ---- fork ------------------------------------------------------------------------------------ */

/*
 * Fork; the child times its first write to *p before it writes anything else, its stack included.
 * The parent's return value is the child; the child's is 0 and *cost is set.
 */
static long fork_and_write(char *p, uint64_t *cost)
{
    uint64_t pid = SYS_FORK, cycles;

    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "rdtsc\n\t"
                     "shlq $32, %%rdx\n\t"
                     "leaq (%%rax, %%rdx), %%rdi\n\t"
                     "movb $2, (%[p])\n\t"
                     "rdtsc\n\t"
                     "shlq $32, %%rdx\n\t"
                     "addq %%rdx, %%rax\n\t"
                     "subq %%rdi, %%rax\n\t"
                     "movq %%rax, %%rdi\n\t"
                     "xorl %%eax, %%eax\n"
                     "1:"
                     : "+a"(pid), "=&D"(cycles)
                     : [p] "r"(p)
                     : "rcx", "rdx", "r11", "memory");
    *cost = cycles;
    return (long)pid;
}

/* Pages that are free, by sysinfo; 0 where the unit is not pages. */
static uint64_t frames_free(void)
{
    uint64_t info[14] = {0};

    (void)call(SYS_SYSINFO, (long)info, 0, 0, 0, 0, 0);
    return (uint32_t)info[13] == PAGE ? info[5] : info[5] / PAGE;
}

/* What one fork cost at once, and what it put off: the child's first write, and the drop. */
struct fork_cost {
    uint64_t fork, first_write, drop, frames;
};

static struct fork_cost fork_measure(char *p)
{
    struct fork_cost cost;
    uint64_t frames = frames_free(), write = 0, start, go = 1;
    long pid;

    start = now();
    pid = fork_and_write(p, &write);
    if (pid == 0) {
        tell(write);
        (void)call(SYS_READ, gate[0], (long)&go, sizeof go, 0, 0, 0);
        tell(now());
        leave();
    }
    cost.fork = now() - start - overhead;
    if (pid < 0)
        fail("fork");
    cost.first_write = hear() - overhead;
    cost.frames = frames - frames_free();
    (void)call(SYS_WRITE, gate[1], (long)&go, sizeof go, 0, 0, 0);
    wait(pid);
    cost.drop = now() - hear() - overhead;
    return cost;
}

/* Four lines for a parent with that much touched memory; `name` ends in a dot. */
static void bench_fork(const char *name, uint64_t mib)
{
    char *p = memory(mib * MIB);
    struct fork_cost least_cost = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

    touch(p, mib * MIB);
    for (int i = 0; i < RUNS; i++) {
        struct fork_cost cost = fork_measure(p + mib * MIB / 2);

        if (cost.fork < least_cost.fork)
            least_cost.fork = cost.fork;
        if (cost.first_write < least_cost.first_write)
            least_cost.first_write = cost.first_write;
        if (cost.drop < least_cost.drop)
            least_cost.drop = cost.drop;
        if (cost.frames < least_cost.frames)
            least_cost.frames = cost.frames;
    }
    report(name, "insns", least_cost.fork);
    report(name, "first_write.insns", least_cost.first_write);
    report(name, "drop.insns", least_cost.drop);
    report(name, "frames", least_cost.frames);
    memory_free(p, mib * MIB);
}

static void bench_fork_exit_wait(uint64_t mib)
{
    char *p = memory(mib * MIB);

    touch(p, mib * MIB);
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = now();
        long pid = fork();

        if (pid == 0)
            leave();
        wait(pid);
        samples[i] = now() - start;
    }
    report("x86.fork_exit_wait.256mib.", "insns", least(RUNS));
    memory_free(p, mib * MIB);
}

static void bench_first_write(void)
{
    char *p = memory(64 * MIB);
    uint64_t cost;

    touch(p, 64 * MIB);
    for (int i = 0; i < RUNS; i++) {
        long pid = fork_and_write(p + 8 * MIB, &cost);

        if (pid == 0) {
            tell(cost);
            leave();
        }
        samples[i] = hear();
        wait(pid);
    }
    report("x86.first_write.", "insns", least(RUNS));
    for (int i = 0; i < RUNS; i++) {
        long pid = fork_and_write(p, &cost);

        if (pid == 0) {
            tell(write_cost(p + 16 * MIB));
            leave();
        }
        samples[i] = hear();
        wait(pid);
    }
    report("x86.first_write.next_leaf.", "insns", least(RUNS));
    memory_free(p, 64 * MIB);
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* A child writes pages whose table is its own already and whose frames its parent still has. */
static void bench_cow(void)
{
    char *p = memory(LEAF);
    long pid;

    touch(p, LEAF);
    pid = fork();
    if (pid == 0) {
        *(volatile char *)p = 2;
        for (int i = 0; i < SAMPLES; i++)
            samples[i] = write_cost(p + (i + 1) * PAGE);
        tell(mean(SAMPLES));
        leave();
    }
    report("x86.cow.", "insns", hear());
    wait(pid);
    memory_free(p, LEAF);
}

/* The child made the table its own and is gone; the parent writes the pages that were shared. */
static void bench_reuse(void)
{
    char *p = memory(LEAF);
    long pid;

    touch(p, LEAF);
    pid = fork();
    if (pid == 0) {
        *(volatile char *)p = 2;
        leave();
    }
    *(volatile char *)(p + PAGE) = 2; /* while the child lives: the parent's table diverges too */
    wait(pid);
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = write_cost(p + (i + 2) * PAGE);
    report("x86.reuse.", "insns", mean(SAMPLES));
    memory_free(p, LEAF);
}

static void bench_zero(void)
{
    char *p = memory(LEAF);

    *(volatile char *)p = 1;
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = write_cost(p + (i + 1) * PAGE);
    report("x86.zero_write.", "insns", mean(SAMPLES));
    memory_free(p, LEAF);
    p = memory(LEAF);
    *(volatile char *)p = 1;
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = read_cost(p + (i + 1) * PAGE);
    report("x86.zero_read.", "insns", mean(SAMPLES));
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = write_cost(p + (i + 1) * PAGE);
    report("x86.zero_write_after_read.", "insns", mean(SAMPLES));
    memory_free(p, LEAF);
}

/* ---- whole ranges ---------------------------------------------------------------------------- */

/* From the child's last instruction to the parent's return from wait, with `pages` private pages.
 */
static uint64_t exit_cost(uint64_t pages)
{
    for (int i = 0; i < 3; i++) {
        char *p = memory(pages * PAGE);
        long pid = fork();

        if (pid == 0) {
            touch(p, pages * PAGE);
            tell(now());
            leave();
        }
        wait(pid);
        samples[i] = now() - hear();
        memory_free(p, pages * PAGE);
    }
    return least(3);
}

static void bench_ranges(void)
{
    const uint64_t pages = 16 * LEAF_PAGES;
    char *p = memory(pages * PAGE);
    uint64_t small = exit_cost(LEAF_PAGES), large = exit_cost(17 * LEAF_PAGES), start;

    report("x86.exit_page.", "insns", (large - small) / pages);
    touch(p, pages * PAGE);
    start = now();
    (void)call(SYS_MPROTECT, (long)p, (long)(pages * PAGE), 1, 0, 0, 0);
    report("x86.mprotect_page.", "insns", (now() - start) / pages);
    start = now();
    (void)call(SYS_MUNMAP, (long)p, (long)(pages * PAGE), 0, 0, 0, 0);
    report("x86.munmap_page.", "insns", (now() - start) / pages);
}

/* ---- files ----------------------------------------------------------------------------------- */

enum { FILE_PAGES = 16 * LEAF_PAGES, MAPS = 100, READ = 1, WRITE = 2, PRIVATE = 2 };

static long file; /* FILE_PAGES, all of them in memory: they have just been written */

static void file_open(void)
{
    const char *name = "/tmp/bench.data", *other = "/bench.data";
    char *p = memory(MIB);

    file = call(SYS_OPEN, (long)name, 0102, 0600, 0, 0, 0);
    if (file < 0)
        file = call(SYS_OPEN, (long)(name = other), 0102, 0600, 0, 0, 0);
    touch(p, MIB);
    for (uint64_t i = 0; i < FILE_PAGES * PAGE; i += MIB)
        if (call(SYS_WRITE, file, (long)p, MIB, 0, 0, 0) != MIB)
            fail("file");
    (void)call(SYS_UNLINK, (long)name, 0, 0, 0, 0, 0);
    memory_free(p, MIB);
}

/* A private view of so many pages of the file, from page `first` on. */
static char *view(uint64_t first, uint64_t pages, long prot)
{
    long p = call(SYS_MMAP, 0, (long)(pages * PAGE), prot, PRIVATE, file, (long)(first * PAGE));

    if (p < 0)
        fail("mmap of the file");
    return (char *)p;
}

/* Reads of every `step`-th page of a fresh view, in order, for each page read. */
static uint64_t view_reads(uint64_t step)
{
    char *p = view(0, FILE_PAGES, READ);
    uint64_t start = now(), cost;

    for (uint64_t i = 0; i < FILE_PAGES; i += step)
        (void)*(volatile char *)(p + i * PAGE);
    cost = (now() - start) / (FILE_PAGES / step);
    memory_free(p, FILE_PAGES * PAGE);
    return cost;
}

/* read() of a MiB, for each page. */
static uint64_t file_call(void)
{
    char *p = memory(MIB);
    uint64_t cost;

    touch(p, MIB);
    (void)call(SYS_LSEEK, file, 0, 0, 0, 0, 0);
    cost = now();
    if (call(SYS_READ, file, (long)p, MIB, 0, 0, 0) != MIB)
        fail("read of the file");
    cost = (now() - cost) / (MIB / PAGE);
    memory_free(p, MIB);
    return cost;
}

/* mmap of a GiB, as views of the file beside each other, and a read of each page. */
static uint64_t map_gib(void)
{
    enum { VIEWS = (MIB << 10) / (FILE_PAGES * PAGE) };
    char *views[VIEWS];
    uint64_t start = now(), cost;

    for (int v = 0; v < VIEWS; v++) {
        views[v] = view(0, FILE_PAGES, READ);
        for (uint64_t i = 0; i < FILE_PAGES; i++)
            (void)*(volatile char *)(views[v] + i * PAGE);
    }
    cost = now() - start;
    for (int v = 0; v < VIEWS; v++)
        memory_free(views[v], FILE_PAGES * PAGE);
    return cost;
}

/* mmap of one page, and the read that it is for. */
static uint64_t map_and_read(void)
{
    char *held = view(1, 1, READ), *p; /* the tables above are there */
    uint64_t start, cost;

    (void)*(volatile char *)held;
    start = now();
    p = view(64, 1, READ);
    (void)*(volatile char *)p;
    cost = now() - start;
    memory_free(p, PAGE);
    memory_free(held, PAGE);
    return cost;
}

static void bench_file_write(const char *name, int read_first)
{
    char *p = view(0, LEAF_PAGES, READ | WRITE);

    *(volatile char *)p = 1;
    for (int i = 0; read_first && i < LEAF_PAGES; i++)
        (void)*(volatile char *)(p + i * PAGE);
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = write_cost(p + (i + 1) * PAGE);
    report(name, "insns", mean(SAMPLES));
    memory_free(p, LEAF);
}

/* Fork of a process with so many views of 64 pages, every other one written to. */
static void bench_fork_maps(void)
{
    char *maps[MAPS];

    for (int i = 0; i < MAPS; i++) {
        maps[i] = view((uint64_t)i * 64, 64, i & 1 ? READ | WRITE : READ);
        (void)*(volatile char *)maps[i];
        if (i & 1)
            *(volatile char *)maps[i] = 1;
    }
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = now();
        long pid = fork();

        if (pid == 0)
            leave();
        samples[i] = now() - start;
        wait(pid);
    }
    report("x86.fork_100_maps.", "insns", least(RUNS));
    for (int i = 0; i < MAPS; i++)
        memory_free(maps[i], 64 * PAGE);
}

static void bench_files(void)
{
    file_open();
    report("x86.file_read.", "insns", view_reads(1));
    report("x86.file_fault_around.", "insns", view_reads(16));
    report("x86.file_map_1gib.", "insns", map_gib());
    report("x86.file_read_call.", "insns", file_call());
    for (int i = 0; i < RUNS; i++)
        samples[i] = map_and_read();
    report("x86.file_fault.", "insns", least(RUNS));
    bench_file_write("x86.file_cow.", 1);
    bench_file_write("x86.file_cow_unread.", 0);
    bench_fork_maps();
    (void)call(SYS_CLOSE, file, 0, 0, 0, 0, 0);
}

/* ---- system calls and signals ---------------------------------------------------------------- */

static volatile int handled;

__attribute__((naked)) static void restorer(void)
{
    __asm__ volatile("movl %0, %%eax\n\tsyscall" : : "i"(SYS_SIGRETURN));
}

/* Step over the instruction that faulted: three bytes, see below.  The 21st word of a ucontext is
 * rip. */
static void handler(int sig, void *info, uint64_t *context)
{
    (void)sig;
    (void)info;
    context[21] += 3;
    handled++;
}

static void bench_calls(void)
{
    struct {
        void (*handler)(int, void *, uint64_t *);
        uint64_t flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {handler, 0x4000004, restorer, 0};

    for (int i = 0; i < RUNS; i++) {
        uint64_t start = now();

        (void)call(SYS_GETPPID, 0, 0, 0, 0, 0, 0);
        samples[i] = now() - start;
    }
    report("x86.null_call.", "insns", least(RUNS));
    (void)call(SYS_SIGACTION, 11, (long)&action, 0, 8, 0, 0);
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = now();

        __asm__ volatile("movb $1, (%%rax)" : : "a"(8) : "memory");
        samples[i] = now() - start;
    }
    if (handled != RUNS)
        fail("sigsegv");
    report("x86.sigsegv.", "insns", least(RUNS));
}

static void bench_all(void)
{
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = now();

        samples[i] = now() - start;
    }
    overhead = 0;
    overhead = least(RUNS);
    if (call(SYS_PIPE, (long)channel, 0, 0, 0, 0, 0) || call(SYS_PIPE, (long)gate, 0, 0, 0, 0, 0))
        fail("pipe");
    bench_calls();
    bench_zero();
    bench_cow();
    bench_reuse();
    bench_first_write();
    bench_ranges();
    bench_files();
    bench_fork("x86.fork.1mib.", 1);
    bench_fork("x86.fork.16mib.", 16);
    bench_fork("x86.fork.64mib.", 64);
    bench_fork("x86.fork.256mib.", 256);
    bench_fork_exit_wait(256);
}

__attribute__((used)) static void bench_main(void)
{
    long pid = 0;

    if (call(SYS_GETPID, 0, 0, 0, 0, 0, 0) == 1)
        pid = fork();
    if (pid == 0) {
        bench_all();
        leave();
    }
    int status = 1;

    (void)call(SYS_WAIT4, pid, (long)&status, 0, 0, 0, 0);
    print(status == 0 ? "bench: ok\n" : "bench: failed\n", status == 0 ? 10 : 14);
    (void)call(SYS_EXIT, status != 0, 0, 0, 0, 0, 0);
}

__attribute__((naked)) void _start(void);
__attribute__((naked)) void _start(void)
{
    __asm__ volatile("xorl %ebp, %ebp\n\tandq $-16, %rsp\n\tcall bench_main\n\thlt");
}
