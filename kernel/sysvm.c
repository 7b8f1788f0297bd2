/* SPDX-License-Identifier: MIT */
/*
 * process_vm_readv and process_vm_writev: one process copies out of, or into, another's memory.
 *
 * The two lists of pieces are walked side by side.  The other process's pages are reached as that
 * process itself would reach them (quire_access without QUIRE_FORCE: what its mappings forbid is
 * EFAULT), a page at a time by way of a frame of the kernel's, because a copy between two spaces
 * would look at one while it holds the other.  What was copied before an error counts; the error is
 * for who has copied nothing.
 */
#include "process.h"

enum { PIECES_MAX = 1024 };

struct piece {
    uint64_t base, length;
};

/* A list of pieces in the caller's memory, and how far it was used. */
struct list {
    uintptr_t at;
    uint64_t left;
    struct piece piece; /* what is left of the current one */
};

/* Are all pieces readable, of lengths that make sense?  0 or -E. */
static long list_check(uintptr_t at, uint64_t count)
{
    struct piece piece;

    if (count > PIECES_MAX)
        return -EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        if (copy_in(&piece, at + i * sizeof piece, sizeof piece))
            return -EFAULT;
        if ((int64_t)piece.length < 0)
            return -EINVAL;
    }
    return 0;
}

/* Go on to a piece with something in it: 1, or 0 at the end, or -EFAULT. */
static long list_next(struct list *list)
{
    while (list->piece.length == 0) {
        if (list->left == 0)
            return 0;
        if (copy_in(&list->piece, list->at, sizeof list->piece))
            return -EFAULT;
        list->at += sizeof list->piece;
        list->left--;
    }
    return 1;
}

static void list_advance(struct list *list, size_t n)
{
    list->piece.base += n;
    list->piece.length -= n;
}

/* At most a page of the other's, between there and the caller's memory.  Bytes, or -EFAULT. */
static long step(struct quire_space *space, struct list *own, struct list *other, void *frame,
                 uint32_t access)
{
    uint64_t at = other->piece.base;
    uint64_t n = PAGE_SIZE - at % PAGE_SIZE;
    size_t done = 0;

    n = n < other->piece.length ? n : other->piece.length;
    n = n < own->piece.length ? n : own->piece.length;
    if (access == QUIRE_WRITE && copy_in(frame, own->piece.base, n))
        return -EFAULT;
    if (quire_access(space, at, frame, n, access, &done) != QUIRE_OK)
        return -EFAULT;
    if (access == QUIRE_READ && copy_out(own->piece.base, frame, n))
        return -EFAULT;
    list_advance(own, n);
    list_advance(other, n);
    return (long)n;
}

static long lists_copy(struct mm *mm, struct list *own, struct list *other, uint32_t access)
{
    void *frame = frame_alloc_dirty();
    long done = 0, n = 0;

    if (!frame)
        return -ENOMEM;
    while (n >= 0) {
        n = list_next(own);
        if (n > 0)
            n = list_next(other);
        if (n == 0)
            break;
        if (n > 0)
            n = step(mm->space, own, other, frame, access);
        done += n > 0 ? n : 0;
    }
    frame_free(frame);
    return done > 0 ? done : n;
}

static long vm_call(const uint64_t *a, uint32_t access)
{
    struct list own = {.at = a[1], .left = a[2]}, other = {.at = a[3], .left = a[4]};
    struct proc *p;
    struct mm *mm;
    long result;

    if (a[5])
        return -EINVAL;
    result = list_check(own.at, own.left);
    if (!result)
        result = list_check(other.at, other.left);
    if (result)
        return result;
    p = proc_find((int)a[0]);
    if (!p || !p->mm)
        return -ESRCH;
    mm = p->mm;
    mm->users++; /* to wait for memory lets others run */
    result = lists_copy(mm, &own, &other, access);
    mm_put(mm);
    return result;
}

long sys_process_vm_readv(const uint64_t *a) { return vm_call(a, QUIRE_READ); }

long sys_process_vm_writev(const uint64_t *a) { return vm_call(a, QUIRE_WRITE); }
