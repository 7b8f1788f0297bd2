/* SPDX-License-Identifier: MIT */
/*
 * The auditor finds what it is there to find.
 *
 * This is the one unit test that looks inside: it takes a healthy world with every kind of entry,
 * damages one word at a time, and wants a finding that says what is wrong; with the word put back
 * there is none.
 */
#include "pager.h"
#include "unit.h"

#include "paged.h"
#include "pin.h"
#include "section.h"

/* a lends to b, c shares b's tables; page by page: own, lent, zero, barred, borrowed, prototype,
 * hidden. */
struct scene {
    struct unit u;
    struct quire *q;
    struct quire_space *a, *b, *c;
    void *healthy;
};

static struct qi_frame *record(struct scene *s, pfn_t pfn)
{
    return &s->q->frames.records[pfn - s->q->frames.first];
}

static pfn_t leaf_of(struct scene *s, struct quire_space *space, vaddr_t address)
{
    pfn_t table = space->root;

    for (unsigned level = QUIRE_LEVELS; level > 1; level--)
        table = entry_pfn(table_entries(s->q, table)[entry_index(address, level)]);
    return table;
}

static entry_t *slot_of(struct scene *s, struct quire_space *space, vaddr_t address, unsigned level)
{
    pfn_t table = space->root;

    for (unsigned at = QUIRE_LEVELS; at > level; at--)
        table = entry_pfn(table_entries(s->q, table)[entry_index(address, at)]);
    return &table_entries(s->q, table)[entry_index(address, level)];
}

static pfn_t pfn_at(struct quire_space *space, vaddr_t address)
{
    return page_at(space, address).pfn;
}

static pfn_t free_frame(struct scene *s)
{
    for (uint32_t i = 0; i < s->q->frames.count; i++) {
        if (s->q->frames.records[i].state == QI_FRAME_FREE)
            return s->q->frames.first + i;
    }
    CHECK(!"no free frame");
    return 0;
}

static void scene_begin(struct scene *s)
{
    begin_with(&s->u, &(struct test_options){.cpus = 2, .colours = 4, .max_pins = 1});
    s->q = s->u.w.q;
    s->a = space_new(&s->u);
    map(&s->u, s->a, 0, 2 * LEAF, RW);
    for (unsigned i = 0; i < 3; i++)
        put(&s->u, s->a, PAGE(i), (uint8_t)(i + 1));
    put(&s->u, s->a, LEAF, 9);
    s->b = fork_of(&s->u, s->a);
    put(&s->u, s->b, PAGE(0), 10);
    (void)get(&s->u, s->b, PAGE(3));
    protect(&s->u, s->b, PAGE(2), PAGE(1), QUIRE_NONE); /* a prototype entry */
    put(&s->u, s->a, LEAF, 8);
    put(&s->u, s->a, LEAF + PAGE(1), 7);
    protect(&s->u, s->a, LEAF + PAGE(1), PAGE(1), QUIRE_NONE); /* a barred one */
    put(&s->u, s->a, LEAF + PAGE(2), 6);
    protect(&s->u, s->a, LEAF + PAGE(2), PAGE(1), R); /* an own one that may not be written */
    s->c = fork_of(&s->u, s->b);
    CHECK(quire_zero_ahead(s->q, 2) == 2);
    test_run(&s->u.w, 0, NULL);
    s->healthy = test_world_copy(&s->u.w);
}

static const char *words_wanted;
static bool words_seen;

static void compare_words(struct test_world *world, const char *line)
{
    (void)world;
    words_seen = words_seen || strstr(line, words_wanted);
}

/* The damage is done: there must be a finding with these words; then it is undone. */
static unsigned wanted(struct scene *s, const char *words)
{
    unsigned findings;

    s->u.w.quiet = true;
    s->u.w.reported = compare_words;
    words_wanted = words;
    words_seen = false;
    findings = quire_check(s->q);
    if (!findings || !words_seen) {
        fprintf(stderr, "wanted \"%s\"; %u findings, the last: %s\n", words, findings,
                findings ? s->u.w.report : "none");
        check_failed(__FILE__, __LINE__, "the auditor finds the damage");
    }
    test_world_restore(&s->u.w, s->healthy);
    s->u.w.quiet = false;
    return 1;
}

/* As it is now is how it should be. */
static void scene_keep(struct scene *s)
{
    test_run(&s->u.w, 0, NULL);
    CHECK(quire_check(s->q) == 0);
    free(s->healthy);
    s->healthy = test_world_copy(&s->u.w);
}

static void scene_end(struct scene *s)
{
    CHECK(quire_check(s->q) == 0);
    free(s->healthy);
    if (s->a)
        end(&s->u, s->a);
    end(&s->u, s->b);
    end(&s->u, s->c);
    finish(&s->u);
}

/*
 * Goal: damage to the frame database is found.  Method: states, lists, counts and contents, one
 * word each.
 */
static void frames(void)
{
    struct scene s;
    unsigned n = 0;
    pfn_t pfn;

    scene_begin(&s);
    pfn = free_frame(&s);
    record(&s, pfn)->state = QI_FRAME_STATE_COUNT;
    n += wanted(&s, ": state");
    record(&s, pfn)->state = QI_FRAME_TAKEN;
    n += wanted(&s, "state or place");
    s.q->frames.free++;
    n += wanted(&s, "free frames");
    s.q->cpus[0].by_state[QI_FRAME_TAKEN]++;
    n += wanted(&s, "frames in state");
    record(&s, s.q->frames.list[0][0])->next = s.q->frames.list[0][0];
    n += wanted(&s, "free frames");
    record(&s, s.q->frames.list[0][0])->next = UINT32_MAX - 1;
    n += wanted(&s, "free frames");
    s.q->cpus[0].cache.count++;
    n += wanted(&s, "frames cached");
    s.q->cpus[1].limbo[0].count++;
    n += wanted(&s, "frames in limbo");
    pfn = s.q->frames.list[0][0];
    s.q->frames.list[0][0] = s.q->frames.list[0][1];
    s.q->frames.list[0][1] = pfn;
    n += wanted(&s, "state or place");
    s.q->drop_list = UINT32_MAX - 1;
    n += wanted(&s, "dying tables");
    pfn = s.q->frames.list[1][0] == QI_NO_FRAME ? s.q->frames.list[1][1] : s.q->frames.list[1][0];
    *(uint8_t *)frame_memory(&s.q->frames, pfn) = 1;
    n += wanted(&s, "zeroed, but byte");
    ((uint8_t *)frame_memory(&s.q->frames, s.q->zero_page))[QUIRE_PAGE_SIZE - 1] = 1;
    n += wanted(&s, "the zero page");
    FIGURES("%u kinds of damage", n);
    scene_end(&s);
}

/*
 * Goal: every count of references is recounted.  Method: share, uses, maps, sum and present counts,
 * each one too many and one too few.
 */
static void counts(void)
{
    struct scene s;
    unsigned n = 0;

    scene_begin(&s);
    for (int step = -1; step <= 1; step += 2) {
        pfn_t lender = leaf_of(&s, s.a, 0), leaf = leaf_of(&s, s.b, 0);

        record(&s, s.a->root)->share += (uint32_t)step;
        n += wanted(&s, "share differs");
        record(&s, leaf)->share += (uint32_t)step;
        n += wanted(&s, "share differs");
        record(&s, leaf)->present += (uint16_t)step;
        n += wanted(&s, "entries counted");
        table_side(s.q, record(&s, lender))->uses[1] += (uint32_t)step;
        n += wanted(&s, "uses differ");
        table_side(s.q, record(&s, lender))->maps[1] += (uint32_t)step;
        n += wanted(&s, "uses differ");
        record(&s, record(&s, lender)->side)->sum += (uint64_t)(int64_t)step;
        n += wanted(&s, "the sum of its uses");
        s.a->regions->refs += (uint32_t)step;
        n += wanted(&s, "references differ");
    }
    FIGURES("%u kinds of damage", n);
    scene_end(&s);
}

/*
 * Goal: entries that say something else than they should are found.  Method: each kind of entry
 * turned into another, pointed elsewhere, or given a right.
 */
static void entries(void)
{
    struct scene s;
    unsigned n = 0;
    entry_t *e;

    scene_begin(&s);
    e = slot_of(&s, s.a, LEAF, 1);
    *e |= ENTRY_BUSY;
    n += wanted(&s, "busy, and nobody");
    *e = 0;
    n += wanted(&s, "entries counted");
    *e &= ~ENTRY_OWN;
    n += wanted(&s, "lends nothing");
    *e ^= (entry_t)1 << ENTRY_PAYLOAD_SHIFT;
    n += wanted(&s, "does not name it");
    *e = (*e & ~ENTRY_PAYLOAD_MASK) | (entry_t)free_frame(&s) << ENTRY_PAYLOAD_SHIFT;
    n += wanted(&s, "is no page");
    *e &= ~ENTRY_PAYLOAD_MASK; /* frame 0, which is none of the manager's */
    n += wanted(&s, "is no page");
    *slot_of(&s, s.a, LEAF + PAGE(2), 1) |= ENTRY_WRITE;
    n += wanted(&s, "writable, in a region that forbids it");
    *e = entry_with_exec(*e, true);
    n += wanted(&s, "executable, in a region that forbids it");
    e = slot_of(&s, s.b, PAGE(1), 1);
    *e |= ENTRY_WRITE;
    n += wanted(&s, "borrowed and writable");
    *e |= ENTRY_OWN;
    n += wanted(&s, "own, but the home of frame");
    e = slot_of(&s, s.b, PAGE(2), 1);
    *e = entry_absent(QI_CODE_PROTOTYPE, home_make(leaf_of(&s, s.b, 0), 1), 0);
    n += wanted(&s, "lends nothing");
    *e = entry_absent(QI_CODE_PROTOTYPE, home_make(free_frame(&s), 1), 0);
    n += wanted(&s, "lends nothing");
    *e = entry_absent(QI_CODE_PROTOTYPE, home_make(leaf_of(&s, s.a, 0), 3), 0);
    n += wanted(&s, "holds no page");
    *e = entry_page(pfn_at(s.a, PAGE(2)), QUIRE_READ, false);
    n += wanted(&s, "readable, in a region that forbids it");
    e = slot_of(&s, s.b, PAGE(3), 1);
    *e |= ENTRY_WRITE;
    n += wanted(&s, "zero page, or writable");
    *e |= ENTRY_DIRTY;
    n += wanted(&s, "zero page, or writable");
    *e ^= (entry_t)1 << ENTRY_PAYLOAD_SHIFT;
    n += wanted(&s, "zero page, or writable");
    e = slot_of(&s, s.a, LEAF + PAGE(1), 1);
    *e = entry_own(entry_pfn(*e), QUIRE_READ, false);
    n += wanted(&s, "readable, in a region that forbids it");
    e = slot_of(&s, s.a, 0, 2);
    *e |= ENTRY_WRITE;
    n += wanted(&s, "its child is shared or frozen");
    *e = entry_table(s.a->root);
    n += wanted(&s, "is no table of level");
    *e = entry_table(0);
    n += wanted(&s, "its child is shared or frozen");
    record(&s, s.a->root)->level = 1;
    n += wanted(&s, "is no root");
    e = slot_of(&s, s.b, 0, QUIRE_LEVELS);
    *e |= ENTRY_WRITE;
    n += wanted(&s, "writable in a shared root");
    s.c->root = free_frame(&s);
    n += wanted(&s, "is no root");
    s.c->root = QI_NO_FRAME;
    s.c->root_own = 1;
    n += wanted(&s, "is no root");
    FIGURES("%u kinds of damage", n);
    scene_end(&s);
}

/*
 * Goal: homes, side frames and tables without parents are checked.  Method: each broken in one
 * word.
 */
static void homes(void)
{
    struct scene s;
    unsigned n = 0;
    pfn_t lender, leaf;

    scene_begin(&s);
    lender = leaf_of(&s, s.a, 0);
    leaf = leaf_of(&s, s.b, 0);
    record(&s, pfn_at(s.a, PAGE(1)))->home++;
    n += wanted(&s, "does not name it");
    record(&s, pfn_at(s.a, PAGE(1)))->home = home_make(free_frame(&s), 0);
    n += wanted(&s, "no leaf");
    record(&s, pfn_at(s.a, PAGE(1)))->home = home_make(0, 0);
    n += wanted(&s, "no leaf");
    record(&s, pfn_at(s.a, PAGE(1)))->home = home_make(s.a->root, 0);
    n += wanted(&s, "no leaf");
    record(&s, lender)->level = 2;
    n += wanted(&s, "lends nothing");
    record(&s, lender)->level = 2;
    n += wanted(&s, "its side frame");
    record(&s, lender)->side = 0;
    n += wanted(&s, "its side frame");
    record(&s, lender)->side = QI_NO_FRAME;
    n += wanted(&s, "lends nothing");
    record(&s, lender)->side = free_frame(&s);
    n += wanted(&s, "its side frame");
    record(&s, leaf)->side = record(&s, lender)->side;
    n += wanted(&s, "side frames");
    record(&s, leaf)->level = 2;
    n += wanted(&s, "is no table of level");
    record(&s, s.b->root)->share--;
    n += wanted(&s, "share differs");
    s.q->live_spaces++;
    n += wanted(&s, "spaces: ");
    s.c->root_own = 1;
    n += wanted(&s, "is said to be its own");
    s.a->regions = NULL;
    n += wanted(&s, "outside any region");
    FIGURES("%u kinds of damage", n);
    scene_end(&s);
}

/*
 * Goal: the region tree's own rules are checked.  Method: bounds, order, heights, gaps, each broken
 * in one node.
 */
static void regions(void)
{
    struct scene s;
    unsigned n = 0;

    scene_begin(&s);
    s.b->regions->end += 1;
    n += wanted(&s, "region at");
    s.b->regions->start = s.b->regions->end;
    n += wanted(&s, "region at");
    s.b->regions->end = MMU_ADDRESS_END + PAGE(1);
    n += wanted(&s, "region at");
    s.b->regions->height++;
    n += wanted(&s, "height");
    s.b->regions->gap++;
    n += wanted(&s, "gap");
    s.b->regions->prot = RW;
    n += wanted(&s, "region at");
    FIGURES("%u kinds of damage", n);
    scene_end(&s);
}

/*
 * Goal: what neighbours, subtrees and flags of regions say is checked too.  Method: a tree of seven
 * regions that touch, readable and writable in turn; and one word of it.
 */
static void neighbours(void)
{
    struct scene s;
    struct quire_space *space;
    struct qi_region *top;
    unsigned n = 0;

    scene_begin(&s);
    space = space_new(&s.u);
    for (unsigned i = 0; i < 7; i++)
        map(&s.u, space, PAGE(2 * i), PAGE(2), i & 1 ? RW : R);
    scene_keep(&s);
    top = space->regions;
    CHECK(top->start == PAGE(6) && top->left->right && top->right->left);
    top->left->right->end += PAGE(1);
    n += wanted(&s, "overlaps");
    top->right->left->start -= PAGE(1);
    n += wanted(&s, "overlaps");
    top->prot = R;
    top->flags = 0;
    n += wanted(&s, "should be merged");
    top->right->left->prot = RW;
    top->right->left->flags = QI_REGION_CHARGED;
    n += wanted(&s, "should be merged");
    top->left = NULL;
    n += wanted(&s, "height");
    top->right = NULL;
    n += wanted(&s, "height");
    top->below ^= QI_REGION_FORK_WORK;
    n += wanted(&s, "promises");
    top->left->below ^= QI_REGION_FORK_WORK;
    n += wanted(&s, "promises");
    top->right->below ^= QI_REGION_FORK_WORK;
    n += wanted(&s, "promises");
    top->flags |= QUIRE_REGION_RESERVED;
    n += wanted(&s, "protection");
    top->flags = 0;
    n += wanted(&s, "protection");
    s.q->low = PAGE(1);
    n += wanted(&s, "region at");
    s.q->nodes.used++;
    n += wanted(&s, "region nodes");
    record(&s, frame_of(&s.q->frames, top))->share++;
    n += wanted(&s, "region nodes");
    ((struct qi_region *)qi_region_find(s.a->regions, LEAF + PAGE(2)))->flags |=
        QUIRE_REGION_RESERVED;
    n += wanted(&s, "readable, in a region that forbids it");
    FIGURES("%u kinds of damage", n);
    end(&s.u, space);
    scene_end(&s);
}

/*
 * Goal: pins and promises are recounted.  Method: a pinned page that says that it is an orphan, an
 * orphan without pins, and each count one too many.
 */
static void pins(void)
{
    struct scene s;
    struct quire_run run;
    struct quire_pin pin;
    struct qi_frame *page;
    unsigned n = 0;

    scene_begin(&s);
    CHECK_OK(quire_pin(s.a, LEAF, 1, QUIRE_READ, &run, 1, &pin));
    scene_keep(&s);
    page = record(&s, run.first);
    page->share |= QI_ORPHAN;
    n += wanted(&s, "pins, home");
    page->share = QI_ORPHAN;
    page->home = QI_NO_HOME;
    n += wanted(&s, "pins, home");
    page->share++;
    n += wanted(&s, "by handles");
    s.q->pins[pin.slot].pages++;
    n += wanted(&s, "by handles");
    s.q->committed++;
    n += wanted(&s, "promised pages");
    FIGURES("%u kinds of damage", n);
    CHECK_OK(quire_unpin(s.q, &pin));
    scene_end(&s);
}

/* A table that nobody walks any more, and that still lends `kind`. */
static pfn_t prototype_leaf(struct scene *s, enum qi_kind kind, unsigned *index)
{
    for (uint32_t i = 0; i < s->q->frames.count; i++) {
        pfn_t pfn = s->q->frames.first + i;

        if (s->q->frames.records[i].state != QI_FRAME_TABLE || s->q->frames.records[i].share != 0)
            continue;
        for (*index = 0; *index < QUIRE_TABLE_ENTRIES; ++*index) {
            if (entry_kind(table_entries(s->q, pfn)[*index], 1) == kind)
                return pfn;
        }
    }
    CHECK(!"no such table");
    return 0;
}

/*
 * Goal: a table without parents holds homes in use and nothing else.  Method: one that lends a page
 * and one that lends a barred page, their lender gone; then each broken in one word.
 */
static void prototypes(void)
{
    struct scene s;
    struct quire_space *space;
    unsigned n = 0, index;
    pfn_t leaf;

    scene_begin(&s);
    space = fork_of(&s.u, s.a);
    put(&s.u, space, LEAF, 3);
    end(&s.u, s.a);
    s.a = NULL;
    scene_keep(&s);
    (void)prototype_leaf(&s, QI_BARRED, &index);
    leaf = prototype_leaf(&s, QI_OWN, &index);
    table_side(s.q, record(&s, leaf))->uses[index] = 0;
    n += wanted(&s, "in a table without parents");
    record(&s, leaf)->side = 0;
    n += wanted(&s, "in a table without parents");
    table_entries(s.q, leaf)[index] = entry_absent(QI_CODE_GUARD, 0, 0);
    n += wanted(&s, "in a table without parents");
    record(&s, leaf)->present = 0;
    n += wanted(&s, "no parents, and");
    record(&s, leaf)->level = 2;
    n += wanted(&s, "no parents, and");
    FIGURES("%u kinds of damage", n);
    end(&s.u, space);
    scene_end(&s);
}

/* Between two slices of a destroy: the list of what waits. */
static void damage_what_waits(struct test_world *world)
{
    struct scene *s = world->context;
    pfn_t first = s->q->drop_list;

    CHECK(quire_check(s->q) == 0);
    if (first == QI_NO_FRAME || record(s, first)->next == QI_NO_FRAME)
        return;
    world->yield = NULL;
    scene_keep(s);
    s->q->drop_list = QI_NO_FRAME;
    wanted(s, "dying tables");
    record(s, first)->next = QI_NO_FRAME;
    wanted(s, "dying tables");
    s->q->drop_list = UINT32_MAX - 1;
    wanted(s, "dying tables");
    record(s, first)->next = first;
    wanted(s, "dying tables");
}

/*
 * Goal: the list of dying tables is followed with care.  Method: while two tables wait, the list is
 * empty, too short, leaves the arena, or bites its tail.
 */
static void dying(void)
{
    struct scene s;
    struct quire_space *space;

    scene_begin(&s);
    space = space_new(&s.u);
    map(&s.u, space, 0, 2 * LEAF, RW);
    put(&s.u, space, 0, 1);
    put(&s.u, space, LEAF, 1);
    s.u.w.context = &s;
    s.u.w.yield = damage_what_waits;
    test_run(&s.u.w, 0, NULL);
    quire_space_destroy(space);
    CHECK(!s.u.w.yield);
    scene_end(&s);
}

/*
 * Goal: a manager without frames is sound.  Method: the auditor, before any were added.
 */
static void no_frames(void)
{
    struct unit u;

    begin_with(&u, &(struct test_options){.no_frames = true});
    CHECK(quire_check(u.w.q) == 0);
    u.w.q->committed++;
    u.w.quiet = true;
    CHECK(quire_check(u.w.q) == 1);
    test_world_destroy(&u.w);
}

/* ---- sections -------------------------------------------------------------------------------- */

/* A section of two leaves that a shared view can write, and a private one reads. */
static struct quire_section *sections_begin(struct scene *s)
{
    struct quire_section *section;
    vaddr_t shared = 0, private = 2 * LEAF;

    begin_with(&s->u, &(struct test_options){.max_sections = 2, .frames = MICRO ? 128 : 2048});
    s->q = s->u.w.q;
    s->a = space_new(&s->u);
    s->b = space_new(&s->u);
    s->c = fork_of(&s->u, s->b);
    CHECK_OK(quire_section_create(s->q, 2 * LEAF, NULL, NULL, &section));
    CHECK_OK(quire_map_view(s->a, &shared, 2 * LEAF, RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED,
                            section, 0));
    CHECK_OK(quire_map_view(s->b, &private, LEAF, RW, QUIRE_MAP_FIXED, section, 0));
    put(&s->u, s->a, 0, 1);
    put(&s->u, s->a, LEAF, 2);
    CHECK(get(&s->u, s->b, private) == 1);
    test_run(&s->u.w, 0, NULL);
    s->healthy = test_world_copy(&s->u.w);
    return section;
}

/*
 * Goal: damage to a section, its tree and its views is found.  Method: one word each.
 */
static void sections(void)
{
    struct scene s;
    struct quire_section *section = sections_begin(&s);
    struct quire_section *free_record = &s.q->sections[1 - section->index];
    pfn_t leaf = qi_section_leaf(section, 0), root = section->root;
    entry_t *home = &table_entries(s.q, leaf)[0], *e;
    unsigned n = 0;

    s.a->regions->view = 0;
    n += wanted(&s, "in no view of one");
    section->state = QI_SECTION_FREE;
    n += wanted(&s, "in no view of one");
    s.a->regions->view += 1;
    n += wanted(&s, "not page");
    section->size = PAGE(1);
    n += wanted(&s, "beyond the end");
    s.a->regions->flags &= (uint8_t)~QUIRE_REGION_SHARED;
    n += wanted(&s, "not its own alone");
    *home &= ~(entry_t)ENTRY_FOLDED;
    n += wanted(&s, "does not count as changed");
    e = slot_of(&s, s.a, 0, 1);
    *e &= ~ENTRY_SECTION;
    n += wanted(&s, "but its home is in frame");
    frame_record(&s.q->frames, pfn_at(s.a, 0))->home = home_make(free_frame(&s), 0);
    n += wanted(&s, "lends nothing");
    *home &= ~ENTRY_OWN;
    n += wanted(&s, "holds no page");
    section->views++;
    n += wanted(&s, "views differ");
    section->writers++;
    n += wanted(&s, "views differ");
    section->root = free_frame(&s);
    n += wanted(&s, "none of its tables");
    section->root = 0;
    n += wanted(&s, "none of its tables");
    record(&s, leaf)->level = 2;
    n += wanted(&s, "none of its tables");
    record(&s, leaf)->section ^= 1;
    n += wanted(&s, "none of its tables");
    table_entries(s.q, root)[0] = entry_table(0);
    n += wanted(&s, "none of its tables");
    table_entries(s.q, root)[0] = entry_table(free_frame(&s));
    n += wanted(&s, "none of its tables");
    section->root = QI_NO_FRAME;
    n += wanted(&s, "tables of sections");
    section->refs = 0;
    n += wanted(&s, "0 references");
    section->limit++;
    n += wanted(&s, "references");
    section->charge++;
    n += wanted(&s, "promised");
    section->charge++;
    section->changing = 1; /* then it may be so */
    n += wanted(&s, "promised pages");
    free_record->state = QI_SECTION_LIVE;
    n += wanted(&s, "sections: 1 counted, 2 found");
    s.q->dead_sections++;
    n += wanted(&s, "dead sections: 1 counted, 0 found");
    s.q->dead_section = section->next = section;
    n += wanted(&s, "dead sections: 0 counted, 2 found");
    FIGURES("%u kinds of damage", n);
    quire_section_close(section);
    scene_end(&s);
}

/* ---- slots ----------------------------------------------------------------------------------- */

enum { SLOTS = 64 };

static uint8_t device[SLOTS << QUIRE_PAGE_SHIFT];
static struct test_file file;

static struct qi_paged *slot_at(struct scene *s, vaddr_t address)
{
    return paged_record(&s->q->paging, entry_slot(*slot_of(s, s->b, address, 1)));
}

/* Pages of b: 0 is on the device only, 1 is kept, 2 and 3 are on standby, the last is modified. */
static struct quire_pagefile *slots_begin(struct scene *s)
{
    struct quire_pagefile *pagefile;
    struct qi_cpu *cpu;

    begin_with(&s->u, &(struct test_options){.max_slots = SLOTS});
    s->q = s->u.w.q;
    s->a = NULL;
    s->b = space_new(&s->u);
    s->c = fork_of(&s->u, s->b);
    test_file_init(&file, &s->u.w, device, sizeof device);
    pagefile = test_file_page_to(&file, 0);
    map(&s->u, s->b, 0, 2 * LEAF, RW);
    for (unsigned i = 0; i < 4; i++)
        put(&s->u, s->b, PAGE(i), (uint8_t)(i + 1));
    put(&s->u, s->b, LEAF, 5);
    put(&s->u, s->b, LEAF + PAGE(3), 6);
    CHECK_OK(quire_advise_pages(s->b, 0, PAGE(4), QUIRE_PAGES_OUT));
    while (quire_balance(s->q))
        audit(&s->u);
    cpu = qi_enter(s->q);
    CHECK(qi_paged_steal(cpu, 1) == 1);
    qi_leave(cpu);
    CHECK(get(&s->u, s->b, PAGE(1)) == 2);
    CHECK_OK(quire_advise_pages(s->b, LEAF, PAGE(1), QUIRE_PAGES_OUT));
    CHECK(slot_at(s, 0)->state == QI_PAGED_OUT && slot_at(s, PAGE(3))->state == QI_PAGED_STANDBY);
    CHECK(slot_at(s, LEAF)->state == QI_PAGED_MODIFIED);
    test_run(&s->u.w, 0, NULL);
    s->healthy = test_world_copy(&s->u.w);
    return pagefile;
}

/* Goal: a slot has one owner, which fits its state.  Method: entries and states, one word each. */
static unsigned owners(struct scene *s)
{
    struct qi_frame *keeper = record(s, pfn_at(s->b, PAGE(1)));
    entry_t *out = slot_of(s, s->b, 0, 1), *listed = slot_of(s, s->b, PAGE(2), 1);
    unsigned n = 0;

    keeper->side = 0;
    n += wanted(s, "slot 0, whose state");
    *out = entry_paged(SLOTS + 1);
    n += wanted(s, "slot 65, whose state");
    *out = *listed;
    n += wanted(s, "whose state is");
    slot_at(s, 0)->state = QI_PAGED_FREE;
    n += wanted(s, "whose state is 0");
    slot_at(s, 0)->state = QI_PAGED_GONE;
    n += wanted(s, "whose state is 7");
    slot_at(s, 0)->state = QI_PAGED_KEPT;
    n += wanted(s, "whose state is 6");
    paged_record(&s->q->paging, keeper->side)->state = QI_PAGED_OUT;
    n += wanted(s, "whose state is 1");
    paged_record(&s->q->paging, SLOTS)->state = QI_PAGED_OUT;
    n += wanted(s, "state 1, and 0 owners");
    keeper->side = QI_NO_FRAME;
    n += wanted(s, "state 6, and 0 owners");
    return n;
}

/* Goal: what is on a list belongs there, and nothing else.  Method: links and counts. */
static unsigned lists(struct scene *s)
{
    struct qi_paging *p = &s->q->paging;
    struct qi_list *list = &p->modified;
    struct qi_frame *r = record(s, list->head);
    unsigned n = 0;

    list->head = UINT32_MAX - 1;
    n += wanted(s, "and should not be");
    list->head = free_frame(s);
    n += wanted(s, "and should not be");
    r->slot = 0;
    n += wanted(s, "and should not be");
    r->slot = SLOTS + 1;
    n += wanted(s, "and should not be");
    r->prev = list->head;
    n += wanted(s, "and should not be");
    paged_record(p, r->slot)->state = QI_PAGED_STANDBY;
    n += wanted(s, "and should not be");
    list->count++;
    n += wanted(s, "list of state 3: 2 counted, 1 found");
    list->tail = QI_NO_FRAME;
    n += wanted(s, "list of state 3: 1 counted, 1 found");
    return n;
}

/* Goal: a slot names the frame that names it. */
static unsigned frames_of_slots(struct scene *s)
{
    struct qi_frame *keeper = record(s, pfn_at(s->b, PAGE(1)));
    struct qi_paged *kept = paged_record(&s->q->paging, keeper->side);
    unsigned n = 0;

    kept->page = QI_NO_FRAME;
    n += wanted(s, "does not keep it");
    kept->page = s->b->root;
    n += wanted(s, "does not keep it");
    kept->page = pfn_at(s->b, LEAF + PAGE(3)); /* which has no slot */
    n += wanted(s, "does not keep it");
    slot_at(s, PAGE(2))->page = QI_NO_FRAME;
    n += wanted(s, "is not its page");
    slot_at(s, PAGE(2))->page = s->b->root;
    n += wanted(s, "is not its page");
    slot_at(s, PAGE(2))->page = slot_at(s, PAGE(3))->page;
    n += wanted(s, "is not its page");
    paged_record(&s->q->paging, SLOTS)->page = QI_NO_FRAME;
    paged_record(&s->q->paging, SLOTS)->state = QI_PAGED_GONE; /* needs no owner, but a frame */
    n += wanted(s, "is not its page");
    return n;
}

/* Goal: damage to slots, their lists, and their page files is found. */
static void slots(void)
{
    struct scene s;
    struct quire_pagefile *pagefile = slots_begin(&s);
    struct qi_paging *p = &s.q->paging;
    unsigned n = owners(&s) + lists(&s) + frames_of_slots(&s);

    chunk_of(p, 1)->used++;
    n += wanted(&s, "slots counted");
    chunk_of(p, 1)->file = 0;
    n += wanted(&s, "slots counted");
    pagefile->used++;
    n += wanted(&s, "page file 0: 6 slots counted, 5 found");
    p->used++;
    n += wanted(&s, "slots: 6 counted, 5 found");
    s.q->cpus[0].by_state[QI_FRAME_LISTED]++;
    n += wanted(&s, "slots: 5 counted, 5 found, 3 with a frame");
    FIGURES("%u kinds of damage", n);
    CHECK(quire_check(s.q) == 0);
    free(s.healthy);
    end(&s.u, s.b);
    end(&s.u, s.c);
    CHECK_OK(quire_pagefile_remove(pagefile));
    finish(&s.u);
}

CHECK_MAIN("unit.audit", TEST(frames), TEST(counts), TEST(entries), TEST(homes), TEST(regions),
           TEST(neighbours), TEST(pins), TEST(prototypes), TEST(dying), TEST(no_frames),
           TEST(sections), TEST(slots))
