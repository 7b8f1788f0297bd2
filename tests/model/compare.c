/* SPDX-License-Identifier: MIT */
/*
 * The world against the oracle: regions, bytes, rights and counts.
 */
#include "state.h"

#include <string.h>

/* What the page may be there, content aside. */
static bool kind_fits(const struct model_space *m, const struct oracle_region *r, uint64_t number,
                      enum quire_page_kind kind)
{
    bool own =
        kind == QUIRE_PAGE_PRIVATE || kind == QUIRE_PAGE_SHARED || kind == QUIRE_PAGE_BORROWED;

    if (!r || (r->flags & QUIRE_REGION_RESERVED))
        return kind == QUIRE_PAGE_EMPTY;
    if (!r->section)
        return kind != QUIRE_PAGE_SECTION;
    if (oracle_owns(m->oracle, number))
        return own;
    return kind == QUIRE_PAGE_EMPTY ||
           (kind == QUIRE_PAGE_SECTION && number + r->shift < section_end(r->section));
}

/* What the tables allow, of what the region does. */
static bool rights_fit(const struct oracle_region *r, const struct quire_page *page)
{
    bool reserved = r && (r->flags & QUIRE_REGION_RESERVED);
    uint32_t prot = r && !reserved ? r->prot : 0;

    if (page->kind == QUIRE_PAGE_SECTION && !(r->flags & QUIRE_REGION_SHARED) && page->writable)
        return false;
    return (!page->readable || (prot & QUIRE_READ)) && (!page->writable || (prot & QUIRE_WRITE)) &&
           (!page->executable || (prot & QUIRE_EXEC));
}

void compare_page(const struct model_space *m, uint64_t number)
{
    static const unsigned char zeros[QUIRE_PAGE_SIZE];
    const unsigned char *wanted = oracle_bytes(m->oracle, number), *got = zeros;
    vaddr_t address = number << QUIRE_PAGE_SHIFT;
    const struct oracle_region *r = map_find(&m->oracle->map, address);
    struct quire_page page;

    quire_page(m->space, address, &page);
    if ((page.kind == QUIRE_PAGE_GUARD) != ranges_have(&m->oracle->guards, address))
        fail("space %u, page %#llx: the guard is %s", m->owner, (llu)address,
             page.kind == QUIRE_PAGE_GUARD ? "not the oracle's" : "gone");
    if (page.kind == QUIRE_PAGE_GUARD)
        return;
    if (!kind_fits(m, r, number, page.kind))
        fail("space %u, page %#llx is of kind %u", m->owner, (llu)address, page.kind);
    if (!rights_fit(r, &page))
        fail("space %u, page %#llx: the tables allow more than the region", m->owner, (llu)address);
    if (r && (r->flags & QUIRE_REGION_LOCKED) && !m->unlocked && page.kind != QUIRE_PAGE_EMPTY &&
        !page.resident)
        fail("space %u, page %#llx: locked, and not in memory", m->owner, (llu)address);
    /* Nothing but paging cleans a page, and none gets a frame but by a write. */
    if (M.max_slots == 0 && page.kind != QUIRE_PAGE_EMPTY && page.kind != QUIRE_PAGE_ZERO &&
        page.kind != QUIRE_PAGE_SECTION && !page.dirty)
        fail("space %u, page %#llx: its frame is not dirty", m->owner, (llu)address);
    if (r && r->section && page.kind == QUIRE_PAGE_EMPTY)
        return; /* what it will show is what the section holds */
    if (page.kind != QUIRE_PAGE_EMPTY)
        got = page.resident ? M.world.frames + ((size_t)(page.pfn - M.world.config.first_frame)
                                                << QUIRE_PAGE_SHIFT)
                            : paging_bytes(m, address);
    M.result->bytes += QUIRE_PAGE_SIZE;
    if (memcmp(got, wanted, QUIRE_PAGE_SIZE) == 0)
        return;
    for (unsigned i = 0;; i++) {
        if (got[i] != wanted[i])
            fail("space %u, byte %#llx: %#x, not %#x (a store begins with its space's number)",
                 m->owner, (llu)address + i, got[i], wanted[i]);
    }
}

/* The oracle's next region as a caller is told of it: whether it is charged is not seen. */
static bool next_region(const struct oracle_map *map, unsigned *i, struct oracle_region *out)
{
    *out = (struct oracle_region){0};
    if (*i == map->count)
        return false;
    *out = map->region[*i];
    for (++*i; *i < map->count; ++*i) {
        const struct oracle_region *r = &map->region[*i];

        if (r->start != out->end || r->prot != out->prot || r->flags != out->flags ||
            r->name != out->name || r->section != out->section || r->shift != out->shift)
            break;
        out->end = r->end;
    }
    return true;
}

/* Of a closed section only that there is one is known. */
static bool same_view(const struct quire_region *got, const struct oracle_region *wanted)
{
    if (!wanted->section)
        return !got->section && got->offset == 0;
    const struct quire_section *section = section_shown(wanted)->section;
    return got->offset == wanted->start + (wanted->shift << QUIRE_PAGE_SHIFT) &&
           (section ? section == got->section : got->section != NULL);
}

void compare_regions(const struct model_space *m)
{
    struct quire_region got = {0};
    struct oracle_region wanted;
    vaddr_t at = 0;

    for (unsigned i = 0;;) {
        bool more = next_region(&m->oracle->map, &i, &wanted);
        enum quire_status status = quire_query(m->space, at, &got);

        if (!more && status == QUIRE_NOT_MAPPED)
            return;
        if (!more || status != QUIRE_OK || got.start != wanted.start || got.end != wanted.end ||
            got.prot != wanted.prot || got.flags != wanted.flags || got.name != wanted.name ||
            !same_view(&got, &wanted))
            fail("space %u: the region at or above %#llx is not the oracle's", m->owner, (llu)at);
        at = got.end;
    }
}

/* What walks of the tree find is what looking at each page finds. */
static void compare_walks(const struct model_space *m)
{
    uint64_t count[QUIRE_PAGE_KIND_COUNT] = {0}, out = 0;
    struct quire_pages run = {.end = 0};
    struct quire_usage usage;

    for (uint64_t i = 0; i != PAGES_ALL; i++) {
        vaddr_t at = i << QUIRE_PAGE_SHIFT;
        struct quire_page page;

        quire_page(m->space, at, &page);
        count[page.kind]++;
        out += page.kind != QUIRE_PAGE_EMPTY && page.kind != QUIRE_PAGE_GUARD && !page.resident;
        if (at >= run.end && quire_next_pages(m->space, at, M.high, &run) != QUIRE_OK)
            run = (struct quire_pages){UINT64_MAX, UINT64_MAX, QUIRE_PAGE_EMPTY};
        if (page.kind != (at < run.start ? QUIRE_PAGE_EMPTY : run.kind))
            fail("space %u, page %#llx: not in the run that was said", m->owner, (llu)at);
    }
    quire_space_usage(m->space, 0, M.high, &usage);
    if (usage.pages_private != count[QUIRE_PAGE_PRIVATE] || usage.pages_out != out ||
        usage.pages_zero != count[QUIRE_PAGE_ZERO] ||
        usage.pages_section != count[QUIRE_PAGE_SECTION] ||
        usage.pages_shared != count[QUIRE_PAGE_SHARED] + count[QUIRE_PAGE_BORROWED])
        fail("space %u: its usage is not the sum of its pages", m->owner);
}

/* Every run of pages that there is: mapped, and with the oracle's bytes where there are few. */
static void compare_runs(const struct model_space *m)
{
    struct quire_pages run = {.end = 0};

    while (quire_next_pages(m->space, run.end, M.high, &run) == QUIRE_OK) {
        if (!map_whole(&m->oracle->map, run.start, run.end))
            fail("space %u has pages from %#llx on, where nothing is mapped", m->owner,
                 (llu)run.start);
        for (vaddr_t at = run.start; at < run.end && at < run.start + 4 * QUIRE_PAGE_SIZE;
             at += QUIRE_PAGE_SIZE)
            compare_page(m, at >> QUIRE_PAGE_SHIFT);
    }
}

static void compare_space(const struct model_space *m)
{
    compare_regions(m);
    for (unsigned i = 0; i < m->oracle->page_count; i++)
        compare_page(m, m->oracle->page[i].number);
    for (uint64_t i = 0; i != PAGES_ALL; i++)
        compare_page(m, i);
    if (MICRO)
        compare_walks(m);
    else
        compare_runs(m);
}

void compare_all(void)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (M.spaces[i].space)
            compare_space(&M.spaces[i]);
    }
    compare_sections();
}

void compare_touched(vaddr_t low, uint64_t length)
{
    if (M.busy_outside) /* whose oracle waits for its operation to end */
        return;
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        uint64_t number = low >> QUIRE_PAGE_SHIFT;
        uint64_t last = (low + length - 1) >> QUIRE_PAGE_SHIFT;

        for (unsigned n = 0; M.spaces[i].space && number <= last && n < 8; n++, number++)
            compare_page(&M.spaces[i], number);
    }
}

/* Promises and pins, which the oracle counts too. */
static void compare_counts(void)
{
    struct quire_stats stats;
    uint64_t charge = 0, pages = 0;

    quire_stats(M.world.q, &stats);
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (M.spaces[i].space)
            charge += map_charge(&M.spaces[i].oracle->map);
    }
    for (unsigned i = 0; i < PINS_MAX; i++)
        pages += M.pins[i].live ? M.pins[i].pages : 0;
    /* A page that only pins keep stays promised. */
    charge += sections_charge();
    if (stats.committed != charge + pins_orphans())
        fail("%llu pages are promised, not %llu and %u", (llu)stats.committed, (llu)charge,
             pins_orphans());
    if (stats.sections != sections_live())
        fail("%llu sections, not %u", (llu)stats.sections, sections_live());
    if (M.commit_limit && charge > M.commit_limit)
        fail("%llu pages are promised, with a limit of %llu", (llu)charge, (llu)M.commit_limit);
    if (stats.pins != M.live_pins || stats.pages_pinned != pages)
        fail("%llu pins of %llu pages, not %u of %llu", (llu)stats.pins, (llu)stats.pages_pinned,
             M.live_pins, (llu)pages);
    if (stats.spaces != M.live)
        fail("%llu spaces, not %u", (llu)stats.spaces, M.live);
}

/* A page that is pinned stays its owner's own, whatever is forked. */
static void compare_pins(void)
{
    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        const struct model_pin *pin = &M.pins[n];

        for (unsigned i = 0; pin->live && i < pin->pages; i++) {
            vaddr_t at = pin->page[i].number << QUIRE_PAGE_SHIFT;
            struct quire_page page;

            if (!pin->page[i].m)
                continue;
            quire_page(pin->page[i].m->space, at, &page);
            if (page.pfn != pin->page[i].pfn || page.kind != QUIRE_PAGE_PRIVATE)
                fail("space %u, page %#llx: pinned as frame %u, and is of kind %u, frame %u",
                     pin->page[i].m->owner, (llu)at, pin->page[i].pfn, page.kind, page.pfn);
        }
    }
}

void audit(void)
{
    M.result->audits++;
    sections_gone();
    if (test_world_findings(&M.world) || M.world.machine->violations)
        fail("audit: %s", M.world.report);
    compare_counts();
    compare_pins();
    compare_slots();
}
