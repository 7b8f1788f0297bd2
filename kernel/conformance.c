/* SPDX-License-Identifier: MIT */
/*
 * The machine conformance suite (tests/machine) on the real page walk: boot option `conformance`.
 *
 * The suite wants single accesses whose faults nobody resolves.  They are made in the name of a
 * stand-in process without memory, for which the page fault handler refuses everything.  Loads and
 * stores go through user_copy, which then says that it failed.  To execute, the CPU is sent to user
 * mode at the address in question, where a breakpoint lies: either it traps, or the fetch does.  On
 * the way back user_return finds the stand-in and leaves through user_execute_end.
 */
#include "conformance.h"

#include "process.h"

static const uint8_t breakpoint[] = {0xcc};

static void conformance_activate(void *context, struct quire_space *space)
{
    (void)context;
    quire_space_activate(quire, space);
}

static bool execute(vaddr_t address)
{
    enum { FETCH = 16 }; /* in a page fault's error code */
    struct proc_signals *s = current->signals;
    const struct signal_info *info = &s->infos[SIGSEGV - 1];
    bool refused, fetched;

    user_execute(address);
    refused = s->pending & signal_bit(SIGSEGV) && s->last_trap == VECTOR_PAGE_FAULT &&
              s->last_error & FETCH && info->address == address;
    fetched = s->pending & signal_bit(SIGTRAP) && s->last_trap == VECTOR_BREAKPOINT;
    kassert(refused != fetched);
    s->pending = 0;
    return fetched;
}

static bool conformance_attempt(void *context, vaddr_t address, uint32_t access, uint8_t *byte)
{
    (void)context;
    if (access == QUIRE_EXEC)
        return execute(address);
    if (access == QUIRE_WRITE)
        return user_copy((void *)(uintptr_t)address, byte, 1) == 0;
    return user_copy(byte, (const void *)(uintptr_t)address, 1) == 0;
}

static void *conformance_frame(void *context, pfn_t pfn)
{
    (void)context;
    return direct((uint64_t)pfn * PAGE_SIZE);
}

static unsigned conformance_audit(void *context)
{
    (void)context;
    return quire_check(quire);
}

static void conformance_print(void *context, const char *line)
{
    (void)context;
    kprintf("%s\n", line);
}

void conformance_boot(void)
{
    struct conformance suite = {
        .q = quire,
        .machine = memory_machine(),
        .base = UINT64_C(1) << 40,
        .code = breakpoint,
        .code_size = sizeof breakpoint,
        .run = conformance_activate,
        .attempt = conformance_attempt,
        .frame = conformance_frame,
        .audit = conformance_audit,
        .print = conformance_print,
    };
    struct proc *stand_in = process_create();
    unsigned failed;

    if (!stand_in)
        panic("no memory for the conformance suite");
    stand_in->stand_in = true;
    memset(stand_in->signals, 0, sizeof *stand_in->signals);
    current = stand_in;
    cpu_set_stack((uint64_t)(uintptr_t)stand_in->stack + STACK_SIZE);
    failed = conformance_run(&suite);
    quire_space_activate(quire, NULL);
    kernel_end(failed == 0);
}
