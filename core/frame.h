/* SPDX-License-Identifier: MIT */
/*
 * The frame database: one record for each frame number of the arena.
 */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include "lock.h"

/* All that core needs of a C library; the embedder has them, for compilers call them anyway. */
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memset(void *to, int byte, size_t length);

/*
 * What a frame is.  Each transition is made by the function named.
 *
 *   ABSENT --qi_frame_add--> FREE <--qi_frame_free-- DATA TABLE SIDE NODES TAKEN
 *   FREE --qi_frame_zero_one--> ZEROED
 *   FREE, ZEROED --qi_frame_alloc--> DATA TABLE SIDE NODES TAKEN ZERO_PAGE
 *   TABLE --qi_table_release (share reaches 0)--> DYING --qi_table_drop_slice--> TABLE (homes
 * only), or FREE
 */
enum qi_frame_state {
    QI_FRAME_ABSENT, /* not handed over */
    QI_FRAME_FREE,   /* on a free list; content unknown */
    QI_FRAME_ZEROED, /* on a zeroed list; content all zero */
    QI_FRAME_DATA,   /* a page; home names its entry */
    QI_FRAME_TABLE,  /* 512 entries: a page table (share > 0) or a prototype table (share == 0) */
    QI_FRAME_DYING,  /* a table whose last parent has gone, on the drop list */
    QI_FRAME_SIDE,   /* uses and maps of a frozen table; `sum` is the sum of its uses */
    QI_FRAME_NODES,  /* region nodes */
    QI_FRAME_TAKEN,  /* lent to the embedder */
    QI_FRAME_ZERO_PAGE, /* the one zero page */
    QI_FRAME_STATE_COUNT
};

#define QI_NO_FRAME UINT32_MAX

/*
 * One frame.  Everything is under the manager's lock.
 *
 *   1. a frame is on exactly one list (by state and colour), or on none; next and prev are used
 *      only there;
 *   2. DATA: the entry at `home` is own or barred and names this frame;
 *   3. TABLE: `present` entries are not empty; `share` parents point here (entries, or spaces for
 *      a root); side is a frame exactly while the table is frozen: that frame's `sum` is the sum
 *      of its uses, above 0;
 *   4. TABLE with share == 0 has level 1, present > 0, and holds homes with uses only;
 *   5. NODES: `share` nodes are in use; `present` is the index of the first free one.
 */
struct qi_frame {
    uint8_t state; /* enum qi_frame_state */
    uint8_t level; /* TABLE: 1 for a leaf .. QUIRE_LEVELS for a root */
    uint16_t present;
    uint32_t share;
    pfn_t next, prev;
    union {
        home_t home;  /* DATA */
        uint64_t sum; /* SIDE */
    };
    pfn_t side;
    uint32_t spare; /* keeps the record at 32 bytes; a lock of its own comes with finer locking */
};
_Static_assert(sizeof(struct qi_frame) == 32, "32 bytes of metadata a frame");

struct qi_list {
    pfn_t head; /* QI_NO_FRAME: empty */
};

/* What frame.c keeps in struct quire. */
struct qi_frames {
    struct qi_frame *records; /* of frame `first` and the following `count` */
    unsigned char *direct;    /* where frame number 0 would be in the direct map */
    pfn_t first;
    uint32_t count;
    uint32_t colours; /* a power of two */
    uint32_t free;    /* frames on all lists */
    uint32_t reserve; /* of these, kept for operations that free memory */
    uint32_t added;
    uint32_t by_state[QI_FRAME_STATE_COUNT];
    uint32_t next_colour;                      /* for frames whose colour does not matter */
    struct qi_list list[2][QUIRE_COLOURS_MAX]; /* [0] free, [1] zeroed */
};

static inline struct qi_frame *frame_record(const struct qi_frames *f, pfn_t pfn)
{
    qi_check(pfn >= f->first && pfn - f->first < f->count);
    return &f->records[pfn - f->first];
}
static inline void *frame_memory(const struct qi_frames *f, pfn_t pfn)
{
    return f->direct + ((uint64_t)pfn << QUIRE_PAGE_SHIFT);
}
static inline pfn_t frame_of(const struct qi_frames *f, const void *memory)
{
    return (pfn_t)((uintptr_t)((const unsigned char *)memory - f->direct) >> QUIRE_PAGE_SHIFT);
}
static inline uint32_t frame_colour(const struct qi_frames *f, pfn_t pfn)
{
    return pfn & (f->colours - 1);
}

void qi_frames_init(struct qi_frames *f, const struct quire_config *config, void *records);
/* Make `count` frame numbers free frames, or nothing: QUIRE_ZERO_LENGTH, _OUT_OF_RANGE, _OVERLAPS.
 */
enum quire_status qi_frame_add(struct qi_frames *f, pfn_t first, uint32_t count);

/* How many frames may be taken; `urgent` operations free memory in the end and may use the reserve.
 */
static inline uint32_t qi_frame_available(const struct qi_frames *f, bool urgent)
{
    uint32_t kept = urgent ? 0 : f->reserve;
    return f->free > kept ? f->free - kept : 0;
}

enum qi_frame_want { QI_WANT_ANY, QI_WANT_ZEROED };
/*
 * Take a free frame: of `colour` where there is one, else of the next colour that has one.
 * WANT_ZEROED: its content is zero on return.  The caller has seen qi_frame_available; there is
 * a frame.  Its record is cleared but for the state.
 */
pfn_t qi_frame_alloc(struct qi_frames *f, enum qi_frame_state state, enum qi_frame_want want,
                     uint32_t colour);
/* The next colour in turn, for a frame that has none to match. */
static inline uint32_t qi_frame_any_colour(struct qi_frames *f)
{
    return f->next_colour++ & (f->colours - 1);
}
/* Nobody refers to the frame any more, and no machine: it goes to the free list of its colour. */
void qi_frame_free(struct qi_frames *f, pfn_t pfn);
static inline void qi_frame_set_state(struct qi_frames *f, pfn_t pfn, enum qi_frame_state state)
{
    struct qi_frame *r = frame_record(f, pfn);
    f->by_state[r->state]--;
    f->by_state[state]++;
    r->state = (uint8_t)state;
}
/* Zero one free frame; false: all are. */
bool qi_frame_zero_one(struct qi_frames *f);

#endif
