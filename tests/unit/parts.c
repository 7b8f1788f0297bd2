/* SPDX-License-Identifier: MIT */
/*
 * Changes of long ranges, which are made in parts.
 *
 * Goal: no hold of a space grows with the range, and between two parts everything agrees and others
 * may do what they like.  Method: the accesses to shared words are counted from one yield of the
 * host to the next, and the host's yield audits, forks, or takes the rest of the range away.
 */
#include "unit.h"

enum {
    LEAVES = MICRO ? 16 : 40,
    PART = 8,    /* leaves that one hold changes */
    EACH = 2,    /* pages that are touched in each leaf */
    SLICE = 128, /* accesses of what is freed between two yields */
};

static vaddr_t page_of_leaf(unsigned leaf, unsigned page) { return leaf * LEAF + PAGE(page); }

static struct quire_space *space_full(struct unit *u, unsigned leaves)
{
    struct quire_space *space = space_new(u);

    map(u, space, 0, leaves * LEAF, RW);
    for (unsigned leaf = 0; leaf < leaves; leaf++)
        for (unsigned page = 0; page < EACH; page++)
            CHECK_OK(test_store(&u->w, space, page_of_leaf(leaf, page), (uint8_t)(leaf + 1)));
    audit(u);
    return space;
}

/* ---- the operations -------------------------------------------------------------------------- */

static enum quire_status op_read_only(struct quire_space *space, vaddr_t length)
{
    return quire_protect(space, 0, length, R);
}
static enum quire_status op_forbid(struct quire_space *space, vaddr_t length)
{
    return quire_protect(space, 0, length, 0);
}
static enum quire_status op_discard(struct quire_space *space, vaddr_t length)
{
    return quire_discard(space, 0, length);
}
static enum quire_status op_guard(struct quire_space *space, vaddr_t length)
{
    return quire_guard(space, 0, length);
}
static enum quire_status op_unguard(struct quire_space *space, vaddr_t length)
{
    return quire_unguard(space, 0, length);
}

/* What a load and a store of a page say afterwards. */
static const struct op {
    enum quire_status (*run)(struct quire_space *space, vaddr_t length);
    enum quire_status load, store;
    bool keeps;   /* the content */
    bool guarded; /* the range is full of guards before */
} ops[] = {
    {op_read_only, QUIRE_OK, QUIRE_PROTECTED, true, false},
    {op_forbid, QUIRE_PROTECTED, QUIRE_PROTECTED, true, false},
    {op_discard, QUIRE_OK, QUIRE_OK, false, false},
    {op_guard, QUIRE_GUARDED, QUIRE_GUARDED, false, false},
    {op_unguard, QUIRE_OK, QUIRE_OK, false, true},
};
enum { OPS = sizeof ops / sizeof ops[0] };

static bool page_is_done(struct unit *u, const struct op *op, struct quire_space *space,
                         unsigned leaf, unsigned page)
{
    vaddr_t address = page_of_leaf(leaf, page);
    uint8_t byte = 0;
    enum quire_status load = test_load(&u->w, space, address, &byte);

    return load == op->load && (load != QUIRE_OK || byte == (op->keeps ? leaf + 1 : 0)) &&
           (op->store == QUIRE_OK ||
            test_store(&u->w, space, address, (uint8_t)(leaf + 1)) == op->store);
}

static bool page_is_as_before(struct unit *u, const struct op *op, struct quire_space *space,
                              unsigned leaf, unsigned page)
{
    uint8_t byte = 0;
    enum quire_status load = test_load(&u->w, space, page_of_leaf(leaf, page), &byte);

    return op->guarded ? load == QUIRE_GUARDED : load == QUIRE_OK && byte == leaf + 1;
}

/* ---- what happens between two parts ---------------------------------------------------------- */

static struct {
    struct unit *u;
    struct quire_space *space, *child;
    unsigned yields;
    uint64_t touches, longest;
    bool inside, forks, unmaps;
} between;

static void counted(const void *address, bool write)
{
    (void)address;
    (void)write;
    if (!between.inside && ++between.touches > between.longest)
        between.longest = between.touches;
}

static void yielded(struct test_world *world)
{
    if (between.inside)
        return;
    between.inside = true;
    between.yields++;
    CHECK(test_world_findings(world) == 0);
    if (between.forks && !between.child)
        CHECK_OK(quire_space_fork(between.space, &between.child));
    if (between.unmaps && between.yields == 1)
        CHECK_OK(quire_unmap(between.space, (LEAVES - 1) * LEAF, LEAF));
    between.touches = 0;
    between.inside = false;
}

static enum quire_status watched(struct unit *u, const struct op *op, struct quire_space *space,
                                 unsigned leaves)
{
    between.u = u;
    between.space = space;
    between.child = NULL;
    between.yields = 0;
    between.touches = between.longest = 0;
    u->w.yield = yielded;
    test_touch = counted;
    enum quire_status status = op->run(space, leaves * LEAF);
    test_touch = NULL;
    u->w.yield = NULL;
    audit(u);
    return status;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* The longest hold of an operation on so many leaves; all of them are as they should be. */
static uint64_t longest_hold(const struct op *op, unsigned leaves)
{
    struct unit u;

    begin_with(&u, &(struct test_options){.frames = 2048});
    struct quire_space *space = space_full(&u, leaves);
    if (op->guarded)
        CHECK_OK(quire_guard(space, 0, leaves * LEAF));
    CHECK_OK(watched(&u, op, space, leaves));
    CHECK(between.yields >= (leaves - 1) / PART);
    for (unsigned leaf = 0; leaf < leaves; leaf++)
        for (unsigned page = 0; page < EACH; page++)
            CHECK(page_is_done(&u, op, space, leaf, page));
    end(&u, space);
    finish(&u);
    return between.longest;
}

static void holds_do_not_grow(void)
{
    for (unsigned i = 0; i < OPS; i++) {
        uint64_t one = longest_hold(&ops[i], PART), all = longest_hold(&ops[i], LEAVES);

        CHECK(all <= one + one / 4 + SLICE);
    }
}

/* A child that was forked between two parts has what its parent had then, page by page. */
static void fork_between(void)
{
    for (unsigned i = 0; i < OPS; i++) {
        const struct op *op = &ops[i];
        struct unit u;

        begin_with(&u, &(struct test_options){.frames = 2048});
        struct quire_space *space = space_full(&u, LEAVES);
        if (op->guarded)
            CHECK_OK(quire_guard(space, 0, LEAVES * LEAF));
        between.forks = true;
        CHECK_OK(watched(&u, op, space, LEAVES));
        between.forks = false;
        CHECK(between.child != NULL);
        unsigned done = 0, before = 0;
        for (unsigned leaf = 0; leaf < LEAVES; leaf++) {
            bool is_done = page_is_done(&u, op, between.child, leaf, 0);

            CHECK(is_done || page_is_as_before(&u, op, between.child, leaf, 0));
            CHECK(page_is_done(&u, op, space, leaf, 0));
            done += is_done;
            before += !is_done;
        }
        CHECK(done > 0);
        CHECK(before > 0);
        end(&u, between.child);
        end(&u, space);
        finish(&u);
    }
}

/* What others do meanwhile can end it: the parts before are changed, those after are not. */
static void unmap_between(void)
{
    const struct op *op = &ops[1];
    struct unit u;

    begin_with(&u, &(struct test_options){.frames = 2048});
    struct quire_space *space = space_full(&u, LEAVES);
    between.unmaps = true;
    CHECK_STATUS(watched(&u, op, space, LEAVES), QUIRE_NOT_MAPPED);
    between.unmaps = false;
    CHECK(page_is_done(&u, op, space, 0, 0));
    CHECK(page_is_as_before(&u, op, space, LEAVES - 2, 0));
    CHECK_STATUS(test_load(&u.w, space, page_of_leaf(LEAVES - 1, 0), &(uint8_t){0}),
                 QUIRE_NOT_MAPPED);
    /* What is wrong from the start is found before anything changes. */
    protect(&u, space, 0, (LEAVES - 1) * LEAF, RW);
    CHECK_STATUS(quire_protect(space, 0, LEAVES * LEAF, R), QUIRE_NOT_MAPPED);
    put(&u, space, 0, 1);
    end(&u, space);
    finish(&u);
}

/* Memory that can not be there for all of a guard is found out before its first part. */
static void guard_without_memory(void)
{
    struct unit u;

    begin_with(&u, &(struct test_options){.frames = LEAVES / 2 + PART});
    struct quire_space *space = space_new(&u);
    map(&u, space, 0, LEAVES * LEAF, RW);
    put(&u, space, 0, 7);
    CHECK_STATUS(quire_guard(space, 0, LEAVES * LEAF), QUIRE_NO_MEMORY);
    CHECK(get(&u, space, 0) == 7);
    end(&u, space);
    finish(&u);
}

CHECK_MAIN("unit.parts", TEST(holds_do_not_grow), TEST(fork_between), TEST(unmap_between),
           TEST(guard_without_memory))
