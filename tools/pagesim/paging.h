/* SPDX-License-Identifier: MIT */
/*
 * What quire does when memory is short, without the memory: the same passes, lists and rules, over
 * a trace, with the policies of core/policy.c themselves.
 */
#ifndef PAGESIM_PAGING_H
#define PAGESIM_PAGING_H

#include "trace.h"

#include <quire/quire.h>

struct paging_config {
    const struct quire_policy *policy;
    uint32_t frames;  /* of memory, for pages alone */
    uint32_t keep;    /* frames to be at hand: free, or of standby pages; less than `frames` */
    uint32_t leaf;    /* pages of a leaf table */
    uint32_t leaves;  /* that a slice of a pass visits */
    uint32_t cluster; /* slots of the page file that are read together; 1: each alone */
};

enum { PAGING_FRAMES_MIN = 16 };

/* As core has it, one page at a time; `frames` is PAGING_FRAMES_MIN at least. */
struct paging_config paging_defaults(const struct quire_policy *policy, uint32_t frames);

struct paging_result {
    uint64_t reads;   /* faults that waited for the page file: page-ins */
    uint64_t pages;   /* read by them, neighbours included */
    uint64_t wasted;  /* neighbours that went before anybody wanted them */
    uint64_t soft;    /* faults on pages of the standby lists */
    uint64_t written; /* pages, to the page file */
    uint64_t visits;  /* of pages, by passes */
};

struct paging_result paging_run(const struct trace *trace, const struct paging_config *config);

#endif
