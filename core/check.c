/* SPDX-License-Identifier: MIT */
/*
 * The auditor: recount the world from nothing, and compare.
 *
 * It trusts no count.  Every reference there is (a parent's pointer, a space's root, a borrowed
 * entry) is found by looking at every table of the arena and *subtracted* from the count that
 * it should be part of; then every count must be zero; then everything is added back.  So the
 * recount is exact, takes no memory of its own, and finds a count that is too high as surely as
 * one that is too low: a table that nobody points at any more is as wrong as one that is freed
 * too early.
 *
 *   frames    one state each; on the list of that state and colour, in a CPU's cache or limbo, or
 *             nowhere; totals agree
 *   slots     one owner each: a paged entry, or a page that keeps it; the frames of those that have
 *             one; lists, chunks, files
 *   pins      frames count as many as handles; orphans have pins, and no home
 *   promises  the sum over the regions of all spaces, and the orphans
 *   tables    share = parents found; present = entries found; levels fit; side frames exist
 *             exactly while lent
 *   homes     every page has one home, which names it; uses and maps recounted; a table without
 *             parents holds homes in use and nothing else (D3)
 *   paths     an upper entry with W points at an exclusive child (invariant 11); what a machine
 *             may write is own, exclusive all the way, and in a writable region; what it may
 *             read or execute, likewise
 *   sections  their tables form their trees and nothing else; views recounted; what a view maps is
 *             what its region says; what it may write counts as changed
 *   regions   ordered, disjoint, balanced, merged, within bounds; gaps and references recounted
 *
 * It is shipped, because a kernel that meets an impossible fault wants to know at once whether
 * the books still balance.  It reads damaged structures with care: a frame number is looked at
 * before it is followed.
 *
 * No other call runs from start to end.
 */
#include "pin.h"
#include "section.h"

#include <stdarg.h>

struct audit {
    struct quire *q;
    unsigned findings;
    bool torn; /* a section's tree is not what it should be: nobody follows it */
};

enum { LINE_MAX = 160 };

/* One finding; every `%` in the text stands for the next number. */
static void found(struct audit *a, const char *text, ...)
{
    char line[LINE_MAX];
    size_t n = 0;
    va_list args;
    va_start(args, text);
    for (; *text; text++) {
        qi_assert(n < sizeof line - 21);
        if (*text != '%') {
            line[n++] = *text;
            continue;
        }
        char digits[20];
        unsigned count = 0;
        uint64_t value = va_arg(args, uint64_t);
        do
            digits[count++] = (char)('0' + value % 10);
        while ((value /= 10) != 0);
        while (count > 0)
            line[n++] = digits[--count];
    }
    va_end(args);
    line[n] = 0;
    a->findings++;
    host_report(a->q->host, line);
}

static uint64_t u(uint64_t value) { return value; }

static struct qi_frame *record_or_null(const struct quire *q, uint64_t pfn)
{
    const struct qi_frames *f = &q->frames;
    return pfn >= f->first && pfn - f->first < f->count ? &f->records[pfn - f->first] : NULL;
}

static bool is_table(const struct qi_frame *r)
{
    return r && (r->state == QI_FRAME_TABLE || r->state == QI_FRAME_DYING ||
                 r->state == QI_FRAME_SECTION);
}

/* ---- frames -------------------------------------------------------------------------------- */

/* One chain of free frames; by colour, or of any (colour UINT32_MAX).  Returns its length. */
static uint32_t check_free(struct audit *a, const char *text, pfn_t head, bool zeroed,
                           uint32_t colour)
{
    const struct qi_frames *f = &a->q->frames;
    uint32_t count = 0;
    for (pfn_t pfn = head; pfn != QI_NO_FRAME; count++) {
        const struct qi_frame *r = record_or_null(a->q, pfn);
        if (!r || count > f->count) {
            found(a, text, u(pfn), u(colour), u(count));
            break;
        }
        if (r->state != (zeroed ? QI_FRAME_ZEROED : QI_FRAME_FREE) ||
            (colour != UINT32_MAX && frame_colour(f, pfn) != colour))
            found(a, text, u(pfn), u(colour), u(r->state));
        const unsigned char *memory = frame_memory(f, pfn);
        for (unsigned i = 0; zeroed && i < QUIRE_PAGE_SIZE; i++)
            if (memory[i] != 0) {
                found(a, "frame %: zeroed, but byte % is not", u(pfn), u(i));
                break;
            }
        pfn = r->next;
    }
    return count;
}

static uint32_t check_heads(struct audit *a, const char *text, pfn_t heads[2][QUIRE_COLOURS_MAX])
{
    uint32_t count = 0;
    for (uint32_t colour = 0; colour < a->q->frames.colours; colour++)
        for (unsigned zeroed = 0; zeroed < 2; zeroed++)
            count += check_free(a, text, heads[zeroed][colour], zeroed, colour);
    return count;
}

/* What one CPU keeps; returns how many frames that is. */
static uint32_t check_cpu(struct audit *a, struct qi_cpu *cpu)
{
    uint32_t cached = check_heads(a, "cache: frame %, colour %, state or place %", cpu->cache.head);
    if (cached != cpu->cache.count)
        found(a, "CPU %: % frames cached, % found", u(cpu->index), u(cpu->cache.count), u(cached));
    for (unsigned i = 0; i < 2; i++) {
        uint32_t count = cpu->limbo[i].count == 0
                             ? 0
                             : check_free(a, "limbo: frame %, colour %, state or place %",
                                          cpu->limbo[i].head, false, UINT32_MAX);
        if (count != cpu->limbo[i].count)
            found(a, "CPU %: % frames in limbo, % found", u(cpu->index), u(cpu->limbo[i].count),
                  u(count));
        cached += count;
    }
    return cached;
}

static void check_frames(struct audit *a)
{
    struct qi_frames *f = &a->q->frames;
    uint32_t by_state[QI_FRAME_STATE_COUNT] = {0};
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->records[i].state >= QI_FRAME_STATE_COUNT)
            found(a, "frame %: state %", u(f->first + i), u(f->records[i].state));
        else
            by_state[f->records[i].state]++;
    }
    for (unsigned s = 0; s < QI_FRAME_STATE_COUNT; s++) {
        uint32_t counted = qi_frames_in_state(a->q, (enum qi_frame_state)s);
        if (by_state[s] != counted)
            found(a, "frames in state %: % counted, % found", u(s), u(counted), u(by_state[s]));
    }
    uint32_t listed = check_heads(a, "list: frame %, colour %, state or place %", f->list);
    if (listed != f->free)
        found(a, "free frames on the lists: % counted, % found", u(f->free), u(listed));
    for (uint32_t i = 0; i < a->q->cpu_count; i++)
        listed += check_cpu(a, &a->q->cpus[i]);
    if (listed != by_state[QI_FRAME_FREE] + by_state[QI_FRAME_ZEROED])
        found(a, "free frames: % found in places, % in that state", u(listed),
              u(by_state[QI_FRAME_FREE] + by_state[QI_FRAME_ZEROED]));
}

/* Pins: what frames count is what handles count. */
static void check_pins(struct audit *a)
{
    const struct quire *q = a->q;
    uint64_t held = 0, counted = 0, orphans = 0, promised = 0;
    for (uint32_t i = 0; i < q->max_pins; i++)
        held += q->pins[i].pages;
    for (uint32_t i = 0; i < q->frames.count; i++) {
        const struct qi_frame *r = &q->frames.records[i];
        if (r->state != QI_FRAME_DATA)
            continue;
        counted += r->share & ~QI_ORPHAN;
        orphans += (r->share & QI_ORPHAN) != 0;
        if (((r->share & QI_ORPHAN) != 0) != (r->home == QI_NO_HOME) || r->share == QI_ORPHAN)
            found(a, "page %: % pins, home %", u(q->frames.first + i), u(r->share), r->home);
    }
    if (held != counted)
        found(a, "pins: % by handles, % by frames", held, counted);
    for (uint32_t i = 0; i < q->max_spaces; i++)
        if (q->spaces[i].state == QI_SPACE_LIVE && q->spaces[i].regions)
            promised += q->spaces[i].regions->charge;
    for (uint32_t i = 0; i < q->max_sections; i++)
        if (q->sections[i].state == QI_SECTION_LIVE)
            promised += q->sections[i].charge;
    if (promised + orphans != q->committed)
        found(a, "promised pages: % counted, % of regions and % of orphans found", q->committed,
              promised, orphans);
}

/* ---- slots ---------------------------------------------------------------------------------- */

/* In the state of a slot's record, while the auditor is at work: its owner was found. */
#define OWNED (UINT32_C(1) << 31)

static void slot_owned(struct audit *a, uint64_t slot, bool entry, pfn_t by, unsigned index)
{
    struct qi_paging *p = &a->q->paging;
    struct qi_paged *record = slot > 0 && slot <= p->max ? &p->slots[slot - 1] : NULL;
    uint32_t state = record ? record->state : QI_PAGED_FREE;
    if (!record || state & OWNED || state == QI_PAGED_FREE || state == QI_PAGED_GONE ||
        entry == (state == QI_PAGED_KEPT))
        found(a, "frame % entry %: slot %, whose state is %", u(by), u(index), slot, u(state));
    else
        record->state = state | OWNED;
}

/* The list that the frames of slots in one state are on; returns how many. */
static uint32_t check_list(struct audit *a, const struct qi_list *list, enum qi_paged_state state)
{
    const struct quire *q = a->q;
    uint32_t count = 0;
    pfn_t last = QI_NO_FRAME;
    for (pfn_t pfn = list->head; pfn != QI_NO_FRAME; count++) { /* prev says that it is no ring */
        const struct qi_frame *r = record_or_null(q, pfn);
        bool listed = r && r->state == QI_FRAME_LISTED && r->slot > 0 && r->slot <= q->paging.max;
        if (!listed || r->prev != last ||
            (paged_record(&q->paging, (slot_t)r->slot)->state & ~OWNED) != (uint32_t)state) {
            found(a, "frame %: on the list of state %, and should not be", u(pfn), u(state));
            return count;
        }
        last = pfn;
        pfn = r->next;
    }
    if (count != list->count || list->tail != last)
        found(a, "list of state %: % counted, % found", u(state), u(list->count), u(count));
    return count;
}

/* One slot, when every owner was found; counts those that have a frame. */
static void check_slot(struct audit *a, slot_t slot, uint32_t *frames)
{
    struct qi_paged *record = paged_record(&a->q->paging, slot);
    bool owned = (record->state & OWNED) != 0;
    record->state &= ~OWNED;
    const uint32_t state = record->state;
    if (owned != (state != QI_PAGED_FREE && state != QI_PAGED_GONE))
        found(a, "slot %: state %, and % owners", u(slot), u(state), u(owned));
    if (state == QI_PAGED_FREE || state == QI_PAGED_OUT)
        return;
    const struct qi_frame *r = record_or_null(a->q, record->page);
    if (state == QI_PAGED_KEPT) {
        if (!r || r->state != QI_FRAME_DATA || r->side != slot)
            found(a, "slot %: frame % does not keep it", u(slot), u(record->page));
    } else if (!r || r->state != QI_FRAME_LISTED || r->slot != slot) {
        found(a, "slot %: frame % is not its page", u(slot), u(record->page));
    }
    *frames += state != QI_PAGED_KEPT;
}

static void check_slots(struct audit *a)
{
    struct quire *q = a->q;
    struct qi_paging *p = &q->paging;
    uint32_t frames = 0, used = 0, by_file[QUIRE_PAGEFILES] = {0};
    for (uint32_t i = 0; i < q->frames.count; i++) {
        const struct qi_frame *r = &q->frames.records[i];
        if (r->state == QI_FRAME_DATA && r->side != QI_NO_FRAME)
            slot_owned(a, r->side, false, q->frames.first + i, 0);
    }
    check_list(a, &p->modified, QI_PAGED_MODIFIED);
    for (unsigned i = 0; i < QI_STANDBY_LISTS; i++)
        check_list(a, &p->standby[i], QI_PAGED_STANDBY);
    for (uint32_t i = 0; i < p->max / QI_CHUNK; i++) {
        uint32_t count = 0;
        for (slot_t slot = i * QI_CHUNK + 1; slot <= (i + 1) * QI_CHUNK; slot++) {
            check_slot(a, slot, &frames);
            count += paged_record(p, slot)->state != QI_PAGED_FREE;
        }
        if (count != p->chunks[i].used || (count > 0 && p->chunks[i].file == 0))
            found(a, "chunk %: % slots counted, % found", u(i), u(p->chunks[i].used), u(count));
        else if (count > 0)
            by_file[p->chunks[i].file - 1] += count;
        used += count;
    }
    for (unsigned i = 0; i < QUIRE_PAGEFILES; i++)
        if (p->files[i].used != by_file[i])
            found(a, "page file %: % slots counted, % found", u(i), u(p->files[i].used),
                  u(by_file[i]));
    if (used != p->used || frames != qi_frames_in_state(q, QI_FRAME_LISTED))
        found(a, "slots: % counted, % found, % with a frame", u(p->used), u(used), u(frames));
}

/* The frames of a list without colours, which are all that match. */
static void check_chain(struct audit *a, const char *text, pfn_t head, uint32_t expected)
{
    uint32_t count = 0;
    for (pfn_t pfn = head; pfn != QI_NO_FRAME && count <= expected; count++) {
        const struct qi_frame *r = record_or_null(a->q, pfn);
        pfn = r ? r->next : QI_NO_FRAME;
    }
    if (count != expected)
        found(a, text, u(count), u(expected));
}

static void check_chains(struct audit *a)
{
    const struct qi_frames *f = &a->q->frames;
    uint32_t partial = 0;
    for (uint32_t i = 0; i < f->count; i++)
        partial +=
            f->records[i].state == QI_FRAME_NODES && f->records[i].share < QI_NODES_PER_FRAME;
    check_chain(a, "frames with free nodes: % listed, % found", a->q->nodes.partial, partial);
    check_chain(a, "dying tables: % listed, % found", a->q->drop_list,
                qi_frames_in_state(a->q, QI_FRAME_DYING));
}

/* ---- references ---------------------------------------------------------------------------- */

/* The page that a home names has that home; else a finding (in the first pass). */
static struct qi_frame *home_lender(struct audit *a, pfn_t table, unsigned index, home_t home,
                                    bool first)
{
    struct qi_frame *lender = record_or_null(a->q, home >> QUIRE_TABLE_SHIFT);
    if (!is_table(lender) || lender->level != 1 || !record_or_null(a->q, lender->side)) {
        if (first)
            found(a, "table % entry %: its home is in frame %, which lends nothing", u(table),
                  u(index), u(home >> QUIRE_TABLE_SHIFT));
        return NULL;
    }
    enum qi_kind kind = entry_kind(table_entries(a->q, home_table(home))[home_index(home)], 1);
    if (!kind_home(kind) && first)
        found(a, "table % entry %: its home, table % entry %, holds no page", u(table), u(index),
              u(home_table(home)), u(home_index(home)));
    return lender;
}

static void count_use(struct audit *a, struct qi_frame *lender, home_t home, bool mapped,
                      uint32_t step)
{
    struct qi_side *side = table_side(a->q, lender);
    side->uses[home_index(home)] += step;
    side->maps[home_index(home)] += mapped ? step : 0;
    frame_record(&a->q->frames, lender->side)->sum += (uint64_t)(int64_t)(int32_t)step;
}

static void count_page(struct audit *a, pfn_t table, unsigned index, entry_t e, uint32_t step)
{
    struct quire *q = a->q;
    enum qi_kind kind = entry_kind(e, 1);
    bool first = step == UINT32_MAX;
    home_t home = 0;
    if (kind == QI_PROTOTYPE) {
        home = entry_payload(e);
    } else if (kind == QI_GUARD) {
        return;
    } else if (kind == QI_PAGED) {
        if (first)
            slot_owned(a, entry_slot(e), true, table, index);
        return;
    } else if (kind == QI_ZERO) {
        if (first && (entry_payload(e) != q->zero_page || (e & (ENTRY_WRITE | ENTRY_DIRTY))))
            found(a, "table % entry %: a zero entry that is not the zero page, or writable",
                  u(table), u(index));
        return;
    } else {
        const struct qi_frame *page = record_or_null(q, entry_payload(e));
        if (!page || page->state != QI_FRAME_DATA) {
            if (first)
                found(a, "table % entry %: frame % is no page", u(table), u(index),
                      u(entry_payload(e)));
            return;
        }
        home = page->home;
    }
    if (kind == QI_BORROWED || kind == QI_PROTOTYPE || kind == QI_SECTION) {
        struct qi_frame *lender = home_lender(a, table, index, home, first);
        if (lender)
            count_use(a, lender, home, kind != QI_PROTOTYPE, step);
        if (first && home_table(home) == table)
            found(a, "table % entry %: borrows from itself", u(table), u(index));
        if (first && lender && (lender->state == QI_FRAME_SECTION) != (kind == QI_SECTION))
            found(a, "table % entry %: kind %, but its home is in frame %", u(table), u(index),
                  u(kind), u(home_table(home)));
        if (first && kind != QI_SECTION && (e & ENTRY_WRITE))
            found(a, "table % entry %: borrowed and writable", u(table), u(index));
    } else if (first && home != home_make(table, index)) {
        found(a, "table % entry %: own, but the home of frame % is table %", u(table), u(index),
              u(entry_payload(e)), u(home_table(home)));
    }
}

/* Add `step` (minus one, then one) to every count for every reference that there is. */
static void count_references(struct audit *a, uint32_t step)
{
    struct quire *q = a->q;
    bool first = step == UINT32_MAX;
    for (uint32_t i = 0; i < q->max_spaces; i++) {
        struct qi_frame *root = record_or_null(q, q->spaces[i].root);
        if (q->spaces[i].state == QI_SPACE_FREE)
            continue;
        if (!is_table(root) || root->level != QUIRE_LEVELS) {
            if (first)
                found(a, "space %: frame % is no root", u(i), u(q->spaces[i].root));
            continue;
        }
        root->share += step;
    }
    for (uint32_t i = 0; i < q->frames.count; i++) {
        const struct qi_frame *r = &q->frames.records[i];
        pfn_t table = q->frames.first + i;
        if (!is_table(r))
            continue;
        const entry_t *entries = table_entries(q, table);
        uint32_t present = 0;
        for (unsigned j = 0; j < table_count(r->level); j++) {
            entry_t e = entries[j];
            if (e == 0)
                continue;
            present++;
            bool section = r->state == QI_FRAME_SECTION;
            if (section && r->level == 1)
                e = entry_from_busy(e); /* it is being read */
            if (e & ENTRY_BUSY) {
                if (first)
                    found(a, "table % entry %: busy, and nobody is at work", u(table), u(j));
            } else if (r->level == 1) {
                count_page(a, table, j, e, step);
            } else if (!section) {
                struct qi_frame *child = record_or_null(q, entry_payload(e));
                if (is_table(child) && child->level == r->level - 1)
                    child->share += step;
                else if (first)
                    found(a, "table % entry %: frame % is no table of level %", u(table), u(j),
                          u(entry_payload(e)), u(r->level - 1u));
            }
        }
        if (first && present != r->present)
            found(a, "table %: % entries counted, % found", u(table), u(r->present), u(present));
    }
}

/* Between the two: every count must be zero. */
static void check_counts_gone(struct audit *a)
{
    struct quire *q = a->q;
    uint32_t sides = 0;
    for (uint32_t i = 0; i < q->frames.count; i++) {
        const struct qi_frame *r = &q->frames.records[i];
        if (!is_table(r))
            continue;
        pfn_t table = q->frames.first + i;
        if (r->share != 0)
            found(a, "table % of level %: share differs by % from its parents", u(table),
                  u(r->level), u(r->share));
        const struct qi_frame *side = record_or_null(q, r->side);
        if (r->side == QI_NO_FRAME)
            continue;
        sides++;
        if (!side || side->state != QI_FRAME_SIDE || r->level != 1) {
            found(a, "table %: its side frame % is none", u(table), u(r->side));
            continue;
        }
        if (side->sum != 0)
            found(a, "table %: the sum of its uses differs by %", u(table), side->sum);
        for (unsigned j = 0; j < QUIRE_TABLE_ENTRIES; j++)
            if (table_side(q, r)->uses[j] != 0 || table_side(q, r)->maps[j] != 0)
                found(a, "table % entry %: uses differ by %, maps by %", u(table), u(j),
                      u(table_side(q, r)->uses[j]), u(table_side(q, r)->maps[j]));
    }
    uint32_t counted = qi_frames_in_state(q, QI_FRAME_SIDE);
    if (sides != counted)
        found(a, "side frames: % in that state, % found", u(counted), u(sides));
}

/* ---- rules of single tables ---------------------------------------------------------------- */

static void check_home(struct audit *a, const struct qi_frame *r, pfn_t table, unsigned index)
{
    enum qi_kind kind = entry_kind(table_entries(a->q, table)[index], 1);
    if (kind == QI_EMPTY)
        return;
    if (!kind_home(kind) || !record_or_null(a->q, r->side) || table_side(a->q, r)->uses[index] == 0)
        found(a, "table % entry %: kind % in a table without parents", u(table), u(index), u(kind));
}

static void check_table(struct audit *a, const struct qi_frame *r, pfn_t table)
{
    struct quire *q = a->q;
    const entry_t *entries = table_entries(q, table);
    if (r->share == 0 && r->state == QI_FRAME_TABLE && (r->level != 1 || r->present == 0))
        found(a, "table % of level %: no parents, and % entries", u(table), u(r->level),
              u(r->present));
    if (r->state == QI_FRAME_SECTION)
        return;
    if (r->side != QI_NO_FRAME && record_or_null(q, r->side) &&
        frame_record(&q->frames, r->side)->sum == 0)
        found(a, "table %: has a side frame and lends nothing", u(table));
    for (unsigned j = 0; j < table_count(r->level); j++) {
        entry_t e = entries[j];
        if (r->share == 0 && r->state == QI_FRAME_TABLE && r->level == 1)
            check_home(a, r, table, j);
        if (r->level == 1 || !(e & ENTRY_WRITE))
            continue;
        const struct qi_frame *child = record_or_null(q, entry_payload(e));
        if (!child || child->share != 1 || child->side != QI_NO_FRAME)
            found(a, "table % entry %: writable, but its child is shared or frozen", u(table),
                  u(j));
        if (r->level == QUIRE_LEVELS && r->share > 1)
            found(a, "root % entry %: writable in a shared root", u(table), u(j));
    }
}

static void check_tables(struct audit *a)
{
    struct quire *q = a->q;
    for (uint32_t i = 0; i < q->frames.count; i++) {
        const struct qi_frame *r = &q->frames.records[i];
        pfn_t pfn = q->frames.first + i;
        if (is_table(r))
            check_table(a, r, pfn);
        if (r->state != QI_FRAME_DATA || r->home == QI_NO_HOME)
            continue;
        const struct qi_frame *lender = record_or_null(q, r->home >> QUIRE_TABLE_SHIFT);
        if (!is_table(lender) || lender->level != 1) {
            found(a, "page %: its home is in frame %, no leaf", u(pfn), u(home_table(r->home)));
            continue;
        }
        entry_t e = table_entries(q, home_table(r->home))[home_index(r->home)];
        if (lender->state == QI_FRAME_SECTION)
            e = entry_from_busy(e);
        enum qi_kind kind = entry_kind(e, 1);
        if ((kind != QI_OWN && kind != QI_BARRED) || entry_pfn(e) != pfn)
            found(a, "page %: its home, table % entry %, does not name it", u(pfn),
                  u(home_table(r->home)), u(home_index(r->home)));
    }
    const unsigned char *zero =
        record_or_null(q, q->zero_page) ? frame_memory(&q->frames, q->zero_page) : NULL;
    for (unsigned i = 0; zero && i < QUIRE_PAGE_SIZE; i++)
        if (zero[i] != 0) {
            found(a, "the zero page: byte % is not zero", u(i));
            break;
        }
}

/* ---- paths --------------------------------------------------------------------------------- */

struct path {
    pfn_t table;
    unsigned level;
    vaddr_t base;
    bool present, writable, exclusive; /* so far */
};

/* The entry of a section that is the home of a page that some entry maps. */
static entry_t home_entry(const struct quire *q, entry_t e)
{
    home_t home = qi_entry_home(q, e);
    return table_entries(q, home_table(home))[home_index(home)];
}

/* A page of a section is the one that the region shows there. */
static void check_view(struct audit *a, uint64_t name, const struct qi_region *region, vaddr_t at,
                       entry_t e)
{
    const struct quire_section *section = region->view ? qi_section_of(a->q, region->view) : NULL;
    uint64_t page = view_page(region->view, at);
    if (!section || section->state != QI_SECTION_LIVE) {
        found(a, "space % page %: a page of a section, in no view of one", name, at);
        return;
    }
    if (!a->torn && entry_pfn(qi_section_peek(section, page)) != entry_pfn(e))
        found(a, "space % page %: not page % of section %", name, at, page, u(section->index));
    if (page >= qi_pages_up(section->size))
        found(a, "space % page %: beyond the end of section %", name, at, u(section->index));
}

static void check_leaf_entry(struct audit *a, const struct quire_space *space,
                             const struct path *path, vaddr_t at, entry_t e)
{
    uint64_t name = (uint64_t)(space - a->q->spaces);
    const struct qi_region *region = qi_region_find(space->regions, at);
    if (!region) {
        found(a, "space % page %: an entry outside any region", name, at);
        return;
    }
    if (entry_kind(e, 1) == QI_SECTION)
        check_view(a, name, region, at, e);
    if (!path->present || !entry_present(e))
        return;
    if (!(region->prot & QUIRE_READ) || (region->flags & QUIRE_REGION_RESERVED))
        found(a, "space % page %: readable, in a region that forbids it", name, at);
    if (entry_exec(e) && !(region->prot & QUIRE_EXEC))
        found(a, "space % page %: executable, in a region that forbids it", name, at);
    if (!path->writable || !(e & ENTRY_WRITE))
        return;
    if (!(region->prot & QUIRE_WRITE))
        found(a, "space % page %: writable, in a region that forbids it", name, at);
    bool shared = entry_kind(e, 1) == QI_SECTION && (region->flags & QUIRE_REGION_SHARED);
    if (!path->exclusive || (entry_kind(e, 1) != QI_OWN && !shared))
        found(a, "space % page %: writable, and not its own alone", name, at);
    if (shared && !(home_entry(a->q, e) & (ENTRY_FOLDED | ENTRY_WRITING)))
        found(a, "space % page %: writable, and does not count as changed", name, at);
}

static void check_path(struct audit *a, const struct quire_space *space, struct path path)
{
    struct quire *q = a->q;
    const struct qi_frame *r = record_or_null(q, path.table);
    if (!is_table(r) || r->level != path.level)
        return; /* reported by the recount */
    path.exclusive = path.exclusive && r->share == 1 && r->side == QI_NO_FRAME;
    const entry_t *entries = table_entries(q, path.table);
    for (unsigned i = 0; i < table_count(r->level); i++) {
        entry_t e = entries[i];
        vaddr_t at = path.base + i * entry_span(path.level);
        if (e == 0)
            continue;
        if (path.level == 1) {
            check_leaf_entry(a, space, &path, at, e);
            continue;
        }
        check_path(a, space,
                   (struct path){entry_pfn(e), path.level - 1, at, path.present && entry_present(e),
                                 path.writable && (e & ENTRY_WRITE), path.exclusive});
    }
}

/* ---- regions ------------------------------------------------------------------------------- */

/* Marks in a node, gone when the audit ends. */
enum { SEEN = 0x40, CHECKED = 0x80 };
_Static_assert((SEEN | CHECKED) == QI_REGION_MARKS, "the bits that are the auditor's");

/* One view of a section more, or less. */
static void count_view(struct quire *q, const struct qi_region *n, uint32_t step)
{
    if (!n->view)
        return;
    struct quire_section *section = qi_section_of(q, n->view);
    section->views += step;
    if ((n->flags & QUIRE_REGION_SHARED) && (n->prot & QUIRE_WRITE))
        section->writers += step;
}

static uint64_t nodes_uncount(struct quire *q, struct qi_region *n)
{
    if (!n)
        return 0;
    n->refs--;
    if (n->below & SEEN)
        return 0;
    n->below |= SEEN;
    count_view(q, n, UINT32_MAX);
    return 1 + nodes_uncount(q, n->left) + nodes_uncount(q, n->right);
}

static void nodes_recount(struct quire *q, struct qi_region *n)
{
    if (!n)
        return;
    n->refs++;
    if (!(n->below & SEEN))
        return;
    n->below &= (uint8_t) ~(SEEN | CHECKED);
    count_view(q, n, 1);
    nodes_recount(q, n->left);
    nodes_recount(q, n->right);
}

static bool alike(const struct qi_region *a, const struct qi_region *b)
{
    return a->prot == b->prot && a->flags == b->flags && a->name == b->name && a->view == b->view;
}

/* What a node sums up of its subtree besides gaps. */
static void check_sums(struct audit *a, const struct qi_region *n)
{
    const uint8_t work = QUIRE_REGION_FORK_OMIT | QUIRE_REGION_FORK_WIPE;
    uint64_t charge = n->flags & QI_REGION_CHARGED ? (n->end - n->start) >> QUIRE_PAGE_SHIFT : 0;
    uint8_t below = (n->flags & work) != 0 ? QI_REGION_FORK_WORK : 0;
    below |= n->view ? QI_REGION_VIEWS : 0;
    charge += n->left ? n->left->charge : 0;
    charge += n->right ? n->right->charge : 0;
    below |= n->left ? n->left->below : 0;
    below |= n->right ? n->right->below : 0;
    if (charge != n->charge || (below ^ n->below) & (uint8_t)~QI_REGION_MARKS)
        found(a, "region at %: promises % pages counted, % found", n->start, n->charge, charge);
    if (((n->flags & QUIRE_REGION_RESERVED) && (n->flags & QI_REGION_CHARGED)) ||
        ((n->prot & QUIRE_WRITE) &&
         !(n->flags & (QUIRE_REGION_RESERVED | QI_REGION_CHARGED | QUIRE_REGION_SHARED))))
        found(a, "region at %: protection % with flags %", n->start, u(n->prot), u(n->flags));
}

static void check_node(struct audit *a, struct qi_region *n)
{
    unsigned left = n->left ? n->left->height : 0, right = n->right ? n->right->height : 0;
    const struct qi_region *before = n->left, *after = n->right;
    uint64_t gap = before ? before->gap : 0;
    while (before && before->right)
        before = before->right;
    while (after && after->left)
        after = after->left;
    check_sums(a, n);
    if (n->refs != 0)
        found(a, "region at %: references differ by %", n->start, u(n->refs));
    if (n->start >= n->end || n->start < a->q->low || n->end > a->q->high ||
        ((n->start | n->end) & (QUIRE_PAGE_SIZE - 1)))
        found(a, "region at %: ends at %", n->start, n->end);
    if (left > right + 1 || right > left + 1 || n->height != 1 + (left > right ? left : right))
        found(a, "region at %: height % over % and %", n->start, u(n->height), u(left), u(right));
    if ((before && (before->end > n->start || (before->end == n->start && alike(before, n)))) ||
        (after && (after->start < n->end || (after->start == n->end && alike(n, after)))))
        found(a, "region at %: overlaps or should be merged with a neighbour", n->start);
    if (before && n->start - before->end > gap)
        gap = n->start - before->end;
    if (after && n->right->gap > gap)
        gap = n->right->gap;
    if (after && after->start - n->end > gap)
        gap = after->start - n->end;
    if (gap != n->gap)
        found(a, "region at %: gap % counted, % found", n->start, n->gap, gap);
}

static void check_nodes(struct audit *a, struct qi_region *n)
{
    if (!n || (n->below & CHECKED))
        return;
    n->below |= CHECKED;
    check_node(a, n);
    check_nodes(a, n->left);
    check_nodes(a, n->right);
}

static void each_tree(struct audit *a, void (*visit)(struct audit *, struct qi_region *))
{
    struct quire *q = a->q;
    for (uint32_t i = 0; i < q->max_spaces; i++)
        if (q->spaces[i].state == QI_SPACE_LIVE)
            visit(a, q->spaces[i].regions);
    for (struct qi_region *n = q->nodes.dead; n; n = n->right)
        visit(a, n->left);
}

struct node_count {
    struct audit audit;
    uint64_t nodes;
};

static void visit_uncount(struct audit *a, struct qi_region *n)
{
    ((struct node_count *)a)->nodes += nodes_uncount(a->q, n);
}

static void visit_recount(struct audit *a, struct qi_region *n) { nodes_recount(a->q, n); }

/* Nodes that wait to be freed are views still. */
static void each_dead(struct quire *q, uint32_t step)
{
    for (struct qi_region *n = q->nodes.dead; n; n = n->right)
        count_view(q, n, step);
}

/* Between the two: no view is left. */
static void check_views(struct audit *a)
{
    for (uint32_t i = 0; i < a->q->max_sections; i++) {
        const struct quire_section *section = &a->q->sections[i];
        if (section->views != 0 || section->writers != 0)
            found(a, "section %: views differ by %, writable ones by %", u(i), u(section->views),
                  u(section->writers));
    }
}

/* The tables of a section's tree below one; returns how many there are. */
static uint32_t check_section_table(struct audit *a, const struct quire_section *section,
                                    pfn_t table, unsigned level)
{
    const struct qi_frame *r = record_or_null(a->q, table);
    uint32_t count = 1;
    if (!r || r->state != QI_FRAME_SECTION || r->level != level || r->section != section->index) {
        found(a, "section %: frame % is none of its tables of level %", u(section->index), u(table),
              u(level));
        return 0;
    }
    const entry_t *entries = table_entries(a->q, table);
    for (unsigned i = 0; level > 1 && i < QUIRE_TABLE_ENTRIES; i++)
        if (entries[i] != 0)
            count += check_section_table(a, section, entry_pfn(entries[i]), level - 1);
    return count;
}

static void check_sections(struct audit *a)
{
    struct quire *q = a->q;
    uint32_t tables = 0, live = 0;
    unsigned before = a->findings;
    for (uint32_t i = 0; i < q->max_sections; i++) {
        const struct quire_section *section = &q->sections[i];
        const struct qi_frame *root = record_or_null(q, section->root);
        if (section->state != QI_SECTION_LIVE)
            continue;
        live++;
        if (section->root != QI_NO_FRAME)
            tables += check_section_table(a, section, section->root, root ? root->level : 0);
        a->torn |= a->findings != before;
        if (section->refs < section->views || section->limit > section->size)
            found(a, "section %: % references, % views", u(i), u(section->refs), u(section->views));
        if (!qi_section_paged(section) && !section->changing &&
            section->charge != qi_pages_up(section->size))
            found(a, "section %: promised % pages", u(i), section->charge);
    }
    if (tables != qi_frames_in_state(q, QI_FRAME_SECTION))
        found(a, "tables of sections: % in that state, % found",
              u(qi_frames_in_state(q, QI_FRAME_SECTION)), u(tables));
    if (live != q->live_sections)
        found(a, "sections: % counted, % found", u(q->live_sections), u(live));
    uint32_t dead = 0;
    for (const struct quire_section *s = q->dead_section; s && dead <= live; s = s->next)
        dead++;
    if (dead != q->dead_sections)
        found(a, "dead sections: % counted, % found", u(q->dead_sections), u(dead));
}

static void check_regions(struct audit *a)
{
    struct quire *q = a->q;
    struct node_count count = {.audit = *a};
    each_tree(&count.audit, visit_uncount);
    each_dead(q, UINT32_MAX);
    check_views(a);
    each_tree(a, check_nodes);
    each_tree(a, visit_recount);
    each_dead(q, 1);
    uint64_t in_frames = 0;
    for (struct qi_region *n = q->nodes.dead; n; n = n->right)
        count.nodes++;
    for (uint32_t i = 0; i < q->frames.count; i++)
        if (q->frames.records[i].state == QI_FRAME_NODES)
            in_frames += q->frames.records[i].share;
    if (count.nodes != q->nodes.used || in_frames != q->nodes.used)
        found(a, "region nodes: % in use, % found, % in frames", q->nodes.used, count.nodes,
              in_frames);
}

static void check_space(struct audit *a, const struct quire_space *space)
{
    const struct qi_frame *root = record_or_null(a->q, space->root);
    if (space->root_own && root && root->share != 1)
        found(a, "space %: its root is said to be its own, and has % parents", u(space->index),
              u(root->share));
    check_path(a, space, (struct path){space->root, QUIRE_LEVELS, 0, true, true, true});
}

unsigned quire_check(struct quire *q)
{
    struct audit a = {.q = q};
    uint32_t live = 0;
    qi_stop_all(q);
    check_frames(&a);
    check_chains(&a);
    check_pins(&a);
    count_references(&a, UINT32_MAX);
    check_counts_gone(&a);
    check_slots(&a);
    count_references(&a, 1);
    check_tables(&a);
    check_regions(&a);
    check_sections(&a);
    for (uint32_t i = 0; i < q->max_spaces; i++) {
        const struct quire_space *space = &q->spaces[i];
        if (space->state != QI_SPACE_LIVE)
            continue;
        live++;
        check_space(&a, space);
    }
    if (live != q->live_spaces)
        found(&a, "spaces: % counted, % found", u(q->live_spaces), u(live));
    qi_go_all(q);
    return a.findings;
}
