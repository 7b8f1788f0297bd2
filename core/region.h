/* SPDX-License-Identifier: MIT */
/*
 * Regions: the persistent tree of what a space maps.  See region.c; and node.c for its nodes.
 */
#ifndef CORE_REGION_H
#define CORE_REGION_H

#include "frame.h"

/* Inside, besides QUIRE_REGION_: the region was writable and committed at some time since it was
 * mapped, so its pages are promised. */
enum { QI_REGION_CHARGED = 16 };
/* In `below`: some region of the subtree wants work at fork; is a view.  Bits 6 and 7 are the
 * auditor's. */
enum { QI_REGION_FORK_WORK = 1, QI_REGION_VIEWS = 2, QI_REGION_MARKS = 0xc0 };

/*
 * What a region shows: 0 for private memory; else the number of a section + 1, above, and the page
 * of the section that stands at address 0, modulo 2^40, below.  So two regions that touch have the
 * same number if and only if they show one section without a break.
 */
typedef uint64_t view_t;
enum { QI_VIEW_SHIFT = 40 };
#define QI_VIEW_PAGES ((UINT64_C(1) << QI_VIEW_SHIFT) - 1)

static inline view_t view_make(uint32_t section, uint64_t page, vaddr_t address)
{
    return ((view_t)section + 1) << QI_VIEW_SHIFT |
           ((page - (address >> QUIRE_PAGE_SHIFT)) & QI_VIEW_PAGES);
}
/* The number of the section, and its page at an address. */
static inline uint32_t view_section(view_t view) { return (uint32_t)(view >> QI_VIEW_SHIFT) - 1; }
static inline uint64_t view_page(view_t view, vaddr_t address)
{
    return (view + (address >> QUIRE_PAGE_SHIFT)) & QI_VIEW_PAGES;
}
/* The same view, moved from one address to another. */
static inline view_t view_moved(view_t view, vaddr_t from, vaddr_t to)
{
    return view ? view_make(view_section(view), view_page(view, from), to) : 0;
}

/* What a region is, without a place in a tree. */
struct qi_span {
    vaddr_t start, end;
    uint8_t prot, flags;
    uint64_t name;
    view_t view;
};

/* An address, a length or a number of pages in a node. */
#if QUIRE_ADDRESS_BITS <= 32
typedef uint32_t qi_extent_t;
#else
typedef uint64_t qi_extent_t;
#endif

/*
 * One region, and one node of the tree; never changed once it is in a tree that a space uses,
 * so that parent and child can share it.  refs is under the lock of the nodes.
 *
 *   1. left regions end at or below start; right regions start at or above end; start < end;
 *   2. heights of left and right differ by at most 1; height = 1 + the larger;
 *   3. gap is the largest hole between neighbours within this subtree;
 *   4. charge is the sum of the pages of the subtree's regions that are CHARGED; below has
 *      FORK_WORK if one of them is FORK_OMIT or FORK_WIPE, and VIEWS if one of them is a view;
 *   5. refs = nodes and spaces (and edits under way) that point here;
 *   6. two neighbours that touch differ in prot, flags, name or view;
 *   7. no region is both RESERVED and CHARGED; a writable one is one of the two, or SHARED;
 *   8. the section of a view counts it, while it is in any tree (section.h).
 */
struct qi_region {
    qi_extent_t start, end, gap, charge;
    struct qi_region *left, *right;
    uint64_t name;
    view_t view;
    uint32_t refs;
    uint8_t height, prot, flags, below;
};
_Static_assert(sizeof(struct qi_region) <= QUIRE_PAGE_SIZE, "a node fits a micro page");

/* Nodes come from frames of state NODES, cut into this many; those with a free node are on one
 * list. */
#define QI_NODES_PER_FRAME (QUIRE_PAGE_SIZE / sizeof(struct qi_region))

struct qi_nodes {
    struct qi_frames *frames;
    struct qi_lock lock;    /* rank NODES; of what follows, and of every node's refs */
    pfn_t partial;          /* head of the list of frames with a free node */
    struct qi_region *dead; /* shared word: nodes without references, linked by right */
    uint64_t used;
};

/*
 * One edit: builds a new tree beside the old one, which it never touches.  When `failed` is set
 * some node could not be had, and the new tree is only good for qi_region_undo.
 */
struct qi_edit {
    struct qi_cpu *cpu;
    bool urgent; /* may take from the reserve */
    bool failed;
    uint32_t frames; /* that it took so far, for nodes */
};

/* ---- looking: whoever holds the space ------------------------------------------------------- */

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
/* The highest region that ends at or below `address`, or null. */
const struct qi_region *qi_region_below(const struct qi_region *root, vaddr_t address);
/* The first region that ends above `address` and is FORK_OMIT or FORK_WIPE, or null. */
const struct qi_region *qi_region_fork_work(const struct qi_region *root, vaddr_t address);
/* The first that ends above `address` and is a view, or null. */
const struct qi_region *qi_region_view(const struct qi_region *root, vaddr_t address);
/* The highest place of a hole of `length` bytes within [low, high); false: there is none. */
bool qi_region_highest_gap(const struct qi_region *root, vaddr_t low, vaddr_t high, uint64_t length,
                           vaddr_t *out);
/* Pages promised to a space with this tree. */
static inline uint64_t qi_region_charge(const struct qi_region *root)
{
    return root ? root->charge : 0;
}
static inline bool qi_region_has_views(const struct qi_region *root)
{
    return root && (root->below & QI_REGION_VIEWS) != 0;
}
static inline struct qi_span qi_region_span(const struct qi_region *n)
{
    return (struct qi_span){n->start, n->end, n->prot, n->flags, n->name, n->view};
}

/* ---- edits ---------------------------------------------------------------------------------- */

/* What an edit gives each region of a range; the rest of it stays. */
struct qi_alter {
    bool set_prot, set_name;
    uint8_t prot, clear, set; /* clear, set: of flags */
    uint64_t name;
};

/*
 * Each returns an owned reference to a new tree; the caller keeps its own to `root`, and a space
 * that holds it.
 *
 *   cut     without what is in [low, high)
 *   put     with this region in the place of whatever was there
 *   alter   with [low, high) altered
 *   move    with the regions of [low, high), which has no hole, in the place of whatever was in
 *           [to, end): cut off at the end, or the last of them made longer.  The two do not meet
 */
struct qi_region *qi_region_cut(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                vaddr_t high);
struct qi_region *qi_region_put(struct qi_edit *edit, struct qi_region *root, struct qi_span span);
struct qi_region *qi_region_alter(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                  vaddr_t high, const struct qi_alter *alter);
struct qi_region *qi_region_move(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                 vaddr_t high, vaddr_t to, vaddr_t end);
/* Give up a new tree that no space has got: its nodes are free again at once. */
void qi_region_undo(struct qi_cpu *cpu, struct qi_region *tree);

/* ---- nodes: see node.c ---------------------------------------------------------------------- */

void qi_nodes_init(struct qi_nodes *nodes, struct qi_frames *frames);
static inline void nodes_lock(struct qi_cpu *cpu, struct qi_nodes *nodes)
{
    lock_take(cpu, &nodes->lock, QI_RANK_NODES);
}
static inline void nodes_unlock(struct qi_cpu *cpu, struct qi_nodes *nodes)
{
    lock_drop(cpu, &nodes->lock, QI_RANK_NODES);
}
/* One reference more to a tree, which is returned; one fewer: nodes without any wait on the dead
 * list. */
struct qi_region *qi_region_share(struct qi_cpu *cpu, struct qi_region *root);
void qi_region_release(struct qi_cpu *cpu, struct qi_region *root);
/* Free at most `count` dead nodes; true: there are more. */
bool qi_nodes_drop_slice(struct qi_cpu *cpu, unsigned count);
static inline bool qi_nodes_dead(const struct qi_nodes *nodes)
{
    return qi_load(&nodes->dead) != NULL;
}

/* With the lock of the nodes held: one node, or null and edit->failed; back again; and one
 * reference of an edit fewer, where what goes is freed at once. */
struct qi_region *qi_node_alloc(struct qi_edit *edit);
void qi_node_free(struct qi_cpu *cpu, struct qi_region *n);
void qi_node_drop(struct qi_cpu *cpu, struct qi_region *tree);

#endif
