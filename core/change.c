/* SPDX-License-Identifier: MIT */
/*
 * One change: check, reserve, commit.
 *
 * Whatever a program asks of its address space goes the same way: look; build the new region tree
 * beside the old one; count and reserve the frames that the tables need; promise the pages that
 * the new tree promises and the old did not; change the tables; swap the region tree; take back
 * promises.  All but the last three can fail and have changed nothing; the last three can not.
 * The tables change while the old regions still stand, because what an entry may allow is read
 * off the regions that it was made under.
 *
 * A failed try is forgotten: its tree is freed, the space is let go, memory or promises are waited
 * for with nothing held, and everything is done again from the look on.
 *
 * Promises.  What a space is promised is what the root of its region tree says (region.h, 4), so
 * a change costs the difference between two roots, and no path has to count for itself.
 *
 * Locks: the space, exclusively, for one try.
 */
#include "change.h"

void qi_change_range(struct qi_change *change, vaddr_t low, vaddr_t high, enum qi_loss loss)
{
    change->range = (struct qi_range){change->cpu, change->space, low, high, loss, 0};
}

void qi_change_keep(struct qi_change *change)
{
    change->regions = qi_region_share(change->cpu, change->space->regions);
}

static uint32_t change_count(const struct qi_change *change)
{
    return change->count ? change->count(change) : qi_range_need(&change->range);
}

static void change_apply(const struct qi_change *change)
{
    if (change->apply)
        change->apply(change);
    else
        qi_range_apply(&change->range);
}

enum quire_status qi_change_finish(struct qi_change *change)
{
    struct qi_cpu *cpu = change->cpu;
    struct quire_space *space = change->space;
    struct qi_region *old = space->regions;
    uint64_t was = qi_region_charge(old), will = qi_region_charge(change->regions);
    enum quire_status status = QUIRE_NO_MEMORY;
    uint32_t count = change->edit.failed ? 1 : change_count(change);
    change->need = change->edit.frames + count; /* those of the edit are given back for now */
    change->pages = will > was ? will - was : 0;
    if (!change->edit.failed && qi_reserve(cpu, count, change->edit.urgent, QI_SITE_RANGE))
        status = change->pages ? qi_commit_take(cpu, space, change->pages) : QUIRE_OK;
    if (status != QUIRE_OK) {
        qi_region_undo(cpu, change->regions);
        return status;
    }
    change_apply(change);
    space->regions = change->regions;
    qi_region_release(cpu, old);
    if (was > will)
        qi_commit_give(cpu, was - will);
    return QUIRE_OK;
}

enum quire_status qi_change_run(struct quire_space *space, qi_change_try *try, void *request)
{
    struct quire *q = space->q;
    struct qi_change change;
    enum quire_status status;
    do {
        struct qi_cpu *cpu = qi_enter_exclusive(space);
        change = (struct qi_change){
            .cpu = cpu, .space = space, .edit = {.cpu = cpu}, .request = request};
        status = try(&change, request);
        qi_leave(cpu);
    } while (qi_try_again(q, &status, change.need, change.edit.urgent, change.pages));
    qi_finish(q, QI_ALL_SLICES);
    return status;
}

enum quire_status qi_change_extent(struct quire_space *space, vaddr_t address, uint64_t length,
                                   qi_change_try *try, const void *with)
{
    struct qi_extent extent = {address, address + length, with};
    enum quire_status status = qi_range_status(space->q, address, length);
    return status == QUIRE_OK ? qi_change_run(space, try, &extent) : status;
}

/* ---- what several operations have in common ------------------------------------------------- */

bool qi_range_mapped(const struct quire_space *space, vaddr_t low, vaddr_t high, uint32_t prot,
                     uint32_t *lost)
{
    *lost = 0;
    for (vaddr_t at = low; at < high;) {
        const struct qi_region *region = qi_region_find(space->regions, at);
        if (!region)
            return false;
        *lost |= region->prot & ~prot;
        at = region->end;
    }
    return true;
}

static enum qi_loss loss_of(uint32_t lost)
{
    if (lost & QUIRE_READ)
        return QI_LOSE_ACCESS;
    if (lost & QUIRE_EXEC)
        return QI_LOSE_EXEC;
    return lost & QUIRE_WRITE ? QI_LOSE_WRITE : QI_LOSE_NOTHING;
}

enum quire_status qi_change_alter(struct qi_change *change, void *request)
{
    const struct qi_extent *extent = request;
    const struct qi_alter *alter = extent->with;
    vaddr_t low = extent->low, high = extent->high;
    uint32_t lost, kept = alter->set_prot ? alter->prot : UINT32_MAX;
    if (!qi_range_mapped(change->space, low, high, kept, &lost))
        return QUIRE_NOT_MAPPED;
    change->edit.urgent = (alter->set & QUIRE_REGION_RESERVED) != 0;
    qi_change_range(change, low, high, change->edit.urgent ? QI_LOSE_PAGES : loss_of(lost));
    change->range.lost = lost;
    change->regions = qi_region_alter(&change->edit, change->space->regions, low, high, alter);
    return qi_change_finish(change);
}
