/* SPDX-License-Identifier: MIT */
/*
 * Hooks: what the proof needs from the library, and what vanishes without QUIRE_TEST.
 *
 * A *site* is a place where an operation can fail for want of memory; a test can make any one
 * of them fail.  A *canary* is a deliberate bug, compiled in by number; each must be found by
 * some test, or the tests are too weak.  Every access to a word that another CPU may access at
 * the same time passes one of qi_test_load, qi_test_store, qi_test_touch: a point where a
 * schedule can switch, and where a test may delay a store as a processor's buffer does.
 * Programs that link the test build define the functions below.
 */
#ifndef CORE_HOOK_H
#define CORE_HOOK_H

#include <stdbool.h>
#include <stdint.h>

/* The number is part of a failing test's id: append only. */
enum qi_site {
    QI_SITE_FAULT,        /* the frames of one fault, taken together */
    QI_SITE_SPACE_ROOT,   /* the root table of a new space */
    QI_SITE_SPACE_RECORD, /* the record of a new space or child */
    QI_SITE_NODE,         /* one region node */
    QI_SITE_RANGE,        /* the frames that cutting a range out of shared tables needs */
    QI_SITE_TAKE,         /* a frame for the embedder */
    QI_SITE_FORK,         /* the frames that the exceptions of a fork need */
    QI_SITE_SECTION,      /* the frames of one page of a section, or of several that are read */
    QI_SITE_PAGE_IN,      /* the frames of pages that are read from a page file */
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
    QI_CANARY_PIN_WITHOUT_HINT,     /* H10, H11: fork does not learn of a pin */
    /* Many CPUs. */
    QI_CANARY_ROOT_BUSY_IGNORED,    /* a root that is being replaced counts as the space's own */
    QI_CANARY_READERS_NOT_AWAITED,  /* the exclusive hold does not wait for calls in progress */
    QI_CANARY_WRITER_NOT_SEEN,      /* a shared hold begins during an exclusive one */
    QI_CANARY_LEAF_NOT_LOCKED,      /* the write fault changes a leaf without its lock */
    QI_CANARY_LENDER_NOT_LOCKED,    /* a use is given back without the lender's lock */
    QI_CANARY_COPY_BEFORE_FLUSH,    /* row 13: a page is published while others see the old one */
    QI_CANARY_RELEASE_BEFORE_FLUSH, /* rows 15, 21: a table is given up before its flush */
    QI_CANARY_FORK_BEFORE_FAULTS,   /* row 32: fork does not keep faults out */
    /* The other operations. */
    QI_CANARY_PROMISE_KEPT,       /* a space that goes keeps what was promised to it */
    QI_CANARY_CHILD_NOT_CHARGED,  /* row 43: fork promises nothing for the child */
    QI_CANARY_OMIT_IGNORED,       /* the child gets a range that it should not have */
    QI_CANARY_WIPE_IGNORED,       /* the child sees what should have been wiped */
    QI_CANARY_MOVE_NO_FLUSH,      /* row 16: a page moves, and its old translation stays */
    QI_CANARY_PIN_LOST_BY_UNMAP,  /* a page that is pinned is freed by unmapping */
    QI_CANARY_UNPIN_TWICE,        /* row 30: a dead handle is taken for a live one */
    QI_CANARY_PULL_SHARED,        /* a home that others use is pulled */
    QI_CANARY_DIFF_BY_TABLE_ONLY, /* row 60: pages whose table was replaced are not compared */
    QI_CANARY_FORCE_GRANTS_WRITE, /* row 70: a debugger's write leaves the page writable */
    QI_CANARY_COPIES_UNLIMITED,   /* the limit on copies is not looked at */
    QI_CANARY_RESERVED_IS_MEMORY, /* an access to reserved addresses gets a page */
    QI_CANARY_STACK_WITHOUT_GAP,  /* a stack grows into the gap below it */
    /* Many CPUs, and what takes three of them to see. */
    QI_CANARY_SHARE_BEFORE_BUSY,      /* the parents are counted before the entry above is busy */
    QI_CANARY_NO_LIMBO,               /* a freed frame is used while calls may be looking at it */
    QI_CANARY_SHARED_READ_NOT_LOCKED, /* a shared page is read without its table's lock */
    QI_CANARY_ROOT_BEFORE_FLUSH,      /* a new root is published before its flush */
    /* Sections. */
    QI_CANARY_FAILED_WRITE_CLEAN,   /* row 53: a page whose write failed counts as unchanged */
    QI_CANARY_SYNC_LEAVES_WRITABLE, /* row 52: a view goes on writing a page that counts as written
                                     */
    QI_CANARY_VIEW_NOT_DIRTY,    /* H14: a view may write, and the page does not count as changed */
    QI_CANARY_CUT_KEEPS_VIEWS,   /* a section is cut off under views that keep its pages */
    QI_CANARY_TAIL_NOT_CLEARED,  /* a section that grows shows what was cut off before */
    QI_CANARY_VIEWS_NOT_FLUSHED, /* pages that a copy of a leaf leaves out stay known to machines */
    QI_CANARY_PRIVATE_WRITES_FILE, /* a private view writes the section's page */
    QI_CANARY_CLONE_NO_FLUSH,      /* the source goes on writing what it has lent */
    QI_CANARY_PINNED_WRITTEN,      /* H12: what a device writes after the write-back is forgotten */
    /* Paging. */
    QI_CANARY_LEAVES_UNFLUSHED,     /* a page leaves, and machines go on using it */
    QI_CANARY_LEAVES_CLEAN,         /* what was written since a page came back is forgotten */
    QI_CANARY_PINNED_LEAVES,        /* a page leaves while a device uses it */
    QI_CANARY_LOCKED_LEAVES,        /* a page leaves that is locked */
    QI_CANARY_LENT_LEAVES,          /* a page leaves its home while borrowers map it */
    QI_CANARY_SLOT_FREE_TOO_EARLY,  /* a slot is given to another while it is read or written */
    QI_CANARY_UNWRITTEN_IS_CLEAN,   /* a page that comes back unwritten keeps its slot */
    QI_CANARY_UNREAD_IS_THERE,      /* a page that could not be read comes back all the same */
    QI_CANARY_UNWRITTEN_IS_STANDBY, /* a page whose write failed may lose its frame */
    QI_CANARY_OUT_BELOW_HIDDEN,     /* a page that left below a hidden entry is not looked for */
    QI_CANARY_LIMBO_NOT_AWAITED,    /* what was freed is used again before older calls have ended */
    QI_CANARY_COUNT
};

#ifdef QUIRE_TEST
/* True: this passage of the site fails.  And did one, since that was asked last? */
bool qi_test_fail(enum qi_site site);
bool qi_test_failed(void);
/* The deliberate bug to run with. */
extern enum qi_canary qi_test_canary;
/*
 * The value of the shared word of `size` bytes (1, 4 or 8) at `address`, as this CPU sees it now;
 * and a store to one, which other CPUs may see later, but in order.
 */
uint64_t qi_test_load(const void *address, unsigned size);
void qi_test_store(void *address, uint64_t value, unsigned size);
/*
 * Before an atomic read-modify-write of a shared word of `size` bytes (1, 4 or 8): this CPU's
 * earlier stores are seen by all when it returns.
 */
void qi_test_touch(const void *address, unsigned size);
/* Before a pass over all of the table or page that starts at `address`. */
void qi_test_touch_all(const void *address, bool write);
#define QI_FAIL(site) qi_test_fail(site)
#define QI_FAILED() qi_test_failed()
#define QI_CANARY(number) (qi_test_canary == (number))
#define QI_TOUCH(address) qi_test_touch((address), sizeof *(address))
#define QI_TOUCH_ALL(address, write) qi_test_touch_all(address, write)
#else
#define QI_FAIL(site) false
#define QI_FAILED() false
#define QI_CANARY(number) false
#define QI_TOUCH(address) ((void)0)
#define QI_TOUCH_ALL(address, write) ((void)0)
#endif

#endif
