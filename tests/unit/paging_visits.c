/* SPDX-License-Identifier: MIT */
/*
 * Visits and page files: what happens while a page is on its way out, or back.
 *
 * A machine uses a page in the moment of a visit, another call was faster, its file goes, its
 * section ends in it.  Whatever comes between, the bytes are those that were written last.
 */
#include "paging.h"

#include "table.h"

static struct fixture f;

static struct quire_space *begin_space(uint64_t pages, unsigned count)
{
    struct quire_space *space;

    begin_pages(&f, (struct test_options){.frames = 256});
    space = space_new(&f.u);
    map(&f.u, space, 0, PAGE(pages), RW);
    put_each(&f.u, space, count);
    return space;
}

static void pass_once(void)
{
    for (uint64_t left; !qi_pass_slice(f.u.w.q, true, &left);)
        audit(&f.u);
}

static entry_t *slot_at(const struct quire_space *space, vaddr_t address)
{
    return &table_entries(f.u.w.q, qi_table_look(space, address).table)[entry_index(address, 1)];
}

/* ---- a machine at the same time ------------------------------------------------------------- */

static struct {
    const entry_t *entry;
    unsigned changes; /* of the entry until the machine stores */
} storing;

static void store_now(const void *address, bool write)
{
    uint8_t value = 9;

    if (address != storing.entry || !write || --storing.changes > 0)
        return;
    test_touch = NULL;
    CHECK(soft_try(f.u.w.cpu[0], 0, W, &value));
}

/* CPU 0 stores 9 at page 0, just before the n-th change of its entry in a pass. */
static void pass_while_stored(const struct quire_space *space, unsigned n)
{
    storing.entry = slot_at(space, 0);
    storing.changes = n;
    mmu_flush_all(f.u.w.q->machine);
    test_touch = store_now;
    pass_once();
    CHECK(test_touch == NULL);
}

/* Goal: a store in the middle of a visit is a use, so the page stays; after the visit the page
 * leaves, with what was stored before the flush.  Method: one page that a pass would take, and a
 * store before either change of its entry. */
static void stored_while_visited(void)
{
    for (unsigned n = 1; n <= 2; n++) {
        struct quire_space *space = begin_space(LEAF_PAGES, 1);

        pass_once();
        CHECK(page_at(space, 0).resident);
        pass_while_stored(space, n);
        CHECK(page_at(space, 0).resident == (n == 1));
        all_out(&f);
        CHECK(stats_of(&f.u).paged_out == 1);
        CHECK(get(&f.u, space, 0) == 9);
        end(&f.u, space);
        finish_pages(&f);
    }
}

/* ---- what leaves ---------------------------------------------------------------------------- */

/* Goal: more pages of one leaf leave than fit between two flushes. */
static void many_of_one_leaf(void)
{
    enum { MANY = MICRO ? 40 : 2 * QI_VICTIMS + 3 };
    static uint8_t bytes[MANY << QUIRE_PAGE_SHIFT];
    struct test_file file;
    struct quire_section *section;
    struct quire_space *space;
    vaddr_t at = 0;

    begin_pages(&f, (struct test_options){.frames = 512});
    memset(bytes, 7, sizeof bytes);
    test_file_init(&file, &f.u.w, bytes, sizeof bytes);
    CHECK_OK(test_file_open(&file, sizeof bytes, &section));
    space = space_new(&f.u);
    CHECK_OK(
        quire_map_view(space, &at, PAGE(MANY), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put_each(&f.u, space, MANY);
    CHECK_OK(quire_advise_pages(space, 0, PAGE(MANY), QUIRE_PAGES_OUT));
    audit(&f.u);
    CHECK(stats_of(&f.u).trimmed == MANY);
    for (unsigned i = 0; i < MANY; i++)
        CHECK(!page_at(space, PAGE(i)).resident);
    for (unsigned i = 0; i < MANY; i++)
        CHECK(get(&f.u, space, PAGE(i)) == i + 1);
    end(&f.u, space);
    quire_section_close(section);
    finish_pages(&f);
}

/* Goal: the numbers of passes begin again after the last, and no table is passed over: what one
 * bears that was never visited is no pass's number. */
static void numbers_begin_again(void)
{
    struct quire_space *space = begin_space(LEAF_PAGES, 1);

    f.u.w.q->paging.last_number = UINT32_MAX - 1;
    pass_once();
    pass_once();
    CHECK(f.u.w.q->paging.last_number == 2);
    CHECK(!page_at(space, 0).resident);
    CHECK(get(&f.u, space, 0) == 1);
    end(&f.u, space);
    finish_pages(&f);
}

/* ---- what comes back ------------------------------------------------------------------------ */

/* Goal: whoever brings a page looks at it again, and does nothing where another was faster: the
 * page is on a list, or in memory, or its table is none any more. */
static void somebody_was_faster(void)
{
    struct quire_space *space = begin_space(LEAF_PAGES, 2);
    struct quire *q = f.u.w.q;
    pfn_t table = qi_table_look(space, 0).table, page = page_at(space, PAGE(1)).pfn;
    struct qi_cpu *cpu;

    send_out(&f, space, 1);
    CHECK_OK(qi_page_in(q, entry_slot(*slot_at(space, 0)), false));
    CHECK_OK(qi_page_in(q, entry_slot(*slot_at(space, 0)), true));
    CHECK(f.file.reads == 0 && !page_at(space, 0).resident);
    cpu = qi_enter(q);
    CHECK(qi_paged_revive(cpu, home_make(table, 1)));
    CHECK(qi_paged_revive(cpu, home_make(page, 0)));
    qi_leave(cpu);
    audit(&f.u);
    CHECK(stats_of(&f.u).soft_faults == 0 && !page_at(space, 0).resident);
    CHECK(get(&f.u, space, 0) == 1 && get(&f.u, space, PAGE(1)) == 2);
    end(&f.u, space);
    finish_pages(&f);
}

/* Goal: a page that is lent, and out, is cloned from who borrows it. */
static void clone_of_what_is_lent(void)
{
    struct quire_space *space = begin_space(LEAF_PAGES, 4), *child = fork_of(&f.u, space);
    struct quire_space *other = space_new(&f.u);

    map(&f.u, other, 0, LEAF, RW);
    put(&f.u, child, PAGE(1), 22); /* borrows the others */
    all_out(&f);
    CHECK_OK(quire_clone(child, 0, other, 0, PAGE(4), NULL));
    audit(&f.u);
    for (unsigned i = 0; i < 4; i++)
        CHECK(get(&f.u, other, PAGE(i)) == (i == 1 ? 22 : i + 1));
    put(&f.u, other, 0, 9);
    CHECK(get(&f.u, space, 0) == 1 && get(&f.u, child, 0) == 1);
    end(&f.u, space);
    end(&f.u, child);
    end(&f.u, other);
    finish_pages(&f);
}

/* ---- files that go -------------------------------------------------------------------------- */

static unsigned waits;

static void end_write(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    waits++;
    CHECK(f.file.waiting_count > 0);
    test_file_end(&f.file, 0);
}

/* Goal: a page file goes after the transfers of pages that nobody has any more. */
static void file_waits_for_transfers(void)
{
    struct quire_space *space = begin_space(LEAF_PAGES, 2);

    waits = 0;
    f.u.w.wait_io = end_write;
    f.file.late = true;
    CHECK_OK(quire_advise_pages(space, 0, PAGE(2), QUIRE_PAGES_OUT));
    (void)quire_balance(f.u.w.q);
    CHECK(f.file.waiting_count == 1);
    end(&f.u, space);
    CHECK(stats_of(&f.u).slots_used == 2);
    CHECK_OK(quire_pagefile_remove(f.pagefile));
    CHECK(waits == 1 && f.file.waiting_count == 0);
    audit(&f.u);
    CHECK(stats_of(&f.u).slots == 0 && stats_of(&f.u).slots_used == 0);
    f.pagefile = test_file_page_to(&f.file, 0);
    finish_pages(&f);
}

static void grow_then_fail(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    CHECK(stats_of(&f.u).slots == 0);
    CHECK_OK(quire_pagefile_grow(f.pagefile, PAGE(SLOTS)));
    CHECK(stats_of(&f.u).slots == 0);
    f.file.fail_reads = true;
    test_file_end(&f.file, 0);
}

/* Goal: a file that grows while it is to go has no room yet; when it has to stay, it has all. */
static void file_grows_while_it_goes(void)
{
    struct quire_space *space;

    begin_pages(&f, (struct test_options){.max_slots = SLOTS});
    CHECK_OK(quire_pagefile_remove(f.pagefile));
    CHECK_OK(
        quire_pagefile_add(f.u.w.q, &test_file_pager, &f.file, PAGE(SLOTS / 2), 0, 0, &f.pagefile));
    space = space_new(&f.u);
    map(&f.u, space, 0, LEAF, RW);
    put_each(&f.u, space, 1);
    all_out(&f);
    f.u.w.wait_io = grow_then_fail;
    f.file.late = true;
    CHECK_STATUS(quire_pagefile_remove(f.pagefile), QUIRE_IO_ERROR);
    CHECK(stats_of(&f.u).slots == SLOTS);
    f.file.late = f.file.fail_reads = false;
    CHECK(get(&f.u, space, 0) == 1);
    end(&f.u, space);
    finish_pages(&f);
}

/* ---- the end of a section ------------------------------------------------------------------- */

/* Goal: a section whose last page can not be read is not cut off in it, and is afterwards. */
static void end_can_not_be_read(void)
{
    struct quire_section *memory;
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    begin_pages(&f, (struct test_options){0});
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(2), NULL, NULL, &memory));
    CHECK_OK(quire_section_write(memory, PAGE(1), bytes, sizeof bytes, 0, NULL));
    all_out(&f);
    f.file.fail_reads = true;
    CHECK_STATUS(quire_section_resize(memory, PAGE(1) + 4), QUIRE_IO_ERROR);
    CHECK(quire_section_size(memory) == PAGE(2));
    audit(&f.u);
    f.file.fail_reads = false;
    CHECK_OK(quire_section_read(memory, PAGE(1), bytes, sizeof bytes, 0, NULL));
    CHECK(bytes[7] == 8);
    CHECK_OK(quire_section_resize(memory, PAGE(1) + 4));
    CHECK_OK(quire_section_resize(memory, PAGE(2)));
    CHECK_OK(quire_section_read(memory, PAGE(1), bytes, sizeof bytes, 0, NULL));
    CHECK(bytes[3] == 4 && bytes[4] == 0 && bytes[7] == 0);
    quire_section_close(memory);
    finish_pages(&f);
}

static struct test_file shown;

static void end_and_leave(struct test_world *world, struct quire_section *section)
{
    (void)world;
    CHECK(shown.waiting_count > 0);
    waits++;
    test_file_end(&shown, 0);
    if (waits == 1) {
        pass_all(&f);
        CHECK(!quire_section_resident(section, PAGE(1)));
    }
}

/* Goal: what a file has behind its end is not to be seen when it grows, also where the page of the
 * end leaves memory as soon as it has been written. */
static void end_leaves_while_it_grows(void)
{
    static uint8_t bytes[2 << QUIRE_PAGE_SHIFT];
    struct quire_section *section;
    uint8_t byte = 1;

    begin_pages(&f, (struct test_options){0});
    memset(bytes, 7, sizeof bytes);
    test_file_init(&shown, &f.u.w, bytes, sizeof bytes);
    CHECK_OK(test_file_open(&shown, PAGE(1) + 4, &section));
    CHECK_OK(quire_section_write(section, PAGE(1), &byte, 1, 0, NULL));
    waits = 0;
    f.u.w.wait_io = end_and_leave;
    shown.late = true;
    CHECK_OK(quire_section_sync(section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    CHECK(shown.waiting_count == 1);
    CHECK_OK(quire_section_resize(section, PAGE(2)));
    CHECK(waits >= 2); /* the page had to be read again */
    CHECK_OK(quire_section_read(section, PAGE(1) + 4, &byte, 1, 0, NULL));
    CHECK(byte == 0);
    CHECK_OK(quire_section_read(section, PAGE(1), &byte, 1, 0, NULL));
    CHECK(byte == 1);
    shown.late = false;
    quire_section_close(section);
    finish_pages(&f);
}

/*
 * Goal: what is locked stays where nothing maps it: the owner's entries say only where the pages
 * are since its table was copied, and the table that has them is nobody's.  Method: a fork, a store
 * beside the pages, and the end of the child.  And a page stays that comes while a pass goes on, if
 * somebody who shares it says that nobody wants it.
 */
static void locked_and_not_mapped(void)
{
    struct quire_space *a, *b;
    uint64_t left;

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    f.u.w.q->paging.round = UINT32_MAX - 10; /* rounds begin again after the last */
    map(&f.u, a, 0, 2 * LEAF, RW);
    put(&f.u, a, LEAF, 5); /* a pass has two slices */
    for (unsigned i = 0; i < 4; i++)
        put(&f.u, a, PAGE(i), (uint8_t)(i + 1));
    CHECK_OK(quire_lock(a, 0, PAGE(1)));
    b = fork_of(&f.u, a);
    put(&f.u, a, PAGE(3), 30);
    end(&f.u, b);
    all_out(&f);
    CHECK(page_at(a, 0).resident && !page_at(a, PAGE(1)).resident);
    CHECK_OK(quire_lock(a, LEAF, PAGE(1)));
    f.u.w.q->paging.pass.number = 0;
    CHECK(!qi_pass_slice(f.u.w.q, true, &left)); /* the first leaf */
    CHECK_OK(quire_discard(a, LEAF, PAGE(1)));
    put(&f.u, a, LEAF, 50);
    b = fork_of(&f.u, a);
    CHECK_OK(quire_advise_pages(b, LEAF, LEAF, QUIRE_PAGES_COLD));
    end(&f.u, b);
    while (!qi_pass_slice(f.u.w.q, true, &left))
        audit(&f.u);
    CHECK(page_at(a, LEAF).resident);
    all_out(&f);
    CHECK(page_at(a, 0).resident && page_at(a, LEAF).resident);
    CHECK_OK(quire_unlock(a, 0, 2 * LEAF));
    all_out(&f);
    CHECK(!page_at(a, 0).resident && !page_at(a, LEAF).resident);
    CHECK(get(&f.u, a, 0) == 1 && get(&f.u, a, PAGE(3)) == 30 && get(&f.u, a, LEAF) == 50);
    end(&f.u, a);
    finish_pages(&f);
}

/* Goal: a locked page of a section stays, also where a fork has left the entry empty. */
static void locked_in_a_view(void)
{
    struct quire_space *a, *b;
    struct quire_section *section;
    vaddr_t at = PAGE(1);

    begin_pages(&f, (struct test_options){0});
    a = space_new(&f.u);
    map(&f.u, a, 0, PAGE(1), RW);
    CHECK_OK(quire_section_create(f.u.w.q, PAGE(2), NULL, NULL, &section));
    CHECK_OK(quire_map_view(a, &at, PAGE(2), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    put(&f.u, a, PAGE(1), 1);
    put(&f.u, a, PAGE(2), 2);
    CHECK_OK(quire_lock(a, PAGE(1), PAGE(1)));
    b = fork_of(&f.u, a);
    put(&f.u, a, 0, 3);
    end(&f.u, b);
    CHECK(page_at(a, PAGE(1)).kind == QUIRE_PAGE_EMPTY);
    all_out(&f);
    CHECK(quire_section_resident(section, 0) && !quire_section_resident(section, PAGE(1)));
    CHECK_OK(quire_unlock(a, PAGE(1), PAGE(1)));
    all_out(&f);
    CHECK(!quire_section_resident(section, 0));
    CHECK(get(&f.u, a, PAGE(1)) == 1 && get(&f.u, a, PAGE(2)) == 2);
    end(&f.u, a);
    quire_section_close(section);
    finish_pages(&f);
}

CHECK_MAIN("unit.paging_visits", TEST(stored_while_visited), TEST(many_of_one_leaf),
           TEST(numbers_begin_again), TEST(somebody_was_faster), TEST(clone_of_what_is_lent),
           TEST(file_waits_for_transfers), TEST(file_grows_while_it_goes),
           TEST(end_can_not_be_read), TEST(end_leaves_while_it_grows), TEST(locked_and_not_mapped),
           TEST(locked_in_a_view))
