/* SPDX-License-Identifier: MIT */
/*
 * Random operations against the model.
 *
 * A world has some spaces, each beside an oracle (oracle.h: a list of regions, and bytes), and
 * some virtual CPUs, each running some space or none with a TLB that forgets nothing on its own.
 * Each step is one operation: map (by hint, fixed, replacing), unmap, protect, loads, stores and
 * fetches of 1 to 16 bytes at any alignment, quire_read and quire_write of up to some pages, fork
 * (of forks of forks), destroy, create, switching CPUs, taking and giving frames, zeroing ahead,
 * and calls with bad arguments.  The status has to be what the oracle says, and so have the bytes.
 *
 * Every byte that is stored tells who wrote it and when: a store writes its space's number and the
 * number of the operation, over and over, so that a byte in the wrong place names its origin.
 *
 * Memory.  Worlds have from few frames to many.  QUIRE_NO_MEMORY is accepted where a failure was
 * injected, or where fewer frames are free than the operation can need; otherwise it must
 * succeed.  After a refusal the oracle is as it was, so the comparison shows that the space is.
 * Sometimes the host, asked for frames, destroys another space or gives frames back, and the
 * operation starts again.  In half of the worlds another operation is done on another space while
 * one waits for frames or drops what was shared, slice by slice.
 *
 * After each operation in the micro geometry, and every 64 in the real one: quire_check,
 * soft_check, the regions of the space, and the pages that the operation touched, in all spaces.
 * Every 16 operations (real: 64) all bytes of all spaces.  At the end all spaces go, and every
 * frame must be free again.
 */
#define _GNU_SOURCE
#include "model.h"

#include "oracle.h"
#include "space.h"
#include "world.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MICRO (QUIRE_ADDRESS_BITS < 32)
/* Pages of a space, where all of them can be looked at. */
#define PAGES_ALL (MICRO ? UINT64_C(1) << (QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT) : 0)

enum {
    SPACES_MAX = 8,
    TAKEN_MAX = 32,
    BULK_MAX = 5 * QUIRE_PAGE_SIZE,
    AUDIT_EVERY = MICRO ? 1 : 64,
    SWEEP_EVERY = MICRO ? 16 : 64,
    REGIONS_KEPT = ORACLE_REGIONS_MAX - 8,
    PAGES_KEPT = ORACLE_PAGES_MAX - 8,
};

struct model_space {
    struct quire_space *space; /* null: free */
    uint32_t owner;            /* number of the space since the world began */
    struct oracle *oracle;
};

static struct model {
    struct model_result *result;
    struct test_world world;
    bool trace;
    uint64_t random, seed, op;
    struct model_space spaces[SPACES_MAX];
    unsigned live, max_spaces;
    uint32_t owners;
    vaddr_t low, high;
    uint32_t frames_at_start, reserve;
    pfn_t taken[TAKEN_MAX];
    unsigned taken_count;
    /* The spaces that an operation, and one made from within it, are in: not to be destroyed. */
    struct model_space *busy, *busy_outside;
    bool host_helps, interferes;
    uint64_t free_when_asked; /* frames that were free when the host was asked last */
    bool injecting;
    char doing[160];
    jmp_buf out;
} M;

/* ---- failing and choosing -------------------------------------------------------------------- */

static _Noreturn void __attribute__((format(printf, 1, 2))) fail(const char *format, ...)
{
    va_list args;
    int n = snprintf(M.result->why, sizeof M.result->why,
                     "operation %llu, %s: ", (unsigned long long)M.op, M.doing);

    va_start(args, format);
    vsnprintf(M.result->why + n, sizeof M.result->why - (size_t)n, format, args);
    va_end(args);
    M.result->failed = true;
    longjmp(M.out, 1);
}

static void __attribute__((format(printf, 1, 2))) doing(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(M.doing, sizeof M.doing, format, args);
    va_end(args);
    if (M.trace)
        printf("  %llu%s %s\n", (unsigned long long)M.op, M.busy_outside ? " within:" : "",
               M.doing);
}

static uint32_t below(uint32_t n) { return (uint32_t)((test_random(&M.random) >> 32) * n >> 32); }

static bool chance(uint32_t percent) { return below(100) < percent; }

/*
 * Addresses of interest.  Micro: every page.  Real: 16 pages around each of a leaf's, a middle
 * table's and an upper table's boundary, and the lowest and highest that can be mapped.
 */
static vaddr_t some_address(void)
{
    if (MICRO)
        return (vaddr_t)below((uint32_t)PAGES_ALL) << QUIRE_PAGE_SHIFT;
    const unsigned shifts[] = {QUIRE_PAGE_SHIFT + QUIRE_TABLE_SHIFT,
                               QUIRE_PAGE_SHIFT + 2 * QUIRE_TABLE_SHIFT,
                               QUIRE_PAGE_SHIFT + 3 * QUIRE_TABLE_SHIFT};
    vaddr_t page = (vaddr_t)below(16) << QUIRE_PAGE_SHIFT;
    uint32_t n = below(5);

    if (n < 3)
        return (UINT64_C(1) << shifts[n]) + page - ((vaddr_t)8 << QUIRE_PAGE_SHIFT);
    return n == 3 ? M.low + page : M.high - (((vaddr_t)16 << QUIRE_PAGE_SHIFT) - page);
}

/* An address that is mapped, most of the time, and often so that `access` is allowed. */
static vaddr_t some_mapped_address(const struct oracle *o, uint32_t access)
{
    if (!o->region_count || chance(5))
        return some_address();
    const struct oracle_region *r = &o->region[below(o->region_count)];
    for (unsigned i = 0; i < 4 && !(r->prot & access); i++)
        r = &o->region[below(o->region_count)];
    uint64_t pages = (r->end - r->start) >> QUIRE_PAGE_SHIFT;
    uint32_t near = pages < 6 ? (uint32_t)pages : 6;
    vaddr_t at = chance(50) ? r->start + ((vaddr_t)below(near) << QUIRE_PAGE_SHIFT)
                            : r->end - ((vaddr_t)(1 + below(near)) << QUIRE_PAGE_SHIFT);

    if (o->page_count && chance(60))
        at = o->page[below(o->page_count)].number << QUIRE_PAGE_SHIFT;
    return at;
}

/* A length that is often a few pages, sometimes a whole table or more. */
static uint64_t some_length(void)
{
    uint64_t pages = 1 + below(4);

    if (chance(15))
        pages = 1u << QUIRE_TABLE_SHIFT;
    else if (chance(5))
        pages = UINT64_C(1) << (QUIRE_TABLE_SHIFT * (1 + below(QUIRE_LEVELS)));
    else if (chance(15))
        pages = 1 + below(MICRO ? 32 : 1200);
    return pages << QUIRE_PAGE_SHIFT;
}

/* Often where a table that size begins, so that the range covers it. */
static vaddr_t some_start(vaddr_t at, uint64_t length)
{
    vaddr_t start = at & ~(length - 1);

    return (length & (length - 1)) == 0 && start >= M.low && chance(60) ? start : at;
}

static uint32_t some_prot(void)
{
    static const uint8_t prots[] = {3, 3, 3, 3, 3, 3, 3, 1, 1, 5, 7, 0, 2, 4};

    return prots[below(sizeof prots)];
}

static uint32_t whole_prot(uint32_t prot) { return prot & 6 ? prot | QUIRE_READ : prot; }

static struct model_space *some_space(void)
{
    uint32_t n = below(M.live);

    for (unsigned i = 0;; i++) {
        if (M.spaces[i].space && n-- == 0)
            return &M.spaces[i];
    }
}

static struct model_space *free_place(void)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (!M.spaces[i].space)
            return &M.spaces[i];
    }
    return NULL;
}

static struct model_space *model_of(const struct quire_space *space)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (space && M.spaces[i].space == space)
            return &M.spaces[i];
    }
    return NULL;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static uint64_t frames_free(void)
{
    struct quire_stats stats;

    quire_stats(M.world.q, &stats);
    return stats.frames_free;
}

/* Every frame that one fault can take: a copy of each table, a side frame, and the page. */
enum { FAULT_FRAMES = QUIRE_LEVELS + 2 };

/*
 * What a change of regions can take: the nodes of the new tree (all of them at worst, and some on
 * the way), the root, and at two edges a table a level and a side frame.
 */
static uint64_t change_frames(const struct oracle *o)
{
    uint64_t nodes = o->region_count + 10;
    uint64_t a_frame = QUIRE_PAGE_SIZE / 48;

    return (nodes + a_frame - 1) / a_frame + 1 + 2u * QUIRE_LEVELS;
}

/* Compare a status; true: the operation was done.  `need`: frames that justify QUIRE_NO_MEMORY. */
static bool judge(enum quire_status got, enum quire_status wanted, uint64_t need, bool urgent)
{
    bool injected = test_failure.failed > 0;

    if (got == wanted) {
        M.result->ok += got == QUIRE_OK;
        M.result->refused += got != QUIRE_OK;
        if (got == QUIRE_OK && need && frames_free() >= need + (urgent ? 0 : M.reserve))
            M.result->must_succeed++;
        return got == QUIRE_OK;
    }
    if (got == QUIRE_NO_MEMORY && wanted == QUIRE_OK && need > 0) {
        M.result->no_memory++;
        M.result->injected += injected;
        uint64_t free = frames_free();

        free = free < M.free_when_asked ? free : M.free_when_asked;
        if (injected || free < need + (urgent ? 0 : M.reserve))
            return false;
        fail("QUIRE_NO_MEMORY, with %llu frames free and a need of at most %llu",
             (unsigned long long)free, (unsigned long long)need);
    }
    if (got == QUIRE_TOO_MANY_SPACES && wanted == QUIRE_OK && injected) {
        M.result->injected++;
        return false;
    }
    fail("%s, not %s", quire_status_name(got), quire_status_name(wanted));
}

static void space_gone(struct model_space *m)
{
    struct quire_space *space = m->space;

    m->space = NULL; /* first: others may run before the end of it */
    M.live--;
    test_end(&M.world, space);
}

static void operation_within(void);

/* The host was asked for frames: it may give some back, destroy a space, or say no. */
static bool need_frames(struct test_world *world, uint32_t frames)
{
    M.free_when_asked = frames_free();
    if (test_failure.failed == 0 && M.free_when_asked >= (uint64_t)frames + M.reserve)
        fail("the host is asked for %u frames, and %llu are free", frames,
             (unsigned long long)M.free_when_asked);
    operation_within();
    if (!M.host_helps || chance(40))
        return false;
    if (M.taken_count > 0) {
        quire_frame_give(world->q, M.taken[--M.taken_count]);
        return true;
    }
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        struct model_space *m = &M.spaces[i];

        if (m->space && m != M.busy && m != M.busy_outside && chance(50)) {
            space_gone(m);
            return true;
        }
    }
    return false;
}

/* Nothing is held between two slices: others may run. */
static void yield(struct test_world *world)
{
    (void)world;
    operation_within();
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void compare_page(const struct model_space *m, uint64_t number)
{
    static const unsigned char zeros[QUIRE_PAGE_SIZE];
    const unsigned char *wanted = oracle_bytes(m->oracle, number), *got = zeros;
    vaddr_t address = number << QUIRE_PAGE_SHIFT;
    const struct oracle_region *r = oracle_find(m->oracle, address);
    uint32_t prot = r ? r->prot : 0;
    struct quire_page page;

    quire_page(m->space, address, &page);
    if (page.kind != QUIRE_PAGE_EMPTY)
        got =
            M.world.frames + ((size_t)(page.pfn - M.world.config.first_frame) << QUIRE_PAGE_SHIFT);
    if (!r && page.kind != QUIRE_PAGE_EMPTY)
        fail("space %u has a page at %#llx, where nothing is mapped", m->owner,
             (unsigned long long)address);
    if ((page.readable && !(prot & QUIRE_READ)) || (page.writable && !(prot & QUIRE_WRITE)) ||
        (page.executable && !(prot & QUIRE_EXEC)))
        fail("space %u, page %#llx: the tables allow more than the region", m->owner,
             (unsigned long long)address);
    M.result->bytes += QUIRE_PAGE_SIZE;
    if (memcmp(got, wanted, QUIRE_PAGE_SIZE) == 0)
        return;
    for (unsigned i = 0;; i++) {
        if (got[i] != wanted[i])
            fail("space %u, byte %#llx: %#x, not %#x (a store begins with its space's number)",
                 m->owner, (unsigned long long)address + i, got[i], wanted[i]);
    }
}

static void compare_regions(const struct model_space *m)
{
    vaddr_t at = 0;

    for (unsigned i = 0;; i++) {
        struct quire_region r;
        enum quire_status status = quire_query(m->space, at, &r);

        if (status == QUIRE_NOT_MAPPED && i == m->oracle->region_count)
            return;
        if (status != QUIRE_OK || i == m->oracle->region_count ||
            r.start != m->oracle->region[i].start || r.end != m->oracle->region[i].end ||
            r.prot != m->oracle->region[i].prot)
            fail("space %u: region %u is not the oracle's", m->owner, i);
        at = r.end;
    }
}

/* What a walk of the tree finds is what looking at each page finds. */
static void compare_usage(const struct model_space *m)
{
    uint64_t count[QUIRE_PAGE_KIND_COUNT] = {0};
    struct quire_usage usage;

    for (uint64_t i = 0; i != PAGES_ALL; i++) {
        struct quire_page page;

        quire_page(m->space, i << QUIRE_PAGE_SHIFT, &page);
        count[page.kind]++;
    }
    quire_space_usage(m->space, 0, M.high, &usage);
    if (usage.pages_private != count[QUIRE_PAGE_PRIVATE] ||
        usage.pages_zero != count[QUIRE_PAGE_ZERO] ||
        usage.pages_shared != count[QUIRE_PAGE_SHARED] + count[QUIRE_PAGE_BORROWED])
        fail("space %u: its usage is not the sum of its pages", m->owner);
}

static void compare_space(const struct model_space *m)
{
    compare_regions(m);
    for (unsigned i = 0; i < m->oracle->page_count; i++)
        compare_page(m, m->oracle->page[i].number);
    for (uint64_t i = 0; i != PAGES_ALL; i++)
        compare_page(m, i);
    if (MICRO)
        compare_usage(m);
}

static void compare_all(void)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (M.spaces[i].space)
            compare_space(&M.spaces[i]);
    }
}

static void audit(void)
{
    M.result->audits++;
    if (test_world_findings(&M.world) || M.world.machine->violations)
        fail("audit: %s", M.world.report);
}

/* The pages of [low, low + length), few of them, in all spaces. */
static void compare_touched(vaddr_t low, uint64_t length)
{
    if (M.busy_outside) /* whose oracle waits for its operation to end */
        return;
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        uint64_t number = low >> QUIRE_PAGE_SHIFT;
        uint64_t last = (low + length - 1) >> QUIRE_PAGE_SHIFT;

        for (unsigned n = 0; M.spaces[i].space && number <= last && n < 8; n++, number++)
            compare_page(&M.spaces[i], number);
    }
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Spaces that have grown too rich for the oracle lose a part. */
static void trim(struct model_space *m)
{
    if (m->oracle->region_count < REGIONS_KEPT && m->oracle->page_count < PAGES_KEPT)
        return;
    doing("unmap(%u, all)", m->owner);
    if (judge(quire_unmap(m->space, M.low, M.high - M.low), QUIRE_OK, change_frames(m->oracle),
              true))
        oracle_unmap(m->oracle, M.low, M.high);
}

static enum quire_status range_status(vaddr_t address, uint64_t length)
{
    return address < M.low || address + length > M.high ? QUIRE_OUT_OF_RANGE : QUIRE_OK;
}

static void op_map(struct model_space *m)
{
    static const uint32_t kinds[] = {0, 0, QUIRE_MAP_FIXED, QUIRE_MAP_FIXED,
                                     QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE};
    uint32_t flags = kinds[below(5)], prot = some_prot();
    vaddr_t hint = chance(75) ? some_address() : some_mapped_address(m->oracle, 7);
    vaddr_t at = hint, place = hint;
    uint64_t length = some_length();
    hint = at = place = some_start(hint, length);
    enum quire_status wanted = range_status(hint, length), got;
    bool taken = oracle_any(m->oracle, hint, hint + length);

    if (flags & QUIRE_MAP_FIXED) {
        if (wanted == QUIRE_OK && taken && !(flags & QUIRE_MAP_REPLACE))
            wanted = QUIRE_OVERLAPS;
    } else if (length > M.high - M.low) {
        wanted = QUIRE_OUT_OF_RANGE;
    } else if (wanted != QUIRE_OK || taken) {
        wanted =
            oracle_gap(m->oracle, M.low, M.high, length, &place) ? QUIRE_OK : QUIRE_NO_ADDRESSES;
    }
    doing("map(%u, %#llx, %#llx, prot %u, flags %u)", m->owner, (unsigned long long)hint,
          (unsigned long long)length, prot, flags);
    got = quire_map(m->space, &at, length, prot, flags);
    if (!judge(got, wanted, change_frames(m->oracle), false)) {
        if (at != hint)
            fail("the address has changed although it failed");
        return;
    }
    if (at != place)
        fail("mapped at %#llx, not %#llx", (unsigned long long)at, (unsigned long long)place);
    oracle_map(m->oracle, place, place + length, whole_prot(prot));
    compare_regions(m);
}

static void op_unmap(struct model_space *m)
{
    uint64_t length = some_length();
    vaddr_t at = some_start(some_mapped_address(m->oracle, 7), length);

    doing("unmap(%u, %#llx, %#llx)", m->owner, (unsigned long long)at, (unsigned long long)length);
    if (!judge(quire_unmap(m->space, at, length), range_status(at, length),
               change_frames(m->oracle), true))
        return;
    oracle_unmap(m->oracle, at, at + length);
    compare_regions(m);
    compare_touched(at, length);
}

static void op_protect(struct model_space *m)
{
    uint64_t length = some_length();
    vaddr_t at = some_start(some_mapped_address(m->oracle, 7), length);
    const struct oracle_region *r = oracle_find(m->oracle, at);
    uint32_t prot = some_prot();

    if (r && chance(60)) { /* within one region, or all of it */
        at = chance(50) ? r->start : at;
        length = chance(50) || r->end - at < length ? r->end - at : length;
    }
    enum quire_status wanted = range_status(at, length);
    if (wanted == QUIRE_OK && !oracle_whole(m->oracle, at, at + length))
        wanted = QUIRE_NOT_MAPPED;
    doing("protect(%u, %#llx, %#llx, prot %u)", m->owner, (unsigned long long)at,
          (unsigned long long)length, prot);
    if (!judge(quire_protect(m->space, at, length, prot), wanted, change_frames(m->oracle), false))
        return;
    oracle_protect(m->oracle, at, at + length, whole_prot(prot));
    compare_regions(m);
    compare_touched(at, length);
}

/* What an access of one page should come to. */
static enum quire_status page_status(const struct model_space *m, vaddr_t address, uint32_t access)
{
    const struct oracle_region *r = oracle_find(m->oracle, address);

    return !r ? QUIRE_NOT_MAPPED : r->prot & access ? QUIRE_OK : QUIRE_PROTECTED;
}

/* Bytes [address, address + length) that are accessible from the start, and the status of the next
 * one. */
static uint64_t accessible(const struct model_space *m, vaddr_t address, uint64_t length,
                           uint32_t access, enum quire_status *status)
{
    uint64_t done = 0;

    *status = QUIRE_OK;
    while (done < length && *status == QUIRE_OK) {
        vaddr_t at = address + done;
        uint64_t n = QUIRE_PAGE_SIZE - (at & (QUIRE_PAGE_SIZE - 1));

        *status = page_status(m, at, access);
        if (*status == QUIRE_OK)
            done += n < length - done ? n : length - done;
    }
    return done;
}

static void stamp(const struct model_space *m, unsigned char *bytes, uint64_t length)
{
    uint64_t word = M.op << 8 | (m->owner & 255);

    for (uint64_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(word >> (i % 5 * 8));
}

static void oracle_write(struct oracle *o, vaddr_t address, const unsigned char *from,
                         uint64_t length)
{
    for (uint64_t done = 0; done < length;) {
        vaddr_t at = address + done;
        uint32_t offset = (uint32_t)(at & (QUIRE_PAGE_SIZE - 1));
        uint64_t n =
            QUIRE_PAGE_SIZE - offset < length - done ? QUIRE_PAGE_SIZE - offset : length - done;

        memcpy(oracle_touch(o, at >> QUIRE_PAGE_SHIFT) + offset, from + done, n);
        done += n;
    }
}

static void compare_read(const struct model_space *m, vaddr_t address, const unsigned char *got,
                         uint64_t length)
{
    for (uint64_t i = 0; i < length; i++) {
        vaddr_t at = address + i;
        unsigned char wanted =
            oracle_bytes(m->oracle, at >> QUIRE_PAGE_SHIFT)[at & (QUIRE_PAGE_SIZE - 1)];

        if (got[i] != wanted)
            fail("byte %#llx reads %#x, not %#x", (unsigned long long)at, got[i], wanted);
    }
    M.result->bytes += length;
}

/* A refused access is counted once, by its reason; operations within others count theirs. */
static void compare_counters(const struct quire_stats *before, enum quire_status got)
{
    struct quire_stats now;

    quire_stats(M.world.q, &now);
    if (M.interferes)
        return;
    if (now.unmapped - before->unmapped != (got == QUIRE_NOT_MAPPED) ||
        now.forbidden - before->forbidden != (got == QUIRE_PROTECTED) ||
        now.no_memory - before->no_memory != (got == QUIRE_NO_MEMORY))
        fail("the counters of refusals do not say %s", quire_status_name(got));
}

/* One instruction of a CPU. */
static void op_access(uint32_t access)
{
    struct soft_cpu *cpu = M.world.cpu[below(M.world.machine->cpu_count)];

    if (!cpu->space && chance(90))
        soft_cpu_run(cpu, M.world.q, some_space()->space);
    struct model_space *m = model_of(cpu->space);
    unsigned char bytes[SOFT_ACCESS_MAX];
    uint32_t size = access == QUIRE_EXEC ? 1 : 1 + below(SOFT_ACCESS_MAX);
    enum quire_status wanted = QUIRE_NOT_MAPPED, got;
    static const char *const names[] = {"", "load", "store", "", "fetch"};
    vaddr_t address = m ? some_mapped_address(m->oracle, access) : 0;

    address += chance(20) ? QUIRE_PAGE_SIZE - 1 - below(16) : below(QUIRE_PAGE_SIZE);
    M.busy = m;
    doing("%s(%u on cpu %u, %#llx, %u)", names[access], m ? m->owner : 0, cpu->index,
          (unsigned long long)address, size);
    uint64_t can = m ? accessible(m, address, size, access, &wanted) : 0;
    stamp(m ? m : &M.spaces[0], bytes, size);
    uint64_t faults = M.world.machine->faults;
    struct quire_stats before;
    quire_stats(M.world.q, &before);
    got = access == QUIRE_WRITE  ? soft_store(cpu, address, bytes, size)
          : access == QUIRE_READ ? soft_load(cpu, address, bytes, size)
                                 : soft_fetch(cpu, address, bytes);
    if (M.world.machine->faults - faults > 2)
        fail("%llu faults", (unsigned long long)(M.world.machine->faults - faults));
    if (cpu->space)
        compare_counters(&before, got);
    if (got == QUIRE_NO_MEMORY && can > 0)
        wanted = QUIRE_OK; /* it did not come to the second page */
    if (!judge(got, wanted, FAULT_FRAMES, false))
        return;
    if (access == QUIRE_WRITE)
        oracle_write(m->oracle, address, bytes, size);
    else
        compare_read(m, address, bytes, size);
    if (MICRO)
        compare_touched(address, size);
}

/* A copy by the kernel's path. */
static void op_bulk(struct model_space *m, uint32_t access)
{
    unsigned char bytes[BULK_MAX];
    vaddr_t address = some_mapped_address(m->oracle, access) + below(QUIRE_PAGE_SIZE);
    uint32_t length = chance(30) ? below(BULK_MAX + 1) : below(2 * QUIRE_PAGE_SIZE);
    enum quire_status wanted, got;
    uint64_t can = accessible(m, address, length, access, &wanted);
    size_t done = 77;
    struct quire_stats before;

    doing("%s(%u, %#llx, %u)", access == QUIRE_WRITE ? "quire_write" : "quire_read", m->owner,
          (unsigned long long)address, length);
    stamp(m, bytes, length);
    quire_stats(M.world.q, &before);
    got = access == QUIRE_WRITE ? quire_write(m->space, address, bytes, length, &done)
                                : quire_read(m->space, address, bytes, length, &done);
    compare_counters(&before, got);
    if (got == QUIRE_NO_MEMORY && done < can)
        wanted = QUIRE_OK; /* it came to that before the end */
    else if (done != can)
        fail("%llu bytes done, not %llu", (unsigned long long)done, (unsigned long long)can);
    judge(got, wanted, FAULT_FRAMES, false);
    if (access == QUIRE_WRITE)
        oracle_write(m->oracle, address, bytes, done);
    else
        compare_read(m, address, bytes, done);
    if (MICRO && length)
        compare_touched(address, length);
}

static void op_fork(struct model_space *parent)
{
    struct quire_space *space = NULL;

    doing("fork(%u)", parent->owner);
    enum quire_status wanted = M.live == M.max_spaces ? QUIRE_TOO_MANY_SPACES : QUIRE_OK;
    if (!judge(quire_space_fork(parent->space, &space), wanted, 0, false))
        return;
    struct model_space *child = free_place();
    child->space = space;
    child->owner = ++M.owners;
    oracle_copy(child->oracle, parent->oracle);
    M.live++;
    M.result->forks++;
    if (!M.busy_outside && chance(50))
        soft_cpu_run(M.world.cpu[below(M.world.machine->cpu_count)], M.world.q, space);
}

static void op_create(void)
{
    struct quire_space *space = NULL;

    doing("create");
    enum quire_status got = quire_space_create(M.world.q, &space);
    enum quire_status wanted = M.live == M.max_spaces ? QUIRE_TOO_MANY_SPACES : QUIRE_OK;
    if (got == QUIRE_NO_MEMORY)
        wanted = QUIRE_OK; /* at the limit both are true */
    if (!judge(got, wanted, 1, false))
        return;
    struct model_space *m = free_place();
    m->space = space;
    m->owner = ++M.owners;
    m->oracle->region_count = m->oracle->page_count = 0;
    M.live++;
}

static void op_frames(void)
{
    pfn_t pfn;

    if (chance(30)) {
        uint32_t dirty = M.world.q->frames.by_state[QI_FRAME_FREE], count = below(8);
        uint32_t done = quire_zero_ahead(M.world.q, count);

        doing("zero_ahead(%u)", count);
        if (done != (count < dirty ? count : dirty))
            fail("%u done, of %u that were to be zeroed", done, dirty);
    } else if (M.taken_count < TAKEN_MAX && chance(50)) {
        doing("frame_take");
        if (judge(quire_frame_take(M.world.q, &pfn), QUIRE_OK, 1, false)) {
            memset(M.world.frames +
                       ((size_t)(pfn - M.world.config.first_frame) << QUIRE_PAGE_SHIFT),
                   0xa5, QUIRE_PAGE_SIZE);
            M.taken[M.taken_count++] = pfn;
        }
    } else if (M.taken_count > 0) {
        doing("frame_give");
        quire_frame_give(M.world.q, M.taken[--M.taken_count]);
    }
}

static void op_switch(void)
{
    struct soft_cpu *cpu = M.world.cpu[below(M.world.machine->cpu_count)];

    doing("switch cpu %u", cpu->index);
    soft_cpu_run(cpu, M.world.q, chance(10) ? NULL : some_space()->space);
}

/* Bad arguments: an error by name, and nothing changed (the oracle does not change either). */
static void op_bad(struct model_space *m)
{
    vaddr_t at = some_address(), odd = at + 1 + below(QUIRE_PAGE_SIZE - 1);
    uint64_t length = QUIRE_PAGE_SIZE;
    vaddr_t last = ~(vaddr_t)0 << QUIRE_PAGE_SHIFT;

    doing("bad arguments(%u)", m->owner);
    at = at < M.low ? M.low : at > M.high - length ? M.high - length : at;
    judge(quire_unmap(m->space, odd, length), QUIRE_MISALIGNED, 0, false);
    judge(quire_unmap(m->space, at, 0), QUIRE_ZERO_LENGTH, 0, false);
    judge(quire_unmap(m->space, last, 2 * length), QUIRE_WRAPS, 0, false);
    judge(quire_protect(m->space, at, length + 1, QUIRE_READ), QUIRE_MISALIGNED, 0, false);
    judge(quire_protect(m->space, at, length, 8), QUIRE_BAD_FLAGS, 0, false);
    judge(quire_protect(m->space, M.high, length, QUIRE_READ), QUIRE_OUT_OF_RANGE, 0, false);
    judge(quire_map(m->space, &at, length, 0x10, QUIRE_MAP_FIXED), QUIRE_BAD_FLAGS, 0, false);
    judge(quire_map(m->space, &at, length, 1, QUIRE_MAP_REPLACE), QUIRE_BAD_FLAGS, 0, false);
    judge(quire_map(m->space, &at, length, 1, 0x80), QUIRE_BAD_FLAGS, 0, false);
    judge(quire_map(m->space, &odd, length, 1, QUIRE_MAP_FIXED), QUIRE_MISALIGNED, 0, false);
    judge(quire_map(m->space, &last, 2 * length, 1, QUIRE_MAP_FIXED), QUIRE_WRAPS, 0, false);
    judge(quire_fault(m->space, at, QUIRE_READ | QUIRE_WRITE), QUIRE_BAD_FLAGS, 0, false);
    judge(quire_fault(m->space, M.high, QUIRE_READ), QUIRE_NOT_MAPPED, 0, false);
    judge(quire_read(m->space, last, NULL, 2 * QUIRE_PAGE_SIZE, NULL), QUIRE_WRAPS, 0, false);
    judge(quire_write(m->space, last, NULL, 2 * QUIRE_PAGE_SIZE, NULL), QUIRE_WRAPS, 0, false);
}

static void operation(void)
{
    struct model_space *m = some_space();
    uint32_t n = below(100);

    M.busy = m;
    M.free_when_asked = UINT64_MAX;
    trim(m);
    if (m->oracle->region_count == 0 && chance(70))
        op_map(m);
    else if (n < 30)
        op_access(QUIRE_WRITE);
    else if (n < 46)
        op_access(QUIRE_READ);
    else if (n < 50)
        op_access(QUIRE_EXEC);
    else if (n < 58)
        op_map(m);
    else if (n < 62)
        op_unmap(m);
    else if (n < 70)
        op_protect(m);
    else if (n < 74)
        op_bulk(m, QUIRE_READ);
    else if (n < 79)
        op_bulk(m, QUIRE_WRITE);
    else if (n < 86)
        op_fork(m);
    else if (n < 91 && M.live > 1) {
        doing("destroy(%u)", m->owner);
        space_gone(m);
    } else if (n < 97)
        op_switch();
    else if (n < 98)
        op_create();
    else if (n < 99)
        op_frames();
    else
        op_bad(m);
    M.busy = NULL;
}

/*
 * An operation while another one waits for frames or lets others run: on another space, and not by
 * a CPU, which may be in the middle of an access.
 */
static void operation_within(void)
{
    struct model_space *m = M.live > 0 ? some_space() : NULL;
    char outside[sizeof M.doing];
    uint64_t free_when_asked = M.free_when_asked;

    if (!m || !M.interferes || !M.busy || M.busy_outside || m == M.busy || chance(50))
        return;
    memcpy(outside, M.doing, sizeof outside);
    M.busy_outside = M.busy;
    M.busy = m;
    M.free_when_asked = UINT64_MAX;
    trim(m);
    switch (below(6)) {
    case 0: op_map(m); break;
    case 1: op_unmap(m); break;
    case 2: op_protect(m); break;
    case 3: op_fork(m); break;
    case 4: op_bulk(m, QUIRE_READ); break;
    default: op_bulk(m, QUIRE_WRITE);
    }
    M.result->within++;
    M.busy = M.busy_outside;
    M.busy_outside = NULL;
    M.free_when_asked = free_when_asked;
    memcpy(M.doing, outside, sizeof outside);
}

/* ---- worlds ---------------------------------------------------------------------------------- */

/* Everything about a world follows from its seed. */
static void world_begin(void)
{
    struct test_options o = {
        .frames = MICRO ? 24 + below(140) : 64 + below(900),
        .max_spaces = chance(90) ? 3 + below(SPACES_MAX - 2) : 1 + below(2),
        .colours = 1u << below(3),
        .reserve = chance(50) ? 0 : below(MICRO ? 4 : 16),
        .cpus = 1 + below(3),
        .held = MICRO ? 128 : 512,
    };

    if (chance(40)) {
        o.low = MICRO ? (vaddr_t)below(8) << QUIRE_PAGE_SHIFT : 0x10000;
        o.high = MICRO ? (vaddr_t)(40 + below(24)) << QUIRE_PAGE_SHIFT : UINT64_C(1) << 46;
    }
    M.host_helps = chance(40);
    M.interferes = chance(50);
    M.injecting = chance(40);
    test_world_create(&M.world, &o);
    /* Once more, in an arena and frames that are not zeroed: nobody promised that. */
    memset(M.world.arena, 0xa5, M.world.config.arena_size);
    memset(M.world.frames, 0x5a, (size_t)o.frames << QUIRE_PAGE_SHIFT);
    if (quire_create(&M.world.config, &M.world.q) != QUIRE_OK ||
        quire_add_frames(M.world.q, M.world.config.first_frame, o.frames) != QUIRE_OK)
        fail("no manager in an arena that is not zeroed");
    M.world.quiet = true;
    M.world.need_frames = need_frames;
    M.world.yield = yield;
    M.low = o.low;
    M.high = o.high ? o.high : UINT64_C(1) << QUIRE_ADDRESS_BITS;
    M.max_spaces = o.max_spaces;
    M.reserve = o.reserve;
    M.frames_at_start = (uint32_t)frames_free();
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        M.spaces[i] = (struct model_space){.oracle = malloc(sizeof(struct oracle))};
        if (!M.spaces[i].oracle)
            abort();
        M.spaces[i].oracle->region_count = M.spaces[i].oracle->page_count = 0;
    }
}

static void world_end(void)
{
    doing("destroying all");
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (M.spaces[i].space)
            space_gone(&M.spaces[i]);
    }
    while (M.taken_count > 0)
        quire_frame_give(M.world.q, M.taken[--M.taken_count]);
    audit();
    if (frames_free() != M.frames_at_start)
        fail("%llu frames are free, not %u", (unsigned long long)frames_free(), M.frames_at_start);
}

static void world_run(uint64_t ops)
{
    for (M.op = 1; M.op <= ops; M.op++) {
        if (M.live == 0)
            op_create();
        if (M.live == 0)
            continue;
        if (M.injecting && chance(5))
            test_failure_set(1 + below(3), chance(50), 0);
        operation();
        test_failure_set(0, false, 0);
        if ((M.op & 255) == 0)
            alarm(120);
        if (M.op % AUDIT_EVERY == 0)
            audit();
        if (M.op % SWEEP_EVERY == 0)
            compare_all();
        M.result->ops++;
    }
    doing("the last comparison");
    audit();
    compare_all();
    struct quire_stats stats;
    quire_stats(M.world.q, &stats);
    M.result->copies += stats.copies;
    M.result->reuses += stats.reuses;
    world_end();
}

static void on_signal(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(number, SIG_DFL);
    fail("%s", number == SIGALRM ? "an operation does not end" : "core crashed");
}

void model_run(const struct model_options *options, struct model_result *result)
{
    jmp_buf panic;

    M = (struct model){
        .result = result, .seed = options->seed, .random = options->seed, .trace = options->trace};
    test_failure_set(0, false, 0);
    signal(SIGALRM, on_signal);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
#endif
    if (setjmp(M.out) == 0) {
        doing("beginning");
        if (setjmp(panic) != 0)
            fail("panic: %s", test_panic_text);
        test_panic_catch = &panic;
        world_begin();
        world_run(options->ops);
    }
    alarm(0);
    test_panic_catch = NULL;
    test_failure_set(0, false, 0);
    for (unsigned i = 0; i < SPACES_MAX; i++)
        free(M.spaces[i].oracle);
    test_world_destroy(&M.world);
}
