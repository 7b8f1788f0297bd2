/* SPDX-License-Identifier: MIT */
/*
 * A pass does something to many pages in order, and then memcpy copies as many of the same pages to
 * frames that were last written one round ago, like those that a writer gets: so both have the same
 * cache temperature.
 */
#ifndef BENCH_PASS_H
#define BENCH_PASS_H

#include "measure.h"

/* Pages at first, first + step ... of a space, and what memcpy makes of the same. */
struct pass {
    const char *name;
    /* Makes the space of each round, which runs then; may replace *parent, whose pages memcpy
     * copies. */
    struct quire_space *(*make)(const struct pass *pass, struct quire_space **parent);
    double (*time)(const struct pass *pass, struct quire_space *space); /* nanoseconds */
    vaddr_t first;
    uint64_t step;
    unsigned count, rounds;
};

/* Ways to spend that time: the program stores, or it loads; quire_fault alone, for a write, without
 * the store that meets it, or for a read. */
double pass_stores(const struct pass *pass, struct quire_space *space);
double pass_loads(const struct pass *pass, struct quire_space *space);
double pass_write_faults(const struct pass *pass, struct quire_space *space);
double pass_read_faults(const struct pass *pass, struct quire_space *space);

/* Print figure_over_copy, for each page. */
void pass_run(const struct pass *pass, struct quire_space **parent);

#endif
