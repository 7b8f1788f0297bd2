/* SPDX-License-Identifier: MIT */
/*
 * A smaller run that fails in the same way.
 *
 * First the program: operations, CPUs and features of the machine are left out, one by one, as long
 * as some thousand random schedules of what is left fail in the same way.  Then the schedule:
 * pieces of the list of decisions are left out, the largest first, and what a CPU did in two pieces
 * is done in one.  Two failures are the same if their texts are, up to the first number.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

enum { SHRINK_RUNS = 3000 };

static double shrink_until;

/* Did it fail in this way?  Numbers may differ, words may not. */
static bool fails_so(const char *how)
{
    return sim.failure[0] && strncmp(sim.failure, how, strcspn(how, "0123456789")) == 0;
}

/* Does some schedule of the program fail in this way?  Then the trace is one that does. */
static bool fails_somehow(struct program *p, const char *how)
{
    if (!program_valid(p) || seconds_now() > shrink_until)
        return false;
    for (unsigned pct = 0; pct < 2; pct++)
        if (!explore_program(p, SHRINK_RUNS, pct) && fails_so(how))
            return true;
    return false;
}

/* The n-th way to make a program smaller; false: there are no more.  It may be no way for this. */
static bool program_smaller(struct program *p, unsigned n)
{
    unsigned cpu = n / (OPS_MAX + 1), index = n % (OPS_MAX + 1);
    if (cpu < p->cpus && index == OPS_MAX && p->cpus > 1) {
        p->cpus--;
        memmove(&p->slot[cpu], &p->slot[cpu + 1], CPUS_MAX - cpu - 1);
        memmove(&p->count[cpu], &p->count[cpu + 1], CPUS_MAX - cpu - 1);
        memmove(&p->op[cpu], &p->op[cpu + 1], (CPUS_MAX - cpu - 1) * sizeof p->op[0]);
    } else if (cpu < p->cpus && index < p->count[cpu]) {
        memmove(&p->op[cpu][index], &p->op[cpu][index + 1],
                (size_t)(p->count[cpu] - index - 1) * sizeof p->op[0][0]);
        p->count[cpu]--;
    } else if (n == CPUS_MAX * (OPS_MAX + 1)) {
        p->mode.tso = false;
    } else if (n == CPUS_MAX * (OPS_MAX + 1) + 1) {
        p->mode.masked = false;
    }
    return n <= CPUS_MAX * (OPS_MAX + 1) + 1;
}

static bool same_program(const struct program *a, const struct program *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void shrink_program(struct program *program, const char *how)
{
    static struct trace kept;
    kept = trace;
    for (unsigned n = 0;;) {
        struct program smaller = *program;
        if (!program_smaller(&smaller, n))
            break;
        if (!same_program(&smaller, program) && fails_somehow(&smaller, how)) {
            *program = smaller;
            kept = trace;
        } else {
            n++;
        }
    }
    trace = kept;
}

static bool still_fails(const struct program *p, const struct decision *d, unsigned count,
                        const char *how)
{
    return seconds_now() < shrink_until && !replay(p, d, count) && fails_so(how);
}

static struct decision best[DECISIONS_MAX], less[DECISIONS_MAX];

/* Leave decisions out, the largest pieces first. */
static unsigned shrink_pieces(const struct program *p, unsigned count, const char *how)
{
    for (unsigned piece = count; piece > 0; piece /= 2)
        for (unsigned at = 0; at < count;) {
            unsigned gone = piece < count - at ? piece : count - at;
            memcpy(less, best, at * sizeof best[0]);
            memcpy(less + at, best + at + gone, (count - at - gone) * sizeof best[0]);
            if (still_fails(p, less, count - gone, how)) {
                count -= gone;
                memcpy(best, less, count * sizeof best[0]);
            } else {
                at += gone;
            }
        }
    return count;
}

/* Let a CPU do at once what it did in two decisions, and earlier. */
static unsigned shrink_switches(const struct program *p, unsigned count, const char *how)
{
    for (unsigned at = 0; at + 1 < count;) {
        unsigned next = at + 1;
        while (next < count && (best[next].kind != DECIDE_RUN || best[next].cpu != best[at].cpu))
            next++;
        memcpy(less, best, count * sizeof best[0]);
        if (best[at].kind == DECIDE_RUN && next < count) {
            less[at].n = (uint16_t)(less[at].n + less[next].n);
            memmove(&less[next], &less[next + 1], (count - next - 1) * sizeof best[0]);
            if (still_fails(p, less, count - 1, how)) {
                count--;
                memcpy(best, less, count * sizeof best[0]);
                continue;
            }
        }
        at++;
    }
    return count;
}

void shrink(struct program *program)
{
    char how[TEXT_MAX];
    memcpy(how, sim.failure, sizeof how);
    shrink_until = seconds_now() + 20;
    shrink_program(program, how);
    unsigned count = trace.count;
    memcpy(best, trace.decision, count * sizeof best[0]);
    if (still_fails(program, best, count, how)) {
        count = shrink_pieces(program, count, how);
        count = shrink_switches(program, count, how);
        count = shrink_pieces(program, count, how);
        shrink_until = 1e18;
        (void)still_fails(program, best, count, how);
    } else {
        snprintf(sim.failure, TEXT_MAX, "%.180s (not when replayed)", how);
    }
    /* What comes after these follows. */
    memcpy(trace.decision, best, count * sizeof best[0]);
    trace.count = count;
}
