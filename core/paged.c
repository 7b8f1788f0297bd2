/* SPDX-License-Identifier: MIT */
/*
 * Paged pages: what an entry names whose page has left its working set.
 *
 * Such an entry names a slot, the page's place in a page file, and nothing else; whether the page
 * is still in memory is known by the slot's record.  So an entry changes when a page leaves
 * its working set and when it comes back, and in between nobody has to find it: writing the page,
 * giving its frame away and reading it again are matters of the record and the frame.  That is why
 * fork, unmap, move and all the rest meet one more kind of entry, and no transfer: what they may do
 * with a page on a list, on the device or on the way they may do in the same way.
 *
 *      own, borrowed ...                 entry              paged (slot 17)
 *           |                                                   |
 *         frame            --- leaves, workset.c --->        record 17: MODIFIED, its frame
 *                                                            record 17: WRITING
 *                                                            record 17: STANDBY, its frame
 *                          <--- qi_paged_revive ---          record 17: OUT
 *
 * A slot has one owner: a home (entries that borrow name the home, never the slot).  When a page
 * comes back its frame keeps the slot while there are enough of them; so a page that leaves again
 * without having been written needs no transfer.  A page in memory without a slot has no other
 * copy, and counts as changed.
 *
 * Leaving happens while all other calls are kept out (qi_stop_all), since it changes entries of
 * tables that several spaces share; so what a call has found in memory stays there until it ends,
 * and all that tables, homes and copies are built on goes on holding.  Coming back happens at any
 * time, under the lock of the home's table.
 *
 * New slots are dealt out in order, so that pages which leave together lie together, are written by
 * one transfer, and are read by one.
 *
 * Locks: one, of the class list, for all records, lists and files.
 */
#include "paged.h"

#include "table.h"

/* ---- lists --------------------------------------------------------------------------------- */

static void list_add(struct qi_frames *f, struct qi_list *list, pfn_t pfn, bool first)
{
    struct qi_frame *r = frame_record(f, pfn);
    r->next = first ? list->head : QI_NO_FRAME;
    r->prev = first ? QI_NO_FRAME : list->tail;
    if (r->next != QI_NO_FRAME)
        frame_record(f, r->next)->prev = pfn;
    else
        list->tail = pfn;
    if (r->prev != QI_NO_FRAME)
        frame_record(f, r->prev)->next = pfn;
    else
        list->head = pfn;
    qi_store(&list->count, list->count + 1);
}

static void list_remove(struct qi_frames *f, struct qi_list *list, pfn_t pfn)
{
    struct qi_frame *r = frame_record(f, pfn);
    if (r->next != QI_NO_FRAME)
        frame_record(f, r->next)->prev = r->prev;
    else
        list->tail = r->prev;
    if (r->prev != QI_NO_FRAME)
        frame_record(f, r->prev)->next = r->next;
    else
        list->head = r->next;
    qi_store(&list->count, list->count - 1);
}

/* The list that a frame is on: its record says which, in `level`. */
static struct qi_list *list_of(struct qi_paging *p, const struct qi_frame *r, uint32_t state)
{
    return state == QI_PAGED_MODIFIED ? &p->modified : &p->standby[r->level];
}

void qi_paged_list(struct quire *q, slot_t slot, enum qi_paged_state state, enum qi_standby list)
{
    struct qi_paging *p = &q->paging;
    struct qi_paged *record = paged_record(p, slot);
    struct qi_frame *r = frame_record(&q->frames, record->page);
    r->level = (uint8_t)list;
    qi_store(&record->state, (uint32_t)state);
    list_add(&q->frames, list_of(p, r, state), record->page, list == QI_STANDBY_UNPROVEN);
}

void qi_paged_unlist(struct quire *q, slot_t slot)
{
    struct qi_paging *p = &q->paging;
    const struct qi_paged *record = paged_record(p, slot);
    list_remove(&q->frames,
                list_of(p, frame_record(&q->frames, record->page), qi_load(&record->state)),
                record->page);
}

/* ---- slots --------------------------------------------------------------------------------- */

/* A slot of it is free.  The file may be shorter than its last chunk. */
static bool chunk_open(const struct qi_paging *p, const struct qi_chunk *chunk)
{
    if (!chunk->file || p->files[chunk->file - 1].leaving)
        return false;
    uint64_t places = p->files[chunk->file - 1].slots - (uint64_t)chunk->number * QI_CHUNK;
    return chunk->used < (places < QI_CHUNK ? places : QI_CHUNK);
}

/* No file takes a page: then nobody looks at all chunks for each page that would leave. */
static bool files_full(const struct qi_paging *p)
{
    for (unsigned i = 0; i < QUIRE_PAGEFILES; i++)
        if (p->files[i].pager && !p->files[i].leaving && p->files[i].used < p->files[i].slots)
            return false;
    return true;
}

/* The first slot of the best chunk: of the file with the highest priority, and empty if one is. */
static slot_t chunk_find(const struct qi_paging *p)
{
    const struct qi_chunk *best = NULL;
    if (files_full(p))
        return 0;
    for (uint32_t i = 0; i < p->max / QI_CHUNK; i++) {
        const struct qi_chunk *chunk = &p->chunks[i];
        if (!chunk_open(p, chunk))
            continue;
        int more =
            best ? p->files[chunk->file - 1].priority - p->files[best->file - 1].priority : 1;
        if (more > 0 || (more == 0 && best->used > 0 && chunk->used == 0))
            best = chunk;
    }
    return best ? (slot_t)(best - p->chunks) * QI_CHUNK + 1 : 0;
}

/* The file may be shorter than its last chunk. */
static bool slot_free(const struct qi_paging *p, slot_t slot)
{
    return qi_load(&paged_record(p, slot)->state) == QI_PAGED_FREE &&
           slot_place(p, slot) < p->files[chunk_of(p, slot)->file - 1].slots;
}

/* From the cursor to the end of its chunk. */
static slot_t slot_next(const struct qi_paging *p)
{
    slot_t slot = p->cursor;
    if (slot == 0 || !chunk_open(p, chunk_of(p, slot)))
        return 0;
    do
        if (slot_free(p, slot))
            return slot;
    while (slot++ % QI_CHUNK != 0);
    return 0;
}

slot_t qi_paged_new(struct qi_cpu *cpu)
{
    struct qi_paging *p = &cpu->q->paging;
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    slot_t slot = slot_next(p);
    if (slot == 0) {
        p->cursor = chunk_find(p);
        slot = slot_next(p);
    }
    if (slot != 0) {
        struct qi_chunk *chunk = chunk_of(p, slot);
        chunk->used++;
        p->files[chunk->file - 1].used++;
        p->used++;
        p->cursor = slot % QI_CHUNK == 0 ? 0 : slot + 1;
        qi_store(&paged_record(p, slot)->state, (uint32_t)QI_PAGED_KEPT);
    }
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    return slot;
}

void qi_paged_free(struct qi_paging *p, slot_t slot)
{
    struct qi_chunk *chunk = chunk_of(p, slot);
    struct quire_pagefile *file = &p->files[chunk->file - 1];
    qi_assert(chunk->used > 0);
    chunk->used--;
    file->used--;
    p->used--;
    qi_store(&paged_record(p, slot)->state, (uint32_t)QI_PAGED_FREE);
    if (file->pager->forget)
        file->pager->forget(file->cookie, slot_place(p, slot) << QUIRE_PAGE_SHIFT, 1);
}

void qi_paged_release(struct qi_cpu *cpu, slot_t slot)
{
    struct qi_paging *p = &cpu->q->paging;
    struct qi_paged *record = paged_record(p, slot);
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    uint32_t state = qi_load(&record->state);
    bool listed = state == QI_PAGED_STANDBY || state == QI_PAGED_MODIFIED;
    pfn_t page = record->page;
    if (listed)
        qi_paged_unlist(cpu->q, slot);
    if ((state == QI_PAGED_READING || state == QI_PAGED_WRITING) &&
        !QI_CANARY(QI_CANARY_SLOT_FREE_TOO_EARLY))
        qi_store(&record->state, (uint32_t)QI_PAGED_GONE);
    else
        qi_paged_free(p, slot);
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    if (listed)
        qi_frame_free(cpu, page);
}

/* ---- leaving and coming back --------------------------------------------------------------- */

void qi_paged_put(struct qi_cpu *cpu, slot_t slot, pfn_t page, bool changed, bool cold)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = frame_record(&q->frames, page);
    qi_frame_set_state(cpu, page, QI_FRAME_LISTED);
    r->slot = slot;
    r->side = QI_NO_FRAME;
    lock_take(cpu, &q->paging.lock, QI_RANK_LIST);
    paged_record(&q->paging, slot)->page = page;
    qi_paged_list(q, slot, changed ? QI_PAGED_MODIFIED : QI_PAGED_STANDBY,
                  cold ? QI_STANDBY_COLD : QI_STANDBY_NORMAL);
    lock_drop(cpu, &q->paging.lock, QI_RANK_LIST);
}

/* Slots are kept for pages in memory while at least a quarter of them is free. */
static bool can_keep(const struct qi_paging *p, slot_t slot)
{
    return (uint64_t)p->used * 4 < (uint64_t)p->total * 3 &&
           !p->files[chunk_of(p, slot)->file - 1].leaving;
}

pfn_t qi_paged_get(struct qi_cpu *cpu, slot_t slot, bool *changed)
{
    struct quire *q = cpu->q;
    struct qi_paging *p = &q->paging;
    struct qi_paged *record = paged_record(p, slot);
    pfn_t page = QI_NO_FRAME;
    bool keep = false;
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    uint32_t state = qi_load(&record->state);
    if (state == QI_PAGED_STANDBY || state == QI_PAGED_MODIFIED) {
        page = record->page;
        keep = (state == QI_PAGED_STANDBY || QI_CANARY(QI_CANARY_UNWRITTEN_IS_CLEAN)) &&
               can_keep(p, slot);
        *changed = !keep;
        qi_paged_unlist(q, slot);
        if (keep)
            qi_store(&record->state, (uint32_t)QI_PAGED_KEPT);
        else
            qi_paged_free(p, slot);
    }
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    if (page != QI_NO_FRAME) {
        struct qi_frame *r = frame_record(&q->frames, page);
        qi_frame_set_state(cpu, page, QI_FRAME_DATA);
        r->level = 0;
        r->next = r->prev = QI_NO_FRAME;
        r->side = keep ? slot : QI_NO_FRAME;
        cpu->stats.soft_faults++;
    }
    return page;
}

bool qi_paged_revive(struct qi_cpu *cpu, home_t home)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = frame_record(&q->frames, home_table(home));
    entry_t *slot = &table_entries(q, home_table(home))[home_index(home)];
    const uint32_t tables = 1u << QI_FRAME_TABLE | 1u << QI_FRAME_DYING | 1u << QI_FRAME_SECTION;
    bool there = true, changed = true;
    lock_take(cpu, &r->lock, QI_RANK_TABLE);
    entry_t e = 1u << frame_state(r) & tables ? entry_load(slot) : 0;
    if (entry_kind(e, 1) == QI_PAGED) {
        pfn_t page = qi_paged_get(cpu, entry_slot(e), &changed);
        there = page != QI_NO_FRAME;
        if (there) {
            entry_t dirty = changed ? ENTRY_FOLDED : 0;
            entry_t back = frame_state(r) == QI_FRAME_SECTION
                               ? entry_own(page, 0, false)
                               : entry_absent(QI_CODE_BARRED, page, 0);
            qi_store(&frame_record(&q->frames, page)->home, home);
            entry_store(slot, back | dirty | ENTRY_ACCESSED); /* whoever wants it comes next */
        }
    }
    lock_drop(cpu, &r->lock, QI_RANK_TABLE);
    return there;
}

uint32_t qi_paged_steal(struct qi_cpu *cpu, uint32_t most)
{
    struct quire *q = cpu->q;
    struct qi_paging *p = &q->paging;
    uint32_t count = 0;
    for (unsigned i = 0; i < QI_STANDBY_LISTS && count < most;) {
        lock_take(cpu, &p->lock, QI_RANK_LIST);
        pfn_t page = p->standby[i].head;
        if (page != QI_NO_FRAME) {
            slot_t slot = (slot_t)frame_record(&q->frames, page)->slot;
            qi_paged_unlist(q, slot);
            qi_store(&paged_record(p, slot)->state, (uint32_t)QI_PAGED_OUT);
        }
        lock_drop(cpu, &p->lock, QI_RANK_LIST);
        if (page == QI_NO_FRAME) {
            i++;
            continue;
        }
        qi_frame_free(cpu, page);
        count++;
    }
    cpu->stats.stolen += count;
    return count;
}

void qi_paging_init(struct quire *q, const struct quire_config *config)
{
    struct qi_paging *p = &q->paging;
    p->keep_free = config->keep_free;
    p->policy = config->policy ? config->policy : &quire_policy_aging;
    p->low_memory = config->low_memory;
    p->pass.old = p->policy->old;
    p->modified = (struct qi_list){QI_NO_FRAME, QI_NO_FRAME, 0};
    for (unsigned i = 0; i < QI_STANDBY_LISTS; i++)
        p->standby[i] = p->modified;
    memset(p->slots, 0, p->max * sizeof *p->slots);
    memset(p->chunks, 0, p->max / QI_CHUNK * sizeof *p->chunks);
    for (uint32_t i = 0; i < p->max_transfers; i++) {
        p->transfers[i].next = p->free_transfer;
        p->free_transfer = &p->transfers[i];
    }
}
