/* SPDX-License-Identifier: MIT */
/*
 * The embedder of the hosted tests: a world is one manager over one software machine.
 *
 * Everything that an operation can change (arena, frames, the machine with its TLBs) lies in one
 * block at a fixed address, so a snapshot of a world is a memcpy of the block and a restore is a
 * memcpy back.  A block can be a static buffer (cheap, for the micro geometry) or is mapped fresh
 * and zeroed (default).  The struct itself holds what is not part of the state: how the host
 * answers, and counts of what it was asked.
 *
 *     struct test_world w;
 *     test_world_create(&w, &(struct test_options){.frames = 64});
 *     ... w.q, w.cpu[0] ...
 *     test_world_audit(&w, "after fork");
 *     test_world_destroy(&w);
 *
 * Failures of the n-th allocation, canaries and touches are controlled by the globals at the end,
 * since the hooks in core/hook.h carry no pointer.
 *
 * Usually one thread plays all the virtual CPUs, one after the other.  With options.threads several
 * may be in quire at once: then test_cpu says which CPU a thread is, and every virtual CPU that
 * runs a program is entered (soft_cpu_enter).
 */
#ifndef TESTS_HOST_WORLD_H
#define TESTS_HOST_WORLD_H

#include <quire/machine.h>
#include <quire/quire.h>

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hook.h"
#include "soft.h"

struct test_world;

/* Zero in a field means the default in brackets. */
struct test_options {
    uint32_t frames;                      /* frames added to the manager [micro: 64, real: 4096] */
    pfn_t first_frame;                    /* [16] */
    uint32_t max_spaces;                  /* [micro: 8, real: 1024] */
    uint32_t colours;                     /* [1] */
    uint32_t reserve;                     /* [0] */
    uint32_t max_pins;                    /* [0] */
    uint32_t max_sections;                /* [0] */
    uint32_t max_transfers, fault_around; /* as in struct quire_config */
    uint32_t max_slots, keep_free;        /* the same [0] */
    uint64_t commit_limit;                /* pages [0: no limit] */
    uint64_t stack_gap;                   /* bytes [0] */
    uint32_t cpus;                        /* virtual CPUs, at most TEST_CPUS [1] */
    uint32_t callers;                     /* config.cpus: records for calls in progress [cpus] */
    bool threads;                         /* they run at the same time [one after the other] */
    uint32_t held;     /* slots of a CPU's test TLB, a power of two [micro: 256, real: 4096] */
    vaddr_t low, high; /* [0: all the machine offers] */
    bool no_frames;    /* add no frames; the test does it */
    void *block;       /* a static buffer aligned to 4096, or null: mapped */
    size_t block_size; /* of the static buffer */
    const struct quire_policy *policy; /* as in struct quire_config */
    void (*low_memory)(void *host);    /* the same; host is the world */
    void (*trace)(void *host, enum quire_event event, struct quire_space *space, uint64_t a,
                  uint64_t b);
};

enum { TEST_CPUS = 8, TEST_REPORT_MAX = 256 };

struct test_world {
    struct quire *q;
    struct soft_machine *machine;
    struct soft_cpu *cpu[TEST_CPUS];

    /* The block, in this order: machine, arena, frames. */
    unsigned char *block;
    size_t block_size; /* bytes used; snapshot and restore copy these */
    bool block_mapped;
    unsigned char *arena, *frames; /* inside the block */
    struct quire_config config;    /* config.host is this world */
    struct test_options options;   /* defaults filled in */

    /* The host: free to set by a test at any time. */
    bool (*need_frames)(struct test_world *world, uint32_t frames); /* null: answers false */
    void (*yield)(struct test_world *world);                        /* null: does nothing */
    void (*wait)(struct test_world *world, const void *key); /* null: panics unless threads */
    void (*wait_io)(struct test_world *world, struct quire_section *section); /* likewise */
    uint32_t (*cpu_number)(struct test_world *world);                         /* null: test_cpu */
    bool (*need_commit)(struct test_world *world, uint64_t pages); /* null: answers false */
    void *context;                                                 /* for those above */
    void (*reported)(struct test_world *world, const char *line);  /* null: nothing more */
    bool quiet; /* host_report prints nothing (counts all the same) */

    /* What the host was asked since test_world_create. */
    uint64_t need_calls, need_commit_calls, yields, reports;
    uint32_t need_frames_last;    /* argument of the last host_need_frames */
    char report[TEST_REPORT_MAX]; /* the last line reported */
};

/* Bytes of block that these options need. */
size_t test_world_size(const struct test_options *options);

/* Make a world; options may be null.  A failure prints and aborts: no test expects it. */
void test_world_create(struct test_world *world, const struct test_options *options);
/* Drop it as it is (spaces may be live). */
void test_world_destroy(struct test_world *world);

/* Copy the state out of, or back into, the world; `memory` is world->block_size bytes. */
void test_world_snapshot(const struct test_world *world, void *memory);
void test_world_restore(struct test_world *world, const void *memory);
/* A copy of the block from malloc, and whether arena and frames still equal one. */
void *test_world_copy(const struct test_world *world);
bool test_world_unchanged(const struct test_world *world, const void *copy);

/* quire_check + soft_check; returns the number of findings (reported by host_report). */
unsigned test_world_findings(struct test_world *world);
/* The same, but a finding prints `where` and aborts. */
void test_world_audit(struct test_world *world, const char *where);

/* Run `space` on CPU `cpu` if it does not already. */
void test_run(struct test_world *world, uint32_t cpu, struct quire_space *space);
/* Take `space` off every CPU that runs it and destroy it. */
void test_end(struct test_world *world, struct quire_space *space);
/* One byte, loaded or stored or fetched by CPU 0 in `space`. */
QUIRE_WARN_UNUSED enum quire_status test_load(struct test_world *world, struct quire_space *space,
                                              vaddr_t address, uint8_t *out);
QUIRE_WARN_UNUSED enum quire_status test_store(struct test_world *world, struct quire_space *space,
                                               vaddr_t address, uint8_t value);
QUIRE_WARN_UNUSED enum quire_status test_fetch(struct test_world *world, struct quire_space *space,
                                               vaddr_t address);

/* ---- failures, panics, touches --------------------------------------------------------------- */

/*
 * Which passage of a failure site fails.  `at` counts passages (of the sites in `sites`, a mask by
 * enum qi_site; 0 means all) from 1; 0 means none fails.
 */
struct test_failure {
    uint64_t at;
    bool from_then_on;                      /* the passages after `at` fail as well */
    uint32_t sites;                         /* mask */
    uint64_t passed;                        /* passages counted since test_failure_set */
    uint64_t failed;                        /* of them, how many were made to fail */
    uint64_t by_site[QI_SITE_COUNT];        /* passages of each site since program start */
    uint64_t failed_by_site[QI_SITE_COUNT]; /* likewise */
};
extern struct test_failure test_failure;
/* Count a passage, of a site or of what else a test keeps such a struct for: does it fail? */
bool test_failure_pass(struct test_failure *failure);
/* Start counting anew; the at-th passage fails (0: none). */
void test_failure_set(uint64_t at, bool from_then_on, uint32_t sites);

/* Not null: host_panic jumps there with value 1 instead of aborting, after storing the text. */
extern jmp_buf *test_panic_catch;
extern char test_panic_text[TEST_REPORT_MAX];

/* Not null: called for each load, store and touch of shared state. */
extern void (*test_touch)(const void *address, bool write);

/* What host_cpu answers to this thread. */
extern _Thread_local uint32_t test_cpu;

/* ---- random numbers -------------------------------------------------------------------------- */

/* splitmix64: the next number of the sequence whose state is *state (any seed will do). */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
