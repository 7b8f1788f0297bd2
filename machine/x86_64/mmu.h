/* SPDX-License-Identifier: MIT */
/*
 * What the x86-64 machine needs to know from the kernel that embeds it: struct mmu is
 * config.machine.
 *
 * MMU_CPUS is a constant of the build, at most 64: how many CPUs there can be.  With 1, the
 * default, nothing of what several need is compiled.  With more, the kernel says which CPU calls,
 * sends an interrupt to a set of them, and calls mmu_answer in its handler (mmu.c says how they
 * work together).
 */
#ifndef MACHINE_MMU_H
#define MACHINE_MMU_H

#include <quire/quire.h>

#ifndef MMU_CPUS
#define MMU_CPUS 1
#endif

/* Of how many spaces a CPU keeps translations, where the processor has identifiers for them: at
 * most 4,095.  A flush looks at all of them, on every CPU. */
#ifndef MMU_IDENTIFIERS
#define MMU_IDENTIFIERS 6
#endif

/* What one CPU asks of others, and of itself: [low, high), or all. */
struct mmu_request {
    struct quire_space *space; /* null: of every one */
    vaddr_t low, high;         /* low == high: all of the space, which goes on with cr3 */
    uint64_t cr3;
};

/* The machine's own: one CPU.  a: any CPU, atomically; o: its own CPU alone. */
struct mmu_cpu {
    struct quire_space *running; /* o, read as a: the space in CR3; null: none */
    uint64_t cr3;                /* o: what CR3 is */
    /* o, others take it away: whose the translations under each identifier are; null: nobody's */
    struct quire_space *owner[MMU_IDENTIFIERS];
    uint32_t identifiers_given; /* o: how many, ever */
    uint64_t flushed_pages;     /* o: how often the processor was told to forget one page, */
    uint64_t flushed_all;       /* o: and everything */
#if MMU_CPUS > 1
    struct quire_space *next;   /* o, read as a: the space that it begins to run, or runs */
    uint64_t asked;             /* a: a bit for each CPU that wants its request answered */
    uint64_t unanswered;        /* a: a bit for each CPU that has yet to answer this one's */
    struct mmu_request request; /* this one's; others read it while their bit is there */
    uint64_t interrupted;       /* o: how many CPUs it asked */
} __attribute__((aligned(64)));
#else
};
#endif

struct mmu {
    /* The kernel's half: entries MMU_ROOT_ENTRIES.. of this table go into every root. Never changes
     * after quire_create (the tables below it may). */
    const uint64_t *kernel_root;
    uint64_t kernel_cr3; /* its physical address: what runs when no space does */

    /*
     * Every CPU has set CR4.PCIDE (CPUID.01H:ECX[17] says whether it can): translations of a space
     * outlive a change to another one, in both directions.  What the kernel changes in its own half
     * after quire_create must then be global, for invlpg drops what is not under the current
     * identifier alone.
     */
    bool tagged;

#if MMU_CPUS > 1
    /* The number of the CPU that calls, below MMU_CPUS.  Called with interrupts off. */
    uint32_t (*current)(void);
    /* Send the interrupt whose handler calls mmu_answer to every CPU whose bit is set (never the
     * calling one).  Called with interrupts off; does not wait for handlers. */
    void (*interrupt)(uint64_t cpus);
#endif

    struct mmu_cpu cpus[MMU_CPUS]; /* zero at first */
};

#if MMU_CPUS > 1
/*
 * Do what other CPUs ask of this one: in the handler of the interrupt, and wherever the kernel
 * waits for another CPU with interrupts off.  At any moment; takes no lock.
 */
void mmu_answer(struct mmu *m);
#endif

#endif
