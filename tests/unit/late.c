/* SPDX-License-Identifier: MIT */
/*
 * What happens between the steps of a call: other calls, at the moments when they matter.
 *
 * Between two slices of a destroy, within a flush, and while the host looks for memory, somebody
 * else can run.  Here a hook of the world or of the machine does there, on the same thread, what
 * another CPU could do; so each case is exact, and needs no luck.
 */
#include "unit.h"

#include "space.h"

enum { HOARD_MAX = 8192 };

static pfn_t hoard[HOARD_MAX];
static uint32_t hoarded;

/* No ordinary operation can have a frame, until they are given back. */
static void take_all(struct unit *u)
{
    while (hoarded < HOARD_MAX && quire_frame_take(u->w.q, &hoard[hoarded]) == QUIRE_OK)
        hoarded++;
    CHECK(quire_free_frames(u->w.q) == 0);
}

static void give_all(struct unit *u)
{
    while (hoarded > 0)
        quire_frame_give(u->w.q, hoard[--hoarded]);
}

/* ---- what waits to be freed ------------------------------------------------------------------ */

static uint64_t parts;

static void add_part(void *context, struct quire_space *space, uint64_t part)
{
    (void)context, (void)space;
    parts += part;
}

/* When two tables wait at least: one slice of work, or the tables dropped for the sake of sums. */
static void work_in_yield(struct test_world *world)
{
    pfn_t first = world->q->drop_list;

    if (first == QI_NO_FRAME || frame_record(&world->q->frames, first)->next == QI_NO_FRAME)
        return;
    world->yield = NULL;
    CHECK(quire_work(world->q, 0));
    if (!world->context) {
        CHECK(quire_work(world->q, 1));
        return;
    }
    CHECK(quire_attribute(world->q, add_part, NULL) << 32 == parts);
    CHECK(world->q->drop_list == QI_NO_FRAME);
}

/*
 * Goal: what waits is done in slices by whoever comes, and at once for a sum over all tables.
 * Method: while a destroyed space's leaves wait, one slice of work; and then an attribution.
 */
static void work_waits(void)
{
    for (unsigned n = 0; n < 2; n++) {
        struct unit u;
        struct quire_space *space, *other;

        begin(&u);
        other = space_new(&u);
        space = space_new(&u);
        map(&u, space, 0, 4 * LEAF, RW);
        for (unsigned i = 0; i < 4; i++)
            put(&u, space, i * LEAF, 1);
        test_run(&u.w, 0, NULL);
        parts = 0;
        u.w.yield = work_in_yield;
        u.w.context = n == 0 ? NULL : other;
        quire_space_destroy(space);
        CHECK(!u.w.yield);
        end(&u, other);
        finish(&u);
    }
}

/* ---- regions that wait are memory ------------------------------------------------------------ */

enum { REGIONS = MICRO ? 24 : 200 };

static void edit_in_yield(struct test_world *world)
{
    world->yield = NULL;
    CHECK(qi_nodes_dead(&world->q->nodes));
    CHECK_OK(quire_advise(world->context, 0, PAGE(REGIONS), QUIRE_FORK_WIPE));
}

/*
 * Goal: an edit that finds no frame takes the nodes of a space that is gone.  Method: no frame is
 * free, and the regions of a destroyed space wait; before its first slice an edit makes every
 * region of another space anew.
 */
static void dead_nodes_are_memory(void)
{
    struct unit u;
    struct quire_space *space, *gone;

    begin_with(&u, &(struct test_options){.frames = 256});
    space = space_new(&u);
    gone = space_new(&u);
    for (unsigned i = 0; i < REGIONS; i++) {
        map(&u, space, PAGE(i), PAGE(1), i & 1 ? R : R | X);
        map(&u, gone, PAGE(i), PAGE(1), i & 1 ? R : R | X);
    }
    take_all(&u);
    u.w.yield = edit_in_yield;
    u.w.context = space;
    quire_space_destroy(gone);
    CHECK(!u.w.yield && u.w.need_calls == 0);
    audit(&u);
    end(&u, space);
    give_all(&u);
    finish(&u);
}

/* ---- limbo ----------------------------------------------------------------------------------- */

static struct test_world *flushing;

/* Within a call of CPU 0, CPU 1 gives up the pages of another space. */
static void discard_in_flush(struct soft_machine *machine, struct quire_space *space, vaddr_t low,
                             vaddr_t high)
{
    (void)space, (void)low, (void)high;
    machine->on_flush = NULL;
    test_cpu = 1;
    CHECK_OK(quire_discard(flushing->context, 0, 16 * LEAF));
    test_cpu = 0;
}

/*
 * Goal: frames in a limbo that is closed, and was not over when its CPU left, can be had.  Method:
 * CPU 1 frees a batch within a call of CPU 0 and never calls again; then CPU 0 needs frames, of
 * which there are no others.
 */
static void closed_limbo_is_memory(void)
{
    enum { PAGES = MICRO ? 4 : 40 };
    struct unit u;
    struct quire_space *space, *other;

    begin_with(&u, &(struct test_options){.callers = 2});
    space = space_new(&u);
    other = space_new(&u);
    map(&u, space, 0, LEAF, RW);
    map(&u, other, 0, LEAF, RW);
    put_each(&u, other, PAGES);
    put(&u, space, 0, 1);
    take_all(&u);
    flushing = &u.w;
    u.w.context = other;
    u.w.machine->on_flush = discard_in_flush;
    CHECK_OK(quire_discard(space, 0, PAGE(1)));
    CHECK(!u.w.machine->on_flush);
    CHECK(u.w.q->cpus[1].limbo[1].count >= PAGES);
    CHECK(u.w.q->cpus[1].limbo[0].count == 0 && u.w.q->cpus[1].cache.count == 0);
    CHECK_OK(quire_populate(space, 0, PAGE(4), W, NULL));
    CHECK(u.w.need_calls == 0 && u.w.q->cpus[1].limbo[1].count == 0);
    end(&u, space);
    end(&u, other);
    give_all(&u);
    finish(&u);
}

/* ---- the host helps -------------------------------------------------------------------------- */

static bool give_frames(struct test_world *world, uint32_t frames)
{
    (void)frames;
    world->need_frames = NULL;
    give_all(world->context);
    return true;
}

static bool give_promises(struct test_world *world, uint64_t pages)
{
    struct quire_space *victim = world->context;

    CHECK(pages > 0);
    world->need_commit = NULL;
    CHECK_OK(quire_unmap(victim, LEAF, LEAF));
    return true;
}

/*
 * Goal: a difference with a new mark waits for memory and for promises as a fork does.  Method: a
 * pinned page, which the new mark needs a copy of, with no frame free; then more pages than may be
 * promised.  The host says no, and then it helps.
 */
static void marking_waits(void)
{
    struct unit u;
    struct quire_space *space, *mark, *first, *victim;
    struct quire_run run;
    struct quire_pin pin;
    uint64_t bits[LEAF_PAGES / 64 + 1];

    begin_with(&u, &(struct test_options){.max_pins = 1, .commit_limit = 4 * LEAF_PAGES});
    space = space_new(&u);
    victim = space_new(&u);
    map(&u, space, 0, LEAF, RW);
    map(&u, victim, 0, 2 * LEAF, RW);
    first = mark = fork_of(&u, space);
    put(&u, space, PAGE(1), 1);
    CHECK_STATUS(quire_diff_and_mark(space, &mark, 0, LEAF, bits), QUIRE_NO_COMMIT);
    CHECK(mark == first && u.w.need_commit_calls == 1);
    u.w.context = victim;
    u.w.need_commit = give_promises;
    CHECK_OK(quire_diff_and_mark(space, &mark, 0, LEAF, bits));
    CHECK(bits[0] == 2 && u.w.need_commit_calls == 2);
    CHECK_OK(quire_pin(space, PAGE(2), 1, QUIRE_WRITE, &run, 1, &pin));
    audit(&u);
    take_all(&u);
    first = mark;
    CHECK_STATUS(quire_diff_and_mark(space, &mark, 0, LEAF, bits), QUIRE_NO_MEMORY);
    CHECK(mark == first && u.w.need_calls == 1);
    u.w.context = &u;
    u.w.need_frames = give_frames;
    CHECK_OK(quire_diff_and_mark(space, &mark, 0, LEAF, bits));
    CHECK(bits[0] == 4 && u.w.need_calls == 2);
    CHECK_OK(quire_unpin(u.w.q, &pin));
    end(&u, mark);
    end(&u, victim);
    end(&u, space);
    finish(&u);
}

/* ---- a stack that is to grow ----------------------------------------------------------------- */

enum meanwhile { GROWN, UNMAPPED, REPLACED, DECOMMITTED, MEANWHILES };

static enum meanwhile meanwhile;

static bool change_the_stack(struct test_world *world, uint32_t frames)
{
    struct quire_space *space = world->context;
    vaddr_t address = PAGE(10);
    const uint32_t fixed = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;

    (void)frames;
    world->need_frames = NULL;
    switch (meanwhile) {
    case GROWN: CHECK_OK(quire_fault(space, PAGE(8), W)); break;
    case UNMAPPED: CHECK_OK(quire_unmap(space, address, PAGE(2))); break;
    case REPLACED: CHECK_OK(quire_map(space, &address, PAGE(2), RW, fixed)); break;
    case DECOMMITTED: CHECK_OK(quire_decommit(space, address, PAGE(2))); break;
    case MEANWHILES: break;
    }
    return true;
}

/*
 * Goal: a stack that grows looks at everything again after it waited.  Method: no node can be had
 * for the new region; meanwhile it has grown, gone, become another mapping, or lost its memory.
 */
static void stack_changes_while_waiting(void)
{
    static const enum quire_status wanted[MEANWHILES] = {QUIRE_OK, QUIRE_NOT_MAPPED,
                                                         QUIRE_NOT_MAPPED, QUIRE_NOT_MAPPED};

    for (meanwhile = 0; meanwhile < MEANWHILES; meanwhile++) {
        struct unit u;
        struct quire_space *space;
        vaddr_t address = PAGE(10);

        begin(&u);
        space = space_new(&u);
        CHECK_OK(quire_map(space, &address, PAGE(2), RW, QUIRE_MAP_FIXED | QUIRE_MAP_GROWS_DOWN));
        u.w.context = space;
        u.w.need_frames = change_the_stack;
        test_failure_set(1, false, 1u << QI_SITE_NODE);
        CHECK_STATUS(quire_fault(space, PAGE(9), W), wanted[meanwhile]);
        test_failure_set(0, false, 0);
        CHECK(!u.w.need_frames);
        audit(&u);
        end(&u, space);
        finish(&u);
    }
}

/* ---- gaps ------------------------------------------------------------------------------------ */

/* The same by trying every place. */
static bool highest_gap(struct quire_space *space, uint64_t low, uint64_t high, uint64_t pages,
                        vaddr_t *out)
{
    for (uint64_t at = high; high >= low + pages && at-- > low;) {
        bool free = at + pages <= high;

        for (uint64_t i = at; free && i < at + pages; i++)
            free = qi_region_find(space->regions, PAGE(i)) == NULL;
        *out = PAGE(at);
        if (free)
            return true;
    }
    return false;
}

/*
 * Goal: the highest gap within any window, wherever that lies in the tree.  Method: seven regions
 * with gaps of different sizes, all windows and lengths, against trying every place.
 */
static void gaps_within_windows(void)
{
    enum { END = 30 };
    static const uint8_t start[] = {2, 4, 9, 10, 14, 17, 24};
    struct unit u;
    struct quire_space *space;
    unsigned found = 0;

    begin(&u);
    space = space_new(&u);
    for (unsigned i = 0; i < sizeof start; i++)
        map(&u, space, PAGE(start[i]), PAGE(1 + i % 2), i & 1 ? RW : R);
    for (uint64_t low = 0; low < END; low++) {
        for (uint64_t high = low; high < END; high++) {
            for (uint64_t pages = 1; pages < 8; pages++) {
                vaddr_t wanted = 0, got = 0;
                bool there = highest_gap(space, low, high, pages, &wanted);

                CHECK(qi_region_highest_gap(space->regions, PAGE(low), PAGE(high), PAGE(pages),
                                            &got) == there);
                CHECK(!there || got == wanted);
                found += there;
            }
        }
    }
    FIGURES("%u gaps", found);
    end(&u, space);
    finish(&u);
}

CHECK_MAIN("unit.late", TEST(work_waits), TEST(dead_nodes_are_memory), TEST(closed_limbo_is_memory),
           TEST(marking_waits), TEST(stack_changes_while_waiting), TEST(gaps_within_windows))
