/* SPDX-License-Identifier: MIT */
/*
 * What programs are made of, and how they are run on the machine.
 *
 * A start state is a list of operations that CPU 0 does alone; space A has one writable region over
 * the whole address space before the first.  Every store of every operation stores a value that no
 * other does, so a value says whose store it is.
 */
#include "program.h"

#include "workset.h"

#include <quire/machine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RW (QUIRE_READ | QUIRE_WRITE)
enum { A, B, C };
enum { STOCK = 8 };

const struct op ops[] = {
    {"r0", OP_LOAD, .page = 0},
    {"w0", OP_STORE, .page = 0},
    {"w1", OP_STORE, .page = 1},
    {"fork", OP_FORK, 0, 0, 0, 0, false},
    {"ro0", OP_PROTECT, 0, 1, QUIRE_READ, 0, false},
    {"unmap0", OP_UNMAP, 0, 1, 0, 0, false},
    {"W0", OP_WRITE, .page = 0},
    {"discard0", OP_DISCARD, 0, 1, 0, 0, false},
    {"exitB", OP_EXIT, .slot = B},
    {"w4", OP_STORE, .page = 4, .variant = true},
    {"r1", OP_LOAD, .page = 1, .variant = true},
    {"mapl", OP_MAP, 0, 4, 0, 0, false},
    {"nonel", OP_PROTECT, 0, 4, QUIRE_NONE, 0, false},
    {"R0", OP_READ, .page = 0},
    {"twin", OP_TWIN, 0, 0, 0, 0, false},
    {"pin0", OP_PIN, 0, 1, 0, 0, false},
    {"enterB", OP_ENTER, .slot = B},
    {"pull", OP_PULL, 0, 0, 0, 0, false},
    {"w16", OP_STORE, .page = 16, .variant = true},
    {"unmapl", OP_UNMAP, 0, 4, 0, 0, .variant = true},
    {"rol", OP_PROTECT, 0, 4, QUIRE_READ, 0, .variant = true},
    {"rwl", OP_PROTECT, 0, 4, RW, 0, false},
    {"guard0", OP_GUARD, 0, 1, 0, 0, false},
    {"unguard0", OP_UNGUARD, 0, 1, 0, 0, false},
    {"move", OP_MOVE, 0, 4, 0, 0, false},
    {"check", OP_CHECK, 0, 0, 0, 0, false},
    {"look", OP_LOOK, 0, 0, 0, 0, false},
    {"work", OP_WORK, 0, 0, 0, 0, false},
    {"zero", OP_ZERO, 0, 0, 0, 0, false},
    {"take", OP_TAKE, 0, 0, 0, 0, false},
    {"pop0", OP_POPULATE, 0, 1, 0, 0, false},
    {"discardl", OP_DISCARD, 0, 4, 0, 0, .variant = true},
    {"enterA", OP_ENTER, .slot = A, .variant = true},
    {"exitC", OP_EXIT, .slot = C, .variant = true},
    {"r4", OP_LOAD, .page = 4, .variant = true},
    {"r16", OP_LOAD, .page = 16, .variant = true},
    {"ro*", OP_PROTECT, 0, PAGES, QUIRE_READ, 0, .variant = true},
    {"none*", OP_PROTECT, 0, PAGES, QUIRE_NONE, 0, .variant = true},
    {"rw*", OP_PROTECT, 0, PAGES, RW, 0, .variant = true},
    {"unmap*", OP_UNMAP, 0, PAGES, 0, 0, .variant = true},
    {"map*", OP_MAP, 0, PAGES, 0, 0, false},
    {"decommit0", OP_DECOMMIT, 0, 1, 0, 0, false},
    {"decommitl", OP_DECOMMIT, 0, 4, 0, 0, .variant = true},
    {"commitl", OP_COMMIT, 0, 4, RW, 0, false},
    {"omit0", OP_ADVISE, 0, 1, QUIRE_FORK_OMIT, 0, false},
    {"wipel", OP_ADVISE, 0, 4, QUIRE_FORK_WIPE, 0, false},
    {"stack1", OP_STACK, 1, 1, RW, 0, false},
    {"limit", OP_LIMIT, 0, 0, 0, 0, false},
    {"unlimit", OP_LIMIT, 0, 255, 0, 0, .variant = true},
    {"F0", OP_FORCE_READ, .page = 0},
    {"G0", OP_FORCE_WRITE, .page = 0},
    {"diffB", OP_DIFF, .slot = B},
    {"markB", OP_DIFF_MARK, .slot = B},
    {"sr0", OP_SECTION_READ, .page = 0},
    {"sw0", OP_SECTION_WRITE, .page = 0},
    {"sw1", OP_SECTION_WRITE, .page = 1, .variant = true},
    {"sync", OP_SYNC, .count = FILE_PAGES},
    {"purge", OP_PURGE, .count = FILE_PAGES},
    {"start", OP_SYNC, .count = FILE_PAGES, .prot = QUIRE_SYNC_START, .variant = true},
    {"shrink0", OP_RESIZE, .count = 0},
    {"shrink1", OP_RESIZE, .count = 1, .variant = true},
    {"grow", OP_RESIZE, .count = FILE_PAGES},
    {"sdiscard0", OP_SECTION_DISCARD, .count = 1},
    {"sealw", OP_SEAL, .prot = QUIRE_SEAL_WRITE},
    {"seals", OP_SEAL, .prot = QUIRE_SEAL_SHRINK | QUIRE_SEAL_GROW, .variant = true},
    {"end", OP_END, 0, 0, 0, 0, false},
    {"endlast", OP_END, .prot = 1, .variant = true},
    {"failr", OP_FAIL, 0, 0, 0, 0, false},
    {"failw", OP_FAIL, .prot = 1},
    {"out0", OP_OUT, 0, 1, 0, 0, false},
    {"outl", OP_OUT, 0, 4, 0, 0, .variant = true},
    {"need0", OP_NEED, 0, 1, 0, 0, false},
    {"balance", OP_BALANCE, 0, 0, 0, 0, false},
    {"steal", OP_STEAL, 0, 0, 0, 0, false},
    {"clone0", OP_CLONE, .count = 1},
    {"cloneB0", OP_CLONE_TO, 0, 1, .slot = B, .variant = true},
    /* Start states only. */
    {"share", OP_VIEW, .count = FILE_PAGES},
    {"private", OP_VIEW, .count = FILE_PAGES, .prot = 1},
    {"hog2", OP_HOG, .count = 2},
    {"hog3", OP_HOG, .count = 3},
    {"hog6", OP_HOG, .count = 6},
    {"forkB", OP_FORK_TO, .slot = B},
    {"forkC", OP_FORK_TO, .slot = C},
    {"makeB", OP_CREATE, .slot = B},
    {"w5", OP_STORE, .page = 5},
    {"w17", OP_STORE, .page = 17},
};
enum { OPS_OF_STARTS = 10, OP_TABLE = sizeof ops / sizeof ops[0] };
const unsigned op_count = OP_TABLE - OPS_OF_STARTS;

/* All that has a page leaves, and is written. */
#define PAGED(script)                                                                      \
    script " A.outl A.balance A.balance A.balance A.balance A.balance A.balance A.balance" \
           " A.balance A.end A.end A.end A.end"

const struct start starts[] = {
    {"fresh", "", 1, false, {0}, .pairs = false},
    {"one", "A.w0", 1, false, {0}, .pairs = true},
    {"zero", "A.r0 A.r1", 1, false, {0}, .pairs = false},
    {"forked", "A.w0 A.w1 A.forkB", 2, false, {0}, .pairs = true},
    {"child", "A.w0 A.w1 A.forkB B.w0", 2, false, {0}, .pairs = true},
    {"parent", "A.w0 A.w1 A.forkB A.w0", 2, false, {0}, .pairs = false},
    {"apart", "A.w0 A.w1 A.forkB A.w0 B.w1", 2, false, {0}, .pairs = true},
    {"twice", "A.w0 A.w1 A.forkB A.forkC", 3, false, {0}, .pairs = false},
    {"grandchild", "A.w0 A.w1 A.forkB B.w0 B.forkC C.w1", 3, false, {0}, .pairs = true},
    {"lines", "A.w0 A.w1 A.forkB A.w1 A.forkC", 3, false, {0}, .pairs = false},
    {"alone", "A.w0 A.w1 A.forkB B.w0 A.exitB", 2, false, {false, true}, .pairs = false},
    {"last", "A.w0 A.w1 A.forkB A.w0 A.exitB", 2, false, {false, true}, .pairs = true},
    {"heir",
     "A.w0 A.w1 A.forkB B.w0 A.forkC A.w1 A.exitC",
     3,
     false,
     {false, false, true},
     .pairs = true},
    {"hidden", "A.w0 A.w1 A.forkB A.nonel A.rwl", 2, false, {0}, .pairs = true},
    {"barred", "A.w0 A.w1 A.nonel A.rwl A.forkB", 2, false, {0}, .pairs = false},
    {"few", "A.w0 A.w1 A.forkB A.hog2", 2, true, {0}, .pairs = false},
    {"fewer", "A.w0 A.w1 A.w16 A.forkB A.w16 A.hog6", 2, true, {0}, .pairs = false},
    {"root", "A.w0 A.w4 A.w16 A.forkB", 2, false, {0}, .pairs = false},
    {"wide", "A.w0 A.w4 A.w16", 1, false, {0}, .pairs = false},
    {"beside", "A.w1 A.w5 A.w17", 1, false, {0}, .pairs = false},
    {"borrowing", "A.w0 A.w1 A.w4 A.w5 A.forkB A.w1 A.w5", 2, false, {0}, .pairs = true},
    {"unrelated", "A.makeB A.w1 A.w5 B.w1 B.w5", 2, false, {0}, .pairs = false},
    {"guarded", "A.w0 A.w1 A.guard0 A.forkB", 2, false, {0}, .pairs = true},
    {"pinned", "A.w0 A.w1 A.pin0 A.forkB", 2, false, {0}, .pairs = true},
    {"rootown", "A.w0 A.w1 A.forkB A.w16", 2, false, {0}, .pairs = false},
    {"pathown", "A.w0 A.w1 A.w4 A.forkB A.w4", 2, false, {0}, .pairs = true},
    {"pathfew", "A.w0 A.w1 A.w4 A.forkB A.w4 A.hog3", 2, true, {0}, .pairs = false},
    {"shared", "A.share", 1, .section = OF_FILE, .pairs = true},
    {"written", "A.share A.w0 A.w1 A.forkB", 2, .section = OF_FILE, .pairs = true},
    {"private", "A.private A.r0", 1, .section = OF_FILE, .pairs = true},
    {"privfork", "A.private A.r0 A.w1 A.forkB", 2, .section = OF_FILE, .pairs = true},
    {"pathview", "A.share A.w0 A.w1 A.forkB A.w4", 2, .section = OF_FILE},
    {"short", "A.share A.w0 A.sync A.w0 A.w1 A.shrink1", 1, .section = OF_FILE},
    {"memory", "A.share A.w0 A.w1 A.forkB", 2, .section = OF_MEMORY},
    {"privmem", "A.private A.sw0 A.r0 A.w1 A.forkB", 2, .section = OF_MEMORY},
    {"modified", "A.w0 A.w1 A.outl", 1, .paged = true},
    {"standby", PAGED("A.w0 A.w1"), 1, .paged = true, .pairs = true},
    {"out", PAGED("A.w0 A.w1") " A.steal", 1, .paged = true, .pairs = true},
    {"outfork", PAGED("A.w0 A.w1") " A.steal A.forkB", 2, .paged = true},
    {"reading", PAGED("A.w0 A.w1") " A.steal A.need0 A.forkB", 2, .paged = true},
    {"writing", "A.w0 A.w1 A.outl A.balance A.forkB", 2, .paged = true},
    {"standfork", PAGED("A.w0 A.w1") " A.forkB", 2, .paged = true},
    {"lentout", PAGED("A.w0 A.w1 A.forkB") " A.steal", 2, .paged = true, .pairs = true},
    {"halfout", PAGED("A.w0 A.w1 A.forkB B.w0") " A.steal", 2, .paged = true},
    {"kept", PAGED("A.w0 A.w1") " A.r0 A.r1 A.forkB", 2, .paged = true},
    {"memout", PAGED("A.share A.w0 A.w1 A.forkB") " A.steal", 2, .section = OF_MEMORY,
     .paged = true, .pairs = true},
};
const unsigned start_count = sizeof starts / sizeof starts[0];

static const struct program *current;

/* ---- text ---------------------------------------------------------------------------------- */

static bool slot_there(const struct start *start, unsigned slot)
{
    return slot < start->spaces && !start->left[slot];
}

/* How often the program does `kind` with space `slot`. */
static unsigned uses(const struct program *p, enum op_kind kind, unsigned slot)
{
    unsigned count = 0;
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++) {
            const struct op *op = &ops[p->op[c][i]];
            count += op->kind == kind && op->slot == slot;
        }
    return count;
}

enum { LEFT_OUT_MAX = 16 };
static const char *left_out[LEFT_OUT_MAX];
static unsigned left_out_count;

void program_leave_out(const char *word)
{
    if (left_out_count < LEFT_OUT_MAX)
        left_out[left_out_count++] = word;
}

static bool is_left_out(const struct program *p)
{
    char text[TEXT_MAX];
    if (left_out_count == 0)
        return false;
    program_print(p, text, sizeof text);
    for (unsigned i = 0; i < left_out_count; i++)
        if (strstr(text, left_out[i]))
            return true;
    return false;
}

/* A space has no difference from itself, and no page becomes itself; it may be itself by then. */
static bool with_itself(const struct program *p, unsigned cpu, const struct op *op)
{
    return (op->kind == OP_DIFF || op->kind == OP_CLONE_TO) &&
           (p->slot[cpu] == op->slot || uses(p, OP_ENTER, op->slot) > 0);
}

static bool on_section(enum op_kind kind) { return kind >= OP_SECTION_READ && kind <= OP_FAIL; }

bool op_pages(const struct op *op) { return op->kind >= OP_OUT && op->kind <= OP_STEAL; }

/* Of the other operations, those whose effect on views the oracle knows. */
static bool op_fits(const struct start *start, const struct op *op)
{
    enum op_kind kind = op->kind;
    if (op_pages(op))
        return start->paged;
    if (kind == OP_CLONE || kind == OP_CLONE_TO)
        return !start->paged && !start->section;
    if (start->paged && (kind == OP_END || kind == OP_FAIL))
        return true;
    if (!start->section || on_section(kind))
        return start->section || !on_section(kind);
    return kind <= OP_DISCARD || kind == OP_WORK || kind == OP_ZERO || kind == OP_CHECK ||
           kind == OP_LOOK || kind == OP_TAKE;
}

/*
 * What a shrink has cut off goes from the file when the call has returned: a host grows the file on
 * no other CPU meanwhile.  And what only begins to be written is stored nobody knows when, so
 * nothing asks the pager for it again.
 */
static bool section_fits(const struct program *p)
{
    unsigned shrinks = 0, grows = 0, begins = 0, discards = 0;
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++) {
            const struct op *op = &ops[p->op[c][i]];
            bool resizes = op->kind == OP_RESIZE;
            shrinks |= (unsigned)(resizes && op->count < FILE_PAGES) << c;
            grows |= (unsigned)(resizes && op->count > 0) << c; /* after a deeper cut */
            begins += op->kind == OP_SYNC && op->prot;
            discards += op->kind == OP_SECTION_DISCARD;
        }
    bool apart = shrinks && grows && (shrinks != grows || (grows & (grows - 1)));
    return !(begins && discards) && (starts[p->start].section == OF_MEMORY || !apart);
}

/* Operations of these kinds, of all CPUs. */
static bool has_kind(const struct program *p, const enum op_kind *kinds, unsigned count)
{
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++)
            for (unsigned k = 0; k < count; k++)
                if (ops[p->op[c][i]].kind == kinds[k])
                    return true;
    return false;
}

/* A clone is one step, or refused, where nothing is pinned or guarded; and nothing grows. */
static bool clones_fit(const struct program *p)
{
    static const enum op_kind clones[] = {OP_CLONE, OP_CLONE_TO},
                              never[] = {OP_PIN, OP_GUARD, OP_STACK, OP_LIMIT};
    const char *script = starts[p->start].script;
    return !has_kind(p, clones, 2) ||
           (!has_kind(p, never, 4) && !strstr(script, "pin") && !strstr(script, "guard"));
}

/* What was refused to it as a whole a clone reads and writes, if it may by then. */
static bool clones_copy(const struct program *p)
{
    static const enum op_kind kinds[] = {OP_UNMAP,  OP_MAP,      OP_PROTECT,
                                         OP_COMMIT, OP_DECOMMIT, OP_MOVE};
    return has_kind(p, kinds, sizeof kinds / sizeof kinds[0]);
}

bool program_valid(const struct program *p)
{
    const struct start *start = &starts[p->start];
    if (!section_fits(p) || !clones_fit(p))
        return false;
    for (unsigned slot = A; slot <= C; slot++) {
        unsigned exits = uses(p, OP_EXIT, slot) + uses(p, OP_DIFF_MARK, slot);
        unsigned users = uses(p, OP_ENTER, slot) + uses(p, OP_DIFF, slot);
        users += uses(p, OP_CLONE_TO, slot);
        for (unsigned c = 0; c < p->cpus; c++)
            users += p->slot[c] == slot;
        if (exits > 1 || (exits > 0 && users > 0))
            return false;
        if (exits + users > 0 && !slot_there(start, slot))
            return false;
    }
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++)
            if (p->op[c][i] >= op_count || !op_fits(start, &ops[p->op[c][i]]) ||
                with_itself(p, c, &ops[p->op[c][i]]))
                return false;
    return !is_left_out(p);
}

void program_print(const struct program *p, char *text, size_t size)
{
    int n = snprintf(text, size, "start=%s", starts[p->start].name);
    for (unsigned c = 0; c < p->cpus; c++) {
        n += snprintf(text + n, size - (size_t)n, " %c:", 'A' + p->slot[c]);
        for (unsigned i = 0; i < p->count[c]; i++)
            n += snprintf(text + n, size - (size_t)n, "%s%s", i ? "," : "", ops[p->op[c][i]].name);
    }
    snprintf(text + n, size - (size_t)n, " tso=%u tlb=%s irq=%s frames=%s",
             p->mode.tso ? p->mode.depth : 0u, p->mode.eager ? "eager" : "lazy",
             p->mode.masked ? "masked" : "open", p->mode.stocked ? "stocked" : "listed");
}

static int op_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < OP_TABLE; i++)
        if (strlen(ops[i].name) == length && !memcmp(ops[i].name, name, length))
            return (int)i;
    return -1;
}

static bool parse_cpu(struct program *p, const char *word, size_t length)
{
    unsigned c = p->cpus++;
    if (c == CPUS_MAX)
        return false;
    p->slot[c] = (uint8_t)(word[0] - 'A');
    for (size_t at = 2; at < length;) {
        size_t n = strcspn(word + at, ", ");
        int op = op_find(word + at, n);
        if (op < 0 || p->count[c] == OPS_MAX)
            return false;
        p->op[c][p->count[c]++] = (uint8_t)op;
        at += n + 1;
    }
    return true;
}

static bool word_is(const char *word, size_t length, const char *what)
{
    return length == strlen(what) && !memcmp(word, what, length);
}

static bool parse_start(struct program *p, const char *name, size_t length)
{
    for (unsigned i = 0; i < start_count; i++)
        if (word_is(name, length, starts[i].name)) {
            p->start = (uint8_t)i;
            return true;
        }
    return false;
}

bool program_parse(struct program *p, const char *text)
{
    bool started = false;
    *p = (struct program){0};
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t n = strcspn(text, " ");
        if (n > 6 && !memcmp(text, "start=", 6)) {
            if (!parse_start(p, text + 6, n - 6))
                return false;
            started = true;
        } else if (n > 4 && !memcmp(text, "tso=", 4)) {
            p->mode.depth = (uint8_t)atoi(text + 4);
            p->mode.tso = p->mode.depth > 0;
        } else if (word_is(text, n, "tlb=eager")) {
            p->mode.eager = true;
        } else if (word_is(text, n, "frames=stocked")) {
            p->mode.stocked = true;
        } else if (word_is(text, n, "irq=masked")) {
            p->mode.masked = true;
        } else if (n > 1 && text[1] == ':') {
            if (!parse_cpu(p, text, n))
                return false;
        } else if (!word_is(text, n, "tlb=lazy") && !word_is(text, n, "irq=open") &&
                   !word_is(text, n, "frames=listed")) {
            return false;
        }
        text += n;
    }
    return started && p->cpus > 0 && program_valid(p);
}

/* ---- operations in the world --------------------------------------------------------------- */

static enum quire_status op_pin(struct cpu *cpu, const struct op *op, vaddr_t at, uint64_t length)
{
    struct world *w = sim.world;
    unsigned me = cpu_index(cpu);
    (void)op;
    if (w->pin[me].runs && quire_unpin(w->q, &w->pin[me]) != QUIRE_OK)
        fail("a pin is not there, CPU", me);
    w->pin[me].runs = NULL;
    return quire_pin(cpu->space, at, length, QUIRE_WRITE, w->pin_run[me], 4, &w->pin[me]);
}

static enum quire_status op_fork(struct cpu *cpu, unsigned child)
{
    struct quire_space *made;
    enum quire_status status = quire_space_fork(cpu->space, &made);
    if (status == QUIRE_OK)
        sim.world->space[child] = made;
    return status;
}

static enum quire_status op_create(unsigned slot)
{
    vaddr_t at = 0;
    uint64_t length = (uint64_t)PAGES << QUIRE_PAGE_SHIFT;
    enum quire_status status = quire_space_create(sim.world->q, &sim.world->space[slot]);
    if (status == QUIRE_OK)
        status = quire_map(sim.world->space[slot], &at, length, RW, QUIRE_MAP_FIXED);
    return status;
}

static enum quire_status op_twin(struct cpu *cpu)
{
    struct quire_space *made;
    enum quire_status status = quire_space_fork(cpu->space, &made);
    if (status == QUIRE_OK)
        quire_space_destroy(made);
    return status;
}

static void op_exit(unsigned slot)
{
    struct quire_space *space = sim.world->space[slot];
    sim.world->space[slot] = NULL;
    quire_space_destroy(space);
}

static void op_check(void)
{
    unsigned findings = quire_check(sim.world->q);
    if (findings > 0)
        fail(sim.failure[0] ? "the auditor found something, see above" : "findings", findings);
}

static void op_look(struct cpu *cpu)
{
    struct quire_stats stats;
    struct quire_usage usage;
    struct quire_page page;
    struct quire_region region;
    quire_stats(sim.world->q, &stats);
    quire_space_usage(cpu->space, 0, (vaddr_t)PAGES << QUIRE_PAGE_SHIFT, &usage);
    quire_page(cpu->space, 0, &page);
    if (quire_query(cpu->space, 0, &region) == QUIRE_OK && region.start >= region.end)
        fail("a region is empty, at", region.start);
}

static enum quire_status op_take(void)
{
    pfn_t pfn;
    enum quire_status status = quire_frame_take(sim.world->q, &pfn);
    if (status == QUIRE_OK)
        quire_frame_give(sim.world->q, pfn);
    return status == QUIRE_NO_MEMORY ? QUIRE_OK : status;
}

static void op_hog(unsigned leave)
{
    struct world *w = sim.world;
    while (quire_free_frames(w->q) > leave)
        if (quire_frame_take(w->q, &w->taken[w->taken_count]) != QUIRE_OK)
            break;
        else
            w->taken_count++;
}

static enum quire_status op_diff(struct cpu *cpu, const struct op *op, uint64_t *value)
{
    struct quire_space **mark = &sim.world->space[op->slot];
    uint64_t length = (uint64_t)PAGES << QUIRE_PAGE_SHIFT;
    return op->kind == OP_DIFF ? quire_diff(cpu->space, *mark, 0, length, value)
                               : quire_diff_and_mark(cpu->space, mark, 0, length, value);
}

static enum quire_status op_stack(struct cpu *cpu, vaddr_t at, uint64_t length)
{
    return quire_map(cpu->space, &at, length, RW,
                     QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE | QUIRE_MAP_GROWS_DOWN);
}

/* The pager: what it has stored is the first word of each page. */
static void pager_transfer(struct quire_io *io)
{
    struct world *w = sim.world;
    uint64_t first = io->offset >> QUIRE_PAGE_SHIFT;
    bool ok = !w->failing[io->write];
    w->failing[io->write] = false;
    w->failed_write |= io->section && io->write && !ok;
    for (uint32_t i = 0; ok && i < io->pages; i++) {
        uint64_t *word = machine_frame(io->frames[i]),
                 *file = &(io->section ? w->file : w->paged_out)[first + i];
        if (sim.cpu && sim.tracking)
            step_note(word, sizeof *word, !io->write);
        if (io->write) {
            *file = *word;
        } else {
            memset(word, 0, QUIRE_PAGE_SIZE);
            *word = *file;
        }
    }
    quire_io_done(io, ok);
}

/* A transfer is ended later, by whoever waits for one first, or by an operation.  In io[] the
 * oldest comes first. */
static void pager_start(void *cookie, struct quire_io *io)
{
    (void)cookie;
    machine_note_pager();
    for (unsigned i = 0; i < IO_MAX; i++)
        if (!sim.world->io[i]) {
            sim.world->io[i] = io;
            return;
        }
    fail("the pager has no room for a transfer, of", IO_MAX);
}

bool pager_end(bool newest)
{
    struct quire_io **list = sim.world->io;
    unsigned count = 0;
    machine_note_pager();
    while (count < IO_MAX && list[count])
        count++;
    if (count == 0)
        return false;
    unsigned at = newest ? count - 1 : 0;
    struct quire_io *io = list[at];
    memmove(&list[at], &list[at + 1], (count - 1 - at) * sizeof *list);
    list[count - 1] = NULL;
    machine_io_ending(1);
    pager_transfer(io);
    machine_io_ending(-1);
    return true;
}

/* Beyond the end nothing is read or written, which is no error. */
static enum quire_status section_copy(const struct op *op, uint64_t at, uint64_t *value)
{
    struct quire_section *section = sim.world->section;
    size_t done = 0;
    enum quire_status status =
        op->kind == OP_SECTION_READ
            ? quire_section_read(section, at, value, sizeof *value, 0, &done)
            : quire_section_write(section, at, value, sizeof *value, 0, &done);
    return status == QUIRE_OK && done == 0 ? QUIRE_BEYOND_END : status;
}

static enum quire_status section_resize(unsigned pages)
{
    struct world *w = sim.world;
    enum quire_status status =
        quire_section_resize(w->section, (uint64_t)pages << QUIRE_PAGE_SHIFT);
    machine_note_pager();
    for (unsigned i = pages; status == QUIRE_OK && i < FILE_PAGES; i++)
        w->file[i] = 0;
    return status;
}

static void pager_fail(bool write)
{
    machine_note_pager();
    sim.world->failing[write] = true;
}

static enum quire_status op_section(const struct op *op, uint64_t *value)
{
    struct quire_section *section = sim.world->section;
    uint64_t at = (uint64_t)op->page << QUIRE_PAGE_SHIFT;
    uint64_t length = (uint64_t)op->count << QUIRE_PAGE_SHIFT;
    uint64_t errors = 0;
    if (op->kind == OP_SECTION_READ || op->kind == OP_SECTION_WRITE)
        return section_copy(op, at, value);
    if (op->kind == OP_SYNC)
        return quire_section_sync(section, at, length, op->prot, &errors);
    if (op->kind == OP_RESIZE)
        return section_resize(op->count);
    if (op->kind == OP_SECTION_DISCARD)
        return quire_section_discard(section, at, length);
    if (op->kind == OP_SEAL)
        return quire_section_seal(section, op->prot);
    if (op->kind == OP_PURGE)
        (void)quire_section_purge(section, at, length, true);
    else if (op->kind == OP_END)
        (void)pager_end(op->prot);
    else
        pager_fail(op->prot);
    return QUIRE_OK;
}

static enum quire_status op_paging(struct quire_space *space, const struct op *op, vaddr_t at,
                                   uint64_t length)
{
    struct quire *q = sim.world->q;
    if (op->kind == OP_OUT)
        return quire_advise_pages(space, at, length, QUIRE_PAGES_OUT);
    if (op->kind == OP_NEED)
        return quire_advise_pages(space, at, length, QUIRE_PAGES_NEED);
    if (op->kind == OP_BALANCE) {
        (void)quire_balance(q);
        return QUIRE_OK;
    }
    struct qi_cpu *cpu = qi_enter(q);
    (void)qi_paged_steal(cpu, UINT32_MAX);
    qi_leave(cpu);
    return QUIRE_OK;
}

static enum quire_status op_view(struct cpu *cpu, const struct op *op, vaddr_t at, uint64_t length)
{
    uint32_t flags = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE | (op->prot ? 0u : QUIRE_MAP_SHARED);
    return quire_map_view(cpu->space, &at, length, RW, flags, sim.world->section, 0);
}

static enum quire_status op_call(struct cpu *cpu, const struct op *op, unsigned child,
                                 uint64_t *value)
{
    struct quire_space *space = cpu->space;
    struct quire *q = sim.world->q;
    vaddr_t at = (vaddr_t)op->page << QUIRE_PAGE_SHIFT, to = at;
    uint64_t length = (uint64_t)op->count << QUIRE_PAGE_SHIFT;
    switch ((enum op_kind)op->kind) {
    case OP_READ: return quire_read(space, at, value, sizeof *value, NULL);
    case OP_WRITE: return quire_write(space, at, value, sizeof *value, NULL);
    case OP_FORK: return op_fork(cpu, child);
    case OP_FORK_TO: return op_fork(cpu, op->slot);
    case OP_CREATE: return op_create(op->slot);
    case OP_TWIN: return op_twin(cpu);
    case OP_EXIT: op_exit(op->slot); return QUIRE_OK;
    case OP_ENTER:
        quire_space_activate(q, sim.world->space[op->slot]);
        cpu->slot = op->slot;
        return QUIRE_OK;
    case OP_UNMAP: return quire_unmap(space, at, length);
    case OP_MAP: return quire_map(space, &at, length, RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE);
    case OP_PROTECT: return quire_protect(space, at, length, op->prot);
    case OP_DISCARD: return quire_discard(space, at, length);
    case OP_DECOMMIT: return quire_decommit(space, at, length);
    case OP_COMMIT: return quire_commit(space, at, length, op->prot);
    case OP_ADVISE: return quire_advise(space, at, length, (enum quire_advice)op->prot);
    case OP_STACK: return op_stack(cpu, at, length);
    case OP_LIMIT:
        quire_space_limit(space, UINT64_MAX, op->count == 255 ? UINT64_MAX : op->count);
        return QUIRE_OK;
    case OP_FORCE_READ:
        return quire_access(space, at, value, sizeof *value, QUIRE_READ | QUIRE_FORCE, NULL);
    case OP_FORCE_WRITE:
        return quire_access(space, at, value, sizeof *value, QUIRE_WRITE | QUIRE_FORCE, NULL);
    case OP_DIFF:
    case OP_DIFF_MARK: return op_diff(cpu, op, value);
    case OP_GUARD: return quire_guard(space, at, length);
    case OP_UNGUARD: return quire_unguard(space, at, length);
    case OP_MOVE:
        to = at + length;
        return quire_move(space, at, length, &to, length, QUIRE_MOVE_FIXED);
    case OP_CLONE:
        to = at + (LEAF_PAGES << QUIRE_PAGE_SHIFT);
        return quire_clone(space, at, space, to, length, NULL);
    case OP_CLONE_TO: return quire_clone(space, at, sim.world->space[op->slot], at, length, NULL);
    case OP_POPULATE: return quire_populate(space, at, length, QUIRE_WRITE, NULL);
    case OP_PIN: return op_pin(cpu, op, at, length);
    case OP_PULL: (void)quire_space_pull(space); return QUIRE_OK;
    case OP_WORK: (void)quire_work(q, 2); return QUIRE_OK;
    case OP_ZERO: (void)quire_zero_ahead(q, 2); return QUIRE_OK;
    case OP_CHECK: op_check(); return QUIRE_OK;
    case OP_LOOK: op_look(cpu); return QUIRE_OK;
    case OP_TAKE: return op_take();
    case OP_SECTION_READ:
    case OP_SECTION_WRITE:
    case OP_SYNC:
    case OP_PURGE:
    case OP_RESIZE:
    case OP_SECTION_DISCARD:
    case OP_SEAL:
    case OP_END:
    case OP_FAIL: return op_section(op, value);
    case OP_OUT:
    case OP_NEED:
    case OP_BALANCE:
    case OP_STEAL: return op_paging(space, op, at, length);
    case OP_VIEW: return op_view(cpu, op, at, length);
    case OP_HOG: op_hog(op->count); return QUIRE_OK;
    case OP_LOAD:
    case OP_STORE:
    case OP_KIND_COUNT: break;
    }
    return QUIRE_OK;
}

enum quire_status op_run(unsigned index, const struct op *op, unsigned child, uint64_t *value)
{
    struct cpu *cpu = &sim.world->cpu[index];
    if (op->kind == OP_LOAD || op->kind == OP_STORE)
        return guest_access(cpu, op->page, op->kind == OP_STORE, value);
    cpu->in_quire = true;
    enum quire_status status = op_call(cpu, op, child, value);
    cpu->in_quire = false;
    return status;
}

static bool op_stores(const struct op *op)
{
    return op->kind == OP_STORE || op->kind == OP_WRITE || op->kind == OP_FORCE_WRITE ||
           op->kind == OP_SECTION_WRITE;
}

/* ---- start states -------------------------------------------------------------------------- */

static void enter(unsigned cpu, unsigned slot)
{
    sim.direct_cpu = cpu;
    sim.world->cpu[cpu].slot = (uint8_t)slot;
    quire_space_activate(sim.world->q, sim.world->space[slot]);
}

/* The operations of a start state, on the oracle or (null) in the world. */
static void script_run(const struct start *start, struct oracle *o)
{
    uint64_t stored = 0x100;
    for (const char *word = start->script; *word; word += strspn(word, " ")) {
        unsigned slot = (unsigned)(word[0] - 'A');
        size_t n = strcspn(word + 2, " ");
        const struct op *op = &ops[op_find(word + 2, n)];
        uint64_t value = op_stores(op) ? ++stored : 0;
        enum quire_status status;
        if (o) {
            o->runs[0] = (uint8_t)slot;
            status = oracle_run(o, 0, op, 0, &value);
        } else {
            enter(0, slot);
            status = op_run(0, op, 0, &value);
        }
        if (status != QUIRE_OK)
            fail("an operation of the start state is refused, status", status);
        word += n + 2;
    }
}

static void start_oracle(const struct program *p, struct oracle *o)
{
    memset(o, 0, sizeof *o);
    oracle_create(&o->space[A]);
    o->has_pager = starts[p->start].section == OF_FILE;
    o->paged = starts[p->start].paged;
    o->pages = FILE_PAGES;
    o->clones_copy = clones_copy(p);
    script_run(&starts[p->start], o);
    for (unsigned c = 0; c < p->cpus; c++)
        o->runs[c] = p->slot[c];
}

static void start_world(const struct program *p)
{
    static const struct quire_pager pager = {.start = pager_start, .stable = true};
    struct world *w = sim.world;
    w->section = NULL;
    memset(w->file, 0, sizeof w->file);
    memset(w->io, 0, sizeof w->io);
    w->io_ending = 0;
    memset(w->failing, 0, sizeof w->failing);
    w->failed_write = false;
    enum section_kind kind = starts[p->start].section;
    if (kind != NO_SECTION &&
        quire_section_create(w->q, FILE_PAGES << QUIRE_PAGE_SHIFT, kind == OF_FILE ? &pager : NULL,
                             NULL, &w->section) != QUIRE_OK)
        fail("there is no section, CPUs", p->cpus);
    uint64_t size = SLOTS_PAGED << QUIRE_PAGE_SHIFT;
    if (starts[p->start].paged &&
        quire_pagefile_add(w->q, &pager, NULL, size, 0, 0, &w->pagefile) != QUIRE_OK)
        fail("there is no page file, CPUs", p->cpus);
    if (op_create(A) != QUIRE_OK)
        fail("there is no space A, CPUs", p->cpus);
    script_run(&starts[p->start], NULL);
    for (unsigned c = 0; c < p->cpus; c++)
        enter(c, p->slot[c]);
    sim.direct_cpu = 0;
}

/*
 * Every CPU gets as many free frames of its own as it may keep, so that no operation asks the lists
 * for any: the order in which CPUs do would only decide which frames they get, and multiply the
 * states.
 */
static void stock(unsigned cpus)
{
    for (unsigned c = 0; c < cpus; c++) {
        sim.direct_cpu = c;
        struct qi_cpu *cpu = qi_enter(sim.world->q);
        (void)qi_frames_reserve(cpu, STOCK, false);
        qi_leave(cpu);
    }
    sim.direct_cpu = 0;
}

/* ---- a run --------------------------------------------------------------------------------- */

unsigned op_number(const struct program *p, unsigned cpu, unsigned index)
{
    for (unsigned c = 0; c < cpu; c++)
        index += p->count[c];
    return index;
}

/*
 * The value that this operation stores, and no other.  It looks like an entry that leads out of
 * memory, for whoever takes a page for a table.
 */
static uint64_t op_value(unsigned number)
{
    return (UINT64_C(0x70000000) + number) << ENTRY_PAYLOAD_SHIFT | ENTRY_TABLE_BASE | ENTRY_WRITE;
}

static void op_of_program(struct cpu *cpu, unsigned i)
{
    unsigned me = cpu_index(cpu), number = op_number(current, me, i);
    struct result *result = &cpu->result[i];
    const struct op *op = &ops[current->op[me][i]];
    for (unsigned c = 0; c < current->cpus; c++) {
        result->after[c] = sim.world->cpu[c].ops_seen;
        if (sim.tracking)
            step_note_object(OBJECT_ENDS, c, false);
    }
    result->value = op_stores(op) ? op_value(number) : 0;
    cpu->yields = 0;
    result->status = (uint8_t)op_run(me, op, SLOT_CHILD + number, &result->value);
    cpu->ops_ended++;
    if (cpu->store_count > 0)
        return;
    cpu->ops_seen = cpu->ops_ended;
    if (sim.tracking)
        step_note_object(OBJECT_ENDS, me, true);
}

static void cpu_body(void)
{
    struct cpu *cpu = sim.cpu;
    unsigned count = current->count[cpu_index(cpu)];
    for (unsigned i = 0; i < count; i++) {
        op_of_program(cpu, i);
        cpu_leave(cpu, CPU_RUNS);
    }
    cpu_leave(cpu, CPU_DONE);
}

void program_begin(const struct program *p)
{
    current = p;
    sim.mode = p->mode;
    sim.failure[0] = 0;
    sim.direct_cpu = 0;
    world_create(p->cpus, starts[p->start].paged ? SLOTS_PAGED : 0);
    start_world(p);
    if (p->mode.stocked)
        stock(p->cpus);
    else /* what is freed is used again as early as it may be */
        sim.world->q->frames.limbo_max = 0;
    for (unsigned c = 0; c < p->cpus; c++)
        context_prepare(&sim.world->cpu[c], cpu_body);
    if (p->mode.eager)
        machine_fill_all();
    sim.changed = true;
}

void program_use(const struct program *p)
{
    current = p;
    sim.mode = p->mode;
}

/* ---- the judgement ------------------------------------------------------------------------- */

static void end_page(unsigned slot, unsigned t, struct ending *out)
{
    struct cpu *cpu = &sim.world->cpu[0];
    vaddr_t at = (vaddr_t)touched[t] << QUIRE_PAGE_SHIFT;
    uint64_t *value = &out->value[slot][t];
    out->load[slot][t] = (uint8_t)guest_access(cpu, touched[t], false, value);
    uint64_t again = *value;
    out->store[slot][t] = (uint8_t)guest_access(cpu, touched[t], true, &again);
    /* What is there and may not be read is looked at all the same. */
    if (out->load[slot][t] != QUIRE_PROTECTED)
        return;
    enum quire_status status =
        quire_access(cpu->space, at, value, sizeof *value, QUIRE_READ | QUIRE_FORCE, NULL);
    if (status != QUIRE_OK && status != QUIRE_GUARDED && status != QUIRE_BEYOND_END)
        fail("a page that is mapped can not be read, status", status);
}

/* Pins and frames that programs and start states hold. */
static void end_release(void)
{
    struct world *w = sim.world;
    for (unsigned c = 0; c < w->cpu_count; c++)
        if (w->pin[c].runs && quire_unpin(w->q, &w->pin[c]) != QUIRE_OK)
            fail("a pin is not there, CPU", c);
    while (w->taken_count > 0)
        quire_frame_give(w->q, w->taken[--w->taken_count]);
}

static void end_audit(void)
{
    unsigned findings = quire_check(sim.world->q);
    if (findings > 0)
        longjmp(sim.direct, 1);
}

/* What every operation left is to be in the file after one more sync. */
static void end_sync(struct ending *out)
{
    struct world *w = sim.world;
    while (pager_end(true))
        ;
    memset(w->failing, 0, sizeof w->failing);
    if (!w->section)
        return;
    uint64_t length = FILE_PAGES << QUIRE_PAGE_SHIFT, errors = 0;
    enum quire_status status = quire_section_sync(w->section, 0, length, 0, &errors);
    if ((status == QUIRE_IO_ERROR) != w->failed_write)
        fail("a sync does not say what failed, status", status);
    if (status == QUIRE_IO_ERROR)
        status = quire_section_sync(w->section, 0, length, 0, &errors);
    if (status != QUIRE_OK)
        fail("the section can not be stored, status", status);
    bool paged = starts[current->start].section == OF_FILE;
    for (uint64_t i = 0; i < FILE_PAGES && status == QUIRE_OK; i++)
        if (paged)
            out->file[i] = w->file[i];
        else
            status = quire_section_read(w->section, i << QUIRE_PAGE_SHIFT, &out->file[i],
                                        sizeof out->file[i], 0, NULL);
    if (status != QUIRE_OK)
        fail("the section can not be read, status", status);
}

/* Every space is looked at, and then destroyed. */
static void end_look(struct ending *out)
{
    struct world *w = sim.world;
    memset(out, 0, sizeof *out);
    end_sync(out);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        out->live[slot] = w->space[slot] != NULL;
        if (!w->space[slot])
            continue;
        enter(0, slot);
        quire_space_limit(w->space[slot], UINT64_MAX, UINT64_MAX);
        for (unsigned t = 0; t < TOUCHED; t++)
            end_page(slot, t, out);
        end_audit();
        quire_space_activate(w->q, NULL);
        quire_space_destroy(w->space[slot]);
    }
}

/* Nobody runs anything. */
static void end_leave(void)
{
    struct world *w = sim.world;
    for (unsigned c = 0; c < w->cpu_count; c++) {
        sim.direct_cpu = c;
        quire_space_activate(w->q, NULL);
    }
    sim.direct_cpu = 0;
}

static void end_close(void)
{
    if (sim.world->section)
        quire_section_close(sim.world->section);
    sim.world->section = NULL;
    if (sim.world->pagefile && quire_pagefile_remove(sim.world->pagefile) != QUIRE_OK)
        fail("the page file can not be removed, CPUs", sim.world->cpu_count);
    sim.world->pagefile = NULL;
}

static void end_count(void)
{
    struct world *w = sim.world;
    while (quire_work(w->q, 64))
        ;
    if (quire_free_frames(w->q) != w->free_at_start)
        fail("everything is gone and frames are not free, of them",
             w->free_at_start - quire_free_frames(w->q));
}

/* One order of the operations: where each CPU is, and what is true there. */
struct order {
    const struct program *program;
    const struct ending *ending;
    struct result result[CPUS_MAX][OPS_MAX];
    /* Each operation, and with it a first half of one on each CPU: who has undone such a half lets
     * it be made again. */
    struct oracle oracle[(1 + CPUS_MAX) * CPUS_MAX * OPS_MAX + 1];
    uint64_t prepared; /* oracle_prepares, of all operations */
};

static bool op_agrees(struct order *order, struct oracle *o, unsigned c, unsigned i)
{
    const struct program *p = order->program;
    const struct result *r = &order->result[c][i];
    const struct op *op = &ops[p->op[c][i]];
    unsigned number = op_number(p, c, i);
    uint64_t value = op_stores(op) ? op_value(number) : 0;
    if (r->status == QUIRE_NO_MEMORY && starts[p->start].few)
        return true;
    if (oracle_may_refuse(o, c, op, (enum quire_status)r->status)) {
        o->half[c] = false;
        return true;
    }
    if (oracle_run(o, c, op, SLOT_CHILD + number, &value) != r->status)
        return false;
    if (op->kind == OP_DIFF || op->kind == OP_DIFF_MARK)
        return oracle_may_differ(value, r->value, order->prepared);
    return value == r->value;
}

/* Operations of other CPUs that had ended before it began come first. */
static bool may_be_next(const struct order *order, unsigned c, const unsigned *at)
{
    for (unsigned other = 0; other < order->program->cpus; other++)
        if (order->result[c][at[c]].after[other] > at[other])
            return false;
    return true;
}

static bool order_find(struct order *order, unsigned depth, unsigned *at);

/* The next operation of CPU c comes next; or the first half of it. */
static bool order_step(struct order *order, unsigned depth, unsigned *at, unsigned c, bool half)
{
    struct oracle *o = &order->oracle[depth + 1];
    *o = order->oracle[depth];
    if (half ? !oracle_grow(o, c, &ops[order->program->op[c][at[c]]])
             : !op_agrees(order, o, c, at[c]))
        return false;
    at[c] += !half;
    bool found = order_find(order, depth + 1, at);
    at[c] -= !half;
    return found;
}

/* Is there an order of the rest, from `at` on, that explains everything? */
static bool order_find(struct order *order, unsigned depth, unsigned *at)
{
    const struct program *p = order->program;
    bool left = false;
    for (unsigned c = 0; c < p->cpus; c++) {
        if (at[c] == p->count[c])
            continue;
        left = true;
        if (!may_be_next(order, c, at))
            continue;
        if (order_step(order, depth, at, c, false) || order_step(order, depth, at, c, true))
            return true;
    }
    if (left)
        return false;
    struct ending expected;
    oracle_ending(&order->oracle[depth], &expected);
    return memcmp(&expected, order->ending, sizeof expected) == 0;
}

static void judge_order(const struct program *p, struct order *order, const struct ending *ending)
{
    unsigned at[CPUS_MAX] = {0};
    start_oracle(p, &order->oracle[0]);
    order->program = p;
    order->ending = ending;
    order->prepared = 0;
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++)
            order->prepared |= oracle_prepares(&ops[p->op[c][i]]);
    if (!order_find(order, 0, at))
        fail("no order of the operations explains statuses, loads and contents, operations",
             op_number(p, p->cpus, 0));
}

static struct order order;
static struct ending ending;

void program_describe(const struct program *p)
{
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++) {
            const struct result *r = &order.result[c][i];
            printf("  CPU %u %s: %s, value %llx, after", c, ops[p->op[c][i]].name,
                   quire_status_name(r->status), (unsigned long long)r->value);
            for (unsigned other = 0; other < p->cpus; other++)
                printf(" %u", r->after[other]);
            printf("\n");
        }
    for (unsigned slot = 0; slot < SLOTS; slot++)
        for (unsigned t = 0; ending.live[slot] && t < TOUCHED; t++)
            printf("  space %u page %u: load %s, store %s, value %llx\n", slot, touched[t],
                   quire_status_name(ending.load[slot][t]),
                   quire_status_name(ending.store[slot][t]),
                   (unsigned long long)ending.value[slot][t]);
}

static void judge_all(const struct program *p)
{
    for (unsigned c = 0; c < p->cpus; c++)
        memcpy(order.result[c], sim.world->cpu[c].result, sizeof order.result[c]);
    machine_fill_all();
    machine_check();
    machine_check_quiet();
    end_audit();
    end_release();
    end_leave();
    end_look(&ending);
    end_close();
    judge_order(p, &order, &ending);
    end_count();
}

void program_judge(const struct program *p)
{
    jmp_buf caller; /* who asked may have findings of his own afterwards */
    memcpy(&caller, &sim.direct, sizeof caller);
    if (!setjmp(sim.direct))
        judge_all(p);
    memcpy(&sim.direct, &caller, sizeof caller);
}
