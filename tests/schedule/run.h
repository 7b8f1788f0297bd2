/* SPDX-License-Identifier: MIT */
/*
 * One run of one program: decisions, what may be decided, and what each explorer shares.
 *
 * A *decision* is one thing that the explorer lets happen (machine.h).  A run is its program and
 * its decisions; as text
 *
 *     r0.12 d1.3 k1 f0.2 x1      CPU 0 runs 12 points; stores of CPU 1 become visible up to its
 *                                third; CPU 1 takes its interrupts; CPU 0 fetches page 2 of those
 *                                that are touched; CPU 1 forgets what it holds
 *
 * A decision that is not possible where it stands is passed over, and a list that has come to its
 * end goes on in a fixed way; so every text is a run, and can be made shorter by leaving out.
 */
#ifndef SCHEDULE_RUN_H
#define SCHEDULE_RUN_H

#include "program.h"

enum decision_kind { DECIDE_RUN, DECIDE_DRAIN, DECIDE_INTERRUPT, DECIDE_FILL, DECIDE_FORGET };

struct decision {
    uint8_t kind, cpu;
    uint16_t n; /* RUN: points; DRAIN: how many stores are visible then; FILL: which page */
};

enum { DECISIONS_MAX = 1 << 16, OPTIONS_MAX = 3 * CPUS_MAX, POINTS_MAX = 20000 };

/* The run so far: decisions that were carried out, exactly. */
struct trace {
    uint32_t count, points;
    struct decision decision[DECISIONS_MAX];
};
extern struct trace trace;

/* Nothing but this CPU's own progress: runs, drains and interrupts that are possible now.  None:
 * the run has ended.  Fails if it can not end. */
unsigned run_options(struct decision *out);
bool run_possible(const struct decision *decision);
/* Carry out, check, and note in the trace.  Failures go to sim.direct. */
void run_apply(const struct decision *decision);
/* Go on in the fixed way until the run has ended. */
void run_finish(void);

/* Call body(context) and return true; or false if something failed (sim.failure). */
bool run_guarded(void (*body)(void *context), void *context);

void trace_print(char *text, size_t size);
/* Decisions out of a text; returns how many. */
unsigned trace_parse(const char *text, struct decision *out, unsigned max);

/* ---- explorers: explore.c, exhaust.c ------------------------------------------------------- */

struct exploration {
    double seconds;     /* stop after this time .. */
    double until;       /* exhaustive: the moment when that is; 0: never */
    uint64_t schedules; /* .. or after so many runs, if not 0 */
    uint64_t seed;
    const struct program *program; /* random, PCT: this one only, unless null */
    bool aimed;                    /* .. the aimed ones only */
    bool wanted;                   /* exhaustive: only the pairs that make proof wants */
    /* Results. */
    uint64_t runs, points, twice, states;
    uint64_t programs, closed;    /* exhaustive: tried; explored to the end */
    uint64_t there_are;           /* pairs of operations that are programs */
    uint64_t pairs, pairs_closed; /* of these, those that make proof wants */
    double took;
};

/* Each returns false with sim.failure, and the program and trace of the failed run. */
bool explore_random(struct exploration *e, struct program *failed);
bool explore_pct(struct exploration *e, struct program *failed);
/* Random schedules of one program. */
bool explore_program(struct program *program, unsigned runs, bool pct);
bool explore_pairs(struct exploration *e, struct program *failed);
bool explore_triples(struct exploration *e, struct program *failed);
/* One program, every schedule. */
bool exhaust_program(const struct program *program, uint64_t states_max, struct exploration *e,
                     bool *closed);

/* One given run; false: it fails. */
bool replay(const struct program *program, const struct decision *decisions, unsigned count);
/* A smaller run that fails, if the given one does. */
void shrink(struct program *program);
/* A run out of bytes. */
bool replay_bytes(const uint8_t *bytes, size_t size, struct program *program);

/* What has to hold for pairs of operations, and on request tables: conflicts.c. */
bool conflicts_check(bool tables);

/* Of this program's processor time. */
double seconds_now(void);

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
static inline unsigned random_below(uint64_t *state, unsigned n)
{
    return (unsigned)(((random_next(state) >> 32) * n) >> 32);
}

#endif
