/* SPDX-License-Identifier: MIT */
/*
 * A random sequence of operations, the same on every machine (trace.c).
 */
#ifndef TESTS_TRACE_H
#define TESTS_TRACE_H

#include <quire/quire.h>

/* CPUs of the sequence; a machine with fewer of them maps several to one. */
enum { TRACE_CPUS = 4, TRACE_SPACES = 6 };

struct trace {
    struct quire *q;
    /* Let a CPU run a space, or none; one access by it while it runs one. */
    void (*run)(unsigned cpu, struct quire_space *space);
    enum quire_status (*load)(unsigned cpu, struct quire_space *space, vaddr_t address,
                              uint64_t *word);
    enum quire_status (*store)(unsigned cpu, struct quire_space *space, vaddr_t address,
                               uint64_t word);

    unsigned cpu;                             /* whose turn it is */
    uint64_t done;                            /* operations */
    uint64_t random, hash;                    /* of all that was seen so far */
    uint64_t tally;                           /* operations that were not refused */
    struct quire_space *spaces[TRACE_SPACES]; /* null: none */
    struct quire_space *running[TRACE_CPUS];  /* what each CPU runs; null: nothing */
    struct quire_section *section;
};

/* Begin, with the fields above `cpu` filled in. */
void trace_begin(struct trace *t, uint64_t seed);
/* One operation, by CPU t->cpu; then that is the next one's. */
void trace_step(struct trace *t);
/* Mix everything that can be seen into the hash: the bytes and kinds of all pages, and counts. */
uint64_t trace_look(struct trace *t);

#endif
