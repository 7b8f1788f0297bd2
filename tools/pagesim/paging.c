/* SPDX-License-Identifier: MIT */
/*
 * The mechanics of paging, over a trace: those of balance.c, workset.c and pagefile.c of core, for
 * one space of private memory.
 *
 *            first use                         aged                     frame wanted
 *      NEW -------------> ACTIVE --------------------------> STANDBY --------------> OUT
 *                         ^  ^    (written first, if it is    |   ^                   |
 *                         |  |     changed or has no slot)    |   '---- neighbour ----+
 *                         |  '--------- soft fault -----------'                       |
 *                         '------------------------ page-in --------------------------'
 *
 * Frames are at hand if they are free or have a standby page.  When fewer than `keep` are, passes
 * go over the active pages in the order of addresses, so many leaf tables at a time.
 * Every visit takes the used bit and asks the policy for a new age, and an unused page that is old
 * enough leaves.  A pass that lets nothing leave is followed by one that is content with half the
 * age, and so on until something does.
 *
 * A page that leaves for the first time gets the next slot, and keeps it.  A read brings the run of
 * pages around the wanted one that are out too, within an aligned cluster of slots; they are the
 * first to go again, until somebody uses them.
 *
 * A transfer takes no time here, and a pass no longer than the fault that begins it.
 */
#include "paging.h"

#include <stdlib.h>

enum state { NEW, ACTIVE, STANDBY, OUT };

/* What core has: 512 entries, a leaf a slice, one frame in 64. */
enum { LEAF = 512, LEAVES = 1, KEEP_PART = 64 };

enum { NONE = UINT32_MAX };

struct page {
    enum state state;
    uint8_t age;
    bool used, changed, neighbour; /* neighbour: read as one, and not wanted yet */
    uint32_t slot;                 /* of the page file, or NONE */
    uint32_t before, after;        /* while STANDBY */
};

struct paging {
    const struct trace *trace;
    struct paging_config config;
    struct paging_result result;
    struct page *page;      /* and two more, heads of the standby lists: neighbours, all others */
    uint32_t free, standby; /* frames, pages */
    uint32_t cursor;        /* the page that the pass visits next */
    uint32_t left;          /* pages that have left in this pass */
    uint8_t old;            /* the age to leave at */
    uint32_t slots, *owner; /* given out; the page of each */
};

static uint32_t at_hand(const struct paging *p) { return p->free + p->standby; }

/* ---- the standby lists --------------------------------------------------------------------- */

static uint32_t list_neighbours(const struct paging *p) { return p->trace->pages; }
static uint32_t list_normal(const struct paging *p) { return p->trace->pages + 1; }

static void list_add(struct paging *p, uint32_t list, uint32_t number)
{
    struct page *page = &p->page[number];

    page->state = STANDBY;
    page->after = list;
    page->before = p->page[list].before;
    p->page[page->before].after = number;
    p->page[list].before = number;
    p->standby++;
}

static void list_remove(struct paging *p, uint32_t number)
{
    struct page *page = &p->page[number];

    p->page[page->before].after = page->after;
    p->page[page->after].before = page->before;
    p->standby--;
}

/* ---- passes -------------------------------------------------------------------------------- */

static void page_leave(struct paging *p, uint32_t number)
{
    struct page *page = &p->page[number];

    if (page->changed || page->slot == NONE)
        p->result.written++;
    page->changed = false;
    if (page->slot == NONE) {
        page->slot = p->slots++;
        p->owner[page->slot] = number;
    }
    list_add(p, list_normal(p), number);
    p->left++;
}

static void page_visit(struct paging *p, uint32_t number)
{
    struct page *page = &p->page[number];
    bool used = page->used;

    page->age = p->config.policy->age(page->age, used);
    page->used = false;
    p->result.visits++;
    if (!used && page->age >= p->old)
        page_leave(p, number);
}

/* Visit one leaf, from the cursor on; false: there is none yet, and it counts for nothing. */
static bool leaf_visit(struct paging *p)
{
    uint64_t leaf = p->trace->address[p->cursor] / p->config.leaf;
    bool exists = false;

    for (; p->cursor < p->trace->pages && p->trace->address[p->cursor] / p->config.leaf == leaf;
         p->cursor++) {
        exists |= p->page[p->cursor].state != NEW;
        if (p->page[p->cursor].state == ACTIVE)
            page_visit(p, p->cursor);
    }
    return exists;
}

static void pass_end(struct paging *p)
{
    p->old = p->left ? p->config.policy->old : p->old / 2;
    p->left = 0;
    p->cursor = 0;
}

static void balance(struct paging *p)
{
    while (at_hand(p) < p->config.keep) {
        for (uint32_t leaves = 0; leaves < p->config.leaves && p->cursor < p->trace->pages;)
            leaves += leaf_visit(p);
        if (p->cursor == p->trace->pages)
            pass_end(p);
    }
}

/* ---- accesses ------------------------------------------------------------------------------ */

/* A frame for a page that comes; a standby page pays for it, a neighbour first. */
static void frame_take(struct paging *p)
{
    if (p->free) {
        p->free--;
        return;
    }
    uint32_t number = p->page[list_neighbours(p)].after;
    if (number == list_neighbours(p))
        number = p->page[list_normal(p)].after;
    list_remove(p, number);
    p->page[number].state = OUT;
    p->result.wasted += p->page[number].neighbour;
    p->page[number].neighbour = false;
}

static bool slot_is_out(const struct paging *p, uint32_t slot)
{
    return slot < p->slots && p->page[p->owner[slot]].state == OUT;
}

/*
 * Read the run of slots around this one that are out, but for this one, whose
 * page has its frame.  All get their frames before any is on a list, or the next neighbour would
 * take the frame of the last.
 */
static void neighbours_read(struct paging *p, uint32_t slot)
{
    uint32_t low = slot - slot % p->config.cluster, high = low + p->config.cluster;
    uint32_t first = slot, end = slot + 1;

    while (first > low && slot_is_out(p, first - 1))
        first--;
    while (end < high && slot_is_out(p, end))
        end++;
    for (uint32_t i = first + 1; i < end; i++)
        frame_take(p);
    for (uint32_t i = first; i < end; i++) {
        if (i == slot)
            continue;
        p->page[p->owner[i]].neighbour = true;
        list_add(p, list_neighbours(p), p->owner[i]);
    }
    p->result.pages += end - first - 1;
}

static void page_fault(struct paging *p, uint32_t number)
{
    struct page *page = &p->page[number];
    enum state was = page->state;

    if (was == STANDBY) {
        list_remove(p, number);
        p->result.soft++;
    } else {
        frame_take(p);
    }
    page->state = ACTIVE;
    page->age = 0;
    page->neighbour = false;
    if (was == OUT) {
        p->result.reads++;
        p->result.pages++;
        if (at_hand(p) > 2 * p->config.cluster)
            neighbours_read(p, page->slot);
    }
}

static void page_access(struct paging *p, uint32_t number, bool written)
{
    struct page *page = &p->page[number];

    if (page->state != ACTIVE) {
        if (at_hand(p) < p->config.keep)
            balance(p);
        page_fault(p, number);
    }
    page->used = true;
    page->changed |= written;
}

struct paging_config paging_defaults(const struct quire_policy *policy, uint32_t frames)
{
    return (struct paging_config){.policy = policy,
                                  .frames = frames,
                                  .keep = (frames + KEEP_PART - 1) / KEEP_PART,
                                  .leaf = LEAF,
                                  .leaves = LEAVES,
                                  .cluster = 1};
}

struct paging_result paging_run(const struct trace *trace, const struct paging_config *config)
{
    struct paging p = {.trace = trace,
                       .config = *config,
                       .free = config->frames,
                       .old = config->policy->old,
                       .page = trace_memory(trace->pages + 2, sizeof *p.page),
                       .owner = trace_memory(trace->pages, sizeof *p.owner)};

    for (uint32_t i = 0; i < trace->pages + 2; i++)
        p.page[i] = (struct page){.slot = NONE, .before = i, .after = i};
    for (size_t i = 0; i < trace->count; i++)
        page_access(&p, trace->reference[i] >> 1, trace->reference[i] & 1);
    free(p.page);
    free(p.owner);
    return p.result;
}
