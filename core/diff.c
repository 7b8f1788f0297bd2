/* SPDX-License-Identifier: MIT */
/*
 * The difference of two spaces: a dirty log without a log.
 *
 * Fork shares the tree, and a write copies the path to the page that it writes.  So a child that
 * nobody runs (a mark) tells what its parent has changed since: where both still name one table,
 * nothing below it has changed, and it is passed in one step.  What is looked at is what was
 * written, and the tables above it.
 *
 *        space    mark            bits
 *           \      |
 *         root'   root            differ: look below
 *           |  \ /  |
 *           |   X   |             one table: equal, not entered
 *           |  / \  |
 *           T'      T             entry by entry: 0 0 1 0 ...
 *
 * Two pages are equal if they name one frame (a borrowed page names the frame of its home), or if
 * neither has a frame: what was never touched and what maps the zero page both read as zeros.  No
 * byte is compared, so a page that was written with what it held before differs.  A page of a
 * section is never a difference: it is the same for both.  A guard is only
 * equal to a guard.
 *
 * Pages that have no frame can differ all the same, by what is mapped there.  Regions are shared as
 * tables are, so the two region trees are compared in the same way: one node on both sides is equal
 * at once.  A page that is mapped, or promised, on one side only differs.
 *
 * Locks: both spaces exclusively.  A table that others share too can be left by them meanwhile, but
 * what its entries name does not change by that.
 */
#include "fault.h"

/* A comparison over the pages [low, high); bit 0 of bits[0] is the page at low. */
struct diff {
    const struct quire *q;
    vaddr_t low, high;
    uint64_t *bits;
};

/* The pages of [low, high) differ; empty if low is not below high. */
static void differ(const struct diff *d, vaddr_t low, vaddr_t high)
{
    uint64_t i = (low - d->low) >> QUIRE_PAGE_SHIFT, end = (high - d->low) >> QUIRE_PAGE_SHIFT;
    while (low < high && i < end) {
        uint64_t first = i & 63, count = end - i < 64 - first ? end - i : 64 - first;
        d->bits[i / 64] |= (count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1) << first;
        i += count;
    }
}

/* ---- regions ------------------------------------------------------------------------------- */

/* The part of a tree that can matter in [low, high): descend past what lies outside. */
static const struct qi_region *regions_within(const struct qi_region *n, vaddr_t low, vaddr_t high)
{
    while (n && (n->end <= low || n->start >= high))
        n = n->end <= low ? n->right : n->left;
    return n;
}

/* What a program has at an address, pages aside: nothing, addresses, or what a region shows. */
enum { NOTHING, ADDRESSES, MEMORY };
typedef uint64_t promise_t;

static promise_t promise_of(const struct qi_region *r)
{
    return r->flags & QUIRE_REGION_RESERVED ? ADDRESSES : MEMORY + r->view;
}

/* One side has `promise` in all of [low, high): where the tree `n` of the other has not, differ. */
static void diff_promise(const struct diff *d, promise_t promise, const struct qi_region *n,
                         vaddr_t low, vaddr_t high)
{
    while (low < high) {
        const struct qi_region *r = qi_region_at_or_above(n, low);
        vaddr_t start = r && r->start < high ? larger(r->start, low) : high;
        vaddr_t end = r ? smaller(r->end, high) : high;
        if (promise != NOTHING)
            differ(d, low, start);
        if (start < end && promise_of(r) != promise)
            differ(d, start, end);
        low = end;
    }
}

static void diff_regions(const struct diff *d, const struct qi_region *a, const struct qi_region *b,
                         vaddr_t low, vaddr_t high)
{
    a = regions_within(a, low, high);
    b = regions_within(b, low, high);
    if (a == b)
        return;
    if (!a) {
        diff_promise(d, NOTHING, b, low, high);
        return;
    }
    vaddr_t start = larger(a->start, low), end = smaller(a->end, high);
    diff_regions(d, a->left, b, low, start);
    diff_promise(d, promise_of(a), b, start, end);
    diff_regions(d, a->right, b, end, high);
}

/* ---- tables -------------------------------------------------------------------------------- */

/* What a page reads as: two that have the same number are equal. */
static uint64_t content(const struct quire *q, entry_t e)
{
    enum { ZEROS, GUARD, FRAMES };
    const uint64_t slots = FRAMES + (UINT64_C(1) << 32);
    switch (entry_kind(e, 1)) {
    case QI_EMPTY:
    case QI_SECTION: /* what the region shows, as an empty one */
    case QI_ZERO: return ZEROS;
    case QI_GUARD: return GUARD;
    case QI_OWN:
    case QI_BARRED:
    case QI_BORROWED: return FRAMES + (uint64_t)entry_pfn(e);
    case QI_PAGED: return slots + entry_slot(e);
    case QI_PROTOTYPE: return content(q, entry_load(qi_home_slot(q, entry_payload(e))));
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: break;
    }
    host_panic("an entry of this kind in the leaf of a space at rest", __FILE__, __LINE__);
}

/* Entry i of a table that may not be there. */
static entry_t entry_at(const entry_t *entries, unsigned i)
{
    return entries ? entry_load(&entries[i]) : 0;
}

/* The subtrees below two upper entries, or their leaves; QI_NO_FRAME: there is none. */
static void diff_tables(const struct diff *d, pfn_t a, pfn_t b, unsigned level, vaddr_t base)
{
    if (a == b)
        return;
    const entry_t *left = a == QI_NO_FRAME ? NULL : table_entries(d->q, a);
    const entry_t *right = b == QI_NO_FRAME ? NULL : table_entries(d->q, b);
    for (unsigned i = 0; i < table_count(level); i++) {
        vaddr_t start = base + i * entry_span(level), end = start + entry_span(level);
        if (start >= d->high)
            break;
        if (end <= d->low)
            continue;
        entry_t e = entry_at(left, i), f = entry_at(right, i);
        if (level > 1)
            diff_tables(d, e ? entry_pfn(e) : QI_NO_FRAME, f ? entry_pfn(f) : QI_NO_FRAME,
                        level - 1, start);
        else if (content(d->q, e) != content(d->q, f) &&
                 !(e && f && QI_CANARY(QI_CANARY_DIFF_BY_TABLE_ONLY)))
            differ(d, start, end);
    }
}

/* ---- the calls ----------------------------------------------------------------------------- */

static enum quire_status diff_status(const struct quire_space *space,
                                     const struct quire_space *mark, vaddr_t low, uint64_t length)
{
    if (space == mark || space->q != mark->q)
        return QUIRE_BAD_FLAGS;
    return qi_range_status(space->q, low, length);
}

/* Both held. */
static void diff_spaces(const struct quire_space *space, const struct quire_space *mark,
                        vaddr_t low, uint64_t length, uint64_t *bits)
{
    struct diff d = {.q = space->q, .low = low, .high = low + length, .bits = bits};
    memset(bits, 0, ((length >> QUIRE_PAGE_SHIFT) + 63) / 64 * sizeof bits[0]);
    diff_regions(&d, space->regions, mark->regions, d.low, d.high);
    diff_tables(&d, space->root, mark->root, QUIRE_LEVELS, 0);
}

enum quire_status quire_diff(struct quire_space *space, struct quire_space *mark, vaddr_t low,
                             uint64_t length, uint64_t *bits)
{
    enum quire_status status = diff_status(space, mark, low, length);
    if (status != QUIRE_OK)
        return status;
    struct qi_cpu *cpu = qi_enter_both(space, mark);
    diff_spaces(space, mark, low, length, bits);
    qi_leave(cpu);
    return QUIRE_OK;
}

enum quire_status quire_diff_and_mark(struct quire_space *space, struct quire_space **mark,
                                      vaddr_t low, uint64_t length, uint64_t *bits)
{
    struct quire_space *old = *mark;
    struct quire *q = space->q;
    enum quire_status status = diff_status(space, old, low, length);
    if (status != QUIRE_OK)
        return status;
    struct quire_space *fresh = NULL;
    uint32_t need = 0;
    uint64_t promise;
    do {
        struct qi_cpu *cpu = qi_enter_both(space, old);
        promise = space->regions ? space->regions->charge : 0;
        status = qi_fork_locked(cpu, space, &fresh, &need);
        if (status == QUIRE_OK) {
            /* Nothing was written since the instant of the fork: the space is held. */
            diff_spaces(space, old, low, length, bits);
            qi_space_free(cpu, old);
            *mark = fresh;
        }
        qi_leave(cpu);
    } while (qi_try_again(q, &status, need, false, promise));
    qi_finish(q, QI_ALL_SLICES);
    return status;
}
