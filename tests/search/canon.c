/* SPDX-License-Identifier: MIT */
/*
 * Writing the canonical form (canon.h says what is in it).
 *
 * One pass, depth first from each root.  A table is written where it is met first and named by its
 * number after that; a home's table is met through the entry that borrows from it, so pure
 * prototype tables are written too.  The recursion ends because a borrowed entry names a home and
 * never another borrowed entry; a broken manager could make it endless, so the depth is bounded.
 */
#include "canon.h"

#include "section.h"

#include <string.h>

enum { NUMBERS_MAX = 1024, DEPTH_MAX = 64 };

struct writer {
    struct canon *out;
    const struct quire *q;
    unsigned flags, depth;
    uint16_t tables, pages, values;
    uint16_t number[NUMBERS_MAX]; /* by frame: its number as a table or page, from 1 */
    uint64_t value[NUMBERS_MAX];
};

/* Room for the tables on the way down and a region, which are written without a look at the size.
 */
enum { ROOM = 8 * (64 + 24 * QUIRE_TABLE_ENTRIES) };

static void make_sure(const struct writer *w)
{
    if (w->out->size + ROOM > CANON_SIZE_MAX)
        host_panic("a canonical form is too long", __FILE__, __LINE__);
}

static void put8(struct writer *w, unsigned n) { w->out->bytes[w->out->size++] = (uint8_t)n; }

static void put16(struct writer *w, unsigned n)
{
    uint16_t half = (uint16_t)n;
    memcpy(&w->out->bytes[w->out->size], &half, sizeof half);
    w->out->size += sizeof half;
}

static void put32(struct writer *w, uint32_t n)
{
    memcpy(&w->out->bytes[w->out->size], &n, sizeof n);
    w->out->size += sizeof n;
}

static uint16_t *number_of(struct writer *w, pfn_t pfn)
{
    uint32_t i = pfn - w->q->frames.first;
    if (i >= NUMBERS_MAX || i >= w->q->frames.count)
        host_panic("a state names a frame that is none", __FILE__, __LINE__);
    return &w->number[i];
}

static uint64_t bytes_hash(const unsigned char *bytes, size_t size)
{
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15), word;
    for (; size >= sizeof word; size -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 29;
    }
    for (; size > 0; size--)
        h = (h ^ *bytes++) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

static void put_page(struct writer *w, pfn_t pfn)
{
    uint16_t *number = number_of(w, pfn);
    if (*number) {
        put16(w, *number);
        return;
    }
    *number = ++w->pages;
    put16(w, *number);
    uint64_t value = bytes_hash(frame_memory(&w->q->frames, pfn), QUIRE_PAGE_SIZE);
    if (w->flags & CANON_EXACT_VALUES) {
        put32(w, (uint32_t)value);
        put32(w, (uint32_t)(value >> 32));
        return;
    }
    unsigned i = 0;
    while (i < w->values && w->value[i] != value)
        i++;
    if (i == w->values)
        w->value[w->values++] = value;
    put16(w, i);
}

static void put_table(struct writer *w, pfn_t pfn);

static void put_home(struct writer *w, home_t home)
{
    put_table(w, home_table(home));
    put8(w, home_index(home));
}

static entry_t bits_of(const struct writer *w, entry_t e)
{
    entry_t bits = e & ~ENTRY_PAYLOAD_MASK;
    if (!(w->flags & CANON_NO_HARDWARE))
        return bits;
    if (entry_dirty(bits))
        bits |= ENTRY_FOLDED;
    return bits & ~(ENTRY_WRITE | ENTRY_ACCESSED | ENTRY_DIRTY);
}

static void put_entry(struct writer *w, entry_t e, unsigned level)
{
    put16(w, (unsigned)bits_of(w, e));
    switch (entry_kind(e, level)) {
    case QI_EMPTY:
    case QI_GUARD:
    case QI_ZERO: break;
    case QI_OWN:
    case QI_BARRED: put_page(w, entry_pfn(e)); break;
    case QI_BORROWED:
    case QI_SECTION:
        put_page(w, entry_pfn(e));
        put_home(w, qi_entry_home(w->q, e));
        break;
    case QI_PROTOTYPE: put_home(w, qi_entry_home(w->q, e)); break;
    case QI_TABLE:
    case QI_HIDDEN: put_table(w, entry_pfn(e)); break;
    case QI_PAGED: host_panic("a page is out of memory without a page file", __FILE__, __LINE__);
    case QI_BUSY: host_panic("an entry is busy between operations", __FILE__, __LINE__);
    }
}

static void put_table(struct writer *w, pfn_t pfn)
{
    uint16_t *number = number_of(w, pfn);
    if (*number) {
        put16(w, *number);
        return;
    }
    if (++w->depth > DEPTH_MAX)
        host_panic("homes and tables form a chain", __FILE__, __LINE__);
    make_sure(w);
    *number = (uint16_t)(0x8000 | ++w->tables);
    put16(w, *number);
    const struct qi_frame *r = table_record(w->q, pfn);
    put8(w, r->level);
    put32(w, r->share);
    put16(w, r->present);
    const entry_t *entries = table_entries(w->q, pfn);
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
        put_entry(w, entries[i], r->level);
    put8(w, r->side != QI_NO_FRAME);
    for (unsigned i = 0; r->side != QI_NO_FRAME && i < QUIRE_TABLE_ENTRIES; i++) {
        put16(w, table_side(w->q, r)->uses[i]);
        put16(w, table_side(w->q, r)->maps[i]);
    }
    w->depth--;
}

static void put_regions(struct writer *w, const struct qi_region *root)
{
    if (!root)
        return;
    put_regions(w, root->left);
    make_sure(w);
    put32(w, (uint32_t)(root->start >> QUIRE_PAGE_SHIFT));
    put32(w, (uint32_t)(root->end >> QUIRE_PAGE_SHIFT));
    put8(w, root->prot);
    put8(w, root->view != 0);
    put_regions(w, root->right);
}

static void put_sections(struct writer *w)
{
    for (uint32_t i = 0; i < w->q->max_sections; i++) {
        const struct quire_section *section = &w->q->sections[i];

        make_sure(w);
        put8(w, section->state == QI_SECTION_LIVE);
        if (section->state != QI_SECTION_LIVE)
            continue;
        put32(w, (uint32_t)section->size);
        put32(w, (uint32_t)section->limit);
        put32(w, section->window);
        put32(w, (uint32_t)section->ahead);
        put32(w, section->seals);
        put8(w, section->root != QI_NO_FRAME);
        if (section->root != QI_NO_FRAME)
            put_table(w, section->root);
    }
}

void canon_write(struct canon *out, const struct quire *q, struct quire_space *const *spaces,
                 unsigned count, unsigned flags)
{
    struct writer w;
    w.out = out;
    w.q = q;
    w.flags = flags;
    w.depth = w.tables = w.pages = w.values = 0;
    memset(w.number, 0, (q->frames.count < NUMBERS_MAX ? q->frames.count : NUMBERS_MAX) * 2);
    out->size = 0;
    for (unsigned i = 0; i < count; i++) {
        put8(&w, spaces[i] != NULL);
        if (!spaces[i])
            continue;
        put_regions(&w, spaces[i]->regions);
        put8(&w, 0xff);
        put_table(&w, spaces[i]->root);
    }
    if (flags & CANON_SECTIONS)
        put_sections(&w);
    put8(&w, q->drop_list != QI_NO_FRAME);
}

uint64_t canon_hash(const struct canon *form)
{
    return bytes_hash(form->bytes, form->size) + form->size;
}
