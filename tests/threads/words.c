/* SPDX-License-Identifier: MIT */
/*
 * What the workers do with their words, and how rounds begin and end (see threads.h).
 */
#include "threads.h"

struct test_world world;
struct worker workers[WORKERS];
struct quire_space *spaces[SPACES];
uint32_t said_last;

/* ---- what a worker does ---------------------------------------------------------------------- */

uint64_t load(struct worker *w, vaddr_t address)
{
    uint64_t word;

    soft_cpu_poll(w->cpu);
    CHECK_OK(soft_load(w->cpu, address, &word, sizeof word));
    return word;
}

void store(struct worker *w, vaddr_t address, uint64_t word)
{
    soft_cpu_poll(w->cpu);
    CHECK_OK(soft_store(w->cpu, address, &word, sizeof word));
}

void run(struct worker *w, struct quire_space *space)
{
    soft_cpu_leave(w->cpu);
    soft_cpu_run(w->cpu, world.q, space);
    soft_cpu_enter(w->cpu);
}

void rest(struct worker *w)
{
    soft_cpu_leave(w->cpu);
    sched_yield();
    soft_cpu_enter(w->cpu);
}

struct quire_space *space_new(void)
{
    struct quire_space *space;
    vaddr_t at = 0;

    CHECK_OK(quire_space_create(world.q, &space));
    CHECK_OK(quire_map(space, &at, (WORKERS + 2) * LEAF, RW, QUIRE_MAP_FIXED));
    return space;
}

struct quire_space *fork_of(struct quire_space *parent)
{
    struct quire_space *child;

    CHECK_OK(quire_space_fork(parent, &child));
    return child;
}

void run_fork(struct worker *w)
{
    struct quire_space *space = spaces[w->number];

    soft_cpu_leave(w->cpu);
    spaces[w->number] = fork_of(space);
    run(w, spaces[w->number]);
    soft_cpu_leave(w->cpu);
    quire_space_destroy(space);
    soft_cpu_enter(w->cpu);
}

void touch(struct worker *w, uint32_t s)
{
    uint32_t page = below(w, PAGES), n = below(w, WORDS);
    uint64_t *shadow = &w->shadow[s][page][n];
    vaddr_t address = word_at(w, page, n);

    if (below(w, 2)) {
        *shadow = word_new(w);
        store(w, address, *shadow);
    } else {
        CHECK(load(w, address) == *shadow);
    }
}

void touch_through_quire(struct worker *w, uint32_t s)
{
    uint32_t page = below(w, PAGES), n = below(w, WORDS);
    uint64_t *shadow = &w->shadow[s][page][n], word;
    vaddr_t address = word_at(w, page, n);

    if (below(w, 2)) {
        *shadow = word_new(w);
        CHECK_OK(quire_write(spaces[s], address, shadow, sizeof *shadow, NULL));
    } else {
        CHECK_OK(quire_read(spaces[s], address, &word, sizeof word, NULL));
        CHECK(word == *shadow);
    }
}

void verify(struct worker *w, uint32_t s)
{
    for (uint32_t page = 0; page < PAGES; page++) {
        for (uint32_t n = 0; n < WORDS; n++)
            CHECK(load(w, word_at(w, page, n)) == w->shadow[s][page][n]);
    }
}

/* ---- begins and ends ------------------------------------------------------------------------- */

void begin_one(void) { spaces[0] = space_new(); }

void end_all(void)
{
    for (uint32_t s = 0; s < SPACES; s++) {
        if (spaces[s])
            quire_space_destroy(spaces[s]);
        spaces[s] = NULL;
    }
}

void fill_all(void)
{
    for (uint32_t page = 0; page < PAGES; page++)
        CHECK_OK(quire_write(spaces[0], page_at(page) + MIDDLE, &nobodys, sizeof nobodys, NULL));
}

void begin_full(void)
{
    begin_one();
    fill_all();
}

void begin_copies(void)
{
    begin_full();
    spaces[1] = fork_of(spaces[0]);
}

void end_copies(void)
{
    uint64_t words[QUIRE_PAGE_SIZE / sizeof(uint64_t)];

    for (uint32_t page = 0; page < PAGES; page++) {
        CHECK_OK(quire_read(spaces[1], page_at(page), words, sizeof words, NULL));
        for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++)
            CHECK(words[i] == (i == MIDDLE / sizeof nobodys ? nobodys : 0));
    }
    end_all();
}
