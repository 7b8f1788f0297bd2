/* SPDX-License-Identifier: MIT */
/*
 * Operations on regions.
 *
 * Each is done to a copy of the oracle's regions first, which says what the promise would be; then
 * to the space; and on success to the oracle.
 */
#include "state.h"

#include "range.h"

uint64_t change_frames(const struct oracle *o)
{
    uint64_t nodes = 2 * o->map.count + 16; /* a range of many regions is cut out and joined */
    uint64_t a_frame = QUIRE_PAGE_SIZE / 64;

    return (nodes + a_frame - 1) / a_frame + 1 + 2u * QUIRE_LEVELS;
}

/* Tables over a range where there are none. */
uint64_t tables_over(uint64_t length)
{
    uint64_t count = 0;

    for (unsigned level = 1; level < QUIRE_LEVELS; level++)
        count += (length >> (QUIRE_PAGE_SHIFT + level * QUIRE_TABLE_SHIFT)) + 2;
    return count;
}

static enum quire_status range_status(vaddr_t address, uint64_t length)
{
    return address < M.low || address + length > M.high ? QUIRE_OUT_OF_RANGE : QUIRE_OK;
}

/* The range, which has to be mapped without a hole. */
static enum quire_status whole_status(const struct model_space *m, vaddr_t at, uint64_t length)
{
    if (range_status(at, length) != QUIRE_OK)
        return QUIRE_OUT_OF_RANGE;
    return map_whole(&m->oracle->map, at, at + length) ? QUIRE_OK : QUIRE_NOT_MAPPED;
}

/* After the change the space has `map`: is that more than it may be promised? */
enum quire_status promise_status(const struct model_space *m, const struct oracle_map *map)
{
    uint64_t was = map_charge(&m->oracle->map), will = map_charge(map);

    return will > was && will > m->commit_limit ? QUIRE_NO_COMMIT : QUIRE_OK;
}

/* A range somewhere, often within one region, or all of it. */
static void some_range(const struct model_space *m, vaddr_t *at, uint64_t *length)
{
    *length = some_length();
    *at = some_start(some_mapped_address(m->oracle, 7), *length);
    const struct oracle_region *r = map_find(&m->oracle->map, *at);

    if (r && chance(60)) {
        *at = chance(50) ? r->start : *at;
        *length = chance(50) || r->end - *at < *length ? r->end - *at : *length;
    }
}

enum quire_status views_status(const struct oracle_map *map, vaddr_t low, vaddr_t high)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct oracle_region *r = &map->region[i];
        bool writes = (r->flags & QUIRE_REGION_SHARED) && (r->prot & QUIRE_WRITE);

        if (!r->section || r->end <= low || r->start >= high)
            continue;
        if (r->flags & QUIRE_REGION_FORK_WIPE)
            return QUIRE_BAD_FLAGS;
        if (writes && (r->flags & QUIRE_REGION_READ_ONLY))
            return QUIRE_PROTECTED;
        if (writes && (section_shown(r)->seals & QUIRE_SEAL_WRITE))
            return QUIRE_SEALED;
    }
    return QUIRE_OK;
}

uint32_t whole_prot(uint32_t prot) { return prot & 6 ? prot | QUIRE_READ : prot; }

/* ---- map and unmap --------------------------------------------------------------------------- */

void trim(struct model_space *m)
{
    struct oracle *o = m->oracle;

    if (o->map.count < REGIONS_KEPT && o->page_count < PAGES_KEPT && o->guards.count < GUARDS_KEPT)
        return;
    doing("unmap(%u, all)", m->owner);
    if (!judge(quire_unmap(m->space, M.low, M.high - M.low), QUIRE_OK, change_frames(o), true))
        return;
    oracle_unmap(o, M.low, M.high);
    pins_lose(m, M.low, M.high);
    pair_touch(m, M.low, M.high - M.low);
}

static uint32_t some_map_flags(void)
{
    static const uint32_t places[] = {0, 0, QUIRE_MAP_FIXED, QUIRE_MAP_FIXED,
                                      QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE};
    uint32_t flags = places[below(5)], kind = below(100);

    if (kind < 12)
        flags |= QUIRE_MAP_RESERVE;
    else if (kind < 22)
        flags |= QUIRE_MAP_GROWS_DOWN;
    return flags;
}

/* Where it goes, or why it can not. */
enum quire_status map_status(const struct model_space *m, vaddr_t hint, uint64_t length,
                             uint32_t flags, vaddr_t *place)
{
    const struct oracle_map *map = &m->oracle->map;
    enum quire_status status = range_status(hint, length);
    bool taken = map_any(map, hint, hint + length);

    *place = hint;
    if (flags & QUIRE_MAP_FIXED) {
        if (status == QUIRE_OK && taken && !(flags & QUIRE_MAP_REPLACE))
            status = QUIRE_OVERLAPS;
        return status;
    }
    if (length > M.high - M.low)
        return QUIRE_OUT_OF_RANGE;
    if (status == QUIRE_OK && !taken)
        return QUIRE_OK;
    return map_gap(map, M.low, M.high, length, place) ? QUIRE_OK : QUIRE_NO_ADDRESSES;
}

void mapped(struct model_space *m, const struct oracle_map *map, vaddr_t place, uint64_t length)
{
    oracle_unmap(m->oracle, place, place + length);
    map_copy(&m->oracle->map, map);
    pins_lose(m, place, place + length);
    pair_touch(m, place, length);
    compare_regions(m);
}

void op_map(struct model_space *m)
{
    uint32_t flags = some_map_flags(), prot = some_prot();
    uint64_t length = some_length();
    vaddr_t hint = chance(75) ? some_address() : some_mapped_address(m->oracle, 7);
    vaddr_t at = hint = some_start(hint, length), place;
    enum quire_status wanted = map_status(m, hint, length, flags, &place);
    struct oracle_map map;

    if (wanted == QUIRE_OK) {
        struct oracle_region r = {.start = place, .end = place + length, .prot = whole_prot(prot)};

        r.flags = flags & QUIRE_MAP_RESERVE      ? QUIRE_REGION_RESERVED
                  : flags & QUIRE_MAP_GROWS_DOWN ? QUIRE_REGION_GROWS_DOWN
                                                 : 0;
        map_copy(&map, &m->oracle->map);
        map_put(&map, r);
        wanted = promise_status(m, &map);
    }
    doing("map(%u, %#llx, %#llx, prot %u, flags %u)", m->owner, (llu)hint, (llu)length, prot,
          flags);
    if (!judge(quire_map(m->space, &at, length, prot, flags), wanted, change_frames(m->oracle),
               false)) {
        if (at != hint)
            fail("the address has changed although it failed");
        return;
    }
    if (at != place)
        fail("mapped at %#llx, not %#llx", (llu)at, (llu)place);
    mapped(m, &map, place, length);
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* What a part of a change reaches at least. */
enum { PART = (uint64_t)QI_PART_LEAVES * QUIRE_PAGE_SIZE << QUIRE_TABLE_SHIFT };

/* The end of what a change has made from `page` on; `page`: nothing.  `with`: what it would have
 * made of the space. */
typedef vaddr_t part_made(const struct model_space *m, vaddr_t page, const struct oracle_map *with);

static vaddr_t unmapped_until(const struct model_space *m, vaddr_t page,
                              const struct oracle_map *with)
{
    struct quire_region is;

    (void)with;
    return quire_query(m->space, page, &is) != QUIRE_OK ? M.high
           : is.start > page                            ? is.start
                                                        : page;
}

static vaddr_t discarded_until(const struct model_space *m, vaddr_t page,
                               const struct oracle_map *with)
{
    struct quire_pages is;

    (void)with;
    if (quire_next_pages(m->space, page, M.high, &is) != QUIRE_OK)
        return M.high;
    return is.start > page ? is.start : is.kind == QUIRE_PAGE_GUARD ? is.end : page;
}

static vaddr_t altered_until(const struct model_space *m, vaddr_t page,
                             const struct oracle_map *with)
{
    const struct oracle_region *wanted = map_find(with, page);
    struct quire_region is;

    if (quire_query(m->space, page, &is) != QUIRE_OK || is.start > page ||
        is.prot != wanted->prot || is.flags != wanted->flags || is.name != wanted->name)
        return page;
    return is.end < wanted->end ? is.end : wanted->end;
}

/*
 * Bytes from `at` on for which a change was made that ended so.  A long one is made in parts, and
 * memory may have run out after some of them.
 */
static uint64_t part_done(const struct model_space *m, enum quire_status got, vaddr_t at,
                          uint64_t length, part_made *made_until, const struct oracle_map *with)
{
    const struct oracle_region *r;
    vaddr_t done = at, page = at, next;

    if (got == QUIRE_OK)
        return length;
    if (got != QUIRE_NO_MEMORY || length <= PART)
        return 0;
    while ((r = map_above(&m->oracle->map, page)) && r->start < at + length) {
        page = r->start > page ? r->start : page;
        next = made_until(m, page, with);
        if (next == page)
            break;
        done = page = next < r->end ? next : r->end;
    }
    return (done < at + length ? done : at + length) - at;
}

void op_unmap(struct model_space *m)
{
    uint64_t length = some_length();
    vaddr_t at = some_start(some_mapped_address(m->oracle, 7), length);

    doing("unmap(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    enum quire_status got = quire_unmap(m->space, at, length);
    (void)judge(got, range_status(at, length), change_frames(m->oracle), true);
    length = part_done(m, got, at, length, unmapped_until, NULL);
    if (length == 0)
        return;
    oracle_unmap(m->oracle, at, at + length);
    pins_lose(m, at, at + length);
    pair_touch(m, at, length);
    compare_regions(m);
    compare_touched(at, length);
}

/* ---- what alters regions --------------------------------------------------------------------- */

/* Settle an operation that gives the whole range something; true: it was done, and how far. */
static bool altered(struct model_space *m, enum quire_status got, vaddr_t at, uint64_t *length,
                    const struct oracle_alter *alter, bool urgent)
{
    enum quire_status wanted = whole_status(m, at, *length);
    struct oracle_map map;

    if (wanted == QUIRE_OK) {
        map_copy(&map, &m->oracle->map);
        map_alter(&map, at, at + *length, alter);
        wanted = views_status(&map, at, at + *length);
        wanted = wanted == QUIRE_OK ? promise_status(m, &map) : wanted;
    }
    (void)judge(got, wanted, change_frames(m->oracle), urgent);
    *length = wanted == QUIRE_OK ? part_done(m, got, at, *length, altered_until, &map) : 0;
    map_alter(&m->oracle->map, at, at + *length, alter);
    return *length > 0;
}

/* The same, when pages were looked at by nobody yet. */
static void altered_end(const struct model_space *m, vaddr_t at, uint64_t length)
{
    compare_regions(m);
    compare_touched(at, length);
}

void op_protect(struct model_space *m)
{
    struct oracle_alter alter = {.set_prot = true};
    uint32_t prot = some_prot();
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    alter.prot = whole_prot(prot);
    doing("protect(%u, %#llx, %#llx, prot %u)", m->owner, (llu)at, (llu)length, prot);
    if (altered(m, quire_protect(m->space, at, length, prot), at, &length, &alter, false))
        altered_end(m, at, length);
}

void op_commit(struct model_space *m)
{
    struct oracle_alter alter = {.set_prot = true, .clear = QUIRE_REGION_RESERVED};
    uint32_t prot = some_prot();
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    alter.prot = whole_prot(prot);
    doing("commit(%u, %#llx, %#llx, prot %u)", m->owner, (llu)at, (llu)length, prot);
    if (!altered(m, quire_commit(m->space, at, length, prot), at, &length, &alter, false))
        return;
    pair_touch(m, at, length);
    altered_end(m, at, length);
}

/* The content of a range is gone, and what was pinned there is nobody's. */
static void content_gone(struct model_space *m, vaddr_t at, uint64_t length)
{
    oracle_discard(m->oracle, at, at + length);
    pins_lose(m, at, at + length);
    pair_touch(m, at, length);
    altered_end(m, at, length);
}

void op_decommit(struct model_space *m)
{
    const struct oracle_alter alter = {.set = QUIRE_REGION_RESERVED};
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    doing("decommit(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    if (!altered(m, quire_decommit(m->space, at, length), at, &length, &alter, true))
        return;
    ranges_remove(&m->oracle->guards, at, at + length);
    content_gone(m, at, length);
}

void op_advise(struct model_space *m)
{
    static const uint32_t flags[] = {0, QUIRE_REGION_FORK_OMIT, QUIRE_REGION_FORK_WIPE};
    enum quire_advice advice = (enum quire_advice)below(QUIRE_ADVICE_COUNT);
    struct oracle_alter alter = {.clear = QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE,
                                 .set = flags[advice]};
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    doing("advise(%u, %#llx, %#llx, %u)", m->owner, (llu)at, (llu)length, advice);
    if (altered(m, quire_advise(m->space, at, length, advice), at, &length, &alter, false))
        altered_end(m, at, length);
}

void op_name(struct model_space *m)
{
    struct oracle_alter alter = {.set_name = true, .name = below(3)};
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    doing("name(%u, %#llx, %#llx, %u)", m->owner, (llu)at, (llu)length, (unsigned)alter.name);
    if (altered(m, quire_name(m->space, at, length, alter.name), at, &length, &alter, false))
        altered_end(m, at, length);
}

/* ---- locks -------------------------------------------------------------------------------- */

static bool is_locked(const struct model_space *m, vaddr_t at, uint64_t length)
{
    struct quire_region is = {.end = at};

    for (vaddr_t end = at + length; is.end < end; at = is.end) {
        if (quire_query(m->space, at, &is) != QUIRE_OK || is.start > at ||
            !(is.flags & QUIRE_REGION_LOCKED))
            return false;
    }
    return true;
}

/*
 * What is locked is first brought in as reading would.  It may be locked although that was not done
 * in the end: then it is as if the pages had left before.
 */
void op_lock(struct model_space *m)
{
    const struct oracle_alter alter = {.set = QUIRE_REGION_LOCKED};
    struct reach r;
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    if (length > LOCK_MAX)
        length = LOCK_MAX;
    reach(&r, m, at, length, QUIRE_READ);
    if (range_status(at, length) != QUIRE_OK) {
        r.status = QUIRE_OUT_OF_RANGE;
        r.grown = 0;
    }
    doing("lock(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    M.kept_in = true; /* a fork looks for locks even if there was no memory for this one */
    enum quire_status got = quire_lock(m->space, at, length);
    if (cut_short(got) && r.bytes > 0 && got != r.status)
        r.status = QUIRE_OK;
    bool done = judge_copies(m, got, r.status, reach_frames(&r, m) + change_frames(m->oracle));
    reach_settle(&r, m);
    if (!done && !is_locked(m, at, length))
        return;
    m->unlocked |= !done;
    map_alter(&m->oracle->map, at, at + length, &alter);
    altered_end(m, at, length);
}

void op_unlock(struct model_space *m)
{
    const struct oracle_alter alter = {.clear = QUIRE_REGION_LOCKED};
    uint64_t length;
    vaddr_t at;

    some_range(m, &at, &length);
    doing("unlock(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    if (altered(m, quire_unlock(m->space, at, length), at, &length, &alter, false))
        altered_end(m, at, length);
}

/* ---- content and guards ---------------------------------------------------------------------- */

void op_discard(struct model_space *m)
{
    uint64_t length = some_length();
    vaddr_t at = some_start(some_mapped_address(m->oracle, 7), length);

    doing("discard(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    enum quire_status got = quire_discard(m->space, at, length);
    (void)judge(got, range_status(at, length), change_frames(m->oracle), true);
    length = part_done(m, got, at, length, discarded_until, NULL);
    if (length > 0)
        content_gone(m, at, length);
}

/* Guards are entries: a range of them takes as many tables as one of pages. */
static void some_guard_range(const struct model_space *m, vaddr_t *at, uint64_t *length)
{
    const uint64_t most = 3 * ((uint64_t)QUIRE_PAGE_SIZE << QUIRE_TABLE_SHIFT);

    some_range(m, at, length);
    if (chance(60))
        *length = (uint64_t)(1 + below(2)) << QUIRE_PAGE_SHIFT;
    if (*length > most)
        *length = most;
}

void op_guard(struct model_space *m)
{
    uint64_t length;
    vaddr_t at;

    some_guard_range(m, &at, &length);
    doing("guard(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    if (!judge(quire_guard(m->space, at, length), whole_status(m, at, length),
               change_frames(m->oracle) + 2 * tables_over(length), false))
        return;
    ranges_add(&m->oracle->guards, at, at + length);
    content_gone(m, at, length);
}

void op_unguard(struct model_space *m)
{
    const struct oracle_ranges *guards = &m->oracle->guards;
    uint64_t length;
    vaddr_t at;

    some_guard_range(m, &at, &length);
    if (guards->count && chance(80))
        at = guards->range[below(guards->count)].low;
    doing("unguard(%u, %#llx, %#llx)", m->owner, (llu)at, (llu)length);
    if (!judge(quire_unguard(m->space, at, length), whole_status(m, at, length),
               change_frames(m->oracle), false))
        return;
    ranges_remove(&m->oracle->guards, at, at + length);
    pair_touch(m, at, length);
    altered_end(m, at, length);
}

/* ---- move ------------------------------------------------------------------------------------ */

/* Where it goes, or why it can not. */
static enum quire_status move_status(const struct model_space *m, vaddr_t from, uint64_t old,
                                     vaddr_t *to, uint64_t length, uint32_t flags)
{
    const struct oracle_map *map = &m->oracle->map;
    vaddr_t hint = *to;

    if (range_status(from, old) != QUIRE_OK)
        return QUIRE_OUT_OF_RANGE;
    if (flags & QUIRE_MOVE_FIXED) {
        if (range_status(hint, length) != QUIRE_OK)
            return QUIRE_OUT_OF_RANGE;
        if (hint < from + old && from < hint + length)
            return QUIRE_OVERLAPS;
        return map_whole(map, from, from + old) ? QUIRE_OK : QUIRE_NOT_MAPPED;
    }
    *to = from;
    if (length > M.high - M.low)
        return QUIRE_OUT_OF_RANGE;
    if (!map_whole(map, from, from + old))
        return QUIRE_NOT_MAPPED;
    if (length <= old || (from + length <= M.high && !map_any(map, from + old, from + length)))
        return QUIRE_OK;
    if (!(flags & QUIRE_MOVE_ANYWHERE))
        return QUIRE_NO_ADDRESSES;
    return map_gap(map, M.low, M.high, length, to) ? QUIRE_OK : QUIRE_NO_ADDRESSES;
}

void op_move(struct model_space *m)
{
    static const uint32_t kinds[] = {0, QUIRE_MOVE_ANYWHERE, QUIRE_MOVE_FIXED, QUIRE_MOVE_FIXED};
    uint32_t flags = kinds[below(4)];
    uint64_t old, length;
    vaddr_t from, hint, to;
    struct oracle_map map;

    some_range(m, &from, &old);
    length = chance(50) ? old : some_length();
    hint = some_start(chance(60) ? some_address() : some_mapped_address(m->oracle, 7), length);
    /* Places that lie alike in their tables: whole ones can move. */
    if (chance(50))
        hint = (hint & ~(((vaddr_t)QUIRE_PAGE_SIZE << QUIRE_TABLE_SHIFT) - 1)) |
               (from & (((vaddr_t)QUIRE_PAGE_SIZE << QUIRE_TABLE_SHIFT) - 1));
    to = hint;
    enum quire_status wanted = move_status(m, from, old, &to, length, flags);
    if (wanted == QUIRE_OK) {
        map_copy(&map, &m->oracle->map);
        map_move(&map, from, old, to, length);
        wanted = promise_status(m, &map);
    }
    doing("move(%u, %#llx, %#llx, to %#llx, %#llx, flags %u)", m->owner, (llu)from, (llu)old,
          (llu)hint, (llu)length, flags);
    vaddr_t at = hint;
    uint64_t shorter = old < length ? old : length;
    if (!judge(quire_move(m->space, from, old, &at, length, flags), wanted,
               2 * change_frames(m->oracle) + 4 * tables_over(shorter), false))
        return;
    if (at != to)
        fail("moved to %#llx, not %#llx", (llu)at, (llu)to);
    oracle_move(m->oracle, from, old, to, length);
    pins_lose(m, from + shorter, from + old);
    if (to != from) {
        pins_lose(m, to, to + length);
        pins_move(m, from, to, shorter);
    }
    pair_touch(m, from, old);
    pair_touch(m, to, length);
    altered_end(m, from, old);
    altered_end(m, to, length);
}
