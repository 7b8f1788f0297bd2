/* SPDX-License-Identifier: MIT */
/*
 * What a machine provides.
 *
 * A machine is a TLB.  Core owns the tables; the machine remembers translations out of them
 * (and, on hardware, pointers to tables of upper levels) and forgets them when told.  Each
 * machine folder has
 *
 *   entry.h  the format of one 64-bit entry, as constants and inline functions (included by
 *            core/kind.h; see machine/soft/entry.h for the list, with comments), and
 *   mmu.c    the functions below.
 *
 * When a flush returns, no CPU holds a translation that it covers.  Flushes are called by several
 * CPUs at once, for one space and for many, with the space held (shared or exclusively) and no
 * table lock held.  A machine with several CPUs asks those that may hold translations of the space
 * to forget, all of them together, and waits for their acknowledgements.  So:
 *
 *   - A CPU that waits, here or in host_wait, goes on taking requests: two CPUs may flush at once,
 *     each waiting for the other.
 *   - Whoever takes a request takes no lock for it and does not call quire.
 *   - A CPU that does not run the space, but keeps translations of it (under an identifier), holds
 *     them all the same: it is asked too, or can not use them again.
 *   - What was stored in the tables before the call is seen by every walk that begins after it: a
 *     CPU that starts to run the space at the same time is either asked, or walks the new tables.
 *
 * No function may call quire, or wait for anything that needs it but an acknowledgement.
 *
 * The permission of a page is the AND of the W and execute bits of every entry on its path.  A
 * CPU that finds an access refused must look at the tables again, at the latest when the access
 * is retried after quire_fault: core loosens entries without a flush.
 */
#ifndef QUIRE_MACHINE_H
#define QUIRE_MACHINE_H

#include <quire/quire.h>

/* Fill what belongs to the machine in a new, zeroed root table (a kernel's half).  Copied with the
 * root ever after. */
void mmu_root_init(void *machine, uint64_t *root);

/*
 * Run `space`, whose root table is frame `root`, on this CPU; space null: no space, root is not
 * valid.  Called under the lock under which the root changes: a CPU either starts with a new root,
 * or is told by the mmu_flush_space that comes with it.
 */
void mmu_activate(void *machine, struct quire_space *space, pfn_t root);

/*
 * Forget the translations of the page at `address` in `space` on every CPU, and every cached
 * pointer to its tables of every level (x86-64's invlpg does both).
 */
void mmu_flush_page(void *machine, struct quire_space *space, vaddr_t address);

/* The same for every page of [low, high). */
void mmu_flush_range(void *machine, struct quire_space *space, vaddr_t low, vaddr_t high);

/* Forget everything of `space` on every CPU; CPUs that run it go on with the root table `root`. */
void mmu_flush_space(void *machine, struct quire_space *space, pfn_t root);

/* Forget everything of every space on every CPU.  Called while all other calls are kept out. */
void mmu_flush_all(void *machine);

#endif
