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
 *   cut      what is below low, joined with what is above high
 *   put      below low, then the new region, then above high, merged where neighbours agree
 *            (a cut of one whole region, and a put where nothing is, take one path instead of
 *            several: take_out, insert)
 *   alter    the same with the regions between, each altered
 *   move     cut, and the regions that were there put elsewhere
 *
 * Neighbours agree if they differ in nothing but their place.  So a region that grows down is never
 * one with its neighbour below that does not; and two that both do and touch can be one, for the
 * upper has nowhere to grow.
 *
 * What a subtree adds up to is kept in its root: the largest gap, for finding a place; the pages
 * that are promised, so that a fork or an edit knows what it costs; and whether any region in it
 * wants work at fork, so that fork finds those k among n in k log n steps, and none in one.
 *
 * Ownership: an argument named `take` is a reference that the function consumes; every returned
 * tree is a reference that the caller owns.  When a node can not be had the edit is marked
 * failed and goes on with what it has, so that no path needs a clean-up of its own; the caller
 * looks at the mark once, at the end.
 *
 * Locks: an edit holds the lock of the nodes, which is dropped between two regions of a long one.
 * Looking needs none: whoever holds the space keeps its tree.  Recursion is bounded by the height
 * of a tree, at most 1.44 times the logarithm of its size.
 */
#include "section.h"

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

const struct qi_region *qi_region_below(const struct qi_region *root, vaddr_t address)
{
    const struct qi_region *best = NULL;
    while (root) {
        if (address >= root->end) {
            best = root;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return best;
}

static bool wants_work(const struct qi_region *n)
{
    return (n->flags & (QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE)) != 0;
}

/* What a region adds to `below` of every subtree that it is part of. */
static uint8_t marks_of(const struct qi_region *n)
{
    return (uint8_t)((wants_work(n) ? QI_REGION_FORK_WORK : 0) | (n->view ? QI_REGION_VIEWS : 0));
}

/* The first region that ends above `address` and has a mark. */
static const struct qi_region *first_marked(const struct qi_region *root, vaddr_t address,
                                            uint8_t mark)
{
    while (root && (root->below & mark)) {
        const struct qi_region *left =
            address < root->start ? first_marked(root->left, address, mark) : NULL;
        if (left)
            return left;
        if (address < root->end && (marks_of(root) & mark))
            return root;
        root = root->right;
    }
    return NULL;
}

const struct qi_region *qi_region_fork_work(const struct qi_region *root, vaddr_t address)
{
    return first_marked(root, address, QI_REGION_FORK_WORK);
}

const struct qi_region *qi_region_view(const struct qi_region *root, vaddr_t address)
{
    return first_marked(root, address, QI_REGION_VIEWS);
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
        vaddr_t top = smaller(first, high);
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

/* Two regions that differ in nothing but their place. */
static bool agree(struct qi_span a, struct qi_span b)
{
    return a.prot == b.prot && a.flags == b.flags && a.name == b.name && a.view == b.view;
}

/* Whether a region's pages are promised follows from the rest, and from what it was. */
static struct qi_span charged(struct qi_span s)
{
    if (s.flags & QUIRE_REGION_RESERVED)
        s.flags &= (uint8_t)~QI_REGION_CHARGED;
    else if ((s.prot & QUIRE_WRITE) && !(s.flags & QUIRE_REGION_SHARED))
        s.flags |= QI_REGION_CHARGED;
    return s;
}

/* Fill in what the root of a subtree knows about all of it. */
static void node_sum(struct qi_region *n)
{
    const struct qi_region *left = n->left, *right = n->right;
    n->height = (uint8_t)(1 + larger(height_of(left), height_of(right)));
    n->charge = (qi_extent_t)(qi_region_charge(left) + qi_region_charge(right));
    if (n->flags & QI_REGION_CHARGED)
        n->charge += (n->end - n->start) >> QUIRE_PAGE_SHIFT;
    n->below = marks_of(n);
    n->gap = 0;
    if (left) {
        n->gap = (qi_extent_t)larger(left->gap, n->start - highest_end(left));
        n->below |= left->below;
    }
    if (right) {
        n->gap = (qi_extent_t)larger(n->gap, larger(right->gap, lowest_start(right) - n->end));
        n->below |= right->below;
    }
}

static struct qi_region *node_make(struct qi_edit *edit, struct qi_region *take_left,
                                   struct qi_span s, struct qi_region *take_right)
{
    struct qi_region *n = qi_node_alloc(edit);
    if (!n) {
        qi_node_drop(edit->cpu, take_right);
        return take_left;
    }
    *n = (struct qi_region){
        .start = (qi_extent_t)s.start,
        .end = (qi_extent_t)s.end,
        .left = take_left,
        .right = take_right,
        .name = s.name,
        .view = s.view,
        .refs = 1,
        .prot = s.prot,
        .flags = s.flags,
    };
    qi_section_viewed(edit->cpu, n, 1);
    node_sum(n);
    return n;
}

/* Take a node apart: its region, and owned references to its two subtrees.  Consumes the node. */
static struct qi_span node_open(struct qi_edit *edit, struct qi_region *take,
                                struct qi_region **left, struct qi_region **right)
{
    struct qi_span s = qi_region_span(take);
    *left = take->left;
    *right = take->right;
    if (take->refs == 1) { /* built by this edit: its references pass to the caller */
        qi_node_free(edit->cpu, take);
        return s;
    }
    take->refs--;
    if (*left)
        (*left)->refs++;
    if (*right)
        (*right)->refs++;
    return s;
}

/* node_make, where one side may be two higher than the other: one AVL rotation, single or double.
 */
static struct qi_region *node_balance(struct qi_edit *edit, struct qi_region *take_left,
                                      struct qi_span s, struct qi_region *take_right)
{
    struct qi_region *a, *b, *c, *d;
    if (height_of(take_left) > height_of(take_right) + 1) {
        struct qi_span sl = node_open(edit, take_left, &a, &b);
        if (height_of(a) >= height_of(b))
            return node_make(edit, a, sl, node_make(edit, b, s, take_right));
        struct qi_span sm = node_open(edit, b, &c, &d);
        return node_make(edit, node_make(edit, a, sl, c), sm, node_make(edit, d, s, take_right));
    }
    if (height_of(take_right) > height_of(take_left) + 1) {
        struct qi_span sr = node_open(edit, take_right, &a, &b);
        if (height_of(b) >= height_of(a))
            return node_make(edit, node_make(edit, take_left, s, a), sr, b);
        struct qi_span sm = node_open(edit, a, &c, &d);
        return node_make(edit, node_make(edit, take_left, s, c), sm, node_make(edit, d, sr, b));
    }
    return node_make(edit, take_left, s, take_right);
}

static struct qi_region *join(struct qi_edit *edit, struct qi_region *take_left, struct qi_span s,
                              struct qi_region *take_right)
{
    struct qi_region *inner, *outer;
    if (height_of(take_left) > height_of(take_right) + 1) {
        struct qi_span top = node_open(edit, take_left, &outer, &inner);
        return node_balance(edit, outer, top, join(edit, inner, s, take_right));
    }
    if (height_of(take_right) > height_of(take_left) + 1) {
        struct qi_span top = node_open(edit, take_right, &inner, &outer);
        return node_balance(edit, join(edit, take_left, s, inner), top, outer);
    }
    return node_make(edit, take_left, s, take_right);
}

/* The tree without its lowest region, which goes to *s.  `take` is not empty. */
static struct qi_region *pop_lowest(struct qi_edit *edit, struct qi_region *take, struct qi_span *s)
{
    struct qi_region *left, *right;
    struct qi_span top = node_open(edit, take, &left, &right);
    if (!left) {
        *s = top;
        return right;
    }
    return node_balance(edit, pop_lowest(edit, left, s), top, right);
}

static struct qi_region *pop_highest(struct qi_edit *edit, struct qi_region *take,
                                     struct qi_span *s)
{
    struct qi_region *left, *right;
    struct qi_span top = node_open(edit, take, &left, &right);
    if (!right) {
        *s = top;
        return left;
    }
    return node_balance(edit, left, top, pop_highest(edit, right, s));
}

static struct qi_region *join2(struct qi_edit *edit, struct qi_region *take_left,
                               struct qi_region *take_right)
{
    struct qi_span s;
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
    struct qi_span s = node_open(edit, take, &left, &right);
    if (at <= s.start) {
        split(edit, left, at, below, &middle);
        *above = join(edit, middle, s, right);
    } else if (at >= s.end) {
        split(edit, right, at, &middle, above);
        *below = join(edit, left, s, middle);
    } else {
        struct qi_span upper = s;
        s.end = upper.start = at;
        *below = join(edit, left, s, NULL);
        *above = join(edit, NULL, upper, right);
    }
}

/* Add a region above all others, merged with the highest if they touch and agree. */
static struct qi_region *append(struct qi_edit *edit, struct qi_region *take, struct qi_span s)
{
    const struct qi_region *last = take;
    while (last && last->right)
        last = last->right;
    if (last && last->end == s.start && agree(qi_region_span(last), s)) {
        struct qi_span old;
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
    struct qi_span s;
    if (!take_right || edit->failed) {
        qi_node_drop(edit->cpu, take_right);
        return take_left;
    }
    take_right = pop_lowest(edit, take_right, &s);
    return join2(edit, append(edit, take_left, s), take_right);
}

/* The tree with a region more, which overlaps none. */
static struct qi_region *insert(struct qi_edit *edit, struct qi_region *take, struct qi_span s)
{
    struct qi_region *left, *right;
    if (!take)
        return node_make(edit, NULL, s, NULL);
    struct qi_span top = node_open(edit, take, &left, &right);
    if (s.start < top.start)
        return node_balance(edit, insert(edit, left, s), top, right);
    return node_balance(edit, left, top, insert(edit, right, s));
}

/* The tree without the region that begins at `start`. */
static struct qi_region *take_out(struct qi_edit *edit, struct qi_region *take, vaddr_t start)
{
    struct qi_region *left, *right;
    struct qi_span top = node_open(edit, take, &left, &right);
    if (start < top.start)
        return node_balance(edit, take_out(edit, left, start), top, right);
    if (start > top.start)
        return node_balance(edit, left, top, take_out(edit, right, start));
    return join2(edit, left, right);
}

/* A tree in three parts: below low, within [low, high), from high on. */
static void split_out(struct qi_edit *edit, struct qi_region *take, vaddr_t low, vaddr_t high,
                      struct qi_region **below, struct qi_region **between,
                      struct qi_region **above)
{
    struct qi_region *rest;
    split(edit, take, low, below, &rest);
    split(edit, rest, high, between, above);
}

/* The old tree stays as it is: the edit begins with a reference of its own. */
static struct qi_region *edit_begin(struct qi_edit *edit, struct qi_region *root)
{
    nodes_lock(edit->cpu, &edit->cpu->q->nodes);
    if (root)
        root->refs++;
    return root;
}

static struct qi_region *edit_end(struct qi_edit *edit, struct qi_region *tree)
{
    nodes_unlock(edit->cpu, &edit->cpu->q->nodes);
    return tree;
}

/* Between two regions of a long edit, whose trees nobody else changes: let others have the lock. */
static void edit_pause(struct qi_edit *edit)
{
    nodes_unlock(edit->cpu, &edit->cpu->q->nodes);
    nodes_lock(edit->cpu, &edit->cpu->q->nodes);
}

struct qi_region *qi_region_cut(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                vaddr_t high)
{
    struct qi_region *below, *between, *above;
    const struct qi_region *only = qi_region_find(root, low);
    root = edit_begin(edit, root);
    if (only && only->start == low && only->end == high)
        return edit_end(edit, take_out(edit, root, low));
    split_out(edit, root, low, high, &below, &between, &above);
    qi_node_drop(edit->cpu, between);
    return edit_end(edit, join2(edit, below, above));
}

/* Nothing lies in its place, and it merges with no neighbour. */
static bool stands_alone(const struct qi_region *root, struct qi_span s)
{
    const struct qi_region *above = qi_region_at_or_above(root, s.start);
    const struct qi_region *below = qi_region_below(root, s.start);
    if (above &&
        (above->start < s.end || (above->start == s.end && agree(s, qi_region_span(above)))))
        return false;
    return !below || below->end < s.start || !agree(s, qi_region_span(below));
}

struct qi_region *qi_region_put(struct qi_edit *edit, struct qi_region *root, struct qi_span span)
{
    struct qi_region *below, *between, *above;
    bool alone = stands_alone(root, span = charged(span));
    root = edit_begin(edit, root);
    if (alone)
        return edit_end(edit, insert(edit, root, span));
    split_out(edit, root, span.start, span.end, &below, &between, &above);
    qi_node_drop(edit->cpu, between);
    below = append(edit, below, span);
    return edit_end(edit, concatenate(edit, below, above));
}

static struct qi_span altered(struct qi_span s, const struct qi_alter *alter)
{
    if (alter->set_prot)
        s.prot = alter->prot;
    if (alter->set_name)
        s.name = alter->name;
    s.flags = (uint8_t)((s.flags & ~alter->clear) | alter->set);
    return charged(s);
}

struct qi_region *qi_region_alter(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                  vaddr_t high, const struct qi_alter *alter)
{
    struct qi_region *below, *between, *above;
    split_out(edit, edit_begin(edit, root), low, high, &below, &between, &above);
    while (between && !edit->failed) {
        struct qi_span s;
        between = pop_lowest(edit, between, &s);
        below = append(edit, below, altered(s, alter));
        edit_pause(edit);
    }
    qi_node_drop(edit->cpu, between);
    return edit_end(edit, concatenate(edit, below, above));
}

struct qi_region *qi_region_move(struct qi_edit *edit, struct qi_region *root, vaddr_t low,
                                 vaddr_t high, vaddr_t to, vaddr_t end)
{
    struct qi_region *below, *moved, *above, *gone;
    split_out(edit, edit_begin(edit, root), low, high, &below, &moved, &above);
    split(edit, moved, low + (end - to), &moved, &gone);
    qi_node_drop(edit->cpu, gone);
    split_out(edit, join2(edit, below, above), to, end, &below, &gone, &above);
    qi_node_drop(edit->cpu, gone);
    while (moved && !edit->failed) {
        struct qi_span s;
        moved = pop_lowest(edit, moved, &s);
        s.view = view_moved(s.view, s.start, s.start + (to - low));
        s.start += to - low;
        s.end = moved ? s.end + (to - low) : end;
        below = append(edit, below, s);
        edit_pause(edit);
    }
    qi_node_drop(edit->cpu, moved);
    return edit_end(edit, concatenate(edit, below, above));
}
