/* SPDX-License-Identifier: MIT */
/*
 * The root file system: files, directories, symbolic links and device nodes, all in memory.
 *
 * A directory is a list of entries, each with a *cookie*: a number from a counter of the directory
 * that only grows.  The list is in the order of the cookies, and a position in it is the cookie of
 * the last entry shown, so reading goes on at the right place whatever was removed or added
 * in between (rm -r removes while it reads).  Names are found by a hash table that all directories
 * share, and reading goes on from the entry it showed last if that is still there.
 *
 * Each entry holds a reference to its inode, and so does each open file: an unlinked file lives on
 * while it is open.  A directory's pointer to its parent is not a reference; it is valid while
 * the directory has a name, since a directory that is not empty cannot be removed, and is cleared
 * when it loses the name.
 */
#include "vfs.h"

struct entry {
    struct entry *next, *previous; /* in the directory */
    struct entry *next_hash;       /* in the bucket */
    const struct inode *dir;
    struct inode *inode;
    uint64_t cookie;
    uint32_t hash;
    uint32_t length;
    char name[];
};

static uint32_t name_hash(const char *name, size_t length)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < length; i++) {
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    }
    return h;
}

enum { BUCKETS = 8192 };
static struct entry *buckets[BUCKETS];

/* Where the names with this hash in this directory are listed. */
static struct entry **bucket_of(const struct inode *dir, uint32_t hash)
{
    return &buckets[(hash ^ (uint32_t)dir->ino * 2654435761u) % BUCKETS];
}

static struct entry *entry_find(const struct inode *dir, const char *name, size_t length)
{
    uint32_t hash = name_hash(name, length);

    for (struct entry *e = *bucket_of(dir, hash); e != NULL; e = e->next_hash) {
        if (e->dir == dir && e->hash == hash && e->length == length &&
            memcmp(e->name, name, length) == 0) {
            return e;
        }
    }
    return NULL;
}

/* ---- operations of each kind ----------------------------------------------------------------- */

static struct inode *directory_lookup(struct inode *dir, const char *name, size_t length,
                                      int *error)
{
    struct entry *e = entry_find(dir, name, length);

    if (e == NULL) {
        *error = -ENOENT;
        return NULL;
    }
    return inode_get(e->inode);
}

static struct inode *directory_parent(struct inode *dir, int *error)
{
    if (dir->as.directory.parent == NULL) {
        *error = -ENOENT;
        return NULL;
    }
    return inode_get(dir->as.directory.parent);
}

static bool directory_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    struct entry *shown = dir->as.directory.shown;
    bool goes_on = shown != NULL && shown->cookie == after;

    for (struct entry *e = goes_on ? shown->next : dir->as.directory.first; e != NULL;
         e = e->next) {
        if (e->cookie > after) {
            dir->as.directory.shown = e;
            out->cookie = e->cookie;
            out->ino = e->inode->ino;
            out->mode = e->inode->mode;
            memcpy(out->name, e->name, e->length);
            out->name[e->length] = '\0';
            return true;
        }
    }
    return false;
}

static long directory_file_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    (void)file;
    (void)to;
    (void)n;
    (void)offset;
    return -EISDIR;
}

static const struct file_ops directory_file_ops = {
    .seekable = true,
    .read = directory_file_read,
    .write = directory_file_read,
};

static int directory_open(struct inode *dir, struct file *file)
{
    (void)dir;
    file->ops = &directory_file_ops;
    return 0;
}

static bool directory_destroy(struct inode *dir)
{
    kassert(dir->as.directory.first == NULL);
    return true;
}

static const struct inode_ops directory_ops = {
    .lookup = directory_lookup,
    .parent = directory_parent,
    .entry = directory_entry,
    .open = directory_open,
    .destroy = directory_destroy,
};

static long regular_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    return store_read(&file->inode->as.store, to, n, offset);
}

static long regular_write(struct file *file, struct buffer *from, size_t n, uint64_t offset)
{
    if ((file->inode->seals & SEAL_FUTURE_WRITE) != 0) {
        return -EPERM;
    }
    long done = store_write(&file->inode->as.store, from, n, offset);

    if (done > 0) {
        file->inode->mtime = wall_ns();
        file->inode->ctime = file->inode->mtime;
    }
    return done;
}

static const struct file_ops regular_file_ops = {
    .seekable = true,
    .read = regular_read,
    .write = regular_write,
};

static int regular_open(struct inode *inode, struct file *file)
{
    (void)inode;
    file->ops = &regular_file_ops;
    return 0;
}

static int regular_resize(struct inode *inode, uint64_t size)
{
    int e = store_resize(&inode->as.store, size);

    if (e == 0) {
        inode->mtime = wall_ns();
        inode->ctime = inode->mtime;
    }
    return e;
}

/* From now on its section holds the inode, until the last mapping has gone. */
static bool regular_destroy(struct inode *inode)
{
    if (inode->as.store.section == NULL) {
        return true;
    }
    inode->refs = 1;
    store_end(&inode->as.store);
    return false;
}

static const struct inode_ops regular_ops = {
    .open = regular_open,
    .resize = regular_resize,
    .destroy = regular_destroy,
};

static long link_text(struct inode *link, char *to, size_t size)
{
    size_t n = strlen(link->as.target);

    if (n > size) {
        n = size;
    }
    memcpy(to, link->as.target, n);
    return (long)n;
}

static bool link_destroy(struct inode *link)
{
    kfree(link->as.target);
    return true;
}

static const struct inode_ops link_ops = {
    .link_text = link_text,
    .destroy = link_destroy,
};

static const struct inode_ops fifo_ops = {
    .open = fifo_open,
};

static const struct inode_ops device_ops = {
    .open = device_open,
};

/* ---- making and removing --------------------------------------------------------------------- */

bool tmpfs_owns(const struct inode *dir) { return dir->ops == &directory_ops; }

struct inode *tmpfs_create(uint32_t mode, int *error)
{
    const struct inode_ops *ops = (mode & S_IFMT) == S_IFDIR   ? &directory_ops
                                  : (mode & S_IFMT) == S_IFCHR ? &device_ops
                                  : (mode & S_IFMT) == S_IFIFO ? &fifo_ops
                                                               : &regular_ops;
    struct inode *inode = inode_create(ops, DEVICE_TMPFS, mode);

    if (inode == NULL) {
        *error = -ENOSPC;
        return NULL;
    }
    inode->links = 0;
    if (inode_is(inode, S_IFREG)) {
        store_begin(&inode->as.store, inode, 0, 0);
        inode->as.store.bounded = true;
        inode->seals = 1; /* F_SEAL_SEAL: only memfd_create makes files that can be sealed */
    }
    return inode;
}

struct inode *tmpfs_create_link(const char *target, size_t length, int *error)
{
    struct inode *inode = inode_create(&link_ops, DEVICE_TMPFS, S_IFLNK | 0777);

    *error = -ENOSPC;
    if (inode == NULL) {
        return NULL;
    }
    inode->links = 0;
    inode->as.target = kmalloc(length + 1);
    if (inode->as.target == NULL) {
        inode_put(inode);
        return NULL;
    }
    memcpy(inode->as.target, target, length);
    inode->as.target[length] = '\0';
    return inode;
}

static struct entry *entry_create(const char *name, size_t length)
{
    struct entry *e = kmalloc(sizeof(*e) + length);

    if (e != NULL) {
        e->next = NULL;
        e->hash = name_hash(name, length);
        e->length = (uint32_t)length;
        memcpy(e->name, name, length);
    }
    return e;
}

static void directory_changed(struct inode *dir)
{
    dir->mtime = wall_ns();
    dir->ctime = dir->mtime;
}

/* A name for `inode` begins; the entry has taken a reference to it. */
static void entry_append(struct inode *dir, struct entry *e, struct inode *inode)
{
    struct entry **bucket = bucket_of(dir, e->hash);

    e->inode = inode;
    e->dir = dir;
    e->next_hash = *bucket;
    *bucket = e;
    e->cookie = ++dir->as.directory.next_cookie;
    e->previous = dir->as.directory.last;
    if (dir->as.directory.last == NULL) {
        dir->as.directory.first = e;
    } else {
        dir->as.directory.last->next = e;
    }
    dir->as.directory.last = e;
    inode->links++;
    if (inode_is(inode, S_IFDIR)) {
        inode->links++;
        dir->links++;
        if (tmpfs_owns(inode)) {
            inode->as.directory.parent = dir;
        }
    } else {
        inode->named_in = dir;
        inode->linkable = false;
    }
    directory_changed(dir);
}

int tmpfs_insert(struct inode *dir, const char *name, size_t length, struct inode *inode)
{
    /* A removed directory can still be somebody's working directory, but gets no new names. */
    if (dir->as.directory.parent == NULL) {
        return -ENOENT;
    }
    struct entry *e = entry_create(name, length);
    if (e == NULL) {
        return -ENOSPC;
    }
    entry_append(dir, e, inode_get(inode));
    return 0;
}

/* Take the name off the list; the caller frees the entry and puts the inode. */
static struct entry *entry_unlink(struct inode *dir, const char *name, size_t length)
{
    struct entry *found = entry_find(dir, name, length);
    struct entry **link;

    kassert(found != NULL);
    for (link = bucket_of(dir, found->hash); *link != found; link = &(*link)->next_hash) {
        continue;
    }
    *link = found->next_hash;
    *(found->previous == NULL ? &dir->as.directory.first : &found->previous->next) = found->next;
    *(found->next == NULL ? &dir->as.directory.last : &found->next->previous) = found->previous;
    if (dir->as.directory.shown == found) {
        dir->as.directory.shown = found->previous;
    }
    found->next = NULL;
    found->inode->links--;
    found->inode->ctime = wall_ns();
    if (inode_is(found->inode, S_IFDIR)) {
        found->inode->links--;
        dir->links--;
        if (tmpfs_owns(found->inode)) {
            found->inode->as.directory.parent = NULL;
        }
    } else if (found->inode->named_in == dir &&
               (found->inode->links == 0 || tmpfs_name_of(dir, found->inode) == NULL)) {
        found->inode->named_in = NULL;
    }
    directory_changed(dir);
    return found;
}

void tmpfs_remove(struct inode *dir, const char *name, size_t length)
{
    struct entry *e = entry_unlink(dir, name, length);

    inode_put(e->inode);
    kfree(e);
}

bool tmpfs_is_empty(const struct inode *dir) { return dir->as.directory.first == NULL; }

int tmpfs_rename(struct inode *from_dir, const char *from, size_t from_length, struct inode *to_dir,
                 const char *to, size_t to_length)
{
    /* Everything that can fail comes before the first change. */
    if (to_dir->as.directory.parent == NULL) {
        return -ENOENT;
    }
    struct entry *e = entry_create(to, to_length);
    if (e == NULL) {
        return -ENOSPC;
    }
    struct entry *old = entry_unlink(from_dir, from, from_length);
    if (entry_find(to_dir, to, to_length) != NULL) {
        tmpfs_remove(to_dir, to, to_length);
    }
    entry_append(to_dir, e, old->inode);
    kfree(old);
    return 0;
}

const char *tmpfs_name_of(const struct inode *dir, const struct inode *inode)
{
    static char name[FILE_NAME_MAX + 1];

    for (struct entry *e = dir->as.directory.first; e != NULL; e = e->next) {
        if (e->inode == inode) {
            memcpy(name, e->name, e->length);
            name[e->length] = '\0';
            return name;
        }
    }
    return NULL;
}
