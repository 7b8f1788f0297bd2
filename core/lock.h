/* SPDX-License-Identifier: MIT */
/*
 * Shared words, and locks.
 *
 * A word that another CPU, or a machine's walker, may read or write at the same time is accessed
 * through the functions below and no others; in the test build each access is a point where a
 * schedule can switch.  Loads acquire and stores release.  Passes over whole tables read plainly:
 * nobody changes what they read but for accessed bits, and each says why.
 *
 * A lock is one such word.  It is let go with a store, so nobody sleeps on it: host_wait returns
 * after a while, and the word is tried again.  Whoever holds one never waits for memory, for a
 * device, or for the acknowledgement of a flush.
 */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include <quire/host.h>

#include "hook.h"
#include "kind.h"

#define qi_assert(condition) ((condition) ? (void)0 : host_panic(#condition, __FILE__, __LINE__))
#define qi_rarely(condition) __builtin_expect((condition), 0)
/* Checks that cost more than a compare run in the test build only. */
#ifdef QUIRE_TEST
#define qi_check(condition) qi_assert(condition)
#define qi_checked(step) ((void)(step)) /* what a check will look at */
#define qi_load(p) ((__typeof__(*(p) + 0))qi_test_load((p), sizeof *(p)))
#define qi_load_now(p) qi_load(p)
#define qi_store(p, value) qi_test_store((p), (uint64_t)(value), sizeof *(p))
#else
#define qi_check(condition) ((void)0)
#define qi_checked(step) ((void)0)
#define qi_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
/* After a qi_change of this CPU, whose result others must have seen before this load is made. */
#define qi_load_now(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define qi_store(p, value) __atomic_store_n((p), (value), __ATOMIC_RELEASE)
#endif

/* Add to a shared word; returns what it was before. */
#define qi_add(p, value) (QI_TOUCH(p), __atomic_fetch_add((p), (value), __ATOMIC_SEQ_CST))
/* Store, and return what was there. */
#define qi_swap(p, value) (QI_TOUCH(p), __atomic_exchange_n((p), (value), __ATOMIC_SEQ_CST))
/* Replace *expected by `to`; false: the word is another, and *expected is what it is now. */
#define qi_change(p, expected, to)                                                            \
    (QI_TOUCH(p), __atomic_compare_exchange_n((p), (expected), (to), false, __ATOMIC_SEQ_CST, \
                                              __ATOMIC_ACQUIRE))

static inline entry_t entry_load(const entry_t *slot) { return qi_load(slot); }
static inline void entry_store(entry_t *slot, entry_t e) { qi_store(slot, e); }
/* For an entry whose accessed and dirty bits a machine may set meanwhile: returns what was there.
 */
static inline entry_t entry_swap(entry_t *slot, entry_t e) { return qi_swap(slot, e); }
static inline bool entry_change(entry_t *slot, entry_t *e, entry_t to)
{
    return qi_change(slot, e, to);
}
/* Set bits of an entry that names a page, whatever a machine sets meanwhile. */
static inline void entry_mark(entry_t *slot, entry_t bits)
{
    entry_t e = entry_load(slot);
    while ((e & bits) != bits && !entry_change(slot, &e, e | bits))
        ;
}

#endif
