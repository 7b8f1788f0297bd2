/* SPDX-License-Identifier: MIT */
/*
 * What every figure of the software machine is measured with: the clock, medians, the world.
 *
 * One world lives at a time, and one CPU runs in it.  Whoever measures begins a world of the size
 * that it needs and ends it, which is when the auditor looks at all that was done.
 *
 * Whatever goes wrong ends the program: a benchmark of something that does not work is of no use.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "world.h"

#include <time.h>

/* Repetitions of what is short: so many blocks of so many. */
enum { BLOCKS = 60, BLOCK = 60, SAMPLES = BLOCKS * BLOCK };

#define RW (QUIRE_READ | QUIRE_WRITE)
#define PAGE(n) ((vaddr_t)(n) << QUIRE_PAGE_SHIFT)
#define LEAF PAGE(QUIRE_TABLE_ENTRIES)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static inline double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/*
 * Nanoseconds between start and stop.  Reading the clock takes as long as the shortest operations
 * that are measured, and how long changes with the computer's speed; so each start reads it twice,
 * and what that shows of nothing is taken off.
 */
struct watch {
    double before, start;
};
static inline struct watch watch_start(void)
{
    struct watch w = {.before = now()};

    w.start = now();
    return w;
}
static inline double watch_stop(struct watch w)
{
    double stop = now();

    return (stop - w.start) - (w.start - w.before);
}

/* The mean of the middle fifth: a median that does not step with the clock's resolution.  Sorts. */
double median(double *samples, size_t count);

/* Print a figure.  For the "soft" of a name that begins with "soft." the program's own is put. */
void figure(const char *name, double value, const char *unit);
/* The same under the name "NAME.PART". */
void figure_part(const char *name, const char *part, double value, const char *unit);
/* Print "NAME.ratio", "NAME.ns" and "NAME.copy.ns" of an operation, and of the copy of a page. */
void figure_over_copy(const char *name, double ns, double copy_ns);

void must(enum quire_status status);
void expect(bool true_or_wrong, const char *what);

/* ---- the world ------------------------------------------------------------------------------- */

extern struct test_world world;

/* A world of one CPU; or of what the options say, where the first CPU does all that is measured. */
void world_begin(uint32_t frames, uint32_t max_spaces);
void world_begin_with(struct test_options options);
void world_end(void);

struct quire_space *space_new(void);
struct quire_space *fork_of(struct quire_space *parent);
void map(struct quire_space *space, vaddr_t address, uint64_t length, uint32_t prot);
/* Write to a page, and to every page of a range. */
void put(struct quire_space *space, vaddr_t address);
void fill(struct quire_space *space, vaddr_t address, uint64_t length);
/* No space runs any more, so that each can be destroyed by itself. */
void rest(void);

/* Frames of every use but the embedder's. */
uint32_t frames_used(void);
/* The bytes of a frame, and of a page of a space. */
unsigned char *frame_bytes(pfn_t pfn);
unsigned char *bytes_of(struct quire_space *space, vaddr_t address);
/* The C library's own memcpy: kept from the compiler, which would make a copy of a known size
 * itself. */
extern void *(*volatile copy_bytes)(void *to, const void *from, size_t length);

/* How long it takes to write to `count` pages, `step` bytes apart.  The space runs already. */
double time_stores(vaddr_t address, uint64_t step, unsigned count);

/* ---- comparisons ----------------------------------------------------------------------------- */

/* One of several spaces that should cost the same. */
struct subject {
    struct quire_space *space;
    vaddr_t first; /* the pages that it writes in each turn */
    uint64_t step;
    double samples[SAMPLES];
};

/*
 * `turn` does something once and returns how long that took.  The subjects take turns in short
 * blocks, so that a change of the computer's speed meets them all.  Returns the largest median over
 * the smallest; *largest gets the former.
 */
double subjects_compare(struct subject *subjects, unsigned count, double (*turn)(struct subject *),
                        double *largest);

#endif
