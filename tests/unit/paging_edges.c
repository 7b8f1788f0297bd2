/* SPDX-License-Identifier: MIT */
/*
 * Paging at its edges: arguments, page files that come and go, a device that takes its time, and
 * what else may want a page that is not in memory.
 */
#include "pager.h"
#include "unit.h"

#include "workset.h"

enum { FILES = QUIRE_PAGEFILES + 1, SLOTS = FILES * QI_CHUNK };

static uint8_t device[SLOTS << QUIRE_PAGE_SHIFT];

static struct {
    struct unit u;
    struct test_file file;
    struct quire_pagefile *pagefile;
    struct quire_space *space;
} f;

static unsigned turns; /* how often the host was asked to wait */

static void end_one(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    turns++;
    CHECK(f.file.waiting_count > 0);
    test_file_end(&f.file, 0);
}

/* A space of a leaf whose first four pages hold 1 to 4. */
static void edge_begin(struct test_options options)
{
    options.max_slots = SLOTS;
    begin_with(&f.u, &options);
    test_file_init(&f.file, &f.u.w, device, sizeof device);
    f.pagefile = test_file_page_to(&f.file, 0);
    f.u.w.wait_io = end_one;
    turns = 0;
    f.space = space_new(&f.u);
    map(&f.u, f.space, 0, LEAF, RW);
    put_each(&f.u, f.space, 4);
}

static void edge_finish(void)
{
    CHECK(f.file.waiting_count == 0);
    end(&f.u, f.space);
    CHECK_OK(quire_pagefile_remove(f.pagefile));
    finish(&f.u);
}

/* All that can leave does, and its frames are given away. */
static void all_out(void)
{
    struct qi_cpu *cpu;

    for (unsigned i = 0; i < 20; i++) /* from every space: they grow old */
        for (uint64_t left; !qi_pass_slice(f.u.w.q, true, &left);)
            audit(&f.u);
    while (quire_balance(f.u.w.q))
        ;
    cpu = qi_enter(f.u.w.q);
    qi_paged_steal(cpu, UINT32_MAX);
    qi_leave(cpu);
    audit(&f.u);
    CHECK(!page_at(f.space, 0).resident && !page_at(f.space, PAGE(3)).resident);
}

/* Goal: every argument that makes no sense is refused by name, and changes nothing. */
static void arguments(void)
{
    static const struct quire_pager pager;
    struct quire_pagefile *file;
    struct quire *q;

    edge_begin((struct test_options){0});
    q = f.u.w.q;
    CHECK_STATUS(quire_pagefile_add(q, &pager, NULL, PAGE(1), 0, 2, &file), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_pagefile_add(q, &pager, NULL, PAGE(1) - 1, 0, 0, &file), QUIRE_ZERO_LENGTH);
    CHECK_STATUS(quire_pagefile_add(q, &pager, NULL, PAGE(1), 0, 0, &file),
                 QUIRE_TOO_MANY_PAGEFILES); /* all slots are the first one's */
    CHECK_STATUS(quire_pagefile_grow(f.pagefile, sizeof device - PAGE(1)), QUIRE_OUT_OF_RANGE);
    CHECK_STATUS(quire_pagefile_grow(f.pagefile, sizeof device + PAGE(1)),
                 QUIRE_TOO_MANY_PAGEFILES);
    CHECK_OK(quire_pagefile_grow(f.pagefile, sizeof device));
    CHECK(stats_of(&f.u).slots == SLOTS);
    CHECK_STATUS(quire_advise_pages(f.space, 1, PAGE(1), QUIRE_PAGES_OUT), QUIRE_MISALIGNED);
    CHECK_STATUS(quire_advise_pages(f.space, 0, PAGE(1), QUIRE_PAGE_ADVICE_COUNT), QUIRE_BAD_FLAGS);
    CHECK_STATUS(quire_lock(f.space, LEAF, PAGE(1)), QUIRE_NOT_MAPPED);
    CHECK_STATUS(quire_space_working_set(f.space, 0, 0), QUIRE_OUT_OF_RANGE);
    all_out();
    f.file.fail_reads = true;
    CHECK_STATUS(quire_lock(f.space, 0, PAGE(1)), QUIRE_IO_ERROR);
    f.file.fail_reads = false;
    CHECK(get(&f.u, f.space, 0) == 1);
    edge_finish();
}

/* Goal: without page files, and without slots, nothing leaves and nothing is refused. */
static void no_paging(void)
{
    begin(&f.u);
    f.space = space_new(&f.u);
    map(&f.u, f.space, 0, LEAF, RW);
    put(&f.u, f.space, 0, 1);
    CHECK_OK(quire_advise_pages(f.space, 0, LEAF, QUIRE_PAGES_OUT));
    CHECK_STATUS(quire_advise_pages(f.space, 0, 0, QUIRE_PAGES_OUT), QUIRE_ZERO_LENGTH);
    CHECK(!quire_balance(f.u.w.q));
    CHECK(page_at(f.space, 0).resident);
    end(&f.u, f.space);
    finish(&f.u);
}

/* Goal: there are as many page files as records, each grows into what is left, and those that go
 * leave room for others. */
static void many_files(void)
{
    static const struct quire_pager pager;
    struct quire_pagefile *file[QUIRE_PAGEFILES], *more;
    struct quire_pagefile_info info;
    struct unit u;

    begin_with(&u, &(struct test_options){.max_slots = SLOTS});
    for (unsigned i = 0; i < QUIRE_PAGEFILES; i++)
        CHECK_OK(quire_pagefile_add(u.w.q, &pager, NULL, PAGE(QI_CHUNK), (int)i, 0, &file[i]));
    CHECK_STATUS(quire_pagefile_add(u.w.q, &pager, NULL, PAGE(1), 0, 0, &more),
                 QUIRE_TOO_MANY_PAGEFILES);
    CHECK_OK(quire_pagefile_grow(file[2], PAGE(QI_CHUNK + 1)));
    quire_pagefile_info(file[2], &info);
    CHECK(info.slots == QI_CHUNK + 1 && info.used == 0);
    CHECK_STATUS(quire_pagefile_grow(file[3], PAGE(QI_CHUNK + 1)), QUIRE_TOO_MANY_PAGEFILES);
    CHECK_OK(quire_pagefile_remove(file[2]));
    CHECK_OK(quire_pagefile_add(u.w.q, &pager, NULL, PAGE(2 * QI_CHUNK), 0, 0, &file[2]));
    CHECK(stats_of(&u).slots == SLOTS);
    for (unsigned i = 0; i < QUIRE_PAGEFILES; i++)
        CHECK_OK(quire_pagefile_remove(file[i]));
    CHECK(stats_of(&u).slots == 0);
    finish(&u);
}

/* Goal: who may not wait begins the read and does not wait, others wait for it; advice begins it
 * too. */
static void late_device(void)
{
    uint8_t byte = 0;

    edge_begin((struct test_options){0});
    all_out();
    f.file.late = true;
    CHECK_STATUS(quire_fault(f.space, 0, R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK_STATUS(quire_fault(f.space, 0, R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(f.file.waiting_count == 1 && turns == 0);
    audit(&f.u);
    CHECK_OK(quire_fault(f.space, 0, R));
    CHECK(turns == 1 && f.file.waiting_count == 0);
    CHECK(get(&f.u, f.space, 0) == 1);
    f.file.late = false;
    all_out();
    f.file.late = true;
    CHECK_OK(quire_advise_pages(f.space, 0, LEAF, QUIRE_PAGES_NEED));
    CHECK(f.file.waiting_count == 1 && turns == 1);
    CHECK_OK(quire_access(f.space, PAGE(3), &byte, 1, R, NULL));
    CHECK(byte == 4 && turns == 2);
    f.file.late = false;
    all_out();
    f.file.late = true;
    CHECK_STATUS(quire_access(f.space, PAGE(2), &byte, 1, R | QUIRE_FORCE | QUIRE_NO_WAIT, NULL),
                 QUIRE_WOULD_WAIT);
    CHECK_OK(quire_access(f.space, PAGE(2), &byte, 1, R | QUIRE_FORCE, NULL));
    CHECK(byte == 3 && turns == 3);
    edge_finish();
}

/* Goal: what goes while it is being read, or written, goes when that ends. */
static void gone_on_the_way(void)
{
    for (unsigned written = 0; written < 2; written++) {
        edge_begin((struct test_options){0});
        if (!written)
            all_out();
        f.file.late = true;
        CHECK_OK(
            quire_advise_pages(f.space, 0, LEAF, written ? QUIRE_PAGES_OUT : QUIRE_PAGES_NEED));
        if (written)
            (void)quire_balance(f.u.w.q);
        CHECK(f.file.waiting_count == 1);
        audit(&f.u);
        unmap(&f.u, f.space, 0, PAGE(2));
        CHECK(stats_of(&f.u).slots_used > 0);
        test_file_end(&f.file, 0);
        audit(&f.u);
        f.file.late = false;
        CHECK(get(&f.u, f.space, PAGE(2)) == 3);
        unmap(&f.u, f.space, PAGE(2), PAGE(2));
        CHECK(stats_of(&f.u).slots_used == 0);
        edge_finish();
    }
}

/* Goal: a page that is being written is there for who wants it, when that has ended. */
static void wanted_while_written(void)
{
    edge_begin((struct test_options){0});
    f.file.late = true;
    CHECK_OK(quire_advise_pages(f.space, 0, LEAF, QUIRE_PAGES_OUT));
    (void)quire_balance(f.u.w.q);
    CHECK(f.file.waiting_count == 1);
    CHECK_STATUS(quire_fault(f.space, 0, R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(get(&f.u, f.space, 0) == 1);
    CHECK(turns == 1 && f.file.reads == 0);
    edge_finish();
}

/* Goal: a debugger, a clone, a comparison and a pull get at pages that are not in memory. */
static void wanted_by_others(void)
{
    struct quire_space *child, *other;
    uint64_t bits[LEAF_PAGES / 64 + 1] = {0};
    uint8_t byte = 0;

    edge_begin((struct test_options){0});
    other = space_new(&f.u);
    map(&f.u, other, 0, LEAF, RW);
    child = fork_of(&f.u, f.space);
    put(&f.u, child, PAGE(1), 22);
    end(&f.u, child);
    all_out();
    CHECK_OK(quire_access(f.space, PAGE(1), &byte, 1, R | QUIRE_FORCE, NULL));
    CHECK(byte == 2);
    all_out();
    CHECK_OK(quire_clone(f.space, 0, other, 0, PAGE(4), NULL));
    CHECK(get(&f.u, other, 0) == 1 && get(&f.u, other, PAGE(3)) == 4);
    end(&f.u, other);
    child = fork_of(&f.u, f.space);
    put(&f.u, child, PAGE(1), 22);
    all_out();
    CHECK_OK(quire_diff(f.space, child, 0, LEAF, bits));
    CHECK(bits[0] == 2);
    f.file.fail_reads = true;
    CHECK_STATUS(quire_access(child, 0, &byte, 1, R | QUIRE_FORCE, NULL), QUIRE_IO_ERROR);
    f.file.fail_reads = false;
    end(&f.u, f.space);
    f.space = child;
    (void)quire_space_pull(child);
    audit(&f.u);
    for (unsigned i = 0; i < 4; i++)
        CHECK(get(&f.u, child, PAGE(i)) == (i == 1 ? 22 : i + 1));
    edge_finish();
}

/* Goal: shared memory that is not in memory is read from the page file, or the read fails. */
static void memory_comes_back(void)
{
    struct quire_section *memory;
    uint8_t byte = 5;

    begin_with(&f.u, &(struct test_options){.max_slots = SLOTS, .max_sections = 1});
    test_file_init(&f.file, &f.u.w, device, sizeof device);
    f.pagefile = test_file_page_to(&f.file, 0);
    f.space = space_new(&f.u);
    map(&f.u, f.space, 0, LEAF, RW);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(2), NULL, NULL, &memory));
    CHECK_OK(quire_section_write(memory, 0, &byte, 1, 0, NULL));
    CHECK_OK(quire_section_write(memory, PAGE(1), &byte, 1, 0, NULL));
    for (unsigned i = 0; i < 20; i++) { /* who is read stays */
        for (uint64_t left; !qi_pass_slice(f.u.w.q, true, &left);)
            audit(&f.u);
        CHECK(quire_section_resident(memory, 0)); /* and needs not to be brought back */
        CHECK_OK(quire_section_read(memory, 0, &byte, 1, 0, NULL));
    }
    CHECK(!quire_section_resident(memory, PAGE(1)));
    all_out();
    CHECK(!quire_section_resident(memory, 0));
    f.file.fail_reads = true;
    CHECK_STATUS(quire_section_read(memory, 0, &byte, 1, 0, NULL), QUIRE_IO_ERROR);
    f.file.fail_reads = false;
    byte = 0;
    CHECK_OK(quire_section_read(memory, 0, &byte, 1, 0, NULL));
    CHECK(byte == 5 && f.file.reads > 0);
    quire_section_close(memory);
    edge_finish();
}

/* Every frame but `left` is taken; returns how many. */
static unsigned take_all_but(uint32_t left, pfn_t *taken)
{
    unsigned count = 0;

    while (quire_free_frames(f.u.w.q) > left &&
           quire_frame_take(f.u.w.q, &taken[count]) == QUIRE_OK)
        count++;
    return count;
}

/*
 * Goal: a write to a private view ends however few frames there are, though the page that it reads,
 * and the tables to it, are all that can leave for the copy.
 */
static void few_frames(void)
{
    static uint8_t bytes[(QUIRE_TABLE_ENTRIES + 1) << QUIRE_PAGE_SHIFT];
    static pfn_t taken[1024];
    unsigned refused = 0, done = 0;

    for (uint32_t left = 0; left < 24; left++) {
        struct test_file behind;
        struct quire_section *section;
        vaddr_t at = LEAF;

        edge_begin((struct test_options){.max_sections = 1, .frames = 200});
        test_file_init(&behind, &f.u.w, bytes, sizeof bytes);
        CHECK_OK(test_file_open(&behind, sizeof bytes, &section));
        CHECK_OK(quire_map_view(f.space, &at, PAGE(1), RW, QUIRE_MAP_FIXED, section, LEAF));
        unmap(&f.u, f.space, 0, LEAF);
        CHECK(get(&f.u, f.space, LEAF) == 0);
        unsigned count = take_all_but(left, taken);
        enum quire_status status = test_store(&f.u.w, f.space, LEAF, 7);
        CHECK(status == QUIRE_OK || status == QUIRE_NO_MEMORY);
        *(status == QUIRE_OK ? &done : &refused) += 1;
        audit(&f.u);
        while (count > 0)
            quire_frame_give(f.u.w.q, taken[--count]);
        put(&f.u, f.space, LEAF, 7);
        CHECK(get(&f.u, f.space, LEAF) == 7);
        unmap(&f.u, f.space, LEAF, PAGE(1));
        quire_section_close(section);
        edge_finish();
    }
    CHECK(done > 0 && refused > 0);
}

static unsigned yields;

static void count_yield(struct test_world *world)
{
    (void)world;
    yields++;
}

/* Goal: a search for pages to read lets others run, however many pages are in memory. */
static void need_in_slices(void)
{
    edge_begin((struct test_options){0});
    unmap(&f.u, f.space, 0, LEAF);
    map(&f.u, f.space, 0, 4 * LEAF, RW);
    CHECK_OK(quire_populate(f.space, 0, 4 * LEAF, R, NULL));
    yields = 0;
    f.u.w.yield = count_yield;
    CHECK_OK(quire_advise_pages(f.space, 0, 4 * LEAF, QUIRE_PAGES_NEED));
    f.u.w.yield = NULL;
    CHECK(yields == 3);
    edge_finish();
}

CHECK_MAIN("unit.paging_edges", TEST(arguments), TEST(no_paging), TEST(many_files),
           TEST(late_device), TEST(gone_on_the_way), TEST(wanted_while_written),
           TEST(wanted_by_others), TEST(memory_comes_back), TEST(few_frames), TEST(need_in_slices))
