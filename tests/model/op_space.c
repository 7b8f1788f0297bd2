/* SPDX-License-Identifier: MIT */
/*
 * Operations on spaces, on frames, and with arguments that make no sense.
 */
#include "state.h"

#include <string.h>

/* ---- fork ------------------------------------------------------------------------------------ */

/*
 * What fork can take: nothing, but for ranges that the child does not get, and pinned pages.  For
 * each of these a path a side, and for the former the nodes of new regions.
 */
uint64_t fork_frames(const struct model_space *m)
{
    const struct oracle_map *map = &m->oracle->map;
    uint64_t exceptions = 0;

    for (unsigned i = 0; i < map->count; i++)
        exceptions +=
            (map->region[i].flags & (QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE)) != 0;
    if (exceptions)
        exceptions = exceptions * (2 * QUIRE_LEVELS + 2) + 2 * map->count + 10;
    if (M.kept_in) /* the child's regions are not locked */
        exceptions += 2 * map->count + 10;
    return exceptions + pins_pages(m) * (2 * (QUIRE_LEVELS + 1) + 1);
}

void fork_done(struct model_space *parent, struct quire_space *space)
{
    struct model_space *child = space_come(space);

    oracle_fork(child->oracle, parent->oracle);
    child->commit_limit = parent->commit_limit;
    child->copies_limit = parent->copies_limit;
    child->copies_least = parent->copies_least;
    child->copies_most = parent->copies_most;
    pair_begin(parent, child);
    M.result->forks++;
    compare_regions(child);
}

enum quire_status room_status(enum quire_status got)
{
    struct quire_stats stats;

    if (got != QUIRE_TOO_MANY_SPACES)
        return QUIRE_OK;
    quire_stats(M.world.q, &stats);
    return stats.spaces == M.max_spaces ? QUIRE_TOO_MANY_SPACES : QUIRE_OK;
}

void op_fork(struct model_space *m)
{
    struct quire_space *space = NULL;

    doing("fork(%u)", m->owner);
    enum quire_status got = quire_space_fork(m->space, &space);
    if (!judge(got, room_status(got), fork_frames(m), false))
        return;
    fork_done(m, space);
    if (!M.busy_outside && chance(50))
        soft_cpu_run(M.world.cpu[below(M.world.machine->cpu_count)], M.world.q, space);
}

/* ---- create, destroy ------------------------------------------------------------------------- */

void op_create(void)
{
    struct quire_space *space = NULL;

    doing("create");
    enum quire_status got = quire_space_create(M.world.q, &space);
    if (judge(got, room_status(got), 1, false))
        (void)space_come(space);
}

void op_destroy(struct model_space *m)
{
    doing("destroy(%u)", m->owner);
    space_gone(m);
}

/* ---- limits ---------------------------------------------------------------------------------- */

void op_limit(struct model_space *m)
{
    uint64_t charge = map_charge(&m->oracle->map);

    m->commit_limit = chance(40) ? UINT64_MAX : chance(30) ? below(8) : charge + below(8);
    m->copies_limit = chance(50) ? UINT64_MAX : below(30);
    m->copies_least = m->copies_most = 0;
    doing("limit(%u, %#llx, %#llx)", m->owner, (llu)m->commit_limit, (llu)m->copies_limit);
    quire_space_limit(m->space, m->commit_limit, m->copies_limit);
}

/* ---- what nobody can see --------------------------------------------------------------------- */

void op_pull(struct model_space *m)
{
    struct quire_stats before, after;

    quire_stats(M.world.q, &before);
    doing("pull(%u)", m->owner);
    uint64_t pulled = quire_space_pull(m->space);
    quire_stats(M.world.q, &after);
    if (after.pulled - before.pulled != pulled)
        fail("%llu pulled, and %llu counted", (llu)pulled, (llu)(after.pulled - before.pulled));
    M.result->pulled += pulled;
}

void op_work(void)
{
    doing("work");
    if (chance(50))
        (void)quire_work(M.world.q, below(4));
    else if (quire_work(M.world.q, UINT32_MAX))
        fail("there is always more to do");
}

void op_frames(void)
{
    pfn_t pfn;

    if (chance(30)) {
        uint32_t count = below(8), done = quire_zero_ahead(M.world.q, count);

        doing("zero_ahead(%u)", count);
        if (done > count)
            fail("%u done", done);
    } else if (M.taken_count < TAKEN_MAX && chance(50)) {
        doing("frame_take");
        M.at_once = true;
        if (judge(quire_frame_take(M.world.q, &pfn), QUIRE_OK, 1, false)) {
            memset(M.world.frames +
                       ((size_t)(pfn - M.world.config.first_frame) << QUIRE_PAGE_SHIFT),
                   0xa5, QUIRE_PAGE_SIZE);
            M.taken[M.taken_count++] = pfn;
        }
    } else if (M.taken_count > 0) {
        doing("frame_give");
        quire_frame_give(M.world.q, M.taken[--M.taken_count]);
    }
}

void op_switch(void)
{
    struct soft_cpu *cpu = M.world.cpu[below(M.world.machine->cpu_count)];

    test_cpu = cpu->index;
    doing("switch cpu %u", cpu->index);
    soft_cpu_run(cpu, M.world.q, chance(10) ? NULL : some_space()->space);
}

/* ---- bad arguments --------------------------------------------------------------------------- */

static void refuse(enum quire_status got, enum quire_status wanted)
{
    if (got != wanted)
        fail("%s, not %s", quire_status_name(got), quire_status_name(wanted));
    M.result->refused++;
}

static void bad_regions(struct quire_space *s, vaddr_t at, vaddr_t odd, vaddr_t last)
{
    const uint64_t length = QUIRE_PAGE_SIZE;
    vaddr_t to = at;

    refuse(quire_unmap(s, odd, length), QUIRE_MISALIGNED);
    refuse(quire_unmap(s, at, 0), QUIRE_ZERO_LENGTH);
    refuse(quire_unmap(s, last, 2 * length), QUIRE_WRAPS);
    refuse(quire_protect(s, at, length + 1, QUIRE_READ), QUIRE_MISALIGNED);
    refuse(quire_protect(s, at, length, 8), QUIRE_BAD_FLAGS);
    refuse(quire_protect(s, M.high, length, QUIRE_READ), QUIRE_OUT_OF_RANGE);
    refuse(quire_map(s, &at, length, 0x10, QUIRE_MAP_FIXED), QUIRE_BAD_FLAGS);
    refuse(quire_map(s, &at, length, 1, QUIRE_MAP_REPLACE), QUIRE_BAD_FLAGS);
    refuse(quire_map(s, &at, length, 1, 0x80), QUIRE_BAD_FLAGS);
    refuse(quire_map(s, &odd, length, 1, QUIRE_MAP_FIXED), QUIRE_MISALIGNED);
    refuse(quire_map(s, &last, 2 * length, 1, QUIRE_MAP_FIXED), QUIRE_WRAPS);
    refuse(quire_commit(s, at, length, 8), QUIRE_BAD_FLAGS);
    refuse(quire_decommit(s, odd, length), QUIRE_MISALIGNED);
    refuse(quire_discard(s, at, 0), QUIRE_ZERO_LENGTH);
    refuse(quire_guard(s, last, 2 * length), QUIRE_WRAPS);
    refuse(quire_unguard(s, M.high, length), QUIRE_OUT_OF_RANGE);
    refuse(quire_advise(s, at, length, QUIRE_ADVICE_COUNT), QUIRE_BAD_FLAGS);
    refuse(quire_name(s, odd, length, 1), QUIRE_MISALIGNED);
    refuse(quire_move(s, at, length, &to, length, 0x80), QUIRE_BAD_FLAGS);
    refuse(quire_move(s, at, 0, &to, length, 0), QUIRE_ZERO_LENGTH);
    refuse(quire_move(s, odd, length, &to, length, 0), QUIRE_MISALIGNED);
    refuse(quire_map_view(s, &at, length, 1, 0, NULL, 0), QUIRE_BAD_FLAGS);
    refuse(quire_map(s, &at, length, 1, QUIRE_MAP_SHARED), QUIRE_BAD_FLAGS);
}

/* An error by name, and nothing changed (the oracle does not change either). */
void op_bad(struct model_space *m)
{
    vaddr_t at = some_address(), odd = at + 1 + below(QUIRE_PAGE_SIZE - 1);
    const uint64_t length = QUIRE_PAGE_SIZE;
    vaddr_t last = ~(vaddr_t)0 << QUIRE_PAGE_SHIFT;
    struct quire_space *s = m->space, *mark = s;
    struct quire_run run;
    struct quire_pin pin;
    uint64_t bits[1];

    doing("bad arguments(%u)", m->owner);
    at = at < M.low ? M.low : at > M.high - length ? M.high - length : at;
    bad_regions(s, at, odd, last);
    refuse(quire_fault(s, at, QUIRE_READ | QUIRE_WRITE), QUIRE_BAD_FLAGS);
    refuse(quire_fault(s, M.high, QUIRE_READ), QUIRE_NOT_MAPPED);
    refuse(quire_read(s, last, NULL, 2 * length, NULL), QUIRE_WRAPS);
    refuse(quire_write(s, last, NULL, 2 * length, NULL), QUIRE_WRAPS);
    refuse(quire_access(s, at, NULL, length, QUIRE_EXEC, NULL), QUIRE_BAD_FLAGS);
    refuse(quire_populate(s, odd, length, QUIRE_READ, NULL), QUIRE_MISALIGNED);
    refuse(quire_clone(s, odd, s, at, length, NULL), QUIRE_MISALIGNED);
    refuse(quire_clone(s, at, s, odd, length, NULL), QUIRE_MISALIGNED);
    refuse(quire_clone(s, at, s, last, 0, NULL), QUIRE_ZERO_LENGTH);
    refuse(quire_clone(s, last, s, at, 2 * length, NULL), QUIRE_WRAPS);
    refuse(quire_pin(s, at, length, QUIRE_EXEC, &run, 1, &pin), QUIRE_BAD_FLAGS);
    refuse(quire_pin(s, at, 0, QUIRE_READ, &run, 1, &pin), QUIRE_ZERO_LENGTH);
    refuse(quire_pin(s, last, 2 * length, QUIRE_READ, &run, 1, &pin), QUIRE_WRAPS);
    refuse(quire_diff(s, s, at, length, bits), QUIRE_BAD_FLAGS);
    refuse(quire_diff_and_mark(s, &mark, at, length, bits), QUIRE_BAD_FLAGS);
}
