/* SPDX-License-Identifier: MIT */
/*
 * Open files and the tables that number them.
 *
 * A descriptor is a place in a process's table; an open file is what it leads to, with the offset
 * and the flags that dup and fork share.  Close-on-exec belongs to the descriptor, so it is a bit
 * of the table.  A table has OPEN_MAX places, all in one record: nothing in it grows, so dup and
 * close need no memory.
 */
#include "vfs.h"

struct files {
    struct file *open[OPEN_MAX];
    uint8_t close_on_exec[OPEN_MAX / 8];
};

_Static_assert(sizeof(struct files) <= KMALLOC_MAX, "a table fits one record");

struct file *file_open(struct inode *inode, unsigned flags, int *error)
{
    static const struct file_ops no_ops = {.seekable = false};
    struct file *file = kzalloc(sizeof(*file));

    if (file == NULL) {
        *error = -ENFILE;
        return NULL;
    }
    file->refs = 1;
    file->flags = flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_PATH);
    file->inode = inode_get(inode);
    file->ops = &no_ops;
    *error = 0;
    if ((flags & O_PATH) == 0) {
        *error = inode->ops->open == NULL ? -ENXIO : inode->ops->open(inode, file);
    }
    if (*error != 0) {
        inode_put(inode);
        kfree(file);
        return NULL;
    }
    return file;
}

struct file *file_get(struct file *file)
{
    kassert(file->refs > 0);
    file->refs++;
    return file;
}

void file_put(struct file *file)
{
    if (file == NULL) {
        return;
    }
    kassert(file->refs > 0);
    if (--file->refs == 0) {
        locks_release(file->inode, file);
        if (file->ops->release != NULL) {
            file->ops->release(file);
        }
        inode_put(file->inode);
        kfree(file);
    }
}

unsigned file_poll(struct file *file)
{
    return file->ops->poll == NULL ? POLLIN | POLLOUT : file->ops->poll(file);
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct files *files_create(void)
{
    struct files *files = kzalloc(sizeof(*files));
    int e = 0;

    if (files == NULL) {
        return NULL;
    }
    struct inode *console = inode_lookup("/dev/console", &e);
    struct file *file = console == NULL ? NULL : file_open(console, O_RDWR, &e);
    inode_put(console);
    if (file == NULL) {
        kfree(files);
        return NULL;
    }
    for (int fd = 0; fd < 3; fd++) {
        files->open[fd] = file_get(file);
    }
    file_put(file);
    return files;
}

struct files *files_fork(struct files *files)
{
    struct files *copy = kmalloc(sizeof(*copy));

    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, files, sizeof(*copy));
    for (int fd = 0; fd < OPEN_MAX; fd++) {
        if (copy->open[fd] != NULL) {
            file_get(copy->open[fd]);
        }
    }
    return copy;
}

static bool bit_get(const struct files *files, int fd)
{
    return (files->close_on_exec[fd / 8] >> (fd % 8) & 1) != 0;
}

static void bit_set(struct files *files, int fd, bool value)
{
    uint8_t bit = (uint8_t)(1u << (fd % 8));

    if (value) {
        files->close_on_exec[fd / 8] |= bit;
    } else {
        files->close_on_exec[fd / 8] &= (uint8_t)~bit;
    }
}

/* The place is empty before the file is let go, which can wake others. */
static void slot_clear(struct files *files, int fd)
{
    struct file *file = files->open[fd];

    files->open[fd] = NULL;
    bit_set(files, fd, false);
    if (file != NULL) {
        /* Whichever descriptor is closed: the process's locks on the file end. */
        locks_release(file->inode, files);
    }
    file_put(file);
}

void files_exec(struct files *files)
{
    for (int fd = 0; fd < OPEN_MAX; fd++) {
        if (bit_get(files, fd)) {
            slot_clear(files, fd);
        }
    }
}

void files_destroy(struct files *files)
{
    for (int fd = 0; fd < OPEN_MAX; fd++) {
        slot_clear(files, fd);
    }
    kfree(files);
}

struct file *descriptor_peek(const struct proc *p, int fd)
{
    return p->files == NULL || fd < 0 || fd >= OPEN_MAX ? NULL : p->files->open[fd];
}

struct file *descriptor_get(int fd)
{
    struct file *file = descriptor_peek(current, fd);

    return file == NULL ? NULL : file_get(file);
}

int descriptor_install(struct file *file, bool close_on_exec, int low)
{
    struct files *files = current->files;

    for (int fd = low; (uint64_t)fd < current->limits[RLIMIT_NOFILE][0] && fd < OPEN_MAX; fd++) {
        if (files->open[fd] == NULL) {
            files->open[fd] = file;
            bit_set(files, fd, close_on_exec);
            return fd;
        }
    }
    file_put(file);
    return -EMFILE;
}

int descriptor_replace(int fd, struct file *file, bool close_on_exec)
{
    if (fd < 0 || fd >= OPEN_MAX) {
        file_put(file);
        return -EBADF;
    }
    slot_clear(current->files, fd);
    current->files->open[fd] = file;
    bit_set(current->files, fd, close_on_exec);
    return fd;
}

int descriptor_close(int fd)
{
    if (descriptor_peek(current, fd) == NULL) {
        return -EBADF;
    }
    slot_clear(current->files, fd);
    return 0;
}

bool descriptor_close_on_exec(int fd) { return bit_get(current->files, fd); }

void descriptor_set_close_on_exec(int fd, bool value) { bit_set(current->files, fd, value); }
