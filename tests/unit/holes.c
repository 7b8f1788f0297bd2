/* SPDX-License-Identifier: MIT */
/*
 * Sequences that break a looser design, each named after what would go wrong.
 *
 * Each is the shortest sequence of operations after which some plausible shortcut (leaving W set in
 * a table that is no longer one's own, changing an entry in place that somebody else borrows,
 * forgetting an upper-level cache) corrupts or leaks.  The software machine holds on to every
 * translation and every table pointer meanwhile.
 */
#include "unit.h"

/* One page below each entry of a path that starts at the root: they differ at level 1, 2, ..
 * QUIRE_LEVELS. */
static vaddr_t apart_at(unsigned level) { return PAGE(1) << (level - 1) * QUIRE_TABLE_SHIFT; }

/*
 * Goal: unsharing a table takes W out of the original too.  Method: pages that differ from page 0
 * at each level; after a fork the parent leaves the shared path by one write, so that the child is
 * alone with the originals; the child's writes must not reach the parent, whichever page each of
 * them begins with.
 */
static void w_left_in_original(void)
{
    for (unsigned first = 0; first <= QUIRE_LEVELS; first++) {
        for (unsigned second = 0; second <= QUIRE_LEVELS; second++) {
            struct unit u;
            struct quire_space *a, *b;

            begin(&u);
            a = space_new(&u);
            map(&u, a, 0, MMU_ADDRESS_END, RW);
            for (unsigned i = 0; i <= QUIRE_LEVELS; i++)
                put(&u, a, i ? apart_at(i) : 0, (uint8_t)(i + 1));
            b = fork_of(&u, a);
            put(&u, a, first ? apart_at(first) : 0, 50);
            put(&u, b, second ? apart_at(second) : 0, 60);
            for (unsigned i = 0; i <= QUIRE_LEVELS; i++)
                put(&u, b, i ? apart_at(i) : 0, 70);
            for (unsigned i = 0; i <= QUIRE_LEVELS; i++)
                CHECK(get(&u, a, i ? apart_at(i) : 0) == (i == first ? 50 : i + 1));
            end(&u, a);
            end(&u, b);
            finish(&u);
        }
    }
}

/*
 * Goal: a page that became read-only while its table was shared stays read-only when the table is
 * the space's alone again.  Method: touch pages, fork, protect all but one page in one of the two,
 * end the other, write that one page; stores to the rest must be refused.
 */
static void ro_region_after_child_exit(void)
{
    for (int parent_exits = 0; parent_exits < 2; parent_exits++) {
        for (unsigned level = 1; level <= QUIRE_LEVELS; level++) {
            struct unit u;
            struct quire_space *a, *b, *stays, *goes;
            vaddr_t other = apart_at(level), whole = apart_at(level) + PAGE(4);

            begin(&u);
            a = space_new(&u);
            map(&u, a, 0, whole, RW);
            put(&u, a, 0, 1);
            put(&u, a, other, 2);
            put(&u, a, other + PAGE(2), 3);
            b = fork_of(&u, a);
            stays = parent_exits ? b : a;
            goes = parent_exits ? a : b;
            protect(&u, stays, 0, whole, R);
            protect(&u, stays, other, PAGE(1), RW);
            end(&u, goes);
            put(&u, stays, other, 9);
            CHECK_STATUS(test_store(&u.w, stays, 0, 9), QUIRE_PROTECTED);
            CHECK_STATUS(test_store(&u.w, stays, other + PAGE(2), 9), QUIRE_PROTECTED);
            CHECK(get(&u, stays, 0) == 1);
            CHECK(get(&u, stays, other + PAGE(2)) == 3);
            end(&u, stays);
            finish(&u);
        }
    }
    {
        /* The shortest form: write(A,0) fork exit(A) protect(B,0,RO) write(B,1). */
        struct unit u;
        struct quire_space *a, *b;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, PAGE(2), RW);
        put(&u, a, 0, 1);
        b = fork_of(&u, a);
        end(&u, a);
        protect(&u, b, 0, PAGE(1), R);
        put(&u, b, PAGE(1), 2);
        CHECK_STATUS(test_store(&u.w, b, 0, 3), QUIRE_PROTECTED);
        CHECK(!page_at(b, 0).writable);
        end(&u, b);
        finish(&u);
    }
}

/*
 * Goal: execute permission that one space gets is not the twin's.  Method: a page without it is
 * shared by fork, one side protects it executable and fetches; the other side's fetch must be
 * refused by its region and by the machine.
 */
static void nx_loosened_by_twin(void)
{
    for (int child_loosens = 0; child_loosens < 2; child_loosens++) {
        struct unit u;
        struct quire_space *a, *b, *one, *other;
        uint8_t byte;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, PAGE(3), RW);
        put(&u, a, PAGE(0), 1);
        put(&u, a, PAGE(1), 1);
        protect(&u, a, 0, PAGE(3), R);
        b = fork_of(&u, a);
        one = child_loosens ? b : a;
        other = child_loosens ? a : b;
        protect(&u, one, 0, PAGE(3), R | X);
        CHECK_OK(test_fetch(&u.w, one, PAGE(1)));
        audit(&u);
        CHECK(get(&u, other, PAGE(1)) == 1);
        CHECK(!page_at(other, PAGE(1)).executable);
        CHECK(!soft_try(u.w.cpu[0], PAGE(1), X, &byte));
        CHECK_STATUS(test_fetch(&u.w, other, PAGE(1)), QUIRE_PROTECTED);
        CHECK(page_at(one, PAGE(1)).executable);
        CHECK(page_at(one, PAGE(1)).pfn == page_at(other, PAGE(1)).pfn);
        /* The other direction: a page that is executable when it is shared stays so for the twin
         * only. */
        protect(&u, one, 0, PAGE(3), R);
        CHECK_STATUS(test_fetch(&u.w, one, PAGE(1)), QUIRE_PROTECTED);
        end(&u, other);
        CHECK_STATUS(test_fetch(&u.w, one, PAGE(1)), QUIRE_PROTECTED);
        end(&u, one);
        finish(&u);
    }
}

/*
 * Goal: a CPU with a cached pointer to a table that its space has left never walks it again.
 * Method: CPU 1 reads in B through the shared leaf, CPU 0 makes B leave the leaf, B discards what
 * it borrowed so that the leaf thaws, A puts a page into an empty slot of it; CPU 1 reads that
 * address in B.
 */
static void pde_cache_after_unshare(void)
{
    struct unit u;
    struct quire_space *a, *b;
    uint8_t byte;

    begin_with(&u, &(struct test_options){.cpus = 3});
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put(&u, a, PAGE(0), 1);
    put(&u, a, PAGE(1), 1);
    b = fork_of(&u, a);
    test_run(&u.w, 1, b);
    CHECK_OK(soft_load(u.w.cpu[1], PAGE(0), &byte, 1));
    test_run(&u.w, 2, a);
    CHECK_OK(soft_load(u.w.cpu[2], PAGE(0), &byte, 1));
    put(&u, b, PAGE(1), 2); /* B leaves the leaf */
    unmap(&u, b, PAGE(0), PAGE(1));
    put(&u, a, PAGE(2), 3); /* A is alone with it and installs a page */
    put(&u, a, PAGE(0), 4);
    CHECK_OK(soft_load(u.w.cpu[1], PAGE(2), &byte, 1));
    CHECK(byte == 0);
    CHECK_OK(soft_load(u.w.cpu[1], PAGE(1), &byte, 1));
    CHECK(byte == 2);
    CHECK_STATUS(soft_load(u.w.cpu[1], PAGE(0), &byte, 1), QUIRE_NOT_MAPPED);
    CHECK_OK(soft_load(u.w.cpu[2], PAGE(2), &byte, 1));
    CHECK(byte == 3);
    CHECK_OK(soft_load(u.w.cpu[2], PAGE(1), &byte, 1));
    CHECK(byte == 1);
    audit(&u);
    /* The tables of A go, and their frames become B's data: nothing may still walk them. */
    end(&u, a);
    for (unsigned i = 0; i < 8; i++) {
        put(&u, b, LEAF + PAGE(i % 4), 0xff);
        CHECK_OK(soft_load(u.w.cpu[1], PAGE(2 + i % 2), &byte, 1));
        CHECK(byte == 0);
    }
    end(&u, b);
    finish(&u);
}

/*
 * Goal: a table whose last user has gone keeps homes and nothing it borrowed.  Method: a leaf
 * borrowed from a leaf, its owner gone, a grandchild left; every page ends up with exactly the
 * frames that someone can read.
 */
static void borrowed_left_in_dead_prototype(void)
{
    struct unit u;
    struct quire_space *a, *b, *c;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    put_each(&u, a, 4);
    b = fork_of(&u, a);
    put(&u, b, PAGE(0), 10);
    c = fork_of(&u, b);
    put(&u, c, PAGE(1), 20);
    CHECK(stats_of(&u).frames_data == 6);
    end(&u, b);
    CHECK(stats_of(&u).frames_data == 6); /* a's four, b's page 0 that c reads, c's page 1 */
    CHECK(get(&u, c, PAGE(0)) == 10);
    end(&u, a);
    CHECK(stats_of(&u).frames_data == 4);
    for (unsigned i = 0; i < 4; i++) {
        static const uint8_t wanted[] = {10, 20, 3, 4};

        CHECK(get(&u, c, PAGE(i)) == wanted[i]);
        put(&u, c, PAGE(i), (uint8_t)(wanted[i] + 1));
        CHECK(page_at(c, PAGE(i)).kind == QUIRE_PAGE_PRIVATE);
    }
    CHECK(stats_of(&u).copies == 2);
    CHECK(stats_of(&u).frames_data == 4);
    CHECK(stats_of(&u).frames_table == QUIRE_LEVELS);
    CHECK(stats_of(&u).frames_side == 0);
    end(&u, c);
    finish(&u);
    /* The shortest form: write(A,0) fork write(A,1), all exit. */
    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(2), RW);
    put(&u, a, 0, 1);
    b = fork_of(&u, a);
    put(&u, a, PAGE(1), 1);
    end(&u, b);
    end(&u, a);
    finish(&u);
}

/* What busy_is_not_empty sees at each flush. */
static struct {
    vaddr_t address;
    unsigned flushes, empty, present;
} seen;

static void look_at_entry(struct soft_machine *machine, struct quire_space *space, vaddr_t low,
                          vaddr_t high)
{
    pfn_t table = quire_space_root(space);

    if (seen.address < low || seen.address >= high)
        return;
    seen.flushes++;
    for (unsigned level = QUIRE_LEVELS; level > 0; level--) {
        unsigned shift = QUIRE_PAGE_SHIFT + (level - 1) * QUIRE_TABLE_SHIFT;
        const entry_t *entries =
            (const entry_t *)(const void *)(machine->direct_map +
                                            (size_t)(table - machine->first_frame) *
                                                QUIRE_PAGE_SIZE);
        entry_t e = entries[(seen.address >> shift) & (QUIRE_TABLE_ENTRIES - 1)];

        if (e == 0)
            seen.empty++;
        if (!(e & ENTRY_PRESENT))
            return;
        table = (pfn_t)((e & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT);
    }
    seen.present++;
}

/*
 * Goal: an entry that changes its frame or table is not present while the flush runs, and does not
 * look empty.  Method: look at the entry from within each flush, as another CPU could, for copies
 * of pages of each kind with and without a table to replace.
 */
static void busy_is_not_empty(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    (void)get(&u, a, PAGE(2));
    put(&u, a, PAGE(0), 1);
    put(&u, a, PAGE(1), 1);
    b = fork_of(&u, a);
    put(&u, b, PAGE(3), 1); /* b's tables are its own from here on */
    for (unsigned page = 0; page < 3; page++) {
        memset(&seen, 0, sizeof seen);
        seen.address = PAGE(page);
        u.w.machine->on_flush = look_at_entry;
        put(&u, b, PAGE(page), 2);
        u.w.machine->on_flush = NULL;
        CHECK(seen.flushes > 0);
        CHECK(seen.empty == 0);
        CHECK(seen.present == 0);
    }
    u.w.machine->on_flush = look_at_entry;
    memset(&seen, 0, sizeof seen);
    seen.address = PAGE(1);
    unmap(&u, b, PAGE(1), PAGE(1));
    CHECK(seen.flushes > 0 && seen.empty == 0 && seen.present == 0);
    u.w.machine->on_flush = NULL;
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/*
 * Goal: bringing one page of a hidden subtree back does not bring the others.  Method: share a
 * leaf, take all access to it away on one side, give one page back, read it; the machine must
 * refuse all others, and later they come back unharmed.
 */
static void unhide_one_page(void)
{
    for (int twin_dies = 0; twin_dies < 2; twin_dies++) {
        struct unit u;
        struct quire_space *a, *b;
        uint8_t byte;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, LEAF, RW);
        for (unsigned i = 0; i < 4; i++)
            put(&u, a, PAGE(i), (uint8_t)(i + 1));
        b = fork_of(&u, a);
        CHECK(get(&u, a, PAGE(3)) == 4);
        protect(&u, a, 0, LEAF, QUIRE_NONE);
        CHECK_STATUS(test_load(&u.w, a, PAGE(3), &byte), QUIRE_PROTECTED);
        if (twin_dies)
            end(&u, b);
        protect(&u, a, PAGE(1), PAGE(1), R);
        CHECK(get(&u, a, PAGE(1)) == 2);
        for (unsigned i = 0; i < 4; i++) {
            if (i == 1)
                continue;
            CHECK(!soft_try(u.w.cpu[0], PAGE(i), R, &byte));
            CHECK(!page_at(a, PAGE(i)).readable);
            CHECK_STATUS(test_load(&u.w, a, PAGE(i), &byte), QUIRE_PROTECTED);
        }
        CHECK_STATUS(test_store(&u.w, a, PAGE(1), 9), QUIRE_PROTECTED);
        protect(&u, a, 0, LEAF, RW);
        for (unsigned i = 0; i < 4; i++) {
            CHECK(get(&u, a, PAGE(i)) == i + 1);
            put(&u, a, PAGE(i), (uint8_t)(i + 21));
        }
        for (unsigned i = 0; !twin_dies && i < 4; i++)
            CHECK(get(&u, b, PAGE(i)) == i + 1);
        if (!twin_dies)
            end(&u, b);
        end(&u, a);
        finish(&u);
    }
}

/*
 * Goal: hidden subtrees live through everything that can happen to them.  Method: hide leaves (no
 * access, or no execute), then fork, write, unmap a part, end the twin; what was hidden comes back
 * as it was.
 */
static void hidden_through_fork(void)
{
    struct unit u;
    struct quire_space *a, *b, *c;
    uint8_t byte;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW | X);
    for (unsigned i = 0; i < 3; i++) {
        put(&u, a, PAGE(i), (uint8_t)(i + 1));
        put(&u, a, LEAF + PAGE(i), (uint8_t)(i + 11));
    }
    b = fork_of(&u, a);
    protect(&u, b, 0, 2 * LEAF, QUIRE_NONE);
    CHECK(stats_of(&u).hidden > 0);
    CHECK_OK(quire_access(b, LEAF + PAGE(1), &byte, 1, R | QUIRE_FORCE, NULL)); /* a debugger */
    CHECK(byte == 12);
    c = fork_of(&u, b);
    CHECK_STATUS(test_load(&u.w, c, 0, &byte), QUIRE_PROTECTED);
    protect(&u, c, 0, LEAF, RW);
    put(&u, c, PAGE(0), 31);
    CHECK_STATUS(test_fetch(&u.w, c, PAGE(1)), QUIRE_PROTECTED);
    unmap(&u, b, PAGE(1), PAGE(1));
    put(&u, a, PAGE(2), 41);
    end(&u, a);
    protect(&u, b, LEAF, LEAF, R | X);
    CHECK_OK(test_fetch(&u.w, b, LEAF + PAGE(1)));
    CHECK(get(&u, b, LEAF + PAGE(1)) == 12);
    protect(&u, b, PAGE(0), PAGE(1), R);
    CHECK(get(&u, b, PAGE(0)) == 1);
    CHECK_STATUS(test_load(&u.w, b, PAGE(1), &byte), QUIRE_NOT_MAPPED);
    CHECK_STATUS(test_load(&u.w, b, PAGE(2), &byte), QUIRE_PROTECTED);
    CHECK(get(&u, c, PAGE(0)) == 31);
    CHECK(get(&u, c, PAGE(1)) == 2);
    CHECK(get(&u, c, PAGE(2)) == 3);
    end(&u, b);
    protect(&u, c, LEAF, LEAF, RW);
    CHECK(get(&u, c, LEAF + PAGE(2)) == 13);
    put(&u, c, LEAF + PAGE(2), 51);
    end(&u, c);
    finish(&u);
}

/*
 * Goal: a page that its region forbids goes through forks and comes back.  Method: bar one page of
 * a leaf, fork, leave the leaf on either side, allow the page again on both, in each order of use
 * and death.
 */
static void barred_through_fork(void)
{
    for (unsigned shape = 0; shape < 8; shape++) {
        struct unit u;
        struct quire_space *a, *b, *leaves, *stays;
        uint8_t byte;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, PAGE(4), RW);
        for (unsigned i = 0; i < 3; i++)
            put(&u, a, PAGE(i), (uint8_t)(i + 1));
        protect(&u, a, PAGE(1), PAGE(1), QUIRE_NONE);
        b = fork_of(&u, a);
        leaves = shape & 1 ? a : b;
        stays = shape & 1 ? b : a;
        put(&u, leaves, PAGE(0), 11);
        CHECK_STATUS(test_load(&u.w, a, PAGE(1), &byte), QUIRE_PROTECTED);
        CHECK_STATUS(test_load(&u.w, b, PAGE(1), &byte), QUIRE_PROTECTED);
        CHECK(page_at(leaves, PAGE(1)).dirty && !page_at(leaves, PAGE(1)).readable);
        if (shape & 2)
            end(&u, stays);
        protect(&u, leaves, PAGE(1), PAGE(1), RW);
        if (shape & 4)
            CHECK(get(&u, leaves, PAGE(1)) == 2);
        put(&u, leaves, PAGE(1), 12);
        if (!(shape & 2)) {
            CHECK_STATUS(test_load(&u.w, stays, PAGE(1), &byte), QUIRE_PROTECTED);
            protect(&u, stays, PAGE(1), PAGE(1), RW);
            CHECK(get(&u, stays, PAGE(1)) == 2);
            put(&u, stays, PAGE(1), 13);
            end(&u, stays);
        }
        CHECK(get(&u, leaves, PAGE(1)) == 12);
        CHECK(get(&u, leaves, PAGE(2)) == 3);
        CHECK(stats_of(&u).frames_data == 3);
        end(&u, leaves);
        finish(&u);
    }
}

/*
 * Goal: a subtree that is hidden above the leaves comes back one path at a time.  Method: share
 * tables, take access to everything below one upper entry, give one page back, then parts, with
 * forks in between; pages that are still forbidden stay unreachable and keep their bytes.
 */
static void hidden_above_leaves(void)
{
    const vaddr_t upper = LEAF << QUIRE_TABLE_SHIFT;

    for (unsigned shape = 0; shape < 4; shape++) {
        struct unit u;
        struct quire_space *a, *b, *c;
        uint8_t byte;

        begin_with(&u, &(struct test_options){.frames = 256});
        a = space_new(&u);
        map(&u, a, 0, 2 * upper, RW);
        put(&u, a, 0, 1);
        put(&u, a, PAGE(1), 2);
        (void)get(&u, a, PAGE(2));
        put(&u, a, LEAF + PAGE(1), 3);
        put(&u, a, upper, 4);
        b = fork_of(&u, a);
        protect(&u, b, 0, upper, shape & 1 ? QUIRE_NONE : R);
        if (!(shape & 1))
            protect(&u, b, 0, upper, QUIRE_NONE);
        CHECK_STATUS(test_load(&u.w, b, 0, &byte), QUIRE_PROTECTED);
        CHECK(page_at(b, PAGE(1)).kind == QUIRE_PAGE_SHARED);
        CHECK(page_at(b, PAGE(1)).pfn == page_at(a, PAGE(1)).pfn);
        CHECK(!page_at(b, PAGE(1)).readable);
        CHECK(page_at(b, PAGE(3)).kind == QUIRE_PAGE_EMPTY);
        CHECK(get(&u, b, upper) == 4);
        c = shape & 2 ? fork_of(&u, b) : NULL;
        protect(&u, b, PAGE(1), PAGE(1), R);
        protect(&u, b, PAGE(1), PAGE(1), QUIRE_NONE); /* allowed and barred again, untouched */
        CHECK_STATUS(test_load(&u.w, b, PAGE(1), &byte), QUIRE_PROTECTED);
        protect(&u, b, PAGE(1), PAGE(1), RW);
        CHECK(get(&u, b, PAGE(1)) == 2);
        CHECK(!soft_try(u.w.cpu[0], 0, R, &byte));
        CHECK(!soft_try(u.w.cpu[0], PAGE(2), R, &byte));
        CHECK(!soft_try(u.w.cpu[0], LEAF + PAGE(1), R, &byte));
        put(&u, b, PAGE(1), 12);
        CHECK(get(&u, a, PAGE(1)) == 2);
        if (c)
            CHECK_STATUS(test_load(&u.w, c, PAGE(1), &byte), QUIRE_PROTECTED);
        unmap(&u, b, LEAF + PAGE(2), PAGE(1));
        end(&u, a);
        protect(&u, b, LEAF, PAGE(2), R);
        CHECK(get(&u, b, LEAF + PAGE(1)) == 3);
        protect(&u, b, 0, PAGE(4), RW);
        CHECK(get(&u, b, 0) == 1);
        CHECK(get(&u, b, PAGE(2)) == 0);
        put(&u, b, 0, 11);
        if (c) {
            unmap(&u, c, PAGE(1), PAGE(1));
            protect(&u, c, 0, PAGE(1), R);
            CHECK(get(&u, c, 0) == 1);
            CHECK_STATUS(test_load(&u.w, c, LEAF + PAGE(1), &byte), QUIRE_PROTECTED);
            end(&u, c);
        }
        CHECK(get(&u, b, 0) == 11);
        end(&u, b);
        finish(&u);
    }
}

/*
 * Goal: discarding a page of a table that lends takes nothing from the borrowers.  Method: fork,
 * unmap one page (and a part of a leaf, and a whole one) on each side in turn; the other side's
 * bytes stay.
 */
static void discard_in_lending_table(void)
{
    for (unsigned shape = 0; shape < 12; shape++) {
        static const struct {
            vaddr_t low, high;
        } cut[] = {{PAGE(0), PAGE(1)}, {PAGE(1), PAGE(3)}, {0, LEAF}};
        struct unit u;
        struct quire_space *a, *b, *cuts, *keeps;
        unsigned k = shape % 3;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, 2 * LEAF, RW);
        for (unsigned i = 0; i < 4; i++)
            put(&u, a, PAGE(i), (uint8_t)(i + 1));
        put(&u, a, LEAF, 9);
        b = fork_of(&u, a);
        if (shape >= 6)
            put(&u, b, PAGE(3), 4); /* the leaf lends from here on */
        cuts = shape / 3 % 2 ? a : b;
        keeps = shape / 3 % 2 ? b : a;
        unmap(&u, cuts, cut[k].low, cut[k].high - cut[k].low);
        for (unsigned i = 0; i < 4; i++) {
            bool gone = PAGE(i) >= cut[k].low && PAGE(i) < cut[k].high;
            uint8_t byte;

            CHECK(get(&u, keeps, PAGE(i)) == i + 1);
            CHECK_STATUS(test_load(&u.w, cuts, PAGE(i), &byte), gone ? QUIRE_NOT_MAPPED : QUIRE_OK);
            CHECK(gone || byte == i + 1);
        }
        map(&u, cuts, cut[k].low, cut[k].high - cut[k].low, RW);
        CHECK(get(&u, cuts, cut[k].low) == 0);
        put(&u, cuts, cut[k].low, 77);
        CHECK(get(&u, keeps, cut[k].low) != 77);
        CHECK(get(&u, cuts, LEAF) == 9);
        end(&u, keeps);
        CHECK(get(&u, cuts, cut[k].low) == 77);
        end(&u, cuts);
        finish(&u);
    }
}

/*
 * Goal: the zero page is nobody's, through forks and discards.  Method: the zero page mapped before
 * a fork, written by both sides, discarded, read again; it never turns writable and never turns up
 * as data.
 */
static void zero_page_has_no_home(void)
{
    struct unit u;
    struct quire_space *a, *b, *c;
    pfn_t zero;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    for (unsigned i = 0; i < 4; i++)
        (void)get(&u, a, PAGE(i));
    zero = page_at(a, 0).pfn;
    b = fork_of(&u, a);
    put(&u, b, PAGE(0), 1);
    c = fork_of(&u, b);
    end(&u, b);
    put(&u, c, PAGE(1), 2);
    put(&u, a, PAGE(1), 3);
    CHECK(page_at(c, PAGE(2)).pfn == zero && page_at(a, PAGE(2)).pfn == zero);
    unmap(&u, c, PAGE(2), PAGE(1));
    end(&u, a);
    put(&u, c, PAGE(3), 4);
    map(&u, c, PAGE(2), PAGE(1), RW);
    CHECK(get(&u, c, PAGE(2)) == 0);
    CHECK(page_at(c, PAGE(2)).pfn == zero);
    CHECK(!page_at(c, PAGE(2)).writable);
    CHECK(stats_of(&u).frames_data == 3);
    CHECK(stats_of(&u).copies == 0);
    end(&u, c);
    finish(&u);
}

/*
 * Goal: a leaf that has stopped lending is written in place again.  Method: a child borrows and
 * dies, over and over; the parent's writes in between copy nothing, and the frames used do not
 * grow.
 */
static void thaw(void)
{
    struct unit u;
    struct quire_space *a, *b;
    struct quire_stats first, s;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    for (unsigned i = 0; i < 4; i++)
        put(&u, a, PAGE(i), 1);
    first = stats_of(&u);
    for (unsigned round = 0; round < 8; round++) {
        b = fork_of(&u, a);
        put(&u, b, PAGE(round % 4), 2);
        end(&u, b);
        put(&u, a, PAGE(round % 4), (uint8_t)round);
        put(&u, a, PAGE((round + 1) % 4), (uint8_t)round);
    }
    s = stats_of(&u);
    CHECK(s.copies == first.copies + 8); /* the child's, and none of the parent's */
    CHECK(s.frames_data == first.frames_data);
    CHECK(s.frames_table == first.frames_table);
    CHECK(s.frames_side == 0);
    end(&u, a);
    finish(&u);
}

CHECK_MAIN("unit.holes", TEST(w_left_in_original), TEST(ro_region_after_child_exit),
           TEST(nx_loosened_by_twin), TEST(pde_cache_after_unshare),
           TEST(borrowed_left_in_dead_prototype), TEST(busy_is_not_empty), TEST(unhide_one_page),
           TEST(hidden_through_fork), TEST(barred_through_fork), TEST(hidden_above_leaves),
           TEST(discard_in_lending_table), TEST(zero_page_has_no_home), TEST(thaw))
