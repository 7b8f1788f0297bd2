/* SPDX-License-Identifier: MIT */
/*
 * Every schedule of a program.
 *
 * Depth first, with a set of the states that were met: a state is the whole block but its history,
 * stacks included (block.c), kept as 64 bits.  From each state every decision is tried that is
 * possible; where one is possible only, it is no state of its own.  TLBs are eager (machine.h), so
 * what they hold adds no decisions.  CPUs switch only before accesses to words that several of them
 * access (share.c).  A program is *closed* when nothing is left to try; with too many states it is
 * given up, and counted as not closed.
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

enum { NODES_MAX = 1 << 15, PASS_STATES = 1 << 13, PAIR_STATES_MAX = 1 << 22 };
#define SNAPSHOTS_MAX (UINT64_C(1) << 34) /* of addresses, not of memory */

/* A state with decisions left to try. */
struct node {
    size_t snapshot;            /* where it begins */
    uint32_t decisions, points; /* of the trace */
    uint8_t count, next;
    struct decision option[OPTIONS_MAX];
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
    x.end += world_snapshot(x.snapshots + x.end);
    x.end = (x.end + 63) & ~(size_t)63;
}

/* Try the next decision of the last node; false: there is no node any more. */
static bool node_next(void)
{
    if (x.depth == 0)
        return false;
    struct node *n = &x.node[x.depth - 1];
    struct decision d = n->option[n->next++];
    world_restore(x.snapshots + n->snapshot);
    trace.count = n->decisions;
    trace.points = n->points;
    sim.changed = false;
    if (n->next == n->count) {
        x.end = n->snapshot;
        x.depth--;
    }
    run_apply(&d);
    return true;
}

/* From the state that stands there: go on until there is a choice that is new; false: an end. */
static bool go_on(void)
{
    struct decision options[OPTIONS_MAX];
    unsigned count;
    while ((count = run_options(options)) == 1 && !share_grew)
        run_apply(&options[0]);
    if (share_grew || !visit())
        return false;
    x.e->states++;
    if (count == 0) {
        sim.tracking = false;
        program_judge(x.program);
        sim.tracking = true;
        if (sim.failure[0])
            longjmp(sim.direct, 1);
        x.e->runs++;
        return false;
    }
    node_push(options, count);
    return true;
}

static void search(void)
{
    x.depth = 0;
    x.end = 0;
    visited_clear();
    world_restore(x.snapshots);
    trace.count = trace.points = 0;
    share_grew = false;
    x.end = (world_snapshot(x.snapshots) + 63) & ~(size_t)63; /* the beginning stays there */
    sim.changed = true;
    go_on();
    while (!share_grew && x.visited_count < x.states_max && node_next())
        go_on();
    x.closed = x.depth == 0 && !share_grew;
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
    sim.tracking = false;
    *closed = good && x.closed;
    return good;
}

/* ---- every pair of operations -------------------------------------------------------------- */

/* The programs with one operation on each of two CPUs, by number; false: this one is none. */
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

struct pairs {
    uint64_t all, stride;
    double until;
    bool *closed; /* by number */
};

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

/* One pass over all that are not closed; false: a finding.  The time may end it. */
static bool pairs_pass(struct exploration *e, struct program *p, const struct pairs *pairs,
                       uint64_t states_max)
{
    for (uint64_t i = 0; i < pairs->all; i++) {
        uint64_t number = i * pairs->stride % pairs->all;
        bool closed;
        if (pairs->closed[number] || !pair_program(number, p))
            continue;
        if (seconds_now() >= pairs->until)
            break;
        if (!exhaust_program(p, states_max, e, &closed))
            return false;
        pairs->closed[number] = closed;
        e->closed += closed;
        e->programs += states_max == PASS_STATES;
    }
    return true;
}

bool explore_pairs(struct exploration *e, struct program *failed)
{
    double begin = seconds_now();
    struct pairs pairs = {.all = (uint64_t)start_count * op_count * op_count * 4,
                          .until = begin + e->seconds};
    bool good = true;
    /* Scattered, so that a part of them is a fair one. */
    pairs.stride = pairs.all * 5 / 13 + e->seed;
    while (common_divisor(pairs.all, pairs.stride) != 1)
        pairs.stride++;
    pairs.closed = calloc(pairs.all, 1);
    if (!pairs.closed)
        abort();
    for (uint64_t i = 0; i < pairs.all; i++)
        e->there_are += pair_program(i, failed);
    /* What is closed with few states first, for there is most of it. */
    for (uint64_t states = PASS_STATES; good && states <= PAIR_STATES_MAX; states *= 8)
        good = pairs_pass(e, failed, &pairs, states);
    free(pairs.closed);
    e->took = seconds_now() - begin;
    return good;
}
