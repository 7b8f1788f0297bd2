/* SPDX-License-Identifier: MIT */
/*
 * What changes while an operation waits for memory: whoever waited starts again from nothing.
 *
 * host_need_frames is the one place where a fault is under way and somebody else can run.  Here it
 * finds memory, and before it says so it does to the space what another thread could have done.
 */
#include "unit.h"

enum change {
    NOTHING,
    UNMAP_IT,
    FORBID_WRITING,
    MAP_ANEW,
    END_THE_TWIN,
    FORK_AGAIN,
    WRITE_FIRST,
    CHANGES,
};

enum { HOARD_MAX = 8192 };

static struct {
    struct unit u;
    struct quire_space *space, *twin, *third;
    enum change change;
    pfn_t hoard[HOARD_MAX]; /* every free frame */
    unsigned hoarded, calls;
} s;

/* A page that the space must copy to write: 1 and 5 are in its first bytes. */
static void page_make(void)
{
    memset(&s.u, 0, sizeof s.u);
    s.third = NULL;
    s.calls = s.hoarded = 0;
    begin_with(&s.u, &(struct test_options){.cpus = 2});
    s.space = space_new(&s.u);
    map(&s.u, s.space, 0, PAGE(4), RW);
    put(&s.u, s.space, PAGE(1), 1);
    put(&s.u, s.space, PAGE(1) + 1, 5);
    s.twin = fork_of(&s.u, s.space);
    while (s.hoarded < HOARD_MAX && quire_frame_take(s.u.w.q, &s.hoard[s.hoarded]) == QUIRE_OK)
        s.hoarded++;
    CHECK(quire_free_frames(s.u.w.q) == 0);
}

static void hoard_give(void)
{
    while (s.hoarded > 0)
        quire_frame_give(s.u.w.q, s.hoard[--s.hoarded]);
}

static bool change_meanwhile(struct test_world *w, uint32_t frames)
{
    vaddr_t address = PAGE(1);

    CHECK(frames > 0);
    if (s.calls++ > 0)
        return false;
    hoard_give();
    switch (s.change) {
    case NOTHING:
    case CHANGES: return false;
    case UNMAP_IT: CHECK_OK(quire_unmap(s.space, PAGE(1), PAGE(1))); break;
    case FORBID_WRITING: CHECK_OK(quire_protect(s.space, PAGE(1), PAGE(1), R)); break;
    case MAP_ANEW:
        CHECK_OK(quire_map(s.space, &address, PAGE(1), RW, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE));
        break;
    case END_THE_TWIN:
        test_end(w, s.twin);
        s.twin = NULL;
        break;
    case FORK_AGAIN: CHECK_OK(quire_space_fork(s.space, &s.third)); break;
    case WRITE_FIRST:
        test_run(w, 1, s.space);
        CHECK_OK(soft_store(w->cpu[1], PAGE(1) + 1, "\7", 1));
        break;
    }
    return true;
}

static void everybody_ends(void)
{
    audit(&s.u);
    if (s.third) {
        CHECK(get(&s.u, s.third, PAGE(1)) == 1);
        end(&s.u, s.third);
    }
    if (s.twin) {
        CHECK(get(&s.u, s.twin, PAGE(1)) == 1);
        CHECK(get(&s.u, s.twin, PAGE(1) + 1) == 5);
        end(&s.u, s.twin);
    }
    end(&s.u, s.space);
    finish(&s.u);
}

/*
 * Rows 1, 4, 5, 8, 11.  Goal: no decision outlives a wait.  Method: a store, and then a copy by the
 * kernel, to a page that must be copied, with no frame free; meanwhile the page is unmapped,
 * forbidden, replaced, left by its twin, shared once more, or written by another CPU.
 */
static void world_changes_while_waiting(void)
{
    static const enum quire_status wanted[CHANGES] = {
        [NOTHING] = QUIRE_NO_MEMORY,
        [UNMAP_IT] = QUIRE_NOT_MAPPED,
        [FORBID_WRITING] = QUIRE_PROTECTED,
    };
    static const uint8_t second_byte[CHANGES] = {5, 0, 5, 0, 5, 5, 7};

    for (unsigned i = 0; i < 2 * CHANGES; i++) {
        enum quire_status status;

        page_make();
        s.change = (enum change)(i / 2);
        s.u.w.need_frames = change_meanwhile;
        if (i % 2 == 0)
            status = test_store(&s.u.w, s.space, PAGE(1), 9);
        else
            status = quire_write(s.space, PAGE(1), "\11", 1, NULL);
        CHECK_STATUS(status, wanted[s.change]);
        CHECK(s.calls == 1);
        s.u.w.need_frames = NULL;
        if (status != QUIRE_NOT_MAPPED) {
            CHECK(get(&s.u, s.space, PAGE(1)) == (status == QUIRE_OK ? 9 : 1));
            CHECK(get(&s.u, s.space, PAGE(1) + 1) == second_byte[s.change]);
        }
        everybody_ends();
    }
}

CHECK_MAIN("unit.wait", TEST(world_changes_while_waiting))
