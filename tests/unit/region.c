/* SPDX-License-Identifier: MIT */
/*
 * Regions: where mappings go, how they merge and split, and that a fork's twin keeps its own.
 *
 * The reference is an array with one protection for each page, in which everything is looked for
 * page by page.
 */
#include "unit.h"

#define UNMAPPED UINT32_MAX

enum { MODEL_PAGES = MICRO ? 48 : 300, MODEL_LOW = 8 };

static struct quire_region region_above(struct quire_space *space, vaddr_t address)
{
    struct quire_region region;

    CHECK_OK(quire_query(space, address, &region));
    return region;
}

static void expect_region(struct quire_space *space, vaddr_t address, uint64_t first, uint64_t last,
                          uint32_t prot)
{
    struct quire_region region = region_above(space, address);

    CHECK(region.start == PAGE(first));
    CHECK(region.end == PAGE(last));
    CHECK(region.prot == prot);
}

static unsigned region_count(struct quire_space *space)
{
    struct quire_region region = {.end = 0};
    unsigned count = 0;

    while (quire_query(space, region.end, &region) == QUIRE_OK)
        count++;
    return count;
}

/*
 * Goal: a hint is taken if its range is free, otherwise the highest gap that fits.  Method: the
 * same hint twice, then lengths that fit only where we left room.
 */
static void hints(void)
{
    struct unit u;
    struct quire_space *space;
    uint64_t end_page = MMU_ADDRESS_END >> QUIRE_PAGE_SHIFT;
    vaddr_t address = PAGE(5);

    begin(&u);
    space = space_new(&u);
    CHECK_OK(quire_map(space, &address, PAGE(2), RW, 0));
    CHECK(address == PAGE(5));
    address = PAGE(6); /* taken: goes to the top */
    CHECK_OK(quire_map(space, &address, PAGE(1), RW, 0));
    CHECK(address == PAGE(end_page - 1));
    address = PAGE(4); /* partly taken */
    CHECK_OK(quire_map(space, &address, PAGE(2), R, 0));
    CHECK(address == PAGE(end_page - 3));
    audit(&u);
    unmap(&u, space, PAGE(end_page - 1), PAGE(1));
    address = PAGE(5);
    CHECK_OK(quire_map(space, &address, PAGE(2), RW, 0)); /* the gap of one page does not fit */
    CHECK(address == PAGE(end_page - 5));
    address = PAGE(5);
    CHECK_OK(quire_map(space, &address, PAGE(1), RW, 0)); /* now it does */
    CHECK(address == PAGE(end_page - 1));
    address = PAGE(5);
    CHECK_STATUS(quire_map(space, &address, PAGE(end_page - 6), RW, 0), QUIRE_NO_ADDRESSES);
    CHECK(address == PAGE(5));
    CHECK_OK(quire_map(space, &address, PAGE(end_page - 12), RW, 0)); /* exactly the largest gap */
    CHECK(address == PAGE(7));
    CHECK_OK(quire_map(space, &address, PAGE(5), RW, 0));
    CHECK(address == PAGE(0));
    CHECK_STATUS(quire_map(space, &address, PAGE(1), RW, 0), QUIRE_NO_ADDRESSES);
    audit(&u);
    unmap(&u, space, 0, MMU_ADDRESS_END);
    CHECK(region_count(space) == 0);
    address = PAGE(1);
    CHECK_OK(quire_map(space, &address, MMU_ADDRESS_END, RW, 0)); /* everything there is */
    CHECK(address == 0);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: the embedder's low and high bound everything.  Method: a window in the middle, filled
 * without a hint and exceeded with one.
 */
static void bounds(void)
{
    struct unit u;
    struct quire_space *space;
    vaddr_t address = PAGE(9);

    test_world_create(&u.w, &(struct test_options){.low = PAGE(8), .high = PAGE(16)});
    space = space_new(&u);
    CHECK_OK(quire_map(space, &address, PAGE(8), RW, 0));
    CHECK(address == PAGE(8));
    CHECK_STATUS(quire_map(space, &address, PAGE(1), RW, 0), QUIRE_NO_ADDRESSES);
    address = PAGE(7);
    CHECK_STATUS(quire_map(space, &address, PAGE(1), RW, QUIRE_MAP_FIXED), QUIRE_OUT_OF_RANGE);
    address = PAGE(16);
    CHECK_STATUS(quire_map(space, &address, PAGE(1), RW, QUIRE_MAP_FIXED), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_unmap(space, PAGE(7), PAGE(2)), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_protect(space, PAGE(15), PAGE(2), R), QUIRE_OUT_OF_RANGE);
    put(&u, space, PAGE(8), 1);
    put(&u, space, PAGE(15), 2);
    CHECK_STATUS(quire_fault(space, PAGE(16), R), QUIRE_NOT_MAPPED);
    end(&u, space);
    test_world_destroy(&u.w);
}

/*
 * Goal: neighbours that agree are one region, and cutting makes two.  Method: map around a hole,
 * fill it, protect and unmap inside.
 */
static void merging_and_splitting(void)
{
    struct unit u;
    struct quire_space *space;

    begin(&u);
    space = space_new(&u);
    map(&u, space, PAGE(0), PAGE(4), RW);
    map(&u, space, PAGE(8), PAGE(4), RW);
    CHECK(region_count(space) == 2);
    map(&u, space, PAGE(4), PAGE(4), RW);
    CHECK(region_count(space) == 1);
    expect_region(space, 0, 0, 12, RW);
    map(&u, space, PAGE(12), PAGE(1), R);
    CHECK(region_count(space) == 2);
    protect(&u, space, PAGE(5), PAGE(2), R);
    expect_region(space, 0, 0, 5, RW);
    expect_region(space, PAGE(5), 5, 7, R);
    expect_region(space, PAGE(7), 7, 12, RW);
    CHECK(region_count(space) == 4);
    protect(&u, space, PAGE(0), PAGE(13), R);
    CHECK(region_count(space) == 1);
    unmap(&u, space, PAGE(6), PAGE(1));
    expect_region(space, 0, 0, 6, R);
    expect_region(space, PAGE(6), 7, 13, R);
    unmap(&u, space, PAGE(5), PAGE(3));
    expect_region(space, PAGE(5), 8, 13, R);
    protect(&u, space, PAGE(0), PAGE(5), R);
    CHECK(region_count(space) == 2);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: REPLACE takes the old pages away in the same step.  Method: write, replace the middle with
 * another protection, read zeros.
 */
static void replace(void)
{
    struct unit u;
    struct quire_space *space;
    vaddr_t address = PAGE(2);

    begin(&u);
    space = space_new(&u);
    map(&u, space, PAGE(0), PAGE(8), RW);
    put_each(&u, space, 8);
    CHECK_OK(quire_map(space, &address, PAGE(3), R, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
    audit(&u);
    CHECK(region_count(space) == 3);
    for (unsigned i = 0; i < 8; i++)
        CHECK(get(&u, space, PAGE(i)) == (i >= 2 && i < 5 ? 0 : i + 1));
    CHECK_STATUS(test_store(&u.w, space, PAGE(3), 1), QUIRE_PROTECTED);
    CHECK_OK(quire_map(space, &address, PAGE(6), RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
    CHECK(region_count(space) == 1);
    expect_region(space, 0, 0, 8, RW);
    put(&u, space, PAGE(3), 9);
    address = PAGE(20);
    CHECK_OK(quire_map(space, &address, PAGE(1), RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
    CHECK(region_count(space) == 2);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a twin's regions are its own from the fork on.  Method: change the parent's in every way
 * and compare the child's list with what it was.
 */
static void twins_have_their_own(void)
{
    struct unit u;
    struct quire_space *parent, *child;

    begin(&u);
    parent = space_new(&u);
    for (unsigned i = 0; i < 8; i++)
        map(&u, parent, PAGE(2 * i), PAGE(1), RW);
    child = fork_of(&u, parent);
    unmap(&u, parent, PAGE(0), PAGE(5));
    protect(&u, parent, PAGE(6), PAGE(1), R);
    map(&u, parent, PAGE(7), PAGE(1), R);
    map(&u, parent, PAGE(20), PAGE(8), RW);
    CHECK(region_count(child) == 8);
    for (unsigned i = 0; i < 8; i++)
        expect_region(child, PAGE(2 * i), 2 * i, 2 * i + 1, RW);
    unmap(&u, child, 0, MMU_ADDRESS_END);
    expect_region(parent, 0, 6, 8, R);
    end(&u, parent);
    map(&u, child, 0, PAGE(3), RW);
    expect_region(child, 0, 0, 3, RW);
    end(&u, child);
    finish(&u);
}

/* ---- against the model ----------------------------------------------------------------------- */

struct model {
    uint32_t prot[MODEL_PAGES];
};

/* The first page of the highest hole of `count` pages; -1: there is none. */
static int model_gap(const struct model *m, int count)
{
    for (int first = MODEL_PAGES - count; first >= 0; first--) {
        int run = 0;

        while (run < count && m->prot[first + run] == UNMAPPED)
            run++;
        if (run == count)
            return first;
    }
    return -1;
}

static bool model_all(const struct model *m, int first, int count, bool mapped)
{
    for (int i = first; i < first + count; i++) {
        if ((m->prot[i] != UNMAPPED) != mapped)
            return false;
    }
    return true;
}

static void model_set(struct model *m, int first, int count, uint32_t prot)
{
    for (int i = first; i < first + count; i++)
        m->prot[i] = prot;
}

static void model_compare(const struct model *m, struct quire_space *space)
{
    int i = 0;
    struct quire_region region;

    while (i < MODEL_PAGES) {
        int start = i;

        while (i < MODEL_PAGES && m->prot[i] == m->prot[start])
            i++;
        if (m->prot[start] == UNMAPPED)
            continue;
        region = region_above(space, PAGE(MODEL_LOW + start));
        CHECK(region.start == PAGE(MODEL_LOW + start));
        CHECK(region.end == PAGE(MODEL_LOW + i));
        CHECK(region.prot == m->prot[start]);
    }
    while (i > 0 && m->prot[i - 1] == UNMAPPED)
        i--;
    CHECK_STATUS(quire_query(space, PAGE(MODEL_LOW + i), &region), QUIRE_NOT_MAPPED);
}

static void model_map(struct model *m, struct quire_space *space, int first, int count,
                      uint32_t prot, uint32_t flags)
{
    vaddr_t address = PAGE(MODEL_LOW + first);
    enum quire_status status = quire_map(space, &address, PAGE(count), prot, flags);
    int place = first;

    if (flags == QUIRE_MAP_FIXED && !model_all(m, first, count, false)) {
        CHECK_STATUS(status, QUIRE_OVERLAPS);
        return;
    }
    if (flags == 0 && !model_all(m, first, count, false))
        place = model_gap(m, count);
    if (place < 0) {
        CHECK_STATUS(status, QUIRE_NO_ADDRESSES);
        return;
    }
    CHECK_OK(status);
    CHECK(address == PAGE(MODEL_LOW + place));
    model_set(m, place, count, prot);
}

static void model_step(struct model *m, struct quire_space *space, uint64_t *random)
{
    static const uint32_t prots[] = {0, R, RW, R | X};
    int first = (int)(test_random(random) % MODEL_PAGES);
    int most = MODEL_PAGES - first < 12 ? MODEL_PAGES - first : 12;
    int count = 1 + (int)(test_random(random) % (unsigned)most);
    uint32_t prot = prots[test_random(random) % 4];
    vaddr_t address = PAGE(MODEL_LOW + first);

    switch (test_random(random) % 6) {
    case 0:
    case 1: model_map(m, space, first, count, prot, 0); break;
    case 2: model_map(m, space, first, count, prot, QUIRE_MAP_FIXED); break;
    case 3: model_map(m, space, first, count, prot, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE); break;
    case 4:
        CHECK_OK(quire_unmap(space, address, PAGE(count)));
        model_set(m, first, count, UNMAPPED);
        break;
    default:
        if (model_all(m, first, count, true)) {
            CHECK_OK(quire_protect(space, address, PAGE(count), prot));
            model_set(m, first, count, prot);
        } else {
            CHECK_STATUS(quire_protect(space, address, PAGE(count), prot), QUIRE_NOT_MAPPED);
        }
    }
}

/*
 * Goal: the region tree is the page array, gaps included, through forks.  Method: random maps
 * (hint, fixed, replace), unmaps and protects on two spaces that fork from each other now and then;
 * the whole list compared after each.
 */
static void against_an_array(void)
{
    struct unit u;
    struct quire_space *space[2];
    struct model model[2];
    uint64_t random = 1;
    int steps = MICRO ? 6000 : 20000;

    begin_with(&u, &(struct test_options){
                       .frames = 2048, .low = PAGE(0), .high = PAGE(MODEL_LOW + MODEL_PAGES)});
    for (int i = 0; i < 2; i++) {
        vaddr_t address = 0;

        space[i] = space_new(&u);
        CHECK_OK(quire_map(space[i], &address, PAGE(MODEL_LOW), RW, QUIRE_MAP_FIXED));
        CHECK_OK(quire_protect(space[i], 0, PAGE(MODEL_LOW - 1), R));
        CHECK_OK(quire_protect(space[i], PAGE(MODEL_LOW - 1), PAGE(1), RW | X));
        model_set(&model[i], 0, MODEL_PAGES, UNMAPPED);
    }
    for (int step = 0; step < steps; step++) {
        int i = (int)(test_random(&random) & 1);

        model_step(&model[i], space[i], &random);
        model_compare(&model[i], space[i]);
        if (step % 500 == 0) {
            test_end(&u.w, space[!i]);
            CHECK_OK(quire_space_fork(space[i], &space[!i]));
            model[!i] = model[i];
        }
        model_compare(&model[!i], space[!i]);
        if (step % 16 == 0)
            audit(&u);
    }
    FIGURES("%d operations", steps);
    end(&u, space[0]);
    end(&u, space[1]);
    finish(&u);
}

/*
 * Goal: many regions work, and cost a fork nothing.  Method: 100,000 regions of one page with
 * alternating protections, a fork, the child's list counted; unmapping every second one, then all
 * at once.
 */
static void many_regions(void)
{
    enum { COUNT = MICRO ? 60 : 100000 };
    struct unit u;
    struct quire_space *parent, *child;
    uint64_t free_before;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 256 : 8192});
    parent = space_new(&u);
    for (unsigned i = 0; i < COUNT; i++) {
        vaddr_t address = PAGE(i);

        CHECK_OK(quire_map(parent, &address, PAGE(1), i & 1 ? R : RW, QUIRE_MAP_FIXED));
    }
    audit(&u);
    CHECK(region_count(parent) == COUNT);
    free_before = stats_of(&u).frames_free;
    child = fork_of(&u, parent);
    CHECK(stats_of(&u).frames_free == free_before);
    put(&u, child, PAGE(COUNT - 2), 1);
    for (unsigned i = 0; i < COUNT; i += 2)
        CHECK_OK(quire_unmap(child, PAGE(i), PAGE(1)));
    audit(&u);
    CHECK(region_count(child) == COUNT / 2);
    CHECK(region_count(parent) == COUNT);
    protect(&u, parent, 0, PAGE(COUNT), R);
    CHECK(region_count(parent) == 1);
    unmap(&u, child, 0, PAGE(COUNT));
    CHECK(region_count(child) == 0);
    end(&u, parent);
    end(&u, child);
    FIGURES("%u regions", COUNT);
    finish(&u);
}

CHECK_MAIN("unit.region", TEST(hints), TEST(bounds), TEST(merging_and_splitting), TEST(replace),
           TEST(twins_have_their_own), TEST(against_an_array), TEST(many_regions))
