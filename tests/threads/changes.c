/* SPDX-License-Identifier: MIT */
/*
 * Changes under running programs: worker 0 protects, unmaps, moves, discards, guards, marks, forks
 * or looks, while the others go on.
 *
 * The others know what can happen to them: which refusals there may be, and whether a word may have
 * become zero.  Whatever else they read is what they stored.
 */
#include "threads.h"

#include <pthread.h>

#define MAY(status) (UINT32_C(1) << (status))

/* Others work until worker 0 says that it has ended. */
static void until_said(struct worker *w, void (*each)(struct worker *w))
{
    run(w, spaces[0]);
    while (!said()) {
        for (uint32_t i = 0; i < 10 * PAGES; i++)
            each(w);
        rest(w);
    }
}

/*
 * A store and a load of one of the worker's words.  Either may be refused as `refusals` says; where
 * `zero`, the word may have been given up since the worker stored it.
 */
static void touch_carefully(struct worker *w, uint32_t refusals, bool zero)
{
    uint32_t page = below(w, PAGES);
    uint64_t *shadow = &w->shadow[0][page][0], word = word_new(w), seen;
    enum quire_status status;

    soft_cpu_poll(w->cpu);
    status = soft_store(w->cpu, word_at(w, page, 0), &word, sizeof word);
    CHECK(status == QUIRE_OK || (MAY(status) & refusals));
    if (status == QUIRE_OK)
        *shadow = word;
    soft_cpu_poll(w->cpu);
    status = soft_load(w->cpu, word_at(w, page, 0), &seen, sizeof seen);
    CHECK(status == QUIRE_OK || (MAY(status) & refusals));
    if (status != QUIRE_OK)
        return;
    CHECK(seen == *shadow || (zero && seen == 0));
    *shadow = seen;
}

/* ---- rights ---------------------------------------------------------------------------------- */

/* While the range is protected no store lands in it; while it is unmapped nothing can be reached.
 */
static void look_twice(struct worker *w)
{
    static uint64_t seen[PAGES][WORKERS];

    for (uint32_t page = 0; page < PAGES; page++) {
        for (uint32_t i = 1; i < WORKERS; i++)
            seen[page][i] = load(w, word_at(&workers[i], page, 0));
    }
    sched_yield();
    for (uint32_t page = 0; page < PAGES; page++) {
        for (uint32_t i = 1; i < WORKERS; i++) {
            CHECK(load(w, word_at(&workers[i], page, 0)) == seen[page][i]);
            CHECK(seen[page][i] == 0 || owner_of(seen[page][i]) == i + 1);
        }
    }
}

static void take_away(struct worker *w)
{
    vaddr_t at = 0;
    uint64_t word;

    CHECK_OK(quire_protect(spaces[0], 0, 2 * LEAF, QUIRE_READ));
    soft_cpu_enter(w->cpu);
    look_twice(w);
    soft_cpu_leave(w->cpu);
    if (below(w, 2)) {
        CHECK_OK(quire_unmap(spaces[0], 0, 2 * LEAF));
        soft_cpu_enter(w->cpu);
        CHECK_STATUS(soft_load(w->cpu, page_at(below(w, PAGES)), &word, sizeof word),
                     QUIRE_NOT_MAPPED);
        soft_cpu_leave(w->cpu);
        CHECK_OK(quire_map(spaces[0], &at, 2 * LEAF, RW, QUIRE_MAP_FIXED));
    } else {
        CHECK_OK(quire_protect(spaces[0], 0, 2 * LEAF, RW));
    }
}

static void touch_taken_away(struct worker *w)
{
    touch_carefully(w, MAY(QUIRE_PROTECTED) | MAY(QUIRE_NOT_MAPPED), true);
}

static void work_taken_away(struct worker *w)
{
    if (w->number > 0) {
        until_said(w, touch_taken_away);
        return;
    }
    soft_cpu_run(w->cpu, world.q, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS / 8; i++)
        take_away(w);
    say(1);
}

void taken_away(void) { rounds(begin_one, work_taken_away, end_all); }

/* ---- places ---------------------------------------------------------------------------------- */

static void move(vaddr_t from, vaddr_t to)
{
    vaddr_t at = to;

    CHECK_OK(quire_move(spaces[0], from, 2 * LEAF, &at, 2 * LEAF, QUIRE_MOVE_FIXED));
    CHECK(at == to);
}

static void touch_moved(struct worker *w) { touch_carefully(w, MAY(QUIRE_NOT_MAPPED), false); }

/* The range goes elsewhere and comes back: as whole tables, or page by page. */
static void work_moved(struct worker *w)
{
    if (w->number > 0) {
        until_said(w, touch_moved);
        return;
    }
    soft_cpu_run(w->cpu, world.q, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS / 20; i++) {
        vaddr_t elsewhere = 64 * LEAF + PAGE(below(w, 2) * below(w, QUIRE_TABLE_ENTRIES));
        uint32_t page = below(w, PAGES);
        uint64_t word = word_new(w), seen;

        CHECK_OK(quire_write(spaces[0], word_at(w, page, 0), &word, sizeof word, NULL));
        move(0, elsewhere);
        CHECK_STATUS(quire_read(spaces[0], page_at(page), &seen, sizeof seen, NULL),
                     QUIRE_NOT_MAPPED);
        CHECK_OK(quire_read(spaces[0], elsewhere + word_at(w, page, 0), &seen, sizeof seen, NULL));
        CHECK(seen == word);
        move(elsewhere, 0);
    }
    say(1);
}

void moved(void) { rounds(begin_copies, work_moved, end_copies); }

/* ---- contents -------------------------------------------------------------------------------- */

static void touch_discarded(struct worker *w) { touch_carefully(w, MAY(QUIRE_GUARDED), true); }

/* Pages are given up, or guarded for a while. */
static void work_discarded(struct worker *w)
{
    if (w->number > 0) {
        until_said(w, touch_discarded);
        return;
    }
    soft_cpu_run(w->cpu, world.q, spaces[0]);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        uint32_t page = below(w, PAGES), count = 1 + below(w, 3);
        uint64_t word = word_new(w), length = count * (uint64_t)QUIRE_PAGE_SIZE;

        CHECK_OK(quire_write(spaces[0], word_at(w, page, 0), &word, sizeof word, NULL));
        if (below(w, 2)) {
            CHECK_OK(quire_guard(spaces[0], page_at(page), length));
            CHECK_STATUS(quire_read(spaces[0], page_at(page), &word, sizeof word, NULL),
                         QUIRE_GUARDED);
            CHECK_OK(quire_unguard(spaces[0], page_at(page), length));
        } else {
            CHECK_OK(quire_discard(spaces[0], page_at(page), length));
        }
        CHECK_OK(quire_read(spaces[0], word_at(w, page, 0), &word, sizeof word, NULL));
        CHECK(word == 0);
    }
    say(1);
}

void discarded(void) { rounds(begin_copies, work_discarded, end_copies); }

/* ---- marks ----------------------------------------------------------------------------------- */

static uint64_t backup[PAGES][WORKERS][WORDS];

/* Bring the backup up to date: with what the dirty log says, out of the mark. */
static void back_up(void)
{
    uint64_t bits[2 * QUIRE_TABLE_ENTRIES / 64];

    CHECK_OK(quire_diff_and_mark(spaces[0], &spaces[1], 0, 2 * LEAF, bits));
    for (uint32_t page = 0; page < PAGES; page++) {
        uint64_t bit = page_at(page) >> QUIRE_PAGE_SHIFT;

        for (uint32_t i = 0; i < WORKERS && (bits[bit / 64] >> bit % 64 & 1); i++) {
            for (uint32_t n = 0; n < WORDS; n++)
                CHECK_OK(quire_read(spaces[1], word_at(&workers[i], page, n), &backup[page][i][n],
                                    sizeof(uint64_t), NULL));
        }
    }
}

static void touch_first(struct worker *w) { touch(w, 0); }

static void work_backed_up(struct worker *w)
{
    if (w->number > 0) {
        until_said(w, touch_first);
        verify(w, 0);
        return;
    }
    for (uint32_t i = 0; i < OPERATIONS / 20; i++)
        back_up();
    say(1);
}

static void begin_backed_up(void)
{
    begin_copies();
    memset(backup, 0, sizeof backup);
}

static void end_backed_up(void)
{
    back_up();
    for (uint32_t page = 0; page < PAGES; page++) {
        for (uint32_t i = 0; i < WORKERS; i++)
            CHECK(memcmp(backup[page][i], workers[i].shadow[0][page], sizeof backup[page][i]) == 0);
    }
    end_all();
}

void backed_up(void) { rounds(begin_backed_up, work_backed_up, end_backed_up); }

/* ---- pins ------------------------------------------------------------------------------------ */

/* A device does not write at the instant of a fork. */
static pthread_rwlock_t device = PTHREAD_RWLOCK_INITIALIZER;

/* A word that is stored through a pinned frame is in the page, whatever was forked meanwhile. */
static void touch_pinned(struct worker *w)
{
    uint32_t page = below(w, PAGES), n = below(w, WORDS);
    uint64_t *shadow = &w->shadow[0][page][n];
    vaddr_t offset = word_at(w, page, n) - page_at(page);
    struct quire_run frames;
    struct quire_pin pin;

    soft_cpu_leave(w->cpu);
    CHECK_OK(quire_pin(spaces[0], page_at(page), QUIRE_PAGE_SIZE, QUIRE_WRITE, &frames, 1, &pin));
    pthread_rwlock_rdlock(&device);
    *shadow = word_new(w);
    memcpy(world.frames + (size_t)(frames.first - world.config.first_frame) * QUIRE_PAGE_SIZE +
               offset,
           shadow, sizeof *shadow);
    pthread_rwlock_unlock(&device);
    soft_cpu_enter(w->cpu);
    CHECK(load(w, word_at(w, page, n)) == *shadow);
    soft_cpu_leave(w->cpu);
    CHECK_OK(quire_unpin(world.q, &pin));
    soft_cpu_enter(w->cpu);
    touch(w, 0);
}

static void work_pinned(struct worker *w)
{
    struct quire_space *child;

    if (w->number > 0) {
        until_said(w, touch_pinned);
        verify(w, 0);
        return;
    }
    for (uint32_t i = 0; i < OPERATIONS / 10; i++) {
        uint64_t word;

        pthread_rwlock_wrlock(&device);
        child = fork_of(spaces[0]);
        pthread_rwlock_unlock(&device);
        for (uint32_t n = 1; n < WORKERS; n++) {
            CHECK_OK(quire_read(child, word_at(&workers[n], below(w, PAGES), 0), &word, sizeof word,
                                NULL));
            CHECK(word == 0 || owner_of(word) == n + 1);
        }
        quire_space_destroy(child);
    }
    say(1);
}

void pinned(void) { rounds(begin_copies, work_pinned, end_copies); }

/* ---- looking --------------------------------------------------------------------------------- */

static void add_part(void *context, struct quire_space *space, uint64_t part)
{
    (void)space;
    *(uint64_t *)context += part;
}

/* Each of the others has forks of its own, which come and go. */
static void work_looked_at(struct worker *w)
{
    struct quire_space *child;

    if (w->number > 0) {
        run(w, spaces[0]);
        while (!said()) {
            soft_cpu_leave(w->cpu);
            child = fork_of(spaces[0]);
            run(w, child);
            for (uint32_t i = 0; i < PAGES; i++)
                store(w, word_at(w, below(w, PAGES), 0), word_new(w));
            run(w, spaces[0]);
            for (uint32_t i = 0; i < PAGES; i++)
                touch(w, 0);
            soft_cpu_leave(w->cpu);
            quire_space_destroy(child);
            sched_yield();
        }
        run(w, spaces[0]);
        verify(w, 0);
        return;
    }
    for (uint32_t i = 0; i < OPERATIONS / 40; i++) {
        uint64_t parts = 0, frames;
        struct quire_usage usage;
        struct quire_stats stats;

        CHECK(quire_check(world.q) == 0);
        frames = quire_attribute(world.q, add_part, &parts);
        CHECK(parts == frames << 32);
        quire_space_usage(spaces[0], 0, 2 * LEAF, &usage);
        CHECK(usage.pages_private + usage.pages_shared <= PAGES);
        quire_stats(world.q, &stats);
        CHECK(stats.spaces >= 2);
        (void)quire_work(world.q, 1);
        (void)quire_space_pull(spaces[0]);
    }
    say(1);
}

void looked_at(void) { rounds(begin_copies, work_looked_at, end_copies); }

/* ---- too little memory ----------------------------------------------------------------------- */

/* A worker that gets no frame gives up its space, and begins again with a fork of the first. */
static void work_scarce(struct worker *w)
{
    struct quire_space *space = fork_of(spaces[0]);

    run(w, space);
    for (uint32_t i = 0; i < 2 * OPERATIONS; i++) {
        uint32_t page = below(w, PAGES);
        uint64_t *shadow = &w->shadow[0][page][0], word = word_new(w), seen;
        enum quire_status status;

        soft_cpu_poll(w->cpu);
        CHECK(load(w, page_at(page) + MIDDLE) == nobodys);
        status = soft_store(w->cpu, word_at(w, page, 0), &word, sizeof word);
        if (status == QUIRE_OK)
            *shadow = word;
        seen = load(w, word_at(w, page, 0));
        CHECK(seen == *shadow);
        if (status == QUIRE_OK)
            continue;
        CHECK_STATUS(status, QUIRE_NO_MEMORY);
        run(w, NULL);
        soft_cpu_leave(w->cpu);
        quire_space_destroy(space);
        space = fork_of(spaces[0]);
        memset(w->shadow[0], 0, sizeof w->shadow[0]);
        run(w, space);
    }
    run(w, NULL);
    soft_cpu_leave(w->cpu);
    quire_space_destroy(space);
}

void scarce(void) { rounds_in(160, 0, begin_full, work_scarce, end_all); }
