/* SPDX-License-Identifier: MIT */
/*
 * The instructions that the machine is made of.  With MMU_SIMULATED they are functions: a test
 * brings a processor of its own (tests/x86_64/processor.c).
 */
#ifndef MACHINE_PROCESSOR_H
#define MACHINE_PROCESSOR_H

#include <quire/quire.h>

/* Bits of a value for CR3 where CR4.PCIDE is set (SDM volume 3, 4.10.4.1). */
#define CR3_IDENTIFIER UINT64_C(0xfff)
#define CR3_KEEP (UINT64_C(1) << 63) /* what the TLB has under the identifier stays */

#ifdef MMU_SIMULATED

void cr3_write(uint64_t value);
void page_forget(vaddr_t address);
uint64_t interrupts_off(void);
void interrupts_restore(uint64_t flags);
void processor_pause(void);
void processor_between(void); /* two steps, in the middle of which another CPU's may come */

#else

static inline void cr3_write(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline void page_forget(vaddr_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/* Turn interrupts off; returns the flags for interrupts_restore. */
static inline uint64_t interrupts_off(void)
{
    uint64_t flags;

    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

static inline void interrupts_restore(uint64_t flags)
{
    if (flags & 0x200)
        __asm__ volatile("sti" : : : "memory");
}

static inline void processor_pause(void) { __builtin_ia32_pause(); }
static inline void processor_between(void) {}

#endif
#endif
