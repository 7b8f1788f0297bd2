/* SPDX-License-Identifier: MIT */
/*
 * Counters, and what a walk finds: for tools, tests and people.
 *
 * What has happened is counted where it happens (struct quire_stats in the manager).  What is
 * there now is not counted on the way but found by looking, because under shared tables no
 * exact count of one space's pages could be kept: a table changes for all its sharers at once
 * and has no list of them. A usage walk visits every table below the range, shared ones too,
 * once for this space.
 *
 * Locks: the manager's.
 */
#include "table.h"

const char *quire_status_name(enum quire_status status)
{
    static const char *const names[QUIRE_STATUS_COUNT] = {
        [QUIRE_OK] = "QUIRE_OK",
        [QUIRE_MISALIGNED] = "QUIRE_MISALIGNED",
        [QUIRE_ZERO_LENGTH] = "QUIRE_ZERO_LENGTH",
        [QUIRE_WRAPS] = "QUIRE_WRAPS",
        [QUIRE_OUT_OF_RANGE] = "QUIRE_OUT_OF_RANGE",
        [QUIRE_BAD_FLAGS] = "QUIRE_BAD_FLAGS",
        [QUIRE_BAD_CONFIG] = "QUIRE_BAD_CONFIG",
        [QUIRE_OVERLAPS] = "QUIRE_OVERLAPS",
        [QUIRE_NOT_MAPPED] = "QUIRE_NOT_MAPPED",
        [QUIRE_PROTECTED] = "QUIRE_PROTECTED",
        [QUIRE_NO_ADDRESSES] = "QUIRE_NO_ADDRESSES",
        [QUIRE_NO_MEMORY] = "QUIRE_NO_MEMORY",
        [QUIRE_TOO_MANY_SPACES] = "QUIRE_TOO_MANY_SPACES",
    };
    return (unsigned)status < QUIRE_STATUS_COUNT ? names[status] : "?";
}

void quire_stats(struct quire *q, struct quire_stats *out)
{
    manager_lock(q);
    const struct qi_frames *f = &q->frames;
    *out = q->stats;
    out->spaces = q->live_spaces;
    out->frames = f->added;
    out->frames_free = f->free;
    out->frames_data = f->by_state[QI_FRAME_DATA];
    out->frames_table = f->by_state[QI_FRAME_TABLE] + f->by_state[QI_FRAME_DYING];
    out->frames_side = f->by_state[QI_FRAME_SIDE];
    out->frames_node = f->by_state[QI_FRAME_NODES];
    out->frames_taken = f->by_state[QI_FRAME_TAKEN];
    out->table_share_sum = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->records[i].state == QI_FRAME_TABLE)
            out->table_share_sum += f->records[i].share;
    manager_unlock(q);
}

/* A walk of the part of a space that one table covers. */
struct visit {
    struct quire *q;
    struct quire_usage *usage;
    vaddr_t low, high;
};

static void count_page(struct quire_usage *usage, enum qi_kind kind, bool exclusive)
{
    switch (kind) {
    case QI_ZERO: usage->pages_zero++; break;
    case QI_OWN:
    case QI_BARRED:
        usage->pages_private += exclusive;
        usage->pages_shared += !exclusive;
        break;
    case QI_BORROWED:
    case QI_PROTOTYPE: usage->pages_shared++; break;
    case QI_EMPTY:
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: break;
    }
}

static void visit_table(const struct visit *v, pfn_t table, unsigned level, vaddr_t base,
                        bool exclusive)
{
    const entry_t *entries = table_entries(v->q, table);
    unsigned count = table_count(level);
    exclusive = exclusive && table_exclusive(v->q, table);
    v->usage->tables_private += exclusive;
    v->usage->tables_shared += !exclusive;
    for (unsigned i = 0; i < count; i++) {
        vaddr_t start = base + i * entry_span(level);
        if (entries[i] == 0 || start >= v->high || start + entry_span(level) <= v->low)
            continue;
        if (level == 1)
            count_page(v->usage, entry_kind(entries[i], 1), exclusive);
        else
            visit_table(v, entry_pfn(entries[i]), level - 1, start,
                        exclusive && entry_present(entries[i]));
    }
}

void quire_space_usage(struct quire_space *space, vaddr_t low, vaddr_t high,
                       struct quire_usage *out)
{
    struct quire *q = space->q;
    manager_lock(q);
    *out = (struct quire_usage){
        .copies = space->copies, .reuses = space->reuses, .unshared = space->unshared};
    struct visit v = {q, out, low, high};
    visit_table(&v, space->root, QUIRE_LEVELS, 0, true);
    manager_unlock(q);
}

static enum quire_page_kind page_kind(const struct qi_look *look)
{
    switch (entry_kind(look->entry, look->level)) {
    case QI_ZERO: return QUIRE_PAGE_ZERO;
    case QI_OWN:
    case QI_BARRED: return look->exclusive ? QUIRE_PAGE_PRIVATE : QUIRE_PAGE_SHARED;
    case QI_BORROWED:
    case QI_PROTOTYPE: return QUIRE_PAGE_BORROWED;
    case QI_EMPTY:
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: break;
    }
    return QUIRE_PAGE_EMPTY;
}

void quire_page(struct quire_space *space, vaddr_t address, struct quire_page *out)
{
    struct quire *q = space->q;
    *out = (struct quire_page){.kind = QUIRE_PAGE_EMPTY, .pfn = QI_NO_FRAME};
    if (address >= q->high)
        return;
    manager_lock(q);
    struct qi_look look = qi_table_look(space, address);
    bool reachable = look.level == 1;
    /* Below a hidden entry there are pages, which the region forbids for now. */
    while (look.level > 1 && look.entry != 0) {
        look.table = entry_pfn(look.entry);
        look.level--;
        look.exclusive = false;
        look.entry = entry_load(&table_entries(q, look.table)[entry_index(address, look.level)]);
    }
    if (look.level == 1 && look.entry != 0) {
        enum qi_kind kind = entry_kind(look.entry, 1);
        entry_t named = look.entry; /* the entry that names the frame */
        if (kind == QI_PROTOTYPE || kind == QI_BORROWED) {
            home_t place = qi_entry_home(q, look.entry);
            named = table_entries(q, home_table(place))[home_index(place)];
        }
        out->kind = page_kind(&look);
        out->pfn = entry_pfn(named);
        out->dirty = entry_dirty(look.entry) || entry_dirty(named);
        out->readable = reachable && entry_present(look.entry);
        out->writable = out->readable && look.open && (look.entry & ENTRY_WRITE);
        out->executable = out->readable && entry_exec(look.entry);
    }
    manager_unlock(q);
}
