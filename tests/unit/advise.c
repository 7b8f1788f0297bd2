/* SPDX-License-Identifier: MIT */
/*
 * Advice and names: what regions carry, and what fork makes of it.
 */
#include "unit.h"

#include <time.h>

static struct quire_region region_at(struct quire_space *space, vaddr_t address)
{
    struct quire_region region;

    CHECK_OK(quire_query(space, address, &region));
    return region;
}

/*
 * Goal: a child does not have what is omitted, and reads zeros where it is wiped; the parent keeps
 * all.  Method: ranges within one leaf and over whole ones, their edges compared, and a second
 * generation.
 */
static void omit_and_wipe(void)
{
    struct unit u;
    struct quire_space *a, *b, *c;
    uint8_t byte;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 4 * LEAF, RW);
    put_each(&u, a, 4);
    put(&u, a, LEAF, 5);
    put(&u, a, 2 * LEAF, 6);
    put(&u, a, 3 * LEAF, 7);
    CHECK_OK(quire_advise(a, PAGE(1), PAGE(1), QUIRE_FORK_OMIT));
    CHECK_OK(quire_advise(a, PAGE(2), PAGE(1), QUIRE_FORK_WIPE));
    CHECK_OK(quire_advise(a, LEAF, LEAF, QUIRE_FORK_WIPE));
    CHECK_OK(quire_advise(a, 2 * LEAF, LEAF, QUIRE_FORK_OMIT));
    CHECK(region_at(a, PAGE(1)).flags == QUIRE_REGION_FORK_OMIT);
    CHECK(region_at(a, LEAF).flags == QUIRE_REGION_FORK_WIPE);
    b = fork_of(&u, a);
    CHECK(get(&u, b, 0) == 1 && get(&u, b, PAGE(2)) == 0 && get(&u, b, PAGE(3)) == 4);
    CHECK_STATUS(test_load(&u.w, b, PAGE(1), &byte), QUIRE_NOT_MAPPED);
    CHECK(get(&u, b, LEAF) == 0 && get(&u, b, 3 * LEAF) == 7);
    CHECK_STATUS(test_load(&u.w, b, 2 * LEAF, &byte), QUIRE_NOT_MAPPED);
    put(&u, b, LEAF, 8);
    c = fork_of(&u, b);
    CHECK(get(&u, c, LEAF) == 0 && get(&u, b, LEAF) == 8);
    for (unsigned i = 0; i < 4; i++)
        CHECK(get(&u, a, PAGE(i)) == i + 1 && get(&u, a, LEAF * i) == (i ? i + 4 : 1));
    end(&u, b);
    CHECK_OK(quire_advise(a, 0, 4 * LEAF, QUIRE_FORK_INHERIT));
    CHECK(region_at(a, 0).end == 4 * LEAF);
    b = fork_of(&u, a);
    CHECK(get(&u, b, PAGE(1)) == 2 && get(&u, b, LEAF) == 5);
    CHECK_STATUS(quire_advise(a, 0, PAGE(1), QUIRE_ADVICE_COUNT), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_advise(a, 4 * LEAF - PAGE(1), PAGE(2), QUIRE_FORK_OMIT), QUIRE_NOT_MAPPED);
    end(&u, a);
    end(&u, b);
    end(&u, c);
    finish(&u);
}

/* Processor time of so many forks, with what they leave behind. */
static double time_of_forks(struct unit *u, struct quire_space *a)
{
    enum { FORKS = 200 };
    clock_t start = clock(), stop;

    for (unsigned i = 0; i < FORKS; i++) {
        struct quire_space *b;

        CHECK_OK(quire_space_fork(a, &b));
        quire_space_destroy(b);
    }
    stop = clock();
    audit(u);
    return (double)(stop - start) / CLOCKS_PER_SEC / FORKS;
}

/*
 * Goal: fork finds marked regions without a look at the others.  Method: 100,000 regions, of which
 * none or one is marked; a fork takes about as long as with four (a look at all would take a
 * thousand times as long).
 */
static void fork_looks_at_marks_only(void)
{
    enum { FEW = 4, MANY = MICRO ? 28 : 100000, SLACK = 40 };
    double none[2], one[2];

    for (int many = 0; many < 2; many++) {
        unsigned count = many ? MANY : FEW;
        struct unit u;
        struct quire_space *a;

        begin_with(&u, &(struct test_options){.frames = MICRO ? 64 : 8192});
        a = space_new(&u);
        for (unsigned i = 0; i < count; i++)
            CHECK_OK(quire_map(a, &(vaddr_t){PAGE(2 * i)}, PAGE(1), RW, QUIRE_MAP_FIXED));
        none[many] = time_of_forks(&u, a);
        CHECK_OK(quire_advise(a, PAGE(2), PAGE(1), QUIRE_FORK_OMIT));
        one[many] = time_of_forks(&u, a);
        end(&u, a);
        finish(&u);
    }
    CHECK(none[1] <= SLACK * none[0] + 1e-6);
    CHECK(one[1] <= SLACK * one[0] + 1e-6);
    FIGURES("%u regions: %.2f us, with a mark %.2f us", MANY, none[1] * 1e6, one[1] * 1e6);
}

/*
 * Goal: a fork with exceptions that lacks memory says so, whatever it lacks it for.  Method: with
 * one CPU and with two, any small number of free frames; the child's regions take some of them
 * (micro: one a node), its tables others.  Where it succeeds once, more frames do not harm.
 */
static void forks_with_k_frames(void)
{
    for (uint32_t cpus = 1; cpus <= 2; cpus++) {
        struct unit u;
        struct quire_space *a, *b;
        pfn_t frame[256];
        uint32_t count = 0, refused = 0;
        bool done = false;

        test_world_create(&u.w, &(struct test_options){.frames = 256, .cpus = cpus});
        a = space_new(&u);
        for (unsigned i = 0; i < 12; i++)
            map(&u, a, PAGE(2 * i), PAGE(1), RW);
        put(&u, a, PAGE(2), 1);
        put(&u, a, 0, 2);
        CHECK_OK(quire_advise(a, PAGE(2), PAGE(1), QUIRE_FORK_OMIT));
        CHECK_OK(quire_advise(a, PAGE(10), PAGE(1), QUIRE_FORK_OMIT));
        while (quire_frame_take(u.w.q, &frame[count]) == QUIRE_OK)
            count++;
        while (count > 0 && !(done && refused > 4)) {
            enum quire_status status = quire_space_fork(a, &b);

            CHECK(status == QUIRE_OK || (status == QUIRE_NO_MEMORY && !done));
            done = done || status == QUIRE_OK;
            audit(&u);
            if (status == QUIRE_OK) {
                CHECK(get(&u, b, 0) == 2);
                end(&u, b);
            }
            refused += !done || refused > 0;
            quire_frame_give(u.w.q, frame[--count]);
        }
        CHECK(done);
        while (count > 0)
            quire_frame_give(u.w.q, frame[--count]);
        end(&u, a);
        test_world_destroy(&u.w);
    }
}

/*
 * Goal: names are kept, tell neighbours apart, and go with their region.  Method: names over parts
 * of regions; split, merged again, moved, inherited.
 */
static void names(void)
{
    struct unit u;
    struct quire_space *a, *b;
    vaddr_t to = PAGE(20);

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(8), RW);
    CHECK(region_at(a, 0).name == 0);
    CHECK_OK(quire_name(a, PAGE(2), PAGE(4), UINT64_MAX));
    CHECK(region_at(a, 0).end == PAGE(2) && region_at(a, PAGE(6)).start == PAGE(6));
    CHECK(region_at(a, PAGE(3)).name == UINT64_MAX);
    protect(&u, a, PAGE(3), PAGE(2), R);
    CHECK(region_at(a, PAGE(4)).name == UINT64_MAX && region_at(a, PAGE(4)).start == PAGE(3));
    b = fork_of(&u, a);
    CHECK_OK(quire_move(b, PAGE(3), PAGE(2), &to, PAGE(3), QUIRE_MOVE_FIXED));
    CHECK(region_at(b, PAGE(20)).name == UINT64_MAX && region_at(b, PAGE(20)).end == PAGE(23));
    map(&u, b, PAGE(3), PAGE(2), RW);
    CHECK(region_at(b, PAGE(3)).name == 0 && region_at(b, PAGE(3)).end == PAGE(5));
    CHECK_OK(quire_name(a, 0, PAGE(8), 7));
    protect(&u, a, 0, PAGE(8), RW);
    CHECK(region_at(a, 0).end == PAGE(8) && region_at(a, 0).name == 7);
    CHECK_STATUS(quire_name(a, PAGE(7), PAGE(2), 1), QUIRE_NOT_MAPPED);
    CHECK(region_at(b, PAGE(5)).name == UINT64_MAX);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

CHECK_MAIN("unit.advise", TEST(omit_and_wipe), TEST(fork_looks_at_marks_only),
           TEST(forks_with_k_frames), TEST(names))
