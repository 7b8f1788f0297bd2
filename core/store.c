/* SPDX-License-Identifier: MIT */
/*
 * A store: pages kept compressed in memory, in front of a device.
 *
 *      write   one word, again and again -----------------> kept as that word
 *              shrinks to 3/4 at most, and there is room --> kept, in units
 *              does not shrink, and there is no device ---> kept as it is
 *              else --------------------------------------> passed on to the device
 *      read    from wherever it was left
 *
 * Each page of the file has a place: a word, or the first unit and the length of what it was
 * compressed to, or neither, when it is the device's.  Content lies in units of a 32nd of a page,
 * chained like the blocks of a file: any free unit is as good as any other, so a store never needs
 * to be compacted, and is full only when every unit is in use.  What that costs: n bytes take n /
 * 128 units, rounded up, of 128 bytes and a link of four; so at most 127 bytes are wasted a page,
 * and 3.1 % for links (around 8 % together where pages shrink to a third).  The index takes nine
 * bytes for each page of the file, in use or not.
 *
 * A full store passes new pages by.  To make room by writing old ones to the device would need a
 * frame to decompress into and transfers that belong to nobody's call, in the moment when memory
 * is short, and a failure of theirs would be nobody's.  The price is that pages nobody wants again
 * can fill a store.  What a manager gives up it says (forget), and that leaves at once.
 *
 * Content that is passed on replaces what the store has of the page when the device has it: until
 * then, and if that write fails, the page is what it was.  So no order of ends and failures brings
 * back something older than what was last written.
 *
 * A transfer is taken apart: the pages of the store, and each run of neighbours that are the
 * device's, which is a transfer of its own with a record from a fixed number.  It ends when the
 * last part does (`parts`), and has failed if one of them has.  Reading, the device begins first
 * and works while the store does.
 *
 * Locks.  A lane is a buffer, with the codec's working memory, that one transfer has while it
 * compresses or decompresses.  The lock is of all else; whoever has it copies a page's bytes at
 * most.  Lane before lock; neither is held while the device is called, and no codec is called under
 * the lock.
 */
#include <quire/quire.h>

#include "frame.h"

enum {
    UNIT = QUIRE_PAGE_SIZE < 512 ? 16 : QUIRE_PAGE_SIZE / 32,
    ROOM = QUIRE_PAGE_SIZE / 4 * 3, /* what takes more is not worth its memory */
    ALIGNMENT = 64,
    LANES_MAX = 1024,
    TRANSFERS = 16,
    TRANSFERS_MAX = 65536,
    SCRATCH_MAX = 1 << 24,
};
#define NO_UNIT UINT32_MAX
#define PAGES_MAX (UINT64_C(1) << 31)
_Static_assert(ROOM % UNIT == 0, "whole units are copied");
_Static_assert(QUIRE_IO_PAGES <= 32, "the pages of a transfer are bits of one word");

enum store_kind {
    STORE_PASSED, /* the device has it, or nobody */
    STORE_WORD,   /* place: the word */
    STORE_UNITS,  /* place: the first unit, and above it the length in bytes */
};

/* A run of pages that was passed on. */
struct store_part {
    struct quire_io io; /* the device's; first, for its end names nothing else */
    struct quire_store *store;
    struct quire_io *whole;
    struct store_part *next; /* of the free ones */
};

struct store_lane {
    uint32_t held; /* shared word */
    unsigned char bytes[QUIRE_PAGE_SIZE] __attribute__((aligned(ALIGNMENT)));
    /* The codec's working memory follows. */
};

struct quire_store {
    struct quire_store_config config;
    uint64_t pages;
    unsigned char *lanes;
    uint64_t lane_size;
    unsigned char *units;
    uint32_t lock; /* of what follows */
    struct store_part *free_part;
    uint64_t *places; /* by page */
    uint8_t *kinds;   /* enum store_kind, by page */
    uint32_t *links;  /* by unit: the next of its page, or of the free ones */
    uint32_t free;    /* the first unit that was in use once and is not now */
    uint32_t fresh;   /* units from here on never were */
    uint32_t spare;   /* units of both */
    struct quire_store_info info;
};

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

/* ---- making one ---------------------------------------------------------------------------- */

static uint32_t lane_count(const struct quire_store_config *c) { return c->lanes ? c->lanes : 1; }
static uint32_t part_count(const struct quire_store_config *c)
{
    return c->transfers ? c->transfers : TRANSFERS;
}
static uint64_t page_count(const struct quire_store_config *c)
{
    return c->size >> QUIRE_PAGE_SHIFT;
}
static uint64_t lane_size(const struct quire_store_config *c)
{
    return aligned(sizeof(struct store_lane) + c->codec->scratch);
}

/* Where what lies in the memory; the units begin at `units`, and their links follow. */
struct layout {
    uint64_t lanes, parts, places, kinds, units;
};

static struct layout store_layout(const struct quire_store_config *c)
{
    struct layout l;
    l.lanes = aligned(sizeof(struct quire_store));
    l.parts = l.lanes + lane_count(c) * lane_size(c);
    l.places = l.parts + aligned(part_count(c) * sizeof(struct store_part));
    l.kinds = l.places + page_count(c) * sizeof(uint64_t);
    l.units = aligned(l.kinds + page_count(c));
    return l;
}

static bool config_valid(const struct quire_store_config *c)
{
    const struct quire_codec *codec = c->codec;
    if (!codec || !codec->compress || !codec->decompress || codec->scratch > SCRATCH_MAX)
        return false;
    if (!c->direct_map || (c->pager && !c->pager->start))
        return false;
    return page_count(c) > 0 && page_count(c) <= PAGES_MAX && c->lanes <= LANES_MAX &&
           c->transfers <= TRANSFERS_MAX;
}

size_t quire_store_size(const struct quire_store_config *config)
{
    return config_valid(config) ? (size_t)store_layout(config).units : 0;
}

static struct store_lane *lane_of(const struct quire_store *s, uint32_t i)
{
    return (struct store_lane *)(s->lanes + i * s->lane_size);
}

static void parts_init(struct quire_store *s, struct store_part *parts)
{
    for (uint32_t i = 0; i < part_count(&s->config); i++) {
        parts[i] = (struct store_part){.store = s, .next = s->free_part};
        s->free_part = &parts[i];
    }
}

static void lanes_init(struct quire_store *s)
{
    for (uint32_t i = 0; i < lane_count(&s->config); i++)
        lane_of(s, i)->held = 0;
}

enum quire_status quire_store_create(const struct quire_store_config *config,
                                     struct quire_store **out)
{
    unsigned char *memory = config->memory;
    if (!config_valid(config) || !memory || (uintptr_t)memory % ALIGNMENT != 0)
        return QUIRE_BAD_CONFIG;
    struct layout l = store_layout(config);
    if (config->memory_size < l.units)
        return QUIRE_BAD_CONFIG;
    uint64_t units = (config->memory_size - l.units) / (UNIT + sizeof(uint32_t));
    if (units >= NO_UNIT)
        units = NO_UNIT - 1;
    struct quire_store *s = config->memory;
    *s = (struct quire_store){.config = *config,
                              .pages = page_count(config),
                              .lanes = memory + l.lanes,
                              .lane_size = lane_size(config),
                              .units = memory + l.units,
                              .places = (uint64_t *)(memory + l.places),
                              .kinds = memory + l.kinds,
                              .links = (uint32_t *)(memory + l.units + units * UNIT),
                              .free = NO_UNIT,
                              .spare = (uint32_t)units,
                              .info = {.room = units * UNIT}};
    memset(s->kinds, STORE_PASSED, (size_t)s->pages);
    parts_init(s, (struct store_part *)(memory + l.parts));
    lanes_init(s);
    *out = s;
    return QUIRE_OK;
}

/* ---- locks --------------------------------------------------------------------------------- */

static bool word_try(uint32_t *word)
{
    uint32_t free = 0;
    return qi_change(word, &free, 1);
}

static void store_lock(struct quire_store *s)
{
    while (!word_try(&s->lock))
        host_wait(s->config.host, &s->lock);
}
static void store_unlock(struct quire_store *s) { qi_store(&s->lock, 0u); }

static struct store_lane *lane_take(struct quire_store *s)
{
    for (;;) {
        for (uint32_t i = 0; i < lane_count(&s->config); i++)
            if (word_try(&lane_of(s, i)->held))
                return lane_of(s, i);
        host_wait(s->config.host, &lane_of(s, 0)->held);
    }
}
static void lane_give(struct store_lane *lane) { qi_store(&lane->held, 0u); }

/* ---- what is kept: all of this with the lock ----------------------------------------------- */

static uint32_t units_of(uint64_t length) { return (uint32_t)((length + UNIT - 1) / UNIT); }
static unsigned char *unit_bytes(const struct quire_store *s, uint32_t unit)
{
    return s->units + (uint64_t)unit * UNIT;
}

static uint32_t unit_take(struct quire_store *s)
{
    qi_assert(s->spare > 0);
    s->spare--;
    s->info.used += UNIT;
    uint32_t unit = s->free;
    if (unit == NO_UNIT)
        return s->fresh++;
    s->free = s->links[unit];
    return unit;
}

static void unit_give(struct quire_store *s, uint32_t unit)
{
    s->links[unit] = s->free;
    s->free = unit;
    s->spare++;
    s->info.used -= UNIT;
}

static uint64_t page_length(const struct quire_store *s, uint64_t page)
{
    return s->kinds[page] == STORE_UNITS ? s->places[page] >> 32 : 0;
}

/* The store has nothing of this page any more. */
static void page_drop(struct quire_store *s, uint64_t page)
{
    uint64_t length = page_length(s, page);
    uint32_t unit = (uint32_t)s->places[page];
    for (uint32_t left = units_of(length); left > 0; left--) {
        uint32_t next = s->links[unit];
        unit_give(s, unit);
        unit = next;
    }
    s->info.bytes -= length;
    s->info.pages -= s->kinds[page] == STORE_UNITS;
    s->info.words -= s->kinds[page] == STORE_WORD;
    s->kinds[page] = STORE_PASSED;
}

static void page_set(struct quire_store *s, uint64_t page, enum store_kind kind, uint64_t place)
{
    s->kinds[page] = (uint8_t)kind;
    s->places[page] = place;
    s->info.pages += kind == STORE_UNITS;
    s->info.words += kind == STORE_WORD;
    s->info.kept++;
}

/* Keep what a page was compressed to instead of what there is of it; false: there is no room. */
static bool page_put(struct quire_store *s, uint64_t page, const unsigned char *bytes,
                     uint64_t length)
{
    uint32_t first, *link = &first;
    if (units_of(length) > s->spare + units_of(page_length(s, page)))
        return false;
    page_drop(s, page);
    for (uint64_t at = 0; at < length; at += UNIT) {
        *link = unit_take(s);
        memcpy(unit_bytes(s, *link), bytes + at, UNIT);
        link = &s->links[*link];
    }
    s->info.bytes += length;
    page_set(s, page, STORE_UNITS, length << 32 | first);
    return true;
}

/* What there is of a page; of STORE_UNITS, `bytes` gets the content.  Locks. */
static enum store_kind page_get(struct quire_store *s, uint64_t page, unsigned char *bytes,
                                uint64_t *place)
{
    store_lock(s);
    enum store_kind kind = (enum store_kind)s->kinds[page];
    uint32_t unit = (uint32_t)s->places[page];
    *place = s->places[page];
    for (uint64_t at = 0; at < page_length(s, page); at += UNIT) {
        memcpy(bytes + at, unit_bytes(s, unit), UNIT);
        unit = s->links[unit];
    }
    store_unlock(s);
    return kind;
}

static void store_forget(void *cookie, uint64_t offset, uint32_t pages)
{
    struct quire_store *s = cookie;
    const struct quire_pager *device = s->config.pager;
    uint64_t first = offset >> QUIRE_PAGE_SHIFT;
    qi_assert(first <= s->pages && pages <= s->pages - first);
    for (uint32_t i = 0; i < pages; i++) {
        store_lock(s);
        page_drop(s, first + i);
        store_unlock(s);
    }
    if (device && device->forget)
        device->forget(s->config.cookie, offset, pages);
}

void quire_store_info(struct quire_store *store, struct quire_store_info *out)
{
    store_lock(store);
    *out = store->info;
    store_unlock(store);
}

/* ---- parts --------------------------------------------------------------------------------- */

static uint64_t io_page(const struct quire_io *io, uint32_t i)
{
    return (io->offset >> QUIRE_PAGE_SHIFT) + i;
}

/* One part of a transfer has ended; the last one ends it, and then it is quire's. */
static void whole_end(struct quire_io *io, bool ok)
{
    if (!ok)
        qi_store(&io->failed, 1u);
    if (qi_add(&io->parts, UINT32_MAX) == 1)
        quire_io_done(io, !qi_load(&io->failed));
}

static void part_ended(struct quire_io *io, bool ok)
{
    struct store_part *part = (struct store_part *)io;
    struct quire_store *s = part->store;
    struct quire_io *whole = part->whole;
    store_lock(s);
    for (uint32_t i = 0; ok && io->write && i < io->pages; i++)
        page_drop(s, io_page(io, i)); /* what there was is older than what the device has now */
    part->next = s->free_part;
    s->free_part = part;
    store_unlock(s);
    whole_end(whole, ok);
}

/* A free record; null: there is none, and the transfer may not wait. */
static struct store_part *part_take(struct quire_store *s, bool no_wait)
{
    for (;;) {
        store_lock(s);
        struct store_part *part = s->free_part;
        if (part)
            s->free_part = part->next;
        store_unlock(s);
        if (part || no_wait)
            return part;
        host_wait_io(s->config.host, NULL);
    }
}

/* Let the device have `count` pages from the i-th on; with nothing held. */
static void part_begin(struct quire_store *s, struct quire_io *whole, uint32_t i, uint32_t count)
{
    struct store_part *part = s->config.pager ? part_take(s, whole->no_wait) : NULL;
    if (!part) {
        qi_store(&whole->failed, 1u);
        return;
    }
    part->whole = whole;
    part->io = (struct quire_io){.cookie = s->config.cookie,
                                 .offset = whole->offset + ((uint64_t)i << QUIRE_PAGE_SHIFT),
                                 .pages = count,
                                 .write = whole->write,
                                 .no_wait = whole->no_wait,
                                 .ended = part_ended};
    memcpy(part->io.frames, whole->frames + i, count * sizeof(pfn_t));
    qi_add(&whole->parts, 1);
    s->config.pager->start(s->config.cookie, &part->io);
}

/* The same of every page whose bit is set, each run at once. */
static void parts_begin(struct quire_store *s, struct quire_io *whole, uint32_t passed)
{
    uint32_t i = 0;
    while (i < whole->pages) {
        uint32_t count = 0;
        while (i + count < whole->pages && (passed >> (i + count) & 1))
            count++;
        if (count > 0)
            part_begin(s, whole, i, count);
        i += count + 1;
    }
}

/* ---- transfers ----------------------------------------------------------------------------- */

static void *frame_bytes(const struct quire_store *s, pfn_t pfn)
{
    return (unsigned char *)s->config.direct_map +
           ((uint64_t)(pfn - s->config.first_frame) << QUIRE_PAGE_SHIFT);
}

/* A page that is one word again and again. */
static bool page_is_word(const uint64_t *page)
{
    for (unsigned i = 1; i < QUIRE_PAGE_SIZE / sizeof *page; i++)
        if (page[i] != page[0])
            return false;
    return true;
}

static void page_fill(uint64_t *page, uint64_t word)
{
    for (unsigned i = 0; i < QUIRE_PAGE_SIZE / sizeof *page; i++)
        page[i] = word;
}

/*
 * Write the i-th page to the store; false: it is to be passed on.  Where there is no device, a page
 * that does not shrink is kept as it is: else its transfer would fail, and its neighbours with it,
 * each time that it is tried.
 */
static bool page_write(struct quire_store *s, const struct quire_io *io, uint32_t i,
                       struct store_lane *lane)
{
    const struct quire_store_config *c = &s->config;
    const void *frame = frame_bytes(s, io->frames[i]), *bytes = lane->bytes;
    bool is_word = page_is_word(frame), kept = is_word;
    uint64_t page = io_page(io, i), length = 0;
    if (!is_word)
        length = c->codec->compress(c->codec_cookie, lane + 1, frame, lane->bytes, ROOM);
    qi_assert(length <= ROOM);
    if (length == 0 && !c->pager) {
        bytes = frame;
        length = QUIRE_PAGE_SIZE;
    }
    store_lock(s);
    if (is_word) {
        page_drop(s, page);
        page_set(s, page, STORE_WORD, *(const uint64_t *)frame);
    } else if (length == 0) {
        s->info.too_large++;
    } else {
        kept = page_put(s, page, bytes, length);
        s->info.no_room += !kept;
    }
    store_unlock(s);
    return kept;
}

/* Returns the pages that are to be passed on. */
static uint32_t pages_write(struct quire_store *s, const struct quire_io *io)
{
    struct store_lane *lane = lane_take(s);
    uint32_t passed = 0;
    for (uint32_t i = 0; i < io->pages; i++)
        passed |= (uint32_t)!page_write(s, io, i, lane) << i;
    lane_give(lane);
    return passed;
}

/* Read the i-th page out of the store, which has it; false: what is kept is damaged. */
static bool page_read(struct quire_store *s, const struct quire_io *io, uint32_t i,
                      struct store_lane *lane)
{
    const struct quire_store_config *c = &s->config;
    void *frame = frame_bytes(s, io->frames[i]);
    uint64_t place;
    enum store_kind kind = page_get(s, io_page(io, i), lane->bytes, &place);
    uint64_t length = place >> 32;
    qi_assert(kind != STORE_PASSED);
    if (kind == STORE_WORD)
        page_fill(frame, place);
    else if (length < QUIRE_PAGE_SIZE)
        return c->codec->decompress(c->codec_cookie, lane + 1, lane->bytes, length, frame);
    else
        memcpy(frame, lane->bytes, QUIRE_PAGE_SIZE);
    return true;
}

static void pages_read(struct quire_store *s, struct quire_io *io, uint32_t passed)
{
    struct store_lane *lane = lane_take(s);
    uint32_t damaged = 0;
    for (uint32_t i = 0; i < io->pages; i++)
        damaged += !(passed >> i & 1) && !page_read(s, io, i, lane);
    lane_give(lane);
    if (damaged == 0)
        return;
    qi_store(&io->failed, 1u);
    store_lock(s);
    s->info.damaged += damaged;
    store_unlock(s);
}

/* Pages that the store does not have. */
static uint32_t pages_missing(struct quire_store *s, const struct quire_io *io)
{
    uint32_t missing = 0, count = 0;
    store_lock(s);
    for (uint32_t i = 0; i < io->pages; i++) {
        bool passed = s->kinds[io_page(io, i)] == STORE_PASSED;
        missing |= (uint32_t)passed << i;
        count += passed;
    }
    s->info.missed += count;
    s->info.found += io->pages - count;
    store_unlock(s);
    return missing;
}

static void store_start(void *cookie, struct quire_io *io)
{
    struct quire_store *s = cookie;
    qi_assert(io_page(io, 0) <= s->pages && io->pages <= s->pages - io_page(io, 0));
    io->failed = 0;
    io->parts = 1; /* this call */
    if (io->write) {
        parts_begin(s, io, pages_write(s, io));
    } else {
        uint32_t passed = pages_missing(s, io);
        parts_begin(s, io, passed);
        pages_read(s, io, passed);
    }
    whole_end(io, true);
}

const struct quire_pager quire_store_pager = {.start = store_start, .forget = store_forget};
