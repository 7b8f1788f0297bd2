/* SPDX-License-Identifier: MIT */
/*
 * Every sequence of operations, in a world so small that its states can be remembered.
 *
 * The world: micro geometry (3 levels, 4 entries a table, 64-byte pages), three spaces A, B, C,
 * and three pages that are touched: 0 and 1 in one leaf, 2 in a leaf under another upper table.  A
 * starts with one writable region over everything, so that ranges can cover a page, a leaf, an
 * upper table or the root.
 *
 * The search is breadth first, so the sequence that it prints is as short as any that fails.  A
 * state is remembered as 64 bits of its canonical form (canon.h), the smallest over all ways to
 * exchange the spaces.  It is not kept: a state is made again by running the operations that led to
 * it, which takes a few microseconds, and some bytes of memory instead of a copy of the world; and
 * then every operation is tried from a snapshot of it.
 *
 * After each operation:
 *   - the status is what the oracle (protections and values of each space) says;
 *   - quire_check finds nothing;
 *   - soft_check finds nothing: all that a TLB still holds is justified by the tables;
 *   - each touched page of each space, looked up by its frame, has the oracle's bytes; no right
 *     exceeds the region's; a page that was written says that it is dirty.
 * And for each new state, once: after every space has been destroyed all frames are free again.
 *
 * TLBs.  Each space runs on a CPU of its own.  Before each operation every CPU is given everything
 * that the tables allow at that moment (what a processor may fetch by speculation): all pages and
 * all pointers to tables.  So a flush that is missing is always seen, and what TLBs hold follows
 * from the tables and adds no states.
 *
 * Each write stores a value never used before.
 *
 * With a section (options.sections) A starts with three views of its two pages instead: page 0
 * shares the section's page 0, pages 1 and 2 are private views of its pages 0 and 1.  Operations on
 * the section join those on spaces.  The oracle keeps the section's values, and which private pages
 * were written and so are a space's own.  The pager's bytes are part of the oracle's copy, for they
 * go back with a state; they are not part of its form, because each check compares them with the
 * oracle wherever the section has no page or one that counts as unchanged.
 */
#define _GNU_SOURCE
#include "search.h"

#include "canon.h"
#include "pager.h"
#include "section.h"
#include "tlb.h"
#include "world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SPACES = 3, PAGES = 64, TOUCHED = 3, OPS_MAX = 256, STATES_DEFAULT = 24 * 1000 * 1000 };
enum { MET = 1 << 20 };

static const unsigned touched[TOUCHED] = {0, 1, 16};

struct range {
    const char *name;
    unsigned first, count; /* pages */
};
enum { PAGE_0, PAGE_1, PAGE_2, LEAF, UPPER, ALL, RANGES };
static const struct range ranges[RANGES] = {
    {"0", 0, 1}, {"1", 1, 1}, {"2", 16, 1}, {"leaf", 0, 4}, {"upper", 0, 16}, {"all", 0, 64},
};

enum op_kind {
    OP_READ,
    OP_WRITE,
    OP_FETCH,
    OP_FORK,
    OP_EXIT,
    OP_PROTECT,
    OP_UNMAP,
    OP_MAP,
    OP_DISCARD,
    OP_PUT, /* from here on: of the section */
    OP_RESIZE,
    OP_SYNC,
    OP_PURGE,
};

/* With a section: its pages, and which of them each touched page views; page 0 shares it. */
enum { SECTION_PAGES = 2, SHARING = 0, PAGE_WORDS = QUIRE_PAGE_SIZE / 4 };
/* A write through a view stores its value twice: at the beginning of the page, and here. */
enum { TAIL = QUIRE_PAGE_SIZE - sizeof(uint32_t) };
static const unsigned viewed[TOUCHED] = {0, 0, 1};

struct op {
    enum op_kind kind;
    unsigned space, other; /* other: of the child */
    unsigned range;        /* of the section: a page, how many, or its size in words */
    uint32_t prot;
    char name[32];
};

struct oracle {
    bool live[SPACES];
    uint8_t mapped[SPACES][PAGES];
    uint8_t prot[SPACES][PAGES];
    uint32_t value[SPACES][TOUCHED]; /* of a view: if it is owned */
    bool owned[SPACES][TOUCHED];
    size_t section_size;
    uint32_t section_value[SECTION_PAGES], section_tail[SECTION_PAGES];
    uint8_t file[SECTION_PAGES << QUIRE_PAGE_SHIFT];
    uint32_t next_value;
};

/* How a state came to be: the state before, and the operation. */
struct node {
    uint32_t parent;
    uint8_t op;
};

/* The hash of a form with the spaces in the order A, B, C, and the least over all orders. */
struct met {
    uint64_t plain, least;
};

static struct search {
    const struct search_options *options;
    struct search_result *result;
    struct op ops[OPS_MAX];
    unsigned op_count;
    struct test_world world;
    struct quire_space *space[SPACES];
    struct oracle oracle;
    uint32_t frames_at_start;
    struct quire_section *section; /* null: there is none */
    struct test_file file;
    /* The start, and the state that is being expanded. */
    unsigned char *start_block, *block;
    struct quire_space *start_space[SPACES], *block_space[SPACES];
    struct oracle start_oracle, block_oracle;
    /* What is remembered. */
    struct node *nodes;
    uint64_t *seen; /* open hash table, 0: free */
    uint32_t node_count, node_max;
    uint64_t seen_mask;
    struct met *met; /* a cache, for most states are met many times */
    /* Where we are, for whoever has to report a failure. */
    uint32_t at_node;
    int at_op; /* -1: none */
    struct op *replaying[SEARCH_TEXT_MAX / 8];
    int replayed;
    jmp_buf out;
} S;

/* ---- operations ------------------------------------------------------------------------------ */

static const char *prot_name(uint32_t prot)
{
    switch (prot) {
    case QUIRE_NONE: return "NONE";
    case QUIRE_READ: return "RO";
    case QUIRE_READ | QUIRE_EXEC: return "RX";
    default: return "RW";
    }
}

static void op_add(enum op_kind kind, unsigned space, unsigned other, unsigned range, uint32_t prot)
{
    static const char *const names[] = {"read",    "write", "fetch", "fork",   "exit",
                                        "protect", "unmap", "map",   "discard"};
    struct op *op = &S.ops[S.op_count++];
    int n;

    if (S.op_count > OPS_MAX)
        abort();
    *op = (struct op){.kind = kind, .space = space, .other = other, .range = range, .prot = prot};
    n = snprintf(op->name, sizeof op->name, "%s(%c", names[kind], 'A' + (int)space);
    if (kind == OP_FORK)
        n += snprintf(op->name + n, sizeof op->name - n, "->%c", 'A' + (int)other);
    else if (kind != OP_EXIT)
        n += snprintf(op->name + n, sizeof op->name - n, ",%s", ranges[range].name);
    if (kind == OP_PROTECT)
        n += snprintf(op->name + n, sizeof op->name - n, ",%s", prot_name(prot));
    snprintf(op->name + n, sizeof op->name - n, ")");
}

static void op_add_section(enum op_kind kind, unsigned range)
{
    static const char *const names[] = {"put", "resize", "sync", "purge"};
    struct op *op = &S.ops[S.op_count++];

    *op = (struct op){.kind = kind, .range = range};
    snprintf(op->name, sizeof op->name, "%s(%u)", names[kind - OP_PUT], range);
}

static void ops_make_section(void)
{
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned r = PAGE_0; r <= PAGE_2; r++) {
            op_add(OP_READ, s, 0, r, 0);
            op_add(OP_WRITE, s, 0, r, 0);
        }
        for (unsigned o = 0; o < SPACES; o++) {
            if (o != s)
                op_add(OP_FORK, s, o, 0, 0);
        }
        op_add(OP_EXIT, s, 0, 0, 0);
        op_add(OP_DISCARD, s, 0, PAGE_1, 0);
        op_add(OP_UNMAP, s, 0, PAGE_1, 0);
    }
    for (unsigned words = 0; words <= SECTION_PAGES * PAGE_WORDS; words += PAGE_WORDS / 2)
        op_add_section(OP_RESIZE, words);
    for (unsigned page = 0; page < SECTION_PAGES; page++)
        op_add_section(OP_PUT, page);
    op_add_section(OP_SYNC, SECTION_PAGES);
    op_add_section(OP_PURGE, SECTION_PAGES);
}

static void ops_make(bool wide)
{
    const uint32_t rw = QUIRE_READ | QUIRE_WRITE, rx = QUIRE_READ | QUIRE_EXEC;

    S.op_count = 0;
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned r = PAGE_0; r <= PAGE_2; r++) {
            op_add(OP_READ, s, 0, r, 0);
            op_add(OP_WRITE, s, 0, r, 0);
        }
        for (unsigned o = 0; o < SPACES; o++) {
            if (o != s)
                op_add(OP_FORK, s, o, 0, 0);
        }
        op_add(OP_EXIT, s, 0, 0, 0);
        op_add(OP_PROTECT, s, 0, PAGE_0, QUIRE_READ);
        op_add(OP_PROTECT, s, 0, LEAF, rw);
        op_add(OP_UNMAP, s, 0, PAGE_0, 0);
        op_add(OP_MAP, s, 0, PAGE_0, rw);
        if (!wide) {
            op_add(OP_PROTECT, s, 0, LEAF, QUIRE_NONE);
            continue;
        }
        op_add(OP_FETCH, s, 0, PAGE_0, 0);
        op_add(OP_PROTECT, s, 0, PAGE_0, QUIRE_NONE);
        op_add(OP_PROTECT, s, 0, PAGE_0, rx);
        op_add(OP_PROTECT, s, 0, PAGE_0, rw);
        op_add(OP_PROTECT, s, 0, LEAF, QUIRE_NONE);
        op_add(OP_PROTECT, s, 0, LEAF, rx);
        op_add(OP_PROTECT, s, 0, UPPER, QUIRE_NONE);
        op_add(OP_PROTECT, s, 0, UPPER, QUIRE_READ);
        op_add(OP_PROTECT, s, 0, PAGE_2, QUIRE_READ);
        op_add(OP_PROTECT, s, 0, ALL, QUIRE_NONE);
        op_add(OP_PROTECT, s, 0, ALL, rw);
        op_add(OP_UNMAP, s, 0, LEAF, 0);
        op_add(OP_UNMAP, s, 0, PAGE_2, 0);
        op_add(OP_MAP, s, 0, PAGE_2, rw);
    }
}

/* ---- failing --------------------------------------------------------------------------------- */

static void sequence_write(char *to, size_t size)
{
    uint32_t chain[256];
    unsigned n = 0;
    size_t at = 0;

    to[0] = 0;
    for (int i = 0; i < S.replayed; i++)
        at += (size_t)snprintf(to + at, size - at, "%s ", S.replaying[i]->name);
    for (uint32_t node = S.at_node; node != 0 && n < 256; node = S.nodes[node].parent)
        chain[n++] = node;
    while (n > 0 && at < size)
        at += (size_t)snprintf(to + at, size - at, "%s ", S.ops[S.nodes[chain[--n]].op].name);
    if (S.at_op >= 0 && at < size)
        snprintf(to + at, size - at, "%s", S.ops[S.at_op].name);
}

static _Noreturn void fail(const char *why, const char *detail)
{
    S.result->failed = true;
    snprintf(S.result->why, sizeof S.result->why, "%s%s%s", why, detail[0] ? ": " : "", detail);
    sequence_write(S.result->sequence, sizeof S.result->sequence);
    longjmp(S.out, 1);
}

/* A crash or an endless loop inside core is a finding like another. */
static void on_signal(int number)
{
    const char *what = number == SIGALRM ? "an operation does not end" : "core crashed";

    signal(number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    fail(what, "");
}

/* ---- the world ------------------------------------------------------------------------------- */

static vaddr_t address_of(unsigned page) { return (vaddr_t)page << QUIRE_PAGE_SHIFT; }

/* Give the space's CPU all that its tables allow now: pages, and pointers to tables. */
static void tlb_fill_space(unsigned s)
{
    struct soft_cpu *cpu = S.world.cpu[s];
    const pfn_t root = quire_space_root(S.space[s]);

    soft_tlb_flush_space(cpu, S.space[s]);
    for (unsigned i = 0; i < TOUCHED; i++) {
        vaddr_t address = address_of(touched[i]);
        struct soft_path path = {root, QUIRE_LEVELS, true, true};

        while (path.level > 0) {
            entry_t *slot = soft_step(S.world.machine, &path, address);

            if (!slot)
                break;
            if (path.level > 0) {
                soft_tlb_keep(cpu, address, &path);
                continue;
            }
            *slot |= ENTRY_ACCESSED;
            path.write = path.write && (*slot & ENTRY_DIRTY);
            soft_tlb_fill(cpu, address, &path);
        }
    }
}

static void settle(void)
{
    for (unsigned s = 0; s < SPACES; s++) {
        if (S.oracle.live[s])
            tlb_fill_space(s);
    }
}

static bool op_enabled(const struct op *op)
{
    if (op->kind >= OP_PUT)
        return true;
    if (!S.oracle.live[op->space])
        return false;
    if (op->kind != OP_FORK)
        return true;
    /* The lowest free place: another one differs by a name. */
    for (unsigned s = 0; s < op->other; s++) {
        if (!S.oracle.live[s])
            return false;
    }
    return !S.oracle.live[op->other];
}

/* Whose value a page of a space has: its own, or, of a view that has none, the section's. */
static uint32_t *value_of(unsigned s, unsigned t)
{
    return S.section && S.oracle.mapped[s][touched[t]] && !S.oracle.owned[s][t]
               ? &S.oracle.section_value[viewed[t]]
               : &S.oracle.value[s][t];
}

static bool beyond_end(unsigned s, unsigned t)
{
    return S.section && !S.oracle.owned[s][t] && address_of(viewed[t]) >= S.oracle.section_size;
}

static enum quire_status access_expected(const struct op *op, uint32_t access)
{
    unsigned page = ranges[op->range].first;

    if (!S.oracle.mapped[op->space][page])
        return QUIRE_NOT_MAPPED;
    if (!(S.oracle.prot[op->space][page] & access))
        return QUIRE_PROTECTED;
    return beyond_end(op->space, op->range) ? QUIRE_BEYOND_END : QUIRE_OK;
}

static bool range_mapped(const struct op *op, bool whole)
{
    const struct range *r = &ranges[op->range];
    unsigned mapped = 0;

    for (unsigned p = r->first; p < r->first + r->count; p++)
        mapped += S.oracle.mapped[op->space][p];
    return whole ? mapped == r->count : mapped > 0;
}

static void oracle_range(const struct op *op)
{
    const struct range *r = &ranges[op->range];

    for (unsigned p = r->first; p < r->first + r->count; p++) {
        if (op->kind == OP_DISCARD)
            break;
        if (op->kind != OP_PROTECT)
            S.oracle.mapped[op->space][p] = op->kind == OP_MAP;
        S.oracle.prot[op->space][p] = op->kind == OP_UNMAP ? 0 : (uint8_t)op->prot;
    }
    for (unsigned t = 0; op->kind != OP_PROTECT && t < TOUCHED; t++) {
        if (touched[t] - r->first < r->count) {
            S.oracle.value[op->space][t] = 0;
            S.oracle.owned[op->space][t] = false;
        }
    }
}

static enum quire_status do_access(const struct op *op, enum quire_status *wanted)
{
    struct soft_cpu *cpu = S.world.cpu[op->space];
    vaddr_t address = address_of(ranges[op->range].first);
    uint32_t *value = value_of(op->space, op->range), seen = 0;
    enum quire_status status;

    if (op->kind == OP_WRITE) {
        uint32_t fresh = ++S.oracle.next_value;

        *wanted = access_expected(op, QUIRE_WRITE);
        status = soft_store(cpu, address, &fresh, sizeof fresh);
        if (status == QUIRE_OK && S.section)
            status = soft_store(cpu, address + TAIL, &fresh, sizeof fresh);
        if (status != QUIRE_OK)
            return status;
        S.oracle.owned[op->space][op->range] = op->range != SHARING;
        if (op->range == SHARING)
            S.oracle.section_tail[viewed[SHARING]] = fresh;
        *value_of(op->space, op->range) = fresh;
        return status;
    }
    if (op->kind == OP_FETCH) {
        *wanted = access_expected(op, QUIRE_EXEC);
        return soft_fetch(cpu, address, NULL);
    }
    *wanted = access_expected(op, QUIRE_READ);
    status = soft_load(cpu, address, &seen, sizeof seen);
    if (status == QUIRE_OK && seen != *value)
        fail("a load reads what was not written there", "");
    return status;
}

static enum quire_status do_fork(const struct op *op)
{
    enum quire_status status = quire_space_fork(S.space[op->space], &S.space[op->other]);

    if (status != QUIRE_OK)
        return status;
    S.oracle.live[op->other] = true;
    memcpy(S.oracle.mapped[op->other], S.oracle.mapped[op->space], PAGES);
    memcpy(S.oracle.prot[op->other], S.oracle.prot[op->space], PAGES);
    memcpy(S.oracle.value[op->other], S.oracle.value[op->space], sizeof S.oracle.value[0]);
    memcpy(S.oracle.owned[op->other], S.oracle.owned[op->space], sizeof S.oracle.owned[0]);
    soft_cpu_run(S.world.cpu[op->other], S.world.q, S.space[op->other]);
    return status;
}

static void do_exit(unsigned s)
{
    soft_cpu_run(S.world.cpu[s], S.world.q, NULL);
    quire_space_destroy(S.space[s]);
    S.space[s] = NULL;
    S.oracle.live[s] = false;
    memset(S.oracle.mapped[s], 0, PAGES);
    memset(S.oracle.prot[s], 0, PAGES);
    memset(S.oracle.value[s], 0, sizeof S.oracle.value[s]);
    memset(S.oracle.owned[s], 0, sizeof S.oracle.owned[s]);
}

/* What the file has behind its new end is gone, as in one that ends there. */
static enum quire_status do_resize(unsigned words)
{
    size_t size = words * sizeof(uint32_t);
    enum quire_status status = quire_section_resize(S.section, size);

    if (status != QUIRE_OK)
        return status;
    size_t kept = size < S.oracle.section_size ? size : S.oracle.section_size;
    S.oracle.section_size = size;
    memset(S.oracle.file + size, 0, sizeof S.oracle.file - size);
    for (unsigned p = 0; p < SECTION_PAGES; p++) {
        if (address_of(p) >= size)
            S.oracle.section_value[p] = 0;
        if (address_of(p) + TAIL >= kept)
            S.oracle.section_tail[p] = 0;
    }
    return status;
}

/* Into the section as a file system does it; beyond the end nothing is written. */
static enum quire_status do_put(unsigned page)
{
    uint32_t fresh = ++S.oracle.next_value;
    size_t done = 0, wanted = address_of(page) < S.oracle.section_size ? sizeof fresh : 0;
    enum quire_status status =
        quire_section_write(S.section, address_of(page), &fresh, sizeof fresh, 0, &done);

    if (status == QUIRE_OK && done != wanted)
        fail("a write into the section is shorter or longer than it should be", "");
    if (done == sizeof fresh)
        S.oracle.section_value[page] = fresh;
    return status;
}

/* Do it, to the manager and to the oracle; the status is compared. */
static void op_do(const struct op *op)
{
    const struct range *r = &ranges[op->range];
    struct quire_space *space = S.space[op->space];
    vaddr_t address = address_of(r->first);
    uint64_t length = (uint64_t)r->count << QUIRE_PAGE_SHIFT;
    enum quire_status status = QUIRE_OK, wanted = QUIRE_OK;
    char text[96];

    switch (op->kind) {
    case OP_READ:
    case OP_WRITE:
    case OP_FETCH: status = do_access(op, &wanted); break;
    case OP_FORK: status = do_fork(op); break;
    case OP_EXIT: do_exit(op->space); break;
    case OP_PROTECT:
        wanted = range_mapped(op, true) ? QUIRE_OK : QUIRE_NOT_MAPPED;
        status = quire_protect(space, address, length, op->prot);
        break;
    case OP_UNMAP: status = quire_unmap(space, address, length); break;
    case OP_MAP:
        wanted = range_mapped(op, false) ? QUIRE_OVERLAPS : QUIRE_OK;
        status = quire_map(space, &address, length, op->prot, QUIRE_MAP_FIXED);
        break;
    case OP_DISCARD: status = quire_discard(space, address, length); break;
    case OP_PUT: status = do_put(op->range); break;
    case OP_RESIZE: status = do_resize(op->range); break;
    case OP_SYNC: status = quire_section_sync(S.section, 0, sizeof S.oracle.file, 0, NULL); break;
    case OP_PURGE: quire_section_purge(S.section, 0, sizeof S.oracle.file, true); break;
    }
    if (status != wanted) {
        snprintf(text, sizeof text, "%s, not %s", quire_status_name(status),
                 quire_status_name(wanted));
        fail("wrong status", text);
    }
    if (status == QUIRE_OK && op->kind >= OP_PROTECT && op->kind < OP_PUT)
        oracle_range(op);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static const unsigned char zeros[QUIRE_PAGE_SIZE];

/* `tail`: null: anything may be there. */
static bool page_holds(const unsigned char *bytes, uint32_t wanted, const uint32_t *tail)
{
    uint32_t value, last;

    memcpy(&value, bytes, sizeof value);
    memcpy(&last, bytes + TAIL, sizeof last);
    return value == wanted && (!tail || last == *tail) &&
           !memcmp(bytes + sizeof value, zeros, TAIL - sizeof value);
}

/* What a page of the section has there; null: it is beyond the end. */
static const uint32_t *section_tail(unsigned page)
{
    return address_of(page) + TAIL < S.oracle.section_size ? &S.oracle.section_tail[page] : NULL;
}

/* A page of the section that is in memory, and what the pager has where that counts. */
static void section_check(unsigned page)
{
    entry_t e = qi_section_peek(S.section, page);
    bool resident = quire_section_resident(S.section, address_of(page));
    uint32_t wanted = S.oracle.section_value[page];

    if (resident && address_of(page) >= S.oracle.section_size)
        fail("the section has a page beyond its end", "");
    if (resident &&
        !page_holds(soft_frame(S.world.machine, entry_pfn(e)), wanted, section_tail(page)))
        fail("wrong content", "a page of the section");
    if (resident && (entry_dirty(e) || S.options->sections == SEARCH_MEMORY))
        return;
    if (!page_holds(S.oracle.file + address_of(page), wanted, section_tail(page)))
        fail("wrong content", "what the pager has of a page that does not count as changed");
}

static void page_check(unsigned s, unsigned t)
{
    struct quire_page page;
    const unsigned char *bytes = zeros;
    uint32_t prot = S.oracle.prot[s][touched[t]], wanted = *value_of(s, t);
    bool view = S.section && !S.oracle.owned[s][t];
    bool shown = view && S.oracle.mapped[s][touched[t]];
    const uint32_t nothing = 0;
    const uint32_t *tail = shown ? section_tail(viewed[t]) : S.section ? &wanted : &nothing;
    const char text[] = {
        'p', 'a', 'g', 'e', ' ', (char)('0' + t), ' ', 'o', 'f', ' ', (char)('A' + s), 0};

    quire_page(S.space[s], address_of(touched[t]), &page);
    if (page.kind != QUIRE_PAGE_EMPTY)
        bytes = soft_frame(S.world.machine, page.pfn);
    if (!(view && page.kind == QUIRE_PAGE_EMPTY) && !page_holds(bytes, wanted, tail))
        fail("wrong content", text);
    if (page.kind != QUIRE_PAGE_EMPTY && page.readable && beyond_end(s, t))
        fail("a view shows what is beyond the end", text);
    if (view && t != SHARING && page.writable)
        fail("a private view may write the section's page", text);
    if ((page.readable && !(prot & QUIRE_READ)) || (page.writable && !(prot & QUIRE_WRITE)) ||
        (page.executable && !(prot & QUIRE_EXEC)))
        fail("the tables allow more than the region", text);
    if (!view && wanted != 0 && !page.dirty)
        fail("a written page is not dirty", text);
}

static void checks(void)
{
    if (test_world_findings(&S.world) || S.world.machine->violations)
        fail("audit", S.world.report);
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned t = 0; S.oracle.live[s] && t < TOUCHED; t++)
            page_check(s, t);
    }
    for (unsigned p = 0; S.section && p < SECTION_PAGES; p++)
        section_check(p);
}

/* All gone: every frame but the zero page is free again. */
static void end_check(void)
{
    for (unsigned s = 0; s < SPACES; s++) {
        if (S.oracle.live[s])
            do_exit(s);
    }
    if (S.section)
        quire_section_close(S.section);
    if (test_world_findings(&S.world))
        fail("audit after all have gone", S.world.report);
    if (quire_free_frames(S.world.q) != S.frames_at_start)
        fail("frames are missing after all spaces have gone", "");
}

/* ---- states ---------------------------------------------------------------------------------- */

static uint64_t state_hash(void)
{
    static const uint8_t orders[6][SPACES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                              {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static struct canon form;
    const unsigned flags = S.section ? CANON_SECTIONS : 0;
    uint64_t least = UINT64_MAX;

    canon_write(&form, S.world.q, S.space, SPACES, flags);
    uint64_t plain = canon_hash(&form);
    struct met *met = &S.met[plain & (MET - 1)];
    if (met->plain == plain)
        return met->least;
    for (unsigned i = 0; i < 6; i++) {
        struct quire_space *spaces[SPACES];
        unsigned n = 0;
        bool gap = false;

        /* Live spaces first: the orders that differ only in where the empty places are give nothing
         * new. */
        for (unsigned k = 0; k < SPACES; k++) {
            spaces[k] = S.space[orders[i][k]];
            n += spaces[k] != NULL;
            gap = gap || (spaces[k] && k >= n);
        }
        if (gap)
            continue;
        canon_write(&form, S.world.q, spaces, SPACES, flags);
        uint64_t hash = canon_hash(&form);
        if (hash < least)
            least = hash;
    }
    *met = (struct met){plain, least ? least : 1};
    return met->least;
}

/* True: it is new, and was remembered. */
static bool remember(uint64_t hash)
{
    uint64_t i = hash & S.seen_mask;

    for (; S.seen[i]; i = (i + 1) & S.seen_mask) {
        if (S.seen[i] == hash)
            return false;
    }
    S.seen[i] = hash;
    return true;
}

static void keep(unsigned char *block, struct quire_space **space, struct oracle *oracle)
{
    test_world_snapshot(&S.world, block);
    memcpy(space, S.space, sizeof S.space);
    *oracle = S.oracle;
}

static void put_back(const unsigned char *block, struct quire_space *const *space,
                     const struct oracle *oracle)
{
    test_world_restore(&S.world, block);
    memcpy(S.space, space, sizeof S.space);
    S.oracle = *oracle;
}

/* Make the state of a node again, from the start. */
static void node_make_again(uint32_t node)
{
    uint8_t ops[256];
    unsigned n = 0;

    for (uint32_t i = node; i != 0; i = S.nodes[i].parent)
        ops[n++] = S.nodes[i].op;
    put_back(S.start_block, S.start_space, &S.start_oracle);
    while (n > 0) {
        op_do(&S.ops[ops[--n]]);
        settle();
    }
}

/* Try every operation from one state. */
static void node_expand(uint32_t node)
{
    S.at_node = node;
    S.at_op = -1;
    node_make_again(node);
    keep(S.block, S.block_space, &S.block_oracle);
    end_check();
    put_back(S.block, S.block_space, &S.block_oracle);
    for (unsigned o = 0; o < S.op_count; o++) {
        if (!op_enabled(&S.ops[o]))
            continue;
        S.at_op = (int)o;
        op_do(&S.ops[o]);
        checks();
        settle();
        S.result->transitions++;
        if (remember(state_hash()) && S.node_count < S.node_max)
            S.nodes[S.node_count++] = (struct node){node, (uint8_t)o};
        put_back(S.block, S.block_space, &S.block_oracle);
    }
}

/* ---- the search ------------------------------------------------------------------------------ */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *must_get(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        abort();
    return memory;
}

/* One region over everything, or the views. */
static bool map_start(void)
{
    const uint32_t rw = QUIRE_READ | QUIRE_WRITE;
    vaddr_t at = 0;
    bool ok = true;

    if (S.options->sections == SEARCH_NO_SECTIONS) {
        memset(S.oracle.mapped[0], 1, PAGES);
        memset(S.oracle.prot[0], QUIRE_READ | QUIRE_WRITE, PAGES);
        return quire_map(S.space[0], &at, PAGES << QUIRE_PAGE_SHIFT, rw, QUIRE_MAP_FIXED) ==
               QUIRE_OK;
    }
    test_file_init(&S.file, &S.world, S.options->sections == SEARCH_FILE ? S.oracle.file : NULL,
                   sizeof S.oracle.file);
    S.oracle.section_size = sizeof S.oracle.file;
    if (test_file_open(&S.file, sizeof S.oracle.file, &S.section) != QUIRE_OK)
        return false;
    for (unsigned t = 0; t < TOUCHED; t++) {
        at = address_of(touched[t]);
        S.oracle.mapped[0][touched[t]] = 1;
        S.oracle.prot[0][touched[t]] = QUIRE_READ | QUIRE_WRITE;
        ok = ok && quire_map_view(S.space[0], &at, QUIRE_PAGE_SIZE, rw,
                                  QUIRE_MAP_FIXED | (t == SHARING ? QUIRE_MAP_SHARED : 0),
                                  S.section, address_of(viewed[t])) == QUIRE_OK;
    }
    return ok;
}

static void begin(const struct search_options *options, struct search_result *result)
{
    S = (struct search){.options = options, .result = result, .at_op = -1};
    *result = (struct search_result){0};
    if (options->sections)
        ops_make_section();
    else
        ops_make(options->wide);
    test_world_create(&S.world, &(struct test_options){.frames = 64,
                                                       .max_spaces = SPACES,
                                                       .cpus = SPACES,
                                                       .held = 16,
                                                       .max_sections = options->sections ? 1 : 0});
    S.world.quiet = true;
    S.frames_at_start = quire_free_frames(S.world.q);
    if (quire_space_create(S.world.q, &S.space[0]) != QUIRE_OK)
        abort();
    S.oracle.live[0] = true;
    soft_cpu_run(S.world.cpu[0], S.world.q, S.space[0]);
    if (!map_start())
        abort();
    S.start_block = must_get(1, S.world.block_size);
    S.block = must_get(1, S.world.block_size);
    settle();
    keep(S.start_block, S.start_space, &S.start_oracle);
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
    signal(SIGALRM, on_signal);
}

static void end(void)
{
    alarm(0);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    test_panic_catch = NULL;
    test_world_destroy(&S.world);
    free(S.start_block);
    free(S.block);
    free(S.nodes);
    free(S.seen);
    free(S.met);
}

static void levels_run(double deadline)
{
    uint32_t next = 0;

    S.nodes[S.node_count++] = (struct node){0, 0};
    remember(state_hash());
    for (unsigned depth = 1; next < S.node_count; depth++) {
        uint32_t level_end = S.node_count;
        char line[160];

        for (; next < level_end; next++) {
            if (depth > S.options->min_depth && (next & 15) == 0 && now() > deadline)
                return;
            if ((next & 255) == 0)
                alarm(20);
            node_expand(next);
        }
        S.result->depth = depth;
        snprintf(line, sizeof line, "depth %u: %u states, %llu transitions", depth, S.node_count,
                 (unsigned long long)S.result->transitions);
        if (S.options->progress)
            S.options->progress(line);
        if (S.node_count == S.node_max || depth == S.options->max_depth)
            return;
    }
    S.result->closed = true;
}

void search_run(const struct search_options *options, struct search_result *result)
{
    jmp_buf panic;
    uint32_t slots = 1024;

    begin(options, result);
    S.node_max = options->max_states ? options->max_states : STATES_DEFAULT;
    while (slots < S.node_max * 2u)
        slots *= 2;
    S.seen_mask = slots - 1;
    S.nodes = must_get(S.node_max, sizeof *S.nodes);
    S.seen = must_get(slots, sizeof *S.seen);
    S.met = must_get(MET, sizeof *S.met);
    if (setjmp(S.out) == 0) {
        if (setjmp(panic) != 0)
            fail("panic", test_panic_text);
        test_panic_catch = &panic;
        levels_run(now() + options->seconds);
    }
    result->states = S.node_count;
    end();
}

static struct op *op_named(const char *word, size_t length)
{
    for (unsigned o = 0; o < S.op_count; o++) {
        if (strlen(S.ops[o].name) == length && !memcmp(S.ops[o].name, word, length))
            return &S.ops[o];
    }
    return NULL;
}

bool search_replay(const struct search_options *options, const char *sequence,
                   struct search_result *result)
{
    jmp_buf panic;
    volatile bool known = true;

    begin(options, result);
    S.nodes = must_get(1, sizeof *S.nodes);
    if (setjmp(S.out) == 0) {
        if (setjmp(panic) != 0)
            fail("panic", test_panic_text);
        test_panic_catch = &panic;
        alarm(60);
        for (const char *word = sequence; *word && known;) {
            size_t length = strcspn(word, " ");
            struct op *op = op_named(word, length);

            known = length == 0 || (op && op_enabled(op));
            if (length > 0 && known) {
                S.replaying[S.replayed++] = op;
                op_do(op);
                checks();
                settle();
                result->transitions++;
            }
            word += length + (word[length] == ' ');
        }
        if (known)
            end_check();
    }
    end();
    return known;
}
