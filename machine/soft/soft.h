/* SPDX-License-Identifier: MIT */
/*
 * The software machine: virtual CPUs whose loads and stores go through quire's tables.
 *
 * An emulator or an interpreter embeds this instead of a processor's MMU.  One struct soft_machine
 * is config.machine; it holds some virtual CPUs, each running at most one space.  An access looks
 * into the CPU's TLB; on a miss it walks the tables as hardware would (permission is the AND down
 * the path; ACCESSED and DIRTY are set in the leaf entry) and, where the tables refuse, calls
 * quire_fault and tries again.
 *
 * There are two TLBs behind the same functions.  The production one is a direct-mapped array tagged
 * with a generation: a flush of a space is an increment.  The test one (QUIRE_TEST, stale.c)
 * forgets nothing that a flush did not cover, of any space and any upper level, so that a missing
 * flush shows as a wrong byte, and soft_check compares all that it holds with the tables.
 *
 * Nothing here is global, takes a lock, allocates or needs a C library beyond mem*: the machine
 * lies in memory that the caller gave, so a copy of that memory, put back at the same place, is a
 * snapshot.  One CPU's functions are called by one thread at a time; a flush from another thread
 * needs the CPUs to be stopped, which is the embedder's business (machine.h).
 */
#ifndef SOFT_H
#define SOFT_H

#include <quire/quire.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"

/* The most bytes that one load or store moves. */
enum { SOFT_ACCESS_MAX = 16 };

/* Entries of the production TLB, a power of two. */
#ifndef SOFT_TLB_ENTRIES
#define SOFT_TLB_ENTRIES 256u
#endif

struct soft_config {
    uint32_t cpus;    /* virtual CPUs, at least 1 */
    uint32_t held;    /* test TLB: translations and table pointers a CPU can hold, a power of two */
    void *direct_map; /* as in struct quire_config */
    pfn_t first_frame;    /* as in struct quire_config */
    uint32_t frame_count; /* as in struct quire_config */
    void *host;           /* for host_report, as in struct quire_config */
};

/*
 * One translation of the production TLB.  A tag is the page number with the CPU's generation above
 * it, or 0 for "not allowed"; no generation is 0.
 */
struct soft_translation {
    uint64_t read_tag, write_tag, exec_tag;
    unsigned char *bytes; /* the frame, through the direct map */
};

/* What the test TLB holds: the translation of a page (level 0), or the table that a walk reached.
 */
struct soft_held {
    struct quire_space *space; /* null: the slot is free */
    vaddr_t address;           /* the first address covered */
    pfn_t pfn;                 /* of the page, or of the table */
    uint8_t level;             /* 0: a page; otherwise the level of the table (1: leaf table) */
    bool write, exec;          /* rights: the AND of the entries passed on the way */
};

struct soft_cpu {
    struct soft_machine *machine;
    struct quire_space *space; /* null: runs none */
    pfn_t root;                /* of space; what mmu_activate or mmu_flush_space said last */
    uint32_t index;            /* of this CPU in its machine */
    uint64_t generation;       /* production: above the page number in a valid tag */
#ifdef QUIRE_TEST
    struct soft_held *held; /* hash table of machine->held slots */
    uint32_t held_count;
#else
    struct soft_translation tlb[SOFT_TLB_ENTRIES];
#endif
};

struct soft_machine {
    unsigned char *direct_map;
    pfn_t first_frame;
    uint32_t frame_count;
    uint32_t cpu_count;
    uint32_t current; /* the CPU that mmu_activate means */
    uint32_t held;    /* slots of each CPU's test TLB */
    void *host;
    uint64_t walks, faults;                              /* since soft_machine_init */
    uint64_t page_flushes, range_flushes, space_flushes; /* likewise */
    uint64_t violations; /* findings of the machine itself, each reported by host_report */
#ifdef QUIRE_TEST
    /*
     * If not null: called at the start of each flush, while the translations that it covers are
     * still held and the entries are as core has left them.  `low`, `high` is what it covers. Tests
     * look at the tables from here, as another CPU could at that moment.
     */
    void (*on_flush)(struct soft_machine *machine, struct quire_space *space, vaddr_t low,
                     vaddr_t high);
#endif
    uint64_t forgotten; /* test TLB: entries dropped because it was full (legal, but hides bugs) */
    struct soft_cpu cpus[];
};

/* Bytes that soft_machine_init needs, a multiple of 64. */
size_t soft_machine_size(const struct soft_config *config);

/* Make a machine in `memory` (aligned to 64).  No CPU runs a space. */
struct soft_machine *soft_machine_init(void *memory, const struct soft_config *config);

/* Let CPU `cpu` run `space` (null: none).  Takes the manager's lock. */
void soft_cpu_run(struct soft_cpu *cpu, struct quire *q, struct quire_space *space);

/*
 * The access of one instruction by `cpu`: `size` is 1..SOFT_ACCESS_MAX, at any alignment.  All
 * pages are resolved before the first byte moves, so a refused access has moved none.  Statuses:
 * those of quire_fault; QUIRE_NOT_MAPPED where the CPU runs no space; QUIRE_WRAPS where address +
 * size does. May wait (in quire_fault).  Where quire_fault says QUIRE_OK again and again and the
 * tables still refuse, that is a bug in core: it is reported, counted as a violation, and
 * QUIRE_STATUS_COUNT is returned.
 */
QUIRE_WARN_UNUSED enum quire_status soft_load_slow(struct soft_cpu *cpu, vaddr_t address, void *to,
                                                   uint32_t size);
QUIRE_WARN_UNUSED enum quire_status soft_store_slow(struct soft_cpu *cpu, vaddr_t address,
                                                    const void *from, uint32_t size);

/* The same for fetching an instruction byte; it goes to *to (may be null). */
QUIRE_WARN_UNUSED enum quire_status soft_fetch(struct soft_cpu *cpu, vaddr_t address, uint8_t *to);

/*
 * One attempt at an access of one byte, as the processor makes it between two faults: quire_fault
 * is not called. True: the byte at *byte was stored (QUIRE_WRITE), or loaded or fetched to it.
 */
bool soft_try(struct soft_cpu *cpu, vaddr_t address, uint32_t access, uint8_t *byte);

#ifdef QUIRE_TEST

QUIRE_WARN_UNUSED static inline enum quire_status soft_load(struct soft_cpu *cpu, vaddr_t address,
                                                            void *to, uint32_t size)
{
    return soft_load_slow(cpu, address, to, size);
}

QUIRE_WARN_UNUSED static inline enum quire_status soft_store(struct soft_cpu *cpu, vaddr_t address,
                                                             const void *from, uint32_t size)
{
    return soft_store_slow(cpu, address, from, size);
}

#else

/* The slot for `address`, or null where this access is not for the fast path. */
static inline struct soft_translation *soft_slot(struct soft_cpu *cpu, vaddr_t address,
                                                 uint32_t size)
{
    if (address >= MMU_ADDRESS_END || (address & (QUIRE_PAGE_SIZE - 1)) + size > QUIRE_PAGE_SIZE)
        return NULL;
    return &cpu->tlb[(address >> QUIRE_PAGE_SHIFT) & (SOFT_TLB_ENTRIES - 1)];
}

QUIRE_WARN_UNUSED static inline enum quire_status soft_load(struct soft_cpu *cpu, vaddr_t address,
                                                            void *to, uint32_t size)
{
    const struct soft_translation *t = soft_slot(cpu, address, size);

    if (!t || t->read_tag != (cpu->generation | (address >> QUIRE_PAGE_SHIFT)))
        return soft_load_slow(cpu, address, to, size);
    __builtin_memcpy(to, t->bytes + (address & (QUIRE_PAGE_SIZE - 1)), size);
    return QUIRE_OK;
}

QUIRE_WARN_UNUSED static inline enum quire_status soft_store(struct soft_cpu *cpu, vaddr_t address,
                                                             const void *from, uint32_t size)
{
    const struct soft_translation *t = soft_slot(cpu, address, size);

    if (!t || t->write_tag != (cpu->generation | (address >> QUIRE_PAGE_SHIFT)))
        return soft_store_slow(cpu, address, from, size);
    __builtin_memcpy(t->bytes + (address & (QUIRE_PAGE_SIZE - 1)), from, size);
    return QUIRE_OK;
}

#endif

/*
 * Compare everything that every CPU holds with the tables as they are now: the frame or table must
 * be the one that a walk finds, and no right may be held that the walk does not give.  To be called
 * between quire operations, not within.  Each difference is one line to host_report.  Returns their
 * number.
 */
unsigned soft_check(struct soft_machine *machine);

#endif
