/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 machine: CR3, invlpg, and the kernel's half of a root table.
 *
 * One CPU and no process-context identifiers (docs/porting.md says why).  So the TLB holds
 * translations of at most one space, the one in CR3, and of the kernel's half, which is the same in
 * all of them and never changes here.  Three rules follow:
 *
 *   - A flush for a space that does not run has nothing to do: the write to CR3 that will start it
 *     forgets everything anyway.
 *   - mmu_activate must write CR3 even when the value stays the same.  Two spaces that fork made
 *     can have the same root table until one of them writes, and flushes asked for one are not made
 *     for the other.
 *   - invlpg drops the page's translation and all cached pointers to tables for the current
 *     space (SDM volume 3, 4.10.4.1), so mmu_flush_page covers the upper levels as core wants it.
 *
 * A write to CR3 does not drop global translations; only the kernel's half is global.  A range of
 * more than FLUSH_BY_PAGE pages is cheaper to forget as a whole.
 *
 * For many CPUs the same calls are made by an interrupt on those that run the space, as
 * docs/porting.md describes; machine/soft/cpu.c is the same protocol without interrupts.
 */
#include <quire/machine.h>

#include "entry.h"
#include "mmu.h"

enum { FLUSH_BY_PAGE = 32 };

static void cr3_write(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static void page_forget(vaddr_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

void mmu_root_init(void *machine, uint64_t *root)
{
    const struct mmu *m = machine;

    for (unsigned i = MMU_ROOT_ENTRIES; i < QUIRE_TABLE_ENTRIES; i++)
        root[i] = m->kernel_root[i];
}

void mmu_activate(void *machine, struct quire_space *space, pfn_t root)
{
    struct mmu *m = machine;

    m->running = space;
    m->cr3 = space ? (uint64_t)root << QUIRE_PAGE_SHIFT : m->kernel_cr3;
    cr3_write(m->cr3);
}

void mmu_flush_page(void *machine, struct quire_space *space, vaddr_t address)
{
    struct mmu *m = machine;

    if (m->running != space)
        return;
    m->flushed_pages++;
    page_forget(address);
}

void mmu_flush_range(void *machine, struct quire_space *space, vaddr_t low, vaddr_t high)
{
    struct mmu *m = machine;

    if (m->running != space)
        return;
    if ((high - low) >> QUIRE_PAGE_SHIFT > FLUSH_BY_PAGE) {
        m->flushed_all++;
        cr3_write(m->cr3);
        return;
    }
    for (vaddr_t address = low; address < high; address += QUIRE_PAGE_SIZE) {
        m->flushed_pages++;
        page_forget(address);
    }
}

void mmu_flush_space(void *machine, struct quire_space *space, pfn_t root)
{
    struct mmu *m = machine;

    if (m->running != space)
        return;
    m->flushed_all++;
    m->cr3 = (uint64_t)root << QUIRE_PAGE_SHIFT;
    cr3_write(m->cr3);
}
