/* SPDX-License-Identifier: MIT */
/*
 * Tests that misbehave: wild pointers in every argument of every call, jumps to anywhere, broken
 * programs, and a fork bomb.
 *
 * Goal: whatever a program does, it gets an error or a signal, and everybody else goes on.  Method:
 * the misbehaviour happens in a child with a watch over it; what counts is that the child comes to
 * an end, that the driver is alive to see it, and what the auditor says afterwards.  Each test
 * prints how much it tried, so that a test which tried nothing shows.
 */
#include "usertests.h"

/* ---- wild pointers --------------------------------------------------------------------------- */

enum {
    CALLS = 451,
    ARGUMENTS = 6,
    BASES = 3,
    WATCH_MS = 10000,
};

static const char *const wild_path = "/tmp/usertests.wild";
static uint8_t *wild_pages; /* [0] no access, [1] read-only, [2] usable, [3] not mapped */

static uint64_t wild_pointer(unsigned i)
{
    static const uint64_t fixed[] = {
        1,
        0xfff,
        0x10000,
        0x7fffffffefff,
        0x7ffffffff000,
        0x7fffffffffff,
        0x800000000000,
        0xffff7fffffffffff,
        0xffff800000000000,
        0xffff800000100ff9,
        0xffffffff80000000,
        0xfffffffffffff000,
        0xffffffffffffffff,
        0x8000000000000000,
    };
    enum { FIXED = sizeof(fixed) / sizeof(fixed[0]) };

    if (i < FIXED) {
        return fixed[i];
    }
    switch (i - FIXED) {
    case 0: return address_of(wild_pages);                /* no access */
    case 1: return address_of(wild_pages) + PAGE + 8;     /* read-only */
    case 2: return address_of(wild_pages) + 3 * PAGE - 4; /* runs out of its page */
    case 3: return address_of(wild_pages) + 3 * PAGE;     /* a hole */
    case 4: return (uint64_t)(uintptr_t)wild_pointer;     /* code */
    default: return 0;
    }
}

/* How many pointers wild_pointer knows; the null pointer is the last. */
static unsigned wild_pointers(void)
{
    unsigned n = 0;

    while (wild_pointer(n) != 0) {
        n++;
    }
    return n + 1;
}

/* Calls left out: they end, stop or replace the caller, or the machine, or wait without a limit. */
static bool wild_skips(unsigned call)
{
    static const unsigned skipped[] = {
        15,  /* rt_sigreturn: bad_handlers has it */
        34,  /* pause */
        56,  /* clone */
        57,  /* fork */
        58,  /* vfork */
        60,  /* exit */
        62,  /* kill: a wild number can mean everybody */
        129, /* rt_sigqueueinfo */
        130, /* rt_sigsuspend */
        169, /* reboot */
        200, /* tkill */
        231, /* exit_group */
        234, /* tgkill */
        435, /* clone3 */
    };

    for (unsigned i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++) {
        if (skipped[i] == call) {
            return true;
        }
    }
    return false;
}

/* Arguments that take a call past its first checks, so that the wild one is looked at. */
static void wild_base(unsigned base, int fd, uint64_t a[ARGUMENTS])
{
    uint64_t usable = address_of(wild_pages) + 2 * PAGE;

    for (unsigned i = 0; i < ARGUMENTS; i++) {
        a[i] = 0;
    }
    if (base == 1) {
        /* (descriptor, buffer, length, ...) */
        a[0] = (uint64_t)fd;
        a[1] = usable;
        a[2] = 64;
        a[3] = usable + 256;
        a[4] = 8;
    } else if (base == 2) {
        /* (path, path or buffer, ...), or (directory, path, buffer, ...) */
        a[0] = address_of(wild_path);
        a[1] = usable;
        a[2] = usable + 512;
        a[3] = 8;
        a[4] = usable + 1024;
        a[5] = 8;
    }
}

static void wild_tick(int signal, struct siginfo *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
}

/* From now on a call that waits is cut short: a signal comes every few milliseconds. */
static void wild_hurry(void)
{
    enum { SYS_setitimer = 38 };
    static const int64_t each[4] = {0, 3000, 0, 3000};

    signal_catch(SIGALRM, wild_tick, 0);
    (void)call3(SYS_setitimer, 0, address_of(each), 0);
}

/*
 * Make the call with every wild argument from number `from` on; each number is noted in the file
 * `notes` before its call, so that the driver knows where a child came to its end.
 */
static _Noreturn void wild_call(unsigned call, unsigned pointers, int fd, int notes, uint32_t from)
{
    uint64_t a[ARGUMENTS];

    wild_hurry();
    for (uint32_t k = from; k < pointers * ARGUMENTS * BASES; k++) {
        (void)call6(SYS_pwrite64, (uint64_t)notes, address_of(&k), sizeof(k), 0, 0, 0);
        wild_base(k / (pointers * ARGUMENTS), fd, a);
        a[k / pointers % ARGUMENTS] = wild_pointer(k % pointers);
        (void)call6(call, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    sys_exit(0);
}

/* What came of it, over all calls. */
struct wild_count {
    unsigned long tried;
    unsigned signals, watched;
};

/* One call with all its wild arguments, in as many children as it takes. */
static void wild_try(unsigned call, unsigned pointers, const int files[3], struct wild_count *count)
{
    uint32_t all = pointers * ARGUMENTS * BASES;
    uint32_t next = 0;
    int ends[2];
    bool killed;

    while (next < all) {
        uint32_t last = all - 1;
        EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
        int pid = child_fork();
        if (pid == 0) {
            for (uint64_t i = 0; i < 3; i++) {
                (void)call3(SYS_dup2, (uint64_t)files[2], i, 0);
            }
            (void)sys_close(ends[0]);
            wild_call(call, pointers, files[0], files[1], next);
        }
        (void)sys_close(ends[1]);
        int status = child_watch(pid, ends[0], WATCH_MS, &killed);
        (void)sys_close(ends[0]);
        if (killed) {
            print("  call %u was still waiting\n", call);
            count->watched++;
        } else if ((status & 0x7f) != 0) {
            count->signals++;
        }
        if (killed || status != 0) {
            EXPECT_EQUAL(
                call6(SYS_pread64, (uint64_t)files[1], address_of(&last), sizeof(last), 0, 0, 0),
                sizeof(last));
        }
        EXPECT(last >= next);
        count->tried += last + 1 - next;
        next = last + 1;
    }
}

void test_wild_pointers(void)
{
    struct wild_count count = {0, 0, 0};
    unsigned calls = 0;
    int files[3]; /* one to try calls on, the notes, /dev/null */

    /* As root on a bigger system this could do harm. */
    if (!on_quire()) {
        return;
    }
    wild_pages = pages_map(4);
    EXPECT_EQUAL(sys_mprotect(address_of(wild_pages), PAGE, PROT_NONE), 0);
    EXPECT_EQUAL(sys_mprotect(address_of(wild_pages) + PAGE, PAGE, PROT_READ), 0);
    EXPECT_EQUAL(sys_munmap(address_of(wild_pages) + 3 * PAGE, PAGE), 0);
    unsigned pointers = wild_pointers();
    files[0] = (int)sys_open(wild_path, O_CREAT | O_RDWR, 0644);
    files[1] = (int)sys_open("/tmp/usertests.notes", O_CREAT | O_RDWR, 0644);
    files[2] = (int)sys_open("/dev/null", O_RDWR, 0);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT(files[i] >= 0);
    }
    for (unsigned call = 0; call < CALLS; call++) {
        if (!wild_skips(call)) {
            wild_try(call, pointers, files, &count);
            calls++;
        }
    }
    (void)sys_unlink(wild_path);
    (void)sys_unlink("/tmp/usertests.notes");
    print("  wild: %u calls x %u pointers x %u arguments x %u settings: %lu tried, %u ended by "
          "signals, %u stopped by the watch\n",
          calls, pointers, ARGUMENTS, BASES, count.tried, count.signals, count.watched);
    EXPECT(calls > 400);
    EXPECT_EQUAL(count.tried, (uint64_t)calls * pointers * ARGUMENTS * BASES);
}

/* ---- jumps ----------------------------------------------------------------------------------- */

void test_jumps(void)
{
    static uint8_t data[16] = {0xc3};
    uint8_t stack[16] = {0xc3};
    uint8_t *none = pages_map(1);
    static const uint64_t places[] = {
        0,
        1,
        0x7ffffffff000,
        0x7fffffffffff,
        0x800000000000,
        0xdead000000000000,
        0xffff7fffffffffff,
        0xffff800000000000,
        0xffff800000100000,
        0xffffffff80000000,
        0xffffffff80100000,
        0xffffffffff600000,
        0xffffffffffffffff,
    };
    enum { PLACES = sizeof(places) / sizeof(places[0]) };
    unsigned tried = 0;

    for (unsigned i = 0; i < PLACES; i++) {
        int signal = access_try(places[i], ACCESS_JUMP);
        /* On Linux the vsyscall page is code, which a call finds and returns from. */
        EXPECT(signal == SIGSEGV || signal == SIGBUS ||
               (!on_quire() && places[i] == 0xffffffffff600000));
        signal = access_try(places[i], ACCESS_READ);
        EXPECT(signal == SIGSEGV || signal == SIGBUS);
        signal = access_try(places[i], ACCESS_WRITE);
        EXPECT(signal == SIGSEGV || signal == SIGBUS);
        tried += 3;
    }
    none[0] = 0xc3;
    EXPECT_EQUAL(access_try(address_of(data), ACCESS_JUMP), SIGSEGV);
    EXPECT_EQUAL(access_try(address_of(stack), ACCESS_JUMP), SIGSEGV);
    EXPECT_EQUAL(access_try(address_of(none), ACCESS_JUMP), SIGSEGV);
    /* Instructions that a program may not use. */
    static const uint8_t forbidden[][4] = {
        {0xf4, 0xc3},             /* hlt */
        {0xfa, 0xc3},             /* cli */
        {0x0f, 0x0b, 0xc3},       /* ud2 */
        {0x0f, 0x22, 0xd8, 0xc3}, /* mov cr3, rax */
        {0x0f, 0x32, 0xc3},       /* rdmsr */
        {0xe4, 0xf4, 0xc3},       /* in al, 0xf4 */
        {0xe6, 0xf4, 0xc3},       /* out 0xf4, al */
        {0x0f, 0x09, 0xc3},       /* wbinvd */
        {0x0f, 0x01, 0xf8, 0xc3}, /* swapgs */
        {0xcd, 0x0e, 0xc3},       /* int 14: the page fault's own gate */
        {0xcd, 0x20, 0xc3},       /* int 32 */
        {0x0f, 0x05, 0xf4},       /* syscall (getpid or so), then hlt */
    };
    for (unsigned i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        memcpy(none, forbidden[i], sizeof(forbidden[i]));
        EXPECT_EQUAL(sys_mprotect(address_of(none), PAGE, PROT_READ | PROT_EXEC), 0);
        EXPECT(access_try(address_of(none), ACCESS_JUMP) != 0);
        EXPECT_EQUAL(sys_mprotect(address_of(none), PAGE, PROT_RW), 0);
        tried++;
    }
    print("  jumps: %u tried\n", tried + 3);
}

/* ---- broken programs ------------------------------------------------------------------------- */

enum {
    ELF_HEAD = 64,
    ELF_SEGMENT = 56,
    ELF_SEGMENTS = 3,
    ELF_TEXT = ELF_HEAD + ELF_SEGMENTS * ELF_SEGMENT,
    ELF_DATA = 0x140,
    ELF_SIZE = ELF_DATA + 32,
    ELF_BASE = 0x400000,
    ELF_DATA_AT = 0x600000 + ELF_DATA,
    ELF_CODE = 42, /* exit status of the whole program */
    ELF_MS = 3000,
};

static const char *const elf_path = "/tmp/usertests.elf";

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void segment_put(uint8_t *at, const uint64_t fields[7], uint32_t type, uint32_t flags)
{
    put(at, type, 4);
    put(at + 4, flags, 4);
    for (unsigned i = 0; i < 6; i++) {
        put(at + 8 + 8 * i, fields[i], 8);
    }
}

/*
 * A whole program in ELF_SIZE bytes: it exits with what its data section says plus what its bss
 * holds, so that a loader which read too little shows.
 */
static void elf_make(uint8_t *elf)
{
    static const uint8_t head[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    static const uint8_t text[] = {
        0x8b, 0x3c, 0x25, 0x40, 0x01, 0x60, 0x00, /* mov edi, [ELF_DATA_AT] */
        0x03, 0x3c, 0x25, 0x00, 0x03, 0x60, 0x00, /* add edi, [0x600300]: bss */
        0xb8, 0x3c, 0x00, 0x00, 0x00,             /* mov eax, exit */
        0x0f, 0x05,                               /* syscall */
        0x0f, 0x0b,                               /* ud2 */
    };

    memset(elf, 0, ELF_SIZE);
    memcpy(elf, head, sizeof(head));
    put(elf + 16, 2, 2);                   /* an executable */
    put(elf + 18, 62, 2);                  /* x86-64 */
    put(elf + 20, 1, 4);                   /* version */
    put(elf + 24, ELF_BASE + ELF_TEXT, 8); /* entry */
    put(elf + 32, ELF_HEAD, 8);            /* program headers */
    put(elf + 52, ELF_HEAD, 2);
    put(elf + 54, ELF_SEGMENT, 2);
    put(elf + 56, ELF_SEGMENTS, 2);
    /* offset, address, physical address, bytes in the file, bytes in memory, alignment */
    segment_put(elf + ELF_HEAD,
                (uint64_t[]){0, ELF_BASE, ELF_BASE, ELF_TEXT + sizeof(text),
                             ELF_TEXT + sizeof(text), PAGE, 0},
                1, 5);
    segment_put(elf + ELF_HEAD + ELF_SEGMENT,
                (uint64_t[]){ELF_DATA, ELF_DATA_AT, ELF_DATA_AT, 32, 0x2000, PAGE, 0}, 1, 6);
    segment_put(elf + ELF_HEAD + 2 * ELF_SEGMENT, (uint64_t[]){0, 0, 0, 0, 0, 16, 0}, 0x6474e551,
                6);
    memcpy(elf + ELF_TEXT, text, sizeof(text));
    put(elf + ELF_DATA, ELF_CODE, 4);
}

/* Write the first n bytes to a file and run it; the wait4 status, or -1 if it had to be killed. */
static int elf_run(const uint8_t *elf, size_t n)
{
    char *argv[] = {(char *)elf_path, NULL};
    int ends[2];
    bool killed;
    long fd = sys_open(elf_path, O_CREAT | O_TRUNC | O_WRONLY, 0755);

    EXPECT(fd >= 0);
    EXPECT_EQUAL(sys_write((int)fd, elf, n), n);
    EXPECT_EQUAL(sys_close((int)fd), 0);
    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        (void)sys_close(ends[0]);
        long e = sys_execve(elf_path, argv, argv + 1);
        /* 126: refused with an error, as it should be. */
        sys_exit(e < 0 ? 126 : 125);
    }
    (void)sys_close(ends[1]);
    int status = child_watch(pid, ends[0], ELF_MS, &killed);
    (void)sys_close(ends[0]);
    return killed ? -1 : status;
}

void test_elf_cut(void)
{
    static uint8_t elf[ELF_SIZE];
    unsigned sites = 0;
    unsigned refused = 0;
    unsigned signals = 0;
    unsigned exits = 0;

    elf_make(elf);
    EXPECT(ended_by_exit(elf_run(elf, ELF_SIZE), ELF_CODE));
    for (unsigned n = 0; n < ELF_SIZE; n++) {
        int status = elf_run(elf, n);
        EXPECT(status != -1);
        sites++;
        if (ended_by_exit(status, 126)) {
            refused++;
        } else if ((status & 0x7f) != 0) {
            signals++;
        } else {
            exits++;
        }
        /* Without its headers it must not run. */
        EXPECT(n >= ELF_TEXT || !ended_by_exit(status, ELF_CODE));
    }
    EXPECT(ended_by_exit(elf_run(elf, ELF_SIZE), ELF_CODE));
    EXPECT_EQUAL(sys_unlink(elf_path), 0);
    EXPECT_EQUAL(sites, ELF_SIZE);
    print("  elf cut: %u sites found and tried: %u refused, %u signals, %u ran; 0 failed\n",
          ELF_SIZE, refused, signals, exits);
}

void test_elf_flipped(void)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    static uint8_t elf[ELF_SIZE];
    unsigned sites = 0;
    unsigned refused = 0;
    unsigned signals = 0;
    unsigned killed = 0;

    elf_make(elf);
    /* Headers alone: with other instructions the program could do anything that programs may. */
    for (unsigned i = 0; i < ELF_TEXT; i++) {
        for (unsigned k = 0; k < sizeof(flips); k++) {
            elf[i] ^= flips[k];
            int status = elf_run(elf, ELF_SIZE);
            elf[i] ^= flips[k];
            sites++;
            refused += ended_by_exit(status, 126);
            signals += status != -1 && (status & 0x7f) != 0;
            killed += status == -1;
        }
    }
    EXPECT(ended_by_exit(elf_run(elf, ELF_SIZE), ELF_CODE));
    EXPECT_EQUAL(sys_unlink(elf_path), 0);
    print("  elf flipped: %u sites found and tried: %u refused, %u signals, %u ran on; 0 failed\n",
          sites, refused, signals, killed);
}

/* ---- fork bomb ------------------------------------------------------------------------------- */

/*
 * Everybody forks as fast as they can, and dirties a few pages, until fork fails or the tokens in
 * the pipe are used up.  Then everybody sleeps until killed.
 */
static _Noreturn void bomb_live(int tokens, int born)
{
    uint8_t *at = pages_map(8);
    char token;

    for (;;) {
        if (sys_read(tokens, &token, 1) != 1) {
            break;
        }
        int pid = sys_fork();
        if (pid < 0) {
            break;
        }
        if (pid == 0) {
            (void)sys_write(born, "b", 1);
        }
        for (unsigned i = 0; i < 8; i++) {
            at[i * PAGE] = (uint8_t)i;
        }
    }
    for (;;) {
        sleep_ms(1000);
    }
}

/* Kill the group until nobody is left in it. */
static void bomb_end(int group)
{
    for (int i = 0; i < 2000; i++) {
        if (sys_kill(-group, SIGKILL) < 0) {
            return;
        }
        while (sys_wait4(-1, NULL, WNOHANG) > 0) {
        }
        sleep_ms(5);
    }
    EXPECT_EQUAL(sys_kill(-group, 0), -3);
}

void test_fork_bomb(void)
{
    static char zeros[4096];
    int tokens[2];
    int born[2];
    int count = 0;
    long n;

    EXPECT_EQUAL(sys_pipe2(tokens, O_NONBLOCK), 0);
    EXPECT_EQUAL(sys_pipe2(born, O_NONBLOCK), 0);
    if (on_quire()) {
        while (sys_write(tokens[1], zeros, sizeof(zeros)) > 0) {
        }
    } else {
        EXPECT_EQUAL(sys_write(tokens[1], zeros, 64), 64);
    }
    int pid = child_fork();
    if (pid == 0) {
        (void)call3(SYS_setpgid, 0, 0, 0);
        bomb_live(tokens[0], born[1]);
    }
    (void)call3(SYS_setpgid, (uint64_t)pid, (uint64_t)pid, 0);
    int64_t end = clock_ms() + 3000;
    while (clock_ms() < end) {
        sleep_ms(50);
        n = sys_read(born[0], zeros, sizeof(zeros));
        if (n == -EAGAIN && count > 0) {
            break;
        }
        count += n > 0 ? (int)n : 0;
    }
    bomb_end(pid);
    while ((n = sys_read(born[0], zeros, sizeof(zeros))) > 0) {
        count += (int)n;
    }
    print("  fork bomb: %d processes, all gone\n", count);
    EXPECT(count >= 60);
    /* Whoever comes after can fork and have memory. */
    pid = child_fork();
    if (pid == 0) {
        uint8_t *at = pages_map(256);
        for (unsigned i = 0; i < 256; i++) {
            at[i * PAGE] = 1;
        }
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
}
