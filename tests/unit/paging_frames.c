/* SPDX-License-Identifier: MIT */
/*
 * Frames by paging: who sees that there are some, who waits for what, and when there are none.
 *
 * Each test makes one of the ways in which a search for frames goes on or ends: a worker in time, a
 * call that has none, a device that is slow or fails, another call that is at it already.
 */
#include "paging.h"

/* Fewer frames than pages, with room for the tables that lead to them. */
enum { PAGES = 60, FEW = MICRO ? 44 : 30 };

static struct fixture f;

/* A space with PAGES pages, of which the first `count` hold 1 and so on. */
static struct quire_space *begin_space(struct test_options options, unsigned count)
{
    struct quire_space *space;

    begin_pages(&f, options);
    space = space_new(&f.u);
    map(&f.u, space, 0, PAGE(PAGES), RW);
    put_each(&f.u, space, count);
    return space;
}

static void check_each(struct quire_space *space, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK(get(&f.u, space, PAGE(i)) == i + 1);
}

static uint64_t at_hand(void)
{
    struct quire_stats s = stats_of(&f.u);

    return s.frames_free + s.standby;
}

static pfn_t taken[4096];
static unsigned taken_count;

/* Frames go elsewhere until so many are free. */
static void leave_free(uint64_t frames)
{
    while (stats_of(&f.u).frames_free > frames)
        CHECK_OK(quire_frame_take(f.u.w.q, &taken[taken_count++]));
}

static void give_all(void)
{
    while (taken_count > 0)
        quire_frame_give(f.u.w.q, taken[--taken_count]);
}

static void pass_once(void)
{
    for (uint64_t left; !qi_pass_slice(f.u.w.q, true, &left);)
        audit(&f.u);
}

static unsigned told;

static void tell(void *host)
{
    CHECK(host == &f.u.w);
    told++;
}

/* Goal: the embedder is told when few frames are free, and not while there are many. */
static void low_memory_is_told(void)
{
    struct quire_space *space;

    told = 0;
    space = begin_space((struct test_options){.frames = 64, .keep_free = 8, .low_memory = tell}, 4);
    CHECK(told == 0);
    leave_free(6);
    put_each(&f.u, space, 12);
    CHECK(told > 0);
    give_all();
    end(&f.u, space);
    finish_pages(&f);
}

/* Goal: the policy of the configuration says who leaves.  Method: a page that was used in two
 * passes and not in the third is old for the clock, and not for a history. */
static void policy_is_asked(void)
{
    static const struct quire_policy *const policies[] = {NULL, &quire_policy_aging,
                                                          &quire_policy_clock};

    for (unsigned i = 0; i < 3; i++) {
        struct quire_space *space = begin_space((struct test_options){.policy = policies[i]}, 1);

        for (uint8_t value = 1; value < 4; value++) {
            CHECK_OK(quire_write(space, 0, &value, 1, NULL));
            pass_once();
        }
        CHECK(page_at(space, 0).resident);
        pass_once();
        CHECK(page_at(space, 0).resident == (policies[i] != &quire_policy_clock));
        CHECK(get(&f.u, space, 0) == 3);
        end(&f.u, space);
        finish_pages(&f);
    }
}

/* Goal: a worker keeps as many frames at hand as are wanted, before any call has none. */
static void worker_keeps_frames(void)
{
    enum { KEPT = 16 };
    struct quire_space *space =
        begin_space((struct test_options){.frames = 64, .keep_free = KEPT}, 0);
    unsigned used = 0;

    for (; at_hand() >= KEPT; used++)
        put(&f.u, space, PAGE(used), (uint8_t)(used + 1));
    CHECK(stats_of(&f.u).paged_out == 0);
    write_all(&f);
    CHECK(at_hand() >= KEPT && stats_of(&f.u).paged_out > 0);
    check_each(space, used);
    end(&f.u, space);
    finish_pages(&f);
}

/* Goal: a worker goes on where writes fail, but not for ever: then each call tries once more, and
 * it ends when all is written. */
static void worker_goes_on(void)
{
    struct quire_space *space =
        begin_space((struct test_options){.frames = 64, .keep_free = 64}, 2);
    uint64_t errors;
    unsigned steps = 0;

    CHECK_OK(quire_advise_pages(space, 0, PAGE(2), QUIRE_PAGES_OUT));
    f.file.fail_writes = true;
    while (quire_balance(f.u.w.q))
        CHECK(++steps < 100);
    CHECK(steps > 4);
    errors = stats_of(&f.u).page_write_errors;
    CHECK(!quire_balance(f.u.w.q));
    CHECK(stats_of(&f.u).page_write_errors == errors + 1);
    audit(&f.u);
    CHECK(stats_of(&f.u).modified == 2 && stats_of(&f.u).paged_out == 0);
    f.file.fail_writes = false;
    write_all(&f);
    CHECK(stats_of(&f.u).modified == 0 && stats_of(&f.u).paged_out == 2);
    check_each(space, 2);
    end(&f.u, space);
    finish_pages(&f);
}

static unsigned yields;

static void other_ends(struct test_world *world)
{
    yields++;
    qi_work_end(world->q);
    world->yield = NULL;
}

/* Another call pages out, until this one yields. */
static void other_begins(void)
{
    CHECK(qi_work_begin(f.u.w.q));
    f.u.w.yield = other_ends;
}

/* Goal: one call at a time pages out: the worker leaves it to the other, a call that has no frames,
 * and one that wants to know what is used, wait for it. */
static void one_at_a_time(void)
{
    struct quire_space *space = begin_space((struct test_options){.frames = FEW}, 4);

    yields = 0;
    other_begins();
    CHECK(!quire_balance(f.u.w.q) && yields == 0);
    quire_age(f.u.w.q);
    CHECK(yields == 1);
    other_begins();
    put_each(&f.u, space, PAGES);
    CHECK(yields == 2 && stats_of(&f.u).paged_out > 0);
    check_each(space, PAGES);
    end(&f.u, space);
    finish_pages(&f);
}

static struct test_file file;
static unsigned waits;

static void end_one(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    waits++;
    CHECK(f.file.waiting_count + file.waiting_count > 0);
    test_file_end(f.file.waiting_count > 0 ? &f.file : &file, 0);
}

/* Goal: who has no frame waits for a slow device until there is one, as long as it is not asked
 * for others. */
static void slow_device(void)
{
    struct quire_space *space = begin_space((struct test_options){.frames = FEW}, 0);

    file.waiting_count = waits = 0;
    f.u.w.wait_io = end_one;
    f.file.late = true;
    put_each(&f.u, space, PAGES);
    CHECK(waits > 0 && stats_of(&f.u).paged_out > 0);
    check_each(space, PAGES);
    end(&f.u, space);
    while (f.file.waiting_count > 0)
        test_file_end(&f.file, 0);
    finish_pages(&f);
}

/* Goal: the same where what has to be written first is a file's, and goes there. */
static void slow_file(void)
{
    static uint8_t bytes[PAGES << QUIRE_PAGE_SHIFT];
    struct quire_space *space;
    struct quire_section *section;
    vaddr_t at = 0;

    begin_pages(&f, (struct test_options){.frames = FEW});
    memset(bytes, 0, sizeof bytes);
    test_file_init(&file, &f.u.w, bytes, sizeof bytes);
    CHECK_OK(test_file_open(&file, sizeof bytes, &section));
    space = space_new(&f.u);
    CHECK_OK(quire_map_view(space, &at, PAGE(PAGES), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED,
                            section, 0));
    waits = 0;
    f.u.w.wait_io = end_one;
    file.late = true;
    put_each(&f.u, space, PAGES);
    CHECK(waits > 0 && file.writes > 0 && stats_of(&f.u).slots_used == 0);
    check_each(space, PAGES);
    CHECK_OK(quire_section_sync(section, 0, UINT64_MAX, 0, NULL));
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(bytes[PAGE(i)] == i + 1);
    end(&f.u, space);
    quire_section_close(section);
    while (file.waiting_count > 0)
        test_file_end(&file, 0);
    finish_pages(&f);
}

/* Goal: a search that began with some frames at hand is not content with those. */
static void more_than_before(void)
{
    enum { OUT = 6, USED = 12 };
    struct quire_space *space = begin_space((struct test_options){.frames = 64}, USED);
    uint64_t before;
    uint32_t more = 0;

    send_out(&f, space, OUT);
    leave_free(0);
    before = at_hand();
    CHECK(before == OUT);
    CHECK(qi_paging_relieve(f.u.w.q, 1, &more));
    audit(&f.u);
    CHECK(at_hand() > before);
    give_all();
    check_each(space, USED);
    end(&f.u, space);
    finish_pages(&f);
}

/* Goal: with few frames nothing is read ahead of a file, which would drive out what was asked for;
 * with many it is. */
static void no_reading_ahead(void)
{
    static uint8_t bytes[PAGES << QUIRE_PAGE_SHIFT];
    struct quire_section *section;
    uint8_t byte;
    uint64_t read;

    begin_pages(&f, (struct test_options){.frames = 64});
    memset(bytes, 7, sizeof bytes);
    test_file_init(&file, &f.u.w, bytes, sizeof bytes);
    CHECK_OK(test_file_open(&file, sizeof bytes, &section));
    CHECK_OK(quire_section_read(section, 0, &byte, 1, 0, NULL));
    CHECK(byte == 7 && file.pages_read > 1);
    leave_free(8);
    read = file.pages_read;
    CHECK_OK(quire_section_read(section, PAGE(20), &byte, 1, 0, NULL));
    CHECK(byte == 7 && file.pages_read == read + 1);
    give_all();
    quire_section_close(section);
    finish_pages(&f);
}

static bool first_fails(struct test_file *device, const struct quire_io *io)
{
    return io->write && device->writes == 1;
}

/* Goal: the oldest changed page is written next, also where those before it are changed too, and
 * more of them than one transfer takes: none is written twice without need. */
static void oldest_is_written(void)
{
    struct quire_space *space = begin_space((struct test_options){.frames = 160}, PAGES);
    const unsigned first =
        (unsigned)QI_CHUNK < QUIRE_IO_PAGES ? (unsigned)QI_CHUNK : QUIRE_IO_PAGES;

    f.file.fails = first_fails;
    send_out(&f, space, PAGES);
    CHECK(stats_of(&f.u).paged_out == PAGES && stats_of(&f.u).page_write_errors == 1);
    CHECK(f.file.pages_written == PAGES + first);
    steal_all(&f);
    check_each(space, PAGES);
    end(&f.u, space);
    finish_pages(&f);
}

CHECK_MAIN("unit.paging_frames", TEST(low_memory_is_told), TEST(policy_is_asked),
           TEST(worker_keeps_frames), TEST(worker_goes_on), TEST(one_at_a_time), TEST(slow_device),
           TEST(slow_file), TEST(more_than_before), TEST(no_reading_ahead), TEST(oldest_is_written))
