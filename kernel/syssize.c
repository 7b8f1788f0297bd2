/* SPDX-License-Identifier: MIT */
/*
 * The system calls about how much room a file has and when its bytes are wanted: fallocate,
 * truncation, and advice about reading.
 *
 * Room is never set aside: fallocate makes the file longer, as ftruncate does, and only refuses
 * what there is no memory for now.
 */
#include "vfs.h"

enum {
    FALLOC_KEEP_SIZE = 1,
    FALLOC_PUNCH_HOLE = 2,
    FALLOC_ZERO_RANGE = 16,
};

/* A regular file that the descriptor may write, with a reference; or null and *error. */
static struct file *file_to_size(uint64_t fd, int refused, int *error)
{
    struct file *file = descriptor_get((int)fd);

    *error = 0;
    if (file == NULL || (file->flags & O_PATH) != 0) {
        *error = -EBADF;
    } else if ((file->flags & O_ACCMODE) == O_RDONLY) {
        *error = refused;
    } else if (!inode_is(file->inode, S_IFREG)) {
        *error = inode_is(file->inode, S_IFIFO) ? -ESPIPE : -ENODEV;
    }
    if (*error != 0) {
        file_put(file);
        return NULL;
    }
    return file;
}

SYSCALL(ftruncate)
{
    int e = 0;

    if ((int64_t)a[1] < 0) {
        return -EINVAL;
    }
    struct file *file = file_to_size(a[0], -EINVAL, &e);
    if (file == NULL) {
        return e == -EBADF ? e : -EINVAL;
    }
    e = inode_resize(file->inode, a[1]);
    file_put(file);
    return e;
}

/* Zeros over a part of the file that exists. */
static int range_clear(struct inode *inode, uint64_t offset, uint64_t end)
{
    static const uint8_t zeros[PAGE_SIZE];
    uint64_t size = store_size(&inode->as.store);

    end = end < size ? end : size;
    while (offset < end) {
        struct buffer from = {(uintptr_t)zeros, false};
        size_t room = PAGE_SIZE - (size_t)(offset % PAGE_SIZE);
        size_t part = end - offset < room ? (size_t)(end - offset) : room;
        long n = store_write(&inode->as.store, &from, part, offset);
        if (n < 0) {
            return (int)n;
        }
        offset += (uint64_t)n;
    }
    return 0;
}

int file_punch(struct inode *inode, uint64_t offset, uint64_t end)
{
    struct quire_section *section;
    uint64_t low = (offset + PAGE_SIZE - 1) & -(uint64_t)PAGE_SIZE;
    uint64_t high = end & -(uint64_t)PAGE_SIZE;

    if ((inode->seals & SEAL_FUTURE_WRITE) != 0) {
        return -EPERM;
    }
    if (low >= high || inode->as.store.image != 0) {
        /* An archive's pages would come back. */
        return range_clear(inode, offset, end);
    }
    int e = store_section(&inode->as.store, &section);
    e = e != 0 ? e : range_clear(inode, offset, low);
    e = e != 0 ? e : range_clear(inode, high, end);
    return e != 0 ? e : (int)file_error(quire_section_discard(section, low, high - low));
}

static int allocate(struct inode *inode, uint64_t mode, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    int e = 0;

    if (inode->device != DEVICE_TMPFS) {
        return -EOPNOTSUPP;
    }
    if (end > STORE_MAX) {
        return -EFBIG;
    }
    if ((mode & FALLOC_PUNCH_HOLE) != 0) {
        return file_punch(inode, offset, end);
    }
    if (length / PAGE_SIZE > quire_free_frames(quire)) {
        return -ENOSPC;
    }
    if ((mode & FALLOC_ZERO_RANGE) != 0) {
        e = range_clear(inode, offset, end);
    }
    if (e == 0 && (mode & FALLOC_KEEP_SIZE) == 0 && end > inode_size(inode)) {
        e = inode_resize(inode, end);
    }
    return e;
}

SYSCALL(fallocate)
{
    uint64_t mode = (uint32_t)a[1];
    int e = 0;

    if ((int64_t)a[2] < 0 || (int64_t)a[3] <= 0) {
        return -EINVAL;
    }
    if ((mode & ~(uint64_t)(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) != 0 ||
        ((mode & FALLOC_PUNCH_HOLE) != 0 && mode != (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE))) {
        return -EOPNOTSUPP;
    }
    struct file *file = file_to_size(a[0], -EBADF, &e);
    if (file == NULL) {
        return e;
    }
    e = allocate(file->inode, mode, a[2], a[3]);
    file_put(file);
    return e;
}

void file_fetch(struct inode *inode, uint64_t offset, uint64_t length)
{
    struct quire_section *section;
    uint64_t size = inode_size(inode);

    if (offset < size && store_section(&inode->as.store, &section) == 0) {
        length = length == 0 || length > size - offset ? size - offset : length;
        quire_section_fetch(section, offset, length);
    }
}

/* What both calls need: a file with positions.  0 or -E. */
static long advice_check(const struct file *file)
{
    if (file == NULL || (file->flags & O_PATH) != 0) {
        return -EBADF;
    }
    return inode_is(file->inode, S_IFIFO) ? -ESPIPE : 0;
}

SYSCALL(fadvise64)
{
    enum { WILLNEED = 3, LAST = 5 };
    struct file *file = descriptor_peek(current, (int)a[0]);
    long e = advice_check(file);

    if (e == 0 && ((int64_t)a[2] < 0 || a[3] > LAST)) {
        e = -EINVAL;
    }
    if (e == 0 && a[3] == WILLNEED && inode_is(file->inode, S_IFREG) &&
        file->inode->device == DEVICE_TMPFS) {
        file_fetch(file->inode, a[1], a[2]);
    }
    return e;
}

SYSCALL(readahead)
{
    struct file *file = descriptor_peek(current, (int)a[0]);

    if (file == NULL || (file->flags & O_ACCMODE) == O_WRONLY) {
        return -EBADF;
    }
    if (!inode_is(file->inode, S_IFREG) || file->inode->device != DEVICE_TMPFS) {
        return -EINVAL;
    }
    file_fetch(file->inode, a[1], a[2]);
    return 0;
}
