/* SPDX-License-Identifier: MIT */
/*
 * Pins: frames that stay where they are while a device, or a copy, uses them.
 *
 * A pin makes the page the space's own first, through the write fault, for a read pin as well: a
 * page that is shared can be left by its owner's next write, and the device would go on with the
 * other half (bugs.md rows 22 to 24).  After that nothing takes the page away from its home but an
 * unmapping, since what is not shared is not copied.  So a pin is one count in the frame's record,
 * and fork is the only operation that has to look for it:
 *
 *      before          after fork
 *      parent          parent        child
 *        T               T'''          T'        T' borrows from T, and has copies of the pinned
 *      own *           own * ----+   own copy    pages; T''' has the pinned pages themselves
 *      own             borrowed  |   borrowed
 *                          \     |     /         T is a prototype table, empty where pages were
 *                           `--> T <--'          pinned
 *                                empty
 *                                own
 *
 * Both sides leave the leaf at once.  If the parent went on in T it would have to leave it at its
 * next write, and its pinned pages would then be borrowed, and copied by the next write (H10).  The
 * copies are made after the parent's translations have gone, so they are of the fork's instant but
 * for what the device itself writes.
 *
 * Fork finds such leaves by hints, one for each table of the path, set by a pin and never cleared
 * by an unpin; a fork that finds nothing below a hint clears it (H11).  So a fork without pins
 * looks at one word.
 *
 * A page that is unmapped while pinned becomes an orphan: it has no home, stays promised, and goes
 * with its last pin.
 *
 * A handle is a number of a record and the serial number that the record has while the handle
 * lives; so it can not be released twice, nor by somebody who only has an old copy (row 30).
 */
#include "pin.h"

void qi_pins_init(struct quire *q)
{
    for (uint32_t i = q->max_pins; i-- > 0;) {
        q->pins[i] = (struct qi_pin){.next_free = q->free_pin};
        q->free_pin = &q->pins[i];
    }
}

/* ---- pin and unpin ------------------------------------------------------------------------- */

/* Every table of the path may now hold pinned pages, or lead to such. */
static void hint_path(struct qi_cpu *cpu, const struct quire_space *space, vaddr_t address)
{
    const struct quire *q = cpu->q;
    pfn_t table = qi_load(&space->root);
    for (unsigned level = QUIRE_LEVELS;; level--) {
        struct qi_frame *r = table_record(q, table);
        if (qi_load(&r->pins) == 0)
            qi_store(&r->pins, UINT64_C(1));
        if (level == 1)
            return;
        table = entry_pfn(entry_load(&table_entries(q, table)[entry_index(address, level)]));
    }
}

static bool run_append(struct quire_pin *pin, uint32_t capacity, pfn_t pfn)
{
    struct quire_run *last = pin->run_count > 0 ? &pin->runs[pin->run_count - 1] : NULL;
    if (last && last->first + last->count == pfn)
        last->count++;
    else if (pin->run_count < capacity)
        pin->runs[pin->run_count++] = (struct quire_run){pfn, 1};
    else
        return false;
    pin->pages++;
    return true;
}

static enum quire_status pin_page(struct quire_space *space, vaddr_t address, uint32_t access,
                                  uint32_t capacity, struct quire_pin *pin)
{
    struct qi_fault fault = {.space = space,
                             .address = address,
                             .asked = QUIRE_WRITE,
                             .rights = access & (QUIRE_READ | QUIRE_WRITE),
                             .no_wait = (access & QUIRE_NO_WAIT) != 0};
    enum quire_status status = qi_fault_resolve(&fault);
    if (status != QUIRE_OK)
        return status;
    bool there = run_append(pin, capacity, fault.pfn);
    if (there) {
        fault.cpu->q->pins[pin->slot].pages++;
        qi_add(&frame_record(&fault.cpu->q->frames, fault.pfn)->share, 1);
        if (!QI_CANARY(QI_CANARY_PIN_WITHOUT_HINT))
            hint_path(fault.cpu, space, address);
        if (fault.view && fault.shared && (access & QUIRE_WRITE))
            qi_view_changed(fault.cpu, fault.pfn); /* again: it may be on its way to the pager */
    }
    qi_leave(fault.cpu);
    return there ? QUIRE_OK : QUIRE_TOO_MANY_PINS;
}

static void page_unpin(struct qi_cpu *cpu, pfn_t pfn)
{
    struct quire *q = cpu->q;
    struct qi_frame *r = frame_record(&q->frames, pfn);
    uint32_t before = qi_add(&r->share, UINT32_MAX);
    qi_assert((before & ~QI_ORPHAN) > 0);
    if (before != (QI_ORPHAN | 1))
        return;
    qi_frame_free(cpu, pfn);
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    q->committed--;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
}

/* A record for a handle; null: config.max_pins are live. */
static struct qi_pin *handle_alloc(struct quire *q)
{
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    struct qi_pin *handle = q->free_pin;
    if (handle)
        q->free_pin = handle->next_free;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    qi_leave(cpu);
    return handle;
}

static bool handle_named(const struct quire *q, const struct quire_pin *pin)
{
    return pin->slot < q->max_pins &&
           (q->pins[pin->slot].pages == pin->pages || QI_CANARY(QI_CANARY_UNPIN_TWICE)) &&
           q->pins[pin->slot].serial == pin->serial;
}

/* End a handle, and let go of its frames in the same call.  False: `pin` does not name it. */
static bool handle_end(struct quire *q, const struct quire_pin *pin, bool live)
{
    struct qi_cpu *cpu = qi_enter(q);
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    bool named = handle_named(q, pin) && (pin->pages > 0 || !live);
    if (named) {
        struct qi_pin *handle = &q->pins[pin->slot];
        handle->pages = 0;
        handle->serial += !QI_CANARY(QI_CANARY_UNPIN_TWICE);
        handle->next_free = q->free_pin;
        q->free_pin = handle;
    }
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    for (uint32_t i = 0; named && i < pin->run_count; i++)
        for (uint32_t n = 0; n < pin->runs[i].count; n++)
            page_unpin(cpu, pin->runs[i].first + n);
    qi_leave(cpu);
    return named;
}

enum quire_status quire_pin(struct quire_space *space, vaddr_t address, uint64_t length,
                            uint32_t access, struct quire_run *runs, uint32_t capacity,
                            struct quire_pin *out)
{
    struct quire *q = space->q;
    uint32_t kind = access & ~(uint32_t)QUIRE_NO_WAIT;
    if (kind != QUIRE_READ && kind != QUIRE_WRITE)
        return QUIRE_BAD_FLAGS;
    if (length == 0)
        return QUIRE_ZERO_LENGTH;
    if (address + length < address)
        return QUIRE_WRAPS;
    vaddr_t low = page_of(address), last = page_of(address + length - 1);
    uint64_t pages = ((last - low) >> QUIRE_PAGE_SHIFT) + 1;
    if (pages > q->frames.count)
        return QUIRE_TOO_MANY_PINS;
    struct qi_pin *handle = handle_alloc(q);
    if (!handle)
        return QUIRE_TOO_MANY_PINS;
    struct quire_pin pin = {
        .runs = runs, .slot = (uint32_t)(handle - q->pins), .serial = handle->serial};
    enum quire_status status = QUIRE_OK;
    for (vaddr_t at = low; status == QUIRE_OK && pin.pages < pages; at += QUIRE_PAGE_SIZE)
        status = pin_page(space, at, access, capacity, &pin);
    if (status == QUIRE_OK)
        *out = pin;
    else
        (void)handle_end(q, &pin, false);
    if (!(access & QUIRE_NO_WAIT))
        qi_finish(q, QI_FEW_SLICES);
    return status;
}

enum quire_status quire_unpin(struct quire *q, struct quire_pin *pin)
{
    return handle_end(q, pin, true) ? QUIRE_OK : QUIRE_BAD_PIN;
}

/* ---- fork ---------------------------------------------------------------------------------- */

bool qi_entry_pinned(const struct quire *q, entry_t e)
{
    enum qi_kind kind = entry_kind(e, 1);
    return (kind == QI_OWN || kind == QI_BARRED) &&
           qi_load(&frame_record(&q->frames, entry_pfn(e))->share) > 0;
}

uint32_t qi_leaf_pinned(const struct quire *q, pfn_t table)
{
    if (frame_record(&q->frames, table)->pins == 0)
        return 0;
    const entry_t *entries = table_entries(q, table);
    uint32_t pages = 0;
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++)
        pages += qi_entry_pinned(q, entry_load(&entries[i]));
    return pages;
}

/* The same below one table, which starts at `base`.  The recursion is as deep as the tree. */
static bool pinned_below(const struct quire *q, pfn_t table, vaddr_t base, vaddr_t *at,
                         uint32_t *pages)
{
    struct qi_frame *r = table_record(q, table);
    if (r->pins == 0)
        return false;
    if (r->level == 1) {
        *pages = qi_leaf_pinned(q, table);
        r->pins = *pages > 0;
        *at = base;
        return *pages > 0;
    }
    const entry_t *entries = table_entries(q, table);
    uint64_t span = entry_span(r->level);
    unsigned first = *at > base ? (unsigned)((*at - base) >> entry_shift(r->level)) : 0;
    for (unsigned i = first; i < table_count(r->level); i++)
        if (entries[i] != 0 && pinned_below(q, entry_pfn(entries[i]), base + i * span, at, pages))
            return true;
    if (*at <= base)
        r->pins = 0; /* all of it was looked at */
    return false;
}

bool qi_pinned_leaf(struct quire_space *space, vaddr_t *at, uint32_t *pages)
{
    return *at < MMU_ADDRESS_END && pinned_below(space->q, space->root, 0, at, pages);
}

uint32_t qi_pins_need(struct quire_space *parent)
{
    uint32_t need = 0, pages;
    /* For each side: a table a level, and a side frame; for the child, its pages. */
    for (vaddr_t at = 0; qi_pinned_leaf(parent, &at, &pages); at += entry_span(2))
        need += 2 * (QUIRE_LEVELS + 1) + pages;
    return need;
}

/* The child's leaf at `at`, with copies of what is pinned in the parent's. */
static void fork_child_leaf(struct qi_cpu *cpu, struct quire_space *child, vaddr_t at)
{
    struct quire *q = cpu->q;
    struct qi_look look = qi_table_look(child, at);
    const entry_t *from = table_entries(q, look.table);
    struct qi_gate gate;
    qi_gate_begin(&gate, cpu, child, at);
    pfn_t table = qi_gate_open(&gate, 1);
    entry_t *to = table_entries(q, table);
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        if (!qi_entry_pinned(q, from[i]))
            continue;
        pfn_t page = entry_pfn(from[i]);
        pfn_t copy =
            qi_frame_alloc(cpu, QI_FRAME_DATA, QI_WANT_ANY, frame_colour(&q->frames, page));
        memcpy(frame_memory(&q->frames, copy), frame_memory(&q->frames, page), QUIRE_PAGE_SIZE);
        frame_record(&q->frames, copy)->home = home_make(table, i);
        entry_t own = (from[i] & ~(ENTRY_WRITE | ENTRY_DIRTY | ENTRY_PAYLOAD_MASK)) |
                      ((uint64_t)copy << ENTRY_PAYLOAD_SHIFT) | ENTRY_FOLDED;
        entry_store(&to[i], own);
        qi_home_give(cpu, home_make(look.table, i), entry_present(from[i]));
    }
    qi_gate_close(&gate);
}

/* The parent leaves the leaf too, and takes along what is pinned. */
static void fork_parent_leaf(struct qi_cpu *cpu, struct quire_space *parent, vaddr_t at)
{
    struct quire *q = cpu->q;
    struct qi_look look = qi_table_look(parent, at);
    const entry_t *from = table_entries(q, look.table);
    struct qi_gate gate;
    qi_gate_begin(&gate, cpu, parent, at);
    pfn_t table = qi_gate_open(&gate, 1);
    qi_gate_close(&gate);
    if (table == look.table)
        return; /* the child borrows nothing of it */
    entry_t *to = table_entries(q, table);
    for (unsigned i = 0; i < QUIRE_TABLE_ENTRIES; i++) {
        entry_t old = from[i];
        if (!qi_entry_pinned(q, old))
            continue;
        pfn_t page = entry_pfn(qi_home_move(cpu, home_make(look.table, i)));
        qi_assert(page == entry_pfn(old));
        frame_record(&q->frames, page)->home = home_make(table, i);
        entry_store(&to[i], entry_fold(old));
    }
}

void qi_pins_fork(struct qi_cpu *cpu, struct quire_space *parent, struct quire_space *child)
{
    uint32_t pages;
    for (vaddr_t at = 0; qi_pinned_leaf(parent, &at, &pages); at += entry_span(2)) {
        fork_child_leaf(cpu, child, at);
        fork_parent_leaf(cpu, parent, at);
    }
}
