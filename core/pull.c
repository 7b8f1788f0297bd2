/* SPDX-License-Identifier: MIT */
/*
 * Pulling: the last user of a page takes its home, though it has not written it.
 *
 * A parent that forks, and writes one page, again and again, leaves a prototype table behind for
 * each page: the home of that page for the child, and when the child has gone, for the parent's
 * own table.  Nobody shares anything any more, yet every page keeps a table and a side frame alive
 * (H17).  The next write of each page would move its home (copy.c, reuse); pulling does it for all
 * pages of a leaf at once, without a write: the entry becomes own, W stays clear, and no flush is
 * needed, since the frame is the same.
 *
 * A leaf can be pulled into if it has one parent and the path to it is the space's alone; that it
 * lends something itself does not matter, for a home that others use has more than one use.
 *
 * The space is held exclusively, a leaf at a time.
 */
#include "table.h"

/*
 * The first leaf at or above *at to which every table has one parent; *at becomes where it starts.
 * QI_NO_FRAME: none.
 */
static pfn_t next_leaf(const struct quire *q, pfn_t table, vaddr_t base, vaddr_t *at)
{
    const struct qi_frame *r = table_record(q, table);
    if (qi_load(&r->share) != 1)
        return QI_NO_FRAME;
    if (r->level == 1) {
        *at = base;
        return table;
    }
    const entry_t *entries = table_entries(q, table);
    unsigned first = *at > base ? (unsigned)((*at - base) >> entry_shift(r->level)) : 0;
    for (unsigned i = first; i < table_count(r->level); i++) {
        if (!entry_present(entry_load(&entries[i])))
            continue;
        pfn_t leaf = next_leaf(q, entry_pfn(entries[i]), base + i * entry_span(r->level), at);
        if (leaf != QI_NO_FRAME)
            return leaf;
    }
    return QI_NO_FRAME;
}

/* Own instead of borrowed: what the entry may do stays as it is. */
static entry_t entry_pulled(entry_t e, entry_t home)
{
    if (entry_present(e))
        return e | ENTRY_OWN | ENTRY_FOLDED;
    if (entry_kind(home, 1) == QI_PAGED)
        return home;
    return entry_absent(QI_CODE_BARRED, entry_pfn(home), ENTRY_FOLDED);
}

static uint64_t leaf_pull(struct qi_cpu *cpu, pfn_t table)
{
    struct quire *q = cpu->q;
    entry_t *entries = table_entries(q, table);
    uint64_t pulled = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t e = entry_load(&entries[i]);
        enum qi_kind kind = entry_kind(e, 1);
        if (kind != QI_BORROWED && kind != QI_PROTOTYPE)
            continue;
        home_t home = qi_entry_home(q, e);
        bool movable = qi_home_movable(q, home) || QI_CANARY(QI_CANARY_PULL_SHARED);
        if (!movable)
            continue;
        entry_t was = qi_home_move(cpu, home);
        if (entry_kind(was, 1) != QI_PAGED)
            frame_record(&q->frames, entry_pfn(was))->home = home_make(table, i);
        while (!entry_change(&entries[i], &e, entry_pulled(e, was)))
            ;
        pulled++;
    }
    cpu->stats.pulled += pulled;
    return pulled;
}

uint64_t quire_space_pull(struct quire_space *space)
{
    struct quire *q = space->q;
    uint64_t pulled = 0;
    for (vaddr_t at = 0; at < MMU_ADDRESS_END; at += entry_span(2)) {
        struct qi_cpu *cpu = qi_enter_exclusive(space);
        pfn_t leaf = next_leaf(q, space->root, 0, &at);
        if (leaf != QI_NO_FRAME)
            pulled += leaf_pull(cpu, leaf);
        qi_leave(cpu);
        if (leaf == QI_NO_FRAME)
            break;
        host_yield(q->host);
    }
    return pulled;
}
