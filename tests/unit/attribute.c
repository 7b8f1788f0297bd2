/* SPDX-License-Identifier: MIT */
/*
 * Who pays: quire_attribute.  The parts are known by hand for small families, and sum to the frames
 * that are there, to the unit, for any.
 */
#include "unit.h"

#define FRAME (UINT64_C(1) << 32) /* units of a part */

enum { SPACES = 8 };

struct parts {
    unsigned count;
    struct quire_space *space[SPACES];
    uint64_t part[SPACES];
};

static void keep(void *context, struct quire_space *space, uint64_t part)
{
    struct parts *p = context;

    CHECK(p->count < SPACES);
    p->space[p->count] = space;
    p->part[p->count++] = part;
}

/* What it keeps its sums in is as before. */
static void leaves_no_trace(struct unit *u)
{
    void *copy = test_world_copy(&u->w);
    struct parts p = {0};

    (void)quire_attribute(u->w.q, keep, &p);
    CHECK(test_world_unchanged(&u->w, copy));
    free(copy);
}

/* All parts; what must hold for any of them: every space once, and the exact sum of what they
 * reach: all frames but `orphans`. */
static struct parts parts_without(struct unit *u, uint64_t orphans)
{
    struct parts p = {0};
    uint64_t sum = 0, reached = quire_attribute(u->w.q, keep, &p);
    struct quire_stats s = stats_of(u);

    audit(u);
    leaves_no_trace(u);
    CHECK(p.count == s.spaces);
    for (unsigned i = 0; i < p.count; i++) {
        sum += p.part[i];
        for (unsigned j = 0; j < i; j++)
            CHECK(p.space[i] != p.space[j]);
    }
    CHECK(sum == reached * FRAME);
    CHECK(reached + orphans == s.frames_data + s.frames_table + s.frames_side);
    return p;
}

static struct parts parts_of(struct unit *u) { return parts_without(u, 0); }

static uint64_t part_of(struct unit *u, const struct quire_space *space)
{
    struct parts p = parts_of(u);

    for (unsigned i = 0; i < p.count; i++) {
        if (p.space[i] == space)
            return p.part[i];
    }
    CHECK(!"the space has no part");
    return 0;
}

/* ---- known parts ----------------------------------------------------------------------------- */

/*
 * Goal: a space pays for all of its own, and half of what two share.  Method: pages in two leaves,
 * a fork, writes, an exit; each part is counted by hand.
 */
static void two(void)
{
    struct unit u;
    struct quire_space *a, *b;
    const uint64_t path = QUIRE_LEVELS * FRAME; /* the tables from the root to one leaf */

    begin(&u);
    a = space_new(&u);
    CHECK(part_of(&u, a) == FRAME);
    map(&u, a, 0, 2 * LEAF, RW);
    put_each(&u, a, 2);
    put(&u, a, LEAF, 1);
    (void)get(&u, a, LEAF + PAGE(1)); /* the zero page is nobody's */
    CHECK(part_of(&u, a) == path + FRAME + 3 * FRAME);

    b = fork_of(&u, a);
    CHECK(part_of(&u, a) == (path + 4 * FRAME) / 2);
    CHECK(part_of(&u, b) == (path + 4 * FRAME) / 2);

    /* A keeps the frozen leaf, its side frame and page 0; page 1 and the other leaf are halved. */
    put(&u, b, PAGE(0), 9);
    CHECK(part_of(&u, a) == path + 2 * FRAME + FRAME / 2 + 2 * (FRAME / 2));
    CHECK(part_of(&u, b) == path + FRAME + FRAME / 2 + 2 * (FRAME / 2));

    /* What A leaves behind for page 1, a prototype table and its side frame, is B's now. */
    end(&u, a);
    CHECK(part_of(&u, b) == path + 2 * FRAME + 2 * FRAME + 2 * FRAME);
    end(&u, b);
    finish(&u);
}

/*
 * Goal: what does not divide evenly is handed out whole all the same.  Method: three spaces share
 * all, then seven; the parts differ by as little as they can at each step of the way.
 */
static void odd(void)
{
    struct unit u;
    struct quire_space *space[7];

    begin(&u);
    space[0] = space_new(&u);
    map(&u, space[0], 0, LEAF, RW);
    put_each(&u, space[0], 3);
    for (unsigned n = 1; n < 7; n++) {
        const uint64_t all = (QUIRE_LEVELS + 3) * FRAME;
        struct parts p;

        space[n] = fork_of(&u, space[0]);
        p = parts_of(&u);
        for (unsigned i = 0; i < p.count; i++) {
            CHECK(p.part[i] + QUIRE_LEVELS + 3 > all / (n + 1));
            CHECK(p.part[i] < all / (n + 1) + QUIRE_LEVELS + 3);
        }
    }
    for (unsigned i = 0; i < 7; i++)
        end(&u, space[i]);
    finish(&u);
}

/* Goal: pages behind a hidden subtree, and pages that are barred, are paid like others. */
static void hidden_and_barred(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put_each(&u, a, 2);
    protect(&u, a, 0, LEAF, QUIRE_NONE);
    CHECK(part_of(&u, a) == (QUIRE_LEVELS + 2) * FRAME);
    b = fork_of(&u, a);
    protect(&u, b, 0, LEAF, RW);
    put(&u, b, PAGE(0), 5);
    (void)parts_of(&u);
    protect(&u, b, 0, LEAF, QUIRE_NONE);
    (void)parts_of(&u);
    end(&u, a);
    (void)parts_of(&u);
    end(&u, b);
    finish(&u);
}

static void attribute_within(struct test_world *world) { (void)parts_of(world->context); }

/*
 * Goal: a page that only a pin keeps is nobody's; tables that wait to be dropped cost nobody.
 * Method: a pinned page is unmapped; parts are asked for between the slices in which a space goes.
 */
static void left_behind(void)
{
    struct unit u;
    struct quire_space *a, *b;
    struct quire_run run;
    struct quire_pin pin;

    begin_with(&u, &(struct test_options){.max_pins = 1});
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put_each(&u, a, 3);
    CHECK_OK(quire_pin(a, PAGE(1), 1, QUIRE_WRITE, &run, 1, &pin));
    b = fork_of(&u, a);
    (void)parts_of(&u);
    unmap(&u, a, PAGE(1), PAGE(1));
    (void)parts_without(&u, 1);
    CHECK_OK(quire_unpin(u.w.q, &pin));
    (void)parts_of(&u);
    put(&u, b, PAGE(2), 9);
    u.w.context = &u;
    u.w.yield = attribute_within;
    end(&u, b);
    CHECK(u.w.yields > 0);
    u.w.yield = NULL;
    end(&u, a);
    finish(&u);
}

/* ---- any parts ------------------------------------------------------------------------------- */

static void step(struct unit *u, struct quire_space **space, unsigned *live, uint64_t *random)
{
    unsigned i = (unsigned)(test_random(random) % *live);
    vaddr_t page = PAGE(test_random(random) % 2 * LEAF_PAGES + test_random(random) % 4);
    uint64_t kind = test_random(random) % 16;

    if (kind < 8)
        put(u, space[i], page, (uint8_t)kind);
    else if (kind < 10)
        (void)get(u, space[i], page);
    else if (kind < 13 && *live < SPACES)
        space[(*live)++] = fork_of(u, space[i]);
    else if (kind < 14)
        protect(u, space[i], 0, 2 * LEAF, RW);
    else if (*live > 1) {
        end(u, space[i]);
        space[i] = space[--*live];
    }
}

/*
 * Goal: the sum is exact whatever the family has done.  Method: random writes, reads, forks and
 * exits in forests of up to eight spaces; parts_of after each step.
 */
static void forests(void)
{
    uint64_t random = 1, sums = 0;

    for (unsigned n = 0; n < (MICRO ? 60 : 6); n++) {
        struct unit u;
        struct quire_space *space[SPACES];
        unsigned live = 2;

        begin_with(&u, &(struct test_options){.frames = 400});
        for (unsigned i = 0; i < live; i++) {
            space[i] = space_new(&u);
            map(&u, space[i], 0, 2 * LEAF, RW);
        }
        for (unsigned i = 0; i < 80; i++, sums++) {
            step(&u, space, &live, &random);
            (void)parts_of(&u);
        }
        while (live > 0)
            end(&u, space[--live]);
        finish(&u);
    }
    FIGURES("%llu sums", (unsigned long long)sums);
}

CHECK_MAIN("unit.attribute", TEST(two), TEST(odd), TEST(hidden_and_barred), TEST(left_behind),
           TEST(forests))
