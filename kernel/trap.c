/* SPDX-License-Identifier: MIT */
/*
 * What happens at each way into the kernel but the system calls.
 *
 * A page fault is quire's: the handler asks quire_fault, whether the program faulted or
 * user_copy did on its behalf, and turns a refusal into a signal or into a failed copy.  A page
 * fault anywhere else in the kernel is a bug and ends the machine.  Everything that goes back to
 * user mode passes through user_return: another process's turn, signals, and the check that the
 * address to go to is a program's.
 */
#include "blk.h"
#include "process.h"
#include "swap.h"

enum {
    PF_PRESENT = 1,
    PF_WRITE = 2,
    PF_USER = 4,
    PF_RESERVED = 8,
    PF_FETCH = 16,
    BUS_ADRALN = 1,
    BUS_ADRERR = 2,
    FPE_INTDIV = 1,
    ILL_ILLOPN = 2,
    TRAP_BRKPT = 1,
    TRAP_TRACE = 2,
};

static void frame_panic(const struct trap_frame *f, const char *what)
{
    kprintf("rip %#lx rsp %#lx rflags %#lx error %#lx cr2 %#lx\n", f->rip, f->rsp, f->rflags,
            f->error, cr2_read());
    kprintf("rax %#lx rbx %#lx rcx %#lx rdx %#lx rsi %#lx rdi %#lx\n", f->rax, f->rbx, f->rcx,
            f->rdx, f->rsi, f->rdi);
    panic("%s (vector %u) in pid %d (%s)", what, (unsigned)f->vector, current ? current->pid : 0,
          current ? current->name : "boot");
}

static bool in_user_access(const struct trap_frame *f)
{
    return f->rip >= (uint64_t)(uintptr_t)user_access_start &&
           f->rip < (uint64_t)(uintptr_t)user_access_end;
}

/* The access that an error code tells of. */
static uint32_t fault_access(uint64_t error)
{
    return error & PF_FETCH ? QUIRE_EXEC : error & PF_WRITE ? QUIRE_WRITE : QUIRE_READ;
}

/* Quire refused, or the address is nobody's. */
static __attribute__((noinline)) void fault_refused(struct trap_frame *f, uint64_t address,
                                                    enum quire_status status)
{
    if (status == QUIRE_NO_MEMORY)
        victim_choose();
    if (!frame_is_user(f)) {
        f->rip = (uint64_t)(uintptr_t)user_access_failed;
        return;
    }
    if (status == QUIRE_NO_MEMORY)
        return;
    current->signals->last_trap = VECTOR_PAGE_FAULT;
    current->signals->last_error = (uint32_t)f->error;
    if (status == QUIRE_BEYOND_END || status == QUIRE_IO_ERROR)
        signal_force(SIGBUS, BUS_ADRERR, address);
    else if (status == QUIRE_PROTECTED || status == QUIRE_GUARDED)
        signal_force(SIGSEGV, SEGV_ACCERR, address);
    else
        signal_force(SIGSEGV, SEGV_MAPERR, address);
}

static __attribute__((noinline)) void fault_impossible(const struct trap_frame *f)
{
    frame_panic(f, f->error & PF_RESERVED ? "a page table entry makes no sense"
                                          : "page fault in the kernel");
}

static void page_fault(struct trap_frame *f)
{
    uint64_t address = cr2_read();
    enum quire_status status = QUIRE_NOT_MAPPED;

    if (UNLIKELY(f->error & PF_RESERVED || (!frame_is_user(f) && !in_user_access(f))))
        fault_impossible(f);
    if (LIKELY(address < USER_HIGH && current->mm)) {
        current->minor_faults++;
        status = quire_fault(current->mm->space, address, fault_access(f->error));
    }
    if (UNLIKELY(status != QUIRE_OK))
        fault_refused(f, address, status);
}

static void interrupt(unsigned irq)
{
    if (irq == IRQ_TIMER) {
        clock_tick();
        (void)blk_poll();
        swap_tick();
        sched_tick();
    } else if (irq == IRQ_SERIAL) {
        serial_interrupt();
    }
    irq_end(irq);
}

/* Vectors below 32 but the page fault, out of user mode. */
static void exception(const struct trap_frame *f)
{
    current->signals->last_trap = (uint32_t)f->vector;
    current->signals->last_error = (uint32_t)f->error;
    switch (f->vector) {
    case 0: signal_force(SIGFPE, FPE_INTDIV, f->rip); break;
    case VECTOR_DEBUG: signal_force(SIGTRAP, TRAP_TRACE, f->rip); break;
    case VECTOR_BREAKPOINT: signal_force(SIGTRAP, TRAP_BRKPT, f->rip); break;
    case 6: signal_force(SIGILL, ILL_ILLOPN, f->rip); break;
    case 16:
    case 19: signal_force(SIGFPE, 0, f->rip); break;
    case 17: signal_force(SIGBUS, BUS_ADRALN, 0); break;
    default: signal_force(SIGSEGV, SI_KERNEL, 0); break;
    }
}

/* Every vector but the page fault. */
static __attribute__((noinline)) void trap_other(struct trap_frame *f)
{
    if (f->vector >= VECTOR_IRQ)
        interrupt((unsigned)f->vector - VECTOR_IRQ);
    else if (f->vector == VECTOR_DOUBLE_FAULT)
        frame_panic(f, stack_guard_hit(cr2_read()) ? "kernel stack overflow" : "double fault");
    else if (f->vector == VECTOR_NMI)
        frame_panic(f, "the hardware reports an error");
    else if (!frame_is_user(f))
        frame_panic(f, "exception in the kernel");
    else
        exception(f);
}

/* Does nothing stand between the program and its next instruction? */
static bool user_clear(const struct trap_frame *f)
{
    const struct proc_signals *s = current->signals;

    return !sched_wanted && (s->pending & ~s->blocked) == 0 && f->rip < USER_HIGH;
}

static __attribute__((noinline)) void user_return_slowly(struct trap_frame *f)
{
    for (;;) {
        if (sched_wanted)
            sched_yield_cpu();
        if (f->rip >= USER_HIGH && !signal_pending()) {
            /* iretq to an address that is not canonical would fault in the kernel. */
            signal_force(SIGSEGV, SI_KERNEL, f->rip);
        }
        if (!signal_pending())
            return;
        if (current->stand_in)
            user_execute_end();
        signal_deliver(f);
    }
}

void trap_handle(struct trap_frame *f)
{
    if (LIKELY(f->vector == VECTOR_PAGE_FAULT))
        page_fault(f);
    else
        trap_other(f);
    if (frame_is_user(f) && UNLIKELY(!user_clear(f)))
        user_return_slowly(f);
}

void user_return(struct trap_frame *f)
{
    if (UNLIKELY(!user_clear(f)))
        user_return_slowly(f);
}
