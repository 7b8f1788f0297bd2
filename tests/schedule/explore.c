/* SPDX-License-Identifier: MIT */
/*
 * Random schedules, schedules by priority (PCT), and runs that are given: replays.
 *
 * Random: after every few points, anything that is possible.  How many points, and how likely each
 * kind of decision is, differs from run to run.
 *
 * PCT (Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs,
 * ASPLOS 2010): every CPU, its store buffer and its interrupts have a random priority; the highest
 * that is possible happens, and at d - 1 points of the run, chosen at random, what would happen
 * next gets the lowest.  A bug that needs d decisions is found with probability 1/(n k^(d-1)) in a
 * run of k points.
 *
 * In half of the PCT runs only those points count where a CPU is about to change something that
 * others see: they are few, so what needs several changes of priority right there is found sooner.
 *
 * Aimed programs are those in which a bug of a known shape can show, see aimed[].
 *
 * A program is made, and run with many schedules from one snapshot.  One run in a thousand is
 * done twice, and must end in the same state.  Ends that were judged before are not judged again.
 */
#define _GNU_SOURCE
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_OF_PROGRAM = 100, AIMED_EVERY = 8, SEEN = 1 << 16, TWICE_EVERY = 1000 };

/* ---- programs at random -------------------------------------------------------------------- */

static unsigned random_slot(uint64_t *rng, const struct start *start)
{
    unsigned slot;
    do
        slot = random_below(rng, start->spaces);
    while (start->left[slot]);
    return slot;
}

/*
 * Programs for what three have to do at the right moments.
 *
 *   two calls of one space copy the same table, and its last other user leaves meanwhile
 *   a call looks at a table or page that two others together free, and use again
 *   a page is read while its sharers become one, who writes it in place
 *   two calls replace the root, or use the new one, while a third still runs the old one
 *   the last two borrowers of a page, and its lender
 *   a copied leaf leaves pages of a section out, which others may go on seeing
 *   a section is cut, or emptied, while another call drops a table that uses its pages
 *   a page is written while it becomes another
 *   a call looks at a table that its space leaves, and whose last user makes a guard in it
 */
static const char *const aimed[] = {
    "start=pathfew A:w0 A:w1 A:exitB",
    "start=pathown A:w0 A:w1 A:exitB",
    "start=rootown A:w0 A:w1 A:exitB",
    "start=forked A:w0 A:w1 A:exitB",
    "start=forked A:w1 A:w1 A:exitB,w16",
    "start=forked A:w0 A:w0 B:w0,w16",
    "start=pathown A:r0 A:w0 A:exitB,w16",
    "start=forked A:R0 A:w0 B:w0",
    "start=pathown A:R0 A:w0 B:w0",
    "start=forked A:w0 A:w1 A:r1",
    "start=rootown A:w0 A:w4 A:r4",
    "start=twice A:w0 B:w0 C:w0",
    "start=lines A:w0 B:w0 A:exitC",
    "start=grandchild A:w0 A:exitB C:w0",
    "start=pathview A:w0 A:r1",
    "start=pathview A:w0 A:r1,purge",
    "start=private A:shrink0 A:work",
    "start=short A:sdiscard0 A:rwl,r4",
    "start=short A:check A:grow",
    "start=one A:clone0 A:w0",
    "start=root B:w4 B:R0 A:guard0",
};
enum { AIMED = sizeof aimed / sizeof aimed[0] };

static void random_mode(uint64_t *rng, struct program *p)
{
    p->mode.tso = random_below(rng, 2);
    p->mode.depth = (uint8_t)(2 + random_below(rng, 3));
    p->mode.eager = random_below(rng, 2);
    p->mode.masked = random_below(rng, 4) == 0;
    p->mode.stocked = random_below(rng, 2);
}

static void aimed_program(uint64_t *rng, struct program *p)
{
    do
        if (!program_parse(p, aimed[random_below(rng, AIMED)]))
            abort();
    while (!program_valid(p));
    random_mode(rng, p);
}

/* More often two CPUs than four, and one operation than three. */
static void random_program(uint64_t *rng, struct program *p)
{
    do {
        *p = (struct program){0};
        p->start = (uint8_t)random_below(rng, start_count);
        p->cpus = (uint8_t)(2 + (random_below(rng, 3) == 0) + (random_below(rng, 6) == 0));
        for (unsigned c = 0; c < p->cpus; c++) {
            p->slot[c] = (uint8_t)random_slot(rng, &starts[p->start]);
            p->count[c] = (uint8_t)(1 + random_below(rng, 2));
            if (p->cpus == 2 && p->count[c] == 2)
                p->count[c] += (uint8_t)random_below(rng, 2);
            for (unsigned i = 0; i < p->count[c]; i++)
                p->op[c][i] = (uint8_t)random_below(rng, op_count);
        }
    } while (!program_valid(p));
    random_mode(rng, p);
}

/* ---- one run ------------------------------------------------------------------------------- */

struct batch {
    struct exploration *e;
    uint64_t rng;
    bool pct;
    unsigned length[2]; /* points of the last run, by sim.coarse */
    struct program program;
    unsigned char *begin; /* snapshot */
    uint64_t *seen;       /* hashes of ends that were judged */
};

/* Points that a CPU runs at most before something else may happen: most bugs need few switches. */
static const unsigned strides[] = {1, 8, 16, 32, 64, 128, 256};
enum { STRIDES = sizeof strides / sizeof strides[0] };

static void run_random(struct batch *b)
{
    struct decision options[OPTIONS_MAX];
    unsigned count, stride = strides[random_below(&b->rng, STRIDES)],
                    extras = random_below(&b->rng, 16);
    unsigned lazy = random_below(&b->rng, 4);
    while ((count = run_options(options)) > 0) {
        uint64_t r = random_next(&b->rng);
        struct decision d = options[((r & 0xffff) * count) >> 16];
        /* Sometimes look for what runs, not for what is delayed. */
        if (d.kind != DECIDE_RUN && (r >> 16 & 3) < lazy)
            d = options[((r >> 20 & 0xffff) * count) >> 16];
        if (!sim.mode.eager && (r >> 36 & 0xff) < extras)
            d = (struct decision){r >> 44 & 7 ? DECIDE_FILL : DECIDE_FORGET, (uint8_t)(r >> 48 & 3),
                                  (uint16_t)(r >> 50 & (TOUCHED - 1))};
        if (d.kind == DECIDE_RUN)
            d.n = (uint16_t)(1 + ((r >> 56) & (stride - 1)));
        if (run_possible(&d))
            run_apply(&d);
    }
}

/* A bug's depth, the points at which priorities change, and what they are. */
struct pct {
    unsigned changes[3], change_count, step, lowest;
    int priority[DECIDE_INTERRUPT + 1][CPUS_MAX];
};

static void pct_begin(struct pct *pct, struct batch *b)
{
    *pct = (struct pct){.change_count = 1 + random_below(&b->rng, 3)};
    for (unsigned k = 0; k <= DECIDE_INTERRUPT; k++)
        for (unsigned c = 0; c < CPUS_MAX; c++)
            pct->priority[k][c] = (int)(random_next(&b->rng) >> 40);
    for (unsigned i = 0; i < pct->change_count; i++)
        pct->changes[i] = random_below(&b->rng, b->length[sim.coarse] + 1);
}

static int *pct_priority(struct pct *pct, const struct decision *d)
{
    return &pct->priority[d->kind][d->cpu];
}

/* Points until the next change, `most` at most; 0: it is now. */
static unsigned pct_until(const struct pct *pct, unsigned most)
{
    for (unsigned i = 0; i < pct->change_count; i++)
        if (pct->changes[i] >= pct->step && pct->changes[i] - pct->step < most)
            most = pct->changes[i] - pct->step;
    return most;
}

static void run_pct(struct batch *b)
{
    struct decision options[OPTIONS_MAX];
    struct pct pct;
    unsigned count, stride = strides[random_below(&b->rng, STRIDES)];
    sim.coarse = random_below(&b->rng, 2);
    pct_begin(&pct, b);
    while ((count = run_options(options)) > 0) {
        struct decision *best = &options[0];
        for (unsigned i = 1; i < count; i++)
            if (*pct_priority(&pct, &options[i]) > *pct_priority(&pct, best))
                best = &options[i];
        unsigned until = pct_until(&pct, stride);
        if (until == 0)
            *pct_priority(&pct, best) = -(int)++pct.lowest;
        if (best->kind == DECIDE_RUN)
            best->n = (uint16_t)(until > 0 ? until : 1);
        run_apply(best);
        pct.step += best->kind == DECIDE_RUN && sim.spent > 0 ? sim.spent : 1;
        /* Who waits lets everybody else go first. */
        if (sim.world->cpu[best->cpu].state == CPU_WAITS)
            pct.priority[DECIDE_RUN][best->cpu] = -(int)++pct.lowest;
    }
    b->length[sim.coarse] = pct.step;
}

static void run_begin(struct batch *b)
{
    world_restore(b->begin);
    sim.changed = true;
    sim.coarse = false;
    trace.count = trace.points = 0;
}

static void run_once(void *context)
{
    struct batch *b = context;
    run_begin(b);
    (b->pct ? run_pct : run_random)(b);
}

static void replay_trace(void *context)
{
    static struct decision again[DECISIONS_MAX];
    unsigned count = trace.count;
    memcpy(again, trace.decision, count * sizeof again[0]);
    run_begin(context);
    for (unsigned i = 0; i < count; i++) {
        if (!run_possible(&again[i]))
            fail("the same run goes another way, decision", i);
        run_apply(&again[i]);
    }
}

/* The end of a run: judged, unless it has been before. */
static bool run_end(struct batch *b)
{
    uint64_t hash = world_hash();
    if (++b->e->runs % TWICE_EVERY == 0) {
        if (!run_guarded(replay_trace, b))
            return false;
        if (world_hash() != hash) {
            snprintf(sim.failure, TEXT_MAX, "the same run ends in another state");
            return false;
        }
        b->e->twice++;
    }
    b->e->points += trace.points;
    hash |= 1;
    uint64_t *seen = &b->seen[hash >> 32 & (SEEN - 1)];
    if (*seen == hash)
        return true;
    *seen = hash;
    program_judge(&b->program);
    return sim.failure[0] == 0;
}

static void batch_begin(void *context)
{
    struct batch *b = context;
    program_begin(&b->program);
    world_snapshot(b->begin);
}

static bool batch(struct batch *b, unsigned runs)
{
    memset(b->seen, 0, SEEN * sizeof b->seen[0]);
    trace.count = trace.points = 0;
    if (!run_guarded(batch_begin, b))
        return false;
    b->length[0] = b->length[1] = 100;
    for (unsigned i = 0; i < runs; i++)
        if (!run_guarded(run_once, b) || !run_end(b))
            return false;
    return true;
}

/* The one batch that there is at a time. */
static struct batch *batch_new(struct exploration *e, const struct program *p, uint64_t seed,
                               bool pct)
{
    static struct batch b;
    b = (struct batch){.e = e, .rng = seed, .pct = pct, .begin = b.begin, .seen = b.seen};
    if (!b.begin)
        b.begin = malloc(world_snapshot_max());
    if (!b.seen)
        b.seen = malloc(SEEN * sizeof b.seen[0]);
    if (!b.begin || !b.seen)
        abort();
    if (p)
        b.program = *p;
    return &b;
}

bool explore_program(struct program *p, unsigned runs, bool pct)
{
    static struct exploration e;
    return batch(batch_new(&e, p, 1, pct), runs);
}

static bool explore(struct exploration *e, struct program *failed, bool pct)
{
    double begin = seconds_now();
    struct batch *b = batch_new(e, NULL, e->seed, pct);
    bool good = true;
    while (good && seconds_now() - begin < e->seconds &&
           (e->schedules == 0 || e->runs < e->schedules)) {
        if (e->program)
            b->program = *e->program;
        else if (e->aimed || random_below(&b->rng, AIMED_EVERY) == 0)
            aimed_program(&b->rng, &b->program);
        else
            random_program(&b->rng, &b->program);
        good = batch(b, RUNS_OF_PROGRAM);
        e->programs++;
    }
    *failed = b->program;
    e->took = seconds_now() - begin;
    return good;
}

bool explore_random(struct exploration *e, struct program *failed)
{
    return explore(e, failed, false);
}

bool explore_pct(struct exploration *e, struct program *failed) { return explore(e, failed, true); }

/* ---- given runs ---------------------------------------------------------------------------- */

struct given {
    const struct program *program;
    const struct decision *decisions;
    unsigned count;
};

static void run_given(void *context)
{
    const struct given *g = context;
    sim.coarse = false;
    program_begin(g->program);
    for (unsigned i = 0; i < g->count; i++) {
        struct decision d = g->decisions[i];
        if (d.kind == DECIDE_RUN && d.n == 0)
            d.n = 1;
        if (run_possible(&d))
            run_apply(&d);
    }
    run_finish();
}

bool replay(const struct program *program, const struct decision *decisions, unsigned count)
{
    struct given g = {program, decisions, count};
    trace.count = trace.points = 0;
    if (!run_guarded(run_given, &g))
        return false;
    program_judge(program);
    return sim.failure[0] == 0;
}

bool replay_bytes(const uint8_t *bytes, size_t size, struct program *p)
{
    static struct decision decisions[DECISIONS_MAX];
    uint64_t rng = 0;
    size_t used = size < 8 ? size : 8;
    unsigned count = 0;
    memcpy(&rng, bytes, used);
    random_program(&rng, p);
    for (; used + 1 < size && count < DECISIONS_MAX; used += 2)
        decisions[count++] = (struct decision){bytes[used] % 5, bytes[used] / 5 % CPUS_MAX,
                                               (uint16_t)(bytes[used + 1])};
    return replay(p, decisions, count);
}
