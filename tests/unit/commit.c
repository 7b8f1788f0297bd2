/* SPDX-License-Identifier: MIT */
/*
 * Promises: what is reserved, what it costs to commit it, and who is refused.
 */
#include "unit.h"

static uint64_t committed(struct unit *u) { return stats_of(u).committed; }

static void reserve(struct unit *u, struct quire_space *space, vaddr_t address, uint64_t length)
{
    CHECK_OK(quire_map(space, &address, length, RW, QUIRE_MAP_FIXED | QUIRE_MAP_RESERVE));
    audit(u);
}

/*
 * Goal: reserved addresses are addresses and nothing else.  Method: every access is refused and no
 * frame is used; committing a part gives that part, decommitting takes pages and promise back.
 */
static void reserved_is_addresses(void)
{
    struct unit u;
    struct quire_space *a;
    struct quire_region region;
    uint32_t free;

    begin(&u);
    a = space_new(&u);
    free = quire_free_frames(u.w.q);
    reserve(&u, a, 0, PAGE(8));
    CHECK(committed(&u) == 0);
    CHECK_STATUS(quire_fault(a, PAGE(1), R), QUIRE_NOT_COMMITTED);
    CHECK_STATUS(quire_fault(a, PAGE(1), W), QUIRE_NOT_COMMITTED);
    CHECK_STATUS(quire_fault(a, PAGE(1), X), QUIRE_NOT_COMMITTED);
    CHECK(quire_free_frames(u.w.q) + 1 >= free); /* a frame of region nodes */
    CHECK_OK(quire_commit(a, PAGE(2), PAGE(3), RW));
    CHECK(committed(&u) == 3);
    put(&u, a, PAGE(2), 1);
    put(&u, a, PAGE(4), 1);
    CHECK_STATUS(quire_fault(a, PAGE(5), R), QUIRE_NOT_COMMITTED);
    CHECK_OK(quire_query(a, PAGE(2), &region));
    CHECK(region.start == PAGE(2) && region.end == PAGE(5) && region.flags == 0);
    CHECK_OK(quire_query(a, PAGE(5), &region));
    CHECK(region.flags == QUIRE_REGION_RESERVED);
    CHECK_OK(quire_commit(a, PAGE(1), PAGE(4), R)); /* committed already: only the protection */
    CHECK(committed(&u) == 3);
    CHECK(get(&u, a, PAGE(2)) == 1 && get(&u, a, PAGE(1)) == 0);
    CHECK_STATUS(test_store(&u.w, a, PAGE(2), 2), QUIRE_PROTECTED);
    CHECK_OK(quire_decommit(a, PAGE(1), PAGE(3)));
    audit(&u);
    CHECK(committed(&u) == 1);
    CHECK(stats_of(&u).frames_data == 1);
    CHECK_STATUS(quire_fault(a, PAGE(2), R), QUIRE_NOT_COMMITTED);
    CHECK(get(&u, a, PAGE(4)) == 1);
    CHECK_OK(quire_commit(a, PAGE(2), PAGE(1), RW));
    CHECK(get(&u, a, PAGE(2)) == 0);
    CHECK_STATUS(quire_commit(a, PAGE(7), PAGE(2), RW), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_decommit(a, PAGE(7), PAGE(2)), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_commit(a, PAGE(7), PAGE(1), 8), QUIRE_BAD_FLAGS);
    end(&u, a);
    CHECK(committed(&u) == 0);
    finish(&u);
}

/*
 * Goal: what was writable once stays promised, for its pages may have been written; what never was
 * costs nothing.  Method: protect back and forth, and count.
 */
static void writable_once_is_promised(void)
{
    struct unit u;
    struct quire_space *a, *b;
    struct quire_region region;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(8), R);
    CHECK(committed(&u) == 0);
    protect(&u, a, PAGE(2), PAGE(2), RW);
    CHECK(committed(&u) == 2);
    put(&u, a, PAGE(2), 1);
    protect(&u, a, PAGE(2), PAGE(2), R);
    CHECK(committed(&u) == 2);
    CHECK_OK(quire_query(a, PAGE(3), &region)); /* which a caller can not see */
    CHECK(region.start == 0 && region.end == PAGE(8));
    protect(&u, a, 0, PAGE(8), 0);
    CHECK(committed(&u) == 2);
    b = fork_of(&u, a);
    CHECK(committed(&u) == 4);
    protect(&u, b, 0, PAGE(4), RW);
    CHECK(committed(&u) == 6);
    CHECK_OK(quire_discard(b, 0, PAGE(8)));
    CHECK(committed(&u) == 6);
    unmap(&u, b, PAGE(3), PAGE(1));
    CHECK(committed(&u) == 5);
    end(&u, b);
    CHECK(committed(&u) == 2);
    unmap(&u, a, 0, PAGE(3));
    CHECK(committed(&u) == 1);
    end(&u, a);
    CHECK(committed(&u) == 0);
    finish(&u);
}

static struct {
    struct quire_space *space; /* of which the host gives something up */
    uint64_t pages;            /* what it was asked for */
    bool help;
} host;

static bool need_commit(struct test_world *w, uint64_t pages)
{
    (void)w;
    host.pages = pages;
    if (host.help)
        CHECK_OK(quire_unmap(host.space, 0, PAGE(4))); /* nothing is held here */
    return host.help;
}

/*
 * Goal: every operation that would promise too much is refused and changes nothing, unless the host
 * gives something up.  Method: a manager that may promise ten pages.
 */
static void limit_of_the_manager(void)
{
    struct unit u;
    struct quire_space *a, *b;
    vaddr_t at = PAGE(10);

    begin_with(&u, &(struct test_options){.commit_limit = 10});
    u.w.need_commit = need_commit;
    host.help = false;
    a = space_new(&u);
    b = space_new(&u);
    host.space = b;
    map(&u, b, 0, PAGE(4), RW);
    map(&u, a, 0, PAGE(6), RW);
    CHECK(committed(&u) == 10);
    CHECK_STATUS(quire_map(a, &at, PAGE(1), RW, QUIRE_MAP_FIXED), QUIRE_NO_COMMIT);
    CHECK(host.pages == 1);
    map(&u, a, PAGE(10), PAGE(3), R);
    reserve(&u, a, PAGE(13), PAGE(3));
    CHECK_STATUS(quire_protect(a, PAGE(10), PAGE(3), RW), QUIRE_NO_COMMIT);
    CHECK_STATUS(quire_commit(a, PAGE(14), PAGE(2), RW), QUIRE_NO_COMMIT);
    CHECK(host.pages == 2);
    CHECK_STATUS(quire_move(a, 0, PAGE(6), &at, PAGE(8), 0), QUIRE_NO_COMMIT);
    CHECK_STATUS(quire_space_fork(b, &host.space), QUIRE_NO_COMMIT);
    CHECK(host.pages == 4);
    host.space = b;
    audit(&u);
    CHECK(committed(&u) == 10);
    CHECK_STATUS(quire_fault(a, PAGE(14), R), QUIRE_NOT_COMMITTED);
    CHECK_STATUS(quire_fault(a, PAGE(10), W), QUIRE_PROTECTED);
    host.help = true;
    CHECK_OK(quire_commit(a, PAGE(14), PAGE(2), RW));
    CHECK(committed(&u) == 8);
    put(&u, a, PAGE(15), 1);
    /* A replacement costs the difference. */
    host.help = false;
    at = 0;
    CHECK_OK(quire_map(a, &at, PAGE(8), RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
    CHECK(committed(&u) == 10);
    end(&u, a);
    end(&u, b);
    CHECK(committed(&u) == 0);
    finish(&u);
}

/*
 * Goal: a space's own limit refuses at once, and its children have it too.  Method: a limit of four
 * pages; the host is not asked.
 */
static void limit_of_a_space(void)
{
    struct unit u;
    struct quire_space *a, *b;
    vaddr_t at = PAGE(8);

    begin(&u);
    u.w.need_commit = need_commit;
    a = space_new(&u);
    quire_space_limit(a, 4, UINT64_MAX);
    map(&u, a, 0, PAGE(3), RW);
    CHECK_STATUS(quire_map(a, &at, PAGE(2), RW, QUIRE_MAP_FIXED), QUIRE_NO_COMMIT);
    b = fork_of(&u, a);
    CHECK_STATUS(quire_map(b, &at, PAGE(2), RW, QUIRE_MAP_FIXED), QUIRE_NO_COMMIT);
    CHECK_OK(quire_map(b, &at, PAGE(1), RW, QUIRE_MAP_FIXED));
    quire_space_limit(b, 1, UINT64_MAX); /* refuses only what comes later */
    CHECK_STATUS(quire_protect(b, 0, PAGE(3), R), QUIRE_OK);
    unmap(&u, b, 0, PAGE(3));
    CHECK_STATUS(quire_map(b, &(vaddr_t){0}, PAGE(1), RW, QUIRE_MAP_FIXED), QUIRE_NO_COMMIT);
    CHECK(u.w.need_commit_calls == 0);
    audit(&u);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/*
 * Goal: a discard leaves regions, promises and a twin's pages alone.  Method: own, borrowed and
 * untouched pages over several leaves and a hole.
 */
static void discard_takes_pages(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF + PAGE(2), RW);
    map(&u, a, LEAF + PAGE(3), LEAF, RW);
    put(&u, a, PAGE(1), 1);
    put(&u, a, LEAF, 2);
    b = fork_of(&u, a);
    put(&u, a, PAGE(2), 3);
    CHECK_OK(quire_discard(a, PAGE(1), 2 * LEAF));
    audit(&u);
    CHECK(get(&u, a, PAGE(1)) == 0 && get(&u, a, PAGE(2)) == 0 && get(&u, a, LEAF) == 0);
    CHECK(get(&u, b, PAGE(1)) == 1 && get(&u, b, PAGE(2)) == 0 && get(&u, b, LEAF) == 2);
    CHECK(committed(&u) == 2 * (2 * LEAF_PAGES + 2));
    put(&u, a, PAGE(1), 4);
    CHECK(get(&u, b, PAGE(1)) == 1);
    end(&u, a);
    end(&u, b);
    finish(&u);
}

/*
 * Goal: populate does what the accesses would have done, up to the first that is refused.  Method:
 * a writable range, a read-only page in it, and too few frames.
 */
static void populate(void)
{
    struct unit u;
    struct quire_space *a;
    uint64_t done;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(8), RW);
    CHECK_OK(quire_populate(a, PAGE(1), PAGE(3), R, &done));
    CHECK(done == PAGE(3) && page_at(a, PAGE(3)).kind == QUIRE_PAGE_ZERO);
    CHECK(page_at(a, PAGE(4)).kind == QUIRE_PAGE_EMPTY);
    protect(&u, a, PAGE(5), PAGE(1), R);
    CHECK_STATUS(quire_populate(a, 0, PAGE(8), W, &done), QUIRE_PROTECTED);
    CHECK(done == PAGE(5) && stats_of(&u).frames_data == 5);
    CHECK_STATUS(quire_populate(a, 0, PAGE(8), RW, NULL), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_populate(a, 1, PAGE(8), W, &done), QUIRE_MISALIGNED);
    CHECK(done == 0);
    map(&u, a, LEAF * 4, PAGE(1), RW);
    while (quire_frame_take(u.w.q, &(pfn_t){0}) == QUIRE_OK)
        ;
    CHECK_STATUS(quire_populate(a, LEAF * 4, PAGE(1), W | QUIRE_NO_WAIT, &done), QUIRE_WOULD_WAIT);
    CHECK_STATUS(quire_populate(a, LEAF * 4, PAGE(1), W, &done), QUIRE_NO_MEMORY);
    CHECK(done == 0);
    audit(&u);
    test_world_destroy(&u.w);
}

CHECK_MAIN("unit.commit", TEST(reserved_is_addresses), TEST(writable_once_is_promised),
           TEST(limit_of_the_manager), TEST(limit_of_a_space), TEST(discard_takes_pages),
           TEST(populate))
