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
 * Long ranges.  A change that goes through many leaves (it takes rights away, discards, puts up or
 * takes down guards) is made in parts, each of them a whole change of its own, regions included: so
 * everything agrees between two parts, and others run.  All is checked before the first part.  Only
 * what others do meanwhile, or memory that runs out, can end it half way.
 *
 * Locks: the space, exclusively, for one try.
 */
#include "change.h"
#include "section.h"

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

/*
 * May the new regions of the range be what they are?  Asked when their nodes are there: a seal that
 * comes later finds them.
 */
static enum quire_status views_allowed(const struct qi_change *change)
{
    const struct qi_region *tree = change->regions;
    const struct qi_region *region = qi_region_view(tree, change->range.low);
    for (; region && region->start < change->range.high;
         region = qi_region_view(tree, region->end)) {
        bool writes = (region->flags & QUIRE_REGION_SHARED) && (region->prot & QUIRE_WRITE);
        if (region->flags & QUIRE_REGION_FORK_WIPE)
            return QUIRE_BAD_FLAGS; /* there would be no zeros for the child, but the section */
        if (writes && (region->flags & QUIRE_REGION_READ_ONLY))
            return QUIRE_PROTECTED;
        if (writes &&
            (qi_load(&qi_section_of(change->cpu->q, region->view)->seals) & QUIRE_SEAL_WRITE))
            return QUIRE_SEALED;
    }
    return QUIRE_OK;
}

enum quire_status qi_change_finish(struct qi_change *change)
{
    struct qi_cpu *cpu = change->cpu;
    struct quire_space *space = change->space;
    struct qi_region *old = space->regions;
    uint64_t was = qi_region_charge(old), will = qi_region_charge(change->regions);
    enum quire_status status = change->edit.failed ? QUIRE_OK : views_allowed(change);
    if (status != QUIRE_OK) {
        qi_region_undo(cpu, change->regions);
        return status;
    }
    status = QUIRE_NO_MEMORY;
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
    qi_store(&space->views, (uint32_t)qi_region_has_views(space->regions));
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
    struct qi_extent extent = {.low = address, .high = address + length, .with = with};
    struct quire *q = space->q;
    enum quire_status status = qi_range_status(q, address, length);
    while (status == QUIRE_OK && extent.low < extent.high) {
        if (extent.begun)
            host_yield(q->host);
        extent.end = extent.high;
        status = qi_change_run(space, try, &extent);
        extent.low = extent.end;
        extent.begun = true;
    }
    return status;
}

void qi_change_part(struct qi_change *change, struct qi_extent *extent, enum qi_loss loss)
{
    qi_change_range(change, extent->low, extent->high, loss);
    extent->end = change->range.high = qi_range_part(&change->range);
}

bool qi_extent_mapped(const struct qi_change *change, const struct qi_extent *extent, uint32_t prot,
                      uint32_t *lost)
{
    return qi_range_mapped(change->space, extent->low, extent->begun ? extent->end : extent->high,
                           prot, lost);
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
    struct qi_extent *extent = request;
    const struct qi_alter *alter = extent->with;
    uint32_t lost, kept = alter->set_prot ? alter->prot : UINT32_MAX;
    qi_change_part(change, extent, QI_LOSE_ACCESS);
    if (!qi_extent_mapped(change, extent, kept, &lost))
        return QUIRE_NOT_MAPPED;
    change->edit.urgent = (alter->set & QUIRE_REGION_RESERVED) != 0;
    enum qi_loss loss = change->edit.urgent ? QI_LOSE_PAGES : loss_of(lost);
    /* What goes through no leaves, or may have to promise pages, is done at once. */
    bool parts = loss != QI_LOSE_NOTHING && loss < QI_LOSE_GUARDS && !(alter->prot & QUIRE_WRITE);
    if (!extent->begun && !parts)
        extent->end = extent->high;
    qi_change_range(change, extent->low, extent->end, loss);
    change->range.lost = lost;
    change->regions =
        qi_region_alter(&change->edit, change->space->regions, extent->low, extent->end, alter);
    return qi_change_finish(change);
}
