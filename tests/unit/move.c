/* SPDX-License-Identifier: MIT */
/*
 * Moving: pages keep their frames, and nobody reaches them at two places.
 *
 * A leaf spans LEAF bytes; what moves by a multiple of that moves by whole tables.
 */
#include "unit.h"

static vaddr_t moved(struct unit *u, struct quire_space *space, vaddr_t from, uint64_t length,
                     vaddr_t to)
{
    CHECK_OK(quire_move(space, from, length, &to, length, QUIRE_MOVE_FIXED));
    audit(u);
    return to;
}

static void expect_region(struct quire_space *space, vaddr_t address, vaddr_t start, vaddr_t end,
                          uint32_t prot)
{
    struct quire_region region;

    CHECK_OK(quire_query(space, address, &region));
    CHECK(region.start == start && region.end == end && region.prot == prot);
}

/*
 * Goal: where both places lie alike, whole tables move, shared or not.  Method: two leaves move by
 * four; no table is made for them or copied, and a child that shares them has them where they were.
 */
static void tables_move_whole(void)
{
    for (int shared = 0; shared < 2; shared++) {
        struct unit u;
        struct quire_space *a, *b = NULL;
        struct quire_stats before, after;
        pfn_t pfn;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, 2 * LEAF, RW);
        put(&u, a, PAGE(1), 1);
        put(&u, a, LEAF + PAGE(2), 2);
        pfn = page_at(a, PAGE(1)).pfn;
        if (shared)
            b = fork_of(&u, a);
        before = stats_of(&u);
        moved(&u, a, 0, 2 * LEAF, 4 * LEAF);
        after = stats_of(&u);
        CHECK(after.unshared[1] == before.unshared[1]);
        CHECK(after.frames_side == 0 && after.frames_data == 2);
        CHECK(page_at(a, 4 * LEAF + PAGE(1)).pfn == pfn);
        CHECK(page_at(a, PAGE(1)).kind == QUIRE_PAGE_EMPTY);
        expect_region(a, 0, 4 * LEAF, 6 * LEAF, RW);
        CHECK(get(&u, a, 4 * LEAF + PAGE(1)) == 1);
        CHECK(get(&u, a, 5 * LEAF + PAGE(2)) == 2);
        put(&u, a, 4 * LEAF + PAGE(1), 3);
        if (shared) {
            CHECK(get(&u, b, PAGE(1)) == 1 && get(&u, b, LEAF + PAGE(2)) == 2);
            put(&u, b, LEAF + PAGE(2), 4);
            CHECK(get(&u, a, 5 * LEAF + PAGE(2)) == 2);
            end(&u, b);
        }
        CHECK(get(&u, a, 4 * LEAF + PAGE(1)) == 3);
        end(&u, a);
        finish(&u);
    }
}

/*
 * Goal: every kind of entry arrives as what it was.  Method: in one leaf an untouched page, a zero
 * page, a written one, one whose region forbids every access, a guard, and two that a child
 * borrows; the child moves them by one page and then by a leaf, and both sides are compared.
 */
static void every_kind_moves(void)
{
    enum { EMPTY, ZERO, OWN, BARRED, GUARD, COUNT };
    struct unit u;
    struct quire_space *a, *b;
    vaddr_t at = 4 * LEAF;

    begin_with(&u, &(struct test_options){.frames = 512});
    a = space_new(&u);
    map(&u, a, at, 2 * LEAF, RW);
    put(&u, a, at, 9); /* the leaf stays, whatever moves out of it */
    CHECK(get(&u, a, at + LEAF - PAGE(1)) == 0);
    put(&u, a, at + LEAF + PAGE(OWN), 5);
    put(&u, a, at + LEAF + PAGE(BARRED % LEAF_PAGES), 6);
    for (int by_leaves = 0; by_leaves < 2; by_leaves++) {
        vaddr_t from = by_leaves ? at + LEAF : at + PAGE(1);
        uint64_t length = by_leaves ? LEAF : PAGE(2);

        b = fork_of(&u, a);
        put(&u, b, from, 7); /* b's leaf borrows the rest */
        protect(&u, b, from + PAGE(1), PAGE(1), 0);
        CHECK_OK(quire_guard(a, from + PAGE(1), PAGE(1)));
        audit(&u);
        moved(&u, b, from, length, 8 * LEAF + PAGE(3));
        moved(&u, b, 8 * LEAF + PAGE(3), length, 12 * LEAF + (from & (LEAF - 1)));
        moved(&u, a, from, length, 2 * LEAF + PAGE(3));
        CHECK(get(&u, b, 12 * LEAF + (from & (LEAF - 1))) == 7);
        CHECK_STATUS(quire_fault(b, 12 * LEAF + (from & (LEAF - 1)) + PAGE(1), R), QUIRE_PROTECTED);
        protect(&u, b, 12 * LEAF + (from & (LEAF - 1)) + PAGE(1), PAGE(1), RW);
        CHECK(get(&u, b, 12 * LEAF + (from & (LEAF - 1)) + PAGE(1)) == 0);
        CHECK_STATUS(quire_fault(a, 2 * LEAF + PAGE(3) + PAGE(1), R), QUIRE_GUARDED);
        if (by_leaves) {
            CHECK(get(&u, b, 12 * LEAF + PAGE(OWN)) == 5);
            CHECK(get(&u, a, 2 * LEAF + PAGE(3) + PAGE(OWN)) == 5);
            put(&u, b, 12 * LEAF + PAGE(OWN), 8);
            CHECK(get(&u, a, 2 * LEAF + PAGE(3) + PAGE(OWN)) == 5);
        }
        CHECK(get(&u, b, at) == 9);
        end(&u, b);
        unmap(&u, a, 2 * LEAF, 2 * LEAF);
    }
    end(&u, a);
    finish(&u);
}

/* What CPU 1 can do within the flush of CPU 0's move. */
static struct {
    struct unit *u;
    vaddr_t from, to;
    unsigned flushes;
} watcher;

static void watch(struct soft_machine *machine, struct quire_space *space, vaddr_t low,
                  vaddr_t high)
{
    uint8_t byte = 5;

    (void)machine;
    (void)space;
    if (watcher.from < low || watcher.from >= high)
        return;
    /* The first flush has not yet reached CPU 1: its store is still a store to the page. */
    CHECK(soft_try(watcher.u->w.cpu[1], watcher.from, W, &byte) == (watcher.flushes++ == 0));
    CHECK(!soft_try(watcher.u->w.cpu[1], watcher.to, R, &byte));
}

/*
 * Goal: bugs.md rows 16 and 17: a page appears at its new place when no CPU reaches it at the old
 * one, and no sooner; nor does one when its frame has gone on to somebody else.  Method: CPU 1
 * touches a page, CPU 0 moves it (by entries, by tables) away from one that stays, and CPU 1 tries
 * both addresses, from within the flush and after.
 */
static void old_place_is_flushed(void)
{
    for (int by_tables = 0; by_tables < 2; by_tables++) {
        struct unit u;
        struct quire_space *a;
        uint64_t length = by_tables ? LEAF : PAGE(2);
        vaddr_t to = 8 * LEAF + (by_tables ? 0 : PAGE(1));
        uint8_t byte = 4;

        begin_with(&u, &(struct test_options){.cpus = 2});
        a = space_new(&u);
        map(&u, a, 0, 2 * LEAF, RW);
        put(&u, a, PAGE(1), 1);
        put(&u, a, PAGE(3), 3);
        put(&u, a, LEAF, 3);
        test_run(&u.w, 1, a);
        CHECK(soft_try(u.w.cpu[1], PAGE(1), W, &byte));
        watcher.u = &u;
        watcher.from = PAGE(1);
        watcher.to = to + PAGE(1);
        watcher.flushes = 0;
        /* The machine may not complain of what is wanted here: a use of what is about to go. */
        u.w.machine->on_flush = watch;
        u.w.quiet = true;
        CHECK_OK(quire_move(a, 0, length, &to, length, QUIRE_MOVE_FIXED));
        u.w.machine->on_flush = NULL;
        u.w.machine->violations = 0;
        u.w.quiet = false;
        audit(&u);
        CHECK(watcher.flushes == 1);
        CHECK(!soft_try(u.w.cpu[1], PAGE(1), R, &byte));
        CHECK(!soft_try(u.w.cpu[1], PAGE(1), W, &byte));
        CHECK(get(&u, a, to + PAGE(1)) == 5);
        CHECK(soft_try(u.w.cpu[1], to + PAGE(1), R, &byte) && byte == 5);
        unmap(&u, a, to, length);
        map(&u, a, 4 * LEAF, LEAF, RW);
        for (unsigned i = 0; i < 4; i++)
            put(&u, a, 4 * LEAF + PAGE(i), 6); /* in the frames that were freed */
        CHECK(!soft_try(u.w.cpu[1], PAGE(1), R, &byte));
        CHECK(!soft_try(u.w.cpu[1], to + PAGE(1), R, &byte));
        end(&u, a);
        finish(&u);
    }
}

/*
 * Goal: a range grows where it is if it can, moves if it may, and is cut off at the end when it
 * shrinks.  Method: a neighbour above that stands in the way or does not.
 */
static void sizes(void)
{
    struct unit u;
    struct quire_space *a;
    vaddr_t to;

    begin(&u);
    a = space_new(&u);
    map(&u, a, PAGE(1), PAGE(2), RW);
    protect(&u, a, PAGE(2), PAGE(1), R);
    put(&u, a, PAGE(1), 1);
    CHECK_OK(quire_move(a, PAGE(1), PAGE(2), &to, PAGE(4), 0));
    CHECK(to == PAGE(1));
    expect_region(a, PAGE(2), PAGE(2), PAGE(5), R); /* what is added continues the last region */
    map(&u, a, PAGE(5), PAGE(1), RW);
    CHECK_STATUS(quire_move(a, PAGE(1), PAGE(4), &to, PAGE(5), 0), QUIRE_NO_ADDRESSES);
    CHECK_OK(quire_move(a, PAGE(1), PAGE(4), &to, PAGE(5), QUIRE_MOVE_ANYWHERE));
    CHECK(to == MMU_ADDRESS_END - PAGE(5));
    audit(&u);
    CHECK(get(&u, a, to) == 1);
    expect_region(a, 0, PAGE(5), PAGE(6), RW);
    expect_region(a, to + PAGE(4), to + PAGE(1), to + PAGE(5), R);
    CHECK_OK(quire_move(a, to, PAGE(5), &to, PAGE(1), QUIRE_MOVE_ANYWHERE));
    CHECK(to == MMU_ADDRESS_END - PAGE(5));
    expect_region(a, PAGE(6), to, to + PAGE(1), RW);
    CHECK_OK(quire_move(a, to, PAGE(1), &to, PAGE(1), 0));
    CHECK(get(&u, a, to) == 1);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: FIXED takes what is at the destination, and cuts off or adds at the end there.  Method:
 * three regions move over two others, longer and shorter.
 */
static void fixed_replaces(void)
{
    for (int longer = 0; longer < 2; longer++) {
        struct unit u;
        struct quire_space *a;
        vaddr_t to = 4 * LEAF + PAGE(1);
        unsigned pages = longer ? 5 : 2;

        begin(&u);
        a = space_new(&u);
        map(&u, a, PAGE(0), PAGE(3), RW);
        put_each(&u, a, 3);
        protect(&u, a, PAGE(1), PAGE(1), R);
        map(&u, a, 4 * LEAF, PAGE(8), RW);
        for (unsigned i = 0; i < 8; i++)
            put(&u, a, 4 * LEAF + PAGE(i), 9);
        CHECK_OK(quire_move(a, 0, PAGE(3), &to, PAGE(pages), QUIRE_MOVE_FIXED));
        audit(&u);
        CHECK(to == 4 * LEAF + PAGE(1));
        for (unsigned i = 0; i < 8; i++) {
            uint8_t wanted = i < 1 || i > pages ? 9 : i > 3 ? 0 : (uint8_t)i;

            CHECK(get(&u, a, 4 * LEAF + PAGE(i)) == wanted);
        }
        expect_region(a, to + PAGE(1), to + PAGE(1), to + PAGE(2), R);
        expect_region(a, 0, 4 * LEAF, 4 * LEAF + PAGE(2), RW);
        end(&u, a);
        finish(&u);
    }
}

/*
 * Goal: a table that is empty stays only where it can be of use.  Method: a page moves out of its
 * leaf, and a leaf that forgot its zero page is unmapped in part: each leaf goes, and a table can
 * move to its place.
 */
static void empty_tables_go(void)
{
    struct unit u;
    struct quire_space *a;
    uint64_t tables;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(1), RW);
    map(&u, a, LEAF, LEAF, RW);
    put(&u, a, LEAF, 7);
    tables = stats_of(&u).frames_table;
    put(&u, a, 0, 1);
    CHECK(stats_of(&u).frames_table == tables + 1);
    moved(&u, a, 0, PAGE(1), LEAF + PAGE(1));
    CHECK(stats_of(&u).frames_table == tables);
    CHECK(get(&u, a, LEAF + PAGE(1)) == 1);
    map(&u, a, 0, LEAF, RW);
    CHECK(get(&u, a, PAGE(1)) == 0);
    protect(&u, a, 0, LEAF, 0);
    CHECK(stats_of(&u).frames_table == tables + 1);
    unmap(&u, a, 0, PAGE(1));
    CHECK(stats_of(&u).frames_table == tables);
    moved(&u, a, LEAF, LEAF, 0);
    CHECK(get(&u, a, 0) == 7);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: a pinned page moves with its pin, and a fork still finds it.  Method: pin, move by entries
 * or tables, write by the program and by the device, fork, write again.
 */
static void pinned_pages_move(void)
{
    for (int by_tables = 0; by_tables < 2; by_tables++) {
        struct unit u;
        struct quire_space *a, *b;
        struct quire_run run;
        struct quire_pin pin;
        vaddr_t to = 4 * LEAF + (by_tables ? 0 : PAGE(1));
        uint8_t *frame;

        begin_with(&u, &(struct test_options){.max_pins = 2});
        a = space_new(&u);
        map(&u, a, 0, LEAF, RW);
        CHECK_OK(quire_pin(a, PAGE(1), PAGE(1), W, &run, 1, &pin));
        frame = u.w.frames + ((uint64_t)run.first - u.w.options.first_frame) * QUIRE_PAGE_SIZE;
        moved(&u, a, 0, LEAF, to);
        put(&u, a, to + PAGE(1), 5);
        CHECK(frame[0] == 5);
        b = fork_of(&u, a);
        frame[0] = 6;
        CHECK(get(&u, a, to + PAGE(1)) == 6 && get(&u, b, to + PAGE(1)) == 5);
        put(&u, a, to + PAGE(1), 7);
        CHECK(frame[0] == 7 && page_at(a, to + PAGE(1)).pfn == run.first);
        CHECK_OK(quire_unpin(u.w.q, &pin));
        end(&u, b);
        end(&u, a);
        finish(&u);
    }
}

/*
 * Goal: bugs.md row 66: a size or place that is odd, too large, or wraps is refused and changes
 * nothing.  Method: each argument bad in each way.
 */
static void bad_arguments(void)
{
    static const struct {
        vaddr_t from, to;
        uint64_t old_length, new_length;
        uint32_t flags;
        enum quire_status wanted;
    } calls[] = {
        {PAGE(1), 0, PAGE(1), PAGE(1), 4, QUIRE_BAD_FLAGS},
        {PAGE(1), 0, PAGE(1), PAGE(1), 3, QUIRE_BAD_FLAGS},
        {PAGE(1) + 1, 0, PAGE(1), PAGE(1), 0, QUIRE_MISALIGNED},
        {PAGE(1), 0, PAGE(1) + 1, PAGE(1), 0, QUIRE_MISALIGNED},
        {PAGE(1), 0, PAGE(1), PAGE(1) - 1, 0, QUIRE_MISALIGNED},
        {PAGE(1), PAGE(5) + 8, PAGE(1), PAGE(1), QUIRE_MOVE_FIXED, QUIRE_MISALIGNED},
        {PAGE(1), 0, 0, PAGE(1), 0, QUIRE_ZERO_LENGTH},
        {PAGE(1), 0, PAGE(1), 0, 0, QUIRE_ZERO_LENGTH},
        {PAGE(1), 0, -PAGE(1), PAGE(1), 0, QUIRE_WRAPS},
        {PAGE(1), -PAGE(1), PAGE(1), PAGE(1), QUIRE_MOVE_FIXED, QUIRE_WRAPS},
        {PAGE(1), 0, MMU_ADDRESS_END, PAGE(1), 0, QUIRE_OUT_OF_RANGE},
        {PAGE(1), 0, PAGE(1), MMU_ADDRESS_END + PAGE(1), 1, QUIRE_OUT_OF_RANGE},
        {PAGE(1), 0, PAGE(1), -PAGE(1), 1, QUIRE_OUT_OF_RANGE},
        {PAGE(1), MMU_ADDRESS_END, PAGE(1), PAGE(1), QUIRE_MOVE_FIXED, QUIRE_OUT_OF_RANGE},
        {PAGE(1), PAGE(0), PAGE(2), PAGE(2), QUIRE_MOVE_FIXED, QUIRE_OVERLAPS},
        {PAGE(1), PAGE(2), PAGE(2), PAGE(1), QUIRE_MOVE_FIXED, QUIRE_OVERLAPS},
        {PAGE(2), PAGE(5), PAGE(2), PAGE(1), QUIRE_MOVE_FIXED, QUIRE_NOT_MAPPED},
        {PAGE(1), 0, PAGE(2), MMU_ADDRESS_END, 1, QUIRE_NO_ADDRESSES},
    };
    struct unit u;
    struct quire_space *a;
    struct quire_usage before, after;

    begin(&u);
    a = space_new(&u);
    map(&u, a, PAGE(1), PAGE(2), RW);
    put(&u, a, PAGE(1), 1);
    quire_space_usage(a, 0, MMU_ADDRESS_END, &before);
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        vaddr_t to = calls[i].to;

        CHECK_STATUS(quire_move(a, calls[i].from, calls[i].old_length, &to, calls[i].new_length,
                                calls[i].flags),
                     calls[i].wanted);
        CHECK(to == calls[i].to);
        audit(&u);
        expect_region(a, 0, PAGE(1), PAGE(3), RW);
    }
    quire_space_usage(a, 0, MMU_ADDRESS_END, &after);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: bugs.md row 42: lengths that overflow 32 bits of pages or bytes move as a whole.  Method:
 * pages at both ends of huge ranges, moved by entries of the highest level and by pages.
 */
static void huge_ranges(void)
{
    static const unsigned shifts[] = {QUIRE_ADDRESS_BITS - 3, MICRO ? 9 : 43, MICRO ? 8 : 44};

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned odd = 0; odd < 2; odd++) {
            struct unit u;
            struct quire_space *a;
            uint64_t length = (uint64_t)1 << shifts[i];
            vaddr_t to = 2 * length + PAGE(odd);

            begin(&u);
            a = space_new(&u);
            map(&u, a, 0, length, RW);
            put(&u, a, 0, 1);
            put(&u, a, length - PAGE(1), 2);
            moved(&u, a, 0, length, to);
            expect_region(a, 0, to, to + length, RW);
            CHECK(get(&u, a, to) == 1);
            CHECK(get(&u, a, to + length - PAGE(1)) == 2);
            CHECK(stats_of(&u).frames_data == 2);
            end(&u, a);
            finish(&u);
        }
    }
}

CHECK_MAIN("unit.move", TEST(tables_move_whole), TEST(every_kind_moves), TEST(old_place_is_flushed),
           TEST(sizes), TEST(fixed_replaces), TEST(empty_tables_go), TEST(pinned_pages_move),
           TEST(bad_arguments), TEST(huge_ranges))
