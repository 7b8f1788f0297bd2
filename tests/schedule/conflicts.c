/* SPDX-License-Identifier: MIT */
/*
 * What do two operations write in common?  Scaling, tested as a property.
 *
 * Two operations are run one after the other, each on a CPU of its own, from one start state.  Of
 * each are counted the cache lines of the arena and of the tables that it writes (every hook that
 * writes, and every line whose bytes have changed) and those that it reads through hooks; the
 * interrupts that its flushes send; and the points for which it held one lock at most.  A line is
 * *in common* if one of the two writes it and the other touches it: on a machine with many CPUs it
 * travels between them, and operations that have none do not slow each other down.  Lines are
 * counted as 32 bytes, the size of a frame's record: which records are neighbours in a line of 64
 * is chance.
 *
 * The rules at the end of the file are what has to hold: faults in disjoint tables, and in
 * different spaces, have no line in common, and no fault interrupts a CPU that need not know.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 32, LINES_MAX = 2048, LOCKS_MAX = 8 };

struct footprint {
    bool written[LINES_MAX], read[LINES_MAX];
    unsigned points, interrupts, hold;
};

/* Of the operation that runs. */
static struct footprint *print;
static struct {
    const uint32_t *word; /* null: free */
    unsigned since;
} lock[LOCKS_MAX];
static const uint32_t *maybe_lock; /* a word that was 0 before it was changed */

/* Did the last change take a lock? */
static void lock_noticed(void)
{
    const uint32_t *word = maybe_lock;
    maybe_lock = NULL;
    if (!word || *word != 1)
        return;
    for (unsigned i = 0; i < LOCKS_MAX; i++)
        if (!lock[i].word) {
            lock[i].word = word;
            lock[i].since = print->points;
            return;
        }
}

static void lock_left(const void *address)
{
    for (unsigned i = 0; i < LOCKS_MAX; i++) {
        if (lock[i].word != address)
            continue;
        unsigned held = print->points - lock[i].since;
        if (held > print->hold)
            print->hold = held;
        lock[i].word = NULL;
    }
}

static void counted(const void *address, enum access access, unsigned size)
{
    size_t line = world_offset(address) / LINE;
    lock_noticed();
    print->points++;
    if (line < LINES_MAX)
        (access == ACCESS_LOAD ? print->read : print->written)[line] = true;
    if (access == ACCESS_CHANGE && *(const uint32_t *)address == 0)
        maybe_lock = address;
    if (access == ACCESS_STORE && size == 4) /* a claim, of 8, is no lock */
        lock_left(address);
}

/* Lines that were written without a hook. */
static void compare(const unsigned char *before)
{
    const unsigned char *now = (const unsigned char *)sim.world;
    size_t arena = (size_t)((const unsigned char *)sim.world->q - now);
    for (size_t at = arena / LINE * LINE; at + LINE <= world_size() && at / LINE < LINES_MAX;
         at += LINE)
        if (memcmp(before + at, now + at, LINE) != 0)
            print->written[at / LINE] = true;
}

static bool done(unsigned cpu) { return sim.world->cpu[cpu].state == CPU_DONE; }

/* Let this CPU run to its end; the others only take interrupts. */
static void run_alone(unsigned cpu)
{
    struct decision options[OPTIONS_MAX];
    while (!done(cpu)) {
        unsigned count = run_options(options), i = 0;
        while (i < count && options[i].kind == DECIDE_RUN && options[i].cpu != cpu)
            i++;
        if (i == count)
            fail("an operation alone can not go on, CPU", cpu);
        options[i].n = POINTS_MAX;
        run_apply(&options[i]);
    }
}

static void measure(struct footprint *out, unsigned cpu)
{
    static unsigned char before[LINES_MAX * LINE];
    memset(out, 0, sizeof *out);
    memset(lock, 0, sizeof lock);
    maybe_lock = NULL;
    print = out;
    memcpy(before, sim.world, world_size() < sizeof before ? world_size() : sizeof before);
    sim.counter = counted;
    run_alone(cpu);
    sim.counter = NULL;
    compare(before);
    out->interrupts = sim.world->history.interrupts[cpu];
}

struct pair {
    const struct program *program;
    struct footprint of[2];
    unsigned common;
};

static void measure_pair(void *context)
{
    struct pair *p = context;
    trace.count = trace.points = 0;
    program_begin(p->program);
    measure(&p->of[0], 0);
    measure(&p->of[1], 1);
    p->common = 0;
    for (unsigned i = 0; i < LINES_MAX; i++) {
        bool touched_by[2];
        for (unsigned n = 0; n < 2; n++)
            touched_by[n] = p->of[n].written[i] || p->of[n].read[i];
        p->common +=
            (p->of[0].written[i] && touched_by[1]) || (p->of[1].written[i] && touched_by[0]);
    }
}

/* The program of a text; the machine's mode is the same for all. */
static bool pair_of(const char *text, struct program *program, struct pair *pair)
{
    if (!program_parse(program, text))
        return false;
    program->mode.eager = program->mode.stocked = true;
    pair->program = program;
    return run_guarded(measure_pair, pair);
}

/* ---- the table ----------------------------------------------------------------------------- */

static const char *const table_starts[] = {"beside", "borrowing", "unrelated", "forked"};
static const char *const table_ops[] = {"r0",     "w0",   "r4",     "w4",   "w16",
                                        "fork",   "ro0",  "unmap0", "mapl", "discard0",
                                        "guard0", "pin0", "W0",     "take"};
enum { TABLE_OPS = sizeof table_ops / sizeof table_ops[0] };

static bool table_row(const char *start, char slot, unsigned row)
{
    static struct pair pair;
    struct program program;
    char text[TEXT_MAX];
    for (unsigned column = 0; column < TABLE_OPS; column++) {
        snprintf(text, sizeof text, "start=%s A:%s %c:%s", start, table_ops[row], slot,
                 table_ops[column]);
        if (!pair_of(text, &program, &pair))
            return false;
        if (column == 0)
            printf("  %-9s%7u%7u%7u ", table_ops[row], pair.of[0].points, pair.of[0].interrupts,
                   pair.of[0].hold);
        printf("%9u", pair.common);
    }
    printf("\n");
    return true;
}

static bool table(const char *start, char slot)
{
    printf("start %s, the other in %c: points, interrupts, longest hold; lines in common with\n",
           start, slot);
    printf("  %-31s", "");
    for (unsigned i = 0; i < TABLE_OPS; i++)
        printf("%9s", table_ops[i]);
    printf("\n");
    for (unsigned row = 0; row < TABLE_OPS; row++)
        if (!table_row(start, slot, row))
            return false;
    return true;
}

/* ---- what has to hold ---------------------------------------------------------------------- */

static const struct {
    const char *program, *what;
    unsigned common, interrupts;
} rules[] = {
    {"start=beside A:w0 A:w4", "first writes below two leaves", 0, 0},
    {"start=beside A:w0 A:w16", "first writes below two upper tables", 0, 0},
    {"start=beside A:r0 A:r4", "first reads below two leaves", 0, 0},
    {"start=borrowing A:w0 A:w4", "copies below two leaves; one CPU runs the space", 0, 1},
    {"start=unrelated A:w0 B:w0", "first writes in two spaces", 0, 0},
    {"start=forked A:w0 B:", "a copy; the other CPU runs another space", UINT32_MAX, 0},
    {"start=borrowing A:w0 B:", "a copy in an own leaf; another space", UINT32_MAX, 0},
    {"start=last A:w0 A:", "the last user takes a page", UINT32_MAX, 0},
};

static bool rule_holds(unsigned i)
{
    static struct pair pair;
    struct program program;
    if (!pair_of(rules[i].program, &program, &pair))
        return false;
    printf("  %-52s %2u lines in common, %u interrupts\n", rules[i].what, pair.common,
           pair.of[0].interrupts);
    if (pair.of[0].interrupts == rules[i].interrupts &&
        (rules[i].common == UINT32_MAX || pair.common == rules[i].common))
        return true;
    snprintf(sim.failure, TEXT_MAX, "%s: %u lines in common and %u interrupts, %s", rules[i].what,
             pair.common, pair.of[0].interrupts, rules[i].program);
    return false;
}

bool conflicts_check(bool tables)
{
    for (unsigned i = 0; tables && i < sizeof table_starts / sizeof table_starts[0]; i++) {
        if (!table(table_starts[i], 'A'))
            return false;
        if (i > 0 && !table(table_starts[i], 'B'))
            return false;
    }
    bool all = true;
    for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (!rule_holds(i)) {
            fprintf(stderr, "FAILED schedule: %s\n", sim.failure);
            all = false;
        }
    return all;
}
