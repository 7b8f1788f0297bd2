/* SPDX-License-Identifier: MIT */
/*
 * Hooks: what the proof needs from the library, and what vanishes without QUIRE_TEST.
 *
 * A *site* is a place where an operation can fail for want of memory; a test can make any one
 * of them fail.  A *canary* is a deliberate bug, compiled in by number; each must be found by
 * some test, or the tests are too weak.  A *touch* is an access to memory that other CPUs may
 * access at the same time: the place where a schedule test switches.  Programs that link the
 * test build define the three functions below.
 */
#ifndef CORE_HOOK_H
#define CORE_HOOK_H

#include <stdbool.h>

/* The number is part of a failing test's id: append only. */
enum qi_site {
    QI_SITE_FAULT,        /* the frames of one fault, taken together */
    QI_SITE_SPACE_ROOT,   /* the root table of a new space */
    QI_SITE_SPACE_RECORD, /* the record of a new space or child */
    QI_SITE_NODE,         /* one region node */
    QI_SITE_RANGE,        /* the frames that cutting a range out of shared tables needs */
    QI_SITE_TAKE,         /* a frame for the embedder */
    QI_SITE_COUNT
};

enum qi_canary {
    QI_CANARY_NONE,
    QI_CANARY_UNSHARE_LEAVES_W,   /* H1: unshare leaves W set in the entries of the original */
    QI_CANARY_NO_PUSH_DOWN,       /* H2: an upper entry gets W without clearing W below it first */
    QI_CANARY_LOOSEN_SHARED,      /* H3: execute permission is granted in a shared table */
    QI_CANARY_NO_TABLE_FLUSH,     /* H4: a replaced table is not flushed */
    QI_CANARY_DEAD_TABLE_BORROWS, /* H5: a table without parents keeps its borrowed entries */
    QI_CANARY_BUSY_LOOKS_EMPTY, /* H8: an entry is empty while it changes, and its count is dropped
                                   early */
    QI_CANARY_UNHIDE_IN_PLACE,  /* H15: unhiding exposes pages that their region forbids */
    QI_CANARY_DISCARD_IN_PLACE, /* H26: a page is discarded in a table that lends it */
    QI_CANARY_REUSE_IGNORES_SHARE,  /* the last borrower reuses a page that the lender still maps */
    QI_CANARY_FROZEN_IS_EXCLUSIVE,  /* a table that lends is written in place */
    QI_CANARY_NO_COPY_FLUSH,        /* the old translation survives the copy */
    QI_CANARY_NO_FORK_FLUSH,        /* fork leaves writable translations behind */
    QI_CANARY_NO_PROTECT_FLUSH,     /* protect returns before the old rights are gone */
    QI_CANARY_ZERO_PAGE_WRITABLE,   /* H13: the zero page is treated as the writer's own */
    QI_CANARY_COPY_KEEPS_USE,       /* a copy does not give back the page it replaced */
    QI_CANARY_FAILURE_LEAKS,        /* a fault that runs out of memory keeps what it had reserved */
    QI_CANARY_CUT_KEEPS_PAGE,       /* unmapping leaves the last page of the range in the table */
    QI_CANARY_DIRTY_LOST,           /* the dirty bit is dropped when W is cleared */
    QI_CANARY_FREE_WITHOUT_ZEROING, /* a fresh page shows what its frame held before */
    QI_CANARY_COUNT
};

#ifdef QUIRE_TEST
/* True: this passage of the site fails. */
bool qi_test_fail(enum qi_site site);
/* The deliberate bug to run with. */
extern enum qi_canary qi_test_canary;
/* Before each access to shared state. */
void qi_test_touch(const void *address, bool write);
#define QI_FAIL(site) qi_test_fail(site)
#define QI_CANARY(number) (qi_test_canary == (number))
#define QI_TOUCH(address, write) qi_test_touch(address, write)
#else
#define QI_FAIL(site) false
#define QI_CANARY(number) false
#define QI_TOUCH(address, write) ((void)0)
#endif

#endif
