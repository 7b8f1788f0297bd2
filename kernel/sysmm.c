/* SPDX-License-Identifier: MIT */
/*
 * Linux's memory calls in quire's terms.
 *
 * Lengths are rounded up to pages here and statuses become error numbers; all else is quire's. Only
 * private anonymous memory exists so far: shared and file mappings are refused with ENODEV, which
 * programs know from file systems that cannot be mapped.
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
    MAP_FIXED_NOREPLACE = 0x100000,
    MADV_WILLNEED = 3,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
};

static long mm_error(enum quire_status status)
{
    switch (status) {
    case QUIRE_OK: return 0;
    case QUIRE_OVERLAPS: return -EEXIST;
    case QUIRE_NOT_MAPPED:
    case QUIRE_OUT_OF_RANGE:
    case QUIRE_NO_ADDRESSES:
    case QUIRE_NO_MEMORY:
    case QUIRE_TOO_MANY_SPACES:
    case QUIRE_TOO_MANY_PINS:
    case QUIRE_NO_COMMIT:
    case QUIRE_COPY_LIMIT:
    case QUIRE_NOT_COMMITTED:
    case QUIRE_GUARDED:
    case QUIRE_PROTECTED: return -ENOMEM;
    case QUIRE_WOULD_WAIT: return -EAGAIN;
    case QUIRE_MISALIGNED:
    case QUIRE_ZERO_LENGTH:
    case QUIRE_WRAPS:
    case QUIRE_BAD_FLAGS:
    case QUIRE_BAD_CONFIG:
    case QUIRE_BAD_PIN:
    case QUIRE_STATUS_COUNT:
    default: return -EINVAL;
    }
}

/* Round up to pages; 0 if that wraps. */
static uint64_t pages_up(uint64_t length)
{
    return (length + PAGE_SIZE - 1) & -(uint64_t)PAGE_SIZE;
}

static uint32_t prot_of(uint64_t prot)
{
    return (prot & PROT_READ ? (uint32_t)QUIRE_READ : 0) |
           (prot & PROT_WRITE ? (uint32_t)QUIRE_WRITE : 0) |
           (prot & PROT_EXEC ? (uint32_t)QUIRE_EXEC : 0);
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
    }
    return (long)mm->brk_end;
}

long sys_mmap(const uint64_t *a)
{
    vaddr_t address = a[0];
    uint64_t length = pages_up(a[1]), kind = a[3] & MAP_TYPE;
    uint32_t flags = 0;
    enum quire_status status;

    if (a[1] == 0 || a[5] % PAGE_SIZE || (kind != MAP_PRIVATE && kind != MAP_SHARED && kind != 3))
        return -EINVAL;
    if (length == 0)
        return -ENOMEM;
    if (!(a[3] & MAP_ANONYMOUS) && !descriptor_peek(current, (int)a[4]))
        return -EBADF;
    if (kind != MAP_PRIVATE || !(a[3] & MAP_ANONYMOUS))
        return -ENODEV;
    if (a[3] & MAP_FIXED_NOREPLACE)
        flags = QUIRE_MAP_FIXED;
    else if (a[3] & MAP_FIXED)
        flags = QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE;
    if (flags && address % PAGE_SIZE)
        return -EINVAL;
    if (flags && address < USER_LOW)
        return -EPERM;
    if (flags && (address > USER_HIGH || length > USER_HIGH - address))
        return -ENOMEM;
    if (!flags) {
        address &= -(uint64_t)PAGE_SIZE;
        if (address < USER_LOW || address > USER_HIGH || length > USER_HIGH - address)
            address = 0;
    }
    current->mm->pages_counted = false;
    status = quire_map(current->mm->space, &address, length, prot_of(a[2]), flags);
    return status == QUIRE_OK ? (long)address : mm_error(status);
}

static bool range_ok(uint64_t address, uint64_t length)
{
    return address <= USER_HIGH && length <= USER_HIGH - address;
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
    return mm_error(quire_protect(current->mm->space, a[0], length, prot_of(a[2])));
}

/* Every page of the range reads as zeros again: each region's part is mapped anew in its place. */
static long pages_forget(uint64_t low, uint64_t high)
{
    struct quire_space *space = current->mm->space;
    struct quire_region region;
    bool hole = false;

    while (low < high) {
        vaddr_t start, end;
        enum quire_status status = quire_query(space, low, &region);

        if (status != QUIRE_OK || region.start >= high)
            return -ENOMEM;
        start = region.start > low ? region.start : low;
        hole = hole || start > low;
        end = region.end < high ? region.end : high;
        status =
            quire_map(space, &start, end - start, region.prot, QUIRE_MAP_FIXED | QUIRE_MAP_REPLACE);
        if (status != QUIRE_OK)
            return mm_error(status);
        low = end;
    }
    return hole ? -ENOMEM : 0;
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
    switch (a[2]) {
    case 0: /* NORMAL, RANDOM, SEQUENTIAL, WILLNEED: only advice */
    case 1:
    case 2:
    case MADV_WILLNEED:
    case MADV_FREE:
    case 14: /* HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP */
    case 15:
    case 16:
    case 17: return 0;
    case MADV_DONTNEED: return pages_forget(a[0], a[0] + length);
    default: return -EINVAL;
    }
}

/* A program that gets ENOMEM here allocates, copies and frees. */
long sys_mremap(const uint64_t *a)
{
    if (a[0] % PAGE_SIZE || a[2] == 0)
        return -EINVAL;
    return -ENOMEM;
}

/* Private memory has nothing to write back. */
long sys_msync(const uint64_t *a) { return a[0] % PAGE_SIZE ? -EINVAL : 0; }
