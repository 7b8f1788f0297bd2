/* SPDX-License-Identifier: MIT */
/*
 * The optimum, exactly, and least recently used.
 *
 * The optimum (Belady 1966: MIN) takes out the page whose next reference is furthest away.  A pass
 * backwards over the trace finds each reference's next one; the resident pages lie in a heap, the
 * furthest on top.  A hit moves the next reference of a page further away, so it only ever rises.
 *
 * LRU is a list in the order of use.
 */
#include "bounds.h"

#include <stdlib.h>

enum { OUT = UINT32_MAX };

/* ---- the optimum --------------------------------------------------------------------------- */

struct heap {
    uint32_t count, *page; /* the heap */
    uint32_t *place;       /* of each page in it, or OUT */
    size_t *next;          /* reference of each page that is in it */
};

static void put(struct heap *heap, uint32_t place, uint32_t page)
{
    heap->page[place] = page;
    heap->place[page] = place;
}

static void rise(struct heap *heap, uint32_t place)
{
    uint32_t page = heap->page[place];

    while (place) {
        uint32_t above = (place - 1) / 2;
        if (heap->next[heap->page[above]] >= heap->next[page])
            break;
        put(heap, place, heap->page[above]);
        place = above;
    }
    put(heap, place, page);
}

static void sink(struct heap *heap, uint32_t place)
{
    uint32_t page = heap->page[place];

    for (uint32_t below; (below = 2 * place + 1) < heap->count; place = below) {
        if (below + 1 < heap->count &&
            heap->next[heap->page[below + 1]] > heap->next[heap->page[below]])
            below++;
        if (heap->next[heap->page[below]] <= heap->next[page])
            break;
        put(heap, place, heap->page[below]);
    }
    put(heap, place, page);
}

static void take_furthest(struct heap *heap)
{
    heap->place[heap->page[0]] = OUT;
    if (--heap->count) {
        put(heap, 0, heap->page[heap->count]);
        sink(heap, 0);
    }
}

/* For each reference the next one of its page, or the trace's length. */
static size_t *next_references(const struct trace *trace)
{
    size_t *next = trace_memory(trace->count, sizeof *next);
    size_t *last = trace_memory(trace->pages, sizeof *last);

    for (uint32_t page = 0; page < trace->pages; page++)
        last[page] = trace->count;
    for (size_t i = trace->count; i-- > 0;) {
        next[i] = last[trace->reference[i] >> 1];
        last[trace->reference[i] >> 1] = i;
    }
    free(last);
    return next;
}

uint64_t bounds_optimum(const struct trace *trace, uint32_t frames)
{
    struct heap heap = {.page = trace_memory(frames, sizeof *heap.page),
                        .place = trace_memory(trace->pages, sizeof *heap.place),
                        .next = trace_memory(trace->pages, sizeof *heap.next)};
    size_t *next = next_references(trace);
    uint64_t faults = 0;

    for (uint32_t page = 0; page < trace->pages; page++)
        heap.place[page] = OUT;
    for (size_t i = 0; i < trace->count; i++) {
        uint32_t page = trace->reference[i] >> 1;
        if (heap.place[page] == OUT) {
            faults++;
            if (heap.count == frames)
                take_furthest(&heap);
            put(&heap, heap.count++, page);
        }
        heap.next[page] = next[i];
        rise(&heap, heap.place[page]);
    }
    free(next);
    free(heap.page);
    free(heap.place);
    free(heap.next);
    return faults - trace->pages;
}

/* ---- LRU ----------------------------------------------------------------------------------- */

/* A ring through all resident pages and one more, whose number is the trace's `pages`. */
struct ring {
    uint32_t *before, *after;
};

static void unlink_page(struct ring *ring, uint32_t page)
{
    ring->after[ring->before[page]] = ring->after[page];
    ring->before[ring->after[page]] = ring->before[page];
    ring->after[page] = OUT;
}

static void link_last(struct ring *ring, uint32_t head, uint32_t page)
{
    ring->before[page] = ring->before[head];
    ring->after[page] = head;
    ring->after[ring->before[head]] = page;
    ring->before[head] = page;
}

uint64_t bounds_lru(const struct trace *trace, uint32_t frames)
{
    uint32_t head = trace->pages, resident = 0;
    struct ring ring = {trace_memory(trace->pages + 1, sizeof *ring.before),
                        trace_memory(trace->pages + 1, sizeof *ring.after)};
    uint64_t faults = 0;

    for (uint32_t page = 0; page < trace->pages; page++)
        ring.after[page] = OUT;
    ring.before[head] = ring.after[head] = head;
    for (size_t i = 0; i < trace->count; i++) {
        uint32_t page = trace->reference[i] >> 1;
        if (ring.after[page] != OUT) {
            unlink_page(&ring, page);
        } else {
            faults++;
            if (resident == frames)
                unlink_page(&ring, ring.after[head]);
            else
                resident++;
        }
        link_last(&ring, head, page);
    }
    free(ring.before);
    free(ring.after);
    return faults - trace->pages;
}
