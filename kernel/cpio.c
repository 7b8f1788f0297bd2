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
 * The archive is on a disk, and is read by way of a section of the whole disk: the pages in which
 * names lie come into memory, and go again behind the reader.  Files' bytes are not read here: a
 * file knows where on the disk they are, and a page of it is read when somebody wants that page.
 *
 * The archive is as little trusted as any input: each length is compared with what is left before
 * it is used, and a record that does not fit ends the unpacking with a line on the console.
 */
#include "blk.h"
#include "vfs.h"

enum { HEADER_SIZE = 110, FIELD_MODE = 1, FIELD_FILE_SIZE = 6, FIELD_NAME_SIZE = 11 };
enum { BEHIND = 1 << 20 }; /* bytes that are read before their pages go */

/* The archive while it is read. */
struct archive {
    struct quire_section *section;
    uint64_t size, at;  /* bytes; the next record */
    uint64_t forgotten; /* pages before this have gone */
    uint8_t header[HEADER_SIZE];
    char name[PATH_MAX];   /* of the record that was read last; ends with a 0 */
    char target[PATH_MAX]; /* of a link; without a 0 */
};

struct record {
    uint32_t mode;
    uint64_t data; /* where it lies */
    uint64_t size;
};

static bool archive_read(const struct archive *a, uint64_t at, void *to, size_t n)
{
    return n <= a->size && at <= a->size - n &&
           quire_section_read(a->section, at, to, n, 0, NULL) == QUIRE_OK;
}

/* Field i of the header; UINT32_MAX if it is no number. */
static uint32_t field_get(const struct archive *a, unsigned i)
{
    uint32_t value = 0;

    for (unsigned k = 0; k < 8; k++) {
        uint8_t c = a->header[6 + i * 8 + k];
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

static uint64_t pad4(uint64_t n) { return (n + 3) & ~UINT64_C(3); }

/* Read the record at a->at, but for its data, and go behind it; false if there is none that fits.
 */
static bool record_next(struct archive *a, struct record *out)
{
    uint64_t left = a->size - a->at;

    if (!archive_read(a, a->at, a->header, HEADER_SIZE) || memcmp(a->header, "070701", 6) != 0) {
        return false;
    }
    size_t name_size = field_get(a, FIELD_NAME_SIZE);
    uint64_t start = pad4(HEADER_SIZE + name_size);
    out->mode = field_get(a, FIELD_MODE);
    out->size = field_get(a, FIELD_FILE_SIZE);
    out->data = a->at + start;
    if (name_size == 0 || name_size > PATH_MAX || start > left || out->size > left - start) {
        return false;
    }
    if (!archive_read(a, a->at + HEADER_SIZE, a->name, name_size) ||
        a->name[name_size - 1] != '\0') {
        return false;
    }
    uint64_t next = out->data + pad4(out->size);
    a->at = next < a->size ? next : a->size;
    return true;
}

/* The inode that the record describes, with a reference; or null and *error. */
static struct inode *record_inode(struct archive *a, const struct record *record, int *error)
{
    uint32_t mode = record->mode & (S_IFMT | 07777);

    *error = -EINVAL;
    if ((mode & S_IFMT) == S_IFLNK) {
        bool fits = record->size < PATH_MAX;
        fits = fits && archive_read(a, record->data, a->target, (size_t)record->size);
        return fits ? tmpfs_create_link(a->target, (size_t)record->size, error) : NULL;
    }
    if ((mode & S_IFMT) != S_IFDIR && (mode & S_IFMT) != S_IFREG) {
        return NULL;
    }
    struct inode *inode = tmpfs_create(mode, error);
    if (inode != NULL && inode_is(inode, S_IFREG)) {
        store_begin(&inode->as.store, inode, record->data, record->size);
    }
    return inode;
}

static int record_unpack(struct archive *a, struct inode *root, const struct record *record,
                         struct walk *walk)
{
    /* A directory may be there as a link to another: /bin is /usr/bin. */
    unsigned flags = (record->mode & S_IFMT) == S_IFDIR ? WALK_FOLLOW : 0;
    int e = walk_path(root, a->name, flags, walk);

    if (e != 0) {
        return e;
    }
    if (walk->inode != NULL) {
        /* "." itself, or a directory that is there already. */
        e = inode_is(walk->inode, S_IFDIR) ? 0 : -EEXIST;
        walk->inode->mode = e == 0 ? S_IFDIR | (record->mode & 07777) : walk->inode->mode;
    } else {
        struct inode *inode = record_inode(a, record, &e);
        if (inode != NULL) {
            e = tmpfs_insert(walk->parent, walk->name, walk->length, inode);
            inode_put(inode);
        }
    }
    walk_end(walk);
    return e;
}

/* Behind a trailer may be zeros, and then another archive, at a multiple of four bytes. */
static void zeros_skip(struct archive *a)
{
    uint32_t word = 0;

    while (archive_read(a, a->at, &word, sizeof(word)) && word == 0) {
        a->at += sizeof(word);
    }
    if (word == 0) {
        a->at = a->size; /* less than a word is left, if that */
    }
}

/* What has been read is not wanted again. */
static void pages_forget(struct archive *a)
{
    if (a->at - a->forgotten >= BEHIND) {
        (void)quire_section_purge(a->section, a->forgotten, a->at - a->forgotten, false);
        a->forgotten = a->at & -(uint64_t)PAGE_SIZE;
    }
}

static void archive_unpack(struct archive *a, struct inode *root, struct walk *walk)
{
    struct record record;

    while (a->at < a->size && record_next(a, &record)) {
        pages_forget(a);
        if (strcmp(a->name, "TRAILER!!!") == 0) {
            zeros_skip(a);
            continue;
        }
        int e = record_unpack(a, root, &record, walk);
        if (e != 0) {
            kprintf("archive: %s: error %d\n", a->name, -e);
        }
    }
    if (a->at < a->size) {
        kprintf("archive: no valid record at byte %lu of %lu\n", a->at, a->size);
    }
}

void cpio_unpack(struct inode *root, struct blk *disk)
{
    static struct archive archive; /* too large for a stack */
    struct walk *walk = kmalloc(sizeof(*walk));

    archive.size = blk_size(disk);
    if (walk == NULL ||
        quire_section_create(quire, archive.size, &blk_pager, disk, &archive.section) != QUIRE_OK) {
        panic("no memory to unpack the archive");
    }
    archive_unpack(&archive, root, walk);
    quire_section_close(archive.section);
    kfree(walk);
}
