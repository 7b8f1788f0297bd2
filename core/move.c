/* SPDX-License-Identifier: MIT */
/*
 * Move: pages at other addresses, with the frames that they have.
 *
 * An entry does not know its address, and neither does a table.  So what moves is entries, each as
 * it is, at the highest level where the old place and the new one lie alike: if they differ by a
 * multiple of what an entry of level n spans, then all entries of level n that the range covers
 * move whole, with the tables below them, shared or not; only the two edges are moved by smaller
 * ones.  A gigabyte that moves by gigabytes is one entry.
 *
 * The range is walked in *runs*: neighbouring entries of one level that lie in one table here and
 * in one table there.  Runs that hold nothing are passed.  Four passes:
 *
 *   count    the tables on both paths of each run that will have to be copied or made
 *   own      the gate, for both paths
 *   arrest   each entry becomes busy; one flush for all of them (bugs.md rows 16, 17)
 *   settle   the entry is stored at its new place, and the old one becomes empty
 *
 * So no page is ever to be seen at two places, and no CPU holds an old translation when the new one
 * can be made.  An own page gets a new home; a borrowed one becomes a prototype entry, which names
 * the home that it has.  No other table is touched for either.
 *
 * The new place is unmapped before, which finds nothing where nothing is mapped.  The old place is
 * unmapped after, which takes what was to be cut off and the tables that are empty now.  Both take
 * frames only for tables that the range covers in part.
 *
 * Locks: the space, exclusively, from the look to the end, however long the range; nothing in it is
 * sliced but what it frees.  Nothing fails after the count.
 */
#include "change.h"

#include <quire/machine.h>

struct move {
    vaddr_t from, to;
    uint64_t old_length, new_length;
    uint32_t flags;
};

/* The part that is there before and after, while it is moved. */
struct moving {
    struct qi_cpu *cpu;
    struct quire_space *space;
    vaddr_t from, to;
    uint64_t length;
    unsigned top; /* entries of this level, and lower ones, can move as they are */
    struct qi_range source, target; /* as they are unmapped */
};

/* ---- runs ---------------------------------------------------------------------------------- */

struct run {
    vaddr_t from, to;
    unsigned level, count;
    pfn_t table; /* at the old place */
};

static vaddr_t table_end(vaddr_t address, unsigned level)
{
    return (address | (entry_span(level + 1) - 1)) + 1;
}

/* The run that begins at `at`, whether it holds anything or not. */
static struct run run_at(const struct moving *m, uint64_t at)
{
    struct run run = {.from = m->from + at, .to = m->to + at, .level = 1};
    while (run.level < m->top && (run.from & (entry_span(run.level + 1) - 1)) == 0 &&
           m->length - at >= entry_span(run.level + 1))
        run.level++;
    uint64_t length =
        smaller(table_end(run.from, run.level) - run.from, table_end(run.to, run.level) - run.to);
    run.count = (unsigned)(smaller(length, m->length - at) >> entry_shift(run.level));
    return run;
}

static bool run_empty(const struct quire *q, const struct run *run)
{
    const entry_t *entries = &table_entries(q, run->table)[entry_index(run->from, run->level)];
    for (unsigned i = 0; i < run->count; i++)
        if (entries[i] != 0)
            return false;
    return true;
}

/* The next run from *at on that holds something; *at is then behind it.  False: there is none. */
static bool run_next(const struct moving *m, uint64_t *at, struct run *run)
{
    const struct quire *q = m->cpu->q;
    while (*at < m->length) {
        *run = run_at(m, *at);
        run->table = qi_load(&m->space->root);
        unsigned level = QUIRE_LEVELS;
        for (; level > run->level; level--) {
            entry_t e = entry_load(&table_entries(q, run->table)[entry_index(run->from, level)]);
            if (e == 0)
                break;
            run->table = entry_pfn(e);
        }
        if (level > run->level) {
            *at += table_end(run->from, level - 1) - run->from;
            continue;
        }
        *at += (uint64_t)run->count << entry_shift(run->level);
        if (!run_empty(q, run))
            return true;
    }
    return false;
}

/* ---- counting ------------------------------------------------------------------------------ */

/* The path that was counted last: what the next one has in common with it is counted already. */
struct counted {
    bool any;
    vaddr_t address;
    unsigned level;
};

/*
 * The tables below the root that owning the path to `level` takes.  Those that `cleared` will have
 * taken away by then are made anew.
 */
static uint32_t path_need(const struct moving *m, vaddr_t address, unsigned level,
                          const struct qi_range *cleared, struct counted *counted)
{
    const struct quire *q = m->cpu->q;
    pfn_t table = qi_load(&m->space->root);
    bool copied = !table_exclusive(q, table), gone = false;
    uint32_t need = 0;
    for (unsigned l = QUIRE_LEVELS - 1; l >= level; l--) {
        entry_t e = gone ? 0 : entry_load(&table_entries(q, table)[entry_index(address, l + 1)]);
        bool known = counted->any && l >= counted->level &&
                     (counted->address ^ address) >> entry_shift(l + 1) == 0;
        if (e != 0) {
            table = entry_pfn(e);
            copied = copied || !entry_present(e) || !table_exclusive(q, table);
            gone = cleared &&
                   !(qi_range_holds(cleared, table, table_end(address, l) - entry_span(l + 1)) &
                     QI_HOLDS_KEPT);
        }
        gone = gone || e == 0;
        if (!known && (gone || copied))
            need += 1 + (l == 1 && !gone);
    }
    *counted = (struct counted){true, address, level};
    return need;
}

static uint32_t moving_need(const struct moving *m)
{
    struct counted here = {0}, there = {0};
    struct run run;
    uint32_t need = !table_exclusive(m->cpu->q, qi_load(&m->space->root));
    for (uint64_t at = 0; run_next(m, &at, &run);) {
        need += path_need(m, run.from, run.level, NULL, &here);
        need += path_need(m, run.to, run.level, &m->target, &there);
    }
    return need + qi_range_need(&m->target) + qi_range_need(&m->source);
}

/* ---- moving -------------------------------------------------------------------------------- */

static pfn_t path_own(const struct moving *m, vaddr_t address, unsigned level)
{
    struct qi_gate gate;
    qi_gate_begin(&gate, m->cpu, m->space, address);
    pfn_t table = qi_gate_open(&gate, level);
    qi_gate_close(&gate);
    return table;
}

static void moving_own(const struct moving *m)
{
    struct run run;
    for (uint64_t at = 0; run_next(m, &at, &run);) {
        path_own(m, run.from, run.level);
        path_own(m, run.to, run.level);
    }
}

static bool moving_arrest(const struct moving *m)
{
    struct run run;
    bool any = false;
    for (uint64_t at = 0; run_next(m, &at, &run); any = true) {
        entry_t *slot = &table_entries(m->cpu->q, run.table)[entry_index(run.from, run.level)];
        for (unsigned i = 0; i < run.count; i++, slot++) {
            entry_t e = entry_load(slot);
            while (e != 0 && !entry_change(slot, &e, entry_to_busy(e)))
                ;
        }
    }
    return any;
}

/* What a leaf entry becomes as entry `index` of `table`. */
static entry_t leaf_entry_moved(const struct moving *m, entry_t e, pfn_t table, unsigned index)
{
    switch (entry_kind(e, 1)) {
    case QI_OWN:
    case QI_BARRED:
        frame_record(&m->cpu->q->frames, entry_pfn(e))->home = home_make(table, index);
        return e;
    case QI_BORROWED: return qi_entry_unmap(m->cpu, e);
    case QI_PAGED:
    case QI_PROTOTYPE:
    case QI_SECTION:
    case QI_ZERO:
    case QI_GUARD: return e;
    case QI_EMPTY:
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: break;
    }
    host_panic("an entry of this kind does not move", __FILE__, __LINE__);
}

/* The tables above the new place may hold pinned pages, if those above the old one may. */
static pfn_t target_table(const struct moving *m, const struct run *run)
{
    struct quire *q = m->cpu->q;
    uint64_t pins = table_record(q, run->table)->pins;
    pfn_t table = qi_load(&m->space->root);
    for (unsigned level = QUIRE_LEVELS;; level--) {
        table_record(q, table)->pins |= pins;
        if (level == run->level)
            return table;
        table = entry_pfn(entry_load(&table_entries(q, table)[entry_index(run->to, level)]));
    }
}

static void run_settle(const struct moving *m, const struct run *run)
{
    struct quire *q = m->cpu->q;
    pfn_t table = target_table(m, run);
    unsigned index = entry_index(run->to, run->level);
    entry_t *from = &table_entries(q, run->table)[entry_index(run->from, run->level)];
    entry_t *to = &table_entries(q, table)[index];
    for (unsigned i = 0; i < run->count; i++) {
        entry_t e = entry_load(&from[i]);
        if (e == 0)
            continue;
        qi_check(entry_load(&to[i]) == 0);
        e = entry_from_busy(e);
        if (run->level == 1)
            e = leaf_entry_moved(m, e, table, index + i);
        entry_store(&to[i], e);
        entry_store(&from[i], 0);
        table_record(q, table)->present++;
        table_record(q, run->table)->present--;
    }
}

static struct moving moving_of(const struct qi_change *change)
{
    const struct move *r = change->request;
    struct moving m = {.cpu = change->cpu,
                       .space = change->space,
                       .from = r->from,
                       .to = r->to,
                       .length = smaller(r->old_length, r->new_length),
                       .top = 1};
    while (m.top < QUIRE_LEVELS && ((r->from ^ r->to) & (entry_span(m.top + 1) - 1)) == 0)
        m.top++;
    m.source = (struct qi_range){
        change->cpu, change->space, r->from, r->from + r->old_length, QI_LOSE_PAGES, 0};
    m.target = (struct qi_range){change->cpu,           change->space, r->to,
                                 r->to + r->new_length, QI_LOSE_PAGES, 0};
    return m;
}

static uint32_t move_count(const struct qi_change *change)
{
    struct moving m = moving_of(change);
    return moving_need(&m);
}

static void move_apply(const struct qi_change *change)
{
    struct moving m = moving_of(change);
    struct run run;
    qi_range_apply(&m.target);
    moving_own(&m);
    if (moving_arrest(&m) && !QI_CANARY(QI_CANARY_MOVE_NO_FLUSH))
        mmu_flush_range(m.cpu->q->machine, m.space, m.from, m.from + m.length);
    for (uint64_t at = 0; run_next(&m, &at, &run);)
        run_settle(&m, &run);
    qi_range_apply(&m.source);
}

/* ---- the operation -------------------------------------------------------------------------- */

/* Shrink or grow where it is. */
static enum quire_status resize(struct qi_change *change, const struct move *r)
{
    struct qi_region *regions = change->space->regions;
    vaddr_t old_end = r->from + r->old_length, new_end = r->from + r->new_length;
    if (new_end == old_end)
        return QUIRE_OK;
    if (new_end < old_end) {
        change->edit.urgent = true;
        qi_change_range(change, new_end, old_end, QI_LOSE_PAGES);
        change->regions = qi_region_cut(&change->edit, regions, new_end, old_end);
        return qi_change_finish(change);
    }
    struct qi_span span = qi_region_span(qi_region_find(regions, old_end - 1)); /* goes on */
    span.start = old_end;
    span.end = new_end;
    qi_change_range(change, old_end, new_end, QI_LOSE_NOTHING);
    change->regions = qi_region_put(&change->edit, regions, span);
    return qi_change_finish(change);
}

/* True: it can stay where it is. */
static bool stays(const struct quire_space *space, const struct move *r)
{
    if (r->flags & QUIRE_MOVE_FIXED)
        return false;
    return r->new_length <= r->old_length ||
           (qi_range_status(space->q, r->from, r->new_length) == QUIRE_OK &&
            qi_range_free(space, r->from + r->old_length, r->from + r->new_length));
}

/* A view that is made longer shows no page beyond the last that a view can show. */
static bool view_fits(const struct quire_space *space, const struct move *r)
{
    vaddr_t last = r->from + r->old_length - QUIRE_PAGE_SIZE;
    view_t view = qi_region_find(space->regions, last)->view;
    return !view || r->new_length <= r->old_length ||
           view_page(view, last) + ((r->new_length - r->old_length) >> QUIRE_PAGE_SHIFT) <
               QI_VIEW_PAGES;
}

static enum quire_status move_try(struct qi_change *change, void *request)
{
    struct move *r = request;
    struct quire_space *space = change->space;
    const struct quire *q = space->q;
    uint32_t lost;
    if (!qi_range_mapped(space, r->from, r->from + r->old_length, 0, &lost))
        return QUIRE_NOT_MAPPED;
    if (!view_fits(space, r))
        return QUIRE_OUT_OF_RANGE;
    if (stays(space, r)) {
        r->to = r->from;
        return resize(change, r);
    }
    if (!(r->flags & QUIRE_MOVE_FIXED) &&
        (!(r->flags & QUIRE_MOVE_ANYWHERE) ||
         !qi_region_highest_gap(space->regions, q->low, q->high, r->new_length, &r->to)))
        return QUIRE_NO_ADDRESSES;
    change->regions = qi_region_move(&change->edit, space->regions, r->from,
                                     r->from + r->old_length, r->to, r->to + r->new_length);
    change->count = move_count;
    change->apply = move_apply;
    return qi_change_finish(change);
}

static enum quire_status move_check(const struct quire *q, const struct move *r)
{
    const uint32_t known = QUIRE_MOVE_ANYWHERE | QUIRE_MOVE_FIXED;
    if ((r->flags & ~known) || r->flags == known)
        return QUIRE_BAD_FLAGS;
    enum quire_status status = qi_range_status(q, r->from, r->old_length);
    if (status != QUIRE_OK || !(r->flags & QUIRE_MOVE_FIXED))
        return status == QUIRE_OK ? qi_length_status(q, r->new_length) : status;
    status = qi_range_status(q, r->to, r->new_length);
    bool meet = r->from < r->to + r->new_length && r->to < r->from + r->old_length;
    return status == QUIRE_OK && meet ? QUIRE_OVERLAPS : status;
}

enum quire_status quire_move(struct quire_space *space, vaddr_t from, uint64_t old_length,
                             vaddr_t *to, uint64_t new_length, uint32_t flags)
{
    struct move r = {from, flags & QUIRE_MOVE_FIXED ? *to : from, old_length, new_length, flags};
    enum quire_status status = move_check(space->q, &r);
    if (status == QUIRE_OK)
        status = qi_change_run(space, move_try, &r);
    if (status == QUIRE_OK)
        *to = r.to;
    return status;
}
