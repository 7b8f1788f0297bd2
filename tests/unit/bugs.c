/* SPDX-License-Identifier: MIT */
/*
 * Bugs of other systems, each test named after the mechanism; the rows are those of docs/bugs.md.
 */
#define _GNU_SOURCE
#include "unit.h"

#include <pthread.h>
#include <unistd.h>

/*
 * Row 35.  Goal: forking again before any write leaves both children able to write.  Method: fork
 * of a fork of pages that were never written since, then every one of them writes.
 */
static void refork_before_write(void)
{
    struct unit u;
    struct quire_space *a, *b, *c, *d;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    put(&u, a, 0, 1);
    put(&u, a, LEAF, 2);
    b = fork_of(&u, a);
    c = fork_of(&u, b);
    d = fork_of(&u, a);
    put(&u, c, 0, 3);
    put(&u, b, 0, 4);
    put(&u, d, 0, 5);
    put(&u, a, 0, 6);
    CHECK(get(&u, a, 0) == 6 && get(&u, b, 0) == 4 && get(&u, c, 0) == 3 && get(&u, d, 0) == 5);
    put(&u, a, LEAF, 7);
    CHECK(get(&u, b, LEAF) == 2 && get(&u, c, LEAF) == 2 && get(&u, d, LEAF) == 2);
    end(&u, b);
    end(&u, a);
    put(&u, c, LEAF, 8);
    CHECK(get(&u, d, LEAF) == 2);
    end(&u, d);
    end(&u, c);
    finish(&u);
}

/*
 * Row 36.  Goal: a region that is read-only when it is forked is still private.  Method: RW, write,
 * RO, fork, RW again on either side, write.
 */
static void ro_then_fork_then_rw(void)
{
    for (int child_writes = 0; child_writes < 2; child_writes++) {
        struct unit u;
        struct quire_space *a, *b, *writes, *reads;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, PAGE(4), RW);
        put(&u, a, PAGE(0), 1);
        put(&u, a, PAGE(1), 2);
        protect(&u, a, 0, PAGE(4), R);
        b = fork_of(&u, a);
        writes = child_writes ? b : a;
        reads = child_writes ? a : b;
        protect(&u, writes, 0, PAGE(4), RW);
        put(&u, writes, PAGE(0), 9);
        CHECK(get(&u, reads, PAGE(0)) == 1);
        CHECK_STATUS(test_store(&u.w, reads, PAGE(0), 5), QUIRE_PROTECTED);
        protect(&u, reads, 0, PAGE(4), RW);
        put(&u, reads, PAGE(1), 8);
        CHECK(get(&u, writes, PAGE(1)) == 2);
        end(&u, a);
        end(&u, b);
        finish(&u);
    }
}

/*
 * Row 39.  Goal: mapping again where a twin still has the old pages starts from zero and takes
 * nothing from the twin.  Method: unmap and map the same range on one side, in parts and whole,
 * with more forks in between.
 */
static void unmap_remap_under_twin(void)
{
    struct unit u;
    struct quire_space *a, *b, *c;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put_each(&u, a, 4);
    b = fork_of(&u, a);
    unmap(&u, a, 0, LEAF);
    map(&u, a, 0, LEAF, RW);
    CHECK(get(&u, a, PAGE(0)) == 0);
    put(&u, a, PAGE(1), 20);
    c = fork_of(&u, a);
    unmap(&u, a, PAGE(1), PAGE(1));
    map(&u, a, PAGE(1), PAGE(1), RW);
    CHECK(get(&u, a, PAGE(1)) == 0);
    CHECK(get(&u, c, PAGE(1)) == 20);
    unmap(&u, b, PAGE(2), PAGE(2));
    map(&u, b, PAGE(2), PAGE(2), R);
    CHECK(get(&u, b, PAGE(2)) == 0);
    CHECK(get(&u, b, PAGE(1)) == 2);
    end(&u, a);
    put(&u, c, PAGE(2), 30);
    CHECK(get(&u, b, PAGE(2)) == 0);
    CHECK(get(&u, b, PAGE(0)) == 1);
    end(&u, b);
    CHECK(get(&u, c, PAGE(1)) == 20);
    end(&u, c);
    finish(&u);
}

/*
 * Rows 44, 45, 70.  Goal: a kernel's copy breaks sharing in every state a page can be in, with a
 * fork between its look and its copy.  Method: bring page 0 into each state, quire_read it (the
 * look), fork or not, quire_write it (the copy); the twins keep their bytes; a read-only region
 * refuses.
 */
static void copy_states(void)
{
    for (unsigned state = 0; state < 7; state++) {
        for (int fork_between = 0; fork_between < 2; fork_between++) {
            struct unit u;
            struct quire_space *a, *b = NULL, *c = NULL;
            uint8_t old, byte, value = 99;

            begin(&u);
            a = space_new(&u);
            map(&u, a, 0, PAGE(4), RW);
            if (state == 1)
                (void)get(&u, a, 0); /* zero page */
            if (state >= 2)
                put(&u, a, 0, 1); /* own */
            put(&u, a, PAGE(1), 1);
            if (state == 3 || state >= 5)
                b = fork_of(&u, a); /* shared */
            if (state >= 5)
                put(&u, a, PAGE(1), 2); /* borrowed */
            if (state == 6)
                end(&u, b); /* borrowed, last user */
            if (state == 4)
                protect(&u, a, 0, PAGE(1), QUIRE_NONE); /* barred, then allowed again */
            if (state == 4)
                protect(&u, a, 0, PAGE(1), RW);
            CHECK_OK(quire_read(a, 0, &old, 1, NULL));
            CHECK(old == (state >= 2));
            if (fork_between)
                c = fork_of(&u, a);
            CHECK_OK(quire_write(a, 0, &value, 1, NULL));
            audit(&u);
            CHECK(get(&u, a, 0) == 99);
            if (c)
                CHECK(get(&u, c, 0) == old);
            if (b && state != 6)
                CHECK(get(&u, b, 0) == old);
            protect(&u, a, 0, PAGE(1), R);
            CHECK_STATUS(quire_write(a, 0, &value, 1, NULL), QUIRE_PROTECTED);
            CHECK_OK(quire_read(a, 0, &byte, 1, NULL));
            CHECK(byte == 99);
            if (c)
                end(&u, c);
            if (b && state != 6)
                end(&u, b);
            end(&u, a);
            finish(&u);
        }
    }
}

/*
 * Rows 40, 42.  Goal: sizes do not overflow anywhere in map, fork, protect and unmap.  Method:
 * regions of 2^31 - 1, 2^31, 2^32 and all pages there are, with pages touched at both ends and
 * around the 2^31st, forked and written.
 */
static void fork_overflow_sizes(void)
{
    uint64_t all = MMU_ADDRESS_END >> QUIRE_PAGE_SHIFT;
    uint64_t sizes[] = {(UINT64_C(1) << 31) - 1,
                        UINT64_C(1) << 31,
                        (UINT64_C(1) << 31) + 1,
                        (UINT64_C(1) << 32) - 1,
                        UINT64_C(1) << 32,
                        all - 1,
                        all};

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t pages = sizes[i] < all ? sizes[i] : all;
        vaddr_t last = PAGE(pages - 1), middle = PAGE(pages / 2);
        struct unit u;
        struct quire_space *a, *b;
        struct quire_region region;
        uint8_t byte;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, PAGE(pages), RW);
        put(&u, a, 0, 1);
        put(&u, a, middle, 2);
        put(&u, a, last + QUIRE_PAGE_SIZE - 1, 3);
        b = fork_of(&u, a);
        CHECK_OK(quire_query(b, 0, &region));
        CHECK(region.start == 0 && region.end == PAGE(pages));
        put(&u, b, last, 4);
        CHECK(get(&u, a, last) == 0);
        CHECK(get(&u, b, last + QUIRE_PAGE_SIZE - 1) == 3);
        CHECK(get(&u, b, middle) == 2);
        protect(&u, a, PAGE(1), PAGE(pages - 1), R);
        CHECK_STATUS(test_store(&u.w, a, last, 1), QUIRE_PROTECTED);
        if (pages < all)
            CHECK_STATUS(test_load(&u.w, b, PAGE(pages), &byte), QUIRE_NOT_MAPPED);
        unmap(&u, a, PAGE(1), PAGE(pages - 1));
        CHECK(get(&u, a, 0) == 1);
        CHECK(get(&u, b, middle) == 2);
        end(&u, b);
        end(&u, a);
        finish(&u);
    }
}

/* ---- row 49 ---------------------------------------------------------------------------------- */

enum { GENERATIONS = 100000, STACK_BYTES = 64 * 1024, STACK_LIMIT = 12 * 1024 };

static void *deep_fork(void *argument)
{
    struct unit *u = argument;
    struct quire_space *space = space_new(u), *child;
    uint8_t byte;
    vaddr_t address = 0;

    CHECK_OK(quire_map(space, &address, PAGE(4), RW, QUIRE_MAP_FIXED));
    CHECK_OK(test_store(&u->w, space, PAGE(3), 42));
    for (unsigned i = 0; i < GENERATIONS; i++) {
        CHECK_OK(quire_space_fork(space, &child));
        CHECK_OK(test_store(&u->w, child, PAGE(i % 3), (uint8_t)i));
        if (i % 2)
            CHECK_OK(test_store(&u->w, space, PAGE((i + 1) % 3), 1));
        test_end(&u->w, space);
        space = child;
    }
    CHECK_OK(test_load(&u->w, space, PAGE(3), &byte));
    CHECK(byte == 42);
    test_end(&u->w, space);
    return NULL;
}

/*
 * Row 49.  Goal: depth is never recursion, and metadata does not grow with it.  Method: 100,000
 * generations on a small stack that was painted before, whose used part is measured afterwards.
 */
static void deep_fork_bounded_stack(void)
{
    static unsigned char stack[STACK_BYTES] __attribute__((aligned(4096)));
    struct unit u;
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;

    begin_with(&u, &(struct test_options){.held = 256});
    memset(stack, 0xa5, sizeof stack);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, sizeof stack) == 0);
    CHECK(pthread_create(&thread, &attributes, deep_fork, &u) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    while (untouched < sizeof stack && stack[untouched] == 0xa5)
        untouched++;
    FIGURES("%d generations, %zu bytes of stack with the thread's own", GENERATIONS,
            sizeof stack - untouched);
#ifndef __SANITIZE_ADDRESS__
    CHECK(sizeof stack - untouched <= STACK_LIMIT);
#endif
    finish(&u);
}

/*
 * Row 49.  Goal: a tree of forks comes down without recursion in its width and depth.  Method:
 * destroy many living generations that lend to each other, oldest first, so that each death
 * cascades as far as it can; the host's yield is seen between slices.
 */
static void cascade_is_sliced(void)
{
    enum { COUNT = 60 };
    struct quire_space *space[COUNT];
    struct unit u;

    begin_with(&u, &(struct test_options){.frames = 4096, .max_spaces = COUNT + 1});
    space[0] = space_new(&u);
    map(&u, space[0], 0, 8 * LEAF, RW);
    for (unsigned i = 0; i < COUNT; i++) {
        if (i)
            CHECK_OK(quire_space_fork(space[i - 1], &space[i]));
        CHECK_OK(test_store(&u.w, space[i], i % 8 * LEAF + PAGE(i % 4), (uint8_t)i));
    }
    audit(&u);
    for (unsigned i = 0; i + 1 < COUNT; i++)
        end(&u, space[i]);
    for (unsigned i = COUNT; i-- > COUNT - 8;)
        CHECK(get(&u, space[COUNT - 1], i % 8 * LEAF + PAGE(i % 4)) == i);
    CHECK(stats_of(&u).frames_data == 8);
    u.w.yields = 0;
    end(&u, space[COUNT - 1]);
    CHECK(u.w.yields >= 8);
    finish(&u);
}

/*
 * Row 50.  Goal: a read of an untouched page is never writable, also when it is forked before and
 * after.  Method: reads, forks and stores in every order of three, the machine asked for W after
 * each read.
 */
static void zero_read_never_writable(void)
{
    for (unsigned order = 0; order < 4; order++) {
        struct unit u;
        struct quire_space *a, *b;
        uint8_t byte = 7;

        begin(&u);
        a = space_new(&u);
        map(&u, a, 0, PAGE(2), RW);
        if (order & 1)
            (void)get(&u, a, 0);
        b = fork_of(&u, a);
        CHECK(get(&u, a, 0) == 0);
        CHECK(!page_at(a, 0).writable);
        CHECK(!page_at(a, 0).dirty);
        CHECK(!soft_try(u.w.cpu[0], 0, W, &byte));
        CHECK(get(&u, b, 0) == 0);
        CHECK(!soft_try(u.w.cpu[0], 0, W, &byte));
        put(&u, order & 2 ? a : b, 0, 7);
        CHECK(get(&u, order & 2 ? b : a, 0) == 0);
        end(&u, a);
        CHECK(get(&u, b, 0) == (order & 2 ? 0 : 7));
        end(&u, b);
        finish(&u);
    }
}

/*
 * Rows 66, 67.  Goal: no rounding leaves an entry outside of its region.  Method: unaligned and
 * wrapping requests are refused; after unmapping exactly what was mapped nothing is left in the
 * tables, whatever was touched at the edges.
 */
static void rounding_overflow(void)
{
    struct unit u;
    struct quire_space *a, *b;
    struct quire_usage usage;

    begin(&u);
    a = space_new(&u);
    for (unsigned first = 0; first < 3; first++) {
        for (unsigned pages = 1; pages < 5; pages++) {
            vaddr_t low = LEAF - PAGE(2) + PAGE(first);

            map(&u, a, low, PAGE(pages), RW);
            put(&u, a, low, 1);
            put(&u, a, low + PAGE(pages) - 1, 2);
            CHECK_STATUS(quire_unmap(a, low, PAGE(pages) - 1), QUIRE_MISALIGNED);
            CHECK_STATUS(quire_unmap(a, low + 1, PAGE(pages)), QUIRE_MISALIGNED);
            CHECK_STATUS(quire_unmap(a, low, UINT64_MAX - low - PAGE(1) + 2), QUIRE_MISALIGNED);
            CHECK_STATUS(quire_protect(a, low, (uint64_t)0 - low, R), QUIRE_WRAPS);
            b = fork_of(&u, a);
            unmap(&u, a, low, PAGE(pages));
            quire_space_usage(a, 0, MMU_ADDRESS_END, &usage);
            CHECK(usage.pages_private + usage.pages_shared + usage.pages_zero == 0);
            CHECK(get(&u, b, low) == (pages == 1 && QUIRE_PAGE_SIZE == 1 ? 2 : 1));
            end(&u, b);
            CHECK(stats_of(&u).frames_data == 0);
        }
    }
    end(&u, a);
    finish(&u);
}

/*
 * Rows 22 to 27, 29 without pins.  Goal: reuse happens for the last sharer and for nobody else.
 * Method: three sharers of one page leave in each order by write, by unmapping and by exit; the
 * number of copies is exactly the number of writers that were not last.
 */
static void last_sharer(void)
{
    for (unsigned code = 0; code < 27 * 6; code++) {
        static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                              {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        const unsigned *order = orders[code / 27];
        unsigned how = code % 27;
        struct unit u;
        struct quire_space *space[3];
        uint64_t copies = 0;
        bool alive[3] = {true, true, true};

        begin(&u);
        space[0] = space_new(&u);
        map(&u, space[0], 0, PAGE(2), RW);
        put(&u, space[0], 0, 1);
        put(&u, space[0], PAGE(1), 1);
        space[1] = fork_of(&u, space[0]);
        space[2] = fork_of(&u, space[1]);
        for (unsigned i = 0; i < 3; i++, how /= 3) {
            struct quire_space *s = space[order[i]];

            if (how % 3 == 0) {
                put(&u, s, 0, (uint8_t)(10 + i));
                copies += i < 2;
            } else if (how % 3 == 1) {
                unmap(&u, s, 0, PAGE(1));
            } else {
                end(&u, s);
                alive[order[i]] = false;
            }
            CHECK(stats_of(&u).copies == copies);
            for (unsigned k = i + 1; k < 3; k++)
                CHECK(get(&u, space[order[k]], 0) == 1);
        }
        for (unsigned i = 0; i < 3; i++) {
            if (alive[i])
                end(&u, space[i]);
        }
        finish(&u);
    }
}

/*
 * Rows 15 to 21.  Goal: a frame or table is given to somebody else only after every translation to
 * it is gone.  Method: CPU 1 keeps translations of everything; CPU 0 unmaps, replaces, forks,
 * writes and ends spaces, and another space fills the frames at once with other bytes; CPU 1's next
 * loads are refused or see its own.
 */
static void flush_before_release(void)
{
    struct unit u;
    struct quire_space *a, *b, *filler;
    uint8_t byte;

    begin_with(&u, &(struct test_options){.cpus = 2, .frames = MICRO ? 40 : 64});
    a = space_new(&u);
    filler = space_new(&u);
    map(&u, a, 0, 2 * LEAF, RW);
    map(&u, filler, 0, PAGE(4), RW);
    test_run(&u.w, 1, a);
    for (unsigned round = 0; round < 20; round++) {
        vaddr_t at = round % 2 * LEAF;

        for (unsigned i = 0; i < 3; i++) {
            CHECK_OK(soft_store(u.w.cpu[1], at + PAGE(i), "a", 1));
            CHECK_OK(soft_load(u.w.cpu[1], at + PAGE(i), &byte, 1));
        }
        b = fork_of(&u, a);
        CHECK_OK(soft_store(u.w.cpu[1], at + PAGE(1), "b", 1));
        if (round % 3 == 0)
            unmap(&u, a, at, round % 6 ? PAGE(1) : LEAF);
        else if (round % 3 == 1)
            protect(&u, a, at, LEAF, R);
        end(&u, b);
        for (unsigned i = 0; i < 4; i++)
            put(&u, filler, PAGE(i), 0xff);
        for (unsigned i = 0; i < 3; i++) {
            enum quire_status status = soft_load(u.w.cpu[1], at + PAGE(i), &byte, 1);

            if (status == QUIRE_OK)
                CHECK(byte == (i == 1 ? 'b' : 'a'));
            else
                CHECK_STATUS(status, QUIRE_NOT_MAPPED);
            CHECK((status == QUIRE_NOT_MAPPED) == (round % 3 == 0 && (round % 6 == 0 || i == 0)));
        }
        if (round % 3 == 1)
            CHECK_STATUS(soft_store(u.w.cpu[1], at, "c", 1), QUIRE_PROTECTED);
        unmap(&u, a, at, LEAF);
        map(&u, a, at, LEAF, RW);
        CHECK_OK(soft_load(u.w.cpu[1], at, &byte, 1));
        CHECK(byte == 0);
        unmap(&u, filler, 0, PAGE(4));
        map(&u, filler, 0, PAGE(4), RW);
    }
    end(&u, a);
    end(&u, filler);
    finish(&u);
}

/* What CPU 1 reads at each flush while CPU 0 writes. */
static struct {
    struct unit *u;
    vaddr_t address;
    unsigned flushes;
    uint8_t wanted;
} watcher;

static void watch(struct soft_machine *machine, struct quire_space *space, vaddr_t low,
                  vaddr_t high)
{
    uint8_t byte;

    (void)machine;
    (void)space;
    if (watcher.address < low || watcher.address >= high)
        return;
    watcher.flushes++;
    /* Still held or already refused, but never the copy: it does not exist yet. */
    if (soft_try(watcher.u->w.cpu[1], watcher.address, R, &byte))
        CHECK(byte == watcher.wanted);
}

/*
 * Rows 12, 13, 18, 20.  Goal: no CPU sees the new copy while another can still see the old page.
 * Method: CPU 1 of the same space reads the page from within the flush of CPU 0's copy, before its
 * own translation goes, and again when the copy is there.
 */
static void copy_after_last_translation(void)
{
    for (int tables_too = 0; tables_too < 2; tables_too++) {
        struct unit u;
        struct quire_space *a, *b;
        uint8_t byte;

        begin_with(&u, &(struct test_options){.cpus = 2});
        a = space_new(&u);
        map(&u, a, 0, PAGE(4), RW);
        put(&u, a, 0, 1);
        b = fork_of(&u, a);
        if (!tables_too)
            put(&u, b, PAGE(1), 1);
        test_run(&u.w, 1, b);
        test_run(&u.w, 0, b);
        CHECK_OK(soft_load(u.w.cpu[1], 0, &byte, 1));
        watcher.u = &u;
        watcher.address = 0;
        watcher.wanted = 1;
        watcher.flushes = 0;
        /* A use of what is about to be flushed is what we want here, so the machine may not
         * complain of it. */
        u.w.machine->on_flush = watch;
        u.w.quiet = true;
        CHECK_OK(soft_store(u.w.cpu[0], 0, "z", 1));
        u.w.machine->on_flush = NULL;
        u.w.machine->violations = 0;
        u.w.quiet = false;
        CHECK(watcher.flushes > 0);
        CHECK_OK(soft_load(u.w.cpu[1], 0, &byte, 1));
        CHECK(byte == 'z');
        CHECK(get(&u, a, 0) == 1);
        end(&u, a);
        end(&u, b);
        finish(&u);
    }
}

/*
 * Row 28.  Goal: share counts do not wrap at 8 or 16 bits.  Method: 254, 255, 256, 257 and over
 * 65,536 living sharers of one table; writes and exits at those points keep everybody's bytes.
 */
static void share_counts_do_not_wrap(void)
{
    enum { MOST = 65600 };
    static struct quire_space *space[MOST];
    struct unit u;
    unsigned count = 1;
    uint8_t byte;

    begin_with(&u, &(struct test_options){
                       .max_spaces = MOST, .frames = MICRO ? 8 * MOST : 4096, .held = 256});
    space[0] = space_new(&u);
    map(&u, space[0], 0, PAGE(2), RW);
    put(&u, space[0], 0, 5);
    put(&u, space[0], PAGE(1), 6);
    for (; count < MOST; count++) {
        CHECK_OK(quire_space_fork(space[count / 2], &space[count]));
        /* In the micro geometry each child has its own leaf, so `uses` counts them too. */
        if (MICRO)
            CHECK_OK(test_store(&u.w, space[count], PAGE(1), (uint8_t)count));
        if (count == 254 || count == 255 || count == 256 || count == 257 || count == 65535 ||
            count == 65536 || count == 65537) {
            CHECK(test_world_findings(&u.w) == 0);
            CHECK_OK(test_load(&u.w, space[count], 0, &byte));
            CHECK(byte == 5);
        }
    }
    put(&u, space[MOST - 1], 0, 7);
    put(&u, space[0], 0, 8);
    for (unsigned i = 1; i + 1 < MOST; i++) {
        if (i % 1000 == 0) {
            CHECK_OK(test_load(&u.w, space[i], 0, &byte));
            CHECK(byte == 5);
        }
        test_end(&u.w, space[i]);
    }
    CHECK(get(&u, space[0], 0) == 8);
    CHECK(get(&u, space[MOST - 1], 0) == 7);
    end(&u, space[MOST - 1]);
    end(&u, space[0]);
    FIGURES("%d sharers", MOST);
    finish(&u);
}

/*
 * Rows 3, 34, 54, 56.  Goal: dirty says that the content was changed, and follows it.  Method:
 * reads leave pages clean; a written page stays dirty through protect, fork, copy, reuse and
 * hiding.
 */
static void dirty_follows_content(void)
{
    struct unit u;
    struct quire_space *a, *b;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    (void)get(&u, a, PAGE(1));
    CHECK(!page_at(a, PAGE(1)).dirty);
    put(&u, a, PAGE(0), 1);
    CHECK(page_at(a, PAGE(0)).dirty);
    protect(&u, a, 0, PAGE(4), R);
    CHECK(page_at(a, PAGE(0)).dirty);
    CHECK(!page_at(a, PAGE(1)).dirty);
    protect(&u, a, 0, PAGE(4), QUIRE_NONE);
    CHECK(page_at(a, PAGE(0)).dirty);
    protect(&u, a, 0, PAGE(4), R);
    (void)get(&u, a, PAGE(0));
    CHECK(page_at(a, PAGE(0)).dirty);
    protect(&u, a, 0, PAGE(4), RW);
    b = fork_of(&u, a);
    CHECK(page_at(a, PAGE(0)).dirty && page_at(b, PAGE(0)).dirty);
    put(&u, b, PAGE(2), 1);
    CHECK(page_at(b, PAGE(0)).dirty); /* borrowed now; the home is dirty */
    CHECK(page_at(a, PAGE(0)).dirty);
    put(&u, b, PAGE(0), 2);
    CHECK(page_at(b, PAGE(0)).dirty); /* a copy is dirty from birth */
    protect(&u, b, 0, PAGE(4), QUIRE_NONE);
    end(&u, a);
    protect(&u, b, 0, PAGE(4), R);
    CHECK(page_at(b, PAGE(0)).dirty);
    end(&u, b);
    /* Pages that became writable together, when the leaf was taken back: a write marks its own. */
    a = space_new(&u);
    map(&u, a, 0, LEAF, RW);
    put(&u, a, PAGE(0), 1);
    put(&u, a, PAGE(1), 1);
    protect(&u, a, 0, LEAF, R); /* the machine's dirty bits are folded away */
    protect(&u, a, 0, LEAF, RW);
    b = fork_of(&u, a);
    end(&u, b);
    put(&u, a, PAGE(0), 2);
    CHECK(page_at(a, PAGE(1)).writable);
    CHECK_OK(quire_write(a, PAGE(1), "x", 1, NULL));
    CHECK(page_at(a, PAGE(1)).dirty);
    CHECK(get(&u, a, PAGE(1)) == 'x');
    end(&u, a);
    finish(&u);
}

/*
 * Row 57.  Goal: a discarded page is zero, and not what an older layer had.  Method: page written
 * in grandparent and parent, discarded in the child: it reads as zero there and in the child's
 * child, whoever dies meanwhile.
 */
static void discard_does_not_rewind(void)
{
    struct unit u;
    struct quire_space *a, *b, *c, *d;

    begin(&u);
    a = space_new(&u);
    map(&u, a, 0, PAGE(4), RW);
    put(&u, a, PAGE(1), 1);
    put(&u, a, PAGE(2), 1);
    b = fork_of(&u, a);
    put(&u, b, PAGE(1), 2);
    c = fork_of(&u, b);
    unmap(&u, c, PAGE(1), PAGE(1));
    map(&u, c, PAGE(1), PAGE(1), RW);
    CHECK(get(&u, c, PAGE(1)) == 0);
    d = fork_of(&u, c);
    end(&u, b);
    CHECK(get(&u, d, PAGE(1)) == 0);
    end(&u, a);
    CHECK(get(&u, c, PAGE(1)) == 0);
    CHECK(get(&u, d, PAGE(2)) == 1);
    put(&u, c, PAGE(1), 9);
    CHECK(get(&u, d, PAGE(1)) == 0);
    end(&u, c);
    end(&u, d);
    finish(&u);
}

/*
 * Rows 43, 46.  Goal: a page that is superseded is given back as soon as nobody can read it.
 * Method: siblings supersede shared pages one after another; the number of data frames is at each
 * moment the number of different pages that somebody has.
 */
static void superseded_pages_go(void)
{
    enum { SIBLINGS = 5, PAGES = 3 };
    struct unit u;
    struct quire_space *parent, *child[SIBLINGS];

    begin_with(&u, &(struct test_options){.frames = 256});
    parent = space_new(&u);
    map(&u, parent, 0, PAGE(PAGES), RW);
    for (unsigned p = 0; p < PAGES; p++)
        put(&u, parent, PAGE(p), 1);
    for (unsigned i = 0; i < SIBLINGS; i++)
        child[i] = fork_of(&u, parent);
    for (unsigned p = 0; p < PAGES; p++) {
        for (unsigned i = 0; i < SIBLINGS; i++) {
            put(&u, child[i], PAGE(p), (uint8_t)(10 + i));
            CHECK(stats_of(&u).frames_data == PAGES + p * SIBLINGS + i + 1);
        }
    }
    for (unsigned i = 0; i < SIBLINGS; i++) {
        end(&u, child[i]);
        CHECK(stats_of(&u).frames_data == PAGES * (SIBLINGS - i));
    }
    CHECK(stats_of(&u).copies == SIBLINGS * PAGES);
    end(&u, parent);
    finish(&u);
}

CHECK_MAIN("unit.bugs", TEST(refork_before_write), TEST(ro_then_fork_then_rw),
           TEST(unmap_remap_under_twin), TEST(copy_states), TEST(fork_overflow_sizes),
           TEST(deep_fork_bounded_stack), TEST(cascade_is_sliced), TEST(zero_read_never_writable),
           TEST(rounding_overflow), TEST(last_sharer), TEST(flush_before_release),
           TEST(copy_after_last_translation), TEST(share_counts_do_not_wrap),
           TEST(dirty_follows_content), TEST(discard_does_not_rewind), TEST(superseded_pages_go))
