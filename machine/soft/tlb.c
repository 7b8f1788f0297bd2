/* SPDX-License-Identifier: MIT */
/*
 * The production TLB: a direct-mapped array of SOFT_TLB_ENTRIES pages for each CPU.
 *
 * A slot's tag is the page number with an identifier above it, and an identifier belongs to one
 * space.  A CPU has SOFT_SPACES of them in use, so that it keeps the translations of the spaces
 * that it ran last:
 *
 *   - Running a space again finds its identifier, and what the slots have of it.
 *   - Flushing all of the space that runs gives it a new identifier: an increment.  Flushing
 *     anything of another one takes its identifier away, which makes all of it unreachable.
 *   - Running one space more takes the identifier of one of the others away.
 *
 * An identifier that was taken away is not handed out again before the numbers run out.  A page
 * number has QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT bits (36 in the real geometry), which leaves 28
 * for identifiers.  When they have run out a new generation begins: all slots are cleared, nobody
 * has an identifier, and numbering starts again (bugs.md row 19 is a system that forgot the
 * clearing).
 *
 * There are three tags, one for each kind of access, so that the fast path in soft.h is one
 * comparison; 0 is never a valid tag because no identifier is 0.  The first identifier, NOBODY, is
 * that of a CPU which runs no space; nothing is ever filled in under it.
 *
 * Other threads read identifiers[].space, to see whether a flush concerns this CPU.  While numbers
 * run out the space that runs is without one for a moment, so they look at cpu->space too.
 */
#include "tlb.h"

#ifndef QUIRE_TEST

enum { PAGE_NUMBER_BITS = QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT };
#define NOBODY (UINT64_C(1) << PAGE_NUMBER_BITS)

static struct soft_translation *slot_of(struct soft_cpu *cpu, vaddr_t address)
{
    return &cpu->tlb[(address >> QUIRE_PAGE_SHIFT) & (SOFT_TLB_ENTRIES - 1)];
}

static uint64_t tag_of(const struct soft_cpu *cpu, vaddr_t address)
{
    return cpu->tag | (address >> QUIRE_PAGE_SHIFT);
}

/* The place of a space's identifier, or SOFT_SPACES. */
static uint32_t identifier_of(const struct soft_cpu *cpu, const struct quire_space *space)
{
    uint32_t i = 0;

    while (i < SOFT_SPACES &&
           __atomic_load_n(&cpu->identifiers[i].space, __ATOMIC_RELAXED) != space)
        i++;
    return i;
}

static void identifier_set(struct soft_cpu *cpu, uint32_t i, struct quire_space *space)
{
    __atomic_store_n(&cpu->identifiers[i].space, space, __ATOMIC_RELAXED);
    cpu->identifiers[i].tag = space ? cpu->last_tag : 0;
}

static void generation_begin(struct soft_cpu *cpu)
{
    memset(cpu->tlb, 0, sizeof cpu->tlb);
    for (uint32_t i = 0; i < SOFT_SPACES; i++)
        identifier_set(cpu, i, NULL);
    cpu->last_tag = NOBODY;
}

/* Give `space`, which the CPU runs or is about to run, an identifier that no slot has. */
static void identifier_new(struct soft_cpu *cpu, uint32_t i, struct quire_space *space)
{
    cpu->last_tag += UINT64_C(1) << PAGE_NUMBER_BITS;
    if (!cpu->last_tag) {
        generation_begin(cpu);
        cpu->last_tag += UINT64_C(1) << PAGE_NUMBER_BITS;
    }
    identifier_set(cpu, i, space);
    cpu->tag = cpu->last_tag;
}

size_t soft_tlb_size(const struct soft_config *config)
{
    (void)config;
    return 0;
}

void soft_tlb_init(struct soft_cpu *cpu, void *memory)
{
    (void)memory;
    generation_begin(cpu);
    cpu->tag = NOBODY;
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

/* Take the identifier of a space away which does not run; true if it does not. */
static bool forget_other(struct soft_cpu *cpu, const struct quire_space *space)
{
    uint32_t i;

    if (cpu->space == space)
        return false;
    i = identifier_of(cpu, space);
    if (i < SOFT_SPACES)
        identifier_set(cpu, i, NULL);
    return true;
}

static void forget_page(struct soft_cpu *cpu, vaddr_t address)
{
    struct soft_translation *t = slot_of(cpu, address);

    if (t->read_tag == tag_of(cpu, address))
        t->read_tag = t->write_tag = t->exec_tag = 0;
}

void soft_tlb_flush_page(struct soft_cpu *cpu, struct quire_space *space, vaddr_t address)
{
    if (!forget_other(cpu, space))
        forget_page(cpu, address);
}

void soft_tlb_flush_range(struct soft_cpu *cpu, struct quire_space *space, vaddr_t low,
                          vaddr_t high)
{
    if (forget_other(cpu, space))
        return;
    if ((high - low) >> QUIRE_PAGE_SHIFT > SOFT_TLB_ENTRIES / 4) {
        identifier_new(cpu, identifier_of(cpu, space), space);
        return;
    }
    for (vaddr_t a = low; a < high; a += QUIRE_PAGE_SIZE)
        forget_page(cpu, a);
}

void soft_tlb_flush_space(struct soft_cpu *cpu, struct quire_space *space)
{
    if (!forget_other(cpu, space))
        identifier_new(cpu, identifier_of(cpu, space), space);
}

void soft_tlb_flush_all(struct soft_cpu *cpu)
{
    for (uint32_t i = 0; i < SOFT_SPACES; i++)
        if (cpu->identifiers[i].space)
            soft_tlb_flush_space(cpu, cpu->identifiers[i].space);
}

void soft_tlb_switch(struct soft_cpu *cpu, struct quire_space *space)
{
    uint32_t i = space ? identifier_of(cpu, space) : 0;

    if (!space) {
        cpu->tag = NOBODY;
        return;
    }
    if (i < SOFT_SPACES) {
        cpu->tag = cpu->identifiers[i].tag;
        return;
    }
    i = identifier_of(cpu, NULL);
    if (i == SOFT_SPACES)
        i = cpu->next++ % SOFT_SPACES;
    identifier_new(cpu, i, space);
}

bool soft_tlb_may_hold(const struct soft_cpu *cpu, const struct quire_space *space)
{
    return __atomic_load_n(&cpu->space, __ATOMIC_RELAXED) == space ||
           identifier_of(cpu, space) < SOFT_SPACES;
}

/* Whose the identifier in a slot's tag is; null: nobody's, so the slot is not used. */
static struct quire_space *space_of(const struct soft_cpu *cpu, uint64_t identifier)
{
    for (uint32_t i = 0; i < SOFT_SPACES; i++) {
        if (cpu->identifiers[i].space && cpu->identifiers[i].tag == identifier)
            return cpu->identifiers[i].space;
    }
    return NULL;
}

unsigned soft_tlb_check(struct soft_cpu *cpu)
{
    unsigned findings = 0;
    uint64_t mask = (UINT64_C(1) << PAGE_NUMBER_BITS) - 1;

    for (uint32_t i = 0; i < SOFT_TLB_ENTRIES; i++) {
        const struct soft_translation *t = &cpu->tlb[i];
        vaddr_t address = (t->read_tag & mask) << QUIRE_PAGE_SHIFT;
        struct quire_space *space = space_of(cpu, t->read_tag & ~mask);
        struct soft_path now;

        if (!space)
            continue;
        if (!soft_look(cpu->machine, space, address, 0, &now) ||
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
