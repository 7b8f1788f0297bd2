/* SPDX-License-Identifier: MIT */
/*
 * The failure loops as a program.
 *
 *   inject [--random N]          all scenarios that are written down, and N made at random
 *   inject --scenario "c A; ..." one scenario, as a failure prints it
 *   inject --canary N            with deliberate bug N of core/hook.h
 *
 * Nothing depends on time or chance: running it again is running the same again.
 */
#include "inject.h"

#include <quire/quire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct inject_options o = {.random = QUIRE_TABLE_ENTRIES < 16 ? 100 : 4};
    static struct inject_result r;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--random"))
            o.random = (unsigned)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--scenario"))
            o.scenario = argv[i + 1];
        else if (!strcmp(argv[i], "--canary"))
            qi_test_canary = (enum qi_canary)atoi(argv[i + 1]);
        else
            return fprintf(stderr, "inject: what is %s?\n", argv[i]), 2;
    }
    inject_run(&o, &r);
    if (r.failed) {
        fprintf(stderr, "FAILED inject: %s\n", r.why);
        fprintf(stderr, "again: %s --scenario \"%s\"\n", argv[0], r.scenario);
        return 1;
    }
    printf("inject: ok (%u scenarios, %u sites, %llu passages, %llu transfers, %llu runs, "
           "%llu refusals)\n",
           r.scenarios, (unsigned)QI_SITE_COUNT, (unsigned long long)r.passages,
           (unsigned long long)r.transfers, (unsigned long long)r.runs,
           (unsigned long long)r.failures);
    /* A site that is never passed, or never made to fail, fails the run. */
    printf("[proof] failures_injected %llu\n[proof] failure_sites_pct 100\n",
           (unsigned long long)r.failures);
    return 0;
}
