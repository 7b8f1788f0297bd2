/* SPDX-License-Identifier: MIT */
/*
 * What a space may have in memory: locked ranges, least and most, and advice.
 *
 * What must stay.  The visits that make pages leave (workset.c) meet entries of tables whose spaces
 * nobody can name, so that a page that must stay has to say so itself: its frame is marked.  A mark
 * is the number of a *round*.  Each pass begins with one: all spaces mark what is locked, and what
 * they may not lose; and marks of earlier rounds hold no more.  So a lock holds in every table that
 * leads to the page, whoever shares it, and ends by itself when nobody marks the page any more.
 *
 * Marks are made for the round after the present one, and both count: what is marked while a round
 * goes on, by a call that locks or by a fault in a locked range, stays through the whole of the
 * next one, before which all is marked again.
 *
 * The most that a space may have is counted down by its faults, and counted anew when that is used
 * up; then its oldest pages leave until there is room again.  Spaces without a limit pay nothing.
 *
 * Locks: the space, exclusively, while its pages are marked; all calls, while some leave.
 */
#include "change.h"
#include "fault.h"
#include "workset.h"

enum { LEAST_OF_MOST = 16 };

/* ---- marking ------------------------------------------------------------------------------- */

static uint32_t round_after(uint32_t round) { return round == UINT32_MAX ? 1 : round + 1; }

static void page_mark(const struct quire *q, pfn_t page)
{
    struct qi_frame *r = frame_record(&q->frames, page);
    if (frame_state(r) == QI_FRAME_DATA) /* not the zero page */
        qi_store(&r->stays, round_after(qi_load(&q->paging.round)));
}

bool qi_page_stays(const struct quire *q, pfn_t page)
{
    uint32_t stays = qi_load(&frame_record(&q->frames, page)->stays);
    uint32_t round = qi_load(&q->paging.round);
    return stays != 0 && (stays == round || stays == round_after(round));
}

void qi_mark_round(struct quire *q)
{
    qi_store(&q->paging.round, round_after(qi_load(&q->paging.round)));
}

static void mark_home(const struct quire *q, home_t home)
{
    entry_t e = entry_load(qi_home_slot(q, home));
    enum qi_kind kind = entry_kind(e, 1);
    if (kind == QI_OWN || kind == QI_BARRED)
        page_mark(q, entry_pfn(e));
}

/* Visit pages of [low, high) that are mapped below a table; `mark`: they stay, and those that are
 * to be mapped too.  Returns how many there are.  The recursion is as deep as the tree. */
static uint64_t mark_below(const struct quire *q, pfn_t table, vaddr_t base, vaddr_t low,
                           vaddr_t high, bool mark)
{
    const unsigned level = table_record(q, table)->level;
    const entry_t *entries = table_entries(q, table);
    uint64_t count = 0;
    for (unsigned i = low > base ? entry_index(low, level) : 0; i < table_count(level); i++) {
        vaddr_t start = base + i * entry_span(level);
        entry_t e = entry_load(&entries[i]);
        enum qi_kind kind = entry_kind(e, level);
        if (start >= high)
            break;
        if (level > 1) {
            count += e == 0 ? 0 : mark_below(q, entry_pfn(e), start, low, high, mark);
        } else if (kind == QI_OWN || kind == QI_BARRED || kind == QI_BORROWED ||
                   kind == QI_SECTION) {
            if (mark)
                page_mark(q, entry_pfn(e));
            count++;
        } else if (kind == QI_PROTOTYPE && mark) {
            mark_home(q, entry_payload(e));
        }
    }
    return count;
}

/* The space is held exclusively. */
static void mark_locked(const struct quire_space *space, const struct qi_region *region)
{
    const struct quire *q = space->q;
    mark_below(q, space->root, 0, region->start, region->end, true);
    if (!region->view)
        return;
    /* What the view shows, and had mapped before a fork. */
    const struct quire_section *section = qi_section_of(q, region->view);
    uint64_t page = view_page(region->view, region->start);
    const uint64_t end = view_page(region->view, region->end);
    for (; (page = qi_section_next(section, page, end)) < end; page++) {
        entry_t e = qi_section_peek(section, page);
        if (entry_present(e))
            page_mark(q, entry_pfn(e));
    }
}

static void mark_space(struct quire_space *space)
{
    struct quire *q = space->q;
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    if (space->state == QI_SPACE_LIVE) {
        const vaddr_t all = MMU_ADDRESS_END;
        if (space->least > 0 && mark_below(q, space->root, 0, 0, all, false) <= space->least)
            mark_below(q, space->root, 0, 0, all, true);
        const struct qi_region *region = qi_region_at_or_above(space->regions, 0);
        for (; region && space->locks; region = qi_region_at_or_above(space->regions, region->end))
            if (region->flags & QUIRE_REGION_LOCKED)
                mark_locked(space, region);
    }
    qi_leave(cpu);
}

void qi_mark_all(struct quire *q)
{
    for (uint32_t i = 0; i < q->max_spaces; i++)
        if (qi_load(&q->spaces[i].protects))
            mark_space(&q->spaces[i]);
}

void qi_fault_marks(const struct qi_fault *fault)
{
    const struct qi_region *region = qi_region_find(fault->space->regions, fault->address);
    if (region->flags & QUIRE_REGION_LOCKED)
        page_mark(fault->space->q, fault->pfn);
}

/* ---- locks --------------------------------------------------------------------------------- */

enum quire_status quire_lock(struct quire_space *space, vaddr_t address, uint64_t length)
{
    const struct qi_alter alter = {.set = QUIRE_REGION_LOCKED};
    enum quire_status status = quire_populate(space, address, length, QUIRE_READ, NULL);
    if (status != QUIRE_OK)
        return status;
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    space->locks = true;
    qi_store(&space->protects, 1u);
    qi_leave(cpu);
    status = qi_change_extent(space, address, length, qi_change_alter, &alter);
    if (status == QUIRE_OK) { /* what left before that */
        mark_space(space);
        status = quire_populate(space, address, length, QUIRE_READ, NULL);
    }
    return status;
}

enum quire_status quire_unlock(struct quire_space *space, vaddr_t address, uint64_t length)
{
    const struct qi_alter alter = {.clear = QUIRE_REGION_LOCKED};
    return qi_change_extent(space, address, length, qi_change_alter, &alter);
}

/* ---- least and most ------------------------------------------------------------------------ */

enum quire_status quire_space_working_set(struct quire_space *space, uint64_t least, uint64_t most)
{
    if (most < least || most < LEAST_OF_MOST)
        return QUIRE_OUT_OF_RANGE;
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    space->least = least;
    space->most = most;
    qi_store(&space->protects, (uint32_t)(least > 0 || space->locks));
    qi_store(&space->room, most == UINT64_MAX ? most : 0); /* counted at the next fault */
    qi_leave(cpu);
    return QUIRE_OK;
}

/* Pages of the space leave, from this age on; returns how many stayed. */
static uint64_t shrink_to(struct quire_space *space, uint8_t old)
{
    struct quire *q = space->q;
    struct qi_visit v = qi_visit_begin(q, 0, UINT64_MAX);
    v.trim = true;
    v.old = old;
    for (bool all = false; !all;) {
        all = qi_visit_tree(&v, space->root);
        qi_visit_end(&v);
        if (!all)
            qi_visit_again(&v);
    }
    return v.resident;
}

void qi_space_shrink(struct quire_space *space)
{
    const uint64_t most = space->most, wanted = most - most / 8;
    uint8_t old = space->q->paging.policy->old;
    qi_mark_all(space->q); /* its tables may be others' too */
    uint64_t stayed = shrink_to(space, old);
    while (stayed > wanted && old > 0) {
        old /= 2;
        qi_mark_all(space->q);
        stayed = shrink_to(space, old);
    }
    /* What must stay may be more than it may have: then it goes on as it is for a while. */
    uint64_t room = stayed < most ? most - stayed : most / 8 + 1;
    qi_store(&space->room, space->most == UINT64_MAX ? UINT64_MAX : room);
}

/* ---- advice -------------------------------------------------------------------------------- */

static void range_visit(struct quire_space *space, vaddr_t low, vaddr_t high, bool now)
{
    struct qi_visit v = qi_visit_begin(space->q, low >> QUIRE_PAGE_SHIFT, high >> QUIRE_PAGE_SHIFT);
    v.cold = true;
    v.trim = v.now = now;
    for (bool all = false; !all;) {
        all = qi_visit_tree(&v, space->root);
        qi_visit_end(&v);
        if (!all)
            qi_visit_again(&v);
    }
}

/* The first part of [*low, high) that is not locked; false: there is none. */
static bool range_unlocked(struct quire_space *space, vaddr_t *low, vaddr_t high, vaddr_t *end)
{
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    const struct qi_region *region = qi_region_at_or_above(space->regions, *low);
    while (region && (region->flags & QUIRE_REGION_LOCKED))
        region = qi_region_at_or_above(space->regions, region->end);
    bool found = region && region->start < high && *low < high;
    if (found) {
        *low = region->start > *low ? region->start : *low;
        *end = smaller(region->end, high);
    }
    qi_leave(cpu);
    return found;
}

/* One slice of next_out: as many entries as a table has; 0: none of them is out. */
static slot_t slice_out(struct quire_space *space, vaddr_t *at, vaddr_t high)
{
    struct quire *q = space->q;
    slot_t slot = 0;
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES && *at < high && slot == 0; i++) {
        struct qi_look look = qi_table_look(space, *at);
        entry_t e = look.level == 1 ? look.entry : 0;
        if (entry_kind(e, 1) == QI_PROTOTYPE)
            e = entry_load(
                &table_entries(q, home_table(entry_payload(e)))[home_index(entry_payload(e))]);
        slot = entry_kind(e, 1) == QI_PAGED ? entry_slot(e) : 0;
        *at = (*at & ~(entry_span(look.level) - 1)) + entry_span(look.level);
    }
    qi_leave(cpu);
    return slot;
}

/* The slot of the first page of [*at, high) that is not in memory; *at: behind it. */
static slot_t next_out(struct quire_space *space, vaddr_t *at, vaddr_t high)
{
    slot_t slot = slice_out(space, at, high);
    while (slot == 0 && *at < high) {
        host_yield(space->q->host);
        slot = slice_out(space, at, high);
    }
    return slot;
}

enum quire_status quire_advise_pages(struct quire_space *space, vaddr_t address, uint64_t length,
                                     enum quire_page_advice advice)
{
    enum quire_status status = qi_range_status(space->q, address, length);
    if (status == QUIRE_OK && (unsigned)advice >= QUIRE_PAGE_ADVICE_COUNT)
        status = QUIRE_BAD_FLAGS;
    if (status != QUIRE_OK || space->q->paging.max == 0)
        return status;
    if (advice != QUIRE_PAGES_NEED) {
        vaddr_t low = address, end;
        for (; range_unlocked(space, &low, address + length, &end); low = end)
            range_visit(space, low, end, advice == QUIRE_PAGES_OUT);
        return QUIRE_OK;
    }
    slot_t slot;
    for (vaddr_t at = address; (slot = next_out(space, &at, address + length)) != 0;)
        qi_page_ahead(space->q, slot);
    return QUIRE_OK;
}
