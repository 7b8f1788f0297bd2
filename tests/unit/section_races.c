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
    struct quire_space *space; /* of some tests, with a shared view of all pages from PAGE(1) on */
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
    begin_with(&f.u, &(struct test_options){.max_sections = 2, .cpus = 2});
    memset(disk, 100, sizeof disk);
    test_file_init(&f.file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f.file, sizeof disk, &f.section));
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(file_byte(PAGE(i)) == 100);
    CHECK(quire_section_purge(f.section, PAGE(1), UINT64_MAX, false) == PAGES - 1);
}

static void race_finish(void)
{
    struct quire *q = f.u.w.q;
    unsigned records = 0;

    audit(&f.u);
    for (const struct quire_io *io = q->free_transfer; io; io = io->next)
        records++;
    CHECK(records == q->max_transfers);
    quire_section_close(f.section);
    CHECK(f.file.gone);
    finish(&f.u);
}

static void view_begin(void)
{
    vaddr_t at = PAGE(1);

    f.space = space_new(&f.u);
    CHECK_OK(quire_map_view(f.space, &at, PAGE(PAGES), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED,
                            f.section, 0));
}

static void view_end(void)
{
    end(&f.u, f.space);
    f.space = NULL;
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
    two.way[1][1] = (struct spot){slot_of(3), true};
    (void)two_calls(&f.u, cut, begin_write);
    audit(&f.u);
    CHECK(f.file.waiting_count == 0);
    f.file.late = false;
    memset(disk + PAGE(2), 0, PAGE(2));
    CHECK_OK(quire_section_resize(f.section, sizeof disk));
    CHECK(file_byte(PAGE(3)) == 0);
    race_finish();
}

static pfn_t taken[8192];
static uint32_t taken_count;

static void take_all(void)
{
    while (taken_count < 8192 && quire_frame_take(f.u.w.q, &taken[taken_count]) == QUIRE_OK)
        taken_count++;
}

static void cut_in_vain(void)
{
    CHECK_STATUS(quire_section_resize(f.section, PAGE(1)), QUIRE_NO_MEMORY);
}

static void sync_all(void) { CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL)); }

/* Goal: what a sync said it has written is written, also where a cut that is refused in the end had
 * taken it away for a moment. */
static void synced_while_a_cut_fails(void)
{
    for (unsigned n = 1, more = true; more; n += MICRO ? 1 : 16) {
        struct quire_space *twin;
        uint8_t byte = 5;

        race_begin();
        view_begin();
        CHECK(get(&f.u, f.space, PAGE(3)) == 100);
        twin = fork_of(&f.u, f.space); /* to take a page from a view costs tables now */
        CHECK_OK(quire_section_write(f.section, PAGE(3), &byte, 1, 0, NULL));
        take_all();
        f.u.w.yield = two_yield;
        more = two_calls_at(&f.u, cut_in_vain, sync_all, n);
        if (more)
            CHECK(disk[PAGE(3)] == 5);
        while (taken_count > 0)
            quire_frame_give(f.u.w.q, taken[--taken_count]);
        end(&f.u, twin);
        view_end();
        race_finish();
    }
}

/* ---- every moment ---------------------------------------------------------------------------- */

static uint8_t got;
static size_t got_count;

/* A device that is late ends what waits longest, else the other call goes on. */
static void device(struct test_world *world, struct quire_section *section)
{
    if (f.file.waiting_count > 0)
        test_file_end(&f.file, 0);
    else
        two_wait(world, section);
}

static void device_ends(void)
{
    while (f.file.waiting_count > 0)
        test_file_end(&f.file, 0);
}

static void change_pages(void)
{
    const uint8_t byte = 5;

    CHECK_OK(quire_section_write(f.section, 0, &byte, 1, 0, NULL));
    CHECK_OK(quire_section_write(f.section, PAGE(3), &byte, 1, 0, NULL));
}

static void cut_all(void) { CHECK_OK(quire_section_resize(f.section, 0)); }
static void cut_two(void) { CHECK_OK(quire_section_resize(f.section, PAGE(2))); }
static void discard_all(void) { CHECK_OK(quire_section_discard(f.section, 0, UINT64_MAX)); }
static void purge_all(void) { (void)quire_section_purge(f.section, 0, UINT64_MAX, false); }
static void seal(void) { CHECK_OK(quire_section_seal(f.section, QUIRE_SEAL_WRITE)); }

static void write_first(void)
{
    const uint8_t byte = 5;
    enum quire_status status = quire_section_write(f.section, 0, &byte, 1, 0, NULL);

    CHECK(status == QUIRE_OK || status == QUIRE_SEALED);
}

static uint8_t at_seal;

static void seal_and_look(void)
{
    seal();
    at_seal = file_byte(0);
}

static void read_3(void)
{
    CHECK_OK(quire_section_read(f.section, PAGE(3), &got, 1, 0, &got_count));
}

static void touch_3(void)
{
    enum quire_status status = quire_fault(f.space, PAGE(4), R);

    CHECK(status == QUIRE_OK ||
          (status == QUIRE_BEYOND_END && quire_section_size(f.section) == PAGE(2)));
}

static void write_3(void)
{
    const uint8_t byte = 7;

    CHECK_OK(quire_write(f.space, PAGE(4), &byte, 1, NULL));
}

static void purge_views(void) { (void)quire_section_purge(f.section, 0, UINT64_MAX, true); }

static void is_cut(void) { CHECK(quire_section_size(f.section) == 0); }

static void is_cut_or_read(void)
{
    CHECK(quire_section_size(f.section) == PAGE(2));
    CHECK(!quire_section_resident(f.section, PAGE(3)));
    CHECK(got_count == 0 || got == 100);
}

static void is_written(void) { CHECK(disk[0] == 5 && disk[PAGE(3)] == 5); }

static void sync_and_look(void)
{
    sync_all();
    is_written();
}

static void is_as_sealed(void) { CHECK(file_byte(0) == at_seal); }

static void is_written_or_gone(void)
{
    CHECK(file_byte(0) == disk[0]);
    CHECK(file_byte(PAGE(3)) == disk[PAGE(3)]);
}

static void is_sealed(void)
{
    struct quire_section_info info;

    quire_section_info(f.section, &info);
    CHECK(info.seals == QUIRE_SEAL_WRITE);
    CHECK(file_byte(PAGE(3)) == 100);
}

static void is_out_of_view(void)
{
    uint8_t byte;

    is_cut_or_read();
    CHECK_STATUS(quire_read(f.space, PAGE(4), &byte, 1, NULL), QUIRE_BEYOND_END);
    view_end();
}

static void is_mapped(void)
{
    struct quire_section_info info;

    quire_section_info(f.section, &info);
    CHECK(info.mapped > 0 && get(&f.u, f.space, PAGE(4)) == 100);
    view_end();
}

static void is_in_view(void)
{
    CHECK(get(&f.u, f.space, PAGE(4)) == 100);
    view_end();
}

/* Written back or not: if it is clean, the device has it. */
static void is_not_lost(void)
{
    CHECK(get(&f.u, f.space, PAGE(4)) == 7);
    (void)quire_section_purge(f.section, 0, UINT64_MAX, true);
    CHECK(file_byte(PAGE(3)) == 7);
    view_end();
}

/* Goal: whenever another call comes between, each does what it says.  Method: at every access. */
static void at_every_moment(void)
{
    static const struct {
        void (*before)(void), (*call)(void), (*other)(void), (*after)(void);
    } rows[] = {
        {NULL, cut_all, purge_all, is_cut},
        {NULL, cut_all, cut_all, is_cut},
        {NULL, cut_two, read_3, is_cut_or_read},
        {NULL, read_3, cut_two, is_cut_or_read},
        {change_pages, sync_and_look, begin_write, is_written},
        {change_pages, sync_all, discard_all, is_written_or_gone},
        {NULL, seal, purge_all, is_sealed},
        {NULL, write_first, seal_and_look, is_as_sealed},
        {view_begin, touch_3, touch_3, is_mapped},
        {view_begin, touch_3, purge_views, is_in_view},
        {view_begin, touch_3, cut_two, is_out_of_view},
        {view_begin, cut_two, touch_3, is_out_of_view},
        {view_begin, write_3, sync_all, is_not_lost},
        {view_begin, sync_all, write_3, is_not_lost},
        {view_begin, purge_views, write_3, is_not_lost},
    };
    unsigned moments = 0;

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (unsigned n = 1, more = true; more; n += MICRO ? 1 : 16) {
            race_begin();
            if (rows[i].before)
                rows[i].before();
            f.file.late = true;
            f.u.w.wait_io = device;
            f.u.w.yield = two_yield;
            more = two_calls_at(&f.u, rows[i].call, rows[i].other, n);
            moments += more;
            device_ends();
            audit(&f.u);
            f.file.late = false;
            f.u.w.yield = NULL;
            if (!more) /* one after the other */
                rows[i].other();
            rows[i].after();
            race_finish();
        }
    FIGURES("%u moments", moments);
}

/* ---- catching up ----------------------------------------------------------------------------- */

static unsigned touches;

/* Whenever the tree is looked at, CPU 1 maps its pages 2 and 3, if it need not wait for that. */
static void map_again(const void *address, bool write)
{
    enum quire_status status;

    if (address != &f.section->root || write)
        return;
    test_touch = NULL;
    test_cpu = 1;
    for (unsigned i = 3; i <= 4; i++) {
        status = quire_fault(f.space, PAGE(i), R | QUIRE_NO_WAIT);
        CHECK(status == QUIRE_OK || status == QUIRE_WOULD_WAIT);
    }
    test_cpu = 0;
    touches++;
    test_touch = map_again;
}

/* Page 3 goes, and is not there when the call has ended. */
static void discard_mapped(void)
{
    touches = 0;
    test_touch = map_again;
    CHECK_OK(quire_section_discard(f.section, PAGE(3), PAGE(1)));
    test_touch = NULL;
    audit(&f.u);
    CHECK(touches > 0 && !quire_section_resident(f.section, PAGE(3)));
}

/* Goal: a program that goes on mapping what is discarded can not keep it. */
static void mapped_again_and_again(void)
{
    uint64_t reads;

    race_begin();
    view_begin();
    put(&f.u, f.space, PAGE(4), 7);
    reads = f.file.reads;
    discard_mapped();
    CHECK(get(&f.u, f.space, PAGE(4)) == 100 && f.file.reads == reads + 2);
    view_end();
    race_finish();
}

/* Goal: the same of memory, which no pager has. */
static void cleared_in_use(void)
{
    struct quire_section *file_section;
    const uint8_t byte = 9;

    race_begin();
    file_section = f.section;
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(PAGES), NULL, NULL, &f.section));
    view_begin();
    CHECK_OK(quire_section_write(f.section, PAGE(3), &byte, 1, 0, NULL));
    discard_mapped();
    CHECK(get(&f.u, f.space, PAGE(4)) == 0);
    view_end();
    quire_section_close(f.section);
    f.section = file_section;
    race_finish();
}

/* ---- a page that is whole no longer ---------------------------------------------------------- */

static void write_tail(void)
{
    const uint8_t bytes[3] = {7, 7, 7};

    CHECK_OK(quire_section_write(f.section, PAGE(1), bytes, sizeof bytes, 0, NULL));
}

/* The section grows, gets a byte behind these, and forgets the page that the device has. */
static void grow_and_forget(void)
{
    const uint8_t byte = 9;

    CHECK_OK(quire_section_resize(f.section, PAGE(2)));
    CHECK_OK(quire_section_write(f.section, PAGE(1) + 3, &byte, 1, 0, NULL));
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(quire_section_purge(f.section, PAGE(1), PAGE(1), false) == 1);
}

/* Goal: what was all of the last page is a part of it once the section has grown. */
static void grown_meanwhile(void)
{
    race_begin();
    cut();
    discard_all();
    two.way[0][0] = (struct spot){&f.section->lock.word, true};
    (void)two_calls(&f.u, write_tail, grow_and_forget);
    audit(&f.u);
    CHECK(file_byte(PAGE(1)) == 7 && file_byte(PAGE(1) + 2) == 7);
    CHECK(file_byte(PAGE(1) + 3) == 9);
    race_finish();
}

/* ---- dead sections --------------------------------------------------------------------------- */

enum { LEAVES = 12 };

static struct quire_section *memory;

static void memory_begin(void)
{
    const uint8_t byte = 1;

    CHECK_OK(quire_section_create(f.u.w.q, LEAVES * LEAF, NULL, NULL, &memory));
    for (unsigned i = 0; i < LEAVES; i++)
        CHECK_OK(quire_section_write(memory, i * LEAF, &byte, 1, 0, NULL));
}

static void memory_view(void)
{
    vaddr_t at = 0;

    f.space = space_new(&f.u);
    CHECK_OK(quire_map_view(f.space, &at, LEAF, RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, memory, 0));
    CHECK(get(&f.u, f.space, 0) == 1);
    test_run(&f.u.w, 0, NULL);
}

static void close_memory(void) { quire_section_close(memory); }
static void work_off(void) { (void)quire_work(f.u.w.q, UINT32_MAX); }
static void destroy(void) { quire_space_destroy(f.space); }
static void destroy_all(void)
{
    destroy();
    work_off();
}

/* Goal: whoever frees what has died, two calls free it once. */
static void freed_by_two(void)
{
    unsigned moments = 0;

    for (unsigned viewed = 0; viewed < 2; viewed++)
        for (unsigned n = 1, more = true; more; n += MICRO ? 1 : 16) {
            begin_with(&f.u, &(struct test_options){.max_sections = 1, .cpus = 2});
            memory_begin();
            if (viewed) {
                memory_view();
                quire_section_close(memory);
            }
            f.u.w.yield = two_yield;
            more = two_calls_at(&f.u, viewed ? destroy : close_memory, work_off, n);
            moments += more;
            f.u.w.yield = NULL;
            work_off();
            CHECK(stats_of(&f.u).sections == 0);
            finish(&f.u);
        }
    FIGURES("%u moments", moments);
}

static void discard_memory(void) { CHECK_OK(quire_section_discard(memory, 0, UINT64_MAX)); }

/* Goal: memory that is discarded while a table that shows it is being dropped reads zero. */
static void discarded_while_dropped(void)
{
    for (unsigned n = 1, more = true; more; n++) {
        pfn_t leaf;

        begin_with(&f.u, &(struct test_options){.max_sections = 1, .cpus = 2});
        memory_begin();
        memory_view();
        leaf = qi_section_leaf(memory, 0);
        two.way[1][0] = (struct spot){&table_record(f.u.w.q, leaf)->lock.word, true};
        f.u.w.yield = two_yield;
        more = two_calls_at(&f.u, discard_memory, destroy_all, n);
        f.u.w.yield = NULL;
        for (unsigned i = 0; i < LEAVES; i++) {
            uint8_t byte = 7;

            CHECK_OK(quire_section_read(memory, i * LEAF, &byte, 1, 0, NULL));
            CHECK(byte == 0);
        }
        if (!more)
            destroy();
        quire_section_close(memory);
        work_off();
        finish(&f.u);
    }
    memset(two.way, 0, sizeof two.way);
}

static bool there_is_memory(struct test_world *world, uint32_t frames)
{
    (void)frames;
    return quire_free_frames(world->q) > 0;
}

static void fault_first(void) { CHECK_OK(quire_fault(f.space, 0, W)); }

/* A section that has died, of more leaves than the end of its last transfer frees. */
static void half_dead(void)
{
    static const uint8_t page[QUIRE_PAGE_SIZE] = {1};
    struct quire_section *section;

    test_file_init(&f.file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&f.file, LEAVES * LEAF, &section));
    for (unsigned i = 1; i < LEAVES; i++)
        CHECK_OK(quire_section_write(section, i * LEAF, page, sizeof page, 0, NULL));
    f.file.late = true;
    quire_section_fetch(section, 0, PAGE(1));
    quire_section_close(section);
    CHECK(f.file.waiting_count == 1);
    test_file_end(&f.file, 0);
    CHECK(stats_of(&f.u).sections == 1);
}

/* Goal: what a dead section still has is memory, for one who frees it himself, or comes second. */
static void dead_sections_are_memory(void)
{
    for (unsigned n = 1, more = true; more; n += MICRO ? 1 : 16) {
        begin_with(&f.u, &(struct test_options){.max_sections = 1, .cpus = 2});
        f.space = space_new(&f.u);
        map(&f.u, f.space, 0, LEAF, RW);
        half_dead();
        take_all();
        f.u.w.need_frames = there_is_memory;
        more = two_calls_at(&f.u, fault_first, work_off, n);
        CHECK(page_at(f.space, 0).kind == QUIRE_PAGE_PRIVATE);
        while (taken_count > 0)
            quire_frame_give(f.u.w.q, taken[--taken_count]);
        work_off();
        CHECK(f.file.gone == 1);
        view_end();
        finish(&f.u);
    }
}

CHECK_MAIN("unit.section_races", TEST(frames_before), TEST(tail), TEST(written_while_cut),
           TEST(synced_while_a_cut_fails), TEST(at_every_moment), TEST(mapped_again_and_again),
           TEST(cleared_in_use), TEST(grown_meanwhile), TEST(freed_by_two),
           TEST(discarded_while_dropped), TEST(dead_sections_are_memory))
