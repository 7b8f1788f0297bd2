/* SPDX-License-Identifier: MIT */
/*
 * Who runs: round robin over a queue of ready processes, and sleep.
 *
 * A process is in one place at a time: running (current), on the ready queue, asleep (on one wait
 * queue, or on none with a deadline), stopped, or a zombie.  Kernel code is not preempted, so it
 * changes these lists without further ado; interrupts come only out of user mode and out of the
 * idle loop in schedule(), where no list is half changed.
 *
 * There is no idle process: whoever gave the CPU away last waits on its own stack until an
 * interrupt makes somebody ready.  That can be a zombie, so its stack is freed by its parent (which
 * then runs) or, if nobody waits for it, by the next process that runs (sched_bury).
 */
#include "process.h"

#include "swap.h"

enum { ZEROED_A_STEP = 8 };

struct proc *current;
bool sched_wanted;

static struct proc *all_first, *all_last;
static struct proc *ready_first, *ready_last;
static struct waitq any_queue; /* sleepers of sleep_on_any */
static struct proc *buried;
static uint64_t idle_cycles;

uint64_t idle_ns(void) { return clock_cycles_to_ns(idle_cycles); }

struct proc *proc_next(struct proc *after) { return after ? after->next_all : all_first; }

struct proc *proc_find(int pid)
{
    for (struct proc *p = all_first; p; p = p->next_all) {
        if (p->pid == pid)
            return p;
    }
    return NULL;
}

char proc_state_letter(const struct proc *p)
{
    switch (p->state) {
    case PROC_READY:
    case PROC_RUNNING: return 'R';
    case PROC_STOPPED: return 'T';
    case PROC_ZOMBIE: return 'Z';
    case PROC_FREE:
    case PROC_EMBRYO:
    case PROC_SLEEPING:
    default: return p->deaf ? 'D' : 'S';
    }
}

void sched_add(struct proc *p)
{
    if (all_last)
        all_last->next_all = p;
    else
        all_first = p;
    all_last = p;
}

void sched_remove(struct proc *p)
{
    struct proc *before = NULL;

    for (struct proc *q = all_first; q != p; q = q->next_all) {
        kassert(q);
        before = q;
    }
    if (before)
        before->next_all = p->next_all;
    else
        all_first = p->next_all;
    if (all_last == p)
        all_last = before;
}

void sched_ready(struct proc *p)
{
    p->state = PROC_READY;
    p->next_ready = NULL;
    if (ready_last)
        ready_last->next_ready = p;
    else
        ready_first = p;
    ready_last = p;
}

static struct proc *ready_take(void)
{
    struct proc *p = ready_first;

    if (p) {
        ready_first = p->next_ready;
        if (!ready_first)
            ready_last = NULL;
    }
    return p;
}

static void queue_remove(struct waitq *q, struct proc *p)
{
    struct proc **link = &q->first;

    while (*link != p) {
        kassert(*link);
        link = &(*link)->next_wait;
    }
    *link = p->next_wait;
}

void sched_wake(struct proc *p)
{
    if (p->state != PROC_SLEEPING)
        return;
    if (p->waiting_on)
        queue_remove(p->waiting_on, p);
    p->waiting_on = NULL;
    p->wake_at = 0;
    sched_ready(p);
}

void wake_all(struct waitq *q)
{
    while (q->first)
        sched_wake(q->first);
    while (any_queue.first)
        sched_wake(any_queue.first);
}

/*
 * One short step of what can be done while nobody wants the processor, so that somebody who becomes
 * ready need not wait: page out, then zero frames.  False: there is nothing.
 */
static bool idle_step(void) { return swap_idle() || quire_zero_ahead(quire, ZEROED_A_STEP) > 0; }

static void wait_for_somebody(void)
{
    uint64_t start = tsc_read();

    while (!ready_first) {
        if (idle_step())
            cpu_breathe();
        else
            cpu_idle();
    }
    idle_cycles += tsc_read() - start;
}

static void switch_to(struct proc *next)
{
    struct proc *previous = current;
    uint64_t now = tsc_read();

    fpu_save(previous->fpu);
    current = next;
    next->run_since = now;
    next->call_since = now;
    next->switches++;
    fpu_load(next->fpu);
    cpu_set_fs(next->fs_base);
    cpu_set_stack((uint64_t)(uintptr_t)next->stack + STACK_SIZE);
    if (next->mm != previous->mm)
        quire_space_activate(quire, next->mm ? next->mm->space : NULL);
    context_switch(&previous->kernel_rsp, next->kernel_rsp);
}

static void bury(void)
{
    struct proc *p = buried;

    buried = NULL;
    if (p)
        process_free(p);
}

void sched_account(void)
{
    struct proc *p = current;
    uint64_t now = tsc_read();

    p->run_cycles += now - p->run_since;
    p->run_since = now;
    if (p->in_call) {
        p->call_cycles += now - p->call_since;
        p->call_since = now;
    }
    p->user_ns = clock_cycles_to_ns(p->run_cycles - p->call_cycles);
    p->system_ns = clock_cycles_to_ns(p->call_cycles);
}

void schedule(void)
{
    struct proc *me = current;
    struct proc *next;

    sched_account();
    if (!ready_first)
        wait_for_somebody();
    next = ready_take();
    sched_wanted = false;
    next->state = PROC_RUNNING;
    if (next != me) {
        switch_to(next);
        bury();
    } else {
        me->run_since = tsc_read();
        me->call_since = me->run_since;
    }
}

void sched_yield_cpu(void)
{
    sched_wanted = false;
    if (!ready_first)
        return;
    sched_ready(current);
    schedule();
}

void sched_bury(struct proc *p)
{
    kassert(!buried);
    buried = p;
}

/* A new process comes here from process_first, on its own stack. */
void process_started(struct trap_frame *f)
{
    bury();
    if (current->set_child_tid) {
        int tid = current->pid;

        (void)copy_out(current->set_child_tid, &tid, sizeof tid);
    }
    user_return(f);
}

void sched_start(struct proc *first)
{
    static struct proc boot; /* what runs until now; never again */
    static uint8_t boot_fpu[FPU_SIZE] __attribute__((aligned(16)));

    boot.fpu = boot_fpu;
    current = &boot;
    sched_ready(first);
    schedule();
    panic("the boot stack runs again");
}

void sched_tick(void)
{
    uint64_t now = now_ns();

    for (struct proc *p = all_first; p; p = p->next_all) {
        if (p->wake_at && now >= p->wake_at) {
            p->timed_out = true;
            sched_wake(p);
        }
        if (p->alarm_at && now >= p->alarm_at) {
            p->alarm_at = p->alarm_interval ? now + p->alarm_interval : 0;
            signal_send(p, SIGALRM);
        }
    }
    if (ready_first)
        sched_wanted = true;
}

static int sleep_common(struct waitq *q, uint64_t deadline, bool deaf)
{
    struct proc *p = current;

    if (!deaf && signal_pending())
        return -EINTR;
    if (deadline && now_ns() >= deadline)
        return -ETIMEDOUT;
    p->timed_out = false;
    p->wake_at = deadline;
    p->waiting_on = q;
    p->deaf = deaf;
    if (q) {
        p->next_wait = q->first;
        q->first = p;
    }
    p->state = PROC_SLEEPING;
    schedule();
    p->deaf = false;
    if (!deaf && signal_pending())
        return -EINTR;
    return p->timed_out ? -ETIMEDOUT : 0;
}

int sleep_on(struct waitq *q) { return sleep_common(q, 0, false); }

int sleep_on_until(struct waitq *q, uint64_t deadline) { return sleep_common(q, deadline, false); }

int sleep_on_any(uint64_t deadline) { return sleep_common(&any_queue, deadline, false); }

void sleep_deaf(struct waitq *q) { (void)sleep_common(q, 0, true); }
