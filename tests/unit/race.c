/* SPDX-License-Identifier: MIT */
/*
 * Two calls at once, at the one moment that matters.
 *
 * The explorers of schedules meet each of these by chance; here each is one exact schedule (two.h):
 * CPU 1's call begins at one access of CPU 0's to one shared word, and ends before CPU 0 goes on,
 * or stops half way and ends when CPU 0 has to wait for it.
 *
 * Both write bytes of their own, and other spaces share the pages: nothing may be lost, nobody else
 * may see it, and all that is freed comes back.
 */
#include "two.h"

#include "table.h"

static struct {
    struct unit u;
    struct quire_space *space, *twin;
    struct quire_pin pin;
} s;

static void race(void (*call)(void), void (*other)(void))
{
    (void)two_calls(&s.u, call, other);
    audit(&s.u);
}

/* ---- what each may do ------------------------------------------------------------------------ */

/* Bytes of the pages 0 and 1, of which each call writes one. */
enum { BY_0 = 1, BY_1 = 2, BY_MACHINE = 3 };

static void write_byte(unsigned page, unsigned byte)
{
    uint8_t value = (uint8_t)(100 + byte);

    CHECK_OK(quire_write(s.space, PAGE(page) + byte, &value, 1, NULL));
}

static bool is_written(unsigned page, unsigned byte)
{
    uint8_t value;

    CHECK_OK(quire_read(s.space, PAGE(page) + byte, &value, 1, NULL));
    CHECK(value == 0 || value == 100 + byte);
    return value != 0;
}

static void write_0(void) { write_byte(0, BY_0); }
static void other_writes_0(void) { write_byte(0, BY_1); }
static void other_writes_1(void) { write_byte(1, BY_1); }
static void fetch_0(void) { CHECK_OK(quire_fault(s.space, 0, X)); }
static void fault_0(void) { CHECK_OK(quire_fault(s.space, 0, W)); }
static void fault_empty(void) { CHECK_OK(quire_fault(s.space, PAGE(3), R)); }
static void run(void) { test_run(&s.u.w, 0, s.space); }
static void pull(void) { CHECK(quire_space_pull(s.space) == 1); }
static void protect_0(void) { CHECK_OK(quire_protect(s.space, 0, PAGE(1), R)); }
static void unmap_0(void) { CHECK_OK(quire_unmap(s.space, 0, PAGE(1))); }
static void unpin(void) { CHECK_OK(quire_unpin(s.u.w.q, &s.pin)); }

static void read_0(void)
{
    uint8_t value;

    CHECK_OK(quire_read(s.space, 0, &value, 1, NULL));
    CHECK(value == 1);
}

static void move_0(void)
{
    vaddr_t to = LEAF + PAGE(1);

    CHECK_OK(quire_move(s.space, 0, PAGE(1), &to, PAGE(1), QUIRE_MOVE_FIXED));
}

static void compare(void)
{
    uint64_t bits[LEAF_PAGES / 64 + 1];

    CHECK_OK(quire_diff(s.space, s.twin, 0, LEAF, bits));
    CHECK(bits[0] == 2);
}

/* The last but one user of page 0's home copies it, and the last one gives it up. */
static void other_frees_page_0(void)
{
    other_writes_0();
    CHECK_OK(quire_unmap(s.twin, 0, PAGE(1)));
}

/* Who goes through all records holds one that is free. */
static void other_holds_next(void)
{
    struct qi_cpu *cpu = qi_enter_exclusive(s.u.w.q->free_space);

    other_stop();
    qi_leave(cpu);
}

static void create(void)
{
    struct quire_space *space = space_new(&s.u);

    end(&s.u, space);
}

static void other_holds_twin(void)
{
    struct qi_cpu *cpu = qi_enter_exclusive(s.twin);

    other_stop();
    qi_leave(cpu);
}

/* An instruction of CPU 1, which runs the space; not a call. */
static void machine_stores_0(void)
{
    uint8_t value = 100 + BY_MACHINE;

    CHECK(soft_try(s.u.w.cpu[1], BY_MACHINE, W, &value));
}

static void machine_loads_0(void)
{
    uint8_t value;

    CHECK(soft_try(s.u.w.cpu[1], 0, R, &value) && value == 1);
}

/* ---- where they start ------------------------------------------------------------------------ */

/* Pages 0 and 1 hold 1 and 2; page 2 is zeros, page 3 was never touched. */
enum start {
    SHARED_ROOT, /* with the twin, as after fork */
    SHARED_PATH, /* everything below the root is shared */
    OWN_LEAF,    /* page 0 is borrowed of the twin */
    PROTOTYPE,   /* page 0 is borrowed of a table that no space walks, and nobody else uses it */
    TWO_USERS,   /* the same, but the twin uses it too */
    CLEAN,       /* no twin: page 0 is own, and writable, and the machine will set its dirty bit */
};

static void twin_ends(void)
{
    end(&s.u, s.twin);
    s.twin = NULL;
}

static void start_forked(enum start start)
{
    s.twin = fork_of(&s.u, s.space);
    if (start == CLEAN)
        twin_ends();
    if (start == SHARED_PATH)
        put(&s.u, s.space, entry_span(QUIRE_LEVELS), 1);
    if (start >= OWN_LEAF)
        put(&s.u, s.space, PAGE(1), 2);
    if (start == PROTOTYPE)
        twin_ends();
    if (start == TWO_USERS) {
        struct quire_space *first = s.twin;

        s.twin = fork_of(&s.u, s.space);
        put(&s.u, s.space, PAGE(1), 2);
        end(&s.u, first);
    }
}

static void start_race(enum start start)
{
    memset(&s.u, 0, sizeof s.u);
    begin_with(&s.u, &(struct test_options){.cpus = 2, .max_pins = 1});
    s.space = space_new(&s.u);
    s.twin = NULL;
    map(&s.u, s.space, 0, 2 * LEAF, RW);
    map(&s.u, s.space, entry_span(QUIRE_LEVELS), LEAF, RW);
    put_each(&s.u, s.space, 2);
    if (start == CLEAN)
        protect(&s.u, s.space, 0, PAGE(1), R);
    else
        CHECK(get(&s.u, s.space, PAGE(2)) == 0);
    protect(&s.u, s.space, 0, 2 * LEAF, RW | X);
    start_forked(start);
}

static void end_race(void)
{
    audit(&s.u);
    if (s.twin) {
        CHECK(get(&s.u, s.twin, PAGE(1)) == 2 && get(&s.u, s.twin, PAGE(1) + BY_1) == 0);
        end(&s.u, s.twin);
    }
    end(&s.u, s.space);
    finish(&s.u);
}

static pfn_t table_of(unsigned level)
{
    pfn_t table = s.space->root;

    for (unsigned l = QUIRE_LEVELS; l > level; l--)
        table = entry_pfn(table_entries(s.u.w.q, table)[0]);
    return table;
}

static entry_t *slot_0(void) { return &table_entries(s.u.w.q, table_of(1))[0]; }

static struct qi_frame *page_record_0(void)
{
    return frame_record(&s.u.w.q->frames, entry_pfn(*slot_0()));
}

static struct qi_frame *lender_0(void)
{
    return table_record(s.u.w.q, home_table(page_record_0()->home));
}

/* ---- calls and calls ------------------------------------------------------------------------- */

enum word {
    LEAF_LOCK,
    UPPER_LOCK,
    SPACE_LOCK,
    CHILD_SHARE,
    BUSY_AND_ROOT,
    LENDER_SHARE,
    PAGE_HOME
};

static void way_of(enum word word, unsigned passes)
{
    const struct quire *q = s.u.w.q;
    const struct qi_frame *leaf = table_record(q, table_of(1));
    const struct qi_frame *upper = table_record(q, table_of(QUIRE_LEVELS));
    const struct qi_frame *child = table_record(q, table_of(QUIRE_LEVELS - 1));
    struct spot spot = {NULL, false};

    switch (word) {
    case LEAF_LOCK: spot = (struct spot){&leaf->lock.word, true}; break;
    case UPPER_LOCK: spot = (struct spot){&upper->lock.word, true}; break;
    case SPACE_LOCK: spot = (struct spot){&s.space->root_lock.word, true}; break;
    case CHILD_SHARE: spot = (struct spot){&child->share, false}; break;
    case BUSY_AND_ROOT: spot = (struct spot){&s.space->root_busy, false}; break;
    case LENDER_SHARE: spot = (struct spot){&lender_0()->share, false}; break;
    case PAGE_HOME: spot = (struct spot){&page_record_0()->home, false}; break;
    }
    for (unsigned i = 0; i <= passes; i++)
        two.way[0][i] = spot;
    if (word == BUSY_AND_ROOT) /* once the fault is over: the look of the read */
        two.way[0][passes + 1] = (struct spot){&s.space->root, false};
}

/*
 * Goal: whatever another call does between two steps of a fault, it ends right, and no write is
 * lost.  Method: a row is a start, two calls, and the spot of the first where the second is made,
 * to its end or up to its flush.
 */
static void calls_meet(void)
{
    static const struct {
        enum start start;
        void (*call)(void), (*other)(void);
        enum word word;
        uint8_t passes;
        bool in_flush;
    } rows[] = {
        {OWN_LEAF, read_0, other_writes_0, LEAF_LOCK, 0, false},
        {OWN_LEAF, read_0, other_writes_0, LEAF_LOCK, 0, true},
        {OWN_LEAF, read_0, other_writes_0, BUSY_AND_ROOT, 0, true},
        {SHARED_PATH, read_0, other_writes_1, LEAF_LOCK, 0, false},
        {SHARED_PATH, read_0, other_writes_1, LEAF_LOCK, 0, true},
        {SHARED_PATH, read_0, other_writes_1, BUSY_AND_ROOT, 0, true},
        {OWN_LEAF, fetch_0, other_writes_0, LEAF_LOCK, 0, false},
        {OWN_LEAF, fetch_0, other_writes_0, LEAF_LOCK, 0, true},
        {OWN_LEAF, write_0, other_writes_0, LEAF_LOCK, 0, false},
        {OWN_LEAF, write_0, other_writes_0, LEAF_LOCK, 0, true},
        {SHARED_PATH, write_0, other_writes_1, CHILD_SHARE, 0, false},
        {SHARED_PATH, write_0, other_writes_1, CHILD_SHARE, 1, false},
        {SHARED_PATH, write_0, other_writes_1, UPPER_LOCK, 0, false},
        {SHARED_PATH, write_0, other_writes_1, UPPER_LOCK, 0, true},
        {SHARED_ROOT, write_0, other_writes_1, SPACE_LOCK, 0, false},
        {SHARED_ROOT, write_0, other_writes_1, SPACE_LOCK, 0, true},
        {SHARED_ROOT, fault_empty, other_writes_1, SPACE_LOCK, 0, false},
        {SHARED_ROOT, fault_empty, other_writes_1, SPACE_LOCK, 0, true},
        {SHARED_ROOT, run, other_writes_1, SPACE_LOCK, 0, false},
        {SHARED_ROOT, run, other_writes_1, SPACE_LOCK, 0, true},
        {PROTOTYPE, write_0, other_writes_0, LENDER_SHARE, 0, false},
        {TWO_USERS, write_0, other_frees_page_0, PAGE_HOME, 0, false},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned page = rows[i].other == other_writes_1;

        start_race(rows[i].start);
        if (rows[i].call == run)
            test_run(&s.u.w, 0, NULL);
        way_of(rows[i].word, rows[i].passes);
        two.in_flush = rows[i].in_flush;
        race(rows[i].call, rows[i].other);
        CHECK(is_written(page, BY_1) && is_written(0, BY_0) == (rows[i].call == write_0));
        CHECK(get(&s.u, s.space, 0) == 1 && get(&s.u, s.space, PAGE(1)) == 2);
        end_race();
    }
    FIGURES("%u schedules", (unsigned)(sizeof rows / sizeof rows[0]));
}

/*
 * Goal: a page may go to its last user while another call asks whether it can.  Method: that user
 * stops where the home has no side frame any more, and its table is not yet free.
 */
static void asked_while_it_moves(void)
{
    start_race(PROTOTYPE);
    way_of(LENDER_SHARE, 0);
    for (unsigned i = 0; i < 2; i++) /* locked, and let go */
        two.way[1][i] = (struct spot){&lender_0()->lock.word, true};
    race(write_0, other_writes_0);
    CHECK(is_written(0, BY_0) && is_written(0, BY_1));
    end_race();
}

/*
 * Goal: a call that needs two spaces lets go of the first while it waits for the second.  Method:
 * the second one is taken when it has the first.
 */
static void second_space_is_taken(void)
{
    start_race(OWN_LEAF);
    CHECK(s.space->index < s.twin->index);
    two.way[0][0] = (struct spot){&s.twin->writer, true};
    race(compare, other_holds_twin);
    end_race();
}

/* Goal: a new space waits for whoever looks at what its record was before. */
static void record_is_held(void)
{
    start_race(OWN_LEAF);
    CHECK(two_calls(&s.u, create, other_holds_next));
    end_race();
}

/*
 * Goal: the last pin may go while the page is being unmapped.  Method: after the unmapping has seen
 * it pinned, and before it says that the page is an orphan.
 */
static void unpinned_while_unmapped(void)
{
    struct quire_run runs[1];
    uint64_t promised;

    start_race(CLEAN);
    promised = stats_of(&s.u).committed;
    CHECK_OK(quire_pin(s.space, 0, 1, R, runs, 1, &s.pin));
    two.way[0][0] = (struct spot){&page_record_0()->share, false};
    two.way[0][1] = (struct spot){&s.u.w.q->lock.word, true};
    race(unmap_0, unpin);
    CHECK(stats_of(&s.u).committed == promised - 1 && stats_of(&s.u).frames_data == 1);
    CHECK_STATUS(quire_unpin(s.u.w.q, &s.pin), QUIRE_BAD_PIN);
    end_race();
}

/* ---- calls and machines ---------------------------------------------------------------------- */

static void dirty_and_executable(void)
{
    CHECK((*slot_0() & ENTRY_DIRTY) && entry_exec(*slot_0()) && is_written(0, BY_MACHINE));
}

static void dirty(void) { CHECK((*slot_0() & ENTRY_DIRTY) && is_written(0, BY_MACHINE)); }

static void read_only_and_dirty(void)
{
    struct quire_page page = page_at(s.space, 0);

    CHECK(page.readable && !page.writable && page.dirty && is_written(0, BY_MACHINE));
}

static void gone(void) { CHECK(*slot_0() == 0 && stats_of(&s.u).frames_data == 1); }

static void moved_with_its_byte(void)
{
    CHECK(*slot_0() == 0 && page_at(s.space, LEAF + PAGE(1)).dirty);
    CHECK(get(&s.u, s.space, LEAF + PAGE(1) + BY_MACHINE) == 100 + BY_MACHINE);
}

static void pulled(void)
{
    CHECK((*slot_0() & ENTRY_OWN) && (*slot_0() & ENTRY_ACCESSED));
    CHECK(page_at(s.space, 0).kind == QUIRE_PAGE_PRIVATE);
}

/*
 * Goal: bits that the machine sets while a call changes the entry are not lost, and do not keep the
 * call from its change.  Method: CPU 1 runs the space, and makes its first store to the page (or
 * load from it) between the call's look at the entry and its change.
 */
static void machine_sets_bits(void)
{
    static const struct {
        void (*call)(void), (*machine)(void), (*check)(void);
        enum start start;
    } rows[] = {
        {fetch_0, machine_stores_0, dirty_and_executable, CLEAN},
        {fault_0, machine_stores_0, dirty, CLEAN},
        {protect_0, machine_stores_0, read_only_and_dirty, CLEAN},
        {unmap_0, machine_stores_0, gone, CLEAN},
        {move_0, machine_stores_0, moved_with_its_byte, CLEAN},
        {pull, machine_loads_0, pulled, PROTOTYPE},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start_race(rows[i].start);
        CHECK(!(*slot_0() & ENTRY_DIRTY));
        *slot_0() &= ~ENTRY_ACCESSED; /* as a machine may have it whose walks set it */
        test_run(&s.u.w, 1, s.space);
        two.way[0][0] = (struct spot){slot_0(), true};
        race(rows[i].call, rows[i].machine);
        rows[i].check();
        end_race();
    }
}

CHECK_MAIN("unit.race", TEST(calls_meet), TEST(asked_while_it_moves), TEST(second_space_is_taken),
           TEST(record_is_held), TEST(unpinned_while_unmapped), TEST(machine_sets_bits))
