/* SPDX-License-Identifier: MIT */
/*
 * Changes to all entries of a range: what unmap and protect do to tables.
 *
 * A range can be an aligned terabyte or half a leaf, and tables on its way can be shared.  Two
 * rules keep it short and exact:
 *
 *   A subtree that lies wholly in the range is not walked if it is shared.  Unmapping drops the
 *   one reference to it.  Taking read or execute away *hides* it: the pointer stops being
 *   present, and whoever may come back later unshares it (table.c).  Taking write away needs
 *   nothing at all, for W is clear above it.
 *
 *   Only the tables at the two edges, which the range covers in part, must be owned: at most one
 *   at each level and edge.  They are what qi_range_need counts.  A table that holds nothing
 *   outside the range counts as wholly covered.
 *
 * Two passes with one flush between them.  *Arrest*: every entry that will lose its page, its
 * table or its presence becomes busy, which keeps what it was and is seen by no machine.
 * Entries that only lose W or execute are tightened in place.  Flush.  *Settle*: every busy
 * entry becomes what it shall be, and what it named is released, for now no CPU can reach it.
 *
 * The passes visit at most two partial tables a level, and below them only tables that are the
 * space's own; unmapping never goes below a covered table.  The subtrees that it detaches wait
 * on the drop list, and are freed in slices.
 *
 * Locks: the manager's, throughout.  The recursion is as deep as the tree.
 */
#include "fault.h"

#include <quire/machine.h>

/* A walk of the part of a range that one table covers. */
struct piece {
    const struct qi_range *range;
    pfn_t table;
    unsigned level;
    vaddr_t low, high; /* within the table */
};

struct part {
    entry_t *slot;
    vaddr_t low, high; /* what of the range lies under this entry */
    bool covered;      /* all of what the entry spans */
};

/* The part of `piece` from `at` on that lies under one entry; the next one starts at its high. */
static struct part part_at(const struct piece *piece, vaddr_t at)
{
    uint64_t span = entry_span(piece->level);
    vaddr_t start = at & ~(span - 1);
    vaddr_t end = start + span;
    struct part part = {.low = at, .high = end < piece->high ? end : piece->high};
    part.slot = &table_entries(piece->range->space->q, piece->table)[entry_index(at, piece->level)];
    part.covered = part.low == start && part.high == end;
    return part;
}

static struct piece piece_below(const struct piece *piece, const struct part *part, pfn_t child)
{
    return (struct piece){piece->range, child, piece->level - 1, part->low, part->high};
}

/*
 * Does the table hold anything inside [low, high), or else outside it?  `base` is where what it
 * spans starts.  Goes down only where an entry spans an edge of the range.
 */
static bool occupied(const struct quire *q, pfn_t table, unsigned level, vaddr_t base, vaddr_t low,
                     vaddr_t high, bool inside)
{
    const entry_t *entries = table_entries(q, table);
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        vaddr_t start = base + i * entry_span(level), end = start + entry_span(level);
        bool all_in = low <= start && end <= high, all_out = end <= low || start >= high;
        if (entries[i] == 0 || (inside ? all_out : all_in))
            continue;
        if (all_in || all_out ||
            occupied(q, entry_pfn(entries[i]), level - 1, start, low, high, inside))
            return true;
    }
    return false;
}

static bool part_occupied(const struct piece *piece, const struct part *part, entry_t e,
                          bool inside)
{
    return occupied(piece->range->space->q, entry_pfn(e), piece->level - 1,
                    part->low & ~(entry_span(piece->level) - 1), part->low, part->high, inside);
}

/* Unmapping takes the whole subtree: it lies in the range, or nothing of it lies outside. */
static bool detachable(const struct piece *piece, const struct part *part, entry_t e)
{
    return piece->range->loss == QI_LOSE_PAGES &&
           (part->covered || !part_occupied(piece, part, e, false));
}

/* There is nothing under the entry for the range to change: empty, hidden already, never touched.
 */
static bool untouched(const struct piece *piece, const struct part *part, entry_t e)
{
    if (e == 0 || (piece->range->loss != QI_LOSE_PAGES && !entry_present(e)))
        return true;
    return !part->covered && !part_occupied(piece, part, e, true);
}

static bool child_shared(const struct quire *q, entry_t e)
{
    return !entry_present(e) || !table_exclusive(q, entry_pfn(e));
}

/* ---- counting ------------------------------------------------------------------------------ */

static uint32_t piece_need(const struct piece *piece, bool copied)
{
    struct quire *q = piece->range->space->q;
    uint32_t need = 0;
    if (piece->level == 1)
        return 0;
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct part part = part_at(piece, at);
        entry_t e = entry_load(part.slot);
        at = part.high;
        if (part.covered || untouched(piece, &part, e) || detachable(piece, &part, e))
            continue;
        pfn_t child = entry_pfn(e);
        bool copies = copied || child_shared(q, e);
        struct piece below = piece_below(piece, &part, child);
        if (copies)
            need += 1 + (piece->level == 2 && table_record(q, child)->side == QI_NO_FRAME);
        need += piece_need(&below, copies);
    }
    return need;
}

static struct piece whole(const struct qi_range *range)
{
    return (struct piece){range, range->space->root, QUIRE_LEVELS, range->low, range->high};
}

/* Is there anything in the tree for the range? */
static bool root_touched(const struct piece *root)
{
    return occupied(root->range->space->q, root->table, QUIRE_LEVELS, 0, root->low, root->high,
                    true);
}

uint32_t qi_range_need(const struct qi_range *range)
{
    struct piece root = whole(range);
    if (range->loss <= QI_LOSE_WRITE || !root_touched(&root))
        return 0;
    bool shared = table_record(range->space->q, root.table)->share > 1;
    return shared + piece_need(&root, shared);
}

/* ---- arrest -------------------------------------------------------------------------------- */

static entry_t tightened(entry_t e, uint32_t lost)
{
    if (lost & QUIRE_EXEC)
        e = entry_with_exec(e, false);
    if (!(lost & QUIRE_WRITE))
        return e;
    return QI_CANARY(QI_CANARY_DIRTY_LOST) ? e & ~(ENTRY_WRITE | ENTRY_DIRTY) : entry_fold(e);
}

/* Only rights go: in place, and the machine may set bits meanwhile. */
static void leaf_tighten(entry_t *slot, uint32_t lost)
{
    entry_t e = entry_load(slot);
    while (entry_present(e) && !entry_change(slot, &e, tightened(e, lost)))
        ;
}

static void leaf_arrest(const struct piece *piece, const struct part *part)
{
    enum qi_loss loss = piece->range->loss;
    entry_t e = entry_load(part->slot);
    if (e == 0)
        return;
    if (loss < QI_LOSE_ACCESS)
        leaf_tighten(part->slot, piece->range->lost);
    else if (loss == QI_LOSE_PAGES || entry_present(e))
        while (!entry_change(part->slot, &e, entry_to_busy(e)))
            ;
}

static void piece_arrest(const struct piece *piece);

static void table_arrest(const struct piece *piece, const struct part *part)
{
    struct quire *q = piece->range->space->q;
    enum qi_loss loss = piece->range->loss;
    entry_t e = entry_load(part->slot);
    if (untouched(piece, part, e))
        return;
    bool shared = child_shared(q, e);
    if (shared && loss == QI_LOSE_WRITE)
        return;
    if (detachable(piece, part, e) || (shared && part->covered)) {
        entry_store(part->slot, entry_to_busy(e));
        return;
    }
    pfn_t child = entry_pfn(e);
    if (shared && !(piece->level == 2 && QI_CANARY(QI_CANARY_DISCARD_IN_PLACE))) {
        struct qi_gate gate;
        qi_gate_begin(&gate, piece->range->space, part->low);
        child = qi_gate_child(&gate, piece->table, piece->level);
        qi_gate_close(&gate);
    }
    struct piece below = piece_below(piece, part, child);
    piece_arrest(&below);
}

static void piece_arrest(const struct piece *piece)
{
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct part part = part_at(piece, at);
        at = part.high;
        if (piece->level == 1)
            leaf_arrest(piece, &part);
        else
            table_arrest(piece, &part);
    }
}

/* ---- settle -------------------------------------------------------------------------------- */

static void leaf_settle(const struct piece *piece, const struct part *part, entry_t old)
{
    struct quire *q = piece->range->space->q;
    struct qi_frame *table = table_record(q, piece->table);
    enum qi_kind kind = entry_kind(old, 1);
    if (piece->range->loss == QI_LOSE_PAGES || kind == QI_ZERO) {
        entry_store(part->slot, 0);
        table->present--;
        qi_entry_release(q, old);
    } else if (kind == QI_OWN) {
        entry_store(part->slot, entry_absent(QI_CODE_BARRED, entry_pfn(old), entry_fold(old)));
    } else {
        entry_store(part->slot, qi_entry_unmap(q, old));
    }
}

static void table_settle(const struct piece *piece, const struct part *part, entry_t old)
{
    struct quire *q = piece->range->space->q;
    if (piece->range->loss == QI_LOSE_PAGES) {
        entry_store(part->slot, 0);
        table_record(q, piece->table)->present--;
        qi_table_release(q, entry_pfn(old));
    } else {
        entry_store(part->slot, entry_absent(QI_CODE_HIDDEN, entry_pfn(old), 0));
        q->stats.hidden++;
    }
}

static void piece_settle(const struct piece *piece)
{
    struct quire *q = piece->range->space->q;
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct part part = part_at(piece, at);
        entry_t e = entry_load(part.slot);
        at = part.high;
        if (e & ENTRY_BUSY) {
            if (piece->level == 1)
                leaf_settle(piece, &part, entry_from_busy(e));
            else
                table_settle(piece, &part, entry_from_busy(e));
        } else if (piece->level > 1 && e != 0 && !child_shared(q, e)) {
            struct piece below = piece_below(piece, &part, entry_pfn(e));
            piece_settle(&below);
        }
    }
}

void qi_range_apply(const struct qi_range *range)
{
    struct quire_space *space = range->space;
    struct quire *q = space->q;
    struct piece root = whole(range);
    if (range->loss == QI_LOSE_NOTHING || !root_touched(&root))
        return;
    if (table_record(q, space->root)->share > 1) {
        if (range->loss == QI_LOSE_WRITE)
            return;
        struct qi_gate gate;
        root.table = qi_gate_open(&gate, space, range->low, QUIRE_LEVELS);
        qi_gate_close(&gate);
    }
    if (QI_CANARY(QI_CANARY_CUT_KEEPS_PAGE) && range->loss == QI_LOSE_PAGES)
        root.high -= QUIRE_PAGE_SIZE;
    piece_arrest(&root);
    if (!(QI_CANARY(QI_CANARY_NO_PROTECT_FLUSH) && range->loss != QI_LOSE_PAGES))
        mmu_flush_range(q->machine, space, range->low, range->high);
    if (range->loss >= QI_LOSE_EXEC)
        piece_settle(&root);
}
