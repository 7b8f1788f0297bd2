/* SPDX-License-Identifier: MIT */
/*
 * Two calls on one section at the moments when they matter: each test is one exact schedule.
 */
#include "two.h"

#include "pager.h"
#include "section.h"

enum { PAGES = 4 };
static uint8_t disk[PAGES << QUIRE_PAGE_SHIFT];

static struct {
    struct unit u;
    struct test_file file;
    struct quire_section *section;
} f;

/* The entry of a page whose leaf is there. */
static entry_t *slot_of(uint64_t page)
{
    pfn_t leaf = qi_section_leaf(f.section, page);

    return &table_entries(f.u.w.q, leaf)[page % QUIRE_TABLE_ENTRIES];
}

static uint8_t file_byte(uint64_t at)
{
    uint8_t byte = 0;

    CHECK_OK(quire_section_read(f.section, at, &byte, 1, 0, NULL));
    return byte;
}

/* Page 0 is in memory, and no frame that is free is clean. */
static void race_begin(void)
{
    begin_with(&f.u, &(struct test_options){.max_sections = 1, .cpus = 2});
    memset(disk, 100, sizeof disk);
    test_file_init(&f.file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f.file, sizeof disk, &f.section));
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(file_byte(PAGE(i)) == 100);
    CHECK(quire_section_purge(f.section, PAGE(1), UINT64_MAX, false) == PAGES - 1);
}

static void race_finish(void)
{
    audit(&f.u);
    quire_section_close(f.section);
    CHECK(f.file.gone);
    finish(&f.u);
}

/* ---- what a frame held before ---------------------------------------------------------------- */

static const entry_t *watched;
static bool stored;
static unsigned seen;

/* Whenever an entry was stored, CPU 1 looks at its page. */
static void look(const void *address, bool write)
{
    uint8_t byte = 0;

    if (stored) {
        stored = false;
        test_touch = NULL;
        test_cpu = 1;
        if (quire_section_resident(f.section, PAGE(1))) {
            CHECK_OK(quire_section_read(f.section, PAGE(1), &byte, 1, 0, NULL));
            CHECK(byte == 7);
        }
        seen++;
        test_cpu = 0;
        test_touch = look;
    }
    stored = write && address == watched;
}

static void look_at_page_1(void (*call)(void))
{
    watched = slot_of(1);
    stored = false;
    seen = 0;
    test_touch = look;
    call();
    test_touch = NULL;
    CHECK(seen > 0);
}

static void write_page(void)
{
    static uint8_t page[QUIRE_PAGE_SIZE];

    memset(page, 7, sizeof page);
    CHECK_OK(quire_section_write(f.section, PAGE(1), page, sizeof page, 0, NULL));
}

static void fail_to_read(void)
{
    uint8_t byte;

    f.file.fail_reads = true;
    CHECK_STATUS(quire_section_read(f.section, PAGE(1), &byte, 1, 0, NULL), QUIRE_IO_ERROR);
    f.file.fail_reads = false;
}

/* Goal: nobody reads what the frame of a page held before, neither of a new one nor of one that
 * could not be read. */
static void frames_before(void)
{
    race_begin();
    look_at_page_1(write_page);
    CHECK(file_byte(PAGE(1)) == 7);
    CHECK_OK(quire_section_discard(f.section, PAGE(1), PAGE(1)));
    look_at_page_1(fail_to_read);
    race_finish();
}

/* ---- the end --------------------------------------------------------------------------------- */

static void cut(void) { CHECK_OK(quire_section_resize(f.section, PAGE(1) + 3)); }
static void read_last(void) { CHECK(file_byte(PAGE(1)) == 100); }

/* Goal: the last page shows nothing behind the end, if it is read just before the size changes. */
static void tail(void)
{
    struct quire_space *space;
    vaddr_t at = PAGE(1);

    race_begin();
    space = space_new(&f.u);
    CHECK_OK(quire_map_view(space, &at, PAGE(1), R, QUIRE_MAP_FIXED, f.section, PAGE(1)));
    two.way[0][0] = (struct spot){&f.section->size, true};
    (void)two_calls(&f.u, cut, read_last);
    CHECK(get(&f.u, space, at + 2) == 100);
    CHECK(get(&f.u, space, at + 3) == 0);
    end(&f.u, space);
    race_finish();
}

static void begin_write(void)
{
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
}

static void end_write(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    CHECK(f.file.waiting_count == 1);
    test_file_end(&f.file, 0);
}

/* Goal: a page whose writing begins while it is cut off does not stay to be seen again. */
static void written_while_cut(void)
{
    uint8_t byte = 5;

    race_begin();
    CHECK_OK(quire_section_write(f.section, PAGE(3), &byte, 1, 0, NULL));
    f.file.late = true;
    f.u.w.wait_io = end_write;
    two.way[1][0] = (struct spot){&f.section->limit, false};
    two.way[1][1] = (struct spot){slot_of(3), false};
    (void)two_calls(&f.u, cut, begin_write);
    audit(&f.u);
    CHECK(f.file.waiting_count == 0);
    f.file.late = false;
    memset(disk + PAGE(2), 0, PAGE(2));
    CHECK_OK(quire_section_resize(f.section, sizeof disk));
    CHECK(file_byte(PAGE(3)) == 0);
    race_finish();
}

CHECK_MAIN("unit.section_races", TEST(frames_before), TEST(tail), TEST(written_while_cut))
