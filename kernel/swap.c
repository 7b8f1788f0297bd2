/* SPDX-License-Identifier: MIT */
/*
 * Page files, and who sees to it that memory is free.
 *
 * Every disk that can be written is a page file, all of it, with checksums.  The work is done in
 * idle time; a processor that is never idle does some of it at each tick, once quire has said that
 * little is free (config.low_memory).  Whoever finds no frame at all pages out by himself, inside
 * quire.
 */
#include "swap.h"

#include "blk.h"

enum { STEPS_A_TICK = 64 };

static bool wanted; /* quire has said that little is free, and nobody has seen to it */

void swap_wanted(void *host)
{
    (void)host;
    wanted = true;
}

void swap_begin(void)
{
    struct quire_pagefile *file; /* in use until the end */
    struct blk *b;

    for (unsigned i = 0; (b = blk_get(i)) != NULL; i++) {
        if (blk_read_only(b))
            continue;
        enum quire_status status = quire_pagefile_add(quire, &blk_pager, b, blk_size(b), 0,
                                                      QUIRE_PAGEFILE_CHECKSUM, &file);
        if (status != QUIRE_OK)
            kprintf("disk %u is no page file: %s\n", i, quire_status_name(status));
    }
}

bool swap_relieve(void) { return quire_balance(quire) || blk_wait(); }

void swap_tick(void)
{
    for (int i = 0; i < STEPS_A_TICK && wanted; i++)
        wanted = quire_balance(quire);
}

bool swap_idle(void)
{
    bool more = quire_balance(quire);

    wanted = wanted && more;
    return more;
}
