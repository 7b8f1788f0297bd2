/* SPDX-License-Identifier: MIT */
/*
 * Differences: quire_diff says what two spaces do not have in common, and quire_diff_and_mark loses
 * no write and reports none twice.
 */
#include "unit.h"

/* The pages below which these tests put everything, and words for their bits and one more. */
enum { PAGES = 3 * QUIRE_TABLE_ENTRIES, WORDS = PAGES / 64 + 2 };

static bool bit(const uint64_t *bits, uint64_t i) { return bits[i / 64] >> i % 64 & 1; }

/* The difference of pages [low, high), in words that were full of ones before. */
static unsigned diff(struct quire_space *space, struct quire_space *mark, uint64_t low,
                     uint64_t high, uint64_t *bits)
{
    unsigned count = 0;
    uint64_t words = (high - low + 63) / 64;

    memset(bits, 0xff, WORDS * sizeof bits[0]);
    CHECK_OK(quire_diff(space, mark, PAGE(low), PAGE(high - low), bits));
    for (uint64_t i = 0; i < words * 64; i++) {
        CHECK(i < high - low || !bit(bits, i));
        count += bit(bits, i);
    }
    CHECK(words == WORDS || bits[words] == UINT64_MAX);
    return count;
}

static unsigned count_all(struct quire_space *space, struct quire_space *mark)
{
    uint64_t bits[WORDS], back[WORDS];
    unsigned count = diff(space, mark, 0, PAGES, bits);

    CHECK(diff(mark, space, 0, PAGES, back) == count);
    CHECK(memcmp(bits, back, sizeof bits) == 0);
    return count;
}

static bool differs(struct quire_space *space, struct quire_space *mark, uint64_t page)
{
    uint64_t bits[WORDS];

    (void)diff(space, mark, 0, PAGES, bits);
    return bit(bits, page);
}

/* ---- known differences ----------------------------------------------------------------------- */

/*
 * Goal: a write sets one bit; what does not change content sets none.  Method: each operation on a
 * space with a mark, and the bits after each.
 */
static void pages(void)
{
    struct unit u;
    struct quire_space *a, *mark;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put_each(&u, a, 2);
    mark = fork_of(&u, a);
    CHECK(count_all(a, mark) == 0);
    (void)get(&u, a, PAGE(0));
    (void)get(&u, a, PAGE(2)); /* the zero page there, nothing here */
    CHECK(count_all(a, mark) == 0);
    put(&u, a, PAGE(1), 2); /* what was there before: that no byte is compared is documented */
    CHECK(count_all(a, mark) == 1 && differs(a, mark, 1));
    put(&u, a, PAGE(1), 3);
    put(&u, a, LEAF + PAGE(3), 1);
    CHECK(count_all(a, mark) == 2 && differs(a, mark, LEAF_PAGES + 3));
    protect(&u, a, 0, LEAF, R);
    CHECK(count_all(a, mark) == 2);
    protect(&u, a, 0, LEAF, QUIRE_NONE);
    CHECK(count_all(a, mark) == 2);
    protect(&u, mark, 0, 2 * LEAF, QUIRE_NONE);
    CHECK(count_all(a, mark) == 2);
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: what is mapped on one side only differs, resident or not; what was unmapped and mapped
 * again differs where there was content.
 */
static void regions(void)
{
    struct unit u;
    struct quire_space *a, *mark;

    begin(&u);
    a = space_new(&u);
    map(&u, a, PAGE(1), PAGE(3), RW);
    map(&u, a, LEAF, LEAF, R);
    put(&u, a, PAGE(2), 1);
    mark = fork_of(&u, a);
    unmap(&u, a, PAGE(1), PAGE(2));
    CHECK(count_all(a, mark) == 2 && differs(a, mark, 1) && differs(a, mark, 2));
    map(&u, a, PAGE(0), PAGE(3), R);
    CHECK(count_all(a, mark) == 2 && differs(a, mark, 0) && differs(a, mark, 2));
    unmap(&u, a, LEAF, LEAF);
    CHECK(count_all(a, mark) == 2 + LEAF_PAGES);
    map(&u, a, LEAF + PAGE(1), LEAF, RW);
    CHECK(count_all(a, mark) == 4 && differs(a, mark, LEAF_PAGES));
    CHECK(differs(a, mark, 2 * LEAF_PAGES));
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

/*
 * Goal: what was discarded, guarded, moved, or gave up its promise differs; what a pin made the
 * space's own may.  Method: each on a page of its own, and the bits after each.
 */
static void other_changes(void)
{
    struct unit u;
    struct quire_space *a, *mark;
    struct quire_run run;
    struct quire_pin pin;
    vaddr_t to = LEAF + PAGE(3);

    begin_with(&u, &(struct test_options){.max_pins = 1});
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put_each(&u, a, 3);
    mark = fork_of(&u, a);
    CHECK_OK(quire_discard(a, PAGE(0), PAGE(1)));
    CHECK(count_all(a, mark) == 1 && differs(a, mark, 0));
    CHECK_OK(quire_guard(a, PAGE(3), PAGE(1)));
    CHECK(count_all(a, mark) == 2 && differs(a, mark, 3));
    CHECK_OK(quire_guard(mark, PAGE(3), PAGE(1)));
    CHECK(count_all(a, mark) == 1);
    CHECK_OK(quire_unguard(a, PAGE(3), PAGE(1)));
    CHECK(count_all(a, mark) == 2);
    CHECK_OK(quire_decommit(a, LEAF, PAGE(2))); /* nothing is resident there */
    CHECK(count_all(a, mark) == 4 && differs(a, mark, LEAF_PAGES + 1));
    CHECK_OK(quire_commit(a, LEAF, PAGE(2), RW));
    CHECK(count_all(a, mark) == 2);
    CHECK_OK(quire_move(a, PAGE(2), PAGE(1), &to, PAGE(1), QUIRE_MOVE_FIXED));
    CHECK(count_all(a, mark) == 4 && differs(a, mark, 2) && differs(a, mark, LEAF_PAGES + 3));
    CHECK_OK(quire_pin(a, PAGE(1), 1, QUIRE_READ, &run, 1, &pin));
    CHECK(count_all(a, mark) == 5 && differs(a, mark, 1));
    CHECK_OK(quire_unpin(u.w.q, &pin));
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

/* Goal: any range, at any offset in the words, says what the range of all says. */
static void ranges(void)
{
    static const unsigned lengths[] = {1, 2, 3, 63, 64, 65, 127, 128, 129, 200};
    struct unit u;
    struct quire_space *a, *mark;
    uint64_t all[WORDS], bits[WORDS];

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(PAGES), RW);
    mark = fork_of(&u, a);
    for (unsigned i = 0; i < PAGES; i += 1 + i % 5)
        CHECK_OK(test_store(&u.w, a, PAGE(i), 1));
    unmap(&u, a, PAGE(PAGES / 2), PAGE(PAGES / 3));
    (void)diff(a, mark, 0, PAGES, all);
    for (unsigned n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
        for (unsigned low = 0; low + lengths[n] <= PAGES; low += PAGES / 7) {
            (void)diff(a, mark, low, low + lengths[n], bits);
            for (unsigned i = 0; i < lengths[n]; i++)
                CHECK(bit(bits, i) == bit(all, low + i));
        }
    }
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

static uint64_t touches;

static void count_touch(const void *address, bool write)
{
    (void)address;
    (void)write;
    touches++;
}

/*
 * Goal: what the two still share is not looked at.  Method: a page in every leaf of a range, a
 * fork, one write; shared words read for the difference of all, against the entries of one path.
 */
static void shared_is_passed(void)
{
    enum { LEAVES = 12 };
    const uint64_t path = 2 * QUIRE_LEVELS * QUIRE_TABLE_ENTRIES;
    struct unit u;
    struct quire_space *a, *mark;
    static uint64_t bits[LEAVES * QUIRE_TABLE_ENTRIES / 64 + 1];

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAVES * LEAF, RW);
    for (unsigned i = 0; i < LEAVES; i++)
        put(&u, a, i * LEAF, 1);
    mark = fork_of(&u, a);
    put(&u, a, 5 * LEAF, 2);
    touches = 0;
    test_touch = count_touch;
    CHECK_OK(quire_diff(a, mark, 0, LEAVES * LEAF, bits));
    test_touch = NULL;
    CHECK(touches > 0 && touches < path + 32);
    for (unsigned i = 0; i < LEAVES * LEAF_PAGES; i++)
        CHECK(bit(bits, i) == (i == 5 * LEAF_PAGES));
    end(&u, mark);
    end(&u, a);
    finish(&u);
    FIGURES("%llu shared words", (unsigned long long)touches);
}

static void errors(void)
{
    struct unit u, v;
    struct quire_space *a, *mark, *other, *was;
    uint64_t bits[WORDS], wrong = ~(uint64_t)0 << QUIRE_PAGE_SHIFT;

    begin(&u);
    begin(&v);
    a = space_new(&u);
    other = space_new(&v);
    was = mark = fork_of(&u, a);
    CHECK_STATUS(quire_diff(a, a, 0, PAGE(1), bits), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_diff(a, other, 0, PAGE(1), bits), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_diff(a, mark, 1, PAGE(1), bits), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_diff(a, mark, 0, 0, bits), QUIRE_ZERO_LENGTH);
    CHECK_STATUS(quire_diff(a, mark, wrong, PAGE(2), bits), QUIRE_WRAPS);
    CHECK_STATUS(quire_diff(a, mark, MMU_ADDRESS_END, PAGE(1), bits), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_diff_and_mark(a, &other, 0, PAGE(1), bits), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_diff_and_mark(a, &mark, 0, 0, bits), QUIRE_ZERO_LENGTH);
    CHECK(mark == was);
    end(&v, other);
    finish(&v);
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

/* ---- marks ----------------------------------------------------------------------------------- */

/*
 * Goal: each round of quire_diff_and_mark reports what was written since the last one, exactly.
 * Method: random stores to pages that are there, and a list of them.
 */
static void rounds(void)
{
    struct unit u;
    struct quire_space *a, *mark;
    uint64_t bits[WORDS], random = 9;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 200 : 4096});
    a = space_new(&u);
    map(&u, a, 0, PAGE(PAGES), RW);
    mark = fork_of(&u, a);
    for (unsigned round = 0; round < 50; round++) {
        bool written[PAGES] = {0};

        for (uint64_t n = test_random(&random) % 6; n > 0; n--) {
            uint64_t i = test_random(&random) % PAGES;

            put(&u, a, PAGE(i), (uint8_t)round);
            written[i] = true;
        }
        memset(bits, 0xff, sizeof bits);
        CHECK_OK(quire_diff_and_mark(a, &mark, 0, PAGE(PAGES), bits));
        audit(&u);
        CHECK(stats_of(&u).spaces == 2);
        for (unsigned i = 0; i < PAGES; i++)
            CHECK(bit(bits, i) == written[i]);
    }
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

/* Goal: without a record for the new mark nothing has happened.  Method: a full table of spaces. */
static void no_space(void)
{
    struct unit u;
    struct quire_space *a, *mark, *was, *third;
    uint64_t bits[WORDS];

    begin_with(&u, &(struct test_options){.max_spaces = 3});
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    was = mark = fork_of(&u, a);
    third = fork_of(&u, a);
    put(&u, a, PAGE(1), 1);
    CHECK_STATUS(quire_diff_and_mark(a, &mark, 0, LEAF, bits), QUIRE_TOO_MANY_SPACES);
    CHECK(mark == was && differs(a, mark, 1));
    end(&u, third);
    CHECK_OK(quire_diff_and_mark(a, &mark, 0, LEAF, bits));
    CHECK(bits[0] == 2 && count_all(a, mark) == 0);
    end(&u, mark);
    end(&u, a);
    finish(&u);
}

/* ---- any difference -------------------------------------------------------------------------- */

/* What looking at each page and each region says. */
static bool expected(struct quire_space *a, struct quire_space *b, vaddr_t at)
{
    struct quire_page page[2];
    struct quire_region region[2];
    bool mapped[2], frame[2];

    quire_page(a, at, &page[0]);
    quire_page(b, at, &page[1]);
    mapped[0] = quire_query(a, at, &region[0]) == QUIRE_OK && region[0].start <= at;
    mapped[1] = quire_query(b, at, &region[1]) == QUIRE_OK && region[1].start <= at;
    for (unsigned i = 0; i < 2; i++)
        frame[i] = page[i].kind != QUIRE_PAGE_EMPTY && page[i].kind != QUIRE_PAGE_ZERO;
    return mapped[0] != mapped[1] || frame[0] != frame[1] ||
           (frame[0] && page[0].pfn != page[1].pfn);
}

static void step(struct unit *u, struct quire_space *s, uint64_t *random)
{
    uint64_t page = test_random(random) % 3 * LEAF_PAGES + test_random(random) % 4;
    uint64_t length = 1 + test_random(random) % 6;
    enum quire_status status = QUIRE_OK;
    uint8_t byte;

    if (page + length > PAGES)
        length = 1;
    switch (test_random(random) % 8) {
    case 0: unmap(u, s, PAGE(page), PAGE(length)); break;
    case 1:
        unmap(u, s, PAGE(page), PAGE(length));
        map(u, s, PAGE(page), PAGE(length), RW);
        break;
    case 2: status = quire_protect(s, PAGE(page), PAGE(length), QUIRE_NONE); break;
    case 3: status = test_load(&u->w, s, PAGE(page), &byte); break;
    default: status = test_store(&u->w, s, PAGE(page), 1); break;
    }
    CHECK(status == QUIRE_OK || status == QUIRE_NOT_MAPPED || status == QUIRE_PROTECTED);
    audit(u);
}

/*
 * Goal: the bits are what looking at each page says, whatever the two have done, however they are
 * related.  Method: random operations in a family of three.
 */
static void any(void)
{
    struct unit u;
    struct quire_space *s[3];
    uint64_t bits[WORDS], random = 5, compared = 0, set = 0;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 300 : 600});
    s[0] = space_new(&u);
    map(&u, s[0], PAGE(2), PAGE(PAGES - 2), RW);
    s[1] = fork_of(&u, s[0]);
    s[2] = fork_of(&u, s[1]);
    for (unsigned i = 0; i < (MICRO ? 800 : 40); i++) {
        unsigned a = (unsigned)(test_random(&random) % 3), b = (a + 1) % 3;

        step(&u, s[a], &random);
        (void)diff(s[a], s[b], 0, PAGES, bits);
        for (unsigned page = 0; page < PAGES; page++, compared++) {
            CHECK(bit(bits, page) == expected(s[a], s[b], PAGE(page)));
            set += bit(bits, page);
        }
    }
    for (unsigned i = 0; i < 3; i++)
        end(&u, s[i]);
    finish(&u);
    FIGURES("%llu pages compared, %llu different", (unsigned long long)compared,
            (unsigned long long)set);
}

CHECK_MAIN("unit.diff", TEST(pages), TEST(regions), TEST(other_changes), TEST(ranges),
           TEST(shared_is_passed), TEST(errors), TEST(rounds), TEST(no_space), TEST(any))
