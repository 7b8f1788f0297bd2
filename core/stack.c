/* SPDX-License-Identifier: MIT */
/*
 * Stacks: regions that grow down to where they are touched.
 *
 * An access where no region is belongs to the region above it if that one grows down, if it is
 * nearer to the access than the region below is, and if config.stack_gap stays free above the
 * latter.  "Nearer" lets a stack that is touched page by page take all there is up to the gap,
 * while one wild access far below it takes at most half of what is free.
 *
 * Growth is a change like any other: one region put where nothing was, which agrees with the stack
 * and so becomes one with it.  The fault that asked for it held the space shared, and has let go:
 * everything is looked up again.
 *
 * Locks: the space, exclusively.
 */
#include "change.h"
#include "fault.h"

/* May the region that starts at `start` come down to `page`? */
static bool gap_allows(const struct quire_space *space, vaddr_t page, vaddr_t start)
{
    const struct qi_region *below = qi_region_below(space->regions, page);
    if (!below)
        return page >= space->q->low;
    uint64_t above_it = start - page - QUIRE_PAGE_SIZE, below_it = page - below->end;
    return above_it <= below_it &&
           (below_it >= space->q->stack_gap || QI_CANARY(QI_CANARY_STACK_WITHOUT_GAP));
}

static enum quire_status grow_try(struct qi_change *change, void *request)
{
    const struct qi_fault *fault = request;
    vaddr_t page = page_of(fault->address);
    struct qi_region *regions = change->space->regions;
    const struct qi_region *stack = qi_region_at_or_above(regions, page);
    if (stack && stack->start <= page)
        return QUIRE_OK; /* another call was faster */
    if (!qi_stack_grows(stack, fault->rights) || !gap_allows(change->space, page, stack->start))
        return QUIRE_NOT_MAPPED;
    struct qi_span span = qi_region_span(stack);
    span.start = page;
    span.end = stack->start;
    qi_change_range(change, span.start, span.end, QI_LOSE_NOTHING);
    change->regions = qi_region_put(&change->edit, regions, span);
    return qi_change_finish(change);
}

enum quire_status qi_stack_grow(struct qi_fault *fault)
{
    return qi_change_run(fault->space, grow_try, fault);
}
