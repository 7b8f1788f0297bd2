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
 * with identifiers of spaces: a flush of a space is an increment, and a CPU that comes back to a
 * space still has its translations.  The test one (QUIRE_TEST, stale.c) forgets nothing that a
 * flush did not cover, of any space and any upper level, so that a missing flush shows as a wrong
 * byte, and soft_check compares all that it holds with the tables.
 *
 * Nothing here is global, allocates or needs a C library beyond mem*: the machine lies in memory
 * that the caller gave, so a copy of that memory, put back at the same place, is a snapshot.
 *
 * Threads.  With config.threads each CPU has a thread of its own, and other threads may call quire
 * too (cpu.c says how it works):
 *
 *     soft_cpu_run(cpu, q, space);
 *     soft_cpu_enter(cpu);                  from here to soft_cpu_leave: loads, stores, fetches
 *     while (instructions(cpu))
 *         soft_cpu_poll(cpu);               between two of them, or two blocks of them
 *     soft_cpu_leave(cpu);                  before a call of quire, and before sleeping
 *
 * Others' flushes wait for a CPU that is entered until it polls, leaves, or takes a fault.  Two
 * CPUs' accesses to the same bytes race as the host's memory does; bytes are copied as memcpy
 * copies them.
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
    bool threads;     /* each has a thread of its own; false: one thread is all of them */
    uint32_t held;    /* test TLB: translations and table pointers a CPU can hold, a power of two */
    void *direct_map; /* as in struct quire_config */
    pfn_t first_frame;    /* as in struct quire_config */
    uint32_t frame_count; /* as in struct quire_config */
    void *host;           /* for host_report, as in struct quire_config */
};

/*
 * One translation of the production TLB.  A tag is the page number with an identifier above it, or
 * 0 for "not allowed"; no identifier is 0.
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

/* Spaces whose translations the production TLB of a CPU can hold. */
enum { SOFT_SPACES = 8 };

/* Whose an identifier is; a number that is handed out once until the numbers run out (tlb.c). */
struct soft_identifier {
    struct quire_space *space; /* null: nobody's */
    uint64_t tag;              /* the number, shifted to where it stands in a translation's tag */
};

/* What a thread asks of CPUs: mmu_flush_page, _range, _space, _all. */
enum soft_flush_kind { SOFT_FLUSH_PAGE, SOFT_FLUSH_RANGE, SOFT_FLUSH_SPACE, SOFT_FLUSH_ALL };
struct soft_flush {
    enum soft_flush_kind kind;
    struct quire_space *space; /* null: every one */
    vaddr_t low, high;         /* [low, high) */
    pfn_t root;                /* SOFT_FLUSH_SPACE */
};

/* Who may touch a CPU's TLB (cpu.c): nobody before it takes hold, its own thread, another one. */
enum soft_state { SOFT_OUT, SOFT_IN, SOFT_HELD };

/*
 * One virtual CPU.  o: touched by its own thread while IN, or by whoever holds it; a: any thread,
 * atomically; c: constant.  A field with both letters is written as o and read as a.
 */
struct soft_cpu {
    _Alignas(64) const struct soft_flush *asked; /* a: null, or what it has to forget */
    uint32_t state;                              /* a: enum soft_state */
    uint32_t index;                              /* c: of this CPU in its machine */
    struct quire_space *wanted;   /* a: soft_cpu_run's to mmu_activate; the machine: nothing */
    struct soft_machine *machine; /* c */
    struct quire_space *space;    /* oa: null: runs none */
    pfn_t root;                   /* o: of space; mmu_activate or mmu_flush_space said so */
    uint64_t walks, faults;       /* o: since soft_machine_init */
#ifdef QUIRE_TEST
    uint64_t ran;           /* oa: a bit for each hash of a space that it ever ran */
    struct soft_held *held; /* o: hash table of machine->held slots */
    uint32_t held_count;    /* o */
#else
    uint64_t tag;      /* o: the identifier of `space` */
    uint64_t last_tag; /* o: the identifier handed out last */
    uint32_t next;     /* o: which of identifiers[] is taken when all are in use */
    struct soft_identifier identifiers[SOFT_SPACES]; /* oa */
    struct soft_translation tlb[SOFT_TLB_ENTRIES];   /* o */
#endif
};

/* Where a flush of a space and a CPU that begins to run it meet (cpu.c). */
enum { SOFT_MEETINGS = 16 };
struct soft_meeting {
    _Alignas(64) uint64_t count;
};

struct soft_machine {
    unsigned char *direct_map;
    pfn_t first_frame;
    uint32_t frame_count;
    uint32_t cpu_count;
    uint32_t held; /* slots of each CPU's test TLB */
    bool threads;
    void *host;
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
    struct soft_meeting meetings[SOFT_MEETINGS];
    struct soft_cpu cpus[];
};

/* Bytes that soft_machine_init needs, a multiple of 64. */
size_t soft_machine_size(const struct soft_config *config);

/* Make a machine in `memory` (aligned to 64).  No CPU runs a space. */
struct soft_machine *soft_machine_init(void *memory, const struct soft_config *config);

/* Let CPU `cpu` run `space` (null: none).  Calls quire_space_activate. */
void soft_cpu_run(struct soft_cpu *cpu, struct quire *q, struct quire_space *space);

/*
 * With config.threads: from soft_cpu_enter to soft_cpu_leave the calling thread is the CPU and runs
 * its guest's code.  Between them it must poll, and leave before it calls quire (soft_load and the
 * like do both by themselves) or sleeps.
 */
void soft_cpu_enter(struct soft_cpu *cpu);
void soft_cpu_leave(struct soft_cpu *cpu); /* harmless if it is not entered */
/* Leave; whether the CPU was entered goes to soft_cpu_resume. */
bool soft_cpu_pause(struct soft_cpu *cpu);
static inline void soft_cpu_resume(struct soft_cpu *cpu, bool was_entered)
{
    if (was_entered)
        soft_cpu_enter(cpu);
}
/* Do what another thread's flush asks of this CPU, if any. */
void soft_cpu_answer(struct soft_cpu *cpu);
static inline void soft_cpu_poll(struct soft_cpu *cpu)
{
    if (__atomic_load_n(&cpu->asked, __ATOMIC_ACQUIRE))
        soft_cpu_answer(cpu);
}

/*
 * The access of one instruction by `cpu`, which is entered if there are threads: `size`
 * is 1..SOFT_ACCESS_MAX, at any alignment.  All pages are resolved before the first byte moves, so
 * a refused access has moved none.  Statuses: those of quire_fault; QUIRE_NOT_MAPPED where the CPU
 * runs no space; QUIRE_WRAPS where address + size does. May wait (in quire_fault).  Where
 * quire_fault says QUIRE_OK again and again and the tables still refuse, that is a bug in core: it
 * is reported, counted as a violation, and QUIRE_STATUS_COUNT is returned.
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

    if (!t || t->read_tag != (cpu->tag | (address >> QUIRE_PAGE_SHIFT)))
        return soft_load_slow(cpu, address, to, size);
    __builtin_memcpy(to, t->bytes + (address & (QUIRE_PAGE_SIZE - 1)), size);
    return QUIRE_OK;
}

QUIRE_WARN_UNUSED static inline enum quire_status soft_store(struct soft_cpu *cpu, vaddr_t address,
                                                             const void *from, uint32_t size)
{
    const struct soft_translation *t = soft_slot(cpu, address, size);

    if (!t || t->write_tag != (cpu->tag | (address >> QUIRE_PAGE_SHIFT)))
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
