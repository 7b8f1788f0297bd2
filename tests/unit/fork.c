/* SPDX-License-Identifier: MIT */
/*
 * Fork: what it costs, how deep it goes, and that nobody's death or birth shows in anybody else's
 * bytes.
 */
#include "unit.h"

/*
 * Goal: a fork takes no frame and copies nothing.  Method: free frames and counters before and
 * after forks of a space with pages in many leaves.
 */
static void takes_no_frame(void)
{
    struct unit u;
    struct quire_space *parent, *child[4];
    struct quire_stats before, after;

    begin(&u);
    parent = space_new(&u);
    map(&u, parent, 0, 4 * LEAF, RW);
    for (vaddr_t a = 0; a < 4 * LEAF; a += LEAF / 2)
        put(&u, parent, a, 1);
    before = stats_of(&u);
    for (int i = 0; i < 4; i++)
        child[i] = fork_of(&u, i ? child[i - 1] : parent);
    after = stats_of(&u);
    CHECK(after.frames_free == before.frames_free);
    CHECK(after.frames_table == before.frames_table);
    CHECK(after.copies == before.copies);
    CHECK(after.forks == before.forks + 4);
    CHECK(after.spaces == before.spaces + 4);
    for (int i = 0; i < 4; i++)
        end(&u, child[i]);
    for (vaddr_t a = 0; a < 4 * LEAF; a += LEAF / 2)
        put(&u, parent, a, 2);
    CHECK(stats_of(&u).copies == before.copies);
    CHECK(stats_of(&u).frames_data == before.frames_data);
    end(&u, parent);
    finish(&u);
}

/*
 * Goal: depth costs nothing that stays.  Method: a chain of 1,000 forks, each generation writing
 * one page of its own and reading its ancestors', old generations dying on the way; memory at the
 * end is what one space needs.
 */
static void nested(void)
{
    enum { DEPTH = 1000, PAGES = 8 };
    struct unit u;
    struct quire_space *space, *child;
    uint8_t wanted[PAGES] = {0};
    uint64_t most = 0;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, PAGE(PAGES), RW);
    for (unsigned i = 0; i < DEPTH; i++) {
        struct quire_stats s;

        CHECK_OK(quire_space_fork(space, &child));
        wanted[i % PAGES] = (uint8_t)i;
        CHECK_OK(test_store(&u.w, child, PAGE(i % PAGES), (uint8_t)i));
        if (i % 3 == 0)
            CHECK_OK(test_store(&u.w, space, PAGE((i + 1) % PAGES), 0xff));
        test_end(&u.w, space);
        space = child;
        for (unsigned p = 0; p < PAGES; p++) {
            uint8_t got;

            CHECK_OK(test_load(&u.w, space, PAGE(p), &got));
            CHECK(got == wanted[p]);
        }
        audit(&u);
        s = stats_of(&u);
        if (s.frames_table + s.frames_side > most)
            most = s.frames_table + s.frames_side;
        CHECK(s.frames_data <= PAGES);
    }
    CHECK(most <= 2 * PAGES + 2 * QUIRE_LEVELS);
    FIGURES("depth %d, at most %llu frames of metadata", DEPTH, (unsigned long long)most);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a chain of living generations works too.  Method: as many spaces as the world has, each a
 * fork of the last and with one byte of its own; all read back; destroyed from the middle outwards.
 */
static void living_generations(void)
{
    enum { DEPTH = MICRO ? 100 : 1000 };
    static struct quire_space *space[DEPTH];
    struct unit u;

    begin_with(&u, &(struct test_options){
                       .frames = MICRO ? 2048 : 16384, .max_spaces = DEPTH, .held = 1024});
    space[0] = space_new(&u);
    map(&u, space[0], 0, PAGE(4), RW);
    put(&u, space[0], PAGE(1), 77);
    for (unsigned i = 1; i < DEPTH; i++) {
        CHECK_OK(quire_space_fork(space[i - 1], &space[i]));
        CHECK_OK(test_store(&u.w, space[i], PAGE(0), (uint8_t)i));
        CHECK_OK(test_store(&u.w, space[i], PAGE(2) + 1, (uint8_t)(i >> 8)));
    }
    audit(&u);
    CHECK_STATUS(quire_space_fork(space[0], &(struct quire_space *){NULL}), QUIRE_TOO_MANY_SPACES);
    for (unsigned i = 0; i < DEPTH; i++) {
        uint8_t low, high, old;

        CHECK_OK(test_load(&u.w, space[i], PAGE(0), &low));
        CHECK_OK(test_load(&u.w, space[i], PAGE(2) + 1, &high));
        CHECK_OK(test_load(&u.w, space[i], PAGE(1), &old));
        CHECK(low == (uint8_t)i && high == (uint8_t)(i >> 8) && old == 77);
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        unsigned n = i & 1 ? DEPTH / 2 + i / 2 : DEPTH / 2 - 1 - i / 2;

        test_end(&u.w, space[n]);
        if (i % 64 == 0)
            audit(&u);
    }
    FIGURES("%d spaces", DEPTH);
    finish(&u);
}

/* ---- orders of death ------------------------------------------------------------------------- */

enum { FAMILY = 4, FAMILY_PAGES = 6 };

struct family {
    struct unit u;
    struct quire_space *space[FAMILY];
    uint8_t bytes[FAMILY][FAMILY_PAGES];
};

/* Page p of the family lies in one of two leaves. */
static vaddr_t family_page(unsigned p) { return p % 2 * LEAF + PAGE(p / 2); }

static void family_write(struct family *f, unsigned s, unsigned p, uint8_t value)
{
    CHECK_OK(test_store(&f->u.w, f->space[s], family_page(p), value));
    f->bytes[s][p] = value;
    audit(&f->u);
}

static void family_compare(struct family *f)
{
    for (unsigned s = 0; s < FAMILY; s++) {
        for (unsigned p = 0; f->space[s] && p < FAMILY_PAGES; p++) {
            uint8_t got;

            CHECK_OK(test_load(&f->u.w, f->space[s], family_page(p), &got));
            CHECK(got == f->bytes[s][p]);
        }
    }
}

/* Space s is a fork of s / 2 or of s - 1; writes before, between and after, chosen by `shape`. */
static void family_make(struct family *f, unsigned shape)
{
    begin(&f->u);
    memset(f->bytes, 0, sizeof f->bytes);
    memset(f->space, 0, sizeof f->space);
    f->space[0] = space_new(&f->u);
    map(&f->u, f->space[0], 0, 2 * LEAF, RW);
    for (unsigned p = 0; p < 4; p++)
        family_write(f, 0, p, (uint8_t)(p + 1));
    for (unsigned s = 1; s < FAMILY; s++) {
        unsigned from = shape & 1 ? s / 2 : s - 1;

        f->space[s] = fork_of(&f->u, f->space[from]);
        memcpy(f->bytes[s], f->bytes[from], FAMILY_PAGES);
        if (shape & 2)
            family_write(f, s, s, (uint8_t)(10 * s));
        if (shape & 4)
            family_write(f, from, s + 1, (uint8_t)(10 * s + 1));
        family_compare(f);
    }
}

/*
 * Goal: spaces may die in any order.  Method: eight shapes of family trees of four spaces, all 24
 * orders of death each, the survivors compared and writing after each death.
 */
static void orders_of_death(void)
{
    struct family f;
    unsigned runs = 0;

    for (unsigned shape = 0; shape < 8; shape++) {
        for (unsigned order = 0; order < 24; order++) {
            unsigned code = order;

            family_make(&f, shape);
            for (unsigned left = FAMILY; left > 0; left--) {
                unsigned pick = code % left, s = 0;

                code /= left;
                while (!f.space[s] || pick--)
                    s++;
                end(&f.u, f.space[s]);
                f.space[s] = NULL;
                family_compare(&f);
                for (s = 0; s < FAMILY; s++) {
                    if (f.space[s])
                        family_write(&f, s, left, (uint8_t)(100 + 10 * left + s));
                }
                family_compare(&f);
            }
            finish(&f.u);
            runs++;
        }
    }
    FIGURES("%u runs", runs);
}

/*
 * Goal: the number of spaces is bounded, and the bound is exact.  Method: create and fork up to
 * max_spaces, be refused by name with nothing changed, and go on after one death.
 */
static void too_many_spaces(void)
{
    enum { MOST = 5 };
    struct unit u;
    struct quire_space *space[MOST], *extra = NULL;
    void *before;

    begin_with(&u, &(struct test_options){.max_spaces = MOST});
    space[0] = space_new(&u);
    map(&u, space[0], 0, PAGE(1), RW);
    put(&u, space[0], 0, 3);
    for (unsigned i = 1; i < MOST; i++) {
        if (i & 1)
            space[i] = fork_of(&u, space[i - 1]);
        else
            space[i] = space_new(&u);
    }
    before = test_world_copy(&u.w);
    CHECK_STATUS(quire_space_fork(space[0], &extra), QUIRE_TOO_MANY_SPACES);
    CHECK_STATUS(quire_space_create(u.w.q, &extra), QUIRE_TOO_MANY_SPACES);
    CHECK(!extra);
    CHECK(test_world_unchanged(&u.w, before));
    free(before);
    end(&u, space[2]);
    space[2] = fork_of(&u, space[0]);
    CHECK_STATUS(quire_space_fork(space[0], &extra), QUIRE_TOO_MANY_SPACES);
    for (unsigned i = 0; i < MOST; i++)
        end(&u, space[i]);
    finish(&u);
}

/*
 * Goal: the same on another CPU.  Method: two CPUs run parent and child (and then the same space)
 * and write in turn; each sees its own space and nothing else, with everything either ever looked
 * up still in its TLB.
 */
static void two_cpus(void)
{
    struct unit u;
    struct quire_space *parent, *child;
    struct soft_cpu **cpu;
    uint8_t byte;

    begin_with(&u, &(struct test_options){.cpus = 2});
    cpu = u.w.cpu;
    parent = space_new(&u);
    map(&u, parent, 0, 2 * LEAF, RW);
    test_run(&u.w, 0, parent);
    test_run(&u.w, 1, parent);
    for (vaddr_t a = 0; a < 2 * LEAF; a += LEAF / 2) {
        CHECK_OK(soft_store(cpu[0], a, "a", 1));
        CHECK_OK(soft_load(cpu[1], a, &byte, 1));
        CHECK(byte == 'a');
        CHECK_OK(soft_store(cpu[1], a + 1, "b", 1));
    }
    child = fork_of(&u, parent);
    CHECK_OK(soft_store(cpu[1], 0, "c", 1)); /* CPU 1 had a writable translation before the fork */
    audit(&u);
    CHECK_OK(soft_load(cpu[0], 0, &byte, 1)); /* CPU 0 had a readable one */
    CHECK(byte == 'c');
    test_run(&u.w, 1, child);
    CHECK_OK(soft_load(cpu[1], 0, &byte, 1));
    CHECK(byte == 'a');
    CHECK_OK(soft_store(cpu[1], LEAF, "d", 1));
    CHECK_OK(soft_load(cpu[0], LEAF, &byte, 1));
    CHECK(byte == 'a');
    audit(&u);
    CHECK_OK(soft_store(cpu[0], LEAF, "e", 1));
    CHECK_OK(soft_load(cpu[1], LEAF, &byte, 1));
    CHECK(byte == 'd');
    protect(&u, child, 0, 2 * LEAF, R);
    CHECK_STATUS(soft_store(cpu[1], LEAF, "f", 1), QUIRE_PROTECTED);
    CHECK_OK(soft_store(cpu[0], LEAF, "g", 1));
    unmap(&u, parent, 0, LEAF);
    CHECK_STATUS(soft_load(cpu[0], 0, &byte, 1), QUIRE_NOT_MAPPED);
    CHECK_OK(soft_load(cpu[1], 0, &byte, 1));
    CHECK(byte == 'a');
    end(&u, parent);
    CHECK_OK(soft_load(cpu[1], LEAF / 2, &byte, 1));
    CHECK(byte == 'a');
    end(&u, child);
    finish(&u);
}

/*
 * Goal: the copy takes its source's colour where there is one.  Method: pages in a world of 16
 * colours, fork, write, compare the low bits of the frame numbers.
 */
static void copies_keep_colour(void)
{
    enum { PAGES = 12, COLOURS = 16 };
    struct unit u;
    struct quire_space *parent, *child;
    pfn_t from[PAGES];

    begin_with(&u, &(struct test_options){.colours = COLOURS, .frames = 256});
    parent = space_new(&u);
    map(&u, parent, 0, PAGE(PAGES), RW);
    for (unsigned i = 0; i < PAGES; i++) {
        put(&u, parent, PAGE(i), 1);
        from[i] = page_at(parent, PAGE(i)).pfn;
    }
    child = fork_of(&u, parent);
    for (unsigned i = 0; i < PAGES; i++) {
        pfn_t to;

        put(&u, child, PAGE(i), 2);
        to = page_at(child, PAGE(i)).pfn;
        CHECK(to != from[i]);
        CHECK(to % COLOURS == from[i] % COLOURS);
    }
    end(&u, child);
    end(&u, parent);
    finish(&u);
}

CHECK_MAIN("unit.fork", TEST(takes_no_frame), TEST(nested), TEST(living_generations),
           TEST(orders_of_death), TEST(too_many_spaces), TEST(two_cpus), TEST(copies_keep_colour))
