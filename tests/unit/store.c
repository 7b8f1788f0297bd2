/* SPDX-License-Identifier: MIT */
/*
 * Compressed stores: what is kept, what is passed on, in what order it is replaced.
 *
 * Each test drives a store as a manager drives a device, and looks at the bytes that come back and
 * at the transfers that reach the device behind it.
 */
#include "store.h"

/* Write one page, all of which happens at once; it succeeds or fails as told. */
static void put(uint64_t page, enum content content, uint64_t number, bool works)
{
    struct transfer t;

    page_make(rig.frames[0], content, number);
    transfer_begin(&t, true, page, 0, 1);
    CHECK(t.ended && t.ok == works);
    info();
}

static void get(uint64_t page, enum content content, uint64_t number)
{
    struct transfer t;

    memset(rig.frames[1], 0xee, QUIRE_PAGE_SIZE);
    transfer_begin(&t, false, page, 1, 1);
    CHECK(t.ended && t.ok);
    CHECK(page_is(rig.frames[1], content, number));
}

static void get_fails(uint64_t page)
{
    struct transfer t;

    transfer_begin(&t, false, page, 1, 1);
    CHECK(t.ended && !t.ok);
}

/* Everything is forgotten: no unit is lost. */
static void finish(void)
{
    struct quire_store_info now;

    CHECK(rig.device.waiting_count == 0);
    quire_store_pager.forget(rig.store, 0, FILE_PAGES);
    now = info();
    CHECK(now.used == 0 && now.pages == 0 && now.words == 0 && now.bytes == 0);
}

/* Goal: what shrinks is kept and comes back, and the device hears nothing of it. */
static void kept(void)
{
    rig_begin();
    rig_open(FILE_PAGES * QUIRE_PAGE_SIZE / UNIT);
    for (unsigned i = 0; i < FILE_PAGES; i++)
        put(i, SHRINKS, 100 + i, true);
    for (unsigned i = 0; i < FILE_PAGES; i++)
        get(i, SHRINKS, 100 + i);
    CHECK(rig.device.writes == 0 && rig.device.reads == 0);
    CHECK(info().pages == FILE_PAGES && info().kept == FILE_PAGES && info().found == FILE_PAGES);
    CHECK(info().bytes < FILE_PAGES * QUIRE_PAGE_SIZE * 3 / 4);
    finish();
}

/* Goal: a page of one word takes no memory, whatever was there, and is not compressed. */
static void words(void)
{
    rig_begin();
    rig_open(QUIRE_PAGE_SIZE / UNIT);
    put(3, A_WORD, 0, true);
    put(4, A_WORD, 9, true);
    CHECK(rig.runs.calls == 0 && info().words == 2 && info().used == 0);
    get(3, A_WORD, 0);
    get(4, A_WORD, 9);
    put(3, SHRINKS, 1, true);
    CHECK(info().words == 1 && info().used > 0);
    put(3, A_WORD, 8, true);
    CHECK(info().words == 2 && info().used == 0);
    get(3, A_WORD, 8);
    put(3, DOES_NOT_SHRINK, 8, true);
    get(3, DOES_NOT_SHRINK, 8);
    CHECK(info().words == 1);
    for (unsigned i = 0; i < QUIRE_PAGE_SIZE; i += 8) { /* one byte makes it another page */
        struct transfer t;

        memset(rig.frames[0], 6, QUIRE_PAGE_SIZE);
        rig.frames[0][i]++;
        transfer_begin(&t, true, 3, 0, 1);
        CHECK(t.ended && t.ok && info().words == 1 && info().pages == 1);
        transfer_begin(&t, false, 3, 1, 1);
        CHECK(t.ended && t.ok);
        CHECK(memcmp(rig.frames[0], rig.frames[1], QUIRE_PAGE_SIZE) == 0);
    }
    finish();
}

/* Goal: of every mix of pages, each run that does not shrink is one transfer, in both directions.
 */
static void mixes(void)
{
    for (unsigned mix = 0; mix < 256; mix++) {
        struct transfer t;
        unsigned runs = 0;

        rig_begin();
        rig_open(8 * QUIRE_PAGE_SIZE / UNIT);
        for (unsigned i = 0; i < 8; i++) {
            page_make(rig.frames[i], mix >> i & 1 ? DOES_NOT_SHRINK : SHRINKS, i);
            runs += (mix >> i & 1) && !(mix >> i & 2);
        }
        transfer_begin(&t, true, 20, 0, 8);
        CHECK(t.ended && t.ok && rig.device.writes == runs);
        memset(rig.frames, 0, sizeof rig.frames);
        transfer_begin(&t, false, 20, 8, 8);
        CHECK(t.ended && t.ok && rig.device.reads == runs);
        CHECK(info().too_large == rig.device.pages_written);
        CHECK(info().missed == rig.device.pages_read && info().found == 8 - info().missed);
        for (unsigned i = 0; i < 8; i++)
            CHECK(page_is(rig.frames[8 + i], mix >> i & 1 ? DOES_NOT_SHRINK : SHRINKS, i));
        finish();
    }
}

/* Three runs to the device, among pages that are kept: 1, 3, and 5 to 6 of seven. */
static void three_parts(struct transfer *t, bool write)
{
    for (unsigned i = 0; write && i < 7; i++)
        page_make(rig.frames[i], i % 2 || i == 6 ? DOES_NOT_SHRINK : SHRINKS, i);
    transfer_begin(t, write, 0, write ? 0 : 10, 7);
    CHECK(!t->ended && rig.device.waiting_count == 3);
}

/* Goal: a transfer ends once, with its last part, in every order; one failure fails it. */
static void parts_end_late(void)
{
    static const uint8_t orders[6][3] = {{0, 0, 0}, {0, 1, 0}, {1, 0, 0},
                                         {1, 1, 0}, {2, 0, 0}, {2, 1, 0}};

    for (unsigned n = 0; n < 6 * 4; n++) {
        struct transfer t;

        rig_begin();
        rig.device.late = true;
        rig_open(8 * QUIRE_PAGE_SIZE / UNIT);
        for (int write = 1; write >= 0; write--) {
            three_parts(&t, write);
            for (unsigned i = 0; i < 3; i++) {
                CHECK(!t.ended);
                rig.device.fail_reads = rig.device.fail_writes =
                    write == (int)(n & 1) && i == n / 8;
                test_file_end(&rig.device, orders[n / 4][i]);
            }
            CHECK(t.ended && t.ok == !(write == (int)(n & 1) && n / 8 < 3));
        }
        finish();
    }
}

/*
 * Goal: what is passed on replaces what was kept when the device has it, and not if that fails;
 * what is kept replaces what the device has at once.
 */
static void replaced_in_time(void)
{
    struct transfer t;

    rig_begin();
    rig_open(4 * QUIRE_PAGE_SIZE / UNIT);
    put(7, SHRINKS, 1, true);
    rig.device.late = true;
    page_make(rig.frames[0], DOES_NOT_SHRINK, 2);
    transfer_begin(&t, true, 7, 0, 1);
    CHECK(!t.ended && info().pages == 1);
    rig.device.fail_writes = true;
    test_file_end(&rig.device, 0);
    CHECK(t.ended && !t.ok && info().pages == 1);
    get(7, SHRINKS, 1);
    rig.device.fail_writes = false;
    transfer_begin(&t, true, 7, 0, 1);
    test_file_end(&rig.device, 0);
    CHECK(t.ended && t.ok && info().pages == 0 && info().used == 0);
    rig.device.late = false;
    get(7, DOES_NOT_SHRINK, 2);
    put(7, SHRINKS, 3, true);
    get(7, SHRINKS, 3);
    CHECK(rig.device.reads == 1 && rig.device.writes == 2);
    finish();
}

/* Goal: a full store passes by what is new, and what replaces a page may use its room. */
static void full(void)
{
    unsigned i = 0;
    uint64_t before;

    rig_begin();
    rig_open(QUIRE_PAGE_SIZE / UNIT);
    while (info().no_room == 0) {
        put(i, SHRINKS, i, true);
        i++;
    }
    CHECK(i > 1 && rig.device.writes == 1 && info().pages == i - 1);
    put(40, A_WORD, 5, true); /* takes no unit */
    CHECK(rig.device.writes == 1);
    before = info().used;
    for (unsigned n = 0; n + 1 < i; n++)
        put(n, SHRINKS, n, true);
    CHECK(rig.device.writes == 1 && info().used == before);
    for (unsigned n = 0; n < i; n++)
        get(n, SHRINKS, n);
    quire_store_pager.forget(rig.store, OFFSET(0), i - 1);
    CHECK(info().used == 0 && info().words == 1);
    put(i - 1, SHRINKS, 77, true);
    get(i - 1, SHRINKS, 77);
    CHECK(rig.device.writes == 1 && info().used > 0);
    finish();
}

/* Goal: without a device, a page that does not shrink is kept; one that finds no room fails alone.
 */
static void no_device(void)
{
    struct transfer t;

    rig_begin();
    rig.config.pager = NULL;
    rig_open(2 * QUIRE_PAGE_SIZE / UNIT);
    get_fails(5);
    put(5, DOES_NOT_SHRINK, 1, true);
    put(6, DOES_NOT_SHRINK, 2, true);
    get(5, DOES_NOT_SHRINK, 1);
    get(6, DOES_NOT_SHRINK, 2);
    CHECK(info().used == info().room);
    put(7, SHRINKS, 3, false);
    get_fails(7);
    put(6, SHRINKS, 4, true);
    put(5, DOES_NOT_SHRINK, 6, true);
    get(6, SHRINKS, 4);
    get(5, DOES_NOT_SHRINK, 6);
    page_make(rig.frames[0], DOES_NOT_SHRINK, 7);
    page_make(rig.frames[1], A_WORD, 8);
    transfer_begin(&t, true, 8, 0, 2);
    CHECK(t.ended && !t.ok);
    get(9, A_WORD, 8);
    finish();
}

/* The device ends what it was given first. */
static void device_ends_one(struct test_world *world, struct quire_section *section)
{
    CHECK(section == NULL && world == &rig.w);
    world->need_calls++;
    test_file_end(&rig.device, 0);
}

/* Goal: a transfer waits for a record, or fails if it may not wait. */
static void few_records(void)
{
    struct transfer t, other;

    rig_begin();
    rig.config.transfers = 2;
    rig.device.late = true;
    rig_open(8 * QUIRE_PAGE_SIZE / UNIT);
    rig.w.wait_io = device_ends_one;
    for (unsigned i = 0; i < 7; i++)
        page_make(rig.frames[i], i % 2 ? SHRINKS : DOES_NOT_SHRINK, i);
    transfer_begin(&t, true, 0, 0, 7);
    CHECK(!t.ended && rig.w.need_calls == 2 && rig.device.waiting_count == 2);
    memset(&other, 0, sizeof other);
    other.io = (struct quire_io){
        .offset = OFFSET(9), .pages = 1, .no_wait = true, .ended = transfer_ended};
    other.io.frames[0] = FIRST_FRAME + 20;
    quire_store_pager.start(rig.store, &other.io);
    CHECK(other.ended && !other.ok && rig.w.need_calls == 2);
    while (rig.device.waiting_count > 0)
        test_file_end(&rig.device, 0);
    CHECK(t.ended && t.ok);
    other.ended = false;
    quire_store_pager.start(rig.store, &other.io);
    CHECK(!other.ended && rig.device.waiting_count == 1 && rig.device.waiting[0]->no_wait);
    test_file_end(&rig.device, 0);
    CHECK(other.ended && other.ok);
    rig.device.late = false;
    for (unsigned i = 0; i < 7; i++)
        get(i, i % 2 ? SHRINKS : DOES_NOT_SHRINK, i);
    finish();
}

/* Goal: what can not be decompressed fails the transfer, and is counted. */
static void damaged(void)
{
    rig_begin();
    rig_open(8 * QUIRE_PAGE_SIZE / UNIT);
    put(1, SHRINKS, 1, true);
    rig.runs.damages = true;
    get_fails(1);
    CHECK(info().damaged == 1);
    rig.runs.damages = false;
    get(1, SHRINKS, 1);
    CHECK(info().damaged == 1);
    finish();
}

/* Another page is written while the codec has the only lane: the host lets go of it. */
static void write_meanwhile(struct runs *runs)
{
    struct transfer t;

    runs->between = NULL;
    page_make(rig.frames[30], SHRINKS, 30);
    transfer_begin(&t, true, 30, 30, 1);
    CHECK(t.ended && t.ok);
}

static void take_from_owner(struct test_world *world, const void *key)
{
    world->yields++;
    *(uint32_t *)(uintptr_t)key = 0;
}

/* Goal: as many pages as there are lanes are compressed at once; a further one waits. */
static void lanes(void)
{
    for (uint32_t count = 1; count <= 2; count++) {
        rig_begin();
        rig.config.lanes = count;
        rig_open(8 * QUIRE_PAGE_SIZE / UNIT);
        rig.w.wait = take_from_owner;
        rig.runs.between = write_meanwhile;
        put(1, SHRINKS, 1, true);
        CHECK(rig.w.yields == (count == 1));
        get(1, SHRINKS, 1);
        get(30, SHRINKS, 30);
        finish();
    }
}

static void refused(const struct quire_store_config *config)
{
    struct quire_store *store;

    CHECK(quire_store_size(config) == 0);
    CHECK_STATUS(quire_store_create(config, &store), QUIRE_BAD_CONFIG);
}

#define REFUSED(field, value)                                  \
    do {                                                       \
        struct quire_store_config refused_config = rig.config; \
        refused_config.field = (value);                        \
        refused(&refused_config);                              \
    } while (0)

/* Goal: a configuration that makes no sense is refused, and one at the limits is not. */
static void configurations(void)
{
    static const struct quire_pager no_start;
    static const struct quire_codec no_compress = {NULL, runs_decompress, 0},
                                    no_decompress = {runs_compress, NULL, 0},
                                    hungry = {runs_compress, runs_decompress, SIZE_MAX};
    struct quire_store *store;
    struct quire_store_config c;
    size_t size;

    rig_begin();
    rig_open(1);
    REFUSED(codec, NULL);
    REFUSED(codec, &no_compress);
    REFUSED(codec, &no_decompress);
    REFUSED(codec, &hungry);
    REFUSED(pager, &no_start);
    REFUSED(direct_map, NULL);
    REFUSED(size, QUIRE_PAGE_SIZE - 1);
    REFUSED(size, OFFSET(UINT64_C(1) << 31) + QUIRE_PAGE_SIZE);
    REFUSED(lanes, 1025);
    REFUSED(transfers, 65537);
    c = rig.config;
    c.memory = rig.memory + 8;
    CHECK_STATUS(quire_store_create(&c, &store), QUIRE_BAD_CONFIG);
    c.memory = NULL;
    CHECK_STATUS(quire_store_create(&c, &store), QUIRE_BAD_CONFIG);
    c = rig.config;
    c.memory_size = quire_store_size(&c) - 1;
    CHECK_STATUS(quire_store_create(&c, &store), QUIRE_BAD_CONFIG);
    c.memory_size++;
    CHECK_OK(quire_store_create(&c, &rig.store));
    c.memory_size = SIZE_MAX / 2; /* more units than there are numbers */
    CHECK_OK(quire_store_create(&c, &rig.store));
    CHECK(info().room == (uint64_t)(UINT32_MAX - 1) * UNIT);
    c.memory_size = quire_store_size(&c);
    CHECK_OK(quire_store_create(&c, &rig.store));
    CHECK(info().room == 0);
    put(0, SHRINKS, 1, true); /* goes to the device */
    CHECK(info().no_room == 1 && rig.device.writes == 1);
    size = quire_store_size(&rig.config);
    rig.config.lanes = 3;
    CHECK(quire_store_size(&rig.config) > size + QUIRE_PAGE_SIZE);
    rig.config.transfers = 1;
    rig.config.lanes = 0;
    CHECK(quire_store_size(&rig.config) < size);
}

/* ---- random sequences ------------------------------------------------------------------------ */

enum { FLIGHTS = 6, CANDIDATES = 8, NO_FLIGHT = -1, LONGEST = 12 };

struct told {
    enum content content;
    uint64_t number;
};

/*
 * What a page may hold: what was last written to it, and the writes that failed since.  None: it
 * was forgotten, or so many failed that the test has lost count.
 */
struct page_model {
    struct told may_be[CANDIDATES];
    unsigned count;
    int flight; /* the transfer that it takes part in */
};

struct flight {
    struct transfer t;
    uint64_t page;
    uint32_t pages, frame;
    struct told told[LONGEST];
    bool live;
};

static struct page_model model[FILE_PAGES];
static struct flight flights[FLIGHTS];
static uint64_t seed, numbers;
static unsigned compared;

static unsigned choose(unsigned below) { return (unsigned)(test_random(&seed) % below); }

static bool fails_sometimes(struct test_file *file, const struct quire_io *io)
{
    (void)file;
    (void)io;
    return choose(6) == 0;
}

static void flight_begin(int number)
{
    struct flight *f = &flights[number];
    bool write = choose(2);
    unsigned most = 1 + choose(LONGEST);

    f->page = choose(FILE_PAGES);
    f->frame = (uint32_t)number * QUIRE_IO_PAGES;
    for (f->pages = 0; f->pages < most && f->page + f->pages < FILE_PAGES; f->pages++) {
        uint32_t i = f->pages;

        if (model[f->page + i].flight != NO_FLIGHT)
            break;
        model[f->page + i].flight = number;
        f->told[i] = (struct told){(enum content)choose(3), numbers++};
        if (write)
            page_make(rig.frames[f->frame + i], f->told[i].content, f->told[i].number);
    }
    if (f->pages == 0)
        return;
    f->live = true;
    transfer_begin(&f->t, write, f->page, f->frame, f->pages);
}

static void page_was_written(struct page_model *m, struct told told, bool ok)
{
    if (ok)
        m->count = 0;
    else if (m->count == 0 || m->count == CANDIDATES) {
        m->count = 0;
        return;
    }
    m->may_be[m->count++] = told;
}

/* It is one of those that it may be, and is that from now on. */
static void page_was_read(struct page_model *m, const uint8_t *page)
{
    for (unsigned i = 0; i < m->count; i++)
        if (page_is(page, m->may_be[i].content, m->may_be[i].number)) {
            m->may_be[0] = m->may_be[i];
            m->count = 1;
            compared++;
            return;
        }
    CHECK(m->count == 0);
}

static void flights_end(void)
{
    for (struct flight *f = flights; f < flights + FLIGHTS; f++) {
        if (!f->live || !f->t.ended)
            continue;
        for (uint32_t i = 0; i < f->pages; i++) {
            struct page_model *m = &model[f->page + i];

            m->flight = NO_FLIGHT;
            if (f->t.io.write)
                page_was_written(m, f->told[i], f->t.ok);
            else if (f->t.ok)
                page_was_read(m, rig.frames[f->frame + i]);
        }
        f->live = false;
    }
}

static void forget_one(uint64_t page)
{
    if (model[page].flight != NO_FLIGHT)
        return;
    quire_store_pager.forget(rig.store, OFFSET(page), 1);
    model[page].count = 0;
}

static void step(void)
{
    unsigned which = choose(FLIGHTS);

    if (rig.device.waiting_count > 0 && choose(2) == 0)
        test_file_end(&rig.device, choose(rig.device.waiting_count));
    else if (choose(8) == 0)
        forget_one(choose(FILE_PAGES));
    else if (!flights[which].live && rig.device.waiting_count < TEST_FILE_WAITING - LONGEST)
        flight_begin((int)which);
    flights_end();
    info();
}

static void sequence(uint32_t units, bool device, unsigned steps)
{
    rig_begin();
    rig.config.transfers = TEST_FILE_WAITING;
    rig.config.pager = device ? &test_file_pager : NULL;
    rig.device.late = true;
    rig.device.fails = fails_sometimes;
    rig_open(units);
    for (unsigned i = 0; i < FILE_PAGES; i++)
        model[i] = (struct page_model){{{A_WORD, 0}}, device, NO_FLIGHT};
    memset(flights, 0, sizeof flights);
    for (unsigned n = 0; n < steps; n++)
        step();
    while (rig.device.waiting_count > 0)
        test_file_end(&rig.device, 0);
    flights_end();
    finish();
}

/*
 * Goal: whatever order transfers end in and whichever fail, a page holds what was last written, or
 * a write that failed since; and every unit comes back.  Against a model of each page.
 */
static void sequences(void)
{
    const uint32_t page = QUIRE_PAGE_SIZE / UNIT;

    compared = 0;
    for (unsigned n = 0; n < 300; n++) {
        seed = n;
        numbers = 1;
        sequence((uint32_t[]){0, page, 8 * page, 24 * page}[n % 4], n % 8 < 5, 200);
    }
    FIGURES("%u pages compared", compared);
    CHECK(compared > 10000);
}

static uint64_t forgotten_offset, forgotten_pages;

static void note_forgotten(void *cookie, uint64_t offset, uint32_t pages)
{
    CHECK(cookie == &rig.device);
    forgotten_offset = offset;
    forgotten_pages = pages;
}

/* Goal: what the manager gives up leaves the store, and the device is told if it wants to be. */
static void forgotten(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct quire_pager pager = test_file_pager;
        struct transfer t;

        rig_begin();
        pager.forget = i == 0 ? NULL : note_forgotten;
        rig.config.pager = &pager;
        rig_open(64);
        page_make(rig.frames[0], A_WORD, 5);
        page_make(rig.frames[1], SHRINKS, 6);
        transfer_begin(&t, true, 3, 0, 2);
        CHECK(t.ended && t.ok && info().words == 1 && info().pages == 1);
        forgotten_offset = forgotten_pages = 0;
        quire_store_pager.forget(rig.store, OFFSET(3), 2);
        CHECK(info().words == 0 && info().pages == 0 && info().used == 0);
        CHECK(forgotten_pages == (i == 0 ? 0 : 2));
        CHECK(forgotten_offset == (i == 0 ? 0 : OFFSET(3)));
    }
}

CHECK_MAIN("unit.store", TEST(kept), TEST(words), TEST(mixes), TEST(parts_end_late),
           TEST(replaced_in_time), TEST(full), TEST(no_device), TEST(few_records), TEST(damaged),
           TEST(lanes), TEST(configurations), TEST(forgotten), TEST(sequences))
