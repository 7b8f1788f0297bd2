/* SPDX-License-Identifier: MIT */
/*
 * Homes: who uses a page that lies in another table, and what happens when nobody does.
 *
 * A table lends while entries of other tables have their home in it.  Its side frame counts
 * them for each home (uses), and how many of those are valid (maps); the record of the side
 * frame holds the sum, so that "lends nothing" is one word.  The table's own use counts in
 * neither: a home is live while its table has parents, or while it has uses.
 *
 *   lends something   side frame, sum > 0   frozen: nobody writes it in place
 *   lends nothing     no side frame         the table is its parents' alone
 *   no parents        a prototype table     each home goes with its last use, and the table
 *                                           with its last home
 *
 * A leaf mostly borrows from one table, at the same index: forks keep the index.  Since a frame
 * has one home only, "T[i] is borrowed, L[i] is own, and both name one frame" says that the
 * home of T[i] is L[i], without a look at the frame's record.  So all that T borrows from L is
 * counted in one pass in order over T, L and L's side frame (lender_pass), and only the entries
 * that are left over find their home one by one.
 *
 * A table without parents that still waits on the drop list (DYING) is left to leaf_drop in
 * table.c, which looks at every entry once anyway.
 *
 * Locks: the manager's, throughout.
 */
#include "table.h"

/* No parents and not waiting to be dropped: what is not used is freed here. */
static bool is_prototype(const struct qi_frame *r)
{
    return r->share == 0 && r->state == QI_FRAME_TABLE;
}

void qi_side_settle(struct quire *q, struct qi_frame *table)
{
    if (frame_record(&q->frames, table->side)->sum > 0)
        return;
    qi_frame_free(&q->frames, table->side);
    table->side = QI_NO_FRAME;
}

/* Its uses fell to nothing, or its last home went: the side frame and the table follow. */
static void lender_settle(struct quire *q, pfn_t lender)
{
    struct qi_frame *r = table_record(q, lender);
    qi_side_settle(q, r);
    if (r->present == 0 && is_prototype(r)) {
        qi_assert(r->side == QI_NO_FRAME);
        qi_frame_free(&q->frames, lender);
    }
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

static void home_change(struct quire *q, home_t home, bool mapped, int32_t step)
{
    struct qi_frame *r = table_record(q, home_table(home));
    qi_assert(r->side != QI_NO_FRAME);
    struct qi_side *side = table_side(q, r);
    qi_assert(step > 0 || side->uses[home_index(home)] > 0);
    side->uses[home_index(home)] += (uint32_t)step;
    side->maps[home_index(home)] += mapped ? (uint32_t)step : 0;
    frame_record(&q->frames, r->side)->sum += (uint64_t)(int64_t)step;
}

/* A home that has no uses any more: the page goes if its table has no parents either. */
static void home_free_unused(struct quire *q, home_t home)
{
    const struct qi_frame *r = table_record(q, home_table(home));
    if (is_prototype(r) && table_side(q, r)->uses[home_index(home)] == 0)
        qi_frame_free(&q->frames, home_clear(q, home));
}

void qi_home_drop(struct quire *q, home_t home, bool mapped)
{
    home_change(q, home, mapped, -1);
    const struct qi_frame *r = table_record(q, home_table(home));
    if (table_side(q, r)->uses[home_index(home)] > 0)
        return; /* so there is a sum, too */
    home_free_unused(q, home);
    lender_settle(q, home_table(home));
}

/* ---- a whole leaf -------------------------------------------------------------------------- */

/* The home of the present entry e, at this index, is the entry `home` at the same index of another
 * table. */
static bool is_home_of(entry_t home, entry_t e)
{
    return ((home ^ e) & ENTRY_PAYLOAD_MASK) == 0 && (home & ENTRY_OWN) && entry_present(e);
}

/*
 * Add `step`, 1 or -1, to uses[i] and maps[i] wherever homes[i] is the home of entries[i];
 * returns for how many that is.  One pass in order without a branch, in operations that every
 * vector unit has: `other` is 0 where both name one frame, and below 2^63, so that other - 1
 * has its top bit set exactly there.
 */
static uint32_t count_pass(const entry_t *restrict homes, const entry_t *restrict entries,
                           uint32_t *restrict uses, uint32_t *restrict maps, int32_t step)
{
    const uint32_t sign = step < 0 ? UINT32_MAX : 0;
    uint32_t count = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t other = (homes[i] ^ entries[i]) & ENTRY_PAYLOAD_MASK;
        uint32_t lent = (uint32_t)((other - 1) >> 63 & homes[i] >> ENTRY_OWN_SHIFT &
                                   entries[i] >> ENTRY_PRESENT_SHIFT);
        uint32_t change = (lent ^ sign) - sign;
        uses[i] += change;
        maps[i] += change;
        count += lent;
    }
    return count;
}

/* The same for all of what a leaf borrows from one lender. */
static uint32_t lender_pass(struct quire *q, pfn_t lender, const entry_t *entries, int32_t step)
{
    struct qi_frame *r = table_record(q, lender);
    qi_assert(r->side != QI_NO_FRAME);
    struct qi_side *side = table_side(q, r);
    uint32_t count = count_pass(table_entries(q, lender), entries, side->uses, side->maps, step);
    frame_record(&q->frames, r->side)->sum += (uint64_t)((int64_t)step * count);
    return count;
}

static void lender_free_unused(struct quire *q, pfn_t lender)
{
    const entry_t *homes = table_entries(q, lender);
    if (is_prototype(table_record(q, lender)))
        for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
            if (homes[i] != 0)
                home_free_unused(q, home_make(lender, i));
    lender_settle(q, lender);
}

/* The lenders that one leaf was found to borrow from, and counted for by a pass. */
struct lenders {
    unsigned count;
    pfn_t table[4];
};

static bool counted(const struct quire *q, const struct lenders *l, unsigned index, entry_t e)
{
    for (unsigned k = 0; k < l->count; k++)
        if (is_home_of(table_entries(q, l->table[k])[index], e))
            return true;
    return false;
}

static bool listed(const struct lenders *l, pfn_t table)
{
    for (unsigned k = 0; k < l->count; k++)
        if (l->table[k] == table)
            return true;
    return false;
}

/* Count one entry and, if there is room on the list, all that follow with the same lender. */
static uint32_t change_from(struct quire *q, struct lenders *l, const entry_t *entries,
                            unsigned index, int32_t step)
{
    entry_t e = entries[index];
    home_t home = qi_entry_home(q, e);
    pfn_t lender = home_table(home);
    if (l->count < sizeof l->table / sizeof l->table[0] &&
        is_home_of(table_entries(q, lender)[index], e)) {
        qi_check(!listed(l, lender)); /* or the entry was counted already */
        l->table[l->count++] = lender;
        return lender_pass(q, lender, entries, step);
    }
    home_change(q, home, entry_present(e), step);
    if (step < 0) {
        home_free_unused(q, home);
        /* A table on the list is still looked at; it is settled at the end. */
        if (!listed(l, lender))
            lender_settle(q, lender);
    }
    return 1;
}

uint32_t qi_homes_change(struct quire *q, const entry_t *entries, uint32_t others, int32_t step)
{
    struct lenders lenders = {0};
    uint32_t barred = 0;
    for (unsigned i = 0; others > 0 && i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t e = entries[i];
        switch (entry_kind(e, 1)) {
        case QI_EMPTY:
        case QI_OWN: break;
        case QI_BARRED:
            barred++;
            others--;
            break;
        case QI_ZERO: others--; break;
        case QI_BORROWED:
            if (!counted(q, &lenders, i, e))
                others -= change_from(q, &lenders, entries, i, step);
            break;
        case QI_PROTOTYPE: others -= change_from(q, &lenders, entries, i, step); break;
        case QI_BUSY:
        case QI_TABLE:
        case QI_HIDDEN: host_panic("a leaf holds an entry of this kind", __FILE__, __LINE__);
        }
    }
    for (unsigned k = 0; step < 0 && k < lenders.count; k++)
        lender_free_unused(q, lenders.table[k]);
    return barred;
}

/* ---- one home ------------------------------------------------------------------------------ */

pfn_t qi_home_move(struct quire *q, home_t home)
{
    struct qi_frame *r = table_record(q, home_table(home));
    struct qi_side *side = table_side(q, r);
    qi_assert(side->uses[home_index(home)] == 1);
    side->uses[home_index(home)] = 0;
    side->maps[home_index(home)] = 0;
    frame_record(&q->frames, r->side)->sum--;
    pfn_t page = home_clear(q, home);
    lender_settle(q, home_table(home));
    return page;
}

entry_t qi_entry_unmap(struct quire *q, entry_t e)
{
    home_t home = qi_entry_home(q, e);
    struct qi_side *side = table_side(q, table_record(q, home_table(home)));
    qi_assert(side->maps[home_index(home)] > 0);
    side->maps[home_index(home)]--;
    return entry_absent(QI_CODE_PROTOTYPE, home, 0);
}

void qi_home_mapped(struct quire *q, home_t home)
{
    table_side(q, table_record(q, home_table(home)))->maps[home_index(home)]++;
}

pfn_t qi_home_page(const struct quire *q, home_t home)
{
    return entry_pfn(entry_load(&table_entries(q, home_table(home))[home_index(home)]));
}

void qi_entry_release(struct quire *q, entry_t e)
{
    switch (entry_kind(e, 1)) {
    case QI_OWN:
    case QI_BARRED: qi_frame_free(&q->frames, entry_pfn(e)); break;
    case QI_BORROWED:
    case QI_PROTOTYPE: qi_home_drop(q, qi_entry_home(q, e), entry_present(e)); break;
    case QI_EMPTY:
    case QI_ZERO: break;
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: host_panic("an entry of this kind names no page", __FILE__, __LINE__);
    }
}
