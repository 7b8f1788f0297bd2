/* SPDX-License-Identifier: MIT */
/*
 * Guards: every access is refused, whatever happens around them.
 */
#include "unit.h"

static void guard(struct unit *u, struct quire_space *space, vaddr_t address, uint64_t length)
{
    CHECK_OK(quire_guard(space, address, length));
    audit(u);
}

static void guarded(struct unit *u, struct quire_space *space, vaddr_t address)
{
    uint8_t byte = 1;

    CHECK_STATUS(test_load(&u->w, space, address, &byte), QUIRE_GUARDED);
    CHECK_STATUS(test_store(&u->w, space, address, byte), QUIRE_GUARDED);
    CHECK(page_at(space, address).kind == QUIRE_PAGE_GUARD);
    audit(u);
}

/*
 * Goal: a guard takes the content, refuses every access, splits no region, and leaves zeros.
 * Method: a written page between others.
 */
static void takes_and_leaves_zeros(void)
{
    struct unit u;
    struct quire_space *a;
    struct quire_region region;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(8), RW);
    put_each(&u, a, 8);
    guard(&u, a, PAGE(2), PAGE(1));
    guarded(&u, a, PAGE(2));
    CHECK_STATUS(quire_fault(a, PAGE(2), X), QUIRE_PROTECTED); /* the region speaks first */
    CHECK(get(&u, a, PAGE(1)) == 2 && get(&u, a, PAGE(3)) == 4);
    CHECK_OK(quire_query(a, 0, &region));
    CHECK(region.start == 0 && region.end == PAGE(8));
    CHECK(stats_of(&u).frames_data == 7);
    CHECK_OK(quire_unguard(a, PAGE(1), PAGE(3)));
    audit(&u);
    CHECK(get(&u, a, PAGE(1)) == 2 && get(&u, a, PAGE(2)) == 0 && get(&u, a, PAGE(3)) == 4);
    put(&u, a, PAGE(2), 9);
    CHECK_STATUS(quire_guard(a, PAGE(7), PAGE(2)), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_unguard(a, PAGE(7), PAGE(2)), QUIRE_NOT_MAPPED);
    CHECK(get(&u, a, PAGE(7)) == 8);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: what takes pages leaves guards; what takes regions takes them.  Method: discard, protect to
 * nothing and back, then decommit, replace and unmap.
 */
static void what_takes_a_guard(void)
{
    struct unit u;
    struct quire_space *a;
    vaddr_t at = 0;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, LEAF, 1);
    guard(&u, a, PAGE(1), PAGE(1));
    CHECK_OK(quire_discard(a, 0, 2 * LEAF));
    audit(&u);
    CHECK(get(&u, a, 0) == 0 && get(&u, a, LEAF) == 0);
    guarded(&u, a, PAGE(1));
    protect(&u, a, 0, 2 * LEAF, 0);
    CHECK_STATUS(quire_fault(a, PAGE(1), R), QUIRE_PROTECTED);
    protect(&u, a, 0, 2 * LEAF, RW);
    guarded(&u, a, PAGE(1));
    CHECK_OK(quire_decommit(a, 0, PAGE(2)));
    CHECK_OK(quire_commit(a, 0, PAGE(2), RW));
    CHECK(get(&u, a, PAGE(1)) == 0);
    guard(&u, a, PAGE(1), PAGE(1));
    CHECK_OK(quire_map(a, &at, PAGE(2), RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
    CHECK(get(&u, a, PAGE(1)) == 0);
    guard(&u, a, PAGE(1), PAGE(1));
    unmap(&u, a, 0, 2 * LEAF);
    map(&u, a, 0, 2 * LEAF, RW);
    CHECK(get(&u, a, PAGE(1)) == 0);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: children inherit guards, and from then on each side has its own.  Method: guards put up and
 * taken down on either side of a fork, in leaves that are shared or frozen, or hidden in between.
 */
static void each_side_its_own(void)
{
    struct unit u;
    struct quire_space *a, *b, *c;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put_each(&u, a, 4);
    put(&u, a, LEAF, 5);
    guard(&u, a, PAGE(1), PAGE(1));
    b = fork_of(&u, a);
    guarded(&u, b, PAGE(1));
    guard(&u, b, PAGE(2), PAGE(1));
    CHECK(get(&u, a, PAGE(2)) == 3);
    guard(&u, b, LEAF + PAGE(1), PAGE(1)); /* where nothing was */
    CHECK(get(&u, a, LEAF + PAGE(1)) == 0);
    CHECK_OK(quire_unguard(a, 0, LEAF));
    audit(&u);
    CHECK(get(&u, a, PAGE(1)) == 0);
    guarded(&u, b, PAGE(1));
    guarded(&u, b, PAGE(2));
    c = fork_of(&u, b);
    CHECK_OK(quire_discard(c, 0, 2 * LEAF)); /* leaf 0 is owned for its guards, leaf 1 is dropped */
    audit(&u);
    CHECK(get(&u, c, 0) == 0 && get(&u, b, 0) == 1);
    CHECK(get(&u, c, LEAF) == 0 && get(&u, b, LEAF) == 5);
    guarded(&u, c, PAGE(1));
    protect(&u, b, 0, 2 * LEAF, 0);
    guard(&u, b, PAGE(3), PAGE(1)); /* below a hidden entry */
    protect(&u, b, 0, 2 * LEAF, R);
    CHECK(get(&u, b, 0) == 1);
    CHECK_STATUS(quire_fault(b, PAGE(2), R), QUIRE_GUARDED);
    CHECK_STATUS(quire_fault(b, PAGE(3), R), QUIRE_GUARDED);
    CHECK(get(&u, a, PAGE(3)) == 4);
    end(&u, a);
    guarded(&u, c, PAGE(2));
    end(&u, b);
    CHECK_OK(quire_unguard(c, 0, 2 * LEAF));
    CHECK(get(&u, c, PAGE(2)) == 0);
    end(&u, c);
    finish(&u);
}

/*
 * Goal: guards cost the tables above them, once, and give them back.  Method: a guarded range over
 * several leaves, where some were touched and shared before; then nothing but guards in a leaf.
 */
static void costs_tables(void)
{
    struct unit u;
    struct quire_space *a, *b;
    uint64_t tables;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 6 * LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, 5 * LEAF, 2);
    tables = stats_of(&u).frames_table;
    guard(&u, a, PAGE(1), 4 * LEAF);
    guarded(&u, a, PAGE(1));
    guarded(&u, a, 2 * LEAF);
    guarded(&u, a, 4 * LEAF);
    CHECK(get(&u, a, 4 * LEAF + PAGE(1)) == 0);
    b = fork_of(&u, a);
    guard(&u, b, LEAF + PAGE(1), 3 * LEAF);
    guarded(&u, b, LEAF);
    CHECK(get(&u, b, 5 * LEAF) == 2);
    end(&u, b);
    CHECK_OK(quire_unguard(a, 0, 6 * LEAF));
    audit(&u);
    CHECK(get(&u, a, 0) == 1 && get(&u, a, 5 * LEAF) == 2);
    CHECK(stats_of(&u).frames_table <= tables + 2); /* of leaves 1 to 3 nothing is left */
    CHECK(get(&u, a, 2 * LEAF) == 0);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: an access that finds the guard only in its copy of the leaf is refused as well, and costs
 * no page.  Method: a guard in a leaf that is shared, hidden, and allowed again.
 */
static void hidden_from_the_look(void)
{
    for (uint32_t access = R; access <= W; access++) {
        struct unit u;
        struct quire_space *a, *b;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, LEAF, RW);
        put(&u, a, 0, 1);
        guard(&u, a, PAGE(1), PAGE(1));
        b = fork_of(&u, a);
        protect(&u, a, 0, LEAF, 0);
        protect(&u, a, 0, LEAF, RW);
        CHECK_STATUS(quire_fault(a, PAGE(1), access), QUIRE_GUARDED);
        audit(&u);
        CHECK(stats_of(&u).hidden == 1 && stats_of(&u).frames_data == 1);
        guarded(&u, a, PAGE(1));
        CHECK(get(&u, a, 0) == 1);
        end(&u, a);
        guarded(&u, b, PAGE(1));
        end(&u, b);
        finish(&u);
    }
}

CHECK_MAIN("unit.guard", TEST(takes_and_leaves_zeros), TEST(what_takes_a_guard),
           TEST(each_side_its_own), TEST(costs_tables), TEST(hidden_from_the_look))
