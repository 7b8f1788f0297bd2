/* SPDX-License-Identifier: MIT */
/*
 * One fault, start to end.
 *
 *   find the region       no region, or it forbids the access: refuse
 *   look at the tables    nothing missing (a stale translation, or another CPU was faster): done
 *   count the frames      every table, side frame and page that the rest can need
 *   reserve               not there: let go, gather, drop, or ask the host; start again
 *   open the gate         own the tables of the path
 *   by the kind of entry  read:  empty -> zero page; barred, prototype -> present;
 *                                no execute bit -> set
 *                         write: copy.c
 *
 * Logical permission lives in the region.  A clear bit in an entry says only "ask", so a fault
 * never needs to know why a bit was clear.  Nothing changes before the reservation, so a
 * refusal leaves the state as it was; after it nothing fails.
 *
 * A read of an untouched page in a shared table owns the path first, to store one zero entry
 * (design-rules H22): we accept the cost, because storing it in place would be seen by spaces
 * whose region there may differ.
 *
 * Many faults of one space go on at once, each holding the space shared.  One that meets an entry
 * which another is changing lets go of the space, waits, and starts from the region again.
 *
 * The same path serves quire_read and quire_write, so a kernel's copies see what the program
 * would see, and break what the program would break.
 */
#include "fault.h"
#include "workset.h"

/* What `access` finds in the tables already. */
static bool look_allows(const struct qi_look *look, uint32_t access)
{
    if (look->level != 1 || !entry_present(look->entry))
        return false;
    if (access == QUIRE_WRITE)
        return look->exclusive && look->open && (look->entry & ENTRY_WRITE);
    return access != QUIRE_EXEC || entry_exec(look->entry);
}

/* The entry of the faulting page in a table that is the space's own. */
static entry_t *fault_slot(const struct qi_fault *fault, pfn_t table)
{
    return &table_entries(fault->space->q, table)[entry_index(fault->address, 1)];
}

static enum quire_status fault_busy(struct qi_fault *fault, const void *key)
{
    fault->key = key;
    return QI_AGAIN;
}

static entry_t read_empty(struct qi_fault *fault, pfn_t table)
{
    struct quire *q = fault->cpu->q;
    table_record(q, table)->present++;
    fault->cpu->stats.zero_maps++;
    return entry_page(q->zero_page, fault->prot, QI_CANARY(QI_CANARY_ZERO_PAGE_WRITABLE)) |
           ENTRY_ZERO;
}

/* A page that is there gets the rights to be read, and executed if the region allows that. */
static void read_loosen(entry_t *slot, entry_t e, uint32_t prot)
{
    while (!entry_change(slot, &e, entry_with_exec(e, (prot & QUIRE_EXEC) != 0) | ENTRY_ACCESSED))
        ;
}

/* Let the page be read, or executed if that was asked.  No flush: it only loosens. */
static enum quire_status fault_read(struct qi_fault *fault, pfn_t table)
{
    struct qi_cpu *cpu = fault->cpu;
    entry_t *slot = fault_slot(fault, table);
    table_lock(cpu, table);
    entry_t e = entry_load(slot);
    enum qi_kind kind = entry_kind(e, 1);
    if (kind == QI_EMPTY && fault->view) {
        table_unlock(cpu, table);
        return qi_view_map(fault, table, false);
    }
    cpu->stats.loosened += kind == QI_OWN || kind == QI_BORROWED || kind == QI_ZERO ||
                           kind == QI_BARRED || kind == QI_PROTOTYPE || kind == QI_SECTION;
    switch (kind) {
    case QI_EMPTY: entry_store(slot, read_empty(fault, table)); break;
    case QI_BARRED:
        entry_store(slot, entry_own(entry_pfn(e), fault->prot, false) | (e & ENTRY_FOLDED));
        break;
    case QI_PROTOTYPE: entry_store(slot, entry_to_busy(e)); break;
    case QI_OWN:
    case QI_BORROWED:
    case QI_SECTION:
    case QI_ZERO: read_loosen(slot, e, fault->prot); break;
    case QI_BUSY:
    case QI_GUARD: break;
    case QI_PAGED: /* looked at, and here since */
    case QI_TABLE:
    case QI_HIDDEN: host_panic("an owned leaf holds an entry of this kind", __FILE__, __LINE__);
    }
    fault->pfn = entry_pfn(entry_load(slot));
    table_unlock(cpu, table);
    if (kind == QI_PROTOTYPE) {
        fault->pfn = qi_home_map(cpu, entry_payload(e));
        entry_store(slot, entry_page(fault->pfn, fault->prot, false));
    }
    if (kind == QI_GUARD)
        return QUIRE_GUARDED;
    return kind == QI_BUSY ? fault_busy(fault, slot) : QUIRE_OK;
}

/* Copies cost a space that has a limit; false: it may not have `frames` more. */
static bool copies_take(struct quire_space *space, uint32_t frames)
{
    if (QI_CANARY(QI_CANARY_COPIES_UNLIMITED))
        return true;
    uint64_t left = qi_load(&space->copies_left);
    while (left != UINT64_MAX) {
        if (left < frames)
            return false;
        if (qi_change(&space->copies_left, &left, left - frames))
            break;
    }
    return true;
}

static void copies_give(struct quire_space *space, uint32_t frames)
{
    if (frames > 0 && qi_load(&space->copies_left) != UINT64_MAX)
        qi_add(&space->copies_left, frames);
}

static enum quire_status fault_write(struct qi_fault *fault, const struct qi_look *look,
                                     enum qi_kind kind)
{
    bool copied = kind == QI_SECTION || (kind == QI_EMPTY && fault->view);
    bool shared = !look->exclusive || kind == QI_HIDDEN || kind == QI_BORROWED ||
                  kind == QI_PROTOTYPE || (copied && !fault->shared);
    uint32_t taken = shared ? fault->need : 0;
    if (taken > 0 && !copies_take(fault->space, taken))
        return QUIRE_COPY_LIMIT;
    enum quire_status status = qi_copy_write(fault, look);
    if (taken > 0)
        copies_give(fault->space, taken - fault->copies);
    return status;
}

/*
 * The access needs nothing: a stale translation, or another CPU was faster.  (Not while the root is
 * being replaced: machines may run the new one already, where more is busy than here.)
 */
static enum quire_status fault_spurious(struct qi_fault *fault, const struct qi_look *look)
{
    /* The caller may write through the direct map, where no machine sets the bits. */
    if (fault->access == QUIRE_WRITE)
        entry_mark(fault_slot(fault, look->table), ENTRY_DIRTY | ENTRY_ACCESSED);
    fault->pfn = entry_pfn(look->entry);
    fault->cpu->stats.spurious++;
    return QUIRE_OK;
}

/*
 * A region that shows a section.  Nobody makes a page of a shared view his own: a pin to read
 * reads, and a debugger must be allowed to write (false: he is not).
 */
static bool fault_view(struct qi_fault *fault, const struct qi_region *region)
{
    fault->shared = (region->flags & QUIRE_REGION_SHARED) != 0;
    fault->low = region->start;
    fault->high = region->end;
    if (!fault->shared || fault->asked != QUIRE_WRITE || (fault->rights & QUIRE_WRITE))
        return true;
    if (fault->rights)
        fault->access = QUIRE_READ;
    return fault->rights || (region->prot & QUIRE_WRITE);
}

static inline enum quire_status fault_region(struct qi_fault *fault)
{
    const struct qi_region *root = fault->space->regions;
    const struct qi_region *region = qi_region_find(root, fault->address);
    if (!region) {
        fault->grows = qi_stack_grows(qi_region_at_or_above(root, fault->address), fault->rights);
        return QUIRE_NOT_MAPPED;
    }
    if ((region->flags & QUIRE_REGION_RESERVED) && !QI_CANARY(QI_CANARY_RESERVED_IS_MEMORY))
        return QUIRE_NOT_COMMITTED;
    fault->prot = region->prot;
    fault->access = fault->asked;
    fault->shared = false;
    fault->view = region->view;
    if (region->view && !fault_view(fault, region))
        return QUIRE_PROTECTED;
    return region->prot & fault->rights || fault->rights == 0 ? QUIRE_OK : QUIRE_PROTECTED;
}

/* The home of what a look found, if that may be out of its working set. */
static inline bool fault_home(const struct qi_look *look, enum qi_kind kind, vaddr_t address,
                              home_t *home)
{
    if (kind == QI_PAGED)
        *home = home_make(look->table, entry_index(address, 1));
    else if (kind == QI_PROTOTYPE)
        *home = entry_payload(look->entry);
    return kind == QI_PAGED || kind == QI_PROTOTYPE;
}

/* Take the page of a home back from its list, if it is out of its working set; QI_OUT: it is not in
 * memory.  It stays there until this call ends. */
static enum quire_status fault_revive(struct qi_fault *fault, home_t home)
{
    entry_t e = entry_load(qi_home_slot(fault->cpu->q, home));
    fault->slot = entry_slot(e);
    return entry_kind(e, 1) != QI_PAGED || qi_paged_revive(fault->cpu, home) ? QUIRE_OK : QI_OUT;
}

bool qi_fault_out(struct qi_fault *fault, const struct qi_look *look, pfn_t table)
{
    if ((look->level == 1 && look->exclusive) || QI_CANARY(QI_CANARY_OUT_BELOW_HIDDEN))
        return false;
    entry_t e = entry_load(fault_slot(fault, table));
    const struct qi_look leaf = {.entry = e, .table = table, .level = 1};
    home_t home;
    return fault_home(&leaf, entry_kind(e, 1), fault->address, &home) &&
           fault_revive(fault, home) != QUIRE_OK;
}

/* One try.  QUIRE_NO_MEMORY: nothing was changed, and fault->need frames are wanted. */
static enum quire_status fault_try(struct qi_fault *fault)
{
    struct qi_cpu *cpu = fault->cpu;
    struct quire_space *space = fault->space;
    enum quire_status status = fault_region(fault);
    if (status != QUIRE_OK)
        return status;
    struct qi_look look = qi_table_look(space, fault->address);
    enum qi_kind kind = entry_kind(look.entry, look.level);
    home_t home;
    if (qi_rarely(fault_home(&look, kind, fault->address, &home))) {
        status = fault_revive(fault, home);
        if (status != QUIRE_OK)
            return status;
        look = qi_table_look(space, fault->address);
        kind = entry_kind(look.entry, look.level);
    }
    if (qi_rarely(!qi_space_has_room(space)))
        return QI_SHRINK;
    if (kind == QI_BUSY)
        return fault_busy(
            fault, &table_entries(cpu->q, look.table)[entry_index(fault->address, look.level)]);
    /* The space may have left the table meanwhile, and who is left there alone made the guard. */
    if (kind == QI_GUARD)
        return qi_table_look(space, fault->address).table == look.table
                   ? QUIRE_GUARDED
                   : fault_busy(fault, &space->root);
    if (look_allows(&look, fault->access))
        return qi_load(&space->root_busy) ? fault_busy(fault, &space->root_busy)
                                          : fault_spurious(fault, &look);
    if (fault->access == QUIRE_EXEC && look.level == 1 && entry_present(look.entry) &&
        QI_CANARY(QI_CANARY_LOOSEN_SHARED))
        return fault_read(fault, look.table);
    bool write = fault->access == QUIRE_WRITE, page = write && !fault->shared;
    if (look.level == 1 && look.exclusive)
        fault->need = page ? qi_copy_need(cpu->q, look.entry, kind) : 0;
    else /* the path is copied first, and what will then be ours is known only then */
        fault->need = qi_gate_need(space, fault->address, 1) + page;
    if (fault->view)
        fault->need += qi_view_need(fault);
    if (!qi_reserve(cpu, fault->need, false, QI_SITE_FAULT)) {
        if (QI_CANARY(QI_CANARY_FAILURE_LEAKS) && qi_frames_reserve(cpu, 1, false))
            (void)qi_frame_alloc(cpu, QI_FRAME_DATA, QI_WANT_ANY, 0);
        return QUIRE_NO_MEMORY;
    }
    if (write)
        return fault_write(fault, &look, kind);
    struct qi_gate gate;
    qi_gate_begin(&gate, cpu, space, fault->address);
    pfn_t table = qi_gate_leaf(&gate, &look);
    if (table == QI_NO_FRAME)
        return fault_busy(fault, &space->root);
    qi_gate_close(&gate);
    return qi_rarely(qi_fault_out(fault, &look, table)) ? QI_OUT : fault_read(fault, table);
}

static void count_refusal(const struct qi_fault *fault, enum quire_status status)
{
    struct quire_space *space = fault->space;
    struct qi_cpu *cpu = qi_enter(space->q);
    cpu->stats.faults += fault->counted;
    cpu->stats.unmapped += status == QUIRE_NOT_MAPPED;
    cpu->stats.forbidden += status == QUIRE_PROTECTED;
    cpu->stats.no_memory += status == QUIRE_NO_MEMORY;
    cpu->stats.refused +=
        status != QUIRE_NOT_MAPPED && status != QUIRE_PROTECTED && status != QUIRE_NO_MEMORY;
    qi_leave(cpu);
    qi_trace(space, QUIRE_EVENT_REFUSED, fault->address, status);
}

/* After a try that did not succeed, with nothing held: is there reason for another? */
static bool fault_again(struct qi_fault *fault, enum quire_status *status)
{
    struct quire *q = fault->space->q;
    if (*status == QI_AGAIN) {
        host_wait(q->host, fault->key);
        return true;
    }
    if (*status == QI_BRING) {
        *status = qi_section_bring(fault->section, fault->page, fault->no_wait);
        qi_section_let_go(fault->section);
        return *status == QUIRE_OK;
    }
    if (*status == QI_OUT) {
        *status = qi_page_in(q, fault->slot, fault->no_wait);
        return *status == QUIRE_OK;
    }
    if (*status == QI_SHRINK) {
        if (fault->no_wait)
            *status = QUIRE_WOULD_WAIT;
        else
            qi_space_shrink(fault->space);
        return !fault->no_wait;
    }
    if (*status == QUIRE_NOT_MAPPED && fault->grows) {
        if (fault->no_wait) {
            *status = QUIRE_WOULD_WAIT;
            return false;
        }
        *status = qi_stack_grow(fault);
        return *status == QUIRE_OK;
    }
    if (*status != QUIRE_NO_MEMORY)
        return false;
    if (!fault->no_wait)
        return qi_wait_for_more(q, fault->need, false, &fault->more);
    if (qi_frames_gather(q, fault->need, false))
        return true;
    *status = QUIRE_WOULD_WAIT;
    return false;
}

enum quire_status qi_fault_resolve(struct qi_fault *fault)
{
    enum quire_status status;
    fault->grows = false;
    fault->more = 0;
    do {
        fault->cpu = qi_enter_shared(fault->space);
        status = fault_try(fault);
        if (status == QUIRE_OK) {
            if (qi_rarely(fault->space->locks))
                qi_fault_marks(fault);
            return status;
        }
        qi_leave(fault->cpu);
    } while (fault_again(fault, &status));
    count_refusal(fault, status);
    return status;
}

static bool access_valid(uint32_t access)
{
    return access == QUIRE_READ || access == QUIRE_WRITE || access == QUIRE_EXEC;
}

enum quire_status quire_fault(struct quire_space *space, vaddr_t address, uint32_t access)
{
    uint32_t kind = access & ~(uint32_t)QUIRE_NO_WAIT;
    if (!access_valid(kind))
        return QUIRE_BAD_FLAGS;
    struct qi_fault fault; /* what the tries find is left unset: this is the way that is hot */
    fault.space = space;
    fault.address = page_of(address);
    fault.asked = fault.rights = kind;
    fault.no_wait = (access & QUIRE_NO_WAIT) != 0;
    fault.counted = true;
    struct quire *q = space->q;
    enum quire_status status = qi_fault_resolve(&fault);
    if (status == QUIRE_OK) {
        fault.cpu->stats.faults++;
        qi_leave(fault.cpu);
    }
    if (!fault.no_wait)
        qi_finish(q, QI_FEW_SLICES);
    return status;
}

/* ---- copies -------------------------------------------------------------------------------- */

static void page_read(const struct qi_cpu *cpu, pfn_t pfn, size_t offset, unsigned char *to,
                      size_t n)
{
    const unsigned char *page = frame_memory(&cpu->q->frames, pfn);
    QI_TOUCH_ALL(page, false);
    memcpy(to, page + offset, n);
}

static void page_write(const struct qi_cpu *cpu, pfn_t pfn, size_t offset,
                       const unsigned char *from, size_t n)
{
    unsigned char *page = frame_memory(&cpu->q->frames, pfn);
    QI_TOUCH_ALL(page, true);
    memcpy(page + offset, from, n);
}

/*
 * Reading a page that is not the space's own alone.  While this call reads, another may give the
 * space its own copy, and the last sharer that remains may then write the page in place.  Neither
 * copy nor unshare gets past the lock of the table that maps the page, if that table is still
 * part of the tree once it is locked.  False: something changed, begin again.
 */
static bool read_shared(const struct qi_fault *fault, const struct qi_look *look,
                        unsigned char *buffer, size_t offset, size_t n)
{
    struct qi_cpu *cpu = fault->cpu;
    struct qi_lock *lock = &frame_record(&cpu->q->frames, look->table)->lock;
    if (!QI_CANARY(QI_CANARY_SHARED_READ_NOT_LOCKED))
        lock_take(cpu, lock, QI_RANK_TABLE);
    struct qi_look now = qi_table_look(fault->space, fault->address);
    bool there = now.level == 1 && now.table == look->table && entry_present(now.entry) &&
                 entry_pfn(now.entry) == entry_pfn(look->entry);
    if (there)
        page_read(cpu, entry_pfn(now.entry), offset, buffer, n);
    if (!QI_CANARY(QI_CANARY_SHARED_READ_NOT_LOCKED))
        lock_drop(cpu, lock, QI_RANK_TABLE);
    return there;
}

/* The page was resolved, and the space is held.  False: begin again. */
static bool read_page(const struct qi_fault *fault, unsigned char *buffer, size_t offset, size_t n)
{
    struct qi_look look = qi_table_look(fault->space, fault->address);
    if (!entry_present(look.entry))
        return false;
    enum qi_kind kind = entry_kind(look.entry, 1);
    if (kind != QI_ZERO && !(kind == QI_OWN && look.exclusive))
        return read_shared(fault, &look, buffer, offset, n);
    page_read(fault->cpu, entry_pfn(look.entry), offset, buffer, n);
    return true;
}

/* The bytes of one page: resolve, and copy before the space is let go. */
static enum quire_status access_page(struct quire_space *space, vaddr_t address,
                                     unsigned char *buffer, size_t n, uint32_t access)
{
    uint32_t kind = access & (QUIRE_READ | QUIRE_WRITE);
    struct qi_fault fault = {.space = space,
                             .address = page_of(address),
                             .asked = kind,
                             .rights = access & QUIRE_FORCE ? 0 : kind,
                             .no_wait = (access & QUIRE_NO_WAIT) != 0};
    struct quire *q = space->q;
    size_t offset = (size_t)(address - fault.address);
    enum quire_status status;
    for (bool done = false; !done;) {
        status = qi_fault_resolve(&fault);
        if (status != QUIRE_OK)
            break;
        done = kind == QUIRE_WRITE || read_page(&fault, buffer, offset, n);
        if (kind == QUIRE_WRITE)
            page_write(fault.cpu, fault.pfn, offset, buffer, n);
        qi_leave(fault.cpu);
    }
    if (!fault.no_wait)
        qi_finish(q, QI_FEW_SLICES);
    return status;
}

/* The page is the section's, and not mapped: read it there, with the space let go. */
static enum quire_status peek_section(struct qi_fault *fault, vaddr_t address,
                                      unsigned char *buffer, size_t n)
{
    struct quire_section *section = qi_section_of(fault->space->q, fault->view);
    uint64_t at = view_page(fault->view, fault->address) << QUIRE_PAGE_SHIFT;
    size_t offset = (size_t)(address - fault->address), done = 0;
    uint64_t size = quire_section_size(section);
    qi_section_hold(section);
    qi_leave(fault->cpu);
    if (at >= size) {
        qi_section_let_go(section);
        return QUIRE_BEYOND_END;
    }
    enum quire_status status = quire_section_read(section, at + offset, buffer, n,
                                                  fault->no_wait ? QUIRE_NO_WAIT : 0, &done);
    qi_section_let_go(section);
    if (status == QUIRE_OK) /* the rest of the last page */
        memset(buffer + done, 0, n - done);
    return status;
}

/* Go on below a hidden entry: the pages are there, and no machine may reach them from here. */
static void look_hidden(const struct quire *q, struct qi_look *look, vaddr_t address)
{
    while (entry_kind(look->entry, look->level) == QI_HIDDEN ||
           entry_kind(look->entry, look->level) == QI_TABLE) {
        look->table = entry_pfn(look->entry);
        look->level--;
        look->entry = entry_load(&table_entries(q, look->table)[entry_index(address, look->level)]);
    }
}

/*
 * A debugger reads, whatever the region allows, and nothing changes: nobody else may, either.  One
 * try: QI_OUT if the page is not in memory.
 */
static enum quire_status peek_try(struct qi_fault *fault, vaddr_t address, unsigned char *buffer,
                                  size_t n)
{
    struct quire_space *space = fault->space;
    struct quire *q = space->q;
    fault->cpu = qi_enter_exclusive(space);
    enum quire_status status = fault_region(fault);
    struct qi_look look = {0};
    if (status == QUIRE_OK) /* elsewhere the tree may be the embedder's */
        look = qi_table_look(space, address);
    look_hidden(q, &look, address);
    enum qi_kind kind = entry_kind(look.entry, 1);
    home_t home;
    if (status == QUIRE_OK && kind == QI_GUARD)
        status = QUIRE_GUARDED;
    if (status == QUIRE_OK && kind == QI_EMPTY && fault->view)
        return peek_section(fault, address, buffer, n);
    if (status == QUIRE_OK && fault_home(&look, kind, address, &home)) {
        status = fault_revive(fault, home);
        look.entry = entry_load(qi_home_slot(q, home));
    }
    if (status == QUIRE_OK) {
        pfn_t pfn = look.entry == 0 ? q->zero_page : entry_pfn(look.entry);
        page_read(fault->cpu, pfn, (size_t)(address - fault->address), buffer, n);
    }
    qi_leave(fault->cpu);
    return status;
}

static enum quire_status peek_page(struct quire_space *space, vaddr_t address,
                                   unsigned char *buffer, size_t n, uint32_t access)
{
    struct qi_fault fault = {
        .space = space, .address = page_of(address), .no_wait = (access & QUIRE_NO_WAIT) != 0};
    enum quire_status status;
    do
        status = peek_try(&fault, address, buffer, n);
    while (status == QI_OUT &&
           (status = qi_page_in(space->q, fault.slot, fault.no_wait)) == QUIRE_OK);
    return status;
}

enum quire_status quire_access(struct quire_space *space, vaddr_t address, void *buffer,
                               size_t length, uint32_t access, size_t *done)
{
    uint32_t kind = access & ~(uint32_t)(QUIRE_NO_WAIT | QUIRE_FORCE);
    enum quire_status status = QUIRE_OK;
    size_t copied = 0;
    if (kind != QUIRE_READ && kind != QUIRE_WRITE)
        status = QUIRE_BAD_FLAGS;
    else if (address + length < address)
        status = QUIRE_WRAPS;
    while (status == QUIRE_OK && copied < length) {
        vaddr_t at = address + copied;
        size_t n = (size_t)(page_of(at) + QUIRE_PAGE_SIZE - at);
        if (n > length - copied)
            n = length - copied;
        unsigned char *to = (unsigned char *)buffer + copied;
        status = kind == QUIRE_READ && (access & QUIRE_FORCE)
                     ? peek_page(space, at, to, n, access)
                     : access_page(space, at, to, n, access);
        if (status == QUIRE_OK)
            copied += n;
    }
    if (done)
        *done = copied;
    return status;
}

enum quire_status quire_read(struct quire_space *space, vaddr_t address, void *to, size_t length,
                             size_t *done)
{
    return quire_access(space, address, to, length, QUIRE_READ, done);
}

enum quire_status quire_write(struct quire_space *space, vaddr_t address, const void *from,
                              size_t length, size_t *done)
{
    return quire_access(space, address, (void *)(uintptr_t)from, length, QUIRE_WRITE, done);
}
