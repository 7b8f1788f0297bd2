/* SPDX-License-Identifier: MIT */
/*
 * The write fault: a page that the space may write, but not yet.
 *
 * Four ends, by what the entry is once its path is the space's own:
 *
 *   own, barred          upgrade  the page is ours alone: set W.  No flush: a stale read-only
 *                                 translation only asks again.
 *   empty, zero          zero     a fresh zeroed frame.
 *   borrowed, prototype  reuse    we are its last user (its table has no parents, one use): the
 *                                 home moves here, and no byte is copied.  No flush either.
 *                        copy     into a frame of the same colour.
 *
 * Exclusive ownership is a fact in the counts (share, uses), never inferred from a dirty bit,
 * from W, or from how many translations there happen to be (bugs.md rows 1-3, 22-26).
 *
 * The order of a copy is the whole art (rows 12-21).  The entry becomes busy: not present, and
 * not empty either.  One flush, together with that of the tables replaced on the way, ends
 * every translation of the space to the old page.  Only then are the bytes copied: nobody in
 * this space reads the old page while somebody else already writes the new one.  The new entry
 * is published complete.  Only then is the old home given back, for until then the frame might
 * have been freed under the copy.
 *
 * A page that was copied is dirty from birth (row 56), and the old home keeps its own dirty
 * bit: each says whether *its* content differs from *its* backing.
 *
 * Locks: the manager's, throughout.  Frames were reserved.
 */
#include "fault.h"

static bool is_lent(enum qi_kind kind) { return kind == QI_BORROWED || kind == QI_PROTOTYPE; }

uint32_t qi_copy_need(const struct quire *q, const struct qi_look *look)
{
    if (look->level != 1 || !look->exclusive)
        return 1; /* the path is copied first, and what will then be ours is known only then */
    enum qi_kind kind = entry_kind(look->entry, 1);
    if (kind == QI_OWN || kind == QI_BARRED)
        return 0;
    return !(is_lent(kind) && qi_home_movable(q, qi_entry_home(q, look->entry)));
}

/* The page's own writable entry, for a frame that is the space's now. */
static void install(struct qi_fault *fault, pfn_t table, entry_t *slot, pfn_t pfn)
{
    struct quire *q = fault->space->q;
    unsigned index = entry_index(fault->address, 1);
    frame_record(&q->frames, pfn)->home = home_make(table, index);
    entry_store(slot, entry_own(pfn, fault->prot, true));
    fault->pfn = pfn;
}

static void write_fresh(struct qi_fault *fault, pfn_t table, entry_t *slot, bool was_empty)
{
    struct quire *q = fault->space->q;
    pfn_t pfn =
        qi_frame_alloc(&q->frames, QI_FRAME_DATA, QI_WANT_ZEROED, qi_frame_any_colour(&q->frames));
    table_record(q, table)->present += was_empty;
    install(fault, table, slot, pfn);
    q->stats.zero_fills++;
    qi_trace(fault->space, QUIRE_EVENT_ZERO, fault->address, pfn);
}

static void write_upgrade(struct qi_fault *fault, entry_t *slot, entry_t e)
{
    struct quire *q = fault->space->q;
    pfn_t pfn = entry_pfn(e);
    entry_store(slot, entry_own(pfn, fault->prot, true) | (e & ENTRY_FOLDED));
    fault->pfn = pfn;
    q->stats.upgrades++;
    qi_trace(fault->space, QUIRE_EVENT_UPGRADE, fault->address, pfn);
}

static void write_reuse(struct qi_fault *fault, pfn_t table, entry_t *slot, home_t home)
{
    struct quire *q = fault->space->q;
    pfn_t pfn = qi_home_move(q, home);
    install(fault, table, slot, pfn);
    q->stats.reuses++;
    fault->space->reuses++;
    qi_trace(fault->space, QUIRE_EVENT_REUSE, fault->address, pfn);
}

static void write_copy(struct qi_fault *fault, pfn_t table, entry_t *slot, home_t home, bool mapped)
{
    struct quire *q = fault->space->q;
    pfn_t from = qi_home_page(q, home);
    pfn_t to =
        qi_frame_alloc(&q->frames, QI_FRAME_DATA, QI_WANT_ANY, frame_colour(&q->frames, from));
    memcpy(frame_memory(&q->frames, to), frame_memory(&q->frames, from), QUIRE_PAGE_SIZE);
    install(fault, table, slot, to);
    if (!QI_CANARY(QI_CANARY_COPY_KEEPS_USE))
        qi_home_drop(q, home, mapped);
    q->stats.copies++;
    fault->space->copies++;
    qi_trace(fault->space, QUIRE_EVENT_COPY, fault->address, to);
}

void qi_copy_write(struct qi_fault *fault, const struct qi_look *look)
{
    struct quire *q = fault->space->q;
    struct qi_gate gate;
    pfn_t table = qi_gate_open_leaf(&gate, fault->space, fault->address, look);
    entry_t *slot = &table_entries(q, table)[entry_index(fault->address, 1)];
    entry_t e = entry_load(slot);
    enum qi_kind kind = entry_kind(e, 1);
    /*
     * What is replaced by another frame is made busy before the one flush.  If a table was
     * replaced the flush is due anyway, and whether the page can be taken is known only after
     * the old table went.
     */
    bool lent = is_lent(kind), settled = !gate.flush;
    bool reuse = lent && settled && qi_home_movable(q, qi_entry_home(q, e));
    if (kind == QI_ZERO || (kind == QI_BORROWED && !reuse)) {
        e = entry_swap(slot, QI_CANARY(QI_CANARY_BUSY_LOOKS_EMPTY) ? 0 : entry_to_busy(e));
        if (!QI_CANARY(QI_CANARY_NO_COPY_FLUSH))
            gate.flush = true;
    }
    qi_gate_close(&gate);
    if (lent && !settled)
        reuse = qi_home_movable(q, qi_entry_home(q, e));
    switch (kind) {
    case QI_EMPTY:
    case QI_ZERO: write_fresh(fault, table, slot, kind == QI_EMPTY); break;
    case QI_OWN:
    case QI_BARRED: write_upgrade(fault, slot, e); break;
    case QI_BORROWED:
    case QI_PROTOTYPE:
        if (reuse)
            write_reuse(fault, table, slot, qi_entry_home(q, e));
        else
            write_copy(fault, table, slot, qi_entry_home(q, e), kind == QI_BORROWED);
        break;
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: host_panic("an owned leaf holds an entry of this kind", __FILE__, __LINE__);
    }
}
