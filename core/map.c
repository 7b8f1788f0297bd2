/* SPDX-License-Identifier: MIT */
/*
 * Map, unmap, protect, query: what a program asks of its address space.
 *
 * Each change goes the same way: check the arguments; build the new region tree beside the old
 * one; count and reserve the frames that the tables need; change the tables; swap the region
 * tree.  The first three can fail and have changed nothing; the last two can not.  The tables
 * change while the old regions still stand, because what an entry may allow is read off the
 * regions that it was made under.
 *
 * Regions say what a program may do; tables only what needs no fault.  So mapping touches no
 * table, and giving more rights touches none either.  Taking rights away, or pages, is
 * range.c's work.
 *
 * A protection with WRITE or EXEC includes READ, as on every processor that quire runs on.
 *
 * Locks: the manager's; dropped while waiting for memory, after which everything is done again
 * from the look-up on.
 */
#include "fault.h"

enum quire_status qi_range_status(const struct quire *q, vaddr_t address, uint64_t length)
{
    if ((address | length) & (QUIRE_PAGE_SIZE - 1))
        return QUIRE_MISALIGNED;
    if (length == 0)
        return QUIRE_ZERO_LENGTH;
    if (address + length < address)
        return QUIRE_WRAPS;
    if (address < q->low || address + length > q->high)
        return QUIRE_OUT_OF_RANGE;
    return QUIRE_OK;
}

static uint32_t whole_prot(uint32_t prot)
{
    return prot & (QUIRE_WRITE | QUIRE_EXEC) ? prot | QUIRE_READ : prot;
}

static bool prot_known(uint32_t prot)
{
    return (prot & ~(uint32_t)(QUIRE_READ | QUIRE_WRITE | QUIRE_EXEC)) == 0;
}

/* One change of a space: the range, the regions it leaves, and what entries lose by it. */
struct change {
    struct qi_range range;
    struct qi_edit edit;
    struct qi_region *regions; /* the new tree, owned until it is swapped in */
    uint64_t nodes;            /* in use when the change began */
    uint32_t need;
};

static void change_begin(struct change *c, struct quire_space *space, vaddr_t low, vaddr_t high,
                         bool urgent)
{
    *c = (struct change){.range = {space, low, high, QI_LOSE_NOTHING, 0},
                         .edit = {.nodes = &space->q->nodes, .urgent = urgent},
                         .nodes = space->q->nodes.used};
}

/*
 * The second half of every change: reserve, then commit.  QUIRE_NO_MEMORY: nothing has changed,
 * the new tree is released, and c->need frames are wanted.
 */
static enum quire_status change_finish(struct change *c)
{
    struct quire_space *space = c->range.space;
    struct quire *q = space->q;
    bool there = !c->edit.failed;
    if (there) {
        c->need = qi_range_need(&c->range);
        there = qi_reserve(q, c->need, c->edit.urgent, QI_SITE_RANGE);
    }
    if (!there) {
        /* Free the new tree's nodes at once, or the wait would take them for progress. */
        qi_region_release(&q->nodes, c->regions);
        while (q->nodes.used > c->nodes && qi_nodes_drop_slice(&q->nodes, 1))
            ;
        /* The edit held frames that are free again: what is there now was not enough. */
        uint32_t free = qi_frame_available(&q->frames, c->edit.urgent);
        if (c->need <= free)
            c->need = free + 1;
        return QUIRE_NO_MEMORY;
    }
    qi_range_apply(&c->range);
    struct qi_region *old = space->regions;
    space->regions = c->regions;
    qi_region_release(&q->nodes, old);
    return QUIRE_OK;
}

/* ---- map ----------------------------------------------------------------------------------- */

struct map_request {
    struct quire_space *space;
    vaddr_t address;
    uint64_t length;
    uint32_t prot, flags;
};

/* Where the mapping goes; with FIXED it is checked, without it is found. */
static enum quire_status map_place(struct map_request *m)
{
    struct quire *q = m->space->q;
    const struct qi_region *root = m->space->regions;
    const struct qi_region *next = qi_region_at_or_above(root, m->address);
    bool free = !next || next->start >= m->address + m->length;
    if (m->flags & QUIRE_MAP_FIXED)
        return free || (m->flags & QUIRE_MAP_REPLACE) ? QUIRE_OK : QUIRE_OVERLAPS;
    if (free && qi_range_status(q, m->address, m->length) == QUIRE_OK)
        return QUIRE_OK;
    return qi_region_highest_gap(root, q->low, q->high, m->length, &m->address)
               ? QUIRE_OK
               : QUIRE_NO_ADDRESSES;
}

static enum quire_status map_try(struct map_request *m, struct change *c)
{
    vaddr_t hint = m->address;
    enum quire_status status = map_place(m);
    if (status != QUIRE_OK)
        return status;
    change_begin(c, m->space, m->address, m->address + m->length, false);
    c->regions = qi_region_put(&c->edit, m->space->regions, c->range.low, c->range.high, m->prot);
    if (m->flags & QUIRE_MAP_REPLACE)
        c->range.loss = QI_LOSE_PAGES;
    status = change_finish(c);
    if (status != QUIRE_OK)
        m->address = hint;
    return status;
}

static enum quire_status map_check(const struct map_request *m)
{
    const uint32_t known = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;
    bool fixed = (m->flags & QUIRE_MAP_FIXED) != 0;
    if ((m->flags & ~known) || !prot_known(m->prot) || (!fixed && (m->flags & QUIRE_MAP_REPLACE)))
        return QUIRE_BAD_FLAGS;
    enum quire_status status = qi_range_status(m->space->q, m->address, m->length);
    if (fixed)
        return status;
    /* A hint may be anywhere; only the length must make sense. */
    if (m->length & (QUIRE_PAGE_SIZE - 1))
        return QUIRE_MISALIGNED;
    if (m->length == 0)
        return QUIRE_ZERO_LENGTH;
    return m->length > m->space->q->high - m->space->q->low ? QUIRE_OUT_OF_RANGE : QUIRE_OK;
}

enum quire_status quire_map(struct quire_space *space, vaddr_t *address, uint64_t length,
                            uint32_t prot, uint32_t flags)
{
    struct quire *q = space->q;
    struct map_request m = {space, *address, length, whole_prot(prot), flags};
    enum quire_status status = map_check(&m);
    if (status != QUIRE_OK)
        return status;
    struct change c;
    manager_lock(q);
    do
        status = map_try(&m, &c);
    while (status == QUIRE_NO_MEMORY && qi_wait_for_frames(q, c.need));
    qi_finish(q, QI_ALL_SLICES);
    if (status == QUIRE_OK)
        *address = m.address;
    return status;
}

/* ---- unmap --------------------------------------------------------------------------------- */

static enum quire_status unmap_try(struct quire_space *space, vaddr_t low, vaddr_t high,
                                   struct change *c)
{
    const struct qi_region *first = qi_region_at_or_above(space->regions, low);
    change_begin(c, space, low, high, true);
    if (!first || first->start >= high)
        return QUIRE_OK;
    c->regions = qi_region_cut(&c->edit, space->regions, low, high);
    c->range.loss = QI_LOSE_PAGES;
    return change_finish(c);
}

enum quire_status quire_unmap(struct quire_space *space, vaddr_t address, uint64_t length)
{
    struct quire *q = space->q;
    enum quire_status status = qi_range_status(q, address, length);
    if (status != QUIRE_OK)
        return status;
    struct change c;
    manager_lock(q);
    do
        status = unmap_try(space, address, address + length, &c);
    while (status == QUIRE_NO_MEMORY && qi_wait_for_frames(q, c.need));
    qi_finish(q, QI_ALL_SLICES);
    return status;
}

/* ---- protect ------------------------------------------------------------------------------- */

/* Is all of [low, high) mapped?  *lost: the rights that any part of it has and `prot` has not. */
static bool range_rights(const struct quire_space *space, vaddr_t low, vaddr_t high, uint32_t prot,
                         uint32_t *lost)
{
    *lost = 0;
    for (vaddr_t at = low; at < high;) {
        const struct qi_region *region = qi_region_find(space->regions, at);
        if (!region)
            return false;
        *lost |= region->prot & ~prot;
        at = region->end;
    }
    return true;
}

static enum qi_loss loss_of(uint32_t lost)
{
    if (lost & QUIRE_READ)
        return QI_LOSE_ACCESS;
    if (lost & QUIRE_EXEC)
        return QI_LOSE_EXEC;
    return lost & QUIRE_WRITE ? QI_LOSE_WRITE : QI_LOSE_NOTHING;
}

static enum quire_status protect_try(struct quire_space *space, vaddr_t low, vaddr_t high,
                                     uint32_t prot, struct change *c)
{
    uint32_t lost;
    if (!range_rights(space, low, high, prot, &lost))
        return QUIRE_NOT_MAPPED;
    change_begin(c, space, low, high, false);
    c->regions = qi_region_reprotect(&c->edit, space->regions, low, high, prot);
    c->range.loss = loss_of(lost);
    c->range.lost = lost;
    return change_finish(c);
}

enum quire_status quire_protect(struct quire_space *space, vaddr_t address, uint64_t length,
                                uint32_t prot)
{
    struct quire *q = space->q;
    enum quire_status status =
        prot_known(prot) ? qi_range_status(q, address, length) : QUIRE_BAD_FLAGS;
    if (status != QUIRE_OK)
        return status;
    struct change c;
    manager_lock(q);
    do
        status = protect_try(space, address, address + length, whole_prot(prot), &c);
    while (status == QUIRE_NO_MEMORY && qi_wait_for_frames(q, c.need));
    qi_finish(q, QI_ALL_SLICES);
    return status;
}

/* ---- query --------------------------------------------------------------------------------- */

enum quire_status quire_query(struct quire_space *space, vaddr_t address, struct quire_region *out)
{
    struct quire *q = space->q;
    manager_lock(q);
    const struct qi_region *region = qi_region_at_or_above(space->regions, address);
    if (region)
        *out = (struct quire_region){region->start, region->end, region->prot};
    manager_unlock(q);
    return region ? QUIRE_OK : QUIRE_NOT_MAPPED;
}
