/* SPDX-License-Identifier: MIT */
/*
 * Tables: walking, sharing, freezing.  See table.c.
 */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include "space.h"

/*
 * The counts of a frozen table, in a frame of their own beside it.  uses[i]: entries of *other*
 * tables whose home is entry i; maps[i]: those of them that are valid.  The table's own use
 * counts in neither.
 */
struct qi_side {
    uint32_t uses[QUIRE_TABLE_ENTRIES];
    uint32_t maps[QUIRE_TABLE_ENTRIES];
};
_Static_assert(sizeof(struct qi_side) <= QUIRE_PAGE_SIZE, "the counts fit one frame");
_Static_assert(QUIRE_TABLE_ENTRIES * sizeof(entry_t) <= QUIRE_PAGE_SIZE, "a table fits one frame");

/* How many entries of a table of `level` belong to the space: the machine keeps some of a root's.
 */
static inline unsigned table_count(unsigned level)
{
    return level == QUIRE_LEVELS ? MMU_ROOT_ENTRIES : QUIRE_TABLE_ENTRIES;
}
static inline entry_t *table_entries(const struct quire *q, pfn_t table)
{
    return frame_memory(&q->frames, table);
}
static inline struct qi_frame *table_record(const struct quire *q, pfn_t table)
{
    struct qi_frame *r = frame_record(&q->frames, table);
    qi_check(r->state == QI_FRAME_TABLE || r->state == QI_FRAME_DYING);
    return r;
}
static inline struct qi_side *table_side(const struct quire *q, const struct qi_frame *table)
{
    return frame_memory(&q->frames, table->side);
}
/* One parent, and no other table borrows from it.  The fact that allows writing in place, for this
 * level. */
static inline bool table_exclusive(const struct quire *q, pfn_t table)
{
    const struct qi_frame *r = table_record(q, table);
    return r->share == 1 && (r->side == QI_NO_FRAME || QI_CANARY(QI_CANARY_FROZEN_IS_EXCLUSIVE));
}

/* What the tree holds for one address, without changing anything. */
struct qi_look {
    entry_t entry;  /* the leaf entry; or the empty or hidden entry where the walk ended */
    pfn_t table;    /* the table it is in */
    unsigned level; /* of that table: 1 if the walk reached the leaf */
    bool exclusive; /* every table on the path is */
    bool open;      /* every upper entry on the path has W: the gate has nothing to do */
};
struct qi_look qi_table_look(const struct quire_space *space, vaddr_t address);

/*
 * The gate: the only way to get a table that may be written.
 *
 *   qi_gate_need   how many frames opening it will take, for qi_reserve
 *   qi_gate_open   own every table from the root down to `level`; copies of shared ones are built
 *                  beside the originals, and the one entry (or the root) that leads to them is
 *                  left busy
 *   ...            the caller makes busy what it is about to replace in the table it got
 *   qi_gate_close  one flush for all of it; the new tables are published; the old is released
 */
struct qi_gate {
    struct quire_space *space;
    vaddr_t address;
    entry_t *slot; /* busy, to become `value` after the flush; null: none */
    entry_t value;
    pfn_t root;    /* a new root to be published; QI_NO_FRAME: none */
    pfn_t retired; /* the table that was left; QI_NO_FRAME: none */
    bool flush;    /* something on the path of `address` was made busy */
};
uint32_t qi_gate_need(const struct quire_space *space, vaddr_t address, unsigned level);
/* Returns the owned table. */
pfn_t qi_gate_open(struct qi_gate *gate, struct quire_space *space, vaddr_t address,
                   unsigned level);
/* A gate at which nothing has happened yet. */
static inline void qi_gate_begin(struct qi_gate *gate, struct quire_space *space, vaddr_t address)
{
    *gate = (struct qi_gate){
        .space = space, .address = address, .root = QI_NO_FRAME, .retired = QI_NO_FRAME};
}
/* The same for a leaf that was just looked at: most often it is the space's own already. */
static inline pfn_t qi_gate_open_leaf(struct qi_gate *gate, struct quire_space *space,
                                      vaddr_t address, const struct qi_look *look)
{
    if (look->level > 1 || !look->open || !look->exclusive)
        return qi_gate_open(gate, space, address, 1);
    qi_gate_begin(gate, space, address);
    return look->table;
}
/* One step of it: the child that covers gate->address below the owned table `table` of `level`. */
pfn_t qi_gate_child(struct qi_gate *gate, pfn_t table, unsigned level);
void qi_gate_close(struct qi_gate *gate);

/* A fresh empty table with one parent. */
pfn_t qi_table_create(struct quire *q, unsigned level);
/* One parent fewer, after the flush.  The last one puts the table on the drop list. */
void qi_table_release(struct quire *q, pfn_t table);
/* Tear down one dying table; true: there are more. */
bool qi_table_drop_slice(struct quire *q);

/* ---- homes: see home.c --------------------------------------------------------------------- */

/*
 * Add `step`, 1 or -1, to the counts of the homes of all entries that a leaf borrows, valid or
 * not. `others` is the number of its entries that are neither empty nor own.  With -1, after
 * the flush: pages that nobody uses and whose table has no parents are freed.  Returns how many
 * entries are barred.
 */
uint32_t qi_homes_change(struct quire *q, const entry_t *entries, uint32_t others, int32_t step);
/* One entry fewer that has its home at `home`, after the flush; `mapped`: it was a valid one. */
void qi_home_drop(struct quire *q, home_t home, bool mapped);

/* The home that a borrowed or prototype entry names, and the frame that a home names. */
static inline home_t qi_entry_home(const struct quire *q, entry_t e)
{
    return entry_present(e) ? frame_record(&q->frames, entry_pfn(e))->home : entry_payload(e);
}
pfn_t qi_home_page(const struct quire *q, home_t home);
/* A use of the home became a valid entry. */
void qi_home_mapped(struct quire *q, home_t home);
/* A borrowed entry becomes a prototype entry of the same home, which is returned.  After the flush.
 */
entry_t qi_entry_unmap(struct quire *q, entry_t e);
/* The sum of a table's side frame may have fallen to 0: then the frame goes. */
void qi_side_settle(struct quire *q, struct qi_frame *table);
/* Give back what a removed leaf entry named, after the flush: its frame, or its use of a home. */
void qi_entry_release(struct quire *q, entry_t e);
/* The entry at `home` has one user, and no space walks its table: it may move there. */
static inline bool qi_home_movable(const struct quire *q, home_t home)
{
    const struct qi_frame *lender = table_record(q, home_table(home));
    if (lender->share != 0 && !QI_CANARY(QI_CANARY_REUSE_IGNORES_SHARE))
        return false;
    return table_side(q, lender)->uses[home_index(home)] == 1;
}
/* Take the page out of a movable home, which becomes empty; returns its frame, without a home. */
pfn_t qi_home_move(struct quire *q, home_t home);

#endif
