/* SPDX-License-Identifier: MIT */
/*
 * The exhaustive search, as a function: search_main.c and the canary runner call it.
 */
#ifndef TESTS_SEARCH_SEARCH_H
#define TESTS_SEARCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

enum search_sections {
    SEARCH_NO_SECTIONS,
    SEARCH_MEMORY, /* a section of shared memory */
    SEARCH_FILE,   /* one with a pager */
};

struct search_options {
    double seconds;                /* stop after this long, but not before min_depth is reached */
    unsigned min_depth;            /* every sequence up to this length has to be run */
    unsigned max_depth;            /* stop there; 0: no limit */
    bool wide;                     /* more operations: protections, ranges, fetch */
    enum search_sections sections; /* views of one in place of private memory */
    uint32_t max_states;           /* memory to remember them in; 0: the default */
    void (*progress)(const char *line); /* may be null */
};

enum { SEARCH_TEXT_MAX = 2048 };

struct search_result {
    bool failed, closed;
    unsigned depth; /* every sequence of this length was run */
    uint64_t states, transitions;
    char why[SEARCH_TEXT_MAX];
    char sequence[SEARCH_TEXT_MAX]; /* the shortest that fails, as --replay takes it */
};

void search_run(const struct search_options *options, struct search_result *result);

/* Run one sequence, all checks after each step.  False: a word of it is no operation. */
bool search_replay(const struct search_options *options, const char *sequence,
                   struct search_result *result);

#endif
