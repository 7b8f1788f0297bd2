/* SPDX-License-Identifier: MIT */
/*
 * What the tests of stores share: a store driven as a block device, without a manager.
 *
 * The frames are an array, the device is tests/host/pager.h over another, and transfers are the
 * test's own, which are told when they end.  The codec writes runs of equal bytes, as pairs of a
 * length and a byte: that is enough for pages of 64 bytes as well as of 4 KiB.
 */
#ifndef TESTS_UNIT_STORE_H
#define TESTS_UNIT_STORE_H

#include "check.h"
#include "pager.h"

enum {
    FILE_PAGES = 64,
    FRAMES = 320,
    FIRST_FRAME = 5,
    UNIT = QUIRE_PAGE_SIZE < 512 ? 16 : QUIRE_PAGE_SIZE / 32,
    /* With its link. */
    UNIT_COST = UNIT + 4,
    MEMORY = 1 << 19,
};

#define OFFSET(page) ((uint64_t)(page) << QUIRE_PAGE_SHIFT)

/* ---- the codec ------------------------------------------------------------------------------- */

/* What the codec's functions do besides, and count. */
struct runs {
    bool damages; /* decompress fails */
    void (*between)(struct runs *);
    unsigned calls;
};

static inline size_t runs_compress(void *cookie, void *scratch, const void *page, void *to,
                                   size_t room)
{
    struct runs *runs = cookie;
    const uint8_t *from = page;
    uint8_t *out = to;
    size_t length = 0;

    __atomic_fetch_add(&runs->calls, 1, __ATOMIC_RELAXED);
    if (runs->between)
        runs->between(runs);
    memset(scratch, 0xa5, 24);
    for (size_t i = 0; i < QUIRE_PAGE_SIZE;) {
        size_t n = 1;

        while (i + n < QUIRE_PAGE_SIZE && from[i + n] == from[i] && n < 255)
            n++;
        if (length + 2 > room)
            return 0;
        out[length++] = (uint8_t)n;
        out[length++] = from[i];
        i += n;
    }
    return length;
}

static inline bool runs_decompress(void *cookie, void *scratch, const void *from, size_t length,
                                   void *page)
{
    const uint8_t *in = from;
    uint8_t *to = page;
    size_t at = 0;

    memset(scratch, 0x5a, 24);
    for (size_t i = 0; i + 1 < length && at + in[i] <= QUIRE_PAGE_SIZE; i += 2) {
        memset(to + at, in[i + 1], in[i]);
        at += in[i];
    }
    return at == QUIRE_PAGE_SIZE && !((struct runs *)cookie)->damages;
}

static const struct quire_codec runs_codec = {runs_compress, runs_decompress, 24};

/* ---- pages ----------------------------------------------------------------------------------- */

enum content { A_WORD, SHRINKS, DOES_NOT_SHRINK };

/* Content that is told by its number, as compressible as is wanted. */
static inline void page_make(uint8_t *page, enum content content, uint64_t number)
{
    uint64_t random = number, word = test_random(&random), run = 0;
    uint64_t longest = UINT64_C(4) << word % (QUIRE_PAGE_SHIFT - 3);
    uint8_t byte = 0;

    for (size_t i = 0; i < QUIRE_PAGE_SIZE; i++) {
        if (content == A_WORD) {
            page[i] = (uint8_t)(number == 0 ? 0 : word >> i % 8 * 8);
            continue;
        }
        if (run == 0) {
            byte += (uint8_t)(1 + test_random(&random) % 255);
            run = content == SHRINKS ? 4 + (word >> 8) % longest : 1;
        }
        page[i] = byte;
        run--;
    }
}

static inline bool page_is(const uint8_t *page, enum content content, uint64_t number)
{
    uint8_t wanted[QUIRE_PAGE_SIZE];

    page_make(wanted, content, number);
    return memcmp(page, wanted, QUIRE_PAGE_SIZE) == 0;
}

/* ---- the store ------------------------------------------------------------------------------- */

struct transfer {
    struct quire_io io; /* first: the store hands it back */
    bool ended, ok;
};

static inline void transfer_ended(struct quire_io *io, bool ok)
{
    struct transfer *t = (struct transfer *)io;

    CHECK(!t->ended);
    t->ok = ok;
    __atomic_store_n(&t->ended, true, __ATOMIC_RELEASE);
}

/* The store, and all around it. */
struct rig {
    struct test_world w;
    struct test_file device;
    struct runs runs;
    struct quire_store_config config;
    struct quire_store *store;
    uint8_t frames[FRAMES][QUIRE_PAGE_SIZE] __attribute__((aligned(64)));
    uint8_t disk[FILE_PAGES * QUIRE_PAGE_SIZE];
    uint8_t memory[MEMORY] __attribute__((aligned(64)));
};

/* The tests' one rig, which each begins anew. */
static struct rig rig;

/* With room for `units` units of content; the configuration is otherwise what rig.config says. */
static inline void rig_open(uint32_t units)
{
    rig.config.memory_size = quire_store_size(&rig.config) + units * UNIT_COST;
    CHECK(rig.config.memory_size <= sizeof rig.memory);
    CHECK_OK(quire_store_create(&rig.config, &rig.store));
}

static inline void rig_begin(void)
{
    memset(&rig, 0, sizeof rig);
    rig.w.config.direct_map = rig.frames;
    rig.w.config.first_frame = FIRST_FRAME;
    rig.w.context = &rig;
    test_file_init(&rig.device, &rig.w, rig.disk, sizeof rig.disk);
    rig.config = (struct quire_store_config){.memory = rig.memory,
                                             .size = sizeof rig.disk,
                                             .codec = &runs_codec,
                                             .codec_cookie = &rig.runs,
                                             .pager = &test_file_pager,
                                             .cookie = &rig.device,
                                             .direct_map = rig.frames,
                                             .first_frame = FIRST_FRAME,
                                             .host = &rig.w};
}

/* Begin a transfer between pages of the file and frames, both from a number on. */
static inline void transfer_begin(struct transfer *t, bool write, uint64_t page, uint32_t frame,
                                  uint32_t pages)
{
    memset(t, 0x77, sizeof *t); /* nothing that a manager leaves there matters */
    t->io.section = NULL;
    t->io.offset = OFFSET(page);
    t->io.pages = pages;
    t->io.write = write;
    t->io.no_wait = false;
    t->io.ended = transfer_ended;
    t->ended = t->ok = false;
    for (uint32_t i = 0; i < pages; i++)
        t->io.frames[i] = FIRST_FRAME + frame + i;
    quire_store_pager.start(rig.store, &t->io);
}

static inline struct quire_store_info info(void)
{
    struct quire_store_info now;

    quire_store_info(rig.store, &now);
    CHECK(now.used % UNIT == 0 && now.used <= now.room);
    CHECK(now.used >= now.bytes && now.used <= now.bytes + now.pages * (UNIT - 1));
    return now;
}

#endif
