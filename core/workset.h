/* SPDX-License-Identifier: MIT */
/*
 * Walks over pages in memory, wherever they are used.  See workset.c.
 */
#ifndef CORE_WORKSET_H
#define CORE_WORKSET_H

#include "section.h"

/* Leaves that one slice looks at, while all other calls are kept out. */
enum { QI_SLICE_LEAVES = 1 };
/* One slice of a walk. */
struct qi_visit {
    struct qi_cpu *cpu; /* of a call that keeps all others out */
    uint64_t low, high; /* what of each tree is visited: addresses, or pages of a section */
    uint32_t number;    /* of the pass: tables that bear it are passed over; 0: none are */
    uint32_t leaves;    /* that may still be visited */
    uint8_t old;        /* pages of this age leave */
    bool trim;          /* they do; else ages change and nothing else */
    bool now;           /* they leave whether they were used or not, unless others may use them */
    bool cold;          /* nothing leaves: ages become the highest */
    const struct quire_pagefile *file; /* not null: pages that are out in it come back instead */
    struct quire_section *section;     /* whose tree it is; null: a space's */
    struct quire_section *unwritten;   /* one that has pages to write; with a reference */
    uint64_t unwritten_page;
    uint64_t left;     /* pages that left */
    slot_t missing;    /* of `file`: a page that is not in memory */
    uint64_t resident; /* pages that stayed */
    uint32_t count;    /* victims */
};
/* A slice for that part of one space or section which is in [low, high); keeps all others out. */
struct qi_visit qi_visit_begin(struct quire *q, uint64_t low, uint64_t high);
/* Go on with it at visit->low. */
void qi_visit_again(struct qi_visit *visit);

/*
 * Visit what is below one root; true: all of it.  False: the slice is full, and visit->low is where
 * the next one goes on.
 */
bool qi_visit_tree(struct qi_visit *visit, pfn_t root);
/* The end of a slice: one flush, and what left is put on lists; the others may go on. */
void qi_visit_end(struct qi_visit *visit);

/*
 * A slice of the pass over all trees, with nothing held; begins one if there is none.  True: the
 * pass has ended, and *left is how many pages left in it.
 */
bool qi_pass_slice(struct quire *q, bool trim, uint64_t *left);
/* One call at a time pages out; false: another does. */
bool qi_work_begin(struct quire *q);
void qi_work_end(struct quire *q);
/* Mark what of all spaces must not leave; with nothing held.  See limit.c. */
void qi_mark_all(struct quire *q);
/* The next round begins: what the one before the last has marked may leave.  The caller pages out,
 * and has marked all since the last one began. */
void qi_mark_round(struct quire *q);
/* No visit may take the page: it is marked. */
bool qi_page_stays(const struct quire *q, pfn_t page);
/* Make pages of one space leave until it has no more than it may have; the same. */
void qi_space_shrink(struct quire_space *space);
/* A space may have one page more in memory; false: it has to shrink first. */
static inline bool qi_space_has_room(struct quire_space *space)
{
    uint64_t room = qi_load(&space->room);
    while (room != UINT64_MAX) {
        if (room == 0)
            return false;
        if (qi_change(&space->room, &room, room - 1))
            break;
    }
    return true;
}

#endif
