/* SPDX-License-Identifier: MIT */
/*
 * Pages that are paged out: slots, and what of them is in memory.  See paged.c, pagefile.c.
 */
#ifndef CORE_PAGED_H
#define CORE_PAGED_H

#include "frame.h"

/*
 * What is known of a slot.  Its owner is one entry of kind paged, or a frame that keeps it.
 *
 *   FREE --qi_paged_new, page leaves its working set--> MODIFIED
 *   MODIFIED --written--> WRITING --ok--> STANDBY, else MODIFIED
 *   STANDBY --frame given away--> OUT --wanted--> READING --ok--> STANDBY, else OUT
 *   STANDBY --soft fault--> KEPT --page leaves again--> STANDBY (unchanged), MODIFIED
 *   MODIFIED --soft fault--> FREE
 *   all --owner goes--> FREE; under a transfer first GONE, which ends as FREE
 */
enum qi_paged_state {
    QI_PAGED_FREE,
    QI_PAGED_OUT,      /* on the device only */
    QI_PAGED_STANDBY,  /* on the device, and in a frame on a standby list */
    QI_PAGED_MODIFIED, /* in a frame on the modified list, and nowhere else */
    QI_PAGED_READING,  /* a transfer fills the frame */
    QI_PAGED_WRITING,  /* a transfer stores it */
    QI_PAGED_KEPT,     /* on the device; in a frame that is in use, and may have changed since */
    QI_PAGED_GONE,     /* a transfer is under way, and nobody waits for its page */
};

struct qi_paged {
    pfn_t page;     /* its frame; valid but for FREE and OUT */
    uint32_t state; /* shared word: enum qi_paged_state */
    uint32_t sum;   /* checksum of what was written */
};

/* Neighbouring slots that one file has; slot numbers are dealt out in chunks. */
enum { QI_CHUNK = QUIRE_TABLE_ENTRIES > 16 ? 64 : 8 };
struct qi_chunk {
    uint16_t file;   /* index + 1; 0: nobody's */
    uint16_t used;   /* slots that are not FREE */
    uint32_t number; /* which chunk of the file */
};

struct quire_pagefile {
    struct quire *q;
    const struct quire_pager *pager; /* null: the record is free */
    void *cookie;
    uint64_t slots; /* that it has room for */
    uint32_t chunks, used;
    int priority;
    uint32_t flags;
    bool leaving; /* gets no new pages */
};

/* Frames by `next` and `prev` of their records, oldest first. */
struct qi_list {
    pfn_t head, tail;
    uint32_t count; /* shared word */
};

/* Standby lists: those of the first are given away first. */
enum qi_standby { QI_STANDBY_UNPROVEN, QI_STANDBY_COLD, QI_STANDBY_NORMAL, QI_STANDBY_LISTS };

/* A page that has left its entry, until the flush. */
struct qi_victim {
    entry_t *entry, old; /* busy; what it was */
    pfn_t table;         /* that it is in */
    home_t home;         /* of the page */
    slot_t slot;         /* that the entry will name; 0: it is not the page's home */
    bool changed;        /* not what the slot's place in the page file holds */
};
/* Pages that leave with one flush. */
enum { QI_VICTIMS = 64 };

/* Where a pass over all tables is. */
struct qi_pass {
    uint32_t number; /* stamped on each table that it has seen; 0: no pass */
    uint32_t tree;   /* spaces, then sections */
    uint64_t at;     /* an address, or a page number */
    uint8_t old;     /* what may leave */
    uint64_t left;   /* pages that left in it */
    bool tired;      /* the last one took from everybody, and got nothing */
};

struct qi_paging {
    uint32_t max; /* slots have numbers from 1 to max; 0: there is no paging */
    uint32_t keep_free;
    const struct quire_policy *policy;
    void (*low_memory)(void *host);
    struct qi_paged *slots; /* of slot 1 and the following */
    struct qi_chunk *chunks;
    struct quire_io *transfers;
    uint32_t max_transfers;
    uint32_t live; /* shared word: page files */

    uint32_t last_number;                 /* shared word: of a pass */
    uint32_t working;                     /* shared word: 1 while a call pages out */
    struct qi_pass pass;                  /* that call's */
    uint32_t round;                       /* shared word: of marks that are over; see limit.c */
    uint64_t away;                        /* the same: pages that left, ever */
    struct qi_victim victims[QI_VICTIMS]; /* of the call that keeps all others out */
    uint32_t failures, failed; /* shared words: writes that failed since one worked, and in all */

    struct qi_lock lock; /* rank LIST; of what follows, and of all slots, chunks and files */
    struct quire_pagefile files[QUIRE_PAGEFILES];
    struct quire_io *free_transfer;
    struct qi_list standby[QI_STANDBY_LISTS], modified;
    uint32_t transfers_busy; /* shared word */
    uint32_t total, used;    /* slots of all files that take pages; of all files, not FREE */
    slot_t cursor;           /* the next new slot may be this one */
};

static inline struct qi_paged *paged_record(const struct qi_paging *p, slot_t slot)
{
    qi_check(slot > 0 && slot <= p->max);
    return &p->slots[slot - 1];
}
static inline struct qi_chunk *chunk_of(const struct qi_paging *p, slot_t slot)
{
    return &p->chunks[(slot - 1) / QI_CHUNK];
}
/* Where a slot is in its page file, in pages. */
static inline uint64_t slot_place(const struct qi_paging *p, slot_t slot)
{
    return (uint64_t)chunk_of(p, slot)->number * QI_CHUNK + (slot - 1) % QI_CHUNK;
}
/* Frames that can be had at once though they are not free. */
static inline uint32_t qi_standby_count(const struct qi_paging *p)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < QI_STANDBY_LISTS; i++)
        count += qi_load(&p->standby[i].count);
    return count;
}

void qi_paging_init(struct quire *q, const struct quire_config *config);

/* A slot for a page that leaves, a neighbour of the last one where possible; 0: all are used. */
slot_t qi_paged_new(struct qi_cpu *cpu);
/* The page of a slot, in a frame that no machine and no entry leads to any more, goes on a list. */
void qi_paged_put(struct qi_cpu *cpu, slot_t slot, pfn_t page, bool changed, bool cold);
/*
 * Take the page of a slot back from its list.  Returns its frame, which has no home yet, and keeps
 * the slot or not; *changed: the page file has other content.  QI_NO_FRAME: it is not on a list.
 */
pfn_t qi_paged_get(struct qi_cpu *cpu, slot_t slot, bool *changed);
/* The owner of a slot goes: a paged entry, or a frame that keeps it. */
void qi_paged_release(struct qi_cpu *cpu, slot_t slot);
/* The record's page goes on a list, or off it; a slot becomes free.  With the lock. */
void qi_paged_list(struct quire *q, slot_t slot, enum qi_paged_state state, enum qi_standby list);
void qi_paged_unlist(struct quire *q, slot_t slot);
void qi_paged_free(struct qi_paging *p, slot_t slot);
/* Give the frames of at most `most` standby pages to this CPU's cache; returns how many. */
uint32_t qi_paged_steal(struct qi_cpu *cpu, uint32_t most);

/*
 * Make what a home of kind paged names resident, if it is on a list; then the entry is barred, or a
 * section's own.  False: it has to be read (qi_page_in).  True also if the entry is something else
 * by now, or its table has gone: look again.  No table lock held; this call may look at the table.
 */
bool qi_paged_revive(struct qi_cpu *cpu, home_t home);

/* ---- transfers: pagefile.c ----------------------------------------------------------------- */

/*
 * Bring the page of a slot to a list, with nothing held.  QUIRE_OK: look again; QUIRE_IO_ERROR,
 * QUIRE_NO_MEMORY; with no_wait, QUIRE_WOULD_WAIT.
 */
enum quire_status qi_page_in(struct quire *q, slot_t slot, bool no_wait);
/* Begin to read it, or do nothing. */
void qi_page_ahead(struct quire *q, slot_t slot);
/* Begin to write some modified pages, with nothing held.  False: there is none, or no record. */
bool qi_page_out(struct quire *q);
/* quire_io_done for a page file. */
void qi_page_done(struct quire_io *io, bool ok);
/* A write has ended, to a page file or to a pager: whoever waits for memory waits for both. */
static inline void qi_write_ended(struct qi_paging *p, bool ok)
{
    qi_store(&p->failures, ok ? 0 : qi_load(&p->failures) + 1);
    if (!ok)
        qi_add(&p->failed, 1);
}

/* ---- memory: balance.c --------------------------------------------------------------------- */

/* Find need + *more frames, with nothing held.  True: try again, and *more has grown if pages left;
 * false: nothing can leave. */
bool qi_paging_relieve(struct quire *q, uint32_t need, uint32_t *more);

#endif
