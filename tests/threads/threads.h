/* SPDX-License-Identifier: MIT */
/*
 * What the cases of tests/threads share: workers, their words, and rounds (see threads.c).
 */
#ifndef TESTS_THREADS_H
#define TESTS_THREADS_H

#include "check.h"
#include "world.h"

#include <pthread.h>
#include <sched.h>

enum {
    WORKERS = 4,
    PAGES = 40,                  /* that a round uses in each range */
    WORDS = 3,                   /* of each worker in each page */
    SPACES = 12,                 /* more than a CPU has identifiers for */
    OPERATIONS = 400,            /* of each worker in each round */
    MIDDLE = QUIRE_PAGE_SIZE / 2 /* where in a page nobody's word is */
};

#define PAGE(n) ((vaddr_t)(n) << QUIRE_PAGE_SHIFT)
#define LEAF PAGE(QUIRE_TABLE_ENTRIES)
#define RW (QUIRE_READ | QUIRE_WRITE)

struct worker {
    pthread_t thread;
    uint32_t number;
    struct soft_cpu *cpu;
    uint64_t random, count;
    uint64_t shadow[SPACES][PAGES][WORDS]; /* what its words hold */
};

extern struct test_world world;
extern struct worker workers[WORKERS];
extern struct quire_space *spaces[SPACES]; /* of this round */

/* Rounds of one test, until its time is over: `begin` and `end` by the main thread alone, `work` by
 * each worker.  All that `end` leaves behind is a failure. */
void rounds(void (*begin)(void), void (*work)(struct worker *w), void (*end)(void));
/* The same in a world of so many frames, where so many pages can be out of memory. */
void rounds_in(uint32_t frames, uint32_t slots, void (*begin)(void), void (*work)(struct worker *w),
               void (*end)(void));

/* A word that workers raise for each other in a round; 0 at its start. */
extern uint32_t said_last;
static inline void say(uint32_t n) { __atomic_store_n(&said_last, n, __ATOMIC_RELEASE); }
static inline uint32_t said(void) { return __atomic_load_n(&said_last, __ATOMIC_ACQUIRE); }

/* ---- words ----------------------------------------------------------------------------------- */

static inline uint32_t below(struct worker *w, uint32_t n)
{
    return (uint32_t)(test_random(&w->random) % n);
}

static inline uint64_t owner_of(uint64_t word) { return word >> 56; }
static inline uint64_t count_of(uint64_t word) { return word << 8 >> 8; }
static const uint64_t nobodys = UINT64_C(0xff) << 56;

static inline uint64_t word_new(struct worker *w)
{
    return (uint64_t)(w->number + 1) << 56 | ++w->count;
}

/* Pages are spread over two leaves. */
static inline vaddr_t page_at(uint32_t page) { return (page & 1 ? LEAF : 0) + PAGE(page / 2); }

/* Where the n-th word of a worker lies in a page. */
static inline vaddr_t word_at(const struct worker *w, uint32_t page, uint32_t n)
{
    return page_at(page) + (w->number + n * WORKERS) * sizeof(uint64_t);
}

/* ---- what a worker does ---------------------------------------------------------------------- */

/* The worker's CPU runs `space`, and is entered. */
void run(struct worker *w, struct quire_space *space);
/* There are more workers than processors, and those who wait for one must get it. */
void rest(struct worker *w);
/* One access by the worker's CPU, which must be allowed. */
uint64_t load(struct worker *w, vaddr_t address);
void store(struct worker *w, vaddr_t address, uint64_t word);
/* A store or a load of one of the worker's words in the space that runs, spaces[s]; the same
 * through quire_read and quire_write; and all of them. */
void touch(struct worker *w, uint32_t s);
void touch_through_quire(struct worker *w, uint32_t s);
void verify(struct worker *w, uint32_t s);

/* ---- spaces ---------------------------------------------------------------------------------- */

struct quire_space *space_new(void);
struct quire_space *fork_of(struct quire_space *parent);
/* The worker goes on in a fork of its space, spaces[w->number], which ends. */
void run_fork(struct worker *w);
/* Fill every page of spaces[0]: one word of it, nobody's. */
void fill_all(void);
/* Begins of rounds: an empty space; one with every page filled; and the same shared with a mark
 * that nobody runs, so that all first writes are copies. */
void begin_one(void);
void begin_full(void);
void begin_copies(void);
/* Ends: no space is left; and before that the mark is found unchanged. */
void end_all(void);
void end_copies(void);

/* ---- a device: device.c ---------------------------------------------------------------------- */

/* A pager over memory: its cookie is where the bytes are. */
extern const struct quire_pager device_pager;
/* Late: transfers are ended by worker DEVICE, in any order. */
enum { DEVICE = 1 };
void device_begin(bool late);
/* A round beside it: workers 2 and up do `each`, worker 0 goes on to `manage` until they have
 * finished, and worker 1 is the device until they all have. */
void device_round(struct worker *w, void (*manage)(struct worker *w),
                  void (*each)(struct worker *w));

/* ---- the tests of changes.c ------------------------------------------------------------------ */

void taken_away(void);
void moved(void);
void discarded(void);
void backed_up(void);
void pinned(void);
void looked_at(void);
void scarce(void);

/* ---- the tests of files.c -------------------------------------------------------------------- */

void written_back(void);
void written_late(void);
void cut_off(void);
void copied(void);

/* ---- the tests of pages.c -------------------------------------------------------------------- */

void paged(void);
void paged_late(void);
void paged_twins(void);
void paged_scarce(void);

#endif
