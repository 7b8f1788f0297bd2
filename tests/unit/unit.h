/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share: a world that is audited after each step and counted at its end.
 *
 * begin() makes a world in which a space has already lived and died, so that frames which are taken
 * once and for ever (the zero page) are out of the count; finish() wants every space gone and every
 * frame back.  Addresses are written as numbers of pages and leaves, so that a test runs in both
 * geometries.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include "check.h"
#include "world.h"

#define R QUIRE_READ
#define W QUIRE_WRITE
#define X QUIRE_EXEC
#define RW (QUIRE_READ | QUIRE_WRITE)

enum { MICRO = QUIRE_ADDRESS_BITS < 32 };

/* The n-th page; bytes of a leaf table's range, and of a range one level higher. */
#define PAGE(n) ((vaddr_t)(n) << QUIRE_PAGE_SHIFT)
#define LEAF_PAGES ((uint64_t)QUIRE_TABLE_ENTRIES)
#define LEAF PAGE(LEAF_PAGES)

struct unit {
    struct test_world w;
    uint32_t free_at_start;
};

static inline struct quire_stats stats_of(struct unit *u)
{
    struct quire_stats s;

    quire_stats(u->w.q, &s);
    return s;
}

/* Nothing inside may contradict anything else. */
static inline void audit(struct unit *u)
{
    struct quire_stats s = stats_of(u);
    uint64_t known = s.frames_free + s.frames_data + s.frames_table + s.frames_side +
                     s.frames_node + s.frames_taken + s.frames_listed;

    CHECK(test_world_findings(&u->w) == 0);
    CHECK(u->w.machine->violations == 0);
    CHECK(known == s.frames || known + 1 == s.frames); /* the zero page is in none of them */
}

static inline struct quire_space *space_new(struct unit *u)
{
    struct quire_space *space;

    CHECK_OK(quire_space_create(u->w.q, &space));
    return space;
}

static inline struct quire_space *fork_of(struct unit *u, struct quire_space *parent)
{
    struct quire_space *child;

    CHECK_OK(quire_space_fork(parent, &child));
    audit(u);
    return child;
}

static inline void end(struct unit *u, struct quire_space *space)
{
    test_end(&u->w, space);
    audit(u);
}

static inline void map(struct unit *u, struct quire_space *space, vaddr_t address, uint64_t length,
                       uint32_t prot)
{
    CHECK_OK(quire_map(space, &address, length, prot, QUIRE_MAP_FIXED));
    audit(u);
}

static inline void unmap(struct unit *u, struct quire_space *space, vaddr_t address,
                         uint64_t length)
{
    CHECK_OK(quire_unmap(space, address, length));
    audit(u);
}

static inline void protect(struct unit *u, struct quire_space *space, vaddr_t address,
                           uint64_t length, uint32_t prot)
{
    CHECK_OK(quire_protect(space, address, length, prot));
    audit(u);
}

/* A store or load by CPU 0 that must be allowed. */
static inline void put(struct unit *u, struct quire_space *space, vaddr_t address, uint8_t value)
{
    CHECK_OK(test_store(&u->w, space, address, value));
    audit(u);
}

/* Page i of the first `count` pages gets the byte i + 1. */
static inline void put_each(struct unit *u, struct quire_space *space, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        put(u, space, PAGE(i), (uint8_t)(i + 1));
}

static inline uint8_t get(struct unit *u, struct quire_space *space, vaddr_t address)
{
    uint8_t value = 0;

    CHECK_OK(test_load(&u->w, space, address, &value));
    audit(u);
    return value;
}

static inline struct quire_page page_at(struct quire_space *space, vaddr_t address)
{
    struct quire_page page;

    quire_page(space, address, &page);
    return page;
}

static inline void begin_with(struct unit *u, const struct test_options *options)
{
    struct quire_space *space;
    uint8_t byte;

    test_world_create(&u->w, options);
    if (u->w.options.no_frames)
        return;
    space = space_new(u);
    map(u, space, 0, PAGE(1), RW);
    CHECK_OK(test_load(&u->w, space, 0, &byte));
    end(u, space);
    u->free_at_start = quire_free_frames(u->w.q);
}

static inline void begin(struct unit *u) { begin_with(u, NULL); }

/* All spaces are destroyed: everything that was taken has come back. */
static inline void finish(struct unit *u)
{
    struct quire_stats s = stats_of(u);

    audit(u);
    CHECK(s.spaces == 0);
    CHECK(s.frames_data == 0);
    CHECK(s.frames_table == 0);
    CHECK(s.frames_side == 0);
    CHECK(s.frames_node == 0);
    CHECK(s.table_share_sum == 0);
    CHECK(quire_free_frames(u->w.q) == u->free_at_start);
    test_world_destroy(&u->w);
}

#endif
