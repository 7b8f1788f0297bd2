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
 * What a step touches, of such words and of a few things that are no words, is noted, so that the
 * explorer knows which steps can change places (exhaust.c).
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

/* Bits of notes: first the objects, then words in the order in which they are noted; the last
 * stands for all that have no bit of their own. */
enum { NOTES = NOTE_WORDS * 64 };
struct notes step_notes;
static uint16_t note_of[WORDS_MAX];
static unsigned note_count = OBJECTS * CPUS_MAX;

void share_reset(void)
{
    memset(readers, 0, sizeof readers);
    memset(writers, 0, sizeof writers);
    memset(is_shared, 0, sizeof is_shared);
    memset(note_of, 0, sizeof note_of);
    note_count = OBJECTS * CPUS_MAX;
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

static void note_bit(unsigned bit, bool write)
{
    (write ? step_notes.written : step_notes.read)[bit / 64] |= UINT64_C(1) << bit % 64;
}

void step_note(const void *address, bool write)
{
    size_t word = world_offset(address) / 8;
    if (word >= WORDS_MAX || !is_shared[word])
        return;
    if (note_of[word] == 0)
        note_of[word] = (uint16_t)(note_count < NOTES - 1 ? note_count++ : NOTES - 1);
    note_bit(note_of[word], write);
}

void step_note_object(enum object object, unsigned cpu, bool write)
{
    note_bit((unsigned)object * CPUS_MAX + cpu, write);
}
