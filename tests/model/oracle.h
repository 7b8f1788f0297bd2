/* SPDX-License-Identifier: MIT */
/*
 * What a space is, without tables: a list of regions, the bytes of the pages that are its own, and
 * the ranges that are guards; and what a section is: bytes.
 *
 * A page that is not in the list of pages reads as zeros, or, in a view, as what the section holds
 * now; a page of a shared view is never in the list.  Fork is a copy of everything.  Nothing
 * here shares code or ideas with the manager, and everything is linear and plain.
 */
#ifndef TESTS_MODEL_ORACLE_H
#define TESTS_MODEL_ORACLE_H

#include <quire/quire.h>

enum {
    ORACLE_REGIONS_MAX = 96,
    ORACLE_PAGES_MAX = 144,
    ORACLE_RANGES_MAX = 64,
    ORACLE_SECTION_PAGES = 24,
};

/* What lies beyond `size` in its page is what views have written there. */
struct oracle_section {
    uint64_t size;
    unsigned char bytes[ORACLE_SECTION_PAGES * QUIRE_PAGE_SIZE];
};

struct oracle_region {
    vaddr_t start, end;
    uint32_t prot, flags; /* QUIRE_REGION_ */
    uint64_t name;
    bool charged; /* was writable and committed at some time: its pages are promised */
    struct oracle_section *section; /* of a view */
    uint64_t shift;                 /* its page minus the number of the page that shows it */
};

/* Regions are in order and disjoint; neighbours that touch differ in something. */
struct oracle_map {
    unsigned count;
    struct oracle_region region[ORACLE_REGIONS_MAX];
};

struct oracle_page {
    uint64_t number; /* address >> QUIRE_PAGE_SHIFT */
    unsigned char bytes[QUIRE_PAGE_SIZE];
};

/* A set of addresses: ranges that neither meet nor touch, in no order. */
struct oracle_ranges {
    unsigned count;
    bool lost; /* there were too many ranges: not known any more */
    struct {
        vaddr_t low, high;
    } range[ORACLE_RANGES_MAX];
};

struct oracle {
    struct oracle_map map;
    struct oracle_ranges guards;
    unsigned page_count;
    struct oracle_page page[ORACLE_PAGES_MAX];
};

/* ---- regions ------------------------------------------------------------------------------- */

void map_copy(struct oracle_map *to, const struct oracle_map *from);
/* The region that holds `address`, or the first above, or null. */
const struct oracle_region *map_above(const struct oracle_map *map, vaddr_t address);
/* The region that holds `address`, or null. */
const struct oracle_region *map_find(const struct oracle_map *map, vaddr_t address);
/* Is all, or any, of [low, high) mapped? */
bool map_whole(const struct oracle_map *map, vaddr_t low, vaddr_t high);
bool map_any(const struct oracle_map *map, vaddr_t low, vaddr_t high);
/* The highest hole of `length` bytes within [low, high). */
bool map_gap(const struct oracle_map *map, vaddr_t low, vaddr_t high, uint64_t length,
             vaddr_t *out);
/* Pages that are promised. */
uint64_t map_charge(const struct oracle_map *map);

/* What a change gives each region; the rest of it stays. */
struct oracle_alter {
    bool set_prot, set_name;
    uint32_t prot, clear, set; /* clear, set: flags; a region that becomes reserved is not charged
                                */
    uint64_t name;
};
void map_cut(struct oracle_map *map, vaddr_t low, vaddr_t high);
/* `region` in the place of whatever was there. */
void map_put(struct oracle_map *map, struct oracle_region region);
void map_alter(struct oracle_map *map, vaddr_t low, vaddr_t high, const struct oracle_alter *alter);
/* [from, from + old) goes to `to` and becomes `length` long; its last region grows with it. */
void map_move(struct oracle_map *map, vaddr_t from, uint64_t old, vaddr_t to, uint64_t length);

/* ---- sets ---------------------------------------------------------------------------------- */

bool ranges_have(const struct oracle_ranges *set, vaddr_t address);
void ranges_add(struct oracle_ranges *set, vaddr_t low, vaddr_t high);
void ranges_remove(struct oracle_ranges *set, vaddr_t low, vaddr_t high);

/* ---- pages --------------------------------------------------------------------------------- */

/* The first `end` pages of a section hold bytes. */
static inline uint64_t section_end(const struct oracle_section *s)
{
    return (s->size + QUIRE_PAGE_SIZE - 1) >> QUIRE_PAGE_SHIFT;
}
/* Is the page one that is in the list? */
bool oracle_owns(const struct oracle *o, uint64_t number);
/* The bytes of a page; zeros if there are none. */
const unsigned char *oracle_bytes(const struct oracle *o, uint64_t number);
/* The page, made if need be; there has to be room. */
unsigned char *oracle_touch(struct oracle *o, uint64_t number);
void oracle_write(struct oracle *o, vaddr_t address, const unsigned char *from, uint64_t length);
/* The pages of the range read as zeros again. */
void oracle_discard(struct oracle *o, vaddr_t low, vaddr_t high);

/* ---- spaces -------------------------------------------------------------------------------- */

void oracle_clear(struct oracle *o);
/* What fork makes of it, with what was advised. */
void oracle_fork(struct oracle *child, const struct oracle *parent);
/* Pages, guards and regions of the range go. */
void oracle_unmap(struct oracle *o, vaddr_t low, vaddr_t high);
/* The same for content: as map_move, with pages and guards. */
void oracle_move(struct oracle *o, vaddr_t from, uint64_t old, vaddr_t to, uint64_t length);

#endif
