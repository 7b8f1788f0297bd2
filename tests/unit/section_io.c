/* SPDX-License-Identifier: MIT */
/*
 * Sections and their pagers: what is read and written, when, and who is told.
 *
 * What a section holds is in section.c; here are the transfers, their order and their failures, the
 * end of a section, and every error.
 */
#include "file.h"

static unsigned turns; /* how often a test's host was asked to wait */

/* The host lets the device end what began last. */
static void end_last(struct test_world *world, struct quire_section *section)
{
    struct test_file *file = world->context;

    (void)section;
    turns++;
    CHECK(file->waiting_count > 0);
    test_file_end(file, file->waiting_count - 1);
}

static void begin_late(struct fixture *f, struct test_options options)
{
    fixture_begin_with(f, options);
    f->u.w.context = &f->file;
    f->u.w.wait_io = end_last;
    f->file.late = true;
    turns = 0;
}

static void end_all(struct fixture *f)
{
    while (f->file.waiting_count > 0)
        test_file_end(&f->file, 0);
    audit(&f->u);
}

/* Goal: every argument that makes no sense is refused by name, and changes nothing. */
static void bad_views(void)
{
    struct fixture f;
    vaddr_t at = PAGE(2), odd = PAGE(2) + 1;
    struct quire_section *s;
    struct quire_space *space;

    fixture_begin(&f);
    s = f.section;
    space = f.space;
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, 0, s, 1), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_map_view(space, &at, 1, R, 0, s, 0), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_map_view(space, &odd, PAGE(1), R, QUIRE_MAP_FIXED, s, 0), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_map_view(space, &at, 0, R, 0, s, 0), QUIRE_ZERO_LENGTH);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(2), R, 0, s, ~(uint64_t)0 - PAGE(1) + 1),
                 QUIRE_WRAPS);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, 0, s, UINT64_C(1) << 62),
                 QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_map_view(space, &at, UINT64_C(1) << QUIRE_ADDRESS_BITS << 1, R, 0, s, 0),
                 QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, 0, NULL, 0), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), 8, 0, s, 0), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, QUIRE_MAP_RESERVE, s, 0), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, QUIRE_MAP_GROWS_DOWN, s, 0),
                 QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, QUIRE_MAP_READ_ONLY, s, 0),
                 QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, QUIRE_MAP_REPLACE, s, 0), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_map(space, &at, PAGE(1), R, QUIRE_MAP_SHARED), QUIRE_BAD_FLAGS);
    CHECK_STATUS(
        quire_map_view(space, &at, PAGE(1), RW, QUIRE_MAP_SHARED | QUIRE_MAP_READ_ONLY, s, 0),
        QUIRE_PROTECTED);
    view(&f, space, PAGE(2), 1, RW, 0, 0);
    CHECK_STATUS(quire_map_view(space, &at, PAGE(1), R, QUIRE_MAP_FIXED, s, 0), QUIRE_OVERLAPS);
    CHECK_STATUS(quire_advise(space, PAGE(2), PAGE(1), QUIRE_FORK_WIPE), QUIRE_BAD_FLAGS);
    CHECK_OK(quire_advise(space, PAGE(2), PAGE(1), QUIRE_FORK_OMIT));
    CHECK(at == PAGE(2));
    audit(&f.u);
    fixture_finish(&f);
}

/* Goal: the same for sections. */
static void bad_sections(void)
{
    struct fixture f;
    const uint64_t most = PAGE(1) << (QUIRE_LEVELS * QUIRE_TABLE_SHIFT);
    struct quire_section *s;
    uint8_t byte = 1;
    size_t done = 7;

    fixture_begin_with(&f, (struct test_options){.commit_limit = 20});
    CHECK_STATUS(quire_section_create(f.u.w.q, most + 1, NULL, NULL, &s), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_section_resize(f.section, most + 1), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_section_read(f.section, 0, &byte, 1, R, &done), QUIRE_BAD_FLAGS);
    CHECK(done == 0);
    CHECK_STATUS(quire_section_write(f.section, ~(uint64_t)0, &byte, 2, 0, &done), QUIRE_WRAPS);
    CHECK_OK(quire_section_read(f.section, sizeof disk, &byte, 1, 0, &done));
    CHECK(done == 0);
    CHECK_STATUS(quire_section_sync(f.section, 0, 1, 2, NULL), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_section_seal(f.section, 8), QUIRE_BAD_FLAGS);
    CHECK_OK(quire_section_seal(f.section, QUIRE_SEAL_SHRINK | QUIRE_SEAL_WRITE));
    CHECK_STATUS(quire_section_resize(f.section, 1), QUIRE_SEALED);
    CHECK_STATUS(quire_section_discard(f.section, 0, PAGE(1)), QUIRE_SEALED);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(4), NULL, NULL, &s));
    CHECK_STATUS(quire_section_resize(s, PAGE(21)), QUIRE_NO_COMMIT);
    CHECK(quire_section_size(s) == PAGE(4));
    CHECK_OK(quire_section_sync(s, 0, UINT64_MAX, 0, NULL)); /* memory has nothing to write */
    CHECK_OK(quire_section_resize(s, PAGE(20)));
    CHECK(stats_of(&f.u).committed == 20);
    CHECK_OK(quire_section_resize(s, 0));
    CHECK(stats_of(&f.u).committed == 0);
    quire_section_close(s);
    fixture_finish(&f);
}

static uint64_t mapped_by_a_read(uint32_t around)
{
    struct fixture f;
    uint64_t before;

    fixture_begin_with(&f, (struct test_options){.fault_around = around});
    quire_section_fetch(f.section, 0, PAGE(4));
    view(&f, f.space, PAGE(4), 4, R, 0, 0);
    before = stats_of(&f.u).views;
    CHECK(get(&f.u, f.space, PAGE(5)) == stored(1));
    uint64_t mapped = stats_of(&f.u).views - before;
    fixture_finish(&f);
    return mapped;
}

/* Goal: one fault maps its neighbours that are in memory, as many as the configuration says. */
static void fault_around(void)
{
    CHECK(mapped_by_a_read(1) == 1);
    CHECK(mapped_by_a_read(2) == 2);
    CHECK(mapped_by_a_read(16) == 4); /* the view, and in the micro geometry the leaf */
    CHECK(mapped_by_a_read(0) == 4);
}

/* Goal: reads that go on take more each time, up to a transfer or a leaf; others a few. */
static void read_ahead(void)
{
    struct fixture f;
    uint64_t at = 0, window = 4, leaf = LEAF_PAGES;

    fixture_begin(&f);
    for (unsigned n = 0; n < 4 && at + window <= FILE_PAGES; n++) {
        uint64_t wanted = window < leaf - at % leaf ? window : leaf - at % leaf;

        CHECK(file_byte(&f, PAGE(at)) == stored((unsigned)at));
        CHECK(f.file.pages_read == at + wanted);
        at += wanted;
        window = window < QUIRE_IO_PAGES ? 2 * window : window;
    }
    CHECK_OK(quire_section_resize(f.section, PAGE(FILE_PAGES) - 1));
    at = f.file.pages_read;
    (void)file_byte(&f, PAGE(FILE_PAGES - 1));
    CHECK(f.file.pages_read == at + 1); /* nothing beyond the end */
    fixture_finish(&f);
}

/* Goal: when all transfers are in use others wait for one, and fetching leaves it. */
static void few_transfers(void)
{
    struct fixture f;

    begin_late(&f, (struct test_options){.max_transfers = 1});
    quire_section_fetch(f.section, 0, UINT64_MAX);
    CHECK(f.file.waiting_count == 1);
    view(&f, f.space, PAGE(1), 6, R, 0, 0);
    CHECK_STATUS(quire_fault(f.space, PAGE(6), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(turns == 0);
    CHECK_OK(quire_fault(f.space, PAGE(6), R));
    CHECK(turns > 0);
    end_all(&f);
    file_put(&f, 0, 9);
    file_put(&f, LEAF, 9);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[0] == 9 && disk[LEAF] == 9);
    end_all(&f);
    fixture_finish(&f);
}

/* Goal: transfers may end in any order, and each access gets its own page. */
static void any_order(void)
{
    struct fixture f;

    begin_late(&f, (struct test_options){0});
    view(&f, f.space, PAGE(8), 6, RW, QUIRE_MAP_SHARED, 0);
    quire_section_fetch(f.section, PAGE(4), PAGE(2));
    quire_section_fetch(f.section, 0, PAGE(2));
    CHECK(f.file.waiting_count == 2);
    struct quire_space *child = fork_of(&f.u, f.space); /* while pages are on their way */
    test_file_end(&f.file, 1);
    CHECK(get(&f.u, f.space, PAGE(8)) == stored(0));
    CHECK(f.file.waiting_count == 1);
    put(&f.u, child, PAGE(12), 12);
    CHECK(get(&f.u, f.space, PAGE(12)) == 12);
    CHECK(get(&f.u, f.space, PAGE(13)) == stored(5));
    end_all(&f);
    end(&f.u, child);
    fixture_finish(&f);
}

static void end_and_purge(struct test_world *world, struct quire_section *section)
{
    end_last(world, section);
    if (turns < 4)
        (void)quire_section_purge(section, 0, UINT64_MAX, true);
}

/* Goal (bugs.md row 10): what was found before a wait is looked up again after it. */
static void evicted_while_waiting(void)
{
    struct fixture f;

    begin_late(&f, (struct test_options){0});
    f.u.w.wait_io = end_and_purge;
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    CHECK(get(&f.u, f.space, PAGE(2)) == stored(1));
    CHECK(turns == 4);
    CHECK(f.file.reads == 4);
    fixture_finish(&f);
}

/* Goal: a tree grows by levels, sparsely, and shrinks again. */
static void grows_in_levels(void)
{
    const uint64_t far[] = {0, LEAF_PAGES + 1, LEAF_PAGES * LEAF_PAGES - 1, LEAF_PAGES * LEAF_PAGES,
                            LEAF_PAGES * LEAF_PAGES * 2 + LEAF_PAGES + 3};
    struct quire_section_info info;
    struct quire_section *s;
    struct unit u;
    uint8_t byte;

    begin_with(&u, &(struct test_options){.max_sections = 1});
    CHECK_OK(quire_section_create(u.w.q, PAGE(LEAF_PAGES * LEAF_PAGES * 3), NULL, NULL, &s));
    for (unsigned i = 0; i < 5; i++) {
        byte = (uint8_t)(i + 1);
        CHECK_OK(quire_section_write(s, PAGE(far[i]) + 5, &byte, 1, 0, NULL));
        audit(&u);
    }
    CHECK(stats_of(&u).frames_table == 1 + 3 + 5);
    for (unsigned i = 0; i < 5; i++) {
        CHECK_OK(quire_section_read(s, PAGE(far[i]) + 5, &byte, 1, 0, NULL));
        CHECK(byte == i + 1);
    }
    quire_section_info(s, &info);
    CHECK(info.resident == 5 && info.dirty == 5 && info.mapped == 0);
    CHECK_OK(quire_section_resize(s, PAGE(LEAF_PAGES)));
    audit(&u);
    quire_section_info(s, &info);
    CHECK(info.resident == 1);
    CHECK_OK(quire_section_discard(s, 0, UINT64_MAX));
    CHECK(stats_of(&u).frames_table == 0);
    CHECK(stats_of(&u).frames_data == 0);
    quire_section_close(s);
    finish(&u);
}

/* Goal: what views write behind the end comes back by no way, the file's included. */
static void nothing_behind_the_end(void)
{
    struct fixture f;
    const uint64_t size = PAGE(1) + 10;

    fixture_begin(&f);
    CHECK_OK(quire_section_resize(f.section, size));
    view(&f, f.space, PAGE(1), 3, RW, QUIRE_MAP_SHARED, 0);
    CHECK(get(&f.u, f.space, PAGE(2) + 10) == 0);
    put(&f.u, f.space, PAGE(2) + 10, 77);
    put(&f.u, f.space, PAGE(2) + 9, 9);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(quire_section_purge(f.section, 0, UINT64_MAX, true) > 0);
    CHECK_OK(quire_section_resize(f.section, PAGE(2)));
    CHECK(get(&f.u, f.space, PAGE(2) + 9) == 9);
    CHECK(get(&f.u, f.space, PAGE(2) + 10) == 0);
    fixture_finish(&f);
}

/* Goal: a page that is written as a whole is not read first, and the last one is whole up to the
 * end. */
static void whole_pages_are_not_read(void)
{
    struct fixture f;
    uint8_t bytes[2 * QUIRE_PAGE_SIZE];
    size_t done;

    fixture_begin(&f);
    memset(bytes, 3, sizeof bytes);
    f.file.fail_reads = true;
    CHECK_OK(quire_section_resize(f.section, PAGE(4) + 7));
    CHECK_OK(quire_section_write(f.section, PAGE(1), bytes, PAGE(2), 0, &done));
    CHECK(done == PAGE(2));
    CHECK_OK(quire_section_write(f.section, PAGE(4), bytes, PAGE(2), 0, &done));
    CHECK(done == 7);
    CHECK(f.file.reads == 0);
    CHECK_STATUS(quire_section_write(f.section, PAGE(3) + 1, bytes, PAGE(1), 0, &done),
                 QUIRE_IO_ERROR);
    CHECK(done == 0);
    f.file.fail_reads = false;
    CHECK(file_byte(&f, PAGE(4) + 6) == 3);
    CHECK(file_byte(&f, PAGE(3)) == stored(3));
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[PAGE(1)] == 3 && disk[PAGE(4) + 6] == 3 && disk[PAGE(4) + 7] == 0);
    fixture_finish(&f);
}

/* Goal (rows 53, 55): a failed write leaves its pages changed, each caller hears of it once, and a
 * page that could not be read is mapped nowhere. */
static void failures_are_told_once(void)
{
    struct fixture f;
    struct quire_section_info info;
    uint64_t a = 0, b = 0;
    uint8_t byte;

    begin_late(&f, (struct test_options){0});
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    put(&f.u, f.space, PAGE(1), 1);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, &a));
    f.file.fail_writes = true;
    end_all(&f);
    f.file.fail_writes = false;
    quire_section_info(f.section, &info);
    CHECK(info.dirty == 1);
    CHECK(quire_section_purge(f.section, 0, PAGE(1), true) == 0);
    CHECK_STATUS(quire_section_sync(f.section, 0, 0, 0, &a), QUIRE_IO_ERROR);
    CHECK_STATUS(quire_section_sync(f.section, 0, 0, 0, &b), QUIRE_IO_ERROR);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, &a));
    CHECK_OK(quire_section_sync(f.section, 0, 0, 0, &b));
    CHECK_OK(quire_section_sync(f.section, 0, 0, 0, NULL)); /* who remembers nothing */
    CHECK(disk[0] == 1);
    CHECK(stats_of(&f.u).write_errors == 1);
    CHECK_OK(quire_section_discard(f.section, 0, UINT64_MAX));
    f.file.fail_reads = true;
    CHECK_STATUS(test_load(&f.u.w, f.space, PAGE(1), &byte), QUIRE_IO_ERROR);
    CHECK(page_at(f.space, PAGE(1)).kind == QUIRE_PAGE_EMPTY);
    CHECK(!quire_section_resident(f.section, 0));
    CHECK(stats_of(&f.u).read_errors == 2); /* with others, and alone */
    CHECK(stats_of(&f.u).pages_read == 4);
    f.file.fail_reads = false;
    CHECK(get(&f.u, f.space, PAGE(1)) == 1);
    fixture_finish(&f);
}

/* Goal (H14, row 54): who may write marks the page; the write-back takes both away, from every
 * space, before the file gets the bytes. */
static void write_back_takes_w(void)
{
    struct fixture f;
    struct quire_section_info info;

    begin_late(&f, (struct test_options){0});
    view(&f, f.space, PAGE(1), 2, RW, QUIRE_MAP_SHARED, 0);
    put(&f.u, f.space, PAGE(1), 1);
    struct quire_space *child = fork_of(&f.u, f.space);
    put(&f.u, child, PAGE(1), 2);
    put(&f.u, f.space, PAGE(1), 3);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    CHECK(!page_at(f.space, PAGE(1)).writable && !page_at(child, PAGE(1)).writable);
    quire_section_info(f.section, &info);
    CHECK(info.dirty == 0);
    put(&f.u, child, PAGE(1), 4); /* while the page is being written: once more */
    quire_section_info(f.section, &info);
    CHECK(info.dirty == 1);
    end_all(&f);
    CHECK(quire_section_purge(f.section, 0, UINT64_MAX, true) <= 3);
    CHECK(get(&f.u, f.space, PAGE(1)) == 4);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[0] == 4);
    end(&f.u, child);
    fixture_finish(&f);
}

/* Goal: a cut waits for what is being written, and only then takes it away. */
static void cut_waits(void)
{
    struct fixture f;
    uint8_t byte;

    begin_late(&f, (struct test_options){0});
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    put(&f.u, f.space, PAGE(3), 3);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 1);
    turns = 0;
    CHECK_OK(quire_section_resize(f.section, PAGE(1)));
    CHECK(turns == 1 && f.file.waiting_count == 0);
    CHECK(disk[PAGE(2)] == 3);
    CHECK_STATUS(test_load(&f.u.w, f.space, PAGE(3), &byte), QUIRE_BEYOND_END);
    CHECK(!quire_section_resident(f.section, PAGE(2)));
    fixture_finish(&f);
}

/* Goal: a section goes after its handle, its views in every space, and its transfers; once. */
static void gone_once(void)
{
    struct fixture f;

    begin_late(&f, (struct test_options){0});
    view(&f, f.space, PAGE(1), 4, R, 0, 0);
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    struct quire_space *child = fork_of(&f.u, f.space);
    quire_section_fetch(f.section, PAGE(LEAF_PAGES), PAGE(1));
    CHECK(f.file.waiting_count == 1);
    quire_section_close(f.section);
    unmap(&f.u, f.space, PAGE(1), PAGE(4));
    CHECK(f.file.gone == 0);
    CHECK(get(&f.u, child, PAGE(1)) == stored(0));
    end(&f.u, child);
    CHECK(f.file.gone == 0);
    CHECK(stats_of(&f.u).sections == 1);
    test_file_end(&f.file, 0);
    CHECK(f.file.gone == 1);
    CHECK(stats_of(&f.u).sections == 0);
    end(&f.u, f.space);
    CHECK(f.file.gone == 1);
    finish(&f.u);
}

/* Goal (H12): a device's page stays, and what it writes after a write-back is written too. */
static void pinned_pages_stay_changed(void)
{
    struct fixture f;
    struct quire_run run;
    struct quire_pin pin;
    uint8_t *frame;

    fixture_begin_with(&f, (struct test_options){.max_pins = 1});
    view(&f, f.space, PAGE(1), 2, RW, QUIRE_MAP_SHARED, 0);
    CHECK_OK(quire_pin(f.space, PAGE(1), 1, W, &run, 1, &pin));
    frame = f.u.w.frames + PAGE(run.first - f.u.w.config.first_frame);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    frame[0] = 99;
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    (void)quire_section_purge(f.section, 0, UINT64_MAX, true);
    CHECK(get(&f.u, f.space, PAGE(1)) == 99);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[0] == 99);
    CHECK(quire_section_purge(f.section, 0, UINT64_MAX, true) > 0);
    fixture_finish(&f);
}

/* Goal (rows 68, 69): a pin to read a private view is of a copy; nobody gets at the file's page by
 * it, nor by a page that was forgotten while it was pinned. */
static void pins_do_not_reach_the_file(void)
{
    struct fixture f;
    struct quire_run run;
    struct quire_pin pin;

    fixture_begin_with(&f, (struct test_options){.max_pins = 1});
    view(&f, f.space, PAGE(1), 2, RW, 0, 0);
    CHECK_OK(quire_pin(f.space, PAGE(1), 1, R, &run, 1, &pin));
    f.u.w.frames[PAGE(run.first - f.u.w.config.first_frame)] = 99;
    CHECK(file_byte(&f, 0) == stored(0));
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    view(&f, f.space, PAGE(4), 1, RW, QUIRE_MAP_SHARED, 0);
    CHECK_OK(quire_pin(f.space, PAGE(4), 1, W, &run, 1, &pin));
    CHECK_OK(quire_section_discard(f.section, 0, PAGE(1)));
    f.u.w.frames[PAGE(run.first - f.u.w.config.first_frame)] = 98;
    CHECK(file_byte(&f, 0) == stored(0));
    CHECK(get(&f.u, f.space, PAGE(4)) == stored(0));
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    fixture_finish(&f);
}

/* Goal (row 62): what a store may change behind quire's back is not forgotten while it is mapped.
 */
static void unstable_stores_are_kept(void)
{
    struct fixture f;
    struct test_file file;
    struct quire_section *s;
    vaddr_t at = PAGE(1);

    fixture_begin(&f);
    test_file_init(&file, &f.u.w, disk, sizeof disk);
    file.unstable = true;
    CHECK_OK(test_file_open(&file, PAGE(2), &s));
    CHECK_OK(quire_map_view(f.space, &at, PAGE(1), R, QUIRE_MAP_FIXED, s, 0));
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    disk[0] = 1;
    CHECK(quire_section_purge(s, 0, PAGE(1), true) == 0);
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    unmap(&f.u, f.space, PAGE(1), PAGE(1));
    CHECK(quire_section_purge(s, 0, PAGE(1), false) == 1);
    quire_section_close(s);
    CHECK(file.gone == 1);
    fixture_finish(&f);
}

/* Goal: a debugger who may not wait does not; to the end of the numbers is to the end. */
static void no_wait(void)
{
    struct fixture f;
    uint8_t byte;

    begin_late(&f, (struct test_options){0});
    view(&f, f.space, PAGE(1), 2, QUIRE_NONE, 0, 0);
    CHECK_STATUS(quire_access(f.space, PAGE(1), &byte, 1, R | QUIRE_FORCE | QUIRE_NO_WAIT, NULL),
                 QUIRE_WOULD_WAIT);
    CHECK_STATUS(quire_section_read(f.section, PAGE(1), &byte, 1, QUIRE_NO_WAIT, NULL),
                 QUIRE_WOULD_WAIT);
    CHECK(turns == 0);
    end_all(&f);
    CHECK_OK(quire_access(f.space, PAGE(1), &byte, 1, R | QUIRE_FORCE | QUIRE_NO_WAIT, NULL));
    quire_section_fetch(f.section, PAGE(LEAF_PAGES), UINT64_MAX);
    CHECK(f.file.waiting_count > 0);
    end_all(&f);
    fixture_finish(&f);
}

CHECK_MAIN("unit.section_io", TEST(bad_views), TEST(bad_sections), TEST(fault_around),
           TEST(read_ahead), TEST(few_transfers), TEST(any_order), TEST(evicted_while_waiting),
           TEST(grows_in_levels), TEST(nothing_behind_the_end), TEST(whole_pages_are_not_read),
           TEST(failures_are_told_once), TEST(write_back_takes_w), TEST(cut_waits), TEST(gone_once),
           TEST(pinned_pages_stay_changed), TEST(pins_do_not_reach_the_file),
           TEST(unstable_stores_are_kept), TEST(no_wait))
