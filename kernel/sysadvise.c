/* SPDX-License-Identifier: MIT */
/*
 * Linux's calls that say something about mappings which exist, or ask about them: madvise, mlock
 * and its family, msync, mincore.
 *
 * To lock memory is to make it present and keep it so (quire_lock), and to refuse what would take
 * it away.  A region is locked if it bears its process's own name for that (quire_name); a child
 * has another, so fork, which goes over no regions, leaves all that the child has unlocked.  Memory
 * that is locked from its first use on (MLOCK_ONFAULT) has the name alone: it may be paged out.
 *
 * All files are memory, so msync has nothing to write; it says whether it could have.  Advice about
 * a range that has holes is taken for what is mapped, and answered with ENOMEM, as Linux does.
 */
#include "process.h"
#include "vfs.h"

enum {
    MADV_NORMAL = 0,
    MADV_RANDOM = 1,
    MADV_SEQUENTIAL = 2,
    MADV_WILLNEED = 3,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
    MADV_REMOVE = 9,
    MADV_DONTFORK = 10,
    MADV_DOFORK = 11,
    MADV_HUGEPAGE = 14,
    MADV_NOHUGEPAGE = 15,
    MADV_DONTDUMP = 16,
    MADV_DODUMP = 17,
    MADV_WIPEONFORK = 18,
    MADV_KEEPONFORK = 19,
    MADV_COLD = 20,
    MADV_PAGEOUT = 21,
    MADV_POPULATE_READ = 22,
    MADV_POPULATE_WRITE = 23,
    MADV_DONTNEED_LOCKED = 24,
    MADV_GUARD_INSTALL = 102,
    MADV_GUARD_REMOVE = 103,
    MS_ASYNC = 1,
    MS_INVALIDATE = 2,
    MS_SYNC = 4,
    MCL_KNOWN = 7, /* MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT */
    MCL_CURRENT = 1,
    MCL_FUTURE = 2,
    MCL_ONFAULT = 4,
    MLOCK_ONFAULT = 1,
};

/* What is done with each mapped part of a range: 0 or -E. */
typedef long (*part_action)(const struct quire_region *region, vaddr_t start, uint64_t length,
                            uint64_t what);

/* Do it with every region's part of [low, high): 0, -ENOMEM if there are holes, or -E. */
static long parts_do(uint64_t low, uint64_t high, part_action action, uint64_t what)
{
    struct quire_space *space = current->mm->space;
    struct quire_region region;
    bool hole = false;

    while (low < high) {
        vaddr_t start, end;
        long error;

        if (quire_query(space, low, &region) != QUIRE_OK || region.start >= high)
            return -ENOMEM;
        start = region.start > low ? region.start : low;
        hole = hole || start > low;
        end = region.end < high ? region.end : high;
        error = action(&region, start, end - start, what);
        if (error)
            return error;
        low = end;
    }
    return hole ? -ENOMEM : 0;
}

static bool is_locked(const struct quire_region *region) { return mm_locked(current->mm, region); }

/* ---- advice ---------------------------------------------------------------------------------- */

static long part_nothing(const struct quire_region *region, vaddr_t start, uint64_t length,
                         uint64_t what)
{
    (void)region;
    (void)start;
    (void)length;
    (void)what;
    return 0;
}

/* Nothing, but of memory that is private and not locked. */
static long part_own(const struct quire_region *region, vaddr_t start, uint64_t length,
                     uint64_t what)
{
    (void)start;
    (void)length;
    (void)what;
    return is_locked(region) || region->section ? -EINVAL : 0;
}

/* Pages are to leave memory, sooner or later. */
static long part_leave(const struct quire_region *region, vaddr_t start, uint64_t length,
                       uint64_t advice)
{
    if (is_locked(region))
        return -EINVAL;
    return mm_error(
        quire_advise_pages(current->mm->space, start, length, (enum quire_page_advice)advice));
}

static long part_forget(const struct quire_region *region, vaddr_t start, uint64_t length,
                        uint64_t locked_too)
{
    if (is_locked(region) && !locked_too)
        return -EINVAL;
    return mm_error(quire_discard(current->mm->space, start, length));
}

/* Where in its section a view shows an address. */
static uint64_t section_offset(const struct quire_region *region, vaddr_t address)
{
    return region->offset + (address - region->start);
}

/* Shared memory, or the file, loses its bytes. */
static long part_remove(const struct quire_region *region, vaddr_t start, uint64_t length,
                        uint64_t what)
{
    uint64_t offset = section_offset(region, start);
    struct inode *inode;

    (void)what;
    if (is_locked(region) || !region->section)
        return -EINVAL;
    if (!(region->flags & QUIRE_REGION_SHARED) || !(region->prot & QUIRE_WRITE))
        return -EACCES;
    inode = quire_section_cookie(region->section);
    return inode ? file_punch(inode, offset, offset + length)
                 : file_error(quire_section_discard(region->section, offset, length));
}

static long part_fetch(const struct quire_region *region, vaddr_t start, uint64_t length,
                       uint64_t what)
{
    struct inode *inode = region->section ? quire_section_cookie(region->section) : NULL;

    (void)what;
    if (inode)
        file_fetch(inode, section_offset(region, start), length);
    return mm_error(quire_advise_pages(current->mm->space, start, length, QUIRE_PAGES_NEED));
}

static long part_fork(const struct quire_region *region, vaddr_t start, uint64_t length,
                      uint64_t advice)
{
    if (advice == QUIRE_FORK_WIPE && region->section)
        return -EINVAL;
    return mm_error(quire_advise(current->mm->space, start, length, (enum quire_advice)advice));
}

/* Undo one advice about fork; whoever was given the other keeps it. */
static long part_unfork(const struct quire_region *region, vaddr_t start, uint64_t length,
                        uint64_t flag)
{
    if (!(region->flags & flag))
        return 0;
    return mm_error(quire_advise(current->mm->space, start, length, QUIRE_FORK_INHERIT));
}

static long part_guard(const struct quire_region *region, vaddr_t start, uint64_t length,
                       uint64_t install)
{
    struct quire_space *space = current->mm->space;

    if (is_locked(region))
        return -EINVAL;
    return mm_error(install ? quire_guard(space, start, length)
                            : quire_unguard(space, start, length));
}

static long range_populate(uint64_t low, uint64_t length, uint32_t access)
{
    return mm_populate_error(quire_populate(current->mm->space, low, length, access, NULL));
}

static long range_advise(uint64_t low, uint64_t high, uint64_t advice)
{
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP: return parts_do(low, high, part_nothing, 0);
    case MADV_COLD: return parts_do(low, high, part_leave, QUIRE_PAGES_COLD);
    case MADV_PAGEOUT: return parts_do(low, high, part_leave, QUIRE_PAGES_OUT);
    case MADV_FREE: /* to free nothing is one of the things that may happen */
        return parts_do(low, high, part_own, 0);
    case MADV_WILLNEED: return parts_do(low, high, part_fetch, 0);
    case MADV_DONTNEED: return parts_do(low, high, part_forget, false);
    case MADV_DONTNEED_LOCKED: return parts_do(low, high, part_forget, true);
    case MADV_REMOVE: return parts_do(low, high, part_remove, 0);
    case MADV_DONTFORK: return parts_do(low, high, part_fork, QUIRE_FORK_OMIT);
    case MADV_WIPEONFORK: return parts_do(low, high, part_fork, QUIRE_FORK_WIPE);
    case MADV_DOFORK: return parts_do(low, high, part_unfork, QUIRE_REGION_FORK_OMIT);
    case MADV_KEEPONFORK: return parts_do(low, high, part_unfork, QUIRE_REGION_FORK_WIPE);
    case MADV_POPULATE_READ: return range_populate(low, high - low, QUIRE_READ);
    case MADV_POPULATE_WRITE: return range_populate(low, high - low, QUIRE_WRITE);
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE: return parts_do(low, high, part_guard, advice == MADV_GUARD_INSTALL);
    default: return -EINVAL;
    }
}

long sys_madvise(const uint64_t *a)
{
    uint64_t length = pages_up(a[1]);

    if (a[0] % PAGE_SIZE || (a[1] && length == 0))
        return -EINVAL;
    if (a[1] == 0)
        return 0;
    if (!range_ok(a[0], length))
        return -ENOMEM;
    return range_advise(a[0], a[0] + length, a[2]);
}

/* ---- locking --------------------------------------------------------------------------------- */

void mm_start(struct mm *mm)
{
    static uint64_t last;

    mm->users = 1;
    mm->lock_name = ++last;
    mm->lock_next = MM_LOCK_NOT;
}

void mm_lock(vaddr_t address, uint64_t length)
{
    /* Without memory for the cut of a region it is not locked, which only a report would tell. */
    if (quire_name(current->mm->space, address, length, current->mm->lock_name) != QUIRE_OK)
        return;
}

void mm_lock_now(vaddr_t address, uint64_t length)
{
    mm_lock(address, length);
    (void)mm_populate(address, length);
    if (quire_lock(current->mm->space, address, length) != QUIRE_OK)
        return;
}

enum quire_status mm_populate(vaddr_t address, uint64_t length)
{
    struct quire_region region;
    enum quire_status status = quire_query(current->mm->space, address, &region);

    if (status != QUIRE_OK || region.prot == QUIRE_NONE)
        return status;
    return quire_populate(current->mm->space, address, length,
                          region.prot & QUIRE_WRITE ? QUIRE_WRITE : QUIRE_READ, NULL);
}

/* Give a part the name, and make it present if asked to. */
static long part_lock(const struct quire_region *region, vaddr_t start, uint64_t length,
                      uint64_t now)
{
    enum quire_status status =
        quire_name(current->mm->space, start, length, current->mm->lock_name);

    if (status == QUIRE_OK && now)
        status = region->prot == QUIRE_NONE ? QUIRE_PROTECTED : mm_populate(start, length);
    if (status == QUIRE_OK && now)
        status = quire_lock(current->mm->space, start, length);
    return mm_lock_error(status);
}

static long part_unlock(const struct quire_region *region, vaddr_t start, uint64_t length,
                        uint64_t what)
{
    enum quire_status status = QUIRE_OK;

    (void)what;
    if (is_locked(region))
        status = quire_name(current->mm->space, start, length, 0);
    if (status == QUIRE_OK && region->flags & QUIRE_REGION_LOCKED)
        status = quire_unlock(current->mm->space, start, length);
    return mm_lock_error(status);
}

static long range_lock(uint64_t address, uint64_t bytes, part_action action, uint64_t now)
{
    uint64_t low = address & -(uint64_t)PAGE_SIZE;
    uint64_t length = pages_up(bytes + (address - low));

    if (bytes && length == 0)
        return -EINVAL;
    if (!range_ok(low, length))
        return -ENOMEM;
    return parts_do(low, low + length, action, now);
}

long sys_mlock(const uint64_t *a) { return range_lock(a[0], a[1], part_lock, true); }

long sys_mlock2(const uint64_t *a)
{
    if (a[2] & ~(uint64_t)MLOCK_ONFAULT)
        return -EINVAL;
    return range_lock(a[0], a[1], part_lock, !(a[2] & MLOCK_ONFAULT));
}

long sys_munlock(const uint64_t *a) { return range_lock(a[0], a[1], part_unlock, 0); }

/* A part of everything: what cannot be had is no error. */
static long part_lock_any(const struct quire_region *region, vaddr_t start, uint64_t length,
                          uint64_t now)
{
    (void)part_lock(region, start, length, now);
    return 0;
}

long sys_mlockall(const uint64_t *a)
{
    bool now = !(a[0] & MCL_ONFAULT);

    if (a[0] == 0 || a[0] & ~(uint64_t)MCL_KNOWN || a[0] == MCL_ONFAULT)
        return -EINVAL;
    current->mm->lock_next = !(a[0] & MCL_FUTURE) ? MM_LOCK_NOT
                             : now                ? MM_LOCK_NOW
                                                  : MM_LOCK_ON_FAULT;
    if (a[0] & MCL_CURRENT)
        (void)parts_do(USER_LOW, USER_HIGH, part_lock_any, now);
    return 0;
}

long sys_munlockall(const uint64_t *a)
{
    (void)a;
    current->mm->lock_next = MM_LOCK_NOT;
    (void)parts_do(USER_LOW, USER_HIGH, part_unlock, 0);
    return 0;
}

/* ---- what is there --------------------------------------------------------------------------- */

static long part_sync(const struct quire_region *region, vaddr_t start, uint64_t length,
                      uint64_t flags)
{
    (void)start;
    (void)length;
    return flags & MS_INVALIDATE && is_locked(region) ? -EBUSY : 0;
}

long sys_msync(const uint64_t *a)
{
    uint64_t length = pages_up(a[1]);

    if (a[0] % PAGE_SIZE || a[2] & ~(uint64_t)(MS_ASYNC | MS_INVALIDATE | MS_SYNC) ||
        (a[2] & MS_ASYNC && a[2] & MS_SYNC))
        return -EINVAL;
    if (!range_ok(a[0], length))
        return -ENOMEM;
    return parts_do(a[0], a[0] + length, part_sync, a[2]);
}

/* Is it in memory: here, or for a view in its section? */
static bool page_resident(const struct quire_region *region, vaddr_t address)
{
    struct quire_page page;

    quire_page(current->mm->space, address, &page);
    if (page.kind != QUIRE_PAGE_EMPTY || !region->section)
        return page.kind != QUIRE_PAGE_EMPTY && page.kind != QUIRE_PAGE_GUARD && page.resident;
    return quire_section_resident(region->section, section_offset(region, address));
}

/* A byte for each page of the part, to `to`, which is for address `first`. */
struct core_map {
    uintptr_t to;
    vaddr_t first;
};

static long part_resident(const struct quire_region *region, vaddr_t start, uint64_t length,
                          uint64_t what)
{
    const struct core_map *map = (const struct core_map *)(uintptr_t)what;
    uint8_t bytes[64];

    for (vaddr_t at = start; at < start + length;) {
        uintptr_t to = map->to + (at - map->first) / PAGE_SIZE;
        size_t n = 0;

        for (; n < sizeof bytes && at < start + length; at += PAGE_SIZE)
            bytes[n++] = page_resident(region, at);
        if (copy_out(to, bytes, n))
            return -EFAULT;
    }
    return 0;
}

long sys_mincore(const uint64_t *a)
{
    uint64_t length = pages_up(a[1]);
    struct core_map map = {a[2], a[0]};

    if (a[0] % PAGE_SIZE)
        return -EINVAL;
    if ((a[1] && length == 0) || !range_ok(a[0], length))
        return -ENOMEM;
    if (!range_ok(a[2], length / PAGE_SIZE))
        return -EFAULT;
    return parts_do(a[0], a[0] + length, part_resident, (uintptr_t)&map);
}
