/* SPDX-License-Identifier: MIT */
/*
 * Every schedule of a program, up to steps that can change places.
 *
 * Depth first, with a set of the states that were met: a state is the whole block but its history,
 * stacks included (block.c), kept as 64 bits.  Where one decision only is possible, there is no
 * state of its own.  TLBs are eager (machine.h), so what they hold adds no decisions.  CPUs switch
 * only before accesses to words that several of them access (share.c).
 *
 * Two steps of which neither writes what the other touches can change places: what comes of them is
 * the same.  So with two CPUs the explorer looks ahead: what does each do alone from here, until it
 * ends or has to wait?  As long as the next step of one touches nothing that the other would, it is
 * made, and no other order of it is tried (a persistent set of one: Godefroid, Partial-Order
 * Methods for the Verification of Concurrent Systems, 1996).
 *
 *     CPU 0   a b c|D e F           a, b and c touch nothing that CPU 1 does alone: made
 *     CPU 1   g|H i                 H comes before or after D
 *
 * A state is where both would touch what the other does.  Interrupts that are taken on the way
 * belong to who asked for them, and stores that become visible to who made them, at once unless the
 * other touches the word.  A CPU that waits touches the word that it waits for.
 *
 * A program is *closed* when nothing is left to try; with too many states it is given up, and
 * counted as not closed.
 *
 * In the programs with a pair of operations store buffers are two stores deep, and every CPU has a
 * stock of free frames.
 */
#define _GNU_SOURCE
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    NODES_MAX = 1 << 15,
    PASS_STATES = 1 << 14,
    PASS_GROWTH = 4,
    PAIR_STATES_MAX = 1 << 24,
    WARM_UPS = 16,
    AHEAD_MAX = 1024, /* steps */
};
#define SNAPSHOTS_MAX (UINT64_C(1) << 34) /* of addresses, not of memory */

/* A state with decisions left to try. */
struct node {
    size_t snapshot;            /* where it begins */
    uint32_t decisions, points; /* of the trace */
    uint8_t count, next;
    struct decision option[OPTIONS_MAX];
};

/* What one CPU does alone from a state. */
struct ahead {
    unsigned count, made;
    struct decision step[AHEAD_MAX];
    bool last[AHEAD_MAX];                /* with this step the CPU gave way by itself */
    bool buffers[AHEAD_MAX];             /* .. it stored something that is not visible yet */
    uint8_t asks[AHEAD_MAX + 1];         /* CPUs that are interrupted by this step or a later one */
    struct notes touched[AHEAD_MAX + 1]; /* .. by each step, and by waiting after the last */
    /* The same of all steps from this one on: of the program, and of interrupts. */
    struct notes later[AHEAD_MAX + 1], interrupts[AHEAD_MAX + 1];
};

static struct {
    const struct program *program;
    struct exploration *e;
    uint64_t states_max;
    bool closed;
    unsigned depth;
    size_t end; /* of the snapshots in use */
    unsigned char *snapshots;
    struct node node[NODES_MAX];
    uint64_t *visited; /* hashes, 0: free */
    uint64_t visited_count, visited_size;
    struct ahead ahead[2];
    bool fresh;   /* ahead is of the state that was pushed last */
    bool kept[2]; /* ahead is of the state that stands there */
} x;

/* ---- states that were met ------------------------------------------------------------------ */

static void visited_clear(void)
{
    if (!x.visited || x.visited_size > 1 << 16) {
        free(x.visited);
        x.visited_size = 1 << 12;
        x.visited = malloc(x.visited_size * sizeof x.visited[0]);
        if (!x.visited)
            abort();
    }
    memset(x.visited, 0, x.visited_size * sizeof x.visited[0]);
    x.visited_count = 0;
}

static bool visited_put(uint64_t hash)
{
    uint64_t mask = x.visited_size - 1, i = hash & mask;
    for (; x.visited[i]; i = (i + 1) & mask)
        if (x.visited[i] == hash)
            return false;
    x.visited[i] = hash;
    x.visited_count++;
    return true;
}

static void visited_grow(void)
{
    uint64_t *old = x.visited, size = x.visited_size;
    if (x.visited_count < size / 2)
        return;
    x.visited_size = size * 4;
    x.visited = calloc(x.visited_size, sizeof x.visited[0]);
    if (!x.visited)
        abort();
    x.visited_count = 0;
    for (uint64_t i = 0; i < size; i++)
        if (old[i])
            visited_put(old[i]);
    free(old);
}

/* True: this state is new. */
static bool visit(void)
{
    uint64_t hash = world_hash() | 1;
    visited_grow();
    return visited_put(hash);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

/* The next one begins at a multiple of 64. */
static size_t snapshot_put(size_t at)
{
    return (at + world_snapshot(x.snapshots + at) + 63) & ~(size_t)63;
}

static void go_back(size_t snapshot, uint32_t decisions, uint32_t points)
{
    world_restore(x.snapshots + snapshot);
    trace.count = decisions;
    trace.points = points;
    sim.changed = false;
    sim.refill = 0;
}

/* ---- looking ahead -------------------------------------------------------------------------- */

static void touch_everything(struct notes *notes) { memset(notes, 0xff, sizeof *notes); }

/* The next step while `cpu` alone runs: interrupts first, then stores; null: there is none. */
static const struct decision *alone(const struct decision *options, unsigned count, unsigned cpu)
{
    const struct decision *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct decision *d = &options[i];
        if (d->kind != DECIDE_INTERRUPT && d->cpu != cpu)
            continue;
        if (!best || d->kind > best->kind)
            best = d;
    }
    return best;
}
_Static_assert(DECIDE_RUN < DECIDE_DRAIN && DECIDE_DRAIN < DECIDE_INTERRUPT, "the order of alone");

/* What the CPU touches by waiting where it stands. */
static void touch_waiting(const struct cpu *cpu, struct notes *notes)
{
    memset(notes, 0, sizeof *notes);
    if (cpu->state == CPU_DONE)
        return;
    if (cpu->state == CPU_WAITS && cpu->key && !cpu->woken) {
        memset(&step_notes, 0, sizeof step_notes);
        step_note(cpu->key, 4, false);
        *notes = step_notes;
    } else {
        touch_everything(notes);
    }
}

/* Its own interrupts, asked for by others, and its program: in which order is then not told. */
static bool disturbed(const struct ahead *a, unsigned cpu)
{
    for (unsigned i = 0; i < a->count; i++)
        if (a->step[i].kind == DECIDE_INTERRUPT && a->step[i].cpu == cpu &&
            notes_conflict(&a->touched[i], &a->later[0]))
            return true;
    return false;
}

static void ahead_sum_up(struct ahead *a, unsigned cpu)
{
    a->made = 0;
    a->asks[a->count] = 0;
    a->later[a->count] = a->touched[a->count];
    memset(&a->interrupts[a->count], 0, sizeof a->interrupts[0]);
    for (unsigned i = a->count; i-- > 0;) {
        a->later[i] = a->later[i + 1];
        a->interrupts[i] = a->interrupts[i + 1];
        a->asks[i] = a->asks[i + 1];
        if (a->step[i].kind == DECIDE_INTERRUPT)
            a->asks[i] |= (uint8_t)(1u << a->step[i].cpu);
        notes_join(a->step[i].kind == DECIDE_INTERRUPT ? &a->interrupts[i] : &a->later[i],
                   &a->touched[i]);
    }
    if (!disturbed(a, cpu))
        return;
    for (unsigned i = 0; i <= a->count; i++)
        touch_everything(&a->later[i]);
}

/* A step has been made, and noted in step_notes; for whom: */
static struct ahead *recorded;
static unsigned recorded_cpu;

static void record(enum decision_kind kind, unsigned cpu, bool last)
{
    struct ahead *a = recorded;
    if (a->count < AHEAD_MAX) {
        a->step[a->count] = (struct decision){(uint8_t)kind, (uint8_t)cpu, 1};
        a->last[a->count] = last;
        a->buffers[a->count] = machine_buffered(&sim.world->cpu[cpu]) > 0;
        a->touched[a->count++] = step_notes;
    }
    memset(&step_notes, 0, sizeof step_notes);
}

static void record_within(bool store)
{
    record(store ? DECIDE_DRAIN : DECIDE_RUN, recorded_cpu, false);
}

/* Moves the world; the caller goes back. */
static void look_ahead(struct ahead *a, unsigned cpu)
{
    struct decision options[OPTIONS_MAX];
    const struct decision *next;
    recorded = a;
    recorded_cpu = cpu;
    a->count = 0;
    sim.step_over = record_within;
    memset(&step_notes, 0, sizeof step_notes);
    while (!share_grew && a->count < AHEAD_MAX &&
           (next = alone(options, run_options(options), cpu))) {
        struct decision d = *next;
        if (d.kind == DECIDE_RUN)
            d.n = POINTS_MAX;
        run_apply(&d);
        record((enum decision_kind)d.kind, d.cpu, true);
    }
    sim.step_over = NULL;
    if (a->count == AHEAD_MAX)
        touch_everything(&a->touched[a->count]);
    else
        touch_waiting(&sim.world->cpu[cpu], &a->touched[a->count]);
    ahead_sum_up(a, cpu);
}

/*
 * Can the next step of one be made before all that the other does?  An interrupt makes visible what
 * the CPU has stored; what it stores after that may be visible later, so that such a step is not
 * made before an interrupt that the other will ask for.
 */
static bool can_be_made(const struct ahead *a, const struct ahead *other)
{
    if (a->made == a->count)
        return false;
    const struct notes *notes = &a->touched[a->made];
    const struct decision *step = &a->step[a->made];
    if (notes_conflict(notes, &other->later[other->made]))
        return false;
    if (step->kind == DECIDE_INTERRUPT)
        return true;
    if (step->kind == DECIDE_RUN && a->buffers[a->made] &&
        (other->asks[other->made] >> step->cpu & 1))
        return false;
    return !notes_conflict(notes, &other->interrupts[other->made]);
}

/* Make what can be made at once.  An interrupt that was pending is in both, and happens once. */
static void make(struct ahead *a, struct ahead *other)
{
    struct decision d = a->step[a->made];
    bool last;
    if (d.kind == DECIDE_DRAIN)
        d.n = (uint16_t)(sim.world->history.drained[d.cpu] + 1);
    do
        last = a->last[a->made++];
    while (d.kind == DECIDE_RUN && !last && can_be_made(a, other) &&
           a->step[a->made].kind == DECIDE_RUN && ++d.n);
    if (run_possible(&d))
        run_apply(&d);
    while (other->made < other->count && other->step[other->made].kind == DECIDE_INTERRUPT &&
           !run_possible(&other->step[other->made]))
        other->made++;
}

/* Make the steps that can change places with all that the other CPU does.  False: there is none. */
static bool make_steps(void)
{
    struct ahead *a = &x.ahead[0], *b = &x.ahead[1];
    size_t here = x.end;
    uint32_t decisions = trace.count, points = trace.points;
    snapshot_put(here);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        if (x.kept[cpu])
            continue;
        look_ahead(&x.ahead[cpu], cpu);
        go_back(here, decisions, points);
    }
    bool made = false;
    while (!share_grew) {
        if (can_be_made(a, b))
            make(a, b);
        else if (can_be_made(b, a))
            make(b, a);
        else
            break;
        made = true;
    }
    x.kept[0] = x.kept[1] = made; /* what is left to do of both has not changed */
    return made;
}

/* The first decision after a node was pushed: who makes it does what was seen ahead. */
static void keep_ahead(const struct decision *d)
{
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        struct ahead *a = &x.ahead[cpu];
        x.kept[cpu] = x.fresh && d->kind == DECIDE_RUN && d->cpu == cpu && a->made < a->count &&
                      a->step[a->made].kind == DECIDE_RUN;
        a->made += x.kept[cpu];
    }
    x.fresh = false;
}

/* ---- the search ---------------------------------------------------------------------------- */

static void node_push(const struct decision *options, unsigned count)
{
    if (x.depth == NODES_MAX)
        fail("the search is too deep, states", NODES_MAX);
    struct node *n = &x.node[x.depth++];
    n->snapshot = x.end;
    n->decisions = trace.count;
    n->points = trace.points;
    n->count = (uint8_t)count;
    n->next = 0;
    memcpy(n->option, options, count * sizeof options[0]);
    x.end = snapshot_put(x.end);
    x.fresh = x.program->cpus == 2;
}

/* Try the next decision of the last node. */
static void node_next(void)
{
    struct node *n = &x.node[x.depth - 1];
    struct decision d = n->option[n->next++];
    go_back(n->snapshot, n->decisions, n->points);
    if (n->next == n->count) {
        x.end = n->snapshot;
        x.depth--;
    }
    keep_ahead(&d);
    run_apply(&d);
}

static void judge(void)
{
    sim.tracking = sim.stepwise = false;
    program_judge(x.program);
    sim.tracking = sim.stepwise = true;
    if (sim.failure[0])
        longjmp(sim.direct, 1);
    x.e->runs++;
}

/* From the state that stands there: go on until there is a choice that is new, or an end. */
static void go_on(void)
{
    struct decision options[OPTIONS_MAX];
    unsigned count;
    do {
        while ((count = run_options(options)) == 1 && !share_grew) {
            x.kept[0] = x.kept[1] = false;
            run_apply(&options[0]);
        }
        if (share_grew || !visit())
            return;
    } while (count > 1 && x.program->cpus == 2 && make_steps());
    if (share_grew)
        return;
    x.e->states++;
    if (count == 0)
        judge();
    else
        node_push(options, count);
}

static void search_begin(void)
{
    x.depth = 0;
    x.fresh = x.kept[0] = x.kept[1] = false;
    go_back(0, 0, 0);
    share_grew = false;
    x.end = snapshot_put(0); /* the beginning stays there */
    sim.changed = true;
}

/* Asked now and then: is the time of the whole exploration over? */
static bool too_late(void)
{
    static unsigned asked;
    return x.e->until > 0 && ++asked % 256 == 0 && seconds_now() >= x.e->until;
}

static void search(void)
{
    uint64_t states = x.e->states, runs = x.e->runs;
    bool late = false;
    visited_clear();
    search_begin();
    go_on();
    while (!share_grew && x.visited_count < x.states_max && x.depth > 0 && !late) {
        node_next();
        go_on();
        late = too_late();
    }
    x.closed = x.depth == 0 && !share_grew;
    share_grew = share_grew && !late; /* else it begins again */
    if (share_grew) {
        x.e->states = states;
        x.e->runs = runs;
    }
}

/* Some whole runs, only to learn which words are shared. */
static void warm_up(void)
{
    struct decision options[OPTIONS_MAX];
    uint64_t rng = 1;
    unsigned count;
    for (unsigned i = 0; i < WARM_UPS; i++) {
        search_begin();
        while ((count = run_options(options)) > 0) {
            struct decision d = options[random_below(&rng, count)];
            if (d.kind == DECIDE_RUN)
                d.n = (uint16_t)(1 + random_below(&rng, 1u << i % 8));
            run_apply(&d);
        }
    }
}

static void exhaust_body(void *context)
{
    (void)context;
    sim.tracking = false;
    trace.count = trace.points = 0;
    program_begin(x.program);
    world_snapshot(x.snapshots);
    sim.tracking = true;
    share_reset();
    warm_up();
    sim.stepwise = true;
    do
        search();
    while (share_grew);
}

bool exhaust_program(const struct program *program, uint64_t states_max, struct exploration *e,
                     bool *closed)
{
    if (!x.snapshots) {
        x.snapshots = mmap(NULL, SNAPSHOTS_MAX, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (x.snapshots == MAP_FAILED) {
            perror("schedule: no memory for snapshots");
            exit(2);
        }
    }
    x.program = program;
    x.e = e;
    x.states_max = states_max;
    bool good = run_guarded(exhaust_body, NULL);
    sim.tracking = sim.stepwise = false;
    sim.step_over = NULL;
    *closed = good && x.closed;
    return good;
}

/* ---- every pair of operations -------------------------------------------------------------- */

/*
 * The programs with one operation on each of two CPUs, by number.  First those that `make proof`
 * wants: from a dozen start states, no variants of operations, both CPUs in one space; then, from
 * there, in two spaces; then all others.
 */
enum pair_group { PAIRS, PAIRS_APART, PAIRS_OTHER, PAIR_GROUPS };

/* False: this number is no program. */
static bool pair_program(uint64_t number, struct program *p)
{
    *p = (struct program){.cpus = 2, .count = {1, 1}};
    p->mode.tso = number % 2;
    p->mode.depth = 2;
    p->mode.eager = p->mode.stocked = true;
    p->slot[1] = (uint8_t)(number / 2 % 2);
    number /= 4;
    p->op[0][0] = (uint8_t)(number % op_count);
    p->op[1][0] = (uint8_t)(number / op_count % op_count);
    p->start = (uint8_t)(number / op_count / op_count);
    /* In one space, which CPU does which is the same. */
    return program_valid(p) && (p->slot[1] > 0 || p->op[0][0] <= p->op[1][0]);
}

static enum pair_group pair_group(const struct program *p)
{
    if (!starts[p->start].pairs || ops[p->op[0][0]].variant || ops[p->op[1][0]].variant)
        return PAIRS_OTHER;
    if (p->slot[1] == 0)
        return PAIRS;
    return p->op[0][0] <= p->op[1][0] ? PAIRS_APART : PAIRS_OTHER;
}

struct pairs {
    uint64_t all, stride;
    double until;
    uint8_t *closed; /* by number: 1: yes; 2: no program */
    uint8_t *group;
};

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

/* One pass over all of a group that are not closed; false: a finding.  The time may end it. */
static bool pairs_pass(struct exploration *e, struct program *p, const struct pairs *pairs,
                       enum pair_group group, uint64_t states_max)
{
    for (uint64_t i = 0; i < pairs->all; i++) {
        uint64_t number = i * pairs->stride % pairs->all;
        bool closed;
        if (pairs->closed[number] || pairs->group[number] != group)
            continue;
        if (seconds_now() >= pairs->until)
            break;
        pair_program(number, p);
        if (!exhaust_program(p, states_max, e, &closed))
            return false;
        pairs->closed[number] = closed;
        e->closed += closed;
        e->pairs_closed += closed && group == PAIRS;
        e->programs += states_max == PASS_STATES;
    }
    return true;
}

static void pairs_list(struct exploration *e, struct pairs *pairs)
{
    struct program p;
    for (uint64_t i = 0; i < pairs->all; i++) {
        if (!pair_program(i, &p)) {
            pairs->closed[i] = 2;
            continue;
        }
        pairs->group[i] = (uint8_t)pair_group(&p);
        e->there_are++;
        e->pairs += pairs->group[i] == PAIRS;
    }
}

bool explore_pairs(struct exploration *e, struct program *failed)
{
    double begin = seconds_now();
    struct pairs pairs = {.all = (uint64_t)start_count * op_count * op_count * 4,
                          .until = begin + e->seconds};
    e->until = pairs.until;
    unsigned groups = e->wanted ? PAIRS + 1 : PAIR_GROUPS;
    bool good = true;
    /* Scattered, so that a part of them is a fair one. */
    pairs.stride = pairs.all * 5 / 13 + e->seed;
    while (common_divisor(pairs.all, pairs.stride) != 1)
        pairs.stride++;
    pairs.closed = calloc(pairs.all, 1);
    pairs.group = calloc(pairs.all, 1);
    if (!pairs.closed || !pairs.group)
        abort();
    pairs_list(e, &pairs);
    /* What is closed with few states first: 98 of 100 are in the first pass. */
    for (unsigned group = 0; good && group < groups; group++)
        for (uint64_t states = PASS_STATES; good && states <= PAIR_STATES_MAX;
             states *= PASS_GROWTH)
            good = pairs_pass(e, failed, &pairs, (enum pair_group)group, states);
    free(pairs.closed);
    free(pairs.group);
    e->took = seconds_now() - begin;
    return good;
}
