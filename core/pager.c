/* SPDX-License-Identifier: MIT */
/*
 * Transfers: pages that come from a pager, and go back to it.
 *
 *      empty --begin--> busy --done--> own              read: nobody has the page meanwhile
 *                         \----------> empty            the read failed
 *      own, changed --begin--> own, WRITING --done--> own
 *                                        \----------> own, changed      the write failed
 *
 * A page that is being read is busy: whoever wants it waits for the device (host_wait_io), with
 * nothing held, and looks again.  The access that began the read is told if it failed; the others
 * find the slot empty, begin a read of their own, and are told of that one.
 *
 * A page that is being written stays in use.  *Changed* is taken away before the transfer begins,
 * and before every writable view of the page loses its right to write; so whoever writes later sets
 * it again, by a fault or by quire_section_write, and the page is written once more.  What was
 * written before is in the frame, and so in this transfer or the next.  A failed write sets it
 * again too, and a page that is pinned never loses it.  So a page is never taken for unchanged that
 * is not (bugs.md rows 52 to 54).
 *
 * Failed writes are counted for the section, and each caller of quire_section_sync remembers how
 * many it has heard of: nobody misses one, nobody hears of it twice, and nobody's hearing keeps
 * others from it (Linux's errseq_t, 2017).
 *
 * Read ahead.  Reads that go on where the last one ended take twice as many pages each time, up to
 * one transfer; others start with a few.  Pages beyond the wanted one are a by-product: they are
 * taken only if they are empty, follow without a break in the same leaf, and there is memory.
 *
 * Locks: of the tree and one leaf, for the beginning and the end of a transfer; none in between,
 * but a reference to the section.
 */
#include "section.h"

enum { AHEAD_FIRST = 4 };

static struct quire_io *transfer_take(struct qi_cpu *cpu)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    struct quire_io *io = q->free_transfer;
    if (io)
        q->free_transfer = io->next;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    return io;
}

static void transfer_give(struct qi_cpu *cpu, struct quire_io *io)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    io->next = q->free_transfer;
    q->free_transfer = io;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

static void transfer_init(struct quire_io *io, struct quire_section *section, uint64_t page,
                          bool write, struct quire_waiter *waiter)
{
    qi_section_hold(section);
    io->section = section;
    io->cookie = section->cookie;
    io->offset = page << QUIRE_PAGE_SHIFT;
    io->pages = 0;
    io->write = write;
    io->no_wait = false;
    io->waiter = waiter;
}

static uint64_t transfer_page(const struct quire_io *io) { return io->offset >> QUIRE_PAGE_SHIFT; }

/*
 * Let the pager do it; with nothing held.  The record may be another transfer's when this returns.
 * With a waiter: wait, and say whether it worked.
 */
static bool transfer_run(struct quire_io *io, const struct quire_waiter *waiter)
{
    struct quire_section *section = io->section;
    section->pager->start(section->cookie, io);
    if (!waiter)
        return true;
    while (!qi_load(&waiter->done))
        host_wait_io(section->q->host, section);
    return waiter->ok;
}

/* What lies beyond the end of the section in its last page reads as zeros. */
static void clear_tail(const struct quire *q, uint64_t size, uint64_t page, pfn_t pfn)
{
    uint64_t start = page << QUIRE_PAGE_SHIFT;
    qi_assert(size > start); /* who cuts the section off waits for its transfers */
    uint64_t kept = size - start;
    if (kept < QUIRE_PAGE_SIZE)
        memset((unsigned char *)frame_memory(&q->frames, pfn) + kept, 0,
               (size_t)(QUIRE_PAGE_SIZE - kept));
}

static void read_done(struct qi_cpu *cpu, const struct quire_io *io, struct qi_slot *slot, bool ok)
{
    uint64_t size = qi_load(&io->section->size), page = transfer_page(io);
    for (uint32_t i = 0; i < io->pages; i++, page++) {
        entry_t e = entry_from_busy(entry_load(slot->slot));
        qi_assert(entry_pfn(e) == io->frames[i]);
        if (ok) {
            clear_tail(cpu->q, size, page, io->frames[i]);
            entry_store(slot->slot, e);
        } else {
            qi_slot_clear(cpu, slot); /* busy to the end: nobody is to see what the frame held */
        }
        qi_slot_next(slot);
    }
    cpu->stats.pages_read += ok ? io->pages : 0;
    cpu->stats.read_errors += !ok;
}

static void write_done(struct qi_cpu *cpu, const struct quire_io *io, struct qi_slot *slot, bool ok)
{
    for (uint32_t i = 0; i < io->pages; i++, qi_slot_next(slot)) {
        entry_t e = entry_load(slot->slot) & ~ENTRY_WRITING;
        qi_assert(entry_pfn(e) == io->frames[i]);
        entry_store(slot->slot,
                    ok || QI_CANARY(QI_CANARY_FAILED_WRITE_CLEAN) ? e : e | ENTRY_FOLDED);
    }
    cpu->stats.pages_written += ok ? io->pages : 0;
    cpu->stats.write_errors += !ok;
    qi_add(&cpu->q->writes_busy, UINT32_MAX);
    if (!ok)
        qi_add(&io->section->errors, 1);
    qi_write_ended(&cpu->q->paging, ok);
}

static void section_io_done(struct quire_io *io, bool ok)
{
    struct quire_section *section = io->section;
    struct quire *q = section->q;
    struct qi_slot slot, each;
    struct qi_cpu *cpu = qi_enter(q);
    /* The pages keep their leaf: it is not empty. */
    bool there = qi_slot_lock(cpu, section, transfer_page(io), &slot);
    qi_assert(there);
    each = slot;
    if (io->write)
        write_done(cpu, io, &each, ok);
    else
        read_done(cpu, io, &each, ok);
    qi_slot_unlock(cpu, &slot);
    struct quire_waiter *waiter = io->waiter;
    if (!ok && !io->write) /* what was made for the pages may be empty */
        qi_section_trim(cpu, section, transfer_page(io), transfer_page(io) + 1);
    transfer_give(cpu, io);
    qi_section_release(cpu, section);
    qi_leave(cpu);
    qi_finish(q, QI_FEW_SLICES);
    if (waiter) { /* which is gone when it has seen this */
        waiter->ok = ok;
        qi_store(&waiter->done, 1u);
    }
}

void quire_io_done(struct quire_io *io, bool ok)
{
    if (io->ended)
        io->ended(io, ok);
    else if (io->section)
        section_io_done(io, ok);
    else
        qi_page_done(io, ok);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* What bringing a page has come to. */
enum bring {
    BRING_THERE,   /* look again */
    BRING_BEGUN,   /* a transfer is to be run */
    BRING_WAIT,    /* for a transfer of this section */
    BRING_CUT,     /* until another call has cut the section off, or discarded the page */
    BRING_OUT,     /* for a page file */
    BRING_NO_IO,   /* for any: all records are in use */
    BRING_NO_ROOM, /* for memory */
};

/* How many pages to read from `page` on, if they are empty: guessed from what was read before. */
static uint32_t ahead_pages(struct quire_section *section, uint64_t page)
{
    if (page != section->ahead || page == 0)
        section->window = AHEAD_FIRST;
    else if (section->window < QUIRE_IO_PAGES)
        section->window *= 2;
    return section->window;
}

/*
 * Where pages leave for want of memory, none is read ahead with the last frames: they would leave
 * again for the rest of the very fault that is to use the first of them.
 */
static bool reads_ahead(struct qi_cpu *cpu)
{
    enum { LAST = 2 * (QUIRE_LEVELS + 2) + 2 };
    return (qi_load(&cpu->q->paging.live) == 0 || qi_frames_near(cpu) > LAST) &&
           qi_frames_reserve(cpu, 1, false);
}

/* Take empty slots from this one on into a transfer: none that is shut, and as memory allows. */
static void read_collect(struct qi_cpu *cpu, struct quire_io *io, struct qi_slot slot,
                         uint32_t wanted)
{
    const struct qi_frames *f = &cpu->q->frames;
    do {
        if (io->pages > 0 && !reads_ahead(cpu))
            break;
        pfn_t pfn = qi_frame_alloc(cpu, QI_FRAME_DATA, QI_WANT_ANY,
                                   (uint32_t)(transfer_page(io) + io->pages) & (f->colours - 1));
        qi_slot_fill(cpu, &slot, pfn, ENTRY_BUSY);
        io->frames[io->pages++] = pfn;
    } while (io->pages < wanted && qi_slot_next(&slot) && entry_load(slot.slot) == 0 &&
             !qi_section_shut(io->section, transfer_page(io) + io->pages));
}

static void fill_zero(struct qi_cpu *cpu, const struct qi_slot *slot)
{
    pfn_t pfn = qi_frame_alloc(cpu, QI_FRAME_DATA, QI_WANT_ZEROED, qi_frame_any_colour(cpu));
    qi_slot_fill(cpu, slot, pfn, 0);
}

/* How a page is to be brought. */
struct bring_how {
    bool no_wait;
    uint32_t most; /* pages to read at once */
    struct quire_waiter *waiter;
    slot_t slot; /* BRING_OUT: what to read */
};

/*
 * A page that is out of memory comes back without a frame of this call's own: the last one that can
 * be had may be that of this very page, which was read a moment ago.  False: it is not out.
 */
static bool bring_back(struct qi_cpu *cpu, struct quire_section *section, uint64_t page,
                       struct bring_how *how, enum bring *result)
{
    struct qi_slot slot;
    if (!qi_slot_lock(cpu, section, page, &slot))
        return false;
    entry_t e = entry_load(slot.slot);
    qi_slot_unlock(cpu, &slot);
    if (entry_kind(e, 1) != QI_PAGED)
        return false;
    how->slot = entry_slot(e);
    *result = qi_paged_revive(cpu, home_make(slot.table, slot.index)) ? BRING_THERE : BRING_OUT;
    return true;
}

/* One look at a page; it is made, or a transfer for it is begun. */
static enum bring bring_try(struct qi_cpu *cpu, struct quire_section *section, uint64_t page,
                            struct bring_how *how, uint32_t *need, struct quire_io **out)
{
    uint64_t at = page << QUIRE_PAGE_SHIFT;
    struct qi_slot slot;
    *out = NULL;
    if (at >= qi_load(&section->size))
        return BRING_THERE; /* the caller finds that it is beyond the end */
    if (qi_section_shut(section, page))
        return BRING_CUT;
    enum bring result = BRING_NO_ROOM;
    if (bring_back(cpu, section, page, how, &result))
        return result;
    bool paged = qi_section_paged(section);
    if (paged && !(*out = transfer_take(cpu)))
        return BRING_NO_IO;
    if (qi_slot_make(cpu, section, page, 1, need, &slot)) {
        entry_t e = entry_load(slot.slot);
        result = e & ENTRY_BUSY ? BRING_WAIT : BRING_THERE;
        if (e == 0 && !qi_section_shut(section, page)) {
            result = *out ? BRING_BEGUN : BRING_THERE;
            if (*out) {
                uint32_t ahead = ahead_pages(section, page);
                transfer_init(*out, section, page, false, how->waiter);
                (*out)->no_wait = how->no_wait;
                read_collect(cpu, *out, slot, ahead < how->most ? ahead : how->most);
                section->ahead = page + (*out)->pages;
            } else {
                fill_zero(cpu, &slot);
            }
        }
        qi_slot_made(cpu, section, &slot);
    }
    if (*out && result != BRING_BEGUN)
        transfer_give(cpu, *out);
    return result;
}

enum quire_status qi_section_bring(struct quire_section *section, uint64_t page, bool no_wait)
{
    struct quire *q = section->q;
    struct quire_waiter waiter;
    struct bring_how how = {
        .no_wait = no_wait, .most = QUIRE_IO_PAGES, .waiter = no_wait ? NULL : &waiter};
    for (;;) {
        struct quire_io *io;
        uint32_t need = 0;
        waiter = (struct quire_waiter){false, 0};
        struct qi_cpu *cpu = qi_enter(q);
        enum bring result = bring_try(cpu, section, page, &how, &need, &io);
        uint32_t pages = result == BRING_BEGUN ? io->pages : 0;
        qi_leave(cpu);
        if (result == BRING_THERE)
            return QUIRE_OK;
        if (result == BRING_BEGUN) {
            if (transfer_run(io, how.waiter)) /* for others, if this call may not wait */
                return no_wait ? QUIRE_WOULD_WAIT : QUIRE_OK;
            if (pages == 1)
                return QUIRE_IO_ERROR;
            how.most = 1; /* it may have been one of the others that could not be read */
            continue;
        }
        if (result == BRING_OUT) {
            enum quire_status status = qi_page_in(q, how.slot, no_wait);
            if (status != QUIRE_OK)
                return status;
            continue;
        }
        if (result == BRING_NO_ROOM && qi_frames_gather(q, need, false))
            continue;
        if (no_wait)
            return QUIRE_WOULD_WAIT;
        if (result == BRING_WAIT || result == BRING_CUT) {
            if (result == BRING_WAIT)
                host_wait_io(q->host, section);
            else
                host_yield(q->host);
            return QUIRE_OK;
        }
        if (result == BRING_NO_IO)
            host_wait_io(q->host, NULL);
        else if (!qi_wait_for_frames(q, need, false))
            return QUIRE_NO_MEMORY;
    }
}

void quire_section_fetch(struct quire_section *section, uint64_t offset, uint64_t length)
{
    struct quire *q = section->q;
    uint64_t end = qi_pages_up(quire_section_size(section));
    uint64_t page = offset >> QUIRE_PAGE_SHIFT;
    uint64_t last = qi_pages_end(offset, length);
    if (last < end)
        end = last;
    struct bring_how how = {.most = QUIRE_IO_PAGES};
    for (bool more = qi_section_paged(section); more && page < end;) {
        struct quire_io *io;
        uint32_t need = 0;
        struct qi_cpu *cpu = qi_enter(q);
        enum bring result = bring_try(cpu, section, page, &how, &need, &io);
        page += result == BRING_BEGUN ? io->pages : 1;
        qi_leave(cpu);
        if (result == BRING_BEGUN)
            transfer_run(io, NULL);
        more = result != BRING_NO_IO && result != BRING_NO_ROOM;
    }
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool is_changed(entry_t e) { return entry_present(e) && entry_dirty(e); }

/*
 * Take neighbouring changed pages from `page` on into a transfer, none of them shut; *used: some
 * view has one.
 */
static void write_collect(struct qi_cpu *cpu, struct quire_io *io, uint64_t page, uint64_t end,
                          bool *used)
{
    struct quire_section *section = io->section;
    struct qi_slot slot, each;
    *used = false;
    if (!qi_slot_lock(cpu, section, page, &slot))
        return;
    each = slot;
    for (; page < end && io->pages < QUIRE_IO_PAGES; page++) {
        entry_t e = entry_load(each.slot);
        if (!is_changed(e) || (e & ENTRY_WRITING) || qi_section_shut(section, page))
            break;
        entry_store(each.slot, (e & ~ENTRY_FOLDED) | ENTRY_WRITING);
        *used |= qi_slot_uses(cpu->q, &each) > 0;
        io->frames[io->pages++] = entry_pfn(e);
        if (!qi_slot_next(&each))
            break;
    }
    qi_slot_unlock(cpu, &slot);
}

/*
 * A device writes through a pin at any moment, and says nothing: what is pinned stays changed.  The
 * views have lost their right to write, so a pin that comes later marks its page itself.
 */
static void keep_pinned(const struct quire_io *io)
{
    struct quire *q = io->section->q;
    struct qi_slot slot, each;
    struct qi_cpu *cpu = qi_enter(q);
    bool there = qi_slot_lock(cpu, io->section, transfer_page(io), &slot);
    qi_assert(there);
    each = slot;
    for (uint32_t i = 0; i < io->pages; i++, qi_slot_next(&each))
        if (qi_load(&frame_record(&q->frames, io->frames[i])->share) > 0 &&
            !QI_CANARY(QI_CANARY_PINNED_WRITTEN))
            entry_store(each.slot, entry_load(each.slot) | ENTRY_FOLDED);
    qi_slot_unlock(cpu, &slot);
    qi_leave(cpu);
}

/* Write what has changed from `page` on in one transfer; returns the page after it. */
static uint64_t write_run(struct quire_section *section, uint64_t page, uint64_t end, bool awaited)
{
    struct quire *q = section->q;
    struct quire_io *io;
    struct quire_waiter waiter = {false, 0};
    uint32_t pages = 0;
    bool used;
    for (;;) {
        struct qi_cpu *cpu = qi_enter(q);
        io = transfer_take(cpu);
        if (io) {
            transfer_init(io, section, page, true, awaited ? &waiter : NULL);
            write_collect(cpu, io, page, end, &used);
            pages = io->pages;
            if (pages == 0) { /* then it may be another's at once */
                qi_section_release(cpu, section);
                transfer_give(cpu, io);
            }
        }
        qi_leave(cpu);
        if (io)
            break;
        host_wait_io(q->host, NULL);
    }
    if (pages == 0)
        return page + 1;
    uint64_t next = page + pages;
    if (used && qi_load(&section->writers) > 0 && !QI_CANARY(QI_CANARY_SYNC_LEAVES_WRITABLE)) {
        enum quire_status status = qi_views_lose(section, page, next, QI_LOSE_WRITE);
        qi_assert(status == QUIRE_OK); /* taking W away takes no frame */
    }
    keep_pinned(io);
    qi_add(&q->writes_busy, 1);
    transfer_run(io, awaited ? &waiter : NULL);
    return next;
}

/* The first page of [page, end) that is busy or being written; end: none. */
static uint64_t first_in_transfer(const struct quire_section *section, uint64_t page, uint64_t end)
{
    for (; (page = qi_section_next(section, page, end)) < end; page++)
        if (qi_section_peek(section, page) & (ENTRY_BUSY | ENTRY_WRITING))
            break;
    return page;
}

void qi_section_settle(struct quire_section *section, uint64_t first, uint64_t end)
{
    struct quire *q = section->q;
    for (bool more = true; more;) {
        struct qi_cpu *cpu = qi_enter(q);
        more = first_in_transfer(section, first, end) < end;
        qi_leave(cpu);
        if (more)
            host_wait_io(q->host, section);
    }
}

/* The first changed page of [page, end) that is not being written; end: none. */
static uint64_t first_changed(struct quire_section *section, uint64_t page, uint64_t end)
{
    struct qi_cpu *cpu = qi_enter(section->q);
    for (; (page = qi_section_next(section, page, end)) < end; page++) {
        entry_t e = qi_section_peek(section, page);
        if (is_changed(e) && !(e & ENTRY_WRITING))
            break;
    }
    qi_leave(cpu);
    return page;
}

enum quire_status quire_section_sync(struct quire_section *section, uint64_t offset,
                                     uint64_t length, uint32_t flags, uint64_t *errors)
{
    uint64_t first = offset >> QUIRE_PAGE_SHIFT;
    uint64_t end = qi_pages_end(offset, length);
    uint64_t before = errors ? *errors : qi_load(&section->errors);
    bool awaited = !(flags & QUIRE_SYNC_START);
    if (flags & ~(uint32_t)QUIRE_SYNC_START)
        return QUIRE_BAD_FLAGS;
    if (!qi_section_paged(section))
        return QUIRE_OK;
    /* What is being written may have changed since: it is written again after that. */
    if (awaited)
        qi_section_settle(section, first, end);
    for (uint64_t page = first; (page = first_changed(section, page, end)) < end;) {
        if (awaited && qi_section_shut(section, page))
            host_yield(section->q->host); /* it goes; or what takes it fails, and it is written */
        else
            page = write_run(section, page, end, awaited);
    }
    if (awaited)
        qi_section_settle(section, first, end);
    uint64_t after = qi_load(&section->errors);
    if (errors)
        *errors = after;
    return after != before ? QUIRE_IO_ERROR : QUIRE_OK;
}
