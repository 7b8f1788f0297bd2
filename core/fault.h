/* SPDX-License-Identifier: MIT */
/*
 * Faults, and the write fault.  See fault.c, copy.c.
 */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include "section.h"

/* A try met an entry that another call is changing: wait for it, and try again. */
#define QI_AGAIN QUIRE_STATUS_COUNT
/* A try needs a page of a section that is not in memory: fault->section, which it has a reference
 * to, and fault->page. */
#define QI_BRING ((enum quire_status)(QUIRE_STATUS_COUNT + 1))

/* A try needs a page that is not in memory: fault->slot. */
#define QI_OUT ((enum quire_status)(QUIRE_STATUS_COUNT + 2))
/* The space has as many pages in memory as it may have. */
#define QI_SHRINK ((enum quire_status)(QUIRE_STATUS_COUNT + 3))

/* One fault from start to end: what was asked, and what the tries found. */
struct qi_fault {
    struct quire_space *space;
    vaddr_t address; /* of the page */
    uint32_t asked;  /* one of QUIRE_READ, QUIRE_WRITE, QUIRE_EXEC */
    uint32_t rights; /* what the region must allow: the same; for a pin, what the device does;
                        nothing for a debugger */
    bool no_wait;
    bool counted;       /* as a fault, in the statistics */
    bool grows;         /* QUIRE_NOT_MAPPED: the next region above is a stack */
    uint32_t access;    /* what this try is about: what was asked, but for a pin on a shared view */
    uint32_t prot;      /* of the region, when it was looked up; and the following */
    view_t view;        /* what it shows; 0: private memory */
    bool shared;        /* a view whose writes go to the section */
    vaddr_t low, high;  /* where it lies */
    pfn_t leaf;         /* of the section, which has the page: as qi_view_need found it */
    uint32_t need;      /* frames that the last try needed */
    uint32_t more;      /* and those to find besides (qi_wait_for_more) */
    uint32_t copies;    /* and those of them that went into copies */
    pfn_t pfn;          /* on success: the frame that the page has now */
    struct qi_cpu *cpu; /* of the last try */
    const void *key;    /* QI_AGAIN: what to wait for */
    struct quire_section *section; /* QI_BRING */
    uint64_t page;                 /* the same */
    slot_t slot;                   /* QI_OUT */
};

/*
 * Make the access possible.  QUIRE_OK: the space is held shared, and the page is as asked until the
 * caller leaves (fault->cpu).  Else nothing is held: the statuses of quire_fault.
 */
enum quire_status qi_fault_resolve(struct qi_fault *fault);

/*
 * The frames that a write takes besides tables, 0 or 1, to an entry of a table that is the space's
 * own.
 */
static inline uint32_t qi_copy_need(const struct quire *q, entry_t e, enum qi_kind kind)
{
    if (kind == QI_OWN || kind == QI_BARRED)
        return 0;
    return !((kind == QI_BORROWED || kind == QI_PROTOTYPE) &&
             qi_home_movable(q, qi_entry_home(q, e)));
}
/*
 * A look that met a hidden entry, or shared tables on its way and so may have ended in what was
 * another space's by then, has seen no page that is out.  So once more, in the leaf that is the
 * space's own now: true, for QI_OUT, if the page is not in memory.
 */
bool qi_fault_out(struct qi_fault *fault, const struct qi_look *look, pfn_t table);

/*
 * The write fault: makes the entry at fault->address the space's own, and writable if the region
 * allows that.  QUIRE_OK, QI_AGAIN, QI_OUT, QUIRE_GUARDED.  Sets fault->copies.
 */
enum quire_status qi_copy_write(struct qi_fault *fault, const struct qi_look *look);

/* The page stays if the range is locked; see limit.c.  The fault succeeded, in a space with locks.
 */
void qi_fault_marks(const struct qi_fault *fault);

/* ---- views: see view.c --------------------------------------------------------------------- */

/* Find fault->leaf; returns how many frames using a page in it may take. */
uint32_t qi_view_need(struct qi_fault *fault);
/*
 * Map the page of the section in the empty entry of the faulting page in `table`, a leaf that is
 * the space's own; for writing, or for reading and with its neighbours.  QUIRE_OK, QI_AGAIN,
 * QI_BRING, QUIRE_BEYOND_END.
 */
enum quire_status qi_view_map(struct qi_fault *fault, pfn_t table, bool write);
/* Use the section's page without an entry for it yet; false: it is not there. */
bool qi_view_use(struct qi_fault *fault, pfn_t *frame);
/* It is not there: QI_BRING or QUIRE_BEYOND_END. */
enum quire_status qi_view_missing(struct qi_fault *fault);
/* The page of a section, which the caller uses, is about to be written. */
void qi_view_changed(struct qi_cpu *cpu, pfn_t page);
/* The entry that maps it. */
static inline entry_t qi_view_entry(const struct qi_fault *fault, pfn_t frame, bool write)
{
    return entry_page(frame, fault->prot, write) | ENTRY_SECTION;
}

/* May a region (null: there is none) grow down for an access with these rights (0: whatever it
 * allows)? */
static inline bool qi_stack_grows(const struct qi_region *region, uint32_t rights)
{
    return region && (region->flags & QUIRE_REGION_GROWS_DOWN) &&
           !(region->flags & QUIRE_REGION_RESERVED) && (region->prot & rights || rights == 0);
}

/*
 * After a fault below a region that grows down, with nothing held.  QUIRE_OK: try again;
 * QUIRE_NOT_MAPPED, QUIRE_NO_MEMORY, QUIRE_NO_COMMIT.
 */
enum quire_status qi_stack_grow(struct qi_fault *fault);

/* A child of a space that this call holds exclusively; *need: frames wanted for QUIRE_NO_MEMORY. */
enum quire_status qi_fork_locked(struct qi_cpu *cpu, struct quire_space *parent,
                                 struct quire_space **out, uint32_t *need);

#endif
