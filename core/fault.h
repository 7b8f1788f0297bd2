/* SPDX-License-Identifier: MIT */
/*
 * Faults, the write fault, and changes to ranges of entries.  See fault.c, copy.c, range.c.
 */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include "table.h"

/* One fault from start to end: what was asked, and what the tries found. */
struct qi_fault {
    struct quire_space *space;
    vaddr_t address; /* of the page */
    uint32_t access; /* one of QUIRE_READ, QUIRE_WRITE, QUIRE_EXEC */
    uint32_t prot;   /* of the region, when it was looked up */
    uint32_t need;   /* frames that the last try needed */
    pfn_t pfn;       /* on success: the frame that the page has now */
};

/*
 * Make `access` possible.  Locked on entry and on return; dropped while it waits for memory.
 * QUIRE_OK, QUIRE_NOT_MAPPED, QUIRE_PROTECTED, QUIRE_NO_MEMORY.
 */
enum quire_status qi_fault_resolve(struct qi_fault *fault);

/* The frames that a write to an entry of this kind takes besides tables: 0 or 1. */
uint32_t qi_copy_need(const struct quire *q, const struct qi_look *look);
/* The write fault below an open path: makes the entry at fault->address the space's own, and
 * writable. */
void qi_copy_write(struct qi_fault *fault, const struct qi_look *look);

/* What a range loses; each includes what stands before it. */
enum qi_loss { QI_LOSE_NOTHING, QI_LOSE_WRITE, QI_LOSE_EXEC, QI_LOSE_ACCESS, QI_LOSE_PAGES };

struct qi_range {
    struct quire_space *space;
    vaddr_t low, high;
    enum qi_loss loss;
    uint32_t lost; /* the rights that some part of it loses, for LOSE_WRITE and LOSE_EXEC */
};
/* How many frames the change will take, for qi_reserve. */
uint32_t qi_range_need(const struct qi_range *range);
/* Change the entries of the range; one flush; cannot fail. */
void qi_range_apply(const struct qi_range *range);

#endif
