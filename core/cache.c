/* SPDX-License-Identifier: MIT */
/*
 * The page cache is the section: reading, writing, cutting and forgetting its bytes.
 *
 * quire_section_read and quire_section_write copy to and from the very frames that views map, so
 * there is nothing to be kept equal.  A write happens under the lock of the page's leaf, with the
 * mark that the page has changed: so a page is never purged, nor taken for written back, between
 * the two.  A read takes no lock: the frame stays what it is until this call has ended, even if the
 * page leaves the section meanwhile.
 *
 * A page that is written as a whole, or beyond which the section ends, is not read first.
 *
 * Cutting.  The order is: a lower `limit`, below which everything goes on, and above which faults,
 * reads and writes wait; transfers above it end; every view of it is taken away, space by space;
 * the pages go; the new size.  Before the pages go nothing was seen by anybody but a wait, so a cut
 * that finds no memory (shared tables have to be left to take a view away) puts the limit back, and
 * nothing has happened.  A fork may hand on what one space still had: the counts of the pages say
 * so, and the round is made again.  What private views have copied is theirs (Linux unmaps that as
 * well; nothing in POSIX asks for it).
 *
 * The rest of the last page is cleared when the section is cut, and when it grows, since views may
 * have written there; so nothing that was cut off is ever seen again.
 *
 * Locks: a reference of the caller's; of one leaf at a time, with the tree's where pages come or
 * go.
 */
#include "section.h"

/* ---- reading and writing ------------------------------------------------------------------- */

/* The part of one page that a copy is about. */
struct piece {
    uint64_t at; /* of the section, bytes */
    size_t n;
};

static struct piece piece_at(const struct quire_section *section, uint64_t at, size_t length)
{
    uint64_t size = quire_section_size(section);
    size_t n = (size_t)(QUIRE_PAGE_SIZE - (at & (QUIRE_PAGE_SIZE - 1)));
    if (at >= size)
        return (struct piece){at, 0};
    if (n > size - at)
        n = (size_t)(size - at);
    return (struct piece){at, n < length ? n : length};
}

static unsigned char *page_bytes(const struct quire *q, entry_t e, uint64_t at)
{
    return (unsigned char *)frame_memory(&q->frames, entry_pfn(e)) + (at & (QUIRE_PAGE_SIZE - 1));
}

/* For the visits that look for pages which nobody uses. */
static void page_used(struct qi_cpu *cpu, const struct quire_section *section, uint64_t page)
{
    struct qi_slot slot;
    if (!qi_slot_lock(cpu, section, page, &slot))
        return;
    entry_t e = entry_load(slot.slot);
    if (entry_present(e))
        entry_store(slot.slot, e | ENTRY_ACCESSED);
    qi_slot_unlock(cpu, &slot);
}

/* False: the page has to be brought first. */
static bool piece_read(struct quire_section *section, struct piece p, void *to)
{
    struct quire *q = section->q;
    struct qi_cpu *cpu = qi_enter(q);
    entry_t e = qi_section_peek(section, p.at >> QUIRE_PAGE_SHIFT);
    bool cut = p.at + p.n > qi_load(&section->limit); /* it may be cleared there already */
    bool there = entry_present(e) && !cut;
    if (there && !(e & ENTRY_ACCESSED))
        page_used(cpu, section, p.at >> QUIRE_PAGE_SHIFT);
    if (there) {
        QI_TOUCH_ALL(frame_memory(&q->frames, entry_pfn(e)), false);
        memcpy(to, page_bytes(q, e, p.at), p.n);
    } else if (e == 0 && !cut && !qi_section_paged(section)) {
        memset(to, 0, p.n); /* shared memory that nobody has touched */
        there = true;
    }
    qi_leave(cpu);
    return there;
}

/* A page that is all new: no byte of what the pager has is left of it. */
static bool piece_whole(const struct quire_section *section, struct piece p)
{
    return (p.at & (QUIRE_PAGE_SIZE - 1)) == 0 &&
           (p.n == QUIRE_PAGE_SIZE || p.at + p.n >= quire_section_size(section));
}

static void slot_write(struct quire *q, const struct qi_slot *slot, struct piece p,
                       const void *from)
{
    entry_t e = entry_load(slot->slot);
    QI_TOUCH_ALL(frame_memory(&q->frames, entry_pfn(e)), true);
    memcpy(page_bytes(q, e, p.at), from, p.n);
    entry_store(slot->slot, e | ENTRY_FOLDED | ENTRY_ACCESSED);
}

/* A page that is all new: readers take no lock, so it has its bytes before it is there. */
static void slot_fill_with(struct qi_cpu *cpu, const struct qi_slot *slot, struct piece p,
                           const void *from)
{
    pfn_t pfn =
        qi_frame_alloc(cpu, QI_FRAME_DATA, p.n < QUIRE_PAGE_SIZE ? QI_WANT_ZEROED : QI_WANT_ANY,
                       qi_frame_any_colour(cpu));
    memcpy(frame_memory(&cpu->q->frames, pfn), from, p.n);
    qi_slot_fill(cpu, slot, pfn, ENTRY_FOLDED);
}

/* What a try has come to. */
enum try { TRY_DONE, TRY_BRING, TRY_NO_ROOM, TRY_SEALED };

static enum try piece_write(struct quire_section *section, struct piece p, const void *from,
                            uint32_t *need)
{
    struct quire *q = section->q;
    struct qi_cpu *cpu = qi_enter(q);
    struct qi_slot slot;
    uint64_t page = p.at >> QUIRE_PAGE_SHIFT;
    enum try result = TRY_BRING;
    if (qi_load(&section->seals) & QUIRE_SEAL_WRITE) { /* whoever seals waits for this call */
        qi_leave(cpu);
        return TRY_SEALED;
    }
    if (qi_slot_lock(cpu, section, page, &slot)) {
        entry_t e = entry_load(slot.slot);
        if (entry_present(e) && p.at + p.n <= qi_load(&section->limit)) {
            slot_write(q, &slot, p, from);
            result = TRY_DONE;
        }
        qi_slot_unlock(cpu, &slot);
    }
    if (result == TRY_BRING && piece_whole(section, p)) {
        result = TRY_NO_ROOM;
        if (qi_slot_make(cpu, section, page, 1, need, &slot)) {
            result = TRY_BRING;
            /* The size may have changed since it was asked. */
            if (entry_load(slot.slot) == 0 && p.at + p.n <= qi_load(&section->limit) &&
                piece_whole(section, p)) {
                slot_fill_with(cpu, &slot, p, from);
                result = TRY_DONE;
            }
            qi_slot_made(cpu, section, &slot);
        }
    }
    qi_leave(cpu);
    return result;
}

/* With nothing held: what a piece needs before it can be tried again; QUIRE_OK: there is. */
static enum quire_status piece_again(struct quire_section *section, struct piece p, enum try why,
                                     uint32_t need, bool no_wait)
{
    struct quire *q = section->q;
    if (why == TRY_BRING && p.at + p.n > qi_load(&section->limit)) { /* it is being cut off here */
        if (!no_wait)
            host_yield(q->host);
        return no_wait ? QUIRE_WOULD_WAIT : QUIRE_OK;
    }
    if (why == TRY_BRING)
        return qi_section_bring(section, p.at >> QUIRE_PAGE_SHIFT, no_wait);
    if (qi_frames_gather(q, need, false))
        return QUIRE_OK;
    if (no_wait)
        return QUIRE_WOULD_WAIT;
    return qi_wait_for_frames(q, need, false) ? QUIRE_OK : QUIRE_NO_MEMORY;
}

static enum quire_status copy(struct quire_section *section, uint64_t offset, unsigned char *to,
                              const unsigned char *from, size_t length, uint32_t access,
                              size_t *done)
{
    bool no_wait = (access & QUIRE_NO_WAIT) != 0;
    enum quire_status status = QUIRE_OK;
    size_t copied = 0;
    if (access & ~(uint32_t)QUIRE_NO_WAIT)
        status = QUIRE_BAD_FLAGS;
    else if (offset + length < offset)
        status = QUIRE_WRAPS;
    while (status == QUIRE_OK && copied < length) {
        struct piece p = piece_at(section, offset + copied, length - copied);
        uint32_t need = 0;
        if (p.n == 0)
            break;
        enum try result = TRY_DONE;
        if (from)
            result = piece_write(section, p, from + copied, &need);
        else if (!piece_read(section, p, to + copied))
            result = TRY_BRING;
        if (result == TRY_DONE)
            copied += p.n;
        else if (result == TRY_SEALED)
            status = QUIRE_SEALED;
        else
            status = piece_again(section, p, result, need, no_wait);
    }
    if (done)
        *done = copied;
    return status;
}

enum quire_status quire_section_read(struct quire_section *section, uint64_t offset, void *to,
                                     size_t length, uint32_t access, size_t *done)
{
    return copy(section, offset, to, NULL, length, access, done);
}

enum quire_status quire_section_write(struct quire_section *section, uint64_t offset,
                                      const void *from, size_t length, uint32_t access,
                                      size_t *done)
{
    return copy(section, offset, NULL, from, length, access, done);
}

/* ---- forgetting ---------------------------------------------------------------------------- */

/* A page that nobody uses goes, whatever it holds; purged: if the pager has it, and nobody has
 * pinned it. */
static bool goes(const struct quire *q, const struct qi_slot *slot, entry_t e, bool purge)
{
    if (entry_kind(e, 1) == QI_PAGED) /* so nobody uses it */
        return !purge;
    if (!entry_present(e) || (e & ENTRY_WRITING) || qi_slot_uses(q, slot) > 0)
        return false;
    return !purge ||
           (!entry_dirty(e) && qi_load(&frame_record(&q->frames, entry_pfn(e))->share) == 0);
}

/* Pages of [first, end) in one leaf; *left: some stayed.  Returns how many went. */
static uint64_t leaf_pass(struct qi_cpu *cpu, struct quire_section *section, uint64_t first,
                          uint64_t end, bool purge, bool *left)
{
    struct quire *q = cpu->q;
    struct qi_slot slot, each;
    uint64_t went = 0;
    if (!qi_slot_lock(cpu, section, first, &slot))
        return 0;
    each = slot;
    do {
        entry_t e = entry_load(each.slot);
        if (goes(q, &each, e, purge)) {
            qi_slot_clear(cpu, &each);
            went++;
        } else {
            *left |= e != 0;
        }
    } while (++first < end && qi_slot_next(&each));
    qi_slot_unlock(cpu, &slot);
    return went;
}

static uint64_t pages_pass(struct quire_section *section, uint64_t first, uint64_t end, bool purge,
                           bool *left)
{
    struct quire *q = section->q;
    uint64_t went = 0;
    *left = false;
    for (uint64_t page = first; page < end;) {
        struct qi_cpu *cpu = qi_enter(q);
        page = qi_section_next(section, page, end);
        if (page < end)
            went += leaf_pass(cpu, section, page, end, purge, left);
        qi_leave(cpu);
        page = page < end ? (page | (QUIRE_TABLE_ENTRIES - 1)) + 1 : end;
        host_yield(q->host);
    }
    struct qi_cpu *cpu = qi_enter(q);
    qi_section_trim(cpu, section, first, end);
    qi_leave(cpu);
    return went;
}

/* Does some view still have a page of [first, end)? */
static bool any_used(struct quire_section *section, uint64_t first, uint64_t end)
{
    struct quire *q = section->q;
    bool used = false;
    for (uint64_t page = first; page < end && !used;) {
        struct qi_cpu *cpu = qi_enter(q);
        struct qi_slot slot;
        page = qi_section_next(section, page, end);
        if (page < end && qi_slot_lock(cpu, section, page, &slot)) {
            const struct qi_frame *r = table_record(q, slot.table);
            struct qi_slot each = slot;
            for (uint64_t at = page; r->side != QI_NO_FRAME && at < end && !used; at++) {
                used = qi_slot_uses(q, &each) > 0;
                if (!qi_slot_next(&each))
                    break;
            }
            qi_slot_unlock(cpu, &slot);
        }
        qi_leave(cpu);
        page = (page | (QUIRE_TABLE_ENTRIES - 1)) + 1;
    }
    return used;
}

/* Take [first, end) away from all views; tables that wait to be dropped still use pages. */
static enum quire_status views_go(struct quire_section *section, uint64_t first, uint64_t end)
{
    enum quire_status status = qi_views_lose(section, first, end, QI_LOSE_VIEWS);
    qi_finish(section->q, QI_ALL_SLICES);
    return status;
}

/*
 * A table that a call of another CPU has in hand, to drop it, uses pages until that call has ended,
 * and is in no list that views_go could empty.
 */
static void calls_end(struct quire *q)
{
    qi_stop_all(q);
    qi_go_all(q);
}

static uint64_t range_end(uint64_t offset, uint64_t length)
{
    return (offset + length < offset ? UINT64_MAX : offset + length) >> QUIRE_PAGE_SHIFT;
}

uint64_t quire_section_purge(struct quire_section *section, uint64_t offset, uint64_t length,
                             bool mapped)
{
    uint64_t first = offset >> QUIRE_PAGE_SHIFT;
    uint64_t end = qi_pages_end(offset, length);
    bool left;
    if (!qi_section_paged(section)) /* what is as its page file has it is no less needed */
        return 0;
    qi_section_hold(section);
    if (mapped && section->pager->stable)
        (void)views_go(section, first, end);
    uint64_t went = pages_pass(section, first, end, true, &left);
    qi_section_let_go(section);
    return went;
}

/*
 * Whoever finds or makes pages under the lock of the tree or of a leaf has looked at what was shut
 * before, or will at this; and after calls_end nobody is left who did the first.
 */
static void shut_set(struct quire_section *section, uint64_t shut, uint64_t open)
{
    qi_store(&section->open, 0); /* nothing is shut */
    qi_store(&section->shut, shut);
    qi_store(&section->open, open);
}

enum quire_status quire_section_discard(struct quire_section *section, uint64_t offset,
                                        uint64_t length)
{
    uint64_t first = qi_pages_up(offset), end = range_end(offset, length);
    enum quire_status status = QUIRE_OK;
    bool left = first < end;
    qi_section_hold(section);
    qi_section_change_begin(section);
    if (qi_load(&section->seals) & QUIRE_SEAL_WRITE)
        status = QUIRE_SEALED;
    if (status == QUIRE_OK && left) {
        shut_set(section, first, end);
        calls_end(section->q);
        qi_section_settle(section, first, end);
    }
    /* What a device has pinned is its own from now on.  Again for tables that another call is
     * dropping: nothing new is used, brought or written. */
    while (status == QUIRE_OK && left) {
        status = views_go(section, first, end);
        if (status == QUIRE_OK)
            pages_pass(section, first, end, false, &left);
        if (left)
            calls_end(section->q);
    }
    shut_set(section, 0, 0);
    qi_section_change_end(section);
    qi_section_let_go(section);
    return status;
}

/* ---- size ---------------------------------------------------------------------------------- */

/* What lies behind the end, at `size`, in its page; false: the page is not in memory. */
static bool tail_clear(struct quire_section *section, uint64_t size)
{
    struct quire *q = section->q;
    struct qi_slot slot;
    entry_t e = 0;
    size_t kept = (size_t)(size & (QUIRE_PAGE_SIZE - 1));
    if (kept == 0 || QI_CANARY(QI_CANARY_TAIL_NOT_CLEARED))
        return true;
    struct qi_cpu *cpu = qi_enter(q);
    if (qi_slot_lock(cpu, section, size >> QUIRE_PAGE_SHIFT, &slot)) {
        e = entry_load(slot.slot);
        if (entry_present(e)) {
            QI_TOUCH_ALL(frame_memory(&q->frames, entry_pfn(e)), true);
            memset(page_bytes(q, e, size), 0, QUIRE_PAGE_SIZE - kept);
            entry_store(slot.slot, e | ENTRY_FOLDED);
        }
        qi_slot_unlock(cpu, &slot);
    }
    qi_leave(cpu);
    return entry_present(e) || (e == 0 && !qi_section_paged(section));
}

static enum quire_status promise(struct quire_section *section, uint64_t pages)
{
    struct quire *q = section->q;
    enum quire_status status;
    do {
        struct qi_cpu *cpu = qi_enter(q);
        status = qi_commit_promise(cpu, pages);
        if (status == QUIRE_OK)
            section->charge += pages;
        qi_leave(cpu);
    } while (qi_try_again(q, &status, 0, false, pages));
    return status;
}

/* Bring the page that the section's end lies in, if there is anything in it behind the end. */
static enum quire_status tail_bring(struct quire_section *section, uint64_t size)
{
    uint64_t page = size >> QUIRE_PAGE_SHIFT;
    enum quire_status status = QUIRE_OK;
    if ((size & (QUIRE_PAGE_SIZE - 1)) == 0)
        return QUIRE_OK;
    for (bool out = true; out && status == QUIRE_OK;) {
        struct qi_cpu *cpu = qi_enter(section->q);
        entry_t e = qi_section_peek(section, page);
        out = !entry_present(e) && (e != 0 || qi_section_paged(section));
        qi_leave(cpu);
        if (out)
            status = qi_section_bring(section, page, false);
    }
    return status;
}

/* Both: what was brought may have left again. */
static enum quire_status tail_end(struct quire_section *section, uint64_t size)
{
    enum quire_status status;
    do {
        status = tail_bring(section, size);
        if (status == QUIRE_OK)
            qi_section_settle(section, size >> QUIRE_PAGE_SHIFT, qi_pages_up(size));
    } while (status == QUIRE_OK && !tail_clear(section, size));
    return status;
}

static void promise_give(struct quire_section *section, uint64_t pages)
{
    struct qi_cpu *cpu = qi_enter(section->q);
    qi_commit_give(cpu, pages);
    section->charge -= pages;
    qi_leave(cpu);
}

static enum quire_status grow(struct quire_section *section, uint64_t size)
{
    uint64_t old = section->size;
    if (section->seals & QUIRE_SEAL_GROW)
        return QUIRE_SEALED;
    uint64_t pages = qi_section_paged(section) ? 0 : qi_pages_up(size) - qi_pages_up(old);
    enum quire_status status = pages > 0 ? promise(section, pages) : QUIRE_OK;
    if (status != QUIRE_OK)
        return status;
    status = tail_end(section, old); /* what is there is not to be seen */
    if (status != QUIRE_OK) {
        promise_give(section, pages);
        return status;
    }
    qi_store(&section->size, size); /* never below the limit */
    qi_store(&section->limit, size);
    return QUIRE_OK;
}

/* Whoever finds or makes pages under the lock of the tree has looked at the old limit, or will at
 * this one. */
static void limit_set(struct quire_section *section, uint64_t limit)
{
    struct qi_cpu *cpu = qi_enter(section->q);
    lock_take(cpu, &section->lock, QI_RANK_SECTION);
    qi_store(&section->limit, limit);
    lock_drop(cpu, &section->lock, QI_RANK_SECTION);
    qi_leave(cpu);
}

static enum quire_status shrink(struct quire_section *section, uint64_t size)
{
    uint64_t first = qi_pages_up(size), end = qi_pages_up(section->size);
    enum quire_status status = QUIRE_OK;
    if (section->seals & QUIRE_SEAL_SHRINK)
        return QUIRE_SEALED;
    limit_set(section, size);
    bool left;
    do { /* again for what was begun before the limit was seen */
        qi_section_settle(section, size >> QUIRE_PAGE_SHIFT, end);
        for (bool again = false;
             !QI_CANARY(QI_CANARY_CUT_KEEPS_VIEWS) && any_used(section, first, end); again = true) {
            if (again)
                calls_end(section->q);
            status = views_go(section, first, end);
            if (status != QUIRE_OK)
                break;
        }
        /* What a pager reads later is cleared then. */
        if (status == QUIRE_OK && !qi_section_paged(section)) {
            calls_end(section->q); /* reads that began before the limit was lowered */
            status = tail_end(section, size);
        }
        if (status != QUIRE_OK) {
            limit_set(section, section->size);
            return status;
        }
        pages_pass(section, first, end, false, &left);
    } while (left && !QI_CANARY(QI_CANARY_CUT_KEEPS_VIEWS));
    /* The size first: then a page that is being read is cleared when it is there (read_done). */
    qi_store(&section->size, size);
    (void)tail_clear(section, size);
    if (section->charge > 0)
        promise_give(section, end - first);
    return QUIRE_OK;
}

enum quire_status quire_section_resize(struct quire_section *section, uint64_t size)
{
    enum quire_status status = QUIRE_OK;
    if (qi_pages_up(size) > UINT64_C(1) << (QUIRE_LEVELS * QUIRE_TABLE_SHIFT))
        return QUIRE_OUT_OF_RANGE;
    qi_section_hold(section);
    qi_section_change_begin(section);
    if (size > section->size)
        status = grow(section, size);
    else if (size < section->size)
        status = shrink(section, size);
    qi_section_change_end(section);
    qi_section_let_go(section);
    return status;
}
