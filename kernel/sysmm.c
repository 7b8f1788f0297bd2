/* SPDX-License-Identifier: MIT */
/*
 * Linux's calls that make, change and end mappings, in quire's terms.  sysadvise.c has those that
 * only say something about them.
 *
 * Lengths are rounded up to pages here and statuses become error numbers; all else is quire's.
 */
#include "process.h"
#include "vfs.h"

enum {
    PROT_READ = 1,
    PROT_WRITE = 2,
    PROT_EXEC = 4,
    PROT_KNOWN = 7,
    PROT_GROWS = 0x3000000,
    MAP_SHARED = 1,
    MAP_PRIVATE = 2,
    MAP_TYPE = 15,
    MAP_FIXED = 0x10,
    MAP_ANONYMOUS = 0x20,
    MAP_GROWSDOWN = 0x100,
    MAP_LOCKED = 0x2000,
    MAP_POPULATE = 0x8000,
    MAP_FIXED_NOREPLACE = 0x100000,
    MREMAP_MAYMOVE = 1,
    MREMAP_FIXED = 2,
};

static uint32_t prot_of(uint64_t prot)
{
    return (prot & PROT_READ ? (uint32_t)QUIRE_READ : 0) |
           (prot & PROT_WRITE ? (uint32_t)QUIRE_WRITE : 0) |
           (prot & PROT_EXEC ? (uint32_t)QUIRE_EXEC : 0);
}

/* A new mapping of a process that locks what it maps, or that asked for it in this call. */
static void mapping_lock(vaddr_t address, uint64_t length, uint64_t flags)
{
    /* As far as the pages can be made present: nobody is told of a failure. */
    if (flags & MAP_LOCKED || current->mm->lock_next == MM_LOCK_NOW)
        mm_lock_now(address, length);
    else if (current->mm->lock_next)
        mm_lock(address, length);
    if (flags & MAP_POPULATE)
        (void)mm_populate(address, length);
}

/* The break grows and shrinks by whole pages; a refusal leaves it where it was. */
long sys_brk(const uint64_t *a)
{
    struct mm *mm = current->mm;
    uint64_t wanted = a[0], old = pages_up(mm->brk_end), new = pages_up(wanted);
    enum quire_status status = QUIRE_OK;

    if (wanted < mm->brk_start || wanted > USER_HIGH)
        return (long)mm->brk_end;
    if (new > old) {
        vaddr_t address = old;

        status =
            quire_map(mm->space, &address, new - old, QUIRE_READ | QUIRE_WRITE, QUIRE_MAP_FIXED);
    } else if (new < old) {
        status = quire_unmap(mm->space, new, old - new);
    }
    if (status == QUIRE_OK) {
        mm->brk_end = wanted;
        mm->pages_counted = false;
        if (new > old)
            mapping_lock(old, new - old, 0);
    }
    return (long)mm->brk_end;
}

/* What a program may make of a file: 0, or -E.  Fills in view->inode. */
static long map_check(int fd, uint64_t prot, struct file_view *view)
{
    struct file *file = descriptor_peek(current, fd);

    if (!file || file->flags & O_PATH)
        return -EBADF;
    if ((file->flags & O_ACCMODE) == O_WRONLY)
        return -EACCES;
    if (view->shared && prot & PROT_WRITE && (file->flags & O_ACCMODE) != O_RDWR)
        return -EACCES;
    if (!inode_is(file->inode, S_IFREG) || file->inode->device != DEVICE_TMPFS)
        return -ENODEV;
    if (view->offset + view->length < view->offset)
        return -EOVERFLOW;
    view->read_only = (file->flags & O_ACCMODE) != O_RDWR;
    if (view->shared && file->inode->seals & SEAL_FUTURE_WRITE) {
        if (prot & PROT_WRITE)
            return -EPERM;
        view->read_only = true;
    }
    view->inode = file->inode;
    return 0;
}

/* Where: the flags for quire, with a place that cannot be made 0.  0 or -E. */
static long place_check(uint64_t flags, uint64_t length, vaddr_t *address, uint32_t *out)
{
    *out = 0;
    if (flags & MAP_FIXED_NOREPLACE)
        *out = QUIRE_MAP_FIXED;
    else if (flags & MAP_FIXED)
        *out = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;
    if (*out && *address % PAGE_SIZE)
        return -EINVAL;
    if (*out && *address < USER_LOW)
        return -EPERM;
    if (*out && !range_ok(*address, length))
        return -ENOMEM;
    if (flags & MAP_GROWSDOWN)
        *out |= QUIRE_MAP_GROWS_DOWN;
    *address &= -(uint64_t)PAGE_SIZE;
    if (*address < USER_LOW || !range_ok(*address, length))
        *address = 0;
    return 0;
}

long sys_mmap(const uint64_t *a)
{
    vaddr_t address = a[0];
    uint64_t kind = a[3] & MAP_TYPE;
    struct file_view view = {.offset = a[5],
                             .length = pages_up(a[1]),
                             .prot = prot_of(a[2]),
                             .shared = kind != MAP_PRIVATE};
    enum quire_status status;
    uint32_t flags;
    long error = 0;

    if (a[1] == 0 || a[5] % PAGE_SIZE || (kind != MAP_PRIVATE && kind != MAP_SHARED && kind != 3))
        return -EINVAL;
    if (view.length == 0)
        return -ENOMEM;
    if (!(a[3] & MAP_ANONYMOUS))
        error = map_check((int)a[4], a[2], &view);
    if (!error)
        error = place_check(a[3], view.length, &address, &flags);
    if (error)
        return error;
    current->mm->pages_counted = false;
    if (view.inode)
        status = file_map(current->mm->space, &address, &view, flags);
    else if (view.shared)
        status = shared_map(current->mm->space, &address, view.length, view.prot, flags);
    else
        status = quire_map(current->mm->space, &address, view.length, view.prot, flags);
    if (status != QUIRE_OK)
        return mm_error(status);
    mapping_lock(address, view.length, a[3]);
    return (long)address;
}

long sys_munmap(const uint64_t *a)
{
    uint64_t length = pages_up(a[1]);

    if (a[0] % PAGE_SIZE || length == 0 || !range_ok(a[0], length) || a[0] < USER_LOW)
        return -EINVAL;
    current->mm->pages_counted = false;
    return mm_error(quire_unmap(current->mm->space, a[0], length));
}

long sys_mprotect(const uint64_t *a)
{
    uint64_t length = pages_up(a[1]);

    if (a[0] % PAGE_SIZE || a[2] & ~(uint64_t)PROT_KNOWN)
        return -EINVAL;
    if (a[1] == 0)
        return 0;
    if (length == 0 || !range_ok(a[0], length) || a[0] < USER_LOW)
        return -ENOMEM;
    return mm_protect_error(quire_protect(current->mm->space, a[0], length, prot_of(a[2])));
}

/* Show another part of the section that a shared mapping shows, in its place. */
long sys_remap_file_pages(const uint64_t *a)
{
    struct quire_space *space = current->mm->space;
    vaddr_t address = a[0] & -(uint64_t)PAGE_SIZE;
    uint64_t length = a[1] & -(uint64_t)PAGE_SIZE;
    const uint32_t flags = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE | QUIRE_MAP_SHARED;
    struct quire_region region;

    if (a[2] != 0 || length == 0 || !range_ok(address, length) || a[3] > UINT64_MAX / PAGE_SIZE ||
        a[3] * PAGE_SIZE + length < length)
        return -EINVAL;
    if (quire_query(space, address, &region) != QUIRE_OK || region.start > address ||
        region.end < address + length || !(region.flags & QUIRE_REGION_SHARED))
        return -EINVAL;
    return mm_error(quire_map_view(
        space, &address, length, region.prot,
        flags | (region.flags & QUIRE_REGION_READ_ONLY ? (uint32_t)QUIRE_MAP_READ_ONLY : 0),
        region.section, a[3] * PAGE_SIZE));
}

/* The range grows or shrinks where it is, or moves; the pages keep their contents. */
static long range_move(const uint64_t *a, uint64_t old, uint64_t new)
{
    struct quire_space *space = current->mm->space;
    uint32_t flags = a[3] & MREMAP_MAYMOVE ? QUIRE_MOVE_ANYWHERE : 0;
    vaddr_t to = a[4];
    enum quire_status status;

    if (a[3] & MREMAP_FIXED) {
        if (to % PAGE_SIZE || !range_ok(to, new) || (to < a[0] + old && a[0] < to + new))
            return -EINVAL;
        if (to < USER_LOW)
            return -EPERM;
        flags = QUIRE_MOVE_FIXED;
    } else if (new == old) {
        return (long)a[0];
    }
    status = quire_move(space, a[0], old, &to, new, flags);
    return status == QUIRE_OK ? (long)to : mm_error(status);
}

/* To move nothing of shared memory is to see it a second time. */
static long view_again(const struct quire_region *region, const uint64_t *a, uint64_t length)
{
    uint32_t flags = region->flags & QUIRE_REGION_READ_ONLY ? QUIRE_MAP_READ_ONLY : 0;
    vaddr_t to = 0;
    enum quire_status status;

    if (!(region->flags & QUIRE_REGION_SHARED))
        return -EINVAL;
    if (!(a[3] & MREMAP_MAYMOVE))
        return -ENOMEM;
    if (a[3] & MREMAP_FIXED) {
        to = a[4];
        if (to % PAGE_SIZE || !range_ok(to, length))
            return -EINVAL;
        if (to < USER_LOW)
            return -EPERM;
        flags |= QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;
    }
    status = quire_map_view(current->mm->space, &to, length, region->prot, flags | QUIRE_MAP_SHARED,
                            region->section, region->offset + (a[0] - region->start));
    return status == QUIRE_OK ? (long)to : mm_error(status);
}

long sys_mremap(const uint64_t *a)
{
    uint64_t old = pages_up(a[1]), new = pages_up(a[2]);
    struct quire_region region;

    if (a[3] & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED) ||
        (a[3] & MREMAP_FIXED && !(a[3] & MREMAP_MAYMOVE)))
        return -EINVAL;
    if (a[0] % PAGE_SIZE || new == 0 || (old == 0 && a[1] != 0))
        return -EINVAL;
    if (!range_ok(a[0], old) || quire_query(current->mm->space, a[0], &region) != QUIRE_OK ||
        region.start > a[0])
        return -EFAULT;
    current->mm->pages_counted = false;
    if (old > new && !(a[3] & MREMAP_FIXED)) {
        enum quire_status status = quire_unmap(current->mm->space, a[0] + new, old - new);

        return status == QUIRE_OK ? (long)a[0] : mm_error(status);
    }
    if (old == 0)
        return view_again(&region, a, new);
    if (old > region.end - a[0])
        return -EFAULT;
    long to = range_move(a, old, new);
    if (to > 0 && new > old && region.flags &QUIRE_REGION_LOCKED)
        mm_lock_now((vaddr_t)to + old, new - old);
    return to;
}
