/* SPDX-License-Identifier: MIT */
/*
 * The pages of sections at their edges: the end of a file, of memory and of records, pages that are
 * on their way, and what is asked wrongly.
 */
#include "file.h"
#include "two.h"

#include "section.h"

static struct fixture f;

/* A page of another leaf than page 0, which no read ahead reaches. */
enum { FAR = QUIRE_TABLE_ENTRIES, HOARD = 8192 };

static pfn_t hoard[HOARD];
static uint32_t hoarded;

static void take_all(void)
{
    while (hoarded < HOARD && quire_frame_take(f.u.w.q, &hoard[hoarded]) == QUIRE_OK)
        hoarded++;
    CHECK(quire_free_frames(f.u.w.q) == 0);
}

static void give_all(void)
{
    while (hoarded > 0)
        quire_frame_give(f.u.w.q, hoard[--hoarded]);
}

static bool give_frames(struct test_world *world, uint32_t frames)
{
    CHECK(frames > 0);
    world->need_frames = NULL;
    give_all();
    return true;
}

/* The host ends the transfer that was begun last. */
static void end_one(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    CHECK(f.file.waiting_count > 0);
    test_file_end(&f.file, f.file.waiting_count - 1);
}

static void begin_late(struct test_options options)
{
    fixture_begin_with(&f, options);
    f.u.w.wait_io = end_one;
    f.file.late = true;
}

static enum quire_status read_at(uint64_t at, uint32_t access)
{
    uint8_t byte;

    return quire_section_read(f.section, at, &byte, 1, access, NULL);
}

static enum quire_status write_at(uint64_t at, size_t length, uint32_t access)
{
    static uint8_t bytes[2 * QUIRE_PAGE_SIZE];

    memset(bytes, 77, sizeof bytes);
    return quire_section_write(f.section, at, bytes, length, access, NULL);
}

static struct quire_section_info info(void)
{
    struct quire_section_info i;

    quire_section_info(f.section, &i);
    return i;
}

/* ---- what is asked wrongly ------------------------------------------------------------------- */

/* Goal: arguments that make no sense are told so, and change nothing. */
static void arguments(void)
{
    struct quire_section *other;
    vaddr_t at = PAGE(1);
    const uint32_t fixed = QUIRE_MAP_FIXED, shared = QUIRE_MAP_FIXED | QUIRE_MAP_SHARED;
    const uint64_t most = (uint64_t)1 << QUIRE_ADDRESS_BITS;

    fixture_begin(&f);
    CHECK_STATUS(read_at(0, QUIRE_FORCE), QUIRE_BAD_FLAGS);
    CHECK_STATUS(write_at(UINT64_MAX, 2, 0), QUIRE_WRAPS);
    CHECK_STATUS(quire_section_sync(f.section, 0, 1, 2, NULL), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_section_resize(f.section, most + 1), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_section_create(f.u.w.q, most + 1, NULL, NULL, &other), QUIRE_OUT_OF_RANGE);
    CHECK_OK(quire_section_resize(f.section, sizeof disk));
    CHECK_OK(quire_section_discard(f.section, 1, PAGE(1)));
    CHECK_STATUS(quire_map_view(f.space, &at, PAGE(1), R, fixed, f.section, 1), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_map_view(f.space, &at, PAGE(2), R, fixed, f.section, 0 - PAGE(1)),
                 QUIRE_WRAPS);
    CHECK_STATUS(quire_map_view(f.space, &at, PAGE(1), R, fixed, f.section, PAGE(QI_VIEW_PAGES)),
                 QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_map_view(f.space, &at, PAGE(1), R, fixed, NULL, 0), QUIRE_BAD_FLAGS);
    CHECK_STATUS(
        quire_map_view(f.space, &at, PAGE(1), R, fixed | QUIRE_MAP_READ_ONLY, f.section, 0),
        QUIRE_BAD_FLAGS);
    CHECK_STATUS(
        quire_map_view(f.space, &at, PAGE(1), RW, shared | QUIRE_MAP_READ_ONLY, f.section, 0),
        QUIRE_PROTECTED);
    view(&f, f.space, PAGE(1), 1, R, QUIRE_MAP_SHARED | QUIRE_MAP_READ_ONLY, 0);
    CHECK_STATUS(quire_protect(f.space, PAGE(1), PAGE(1), RW), QUIRE_PROTECTED);
    CHECK_STATUS(quire_advise(f.space, PAGE(1), PAGE(1), QUIRE_FORK_WIPE), QUIRE_BAD_FLAGS);
    view(&f, f.space, PAGE(9), 1, RW, QUIRE_MAP_SHARED, 1);
    map(&f.u, f.space, PAGE(3), PAGE(1), RW);
    protect(&f.u, f.space, PAGE(3), PAGE(1), R); /* with a view above it */
    CHECK(quire_section_cookie(f.section) == &f.file);
    fixture_finish(&f);
}

/* Goal: neighbours that show what lies apart stay two, and a query says what each shows. */
static void views_apart(void)
{
    struct quire_region region;

    fixture_begin(&f);
    view(&f, f.space, PAGE(2), 1, R, QUIRE_MAP_SHARED, 0);
    view(&f, f.space, PAGE(3), 1, R, QUIRE_MAP_SHARED, 1);
    view(&f, f.space, PAGE(4), 1, R, QUIRE_MAP_SHARED, 3);
    CHECK_OK(quire_query(f.space, PAGE(3), &region));
    CHECK(region.start == PAGE(2) && region.end == PAGE(4) && region.offset == 0);
    CHECK(region.section == f.section);
    CHECK_OK(quire_query(f.space, PAGE(4), &region));
    CHECK(region.start == PAGE(4) && region.end == PAGE(5) && region.offset == PAGE(3));
    CHECK(get(&f.u, f.space, PAGE(4)) == stored(3));
    CHECK(page_at(f.space, PAGE(4)).kind == QUIRE_PAGE_SECTION);
    fixture_finish(&f);
}

/* Goal: a pin to read reads; a debugger may write what the program might. */
static void from_outside(void)
{
    struct quire_run run;
    struct quire_pin pin;
    uint8_t byte = 9;
    size_t done;

    fixture_begin_with(&f, (struct test_options){.max_pins = 1});
    view(&f, f.space, PAGE(1), 1, R, QUIRE_MAP_SHARED, 0);
    view(&f, f.space, PAGE(2), 1, RW, QUIRE_MAP_SHARED, 1);
    view(&f, f.space, PAGE(3), 1, RW, QUIRE_MAP_SHARED, FILE_PAGES);
    CHECK_OK(quire_pin(f.space, PAGE(1), 1, R, &run, 1, &pin));
    CHECK(page_at(f.space, PAGE(1)).pfn == run.first && !page_at(f.space, PAGE(1)).writable);
    CHECK(quire_section_purge(f.section, 0, PAGE(1), true) == 0); /* pinned */
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    CHECK_STATUS(quire_access(f.space, PAGE(1), &byte, 1, W | QUIRE_FORCE, NULL), QUIRE_PROTECTED);
    CHECK_OK(quire_access(f.space, PAGE(2), &byte, 1, W | QUIRE_FORCE, NULL));
    CHECK(file_byte(&f, PAGE(1)) == 9);
    CHECK_STATUS(quire_access(f.space, PAGE(3), &byte, 1, R | QUIRE_FORCE, &done),
                 QUIRE_BEYOND_END);
    CHECK(quire_section_purge(f.section, 0, PAGE(1), true) == 1);
    fixture_finish(&f);
}

/* ---- the end of the file --------------------------------------------------------------------- */

/* Goal: reads and writes stop at the end; what is all new is not read first. */
static void to_the_end(void)
{
    uint8_t bytes[64];
    size_t done;
    uint64_t read;

    fixture_begin(&f);
    CHECK_OK(quire_section_resize(f.section, PAGE(2) + 10));
    CHECK_OK(quire_section_read(f.section, PAGE(2), bytes, 20, 0, &done));
    CHECK(done == 10 && bytes[0] == stored(2));
    CHECK_OK(quire_section_read(f.section, PAGE(2) + 10, bytes, 1, 0, &done));
    CHECK(done == 0);
    read = f.file.pages_read;
    CHECK_OK(quire_section_resize(f.section, PAGE(FAR) + 10));
    CHECK_OK(write_at(PAGE(FAR), 10, 0)); /* up to the end */
    CHECK_OK(write_at(PAGE(FAR - 2), QUIRE_PAGE_SIZE, 0));
    CHECK(f.file.pages_read == read);
    CHECK_OK(write_at(PAGE(FAR - 1), 1, 0));
    CHECK_OK(write_at(PAGE(3) + 1, 1, 0));
    CHECK(f.file.pages_read > read);
    CHECK(file_byte(&f, PAGE(FAR)) == 77 &&
          file_byte(&f, PAGE(FAR - 1) + 2) == disk[PAGE(FAR - 1) + 2]);
    CHECK_OK(write_at(PAGE(FAR - 2) + 5, 2, 0));
    CHECK_OK(quire_section_sync(f.section, 1, UINT64_MAX, 0, NULL));
    CHECK(disk[PAGE(FAR - 2)] == 77);
    CHECK_OK(quire_section_resize(f.section, sizeof disk));
    CHECK(file_byte(&f, PAGE(FAR) + 10) == 0);
    CHECK_OK(quire_section_discard(f.section, PAGE(1), UINT64_MAX - PAGE(2)));
    CHECK_OK(quire_section_discard(f.section, PAGE(1), UINT64_MAX));
    CHECK(!quire_section_resident(f.section, PAGE(FAR)));
    fixture_finish(&f);
}

/* Goal: growing clears what lies behind the old end, wherever that is. */
static void tails(void)
{
    fixture_begin(&f);
    CHECK_OK(quire_section_resize(f.section, PAGE(1) + 5)); /* nothing is in memory */
    CHECK(file_byte(&f, 0) == stored(0));
    (void)quire_section_purge(f.section, PAGE(1), PAGE(1), false);
    CHECK_OK(quire_section_resize(f.section, PAGE(2) + 5)); /* the leaf, but not the page */
    CHECK(file_byte(&f, PAGE(2)) == stored(2));
    CHECK_OK(quire_section_resize(f.section, PAGE(3)));
    CHECK(file_byte(&f, PAGE(2) + 5) == 0);
    fixture_finish(&f);
}

/* ---- pages on their way ---------------------------------------------------------------------- */

/* Goal: who may not wait for a page that is being read does not, and everybody else does. */
static void busy_pages(void)
{
    begin_late((struct test_options){.max_transfers = 4});
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    CHECK_STATUS(read_at(0, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(f.file.waiting_count == 1);
    CHECK_STATUS(write_at(0, 1, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(write_at(0, QUIRE_PAGE_SIZE, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(quire_fault(f.space, PAGE(1), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(f.file.waiting_count == 1 && !quire_section_resident(f.section, 0));
    CHECK(info().resident == 0 && info().dirty == 0 && info().mapped == 0);
    CHECK(quire_section_purge(f.section, 0, UINT64_MAX, false) == 0);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    CHECK_OK(write_at(0, 1, 0)); /* waits */
    CHECK(f.file.waiting_count == 0 && info().dirty == 1);
    CHECK_STATUS(read_at(PAGE(FAR), QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_OK(quire_section_resize(f.section, PAGE(FAR) + 3)); /* waits too */
    CHECK(f.file.waiting_count == 0);
    CHECK_OK(quire_section_sync(f.section, 0, PAGE(1), QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 1);
    CHECK(quire_section_purge(f.section, 0, PAGE(1), true) == 0); /* being written */
    CHECK_OK(quire_section_sync(f.section, 0, PAGE(1), QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 1);
    CHECK_OK(write_at(0, 1, 0)); /* changed again */
    CHECK_OK(write_at(PAGE(1), 1, 0));
    CHECK_OK(quire_section_sync(f.section, 0, PAGE(2), QUIRE_SYNC_START, NULL));
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(f.file.waiting_count == 0 && info().dirty == 0);
    fixture_finish(&f);
}

/* Goal: with every record of a transfer in use, reads and writes wait for one, or say so. */
static void records_in_use(void)
{
    begin_late((struct test_options){.max_transfers = 1});
    CHECK_STATUS(read_at(0, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(read_at(PAGE(FAR), QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(f.file.waiting_count == 1);
    quire_section_fetch(f.section, PAGE(FAR), PAGE(1));
    CHECK(f.file.waiting_count == 1);
    CHECK_OK(read_at(PAGE(FAR), 0));
    CHECK(f.file.waiting_count == 0);
    CHECK_OK(write_at(0, 1, 0));
    CHECK_STATUS(read_at(PAGE(FAR - 1), QUIRE_NO_WAIT), MICRO ? QUIRE_OK : QUIRE_WOULD_WAIT);
    CHECK_OK(quire_section_sync(f.section, 0, PAGE(1), QUIRE_SYNC_START, NULL));
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[0] == 77 && f.file.waiting_count == 0);
    fixture_finish(&f);
}

/* Goal: a fetch reads what is not there, to the end and no further, and waits for nothing. */
static void fetched(void)
{
    struct quire_section *memory;

    begin_late((struct test_options){0});
    quire_section_fetch(f.section, 0, 1);
    CHECK(f.file.waiting_count == 1);
    test_file_end(&f.file, 0);
    do { /* as far as there are records of transfers */
        quire_section_fetch(f.section, 0, PAGE(FILE_PAGES + 5));
        CHECK(f.file.waiting_count > 0);
        while (f.file.waiting_count > 0)
            test_file_end(&f.file, 0);
    } while (info().resident < FILE_PAGES);
    CHECK(f.file.pages_read == FILE_PAGES);
    for (unsigned n = 0; n < FILE_PAGES; n++)
        CHECK(file_byte(&f, PAGE(n)) == stored(n));
    for (unsigned n = 0; n < FILE_PAGES; n++)
        CHECK_OK(write_at(PAGE(n), 1, 0));
    f.file.late = false;
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(f.file.pages_written == FILE_PAGES && disk[PAGE(FILE_PAGES - 1)] == 77);
    CHECK(f.file.writes < FILE_PAGES);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(2), NULL, NULL, &memory));
    quire_section_fetch(memory, 0, PAGE(2));
    CHECK_OK(quire_section_sync(memory, 0, PAGE(2), 0, NULL));
    CHECK(quire_section_purge(memory, 0, PAGE(2), true) == 0);
    quire_section_close(memory);
    fixture_finish(&f);
}

/* What is to be cut off is still being read: below the new end everything goes on. */
static void use_while_cut(struct test_world *world, struct quire_section *section)
{
    (void)section;
    world->wait_io = end_one;
    CHECK_STATUS(write_at(PAGE(2), 1, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(write_at(PAGE(3), QUIRE_PAGE_SIZE, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(read_at(PAGE(3), QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(quire_fault(f.space, PAGE(4), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_OK(write_at(0, 1, QUIRE_NO_WAIT));
    end_one(world, f.section);
}

/* Goal: while a section is cut, what lies beyond the new end waits, and what lies below does not.
 */
static void while_it_is_cut(void)
{
    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    CHECK_OK(write_at(0, QUIRE_PAGE_SIZE, 0));
    CHECK_OK(write_at(PAGE(2), QUIRE_PAGE_SIZE, 0));
    f.file.late = true;
    CHECK_STATUS(read_at(PAGE(FAR), QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    f.u.w.wait_io = use_while_cut;
    CHECK_OK(quire_section_resize(f.section, PAGE(1)));
    CHECK(f.u.w.wait_io == end_one);
    f.file.late = false;
    CHECK(info().resident == 1 && file_byte(&f, 0) == 77);
    fixture_finish(&f);
}

/* ---- the end of memory ----------------------------------------------------------------------- */

/* Goal: a page for which there is no frame is refused, or waited for, and nothing is lost. */
static void no_frame(void)
{
    uint8_t byte;

    for (uint32_t callers = 1; callers <= 2; callers++) {
        fixture_begin_with(&f, (struct test_options){.callers = callers});
        view(&f, f.space, PAGE(1), 2, RW, QUIRE_MAP_SHARED, 0);
        take_all();
        CHECK_STATUS(write_at(0, QUIRE_PAGE_SIZE, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
        CHECK_STATUS(write_at(0, QUIRE_PAGE_SIZE, 0), QUIRE_NO_MEMORY);
        CHECK_STATUS(read_at(0, QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
        CHECK_STATUS(read_at(0, 0), QUIRE_NO_MEMORY);
        quire_section_fetch(f.section, 0, PAGE(1));
        CHECK_STATUS(test_load(&f.u.w, f.space, PAGE(1), &byte), QUIRE_NO_MEMORY);
        CHECK(info().resident == 0);
        f.u.w.need_frames = give_frames;
        CHECK_OK(write_at(0, QUIRE_PAGE_SIZE, 0));
        take_all();
        f.u.w.need_frames = give_frames;
        CHECK(get(&f.u, f.space, PAGE(1)) == 77);
        take_all();
        f.u.w.need_frames = give_frames;
        CHECK_OK(read_at(PAGE(FAR), 0));
        CHECK(get(&f.u, f.space, PAGE(1)) == 77);
        give_all();
        fixture_finish(&f);
    }
}

/* Goal: what another CPU keeps is found.  Method: it has some in its cache, and no other is left.
 */
static void another_cpu_has_some(void)
{
    fixture_begin_with(&f, (struct test_options){.callers = 2});
    for (unsigned n = 0; n < 2; n++) {
        take_all();
        test_cpu = 1;
        for (unsigned i = 0; i < 6 + QUIRE_LEVELS; i++)
            quire_frame_give(f.u.w.q, hoard[--hoarded]);
        test_cpu = 0;
        CHECK_OK(n == 0 ? write_at(0, QUIRE_PAGE_SIZE, QUIRE_NO_WAIT) : read_at(PAGE(FAR), 0));
        give_all();
    }
    CHECK(f.u.w.need_calls == 0);
    fixture_finish(&f);
}

/* Goal: a cut that can not take its pages away leaves the section as it was; so does a discard. */
static void no_frame_to_cut(void)
{
    struct quire_space *child;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 2, RW, QUIRE_MAP_SHARED, 0);
    map(&f.u, f.space, 0, PAGE(1), RW);
    put(&f.u, f.space, 0, 1);
    put(&f.u, f.space, PAGE(1), 5);
    put(&f.u, f.space, PAGE(2), 6);
    child = fork_of(&f.u, f.space);
    take_all();
    CHECK_STATUS(quire_section_resize(f.section, PAGE(1)), QUIRE_NO_MEMORY);
    CHECK(quire_section_size(f.section) == sizeof disk);
    CHECK_STATUS(quire_section_discard(f.section, 0, PAGE(2)), QUIRE_NO_MEMORY);
    CHECK(get(&f.u, child, PAGE(2)) == 6 && get(&f.u, f.space, PAGE(2)) == 6);
    f.u.w.need_frames = give_frames;
    CHECK_OK(quire_section_resize(f.section, PAGE(1)));
    CHECK_STATUS(quire_fault(child, PAGE(2), R), QUIRE_BEYOND_END);
    CHECK(get(&f.u, child, PAGE(1)) == 5);
    give_all();
    end(&f.u, child);
    fixture_finish(&f);
}

/* ---- shared memory --------------------------------------------------------------------------- */

static bool end_child(struct test_world *world, uint64_t pages)
{
    CHECK(pages > 0);
    world->need_commit = NULL;
    quire_space_destroy(world->context);
    return true;
}

static struct quire_section *memory;

/* Between two leaves of a discard: nobody gets the next one before the call is over. */
static void touch_again(struct test_world *world)
{
    if (quire_section_resident(memory, 0))
        return;
    world->yield = NULL;
    CHECK_STATUS(quire_fault(world->context, PAGE(FAR), W | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
}

/*
 * Goal: memory without a pager is promised as it grows, and given back; what is discarded reads as
 * zeros, also for who wanted it meanwhile.
 */
static void memory_grows(void)
{
    struct quire_space *space, *child;
    vaddr_t at = 0;
    uint8_t byte;
    const uint64_t pages = FAR + 2;

    memset(&f, 0, sizeof f);
    begin_with(&f.u, &(struct test_options){.max_sections = 2,
                                            .frames = MICRO ? 128 : 2048,
                                            .commit_limit = pages + 4});
    space = space_new(&f.u);
    child = space_new(&f.u);
    map(&f.u, child, 0, PAGE(4), RW);
    f.u.w.context = child;
    f.u.w.need_commit = end_child;
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(pages - 2), NULL, NULL, &memory));
    child = space_new(&f.u);
    map(&f.u, child, 0, PAGE(4), RW);
    f.section = memory;
    CHECK_STATUS(quire_section_resize(memory, PAGE(pages + 8)), QUIRE_NO_COMMIT);
    f.u.w.context = child;
    f.u.w.need_commit = end_child;
    CHECK_OK(quire_section_resize(memory, PAGE(pages + 3)));
    CHECK_OK(quire_section_resize(memory, PAGE(pages)));
    CHECK(stats_of(&f.u).committed == pages);
    CHECK_OK(quire_section_read(memory, 0, &byte, 1, 0, NULL));
    CHECK(byte == 0 && !quire_section_resident(memory, 0));
    CHECK_OK(
        quire_map_view(space, &at, PAGE(pages), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, memory, 0));
    put(&f.u, space, 0, 1);
    put(&f.u, space, PAGE(FAR), 2);
    f.u.w.context = space;
    f.u.w.yield = touch_again;
    CHECK_OK(quire_section_discard(memory, 0, PAGE(pages)));
    CHECK(!f.u.w.yield);
    CHECK(get(&f.u, space, 0) == 0 && get(&f.u, space, PAGE(FAR)) == 0);
    CHECK_OK(quire_section_seal(memory, QUIRE_SEAL_SHRINK));
    CHECK_STATUS(quire_section_resize(memory, 0), QUIRE_SEALED);
    end(&f.u, space);
    CHECK_OK(quire_section_seal(memory, QUIRE_SEAL_WRITE));
    CHECK_STATUS(quire_section_discard(memory, 0, PAGE(1)), QUIRE_SEALED);
    quire_section_close(memory);
    CHECK(stats_of(&f.u).committed == 0);
    finish(&f.u);
}

/* Goal: pages far apart have tables where they are and nowhere else; all go. */
static void sparse_pages(void)
{
    const uint64_t top = (uint64_t)QUIRE_TABLE_ENTRIES * QUIRE_TABLE_ENTRIES;
    uint8_t byte = 5;

    memset(&f, 0, sizeof f);
    begin_with(&f.u, &(struct test_options){.max_sections = 2});
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(2 * top), NULL, NULL, &memory));
    f.section = memory;
    CHECK_OK(quire_section_write(memory, PAGE(FAR), &byte, 1, 0, NULL));
    CHECK_OK(quire_section_write(memory, PAGE(3 * FAR), &byte, 1, 0, NULL));
    CHECK(!quire_section_resident(memory, PAGE(2 * FAR)));
    CHECK(!quire_section_resident(memory, PAGE(2 * top - 1)));
    CHECK_OK(quire_section_write(memory, PAGE(2 * FAR), &byte, 1, 0, NULL));
    CHECK_OK(quire_section_write(memory, PAGE(top + 1), &byte, 1, 0, NULL));
    CHECK(info().resident == 4);
    CHECK_OK(quire_section_discard(memory, PAGE(FAR), PAGE(FAR)));
    audit(&f.u);
    CHECK(info().resident == 3);
    CHECK_OK(quire_section_discard(memory, PAGE(2 * top - 2), PAGE(1)));
    CHECK_OK(quire_section_resize(memory, PAGE(FAR)));
    CHECK(info().resident == 0 && stats_of(&f.u).frames_data == 0);
    CHECK_OK(quire_section_write(memory, 0, &byte, 1, 0, NULL));
    CHECK_OK(quire_section_discard(memory, PAGE(top), PAGE(1)));
    CHECK(info().resident == 1);
    quire_section_close(memory);
    finish(&f.u);
}

/* ---- two calls ------------------------------------------------------------------------------- */

static void sync_all(void) { CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL)); }
static void touch_view(void) { CHECK_OK(quire_fault(f.space, PAGE(1), R)); }
static void copy_view(void) { CHECK_OK(quire_fault(f.space, PAGE(1), W)); }
static void forget_all(void) { (void)quire_section_purge(f.section, 0, UINT64_MAX, false); }
static void read_all(void) { CHECK_OK(read_at(0, 0)); }
static void look(void) { (void)info(); }

/* Goal: two that write back at once write each page once. */
static void both_write_back(void)
{
    fixture_begin_with(&f, (struct test_options){.callers = 2});
    CHECK_OK(write_at(0, 1, 0));
    two.way[0][0] = (struct spot){&f.u.w.q->lock.word, true};
    (void)two_calls(&f.u, sync_all, sync_all);
    CHECK(disk[0] == 77 && f.file.pages_written == 1);
    fixture_finish(&f);
}

/*
 * Goal: a page may leave the section, with its tables, while another call looks for it.  Method:
 * the lock of its leaf is taken, or the page is looked for, after it went.
 */
static void gone_meanwhile(void)
{
    static void (*const calls[])(void) = {touch_view, copy_view, read_all, look, forget_all};

    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        pfn_t leaf;

        fixture_begin_with(&f, (struct test_options){.callers = 2});
        view(&f, f.space, PAGE(1), 1, RW, 0, 0);
        CHECK(file_byte(&f, 0) == stored(0));
        leaf = qi_section_leaf(f.section, 0);
        two.way[0][0] = calls[i] == read_all
                            ? (struct spot){&f.section->root, false}
                            : (struct spot){&frame_record(&f.u.w.q->frames, leaf)->lock.word, true};
        (void)two_calls(&f.u, calls[i], forget_all);
        audit(&f.u);
        CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
        fixture_finish(&f);
    }
}

static pfn_t leaf_of_view(void)
{
    pfn_t table = f.space->root;

    for (unsigned level = QUIRE_LEVELS; level > 1; level--)
        table = entry_pfn(table_entries(f.u.w.q, table)[0]);
    return table;
}

/* Goal: two faults on one page of a view map it once.  Method: one is half way when the other
 * wants to make the entry its own. */
static void mapped_twice(void)
{
    pfn_t leaf;

    fixture_begin_with(&f, (struct test_options){.callers = 2});
    map(&f.u, f.space, 0, PAGE(1), RW);
    put(&f.u, f.space, 0, 1); /* so that there is a leaf */
    view(&f, f.space, PAGE(1), 1, RW, QUIRE_MAP_SHARED, 0);
    CHECK(file_byte(&f, 0) == stored(0));
    leaf = leaf_of_view();
    two.way[0][0] = (struct spot){&table_record(f.u.w.q, leaf)->lock.word, true};
    two.way[1][0] = (struct spot){
        &frame_record(&f.u.w.q->frames, qi_section_leaf(f.section, 0))->lock.word, true};
    (void)two_calls(&f.u, touch_view, touch_view);
    audit(&f.u);
    CHECK(info().mapped == 1 && get(&f.u, f.space, PAGE(1)) == stored(0));
    fixture_finish(&f);
}

CHECK_MAIN("unit.pages", TEST(arguments), TEST(views_apart), TEST(from_outside), TEST(to_the_end),
           TEST(tails), TEST(busy_pages), TEST(records_in_use), TEST(fetched),
           TEST(while_it_is_cut), TEST(no_frame), TEST(another_cpu_has_some), TEST(no_frame_to_cut),
           TEST(memory_grows), TEST(sparse_pages), TEST(both_write_back), TEST(gone_meanwhile),
           TEST(mapped_twice))
