/* SPDX-License-Identifier: MIT */
/*
 * The parts of the benchmark of the software machine; each begins with what it measures.
 */
#ifndef BENCH_PARTS_H
#define BENCH_PARTS_H

#include "measure.h"

void bench_fork(void);   /* fork.c */
void bench_writes(void); /* write.c */
void bench_drop(void);   /* drop.c */
void bench_many(void);   /* many.c */
void bench_range(void);  /* range.c */
void bench_pin(void);    /* pin.c */
void bench_file(void);   /* file.c */
void bench_store(void);  /* store.c */
void bench_paging(void); /* paging.c */

#endif
