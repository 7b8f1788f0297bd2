/* SPDX-License-Identifier: MIT */
/*
 * CPUs, TLBs, store buffers, flushes; and the hooks and host functions through which the library
 * reaches them.
 *
 * Every hook is a *point*: the CPU may give way to another before the access is made.  A load sees
 * the CPU's own buffered stores first.  An atomic operation empties the buffer before it; the
 * operation itself is done by the library after the hook returns and before its next point, so
 * nothing comes between; whether it changed the word is seen at that next point.
 *
 * TLB.  A CPU holds translations of pages and pointers to tables of the space that it runs, with
 * the rights found on the way, and several different ones of one page if walks found several: a
 * processor may have fetched any of them.  They go when a flush that covers them is taken, when an
 * access that they serve is refused, when the CPU begins to run another space, or when the explorer
 * says so.  An access uses the oldest translation that allows it.
 *
 * Flushes.  mmu_flush_* asks every other CPU that runs the space, and goes on when all have taken
 * the request.  A CPU takes requests when the explorer lets it: at any point but within an
 * instruction of the guest; in the *masked* mode also not within the library, except where it waits
 * (for a flush of its own, or in host_wait).
 *
 * What is checked, whenever a word that CPUs share has changed (machine_check):
 *   - what is held names a page that is in use, and tables that have parents;
 *   - the zero page is held without the right to write;
 *   - no two CPUs hold different frames for one page of one space if one of them may write;
 * and while nobody is in the library (machine_check_quiet):
 *   - all that is held is what a walk finds, with rights that a walk gives.
 */
#include "machine.h"

#include <quire/machine.h>

#include <stdio.h>
#include <string.h>

const uint8_t touched[TOUCHED] = {0, 1, 4, 16};
struct simulation sim;

void context_switch(void **save, void *load);

/* ---- points -------------------------------------------------------------------------------- */

void fail(const char *what, uint64_t number)
{
    size_t n = strlen(what);
    if (n > TEXT_MAX - 32)
        n = TEXT_MAX - 32;
    memcpy(sim.failure, what, n);
    memcpy(&sim.failure[n], ", ", 2);
    n += 2;
    char digits[24];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0)
        sim.failure[n++] = digits[--count];
    sim.failure[n] = 0;
    if (!sim.cpu)
        longjmp(sim.direct, 1);
    cpu_leave(sim.cpu, CPU_DONE);
    __builtin_unreachable();
}

void cpu_leave(struct cpu *cpu, enum cpu_state state)
{
    cpu->state = (uint8_t)state;
    context_switch(&cpu->sp, sim.explorer);
}

/* What the CPU may hold is decided, or was looked at, by this step. */
static void tlb_touched(unsigned cpu)
{
    sim.changed = true;
    sim.refill |= (uint8_t)(1u << cpu);
    if (sim.tracking)
        step_note_object(OBJECT_TLB, cpu, true);
}

static bool watches(const struct cpu *cpu, size_t word)
{
    return cpu->watched[word / 64] >> word % 64 & 1;
}

/* Words are of 1, 4 or 8 bytes. */
static uint64_t word_read(const void *at, unsigned size)
{
    return size == 1   ? *(const uint8_t *)at
           : size == 4 ? *(const uint32_t *)at
                       : *(const uint64_t *)at;
}

static void word_write(void *at, uint64_t value, unsigned size)
{
    if (size == 1)
        *(uint8_t *)at = (uint8_t)value;
    else if (size == 4)
        *(uint32_t *)at = (uint32_t)value;
    else
        *(uint64_t *)at = value;
}

/* A store of `cpu` can be seen by all. */
static void stored(struct cpu *cpu, const void *address, unsigned size)
{
    struct world *w = sim.world;
    if (sim.tracking)
        step_note(address, size, true);
    for (unsigned i = 0; i < w->cpu_count; i++) {
        struct cpu *other = &w->cpu[i];
        other->tried_again = false;
        if (other != cpu && (!other->key || share_within(other->key, address, size)))
            other->woken = true;
    }
    if (!world_in_frames(address))
        return;
    sim.changed = true;
    for (unsigned i = 0; i < w->cpu_count; i++)
        if (watches(&w->cpu[i], world_frame_word(address)))
            tlb_touched(i);
}

/* The atomic operation that was under way is over. */
static void settle(struct cpu *cpu)
{
    const void *at = cpu->changing;
    unsigned size = (unsigned)cpu->changing_size;
    if (!at)
        return;
    uint64_t from = cpu->changing_from;
    cpu->changing = NULL;
    cpu->changing_from = cpu->changing_size = 0;
    if (word_read(at, size) != from)
        stored(cpu, at, size);
}

/*
 * Nothing more to do before somebody else has stored something.  While every schedule is explored
 * that is a store to the word which the library names, if it is one that says by itself whether
 * there is reason to wait: to look sooner would change nothing.
 */
static const void *key_of(const void *key)
{
    const struct world *w = sim.world;
    if (!sim.tracking)
        return NULL;
    for (unsigned i = 0; i < SLOTS; i++)
        if (w->space[i] && key == (const void *)&w->space[i]->root)
            return NULL;
    return key;
}

static bool key_is_free(const void *key)
{
    if (!key)
        return false;
    return world_in_frames(key) ? !(*(const entry_t *)key & ENTRY_BUSY)
                                : *(const uint32_t *)key == 0;
}

static void cpu_wait(struct cpu *cpu, const void *key)
{
    settle(cpu);
    cpu->key = key_of(key);
    cpu->woken = key_is_free(cpu->key);
    cpu_leave(cpu, CPU_WAITS);
    cpu->key = NULL;
}

/* A point that others can tell from the next. */
static void point_seen(struct cpu *cpu)
{
    settle(cpu);
    sim.passed++;
    sim.spent++;
    if (--sim.budget > 0) {
        sim.stepped = sim.stepwise;
        if (sim.stepped)
            context_switch(&cpu->sp, sim.explorer);
        return;
    }
    sim.gave_way = true;
    cpu_leave(cpu, CPU_RUNS);
}

static bool seen_by_others(struct cpu *cpu, const void *address, unsigned size, bool write)
{
    return !sim.tracking || share_access(address, size, write, cpu_index(cpu));
}

static void point(struct cpu *cpu, const void *address, enum access access, unsigned size)
{
    bool write = access != ACCESS_LOAD;
    if (sim.counter)
        sim.counter(address, access, size);
    if (seen_by_others(cpu, address, size, write) && (write || !sim.coarse)) {
        point_seen(cpu);
    } else {
        settle(cpu);
        sim.passed++;
    }
}

/* ---- for people ---------------------------------------------------------------------------- */

/* What CPUs did since the last machine_describe: written down, because printing needs a stack. */
static struct noted {
    const char *what;
    const void *address;
    uint64_t value;
    unsigned cpu;
} noted[4096];
static unsigned noted_count;

static void note(const struct cpu *cpu, const char *what, const void *address, uint64_t value)
{
    if (sim.verbose && noted_count < sizeof noted / sizeof noted[0])
        noted[noted_count++] = (struct noted){what, address, value, cpu_index(cpu)};
}

static void note_print(const struct noted *n)
{
    char where[64];
    if (world_in_frames(n->address))
        snprintf(where, sizeof where, "frame %u entry %u",
                 frame_of(&sim.world->q->frames, n->address),
                 (unsigned)((uintptr_t)n->address % QUIRE_PAGE_SIZE / 8));
    else
        snprintf(where, sizeof where, "arena %+ld",
                 (long)((const char *)n->address - (const char *)sim.world->q));
    printf("      CPU %u %s: %s, %llx\n", n->cpu, n->what, where, (unsigned long long)n->value);
}

void machine_describe(void)
{
    static const char *const states[] = {"runs", "waits", "flushes", "stalls", "done"};
    static const char *const levels[] = {"page", "leaf", "upper"};
    const struct world *w = sim.world;
    for (unsigned i = 0; i < noted_count; i++)
        note_print(&noted[i]);
    noted_count = 0;
    for (unsigned i = 0; i < w->cpu_count; i++) {
        const struct cpu *cpu = &w->cpu[i];
        printf("    CPU %u %s, root %u, %u buffered, holds", i, states[cpu->state], cpu->root,
               cpu->store_count);
        for (unsigned h = 0; h < cpu->held_count; h++)
            printf(" %s %u=%u%s", levels[cpu->held[h].level], cpu->held[h].page, cpu->held[h].pfn,
                   cpu->held[h].write ? "w" : "");
        printf("\n");
    }
}

/* ---- store buffers ------------------------------------------------------------------------- */

/* The oldest store is no longer buffered, but in memory. */
static void made_visible(struct cpu *cpu)
{
    struct buffered b = cpu->store[0];
    cpu->store_count--;
    memmove(&cpu->store[0], &cpu->store[1], cpu->store_count * sizeof b);
    memset(&cpu->store[cpu->store_count], 0, sizeof b);
    sim.world->history.drained[cpu_index(cpu)]++;
    if (cpu->store_count == 0 && cpu->ops_seen != cpu->ops_ended) {
        cpu->ops_seen = cpu->ops_ended;
        if (sim.tracking)
            step_note_object(OBJECT_ENDS, cpu_index(cpu), true);
    }
    if (!b.local)
        stored(cpu, b.at, b.size);
}

void machine_drain(struct cpu *cpu)
{
    const struct buffered *b = &cpu->store[0];
    if (sim.cpu != cpu)
        word_write(b->at, b->value, b->size);
    made_visible(cpu);
}

void machine_drain_all(struct cpu *cpu)
{
    while (cpu->store_count > 0)
        machine_drain(cpu);
}

unsigned machine_buffered(const struct cpu *cpu)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cpu->store_count; i++)
        count += !cpu->store[i].local;
    return count;
}

/* The CPU begins to run: memory becomes what it sees. */
static void buffer_apply(struct cpu *cpu)
{
    for (unsigned i = 0; i < cpu->store_count; i++) {
        struct buffered *b = &cpu->store[i];
        b->before = word_read(b->at, b->size);
        word_write(b->at, b->value, b->size);
    }
}

/* It stops: what is still buffered goes back.  A word that was overwritten without a hook keeps the
 * new value in the buffer. */
static void buffer_take_back(struct cpu *cpu)
{
    for (unsigned i = cpu->store_count; i-- > 0;) {
        struct buffered *b = &cpu->store[i];
        b->value = word_read(b->at, b->size);
        word_write(b->at, b->before, b->size);
        b->before = 0;
    }
}

static void cpu_store(struct cpu *cpu, void *at, uint64_t value, unsigned size, bool local)
{
    if (sim.mode.tso && !local)
        while (machine_buffered(cpu) >= sim.mode.depth)
            cpu_leave(cpu, CPU_STALLS);
    if (cpu->store_count == STORES_MAX)
        machine_drain_all(cpu);
    struct buffered *b = &cpu->store[cpu->store_count++];
    *b = (struct buffered){at, 0, word_read(at, size), size, local};
    word_write(at, value, size);
    b->value = word_read(at, size);
    while (cpu->store_count > 0 && (cpu->store[0].local || !sim.mode.tso))
        machine_drain(cpu);
}

/* ---- the hooks of core/hook.h -------------------------------------------------------------- */

enum qi_canary qi_test_canary;

bool qi_test_fail(enum qi_site site)
{
    (void)site;
    return false;
}

bool qi_test_failed(void) { return false; }

uint64_t qi_test_load(const void *address, unsigned size)
{
    struct cpu *cpu = sim.cpu;
    if (!cpu)
        return word_read(address, size);
    point(cpu, address, ACCESS_LOAD, size);
    uint64_t value = word_read(address, size);
    if (sim.tracking)
        step_note(address, size, false);
    note(cpu, "loads", address, value);
    return value;
}

void qi_test_store(void *address, uint64_t value, unsigned size)
{
    struct cpu *cpu = sim.cpu;
    if (!cpu) {
        word_write(address, value, size);
        return;
    }
    point(cpu, address, ACCESS_STORE, size);
    note(cpu, "stores", address, value);
    cpu_store(cpu, address, value, size, !seen_by_others(cpu, address, size, true));
}

/* An atomic operation follows: what it changes is seen at the next point. */
static void changing(struct cpu *cpu, void *address, unsigned size)
{
    machine_drain_all(cpu);
    cpu->changing = address;
    cpu->changing_from = word_read(address, size);
    cpu->changing_size = size;
}

void qi_test_touch(const void *address, unsigned size)
{
    struct cpu *cpu = sim.cpu;
    if (!cpu)
        return;
    point(cpu, address, ACCESS_CHANGE, size);
    note(cpu, "changes", address, word_read(address, 4));
    if (sim.tracking)
        step_note(address, size, false);
    changing(cpu, (void *)(uintptr_t)address, size);
}

void qi_test_touch_all(const void *address, bool write)
{
    struct cpu *cpu = sim.cpu;
    const char *at = address;
    if (!cpu)
        return;
    for (unsigned i = 0; sim.tracking && i < QUIRE_PAGE_SIZE; i += 8)
        share_access(at + i, 8, write, cpu_index(cpu));
    point(cpu, address, write ? ACCESS_CHANGE : ACCESS_LOAD, 8);
    note(cpu, write ? "writes all of" : "passes", address, word_read(address, 4));
    for (unsigned i = 0; sim.tracking && i < QUIRE_PAGE_SIZE; i += 8)
        step_note(at + i, 8, write);
    if (!write)
        return;
    changing(cpu, (void *)(uintptr_t)address, 8);
    sim.changed = true;
    for (unsigned i = 0; i < sim.world->cpu_count; i++)
        for (unsigned n = 0; n < QUIRE_PAGE_SIZE; n += 8)
            if (watches(&sim.world->cpu[i], world_frame_word(at + n)))
                tlb_touched(i);
}

/* ---- host.h -------------------------------------------------------------------------------- */

uint32_t host_cpu(void *host)
{
    (void)host;
    return sim.cpu ? cpu_index(sim.cpu) : sim.direct_cpu;
}

bool host_need_frames(void *host, uint32_t frames)
{
    (void)host;
    (void)frames;
    return false;
}

bool host_need_commit(void *host, uint64_t pages)
{
    (void)host;
    (void)pages;
    return false;
}

/*
 * A CPU may go on at once, but not for ever: what it looks for again and again may be another's to
 * do.  No operation has so many slices here, so from then on it waits until somebody stores.  Where
 * every schedule is explored nothing is counted: who looks again and sees the same comes to a state
 * that was met.
 */
enum { YIELDS_MAX = 6 };

void host_yield(void *host)
{
    (void)host;
    struct cpu *cpu = sim.cpu;
    if (cpu && (sim.tracking || cpu->yields < YIELDS_MAX)) {
        sim.yielded = true;
        cpu->yields += !sim.tracking;
        point_seen(cpu);
    } else if (cpu) {
        cpu_wait(cpu, NULL);
        cpu->tried_again = false;
    }
}

void host_wait(void *host, const void *key)
{
    (void)host;
    struct cpu *cpu = sim.cpu;
    if (!cpu)
        fail("a word is held by nobody", world_offset(key));
    cpu_wait(cpu, key);
}

void host_wait_io(void *host, struct quire_section *section)
{
    (void)section;
    host_yield(host);
    if (!pager_end(false) && sim.world->io_ending > 0)
        host_wait(host, &sim.world->io_ending);
}

static void note_pager(void)
{
    if (sim.tracking && sim.cpu)
        step_note_object(OBJECT_PAGER, 0, true);
}

void machine_note_pager(void)
{
    if (sim.cpu) /* whoever hands a transfer on does so by stores of its own, after these */
        machine_drain_all(sim.cpu);
    note_pager();
}

void machine_io_ending(int32_t change)
{
    struct world *w = sim.world;
    w->io_ending += (uint32_t)change;
    for (unsigned i = 0; i < w->cpu_count; i++)
        w->cpu[i].woken |= w->cpu[i].key == &w->io_ending;
    note_pager();
}

void host_report(void *host, const char *line)
{
    (void)host;
    if (sim.failure[0])
        return;
    size_t n = strlen(line);
    if (n >= TEXT_MAX)
        n = TEXT_MAX - 1;
    memcpy(sim.failure, line, n);
    sim.failure[n] = 0;
}

void host_panic(const char *what, const char *file, int line)
{
    char text[TEXT_MAX];
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    size_t n = strlen(name), m = strlen(what);
    if (n + m + 3 > sizeof text)
        m = sizeof text - n - 3;
    memcpy(text, name, n);
    memcpy(text + n, ": ", 2);
    memcpy(text + n + 2, what, m);
    text[n + 2 + m] = 0;
    fail(text, (uint64_t)line);
}

/* ---- walks --------------------------------------------------------------------------------- */

void *machine_frame(pfn_t pfn) { return frame_memory(&sim.world->q->frames, pfn); }

/* The machine looks, which is no point of the library's. */
static pfn_t space_root(const struct quire_space *space)
{
    struct cpu *running = sim.cpu;
    sim.cpu = NULL;
    pfn_t root = quire_space_root(space);
    sim.cpu = running;
    return root;
}

static bool is_frame(pfn_t pfn) { return pfn - FIRST_FRAME < FRAMES; }

/* Pages that an entry of a table of `level` covers, as a shift. */
static unsigned level_shift(unsigned level) { return (level - 1) * QUIRE_TABLE_SHIFT; }

/* Where a walk stands, before its next step: a table, or a page at level 0. */
struct walk {
    pfn_t pfn;
    unsigned level;
    bool write, exec, dirty;
    entry_t *slot; /* of the last step */
};

static entry_t *walk_slot(const struct walk *walk, unsigned page)
{
    if (!is_frame(walk->pfn))
        fail("a walk leaves memory, frame", walk->pfn);
    entry_t *table = machine_frame(walk->pfn);
    return &table[(page >> level_shift(walk->level)) & (QUIRE_TABLE_ENTRIES - 1)];
}

/* One step; false: not present. */
static bool walk_step(struct walk *walk, unsigned page)
{
    walk->slot = walk_slot(walk, page);
    entry_t e = *walk->slot;
    if (!entry_present(e))
        return false;
    walk->pfn = entry_pfn(e);
    walk->level--;
    walk->write = walk->write && (e & ENTRY_WRITE);
    walk->exec = walk->exec && entry_exec(e);
    walk->dirty = (e & ENTRY_DIRTY) != 0;
    return true;
}

/* Set bits in the entry of a page as a locked operation does; false: it is another one by now. */
static bool walk_mark(struct cpu *cpu, const struct walk *walk, entry_t bits)
{
    entry_t e = *walk->slot;
    if (!entry_present(e) || entry_pfn(e) != walk->pfn ||
        ((bits & ENTRY_DIRTY) && !(e & ENTRY_WRITE)))
        return false;
    if ((e & bits) == bits)
        return true;
    *walk->slot = e | bits;
    if (sim.tracking)
        share_access(walk->slot, 8, true, WALKER);
    stored(cpu, walk->slot, 8);
    return true;
}

/* ---- what a CPU holds ---------------------------------------------------------------------- */

/* Does it translate `page`, or lead to what does? */
static bool held_covers(const struct held *h, unsigned page)
{
    unsigned shift = h->level * QUIRE_TABLE_SHIFT;
    return page >> shift == (unsigned)h->page >> shift;
}

static void held_remove(struct cpu *cpu, unsigned i)
{
    cpu->held_count--;
    memmove(&cpu->held[i], &cpu->held[i + 1], (cpu->held_count - i) * sizeof cpu->held[0]);
    memset(&cpu->held[cpu->held_count], 0, sizeof cpu->held[0]);
}

static void held_add(struct cpu *cpu, unsigned page, const struct walk *walk)
{
    unsigned shift = walk->level * QUIRE_TABLE_SHIFT;
    bool write = walk->write && (walk->level > 0 || walk->dirty);
    struct held new = {(uint8_t)walk->level, (uint8_t)(page >> shift << shift), write, walk->exec,
                       walk->pfn};
    for (unsigned i = 0; i < cpu->held_count; i++) {
        struct held *h = &cpu->held[i];
        if (h->level != new.level || h->page != new.page || h->pfn != new.pfn)
            continue;
        if (h->write >= new.write && h->exec >= new.exec)
            return;
        if (h->write <= new.write && h->exec <= new.exec) {
            *h = new;
            return;
        }
    }
    if (cpu->held_count == HELD_MAX) {
        sim.world->history.forgotten++;
        held_remove(cpu, 0);
    }
    cpu->held[cpu->held_count++] = new;
}

void machine_forget(struct cpu *cpu)
{
    memset(cpu->held, 0, sizeof cpu->held);
    cpu->held_count = 0;
}

/* One step of a walk for whatever reason, and hold what it finds. */
static void fill_step(struct cpu *cpu, struct walk walk, unsigned page)
{
    const entry_t *slot = walk_slot(&walk, page);
    size_t word = world_frame_word(slot);
    cpu->watched[word / 64] |= UINT64_C(1) << word % 64;
    if (sim.tracking) {
        share_access(slot, 8, false, WALKER);
        step_note(slot, 8, false);
    }
    if (!walk_step(&walk, page))
        return;
    if (walk.level == 0 && !walk_mark(cpu, &walk, ENTRY_ACCESSED))
        return;
    held_add(cpu, page, &walk);
}

void machine_fill(struct cpu *cpu, unsigned page)
{
    if (!cpu->space)
        return;
    fill_step(cpu, (struct walk){cpu->root, QUIRE_LEVELS, true, true, false, NULL}, page);
    /* What is added is further down in the list, and nearer to the pages. */
    for (unsigned i = 0; i < cpu->held_count; i++) {
        struct held h = cpu->held[i];
        if (h.level > 0 && held_covers(&h, page))
            fill_step(cpu, (struct walk){h.pfn, h.level, h.write, h.exec, false, NULL}, page);
    }
}

static void fill_cpu(struct cpu *cpu)
{
    memset(cpu->watched, 0, sizeof cpu->watched);
    for (unsigned p = 0; p < TOUCHED; p++)
        machine_fill(cpu, touched[p]);
}

void machine_fill_all(void)
{
    for (unsigned i = 0; i < sim.world->cpu_count; i++)
        fill_cpu(&sim.world->cpu[i]);
    sim.refill = 0;
}

/* To fill may set accessed bits, which others watch. */
void machine_refill(void)
{
    while (sim.refill) {
        unsigned cpu = (unsigned)__builtin_ctz(sim.refill);
        sim.refill &= (uint8_t)(sim.refill - 1);
        fill_cpu(&sim.world->cpu[cpu]);
    }
}

/* ---- flushes ------------------------------------------------------------------------------- */

/* An entry that was removed must not look empty before it is flushed (H8). */
static void flush_check_empty(const struct cpu *cpu, const struct held *h)
{
    struct walk walk = {space_root(cpu->space), QUIRE_LEVELS, true, true, false, NULL};
    while (walk.level > h->level)
        if (!walk_step(&walk, h->page)) {
            if (*walk.slot == 0)
                fail("an entry looks empty before it is flushed, page", h->page);
            return;
        }
}

/* Does the CPU run what is flushed? */
static bool flush_covers(const struct flush *flush, const struct cpu *cpu)
{
    return cpu->space && (!flush->space || cpu->space == flush->space);
}

static void flush_take(struct cpu *cpu, const struct flush *flush)
{
    if (!flush_covers(flush, cpu))
        return;
    tlb_touched(cpu_index(cpu));
    for (unsigned i = 0; i < cpu->held_count;) {
        const struct held *h = &cpu->held[i];
        unsigned last = h->page + (1u << h->level * QUIRE_TABLE_SHIFT) - 1;
        if (h->page >= flush->high || last < flush->low) {
            i++;
            continue;
        }
        flush_check_empty(cpu, h);
        held_remove(cpu, i);
    }
    if (flush->root != QI_NO_FRAME)
        cpu->root = flush->root;
}

bool machine_interruptible(const struct cpu *cpu)
{
    if (!cpu->pending || cpu->in_instruction)
        return false;
    return !sim.mode.masked || !cpu->in_quire || cpu->state != CPU_RUNS;
}

void machine_interrupt(struct cpu *cpu)
{
    struct world *w = sim.world;
    machine_drain_all(cpu);
    if (sim.tracking)
        step_note_object(OBJECT_REQUESTS, cpu_index(cpu), true);
    for (unsigned from = 0; from < w->cpu_count; from++) {
        if (!(cpu->pending >> from & 1))
            continue;
        flush_take(cpu, &cpu->request[from]);
        memset(&cpu->request[from], 0, sizeof cpu->request[from]);
        w->cpu[from].unacked &= (uint8_t) ~(1u << cpu_index(cpu));
    }
    cpu->pending = 0;
}

static void flush_everywhere(const struct flush *flush)
{
    struct world *w = sim.world;
    struct cpu *me = sim.cpu;
    if (!me) {
        for (unsigned i = 0; i < w->cpu_count; i++)
            flush_take(&w->cpu[i], flush);
        return;
    }
    point_seen(me);
    machine_drain_all(me);
    note(me, "flushes, from page to page and space", flush->space, flush->low << 16 | flush->high);
    flush_take(me, flush);
    for (unsigned i = 0; i < w->cpu_count; i++) {
        struct cpu *other = &w->cpu[i];
        bool asked = other != me && flush_covers(flush, other);
        if (sim.tracking)
            step_note_object(OBJECT_REQUESTS, i, asked);
        if (!asked)
            continue;
        other->request[cpu_index(me)] = *flush;
        other->pending |= (uint8_t)(1u << cpu_index(me));
        me->unacked |= (uint8_t)(1u << i);
        w->history.interrupts[cpu_index(me)]++;
        sim.interrupts++;
    }
    if (me->unacked)
        cpu_leave(me, CPU_FLUSHES);
}

/* ---- machine.h ----------------------------------------------------------------------------- */

void mmu_root_init(void *machine, uint64_t *root)
{
    (void)machine;
    (void)root;
}

void mmu_activate(void *machine, struct quire_space *space, pfn_t root)
{
    (void)machine;
    if (sim.cpu)
        point_seen(sim.cpu);
    struct cpu *cpu = sim.cpu ? sim.cpu : &sim.world->cpu[sim.direct_cpu];
    tlb_touched(cpu_index(cpu));
    if (sim.tracking)
        step_note_object(OBJECT_REQUESTS, cpu_index(cpu), true);
    if (cpu->space != space)
        machine_forget(cpu);
    cpu->space = space;
    cpu->root = root;
}

void mmu_flush_page(void *machine, struct quire_space *space, vaddr_t address)
{
    (void)machine;
    uint32_t page = (uint32_t)(address >> QUIRE_PAGE_SHIFT);
    flush_everywhere(&(struct flush){space, page, page + 1, QI_NO_FRAME});
}

void mmu_flush_range(void *machine, struct quire_space *space, vaddr_t low, vaddr_t high)
{
    (void)machine;
    flush_everywhere(&(struct flush){space, (uint32_t)(low >> QUIRE_PAGE_SHIFT),
                                     (uint32_t)(high >> QUIRE_PAGE_SHIFT), QI_NO_FRAME});
}

void mmu_flush_space(void *machine, struct quire_space *space, pfn_t root)
{
    (void)machine;
    flush_everywhere(&(struct flush){space, 0, PAGES, root});
}

void mmu_flush_all(void *machine)
{
    (void)machine;
    flush_everywhere(&(struct flush){NULL, 0, PAGES, QI_NO_FRAME});
}

/* ---- the guest's accesses ------------------------------------------------------------------ */

/* More faults than any sequence of reasons to refuse one access, with others under way. */
enum { FAULTS_MAX = 64, FAULTS_QUICK = 8 };

/* A point within an instruction: others may run, but no flush can end. */
static void point_guest(struct cpu *cpu)
{
    if (sim.cpu)
        point_seen(cpu);
    tlb_touched(cpu_index(cpu));
}

/* Refused so often that it must be somebody else's doing: nothing changes before he goes on. */
static void guest_wait(struct cpu *cpu)
{
    if (sim.cpu)
        cpu_wait(cpu, NULL);
}

static bool guest_walk(struct cpu *cpu, unsigned page, bool write, pfn_t *pfn)
{
    struct walk walk = {cpu->root, QUIRE_LEVELS, true, true, false, NULL};
    for (unsigned i = 0; i < cpu->held_count; i++) {
        const struct held *h = &cpu->held[i];
        if (h->level > 0 && h->level < walk.level && held_covers(h, page))
            walk = (struct walk){h->pfn, h->level, h->write, h->exec, false, NULL};
    }
    while (walk.level > 0) {
        point_guest(cpu);
        if (sim.tracking) {
            share_access(walk_slot(&walk, page), 8, false, WALKER);
            step_note(walk_slot(&walk, page), 8, false);
        }
        if (!walk_step(&walk, page))
            return false;
        if (walk.level > 0)
            held_add(cpu, page, &walk);
    }
    point_guest(cpu);
    if (write && !walk.write)
        return false;
    machine_drain_all(cpu);
    if (!walk_mark(cpu, &walk, ENTRY_ACCESSED | (write ? ENTRY_DIRTY : 0)))
        return false;
    walk.dirty = walk.dirty || write;
    held_add(cpu, page, &walk);
    *pfn = walk.pfn;
    return true;
}

static bool guest_find(struct cpu *cpu, unsigned page, bool write, pfn_t *pfn)
{
    for (unsigned i = 0; i < cpu->held_count; i++) {
        const struct held *h = &cpu->held[i];
        if (h->level > 0 || h->page != page || (write && !h->write))
            continue;
        *pfn = h->pfn;
        return true;
    }
    return guest_walk(cpu, page, write, pfn);
}

/* One instruction; false: refused. */
static bool guest_try(struct cpu *cpu, unsigned page, bool write, uint64_t *value)
{
    pfn_t pfn;
    cpu->in_instruction = true;
    tlb_touched(cpu_index(cpu));
    bool found = guest_find(cpu, page, write, &pfn);
    if (found) {
        uint64_t *word = machine_frame(pfn);
        point_guest(cpu);
        if (sim.tracking) {
            share_access(word, 8, write, cpu_index(cpu));
            step_note(word, 8, false);
        }
        if (!write)
            *value = *word;
        else if (sim.cpu)
            cpu_store(cpu, word, *value, 8, false);
        else
            *word = *value;
    } else {
        for (unsigned i = 0; i < cpu->held_count;)
            if (held_covers(&cpu->held[i], page))
                held_remove(cpu, i);
            else
                i++;
    }
    cpu->in_instruction = false;
    return found;
}

enum quire_status guest_access(struct cpu *cpu, unsigned page, bool write, uint64_t *value)
{
    for (unsigned i = 0; !guest_try(cpu, page, write, value); i++) {
        if (i == FAULTS_MAX)
            fail("the fault says QUIRE_OK and the tables still refuse, page", page);
        if (!cpu->space)
            return QUIRE_NOT_MAPPED;
        cpu->in_quire = true;
        enum quire_status status = quire_fault(cpu->space, (vaddr_t)page << QUIRE_PAGE_SHIFT,
                                               write ? QUIRE_WRITE : QUIRE_READ);
        cpu->in_quire = false;
        if (status != QUIRE_OK)
            return status;
        if (i < FAULTS_QUICK)
            point_guest(cpu);
        else
            guest_wait(cpu);
    }
    /* The operation is over when others can see it: programs are judged by what they have seen. */
    if (write && sim.cpu) {
        point_seen(cpu);
        machine_drain_all(cpu);
    }
    return QUIRE_OK;
}

/* ---- checks -------------------------------------------------------------------------------- */

static void check_held(const struct held *h)
{
    if (!is_frame(h->pfn))
        fail("a CPU holds a frame that is none,", h->pfn);
    const struct qi_frame *r = frame_record(&sim.world->q->frames, h->pfn);
    if (h->level > 0) {
        if (r->state != QI_FRAME_TABLE || r->share == 0)
            fail("a CPU holds a pointer to a table that was left, frame", h->pfn);
    } else if (r->state == QI_FRAME_ZERO_PAGE) {
        if (h->write)
            fail("a CPU may write to the zero page, at page", h->page);
    } else if (r->state != QI_FRAME_DATA) {
        fail("a CPU holds a page that was freed, frame", h->pfn);
    }
}

/* Two CPUs, or one twice, of one space. */
static void check_twins(const struct cpu *a, const struct cpu *b)
{
    for (unsigned i = 0; i < a->held_count; i++)
        for (unsigned j = 0; j < b->held_count; j++) {
            const struct held *x = &a->held[i], *y = &b->held[j];
            if (x->level == 0 && y->level == 0 && x->page == y->page && x->pfn != y->pfn &&
                (x->write || y->write))
                fail("one page has two frames and can be written, page", x->page);
        }
}

void machine_check(void)
{
    const struct world *w = sim.world;
    for (unsigned i = 0; i < w->cpu_count; i++) {
        const struct cpu *cpu = &w->cpu[i];
        if (!cpu->space)
            continue;
        for (unsigned h = 0; h < cpu->held_count; h++)
            check_held(&cpu->held[h]);
        for (unsigned j = i; j < w->cpu_count; j++)
            if (w->cpu[j].space == cpu->space)
                check_twins(cpu, &w->cpu[j]);
    }
}

static void check_justified(const struct cpu *cpu, const struct held *h)
{
    struct walk walk = {space_root(cpu->space), QUIRE_LEVELS, true, true, false, NULL};
    while (walk.level > h->level)
        if (!walk_step(&walk, h->page))
            fail("a CPU holds what the tables no longer have, page", h->page);
    if (walk.pfn != h->pfn)
        fail("a CPU holds what was replaced, page", h->page);
    if ((h->write && !walk.write) || (h->exec && !walk.exec))
        fail("a CPU holds a right that the tables do not give, page", h->page);
}

void machine_check_quiet(void)
{
    const struct world *w = sim.world;
    for (unsigned i = 0; i < w->cpu_count; i++)
        if (w->cpu[i].in_quire || w->cpu[i].store_count > 0)
            return;
    for (unsigned i = 0; i < w->cpu_count; i++) {
        const struct cpu *cpu = &w->cpu[i];
        if (!cpu->space)
            continue;
        if (cpu->root != space_root(cpu->space))
            fail("a CPU runs a root that is not its space's, CPU", i);
        for (unsigned h = 0; h < cpu->held_count; h++)
            check_justified(cpu, &cpu->held[h]);
    }
}

/* ---- the explorer's side ------------------------------------------------------------------- */

/* The CPU has made a step, and goes on. */
static void step_over(struct cpu *cpu)
{
    for (bool store = false;; store = true) {
        run_settle();
        if (!sim.step_over)
            return;
        sim.step_over(store);
        if (cpu->store_count == 0)
            return;
        do
            machine_drain(cpu);
        while (cpu->store_count > 0 && cpu->store[0].local);
    }
}

static void run_step(struct cpu *cpu)
{
    sim.cpu = cpu;
    buffer_apply(cpu);
    sim.stepped = false;
    if (sim.stepwise && !sim.step_over)
        context_clean(cpu);
    context_switch(&sim.explorer, cpu->sp);
    buffer_take_back(cpu);
    sim.cpu = NULL;
}

void machine_run(struct cpu *cpu, int budget)
{
    sim.budget = budget;
    sim.passed = sim.spent = 0;
    sim.gave_way = sim.halt = false;
    cpu->state = CPU_RUNS;
    for (run_step(cpu); sim.stepped; run_step(cpu)) {
        step_over(cpu);
        if (sim.halt)
            break;
    }
}
