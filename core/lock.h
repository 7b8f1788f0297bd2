/* SPDX-License-Identifier: MIT */
/*
 * Shared words, and the lock over them.
 *
 * An entry that a machine's walker, or another CPU, may read or write at the same time is
 * accessed through entry_load, entry_store, entry_swap and entry_change; in the test build each
 * of these is a point where a schedule can switch.  Passes over whole tables read and write
 * plainly: their tables are either unpublished, or write-protected from above and changed by
 * nobody but the holder of the lock.
 *
 * Locks.  A manager has one lock, taken by every public function and held while it looks at or
 * changes anything.  It is dropped while the host finds memory and between the slices of a long
 * operation; whoever takes it again looks everything up again.
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

/* Set bits of a present entry, whatever a machine sets meanwhile. */
static inline void entry_mark(entry_t *slot, entry_t bits)
{
    entry_t e = entry_load(slot);
    while ((e & bits) != bits && !entry_change(slot, &e, e | bits))
        ;
}

struct qi_lock {
    uint32_t word; /* 0 free, 1 held, 2 held and somebody waits */
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
