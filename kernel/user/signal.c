/* SPDX-License-Identifier: MIT */
/*
 * Tests of signals: what a handler is told about a fault, on which stack it runs, what a mask holds
 * back, which calls begin again, and that no handler's address can hurt the kernel.
 *
 * Goal: Linux's rules.  Method: handlers that note what they saw in variables of the test.
 */
#include "usertests.h"

static volatile uint64_t seen_address;
static volatile int seen_code, seen_signal, seen_count;
static volatile uint64_t seen_stack;
static uint8_t *repair; /* the page that a handler makes usable */

static void note(int signal, struct siginfo *info, void *context)
{
    uint8_t here;

    (void)context;
    seen_signal = signal;
    seen_address = info->address;
    seen_code = info->code;
    seen_stack = address_of(&here);
    seen_count++;
}

static void note_and_repair(int signal, struct siginfo *info, void *context)
{
    note(signal, info, context);
    (void)sys_mmap(address_of(repair), PAGE, PROT_RW | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);
    *repair = 0xc3;
}

/* A wrong access at `offset` of the page, which the handler repairs so that it can be retried. */
static void fault_expect(uint8_t *page, unsigned offset, enum access access, int code)
{
    volatile uint8_t *at = page + offset;

    repair = page;
    seen_count = 0;
    if (access == ACCESS_READ) {
        (void)*at;
    } else if (access == ACCESS_WRITE) {
        *at = 9;
    } else {
        ((void (*)(void))(uintptr_t)at)();
    }
    EXPECT_EQUAL(seen_count, 1);
    EXPECT_EQUAL(seen_signal, SIGSEGV);
    EXPECT_EQUAL(seen_address, address_of(at));
    EXPECT_EQUAL(seen_code, code);
}

void test_segv_details(void)
{
    uint8_t *page = pages_map(1);
    uint64_t base = address_of(page);

    signal_catch(SIGSEGV, note_and_repair, 0);
    EXPECT_EQUAL(sys_munmap(base, PAGE), 0);
    fault_expect(page, 123, ACCESS_READ, SEGV_MAPERR);
    EXPECT_EQUAL(sys_munmap(base, PAGE), 0);
    fault_expect(page, 4095, ACCESS_WRITE, SEGV_MAPERR);
    EXPECT_EQUAL(page[4095], 9);
    EXPECT_EQUAL(sys_munmap(base, PAGE), 0);
    fault_expect(page, 0, ACCESS_JUMP, SEGV_MAPERR);
    EXPECT_EQUAL(sys_mprotect(base, PAGE, PROT_READ), 0);
    fault_expect(page, 7, ACCESS_WRITE, SEGV_ACCERR);
    EXPECT_EQUAL(page[7], 9);
    EXPECT_EQUAL(sys_mprotect(base, PAGE, PROT_NONE), 0);
    fault_expect(page, 8, ACCESS_READ, SEGV_ACCERR);
    EXPECT_EQUAL(sys_mprotect(base, PAGE, PROT_READ), 0);
    fault_expect(page, 0, ACCESS_JUMP, SEGV_ACCERR);
}

void test_segv_on_forked(void)
{
    uint8_t *page = pages_map(1);

    page[0] = 1;
    EXPECT_EQUAL(sys_mprotect(address_of(page), PAGE, PROT_READ), 0);
    int pid = child_fork();
    if (pid == 0) {
        signal_catch(SIGSEGV, note_and_repair, 0);
        fault_expect(page, 55, ACCESS_WRITE, SEGV_ACCERR);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    EXPECT_EQUAL(page[0], 1);
    /* Blocked, the signal of a fault kills all the same. */
    pid = child_fork();
    if (pid == 0) {
        uint64_t mask = ~0ull;
        EXPECT_EQUAL(call6(SYS_rt_sigprocmask, SIG_BLOCK, address_of(&mask), 0, 8, 0, 0), 0);
        page[0] = 1;
        sys_exit(0);
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
    /* Ignored too. */
    pid = child_fork();
    if (pid == 0) {
        signal_set(SIGSEGV, SIG_IGN, 0);
        page[0] = 1;
        sys_exit(0);
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
}

static struct sigstack spare;

static void leave_if_on_spare(int signal, struct siginfo *info, void *context)
{
    uint8_t here;

    (void)info;
    (void)context;
    uint64_t at = address_of(&here);
    sys_exit(signal == SIGSEGV && at > spare.base && at < spare.base + spare.size ? 7 : 8);
}

void test_alternate_stack(void)
{
    spare.size = 4 * PAGE;
    spare.base = address_of(pages_map(4));
    EXPECT_EQUAL(call3(SYS_sigaltstack, address_of(&spare), 0, 0), 0);
    signal_catch(SIGUSR1, note, SA_ONSTACK);
    EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
    EXPECT(seen_stack > spare.base);
    EXPECT(seen_stack < spare.base + spare.size);
    signal_catch(SIGUSR1, note, 0);
    EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
    EXPECT(seen_stack < spare.base || seen_stack >= spare.base + spare.size);
    /* The stack ran out; the handler has another to say so on. */
    int pid = child_fork();
    if (pid == 0) {
        signal_catch(SIGSEGV, leave_if_on_spare, SA_ONSTACK);
        sys_exit((int)stack_run_away(0));
    }
    EXPECT(ended_by_exit(child_wait(pid), 7));
    /* Without one there is nowhere to put the frame. */
    pid = child_fork();
    if (pid == 0) {
        signal_catch(SIGSEGV, leave_if_on_spare, 0);
        sys_exit((int)stack_run_away(0));
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
    struct sigstack small = {spare.base, 0, 0, 100};
    EXPECT_EQUAL(call3(SYS_sigaltstack, address_of(&small), 0, 0), -ENOMEM);
    EXPECT_EQUAL(call3(SYS_sigaltstack, 8, 0, 0), -EFAULT);
}

void test_signal_mask(void)
{
    uint64_t mask = 1ull << (SIGUSR1 - 1);
    uint64_t old = 0;

    signal_catch(SIGUSR1, note, 0);
    seen_count = 0;
    EXPECT_EQUAL(call6(SYS_rt_sigprocmask, SIG_BLOCK, address_of(&mask), address_of(&old), 8, 0, 0),
                 0);
    EXPECT_EQUAL(old & mask, 0);
    EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
    EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
    EXPECT_EQUAL(seen_count, 0);
    EXPECT_EQUAL(call6(SYS_rt_sigprocmask, SIG_UNBLOCK, address_of(&mask), 0, 8, 0, 0), 0);
    EXPECT_EQUAL(seen_count, 1);
    /* A fork inherits the mask and the handlers, not what is pending. */
    EXPECT_EQUAL(call6(SYS_rt_sigprocmask, SIG_BLOCK, address_of(&mask), 0, 8, 0, 0), 0);
    EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
    int pid = child_fork();
    if (pid == 0) {
        EXPECT_EQUAL(call6(SYS_rt_sigprocmask, SIG_UNBLOCK, address_of(&mask), 0, 8, 0, 0), 0);
        EXPECT_EQUAL(seen_count, 1);
        EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
        EXPECT_EQUAL(seen_count, 2);
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
    /* KILL cannot be caught or blocked. */
    struct sigaction action = {SIG_IGN, SA_RESTORER, 1, 0};
    EXPECT_EQUAL(call6(SYS_rt_sigaction, SIGKILL, address_of(&action), 0, 8, 0, 0), -EINVAL);
    EXPECT_EQUAL(call6(SYS_rt_sigaction, 65, address_of(&action), 0, 8, 0, 0), -EINVAL);
    EXPECT_EQUAL(call6(SYS_rt_sigaction, SIGUSR1, address_of(&action), 0, 7, 0, 0), -EINVAL);
}

/* A parent that waits in read on an empty pipe is sent a signal, then a byte. */
static long read_interrupted(uint64_t flags)
{
    int ends[2];
    char byte = 0;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    seen_count = 0;
    signal_catch(SIGUSR1, note, flags);
    int parent = sys_getpid();
    int pid = child_fork();
    if (pid == 0) {
        sleep_ms(30);
        (void)sys_kill(parent, SIGUSR1);
        sleep_ms(30);
        (void)sys_write(ends[1], "k", 1);
        sys_exit(0);
    }
    long result = sys_read(ends[0], &byte, 1);
    EXPECT_EQUAL(seen_count, 1);
    EXPECT(ended_by_exit(child_wait(pid), 0));
    (void)sys_close(ends[0]);
    (void)sys_close(ends[1]);
    return result;
}

void test_restart(void)
{
    EXPECT_EQUAL(read_interrupted(SA_RESTART), 1);
    EXPECT_EQUAL(read_interrupted(0), -EINTR);
    /* A sleep never begins again, whatever the handler's flags say. */
    signal_catch(SIGUSR1, note, SA_RESTART);
    int parent = sys_getpid();
    int pid = child_fork();
    if (pid == 0) {
        sleep_ms(30);
        (void)sys_kill(parent, SIGUSR1);
        sys_exit(0);
    }
    struct timespec wait = {5, 0};
    EXPECT_EQUAL(call3(SYS_nanosleep, address_of(&wait), address_of(&wait), 0), -EINTR);
    EXPECT(wait.seconds == 4);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

void test_sigchld(void)
{
    seen_count = 0;
    signal_catch(SIGCHLD, note, SA_RESTART);
    int pid = child_fork();
    if (pid == 0) {
        sys_exit(4);
    }
    EXPECT(ended_by_exit(child_wait(pid), 4));
    EXPECT_EQUAL(seen_count, 1);
    EXPECT_EQUAL(seen_signal, SIGCHLD);
    /* Ignored: children leave nothing behind. */
    signal_set(SIGCHLD, SIG_IGN, 0);
    pid = child_fork();
    if (pid == 0) {
        sys_exit(4);
    }
    EXPECT_EQUAL(sys_wait4(pid, NULL, 0), -ECHILD);
    signal_set(SIGCHLD, SIG_DFL, 0);
}

void test_signal_group(void)
{
    int ends[2];
    int pids[3];
    char byte;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    for (int i = 0; i < 3; i++) {
        pids[i] = child_fork();
        if (pids[i] == 0) {
            (void)sys_read(ends[0], &byte, 1);
            sys_exit(0);
        }
        EXPECT_EQUAL(call3(SYS_setpgid, (uint64_t)pids[i], (uint64_t)pids[0], 0), 0);
    }
    EXPECT_EQUAL(sys_kill(-pids[0], SIGTERM), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT(ended_by_signal(child_wait(pids[i]), SIGTERM));
    }
    EXPECT(sys_kill(-pids[0], SIGTERM) < 0);
    EXPECT(sys_kill(pids[0], 0) < 0);
    EXPECT_EQUAL(sys_kill(sys_getpid(), 65), -EINVAL);
}

void test_reset_hand(void)
{
    int pid = child_fork();

    if (pid == 0) {
        signal_catch(SIGUSR1, note, SA_RESETHAND | SA_NODEFER);
        EXPECT_EQUAL(sys_kill(sys_getpid(), SIGUSR1), 0);
        (void)sys_kill(sys_getpid(), SIGUSR1);
        sys_exit(0);
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGUSR1));
}

/* Handlers and return frames that lead nowhere: the program's trouble alone. */
void test_bad_handlers(void)
{
    static const uint64_t places[] = {
        8, 0x1000, 0x800000000000, 0xffff800000000000, 0xffffffff80000000, 0xffffffffffffffff};

    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int pid = child_fork();
        if (pid == 0) {
            signal_set(SIGUSR1, places[i], SA_SIGINFO);
            (void)sys_kill(sys_getpid(), SIGUSR1);
            sys_exit(0);
        }
        EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
        /* The same as a stack pointer at the moment of a signal. */
        pid = child_fork();
        if (pid == 0) {
            signal_catch(SIGUSR1, note, 0);
            __asm__ volatile("mov %0, %%rsp\n"
                             "mov $39, %%eax\n"
                             "syscall\n"
                             "mov %%eax, %%edi\n"
                             "mov $10, %%esi\n"
                             "mov $62, %%eax\n"
                             "syscall\n"
                             "mov $231, %%eax\n"
                             "xor %%edi, %%edi\n"
                             "syscall\n"
                             :
                             : "r"(places[i])
                             : "rax", "rdi", "rsi", "rcx", "r11", "memory");
        }
        EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
        /* And as the frame that rt_sigreturn is told to use. */
        pid = child_fork();
        if (pid == 0) {
            __asm__ volatile("mov %0, %%rsp\n"
                             "mov $15, %%eax\n"
                             "syscall\n"
                             "mov $231, %%eax\n"
                             "syscall\n"
                             :
                             : "r"(places[i])
                             : "rax", "rdi", "rcx", "r11", "memory");
        }
        EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
    }
    /* A frame full of ones: selectors, flags and addresses that a program must not have. */
    int pid = child_fork();
    if (pid == 0) {
        uint8_t *frame = pages_map(1);
        memset(frame, 0xff, PAGE);
        __asm__ volatile("mov %0, %%rsp\n"
                         "mov $15, %%eax\n"
                         "syscall\n"
                         "ud2\n"
                         :
                         : "r"(frame + 1024)
                         : "rax", "rcx", "r11", "memory");
    }
    EXPECT(ended_by_signal(child_wait(pid), SIGSEGV));
}

/*
 * A handler for SIGSEGV that is itself a fault, may nest, and always starts over at the top of the
 * alternate stack: each frame finds room, and no instruction of the program ever runs.
 */
void test_handler_loop(void)
{
    static const uint64_t places[] = {8, 0x800000000000, 0xffff800000000000, 0xffffffffffffffff};
    uint8_t *pages = pages_map(4);

    spare.base = address_of(pages) + 2 * PAGE;
    spare.size = 2048;
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int pid = child_fork();
        if (pid == 0) {
            EXPECT_EQUAL(call3(SYS_sigaltstack, address_of(&spare), 0, 0), 0);
            signal_set(SIGSEGV, places[i], SA_ONSTACK | SA_NODEFER);
            (void)sys_kill(sys_getpid(), SIGSEGV);
            sys_exit(0);
        }
        sleep_ms(20);
        /* Where the processor finds the address bad only at the jump, the loop is the program's. */
        (void)sys_kill(pid, SIGKILL);
        int status = child_wait(pid);
        EXPECT(ended_by_signal(status, SIGSEGV) || ended_by_signal(status, SIGKILL));
    }
}

/*
 * Run in place until the byte at `flag` is set; what rax held all the while.  The code around the
 * loop is such that the program notices, and does not crash, if something sets it back a little.
 */
static uint64_t spin(const volatile uint8_t *flag)
{
    uint64_t kept = 77;

    __asm__ volatile(".rept 16\n"
                     "nop\n"
                     ".endr\n"
                     "1:\n"
                     ".rept 256\n"
                     "nop\n"
                     ".endr\n"
                     "cmpb $0, (%1)\n"
                     "je 1b\n"
                     : "+a"(kept)
                     : "r"(flag)
                     : "cc", "memory");
    return kept;
}

static volatile uint8_t spin_over;

static void spin_end(int signal, struct siginfo *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    spin_over = 1;
}

/*
 * A call that a handler interrupted is over when the handler returns.  A stop much later must not
 * begin it again, in the middle of what the program does then.
 */
void test_stop_after_interrupt(void)
{
    int ends[2];
    int ready[2];
    int status;
    char byte = 0;

    EXPECT_EQUAL(sys_pipe2(ends, 0), 0);
    EXPECT_EQUAL(sys_pipe2(ready, 0), 0);
    int pid = child_fork();
    if (pid == 0) {
        signal_catch(SIGUSR1, note, 0);
        signal_catch(SIGUSR2, spin_end, 0);
        (void)sys_write(ready[1], &byte, 1);
        EXPECT_EQUAL(sys_read(ends[0], &byte, 1), -EINTR);
        sys_exit(spin(&spin_over) == 77 ? 0 : 1);
    }
    EXPECT_EQUAL(sys_read(ready[0], &byte, 1), 1);
    sleep_ms(30);
    EXPECT_EQUAL(sys_kill(pid, SIGUSR1), 0);
    sleep_ms(30);
    EXPECT_EQUAL(sys_kill(pid, SIGSTOP), 0);
    EXPECT_EQUAL(sys_wait4(pid, &status, WUNTRACED), pid);
    EXPECT_EQUAL(sys_kill(pid, SIGCONT), 0);
    sleep_ms(30);
    EXPECT_EQUAL(sys_kill(pid, SIGUSR2), 0);
    EXPECT(ended_by_exit(child_wait(pid), 0));
}
