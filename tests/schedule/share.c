/* SPDX-License-Identifier: MIT */
/*
 * Which words do several CPUs look at?
 *
 * The exhaustive explorer switches only before accesses to words that are shared in the program
 * that it explores: written by one CPU (or a walk) and accessed by another.  An access to another
 * word commutes with everything that other CPUs do, so no order of it need be tried.
 *
 * Which words those are is found out while exploring.  A word counts as local until a second CPU
 * is seen to access it and one of them writes; then what was explored so far is void (share_grew),
 * and the exploration of this program begins again with one word more.  When it comes to its end
 * without a new word, no order that it left out can show one: the first such access of an order
 * that was left out would be the same access in one that was not.
 *
 * A word is 8 bytes.  What walks read counts as read by one more CPU, since every CPU may walk at
 * every moment.
 */
#include "machine.h"

#include <string.h>

enum { WORDS_MAX = 1 << 13 };

bool share_grew;

static uint8_t readers[WORDS_MAX], writers[WORDS_MAX];
static bool is_shared[WORDS_MAX];

void share_reset(void)
{
    memset(readers, 0, sizeof readers);
    memset(writers, 0, sizeof writers);
    memset(is_shared, 0, sizeof is_shared);
    share_grew = false;
}

bool share_access(const void *address, bool write, unsigned who)
{
    size_t word = world_offset(address) / 8;
    if (word >= WORDS_MAX)
        return true;
    if (is_shared[word])
        return true;
    *(write ? &writers[word] : &readers[word]) |= (uint8_t)(1u << who);
    uint8_t all = readers[word] | writers[word];
    if (!writers[word] || !(all & (all - 1)))
        return false;
    is_shared[word] = true;
    share_grew = true;
    return true;
}
