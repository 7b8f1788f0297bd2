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
 * Fork allocates no frame, so it can not fail for want of memory; the only error is the limit
 * on spaces.
 *
 * Locks: the manager's.
 */
#include "table.h"

#include <quire/machine.h>

/* In one pass that a compiler can vectorise.  An accessed bit that a machine sets meanwhile may be
 * lost, which costs nothing: no entry loses more. */
static void write_protect_root(struct quire *q, pfn_t root)
{
    entry_t *entries = table_entries(q, root);
    QI_TOUCH(entries, true);
    for (unsigned i = 0; i < MMU_ROOT_ENTRIES; i++)
        entries[i] &= ~ENTRY_WRITE;
}

enum quire_status quire_space_fork(struct quire_space *parent, struct quire_space **out)
{
    struct quire *q = parent->q;
    manager_lock(q);
    struct quire_space *child = qi_space_alloc(q);
    if (!child) {
        manager_unlock(q);
        return QUIRE_TOO_MANY_SPACES;
    }
    struct qi_frame *root = table_record(q, parent->root);
    if (root->share == 1) {
        write_protect_root(q, parent->root);
        if (!QI_CANARY(QI_CANARY_NO_FORK_FLUSH))
            mmu_flush_space(q->machine, parent, parent->root);
    }
    root->share++;
    child->root = parent->root;
    child->regions = qi_region_share(parent->regions);
    q->stats.forks++;
    *out = child;
    qi_trace(parent, QUIRE_EVENT_FORK, (uint64_t)(uintptr_t)child, 0);
    manager_unlock(q);
    return QUIRE_OK;
}
