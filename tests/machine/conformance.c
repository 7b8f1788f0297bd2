/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite (see conformance.h).
 *
 * Two kinds of cases.  The *contract* cases edit the tables by hand through the direct map, call
 * the mmu_ functions as core would, and look what an access then does: they hold a machine to
 * machine.h without trusting core.  The *life* cases call quire's API (protect, unmap, fork, copy)
 * and make sure that a right which was taken away is gone at the next instruction: they hold core's
 * flushes and the machine together.
 *
 * What concerns a second CPU (flushes that must reach it) runs where there is one.
 *
 * Each case has its own space, leaves nothing behind, and is followed by the auditor.  A case stops
 * at its first failed expectation; its space is then left as it is, so that later cases do not run
 * into it.
 *
 * Freestanding: no allocation, no printf; the lines are put together in a buffer on the stack.
 */
#include "conformance.h"

#include "entry.h"

#define PAGE ((vaddr_t)QUIRE_PAGE_SIZE)
#define LEAF (PAGE << QUIRE_TABLE_SHIFT)

/* Spaces that identifiers_are_clean makes, of five frames each. */
enum { SPACES_MANY = QUIRE_ADDRESS_BITS < 32 ? 4 : 12 };

struct run {
    const struct conformance *m;
    struct quire_space *space; /* the case's own */
    vaddr_t base;
    int failed_line; /* 0: not failed */
    const char *failed_text;
};

/* In a function that returns nothing and has `struct run *r`. */
#define EXPECT(expression)                \
    do {                                  \
        if (!(expression)) {              \
            r->failed_line = __LINE__;    \
            r->failed_text = #expression; \
            return;                       \
        }                                 \
    } while (0)

/* ---- text ------------------------------------------------------------------------------------ */

struct text {
    char line[200];
    unsigned length;
};

static void text_put(struct text *t, const char *s)
{
    while (*s && t->length < sizeof t->line - 1)
        t->line[t->length++] = *s++;
    t->line[t->length] = 0;
}

static void text_put_number(struct text *t, unsigned n)
{
    char digits[12];
    unsigned i = sizeof digits;

    digits[--i] = 0;
    do
        digits[--i] = (char)('0' + n % 10);
    while (n /= 10);
    text_put(t, digits + i);
}

/* ---- accesses -------------------------------------------------------------------------------- */

/* A store stores the first byte of code, so that what lies there can still be executed. */
static bool may(struct run *r, vaddr_t address, uint32_t access)
{
    uint8_t byte = r->m->code[0];

    return r->m->attempt(r->m->context, address, access, &byte);
}

/* The attempt by the other CPU. */
static bool other_may(struct run *r, vaddr_t address, uint32_t access)
{
    uint8_t byte = r->m->code[0];

    return r->m->attempt_other(r->m->context, address, access, &byte);
}

/* The access as a program makes it: faults are resolved. */
static enum quire_status touch(struct run *r, vaddr_t address, uint32_t access, uint8_t *byte)
{
    for (int i = 0; i < 8; i++) {
        enum quire_status status;

        if (r->m->attempt(r->m->context, address, access, byte))
            return QUIRE_OK;
        status = quire_fault(r->space, address, access);
        if (status != QUIRE_OK)
            return status;
    }
    return QUIRE_STATUS_COUNT;
}

static bool put(struct run *r, vaddr_t address, uint8_t value)
{
    return touch(r, address, QUIRE_WRITE, &value) == QUIRE_OK;
}

static bool holds(struct run *r, vaddr_t address, uint8_t value)
{
    uint8_t byte = (uint8_t)~value;

    return touch(r, address, QUIRE_READ, &byte) == QUIRE_OK && byte == value;
}

/* Store the code that can be executed, so that fetches at `address` are harmless. */
static bool put_code(struct run *r, vaddr_t address)
{
    for (uint32_t i = 0; i < r->m->code_size; i++) {
        if (!put(r, address + i, r->m->code[i]))
            return false;
    }
    return true;
}

static bool map(struct run *r, vaddr_t address, uint64_t length, uint32_t prot)
{
    return quire_map(r->space, &address, length, prot, QUIRE_MAP_FIXED) == QUIRE_OK;
}

static bool protect(struct run *r, vaddr_t address, uint64_t length, uint32_t prot)
{
    return quire_protect(r->space, address, length, prot) == QUIRE_OK;
}

/* ---- tables by hand -------------------------------------------------------------------------- */

static unsigned index_at(vaddr_t address, unsigned level)
{
    return (unsigned)(address >> (QUIRE_PAGE_SHIFT + (level - 1) * QUIRE_TABLE_SHIFT)) &
           (QUIRE_TABLE_ENTRIES - 1);
}

static pfn_t points_at(entry_t e)
{
    return (pfn_t)((e & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT);
}

static entry_t pointing_at(entry_t e, pfn_t pfn)
{
    return (e & ~ENTRY_PAYLOAD_MASK) | (entry_t)pfn << ENTRY_PAYLOAD_SHIFT;
}

/* The entry for `address` in the table of `level`; null where there is no such table. */
static entry_t *entry_at(struct run *r, vaddr_t address, unsigned level)
{
    pfn_t table = quire_space_root(r->space);

    for (unsigned at = QUIRE_LEVELS;; at--) {
        entry_t *e = (entry_t *)r->m->frame(r->m->context, table) + index_at(address, at);

        if (at == level)
            return e;
        if (!(*e & ENTRY_PRESENT))
            return 0;
        table = points_at(*e);
    }
}

static void flush_space(struct run *r)
{
    mmu_flush_space(r->m->machine, r->space, quire_space_root(r->space));
}

enum flush_kind { FLUSH_PAGE, FLUSH_RANGE, FLUSH_SPACE };

/* The page at `address`, or more. */
static void flush(struct run *r, vaddr_t address, enum flush_kind how)
{
    switch (how) {
    case FLUSH_PAGE: mmu_flush_page(r->m->machine, r->space, address); break;
    case FLUSH_RANGE: mmu_flush_range(r->m->machine, r->space, address, address + PAGE); break;
    case FLUSH_SPACE: flush_space(r); break;
    }
}

/* ---- contract cases -------------------------------------------------------------------------- */

/* Goal: nothing is allowed where no entry is.  Method: attempts in a new space, mapped and not. */
static void empty_refuses(struct run *r)
{
    EXPECT(!may(r, r->base, QUIRE_READ));
    EXPECT(!may(r, r->base, QUIRE_WRITE));
    EXPECT(!may(r, r->base, QUIRE_EXEC));
    EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE | QUIRE_EXEC));
    EXPECT(!may(r, r->base, QUIRE_READ));
    EXPECT(touch(r, r->base + PAGE, QUIRE_READ, &(uint8_t){0}) == QUIRE_NOT_MAPPED);
}

/* Goal: a page allows what its region does and no more.  Method: each protection against each
 * access. */
static void rights_of_each_protection(struct run *r)
{
    static const uint32_t prots[] = {
        QUIRE_NONE,
        QUIRE_READ,
        QUIRE_READ | QUIRE_WRITE,
        QUIRE_READ | QUIRE_EXEC,
        QUIRE_READ | QUIRE_WRITE | QUIRE_EXEC,
    };

    for (unsigned i = 0; i < sizeof prots / sizeof prots[0]; i++) {
        vaddr_t page = r->base + i % 4 * PAGE + i / 4 * LEAF;

        EXPECT(map(r, page, PAGE, QUIRE_READ | QUIRE_WRITE));
        EXPECT(put_code(r, page));
        EXPECT(protect(r, page, PAGE, prots[i]));
        for (uint32_t access = QUIRE_READ; access <= QUIRE_EXEC; access *= 2) {
            uint8_t byte = r->m->code[0];
            bool allowed = (prots[i] & access) != 0;
            enum quire_status status = touch(r, page, access, &byte);

            EXPECT(status == (allowed ? QUIRE_OK : QUIRE_PROTECTED));
            EXPECT(may(r, page, access) == allowed);
        }
    }
}

/* Goal: the machine sets ACCESSED and DIRTY itself.  Method: clear both by hand, then load, then
 * store. */
static void accessed_and_dirty(struct run *r)
{
    entry_t *e, before;

    EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    e = entry_at(r, r->base, 1);
    EXPECT(e);
    before = *e;
    EXPECT((before & ENTRY_ACCESSED) && (before & ENTRY_DIRTY));
    *e = before & ~(ENTRY_ACCESSED | ENTRY_DIRTY);
    mmu_flush_page(r->m->machine, r->space, r->base);
    EXPECT(may(r, r->base, QUIRE_READ));
    EXPECT(*e & ENTRY_ACCESSED);
    EXPECT(!(*e & ENTRY_DIRTY));
    EXPECT(may(r, r->base, QUIRE_WRITE));
    EXPECT(*e & ENTRY_DIRTY);
    EXPECT((*e | ENTRY_ACCESSED | ENTRY_DIRTY) == (before | ENTRY_ACCESSED | ENTRY_DIRTY));
}

/* Goal: W is the AND down the path.  Method: clear it at one level at a time and flush the space.
 */
static void write_needs_every_level(struct run *r)
{
    EXPECT(map(r, r->base, LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    EXPECT(put(r, r->base + PAGE, 2));
    for (unsigned level = 1; level <= QUIRE_LEVELS; level++) {
        entry_t *e = entry_at(r, r->base, level);

        EXPECT(e && (*e & ENTRY_WRITE));
        *e &= ~ENTRY_WRITE;
        flush_space(r);
        EXPECT(!may(r, r->base, QUIRE_WRITE));
        EXPECT(may(r, r->base, QUIRE_READ));
        EXPECT(may(r, r->base + PAGE, QUIRE_WRITE) == (level == 1));
        *e |= ENTRY_WRITE;
        flush_space(r);
        EXPECT(may(r, r->base, QUIRE_WRITE));
    }
}

/* Goal: so is execution.  Method: the same. */
static void exec_needs_every_level(struct run *r)
{
    EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE | QUIRE_EXEC));
    EXPECT(put_code(r, r->base));
    EXPECT(touch(r, r->base, QUIRE_EXEC, &(uint8_t){0}) == QUIRE_OK);
    for (unsigned level = 1; level <= QUIRE_LEVELS; level++) {
        entry_t *e = entry_at(r, r->base, level);

        EXPECT(e && entry_exec(*e));
        *e = entry_with_exec(*e, false);
        flush_space(r);
        EXPECT(!may(r, r->base, QUIRE_EXEC));
        EXPECT(may(r, r->base, QUIRE_READ));
        *e = entry_with_exec(*e, true);
        flush_space(r);
        EXPECT(may(r, r->base, QUIRE_EXEC));
    }
}

/* Goal: an entry that is not present hides all below it.  Method: clear PRESENT at one level at a
 * time. */
static void present_needs_every_level(struct run *r)
{
    EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 7));
    for (unsigned level = 1; level <= QUIRE_LEVELS; level++) {
        entry_t *e = entry_at(r, r->base, level);
        entry_t before;

        EXPECT(e);
        before = *e;
        *e = before & ~ENTRY_PRESENT;
        mmu_flush_page(r->m->machine, r->space, r->base);
        EXPECT(!may(r, r->base, QUIRE_READ));
        EXPECT(!may(r, r->base, QUIRE_WRITE));
        *e = before;
        EXPECT(holds(r, r->base, 7));
    }
}

/* Exchange the frames of two pages by hand and flush by `how`; the bytes must be exchanged at once.
 */
static void swap_pages(struct run *r, vaddr_t a, vaddr_t b, enum flush_kind how)
{
    entry_t *ea = entry_at(r, a, 1), *eb = entry_at(r, b, 1);
    pfn_t pa = points_at(*ea), pb = points_at(*eb);

    *ea = pointing_at(*ea, pb);
    *eb = pointing_at(*eb, pa);
    flush(r, a, how);
    flush(r, b, how);
}

/* Goal: each flush forgets what it covers.  Method: exchange two frames under their translations.
 */
static void flushes_cover(struct run *r)
{
    vaddr_t a = r->base + PAGE, b = r->base + LEAF + 2 * PAGE;

    EXPECT(map(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, a, 10));
    EXPECT(put(r, b, 20));
    for (int how = FLUSH_PAGE; how <= FLUSH_SPACE; how++) {
        EXPECT(holds(r, a, 10));
        EXPECT(holds(r, b, 20));
        swap_pages(r, a, b, (enum flush_kind)how);
        EXPECT(holds(r, a, 20));
        EXPECT(holds(r, b, 10));
        swap_pages(r, a, b, (enum flush_kind)how);
    }
    EXPECT(holds(r, a, 10));
}

/* Goal: a range flush ends at its ends.  Method: a range of many pages, each of which changed. */
static void flush_range_covers_all(struct run *r)
{
    vaddr_t low = r->base, high = r->base + 2 * LEAF;

    EXPECT(map(r, low, 2 * LEAF, QUIRE_READ | QUIRE_WRITE));
    for (vaddr_t a = low; a < high; a += LEAF / 4)
        EXPECT(put(r, a, 1));
    for (vaddr_t a = low; a < high; a += LEAF / 4)
        *entry_at(r, a, 1) &= ~ENTRY_WRITE;
    mmu_flush_range(r->m->machine, r->space, low, high);
    for (vaddr_t a = low; a < high; a += LEAF / 4) {
        EXPECT(!may(r, a, QUIRE_WRITE));
        EXPECT(may(r, a, QUIRE_READ));
        *entry_at(r, a, 1) |= ENTRY_WRITE;
    }
    mmu_flush_range(r->m->machine, r->space, low, high);
}

/*
 * Goal: a page flush also forgets the pointers to the page's tables.  Method: at each level below
 * the root, put a copy of the table in its place which leads to another page in the end.
 */
static void flush_covers_tables(struct run *r)
{
    vaddr_t a = r->base, other = r->base + LEAF - PAGE;
    pfn_t copies[QUIRE_LEVELS + 1];
    unsigned top = QUIRE_LEVELS - 1;

    EXPECT(map(r, r->base, LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, a, 1));
    EXPECT(put(r, other, 2));
    for (unsigned level = 1; level <= top; level++)
        EXPECT(quire_frame_take(r->m->q, &copies[level]) == QUIRE_OK);
    for (unsigned level = 1; level <= top; level++) {
        entry_t *parent = entry_at(r, a, level + 1), before = *parent;

        /* Copies of `level` and all below it; the lowest has the other page's frame at a. */
        for (unsigned at = level; at >= 1; at--) {
            entry_t *from = entry_at(r, a, at) - index_at(a, at);
            entry_t *to = r->m->frame(r->m->context, copies[at]);

            for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
                to[i] = from[i];
            if (at > 1)
                to[index_at(a, at)] = pointing_at(to[index_at(a, at)], copies[at - 1]);
            else
                to[index_at(a, 1)] = to[index_at(other, 1)];
        }
        EXPECT(holds(r, a, 1));
        *parent = pointing_at(before, copies[level]);
        mmu_flush_page(r->m->machine, r->space, a);
        EXPECT(holds(r, a, 2));
        *parent = before;
        mmu_flush_page(r->m->machine, r->space, a);
        EXPECT(holds(r, a, 1));
    }
    flush_space(r);
    for (unsigned level = 1; level <= top; level++)
        quire_frame_give(r->m->q, copies[level]);
}

/*
 * Goal: a flush reaches a space that does not run.  Method: translations of a space, another one
 * runs, the first one's tables change and are flushed each way, and it runs again.
 */
static void flushes_cover_who_rests(struct run *r)
{
    struct quire_space *other;
    vaddr_t a = r->base + PAGE, b = r->base + LEAF + 2 * PAGE;

    EXPECT(quire_space_create(r->m->q, &other) == QUIRE_OK);
    EXPECT(map(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, a, 10));
    EXPECT(put(r, b, 20));
    for (int how = FLUSH_PAGE; how <= FLUSH_SPACE; how++) {
        EXPECT(holds(r, a, 10));
        EXPECT(holds(r, b, 20));
        r->m->run(r->m->context, other);
        EXPECT(!may(r, a, QUIRE_READ));
        swap_pages(r, a, b, (enum flush_kind)how);
        r->m->run(r->m->context, r->space);
        EXPECT(holds(r, a, 20));
        EXPECT(holds(r, b, 10));
        swap_pages(r, a, b, (enum flush_kind)how);
    }
    quire_space_destroy(other);
    EXPECT(holds(r, a, 10));
}

/*
 * Goal: a flush reaches another CPU.  Method: it holds a writable translation, W is cleared by hand
 * at each level and flushed each way, and its next attempt is refused; the same while it runs
 * another space, and comes back.
 */
static void flushes_reach_the_other(struct run *r)
{
    struct quire_space *second;

    if (!r->m->run_other)
        return;
    EXPECT(quire_space_create(r->m->q, &second) == QUIRE_OK);
    EXPECT(map(r, r->base, LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    for (unsigned n = 0; n < 6 * QUIRE_LEVELS; n++) {
        unsigned level = 1 + n / 6, how = n % 3;
        bool rests = n % 6 >= 3;
        entry_t *e = entry_at(r, r->base, level);

        r->m->run_other(r->m->context, r->space);
        EXPECT(other_may(r, r->base, QUIRE_WRITE));
        if (rests)
            r->m->run_other(r->m->context, second);
        *e &= ~ENTRY_WRITE;
        flush(r, r->base, (enum flush_kind)how);
        if (rests)
            r->m->run_other(r->m->context, r->space);
        EXPECT(!other_may(r, r->base, QUIRE_WRITE));
        EXPECT(other_may(r, r->base, QUIRE_READ));
        EXPECT(!may(r, r->base, QUIRE_WRITE));
        *e |= ENTRY_WRITE;
        flush(r, r->base, FLUSH_SPACE);
    }
    r->m->run_other(r->m->context, 0);
    quire_space_destroy(second);
}

/* Goal: more rights need no flush.  Method: refuse, loosen by hand, fault (which finds nothing to
 * do), retry. */
static void loosening_needs_no_flush(struct run *r)
{
    EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    for (unsigned level = 1; level <= QUIRE_LEVELS; level++) {
        entry_t *e = entry_at(r, r->base, level);

        *e &= ~ENTRY_WRITE;
        flush_space(r);
        EXPECT(may(r, r->base, QUIRE_READ));
        EXPECT(!may(r, r->base, QUIRE_WRITE));
        *e |= ENTRY_WRITE;
        EXPECT(quire_fault(r->space, r->base, QUIRE_WRITE) == QUIRE_OK);
        EXPECT(may(r, r->base, QUIRE_WRITE));
    }
}

/* Goal: what of a root is the machine's is the same in each.  Method: compare the roots of two
 * spaces. */
static void roots_agree(struct run *r)
{
    struct quire_space *other;
    const entry_t *a, *b;
    bool equal = true;

    EXPECT(quire_space_create(r->m->q, &other) == QUIRE_OK);
    a = r->m->frame(r->m->context, quire_space_root(r->space));
    b = r->m->frame(r->m->context, quire_space_root(other));
    for (unsigned i = MMU_ROOT_ENTRIES; i < QUIRE_TABLE_ENTRIES; i++)
        equal = equal && a[i] == b[i];
    for (unsigned i = 0; i < MMU_ROOT_ENTRIES; i++)
        equal = equal && a[i] == 0 && b[i] == 0;
    quire_space_destroy(other);
    EXPECT(equal);
}

/* Goal: spaces do not see each other.  Method: the same addresses in two, run in turn, and none
 * between. */
static void spaces_are_apart(struct run *r)
{
    struct quire_space *first = r->space, *second;

    EXPECT(quire_space_create(r->m->q, &second) == QUIRE_OK);
    EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    for (int i = 0; i < 3; i++) {
        r->m->run(r->m->context, second);
        r->space = second;
        if (i == 0) {
            EXPECT(!may(r, r->base, QUIRE_READ));
            EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE));
            EXPECT(put(r, r->base, 2));
        }
        EXPECT(holds(r, r->base, 2));
        r->m->run(r->m->context, 0);
        EXPECT(!may(r, r->base, QUIRE_READ));
        r->m->run(r->m->context, first);
        r->space = first;
        EXPECT(holds(r, r->base, 1));
    }
    quire_space_destroy(second);
    EXPECT(holds(r, r->base, 1));
}

/* A space more, which runs: the i-th of several, with the byte i + 1 in its i-th page. */
static bool nth_space(struct run *r, struct quire_space **out, unsigned i)
{
    if (quire_space_create(r->m->q, out) != QUIRE_OK)
        return false;
    r->m->run(r->m->context, *out);
    r->space = *out;
    return map(r, r->base, SPACES_MANY * PAGE, QUIRE_READ | QUIRE_WRITE) &&
           put(r, r->base + i * PAGE, (uint8_t)(i + 1));
}

/* The space that runs has the byte in its i-th page, and no translation of another one's. */
static bool is_nth_space(struct run *r, unsigned i)
{
    for (unsigned page = 0; page < SPACES_MANY; page++) {
        if (page != i && may(r, r->base + page * PAGE, QUIRE_READ))
            return false;
    }
    return holds(r, r->base + i * PAGE, (uint8_t)(i + 1));
}

/*
 * Goal: an identifier that is used again brings nothing with it (bugs.md row 19).  Method: more
 * spaces than a CPU has identifiers for, in turn; then few, with identifiers that run out again and
 * again; flushes that take new ones, and spaces that die and come back.
 */
static void identifiers_are_clean(struct run *r)
{
    struct quire_space *first = r->space, *spaces[SPACES_MANY];

    for (unsigned i = 0; i < SPACES_MANY; i++)
        EXPECT(nth_space(r, &spaces[i], i));
    for (unsigned n = 0; n < 16 * SPACES_MANY; n++) {
        unsigned i = n % (n < 4 * SPACES_MANY ? SPACES_MANY : 3);

        if (n % 12 == 0 && r->m->wear)
            r->m->wear(r->m->context);
        r->m->run(r->m->context, spaces[i]);
        r->space = spaces[i];
        EXPECT(is_nth_space(r, i));
        if (n % 5 == 0)
            flush_space(r);
        if (n % 7 == 0) {
            r->m->run(r->m->context, 0);
            quire_space_destroy(spaces[i]);
            EXPECT(nth_space(r, &spaces[i], i));
        }
    }
    r->m->run(r->m->context, first);
    r->space = first;
    for (unsigned i = 0; i < SPACES_MANY; i++)
        quire_space_destroy(spaces[i]);
}

/* Goal: no translation outlives its space.  Method: spaces made and destroyed where the last one
 * was. */
static void dead_spaces_are_forgotten(struct run *r)
{
    struct quire_space *first = r->space;

    for (uint8_t i = 1; i < 6; i++) {
        struct quire_space *next;

        EXPECT(quire_space_create(r->m->q, &next) == QUIRE_OK);
        r->m->run(r->m->context, next);
        r->space = next;
        EXPECT(!may(r, r->base, QUIRE_READ));
        EXPECT(map(r, r->base, PAGE, QUIRE_READ | QUIRE_WRITE));
        EXPECT(holds(r, r->base, 0));
        EXPECT(put(r, r->base, i));
        r->m->run(r->m->context, 0);
        quire_space_destroy(next);
        r->space = first;
    }
    r->m->run(r->m->context, first);
}

/* ---- life cases ------------------------------------------------------------------------------ */

/* Goal: a right that protect takes away is gone when it returns.  Method: touch, protect, attempt.
 */
static void protect_is_at_once(struct run *r)
{
    EXPECT(map(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_WRITE | QUIRE_EXEC));
    for (vaddr_t a = r->base; a < r->base + 2 * LEAF; a += LEAF / 2) {
        EXPECT(put_code(r, a));
        EXPECT(touch(r, a, QUIRE_EXEC, &(uint8_t){0}) == QUIRE_OK);
    }
    EXPECT(protect(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_EXEC));
    for (vaddr_t a = r->base; a < r->base + 2 * LEAF; a += LEAF / 2) {
        EXPECT(!may(r, a, QUIRE_WRITE));
        EXPECT(holds(r, a, r->m->code[0]));
    }
    EXPECT(protect(r, r->base, 2 * LEAF, QUIRE_READ));
    EXPECT(!may(r, r->base, QUIRE_EXEC));
    EXPECT(protect(r, r->base, 2 * LEAF, QUIRE_NONE));
    EXPECT(!may(r, r->base, QUIRE_READ));
    EXPECT(protect(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(holds(r, r->base, r->m->code[0]));
    EXPECT(put(r, r->base, 9));
}

/* Goal: unmapped is unreachable, and mapped again is zero.  Method: touch, unmap, attempt, map,
 * load. */
static void unmap_is_at_once(struct run *r)
{
    EXPECT(map(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    EXPECT(put(r, r->base + LEAF, 2));
    EXPECT(put(r, r->base + LEAF + PAGE, 3));
    EXPECT(quire_unmap(r->space, r->base, LEAF + PAGE) == QUIRE_OK);
    EXPECT(!may(r, r->base, QUIRE_READ));
    EXPECT(!may(r, r->base + LEAF, QUIRE_READ));
    EXPECT(holds(r, r->base + LEAF + PAGE, 3));
    EXPECT(map(r, r->base, LEAF + PAGE, QUIRE_READ | QUIRE_WRITE));
    EXPECT(holds(r, r->base, 0));
    EXPECT(holds(r, r->base + LEAF, 0));
}

/*
 * Goal: after fork, neither side's stores reach the other, without a missed flush on the side that
 * held writable translations.  Method: writable translations in the parent, fork, stores by both,
 * in both orders.
 */
static void fork_takes_writes_away(struct run *r)
{
    struct quire_space *parent = r->space, *child;

    EXPECT(map(r, r->base, 2 * LEAF, QUIRE_READ | QUIRE_WRITE));
    EXPECT(put(r, r->base, 1));
    EXPECT(put(r, r->base + PAGE, 1));
    EXPECT(put(r, r->base + LEAF, 1));
    EXPECT(quire_space_fork(parent, &child) == QUIRE_OK);
    EXPECT(!may(r, r->base, QUIRE_WRITE));
    EXPECT(!may(r, r->base + LEAF, QUIRE_WRITE));
    EXPECT(put(r, r->base, 2));
    EXPECT(holds(r, r->base, 2));
    EXPECT(holds(r, r->base + PAGE, 1));
    r->m->run(r->m->context, child);
    r->space = child;
    EXPECT(!may(r, r->base, QUIRE_WRITE));
    EXPECT(holds(r, r->base, 1));
    EXPECT(put(r, r->base + PAGE, 3));
    EXPECT(put(r, r->base + LEAF, 3));
    r->m->run(r->m->context, parent);
    r->space = parent;
    EXPECT(holds(r, r->base + PAGE, 1));
    EXPECT(holds(r, r->base + LEAF, 1));
    EXPECT(put(r, r->base + LEAF, 4));
    r->m->run(r->m->context, child);
    r->space = child;
    EXPECT(holds(r, r->base + LEAF, 3));
    r->m->run(r->m->context, parent);
    r->space = parent;
    quire_space_destroy(child);
    EXPECT(holds(r, r->base, 2));
    EXPECT(put(r, r->base + PAGE, 5));
}

/*
 * Goal: a reader whose table was unshared reads the new one.  Method: translations and table
 * pointers made by reads after a fork, then a write by either side in the same leaf, then reads of
 * other pages of it.
 */
static void unshare_replaces_tables(struct run *r)
{
    struct quire_space *parent = r->space, *child;

    EXPECT(map(r, r->base, LEAF, QUIRE_READ | QUIRE_WRITE));
    for (vaddr_t a = r->base; a < r->base + LEAF; a += LEAF / 4)
        EXPECT(put(r, a, 1));
    EXPECT(quire_space_fork(parent, &child) == QUIRE_OK);
    for (vaddr_t a = r->base; a < r->base + LEAF; a += LEAF / 4)
        EXPECT(holds(r, a, 1));
    r->m->run(r->m->context, child);
    r->space = child;
    for (vaddr_t a = r->base; a < r->base + LEAF; a += LEAF / 4)
        EXPECT(holds(r, a, 1));
    EXPECT(put(r, r->base, 2));
    r->m->run(r->m->context, parent);
    r->space = parent;
    EXPECT(put(r, r->base + LEAF / 4, 3));
    EXPECT(put(r, r->base + LEAF / 2, 3));
    EXPECT(holds(r, r->base, 1));
    r->m->run(r->m->context, child);
    r->space = child;
    EXPECT(holds(r, r->base, 2));
    EXPECT(holds(r, r->base + LEAF / 4, 1));
    EXPECT(put(r, r->base + LEAF / 2, 4));
    r->m->run(r->m->context, parent);
    r->space = parent;
    EXPECT(holds(r, r->base + LEAF / 2, 3));
    quire_space_destroy(child);
}

/* Goal: the zero page is never written.  Method: read, then write, one page; another one still
 * reads as zero. */
static void zero_page_stays_zero(struct run *r)
{
    EXPECT(map(r, r->base, 2 * PAGE, QUIRE_READ | QUIRE_WRITE));
    EXPECT(holds(r, r->base, 0));
    EXPECT(holds(r, r->base + PAGE, 0));
    EXPECT(!may(r, r->base, QUIRE_WRITE));
    EXPECT(put(r, r->base, 0xff));
    EXPECT(holds(r, r->base, 0xff));
    EXPECT(holds(r, r->base + PAGE, 0));
}

/* ---- the table of cases ---------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(struct run *r);
} cases[] = {
    {"empty_refuses", empty_refuses},
    {"rights_of_each_protection", rights_of_each_protection},
    {"accessed_and_dirty", accessed_and_dirty},
    {"write_needs_every_level", write_needs_every_level},
    {"exec_needs_every_level", exec_needs_every_level},
    {"present_needs_every_level", present_needs_every_level},
    {"flushes_cover", flushes_cover},
    {"flush_range_covers_all", flush_range_covers_all},
    {"flush_covers_tables", flush_covers_tables},
    {"flushes_cover_who_rests", flushes_cover_who_rests},
    {"flushes_reach_the_other", flushes_reach_the_other},
    {"loosening_needs_no_flush", loosening_needs_no_flush},
    {"roots_agree", roots_agree},
    {"spaces_are_apart", spaces_are_apart},
    {"identifiers_are_clean", identifiers_are_clean},
    {"dead_spaces_are_forgotten", dead_spaces_are_forgotten},
    {"protect_is_at_once", protect_is_at_once},
    {"unmap_is_at_once", unmap_is_at_once},
    {"fork_takes_writes_away", fork_takes_writes_away},
    {"unshare_replaces_tables", unshare_replaces_tables},
    {"zero_page_stays_zero", zero_page_stays_zero},
};

/* One case in a space of its own; true if it held. */
static bool run_case(const struct conformance *m, unsigned n)
{
    struct run r = {.m = m, .base = m->base};
    struct text text = {.length = 0};

    if (quire_space_create(m->q, &r.space) != QUIRE_OK) {
        r.failed_line = __LINE__;
        r.failed_text = "a space can be created";
    } else {
        m->run(m->context, r.space);
        cases[n].run(&r);
        m->run(m->context, 0);
    }
    if (!r.failed_line) {
        quire_space_destroy(r.space);
        if (m->audit(m->context)) {
            r.failed_line = __LINE__;
            r.failed_text = "the auditor finds nothing";
        }
    }
    if (!r.failed_line)
        return true;
    text_put(&text, "conformance: ");
    text_put(&text, cases[n].name);
    text_put(&text, " failed, line ");
    text_put_number(&text, (unsigned)r.failed_line);
    text_put(&text, ": ");
    text_put(&text, r.failed_text);
    m->print(m->context, text.line);
    return false;
}

unsigned conformance_run(const struct conformance *machine)
{
    unsigned count = sizeof cases / sizeof cases[0], failed = 0;
    struct text text = {.length = 0};

    for (unsigned n = 0; n < count; n++)
        failed += !run_case(machine, n);
    text_put(&text, failed ? "conformance: FAILED " : "conformance: ok ");
    text_put_number(&text, failed ? failed : count);
    text_put(&text, failed ? " cases of " : " cases");
    if (failed)
        text_put_number(&text, count);
    machine->print(machine->context, text.line);
    return failed;
}
