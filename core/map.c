/* SPDX-License-Identifier: MIT */
/*
 * Map, unmap, protect, query: what a program asks of its address space.
 *
 * Regions say what a program may do; tables only what needs no fault.  So mapping touches no
 * table, and giving more rights touches none either.  Taking rights away, or pages, is
 * range.c's work; how a change is made or refused as a whole is change.c's.
 *
 * A protection with WRITE or EXEC includes READ, as on every processor that quire runs on.
 *
 * Inside, a region that was writable once is told apart from one that never was, for its pages are
 * promised.  A caller can not see that, so quire_query takes such neighbours together.
 */
#include "change.h"
#include "section.h"

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

enum quire_status qi_length_status(const struct quire *q, uint64_t length)
{
    if (length & (QUIRE_PAGE_SIZE - 1))
        return QUIRE_MISALIGNED;
    if (length == 0)
        return QUIRE_ZERO_LENGTH;
    return length > q->high - q->low ? QUIRE_OUT_OF_RANGE : QUIRE_OK;
}

bool qi_range_free(const struct quire_space *space, vaddr_t low, vaddr_t high)
{
    const struct qi_region *next = qi_region_at_or_above(space->regions, low);
    return !next || next->start >= high;
}

/* ---- map ----------------------------------------------------------------------------------- */

struct map_request {
    vaddr_t hint, address; /* address: where it is in the end */
    uint64_t length;
    uint32_t prot, flags;
    struct quire_section *section; /* null: private memory */
    uint64_t offset;
};

/* Where the mapping goes; with FIXED it is checked, without it is found. */
static enum quire_status map_place(const struct quire_space *space, struct map_request *m)
{
    const struct quire *q = space->q;
    bool free = qi_range_free(space, m->hint, m->hint + m->length);
    m->address = m->hint;
    if (m->flags & QUIRE_MAP_FIXED)
        return free || (m->flags & QUIRE_MAP_REPLACE) ? QUIRE_OK : QUIRE_OVERLAPS;
    if (free && qi_range_status(q, m->hint, m->length) == QUIRE_OK)
        return QUIRE_OK;
    return qi_region_highest_gap(space->regions, q->low, q->high, m->length, &m->address)
               ? QUIRE_OK
               : QUIRE_NO_ADDRESSES;
}

static enum quire_status map_try(struct qi_change *change, void *request)
{
    struct map_request *m = request;
    enum quire_status status = map_place(change->space, m);
    if (status != QUIRE_OK)
        return status;
    struct qi_span span = {
        .start = m->address, .end = m->address + m->length, .prot = qi_prot_whole(m->prot)};
    if (m->flags & QUIRE_MAP_RESERVE)
        span.flags |= QUIRE_REGION_RESERVED;
    if (m->flags & QUIRE_MAP_GROWS_DOWN)
        span.flags |= QUIRE_REGION_GROWS_DOWN;
    if (m->flags & QUIRE_MAP_SHARED)
        span.flags |= QUIRE_REGION_SHARED;
    if (m->flags & QUIRE_MAP_READ_ONLY)
        span.flags |= QUIRE_REGION_READ_ONLY;
    if (m->section)
        span.view = view_make(m->section->index, m->offset >> QUIRE_PAGE_SHIFT, m->address);
    qi_change_range(change, span.start, span.end,
                    m->flags & QUIRE_MAP_REPLACE ? QI_LOSE_PAGES : QI_LOSE_NOTHING);
    change->regions = qi_region_put(&change->edit, change->space->regions, span);
    return qi_change_finish(change);
}

static enum quire_status map_check(const struct quire *q, const struct map_request *m)
{
    const uint32_t place = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;
    const uint32_t known = m->section ? place | QUIRE_MAP_SHARED | QUIRE_MAP_READ_ONLY
                                      : place | QUIRE_MAP_RESERVE | QUIRE_MAP_GROWS_DOWN;
    const uint32_t reserved_stack = QUIRE_MAP_RESERVE | QUIRE_MAP_GROWS_DOWN;
    bool fixed = (m->flags & QUIRE_MAP_FIXED) != 0;
    if ((m->flags & ~known) || !qi_prot_known(m->prot) ||
        (!fixed && (m->flags & QUIRE_MAP_REPLACE)) || (m->flags & reserved_stack) == reserved_stack)
        return QUIRE_BAD_FLAGS;
    /* A hint may be anywhere; only the length must make sense. */
    return fixed ? qi_range_status(q, m->hint, m->length) : qi_length_status(q, m->length);
}

static enum quire_status map(struct quire_space *space, struct map_request *m, vaddr_t *address)
{
    m->hint = *address;
    enum quire_status status = map_check(space->q, m);
    if (status == QUIRE_OK)
        status = qi_change_run(space, map_try, m);
    if (status == QUIRE_OK)
        *address = m->address;
    return status;
}

enum quire_status quire_map(struct quire_space *space, vaddr_t *address, uint64_t length,
                            uint32_t prot, uint32_t flags)
{
    struct map_request m = {.length = length, .prot = prot, .flags = flags};
    return map(space, &m, address);
}

enum quire_status quire_map_view(struct quire_space *space, vaddr_t *address, uint64_t length,
                                 uint32_t prot, uint32_t flags, struct quire_section *section,
                                 uint64_t offset)
{
    struct map_request m = {
        .length = length, .prot = prot, .flags = flags, .section = section, .offset = offset};
    if (offset & (QUIRE_PAGE_SIZE - 1))
        return QUIRE_MISALIGNED;
    if (offset + length < offset)
        return QUIRE_WRAPS;
    if ((offset + length) >> QUIRE_PAGE_SHIFT > QI_VIEW_PAGES)
        return QUIRE_OUT_OF_RANGE;
    if (!section || ((flags & QUIRE_MAP_READ_ONLY) && !(flags & QUIRE_MAP_SHARED)))
        return QUIRE_BAD_FLAGS;
    return map(space, &m, address);
}

/* ---- unmap --------------------------------------------------------------------------------- */

static enum quire_status unmap_try(struct qi_change *change, void *request)
{
    const struct qi_extent *extent = request;
    struct qi_region *regions = change->space->regions;
    if (qi_range_free(change->space, extent->low, extent->high))
        return QUIRE_OK;
    change->edit.urgent = true;
    qi_change_range(change, extent->low, extent->high, QI_LOSE_PAGES);
    change->regions = qi_region_cut(&change->edit, regions, extent->low, extent->high);
    return qi_change_finish(change);
}

enum quire_status quire_unmap(struct quire_space *space, vaddr_t address, uint64_t length)
{
    return qi_change_extent(space, address, length, unmap_try, NULL);
}

/* ---- protect ------------------------------------------------------------------------------- */

enum quire_status quire_protect(struct quire_space *space, vaddr_t address, uint64_t length,
                                uint32_t prot)
{
    struct qi_alter alter = {.set_prot = true, .prot = qi_prot_whole(prot)};
    return qi_prot_known(prot) ? qi_change_extent(space, address, length, qi_change_alter, &alter)
                               : QUIRE_BAD_FLAGS;
}

/* ---- query --------------------------------------------------------------------------------- */

/* Two regions that a caller can not tell from one. */
static bool look_alike(const struct qi_region *a, const struct qi_region *b)
{
    return b && a->prot == b->prot && a->name == b->name && a->view == b->view &&
           !((a->flags ^ b->flags) & ~QI_REGION_CHARGED);
}

static void region_describe(const struct quire *q, const struct qi_region *root,
                            const struct qi_region *region, struct quire_region *out)
{
    const struct qi_region *next;
    *out = (struct quire_region){.start = region->start,
                                 .end = region->end,
                                 .prot = region->prot,
                                 .flags = region->flags & ~(uint32_t)QI_REGION_CHARGED,
                                 .name = region->name};
    while (out->start > 0 && look_alike(region, next = qi_region_find(root, out->start - 1)))
        out->start = next->start;
    while (look_alike(region, next = qi_region_find(root, out->end)))
        out->end = next->end;
    if (region->view) {
        out->section = qi_section_of(q, region->view);
        out->offset = view_page(region->view, out->start) << QUIRE_PAGE_SHIFT;
    }
}

enum quire_status quire_query(struct quire_space *space, vaddr_t address, struct quire_region *out)
{
    struct qi_cpu *cpu = qi_enter_shared(space);
    const struct qi_region *region = qi_region_at_or_above(space->regions, address);
    if (region)
        region_describe(space->q, space->regions, region, out);
    qi_leave(cpu);
    return region ? QUIRE_OK : QUIRE_NOT_MAPPED;
}
