/* SPDX-License-Identifier: MIT */
/*
 * Differences and attribution.
 *
 * A difference has to have a bit for every page whose bytes differ, or that is mapped, or a guard,
 * on one side only; and, between a space and its mark, no bit for a page that neither has touched
 * since.
 */
#include "state.h"

#include <string.h>

enum { DIFF_PAGES = MICRO ? 64 : 2048, DIFF_WORDS = DIFF_PAGES / 64 + 1 };

void pair_begin(struct model_space *parent, struct model_space *child)
{
    parent->pair = child->pair = ++M.pairs;
    parent->touched.count = child->touched.count = 0;
    parent->touched.lost = child->touched.lost = false;
    /* What fork does not share. */
    for (unsigned i = 0; i < parent->oracle->map.count; i++) {
        const struct oracle_region *r = &parent->oracle->map.region[i];

        if (r->flags & (QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE))
            pair_touch(parent, r->start, r->end - r->start);
    }
    pins_touch(parent);
}

void pair_touch(struct model_space *m, vaddr_t low, uint64_t length)
{
    const vaddr_t mask = ~(vaddr_t)(QUIRE_PAGE_SIZE - 1);

    if (m->pair == 0 || length == 0)
        return;
    ranges_add(&m->touched, low & mask, (low + length + ~mask) & mask);
    if (m->touched.lost)
        m->pair = 0;
}

/* ---- diff ------------------------------------------------------------------------------------ */

/* What there is at an address, content aside. */
static unsigned sort_of(const struct oracle *o, vaddr_t at)
{
    const struct oracle_region *r = map_find(&o->map, at);

    return !r ? 0 : ranges_have(&o->guards, at) ? 1 : r->flags & QUIRE_REGION_RESERVED ? 2 : 3;
}

/* `touched`: what may differ, or null: anything may. */
static void compare_bits(const struct model_space *a, const struct oracle *b,
                         const struct oracle_ranges *touched[2], vaddr_t low, uint64_t length,
                         const uint64_t *bits)
{
    for (uint64_t i = 0; i < length >> QUIRE_PAGE_SHIFT; i++) {
        vaddr_t at = low + (i << QUIRE_PAGE_SHIFT);
        uint64_t number = at >> QUIRE_PAGE_SHIFT;
        bool bit = bits[i / 64] >> i % 64 & 1;
        bool differ =
            sort_of(a->oracle, at) != sort_of(b, at) ||
            memcmp(oracle_bytes(a->oracle, number), oracle_bytes(b, number), QUIRE_PAGE_SIZE) != 0;

        if (differ && !bit)
            fail("page %#llx differs, and has no bit", (llu)at);
        /* A page that has left and come back may have one. */
        if (bit && M.max_slots == 0 && touched[0] && !ranges_have(touched[0], at) &&
            !ranges_have(touched[1], at))
            fail("page %#llx has a bit, and was not touched", (llu)at);
    }
    if (length >> QUIRE_PAGE_SHIFT & 63 &&
        bits[length >> QUIRE_PAGE_SHIFT >> 6] >> (length >> QUIRE_PAGE_SHIFT & 63))
        fail("there are bits behind the range");
    M.result->diffs++;
}

static void some_diff_range(const struct model_space *m, vaddr_t *low, uint64_t *length)
{
    const uint64_t most = (uint64_t)DIFF_PAGES << QUIRE_PAGE_SHIFT;

    *length = MICRO && chance(50) ? most : some_length();
    *low = some_start(some_mapped_address(m->oracle, 7), *length);
    if (*length > most)
        *length = most;
    if (*low < M.low)
        *low = M.low;
    if (*low > M.high - QUIRE_PAGE_SIZE)
        *low = M.high - QUIRE_PAGE_SIZE;
    if (*length > M.high - *low)
        *length = M.high - *low;
}

/* Another space, and most often the one that this one is compared with. */
static struct model_space *some_other(const struct model_space *m)
{
    for (unsigned i = 0; i < SPACES_MAX && chance(80); i++) {
        if (m->pair && M.spaces[i].space && &M.spaces[i] != m && M.spaces[i].pair == m->pair)
            return &M.spaces[i];
    }
    struct model_space *other = some_space();
    return other == m ? NULL : other;
}

void op_diff(struct model_space *m)
{
    struct model_space *other = some_other(m);
    const struct oracle_ranges *touched[2] = {NULL, NULL};
    uint64_t bits[DIFF_WORDS], length;
    vaddr_t low;

    if (!other)
        return;
    some_diff_range(m, &low, &length);
    doing("diff(%u, %u, %#llx, %#llx)", m->owner, other->owner, (llu)low, (llu)length);
    memset(bits, 0xff, sizeof bits);
    if (!judge(quire_diff(m->space, other->space, low, length, bits), QUIRE_OK, 0, false))
        return;
    if (m->pair && m->pair == other->pair) {
        touched[0] = &m->touched;
        touched[1] = &other->touched;
    }
    compare_bits(m, other->oracle, touched, low, length, bits);
}

void op_diff_and_mark(struct model_space *m)
{
    struct model_space *mark = some_other(m);
    const struct oracle_ranges *touched[2] = {NULL, NULL};
    uint64_t bits[DIFF_WORDS], length;
    vaddr_t low;

    if (!mark)
        return;
    struct quire_space *was = mark->space, *is = was;
    some_diff_range(m, &low, &length);
    doing("diff_and_mark(%u, %u, %#llx, %#llx)", m->owner, mark->owner, (llu)low, (llu)length);
    memset(bits, 0xff, sizeof bits);
    for (uint32_t i = 0; i < M.world.machine->cpu_count; i++) {
        if (M.world.cpu[i]->space == was)
            soft_cpu_run(M.world.cpu[i], M.world.q, NULL);
    }
    M.busy_mark = mark;
    enum quire_status got = quire_diff_and_mark(m->space, &is, low, length, bits);
    bool done = judge(got, room_status(got), fork_frames(m), false);
    M.busy_mark = NULL;
    if (!done) {
        if (is != was)
            fail("the mark has changed although it failed");
        return;
    }
    if (m->pair && m->pair == mark->pair) {
        touched[0] = &m->touched;
        touched[1] = &mark->touched;
    }
    compare_bits(m, mark->oracle, touched, low, length, bits);
    mark->space = NULL;
    M.live--;
    pins_lose(mark, 0, UINT64_MAX);
    fork_done(m, is);
}

/* ---- attribution ----------------------------------------------------------------------------- */

struct parts {
    uint64_t sum;
    unsigned count;
};

static void part(void *context, struct quire_space *space, uint64_t part)
{
    struct parts *p = context;

    if (!model_of(space))
        fail("a part for a space that is not there");
    if (M.live == 1 && part >> 32 == 0)
        fail("a space alone pays for less than its root");
    p->sum += part;
    p->count++;
}

void op_attribute(void)
{
    struct parts p = {0};
    struct quire_stats stats;

    doing("attribute");
    uint64_t frames = quire_attribute(M.world.q, part, &p);
    quire_stats(M.world.q, &stats);
    uint64_t there = stats.frames_data + stats.frames_table + stats.frames_side - pins_orphans();
    /* What no view has of a section, nobody pays for. */
    if (p.count != M.live || p.sum != frames << 32 || frames > there ||
        (frames < there && sections_live() == 0))
        fail("%u spaces pay %#llx for %llu frames; %u spaces have %llu", p.count, (llu)p.sum,
             (llu)frames, M.live, (llu)there);
}
