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

/*
 * A pass over whole tables reads and writes plainly.  That is right where nobody changes what it
 * looks at but for accessed bits; a race detector that looks at words can not know.
 */
#define QI_PASS __attribute__((no_sanitize("thread")))

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
    qi_check((1u << frame_state(r)) &
             (1u << QI_FRAME_TABLE | 1u << QI_FRAME_DYING | 1u << QI_FRAME_SECTION));
    return r;
}
static inline struct qi_side *table_side(const struct quire *q, const struct qi_frame *table)
{
    return frame_memory(&q->frames, table->side);
}
/*
 * One parent, and no other table borrows from it.  The fact that allows writing in place, for this
 * level.  It stays true while the space is held, if the table is part of its tree and all that
 * stands above is exclusive too.  The table may have left the tree when this is asked.
 */
static inline bool table_exclusive(const struct quire *q, pfn_t table)
{
    const struct qi_frame *r = frame_record(&q->frames, table);
    return qi_load_now(&r->share) == 1 &&
           (qi_load(&r->side) == QI_NO_FRAME || QI_CANARY(QI_CANARY_FROZEN_IS_EXCLUSIVE));
}
static inline void table_lock(struct qi_cpu *cpu, pfn_t table)
{
    lock_take(cpu, &table_record(cpu->q, table)->lock, QI_RANK_TABLE);
}
static inline void table_unlock(struct qi_cpu *cpu, pfn_t table)
{
    lock_drop(cpu, &table_record(cpu->q, table)->lock, QI_RANK_TABLE);
}

/* What the tree holds for one address, without changing anything. */
struct qi_look {
    entry_t entry;  /* the leaf entry; or the empty, hidden or busy entry where the walk ended */
    pfn_t table;    /* the table it is in */
    unsigned level; /* of that table: 1 if the walk reached the leaf */
    bool exclusive; /* every table on the path is */
    bool open;      /* every upper entry on the path has W: the gate has nothing to do */
};
/* The space is held, or nobody else knows it. */
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
    struct qi_cpu *cpu;
    struct quire_space *space;
    vaddr_t address;
    entry_t *slot; /* busy, to become `value` after the flush; null: none */
    entry_t value;
    pfn_t root;      /* a new root to be published; QI_NO_FRAME: none */
    pfn_t retired;   /* the table that was left; QI_NO_FRAME: none */
    bool flush;      /* something on the path of `address` was made busy */
    bool left_out;   /* the copy of the leaf lacks pages of sections that machines may know */
    uint32_t copies; /* frames that went into copies of tables */
};
uint32_t qi_gate_need(const struct quire_space *space, vaddr_t address, unsigned level);
/* A gate at which nothing has happened yet. */
static inline void qi_gate_begin(struct qi_gate *gate, struct qi_cpu *cpu,
                                 struct quire_space *space, vaddr_t address)
{
    *gate = (struct qi_gate){.cpu = cpu,
                             .space = space,
                             .address = address,
                             .root = QI_NO_FRAME,
                             .retired = QI_NO_FRAME};
}
/*
 * Returns the owned table; QI_NO_FRAME: another call is changing an entry of the path, and the gate
 * is as it was (not if the space is held exclusively).
 */
pfn_t qi_gate_open(struct qi_gate *gate, unsigned level);
/* The leaf that a look found, or if it may not be written as it is, what the gate makes of it. */
static inline pfn_t qi_gate_leaf(struct qi_gate *gate, const struct qi_look *look)
{
    return look->level == 1 && look->exclusive && look->open ? look->table : qi_gate_open(gate, 1);
}
/* One step of it: the child that covers gate->address below the owned table `table` of `level`. */
pfn_t qi_gate_child(struct qi_gate *gate, pfn_t table, unsigned level);
/* Is the table that the gate led to a copy, which nobody else sees before the gate is closed? */
static inline bool qi_gate_copied(const struct qi_gate *gate)
{
    return gate->retired != QI_NO_FRAME;
}
void qi_gate_publish(struct qi_gate *gate);
static inline void qi_gate_close(struct qi_gate *gate)
{
    if (gate->flush) /* else nothing was replaced */
        qi_gate_publish(gate);
}

/* A fresh empty table with one parent. */
pfn_t qi_table_create(struct qi_cpu *cpu, unsigned level);
/* One parent fewer, after the flush.  The last one puts the table on the drop list. */
void qi_table_release(struct qi_cpu *cpu, pfn_t table);
/* Tear down one dying table; true: there are more. */
bool qi_table_drop_slice(struct qi_cpu *cpu);

/* ---- homes: see home.c; none of these is called with a table lock held --------------------- */

/*
 * Count the homes of all entries that a leaf borrows once more, for a copy of it.  `others` is the
 * number of its entries that are neither empty nor own.
 */
void qi_homes_take(struct qi_cpu *cpu, const entry_t *entries, uint32_t others);
/*
 * The opposite for a leaf without parents, whose borrowed entries become empty.  Pages that nobody
 * uses, and whose table has no parents, are freed.
 */
void qi_homes_give(struct qi_cpu *cpu, entry_t *entries, uint32_t others);
/* One entry fewer that has its home at `home`, after the flush; `mapped`: it was a valid one. */
void qi_home_give(struct qi_cpu *cpu, home_t home, bool mapped);

/* The home that a borrowed or prototype entry names. */
static inline home_t qi_entry_home(const struct quire *q, entry_t e)
{
    return entry_present(e) ? qi_load(&frame_record(&q->frames, entry_pfn(e))->home)
                            : entry_payload(e);
}
static inline entry_t *qi_home_slot(const struct quire *q, home_t home)
{
    return &table_entries(q, home_table(home))[home_index(home)];
}
/* The frame that a home names, which is in memory. */
static inline pfn_t qi_home_page(const struct quire *q, home_t home)
{
    return entry_pfn(entry_load(qi_home_slot(q, home)));
}
/* One use more, by an entry that is valid; returns its frame.  The caller's spaces hold one. */
pfn_t qi_home_use(struct qi_cpu *cpu, home_t home);
/* A use of the home became a valid entry; returns its frame. */
pfn_t qi_home_map(struct qi_cpu *cpu, home_t home);
/* A borrowed entry becomes a prototype entry of the same home, which is returned.  After the flush.
 */
entry_t qi_entry_unmap(struct qi_cpu *cpu, entry_t e);
/* The sum of a table's side frame may have fallen to 0: then the frame goes.  Table locked. */
void qi_side_settle(struct qi_cpu *cpu, struct qi_frame *table);
/* Give back what a removed leaf entry named, after the flush: its frame, or its use of a home. */
void qi_entry_release(struct qi_cpu *cpu, entry_t e);
/*
 * Has the page at `home`, in the table `lender`, one user, and no space walks that table?  Asked by
 * that user it can become true at any time, but not false.  Anybody else must expect that the table
 * has gone: then it may say anything, and the entry that led there is not borrowed any more.
 */
static inline bool qi_home_single(const struct quire *q, const struct qi_frame *lender, home_t home)
{
    if (qi_load(&lender->share) != 0 && !QI_CANARY(QI_CANARY_REUSE_IGNORES_SHARE))
        return false;
    /* The entries of a dying table belong to whoever drops it. */
    if (qi_load(&lender->state) != QI_FRAME_TABLE)
        return false;
    pfn_t side = qi_load(&lender->side);
    if (side == QI_NO_FRAME)
        return false;
    const struct qi_side *counts = frame_memory(&q->frames, side);
    return qi_load(&counts->uses[home_index(home)]) == 1;
}
/* The same of what an entry said, whose page may just have gone. */
static inline bool qi_home_movable(const struct quire *q, home_t home)
{
    return home != QI_NO_HOME &&
           qi_home_single(q, frame_record(&q->frames, home_table(home)), home);
}
/* That user takes a page that is movable: the home becomes empty, and what it held is returned; a
 * frame needs a new home. */
entry_t qi_home_move(struct qi_cpu *cpu, home_t home);

#endif
