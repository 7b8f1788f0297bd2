/* SPDX-License-Identifier: MIT */
/*
 * Pins, and the device that uses them.
 *
 * The device reads and writes the frames of the runs, past all tables.  While a pinned page stays
 * mapped, what the device writes is what its owner sees, and nobody else; after it was unmapped
 * nobody does, and the frame stays the device's until the last unpin.
 */
#include "state.h"

#include <string.h>

static unsigned char *frame_bytes(pfn_t pfn)
{
    return M.world.frames + ((size_t)(pfn - M.world.config.first_frame) << QUIRE_PAGE_SHIFT);
}

/* ---- what happens to pinned pages ------------------------------------------------------------ */

static bool within(const struct model_pin *pin, unsigned i, const struct model_space *m,
                   vaddr_t low, vaddr_t high)
{
    vaddr_t at = pin->page[i].number << QUIRE_PAGE_SHIFT;

    return pin->live && i < pin->pages && pin->page[i].m == m && low <= at && at < high;
}

void pins_lose(const struct model_space *m, vaddr_t low, vaddr_t high)
{
    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        for (unsigned i = 0; i < M.pins[n].pages; i++) {
            if (within(&M.pins[n], i, m, low, high))
                M.pins[n].page[i].m = NULL;
        }
    }
}

void pins_move(const struct model_space *m, vaddr_t from, vaddr_t to, uint64_t length)
{
    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        for (unsigned i = 0; i < M.pins[n].pages; i++) {
            if (within(&M.pins[n], i, m, from, from + length))
                M.pins[n].page[i].number += (to - from) >> QUIRE_PAGE_SHIFT;
        }
    }
}

void pins_touch(struct model_space *m)
{
    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        for (unsigned i = 0; i < M.pins[n].pages; i++) {
            if (within(&M.pins[n], i, m, 0, UINT64_MAX))
                pair_touch(m, M.pins[n].page[i].number << QUIRE_PAGE_SHIFT, QUIRE_PAGE_SIZE);
        }
    }
}

unsigned pins_orphans(void)
{
    pfn_t seen[PINS_MAX * PIN_PAGES_MAX];
    unsigned count = 0;

    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        const struct model_pin *pin = &M.pins[n];

        for (unsigned i = 0; pin->live && i < pin->pages; i++) {
            unsigned k = 0;

            while (k < count && seen[k] != pin->page[i].pfn)
                k++;
            if (!pin->page[i].m && !pin->page[i].section && k == count)
                seen[count++] = pin->page[i].pfn;
        }
    }
    return count;
}

unsigned pins_pages(const struct model_space *m)
{
    unsigned count = 0;

    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        for (unsigned i = 0; i < M.pins[n].pages; i++)
            count += within(&M.pins[n], i, m, 0, UINT64_MAX);
    }
    return count;
}

void pins_leave(const struct model_section *s, uint64_t first, uint64_t end)
{
    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        struct model_pin *pin = &M.pins[n];

        for (unsigned i = 0; i < pin->pages; i++) {
            if (pin->page[i].section == s && first <= pin->page[i].number &&
                pin->page[i].number < end)
                pin->page[i].section = NULL;
        }
    }
}

bool pins_hold(const struct model_section *s, uint64_t page)
{
    for (unsigned n = 0; M.live_pins > 0 && n < PINS_MAX; n++) {
        const struct model_pin *pin = &M.pins[n];

        for (unsigned i = 0; pin->live && i < pin->pages; i++) {
            if (pin->page[i].section == s && pin->page[i].number == page)
                return true;
        }
    }
    return false;
}

/* ---- pin and unpin --------------------------------------------------------------------------- */

static struct model_pin *free_pin(void)
{
    for (unsigned i = 0; i < PINS_MAX; i++) {
        if (!M.pins[i].live)
            return &M.pins[i];
    }
    return NULL;
}

/* What was pinned: runs that could not be fewer, of pages that are the space's own. */
static void pin_keep(struct model_pin *pin, struct model_space *m, vaddr_t address)
{
    unsigned n = 0;

    for (unsigned i = 0; i < pin->pin.run_count; i++) {
        const struct quire_run *run = &pin->runs[i];

        if (i > 0 && run[-1].first + run[-1].count == run->first)
            fail("runs %u and %u are neighbours", i - 1, i);
        for (uint32_t k = 0; k < run->count && n < pin->pages; k++, n++) {
            struct quire_page page;

            uint64_t number = (address >> QUIRE_PAGE_SHIFT) + n;
            const struct oracle_region *r = map_find(&m->oracle->map, number << QUIRE_PAGE_SHIFT);
            bool shared = (r->flags & QUIRE_REGION_SHARED) != 0;

            pin->page[n].m = shared ? NULL : m;
            pin->page[n].section = shared ? section_shown(r) : NULL;
            pin->page[n].number = number + (shared ? r->shift : 0);
            pin->page[n].pfn = run->first + k;
            quire_page(m->space, number << QUIRE_PAGE_SHIFT, &page);
            /* A view can lose a page meanwhile that the section keeps. */
            if ((page.kind != (shared ? QUIRE_PAGE_SECTION : QUIRE_PAGE_PRIVATE) ||
                 page.pfn != pin->page[n].pfn) &&
                !(shared && page.kind == QUIRE_PAGE_EMPTY))
                fail("page %u is pinned, and not the space's own", n);
        }
    }
    if (n != pin->pages || pin->pin.pages != pin->pages)
        fail("%u pages are pinned, not %u", n, pin->pages);
    pin->live = true;
    M.live_pins++;
}

/* Often in a shared view, whose pages others write back. */
static vaddr_t some_pin_address(const struct oracle *o, uint32_t kind)
{
    unsigned first = o->map.count ? below(o->map.count) : 0;

    for (unsigned i = 0; chance(80) && i < o->map.count; i++) {
        const struct oracle_region *r = &o->map.region[(first + i) % o->map.count];

        if (r->flags & QUIRE_REGION_SHARED)
            return r->start;
    }
    return some_mapped_address(o, kind);
}

void op_pin(struct model_space *m)
{
    struct model_pin *pin = free_pin();
    uint32_t kind = chance(50) ? QUIRE_READ : QUIRE_WRITE;
    uint32_t access = kind | (chance(30) ? QUIRE_NO_WAIT : 0);
    uint32_t capacity = chance(90) ? PIN_PAGES_MAX : below(PIN_PAGES_MAX);
    vaddr_t address = some_pin_address(m->oracle, kind) + below(QUIRE_PAGE_SIZE);
    uint64_t length = 1 + below(chance(70) ? QUIRE_PAGE_SIZE : 4 * QUIRE_PAGE_SIZE);
    vaddr_t last = (address + length - 1) >> QUIRE_PAGE_SHIFT;
    struct reach r;

    if (!pin)
        return;
    pin->pages = (unsigned)(last - (address >> QUIRE_PAGE_SHIFT)) + 1;
    pin->access = kind;
    reach(&r, m, address, length, access);
    doing("pin(%u, %#llx, %#llx, access %u, %u runs)", m->owner, (llu)address, (llu)length, access,
          capacity);
    M.no_wait = (access & QUIRE_NO_WAIT) != 0;
    enum quire_status got =
        quire_pin(m->space, address, length, access, pin->runs, capacity, &pin->pin);
    bool full = M.live_pins == M.max_pins, few = capacity < pin->pages;
    if (full)
        r.status = QUIRE_TOO_MANY_PINS;
    else if (cut_short(got) && got != r.status && r.bytes > 0)
        r.status = QUIRE_OK;
    else if (got == QUIRE_TOO_MANY_PINS && few && r.bytes > 0)
        r.status = QUIRE_TOO_MANY_PINS;
    bool done = judge_copies(m, got, r.status, reach_frames(&r, m));
    M.no_wait = false;
    reach_settle(&r, m);
    pair_touch(m, address, length);
    views_written(m, address, length);
    if (done) {
        pin_keep(pin, m, address);
        M.result->pins++;
    }
    compare_touched(address, length);
}

static void unpin(struct model_pin *pin)
{
    struct quire_pin again = pin->pin;

    pin->live = false;
    M.live_pins--;
    judge(quire_unpin(M.world.q, &pin->pin), QUIRE_OK, 0, false);
    judge(quire_unpin(M.world.q, &again), QUIRE_BAD_PIN, 0, false);
    M.stale = again;
}

/* A pin that lives, most of the time. */
static struct model_pin *some_pin(void)
{
    uint32_t n = M.live_pins ? below(M.live_pins) : 0;

    for (unsigned i = 0; M.live_pins > 0; i++) {
        if (M.pins[i].live && n-- == 0)
            return &M.pins[i];
    }
    return NULL;
}

void op_unpin(void)
{
    struct model_pin *pin = some_pin();
    struct quire_pin none = {.slot = below(PINS_MAX), .serial = below(3), .pages = below(3)};

    doing("unpin");
    if (pin)
        unpin(pin);
    if (M.stale.runs)
        judge(quire_unpin(M.world.q, &M.stale), QUIRE_BAD_PIN, 0, false);
    none.slot += M.max_pins;
    judge(quire_unpin(M.world.q, &none), QUIRE_BAD_PIN, 0, false);
}

void pins_end(void)
{
    for (unsigned i = 0; i < PINS_MAX; i++) {
        if (M.pins[i].live)
            unpin(&M.pins[i]);
    }
}

/* ---- the device ------------------------------------------------------------------------------ */

/* It reads what the owner wrote last, or writes what the owner will read. */
static void device_use(struct model_pin *pin, unsigned i)
{
    struct model_space *m = pin->page[i].m;
    struct model_section *s = pin->page[i].section;
    vaddr_t at = pin->page[i].number << QUIRE_PAGE_SHIFT;
    unsigned char *frame = frame_bytes(pin->page[i].pfn);
    uint32_t offset = below(QUIRE_PAGE_SIZE), length = 1 + below(QUIRE_PAGE_SIZE - offset);

    if (m && memcmp(frame, oracle_bytes(m->oracle, at >> QUIRE_PAGE_SHIFT), QUIRE_PAGE_SIZE) != 0)
        fail("the device reads what space %u has not written", m->owner);
    if (s && memcmp(frame, s->oracle.bytes + at, QUIRE_PAGE_SIZE) != 0)
        fail("the device reads what page %#llx of a section does not hold", (llu)at);
    if (pin->access != QUIRE_WRITE)
        return;
    stamp(m ? m : &M.spaces[0], frame + offset, length);
    if (m)
        oracle_write(m->oracle, at + offset, frame + offset, length);
    if (s)
        memcpy(s->oracle.bytes + at + offset, frame + offset, length);
}

void op_device(void)
{
    struct model_pin *pin = some_pin();

    doing("device");
    for (unsigned i = 0; pin && i < pin->pages; i++) {
        device_use(pin, i);
        if (pin->page[i].m)
            compare_touched(pin->page[i].number << QUIRE_PAGE_SHIFT, QUIRE_PAGE_SIZE);
    }
}
