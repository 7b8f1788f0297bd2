/* SPDX-License-Identifier: MIT */
/*
 * Accesses: by a CPU, by the kernel's copies, by a debugger, and ahead of time.
 */
#include "state.h"

#include <string.h>

/* ---- what an access comes to ----------------------------------------------------------------- */

/* A debugger's read changes nothing: no stack, no counter. */
enum { PEEK = QUIRE_FORCE | QUIRE_READ };

/* Let the stack above `page`, of which there is one, grow down to it; false: it may not. */
static bool stack_grow(struct oracle_map *map, vaddr_t page)
{
    const struct oracle_region *stack = map_above(map, page), *under = NULL;
    struct oracle_region r;

    for (unsigned i = 0; i < map->count && map->region[i].end <= page; i++)
        under = &map->region[i];
    if (!under && page < M.low)
        return false;
    if (under && (page - under->end < M.stack_gap ||
                  stack->start - page - QUIRE_PAGE_SIZE > page - under->end))
        return false;
    r = *stack;
    r.start = page;
    r.end = stack->start;
    map_put(map, r);
    return true;
}

/* A page where nothing is mapped: a stack may come to it, if that allows the access. */
static enum quire_status hole_status(struct reach *r, const struct model_space *m, vaddr_t page,
                                     uint32_t access)
{
    const struct oracle_region *above = map_above(&r->map, page);
    uint64_t was = map_charge(&r->map);

    if (!above || !(above->flags & QUIRE_REGION_GROWS_DOWN) ||
        (above->flags & QUIRE_REGION_RESERVED) || !(above->prot & access || access & QUIRE_FORCE) ||
        (access & PEEK) == PEEK)
        return QUIRE_NOT_MAPPED;
    if (access & QUIRE_NO_WAIT)
        return QUIRE_WOULD_WAIT;
    if (!stack_grow(&r->map, page))
        return QUIRE_NOT_MAPPED;
    r->growth[r->grown++] = page;
    return map_charge(&r->map) > was && map_charge(&r->map) > m->commit_limit ? QUIRE_NO_COMMIT
                                                                              : QUIRE_OK;
}

/* A page of a view, which is allowed: is there one? */
static enum quire_status view_status(const struct model_space *m, const struct oracle_region *r,
                                     uint64_t number)
{
    const struct model_section *s = section_shown(r);

    if (oracle_owns(m->oracle, number))
        return QUIRE_OK;
    if (number + r->shift >= section_end(r->section))
        return QUIRE_BEYOND_END;
    M.reads |= section_paged(s) && !section_has(s, number + r->shift);
    return QUIRE_OK;
}

enum quire_status reach_page(struct reach *r, const struct model_space *m, vaddr_t page,
                             uint32_t access)
{
    if (!map_find(&r->map, page)) {
        enum quire_status status = hole_status(r, m, page, access);

        if (status != QUIRE_OK)
            return status;
    }
    const struct oracle_region *region = map_find(&r->map, page);
    if (region->flags & QUIRE_REGION_RESERVED)
        return QUIRE_NOT_COMMITTED;
    bool obeys = !(access & QUIRE_FORCE) ||
                 ((access & QUIRE_WRITE) && (region->flags & QUIRE_REGION_SHARED));
    if (obeys && !(region->prot & access))
        return QUIRE_PROTECTED;
    if (ranges_have(&m->oracle->guards, page))
        return QUIRE_GUARDED;
    return region->section ? view_status(m, region, page >> QUIRE_PAGE_SHIFT) : QUIRE_OK;
}

void reach(struct reach *r, const struct model_space *m, vaddr_t address, uint64_t length,
           uint32_t access)
{
    r->bytes = 0;
    r->status = QUIRE_OK;
    r->grown = 0;
    map_copy(&r->map, &m->oracle->map);
    while (r->bytes < length && r->status == QUIRE_OK) {
        vaddr_t at = address + r->bytes;
        uint64_t n = QUIRE_PAGE_SIZE - (at & (QUIRE_PAGE_SIZE - 1));

        r->status = reach_page(r, m, at & ~(vaddr_t)(QUIRE_PAGE_SIZE - 1), access);
        if (r->status == QUIRE_OK)
            r->bytes += n < length - r->bytes ? n : length - r->bytes;
    }
}

uint64_t reach_frames(const struct reach *r, const struct model_space *m)
{
    uint64_t a_page = M.max_sections > 0 ? FAULT_FRAMES + VIEW_FRAMES : FAULT_FRAMES;

    return a_page + (r->grown ? change_frames(m->oracle) : 0);
}

void reach_settle(const struct reach *r, struct model_space *m)
{
    for (unsigned i = 0; i < r->grown; i++) {
        vaddr_t page = r->growth[i];
        struct quire_region is;

        if (quire_query(m->space, page, &is) != QUIRE_OK || is.start > page)
            continue; /* it did not come to that */
        if (!stack_grow(&m->oracle->map, page))
            fail("a stack has grown to %#llx", (llu)page);
        pair_touch(m, page, is.end - page);
    }
}

void stamp(const struct model_space *m, unsigned char *bytes, uint64_t length)
{
    uint64_t word = M.op << 8 | (m->owner & 255);

    for (uint64_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(word >> (i % 5 * 8));
}

/* In the last page of a section, and not its own: a debugger need not see what views wrote there.
 */
static bool beyond_end(const struct model_space *m, vaddr_t at)
{
    const struct oracle_region *r = map_find(&m->oracle->map, at);

    return r && r->section && at + (r->shift << QUIRE_PAGE_SHIFT) >= r->section->size;
}

/* Of a section, which the operation around this one may be half way through writing. */
static bool in_progress(const struct model_space *m, vaddr_t at)
{
    const struct oracle_region *r = M.busy_outside ? map_find(&m->oracle->map, at) : NULL;

    return r && r->section;
}

static void compare_read(const struct model_space *m, vaddr_t address, const unsigned char *got,
                         uint64_t length)
{
    for (uint64_t i = 0; i < length; i++) {
        vaddr_t at = address + i;
        unsigned char wanted =
            oracle_bytes(m->oracle, at >> QUIRE_PAGE_SHIFT)[at & (QUIRE_PAGE_SIZE - 1)];

        if (got[i] != wanted && !(got[i] == 0 && beyond_end(m, at)) && !in_progress(m, at))
            fail("byte %#llx reads %#x, not %#x", (llu)at, got[i], wanted);
    }
    M.result->bytes += length;
}

/* A refused access is counted once, by its reason; operations within others count theirs. */
static void compare_counters(const struct quire_stats *before, enum quire_status got)
{
    struct quire_stats now;
    bool other = got != QUIRE_OK && got != QUIRE_NOT_MAPPED && got != QUIRE_PROTECTED &&
                 got != QUIRE_NO_MEMORY;

    if (M.interferes)
        return;
    quire_stats(M.world.q, &now);
    if (now.unmapped - before->unmapped != (got == QUIRE_NOT_MAPPED) ||
        now.forbidden - before->forbidden != (got == QUIRE_PROTECTED) ||
        now.no_memory - before->no_memory != (got == QUIRE_NO_MEMORY) ||
        now.refused - before->refused != other)
        fail("%s, but the counters have risen by %llu not mapped, %llu protected, %llu without "
             "memory, %llu others",
             quire_status_name(got), (llu)(now.unmapped - before->unmapped),
             (llu)(now.forbidden - before->forbidden), (llu)(now.no_memory - before->no_memory),
             (llu)(now.refused - before->refused));
}

bool cut_short(enum quire_status got)
{
    return got == QUIRE_NO_MEMORY || got == QUIRE_WOULD_WAIT || got == QUIRE_NO_COMMIT ||
           got == QUIRE_COPY_LIMIT || got == QUIRE_IO_ERROR;
}

/* ---- a CPU ----------------------------------------------------------------------------------- */

/* One instruction of a CPU. */
void op_access(uint32_t access)
{
    static const char *const names[] = {"", "load", "store", "", "fetch"};
    struct soft_cpu *cpu = M.world.cpu[below(M.world.machine->cpu_count)];

    test_cpu = cpu->index;
    if (!cpu->space && chance(90))
        soft_cpu_run(cpu, M.world.q, some_space()->space);
    struct model_space *m = M.busy = model_of(cpu->space);
    if (m)
        trim(m);
    unsigned char bytes[SOFT_ACCESS_MAX];
    uint32_t size = access == QUIRE_EXEC ? 1 : 1 + below(SOFT_ACCESS_MAX);
    vaddr_t address = m ? some_mapped_address(m->oracle, access) : 0;
    struct reach r = {.status = QUIRE_NOT_MAPPED};
    struct quire_stats before;
    enum quire_status got;

    address += chance(20) ? QUIRE_PAGE_SIZE - 1 - below(16) : below(QUIRE_PAGE_SIZE);
    uint32_t rest = (uint32_t)(QUIRE_PAGE_SIZE - (address & (QUIRE_PAGE_SIZE - 1)));
    if (M.scarce && size > rest) /* two pages that are never there together have no end */
        size = rest;
    doing("%s(%u on cpu %u, %#llx, %u)", names[access], m ? m->owner : 0, cpu->index, (llu)address,
          size);
    if (m)
        reach(&r, m, address, size, access);
    stamp(m ? m : &M.spaces[0], bytes, size);
    uint64_t faults = cpu->faults, purges = M.purges;
    quire_stats(M.world.q, &before);
    got = access == QUIRE_WRITE  ? soft_store(cpu, address, bytes, size)
          : access == QUIRE_READ ? soft_load(cpu, address, bytes, size)
                                 : soft_fetch(cpu, address, bytes);
    struct quire_stats after;
    quire_stats(M.world.q, &after);
    uint64_t left = after.trimmed + after.purged - before.trimmed - before.purged;
    /* While one page comes, the other one can go. */
    if (cpu->faults - faults > 2 + 2 * (M.purges - purges + left))
        fail("%llu faults", (llu)(cpu->faults - faults));
    if (cpu->space)
        compare_counters(&before, got);
    if (!m) {
        judge(got, QUIRE_NOT_MAPPED, 0, false);
        return;
    }
    if (cut_short(got) && got != r.status && r.bytes > 0)
        r.status = QUIRE_OK; /* it did not come to the second page */
    bool done = judge_copies(m, got, r.status, reach_frames(&r, m));
    reach_settle(&r, m);
    if (access == QUIRE_WRITE) { /* also if refused: a first page may have its own frame now */
        pair_touch(m, address, size);
        views_written(m, address, size);
    }
    if (!done)
        return;
    if (access == QUIRE_WRITE)
        oracle_write(m->oracle, address, bytes, size);
    else
        compare_read(m, address, bytes, size);
    if (MICRO)
        compare_touched(address, size);
}

/* ---- copies ---------------------------------------------------------------------------------- */

/*
 * Page after page: what went through a shared view is in the copy that a private view of the same
 * page took later in this call.  All but the first `done` bytes may have got a copy at most.
 */
static void bulk_written(struct model_space *m, vaddr_t address, const unsigned char *bytes,
                         uint64_t length, uint64_t done)
{
    for (uint64_t at = 0, n; at < length; at += n) {
        n = QUIRE_PAGE_SIZE - ((address + at) & (QUIRE_PAGE_SIZE - 1));
        if (n > length - at)
            n = length - at;
        views_written(m, address + at, n);
        if (at < done)
            oracle_write(m->oracle, address + at, bytes + at, n < done - at ? n : done - at);
    }
}

/* A copy by the kernel's path, or a debugger's. */
static void bulk(struct model_space *m, uint32_t access)
{
    uint32_t kind = access & (QUIRE_READ | QUIRE_WRITE);
    unsigned char bytes[BULK_MAX];
    vaddr_t address = some_mapped_address(m->oracle, kind) + below(QUIRE_PAGE_SIZE);
    uint32_t length = chance(30) ? below(BULK_MAX + 1) : below(2 * QUIRE_PAGE_SIZE);
    size_t done = 77;
    struct quire_stats before;
    struct reach r;
    enum quire_status got;

    reach(&r, m, address, length, access);
    doing("access(%u, %#llx, %u, access %u)", m->owner, (llu)address, length, access);
    stamp(m, bytes, length);
    quire_stats(M.world.q, &before);
    M.no_wait = (access & QUIRE_NO_WAIT) != 0;
    if (access == QUIRE_WRITE)
        got = quire_write(m->space, address, bytes, length, &done);
    else if (access == QUIRE_READ)
        got = quire_read(m->space, address, bytes, length, &done);
    else
        got = quire_access(m->space, address, bytes, length, access, &done);
    if ((access & PEEK) != PEEK)
        compare_counters(&before, got);
    if (cut_short(got) && done < r.bytes)
        r.status = QUIRE_OK; /* it came to that before the end */
    else if (done != r.bytes)
        fail("%s: %llu bytes done, not %llu", quire_status_name(got), (llu)done, (llu)r.bytes);
    judge_copies(m, got, r.status, reach_frames(&r, m));
    M.no_wait = false;
    reach_settle(&r, m);
    if (kind == QUIRE_WRITE) {
        pair_touch(m, address, length);
        bulk_written(m, address, bytes, length, done);
    } else {
        compare_read(m, address, bytes, done);
    }
    if (MICRO && length)
        compare_touched(address, length);
}

void op_bulk(struct model_space *m, uint32_t access)
{
    bulk(m, access | (chance(20) ? QUIRE_NO_WAIT : 0));
}

void op_force(struct model_space *m)
{
    bulk(m,
         QUIRE_FORCE | (chance(50) ? QUIRE_READ : QUIRE_WRITE) | (chance(30) ? QUIRE_NO_WAIT : 0));
}

/* ---- faults ---------------------------------------------------------------------------------- */

static uint32_t some_kind(void)
{
    static const uint8_t kinds[] = {QUIRE_READ, QUIRE_WRITE, QUIRE_WRITE, QUIRE_EXEC};

    return kinds[below(4)];
}

/* A fault of one page, or of many ahead of time. */
static void fault(struct model_space *m, bool many)
{
    uint32_t kind = some_kind(), access = kind | (chance(30) ? QUIRE_NO_WAIT : 0);
    uint64_t length = many ? (uint64_t)(1 + below(6)) << QUIRE_PAGE_SHIFT : 1, done = 77;
    vaddr_t at = some_mapped_address(m->oracle, kind) + (many ? 0 : below(QUIRE_PAGE_SIZE));
    struct reach r;
    enum quire_status got;

    reach(&r, m, at, length, access);
    doing("%s(%u, %#llx, %#llx, access %u)", many ? "populate" : "fault", m->owner, (llu)at,
          (llu)length, access);
    M.no_wait = (access & QUIRE_NO_WAIT) != 0;
    if (many && (at < M.low || at + length > M.high)) {
        r.bytes = 0;
        r.status = QUIRE_OUT_OF_RANGE;
        r.grown = 0;
    }
    if (many) {
        got = quire_populate(m->space, at, length, access, &done);
        if (cut_short(got) && done < r.bytes)
            r.status = QUIRE_OK;
        else if (done != r.bytes)
            fail("%s: %llu bytes done, not %llu", quire_status_name(got), (llu)done, (llu)r.bytes);
    } else {
        got = quire_fault(m->space, at, access);
    }
    judge_copies(m, got, r.status, reach_frames(&r, m));
    M.no_wait = false;
    reach_settle(&r, m);
    if (kind == QUIRE_WRITE) {
        pair_touch(m, at, length);
        views_written(m, at, length);
    }
    if (MICRO)
        compare_touched(at, length);
}

void op_fault(struct model_space *m) { fault(m, false); }

void op_populate(struct model_space *m) { fault(m, true); }
