/* SPDX-License-Identifier: MIT */
/*
 * The software machine itself: accesses of every size and alignment, and that the test TLB and
 * soft_check find what they are there to find.
 */
#include "unit.h"

/*
 * Goal: 1 to 16 bytes at any alignment, across pages and leaves, equal an array.  Method: random
 * loads and stores around a leaf boundary by two CPUs, with forks and protects in between.
 */
static void every_size_and_alignment(void)
{
    enum { SPAN = 4 * QUIRE_PAGE_SIZE };
    static uint8_t model[SPAN];
    struct unit u;
    struct quire_space *space, *child;
    vaddr_t base = LEAF - SPAN / 2;
    uint64_t random = 5;

    begin_with(&u, &(struct test_options){.cpus = 2});
    memset(model, 0, sizeof model);
    space = space_new(&u);
    map(&u, space, base, SPAN, RW);
    for (int step = 0; step < 20000; step++) {
        struct soft_cpu *cpu = u.w.cpu[test_random(&random) & 1];
        uint32_t size = 1 + (uint32_t)(test_random(&random) % SOFT_ACCESS_MAX);
        size_t at = test_random(&random) % (SPAN - size + 1);
        uint8_t bytes[SOFT_ACCESS_MAX];

        if (step % 64 == 0) {
            CHECK_OK(quire_space_fork(space, &child));
            test_end(&u.w, space);
            space = child;
            audit(&u);
        }
        test_run(&u.w, cpu->index, space);
        if (test_random(&random) & 1) {
            for (uint32_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)test_random(&random);
            CHECK_OK(soft_store(cpu, base + at, bytes, size));
            memcpy(model + at, bytes, size);
        } else {
            CHECK_OK(soft_load(cpu, base + at, bytes, size));
            CHECK(memcmp(bytes, model + at, size) == 0);
        }
    }
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a refused access has moved no byte.  Method: stores and loads of each size that begin in a
 * writable page and end in a hole or a read-only one, and those that run past the end of the
 * addresses.
 */
static void refused_moves_nothing(void)
{
    struct unit u;
    struct quire_space *space;
    uint8_t ones[SOFT_ACCESS_MAX], bytes[SOFT_ACCESS_MAX];

    begin(&u);
    memset(ones, 1, sizeof ones);
    space = space_new(&u);
    map(&u, space, 0, PAGE(1), RW);
    map(&u, space, PAGE(1), PAGE(1), R);
    map(&u, space, MMU_ADDRESS_END - PAGE(1), PAGE(1), RW);
    test_run(&u.w, 0, space);
    for (uint32_t size = 2; size <= SOFT_ACCESS_MAX; size++) {
        for (uint32_t before = 1; before < size; before++) {
            CHECK_STATUS(soft_store(u.w.cpu[0], PAGE(1) - before, ones, size), QUIRE_PROTECTED);
            CHECK_OK(soft_load(u.w.cpu[0], PAGE(1) - before, bytes, size));
            for (uint32_t i = 0; i < size; i++)
                CHECK(bytes[i] == 0);
            memset(bytes, 7, sizeof bytes);
            CHECK_STATUS(soft_load(u.w.cpu[0], PAGE(2) - before, bytes, size), QUIRE_NOT_MAPPED);
            CHECK(bytes[0] == 7);
            CHECK_STATUS(soft_store(u.w.cpu[0], MMU_ADDRESS_END - before, ones, size),
                         QUIRE_NOT_MAPPED);
        }
    }
    CHECK_STATUS(soft_load(u.w.cpu[0], UINT64_MAX - 3, bytes, 8), QUIRE_WRAPS);
    CHECK_STATUS(soft_load(u.w.cpu[0], UINT64_MAX / 2, bytes, 8), QUIRE_NOT_MAPPED);
    CHECK_STATUS(soft_fetch(u.w.cpu[0], 0, bytes), QUIRE_PROTECTED);
    soft_cpu_run(u.w.cpu[0], u.w.q, NULL);
    CHECK_STATUS(soft_load(u.w.cpu[0], 0, bytes, 1), QUIRE_NOT_MAPPED);
    end(&u, space);
    finish(&u);
}

static entry_t *entry_of(struct unit *u, struct quire_space *space, vaddr_t address, unsigned level)
{
    pfn_t table = quire_space_root(space);

    for (unsigned at = QUIRE_LEVELS;; at--) {
        unsigned shift = QUIRE_PAGE_SHIFT + (at - 1) * QUIRE_TABLE_SHIFT;
        entry_t *entries =
            (entry_t *)(void *)(u->w.frames +
                                (size_t)(table - u->w.config.first_frame) * QUIRE_PAGE_SIZE);
        entry_t *e = &entries[(address >> shift) & (QUIRE_TABLE_ENTRIES - 1)];

        if (at == level)
            return e;
        table = (pfn_t)((*e & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT);
    }
}

/*
 * Goal: soft_check finds a missing flush of every kind.  Method: change the tables by hand under
 * held translations, without a flush: another frame, fewer rights, nothing there, another table at
 * each level; each is found, and is gone after the flush.
 */
static void missing_flushes_are_found(void)
{
    struct unit u;
    struct quire_space *space;
    unsigned found = 0;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, MMU_ADDRESS_END, RW | X);
    put(&u, space, 0, 1);
    put(&u, space, PAGE(1), 2);
    CHECK_OK(test_fetch(&u.w, space, 0));
    u.w.quiet = true;
    for (unsigned level = 1; level <= QUIRE_LEVELS; level++) {
        entry_t *e = entry_of(&u, space, 0, level), before = *e;
        entry_t changed[] = {
            before ^ UINT64_C(1) << ENTRY_PAYLOAD_SHIFT,
            before & ~ENTRY_WRITE,
            entry_with_exec(before, false),
            before & ~ENTRY_PRESENT,
        };

        for (unsigned i = 0; i < sizeof changed / sizeof changed[0]; i++) {
            put(&u, space, 0, 1);
            CHECK_OK(test_fetch(&u.w, space, 0));
            CHECK(soft_check(u.w.machine) == 0);
            *e = changed[i];
            CHECK(soft_check(u.w.machine) > 0);
            found++;
            mmu_flush_space(u.w.machine, space, quire_space_root(space));
            CHECK(soft_check(u.w.machine) == 0);
            *e = before;
            u.w.machine->violations = 0;
        }
    }
    FIGURES("%u found", found);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: the test TLB uses what it holds, whatever the tables say.  Method: exchange two frames by
 * hand without a flush: loads give the old bytes and are reported; after the flush they give the
 * new ones.
 */
static void stale_is_used(void)
{
    struct unit u;
    struct quire_space *space;
    entry_t *e0, *e1, e;
    uint8_t byte;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, PAGE(2), RW);
    put(&u, space, PAGE(0), 1);
    put(&u, space, PAGE(1), 2);
    e0 = entry_of(&u, space, PAGE(0), 1);
    e1 = entry_of(&u, space, PAGE(1), 1);
    e = *e0, *e0 = *e1, *e1 = e;
    u.w.quiet = true;
    CHECK_OK(test_load(&u.w, space, PAGE(0), &byte));
    CHECK(byte == 1);
    CHECK(u.w.machine->violations == 1);
    u.w.machine->violations = 0;
    u.w.quiet = false;
    mmu_flush_page(u.w.machine, space, PAGE(0));
    mmu_flush_page(u.w.machine, space, PAGE(1));
    CHECK_OK(test_load(&u.w, space, PAGE(0), &byte));
    CHECK(byte == 2);
    e = *e0, *e0 = *e1, *e1 = e;
    mmu_flush_range(u.w.machine, space, 0, PAGE(2));
    CHECK(u.w.machine->forgotten == 0);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: the machine itself notices what core may never do.  Method: by hand, a root that is not the
 * space's (so that the tables refuse whatever quire_fault says), and another frame under a
 * read-only translation: reported and counted, and the access ends.
 */
static void broken_promises_are_reported(void)
{
    struct unit u;
    struct quire_space *space;
    pfn_t empty;
    entry_t *e, before;
    uint8_t byte;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, PAGE(2), RW);
    put(&u, space, PAGE(0), 1);
    put(&u, space, PAGE(1), 2);
    mmu_flush_space(u.w.machine, space, quire_space_root(space));
    CHECK_OK(quire_frame_take(u.w.q, &empty));
    memset(u.w.frames + (size_t)(empty - u.w.config.first_frame) * QUIRE_PAGE_SIZE, 0,
           QUIRE_PAGE_SIZE);
    u.w.quiet = true;
    u.w.cpu[0]->root = empty;
    CHECK(soft_check(u.w.machine) == 1);
    CHECK_STATUS(test_load(&u.w, space, 0, &byte), QUIRE_STATUS_COUNT);
    CHECK(strstr(u.w.report, "still refuse"));
    mmu_flush_space(u.w.machine, space, quire_space_root(space));
    quire_frame_give(u.w.q, empty);
    u.w.machine->violations = 0;
    protect(&u, space, 0, PAGE(2), R);
    CHECK(get(&u, space, PAGE(0)) == 1);
    protect(&u, space, 0, PAGE(2), RW);
    e = entry_of(&u, space, PAGE(0), 1);
    before = *e;
    *e = (*entry_of(&u, space, PAGE(1), 1) & ENTRY_PAYLOAD_MASK) | (before & ~ENTRY_PAYLOAD_MASK) |
         ENTRY_WRITE | ENTRY_DIRTY;
    CHECK_OK(test_store(&u.w, space, PAGE(0), 3));
    CHECK(u.w.machine->violations == 1);
    CHECK(strstr(u.w.report, "changed under a translation"));
    *e = before;
    mmu_flush_space(u.w.machine, space, quire_space_root(space));
    u.w.machine->violations = 0;
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a snapshot of the block is the whole world.  Method: copy the block, go on in every way,
 * put it back: bytes, tables, TLBs and counters are those of then, and the same steps give the same
 * block.
 */
static void snapshot_is_everything(void)
{
    struct unit u;
    struct quire_space *space, *child;
    void *start, *first = NULL;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, 2 * LEAF, RW);
    put(&u, space, 0, 1);
    child = fork_of(&u, space);
    start = test_world_copy(&u.w);
    for (int round = 0; round < 3; round++) {
        put(&u, child, 0, 2);
        put(&u, space, LEAF, 3);
        protect(&u, space, PAGE(1), PAGE(1), R);
        unmap(&u, child, LEAF, PAGE(1));
        end(&u, space);
        if (!first)
            first = test_world_copy(&u.w);
        CHECK(memcmp(first, u.w.block, u.w.block_size) == 0);
        test_world_restore(&u.w, start);
        audit(&u);
        CHECK(get(&u, space, 0) == 1);
        test_world_restore(&u.w, start);
    }
    free(first);
    free(start);
    end(&u, space);
    end(&u, child);
    finish(&u);
}

static unsigned asked;

/* CPU 1 looks whether it is asked, as its own thread would. */
static void answer(struct test_world *world, const void *key)
{
    (void)key;
    asked += world->cpu[1]->asked != NULL;
    soft_cpu_poll(world->cpu[1]);
}

/*
 * Goal: a CPU that runs guest code is asked by flushes of what it may hold, and by no others.
 * Method: CPU 1 is entered, and looks for requests when the flush waits for it; flushes of the
 * space that it runs, of one that it ran, and of spaces that it never ran.  (The test TLB takes one
 * space in 64 for another.)
 */
static void only_holders_are_asked(void)
{
    enum { STRANGERS = 6 };
    struct unit u;
    struct quire_space *space, *strangers[STRANGERS];
    uint8_t byte;

    begin_with(&u, &(struct test_options){.cpus = 2, .threads = true});
    u.w.wait = answer;
    space = space_new(&u);
    map(&u, space, 0, PAGE(1), RW);
    put(&u, space, 0, 1);
    soft_cpu_run(u.w.cpu[1], u.w.q, space);
    soft_cpu_enter(u.w.cpu[1]);
    CHECK_OK(soft_load(u.w.cpu[1], 0, &byte, 1));
    asked = 0;
    mmu_flush_page(u.w.machine, space, 0);
    CHECK(asked == 1);
    for (unsigned i = 0; i < STRANGERS; i++)
        strangers[i] = space_new(&u);
    for (unsigned i = 0; i < STRANGERS; i++) {
        mmu_flush_page(u.w.machine, strangers[i], 0);
        mmu_flush_space(u.w.machine, strangers[i], quire_space_root(strangers[i]));
    }
    CHECK(asked < 1 + 2 * STRANGERS);
    soft_cpu_run(u.w.cpu[1], u.w.q, strangers[0]);
    asked = 0;
    mmu_flush_range(u.w.machine, space, 0, PAGE(1));
    CHECK(asked == 1);
    soft_cpu_leave(u.w.cpu[1]);
    mmu_flush_page(u.w.machine, strangers[0], 0);
    CHECK(asked == 1);
    for (unsigned i = 0; i < STRANGERS; i++)
        end(&u, strangers[i]);
    end(&u, space);
    finish(&u);
}

CHECK_MAIN("unit.soft", TEST(every_size_and_alignment), TEST(refused_moves_nothing),
           TEST(missing_flushes_are_found), TEST(stale_is_used), TEST(broken_promises_are_reported),
           TEST(snapshot_is_everything), TEST(only_holders_are_asked))
