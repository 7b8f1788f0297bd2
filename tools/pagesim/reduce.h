/* SPDX-License-Identifier: MIT */
/*
 * Fewer references, the same page-ins.
 *
 * A program refers to a page many times in a row, with a few others between.  Of three references
 * to one page the middle one is dropped if fewer than `window` distinct pages, the page itself
 * counted, lie between the first and the third: in a memory of at least `window` pages it is a hit
 * whether or not it is there, under the optimum and under LRU, and no other page's fate hangs on it
 * (Kaplan, Smaragdakis and Wilson: "Trace reduction for virtual memory simulations", 1999).  That
 * it was a write is remembered by the third.  A policy that looks at used bits sees almost the
 * same: a bit that is cleared between the first and the third may be found set a little later.
 */
#ifndef PAGESIM_REDUCE_H
#define PAGESIM_REDUCE_H

#include "trace.h"

enum { REDUCE_WINDOW_MAX = 1024, REDUCE_ROOM = 4 * REDUCE_WINDOW_MAX };

struct reduce {
    struct reduce *next; /* where references go that stay; null: to `out` */
    struct trace *out;
    uint32_t window; /* 1 to REDUCE_WINDOW_MAX */
    uint32_t count;
    uint64_t recent[REDUCE_ROOM]; /* not handed out yet, oldest first: address * 2 + written */
    uint64_t look;                /* number of the look back in progress */
    uint64_t met[REDUCE_ROOM];    /* pages it has met, a hash table */
    uint64_t met_in[REDUCE_ROOM]; /* the look that a slot of it belongs to */
};

/*
 * References that stay go to a trace, whose window is set, or to another reduction with a larger
 * window: the work for each is proportional to the window, so a small one goes first.
 */
void reduce_begin(struct reduce *reduce, struct trace *out, uint32_t window);
void reduce_into(struct reduce *reduce, struct reduce *next, uint32_t window);
void reduce_add(struct reduce *reduce, uint64_t address, bool written);
void reduce_end(struct reduce *reduce); /* of the next, too */

#endif
