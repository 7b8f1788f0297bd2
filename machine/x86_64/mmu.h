/* SPDX-License-Identifier: MIT */
/*
 * What the x86-64 machine needs to know from the kernel that embeds it: struct mmu is
 * config.machine.
 */
#ifndef MACHINE_MMU_H
#define MACHINE_MMU_H

#include <quire/quire.h>

struct mmu {
    /* The kernel's half: entries MMU_ROOT_ENTRIES.. of this table go into every root. Never changes
     * after quire_create (the tables below it may). */
    const uint64_t *kernel_root;
    uint64_t kernel_cr3; /* its physical address: what runs when no space does */

    /* The machine's own: the space in CR3, and its CR3. */
    struct quire_space *running;
    uint64_t cr3;

    /* How often the processor was told to forget. */
    uint64_t flushed_pages, flushed_all;
};

#endif
