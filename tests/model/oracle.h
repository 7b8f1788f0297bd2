/* SPDX-License-Identifier: MIT */
/*
 * What a space is, without tables: a list of regions and the bytes of the pages that were written.
 *
 * A page that is not in the list of pages reads as zeros.  Fork is a copy of everything.  Nothing
 * here shares code or ideas with the manager, and everything is linear and plain.
 */
#ifndef TESTS_MODEL_ORACLE_H
#define TESTS_MODEL_ORACLE_H

#include <quire/quire.h>

enum { ORACLE_REGIONS_MAX = 64, ORACLE_PAGES_MAX = 128 };

struct oracle_region {
    vaddr_t start, end;
    uint32_t prot;
};

struct oracle_page {
    uint64_t number; /* address >> QUIRE_PAGE_SHIFT */
    unsigned char bytes[QUIRE_PAGE_SIZE];
};

/* Regions are in order and disjoint; neighbours that touch differ in protection. */
struct oracle {
    unsigned region_count, page_count;
    struct oracle_region region[ORACLE_REGIONS_MAX];
    struct oracle_page page[ORACLE_PAGES_MAX];
};

void oracle_copy(struct oracle *to, const struct oracle *from);

/* The region that holds `address`, or null. */
const struct oracle_region *oracle_find(const struct oracle *o, vaddr_t address);
/* Is all, or any, of [low, high) mapped? */
bool oracle_whole(const struct oracle *o, vaddr_t low, vaddr_t high);
bool oracle_any(const struct oracle *o, vaddr_t low, vaddr_t high);
/* The highest hole of `length` bytes within [low, high). */
bool oracle_gap(const struct oracle *o, vaddr_t low, vaddr_t high, uint64_t length, vaddr_t *out);

void oracle_unmap(struct oracle *o, vaddr_t low, vaddr_t high);
/* Map: as unmap, then a region of `prot`.  Protect: the pages stay. */
void oracle_map(struct oracle *o, vaddr_t low, vaddr_t high, uint32_t prot);
void oracle_protect(struct oracle *o, vaddr_t low, vaddr_t high, uint32_t prot);

/* The bytes of a page; zeros if it was never written. */
const unsigned char *oracle_bytes(const struct oracle *o, uint64_t number);
/* The page, made if need be; there has to be room. */
unsigned char *oracle_touch(struct oracle *o, uint64_t number);

#endif
