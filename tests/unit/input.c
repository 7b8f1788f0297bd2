/* SPDX-License-Identifier: MIT */
/*
 * Bad input: every mistake of a caller has its own status, and leaves no trace.
 *
 * Each call is made against a space that has something in it (regions, pages, a fork twin), and the
 * arena and all frames are compared with a copy made before it: not one byte may differ.
 */
#include "unit.h"

/* A world with two spaces that share tables, and regions at pages 0..7 and, read-only, 8..11. */
struct scene {
    struct unit u;
    struct quire_space *space, *twin;
    void *before;
};

static void scene_begin(struct scene *s)
{
    begin(&s->u);
    s->space = space_new(&s->u);
    map(&s->u, s->space, PAGE(0), PAGE(8), RW);
    map(&s->u, s->space, PAGE(8), PAGE(4), R);
    put(&s->u, s->space, PAGE(1), 1);
    s->twin = fork_of(&s->u, s->space);
    put(&s->u, s->space, PAGE(2), 2);
    test_run(&s->u.w, 0, NULL);
    s->before = test_world_copy(&s->u.w);
}

static void scene_end(struct scene *s)
{
    free(s->before);
    end(&s->u, s->space);
    end(&s->u, s->twin);
    finish(&s->u);
}

/* `call` must have this status and change nothing. */
#define REFUSED(call, status)                          \
    do {                                               \
        CHECK_STATUS(call, status);                    \
        CHECK(test_world_unchanged(&s.u.w, s.before)); \
        refused++;                                     \
    } while (0)

/*
 * Goal: each bad range has a name and costs nothing.  Method: the three range calls with the same
 * list of ranges, the arena and the frames compared after each.
 */
static void bad_ranges(void)
{
    struct {
        vaddr_t address;
        uint64_t length;
        enum quire_status status;
    } bad[] = {
        {PAGE(1) + 1, PAGE(1), QUIRE_MISALIGNED},
        {PAGE(1) + QUIRE_PAGE_SIZE / 2, PAGE(1), QUIRE_MISALIGNED},
        {PAGE(1), PAGE(1) + 1, QUIRE_MISALIGNED},
        {PAGE(1), PAGE(1) - 1, QUIRE_MISALIGNED},
        {PAGE(1), UINT64_MAX, QUIRE_MISALIGNED},
        {PAGE(1), 0, QUIRE_ZERO_LENGTH},
        {UINT64_MAX - PAGE(1) + 1, PAGE(2), QUIRE_WRAPS},
        {PAGE(1), (uint64_t)0 - PAGE(1) + 0, QUIRE_WRAPS},
        {PAGE(3), (uint64_t)0 - PAGE(1), QUIRE_WRAPS},
        {MMU_ADDRESS_END, PAGE(1), QUIRE_OUT_OF_RANGE},
        {MMU_ADDRESS_END - PAGE(1), PAGE(2), QUIRE_OUT_OF_RANGE},
        {0, MMU_ADDRESS_END + PAGE(1), QUIRE_OUT_OF_RANGE},
        {UINT64_MAX - PAGE(4) + 1, PAGE(2), QUIRE_OUT_OF_RANGE},
    };
    struct scene s;
    unsigned refused = 0;

    scene_begin(&s);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        vaddr_t address = bad[i].address;

        REFUSED(quire_map(s.space, &address, bad[i].length, RW, QUIRE_MAP_FIXED), bad[i].status);
        CHECK(address == bad[i].address);
        REFUSED(
            quire_map(s.space, &address, bad[i].length, RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE),
            bad[i].status);
        REFUSED(quire_unmap(s.space, address, bad[i].length), bad[i].status);
        REFUSED(quire_protect(s.space, address, bad[i].length, R), bad[i].status);
    }
    FIGURES("%u calls refused", refused);
    scene_end(&s);
}

/*
 * Goal: unknown and contradictory flags are refused, alone and with other mistakes.  Method: every
 * single unknown bit of prot, flags and access.
 */
static void bad_flags(void)
{
    struct scene s;
    unsigned refused = 0;
    vaddr_t address = PAGE(16);

    scene_begin(&s);
    for (uint32_t bit = 8; bit; bit <<= 1) {
        REFUSED(quire_map(s.space, &address, PAGE(1), RW | bit, QUIRE_MAP_FIXED), QUIRE_BAD_FLAGS);
        REFUSED(quire_protect(s.space, PAGE(0), PAGE(1), R | bit), QUIRE_BAD_FLAGS);
    }
    for (uint32_t bit = 16; bit; bit <<= 1)
        REFUSED(quire_map(s.space, &address, PAGE(1), RW, QUIRE_MAP_FIXED | bit), QUIRE_BAD_FLAGS);
    REFUSED(quire_map(s.space, &address, PAGE(1), RW, QUIRE_MAP_REPLACE), QUIRE_BAD_FLAGS);
    REFUSED(quire_map(s.space, &address, PAGE(1), RW, QUIRE_MAP_RESERVE | QUIRE_MAP_GROWS_DOWN),
            QUIRE_BAD_FLAGS);
    CHECK(address == PAGE(16));
    FIGURES("%u calls refused", refused);
    scene_end(&s);
}

/*
 * Goal: overlaps and holes are refused as a whole.  Method: fixed ranges that touch mapped pages on
 * either side, and protections that reach into a hole.
 */
static void overlaps_and_holes(void)
{
    struct scene s;
    unsigned refused = 0;
    vaddr_t address;

    scene_begin(&s);
    for (unsigned first = 0; first < 12; first++) {
        for (unsigned pages = 1; pages < 16; pages++) {
            address = PAGE(first);
            REFUSED(quire_map(s.space, &address, PAGE(pages), RW, QUIRE_MAP_FIXED), QUIRE_OVERLAPS);
            if (first + pages <= 12)
                continue;
            REFUSED(quire_protect(s.space, address, PAGE(pages), R), QUIRE_NOT_MAPPED);
        }
    }
    REFUSED(quire_protect(s.space, PAGE(12), PAGE(1), R), QUIRE_NOT_MAPPED);
    FIGURES("%u calls refused", refused);
    scene_end(&s);
}

/*
 * Goal: unmapping nothing does nothing, and asking changes nothing.  Method: holes, queries, pages,
 * usage and the auditor, against the copy.
 */
static void looking_changes_nothing(void)
{
    struct scene s;
    struct quire_region region;
    struct quire_usage usage;
    struct quire_page page;
    struct quire_stats stats;
    unsigned refused = 0;
    vaddr_t address = 0;

    scene_begin(&s);
    REFUSED(quire_query(s.space, PAGE(12), &region), QUIRE_NOT_MAPPED);
    REFUSED(quire_query(s.space, MMU_ADDRESS_END, &region), QUIRE_NOT_MAPPED);
    REFUSED(quire_query(s.space, UINT64_MAX, &region), QUIRE_NOT_MAPPED);
    CHECK_OK(quire_query(s.space, 0, &region));
    for (address = 0; address < PAGE(16); address += PAGE(1) / 2)
        quire_page(s.space, address, &page);
    quire_page(s.space, MMU_ADDRESS_END, &page);
    CHECK(page.kind == QUIRE_PAGE_EMPTY);
    quire_page(s.space, UINT64_MAX, &page);
    CHECK(page.kind == QUIRE_PAGE_EMPTY);
    quire_space_usage(s.space, 0, MMU_ADDRESS_END, &usage);
    quire_space_usage(s.space, 0, UINT64_MAX, &usage);
    quire_stats(s.u.w.q, &stats);
    CHECK(quire_space_manager(s.space) == s.u.w.q);
    CHECK(test_world_findings(&s.u.w) == 0);
    CHECK(test_world_unchanged(&s.u.w, s.before));
    scene_end(&s);
}

/*
 * Goal: a fault that is refused changes no page, no table and no frame.  Method: bad access words,
 * unmapped and forbidden addresses; only the counters of refusals may differ.
 */
static void refused_faults(void)
{
    static const vaddr_t nowhere[] = {PAGE(12),   MMU_ADDRESS_END - 1, MMU_ADDRESS_END,
                                      UINT64_MAX, UINT64_MAX / 2,      MMU_ADDRESS_END * 3};
    struct scene s;
    struct quire_stats before, after;
    unsigned refused = 0;

    scene_begin(&s);
    for (uint32_t access = 0; access < 32; access++) {
        uint32_t kind = access & ~(uint32_t)QUIRE_NO_WAIT;

        if (kind != R && kind != W && kind != X)
            REFUSED(quire_fault(s.space, PAGE(1), access), QUIRE_BAD_FLAGS);
    }
    REFUSED(quire_fault(s.space, PAGE(1), UINT32_MAX), QUIRE_BAD_FLAGS);
    before = stats_of(&s.u);
    for (unsigned i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        CHECK_STATUS(quire_fault(s.space, nowhere[i], R), QUIRE_NOT_MAPPED);
        CHECK_STATUS(quire_fault(s.space, nowhere[i], W), QUIRE_NOT_MAPPED);
        CHECK_STATUS(quire_fault(s.space, nowhere[i], X), QUIRE_NOT_MAPPED);
    }
    CHECK_STATUS(quire_fault(s.space, PAGE(8), W), QUIRE_PROTECTED);
    CHECK_STATUS(quire_fault(s.space, PAGE(1), X), QUIRE_PROTECTED);
    after = stats_of(&s.u);
    CHECK(after.unmapped == before.unmapped + 3 * (sizeof nowhere / sizeof nowhere[0]));
    CHECK(after.forbidden == before.forbidden + 2);
    CHECK(memcmp(s.u.w.frames, (unsigned char *)s.before + (s.u.w.frames - s.u.w.block),
                 s.u.w.block_size - (size_t)(s.u.w.frames - s.u.w.block)) == 0);
    FIGURES("%u calls refused", refused);
    scene_end(&s);
}

/*
 * Goal: a bad configuration is refused by name, and its arena size is 0.  Method: a good one with
 * one field spoilt at a time.
 */
static void bad_config(void)
{
    struct unit u;
    struct quire *q;
    struct quire_config good, c;

    begin(&u);
    good = u.w.config;
#define SPOILT(field, value, sized)                           \
    do {                                                      \
        c = good;                                             \
        c.field = value;                                      \
        CHECK_STATUS(quire_create(&c, &q), QUIRE_BAD_CONFIG); \
        if (sized)                                            \
            CHECK(quire_arena_size(&c) == 0);                 \
    } while (0)
    SPOILT(arena, NULL, false);
    SPOILT(arena, (char *)good.arena + 1, false);
    SPOILT(arena_size, good.arena_size - 1, false);
    SPOILT(arena_size, 0, false);
    SPOILT(direct_map, NULL, false);
    SPOILT(frame_count, 0, true);
    SPOILT(max_spaces, 0, true);
    SPOILT(max_spaces, (1 << 24) + 1, true);
    SPOILT(cpus, (1 << 12) + 1, true);
    SPOILT(max_pins, (1 << 24) + 1, true);
    SPOILT(max_sections, 1 << 24, true);
    SPOILT(max_transfers, (1 << 24) + 1, true);
    SPOILT(max_slots, UINT32_C(1) << 31, true);
    SPOILT(keep_free, good.frame_count + 1, true);
    SPOILT(fault_around, 3, true);
    SPOILT(fault_around, 1 << 16, true);
    SPOILT(stack_gap, PAGE(1) + 1, true);
    SPOILT(colours, 3, true);
    SPOILT(colours, QUIRE_COLOURS_MAX * 2, true);
    SPOILT(low, 1, true);
    SPOILT(high, PAGE(1) + 1, true);
    SPOILT(high, MMU_ADDRESS_END + PAGE(1), true);
    SPOILT(low, MMU_ADDRESS_END, true);
    SPOILT(first_frame, (pfn_t)1 << 31, true);
#undef SPOILT
    CHECK(quire_arena_size(&good) > 0);
    CHECK(quire_arena_size(&good) <= good.arena_size);
    audit(&u);
    finish(&u);
}

/*
 * Goal: 0 CPUs are one, and 0 colours are one.  Method: a manager of each beside the world's, which
 * has the size of the world's and is as sound.
 */
static void defaults(void)
{
    struct unit u;
    struct quire *q;
    struct quire_config c;

    begin(&u);
    c = u.w.config;
    c.cpus = c.colours = 0;
    CHECK(quire_arena_size(&c) == quire_arena_size(&u.w.config));
    c.arena_size = (c.arena_size + 63) / 64 * 64;
    c.arena = aligned_alloc(64, c.arena_size);
    CHECK_OK(quire_create(&c, &q));
    CHECK(quire_check(q) == 0);
    free(c.arena);
    finish(&u);
}

/*
 * Goal: a handle that is dead, or was never live, is refused, and so is more than there is memory.
 * Method: the same slot and the same number of pages again, with the handle from before.
 */
static void bad_pins(void)
{
    struct unit u;
    struct quire_space *space;
    struct quire_run run;
    struct quire_pin first, second, none;

    begin_with(&u, &(struct test_options){.max_pins = 1});
    space = space_new(&u);
    map(&u, space, 0, PAGE(2), RW);
    CHECK_OK(quire_pin(space, 0, 1, QUIRE_READ, &run, 1, &first));
    CHECK_OK(quire_unpin(u.w.q, &first));
    CHECK_OK(quire_pin(space, 0, 1, QUIRE_READ, &run, 1, &second));
    CHECK(second.slot == first.slot && second.pages == first.pages);
    CHECK_STATUS(quire_unpin(u.w.q, &first), QUIRE_BAD_PIN);
    CHECK_OK(quire_unpin(u.w.q, &second));
    none = second;
    none.pages = none.run_count = 0;
    for (none.serial = 0; none.serial < 4; none.serial++)
        CHECK_STATUS(quire_unpin(u.w.q, &none), QUIRE_BAD_PIN);
    CHECK_STATUS(quire_pin(space, 0, PAGE(u.w.options.frames + 1), QUIRE_READ, &run, 1, &first),
                 QUIRE_TOO_MANY_PINS);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: frames are accepted once, and only inside what the configuration spans.  Method: every kind
 * of bad range, then the frames in three pieces with a hole, which stays a hole.
 */
static void bad_frames(void)
{
    struct scene s = {.before = NULL};
    struct quire *q;
    pfn_t first = 16;
    uint32_t count, refused = 0;

    begin_with(&s.u, &(struct test_options){.no_frames = true, .first_frame = first});
    q = s.u.w.q;
    count = s.u.w.options.frames;
    s.before = test_world_copy(&s.u.w);
    REFUSED(quire_add_frames(q, first, 0), QUIRE_ZERO_LENGTH);
    REFUSED(quire_add_frames(q, first - 1, 1), QUIRE_OUT_OF_RANGE);
    REFUSED(quire_add_frames(q, first - 1, 2), QUIRE_OUT_OF_RANGE);
    REFUSED(quire_add_frames(q, first, count + 1), QUIRE_OUT_OF_RANGE);
    REFUSED(quire_add_frames(q, first + count, 1), QUIRE_OUT_OF_RANGE);
    REFUSED(quire_add_frames(q, first + 1, UINT32_MAX), QUIRE_OUT_OF_RANGE);
    REFUSED(quire_add_frames(q, UINT32_MAX, 1), QUIRE_OUT_OF_RANGE);
    CHECK_OK(quire_add_frames(q, first, 8));
    CHECK_OK(quire_add_frames(q, first + 16, count - 16));
    audit(&s.u);
    free(s.before);
    s.before = test_world_copy(&s.u.w);
    REFUSED(quire_add_frames(q, first, 1), QUIRE_OVERLAPS);
    REFUSED(quire_add_frames(q, first + 7, 2), QUIRE_OVERLAPS);
    REFUSED(quire_add_frames(q, first + 8, 9), QUIRE_OVERLAPS);
    REFUSED(quire_add_frames(q, first, count), QUIRE_OVERLAPS);
    CHECK(stats_of(&s.u).frames == count - 8);
    CHECK_OK(quire_add_frames(q, first + 8, 8));
    CHECK(stats_of(&s.u).frames == count);
    audit(&s.u);
    FIGURES("%u calls refused", refused);
    free(s.before);
    test_world_destroy(&s.u.w);
}

/*
 * Goal: statuses have names.  Method: all of them, and numbers that are none.
 */
static void status_names(void)
{
    for (int i = 0; i < QUIRE_STATUS_COUNT; i++)
        CHECK(!strncmp(quire_status_name((enum quire_status)i), "QUIRE_", 6));
    CHECK(!strcmp(quire_status_name(QUIRE_OK), "QUIRE_OK"));
    CHECK(!strcmp(quire_status_name(QUIRE_TOO_MANY_SPACES), "QUIRE_TOO_MANY_SPACES"));
    CHECK(!strcmp(quire_status_name(QUIRE_STATUS_COUNT), "?"));
    CHECK(!strcmp(quire_status_name((enum quire_status) - 1), "?"));
}

CHECK_MAIN("unit.input", TEST(bad_ranges), TEST(bad_flags), TEST(overlaps_and_holes),
           TEST(looking_changes_nothing), TEST(refused_faults), TEST(bad_config), TEST(defaults),
           TEST(bad_pins), TEST(bad_frames), TEST(status_names))
