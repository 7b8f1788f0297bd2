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
 * Pages of sections are left out of T': the region finds them again, at a fault; so the flush is
 * one of all that T spans. Where T itself borrows from L, T' borrows from L too: an entry always
 * names a home, never another borrowed entry, so there are no chains.  Where T's entry is empty, so
 * is the copy. The pass reads T, writes T' and the side frame in order, and has no branch that
 * would keep a compiler from vectorising it.
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
 * Many CPUs.  Tables are walked without locks: a table that leaves a tree keeps its content until
 * every call that may be in it has ended (frame.c).  What a walk found exclusive stays so while the
 * space is held, since the only ways to a second parent or a borrower are a fork, which holds the
 * space exclusively, and an unshare, which is for tables that are not exclusive.  So a walk looks
 * at the entry again after it has seen the child's counts: then the child was in the tree when they
 * were true.  The other sharers may leave at any moment, though, and make a table exclusive that a
 * call of this space has just begun to copy.  So whoever copies first makes the entry above busy,
 * and only then looks at the counts: whoever sees the table become exclusive later sees busy too.
 *
 *   an entry of an exclusive table   changes under that table's lock, or is busy and its owner's
 *   a shared or frozen table         does not change but for W, accessed and dirty bits; whoever
 *                                    copies it has made the entry above it busy, so that no call
 *                                    on the same space can thaw and write it meanwhile
 *   its share                        shared word; the last step to 0 under the table's lock
 *   its side frame and homes         under the table's lock
 *
 * Two that unshare one table at once both copy it, and it is left without parents: correct, and not
 * worth an optimisation (H19).  No function here holds two table locks, so there is no order among
 * them to keep.
 *
 * Nothing here fails: frames were reserved by the caller.
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

/*
 * The root; is it the space's own, and does no call replace it (which it began when it was not)?
 * Once that is known it stays so until the next fork of the space, so the record of the root, whose
 * neighbours others may write, is seldom looked at.
 */
static inline pfn_t root_load(const struct quire_space *space, bool *exclusive)
{
    bool own = qi_load(&space->root_own) != 0; /* first: it is stored after a new root */
    pfn_t root = qi_load(&space->root);
    if (!own)
        own = table_exclusive(space->q, root) &&
              (qi_load(&space->root_busy) == 0 || QI_CANARY(QI_CANARY_ROOT_BUSY_IGNORED)) &&
              qi_load(&space->root) == root;
    *exclusive = own;
    return root;
}

/* The entry leads to another table than when it was `e`, or is busy: what was seen below is old. */
static bool moved_on(const entry_t *slot, entry_t e)
{
    return ((entry_load(slot) ^ e) & (ENTRY_PAYLOAD_MASK | ENTRY_PRESENT)) != 0;
}

/*
 * The walk goes on below an entry whose W is clear: the counts of the child say whether it is
 * exclusive.  (W leads from an exclusive table to exclusive ones only.)  False: the tree changed.
 */
static __attribute__((noinline)) bool look_below(const struct quire *q, const entry_t *slot,
                                                 entry_t e, struct qi_look *look)
{
    look->open = false;
    look->exclusive = look->exclusive && table_exclusive(q, entry_pfn(e));
    return !(look->exclusive && moved_on(slot, e));
}

/* One walk; false: the tree changed under it in a way that matters. */
static bool look_once(const struct quire_space *space, vaddr_t address, struct qi_look *look)
{
    const struct quire *q = space->q;
    pfn_t table = root_load(space, &look->exclusive);
    unsigned level = QUIRE_LEVELS;
    entry_t e;
    look->open = true;
#pragma GCC unroll 4 /* with a constant for each shift */
    for (; level > 0; level--) {
        const entry_t *slot = &table_entries(q, table)[entry_index(address, level)];
        e = entry_load(slot);
        if (level == 1 || !entry_present(e))
            break;
        if (!(e & ENTRY_WRITE) && !look_below(q, slot, e, look))
            return false;
        table = entry_pfn(e);
    }
    look->entry = e;
    look->table = table;
    look->level = level;
    return true;
}

struct qi_look qi_table_look(const struct quire_space *space, vaddr_t address)
{
    struct qi_look look;
    while (!look_once(space, address, &look))
        ;
    return look;
}

/* A table with one parent, whose entries are unknown (WANT_ANY: the caller writes all) or empty. */
static pfn_t table_create(struct qi_cpu *cpu, unsigned level, enum qi_frame_want want)
{
    pfn_t pfn = qi_frame_alloc(cpu, QI_FRAME_TABLE, want, qi_frame_any_colour(cpu));
    struct qi_frame *r = table_record(cpu->q, pfn);
    r->level = (uint8_t)level;
    r->share = 1;
    return pfn;
}

pfn_t qi_table_create(struct qi_cpu *cpu, unsigned level)
{
    return table_create(cpu, level, QI_WANT_ZEROED);
}

/* ---- unsharing ----------------------------------------------------------------------------- */

QI_PASS static pfn_t upper_unshare(struct qi_cpu *cpu, pfn_t table, unsigned level, bool hidden)
{
    struct quire *q = cpu->q;
    entry_t *from = table_entries(q, table);
    pfn_t copy = table_create(cpu, level, QI_WANT_ANY);
    entry_t *to = table_entries(q, copy);
    struct qi_frame *r = table_record(q, table), *made = table_record(q, copy);
    table_lock(cpu, table);
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
        cpu_add(cpu, &table_record(q, entry_pfn(e))->share, 1);
    }
    made->present = r->present;
    made->pins = r->pins;
    table_unlock(cpu, table);
    return copy;
}

/*
 * Freeze: `to` borrows what `from` owns; returns how many entries that are.  `add`: the counts
 * are there already and rise; else they are made.  One pass in order over all four, without a
 * branch: what makes an entry its owner's is one bit, and a borrowed entry is the same without
 * the bits of an owner.  What else a leaf holds is finished by qi_homes_change and
 * leaf_borrow_others.
 */
QI_PASS static uint32_t leaf_borrow(const entry_t *restrict from, entry_t *restrict to,
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

/*
 * What else a table that freezes holds: barred and paged ones are lent too, not present; pages of
 * sections are left out, for the region finds them again.  Returns how many are lent; *left: left
 * out.
 */
QI_PASS static uint32_t leaf_borrow_others(pfn_t table, const entry_t *from, entry_t *to,
                                           struct qi_side *side, uint32_t *left)
{
    uint32_t barred = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        enum qi_kind kind = entry_kind(from[i], 1);
        if (kind == QI_BARRED || kind == QI_PAGED) {
            to[i] = entry_absent(QI_CODE_PROTOTYPE, home_make(table, i), 0);
            side->uses[i]++;
            barred++;
        } else if (kind == QI_SECTION) {
            to[i] = 0;
            ++*left;
        }
    }
    return barred;
}

/* A leaf that was hidden comes back with what each region allows, and no more (H15). */
static void leaf_unhide(struct qi_cpu *cpu, struct quire_space *space, pfn_t table, vaddr_t base)
{
    entry_t *entries = table_entries(cpu->q, table);
    const struct qi_region *region = NULL;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t e = entries[i];
        vaddr_t address = base + (vaddr_t)i * QUIRE_PAGE_SIZE;
        if (!entry_present(e))
            continue;
        if (!region || address >= region->end)
            region = qi_region_find(space->regions, address);
        qi_assert(region != NULL);
        if (!(region->prot & QUIRE_EXEC))
            entries[i] = entry_with_exec(e, false);
        if (region->prot & QUIRE_READ)
            continue;
        if (entry_kind(e, 1) == QI_ZERO) {
            entries[i] = 0;
            table_record(cpu->q, table)->present--;
            continue;
        }
        entries[i] = qi_entry_unmap(cpu, e);
    }
}

static pfn_t leaf_unshare(struct qi_gate *gate, pfn_t table, bool hidden)
{
    struct qi_cpu *cpu = gate->cpu;
    struct quire *q = cpu->q;
    pfn_t copy = table_create(cpu, 1, QI_WANT_ANY);
    struct qi_frame *r = table_record(q, table), *made = table_record(q, copy);
    const entry_t *from = table_entries(q, table);
    entry_t *to = table_entries(q, copy);
    table_lock(cpu, table);
    bool frozen = r->side != QI_NO_FRAME;
    if (!frozen) {
        qi_store(&r->side,
                 qi_frame_alloc(cpu, QI_FRAME_SIDE, QI_WANT_ANY, qi_frame_any_colour(cpu)));
        gate->copies++;
    }
    struct qi_side *side = table_side(q, r);
    QI_TOUCH_ALL(from, false);
    uint32_t own = leaf_borrow(from, to, side, frozen);
    uint32_t others = r->present - own;
    uint32_t left = 0;
    uint32_t barred = others > 0 ? leaf_borrow_others(table, from, to, side, &left) : 0;
    frame_record(&q->frames, r->side)->sum += own + barred;
    qi_side_settle(cpu, r);
    made->present = (uint16_t)(r->present - left);
    made->pins = r->pins;
    table_unlock(cpu, table);
    gate->left_out |= left > 0 && !QI_CANARY(QI_CANARY_VIEWS_NOT_FLUSHED);
    if (others > barred + left)
        qi_homes_take(cpu, from, others);
    if (hidden && !QI_CANARY(QI_CANARY_UNHIDE_IN_PLACE))
        leaf_unhide(cpu, gate->space, copy, table_base(gate->address, 1));
    return copy;
}

/* ---- push-down ----------------------------------------------------------------------------- */

QI_PASS static void push_down(struct qi_gate *gate, pfn_t table, unsigned level)
{
    struct quire *q = gate->cpu->q;
    entry_t *entries = table_entries(q, table);
    entry_t grant = 0;
    if (level == 1) {
        vaddr_t base = table_base(gate->address, 1);
        const struct qi_region *region = qi_region_find(gate->space->regions, base);
        if (region && (region->prot & QUIRE_WRITE) && region->end - base >= entry_span(2))
            grant = ENTRY_WRITE;
    }
    QI_TOUCH_ALL(entries, true);
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t e = entries[i];
        if (!entry_present(e))
            continue;
        bool granted = grant && entry_kind(e, level) == QI_OWN;
        entry_t wanted = granted ? e | grant : e;
        if (!granted && (e & ENTRY_WRITE))
            wanted = level == 1 ? entry_fold(e) : e & ~ENTRY_WRITE;
        if (wanted != e)
            entry_store(&entries[i], wanted);
    }
    gate->cpu->stats.pushed_down++;
}

/* ---- the gate ------------------------------------------------------------------------------ */

/* A copy of this leaf takes a side frame, or may when it comes to that. */
static bool may_need_side(const struct quire *q, pfn_t leaf)
{
    return q->cpu_count > 1 || qi_load(&frame_record(&q->frames, leaf)->side) == QI_NO_FRAME;
}

/*
 * Never too few, whatever other CPUs do meanwhile: what is exclusive stays so, what is shared can
 * only become exclusive, and a leaf that is frozen now may have thawed by then.
 */
uint32_t qi_gate_need(const struct quire_space *space, vaddr_t address, unsigned level)
{
    const struct quire *q = space->q;
    bool own;
    pfn_t table = root_load(space, &own);
    bool copied = !own;
    uint32_t need = copied;
    for (unsigned l = QUIRE_LEVELS; l > level; l--) {
        const entry_t *slot = &table_entries(q, table)[entry_index(address, l)];
        entry_t e = entry_load(slot);
        if (e == 0)
            return need + l - level;
        table = entry_pfn(e);
        copied = copied || !entry_present(e) || !table_exclusive(q, table) || moved_on(slot, e);
        if (copied)
            need += 1 + (l == 2 && may_need_side(q, table));
    }
    return need;
}

static pfn_t gate_unshare(struct qi_gate *gate, pfn_t table, unsigned level, bool hidden)
{
    gate->cpu->stats.unshared[level]++;
    gate->copies++;
    qi_trace(gate->space, QUIRE_EVENT_UNSHARE, gate->address, level);
    return level == 1 ? leaf_unshare(gate, table, hidden)
                      : upper_unshare(gate->cpu, table, level, hidden);
}

/* The entry of the owned table leads to nothing: to a fresh table. */
static pfn_t gate_create(struct qi_gate *gate, pfn_t table, entry_t *slot, unsigned level)
{
    pfn_t fresh = qi_table_create(gate->cpu, level - 1);
    entry_store(slot, entry_table(fresh));
    table_record(gate->cpu->q, table)->present++;
    return fresh;
}

static void gate_own(struct qi_gate *gate, entry_t *slot, entry_t e, unsigned level)
{
    if (!QI_CANARY(QI_CANARY_NO_PUSH_DOWN))
        push_down(gate, entry_pfn(e), level - 1);
    entry_store(slot, e | ENTRY_WRITE);
}

static bool gate_owns(const struct qi_gate *gate, entry_t e)
{
    return entry_present(e) && table_exclusive(gate->cpu->q, entry_pfn(e));
}

/* A step within a copy that nobody else has seen: needs no lock, and no flush. */
static pfn_t gate_child_copied(struct qi_gate *gate, pfn_t table, unsigned level)
{
    entry_t *slot = &table_entries(gate->cpu->q, table)[entry_index(gate->address, level)];
    entry_t e = *slot;
    if (e == 0)
        return gate_create(gate, table, slot, level);
    qi_check(!gate_owns(gate, e)); /* the original, which stays till the end, leads there too */
    pfn_t copy = gate_unshare(gate, entry_pfn(e), level - 1, !entry_present(e));
    entry_store(slot, entry_table(copy));
    qi_table_release(gate->cpu, entry_pfn(e));
    return copy;
}

pfn_t qi_gate_child(struct qi_gate *gate, pfn_t table, unsigned level)
{
    struct qi_cpu *cpu = gate->cpu;
    if (qi_gate_copied(gate))
        return gate_child_copied(gate, table, level);
    entry_t *slot = &table_entries(cpu->q, table)[entry_index(gate->address, level)];
    entry_t e = entry_load(slot);
    if (entry_present(e) && (e & ENTRY_WRITE))
        return entry_pfn(e); /* so it is exclusive */
    table_lock(cpu, table);
    e = entry_load(slot);
    pfn_t child = e & ENTRY_BUSY ? QI_NO_FRAME : entry_pfn(e);
    bool shared = false;
    if (e == 0) {
        child = gate_create(gate, table, slot, level);
    } else if (!(e & ENTRY_BUSY) && !(entry_present(e) && (e & ENTRY_WRITE))) {
        /* Busy first: once it is, nobody else takes the child for exclusive. */
        if (QI_CANARY(QI_CANARY_SHARE_BEFORE_BUSY))
            shared = !gate_owns(gate, e);
        entry_swap(slot, entry_to_busy(e));
        shared = QI_CANARY(QI_CANARY_SHARE_BEFORE_BUSY) ? shared : !gate_owns(gate, e);
        if (!shared)
            gate_own(gate, slot, e, level);
    }
    table_unlock(cpu, table);
    if (!shared)
        return child;
    pfn_t copy = gate_unshare(gate, child, level - 1, !entry_present(e));
    gate->slot = slot;
    gate->value = entry_table(copy);
    gate->retired = child;
    gate->flush = true;
    return copy;
}

/* The root is to be replaced: only one call at a time may.  *root is what it is now. */
static bool root_arrest(struct qi_gate *gate, pfn_t *root, bool *shared)
{
    struct quire_space *space = gate->space;
    lock_take(gate->cpu, &space->root_lock, QI_RANK_TABLE);
    bool free = qi_load(&space->root_busy) == 0;
    *root = qi_load(&space->root);
    if (free) {
        qi_swap(&space->root_busy, 1u);
        *shared = !table_exclusive(gate->cpu->q, *root);
        if (!*shared)
            qi_store(&space->root_busy, 0u);
    }
    lock_drop(gate->cpu, &space->root_lock, QI_RANK_TABLE);
    return free;
}

pfn_t qi_gate_open(struct qi_gate *gate, unsigned level)
{
    struct quire_space *space = gate->space;
    bool own, shared = false;
    pfn_t table = root_load(space, &own);
    if (!own && !root_arrest(gate, &table, &shared))
        return QI_NO_FRAME;
    if (!shared)
        qi_store(&space->root_own, 1u);
    if (shared) {
        gate->retired = table;
        gate->root = table = gate_unshare(gate, table, QUIRE_LEVELS, false);
        gate->flush = true;
    }
    for (unsigned l = QUIRE_LEVELS; l > level && table != QI_NO_FRAME; l--)
        table = qi_gate_child(gate, table, l);
    return table;
}

static bool table_leave(struct qi_cpu *cpu, pfn_t table);
static void leaf_drop(struct qi_cpu *cpu, pfn_t table);
static void drop_later(struct qi_cpu *cpu, pfn_t table);

static void root_publish(struct qi_gate *gate)
{
    struct quire_space *space = gate->space;
    lock_take(gate->cpu, &space->root_lock, QI_RANK_TABLE);
    qi_store(&space->root, gate->root);
    qi_store(&space->root_own, 1u);
    qi_store(&space->root_busy, 0u);
    lock_drop(gate->cpu, &space->root_lock, QI_RANK_TABLE);
}

void qi_gate_publish(struct qi_gate *gate)
{
    struct qi_cpu *cpu = gate->cpu;
    struct quire *q = cpu->q;
    struct quire_space *space = gate->space;
    bool copied = qi_gate_copied(gate);
    if (copied && QI_CANARY(QI_CANARY_RELEASE_BEFORE_FLUSH))
        qi_table_release(cpu, gate->retired);
    if (gate->root != QI_NO_FRAME && QI_CANARY(QI_CANARY_ROOT_BEFORE_FLUSH))
        root_publish(gate);
    if (!(copied && QI_CANARY(QI_CANARY_NO_TABLE_FLUSH))) {
        if (gate->root != QI_NO_FRAME)
            mmu_flush_space(q->machine, space, gate->root);
        else if (gate->left_out)
            mmu_flush_range(q->machine, space, table_base(gate->address, 1),
                            table_base(gate->address, 1) + entry_span(2));
        else
            mmu_flush_page(q->machine, space, gate->address);
    }
    if (gate->root != QI_NO_FRAME)
        root_publish(gate);
    if (gate->slot)
        entry_store(gate->slot, gate->value);
    if (!copied || QI_CANARY(QI_CANARY_RELEASE_BEFORE_FLUSH) || !table_leave(cpu, gate->retired))
        return;
    /* The last to leave a frozen leaf may be the last user of what it borrowed: settle that now. */
    if (table_record(q, gate->retired)->level == 1)
        leaf_drop(cpu, gate->retired);
    else
        drop_later(cpu, gate->retired);
}

/* ---- releasing ----------------------------------------------------------------------------- */

/* One parent fewer, if it is not the last one; false: it is. */
static inline bool share_lower(struct qi_cpu *cpu, struct qi_frame *r)
{
    uint32_t share = qi_load(&r->share);
    while (share > 1)
        if (cpu_change(cpu, &r->share, &share, share - 1))
            return true;
    return false;
}

/* One parent fewer; true: it was the last, and the table is DYING and the caller's. */
static bool table_leave(struct qi_cpu *cpu, pfn_t table)
{
    struct qi_frame *r = table_record(cpu->q, table);
    uint32_t share;
    if (share_lower(cpu, r))
        return false;
    table_lock(cpu, table);
    /* Dying before it has no parents: at no time does it look like a prototype table. */
    if (qi_load(&r->share) == 1)
        qi_frame_set_state(cpu, table, QI_FRAME_DYING);
    share = qi_add(&r->share, UINT32_MAX);
    qi_assert(share > 0);
    table_unlock(cpu, table);
    return share == 1;
}

static void drop_later(struct qi_cpu *cpu, pfn_t table)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    table_record(q, table)->next = q->drop_list;
    qi_store(&q->drop_list, table);
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

void qi_table_release(struct qi_cpu *cpu, pfn_t table)
{
    if (table_leave(cpu, table))
        drop_later(cpu, table);
}

static void upper_drop(struct qi_cpu *cpu, pfn_t table)
{
    const entry_t *entries = table_entries(cpu->q, table);
    unsigned count = table_count(table_record(cpu->q, table)->level);
    for (unsigned i = next_with(entries, 0, count, ANY); i < count;
         i = next_with(entries, i, count, ANY))
        do {
            entry_t e = entries[i];
            if (e != 0 && !share_lower(cpu, table_record(cpu->q, entry_pfn(e))))
                qi_table_release(cpu, entry_pfn(e));
        } while (++i % 8 != 0 && i < count);
    qi_frame_free(cpu, table);
}

QI_PASS static uint32_t leaf_count_own(const entry_t *entries)
{
    uint32_t own = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
        own += (uint32_t)(entries[i] >> ENTRY_OWN_SHIFT) & 1;
    return own;
}

/* What stays of a leaf without parents when it has given back what it borrowed; returns how much.
 */
static uint32_t leaf_keep_homes(struct qi_cpu *cpu, const struct qi_frame *r, entry_t *entries)
{
    const struct qi_side *side =
        r->side == QI_NO_FRAME ? NULL : frame_memory(&cpu->q->frames, r->side);
    uint32_t kept = 0;
    for (unsigned i = next_with(entries, 0, QUIRE_TABLE_ENTRIES, ANY); i < QUIRE_TABLE_ENTRIES;
         i = next_with(entries, i + 1, QUIRE_TABLE_ENTRIES, ANY)) {
        enum qi_kind kind = entry_kind(entries[i], 1);
        bool home = kind_home(kind);
        if (home && side && side->uses[i] > 0) {
            kept++;
            continue;
        }
        if (kind == QI_PAGED)
            qi_paged_release(cpu, entry_slot(entries[i]));
        else if (home)
            qi_page_release(cpu, entry_pfn(entries[i]));
        entry_store(&entries[i], 0);
    }
    return kept;
}

/*
 * The last parent has gone: keep the homes that others use, and nothing else (H5, D3).  Others may
 * meanwhile give back or take such homes, under the table's lock; what the table borrows is nobody
 * else's business any more.
 */
static void leaf_drop(struct qi_cpu *cpu, pfn_t table)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = table_record(q, table);
    entry_t *entries = table_entries(q, table);
    table_lock(cpu, table);
    uint32_t others = r->present - leaf_count_own(entries);
    bool keeps = r->side != QI_NO_FRAME;
    table_unlock(cpu, table);
    if (others > 0 && !(keeps && QI_CANARY(QI_CANARY_DEAD_TABLE_BORROWS)))
        qi_homes_give(cpu, entries, others);
    table_lock(cpu, table);
    uint32_t kept = leaf_keep_homes(cpu, r, entries);
    r->present = (uint16_t)kept;
    if (kept > 0)
        qi_frame_set_state(cpu, table, QI_FRAME_TABLE);
    table_unlock(cpu, table);
    if (kept == 0)
        qi_frame_free(cpu, table);
}

bool qi_table_drop_slice(struct qi_cpu *cpu)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    pfn_t table = q->drop_list;
    if (table != QI_NO_FRAME)
        qi_store(&q->drop_list, table_record(q, table)->next);
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    if (table == QI_NO_FRAME)
        return false;
    struct qi_frame *r = table_record(q, table);
    r->next = QI_NO_FRAME;
    if (r->level > 1)
        upper_drop(cpu, table);
    else
        leaf_drop(cpu, table);
    return qi_load(&q->drop_list) != QI_NO_FRAME;
}
