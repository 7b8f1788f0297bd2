/* SPDX-License-Identifier: MIT */
/*
 * The manager and its spaces: creating, destroying, activating; and finding memory.
 *
 * Everything hangs from struct quire, which lies at the start of the arena that the caller
 * gave; the records of CPUs, spaces, pins and frames follow it.  There are no globals, so a whole
 * manager can be copied away and back, hashed, and compared.
 *
 *   arena:  struct quire | cpus | spaces[max_spaces] | pins[max_pins] | sections[max_sections] |
 *           transfers[max_transfers] | slots[max_slots] | chunks of slots |
 *           transfers of page files[max_transfers] | frames[frame_count]
 *
 * The number of spaces is the one limit behind every count: a table has at most one parent for
 * each space, and a page at most one user for each, so neither can pass max_spaces, and nothing
 * wraps (bugs.md row 28).
 *
 * Memory.  An operation that needs frames calls qi_reserve once, before its first visible
 * change.  If they are not there it lets go of everything and calls qi_wait_for_frames: what other
 * CPUs keep in their caches is gathered first; then what earlier operations left on the drop list
 * is freed, a slice at a time; then the host is asked.  After each of them the operation starts
 * again from nothing: regions, entries and counts may all have changed.
 *
 * Promises.  What a space may ask for one day is the number of pages of its private writable
 * regions, a sum that its region tree keeps.  Every change of regions takes the difference from
 * the manager before it becomes visible, or gives it back afterwards; so promised is always the
 * sum over all spaces, and config.commit_limit is a limit on it.
 *
 * Destroying a space is one step (its root loses a parent) and a number of slices, which any CPU
 * may do.
 */
#include "pin.h"
#include "section.h"

#include <quire/machine.h>

enum {
    ARENA_ALIGNMENT = 64,
    MAX_SPACES = 1 << 24,
    MAX_CPUS = 1 << 12,
};
#define MAX_FRAMES (UINT32_C(1) << 31) /* a home is a frame number and an index in 40 bits */

/* ---- memory -------------------------------------------------------------------------------- */

static bool drop_slice(struct quire *q)
{
    struct qi_cpu *cpu = qi_enter(q);
    struct qi_gone gone = {0};
    bool more = qi_nodes_drop_slice(cpu, QI_SLICE_NODES);
    more |= qi_table_drop_slice(cpu);
    if (!more) /* what uses the pages of a dead section has gone, or is going elsewhere */
        more = qi_section_drop_slice(cpu, &gone);
    qi_leave(cpu);
    if (gone.call)
        gone.call(gone.cookie);
    return more;
}

bool qi_wait_for_more(struct quire *q, uint32_t need, bool urgent, uint32_t *more)
{
    const bool made_to_fail = QI_FAILED();
    if (qi_frames_gather(q, need, urgent))
        return true;
    if (!made_to_fail && qi_frames_there(q, need, urgent)) /* another call has given them back */
        return true;
    if (qi_load(&q->drop_list) != QI_NO_FRAME || qi_nodes_dead(&q->nodes)) {
        drop_slice(q);
        return true;
    }
    if (qi_load(&q->dead_sections) > 0 && drop_slice(q))
        return true;
    if (qi_load(&q->paging.live) > 0 && !made_to_fail && qi_paging_relieve(q, need, more))
        return true;
    return host_need_frames(q->host, need);
}

bool qi_wait_for_frames(struct quire *q, uint32_t need, bool urgent)
{
    uint32_t more = 0;
    return qi_wait_for_more(q, need, urgent, &more);
}

bool qi_try_again(struct quire *q, enum quire_status *status, uint32_t need, bool urgent,
                  uint64_t pages)
{
    if (*status == QUIRE_NO_MEMORY)
        return qi_wait_for_frames(q, need, urgent);
    if (*status != QUIRE_WOULD_WAIT)
        return false;
    if (host_need_commit(q->host, pages))
        return true;
    *status = QUIRE_NO_COMMIT;
    return false;
}

void qi_drop_slices(struct quire *q, uint32_t slices)
{
    bool more = true;
    for (; more && slices > 0; slices--) {
        host_yield(q->host);
        more = drop_slice(q);
    }
}

bool quire_work(struct quire *q, uint32_t slices)
{
    bool more = qi_work_left(q);
    for (; more && slices > 0; slices--)
        more = drop_slice(q);
    return more;
}

enum quire_status qi_commit_take(struct qi_cpu *cpu, struct quire_space *space, uint64_t pages)
{
    uint64_t promised = space->regions ? space->regions->charge : 0;
    if (pages > space->commit_limit || promised > space->commit_limit - pages)
        return QUIRE_NO_COMMIT;
    return qi_commit_promise(cpu, pages);
}

enum quire_status qi_commit_promise(struct qi_cpu *cpu, uint64_t pages)
{
    struct quire *q = cpu->q;
    if (pages == 0)
        return QUIRE_OK;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    bool there = q->commit_limit == 0 ||
                 (pages <= q->commit_limit && q->committed <= q->commit_limit - pages);
    if (there)
        q->committed += pages;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    return there ? QUIRE_OK : QUIRE_WOULD_WAIT;
}

void qi_commit_give(struct qi_cpu *cpu, uint64_t pages)
{
    struct quire *q = cpu->q;
    if (pages == 0)
        return;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    q->committed -= pages;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
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
           c->max_spaces > 0 && c->max_spaces <= MAX_SPACES && c->cpus <= MAX_CPUS &&
           c->max_pins <= MAX_SPACES && c->max_sections < MAX_SPACES &&
           c->max_transfers <= MAX_SPACES && c->max_slots < QI_NO_FRAME / 2 &&
           c->keep_free <= c->frame_count && c->fault_around <= QI_AROUND_MAX &&
           (c->fault_around & (c->fault_around - 1)) == 0 &&
           page_of(c->stack_gap) == c->stack_gap && colours <= QUIRE_COLOURS_MAX &&
           (colours & (colours - 1)) == 0 && high <= MMU_ADDRESS_END && c->low < high &&
           page_of(c->low) == c->low && page_of(high) == high;
}

/* Where the parts of the arena lie; sizes are rounded up to whole lines. */
struct arena {
    size_t cpus, spaces, pins, sections, transfers, slots, chunks, pages, frames, size;
};

static uint32_t cpu_count(const struct quire_config *c) { return c->cpus ? c->cpus : 1; }
static uint32_t transfer_count(const struct quire_config *c)
{
    return c->max_transfers ? c->max_transfers : 16;
}

/* Slots come in whole chunks. */
static uint32_t slot_count(const struct quire_config *c)
{
    return (c->max_slots + QI_CHUNK - 1) / QI_CHUNK * QI_CHUNK;
}

static struct arena arena_layout(const struct quire_config *c)
{
    struct arena a;
    a.cpus = aligned(sizeof(struct quire));
    a.spaces = a.cpus + cpu_count(c) * sizeof(struct qi_cpu);
    a.pins = a.spaces + aligned(c->max_spaces * sizeof(struct quire_space));
    a.sections = a.pins + aligned(c->max_pins * sizeof(struct qi_pin));
    a.transfers = a.sections + aligned(c->max_sections * sizeof(struct quire_section));
    a.slots = a.transfers;
    if (c->max_sections > 0)
        a.slots += aligned(transfer_count(c) * sizeof(struct quire_io));
    a.chunks = a.slots + aligned((size_t)slot_count(c) * sizeof(struct qi_paged));
    a.pages = a.chunks + aligned(slot_count(c) / QI_CHUNK * sizeof(struct qi_chunk));
    a.frames = a.pages;
    if (c->max_slots > 0)
        a.frames += aligned(transfer_count(c) * sizeof(struct quire_io));
    a.size = a.frames + (size_t)c->frame_count * sizeof(struct qi_frame);
    return a;
}

size_t quire_arena_size(const struct quire_config *config)
{
    return config_valid(config) ? arena_layout(config).size : 0;
}

static void cpus_init(struct quire *q)
{
    memset(q->cpus, 0, q->cpu_count * sizeof(struct qi_cpu));
    for (uint32_t i = 0; i < q->cpu_count; i++) {
        struct qi_cpu *cpu = &q->cpus[i];
        cpu->q = q;
        cpu->host = q->host;
        cpu->index = i;
        cpu->alone = q->cpu_count == 1;
        for (unsigned n = 0; n < QUIRE_COLOURS_MAX; n++)
            cpu->cache.head[0][n] = cpu->cache.head[1][n] = QI_NO_FRAME;
        cpu->limbo[0].head = cpu->limbo[1].head = QI_NO_FRAME;
    }
    frame_count_state(&q->cpus[0], QI_FRAME_ABSENT, q->frames.count);
}

static void spaces_init(struct quire *q)
{
    for (uint32_t i = q->max_spaces; i-- > 0;) {
        q->spaces[i] = (struct quire_space){.q = q, .index = i, .next_free = q->free_space};
        q->free_space = &q->spaces[i];
    }
}

enum quire_status quire_create(const struct quire_config *config, struct quire **out)
{
    if (!config_valid(config) || !config->arena || !config->direct_map ||
        (uintptr_t)config->arena % ARENA_ALIGNMENT != 0)
        return QUIRE_BAD_CONFIG;
    struct arena arena = arena_layout(config);
    unsigned char *base = config->arena;
    if (config->arena_size < arena.size)
        return QUIRE_BAD_CONFIG;
    struct quire *q = config->arena;
    memset(q, 0, sizeof *q);
    q->cpus = (void *)(base + arena.cpus);
    q->spaces = (void *)(base + arena.spaces);
    q->pins = (void *)(base + arena.pins);
    q->sections = (void *)(base + arena.sections);
    q->transfers = (void *)(base + arena.transfers);
    q->paging.slots = (void *)(base + arena.slots);
    q->paging.chunks = (void *)(base + arena.chunks);
    q->paging.transfers = (void *)(base + arena.pages);
    q->paging.max = slot_count(config);
    q->paging.max_transfers = config->max_slots > 0 ? transfer_count(config) : 0;
    q->cpu_count = cpu_count(config);
    q->max_spaces = config->max_spaces;
    q->max_pins = config->max_pins;
    q->max_sections = config->max_sections;
    q->max_transfers = config->max_sections > 0 ? transfer_count(config) : 0;
    q->fault_around = config->fault_around ? config->fault_around : QI_AROUND;
    q->low = config->low;
    q->high = config->high ? config->high : MMU_ADDRESS_END;
    q->stack_gap = config->stack_gap;
    q->commit_limit = config->commit_limit;
    q->host = config->host;
    q->machine = config->machine;
    q->trace = config->trace;
    q->zero_page = q->drop_list = QI_NO_FRAME;
    qi_frames_init(&q->frames, config, base + arena.frames);
    qi_nodes_init(&q->nodes, &q->frames);
    cpus_init(q);
    spaces_init(q);
    qi_pins_init(q);
    qi_sections_init(q);
    qi_paging_init(q, config);
    *out = q;
    return QUIRE_OK;
}

enum quire_status quire_add_frames(struct quire *q, pfn_t first, uint32_t count)
{
    struct qi_cpu *cpu = qi_stop_all(q);
    enum quire_status status = qi_frame_add(cpu, first, count);
    if (status == QUIRE_OK && q->zero_page == QI_NO_FRAME) {
        bool there = qi_frames_reserve(cpu, 1, true);
        qi_assert(there);
        q->zero_page = qi_frame_alloc(cpu, QI_FRAME_ZERO_PAGE, QI_WANT_ZEROED, 0);
    }
    qi_go_all(q);
    return status;
}

uint32_t quire_free_frames(struct quire *q) { return qi_frames_available(q); }

enum quire_status quire_frame_take(struct quire *q, pfn_t *out)
{
    bool there;
    do {
        struct qi_cpu *cpu = qi_enter(q);
        there = qi_reserve(cpu, 1, false, QI_SITE_TAKE);
        if (there)
            *out = qi_frame_alloc(cpu, QI_FRAME_TAKEN, QI_WANT_ANY, qi_frame_any_colour(cpu));
        qi_leave(cpu);
    } while (!there && qi_frames_gather(q, 1, false));
    return there ? QUIRE_OK : QUIRE_NO_MEMORY;
}

void quire_frame_give(struct quire *q, pfn_t pfn)
{
    struct qi_cpu *cpu = qi_enter(q);
    qi_assert(frame_record(&q->frames, pfn)->state == QI_FRAME_TAKEN);
    qi_frame_free(cpu, pfn);
    qi_leave(cpu);
}

uint32_t quire_zero_ahead(struct quire *q, uint32_t count)
{
    uint32_t done = 0;
    for (bool more = true; more && done < count;) {
        struct qi_cpu *cpu = qi_enter(q);
        more = qi_frame_zero_one(cpu);
        qi_leave(cpu);
        done += more;
    }
    return done;
}

/* ---- spaces -------------------------------------------------------------------------------- */

/*
 * A record that is used again: whoever looks at all spaces may hold it still for what it was
 * before, so it is filled when this call holds it.
 */
struct quire_space *qi_space_alloc(struct qi_cpu *cpu)
{
    struct quire *q = cpu->q;
    if (QI_FAIL(QI_SITE_SPACE_RECORD))
        return NULL;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    struct quire_space *space = q->free_space;
    if (space) {
        q->free_space = space->next_free;
        q->live_spaces++;
    }
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    if (!space)
        return NULL;
    qi_hold_new(cpu, space);
    space->regions = NULL;
    space->root = QI_NO_FRAME;
    space->root_own = 0;
    space->commit_limit = space->copies_left = UINT64_MAX;
    space->least = 0;
    qi_store(&space->protects, 0u);
    space->locks = false;
    space->most = space->room = UINT64_MAX;
    space->state = QI_SPACE_LIVE;
    return space;
}

static enum quire_status create_try(struct qi_cpu *cpu, struct quire_space **out)
{
    struct quire *q = cpu->q;
    if (!qi_load(&q->free_space))
        return QUIRE_TOO_MANY_SPACES;
    if (!qi_reserve(cpu, 1, false, QI_SITE_SPACE_ROOT))
        return QUIRE_NO_MEMORY;
    struct quire_space *space = qi_space_alloc(cpu);
    if (!space)
        return QUIRE_TOO_MANY_SPACES;
    space->root = qi_table_create(cpu, QUIRE_LEVELS);
    space->root_own = 1;
    mmu_root_init(q->machine, table_entries(q, space->root));
    *out = space;
    return QUIRE_OK;
}

enum quire_status quire_space_create(struct quire *q, struct quire_space **out)
{
    enum quire_status status;
    do {
        struct qi_cpu *cpu = qi_enter(q);
        status = create_try(cpu, out);
        qi_leave(cpu);
    } while (qi_try_again(q, &status, 1, false, 0));
    return status;
}

void qi_space_unalloc(struct qi_cpu *cpu, struct quire_space *space)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    space->state = QI_SPACE_FREE;
    qi_store(&space->views, 0u);
    qi_let_go(cpu, space);
    space->next_free = q->free_space;
    q->free_space = space;
    q->live_spaces--;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

void qi_space_free(struct qi_cpu *cpu, struct quire_space *space)
{
    struct quire *q = cpu->q;
    qi_assert(space->state == QI_SPACE_LIVE);
    qi_trace(space, QUIRE_EVENT_DESTROY, 0, 0);
    mmu_flush_space(q->machine, space, space->root);
    if (!QI_CANARY(QI_CANARY_PROMISE_KEPT))
        qi_commit_give(cpu, space->regions ? space->regions->charge : 0);
    qi_table_release(cpu, space->root);
    qi_region_release(cpu, space->regions);
    qi_space_unalloc(cpu, space);
}

void quire_space_destroy(struct quire_space *space)
{
    struct quire *q = space->q;
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    qi_space_free(cpu, space);
    qi_leave(cpu);
    qi_finish(q, QI_ALL_SLICES);
}

void quire_space_activate(struct quire *q, struct quire_space *space)
{
    if (!space) {
        struct qi_cpu *cpu = qi_enter(q);
        mmu_activate(q->machine, NULL, QI_NO_FRAME);
        qi_leave(cpu);
        return;
    }
    for (bool done = false; !done;) {
        struct qi_cpu *cpu = qi_enter_shared(space);
        lock_take(cpu, &space->root_lock, QI_RANK_TABLE);
        done = qi_load(&space->root_busy) == 0;
        if (done)
            mmu_activate(q->machine, space, space->root);
        lock_drop(cpu, &space->root_lock, QI_RANK_TABLE);
        qi_leave(cpu);
        if (!done)
            host_wait(q->host, &space->root_busy);
    }
}

void quire_space_limit(struct quire_space *space, uint64_t commit, uint64_t copies)
{
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    space->commit_limit = commit;
    space->copies_left = copies;
    qi_leave(cpu);
}

pfn_t quire_space_root(const struct quire_space *space) { return qi_load(&space->root); }

struct quire *quire_space_manager(const struct quire_space *space) { return space->q; }
