/* SPDX-License-Identifier: MIT */
/*
 * Commit: memory that is promised, taken back, given up, or wanted now.
 *
 * A reserved region is addresses and nothing else.  Committing it is giving it a protection and
 * taking the flag away; decommitting is losing its pages and setting the flag.  What either costs
 * or gives back in promised pages follows from the two region trees (change.c).
 *
 * A promise is for pages that are private and were writable once: only those can come to differ
 * from what backs them.  Taking write away does not end it, for the pages that were written stay,
 * and neither does a discard, for they can be written again.
 *
 * Populating is faults, one after the other, each of which holds the space for itself.
 *
 * Locks: the space, exclusively, but for populating.
 */
#include "change.h"

enum quire_status quire_commit(struct quire_space *space, vaddr_t address, uint64_t length,
                               uint32_t prot)
{
    struct qi_alter alter = {
        .set_prot = true, .prot = qi_prot_whole(prot), .clear = QUIRE_REGION_RESERVED};
    return qi_prot_known(prot) ? qi_change_extent(space, address, length, qi_change_alter, &alter)
                               : QUIRE_BAD_FLAGS;
}

enum quire_status quire_decommit(struct quire_space *space, vaddr_t address, uint64_t length)
{
    struct qi_alter alter = {.set = QUIRE_REGION_RESERVED};
    return qi_change_extent(space, address, length, qi_change_alter, &alter);
}

static enum quire_status discard_try(struct qi_change *change, void *request)
{
    change->edit.urgent = true;
    qi_change_part(change, request, QI_LOSE_CONTENT);
    qi_change_keep(change);
    return qi_change_finish(change);
}

enum quire_status quire_discard(struct quire_space *space, vaddr_t address, uint64_t length)
{
    return qi_change_extent(space, address, length, discard_try, NULL);
}

enum quire_status quire_populate(struct quire_space *space, vaddr_t address, uint64_t length,
                                 uint32_t access, uint64_t *done)
{
    enum quire_status status = qi_range_status(space->q, address, length);
    uint64_t at = 0;
    while (status == QUIRE_OK && at < length) {
        status = quire_fault(space, address + at, access);
        if (status == QUIRE_OK)
            at += QUIRE_PAGE_SIZE;
    }
    if (done)
        *done = at;
    return status;
}
