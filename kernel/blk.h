/* SPDX-License-Identifier: MIT */
/*
 * Disks, as pagers use them.
 */
#ifndef KERNEL_BLK_H
#define KERNEL_BLK_H

#include "kernel.h"

struct blk;

/* Bytes of all disks that can be written; before blk_init, and before there is memory. */
uint64_t blk_room(void);
void blk_init(void);             /* find them; once */
struct blk *blk_get(unsigned i); /* the i-th in the order of the bus, or null */
/* Memory that is like a disk that can be read, or null; it stays where it is for good. */
struct blk *blk_of_memory(const void *bytes, uint64_t size);
uint64_t blk_size(const struct blk *b); /* bytes; a multiple of 512, but for memory */
bool blk_read_only(const struct blk *b);

/*
 * Begin to move the first `bytes` bytes of a transfer's pages from, or to, the disk's byte `at` on;
 * quire_io_done ends it, before this returns or later.  Reading: any `at` and `bytes`; what is
 * behind them in the pages becomes zeros.  Writing: both multiples of 512.
 */
void blk_transfer(struct blk *b, struct quire_io *io, uint64_t at, uint64_t bytes);
/* The disk from its first byte on; cookie: the struct blk. */
extern const struct quire_pager blk_pager;

/*
 * Between two looks at what devices do.  Not by the instruction of that name: an emulator leaves
 * the program at each, and competes with its own devices for a lock.
 */
void blk_pause(void);
/* End the transfers that devices are done with; true: there were some. */
bool blk_poll(void);
/* Wait until some transfer ends; false: none is on its way. */
bool blk_wait(void);

#endif
