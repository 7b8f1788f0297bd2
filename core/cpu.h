/* SPDX-License-Identifier: MIT */
/*
 * What each CPU has of its own, and the locks that it takes.
 *
 * Six classes, always taken in this order:
 *
 *   claim    a CPU's record, by one call at a time; see qi_enter
 *   space    shared: the claim names the space.  Exclusive: space->writer, and no claim names it
 *   section  the shape of a section's tree
 *   table    the word in a table's frame record, or that of a space over its root; one at a time
 *   nodes    all region nodes of the manager
 *   list     free frames, tables to be dropped, records of spaces and pins
 *
 * The claim is one word that says who is in quire, on behalf of which space, and since which
 * epoch; only its CPU writes it, so calls on different CPUs share no line for it.  Whoever wants a
 * space exclusively writes space->writer and then looks at every claim; a call writes its claim and
 * then looks at space->writer.  Both are sequentially consistent, so one of them sees the other
 * (Dekker's argument; the read side is what Linux calls a per-CPU reader-writer semaphore).
 *
 * No call ever waits for another while it holds a section, table, nodes or list lock.
 */
#ifndef CORE_CPU_H
#define CORE_CPU_H

#include "lock.h"

struct qi_lock {
    uint32_t word; /* 0 free, 1 held */
};

enum qi_rank { QI_RANK_SECTION = 1, QI_RANK_TABLE = 2, QI_RANK_NODES = 4, QI_RANK_LIST = 8 };

/* Free frames that one CPU keeps, by colour, linked by `next` of their records. */
struct qi_cache {
    uint32_t count;
    pfn_t head[2][QUIRE_COLOURS_MAX]; /* [0] free, [1] zeroed; QI_NO_FRAME: empty */
};

/* Frames that were freed while other calls were in progress, which may still look at them. */
struct qi_limbo {
    pfn_t head;
    uint32_t count, epoch; /* calls that began in a later epoch can not know these frames */
};

enum { QI_FRAME_STATES = 12 };

/* Spaces that one call can hold exclusively: two, and a new one that nobody has seen. */
enum { QI_HELD = 3 };

/* One CPU.  Everything but the claim is its call's alone while the claim is held. */
struct qi_cpu {
    uint64_t claim; /* 0: nobody.  Else the epoch, above, and the space's index + 1, or a CLAIM_ */
    struct quire *q;
    struct quire_space *exclusive[QI_HELD]; /* what this call holds exclusively; null: nothing */
    void *host;
    uint32_t index;       /* of this record */
    bool alone;           /* the manager has no other: only a claim needs an atomic change */
    bool unsettled;       /* for qi_frames_settle: it has something to look at */
    uint32_t next_colour; /* for frames whose colour does not matter */
    uint32_t ranks;       /* enum qi_rank: locks held, for checks in the test build */
    struct qi_cache cache;
    struct qi_limbo limbo[2];           /* [0] being filled, [1] closed: waits for its epoch */
    uint32_t by_state[QI_FRAME_STATES]; /* frames that this CPU brought into each state, minus
                                           those it took out: only the sum of all CPUs counts */
    struct quire_stats stats;           /* counters, likewise */
} __attribute__((aligned(64)));

/* As qi_change and qi_add, of a word that changes within calls only (and no machine writes it). */
static inline bool cpu_change(const struct qi_cpu *cpu, uint32_t *word, uint32_t *expected,
                              uint32_t to)
{
    if (!cpu->alone)
        return qi_change(word, expected, to);
    qi_check(qi_load(word) == *expected);
    qi_store(word, to);
    return true;
}
static inline uint32_t cpu_add(const struct qi_cpu *cpu, uint32_t *word, uint32_t n)
{
    if (!cpu->alone)
        return qi_add(word, n);
    uint32_t was = qi_load(word);
    qi_store(word, was + n);
    return was;
}

/* Take a lock that was found held. */
void qi_lock_wait(struct qi_cpu *cpu, struct qi_lock *lock);
/* A manager with one CPU has one call at a time, which meets no lock. */
static inline void lock_take(struct qi_cpu *cpu, struct qi_lock *lock, enum qi_rank rank)
{
    qi_check(cpu->ranks < (uint32_t)rank); /* nothing of this class or a later one is held */
    qi_checked(cpu->ranks |= (uint32_t)rank);
    (void)rank;
    uint32_t free = 0;
    if (!cpu->alone && qi_rarely(!qi_change(&lock->word, &free, 1)))
        qi_lock_wait(cpu, lock);
}

static inline void lock_drop(struct qi_cpu *cpu, struct qi_lock *lock, enum qi_rank rank)
{
    qi_check(cpu->ranks & (uint32_t)rank);
    qi_checked(cpu->ranks &= ~(uint32_t)rank);
    (void)rank;
    if (!cpu->alone)
        qi_store(&lock->word, 0u);
}

/* What stands in a claim besides the number of a space plus 1. */
#define CLAIM_ALONE UINT32_C(0xfffffffe)   /* a call that holds no space shared */
#define CLAIM_OUTSIDE UINT32_C(0xffffffff) /* one that looks at nothing that others may free */

static inline uint32_t claim_space(uint64_t claim) { return (uint32_t)claim; }
/* The call began after that epoch ended, or there is none, or it does not matter. */
static inline bool claim_newer(uint64_t claim, uint32_t epoch)
{
    return claim == 0 || claim_space(claim) == CLAIM_OUTSIDE ||
           (int32_t)((uint32_t)(claim >> 32) - epoch) > 0;
}
/* Claim this record; may host_wait. */
void qi_claim(struct qi_cpu *cpu, uint32_t what);

/*
 * Begin a call: claim this CPU, and hold the space shared or exclusively (or none).  May host_wait,
 * holding nothing.
 */
struct qi_cpu *qi_enter(struct quire *q);
struct qi_cpu *qi_enter_shared(struct quire_space *space);
struct qi_cpu *qi_enter_exclusive(struct quire_space *space);
/* Two spaces of one manager, neither of them null, not the same. */
struct qi_cpu *qi_enter_both(struct quire_space *a, struct quire_space *b);
/* Hold a new space, which nobody knows yet; and let go of one before the end of the call. */
void qi_hold_new(struct qi_cpu *cpu, struct quire_space *space);
void qi_let_go(struct qi_cpu *cpu, struct quire_space *space);
/* End it: everything is let go. */
void qi_leave(struct qi_cpu *cpu);

/* All calls of all CPUs: returns this CPU's record when nobody else is in quire. */
struct qi_cpu *qi_stop_all(struct quire *q);
void qi_go_all(struct quire *q);

#endif
