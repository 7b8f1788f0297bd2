/* SPDX-License-Identifier: MIT */
/*
 * The frame database: one record for each frame number of the arena.
 */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include "cpu.h"

/* All that core needs of a C library; the embedder has them, for compilers call them anyway. */
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memset(void *to, int byte, size_t length);

/*
 * What a frame is.  Each transition is made by the function named.
 *
 *   ABSENT --qi_frame_add--> FREE <--qi_frame_free-- DATA TABLE SECTION SIDE NODES TAKEN
 *   FREE --qi_frame_zero_one--> ZEROED
 *   FREE, ZEROED --qi_frame_alloc--> DATA TABLE SECTION SIDE NODES TAKEN ZERO_PAGE
 *   DATA --qi_paged_put--> LISTED --qi_paged_get--> DATA
 *   LISTED --qi_paged_release, qi_paged_steal--> FREE --qi_frame_alloc--> LISTED (to be read)
 *   TABLE --qi_table_release (share reaches 0)--> DYING --qi_table_drop_slice--> TABLE (homes
 * only), or FREE
 */
enum qi_frame_state {
    QI_FRAME_ABSENT,  /* not handed over */
    QI_FRAME_FREE,    /* on a list, in a CPU's cache or limbo; content unknown */
    QI_FRAME_ZEROED,  /* on a list or in a CPU's cache; content all zero */
    QI_FRAME_DATA,    /* a page; home names its entry */
    QI_FRAME_TABLE,   /* 512 entries: a page table (share > 0) or a prototype table (share == 0) */
    QI_FRAME_DYING,   /* a table whose last parent has gone */
    QI_FRAME_SECTION, /* a table of a section's tree: leaves are prototype tables */
    QI_FRAME_SIDE,    /* uses and maps of a frozen table; `sum` is the sum of its uses */
    QI_FRAME_NODES,   /* region nodes */
    QI_FRAME_TAKEN,   /* lent to the embedder */
    QI_FRAME_LISTED,  /* the page of a slot: on a standby or modified list, or under a transfer */
    QI_FRAME_ZERO_PAGE, /* the one zero page */
    QI_FRAME_STATE_COUNT
};
_Static_assert((int)QI_FRAME_STATE_COUNT == (int)QI_FRAME_STATES, "cpu.h has room for each state");

#define QI_NO_FRAME UINT32_MAX
/* The home of a page that was unmapped while pinned. */
#define QI_NO_HOME UINT64_MAX
/* In `share` of a page: it has no home, and goes with its last pin. */
#define QI_ORPHAN (UINT32_C(1) << 31)

/*
 * One frame.  `share` and `side` of a table are shared words (lock.h); the rest of a table's record
 * changes under its lock, or while its space is held exclusively.
 *
 *   1. a frame that is FREE or ZEROED is on exactly one list, cache or limbo, linked by next;
 *   2. DATA: the entry at `home` is own or barred and names this frame, or it is an orphan;
 *      `share` counts its pins; side is the slot that it keeps, or QI_NO_FRAME;
 *   3. TABLE: `present` entries are not empty; `share` parents point here (entries, or spaces for
 *      a root); side is a frame exactly while the table is frozen: that frame's `sum` is the sum
 *      of its uses, above 0;
 *   4. TABLE with share == 0 has level 1, present > 0, and holds homes with uses only;
 *   5. SECTION: share is 0, `present` entries are not empty; one pointer leads here, from the
 *      section or from a table above; side is a frame from the first view of a page of a leaf on;
 *   6. NODES: `share` nodes are in use; `present` is the index of the first free one.
 */
struct qi_frame {
    uint8_t state; /* enum qi_frame_state */
    uint8_t level; /* TABLE: 1 for a leaf .. QUIRE_LEVELS for a root; LISTED: enum qi_standby */
    uint16_t present;
    uint32_t share;
    pfn_t next, prev; /* prev: NODES, LISTED; TABLE and SECTION: the last pass that saw it */
    union {
        home_t home;      /* DATA */
        uint64_t sum;     /* SIDE */
        uint64_t pins;    /* TABLE: not 0 if there may be pinned pages here or below (a hint) */
        uint64_t section; /* SECTION: its index */
        uint64_t slot;    /* LISTED */
    };
    pfn_t side;
    union {
        struct qi_lock lock; /* TABLE, DYING, SECTION */
        uint32_t stays; /* DATA, shared word: the last round of marks that met it; see limit.c */
    };
};
_Static_assert(sizeof(struct qi_frame) == 32, "32 bytes of metadata a frame");

/* What frame.c keeps in struct quire. */
struct qi_frames {
    struct qi_frame *records; /* of frame `first` and the following `count` */
    unsigned char *direct;    /* where frame number 0 would be in the direct map */
    pfn_t first;
    uint32_t count;
    uint32_t colours;   /* a power of two */
    uint32_t reserve;   /* frames on the lists that are kept for operations that free memory */
    uint32_t limbo_max; /* frames that a CPU which frees no more may leave in limbo */
    uint32_t added;
    struct qi_lock lock;              /* of the following */
    uint32_t free;                    /* frames on the lists */
    pfn_t list[2][QUIRE_COLOURS_MAX]; /* [0] free, [1] zeroed; linked by next */
};

static inline struct qi_frame *frame_record(const struct qi_frames *f, pfn_t pfn)
{
    qi_check(pfn >= f->first && pfn - f->first < f->count);
    return &f->records[pfn - f->first];
}
static inline pfn_t frame_number(const struct qi_frames *f, const struct qi_frame *r)
{
    return f->first + (pfn_t)(r - f->records);
}
/* What a frame is; it may be changing, unless the caller knows better. */
static inline enum qi_frame_state frame_state(const struct qi_frame *r)
{
    return (enum qi_frame_state)__atomic_load_n(&r->state, __ATOMIC_RELAXED);
}
/* The bytes of a frame, through the direct map. */
static inline void *frame_memory(const struct qi_frames *f, pfn_t pfn)
{
    return f->direct + ((uint64_t)pfn << QUIRE_PAGE_SHIFT);
}
/* The frame that a pointer into the direct map points into. */
static inline pfn_t frame_of(const struct qi_frames *f, const void *memory)
{
    return (pfn_t)((uint64_t)((const unsigned char *)memory - f->direct) >> QUIRE_PAGE_SHIFT);
}
static inline uint32_t frame_colour(const struct qi_frames *f, pfn_t pfn)
{
    return pfn & (f->colours - 1);
}

void qi_frames_init(struct qi_frames *f, const struct quire_config *config, void *records);
/* Make `count` frame numbers free frames, or nothing: QUIRE_ZERO_LENGTH, _OUT_OF_RANGE, _OVERLAPS.
 */
enum quire_status qi_frame_add(struct qi_cpu *cpu, pfn_t first, uint32_t count);

/* Frames in one state now; exact while all other calls are stopped. */
uint32_t qi_frames_in_state(const struct quire *q, enum qi_frame_state state);
/* Frames that an ordinary call can have without gathering: on the lists, and in its CPU's cache. */
uint32_t qi_frames_near(const struct qi_cpu *cpu);
/* Frames that an ordinary operation can have at this moment, wherever they are. */
uint32_t qi_frames_available(const struct quire *q);

/* qi_frames_reserve, of more frames than the cache holds. */
bool qi_frames_fetch(struct qi_cpu *cpu, uint32_t need, bool urgent);
/*
 * True: this CPU's cache holds `need` frames at least.  They stay there until the call takes them
 * or ends.  `urgent` operations free memory in the end, and may use the reserve.
 */
static inline bool qi_frames_reserve(struct qi_cpu *cpu, uint32_t need, bool urgent)
{
    return cpu->cache.count >= need || qi_frames_fetch(cpu, need, urgent);
}

enum qi_frame_want { QI_WANT_ANY, QI_WANT_ZEROED };
/*
 * Take a frame out of this CPU's cache: of `colour` where there is one, else of the next colour
 * that has one.  WANT_ZEROED: its content is zero on return.  It was reserved.  Its record is
 * cleared but for the state.
 */
pfn_t qi_frame_alloc(struct qi_cpu *cpu, enum qi_frame_state state, enum qi_frame_want want,
                     uint32_t colour);
/* The next colour in turn, for a frame that has none to match. */
static inline uint32_t qi_frame_any_colour(struct qi_cpu *cpu) { return cpu->next_colour++; }

/*
 * Nothing refers to the frame any more, and no machine.  It can be taken again when every other
 * call that is in progress now has ended, for such a call may be looking at it.
 */
void qi_frame_free(struct qi_cpu *cpu, pfn_t pfn);
/* A page whose home is gone: freed, or left to its last pin. */
void qi_page_release(struct qi_cpu *cpu, pfn_t pfn);

static inline void frame_count_state(struct qi_cpu *cpu, enum qi_frame_state state, uint32_t by)
{
    __atomic_store_n(&cpu->by_state[state], cpu->by_state[state] + by, __ATOMIC_RELAXED);
}
void qi_frame_set_state(struct qi_cpu *cpu, pfn_t pfn, enum qi_frame_state state);
/* Zero one free frame of the lists; false: all are. */
bool qi_frame_zero_one(struct qi_cpu *cpu);

/*
 * The end of a call that freed or fetched frames, and of every later one while much is in limbo:
 * keep both within bounds, and the reserve on the lists.
 */
void qi_frames_settle(struct qi_cpu *cpu);
/*
 * Bring what the CPUs keep back to the lists, with nothing held.  True: there was something, and
 * the lists have `need` frames now, beside the reserve if it is not urgent.
 */
bool qi_frames_gather(struct quire *q, uint32_t need, bool urgent);
/* Have the lists so many? */
bool qi_frames_there(const struct quire *q, uint32_t need, bool urgent);

#endif
