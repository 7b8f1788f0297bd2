/* SPDX-License-Identifier: MIT */
/*
 * The life of a process: made by fork, ended by exit, remembered until its parent has waited for
 * it.
 *
 *   embryo -> ready <-> running -> zombie -> (gone)
 *                 \-> sleeping, stopped -/
 *
 * Fork is quire_space_fork and a handful of small records, so its cost does not depend on how much
 * memory the parent has.  A vfork child shares its parent's struct mm, which counts its users; the
 * parent sleeps deaf to signals until the child has let go of the memory (exec or exit), because
 * they share a stack.  A clone that brings a stack of its own can share memory without that.
 *
 * A process is undone in the order in which it can hurt nobody: files, memory (with others running
 * between two slices of quire_space_destroy), then its children go to init, then the parent is
 * told.  The kernel stack and the record go last, when the process does not stand on them any more.
 */
#include "process.h"

#include <quire/host.h>

enum {
    CLONE_SIGNAL = 0xff,
    CLONE_VM = 0x100,
    CLONE_FS = 0x200,
    CLONE_FILES = 0x400,
    CLONE_SIGHAND = 0x800,
    CLONE_VFORK = 0x4000,
    CLONE_PARENT = 0x8000,
    CLONE_THREAD = 0x10000,
    CLONE_SETTLS = 0x80000,
    CLONE_PARENT_SETTID = 0x100000,
    CLONE_CHILD_CLEARTID = 0x200000,
    CLONE_CHILD_SETTID = 0x1000000,
    CLONE_KNOWN = CLONE_SIGNAL | CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_PARENT_SETTID |
                  CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID,
    WNOHANG = 1,
    WUNTRACED = 2,
    WEXITED = 4,
    WCONTINUED = 8,
    WNOWAIT = 0x1000000,
    WALL = 0x40000000,
    WAIT_CHANGES = WUNTRACED | WEXITED | WCONTINUED,
    WAIT_OTHERS = WALL | 0x20000000, /* children of other kinds, which there are not */
};

struct fork_request {
    uint64_t flags, stack, parent_tid, child_tid, tls;
};

static struct fork_record records[FORK_RECORDS];
static uint64_t record_count;
static int last_pid;

uint64_t fork_count(void) { return record_count; }

bool fork_record_get(unsigned i, struct fork_record *out)
{
    uint64_t kept = record_count < FORK_RECORDS ? record_count : FORK_RECORDS;

    if (i >= kept)
        return false;
    *out = records[(record_count - kept + i) % FORK_RECORDS];
    return true;
}

static bool pid_in_use(int pid)
{
    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        if (p->pid == pid || p->pgid == pid || p->sid == pid)
            return true;
    }
    return false;
}

int pid_find_free(void)
{
    do {
        last_pid = last_pid + 1 < PID_LIMIT ? last_pid + 1 : 2;
    } while (pid_in_use(last_pid));
    return last_pid;
}

struct mm *mm_create(void)
{
    struct mm *mm = kzalloc(sizeof *mm);

    if (mm)
        mm_start(mm);
    return mm;
}

void mm_put(struct mm *mm)
{
    if (--mm->users > 0)
        return;
    if (mm->space)
        quire_space_destroy(mm->space);
    kfree(mm);
}

uint64_t mm_pages(struct mm *mm)
{
    struct quire_region region;
    vaddr_t at = 0;

    if (mm->pages_counted)
        return mm->pages_mapped;
    mm->pages_mapped = 0;
    while (quire_query(mm->space, at, &region) == QUIRE_OK) {
        mm->pages_mapped += (region.end - region.start) / PAGE_SIZE;
        at = region.end;
    }
    mm->pages_counted = true;
    return mm->pages_mapped;
}

struct proc *process_create(void)
{
    size_t size = (sizeof(struct proc) + 15) & ~(size_t)15;
    struct proc *p = kzalloc(size + FPU_SIZE);

    if (!p)
        return NULL;
    p->state = PROC_EMBRYO;
    p->fpu = (char *)p + size;
    p->signals = kmalloc(sizeof *p->signals);
    p->stack = stack_alloc();
    if (!p->signals || !p->stack) {
        process_free(p);
        return NULL;
    }
    p->frame = (struct trap_frame *)((char *)p->stack + STACK_SIZE) - 1;
    p->start_ns = now_ns();
    return p;
}

void process_free(struct proc *p)
{
    stack_free(p->stack);
    kfree(p->signals);
    kfree(p->exe);
    kfree(p);
}

/* Its kernel stack: as if it had been switched away from at process_first. */
void process_prepare(struct proc *p)
{
    uint64_t *sp = (uint64_t *)p->frame;

    *--sp = (uint64_t)(uintptr_t)process_first;
    for (int i = 0; i < 6; i++)
        *--sp = 0;
    p->kernel_rsp = (uint64_t)(uintptr_t)sp;
}

static struct mm *mm_fork(struct mm *parent, uint64_t *cycles)
{
    struct mm *mm = kmalloc(sizeof *mm);
    enum quire_status status;
    uint64_t start;

    if (!mm)
        return NULL;
    *mm = *parent;
    mm_start(mm);
    start = tsc_read();
    status = quire_space_fork(parent->space, &mm->space);
    *cycles = tsc_read() - start;
    if (status != QUIRE_OK) {
        kfree(mm);
        return NULL;
    }
    return mm;
}

static void signals_fork(struct proc *child)
{
    struct proc_signals *s = child->signals;

    *s = *current->signals;
    s->pending = 0;
    s->restore_blocked = s->interrupted = s->restart = false;
    if (current->signals->restore_blocked)
        s->blocked = current->signals->saved_blocked;
}

/* Everything that can fail; on failure what was made is still in `p`, for the caller to undo. */
static bool fork_resources(struct proc *p, bool share, struct fork_record *record)
{
    p->files = files_fork(current->files);
    if (!p->files)
        return false;
    if (current->exe) {
        p->exe = kmalloc(strlen(current->exe) + 1);
        if (!p->exe)
            return false;
        strlcpy(p->exe, current->exe, strlen(current->exe) + 1);
    }
    if (share) {
        p->mm = current->mm;
        p->mm->users++;
        return true;
    }
    record->frames_quire = quire_free_frames(quire);
    p->mm = mm_fork(current->mm, &record->quire_cycles);
    record->frames_quire -= quire_free_frames(quire);
    return p->mm != NULL;
}

static void fork_undo(struct proc *p)
{
    if (p->files)
        files_destroy(p->files);
    process_free(p);
}

static void fork_fill(struct proc *p, const struct fork_request *r)
{
    p->pid = pid_find_free();
    p->pgid = current->pgid;
    p->sid = current->sid;
    p->parent = current;
    p->cwd = inode_get(current->cwd);
    p->umask = current->umask;
    memcpy(p->name, current->name, sizeof p->name);
    memcpy(p->limits, current->limits, sizeof p->limits);
    signals_fork(p);
    *p->frame = *current->frame;
    p->frame->rax = 0;
    if (r->stack)
        p->frame->rsp = r->stack;
    p->fs_base = r->flags & CLONE_SETTLS ? r->tls : current->fs_base;
    if (r->flags & CLONE_CHILD_SETTID)
        p->set_child_tid = r->child_tid;
    if (r->flags & CLONE_CHILD_CLEARTID)
        p->clear_child_tid = r->child_tid;
    fpu_save(p->fpu);
    process_prepare(p);
}

static long do_fork(const struct fork_request *r)
{
    struct fork_record record = {.parent = current->pid,
                                 .vfork = (r->flags & CLONE_VM) != 0,
                                 .pages_mapped = mm_pages(current->mm)};
    uint64_t start = tsc_read(), frames = quire_free_frames(quire);
    struct proc *p;
    int pid;

    if ((r->flags & ~(uint64_t)CLONE_KNOWN) != 0)
        return -EINVAL;
    if (r->flags & CLONE_SETTLS && r->tls >= USER_HIGH)
        return -EPERM;
    p = process_create();
    if (!p)
        return -EAGAIN;
    if (!fork_resources(p, record.vfork, &record)) {
        fork_undo(p);
        return -ENOMEM;
    }
    fork_fill(p, r);
    sched_add(p);
    pid = p->pid;
    if (r->flags & CLONE_PARENT_SETTID)
        (void)copy_out(r->parent_tid, &pid, sizeof pid);
    sched_ready(p);
    record.child = pid;
    record.call_cycles = tsc_read() - start;
    record.frames_call = frames - quire_free_frames(quire);
    records[record_count++ % FORK_RECORDS] = record;
    if (r->flags & CLONE_VFORK) {
        p->vfork_parent = current;
        current->vfork_waiting = true;
        while (current->vfork_waiting)
            sleep_deaf(&current->vfork_wait);
    }
    return pid;
}

long sys_fork(const uint64_t *a)
{
    (void)a;
    return do_fork(&(struct fork_request){.flags = SIGCHLD});
}

long sys_vfork(const uint64_t *a)
{
    (void)a;
    return do_fork(&(struct fork_request){.flags = SIGCHLD | CLONE_VM | CLONE_VFORK});
}

long sys_clone(const uint64_t *a)
{
    return do_fork(&(struct fork_request){a[0], a[1], a[2], a[3], a[4]});
}

void vfork_release(struct proc *p)
{
    struct proc *parent = p->vfork_parent;

    if (!parent)
        return;
    p->vfork_parent = NULL;
    parent->vfork_waiting = false;
    wake_all(&parent->vfork_wait);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Quire works on a long destruction, with nothing held: a timer interrupt may have passed unseen.
 */
void host_yield(void *host)
{
    (void)host;
    if (current && current->exiting)
        sched_yield_cpu();
}

static void children_to_init(void)
{
    struct proc *init = proc_find(INIT_PID);

    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        if (p->parent != current)
            continue;
        p->parent = init;
        if (p->state == PROC_ZOMBIE) {
            signal_send(init, SIGCHLD);
            wake_all(&init->child_wait);
        }
    }
}

static void memory_leave(void)
{
    struct mm *mm = current->mm;
    int zero = 0;

    if (current->clear_child_tid && mm->users > 1 &&
        copy_out(current->clear_child_tid, &zero, sizeof zero) == 0)
        futex_wake(current->clear_child_tid);
    current->mm = NULL;
    quire_space_activate(quire, NULL);
    vfork_release(current);
    mm_put(mm);
}

static struct signal_info child_info(const struct proc *p, int code, int status)
{
    return (struct signal_info){.code = code, .pid = p->pid, .status = status, .uid = USER_ID};
}

/* Does nobody want to hear of this death? */
static bool unmourned(const struct proc *p)
{
    enum { SA_NOCLDWAIT = 2 };
    const struct proc_signals *s = p->parent->signals;

    if (!s)
        return false;
    return s->actions[SIGCHLD - 1].handler == HANDLER_IGNORE ||
           s->actions[SIGCHLD - 1].flags & SA_NOCLDWAIT;
}

static void parent_tell(struct proc *p)
{
    int sig = p->exit_status & 0x7f;
    struct signal_info info =
        child_info(p, sig ? p->exit_status & 0x80 ? CLD_DUMPED : CLD_KILLED : CLD_EXITED,
                   sig ? sig : p->exit_status >> 8 & 0xff);

    signal_send_info(p->parent, SIGCHLD, &info);
    wake_all(&p->parent->child_wait);
}

void process_exit(int status)
{
    struct proc *p = current;

    if (p->pid == INIT_PID) {
        if (status != 0)
            kprintf("quire: init ended with status %#x\n", (unsigned)status);
        kernel_end(status == 0);
    }
    p->exiting = true;
    p->exit_status = status;
    files_destroy(p->files);
    p->files = NULL;
    inode_put(p->cwd);
    p->cwd = NULL;
    memory_leave();
    p->alarm_at = 0;
    children_to_init();
    kfree(p->signals);
    p->signals = NULL;
    sched_account();
    p->state = PROC_ZOMBIE;
    if (unmourned(p)) {
        wake_all(&p->parent->child_wait);
        sched_remove(p);
        sched_bury(p);
    } else {
        parent_tell(p);
    }
    schedule();
    panic("a zombie runs");
}

long sys_exit(const uint64_t *a) { process_exit((int)(a[0] & 0xff) << 8); }

long sys_exit_group(const uint64_t *a) { process_exit((int)(a[0] & 0xff) << 8); }

void process_report(struct proc *p)
{
    enum { SA_NOCLDSTOP = 1 };
    bool stopped = p->stop_report;
    struct signal_info info =
        child_info(p, stopped ? CLD_STOPPED : CLD_CONTINUED, stopped ? p->stop_signal : SIGCONT);

    if (!p->parent || !p->parent->signals)
        return;
    if (!(p->parent->signals->actions[SIGCHLD - 1].flags & SA_NOCLDSTOP))
        signal_send_info(p->parent, SIGCHLD, &info);
    wake_all(&p->parent->child_wait);
}

/* ---- wait ------------------------------------------------------------------------------------ */

static bool wait_matches(const struct proc *p, int which)
{
    if (p->parent != current)
        return false;
    if (which > 0)
        return p->pid == which;
    if (which == 0)
        return p->pgid == current->pgid;
    return which == -1 || p->pgid == -which;
}

/* What p has to tell: its status in *status, or false.  WNOWAIT: it can be told again. */
static bool wait_news(struct proc *p, unsigned options, int *status)
{
    if (p->state == PROC_ZOMBIE) {
        *status = p->exit_status;
        return (options & WEXITED) != 0;
    }
    if (options & WUNTRACED && p->stop_report) {
        p->stop_report = (options & WNOWAIT) != 0;
        *status = p->stop_signal << 8 | 0x7f;
        return true;
    }
    if (options & WCONTINUED && p->continue_report) {
        p->continue_report = (options & WNOWAIT) != 0;
        *status = 0xffff;
        return true;
    }
    return false;
}

static void process_reap(struct proc *p)
{
    current->child_user_ns += p->user_ns + p->child_user_ns;
    current->child_system_ns += p->system_ns + p->child_system_ns;
    sched_remove(p);
    process_free(p);
}

static long wait_finish(struct proc *p, int status, uintptr_t status_to, uintptr_t rusage_to)
{
    uint64_t rusage[18];
    long pid = p->pid;
    int error = 0;

    if (status_to)
        error = copy_out(status_to, &status, sizeof status);
    if (rusage_to && !error) {
        fill_rusage(rusage, p->user_ns + p->child_user_ns, p->system_ns + p->child_system_ns,
                    p->minor_faults);
        error = copy_out(rusage_to, rusage, sizeof rusage);
    }
    if (p->state == PROC_ZOMBIE)
        process_reap(p);
    return error ? error : pid;
}

/* Wait for news of a child: 1 with *child and *status; 0: WNOHANG and none; or -E. */
static long wait_child(int which, unsigned options, struct proc **child, int *status)
{
    for (;;) {
        bool any = false;
        int error;

        for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
            if (!wait_matches(p, which))
                continue;
            any = true;
            *child = p;
            if (wait_news(p, options, status))
                return 1;
        }
        if (!any)
            return -ECHILD;
        if (options & WNOHANG)
            return 0;
        error = sleep_on(&current->child_wait);
        if (error)
            return error;
    }
}

long sys_wait4(const uint64_t *a)
{
    int which = (int)a[0], status;
    unsigned options = (unsigned)a[2];
    struct proc *child;
    long found;

    if (options & ~(unsigned)(WNOHANG | WUNTRACED | WCONTINUED | WAIT_OTHERS))
        return -EINVAL;
    if (which == INT32_MIN)
        return -ESRCH;
    found = wait_child(which, options | WEXITED, &child, &status);
    return found > 0 ? wait_finish(child, status, a[1], a[3]) : found;
}

/* A status of wait4 as siginfo tells it. */
static void child_describe(const struct proc *p, int status, struct user_siginfo *info)
{
    int sig = status & 0x7f;

    info->number = SIGCHLD;
    info->u.child.pid = p->pid;
    info->u.child.uid = USER_ID;
    if (status == 0xffff) {
        info->code = CLD_CONTINUED;
        info->u.child.status = SIGCONT;
    } else if (sig == 0x7f || sig == 0) {
        info->code = sig == 0 ? CLD_EXITED : CLD_STOPPED;
        info->u.child.status = status >> 8 & 0xff;
    } else {
        info->code = status & 0x80 ? CLD_DUMPED : CLD_KILLED;
        info->u.child.status = sig;
    }
}

/* The children that a kind of number and a number name, as wait4 has them; 0 if that is wrong. */
static int children_named(uint64_t kind, uint64_t id)
{
    enum { P_ALL = 0, P_PID = 1, P_PGID = 2 };

    if (kind == P_ALL)
        return -1;
    if ((int)id <= 0 || kind > P_PGID)
        return kind == P_PGID && id == 0 ? -current->pgid : 0;
    return kind == P_PID ? (int)id : -(int)id;
}

long sys_waitid(const uint64_t *a)
{
    unsigned options = (unsigned)a[3];
    int which = children_named(a[0], a[1]), status = 0;
    struct user_siginfo info = {0};
    struct proc *child;
    long found;

    if (options & ~(unsigned)(WNOHANG | WNOWAIT | WAIT_CHANGES | WAIT_OTHERS) ||
        !(options & WAIT_CHANGES) || which == 0)
        return -EINVAL;
    found = wait_child(which, options, &child, &status);
    if (found < 0)
        return found;
    if (found > 0)
        child_describe(child, status, &info);
    if (a[2] && copy_out(a[2], &info, sizeof info))
        return -EFAULT;
    if (found > 0 && !(options & WNOWAIT))
        found = wait_finish(child, status, 0, a[4]);
    return found < 0 ? found : 0;
}
