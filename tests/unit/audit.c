/* SPDX-License-Identifier: MIT */
/*
 * The auditor finds what it is there to find.
 *
 * This is the one unit test that looks inside: it takes a healthy world with every kind of entry,
 * damages one word at a time, and wants a finding that says what is wrong; with the word put back
 * there is none.
 */
#include "unit.h"

#include "fault.h"

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
    begin(&s->u);
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

static void scene_end(struct scene *s)
{
    CHECK(quire_check(s->q) == 0);
    free(s->healthy);
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
    n += wanted(&s, "on list");
    s.q->frames.free++;
    n += wanted(&s, "free frames");
    s.q->frames.by_state[QI_FRAME_TAKEN]++;
    n += wanted(&s, "frames in state");
    record(&s, s.q->frames.list[0][0].head)->next = s.q->frames.list[0][0].head;
    n += wanted(&s, "free frames");
    record(&s, s.q->frames.list[0][0].head)->next = UINT32_MAX - 1;
    n += wanted(&s, "free frames");
    record(&s, s.q->frames.list[0][0].head)->prev = 0;
    n += wanted(&s, "on list");
    *(uint8_t *)frame_memory(&s.q->frames, s.q->frames.list[1][0].head) = 1;
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
    e = slot_of(&s, s.b, 0, QUIRE_LEVELS);
    *e |= ENTRY_WRITE;
    n += wanted(&s, "writable in a shared root");
    s.c->root = free_frame(&s);
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

CHECK_MAIN("unit.audit", TEST(frames), TEST(counts), TEST(entries), TEST(homes), TEST(regions))
