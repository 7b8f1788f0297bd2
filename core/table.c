/* SPDX-License-Identifier: MIT */
/*
 * Tables: what is shared is not written.
 *
 * A space is a tree of tables.  Each table counts its parents (share): entries that point at
 * it, or spaces if it is a root.  Fork raises the count of the root and nothing else.  Whoever
 * wants to write below a shared table first gets its own copy of each shared table on the path;
 * that is the gate.
 *
 * Upper tables.  The copy has the same entries, and each child has one parent more.  W is
 * cleared in the original as well as in the copy, before the children's counts rise: a set bit
 * would let a later sole owner write tables that are not his (H1).
 *
 * Leaves *freeze*.  The original T stays where it is, and its entries go on being the homes of
 * their frames; no frame record is touched.  The copy T' borrows:
 *
 *        T (share: those who still use it)          T' (share 1: the writer)
 *     i  own frame 7   <--------------------------  borrowed frame 7, W clear
 *     j  own frame 9   <--------------------------  borrowed frame 9, W clear
 *        |
 *        side: uses[i] = maps[i] = 1, uses[j] = maps[j] = 1
 *
 * Where T itself borrows from L, T' borrows from L too: an entry always names a home, never
 * another borrowed entry, so there are no chains.  Where T's entry is empty, so is the copy.
 * The pass reads T, writes T' and the side frame in order, and has no branch that would keep a
 * compiler from vectorising it.
 *
 * When the last parent leaves T (share 0), T gives back what it borrowed and frees the homes
 * that nobody uses (H5).  What stays is a pure prototype table.  It goes with its last home:
 * freed by its last user, or moved (reuse). When a frozen table's last borrower goes instead,
 * its side frame goes, and the table is exclusive again.
 *
 * Coming back.  A table whose other parents went is exclusive again, but W above it is still
 * clear, and W below is as old as the sharing.  The gate sets W in an upper entry only after it
 * has cleared W in every entry of the child (push-down, H2); in a leaf, W is set again where
 * one writable region covers all of it and the page is its own.
 *
 * Order.  An entry that leads to a table is replaced by: busy, flush (with every cached
 * pointer), new; and only then is the old table released (H4).  Copies below the busy entry are
 * seen by no machine until it is published, and need no flush of their own.
 *
 * Locks: the manager's, throughout.  Nothing here fails: frames were reserved by the caller.
 */
#include "table.h"

#include <quire/machine.h>

#define ANY UINT64_MAX /* a mask that every entry meets which is not empty */

/* Where that part of the space starts which a table of `level` covers. */
static vaddr_t table_base(vaddr_t address, unsigned level)
{
    return address & ~(entry_span(level + 1) - 1);
}

/*
 * The first entry from i on that has a bit of `mask` set, or count.  Upper tables are mostly
 * empty, and the leaves of a child mostly borrowed: eight entries at a time.
 */
static inline unsigned next_with(const entry_t *entries, unsigned i, unsigned count, entry_t mask)
{
    while (i < count && !(entries[i] & mask)) {
        i++;
        while (i % 8 == 0 && i + 8 <= count &&
               !((entries[i] | entries[i + 1] | entries[i + 2] | entries[i + 3] | entries[i + 4] |
                  entries[i + 5] | entries[i + 6] | entries[i + 7]) &
                 mask))
            i += 8;
    }
    return i;
}

struct qi_look qi_table_look(const struct quire_space *space, vaddr_t address)
{
    const struct quire *q = space->q;
    pfn_t table = space->root;
    entry_t open = ENTRY_WRITE;
    bool exclusive = true;
    unsigned level = QUIRE_LEVELS;
    entry_t e;
    for (;;) {
        exclusive &= table_exclusive(q, table);
        e = entry_load(&table_entries(q, table)[entry_index(address, level)]);
        if (level == 1 || !entry_present(e))
            break;
        open &= e;
        table = entry_pfn(e);
        level--;
    }
    return (struct qi_look){e, table, level, exclusive, open != 0};
}

/* A table with one parent, whose entries are unknown (WANT_ANY: the caller writes all) or empty. */
static pfn_t table_create(struct quire *q, unsigned level, enum qi_frame_want want)
{
    pfn_t pfn = qi_frame_alloc(&q->frames, QI_FRAME_TABLE, want, qi_frame_any_colour(&q->frames));
    struct qi_frame *r = table_record(q, pfn);
    r->level = (uint8_t)level;
    r->share = 1;
    return pfn;
}

pfn_t qi_table_create(struct quire *q, unsigned level)
{
    return table_create(q, level, QI_WANT_ZEROED);
}

/* ---- unsharing ----------------------------------------------------------------------------- */

static pfn_t upper_unshare(struct quire *q, pfn_t table, unsigned level, bool hidden)
{
    entry_t *from = table_entries(q, table);
    pfn_t copy = table_create(q, level, QI_WANT_ANY);
    entry_t *to = table_entries(q, copy);
    memcpy(to, from, QUIRE_TABLE_ENTRIES * sizeof(entry_t));
    unsigned count = table_count(level);
    for (unsigned i = next_with(to, 0, count, ANY); i < count;
         i = next_with(to, i + 1, count, ANY)) {
        entry_t e = to[i];
        qi_assert(!(e & ENTRY_BUSY));
        if (e & ENTRY_WRITE) {
            to[i] = e & ~ENTRY_WRITE;
            if (!QI_CANARY(QI_CANARY_UNSHARE_LEAVES_W))
                entry_store(&from[i], e & ~ENTRY_WRITE);
        }
        if (hidden)
            to[i] = entry_absent(QI_CODE_HIDDEN, entry_pfn(e), 0);
        table_record(q, entry_pfn(e))->share++;
    }
    table_record(q, copy)->present = table_record(q, table)->present;
    return copy;
}

/*
 * Freeze: `to` borrows what `from` owns; returns how many entries that are.  `add`: the counts
 * are there already and rise; else they are made.  One pass in order over all four, without a
 * branch: what makes an entry its owner's is one bit, and a borrowed entry is the same without
 * the bits of an owner.  What else a leaf holds is finished by qi_homes_change and
 * leaf_borrow_barred.
 */
static uint32_t leaf_borrow(const entry_t *restrict from, entry_t *restrict to,
                            struct qi_side *restrict side, bool add)
{
    const entry_t owners = ENTRY_OWN | ENTRY_WRITE | ENTRY_DIRTY | ENTRY_FOLDED;
    uint32_t sum = 0;
    if (add) {
        for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
            uint32_t own = (uint32_t)(from[i] >> ENTRY_OWN_SHIFT) & 1;
            to[i] = from[i] & ~owners;
            side->uses[i] += own;
            side->maps[i] += own;
            sum += own;
        }
    } else {
        for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
            uint32_t own = (uint32_t)(from[i] >> ENTRY_OWN_SHIFT) & 1;
            to[i] = from[i] & ~owners;
            side->uses[i] = own;
            side->maps[i] = own;
            sum += own;
        }
    }
    return sum;
}

/* The barred pages of a table that freezes are lent too, not present. */
static void leaf_borrow_barred(pfn_t table, const entry_t *from, entry_t *to, struct qi_side *side)
{
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
        if (entry_kind(from[i], 1) == QI_BARRED) {
            to[i] = entry_absent(QI_CODE_PROTOTYPE, home_make(table, i), 0);
            side->uses[i]++;
        }
}

/* A leaf that was hidden comes back with what each region allows, and no more (H15). */
static void leaf_unhide(struct quire_space *space, pfn_t table, vaddr_t base)
{
    struct quire *q = space->q;
    entry_t *entries = table_entries(q, table);
    const struct qi_region *region = NULL;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t e = entries[i];
        vaddr_t address = base + (vaddr_t)i * QUIRE_PAGE_SIZE;
        if (!entry_present(e))
            continue;
        if (!region || address < region->start || address >= region->end)
            region = qi_region_find(space->regions, address);
        qi_assert(region != NULL);
        if (!(region->prot & QUIRE_EXEC))
            entries[i] = entry_with_exec(e, false);
        if (region->prot & QUIRE_READ)
            continue;
        if (entry_kind(e, 1) == QI_ZERO) {
            entries[i] = 0;
            table_record(q, table)->present--;
            continue;
        }
        entries[i] = qi_entry_unmap(q, e);
    }
}

static pfn_t leaf_unshare(struct quire_space *space, pfn_t table, vaddr_t address, bool hidden)
{
    struct quire *q = space->q;
    pfn_t copy = table_create(q, 1, QI_WANT_ANY);
    struct qi_frame *r = table_record(q, table);
    bool frozen = r->side != QI_NO_FRAME;
    if (!frozen) {
        r->side =
            qi_frame_alloc(&q->frames, QI_FRAME_SIDE, QI_WANT_ANY, qi_frame_any_colour(&q->frames));
    }
    struct qi_side *side = table_side(q, r);
    const entry_t *from = table_entries(q, table);
    entry_t *to = table_entries(q, copy);
    QI_TOUCH(from, false);
    uint64_t lent = leaf_borrow(from, to, side, frozen);
    if (lent != r->present) {
        uint32_t barred = qi_homes_change(q, from, r->present - (uint32_t)lent, 1);
        if (barred > 0)
            leaf_borrow_barred(table, from, to, side);
        lent += barred;
    }
    frame_record(&q->frames, r->side)->sum += lent;
    qi_side_settle(q, r);
    table_record(q, copy)->present = r->present;
    if (hidden && !QI_CANARY(QI_CANARY_UNHIDE_IN_PLACE))
        leaf_unhide(space, copy, table_base(address, 1));
    return copy;
}

/* ---- push-down ----------------------------------------------------------------------------- */

static void push_down(struct quire_space *space, pfn_t table, unsigned level, vaddr_t address)
{
    struct quire *q = space->q;
    entry_t *entries = table_entries(q, table);
    entry_t grant = 0;
    if (level == 1) {
        vaddr_t base = table_base(address, 1);
        const struct qi_region *region = qi_region_find(space->regions, base);
        if (region && (region->prot & QUIRE_WRITE) && region->end - base >= entry_span(2))
            grant = ENTRY_WRITE;
    }
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t e = entries[i];
        if (!entry_present(e))
            continue;
        entry_t wanted = entry_kind(e, level) == QI_OWN ? e | grant : e;
        if (!(wanted & grant) && (e & ENTRY_WRITE))
            wanted = level == 1 ? entry_fold(e) : e & ~ENTRY_WRITE;
        if (wanted != e)
            entry_store(&entries[i], wanted);
    }
    q->stats.pushed_down++;
}

/* ---- the gate ------------------------------------------------------------------------------ */

uint32_t qi_gate_need(const struct quire_space *space, vaddr_t address, unsigned level)
{
    const struct quire *q = space->q;
    pfn_t table = space->root;
    bool copied = table_record(q, table)->share > 1;
    uint32_t need = copied;
    for (unsigned l = QUIRE_LEVELS; l > level; l--) {
        entry_t e = entry_load(&table_entries(q, table)[entry_index(address, l)]);
        if (e == 0)
            return need + l - level;
        table = entry_pfn(e);
        copied = copied || !entry_present(e) || !table_exclusive(q, table);
        if (copied)
            need += 1 + (l == 2 && table_record(q, table)->side == QI_NO_FRAME);
    }
    return need;
}

static pfn_t gate_unshare(struct qi_gate *gate, pfn_t table, unsigned level, bool hidden)
{
    struct quire_space *space = gate->space;
    space->q->stats.unshared[level]++;
    space->unshared++;
    qi_trace(space, QUIRE_EVENT_UNSHARE, gate->address, level);
    return level == 1 ? leaf_unshare(space, table, gate->address, hidden)
                      : upper_unshare(space->q, table, level, hidden);
}

pfn_t qi_gate_child(struct qi_gate *gate, pfn_t table, unsigned level)
{
    struct quire *q = gate->space->q;
    entry_t *slot = &table_entries(q, table)[entry_index(gate->address, level)];
    entry_t e = entry_load(slot);
    if (e == 0) {
        pfn_t fresh = qi_table_create(q, level - 1);
        entry_store(slot, entry_table(fresh));
        table_record(q, table)->present++;
        return fresh;
    }
    pfn_t child = entry_pfn(e);
    if (entry_present(e) && table_exclusive(q, child)) {
        if (!(e & ENTRY_WRITE)) {
            if (!QI_CANARY(QI_CANARY_NO_PUSH_DOWN))
                push_down(gate->space, child, level - 1, gate->address);
            entry_store(slot, e | ENTRY_WRITE);
        }
        return child;
    }
    pfn_t copy = gate_unshare(gate, child, level - 1, !entry_present(e));
    if (gate->retired != QI_NO_FRAME) {
        /* This table is a copy that no machine has seen: so is the entry, and nothing needs a
         * flush. */
        entry_store(slot, entry_table(copy));
        qi_table_release(q, child);
    } else {
        gate->slot = slot;
        gate->value = entry_table(copy);
        gate->retired = child;
        gate->flush = true;
        entry_store(slot, entry_to_busy(e));
    }
    return copy;
}

pfn_t qi_gate_open(struct qi_gate *gate, struct quire_space *space, vaddr_t address, unsigned level)
{
    pfn_t table = space->root;
    qi_gate_begin(gate, space, address);
    if (table_record(space->q, table)->share > 1) {
        gate->retired = table;
        gate->root = table = gate_unshare(gate, table, QUIRE_LEVELS, false);
        gate->flush = true;
    }
    for (unsigned l = QUIRE_LEVELS; l > level; l--)
        table = qi_gate_child(gate, table, l);
    return table;
}

void qi_gate_close(struct qi_gate *gate)
{
    struct quire *q = gate->space->q;
    bool tables = gate->retired != QI_NO_FRAME;
    if (gate->flush && !(tables && QI_CANARY(QI_CANARY_NO_TABLE_FLUSH))) {
        if (gate->root != QI_NO_FRAME)
            mmu_flush_space(q->machine, gate->space, gate->root);
        else
            mmu_flush_page(q->machine, gate->space, gate->address);
    }
    if (gate->root != QI_NO_FRAME)
        gate->space->root = gate->root;
    if (gate->slot)
        entry_store(gate->slot, gate->value);
    if (!tables)
        return;
    bool leaf = table_record(q, gate->retired)->level == 1;
    qi_table_release(q, gate->retired);
    /* The last to leave a frozen leaf may be the last user of what it borrowed: settle that now. */
    if (leaf && q->drop_list == gate->retired)
        qi_table_drop_slice(q);
}

/* ---- releasing ----------------------------------------------------------------------------- */

void qi_table_release(struct quire *q, pfn_t table)
{
    struct qi_frame *r = table_record(q, table);
    qi_assert(r->share > 0);
    if (--r->share > 0)
        return;
    qi_frame_set_state(&q->frames, table, QI_FRAME_DYING);
    r->next = q->drop_list;
    q->drop_list = table;
}

static void upper_drop(struct quire *q, pfn_t table)
{
    const entry_t *entries = table_entries(q, table);
    unsigned count = table_count(table_record(q, table)->level);
    for (unsigned i = next_with(entries, 0, count, ANY); i < count;
         i = next_with(entries, i + 1, count, ANY))
        qi_table_release(q, entry_pfn(entries[i]));
    qi_frame_free(&q->frames, table);
}

static uint32_t leaf_count_own(const entry_t *entries)
{
    uint32_t own = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
        own += (uint32_t)(entries[i] >> ENTRY_OWN_SHIFT) & 1;
    return own;
}

/* Free the pages that are at home in a dying leaf and that nobody uses; returns how many stay. */
static uint32_t leaf_free_homes(struct quire *q, pfn_t table, enum qi_kind kind, entry_t mask)
{
    struct qi_frame *r = table_record(q, table);
    entry_t *entries = table_entries(q, table);
    uint32_t kept = 0;
    for (unsigned i = next_with(entries, 0, QUIRE_TABLE_ENTRIES, mask); i < QUIRE_TABLE_ENTRIES;
         i = next_with(entries, i + 1, QUIRE_TABLE_ENTRIES, mask)) {
        if (entry_kind(entries[i], 1) != kind)
            continue;
        if (r->side != QI_NO_FRAME && table_side(q, r)->uses[i] > 0) {
            kept++;
            continue;
        }
        qi_frame_free(&q->frames, entry_pfn(entries[i]));
        entry_store(&entries[i], 0);
    }
    return kept;
}

/* The last parent has gone: keep the homes that others use, and nothing else (H5, D3). */
static void leaf_drop(struct quire *q, pfn_t table)
{
    struct qi_frame *r = table_record(q, table);
    entry_t *entries = table_entries(q, table);
    uint32_t own = leaf_count_own(entries);
    uint32_t others = r->present - own;
    uint32_t kept = own > 0 ? leaf_free_homes(q, table, QI_OWN, ENTRY_OWN) : 0;
    if (others > 0 && !(kept > 0 && QI_CANARY(QI_CANARY_DEAD_TABLE_BORROWS)) &&
        qi_homes_change(q, entries, others, -1) > 0)
        kept += leaf_free_homes(q, table, QI_BARRED, ANY);
    r->present = (uint16_t)kept;
    if (kept == 0) {
        qi_frame_free(&q->frames, table);
        return;
    }
    for (unsigned i = 0; others > 0 && i < QUIRE_TABLE_ENTRIES; i++) {
        enum qi_kind kind = entry_kind(entries[i], 1);
        if (kind != QI_EMPTY && kind != QI_OWN && kind != QI_BARRED)
            entry_store(&entries[i], 0);
    }
    qi_frame_set_state(&q->frames, table, QI_FRAME_TABLE);
}

bool qi_table_drop_slice(struct quire *q)
{
    pfn_t table = q->drop_list;
    if (table == QI_NO_FRAME)
        return false;
    struct qi_frame *r = table_record(q, table);
    q->drop_list = r->next;
    r->next = QI_NO_FRAME;
    if (r->level > 1)
        upper_drop(q, table);
    else
        leaf_drop(q, table);
    return q->drop_list != QI_NO_FRAME;
}
