/* SPDX-License-Identifier: MIT */
/*
 * A compressed store with the codec that programs use: LZ4.
 *
 * Goal: what real programs have in their pages comes back as it was, and bytes of the store that
 * something else wrote on are refused or give a wrong page, and nothing worse.  Method: the pages
 * are this program's own file; then the store's memory is changed at random, under the sanitizers.
 */
#include "codec.h"
#include "store.h"

#include <stdio.h>

enum { UNITS = FILE_PAGES * QUIRE_PAGE_SIZE / UNIT };

static struct quire_codec codec;

static void begin(void)
{
    rig_begin();
    codec = lz4_codec();
    rig.config.codec = &codec;
    rig_open(UNITS);
}

/* Frames 0 to FILE_PAGES - 1 get pages of this program. */
static void load_pages(void)
{
    FILE *file = fopen("/proc/self/exe", "rb");

    CHECK(file && fread(rig.frames, QUIRE_PAGE_SIZE, FILE_PAGES, file) > FILE_PAGES / 4);
    fclose(file);
}

/* All pages of the file, to or from the frames from this one on; how many transfers failed. */
static unsigned transfer_all(bool write, uint32_t frame)
{
    unsigned failed = 0;

    for (uint32_t i = 0; i < FILE_PAGES; i++) {
        struct transfer t;

        transfer_begin(&t, write, i, frame + i, 1);
        CHECK(t.ended);
        failed += !t.ok;
    }
    return failed;
}

static void programs(void)
{
    begin();
    load_pages();
    CHECK(transfer_all(true, 0) == 0);
    CHECK(info().pages > 0 && info().pages + info().words + info().too_large == FILE_PAGES);
    CHECK(transfer_all(false, FILE_PAGES) == 0);
    CHECK(memcmp(rig.frames[0], rig.frames[FILE_PAGES], FILE_PAGES * QUIRE_PAGE_SIZE) == 0);
    FIGURES("%u pages: %u shrink to %u %%, %u are a word, %u do not", FILE_PAGES,
            (unsigned)info().pages, (unsigned)(info().used * 100 / info().pages / QUIRE_PAGE_SIZE),
            (unsigned)info().words, (unsigned)info().too_large);
}

static void damage(void)
{
    uint64_t random = 3, refused = 0;

    for (unsigned turn = 0; turn < 20; turn++) {
        begin();
        load_pages();
        CHECK(transfer_all(true, 0) == 0);
        size_t first = quire_store_size(&rig.config);
        for (unsigned i = 0; i < 200; i++)
            rig.memory[first + test_random(&random) % (UNITS * UNIT)] ^=
                (uint8_t)(1 + test_random(&random) % 255);
        refused += transfer_all(false, FILE_PAGES);
        CHECK(info().damaged <= refused);
    }
    CHECK(refused > 0);
    FIGURES("%u pages refused", (unsigned)refused);
}

CHECK_MAIN("unit.store_lz4", TEST(programs), TEST(damage))
