/* SPDX-License-Identifier: MIT */
/*
 * Sections: memory that has a place of its own, and is seen from many.
 *
 * A section keeps its pages in a tree of tables like that of a space, as high as its last page
 * needs:
 *
 *      section --> [ upper ] --> [ leaf ]   entry i: own page, whose home this is; FOLDED: changed,
 *                            \              WRITING: being written; busy: being read
 *                             -> [ leaf ] - side frame: uses[i] = maps[i] = views of page i
 *
 * No machine walks it, and it has one owner, so it is never shared or copied.  Its leaves are
 * prototype tables: a page-table entry that maps a page of a section borrows it, as it would borrow
 * from a frozen table, and the same counts say how many do.  What is different: who borrows can
 * forget at any time, because the region knows where to find the page again.  So a copy of a leaf
 * (fork) leaves such entries out, and nothing that borrows from a section is ever not present.
 *
 * Who keeps it.  One count: the handle, each region node that views it, each transfer, and each
 * call that is at work on it.  Region trees are shared by forks, so a fork costs nothing here, and
 * the views of a space go with its last tree.  When the count is 0 the record waits on the dead
 * list: tables that were unmapped with the views may still have to give back what they borrowed,
 * and so the last pages go, a leaf at a time, after the last table.
 *
 * Locks.  The shape of the tree (which tables there are) changes under section->lock; the entries
 * of a leaf and its counts under the leaf's.  Finding a leaf takes neither: a table that leaves the
 * tree keeps its content until every call that may be in it has ended (frame.c), and whoever locks
 * it looks at its state again.
 */
#include "section.h"

void qi_sections_init(struct quire *q)
{
    for (uint32_t i = q->max_sections; i-- > 0;) {
        q->sections[i] = (struct quire_section){
            .q = q, .index = i, .root = QI_NO_FRAME, .next = q->free_section};
        q->free_section = &q->sections[i];
    }
    for (uint32_t i = q->max_transfers; i-- > 0;) {
        q->transfers[i] = (struct quire_io){.next = q->free_transfer};
        q->free_transfer = &q->transfers[i];
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

/* Pages that a tree of QUIRE_LEVELS levels spans. */
static uint64_t pages_max(void) { return UINT64_C(1) << (QUIRE_LEVELS * QUIRE_TABLE_SHIFT); }

static enum quire_status create_try(struct qi_cpu *cpu, const struct quire_section *model,
                                    struct quire_section **out)
{
    struct quire *q = cpu->q;
    enum quire_status status = qi_commit_promise(cpu, model->charge);
    if (status != QUIRE_OK)
        return status;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    struct quire_section *section = q->free_section;
    if (section) {
        q->free_section = section->next;
        q->live_sections++;
        uint32_t index = section->index;
        *section = *model;
        section->index = index;
    }
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    if (!section)
        qi_commit_give(cpu, model->charge);
    else
        *out = section;
    return section ? QUIRE_OK : QUIRE_TOO_MANY_SECTIONS;
}

enum quire_status quire_section_create(struct quire *q, uint64_t size,
                                       const struct quire_pager *pager, void *cookie,
                                       struct quire_section **out)
{
    struct quire_section model = {.q = q,
                                  .state = QI_SECTION_LIVE,
                                  .pager = pager,
                                  .cookie = cookie,
                                  .size = size,
                                  .limit = size,
                                  .refs = 1,
                                  .root = QI_NO_FRAME};
    enum quire_status status;
    if (qi_pages_up(size) > pages_max())
        return QUIRE_OUT_OF_RANGE;
    model.charge = qi_section_paged(&model) ? 0 : qi_pages_up(size);
    do {
        struct qi_cpu *cpu = qi_enter(q);
        status = create_try(cpu, &model, out);
        qi_leave(cpu);
    } while (qi_try_again(q, &status, 0, false, model.charge));
    return status;
}

void qi_section_release(struct qi_cpu *cpu, struct quire_section *section)
{
    struct quire *q = cpu->q;
    uint32_t before = qi_add(&section->refs, UINT32_MAX);
    qi_assert(before > 0);
    if (before > 1)
        return;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    section->next = q->dead_section;
    q->dead_section = section;
    qi_store(&q->dead_sections, q->dead_sections + 1);
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

void qi_section_let_go(struct quire_section *section)
{
    struct qi_cpu *cpu = qi_enter(section->q);
    qi_section_release(cpu, section);
    qi_leave(cpu);
}

void quire_section_close(struct quire_section *section)
{
    struct quire *q = section->q;
    qi_section_let_go(section);
    qi_finish(q, QI_ALL_SLICES);
}

void qi_section_viewed(struct qi_cpu *cpu, const struct qi_region *n, int by)
{
    if (!n->view)
        return;
    struct quire_section *section = qi_section_of(cpu->q, n->view);
    section->views += (uint32_t)by;
    if ((n->flags & QUIRE_REGION_SHARED) && (n->prot & QUIRE_WRITE))
        qi_store(&section->writers, section->writers + (uint32_t)by);
    if (by > 0)
        qi_section_hold(section);
    else
        qi_section_release(cpu, section);
}

uint64_t quire_section_size(const struct quire_section *section) { return qi_load(&section->size); }

void *quire_section_cookie(const struct quire_section *section) { return section->cookie; }

void qi_section_change_begin(struct quire_section *section)
{
    for (;;) {
        uint32_t nobody = 0;
        if (qi_change(&section->changing, &nobody, 1))
            return;
        host_yield(section->q->host);
    }
}

/* Does a device have a page of it, which it may be writing? */
static bool is_pinned(struct qi_cpu *cpu, const struct quire_section *section)
{
    const struct quire *q = cpu->q;
    const uint64_t all = UINT64_MAX;
    for (uint64_t page = qi_section_next(section, 0, all); page != all;
         page = qi_section_next(section, page + 1, all)) {
        entry_t e = qi_section_peek(section, page);
        if (entry_present(e) && qi_load(&frame_record(&q->frames, entry_pfn(e))->share) != 0)
            return true;
    }
    return false;
}

enum quire_status quire_section_seal(struct quire_section *section, uint32_t seals)
{
    struct quire *q = section->q;
    if (seals & ~(uint32_t)(QUIRE_SEAL_WRITE | QUIRE_SEAL_SHRINK | QUIRE_SEAL_GROW))
        return QUIRE_BAD_FLAGS;
    qi_section_change_begin(section);
    qi_finish(q, QI_ALL_SLICES); /* views that are unmapped may still wait to be freed */
    struct qi_cpu *cpu = qi_enter(q);
    bool write = (seals & QUIRE_SEAL_WRITE) != 0, writers = write && is_pinned(cpu, section);
    nodes_lock(cpu, &q->nodes);
    writers |= write && section->writers > 0;
    if (!writers)
        qi_store(&section->seals, section->seals | seals);
    nodes_unlock(cpu, &q->nodes);
    qi_leave(cpu);
    if (write && !writers) { /* calls that looked at the seals before have ended after this */
        qi_stop_all(q);
        qi_go_all(q);
    }
    qi_section_change_end(section);
    return writers ? QUIRE_HAS_WRITERS : QUIRE_OK;
}

/* ---- finding ------------------------------------------------------------------------------- */

/* The index, in a table of `level`, of the entry that leads to a page. */
static unsigned page_index(uint64_t page, unsigned level)
{
    return (unsigned)(page >> ((level - 1) * QUIRE_TABLE_SHIFT)) & (QUIRE_TABLE_ENTRIES - 1);
}
/* Pages that a table of `level` spans. */
static uint64_t page_span(unsigned level) { return UINT64_C(1) << (level * QUIRE_TABLE_SHIFT); }

pfn_t qi_section_leaf(const struct quire_section *section, uint64_t page)
{
    const struct quire *q = section->q;
    pfn_t table = qi_load(&section->root);
    if (table == QI_NO_FRAME)
        return QI_NO_FRAME;
    unsigned level = frame_record(&q->frames, table)->level;
    if (page >= page_span(level))
        return QI_NO_FRAME;
    for (; level > 1; level--) {
        entry_t e = entry_load(&table_entries(q, table)[page_index(page, level)]);
        if (e == 0)
            return QI_NO_FRAME;
        table = entry_pfn(e);
    }
    return table;
}

entry_t qi_section_peek(const struct quire_section *section, uint64_t page)
{
    pfn_t leaf = qi_section_leaf(section, page);
    if (leaf == QI_NO_FRAME)
        return 0;
    return entry_load(&table_entries(section->q, leaf)[page_index(page, 1)]);
}

static void slot_of(const struct quire *q, pfn_t leaf, uint64_t page, struct qi_slot *out)
{
    unsigned index = page_index(page, 1);
    *out = (struct qi_slot){leaf, &table_entries(q, leaf)[index], index};
}

bool qi_slot_lock_in(struct qi_cpu *cpu, pfn_t leaf, uint64_t page, struct qi_slot *out)
{
    if (leaf == QI_NO_FRAME)
        return false;
    struct qi_frame *r = frame_record(&cpu->q->frames, leaf);
    lock_take(cpu, &r->lock, QI_RANK_TABLE);
    if (frame_state(r) != QI_FRAME_SECTION) { /* it has left the tree */
        lock_drop(cpu, &r->lock, QI_RANK_TABLE);
        return false;
    }
    slot_of(cpu->q, leaf, page, out);
    return true;
}

bool qi_slot_lock(struct qi_cpu *cpu, const struct quire_section *section, uint64_t page,
                  struct qi_slot *out)
{
    return qi_slot_lock_in(cpu, qi_section_leaf(section, page), page, out);
}

/* The first page from `page` on below one table, which begins at `base`. */
static uint64_t next_below(const struct quire *q, pfn_t table, uint64_t base, uint64_t page,
                           uint64_t end)
{
    unsigned level = frame_record(&q->frames, table)->level;
    const entry_t *entries = table_entries(q, table);
    for (unsigned i = page > base ? page_index(page, level) : 0; i < QUIRE_TABLE_ENTRIES; i++) {
        uint64_t start = base + i * page_span(level - 1);
        entry_t e = entry_load(&entries[i]);
        if (start >= end)
            break;
        if (e == 0)
            continue;
        if (level == 1)
            return start;
        uint64_t found = next_below(q, entry_pfn(e), start, page, end);
        if (found < end)
            return found;
    }
    return end;
}

uint64_t qi_section_next(const struct quire_section *section, uint64_t page, uint64_t end)
{
    const struct quire *q = section->q;
    pfn_t root = qi_load(&section->root);
    if (page >= end || root == QI_NO_FRAME ||
        page >= page_span(frame_record(&q->frames, root)->level))
        return end;
    return next_below(q, root, 0, page, end);
}

/* ---- growing and shrinking ----------------------------------------------------------------- */

static pfn_t table_make(struct qi_cpu *cpu, const struct quire_section *section, unsigned level)
{
    pfn_t pfn = qi_frame_alloc(cpu, QI_FRAME_SECTION, QI_WANT_ZEROED, qi_frame_any_colour(cpu));
    struct qi_frame *r = frame_record(&cpu->q->frames, pfn);
    r->level = (uint8_t)level;
    r->section = section->index;
    return pfn;
}

/* The level that the root must have for a page to have a place. */
static unsigned level_for(const struct quire_section *section, uint64_t page)
{
    unsigned level = 1;
    if (section->root != QI_NO_FRAME)
        level = frame_record(&section->q->frames, section->root)->level;
    while (page >= page_span(level))
        level++;
    return level;
}

/* Tables that are missing on the way to a page.  The tree is locked. */
static uint32_t tables_missing(const struct quire_section *section, uint64_t page)
{
    const struct quire *q = section->q;
    pfn_t table = section->root;
    unsigned top = level_for(section, page);
    if (table == QI_NO_FRAME)
        return top;
    unsigned level = frame_record(&q->frames, table)->level;
    if (level < top) /* new roots, and below the highest of them a path of its own */
        return top - level + top - 1;
    for (; level > 1; level--) {
        entry_t e = table_entries(q, table)[page_index(page, level)];
        if (e == 0)
            return level - 1;
        table = entry_pfn(e);
    }
    return 0;
}

static void entry_put(struct qi_cpu *cpu, pfn_t table, unsigned index, pfn_t child)
{
    entry_store(&table_entries(cpu->q, table)[index], entry_table(child));
    table_record(cpu->q, table)->present++;
}

/* The leaf of a page, made if it is not there.  The tree is locked, the frames are reserved. */
static pfn_t leaf_make(struct qi_cpu *cpu, struct quire_section *section, uint64_t page)
{
    unsigned top = level_for(section, page);
    if (section->root == QI_NO_FRAME)
        qi_store(&section->root, table_make(cpu, section, top));
    pfn_t table = section->root;
    for (unsigned level = table_record(cpu->q, table)->level; level < top; level++) {
        pfn_t above = table_make(cpu, section, level + 1);
        entry_put(cpu, above, 0, table);
        table = above;
        qi_store(&section->root, table);
    }
    for (unsigned level = top; level > 1; level--) {
        unsigned index = page_index(page, level);
        entry_t e = table_entries(cpu->q, table)[index];
        if (e == 0) {
            pfn_t child = table_make(cpu, section, level - 1);
            entry_put(cpu, table, index, child);
            table = child;
        } else {
            table = entry_pfn(e);
        }
    }
    return table;
}

/* Lock the leaf of a page, and make what is missing of its path, for which there are frames. */
static void slot_take(struct qi_cpu *cpu, struct quire_section *section, uint64_t page,
                      struct qi_slot *out)
{
    pfn_t leaf = leaf_make(cpu, section, page);
    table_lock(cpu, leaf);
    slot_of(cpu->q, leaf, page, out);
}

bool qi_slot_make(struct qi_cpu *cpu, struct quire_section *section, uint64_t page, uint32_t more,
                  uint32_t *need, struct qi_slot *out)
{
    lock_take(cpu, &section->lock, QI_RANK_SECTION);
    const uint32_t missing = tables_missing(section, page);
    if (missing == 0) {
        slot_take(cpu, section, page, out);
        if (entry_load(out->slot) != 0) /* nothing is filled in: the last frame may be its page's */
            return true;
    }
    *need = missing + more;
    bool there = qi_reserve(cpu, *need, false, QI_SITE_SECTION);
    if (there && missing > 0)
        slot_take(cpu, section, page, out);
    if (!there && missing == 0)
        table_unlock(cpu, out->table);
    if (!there)
        lock_drop(cpu, &section->lock, QI_RANK_SECTION);
    return there;
}

void qi_slot_made(struct qi_cpu *cpu, struct quire_section *section, const struct qi_slot *slot)
{
    table_unlock(cpu, slot->table);
    lock_drop(cpu, &section->lock, QI_RANK_SECTION);
}

void qi_slot_fill(struct qi_cpu *cpu, const struct qi_slot *slot, pfn_t page, entry_t bits)
{
    qi_assert(entry_load(slot->slot) == 0);
    qi_store(&frame_record(&cpu->q->frames, page)->home, home_make(slot->table, slot->index));
    table_record(cpu->q, slot->table)->present++;
    entry_t e = entry_own(page, 0, false) | (bits & ~ENTRY_BUSY);
    entry_store(slot->slot, bits & ENTRY_BUSY ? entry_to_busy(e) : e);
}

void qi_slot_clear(struct qi_cpu *cpu, const struct qi_slot *slot)
{
    entry_t e = entry_load(slot->slot);
    qi_assert(qi_slot_uses(cpu->q, slot) == 0);
    entry_store(slot->slot, 0);
    table_record(cpu->q, slot->table)->present--;
    qi_entry_release(cpu, entry_from_busy(e));
}

/* A table of the tree without entries goes; false: it has some.  The tree is locked. */
static bool table_gone(struct qi_cpu *cpu, pfn_t table)
{
    struct qi_frame *r = table_record(cpu->q, table);
    lock_take(cpu, &r->lock, QI_RANK_TABLE);
    bool gone = r->present == 0;
    if (gone) {
        if (r->side != QI_NO_FRAME)
            qi_frame_free(cpu, r->side);
        qi_store(&r->side, QI_NO_FRAME);
        qi_frame_free(cpu, table); /* whoever waits for the lock sees that it is free */
    }
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return gone;
}

/* The recursion is as deep as the tree. */
static bool trim_below(struct qi_cpu *cpu, pfn_t table, uint64_t base, uint64_t first, uint64_t end)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = table_record(q, table);
    entry_t *entries = table_entries(q, table);
    unsigned level = r->level;
    unsigned i = first > base ? page_index(first, level) : 0;
    for (; level > 1 && i < QUIRE_TABLE_ENTRIES; i++) {
        uint64_t start = base + i * page_span(level - 1);
        if (start >= end)
            break;
        pfn_t child = entry_pfn(entries[i]);
        if (entries[i] != 0 && trim_below(cpu, child, start, first, end)) {
            entry_store(&entries[i], 0);
            r->present--;
        }
    }
    return table_gone(cpu, table);
}

void qi_section_trim(struct qi_cpu *cpu, struct quire_section *section, uint64_t first,
                     uint64_t end)
{
    lock_take(cpu, &section->lock, QI_RANK_SECTION);
    pfn_t root = section->root;
    if (root != QI_NO_FRAME && first < page_span(table_record(cpu->q, root)->level) &&
        trim_below(cpu, root, 0, first, end))
        qi_store(&section->root, QI_NO_FRAME);
    lock_drop(cpu, &section->lock, QI_RANK_SECTION);
}

/* ---- the end ------------------------------------------------------------------------------- */

static struct quire_section *dead_take(struct qi_cpu *cpu)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    struct quire_section *section = q->dead_section;
    if (section) {
        q->dead_section = section->next;
        qi_store(&q->dead_sections, q->dead_sections - 1);
    }
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    return section;
}

/* What is left waits behind all others, for what one of them needs may be in the way. */
static void dead_put(struct qi_cpu *cpu, struct quire_section *section)
{
    struct quire *q = cpu->q;
    section->next = NULL;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    struct quire_section **last = &q->dead_section;
    while (*last)
        last = &(*last)->next;
    *last = section;
    qi_store(&q->dead_sections, q->dead_sections + 1);
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

static void dead_free(struct qi_cpu *cpu, struct quire_section *section)
{
    struct quire *q = cpu->q;
    qi_commit_give(cpu, section->charge);
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    section->state = QI_SECTION_FREE;
    section->next = q->free_section;
    q->free_section = section;
    q->live_sections--;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

/* The pages of one leaf, from its first one on, that nobody uses any more; returns how many. */
static uint32_t leaf_empty(struct qi_cpu *cpu, struct quire_section *section, uint64_t page)
{
    struct qi_slot slot;
    uint32_t freed = 0;
    if (!qi_slot_lock(cpu, section, page, &slot))
        return 0;
    struct qi_slot each = slot;
    do {
        if (entry_load(each.slot) == 0 || qi_slot_uses(cpu->q, &each) > 0)
            continue;
        qi_slot_clear(cpu, &each);
        freed++;
    } while (qi_slot_next(&each));
    qi_slot_unlock(cpu, &slot);
    return freed;
}

/* Free a part of the first dead section, or all of it; false: what is left waits for others. */
static bool dead_slice(struct qi_cpu *cpu, struct qi_gone *gone)
{
    struct quire_section *section = dead_take(cpu);
    if (!section)
        return false;
    bool progress = false;
    const uint64_t all = UINT64_MAX;
    for (uint64_t page = qi_section_next(section, 0, all); page != all && !progress;
         page = qi_section_next(section, (page | (QUIRE_TABLE_ENTRIES - 1)) + 1, all))
        progress = leaf_empty(cpu, section, page) > 0;
    qi_section_trim(cpu, section, 0, all);
    if (section->root != QI_NO_FRAME) {
        dead_put(cpu, section);
        return progress;
    }
    if (section->pager && section->pager->gone)
        *gone = (struct qi_gone){section->pager->gone, section->cookie};
    dead_free(cpu, section);
    return true;
}

bool qi_section_drop_slice(struct qi_cpu *cpu, struct qi_gone *gone)
{
    uint32_t tries = qi_load(&cpu->q->dead_sections);
    bool progress = false;
    *gone = (struct qi_gone){0};
    for (; tries > 0 && !progress; tries--)
        progress = dead_slice(cpu, gone);
    return progress;
}

/* ---- looking ------------------------------------------------------------------------------- */

bool quire_section_resident(const struct quire_section *section, uint64_t offset)
{
    struct qi_cpu *cpu = qi_enter(section->q);
    entry_t e = qi_section_peek(section, offset >> QUIRE_PAGE_SHIFT);
    qi_leave(cpu);
    return entry_present(e);
}

void quire_section_info(struct quire_section *section, struct quire_section_info *out)
{
    struct quire *q = section->q;
    const uint64_t all = UINT64_MAX;
    *out = (struct quire_section_info){0};
    struct qi_cpu *cpu = qi_enter(q);
    for (uint64_t page = qi_section_next(section, 0, all); page != all;
         page = qi_section_next(section, page + 1, all)) {
        struct qi_slot slot;
        if (!qi_slot_lock(cpu, section, page, &slot))
            continue;
        entry_t e = entry_load(slot.slot);
        bool there = entry_present(e);
        out->resident += there;
        out->dirty += there && entry_dirty(e);
        out->mapped += there && qi_slot_uses(q, &slot) > 0;
        qi_slot_unlock(cpu, &slot);
    }
    nodes_lock(cpu, &q->nodes);
    out->views = section->views;
    out->seals = section->seals;
    nodes_unlock(cpu, &q->nodes);
    out->size = qi_load(&section->size);
    qi_leave(cpu);
}
