/* SPDX-License-Identifier: MIT */
/*
 * Faults: what each access to each kind of page ends as, told by its status, by what quire_page
 * says afterwards, and by exactly one counter.
 */
#include "unit.h"

/* The counters of faults that ended well, in one number each, so that a difference is easy to
 * state. */
struct ends {
    uint64_t faults, zero_maps, zero_fills, copies, reuses, upgrades, loosened, spurious;
};

static struct ends ends_of(struct unit *u)
{
    struct quire_stats s = stats_of(u);

    return (struct ends){s.faults, s.zero_maps, s.zero_fills, s.copies,
                         s.reuses, s.upgrades,  s.loosened,   s.spurious};
}

/* `call` is one fault, which must add one to `counter` and to no other. */
#define ONE(u, call, counter)                               \
    do {                                                    \
        struct ends before = ends_of(u), after;             \
        CHECK_OK(call);                                     \
        after = ends_of(u);                                 \
        CHECK(after.counter == before.counter + 1);         \
        before.counter++;                                   \
        before.faults = after.faults;                       \
        CHECK(memcmp(&before, &after, sizeof before) == 0); \
        audit(u);                                           \
    } while (0)

/*
 * Goal: a region's protection decides, and the status says which signal.  Method: every protection
 * against every access, on an untouched page, after a read, and after a write under another
 * protection.
 */
static void statuses(void)
{
    static const uint32_t accesses[] = {R, W, X};
    struct unit u;
    struct quire_space *space;

    begin(&u);
    space = space_new(&u);
    for (uint32_t prot = 0; prot < 8; prot++) {
        uint32_t allowed = prot & (W | X) ? prot | R : prot;

        map(&u, space, PAGE(0), PAGE(3), RW);
        CHECK(get(&u, space, PAGE(1)) == 0);
        put(&u, space, PAGE(2), 7);
        protect(&u, space, PAGE(0), PAGE(3), prot);
        for (unsigned page = 0; page < 3; page++) {
            for (unsigned a = 0; a < 3; a++) {
                enum quire_status wanted = allowed & accesses[a] ? QUIRE_OK : QUIRE_PROTECTED;

                CHECK_STATUS(quire_fault(space, PAGE(page) + 5, accesses[a]), wanted);
                audit(&u);
            }
        }
        CHECK_STATUS(quire_fault(space, PAGE(3), R), QUIRE_NOT_MAPPED);
        unmap(&u, space, 0, PAGE(3));
    }
    end(&u, space);
    finish(&u);
}

/*
 * Goal: an untouched page reads as zero without a frame.  Method: read pages all over a big region;
 * all map the one zero page, and no data frame is used.
 */
static void zero_page(void)
{
    struct unit u;
    struct quire_space *space;
    struct quire_page first;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, 2 * LEAF, RW);
    CHECK(page_at(space, 0).kind == QUIRE_PAGE_EMPTY);
    ONE(&u, quire_fault(space, 0, R), zero_maps);
    first = page_at(space, 0);
    CHECK(first.kind == QUIRE_PAGE_ZERO);
    CHECK(first.readable);
    CHECK(!first.writable);
    CHECK(!first.dirty);
    for (vaddr_t a = PAGE(1); a < 2 * LEAF; a += LEAF / 2) {
        CHECK(get(&u, space, a + 1) == 0);
        CHECK(page_at(space, a).pfn == first.pfn);
        CHECK(page_at(space, a).kind == QUIRE_PAGE_ZERO);
    }
    CHECK(stats_of(&u).frames_data == 0);
    ONE(&u, quire_fault(space, 0, W), zero_fills);
    CHECK(page_at(space, 0).kind == QUIRE_PAGE_PRIVATE);
    CHECK(page_at(space, 0).pfn != first.pfn);
    CHECK(page_at(space, 0).dirty);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a new page shows nobody's old bytes.  Method: fill all memory with a pattern, give it back,
 * and read every byte of as many new pages, once with frames zeroed ahead of time.
 */
static void fresh_is_zero(void)
{
    struct unit u;
    struct quire_space *space;
    uint8_t bytes[QUIRE_PAGE_SIZE];
    unsigned pages = MICRO ? 30 : 400;

    begin(&u);
    for (int round = 0; round < 3; round++) {
        space = space_new(&u);
        map(&u, space, 0, PAGE(pages), RW);
        for (unsigned i = 0; i < pages; i++) {
            vaddr_t last = PAGE(i) + QUIRE_PAGE_SIZE - 1;

            CHECK_OK(test_store(&u.w, space, last, 0xee));
            CHECK_OK(quire_read(space, PAGE(i), bytes, sizeof bytes, NULL));
            CHECK(bytes[QUIRE_PAGE_SIZE - 1] == 0xee);
            for (unsigned k = 0; k + 1 < QUIRE_PAGE_SIZE; k++)
                CHECK(bytes[k] == 0);
            memset(bytes, 0xdd, sizeof bytes);
            CHECK_OK(quire_write(space, PAGE(i), bytes, sizeof bytes, NULL));
        }
        end(&u, space);
        if (round == 1) {
            CHECK(quire_zero_ahead(u.w.q, 7) == 7);
            CHECK(quire_zero_ahead(u.w.q, UINT32_MAX) + 7 <= quire_free_frames(u.w.q));
            CHECK(quire_zero_ahead(u.w.q, UINT32_MAX) == 0);
            audit(&u);
        }
    }
    finish(&u);
}

/*
 * Goal: a write to a page ends in the way that its kind asks for.  Method: one page through its
 * life, one fault at a time, each adding to one counter.
 */
static void one_page_through_its_life(void)
{
    struct unit u;
    struct quire_space *parent, *child;

    begin(&u);
    parent = space_new(&u);
    map(&u, parent, 0, PAGE(4), RW);
    ONE(&u, quire_fault(parent, 0, W), zero_fills);
    ONE(&u, quire_fault(parent, 0, W), spurious);
    ONE(&u, quire_fault(parent, 0, R), spurious);
    protect(&u, parent, 0, PAGE(4), R);
    CHECK_STATUS(quire_fault(parent, 0, W), QUIRE_PROTECTED);
    ONE(&u, quire_fault(parent, 0, R), spurious);
    protect(&u, parent, 0, PAGE(4), RW);
    ONE(&u, quire_fault(parent, 0, W), upgrades);
    protect(&u, parent, 0, PAGE(4), QUIRE_NONE);
    CHECK_STATUS(quire_fault(parent, 0, R), QUIRE_PROTECTED);
    protect(&u, parent, 0, PAGE(4), RW);
    ONE(&u, quire_fault(parent, 0, R), loosened);
    protect(&u, parent, 0, PAGE(4), RW | X);
    ONE(&u, quire_fault(parent, 0, X), loosened);
    ONE(&u, quire_fault(parent, PAGE(1), W), zero_fills);
    child = fork_of(&u, parent);
    ONE(&u, quire_fault(parent, 0, R), spurious);
    ONE(&u, quire_fault(parent, 0, W), copies);
    ONE(&u, quire_fault(parent, 0, W), spurious);
    ONE(&u, quire_fault(child, PAGE(1), W), copies);
    CHECK(stats_of(&u).frames_data == 4);
    end(&u, parent);
    CHECK(stats_of(&u).frames_data == 2);
    ONE(&u, quire_fault(child, PAGE(1), W), spurious);
    end(&u, child);
    finish(&u);
}

/*
 * Goal: the last sharer copies nothing.  Method: fork, the parent copies all its pages, then the
 * child writes the same pages, which are by then its alone; every data frame has one owner in the
 * end.
 */
static void last_sharer_copies_nothing(void)
{
    enum { PAGES = 6 };
    struct unit u;
    struct quire_space *parent, *child;
    struct quire_stats before, after;

    begin(&u);
    parent = space_new(&u);
    map(&u, parent, 0, PAGE(PAGES), RW);
    put_each(&u, parent, PAGES);
    child = fork_of(&u, parent);
    before = stats_of(&u);
    for (unsigned i = 0; i < PAGES; i++)
        put(&u, parent, PAGE(i), (uint8_t)(i + 101));
    after = stats_of(&u);
    CHECK(after.copies == before.copies + PAGES);
    CHECK(after.frames_data == 2 * PAGES);
    before = after;
    for (unsigned i = 0; i < PAGES; i++) {
        pfn_t pfn = page_at(child, PAGE(i)).pfn;

        put(&u, child, PAGE(i), (uint8_t)(i + 51));
        CHECK(page_at(child, PAGE(i)).pfn == pfn);
        CHECK(page_at(child, PAGE(i)).kind == QUIRE_PAGE_PRIVATE);
    }
    after = stats_of(&u);
    CHECK(after.copies == before.copies);
    CHECK(after.reuses + after.upgrades > before.reuses + before.upgrades);
    CHECK(after.frames_data == 2 * PAGES);
    CHECK(after.frames_side == 0);
    for (unsigned i = 0; i < PAGES; i++) {
        CHECK(get(&u, parent, PAGE(i)) == i + 101);
        CHECK(get(&u, child, PAGE(i)) == i + 51);
    }
    end(&u, child);
    end(&u, parent);
    finish(&u);
}

/*
 * Goal: counters of a space and of the manager agree with what the trace says.  Method: count every
 * traced event through a mixed life and compare.
 */
static uint64_t traced[QUIRE_EVENT_DESTROY + 1];

static void count_event(void *host, enum quire_event event, struct quire_space *space, uint64_t a,
                        uint64_t b)
{
    (void)host;
    (void)space;
    (void)a;
    (void)b;
    traced[event]++;
}

static void counters_and_trace_agree(void)
{
    struct unit u;
    struct quire_space *space[4];
    struct quire_stats s;
    uint64_t random = 7, unshared = 0;
    unsigned live = 1;

    memset(traced, 0, sizeof traced);
    begin_with(&u, &(struct test_options){.trace = count_event, .frames = MICRO ? 256 : 2048});
    space[0] = space_new(&u);
    map(&u, space[0], 0, 3 * LEAF, RW);
    for (int step = 0; step < 400; step++) {
        unsigned i = (unsigned)(test_random(&random) % live);
        vaddr_t a = test_random(&random) % 3 * LEAF + PAGE(test_random(&random) % 4);

        if (step % 50 == 20 && live < 4)
            space[live++] = fork_of(&u, space[i]);
        else if (test_random(&random) % 3 == 0)
            (void)get(&u, space[i], a);
        else
            put(&u, space[i], a, (uint8_t)step);
    }
    s = stats_of(&u);
    for (unsigned level = 1; level <= QUIRE_LEVELS; level++)
        unshared += s.unshared[level];
    CHECK(traced[QUIRE_EVENT_COPY] == s.copies);
    CHECK(traced[QUIRE_EVENT_REUSE] == s.reuses);
    CHECK(traced[QUIRE_EVENT_ZERO] == s.zero_fills);
    CHECK(traced[QUIRE_EVENT_UPGRADE] == s.upgrades);
    CHECK(traced[QUIRE_EVENT_UNSHARE] == unshared);
    CHECK(traced[QUIRE_EVENT_FORK] == s.forks);
    CHECK(s.faults == s.zero_maps + s.zero_fills + s.copies + s.reuses + s.upgrades + s.loosened +
                          s.spurious + s.unmapped + s.forbidden + s.no_memory);
    for (unsigned i = 0; i < live; i++)
        end(&u, space[i]);
    CHECK(traced[QUIRE_EVENT_DESTROY] == live + 1); /* one before the test began */
    finish(&u);
}

/*
 * Goal: what quire_space_usage says is what is there.  Method: pages of each kind in known numbers,
 * before and after a fork and a write.
 */
static void usage(void)
{
    struct unit u;
    struct quire_space *parent, *child;
    struct quire_usage a;

    begin(&u);
    parent = space_new(&u);
    map(&u, parent, 0, 2 * LEAF, RW);
    put(&u, parent, PAGE(0), 1);
    put(&u, parent, PAGE(1), 1);
    (void)get(&u, parent, PAGE(2));
    put(&u, parent, LEAF, 1);
    quire_space_usage(parent, 0, MMU_ADDRESS_END, &a);
    CHECK(a.pages_private == 3 && a.pages_shared == 0 && a.pages_zero == 1);
    CHECK(a.tables_private == QUIRE_LEVELS + 1 && a.tables_shared == 0);
    quire_space_usage(parent, 0, LEAF, &a);
    CHECK(a.pages_private == 2 && a.pages_zero == 1);
    child = fork_of(&u, parent);
    quire_space_usage(child, 0, MMU_ADDRESS_END, &a);
    CHECK(a.pages_private == 0 && a.pages_shared == 3 && a.pages_zero == 1);
    CHECK(a.tables_private == 0 && a.tables_shared == QUIRE_LEVELS + 1);
    put(&u, child, PAGE(0), 2);
    quire_space_usage(child, 0, MMU_ADDRESS_END, &a);
    CHECK(a.pages_private == 1 && a.pages_shared == 2 && a.pages_zero == 1);
    CHECK(a.tables_private == QUIRE_LEVELS && a.tables_shared == 1);
    CHECK(page_at(child, PAGE(0)).kind == QUIRE_PAGE_PRIVATE);
    CHECK(page_at(child, PAGE(1)).kind == QUIRE_PAGE_BORROWED);
    CHECK(page_at(child, LEAF).kind == QUIRE_PAGE_SHARED);
    CHECK(page_at(parent, PAGE(1)).kind == QUIRE_PAGE_SHARED);
    CHECK(page_at(parent, PAGE(1)).pfn == page_at(child, PAGE(1)).pfn);
    end(&u, child);
    end(&u, parent);
    finish(&u);
}

CHECK_MAIN("unit.fault", TEST(statuses), TEST(zero_page), TEST(fresh_is_zero),
           TEST(one_page_through_its_life), TEST(last_sharer_copies_nothing),
           TEST(counters_and_trace_agree), TEST(usage))
