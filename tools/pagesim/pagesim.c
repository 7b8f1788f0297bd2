/* SPDX-License-Identifier: MIT */
/*
 * pagesim [--bench] TRACE...: what each policy costs a program, beside the optimum.
 *
 * For each trace (pagetrace makes them; one whose name ends in .xz is unpacked), and for memories
 * of 1, 3/4, 1/2 and 1/4 of the pages that the program ever touches, and of its working set: the
 * page-ins under the optimum, under LRU, and under each policy of core/policy.c in the mechanics of
 * core (paging.c), one page at a time.  Beside a policy's page-ins are its soft faults, the pages
 * its passes visited for each page-in, and, under "around", how many reads are left when each
 * brings its neighbours too.  A memory that is too small for the trace to be exact is left out.
 *
 * With --bench the last lines are figures for tools/bench.py: page-ins over the optimum's, the
 * geometric mean over all traces for which the optimum needs any.
 *
 * No policy reads fewer pages than the optimum: if one seems to, that is reported, and an error.
 */
#include "bounds.h"
#include "paging.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRACTIONS = 4, POLICIES = 2, CLUSTER = 8 };

static const struct quire_policy *const policies[POLICIES] = {&quire_policy_aging,
                                                              &quire_policy_clock};

/* What came out for one memory. */
struct row {
    uint64_t optimum, lru;
    struct paging_result alone[POLICIES], around[POLICIES];
};

/* Sums of logarithms of what is over the optimum, for each fraction of the pages. */
struct means {
    double lru[FRACTIONS], alone[FRACTIONS][POLICIES], around[FRACTIONS][POLICIES];
    unsigned traces[FRACTIONS];
};

static bool row_possible(const struct row *row)
{
    bool possible = row->lru >= row->optimum;

    for (unsigned i = 0; i < POLICIES; i++)
        possible &= row->alone[i].reads >= row->optimum && row->around[i].pages >= row->optimum;
    return possible;
}

static struct row row_make(const struct trace *trace, uint32_t frames)
{
    struct row row = {.optimum = bounds_optimum(trace, frames), .lru = bounds_lru(trace, frames)};

    for (unsigned i = 0; i < POLICIES; i++) {
        struct paging_config config = paging_defaults(policies[i], frames);
        row.alone[i] = paging_run(trace, &config);
        config.cluster = CLUSTER;
        row.around[i] = paging_run(trace, &config);
    }
    return row;
}

static void row_print(const char *of, double fraction, uint32_t frames, const struct row *row)
{
    printf("%5.2f %-11s %7u %8llu %8llu", fraction, of, frames, (unsigned long long)row->optimum,
           (unsigned long long)row->lru);
    for (unsigned i = 0; i < POLICIES; i++) {
        const struct paging_result *alone = &row->alone[i];
        printf("  |%8llu %8llu %6.1f %8llu", (unsigned long long)alone->reads,
               (unsigned long long)alone->soft,
               alone->reads ? (double)alone->visits / (double)alone->reads : 0,
               (unsigned long long)row->around[i].reads);
    }
    putchar('\n');
}

static double over(uint64_t reads, uint64_t optimum)
{
    return log((double)reads / (double)optimum);
}

static void means_add(struct means *means, unsigned f, const struct row *row)
{
    means->traces[f]++;
    means->lru[f] += over(row->lru, row->optimum);
    for (unsigned i = 0; i < POLICIES; i++) {
        means->alone[f][i] += over(row->alone[i].reads, row->optimum);
        means->around[f][i] += over(row->around[i].reads, row->optimum);
    }
}

/* All memories that are fractions of `whole` pages; those of the trace's pages go into means. */
static bool fractions(const struct trace *trace, const char *of, uint32_t whole,
                      struct means *means)
{
    bool possible = true;

    for (unsigned f = 0; f < FRACTIONS; f++) {
        uint32_t frames = whole * (FRACTIONS - f) / FRACTIONS;
        if (frames < trace->window || frames < PAGING_FRAMES_MIN)
            continue;
        struct row row = row_make(trace, frames);
        row_print(of, (double)(FRACTIONS - f) / FRACTIONS, frames, &row);
        possible &= row_possible(&row);
        if (means && row.optimum > 0)
            means_add(means, f, &row);
    }
    return possible;
}

static bool trace_compare(const char *name, struct means *means)
{
    struct trace trace;

    if (!trace_open(&trace, name)) {
        fprintf(stderr, "pagesim: %s: no trace\n", name);
        return false;
    }
    printf("\n%s: %u pages, working set %u, %.1f million accesses, %zu references\n%37s%8s", name,
           trace.pages, trace.working, (double)trace.accesses / 1e6, trace.count, "optimum", "lru");
    for (unsigned i = 0; i < POLICIES; i++)
        printf("  |%8s %8s %6s %8s", policies[i]->name, "soft", "visits", "around");
    putchar('\n');
    bool possible = fractions(&trace, "pages", trace.pages, means);
    possible &= fractions(&trace, "working set", trace.working, NULL);
    if (!possible)
        fprintf(stderr, "pagesim: %s: fewer page-ins than the optimum\n", name);
    trace_free(&trace);
    return possible;
}

static void figure(const char *who, const char *how, unsigned f, double sum, unsigned traces)
{
    printf("bench pagesim.%s%s.%upct.ratio %.3f ratio\n", who, how,
           100 * (FRACTIONS - f) / FRACTIONS, exp(sum / traces));
}

static void figures(const struct means *means)
{
    for (unsigned f = 1; f < FRACTIONS; f++) {
        figure("lru", "", f, means->lru[f], means->traces[f]);
        for (unsigned i = 0; i < POLICIES; i++) {
            figure(policies[i]->name, "", f, means->alone[f][i], means->traces[f]);
            figure(policies[i]->name, ".around", f, means->around[f][i], means->traces[f]);
        }
    }
}

int main(int argc, char **argv)
{
    struct means means = {0};
    bool bench = argc > 1 && strcmp(argv[1], "--bench") == 0, ok = true;

    if (argc < 2 + bench) {
        fputs("pagesim [--bench] TRACE...\n", stderr);
        return 2;
    }
    for (int i = 1 + bench; i < argc; i++)
        ok &= trace_compare(argv[i], &means);
    if (bench)
        figures(&means);
    return ok ? 0 : 1;
}
