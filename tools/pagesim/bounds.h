/* SPDX-License-Identifier: MIT */
/*
 * What a memory of `frames` pages costs a trace at best, and under LRU: page-ins, which are faults
 * on pages that were in memory before.  (The first fault on each page is no policy's fault.)
 */
#ifndef PAGESIM_BOUNDS_H
#define PAGESIM_BOUNDS_H

#include "trace.h"

uint64_t bounds_optimum(const struct trace *trace, uint32_t frames);
uint64_t bounds_lru(const struct trace *trace, uint32_t frames);

#endif
