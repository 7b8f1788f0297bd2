/* SPDX-License-Identifier: MIT */
/*
 * Clones: a range that equals another until one of them is written.
 */
#include "pager.h"
#include "two.h"

#include "table.h"

enum { PAGES = QUIRE_TABLE_ENTRIES + 3, ROOM = 3 * QUIRE_TABLE_ENTRIES };

static void clone(struct unit *u, struct quire_space *from, vaddr_t source, struct quire_space *to,
                  vaddr_t target, uint64_t pages)
{
    uint64_t done;

    CHECK_OK(quire_clone(from, source, to, target, PAGE(pages), &done));
    CHECK(done == PAGE(pages));
    audit(u);
}

/* Goal: the clone is what the source was, whoever writes first; no page is copied by cloning. */
static void equal_until_written(void)
{
    struct unit u;
    struct quire_space *a, *b;
    uint64_t copies;

    begin(&u);
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, PAGE(PAGES), RW);
    map(&u, b, PAGE(1), PAGE(PAGES), RW);
    put_each(&u, a, PAGES - 1);
    put(&u, b, PAGE(1), 99); /* goes */
    copies = stats_of(&u).copies;
    clone(&u, a, 0, b, PAGE(1), PAGES);
    CHECK(stats_of(&u).copies == copies);
    for (unsigned i = 0; i < PAGES - 1; i++) {
        CHECK(get(&u, b, PAGE(1 + i)) == (uint8_t)(i + 1));
        CHECK(page_at(b, PAGE(1 + i)).pfn == page_at(a, PAGE(i)).pfn);
    }
    CHECK(get(&u, b, PAGE(PAGES)) == 0);
    put(&u, a, PAGE(2), 77);
    put(&u, b, PAGE(4), 88);
    CHECK(get(&u, b, PAGE(3)) == 3);
    CHECK(get(&u, a, PAGE(3)) == 4);
    CHECK(get(&u, a, PAGE(2)) == 77 && get(&u, b, PAGE(4)) == 88);
    end(&u, a);
    CHECK(get(&u, b, PAGE(2)) == 2);
    put(&u, b, PAGE(2), 5);
    end(&u, b);
    finish(&u);
}

/* Goal: clones of clones, forks of clones and clones of forks, in one space and two; all die. */
static void again_and_again(void)
{
    struct unit u;
    struct quire_space *a, *child;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(ROOM), RW);
    put(&u, a, PAGE(0), 1);
    put(&u, a, PAGE(1), 2);
    clone(&u, a, 0, a, LEAF, 2);
    CHECK(page_at(a, LEAF).pfn == page_at(a, 0).pfn);
    clone(&u, a, LEAF, a, 2 * LEAF + PAGE(1), 2);
    child = fork_of(&u, a);
    clone(&u, child, 2 * LEAF + PAGE(1), a, PAGE(2), 2);
    clone(&u, a, LEAF, child, 2 * LEAF, 2);
    CHECK(get(&u, a, PAGE(3)) == 2);
    put(&u, a, PAGE(0), 10);
    put(&u, child, LEAF, 20);
    CHECK(get(&u, a, LEAF) == 1 && get(&u, child, 2 * LEAF) == 1 && get(&u, child, 0) == 1);
    end(&u, a);
    CHECK(get(&u, child, 2 * LEAF + PAGE(1)) == 2);
    CHECK(get(&u, child, LEAF) == 20);
    end(&u, child);
    finish(&u);
}

/* Goal: what can not be shared is copied: one leaf, pinned pages, views on both sides. */
static void copied_where_it_must(void)
{
    static uint8_t disk[4 << QUIRE_PAGE_SHIFT];
    struct unit u;
    struct test_file file;
    struct quire_section *section;
    struct quire_space *a, *b;
    struct quire_run run;
    struct quire_pin pin;
    vaddr_t at = LEAF;

    begin_with(&u, &(struct test_options){.max_sections = 1, .max_pins = 1});
    memset(disk, 3, sizeof disk);
    test_file_init(&file, &u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&file, sizeof disk, &section));
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    map(&u, b, 0, LEAF, RW);
    CHECK_OK(quire_map_view(a, &at, PAGE(3), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put(&u, a, 0, 1);
    clone(&u, a, 0, a, PAGE(1), 1);
    CHECK(get(&u, a, PAGE(1)) == 1);
    clone(&u, a, PAGE(1), a, 0, 1);
    CHECK(get(&u, a, 0) == 1);
    CHECK_OK(quire_pin(a, 0, 1, W, &run, 1, &pin));
    clone(&u, a, 0, b, 0, 1);
    put(&u, a, 0, 2);
    CHECK(page_at(a, 0).pfn == run.first);
    CHECK(get(&u, b, 0) == 1);
    CHECK_OK(quire_unpin(u.w.q, &pin));
    clone(&u, a, LEAF, b, 0, 3); /* out of a view */
    put(&u, a, LEAF, 4);
    CHECK(get(&u, b, 0) == 3 && get(&u, b, PAGE(2)) == 3);
    put(&u, b, PAGE(1), 5);
    clone(&u, b, PAGE(1), a, LEAF + PAGE(2), 1); /* into one */
    end(&u, b);
    CHECK_OK(quire_section_sync(section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[0] == 4 && disk[PAGE(2)] == 5);
    end(&u, a);
    quire_section_close(section);
    finish(&u);
}

/*
 * Goal: pins hold through clones.  Method: a page beside a pinned one is cloned and written, and
 * the space forks before the pinned one is written; then the pinned one is the target.
 */
static void pins_stay(void)
{
    struct unit u;
    struct quire_space *a, *b, *twin;
    struct quire_run run;
    struct quire_pin pin;

    begin_with(&u, &(struct test_options){.max_pins = 1});
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    map(&u, b, 0, LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, PAGE(1), 2);
    CHECK_OK(quire_pin(a, 0, 1, W, &run, 1, &pin));
    clone(&u, a, PAGE(1), b, 0, 1);
    put(&u, a, PAGE(1), 3);
    twin = fork_of(&u, a);
    put(&u, a, 0, 4);
    CHECK(get(&u, b, 0) == 2 && page_at(a, 0).pfn == run.first);
    CHECK(get(&u, twin, 0) == 1);
    end(&u, twin);
    clone(&u, b, 0, a, 0, 1);
    CHECK(get(&u, a, 0) == 2 && page_at(a, 0).pfn == run.first);
    CHECK(page_at(a, 0).kind == QUIRE_PAGE_PRIVATE);
    CHECK_OK(quire_unpin(u.w.q, &pin));
    clone(&u, a, 0, b, PAGE(1), 1); /* no more reason to copy it */
    CHECK(page_at(b, PAGE(1)).pfn == run.first);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/* Goal: each refusal says how far it came, and changes nothing beyond. */
static void refused(void)
{
    struct unit u;
    struct quire_space *a, *b;
    uint64_t done = 9;

    begin(&u);
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, PAGE(2), RW);
    map(&u, b, 0, PAGE(1), RW);
    map(&u, b, PAGE(1), PAGE(1), R);
    put(&u, a, PAGE(1), 1);
    CHECK_STATUS(quire_clone(a, 1, b, 0, PAGE(1), NULL), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_clone(a, 0, b, 1, PAGE(1), NULL), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_clone(a, 0, b, 0, 0, NULL), QUIRE_ZERO_LENGTH);
    CHECK_STATUS(quire_clone(a, 0, a, PAGE(1), PAGE(2), NULL), QUIRE_OVERLAPS);
    CHECK_STATUS(quire_clone(a, 0, b, 0, PAGE(2), &done), QUIRE_PROTECTED);
    CHECK(done == PAGE(1));
    CHECK_STATUS(quire_clone(a, PAGE(1), b, 0, PAGE(2), &done), QUIRE_NOT_MAPPED);
    CHECK(done == PAGE(1) && get(&u, b, 0) == 1);
    CHECK_OK(quire_guard(b, 0, PAGE(1)));
    CHECK_STATUS(quire_clone(a, 0, b, 0, PAGE(1), &done), QUIRE_GUARDED);
    CHECK(done == 0);
    CHECK_OK(quire_guard(a, 0, PAGE(1)));
    CHECK_OK(quire_unguard(b, 0, PAGE(1)));
    CHECK_STATUS(quire_clone(a, 0, b, 0, PAGE(1), &done), QUIRE_GUARDED);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/* Goal: every number of free frames is enough, or a refusal that loses nothing. */
static void with_k_frames(void)
{
    unsigned refusals = 0;

    for (unsigned k = 0; k < 16; k++) {
        struct unit u;
        struct quire_space *a, *b;
        pfn_t taken[4096];
        unsigned count = 0;

        begin(&u);
        a = space_new(&u);
        b = space_new(&u);
        map(&u, a, 0, PAGE(PAGES), RW);
        map(&u, b, 0, PAGE(PAGES), RW);
        put(&u, a, 0, 1);
        put(&u, a, LEAF, 2);
        while (quire_free_frames(u.w.q) > k)
            CHECK_OK(quire_frame_take(u.w.q, &taken[count++]));
        enum quire_status status = quire_clone(a, 0, b, 0, PAGE(PAGES), NULL);
        CHECK(status == QUIRE_OK || status == QUIRE_NO_MEMORY);
        refusals += status != QUIRE_OK;
        audit(&u);
        while (count > 0)
            quire_frame_give(u.w.q, taken[--count]);
        CHECK(get(&u, a, 0) == 1 && get(&u, a, LEAF) == 2);
        clone(&u, a, 0, b, 0, PAGES);
        CHECK(get(&u, b, 0) == 1 && get(&u, b, LEAF) == 2);
        end(&u, a);
        end(&u, b);
        finish(&u);
    }
    CHECK(refusals > 0 && refusals < 16);
    FIGURES("%u refusals", refusals);
}

/* ---- every kind of entry --------------------------------------------------------------------- */

static entry_t *slot_of(struct unit *u, struct quire_space *space, vaddr_t address, unsigned level)
{
    pfn_t table = space->root;

    for (unsigned at = QUIRE_LEVELS; at > level; at--)
        table = entry_pfn(table_entries(u->w.q, table)[entry_index(address, at)]);
    return &table_entries(u->w.q, table)[entry_index(address, level)];
}

/*
 * Goal: every kind of page is cloned as what it reads.  Method: pages that are own, zeros, barred,
 * borrowed, borrowed and not present, and never touched, of a range whose rights came back.
 */
static void every_kind(void)
{
    struct unit u;
    struct quire_space *a, *b, *twin;
    uint64_t copies;

    begin(&u);
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    map(&u, b, 0, 2 * LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, PAGE(1), 2);
    twin = fork_of(&u, a);
    CHECK(get(&u, a, PAGE(2)) == 0);
    protect(&u, a, 0, PAGE(1), QUIRE_NONE);
    protect(&u, a, 0, PAGE(1), RW);
    put(&u, a, PAGE(3), 4);
    protect(&u, a, PAGE(3), PAGE(1), QUIRE_NONE);
    protect(&u, a, PAGE(3), PAGE(1), RW);
    CHECK(entry_kind(*slot_of(&u, a, 0, 1), 1) == QI_PROTOTYPE);
    CHECK(entry_kind(*slot_of(&u, a, PAGE(3), 1), 1) == QI_BARRED);
    copies = stats_of(&u).copies;
    clone(&u, a, 0, b, 0, 4);
    clone(&u, a, 0, b, LEAF, 4);
    clone(&u, a, 0, twin, 0, 4);
    CHECK(stats_of(&u).copies == copies);
    CHECK(get(&u, b, 0) == 1 && get(&u, b, PAGE(1)) == 2);
    CHECK(get(&u, b, PAGE(2)) == 0 && get(&u, b, PAGE(3)) == 4);
    CHECK(get(&u, twin, PAGE(3)) == 4);
    end(&u, a);
    CHECK(get(&u, b, LEAF) == 1 && get(&u, b, LEAF + PAGE(3)) == 4);
    end(&u, twin);
    end(&u, b);
    finish(&u);
}

/* Goal: where a leaf is missing on either side, or both have one, the target reads the source. */
static void missing_leaves(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 4 * LEAF, RW);
    put(&u, a, 0, 1);
    b = fork_of(&u, a);
    clone(&u, a, LEAF, a, 2 * LEAF, LEAF_PAGES); /* neither has one */
    clone(&u, a, LEAF, a, 0, 1);                 /* the target has one */
    CHECK(get(&u, a, 0) == 0 && get(&u, b, 0) == 1);
    clone(&u, b, 0, a, LEAF, 1); /* the source has one */
    CHECK(get(&u, a, LEAF) == 1);
    put(&u, b, 0, 2);
    CHECK(get(&u, a, LEAF) == 1);
    end(&u, b);
    b = fork_of(&u, a);
    clone(&u, a, LEAF, b, LEAF, 1); /* both have the same */
    CHECK(get(&u, b, LEAF) == 1);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/* Goal: a leaf that lends nothing stays writable: its own pages are elsewhere. */
static void nothing_to_lend(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    map(&u, b, 0, LEAF, RW);
    put(&u, a, 0, 1);
    CHECK(get(&u, a, PAGE(1)) == 0);
    clone(&u, a, PAGE(1), b, PAGE(1), 2);
    CHECK(*slot_of(&u, a, 0, 2) & ENTRY_WRITE);
    clone(&u, a, 0, b, 0, 1);
    CHECK(!(*slot_of(&u, a, 0, 2) & ENTRY_WRITE));
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/* Goal: what is in the way is told, and how far the clone came. */
static void in_the_way(void)
{
    struct unit u, other;
    struct quire_space *a, *b, *stranger;
    vaddr_t at = PAGE(3);
    uint64_t done;

    begin(&u);
    begin(&other);
    stranger = space_new(&other);
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    map(&u, b, 0, PAGE(3), RW);
    put_each(&u, a, 4);
    CHECK_STATUS(quire_clone(a, 0, stranger, 0, PAGE(1), &done), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_clone(a, 0, b, 0, PAGE(4), &done), QUIRE_NOT_MAPPED);
    CHECK(done == PAGE(3) && get(&u, b, PAGE(2)) == 3);
    CHECK_OK(quire_map(b, &at, PAGE(1), RW, QUIRE_MAP_FIXED | QUIRE_MAP_RESERVE));
    CHECK_STATUS(quire_clone(a, PAGE(3), b, at, PAGE(1), NULL), QUIRE_NOT_COMMITTED);
    protect(&u, a, 0, PAGE(1), QUIRE_NONE);
    CHECK_STATUS(quire_clone(a, 0, b, 0, PAGE(1), &done), QUIRE_PROTECTED);
    protect(&u, b, 0, PAGE(1), R);
    CHECK_STATUS(quire_clone(a, PAGE(1), b, 0, PAGE(1), &done), QUIRE_PROTECTED);
    CHECK(done == 0);
    end(&u, a);
    end(&u, b);
    end(&other, stranger);
    finish(&other);
    finish(&u);
}

/*
 * Goal: counts do not wrap: a page with more users than can be counted is copied.  Method: the
 * count of a page that is lent is set that high, and back.
 */
static void too_many_users(void)
{
    struct unit u;
    struct quire_space *a, *b, *twin;
    struct qi_frame *leaf;
    uint32_t *uses;
    uint64_t fills;

    begin(&u);
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    map(&u, b, 0, LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, PAGE(1), 2);
    twin = fork_of(&u, a);
    put(&u, twin, PAGE(1), 3); /* page 0 is lent to it */
    leaf = table_record(u.w.q, home_table(frame_record(&u.w.q->frames, page_at(a, 0).pfn)->home));
    for (unsigned n = 0; n < 2; n++) {
        struct quire_space *source = n == 0 ? a : twin; /* lends, and borrows */

        CHECK_OK(quire_discard(b, 0, PAGE(1)));
        uses = &table_side(u.w.q, leaf)->uses[0];
        fills = stats_of(&u).zero_fills;
        *uses += UINT32_MAX / 2;
        CHECK_OK(quire_clone(source, 0, b, 0, PAGE(1), NULL));
        *uses -= UINT32_MAX / 2;
        audit(&u);
        CHECK(stats_of(&u).zero_fills == fills + 1);
        CHECK(get(&u, b, 0) == 1 && page_at(b, 0).kind == QUIRE_PAGE_PRIVATE);
    }
    end(&u, twin);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

static struct {
    struct unit u;
    struct quire_space *a, *b, *twin;
} c;

static void clone_page_0(void) { CHECK_OK(quire_clone(c.a, 0, c.b, 0, PAGE(1), NULL)); }

static void twin_writes_page_1(void)
{
    const uint8_t byte = 3;

    CHECK_OK(quire_write(c.twin, PAGE(1), &byte, 1, NULL));
}

/*
 * Goal: a clone and a copy of the tables above its source freeze the source's leaf, whoever is
 * first.  Method: a space that shares the tables gets its own between the clone's look at the entry
 * above the leaf, and its change.
 */
static void frozen_by_two(void)
{
    entry_t *above;

    begin_with(&c.u, &(struct test_options){.cpus = 2});
    c.a = space_new(&c.u);
    c.b = space_new(&c.u);
    map(&c.u, c.a, 0, LEAF, RW);
    map(&c.u, c.b, 0, LEAF, RW);
    put(&c.u, c.a, 0, 1);
    put(&c.u, c.a, PAGE(1), 2);
    c.twin = fork_of(&c.u, c.a);
    above = slot_of(&c.u, c.a, 0, 2);
    CHECK(*above & ENTRY_WRITE);
    two.way[0][0] = (struct spot){above, true};
    (void)two_calls(&c.u, clone_page_0, twin_writes_page_1);
    audit(&c.u);
    put(&c.u, c.a, 0, 4);
    CHECK(get(&c.u, c.b, 0) == 1 && get(&c.u, c.twin, 0) == 1);
    CHECK(get(&c.u, c.a, PAGE(1)) == 2 && get(&c.u, c.twin, PAGE(1)) == 3);
    end(&c.u, c.a);
    end(&c.u, c.b);
    end(&c.u, c.twin);
    finish(&c.u);
}

static pfn_t taken[8192];
static uint32_t taken_count;

static void take_all(struct unit *u)
{
    while (taken_count < 8192 && quire_frame_take(u->w.q, &taken[taken_count]) == QUIRE_OK)
        taken_count++;
}

static bool give_back(struct test_world *world, uint32_t frames)
{
    CHECK(frames > 0);
    world->need_frames = NULL;
    while (taken_count > 0)
        quire_frame_give(world->q, taken[--taken_count]);
    return true;
}

/* Goal: a clone waits for memory, whether it lends pages or copies one; else it is refused. */
static void waits_for_frames(void)
{
    for (unsigned n = 0; n < 2; n++) {
        struct unit u;
        struct quire_space *a, *b;
        struct quire_run run;
        struct quire_pin pin;

        begin_with(&u, &(struct test_options){.max_pins = 1});
        a = space_new(&u);
        b = space_new(&u);
        map(&u, a, 0, LEAF, RW);
        map(&u, b, 0, LEAF, RW);
        put(&u, a, 0, 1);
        if (n == 1) /* then it has to be copied */
            CHECK_OK(quire_pin(a, 0, PAGE(1), W, &run, 1, &pin));
        take_all(&u);
        CHECK_STATUS(quire_clone(a, 0, b, 0, PAGE(1), NULL), QUIRE_NO_MEMORY);
        u.w.need_frames = give_back;
        CHECK_OK(quire_clone(a, 0, b, 0, PAGE(1), NULL));
        CHECK(!u.w.need_frames && get(&u, b, 0) == 1);
        if (n == 1)
            CHECK_OK(quire_unpin(u.w.q, &pin));
        end(&u, a);
        end(&u, b);
        finish(&u);
    }
}

CHECK_MAIN("unit.clone", TEST(equal_until_written), TEST(again_and_again),
           TEST(copied_where_it_must), TEST(pins_stay), TEST(refused), TEST(with_k_frames),
           TEST(every_kind), TEST(missing_leaves), TEST(nothing_to_lend), TEST(in_the_way),
           TEST(too_many_users), TEST(frozen_by_two), TEST(waits_for_frames))
