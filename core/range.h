/* SPDX-License-Identifier: MIT */
/*
 * Changes to all entries of a range.  See range.c; and guard.c for guards.
 */
#ifndef CORE_RANGE_H
#define CORE_RANGE_H

#include "table.h"

/* What a range loses.  Of the rights, each includes what stands before it. */
enum qi_loss {
    QI_LOSE_NOTHING,
    QI_LOSE_WRITE,
    QI_LOSE_EXEC,
    QI_LOSE_ACCESS,
    QI_LOSE_GUARDS,  /* guards become empty; pages stay */
    QI_LOSE_VIEWS,   /* pages of sections go, and nothing else */
    QI_LOSE_CONTENT, /* pages go; guards stay */
    QI_LOSE_PAGES,   /* both go */
};

struct qi_range {
    struct qi_cpu *cpu;
    struct quire_space *space; /* held exclusively */
    vaddr_t low, high;
    enum qi_loss loss;
    uint32_t lost; /* the rights that some part of it loses, for LOSE_WRITE and LOSE_EXEC */
};
/* How many frames the change will take, for qi_reserve; never too few. */
uint32_t qi_range_need(const struct qi_range *range);
/* Change the entries of the range; one flush; cannot fail. */
void qi_range_apply(const struct qi_range *range);

/*
 * Where the first part of the range ends that one hold of the space should change: behind a few of
 * the leaves that the change goes through, if there are more of them, else the end of the range.
 */
vaddr_t qi_range_part(const struct qi_range *range);
/* So many leaves are a part. */
enum { QI_PART_LEAVES = 8 };

/* What a change of the range would find below an entry: a mask. */
enum { QI_HOLDS_LOST = 1, QI_HOLDS_KEPT = 2 };
/*
 * What of the table, which spans addresses from `base` on, the range takes, and what it leaves: its
 * own entries or those of tables below.  An empty table counts as taken.
 */
unsigned qi_range_holds(const struct qi_range *range, pfn_t table, vaddr_t base);

/* A walk of the part of a range that one table covers. */
struct qi_piece {
    const struct qi_range *range;
    pfn_t table;
    unsigned level;
    vaddr_t low, high; /* within the table */
};
struct qi_part {
    unsigned index;
    vaddr_t low, high; /* what of the range lies under this entry */
    bool covered;      /* all of what the entry spans */
};
/* The part of `piece` from `at` on that lies under one entry; the next one starts at its high. */
static inline struct qi_part qi_part_at(const struct qi_piece *piece, vaddr_t at)
{
    uint64_t span = entry_span(piece->level);
    vaddr_t start = at & ~(span - 1);
    vaddr_t end = start + span;
    struct qi_part part = {.index = entry_index(at, piece->level), .low = at};
    part.high = end < piece->high ? end : piece->high;
    part.covered = part.low == start && part.high == end;
    return part;
}
static inline struct qi_piece qi_piece_below(const struct qi_piece *piece,
                                             const struct qi_part *part, pfn_t child)
{
    return (struct qi_piece){piece->range, child, piece->level - 1, part->low, part->high};
}

#endif
