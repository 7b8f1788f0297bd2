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

void qi_claim(struct qi_cpu *cpu, uint32_t what)
{
    for (;;) {
        uint64_t nobody = 0;
        uint64_t epoch = qi_load(&cpu->q->epoch), now;
        if (qi_change(&cpu->claim, &nobody, epoch << 32 | what)) {
            /* Whoever ends an epoch now sees the claim, or this load sees what it ended. */
            now = qi_load_now(&cpu->q->epoch);
            if (now != epoch)
                qi_store(&cpu->claim, now << 32 | what);
            return;
        }
        host_wait(cpu->host, &cpu->claim);
    }
}

static struct qi_cpu *claim_mine(struct quire *q, uint32_t what)
{
    uint32_t index = q->cpu_count > 1 ? host_cpu(q->host) : 0;
    qi_assert(index < q->cpu_count);
    qi_claim(&q->cpus[index], what);
    return &q->cpus[index];
}

struct qi_cpu *qi_enter(struct quire *q) { return claim_mine(q, CLAIM_ALONE); }

struct qi_cpu *qi_enter_shared(struct quire_space *space)
{
    for (;;) {
        struct qi_cpu *cpu = claim_mine(space->q, space->index + 1);
        if (qi_load_now(&space->writer) == 0 || QI_CANARY(QI_CANARY_WRITER_NOT_SEEN))
            return cpu;
        qi_leave(cpu);
        host_wait(space->q->host, &space->writer);
    }
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
        qi_leave(cpu);
        host_wait(space->q->host, &space->writer);
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
        qi_leave(cpu);
        host_wait(a->q->host, &b->writer);
    }
}

void qi_leave(struct qi_cpu *cpu)
{
    qi_check(cpu->ranks == 0);
    qi_frames_settle(cpu);
    for (unsigned i = 0; i < 2; i++) {
        struct quire_space *space = cpu->exclusive[i];
        cpu->exclusive[i] = NULL;
        if (space)
            qi_store(&space->writer, 0u);
    }
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
