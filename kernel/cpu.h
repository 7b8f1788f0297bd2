/* SPDX-License-Identifier: MIT */
/*
 * The processor and the few devices of a PC, for the process half of the kernel alone.
 */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include "kernel.h"

/* What an entry into the kernel leaves on the kernel stack (trap.S); the user's registers. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t vector, error; /* SYSCALL_VECTOR for a system call */
    uint64_t rip, cs, rflags, rsp, ss;
};

enum {
    SELECTOR_KERNEL_CODE = 0x08,
    SELECTOR_KERNEL_DATA = 0x10,
    SELECTOR_USER_DATA = 0x1b,
    SELECTOR_USER_CODE = 0x23,
    SELECTOR_TSS = 0x28,

    VECTOR_DEBUG = 1,
    VECTOR_NMI = 2,
    VECTOR_BREAKPOINT = 3,
    VECTOR_OVERFLOW = 4,
    VECTOR_DOUBLE_FAULT = 8,
    VECTOR_PAGE_FAULT = 14,
    VECTOR_IRQ = 32,
    IRQ_TIMER = 0,
    IRQ_SERIAL = 4,
    SYSCALL_VECTOR = 256,

    RFLAGS_FIXED = 0x2,
    RFLAGS_TF = 0x100,
    RFLAGS_IF = 0x200,
    RFLAGS_DF = 0x400,
    RFLAGS_USER = 0x240dd5, /* what a program may set: ID AC OF DF TF SF ZF AF PF CF */

    TICKS_PER_SECOND = 100,

    /* What machine_exit writes; QEMU's own status is twice that and one: 85, 87, 89. */
    EXIT_OK = 42,
    EXIT_FAILED = 43,
    EXIT_PANIC = 44,
};

#define KERNEL_BASE UINT64_C(0xffffffff80000000)
#define DIRECT_MAP UINT64_C(0xffff800000000000)
#define STACK_WINDOW UINT64_C(0xffffffffa0000000)
/* What a program may have, less one page so that no return address lies on the edge of the
 * canonical half. */
#define USER_LOW UINT64_C(0x10000)
#define USER_HIGH (UINT64_C(0x800000000000) - PAGE_SIZE)

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline void *direct(uint64_t physical) { return (void *)(uintptr_t)(DIRECT_MAP + physical); }

/* Where something lies that the kernel sees in the direct map (a frame's memory). */
static inline uint64_t physical_of(const void *p) { return (uint64_t)(uintptr_t)p - DIRECT_MAP; }

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint64_t tsc_read(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void msr_write(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline uint64_t msr_read(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline uint64_t cr2_read(void)
{
    uint64_t value;

    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

static inline bool frame_is_user(const struct trap_frame *f) { return (f->cs & 3) == 3; }

enum { FPU_SIZE = 512 };
static inline void fpu_save(void *area)
{
    __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}
/* The area must hold what fpu_save or fpu_clean made of it. */
static inline void fpu_load(const void *area)
{
    __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

/* cpu.c */
void cpu_init(void);              /* descriptor tables, control bits, interrupt controller, timer */
void cpu_set_stack(uint64_t top); /* the kernel stack of the next entry from user mode */
void cpu_set_fs(uint64_t base);
void fpu_clean(void *area);    /* a new program's state */
void fpu_sanitize(void *area); /* make a program's own bytes safe to load */
void irq_end(unsigned irq);
void irq_enable(unsigned irq);
/* Interrupts on, wait for one, interrupts off. */
void cpu_idle(void);
void cpu_breathe(void); /* the same without waiting */
uint64_t cpu_hwcap(void);
/* Turn identifiers of spaces on (CR4.PCIDE); false: this processor has none.  While the low bits of
 * CR3 are zero. */
bool cpu_identifiers_on(void);

/* clock.c */
void clock_init(void);
void clock_tick(void);
uint64_t clock_cycles_to_ns(uint64_t cycles);

/* serial.c */
void serial_init(void);
void serial_listen(void);
void serial_interrupt(void);

/* memory.c */
void memory_init(uint32_t start_info);
const void *memory_initrd(size_t *size);
void *frame_alloc_dirty(void); /* as frame_alloc, not zeroed */
void *memory_machine(void);    /* quire's config.machine */
/* A kernel stack with unmapped pages below; its low end, or null. */
enum { STACK_SIZE = 4 * PAGE_SIZE };
void *stack_alloc(void);
void stack_free(void *stack);
bool stack_guard_hit(uint64_t address);

/* trap.S */
extern char trap_stubs[], user_access_start[], user_access_end[], user_access_failed[];
extern uint64_t syscall_kernel_rsp;
void syscall_entry(void);
void process_first(void);
void context_switch(uint64_t *save, uint64_t load);
void user_execute(uint64_t rip);
_Noreturn void user_execute_end(void);
size_t user_copy(void *to, const void *from, size_t n);
long user_string(char *to, const char *from, size_t max);

#endif
