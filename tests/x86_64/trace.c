/* SPDX-License-Identifier: MIT */
/*
 * The operations that two machines do alike.
 *
 * A number decides everything: which CPU, which space, which operation on which range.  Every
 * status, and every word that is read, goes into a hash; so do, from time to time, the bytes and
 * kinds of all pages of all spaces and those of quire's counts that no machine has a part in.  Two
 * machines, or one with another number of CPUs, that say the same number have done the same.
 *
 * CPUs take turns of some operations each and keep what they run, so that one changes a space while
 * others hold translations of it.  A machine that forgets to tell them loads or stores where it
 * must not, and says another number.
 *
 * The pages lie around the ends of tables of each level, so that one range crosses them.
 *
 * What a machine has a part in is left out: how often a processor faults (it may, or may not, know
 * a right that was given back), and dirty and accessed bits.
 */
#include "trace.h"

#define PAGE ((uint64_t)QUIRE_PAGE_SIZE)
#define LEAF (PAGE << QUIRE_TABLE_SHIFT)
#define RW (QUIRE_READ | QUIRE_WRITE)

enum {
    AREAS = 4,
    AREA_PAGES = 32,
    WORDS = 8, /* looked at in each page */
    SECTION_PAGES = 24,
    TURN = 6 /* operations of one CPU, on average */
};

/* The middle of each area. */
static const uint64_t middle[AREAS] = {UINT64_C(0x40000000), UINT64_C(0x40200000),
                                       UINT64_C(0x8000000000), UINT64_C(0x10000400000)};

static uint64_t next(struct trace *t)
{
    uint64_t z = t->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint32_t below(struct trace *t, uint32_t n) { return (uint32_t)((next(t) >> 32) * n >> 32); }

static void mix(struct trace *t, uint64_t value)
{
    t->hash = (t->hash ^ value) * UINT64_C(0x100000001b3);
    t->hash ^= t->hash >> 29;
}

static uint64_t page_at(unsigned area, unsigned page)
{
    return middle[area] + (page - (uint64_t)AREA_PAGES / 2) * PAGE;
}

static uint64_t word_at(struct trace *t)
{
    unsigned area = below(t, AREAS), page = below(t, AREA_PAGES);

    return page_at(area, page) + below(t, WORDS) * (PAGE / WORDS);
}

/* A few pages, often; an area; or so many that all is forgotten. */
struct range {
    uint64_t start, length;
};
static struct range range(struct trace *t)
{
    unsigned area = below(t, AREAS), page = below(t, AREA_PAGES), kind = below(t, 16);

    if (kind == 0)
        return (struct range){page_at(area, 0), AREA_PAGES * PAGE};
    if (kind == 1)
        return (struct range){middle[area] - LEAF, 2 * LEAF};
    return (struct range){page_at(area, page), (1 + below(t, AREA_PAGES - page) % 8) * PAGE};
}

static uint32_t protection(struct trace *t)
{
    static const uint32_t some[] = {RW, RW, RW, QUIRE_READ, QUIRE_NONE, RW | QUIRE_EXEC};

    return some[below(t, sizeof some / sizeof *some)];
}

/* The space that runs, more often than another one; null: the one drawn does not live. */
static struct quire_space *space(struct trace *t)
{
    struct quire_space *mine = t->running[t->cpu], *other = t->spaces[below(t, TRACE_SPACES)];

    return mine && below(t, 2) ? mine : other;
}

static struct quire_space **free_place(struct trace *t)
{
    for (unsigned i = 0; i < TRACE_SPACES; i++) {
        if (!t->spaces[i])
            return &t->spaces[i];
    }
    return NULL;
}

static bool runs_somewhere(const struct trace *t, const struct quire_space *which)
{
    for (unsigned i = 0; i < TRACE_CPUS; i++) {
        if (t->running[i] == which)
            return true;
    }
    return false;
}

/* ---- operations: each is given a live space -------------------------------------------------- */

typedef enum quire_status operation(struct trace *t, struct quire_space *s);

static enum quire_status op_load(struct trace *t, struct quire_space *s)
{
    uint64_t word = 0;
    enum quire_status status;

    t->running[t->cpu] = t->running[t->cpu] ? t->running[t->cpu] : s;
    status = t->load(t->cpu, t->running[t->cpu], word_at(t), &word);
    mix(t, word);
    return status;
}

static enum quire_status op_store(struct trace *t, struct quire_space *s)
{
    uint64_t address = word_at(t), word = next(t);

    t->running[t->cpu] = t->running[t->cpu] ? t->running[t->cpu] : s;
    return t->store(t->cpu, t->running[t->cpu], address, word);
}

static enum quire_status op_switch(struct trace *t, struct quire_space *s)
{
    t->running[t->cpu] = below(t, 8) ? s : NULL;
    t->run(t->cpu, t->running[t->cpu]);
    return QUIRE_OK;
}

static enum quire_status op_read(struct trace *t, struct quire_space *s)
{
    uint64_t words[3] = {0};
    size_t done;
    enum quire_status status =
        quire_read(s, word_at(t) + PAGE - sizeof *words, words, sizeof words, &done);

    mix(t, done);
    for (size_t i = 0; i < done / sizeof *words; i++)
        mix(t, words[i]);
    return status;
}

static enum quire_status op_write(struct trace *t, struct quire_space *s)
{
    uint64_t address = word_at(t), word = next(t);
    size_t done;
    enum quire_status status = quire_write(s, address, &word, sizeof word, &done);

    mix(t, done);
    return status;
}

static enum quire_status op_map(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);
    uint32_t flags = QUIRE_MAP_FIXED | (below(t, 2) ? QUIRE_MAP_REPLACE : 0);

    return quire_map(s, &r.start, r.length, protection(t), flags);
}

static enum quire_status op_view(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);
    uint32_t flags = below(t, 2) ? QUIRE_MAP_SHARED : 0, prot = protection(t);
    uint64_t offset = below(t, SECTION_PAGES) * PAGE;

    flags |= QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;
    return quire_map_view(s, &r.start, r.length, prot, flags, t->section, offset);
}

static enum quire_status op_unmap(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);

    return quire_unmap(s, r.start, r.length);
}

static enum quire_status op_protect(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);

    return quire_protect(s, r.start, r.length, protection(t));
}

static enum quire_status op_discard(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);

    return quire_discard(s, r.start, r.length);
}

static enum quire_status op_guard(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);

    return below(t, 3) ? quire_unguard(s, r.start, r.length) : quire_guard(s, r.start, r.length);
}

static enum quire_status op_move(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);
    uint64_t to = range(t).start;
    enum quire_status status = quire_move(s, r.start, r.length, &to, r.length, QUIRE_MOVE_FIXED);

    mix(t, to);
    return status;
}

static enum quire_status op_clone(struct trace *t, struct quire_space *s)
{
    struct quire_space *to = t->spaces[below(t, TRACE_SPACES)];
    struct range r = range(t);
    uint64_t done = 0;
    enum quire_status status =
        quire_clone(s, r.start, to ? to : s, range(t).start, r.length, &done);

    mix(t, done);
    return status;
}

static enum quire_status op_populate(struct trace *t, struct quire_space *s)
{
    struct range r = range(t);
    uint64_t done = 0;
    enum quire_status status = quire_populate(s, r.start, r.length > LEAF ? PAGE : r.length,
                                              below(t, 2) ? QUIRE_WRITE : QUIRE_EXEC, &done);

    mix(t, done);
    return status;
}

static enum quire_status op_pull(struct trace *t, struct quire_space *s)
{
    mix(t, quire_space_pull(s));
    return QUIRE_OK;
}

static enum quire_status op_section(struct trace *t, struct quire_space *s)
{
    uint64_t offset = below(t, SECTION_PAGES) * PAGE, word = next(t);

    (void)s;
    switch (below(t, 3)) {
    case 0: return quire_section_discard(t->section, offset, 2 * PAGE);
    case 1: return quire_section_resize(t->section, (SECTION_PAGES / 2) * PAGE + offset);
    default: return quire_section_write(t->section, offset, &word, sizeof word, 0, NULL);
    }
}

static enum quire_status op_fork(struct trace *t, struct quire_space *s)
{
    struct quire_space **place = free_place(t);

    return place ? quire_space_fork(s, place) : QUIRE_TOO_MANY_SPACES;
}

static enum quire_status op_destroy(struct trace *t, struct quire_space *s)
{
    if (runs_somewhere(t, s))
        return QUIRE_STATUS_COUNT;
    quire_space_destroy(s);
    for (unsigned i = 0; i < TRACE_SPACES; i++) {
        if (t->spaces[i] == s)
            t->spaces[i] = NULL;
    }
    return QUIRE_OK;
}

static const struct {
    uint32_t weight;
    operation *call;
} operations[] = {
    {30, op_load},   {36, op_store}, {3, op_switch},  {4, op_read},     {5, op_write},
    {12, op_map},    {2, op_view},   {3, op_unmap},   {7, op_protect},  {3, op_discard},
    {2, op_guard},   {3, op_move},   {2, op_clone},   {2, op_populate}, {1, op_pull},
    {2, op_section}, {5, op_fork},   {4, op_destroy},
};

static operation *choose(struct trace *t)
{
    uint32_t all = 0, drawn;
    unsigned i;

    for (i = 0; i < sizeof operations / sizeof *operations; i++)
        all += operations[i].weight;
    drawn = below(t, all);
    for (i = 0; drawn >= operations[i].weight; i++)
        drawn -= operations[i].weight;
    return operations[i].call;
}

/* ---- the sequence ---------------------------------------------------------------------------- */

void trace_begin(struct trace *t, uint64_t seed)
{
    t->random = seed;
    mix(t, quire_space_create(t->q, &t->spaces[0]));
    mix(t, quire_section_create(t->q, SECTION_PAGES * PAGE, NULL, NULL, &t->section));
}

void trace_step(struct trace *t)
{
    operation *call = choose(t);
    struct quire_space *s = space(t);

    if (!s)
        s = t->spaces[0] ? t->spaces[0] : t->running[t->cpu];
    if (s) {
        enum quire_status status = call(t, s);

        t->tally += status == QUIRE_OK;
        mix(t, status);
    } else {
        mix(t, quire_space_create(t->q, &t->spaces[0]));
    }
    t->done++;
    if (below(t, TURN) == 0)
        t->cpu = below(t, TRACE_CPUS);
}

static void look_at_page(struct trace *t, struct quire_space *s, uint64_t address)
{
    struct quire_page page;
    uint64_t word = 0;

    quire_page(s, address, &page);
    mix(t, page.kind);
    if (page.kind == QUIRE_PAGE_EMPTY)
        return;
    for (unsigned i = 0; i < WORDS; i++) {
        mix(t, quire_access(s, address + i * (PAGE / WORDS), &word, sizeof word,
                            QUIRE_READ | QUIRE_FORCE, NULL));
        mix(t, word);
    }
}

uint64_t trace_look(struct trace *t)
{
    struct quire_stats stats;

    for (unsigned i = 0; i < TRACE_SPACES; i++) {
        for (unsigned j = 0; t->spaces[i] && j < AREAS * AREA_PAGES; j++)
            look_at_page(t, t->spaces[i], page_at(j / AREA_PAGES, j % AREA_PAGES));
    }
    quire_stats(t->q, &stats);
    mix(t, stats.forks);
    mix(t, stats.spaces);
    mix(t, stats.zero_fills);
    mix(t, stats.copies);
    mix(t, stats.reuses);
    mix(t, stats.committed);
    mix(t, stats.frames_data);
    mix(t, stats.frames_table);
    mix(t, stats.frames_side);
    mix(t, stats.table_share_sum);
    return t->hash;
}
