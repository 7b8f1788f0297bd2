/* SPDX-License-Identifier: MIT */
/*
 * What operations do, in the plainest words: a space is an array of pages, fork copies it.
 *
 * A difference is told as two sets of pages in one word: those that must be in it, and those that
 * may be, because one side may have got a frame of its own for what both still hold.
 */
#include "program.h"

#include <string.h>

static enum quire_status page_status(const struct oracle_space *s, unsigned page, uint32_t access)
{
    if (s->prot[page] == NO_REGION)
        return QUIRE_NOT_MAPPED;
    if (s->flags[page] & PAGE_RESERVED)
        return QUIRE_NOT_COMMITTED;
    if (access && !(s->prot[page] & access))
        return QUIRE_PROTECTED;
    return s->flags[page] & PAGE_GUARD ? QUIRE_GUARDED : QUIRE_OK;
}

static void page_set(struct oracle_space *s, unsigned page, uint8_t prot, uint8_t flags)
{
    s->prot[page] = prot;
    s->flags[page] = flags;
    s->value[page] = 0;
    s->stamp[page] = 0;
}

/* An access to a page where nothing is may make the stack above it larger. */
static void stack_grow(struct oracle_space *s, unsigned page, uint32_t access)
{
    unsigned start = page, below = page;
    while (start < ORACLE_PAGES && s->prot[start] == NO_REGION)
        start++;
    if (start == page || start == ORACLE_PAGES || !(s->flags[start] & PAGE_GROWS) ||
        (s->flags[start] & PAGE_RESERVED) || (access && !(s->prot[start] & access)))
        return;
    while (below > 0 && s->prot[below - 1] == NO_REGION)
        below--;
    if (below > 0 && start - page - 1 > page - below)
        return; /* nearer to what is below */
    for (unsigned p = page; p < start; p++)
        page_set(s, p, s->prot[start], s->flags[start] & (uint8_t)~PAGE_GUARD);
}

/* An access (0: whatever the region allows) as a fault decides it. */
static enum quire_status reach(struct oracle_space *s, unsigned page, uint32_t access)
{
    if (s->prot[page] == NO_REGION)
        stack_grow(s, page, access);
    return page_status(s, page, access);
}

/* The same, where views end with their section. */
static enum quire_status reach_in(const struct oracle *o, struct oracle_space *s, unsigned page,
                                  enum quire_status status)
{
    bool beyond = (s->flags[page] & (PAGE_SHARED | PAGE_PRIVATE)) && page >= o->pages;
    return status == QUIRE_OK && beyond ? QUIRE_BEYOND_END : status;
}

/* Ranges that go on beyond the pages that are touched end with them. */
static unsigned end_of(const struct op *op)
{
    unsigned end = (unsigned)op->page + op->count;
    return end < ORACLE_PAGES ? end : ORACLE_PAGES;
}

static bool all_mapped(const struct oracle_space *s, unsigned low, unsigned high)
{
    for (unsigned p = low; p < high; p++)
        if (s->prot[p] == NO_REGION)
            return false;
    return true;
}

static enum quire_status pages_set(struct oracle_space *s, const struct op *op, uint8_t prot,
                                   uint8_t flags)
{
    for (unsigned p = op->page; p < end_of(op); p++)
        page_set(s, p, prot, flags);
    return QUIRE_OK;
}

static void page_change(struct oracle_space *s, unsigned p, const struct op *op)
{
    uint8_t *flags = &s->flags[p], advice = PAGE_OMIT | PAGE_WIPE;
    bool content = true;
    if (op->kind == OP_COMMIT)
        *flags &= (uint8_t)~PAGE_RESERVED;
    if (op->kind == OP_COMMIT || op->kind == OP_PROTECT) {
        s->prot[p] = op->prot;
    } else if (op->kind == OP_ADVISE) {
        *flags &= (uint8_t)~advice;
        *flags |= op->prot == QUIRE_FORK_OMIT ? PAGE_OMIT : PAGE_WIPE;
    } else if (op->kind == OP_DECOMMIT) {
        *flags = (*flags & (uint8_t)~PAGE_GUARD) | PAGE_RESERVED;
        content = false;
    } else if (op->kind == OP_GUARD) {
        *flags |= PAGE_GUARD;
        content = false;
    } else if (op->kind == OP_UNGUARD) {
        content = !(*flags & PAGE_GUARD);
        *flags &= (uint8_t)~PAGE_GUARD;
    } else {
        content = false;
    }
    if (content)
        return;
    s->value[p] = s->stamp[p] = 0;
    if (*flags & PAGE_COPIED)
        *flags ^= PAGE_COPIED | PAGE_PRIVATE; /* the view shows the section again */
}

static enum quire_status pages_change(const struct oracle *o, struct oracle_space *s,
                                      const struct op *op)
{
    if (op->kind != OP_DISCARD && !all_mapped(s, op->page, end_of(op)))
        return QUIRE_NOT_MAPPED;
    bool writes = op->kind == OP_PROTECT && (op->prot & QUIRE_WRITE);
    for (unsigned p = op->page; p < end_of(op); p++)
        if (writes && (s->flags[p] & PAGE_SHARED) && (o->seals & QUIRE_SEAL_WRITE))
            return QUIRE_SEALED;
    for (unsigned p = op->page; p < end_of(op); p++)
        page_change(s, p, op);
    return QUIRE_OK;
}

static enum quire_status pages_move(struct oracle_space *s, const struct op *op)
{
    if (!all_mapped(s, op->page, end_of(op)))
        return QUIRE_NOT_MAPPED;
    for (unsigned p = op->page; p < end_of(op); p++) {
        unsigned to = p + op->count;
        s->prot[to] = s->prot[p];
        s->flags[to] = s->flags[p];
        s->value[to] = s->value[p];
        s->stamp[to] = s->stamp[p];
    }
    return pages_set(s, op, NO_REGION, 0);
}

static enum quire_status pages_populate(struct oracle *o, struct oracle_space *s,
                                        const struct op *op)
{
    s->vague = s->vague || op->kind == OP_PIN;
    for (unsigned p = op->page; p < end_of(op); p++) {
        enum quire_status status = reach(s, p, QUIRE_WRITE);
        if (status != QUIRE_OK)
            return status;
        s->stamp[p] = ++o->stamps;
    }
    return QUIRE_OK;
}

/* Where the content of a page is. */
static uint64_t *content(struct oracle *o, struct oracle_space *s, unsigned page)
{
    return s->flags[page] & (PAGE_SHARED | PAGE_PRIVATE) ? &o->file[page] : &s->value[page];
}

/* A private view's page becomes the space's own. */
static bool view_copy(struct oracle *o, struct oracle_space *s, unsigned page)
{
    if (!(s->flags[page] & PAGE_PRIVATE) || page >= o->pages)
        return false;
    s->value[page] = o->file[page];
    s->flags[page] ^= PAGE_PRIVATE | PAGE_COPIED;
    return true;
}

static enum quire_status view_map(struct oracle *o, struct oracle_space *s, const struct op *op)
{
    o->had_shared |= !op->prot;
    for (unsigned p = op->page; p < end_of(op); p++)
        page_set(s, p, QUIRE_READ | QUIRE_WRITE, op->prot ? PAGE_PRIVATE : PAGE_SHARED);
    return QUIRE_OK;
}

/* A debugger's read changes nothing, so no stack grows for it. */
static enum quire_status one_access(struct oracle *o, struct oracle_space *s, const struct op *op,
                                    uint64_t *value)
{
    bool write = op->kind == OP_STORE || op->kind == OP_WRITE || op->kind == OP_FORCE_WRITE;
    bool force = op->kind == OP_FORCE_READ || op->kind == OP_FORCE_WRITE;
    uint32_t access = force ? 0 : write ? QUIRE_WRITE : QUIRE_READ;
    enum quire_status status =
        op->kind == OP_FORCE_READ ? page_status(s, op->page, access) : reach(s, op->page, access);
    status = reach_in(o, s, op->page, status);
    if (status == QUIRE_OK && write) {
        (void)view_copy(o, s, op->page);
        *content(o, s, op->page) = *value;
        s->stamp[op->page] = ++o->stamps;
    } else if (status == QUIRE_OK) {
        *value = *content(o, s, op->page);
    }
    return status;
}

static void space_fork(const struct oracle_space *parent, struct oracle_space *child)
{
    *child = *parent;
    for (unsigned p = 0; p < ORACLE_PAGES; p++)
        if (parent->flags[p] & PAGE_OMIT)
            page_set(child, p, NO_REGION, 0);
        else if (parent->flags[p] & PAGE_WIPE)
            page_set(child, p, parent->prot[p], parent->flags[p] & (uint8_t)~PAGE_GUARD);
}

enum { BEYOND = 32 }; /* where the second set begins */

/* Nothing, addresses, or memory. */
static unsigned promise(const struct oracle_space *s, unsigned p)
{
    return s->prot[p] == NO_REGION ? 0 : s->flags[p] & PAGE_RESERVED ? 1 : 2;
}

static uint64_t difference(const struct oracle_space *s, const struct oracle_space *mark)
{
    uint64_t must = 0, may = 0;
    for (unsigned p = 0; p < ORACLE_PAGES; p++) {
        bool differs = promise(s, p) != promise(mark, p) || s->value[p] != mark->value[p] ||
                       ((s->flags[p] ^ mark->flags[p]) & PAGE_GUARD);
        must |= (uint64_t)differs << p;
        may |= (uint64_t)(differs || s->stamp[p] != mark->stamp[p] || s->vague || mark->vague) << p;
    }
    return may << BEYOND | must;
}

bool oracle_may_differ(uint64_t found, uint64_t bits, uint64_t prepared)
{
    const uint64_t known = (UINT64_C(1) << ORACLE_PAGES) - 1;
    return !(found & known & ~bits) && !(bits & known & ~(found >> BEYOND | prepared));
}

static bool op_writes(const struct op *op)
{
    return op->kind == OP_STORE || op->kind == OP_WRITE || op->kind == OP_FORCE_WRITE ||
           op->kind == OP_POPULATE || op->kind == OP_PIN;
}

static bool op_clones(const struct op *op)
{
    return op->kind == OP_CLONE || op->kind == OP_CLONE_TO;
}

/* Where the copy goes. */
static unsigned clone_page(const struct op *op)
{
    return op->page + (op->kind == OP_CLONE ? LEAF_PAGES : 0u);
}

static enum quire_status clone_read(struct oracle *o, unsigned cpu, const struct op *op)
{
    struct oracle_space *s = &o->space[o->runs[cpu]];
    enum quire_status status = page_status(s, op->page, QUIRE_READ);
    if (status == QUIRE_OK)
        o->read[cpu] = s->value[op->page];
    return status;
}

static enum quire_status page_clone(struct oracle *o, unsigned cpu, const struct op *op)
{
    unsigned slot = op->kind == OP_CLONE ? o->runs[cpu] : op->slot, page = clone_page(op);
    enum quire_status status = o->half[cpu] ? QUIRE_OK : clone_read(o, cpu, op);
    o->half[cpu] = false;
    if (status == QUIRE_OK)
        status = page_status(&o->space[slot], page, QUIRE_WRITE);
    if (status != QUIRE_OK)
        return status;
    o->space[slot].value[page] = o->read[cpu];
    o->space[slot].stamp[page] = ++o->stamps;
    return QUIRE_OK;
}

uint64_t oracle_prepares(const struct op *op)
{
    uint64_t count = op->count ? op->count : 1;
    if (op_clones(op))
        return UINT64_C(1) << clone_page(op);
    return op_writes(op) ? ((UINT64_C(1) << count) - 1) << op->page : 0;
}

static bool op_transfers(const struct op *op, bool write)
{
    return write ? op->kind == OP_SYNC /* also one that only begins: it may end at once */
                 : op->kind <= OP_WRITE || op->kind == OP_SECTION_READ ||
                       op->kind == OP_SECTION_WRITE;
}

bool oracle_may_refuse(const struct oracle *o, unsigned cpu, const struct op *op,
                       enum quire_status status)
{
    if (status == QUIRE_IO_ERROR && o->paged && o->failing[false])
        return op->kind != OP_END && op->kind != OP_FAIL; /* a page that is out was wanted */
    if (status == QUIRE_IO_ERROR && o->has_pager)
        return o->failing[op_transfers(op, true)] &&
               (op_transfers(op, true) || op_transfers(op, false));
    if (status == QUIRE_SEALED && o->sealing)
        return op->kind == OP_SECTION_WRITE;
    if (status == QUIRE_HAS_WRITERS)
        return op->kind == OP_SEAL && op->prot == QUIRE_SEAL_WRITE && o->had_shared;
    return status == QUIRE_COPY_LIMIT && o->space[o->runs[cpu]].limited && op_writes(op);
}

/* What a sync stores it stores at one moment for each page, and may be told of an error later. */
static void section_store(struct oracle *o, const struct op *op)
{
    for (unsigned p = op->page; o->has_pager && p < end_of(op) && p < o->pages; p++)
        o->stored[p] = o->file[p];
}

bool oracle_grow(struct oracle *o, unsigned cpu, const struct op *op)
{
    struct oracle_space *s = &o->space[o->runs[cpu]];
    if (op->kind == OP_SYNC && !o->half[cpu]) {
        section_store(o, op);
        return o->half[cpu] = true;
    }
    if (op->kind == OP_SEAL && (op->prot & QUIRE_SEAL_WRITE) && !o->sealing)
        return o->sealing = true;
    if (op_clones(op) && o->clones_copy && !o->half[cpu])
        return o->half[cpu] = clone_read(o, cpu, op) == QUIRE_OK;
    bool access = op->kind == OP_LOAD || op->kind == OP_READ || op_writes(op);
    uint32_t rights = op->kind == OP_LOAD || op->kind == OP_READ ? QUIRE_READ : QUIRE_WRITE;
    if (op_writes(op) && page_status(s, op->page, QUIRE_WRITE) == QUIRE_OK &&
        view_copy(o, s, op->page))
        return true;
    if (!access || s->prot[op->page] != NO_REGION)
        return false;
    stack_grow(s, op->page, op->kind == OP_FORCE_WRITE ? 0 : rights);
    return s->prot[op->page] != NO_REGION;
}

static enum quire_status section_access(struct oracle *o, const struct op *op, uint64_t *value)
{
    if (op->page >= o->pages)
        return QUIRE_BEYOND_END;
    if (op->kind == OP_SECTION_READ)
        *value = o->file[op->page];
    else if (o->seals & QUIRE_SEAL_WRITE)
        return QUIRE_SEALED;
    else
        o->file[op->page] = *value;
    return QUIRE_OK;
}

static enum quire_status section_resize(struct oracle *o, unsigned pages)
{
    uint32_t seal = pages < o->pages ? QUIRE_SEAL_SHRINK : QUIRE_SEAL_GROW;
    if (pages != o->pages && (o->seals & seal))
        return QUIRE_SEALED;
    o->pages = (uint8_t)pages;
    for (unsigned p = pages; p < FILE_PAGES; p++)
        o->file[p] = o->stored[p] = 0;
    return QUIRE_OK;
}

/* Not for writing, where some shared view may write. */
static enum quire_status section_seal(struct oracle *o, uint8_t seals)
{
    for (unsigned i = 0; i < SLOTS && (seals & QUIRE_SEAL_WRITE); i++) {
        const struct oracle_space *s = &o->space[i];
        for (unsigned p = 0; s->live && p < ORACLE_PAGES; p++)
            if ((s->flags[p] & PAGE_SHARED) && (s->prot[p] & QUIRE_WRITE))
                return QUIRE_HAS_WRITERS;
    }
    o->seals |= seals;
    return QUIRE_OK;
}

void oracle_create(struct oracle_space *s)
{
    *s = (struct oracle_space){.live = true};
    memset(s->prot, QUIRE_READ | QUIRE_WRITE, sizeof s->prot);
}

enum quire_status oracle_run(struct oracle *o, unsigned cpu, const struct op *op, unsigned child,
                             uint64_t *value)
{
    struct oracle_space *s = &o->space[o->runs[cpu]];
    switch ((enum op_kind)op->kind) {
    case OP_LOAD:
    case OP_STORE:
    case OP_READ:
    case OP_WRITE:
    case OP_FORCE_READ:
    case OP_FORCE_WRITE: return one_access(o, s, op, value);
    case OP_FORK: space_fork(s, &o->space[child]); return QUIRE_OK;
    case OP_FORK_TO: space_fork(s, &o->space[op->slot]); return QUIRE_OK;
    case OP_CREATE: oracle_create(&o->space[op->slot]); return QUIRE_OK;
    case OP_EXIT: o->space[op->slot].live = false; return QUIRE_OK;
    case OP_ENTER: o->runs[cpu] = op->slot; return QUIRE_OK;
    case OP_UNMAP: return pages_set(s, op, NO_REGION, 0);
    case OP_MAP: return pages_set(s, op, QUIRE_READ | QUIRE_WRITE, 0);
    case OP_STACK: return pages_set(s, op, op->prot, PAGE_GROWS);
    case OP_PROTECT:
    case OP_DECOMMIT:
    case OP_COMMIT:
    case OP_ADVISE:
    case OP_DISCARD:
    case OP_GUARD:
    case OP_UNGUARD: return pages_change(o, s, op);
    case OP_MOVE: return pages_move(s, op);
    case OP_CLONE:
    case OP_CLONE_TO: return page_clone(o, cpu, op);
    case OP_POPULATE:
    case OP_PIN: return pages_populate(o, s, op);
    case OP_LIMIT: s->limited = op->count != 255; return QUIRE_OK;
    case OP_DIFF: *value = difference(s, &o->space[op->slot]); return QUIRE_OK;
    case OP_DIFF_MARK:
        *value = difference(s, &o->space[op->slot]);
        space_fork(s, &o->space[op->slot]);
        return QUIRE_OK;
    case OP_VIEW: return view_map(o, s, op);
    case OP_SECTION_READ:
    case OP_SECTION_WRITE: return section_access(o, op, value);
    case OP_SYNC:
        if (!o->half[cpu])
            section_store(o, op);
        o->half[cpu] = false;
        return QUIRE_OK;
    case OP_RESIZE: return section_resize(o, op->count);
    case OP_SECTION_DISCARD:
        if (o->seals & QUIRE_SEAL_WRITE)
            return QUIRE_SEALED;
        if (op->page < o->pages)
            o->file[op->page] = o->stored[op->page];
        return QUIRE_OK;
    case OP_SEAL: return section_seal(o, op->prot);
    case OP_FAIL: o->failing[op->prot] = true; return QUIRE_OK;
    case OP_END:
    case OP_OUT:
    case OP_NEED:
    case OP_BALANCE:
    case OP_STEAL:
    case OP_PURGE:
    case OP_TWIN:
    case OP_PULL:
    case OP_WORK:
    case OP_ZERO:
    case OP_CHECK:
    case OP_LOOK:
    case OP_TAKE:
    case OP_HOG:
    case OP_KIND_COUNT: break;
    }
    return QUIRE_OK;
}

void oracle_ending(const struct oracle *o, struct ending *out)
{
    struct oracle now = *o;
    memset(out, 0, sizeof *out);
    memcpy(out->file, o->file, sizeof out->file);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct oracle_space s = o->space[i];
        out->live[i] = s.live;
        for (unsigned t = 0; s.live && t < TOUCHED; t++) {
            unsigned p = touched[t];
            out->load[i][t] = (uint8_t)reach_in(o, &s, p, reach(&s, p, QUIRE_READ));
            out->store[i][t] = (uint8_t)reach_in(o, &s, p, reach(&s, p, QUIRE_WRITE));
            out->value[i][t] = *content(&now, &s, p);
        }
    }
}
