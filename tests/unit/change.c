/* SPDX-License-Identifier: MIT */
/*
 * Every change of a space, in any order, against an array with one record for each page.
 *
 * The reference knows what a page is (mapped, reserved, promised, guarded, named, and the byte at
 * its start), and nothing of regions, tables or sharing.  Everything that the calls say, and what
 * is promised in all, must follow from it.
 */
#include "unit.h"

enum {
    PAGES = MICRO ? 40 : 1400,
    LOW = MICRO ? 6 : 300,
    SPACES = 3,
    RUN_MAX = MICRO ? 14 : 700,
    GAP = 2, /* pages below a stack */
    CHARGED = 0x80,
    TAKEN_MAX = 200,
    PLENTY = MICRO ? 400 : 20000, /* of frames */
};

struct page {
    bool mapped, guard;
    uint8_t prot, flags, name, byte;
};

struct model {
    bool live;
    struct page page[PAGES];
};

struct state {
    struct unit u;
    struct quire_space *space[SPACES];
    struct model model[SPACES];
    uint64_t random;
    bool poor; /* memory is short: any call may say so */
    uint64_t refused;
};

/* The status is as wanted: true if it was done; or memory was short, and nothing has changed. */
static bool done(struct state *s, enum quire_status status, enum quire_status wanted)
{
    if (s->poor && status == QUIRE_NO_MEMORY) {
        s->refused++;
        return false;
    }
    CHECK_STATUS(status, wanted);
    return status == QUIRE_OK;
}

static unsigned dice(struct state *s, unsigned sides)
{
    return (unsigned)(test_random(&s->random) % sides);
}

static vaddr_t address_of(int page) { return PAGE(LOW + page); }

/* ---- the reference -------------------------------------------------------------------------- */

static bool all_mapped(const struct model *m, int first, int count)
{
    for (int i = first; i < first + count; i++)
        if (i >= PAGES || !m->page[i].mapped)
            return false;
    return true;
}

static bool none_mapped(const struct model *m, int first, int count)
{
    for (int i = first; i < first + count; i++)
        if (i >= PAGES || m->page[i].mapped)
            return false;
    return true;
}

/* The first page of the highest hole of `count` pages; -1: there is none. */
static int highest_hole(const struct model *m, int count)
{
    int run = 0;

    for (int i = PAGES - 1; i >= 0; i--) {
        run = m->page[i].mapped ? 0 : run + 1;
        if (run == count)
            return i;
    }
    return -1;
}

static struct page settled(struct page p)
{
    if (p.flags & QUIRE_REGION_RESERVED)
        p.flags &= (uint8_t)~CHARGED;
    else if (p.prot & W)
        p.flags |= CHARGED;
    return p;
}

/* Does the space let `page` be touched; the pages of a stack that grows are added. */
static enum quire_status touch(struct model *m, int page, uint32_t access)
{
    const struct page *p = &m->page[page];
    int above = page, below = page;

    while (above < PAGES && !m->page[above].mapped)
        above++;
    while (below >= 0 && !m->page[below].mapped)
        below--;
    if (!p->mapped) {
        struct page stack;

        if (above == PAGES)
            return QUIRE_NOT_MAPPED;
        stack = m->page[above];
        if (!(stack.flags & QUIRE_REGION_GROWS_DOWN) || (stack.flags & QUIRE_REGION_RESERVED) ||
            !(stack.prot & access))
            return QUIRE_NOT_MAPPED;
        if (below >= 0 && (above - page - 1 > page - below - 1 || page - below - 1 < GAP))
            return QUIRE_NOT_MAPPED;
        stack.guard = false;
        stack.byte = 0;
        for (int i = page; i < above; i++)
            m->page[i] = stack;
    }
    if (p->flags & QUIRE_REGION_RESERVED)
        return QUIRE_NOT_COMMITTED;
    if (!(p->prot & access))
        return QUIRE_PROTECTED;
    return p->guard ? QUIRE_GUARDED : QUIRE_OK;
}

static uint64_t promised(const struct state *s)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < SPACES; i++)
        for (unsigned p = 0; p < PAGES && s->model[i].live; p++)
            pages += s->model[i].page[p].mapped && (s->model[i].page[p].flags & CHARGED);
    return pages;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static bool alike(struct page a, struct page b)
{
    return a.mapped == b.mapped && (!a.mapped || (a.prot == b.prot && a.name == b.name &&
                                                  !((a.flags ^ b.flags) & (uint8_t)~CHARGED)));
}

static void compare_regions(const struct model *m, struct quire_space *space)
{
    struct quire_region region;
    int i = 0;

    while (i < PAGES) {
        int start = i;
        struct page p = m->page[i];

        while (i < PAGES && alike(m->page[i], p))
            i++;
        if (!p.mapped)
            continue;
        CHECK_OK(quire_query(space, address_of((start + i) / 2), &region));
        CHECK(region.start == address_of(start) && region.end == address_of(i));
        CHECK(region.prot == p.prot && region.name == p.name);
        CHECK(region.flags == (p.flags & (uint8_t)~CHARGED));
    }
    while (i > 0 && !m->page[i - 1].mapped)
        i--;
    CHECK_STATUS(quire_query(space, address_of(i), &region), QUIRE_NOT_MAPPED);
}

/* What the tables hold, without touching them. */
static void compare_page(struct state *s, unsigned i, int page)
{
    const struct page *p = &s->model[i].page[page];
    struct quire_page found = page_at(s->space[i], address_of(page));
    const uint8_t *frame =
        s->u.w.frames + ((uint64_t)found.pfn - s->u.w.options.first_frame) * QUIRE_PAGE_SIZE;

    if (!p->mapped || (p->flags & QUIRE_REGION_RESERVED))
        CHECK(found.kind == (p->mapped && p->guard ? QUIRE_PAGE_GUARD : QUIRE_PAGE_EMPTY));
    else if (p->guard)
        CHECK(found.kind == QUIRE_PAGE_GUARD);
    else if (found.kind == QUIRE_PAGE_EMPTY)
        CHECK(p->byte == 0);
    else
        CHECK(found.kind != QUIRE_PAGE_GUARD && frame[0] == p->byte);
}

static void compare(struct state *s)
{
    audit(&s->u);
    CHECK(stats_of(&s->u).committed == promised(s));
    for (unsigned i = 0; i < SPACES; i++) {
        if (!s->model[i].live)
            continue;
        compare_regions(&s->model[i], s->space[i]);
        for (int page = 0; page < PAGES; page++)
            compare_page(s, i, page);
    }
}

/* ---- operations ----------------------------------------------------------------------------- */

struct range {
    int first, count;
};

static struct range some_range(struct state *s)
{
    struct range r = {(int)dice(s, PAGES), 0};
    int most = PAGES - r.first < RUN_MAX ? PAGES - r.first : RUN_MAX;

    r.count = 1 + (int)dice(s, (unsigned)(dice(s, 3) ? most < 6 ? most : 6 : most));
    return r;
}

static uint32_t some_prot(struct state *s)
{
    static const uint32_t prots[] = {0, R, RW, RW, RW, R | X};

    return prots[dice(s, 6)];
}

static void do_map(struct state *s, unsigned i)
{
    static const uint32_t kinds[] = {0, 0, QUIRE_MAP_RESERVE, QUIRE_MAP_GROWS_DOWN};
    struct model *m = &s->model[i];
    struct range r = some_range(s);
    uint32_t prot = some_prot(s), kind = kinds[dice(s, 4)];
    bool replace = dice(s, 3) == 0, free = none_mapped(m, r.first, r.count);
    vaddr_t address = address_of(r.first);
    struct page p = {.mapped = true, .prot = (uint8_t)prot};

    if (kind == QUIRE_MAP_RESERVE)
        p.flags = QUIRE_REGION_RESERVED;
    if (kind == QUIRE_MAP_GROWS_DOWN)
        p.flags = QUIRE_REGION_GROWS_DOWN;
    if (!done(s,
              quire_map(s->space[i], &address, PAGE(r.count), prot,
                        QUIRE_MAP_FIXED | kind | (replace ? QUIRE_MAP_REPLACE : 0)),
              free || replace ? QUIRE_OK : QUIRE_OVERLAPS))
        return;
    for (int n = r.first; n < r.first + r.count; n++)
        m->page[n] = settled(p);
}

static void do_unmap(struct state *s, unsigned i)
{
    struct range r = some_range(s);

    if (!done(s, quire_unmap(s->space[i], address_of(r.first), PAGE(r.count)), QUIRE_OK))
        return;
    for (int n = r.first; n < r.first + r.count; n++)
        s->model[i].page[n] = (struct page){0};
}

static void do_discard(struct state *s, unsigned i)
{
    struct range r = some_range(s);

    if (!done(s, quire_discard(s->space[i], address_of(r.first), PAGE(r.count)), QUIRE_OK))
        return;
    for (int n = r.first; n < r.first + r.count; n++)
        s->model[i].page[n].byte = 0;
}

/* The operations on a range without a hole. */
static void do_alter(struct state *s, unsigned i, unsigned what)
{
    struct model *m = &s->model[i];
    struct quire_space *space = s->space[i];
    struct range r = some_range(s);
    uint32_t prot = some_prot(s);
    uint8_t name = (uint8_t)dice(s, 3);
    unsigned advice = dice(s, QUIRE_ADVICE_COUNT);
    vaddr_t low = address_of(r.first);
    uint64_t length = PAGE(r.count);
    bool whole = all_mapped(m, r.first, r.count);
    enum quire_status status = QUIRE_OK;

    switch (what) {
    case 0: status = quire_protect(space, low, length, prot); break;
    case 1: status = quire_commit(space, low, length, prot); break;
    case 2: status = quire_decommit(space, low, length); break;
    case 3: status = quire_guard(space, low, length); break;
    case 4: status = quire_unguard(space, low, length); break;
    case 5: status = quire_advise(space, low, length, (enum quire_advice)advice); break;
    default: status = quire_name(space, low, length, name); break;
    }
    if (!done(s, status, whole ? QUIRE_OK : QUIRE_NOT_MAPPED))
        return;
    for (int n = r.first; n < r.first + r.count; n++) {
        struct page *p = &m->page[n];

        if (what == 0 || what == 1)
            p->prot = (uint8_t)prot;
        if (what == 1)
            p->flags &= (uint8_t)~QUIRE_REGION_RESERVED;
        if (what == 2)
            p->flags |= QUIRE_REGION_RESERVED;
        if (what == 2 || what == 3)
            p->byte = 0;
        if (what == 2 || what == 4)
            p->guard = false;
        if (what == 3)
            p->guard = true;
        if (what == 5) {
            p->flags &= (uint8_t) ~(QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE);
            p->flags |= advice == QUIRE_FORK_OMIT   ? QUIRE_REGION_FORK_OMIT
                        : advice == QUIRE_FORK_WIPE ? QUIRE_REGION_FORK_WIPE
                                                    : 0;
        }
        if (what == 6)
            p->name = name;
        *p = settled(*p);
    }
}

/* Where the model says that it goes, or the status that it must have. */
static enum quire_status move_model(struct model *m, struct range r, int length, uint32_t flags,
                                    int *to)
{
    struct page kept[PAGES];
    int moved = length < r.count ? length : r.count;

    if (flags == QUIRE_MOVE_FIXED && *to < r.first + r.count && r.first < *to + length)
        return QUIRE_OVERLAPS;
    if (!all_mapped(m, r.first, r.count))
        return QUIRE_NOT_MAPPED;
    if (flags != QUIRE_MOVE_FIXED) {
        *to = r.first;
        if (length > r.count && !none_mapped(m, r.first + r.count, length - r.count))
            *to = flags == QUIRE_MOVE_ANYWHERE ? highest_hole(m, length) : -1;
        if (*to < 0)
            return QUIRE_NO_ADDRESSES;
    }
    memcpy(kept, &m->page[r.first], (size_t)r.count * sizeof kept[0]);
    for (int n = r.first; n < r.first + r.count; n++)
        m->page[n] = (struct page){0};
    for (int n = 0; n < length; n++) {
        m->page[*to + n] = kept[n < moved ? n : r.count - 1];
        if (n < moved)
            continue;
        m->page[*to + n].guard = false;
        m->page[*to + n].byte = 0;
    }
    return QUIRE_OK;
}

static void do_move(struct state *s, unsigned i)
{
    static const uint32_t all[] = {0, QUIRE_MOVE_ANYWHERE, QUIRE_MOVE_FIXED, QUIRE_MOVE_FIXED};
    struct range r = some_range(s);
    uint32_t flags = all[dice(s, 4)];
    int length = dice(s, 2) ? r.count : some_range(s).count;
    int most = PAGES - length, to = (int)dice(s, (unsigned)most + 1);
    struct model before = s->model[i];
    vaddr_t address;
    enum quire_status wanted, status;

    /* Often both places lie alike in their tables. */
    if (dice(s, 2))
        to = (r.first + (int)(LEAF_PAGES * dice(s, 10))) % (most + 1);
    address = address_of(to);
    wanted = move_model(&s->model[i], r, length, flags, &to);
    status =
        quire_move(s->space[i], address_of(r.first), PAGE(r.count), &address, PAGE(length), flags);
    if (done(s, status, wanted))
        CHECK(address == address_of(to));
    else
        s->model[i] = before;
}

static void access_page(struct state *s, unsigned i, int page, bool store)
{
    struct model before = s->model[i];
    vaddr_t at = address_of(page);
    uint8_t byte = (uint8_t)(1 + dice(s, 255));
    enum quire_status wanted = touch(&s->model[i], page, store ? W : R);
    enum quire_status status = store ? test_store(&s->u.w, s->space[i], at, byte)
                                     : test_load(&s->u.w, s->space[i], at, &byte);
    struct quire_region region;

    if (done(s, status, wanted)) {
        if (store)
            s->model[i].page[page].byte = byte;
        CHECK(byte == s->model[i].page[page].byte);
    } else if (status == QUIRE_NO_MEMORY &&
               (quire_query(s->space[i], at, &region) != QUIRE_OK || region.start > at)) {
        s->model[i] = before; /* a stack that did not grow */
    }
}

static void do_access(struct state *s, unsigned i)
{
    int page = (int)dice(s, PAGES), count = 1 + (int)dice(s, 8);

    for (; count > 0 && page < PAGES; count--, page++)
        access_page(s, i, page, dice(s, 2));
}

static void do_fork(struct state *s, unsigned i)
{
    unsigned to = dice(s, SPACES);

    if (to == i)
        return;
    if (s->model[to].live)
        test_end(&s->u.w, s->space[to]);
    s->model[to].live = false;
    if (!done(s, quire_space_fork(s->space[i], &s->space[to]), QUIRE_OK))
        return;
    s->model[to] = s->model[i];
    for (unsigned n = 0; n < PAGES; n++) {
        struct page *p = &s->model[to].page[n];

        if (p->flags & QUIRE_REGION_FORK_OMIT)
            *p = (struct page){0};
        if (p->flags & QUIRE_REGION_FORK_WIPE) {
            p->byte = 0;
            p->guard = false;
        }
    }
}

static void step(struct state *s)
{
    unsigned i = dice(s, SPACES), what = dice(s, 20);

    test_cpu = dice(s, s->u.w.options.cpus);
    while (!s->model[i].live)
        i = (i + 1) % SPACES;
    if (what < 3)
        do_map(s, i);
    else if (what < 4)
        do_unmap(s, i);
    else if (what < 5)
        do_discard(s, i);
    else if (what < 12)
        do_alter(s, i, what - 5);
    else if (what < 14)
        do_move(s, i);
    else if (what < 19)
        do_access(s, i);
    else
        do_fork(s, i);
}

/* Steps of one world, of which every `look`-th is followed by a look at everything. */
static uint64_t world(uint64_t seed, uint32_t frames, unsigned steps, unsigned look)
{
    static struct state s;

    s = (struct state){.random = seed, .poor = frames != PLENTY};
    test_world_create(&s.u.w, &(struct test_options){.frames = frames,
                                                     .cpus = 1 + seed % 2,
                                                     .low = PAGE(LOW),
                                                     .high = PAGE(LOW + PAGES),
                                                     .stack_gap = PAGE(GAP)});
    s.u.free_at_start = quire_free_frames(s.u.w.q);
    s.space[0] = space_new(&s.u);
    s.model[0].live = true;
    for (unsigned n = 0; n < steps; n++) {
        step(&s);
        if (n % look == 0 || n + 1 == steps)
            compare(&s);
    }
    for (unsigned i = 0; i < SPACES; i++)
        if (s.model[i].live)
            end(&s.u, s.space[i]);
    test_cpu = 0;
    CHECK(stats_of(&s.u).committed == 0);
    finish(&s.u);
    return s.refused;
}

/*
 * Goal: whatever is done to a space in whatever order, regions, contents, guards and promises are
 * what was asked.  Method: random operations on spaces that fork from each other.
 */
static void against_an_array(void)
{
    const unsigned worlds = MICRO ? 300 : 6, steps = MICRO ? 300 : 800;

    for (unsigned seed = 1; seed <= worlds; seed++)
        world(seed, PLENTY, steps, MICRO ? 1 : 8);
    FIGURES("%u operations", worlds * steps);
}

/*
 * Goal: each operation takes the frames that it said it would need, or changes nothing.  Method:
 * the same in worlds with few frames, where everything is refused now and then.
 */
static void with_few_frames(void)
{
    const unsigned worlds = MICRO ? 600 : 12, steps = MICRO ? 200 : 400;
    uint64_t refused = 0;

    for (unsigned seed = 1; seed <= worlds; seed++)
        refused += world(seed, 12 + seed % (MICRO ? 40 : 60), steps, MICRO ? 1 : 8);
    CHECK(refused > worlds);
    FIGURES("%u operations, %llu refused", worlds * steps, (unsigned long long)refused);
}

/*
 * Goal: a change is not refused while frames that are free lie with another CPU.  Method: CPU 0
 * takes all there are, CPU 1 frees some, which it keeps; CPU 0 maps, and puts up guards.
 */
static void frames_of_another_cpu(void)
{
    struct unit u;
    struct quire_space *a, *b;
    vaddr_t at = 4 * LEAF;
    pfn_t taken[TAKEN_MAX];
    unsigned count = 0;

    test_world_create(&u.w, &(struct test_options){.cpus = 2, .frames = TAKEN_MAX});
    a = space_new(&u);
    b = space_new(&u);
    map(&u, a, 0, PAGE(2), RW);
    map(&u, b, 0, 4 * PAGE(4), RW);
    for (unsigned i = 0; i < 16; i++)
        put(&u, b, PAGE(i), 1);
    while (count < TAKEN_MAX && quire_frame_take(u.w.q, &taken[count]) == QUIRE_OK)
        count++;
    CHECK(quire_free_frames(u.w.q) == 0);
    test_cpu = 1;
    CHECK_OK(quire_discard(b, 0, 4 * PAGE(4)));
    test_cpu = 0;
    CHECK(quire_free_frames(u.w.q) >= 16);
    CHECK_OK(quire_map(a, &at, PAGE(2), R, QUIRE_MAP_FIXED));
    CHECK_OK(quire_guard(a, at, PAGE(1)));
    for (unsigned i = 0; i < count; i++)
        quire_frame_give(u.w.q, taken[i]);
    end(&u, a);
    end(&u, b);
    test_world_destroy(&u.w);
}

CHECK_MAIN("unit.change", TEST(against_an_array), TEST(with_few_frames),
           TEST(frames_of_another_cpu))
