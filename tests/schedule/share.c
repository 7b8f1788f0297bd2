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
 * A word is 4 bytes, and in frames, which are used for one thing after another, 8; an access to 8
 * bytes elsewhere is one to two words.  A lock and the list beside it are two things: with words of
 * 8 bytes everywhere, whoever looked at the list came into the way of all who took the lock.  What
 * walks read counts as read by one more CPU, since every CPU may walk at every moment.
 */
#include "machine.h"

#include <string.h>

enum { WORDS_MAX = 1 << 14 };

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

/* The words of an access, [first, end); none, where everything is elsewhere. */
struct words {
    size_t first, end;
};

static struct words words_of(const void *address, unsigned size)
{
    size_t word = world_offset(address) / 4;
    if (word >= WORDS_MAX)
        return (struct words){WORDS_MAX, WORDS_MAX};
    if (world_in_frames(address))
        return (struct words){word & ~(size_t)1, (word & ~(size_t)1) + 1};
    return (struct words){word, word + (size + 3) / 4};
}

static bool word_access(size_t word, bool write, unsigned who)
{
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

bool share_access(const void *address, unsigned size, bool write, unsigned who)
{
    struct words words = words_of(address, size);
    bool shared = words.first == WORDS_MAX;
    for (size_t word = words.first; word < words.end; word++)
        shared |= word_access(word, write, who);
    return shared;
}

bool share_within(const void *key, const void *address, unsigned size)
{
    size_t word = words_of(key, 4).first;
    struct words words = words_of(address, size);
    return words.first <= word && word < words.end;
}

static void note_bit(unsigned bit, bool write)
{
    (write ? step_notes.written : step_notes.read)[bit / 64] |= UINT64_C(1) << bit % 64;
}

void step_note(const void *address, unsigned size, bool write)
{
    struct words words = words_of(address, size);
    if (words.first == WORDS_MAX)
        note_bit(NOTES - 1, write);
    for (size_t word = words.first; word < words.end; word++) {
        if (!is_shared[word])
            continue;
        if (note_of[word] == 0)
            note_of[word] = (uint16_t)(note_count < NOTES - 1 ? note_count++ : NOTES - 1);
        note_bit(note_of[word], write);
    }
}

void step_note_object(enum object object, unsigned cpu, bool write)
{
    note_bit((unsigned)object * CPUS_MAX + cpu, write);
}
