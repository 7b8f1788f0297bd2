/* SPDX-License-Identifier: MIT */
/*
 * Walks: what a space has at this moment, found by looking.
 *
 * Exact figures of one space are not kept, because under shared tables they could not be: a table
 * changes for all its sharers at once, and has no list of them (design-rules H23).  So whoever
 * wants to know looks at the tree: at one page (quire_page), at the next run of pages
 * (quire_next_pages), or at everything below a range (quire_space_usage).  A walk visits the tables
 * below the range, shared ones too, and passes what is empty in one step at the highest level.
 *
 * A page is PRIVATE if every table on its path is the space's alone and lends nothing; a table
 * below a hidden entry never is, because unhiding is always an unshare.
 *
 * Locks: the space exclusively, so no entry below it is busy.  Its shared tables may be left by
 * others meanwhile; what they say about this space does not change by that, but whether they are
 * shared does.
 */
#include "table.h"

/* What an entry of a leaf is to its space; `exclusive`: every table on its path is. */
static enum quire_page_kind page_kind(entry_t e, bool exclusive)
{
    switch (entry_kind(e, 1)) {
    case QI_ZERO: return QUIRE_PAGE_ZERO;
    case QI_GUARD: return QUIRE_PAGE_GUARD;
    case QI_SECTION: return QUIRE_PAGE_SECTION;
    case QI_OWN:
    case QI_PAGED:
    case QI_BARRED: return exclusive ? QUIRE_PAGE_PRIVATE : QUIRE_PAGE_SHARED;
    case QI_BORROWED:
    case QI_PROTOTYPE: return QUIRE_PAGE_BORROWED;
    case QI_EMPTY:
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: break;
    }
    return QUIRE_PAGE_EMPTY;
}

/* A walk over [low, high): called for every table on the way and every entry of a leaf, in order.
 */
struct walk {
    struct quire *q;
    vaddr_t low, high;
    void (*table)(struct walk *walk, bool exclusive);
    /* False: enough.  `end` - `start` is a page, or more where a subtree is EMPTY. */
    bool (*pages)(struct walk *walk, vaddr_t start, vaddr_t end, enum quire_page_kind kind,
                  entry_t e);
    union {
        struct quire_usage *usage;
        struct quire_pages *run;
    };
};

static bool walk_table(struct walk *w, pfn_t table, unsigned level, vaddr_t base, bool exclusive)
{
    const entry_t *entries = table_entries(w->q, table);
    exclusive = exclusive && table_exclusive(w->q, table);
    w->table(w, exclusive);
    for (unsigned i = 0; i < table_count(level); i++) {
        vaddr_t start = base + i * entry_span(level), end = start + entry_span(level);
        if (start >= w->high)
            break;
        if (end <= w->low)
            continue;
        entry_t e = entry_load(&entries[i]);
        bool more =
            level == 1 || e == 0
                ? w->pages(w, start, end, e ? page_kind(e, exclusive) : QUIRE_PAGE_EMPTY, e)
                : walk_table(w, entry_pfn(e), level - 1, start, exclusive && entry_present(e));
        if (!more)
            return false;
    }
    return true;
}

/* ---- everything ---------------------------------------------------------------------------- */

/* The page of a leaf entry is out of its working set. */
static bool is_out(const struct quire *q, entry_t e)
{
    if (entry_kind(e, 1) == QI_PROTOTYPE)
        e = entry_load(qi_home_slot(q, entry_payload(e)));
    return entry_kind(e, 1) == QI_PAGED;
}

static void usage_table(struct walk *w, bool exclusive)
{
    w->usage->tables_private += exclusive;
    w->usage->tables_shared += !exclusive;
}

static bool usage_pages(struct walk *w, vaddr_t start, vaddr_t end, enum quire_page_kind kind,
                        entry_t e)
{
    (void)start;
    (void)end;
    w->usage->pages_out += is_out(w->q, e);
    w->usage->pages_zero += kind == QUIRE_PAGE_ZERO;
    w->usage->pages_section += kind == QUIRE_PAGE_SECTION;
    w->usage->pages_private += kind == QUIRE_PAGE_PRIVATE;
    w->usage->pages_shared += kind == QUIRE_PAGE_SHARED || kind == QUIRE_PAGE_BORROWED;
    return true;
}

void quire_space_usage(struct quire_space *space, vaddr_t low, vaddr_t high,
                       struct quire_usage *out)
{
    *out = (struct quire_usage){0};
    struct walk w = {.q = space->q,
                     .low = low,
                     .high = high,
                     .table = usage_table,
                     .pages = usage_pages,
                     .usage = out};
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    walk_table(&w, space->root, QUIRE_LEVELS, 0, true);
    qi_leave(cpu);
}

/* ---- the next run -------------------------------------------------------------------------- */

static void run_table(struct walk *w, bool exclusive)
{
    (void)w;
    (void)exclusive;
}

/* The run begins with the first page that is not empty, and ends with the first of another kind. */
static bool run_pages(struct walk *w, vaddr_t start, vaddr_t end, enum quire_page_kind kind,
                      entry_t e)
{
    (void)e;
    struct quire_pages *run = w->run;
    if (run->kind == QUIRE_PAGE_EMPTY) {
        run->kind = kind;
        run->start = start;
    }
    if (run->kind != kind)
        return false;
    run->end = smaller(end, w->high);
    return true;
}

enum quire_status quire_next_pages(struct quire_space *space, vaddr_t address, vaddr_t high,
                                   struct quire_pages *out)
{
    struct quire_pages run = {.kind = QUIRE_PAGE_EMPTY};
    struct walk w = {.q = space->q,
                     .low = page_of(address),
                     .high = high,
                     .table = run_table,
                     .pages = run_pages,
                     .run = &run};
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    walk_table(&w, space->root, QUIRE_LEVELS, 0, true);
    qi_leave(cpu);
    if (run.kind == QUIRE_PAGE_EMPTY)
        return QUIRE_NOT_MAPPED;
    *out = run;
    return QUIRE_OK;
}

/* ---- one page ------------------------------------------------------------------------------ */

void quire_page(struct quire_space *space, vaddr_t address, struct quire_page *out)
{
    struct quire *q = space->q;
    *out = (struct quire_page){.kind = QUIRE_PAGE_EMPTY, .pfn = QI_NO_FRAME};
    if (address >= q->high)
        return;
    struct qi_cpu *cpu = qi_enter_exclusive(space);
    struct qi_look look = qi_table_look(space, address);
    bool reachable = look.level == 1;
    /* Below a hidden entry there are pages, which the region forbids for now. */
    while (look.level > 1 && look.entry != 0) {
        look.table = entry_pfn(look.entry);
        look.level--;
        look.exclusive = false;
        look.entry = entry_load(&table_entries(q, look.table)[entry_index(address, look.level)]);
    }
    out->kind = look.level == 1 ? page_kind(look.entry, look.exclusive) : QUIRE_PAGE_EMPTY;
    if (out->kind != QUIRE_PAGE_EMPTY && out->kind != QUIRE_PAGE_GUARD) {
        entry_t named = look.entry; /* the entry that names the frame */
        if (out->kind == QUIRE_PAGE_BORROWED || out->kind == QUIRE_PAGE_SECTION)
            named = entry_load(qi_home_slot(q, qi_entry_home(q, look.entry)));
        out->resident = entry_kind(named, 1) != QI_PAGED;
        if (out->resident) {
            const entry_t visited = entry_present(look.entry) ? look.entry : named;
            out->pfn = entry_pfn(named);
            out->age = entry_age(visited);
            out->used = (visited & ENTRY_ACCESSED) != 0;
        }
        out->dirty = entry_dirty(look.entry) || entry_dirty(named);
        out->readable = reachable && entry_present(look.entry);
        out->writable = out->readable && look.open && (look.entry & ENTRY_WRITE);
        out->executable = out->readable && entry_exec(look.entry);
    }
    qi_leave(cpu);
}
