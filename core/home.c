/* SPDX-License-Identifier: MIT */
/*
 * Homes: who uses a page that lies in another table, and what happens when nobody does.
 *
 * A table lends while entries of other tables have their home in it.  Its side frame counts
 * them for each home (uses), and how many of those are valid (maps); the record of the side
 * frame holds the sum, so that "lends nothing" is one word.  The table's own use counts in
 * neither: a home is live while its table has parents, or while it has uses.
 *
 *   lends something      side frame, sum > 0     frozen: nobody writes it in place
 *   lends nothing        no side frame           the table is its parents' alone
 *   no parents           a prototype table       each home goes with its last use, the table with
 * its last home
 *
 * Entries of one leaf mostly borrow from one table, so changes go through a struct qi_lender:
 * the table that the last entry was found to borrow from, with what is not yet in its sum.
 * While one is open, the side frame and the table stay, even when the last use has gone;
 * qi_lender_close settles both.
 *
 * A table without parents that still waits on the drop list (DYING) is left to leaf_drop in
 * table.c, which looks at every entry once anyway.
 *
 * Locks: the manager's, throughout.
 */
#include "table.h"

home_t qi_entry_home(const struct quire *q, entry_t e)
{
    if (entry_present(e))
        return frame_record(&q->frames, entry_pfn(e))->home;
    return entry_payload(e);
}

/* No parents and not waiting to be dropped: what is not used is freed here. */
static bool is_prototype(const struct qi_frame *r)
{
    return r->share == 0 && r->state == QI_FRAME_TABLE;
}

void qi_lender_close(struct quire *q, struct qi_lender *l)
{
    if (l->table == QI_NO_FRAME)
        return;
    struct qi_frame *r = table_record(q, l->table);
    struct qi_frame *side = frame_record(&q->frames, r->side);
    side->sum += (uint64_t)l->change;
    if (side->sum == 0) {
        qi_frame_free(&q->frames, r->side);
        r->side = QI_NO_FRAME;
    }
    if (r->present == 0 && is_prototype(r)) {
        qi_assert(r->side == QI_NO_FRAME);
        qi_frame_free(&q->frames, l->table);
    }
    l->table = QI_NO_FRAME;
}

static void lender_turn_to(struct quire *q, struct qi_lender *l, home_t home)
{
    if (l->table == home_table(home))
        return;
    qi_lender_close(q, l);
    const struct qi_frame *r = table_record(q, home_table(home));
    qi_assert(r->side != QI_NO_FRAME);
    *l = (struct qi_lender){.table = home_table(home), .side = table_side(q, r)};
}

void qi_lender_add(struct quire *q, struct qi_lender *l, home_t home, bool mapped)
{
    lender_turn_to(q, l, home);
    l->side->uses[home_index(home)]++;
    l->side->maps[home_index(home)] += mapped;
    l->change++;
}

/* The home becomes empty; returns the frame that it named. */
static pfn_t home_clear(struct quire *q, home_t home)
{
    entry_t *slot = &table_entries(q, home_table(home))[home_index(home)];
    pfn_t page = entry_pfn(*slot);
    entry_store(slot, 0);
    table_record(q, home_table(home))->present--;
    return page;
}

void qi_lender_drop(struct quire *q, struct qi_lender *l, home_t home, bool mapped)
{
    unsigned i = home_index(home);
    lender_turn_to(q, l, home);
    qi_assert(l->side->uses[i] > 0);
    l->side->uses[i]--;
    l->side->maps[i] -= mapped;
    l->change--;
    if (l->side->uses[i] == 0 && is_prototype(table_record(q, l->table)))
        qi_frame_free(&q->frames, home_clear(q, home));
}

bool qi_home_movable(const struct quire *q, home_t home)
{
    const struct qi_frame *lender = table_record(q, home_table(home));
    if (lender->share != 0 && !QI_CANARY(QI_CANARY_REUSE_IGNORES_SHARE))
        return false;
    return table_side(q, lender)->uses[home_index(home)] == 1;
}

pfn_t qi_home_move(struct quire *q, home_t home)
{
    struct qi_lender l = {.table = QI_NO_FRAME};
    lender_turn_to(q, &l, home);
    l.side->uses[home_index(home)] = 0;
    l.side->maps[home_index(home)] = 0;
    l.change = -1;
    pfn_t page = home_clear(q, home);
    qi_lender_close(q, &l);
    return page;
}

void qi_home_unmapped(struct quire *q, home_t home)
{
    struct qi_side *side = table_side(q, table_record(q, home_table(home)));
    qi_assert(side->maps[home_index(home)] > 0);
    side->maps[home_index(home)]--;
}

void qi_home_mapped(struct quire *q, home_t home)
{
    table_side(q, table_record(q, home_table(home)))->maps[home_index(home)]++;
}

pfn_t qi_home_page(const struct quire *q, home_t home)
{
    return entry_pfn(entry_load(&table_entries(q, home_table(home))[home_index(home)]));
}

void qi_entry_release(struct quire *q, struct qi_lender *l, entry_t e)
{
    switch (entry_kind(e, 1)) {
    case QI_OWN:
    case QI_BARRED: qi_frame_free(&q->frames, entry_pfn(e)); break;
    case QI_BORROWED:
    case QI_PROTOTYPE: qi_lender_drop(q, l, qi_entry_home(q, e), entry_present(e)); break;
    case QI_EMPTY:
    case QI_ZERO: break;
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: host_panic("an entry of this kind names no page", __FILE__, __LINE__);
    }
}
