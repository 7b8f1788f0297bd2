/* SPDX-License-Identifier: MIT */
/*
 * usertests: what a program may rely on, checked by programs, in the manner of xv6's program of
 * that name.
 *
 * A table of function and name.  The driver runs each test in a forked child, waits, and on quire's
 * kernel reads /proc/quire/audit after it: reading that file recounts everything the memory manager
 * holds, so a test that leaves a wrong count behind fails even when its own checks were content.
 * It runs on Linux too; there the parts that need quire are left out and the rest must pass.
 *
 * usertests [prefix ...] runs the tests whose names begin so; without any, all but those that need
 * a page file.
 */
#include "usertests.h"

int user_main(int argc, char **argv, char **envp);

struct test {
    void (*function)(void);
    const char *name;
};

static const struct test tests[] = {
    {test_exit_codes, "exit_codes"},
    {test_fork_many, "fork_many"},
    {test_fork_tree, "fork_tree"},
    {test_wait_variants, "wait_variants"},
    {test_orphans, "orphans"},
    {test_vfork, "vfork"},
    {test_exec_arguments, "exec_arguments"},
    {test_exec_errors, "exec_errors"},
    {test_cow_child_writes, "cow_child_writes"},
    {test_cow_parent_writes, "cow_parent_writes"},
    {test_refork_before_write, "refork_before_write"},
    {test_readonly_then_writable, "readonly_then_writable"},
    {test_fork_of_fork_of_fork, "fork_of_fork_of_fork"},
    {test_remap_while_twin_lives, "remap_while_twin_lives"},
    {test_copyout_states, "copyout_states"},
    {test_copyout_fork_between, "copyout_fork_between"},
    {test_protect_forked, "protect_forked"},
    {test_protect_none_and_back, "protect_none_and_back"},
    {test_many_sharers, "many_sharers"},
    {test_sparse_fork, "sparse_fork"},
    {test_deep_generations, "deep_generations"},
    {test_brk, "brk"},
    {test_map_holes, "map_holes"},
    {test_unmap_unmaps, "unmap_unmaps"},
    {test_unmap_zeroes, "unmap_zeroes"},
    {test_map_arguments, "map_arguments"},
    {test_unmap_arguments, "unmap_arguments"},
    {test_protect_arguments, "protect_arguments"},
    {test_runaway_stack, "runaway_stack"},
    {test_noexec, "noexec"},
    {test_segv_details, "segv_details"},
    {test_segv_on_forked, "segv_on_forked"},
    {test_alternate_stack, "alternate_stack"},
    {test_signal_mask, "signal_mask"},
    {test_restart, "restart"},
    {test_sigchld, "sigchld"},
    {test_signal_group, "signal_group"},
    {test_reset_hand, "reset_hand"},
    {test_bad_handlers, "bad_handlers"},
    {test_handler_loop, "handler_loop"},
    {test_stop_after_interrupt, "stop_after_interrupt"},
    {test_pipe_end_of_file, "pipe_end_of_file"},
    {test_pipe_sigpipe, "pipe_sigpipe"},
    {test_pipe_blocking, "pipe_blocking"},
    {test_pipe_nonblocking, "pipe_nonblocking"},
    {test_pipe_atomic, "pipe_atomic"},
    {test_dup_shares_offset, "dup_shares_offset"},
    {test_append, "append"},
    {test_unlinked_file, "unlinked_file"},
    {test_bad_descriptors, "bad_descriptors"},
    {test_close_on_exec, "close_on_exec"},
    {test_big_file, "big_file"},
    {test_longest_file, "longest_file"},
    {test_full_disk, "full_disk"},
    {test_names, "names"},
    {test_directory_reading, "directory_reading"},
    {test_poll, "poll"},
    {test_view_agrees, "view_agrees"},
    {test_view_offsets, "view_offsets"},
    {test_view_truncated, "view_truncated"},
    {test_view_generations, "view_generations"},
    {test_shared_memory, "shared_memory"},
    {test_seals, "seals"},
    {test_sync, "sync"},
    {test_advice, "advice"},
    {test_advice_fork, "advice_fork"},
    {test_residence, "residence"},
    {test_locking, "locking"},
    {test_populate, "populate"},
    {test_remap_views, "remap_views"},
    {test_other_memory, "other_memory"},
    {test_memory_file, "memory_file"},
    {test_maps_text, "maps_text"},
    {test_smaps, "smaps"},
    {test_secrets_freed, "secrets_freed"},
    {test_secrets_living, "secrets_living"},
    {test_read_only_file, "read_only_file"},
    {test_jumps, "jumps"},
    {test_elf_cut, "elf_cut"},
    {test_elf_flipped, "elf_flipped"},
    {test_wild_pointers, "wild_pointers"},
    {test_out_of_memory, "out_of_memory"},
    {test_out_of_memory_forked, "out_of_memory_forked"},
    {test_out_of_memory_parent, "out_of_memory_parent"},
    {test_fork_bomb, "fork_bomb"},
};

/* These need a page file, or one that fails: they run when they are asked for. */
static const struct test paging_tests[] = {
    {test_paging_out, "paging_out"},       {test_paging_back, "paging_back"},
    {test_paging_locked, "paging_locked"}, {test_paging_views, "paging_views"},
    {test_paging_fork, "paging_fork"},     {test_reading_fails, "reading_fails"},
};

bool on_quire(void)
{
    static int known = -1;

    if (known < 0) {
        long fd = sys_open("/proc/quire/counters", O_RDONLY, 0);
        known = fd >= 0;
        if (fd >= 0) {
            (void)sys_close((int)fd);
        }
    }
    return known == 1;
}

int access_try(uint64_t address, enum access access)
{
    int pid = child_fork();

    if (pid == 0) {
        volatile uint8_t *at = pointer_to(address);
        if (access == ACCESS_READ) {
            (void)*at;
        } else if (access == ACCESS_WRITE) {
            *at = 1;
        } else {
            ((void (*)(void))(uintptr_t)address)();
        }
        sys_exit(0);
    }
    return child_wait(pid) & 0x7f;
}

int child_watch(int pid, int end, int ms, bool *killed)
{
    struct {
        int fd;
        short events, revents;
    } poll = {end, 1, 0};
    int status = 0;

    enum { SYS_sched_yield = 24, QUICK_TURNS = 100 };
    *killed = call3(SYS_poll, address_of(&poll), 1, (uint64_t)ms) == 0;
    /*
     * As a rule the child is on its last steps.  But the pipe may also have ended because the child
     * closed it; it gets a little longer, then goes.
     */
    for (int i = 0; i < ms && !*killed; i++) {
        int got = sys_wait4(pid, &status, WNOHANG);
        if (got == pid) {
            return status;
        }
        if (got < 0 && got != -EINTR) {
            test_failed(__FILE__, __LINE__, "wait4", got);
        }
        if (i < QUICK_TURNS) {
            (void)call3(SYS_sched_yield, 0, 0, 0);
        } else {
            sleep_ms(1);
        }
    }
    *killed = true;
    (void)sys_kill(pid, SIGKILL);
    return child_wait(pid);
}

static volatile unsigned stack_run_end = ~0u;

__attribute__((noinline)) unsigned stack_run_away(unsigned n)
{
    volatile uint8_t room[2000];

    room[0] = (uint8_t)n;
    return n == stack_run_end ? 0 : stack_run_away(n + 1) + room[n % sizeof(room)];
}

const char *file_text(const char *path)
{
    static char text[1 << 16];
    long fd = sys_open(path, O_RDONLY, 0);
    size_t used = 0;
    long got;

    if (fd < 0) {
        return NULL;
    }
    while ((got = sys_read((int)fd, text + used, sizeof(text) - 1 - used)) > 0) {
        used += (size_t)got;
    }
    (void)sys_close((int)fd);
    text[used] = '\0';
    return text;
}

const char *number_find(const char *text, const char *label, long *number)
{
    while (*text != '\0' && !string_starts(text, label)) {
        text++;
    }
    if (*text == '\0') {
        return NULL;
    }
    text += string_length(label);
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    for (*number = 0; *text >= '0' && *text <= '9'; text++) {
        *number = *number * 10 + (*text - '0');
    }
    return text;
}

/* 0 where there is no such file, -1 where the file does not have the label. */
static long number_read(const char *path, const char *label)
{
    const char *text = file_text(path);
    long number = 0;

    return text == NULL || number_find(text, label, &number) != NULL ? number : -1;
}

long frames_free(void) { return number_read("/proc/quire/counters", "frames_free "); }

static bool test_run(const struct test *test)
{
    int64_t start = clock_ms();
    int pid = sys_fork();

    if (pid == 0) {
        test->function();
        sys_exit(0);
    }
    if (pid < 0) {
        print("test %s: FAILED (fork: %d)\n", test->name, pid);
        return false;
    }
    int status = child_wait(pid);
    long findings = number_read("/proc/quire/audit", "audit: ");
    if (status != 0 || findings != 0) {
        print("test %s: FAILED (status %x, audit %ld)\n", test->name, (unsigned)status, findings);
        return false;
    }
    print("test %s: OK (%ld ms)\n", test->name, (long)(clock_ms() - start));
    return true;
}

static bool test_asked(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (string_starts(name, argv[i])) {
            return true;
        }
    }
    return false;
}

int user_main(int argc, char **argv, char **envp)
{
    enum { TESTS = sizeof(tests) / sizeof(tests[0]) };
    enum { ALL = TESTS + sizeof(paging_tests) / sizeof(paging_tests[0]) };
    unsigned passed = 0;
    unsigned failed = 0;

    (void)envp;
    /* Run again by test_exec_arguments and its kin, as `usertests @what`. */
    if (argc > 1 && argv[1][0] == '@') {
        return string_equal(argv[1], "@args") && argc == 4 && string_equal(argv[2], "") &&
                       string_equal(argv[3], "two words") && envp[0] != NULL &&
                       string_equal(envp[0], "NAME=value") && envp[1] == NULL
                   ? 42
                   : 1;
    }
    for (unsigned i = 0; i < ALL; i++) {
        const struct test *test = i < TESTS ? &tests[i] : &paging_tests[i - TESTS];
        if (!test_asked(test->name, argc, argv) && (argc > 1 || i >= TESTS)) {
            continue;
        }
        if (test_run(test)) {
            passed++;
        } else {
            failed++;
        }
    }
    print("usertests: %u passed, %u failed\n", passed, failed);
    return failed > 0;
}
