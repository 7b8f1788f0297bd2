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
 * Methods for the Verification of Concurrent Systems, 1996).  Looking ends when it is sure that
 * neither can go first; and what was seen of a CPU is right as far as the other's steps since then
 * do not meet it.
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
    PASS_GROWTH = 64,
    PAIR_STATES_MAX = 1 << 26,
    TRIPLE_STATES_MAX = 1 << 20,
    WARM_UPS = 16,
    AHEAD_MAX = 1024, /* steps */
};
#define SNAPSHOTS_MAX (UINT64_C(1) << 34) /* of addresses, not of memory */

/* A state with decisions left to try. */
struct node {
    size_t snapshot, ahead;     /* where they begin */
    uint32_t decisions, points; /* of the trace */
    uint8_t count, next;
    struct decision option[OPTIONS_MAX];
};

/* A step of one CPU alone, or the end of what it does so. */
struct ahead_step {
    struct decision step;
    bool last;            /* with this step the CPU gave way by itself */
    bool buffers;         /* .. it stored something that is not visible yet */
    uint8_t asks;         /* CPUs that are interrupted by this step or a later one */
    struct notes touched; /* .. by this step; at the end, by waiting */
    /* The same of all steps from this one on: of the program, and of interrupts. */
    struct notes later, interrupts;
};

/*
 * What one CPU does alone from a state: the steps from `made` on, of which those before `known` are
 * right.  Only if it is complete they are all, and what is said of all later ones is right, too.
 */
struct ahead {
    unsigned count, made, known;
    bool complete;
    bool round;       /* at the end it begins again, for ever, until another CPU does something */
    uint64_t yielded; /* the state when it last let others run */
    struct ahead_step at[AHEAD_MAX + 1];
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
        if (cpu->key == &sim.world->io_ending)
            step_note_object(OBJECT_PAGER, 0, false);
        else
            step_note(cpu->key, 4, false);
        *notes = step_notes;
    } else {
        touch_everything(notes);
    }
}

/* What it did it will do again. */
static void touch_again(struct ahead *a)
{
    struct ahead_step *end = &a->at[a->count];
    memset(end, 0, sizeof *end);
    for (unsigned i = 0; i < a->count; i++) {
        notes_join(&end->touched, &a->at[i].touched);
        if (a->at[i].step.kind == DECIDE_INTERRUPT)
            end->asks |= (uint8_t)(1u << a->at[i].step.cpu);
    }
}

/* Its own interrupts, asked for by others, and its program: in which order is then not told. */
static bool disturbed(const struct ahead *a, unsigned cpu)
{
    for (unsigned i = 0; i < a->count; i++)
        if (a->at[i].step.kind == DECIDE_INTERRUPT && a->at[i].step.cpu == cpu &&
            notes_conflict(&a->at[i].touched, &a->at[0].later))
            return true;
    return false;
}

static void ahead_sum_up(struct ahead *a, unsigned cpu)
{
    a->at[a->count].later = a->at[a->count].touched;
    memset(&a->at[a->count].interrupts, 0, sizeof a->at[0].interrupts);
    for (unsigned i = a->count; i-- > 0;) {
        struct ahead_step *s = &a->at[i];
        bool interrupt = s->step.kind == DECIDE_INTERRUPT;
        s->later = s[1].later;
        s->interrupts = s[1].interrupts;
        s->asks = s[1].asks;
        if (interrupt)
            s->asks |= (uint8_t)(1u << s->step.cpu);
        notes_join(interrupt ? &s->interrupts : &s->later, &s->touched);
    }
    if (!disturbed(a, cpu))
        return;
    for (unsigned i = 0; i <= a->count; i++)
        touch_everything(&a->at[i].later);
}

/*
 * Does the next step of one touch what the other surely does?  It may be said too often: then more
 * orders are tried than there need be.
 */
static bool surely_meets(const struct ahead *a, const struct ahead *other)
{
    if (a->complete && a->made == a->count)
        return true; /* there is no next step */
    if (a->made == a->known)
        return false;
    const struct notes *step = &a->at[a->made].touched;
    if (other->complete)
        return notes_conflict(step, &other->at[other->made].later);
    for (unsigned i = other->made; i < other->known; i++)
        if (notes_conflict(step, &other->at[i].touched))
            return true;
    return false;
}

/* A step has been made, and noted in step_notes; for whom: */
static struct ahead *recorded;
static bool met_by_first, met_by_other; /* its first step meets the other; the other's next it */

static void record(enum decision_kind kind, unsigned cpu, bool last)
{
    struct ahead *a = recorded;
    const struct ahead *other = a == x.ahead ? &x.ahead[1] : &x.ahead[0];
    if (a->count < AHEAD_MAX) {
        struct ahead_step *s = &a->at[a->count++];
        s->step = (struct decision){(uint8_t)kind, (uint8_t)cpu, 1};
        s->last = last;
        s->buffers = machine_buffered(&sim.world->cpu[cpu]) > 0;
        s->touched = step_notes;
        if (++a->known == 1)
            met_by_first = surely_meets(a, other);
        met_by_other |= other->made < other->known &&
                        notes_conflict(&other->at[other->made].touched, &s->touched);
    }
    memset(&step_notes, 0, sizeof step_notes);
    /* More need not be known if neither can go first. */
    sim.halt |= a->count == AHEAD_MAX || (met_by_first && met_by_other);
}

static void record_within(bool store)
{
    struct ahead *a = recorded;
    record(store ? DECIDE_DRAIN : DECIDE_RUN, a == &x.ahead[1], false);
    if (store || !sim.yielded)
        return;
    uint64_t now = world_hash();
    a->round = now == a->yielded;
    sim.halt |= a->round;
    a->yielded = now;
    sim.yielded = false;
}

/* Moves the world; the caller goes back. */
static void look_ahead(struct ahead *a, unsigned cpu)
{
    struct decision options[OPTIONS_MAX];
    const struct decision *next;
    a->count = a->made = a->known = 0;
    a->complete = false;
    recorded = a;
    met_by_first = false;
    met_by_other = surely_meets(&x.ahead[!cpu], a);
    a->yielded = 0;
    a->round = sim.yielded = sim.halt = false;
    sim.step_over = record_within;
    memset(&step_notes, 0, sizeof step_notes);
    while (!share_grew && !sim.halt && (next = alone(options, run_options(options), cpu))) {
        struct decision d = *next;
        if (d.kind == DECIDE_RUN)
            d.n = POINTS_MAX;
        run_apply(&d);
        if (!sim.halt)
            record((enum decision_kind)d.kind, d.cpu, true);
    }
    sim.step_over = NULL;
    a->complete = true;
    a->at[a->count].asks = 0;
    if (a->round)
        touch_again(a);
    else if (sim.halt)
        a->complete = a->count == AHEAD_MAX;
    else
        touch_waiting(&sim.world->cpu[cpu], &a->at[a->count].touched);
    if (!a->complete)
        return;
    if (a->count == AHEAD_MAX)
        touch_everything(&a->at[a->count].touched);
    ahead_sum_up(a, cpu);
}

static void forget(struct ahead *a)
{
    a->known = a->made;
    a->complete = false;
}

/* A step was made that touched this: what is seen ahead is right as far as it does not meet that.
 */
static void met(struct ahead *a, const struct notes *step)
{
    unsigned i = a->made;
    while (i < a->known && !notes_conflict(&a->at[i].touched, step))
        i++;
    a->known = i;
    a->complete = false;
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
    const struct ahead_step *s = &a->at[a->made], *rest = &other->at[other->made];
    if (notes_conflict(&s->touched, &rest->later))
        return false;
    if (s->step.kind == DECIDE_INTERRUPT)
        return true;
    if (s->step.kind == DECIDE_RUN && s->buffers && (rest->asks >> s->step.cpu & 1))
        return false;
    return !notes_conflict(&s->touched, &rest->interrupts);
}

/* Make what can be made at once.  An interrupt that was pending is in both, and happens once. */
static void make(struct ahead *a, struct ahead *other)
{
    struct decision d = a->at[a->made].step;
    bool last;
    if (d.kind == DECIDE_DRAIN)
        d.n = (uint16_t)(sim.world->history.drained[d.cpu] + 1);
    do
        last = a->at[a->made++].last;
    while (d.kind == DECIDE_RUN && !last && can_be_made(a, other) &&
           a->at[a->made].step.kind == DECIDE_RUN && ++d.n);
    if (run_possible(&d))
        run_apply(&d);
    while (other->made < other->count && other->at[other->made].step.kind == DECIDE_INTERRUPT &&
           !run_possible(&other->at[other->made].step))
        other->made++;
}

/* See ahead what both do, or as much of it as shows that no step can be made; true: all of it. */
static bool see_ahead(void)
{
    size_t here = x.end;
    uint32_t decisions = trace.count, points = trace.points;
    bool kept = false;
    if (surely_meets(&x.ahead[0], &x.ahead[1]) && surely_meets(&x.ahead[1], &x.ahead[0]))
        return false;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        if (x.ahead[cpu].complete)
            continue;
        if (!kept)
            snapshot_put(here);
        kept = true;
        look_ahead(&x.ahead[cpu], cpu);
        go_back(here, decisions, points);
        if (!x.ahead[cpu].complete)
            return false;
    }
    return true;
}

/* Make the steps that can change places with all that the other CPU does.  False: there is none. */
static bool make_steps(void)
{
    struct ahead *a = &x.ahead[0], *b = &x.ahead[1];
    bool made = false, all = see_ahead();
    while (all && !share_grew) {
        if (can_be_made(a, b))
            make(a, b);
        else if (can_be_made(b, a))
            make(b, a);
        else
            break;
        made = true;
    }
    return made; /* what is left to do of both has not changed */
}

/* Behind a snapshot: what is seen ahead. */
static size_t ahead_put(size_t at)
{
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        const struct ahead *a = &x.ahead[cpu];
        unsigned count = (a->complete ? a->count + 1 : a->known) - a->made;
        struct ahead *out = (struct ahead *)(x.snapshots + at);
        memcpy(out, a, offsetof(struct ahead, at));
        memcpy(out->at, &a->at[a->made], count * sizeof a->at[0]);
        out->count -= a->made;
        out->known -= a->made;
        out->made = 0;
        at += offsetof(struct ahead, at) + count * sizeof a->at[0];
    }
    return (at + 63) & ~(size_t)63;
}

static void ahead_get(size_t at)
{
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        const struct ahead *in = (const struct ahead *)(x.snapshots + at);
        unsigned count = in->complete ? in->count + 1 : in->known;
        size_t size = offsetof(struct ahead, at) + count * sizeof in->at[0];
        memcpy(&x.ahead[cpu], in, size);
        at += size;
    }
}

/* A decision: who makes it does what was seen ahead, and the other does so until it meets that. */
static void ahead_step(const struct decision *d)
{
    struct ahead *a = &x.ahead[d->cpu], *other = &x.ahead[!d->cpu];
    if (d->kind == DECIDE_RUN && a->made < a->known && a->at[a->made].step.kind == DECIDE_RUN) {
        met(other, &a->at[a->made].touched);
        a->made++;
    } else {
        forget(a);
        forget(other);
    }
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
    x.end = n->ahead = snapshot_put(x.end);
    if (x.program->cpus == 2)
        x.end = ahead_put(x.end);
}

/* Try the next decision of the last node. */
static void node_next(void)
{
    struct node *n = &x.node[x.depth - 1];
    struct decision d = n->option[n->next++];
    go_back(n->snapshot, n->decisions, n->points);
    if (x.program->cpus == 2) {
        ahead_get(n->ahead);
        ahead_step(&d);
    }
    if (n->next == n->count) {
        x.end = n->snapshot;
        x.depth--;
    }
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
            forget(&x.ahead[0]);
            forget(&x.ahead[1]);
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
    forget(&x.ahead[0]);
    forget(&x.ahead[1]);
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

/* Some whole runs, only to learn which words are shared; others each time. */
static void warm_up(uint64_t *rng)
{
    struct decision options[OPTIONS_MAX];
    unsigned count;
    for (unsigned i = 0; i < WARM_UPS; i++) {
        search_begin();
        while ((count = run_options(options)) > 0) {
            struct decision d = options[random_below(rng, count)];
            if (d.kind == DECIDE_RUN)
                d.n = (uint16_t)(1 + random_below(rng, 1u << i % 8));
            run_apply(&d);
        }
    }
}

static void exhaust_body(void *context)
{
    uint64_t rng = 1;
    (void)context;
    sim.tracking = false;
    trace.count = trace.points = 0;
    program_begin(x.program);
    world_snapshot(x.snapshots);
    sim.tracking = true;
    share_reset();
    do {
        sim.stepwise = false;
        warm_up(&rng);
        sim.stepwise = true;
        search();
    } while (share_grew);
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
 * wants: no variants of operations, both CPUs in one space, from twelve start states, from four
 * with a section and from four with a page file; then, from there, in two spaces; then all others.
 */
enum pair_group { PAIRS, PAIRS_APART, PAIRS_OTHER, PAIR_GROUPS };

/* Two CPUs, with so many operations that are still to be said. */
static void program_init(struct program *p, unsigned first, unsigned second, bool tso)
{
    *p = (struct program){.cpus = 2, .count = {(uint8_t)first, (uint8_t)second}};
    p->mode.tso = tso;
    p->mode.depth = 2;
    p->mode.eager = p->mode.stocked = true;
}

/* From this start state, with these operations, `make proof` wants every pair. */
static bool is_wanted(const struct program *p)
{
    bool pages = false;
    for (unsigned c = 0; c < p->cpus; c++)
        for (unsigned i = 0; i < p->count[c]; i++) {
            const struct op *op = &ops[p->op[c][i]];
            if (op->variant)
                return false;
            pages |= op_pages(op);
        }
    return starts[p->start].pairs && (pages || !starts[p->start].paged);
}

/* False: this number is no program. */
static bool pair_program(uint64_t number, struct program *p)
{
    program_init(p, 1, 1, number % 2);
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
    if (!is_wanted(p))
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
    /* What is closed with few states first: 99 of 100 are in the first pass. */
    for (unsigned group = 0; good && group < groups; group++)
        for (uint64_t states = PASS_STATES; good && states <= PAIR_STATES_MAX;
             states *= PASS_GROWTH)
            good = pairs_pass(e, failed, &pairs, (enum pair_group)group, states);
    free(pairs.closed);
    free(pairs.group);
    e->took = seconds_now() - begin;
    return good;
}

/* ---- triples --------------------------------------------------------------------------------- */

/*
 * Two operations on one CPU beside one on the other, both in one space, from the start states of
 * the pairs: there are millions, so they are drawn.
 */
bool explore_triples(struct exploration *e, struct program *failed)
{
    double begin = seconds_now();
    uint64_t rng = e->seed;
    bool good = true, closed;
    e->until = begin + e->seconds;
    while (good && seconds_now() < e->until) {
        program_init(failed, 2, 1, random_below(&rng, 2));
        failed->start = (uint8_t)random_below(&rng, start_count);
        for (unsigned i = 0; i < 3; i++)
            failed->op[i / 2][i % 2] = (uint8_t)random_below(&rng, op_count);
        if (!is_wanted(failed) || !program_valid(failed))
            continue;
        good = exhaust_program(failed, TRIPLE_STATES_MAX, e, &closed);
        e->programs++;
        e->closed += closed;
    }
    e->took = seconds_now() - begin;
    return good;
}
