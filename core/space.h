/* SPDX-License-Identifier: MIT */
/*
 * The manager and its spaces: the two structures from which everything hangs.
 */
#ifndef CORE_SPACE_H
#define CORE_SPACE_H

#include "paged.h"
#include "region.h"

/* Region nodes that one slice frees; a table of entries takes about as long. */
enum { QI_SLICE_NODES = 64 };

/* Pages that one fault on a view may map: config.fault_around, by default and at most. */
enum { QI_AROUND = 16, QI_AROUND_MAX = 64 };

enum qi_space_state { QI_SPACE_FREE, QI_SPACE_LIVE };

/*
 * One address space.  Records lie in the arena and are reused.
 *
 *   FREE --quire_space_create, quire_space_fork--> LIVE --quire_space_destroy--> FREE
 *
 * regions, and the limits, change while the space is held exclusively; root under root_lock, which
 * is to the root what the lock of a table is to the tables below.  The root table can be shared
 * with other spaces, as any table.
 */
struct quire_space {
    struct quire *q;
    uint32_t index;            /* of this record */
    uint32_t writer;           /* shared word: 1 while a call holds the space exclusively */
    struct qi_region *regions; /* one reference; the promise of the space is its sum */
    pfn_t root;                /* shared word */
    struct qi_lock root_lock;  /* rank TABLE */
    uint32_t root_busy;        /* shared word: 1 while a call replaces the root */
    uint32_t root_own;         /* shared word: 1 if the root is known to have no other parent */
    uint32_t views;            /* shared word: some region is a view (a hint for those outside) */
    uint32_t protects;         /* shared word: a pass has to look for pages that must not leave */
    bool locks;                /* some region is locked, or was */
    enum qi_space_state state;
    struct quire_space *next_free;
    uint64_t commit_limit; /* pages; UINT64_MAX: none */
    uint64_t copies_left;  /* shared word: frames; UINT64_MAX: no limit */
    uint64_t least, most;  /* pages in memory; UINT64_MAX: no limit */
    uint64_t room;         /* shared word: of `most`, until they are counted again */
};

struct quire {
    struct qi_frames frames;
    struct qi_nodes nodes;
    uint32_t epoch; /* shared word; see frame.c */
    uint32_t cpu_count;
    struct qi_cpu *cpus;
    pfn_t zero_page; /* QI_NO_FRAME until the first frames are there */
    vaddr_t low, high;
    uint64_t stack_gap, commit_limit;
    void *host, *machine;
    void (*trace)(void *, enum quire_event, struct quire_space *, uint64_t, uint64_t);
    struct quire_space *spaces;
    uint32_t max_spaces, max_pins, max_sections, max_transfers, fault_around;
    struct qi_pin *pins;
    struct quire_section *sections;
    struct quire_io *transfers;
    struct qi_paging paging;
    uint32_t writes_busy; /* shared word: transfers that write pages of sections */

    struct qi_lock lock; /* rank LIST; of what follows */
    pfn_t drop_list;     /* shared word: DYING tables, linked by next */
    struct quire_space *free_space;
    struct qi_pin *free_pin;
    struct quire_section *free_section;
    struct quire_section *dead_section; /* refs is 0: to be freed */
    uint32_t dead_sections;             /* shared word: how many */
    struct quire_io *free_transfer;
    uint32_t live_sections;
    uint32_t live_spaces;
    uint64_t committed; /* pages promised */
};

static inline void qi_trace(struct quire_space *s, enum quire_event event, uint64_t a, uint64_t b)
{
    if (s->q->trace)
        s->q->trace(s->q->host, event, s, a, b);
}

/*
 * True: `need` frames are this call's to take.  The one place where an operation can find too
 * little memory: called before its first visible change.
 */
static inline bool qi_reserve(struct qi_cpu *cpu, uint32_t need, bool urgent, enum qi_site site)
{
    (void)site;
    return need == 0 || (!QI_FAIL(site) && qi_frames_reserve(cpu, need, urgent));
}

/* Frames that quire_balance wants to be free, or as good as that. */
static inline uint32_t qi_frames_goal(const struct quire *q)
{
    return q->paging.keep_free ? q->paging.keep_free : q->frames.added / 64 + 1;
}

/*
 * After qi_reserve said no: find memory.  Called with nothing held, so that everything must be
 * looked up again.  False: nothing can be freed.
 */
bool qi_wait_for_frames(struct quire *q, uint32_t need, bool urgent);
/*
 * The same for a call that brings pages into memory between its tries, which may be the very ones
 * that leave for it: each time that pages leave it has to find one frame more than the last time,
 * so it ends.  *more: how many besides `need`; 0 before the first try.
 */
bool qi_wait_for_more(struct quire *q, uint32_t need, bool urgent, uint32_t *more);

/*
 * After an operation, with nothing held: free what operations left behind, if anything, in at most
 * `slices` slices with host_yield between them.
 */
enum { QI_FEW_SLICES = 8 };
#define QI_ALL_SLICES UINT32_MAX
void qi_drop_slices(struct quire *q, uint32_t slices);
static inline bool qi_work_left(const struct quire *q)
{
    return qi_load(&q->drop_list) != QI_NO_FRAME || qi_nodes_dead(&q->nodes) ||
           qi_load(&q->dead_sections) > 0;
}
static inline void qi_finish(struct quire *q, uint32_t slices)
{
    if (qi_work_left(q))
        qi_drop_slices(q, slices);
}

/* On the stack of a call that waits for a transfer. */
struct quire_waiter {
    bool ok;
    uint32_t done; /* shared word */
};

/* A record for a new space, without root and regions; null: the limit is reached. */
struct quire_space *qi_space_alloc(struct qi_cpu *cpu);
/* Its opposite, for a record that nobody has seen. */
void qi_space_unalloc(struct qi_cpu *cpu, struct quire_space *space);
/* The end of a space that nobody runs, held exclusively by this call. */
void qi_space_free(struct qi_cpu *cpu, struct quire_space *space);

/*
 * Promise `pages` more pages to a space, or change nothing: QUIRE_NO_COMMIT is the space's own
 * limit, QUIRE_WOULD_WAIT the manager's, about which host_need_commit may do something.
 */
enum quire_status qi_commit_take(struct qi_cpu *cpu, struct quire_space *space, uint64_t pages);
/* The same without a space's own limit. */
enum quire_status qi_commit_promise(struct qi_cpu *cpu, uint64_t pages);
void qi_commit_give(struct qi_cpu *cpu, uint64_t pages);

/*
 * The usual end of a try of an operation: may it be tried again?  Called with nothing held.
 * QUIRE_NO_MEMORY: after waiting for `need` frames, of the reserve too if it is urgent;
 * QUIRE_WOULD_WAIT: after asking the host for `pages`.  False: *status is final.
 */
bool qi_try_again(struct quire *q, enum quire_status *status, uint32_t need, bool urgent,
                  uint64_t pages);

/* A range of a call: QUIRE_OK, or what is wrong with it. */
enum quire_status qi_range_status(const struct quire *q, vaddr_t address, uint64_t length);

#endif
