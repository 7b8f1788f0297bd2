/* SPDX-License-Identifier: MIT */
/*
 * What operations do, in the plainest words: a space is an array of pages, fork copies it.
 */
#include "program.h"

#include <string.h>

static enum quire_status page_status(const struct oracle_space *s, unsigned page, uint32_t access)
{
    if (s->prot[page] == NO_REGION)
        return QUIRE_NOT_MAPPED;
    if (!(s->prot[page] & access))
        return QUIRE_PROTECTED;
    return s->guard[page] ? QUIRE_GUARDED : QUIRE_OK;
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

static void pages_set(struct oracle_space *s, const struct op *op, uint8_t prot)
{
    for (unsigned p = op->page; p < end_of(op); p++) {
        s->prot[p] = prot;
        s->guard[p] = false;
        s->value[p] = 0;
    }
}

static enum quire_status pages_change(struct oracle_space *s, const struct op *op)
{
    if (op->kind != OP_DISCARD && !all_mapped(s, op->page, end_of(op)))
        return QUIRE_NOT_MAPPED;
    for (unsigned p = op->page; p < end_of(op); p++) {
        if (op->kind == OP_PROTECT)
            s->prot[p] = op->prot;
        else if (op->kind != OP_UNGUARD || s->guard[p])
            s->value[p] = 0;
        if (op->kind == OP_GUARD || op->kind == OP_UNGUARD)
            s->guard[p] = op->kind == OP_GUARD;
    }
    return QUIRE_OK;
}

static enum quire_status pages_move(struct oracle_space *s, const struct op *op)
{
    if (!all_mapped(s, op->page, end_of(op)))
        return QUIRE_NOT_MAPPED;
    for (unsigned p = op->page; p < end_of(op); p++) {
        unsigned to = p + op->count;
        s->prot[to] = s->prot[p];
        s->guard[to] = s->guard[p];
        s->value[to] = s->value[p];
    }
    pages_set(s, op, NO_REGION);
    return QUIRE_OK;
}

static enum quire_status pages_populate(struct oracle_space *s, const struct op *op)
{
    for (unsigned p = op->page; p < end_of(op); p++) {
        enum quire_status status = page_status(s, p, QUIRE_WRITE);
        if (status != QUIRE_OK)
            return status;
    }
    return QUIRE_OK;
}

static enum quire_status one_access(struct oracle_space *s, const struct op *op, uint64_t *value)
{
    bool write = op->kind == OP_STORE || op->kind == OP_WRITE;
    enum quire_status status = page_status(s, op->page, write ? QUIRE_WRITE : QUIRE_READ);
    if (status == QUIRE_OK && write)
        s->value[op->page] = *value;
    else if (status == QUIRE_OK)
        *value = s->value[op->page];
    return status;
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
    case OP_WRITE: return one_access(s, op, value);
    case OP_FORK: o->space[child] = *s; return QUIRE_OK;
    case OP_FORK_TO: o->space[op->slot] = *s; return QUIRE_OK;
    case OP_CREATE: oracle_create(&o->space[op->slot]); return QUIRE_OK;
    case OP_EXIT: o->space[op->slot].live = false; return QUIRE_OK;
    case OP_ENTER: o->runs[cpu] = op->slot; return QUIRE_OK;
    case OP_UNMAP: pages_set(s, op, NO_REGION); return QUIRE_OK;
    case OP_MAP: pages_set(s, op, QUIRE_READ | QUIRE_WRITE); return QUIRE_OK;
    case OP_PROTECT:
    case OP_DISCARD:
    case OP_GUARD:
    case OP_UNGUARD: return pages_change(s, op);
    case OP_MOVE: return pages_move(s, op);
    case OP_POPULATE:
    case OP_PIN: return pages_populate(s, op);
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
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct oracle_space *s = &o->space[i];
        out->live[i] = s->live;
        for (unsigned t = 0; s->live && t < TOUCHED; t++) {
            out->load[i][t] = (uint8_t)page_status(s, touched[t], QUIRE_READ);
            out->store[i][t] = (uint8_t)page_status(s, touched[t], QUIRE_WRITE);
            out->value[i][t] = s->value[touched[t]];
        }
    }
}
