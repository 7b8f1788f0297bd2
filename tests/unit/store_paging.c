/* SPDX-License-Identifier: MIT */
/*
 * Programs that are paged to a compressed store.
 *
 * A space writes more pages than there are frames, of every kind; a child of it writes some again.
 * Whatever the store does with them, and whatever its device fails to do, they read as they were
 * written; and when nobody has them any more the store is empty.
 */
#include "store.h"
#include "unit.h"

/* Frames: enough for two spaces' tables, or for one's; never for all pages. */
enum { MANY = 40, TWO = MICRO ? 60 : 36, ONE = MICRO ? 36 : 24 };

static struct unit unit;

static void begin_paging(uint32_t frames, uint32_t units, bool device)
{
    struct quire_pagefile *file;

    begin_with(&unit, &(struct test_options){.frames = frames, .max_slots = FILE_PAGES});
    rig_begin();
    rig.device.world = &unit.w;
    rig.config.direct_map = unit.w.config.direct_map;
    rig.config.first_frame = unit.w.config.first_frame;
    rig.config.host = &unit.w;
    if (!device)
        rig.config.pager = NULL;
    rig_open(units);
    CHECK_OK(
        quire_pagefile_add(unit.w.q, &quire_store_pager, rig.store, rig.config.size, 0, 0, &file));
}

static enum content content_of(unsigned page) { return (enum content)(page % 3); }

/* Write pages [first, end), with content that is told by `number`; returns the first that fails. */
static unsigned write_pages(struct quire_space *space, unsigned first, unsigned end,
                            uint64_t number)
{
    uint8_t page[QUIRE_PAGE_SIZE];

    for (unsigned i = first; i < end; i++) {
        page_make(page, content_of(i), number + i);
        if (quire_write(space, PAGE(i), page, sizeof page, NULL) != QUIRE_OK)
            return i;
        audit(&unit);
    }
    return end;
}

static void check_pages(struct quire_space *space, unsigned first, unsigned end, uint64_t number)
{
    uint8_t page[QUIRE_PAGE_SIZE];

    for (unsigned i = first; i < end; i++) {
        CHECK_OK(quire_read(space, PAGE(i), page, sizeof page, NULL));
        CHECK(page_is(page, content_of(i), number + i));
    }
    audit(&unit);
}

/* Nobody has a page: the store has none, and no frame is lost. */
static void finish_paging(void)
{
    struct quire_store_info now = info();

    CHECK(now.pages == 0 && now.words == 0 && now.used == 0);
    finish(&unit);
}

static struct quire_space *space_of_many(void)
{
    struct quire_space *space = space_new(&unit);

    map(&unit, space, 0, PAGE(MANY), RW);
    return space;
}

/* A transfer that has several parts fails more often than the device does. */
static bool fails_sometimes(struct test_file *file, const struct quire_io *io)
{
    return io->write && file->writes % 16 == 5;
}

/* Goal: in front of a device that fails now and then, parent and child read what they wrote. */
static void before_a_device(void)
{
    for (int fails = 0; fails < 2; fails++) {
        struct quire_space *space, *child;

        begin_paging(TWO, 4 * QUIRE_PAGE_SIZE / UNIT, true);
        rig.device.fails = fails ? fails_sometimes : NULL;
        space = space_of_many();
        CHECK(write_pages(space, 0, MANY, 1000) == MANY);
        child = fork_of(&unit, space);
        CHECK(write_pages(child, 10, 20, 2000) == 20);
        check_pages(space, 0, MANY, 1000);
        check_pages(child, 0, 10, 1000);
        check_pages(child, 10, 20, 2000);
        check_pages(child, 20, MANY, 1000);
        CHECK(info().kept > 0 && info().too_large > 0 && info().found > 0 && info().missed > 0);
        CHECK((rig.device.failed_writes > 0) == (fails != 0));
        end(&unit, space);
        check_pages(child, 10, 20, 2000);
        end(&unit, child);
        finish_paging();
    }
}

/* Goal: a store alone holds what it can; when it is full a write fails, and nothing hangs. */
static void alone(void)
{
    for (uint32_t pages = 2; pages <= 32; pages += 30) {
        struct quire_space *space;
        unsigned written;

        begin_paging(ONE, pages * QUIRE_PAGE_SIZE / UNIT, false);
        space = space_of_many();
        written = write_pages(space, 0, MANY, 1000);
        CHECK((written == MANY) == (pages == 32));
        /* To read a page takes a frame, which nobody gives up when the store is full. */
        if (written == MANY)
            check_pages(space, 0, written, 1000);
        CHECK(info().kept > 0);
        end(&unit, space);
        finish_paging();
    }
}

CHECK_MAIN("unit.store_paging", TEST(before_a_device), TEST(alone))
