/* SPDX-License-Identifier: MIT */
/*
 * All CPUs at once.
 *
 * They run one space.  In each of its pages every CPU has a word that nobody else stores to, and
 * remembers what it stored; whatever the others do meanwhile, it must read that back: through its
 * mappings in the space, and in a child of the space that it forks, whose words must not change
 * when the parent's do.  One page in four is made read-only and writable again by turns.  A flush
 * that a CPU misses lets it store into a page that the child has, or into one that was given away.
 */
#include "bare.h"

#define PAGE ((uint64_t)QUIRE_PAGE_SIZE)
#define BASE UINT64_C(0x7fffff0000)

enum { PAGES = 48, READ_ONLY = 4, STORES = 12, WORD = 64 };

static struct quire_space *shared;
static uint32_t cpu_count;
static uint64_t stored[MMU_CPUS][PAGES];
static struct quire_space *children[MMU_CPUS];

static uint64_t random_next(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *random >> 33;
}

static void must(enum quire_status status, const char *what)
{
    if (status != QUIRE_OK)
        fail(what, status);
}

static uint64_t word_at(uint64_t page) { return BASE + page * PAGE + me()->index * WORD; }

void free_begin(uint32_t cpus)
{
    uint64_t address = BASE;

    cpu_count = cpus;
    must(quire_space_create(q, &shared), "create");
    must(quire_map(shared, &address, PAGES * PAGE, QUIRE_READ | QUIRE_WRITE, QUIRE_MAP_FIXED),
         "map");
}

/* Every word of this CPU's is what it stored. */
static void words_check(void)
{
    for (uint64_t page = 0; page < PAGES; page++) {
        uint64_t word = 0;

        must(cpu_load(word_at(page), &word), "load");
        if (word != stored[me()->index][page])
            fail("a word is another one: page", page);
    }
}

static void store_one(uint64_t *random)
{
    uint64_t page = random_next(random) % PAGES, word = random_next(random);
    enum quire_status status = cpu_store(word_at(page), word);

    if (status == QUIRE_OK)
        stored[me()->index][page] = word;
    else if (status != QUIRE_PROTECTED || page % READ_ONLY)
        fail("store", status);
}

/* Read-only for a moment: stores of other CPUs may be refused. */
static void protect_one(uint64_t page)
{
    uint64_t address = BASE + page / READ_ONLY * READ_ONLY * PAGE;

    must(quire_protect(shared, address, PAGE, QUIRE_READ), "protect");
    must(quire_protect(shared, address, PAGE, QUIRE_READ | QUIRE_WRITE), "protect");
}

/* A child equals the parent at the fork, and goes on to, for this CPU's words, while others and it
 * itself write the parent. */
static void fork_one(uint64_t *random)
{
    struct quire_space **child = &children[me()->index];
    uint64_t page = random_next(random) % PAGES, word = 0, before = stored[me()->index][page];

    must(quire_space_fork(shared, child), "fork");
    for (unsigned i = 0; i < STORES; i++)
        store_one(random);
    must(quire_read(*child, word_at(page), &word, sizeof word, NULL), "read");
    if (word != before)
        fail("a child's word is another one: page", page);
    if (random_next(random) % 2) {
        cpu_run(*child);
        page |= 1; /* not one that is read-only at times */
        must(cpu_store(word_at(page), ~word), "child's store");
        must(cpu_load(word_at(page), &before), "child's load");
        if (before != ~word)
            fail("a child's store is lost: page", page);
        cpu_run(shared);
    }
    quire_space_destroy(*child);
    words_check();
}

void free_run(uint64_t rounds)
{
    uint64_t random = me()->index + 1;

    cpu_run(shared);
    for (uint64_t i = 0; i < rounds; i++) {
        for (unsigned j = 0; j < STORES; j++)
            store_one(&random);
        if (random_next(&random) % 4 == 0)
            protect_one(random_next(&random) % PAGES);
        fork_one(&random);
    }
    words_check();
    cpu_run(NULL);
}

void free_end(void)
{
    unsigned found = quire_check(q);

    if (found)
        fail("the auditor's findings:", found);
    for (uint32_t i = 0; i < cpu_count; i++) {
        for (uint64_t page = 0; page < PAGES; page++) {
            uint64_t word = 0;

            must(quire_read(shared, BASE + page * PAGE + i * WORD, &word, sizeof word, NULL),
                 "read");
            if (word != stored[i][page])
                fail("a word is another one at the end: page", page);
        }
    }
    quire_space_destroy(shared);
    found = quire_check(q);
    if (found)
        fail("the auditor's findings:", found);
}
