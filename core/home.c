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
 * Locks.  What belongs to a lender (its side frame, the entries that are homes in use, `present`)
 * changes under that lender's lock, and every function here takes one lender's lock at a time.  A
 * home that is used does not move or go: so whoever owns a use (an entry that is busy, or that lies
 * in a table which can not change) may look up its home, and read the page, without any lock.
 */
#include "table.h"

/* No parents and not waiting to be dropped: what is not used is freed here. */
static bool is_prototype(const struct qi_frame *r)
{
    return qi_load(&r->share) == 0 && r->state == QI_FRAME_TABLE;
}

void qi_side_settle(struct qi_cpu *cpu, struct qi_frame *table)
{
    pfn_t side = table->side;
    /* A section's leaf keeps the counts that it will need again. */
    if (frame_record(&cpu->q->frames, side)->sum > 0 || table->state == QI_FRAME_SECTION)
        return;
    qi_store(&table->side, QI_NO_FRAME);
    qi_frame_free(cpu, side);
}

/* Lock a lender that an entry of the caller uses. */
static inline struct qi_frame *lender_lock(struct qi_cpu *cpu, pfn_t lender)
{
    struct qi_frame *r = table_record(cpu->q, lender);
    lock_take(cpu, &r->lock, QI_RANK_TABLE);
    qi_assert(r->side != QI_NO_FRAME);
    return r;
}

/* Its uses may have fallen to nothing, its last home may be gone: the side frame and the table
 * follow. */
static inline void lender_unlock(struct qi_cpu *cpu, struct qi_frame *r)
{
    qi_side_settle(cpu, r);
    bool gone = r->present == 0;
    qi_assert(!gone || (is_prototype(r) && r->side == QI_NO_FRAME));
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    if (gone)
        qi_frame_free(cpu, frame_number(&cpu->q->frames, r));
}

/* The home, an entry of the lender r, becomes empty; returns what it held. */
static inline entry_t home_clear(struct quire *q, struct qi_frame *r, home_t home)
{
    entry_t *slot = qi_home_slot(q, home);
    entry_t e = entry_load(slot);
    entry_store(slot, 0);
    r->present--;
    return e;
}

/* `step` uses more of an entry of the lender r, and as many maps if it is mapped. */
static inline void home_count(struct quire *q, const struct qi_frame *r, home_t home, bool mapped,
                              int32_t step)
{
    struct qi_side *side = table_side(q, r);
    qi_assert(step > 0 || side->uses[home_index(home)] > 0);
    qi_store(&side->uses[home_index(home)], side->uses[home_index(home)] + (uint32_t)step);
    side->maps[home_index(home)] += mapped ? (uint32_t)step : 0;
    frame_record(&q->frames, r->side)->sum += (uint64_t)(int64_t)step;
}

/* A home that has no uses any more: the page goes if its table has no parents either. */
static void home_free_unused(struct qi_cpu *cpu, struct qi_frame *r, home_t home)
{
    if (is_prototype(r) && table_side(cpu->q, r)->uses[home_index(home)] == 0)
        qi_entry_release(cpu, home_clear(cpu->q, r, home));
}

void qi_home_give(struct qi_cpu *cpu, home_t home, bool mapped)
{
    if (QI_CANARY(QI_CANARY_LENDER_NOT_LOCKED)) {
        home_count(cpu->q, table_record(cpu->q, home_table(home)), home, mapped, -1);
        return;
    }
    struct qi_frame *r = lender_lock(cpu, home_table(home));
    home_count(cpu->q, r, home, mapped, -1);
    home_free_unused(cpu, r, home);
    lender_unlock(cpu, r);
}

/* ---- a whole leaf -------------------------------------------------------------------------- */

/* The home of the present entry e, at this index, is the entry `home` at the same index of another
 * table. */
static bool is_home_of(entry_t home, entry_t e)
{
    return ((home ^ e) & ENTRY_PAYLOAD_MASK) == 0 && (home & ENTRY_OWN) && entry_present(e);
}

/*
 * The same as a number, without a branch, in operations that every vector unit has: `other` is 0
 * where both name one frame, and below 2^63, so that other - 1 has its top bit set exactly there.
 */
static inline uint32_t is_lent(entry_t home, entry_t e)
{
    entry_t other = (home ^ e) & ENTRY_PAYLOAD_MASK;
    return (uint32_t)((other - 1) >> 63 & home >> ENTRY_OWN_SHIFT & e >> ENTRY_PRESENT_SHIFT);
}

/*
 * Where homes[i] is the home of entries[i], of a leaf that is copied: one use and one map more.
 * Returns for how many that is.  One pass in order.
 */
QI_PASS static uint32_t take_pass(const entry_t *restrict homes, const entry_t *restrict entries,
                                  uint32_t *restrict uses, uint32_t *restrict maps)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        uint32_t lent = is_lent(homes[i], entries[i]);
        uses[i] += lent;
        maps[i] += lent;
        count += lent;
    }
    return count;
}

/* The opposite, for a leaf that goes: what is counted becomes empty. */
QI_PASS static uint32_t give_pass(const entry_t *restrict homes, entry_t *restrict entries,
                                  uint32_t *restrict uses, uint32_t *restrict maps)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        uint32_t lent = is_lent(homes[i], entries[i]);
        uses[i] -= lent;
        maps[i] -= lent;
        entries[i] &= (entry_t)lent - 1;
        count += lent;
    }
    return count;
}

/* All of what a leaf borrows from one lender, at the same index. */
static uint32_t lender_take(struct qi_cpu *cpu, pfn_t lender, const entry_t *entries)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = lender_lock(cpu, lender);
    struct qi_side *side = table_side(q, r);
    QI_TOUCH_ALL(side, true);
    uint32_t count = take_pass(table_entries(q, lender), entries, side->uses, side->maps);
    frame_record(&q->frames, r->side)->sum += count;
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return count;
}

static uint32_t lender_give(struct qi_cpu *cpu, pfn_t lender, entry_t *entries)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = lender_lock(cpu, lender);
    struct qi_side *side = table_side(q, r);
    const entry_t *homes = table_entries(q, lender);
    QI_TOUCH_ALL(side, true);
    uint32_t count = give_pass(homes, entries, side->uses, side->maps);
    frame_record(&q->frames, r->side)->sum -= count;
    if (is_prototype(r))
        for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
            if (homes[i] != 0)
                home_free_unused(cpu, r, home_make(lender, i));
    lender_unlock(cpu, r);
    return count;
}

/*
 * The lenders that one leaf was found to borrow from, and counted for by a pass.  After many
 * generations a leaf can borrow each entry from another lender, so there are only so many passes:
 * the rest is cheaper one by one.
 */
enum { LENDERS = 4 };
struct lenders {
    unsigned count;
    pfn_t table[LENDERS];
};

static bool counted(const struct quire *q, const struct lenders *l, unsigned index, entry_t e)
{
    for (unsigned k = 0; k < l->count; k++)
        if (is_home_of(entry_load(&table_entries(q, l->table[k])[index]), e))
            return true;
    return false;
}

/* Count one entry and, if there is room on the list, all that follow with the same lender. */
static uint32_t take_from(struct qi_cpu *cpu, struct lenders *l, const entry_t *entries,
                          unsigned index)
{
    struct quire *q = cpu->q;
    entry_t e = entries[index];
    home_t home = qi_entry_home(q, e);
    pfn_t lender = home_table(home);
    if (l->count < sizeof l->table / sizeof l->table[0] &&
        is_home_of(entry_load(&table_entries(q, lender)[index]), e)) {
        l->table[l->count++] = lender;
        return lender_take(cpu, lender, entries);
    }
    struct qi_frame *r = lender_lock(cpu, lender);
    home_count(q, r, home, entry_present(e), 1);
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return 1;
}

void qi_homes_take(struct qi_cpu *cpu, const entry_t *entries, uint32_t others)
{
    struct lenders lenders = {0};
    for (unsigned i = 0; others > 0; i++) {
        qi_check(i < QUIRE_TABLE_ENTRIES);
        entry_t e = entry_load(&entries[i]);
        switch (entry_kind(e, 1)) {
        case QI_EMPTY:
        case QI_OWN: break;
        case QI_BARRED:
        case QI_PAGED:
        case QI_ZERO:
        case QI_SECTION:
        case QI_GUARD: others--; break;
        case QI_BORROWED:
            if (!counted(cpu->q, &lenders, i, e))
                others -= take_from(cpu, &lenders, entries, i);
            break;
        case QI_PROTOTYPE: others -= take_from(cpu, &lenders, entries, i); break;
        case QI_BUSY:
        case QI_TABLE:
        case QI_HIDDEN: host_panic("a leaf holds an entry of this kind", __FILE__, __LINE__);
        }
    }
}

/* Give back one entry and, where the lender has the same index and there were few passes yet, all
 * others of that lender. */
static uint32_t give_from(struct qi_cpu *cpu, entry_t *entries, unsigned index, unsigned *passes)
{
    struct quire *q = cpu->q;
    entry_t e = entries[index];
    home_t home = qi_entry_home(q, e);
    pfn_t lender = home_table(home);
    if (*passes < LENDERS && is_home_of(entry_load(&table_entries(q, lender)[index]), e)) {
        ++*passes;
        return lender_give(cpu, lender, entries);
    }
    entry_store(&entries[index], 0);
    qi_home_give(cpu, home, entry_present(e));
    return 1;
}

/* Give back a run of pages of a section that lie in one leaf there; returns how many. */
static uint32_t give_section(struct qi_cpu *cpu, entry_t *entries, unsigned index)
{
    struct quire *q = cpu->q;
    pfn_t lender = home_table(qi_entry_home(q, entry_load(&entries[index])));
    uint32_t count = 0;
    struct qi_frame *r = lender_lock(cpu, lender);
    for (; index < QUIRE_TABLE_ENTRIES; index++, count++) {
        entry_t e = entry_load(&entries[index]);
        home_t home = entry_kind(e, 1) == QI_SECTION ? qi_entry_home(q, e) : QI_NO_HOME;
        if (home_table(home) != lender)
            break;
        entry_store(&entries[index], 0);
        home_count(q, r, home, true, -1);
    }
    lender_unlock(cpu, r);
    return count;
}

void qi_homes_give(struct qi_cpu *cpu, entry_t *entries, uint32_t others)
{
    unsigned passes = 0;
    for (unsigned i = 0; others > 0; i++) {
        qi_check(i < QUIRE_TABLE_ENTRIES);
        enum qi_kind kind = entry_kind(entry_load(&entries[i]), 1);
        if (kind == QI_BORROWED || kind == QI_PROTOTYPE)
            others -= give_from(cpu, entries, i, &passes);
        else if (kind == QI_SECTION)
            others -= give_section(cpu, entries, i);
        else if (kind == QI_BARRED || kind == QI_PAGED || kind == QI_ZERO || kind == QI_GUARD)
            others--;
    }
}

/* ---- one home ------------------------------------------------------------------------------ */

entry_t qi_home_move(struct qi_cpu *cpu, home_t home)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = lender_lock(cpu, home_table(home));
    qi_assert(qi_home_single(q, r, home) || QI_CANARY(QI_CANARY_PULL_SHARED));
    struct qi_side *side = table_side(q, r);
    qi_store(&side->uses[home_index(home)], 0u);
    side->maps[home_index(home)] = 0;
    frame_record(&q->frames, r->side)->sum--;
    entry_t e = home_clear(q, r, home);
    lender_unlock(cpu, r);
    return e;
}

entry_t qi_entry_unmap(struct qi_cpu *cpu, entry_t e)
{
    struct quire *q = cpu->q;
    home_t home = qi_entry_home(q, e);
    struct qi_frame *r = lender_lock(cpu, home_table(home));
    struct qi_side *side = table_side(q, r);
    qi_assert(side->maps[home_index(home)] > 0);
    side->maps[home_index(home)]--;
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return entry_absent(QI_CODE_PROTOTYPE, home, 0);
}

pfn_t qi_home_use(struct qi_cpu *cpu, home_t home)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = lender_lock(cpu, home_table(home));
    home_count(q, r, home, true, 1);
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return qi_home_page(q, home);
}

pfn_t qi_home_map(struct qi_cpu *cpu, home_t home)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = lender_lock(cpu, home_table(home));
    table_side(q, r)->maps[home_index(home)]++;
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return qi_home_page(q, home);
}

void qi_entry_release(struct qi_cpu *cpu, entry_t e)
{
    switch (entry_kind(e, 1)) {
    case QI_OWN:
    case QI_BARRED: qi_page_release(cpu, entry_pfn(e)); break;
    case QI_PAGED: qi_paged_release(cpu, entry_slot(e)); break;
    case QI_BORROWED:
    case QI_SECTION:
    case QI_PROTOTYPE: qi_home_give(cpu, qi_entry_home(cpu->q, e), entry_present(e)); break;
    case QI_EMPTY:
    case QI_ZERO:
    case QI_GUARD: break;
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: host_panic("an entry of this kind names no page", __FILE__, __LINE__);
    }
}
