/* SPDX-License-Identifier: MIT */
/*
 * The schedule explorers as a program.
 *
 *   schedule [--random N] [--pct N] [--seconds N] [--seed N] [--canary N]
 *       N random schedules; N by priorities; each for so many seconds at most
 *   schedule ... --aimed
 *       schedules of the aimed programs only (explore.c)
 *   schedule ... --program "start=... A:... B:..."
 *       schedules of this program only
 *   schedule --exhaustive [--seconds N]
 *       every schedule of pairs of operations, as far as the time allows
 *   schedule --exhaustive "start=... A:... B:... tso=2"
 *       every schedule of one program
 *   schedule --triples --seconds N [--seed N]
 *       every schedule of programs with three operations, drawn
 *   schedule --replay "start=... A:... B:... | r0.12 d1.3 ..."
 *   schedule ... --without WORD
 *       without the programs whose text contains it; may be given several times
 *   schedule --conflicts
 *       what pairs of operations write in common; --conflict-rules: only what has to hold
 *
 * The last line is for machines: [proof] and what was done.  A failure prints one line that runs
 * it again, and status 1.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[1 << 20];

static int failure(struct program *p, const char *called)
{
    char name[TEXT_MAX], why[TEXT_MAX];
    if (trace.count > 0)
        shrink(p);
    snprintf(why, sizeof why, "%s", sim.failure);
    program_print(p, name, sizeof name);
    trace_print(text, sizeof text);
    fprintf(stderr, "FAILED schedule: %s; again: %s%s", why, called, "");
    if (qi_test_canary)
        fprintf(stderr, " --canary %d", (int)qi_test_canary);
    fprintf(stderr, " --replay \"%s | %s\"\n", name, text);
    return 1;
}

static int replayed(const char *line)
{
    static struct decision decisions[DECISIONS_MAX];
    struct program p;
    const char *bar = strchr(line, '|');
    char name[TEXT_MAX];
    snprintf(name, sizeof name, "%.*s", (int)(bar ? bar - line : (long)strlen(line)), line);
    if (!program_parse(&p, name)) {
        fprintf(stderr, "schedule: that is no program: %s\n", name);
        return 2;
    }
    unsigned count = bar ? trace_parse(bar + 1, decisions, DECISIONS_MAX) : 0;
    sim.verbose = true;
    bool good = replay(&p, decisions, count);
    sim.verbose = false;
    program_describe(&p);
    if (!good) {
        fprintf(stderr, "FAILED schedule: %s\n", sim.failure);
        return 1;
    }
    printf("schedule.replay: ok (%u decisions, %u points)\n", trace.count, trace.points);
    return 0;
}

static int exhausted(const char *line, struct exploration *e, const char *called)
{
    struct program p;
    bool closed = false;
    if (line) {
        if (!program_parse(&p, line)) {
            fprintf(stderr, "schedule: that is no program: %s\n", line);
            return 2;
        }
        p.mode.eager = true;
        double begin = seconds_now();
        if (!exhaust_program(&p, UINT64_C(1) << 26, e, &closed))
            return failure(&p, called);
        e->took = seconds_now() - begin;
        e->programs = 1;
        e->closed = closed;
        e->there_are = 1;
        e->pairs = 1;
        e->pairs_closed = closed;
    } else if (!explore_pairs(e, &p)) {
        return failure(&p, called);
    }
    printf("schedule.exhaustive: ok (%llu of %llu programs, %llu closed; %llu states, %llu ends, "
           "%.1f s)\n",
           (unsigned long long)e->programs, (unsigned long long)e->there_are,
           (unsigned long long)e->closed, (unsigned long long)e->states,
           (unsigned long long)e->runs, e->took);
    printf("  every pair of operations from a dozen states: %llu of %llu programs closed\n",
           (unsigned long long)e->pairs_closed, (unsigned long long)e->pairs);
    printf("[proof] exhaustive_programs %llu\n", (unsigned long long)e->closed);
    printf("[proof] exhaustive_pairs_pct %.2f\n",
           100.0 * (double)e->pairs_closed / (double)e->pairs);
    return 0;
}

static int tripled(struct exploration *e, const char *called)
{
    struct program p;
    if (!explore_triples(e, &p))
        return failure(&p, called);
    printf("schedule.triples: ok (%llu programs, %llu closed; %llu states, %llu ends, %.1f s)\n",
           (unsigned long long)e->programs, (unsigned long long)e->closed,
           (unsigned long long)e->states, (unsigned long long)e->runs, e->took);
    printf("[proof] exhaustive_programs %llu\n", (unsigned long long)e->closed);
    return 0;
}

static int explored(bool pct, struct exploration *e, const char *called)
{
    struct program p;
    if (!(pct ? explore_pct : explore_random)(e, &p))
        return failure(&p, called);
    printf("schedule.%s: ok (%llu schedules of %llu programs, %llu points, %llu done twice, "
           "%.0f a second)\n",
           pct ? "pct" : "random", (unsigned long long)e->runs, (unsigned long long)e->programs,
           (unsigned long long)e->points, (unsigned long long)e->twice,
           (double)e->runs / (e->took + 1e-9));
    return 0;
}

int main(int argc, char **argv)
{
    struct exploration options = {.seconds = 1e9, .seed = 1};
    const char *pairs = NULL, *line = NULL;
    struct program given;
    uint64_t random = 0, pct = 0;
    bool exhaustive = false, triples = false;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--exhaustive")) {
            exhaustive = true;
            if (value[0] && value[0] != '-')
                pairs = argv[++i];
            continue;
        }
        if (!strcmp(argv[i], "--triples")) {
            triples = true;
            continue;
        }
        if (!strcmp(argv[i], "--conflicts") || !strcmp(argv[i], "--conflict-rules"))
            return conflicts_check(!argv[i][11]) ? 0 : 1;
        if (!strcmp(argv[i], "--aimed") || !strcmp(argv[i], "--wanted")) {
            *(argv[i][2] == 'a' ? &options.aimed : &options.wanted) = true;
            continue;
        }
        if (!strcmp(argv[i], "--random"))
            random = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--pct"))
            pct = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--seconds"))
            options.seconds = atof(value);
        else if (!strcmp(argv[i], "--seed"))
            options.seed = strtoull(value, NULL, 0);
        else if (!strcmp(argv[i], "--program") && program_parse(&given, value))
            options.program = &given;
        else if (!strcmp(argv[i], "--replay"))
            line = value;
        else if (!strcmp(argv[i], "--without"))
            program_leave_out(value);
        else if (!strcmp(argv[i], "--canary"))
            qi_test_canary = (enum qi_canary)atoi(value);
        else
            return fprintf(stderr, "schedule: what is %s?\n", argv[i]), 2;
        i++;
    }
    if (line)
        return replayed(line);
    uint64_t schedules = 0;
    for (int which = 0; which < 2; which++) {
        struct exploration e = options;
        e.schedules = which ? pct : random;
        if (e.schedules > 0 && explored(which, &e, argv[0]) != 0)
            return 1;
        schedules += e.runs;
    }
    if (exhaustive && exhausted(pairs, &options, argv[0]) != 0)
        return 1;
    if (triples && tripled(&options, argv[0]) != 0)
        return 1;
    if (schedules > 0)
        printf("[proof] schedules %llu\n", (unsigned long long)schedules);
    return 0;
}
