/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 machine on processors in software, with identifiers of spaces and without.
 *
 *     test_x86_64_processor SEED OPERATIONS EVERY ROUNDS TAGGED
 *
 * QEMU's translator has no process-context identifiers, so machine/x86_64/mmu.c meets them here:
 * its instructions (processor.h) work on four processors that translate as the manual lets them
 * (SDM volume 3, 4.10).  Each keeps, under the identifier in its CR3, translations and pointers to
 * leaf tables, as long as nothing makes it forget: a write to CR3 without the bit that keeps, of
 * one identifier; invlpg, of the current one; a fault, at its address.  They walk quire's tables
 * and set accessed and dirty bits by compare-and-swap.
 *
 * First the sequence of trace.c, with one processor after the other, and a flush that interrupts
 * the others at once: its hashes must be those of the soft machine (run.py compares).  Then one
 * begins to run a space while another maps another frame in it, each of them stopped at every point
 * of mmu.c where the other could come between.  Then free.c with a thread for each processor, which
 * takes requests between its accesses and while it waits.
 */
#include "bare.h"

#include "entry.h"
#include "processor.h"

#include <inttypes.h>
#include <pthread.h>
#include <quire/host.h>
#include <quire/machine.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    FRAMES_FIRST = 16,
    FRAMES = 16384,
    TRANSLATIONS = 512,
    TABLES = 32,
    TRIES = 1000, /* faults of one access */
};

struct translation {
    uint64_t tag; /* page and identifier; 0: none (nothing is mapped at page 0) */
    pfn_t pfn;
    bool writable, dirty;
};

/* A pointer to a leaf table, and the rights of the path to it. */
struct upper {
    uint64_t tag; /* where the table begins, and identifier; 0: none */
    pfn_t table;
    bool writable;
};

static struct processor {
    uint64_t cr3, kept; /* kept: how often a space found its translations again */
    struct translation translation[TRANSLATIONS];
    struct upper upper[TABLES];
} processors[MMU_CPUS];

struct quire *q;
static struct mmu machine;
static uint64_t kernel_root[QUIRE_TABLE_ENTRIES];
static unsigned char *memory;
static struct bare_cpu cpus[MMU_CPUS];
static _Thread_local uint32_t here; /* the processor that runs this thread */
static bool threads;
static uint32_t over;

struct bare_cpu *me(void) { return &cpus[here]; }

void say(const char *text, uint64_t n) { printf("%s %" PRIu64 "\n", text, n); }

_Noreturn void fail(const char *what, uint64_t n)
{
    printf("FAILED cpu%" PRIu32 ": %s %" PRIu64 "\n", here, what, n);
    exit(1);
}

/* ---- what a processor keeps ------------------------------------------------------------------ */

static struct processor *processor(void) { return &processors[here]; }
static uint64_t identifier(void) { return processor()->cr3 & CR3_IDENTIFIER; }
static uint64_t page_tag(vaddr_t address)
{
    return (address & ~(vaddr_t)(QUIRE_PAGE_SIZE - 1)) | identifier();
}
static uint64_t table_tag(vaddr_t address)
{
    return (address >> QUIRE_PAGE_SHIFT >> QUIRE_TABLE_SHIFT << QUIRE_PAGE_SHIFT) | identifier();
}

static struct translation *translation_at(vaddr_t address)
{
    uint64_t at = (address >> QUIRE_PAGE_SHIFT) ^ identifier() << 5;

    return &processor()->translation[at % TRANSLATIONS];
}

static struct upper *upper_at(vaddr_t address)
{
    uint64_t at = table_tag(address);

    return &processor()->upper[(at ^ at >> QUIRE_PAGE_SHIFT) % TABLES];
}

void cr3_write(uint64_t value)
{
    struct processor *p = processor();

    if (value & (CR3_KEEP | CR3_IDENTIFIER) && !machine.tagged)
        fail("a value for CR3 that faults", value);
    p->cr3 = value & ~CR3_KEEP;
    if (value & CR3_KEEP) {
        p->kept++;
        return;
    }
    for (unsigned i = 0; i < TRANSLATIONS; i++)
        if ((p->translation[i].tag & CR3_IDENTIFIER) == identifier())
            p->translation[i].tag = 0;
    for (unsigned i = 0; i < TABLES; i++)
        if ((p->upper[i].tag & CR3_IDENTIFIER) == identifier())
            p->upper[i].tag = 0;
}

void page_forget(vaddr_t address)
{
    struct processor *p = processor();

    if (translation_at(address)->tag == page_tag(address))
        translation_at(address)->tag = 0;
    for (unsigned i = 0; i < TABLES; i++)
        if ((p->upper[i].tag & CR3_IDENTIFIER) == identifier())
            p->upper[i].tag = 0;
}

uint64_t interrupts_off(void) { return 0; }
void interrupts_restore(uint64_t flags) { (void)flags; }
/*
 * Two processors that meet: the one whose turn it is goes on, until it passes `between` so many
 * times, or has to wait for the other.
 */
static struct {
    bool on;
    uint32_t turn, done; /* done: a bit for each that has nothing left to do */
    uint32_t stops;      /* the processor that stops .. */
    unsigned after;      /* .. at this point; 0: it has */
} meeting;

static void turn_wait(void)
{
    while (__atomic_load_n(&meeting.turn, __ATOMIC_ACQUIRE) != here)
        sched_yield();
}

static void turn_give(void)
{
    if (__atomic_load_n(&meeting.done, __ATOMIC_ACQUIRE) != 0)
        return;
    __atomic_store_n(&meeting.turn, !here, __ATOMIC_RELEASE);
    turn_wait();
}

static void turn_end(void)
{
    __atomic_fetch_or(&meeting.done, 1u << here, __ATOMIC_ACQ_REL);
    __atomic_store_n(&meeting.turn, !here, __ATOMIC_RELEASE);
}

void processor_pause(void)
{
    if (meeting.on)
        turn_give();
    else
        sched_yield();
}

void processor_between(void)
{
    if (meeting.on && here == meeting.stops && meeting.after > 0 && --meeting.after == 0)
        turn_give();
}

static uint32_t cpu_current(void) { return here; }

static void cpus_interrupt(uint64_t targets)
{
    uint32_t before = here;

    for (; !threads && !meeting.on && targets; targets &= targets - 1) {
        here = (uint32_t)__builtin_ctzll(targets);
        mmu_answer(&machine);
    }
    here = before;
}

/* ---- accesses -------------------------------------------------------------------------------- */

static void *frame_at(uint64_t pfn) { return memory + (pfn - FRAMES_FIRST) * QUIRE_PAGE_SIZE; }

/* Read an entry and set bits in it; it must be present, and with `write` writable. */
static bool entry_use(entry_t *at, bool write, entry_t bits, entry_t *entry)
{
    *entry = __atomic_load_n(at, __ATOMIC_ACQUIRE);
    do {
        if (!(*entry & ENTRY_PRESENT) || (write && !(*entry & ENTRY_WRITE)))
            return false;
    } while ((*entry & bits) != bits &&
             !__atomic_compare_exchange_n(at, entry, *entry | bits, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    return true;
}

static entry_t *entry_at(uint64_t pfn, vaddr_t address, unsigned level)
{
    unsigned shift = QUIRE_PAGE_SHIFT + level * QUIRE_TABLE_SHIFT;

    return (entry_t *)frame_at(pfn) + (address >> shift) % QUIRE_TABLE_ENTRIES;
}

static uint64_t entry_pfn(entry_t entry)
{
    return (entry & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT;
}

/* The leaf table, and whether its path may be written; false: there is none. */
static bool upper_walk(vaddr_t address, struct upper *upper)
{
    uint64_t pfn = processor()->cr3 >> QUIRE_PAGE_SHIFT;
    entry_t entry;

    *upper = (struct upper){.tag = table_tag(address), .writable = true};
    for (unsigned level = QUIRE_LEVELS - 1; level > 0; level--) {
        if (!entry_use(entry_at(pfn, address, level), false, ENTRY_ACCESSED, &entry))
            return false;
        upper->writable &= (entry & ENTRY_WRITE) != 0;
        pfn = entry_pfn(entry);
    }
    upper->table = (pfn_t)pfn;
    return true;
}

/* Null: this access faults. */
static struct translation *walk(vaddr_t address, bool write)
{
    struct translation *t = translation_at(address);
    struct upper *upper = upper_at(address);
    entry_t entry;

    if (upper->tag != table_tag(address) && !upper_walk(address, upper)) {
        upper->tag = 0;
        return NULL;
    }
    if ((write && !upper->writable) ||
        !entry_use(entry_at(upper->table, address, 0), write,
                   ENTRY_ACCESSED | (write ? ENTRY_DIRTY : 0), &entry))
        return NULL;
    *t = (struct translation){.tag = page_tag(address),
                              .pfn = (pfn_t)entry_pfn(entry),
                              .writable = upper->writable && entry & ENTRY_WRITE,
                              .dirty = write};
    return t;
}

static enum quire_status cpu_access(vaddr_t address, uint64_t *word, bool write)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct translation *t = translation_at(address);
        enum quire_status status;

        mmu_answer(&machine);
        if (t->tag != page_tag(address) || (write && !(t->writable && t->dirty)))
            t = walk(address, write);
        if (t) {
            uint64_t *at = (uint64_t *)frame_at(t->pfn) + address % QUIRE_PAGE_SIZE / sizeof *at;

            if (write)
                __atomic_store_n(at, *word, __ATOMIC_RELAXED);
            else
                *word = __atomic_load_n(at, __ATOMIC_RELAXED);
            return QUIRE_OK;
        }
        translation_at(address)->tag = upper_at(address)->tag = 0;
        status = quire_fault(me()->space, address, write ? QUIRE_WRITE : QUIRE_READ);
        if (status != QUIRE_OK)
            return status;
    }
    fail("the tables refuse for ever", address);
}

enum quire_status cpu_load(vaddr_t address, uint64_t *word)
{
    return cpu_access(address, word, false);
}

enum quire_status cpu_store(vaddr_t address, uint64_t word)
{
    return cpu_access(address, &word, true);
}

void cpu_run(struct quire_space *space)
{
    if (me()->space == space)
        return;
    quire_space_activate(q, space);
    me()->space = space;
}

/* ---- what quire asks ------------------------------------------------------------------------- */

uint32_t host_cpu(void *host)
{
    (void)host;
    return here;
}

bool host_need_frames(void *host, uint32_t frames)
{
    (void)host;
    fail("no memory for", frames);
}

bool host_need_commit(void *host, uint64_t pages)
{
    (void)host;
    (void)pages;
    return false;
}

void host_yield(void *host) { (void)host; }

void host_wait(void *host, const void *key)
{
    (void)host;
    (void)key;
    mmu_answer(&machine);
    processor_pause();
}

void host_wait_io(void *host, struct quire_section *section)
{
    (void)section;
    host_wait(host, NULL);
}

void host_report(void *host, const char *line)
{
    (void)host;
    puts(line);
}

_Noreturn void host_panic(const char *what, const char *file, int line)
{
    printf("%s in %s\n", what, file);
    fail("line", (uint64_t)line);
}

/* ---- the two parts --------------------------------------------------------------------------- */

static void trace_run(unsigned cpu, struct quire_space *space)
{
    here = cpu;
    cpu_run(space);
}

static enum quire_status trace_load(unsigned cpu, struct quire_space *space, vaddr_t address,
                                    uint64_t *word)
{
    trace_run(cpu, space);
    return cpu_load(address, word);
}

static enum quire_status trace_store(unsigned cpu, struct quire_space *space, vaddr_t address,
                                     uint64_t word)
{
    trace_run(cpu, space);
    return cpu_store(address, word);
}

static void trace_play(uint64_t seed, uint64_t ops, uint64_t every)
{
    static struct trace trace = {.run = trace_run, .load = trace_load, .store = trace_store};

    trace.q = q;
    trace_begin(&trace, seed);
    while (trace.done < ops) {
        here = trace.cpu;
        trace_step(&trace);
        if (trace.done % every == 0)
            printf("trace %" PRIu64 " %016" PRIx64 "\n", trace.done, trace_look(&trace));
    }
    for (here = 0; here < MMU_CPUS; here++)
        cpu_run(NULL);
    here = 0;
}

static uint64_t free_rounds;

static void *free_thread(void *index)
{
    here = (uint32_t)(uintptr_t)index;
    free_run(free_rounds);
    __atomic_fetch_add(&over, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&over, __ATOMIC_ACQUIRE) < MMU_CPUS)
        host_wait(NULL, NULL);
    return NULL;
}

static void free_play(void)
{
    pthread_t thread[MMU_CPUS];

    free_begin(MMU_CPUS);
    threads = true;
    for (uintptr_t i = 0; i < MMU_CPUS; i++)
        if (pthread_create(&thread[i], NULL, free_thread, (void *)i) != 0)
            fail("no thread", i);
    for (unsigned i = 0; i < MMU_CPUS; i++)
        pthread_join(thread[i], NULL);
    threads = false;
    free_end();
}

/* ---- two that meet --------------------------------------------------------------------------- */

enum { MEETING = 0x40000000 };
static struct quire_space *met;

static void word_write(vaddr_t address, uint64_t word)
{
    if (quire_write(met, address, &word, sizeof word, NULL) != QUIRE_OK)
        fail("write", address);
}

static void *meeting_thread(void *word)
{
    here = 1;
    turn_wait();
    word_write(MEETING, (uintptr_t)word);
    turn_end();
    return NULL;
}

/*
 * Processor 0 begins to run a space whose translations it keeps, and processor 1 writes a page in
 * it that a child shares, so that another frame is mapped there; `stops` is in the middle of that
 * when the other begins.  False: it had no such point.
 */
static bool meeting_play(struct quire_space *other, uint32_t stops, unsigned after)
{
    struct quire_space *child;
    pthread_t thread;
    uint64_t word = 0;

    word_write(MEETING, 0);
    if (quire_space_fork(met, &child) != QUIRE_OK)
        fail("fork", 0);
    word_write(MEETING + QUIRE_PAGE_SIZE, 0); /* the tables are its own again, the page is not */
    cpu_run(met);
    if (cpu_load(MEETING, &word) != QUIRE_OK || word != 0)
        fail("load", word);
    cpu_run(other);
    meeting.turn = stops;
    meeting.done = 0;
    meeting.stops = stops;
    meeting.after = after;
    meeting.on = true;
    if (pthread_create(&thread, NULL, meeting_thread, (void *)(uintptr_t)after) != 0)
        fail("no thread", 1);
    turn_wait();
    cpu_run(met);
    while (__atomic_load_n(&meeting.done, __ATOMIC_ACQUIRE) == 0)
        host_wait(NULL, NULL);
    pthread_join(thread, NULL);
    meeting.on = false;
    if (cpu_load(MEETING, &word) != QUIRE_OK || word != after) {
        say("processor that stopped:", stops);
        say("at point:", after);
        fail("a word of before:", word);
    }
    cpu_run(NULL);
    quire_space_destroy(child);
    return meeting.after == 0;
}

static void meetings_play(void)
{
    struct quire_space *other;
    uint64_t address = MEETING;
    unsigned points = 0;

    if (quire_space_create(q, &met) != QUIRE_OK || quire_space_create(q, &other) != QUIRE_OK ||
        quire_map(met, &address, 2 * QUIRE_PAGE_SIZE, QUIRE_READ | QUIRE_WRITE, QUIRE_MAP_FIXED) !=
            QUIRE_OK)
        fail("no space", 0);
    for (uint32_t stops = 0; stops < 2; stops++)
        for (unsigned after = 1; meeting_play(other, stops, after); after++)
            points++;
    say("points at which two met:", points);
    quire_space_destroy(met);
    quire_space_destroy(other);
}

/* What a processor keeps of a space that does not run, a flush of all takes. */
static void flush_all_play(void)
{
    struct quire_space *one, *other;
    uint64_t kept[3];

    if (quire_space_create(q, &one) != QUIRE_OK || quire_space_create(q, &other) != QUIRE_OK)
        fail("no space", 0);
    for (unsigned i = 0; i < 3; i++) {
        cpu_run(one);
        kept[i] = processor()->kept;
        cpu_run(other);
        if (i == 1)
            mmu_flush_all(&machine);
    }
    cpu_run(NULL);
    /* The other was found again as well, before the flush. */
    if (kept[1] != kept[0] + machine.tagged || kept[2] != kept[1] + machine.tagged)
        fail("translations kept:", kept[2]);
    quire_space_destroy(one);
    quire_space_destroy(other);
}

static void quire_begin(void)
{
    struct quire_config config = {
        .first_frame = FRAMES_FIRST,
        .frame_count = FRAMES,
        .max_spaces = 16,
        .max_sections = 2,
        .reserve = 64,
        .cpus = MMU_CPUS,
        .machine = &machine,
    };

    memory = mmap(NULL, (size_t)FRAMES * QUIRE_PAGE_SIZE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    config.direct_map = memory;
    config.arena_size = quire_arena_size(&config);
    config.arena =
        mmap(NULL, config.arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (config.arena == MAP_FAILED || memory == MAP_FAILED)
        fail("no memory of", config.arena_size);
    machine.kernel_root = kernel_root;
    machine.current = cpu_current;
    machine.interrupt = cpus_interrupt;
    if (quire_create(&config, &q) != QUIRE_OK ||
        quire_add_frames(q, FRAMES_FIRST, FRAMES) != QUIRE_OK)
        fail("quire_create", 0);
}

int main(int argc, char **argv)
{
    uint64_t option[5] = {1, 6000, 500, 20, 1}, kept = 0, asked = 0;

    for (int i = 1; i < argc && i <= 5; i++)
        option[i - 1] = strtoull(argv[i], NULL, 10);
    free_rounds = option[3];
    machine.tagged = option[4];
    for (uint32_t i = 0; i < MMU_CPUS; i++)
        cpus[i].index = i;
    quire_begin();
    trace_play(option[0], option[1], option[2]);
    flush_all_play();
    meetings_play();
    free_play();
    for (unsigned i = 0; i < MMU_CPUS; i++) {
        kept += processors[i].kept;
        asked += machine.cpus[i].interrupted;
    }
    say("CPUs asked to forget:", asked);
    say("translations kept:", kept);
    if (machine.tagged != (kept > 0))
        fail("translations kept, with identifiers or without:", kept);
    return 0;
}
