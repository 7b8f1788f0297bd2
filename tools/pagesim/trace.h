/* SPDX-License-Identifier: MIT */
/*
 * Page reference traces: which pages a program touched, in order.
 *
 * A trace file is a sequence of varints (seven bits a byte, low ones first, bit 7: more follow)
 * after eight bytes of magic:
 *
 *     "quirept1"
 *     window       the trace is exact for memories of at least so many pages (reduce.h)
 *     accesses     of the program, before anything was dropped
 *     working      pages of the working set (record.c)
 *     references   that follow, runs counted out
 *     ...          zigzag(page - page before) * 4 + written * 2 + run, page 0 before the first;
 *                  if run is set, one more varint: how often the same step follows again
 *
 * where page is address / 4096 and zigzag maps 0, -1, 1, -2 ... to 0, 1, 2, 3 ...
 *
 * In memory pages have numbers from 0 on, in the order of their addresses, and `address` gives the
 * page number in the space back.  A reference is number * 2 + written.
 */
#ifndef PAGESIM_TRACE_H
#define PAGESIM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct trace {
    uint32_t window, working;
    uint64_t accesses;
    uint32_t pages;    /* distinct ones */
    uint64_t *address; /* of each page, ascending */
    size_t count, room;
    uint64_t *raw;       /* while it is recorded: address * 2 + written */
    uint32_t *reference; /* after trace_number(): number * 2 + written */
};

/* Memory, zeroed, or the end of the program. */
void *trace_memory(size_t count, size_t size);

/* One more reference to the end of `raw`. */
void trace_add(struct trace *trace, uint64_t address, bool written);
/* Number the pages: fills pages, address and reference, and gives raw back. */
void trace_number(struct trace *trace);
void trace_free(struct trace *trace);

/* False: the file is no trace, or is cut off, or could not be written. */
bool trace_read(struct trace *trace, FILE *file);       /* numbered */
bool trace_open(struct trace *trace, const char *name); /* the same; unpacks one that ends in .xz */
bool trace_write(const struct trace *trace, FILE *file); /* not numbered yet */

#endif
