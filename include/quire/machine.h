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
 * All functions are called with the manager's lock held; none may call quire or wait.  When a
 * flush returns, no CPU holds a translation that it covers.  A machine with several CPUs
 * interrupts those that run the space and spins for their acknowledgement; the interrupt
 * handler takes no lock.
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

/* Run `space`, whose root table is frame `root`, on this CPU; space null: no space, root is not
 * valid. */
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

#endif
