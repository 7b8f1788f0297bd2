/* SPDX-License-Identifier: MIT */
/*
 * The exhaustive search as a program.
 *
 *   search [--wide] [--seconds N] [--depth N]
 *       every sequence, as deep as N seconds allow, and to depth N in any case
 *   search [--wide] --replay "write(A,0) fork(A->B) ..."
 *       one sequence
 *   search --sections memory|file ...
 *       the same two, with views of a section of shared memory, or of one with a pager
 *   search --rules
 *       take the rules of H2, H5 and H26 out, one by one: each search must fail
 *   search --canary N ...
 *       with deliberate bug N of core/hook.h
 *
 * Without --wide the operations are read, write, fork, exit, and protect, unmap and map of few
 * ranges: that search goes deep.  --wide has more ranges and protections, and fetch.  Pass and
 * fail do not depend on the time that it takes, only on the depth asked for.
 */
#include "search.h"

#include "hook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void progress(const char *line)
{
    printf("  %s\n", line);
    fflush(stdout);
}

static const char *const sections_names[] = {"", " --sections memory", " --sections file"};

static int finding(const struct search_result *r, const char *program,
                   const struct search_options *o)
{
    fprintf(stderr, "FAILED search: %s; again: %s%s%s --replay \"%s\"\n", r->why, program,
            o->wide ? " --wide" : "", sections_names[o->sections], r->sequence);
    return 1;
}

/* Each rule that this search alone must be able to miss. */
static int rules(void)
{
    static const struct {
        enum qi_canary canary;
        const char *name;
    } taken[] = {
        {QI_CANARY_NO_PUSH_DOWN, "H2"},
        {QI_CANARY_DEAD_TABLE_BORROWS, "H5"},
        {QI_CANARY_DISCARD_IN_PLACE, "H26"},
    };
    static struct search_result r;

    for (unsigned i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        struct search_options o = {.seconds = 1e9, .max_depth = 7, .max_states = 4000000};

        qi_test_canary = taken[i].canary;
        search_run(&o, &r);
        qi_test_canary = QI_CANARY_NONE;
        if (!r.failed) {
            fprintf(stderr, "FAILED search --rules: nothing fails without the rule of %s\n",
                    taken[i].name);
            return 1;
        }
        printf("  without %s: %s (%s)\n", taken[i].name, r.sequence, r.why);
    }
    printf("search.rules: ok (3 rules taken out, 3 searches failed)\n");
    return 0;
}

int main(int argc, char **argv)
{
    struct search_options o = {.seconds = 60, .min_depth = 8, .progress = progress};
    static struct search_result r;
    const char *sequence = NULL;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (!strcmp(argv[i], "--rules"))
            return rules();
        if (!strcmp(argv[i], "--wide")) {
            o.wide = true;
            continue;
        }
        if (!strcmp(argv[i], "--seconds"))
            o.seconds = atof(value);
        else if (!strcmp(argv[i], "--depth"))
            o.min_depth = (unsigned)atoi(value);
        else if (!strcmp(argv[i], "--sections") && !strcmp(value, "memory"))
            o.sections = SEARCH_MEMORY;
        else if (!strcmp(argv[i], "--sections") && !strcmp(value, "file"))
            o.sections = SEARCH_FILE;
        else if (!strcmp(argv[i], "--replay"))
            sequence = value;
        else if (!strcmp(argv[i], "--canary"))
            qi_test_canary = (enum qi_canary)atoi(value);
        else
            return fprintf(stderr, "search: what is %s?\n", argv[i]), 2;
        i++;
    }
    if (sequence) {
        if (!search_replay(&o, sequence, &r))
            return fprintf(stderr, "search: a word of the sequence is no operation there\n"), 2;
        if (r.failed)
            return finding(&r, argv[0], &o);
        printf("search.replay: ok (%llu operations)\n", (unsigned long long)r.transitions);
        return 0;
    }
    search_run(&o, &r);
    if (r.failed)
        return finding(&r, argv[0], &o);
    if (!r.closed && r.depth < o.min_depth) {
        fprintf(stderr, "FAILED search: depth %u, not %u\n", r.depth, o.min_depth);
        return 1;
    }
    printf("search%s%s: ok (%llu states, %llu transitions, depth %u, %s)\n", o.wide ? ".wide" : "",
           sections_names[o.sections], (unsigned long long)r.states,
           (unsigned long long)r.transitions, r.depth, r.closed ? "closed" : "not closed");
    return 0;
}
