/* SPDX-License-Identifier: MIT */
/*
 * Balance: how much is free, and who sees to it.
 *
 * A number of frames (config.keep_free) is to be free, or on the standby lists, which is nearly as
 * good.  The embedder's worker calls quire_balance until that is so: a step writes modified pages,
 * and, where those that are being written will not do, lets pages leave in a slice of a pass.  A
 * call that finds no frame at all takes the same steps itself, and waits for a transfer if pages
 * are on their way out.
 *
 * A pass that lets nothing leave is followed by one that is content with younger pages, down to
 * those that were not used since the pass before; if that finds nothing either, there is nothing to
 * be had, and the host is asked (host_need_frames).
 *
 * Progress.  Paging out takes no frame and no record that anybody else may hold: slots are records
 * of the arena, and page files have transfers of their own.  Writes that fail, one after the other,
 * are an end too: their pages stay.
 *
 * One call at a time pages out; the others wait for what it finds.
 *
 * An end.  What leaves for a call may be what it brought at its last try, with the tables to it,
 * and nobody counts that beforehand.  So a call that comes again has to find one frame more each
 * time: either it has what it needs besides what it takes back, or there is no more, and it is told
 * so.
 */
#include "workset.h"

/*
 * Pages that most calls which have too few frames take back at the next try: their own, and one of
 * a section.
 */
enum { TAKEN_BACK = 2 };

static uint32_t at_hand(const struct quire *q)
{
    uint32_t frames = qi_frames_in_state(q, QI_FRAME_FREE) +
                      qi_frames_in_state(q, QI_FRAME_ZEROED) + qi_standby_count(&q->paging);
    return frames > q->frames.reserve ? frames - q->frames.reserve : 0;
}

/* Frames that will be at hand when what is on its way out has been written. */
static uint32_t coming(const struct quire *q)
{
    return qi_load(&q->paging.modified.count) +
           qi_load(&q->paging.transfers_busy) * (uint32_t)QUIRE_IO_PAGES / 4;
}

/* So many failed writes, in a row or in one search, and none will be waited for. */
static uint32_t failures_most(const struct quire *q)
{
    return 8 + qi_load(&q->paging.modified.count) / 4;
}

/*
 * Do writes fail, of this search among them, since there had been `failed` in all?  That one works
 * now and then, of another file for another call, is no reason to go on: a search wants few frames.
 */
static bool writes_fail(const struct quire *q, uint32_t failed)
{
    const uint32_t here = qi_load(&q->paging.failed) - failed;
    return here > 0 && (qi_load(&q->paging.failures) > failures_most(q) || here > failures_most(q));
}

/*
 * One step towards `wanted` frames at hand; true: something changed, look again.  This call pages
 * out.
 */
static bool step(struct quire *q, uint32_t wanted)
{
    struct qi_paging *p = &q->paging;
    uint64_t left = 0;
    bool wrote = qi_page_out(q);
    if (at_hand(q) + coming(q) >= wanted)
        return wrote;
    if (!qi_pass_slice(q, true, &left))
        return true;
    if (left > 0) {
        p->pass.old = p->policy->old;
        p->pass.tired = false;
        return true;
    }
    if (p->pass.old > 0) {
        p->pass.old /= 2;
        return true;
    }
    /* Twice over: the first such pass forgets who used what. */
    p->pass.tired = !p->pass.tired;
    if (p->pass.tired || wrote)
        return true;
    p->pass.old = p->policy->old;
    return false;
}

bool quire_balance(struct quire *q)
{
    if (qi_load(&q->paging.live) == 0 || !qi_work_begin(q))
        return false;
    bool more = at_hand(q) < qi_frames_goal(q) || qi_load(&q->paging.modified.count) > 0;
    if (more)
        more = step(q, qi_frames_goal(q)) && qi_load(&q->paging.failures) <= failures_most(q);
    qi_work_end(q);
    return more;
}

/*
 * Steps until `enough` frames are at hand, and more than before; false: that can not be had without
 * waiting.
 */
static bool relieve(struct quire *q, uint32_t wanted, uint32_t enough, uint32_t before,
                    uint32_t failed)
{
    bool there, more;
    q->paging.pass.tired = false; /* what was used since another call gave up has to be asked again
                                   */
    do {
        more = step(q, wanted);
        there = at_hand(q) >= enough && at_hand(q) > before;
    } while (more && !there && !writes_fail(q, failed));
    return there;
}

/*
 * Where so many pages have left that there would be enough, and there is not, other calls took the
 * frames: they have come further, and this one may try again.
 */
bool qi_paging_relieve(struct quire *q, uint32_t need, uint32_t *more)
{
    const struct qi_paging *p = &q->paging;
    need += *more;
    const uint32_t before = at_hand(q), enough = need + TAKEN_BACK, failed = qi_load(&p->failed);
    uint32_t wanted = need + qi_frames_goal(q);
    wanted = wanted > enough ? wanted : enough;
    wanted = wanted > before ? wanted : before + 1;
    for (;;) {
        if (!qi_work_begin(q)) {
            host_yield(q->host);
            return true;
        }
        const uint64_t away = p->away;
        const bool there = relieve(q, wanted, enough, before, failed);
        const bool taken = p->away - away >= enough;
        const bool wait = qi_load(&p->transfers_busy) > 0 || qi_load(&q->writes_busy) > 0;
        qi_work_end(q);
        *more += there;
        if (there || taken)
            return true;
        if (wait)
            host_wait_io(q->host, NULL);
        if (!wait || writes_fail(q, failed))
            return false;
    }
}
