/* SPDX-License-Identifier: MIT */
/*
 * Page files (swap.c).
 */
#ifndef KERNEL_SWAP_H
#define KERNEL_SWAP_H

#include "kernel.h"

void swap_wanted(void *host); /* quire's config.low_memory */
void swap_begin(void);        /* page to all disks that can be written */
/* No frame is free: page out, or wait for a page that is on its way.  False: nothing helps. */
bool swap_relieve(void);
void swap_tick(void); /* from the timer */
bool swap_idle(void); /* one step of idle time; true: there is more to do */

#endif
