/* SPDX-License-Identifier: MIT */
/*
 * Page files, and the transfers between them and memory.
 *
 * A page file is a device behind the same contract as a section's pager.  Its place is dealt out
 * in chunks of slots: a file has a list of chunks, anywhere among the slot numbers, so that a file
 * can grow and go while others stay.
 *
 * Reading.  The slot that is wanted, and its neighbours in an aligned cluster as far as they are
 * out too and there are frames to spare: they left together, so they are likely to be wanted
 * together.  They go to the front of the queue of those that are given away, until one is used.
 * The access that began the read is told if it failed; others try again by themselves.
 *
 * Writing.  The oldest modified page, and its neighbours on the modified list.  A page that is
 * being written does not change: whoever wants it waits.  If the write fails its pages are modified
 * again, at the young end of the list.
 *
 * A file that goes is read whole, in order; a walk over all tables makes resident what names its
 * slots (workset.c).  A page in memory that keeps a slot gives it up, which makes it a changed one.
 *
 * Locks: paging's, for the beginning and the end of a transfer; none in between.
 */
#include "section.h"
#include "workset.h"

/* Slots that are read together, and written together at most. */
enum {
    CLUSTER = 8,
    CLUSTER_OUT = (int)QI_CHUNK < (int)QUIRE_IO_PAGES ? (int)QI_CHUNK : (int)QUIRE_IO_PAGES
};

/* ---- files --------------------------------------------------------------------------------- */

static uint64_t pages_of(uint64_t size) { return size >> QUIRE_PAGE_SHIFT; }

/* Chunks for a file that has room for `slots`; false: there are too few.  Locked. */
static bool file_extend(struct qi_paging *p, struct quire_pagefile *file, uint64_t slots)
{
    uint64_t wanted = (slots + QI_CHUNK - 1) / QI_CHUNK, free = 0;
    for (uint32_t i = 0; i < p->max / QI_CHUNK; i++)
        free += p->chunks[i].file == 0;
    if (wanted > file->chunks + free)
        return false;
    for (uint32_t i = 0; file->chunks < wanted; i++)
        if (p->chunks[i].file == 0)
            p->chunks[i] = (struct qi_chunk){(uint16_t)(file - p->files + 1), 0, file->chunks++};
    p->total += file->leaving ? 0 : (uint32_t)(slots - file->slots);
    file->slots = slots;
    return true;
}

enum quire_status quire_pagefile_add(struct quire *q, const struct quire_pager *pager, void *cookie,
                                     uint64_t size, int priority, uint32_t flags,
                                     struct quire_pagefile **out)
{
    struct qi_paging *p = &q->paging;
    enum quire_status status = QUIRE_TOO_MANY_PAGEFILES;
    if (flags & ~(uint32_t)QUIRE_PAGEFILE_CHECKSUM)
        return QUIRE_BAD_FLAGS;
    if (pages_of(size) == 0)
        return QUIRE_ZERO_LENGTH;
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    struct quire_pagefile *file = p->files;
    while (file < p->files + QUIRE_PAGEFILES && file->pager)
        file++;
    if (file < p->files + QUIRE_PAGEFILES) {
        *file =
            (struct quire_pagefile){.q = q, .cookie = cookie, .priority = priority, .flags = flags};
        if (file_extend(p, file, pages_of(size))) {
            file->pager = pager;
            qi_store(&p->live, p->live + 1);
            *out = file;
            status = QUIRE_OK;
        }
    }
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    qi_leave(cpu);
    return status;
}

enum quire_status quire_pagefile_grow(struct quire_pagefile *file, uint64_t size)
{
    struct quire *q = file->q;
    enum quire_status status = QUIRE_OUT_OF_RANGE;
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &q->paging.lock, QI_RANK_LIST);
    if (pages_of(size) >= file->slots)
        status =
            file_extend(&q->paging, file, pages_of(size)) ? QUIRE_OK : QUIRE_TOO_MANY_PAGEFILES;
    lock_drop(cpu, &q->paging.lock, QI_RANK_LIST);
    qi_leave(cpu);
    return status;
}

void quire_pagefile_info(struct quire_pagefile *file, struct quire_pagefile_info *out)
{
    struct quire *q = file->q;
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &q->paging.lock, QI_RANK_LIST);
    *out = (struct quire_pagefile_info){file->slots, file->used};
    lock_drop(cpu, &q->paging.lock, QI_RANK_LIST);
    qi_leave(cpu);
}

/* ---- transfers ----------------------------------------------------------------------------- */

static struct quire_pagefile *file_of(struct qi_paging *p, slot_t slot)
{
    return &p->files[chunk_of(p, slot)->file - 1];
}

/* A record for a transfer of slots from `first` on, or null.  Locked. */
static struct quire_io *io_take(struct qi_paging *p, slot_t first, uint32_t count, bool write)
{
    struct quire_io *io = p->free_transfer;
    if (!io)
        return NULL;
    struct quire_pagefile *file = file_of(p, first);
    p->free_transfer = io->next;
    *io = (struct quire_io){.file = file,
                            .cookie = file->cookie,
                            .offset = slot_place(p, first) << QUIRE_PAGE_SHIFT,
                            .pages = count,
                            .write = write,
                            .slot = first};
    qi_store(&p->transfers_busy, p->transfers_busy + 1);
    return io;
}

/* FNV-1a over words, folded. */
static uint32_t checksum(const struct quire *q, pfn_t pfn)
{
    const uint64_t *words = frame_memory(&q->frames, pfn);
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (unsigned i = 0; i < QUIRE_PAGE_SIZE / sizeof *words; i++)
        sum = (sum ^ words[i]) * UINT64_C(0x100000001b3);
    return (uint32_t)(sum ^ sum >> 32);
}

static bool is_state(const struct qi_paging *p, slot_t slot, enum qi_paged_state state)
{
    return qi_load(&paged_record(p, slot)->state) == (uint32_t)state;
}

/* The run of slots in one state around `slot`, between two borders. */
static slot_t run_first(const struct qi_paging *p, slot_t slot, slot_t low,
                        enum qi_paged_state state)
{
    while (slot > low && is_state(p, slot - 1, state))
        slot--;
    return slot;
}
static uint32_t run_length(const struct qi_paging *p, slot_t first, slot_t end,
                           enum qi_paged_state state)
{
    uint32_t n = 0;
    while (first + n < end && is_state(p, first + n, state))
        n++;
    return n;
}

/* Where the chunk, or the cluster, of a slot begins. */
static slot_t group_start(slot_t slot, uint32_t size) { return (slot - 1) / size * size + 1; }

/* ---- reading ------------------------------------------------------------------------------- */

/* What a look at a slot has come to. */
enum in { IN_THERE, IN_BEGUN, IN_WAIT, IN_NO_IO, IN_NO_ROOM };

/* Take slots around the wanted one into a transfer, which has `most` frames.  Locked. */
static struct quire_io *in_collect(struct qi_paging *p, slot_t slot, uint32_t most)
{
    slot_t low = group_start(slot, CLUSTER), first = slot;
    if (most > 1)
        first = run_first(p, slot, low, QI_PAGED_OUT);
    if (slot - first >= most)
        first = slot;
    uint32_t count = run_length(p, first, low + CLUSTER, QI_PAGED_OUT);
    if (count > most)
        count = most;
    struct quire_io *io = io_take(p, first, count, false);
    if (io)
        io->wanted = slot - first;
    for (uint32_t i = 0; io && i < count; i++)
        qi_store(&paged_record(p, first + i)->state, (uint32_t)QI_PAGED_READING);
    return io;
}

static enum in in_try(struct qi_cpu *cpu, slot_t slot, uint32_t most, struct quire_io **out)
{
    struct quire *q = cpu->q;
    struct qi_paging *p = &q->paging;
    if (!qi_reserve(cpu, 1, false, QI_SITE_PAGE_IN))
        return IN_NO_ROOM;
    if (most > cpu->cache.count) /* what is there anyway */
        most = cpu->cache.count;
    enum in result = IN_THERE;
    *out = NULL;
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    uint32_t state = qi_load(&paged_record(p, slot)->state);
    if (state == QI_PAGED_OUT) {
        *out = in_collect(p, slot, most);
        result = *out ? IN_BEGUN : IN_NO_IO;
    } else if (state == QI_PAGED_READING || state == QI_PAGED_WRITING) {
        result = IN_WAIT;
    }
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    for (uint32_t i = 0; *out && i < (*out)->pages; i++) {
        pfn_t pfn = qi_frame_alloc(cpu, QI_FRAME_LISTED, QI_WANT_ANY, qi_frame_any_colour(cpu));
        frame_record(&q->frames, pfn)->slot = (*out)->slot + i;
        (*out)->frames[i] = pfn;
        paged_record(p, (*out)->slot + i)->page = pfn;
    }
    return result;
}

static bool io_run(struct quire_io *io, struct quire *q, struct quire_waiter *waiter)
{
    io->waiter = waiter;
    io->file->pager->start(io->cookie, io);
    while (waiter && !qi_load(&waiter->done))
        host_wait_io(q->host, NULL);
    return !waiter || waiter->ok;
}

enum quire_status qi_page_in(struct quire *q, slot_t slot, bool no_wait)
{
    for (uint32_t most = CLUSTER;;) {
        struct quire_waiter waiter = {false, 0};
        struct quire_io *io;
        struct qi_cpu *cpu = qi_enter(q);
        enum in result = in_try(cpu, slot, most, &io);
        qi_leave(cpu);
        if (result == IN_THERE)
            return QUIRE_OK;
        if (result == IN_BEGUN) {
            uint32_t pages = io->pages;
            io->no_wait = no_wait;
            if (io_run(io, q, no_wait ? NULL : &waiter)) /* for others, if this may not wait */
                return no_wait ? QUIRE_WOULD_WAIT : QUIRE_OK;
            if (pages == 1)
                return QUIRE_IO_ERROR;
            most = 1; /* it may have been one of the others that could not be read */
            continue;
        }
        if (result == IN_NO_ROOM && qi_frames_gather(q, 1, false))
            continue;
        if (no_wait)
            return QUIRE_WOULD_WAIT;
        if (result == IN_NO_ROOM) {
            if (!qi_wait_for_frames(q, 1, false))
                return QUIRE_NO_MEMORY;
            continue;
        }
        host_wait_io(q->host, NULL);
        if (result == IN_WAIT)
            return QUIRE_OK;
    }
}

void qi_page_ahead(struct quire *q, slot_t slot)
{
    struct quire_io *io;
    struct qi_cpu *cpu = qi_enter(q);
    enum in result = in_try(cpu, slot, CLUSTER, &io);
    qi_leave(cpu);
    if (result == IN_BEGUN)
        io_run(io, q, NULL);
}

/* ---- writing ------------------------------------------------------------------------------- */

bool qi_page_out(struct quire *q)
{
    struct qi_paging *p = &q->paging;
    struct quire_io *io = NULL;
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    if (p->modified.head != QI_NO_FRAME) {
        slot_t slot = (slot_t)frame_record(&q->frames, p->modified.head)->slot;
        slot_t low = group_start(slot, QI_CHUNK);
        slot_t first = run_first(p, slot, low, QI_PAGED_MODIFIED);
        if (slot - first >= CLUSTER_OUT)
            first = slot;
        uint32_t count = run_length(p, first, low + QI_CHUNK, QI_PAGED_MODIFIED);
        if (count > CLUSTER_OUT)
            count = CLUSTER_OUT;
        io = io_take(p, first, count, true);
        for (uint32_t i = 0; io && i < count; i++) {
            qi_paged_unlist(q, first + i);
            qi_store(&paged_record(p, first + i)->state, (uint32_t)QI_PAGED_WRITING);
            io->frames[i] = paged_record(p, first + i)->page;
        }
    }
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    qi_leave(cpu);
    if (!io)
        return false;
    /* Nobody changes what is being written. */
    for (uint32_t i = 0; (io->file->flags & QUIRE_PAGEFILE_CHECKSUM) && i < io->pages; i++)
        paged_record(p, io->slot + i)->sum = checksum(q, io->frames[i]);
    io_run(io, q, NULL);
    return true;
}

/* ---- the end of a transfer ----------------------------------------------------------------- */

/* One page; true: its frame is free.  Locked. */
static bool page_done(struct quire *q, const struct quire_io *io, uint32_t i, bool ok)
{
    struct qi_paging *p = &q->paging;
    slot_t slot = io->slot + i;
    struct qi_paged *record = paged_record(p, slot);
    if (is_state(p, slot, QI_PAGED_GONE)) {
        qi_paged_free(p, slot);
        return true;
    }
    if (!ok && !io->write && !QI_CANARY(QI_CANARY_UNREAD_IS_THERE)) {
        qi_store(&record->state, (uint32_t)QI_PAGED_OUT);
        return true;
    }
    enum qi_standby list = i == io->wanted ? QI_STANDBY_NORMAL : QI_STANDBY_UNPROVEN;
    if (io->write) /* the one that it left for */
        list = (enum qi_standby)frame_record(&q->frames, record->page)->level;
    bool clean = ok || QI_CANARY(QI_CANARY_UNWRITTEN_IS_STANDBY);
    qi_paged_list(q, slot, clean ? QI_PAGED_STANDBY : QI_PAGED_MODIFIED, list);
    return false;
}

/* What was read is what was written, page for page. */
static bool sums_right(const struct quire *q, const struct quire_io *io)
{
    if (io->write || !(io->file->flags & QUIRE_PAGEFILE_CHECKSUM))
        return true;
    for (uint32_t i = 0; i < io->pages; i++)
        if (paged_record(&q->paging, io->slot + i)->sum != checksum(q, io->frames[i]))
            return false;
    return true;
}

void qi_page_done(struct quire_io *io, bool ok)
{
    struct quire *q = io->file->q;
    struct qi_paging *p = &q->paging;
    struct quire_waiter *waiter = io->waiter;
    bool gone[QUIRE_IO_PAGES];
    ok = ok && sums_right(q, io);
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    for (uint32_t i = 0; i < io->pages; i++)
        gone[i] = page_done(q, io, i, ok);
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    for (uint32_t i = 0; i < io->pages; i++)
        if (gone[i])
            qi_frame_free(cpu, io->frames[i]);
    if (io->write) {
        cpu->stats.paged_out += ok ? io->pages : 0;
        cpu->stats.page_write_errors += !ok;
        qi_write_ended(p, ok);
    } else {
        cpu->stats.paged_in += ok ? io->pages : 0;
        cpu->stats.paged_around += ok ? io->pages - 1 : 0;
        cpu->stats.page_read_errors += !ok;
    }
    lock_take(cpu, &p->lock, QI_RANK_LIST);
    io->next = p->free_transfer;
    p->free_transfer = io;
    qi_store(&p->transfers_busy, p->transfers_busy - 1);
    lock_drop(cpu, &p->lock, QI_RANK_LIST);
    qi_leave(cpu);
    if (waiter) { /* which is gone when it has seen this */
        waiter->ok = ok;
        qi_store(&waiter->done, 1u);
    }
}
