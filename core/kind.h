/* SPDX-License-Identifier: MIT */
/*
 * Kinds of entries.
 *
 * An entry is one 64-bit slot of a table.  The machine's entry.h gives its bits; this page
 * gives them meaning.  A leaf entry (in a table of level 1) is one of
 *
 *   empty      nothing was ever here, or it was discarded
 *   zero       the zero page; its own kind, counted nowhere
 *   own        a frame whose home is this entry
 *   barred     the same, not present: the region forbids every access
 *   paged      the same, where the page is in memory no more, or soon will not be: names its slot
 *   borrowed   a frame whose home is an entry of another table
 *   prototype  the same, not present: points at the home
 *   section    a frame whose home is an entry of a section's table; the region says which, so it
 * can be forgotten and found again at any time guard      every access is refused; counted nowhere,
 * as zero busy       its owner is changing it; never looks empty, and carries what it was before
 *
 * and an entry of an upper table is empty, a pointer to a table, a *hidden* pointer (not
 * present: the region forbids what the table below would allow), or busy.
 *
 * In a table that is shared or frozen (that lends), the only changes made in place are:
 * accessed bits set by the machine, the dirty bit folded away, and W cleared.  Everything else
 * leaves the table first (design-rules H26); table.c's gate is the way.
 */
#ifndef CORE_KIND_H
#define CORE_KIND_H

#include <quire/quire.h>

#include "entry.h"

_Static_assert(ENTRY_PAYLOAD_MASK >> ENTRY_PAYLOAD_SHIFT >= UINT32_MAX, "room for a pfn_t");
_Static_assert(QUIRE_LEVELS >= 2 && QUIRE_ADDRESS_BITS < 64, "a root above leaves, in 64 bits");

enum qi_kind {
    QI_EMPTY,
    QI_OWN,
    QI_ZERO,
    QI_BORROWED,
    QI_BARRED,
    QI_PROTOTYPE,
    QI_BUSY,
    QI_TABLE, /* as QI_OWN, in an upper table */
    QI_HIDDEN,
    QI_GUARD,
    QI_SECTION,
    QI_PAGED,
};

/* The kinds of entries that are not present, in the two kind bits; the last by level. */
enum {
    QI_CODE_PAGED = 0,
    QI_CODE_BARRED = 1,
    QI_CODE_PROTOTYPE = 2,
    QI_CODE_HIDDEN = 3,
    QI_CODE_GUARD = 3
};

/* The place of a page in a page file, and of the record that says what is known of it; 0: none. */
typedef uint32_t slot_t;

#define ENTRY_AGE_MASK (UINT64_C(7) << ENTRY_AGE_SHIFT)
static inline uint8_t entry_age(entry_t e) { return (uint8_t)(e >> ENTRY_AGE_SHIFT & 7); }

/* In a present entry the kind bits are free.  A borrowed page: it is a section's. */
#define ENTRY_SECTION (UINT64_C(1) << ENTRY_KIND_SHIFT)
/* A section's own page: it is being written to its pager. */
#define ENTRY_WRITING (UINT64_C(1) << ENTRY_KIND_SHIFT)

/* The place of an entry: (frame number of its table << QUIRE_TABLE_SHIFT) | index. */
typedef uint64_t home_t;

static inline home_t home_make(pfn_t table, unsigned index)
{
    return ((home_t)table << QUIRE_TABLE_SHIFT) | index;
}
static inline pfn_t home_table(home_t home) { return (pfn_t)(home >> QUIRE_TABLE_SHIFT); }
static inline unsigned home_index(home_t home)
{
    return (unsigned)(home & (QUIRE_TABLE_ENTRIES - 1));
}

static inline bool entry_present(entry_t e) { return (e & ENTRY_PRESENT) != 0; }
static inline uint64_t entry_payload(entry_t e)
{
    return (e & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT;
}
static inline pfn_t entry_pfn(entry_t e) { return (pfn_t)(e >> ENTRY_PAYLOAD_SHIFT); }
static inline unsigned entry_code(entry_t e) { return (unsigned)(e >> ENTRY_KIND_SHIFT) & 3; }

static inline enum qi_kind entry_kind(entry_t e, unsigned level)
{
    if (e == 0)
        return QI_EMPTY;
    if (e & ENTRY_BUSY)
        return QI_BUSY;
    if (!entry_present(e))
        return entry_code(e) == QI_CODE_BARRED      ? QI_BARRED
               : entry_code(e) == QI_CODE_PROTOTYPE ? QI_PROTOTYPE
               : entry_code(e) == QI_CODE_PAGED     ? QI_PAGED
               : level > 1                          ? QI_HIDDEN
                                                    : QI_GUARD;
    if (level > 1)
        return QI_TABLE;
    if (e & ENTRY_ZERO)
        return QI_ZERO;
    if (e & ENTRY_OWN)
        return QI_OWN;
    return entry_code(e) ? QI_SECTION : QI_BORROWED;
}

/* A present leaf entry as a borrower has it; with ENTRY_OWN or ENTRY_ZERO it is one of those. */
static inline entry_t entry_page(pfn_t pfn, uint32_t prot, bool write)
{
    entry_t e = ENTRY_LEAF_BASE | ENTRY_ACCESSED | ((uint64_t)pfn << ENTRY_PAYLOAD_SHIFT);
    if (write)
        e |= ENTRY_WRITE | ENTRY_DIRTY;
    return entry_with_exec(e, (prot & QUIRE_EXEC) != 0);
}
static inline entry_t entry_own(pfn_t pfn, uint32_t prot, bool write)
{
    return entry_page(pfn, prot, write) | ENTRY_OWN;
}
static inline entry_t entry_table(pfn_t pfn)
{
    return ENTRY_TABLE_BASE | ENTRY_WRITE | ENTRY_ACCESSED | ((uint64_t)pfn << ENTRY_PAYLOAD_SHIFT);
}
static inline entry_t entry_absent(unsigned code, uint64_t payload, entry_t keep)
{
    return ((uint64_t)code << ENTRY_KIND_SHIFT) | (payload << ENTRY_PAYLOAD_SHIFT) |
           (keep & ENTRY_FOLDED);
}

static inline entry_t entry_paged(slot_t slot) { return entry_absent(QI_CODE_PAGED, slot, 0); }
static inline slot_t entry_slot(entry_t e) { return (slot_t)entry_payload(e); }
/* A home: the entry that a page, or its slot, belongs to. */
static inline bool kind_home(enum qi_kind kind)
{
    return kind == QI_OWN || kind == QI_BARRED || kind == QI_PAGED;
}

/* Dirty is the hardware's bit or the folded one; clearing W folds the first into the second (H29).
 */
static inline bool entry_dirty(entry_t e) { return (e & (ENTRY_DIRTY | ENTRY_FOLDED)) != 0; }
static inline entry_t entry_fold(entry_t e)
{
    return (e & ~(ENTRY_WRITE | ENTRY_DIRTY)) |
           (((e >> ENTRY_DIRTY_SHIFT) & 1) << ENTRY_FOLDED_SHIFT);
}

static inline entry_t entry_to_busy(entry_t e)
{
    entry_t busy = (e & ~ENTRY_PRESENT) | ENTRY_BUSY;
    return e & ENTRY_PRESENT ? busy | ENTRY_WAS_PRESENT : busy;
}
static inline entry_t entry_from_busy(entry_t e)
{
    entry_t old = e & ~(ENTRY_BUSY | ENTRY_WAS_PRESENT);
    return e & ENTRY_WAS_PRESENT ? old | ENTRY_PRESENT : old;
}

/* The index of the entry for `address` in a table of `level`, and the bytes one such entry covers.
 */
static inline unsigned entry_shift(unsigned level)
{
    return QUIRE_PAGE_SHIFT + (level - 1) * QUIRE_TABLE_SHIFT;
}
static inline uint64_t entry_span(unsigned level) { return UINT64_C(1) << entry_shift(level); }

static inline uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline unsigned entry_index(vaddr_t address, unsigned level)
{
    return (unsigned)(address >> entry_shift(level)) & (QUIRE_TABLE_ENTRIES - 1);
}
static inline vaddr_t page_of(vaddr_t address) { return address & ~(vaddr_t)(QUIRE_PAGE_SIZE - 1); }

#endif
