/* SPDX-License-Identifier: MIT */
/*
 * Pages that leave memory under running programs, and come back to them: worker 0 sends them away,
 * worker 1 is the device of the page file, and the others go on as if nothing were.
 *
 * What leaves and when is left to the processors; what the workers stored has to be there.
 */
#include "threads.h"

/* Frames: hardly more than what one space uses; for three of them and what they fork. */
enum { SLOTS = 4096, FEW = 64, MORE = 160 };

static struct {
    uint8_t bytes[SLOTS << QUIRE_PAGE_SHIFT];
    struct quire_pagefile *added;
} pages;

static void begin_pages(bool late)
{
    device_begin(late);
    CHECK_OK(quire_pagefile_add(world.q, &device_pager, pages.bytes, sizeof pages.bytes, 0,
                                QUIRE_PAGEFILE_CHECKSUM, &pages.added));
    begin_one();
}

static void begin_prompt(void) { begin_pages(false); }
static void begin_late(void) { begin_pages(true); }

/* Pages that are out come back for it, since a space still has them. */
static void end_pages(void)
{
    device_begin(false);
    CHECK_OK(quire_pagefile_remove(pages.added));
    end_all();
}

static void manage_pages(struct worker *w)
{
    vaddr_t at = page_at(below(w, PAGES));
    uint64_t length = PAGE(1 + below(w, 8));
    enum quire_page_advice advice = (enum quire_page_advice)below(w, QUIRE_PAGE_ADVICE_COUNT);

    switch (below(w, 4)) {
    case 0: quire_age(world.q); break;
    case 1: (void)quire_balance(world.q); break;
    default: CHECK_OK(quire_advise_pages(spaces[0], at, length, advice));
    }
}

/* In the one space, by the program's accesses and through quire. */
static void touch_all(struct worker *w)
{
    run(w, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        touch(w, 0);
        soft_cpu_leave(w->cpu);
        touch_through_quire(w, 0);
        soft_cpu_enter(w->cpu);
    }
    verify(w, 0);
}

/* Each in a fork of the one space, and then in a fork of that, and so on. */
static void touch_twins(struct worker *w)
{
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (i % 25 == 24)
            run_fork(w);
        touch(w, 0);
    }
    verify(w, 0);
}

static void begin_twins(void)
{
    begin_late();
    fill_all();
    for (uint32_t i = DEVICE + 1; i < WORKERS; i++)
        spaces[i] = fork_of(spaces[0]);
}

static void work_all(struct worker *w) { device_round(w, manage_pages, touch_all); }
static void work_twins(struct worker *w) { device_round(w, manage_pages, touch_twins); }

void paged(void) { rounds_in(FEW, SLOTS, begin_prompt, work_all, end_pages); }
void paged_late(void) { rounds_in(FEW, SLOTS, begin_late, work_all, end_pages); }
void paged_twins(void) { rounds_in(8192, SLOTS, begin_twins, work_twins, end_pages); }
void paged_scarce(void) { rounds_in(MORE, SLOTS, begin_twins, work_twins, end_pages); }
