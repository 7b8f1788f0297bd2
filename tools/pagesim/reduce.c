/* SPDX-License-Identifier: MIT */
/*
 * Dropping references (reduce.h says which).
 *
 * The references that may still be dropped are the last ones, held back in an array.  Looking back
 * from a new one goes on until the page was met twice, or `window` distinct pages were met.  None
 * of them is met three times: its middle reference would have been dropped.  So a look passes at
 * most 2 * window references, and what lies further back is final.
 */
#include "reduce.h"

#include <string.h>

static void begin(struct reduce *reduce, uint32_t window)
{
    reduce->window = window;
    reduce->count = 0;
    reduce->look = 0;
    memset(reduce->met_in, 0, sizeof reduce->met_in);
}

void reduce_begin(struct reduce *reduce, struct trace *out, uint32_t window)
{
    begin(reduce, window);
    reduce->next = NULL;
    reduce->out = out;
    out->window = window;
}

void reduce_into(struct reduce *reduce, struct reduce *next, uint32_t window)
{
    begin(reduce, window);
    reduce->next = next;
    reduce->out = NULL;
}

static void hand_out(struct reduce *reduce, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t address = reduce->recent[i] >> 1;
        bool written = reduce->recent[i] & 1;
        if (reduce->next)
            reduce_add(reduce->next, address, written);
        else
            trace_add(reduce->out, address, written);
    }
    reduce->count -= count;
    memmove(reduce->recent, reduce->recent + count, reduce->count * sizeof *reduce->recent);
}

/* Has this look not met the page before?  Then it has now. */
static bool first_met(struct reduce *reduce, uint64_t address)
{
    uint64_t slot = (address * 0x9e3779b97f4a7c15u >> 40) % REDUCE_ROOM;

    for (; reduce->met_in[slot] == reduce->look; slot = (slot + 1) % REDUCE_ROOM)
        if (reduce->met[slot] == address)
            return false;
    reduce->met_in[slot] = reduce->look;
    reduce->met[slot] = address;
    return true;
}

/* The reference that a new one to this page makes superfluous, or `count`. */
static uint32_t superfluous(struct reduce *reduce, uint64_t address)
{
    uint32_t middle = reduce->count, distinct = 1; /* the page itself */

    reduce->look++;
    for (uint32_t i = reduce->count; i-- > 0;) {
        uint64_t other = reduce->recent[i] >> 1;
        if (other == address) {
            if (middle < reduce->count)
                return middle;
            middle = i;
        } else {
            distinct += first_met(reduce, other);
            if (distinct > reduce->window)
                break;
        }
    }
    return reduce->count;
}

void reduce_add(struct reduce *reduce, uint64_t address, bool written)
{
    uint32_t middle = superfluous(reduce, address);

    if (middle < reduce->count) {
        written |= reduce->recent[middle] & 1;
        reduce->count--;
        memmove(reduce->recent + middle, reduce->recent + middle + 1,
                (reduce->count - middle) * sizeof *reduce->recent);
    }
    if (reduce->count == REDUCE_ROOM)
        hand_out(reduce, REDUCE_ROOM / 2);
    reduce->recent[reduce->count++] = address << 1 | written;
}

void reduce_end(struct reduce *reduce)
{
    hand_out(reduce, reduce->count);
    if (reduce->next)
        reduce_end(reduce->next);
}
