/* SPDX-License-Identifier: MIT */
/*
 * The entry format of x86-64 (Intel SDM volume 3, section 4.5; AMD APM volume 2, section 5.3).
 * The meaning of each name is in machine/soft/entry.h.  The processor ignores bits 9..11 and
 * 52..58 of a present entry, and all but bit 0 of another.
 */
#ifndef MACHINE_ENTRY_H
#define MACHINE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t entry_t;

#define ENTRY_PRESENT_SHIFT 0
#define ENTRY_PRESENT (UINT64_C(1) << ENTRY_PRESENT_SHIFT)
#define ENTRY_WRITE (UINT64_C(1) << 1)
#define ENTRY_X86_USER (UINT64_C(1) << 2)
#define ENTRY_ACCESSED (UINT64_C(1) << 5)
#define ENTRY_DIRTY_SHIFT 6
#define ENTRY_DIRTY (UINT64_C(1) << ENTRY_DIRTY_SHIFT)
#define ENTRY_X86_NX (UINT64_C(1) << 63)

#define ENTRY_ZERO_SHIFT 9
#define ENTRY_ZERO (UINT64_C(1) << ENTRY_ZERO_SHIFT)
#define ENTRY_OWN_SHIFT 10
#define ENTRY_OWN (UINT64_C(1) << ENTRY_OWN_SHIFT)
#define ENTRY_BUSY (UINT64_C(1) << 11)
#define ENTRY_KIND_SHIFT 52 /* two bits */
#define ENTRY_WAS_PRESENT (UINT64_C(1) << 54)
/* Not bit 6 with W clear: that would be a shadow stack page where CET is on (SDM volume 3, 4.6). */
#define ENTRY_FOLDED_SHIFT 58
#define ENTRY_FOLDED (UINT64_C(1) << ENTRY_FOLDED_SHIFT)
#define ENTRY_AGE_SHIFT 55 /* three bits */
#define ENTRY_PAYLOAD_SHIFT 12
#define ENTRY_PAYLOAD_MASK (((UINT64_C(1) << 40) - 1) << ENTRY_PAYLOAD_SHIFT)

#define ENTRY_LEAF_BASE (ENTRY_PRESENT | ENTRY_X86_USER)
#define ENTRY_TABLE_BASE (ENTRY_PRESENT | ENTRY_X86_USER)

/* The lower half of the addresses is a space's; the upper half is the kernel's. */
#define MMU_ROOT_ENTRIES (QUIRE_TABLE_ENTRIES / 2)
#define MMU_ADDRESS_END (UINT64_C(1) << (QUIRE_ADDRESS_BITS - 1))

static inline bool entry_exec(entry_t e) { return (e & ENTRY_X86_NX) == 0; }
static inline entry_t entry_with_exec(entry_t e, bool exec)
{
    return exec ? e & ~ENTRY_X86_NX : e | ENTRY_X86_NX;
}

#endif
