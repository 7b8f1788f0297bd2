/* SPDX-License-Identifier: MIT */
/*
 * Files under running programs: worker 0 writes back, purges, cuts off and reads ahead, one worker
 * is the device, and the others go on in views of the same file.
 */
#include "threads.h"

enum { FILE_SIZE = 2 * QUIRE_TABLE_ENTRIES << QUIRE_PAGE_SHIFT };

static struct {
    uint8_t bytes[FILE_SIZE];
    struct quire_section *section;
} file;

static void view(struct quire_space *space, uint32_t flags)
{
    vaddr_t at = 0;

    CHECK_OK(quire_map_view(space, &at, 2 * LEAF, RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE | flags,
                            file.section, 0));
}

static void begin_file(bool late)
{
    memset(file.bytes, 0, sizeof file.bytes);
    device_begin(late);
    CHECK_OK(quire_section_create(world.q, FILE_SIZE, &device_pager, file.bytes, &file.section));
    for (uint32_t i = 0; i < WORKERS; i++) {
        spaces[i] = space_new();
        view(spaces[i], QUIRE_MAP_SHARED);
    }
}

static void begin_prompt(void) { begin_file(false); }
static void begin_late(void) { begin_file(true); }

static void end_file(void)
{
    device_begin(false);
    end_all();
    quire_section_close(file.section);
}

/* What the workers stored last is in the file when it is written back. */
static void end_written(void)
{
    device_begin(false);
    CHECK_OK(quire_section_sync(file.section, 0, UINT64_MAX, 0, NULL));
    for (uint32_t i = 0; i < WORKERS; i++)
        for (uint32_t page = 0; page < PAGES; page++)
            for (uint32_t n = 0; n < WORDS; n++)
                CHECK(memcmp(file.bytes + word_at(&workers[i], page, n),
                             &workers[i].shadow[0][page][n], sizeof(uint64_t)) == 0);
    end_file();
}

static void manage(struct worker *w)
{
    uint64_t offset = page_at(below(w, PAGES)), length = PAGE(1 + below(w, 8));

    switch (below(w, 4)) {
    case 0: CHECK_OK(quire_section_sync(file.section, offset, length, 0, NULL)); break;
    case 1:
        CHECK_OK(quire_section_sync(file.section, offset, length, QUIRE_SYNC_START, NULL));
        break;
    case 2: (void)quire_section_purge(file.section, offset, length, below(w, 2)); break;
    default: quire_section_fetch(file.section, offset, length);
    }
}

/* A word of the worker's, in its own view or in the file. */
static void touch_word(struct worker *w)
{
    uint32_t page = below(w, PAGES), n = below(w, WORDS);
    uint64_t *shadow = &w->shadow[0][page][n], word = 0;
    vaddr_t at = word_at(w, page, n);

    switch (below(w, 4)) {
    case 0: store(w, at, *shadow = word_new(w)); break;
    case 1: CHECK(load(w, at) == *shadow); break;
    case 2:
        soft_cpu_leave(w->cpu);
        CHECK_OK(quire_section_read(file.section, at, &word, sizeof word, 0, NULL));
        soft_cpu_enter(w->cpu);
        CHECK(word == *shadow);
        break;
    default:
        *shadow = word_new(w);
        soft_cpu_leave(w->cpu);
        CHECK_OK(quire_section_write(file.section, at, shadow, sizeof *shadow, 0, NULL));
        soft_cpu_enter(w->cpu);
    }
}

static void touch_file(struct worker *w)
{
    for (uint32_t i = 0; i < OPERATIONS; i++)
        touch_word(w);
}

static void work_file(struct worker *w) { device_round(w, manage, touch_file); }

void written_back(void) { rounds(begin_prompt, work_file, end_written); }
void written_late(void) { rounds(begin_late, work_file, end_written); }

/* ---- the end --------------------------------------------------------------------------------- */

/* What was cut off is gone, and comes back as zeros. */
static void touch_cut(struct worker *w)
{
    uint32_t page = below(w, PAGES);
    uint64_t *shadow = &w->shadow[0][page][0], word = word_new(w), seen;
    enum quire_status status;

    soft_cpu_poll(w->cpu);
    status = soft_store(w->cpu, word_at(w, page, 0), &word, sizeof word);
    CHECK(status == QUIRE_OK || status == QUIRE_BEYOND_END);
    if (status == QUIRE_OK)
        *shadow = word;
    soft_cpu_poll(w->cpu);
    status = soft_load(w->cpu, word_at(w, page, 0), &seen, sizeof seen);
    CHECK(status == QUIRE_OK || status == QUIRE_BEYOND_END);
    CHECK(status != QUIRE_OK || seen == *shadow || seen == 0);
    if (status == QUIRE_OK)
        *shadow = seen;
}

static void work_cut(struct worker *w)
{
    if (w->number > 0) {
        run(w, spaces[w->number]);
        while (!said()) {
            for (uint32_t i = 0; i < PAGES; i++)
                touch_cut(w);
            rest(w);
        }
        return;
    }
    soft_cpu_leave(w->cpu);
    for (uint32_t i = 0; i < OPERATIONS / 20; i++) {
        uint64_t size = PAGE(below(w, PAGES));
        uint64_t word = 0;

        CHECK_OK(quire_section_resize(file.section, size));
        CHECK_STATUS(quire_fault(spaces[1], size, QUIRE_READ), QUIRE_BEYOND_END);
        memset(file.bytes + size, 0, FILE_SIZE - size);
        CHECK_OK(quire_section_resize(file.section, FILE_SIZE));
        CHECK_OK(
            quire_section_read(file.section, size + word_at(w, 0, 0), &word, sizeof word, 0, NULL));
        CHECK(word == 0);
        if (below(w, 2))
            CHECK_OK(quire_section_sync(file.section, 0, UINT64_MAX, 0, NULL));
    }
    say(1);
}

void cut_off(void) { rounds(begin_prompt, work_cut, end_file); }

/* ---- private views --------------------------------------------------------------------------- */

static void begin_private(void)
{
    begin_file(false);
    for (uint32_t i = 0; i < WORKERS; i++)
        view(spaces[i], 0);
}

/* Copies of pages of the file, which worker 0 forgets and the spaces fork. */
static void work_private(struct worker *w)
{
    run(w, spaces[w->number]);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (w->number == 0 && i % 8 == 0) {
            soft_cpu_leave(w->cpu);
            (void)quire_section_purge(file.section, 0, UINT64_MAX, true);
            soft_cpu_enter(w->cpu);
        } else if (i % 32 == 0) {
            run_fork(w);
        }
        touch(w, 0);
    }
    verify(w, 0);
}

void copied(void) { rounds(begin_private, work_private, end_file); }
