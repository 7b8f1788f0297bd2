/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 machine: CR3, invlpg, the kernel's half of a root table, and the interrupt by which
 * one CPU makes others forget.
 *
 * Without process-context identifiers the TLB of a CPU holds translations of at most one space, the
 * one in CR3, and of the kernel's half, which is the same in all of them.  Three rules follow:
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
 * With identifiers (mmu->tagged) a CPU keeps what it knows of the spaces that it ran last, each
 * under an identifier; `owner` says whose it is.  A space that runs again and still owns one finds
 * it all there.  No other space does: whoever is given an identifier has the processor forget what
 * is under it, by the same write to CR3, so there are no generations to run out of.  invlpg and
 * CR3 reach the current identifier alone; therefore:
 *
 *   - A flush takes a space's identifier away, without an interrupt, on every CPU that keeps
 *     translations of it and does not run it.  So does a CPU that is asked and runs it no more.
 *   - A CPU begins to run a space by saying so, and looks whether it owns an identifier then; a
 *     flush takes away, and looks who runs the space then.  So whichever was first, the CPU is
 *     asked, or finds that it owns nothing.
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
#include "processor.h"

enum { FLUSH_BY_PAGE = 32 };

void mmu_root_init(void *machine, uint64_t *root)
{
    const struct mmu *m = machine;

    for (unsigned i = MMU_ROOT_ENTRIES; i < QUIRE_TABLE_ENTRIES; i++)
        root[i] = m->kernel_root[i];
}

/* ---- identifiers ----------------------------------------------------------------------------- */

/* Identifier i + 1 belongs to owner[i]; 0 is for when no space runs, and kept for nobody. */

/* On the CPU that runs here: the identifier of a space, with CR3_KEEP if it was the space's. */
static uint64_t identifier_of(struct mmu_cpu *cpu, struct quire_space *space)
{
    uint32_t i;

    for (i = 0; i < MMU_IDENTIFIERS; i++)
        if (__atomic_load_n(&cpu->owner[i], __ATOMIC_ACQUIRE) == space)
            return CR3_KEEP | (i + 1);
    i = cpu->identifiers_given++ % MMU_IDENTIFIERS;
    __atomic_store_n(&cpu->owner[i], space, __ATOMIC_RELEASE);
    return i + 1;
}

/* Take the identifier of a space away on a CPU, or, if it is null, those of all. */
static void identifier_take(struct mmu_cpu *cpu, const struct quire_space *space)
{
    for (uint32_t i = 0; i < MMU_IDENTIFIERS; i++) {
        struct quire_space *owner = __atomic_load_n(&cpu->owner[i], __ATOMIC_ACQUIRE);

        if (owner && (!space || owner == space))
            __atomic_compare_exchange_n(&cpu->owner[i], &owner, NULL, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED);
    }
}

/* ---- this CPU -------------------------------------------------------------------------------- */

static uint64_t cr3_of(pfn_t root) { return (uint64_t)root << QUIRE_PAGE_SHIFT; }

/* Interrupts are off. */
static void run(const struct mmu *m, struct mmu_cpu *cpu, struct quire_space *space, pfn_t root)
{
    uint64_t identifier = space && m->tagged ? identifier_of(cpu, space) : 0;

    processor_between();
    cpu->cr3 = (space ? cr3_of(root) : m->kernel_cr3) | (identifier & CR3_IDENTIFIER);
    cr3_write(cpu->cr3 | (identifier & CR3_KEEP));
    processor_between();
    __atomic_store_n(&cpu->running, space, __ATOMIC_RELEASE);
}

static void forget_all(struct mmu_cpu *cpu)
{
    cpu->flushed_all++;
    cr3_write(cpu->cr3);
}

static inline void forget_range(struct mmu_cpu *cpu, vaddr_t low, vaddr_t high)
{
    if ((high - low) >> QUIRE_PAGE_SHIFT > FLUSH_BY_PAGE) {
        forget_all(cpu);
        return;
    }
    for (vaddr_t address = low; address < high; address += QUIRE_PAGE_SIZE) {
        cpu->flushed_pages++;
        page_forget(address);
    }
}

/* On the CPU that runs here: its identifiers but the current one, and what is under that. */
static inline void forget(struct mmu_cpu *cpu, const struct mmu_request *request)
{
    if (!request->space) {
        identifier_take(cpu, NULL);
        forget_all(cpu);
    } else if (cpu->running != request->space) {
        identifier_take(cpu, request->space);
    } else if (request->low < request->high) {
        forget_range(cpu, request->low, request->high);
    } else {
        cpu->cr3 = request->cr3 | (cpu->cr3 & CR3_IDENTIFIER);
        forget_all(cpu);
    }
}

#if MMU_CPUS == 1

static struct mmu_cpu *begin(struct mmu *m, struct quire_space *space)
{
    (void)space;
    return m->cpus;
}

/* Made for what it is asked: with one page it is a dozen instructions. */
static inline __attribute__((always_inline)) void flush(struct mmu *m,
                                                        const struct mmu_request *request)
{
    uint64_t flags = interrupts_off();

    forget(m->cpus, request);
    interrupts_restore(flags);
}

#else

/* ---- several CPUs ---------------------------------------------------------------------------- */

/* This CPU is about to run the space. */
static struct mmu_cpu *begin(struct mmu *m, struct quire_space *space)
{
    struct mmu_cpu *cpu = &m->cpus[m->current()];

    (void)__atomic_exchange_n(&cpu->next, space, __ATOMIC_SEQ_CST);
    processor_between();
    return cpu;
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

static bool runs(const struct mmu_cpu *cpu, const struct quire_space *space)
{
    return __atomic_load_n(&cpu->next, __ATOMIC_ACQUIRE) == space ||
           __atomic_load_n(&cpu->running, __ATOMIC_ACQUIRE) == space;
}

/* Is the CPU to be asked?  If not, it keeps nothing of the space either. */
static bool holds(const struct mmu *m, struct mmu_cpu *cpu, const struct quire_space *space)
{
    if (!space || runs(cpu, space))
        return true;
    if (!m->tagged)
        return false;
    processor_between();
    identifier_take(cpu, space);
    return runs(cpu, space);
}

/* The CPUs, but this one, that may hold translations of the space. */
static uint64_t holders(struct mmu *m, const struct quire_space *space, uint32_t me)
{
    uint64_t found = 0;

    for (uint32_t i = 0; i < MMU_CPUS; i++)
        if (i != me && holds(m, &m->cpus[i], space))
            found |= UINT64_C(1) << i;
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
        processor_pause();
    }
    interrupts_restore(flags);
}

#endif

/* ---- what core asks -------------------------------------------------------------------------- */

void mmu_activate(void *machine, struct quire_space *space, pfn_t root)
{
    struct mmu *m = machine;
    uint64_t flags = interrupts_off();

    run(m, begin(m, space), space, root);
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
