/* SPDX-License-Identifier: MIT */
/*
 * Changes to all entries of a range: what unmap, protect and discard do to tables.
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
 * Guards and pages of sections are the exception to both, where they go alone or stay: such a
 * range is looked through, and a table that holds both is owned wherever it stands.
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
 * Locks: the space is held exclusively, so nobody else is in a table that is the space's own, and
 * the flush is free to wait for other CPUs.  Shared tables are read plainly: they do not change but
 * for bits that nobody here looks at.  What is shared can cease to be at any moment, which makes a
 * step shorter and never longer.  The recursion is as deep as the tree.
 */
#include "range.h"

#include <quire/machine.h>

static entry_t *part_slot(const struct qi_piece *piece, const struct qi_part *part)
{
    return &table_entries(piece->range->cpu->q, piece->table)[part->index];
}

/* Every entry within the range goes, whatever its kind. */
static bool takes_all(enum qi_loss loss)
{
    return loss != QI_LOSE_GUARDS && loss != QI_LOSE_VIEWS && loss != QI_LOSE_CONTENT;
}

static bool takes(enum qi_loss loss, entry_t e)
{
    enum qi_kind kind = entry_kind(e, 1);
    if (loss == QI_LOSE_VIEWS)
        return kind == QI_SECTION;
    return takes_all(loss) || (kind == QI_GUARD) == (loss == QI_LOSE_GUARDS);
}

/* Only entries within the range are looked at: what else there is, the table has counted. */
QI_PASS unsigned qi_range_holds(const struct qi_range *range, pfn_t table, vaddr_t base)
{
    const struct quire *q = range->cpu->q;
    const struct qi_frame *r = table_record(q, table);
    const entry_t *entries = table_entries(q, table);
    unsigned level = r->level, shift = entry_shift(level);
    vaddr_t low = range->low > base ? range->low - base : 0, high = range->high - base;
    bool empty = r->present == 0 && level < QUIRE_LEVELS;
    unsigned holds = empty && range->loss >= QI_LOSE_GUARDS ? QI_HOLDS_LOST : 0;
    unsigned seen = 0, end = table_count(level);
    if ((high - 1) >> shift < end)
        end = (unsigned)((high - 1) >> shift) + 1;
    for (unsigned i = (unsigned)(low >> shift); i < end && holds != (QI_HOLDS_LOST | QI_HOLDS_KEPT);
         i++) {
        entry_t e = entries[i];
        vaddr_t start = (vaddr_t)i << shift;
        if (e == 0)
            continue;
        seen++;
        if (level == 1)
            holds |= takes(range->loss, e) ? QI_HOLDS_LOST : QI_HOLDS_KEPT;
        else if (takes_all(range->loss) && low <= start && start + entry_span(level) <= high)
            holds |= QI_HOLDS_LOST;
        else
            holds |= qi_range_holds(range, entry_pfn(e), base + start);
    }
    return seen < r->present ? holds | QI_HOLDS_KEPT : holds;
}

/* What the change does with the subtree under an upper entry. */
enum step {
    STEP_OVER,   /* there is nothing for it to change */
    STEP_DETACH, /* all of it goes: nothing is left */
    STEP_HIDE,   /* shared, and all of it loses its rights */
    STEP_DOWN,   /* walk it, in the space's own copy if it is shared */
};

static enum step part_step(const struct qi_piece *piece, const struct qi_part *part, entry_t e,
                           bool shared)
{
    const struct qi_range *range = piece->range;
    bool rights = range->loss < QI_LOSE_GUARDS;
    if (e == 0 || (rights && !entry_present(e)) || (shared && range->loss == QI_LOSE_WRITE))
        return STEP_OVER;
    if (part->covered && rights)
        return shared ? STEP_HIDE : STEP_DOWN;
    if (part->covered && takes_all(range->loss))
        return STEP_DETACH;
    unsigned holds =
        qi_range_holds(range, entry_pfn(e), part->low & ~(entry_span(piece->level) - 1));
    if (!(holds & QI_HOLDS_LOST))
        return STEP_OVER;
    return rights || (holds & QI_HOLDS_KEPT) ? STEP_DOWN : STEP_DETACH;
}

static bool child_shared(const struct quire *q, entry_t e)
{
    return !entry_present(e) || !table_exclusive(q, entry_pfn(e));
}

/* ---- counting ------------------------------------------------------------------------------ */

static uint32_t piece_need(const struct qi_piece *piece, bool copied)
{
    struct quire *q = piece->range->cpu->q;
    uint32_t need = 0;
    if (piece->level == 1)
        return 0;
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct qi_part part = qi_part_at(piece, at);
        entry_t e = entry_load(part_slot(piece, &part));
        bool copies = e != 0 && (copied || child_shared(q, e));
        at = part.high;
        /* Of a subtree that loses rights only and is wholly covered, what is shared is hidden. */
        if ((part.covered && piece->range->loss < QI_LOSE_GUARDS) ||
            part_step(piece, &part, e, copies) != STEP_DOWN)
            continue;
        struct qi_piece below = qi_piece_below(piece, &part, entry_pfn(e));
        if (copies)
            need += 1 + (piece->level == 2);
        need += piece_need(&below, copies);
    }
    return need;
}

static struct qi_piece whole(const struct qi_range *range)
{
    return (struct qi_piece){range, qi_load(&range->space->root), QUIRE_LEVELS, range->low,
                             range->high};
}

/* Is there anything in the tree for the range? */
static bool root_touched(const struct qi_piece *root)
{
    return root->range->loss != QI_LOSE_NOTHING &&
           (qi_range_holds(root->range, root->table, 0) & QI_HOLDS_LOST);
}

uint32_t qi_range_need(const struct qi_range *range)
{
    struct qi_piece root = whole(range);
    if (range->loss == QI_LOSE_WRITE || !root_touched(&root))
        return 0;
    bool shared = !table_exclusive(range->cpu->q, root.table);
    return shared + piece_need(&root, shared);
}

/* ---- parts --------------------------------------------------------------------------------- */

/* Leaves that share their fate with a table above are passed: that takes one step. */
static vaddr_t piece_part(const struct qi_piece *piece, unsigned *leaves)
{
    const struct qi_range *range = piece->range;
    bool rights = range->loss < QI_LOSE_GUARDS;
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct qi_part part = qi_part_at(piece, at);
        entry_t e = entry_load(part_slot(piece, &part));
        at = part.high;
        if (e == 0 || (rights && child_shared(range->cpu->q, e)))
            continue;
        if (piece->level == 2) {
            --*leaves;
        } else {
            struct qi_piece below = qi_piece_below(piece, &part, entry_pfn(e));
            at = piece_part(&below, leaves);
        }
        if (*leaves == 0)
            return at;
    }
    return piece->high;
}

vaddr_t qi_range_part(const struct qi_range *range)
{
    struct qi_piece root = whole(range);
    unsigned leaves = QI_PART_LEAVES;
    bool hidden = range->loss < QI_LOSE_GUARDS && !table_exclusive(range->cpu->q, root.table);
    return hidden ? range->high : piece_part(&root, &leaves);
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

static void leaf_arrest(const struct qi_range *range, entry_t *slot)
{
    entry_t e = entry_load(slot);
    if (e == 0)
        return;
    if (range->loss < QI_LOSE_ACCESS)
        leaf_tighten(slot, range->lost);
    else if (range->loss == QI_LOSE_ACCESS ? entry_present(e) : takes(range->loss, e))
        while (!entry_change(slot, &e, entry_to_busy(e)))
            ;
}

static void piece_arrest(const struct qi_piece *piece);

static void table_arrest(const struct qi_piece *piece, const struct qi_part *part)
{
    const struct qi_range *range = piece->range;
    entry_t *slot = part_slot(piece, part);
    entry_t e = entry_load(slot);
    bool shared = e != 0 && child_shared(range->cpu->q, e);
    enum step step = part_step(piece, part, e, shared);
    if (step == STEP_OVER)
        return;
    if (step != STEP_DOWN) {
        entry_store(slot, entry_to_busy(e));
        return;
    }
    pfn_t child = entry_pfn(e);
    if (shared && !(piece->level == 2 && QI_CANARY(QI_CANARY_DISCARD_IN_PLACE))) {
        struct qi_gate gate;
        qi_gate_begin(&gate, range->cpu, range->space, part->low);
        child = qi_gate_child(&gate, piece->table, piece->level);
        qi_gate_close(&gate);
    }
    struct qi_piece below = qi_piece_below(piece, part, child);
    piece_arrest(&below);
}

static void piece_arrest(const struct qi_piece *piece)
{
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct qi_part part = qi_part_at(piece, at);
        at = part.high;
        if (piece->level == 1)
            leaf_arrest(piece->range, part_slot(piece, &part));
        else
            table_arrest(piece, &part);
    }
}

/* ---- settle -------------------------------------------------------------------------------- */

static void leaf_settle(const struct qi_piece *piece, entry_t *slot, entry_t old)
{
    struct qi_cpu *cpu = piece->range->cpu;
    enum qi_kind kind = entry_kind(old, 1);
    if (piece->range->loss >= QI_LOSE_GUARDS || kind == QI_ZERO || kind == QI_SECTION) {
        entry_store(slot, 0);
        table_record(cpu->q, piece->table)->present--;
        qi_entry_release(cpu, old);
    } else if (kind == QI_OWN) {
        entry_store(slot, entry_absent(QI_CODE_BARRED, entry_pfn(old), entry_fold(old)));
    } else {
        entry_store(slot, qi_entry_unmap(cpu, old));
    }
}

static void table_settle(const struct qi_piece *piece, entry_t *slot, entry_t old)
{
    struct qi_cpu *cpu = piece->range->cpu;
    if (piece->range->loss >= QI_LOSE_GUARDS) {
        entry_store(slot, 0);
        table_record(cpu->q, piece->table)->present--;
        qi_table_release(cpu, entry_pfn(old));
    } else {
        entry_store(slot, entry_absent(QI_CODE_HIDDEN, entry_pfn(old), 0));
        cpu->stats.hidden++;
    }
}

static void piece_settle(const struct qi_piece *piece)
{
    for (vaddr_t at = piece->low; at < piece->high;) {
        struct qi_part part = qi_part_at(piece, at);
        entry_t *slot = part_slot(piece, &part);
        entry_t e = entry_load(slot);
        at = part.high;
        if (e & ENTRY_BUSY) {
            if (piece->level == 1)
                leaf_settle(piece, slot, entry_from_busy(e));
            else
                table_settle(piece, slot, entry_from_busy(e));
        } else if (piece->level > 1 && e != 0 && !child_shared(piece->range->cpu->q, e)) {
            struct qi_piece below = qi_piece_below(piece, &part, entry_pfn(e));
            piece_settle(&below);
        }
    }
}

void qi_range_apply(const struct qi_range *range)
{
    struct quire_space *space = range->space;
    struct quire *q = space->q;
    struct qi_piece root = whole(range);
    if (!root_touched(&root))
        return;
    if (!table_exclusive(q, root.table)) {
        if (range->loss == QI_LOSE_WRITE)
            return;
        struct qi_gate gate;
        qi_gate_begin(&gate, range->cpu, space, range->low);
        root.table = qi_gate_open(&gate, QUIRE_LEVELS);
        qi_gate_close(&gate);
    }
    if (QI_CANARY(QI_CANARY_CUT_KEEPS_PAGE) && range->loss == QI_LOSE_PAGES)
        root.high -= QUIRE_PAGE_SIZE;
    piece_arrest(&root);
    if (!(QI_CANARY(QI_CANARY_NO_PROTECT_FLUSH) && range->loss < QI_LOSE_GUARDS))
        mmu_flush_range(q->machine, space, range->low, range->high);
    if (range->loss >= QI_LOSE_EXEC)
        piece_settle(&root);
}
