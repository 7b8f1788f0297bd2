/* SPDX-License-Identifier: MIT */
/*
 * Who waits for whom, and what each lock guards.
 *
 * A lock that is not taken shows in a schedule that needs it, which is rare.  Here it shows at
 * once, in one of two ways.  What several calls share may only change while its lock is held: a
 * hook at every access to a shared word compares with what was there at the last one.  And a call
 * that must not run beside another has to wait for one that is stopped half way.
 */
#include "two.h"

#include "paged.h"
#include "pager.h"
#include "pin.h"
#include "section.h"
#include "table.h"

static struct {
    struct unit u;
    struct quire_space *space, *twin;
    unsigned char *before; /* the world's block at the last access */
    uint64_t changes;      /* seen, under locks */
} s;

/* ---- what a lock guards ---------------------------------------------------------------------- */

static const void *before(const void *now)
{
    return s.before + ((const unsigned char *)now - s.u.w.block);
}

static void guarded(const struct qi_lock *lock, const void *now, size_t size)
{
    if (memcmp(now, before(now), size) == 0)
        return;
    CHECK(lock->word == 1);
    s.changes++;
}

/* The counts of what a table lends, while it does. */
static void side_guarded(const struct qi_frame *table)
{
    const struct quire *q = s.u.w.q;
    const struct qi_frame *was = before(table);
    const struct qi_frame *side;

    if (table->side == QI_NO_FRAME || was->side != table->side)
        return;
    side = frame_record(&q->frames, table->side);
    guarded(&table->lock, frame_memory(&q->frames, table->side), sizeof(struct qi_side));
    guarded(&table->lock, &side->sum, sizeof side->sum);
}

static bool is_tree(const struct qi_frame *r)
{
    return r->state == QI_FRAME_TABLE || r->state == QI_FRAME_DYING;
}

/* The root of a space that has one, and whether it is being replaced. */
static void root_guarded(const struct quire_space *space)
{
    const struct quire_space *was = before(space);

    if (space->state != QI_SPACE_LIVE || was->state != QI_SPACE_LIVE || was->root == QI_NO_FRAME)
        return;
    guarded(&space->root_lock, &space->root, sizeof space->root);
    guarded(&space->root_lock, &space->root_busy, sizeof space->root_busy);
}

/* What a leaf of a section shows, and to how many. */
static void leaf_guarded(const struct qi_frame *leaf)
{
    const struct qi_frames *f = &s.u.w.q->frames;

    guarded(&leaf->lock, frame_memory(f, frame_number(f, leaf)), QUIRE_PAGE_SIZE);
    side_guarded(leaf);
}

static void section_guarded(const struct quire_section *section)
{
    const struct quire_section *was = before(section);

    if (section->state != QI_SECTION_LIVE || was->state != QI_SECTION_LIVE)
        return;
    guarded(&s.u.w.q->nodes.lock, &section->views, sizeof section->views);
    guarded(&s.u.w.q->nodes.lock, &section->writers, sizeof section->writers);
    guarded(&s.u.w.q->nodes.lock, &section->seals, sizeof section->seals);
    guarded(&section->lock, &section->window, sizeof section->window);
    guarded(&section->lock, &section->root, sizeof section->root);
}

static void paging_guarded(const struct qi_paging *p)
{
    if (p->max == 0)
        return;
    guarded(&p->lock, p->files, sizeof p->files);
    guarded(&p->lock, &p->free_transfer, sizeof p->free_transfer);
    guarded(&p->lock, p->standby, sizeof p->standby);
    guarded(&p->lock, &p->modified, sizeof p->modified);
    guarded(&p->lock, &p->total, sizeof p->total);
    guarded(&p->lock, &p->used, sizeof p->used);
    guarded(&p->lock, p->slots, p->max * sizeof p->slots[0]);
}

static void compare_all(const void *address, bool write)
{
    struct quire *q = s.u.w.q;
    struct qi_frames *f = &q->frames;
    const unsigned char *end = (const unsigned char *)(&q->committed + 1);

    (void)address, (void)write;
    guarded(&q->lock, &q->drop_list, (size_t)(end - (const unsigned char *)&q->drop_list));
    guarded(&f->lock, &f->free, sizeof f->free);
    guarded(&f->lock, f->list, sizeof f->list);
    guarded(&q->nodes.lock, &q->nodes.partial, sizeof q->nodes.partial);
    guarded(&q->nodes.lock, &q->nodes.dead, sizeof q->nodes.dead);
    guarded(&q->nodes.lock, &q->nodes.used, sizeof q->nodes.used);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct qi_frame *r = &f->records[i], *was = before(r);

        if (r->state != was->state) {
            if (is_tree(r) && is_tree(was)) /* it lost its last parent, or keeps homes */
                guarded(&r->lock, &r->state, sizeof r->state);
            continue;
        }
        if (r->state == QI_FRAME_NODES)
            guarded(&q->nodes.lock, frame_memory(f, f->first + i), QUIRE_PAGE_SIZE);
        if (is_tree(r))
            side_guarded(r);
        if (r->state == QI_FRAME_SECTION && r->level == 1)
            leaf_guarded(r);
    }
    for (uint32_t i = 0; i < q->max_sections; i++)
        section_guarded(&q->sections[i]);
    paging_guarded(&q->paging);
    for (uint32_t i = 0; i < q->max_spaces; i++)
        root_guarded(&q->spaces[i]);
    test_world_snapshot(&s.u.w, s.before);
}

static struct quire_space *make(void)
{
    struct quire_space *space;

    CHECK_OK(quire_space_create(s.u.w.q, &space));
    return space;
}

static void map_at(struct quire_space *space, vaddr_t at, uint64_t length, uint32_t flags)
{
    CHECK_OK(quire_map(space, &at, length, RW, flags | QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
}

static void store(struct quire_space *space, uint64_t page)
{
    CHECK_OK(quire_write(space, PAGE(page), "\1", 1, NULL));
}

/* Spaces that share leaves in every way, and part. */
static void share_and_part(void)
{
    struct quire_space *a = make(), *b, *c;

    map_at(a, 0, 4 * LEAF, 0);
    for (unsigned i = 0; i < 4; i++)
        store(a, i);
    CHECK_OK(quire_protect(a, PAGE(3), PAGE(1), 0));
    CHECK_OK(quire_space_fork(a, &b));
    store(a, 0);
    CHECK_OK(quire_space_fork(a, &c));
    store(c, 1);
    store(b, 2);
    CHECK_OK(quire_protect(c, 0, PAGE(1), 0));
    CHECK_OK(quire_protect(c, 0, PAGE(1), R));
    CHECK_OK(quire_fault(c, 0, R));
    CHECK_OK(quire_unmap(c, PAGE(2), PAGE(1)));
    quire_space_destroy(b);
    store(a, 2);
    quire_space_destroy(c);
    (void)quire_space_pull(a);
    quire_space_destroy(a);
}

enum { FIRST = 96, MORE = 32 }; /* frames that there are at first, and later */

/* Regions, promises, pins, frames. */
static void use_the_rest(void)
{
    struct quire_space *a = make(), *mark;
    struct quire_run run;
    struct quire_pin pin;
    uint64_t bits[LEAF_PAGES / 64 + 1];
    vaddr_t to = 2 * LEAF;
    pfn_t pfn;

    map_at(a, 0, LEAF, 0);
    CHECK_OK(quire_advise(a, PAGE(1), PAGE(1), QUIRE_FORK_OMIT));
    store(a, 0);
    CHECK_OK(quire_space_fork(a, &mark));
    store(a, 1);
    CHECK_OK(quire_diff_and_mark(a, &mark, 0, LEAF, bits));
    quire_space_destroy(mark);
    CHECK_OK(quire_pin(a, 0, PAGE(1), W, &run, 1, &pin));
    CHECK_OK(quire_move(a, 0, LEAF, &to, LEAF, QUIRE_MOVE_FIXED));
    CHECK_OK(quire_unmap(a, to, LEAF));
    CHECK_OK(quire_unpin(s.u.w.q, &pin));
    map_at(a, 0, PAGE(2), QUIRE_MAP_RESERVE);
    CHECK_STATUS(quire_commit(a, 0, PAGE(2), RW), QUIRE_OK);
    CHECK_OK(quire_decommit(a, 0, PAGE(1)));
    CHECK_OK(quire_discard(a, 0, PAGE(1)));
    CHECK_OK(quire_protect(a, 0, PAGE(2), R));
    CHECK_OK(quire_add_frames(s.u.w.q, s.u.w.options.first_frame + FIRST, MORE));
    CHECK_OK(quire_frame_take(s.u.w.q, &pfn));
    quire_frame_give(s.u.w.q, pfn);
    CHECK(quire_zero_ahead(s.u.w.q, 3) == 3);
    CHECK(!quire_work(s.u.w.q, 1));
    quire_space_destroy(a);
}

static void start(void *cookie, struct quire_io *io)
{
    (void)cookie;
    quire_io_done(io, true);
}

/* Sections with a pager and without, their transfers, their ends. */
static void use_sections(void)
{
    static const struct quire_pager pager = {.start = start, .stable = true};
    struct quire_space *a = make();
    struct quire_run run;
    struct quire_pin pin;

    for (unsigned i = 0; i < 2; i++) {
        struct quire_section *section;
        vaddr_t at = 0;

        CHECK_OK(quire_section_create(s.u.w.q, 2 * LEAF, i ? &pager : NULL, NULL, &section));
        CHECK_OK(quire_map_view(a, &at, LEAF, RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
        store(a, 0);
        CHECK_OK(quire_section_write(section, LEAF, "\1", 1, 0, NULL));
        CHECK_OK(quire_section_sync(section, 0, UINT64_MAX, 0, NULL));
        CHECK_OK(quire_pin(a, 0, PAGE(1), W, &run, 1, &pin));
        CHECK_OK(quire_unpin(s.u.w.q, &pin));
        (void)quire_section_purge(section, 0, UINT64_MAX, true);
        quire_section_fetch(section, 0, PAGE(2));
        CHECK_OK(quire_section_seal(section, QUIRE_SEAL_GROW));
        quire_section_close(section);
        CHECK_OK(quire_unmap(a, 0, LEAF));
    }
    quire_space_destroy(a);
}

/* A leaf that lends to a fork lends to a clone too. */
static void clone_pages(void)
{
    struct quire_space *a = make(), *b;

    map_at(a, 0, 2 * LEAF, 0);
    store(a, 0);
    store(a, 1);
    CHECK_OK(quire_space_fork(a, &b));
    store(b, 0);
    CHECK_OK(quire_clone(a, 0, a, LEAF, PAGE(2), NULL));
    quire_space_destroy(b);
    CHECK_OK(quire_clone(a, 0, a, LEAF, PAGE(1), NULL));
    quire_space_destroy(a);
}

enum { SLOTS = 4 };

/* Pages that leave, are written, and come back. */
static void page_out(void)
{
    static uint8_t device[SLOTS << QUIRE_PAGE_SHIFT];
    static struct test_file file;
    struct quire_space *a = make();
    struct quire_pagefile *pagefile;

    test_file_init(&file, &s.u.w, device, sizeof device);
    pagefile = test_file_page_to(&file, 0);
    map_at(a, 0, PAGE(2), 0);
    for (unsigned i = 0; i < 2; i++) {
        store(a, 0);
        store(a, 1);
        CHECK_OK(quire_advise_pages(a, 0, PAGE(2), QUIRE_PAGES_OUT));
        while (quire_balance(s.u.w.q))
            ;
    }
    quire_space_destroy(a);
    CHECK_OK(quire_pagefile_remove(pagefile));
}

/*
 * Goal: what a lock guards changes only while it is held.  Method: every kind of operation, with
 * two CPUs: one alone stores no lock.
 */
static void changes_under_locks(void)
{
    memset(&s.u, 0, sizeof s.u);
    begin_with(&s.u, &(struct test_options){.callers = 2,
                                            .frames = FIRST + MORE,
                                            .no_frames = true,
                                            .max_pins = 2,
                                            .max_sections = 1,
                                            .colours = 2,
                                            .held = 64,
                                            .max_slots = SLOTS,
                                            .max_spaces = 8});
    CHECK_OK(quire_add_frames(s.u.w.q, s.u.w.options.first_frame, FIRST));
    s.u.free_at_start = quire_free_frames(s.u.w.q) + MORE;
    s.before = test_world_copy(&s.u.w);
    s.changes = 0;
    test_touch = compare_all;
    share_and_part();
    use_the_rest();
    use_sections();
    clone_pages();
    page_out();
    compare_all(NULL, false);
    test_touch = NULL;
    free(s.before);
    CHECK(s.changes > 150);
    finish(&s.u);
    FIGURES("%llu changes", (unsigned long long)s.changes);
}

/* ---- who waits for whom ---------------------------------------------------------------------- */

static void other_shares(void)
{
    struct qi_cpu *cpu = qi_enter_shared(s.space);

    other_stop();
    qi_leave(cpu);
}

static void other_excludes(void)
{
    struct qi_cpu *cpu = qi_enter_exclusive(s.space);

    other_stop();
    qi_leave(cpu);
}

static void call_fault(void) { CHECK_OK(quire_fault(s.space, 0, R)); }
static void call_activate(void) { quire_space_activate(s.u.w.q, s.space); }
static void call_protect(void) { CHECK_OK(quire_protect(s.space, 0, PAGE(1), R)); }
static void call_pull(void) { (void)quire_space_pull(s.space); }
static void call_limit(void) { quire_space_limit(s.space, 1000, 1000); }
static void call_stats(void) { (void)stats_of(&s.u); }
static void call_check(void) { CHECK(quire_check(s.u.w.q) == 0); }

static void call_query(void)
{
    struct quire_region region;

    CHECK_OK(quire_query(s.space, 0, &region));
}

static void call_peek(void)
{
    uint8_t byte;

    CHECK_OK(quire_access(s.space, 0, &byte, 1, QUIRE_READ | QUIRE_FORCE, NULL));
}

static void call_usage(void)
{
    struct quire_usage usage;

    quire_space_usage(s.space, 0, LEAF, &usage);
}

static void call_next_pages(void)
{
    struct quire_pages pages;

    CHECK_OK(quire_next_pages(s.space, 0, LEAF, &pages));
}

static void call_page(void) { (void)page_at(s.space, 0); }

static void call_fork(void)
{
    struct quire_space *child;

    CHECK_OK(quire_space_fork(s.space, &child));
    quire_space_destroy(child);
}

static void call_diff(void)
{
    uint64_t bits[LEAF_PAGES / 64 + 1];

    CHECK_OK(quire_diff(s.space, s.twin, 0, LEAF, bits));
}

static void call_diff_back(void)
{
    uint64_t bits[LEAF_PAGES / 64 + 1];

    CHECK_OK(quire_diff(s.twin, s.space, 0, LEAF, bits));
}

static void call_destroy(void)
{
    quire_space_destroy(s.space);
    s.space = NULL;
}

/*
 * Goal: no call runs beside another that it must not run beside.  Method: CPU 1 holds the space,
 * shared and then exclusively, and CPU 0 calls; what must wait does, and nothing else.
 */
static void calls_wait(void)
{
    static const struct {
        void (*call)(void);
        bool for_shared;
    } rows[] = {
        {call_fault, false}, {call_query, false}, {call_activate, false},  {call_protect, true},
        {call_pull, true},   {call_limit, true},  {call_stats, true},      {call_check, true},
        {call_peek, true},   {call_usage, true},  {call_next_pages, true}, {call_page, true},
        {call_fork, true},   {call_diff, true},   {call_diff_back, true},  {call_destroy, true},
    };

    for (unsigned i = 0; i < 2 * (sizeof rows / sizeof rows[0]); i++) {
        bool exclusive = i & 1, first = i & 2;
        struct quire_space *lower, *upper;

        memset(&s.u, 0, sizeof s.u);
        begin_with(&s.u, &(struct test_options){.callers = 2});
        s.space = space_new(&s.u);
        map(&s.u, s.space, 0, LEAF, RW);
        put(&s.u, s.space, 0, 1);
        s.twin = fork_of(&s.u, s.space);
        CHECK(s.space->index < s.twin->index);
        lower = s.space, upper = s.twin;
        s.space = first ? lower : upper; /* either may be the one that is waited for */
        s.twin = first ? upper : lower;
        test_run(&s.u.w, 0, NULL);
        CHECK(two_calls(&s.u, rows[i / 2].call, exclusive ? other_excludes : other_shares) ==
              (exclusive || rows[i / 2].for_shared));
        if (rows[i / 2].call == call_activate)
            quire_space_activate(s.u.w.q, NULL);
        if (s.space)
            end(&s.u, s.space);
        end(&s.u, s.twin);
        finish(&s.u);
    }
}

/* ---- frames that others may look at ---------------------------------------------------------- */

enum { BATCH_AT_LEAST = MICRO ? 4 : 40, MORE_THAN_CACHED = MICRO ? 12 : 160 };

static void other_is_there(void)
{
    struct qi_cpu *cpu = qi_enter(s.u.w.q);

    other_stop();
    qi_leave(cpu);
}

static bool in_limbo(const struct qi_cpu *cpu, pfn_t pfn)
{
    for (unsigned i = 0; i < 2; i++)
        for (pfn_t p = cpu->limbo[i].head; p != QI_NO_FRAME;
             p = frame_record(&cpu->q->frames, p)->next)
            if (p == pfn)
                return true;
    return false;
}

static void free_a_batch(void)
{
    const struct qi_cpu *mine = &s.u.w.q->cpus[0];
    struct quire_page pages[2];

    for (unsigned i = 0; i < 2; i++)
        quire_page(s.space, PAGE(i * (BATCH_AT_LEAST - 1)), &pages[i]);
    CHECK_OK(quire_discard(s.space, 0, 16 * LEAF));
    for (unsigned i = 0; i < 3; i++)
        call_query();
    CHECK(in_limbo(mine, pages[0].pfn) && in_limbo(mine, pages[1].pfn));
    CHECK(mine->limbo[0].count + mine->limbo[1].count >= BATCH_AT_LEAST);
}

/*
 * Goal: a frame is not used again while a call goes on that may have seen what it was.  Method: CPU
 * 1 is in a call that looks at nothing; CPU 0 frees pages, and calls again and again.  After that
 * call it is used again, when more have been freed.
 */
static void limbo_waits_for_calls(void)
{
    memset(&s.u, 0, sizeof s.u);
    begin_with(&s.u, &(struct test_options){.callers = 2});
    const struct qi_cpu *mine = &s.u.w.q->cpus[0];
    struct quire_page page;
    s.space = space_new(&s.u);
    map(&s.u, s.space, 0, LEAF, RW);
    put_each(&s.u, s.space, BATCH_AT_LEAST);
    quire_page(s.space, 0, &page);
    CHECK(!two_calls(&s.u, free_a_batch, other_is_there));
    CHECK(in_limbo(mine, page.pfn));
    for (unsigned i = 0; i < 4 && in_limbo(mine, page.pfn); i++) {
        put_each(&s.u, s.space, BATCH_AT_LEAST);
        if (in_limbo(mine, page.pfn))
            CHECK_OK(quire_discard(s.space, 0, LEAF));
    }
    CHECK(!in_limbo(mine, page.pfn));
    end(&s.u, s.space);
    finish(&s.u);
}

/*
 * Goal: a CPU that frees nothing more does not keep more frames than its cache may.  Method: as
 * above, with so many, and calls that free nothing.
 */
static void much_in_limbo_is_let_go(void)
{
    memset(&s.u, 0, sizeof s.u);
    begin_with(&s.u, &(struct test_options){.callers = 2});
    const struct qi_cpu *mine = &s.u.w.q->cpus[0];
    s.space = space_new(&s.u);
    map(&s.u, s.space, 0, 16 * LEAF, RW);
    put_each(&s.u, s.space, MORE_THAN_CACHED);
    CHECK(!two_calls(&s.u, free_a_batch, other_is_there));
    CHECK(mine->limbo[0].count + mine->limbo[1].count >= MORE_THAN_CACHED);
    for (unsigned i = 0; i < 3; i++)
        call_query();
    CHECK(mine->limbo[0].count + mine->limbo[1].count < BATCH_AT_LEAST);
    end(&s.u, s.space);
    finish(&s.u);
}

static void enter_and_look(void)
{
    struct qi_cpu *cpu = qi_enter(s.u.w.q);

    CHECK((uint32_t)(cpu->claim >> 32) == s.u.w.q->epoch && claim_space(cpu->claim) == CLAIM_ALONE);
    qi_leave(cpu);
}

/* What closing a limbo does. */
static void other_ends_an_epoch(void) { qi_add(&s.u.w.q->epoch, 1); }

/*
 * Goal: nobody waits for a call that began in a later epoch, and a claim says which that is.
 * Method: an epoch ends between the look at it and the claim.
 */
static void claims_say_the_epoch(void)
{
    memset(&s.u, 0, sizeof s.u);
    begin_with(&s.u, &(struct test_options){.callers = 2});
    two.way[0][0] = (struct spot){&s.u.w.q->cpus[0].claim, true};
    CHECK(two_calls(&s.u, enter_and_look, other_ends_an_epoch));
    finish(&s.u);
}

CHECK_MAIN("unit.locks", TEST(changes_under_locks), TEST(calls_wait), TEST(limbo_waits_for_calls),
           TEST(much_in_limbo_is_let_go), TEST(claims_say_the_epoch))
