/* SPDX-License-Identifier: MIT */
/*
 * The production TLB: a direct-mapped array of SOFT_TLB_ENTRIES pages for each CPU.
 *
 * It holds translations of the space that the CPU runs, and no others.  A slot's tag is the page
 * number with the CPU's generation above it, so flushing everything is an increment, and so is a
 * change of space.  A page number has QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT bits (36 in the real
 * geometry), which leaves the generation 28: when it wraps, the array is cleared once, 2^28 flushes
 * after the last time.
 *
 * There are three tags, one for each kind of access, so that the fast path in soft.h is one
 * comparison; 0 is never a valid tag because no generation is 0.
 */
#include "tlb.h"

#ifndef QUIRE_TEST

enum { PAGE_NUMBER_BITS = QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT };

static struct soft_translation *slot_of(struct soft_cpu *cpu, vaddr_t address)
{
    return &cpu->tlb[(address >> QUIRE_PAGE_SHIFT) & (SOFT_TLB_ENTRIES - 1)];
}

static uint64_t tag_of(const struct soft_cpu *cpu, vaddr_t address)
{
    return cpu->generation | (address >> QUIRE_PAGE_SHIFT);
}

static void generation_next(struct soft_cpu *cpu)
{
    cpu->generation += UINT64_C(1) << PAGE_NUMBER_BITS;
    if (cpu->generation)
        return;
    memset(cpu->tlb, 0, sizeof cpu->tlb);
    cpu->generation = UINT64_C(1) << PAGE_NUMBER_BITS;
}

size_t soft_tlb_size(const struct soft_config *config)
{
    (void)config;
    return 0;
}

void soft_tlb_init(struct soft_cpu *cpu, void *memory)
{
    (void)memory;
    generation_next(cpu);
}

unsigned char *soft_tlb_find(struct soft_cpu *cpu, vaddr_t address, uint32_t access)
{
    const struct soft_translation *t = slot_of(cpu, address);
    uint64_t tag = access == QUIRE_WRITE  ? t->write_tag
                   : access == QUIRE_EXEC ? t->exec_tag
                                          : t->read_tag;

    if (address >= MMU_ADDRESS_END)
        return NULL;
    return tag == tag_of(cpu, address) ? t->bytes : NULL;
}

void soft_tlb_fill(struct soft_cpu *cpu, vaddr_t address, const struct soft_path *page)
{
    struct soft_translation *t = slot_of(cpu, address);

    t->read_tag = tag_of(cpu, address);
    t->write_tag = page->write ? t->read_tag : 0;
    t->exec_tag = page->exec ? t->read_tag : 0;
    t->bytes = soft_frame(cpu->machine, page->pfn);
}

void soft_tlb_flush_page(struct soft_cpu *cpu, struct quire_space *space, vaddr_t address)
{
    struct soft_translation *t = slot_of(cpu, address);

    if (cpu->space != space || t->read_tag != tag_of(cpu, address))
        return;
    t->read_tag = t->write_tag = t->exec_tag = 0;
}

void soft_tlb_flush_range(struct soft_cpu *cpu, struct quire_space *space, vaddr_t low,
                          vaddr_t high)
{
    if (cpu->space != space)
        return;
    if ((high - low) >> QUIRE_PAGE_SHIFT > SOFT_TLB_ENTRIES / 4) {
        generation_next(cpu);
        return;
    }
    for (vaddr_t a = low; a < high; a += QUIRE_PAGE_SIZE)
        soft_tlb_flush_page(cpu, space, a);
}

void soft_tlb_flush_space(struct soft_cpu *cpu, struct quire_space *space)
{
    if (cpu->space == space)
        generation_next(cpu);
}

void soft_tlb_switch(struct soft_cpu *cpu) { generation_next(cpu); }

unsigned soft_tlb_check(struct soft_cpu *cpu)
{
    unsigned findings = 0;
    uint64_t mask = (UINT64_C(1) << PAGE_NUMBER_BITS) - 1;

    for (uint32_t i = 0; cpu->space && i < SOFT_TLB_ENTRIES; i++) {
        const struct soft_translation *t = &cpu->tlb[i];
        vaddr_t address = (t->read_tag & mask) << QUIRE_PAGE_SHIFT;
        struct soft_path now;

        if ((t->read_tag & ~mask) != cpu->generation)
            continue;
        if (!soft_look(cpu->machine, cpu->space, address, 0, &now) ||
            soft_frame(cpu->machine, now.pfn) != t->bytes || (t->write_tag && !now.write) ||
            (t->exec_tag && !now.exec)) {
            soft_violation(cpu, "holds a translation that the tables do not give", address, 0);
            findings++;
        }
    }
    return findings;
}

#else
/* A translation unit must not be empty. */
typedef int soft_tlb_is_in_stale_c;
#endif
