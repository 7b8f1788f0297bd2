/* SPDX-License-Identifier: MIT */
/*
 * The failure loops, as a function: inject_main.c and the canary runner call it.
 */
#ifndef TESTS_INJECT_INJECT_H
#define TESTS_INJECT_INJECT_H

#include "hook.h"

#include <stdint.h>

struct inject_options {
    const char *scenario; /* this one alone; null: all */
    unsigned random;      /* scenarios made at random, besides those written down */
};

struct inject_result {
    bool failed;
    unsigned scenarios;
    uint64_t runs;
    uint64_t passages, transfers; /* of the undisturbed runs */
    uint64_t failures;            /* steps that were refused */
    uint64_t by_site[QI_SITE_COUNT];
    char why[512], scenario[1024];
};

void inject_run(const struct inject_options *options, struct inject_result *result);

#endif
