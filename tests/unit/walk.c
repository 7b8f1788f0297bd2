/* SPDX-License-Identifier: MIT */
/*
 * Walks: quire_next_pages and quire_space_usage say what quire_page says of each page.
 */
#include "unit.h"

/* The pages below which these tests put everything. */
enum { PAGES = 3 * QUIRE_TABLE_ENTRIES };

/* Runs from `low` on are maximal, in order, and what quire_page finds for each page. */
static unsigned compare_runs(struct quire_space *space, uint64_t low, uint64_t high)
{
    struct quire_pages run;
    unsigned runs = 0;
    enum quire_page_kind before = QUIRE_PAGE_EMPTY; /* of the page below `low` */

    while (quire_next_pages(space, PAGE(low), PAGE(high), &run) == QUIRE_OK) {
        CHECK(run.start >= PAGE(low) && run.start < run.end && run.end <= PAGE(high));
        CHECK(run.kind != QUIRE_PAGE_EMPTY);
        CHECK(run.start > PAGE(low) || run.kind != before);
        for (; PAGE(low) < run.start; low++)
            CHECK(page_at(space, PAGE(low)).kind == QUIRE_PAGE_EMPTY);
        for (; PAGE(low) < run.end; low++)
            CHECK(page_at(space, PAGE(low)).kind == run.kind);
        before = run.kind;
        runs++;
    }
    for (; low < high; low++)
        CHECK(page_at(space, PAGE(low)).kind == QUIRE_PAGE_EMPTY);
    return runs;
}

static void compare_usage(struct quire_space *space, uint64_t low, uint64_t high)
{
    uint64_t count[QUIRE_PAGE_KIND_COUNT] = {0};
    struct quire_usage usage;

    for (uint64_t i = low; i < high; i++)
        count[page_at(space, PAGE(i)).kind]++;
    quire_space_usage(space, PAGE(low), PAGE(high), &usage);
    CHECK(usage.pages_private == count[QUIRE_PAGE_PRIVATE]);
    CHECK(usage.pages_shared == count[QUIRE_PAGE_SHARED] + count[QUIRE_PAGE_BORROWED]);
    CHECK(usage.pages_zero == count[QUIRE_PAGE_ZERO]);
}

/*
 * Goal: a run ends where the kind changes, and nowhere else.  Method: pages of each kind on both
 * sides of a leaf's boundary, by hand.
 */
static void kinds(void)
{
    struct unit u;
    struct quire_space *a, *b;
    struct quire_pages run;

    begin(&u);
    a = space_new(&u);
    CHECK_STATUS(quire_next_pages(a, 0, MMU_ADDRESS_END, &run), QUIRE_NOT_MAPPED);
    map(&u, a, 0, 2 * LEAF, RW);
    CHECK_STATUS(quire_next_pages(a, 0, MMU_ADDRESS_END, &run), QUIRE_NOT_MAPPED);
    put(&u, a, LEAF - PAGE(1), 1);
    put(&u, a, LEAF, 1);
    put(&u, a, LEAF + PAGE(1), 1);
    (void)get(&u, a, LEAF + PAGE(2));
    CHECK_OK(quire_next_pages(a, 0, MMU_ADDRESS_END, &run));
    CHECK(run.start == LEAF - PAGE(1) && run.end == LEAF + PAGE(2));
    CHECK(run.kind == QUIRE_PAGE_PRIVATE);
    CHECK_OK(quire_next_pages(a, run.end, MMU_ADDRESS_END, &run));
    CHECK(run.start == LEAF + PAGE(2) && run.end == LEAF + PAGE(3));
    CHECK(run.kind == QUIRE_PAGE_ZERO);
    CHECK_STATUS(quire_next_pages(a, run.end, MMU_ADDRESS_END, &run), QUIRE_NOT_MAPPED);
    /* From within a run, from within a page, and cut off. */
    CHECK_OK(quire_next_pages(a, LEAF + PAGE(1) - 1, LEAF + PAGE(1), &run));
    CHECK(run.start == LEAF && run.end == LEAF + PAGE(1));
    CHECK_OK(quire_next_pages(a, LEAF, LEAF + 1, &run));
    CHECK(run.start == LEAF && run.end == LEAF + 1);
    CHECK_STATUS(quire_next_pages(a, 0, LEAF - PAGE(1), &run), QUIRE_NOT_MAPPED);

    b = fork_of(&u, a);
    put(&u, b, LEAF, 2);
    CHECK_OK(quire_next_pages(b, 0, MMU_ADDRESS_END, &run));
    CHECK(run.kind == QUIRE_PAGE_SHARED && run.end == LEAF);
    CHECK_OK(quire_next_pages(b, run.end, MMU_ADDRESS_END, &run));
    CHECK(run.kind == QUIRE_PAGE_PRIVATE && run.end == LEAF + PAGE(1));
    CHECK_OK(quire_next_pages(b, run.end, MMU_ADDRESS_END, &run));
    CHECK(run.kind == QUIRE_PAGE_BORROWED && run.end == LEAF + PAGE(2));
    /* Hidden, and the last user: still not the space's own, for unhiding is an unshare. */
    protect(&u, a, 0, 2 * LEAF, QUIRE_NONE);
    end(&u, b);
    CHECK(compare_runs(a, 0, PAGES) > 0);
    compare_usage(a, 0, PAGES);
    end(&u, a);
    finish(&u);
}

/* Goal: guards are pages of a kind of their own, and nobody's memory. */
static void guards(void)
{
    struct unit u;
    struct quire_space *a;
    struct quire_pages run;
    struct quire_usage usage;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put(&u, a, LEAF, 1);
    CHECK_OK(quire_guard(a, LEAF - PAGE(2), PAGE(2)));
    CHECK_OK(quire_next_pages(a, 0, MMU_ADDRESS_END, &run));
    CHECK(run.kind == QUIRE_PAGE_GUARD && run.start == LEAF - PAGE(2) && run.end == LEAF);
    CHECK_OK(quire_next_pages(a, run.end, MMU_ADDRESS_END, &run));
    CHECK(run.kind == QUIRE_PAGE_PRIVATE && run.end == LEAF + PAGE(1));
    quire_space_usage(a, 0, MMU_ADDRESS_END, &usage);
    CHECK(usage.pages_private == 1 && usage.pages_shared == 0 && usage.pages_zero == 0);
    CHECK(compare_runs(a, 0, PAGES) == 2);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: what is empty is passed in one step.  Method: the lowest and the highest page of the whole
 * address range; going there page by page would not end.
 */
static void far(void)
{
    struct unit u;
    struct quire_space *a;
    struct quire_pages run;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, MMU_ADDRESS_END, RW);
    put(&u, a, 0, 1);
    put(&u, a, MMU_ADDRESS_END - 1, 1);
    CHECK_OK(quire_next_pages(a, PAGE(1), UINT64_MAX, &run));
    CHECK(run.start == MMU_ADDRESS_END - PAGE(1) && run.end == MMU_ADDRESS_END);
    CHECK_STATUS(quire_next_pages(a, MMU_ADDRESS_END, UINT64_MAX, &run), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_next_pages(a, UINT64_MAX, UINT64_MAX, &run), QUIRE_NOT_MAPPED);
    end(&u, a);
    finish(&u);
}

/* Goal: all of the above for any state.  Method: random operations in three spaces. */
static void any(void)
{
    struct unit u;
    struct quire_space *space[3];
    uint64_t random = 3, runs = 0;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 200 : 600});
    space[0] = space_new(&u);
    map(&u, space[0], 0, PAGE(PAGES), RW);
    put_each(&u, space[0], 4);
    space[1] = fork_of(&u, space[0]);
    space[2] = fork_of(&u, space[1]);
    for (unsigned i = 0; i < (MICRO ? 600 : 60); i++) {
        struct quire_space *s = space[test_random(&random) % 3];
        uint64_t leaf = test_random(&random) % 3 * LEAF_PAGES;
        vaddr_t at = PAGE(leaf + test_random(&random) % 4);

        switch (test_random(&random) % 6) {
        case 0:
            unmap(&u, s, at, PAGE(1));
            map(&u, s, at, PAGE(1), RW);
            break;
        case 1: protect(&u, s, PAGE(leaf), LEAF, test_random(&random) % 2 ? QUIRE_NONE : RW); break;
        case 2:
            protect(&u, s, 0, PAGE(PAGES), RW);
            (void)get(&u, s, at);
            break;
        default: protect(&u, s, at, PAGE(1), RW); put(&u, s, at, (uint8_t)i);
        }
        runs += compare_runs(s, 0, PAGES);
        runs += compare_runs(s, 2, LEAF_PAGES + 1);
        compare_usage(s, 0, PAGES);
        compare_usage(s, 1, LEAF_PAGES + 2);
    }
    for (unsigned i = 0; i < 3; i++)
        end(&u, space[i]);
    finish(&u);
    FIGURES("%llu runs", (unsigned long long)runs);
}

CHECK_MAIN("unit.walk", TEST(kinds), TEST(guards), TEST(far), TEST(any))
