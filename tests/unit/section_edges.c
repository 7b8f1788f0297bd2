/* SPDX-License-Identifier: MIT */
/*
 * Sections at their edges: the last page that a view can show, pages that devices write, the end
 * within a page, and what those may not wait for who may not wait.
 */
#include "pager.h"
#include "unit.h"

enum { PAGES = 4 };
static uint8_t disk[PAGES << QUIRE_PAGE_SHIFT];

static struct {
    struct unit u;
    struct test_file file;
    struct quire_section *section;
    struct quire_space *space;
} f;

static void edge_begin(void)
{
    begin_with(&f.u, &(struct test_options){.max_sections = 2, .max_pins = 1});
    memset(disk, 100, sizeof disk);
    test_file_init(&f.file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f.file, sizeof disk, &f.section));
    f.space = space_new(&f.u);
}

static void edge_finish(void)
{
    end(&f.u, f.space);
    quire_section_close(f.section);
    CHECK(f.file.gone);
    finish(&f.u);
}

static void view(uint32_t prot, uint32_t flags)
{
    vaddr_t at = PAGE(1);

    CHECK_OK(
        quire_map_view(f.space, &at, PAGE(PAGES), prot, flags | QUIRE_MAP_FIXED, f.section, 0));
    audit(&f.u);
}

static void sync_all(void)
{
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    audit(&f.u);
}

/* Goal: what a device writes through a pin after a write back is written back too, never purged. */
static void pinned_stays_changed(void)
{
    struct quire_run run;
    struct quire_pin pin;

    edge_begin();
    view(RW, QUIRE_MAP_SHARED);
    CHECK_OK(quire_pin(f.space, PAGE(1), PAGE(1), W, &run, 1, &pin));
    sync_all();
    *((uint8_t *)f.u.w.config.direct_map +
      ((uint64_t)(run.first - f.u.w.config.first_frame) << QUIRE_PAGE_SHIFT)) = 7;
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    (void)quire_section_purge(f.section, 0, UINT64_MAX, true);
    CHECK(get(&f.u, f.space, PAGE(1)) == 7);
    sync_all();
    CHECK(disk[0] == 7);
    CHECK(quire_section_purge(f.section, 0, PAGE(1), true) == 1);
    edge_finish();
}

/* Goal: a view does not come to show pages beyond those that have a number. */
static void longest_view(void)
{
    const uint64_t last = ((UINT64_C(1) << 40) - 2) << QUIRE_PAGE_SHIFT;
    vaddr_t at = PAGE(1), to = 0;
    uint8_t byte;

    edge_begin();
    CHECK_OK(quire_map_view(f.space, &at, PAGE(1), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED,
                            f.section, last));
    CHECK_STATUS(quire_move(f.space, at, PAGE(1), &to, PAGE(3), 0), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_move(f.space, at, PAGE(1), &to, PAGE(3), QUIRE_MOVE_ANYWHERE),
                 QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(test_load(&f.u.w, f.space, at, &byte), QUIRE_BEYOND_END);
    CHECK_OK(quire_section_resize(f.section, 0));
    edge_finish();
}

/* Goal: tables go with the pages, also where all of them lie in one leaf. */
static void no_table_stays(void)
{
    uint32_t free;

    edge_begin();
    free = quire_free_frames(f.u.w.q);
    quire_section_fetch(f.section, PAGE(1), UINT64_MAX);
    CHECK(quire_section_resident(f.section, PAGE(PAGES - 1)));
    CHECK(quire_section_purge(f.section, 0, sizeof disk, false) == PAGES - 1);
    CHECK(quire_free_frames(f.u.w.q) == free);
    edge_finish();
}

static void end_first(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    test_file_end(&f.file, 0);
}

/* While the section is cut off: who may not wait does not, on either side of the new end. */
static void while_cut(struct test_world *world, struct quire_section *section)
{
    static const uint8_t bytes[8] = {1};
    size_t done;
    uint8_t byte;

    (void)world;
    CHECK_STATUS(quire_section_write(section, PAGE(1), bytes, 8, QUIRE_NO_WAIT, &done),
                 QUIRE_WOULD_WAIT);
    CHECK(done == 0);
    CHECK_OK(quire_section_write(section, PAGE(1), bytes, 3, QUIRE_NO_WAIT, &done));
    CHECK_STATUS(quire_section_read(section, PAGE(2), &byte, 1, QUIRE_NO_WAIT, &done),
                 QUIRE_WOULD_WAIT);
    test_file_end(&f.file, 0);
}

static void cut_within_a_page(void)
{
    uint8_t byte = 5;

    edge_begin();
    f.u.w.wait_io = while_cut;
    CHECK_OK(quire_section_write(f.section, PAGE(1), &byte, 1, 0, NULL));
    f.file.late = true;
    CHECK_OK(quire_section_sync(f.section, PAGE(1), PAGE(1), QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 1);
    CHECK(quire_section_purge(f.section, PAGE(2), UINT64_MAX, false) > 0);
    CHECK_OK(quire_section_resize(f.section, PAGE(1) + 3));
    audit(&f.u);
    f.file.late = false;
    CHECK_OK(quire_section_read(f.section, PAGE(1), &byte, 1, 0, NULL));
    CHECK(byte == 1);
    sync_all();
    edge_finish();
}

/* Goal: a page that is being written is discarded too, when that has ended. */
static void discarded_while_written(void)
{
    const uint8_t byte = 5;

    edge_begin();
    f.u.w.wait_io = end_first;
    CHECK_OK(quire_section_write(f.section, PAGE(1), &byte, 1, 0, NULL));
    f.file.late = true;
    CHECK_OK(quire_section_sync(f.section, PAGE(1), PAGE(1), QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 1);
    CHECK_OK(quire_section_discard(f.section, PAGE(1), PAGE(1)));
    CHECK(f.file.waiting_count == 0 && !quire_section_resident(f.section, PAGE(1)));
    f.file.late = false;
    edge_finish();
}

/* The discard of pages 1 to 3 is under way. */
static void begin_in_vain(struct test_world *world)
{
    world->yield = NULL;
    f.file.late = true;
    CHECK_OK(quire_section_sync(f.section, 0, PAGE(4), QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 0);
    quire_section_fetch(f.section, 0, PAGE(1));
    CHECK(f.file.waiting_count == 1 && f.file.waiting[0]->pages == 1);
    test_file_end(&f.file, 0);
    f.file.late = false;
}

/* Goal: while pages are discarded no transfer of them begins, for which the discard would have to
 * wait: others could begin them for ever. */
static void nothing_begins_while_discarded(void)
{
    edge_begin();
    view(RW, QUIRE_MAP_SHARED);
    put(&f.u, f.space, PAGE(3), 6); /* page 2 of the file */
    CHECK(!quire_section_resident(f.section, 0) && !quire_section_resident(f.section, PAGE(1)));
    f.u.w.yield = begin_in_vain;
    CHECK_OK(quire_section_discard(f.section, PAGE(1), PAGE(3)));
    CHECK(f.u.w.yield == NULL && f.file.writes == 0);
    CHECK(quire_section_resident(f.section, 0) && !quire_section_resident(f.section, PAGE(2)));
    edge_finish();
}

/* Goal: what lay behind the end and has been cleared is written back as zeros. */
static void cleared_tail_is_written(void)
{
    uint8_t byte = 0;

    edge_begin();
    CHECK_OK(quire_section_read(f.section, PAGE(1), &byte, 1, 0, NULL));
    CHECK_OK(quire_section_resize(f.section, PAGE(1) + 3));
    CHECK_OK(quire_section_resize(f.section, PAGE(2)));
    sync_all();
    CHECK(quire_section_purge(f.section, PAGE(1), PAGE(1), false) == 1);
    CHECK_OK(quire_section_read(f.section, PAGE(1) + 2, &byte, 1, 0, NULL));
    CHECK(byte == 100);
    CHECK_OK(quire_section_read(f.section, PAGE(1) + 3, &byte, 1, 0, NULL));
    CHECK(byte == 0);
    edge_finish();
}

/* Goal: a debugger who may not wait does not wait for the pager. */
static void forced_without_wait(void)
{
    uint8_t byte;

    edge_begin();
    view(QUIRE_NONE, 0);
    f.file.late = true;
    CHECK_STATUS(quire_access(f.space, PAGE(1), &byte, 1, R | QUIRE_FORCE | QUIRE_NO_WAIT, NULL),
                 QUIRE_WOULD_WAIT);
    test_file_end(&f.file, 0);
    CHECK_OK(quire_access(f.space, PAGE(1), &byte, 1, R | QUIRE_FORCE | QUIRE_NO_WAIT, NULL));
    CHECK(byte == 100);
    edge_finish();
}

/* Goal: a device that may write a page counts as a writer, also when no view is left. */
static void devices_are_writers(void)
{
    struct quire_run run;
    struct quire_pin pin;

    edge_begin();
    view(RW, QUIRE_MAP_SHARED);
    CHECK_OK(quire_pin(f.space, PAGE(2), PAGE(1), W, &run, 1, &pin));
    unmap(&f.u, f.space, PAGE(1), PAGE(PAGES));
    CHECK_STATUS(quire_section_seal(f.section, QUIRE_SEAL_WRITE), QUIRE_HAS_WRITERS);
    CHECK_OK(quire_section_seal(f.section, QUIRE_SEAL_GROW)); /* that one is no matter of writers */
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    CHECK_OK(quire_section_seal(f.section, QUIRE_SEAL_WRITE));
    edge_finish();
}

/* The first transfer that is waited for fails, and others do not. */
static void fail_once(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    f.file.fail_reads = true;
    test_file_end(&f.file, 0);
    f.file.fail_reads = f.file.late = false;
}

/* Goal: a section that grows reads its last page itself, if another's read of it failed. */
static void grows_after_a_failure(void)
{
    uint8_t byte = 0;

    edge_begin();
    f.u.w.wait_io = fail_once;
    CHECK_OK(quire_section_resize(f.section, PAGE(1) + 3));
    f.file.late = true;
    quire_section_fetch(f.section, PAGE(1), PAGE(1));
    CHECK(f.file.waiting_count == 1);
    CHECK_OK(quire_section_resize(f.section, PAGE(2)));
    CHECK(f.file.reads == 2 && f.file.failed_reads == 1);
    CHECK_OK(quire_section_read(f.section, PAGE(1) + 2, &byte, 1, 0, NULL));
    CHECK(byte == 100);
    CHECK_OK(quire_section_read(f.section, PAGE(1) + 3, &byte, 1, 0, NULL));
    CHECK(byte == 0);
    edge_finish();
}

/* Goal: whatever of its last page a section ends in, what lay behind is zeros when it grows. */
static void tails_of_all_lengths(void)
{
    for (unsigned kept = 1; kept < QUIRE_PAGE_SIZE; kept *= 2) {
        uint8_t bytes[2] = {0};

        edge_begin();
        CHECK_OK(quire_section_resize(f.section, PAGE(2) + kept));
        CHECK_OK(quire_section_resize(f.section, PAGE(3)));
        CHECK_OK(quire_section_read(f.section, PAGE(2) + kept - 1, bytes, 2, 0, NULL));
        CHECK(bytes[0] == 100 && bytes[1] == 0);
        edge_finish();
    }
}

/* Goal: a read that fails leaves no table behind; and neither it nor a write takes the frames that
 * are kept for giving memory back. */
static void nothing_taken_in_vain(void)
{
    static pfn_t taken[8192];
    uint32_t count = 0, free;
    uint8_t byte = 0;

    begin_with(&f.u, &(struct test_options){.max_sections = 2, .reserve = 4});
    memset(disk, 100, sizeof disk);
    test_file_init(&f.file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f.file, sizeof disk, &f.section));
    f.space = space_new(&f.u);
    free = quire_free_frames(f.u.w.q);
    f.file.fail_reads = true;
    CHECK_STATUS(quire_section_read(f.section, 0, &byte, 1, 0, NULL), QUIRE_IO_ERROR);
    f.file.fail_reads = false;
    CHECK(quire_free_frames(f.u.w.q) == free && stats_of(&f.u).frames_table == 1);
    while (quire_frame_take(f.u.w.q, &taken[count]) == QUIRE_OK)
        count++;
    CHECK_STATUS(quire_section_read(f.section, 0, &byte, 1, 0, NULL), QUIRE_NO_MEMORY);
    CHECK_STATUS(quire_section_write(f.section, 0, disk, QUIRE_PAGE_SIZE, 0, NULL),
                 QUIRE_NO_MEMORY);
    CHECK_STATUS(quire_section_write(f.section, 0, disk, QUIRE_PAGE_SIZE, QUIRE_NO_WAIT, NULL),
                 QUIRE_WOULD_WAIT);
    CHECK(stats_of(&f.u).frames_free == 4);
    while (count > 0)
        quire_frame_give(f.u.w.q, taken[--count]);
    edge_finish();
}

static unsigned waits;

static void end_and_count(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    waits++;
    test_file_end(&f.file, 0);
}

/* Goal: a section grows when its last page is on no way: what the device gets is not changed under
 * its hands. */
static void grows_after_a_write(void)
{
    uint8_t byte = 5;

    edge_begin();
    f.u.w.wait_io = end_and_count;
    waits = 0;
    CHECK_OK(quire_section_resize(f.section, PAGE(1) + 3));
    CHECK_OK(quire_section_write(f.section, PAGE(1), &byte, 1, 0, NULL));
    f.file.late = true;
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    CHECK_OK(quire_section_resize(f.section, PAGE(2)));
    CHECK(waits == 1 && f.file.waiting_count == 0);
    f.file.late = false;
    edge_finish();
}

static bool asked_not_to_wait;

static bool hear(struct test_file *file, const struct quire_io *io)
{
    (void)file;
    asked_not_to_wait = io->no_wait;
    return false;
}

/* Goal: the pager is told if who wants the page may not wait. */
static void pager_is_told(void)
{
    edge_begin();
    view(R, 0);
    f.file.fails = hear;
    CHECK_STATUS(quire_fault(f.space, PAGE(1), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(asked_not_to_wait);
    CHECK(quire_section_purge(f.section, 0, UINT64_MAX, false) > 0);
    CHECK_OK(quire_fault(f.space, PAGE(1), R));
    CHECK(!asked_not_to_wait);
    edge_finish();
}

/* Goal: pages that are read lie in frames of their own colours. */
static void coloured(void)
{
    begin_with(&f.u, &(struct test_options){.max_sections = 1, .colours = 4});
    memset(disk, 100, sizeof disk);
    test_file_init(&f.file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f.file, sizeof disk, &f.section));
    f.space = space_new(&f.u);
    view(R, 0);
    for (unsigned i = 0; i < PAGES; i++) {
        CHECK(get(&f.u, f.space, PAGE(1 + i)) == 100);
        CHECK(page_at(f.space, PAGE(1 + i)).pfn % 4 == i);
    }
    edge_finish();
}

/*
 * Goal: with any number of free frames a page far away in shared memory is written, or refused and
 * written later; what it takes is asked for before.
 */
static void far_pages_with_k_frames(void)
{
    static pfn_t taken[8192];
    const uint64_t far[] = {1, LEAF_PAGES, LEAF_PAGES * LEAF_PAGES + LEAF_PAGES,
                            LEAF_PAGES * LEAF_PAGES + 1};
    unsigned refusals = 0;

    for (unsigned k = 0; k < 8; k++) {
        struct quire_section *memory;
        uint32_t count = 0;
        uint8_t byte = 0;

        edge_begin();
        CHECK_OK(
            quire_section_create(f.u.w.q, PAGE(2 * LEAF_PAGES * LEAF_PAGES), NULL, NULL, &memory));
        CHECK_OK(quire_section_write(memory, 0, &byte, 1, 0, NULL));
        for (unsigned i = 0; i < sizeof far / sizeof far[0]; i++) {
            while (quire_free_frames(f.u.w.q) > k)
                CHECK_OK(quire_frame_take(f.u.w.q, &taken[count++]));
            byte = (uint8_t)(i + 1);
            enum quire_status status = quire_section_write(memory, PAGE(far[i]), &byte, 1, 0, NULL);
            audit(&f.u);
            refusals += status != QUIRE_OK;
            while (count > 0)
                quire_frame_give(f.u.w.q, taken[--count]);
            if (status != QUIRE_OK)
                CHECK_OK(quire_section_write(memory, PAGE(far[i]), &byte, 1, 0, NULL));
        }
        for (unsigned i = 0; i < sizeof far / sizeof far[0]; i++) {
            CHECK_OK(quire_section_read(memory, PAGE(far[i]), &byte, 1, 0, NULL));
            CHECK(byte == i + 1);
        }
        quire_section_close(memory);
        edge_finish();
    }
    CHECK(refusals == 1 + 2 + 5 + 2); /* a page; and a leaf; and a root and its way; and a leaf */
}

/* Goal: what is being written, and has changed since, is not written twice at once. */
static void changed_while_written(void)
{
    uint8_t byte = 5;

    edge_begin();
    for (unsigned i = 0; i < 2; i++)
        CHECK_OK(quire_section_write(f.section, PAGE(i), &byte, 1, 0, NULL));
    sync_all();
    f.file.late = true;
    for (unsigned i = 0; i < 2; i++) { /* page 1 is on its way when both have changed */
        CHECK_OK(quire_section_write(f.section, PAGE(1), &byte, 1, 0, NULL));
        CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
        byte = 6;
        CHECK_OK(quire_section_write(f.section, 0, &byte, 1, 0, NULL));
        CHECK(f.file.waiting_count == i + 1 && f.file.pages_written == 3 + i);
    }
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    while (f.file.waiting_count > 0)
        test_file_end(&f.file, 0);
    f.file.late = false;
    sync_all();
    CHECK(disk[0] == 6 && disk[PAGE(1)] == 6);
    edge_finish();
}

/* Goal: a pager that does not want to know that a section has gone is not told. */
static void nobody_to_tell(void)
{
    static const struct quire_pager silent = {0};
    struct quire_section *memory;
    uint8_t byte = 5;

    edge_begin();
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(1), &silent, NULL, &memory));
    CHECK_OK(quire_section_write(memory, 0, &byte, 1, 0, NULL));
    CHECK(stats_of(&f.u).sections == 2 && stats_of(&f.u).committed == 1);
    quire_section_close(memory);
    CHECK(stats_of(&f.u).sections == 1 && stats_of(&f.u).committed == 0);
    edge_finish();
}

CHECK_MAIN("unit.section_edges", TEST(pinned_stays_changed), TEST(longest_view),
           TEST(no_table_stays), TEST(cut_within_a_page), TEST(discarded_while_written),
           TEST(nothing_begins_while_discarded), TEST(cleared_tail_is_written),
           TEST(forced_without_wait), TEST(devices_are_writers), TEST(grows_after_a_failure),
           TEST(changed_while_written), TEST(nobody_to_tell), TEST(grows_after_a_write),
           TEST(pager_is_told), TEST(coloured), TEST(tails_of_all_lengths),
           TEST(nothing_taken_in_vain), TEST(far_pages_with_k_frames))
