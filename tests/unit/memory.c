/* SPDX-License-Identifier: MIT */
/*
 * Running out of memory: an operation that cannot have what it needs has done nothing.
 *
 * Two ways to run out: there really are too few frames, or the test build's n-th allocation is made
 * to fail.  Faults are held to the letter: not one byte of arena and frames may differ but two
 * counters (faults, no_memory).  Operations that build region nodes may leave another order of free
 * frames behind; there everything that a caller can see is compared.
 */
#include "unit.h"

enum { SPACES = 3, PAGES = 12 };

/* What a caller can see of a world: regions, pages, bytes, frames. */
struct view {
    struct quire_region region[SPACES][16];
    struct quire_page page[SPACES][PAGES];
    uint8_t byte[SPACES][PAGES];
    uint64_t frames[6];
};

static vaddr_t view_page(unsigned p) { return p / 4 * LEAF + PAGE(p % 4); }

static void view_take(struct unit *u, struct quire_space **space, struct view *view)
{
    struct quire_stats s = stats_of(u);

    memset(view, 0, sizeof *view);
    for (unsigned i = 0; i < SPACES && space[i]; i++) {
        vaddr_t at = 0;

        for (unsigned r = 0; r < 16; r++) {
            struct quire_region region;

            if (quire_query(space[i], at, &region) != QUIRE_OK)
                break;
            view->region[i][r].start = region.start;
            view->region[i][r].end = at = region.end;
            view->region[i][r].prot = region.prot;
        }
        for (unsigned p = 0; p < PAGES; p++) {
            struct quire_page page = page_at(space[i], view_page(p));
            struct quire_page *to = &view->page[i][p];

            to->kind = page.kind;
            to->pfn = page.pfn;
            to->readable = page.readable;
            to->executable = page.executable;
            to->dirty = page.dirty;
            if (page.kind != QUIRE_PAGE_EMPTY)
                view->byte[i][p] =
                    u->w.frames[(size_t)(page.pfn - u->w.config.first_frame) * QUIRE_PAGE_SIZE];
        }
    }
    view->frames[0] = s.frames_free;
    view->frames[1] = s.frames_data;
    view->frames[2] = s.frames_table;
    view->frames[3] = s.frames_side;
    view->frames[4] = s.frames_node;
    view->frames[5] = s.table_share_sum;
}

/* How many 64-bit words of the arena differ from a copy; -1 if a byte of a frame does. */
static int words_changed(struct unit *u, const unsigned char *copy)
{
    size_t arena = (size_t)(u->w.arena - u->w.block), frames = (size_t)(u->w.frames - u->w.block);
    int changed = 0;

    if (memcmp(u->w.frames, copy + frames, u->w.block_size - frames))
        return -1;
    for (size_t at = arena; at < frames; at += 8)
        changed += memcmp(u->w.block + at, copy + at, 8) != 0;
    return changed;
}

/* Frames that the test holds, so that exactly so many are free as it wants. */
static pfn_t taken[1 << 16];
static uint32_t taken_count;

static void leave_free(struct unit *u, uint32_t count)
{
    while (quire_free_frames(u->w.q) > count)
        CHECK_OK(quire_frame_take(u->w.q, &taken[taken_count++]));
    while (taken_count && quire_free_frames(u->w.q) < count)
        quire_frame_give(u->w.q, taken[--taken_count]);
}

static void give_all(struct unit *u)
{
    while (taken_count)
        quire_frame_give(u->w.q, taken[--taken_count]);
}

/* A family: 0 owns pages, 1 was forked from it and left the first leaf, 2 is a fork of 1. */
static void family(struct unit *u, struct quire_space **space)
{
    space[0] = space_new(u);
    map(u, space[0], 0, 3 * LEAF, RW);
    for (unsigned p = 0; p < 8; p += 1)
        put(u, space[0], view_page(p), (uint8_t)(p + 1));
    space[1] = fork_of(u, space[0]);
    put(u, space[1], view_page(0), 50);
    (void)get(u, space[1], view_page(8));
    space[2] = fork_of(u, space[1]);
    test_run(&u->w, 0, NULL);
}

/*
 * Goal: a fault with k frames free, for every k, either works or changes nothing, and once it works
 * it works with more.  Method: every page of a family of three spaces, read and written with 0, 1,
 * 2, .. frames free; the host is told how many are needed, and that number is enough.
 */
static void faults_with_k_frames(void)
{
    struct unit u;
    struct quire_space *space[SPACES];
    void *start, *before;
    unsigned refused = 0, resolved = 0;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 96 : 128});
    family(&u, space);
    start = test_world_copy(&u.w);
    for (unsigned i = 0; i < SPACES * PAGES * 2; i++) {
        struct quire_space *s = space[i % SPACES];
        vaddr_t at = view_page(i / SPACES % PAGES);
        uint32_t access = i / (SPACES * PAGES) ? W : R;
        bool worked = false;

        for (uint32_t k = 0; !worked; k++) {
            enum quire_status status;
            uint64_t asked = u.w.need_calls;

            test_world_restore(&u.w, start);
            taken_count = 0;
            leave_free(&u, k);
            before = test_world_copy(&u.w);
            status = quire_fault(s, at, access);
            worked = status == QUIRE_OK;
            if (worked) {
                resolved++;
            } else {
                CHECK_STATUS(status, QUIRE_NO_MEMORY);
                CHECK(words_changed(&u, before) == 2);
                CHECK(u.w.need_calls == asked + 1);
                CHECK(u.w.need_frames_last > k);
                refused++;
                /* What it asked for must be enough. */
                leave_free(&u, u.w.need_frames_last);
                CHECK_OK(quire_fault(s, at, access));
            }
            audit(&u);
            free(before);
            CHECK(k < 16);
        }
    }
    test_world_restore(&u.w, start);
    taken_count = 0;
    free(start);
    FIGURES("%u refused, %u resolved", refused, resolved);
    for (unsigned i = 0; i < SPACES; i++)
        end(&u, space[i]);
    finish(&u);
}

/* One call of each operation that can want memory, by number; false: there is no such number. */
static bool operation(struct quire_space **space, unsigned n, enum quire_status *status)
{
    struct quire *q = quire_space_manager(space[0]);
    struct quire_space *made;
    vaddr_t address = 2 * LEAF + PAGE(1);
    uint8_t bytes[3] = {1, 2, 3};
    pfn_t pfn;

    switch (n) {
    case 0: *status = quire_space_create(q, &made); return true;
    case 1:
        address = 3 * LEAF;
        *status = quire_map(space[1], &address, PAGE(1), R, QUIRE_MAP_FIXED);
        return true;
    case 2:
        *status = quire_map(space[0], &address, PAGE(1), R, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE);
        return true;
    case 3: *status = quire_unmap(space[0], PAGE(1), PAGE(1)); return true;
    case 4: *status = quire_unmap(space[2], PAGE(1), LEAF); return true;
    case 5: *status = quire_protect(space[1], PAGE(1), PAGE(1), QUIRE_NONE); return true;
    case 6: *status = quire_protect(space[2], PAGE(2), LEAF, R); return true;
    case 7: *status = quire_write(space[2], PAGE(2) - 1, bytes, 3, NULL); return true;
    case 8: *status = quire_read(space[2], 2 * LEAF - 1, bytes, 3, NULL); return true;
    case 9: *status = quire_space_fork(space[1], &made); return true;
    case 10: *status = quire_frame_take(q, &pfn); return true;
    default: return false;
    }
}

/*
 * Row 51.  Goal: failure of every allocation leaves what was there.  Method: each operation on a
 * family of forks; count its passages of failure sites, then make the n-th fail, once and from then
 * on, for each n; what a caller can see is compared, and the operation works afterwards.
 */
static void oom_unwinds(void)
{
    struct unit u;
    struct quire_space *space[SPACES];
    struct view before, after;
    enum quire_status status;
    void *start;
    unsigned injected = 0;

    begin_with(&u, &(struct test_options){.frames = 256});
    family(&u, space);
    start = test_world_copy(&u.w);
    for (unsigned n = 0; operation(space, n, &status); n++) {
        uint64_t passages, records_failed;

        test_world_restore(&u.w, start);
        test_failure_set(0, false, 0);
        operation(space, n, &status);
        CHECK_OK(status);
        passages = test_failure.passed;
        test_world_restore(&u.w, start);
        for (uint64_t at = 1; at <= 2 * passages; at++) {
            test_world_restore(&u.w, start);
            view_take(&u, space, &before);
            test_failure_set((at + 1) / 2, at & 1, 0);
            records_failed = test_failure.failed_by_site[QI_SITE_SPACE_RECORD];
            operation(space, n, &status);
            records_failed = test_failure.failed_by_site[QI_SITE_SPACE_RECORD] - records_failed;
            test_failure_set(0, false, 0);
            injected++;
            audit(&u);
            view_take(&u, space, &after);
            /* A record that cannot be had looks like one space too many. */
            CHECK_STATUS(status, records_failed > 0 ? QUIRE_TOO_MANY_SPACES : QUIRE_NO_MEMORY);
            /* A transfer of two pages may have done the first. */
            CHECK(n == 7 || n == 8 || memcmp(&before, &after, sizeof before) == 0);
            operation(space, n, &status);
            CHECK_OK(status);
            audit(&u);
        }
    }
    CHECK(injected > 20);
    FIGURES("%u failures", injected);
    test_world_restore(&u.w, start);
    free(start);
    for (unsigned i = 0; i < SPACES; i++)
        end(&u, space[i]);
    finish(&u);
}

/* host_need_frames that ends a space, as a kernel's killer would. */
static bool end_one(struct test_world *world, uint32_t frames)
{
    struct quire_space **victim = world->context;

    (void)frames;
    if (!*victim)
        return false;
    test_end(world, *victim);
    *victim = NULL;
    return true;
}

/*
 * Goal: an operation that waits for memory holds nothing and starts again.  Method: all memory is a
 * victim's; a fault, a mapping and a new space each need a frame, and the host ends the victim when
 * asked.
 */
static void the_host_finds_memory(void)
{
    for (unsigned n = 0; n < 3; n++) {
        struct unit u;
        struct quire_space *space, *victim, *more = NULL;
        vaddr_t address = 2 * LEAF;

        begin_with(&u, &(struct test_options){.frames = 48});
        space = space_new(&u);
        victim = space_new(&u);
        map(&u, space, 0, PAGE(1), RW);
        map(&u, space, PAGE(2), PAGE(1), RW);
        map(&u, victim, 0, PAGE(16), RW);
        for (unsigned i = 0; i < 8; i++)
            put(&u, victim, PAGE(i), 1);
        leave_free(&u, 0);
        u.w.need_frames = end_one;
        u.w.context = &victim;
        test_run(&u.w, 0, space);
        if (n == 0)
            put(&u, space, 0, 1);
        else if (n == 1)
            for (; u.w.need_calls == 0; address += PAGE(2))
                CHECK_OK(quire_map(space, &address, PAGE(1), RW, QUIRE_MAP_FIXED));
        else
            CHECK_OK(quire_space_create(u.w.q, &more));
        CHECK(!victim);
        CHECK(u.w.need_calls >= 1);
        audit(&u);
        u.w.need_frames = NULL;
        if (more)
            end(&u, more);
        end(&u, space);
        give_all(&u);
        finish(&u);
    }
}

/*
 * Goal: the reserve is there for operations that free memory, and for nothing else.  Method: use up
 * all that an ordinary operation can have, then unmap one page out of the middle of a shared leaf,
 * which takes tables and nodes; protecting one has to do without.
 */
static void the_reserve_is_for_freeing(void)
{
    struct unit u;
    struct quire_space *a, *b;
    pfn_t pfn;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 96 : 64, .reserve = 24});
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put_each(&u, a, 4);
    b = fork_of(&u, a);
    leave_free(&u, 0);
    CHECK_STATUS(quire_frame_take(u.w.q, &pfn), QUIRE_NO_MEMORY);
    CHECK_STATUS(test_store(&u.w, b, PAGE(1), 9), QUIRE_NO_MEMORY);
    unmap(&u, b, PAGE(1), PAGE(1));
    CHECK_STATUS(quire_protect(a, PAGE(2), PAGE(1), QUIRE_NONE), QUIRE_NO_MEMORY);
    CHECK(get(&u, a, PAGE(1)) == 2);
    end(&u, b);
    give_all(&u);
    b = fork_of(&u, a);
    leave_free(&u, 0);
    CHECK_OK(quire_discard(b, PAGE(1), PAGE(1)));
    audit(&u);
    CHECK(get(&u, a, PAGE(1)) == 2);
    give_all(&u);
    end(&u, a);
    end(&u, b);
    give_all(&u);
    finish(&u);
}

static unsigned stores_between;

/* Between two slices of a destroy: a store that needs frames which only the rest of it can give. */
static void store_in_yield(struct test_world *world)
{
    struct quire_space *space = world->context;

    if (stores_between >= 3 || quire_free_frames(world->q) > 2)
        return;
    CHECK_OK(test_store(world, space, PAGE(stores_between), 1));
    stores_between++;
}

/*
 * Goal: what waits to be dropped is memory that can be had.  Method: no frame is free but those of
 * a space that is being destroyed in slices; between the slices another space writes new pages, and
 * its faults take what they need out of the rest.
 */
static void dying_tables_are_memory(void)
{
    struct unit u;
    struct quire_space *space, *dying;

    begin_with(&u, &(struct test_options){.frames = 64});
    space = space_new(&u);
    dying = space_new(&u);
    map(&u, space, 0, PAGE(4), RW);
    map(&u, dying, 0, 4 * LEAF, RW);
    for (unsigned i = 0; i < 4; i++)
        put(&u, dying, i * LEAF, 1);
    test_run(&u.w, 0, space);
    leave_free(&u, 0);
    stores_between = 0;
    u.w.context = space;
    u.w.yield = store_in_yield;
    quire_space_destroy(dying);
    u.w.yield = NULL;
    CHECK(stores_between > 0);
    CHECK(u.w.need_calls == 0);
    audit(&u);
    end(&u, space);
    give_all(&u);
    finish(&u);
}

/*
 * Goal: memory that is used to the last frame comes back to the last frame.  Method: spaces that
 * fork and write until nothing is left, over and over, the first to be refused ended each time.
 */
static void to_the_last_frame(void)
{
    enum { MOST = 6 };
    struct unit u;
    struct quire_space *space[MOST] = {NULL};
    uint64_t random = 11;
    unsigned refused = 0;

    begin_with(&u, &(struct test_options){.frames = MICRO ? 64 : 96});
    space[0] = space_new(&u);
    map(&u, space[0], 0, 3 * LEAF, RW);
    for (unsigned step = 0; step < 3000; step++) {
        unsigned i = (unsigned)(test_random(&random) % MOST), j = (i + 1) % MOST;
        vaddr_t at = view_page((unsigned)(test_random(&random) % PAGES));
        enum quire_status status;

        if (!space[i])
            continue;
        if (!space[j]) {
            CHECK_OK(quire_space_fork(space[i], &space[j]));
            continue;
        }
        status = test_store(&u.w, space[i], at, (uint8_t)step);
        if (status != QUIRE_OK) {
            CHECK_STATUS(status, QUIRE_NO_MEMORY);
            refused++;
            end(&u, space[i]);
            space[i] = NULL;
        }
        if (step % 8 == 0)
            audit(&u);
    }
    CHECK(refused > 10);
    FIGURES("%u refusals", refused);
    for (unsigned i = 0; i < MOST; i++) {
        if (space[i])
            end(&u, space[i]);
    }
    finish(&u);
}

CHECK_MAIN("unit.memory", TEST(faults_with_k_frames), TEST(oom_unwinds),
           TEST(the_host_finds_memory), TEST(the_reserve_is_for_freeing),
           TEST(dying_tables_are_memory), TEST(to_the_last_frame))
