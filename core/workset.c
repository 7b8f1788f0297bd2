/* SPDX-License-Identifier: MIT */
/*
 * Working sets: which pages were used, and which leave.
 *
 * A visit looks at the entries of a leaf, one after the other: it asks whether the page was used
 * since the last visit, clears that, and keeps in the entry how long it was not (three bits).  A
 * page that is old enough leaves:
 *
 *   own, barred   the entry names a slot from now on, and the page goes on a list (paged.c)
 *   borrowed      becomes a prototype entry; the page itself leaves with the last such entry, if no
 *                 space walks the table that it has its home in, else with that table's own entry
 *   section's     becomes empty; the page stays in the section's tree, which is visited too, and
 *                 leaves from there when nobody uses it: shared memory for a slot, what the pager
 *                 has for nothing, what the pager has not yet is written first
 *
 * A *pass* visits every leaf there is.  A table that many spaces share bears the number of the pass
 * that has seen it, so it is visited once, and a fork costs a pass nothing.
 *
 * Slices.  Entries of shared tables change here in place, under the eyes of spaces that nobody can
 * name.  So a slice, of one leaf, keeps all other calls out of quire, and ends with one flush
 * of everything; then the pages go on lists.  What is pinned stays where it is, and so does what is
 * locked or what a space may not lose: such pages are marked (limit.c), whoever shares them.
 *
 * Locks: all CPUs' claims (qi_stop_all), for one slice.
 */
#include "workset.h"

#include <quire/machine.h>

/* The entry after a visit. */
static entry_t entry_aged(const struct qi_visit *v, entry_t e)
{
    uint8_t age =
        v->cold ? 7 : v->cpu->q->paging.policy->age(entry_age(e), (e & ENTRY_ACCESSED) != 0);
    return (e & ~(ENTRY_ACCESSED | ENTRY_AGE_MASK)) | ((entry_t)(age & 7) << ENTRY_AGE_SHIFT);
}

/* Note a visit in an entry; true: its page may leave. */
static bool visit_age(const struct qi_visit *v, entry_t *slot)
{
    entry_t e = entry_load(slot), aged;
    do
        aged = entry_aged(v, e);
    while (!entry_change(slot, &e, aged));
    return v->trim && (v->now || (!(e & ENTRY_ACCESSED) && entry_age(aged) >= v->old));
}

static bool is_pinned(const struct quire *q, pfn_t page)
{
    return qi_load(&frame_record(&q->frames, page)->share) != 0;
}

static bool must_stay(const struct quire *q, pfn_t page)
{
    return (is_pinned(q, page) && !QI_CANARY(QI_CANARY_PINNED_LEAVES)) ||
           (qi_page_stays(q, page) && !QI_CANARY(QI_CANARY_LOCKED_LEAVES));
}

/* The slot that a page leaves for: the one it keeps, or a new one; 0: there is none. */
static slot_t slot_for(const struct qi_visit *v, pfn_t page, bool *fresh)
{
    const struct qi_frame *r = frame_record(&v->cpu->q->frames, page);
    *fresh = r->side == QI_NO_FRAME;
    return *fresh ? qi_paged_new(v->cpu) : r->side;
}

/* ---- leaving ------------------------------------------------------------------------------- */

/* A home that no machine can know leaves, if it may. */
static void home_leave(struct qi_visit *v, entry_t *slot)
{
    struct quire *q = v->cpu->q;
    entry_t e = entry_load(slot);
    enum qi_kind kind = entry_kind(e, 1);
    bool fresh;
    if (kind != QI_OWN && kind != QI_BARRED)
        return;
    qi_assert(!is_pinned(q, entry_pfn(e))); /* such a page is not lent (pin.c) */
    if (must_stay(q, entry_pfn(e)))
        return;
    slot_t place = slot_for(v, entry_pfn(e), &fresh);
    if (place == 0)
        return;
    entry_store(slot, entry_paged(place));
    qi_paged_put(v->cpu, place, entry_pfn(e), fresh || entry_dirty(e), v->now);
    v->left++;
}

/* A home in a table that no space walks, which no entry maps. */
static void lent_leave(struct qi_visit *v, home_t home)
{
    struct quire *q = v->cpu->q;
    const struct qi_frame *r = frame_record(&q->frames, home_table(home));
    if (frame_state(r) == QI_FRAME_TABLE && qi_load(&r->share) == 0 &&
        table_side(q, r)->maps[home_index(home)] == 0)
        home_leave(v, &table_entries(q, home_table(home))[home_index(home)]);
}

/* After the flush. */
static void victim_leave(struct qi_visit *v, const struct qi_victim *victim)
{
    struct qi_cpu *cpu = v->cpu;
    if (victim->slot != 0) {
        entry_store(victim->entry, entry_paged(victim->slot));
        qi_paged_put(cpu, victim->slot, entry_pfn(victim->old), victim->changed, v->now);
        v->left++;
    } else if (entry_kind(victim->old, 1) == QI_SECTION) {
        entry_store(victim->entry, 0);
        table_record(cpu->q, victim->table)->present--;
        qi_home_give(cpu, victim->home, true);
    } else {
        entry_store(victim->entry, qi_entry_unmap(cpu, victim->old));
        lent_leave(v, victim->home);
    }
}

static void victims_leave(struct qi_visit *v)
{
    if (v->count == 0)
        return;
    if (!QI_CANARY(QI_CANARY_LEAVES_UNFLUSHED))
        mmu_flush_all(v->cpu->q->machine);
    for (uint32_t i = 0; i < v->count; i++)
        victim_leave(v, &v->cpu->q->paging.victims[i]);
    v->cpu->stats.trimmed += v->count;
    v->count = 0;
}

/*
 * A view's page that could not be read again as it was: whoever has it mapped keeps it (bugs.md row
 * 62).
 */
static bool is_unstable(const struct quire *q, home_t home)
{
    const struct quire_section *section = &q->sections[table_record(q, home_table(home))->section];
    return qi_section_paged(section) && !section->pager->stable;
}

/* A page leaves: its entry is busy until the flush. */
static void entry_leave(struct qi_visit *v, pfn_t table, unsigned i, enum qi_kind kind)
{
    struct quire *q = v->cpu->q;
    const struct qi_frame *r = table_record(q, table);
    entry_t *slot = &table_entries(q, table)[i];
    pfn_t page = entry_pfn(entry_load(slot));
    struct qi_victim victim = {
        .entry = slot, .table = table, .home = qi_load(&frame_record(&q->frames, page)->home)};
    bool own = kind == QI_OWN || kind == QI_BARRED, fresh = false;
    if (must_stay(q, page))
        return;
    if (own && r->side != QI_NO_FRAME && table_side(q, r)->maps[i] > 0 &&
        !QI_CANARY(QI_CANARY_LENT_LEAVES))
        return;
    if (kind == QI_SECTION && is_unstable(q, victim.home))
        return;
    if (own && (victim.slot = slot_for(v, page, &fresh)) == 0)
        return;
    entry_t e = entry_load(slot);
    while (!entry_change(slot, &e, entry_to_busy(e)))
        ;
    victim.old = e;
    victim.changed = fresh || (entry_dirty(e) && !QI_CANARY(QI_CANARY_LEAVES_CLEAN));
    v->resident--;
    q->paging.victims[v->count++] = victim;
    if (v->count == QI_VICTIMS)
        victims_leave(v);
}

/* ---- visits -------------------------------------------------------------------------------- */

/* A page that is out in a file that goes: it comes back. */
static void visit_out(struct qi_visit *v, home_t home)
{
    const struct qi_paging *p = &v->cpu->q->paging;
    entry_t e = entry_load(&table_entries(v->cpu->q, home_table(home))[home_index(home)]);
    if (entry_kind(e, 1) != QI_PAGED || &p->files[chunk_of(p, entry_slot(e))->file - 1] != v->file)
        return;
    if (!qi_paged_revive(v->cpu, home) && v->missing == 0)
        v->missing = entry_slot(e);
}

static void visit_entry(struct qi_visit *v, pfn_t table, unsigned i)
{
    entry_t *slot = &table_entries(v->cpu->q, table)[i];
    entry_t e = entry_load(slot);
    enum qi_kind kind = entry_kind(e, 1);
    if (v->file) {
        if (kind == QI_PAGED || kind == QI_PROTOTYPE)
            visit_out(v, kind == QI_PAGED ? home_make(table, i) : entry_payload(e));
    } else if (kind == QI_OWN || kind == QI_BARRED || kind == QI_BORROWED || kind == QI_SECTION) {
        v->resident++;
        if (visit_age(v, slot))
            entry_leave(v, table, i, kind);
    } else if (kind == QI_PROTOTYPE && v->trim) {
        lent_leave(v, entry_payload(e));
    }
}

/*
 * A page of the section that nobody uses leaves.  What a cut or a discard takes away is not written
 * (it goes with that, or stays if it fails): it is nothing to wait for.
 */
static void visit_section_entry(struct qi_visit *v, struct qi_slot *slot, uint64_t page)
{
    struct quire *q = v->cpu->q;
    entry_t e = entry_load(slot->slot);
    enum qi_kind kind = entry_kind(e, 1);
    if (v->file) {
        if (kind == QI_PAGED)
            visit_out(v, home_make(slot->table, slot->index));
    } else if (kind == QI_OWN && visit_age(v, slot->slot) && qi_slot_uses(q, slot) == 0 &&
               !(e & ENTRY_WRITING) && !must_stay(q, entry_pfn(e))) {
        if (!qi_section_paged(v->section)) {
            home_leave(v, slot->slot);
        } else if (!entry_dirty(e)) {
            qi_slot_clear(v->cpu, slot);
            v->cpu->stats.purged++;
            v->left++;
        } else if (!v->unwritten && !qi_section_shut(v->section, page)) {
            qi_section_hold(v->section);
            v->unwritten = v->section;
            v->unwritten_page = page;
        }
    }
}

static void visit_leaf(struct qi_visit *v, pfn_t table, uint64_t base)
{
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        if (base + i < v->low || base + i >= v->high)
            continue;
        if (v->section) {
            struct qi_slot slot = {table, &table_entries(v->cpu->q, table)[i], i};
            visit_section_entry(v, &slot, base + i);
        } else {
            visit_entry(v, table, i);
        }
    }
}

/* The recursion is as deep as the tree.  `base`: the number of the first page below the table. */
static bool visit_below(struct qi_visit *v, pfn_t table, uint64_t base)
{
    struct quire *q = v->cpu->q;
    struct qi_frame *r = table_record(q, table);
    if ((v->number != 0 && r->prev == v->number) || (v->now && qi_load(&r->share) != 1))
        return true;
    if (r->level == 1) {
        if (v->leaves == 0) {
            v->low = larger(base, v->low);
            return false;
        }
        v->leaves--;
        visit_leaf(v, table, base);
    } else {
        const entry_t *entries = table_entries(q, table);
        unsigned shift = (unsigned)(r->level - 1) * QUIRE_TABLE_SHIFT;
        unsigned count = v->section ? QUIRE_TABLE_ENTRIES : table_count(r->level);
        for (unsigned i = v->low > base ? (unsigned)((v->low - base) >> shift) : 0; i < count;
             i++) {
            uint64_t start = base + ((uint64_t)i << shift);
            if (start >= v->high)
                break;
            if (entries[i] != 0 && !visit_below(v, entry_pfn(entries[i]), start))
                return false;
        }
    }
    if (v->number != 0 && v->missing == 0) /* else it is visited again */
        r->prev = v->number;
    return true;
}

bool qi_visit_tree(struct qi_visit *v, pfn_t root)
{
    return root == QI_NO_FRAME || visit_below(v, root, 0);
}

struct qi_visit qi_visit_begin(struct quire *q, uint64_t low, uint64_t high)
{
    return (struct qi_visit){
        .low = low, .high = high, .leaves = QI_SLICE_LEAVES, .cpu = qi_stop_all(q)};
}

void qi_visit_end(struct qi_visit *v)
{
    struct quire *q = v->cpu->q;
    victims_leave(v);
    qi_go_all(q);
}

void qi_visit_again(struct qi_visit *v)
{
    struct quire *q = v->cpu->q;
    host_yield(q->host);
    v->leaves = QI_SLICE_LEAVES;
    v->cpu = qi_stop_all(q);
}

/* With nothing held, after a slice: begin to write what stood in the way. */
static void visit_write(struct qi_visit *v)
{
    if (!v->unwritten)
        return;
    uint64_t at = v->unwritten_page << QUIRE_PAGE_SHIFT;
    enum quire_status status = quire_section_sync(
        v->unwritten, at, (uint64_t)QUIRE_IO_PAGES << QUIRE_PAGE_SHIFT, QUIRE_SYNC_START, NULL);
    (void)status; /* what could not be written is changed still, and counted */
    qi_section_let_go(v->unwritten);
}

/* ---- the pass ------------------------------------------------------------------------------ */

bool qi_work_begin(struct quire *q)
{
    uint32_t nobody = 0;
    return qi_change(&q->paging.working, &nobody, 1);
}
void qi_work_end(struct quire *q) { qi_store(&q->paging.working, 0u); }

/* One tree of the pass, or as much of it as fits; true: all. */
static bool pass_tree(struct qi_visit *v, const struct qi_pass *pass)
{
    struct quire *q = v->cpu->q;
    if (pass->tree < q->max_spaces) {
        const struct quire_space *space = &q->spaces[pass->tree];
        return space->state != QI_SPACE_LIVE || qi_visit_tree(v, space->root);
    }
    v->section = &q->sections[pass->tree - q->max_spaces];
    if (v->section->state != QI_SECTION_LIVE || qi_load(&v->section->refs) == 0)
        return true;
    uint64_t first = v->low, purged = v->cpu->stats.purged;
    bool all = qi_visit_tree(v, v->section->root);
    if (v->cpu->stats.purged != purged) /* tables may be empty now */
        qi_section_trim(v->cpu, v->section, first, all ? UINT64_MAX : v->low);
    return all;
}

/* A number that no table bears. */
static uint32_t pass_number(struct qi_paging *p)
{
    uint32_t number;
    do
        number = qi_add(&p->last_number, 1) + 1;
    while (number == 0 || number == QI_NO_FRAME);
    return number;
}

static void pass_begin(struct quire *q, struct qi_pass *pass)
{
    *pass =
        (struct qi_pass){.number = pass_number(&q->paging), .old = pass->old, .tired = pass->tired};
    qi_mark_all(q);
    qi_mark_round(q);
}

bool qi_pass_slice(struct quire *q, bool trim, uint64_t *left)
{
    struct qi_pass *pass = &q->paging.pass;
    const uint32_t trees = q->max_spaces + q->max_sections;
    if (pass->number == 0)
        pass_begin(q, pass);
    struct qi_visit v = qi_visit_begin(q, pass->at, UINT64_MAX);
    v.number = pass->number;
    v.old = pass->old;
    v.trim = trim;
    while (pass->tree < trees && pass_tree(&v, pass)) {
        pass->tree++;
        v.low = 0;
    }
    qi_visit_end(&v);
    visit_write(&v);
    pass->at = v.low;
    pass->left += v.left + (v.unwritten != NULL);
    q->paging.away += v.left;
    if (pass->tree < trees)
        return false;
    *left = pass->left;
    pass->number = 0;
    return true;
}

void quire_age(struct quire *q)
{
    uint64_t left;
    while (!qi_work_begin(q))
        host_yield(q->host);
    q->paging.pass.number = 0; /* from the beginning */
    while (!qi_pass_slice(q, false, &left))
        host_yield(q->host);
    qi_work_end(q);
}

/* ---- the end of a page file ---------------------------------------------------------------- */

/* Pages in memory that keep a slot of it have no slot from now on. */
static void slots_forget(struct quire *q, const struct quire_pagefile *file)
{
    struct qi_paging *p = &q->paging;
    struct qi_cpu *cpu = qi_stop_all(q);
    for (uint32_t i = 0; i < q->frames.count; i++) {
        struct qi_frame *r = &q->frames.records[i];
        if (frame_state(r) != QI_FRAME_DATA || r->side == QI_NO_FRAME ||
            &p->files[chunk_of(p, r->side)->file - 1] != file)
            continue;
        qi_paged_release(cpu, r->side);
        r->side = QI_NO_FRAME;
    }
    qi_go_all(q);
}

/* Bring back what of one tree is out in the file. */
static enum quire_status tree_back(struct quire *q, const struct quire_pagefile *file,
                                   uint32_t number, uint32_t tree)
{
    const struct qi_pass pass = {.tree = tree};
    enum quire_status status = QUIRE_OK;
    struct qi_visit v = qi_visit_begin(q, 0, UINT64_MAX);
    v.file = file;
    v.number = number;
    for (bool all = false; !all && status == QUIRE_OK;) {
        uint64_t from = v.low;
        v.missing = 0;
        all = pass_tree(&v, &pass);
        qi_visit_end(&v);
        if (v.missing != 0) { /* then once more over the same, which bears no number yet */
            status = qi_page_in(q, v.missing, false);
            v.low = from;
            all = false;
        }
        if (!all && status == QUIRE_OK)
            qi_visit_again(&v);
    }
    return status;
}

/* Take no new pages, or do again.  The slots of its chunks count or not. */
static void file_leaving(struct quire_pagefile *file, bool leaving)
{
    struct qi_paging *p = &file->q->paging;
    struct qi_cpu *cpu = qi_enter(file->q);
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    file->leaving = leaving;
    p->total = leaving ? p->total - (uint32_t)file->slots : p->total + (uint32_t)file->slots;
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    qi_leave(cpu);
}

/* Nothing names a slot of it; true: it is gone, and so is its handle. */
static bool file_end(struct quire_pagefile *file)
{
    struct quire *q = file->q;
    struct qi_paging *p = &q->paging;
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    bool gone = file->used == 0;
    for (uint32_t i = 0; gone && i < p->max / QI_CHUNK; i++)
        if (p->chunks[i].file == file - p->files + 1)
            p->chunks[i] = (struct qi_chunk){0};
    if (gone) {
        *file = (struct quire_pagefile){0};
        qi_store(&p->live, p->live - 1);
    }
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    qi_leave(cpu);
    return gone;
}

enum quire_status quire_pagefile_remove(struct quire_pagefile *file)
{
    struct quire *q = file->q;
    struct qi_paging *p = &q->paging;
    enum quire_status status = QUIRE_OK;
    file_leaving(file, true);
    slots_forget(q, file);
    while (status == QUIRE_OK && !file_end(file)) { /* again for what leaves tables meanwhile */
        uint32_t number = pass_number(p);
        for (uint32_t tree = 0; status == QUIRE_OK && tree < q->max_spaces + q->max_sections;
             tree++)
            status = tree_back(q, file, number, tree);
        qi_finish(q, QI_ALL_SLICES);
        if (qi_load(&p->transfers_busy) > 0)
            host_wait_io(q->host, NULL);
    }
    if (status != QUIRE_OK)
        file_leaving(file, false);
    return status;
}
