/* SPDX-License-Identifier: MIT */
/*
 * memfd_create and seals: files that never have a name, and promises about files that hold for
 * good.  The promises are the section's (quire_section_seal), but for SEAL_FUTURE_WRITE, which mmap
 * and write look up; what is kept here is which of them were made, as programs count them, and
 * whether more may be.
 */
#include "vfs.h"

enum {
    MFD_CLOEXEC = 1,
    MFD_ALLOW_SEALING = 2,
    MFD_NAME_MAX = 249,
    SEAL_KNOWN = SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_FUTURE_WRITE,
};

/* "memfd:" and the program's name for it, in kmalloc memory; or null and *error. */
static char *label_read(uintptr_t user, int *error)
{
    static const char prefix[] = "memfd:";
    char *label = kmalloc(sizeof(prefix) + MFD_NAME_MAX);

    *error = -ENOMEM;
    if (label == NULL) {
        return NULL;
    }
    memcpy(label, prefix, sizeof(prefix));
    long n = copy_in_string(label + sizeof(prefix) - 1, user, MFD_NAME_MAX + 1);
    if (n < 0) {
        *error = n == -ENAMETOOLONG ? -EINVAL : (int)n;
        kfree(label);
        return NULL;
    }
    return label;
}

SYSCALL(memfd_create)
{
    int e = 0;

    if ((a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING)) != 0) {
        return -EINVAL;
    }
    char *label = label_read(a[0], &e);
    struct inode *inode = label == NULL ? NULL : tmpfs_create(S_IFREG | 0777, &e);
    if (inode == NULL) {
        kfree(label);
        return e;
    }
    inode->label = label;
    inode->seals = (a[1] & MFD_ALLOW_SEALING) != 0 ? 0 : SEAL_SEAL;
    struct file *file = file_open(inode, O_RDWR, &e);
    inode_put(inode);
    return file == NULL ? e : descriptor_install(file, (a[1] & MFD_CLOEXEC) != 0, 0);
}

static int seals_add(struct file *file, uint64_t seals)
{
    struct quire_section *section;
    uint32_t wanted = ((seals & SEAL_SHRINK) != 0 ? (uint32_t)QUIRE_SEAL_SHRINK : 0) |
                      ((seals & SEAL_GROW) != 0 ? (uint32_t)QUIRE_SEAL_GROW : 0) |
                      ((seals & SEAL_WRITE) != 0 ? (uint32_t)QUIRE_SEAL_WRITE : 0);

    if ((seals & ~(uint64_t)SEAL_KNOWN) != 0) {
        return -EINVAL;
    }
    if ((file->flags & O_ACCMODE) == O_RDONLY || (file->inode->seals & SEAL_SEAL) != 0) {
        return -EPERM;
    }
    int e = store_section(&file->inode->as.store, &section);
    if (e == 0 && wanted != 0) {
        e = (int)file_error(quire_section_seal(section, wanted));
    }
    if (e == 0) {
        file->inode->seals |= (uint32_t)seals;
    }
    return e;
}

long seals_fcntl(struct file *file, int command, uint64_t seals)
{
    if (!inode_is(file->inode, S_IFREG) || file->inode->device != DEVICE_TMPFS) {
        return -EINVAL;
    }
    return command == F_GET_SEALS ? (long)file->inode->seals : seals_add(file, seals);
}
