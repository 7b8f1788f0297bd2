/* SPDX-License-Identifier: MIT */
/*
 * Stacks: where they grow, and where they stop.
 */
#include "two.h"

static void map_stack(struct quire_space *space, vaddr_t low, vaddr_t high, uint32_t prot)
{
    CHECK_OK(quire_map(space, &low, high - low, prot, QUIRE_MAP_FIXED | QUIRE_MAP_GROWS_DOWN));
}

static vaddr_t bottom(struct quire_space *space, vaddr_t high)
{
    struct quire_region region;

    CHECK_OK(quire_query(space, high - 1, &region));
    CHECK(region.end == high && region.flags == QUIRE_REGION_GROWS_DOWN);
    return region.start;
}

/*
 * Goal: a stack that is touched page by page takes all there is, down to the gap.  Method: a region
 * below, a gap of two pages, and stores from the top down, by the program and by quire_write.
 */
static void down_to_the_gap(void)
{
    struct unit u;
    struct quire_space *a;

    begin_with(&u, &(struct test_options){.stack_gap = PAGE(2)});
    a = space_new(&u);
    map(&u, a, 0, PAGE(3), RW);
    map_stack(a, PAGE(11), PAGE(12), RW);
    put(&u, a, PAGE(10), 1);
    CHECK(bottom(a, PAGE(12)) == PAGE(10));
    CHECK_OK(quire_write(a, PAGE(9) + 3, "x", 1, NULL));
    CHECK(bottom(a, PAGE(12)) == PAGE(9));
    CHECK(stats_of(&u).committed == 6);
    for (unsigned i = 8; i >= 5; i--)
        put(&u, a, PAGE(i), (uint8_t)i);
    CHECK(bottom(a, PAGE(12)) == PAGE(5));
    CHECK_STATUS(quire_fault(a, PAGE(4), W), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_fault(a, PAGE(3), W), QUIRE_NOT_MAPPED);
    CHECK(bottom(a, PAGE(12)) == PAGE(5));
    unmap(&u, a, PAGE(2), PAGE(1));
    put(&u, a, PAGE(4), 4);
    for (unsigned i = 4; i <= 8; i++)
        CHECK(get(&u, a, PAGE(i)) == i);
    CHECK(get(&u, a, PAGE(10)) == 1);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: an access goes to the stack if it is nearer to it than to what is below.  Method: every
 * page of a gap, each in a fresh child.
 */
static void nearer(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, PAGE(1), PAGE(1), RW);
    map_stack(a, PAGE(11), PAGE(13), RW);
    map(&u, a, PAGE(14), PAGE(1), RW);
    for (unsigned i = 0; i < 16; i++) {
        bool grows = i >= 6 && i < 11, mapped = i == 1 || i == 11 || i == 12 || i == 14;

        b = fork_of(&u, a);
        CHECK_STATUS(quire_fault(b, PAGE(i), W), grows || mapped ? QUIRE_OK : QUIRE_NOT_MAPPED);
        CHECK(bottom(b, PAGE(13)) == (grows ? PAGE(i) : PAGE(11)));
        end(&u, b);
    }
    unmap(&u, a, PAGE(1), PAGE(1));
    CHECK_OK(quire_fault(a, 0, R)); /* with nothing below, it is the stack's */
    CHECK(bottom(a, PAGE(13)) == 0);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: only stacks grow, by what they are, and only if the promise can be made.  Method: other
 * regions, a read-only and a decommitted stack, a part of one, and a limit.
 */
static void what_grows(void)
{
    struct unit u;
    struct quire_space *a;

    begin(&u);
    a = space_new(&u);
    map(&u, a, PAGE(4), PAGE(1), RW);
    CHECK_STATUS(quire_fault(a, PAGE(3), W), QUIRE_NOT_MAPPED);
    unmap(&u, a, PAGE(4), PAGE(1));
    map_stack(a, PAGE(9), PAGE(12), R);
    /* It does not grow for an access that it would refuse. */
    CHECK_STATUS(quire_fault(a, PAGE(8), W), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_fault(a, PAGE(8), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(bottom(a, PAGE(12)) == PAGE(9));
    CHECK_OK(quire_fault(a, PAGE(8), R));
    CHECK(stats_of(&u).committed == 0);
    protect(&u, a, PAGE(8), PAGE(4), RW);
    CHECK_OK(quire_decommit(a, PAGE(8), PAGE(1)));
    CHECK_STATUS(quire_fault(a, PAGE(7), W), QUIRE_NOT_MAPPED);
    CHECK_OK(quire_commit(a, PAGE(8), PAGE(1), RW));
    unmap(&u, a, PAGE(10), PAGE(1)); /* the upper part is a stack of its own */
    CHECK_OK(quire_fault(a, PAGE(10), W));
    CHECK(bottom(a, PAGE(12)) == PAGE(8)); /* and one with the lower where they touch */
    quire_space_limit(a, 5, UINT64_MAX);
    CHECK_STATUS(quire_fault(a, PAGE(6), W), QUIRE_NO_COMMIT);
    CHECK(bottom(a, PAGE(12)) == PAGE(8));
    CHECK_OK(quire_fault(a, PAGE(7), W));
    CHECK(stats_of(&u).committed == 5);
    end(&u, a);
    finish(&u);
}

/* ---- rights that go while it is to grow ------------------------------------------------------ */

static struct {
    struct unit u;
    struct quire_space *space;
    enum quire_status status;
} s;

static void touch_below(void) { s.status = quire_fault(s.space, PAGE(8), W); }
static void take_rights(void) { protect(&s.u, s.space, PAGE(9), PAGE(3), R); }

/*
 * Goal: a stack that has lost its rights while a fault asks does not grow for it.  Method: it loses
 * them at every moment of the fault.
 */
static void rights_are_gone(void)
{
    for (unsigned n = 1, more = true; more; n++) {
        begin(&s.u);
        s.space = space_new(&s.u);
        map_stack(s.space, PAGE(9), PAGE(12), RW);
        s.u.w.yield = two_yield;
        more = two_calls_at(&s.u, touch_below, take_rights, n);
        s.u.w.yield = NULL;
        struct quire_region low;
        CHECK_OK(quire_query(s.space, 0, &low));
        CHECK(s.status == (low.start == PAGE(8) ? QUIRE_OK : QUIRE_NOT_MAPPED));
        end(&s.u, s.space);
        finish(&s.u);
    }
}

CHECK_MAIN("unit.stack", TEST(down_to_the_gap), TEST(nearer), TEST(what_grows),
           TEST(rights_are_gone))
