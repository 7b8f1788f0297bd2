/* SPDX-License-Identifier: MIT */
/*
 * Signals: sending them, and acting on them on the way to user mode.
 *
 * A signal that its target ignores is dropped when it is sent, unless it is blocked; so "pending
 * and not blocked" is all that a sleeper has to look at.  signal_deliver takes one after the other:
 * it kills, stops, goes on, or makes the program run its handler (sigframe.c).
 *
 * A system call that returned -EINTR is made again when no handler ran, or when its handler
 * asked for it (SA_RESTART) and the call is one that may (syscall.c).  "Again" means: rip back by
 * the two bytes of `syscall` and the call's number in rax.
 */
#include "process.h"

enum {
    SA_RESTART = 0x10000000,
    CORE_FLAG = 0x80,
};
#define STOPS                                                                                     \
    (UINT64_C(1) << (SIGSTOP - 1) | UINT64_C(1) << (SIGTSTP - 1) | UINT64_C(1) << (SIGTTIN - 1) | \
     UINT64_C(1) << (SIGTTOU - 1))
#define DEFAULT_IGNORED                                                                          \
    (UINT64_C(1) << (SIGCHLD - 1) | UINT64_C(1) << (SIGCONT - 1) | UINT64_C(1) << (SIGURG - 1) | \
     UINT64_C(1) << (SIGWINCH - 1))
#define DUMPS                                                                                     \
    (UINT64_C(1) << (SIGQUIT - 1) | UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGTRAP - 1) |  \
     UINT64_C(1) << (SIGABRT - 1) | UINT64_C(1) << (SIGBUS - 1) | UINT64_C(1) << (SIGFPE - 1) |   \
     UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGXCPU - 1) | UINT64_C(1) << (SIGXFSZ - 1) | \
     UINT64_C(1) << (SIGSYS - 1))

bool signal_pending(void)
{
    const struct proc_signals *s = current->signals;

    return s && (s->pending & ~s->blocked) != 0;
}

bool signal_ignored_by(const struct proc *p, int sig)
{
    uint64_t handler = p->signals->actions[sig - 1].handler;

    return handler == HANDLER_IGNORE ||
           (handler == HANDLER_DEFAULT && (DEFAULT_IGNORED & signal_bit(sig)) != 0);
}

bool signal_refused(int sig)
{
    return (current->signals->blocked & signal_bit(sig)) != 0 || signal_ignored_by(current, sig);
}

void signal_mask_for_call(uint64_t mask)
{
    struct proc_signals *s = current->signals;

    s->saved_blocked = s->blocked;
    s->restore_blocked = true;
    s->blocked = mask & ~UNBLOCKABLE;
}

/* SIGCONT and SIGKILL set a stopped process going; a stop signal and SIGCONT cancel each other. */
static void stop_or_continue(struct proc *p, int sig)
{
    struct proc_signals *s = p->signals;

    if (STOPS & signal_bit(sig))
        s->pending &= ~signal_bit(SIGCONT);
    if (sig != SIGCONT && sig != SIGKILL)
        return;
    s->pending &= ~STOPS;
    if (p->state == PROC_STOPPED) {
        p->stop_report = false;
        if (sig == SIGCONT) {
            p->continue_report = true;
            process_report(p);
        }
        sched_ready(p);
    }
}

void signal_send_info(struct proc *p, int sig, const struct signal_info *info)
{
    struct proc_signals *s = p->signals;

    if (!s || sig < 1 || sig >= SIGNAL_COUNT || p->exiting)
        return;
    /* Init dies of nothing that it has no handler for, whoever sends it and whoever runs. */
    if (p->pid == INIT_PID && s->actions[sig - 1].handler == HANDLER_DEFAULT)
        return;
    stop_or_continue(p, sig);
    if (!(s->blocked & signal_bit(sig)) && signal_ignored_by(p, sig))
        return;
    if (!(s->pending & signal_bit(sig)))
        s->infos[sig - 1] = *info;
    s->pending |= signal_bit(sig);
    if (!(s->blocked & signal_bit(sig)) && p->state == PROC_SLEEPING && !p->deaf)
        sched_wake(p);
}

void signal_send(struct proc *p, int sig)
{
    struct signal_info info = {.code = SI_KERNEL};

    signal_send_info(p, sig, &info);
}

void signal_send_group(int pgid, int sig)
{
    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        if (p->pgid == pgid)
            signal_send(p, sig);
    }
}

void signal_force(int sig, int code, uint64_t address)
{
    struct proc_signals *s = current->signals;
    struct signal_info info = {.code = code, .address = address};

    if (s->blocked & signal_bit(sig) || s->actions[sig - 1].handler == HANDLER_IGNORE) {
        s->actions[sig - 1].handler = HANDLER_DEFAULT;
        s->blocked &= ~signal_bit(sig);
    }
    s->infos[sig - 1] = info;
    s->pending |= signal_bit(sig);
}

void signals_exec(struct proc_signals *s)
{
    for (int i = 0; i < 64; i++) {
        uint64_t handler = s->actions[i].handler;

        s->actions[i] = (struct signal_action){
            .handler = handler == HANDLER_IGNORE ? HANDLER_IGNORE : HANDLER_DEFAULT};
    }
    s->alt_base = s->alt_size = 0;
    s->alt_flags = 0;
}

/* ---- delivery -------------------------------------------------------------------------------- */

static int signal_take(struct proc_signals *s, struct signal_info *info)
{
    uint64_t ready = s->pending & ~s->blocked;
    int sig;

    if (!ready)
        return 0;
    /* A fault first: the frame of a later one would hide where it was. */
    if (ready & signal_bit(SIGKILL))
        sig = SIGKILL;
    else if (ready & signal_bit(SIGSEGV))
        sig = SIGSEGV;
    else if (ready & signal_bit(SIGBUS))
        sig = SIGBUS;
    else
        sig = __builtin_ctzll(ready) + 1;
    s->pending &= ~signal_bit(sig);
    *info = s->infos[sig - 1];
    return sig;
}

static void process_stop(int sig)
{
    struct proc *p = current;

    p->stop_signal = sig;
    p->stop_report = true;
    p->continue_report = false;
    process_report(p);
    p->state = PROC_STOPPED;
    schedule();
}

static void call_again(struct trap_frame *f)
{
    f->rax = f->error; /* the call's number: see syscall_handle */
    f->rip -= 2;
    current->signals->interrupted = false;
}

/* Signals without a handler: returns if the program goes on. */
static void default_action(int sig)
{
    if (DEFAULT_IGNORED & signal_bit(sig))
        return;
    if (STOPS & signal_bit(sig)) {
        process_stop(sig);
        return;
    }
    process_exit(sig | (DUMPS & signal_bit(sig) ? CORE_FLAG : 0));
}

void signal_deliver(struct trap_frame *f)
{
    struct proc_signals *s = current->signals;
    struct signal_info info;
    int sig;

    while ((sig = signal_take(s, &info)) != 0) {
        const struct signal_action *action = &s->actions[sig - 1];

        if (action->handler == HANDLER_IGNORE)
            continue;
        if (action->handler == HANDLER_DEFAULT) {
            default_action(sig);
            continue;
        }
        if (s->interrupted && s->restart && action->flags & SA_RESTART)
            call_again(f);
        s->interrupted = false;
        if (!handler_enter(f, sig, &info))
            process_exit(SIGSEGV | CORE_FLAG);
    }
    if (s->interrupted)
        call_again(f);
    if (s->restore_blocked) {
        s->restore_blocked = false;
        s->blocked = s->saved_blocked;
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

long sys_rt_sigaction(const uint64_t *a)
{
    int sig = (int)a[0];
    struct proc_signals *s = current->signals;
    struct signal_action new, old;

    if (a[3] != 8 || sig < 1 || sig >= SIGNAL_COUNT)
        return -EINVAL;
    if (a[1] && (sig == SIGKILL || sig == SIGSTOP))
        return -EINVAL;
    if (a[1] && copy_in(&new, a[1], sizeof new))
        return -EFAULT;
    old = s->actions[sig - 1];
    if (a[2] && copy_out(a[2], &old, sizeof old))
        return -EFAULT;
    if (a[1]) {
        new.mask &= ~UNBLOCKABLE;
        s->actions[sig - 1] = new;
        if (signal_ignored_by(current, sig))
            s->pending &= ~signal_bit(sig);
    }
    return 0;
}

long sys_rt_sigprocmask(const uint64_t *a)
{
    struct proc_signals *s = current->signals;
    uint64_t old = s->blocked, set = 0, new = old;

    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        if (copy_in(&set, a[1], 8))
            return -EFAULT;
        switch ((int)a[0]) {
        case 0: new = old | set; break;
        case 1: new = old & ~set; break;
        case 2: new = set; break;
        default: return -EINVAL;
        }
    }
    if (a[2] && copy_out(a[2], &old, 8))
        return -EFAULT;
    s->blocked = new & ~UNBLOCKABLE;
    return 0;
}

long sys_rt_sigpending(const uint64_t *a)
{
    uint64_t set = current->signals->pending & current->signals->blocked;

    if (a[1] > 8)
        return -EINVAL;
    return copy_out(a[0], &set, a[1]);
}

static int sleep_for_signal(void)
{
    struct waitq never = {NULL};
    int error;

    while ((error = sleep_on(&never)) == 0)
        continue;
    return error;
}

long sys_rt_sigsuspend(const uint64_t *a)
{
    uint64_t set;

    if (a[1] != 8)
        return -EINVAL;
    if (copy_in(&set, a[0], 8))
        return -EFAULT;
    signal_mask_for_call(set);
    return sleep_for_signal();
}

long sys_pause(const uint64_t *a)
{
    (void)a;
    return sleep_for_signal();
}

/* Take one of the signals in `set` out of the pending ones. */
static int signal_accept(uint64_t set, struct user_siginfo *to)
{
    struct proc_signals *s = current->signals;
    uint64_t ready = s->pending & set;
    int sig;

    if (!ready)
        return 0;
    sig = __builtin_ctzll(ready) + 1;
    s->pending &= ~signal_bit(sig);
    *to = (struct user_siginfo){.number = sig, .code = s->infos[sig - 1].code};
    to->u.child.pid = s->infos[sig - 1].pid;
    to->u.child.uid = s->infos[sig - 1].uid;
    to->u.child.status = s->infos[sig - 1].status;
    return sig;
}

long sys_rt_sigtimedwait(const uint64_t *a)
{
    struct proc_signals *s = current->signals;
    struct user_siginfo info;
    struct waitq never = {NULL};
    uint64_t set, time[2], deadline = 0, blocked = s->blocked;
    int sig, error = 0;

    if (a[3] != 8)
        return -EINVAL;
    if (copy_in(&set, a[0], 8) || (a[2] && copy_in(time, a[2], sizeof time)))
        return -EFAULT;
    if (a[2]) {
        if (time[1] >= 1000000000 || (int64_t)time[0] < 0)
            return -EINVAL;
        if (time[0] < UINT32_MAX)
            deadline = now_ns() + time[0] * 1000000000 + time[1];
    }
    set &= ~UNBLOCKABLE;
    while ((sig = signal_accept(set, &info)) == 0 && !error) {
        s->blocked = blocked & ~set; /* the ones waited for wake the sleeper */
        error = sleep_on_until(&never, deadline);
        s->blocked = blocked;
        if (error == -EINTR && (s->pending & set))
            error = 0;
    }
    if (sig == 0)
        return error == -ETIMEDOUT ? -EAGAIN : error;
    if (a[1] && copy_out(a[1], &info, sizeof info))
        return -EFAULT;
    return sig;
}

static long send_to(struct proc *p, int sig, int code)
{
    struct signal_info info = {.code = code, .pid = current->pid, .uid = USER_ID};

    if (sig)
        signal_send_info(p, sig, &info);
    return 0;
}

long sys_kill(const uint64_t *a)
{
    int which = (int)a[0], sig = (int)a[1];
    long result = -ESRCH;

    if (sig < 0 || sig >= SIGNAL_COUNT)
        return -EINVAL;
    if (which > 0) {
        struct proc *p = proc_find(which);

        return p ? send_to(p, sig, SI_USER) : -ESRCH;
    }
    if (which == INT32_MIN)
        return -ESRCH;
    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        int group = which == 0 ? current->pgid : -which;

        if (which == -1 ? p->pid != INIT_PID && p != current : p->pgid == group)
            result = send_to(p, sig, SI_USER);
    }
    return result;
}

long sys_tkill(const uint64_t *a)
{
    struct proc *p = (int)a[0] > 0 ? proc_find((int)a[0]) : NULL;

    if ((int)a[0] <= 0 || (int)a[1] < 0 || (int)a[1] >= SIGNAL_COUNT)
        return -EINVAL;
    return p ? send_to(p, (int)a[1], SI_TKILL) : -ESRCH;
}

long sys_tgkill(const uint64_t *a)
{
    uint64_t b[6] = {a[1], a[2]};

    if ((int)a[0] <= 0)
        return -EINVAL;
    return (int)a[0] == (int)a[1] ? sys_tkill(b) : -ESRCH;
}
