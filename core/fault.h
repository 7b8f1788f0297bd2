/* SPDX-License-Identifier: MIT */
/*
 * Faults, and the write fault.  See fault.c, copy.c.
 */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include "range.h"

/* A try met an entry that another call is changing: wait for it, and try again. */
#define QI_AGAIN QUIRE_STATUS_COUNT

/* One fault from start to end: what was asked, and what the tries found. */
struct qi_fault {
    struct quire_space *space;
    vaddr_t address; /* of the page */
    uint32_t access; /* one of QUIRE_READ, QUIRE_WRITE, QUIRE_EXEC */
    uint32_t rights; /* what the region must allow: the same; for a pin, what the device does;
                        nothing for a debugger */
    bool no_wait;
    bool counted;       /* as a fault, in the statistics */
    struct qi_cpu *cpu; /* of the last try */
    uint32_t prot;      /* of the region, when it was looked up */
    uint32_t need;      /* frames that the last try needed */
    pfn_t pfn;          /* on success: the frame that the page has now */
    const void *key;    /* QI_AGAIN: what to wait for */
    bool grows;         /* QUIRE_NOT_MAPPED: the next region above is a stack */
};

/*
 * Make the access possible.  QUIRE_OK: the space is held shared, and the page is as asked until the
 * caller leaves (fault->cpu).  Else nothing is held: the statuses of quire_fault.
 */
enum quire_status qi_fault_resolve(struct qi_fault *fault);

/* The frames that a write to an entry of this kind takes besides tables: 0 or 1. */
uint32_t qi_copy_need(const struct quire *q, const struct qi_look *look);
/*
 * The write fault: makes the entry at fault->address the space's own, and writable if the region
 * allows that.  QUIRE_OK, QI_AGAIN, QUIRE_GUARDED.  *copies: frames that went into copies.
 */
enum quire_status qi_copy_write(struct qi_fault *fault, const struct qi_look *look,
                                uint32_t *copies);

/*
 * After a fault below a region that grows down, with nothing held.  QUIRE_OK: try again;
 * QUIRE_NOT_MAPPED, QUIRE_NO_MEMORY, QUIRE_NO_COMMIT.
 */
enum quire_status qi_stack_grow(struct quire_space *space, vaddr_t address);

/* A child of a space that this call holds exclusively; *need: frames wanted for QUIRE_NO_MEMORY. */
enum quire_status qi_fork_locked(struct qi_cpu *cpu, struct quire_space *parent,
                                 struct quire_space **out, uint32_t *need);

#endif
