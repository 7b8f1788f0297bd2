/* SPDX-License-Identifier: MIT */
/*
 * Pins, one mechanism at a time; what the design rules name, and rows 22 to 25, 30, 44 and 45 of
 * docs/bugs.md.  A device is the test itself: it writes and reads frames through the direct map.
 */
#include "unit.h"

#include "pin.h"

enum { RUNS = 16 };

struct device {
    struct quire_pin pin;
    struct quire_run run[RUNS];
};

static void pin_pages(struct unit *u, struct quire_space *space, vaddr_t address, uint64_t length,
                      uint32_t access, struct device *d)
{
    CHECK_OK(quire_pin(space, address, length, access, d->run, RUNS, &d->pin));
    audit(u);
}

static void let_go(struct unit *u, struct device *d)
{
    CHECK_OK(quire_unpin(u->w.q, &d->pin));
    audit(u);
}

/* The n-th pinned page, as the device sees it. */
static uint8_t *device_page(struct unit *u, const struct device *d, uint32_t n)
{
    for (uint32_t i = 0; i < d->pin.run_count; n -= d->run[i].count, i++)
        if (n < d->run[i].count)
            return u->w.frames +
                   ((size_t)(d->run[i].first + n - u->w.config.first_frame) << QUIRE_PAGE_SHIFT);
    return NULL;
}

static void pins_begin(struct unit *u) { begin_with(u, &(struct test_options){.max_pins = 4}); }

/*
 * H10.  Goal: after a fork the owner of a pinned page and the device still share it, whatever the
 * owner writes beside it first, and the child has what was there at the fork.
 */
static void pin_fork_write_neighbour_then_pinned(void)
{
    struct unit u;
    struct device d;
    struct quire_space *a, *b;

    pins_begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put_each(&u, a, 3);
    pin_pages(&u, a, 0, PAGE(1), W, &d);
    b = fork_of(&u, a);
    put(&u, a, PAGE(1), 20);
    put(&u, a, 0, 21);
    CHECK(*device_page(&u, &d, 0) == 21);
    *device_page(&u, &d, 0) = 22;
    CHECK(get(&u, a, 0) == 22);
    CHECK(get(&u, b, 0) == 1 && get(&u, b, PAGE(1)) == 2 && get(&u, b, PAGE(2)) == 3);
    put(&u, b, 0, 30);
    CHECK(get(&u, a, 0) == 22 && *device_page(&u, &d, 0) == 22);
    let_go(&u, &d);
    end(&u, a);
    CHECK(get(&u, b, 0) == 30);
    end(&u, b);
    finish(&u);
}

/* Rows 22 to 24.  A read pin of a shared page in the child: the parent never reuses its frame. */
static void read_pin_is_private(void)
{
    struct unit u;
    struct device d;
    struct quire_space *a, *b;

    pins_begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put(&u, a, 0, 1);
    b = fork_of(&u, a);
    pin_pages(&u, b, 0, PAGE(1), R, &d);
    CHECK(page_at(b, 0).pfn != page_at(a, 0).pfn);
    unmap(&u, b, 0, PAGE(1));
    put(&u, a, 0, 77);
    CHECK(*device_page(&u, &d, 0) == 1);
    end(&u, b);
    let_go(&u, &d);
    end(&u, a);
    finish(&u);
}

/* H11 b.  An unmapped or discarded page lives, promised, until the last of its pins has gone. */
static void unmap_pinned(void)
{
    struct unit u;
    struct device d, e;
    struct quire_space *a;
    uint64_t promised;

    pins_begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, PAGE(1), 2);
    pin_pages(&u, a, 0, PAGE(2), W, &d);
    pin_pages(&u, a, PAGE(1), PAGE(1), R, &e);
    promised = stats_of(&u).committed;
    unmap(&u, a, 0, PAGE(1));
    CHECK(stats_of(&u).committed == promised);
    CHECK_OK(quire_discard(a, PAGE(1), PAGE(1)));
    audit(&u);
    CHECK(get(&u, a, PAGE(1)) == 0);
    CHECK(*device_page(&u, &d, 0) == 1 && *device_page(&u, &d, 1) == 2);
    CHECK(stats_of(&u).pins == 2 && stats_of(&u).pages_pinned == 3);
    let_go(&u, &d);
    CHECK(*device_page(&u, &e, 0) == 2);
    CHECK(stats_of(&u).frames_data == 1);
    let_go(&u, &e);
    CHECK(stats_of(&u).frames_data == 0);
    end(&u, a);
    CHECK(stats_of(&u).committed == 0);
    finish(&u);
}

/* Row 30.  A handle is let go once, by whoever has it, and a failed pin holds nothing. */
static void handles(void)
{
    struct unit u;
    struct device d[5], copy;
    struct quire_space *a;

    pins_begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    for (unsigned i = 0; i < 4; i++)
        pin_pages(&u, a, PAGE(i), PAGE(1), R, &d[i]);
    CHECK_STATUS(quire_pin(a, 0, 1, R, d[4].run, RUNS, &d[4].pin), QUIRE_TOO_MANY_PINS);
    copy = d[1];
    let_go(&u, &d[1]);
    CHECK_STATUS(quire_unpin(u.w.q, &d[1].pin), QUIRE_BAD_PIN);
    CHECK_STATUS(quire_unpin(u.w.q, &copy.pin), QUIRE_BAD_PIN);
    pin_pages(&u, a, PAGE(1), PAGE(1), R, &d[1]);
    CHECK_STATUS(quire_unpin(u.w.q, &copy.pin), QUIRE_BAD_PIN);
    copy.pin.slot = 1000;
    CHECK_STATUS(quire_unpin(u.w.q, &copy.pin), QUIRE_BAD_PIN);
    let_go(&u, &d[1]);
    /* The second page is not mapped; then there is no room for a second run. */
    CHECK_STATUS(quire_pin(a, 2 * LEAF - 1, 2, W, d[1].run, RUNS, &d[1].pin), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_pin(a, 0, 2 * LEAF, W, d[1].run, 0, &d[1].pin), QUIRE_TOO_MANY_PINS);
    CHECK_STATUS(quire_pin(a, 0, 0, W, d[1].run, RUNS, &d[1].pin), QUIRE_ZERO_LENGTH);
    CHECK_STATUS(quire_pin(a, UINT64_MAX, 2, W, d[1].run, RUNS, &d[1].pin), QUIRE_WRAPS);
    CHECK_STATUS(quire_pin(a, 0, 1, W | R, d[1].run, RUNS, &d[1].pin), QUIRE_BAD_FLAGS);
    audit(&u);
    CHECK(stats_of(&u).pages_pinned == 3);
    let_go(&u, &d[0]);
    let_go(&u, &d[2]);
    let_go(&u, &d[3]);
    end(&u, a);
    finish(&u);
}

/* A range over several regions, aligned to nothing; all of them must allow what the device does. */
static void across_regions(void)
{
    struct unit u;
    struct device d;
    struct quire_space *a;

    pins_begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    map(&u, a, LEAF, LEAF, R);
    CHECK_STATUS(quire_pin(a, LEAF - 1, 2, W, d.run, RUNS, &d.pin), QUIRE_PROTECTED);
    audit(&u);
    CHECK(stats_of(&u).pages_pinned == 0);
    pin_pages(&u, a, LEAF - 1, 2, R, &d);
    CHECK(d.pin.pages == 2);
    CHECK(device_page(&u, &d, 1)[0] == 0);
    CHECK(!page_at(a, LEAF).writable && page_at(a, LEAF).kind == QUIRE_PAGE_PRIVATE);
    let_go(&u, &d);
    end(&u, a);
    finish(&u);
}

/* H11 c.  Hints that are out of date cost one look, and then nothing: fork is flat again. */
static void hints_go(void)
{
    struct unit u;
    struct device d;
    struct quire_space *a, *b;
    uint32_t pages;
    vaddr_t at = 0;

    pins_begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put(&u, a, 0, 1);
    pin_pages(&u, a, LEAF, PAGE(1), W, &d);
    CHECK(qi_pinned_leaf(a, &at, &pages) && at == LEAF && pages == 1);
    let_go(&u, &d);
    b = fork_of(&u, a);
    CHECK(page_at(b, 0).pfn == page_at(a, 0).pfn);
    CHECK(quire_space_root(a) == quire_space_root(b));
    CHECK(stats_of(&u).copies == 0);
    end(&u, b);
    end(&u, a);
    finish(&u);
}

/*
 * H17.  A parent forks once for each page of a leaf, writes that page, and all children go.  Each
 * fork leaves a table behind, with the home of one page; pulling takes them together.
 */
static void snapshot_ladder_metadata(void)
{
    enum { STEPS = MICRO ? 4 : 64 };
    struct unit u;
    struct quire_space *a, *child[STEPS];

    begin_with(&u, &(struct test_options){.frames = MICRO ? 64 : 4096, .max_spaces = STEPS + 1});
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put_each(&u, a, STEPS);
    for (unsigned k = 0; k < STEPS; k++) {
        child[k] = fork_of(&u, a);
        put(&u, a, PAGE(k), (uint8_t)(100 + k));
    }
    for (unsigned k = 0; k < STEPS; k++)
        end(&u, child[k]);
    for (unsigned k = 0; k < STEPS; k++)
        CHECK(get(&u, a, PAGE(k)) == (uint8_t)(100 + k));
    (void)quire_space_pull(a);
    audit(&u);
    CHECK(stats_of(&u).frames_table + stats_of(&u).frames_side <= QUIRE_LEVELS + 1);
    for (unsigned k = 0; k < STEPS; k++)
        CHECK(get(&u, a, PAGE(k)) == (uint8_t)(100 + k));
    end(&u, a);
    finish(&u);
}

/* Pages that were read only after the fork are pulled too, in one pass, and no page is copied. */
static void pull_takes_what_is_left(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put_each(&u, a, 4);
    b = fork_of(&u, a);
    put(&u, a, 0, 50);
    CHECK(quire_space_pull(a) == 0); /* b uses them */
    end(&u, b);
    CHECK(quire_space_pull(a) == 3);
    audit(&u);
    CHECK(stats_of(&u).frames_side == 0 && stats_of(&u).frames_table == QUIRE_LEVELS);
    CHECK(page_at(a, PAGE(1)).kind == QUIRE_PAGE_PRIVATE && page_at(a, PAGE(1)).dirty);
    CHECK(quire_space_pull(a) == 0);
    end(&u, a);
    finish(&u);
}

/* Rows 44, 45, 70.  A debugger writes where the program may not, and changes nobody else's page. */
static void forced_access(void)
{
    struct unit u;
    struct quire_space *a, *b;
    uint8_t byte = 9, seen = 0;
    size_t done;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put(&u, a, 0, 1);
    protect(&u, a, 0, PAGE(1), R);
    b = fork_of(&u, a);
    CHECK_OK(quire_access(b, 0, &byte, 1, QUIRE_WRITE | QUIRE_FORCE, &done));
    audit(&u);
    CHECK(done == 1 && get(&u, b, 0) == 9 && get(&u, a, 0) == 1);
    CHECK(!page_at(b, 0).writable && page_at(b, 0).dirty);
    CHECK_STATUS(test_store(&u.w, b, 0, 5), QUIRE_PROTECTED);
    protect(&u, b, 0, PAGE(1), 0);
    byte = 10;
    CHECK_OK(quire_access(b, 0, &byte, 1, QUIRE_WRITE | QUIRE_FORCE, &done));
    CHECK_OK(quire_access(b, 0, &seen, 1, QUIRE_READ | QUIRE_FORCE, &done));
    audit(&u);
    CHECK(seen == 10 && !page_at(b, 0).readable);
    CHECK_STATUS(quire_read(b, 0, &seen, 1, &done), QUIRE_PROTECTED);
    protect(&u, b, 0, PAGE(1), RW);
    CHECK(get(&u, b, 0) == 10 && get(&u, a, 0) == 1);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/* Row 52.  The limit on copies: the write that would be one too many is refused, and no other. */
static void copies_are_limited(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put_each(&u, a, 4);
    b = fork_of(&u, a);
    quire_space_limit(b, UINT64_MAX, QUIRE_LEVELS + 3); /* the tables, a side frame, two pages */
    put(&u, b, 0, 50);
    put(&u, b, PAGE(1), 51);
    CHECK_STATUS(test_store(&u.w, b, PAGE(2), 52), QUIRE_COPY_LIMIT);
    CHECK(get(&u, b, PAGE(2)) == 3);
    put(&u, b, 0, 60);
    put(&u, a, PAGE(2), 61);
    quire_space_limit(b, UINT64_MAX, UINT64_MAX);
    put(&u, b, PAGE(2), 52);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/* The largest share or use of any table, or `largest` if that is more. */
static uint32_t larger_count(struct unit *u, uint32_t largest)
{
    const struct qi_frames *f = &u->w.q->frames;

    for (uint32_t n = 0; n < f->count; n++) {
        const struct qi_frame *r = &f->records[n];

        if (r->state != QI_FRAME_TABLE)
            continue;
        largest = r->share > largest ? r->share : largest;
        for (unsigned k = 0; r->side != QI_NO_FRAME && k < QUIRE_TABLE_ENTRIES; k++) {
            uint32_t uses = table_side(u->w.q, r)->uses[k];

            largest = uses > largest ? uses : largest;
        }
    }
    return largest;
}

/*
 * Invariant 8, row 28.  Goal: with at most 15 spaces no count of sharers needs more than four bits.
 * Method: random forks, writes and exits; every share and every use is looked at after each step.
 */
static void counts_fit_four_bits(void)
{
    enum { SPACES = 15, STEPS = 3000 };
    struct unit u;
    struct quire_space *space[SPACES] = {NULL}, *over;
    uint64_t random = 7;
    uint32_t largest = 0;

    begin_with(&u, &(struct test_options){.frames = 512, .max_spaces = SPACES});
    space[0] = space_new(&u);
    map(&u, space[0], 0, 2 * LEAF, RW);
    put_each(&u, space[0], 4);
    for (unsigned i = 1; i < SPACES; i++)
        space[i] = fork_of(&u, space[0]);
    CHECK_STATUS(quire_space_fork(space[0], &over), QUIRE_TOO_MANY_SPACES);
    largest = larger_count(&u, 0);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)(test_random(&random) % SPACES);
        unsigned j = (unsigned)(test_random(&random) % SPACES);

        if (space[i] && !space[j])
            CHECK_OK(quire_space_fork(space[i], &space[j]));
        else if (space[i] && i != j && step % 4 == 0 && space[j]) {
            test_end(&u.w, space[i]);
            space[i] = NULL;
        } else if (space[i])
            CHECK_OK(test_store(&u.w, space[i], PAGE(step % 6), (uint8_t)step));
        largest = larger_count(&u, largest);
        CHECK(largest <= SPACES);
    }
    audit(&u);
    for (unsigned i = 0; i < SPACES; i++)
        if (space[i])
            end(&u, space[i]);
    CHECK(largest == SPACES);
    FIGURES("the largest count was %u", largest);
    finish(&u);
}

CHECK_MAIN("unit.pin", TEST(pin_fork_write_neighbour_then_pinned), TEST(read_pin_is_private),
           TEST(unmap_pinned), TEST(handles), TEST(across_regions), TEST(hints_go),
           TEST(snapshot_ladder_metadata), TEST(pull_takes_what_is_left), TEST(forced_access),
           TEST(copies_are_limited), TEST(counts_fit_four_bits))
