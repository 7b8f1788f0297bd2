/* SPDX-License-Identifier: MIT */
/*
 * What mmu.c and cpu.c ask of each other, and of the two TLBs (tlb.c: production; stale.c: test).
 * Private to machine/soft.
 *
 * A *path* is where a walk stands: a page (level 0), or a table whose level says how far above the
 * pages it is (1: leaf table), together with the rights that the entries passed so far leave.
 */
#ifndef SOFT_TLB_H
#define SOFT_TLB_H

#include "soft.h"

/* All that this machine needs of a C library. */
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memset(void *to, int byte, size_t length);

struct soft_path {
    pfn_t pfn;
    uint32_t level;
    bool write, exec;
};

static inline unsigned soft_level_shift(uint32_t level)
{
    return QUIRE_PAGE_SHIFT + level * QUIRE_TABLE_SHIFT;
}

/* The first address that the page (level 0), or the table of `level`, at `address` translates. */
static inline vaddr_t soft_base(vaddr_t address, uint32_t level)
{
    return address >> soft_level_shift(level) << soft_level_shift(level);
}

static inline bool soft_is_frame(const struct soft_machine *machine, pfn_t pfn)
{
    return pfn - machine->first_frame < machine->frame_count;
}

static inline unsigned char *soft_frame(const struct soft_machine *machine, pfn_t pfn)
{
    return machine->direct_map + ((size_t)(pfn - machine->first_frame) << QUIRE_PAGE_SHIFT);
}

/* The entry for `address` in the table of `level` at `table`, which is a frame. */
static inline entry_t *soft_slot_at(const struct soft_machine *machine, pfn_t table,
                                    vaddr_t address, uint32_t level)
{
    return (entry_t *)(void *)soft_frame(machine, table) +
           ((address >> soft_level_shift(level - 1)) & (QUIRE_TABLE_ENTRIES - 1));
}

/*
 * One step of a walk: from the table at *path to what its entry for `address` points at.  Returns
 * the entry's address, or null where it is not present or points outside of memory (then *path is
 * as it was).
 */
entry_t *soft_step(struct soft_machine *machine, struct soft_path *path, vaddr_t address);

/*
 * Where a walk of the current tables of `space` to `level` ends.  False: at an entry that is not
 * present. Changes nothing.
 */
bool soft_look(struct soft_machine *machine, struct quire_space *space, vaddr_t address,
               uint32_t level, struct soft_path *out);

/* The first use of a CPU. */
void soft_cpu_init(struct soft_cpu *cpu);
/* Flush every CPU that may hold what it covers; when it returns, none does. */
void soft_cpus_flush(struct soft_machine *machine, const struct soft_flush *flush);
/* Let the CPUs that want to run `space` run it. */
void soft_cpus_run(struct soft_machine *machine, struct quire_space *space, pfn_t root);

/* Report and count a finding of the machine itself. */
void soft_violation(struct soft_cpu *cpu, const char *what, vaddr_t address, uint32_t level);

/* The bytes of the page at `address` if the TLB allows `access`; null if it must be walked. */
unsigned char *soft_tlb_find(struct soft_cpu *cpu, vaddr_t address, uint32_t access);
/* Remember a page. */
void soft_tlb_fill(struct soft_cpu *cpu, vaddr_t address, const struct soft_path *page);
/* Forget; what the mmu_ functions of these names say, for one CPU. */
void soft_tlb_flush_page(struct soft_cpu *cpu, struct quire_space *space, vaddr_t address);
void soft_tlb_flush_range(struct soft_cpu *cpu, struct quire_space *space, vaddr_t low,
                          vaddr_t high);
void soft_tlb_flush_space(struct soft_cpu *cpu, struct quire_space *space);
void soft_tlb_flush_all(struct soft_cpu *cpu);
/* The CPU is about to run another space, or none. */
void soft_tlb_switch(struct soft_cpu *cpu, struct quire_space *space);
/* Any thread: false if the TLB can hold nothing of `space` (see cpu.c on who begins to run it). */
bool soft_tlb_may_hold(const struct soft_cpu *cpu, const struct quire_space *space);
/* Compare what the CPU holds with the tables; returns the differences, each reported. */
unsigned soft_tlb_check(struct soft_cpu *cpu);
/* Bytes behind the CPUs that each of them needs, and their first use. */
size_t soft_tlb_size(const struct soft_config *config);
void soft_tlb_init(struct soft_cpu *cpu, void *memory);

#ifdef QUIRE_TEST
/* Move *path from the root to the lowest table at `address` that the CPU holds a pointer to. */
void soft_tlb_start(struct soft_cpu *cpu, vaddr_t address, struct soft_path *path);
/* Remember a table that a walk reached. */
void soft_tlb_keep(struct soft_cpu *cpu, vaddr_t address, const struct soft_path *table);
/* After a fault at `address`: drop what the access would use, once it is found to be justified. */
void soft_tlb_refused(struct soft_cpu *cpu, vaddr_t address);
#else
static inline void soft_tlb_start(struct soft_cpu *cpu, vaddr_t address, struct soft_path *path)
{
    (void)cpu;
    (void)address;
    (void)path;
}

static inline void soft_tlb_keep(struct soft_cpu *cpu, vaddr_t address,
                                 const struct soft_path *table)
{
    (void)cpu;
    (void)address;
    (void)table;
}

static inline void soft_tlb_refused(struct soft_cpu *cpu, vaddr_t address)
{
    (void)cpu;
    (void)address;
}
#endif

#endif
