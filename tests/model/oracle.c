/* SPDX-License-Identifier: MIT */
/*
 * Lists of regions and pages, kept in the simplest way there is (oracle.h).
 */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

void oracle_copy(struct oracle *to, const struct oracle *from)
{
    to->region_count = from->region_count;
    to->page_count = from->page_count;
    memcpy(to->region, from->region, from->region_count * sizeof from->region[0]);
    memcpy(to->page, from->page, from->page_count * sizeof from->page[0]);
}

const struct oracle_region *oracle_find(const struct oracle *o, vaddr_t address)
{
    for (unsigned i = 0; i < o->region_count; i++) {
        if (o->region[i].start <= address && address < o->region[i].end)
            return &o->region[i];
    }
    return NULL;
}

bool oracle_whole(const struct oracle *o, vaddr_t low, vaddr_t high)
{
    while (low < high) {
        const struct oracle_region *r = oracle_find(o, low);

        if (!r)
            return false;
        low = r->end;
    }
    return true;
}

bool oracle_any(const struct oracle *o, vaddr_t low, vaddr_t high)
{
    for (unsigned i = 0; i < o->region_count; i++) {
        if (o->region[i].start < high && low < o->region[i].end)
            return true;
    }
    return false;
}

bool oracle_gap(const struct oracle *o, vaddr_t low, vaddr_t high, uint64_t length, vaddr_t *out)
{
    vaddr_t end = high;

    for (unsigned i = o->region_count; i-- > 0;) {
        if (o->region[i].end <= end && end - o->region[i].end >= length) {
            *out = end - length;
            return true;
        }
        end = o->region[i].start;
    }
    *out = end - length;
    return end >= low && end - low >= length;
}

/* ---- regions --------------------------------------------------------------------------------- */

static void region_add(struct oracle *o, vaddr_t start, vaddr_t end, uint32_t prot)
{
    struct oracle_region *last = o->region_count ? &o->region[o->region_count - 1] : NULL;

    if (start >= end)
        return;
    if (last && last->end == start && last->prot == prot) {
        last->end = end;
        return;
    }
    if (o->region_count == ORACLE_REGIONS_MAX)
        abort();
    o->region[o->region_count++] = (struct oracle_region){start, end, prot};
}

/* Write the list anew, with [low, high) changed: to `prot` where mapped, unmapped, or mapped. */
enum change { UNMAP, MAP, PROTECT };

static void regions_change(struct oracle *o, vaddr_t low, vaddr_t high, enum change change,
                           uint32_t prot)
{
    struct oracle_region old[ORACLE_REGIONS_MAX];
    unsigned count = o->region_count;
    bool placed = change != MAP;

    memcpy(old, o->region, count * sizeof old[0]);
    o->region_count = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct oracle_region *r = &old[i];

        region_add(o, r->start, r->end < low ? r->end : low, r->prot);
        if (!placed && r->end > low) {
            region_add(o, low, high, prot);
            placed = true;
        }
        if (change == PROTECT)
            region_add(o, r->start > low ? r->start : low, r->end < high ? r->end : high, prot);
        region_add(o, r->start > high ? r->start : high, r->end, r->prot);
    }
    if (!placed)
        region_add(o, low, high, prot);
}

void oracle_unmap(struct oracle *o, vaddr_t low, vaddr_t high)
{
    regions_change(o, low, high, UNMAP, 0);
    for (unsigned i = 0; i < o->page_count;) {
        vaddr_t address = o->page[i].number << QUIRE_PAGE_SHIFT;

        if (low <= address && address < high)
            o->page[i] = o->page[--o->page_count];
        else
            i++;
    }
}

void oracle_map(struct oracle *o, vaddr_t low, vaddr_t high, uint32_t prot)
{
    oracle_unmap(o, low, high);
    regions_change(o, low, high, MAP, prot);
}

void oracle_protect(struct oracle *o, vaddr_t low, vaddr_t high, uint32_t prot)
{
    regions_change(o, low, high, PROTECT, prot);
}

/* ---- pages ----------------------------------------------------------------------------------- */

const unsigned char *oracle_bytes(const struct oracle *o, uint64_t number)
{
    static const unsigned char zeros[QUIRE_PAGE_SIZE];

    for (unsigned i = 0; i < o->page_count; i++) {
        if (o->page[i].number == number)
            return o->page[i].bytes;
    }
    return zeros;
}

unsigned char *oracle_touch(struct oracle *o, uint64_t number)
{
    for (unsigned i = 0; i < o->page_count; i++) {
        if (o->page[i].number == number)
            return o->page[i].bytes;
    }
    if (o->page_count == ORACLE_PAGES_MAX)
        abort();
    struct oracle_page *page = &o->page[o->page_count++];
    page->number = number;
    memset(page->bytes, 0, sizeof page->bytes);
    return page->bytes;
}
