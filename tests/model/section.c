/* SPDX-License-Identifier: MIT */
/*
 * What sections hold, what their files hold, and what is left of either.
 *
 * Between two operations a page of a section is in memory, with the oracle's bytes; or it is not,
 * and then the file has them (or they are zeros, in shared memory).  So nothing that was written is
 * lost by being forgotten, whatever was purged, and whichever transfers failed.  Pages that differ
 * from the file must count as changed, and only those may that somebody could have written since
 * they were stored last.
 *
 * A section without handle and views must have gone once its transfers have ended, and must have
 * said so once; before that it must not.
 */
#include "state.h"

#include <string.h>

struct model_section *section_shown(const struct oracle_region *r)
{
    unsigned i = 0;

    while (r->section != &M.sections[i].oracle)
        i++;
    return &M.sections[i];
}

bool section_viewed(const struct model_section *s)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        const struct oracle_map *map = &M.spaces[i].oracle->map;

        for (unsigned k = 0; M.spaces[i].space && k < map->count; k++) {
            if (map->region[k].section == &s->oracle)
                return true;
        }
    }
    return false;
}

bool section_has(const struct model_section *s, uint64_t page)
{
    return s->section && quire_section_resident(s->section, page << QUIRE_PAGE_SHIFT);
}

bool section_paged(const struct model_section *s) { return s->file.bytes != NULL; }

uint64_t sections_charge(void)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        if (M.sections[i].live && !section_paged(&M.sections[i]))
            pages += section_end(&M.sections[i].oracle);
    }
    return pages;
}

unsigned sections_live(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < SECTIONS_MAX; i++)
        count += M.sections[i].live;
    return count;
}

void sections_settle(void)
{
    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        struct model_section *s = &M.sections[i];
        uint64_t size = s->oracle.size, last = section_end(&s->oracle);

        if (!s->live)
            continue;
        s->file.late = M.io_late && chance(50);
        if (s->section && section_paged(s) && last > 0 && !section_has(s, last - 1))
            memset(s->oracle.bytes + size, 0, (size_t)((last << QUIRE_PAGE_SHIFT) - size));
    }
}

/* ---- transfers ------------------------------------------------------------------------------- */

bool transfer_end(void)
{
    unsigned first = below(SECTIONS_MAX);

    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        struct test_file *file = &M.sections[(first + i) % SECTIONS_MAX].file;

        if (file->waiting_count > 0) {
            test_file_end(file, below(file->waiting_count));
            return true;
        }
    }
    return page_transfer_end();
}

void wait_io(struct test_world *world, struct quire_section *section)
{
    (void)world;
    (void)section;
    if (M.no_wait)
        fail("a call that may not wait waits for a transfer");
    if (!transfer_end())
        fail("a transfer is waited for, and there is none");
    operation_within();
}

bool sections_purge(void)
{
    uint64_t went = 0;

    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        struct model_section *s = &M.sections[i];

        if (s->section && !M.alone)
            went += quire_section_purge(s->section, 0, UINT64_MAX, chance(50));
    }
    sections_settle();
    M.purges++;
    return went > 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

void sections_gone(void)
{
    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        struct model_section *s = &M.sections[i];

        if (!s->live)
            continue;
        if (s->section || section_viewed(s)) {
            if (s->file.gone)
                fail("section %u has gone while it has a handle or views", i);
        } else if (s->file.waiting_count == 0) {
            (void)quire_work(M.world.q, UINT32_MAX);
            if (s->file.gone != 1)
                fail("section %u has gone %u times", i, s->file.gone);
            pins_leave(s, 0, UINT64_MAX);
            s->live = false;
            M.result->gone++;
        }
    }
}

void sections_end(void)
{
    while (transfer_end())
        ;
    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        if (M.sections[i].section)
            quire_section_close(M.sections[i].section);
        M.sections[i].section = NULL;
    }
    sections_gone();
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The bytes of a page that the section has, up to its end. */
static size_t page_length(const struct model_section *s, uint64_t page)
{
    uint64_t left = s->oracle.size - (page << QUIRE_PAGE_SHIFT);

    return left < QUIRE_PAGE_SIZE ? (size_t)left : QUIRE_PAGE_SIZE;
}

static bool page_stored(const struct model_section *s, uint64_t page)
{
    uint64_t at = page << QUIRE_PAGE_SHIFT;

    return memcmp(s->disk + at, s->oracle.bytes + at, page_length(s, page)) == 0;
}

static void compare_section_page(const struct model_section *s, uint64_t page, bool there)
{
    uint64_t at = page << QUIRE_PAGE_SHIFT;
    unsigned char bytes[QUIRE_PAGE_SIZE];
    size_t length = page_length(s, page), done = 0;

    if (!there) {
        const unsigned char *out = section_paged(s) ? NULL : paging_section_bytes(s, page);

        if (out ? memcmp(out, s->oracle.bytes + at, length) != 0
                : !page_stored(s, page)) /* nor has
                                            shared
                                            memory
                                            any
                                            bytes
                                            that it
                                            has
                                            forgotten
                                          */
            fail("page %llu of a section is not in memory, and its file has something else",
                 (llu)page);
        return;
    }
    if (quire_section_read(s->section, at, bytes, length, QUIRE_NO_WAIT, &done) != QUIRE_OK ||
        done != length)
        fail("page %llu of a section is in memory, and can not be read", (llu)page);
    if (memcmp(bytes, s->oracle.bytes + at, length) != 0)
        fail("page %llu of a section does not hold what was written", (llu)page);
    M.result->bytes += length;
}

/* It is on its way to the file. */
static bool page_leaving(const struct model_section *s, uint64_t page)
{
    for (unsigned i = 0; i < s->file.waiting_count; i++) {
        const struct quire_io *io = s->file.waiting[i];
        uint64_t first = io->offset >> QUIRE_PAGE_SHIFT;

        if (io->write && first <= page && page < first + io->pages)
            return true;
    }
    return false;
}

static void compare_section(const struct model_section *s)
{
    uint64_t resident = 0, least = 0, most = 0;
    struct quire_section_info info;

    for (uint64_t page = 0; page < section_end(&s->oracle); page++) {
        bool there = section_has(s, page);

        compare_section_page(s, page, there);
        resident += there;
        /* Shared memory that is as its page file has it is not changed, and comes back as changed.
         */
        bool kept = !section_paged(s) && M.max_slots > 0;
        least += there && !kept && !page_stored(s, page) && !page_leaving(s, page);
        most += kept || s->changed[page];
    }
    quire_section_info(s->section, &info);
    if (info.size != s->oracle.size || info.seals != s->seals || info.resident != resident ||
        (info.views > 0) != section_viewed(s) || info.mapped > resident)
        fail("a section of %llu bytes says: %llu bytes, seals %u, %llu pages, %llu views",
             (llu)s->oracle.size, (llu)info.size, info.seals, (llu)info.resident, (llu)info.views);
    if (info.dirty < least || info.dirty > most)
        fail("%llu pages of a section count as changed: %llu have, and at most %llu",
             (llu)info.dirty, (llu)least, (llu)most);
}

void compare_sections(void)
{
    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        if (M.sections[i].section)
            compare_section(&M.sections[i]);
    }
}

/* ---- views ----------------------------------------------------------------------------------- */

static bool own(enum quire_page_kind kind)
{
    return kind == QUIRE_PAGE_PRIVATE || kind == QUIRE_PAGE_SHARED || kind == QUIRE_PAGE_BORROWED;
}

void views_written(struct model_space *m, vaddr_t low, uint64_t length)
{
    uint64_t number = low >> QUIRE_PAGE_SHIFT, end = (low + length - 1) >> QUIRE_PAGE_SHIFT;

    for (; length > 0 && number <= end; number++) {
        const struct oracle_region *r = map_find(&m->oracle->map, number << QUIRE_PAGE_SHIFT);
        struct quire_page page;

        if (!r || !r->section || (r->flags & QUIRE_REGION_RESERVED))
            continue;
        if (r->flags & QUIRE_REGION_SHARED) {
            if (number + r->shift < section_end(r->section))
                section_shown(r)->changed[number + r->shift] = true;
            continue;
        }
        quire_page(m->space, number << QUIRE_PAGE_SHIFT, &page);
        if (own(page.kind))
            (void)oracle_touch(m->oracle, number);
    }
}
