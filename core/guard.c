/* SPDX-License-Identifier: MIT */
/*
 * Guards: pages that refuse every access, without a region of their own.
 *
 * A guard is a kind of leaf entry that is not present.  It splits no region, so a program with a
 * thousand threads pays a thousand entries for the ends of their stacks and not a thousand nodes.
 * Putting one up costs the tables above it, which it keeps alive.  Fork, unshare and hide treat it
 * as they treat a zero entry: copied as itself and counted nowhere.  What takes pages away leaves
 * it (quire_discard) or takes it too (unmap, decommit), range.c.
 *
 * The range loses its pages first, as if it were unmapped, which drops what it covers wholly; then
 * its tables are owned, or made anew, and filled.  No flush is needed for that: an empty entry
 * becomes one that is not present either.
 *
 * Locks: the space, exclusively.
 */
#include "change.h"

/* Tables of `level` and below that a range needs where there are none. */
static uint64_t tables_over(unsigned level, vaddr_t low, vaddr_t high)
{
    uint64_t count = 0;
    for (; level > 0; level--) {
        unsigned shift = entry_shift(level + 1);
        count += ((high - 1) >> shift) - (low >> shift) + 1;
    }
    return count;
}

/* The tables that stand are owned; in the place of those that go with their pages are new ones. */
static uint64_t piece_need(const struct qi_piece *piece, bool copied)
{
    const struct qi_range *range = piece->range;
    struct quire *q = range->cpu->q;
    uint64_t need = 0;
    if (piece->level == 1)
        return 0;
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct qi_part part = qi_part_at(piece, at);
        entry_t e = entry_load(&table_entries(q, piece->table)[part.index]);
        vaddr_t base = part.low & ~(entry_span(piece->level) - 1);
        at = part.high;
        if (e == 0 || part.covered ||
            !(qi_range_holds(range, entry_pfn(e), base) & QI_HOLDS_KEPT)) {
            need += tables_over(piece->level - 1, part.low, part.high);
            continue;
        }
        struct qi_piece below = qi_piece_below(piece, &part, entry_pfn(e));
        bool copies = copied || !entry_present(e) || !table_exclusive(q, below.table);
        need += piece_need(&below, copies);
        if (copies)
            need += 1 + (piece->level == 2);
    }
    return need;
}

/* What losing the pages takes is a part of it: the same tables, owned once. */
static uint32_t guard_need(const struct qi_range *range)
{
    struct qi_piece root = {range, qi_load(&range->space->root), QUIRE_LEVELS, range->low,
                            range->high};
    bool shared = !table_exclusive(range->cpu->q, root.table);
    uint64_t need = shared + piece_need(&root, shared);
    return need < UINT32_MAX ? (uint32_t)need : UINT32_MAX;
}

static uint32_t guard_count(const struct qi_change *change) { return guard_need(&change->range); }

/* The part of the range that lies in one leaf. */
static void leaf_fill(const struct qi_range *range, vaddr_t low, vaddr_t high)
{
    struct quire *q = range->cpu->q;
    struct qi_gate gate;
    qi_gate_begin(&gate, range->cpu, range->space, low);
    pfn_t table = qi_gate_open(&gate, 1);
    qi_gate_close(&gate);
    entry_t *entries = table_entries(q, table);
    for (vaddr_t at = low; at < high; at += QUIRE_PAGE_SIZE) {
        entry_t *slot = &entries[entry_index(at, 1)];
        qi_check(entry_load(slot) == 0);
        entry_store(slot, entry_absent(QI_CODE_GUARD, 0, 0));
        table_record(q, table)->present++;
    }
}

static void guard_apply(const struct qi_change *change)
{
    const struct qi_range *range = &change->range;
    qi_range_apply(range);
    for (vaddr_t at = range->low; at < range->high;) {
        vaddr_t end = (at | (entry_span(2) - 1)) + 1;
        end = smaller(end, range->high);
        leaf_fill(range, at, end);
        at = end;
    }
}

/* The part is so many leaves, whether they stand or are to be made. */
static vaddr_t part_end(const struct qi_extent *extent)
{
    vaddr_t end = (extent->low & ~(entry_span(2) - 1)) + QI_PART_LEAVES * entry_span(2);
    return smaller(end, extent->high);
}

/* Before the first part of several: is there memory for all? */
static bool guard_possible(struct qi_change *change, const struct qi_extent *extent)
{
    if (extent->begun || extent->end == extent->high)
        return true;
    qi_change_range(change, extent->low, extent->high, QI_LOSE_PAGES);
    change->need = guard_need(&change->range);
    return change->need <= qi_frames_available(change->cpu->q);
}

static enum quire_status guard_try(struct qi_change *change, void *request)
{
    struct qi_extent *extent = request;
    uint32_t lost;
    extent->end = part_end(extent);
    if (!qi_extent_mapped(change, extent, 0, &lost))
        return QUIRE_NOT_MAPPED;
    if (!guard_possible(change, extent))
        return QUIRE_NO_MEMORY;
    qi_change_range(change, extent->low, extent->end, QI_LOSE_PAGES);
    qi_change_keep(change);
    change->count = guard_count;
    change->apply = guard_apply;
    return qi_change_finish(change);
}

enum quire_status quire_guard(struct quire_space *space, vaddr_t address, uint64_t length)
{
    return qi_change_extent(space, address, length, guard_try, NULL);
}

static enum quire_status unguard_try(struct qi_change *change, void *request)
{
    struct qi_extent *extent = request;
    uint32_t lost;
    qi_change_part(change, extent, QI_LOSE_GUARDS);
    if (!qi_extent_mapped(change, extent, 0, &lost))
        return QUIRE_NOT_MAPPED;
    qi_change_keep(change);
    return qi_change_finish(change);
}

enum quire_status quire_unguard(struct quire_space *space, vaddr_t address, uint64_t length)
{
    return qi_change_extent(space, address, length, unguard_try, NULL);
}
