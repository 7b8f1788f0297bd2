/* SPDX-License-Identifier: MIT */
/*
 * Operations on sections.
 *
 * While one is in progress no other is done within it: what waits for the end of a cut would wait
 * for ever.  Transfers end in any order while it waits for them.
 */
#include "state.h"

#include <string.h>

enum { CAPACITY = ORACLE_SECTION_PAGES * QUIRE_PAGE_SIZE };
/* Frames that one page of a section can take: two paths of tables, itself, and a side frame. */
enum { SECTION_FRAMES = 2 * QUIRE_LEVELS + 2 };

static uint64_t some_size(void)
{
    uint64_t size = below(CAPACITY + 1);

    return chance(50) ? size & ~(uint64_t)(QUIRE_PAGE_SIZE - 1) : size;
}

/* One that has a handle; null: there is none. */
static struct model_section *some_section(void)
{
    unsigned first = below(SECTIONS_MAX);

    for (unsigned i = 0; i < SECTIONS_MAX; i++) {
        if (M.sections[(first + i) % SECTIONS_MAX].section)
            return &M.sections[(first + i) % SECTIONS_MAX];
    }
    return NULL;
}

static unsigned number_of(const struct model_section *s) { return (unsigned)(s - M.sections); }

/* A range of bytes, often of a few pages, sometimes all, sometimes more than there is. */
static void some_bytes(uint64_t *at, uint64_t *length)
{
    *at = chance(20) ? 0 : below(CAPACITY);
    *length = chance(20) ? UINT64_MAX - (chance(50) ? *at : 0) : below(4 * QUIRE_PAGE_SIZE);
    if (chance(40))
        *at &= ~(uint64_t)(QUIRE_PAGE_SIZE - 1);
}

/* ---- open and close -------------------------------------------------------------------------- */

static bool fails(struct test_file *file, const struct quire_io *io)
{
    bool failing = chance(M.io_failing);

    struct model_section *s = M.sections;
    while (file != &s->file)
        s++;
    /* What comes from the file has nothing beyond the end. */
    uint64_t last = section_end(&s->oracle) << QUIRE_PAGE_SHIFT;
    if (!io->write && io->offset < last && io->offset + io->pages * QUIRE_PAGE_SIZE >= last)
        memset(s->oracle.bytes + s->oracle.size, 0, (size_t)(last - s->oracle.size));
    M.result->transfers++;
    M.result->io_errors += failing;
    M.failed_reads += failing && !io->write;
    return failing;
}

static void op_open(void)
{
    struct model_section *s = NULL;
    uint64_t size = some_size();
    bool paged = chance(70), stable = chance(70);

    sections_gone();
    for (unsigned i = 0; i < SECTIONS_MAX; i++)
        s = M.sections[i].live ? s : &M.sections[i];
    if (!s)
        return;
    memset(s, 0, sizeof *s);
    test_file_init(&s->file, &M.world, paged ? s->disk : NULL, CAPACITY);
    s->file.unstable = !stable;
    s->file.fails = fails;
    s->oracle.size = size;
    for (uint64_t i = 0; paged && i < size; i++)
        s->oracle.bytes[i] = s->disk[i] = (unsigned char)(1 + (M.op + i / 7) % 255);
    doing("section %u: open, %llu bytes, %s", number_of(s), (llu)size,
          !paged   ? "memory"
          : stable ? "a file"
                   : "an unstable file");
    struct quire_section *section = NULL;
    enum quire_status got = test_file_open(&s->file, size, &section);
    sections_gone(); /* the host may have given up the last view of one */
    bool full = sections_live() == M.max_sections;
    if (got == QUIRE_OK && full)
        fail("there are more sections than there may be");
    if (!judge(got, got == QUIRE_TOO_MANY_SECTIONS && full ? got : QUIRE_OK, 0, false))
        return;
    s->section = section;
    s->live = true;
    M.result->sections++;
}

static void op_close(struct model_section *s)
{
    doing("section %u: close", number_of(s));
    quire_section_close(s->section);
    s->section = NULL;
}

/* ---- views ----------------------------------------------------------------------------------- */

static void op_view(struct model_space *m, struct model_section *s)
{
    static const uint32_t places[] = {0, 0, QUIRE_MAP_FIXED, QUIRE_MAP_FIXED,
                                      QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE};
    uint32_t prot = some_prot(), flags = places[below(5)];
    uint64_t page = below(ORACLE_SECTION_PAGES + 2);
    uint64_t length = chance(85) ? (uint64_t)(1 + below(ORACLE_SECTION_PAGES)) << QUIRE_PAGE_SHIFT
                                 : some_length();
    vaddr_t hint = chance(75) ? some_address() : some_mapped_address(m->oracle, 7);
    vaddr_t at = hint = some_start(hint, length), place;
    enum quire_status wanted;
    struct oracle_map map;

    flags |= chance(50)   ? 0
             : chance(80) ? QUIRE_MAP_SHARED
                          : QUIRE_MAP_SHARED | QUIRE_MAP_READ_ONLY;
    wanted = map_status(m, hint, length, flags, &place);
    if (wanted == QUIRE_OK) {
        struct oracle_region r = {.start = place,
                                  .end = place + length,
                                  .prot = whole_prot(prot),
                                  .section = &s->oracle,
                                  .shift = page - (place >> QUIRE_PAGE_SHIFT)};

        r.flags = (flags & QUIRE_MAP_SHARED ? QUIRE_REGION_SHARED : 0) |
                  (flags & QUIRE_MAP_READ_ONLY ? QUIRE_REGION_READ_ONLY : 0);
        map_copy(&map, &m->oracle->map);
        map_put(&map, r);
        wanted = views_status(&map, place, place + length);
        wanted = wanted == QUIRE_OK ? promise_status(m, &map) : wanted;
    }
    doing("section %u: view(%u, %#llx, %#llx, prot %u, flags %u, page %llu)", number_of(s),
          m->owner, (llu)hint, (llu)length, prot, flags, (llu)page);
    enum quire_status got =
        quire_map_view(m->space, &at, length, prot, flags, s->section, page << QUIRE_PAGE_SHIFT);
    if (!judge(got, wanted, change_frames(m->oracle), false)) {
        if (at != hint)
            fail("the address has changed although it failed");
        return;
    }
    if (at != place)
        fail("mapped at %#llx, not %#llx", (llu)at, (llu)place);
    mapped(m, &map, place, length);
    M.result->views++;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void op_copy(struct model_section *s, bool write)
{
    unsigned char bytes[BULK_MAX];
    uint64_t at = below(CAPACITY), length = below(chance(30) ? BULK_MAX + 1 : QUIRE_PAGE_SIZE);
    uint64_t reach = at < s->oracle.size ? s->oracle.size - at : 0;
    enum quire_status got, wanted = QUIRE_OK;
    size_t done = 77;

    if (chance(30)) {
        at &= ~(uint64_t)(QUIRE_PAGE_SIZE - 1);
        length = QUIRE_PAGE_SIZE;
        reach = at < s->oracle.size ? s->oracle.size - at : 0;
    }
    reach = reach < length ? reach : length;
    if (write && reach > 0 && (s->seals & QUIRE_SEAL_WRITE)) {
        wanted = QUIRE_SEALED;
        reach = 0;
    }
    M.no_wait = chance(20);
    for (uint64_t p = at >> QUIRE_PAGE_SHIFT; p << QUIRE_PAGE_SHIFT < at + reach; p++)
        M.reads |= section_paged(s) && !section_has(s, p);
    doing("section %u: %s(%#llx, %#llx%s)", number_of(s), write ? "write" : "read", (llu)at,
          (llu)length, M.no_wait ? ", no wait" : "");
    stamp(&M.spaces[0], bytes, length);
    got = write ? quire_section_write(s->section, at, bytes, length, M.no_wait ? QUIRE_NO_WAIT : 0,
                                      &done)
                : quire_section_read(s->section, at, bytes, length, M.no_wait ? QUIRE_NO_WAIT : 0,
                                     &done);
    if (done > reach || (done < reach && !cut_short(got)))
        fail("%s: %llu bytes done, not %llu", quire_status_name(got), (llu)done, (llu)reach);
    judge(got, wanted, SECTION_FRAMES, false);
    M.no_wait = false;
    if (!write && memcmp(bytes, s->oracle.bytes + at, done) != 0)
        fail("what is read was not written");
    if (write)
        memcpy(s->oracle.bytes + at, bytes, done);
    for (uint64_t p = at >> QUIRE_PAGE_SHIFT; write && p << QUIRE_PAGE_SHIFT < at + done; p++)
        s->changed[p] = true;
}

/* ---- back to the file ------------------------------------------------------------------------ */

/* What a sync without a failure leaves: all of the range is in the file. */
static void synced(struct model_section *s, uint64_t at, uint64_t length)
{
    uint64_t end = at + length < at ? UINT64_MAX : at + length;

    for (uint64_t p = at >> QUIRE_PAGE_SHIFT;
         p < section_end(&s->oracle) && p << QUIRE_PAGE_SHIFT < end; p++) {
        uint64_t byte = p << QUIRE_PAGE_SHIFT, left = s->oracle.size - byte;
        size_t n = left < QUIRE_PAGE_SIZE ? (size_t)left : QUIRE_PAGE_SIZE;

        if (memcmp(s->disk + byte, s->oracle.bytes + byte, n) != 0)
            fail("page %llu was written back, and is not in the file", (llu)p);
        s->changed[p] = pins_hold(s, p);
    }
}

static void op_sync(struct model_section *s)
{
    uint32_t flags = chance(30) ? QUIRE_SYNC_START : 0, who = below(HEARERS + 1);
    uint64_t at, length, *heard = who < HEARERS ? &s->heard[who] : NULL;
    uint64_t before = s->file.failed_writes, known = heard ? *heard : before;

    some_bytes(&at, &length);
    doing("section %u: sync(%#llx, %#llx, flags %u)", number_of(s), (llu)at, (llu)length, flags);
    enum quire_status got = quire_section_sync(s->section, at, length, flags, heard);
    bool failed = s->file.failed_writes != known;
    judge(got, failed ? QUIRE_IO_ERROR : QUIRE_OK, 0, false);
    if (heard && *heard != s->file.failed_writes)
        fail("%llu failures were heard of, not %llu", (llu)*heard, (llu)s->file.failed_writes);
    if (flags == 0 && s->file.failed_writes == before && section_paged(s) && length > 0)
        synced(s, at, length);
}

/* ---- size, and forgetting -------------------------------------------------------------------- */

/* Frames that taking views away from one space can take. */
static uint64_t views_frames(const struct model_section *s)
{
    uint64_t most = 1;

    for (unsigned i = 0; i < SPACES_MAX; i++) {
        const struct oracle_map *map = &M.spaces[i].oracle->map;

        for (unsigned k = 0; M.spaces[i].space && k < map->count; k++) {
            const struct oracle_region *r = &map->region[k];
            uint64_t need = 2 * (tables_over(r->end - r->start) + QUIRE_LEVELS + 1);

            if (r->section == &s->oracle && need > most)
                most = need;
        }
    }
    return most;
}

static void resized(struct model_section *s, uint64_t size)
{
    uint64_t old = s->oracle.size, less = size < old ? size : old;
    uint64_t last = less >> QUIRE_PAGE_SHIFT;

    memset(s->oracle.bytes + less, 0, (size_t)(CAPACITY - less));
    memset(s->disk + less, 0, (size_t)(CAPACITY - less)); /* as the file is cut off */
    s->oracle.size = size;
    if (size < old)
        pins_leave(s, section_end(&s->oracle), UINT64_MAX);
    for (uint64_t p = section_end(&s->oracle); p < ORACLE_SECTION_PAGES; p++)
        s->changed[p] = false;
    if (less & (QUIRE_PAGE_SIZE - 1))
        s->changed[last] = true;
}

static void op_resize(struct model_section *s)
{
    uint64_t size = some_size(), old = s->oracle.size;
    /* The last page may have to be read, so that what lies behind the end can be cleared. */
    uint64_t need = (size < old ? views_frames(s) : 0) +
                    (section_paged(s) || M.max_slots > 0 ? SECTION_FRAMES : 0);
    enum quire_status wanted = QUIRE_OK;

    if (chance(5))
        size = ((uint64_t)QUIRE_PAGE_SIZE << (QUIRE_LEVELS * QUIRE_TABLE_SHIFT)) + 1 + below(9);
    if (size > CAPACITY)
        wanted = QUIRE_OUT_OF_RANGE;
    else if ((size > old && (s->seals & QUIRE_SEAL_GROW)) ||
             (size < old && (s->seals & QUIRE_SEAL_SHRINK)))
        wanted = QUIRE_SEALED;
    doing("section %u: resize(%#llx to %#llx)", number_of(s), (llu)old, (llu)size);
    if (judge(quire_section_resize(s->section, size), wanted, need, false) && size != old)
        resized(s, size);
}

static void op_forget(struct model_section *s)
{
    uint64_t at, length, end;
    enum quire_status wanted = s->seals & QUIRE_SEAL_WRITE ? QUIRE_SEALED : QUIRE_OK;

    some_bytes(&at, &length);
    doing("section %u: discard(%#llx, %#llx)", number_of(s), (llu)at, (llu)length);
    if (!judge(quire_section_discard(s->section, at, length), wanted, views_frames(s), true))
        return;
    end = at + length < at ? UINT64_MAX : at + length;
    for (uint64_t p = 0; p < ORACLE_SECTION_PAGES; p++) {
        uint64_t byte = p << QUIRE_PAGE_SHIFT;

        if (byte < at || byte + QUIRE_PAGE_SIZE > end)
            continue;
        if (section_paged(s))
            memcpy(s->oracle.bytes + byte, s->disk + byte, QUIRE_PAGE_SIZE);
        else
            memset(s->oracle.bytes + byte, 0, QUIRE_PAGE_SIZE);
        s->changed[p] = false;
        pins_leave(s, p, p + 1);
    }
}

/* Pages on their way to the file. */
static uint64_t pages_leaving(const struct model_section *s)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < s->file.waiting_count; i++)
        pages += s->file.waiting[i]->write ? s->file.waiting[i]->pages : 0;
    return pages;
}

static void op_purge(struct model_section *s)
{
    bool mapped = chance(50);
    struct quire_section_info before, after;
    struct quire_stats early, late;
    uint64_t at, length;

    some_bytes(&at, &length);
    doing("section %u: purge(%#llx, %#llx, %u)", number_of(s), (llu)at, (llu)length, mapped);
    quire_section_info(s->section, &before);
    quire_stats(M.world.q, &early);
    uint64_t went = quire_section_purge(s->section, at, length, mapped);
    quire_section_info(s->section, &after);
    quire_stats(M.world.q, &late);
    /* Views that go can need memory, for which more is written back and leaves. */
    uint64_t gone = before.resident - after.resident, written = before.dirty - after.dirty;
    if (gone < went || gone > went + (late.purged - early.purged) ||
        written > late.pages_written - early.pages_written + pages_leaving(s))
        fail("%llu pages went, %llu changed, and %llu were said", (llu)gone, (llu)written,
             (llu)went);
    sections_settle();
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* The space has a shared view of it that may write. */
static bool shows(const struct model_space *m, const struct model_section *s)
{
    const struct oracle_map *map = &m->oracle->map;

    for (unsigned k = 0; k < map->count; k++) {
        const struct oracle_region *r = &map->region[k];

        if (r->section == &s->oracle && (r->flags & QUIRE_REGION_SHARED) && (r->prot & QUIRE_WRITE))
            return true;
    }
    return false;
}

/* Somebody may write it: a view, or a device that has a page. */
static bool has_writers(const struct model_section *s)
{
    for (uint64_t page = 0; page < ORACLE_SECTION_PAGES; page++) {
        if (pins_hold(s, page))
            return true;
    }
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (M.spaces[i].space && shows(&M.spaces[i], s))
            return true;
    }
    return false;
}

static void op_seal(struct model_section *s)
{
    static const uint32_t some[] = {QUIRE_SEAL_WRITE, QUIRE_SEAL_SHRINK, QUIRE_SEAL_GROW, 3, 8, 0};
    uint32_t seals = some[below(6)];
    enum quire_status wanted = seals & 8                                      ? QUIRE_BAD_FLAGS
                               : (seals & QUIRE_SEAL_WRITE) && has_writers(s) ? QUIRE_HAS_WRITERS
                                                                              : QUIRE_OK;

    doing("section %u: seal(%u)", number_of(s), seals);
    if (judge(quire_section_seal(s->section, seals), wanted, 0, false))
        s->seals |= seals;
}

static void op_fetch(struct model_section *s)
{
    uint64_t at, length;

    some_bytes(&at, &length);
    doing("section %u: fetch(%#llx, %#llx)", number_of(s), (llu)at, (llu)length);
    quire_section_fetch(s->section, at, length);
}

/* A device has a page while it is written back, and writes it after that. */
static void pin_and_sync(struct model_section *s)
{
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        struct model_space *m = &M.spaces[i], *busy = M.busy;

        if (!m->space || !shows(m, s))
            continue;
        if (M.live_pins == M.max_pins)
            op_unpin();
        M.busy = m; /* the host must not destroy it meanwhile */
        op_pin(m);
        M.busy = busy;
        op_sync(s);
        op_device();
        return;
    }
}

static void on_section(struct model_space *m, struct model_section *s)
{
    switch (below(44)) {
    case 0:
        if (chance(60))
            op_close(s);
        break;
    case 1:
        if (chance(20))
            op_seal(s);
        break;
    case 2:
    case 3:
    case 4: op_resize(s); break;
    case 5:
    case 6: op_forget(s); break;
    case 7:
    case 8:
    case 9: op_purge(s); break;
    case 10:
    case 11: op_fetch(s); break;
    case 12:
    case 13:
    case 14:
    case 15:
    case 16: op_sync(s); break;
    case 17:
    case 18:
    case 19:
    case 20:
    case 21: op_copy(s, false); break;
    case 22:
    case 23:
    case 24:
    case 25:
    case 26: op_copy(s, true); break;
    case 27:
    case 28:
    case 29:
    case 30: (void)transfer_end(); break;
    case 31:
    case 32:
    case 33: pin_and_sync(s); break;
    case 34: op_device(); break;
    default: op_view(m, s);
    }
}

void op_section(struct model_space *m)
{
    struct model_section *s = some_section();

    M.alone = true;
    if (!s || chance(5))
        op_open();
    else
        on_section(m, s);
    M.alone = false;
}
