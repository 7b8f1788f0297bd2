/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 machine: CR3, invlpg, the kernel's half of a root table, and the interrupt by which
 * one CPU makes others forget.
 *
 * There are no process-context identifiers (docs/porting.md says why).  So the TLB of a CPU holds
 * translations of at most one space, the one in CR3, and of the kernel's half, which is the same in
 * all of them and never changes here.  Three rules follow:
 *
 *   - A flush has nothing to do on a CPU that does not run the space: the write to CR3 that will
 *     start it forgets everything anyway.
 *   - mmu_activate must write CR3 even when the value stays the same.  Two spaces that fork made
 *     can have the same root table until one of them writes, and flushes asked for one are not made
 *     for the other.
 *   - invlpg drops the page's translation and all cached pointers to tables for the current
 *     space (SDM volume 3, 4.10.4.1), so mmu_flush_page covers the upper levels as core wants it.
 *
 * A write to CR3 does not drop global translations; only the kernel's half is global.  A range of
 * more than FLUSH_BY_PAGE pages is cheaper to forget as a whole.
 *
 * Several CPUs.  A flush writes down what it wants, sets its bit in the word `asked` of every CPU
 * that runs the space, interrupts all of these at once, forgets on its own CPU, and waits until
 * each has cleared its bit in `unanswered`.  Whoever finds bits in its own word takes them, forgets
 * what each of those CPUs has written down, and answers.
 *
 *   - Interrupts are off in all that follows, so a thread stays where it is, and one CPU makes one
 *     request at a time.  A CPU that waits for answers looks at its own word meanwhile: two that
 *     ask each other both get theirs.  The interrupt that comes later finds nothing to do.
 *   - A CPU that starts to run a space says so first, by a locked instruction, and loads CR3 then.
 *     The flush has a fence between what core stored in the tables and its look at who runs what.
 *     So either the flush sees the CPU, or the CPU's walks see the tables.
 *   - Until CR3 is loaded the processor may walk the tables of the space that it leaves, of its own
 *     accord, and write accessed bits there.  So a CPU that changes from one to the other counts as
 *     running both.
 */
#include <quire/machine.h>

#include "entry.h"
#include "mmu.h"

enum { FLUSH_BY_PAGE = 32 };

static void cr3_write(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static void page_forget(vaddr_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

void mmu_root_init(void *machine, uint64_t *root)
{
    const struct mmu *m = machine;

    for (unsigned i = MMU_ROOT_ENTRIES; i < QUIRE_TABLE_ENTRIES; i++)
        root[i] = m->kernel_root[i];
}

/* ---- this CPU -------------------------------------------------------------------------------- */

static void forget_page(struct mmu_cpu *cpu, vaddr_t address)
{
    cpu->flushed_pages++;
    page_forget(address);
}

static void forget_range(struct mmu_cpu *cpu, vaddr_t low, vaddr_t high)
{
    if ((high - low) >> QUIRE_PAGE_SHIFT > FLUSH_BY_PAGE) {
        cpu->flushed_all++;
        cr3_write(cpu->cr3);
        return;
    }
    for (vaddr_t address = low; address < high; address += QUIRE_PAGE_SIZE)
        forget_page(cpu, address);
}

static void forget_all(struct mmu_cpu *cpu, uint64_t cr3)
{
    cpu->flushed_all++;
    cpu->cr3 = cr3;
    cr3_write(cr3);
}

static uint64_t cr3_of(pfn_t root) { return (uint64_t)root << QUIRE_PAGE_SHIFT; }

#if MMU_CPUS == 1

void mmu_activate(void *machine, struct quire_space *space, pfn_t root)
{
    struct mmu *m = machine;

    m->cpus[0].running = space;
    m->cpus[0].cr3 = space ? cr3_of(root) : m->kernel_cr3;
    cr3_write(m->cpus[0].cr3);
}

void mmu_flush_page(void *machine, struct quire_space *space, vaddr_t address)
{
    struct mmu_cpu *cpu = ((struct mmu *)machine)->cpus;

    if (cpu->running == space)
        forget_page(cpu, address);
}

void mmu_flush_range(void *machine, struct quire_space *space, vaddr_t low, vaddr_t high)
{
    struct mmu_cpu *cpu = ((struct mmu *)machine)->cpus;

    if (cpu->running == space)
        forget_range(cpu, low, high);
}

void mmu_flush_space(void *machine, struct quire_space *space, pfn_t root)
{
    struct mmu_cpu *cpu = ((struct mmu *)machine)->cpus;

    if (cpu->running == space)
        forget_all(cpu, cr3_of(root));
}

void mmu_flush_all(void *machine)
{
    struct mmu_cpu *cpu = ((struct mmu *)machine)->cpus;

    forget_all(cpu, cpu->cr3);
}

#else

/* ---- several CPUs ---------------------------------------------------------------------------- */

enum { FLAGS_INTERRUPT = 0x200 };

/* Turn interrupts off; returns the flags for interrupts_restore. */
static uint64_t interrupts_off(void)
{
    uint64_t flags;

    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

static void interrupts_restore(uint64_t flags)
{
    if (flags & FLAGS_INTERRUPT)
        __asm__ volatile("sti" : : : "memory");
}

void mmu_activate(void *machine, struct quire_space *space, pfn_t root)
{
    struct mmu *m = machine;
    uint64_t flags = interrupts_off();
    struct mmu_cpu *cpu = &m->cpus[m->current()];

    (void)__atomic_exchange_n(&cpu->next, space, __ATOMIC_SEQ_CST);
    cpu->cr3 = space ? cr3_of(root) : m->kernel_cr3;
    cr3_write(cpu->cr3);
    __atomic_store_n(&cpu->running, space, __ATOMIC_RELEASE);
    interrupts_restore(flags);
}

/* On the CPU that runs here.  Nothing, if it does not run the space any more. */
static void forget(struct mmu_cpu *cpu, const struct mmu_request *request)
{
    if (request->space && cpu->running != request->space)
        return;
    if (request->low == request->high)
        forget_all(cpu, request->space ? request->cr3 : cpu->cr3);
    else
        forget_range(cpu, request->low, request->high);
}

/* Interrupts are off. */
static void answer(struct mmu *m, uint32_t me)
{
    uint64_t senders;

    if (__atomic_load_n(&m->cpus[me].asked, __ATOMIC_RELAXED) == 0)
        return;
    senders = __atomic_exchange_n(&m->cpus[me].asked, 0, __ATOMIC_SEQ_CST);
    for (; senders; senders &= senders - 1) {
        struct mmu_cpu *sender = &m->cpus[__builtin_ctzll(senders)];

        forget(&m->cpus[me], &sender->request);
        __atomic_fetch_and(&sender->unanswered, ~(UINT64_C(1) << me), __ATOMIC_SEQ_CST);
    }
}

void mmu_answer(struct mmu *m)
{
    uint64_t flags = interrupts_off();

    answer(m, m->current());
    interrupts_restore(flags);
}

/* The CPUs, but this one, that may hold translations of the space. */
static uint64_t holders(const struct mmu *m, const struct quire_space *space, uint32_t me)
{
    uint64_t found = 0;

    for (uint32_t i = 0; i < MMU_CPUS; i++) {
        if (i != me && (!space || __atomic_load_n(&m->cpus[i].next, __ATOMIC_ACQUIRE) == space ||
                        __atomic_load_n(&m->cpus[i].running, __ATOMIC_ACQUIRE) == space))
            found |= UINT64_C(1) << i;
    }
    return found;
}

static void ask(struct mmu *m, uint32_t me, uint64_t cpus)
{
    __atomic_store_n(&m->cpus[me].unanswered, cpus, __ATOMIC_RELAXED);
    for (uint64_t left = cpus; left; left &= left - 1) {
        __atomic_fetch_or(&m->cpus[__builtin_ctzll(left)].asked, UINT64_C(1) << me,
                          __ATOMIC_SEQ_CST);
        m->cpus[me].interrupted++;
    }
    m->interrupt(cpus);
}

static void flush(struct mmu *m, const struct mmu_request *request)
{
    uint64_t flags = interrupts_off(), others;
    uint32_t me = m->current();
    struct mmu_cpu *cpu = &m->cpus[me];

    /* What core has stored in the tables, before the look at who runs them. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    others = holders(m, request->space, me);
    cpu->request = *request;
    if (others)
        ask(m, me, others);
    forget(cpu, request);
    while (__atomic_load_n(&cpu->unanswered, __ATOMIC_ACQUIRE)) {
        answer(m, me);
        __builtin_ia32_pause();
    }
    interrupts_restore(flags);
}

void mmu_flush_page(void *machine, struct quire_space *space, vaddr_t address)
{
    vaddr_t page = address & ~(vaddr_t)(QUIRE_PAGE_SIZE - 1);

    flush(machine, &(struct mmu_request){space, page, page + QUIRE_PAGE_SIZE, 0});
}

void mmu_flush_range(void *machine, struct quire_space *space, vaddr_t low, vaddr_t high)
{
    flush(machine, &(struct mmu_request){space, low, high, 0});
}

void mmu_flush_space(void *machine, struct quire_space *space, pfn_t root)
{
    flush(machine, &(struct mmu_request){.space = space, .cr3 = cr3_of(root)});
}

void mmu_flush_all(void *machine) { flush(machine, &(struct mmu_request){.space = NULL}); }

#endif
