/* SPDX-License-Identifier: MIT */
/*
 * Advice and names: what a region carries for others to read.
 *
 * Both change regions and nothing else: no entry changes, and nothing is flushed.  Regions that
 * come to agree with their neighbours become one with them, and those that are told apart are cut.
 *
 * What fork does with a range is read by fork.c, which finds such regions through the sums in the
 * tree (qi_region_fork_work).  A child inherits the advice with its regions, so what is wiped for
 * the child is wiped for its children too.  Names are the embedder's: a number that is kept, for a
 * list of mappings that people read.
 *
 * Locks: the space, exclusively.
 */
#include "change.h"

enum quire_status quire_advise(struct quire_space *space, vaddr_t address, uint64_t length,
                               enum quire_advice advice)
{
    static const uint8_t flag[QUIRE_ADVICE_COUNT] = {
        [QUIRE_FORK_OMIT] = QUIRE_REGION_FORK_OMIT, [QUIRE_FORK_WIPE] = QUIRE_REGION_FORK_WIPE};
    if ((unsigned)advice >= QUIRE_ADVICE_COUNT)
        return QUIRE_BAD_FLAGS;
    struct qi_alter alter = {.clear = QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE,
                             .set = flag[advice]};
    return qi_change_extent(space, address, length, qi_change_alter, &alter);
}

enum quire_status quire_name(struct quire_space *space, vaddr_t address, uint64_t length,
                             uint64_t name)
{
    struct qi_alter alter = {.set_name = true, .name = name};
    return qi_change_extent(space, address, length, qi_change_alter, &alter);
}
