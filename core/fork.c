/* SPDX-License-Identifier: MIT */
/*
 * Fork: a child that equals its parent at one instant, in constant time.
 *
 * The child gets the same root table and the same region tree, each by one reference.  Nothing
 * below is looked at, so neither the memory mapped, nor how it is spread over the root, nor the
 * number of regions matters:
 *
 *      parent   child              parent   child
 *          \    /                     |       |
 *         root (share 2)            root'   root     after the first write of the parent:
 *          /  |  \                    |  \  / |      one table a level, and the page
 *        ...  ...  ...               ... shared ...
 *
 * The instant.  W is cleared in the root's entries (permission is the AND down the path, so
 * that write-protects everything), and the parent's writable translations are flushed on every
 * CPU.  The last acknowledgement is the instant of the fork: before it every write belongs to
 * both, after it no write can happen without a fault.  Only then is the child handed out.  A
 * root that is shared already has no W bit set and no translation with it, so a fork of a space
 * that has not written since its last fork skips that.
 *
 * What fork puts off: the first write of either side copies the root and raises the counts of
 * its children; then one table a level. The one that comes last finds the tables its own again,
 * and copies nothing (table.c, push-down).
 *
 * Fork allocates no frame for that, so the only errors are the limit on spaces and on promises.
 *
 * Exceptions.  Ranges that the child shall not have, or have empty, are found by a bit that the
 * region tree sums up, and pinned pages by hints in the tables; both are dealt with after the
 * instant, on paths of the child's own (and the parent's, for pins), with frames that were reserved
 * before it.
 *
 *      make the child's record, its promise, its regions; share the root; reserve    may fail
 *      clear W, flush                                                                 the instant
 *      pinned pages, omitted and wiped ranges                                         cannot fail
 *      hand out the child
 *
 * The parent is held exclusively throughout: faults in flight on other CPUs end before, or begin
 * after.  Each fork also frees a few slices of what earlier children left, so that a loop of forks
 * can not outrun the drop list (H28).
 */
#include "pin.h"

#include <quire/machine.h>

/* In one pass that a compiler can vectorise.  An accessed bit that a machine sets meanwhile may be
 * lost, which costs nothing: no entry loses more. */
QI_PASS static void write_protect_root(struct quire *q, pfn_t root)
{
    entry_t *entries = table_entries(q, root);
    QI_TOUCH_ALL(entries, true);
    for (unsigned i = 0; i < MMU_ROOT_ENTRIES; i++)
        entries[i] &= ~ENTRY_WRITE;
}

/* The range of one region that the child has otherwise than its parent. */
static struct qi_range marked_range(struct qi_cpu *cpu, struct quire_space *child,
                                    const struct qi_region *region)
{
    return (struct qi_range){cpu, child, region->start, region->end, QI_LOSE_PAGES, 0};
}

/* Frames for all exceptions, with the root shared already. */
static uint32_t exceptions_need(struct qi_cpu *cpu, struct quire_space *parent,
                                struct quire_space *child)
{
    uint32_t need = qi_pins_need(parent);
    const struct qi_region *region = qi_region_fork_work(parent->regions, 0);
    for (; region; region = qi_region_fork_work(parent->regions, region->end)) {
        struct qi_range range = marked_range(cpu, child, region);
        need += qi_range_need(&range);
    }
    return need;
}

static void exceptions_apply(struct qi_cpu *cpu, struct quire_space *parent,
                             struct quire_space *child)
{
    /* What an entry may allow is read off the regions under which it was made. */
    struct qi_region *regions = child->regions;
    child->regions = parent->regions;
    qi_pins_fork(cpu, parent, child);
    const struct qi_region *region = qi_region_fork_work(parent->regions, 0);
    for (; region; region = qi_region_fork_work(parent->regions, region->end)) {
        struct qi_range range = marked_range(cpu, child, region);
        if (!QI_CANARY(QI_CANARY_WIPE_IGNORED))
            qi_range_apply(&range);
    }
    child->regions = regions;
}

/* The parent's regions without those that the child shall not have; null and *failed: no memory. */
static struct qi_region *child_regions(struct qi_cpu *cpu, const struct quire_space *parent,
                                       bool *failed)
{
    struct qi_edit edit = {.cpu = cpu};
    struct qi_region *tree = qi_region_share(cpu, parent->regions);
    const struct qi_region *region = qi_region_fork_work(parent->regions, 0);
    for (; region && !edit.failed; region = qi_region_fork_work(parent->regions, region->end)) {
        if (!(region->flags & QUIRE_REGION_FORK_OMIT) || QI_CANARY(QI_CANARY_OMIT_IGNORED))
            continue;
        struct qi_region *without = qi_region_cut(&edit, tree, region->start, region->end);
        qi_region_undo(cpu, tree);
        tree = without;
    }
    if (parent->locks && !edit.failed) {
        const struct qi_alter unlock = {.clear = QUIRE_REGION_LOCKED};
        struct qi_region *without = qi_region_alter(&edit, tree, 0, MMU_ADDRESS_END, &unlock);
        qi_region_undo(cpu, tree);
        tree = without;
    }
    *failed = edit.failed;
    return tree;
}

/* Everything that can fail; the child is known to nobody and may be thrown away. */
static enum quire_status fork_prepare(struct qi_cpu *cpu, struct quire_space *parent,
                                      struct quire_space *child, uint32_t *need)
{
    bool failed;
    *need = 0;
    child->regions = child_regions(cpu, parent, &failed);
    if (failed)
        return QUIRE_NO_MEMORY;
    child->commit_limit = parent->commit_limit;
    child->copies_left = qi_load(&parent->copies_left);
    qi_store(&child->views, (uint32_t)qi_region_has_views(child->regions));
    *need = exceptions_need(cpu, parent, child);
    if (!qi_reserve(cpu, *need, false, QI_SITE_FORK))
        return QUIRE_NO_MEMORY;
    if (QI_CANARY(QI_CANARY_CHILD_NOT_CHARGED))
        return QUIRE_OK;
    return qi_commit_promise(cpu, child->regions ? child->regions->charge : 0);
}

enum quire_status qi_fork_locked(struct qi_cpu *cpu, struct quire_space *parent,
                                 struct quire_space **out, uint32_t *need)
{
    struct quire *q = parent->q;
    struct quire_space *child = qi_space_alloc(cpu);
    if (!child)
        return QUIRE_TOO_MANY_SPACES;
    struct qi_frame *root = table_record(q, parent->root);
    bool shared = qi_add(&root->share, 1) > 1;
    qi_store(&parent->root_own, 0u);
    child->root = parent->root;
    enum quire_status status = fork_prepare(cpu, parent, child, need);
    if (status != QUIRE_OK) {
        qi_region_undo(cpu, child->regions);
        /* The regions held frames that are near again: they were not enough. */
        if (status == QUIRE_NO_MEMORY && *need <= qi_frames_near(cpu))
            *need = qi_frames_near(cpu) + 1;
        qi_add(&root->share, UINT32_MAX);
        qi_space_unalloc(cpu, child);
        return status;
    }
    if (!shared) {
        write_protect_root(q, parent->root);
        if (!QI_CANARY(QI_CANARY_NO_FORK_FLUSH))
            mmu_flush_space(q->machine, parent, parent->root);
    }
    exceptions_apply(cpu, parent, child);
    cpu->stats.forks++;
    *out = child;
    qi_trace(parent, QUIRE_EVENT_FORK, (uint64_t)(uintptr_t)child, 0);
    return QUIRE_OK;
}

enum quire_status quire_space_fork(struct quire_space *parent, struct quire_space **out)
{
    struct quire *q = parent->q;
    enum quire_status status;
    uint32_t need = 0;
    uint64_t pages;
    do {
        struct qi_cpu *cpu =
            QI_CANARY(QI_CANARY_FORK_BEFORE_FAULTS) ? qi_enter(q) : qi_enter_exclusive(parent);
        status = qi_fork_locked(cpu, parent, out, &need);
        pages = parent->regions ? parent->regions->charge : 0;
        qi_leave(cpu);
    } while (qi_try_again(q, &status, need, false, pages));
    qi_finish(q, QI_FEW_SLICES);
    return status;
}
