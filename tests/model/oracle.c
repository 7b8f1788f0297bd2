/* SPDX-License-Identifier: MIT */
/*
 * Lists of regions and pages, kept in the simplest way there is (oracle.h).
 */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

static vaddr_t larger(vaddr_t a, vaddr_t b) { return a > b ? a : b; }
static vaddr_t smaller(vaddr_t a, vaddr_t b) { return a < b ? a : b; }

/* ---- regions --------------------------------------------------------------------------------- */

void map_copy(struct oracle_map *to, const struct oracle_map *from)
{
    to->count = from->count;
    memcpy(to->region, from->region, from->count * sizeof from->region[0]);
}

const struct oracle_region *map_above(const struct oracle_map *map, vaddr_t address)
{
    for (unsigned i = 0; i < map->count; i++) {
        if (address < map->region[i].end)
            return &map->region[i];
    }
    return NULL;
}

const struct oracle_region *map_find(const struct oracle_map *map, vaddr_t address)
{
    const struct oracle_region *r = map_above(map, address);

    return r && r->start <= address ? r : NULL;
}

bool map_whole(const struct oracle_map *map, vaddr_t low, vaddr_t high)
{
    while (low < high) {
        const struct oracle_region *r = map_find(map, low);

        if (!r)
            return false;
        low = r->end;
    }
    return true;
}

bool map_any(const struct oracle_map *map, vaddr_t low, vaddr_t high)
{
    const struct oracle_region *r = map_above(map, low);

    return r && r->start < high;
}

bool map_gap(const struct oracle_map *map, vaddr_t low, vaddr_t high, uint64_t length, vaddr_t *out)
{
    vaddr_t end = high;

    for (unsigned i = map->count; i-- > 0;) {
        if (map->region[i].end <= end && end - map->region[i].end >= length) {
            *out = end - length;
            return true;
        }
        end = map->region[i].start;
    }
    *out = end - length;
    return end >= low && end - low >= length;
}

uint64_t map_charge(const struct oracle_map *map)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < map->count; i++) {
        if (map->region[i].charged)
            pages += (map->region[i].end - map->region[i].start) >> QUIRE_PAGE_SHIFT;
    }
    return pages;
}

static bool alike(const struct oracle_region *a, const struct oracle_region *b)
{
    return a->prot == b->prot && a->flags == b->flags && a->name == b->name &&
           a->charged == b->charged && a->section == b->section && a->shift == b->shift;
}

/* The part of `r` within [low, high), after all that is in the list. */
static void append(struct oracle_map *map, const struct oracle_region *r, vaddr_t low, vaddr_t high)
{
    struct oracle_region *last = map->count ? &map->region[map->count - 1] : NULL;

    low = larger(low, r->start);
    high = smaller(high, r->end);
    if (low >= high)
        return;
    if (last && last->end == low && alike(last, r)) {
        last->end = high;
        return;
    }
    if (map->count == ORACLE_REGIONS_MAX)
        abort();
    map->region[map->count] = *r;
    map->region[map->count].start = low;
    map->region[map->count++].end = high;
}

static void charge(struct oracle_region *r)
{
    bool never = (r->flags & (QUIRE_REGION_RESERVED | QUIRE_REGION_SHARED)) != 0;

    r->charged = !never && (r->charged || (r->prot & QUIRE_WRITE));
}

void map_cut(struct oracle_map *map, vaddr_t low, vaddr_t high)
{
    struct oracle_map old;

    map_copy(&old, map);
    map->count = 0;
    for (unsigned i = 0; i < old.count; i++) {
        append(map, &old.region[i], 0, low);
        append(map, &old.region[i], high, UINT64_MAX);
    }
}

void map_put(struct oracle_map *map, struct oracle_region region)
{
    struct oracle_map old;
    unsigned i = 0;

    charge(&region);
    map_cut(map, region.start, region.end);
    map_copy(&old, map);
    map->count = 0;
    while (i < old.count && old.region[i].start < region.start)
        append(map, &old.region[i++], 0, UINT64_MAX);
    append(map, &region, 0, UINT64_MAX);
    while (i < old.count)
        append(map, &old.region[i++], 0, UINT64_MAX);
}

void map_alter(struct oracle_map *map, vaddr_t low, vaddr_t high, const struct oracle_alter *alter)
{
    struct oracle_map old;

    map_copy(&old, map);
    map->count = 0;
    for (unsigned i = 0; i < old.count; i++) {
        struct oracle_region r = old.region[i];

        r.flags = (r.flags & ~alter->clear) | alter->set;
        r.prot = alter->set_prot ? alter->prot : r.prot;
        r.name = alter->set_name ? alter->name : r.name;
        charge(&r);
        append(map, &old.region[i], 0, low);
        append(map, &r, low, high);
        append(map, &old.region[i], high, UINT64_MAX);
    }
}

void map_move(struct oracle_map *map, vaddr_t from, uint64_t old, vaddr_t to, uint64_t length)
{
    struct oracle_map moved = {0};
    vaddr_t end = from + (old < length ? old : length);

    for (unsigned i = 0; i < map->count; i++)
        append(&moved, &map->region[i], from, end);
    map_cut(map, from, from + old);
    map_cut(map, to, to + length);
    for (unsigned i = 0; i < moved.count; i++) {
        struct oracle_region r = moved.region[i];

        r.start += to - from;
        r.end += to - from;
        r.shift -= r.section ? (to >> QUIRE_PAGE_SHIFT) - (from >> QUIRE_PAGE_SHIFT) : 0;
        if (i + 1 == moved.count)
            r.end = to + length;
        map_put(map, r);
    }
}

/* ---- sets ------------------------------------------------------------------------------------ */

bool ranges_have(const struct oracle_ranges *set, vaddr_t address)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (set->range[i].low <= address && address < set->range[i].high)
            return true;
    }
    return false;
}

static void ranges_append(struct oracle_ranges *set, vaddr_t low, vaddr_t high)
{
    if (low >= high)
        return;
    if (set->count == ORACLE_RANGES_MAX) {
        set->lost = true;
        return;
    }
    set->range[set->count].low = low;
    set->range[set->count++].high = high;
}

void ranges_remove(struct oracle_ranges *set, vaddr_t low, vaddr_t high)
{
    unsigned count = set->count;

    for (unsigned i = 0; i < count; i++) {
        vaddr_t start = set->range[i].low, end = set->range[i].high;

        if (end <= low || start >= high)
            continue;
        /* What remains above goes to the end of the list; what remains below stays here. */
        ranges_append(set, larger(start, high), end);
        set->range[i].high = larger(start, smaller(end, low));
    }
    for (unsigned i = 0; i < set->count;) {
        if (set->range[i].low == set->range[i].high)
            set->range[i] = set->range[--set->count];
        else
            i++;
    }
}

void ranges_add(struct oracle_ranges *set, vaddr_t low, vaddr_t high)
{
    for (unsigned i = 0; i < set->count;) {
        if (set->range[i].high < low || set->range[i].low > high) {
            i++;
            continue;
        }
        low = smaller(low, set->range[i].low);
        high = larger(high, set->range[i].high);
        set->range[i] = set->range[--set->count];
        i = 0;
    }
    ranges_append(set, low, high);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static const struct oracle_page *owned(const struct oracle *o, uint64_t number)
{
    for (unsigned i = 0; i < o->page_count; i++) {
        if (o->page[i].number == number)
            return &o->page[i];
    }
    return NULL;
}

bool oracle_owns(const struct oracle *o, uint64_t number) { return owned(o, number) != NULL; }

const unsigned char *oracle_bytes(const struct oracle *o, uint64_t number)
{
    static const unsigned char zeros[QUIRE_PAGE_SIZE];
    const struct oracle_page *page = owned(o, number);
    const struct oracle_region *r = map_find(&o->map, number << QUIRE_PAGE_SHIFT);

    if (page)
        return page->bytes;
    if (!r || !r->section || (r->flags & QUIRE_REGION_RESERVED) ||
        number + r->shift >= section_end(r->section))
        return zeros;
    return r->section->bytes + ((number + r->shift) << QUIRE_PAGE_SHIFT);
}

unsigned char *oracle_touch(struct oracle *o, uint64_t number)
{
    for (unsigned i = 0; i < o->page_count; i++) {
        if (o->page[i].number == number)
            return o->page[i].bytes;
    }
    if (o->page_count == ORACLE_PAGES_MAX)
        abort();
    struct oracle_page *page = &o->page[o->page_count];
    page->number = number;
    memcpy(page->bytes, oracle_bytes(o, number), sizeof page->bytes);
    o->page_count++;
    return page->bytes;
}

/* Where the bytes of a page are stored: in the section, or in a page of the space's own. */
static unsigned char *stored(struct oracle *o, uint64_t number)
{
    const struct oracle_region *r = map_find(&o->map, number << QUIRE_PAGE_SHIFT);

    if (r && (r->flags & QUIRE_REGION_SHARED))
        return r->section->bytes + ((number + r->shift) << QUIRE_PAGE_SHIFT);
    return oracle_touch(o, number);
}

void oracle_write(struct oracle *o, vaddr_t address, const unsigned char *from, uint64_t length)
{
    for (uint64_t done = 0; done < length;) {
        vaddr_t at = address + done;
        uint32_t offset = (uint32_t)(at & (QUIRE_PAGE_SIZE - 1));
        uint64_t n = smaller(QUIRE_PAGE_SIZE - offset, length - done);

        memcpy(stored(o, at >> QUIRE_PAGE_SHIFT) + offset, from + done, n);
        done += n;
    }
}

void oracle_discard(struct oracle *o, vaddr_t low, vaddr_t high)
{
    for (unsigned i = 0; i < o->page_count;) {
        vaddr_t address = o->page[i].number << QUIRE_PAGE_SHIFT;

        if (low <= address && address < high)
            o->page[i] = o->page[--o->page_count];
        else
            i++;
    }
}

/* ---- spaces ---------------------------------------------------------------------------------- */

void oracle_clear(struct oracle *o)
{
    o->map.count = o->page_count = o->guards.count = 0;
    o->guards.lost = false;
}

void oracle_fork(struct oracle *child, const struct oracle *parent)
{
    map_copy(&child->map, &parent->map);
    map_alter(&child->map, 0, UINT64_MAX, &(struct oracle_alter){.clear = QUIRE_REGION_LOCKED});
    child->guards = parent->guards;
    child->page_count = parent->page_count;
    memcpy(child->page, parent->page, parent->page_count * sizeof parent->page[0]);
    for (unsigned i = 0; i < parent->map.count; i++) {
        const struct oracle_region *r = &parent->map.region[i];

        if (r->flags & QUIRE_REGION_FORK_OMIT) {
            oracle_unmap(child, r->start, r->end);
        } else if (r->flags & QUIRE_REGION_FORK_WIPE) {
            oracle_discard(child, r->start, r->end);
            ranges_remove(&child->guards, r->start, r->end);
        }
    }
}

void oracle_unmap(struct oracle *o, vaddr_t low, vaddr_t high)
{
    map_cut(&o->map, low, high);
    oracle_discard(o, low, high);
    ranges_remove(&o->guards, low, high);
}

void oracle_move(struct oracle *o, vaddr_t from, uint64_t old, vaddr_t to, uint64_t length)
{
    vaddr_t end = from + (old < length ? old : length);
    struct oracle_ranges guards = o->guards;
    struct oracle_map map;

    map_copy(&map, &o->map);
    map_move(&map, from, old, to, length);
    if (length < old) { /* the rest is as unmapped */
        oracle_discard(o, end, from + old);
        ranges_remove(&o->guards, end, from + old);
    }
    if (to != from) {
        oracle_discard(o, to, to + length);
        ranges_remove(&o->guards, to, to + length);
        for (unsigned i = 0; i < o->page_count; i++) {
            vaddr_t at = o->page[i].number << QUIRE_PAGE_SHIFT;

            if (from <= at && at < end)
                o->page[i].number = (at - from + to) >> QUIRE_PAGE_SHIFT;
        }
        ranges_remove(&o->guards, from, end);
        for (unsigned i = 0; i < guards.count; i++) {
            vaddr_t low = larger(guards.range[i].low, from);
            vaddr_t high = smaller(guards.range[i].high, end);

            if (low < high)
                ranges_add(&o->guards, low - from + to, high - from + to);
        }
    }
    map_copy(&o->map, &map);
}
