/* SPDX-License-Identifier: MIT */
/*
 * Paging, of which the oracle knows nothing.
 *
 * Between operations, and while they wait, pages leave their working sets, are written, lose their
 * frames, and come back; page files grow, go and come.  Nothing of that may be seen: no byte, no
 * region, no count changes.  Transfers end at once or later, in any order, and fail in some worlds.
 * A write that fails must lose nothing; a read that fails is an error of the one access that
 * wanted it, and the next access finds the page as it was.
 *
 * A page that is not in memory is compared where it is: in the frame of its slot, or on the device.
 * And what counts as clean has to be what the device has: a page on a standby list, and one in
 * memory that keeps its slot and has not been written.
 */
#include "state.h"

#include "workset.h"

#include <stdlib.h>
#include <string.h>

/*
 * What a call may take back while it asks for frames: its page, one of a section and the tables to
 * that, a page that it needs besides, and what is asked for to see that this goes round.
 */
enum { TAKEN_BACK = 4 + QUIRE_LEVELS };

static struct qi_paging *paging(void) { return &M.world.q->paging; }

/* ---- where pages are ------------------------------------------------------------------------- */

static const unsigned char *frame_bytes(pfn_t pfn)
{
    return M.world.frames + ((size_t)(pfn - M.world.config.first_frame) << QUIRE_PAGE_SHIFT);
}

static const unsigned char *device_bytes(slot_t slot)
{
    const struct qi_chunk *chunk = chunk_of(paging(), slot);
    const struct test_file *device = paging()->files[chunk->file - 1].cookie;
    size_t place = (size_t)chunk->number * QI_CHUNK + (slot - 1) % QI_CHUNK;

    return device->bytes + (place << QUIRE_PAGE_SHIFT);
}

/* The bytes of what an entry names that is not in memory. */
static const unsigned char *slot_bytes(slot_t slot)
{
    const struct qi_paged *record = paged_record(paging(), slot);

    return record->state == QI_PAGED_OUT || record->state == QI_PAGED_READING
               ? device_bytes(slot)
               : frame_bytes(record->page);
}

const unsigned char *paging_bytes(const struct model_space *m, vaddr_t address)
{
    struct quire *q = M.world.q;
    struct qi_cpu *cpu = qi_enter_exclusive(m->space);
    struct qi_look look = qi_table_look(m->space, address);

    while (look.level > 1) {
        look.table = entry_pfn(look.entry);
        look.level--;
        look.entry = entry_load(&table_entries(q, look.table)[entry_index(address, look.level)]);
    }
    if (entry_kind(look.entry, 1) != QI_PAGED)
        look.entry = entry_load(qi_home_slot(q, qi_entry_home(q, look.entry)));
    qi_leave(cpu);
    return slot_bytes(entry_slot(look.entry));
}

const unsigned char *paging_section_bytes(const struct model_section *s, uint64_t page)
{
    struct qi_cpu *cpu = qi_enter(M.world.q);
    entry_t e = qi_section_peek(s->section, page);

    qi_leave(cpu);
    return entry_kind(e, 1) == QI_PAGED ? slot_bytes(entry_slot(e)) : NULL;
}

/* The page in a frame that keeps its slot was not written since: its home says so. */
static bool is_clean(pfn_t pfn)
{
    const struct qi_frame *r = frame_record(&M.world.q->frames, pfn);

    return !entry_dirty(entry_load(qi_home_slot(M.world.q, r->home)));
}

void compare_slots(void)
{
    for (slot_t slot = 1; slot <= paging()->max; slot++) {
        const struct qi_paged *record = paged_record(paging(), slot);

        if (record->state != QI_PAGED_STANDBY &&
            !(record->state == QI_PAGED_KEPT && is_clean(record->page)))
            continue;
        M.result->clean_slots++;
        if (memcmp(frame_bytes(record->page), device_bytes(slot), QUIRE_PAGE_SIZE) != 0)
            fail("slot %u is clean, and its frame %u is not what the device has", slot,
                 record->page);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

uint64_t paging_at_hand(bool at_once)
{
    struct quire_stats stats;

    quire_stats(M.world.q, &stats);
    uint64_t frames = stats.frames_free + stats.standby;
    if (at_once || paging()->live == 0)
        return frames;
    if (M.io_failing == 0 && M.page_failing == 0)
        frames += stats.modified;
    /* Some of these the call itself may want back. */
    return frames > TAKEN_BACK ? frames - TAKEN_BACK : 0;
}

/* ---- devices --------------------------------------------------------------------------------- */

static bool fails(struct test_file *device, const struct quire_io *io)
{
    const struct model_pagefile *f = &M.pagefiles[0];

    while (device != &f->device)
        f++;
    bool failing = chance(M.page_failing);
    bool wrong = !failing && !io->write && f->checksum && M.page_failing && chance(10);

    device->corrupts = wrong;
    M.result->page_transfers++;
    M.result->page_errors += failing || wrong;
    M.failed_reads += (failing || wrong) && !io->write;
    return failing;
}

bool page_transfer_end(void)
{
    unsigned first = below(PAGEFILES_MAX);

    for (unsigned i = 0; i < PAGEFILES_MAX; i++) {
        struct test_file *device = &M.pagefiles[(first + i) % PAGEFILES_MAX].device;

        if (device->waiting_count > 0) {
            test_file_end(device, below(device->waiting_count));
            return true;
        }
    }
    return false;
}

void paging_settle(void)
{
    for (unsigned i = 0; i < PAGEFILES_MAX; i++)
        M.pagefiles[i].device.late = M.page_late && chance(50);
}

/* ---- page files ------------------------------------------------------------------------------ */

static uint64_t chunks_of(uint64_t size)
{
    return ((size >> QUIRE_PAGE_SHIFT) + QI_CHUNK - 1) / QI_CHUNK;
}

/* Chunks that nobody has. */
static uint64_t chunks_free(void)
{
    uint64_t count = paging()->max / QI_CHUNK;

    for (unsigned i = 0; i < PAGEFILES_MAX; i++)
        count -= M.pagefiles[i].file ? chunks_of(M.pagefiles[i].size) : 0;
    return count;
}

static uint64_t some_file_size(void)
{
    uint64_t size = (uint64_t)below(M.max_slots + QI_CHUNK) << QUIRE_PAGE_SHIFT;

    return chance(20) ? size + below(QUIRE_PAGE_SIZE) : size;
}

static void file_add(struct model_pagefile *f)
{
    uint64_t size = some_file_size();
    uint32_t flags = chance(50) ? QUIRE_PAGEFILE_CHECKSUM : 0;
    enum quire_status wanted = size < QUIRE_PAGE_SIZE            ? QUIRE_ZERO_LENGTH
                               : chunks_of(size) > chunks_free() ? QUIRE_TOO_MANY_PAGEFILES
                                                                 : QUIRE_OK;
    struct quire_pagefile *file = NULL;

    doing("page file %u: add(%#llx, flags %u)", (unsigned)(f - M.pagefiles), (llu)size, flags);
    if (!f->bytes)
        f->bytes = malloc((size_t)(M.max_slots + 2 * QI_CHUNK) << QUIRE_PAGE_SHIFT);
    if (!f->bytes)
        abort();
    memset(f->bytes, 0xa5, (size_t)(M.max_slots + 2 * QI_CHUNK) << QUIRE_PAGE_SHIFT);
    test_file_init(&f->device, &M.world, f->bytes, (size_t)size & ~(size_t)(QUIRE_PAGE_SIZE - 1));
    f->device.fails = fails;
    if (!judge(quire_pagefile_add(M.world.q, &test_file_pager, &f->device, size, (int)below(3),
                                  flags, &file),
               wanted, 0, false))
        return;
    f->file = file;
    f->size = size;
    f->checksum = flags != 0;
}

static void file_grow(struct model_pagefile *f)
{
    uint64_t size = some_file_size(), has = chunks_of(f->size);
    enum quire_status wanted =
        size >> QUIRE_PAGE_SHIFT < f->size >> QUIRE_PAGE_SHIFT           ? QUIRE_OUT_OF_RANGE
        : chunks_of(size) > has && chunks_of(size) - has > chunks_free() ? QUIRE_TOO_MANY_PAGEFILES
                                                                         : QUIRE_OK;

    doing("page file %u: grow(%#llx)", (unsigned)(f - M.pagefiles), (llu)size);
    if (!judge(quire_pagefile_grow(f->file, size), wanted, 0, false))
        return;
    f->size = size;
    f->device.capacity = (size_t)size & ~(size_t)(QUIRE_PAGE_SIZE - 1);
}

/* Every page comes back from it, or it stays as it is. */
static void file_remove(struct model_pagefile *f)
{
    doing("page file %u: remove", (unsigned)(f - M.pagefiles));
    if (!judge(quire_pagefile_remove(f->file), QUIRE_OK, 2, false))
        return;
    if (f->device.waiting_count > 0)
        fail("a page file is gone, and %u of its transfers are not", f->device.waiting_count);
    f->file = NULL;
}

void paging_end(void)
{
    struct quire_pagefile_info info;

    while (page_transfer_end())
        ;
    for (unsigned i = 0; i < PAGEFILES_MAX; i++) {
        struct model_pagefile *f = &M.pagefiles[i];

        if (!f->file)
            continue;
        quire_pagefile_info(f->file, &info);
        if (info.slots != f->size >> QUIRE_PAGE_SHIFT || info.used != 0)
            fail("a page file of %llu pages has %llu slots, and %llu are used",
                 (llu)(f->size >> QUIRE_PAGE_SHIFT), (llu)info.slots, (llu)info.used);
        if (quire_pagefile_remove(f->file) != QUIRE_OK)
            fail("a page file without pages can not be removed");
        f->file = NULL;
    }
}

void paging_begin(void)
{
    if (M.max_slots > 0 && chance(90))
        file_add(&M.pagefiles[0]);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Some slices of a pass, that takes what is old or everything. */
static void pass_slices(void)
{
    uint64_t left;

    if (!qi_work_begin(M.world.q))
        return;
    paging()->pass.old = (uint8_t)below(paging()->policy->old + 1u);
    for (uint32_t n = 1 + below(6); n > 0; n--)
        (void)qi_pass_slice(M.world.q, chance(90), &left);
    qi_work_end(M.world.q);
}

bool paging_working(void) { return paging()->working; }

static void steal(uint32_t most)
{
    struct qi_cpu *cpu = qi_enter(M.world.q);

    (void)qi_paged_steal(cpu, most);
    qi_leave(cpu);
}

static void balance(uint32_t steps)
{
    while (steps-- > 0 && quire_balance(M.world.q))
        ;
}

void paging_background(void)
{
    switch (below(8)) {
    case 0:
    case 1:
    case 2: pass_slices(); break;
    case 3: balance(1 + below(8)); break;
    case 4:
    case 5: (void)qi_page_out(M.world.q); break;
    case 6: (void)page_transfer_end(); break;
    default: steal(chance(50) ? 1 + below(4) : UINT32_MAX);
    }
    sections_settle();
}

static void advise_pages(struct model_space *m)
{
    enum quire_page_advice advice = (enum quire_page_advice)below(QUIRE_PAGE_ADVICE_COUNT + 1);
    uint64_t length = some_length();
    vaddr_t at = some_start(some_mapped_address(m->oracle, 7), length);
    enum quire_status wanted = at < M.low || at + length > M.high  ? QUIRE_OUT_OF_RANGE
                               : advice == QUIRE_PAGE_ADVICE_COUNT ? QUIRE_BAD_FLAGS
                                                                   : QUIRE_OK;

    doing("advise_pages(%u, %#llx, %#llx, %u)", m->owner, (llu)at, (llu)length, advice);
    judge(quire_advise_pages(m->space, at, length, advice), wanted, 0, false);
}

static void working_set(struct model_space *m)
{
    uint64_t least = chance(60) ? 0 : below(30);
    uint64_t most = chance(40) ? UINT64_MAX : 10 + below(40);

    doing("working_set(%u, %llu, %llu)", m->owner, (llu)least, (llu)most);
    if (judge(quire_space_working_set(m->space, least, most),
              most < least || most < 16 ? QUIRE_OUT_OF_RANGE : QUIRE_OK, 0, false) &&
        least > 0)
        M.kept_in = true;
}

static void on_file(void)
{
    struct model_pagefile *f = &M.pagefiles[below(PAGEFILES_MAX)];

    if (!f->file)
        file_add(f);
    else if (chance(60))
        file_grow(f);
    else
        file_remove(f);
}

void op_paging(struct model_space *m)
{
    doing("paging(%u)", m->owner);
    switch (below(16)) {
    case 0:
    case 1:
    case 2: advise_pages(m); break;
    case 3: op_lock(m); break;
    case 4: op_unlock(m); break;
    case 5: working_set(m); break;
    case 6:
        if (chance(40))
            on_file();
        break;
    case 7: quire_age(M.world.q); break;
    default: paging_background();
    }
}
