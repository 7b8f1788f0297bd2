/* SPDX-License-Identifier: MIT */
/*
 * The schedule explorers behind libFuzzer: the bytes are a program and its decisions (replay_bytes
 * in explore.c), and what is new in the coverage of core leads to more of the like.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static char text[1 << 18];
    static char name[TEXT_MAX];
    struct program program;
    if (size < 8 || replay_bytes(bytes, size, &program))
        return 0;
    shrink(&program);
    program_print(&program, name, sizeof name);
    trace_print(text, sizeof text);
    fprintf(stderr, "FAILED schedule: %s; again: test_schedule --replay \"%s | %s\"\n", sim.failure,
            name, text);
    abort();
}
