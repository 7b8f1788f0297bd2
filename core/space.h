/* SPDX-License-Identifier: MIT */
/*
 * The manager and its spaces: the two structures from which everything hangs.
 */
#ifndef CORE_SPACE_H
#define CORE_SPACE_H

#include "region.h"

/* Region nodes that one slice frees; a table of entries takes about as long. */
enum { QI_SLICE_NODES = 64 };

enum qi_space_state { QI_SPACE_FREE, QI_SPACE_LIVE };

/*
 * One address space.  Records lie in the arena and are reused.
 *
 *   FREE --quire_space_create, quire_space_fork--> LIVE --quire_space_destroy--> FREE
 *
 * Everything is under the manager's lock.  The root table can be shared with other spaces, as
 * any table.
 */
struct quire_space {
    struct quire *q;
    struct qi_region *regions; /* one reference */
    struct quire_space *next_free;
    pfn_t root;
    enum qi_space_state state;
    uint64_t copies, reuses, unshared;
};

struct quire {
    struct qi_lock lock;
    struct qi_frames frames;
    struct qi_nodes nodes;
    pfn_t zero_page; /* QI_NO_FRAME until the first frames are there */
    pfn_t drop_list; /* DYING tables, linked by next */
    vaddr_t low, high;
    void *host, *machine;
    void (*trace)(void *, enum quire_event, struct quire_space *, uint64_t, uint64_t);
    struct quire_space *spaces, *free_space;
    uint32_t max_spaces, live_spaces;
    struct quire_stats stats; /* the counters; what describes the present is filled in when asked */
};

static inline void manager_lock(struct quire *q) { lock_take(&q->lock, q->host); }
static inline void manager_unlock(struct quire *q) { lock_drop(&q->lock, q->host); }

static inline void qi_trace(struct quire_space *s, enum quire_event event, uint64_t a, uint64_t b)
{
    if (s->q->trace)
        s->q->trace(s->q->host, event, s, a, b);
}

/*
 * True: `need` frames are there and stay there while the lock is held.  The one place where an
 * operation can find too little memory: called before its first visible change.
 */
static inline bool qi_reserve(struct quire *q, uint32_t need, bool urgent, enum qi_site site)
{
    (void)site;
    if (need == 0)
        return true;
    return !QI_FAIL(site) && qi_frame_available(&q->frames, urgent) >= need;
}

/*
 * After qi_reserve said no: find memory.  Locked on entry and on return, dropped between, so that
 * everything must be looked up again.  False: nothing can be freed.
 */
bool qi_wait_for_frames(struct quire *q, uint32_t need);

/* The slow half of qi_finish.  Not locked on entry nor on return. */
void qi_drop_slices(struct quire *q, uint32_t slices);

/*
 * The end of an operation: drop the lock, then free what operations left behind, if anything, in at
 * most `slices` slices with host_yield between them.  Locked on entry, not on return.
 */
enum { QI_FEW_SLICES = 8 };
#define QI_ALL_SLICES UINT32_MAX
static inline void qi_finish(struct quire *q, uint32_t slices)
{
    bool more = q->drop_list != QI_NO_FRAME || q->nodes.dead;
    manager_unlock(q);
    if (more)
        qi_drop_slices(q, slices);
}

/* A record for a new space, without root and regions; null: the limit is reached.  Locked. */
struct quire_space *qi_space_alloc(struct quire *q);

/* A range of a call: QUIRE_OK, or what is wrong with it. */
enum quire_status qi_range_status(const struct quire *q, vaddr_t address, uint64_t length);

#endif
