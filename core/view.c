/* SPDX-License-Identifier: MIT */
/*
 * Views: regions that show a section.
 *
 * An entry of a view is empty, or maps the section's page (kind section), or is what any region can
 * hold: a page of the space's own, lent or borrowed, once a private view was written.  Empty means:
 * ask the section.  Since that is always possible, entries that map its pages are a cache of what
 * region and section say.  They are counted (uses) so that a page is known to be mapped, and left
 * out of copies of their table.
 *
 *   read                  the page is mapped without W; so are its neighbours that are in memory
 *   write, shared view    the page is marked as changed, then mapped with W (design-rules H14): a
 *                         view that may write owes the pager its page, whether it writes or not
 *   write, private view   copy.c: as for any page that is not the space's own
 *
 * Mapping takes two locks, one after the other, and the entry is busy from the first to the last:
 * the leaf's, to make empty entries busy; that of the section's leaf, to count them and to look
 * whether the pages are there still; then the entries are stored, which their owner may.
 *
 * Taking away.  Nothing leads from a page to its views, so whoever wants them to lose it walks the
 * regions of every space that has views (qi_views_lose), holding one space exclusively at a time:
 * then no fault is half way.  A space that is forked behind the walker's back hands on tables that
 * are write-protected above, so nobody writes through them without a fault; what it hands on to
 * read is seen in the counts, and the walk is made again by those whom it matters to.
 */
#include "fault.h"

#include <quire/machine.h>

/* ---- mapping ------------------------------------------------------------------------------- */

/* Pages side by side in a region, a leaf of the space, and a leaf of the section. */
struct window {
    vaddr_t low;    /* of the first */
    uint64_t page;  /* of the section, the same */
    unsigned count; /* at most QI_AROUND_MAX */
    unsigned own;   /* which of them is wanted */
    unsigned used;  /* how many were counted, */
    pfn_t last;     /* and the last of them */
};

static struct window window_of(const struct qi_fault *fault, bool around)
{
    const struct quire *q = fault->cpu->q;
    uint64_t span = around ? (uint64_t)q->fault_around << QUIRE_PAGE_SHIFT : QUIRE_PAGE_SIZE;
    uint64_t page = view_page(fault->view, fault->address);
    uint64_t leaf = page & ~(uint64_t)(QUIRE_TABLE_ENTRIES - 1);
    vaddr_t table = fault->address & ~(entry_span(2) - 1);
    vaddr_t low = larger(fault->address & ~(span - 1), larger(fault->low, table));
    vaddr_t high =
        smaller((fault->address & ~(span - 1)) + span, smaller(fault->high, table + entry_span(2)));
    uint64_t before = (fault->address - low) >> QUIRE_PAGE_SHIFT;
    before = smaller(before, page - leaf);
    uint64_t after = (high - fault->address) >> QUIRE_PAGE_SHIFT;
    after = smaller(after, leaf + QUIRE_TABLE_ENTRIES - page);
    return (struct window){fault->address - (before << QUIRE_PAGE_SHIFT),
                           page - before,
                           (unsigned)(before + after),
                           (unsigned)before,
                           0,
                           QI_NO_FRAME};
}

/* Which of the 64 pages from `page` on lie below `end`. */
static uint64_t pages_below(uint64_t page, uint64_t end)
{
    uint64_t count = end > page ? end - page : 0;
    return count < 64 ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
}

/* Which of the 64 pages from `page` on may come to views: its end is as it is now. */
static uint64_t pages_open(const struct quire_section *section, uint64_t page)
{
    return pages_below(page, qi_pages_up(qi_load(&section->limit))) &
           (pages_below(page, qi_load(&section->shut)) |
            ~pages_below(page, qi_load(&section->open)));
}

/*
 * Count one use more of each page of the window whose bit is set in `wanted`, if it is there, and
 * store what maps it in its place of `slots`, which is the caller's (null: nowhere).  Returns for
 * which that was so.  `write`: they count as changed.
 */
static uint64_t section_use(struct qi_fault *fault, struct window *w, uint64_t wanted, bool write,
                            entry_t *slots)
{
    struct qi_cpu *cpu = fault->cpu;
    struct quire *q = cpu->q;
    const struct quire_section *section = qi_section_of(q, fault->view);
    struct qi_slot slot;
    uint64_t got = 0;
    if (!qi_slot_lock_in(cpu, fault->leaf, w->page, &slot))
        return 0;
    struct qi_frame *r = table_record(q, slot.table);
    if (r->side == QI_NO_FRAME)
        qi_store(&r->side,
                 qi_frame_alloc(cpu, QI_FRAME_SIDE, QI_WANT_ZEROED, qi_frame_any_colour(cpu)));
    struct qi_side *side = table_side(q, r);
    uint32_t *uses = &side->uses[slot.index], *maps = &side->maps[slot.index], count = 0;
    entry_t rights = qi_view_entry(fault, 0, write);
    for (wanted &= pages_open(section, w->page); wanted != 0; wanted &= wanted - 1) {
        unsigned i = (unsigned)__builtin_ctzll(wanted);
        entry_t e = entry_load(&slot.slot[i]);
        if (!entry_present(e) || uses[i] == UINT32_MAX) /* empty, or busy */
            continue;
        uses[i]++;
        maps[i]++;
        count++;
        got |= wanted & -wanted;
        entry_t marks = write && !QI_CANARY(QI_CANARY_VIEW_NOT_DIRTY)
                            ? ENTRY_FOLDED | ENTRY_ACCESSED
                            : ENTRY_ACCESSED;
        if ((e & marks) != marks)
            entry_store(&slot.slot[i], e | marks);
        if (slots)
            entry_store(&slots[i], rights | (e & ENTRY_PAYLOAD_MASK));
        w->last = entry_pfn(e);
    }
    w->used = count;
    frame_record(&q->frames, r->side)->sum += count;
    qi_slot_unlock(cpu, &slot);
    return got;
}

enum quire_status qi_view_missing(struct qi_fault *fault)
{
    struct quire_section *section = qi_section_of(fault->cpu->q, fault->view);
    fault->page = view_page(fault->view, fault->address);
    if (fault->page << QUIRE_PAGE_SHIFT >= qi_load(&section->size))
        return QUIRE_BEYOND_END;
    qi_section_hold(section);
    fault->section = section;
    return QI_BRING;
}

/* A leaf that leaves the tree meanwhile stays what it is until this call has ended; and a side
 * frame stays as long as its leaf. */
uint32_t qi_view_need(struct qi_fault *fault)
{
    const struct quire *q = fault->cpu->q;
    fault->leaf =
        qi_section_leaf(qi_section_of(q, fault->view), view_page(fault->view, fault->address));
    return fault->leaf != QI_NO_FRAME &&
           qi_load(&frame_record(&q->frames, fault->leaf)->side) == QI_NO_FRAME;
}

bool qi_view_use(struct qi_fault *fault, pfn_t *frame)
{
    struct window w = window_of(fault, false);
    bool there = section_use(fault, &w, 1, false, NULL) != 0;
    *frame = w.last;
    return there;
}

void qi_view_changed(struct qi_cpu *cpu, pfn_t page)
{
    struct quire *q = cpu->q;
    home_t home = qi_load(&frame_record(&q->frames, page)->home);
    entry_t *slot = &table_entries(q, home_table(home))[home_index(home)];
    table_lock(cpu, home_table(home));
    if (!QI_CANARY(QI_CANARY_VIEW_NOT_DIRTY))
        entry_store(slot, entry_load(slot) | ENTRY_FOLDED);
    table_unlock(cpu, home_table(home));
}

/* Empty entries of the window whose pages seem to be there, and the wanted one, become busy. */
static uint64_t window_arrest(const struct qi_fault *fault, const struct window *w, pfn_t table,
                              entry_t *slots)
{
    struct quire *q = fault->cpu->q;
    uint64_t mine = 0;
    unsigned count = 0;
    if (fault->leaf == QI_NO_FRAME)
        return 0;
    const entry_t *homes = &table_entries(q, fault->leaf)[w->page & (QUIRE_TABLE_ENTRIES - 1)];
    table_lock(fault->cpu, table);
    for (unsigned i = 0; i < w->count; i++) {
        if (entry_load(&slots[i]) != 0 || entry_load(&homes[i]) == 0)
            continue;
        entry_store(&slots[i], entry_to_busy(0));
        mine |= UINT64_C(1) << i;
        count++;
    }
    table_record(q, table)->present = (uint16_t)(table_record(q, table)->present + count);
    table_unlock(fault->cpu, table);
    return mine;
}

/* Entries that nothing was found for become empty again. */
static void window_release(const struct qi_fault *fault, entry_t *slots, pfn_t table, uint64_t lost)
{
    struct qi_frame *r = table_record(fault->cpu->q, table);
    table_lock(fault->cpu, table);
    for (; lost != 0; lost &= lost - 1) {
        entry_store(&slots[__builtin_ctzll(lost)], 0);
        r->present--;
    }
    table_unlock(fault->cpu, table);
}

enum quire_status qi_view_map(struct qi_fault *fault, pfn_t table, bool write)
{
    struct window w = window_of(fault, !write);
    entry_t *slots = &table_entries(fault->cpu->q, table)[entry_index(w.low, 1)];
    uint64_t mine = window_arrest(fault, &w, table, slots);
    uint64_t got = mine >> w.own & 1 ? section_use(fault, &w, mine, write, slots) : 0;
    if (mine != got)
        window_release(fault, slots, table, mine & ~got);
    if (!(got >> w.own & 1)) {
        fault->key = &slots[w.own];
        return entry_load(fault->key) == 0 ? qi_view_missing(fault) : QI_AGAIN;
    }
    fault->pfn = entry_pfn(entry_load(&slots[w.own]));
    fault->cpu->stats.views += w.used;
    qi_trace(fault->space, QUIRE_EVENT_VIEW, fault->address, fault->pfn);
    return QUIRE_OK;
}

/* ---- taking away --------------------------------------------------------------------------- */

/* What of a region shows [first, end) of its section; false: nothing. */
static bool region_shows(const struct qi_region *region, uint64_t first, uint64_t end,
                         struct qi_range *range)
{
    uint64_t pages = (region->end - region->start) >> QUIRE_PAGE_SHIFT;
    uint64_t start = view_page(region->view, region->start);
    uint64_t low = larger(start, first), high = smaller(start + pages, end);
    if (low >= high)
        return false;
    range->low = region->start + ((low - start) << QUIRE_PAGE_SHIFT);
    range->high = region->start + ((high - start) << QUIRE_PAGE_SHIFT);
    return true;
}

/* One space; false: *need frames are not there.  What was done stays done. */
static bool space_loses(struct qi_cpu *cpu, struct quire_space *space,
                        const struct quire_section *section, uint64_t first, uint64_t end,
                        enum qi_loss loss, uint32_t *need)
{
    const struct qi_region *region = qi_region_view(space->regions, 0);
    for (; region; region = qi_region_view(space->regions, region->end)) {
        struct qi_range range = {.cpu = cpu, .space = space, .loss = loss, .lost = QUIRE_WRITE};
        if (view_section(region->view) != section->index ||
            (loss == QI_LOSE_WRITE && !(region->flags & QUIRE_REGION_SHARED)) ||
            !region_shows(region, first, end, &range))
            continue;
        *need = qi_range_need(&range);
        if (!qi_reserve(cpu, *need, true, QI_SITE_RANGE))
            return false;
        qi_range_apply(&range);
    }
    return true;
}

enum quire_status qi_views_lose(struct quire_section *section, uint64_t first, uint64_t end,
                                enum qi_loss loss)
{
    struct quire *q = section->q;
    for (uint32_t i = 0; i < q->max_spaces; i++) {
        struct quire_space *space = &q->spaces[i];
        enum quire_status status = QUIRE_OK;
        uint32_t need = 0;
        if (!qi_load(&space->views))
            continue;
        do {
            struct qi_cpu *cpu = qi_enter_exclusive(space);
            bool there = space->state == QI_SPACE_LIVE;
            if (there && !space_loses(cpu, space, section, first, end, loss, &need))
                status = QUIRE_NO_MEMORY;
            else
                status = QUIRE_OK;
            qi_leave(cpu);
        } while (qi_try_again(q, &status, need, true, 0));
        if (status != QUIRE_OK)
            return status;
    }
    return QUIRE_OK;
}
