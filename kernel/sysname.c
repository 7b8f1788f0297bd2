/* SPDX-License-Identifier: MIT */
/*
 * The system calls that take names: opening, making, removing, renaming, linking, and asking and
 * changing what stat shows.
 *
 * Each begins with name_walk: the program's string is copied into the kernel once and then walked,
 * so what was checked is what is used.  There is one user, the superuser, as on a system that was
 * booted into a shell: permission bits are kept and shown, and only the execute bit is asked.
 */
#include "vfs.h"

enum {
    AT_FDCWD = -100,
    AT_SYMLINK_NOFOLLOW = 0x100,
    AT_REMOVEDIR = 0x200,
    AT_SYMLINK_FOLLOW = 0x400,
    AT_NO_AUTOMOUNT = 0x800,
    AT_EMPTY_PATH = 0x1000,
    LINK_COUNT_MAX = 65000,
};

/* Walk the program's path from directory descriptor `fd`.  As walk_path. */
static int name_walk(uint64_t fd, uintptr_t user, unsigned flags, struct walk *out)
{
    char *path = kmalloc(PATH_MAX);
    struct inode *start = current->cwd;
    int e = 0;

    if (path == NULL) {
        return -ENOMEM;
    }
    long n = copy_in_string(path, user, PATH_MAX);
    if (n < 0) {
        kfree(path);
        return (int)n;
    }
    if ((int)fd != AT_FDCWD && path[0] != '/') {
        struct file *file = descriptor_peek(current, (int)fd);
        if (file == NULL) {
            e = -EBADF;
        } else if (n > 0 && !inode_is(file->inode, S_IFDIR)) {
            e = -ENOTDIR;
        } else {
            start = file->inode;
        }
    }
    e = e != 0 ? e : walk_path(start, path, flags, out);
    kfree(path);
    return e;
}

/* The same for what must exist: the inode with a reference, or null and *error. */
static struct inode *name_find(uint64_t fd, uintptr_t user, uint64_t flags, int *error)
{
    struct walk walk;
    char first;

    if ((flags & AT_EMPTY_PATH) != 0 && copy_in(&first, user, 1) == 0 && first == '\0') {
        struct file *file = descriptor_peek(current, (int)fd);
        *error = file == NULL && (int)fd != AT_FDCWD ? -EBADF : 0;
        return *error != 0 ? NULL : inode_get(file == NULL ? current->cwd : file->inode);
    }
    *error = name_walk(fd, user, (flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : WALK_FOLLOW, &walk);
    if (*error != 0) {
        return NULL;
    }
    struct inode *inode = walk.inode == NULL ? NULL : inode_get(walk.inode);
    *error = inode == NULL ? -ENOENT : 0;
    walk_end(&walk);
    return inode;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Give the missing last name of `walk` to a new file, which becomes walk->inode. */
static int open_create(struct walk *walk, uint64_t mode)
{
    int e = 0;

    if (walk->slash) {
        return -EISDIR;
    }
    if (!tmpfs_owns(walk->parent)) {
        return -EACCES;
    }
    walk->inode = tmpfs_create(S_IFREG | ((uint32_t)mode & 07777 & ~current->umask), &e);
    if (walk->inode == NULL) {
        return e;
    }
    return tmpfs_insert(walk->parent, walk->name, walk->length, walk->inode);
}

/* May this inode, which was there before, be opened so? */
static int open_check(const struct inode *inode, unsigned flags)
{
    if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
        return -EEXIST;
    }
    if (inode_is(inode, S_IFLNK) && (flags & O_PATH) == 0) {
        return -ELOOP;
    }
    if ((flags & O_DIRECTORY) != 0 && !inode_is(inode, S_IFDIR)) {
        return -ENOTDIR;
    }
    if (inode_is(inode, S_IFDIR) && (flags & O_PATH) == 0 &&
        ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0)) {
        return -EISDIR;
    }
    return 0;
}

/* O_TMPFILE: a file without a name, in the directory that `walk` found. */
static struct inode *open_nameless(const struct walk *walk, unsigned flags, uint64_t mode,
                                   int *error)
{
    struct inode *inode = NULL;

    if (walk->inode == NULL || (flags & O_ACCMODE) == O_RDONLY || (flags & O_CREAT) != 0) {
        *error = walk->inode == NULL ? -ENOENT : -EINVAL;
    } else if (!inode_is(walk->inode, S_IFDIR)) {
        *error = -ENOTDIR;
    } else if (!tmpfs_owns(walk->inode)) {
        *error = -EOPNOTSUPP;
    } else {
        inode = tmpfs_create(S_IFREG | ((uint32_t)mode & 07777 & ~current->umask), error);
    }
    if (inode != NULL) {
        inode->linkable = (flags & O_EXCL) == 0;
    }
    return inode;
}

/* What `walk` found, or made now, opened; or null and *error. */
static struct file *open_walked(struct walk *walk, unsigned flags, uint64_t mode, int *error)
{
    if ((flags & O_TMPFILE) != 0) {
        struct inode *inode = open_nameless(walk, flags, mode, error);
        struct file *file = inode == NULL ? NULL : file_open(inode, flags, error);
        inode_put(inode);
        return file;
    }
    if (walk->inode != NULL) {
        *error = open_check(walk->inode, flags);
        if (*error == 0 && (flags & O_TRUNC) != 0 && inode_is(walk->inode, S_IFREG) &&
            walk->inode->ops->resize != NULL) {
            *error = inode_resize(walk->inode, 0);
        }
    } else {
        *error = (flags & O_CREAT) == 0 ? -ENOENT : open_create(walk, mode);
    }
    return *error == 0 ? file_open(walk->inode, flags, error) : NULL;
}

static long open_call(uint64_t fd, uintptr_t user, uint64_t flags64, uint64_t mode)
{
    unsigned flags = (unsigned)flags64;
    bool follow = (flags & O_NOFOLLOW) == 0 && ((flags & O_CREAT) == 0 || (flags & O_EXCL) == 0);
    struct walk walk;

    if ((flags & O_TMPFILE) != 0 && (flags & O_DIRECTORY) == 0) {
        return -EINVAL;
    }
    int e = name_walk(fd, user, follow ? WALK_FOLLOW : 0, &walk);
    if (e != 0) {
        return e;
    }
    struct file *file = open_walked(&walk, flags, mode, &e);
    walk_end(&walk);
    return file == NULL ? e : descriptor_install(file, (flags & O_CLOEXEC) != 0, 0);
}

SYSCALL(open) { return open_call((uint64_t)AT_FDCWD, a[0], a[1], a[2]); }

SYSCALL(openat) { return open_call(a[0], a[1], a[2], a[3]); }

SYSCALL(creat) { return open_call((uint64_t)AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1]); }

/* ---- stat ------------------------------------------------------------------------------------ */

/* Linux's struct stat for x86-64. */
struct stat {
    uint64_t device, ino, links;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, block_size, blocks;
    uint64_t atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    int64_t unused[3];
};

_Static_assert(sizeof(struct stat) == 144, "Linux's layout");

enum { NS = 1000000000 };

static long stat_out(struct inode *inode, uintptr_t user)
{
    struct stat s = {
        .device = inode->device,
        .ino = inode->ino,
        .links = inode->links,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .rdev = inode->rdev,
        .size = (int64_t)inode_size(inode),
        .block_size = PAGE_SIZE,
        .atime = inode->atime / NS,
        .atime_ns = inode->atime % NS,
        .mtime = inode->mtime / NS,
        .mtime_ns = inode->mtime % NS,
        .ctime = inode->ctime / NS,
        .ctime_ns = inode->ctime % NS,
    };

    if (inode_is(inode, S_IFREG) && inode->device == DEVICE_TMPFS) {
        s.blocks = (int64_t)(store_pages(&inode->as.store) * (PAGE_SIZE / 512));
    }
    return copy_out(user, &s, sizeof(s));
}

static long stat_call(uint64_t fd, uintptr_t name, uintptr_t user, uint64_t flags)
{
    int e = 0;

    if ((flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT)) != 0) {
        return -EINVAL;
    }
    struct inode *inode = name_find(fd, name, flags, &e);
    if (inode == NULL) {
        return e;
    }
    long result = stat_out(inode, user);
    inode_put(inode);
    return result;
}

SYSCALL(stat) { return stat_call((uint64_t)AT_FDCWD, a[0], a[1], 0); }

SYSCALL(lstat) { return stat_call((uint64_t)AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW); }

SYSCALL(fstat)
{
    struct file *file = descriptor_peek(current, (int)a[0]);

    return file == NULL ? -EBADF : stat_out(file->inode, a[1]);
}

SYSCALL(newfstatat) { return stat_call(a[0], a[1], a[2], a[3]); }

static long statfs_out(const struct inode *inode, uintptr_t user)
{
    enum { TMPFS_MAGIC = 0x01021994, PROC_MAGIC = 0x9fa0, PIPE_MAGIC = 0x50495045 };
    struct {
        uint64_t type, block_size, blocks, free, available, files, files_free;
        uint64_t id, name_length, fragment, flags, spare[4];
    } s;

    memset(&s, 0, sizeof(s));
    s.type = inode->device == DEVICE_TMPFS  ? TMPFS_MAGIC
             : inode->device == DEVICE_PROC ? PROC_MAGIC
                                            : PIPE_MAGIC;
    s.block_size = PAGE_SIZE;
    s.fragment = PAGE_SIZE;
    s.name_length = FILE_NAME_MAX;
    if (inode->device == DEVICE_TMPFS) {
        s.blocks = frames_total();
        s.free = quire_free_frames(quire);
        s.available = s.free;
    }
    return copy_out(user, &s, sizeof(s));
}

SYSCALL(statfs)
{
    int e = 0;
    struct inode *inode = name_find((uint64_t)AT_FDCWD, a[0], 0, &e);

    if (inode == NULL) {
        return e;
    }
    long result = statfs_out(inode, a[1]);
    inode_put(inode);
    return result;
}

SYSCALL(fstatfs)
{
    struct file *file = descriptor_peek(current, (int)a[0]);

    return file == NULL ? -EBADF : statfs_out(file->inode, a[1]);
}

static long access_call(uint64_t fd, uintptr_t name, uint64_t mode, uint64_t flags)
{
    enum { X_OK = 1, ALL_OK = 7 };
    int e = 0;

    if ((mode & ~(uint64_t)ALL_OK) != 0) {
        return -EINVAL;
    }
    struct inode *inode = name_find(fd, name, flags, &e);
    if (inode == NULL) {
        return e;
    }
    if ((mode & X_OK) != 0 && !inode_is(inode, S_IFDIR) && (inode->mode & 0111) == 0) {
        e = -EACCES;
    }
    inode_put(inode);
    return e;
}

SYSCALL(access) { return access_call((uint64_t)AT_FDCWD, a[0], (uint32_t)a[1], 0); }

SYSCALL(faccessat) { return access_call(a[0], a[1], (uint32_t)a[2], 0); }

SYSCALL(faccessat2)
{
    enum { AT_EACCESS = 0x200 };

    if ((a[3] & ~(uint64_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    return access_call(a[0], a[1], (uint32_t)a[2], a[3]);
}

/*
 * Extended attributes: no file here has any or can have any.
 */
SYSCALL(xattr_refused)
{
    (void)a;
    return -EOPNOTSUPP;
}

SYSCALL(listxattr)
{
    (void)a;
    return 0;
}

/* ---- names that come and go ------------------------------------------------------------------ */

/*
 * Walk to a name that is to be made.  0: it is free, its directory can have it, and `walk` must be
 * ended; or -E and there is nothing to end.
 */
static int name_walk_free(uint64_t fd, uintptr_t user, struct walk *walk)
{
    int e = name_walk(fd, user, 0, walk);

    if (e != 0) {
        return e;
    }
    e = walk->inode != NULL ? -EEXIST : !tmpfs_owns(walk->parent) ? -EPERM : 0;
    if (e != 0) {
        walk_end(walk);
    }
    return e;
}

/* Give the name to a new inode, whose reference this consumes (null: *error says why), and end the
 * walk. */
static long name_give(struct walk *walk, struct inode *inode, int error)
{
    int e = inode == NULL ? error : tmpfs_insert(walk->parent, walk->name, walk->length, inode);

    inode_put(inode);
    walk_end(walk);
    return e;
}

static long mkdir_call(uint64_t fd, uintptr_t user, uint64_t mode)
{
    struct walk walk;
    int e = name_walk_free(fd, user, &walk);

    if (e != 0) {
        return e;
    }
    uint32_t bits = (uint32_t)mode & 01777 & ~current->umask;
    struct inode *inode = tmpfs_create(S_IFDIR | bits, &e);
    return name_give(&walk, inode, e);
}

SYSCALL(mkdir) { return mkdir_call((uint64_t)AT_FDCWD, a[0], a[1]); }

SYSCALL(mkdirat) { return mkdir_call(a[0], a[1], a[2]); }

static long mknod_call(uint64_t fd, uintptr_t user, uint64_t mode, uint64_t device)
{
    uint32_t type = (uint32_t)mode & S_IFMT;
    struct walk walk;

    type = type == 0 ? S_IFREG : type;
    if (type != S_IFREG && type != S_IFIFO && type != S_IFCHR) {
        return -EPERM;
    }
    int e = name_walk_free(fd, user, &walk);
    if (e != 0) {
        return e;
    }
    struct inode *inode = tmpfs_create(type | ((uint32_t)mode & 07777 & ~current->umask), &e);
    if (inode != NULL && type == S_IFCHR) {
        inode->rdev = device;
    }
    return name_give(&walk, inode, e);
}

SYSCALL(mknod) { return mknod_call((uint64_t)AT_FDCWD, a[0], a[1], a[2]); }

SYSCALL(mknodat) { return mknod_call(a[0], a[1], a[2], a[3]); }

static long symlink_call(uintptr_t target, uint64_t fd, uintptr_t user)
{
    struct walk walk;
    char *text = kmalloc(PATH_MAX);
    int e = -ENOMEM;

    if (text == NULL) {
        return e;
    }
    long n = copy_in_string(text, target, PATH_MAX);
    e = n < 0 ? (int)n : n == 0 ? -ENOENT : name_walk_free(fd, user, &walk);
    if (e == 0 && walk.slash) {
        walk_end(&walk);
        e = -ENOENT;
    }
    if (e == 0) {
        struct inode *inode = tmpfs_create_link(text, (size_t)n, &e);
        e = (int)name_give(&walk, inode, e);
    }
    kfree(text);
    return e;
}

SYSCALL(symlink) { return symlink_call(a[0], (uint64_t)AT_FDCWD, a[1]); }

SYSCALL(symlinkat) { return symlink_call(a[0], a[1], a[2]); }

static long link_call(uint64_t old_fd, uintptr_t old, uint64_t fd, uintptr_t user, uint64_t flags)
{
    uint64_t find =
        (flags & AT_EMPTY_PATH) | ((flags & AT_SYMLINK_FOLLOW) != 0 ? 0 : AT_SYMLINK_NOFOLLOW);
    struct walk walk;
    int e = 0;

    if ((flags & ~(uint64_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    struct inode *inode = name_find(old_fd, old, find, &e);
    if (inode == NULL) {
        return e;
    }
    e = name_walk_free(fd, user, &walk);
    if (e != 0) {
        inode_put(inode);
        return e;
    }
    e = inode_is(inode, S_IFDIR)                                ? -EPERM
        : inode->device != DEVICE_TMPFS                         ? -EXDEV
        : inode->links >= LINK_COUNT_MAX                        ? -EMLINK
        : (inode->links == 0 && !inode->linkable) || walk.slash ? -ENOENT
                                                                : 0;
    if (e != 0) {
        inode_put(inode);
        inode = NULL;
    }
    return name_give(&walk, inode, e);
}

SYSCALL(link) { return link_call((uint64_t)AT_FDCWD, a[0], (uint64_t)AT_FDCWD, a[1], 0); }

SYSCALL(linkat) { return link_call(a[0], a[1], a[2], a[3], a[4]); }

/* May the name that `walk` found be removed, as a directory or as anything else? */
static int remove_check(const struct walk *walk, bool directory)
{
    const struct inode *inode = walk->inode;

    if (inode == NULL) {
        return -ENOENT;
    }
    if (!directory) {
        return inode_is(inode, S_IFDIR) ? -EISDIR : tmpfs_owns(walk->parent) ? 0 : -EPERM;
    }
    if (walk->special) {
        /* "/" alone has no name. */
        return walk->length == 0 ? -EBUSY : walk->length == 1 ? -EINVAL : -ENOTEMPTY;
    }
    if (!inode_is(inode, S_IFDIR)) {
        return -ENOTDIR;
    }
    if (!tmpfs_owns(walk->parent)) {
        return -EPERM;
    }
    return !tmpfs_owns(inode) ? -EBUSY : tmpfs_is_empty(inode) ? 0 : -ENOTEMPTY;
}

static long remove_call(uint64_t fd, uintptr_t user, bool directory)
{
    struct walk walk = {.length = 0};
    int e = name_walk(fd, user, 0, &walk);

    if (e != 0) {
        return e;
    }
    e = remove_check(&walk, directory);
    if (e == 0) {
        tmpfs_remove(walk.parent, walk.name, walk.length);
    }
    walk_end(&walk);
    return e;
}

SYSCALL(rmdir) { return remove_call((uint64_t)AT_FDCWD, a[0], true); }

SYSCALL(unlink) { return remove_call((uint64_t)AT_FDCWD, a[0], false); }

SYSCALL(unlinkat)
{
    if ((a[2] & ~(uint64_t)AT_REMOVEDIR) != 0) {
        return -EINVAL;
    }
    return remove_call(a[0], a[1], (a[2] & AT_REMOVEDIR) != 0);
}

/* Is `dir` the directory `above`, or somewhere below it? */
static bool directory_below(struct inode *dir, const struct inode *above)
{
    while (dir != above) {
        struct inode *parent = tmpfs_owns(dir) ? dir->as.directory.parent : NULL;
        if (parent == NULL || parent == dir) {
            return false;
        }
        dir = parent;
    }
    return true;
}

static int rename_check(const struct walk *from, const struct walk *to, uint64_t flags)
{
    enum { RENAME_NOREPLACE = 1 };

    if (from->special || to->special) {
        return -EBUSY;
    }
    if (from->inode == NULL) {
        return -ENOENT;
    }
    bool directory = inode_is(from->inode, S_IFDIR);
    if (to->inode != NULL && (flags & RENAME_NOREPLACE) != 0) {
        return -EEXIST;
    }
    if (!tmpfs_owns(from->parent) || !tmpfs_owns(to->parent)) {
        return from->parent->device != to->parent->device ? -EXDEV : -EPERM;
    }
    if (directory && (!tmpfs_owns(from->inode) || directory_below(to->parent, from->inode))) {
        return tmpfs_owns(from->inode) ? -EINVAL : -EBUSY;
    }
    if (to->inode == NULL) {
        return to->slash && !directory ? -ENOTDIR : 0;
    }
    if (!inode_is(to->inode, S_IFDIR)) {
        return directory ? -ENOTDIR : 0;
    }
    if (!directory) {
        return -EISDIR;
    }
    return !tmpfs_owns(to->inode) ? -EBUSY : tmpfs_is_empty(to->inode) ? 0 : -ENOTEMPTY;
}

static long rename_call(const uint64_t from_at[2], const uint64_t to_at[2], uint64_t flags)
{
    struct walk *walks = kmalloc(2 * sizeof(*walks));

    if (walks == NULL) {
        return -ENOMEM;
    }
    struct walk *from = &walks[0];
    struct walk *to = &walks[1];
    int e = (flags & ~1ull) != 0 ? -EINVAL : name_walk(from_at[0], from_at[1], 0, from);
    if (e == 0) {
        e = name_walk(to_at[0], to_at[1], 0, to);
        if (e == 0) {
            e = rename_check(from, to, flags);
            /* Two names of one file: nothing happens. */
            if (e == 0 && from->inode != to->inode) {
                e = tmpfs_rename(from->parent, from->name, from->length, to->parent, to->name,
                                 to->length);
            }
            walk_end(to);
        }
        walk_end(from);
    }
    kfree(walks);
    return e;
}

SYSCALL(rename)
{
    return rename_call((const uint64_t[]){(uint64_t)AT_FDCWD, a[0]},
                       (const uint64_t[]){(uint64_t)AT_FDCWD, a[1]}, 0);
}

SYSCALL(renameat) { return rename_call(a, a + 2, 0); }

SYSCALL(renameat2) { return rename_call(a, a + 2, a[4]); }

static long readlink_call(uint64_t fd, uintptr_t name, uintptr_t user, uint64_t size)
{
    int e = 0;

    if ((int)size <= 0) {
        return -EINVAL;
    }
    struct inode *inode = name_find(fd, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &e);
    if (inode == NULL) {
        return e;
    }
    char *text = kmalloc(PATH_MAX);
    long n = text == NULL                ? -ENOMEM
             : !inode_is(inode, S_IFLNK) ? -EINVAL
                                         : inode->ops->link_text(inode, text, PATH_MAX);
    inode_put(inode);
    if (n > (long)size) {
        n = (long)size;
    }
    if (n > 0 && copy_out(user, text, (size_t)n) != 0) {
        n = -EFAULT;
    }
    kfree(text);
    return n;
}

SYSCALL(readlink) { return readlink_call((uint64_t)AT_FDCWD, a[0], a[1], a[2]); }

SYSCALL(readlinkat) { return readlink_call(a[0], a[1], a[2], a[3]); }

/* ---- the working directory ------------------------------------------------------------------- */

static long directory_enter(struct inode *dir)
{
    if (!inode_is(dir, S_IFDIR)) {
        return -ENOTDIR;
    }
    struct inode *old = current->cwd;
    current->cwd = inode_get(dir);
    inode_put(old);
    return 0;
}

SYSCALL(chdir)
{
    int e = 0;
    struct inode *dir = name_find((uint64_t)AT_FDCWD, a[0], 0, &e);

    if (dir == NULL) {
        return e;
    }
    long result = directory_enter(dir);
    inode_put(dir);
    return result;
}

SYSCALL(fchdir)
{
    struct file *file = descriptor_peek(current, (int)a[0]);

    return file == NULL ? -EBADF : directory_enter(file->inode);
}

SYSCALL(getcwd)
{
    char *path = kmalloc(PATH_MAX);

    if (path == NULL) {
        return -ENOMEM;
    }
    long n = directory_path(current->cwd, path, PATH_MAX);
    if (n > 0 && (uint64_t)n > a[1]) {
        n = -ERANGE;
    }
    if (n > 0 && copy_out(a[0], path, (size_t)n) != 0) {
        n = -EFAULT;
    }
    kfree(path);
    return n;
}

/* ---- changing what stat shows ---------------------------------------------------------------- */

/* One change of an inode, and what it needs. */
struct change {
    enum { CHANGE_MODE, CHANGE_OWNER, CHANGE_SIZE } what;
    uint64_t first, second;
};

static long change_apply(struct inode *inode, const struct change *change)
{
    if (inode->device == DEVICE_PROC) {
        return -EPERM;
    }
    switch (change->what) {
    case CHANGE_MODE:
        inode->mode = (inode->mode & S_IFMT) | ((uint32_t)change->first & 07777);
        break;
    case CHANGE_OWNER:
        inode->uid = (uint32_t)change->first == UINT32_MAX ? inode->uid : (uint32_t)change->first;
        inode->gid = (uint32_t)change->second == UINT32_MAX ? inode->gid : (uint32_t)change->second;
        break;
    case CHANGE_SIZE:
        return (int64_t)change->first < 0 ? -EINVAL : inode_resize(inode, change->first);
    }
    inode->ctime = wall_ns();
    return 0;
}

static long change_name(uint64_t fd, uintptr_t name, uint64_t flags, struct change change)
{
    int e = 0;
    struct inode *inode = name_find(fd, name, flags, &e);

    if (inode == NULL) {
        return e;
    }
    long result = change_apply(inode, &change);
    inode_put(inode);
    return result;
}

SYSCALL(chmod)
{
    return change_name((uint64_t)AT_FDCWD, a[0], 0, (struct change){CHANGE_MODE, a[1], 0});
}

SYSCALL(fchmodat) { return change_name(a[0], a[1], 0, (struct change){CHANGE_MODE, a[2], 0}); }

SYSCALL(fchmod)
{
    struct file *file = descriptor_peek(current, (int)a[0]);
    struct change change = {CHANGE_MODE, a[1], 0};

    return file == NULL ? -EBADF : change_apply(file->inode, &change);
}

SYSCALL(chown)
{
    return change_name((uint64_t)AT_FDCWD, a[0], 0, (struct change){CHANGE_OWNER, a[1], a[2]});
}

SYSCALL(lchown)
{
    return change_name((uint64_t)AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW,
                       (struct change){CHANGE_OWNER, a[1], a[2]});
}

SYSCALL(fchown)
{
    struct file *file = descriptor_peek(current, (int)a[0]);
    struct change change = {CHANGE_OWNER, a[1], a[2]};

    return file == NULL ? -EBADF : change_apply(file->inode, &change);
}

SYSCALL(fchownat)
{
    if ((a[4] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    return change_name(a[0], a[1], a[4], (struct change){CHANGE_OWNER, a[2], a[3]});
}

SYSCALL(truncate)
{
    return change_name((uint64_t)AT_FDCWD, a[0], 0, (struct change){CHANGE_SIZE, a[1], 0});
}

SYSCALL(umask)
{
    unsigned old = current->umask;

    current->umask = (unsigned)a[0] & 0777;
    return old;
}

static int time_set(uint64_t *slot, const int64_t time[2])
{
    enum { UTIME_NOW = 0x3fffffff, UTIME_OMIT = 0x3ffffffe };

    if (time[1] == UTIME_OMIT) {
        return 0;
    }
    if (time[1] == UTIME_NOW) {
        *slot = wall_ns();
        return 0;
    }
    if (time[1] < 0 || time[1] >= NS) {
        return -EINVAL;
    }
    /* Times outside of what 64 bits of nanoseconds since 1970 can say are shown as the nearest. */
    *slot = time[0] < 0                ? 0
            : time[0] > INT64_MAX / NS ? UINT64_MAX / 2
                                       : (uint64_t)time[0] * NS + (uint64_t)time[1];
    return 0;
}

SYSCALL(utimensat)
{
    int64_t times[2][2] = {{0, 0x3fffffff}, {0, 0x3fffffff}};
    struct inode *inode;
    int e = 0;

    if ((a[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    if (a[2] != 0 && copy_in(times, a[2], sizeof(times)) != 0) {
        return -EFAULT;
    }
    if (a[1] == 0) {
        struct file *file = descriptor_peek(current, (int)a[0]);
        inode = file == NULL ? NULL : inode_get(file->inode);
        e = -EBADF;
    } else {
        inode = name_find(a[0], a[1], a[3], &e);
    }
    if (inode == NULL) {
        return e;
    }
    uint64_t atime = inode->atime;
    uint64_t mtime = inode->mtime;
    e = time_set(&atime, times[0]);
    e = e != 0 ? e : time_set(&mtime, times[1]);
    if (e == 0) {
        inode->atime = atime;
        inode->mtime = mtime;
        inode->ctime = wall_ns();
    }
    inode_put(inode);
    return e;
}
