/* SPDX-License-Identifier: MIT */
/*
 * What the model chooses: addresses and lengths at which something can go wrong.
 *
 * Micro: every page of the address range.  Real: 16 pages around each of a leaf's, a middle table's
 * and an upper table's boundary, and the lowest and highest that can be mapped.
 */
#include "state.h"

uint32_t below(uint32_t n) { return (uint32_t)((test_random(&M.random) >> 32) * n >> 32); }

bool chance(uint32_t percent) { return below(100) < percent; }

vaddr_t some_address(void)
{
    if (MICRO)
        return (vaddr_t)below((uint32_t)PAGES_ALL) << QUIRE_PAGE_SHIFT;
    const unsigned shifts[] = {QUIRE_PAGE_SHIFT + QUIRE_TABLE_SHIFT,
                               QUIRE_PAGE_SHIFT + 2 * QUIRE_TABLE_SHIFT,
                               QUIRE_PAGE_SHIFT + 3 * QUIRE_TABLE_SHIFT};
    vaddr_t page = (vaddr_t)below(16) << QUIRE_PAGE_SHIFT;
    uint32_t n = below(5);

    if (n < 3)
        return (UINT64_C(1) << shifts[n]) + page - ((vaddr_t)8 << QUIRE_PAGE_SHIFT);
    return n == 3 ? M.low + page : M.high - (((vaddr_t)16 << QUIRE_PAGE_SHIFT) - page);
}

vaddr_t some_mapped_address(const struct oracle *o, uint32_t access)
{
    const struct oracle_map *map = &o->map;

    if (!map->count || chance(5))
        return some_address();
    const struct oracle_region *r = &map->region[below(map->count)];
    for (unsigned i = 0; i < 4 && (!(r->prot & access) || r->flags & QUIRE_REGION_RESERVED); i++)
        r = &map->region[below(map->count)];
    uint64_t pages = (r->end - r->start) >> QUIRE_PAGE_SHIFT;
    uint32_t near = pages < 6 ? (uint32_t)pages : 6;
    vaddr_t at = chance(50) ? r->start + ((vaddr_t)below(near) << QUIRE_PAGE_SHIFT)
                            : r->end - ((vaddr_t)(1 + below(near)) << QUIRE_PAGE_SHIFT);

    if (o->page_count && chance(60))
        at = o->page[below(o->page_count)].number << QUIRE_PAGE_SHIFT;
    /* Where a stack would grow to. */
    if ((r->flags & QUIRE_REGION_GROWS_DOWN) && r->start > M.low && chance(40))
        at = r->start - QUIRE_PAGE_SIZE;
    return at;
}

uint64_t some_length(void)
{
    uint64_t pages = 1 + below(4);

    if (chance(15))
        pages = 1u << QUIRE_TABLE_SHIFT;
    else if (chance(5))
        pages = UINT64_C(1) << (QUIRE_TABLE_SHIFT * (1 + below(QUIRE_LEVELS)));
    else if (chance(15))
        pages = 1 + below(MICRO ? 32 : 1200);
    return pages << QUIRE_PAGE_SHIFT;
}

vaddr_t some_start(vaddr_t at, uint64_t length)
{
    vaddr_t start = at & ~(length - 1);

    return (length & (length - 1)) == 0 && start >= M.low && chance(60) ? start : at;
}

uint32_t some_prot(void)
{
    static const uint8_t prots[] = {3, 3, 3, 3, 3, 3, 3, 1, 1, 5, 7, 0, 2, 4};

    return prots[below(sizeof prots)];
}

struct model_space *some_space(void)
{
    uint32_t n = below(M.live);

    for (unsigned i = 0;; i++) {
        if (M.spaces[i].space && n-- == 0)
            return &M.spaces[i];
    }
}

struct model_space *free_place(void)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (!M.spaces[i].space)
            return &M.spaces[i];
    }
    return NULL;
}

struct model_space *model_of(const struct quire_space *space)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (space && M.spaces[i].space == space)
            return &M.spaces[i];
    }
    return NULL;
}
