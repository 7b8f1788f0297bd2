/* SPDX-License-Identifier: MIT */
/*
 * Clones: a range of a space becomes a copy of another range, of the same space or of another.
 *
 * The oracle copies bytes, page after page, and knows nothing of sharing.  So what a clone shares
 * must not be seen, now or later: not after a write on either side, a fork, an unmap, a pin, or a
 * page that left.  A page may be cloned where it could be read, and written; the first one where
 * that is refused ends the call, with the status of the read or else of the write, and those before
 * it are done.  A pinned target stays pinned and gets the bytes, as by any other write.
 */
#include "state.h"

#include <string.h>

enum {
    /* What it adds to the oracle's list at most: it has room for that. */
    NEW_PAGES = ORACLE_PAGES_MAX - PAGES_KEPT - 8,
    /* The oracle goes from page to page, whatever there is. */
    LENGTH_MAX = 3 * QUIRE_PAGE_SIZE << QUIRE_TABLE_SHIFT,
};

struct clone {
    struct model_space *from, *to;
    vaddr_t source, target;
    uint64_t length;
    uint64_t bytes;           /* that can be cloned */
    enum quire_status status; /* of the next page */
    struct reach reaches[2];
    struct reach *read, *write; /* one and the same for one space: a stack grows for either */
};

/* ---- what it comes to ------------------------------------------------------------------------ */

/* Does the page show bytes beyond the end of a file?  They go when it leaves, at any time. */
static bool has_tail(const struct oracle_region *r, uint64_t number)
{
    static const unsigned char zeros[QUIRE_PAGE_SIZE];
    const struct oracle_section *s = r->section;
    size_t used = (size_t)(s->size & (QUIRE_PAGE_SIZE - 1));

    return section_paged(section_shown(r)) && used > 0 && number + r->shift == section_end(s) - 1 &&
           memcmp(s->bytes + s->size, zeros, QUIRE_PAGE_SIZE - used) != 0;
}

/* Shorter, if the oracle could not keep it; false: nothing is left of it. */
static bool shorten(struct clone *c)
{
    unsigned count = 0;

    for (uint64_t at = 0; at < c->length; at += QUIRE_PAGE_SIZE) {
        uint64_t number = (c->source + at) >> QUIRE_PAGE_SHIFT;
        const struct oracle_region *r = map_find(&c->from->oracle->map, c->source + at);
        bool own = oracle_owns(c->from->oracle, number), view = r && r->section && !own;

        count += own || view;
        if (count <= NEW_PAGES && !(view && has_tail(r, number)))
            continue;
        c->length = at;
        break;
    }
    return c->length > 0;
}

static enum quire_status range_status(vaddr_t low, uint64_t length)
{
    return low < M.low || low + length > M.high ? QUIRE_OUT_OF_RANGE : QUIRE_OK;
}

static void clone_reach(struct clone *c)
{
    bool meet = c->source < c->target + c->length && c->target < c->source + c->length;

    c->read = &c->reaches[0];
    c->write = c->from == c->to ? c->read : &c->reaches[1];
    reach(c->read, c->from, 0, 0, QUIRE_READ);
    reach(c->write, c->to, 0, 0, QUIRE_WRITE);
    c->status = range_status(c->source, c->length);
    if (c->status == QUIRE_OK)
        c->status = range_status(c->target, c->length);
    if (c->status == QUIRE_OK && c->from == c->to && meet)
        c->status = QUIRE_OVERLAPS;
    c->bytes = 0;
    while (c->status == QUIRE_OK && c->bytes < c->length) {
        c->status = reach_page(c->read, c->from, c->source + c->bytes, QUIRE_READ);
        if (c->status == QUIRE_OK)
            c->status = reach_page(c->write, c->to, c->target + c->bytes, QUIRE_WRITE);
        c->bytes += c->status == QUIRE_OK ? QUIRE_PAGE_SIZE : 0;
    }
}

/* ---- what it has done ------------------------------------------------------------------------ */

/* Bytes that nobody has written are not kept. */
static void page_cloned(const struct clone *c, uint64_t at)
{
    uint64_t number = (c->source + at) >> QUIRE_PAGE_SHIFT;
    unsigned char bytes[QUIRE_PAGE_SIZE];

    if (!oracle_owns(c->from->oracle, number) &&
        !map_find(&c->from->oracle->map, c->source + at)->section &&
        !map_find(&c->to->oracle->map, c->target + at)->section) {
        oracle_discard(c->to->oracle, c->target + at, c->target + at + QUIRE_PAGE_SIZE);
        return;
    }
    memcpy(bytes, oracle_bytes(c->from->oracle, number), sizeof bytes);
    oracle_write(c->to->oracle, c->target + at, bytes, sizeof bytes);
    views_written(c->to, c->target + at, sizeof bytes);
}

static void clone_settle(struct clone *c, uint64_t done)
{
    reach_settle(c->read, c->from);
    if (c->write != c->read)
        reach_settle(c->write, c->to);
    for (uint64_t at = 0; at < done; at += QUIRE_PAGE_SIZE)
        page_cloned(c, at);
    /* The next page may have become the space's own. */
    if (done < c->length)
        views_written(c->to, c->target + done, QUIRE_PAGE_SIZE);
    pair_touch(c->to, c->target, done < c->length ? done + QUIRE_PAGE_SIZE : done);
    M.result->cloned += done >> QUIRE_PAGE_SHIFT;
}

/* Whose copies it was that were too many. */
static const struct model_space *copier(const struct clone *c)
{
    return c->to->copies_limit == UINT64_MAX ? c->from : c->to;
}

void op_clone(struct model_space *m)
{
    static struct clone c; /* it is large */

    c.to = m;
    c.from = chance(40) ? m : some_space();
    c.length = some_length();
    c.length = c.length < LENGTH_MAX ? c.length : LENGTH_MAX;
    c.source = some_start(some_mapped_address(c.from->oracle, QUIRE_READ), c.length);
    c.target = some_mapped_address(m->oracle, QUIRE_WRITE);
    if (!shorten(&c))
        return;
    clone_reach(&c);
    doing("clone(%u, %#llx, to %u, %#llx, %#llx)", c.from->owner, (llu)c.source, m->owner,
          (llu)c.target, (llu)c.length);
    M.busy_mark = c.from;
    uint64_t done = 77;
    enum quire_status got =
        quire_clone(c.from->space, c.source, m->space, c.target, c.length, &done);
    M.busy_mark = NULL;
    if (cut_short(got) && (done < c.bytes || got != c.status))
        c.status = QUIRE_OK; /* it came to that before the end */
    else if (done != c.bytes)
        fail("%s: %llu bytes done, not %llu", quire_status_name(got), (llu)done, (llu)c.bytes);
    /* A run takes what the edges of a change do, and a path; a copy a frame, and two faults. */
    judge_copies(copier(&c), got, c.status,
                 change_frames(m->oracle) + QUIRE_LEVELS + 3 + reach_frames(c.read, c.from) +
                     reach_frames(c.write, m));
    clone_settle(&c, done);
    compare_touched(c.target, c.length);
    compare_touched(c.source, c.length);
}
