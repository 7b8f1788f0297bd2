/* SPDX-License-Identifier: MIT */
/*
 * The region tree: what each space maps, in a tree that forks by reference.
 *
 * A balanced (AVL) tree of disjoint regions, ordered by address, and *persistent*: a node that
 * a tree holds is never changed.  An edit builds the few nodes on its path anew, shares all the
 * others with the old tree, and hands back a new root.  From that follow, for nothing: fork is
 * one reference, whatever the number of regions; an edit that runs out of memory half way
 * releases what it built, and the old tree is as it was; a reader of the old root is never
 * disturbed.
 *
 * Everything is made of two operations (Blelloch, Ferizovic, Sun: Just Join for Parallel
 * Ordered Sets, SPAA 2016):
 *
 *   join(L, middle, R)    one balanced tree out of two and a region between them, in
 *                         |height L - height R| steps;
 *   split(T, at)          what lies below `at` and what lies above, cutting a region in two there.
 *
 *   cut(low, high)        what is below low, joined with what is above high
 *   put(low, high, prot)  below low, then the new region, then above high, merged where
 *                         neighbours agree
 *   reprotect             the same with the regions between, each with its new protection
 *
 * Ownership: an argument named `take` is a reference that the function consumes; every returned
 * tree is a reference that the caller owns.  When a node can not be had the edit is marked
 * failed and goes on with what it has, so that no path needs a clean-up of its own; the caller
 * looks at the mark once, at the end.
 *
 * Recursion is bounded by the height of a tree, at most 1.44 times the logarithm of its size.
 * Nodes without references are freed in slices (qi_nodes_drop_slice), because a tree can have
 * 100,000.
 */
#include "region.h"

/* ---- nodes --------------------------------------------------------------------------------- */

void qi_nodes_init(struct qi_nodes *nodes, struct qi_frames *frames)
{
    nodes->frames = frames;
    nodes->partial = QI_NO_FRAME;
    nodes->dead = NULL;
    nodes->used = 0;
}

static struct qi_region *node_at(struct qi_nodes *nodes, pfn_t pfn, unsigned index)
{
    return (struct qi_region *)frame_memory(nodes->frames, pfn) + index;
}

static void partial_push(struct qi_nodes *nodes, pfn_t pfn)
{
    struct qi_frame *r = frame_record(nodes->frames, pfn);
    r->next = nodes->partial;
    r->prev = QI_NO_FRAME;
    if (nodes->partial != QI_NO_FRAME)
        frame_record(nodes->frames, nodes->partial)->prev = pfn;
    nodes->partial = pfn;
}

static void partial_remove(struct qi_nodes *nodes, pfn_t pfn)
{
    struct qi_frame *r = frame_record(nodes->frames, pfn);
    if (r->prev == QI_NO_FRAME)
        nodes->partial = r->next;
    else
        frame_record(nodes->frames, r->prev)->next = r->next;
    if (r->next != QI_NO_FRAME)
        frame_record(nodes->frames, r->next)->prev = r->prev;
    r->next = r->prev = QI_NO_FRAME;
}

/* Cut a fresh frame into free nodes; refs of a free node is the index of the next.  False: no
 * frame. */
static bool nodes_grow(struct qi_edit *edit)
{
    struct qi_nodes *nodes = edit->nodes;
    if (qi_frame_available(nodes->frames, edit->urgent) == 0)
        while (qi_nodes_drop_slice(nodes, 1) && nodes->partial == QI_NO_FRAME)
            ;
    if (nodes->partial != QI_NO_FRAME)
        return true;
    if (qi_frame_available(nodes->frames, edit->urgent) == 0)
        return false;
    pfn_t pfn = qi_frame_alloc(nodes->frames, QI_FRAME_NODES, QI_WANT_ANY,
                               qi_frame_any_colour(nodes->frames));
    for (unsigned i = 0; i < QI_NODES_PER_FRAME; i++)
        node_at(nodes, pfn, i)->refs = i + 1; /* the next free one */
    partial_push(nodes, pfn);
    return true;
}

static struct qi_region *node_alloc(struct qi_edit *edit)
{
    struct qi_nodes *nodes = edit->nodes;
    if (QI_FAIL(QI_SITE_NODE) || (nodes->partial == QI_NO_FRAME && !nodes_grow(edit))) {
        edit->failed = true;
        return NULL;
    }
    pfn_t pfn = nodes->partial;
    struct qi_frame *r = frame_record(nodes->frames, pfn);
    struct qi_region *n = node_at(nodes, pfn, r->present);
    r->present = (uint16_t)n->refs;
    if (++r->share == QI_NODES_PER_FRAME)
        partial_remove(nodes, pfn);
    nodes->used++;
    return n;
}

static void node_free(struct qi_nodes *nodes, struct qi_region *n)
{
    pfn_t pfn = frame_of(nodes->frames, n);
    struct qi_frame *r = frame_record(nodes->frames, pfn);
    qi_assert(r->state == QI_FRAME_NODES && r->share > 0);
    if (r->share == QI_NODES_PER_FRAME)
        partial_push(nodes, pfn);
    n->refs = r->present;
    r->present = (uint16_t)(n - node_at(nodes, pfn, 0));
    nodes->used--;
    if (--r->share == 0) {
        partial_remove(nodes, pfn);
        qi_frame_free(nodes->frames, pfn);
    }
}

void qi_region_release(struct qi_nodes *nodes, struct qi_region *root)
{
    if (!root)
        return;
    qi_assert(root->refs > 0);
    if (--root->refs > 0)
        return;
    qi_region_release(nodes, root->right); /* at most a height deep: left waits on the list */
    root->right = nodes->dead;
    nodes->dead = root;
}

bool qi_nodes_drop_slice(struct qi_nodes *nodes, unsigned count)
{
    for (; count > 0 && nodes->dead; count--) {
        struct qi_region *n = nodes->dead;
        nodes->dead = n->right;
        qi_region_release(nodes, n->left);
        node_free(nodes, n);
    }
    return nodes->dead != NULL;
}

/* ---- looking ------------------------------------------------------------------------------- */

const struct qi_region *qi_region_at_or_above(const struct qi_region *root, vaddr_t address)
{
    const struct qi_region *best = NULL;
    while (root) {
        if (address < root->end) {
            best = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return best;
}

static vaddr_t lowest_start(const struct qi_region *n)
{
    while (n->left)
        n = n->left;
    return n->start;
}

static vaddr_t highest_end(const struct qi_region *n)
{
    while (n->right)
        n = n->right;
    return n->end;
}

/*
 * The holes seen from a subtree are the one between `low` and its first region, those within
 * it, and the one between its last region and `high`.  A subtree whose own gap is too small is
 * left after a look at its two edges, so the search takes a number of steps proportional to the
 * height squared at most.
 */
bool qi_region_highest_gap(const struct qi_region *root, vaddr_t low, vaddr_t high, uint64_t length,
                           vaddr_t *out)
{
    if (high <= low || high - low < length)
        return false;
    if (!root) {
        *out = high - length;
        return true;
    }
    if (root->gap < length) {
        vaddr_t last = highest_end(root), first = lowest_start(root);
        if (last < high && high - (last > low ? last : low) >= length) {
            *out = high - length;
            return true;
        }
        vaddr_t top = first < high ? first : high;
        if (top > low && top - low >= length) {
            *out = top - length;
            return true;
        }
        return false;
    }
    return qi_region_highest_gap(root->right, root->end > low ? root->end : low, high, length,
                                 out) ||
           qi_region_highest_gap(root->left, low, root->start < high ? root->start : high, length,
                                 out);
}

/* ---- building ------------------------------------------------------------------------------ */

static unsigned height_of(const struct qi_region *n) { return n ? n->height : 0; }

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* A region without a place in a tree: what join puts between two trees. */
struct span {
    vaddr_t start, end;
    uint8_t prot;
};

static struct span span_of(const struct qi_region *n)
{
    return (struct span){n->start, n->end, n->prot};
}

static struct qi_region *node_make(struct qi_edit *edit, struct qi_region *take_left, struct span s,
                                   struct qi_region *take_right)
{
    struct qi_region *n = node_alloc(edit);
    if (!n) {
        qi_region_release(edit->nodes, take_right);
        return take_left;
    }
    unsigned left = height_of(take_left), right = height_of(take_right);
    uint64_t gap = 0;
    if (take_left)
        gap = larger(take_left->gap, s.start - highest_end(take_left));
    if (take_right)
        gap = larger(gap, larger(take_right->gap, lowest_start(take_right) - s.end));
    *n = (struct qi_region){
        .start = s.start,
        .end = s.end,
        .left = take_left,
        .right = take_right,
        .gap = gap,
        .refs = 1,
        .height = (uint8_t)(1 + (left > right ? left : right)),
        .prot = s.prot,
    };
    return n;
}

/* Take a node apart: its region, and owned references to its two subtrees.  Consumes the node. */
static struct span node_open(struct qi_edit *edit, struct qi_region *take, struct qi_region **left,
                             struct qi_region **right)
{
    struct span s = span_of(take);
    *left = take->left;
    *right = take->right;
    if (take->refs == 1) { /* built by this edit: its references pass to the caller */
        node_free(edit->nodes, take);
    } else {
        take->refs--;
        qi_region_share(*left);
        qi_region_share(*right);
    }
    return s;
}

/* node_make, where one side may be two higher than the other: one AVL rotation, single or double.
 */
static struct qi_region *node_balance(struct qi_edit *edit, struct qi_region *take_left,
                                      struct span s, struct qi_region *take_right)
{
    struct qi_region *a, *b, *c, *d;
    if (height_of(take_left) > height_of(take_right) + 1) {
        struct span sl = node_open(edit, take_left, &a, &b);
        if (height_of(a) >= height_of(b))
            return node_make(edit, a, sl, node_make(edit, b, s, take_right));
        struct span sm = node_open(edit, b, &c, &d);
        return node_make(edit, node_make(edit, a, sl, c), sm, node_make(edit, d, s, take_right));
    }
    if (height_of(take_right) > height_of(take_left) + 1) {
        struct span sr = node_open(edit, take_right, &a, &b);
        if (height_of(b) >= height_of(a))
            return node_make(edit, node_make(edit, take_left, s, a), sr, b);
        struct span sm = node_open(edit, a, &c, &d);
        return node_make(edit, node_make(edit, take_left, s, c), sm, node_make(edit, d, sr, b));
    }
    return node_make(edit, take_left, s, take_right);
}

static struct qi_region *join(struct qi_edit *edit, struct qi_region *take_left, struct span s,
                              struct qi_region *take_right)
{
    struct qi_region *inner, *outer;
    if (height_of(take_left) > height_of(take_right) + 1) {
        struct span top = node_open(edit, take_left, &outer, &inner);
        return node_balance(edit, outer, top, join(edit, inner, s, take_right));
    }
    if (height_of(take_right) > height_of(take_left) + 1) {
        struct span top = node_open(edit, take_right, &inner, &outer);
        return node_balance(edit, join(edit, take_left, s, inner), top, outer);
    }
    return node_make(edit, take_left, s, take_right);
}

/* The tree without its lowest region, which goes to *s.  `take` is not empty. */
static struct qi_region *pop_lowest(struct qi_edit *edit, struct qi_region *take, struct span *s)
{
    struct qi_region *left, *right;
    struct span top = node_open(edit, take, &left, &right);
    if (!left) {
        *s = top;
        return right;
    }
    return node_balance(edit, pop_lowest(edit, left, s), top, right);
}

static struct qi_region *pop_highest(struct qi_edit *edit, struct qi_region *take, struct span *s)
{
    struct qi_region *left, *right;
    struct span top = node_open(edit, take, &left, &right);
    if (!right) {
        *s = top;
        return left;
    }
    return node_balance(edit, left, top, pop_highest(edit, right, s));
}

static struct qi_region *join2(struct qi_edit *edit, struct qi_region *take_left,
                               struct qi_region *take_right)
{
    struct span s;
    if (!take_left)
        return take_right;
    if (!take_right)
        return take_left;
    take_right = pop_lowest(edit, take_right, &s);
    return join(edit, take_left, s, take_right);
}

/* Two trees out of one: regions below `at`, regions from `at` on; one that spans `at` is cut in
 * two. */
static void split(struct qi_edit *edit, struct qi_region *take, vaddr_t at,
                  struct qi_region **below, struct qi_region **above)
{
    struct qi_region *left, *right, *middle;
    if (!take) {
        *below = *above = NULL;
        return;
    }
    struct span s = node_open(edit, take, &left, &right);
    if (at <= s.start) {
        split(edit, left, at, below, &middle);
        *above = join(edit, middle, s, right);
    } else if (at >= s.end) {
        split(edit, right, at, &middle, above);
        *below = join(edit, left, s, middle);
    } else {
        *below = join(edit, left, (struct span){s.start, at, s.prot}, NULL);
        *above = join(edit, NULL, (struct span){at, s.end, s.prot}, right);
    }
}

/* Add a region above all others, merged with the highest if they touch and agree. */
static struct qi_region *append(struct qi_edit *edit, struct qi_region *take, struct span s)
{
    const struct qi_region *last = take;
    while (last && last->right)
        last = last->right;
    if (last && last->end == s.start && last->prot == s.prot) {
        struct span old;
        take = pop_highest(edit, take, &old);
        if (edit->failed)
            return take;
        s.start = old.start;
    }
    return join(edit, take, s, NULL);
}

/* join2, merged where the two trees touch and agree. */
static struct qi_region *concatenate(struct qi_edit *edit, struct qi_region *take_left,
                                     struct qi_region *take_right)
{
    struct span s;
    if (!take_right || edit->failed) {
        qi_region_release(edit->nodes, take_right);
        return take_left;
    }
    take_right = pop_lowest(edit, take_right, &s);
    return join2(edit, append(edit, take_left, s), take_right);
}

/* A tree that stays as it is, in three parts: below low, within [low, high), from high on. */
static void split_out(struct qi_edit *edit, struct qi_region *root, vaddr_t low, vaddr_t high,
                      struct qi_region **below, struct qi_region **between,
                      struct qi_region **above)
{
    struct qi_region *rest;
    split(edit, qi_region_share(root), low, below, &rest);
    split(edit, rest, high, between, above);
}

struct qi_region *qi_region_cut(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                vaddr_t high)
{
    struct qi_region *below, *between, *above;
    split_out(edit, root, low, high, &below, &between, &above);
    qi_region_release(edit->nodes, between);
    return join2(edit, below, above);
}

struct qi_region *qi_region_put(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                vaddr_t high, uint32_t prot)
{
    struct qi_region *below, *between, *above;
    split_out(edit, root, low, high, &below, &between, &above);
    qi_region_release(edit->nodes, between);
    below = append(edit, below, (struct span){low, high, (uint8_t)prot});
    return concatenate(edit, below, above);
}

struct qi_region *qi_region_reprotect(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                      vaddr_t high, uint32_t prot)
{
    struct qi_region *below, *between, *above;
    split_out(edit, root, low, high, &below, &between, &above);
    while (between && !edit->failed) {
        struct span s;
        between = pop_lowest(edit, between, &s);
        s.prot = (uint8_t)prot;
        below = append(edit, below, s);
    }
    qi_region_release(edit->nodes, between);
    return concatenate(edit, below, above);
}
