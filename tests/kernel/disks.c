/* SPDX-License-Identifier: MIT */
/*
 * Disks as pagers of sections: boot option `disks`.
 *
 * Goal: what a section has written is on the disk and comes back, page by page and whatever the
 * order in which the transfers end; a transfer that the device fails is failed and not lost.
 * Method: fill the disk through a section with words that tell their place, forget all pages, read
 * them again; the same from a place that is no sector's beginning; write to a disk that can only be
 * read.  A call that the device fails is made once more, and must then work.  The lines that it
 * prints tell how many transfers failed; run.py makes QEMU fail some, knows how many, and compares
 * the disk's content itself.
 */
#include "disks.h"

#include "blk.h"

enum { PAGE_WORDS = PAGE_SIZE / 8, TRIES = 3 };

static uint64_t page[PAGE_WORDS];

/* What is at this byte of the disk, a multiple of eight. */
static uint64_t word_at(uint64_t offset) { return (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15); }

static struct blk *disk_find(bool read_only)
{
    for (unsigned i = 0; blk_get(i); i++) {
        if (blk_read_only(blk_get(i)) == read_only)
            return blk_get(i);
    }
    return NULL;
}

static struct quire_section *section_open(struct blk *disk)
{
    struct quire_section *s;

    if (quire_section_create(quire, blk_size(disk), &blk_pager, disk, &s) != QUIRE_OK)
        panic("no section for a disk");
    return s;
}

static size_t part_at(uint64_t size, uint64_t at)
{
    return size - at < PAGE_SIZE ? (size_t)(size - at) : PAGE_SIZE;
}

static void fill(struct quire_section *s)
{
    uint64_t size = quire_section_size(s);

    for (uint64_t at = 0; at < size; at += PAGE_SIZE) {
        for (unsigned i = 0; i < PAGE_WORDS; i++)
            page[i] = word_at(at + i * 8);
        if (quire_section_write(s, at, page, part_at(size, at), 0, NULL) != QUIRE_OK)
            panic("a page that nobody reads from the disk cannot be written");
    }
}

/* Write it back, by several transfers at once; a failure is told, and gone when it is tried again.
 */
static bool sync(struct quire_section *s)
{
    uint64_t size = quire_section_size(s);
    uint64_t errors = 0;
    struct quire_section_info info;
    enum quire_status status = quire_section_sync(s, 0, size, QUIRE_SYNC_START, NULL);

    for (int i = 0; i < TRIES && (i == 0 || status != QUIRE_OK); i++)
        status = quire_section_sync(s, 0, size, 0, &errors);
    quire_section_info(s, &info);
    return status == QUIRE_OK && info.dirty == 0;
}

/* Bytes of the section that are not as they should be; it begins at byte `start` of the disk. */
static uint64_t compare(struct quire_section *s, uint64_t start)
{
    uint64_t size = quire_section_size(s), wrong = 0;

    for (uint64_t at = 0; at < size; at += PAGE_SIZE) {
        size_t n = part_at(size, at);
        enum quire_status status = QUIRE_IO_ERROR;

        for (int i = 0; i < TRIES && status == QUIRE_IO_ERROR; i++)
            status = quire_section_read(s, at, page, n, 0, NULL);
        for (size_t i = 0; i < n; i++) {
            uint64_t where = start + at + i;
            uint8_t wanted = (uint8_t)(word_at(where & -UINT64_C(8)) >> where % 8 * 8);
            wrong += status != QUIRE_OK || ((const uint8_t *)page)[i] != wanted;
        }
    }
    return wrong;
}

/* A part of a disk that begins and ends anywhere. */
struct part {
    struct blk *disk;
    uint64_t start, size;
};

static void part_start(void *cookie, struct quire_io *io)
{
    const struct part *p = cookie;
    uint64_t bytes = (uint64_t)io->pages * PAGE_SIZE;
    uint64_t left = p->size - io->offset;

    blk_transfer(p->disk, io, p->start + io->offset, bytes < left ? bytes : left);
}

static const struct quire_pager part_pager = {.start = part_start, .stable = true};

static unsigned part_compare(struct blk *disk, uint64_t start, uint64_t size)
{
    struct part part = {disk, start, size};
    struct quire_section *s;

    if (quire_section_create(quire, size, &part_pager, &part, &s) != QUIRE_OK)
        panic("no section for a part of a disk");
    uint64_t wrong = compare(s, start);
    quire_section_close(s);
    kprintf("disks: bytes %lu to %lu: %lu wrong\n", start, start + size, wrong);
    return wrong != 0;
}

static unsigned refused_compare(struct blk *disk)
{
    struct quire_section *s = section_open(disk);
    uint64_t word = 1, back = 0;
    bool told = quire_section_write(s, 0, &word, sizeof word, 0, NULL) == QUIRE_OK &&
                quire_section_sync(s, 0, PAGE_SIZE, 0, NULL) == QUIRE_IO_ERROR &&
                quire_section_read(s, 0, &back, sizeof back, 0, NULL) == QUIRE_OK && back == word;

    quire_section_close(s);
    kprintf("disks: a write to a disk that can only be read: %s\n", told ? "refused" : "not told");
    return !told;
}

unsigned disks_run(void)
{
    struct blk *disk = disk_find(false), *fixed = disk_find(true);
    struct quire_stats stats;
    unsigned failed = 0;

    if (!disk || !fixed)
        panic("the tests of disks need two");
    struct quire_section *s = section_open(disk);
    uint64_t size = blk_size(disk);
    fill(s);
    bool synced = sync(s);
    uint64_t purged = quire_section_purge(s, 0, size, false);
    quire_section_fetch(s, 0, size);
    uint64_t wrong = compare(s, 0);
    quire_section_close(s);
    quire_stats(quire, &stats);
    kprintf("disks: %lu pages, %s, %lu bytes wrong, %lu writes and %lu reads failed\n", purged,
            synced ? "written" : "not written", wrong, stats.write_errors, stats.read_errors);
    failed += !synced || wrong != 0;
    failed += part_compare(disk, 1, 100) + part_compare(disk, 508, 3 * PAGE_SIZE + 8);
    failed += part_compare(disk, 70004, size - 70004 - 3);
    return failed + refused_compare(fixed) + quire_check(quire);
}
