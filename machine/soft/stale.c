/* SPDX-License-Identifier: MIT */
/*
 * The test TLB: it keeps everything until a flush covers it.
 *
 * Real TLBs forget at any time, which hides missing flushes; this one forgets as late as machine.h
 * allows.  It holds, for every space that its CPU ever ran:
 *
 *   pages    what a walk found, with the rights it had then; used for every access that the rights
 *            allow, whatever the tables say now;
 *   tables   every table below the root that a walk reached, with the rights down to it: later
 * walks begin at the lowest one (the paging-structure caches of hardware).  Without a flush the CPU
 *            goes on reading a table that its space has long left, which is hole H4 of the design
 * rules.
 *
 * Three things end an entry: a flush that covers it; a refused access (hardware drops what led to a
 * fault, and machine.h wants the tables looked at again), but only after comparing it with the
 * tables; and a full table, which drops everything of that CPU and counts it in machine->forgotten.
 *
 * An entry is *justified* when a walk of the space's tables as they are now leads to the same frame
 * and gives at least the same rights.  Between operations everything held must be justified.  Where
 * one thread is all CPUs, there is no other time, and each use of an entry checks it.  With threads
 * an entry may be used while another CPU has changed the tables and is about to ask for the flush.
 *
 * Storage is one open hash table a CPU with linear probing; removal shifts entries back, so that a
 * slot is free or in use and nothing else.
 */
#include "tlb.h"

#ifdef QUIRE_TEST

size_t soft_tlb_size(const struct soft_config *config)
{
    return config->held * sizeof(struct soft_held);
}

void soft_tlb_init(struct soft_cpu *cpu, void *memory) { cpu->held = memory; }

/* ---- which spaces ---------------------------------------------------------------------------- */

static uint64_t bit_of(const struct quire_space *space)
{
    return UINT64_C(1) << ((uint64_t)(uintptr_t)space * UINT64_C(0x9e3779b97f4a7c15) >> 58);
}

void soft_tlb_switch(struct soft_cpu *cpu, struct quire_space *space)
{
    if (space)
        __atomic_store_n(&cpu->ran, cpu->ran | bit_of(space), __ATOMIC_RELAXED);
}

bool soft_tlb_may_hold(const struct soft_cpu *cpu, const struct quire_space *space)
{
    return (__atomic_load_n(&cpu->ran, __ATOMIC_RELAXED) & bit_of(space)) != 0;
}

/* ---- the hash table -------------------------------------------------------------------------- */

static uint32_t slot_wanted(const struct soft_cpu *cpu, const struct quire_space *space,
                            vaddr_t address, uint32_t level)
{
    uint64_t h = ((uint64_t)(uintptr_t)space >> 4) + (address >> QUIRE_PAGE_SHIFT) * 8 + level;

    h *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & (cpu->machine->held - 1);
}

/* The entry, or the free slot where it would go. */
static struct soft_held *held_slot(struct soft_cpu *cpu, struct quire_space *space, vaddr_t address,
                                   uint32_t level)
{
    uint32_t i = slot_wanted(cpu, space, address, level);

    while (cpu->held[i].space && (cpu->held[i].space != space || cpu->held[i].level != level ||
                                  cpu->held[i].address != address))
        i = (i + 1) & (cpu->machine->held - 1);
    return &cpu->held[i];
}

static void held_remove(struct soft_cpu *cpu, struct soft_held *gone)
{
    uint32_t mask = cpu->machine->held - 1;
    uint32_t hole = (uint32_t)(gone - cpu->held);

    for (uint32_t i = (hole + 1) & mask; cpu->held[i].space; i = (i + 1) & mask) {
        const struct soft_held *h = &cpu->held[i];
        uint32_t wanted = slot_wanted(cpu, h->space, h->address, h->level);

        /* It may move back into the hole if the hole lies between where it wants to be and is. */
        if (((i - wanted) & mask) >= ((i - hole) & mask)) {
            cpu->held[hole] = *h;
            hole = i;
        }
    }
    cpu->held[hole] = (struct soft_held){0};
    cpu->held_count--;
}

static void held_put(struct soft_cpu *cpu, vaddr_t address, const struct soft_path *path)
{
    vaddr_t base = soft_base(address, path->level);
    struct soft_held *h = held_slot(cpu, cpu->space, base, path->level);

    if (!h->space && cpu->held_count >= cpu->machine->held / 4 * 3) {
        __atomic_fetch_add(&cpu->machine->forgotten, cpu->held_count, __ATOMIC_RELAXED);
        memset(cpu->held, 0, cpu->machine->held * sizeof *cpu->held);
        cpu->held_count = 0;
        h = held_slot(cpu, cpu->space, base, path->level);
    }
    if (!h->space)
        cpu->held_count++;
    *h = (struct soft_held){cpu->space,           base,        path->pfn,
                            (uint8_t)path->level, path->write, path->exec};
}

/* ---- justification --------------------------------------------------------------------------- */

static bool held_check(struct soft_cpu *cpu, const struct soft_held *h)
{
    struct soft_path now;
    const char *what;

    if (!soft_look(cpu->machine, h->space, h->address, h->level, &now))
        what = "holds what the tables no longer have";
    else if (now.pfn != h->pfn)
        what = h->level ? "holds a table that was replaced" : "holds a page that was replaced";
    else if (h->write && !now.write)
        what = "holds a right to write that the tables do not give";
    else if (h->exec && !now.exec)
        what = "holds a right to execute that the tables do not give";
    else
        return true;
    soft_violation(cpu, what, h->address, h->level);
    return false;
}

unsigned soft_tlb_check(struct soft_cpu *cpu)
{
    unsigned findings = 0;

    for (uint32_t i = 0; i < cpu->machine->held; i++) {
        if (cpu->held[i].space && !held_check(cpu, &cpu->held[i]))
            findings++;
    }
    return findings;
}

/* ---- use ------------------------------------------------------------------------------------- */

static void use_check(struct soft_cpu *cpu, const struct soft_held *h)
{
    if (!cpu->machine->threads)
        held_check(cpu, h);
}

unsigned char *soft_tlb_find(struct soft_cpu *cpu, vaddr_t address, uint32_t access)
{
    const struct soft_held *h = held_slot(cpu, cpu->space, soft_base(address, 0), 0);

    if (!h->space || (access == QUIRE_WRITE && !h->write) || (access == QUIRE_EXEC && !h->exec))
        return NULL;
    use_check(cpu, h);
    return soft_frame(cpu->machine, h->pfn);
}

void soft_tlb_fill(struct soft_cpu *cpu, vaddr_t address, const struct soft_path *page)
{
    const struct soft_held *h = held_slot(cpu, cpu->space, soft_base(address, 0), 0);

    /* Held with too few rights for this access: the frame may not have changed without a flush. */
    if (h->space && h->pfn != page->pfn)
        soft_violation(cpu, "the page changed under a translation", address, 0);
    held_put(cpu, address, page);
}

void soft_tlb_start(struct soft_cpu *cpu, vaddr_t address, struct soft_path *path)
{
    for (uint32_t level = 1; level < QUIRE_LEVELS; level++) {
        const struct soft_held *h = held_slot(cpu, cpu->space, soft_base(address, level), level);

        if (!h->space)
            continue;
        use_check(cpu, h);
        *path = (struct soft_path){h->pfn, level, h->write, h->exec};
        return;
    }
}

void soft_tlb_keep(struct soft_cpu *cpu, vaddr_t address, const struct soft_path *table)
{
    held_put(cpu, address, table);
}

void soft_tlb_refused(struct soft_cpu *cpu, vaddr_t address)
{
    for (uint32_t level = 0; level < QUIRE_LEVELS; level++) {
        struct soft_held *h = held_slot(cpu, cpu->space, soft_base(address, level), level);

        if (!h->space)
            continue;
        use_check(cpu, h);
        held_remove(cpu, h);
    }
}

/* ---- flushes --------------------------------------------------------------------------------- */

/*
 * What a flush covers may be gone from the tables (busy, or not present), but it may not look
 * empty: an empty entry invites another CPU to fill it while its old translation is still in use
 * (hole H8).
 */
static void held_flush(struct soft_cpu *cpu, struct soft_held *h)
{
    struct soft_machine *machine = cpu->machine;
    struct soft_path path = {quire_space_root(h->space), QUIRE_LEVELS, true, true};

    while (path.level > h->level) {
        pfn_t table = path.pfn;
        uint32_t level = path.level;

        if (soft_step(machine, &path, h->address))
            continue;
        if (soft_is_frame(machine, table) &&
            __atomic_load_n(soft_slot_at(machine, table, h->address, level), __ATOMIC_RELAXED) == 0)
            soft_violation(cpu, "an entry looks empty before it is flushed", h->address, h->level);
        break;
    }
    held_remove(cpu, h);
}

void soft_tlb_flush_page(struct soft_cpu *cpu, struct quire_space *space, vaddr_t address)
{
    for (uint32_t level = 0; level < QUIRE_LEVELS; level++) {
        struct soft_held *h = held_slot(cpu, space, soft_base(address, level), level);

        if (h->space)
            held_flush(cpu, h);
    }
}

void soft_tlb_flush_range(struct soft_cpu *cpu, struct quire_space *space, vaddr_t low,
                          vaddr_t high)
{
    for (uint32_t i = 0; cpu->held_count && i < cpu->machine->held;) {
        struct soft_held *h = &cpu->held[i];
        vaddr_t last = h->address + ((UINT64_C(1) << soft_level_shift(h->level)) - 1);

        /* Removal moves another entry to slot i, or frees it: look at the slot again. */
        if (h->space == space && h->address < high && last >= low)
            held_flush(cpu, h);
        else
            i++;
    }
}

void soft_tlb_flush_space(struct soft_cpu *cpu, struct quire_space *space)
{
    soft_tlb_flush_range(cpu, space, 0, UINT64_MAX);
}

void soft_tlb_flush_all(struct soft_cpu *cpu)
{
    for (uint32_t i = 0; cpu->held_count && i < cpu->machine->held;) {
        if (cpu->held[i].space)
            held_flush(cpu, &cpu->held[i]); /* which may move another one here */
        else
            i++;
    }
}

#else
/* A translation unit must not be empty. */
typedef int soft_stale_is_in_tlb_c;
#endif
