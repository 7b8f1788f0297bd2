/* SPDX-License-Identifier: MIT */
/*
 * The model as a program.
 *
 *   model [--ops N] [--first S]
 *       worlds with the seeds S, S + 1, ... (S is 1), until N operations have been done
 *   model --seed S [--trace]
 *       the world with that seed alone; and print its operations
 *   model --canary N ...
 *       with deliberate bug N of core/hook.h
 *
 * It is built with the test hooks, and without them: then it tests the production TLB.
 *
 * The line of a failure has the seed that reruns it.
 */
#include "model.h"

#include "hook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPS_A_WORLD = 5000 };
typedef unsigned long long llu;

int main(int argc, char **argv)
{
    static struct model_result r;
    uint64_t ops = 100000, seed = 0, first = 1, worlds = 0;

    bool trace = argc > 1 && !strcmp(argv[argc - 1], "--trace");

    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 0);

        if (!strcmp(argv[i], "--ops"))
            ops = value;
        else if (!strcmp(argv[i], "--seed"))
            seed = value;
        else if (!strcmp(argv[i], "--first"))
            first = value;
#ifdef QUIRE_TEST
        else if (!strcmp(argv[i], "--canary"))
            qi_test_canary = (enum qi_canary)value;
#endif
        else
            return fprintf(stderr, "model: what is %s?\n", argv[i]), 2;
    }
    for (uint64_t s = seed ? seed : first; r.ops < ops && !r.failed; s++, worlds++) {
        struct model_options o = {.seed = s, .ops = OPS_A_WORLD, .trace = trace};

        model_run(&o, &r);
        if (r.failed) {
            fprintf(stderr, "FAILED model: %s; again: %s --seed %llu\n", r.why, argv[0],
                    (unsigned long long)s);
            return 1;
        }
        if (seed)
            break;
    }
    printf(
        "model: ok (%llu operations in %llu worlds: %llu done, %llu refused, %llu without "
        "memory of which %llu injected, %llu without a promise; %llu must succeed, %llu within "
        "others, %llu forks, %llu copies, %llu reuses, %llu pulled, %llu pins, %llu pages "
        "cloned, %llu diffs, %llu "
        "sections, %llu views, %llu transfers of which %llu failed, %llu gone; %llu pages left, "
        "%llu came back softly, %llu stolen, %llu written, %llu read, %llu page transfers of which "
        "%llu failed, %llu clean slots; %llu audits, %llu bytes compared)\n",
        (llu)r.ops, (llu)worlds, (llu)r.ok, (llu)r.refused, (llu)r.no_memory, (llu)r.injected,
        (llu)r.no_commit, (llu)r.must_succeed, (llu)r.within, (llu)r.forks, (llu)r.copies,
        (llu)r.reuses, (llu)r.pulled, (llu)r.pins, (llu)r.cloned, (llu)r.diffs, (llu)r.sections,
        (llu)r.views, (llu)r.transfers, (llu)r.io_errors, (llu)r.gone, (llu)r.trimmed,
        (llu)r.soft_faults, (llu)r.stolen, (llu)r.paged_out, (llu)r.paged_in, (llu)r.page_transfers,
        (llu)r.page_errors, (llu)r.clean_slots, (llu)r.audits, (llu)r.bytes);
    printf("[proof] operations %llu\n", (llu)r.ops);
    return 0;
}
