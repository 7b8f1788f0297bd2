/* SPDX-License-Identifier: MIT */
/*
 * Policies: which pages leave memory when it is wanted.
 *
 * Both see what a pass sees, one bit of each page, and keep what they make of it in the three bits
 * of an age.
 *
 * aging   The age is a history of three passes, the last one first, with a bit set where the page
 *         was *not* used:
 *
 *             used     age 0bxyz -> 0b0xy
 *             not      age 0bxyz -> 0b1xy
 *
 *         so of two pages that were both used in the last pass the one that was also used before
 *         is younger, and every use outweighs all earlier ones.  A page that has just come, age 0,
 *         counts as not used before; one that is used in every pass stays at 1.  Old is 5:
 *         unused in the last pass, and in one of the two before.  So a page that was wanted once,
 *         as most are in a walk over a large range, leaves after one pass without a use, and a page
 *         that was used in two passes in a row after two.
 *
 * clock   The age is one bit: not used since the last pass (not recently used, second chance).
 *
 * The two were chosen with tools/pagesim among some twenty.  How long ago the last use was, counted
 * in passes, is no better than the clock: a pass begins when what the last one found has gone, and
 * by then nearly every page that is left was used since.  What pays is to tell pages that are used
 * in every pass from those used in one (docs/design.md has the figures).
 *
 * Nothing here has state: the machinery that calls it is the same for both, and tools/pagesim runs
 * these very functions over traces of programs.
 */
#include <quire/quire.h>

enum { NEW = 0, NEVER_USED = 7, USED_IN_ALL = 1 };

static uint8_t history(uint8_t age, bool used)
{
    unsigned passes = (age == NEW ? NEVER_USED : age) >> 1 | (used ? 0 : 4);
    return (uint8_t)(passes ? passes : USED_IN_ALL);
}

static uint8_t recency(uint8_t age, bool used)
{
    (void)age;
    return used ? 0 : 1;
}

const struct quire_policy quire_policy_aging = {"aging", history, 5};
const struct quire_policy quire_policy_clock = {"clock", recency, 1};
