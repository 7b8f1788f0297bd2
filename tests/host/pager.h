/* SPDX-License-Identifier: MIT */
/*
 * A file for tests: an array of bytes behind the pager of a section.
 *
 * Transfers end at once, or, with `late`, wait in the file until test_file_end is called, in any
 * order that a test wants.  A transfer fails if the file says so when it ends; as in a device that
 * stops half way, it has then moved the first half of its pages (of a single one: nothing).  What
 * lies beyond the section's end is not stored: there the file holds zeros, as one that ends there
 * does.
 */
#ifndef TESTS_HOST_PAGER_H
#define TESTS_HOST_PAGER_H

#include "world.h"

enum { TEST_FILE_WAITING = 32 };

struct test_file {
    struct test_world *world;
    uint8_t *bytes;  /* what is stored; `capacity` of them; null: shared memory, without a file */
    size_t capacity; /* whole pages */
    bool late;       /* transfers wait for test_file_end */
    bool unstable;   /* asked when it is opened: see struct quire_pager */
    bool fail_reads, fail_writes;
    bool corrupts; /* the next read ends well, with a wrong byte */
    /* Not null: does this transfer, which ends, fail?  Asked after the two above. */
    bool (*fails)(struct test_file *file, const struct quire_io *io);
    struct quire_io *waiting[TEST_FILE_WAITING];
    unsigned waiting_count;
    uint64_t reads, writes, pages_read, pages_written; /* begun */
    uint64_t failed_reads, failed_writes;              /* ended */
    unsigned gone;                                     /* how often the section has gone */
};

/* `bytes` is the test's, capacity a multiple of the page size; everything else is as in a file that
 * works. */
void test_file_init(struct test_file *file, struct test_world *world, uint8_t *bytes,
                    size_t capacity);
/* Of a file that works as a device; its cookie is the file. */
extern const struct quire_pager test_file_pager;
/* A section of `size` bytes over it. */
QUIRE_WARN_UNUSED enum quire_status test_file_open(struct test_file *file, uint64_t size,
                                                   struct quire_section **out);
/* Page to it.  In a test that needs nothing else this can not fail. */
struct quire_pagefile *test_file_page_to(struct test_file *file, uint32_t flags);
/* End the transfer that is `index`-th among those that wait. */
void test_file_end(struct test_file *file, unsigned index);

#endif
