/* SPDX-License-Identifier: MIT */
/*
 * Shared words, and the lock over them.
 *
 * Everything that another CPU or the machine's walker may read or write at the same time is
 * accessed through load, store and update below; in the test build each access is a point where
 * a schedule can switch.
 *
 * Locks.  A manager has one lock, taken by every public function and held while it changes
 * anything.  It is dropped while the host finds memory and between the slices of a long
 * operation; whoever takes it again looks everything up again.  Ranks exist so that the one
 * lock can become the five of design.md (space, page table, prototype table, frame, list)
 * without changing who may take what while holding what: debug builds check them.
 */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include <quire/host.h>

#include "hook.h"
#include "kind.h"

#define qi_assert(condition) ((condition) ? (void)0 : host_panic(#condition, __FILE__, __LINE__))
/* Checks that cost more than a compare run in the test build only. */
#ifdef QUIRE_TEST
#define qi_check(condition) qi_assert(condition)
#else
#define qi_check(condition) ((void)0)
#endif

static inline entry_t entry_load(const entry_t *slot)
{
    QI_TOUCH(slot, false);
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}
static inline void entry_store(entry_t *slot, entry_t e)
{
    QI_TOUCH(slot, true);
    __atomic_store_n(slot, e, __ATOMIC_RELEASE);
}
/* For an entry whose accessed and dirty bits a machine may set meanwhile: returns what was there.
 */
static inline entry_t entry_swap(entry_t *slot, entry_t e)
{
    QI_TOUCH(slot, true);
    return __atomic_exchange_n(slot, e, __ATOMIC_ACQ_REL);
}

/* Replace *e, which was loaded before, by `to`; false: the entry changed, and *e is what it is now.
 */
static inline bool entry_change(entry_t *slot, entry_t *e, entry_t to)
{
    QI_TOUCH(slot, true);
    return __atomic_compare_exchange_n(slot, e, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

enum qi_rank { QI_RANK_NONE, QI_RANK_MANAGER };

struct qi_lock {
    uint32_t word; /* 0 free, 1 held, 2 held and somebody waits */
    enum qi_rank rank;
};

static inline void lock_take(struct qi_lock *lock, void *host)
{
    uint32_t expected = 0;
    QI_TOUCH(lock, true);
    if (__atomic_compare_exchange_n(&lock->word, &expected, 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
        host_wait(host, &lock->word);
}

static inline void lock_drop(struct qi_lock *lock, void *host)
{
    QI_TOUCH(lock, true);
    qi_check(lock->word != 0);
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
        host_wake(host, &lock->word);
}

#endif
