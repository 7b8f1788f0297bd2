/* SPDX-License-Identifier: MIT */
/*
 * Region nodes: where they come from, who refers to them, and where they go.
 *
 * A node is 64 bytes, cut out of a frame of state NODES.  Frames that have a free node are on one
 * list; a frame goes back when its last node does.  A node counts those who point at it: other
 * nodes, spaces, and edits under way.
 *
 * There are two ways to go.  What an edit made and did not need has no other user, and there is
 * little of it: it is freed at once, so that an edit that failed leaves memory as it was.  The tree
 * of a space can have 100,000 nodes: its nodes wait on the dead list and are freed in slices.
 * Recursion is bounded by the height of a tree either way.
 *
 * Locks: one for all nodes, for one node's allocation up to one edit of a range.  Frames come out
 * of the CPU's cache, or with the lock of the lists, which is after this one.
 */
#include "section.h"

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

static bool drop_dead(struct qi_cpu *cpu, unsigned count);

/* Cut a fresh frame into free nodes; refs of a free node is the index of the next.  False: no
 * frame. */
static bool nodes_grow(struct qi_edit *edit)
{
    struct qi_cpu *cpu = edit->cpu;
    struct qi_nodes *nodes = &cpu->q->nodes;
    bool there = qi_frames_reserve(cpu, 1, edit->urgent);
    while (!there && nodes->partial == QI_NO_FRAME && drop_dead(cpu, 1))
        ;
    if (nodes->partial != QI_NO_FRAME)
        return true;
    if (!there && !qi_frames_reserve(cpu, 1, edit->urgent))
        return false;
    pfn_t pfn = qi_frame_alloc(cpu, QI_FRAME_NODES, QI_WANT_ANY, qi_frame_any_colour(cpu));
    edit->frames++;
    for (unsigned i = 0; i < QI_NODES_PER_FRAME; i++)
        node_at(nodes, pfn, i)->refs = i + 1;
    partial_push(nodes, pfn);
    return true;
}

struct qi_region *qi_node_alloc(struct qi_edit *edit)
{
    struct qi_nodes *nodes = &edit->cpu->q->nodes;
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

void qi_node_free(struct qi_cpu *cpu, struct qi_region *n)
{
    struct qi_nodes *nodes = &cpu->q->nodes;
    pfn_t pfn = frame_of(nodes->frames, n);
    struct qi_frame *r = frame_record(nodes->frames, pfn);
    qi_assert(r->state == QI_FRAME_NODES && r->share > 0);
    qi_section_viewed(cpu, n, -1);
    if (r->share == QI_NODES_PER_FRAME)
        partial_push(nodes, pfn);
    n->refs = r->present;
    r->present = (uint16_t)(n - node_at(nodes, pfn, 0));
    nodes->used--;
    if (--r->share == 0) {
        partial_remove(nodes, pfn);
        qi_frame_free(cpu, pfn);
    }
}

void qi_node_drop(struct qi_cpu *cpu, struct qi_region *tree)
{
    if (!tree)
        return;
    qi_assert(tree->refs > 0);
    if (--tree->refs > 0)
        return;
    qi_node_drop(cpu, tree->left);
    qi_node_drop(cpu, tree->right);
    qi_node_free(cpu, tree);
}

void qi_region_undo(struct qi_cpu *cpu, struct qi_region *tree)
{
    struct qi_nodes *nodes = &cpu->q->nodes;
    nodes_lock(cpu, nodes);
    qi_node_drop(cpu, tree);
    nodes_unlock(cpu, nodes);
}

struct qi_region *qi_region_share(struct qi_cpu *cpu, struct qi_region *root)
{
    struct qi_nodes *nodes = &cpu->q->nodes;
    if (!root)
        return NULL;
    nodes_lock(cpu, nodes);
    root->refs++;
    nodes_unlock(cpu, nodes);
    return root;
}

static void release(struct qi_nodes *nodes, struct qi_region *root)
{
    if (!root)
        return;
    qi_assert(root->refs > 0);
    if (--root->refs > 0)
        return;
    release(nodes, root->right); /* left waits on the list */
    root->right = nodes->dead;
    qi_store(&nodes->dead, root);
}

void qi_region_release(struct qi_cpu *cpu, struct qi_region *root)
{
    struct qi_nodes *nodes = &cpu->q->nodes;
    nodes_lock(cpu, nodes);
    release(nodes, root);
    nodes_unlock(cpu, nodes);
}

static bool drop_dead(struct qi_cpu *cpu, unsigned count)
{
    struct qi_nodes *nodes = &cpu->q->nodes;
    for (; count > 0 && nodes->dead; count--) {
        struct qi_region *n = nodes->dead;
        qi_store(&nodes->dead, n->right);
        release(nodes, n->left);
        qi_node_free(cpu, n);
    }
    return nodes->dead != NULL;
}

bool qi_nodes_drop_slice(struct qi_cpu *cpu, unsigned count)
{
    struct qi_nodes *nodes = &cpu->q->nodes;
    nodes_lock(cpu, nodes);
    bool more = drop_dead(cpu, count);
    nodes_unlock(cpu, nodes);
    return more;
}
