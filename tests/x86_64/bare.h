/* SPDX-License-Identifier: MIT */
/*
 * What the files of the bare image share (bare.c), and those of the processor in software
 * (processor.c).
 */
#ifndef TESTS_BARE_H
#define TESTS_BARE_H

#include "mmu.h"
#include "trace.h"

/* One CPU; in the image %gs is its address. */
struct bare_cpu {
    struct bare_cpu *self;
    uint32_t index;
    uint32_t tries;            /* faults of the access in progress */
    struct quire_space *space; /* that it runs; null: none */
    enum quire_status status;  /* of the fault that refused the last access */
};

extern struct quire *q;

#ifdef MMU_SIMULATED
struct bare_cpu *me(void);
#else
static inline struct bare_cpu *me(void)
{
    struct bare_cpu *cpu;

    __asm__ volatile("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}
#endif

/* On this CPU: run a space, unless it does, or none; an access of the space that it runs. */
void cpu_run(struct quire_space *space);
enum quire_status cpu_load(vaddr_t address, uint64_t *word);
enum quire_status cpu_store(vaddr_t address, uint64_t word);

/* A line; and a line that ends it all. */
void say(const char *text, uint64_t n);
_Noreturn void fail(const char *what, uint64_t n);

/* Part 2 (free.c): by CPU 0 before, by every CPU at the same time, by CPU 0 afterwards. */
void free_begin(uint32_t cpus);
void free_run(uint64_t rounds);
void free_end(void);

#endif
