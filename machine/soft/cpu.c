/* SPDX-License-Identifier: MIT */
/*
 * Virtual CPUs on threads of their own: who may touch a TLB, and how a flush reaches it.
 *
 * A TLB belongs to one thread at a time.  A word of the CPU says to which:
 *
 *        OUT --- soft_cpu_enter, the CPU's thread ---> IN       guest code runs
 *        OUT <-- soft_cpu_leave ---------------------- IN
 *        OUT <-- a thread that flushes, and back ----> HELD
 *
 * A CPU that is OUT (halted, or in a call of quire) takes part in no flush: the thread that flushes
 * holds it and forgets in its place.  A CPU that is IN is asked: the flush, which lies on the
 * flushing thread's stack, is put into cpu->asked, one word.  The CPU looks at that word between
 * two guest instructions (soft_cpu_poll), forgets, and clears the word, which is the
 * acknowledgement. If it goes OUT instead, the thread that waits for the answer holds it and
 * answers itself.  So:
 *
 *   - An access of guest code takes part in nothing of this: no fence, no atomic operation.  The
 *     only thing that another thread ever writes to a CPU that is IN is cpu->asked.
 *   - Two CPUs that flush at once do not wait for each other: both are OUT.
 *   - Nobody needs to know which CPU the calling thread is.
 *
 * A flush asks every CPU that may hold a translation first, and waits afterwards, so that it takes
 * as long as the slowest of them, and not as all together.
 *
 * A CPU that begins to run a space while a flush of that space looks for CPUs is either found by
 * it, or walks only after it has seen what was stored in the tables before (machine.h): both go
 * through one atomic word of the machine, chosen by the space, and whoever comes second sees what
 * the first one did.
 *
 * Activation.  Core does not say for which CPU it calls mmu_activate.  A CPU says in cpu->wanted
 * which space it is about to run; whoever is told a space's root sets up every CPU that wants it,
 * since under the lock of the root all of them would be told the same.
 *
 * Where all CPUs belong to one thread (config.threads is false), none of this happens: a flush goes
 * to each TLB directly.
 */
#include "tlb.h"

#include <quire/host.h>

/* ---- who may touch a TLB --------------------------------------------------------------------- */

/* False: it is IN, or held by another thread. */
static bool hold(struct soft_cpu *cpu)
{
    uint32_t out = SOFT_OUT;

    return __atomic_compare_exchange_n(&cpu->state, &out, SOFT_HELD, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static void let_go(struct soft_cpu *cpu)
{
    __atomic_store_n(&cpu->state, SOFT_OUT, __ATOMIC_RELEASE);
}

void soft_cpu_enter(struct soft_cpu *cpu)
{
    uint32_t out = SOFT_OUT;

    while (!__atomic_compare_exchange_n(&cpu->state, &out, SOFT_IN, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
        host_wait(cpu->machine->host, &cpu->state);
        out = SOFT_OUT;
    }
    soft_cpu_poll(cpu);
}

bool soft_cpu_pause(struct soft_cpu *cpu)
{
    if (__atomic_load_n(&cpu->state, __ATOMIC_RELAXED) != SOFT_IN)
        return false;
    let_go(cpu);
    return true;
}

void soft_cpu_leave(struct soft_cpu *cpu) { (void)soft_cpu_pause(cpu); }

/* ---- flushes --------------------------------------------------------------------------------- */

/* Forget what the flush covers.  The CPU is IN and the caller its thread, or the caller holds it.
 */
static void forget(struct soft_cpu *cpu, const struct soft_flush *flush)
{
    switch (flush->kind) {
    case SOFT_FLUSH_PAGE: soft_tlb_flush_page(cpu, flush->space, flush->low); break;
    case SOFT_FLUSH_RANGE: soft_tlb_flush_range(cpu, flush->space, flush->low, flush->high); break;
    case SOFT_FLUSH_SPACE:
        soft_tlb_flush_space(cpu, flush->space);
        if (cpu->space == flush->space)
            cpu->root = flush->root;
        break;
    case SOFT_FLUSH_ALL: soft_tlb_flush_all(cpu); break;
    }
}

void soft_cpu_answer(struct soft_cpu *cpu)
{
    const struct soft_flush *flush = __atomic_load_n(&cpu->asked, __ATOMIC_ACQUIRE);

    if (!flush)
        return;
    forget(cpu, flush);
    __atomic_store_n(&cpu->asked, NULL, __ATOMIC_RELEASE);
}

/* Flush a CPU that is OUT, or put the request where it will see it. */
static void ask(struct soft_cpu *cpu, const struct soft_flush *flush)
{
    for (;;) {
        const struct soft_flush *nothing = NULL;

        if (hold(cpu)) {
            forget(cpu, flush);
            let_go(cpu);
            return;
        }
        if (__atomic_compare_exchange_n(&cpu->asked, &nothing, flush, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return;
        host_wait(cpu->machine->host, &cpu->asked);
    }
}

/* Return when the request is not there any more.  What was asked of a CPU that has gone OUT is
 * answered here, whoever asked. */
static void await(struct soft_cpu *cpu, const struct soft_flush *flush)
{
    while (__atomic_load_n(&cpu->asked, __ATOMIC_ACQUIRE) == flush) {
        if (hold(cpu)) {
            soft_cpu_answer(cpu);
            let_go(cpu);
        } else {
            host_wait(cpu->machine->host, &cpu->asked);
        }
    }
}

/* Whoever calls this second for a space sees what the first one had stored. */
static void meet(struct soft_machine *machine, const struct quire_space *space)
{
    uint64_t hash = (uint64_t)(uintptr_t)space * UINT64_C(0x9e3779b97f4a7c15);

    __atomic_fetch_add(&machine->meetings[hash >> 32 & (SOFT_MEETINGS - 1)].count, 1,
                       __ATOMIC_ACQ_REL);
}

void soft_cpus_flush(struct soft_machine *machine, const struct soft_flush *flush)
{
    if (!machine->threads) {
        for (uint32_t i = 0; i < machine->cpu_count; i++)
            forget(&machine->cpus[i], flush);
        return;
    }
    meet(machine, flush->space);
    for (uint32_t i = 0; i < machine->cpu_count; i++) {
        if (!flush->space || soft_tlb_may_hold(&machine->cpus[i], flush->space))
            ask(&machine->cpus[i], flush);
    }
    for (uint32_t i = 0; i < machine->cpu_count; i++)
        await(&machine->cpus[i], flush);
}

/* ---- activation ------------------------------------------------------------------------------ */

/* No space has this address. */
static struct quire_space *no_wish(struct soft_machine *machine)
{
    return (struct quire_space *)(void *)machine;
}

void soft_cpu_init(struct soft_cpu *cpu) { cpu->wanted = no_wish(cpu->machine); }

/* Set up a CPU that is held, unless another thread has done it meanwhile. */
static void run(struct soft_cpu *cpu, struct quire_space *space, pfn_t root)
{
    struct soft_machine *machine = cpu->machine;

    if (__atomic_load_n(&cpu->wanted, __ATOMIC_ACQUIRE) != space)
        return;
    if (cpu->space != space)
        soft_tlb_switch(cpu, space);
    __atomic_store_n(&cpu->space, space, __ATOMIC_RELAXED);
    cpu->root = root;
    if (machine->threads)
        meet(machine, space);
    __atomic_store_n(&cpu->wanted, no_wish(machine), __ATOMIC_RELEASE);
}

void soft_cpus_run(struct soft_machine *machine, struct quire_space *space, pfn_t root)
{
    for (uint32_t i = 0; i < machine->cpu_count; i++) {
        struct soft_cpu *cpu = &machine->cpus[i];

        while (__atomic_load_n(&cpu->wanted, __ATOMIC_ACQUIRE) == space) {
            if (hold(cpu)) {
                run(cpu, space, root);
                let_go(cpu);
            } else {
                host_wait(machine->host, &cpu->state);
            }
        }
    }
}

void soft_cpu_run(struct soft_cpu *cpu, struct quire *q, struct quire_space *space)
{
    bool was_in = soft_cpu_pause(cpu);

    __atomic_store_n(&cpu->wanted, space, __ATOMIC_RELEASE);
    quire_space_activate(q, space);
    if (was_in)
        soft_cpu_enter(cpu);
}
