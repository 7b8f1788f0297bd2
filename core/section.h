/* SPDX-License-Identifier: MIT */
/*
 * Sections: memory objects, their trees, their pages.  See section.c, pager.c, cache.c, view.c.
 */
#ifndef CORE_SECTION_H
#define CORE_SECTION_H

#include "range.h"

enum qi_section_state { QI_SECTION_FREE, QI_SECTION_LIVE };

/*
 * One section.  Records lie in the arena and are reused.
 *
 *   FREE --quire_section_create--> LIVE --qi_section_drop_slice (refs is 0, no page left)--> FREE
 *
 * refs counts the handle, every region node that views it, every transfer, and calls that look at
 * it without holding a space that views it.  size and seals are shared words; so are root, limit,
 * shut, open and errors.
 */
struct quire_section {
    struct quire *q;
    uint32_t index; /* of this record */
    enum qi_section_state state;
    const struct quire_pager *pager; /* null: shared memory */
    void *cookie;
    uint64_t size;              /* bytes */
    uint64_t limit;             /* bytes: below size while the end is being cut off */
    uint64_t shut, open;        /* pages [shut, open) are being discarded: none comes to a view */
    uint32_t refs;              /* shared word */
    uint32_t changing;          /* shared word: 1 while a call resizes, discards or seals it */
    uint32_t views;             /* region nodes; under the lock of the nodes */
    uint32_t writers;           /* those of them that are SHARED and writable; the same */
    uint32_t seals;             /* changes under the lock of the nodes */
    uint32_t window;            /* pages that the last read ahead took; under `lock` */
    uint64_t ahead;             /* the page after them */
    struct qi_lock lock;        /* rank SECTION: of the shape of the tree */
    pfn_t root;                 /* a table of any level; QI_NO_FRAME: there are no pages */
    uint64_t errors;            /* transfers to the pager that failed */
    uint64_t charge;            /* pages promised */
    struct quire_section *next; /* of the free or the dead; under the list lock */
};

/* One page of a section, while its leaf is locked. */
struct qi_slot {
    pfn_t table; /* the leaf */
    entry_t *slot;
    unsigned index;
};

void qi_sections_init(struct quire *q);
static inline struct quire_section *qi_section_of(const struct quire *q, view_t view)
{
    return &q->sections[view_section(view)];
}
static inline bool qi_section_paged(const struct quire_section *section)
{
    return section->pager && section->pager->start;
}
/* Is the page being taken away, by a cut or a discard?  Who wants it waits until that is over. */
static inline bool qi_section_shut(const struct quire_section *section, uint64_t page)
{
    return page << QUIRE_PAGE_SHIFT >= qi_load(&section->limit) ||
           (page >= qi_load(&section->shut) && page < qi_load(&section->open));
}
/* Pages up to a number of bytes. */
static inline uint64_t qi_pages_up(uint64_t bytes)
{
    return (bytes >> QUIRE_PAGE_SHIFT) + ((bytes & (QUIRE_PAGE_SIZE - 1)) != 0);
}

/* The end of the pages that a range of bytes touches; one that would wrap is all there is. */
static inline uint64_t qi_pages_end(uint64_t offset, uint64_t length)
{
    return offset + length < offset ? UINT64_MAX : qi_pages_up(offset + length);
}

/* One reference more, by whoever knows that there is one; and one fewer. */
static inline void qi_section_hold(struct quire_section *section) { qi_add(&section->refs, 1); }
void qi_section_release(struct qi_cpu *cpu, struct quire_section *section);
/* The same, with nothing held. */
void qi_section_let_go(struct quire_section *section);
/* One call at a time changes a section as a whole.  May host_yield, with nothing held. */
void qi_section_change_begin(struct quire_section *section);
static inline void qi_section_change_end(struct quire_section *section)
{
    qi_store(&section->changing, 0u);
}
/* A node with a view comes (by = 1) or goes (-1); nothing for one without.  Nodes locked. */
void qi_section_viewed(struct qi_cpu *cpu, const struct qi_region *n, int by);
/* What to tell a pager when nothing is held. */
struct qi_gone {
    void (*call)(void *cookie);
    void *cookie;
};
/* Free a part of a dead section; false: nothing could go. */
bool qi_section_drop_slice(struct qi_cpu *cpu, struct qi_gone *gone);

/* ---- the tree ------------------------------------------------------------------------------ */

/* The leaf that holds a page, or QI_NO_FRAME.  No lock; it may be leaving the tree. */
pfn_t qi_section_leaf(const struct quire_section *section, uint64_t page);
/* The entry of a page as it is now, without a lock; 0: there is none. */
entry_t qi_section_peek(const struct quire_section *section, uint64_t page);
/* Lock the leaf of a page; false: there is none. */
bool qi_slot_lock(struct qi_cpu *cpu, const struct quire_section *section, uint64_t page,
                  struct qi_slot *out);
/* The same of the leaf that this call has found. */
bool qi_slot_lock_in(struct qi_cpu *cpu, pfn_t leaf, uint64_t page, struct qi_slot *out);
static inline void qi_slot_unlock(struct qi_cpu *cpu, const struct qi_slot *slot)
{
    table_unlock(cpu, slot->table);
}
/*
 * The same, where the leaf is made if it is not there; the tree stays locked with it.  Reserves
 * what that takes and, if the entry is empty, `more` frames; false: *need are not to be had.
 */
bool qi_slot_make(struct qi_cpu *cpu, struct quire_section *section, uint64_t page, uint32_t more,
                  uint32_t *need, struct qi_slot *out);
void qi_slot_made(struct qi_cpu *cpu, struct quire_section *section, const struct qi_slot *slot);
/* A page enters an empty slot of a locked leaf, as its own page with more bits. */
void qi_slot_fill(struct qi_cpu *cpu, const struct qi_slot *slot, pfn_t page, entry_t bits);
/* The page of a slot, which nobody uses, goes. */
void qi_slot_clear(struct qi_cpu *cpu, const struct qi_slot *slot);
/* Uses of the page of a slot by entries of spaces. */
static inline uint32_t qi_slot_uses(const struct quire *q, const struct qi_slot *slot)
{
    const struct qi_frame *r = table_record(q, slot->table);
    return r->side == QI_NO_FRAME ? 0 : table_side(q, r)->uses[slot->index];
}
/* The next slot of the same leaf; false: that was the last one. */
static inline bool qi_slot_next(struct qi_slot *slot)
{
    slot->slot++;
    return ++slot->index < QUIRE_TABLE_ENTRIES;
}
/* Leaves that hold nothing in [first, end) leave the tree, and so do tables above them. */
void qi_section_trim(struct qi_cpu *cpu, struct quire_section *section, uint64_t first,
                     uint64_t end);
/*
 * The first page from `page` on, below `end`, whose leaf is there and whose entry is not empty;
 * `end`: none.  No lock, so a hint.
 */
uint64_t qi_section_next(const struct quire_section *section, uint64_t page, uint64_t end);

/* ---- pages: pager.c ------------------------------------------------------------------------ */

/*
 * See to it that a page is there: QUIRE_OK, after which everything is to be looked at again;
 * QUIRE_IO_ERROR, QUIRE_NO_MEMORY; with no_wait, QUIRE_WOULD_WAIT.  The caller has a reference to
 * the section, and holds nothing.
 */
enum quire_status qi_section_bring(struct quire_section *section, uint64_t page, bool no_wait);
/* Nothing of [first, end) is being read or written any more; nothing is begun by this. */
void qi_section_settle(struct quire_section *section, uint64_t first, uint64_t end);

/* ---- views: view.c ------------------------------------------------------------------------- */

/*
 * Every view of [first, end) loses something: QI_LOSE_WRITE, after which no CPU writes those pages
 * without a fault that marks them as changed; QI_LOSE_VIEWS, after which what was mapped of them
 * when it was called is not, but for spaces that were forked meanwhile.  Holds one space after the
 * other.  QUIRE_OK, QUIRE_NO_MEMORY.
 */
enum quire_status qi_views_lose(struct quire_section *section, uint64_t first, uint64_t end,
                                enum qi_loss loss);

#endif
