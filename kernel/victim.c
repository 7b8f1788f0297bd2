/* SPDX-License-Identifier: MIT */
/*
 * Who dies when quire has no frame for a fault and nothing can be given back (host_need_frames).
 *
 * It is the process that faulted, with one exception: a process with living descendants does not
 * go first, for what it lacks went to them.  In its place dies the descendant that has the most
 * pages to itself, the youngest of several.  So a shell outlives the program that ate the memory,
 * and init, everybody's ancestor, outlives them all: no program takes the machine down by using it
 * up.  The spared process lets the others run and makes its access again; once it has nobody left,
 * it is its turn.
 *
 * A descendant that is dying already will give back what it has, so while there is one, the spared
 * process waits for it and nobody else is killed.  The parent of a vfork cannot die before its
 * child lets go of the memory, and is passed over until then.
 *
 * The kernel's own copies to and from a program's memory never sleep, so a copy for a spared
 * process fails, and its call returns EFAULT.
 */
#include "process.h"

static bool descends(const struct proc *p, const struct proc *from)
{
    while (p && p != from)
        p = p->parent;
    return p == from;
}

static bool can_end(const struct proc *p)
{
    return p->mm && !(p->state == PROC_SLEEPING && p->deaf);
}

static bool is_dying(const struct proc *p)
{
    return p->exiting ? p->state != PROC_ZOMBIE : p->no_memory && can_end(p);
}

static void kill(struct proc *victim)
{
    victim->no_memory = true;
    kprintf("quire: out of memory: killed pid %d (%s)\n", victim->pid, victim->name);
    if (victim == current)
        signal_force(SIGKILL, SI_KERNEL, 0);
    else
        signal_send(victim, SIGKILL);
}

void victim_choose(void)
{
    struct proc *victim = NULL;
    struct quire_usage usage;
    uint64_t most = 0;

    for (struct proc *p = proc_next(NULL); p; p = proc_next(p)) {
        if (p == current || !descends(p, current))
            continue;
        if (is_dying(p)) {
            sched_wanted = true;
            return;
        }
        if (!can_end(p))
            continue;
        quire_space_usage(p->mm->space, USER_LOW, USER_HIGH, &usage);
        if (usage.pages_private >= most) {
            most = usage.pages_private;
            victim = p;
        }
    }
    if (victim) {
        kill(victim);
        sched_wanted = true;
    } else if (!current->no_memory) {
        kill(current);
    }
}
