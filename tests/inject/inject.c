/* SPDX-License-Identifier: MIT */
/*
 * Failure at every point.
 *
 * A scenario is a list of steps, each an operation that succeeds when there is memory and devices
 * work.  It is run once undisturbed, which gives the bytes that every space holds in the end.  Then
 * it is run again
 *   - for every passage i through a failure site (core/hook.h), with failure at i once, and with
 *     failure from i on, until a step has been refused;
 *   - with every number of frames from one to what it needs, without and with some in reserve;
 *   - if it has a file or a page file, for every transfer i, read or write, as for every passage:
 *     with plenty of frames and with as few as are enough; with transfers that end at once, and
 *     with those that end when somebody waits, the first or the newest of them.
 *
 * When a step is refused:
 *   - the status is QUIRE_NO_MEMORY, QUIRE_TOO_MANY_SPACES where a space's record was refused, or
 *     QUIRE_IO_ERROR where a transfer has failed within the step;
 *   - the state is what it was: the canonical form (tests/search/canon.h, exact contents; W and A
 *     bits aside) and the number of free frames;
 *   - the auditor and the TLBs are content;
 *   - an access was not refused with as many frames free as it takes; unmap and protect were not
 *     refused while the reserve was enough, and nothing else takes from it;
 *   - the step succeeds when it is tried again with memory and working devices, and in the end all
 *     bytes are those of the first run.
 *
 * Besides the scenarios written below, which were thought of, some hundred are made at random.
 *
 * A copy of several pages may be refused in the middle: it is then continued from there, and the
 * state before it is not compared.  A site that no scenario passes fails the test.
 *
 * In scenarios with a section or a page file the forms are not compared either, nor the frames that
 * are free: a refused access may have brought pages, and a failure once may be made good by them.
 * Bytes and audits are as everywhere.  A failed transfer need not refuse anything (a page is read
 * again alone, a page that could not be written stays), but a sync says whether a write has failed
 * in it, and when it says that none has, what is in memory is in the file.
 */
#define _GNU_SOURCE
#include "inject.h"

#include "canon.h"
#include "pager.h"
#include "section.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of a scenario made at random; and of any. */
enum { STEPS_MADE = 28, TEXT_MAX = 1024, STEPS_MAX = 256 };
enum {
    SPACES = 6,
    PAGES = 64,
    FRAMES = 160,
    TAKEN = 8,
    BULK = 4 * QUIRE_PAGE_SIZE,
    PINS = 4,
    RUNS = 8,
    SECTION_SIZE = (QUIRE_TABLE_ENTRIES + 4) * QUIRE_PAGE_SIZE, /* to page 8, see address_of */
};

/*
 * Steps: c create, f fork (to the second space), d destroy; m map, u unmap, p protect, with first
 * page, number of pages, and protection; w store, r load, x fetch a page; W quire_write, R
 * quire_read from the middle of a page, with pages; l clone pages to another first page, L to the
 * same place of another space; t take a frame, g give it; h lock pages in memory, H unlock them.
 * S makes the section, with pages and 1 for one with a file; V views it, with first page, number of
 * pages and 1 for shared; then y sync, z resize to pages, q discard its pages from and to, e write
 * one of its pages, i forget what is clean, E close.
 */
static const char *const scenarios[] = {
    "c A; m A 0 64 3; w A 0; w A 1; w A 16; f A B; w A 0; w B 1; f B C; w C 16; w B 0; r C 1; "
    "d A; w B 1; w C 0; d B; w C 1; w C 17",
    "c A; m A 0 64 3; w A 0; w A 1; w A 2; w A 3; f A B; w B 0; f B C; w C 1; f C D; w D 2; "
    "f D E; w E 3; w A 0; w A 3; d C; w B 1; d A; w D 0; w E 0; d D; w E 1; w E 2; d B; w E 0",
    "c A; m A 0 32 3; w A 0; w A 1; w A 2; w A 5; w A 17; w A 18; f A B; u A 1 1; w B 1; "
    "u B 2 16; w A 2; m B 4 4 3; w B 5; f A C; u C 0 3; u A 16 3; w A 0; u C 4 28; d B; w A 5",
    "c A; m A 0 64 3; w A 0; w A 1; w A 5; w A 20; f A B; p A 0 4 0; p A 0 1 1; r A 0; w B 1; "
    "p A 0 4 3; w A 1; f A C; p C 0 16 0; p C 5 1 3; w C 5; p C 0 16 1; r C 0; p B 0 64 0; "
    "p B 20 1 3; w B 20; p B 0 64 3; w B 0; r B 1; d A; w C 20",
    "c A; m A 0 64 3; p A 1 1 1; p A 3 1 1; p A 5 1 0; p A 7 1 5; p A 9 1 1; p A 11 1 1; f A B; "
    "p B 2 9 3; u A 4 4; u A 20 5; m A 21 2 1; p A 0 4 1; u B 30 1; u B 32 1; u B 34 1; u B 36 1; "
    "p A 21 1 3; u B 29 9; m B 29 9 3; p B 0 64 1; p B 0 64 3; w B 30; d A; w B 1",
    "c A; m A 0 64 3; W A 0 4; W A 14 4; f A B; W B 2 3; R A 1 3; W A 14 3; f B C; R C 14 4; "
    "W C 0 2; d B; W A 3 2; W C 3 2; R C 0 4",
    "c A; m A 0 64 7; x A 0; w A 1; p A 0 4 5; x A 1; f A B; p B 0 2 1; r B 0; p B 0 2 5; x B 0; "
    "p A 1 1 7; x A 1; w A 1; p B 0 64 7; w B 1; x B 2; d A; w B 0; x B 1",
    "t; t; c A; m A 0 4 3; w A 0; t; f A B; t; w B 0; g; w A 1; g; t; d A; w B 2; g; g; g",
    "c A; m A 0 64 1; r A 0; r A 21; r A 42; r A 63; f A B; p A 0 64 3; w A 21; w A 63; r B 22; "
    "f B C; u C 16 32; r C 0; r C 63; p C 48 16 3; w C 63; w C 48; u A 0 64; m A 0 64 3; w A 0; "
    "d B; w C 62",
    "c A; m A 0 16 3; w A 0; w A 15; c B; m B 8 8 3; w B 8; f A C; f B D; w C 0; w D 8; d A; d B; "
    "f C A; f D B; w A 0; w B 8; w C 15; u A 0 16; u B 8 4; d C; d D; w B 15",
    "c A; m A 3 10 3; w A 3; w A 4; w A 12; f A B; f A C; p B 3 1 1; p B 4 1 0; p C 3 10 0; w A 3; "
    "d A; p B 3 2 3; w B 4; w B 3; p C 3 5 1; r C 3; r C 4; p C 3 10 3; w C 12; d B; w C 3; w C 4",
    "c A; m A 0 64 3; w A 0; w A 4; w A 16; w A 32; f A B; u A 2 40; u B 1 2; w A 0; w B 0; f A C; "
    "p B 3 30 0; p B 4 1 3; w B 4; p B 5 28 3; w B 16; u C 0 1; w A 43; u B 0 64; d C; w A 1",
    "c A; m A 0 64 3; w A 0; w A 3; w A 17; w A 40; o A 0 4 2; o A 16 4 1; f A B; w A 1; f B C; r "
    "C 0; "
    "w B 2; o B 36 8 2; f B D; w D 41; d B; w C 3; d A; w D 5; w C 21",
    "c A; m A 0 64 3; w A 0; w A 1; w A 16; P A 0 2; P A 16 1; f A B; w A 0; w A 2; w B 1; f A C; "
    "w C 0; "
    "u A 16 2; f A D; Q; w D 0; Q; w A 1; d A; w B 0; w C 1",
    "c A; m A 0 32 3; w A 0; w A 1; w A 5; w A 9; f A B; k A 1 2; n A 5 3; w A 5; f A C; j A 1 2; "
    "w A 1; "
    "v A 8 4 40; w A 41; v A 0 4 20; w A 20; f A D; v D 20 4 1; w D 2; d B; w C 5; k C 4 3; d A; "
    "w D 41",
    "c A; c B; m A 0 64 3; m B 0 64 3; w A 0; w A 1; w A 3; w A 16; w B 1; L A B 0 4; w A 0; w B "
    "1; "
    "l A 0 2 20; f A C; L C B 16 2; w C 16; l B 0 2 5; w B 5; P A 16 1; L A B 16 1; w A 16; Q; d "
    "A; "
    "w B 16; l C 0 1 2; w C 20; l B 4 2 32; d C; w B 33; w B 0",
    "S 8 1; c A; V A 0 8 1; V A 16 8 0; r A 0; w A 1; w A 17; w A 18; f A B; w B 18; w B 2; y; r A "
    "3; w A 1; f B C; r C 19; z 3; w C 1; z 8; w C 3; i; r A 4; q 0 2; r B 0; w B 20; e 5; y; u A "
    "1 2; p A 16 4 1; p A 16 4 3; w A 19; d B; E; w C 5; r A 7; d A; r C 4",
    "S 8 0; c A; V A 0 8 1; c B; V B 2 6 1; V B 20 4 0; w A 0; r B 3; w B 2; e 4; r A 4; w B 20; f "
    "B "
    "C; w C 21; w C 3; q 0 8; r A 0; w B 2; z 2; w A 1; z 7; i; w A 6; v B 2 2 40; w B 40; n B 20 "
    "4; "
    "w B 20; k A 0 2; j A 0 2; r A 0; P A 2 1; f A D; Q; E; d A; w D 6; d B; r C 2; d D",
    "D; c A; m A 0 64 3; w A 0; w A 1; w A 5; w A 17; O A 0 20; r A 1; w A 0; f A B; O A 0 8; w B "
    "5; "
    "r A 5; O B 0 8; u A 0 2; w B 1; f B C; O C 0 64; w C 17; d A; O B 0 64; r B 0; p B 4 2 1; r B "
    "5; "
    "P B 17 1; O B 0 64; Q; v C 0 4 40; w C 41; d B; O C 0 64; r C 40",
    "D; S 8 1; c A; V A 0 8 1; V A 16 8 0; m A 32 16 3; w A 0; w A 1; w A 17; w A 18; w A 32; w A "
    "33; O A 0 64; r A 0; f A B; w A 1; w B 33; r B 17; O B 0 64; O A 0 64; y; u A 32 2; w B 32; w "
    "B 2; i; h B 32 2; O B 0 64; w A 18; H B 32 2; z 6; O A 0 64; y; d A; w B 19; O B 0 64; E; r B "
    "33; r B 4",
    "D; S 8 0; c A; V A 0 8 1; c B; V B 2 6 1; V B 20 4 0; w A 0; w A 3; w B 4; w B 20; O A 0 64; "
    "O B 0 64; r B 3; w A 0; f B C; w C 21; e 5; O C 0 64; q 0 2; w A 1; n B 20 1; w B 20; z 3; O "
    "A 0 64; z 8; P A 2 1; O A 0 64; Q; r C 20; d B; O C 0 64; w C 2; E; d A; r C 3",
    "D; c A; m A 0 64 3; w A 0; w A 17; o A 4 4 2; o A 20 2 2; h A 16 4; f A B; O A 0 64; w A 17; "
    "H A 17 2; f A C; d A; w B 17; r C 0",
};
#define SCENARIOS ((unsigned)(sizeof scenarios / sizeof scenarios[0]))

struct step {
    char kind;
    unsigned space, a, b, c;
};

/* When transfers end: when they begin; or when somebody waits, one of those that have begun. */
enum order { AT_ONCE, FIRST, NEWEST, ORDERS };

/* How a scenario is run. */
struct trial {
    uint32_t frames, reserve;
    enum order order;
    bool transfers;    /* they are what is counted, and fails; else passages of sites */
    uint64_t at;       /* which fails; 0: none */
    bool from_then_on; /* those after it too, until a step is refused */
};

static struct inject {
    struct inject_result *result;
    const char *scenario;
    struct trial trial;
    struct test_failure transfers, *failing; /* test_failure, or transfers */
    uint64_t passed_by[STEPS_MAX]; /* what is counted, up to the end of each step, undisturbed */
    struct test_world world;
    struct quire_space *space[SPACES];
    unsigned char bytes[SPACES][PAGES][QUIRE_PAGE_SIZE]; /* of the undisturbed run, at the end */
    pfn_t taken[TAKEN];
    unsigned taken_count, step;
    uint32_t frames_added;
    unsigned done_pages; /* of a copy that was refused in the middle */
    unsigned refusals;
    uint32_t least_free;
    struct quire_pin pin[PINS];
    struct quire_run run[PINS][RUNS];
    unsigned pinned, unpinned;
    struct test_file file, swap;
    struct quire_section *section;
    bool brings; /* a refused access may have brought pages: of a section, or from a page file */
    unsigned char disk[SECTION_SIZE], slots[PAGES << QUIRE_PAGE_SHIFT];
    jmp_buf out;
} J;

/* In words. */
static void trial_say(char *to, size_t size)
{
    static const char *const ends[ORDERS] = {"at once", "the first first", "the newest first"};
    const struct trial *t = &J.trial;
    int n = snprintf(to, size, "%u frames, %u in reserve, ", t->frames, t->reserve);

    if (t->transfers)
        n += snprintf(to + n, size - (size_t)n, "transfers end %s, ", ends[t->order]);
    if (t->at == 0)
        snprintf(to + n, size - (size_t)n, "no failure");
    else
        snprintf(to + n, size - (size_t)n, "failure %s %s %llu",
                 t->from_then_on ? "from" : "once at", t->transfers ? "transfer" : "passage",
                 (unsigned long long)t->at);
}

static _Noreturn void __attribute__((format(printf, 1, 2))) fail(const char *format, ...)
{
    char how[160];
    va_list args;

    trial_say(how, sizeof how);
    int n = snprintf(J.result->why, sizeof J.result->why, "%s, step %u: ", how, J.step);
    va_start(args, format);
    vsnprintf(J.result->why + n, sizeof J.result->why - (size_t)n, format, args);
    va_end(args);
    snprintf(J.result->scenario, sizeof J.result->scenario, "%s", J.scenario);
    J.result->failed = true;
    longjmp(J.out, 1);
}

/*
 * Pages 0 to 3 lie in one leaf, 4 to 7 in the next, 16 and following below the next middle table,
 * in every geometry; from page 0 to 4 is all that a leaf covers.
 */
static vaddr_t address_of(unsigned page)
{
    return ((vaddr_t)(page & 3) + ((vaddr_t)(page >> 2 & 3) << QUIRE_TABLE_SHIFT) +
            ((vaddr_t)(page >> 4) << 2 * QUIRE_TABLE_SHIFT))
           << QUIRE_PAGE_SHIFT;
}

/* ---- scenarios made at random ---------------------------------------------------------------- */

/* What is mapped with which protection (0x80: mapped), so that every step made is one that
 * succeeds. */
struct plan {
    uint64_t random;
    bool pages_out; /* one step of four, to a page file */
    bool live[SPACES];
    uint8_t prot[SPACES][PAGES];
    char *text;
    size_t size, at;
};

static unsigned below(struct plan *p, unsigned n)
{
    return (unsigned)((test_random(&p->random) >> 32) * n >> 32);
}

static void __attribute__((format(printf, 2, 3))) plan_put(struct plan *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    p->at += (size_t)vsnprintf(p->text + p->at, p->size - p->at, format, args);
    va_end(args);
}

/* Mostly the first leaves, so that steps meet. */
static unsigned plan_page(struct plan *p)
{
    return below(p, 3) ? below(p, 6) : below(p, 4) ? 14 + below(p, 6) : below(p, PAGES);
}

static unsigned plan_count(struct plan *p, unsigned page)
{
    static const unsigned counts[] = {1, 1, 2, 3, 4, 4, 8, 16, 32, 64};
    unsigned n = counts[below(p, sizeof counts / sizeof counts[0])];

    return n < PAGES - page ? n : PAGES - page;
}

static void plan_range(struct plan *p, unsigned s)
{
    static const unsigned prots[] = {3, 3, 3, 1, 0, 5, 7};
    unsigned page = plan_page(p), count = plan_count(p, page), mapped = 0;
    unsigned prot = prots[below(p, 7)];
    char kind;

    for (unsigned i = 0; i < count; i++)
        mapped += p->prot[s][page + i] != 0;
    if (mapped == count && below(p, 4))
        kind = 'p';
    else
        kind = mapped == 0 ? 'm' : 'u';
    memset(&p->prot[s][page], kind == 'u' ? 0 : (int)(0x80 | prot), count);
    plan_put(p, "%c %c %u %u", kind, 'A' + s, page, count);
    plan_put(p, kind == 'u' ? "; " : " %u; ", prot);
}

static void plan_access(struct plan *p, unsigned s)
{
    unsigned page = plan_page(p), prot = p->prot[s][page];

    if (prot & QUIRE_WRITE && below(p, 4))
        plan_put(p, "w %c %u; ", 'A' + s, page);
    else if (prot & QUIRE_EXEC)
        plan_put(p, "x %c %u; ", 'A' + s, page);
    else if (prot & QUIRE_READ)
        plan_put(p, "r %c %u; ", 'A' + s, page);
}

static void plan_fork(struct plan *p, unsigned s)
{
    for (unsigned child = 0; child < SPACES; child++) {
        if (p->live[child])
            continue;
        p->live[child] = true;
        memcpy(p->prot[child], p->prot[s], PAGES);
        plan_put(p, "f %c %c; ", 'A' + s, 'A' + child);
        return;
    }
}

static void plan_out(struct plan *p, unsigned s)
{
    unsigned page = plan_page(p);

    plan_put(p, "O %c %u %u; ", 'A' + s, page, plan_count(p, page));
}

static void plan_make(uint64_t seed, char *text, size_t size)
{
    struct plan p = {.random = seed, .pages_out = seed % 8 == 0, .text = text, .size = size};

    p.live[0] = true;
    memset(p.prot[0], 0x80 | 3, PAGES);
    if (p.pages_out)
        plan_put(&p, "D; ");
    plan_put(&p, "c A; m A 0 64 3; w A 0; w A 1; ");
    for (unsigned i = 0; i < STEPS_MADE; i++) {
        unsigned s = below(&p, SPACES), n = below(&p, 20);

        while (!p.live[s])
            s = (s + 1) % SPACES;
        if (p.pages_out && below(&p, 4) == 0)
            plan_out(&p, s);
        else if (n < 10)
            plan_access(&p, s);
        else if (n < 15)
            plan_range(&p, s);
        else if (n < 18)
            plan_fork(&p, s);
        else if (n < 19) {
            unsigned others = 0;
            for (unsigned o = 0; o < SPACES; o++)
                others += o != s && p.live[o];
            if (others == 0)
                continue;
            p.live[s] = false;
            plan_put(&p, "d %c; ", 'A' + s);
        }
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* The next step of the text; false: there is none. */
static bool step_read(const char **text, struct step *s)
{
    unsigned numbers[3] = {0};
    unsigned n = 0;

    *s = (struct step){0};
    for (; **text && **text != ';'; ++*text) {
        char c = **text;

        if (c == ' ')
            continue;
        if (!s->kind)
            s->kind = c;
        else if (c >= 'A' && c <= 'F' && (*text)[-1] == ' ' && n == 0 && (*text)[-2] == s->kind)
            s->space = (unsigned)(c - 'A');
        else if (c >= 'A' && c <= 'F')
            numbers[n++] = (unsigned)(c - 'A');
        else {
            while (**text >= '0' && **text <= '9')
                numbers[n] = numbers[n] * 10 + (unsigned)(*(*text)++ - '0');
            --*text;
            n++;
        }
    }
    *text += **text == ';';
    s->a = numbers[0];
    s->b = numbers[1];
    s->c = numbers[2];
    return s->kind != 0;
}

static enum quire_status do_copy(const struct step *s)
{
    unsigned char bytes[BULK];
    vaddr_t from = address_of(s->a) + QUIRE_PAGE_SIZE / 2 + (vaddr_t)J.done_pages * QUIRE_PAGE_SIZE;
    size_t length = (size_t)(s->b - J.done_pages) * QUIRE_PAGE_SIZE, done = 0;
    enum quire_status status;

    memset(bytes, (int)(s->space * 50 + J.step), sizeof bytes);
    if (length == 0)
        return QUIRE_OK;
    /* In pieces of a page, so that what was done before a refusal is known by the page. */
    for (; J.done_pages < s->b; J.done_pages++, from += QUIRE_PAGE_SIZE) {
        status = s->kind == 'W'
                     ? quire_write(J.space[s->space], from, bytes, QUIRE_PAGE_SIZE, &done)
                     : quire_read(J.space[s->space], from, bytes, QUIRE_PAGE_SIZE, &done);
        if (status != QUIRE_OK)
            return status;
    }
    J.done_pages = 0;
    return QUIRE_OK;
}

static enum quire_status do_access(const struct step *s)
{
    struct soft_cpu *cpu = J.world.cpu[s->space];
    uint64_t value = (uint64_t)(J.step + 1) << 8 | s->space;

    switch (s->kind) {
    case 'w': return soft_store(cpu, address_of(s->a), &value, sizeof value);
    case 'r': return soft_load(cpu, address_of(s->a), &value, sizeof value);
    default: return soft_fetch(cpu, address_of(s->a), NULL);
    }
}

static enum quire_status do_space(const struct step *s)
{
    unsigned made = s->kind == 'f' ? s->a : s->space;
    enum quire_status status = QUIRE_OK;

    if (s->kind == 'd') {
        soft_cpu_run(J.world.cpu[made], J.world.q, NULL);
        quire_space_destroy(J.space[made]);
        J.space[made] = NULL;
        return status;
    }
    status = s->kind == 'f' ? quire_space_fork(J.space[s->space], &J.space[made])
                            : quire_space_create(J.world.q, &J.space[made]);
    if (status == QUIRE_OK)
        soft_cpu_run(J.world.cpu[made], J.world.q, J.space[made]);
    return status;
}

static enum quire_status do_frame(const struct step *s)
{
    if (s->kind == 'g') {
        quire_frame_give(J.world.q, J.taken[--J.taken_count]);
        return QUIRE_OK;
    }
    enum quire_status status = quire_frame_take(J.world.q, &J.taken[J.taken_count]);
    J.taken_count += status == QUIRE_OK;
    return status;
}

static enum quire_status do_move(const struct step *s)
{
    vaddr_t from = address_of(s->a), to = address_of(s->c);
    uint64_t length = address_of(s->a + s->b) - from;

    return quire_move(J.space[s->space], from, length, &to, length, QUIRE_MOVE_FIXED);
}

static enum quire_status do_clone(const struct step *s)
{
    bool there = s->kind == 'L';
    unsigned first = there ? s->b : s->a, count = there ? s->c : s->b;
    vaddr_t from = address_of(first), to = there ? from : address_of(s->c);

    return quire_clone(J.space[s->space], from, J.space[there ? s->a : s->space], to,
                       address_of(first + count) - from, NULL);
}

/* Pins are let go in the order in which they were made. */
static enum quire_status do_pin(const struct step *s)
{
    vaddr_t at = address_of(s->a);
    unsigned i = s->kind == 'P' ? J.pinned : J.unpinned;

    if (s->kind == 'Q') {
        J.unpinned++;
        return quire_unpin(J.world.q, &J.pin[i]);
    }
    enum quire_status status = quire_pin(J.space[s->space], at, address_of(s->a + s->b) - at,
                                         QUIRE_WRITE, J.run[i], RUNS, &J.pin[i]);
    J.pinned += status == QUIRE_OK;
    return status;
}

/* ---- devices --------------------------------------------------------------------------------- */

static bool transfer_fails(struct test_file *file, const struct quire_io *io)
{
    (void)file, (void)io;
    return test_failure_pass(&J.transfers);
}

static void device_init(struct test_file *file, unsigned char *bytes, size_t size)
{
    test_file_init(file, &J.world, bytes, size);
    file->fails = transfer_fails;
    file->late = J.trial.order != AT_ONCE;
}

/* One of those that wait; false: there is none. */
static bool transfer_end(void)
{
    struct test_file *file = J.file.waiting_count > 0 ? &J.file : &J.swap;

    if (file->waiting_count == 0)
        return false;
    test_file_end(file, J.trial.order == NEWEST ? file->waiting_count - 1 : 0);
    return true;
}

static void wait_io(struct test_world *world, struct quire_section *section)
{
    (void)world, (void)section;
    if (!transfer_end())
        fail("a transfer is waited for, and there is none");
}

static const unsigned char *frame_bytes(pfn_t pfn)
{
    return J.world.frames + ((size_t)(pfn - J.world.config.first_frame) << QUIRE_PAGE_SHIFT);
}

/* Everything has been written back: the first page in memory that is not what the file has. */
static uint64_t unwritten_page(void)
{
    struct qi_cpu *cpu = qi_enter(J.world.q);
    uint64_t end = qi_pages_up(quire_section_size(J.section)), page = 0;

    for (; page < end; page++) {
        entry_t e = qi_section_peek(J.section, page);

        if (entry_present(e) && memcmp(frame_bytes(entry_pfn(e)),
                                       J.disk + (page << QUIRE_PAGE_SHIFT), QUIRE_PAGE_SIZE) != 0)
            break;
    }
    qi_leave(cpu);
    return page < end ? page : UINT64_MAX;
}

static enum quire_status do_sync(void)
{
    uint64_t failed = J.file.failed_writes, page;
    enum quire_status status = quire_section_sync(J.section, 0, UINT64_MAX, 0, NULL);

    failed = J.file.failed_writes - failed;
    if (status != (failed ? QUIRE_IO_ERROR : QUIRE_OK))
        fail("%llu writes have failed, and a sync says %s", (unsigned long long)failed,
             quire_status_name(status));
    if (!failed && J.file.bytes && (page = unwritten_page()) != UINT64_MAX)
        fail("page %llu was written back, and is not in the file", (unsigned long long)page);
    return status;
}

static vaddr_t section_offset(unsigned page)
{
    return address_of(page) < SECTION_SIZE ? address_of(page) : SECTION_SIZE;
}

static enum quire_status do_section(const struct step *s)
{
    unsigned char bytes[QUIRE_PAGE_SIZE];
    vaddr_t at = section_offset(s->a);

    switch (s->kind) {
    case 'S':
        device_init(&J.file, s->b ? J.disk : NULL, SECTION_SIZE);
        for (unsigned i = 0; i < 8; i++)
            memset(J.disk + address_of(i), (int)(0x80 + i), QUIRE_PAGE_SIZE);
        return test_file_open(&J.file, at, &J.section);
    case 'y': return do_sync();
    case 'z': return quire_section_resize(J.section, at);
    case 'q': return quire_section_discard(J.section, at, section_offset(s->b) - at);
    case 'i': (void)quire_section_purge(J.section, 0, UINT64_MAX, true); return QUIRE_OK;
    case 'e':
        memset(bytes, (int)J.step, sizeof bytes);
        return quire_section_write(J.section, at, bytes, sizeof bytes, 0, NULL);
    default:
        quire_section_close(J.section);
        J.section = NULL;
        return QUIRE_OK;
    }
}

static enum quire_status do_view(const struct step *s)
{
    vaddr_t at = address_of(s->a);

    return quire_map_view(J.space[s->space], &at, address_of(s->a + s->b) - at,
                          QUIRE_READ | QUIRE_WRITE, QUIRE_MAP_FIXED | (s->c ? QUIRE_MAP_SHARED : 0),
                          J.section, 0);
}

/*
 * Pages leave, and those that are written lose their frames.  After a write that failed no other is
 * begun, for a device that goes on failing would have them begun for ever.  Of writes that end late
 * one ends here, so that some pages are wanted again in the middle of theirs.
 */
static enum quire_status do_page(const struct step *s)
{
    vaddr_t at = address_of(s->a);
    uint64_t failed = J.transfers.failed;
    enum quire_status status;
    struct qi_cpu *cpu;

    if (s->kind == 'D') {
        memset(J.slots, 0xee, sizeof J.slots); /* nothing of the run before is found in them */
        device_init(&J.swap, J.slots, sizeof J.slots);
        test_file_page_to(&J.swap, QUIRE_PAGEFILE_CHECKSUM);
        return QUIRE_OK;
    }
    status =
        quire_advise_pages(J.space[s->space], at, address_of(s->a + s->b) - at, QUIRE_PAGES_OUT);
    while (J.transfers.failed == failed && qi_page_out(J.world.q))
        ;
    (void)transfer_end();
    cpu = qi_enter(J.world.q);
    qi_paged_steal(cpu, UINT32_MAX);
    qi_leave(cpu);
    return status;
}

static enum quire_status step_do(const struct step *s)
{
    vaddr_t at = address_of(s->a);
    uint64_t length = address_of(s->a + s->b) - at;

    switch (s->kind) {
    case 'c':
    case 'f':
    case 'd': return do_space(s);
    case 'm': return quire_map(J.space[s->space], &at, length, s->c, QUIRE_MAP_FIXED);
    case 'u': return quire_unmap(J.space[s->space], at, length);
    case 'p': return quire_protect(J.space[s->space], at, length, s->c);
    case 'w':
    case 'r':
    case 'x': return do_access(s);
    case 'W':
    case 'R': return do_copy(s);
    case 't':
    case 'g': return do_frame(s);
    case 'o': return quire_advise(J.space[s->space], at, length, (enum quire_advice)s->c);
    case 'k': return quire_guard(J.space[s->space], at, length);
    case 'h': return quire_lock(J.space[s->space], at, length);
    case 'H': return quire_unlock(J.space[s->space], at, length);
    case 'j': return quire_unguard(J.space[s->space], at, length);
    case 'n': return quire_discard(J.space[s->space], at, length);
    case 'v': return do_move(s);
    case 'l':
    case 'L': return do_clone(s);
    case 'P':
    case 'Q': return do_pin(s);
    case 'S':
    case 'y':
    case 'z':
    case 'q':
    case 'i':
    case 'e':
    case 'E': return do_section(s);
    case 'V': return do_view(s);
    case 'D':
    case 'O': return do_page(s);
    default: fail("no step is called %c", s->kind);
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void audit(void)
{
    if (test_world_findings(&J.world) || J.world.machine->violations)
        fail("audit: %s", J.world.report);
}

/* Within a call too. */
static uint32_t frames_free(void)
{
    return qi_frames_in_state(J.world.q, QI_FRAME_FREE) +
           qi_frames_in_state(J.world.q, QI_FRAME_ZEROED);
}

static const unsigned char *page_bytes(unsigned s, unsigned page)
{
    static const unsigned char zeros[QUIRE_PAGE_SIZE];
    static unsigned char shown[QUIRE_PAGE_SIZE];
    struct quire_page p;

    if (!J.space[s])
        return zeros;
    if (J.brings) /* a view shows more than its tables hold */
        return quire_access(J.space[s], address_of(page), shown, sizeof shown,
                            QUIRE_READ | QUIRE_FORCE, NULL) == QUIRE_OK
                   ? shown
                   : zeros;
    quire_page(J.space[s], address_of(page), &p);
    if (p.kind == QUIRE_PAGE_EMPTY || p.kind == QUIRE_PAGE_GUARD)
        return zeros;
    return frame_bytes(p.pfn);
}

static void more_frames(void)
{
    if (J.frames_added == FRAMES)
        return;
    if (quire_add_frames(J.world.q, J.world.config.first_frame + J.frames_added,
                         FRAMES - J.frames_added) != QUIRE_OK)
        fail("frames can not be added");
    J.frames_added = FRAMES;
}

static void compare_end(bool first)
{
    if (J.brings) /* and so does looking */
        more_frames();
    for (unsigned s = 0; s < SPACES; s++) {
        for (unsigned page = 0; page < PAGES; page++) {
            if (first)
                memcpy(J.bytes[s][page], page_bytes(s, page), QUIRE_PAGE_SIZE);
            else if (memcmp(J.bytes[s][page], page_bytes(s, page), QUIRE_PAGE_SIZE) != 0)
                fail("page %u of %c is not what it was without failures", page, 'A' + (int)s);
        }
    }
    for (unsigned s = 0; s < SPACES; s++) {
        if (J.space[s])
            do_space(&(struct step){.kind = 'd', .space = s});
    }
    while (J.taken_count > 0)
        quire_frame_give(J.world.q, J.taken[--J.taken_count]);
    if (J.section)
        (void)do_section(&(struct step){.kind = 'E'});
    while (transfer_end())
        ;
    if (J.file.world && J.file.gone != 1)
        fail("the section has gone %u times", J.file.gone);
    audit();
    /* The zero page is the one frame that stays. */
    if (frames_free() + 1 != J.frames_added)
        fail("%llu of %u frames are free in the end", (unsigned long long)frames_free(),
             J.frames_added);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/*
 * Unmapping may take from the reserve, so without one it is refused as well.  Not so with a page
 * file: a search that lets pages leave is content only with more than is needed (core/balance.c),
 * and the next call may find that what has left is enough.
 */
static bool is_urgent(const struct step *s) { return s->kind == 'u'; }

static void reserve_check(const struct step *s)
{
    if (!is_urgent(s) || J.world.options.reserve == 0 || J.swap.world)
        return;
    J.world.q->frames.reserve = 0;
    if (step_do(s) != QUIRE_NO_MEMORY)
        fail("it was refused, and the reserve was enough for it");
    J.world.q->frames.reserve = J.world.options.reserve;
}

/*
 * The fewest frames that were free at any time within a step that is tried again: seen at each
 * access to shared state.
 */
static void least_free_look(const void *address, bool write)
{
    (void)address;
    (void)write;
    uint32_t free = frames_free();

    if (free < J.least_free)
        J.least_free = free;
}

static bool is_access(const struct step *s)
{
    return s->kind == 'w' || s->kind == 'r' || s->kind == 'x';
}

/*
 * An access was refused with `had` frames free, and takes `used` at its worst moment: were there
 * enough?  A write that copies tables may ask for one more, because only then it is known that its
 * page needs no copy.
 */
static void need_check(const struct step *s, uint64_t had, uint32_t used)
{
    uint64_t asked = used + (s->kind == 'w' && used > 0) + J.world.options.reserve;

    if (had >= asked)
        fail("refused with %llu frames free, and it takes %u", (unsigned long long)had, used);
}

/* Does it come before the passage that fails?  Then it is what it was in the undisturbed run, after
 * which everything was looked at. */
static bool is_same_again(void) { return J.trial.at > 0 && J.passed_by[J.step] < J.trial.at; }

/* May a step be refused so?  `failed`: a passage, or transfer, has failed in it. */
static bool is_right(enum quire_status status, bool failed)
{
    if (status == QUIRE_NO_MEMORY && J.frames_added < FRAMES)
        return true;
    if (status == QUIRE_NO_MEMORY)
        return failed && !J.trial.transfers;
    return failed && status == (J.trial.transfers ? QUIRE_IO_ERROR : QUIRE_TOO_MANY_SPACES);
}

/*
 * A refused step, tried again with devices that work.  False: there is no memory for it.  That is
 * right where there are few frames and all that could leave has been written: what is enough
 * depends on what came before, for a search is content only with some frames more than the call
 * counts (core/balance.c), and an edit of regions counts frames that it has given back itself.
 */
static bool step_recovers(const struct step *s)
{
    enum quire_status status = step_do(s);
    uint32_t unwritten = qi_load(&J.world.q->paging.modified.count);

    if (status == QUIRE_NO_MEMORY && J.frames_added < FRAMES && unwritten == 0)
        return false;
    if (status != QUIRE_OK)
        fail("%s when tried again with devices that work, and %u pages to be written",
             quire_status_name(status), unwritten);
    return true;
}

/* The same with memory; `tight`: it was refused while only `had` frames were free. */
static void step_again(const struct step *s, bool tight, uint64_t had)
{
    more_frames();
    uint32_t free_again = J.least_free = frames_free();
    test_touch = least_free_look;
    enum quire_status status = step_do(s);
    test_touch = NULL;
    least_free_look(NULL, false);
    if (tight && is_access(s) && !J.brings)
        need_check(s, had, free_again - J.least_free);
    if (status != QUIRE_OK)
        fail("%s when tried again with memory", quire_status_name(status));
}

/* A step, and where it is refused, that nothing has changed, and that it can be done after that. */
static void step_run(const struct step *s)
{
    if (is_same_again()) {
        if (step_do(s) != QUIRE_OK)
            fail("it was refused before the failure");
        return;
    }
    static struct canon before, after;
    uint64_t free_before = frames_free(), failed_before = J.failing->failed;
    enum quire_status status;
    bool copy = s->kind == 'W' || s->kind == 'R' || J.brings;

    if (!copy)
        canon_write(&before, J.world.q, J.space, SPACES, CANON_EXACT_VALUES | CANON_NO_HARDWARE);
    status = step_do(s);
    audit();
    if (status == QUIRE_OK) {
        /* What does not free memory in the end leaves the reserve alone. */
        if (!is_urgent(s) && frames_free() < free_before && frames_free() < J.world.options.reserve)
            fail("it took from the reserve");
        return;
    }
    J.refusals++;
    J.result->failures++;
    bool failed = J.failing->failed > failed_before;
    bool tight = status == QUIRE_NO_MEMORY && J.frames_added < FRAMES;
    if (!is_right(status, failed))
        fail("%s", quire_status_name(status));
    if (!copy)
        canon_write(&after, J.world.q, J.space, SPACES, CANON_EXACT_VALUES | CANON_NO_HARDWARE);
    if (!copy && (before.size != after.size || memcmp(before.bytes, after.bytes, before.size) != 0))
        fail("it was refused, and the state is another");
    if (!copy && frames_free() != free_before)
        fail("it was refused, and %llu frames are free, not %llu",
             (unsigned long long)frames_free(), (unsigned long long)free_before);
    J.failing->at = 0;
    if (tight)
        reserve_check(s);
    if (!J.trial.transfers || !step_recovers(s))
        step_again(s, tight, free_before);
    audit();
}

static void failure_set(const struct trial *t)
{
    test_failure_set(0, false, 0);
    J.transfers = (struct test_failure){0};
    J.failing = t->transfers ? &J.transfers : &test_failure;
    J.failing->at = t->at;
    J.failing->from_then_on = t->from_then_on;
}

/* The steps; returns how many passages or transfers there were. */
static uint64_t run(const struct trial *t)
{
    const char *text = J.scenario;
    struct step s;

    J.trial = *t;
    test_world_create(&J.world, &(struct test_options){.frames = FRAMES,
                                                       .max_spaces = SPACES,
                                                       .max_pins = PINS,
                                                       .max_sections = 1,
                                                       .cpus = SPACES,
                                                       /* A refusal is not helped by another CPU's
                                                          cache. */
                                                       .callers = 1,
                                                       .held = 64,
                                                       .reserve = t->reserve,
                                                       .max_slots = PAGES,
                                                       .keep_free = 1,
                                                       .no_frames = true});
    J.world.quiet = true;
    J.world.wait_io = wait_io;
    memset(J.space, 0, sizeof J.space);
    J.section = NULL;
    J.file = J.swap = (struct test_file){0};
    J.brings = J.scenario[0] == 'S' || J.scenario[0] == 'D';
    J.taken_count = J.step = J.refusals = J.done_pages = J.pinned = J.unpinned = 0;
    J.frames_added = t->frames;
    if (quire_add_frames(J.world.q, J.world.config.first_frame, t->frames) != QUIRE_OK)
        fail("frames can not be added");
    failure_set(t);
    for (; step_read(&text, &s); J.step++) {
        if (J.step == STEPS_MAX)
            fail("too many steps");
        step_run(&s);
        if (t->at == 0)
            J.passed_by[J.step] = J.failing->passed;
    }
    J.failing->at = 0;
    J.result->runs++;
    return J.failing->passed;
}

/* A run, and its end: the bytes are those of the first. */
static uint64_t run_compared(const struct trial *t, bool first)
{
    uint64_t count = run(t);

    compare_end(first);
    test_world_destroy(&J.world);
    return count;
}

/* Every number of frames, up to the first that is enough, which it returns. */
static uint32_t frames_run(struct trial t)
{
    for (t.frames = 1; t.frames < FRAMES; t.frames++) {
        run_compared(&t, false);
        if (J.refusals == 0)
            return t.frames;
    }
    fail("no number of frames is enough");
}

/* Failure at each passage or transfer, which are counted first: returns how many there are. */
static uint64_t failures_run(struct trial t, bool first)
{
    uint64_t count = run_compared(&t, first);

    if (J.refusals > 0)
        fail("a step was refused without a failure");
    for (t.at = 1; t.at <= count; t.at++) {
        t.from_then_on = false;
        run_compared(&t, false);
        if (J.refusals == 0 && !J.brings)
            fail("nothing was refused");
        t.from_then_on = true;
        run_compared(&t, false);
    }
    return count;
}

static void scenario_run(void)
{
    J.result->passages += failures_run((struct trial){.frames = FRAMES}, true);
    uint32_t enough = frames_run((struct trial){0});
    frames_run((struct trial){.reserve = 4});
    for (enum order order = AT_ONCE; J.brings && order < ORDERS; order++) {
        struct trial t = {.frames = FRAMES, .order = order, .transfers = true};

        J.result->transfers += failures_run(t, false);
        t.frames = order == AT_ONCE ? enough : frames_run(t);
        J.result->transfers += failures_run(t, false);
    }
}

static void on_signal(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(number, SIG_DFL);
    fail("%s", number == SIGALRM ? "an operation does not end" : "core crashed");
}

void inject_run(const struct inject_options *options, struct inject_result *result)
{
    static char text[TEXT_MAX];
    static const char *const names[QI_SITE_COUNT] = {"FAULT", "SPACE_ROOT", "SPACE_RECORD",
                                                     "NODE",  "RANGE",      "TAKE",
                                                     "FORK",  "SECTION",    "PAGE_IN"};
    jmp_buf panic;

    J = (struct inject){.result = result};
    *result = (struct inject_result){0};
    memset(test_failure.by_site, 0, sizeof test_failure.by_site);
    signal(SIGALRM, on_signal);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, on_signal);
#endif
    if (setjmp(J.out) == 0) {
        if (setjmp(panic) != 0)
            fail("panic: %s", test_panic_text);
        test_panic_catch = &panic;
        for (unsigned i = 0; i < SCENARIOS + options->random && !options->scenario; i++) {
            J.scenario = i < SCENARIOS ? scenarios[i] : text;
            if (i >= SCENARIOS)
                plan_make(i, text, sizeof text);
            alarm(200);
            scenario_run();
        }
        if (options->scenario) {
            J.scenario = options->scenario;
            scenario_run();
        }
        for (unsigned i = 0; i < QI_SITE_COUNT && !options->scenario; i++) {
            result->by_site[i] = test_failure.by_site[i];
            if (test_failure.failed_by_site[i] == 0)
                fail("site %s never failed", names[i]);
        }
    }
    alarm(0);
    test_panic_catch = NULL;
    test_failure_set(0, false, 0);
    result->scenarios = options->scenario ? 1 : SCENARIOS + options->random;
}
