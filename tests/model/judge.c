/* SPDX-License-Identifier: MIT */
/*
 * Was that the right answer?
 *
 * The oracle knows what a call should come to, memory and promises aside.  QUIRE_NO_MEMORY is right
 * where a failure was injected, or fewer frames are free than the call can need; QUIRE_NO_COMMIT
 * where the host was asked for a promise that config.commit_limit does not allow, and said no;
 * QUIRE_COPY_LIMIT where a space has spent what it may.  Everywhere else the call must succeed.
 *
 * The host is part of this: it checks that it is asked for nothing that is there, and now and then
 * gives something up, so that the call is tried again.  Sometimes it lets others run first.
 */
#include "state.h"

#include <stdio.h>

uint64_t frames_free(void)
{
    struct quire_stats stats;

    quire_stats(M.world.q, &stats);
    return stats.frames_free;
}

uint64_t committed(void)
{
    struct quire_stats stats;

    quire_stats(M.world.q, &stats);
    return stats.committed;
}

/* Too little memory is what was said: is it true? */
static void judge_memory(uint64_t need, bool urgent)
{
    bool injected = test_failure.failed > 0;
    uint64_t free = paging_at_hand(M.no_wait || M.at_once);

    M.result->no_memory++;
    M.result->injected += injected;
    free = free < M.free_when_asked ? free : M.free_when_asked;
    if (!injected && free >= need + (urgent ? 0 : M.reserve))
        fail("no memory, with %llu frames free and a need of at most %llu", (llu)free, (llu)need);
}

/*
 * Where both are true, either may be said: what is wrong with a view is found when the new regions
 * are there, and a guard below a hidden table last.
 */
static bool after_memory(enum quire_status wanted)
{
    return wanted == QUIRE_OK || wanted == QUIRE_NO_COMMIT || wanted == QUIRE_GUARDED ||
           wanted == QUIRE_BEYOND_END || wanted == QUIRE_SEALED || wanted == QUIRE_BAD_FLAGS ||
           wanted == QUIRE_PROTECTED;
}

bool judge(enum quire_status got, enum quire_status wanted, uint64_t need, bool urgent)
{
    bool injected = test_failure.failed > 0;
    enum quire_status no_memory = M.no_wait ? QUIRE_WOULD_WAIT : QUIRE_NO_MEMORY;

    if (got == wanted) {
        M.result->ok += got == QUIRE_OK;
        M.result->refused += got != QUIRE_OK;
        if (got == QUIRE_OK && need && frames_free() >= need + (urgent ? 0 : M.reserve))
            M.result->must_succeed++;
        return got == QUIRE_OK;
    }
    if ((got == QUIRE_IO_ERROR && wanted == QUIRE_OK && M.failed_reads > M.failed_before) ||
        (got == QUIRE_WOULD_WAIT && after_memory(wanted) && M.no_wait && M.reads)) {
        M.result->refused++;
        return false;
    }
    if (got == no_memory && need > 0 && after_memory(wanted)) {
        judge_memory(need, urgent);
        return false;
    }
    if (got == QUIRE_NO_COMMIT && wanted == QUIRE_OK && M.commit_refused) {
        M.result->no_commit++;
        return false;
    }
    if (got == QUIRE_TOO_MANY_SPACES && wanted == QUIRE_OK && injected) {
        M.result->injected++;
        return false;
    }
    fail("%s, not %s", quire_status_name(got), quire_status_name(wanted));
}

bool judge_copies(const struct model_space *m, enum quire_status got, enum quire_status wanted,
                  uint64_t need)
{
    if (got != QUIRE_COPY_LIMIT ||
        (wanted != QUIRE_OK && wanted != QUIRE_GUARDED && wanted != QUIRE_BEYOND_END))
        return judge(got, wanted, need, false);
    M.result->refused++;
    if (m->copies_limit == UINT64_MAX || m->copies_limit >= m->copies_most + FAULT_FRAMES + 1)
        fail("QUIRE_COPY_LIMIT, with a limit of %llu and %llu spent", (llu)m->copies_limit,
             (llu)m->copies_most);
    return false;
}

/* ---- spaces that come and go ----------------------------------------------------------------- */

void space_gone(struct model_space *m)
{
    struct quire_space *space = m->space;

    m->space = NULL; /* first: others may run before the end of it */
    M.live--;
    pins_lose(m, 0, UINT64_MAX);
    test_end(&M.world, space);
}

struct model_space *space_come(struct quire_space *space)
{
    struct model_space *m = free_place();
    struct oracle *oracle = m->oracle;

    *m = (struct model_space){.space = space,
                              .owner = ++M.owners,
                              .oracle = oracle,
                              .commit_limit = UINT64_MAX,
                              .copies_limit = UINT64_MAX};
    oracle_clear(oracle);
    M.live++;
    return m;
}

/* ---- the host -------------------------------------------------------------------------------- */

/* Somebody who is not at work is destroyed; false: nobody. */
static bool give_up_space(void)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        struct model_space *m = &M.spaces[i];

        if (m->space && m != M.busy && m != M.busy_mark && m != M.busy_outside && chance(50)) {
            space_gone(m);
            return true;
        }
    }
    return false;
}

/* The host was asked for frames: it may give some back, destroy a space, or say no. */
static bool need_frames(struct test_world *world, uint32_t frames)
{
    if (M.no_wait)
        fail("the host is asked for frames by a call that may not wait");
    M.free_when_asked = paging_at_hand(false);
    if (M.trace)
        printf("  asked for %u frames, of which %llu are free\n", frames, (llu)M.free_when_asked);
    if (test_failure.failed == 0 && M.free_when_asked >= (uint64_t)frames + M.reserve)
        fail("the host is asked for %u frames, and %llu are free", frames, (llu)M.free_when_asked);
    operation_within();
    if (!M.host_helps || chance(40))
        return false;
    if (M.taken_count > 0) {
        quire_frame_give(world->q, M.taken[--M.taken_count]);
        return true;
    }
    if (sections_purge())
        return true;
    return give_up_space();
}

/* The same for promises. */
static bool need_commit(struct test_world *world, uint64_t pages)
{
    (void)world;
    if (M.no_wait)
        fail("the host is asked for a promise by a call that may not wait");
    if (committed() + pages <= M.commit_limit)
        fail("the host is asked for a promise of %llu pages, of %llu %llu are promised", (llu)pages,
             (llu)M.commit_limit, (llu)committed());
    operation_within();
    M.commit_refused = !M.host_helps || chance(40) || !give_up_space();
    return !M.commit_refused;
}

/* Nothing is held between two slices: others may run. */
static void yield(struct test_world *world)
{
    (void)world;
    operation_within();
}

/* What copying has cost a space: a page, a table, and its side frame if it had none. */
static void trace(void *host, enum quire_event event, struct quire_space *space, uint64_t a,
                  uint64_t b)
{
    struct model_space *m = model_of(space);

    (void)host;
    (void)a;
    if (!m)
        return;
    m->copies_least += event == QUIRE_EVENT_COPY;
    m->copies_most += event == QUIRE_EVENT_COPY;
    if (event == QUIRE_EVENT_UNSHARE)
        m->copies_most += b == 1 ? 2 : 1;
    if (m->copies_least > m->copies_limit)
        fail("space %u has made %llu copies, with a limit of %llu", m->owner, (llu)m->copies_least,
             (llu)m->copies_limit);
}

void host_begin(void)
{
    M.world.quiet = true;
    M.world.need_frames = need_frames;
    M.world.need_commit = need_commit;
    M.world.yield = yield;
    M.world.wait_io = wait_io;
    M.world.config.trace = trace;
}
