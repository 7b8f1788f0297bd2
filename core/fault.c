/* SPDX-License-Identifier: MIT */
/*
 * One fault, start to end.
 *
 *   find the region       no region, or it forbids the access: refuse
 *   look at the tables    nothing missing (a stale translation, or another CPU was faster): done
 *   count the frames      every table, side frame and page that the rest can need
 *   reserve               not there: drop what waits to be freed, or ask the host; start again
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
 * The same path serves quire_read and quire_write, so a kernel's copies see what the program
 * would see, and break what the program would break.
 */
#include "fault.h"

/* What `access` finds in the tables already. */
static bool look_allows(const struct qi_look *look, uint32_t access)
{
    if (look->level != 1 || !entry_present(look->entry))
        return false;
    if (access == QUIRE_WRITE)
        return look->open && (look->entry & ENTRY_WRITE);
    return access != QUIRE_EXEC || entry_exec(look->entry);
}

/* The entry of the faulting page in a table that is the space's own. */
static entry_t *fault_slot(const struct qi_fault *fault, pfn_t table)
{
    return &table_entries(fault->space->q, table)[entry_index(fault->address, 1)];
}

static void read_empty(struct qi_fault *fault, pfn_t table, entry_t *slot)
{
    struct quire *q = fault->space->q;
    entry_store(slot,
                entry_page(q->zero_page, fault->prot, QI_CANARY(QI_CANARY_ZERO_PAGE_WRITABLE)) |
                    ENTRY_ZERO);
    table_record(q, table)->present++;
    q->stats.zero_maps++;
}

static void read_prototype(struct qi_fault *fault, entry_t *slot, entry_t e)
{
    struct quire *q = fault->space->q;
    home_t home = qi_entry_home(q, e);
    qi_home_mapped(q, home);
    entry_store(slot, entry_page(qi_home_page(q, home), fault->prot, false));
    q->stats.loosened++;
}

/* Let the page be read, or executed if that was asked.  No flush: it only loosens. */
static void fault_read(struct qi_fault *fault, pfn_t table)
{
    struct quire *q = fault->space->q;
    entry_t *slot = fault_slot(fault, table);
    entry_t e = entry_load(slot);
    switch (entry_kind(e, 1)) {
    case QI_EMPTY: read_empty(fault, table, slot); break;
    case QI_BARRED:
        entry_store(slot, entry_own(entry_pfn(e), fault->prot, false) | (e & ENTRY_FOLDED));
        q->stats.loosened++;
        break;
    case QI_PROTOTYPE: read_prototype(fault, slot, e); break;
    case QI_OWN:
    case QI_BORROWED:
    case QI_ZERO:
        entry_store(slot, entry_with_exec(e, (fault->prot & QUIRE_EXEC) != 0) | ENTRY_ACCESSED);
        q->stats.loosened++;
        break;
    case QI_BUSY:
    case QI_TABLE:
    case QI_HIDDEN: host_panic("an owned leaf holds an entry of this kind", __FILE__, __LINE__);
    }
    fault->pfn = entry_pfn(entry_load(slot));
}

/* One try.  QUIRE_NO_MEMORY: nothing was changed, and fault->need frames are wanted. */
static enum quire_status fault_try(struct qi_fault *fault)
{
    struct quire_space *space = fault->space;
    struct quire *q = space->q;
    const struct qi_region *region = qi_region_find(space->regions, fault->address);
    if (!region)
        return QUIRE_NOT_MAPPED;
    if (!(region->prot & fault->access))
        return QUIRE_PROTECTED;
    fault->prot = region->prot;
    struct qi_look look = qi_table_look(space, fault->address);
    if (look_allows(&look, fault->access)) {
        /* The caller may write through the direct map, where no machine sets the bits. */
        if (fault->access == QUIRE_WRITE)
            entry_mark(fault_slot(fault, look.table), ENTRY_DIRTY | ENTRY_ACCESSED);
        fault->pfn = entry_pfn(look.entry);
        q->stats.spurious++;
        return QUIRE_OK;
    }
    if (fault->access == QUIRE_EXEC && look.level == 1 && entry_present(look.entry) &&
        QI_CANARY(QI_CANARY_LOOSEN_SHARED)) {
        fault_read(fault, look.table);
        return QUIRE_OK;
    }
    fault->need = look.level == 1 && look.exclusive ? 0 : qi_gate_need(space, fault->address, 1);
    if (fault->access == QUIRE_WRITE)
        fault->need += qi_copy_need(q, &look);
    if (!qi_reserve(q, fault->need, false, QI_SITE_FAULT)) {
        if (QI_CANARY(QI_CANARY_FAILURE_LEAKS) && qi_frame_available(&q->frames, false) > 0)
            (void)qi_frame_alloc(&q->frames, QI_FRAME_DATA, QI_WANT_ANY, 0);
        return QUIRE_NO_MEMORY;
    }
    if (fault->access == QUIRE_WRITE) {
        qi_copy_write(fault, &look);
        return QUIRE_OK;
    }
    struct qi_gate gate;
    pfn_t table = qi_gate_open_leaf(&gate, space, fault->address, &look);
    qi_gate_close(&gate);
    fault_read(fault, table);
    return QUIRE_OK;
}

enum quire_status qi_fault_resolve(struct qi_fault *fault)
{
    enum quire_status status;
    do
        status = fault_try(fault);
    while (status == QUIRE_NO_MEMORY && qi_wait_for_frames(fault->space->q, fault->need));
    return status;
}

static void count_refusal(struct qi_fault *fault, enum quire_status status)
{
    struct quire_stats *stats = &fault->space->q->stats;
    if (status == QUIRE_OK)
        return;
    if (status == QUIRE_NOT_MAPPED)
        stats->unmapped++;
    else if (status == QUIRE_PROTECTED)
        stats->forbidden++;
    else
        stats->no_memory++;
    qi_trace(fault->space, QUIRE_EVENT_REFUSED, fault->address, status);
}

enum quire_status quire_fault(struct quire_space *space, vaddr_t address, uint32_t access)
{
    struct quire *q = space->q;
    if (access != QUIRE_READ && access != QUIRE_WRITE && access != QUIRE_EXEC)
        return QUIRE_BAD_FLAGS;
    struct qi_fault fault = {.space = space, .address = page_of(address), .access = access};
    manager_lock(q);
    q->stats.faults++;
    enum quire_status status = qi_fault_resolve(&fault);
    count_refusal(&fault, status);
    qi_finish(q, QI_FEW_SLICES);
    return status;
}

/* The bytes of one page: resolve, and copy before the lock is dropped.  Returns the status; *n
 * bytes. */
static enum quire_status copy_piece(struct quire_space *space, vaddr_t address, void *to,
                                    const void *from, size_t n)
{
    struct quire *q = space->q;
    struct qi_fault fault = {
        .space = space, .address = page_of(address), .access = from ? QUIRE_WRITE : QUIRE_READ};
    manager_lock(q);
    enum quire_status status = qi_fault_resolve(&fault);
    if (status == QUIRE_OK) {
        unsigned char *page = frame_memory(&q->frames, fault.pfn);
        if (from)
            memcpy(page + (address - fault.address), from, n);
        else
            memcpy(to, page + (address - fault.address), n);
    } else {
        count_refusal(&fault, status);
    }
    qi_finish(q, QI_FEW_SLICES);
    return status;
}

static enum quire_status copy_bytes(struct quire_space *space, vaddr_t address, unsigned char *to,
                                    const unsigned char *from, size_t length, size_t *done)
{
    enum quire_status status = QUIRE_OK;
    size_t copied = 0;
    if (address + length < address)
        status = QUIRE_WRAPS;
    while (status == QUIRE_OK && copied < length) {
        vaddr_t at = address + copied;
        size_t n = (size_t)(page_of(at) + QUIRE_PAGE_SIZE - at);
        if (n > length - copied)
            n = length - copied;
        status = copy_piece(space, at, to ? to + copied : NULL, from ? from + copied : NULL, n);
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
    return copy_bytes(space, address, to, NULL, length, done);
}

enum quire_status quire_write(struct quire_space *space, vaddr_t address, const void *from,
                              size_t length, size_t *done)
{
    return copy_bytes(space, address, NULL, from, length, done);
}
