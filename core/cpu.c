/* SPDX-License-Identifier: MIT */
/*
 * Calls: how they begin and end, and how one keeps the others out.
 *
 *   shared      claim = (epoch, space)         then look at space->writer
 *   exclusive   space->writer = 1              then look at every claim until none names the space
 *   everything  every claim in turn, by its number
 *
 * A call that finds the space taken gives its claim up again before it waits, so whoever waits for
 * a claim waits for a call that runs.  A call that holds a space exclusively waits for claims that
 * name the space, whose calls wait for nobody but each other's busy entries and short locks.  So
 * nothing here can form a circle.
 */
#include "space.h"

void qi_lock_wait(struct qi_cpu *cpu, struct qi_lock *lock)
{
    for (uint32_t free = 0; !qi_change(&lock->word, &free, 1); free = 0)
        host_wait(cpu->host, &lock->word);
}

static inline bool claim_try(struct qi_cpu *cpu, const struct quire *q, uint32_t what)
{
    uint64_t nobody = 0, epoch = qi_load(&q->epoch), now;
    if (!qi_change(&cpu->claim, &nobody, epoch << 32 | what))
        return false;
    /* Whoever ends an epoch now sees the claim, or this load sees what it ended. */
    now = qi_load_now(&q->epoch);
    if (qi_rarely(now != epoch))
        qi_store(&cpu->claim, now << 32 | what);
    return true;
}

void qi_claim(struct qi_cpu *cpu, uint32_t what)
{
    while (!claim_try(cpu, cpu->q, what))
        host_wait(cpu->host, &cpu->claim);
}

static inline struct qi_cpu *claim_mine(struct quire *q, uint32_t what)
{
    struct qi_cpu *cpu = q->cpus;
    if (q->cpu_count > 1) {
        uint32_t index = host_cpu(q->host);
        qi_assert(index < q->cpu_count);
        cpu += index;
    }
    if (qi_rarely(!claim_try(cpu, q, what)))
        qi_claim(cpu, what);
    return cpu;
}

struct qi_cpu *qi_enter(struct quire *q) { return claim_mine(q, CLAIM_ALONE); }

/* Another call holds the space exclusively: give the claim up, and wait. */
static void writer_wait(struct qi_cpu *cpu, const struct quire_space *space)
{
    qi_leave(cpu);
    host_wait(space->q->host, &space->writer);
}

static inline bool writer_there(const struct quire_space *space)
{
    return qi_load_now(&space->writer) != 0 && !QI_CANARY(QI_CANARY_WRITER_NOT_SEEN);
}

static __attribute__((noinline)) struct qi_cpu *enter_again(struct qi_cpu *cpu,
                                                            const struct quire_space *space)
{
    do {
        writer_wait(cpu, space);
        cpu = claim_mine(space->q, space->index + 1);
    } while (writer_there(space));
    return cpu;
}

struct qi_cpu *qi_enter_shared(struct quire_space *space)
{
    struct qi_cpu *cpu = claim_mine(space->q, space->index + 1);
    return qi_rarely(writer_there(space)) ? enter_again(cpu, space) : cpu;
}

/* No other call holds the space shared; none will, for space->writer is this call's. */
static void wait_for_readers(struct qi_cpu *cpu, const struct quire_space *space)
{
    const struct quire *q = space->q;
    for (uint32_t i = 0; i < q->cpu_count && !QI_CANARY(QI_CANARY_READERS_NOT_AWAITED); i++)
        while (claim_space(qi_load_now(&q->cpus[i].claim)) == space->index + 1)
            host_wait(cpu->host, &q->cpus[i].claim);
}

static bool writer_set(struct quire_space *space)
{
    uint32_t nobody = 0;
    return qi_change(&space->writer, &nobody, 1);
}

struct qi_cpu *qi_enter_exclusive(struct quire_space *space)
{
    for (;;) {
        struct qi_cpu *cpu = claim_mine(space->q, CLAIM_ALONE);
        if (writer_set(space)) {
            cpu->exclusive[0] = space;
            wait_for_readers(cpu, space);
            return cpu;
        }
        writer_wait(cpu, space);
    }
}

struct qi_cpu *qi_enter_both(struct quire_space *a, struct quire_space *b)
{
    if (a->index > b->index) {
        struct quire_space *lower = b;
        b = a;
        a = lower;
    }
    for (;;) {
        struct qi_cpu *cpu = qi_enter_exclusive(a);
        if (writer_set(b)) {
            cpu->exclusive[1] = b;
            wait_for_readers(cpu, b);
            return cpu;
        }
        writer_wait(cpu, b);
    }
}

void qi_hold_new(struct qi_cpu *cpu, struct quire_space *space)
{
    unsigned i = 0;
    while (cpu->exclusive[i])
        i++;
    qi_assert(i < QI_HELD);
    while (!writer_set(space)) /* somebody looks at what the record was before */
        host_wait(cpu->host, &space->writer);
    cpu->exclusive[i] = space;
}

void qi_let_go(struct qi_cpu *cpu, struct quire_space *space)
{
    unsigned kept = 0; /* what is still held comes first: qi_leave looks there */
    for (unsigned i = 0; i < QI_HELD; i++)
        if (cpu->exclusive[i] != space)
            cpu->exclusive[kept++] = cpu->exclusive[i];
    while (kept < QI_HELD)
        cpu->exclusive[kept++] = NULL;
    qi_store(&space->writer, 0u);
}

static void exclusive_end(struct qi_cpu *cpu)
{
    for (unsigned i = 0; i < QI_HELD; i++) {
        struct quire_space *space = cpu->exclusive[i];
        cpu->exclusive[i] = NULL;
        if (space)
            qi_store(&space->writer, 0u);
    }
}

void qi_leave(struct qi_cpu *cpu)
{
    qi_check(cpu->ranks == 0);
    if (cpu->unsettled)
        qi_frames_settle(cpu);
    if (cpu->exclusive[0])
        exclusive_end(cpu);
    qi_store(&cpu->claim, UINT64_C(0));
}

struct qi_cpu *qi_stop_all(struct quire *q)
{
    for (uint32_t i = 0; i < q->cpu_count; i++)
        qi_claim(&q->cpus[i], CLAIM_OUTSIDE);
    return &q->cpus[0];
}

void qi_go_all(struct quire *q)
{
    for (uint32_t i = 0; i < q->cpu_count; i++)
        qi_leave(&q->cpus[i]);
}
