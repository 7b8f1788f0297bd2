/* SPDX-License-Identifier: MIT */
/*
 * Paging: pages leave memory and come back, whoever shares them.
 *
 * The device is an array of bytes (pager.h).  A page is sent away by advice, or because memory is
 * short; what a program reads afterwards is what it would have read anyway.
 */
#include "paging.h"

/* Goal: a page that leaves is read back as it was; on a list softly, else by one transfer; one that
 * was only read meanwhile is not written again. */
static void out_and_back(void)
{
    struct fixture f;
    struct quire_space *a;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(6), RW);
    put_each(&f.u, a, 5);
    send_out(&f, a, 6);
    CHECK(stats_of(&f.u).standby == 5 && stats_of(&f.u).paged_out == 5);
    CHECK(!page_at(a, PAGE(2)).resident && page_at(a, PAGE(2)).kind == QUIRE_PAGE_PRIVATE);
    CHECK(get(&f.u, a, PAGE(2)) == 3);
    CHECK(stats_of(&f.u).soft_faults == 1 && f.file.reads == 0);
    CHECK(page_at(a, PAGE(2)).resident);
    send_out(&f, a, 6);
    CHECK(stats_of(&f.u).paged_out == 5);
    steal_all(&f);
    for (unsigned i = 0; i < 5; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    CHECK(get(&f.u, a, PAGE(5)) == 0);
    put(&f.u, a, PAGE(1), 77);
    send_out(&f, a, 6);
    CHECK(stats_of(&f.u).paged_out == 6);
    steal_all(&f);
    CHECK(get(&f.u, a, PAGE(1)) == 77);
    CHECK(stats_of(&f.u).soft_faults == 1 + 5 + 1);
    end(&f.u, a);
    finish_pages(&f);
}

/* A leaf of which so many pages hold what put_each() gives them, and a fork of the space. */
static void begin_forked(struct fixture *f, unsigned pages, struct quire_space **a,
                         struct quire_space **b)
{
    begin_pages(f, (struct test_options){0});
    *a = space_new(&f->u);
    map(&f->u, *a, 0, PAGE(LEAF_PAGES), RW);
    put_each(&f->u, *a, pages);
    *b = fork_of(&f->u, *a);
}

/* Goal: what forks share leaves once, and each of them reads and writes its own afterwards. */
static void shared_by_fork(void)
{
    struct fixture f;
    struct quire_space *a, *b, *c;

    begin_forked(&f, 4, &a, &b);
    put(&f.u, b, PAGE(1), 21); /* b borrows the others */
    c = fork_of(&f.u, b);
    quire_age(f.u.w.q);
    all_out(&f);
    CHECK(!page_at(a, 0).resident && !page_at(b, 0).resident && !page_at(c, PAGE(1)).resident);
    CHECK(get(&f.u, c, PAGE(1)) == 21 && get(&f.u, a, PAGE(1)) == 2);
    put(&f.u, c, PAGE(2), 33);
    put(&f.u, a, PAGE(0), 11);
    CHECK(get(&f.u, b, PAGE(2)) == 3 && get(&f.u, b, PAGE(0)) == 1);
    end(&f.u, a);
    CHECK(get(&f.u, c, PAGE(0)) == 1 && get(&f.u, c, PAGE(2)) == 33);
    end(&f.u, b);
    CHECK(get(&f.u, c, PAGE(3)) == 4);
    end(&f.u, c);
    finish_pages(&f);
}

/* Goal: H6: a page does not leave for the space that it belongs to while another has it mapped, and
 * the one that borrows it may let it go while its owner uses it. */
static void trim_home_while_twin_maps(void)
{
    struct fixture f;
    struct quire_space *a, *b;

    begin_forked(&f, 2, &a, &b);
    put(&f.u, b, PAGE(1), 21); /* b has a leaf of its own, and borrows the other page */
    CHECK(get(&f.u, b, 0) == 1);
    send_out(&f, a, 1);
    CHECK(stats_of(&f.u).standby == 0 && page_at(b, 0).resident && page_at(b, 0).readable);
    CHECK(get(&f.u, a, 0) == 1 && get(&f.u, b, 0) == 1);
    send_out(&f, b, 1);
    steal_all(&f);
    CHECK(page_at(a, 0).readable && get(&f.u, a, 0) == 1);
    put(&f.u, a, 0, 11);
    CHECK(get(&f.u, b, 0) == 1);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: H12: the last sharer of a page that is being written does not get it before that has ended,
 * and then what is stored in it is not lost. */
static void reuse_under_pageout(void)
{
    struct fixture f;
    struct quire_space *a, *b;
    uint64_t reuses;

    begin_forked(&f, 2, &a, &b);
    put(&f.u, b, PAGE(1), 21);
    end(&f.u, a);
    f.file.late = true;
    pass_all(&f);
    CHECK(quire_balance(f.u.w.q) && f.file.waiting_count > 0);
    reuses = stats_of(&f.u).reuses;
    CHECK_STATUS(quire_fault(b, 0, QUIRE_WRITE | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    audit(&f.u);
    while (f.file.waiting_count > 0)
        test_file_end(&f.file, 0);
    f.file.late = false;
    put(&f.u, b, 0, 7);
    CHECK(stats_of(&f.u).reuses == reuses + 1);
    all_out(&f);
    CHECK(get(&f.u, b, 0) == 7 && get(&f.u, b, PAGE(1)) == 21);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: programs that together need several times the memory there is run to their end. */
static void more_than_memory(void)
{
    enum { PAGES = 40 };
    struct fixture f;
    struct quire_space *a;

    begin_pages(&f, (struct test_options){.frames = MICRO ? 44 : 30});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < PAGES; i++) {
            if (round > 0)
                CHECK(get(&f.u, a, PAGE(i)) == (uint8_t)(i + round));
            put(&f.u, a, PAGE(i), (uint8_t)(i + round + 1));
        }
    CHECK(stats_of(&f.u).paged_in > PAGES / 2);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: shared memory leaves and comes back, for those who read it and those who have it mapped. */
static void shared_memory(void)
{
    struct fixture f;
    struct quire_space *a, *b;
    struct quire_section *section;
    vaddr_t at = 0;
    uint8_t bytes[2] = {1, 2}, back[2];

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    b = space_new(&f.u);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(4) - 8, NULL, NULL, &section));
    CHECK_OK(quire_map_view(a, &at, PAGE(4), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    CHECK_OK(quire_map_view(b, &at, PAGE(4), RW, QUIRE_MAP_FIXED, section, 0));
    put_each(&f.u, a, 4);
    CHECK(get(&f.u, b, PAGE(2)) == 3);
    put(&f.u, b, PAGE(3), 44); /* its own now */
    CHECK_OK(quire_section_write(section, PAGE(1) - 1, bytes, 2, 0, NULL));
    all_out(&f);
    CHECK(!quire_section_resident(section, 0) && !quire_section_resident(section, PAGE(3)));
    CHECK(stats_of(&f.u).paged_out == 5);
    CHECK_OK(quire_section_read(section, PAGE(1) - 1, back, 2, 0, NULL));
    CHECK(back[0] == 1 && back[1] == 2);
    CHECK(get(&f.u, a, PAGE(2)) == 3 && get(&f.u, b, PAGE(3)) == 44);
    put(&f.u, b, PAGE(0), 7);
    CHECK(get(&f.u, a, 0) == 1 && get(&f.u, b, PAGE(0)) == 7);
    /* What is cut off while it is out does not come back. */
    put(&f.u, a, PAGE(3) + 5, 99);
    send_out(&f, a, 4);
    pass_all(&f);
    CHECK(!quire_section_resident(section, PAGE(3)));
    CHECK_OK(quire_section_resize(section, PAGE(3) + 2));
    CHECK_OK(quire_section_resize(section, PAGE(4)));
    CHECK(get(&f.u, a, PAGE(3)) == 4 && get(&f.u, a, PAGE(3) + 5) == 0);
    quire_section_close(section);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: shared memory that is discarded while a device holds its page, which is in its slot too,
 * reads as zeros, and the device keeps what it has. */
static void discarded_while_pinned(void)
{
    struct fixture f;
    struct quire_space *a;
    struct quire_section *section;
    struct quire_run run;
    struct quire_pin pin;
    vaddr_t at = 0;

    begin_pages(&f, (struct test_options){.max_pins = 1});
    a = space_new(&f.u);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(1), NULL, NULL, &section));
    CHECK_OK(quire_map_view(a, &at, PAGE(1), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put(&f.u, a, 0, 7);
    all_out(&f);
    CHECK_OK(quire_pin(a, 0, PAGE(1), R, &run, 1, &pin));
    CHECK(get(&f.u, a, 0) == 7);
    CHECK_OK(quire_section_discard(section, 0, PAGE(1)));
    CHECK(get(&f.u, a, 0) == 0);
    CHECK(*(const uint8_t *)frame_memory(&f.u.w.q->frames, run.first) == 7);
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    all_out(&f);
    CHECK(!quire_section_resident(section, 0));
    CHECK(get(&f.u, a, 0) == 0);
    quire_section_close(section);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: shared memory that can not grow, because its last page can not be read, has promised no
 * more than before. */
static void promise_given_back(void)
{
    struct fixture f;
    struct quire_section *section;
    uint8_t byte = 7;
    uint64_t committed;

    begin_pages(&f, (struct test_options){0});
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(1) + 3, NULL, NULL, &section));
    CHECK_OK(quire_section_write(section, PAGE(1), &byte, 1, 0, NULL));
    all_out(&f);
    committed = stats_of(&f.u).committed;
    f.file.fail_reads = true;
    CHECK_STATUS(quire_section_resize(section, PAGE(4)), QUIRE_IO_ERROR);
    CHECK(stats_of(&f.u).committed == committed);
    f.file.fail_reads = false;
    CHECK_OK(quire_section_resize(section, PAGE(4)));
    CHECK(stats_of(&f.u).committed == committed + 2);
    quire_section_close(section);
    finish_pages(&f);
}

/* Goal: pages of files leave views and memory, changed ones by way of the file; but what a view has
 * of a store that may change underneath stays as it was. */
static void files(void)
{
    for (int unstable = 0; unstable < 2; unstable++) {
        static uint8_t bytes[4 << QUIRE_PAGE_SHIFT];
        struct fixture f;
        struct test_file file;
        struct quire_space *a;
        struct quire_section *section;
        vaddr_t at = 0;

        begin_pages(&f, (struct test_options){0});
        memset(bytes, 7, sizeof bytes);
        test_file_init(&file, &f.u.w, bytes, sizeof bytes);
        file.unstable = unstable;
        CHECK_OK(test_file_open(&file, PAGE(4), &section));
        a = space_new(&f.u);
        CHECK_OK(
            quire_map_view(a, &at, PAGE(4), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
        CHECK(get(&f.u, a, 0) == 7);
        put(&f.u, a, PAGE(2), 9);
        pass_all(&f);
        CHECK(quire_section_resident(section, 0) == unstable);
        CHECK(quire_section_resident(section, PAGE(2)) == unstable);
        CHECK(unstable || bytes[PAGE(2)] == 9);
        bytes[0] = 8;
        CHECK(get(&f.u, a, 0) == (unstable ? 7 : 8) && get(&f.u, a, PAGE(2)) == 9);
        CHECK(stats_of(&f.u).slots_used == 0);
        quire_section_close(section);
        end(&f.u, a);
        finish_pages(&f);
    }
}

/* Goal: a read that brings neighbours along ends where they are not out, also where there are too
 * few frames to begin with the first of them. */
static void read_around_ends(void)
{
    enum { PAGES = 8 };
    struct fixture f;
    struct quire_space *a;
    pfn_t taken[256];
    unsigned count = 0;

    begin_pages(&f, (struct test_options){.frames = 64});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    put_each(&f.u, a, PAGES);
    send_out(&f, a, PAGES);
    steal_all(&f);
    CHECK(get(&f.u, a, PAGE(PAGES - 1)) == PAGES); /* its slot is kept; the others wait on a list */
    steal_all(&f);
    while (quire_free_frames(f.u.w.q) > 2)
        CHECK_OK(quire_frame_take(f.u.w.q, &taken[count++]));
    CHECK(get(&f.u, a, PAGE(PAGES - 2)) == PAGES - 1);
    while (count > 0)
        quire_frame_give(f.u.w.q, taken[--count]);
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: a write that fails leaves the page modified; a read that fails, or brings other bytes than
 * were written, fails that one access. */
static void device_fails(void)
{
    struct fixture f;
    struct quire_space *a;
    uint8_t byte;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(3), RW);
    put_each(&f.u, a, 3);
    f.file.fail_writes = true;
    CHECK_OK(quire_advise_pages(a, 0, PAGE(3), QUIRE_PAGES_OUT));
    (void)quire_balance(f.u.w.q);
    audit(&f.u);
    CHECK(stats_of(&f.u).modified == 3 && stats_of(&f.u).page_write_errors > 0);
    CHECK(get(&f.u, a, PAGE(1)) == 2);
    f.file.fail_writes = false;
    send_out(&f, a, 3);
    steal_all(&f);
    f.file.fail_reads = true;
    CHECK_STATUS(test_load(&f.u.w, a, 0, &byte), QUIRE_IO_ERROR);
    audit(&f.u);
    f.file.fail_reads = false;
    CHECK(get(&f.u, a, 0) == 1);
    send_out(&f, a, 3);
    steal_all(&f);
    for (uint64_t i = 0; i < SLOTS; i++)
        f.device[i << QUIRE_PAGE_SHIFT] ^= 1;
    CHECK_STATUS(test_load(&f.u.w, a, PAGE(1), &byte), QUIRE_IO_ERROR);
    CHECK(stats_of(&f.u).page_read_errors >= 2);
    for (uint64_t i = 0; i < SLOTS; i++)
        f.device[i << QUIRE_PAGE_SHIFT] ^= 1;
    CHECK(get(&f.u, a, PAGE(1)) == 2);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: no page file has room, or takes what it is given: the access fails, and nothing hangs. */
static void no_way_out(void)
{
    enum { PAGES = 60 };
    struct fixture f;
    struct quire_space *a;
    unsigned i = 0;

    begin_pages(&f, (struct test_options){.frames = 32});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    f.file.fail_writes = true;
    while (i < PAGES && test_store(&f.u.w, a, PAGE(i), (uint8_t)(i + 1)) == QUIRE_OK)
        i++;
    CHECK(i > 4 && i < PAGES);
    audit(&f.u);
    CHECK_STATUS(test_store(&f.u.w, a, PAGE(i), 1), QUIRE_NO_MEMORY);
    audit(&f.u);
    f.file.fail_writes = false;
    put(&f.u, a, PAGE(i), 1); /* the first write that works ends it */
    for (unsigned n = 0; n < i; n++)
        CHECK(get(&f.u, a, PAGE(n)) == (uint8_t)(n + 1));
    put(&f.u, a, PAGE(i), 5);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: a page file goes while pages are out in it, on lists, and in memory with a slot. */
static void file_removed(void)
{
    struct fixture f;
    struct quire_space *a, *b;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(8), RW);
    put_each(&f.u, a, 7);
    b = fork_of(&f.u, a);
    put(&f.u, b, PAGE(6), 60);
    send_out(&f, b, 8);
    pass_all(&f);
    write_all(&f);
    CHECK(get(&f.u, a, PAGE(1)) == 2); /* keeps its slot */
    steal_all(&f);
    CHECK(get(&f.u, a, PAGE(2)) == 3);
    f.file.fail_reads = true;
    CHECK_STATUS(quire_pagefile_remove(f.pagefile), QUIRE_IO_ERROR);
    audit(&f.u);
    f.file.fail_reads = false;
    CHECK_OK(quire_pagefile_remove(f.pagefile));
    audit(&f.u);
    CHECK(stats_of(&f.u).slots == 0 && stats_of(&f.u).slots_used == 0);
    for (unsigned i = 0; i < 7; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    CHECK(get(&f.u, b, PAGE(6)) == 60 && get(&f.u, b, PAGE(5)) == 6);
    f.pagefile = test_file_page_to(&f.file, 0);
    send_out(&f, a, 8);
    steal_all(&f);
    CHECK(get(&f.u, a, PAGE(3)) == 4);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: what is locked stays, also where it is shared with a space that has not locked it; the
 * child's own does not. */
static void locked(void)
{
    struct fixture f;
    struct quire_space *a, *b;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(8), RW);
    put_each(&f.u, a, 6);
    CHECK_OK(quire_lock(a, PAGE(1), PAGE(2)));
    audit(&f.u);
    b = fork_of(&f.u, a);
    put(&f.u, b, PAGE(1), 20);
    pass_all(&f);
    CHECK_OK(quire_advise_pages(a, 0, PAGE(8), QUIRE_PAGES_OUT));
    CHECK(page_at(a, PAGE(1)).resident && page_at(a, PAGE(2)).resident);
    CHECK(!page_at(a, PAGE(0)).resident && !page_at(a, PAGE(3)).resident);
    CHECK(!page_at(b, PAGE(1)).resident && page_at(b, PAGE(2)).resident);
    CHECK_OK(quire_unlock(a, PAGE(1), PAGE(2)));
    pass_all(&f);
    CHECK(!page_at(a, PAGE(1)).resident);
    CHECK(get(&f.u, a, PAGE(1)) == 2 && get(&f.u, b, PAGE(1)) == 20);
    CHECK_OK(quire_lock(a, PAGE(2), PAGE(1)));
    put(&f.u, a, PAGE(1), 3);
    put(&f.u, a, PAGE(2), 4);
    CHECK_OK(quire_advise_pages(a, 0, PAGE(7), QUIRE_PAGES_OUT)); /* not to the region's end */
    CHECK(!page_at(a, PAGE(1)).resident && page_at(a, PAGE(2)).resident);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: anybody can ask how old a page is, and whether it was used since. */
static void age_is_told(void)
{
    enum { VISITS = 6 };
    struct fixture f;
    struct quire_space *a, *b;
    uint8_t idle = 0, busy = 0;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(2), RW);
    put_each(&f.u, a, 2);
    for (unsigned i = 0; i < VISITS; i++) {
        CHECK(page_at(a, 0).used == (i == 0) && page_at(a, PAGE(1)).used);
        quire_age(f.u.w.q);
        mmu_flush_all(f.u.w.q->machine); /* what a CPU has in its TLB marks nothing used */
        idle = quire_policy_aging.age(idle, i == 0);
        busy = quire_policy_aging.age(busy, true);
        CHECK(page_at(a, 0).age == idle && page_at(a, PAGE(1)).age == busy);
        CHECK(!page_at(a, PAGE(1)).used);
        put(&f.u, a, PAGE(1), 3);
    }
    CHECK(idle > busy);
    b = fork_of(&f.u, a);
    CHECK(page_at(b, 0).age == idle && !page_at(b, 0).used);
    CHECK(get(&f.u, b, 0) == 1 && page_at(b, 0).used);
    end(&f.u, b);
    send_out(&f, a, 2);
    CHECK(!page_at(a, 0).resident && page_at(a, 0).age == 0);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: of the pages on standby those lose their frames first that nobody has wanted, then those
 * that were called cold, whoever left first. */
static void standby_by_priority(void)
{
    enum { PAGES = 4 };
    struct fixture f;
    struct quire_space *a, *b;
    uint64_t reads;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    b = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    map(&f.u, b, 0, PAGE(PAGES), RW);
    put_each(&f.u, a, PAGES);
    pass_all(&f);
    write_all(&f);
    put_each(&f.u, b, PAGES);
    send_out(&f, b, PAGES);
    CHECK(steal(&f, PAGES) == PAGES);
    reads = f.file.pages_read;
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    CHECK(f.file.pages_read == reads); /* what was called cold has gone */

    CHECK(get(&f.u, b, 0) == 1); /* the others come with it, and nobody wants them */
    CHECK(f.file.pages_read == reads + PAGES);
    send_out(&f, a, PAGES);
    CHECK(steal(&f, PAGES - 1) == PAGES - 1);
    reads = f.file.pages_read;
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    CHECK(f.file.pages_read == reads);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: a space with a most has no more in memory; one with a least keeps it. */
static void working_set(void)
{
    enum { PAGES = 40, MOST = 16 };
    struct fixture f;
    struct quire_space *a, *b;
    struct quire_usage usage;

    begin_pages(&f, (struct test_options){.frames = 128});
    a = space_new(&f.u);
    b = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    map(&f.u, b, 0, PAGE(4), RW);
    CHECK_STATUS(quire_space_working_set(a, 20, 10), QUIRE_OUT_OF_RANGE);
    CHECK_OK(quire_space_working_set(a, 0, MOST));
    CHECK_OK(quire_space_working_set(b, 4, UINT64_MAX));
    put_each(&f.u, b, 4);
    for (unsigned i = 0; i < PAGES; i++) {
        put(&f.u, a, PAGE(i), (uint8_t)(i + 1));
        quire_space_usage(a, 0, PAGE(PAGES), &usage);
        CHECK(usage.pages_private - usage.pages_out <= MOST);
    }
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(get(&f.u, a, PAGE(i)) == (uint8_t)(i + 1));
    while (a->room > 0)
        CHECK_OK(quire_fault(a, 0, QUIRE_READ));
    CHECK_STATUS(quire_fault(a, 0, QUIRE_READ | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    pass_all(&f);
    quire_space_usage(a, 0, PAGE(PAGES), &usage);
    CHECK(usage.pages_out == PAGES);
    quire_space_usage(b, 0, PAGE(4), &usage);
    CHECK(usage.pages_private == 4 && usage.pages_out == 0);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: a space whose pages must stay may have more in memory than its most, and goes on. */
static void working_set_pinned(void)
{
    enum { PAGES = 40, MOST = 16 };
    struct fixture f;
    struct quire_space *a;
    struct quire_pin pin;
    struct quire_run run[PAGES];

    begin_pages(&f, (struct test_options){.frames = 128, .max_pins = 1});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    CHECK_OK(quire_pin(a, 0, PAGE(PAGES - 1), QUIRE_WRITE, run, PAGES, &pin));
    CHECK_OK(quire_space_working_set(a, 0, MOST));
    put(&f.u, a, PAGE(PAGES - 1), 1);
    CHECK(page_at(a, 0).resident && page_at(a, PAGE(PAGES - 1)).resident);
    CHECK_OK(quire_unpin(f.u.w.q, &pin));
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: shared memory that is as its page file has it is not forgotten by a purge. */
static void memory_not_purged(void)
{
    struct fixture f;
    struct test_file none;
    struct quire_section *section;
    struct quire_space *a;
    vaddr_t at = 0;

    begin_pages(&f, (struct test_options){.frames = 128});
    test_file_init(&none, &f.u.w, NULL, 0);
    CHECK_OK(test_file_open(&none, PAGE(2), &section));
    a = space_new(&f.u);
    CHECK_OK(quire_map_view(a, &at, PAGE(2), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put(&f.u, a, 0, 5);
    pass_all(&f);
    write_all(&f);
    CHECK(stats_of(&f.u).standby == 1);
    CHECK(get(&f.u, a, 0) == 5);
    CHECK_OK(quire_advise_pages(a, 0, PAGE(2), QUIRE_PAGES_OUT));
    CHECK(quire_section_purge(section, 0, UINT64_MAX, true) == 0);
    CHECK(get(&f.u, a, 0) == 5);
    end(&f.u, a);
    quire_section_close(section);
    finish_pages(&f);
}

/*
 * Goal: a write that needs more frames than can leave, its own page among them, is refused; it does
 * not send its page away for itself for ever.
 */
static void own_page_is_all(void)
{
    struct fixture f;
    struct quire_space *a, *b;
    pfn_t taken[64];
    unsigned count = 0;

    begin_pages(&f, (struct test_options){.frames = 64, .keep_free = 1});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(4), RW);
    put(&f.u, a, 0, 5);
    b = fork_of(&f.u, a);
    while (count < 64 && quire_frame_take(f.u.w.q, &taken[count]) == QUIRE_OK)
        count++;
    CHECK_STATUS(test_store(&f.u.w, a, 0, 6), QUIRE_NO_MEMORY);
    audit(&f.u);
    while (count > 0)
        quire_frame_give(f.u.w.q, taken[--count]);
    put(&f.u, a, 0, 6);
    CHECK(get(&f.u, b, 0) == 5);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: what is out below a hidden subtree comes back when it is allowed again, to be read and to
 * be written. */
static void out_below_hidden(void)
{
    struct fixture f;
    struct quire_space *a, *b;

    begin_forked(&f, 4, &a, &b);
    CHECK_OK(quire_protect(a, 0, PAGE(LEAF_PAGES), 0));
    CHECK(stats_of(&f.u).hidden > 0);
    all_out(&f);
    CHECK(!page_at(b, 0).resident);
    CHECK_OK(quire_protect(a, 0, PAGE(LEAF_PAGES), RW));
    CHECK(get(&f.u, a, PAGE(1)) == 2);
    CHECK_OK(quire_protect(b, 0, PAGE(LEAF_PAGES), 0));
    CHECK_OK(quire_protect(b, 0, PAGE(LEAF_PAGES), RW));
    put(&f.u, b, PAGE(2) + 1, 9);
    CHECK(get(&f.u, b, PAGE(2)) == 3 && get(&f.u, a, PAGE(2)) == 3);
    CHECK(get(&f.u, b, PAGE(0)) == 1 && get(&f.u, b, PAGE(3)) == 4);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

/* Goal: a file that is full, and ends within a chunk, is not in the way of one that has room. */
static void short_file_is_full(void)
{
    enum { PAGES = 8, SHORT = 5 };
    struct fixture f;
    struct quire_pagefile *better;
    struct quire_pagefile_info info;
    struct quire_space *a;
    struct test_file file;
    static uint8_t bytes[SHORT << QUIRE_PAGE_SHIFT];

    begin_pages(&f, (struct test_options){.max_slots = 2 * SLOTS});
    test_file_init(&file, &f.u.w, bytes, sizeof bytes);
    CHECK_OK(quire_pagefile_add(f.u.w.q, &test_file_pager, &file, sizeof bytes, 1, 0, &better));
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    put_each(&f.u, a, PAGES);
    send_out(&f, a, PAGES);
    quire_pagefile_info(better, &info);
    CHECK(info.used == SHORT);
    CHECK(stats_of(&f.u).slots_used == PAGES);
    steal_all(&f);
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    end(&f.u, a);
    CHECK_OK(quire_pagefile_remove(better));
    finish_pages(&f);
}

/* A write fails, and just before one of somebody else's has worked, to another file. */
static bool fail_beside(struct test_file *file, const struct quire_io *io)
{
    if (io->write)
        qi_write_ended(&file->world->q->paging, true);
    return io->write;
}

/* Goal: files whose changed pages can not be written do not keep a call for memory for ever, also
 * where writes of other files go well; nor a worker. */
static void files_stay_changed(void)
{
    enum { PAGES = 20, MORE = 2 * SLOTS };
    static uint8_t bytes[PAGES << QUIRE_PAGE_SHIFT];

    if (MICRO)
        return; /* a space is smaller than the page file */
    for (int beside = 0; beside < 2; beside++) {
        struct fixture f;
        struct test_file file;
        struct quire_space *a;
        struct quire_section *section;
        unsigned i = 0, steps = 0;

        begin_pages(&f, (struct test_options){.frames = 48});
        test_file_init(&file, &f.u.w, bytes, sizeof bytes);
        CHECK_OK(test_file_open(&file, sizeof bytes, &section));
        for (; i < PAGES; i++)
            CHECK_OK(quire_section_write(section, PAGE(i), "x", 1, 0, NULL));
        file.fail_writes = !beside;
        file.fails = beside ? fail_beside : NULL;
        a = space_new(&f.u);
        map(&f.u, a, 0, PAGE(MORE), RW);
        for (i = 0; i < MORE && test_store(&f.u.w, a, PAGE(i), (uint8_t)(i + 1)) == QUIRE_OK;)
            i++;
        CHECK(i > 4 && i < MORE);
        audit(&f.u);
        while (!beside && quire_balance(f.u.w.q))
            CHECK(++steps < 10000);
        file.fail_writes = false;
        file.fails = NULL;
        CHECK_OK(test_store(&f.u.w, a, PAGE(i), 1));
        quire_section_close(section);
        end(&f.u, a);
        finish_pages(&f);
    }
}

/* Goal: a page file goes in one walk, however many of its pages one table names. */
static void file_removed_in_one_walk(void)
{
    enum { PAGES = LEAF_PAGES < 40 ? LEAF_PAGES : 40 };
    struct fixture f;
    struct quire_space *a;
    uint32_t before;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    put_each(&f.u, a, PAGES);
    send_out(&f, a, PAGES);
    steal_all(&f);
    before = f.u.w.q->paging.last_number;
    CHECK_OK(quire_pagefile_remove(f.pagefile));
    CHECK(f.u.w.q->paging.last_number == before + 1);
    for (unsigned i = 0; i < PAGES; i++)
        CHECK(get(&f.u, a, PAGE(i)) == i + 1);
    f.pagefile = test_file_page_to(&f.file, 0);
    end(&f.u, a);
    finish_pages(&f);
}

static struct fixture *leaving;

static void leave_now(struct test_world *world)
{
    world->yield = NULL;
    pass_all(leaving);
    world->yield = leave_now;
}

/* Goal: what is cut off a section does not come back, also where the page that keeps the end leaves
 * while it is cut. */
static void end_leaves_while_cut(void)
{
    struct fixture f;
    struct quire_space *a;
    struct quire_section *section;
    vaddr_t at = 0;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(4), NULL, NULL, &section));
    CHECK_OK(quire_map_view(a, &at, PAGE(4), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put(&f.u, a, PAGE(1) + 1, 98);
    put(&f.u, a, PAGE(1) + 5, 99);
    put(&f.u, a, PAGE(2), 97);
    leaving = &f;
    f.u.w.yield = leave_now;
    CHECK_OK(quire_section_resize(section, PAGE(1) + 2));
    f.u.w.yield = NULL;
    CHECK(!page_at(a, PAGE(1)).resident);
    CHECK(get(&f.u, a, PAGE(1) + 5) == 0 && get(&f.u, a, PAGE(1) + 1) == 98);
    quire_section_close(section);
    end(&f.u, a);
    finish_pages(&f);
}

/* The cut has begun; nothing in its way can leave, and who passes is told so. */
static void pass_in_vain(struct test_world *world)
{
    uint64_t left;

    world->yield = NULL;
    pass_all(leaving);
    while (!qi_pass_slice(world->q, true, &left))
        ;
    CHECK(left == 0);
    CHECK(stats_of(&leaving->u).pages_written == 0);
    leaving = NULL;
}

/* Goal: a call that looks for memory while a file is cut does not wait for what the cut takes to be
 * written: that begins nowhere, and the call may be the cut itself. */
static void nothing_to_write_while_cut(void)
{
    static uint8_t bytes[4 << QUIRE_PAGE_SHIFT];
    struct fixture f;
    struct test_file file;
    struct quire_space *a;
    struct quire_section *section;
    vaddr_t at = 0;

    begin_pages(&f, (struct test_options){0});
    test_file_init(&file, &f.u.w, bytes, sizeof bytes);
    CHECK_OK(test_file_open(&file, PAGE(4), &section));
    CHECK_OK(quire_section_write(section, PAGE(2), "x", 1, 0, NULL));
    a = space_new(&f.u);
    CHECK_OK(quire_map_view(a, &at, PAGE(4), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put(&f.u, a, PAGE(3), 1);
    leaving = &f;
    f.u.w.yield = pass_in_vain;
    CHECK_OK(quire_section_resize(section, PAGE(1)));
    CHECK(leaving == NULL);
    quire_section_close(section);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: what one space has locked stays when another that shares its tables has to shrink, or calls
 * it cold in the middle of a pass. */
static void locked_in_shared_tables(void)
{
    enum { PAGES = 24, MOST = 16 };
    struct fixture f;
    struct quire_space *a, *b;
    uint64_t left;

    begin_pages(&f, (struct test_options){.frames = 160});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(PAGES), RW);
    put_each(&f.u, a, PAGES);
    CHECK_OK(quire_lock(a, PAGE(1), PAGE(1)));
    b = fork_of(&f.u, a);
    while (!qi_pass_slice(f.u.w.q, true, &left)) /* which forgets who used what */
        ;
    CHECK_OK(quire_space_working_set(b, 0, MOST));
    put(&f.u, b, PAGE(PAGES - 1), 77);
    CHECK(page_at(a, PAGE(1)).resident && !page_at(a, PAGE(0)).resident);
    CHECK_OK(quire_space_working_set(b, 0, UINT64_MAX));
    f.u.w.q->paging.pass.number = 0;
    (void)qi_pass_slice(f.u.w.q, true, &left);
    CHECK_OK(quire_advise_pages(b, 0, PAGE(PAGES), QUIRE_PAGES_COLD));
    while (!qi_pass_slice(f.u.w.q, true, &left))
        ;
    CHECK(page_at(a, PAGE(1)).resident);
    end(&f.u, a);
    end(&f.u, b);
    finish_pages(&f);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"out_and_back", out_and_back},
        {"shared_by_fork", shared_by_fork},
        {"trim_home_while_twin_maps", trim_home_while_twin_maps},
        {"reuse_under_pageout", reuse_under_pageout},
        {"more_than_memory", more_than_memory},
        {"shared_memory", shared_memory},
        {"discarded_while_pinned", discarded_while_pinned},
        {"promise_given_back", promise_given_back},
        {"files", files},
        {"read_around_ends", read_around_ends},
        {"device_fails", device_fails},
        {"no_way_out", no_way_out},
        {"file_removed", file_removed},
        {"locked", locked},
        {"age_is_told", age_is_told},
        {"standby_by_priority", standby_by_priority},
        {"working_set", working_set},
        {"own_page_is_all", own_page_is_all},
        {"memory_not_purged", memory_not_purged},
        {"out_below_hidden", out_below_hidden},
        {"short_file_is_full", short_file_is_full},
        {"working_set_pinned", working_set_pinned},
        {"files_stay_changed", files_stay_changed},
        {"end_leaves_while_cut", end_leaves_while_cut},
        {"nothing_to_write_while_cut", nothing_to_write_while_cut},
        {"locked_in_shared_tables", locked_in_shared_tables},
        {"file_removed_in_one_walk", file_removed_in_one_walk},
    };

    return check_main("paging", tests, sizeof tests / sizeof tests[0], argc, argv);
}
