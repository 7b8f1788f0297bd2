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

CHECK_MAIN("unit.section_edges", TEST(pinned_stays_changed), TEST(longest_view),
           TEST(no_table_stays), TEST(cut_within_a_page), TEST(forced_without_wait))
