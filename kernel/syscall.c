/* SPDX-License-Identifier: MIT */
/*
 * The system calls by number, and what is done around each: count it, time it, remember whether a
 * signal interrupted it.  A number without an entry gets ENOSYS and a count that /proc shows, so
 * what a program misses can be read off.
 */
#include "process.h"

struct call {
    long (*function)(const uint64_t *a);
    const char *name;
    bool restarts; /* after a handler with SA_RESTART */
};

#define C(number, name) [number] = {sys_##name, #name, false}
#define R(number, name) [number] = {sys_##name, #name, true}
#define AS(number, function, name) [number] = {sys_##function, #name, false}

static const struct call calls[SYSCALL_NUMBERS] = {
    R(0, read),
    R(1, write),
    R(2, open),
    C(3, close),
    C(4, stat),
    C(5, fstat),
    C(6, lstat),
    C(7, poll),
    C(8, lseek),
    C(9, mmap),
    C(10, mprotect),
    C(11, munmap),
    C(12, brk),
    C(13, rt_sigaction),
    C(14, rt_sigprocmask),
    C(15, rt_sigreturn),
    R(16, ioctl),
    R(17, pread64),
    R(18, pwrite64),
    R(19, readv),
    R(20, writev),
    C(21, access),
    C(22, pipe),
    C(23, select),
    C(24, sched_yield),
    C(25, mremap),
    C(26, msync),
    C(27, mincore),
    C(28, madvise),
    C(32, dup),
    C(33, dup2),
    C(34, pause),
    C(35, nanosleep),
    C(36, getitimer),
    C(37, alarm),
    C(38, setitimer),
    C(39, getpid),
    R(40, sendfile),
    C(56, clone),
    C(57, fork),
    C(58, vfork),
    C(59, execve),
    C(60, exit),
    R(61, wait4),
    C(62, kill),
    C(63, uname),
    R(72, fcntl),
    R(73, flock),
    C(74, fsync),
    C(75, fdatasync),
    C(76, truncate),
    C(77, ftruncate),
    C(79, getcwd),
    C(80, chdir),
    C(81, fchdir),
    C(82, rename),
    C(83, mkdir),
    C(84, rmdir),
    R(85, creat),
    C(86, link),
    C(87, unlink),
    C(88, symlink),
    C(89, readlink),
    C(90, chmod),
    C(91, fchmod),
    C(92, chown),
    C(93, fchown),
    C(94, lchown),
    C(95, umask),
    C(96, gettimeofday),
    C(97, getrlimit),
    C(98, getrusage),
    C(99, sysinfo),
    C(100, times),
    AS(102, getuid, getuid),
    AS(104, getuid, getgid),
    AS(105, setuid, setuid),
    AS(106, setuid, setgid),
    AS(107, getuid, geteuid),
    AS(108, getuid, getegid),
    C(109, setpgid),
    C(110, getppid),
    C(111, getpgrp),
    C(112, setsid),
    AS(113, setuid, setreuid),
    AS(114, setuid, setregid),
    C(115, getgroups),
    AS(116, setuid, setgroups),
    AS(117, setuid, setresuid),
    C(118, getresuid),
    AS(119, setuid, setresgid),
    AS(120, getresuid, getresgid),
    C(121, getpgid),
    C(124, getsid),
    C(125, capget),
    C(126, capset),
    C(127, rt_sigpending),
    C(128, rt_sigtimedwait),
    C(130, rt_sigsuspend),
    C(131, sigaltstack),
    C(133, mknod),
    C(135, personality),
    C(137, statfs),
    C(138, fstatfs),
    C(140, getpriority),
    C(141, setpriority),
    C(143, sched_getparam),
    C(144, sched_setscheduler),
    C(145, sched_getscheduler),
    C(146, sched_get_priority_max),
    C(147, sched_get_priority_min),
    C(149, mlock),
    C(150, munlock),
    C(151, mlockall),
    C(152, munlockall),
    C(157, prctl),
    C(158, arch_prctl),
    C(160, setrlimit),
    C(162, sync),
    C(169, reboot),
    C(170, sethostname),
    C(186, gettid),
    C(187, readahead),
    AS(188, xattr_refused, setxattr),
    AS(189, xattr_refused, lsetxattr),
    AS(190, xattr_refused, fsetxattr),
    AS(191, xattr_refused, getxattr),
    AS(192, xattr_refused, lgetxattr),
    AS(193, xattr_refused, fgetxattr),
    AS(194, listxattr, listxattr),
    AS(195, listxattr, llistxattr),
    AS(196, listxattr, flistxattr),
    AS(197, xattr_refused, removexattr),
    AS(198, xattr_refused, lremovexattr),
    AS(199, xattr_refused, fremovexattr),
    C(200, tkill),
    C(201, time),
    C(202, futex),
    C(203, sched_setaffinity),
    C(204, sched_getaffinity),
    C(216, remap_file_pages),
    C(217, getdents64),
    C(218, set_tid_address),
    C(221, fadvise64),
    C(228, clock_gettime),
    C(229, clock_getres),
    C(230, clock_nanosleep),
    C(231, exit_group),
    C(234, tgkill),
    R(247, waitid),
    R(257, openat),
    C(258, mkdirat),
    C(259, mknodat),
    C(260, fchownat),
    C(262, newfstatat),
    C(263, unlinkat),
    C(264, renameat),
    C(265, linkat),
    C(266, symlinkat),
    C(267, readlinkat),
    C(268, fchmodat),
    C(269, faccessat),
    C(270, pselect6),
    C(271, ppoll),
    C(273, set_robust_list),
    C(275, splice),
    C(280, utimensat),
    C(285, fallocate),
    C(292, dup3),
    C(293, pipe2),
    R(295, preadv),
    R(296, pwritev),
    C(302, prlimit64),
    C(309, getcpu),
    C(310, process_vm_readv),
    C(311, process_vm_writev),
    C(316, renameat2),
    C(318, getrandom),
    C(319, memfd_create),
    C(325, mlock2),
    R(326, copy_file_range),
    R(327, preadv2),
    R(328, pwritev2),
    C(436, close_range),
    C(439, faccessat2),
};

static uint64_t made[SYSCALL_NUMBERS];
static uint64_t unknown[SYSCALL_NUMBERS + 1];

uint64_t syscall_count(unsigned nr) { return nr < SYSCALL_NUMBERS ? made[nr] : 0; }

uint64_t syscall_unknown(unsigned nr) { return nr <= SYSCALL_NUMBERS ? unknown[nr] : 0; }

const char *syscall_name(unsigned nr) { return nr < SYSCALL_NUMBERS ? calls[nr].name : NULL; }

static long call_unknown(uint64_t nr)
{
    unknown[nr < SYSCALL_NUMBERS ? nr : SYSCALL_NUMBERS]++;
    return -ENOSYS;
}

static void call_ended(const struct call *call, long result)
{
    struct proc_signals *s = current->signals;

    /* What rt_sigreturn puts into rax may look like it, and is long over. */
    s->interrupted = result == -EINTR && call->function != sys_rt_sigreturn && signal_pending();
    s->restart = call->restarts;
    if (s->restore_blocked && !signal_pending()) {
        s->restore_blocked = false;
        s->blocked = s->saved_blocked;
    }
}

void syscall_handle(struct trap_frame *f)
{
    struct proc *p = current;
    uint64_t nr = f->rax;
    const uint64_t a[6] = {f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9};
    long result;

    if (UNLIKELY(nr >= SYSCALL_NUMBERS || !calls[nr].function)) {
        f->rax = (uint64_t)call_unknown(nr);
        user_return(f);
        return;
    }
    f->error = nr; /* for a restart */
    made[nr]++;
    p->in_call = true;
    p->call_since = tsc_read();
    result = calls[nr].function(a);
    p->call_cycles += tsc_read() - p->call_since;
    p->in_call = false;
    f->rax = (uint64_t)result;
    if (UNLIKELY(result == -EINTR || p->signals->restore_blocked))
        call_ended(&calls[nr], result);
    user_return(f);
}
