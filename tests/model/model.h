/* SPDX-License-Identifier: MIT */
/*
 * The model, as a function: model_main.c and the canary runner call it.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct model_options {
    uint64_t seed; /* of the world: frames, spaces, CPUs and every operation follow from it */
    uint64_t ops;
    bool trace; /* print every operation */
};

struct model_result {
    bool failed;
    uint64_t ops; /* done */
    uint64_t ok, refused, no_memory, no_commit, injected, must_succeed;
    uint64_t pins, cloned, diffs, pulled, forks, copies, reuses, audits;
    uint64_t sections, views, transfers, io_errors, beyond, gone;
    uint64_t page_transfers, page_errors, trimmed, soft_faults, paged_in, paged_out, stolen;
    uint64_t clean_slots; /* compared with their devices */
    uint64_t bytes;       /* compared */
    uint64_t within;      /* operations done while another one waited */
    char why[512];
};

/* One world with one seed.  The result is added to what is there. */
void model_run(const struct model_options *options, struct model_result *result);

#endif
