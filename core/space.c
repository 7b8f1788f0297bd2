/* SPDX-License-Identifier: MIT */
/*
 * The manager and its spaces: creating, destroying, activating; and finding memory.
 *
 * Everything hangs from struct quire, which lies at the start of the arena that the caller
 * gave; the records of spaces and of frames follow it.  There are no globals, so a whole
 * manager can be copied away and back, hashed, and compared.
 *
 *   arena:  struct quire | spaces[max_spaces] | frame records[frame_count]
 *
 * The number of spaces is the one limit behind every count: a table has at most one parent for
 * each space, and a page at most one user for each, so neither can pass max_spaces, and nothing
 * wraps (bugs.md row 28).
 *
 * Memory.  An operation that needs frames calls qi_reserve once, before its first visible
 * change. If they are not there it calls qi_wait_for_frames: what earlier operations left on
 * the drop list is freed first, a slice at a time; then the host is asked, with nothing held.
 * After either, the operation starts again from nothing: regions, entries and counts may all
 * have changed.
 *
 * Destroying a space is one step (its root loses a parent) and a number of slices.
 *
 * Locks: the manager's.
 */
#include "table.h"

#include <quire/machine.h>

enum {
    ARENA_ALIGNMENT = 64,
    MAX_SPACES = 1 << 24,
};
#define MAX_FRAMES (UINT32_C(1) << 31) /* a home is a frame number and an index in 40 bits */

/* ---- memory -------------------------------------------------------------------------------- */

static bool drop_slice(struct quire *q)
{
    bool nodes = qi_nodes_drop_slice(&q->nodes, QI_SLICE_NODES);
    bool tables = qi_table_drop_slice(q);
    return nodes || tables;
}

bool qi_wait_for_frames(struct quire *q, uint32_t need)
{
    if (q->drop_list != QI_NO_FRAME || q->nodes.dead) {
        drop_slice(q);
        return true;
    }
    manager_unlock(q);
    bool again = host_need_frames(q->host, need);
    manager_lock(q);
    return again;
}

void qi_drop_slices(struct quire *q, uint32_t slices)
{
    bool more = true;
    for (; more && slices > 0; slices--) {
        host_yield(q->host);
        manager_lock(q);
        more = drop_slice(q);
        manager_unlock(q);
    }
}

/* ---- the manager --------------------------------------------------------------------------- */

static size_t aligned(size_t size)
{
    return (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
}

static bool config_valid(const struct quire_config *c)
{
    vaddr_t high = c->high ? c->high : MMU_ADDRESS_END;
    uint32_t colours = c->colours ? c->colours : 1;
    return c->frame_count > 0 && (uint64_t)c->first_frame + c->frame_count <= MAX_FRAMES &&
           c->max_spaces > 0 && c->max_spaces <= MAX_SPACES && colours <= QUIRE_COLOURS_MAX &&
           (colours & (colours - 1)) == 0 && high <= MMU_ADDRESS_END && c->low < high &&
           page_of(c->low) == c->low && page_of(high) == high;
}

size_t quire_arena_size(const struct quire_config *config)
{
    if (!config_valid(config))
        return 0;
    return aligned(sizeof(struct quire)) +
           aligned(config->max_spaces * sizeof(struct quire_space)) +
           (size_t)config->frame_count * sizeof(struct qi_frame);
}

enum quire_status quire_create(const struct quire_config *config, struct quire **out)
{
    size_t size = quire_arena_size(config);
    if (size == 0 || !config->arena || config->arena_size < size || !config->direct_map ||
        (uintptr_t)config->arena % ARENA_ALIGNMENT != 0)
        return QUIRE_BAD_CONFIG;
    struct quire *q = config->arena;
    memset(q, 0, sizeof *q);
    q->spaces = (void *)((unsigned char *)config->arena + aligned(sizeof *q));
    void *records =
        (unsigned char *)q->spaces + aligned(config->max_spaces * sizeof(struct quire_space));
    qi_frames_init(&q->frames, config, records);
    qi_nodes_init(&q->nodes, &q->frames);
    q->zero_page = q->drop_list = QI_NO_FRAME;
    q->low = config->low;
    q->high = config->high ? config->high : MMU_ADDRESS_END;
    q->host = config->host;
    q->machine = config->machine;
    q->trace = config->trace;
    q->max_spaces = config->max_spaces;
    for (uint32_t i = config->max_spaces; i-- > 0;) {
        q->spaces[i] = (struct quire_space){.q = q, .next_free = q->free_space};
        q->free_space = &q->spaces[i];
    }
    *out = q;
    return QUIRE_OK;
}

enum quire_status quire_add_frames(struct quire *q, pfn_t first, uint32_t count)
{
    manager_lock(q);
    enum quire_status status = qi_frame_add(&q->frames, first, count);
    if (status == QUIRE_OK && q->zero_page == QI_NO_FRAME)
        q->zero_page = qi_frame_alloc(&q->frames, QI_FRAME_ZERO_PAGE, QI_WANT_ZEROED,
                                      qi_frame_any_colour(&q->frames));
    manager_unlock(q);
    return status;
}

uint32_t quire_free_frames(struct quire *q)
{
    manager_lock(q);
    uint32_t free = qi_frame_available(&q->frames, false);
    manager_unlock(q);
    return free;
}

enum quire_status quire_frame_take(struct quire *q, pfn_t *out)
{
    manager_lock(q);
    bool there = qi_reserve(q, 1, false, QI_SITE_TAKE);
    if (there)
        *out = qi_frame_alloc(&q->frames, QI_FRAME_TAKEN, QI_WANT_ANY,
                              qi_frame_any_colour(&q->frames));
    manager_unlock(q);
    return there ? QUIRE_OK : QUIRE_NO_MEMORY;
}

void quire_frame_give(struct quire *q, pfn_t pfn)
{
    manager_lock(q);
    qi_assert(frame_record(&q->frames, pfn)->state == QI_FRAME_TAKEN);
    qi_frame_free(&q->frames, pfn);
    manager_unlock(q);
}

uint32_t quire_zero_ahead(struct quire *q, uint32_t count)
{
    uint32_t done = 0;
    while (done < count) {
        manager_lock(q);
        bool zeroed = qi_frame_zero_one(&q->frames);
        manager_unlock(q);
        if (!zeroed)
            break;
        done++;
    }
    return done;
}

/* ---- spaces -------------------------------------------------------------------------------- */

struct quire_space *qi_space_alloc(struct quire *q)
{
    struct quire_space *space = q->free_space;
    if (!space || QI_FAIL(QI_SITE_SPACE_RECORD))
        return NULL;
    q->free_space = space->next_free;
    *space = (struct quire_space){.q = q, .state = QI_SPACE_LIVE};
    q->live_spaces++;
    return space;
}

enum quire_status quire_space_create(struct quire *q, struct quire_space **out)
{
    manager_lock(q);
    while (q->free_space && !qi_reserve(q, 1, false, QI_SITE_SPACE_ROOT)) {
        if (qi_wait_for_frames(q, 1))
            continue;
        manager_unlock(q);
        return QUIRE_NO_MEMORY;
    }
    struct quire_space *space = qi_space_alloc(q);
    if (space) {
        space->root = qi_table_create(q, QUIRE_LEVELS);
        mmu_root_init(q->machine, table_entries(q, space->root));
        *out = space;
    }
    manager_unlock(q);
    return space ? QUIRE_OK : QUIRE_TOO_MANY_SPACES;
}

void quire_space_destroy(struct quire_space *space)
{
    struct quire *q = space->q;
    manager_lock(q);
    qi_assert(space->state == QI_SPACE_LIVE);
    qi_trace(space, QUIRE_EVENT_DESTROY, 0, 0);
    mmu_flush_space(q->machine, space, space->root);
    qi_table_release(q, space->root);
    qi_region_release(&q->nodes, space->regions);
    *space = (struct quire_space){.q = q, .next_free = q->free_space};
    q->free_space = space;
    q->live_spaces--;
    qi_finish(q, QI_ALL_SLICES);
}

void quire_space_activate(struct quire *q, struct quire_space *space)
{
    manager_lock(q);
    mmu_activate(q->machine, space, space ? space->root : QI_NO_FRAME);
    manager_unlock(q);
}

pfn_t quire_space_root(const struct quire_space *space) { return space->root; }

struct quire *quire_space_manager(const struct quire_space *space) { return space->q; }
