/* SPDX-License-Identifier: MIT */
/*
 * Clone: a range of one space becomes a copy of a range of another, or of the same, at any place;
 * and no byte is copied until one of the two is written.
 *
 * It is what a fork does, for a range and to another address.  The leaf T of the source lends: its
 * entries go on being the homes of their pages, and the target's entries borrow them.
 *
 *      source        target
 *        |             |
 *        T             D       T is frozen: the source leaves it when it writes next (table.c)
 *     i  own  <------  borrowed  j      uses[i] = maps[i] = 1
 *     k  borrowed of L borrowed  n      and L counts one use more
 *
 * Freezing T means that the entry above it loses W, and one flush of what T spans.
 *
 * A run of pages is cloned in one step if all its pages can be lent: private memory, not in
 * the leaf that borrows, and not of a leaf with pinned pages, which must not be frozen (pin.c).
 * Whatever else a range holds is copied, page by page, through a frame in between: pages of
 * sections, which may change for others to see; targets that are views, or pinned, which stay so.
 * Refusals come from there too, so they are those of a read and a write.
 *
 * Locks: both spaces exclusively, for one run of a leaf; of T, while it is counted.
 */
#include "pin.h"

#include <quire/machine.h>

struct clone {
    struct quire_space *from, *to;
    vaddr_t source, target;
    struct qi_cpu *cpu; /* of the run */
    pfn_t leaf;         /* of the source; QI_NO_FRAME: there is none, all is empty */
    uint32_t prot;      /* of the target's region */
    bool pinned;        /* there are pinned pages in the leaf */
    uint32_t need;      /* frames that the run wants */
};

/* Pages from an address on in one leaf and one region. */
static uint64_t pages_left(vaddr_t address, const struct qi_region *region)
{
    vaddr_t end = smaller((address | (entry_span(2) - 1)) + 1, region->end);
    return (end - address) >> QUIRE_PAGE_SHIFT;
}

/* The leaf at an address, also below a hidden entry; QI_NO_FRAME: there is none. */
static pfn_t leaf_at(const struct quire_space *space, vaddr_t address)
{
    pfn_t table = qi_load(&space->root);
    for (unsigned level = QUIRE_LEVELS; level > 1; level--) {
        entry_t e = entry_load(&table_entries(space->q, table)[entry_index(address, level)]);
        if (e == 0)
            return QI_NO_FRAME;
        table = entry_pfn(e);
    }
    return table;
}

/* A home can be used once more: counts do not wrap, however often a range is cloned. */
static bool has_room(const struct quire *q, home_t home)
{
    pfn_t side = qi_load(&frame_record(&q->frames, home_table(home))->side);
    const struct qi_side *counts = side == QI_NO_FRAME ? NULL : frame_memory(&q->frames, side);
    return !counts || qi_load(&counts->uses[home_index(home)]) < UINT32_MAX / 2;
}

/* A page that the source's leaf, or the table that it has it from, can lend. */
static bool lendable(const struct clone *c, entry_t e)
{
    const struct quire *q = c->from->q;
    enum qi_kind kind = entry_kind(e, 1);
    if (kind == QI_EMPTY || kind == QI_ZERO)
        return true;
    if (kind == QI_OWN || kind == QI_BARRED)
        return !c->pinned && has_room(q, frame_record(&q->frames, entry_pfn(e))->home);
    if (kind != QI_BORROWED && kind != QI_PROTOTYPE)
        return false; /* a paged one comes back when it is copied */
    home_t home = qi_entry_home(q, e);
    return has_room(q, home) && entry_kind(entry_load(qi_home_slot(q, home)), 1) != QI_PAGED;
}

/* What the target has there may go: it is no guard, and no device has the page. */
static bool replaceable(const struct quire *q, entry_t e)
{
    return entry_kind(e, 1) != QI_GUARD && !qi_entry_pinned(q, e);
}

/* How many of `pages` pages can be cloned in one step. */
static uint64_t run_length(struct clone *c, uint64_t pages)
{
    const struct quire *q = c->from->q;
    const struct qi_region *source = qi_region_find(c->from->regions, c->source);
    const struct qi_region *target = qi_region_find(c->to->regions, c->target);
    if (!source || !target || source->view || target->view ||
        ((source->flags | target->flags) & QUIRE_REGION_RESERVED) || !(source->prot & QUIRE_READ) ||
        !(target->prot & QUIRE_WRITE))
        return 0;
    c->prot = target->prot;
    pages = smaller(pages, smaller(pages_left(c->source, source), pages_left(c->target, target)));
    c->leaf = leaf_at(c->from, c->source);
    pfn_t borrower = leaf_at(c->to, c->target);
    if (c->leaf == QI_NO_FRAME && borrower == QI_NO_FRAME)
        return pages;
    c->pinned = c->leaf != QI_NO_FRAME && qi_leaf_pinned(q, c->leaf) > 0;
    unsigned here = entry_index(c->source, 1), there = entry_index(c->target, 1);
    uint64_t n = 0;
    for (; n < pages && (c->leaf != borrower || c->from != c->to); n++) {
        entry_t e = c->leaf == QI_NO_FRAME ? 0 : entry_load(&table_entries(q, c->leaf)[here + n]);
        entry_t old =
            borrower == QI_NO_FRAME ? 0 : entry_load(&table_entries(q, borrower)[there + n]);
        if (!lendable(c, e) || !replaceable(q, old))
            break;
    }
    return n;
}

/* The source's leaf counts what it lends; true: there is something. */
static bool leaf_lend(const struct clone *c, uint64_t pages)
{
    struct qi_cpu *cpu = c->cpu;
    struct quire *q = cpu->q;
    struct qi_frame *r = table_record(q, c->leaf);
    const entry_t *entries = &table_entries(q, c->leaf)[entry_index(c->source, 1)];
    unsigned first = entry_index(c->source, 1);
    uint64_t lent = 0;
    table_lock(cpu, c->leaf);
    if (r->side == QI_NO_FRAME)
        qi_store(&r->side,
                 qi_frame_alloc(cpu, QI_FRAME_SIDE, QI_WANT_ZEROED, qi_frame_any_colour(cpu)));
    struct qi_side *side = table_side(q, r);
    for (unsigned i = 0; i < pages; i++) {
        enum qi_kind kind = entry_kind(entry_load(&entries[i]), 1);
        if (kind != QI_OWN && kind != QI_BARRED)
            continue;
        qi_store(&side->uses[first + i], side->uses[first + i] + 1);
        side->maps[first + i]++; /* the target can be read: all of them become valid there */
        lent++;
    }
    frame_record(&q->frames, r->side)->sum += lent;
    qi_side_settle(cpu, r);
    table_unlock(cpu, c->leaf);
    return lent > 0;
}

/* The entry above the source's leaf loses W, and so does every translation below it. */
static void leaf_freeze(const struct clone *c)
{
    struct quire *q = c->cpu->q;
    pfn_t table = qi_load(&c->from->root);
    unsigned level = QUIRE_LEVELS;
    for (; level > 2; level--)
        table = entry_pfn(entry_load(&table_entries(q, table)[entry_index(c->source, level)]));
    entry_t *slot = &table_entries(q, table)[entry_index(c->source, 2)];
    entry_t e = entry_load(slot);
    while ((e & ENTRY_WRITE) && !entry_change(slot, &e, e & ~ENTRY_WRITE))
        ;
    vaddr_t low = c->source & ~(entry_span(2) - 1);
    if (!QI_CANARY(QI_CANARY_CLONE_NO_FLUSH))
        mmu_flush_range(q->machine, c->from, low, low + entry_span(2));
}

/* What the target gets for one entry of the source. */
static entry_t borrowed_entry(const struct clone *c, entry_t e)
{
    struct qi_cpu *cpu = c->cpu;
    switch (entry_kind(e, 1)) {
    case QI_OWN:
    case QI_BARRED: return entry_page(entry_pfn(e), c->prot, false);
    case QI_BORROWED:
    case QI_PROTOTYPE:
        return entry_page(qi_home_use(cpu, qi_entry_home(cpu->q, e)), c->prot, false);
    case QI_EMPTY:
    case QI_ZERO:
    case QI_GUARD:
    case QI_BUSY:
    case QI_PAGED:
    case QI_SECTION:
    case QI_TABLE:
    case QI_HIDDEN: break;
    }
    return 0; /* empty, and reads as zeros */
}

static void target_fill(const struct clone *c, uint64_t pages)
{
    struct qi_cpu *cpu = c->cpu;
    const entry_t *from = &table_entries(cpu->q, c->leaf)[entry_index(c->source, 1)];
    struct qi_gate gate;
    qi_gate_begin(&gate, cpu, c->to, c->target);
    pfn_t table = qi_gate_open(&gate, 1);
    qi_gate_close(&gate);
    entry_t *to = &table_entries(cpu->q, table)[entry_index(c->target, 1)];
    uint32_t count = 0;
    for (unsigned i = 0; i < pages; i++) {
        entry_t e = borrowed_entry(c, entry_load(&from[i]));
        if (e == 0)
            continue;
        qi_assert(entry_load(&to[i]) == 0);
        entry_store(&to[i], e);
        count++;
    }
    table_record(cpu->q, table)->present = (uint16_t)(table_record(cpu->q, table)->present + count);
}

/* A run of at most `pages` pages; *done: how many there were, 0 if the first has to be copied. */
static enum quire_status clone_run(struct clone *c, uint64_t pages, uint64_t *done)
{
    struct qi_cpu *cpu = c->cpu;
    uint64_t n = run_length(c, pages);
    *done = n;
    if (n == 0)
        return QUIRE_OK;
    struct qi_range old = {.cpu = cpu,
                           .space = c->to,
                           .low = c->target,
                           .high = c->target + (n << QUIRE_PAGE_SHIFT),
                           .loss = QI_LOSE_CONTENT};
    /* The target's path, all of it new or copied, and two side frames. */
    c->need = qi_range_need(&old) + QUIRE_LEVELS + 2;
    if (!qi_reserve(cpu, c->need, false, QI_SITE_RANGE))
        return QUIRE_NO_MEMORY;
    qi_range_apply(&old);
    if (c->leaf == QI_NO_FRAME)
        return QUIRE_OK;
    if (leaf_lend(c, n))
        leaf_freeze(c);
    target_fill(c, n);
    return QUIRE_OK;
}

/* One page by its bytes. */
static enum quire_status copy_page(const struct clone *c)
{
    struct quire *q = c->from->q;
    pfn_t between;
    enum quire_status status;
    do
        status = quire_frame_take(q, &between);
    while (qi_try_again(q, &status, 1, false, 0));
    if (status != QUIRE_OK)
        return status;
    void *bytes = frame_memory(&q->frames, between);
    status = quire_read(c->from, c->source, bytes, QUIRE_PAGE_SIZE, NULL);
    if (status == QUIRE_OK)
        status = quire_write(c->to, c->target, bytes, QUIRE_PAGE_SIZE, NULL);
    quire_frame_give(q, between);
    return status;
}

static enum quire_status clone_check(const struct clone *c, uint64_t length)
{
    if (c->from->q != c->to->q)
        return QUIRE_BAD_FLAGS;
    enum quire_status status = qi_range_status(c->from->q, c->source, length);
    if (status == QUIRE_OK)
        status = qi_range_status(c->from->q, c->target, length);
    bool meet = c->source < c->target + length && c->target < c->source + length;
    return status == QUIRE_OK && c->from == c->to && meet ? QUIRE_OVERLAPS : status;
}

enum quire_status quire_clone(struct quire_space *from, vaddr_t source, struct quire_space *to,
                              vaddr_t target, uint64_t length, uint64_t *done)
{
    struct clone c = {.from = from, .to = to, .source = source, .target = target};
    struct quire *q = from->q;
    enum quire_status status = clone_check(&c, length);
    uint64_t cloned = 0;
    while (status == QUIRE_OK && cloned < length) {
        uint64_t pages = 0;
        do {
            c.cpu = from == to ? qi_enter_exclusive(from) : qi_enter_both(from, to);
            status = clone_run(&c, (length - cloned) >> QUIRE_PAGE_SHIFT, &pages);
            qi_leave(c.cpu);
        } while (qi_try_again(q, &status, c.need, false, 0));
        if (status == QUIRE_OK && pages == 0) {
            status = copy_page(&c);
            pages = status == QUIRE_OK;
        }
        pages = status == QUIRE_OK ? pages : 0;
        cloned += pages << QUIRE_PAGE_SHIFT;
        c.source += pages << QUIRE_PAGE_SHIFT;
        c.target += pages << QUIRE_PAGE_SHIFT;
        qi_finish(q, QI_FEW_SLICES);
    }
    if (done)
        *done = cloned;
    return status;
}
