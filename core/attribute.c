/* SPDX-License-Identifier: MIT */
/*
 * Attribution: who pays for what is shared, exactly.
 *
 * A frame that n users share costs each of them an n-th.  The users of a table are its parents; of
 * a page, the entries that name it or its home; and a parent is a table too, so a space pays along
 * every path by which it reaches a frame.  Done with fractions the sum of all parts would be the
 * number of frames; done with rounded numbers it would not.  It is here, by telescoping.
 *
 * A walk of each space carries a *weight*: the root gets one frame, 2^32 units, from each space.  A
 * table with k parents keeps the sum `cum` of the weights that came in, and passes of each
 * weight w that comes in
 *
 *      floor((cum + w) / k) - floor(cum / k)
 *
 * on to all that it names.  When each of its parents has passed exactly 2^32 in all, cum has risen
 * to k 2^32, and what was passed on sums to exactly 2^32: so by induction each table and each page
 * hands out exactly one frame, split among the spaces that led to it.  What a space is given on the
 * way is its part.
 *
 *      a table                  its parents (share); its side frame is handed out with it
 *      a page                   the entries that borrow it (uses), and its own table, if that
 *                               table has parents
 *      a prototype table        it has no parents: the entries that borrow from it (the sum of
 *                               its uses), and its side frame with it
 *
 * A leaf of a section is such a prototype table.
 *
 * Not handed out, because no space reaches them: pages of sections that no view has, tables above,
 * region nodes, frames that were taken, the zero page, and pages that only pins keep.
 *
 * The sums lie in the two list links of the frame records, which tables and pages do not use.
 * Tables that wait to be dropped are parents that no space reaches: they are dropped first.
 *
 * Locks: all calls stopped.  So an entry is busy nowhere, and everything is read plainly.
 */
#include "table.h"

#define FRAME (UINT64_C(1) << 32) /* units */

/* The links of all tables and pages: to 0, and back. */
static void links_set(struct quire *q, pfn_t to)
{
    for (uint32_t i = 0; i < q->frames.count; i++) {
        struct qi_frame *r = &q->frames.records[i];
        if (r->state == QI_FRAME_TABLE || r->state == QI_FRAME_SECTION || r->state == QI_FRAME_DATA)
            r->next = r->prev = to;
    }
}

/* The share of `weight` that one of k users of the frame has to pay; remembers what came in. */
static uint64_t split(struct qi_frame *r, uint64_t weight, uint64_t k)
{
    uint64_t before = (uint64_t)r->prev << 32 | r->next, after = before + weight;
    qi_assert(k > 0);
    qi_assert(after >= before && after / k <= FRAME);
    r->next = (pfn_t)after;
    r->prev = (pfn_t)(after >> 32);
    return after / k - before / k;
}

/* One frame, and its side frame if it has one. */
static uint64_t with_side(const struct qi_frame *table, uint64_t part)
{
    return table->side == QI_NO_FRAME ? part : 2 * part;
}

/* What a use of the page at `home`, of this weight, pays. */
static uint64_t page_part(struct quire *q, home_t home, pfn_t page, uint64_t weight)
{
    const struct qi_frame *table = table_record(q, home_table(home));
    uint64_t users = table->side == QI_NO_FRAME ? 0 : table_side(q, table)->uses[home_index(home)];
    return split(frame_record(&q->frames, page), weight, users + (table->share > 0));
}

/* The same for an entry that borrows it: if nobody walks its table, that has to be paid as well. */
static uint64_t borrowed_part(struct quire *q, home_t home, uint64_t weight)
{
    struct qi_frame *table = table_record(q, home_table(home));
    entry_t e = entry_load(qi_home_slot(q, home));
    uint64_t part = 0;
    if (entry_kind(e, 1) != QI_PAGED)
        part = page_part(q, home, entry_pfn(e), weight);
    if (table->share == 0)
        part += with_side(table, split(table, weight, frame_record(&q->frames, table->side)->sum));
    return part;
}

/* The part of everything below `table` that a parent of this weight pays. */
static uint64_t table_part(struct quire *q, pfn_t table, unsigned level, uint64_t weight)
{
    struct qi_frame *r = table_record(q, table);
    const entry_t *entries = table_entries(q, table);
    weight = split(r, weight, r->share);
    uint64_t part = with_side(r, weight);
    for (unsigned i = 0; i < table_count(level); i++) {
        entry_t e = entries[i];
        switch (entry_kind(e, level)) {
        case QI_TABLE:
        case QI_HIDDEN: part += table_part(q, entry_pfn(e), level - 1, weight); break;
        case QI_OWN:
        case QI_BARRED: part += page_part(q, home_make(table, i), entry_pfn(e), weight); break;
        case QI_BORROWED:
        case QI_SECTION:
        case QI_PROTOTYPE: part += borrowed_part(q, qi_entry_home(q, e), weight); break;
        case QI_EMPTY:
        case QI_PAGED: /* it costs no memory, or such as is free in a moment */
        case QI_ZERO:
        case QI_GUARD: break;
        case QI_BUSY: host_panic("an entry is busy, and nobody is at work", __FILE__, __LINE__);
        }
    }
    return part;
}

uint64_t quire_attribute(struct quire *q,
                         void (*each)(void *context, struct quire_space *space, uint64_t part),
                         void *context)
{
    uint64_t sum = 0;
    struct qi_cpu *cpu = qi_stop_all(q);
    while (qi_table_drop_slice(cpu))
        ;
    links_set(q, 0);
    for (uint32_t i = 0; i < q->max_spaces; i++) {
        struct quire_space *space = &q->spaces[i];
        if (space->state != QI_SPACE_LIVE)
            continue;
        uint64_t part = table_part(q, space->root, QUIRE_LEVELS, FRAME);
        sum += part;
        each(context, space, part);
    }
    links_set(q, QI_NO_FRAME);
    qi_assert(sum % FRAME == 0);
    qi_go_all(q);
    return sum / FRAME;
}
