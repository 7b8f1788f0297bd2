/* SPDX-License-Identifier: MIT */
/*
 * Regions: the persistent tree of what a space maps.  See region.c.
 */
#ifndef CORE_REGION_H
#define CORE_REGION_H

#include "frame.h"

/*
 * One region, and one node of the tree; never changed once it is in a tree that a space uses,
 * so that parent and child can share it.
 *
 *   1. left regions end at or below start; right regions start at or above end; start < end;
 *   2. heights of left and right differ by at most 1; height = 1 + the larger;
 *   3. gap is the largest hole between neighbours within this subtree;
 *   4. refs = nodes and spaces (and edits under way) that point here;
 *   5. two neighbours that touch differ in prot.
 */
struct qi_region {
    vaddr_t start, end;
    struct qi_region *left, *right;
    uint64_t gap;
    uint32_t refs;
    uint8_t height;
    uint8_t prot;
    uint16_t flags; /* none yet */
};
_Static_assert(sizeof(struct qi_region) <= 64, "a node fits a micro page");

/* Nodes come from frames of state NODES, cut into this many; those with a free node are on one
 * list. */
#define QI_NODES_PER_FRAME (QUIRE_PAGE_SIZE / sizeof(struct qi_region))

struct qi_nodes {
    struct qi_frames *frames;
    pfn_t partial;          /* head of the list of frames with a free node */
    struct qi_region *dead; /* nodes without references, to be freed in slices; linked by right */
    uint64_t used;
};

/*
 * One edit: builds a new tree beside the old one, which it never touches.  When `failed` is set
 * some node could not be had, and the new tree is only good for being released.
 */
struct qi_edit {
    struct qi_nodes *nodes;
    bool urgent; /* may take from the reserve */
    bool failed;
};

/* The region that holds `address`, or the next one above, or null. */
const struct qi_region *qi_region_at_or_above(const struct qi_region *root, vaddr_t address);
/* The region that holds `address`, or null. */
static inline const struct qi_region *qi_region_find(const struct qi_region *root, vaddr_t address)
{
    while (root) {
        if (address < root->start)
            root = root->left;
        else if (address >= root->end)
            root = root->right;
        else
            break;
    }
    return root;
}
/* The highest place of a hole of `length` bytes within [low, high); false: there is none. */
bool qi_region_highest_gap(const struct qi_region *root, vaddr_t low, vaddr_t high, uint64_t length,
                           vaddr_t *out);

/* The three edits.  Each returns an owned reference to a new tree; the caller keeps its own to
 * `root`. */
struct qi_region *qi_region_cut(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                vaddr_t high);
struct qi_region *qi_region_put(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                vaddr_t high, uint32_t prot);
struct qi_region *qi_region_reprotect(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                      vaddr_t high, uint32_t prot);

void qi_nodes_init(struct qi_nodes *nodes, struct qi_frames *frames);
static inline struct qi_region *qi_region_share(struct qi_region *root)
{
    if (root)
        root->refs++;
    return root;
}
/* Give up one reference; nodes without any go to the dead list. */
void qi_region_release(struct qi_nodes *nodes, struct qi_region *root);
/* Free at most `count` dead nodes; true: there are more. */
bool qi_nodes_drop_slice(struct qi_nodes *nodes, unsigned count);

#endif
