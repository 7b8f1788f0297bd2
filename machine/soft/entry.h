/* SPDX-License-Identifier: MIT */
/*
 * The entry format of the software machine.
 *
 * A machine's entry.h defines the names below and nothing else; core/kind.h makes kinds out of
 * them. Each ENTRY_ bit is one bit, set meaning yes.  The format is free, but: a zero word is
 * an empty entry, and the hardware (here: the walk in mmu.c) looks at an entry only when
 * ENTRY_PRESENT is set.
 */
#ifndef MACHINE_ENTRY_H
#define MACHINE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t entry_t;

/* Read by the machine. */
#define ENTRY_PRESENT_SHIFT 0
#define ENTRY_PRESENT (UINT64_C(1) << ENTRY_PRESENT_SHIFT)
#define ENTRY_WRITE (UINT64_C(1) << 1)
#define ENTRY_SOFT_EXEC (UINT64_C(1) << 2)
/* Set by the machine. */
#define ENTRY_ACCESSED (UINT64_C(1) << 3)
#define ENTRY_DIRTY_SHIFT 4
#define ENTRY_DIRTY (UINT64_C(1) << ENTRY_DIRTY_SHIFT)
/* Ignored by the machine. */
#define ENTRY_ZERO_SHIFT 5
#define ENTRY_ZERO (UINT64_C(1) << ENTRY_ZERO_SHIFT) /* the zero page */
#define ENTRY_OWN_SHIFT 6
#define ENTRY_OWN                                                                   \
    (UINT64_C(1) << ENTRY_OWN_SHIFT) /* in a present leaf: the frame's home is here \
                                      */
#define ENTRY_FOLDED_SHIFT 7
#define ENTRY_FOLDED (UINT64_C(1) << ENTRY_FOLDED_SHIFT) /* was dirty when W was cleared */
#define ENTRY_BUSY (UINT64_C(1) << 8)                    /* being changed by its owner */
#define ENTRY_WAS_PRESENT (UINT64_C(1) << 9)             /* in a busy entry: PRESENT before */
#define ENTRY_KIND_SHIFT 10 /* two bits: the kind of an entry that is not present */
/* The frame number of a present entry, or what the kind of another needs: 40 bits at least. */
#define ENTRY_PAYLOAD_SHIFT 14
#define ENTRY_PAYLOAD_MASK (((UINT64_C(1) << 40) - 1) << ENTRY_PAYLOAD_SHIFT)

/* Three bits: how long the page of a leaf entry has not been used. */
#define ENTRY_AGE_SHIFT 54

/* Bits that every present leaf, or every present pointer to a table, carries besides. */
#define ENTRY_LEAF_BASE ENTRY_PRESENT
#define ENTRY_TABLE_BASE (ENTRY_PRESENT | ENTRY_SOFT_EXEC)

/* Entries of a root table that belong to the space, and the end of the addresses they cover. */
#define MMU_ROOT_ENTRIES QUIRE_TABLE_ENTRIES
#define MMU_ADDRESS_END (UINT64_C(1) << QUIRE_ADDRESS_BITS)

static inline bool entry_exec(entry_t e) { return (e & ENTRY_SOFT_EXEC) != 0; }
static inline entry_t entry_with_exec(entry_t e, bool exec)
{
    return exec ? e | ENTRY_SOFT_EXEC : e & ~ENTRY_SOFT_EXEC;
}

#endif
