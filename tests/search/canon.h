/* SPDX-License-Identifier: MIT */
/*
 * The canonical form of a state: two states with the same form behave the same.
 *
 * What is written, space by space in the order given: its regions (start, end, protection, in
 * order of address) and its tree from the root down, each table where it is met first.  Of a
 * table: level, share, present, every entry with all its bits, and uses and maps where it is
 * frozen.  Of an entry that names a page: the page, what it contains, and the home (table and
 * index) where that is elsewhere. Tables, pages and contents are numbered in the order in which
 * they are met, so that states which differ only in which frame was taken, or which value was
 * written, are one.
 *
 * With CANON_SECTIONS, after the spaces: each section that is live, with its size, what it reads
 * ahead, and its tree from the root down.  Bytes that only a pager holds are not written: whoever
 * compares states checks that they are what they should be.
 *
 * What is left out: counters, the numbers of frames and spaces, the order and kind (free or
 * zeroed) of free frames, the content of free frames, the shape of region trees and which spaces
 * share their nodes (their meaning is the list of regions), and TLBs (whoever compares states
 * fills them first with all that the tables allow, so that they follow from the rest).
 */
#ifndef TESTS_SEARCH_CANON_H
#define TESTS_SEARCH_CANON_H

#include "table.h"

enum {
    CANON_EXACT_VALUES = 1, /* write contents as a hash of the bytes, not renamed */
    CANON_NO_HARDWARE = 2,  /* leave out W and A; D and its folded copy count as one */
    CANON_SECTIONS = 4,     /* write the sections too */
    CANON_SIZE_MAX = QUIRE_TABLE_ENTRIES * 4096,
};

struct canon {
    uint32_t size;
    uint8_t bytes[CANON_SIZE_MAX];
};

/* Write the form of the `count` spaces (null: no space in this place). */
void canon_write(struct canon *out, const struct quire *q, struct quire_space *const *spaces,
                 unsigned count, unsigned flags);

/* 64 bits that stand for a form. */
uint64_t canon_hash(const struct canon *form);

#endif
