/* SPDX-License-Identifier: MIT */
/*
 * Unpacks the initial root file system from a cpio archive of the "newc" kind.
 *
 * An archive is a row of records: a header of 110 characters ("070701", then thirteen numbers of
 * eight hexadecimal digits), the name with its 0, padding to four bytes, the data, padding again. A
 * record called TRAILER!!! is the last; behind it, after any number of zeros, another archive may
 * follow and add to what is there.  Directories, regular files and symbolic links are used; hard
 * links are not (the build writes none), and device nodes are made by vfs.c.
 *
 * Files' bytes are not copied here: the archive stays where it is, and a page of a file comes out
 * of it when somebody wants that page.
 *
 * The archive is as little trusted as any input: each length is compared with what is left before
 * it is used, and a record that does not fit ends the unpacking with a line on the console.
 */
#include "vfs.h"

enum { HEADER_SIZE = 110, FIELD_MODE = 1, FIELD_FILE_SIZE = 6, FIELD_NAME_SIZE = 11 };

struct record {
    uint32_t mode;
    const char *name; /* ends with a 0 */
    const uint8_t *data;
    size_t size;
};

/* Field i of a header; UINT32_MAX if it is no number. */
static uint32_t field_get(const uint8_t *header, unsigned i)
{
    uint32_t value = 0;

    for (unsigned k = 0; k < 8; k++) {
        uint8_t c = header[6 + i * 8 + k];
        uint32_t digit = c >= '0' && c <= '9'   ? c - '0'
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                : 16;
        if (digit == 16) {
            return UINT32_MAX;
        }
        value = value << 4 | digit;
    }
    return value;
}

static size_t pad4(size_t n) { return (n + 3) & ~(size_t)3; }

/* Parse the record at *at and move *at behind it; false if there is none that fits. */
static bool record_next(const uint8_t *archive, size_t size, size_t *at, struct record *out)
{
    if (*at > size || size - *at < HEADER_SIZE) {
        return false;
    }
    const uint8_t *header = archive + *at;
    size_t left = size - *at;
    if (memcmp(header, "070701", 6) != 0) {
        return false;
    }
    size_t name_size = field_get(header, FIELD_NAME_SIZE);
    size_t data_size = field_get(header, FIELD_FILE_SIZE);
    if (name_size == 0 || name_size > PATH_MAX || pad4(HEADER_SIZE + name_size) > left) {
        return false;
    }
    left -= pad4(HEADER_SIZE + name_size);
    if (data_size > left || header[HEADER_SIZE + name_size - 1] != '\0') {
        return false;
    }
    out->mode = field_get(header, FIELD_MODE);
    out->name = (const char *)header + HEADER_SIZE;
    out->data = header + pad4(HEADER_SIZE + name_size);
    out->size = data_size;
    *at += pad4(HEADER_SIZE + name_size) + pad4(data_size);
    return true;
}

/* The inode that the record describes, with a reference; or null and *error. */
static struct inode *record_inode(const struct record *record, int *error)
{
    uint32_t mode = record->mode & (S_IFMT | 07777);

    if ((mode & S_IFMT) == S_IFLNK) {
        return tmpfs_create_link((const char *)record->data, record->size, error);
    }
    if ((mode & S_IFMT) != S_IFDIR && (mode & S_IFMT) != S_IFREG) {
        *error = -EINVAL;
        return NULL;
    }
    struct inode *inode = tmpfs_create(mode, error);
    if (inode != NULL && inode_is(inode, S_IFREG)) {
        store_begin(&inode->as.store, inode, record->data, record->size);
    }
    return inode;
}

static int record_unpack(struct inode *root, const struct record *record, struct walk *walk)
{
    /* A directory may be there as a link to another: /bin is /usr/bin. */
    unsigned flags = (record->mode & S_IFMT) == S_IFDIR ? WALK_FOLLOW : 0;
    int e = walk_path(root, record->name, flags, walk);

    if (e != 0) {
        return e;
    }
    if (walk->inode != NULL) {
        /* "." itself, or a directory that is there already. */
        e = inode_is(walk->inode, S_IFDIR) ? 0 : -EEXIST;
        walk->inode->mode = e == 0 ? S_IFDIR | (record->mode & 07777) : walk->inode->mode;
    } else {
        struct inode *inode = record_inode(record, &e);
        if (inode != NULL) {
            e = tmpfs_insert(walk->parent, walk->name, walk->length, inode);
            inode_put(inode);
        }
    }
    walk_end(walk);
    return e;
}

/* Behind a trailer may be zeros, and then another archive. */
static void zeros_skip(const uint8_t *archive, size_t size, size_t *at)
{
    while (*at < size && archive[*at] == 0) {
        ++*at;
    }
}

void cpio_unpack(struct inode *root, const uint8_t *archive, size_t size)
{
    struct walk *walk = kmalloc(sizeof(*walk));
    struct record record;
    size_t at = 0;

    if (walk == NULL) {
        panic("no memory to unpack the initrd");
    }
    while (at < size && record_next(archive, size, &at, &record)) {
        if (strcmp(record.name, "TRAILER!!!") == 0) {
            zeros_skip(archive, size, &at);
            continue;
        }
        int e = record_unpack(root, &record, walk);
        if (e != 0) {
            kprintf("initrd: %s: error %d\n", record.name, -e);
        }
    }
    if (at < size) {
        kprintf("initrd: no valid record at byte %zu of %zu\n", at, size);
    }
    kfree(walk);
}
