/* SPDX-License-Identifier: MIT */
/*
 * Fork of what is big: its cost is counted, in touches of shared words and in bytes of state that
 * change.
 *
 * Time is measured by the benches; here the same claim is held to a number that does not depend on
 * the computer.
 */
#include "unit.h"

static uint64_t touches;

static void count_touch(const void *address, bool write)
{
    (void)address;
    (void)write;
    touches++;
}

/* Cache lines of the block that differ from a copy. */
static unsigned lines_changed(struct unit *u, const unsigned char *copy)
{
    size_t start = (size_t)(u->w.arena - u->w.block) & ~(size_t)63;
    unsigned changed = 0;

    for (size_t at = start; at + 64 <= u->w.block_size; at += 64)
        changed += memcmp(u->w.block + at, copy + at, 64) != 0;
    return changed;
}

struct cost {
    uint64_t touches;
    unsigned lines;
};

/* The second fork in a row of `space`, so that its root's W bits are clear already, and the first.
 */
static void fork_costs(struct unit *u, struct quire_space *space, struct cost *first,
                       struct cost *again)
{
    struct quire_space *child[2];
    struct cost *cost[2] = {first, again};

    for (int i = 0; i < 2; i++) {
        void *before = test_world_copy(&u->w);

        touches = 0;
        test_touch = count_touch;
        CHECK_OK(quire_space_fork(space, &child[i]));
        test_touch = NULL;
        *cost[i] = (struct cost){touches, lines_changed(u, before)};
        free(before);
    }
    audit(u);
    end(u, child[1]);
    end(u, child[0]);
}

/*
 * Goal: fork touches the same few lines whatever is mapped and touched.  Method: 1 MiB, 1 GiB and 1
 * TiB (in the micro geometry: everything there is) with pages touched all over, one region and
 * many; the touches and the cache lines changed by a fork are compared.
 */
static void fork_touches_a_constant(void)
{
    enum { BATCH_TOUCHES = 256 };
    static const uint64_t sizes[] = {UINT64_C(1) << 20, UINT64_C(1) << 30, UINT64_C(1) << 40};
    struct cost first[6], again[6];
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned many = 0; many < 2; many++, n++) {
            uint64_t size = MICRO ? MMU_ADDRESS_END >> (2 * (2 - i)) : sizes[i];
            uint64_t pages = size >> QUIRE_PAGE_SHIFT, most = MICRO ? 8 : 1000;
            unsigned spots = MICRO ? 4 : 8,
                     regions = many ? (unsigned)(pages < most ? pages : most) : 1;
            struct unit u;
            struct quire_space *space;

            begin_with(&u, &(struct test_options){.frames = 512});
            space = space_new(&u);
            for (unsigned r = 0; r < regions; r++) {
                vaddr_t address = size / regions / QUIRE_PAGE_SIZE * QUIRE_PAGE_SIZE * r;
                uint64_t length = many ? PAGE(1) : size;

                CHECK_OK(quire_map(space, &address, length, r & 1 ? RW | X : RW, QUIRE_MAP_FIXED));
            }
            for (unsigned k = 0; k < spots; k++) {
                unsigned r = many ? regions / spots * k : 0;
                vaddr_t at = many ? size / regions / QUIRE_PAGE_SIZE * QUIRE_PAGE_SIZE * r
                                  : size / spots * k;

                put(&u, space, at, 1);
            }
            fork_costs(&u, space, &first[n], &again[n]);
            end(&u, space);
            finish(&u);
        }
    }
    for (unsigned i = 1; i < n; i++) {
        CHECK(again[i].touches == again[0].touches);
        CHECK(again[i].lines <= again[0].lines + 1);
        /*
         * The first fork clears W in the root, a line for each 8 entries that are there; and it may
         * be its turn to bring a batch of free frames back to the lists.
         */
        CHECK(first[i].touches <= first[0].touches + QUIRE_TABLE_ENTRIES + BATCH_TOUCHES);
        CHECK(first[i].lines <= first[0].lines + 8);
    }
    CHECK(again[0].lines <= 8);
    FIGURES("first fork %llu touches and %u lines, next %llu and %u",
            (unsigned long long)first[n - 1].touches, first[n - 1].lines,
            (unsigned long long)again[n - 1].touches, again[n - 1].lines);
}

/*
 * Goal: ending a child costs its own pages, not what is mapped.  Method: a space with many pages
 * forks; the child writes one page and ends; the slices of work seen by host_yield do not depend on
 * how much the parent has.
 */
static void drop_costs_its_own_pages(void)
{
    uint64_t yields[2];

    for (int big = 0; big < 2; big++) {
        struct unit u;
        struct quire_space *space, *child;

        begin_with(&u, &(struct test_options){.frames = MICRO ? 256 : 4096});
        space = space_new(&u);
        map(&u, space, 0, MMU_ADDRESS_END, RW);
        for (unsigned leaf = 0; leaf < (big ? (MICRO ? 4u : 200u) : 1u); leaf++)
            CHECK_OK(test_store(&u.w, space, leaf * LEAF, 1));
        child = fork_of(&u, space);
        put(&u, child, 0, 2);
        u.w.yields = 0;
        end(&u, child);
        yields[big] = u.w.yields;
        end(&u, space);
        finish(&u);
    }
    CHECK(yields[1] <= yields[0] + 1);
    FIGURES("%llu slices", (unsigned long long)yields[1]);
}

CHECK_MAIN("unit.sparse", TEST(fork_touches_a_constant), TEST(drop_costs_its_own_pages))
