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
 *   section              copy     for a private view, whether the page is mapped or not; a shared
 *                                 view gets W (view.c).
 *
 * While it works, the entry is busy: the call owns it alone, and holds no lock.  Who meets it waits
 * and starts again.
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
 * A write by a debugger, or a pin, goes the same way in a region that forbids writing, and gets an
 * entry without W; where the region forbids every access, one that is not present.
 *
 * The space is held shared; frames were reserved.
 */
#include "fault.h"

#include <quire/machine.h>

static bool is_lent(enum qi_kind kind) { return kind == QI_BORROWED || kind == QI_PROTOTYPE; }

/* A page's own entry that has all the rights of its region, and whose content is dirty. */
static inline entry_t entry_full(pfn_t pfn, uint32_t prot)
{
    if (!(prot & QUIRE_READ))
        return entry_absent(QI_CODE_BARRED, pfn, ENTRY_FOLDED);
    if (!(prot & QUIRE_WRITE) && !QI_CANARY(QI_CANARY_FORCE_GRANTS_WRITE))
        return entry_own(pfn, prot, false) | ENTRY_FOLDED;
    return entry_own(pfn, prot, true);
}

/* What is under way for one entry. */
struct write {
    struct qi_fault *fault;
    pfn_t table; /* the leaf, which is the space's own */
    entry_t *slot, old;
    enum qi_kind kind;
};

/* Publish the page's own entry, for a frame that is the space's now. */
static inline void install(const struct write *w, pfn_t pfn)
{
    struct qi_fault *fault = w->fault;
    unsigned index = entry_index(fault->address, 1);
    qi_store(&frame_record(&fault->cpu->q->frames, pfn)->home, home_make(w->table, index));
    fault->pfn = pfn;
    entry_store(w->slot, entry_full(pfn, fault->prot));
}

static inline void write_fresh(const struct write *w)
{
    struct qi_fault *fault = w->fault;
    pfn_t pfn =
        qi_frame_alloc(fault->cpu, QI_FRAME_DATA, QI_WANT_ZEROED, qi_frame_any_colour(fault->cpu));
    install(w, pfn);
    fault->cpu->stats.zero_fills++;
    qi_trace(fault->space, QUIRE_EVENT_ZERO, fault->address, pfn);
}

static inline void write_upgrade(const struct write *w)
{
    struct qi_fault *fault = w->fault;
    fault->pfn = entry_pfn(w->old);
    entry_store(w->slot, entry_full(fault->pfn, fault->prot) | (w->old & ENTRY_FOLDED));
    fault->cpu->stats.upgrades++;
    qi_trace(fault->space, QUIRE_EVENT_UPGRADE, fault->address, fault->pfn);
}

static inline void write_reuse(const struct write *w, pfn_t pfn)
{
    struct qi_fault *fault = w->fault;
    install(w, pfn);
    fault->cpu->stats.reuses++;
    qi_trace(fault->space, QUIRE_EVENT_REUSE, fault->address, pfn);
}

/* The page that a home names is written by nobody, and stays while this call has its use. */
static void write_copy(const struct write *w, home_t home)
{
    struct qi_fault *fault = w->fault;
    const struct qi_frames *f = &fault->cpu->q->frames;
    pfn_t from = qi_home_page(fault->cpu->q, home);
    pfn_t to = qi_frame_alloc(fault->cpu, QI_FRAME_DATA, QI_WANT_ANY, frame_colour(f, from));
    QI_TOUCH_ALL(frame_memory(f, from), false);
    memcpy(frame_memory(f, to), frame_memory(f, from), QUIRE_PAGE_SIZE);
    fault->copies++;
    install(w, to);
    if (!QI_CANARY(QI_CANARY_COPY_KEEPS_USE))
        qi_home_give(fault->cpu, home, w->kind != QI_PROTOTYPE);
    fault->cpu->stats.copies++;
    qi_trace(fault->space, QUIRE_EVENT_COPY, fault->address, to);
}

/*
 * Make the entry this call's own, under the lock of its table, which a copy that nobody has seen
 * does not need.  What is the space's own page already is finished here.  False: the entry is
 * somebody else's, or a guard.
 */
static inline bool write_begin(struct write *w, bool copied)
{
    struct qi_cpu *cpu = w->fault->cpu;
    if (QI_CANARY(QI_CANARY_LEAF_NOT_LOCKED))
        copied = true;
    if (!copied)
        table_lock(cpu, w->table);
    w->old = entry_load(w->slot);
    w->kind = entry_kind(w->old, 1);
    bool mine = w->kind != QI_BUSY && w->kind != QI_GUARD;
    if (w->kind == QI_OWN || w->kind == QI_BARRED) {
        write_upgrade(w);
    } else if (mine && !(w->kind == QI_EMPTY && w->fault->shared)) {
        table_record(cpu->q, w->table)->present += w->kind == QI_EMPTY;
        entry_t busy = QI_CANARY(QI_CANARY_BUSY_LOOKS_EMPTY) ? 0 : entry_to_busy(w->old);
        if (w->kind == QI_SECTION) /* it may have W meanwhile, and be made dirty */
            w->old = entry_swap(w->slot, busy);
        else
            entry_store(w->slot, busy); /* all that a machine sets is A, which is of no use now */
    }
    if (!copied)
        table_unlock(cpu, w->table);
    return mine;
}

/* The entry becomes empty again, as it was. */
static void write_abandon(const struct write *w)
{
    struct qi_cpu *cpu = w->fault->cpu;
    table_lock(cpu, w->table);
    entry_store(w->slot, 0);
    table_record(cpu->q, w->table)->present--;
    table_unlock(cpu, w->table);
}

/* A page of a section, mapped or not: written through a view that is shared, or copied. */
static enum quire_status write_view(const struct write *w)
{
    struct qi_fault *fault = w->fault;
    bool shared =
        fault->shared || (w->kind == QI_SECTION && QI_CANARY(QI_CANARY_PRIVATE_WRITES_FILE));
    if (w->kind == QI_EMPTY && shared)
        return qi_view_map(fault, w->table, true);
    pfn_t page = entry_pfn(w->old);
    if (shared) {
        qi_view_changed(fault->cpu, page);
        fault->pfn = page;
        entry_store(w->slot, qi_view_entry(fault, page, true));
        fault->cpu->stats.upgrades++;
        qi_trace(fault->space, QUIRE_EVENT_UPGRADE, fault->address, page);
        return QUIRE_OK;
    }
    if (w->kind == QI_EMPTY && !qi_view_use(fault, &page)) {
        write_abandon(w);
        return qi_view_missing(fault);
    }
    write_copy(w, qi_load(&frame_record(&fault->cpu->q->frames, page)->home));
    return QUIRE_OK;
}

/* The page at `home` itself, if the entry that was begun is its last user; else QI_NO_FRAME. */
static inline pfn_t write_take(const struct write *w, home_t home)
{
    struct qi_cpu *cpu = w->fault->cpu;
    /* Where nothing is needed it was so before, and that does not end. */
    bool movable = w->fault->need == 0 || qi_home_movable(cpu->q, home);
    return movable ? entry_pfn(qi_home_move(cpu, home)) : QI_NO_FRAME;
}

/* The entry is busy, or finished already, and nothing in the space leads to what it was. */
static inline void write_finish(const struct write *w, home_t home, pfn_t page)
{
    if (page != QI_NO_FRAME)
        write_reuse(w, page);
    else if (is_lent(w->kind))
        write_copy(w, home);
    else if (w->kind == QI_EMPTY || w->kind == QI_ZERO)
        write_fresh(w);
}

enum quire_status qi_copy_write(struct qi_fault *fault, const struct qi_look *look)
{
    struct qi_cpu *cpu = fault->cpu;
    struct quire *q = cpu->q;
    struct qi_gate gate;
    struct write w = {.fault = fault};
    qi_gate_begin(&gate, cpu, fault->space, fault->address);
    w.table = qi_gate_leaf(&gate, look);
    fault->copies = 0;
    fault->key = &fault->space->root;
    if (w.table == QI_NO_FRAME)
        return QI_AGAIN;
    if (qi_rarely(qi_fault_out(fault, look, w.table))) {
        qi_gate_close(&gate);
        fault->copies = gate.copies;
        return QI_OUT;
    }
    w.slot = &table_entries(q, w.table)[entry_index(fault->address, 1)];
    bool copied = qi_gate_copied(&gate), mine = write_begin(&w, copied), lent = is_lent(w.kind);
    home_t home = lent ? qi_entry_home(q, w.old) : QI_NO_HOME;
    pfn_t page = lent && !copied ? write_take(&w, home) : QI_NO_FRAME;
    if (page != QI_NO_FRAME) { /* no table and no frame was replaced */
        write_reuse(&w, page);
        return QUIRE_OK;
    }
    /*
     * What is replaced by another frame goes out with the one flush.  If a table was replaced the
     * flush is due anyway, and whether the page can be taken is known only after the old table
     * went.
     */
    if ((w.kind == QI_ZERO || w.kind == QI_BORROWED || (w.kind == QI_SECTION && !fault->shared)) &&
        !QI_CANARY(QI_CANARY_NO_COPY_FLUSH) && !QI_CANARY(QI_CANARY_COPY_BEFORE_FLUSH))
        gate.flush = true;
    qi_gate_close(&gate);
    fault->copies = gate.copies;
    if (!mine) {
        fault->key = w.slot;
        return w.kind == QI_GUARD ? QUIRE_GUARDED : QI_AGAIN;
    }
    if (fault->view && (w.kind == QI_EMPTY || w.kind == QI_SECTION))
        return write_view(&w);
    if (lent && copied)
        page = write_take(&w, home);
    write_finish(&w, home, page);
    if (lent && QI_CANARY(QI_CANARY_COPY_BEFORE_FLUSH))
        mmu_flush_page(q->machine, fault->space, fault->address);
    return QUIRE_OK;
}
