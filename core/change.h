/* SPDX-License-Identifier: MIT */
/*
 * One change of a space's regions and entries.  See change.c.
 */
#ifndef CORE_CHANGE_H
#define CORE_CHANGE_H

#include "range.h"

/*
 * A try of a change.  It looks at the space, which is held exclusively, builds `regions`, says in
 * `range` what entries lose, and ends with qi_change_finish.
 */
struct qi_change {
    struct qi_cpu *cpu;
    struct quire_space *space;
    struct qi_edit edit;
    struct qi_region *regions; /* the new tree, owned until it is the space's */
    struct qi_range range;
    /* Not null: instead of qi_range_need and qi_range_apply for `range`. */
    uint32_t (*count)(const struct qi_change *change);
    void (*apply)(const struct qi_change *change);
    const void *request; /* for the two above */
    uint32_t need;       /* frames that the try wanted and did not get */
    uint64_t pages;      /* the same of promised pages */
};

/* Set what the change is about; nothing else is decided yet. */
void qi_change_range(struct qi_change *change, vaddr_t low, vaddr_t high, enum qi_loss loss);
/* The regions stay as they are. */
void qi_change_keep(struct qi_change *change);
/* Reserve, then commit.  On any status but QUIRE_OK nothing has changed. */
enum quire_status qi_change_finish(struct qi_change *change);

/*
 * Try until it is done, refused, or hopeless, and free what it left behind.  Called with nothing
 * held; holds the space exclusively for each try.  May wait.
 */
typedef enum quire_status qi_change_try(struct qi_change *change, void *request);
enum quire_status qi_change_run(struct quire_space *space, qi_change_try *try, void *request);

/*
 * The same for an operation on [address, address + length), whose try gets a struct qi_extent.  The
 * try may change a part only: then it says where that ends, and the rest follows in holds of their
 * own, between which others run.
 */
struct qi_extent {
    vaddr_t low, high; /* what is left to do */
    vaddr_t end;       /* of the part that the try changes */
    bool begun;        /* parts before `low` were changed already */
    const void *with;  /* what else the operation was asked */
};
enum quire_status qi_change_extent(struct quire_space *space, vaddr_t address, uint64_t length,
                                   qi_change_try *try, const void *with);
/* Set what the change is about: as much of the extent as one hold should change. */
void qi_change_part(struct qi_change *change, struct qi_extent *extent, enum qi_loss loss);
/*
 * Is it mapped, all of it before the first part, then the part?  *lost as in qi_range_mapped.
 */
bool qi_extent_mapped(const struct qi_change *change, const struct qi_extent *extent, uint32_t prot,
                      uint32_t *lost);

/* ---- what several operations have in common ------------------------------------------------- */

/* A protection whose bits are known; and one with what it implies. */
static inline bool qi_prot_known(uint32_t prot)
{
    return (prot & ~(uint32_t)(QUIRE_READ | QUIRE_WRITE | QUIRE_EXEC)) == 0;
}
static inline uint8_t qi_prot_whole(uint32_t prot)
{
    return (uint8_t)(prot & (QUIRE_WRITE | QUIRE_EXEC) ? prot | QUIRE_READ : prot);
}
/* A length of something that is to be placed: QUIRE_OK, or what is wrong with it. */
enum quire_status qi_length_status(const struct quire *q, uint64_t length);
/* Nothing is mapped in [low, high). */
bool qi_range_free(const struct quire_space *space, vaddr_t low, vaddr_t high);
/*
 * Is all of [low, high) mapped?  *lost: the rights that any part of it has and `prot` has not.
 */
bool qi_range_mapped(const struct quire_space *space, vaddr_t low, vaddr_t high, uint32_t prot,
                     uint32_t *lost);
/* The try of an operation that alters the regions of a range, which must have no hole: `with` is a
 * struct qi_alter.  Regions that become reserved lose their pages. */
qi_change_try qi_change_alter;

#endif
