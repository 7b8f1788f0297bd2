/* SPDX-License-Identifier: MIT */
/*
 * Names: inodes' lives, and how a path finds one.
 *
 * A walk goes component by component from a directory, holding a reference to the one it stands in.
 * When it meets a symbolic link it must follow, the link's text and what is left of the path become
 * the new path, so links nest without recursion; forty of them end the walk with ELOOP.  Links of
 * /proc that name an open file (/proc/PID/fd/N) hand over the inode itself, for a pipe has no path.
 *
 * The walk's answer is a directory, a last name, and the inode of that name if there is one: enough
 * for opening, creating, removing and renaming alike.
 *
 * There are no mounts.  The root is a tmpfs; /proc is an inode of another kind, entered in the root
 * like any name.
 */
#include "vfs.h"

static struct inode *root;

struct inode *inode_create(const struct inode_ops *ops, uint64_t device, uint32_t mode)
{
    static uint64_t last_ino = 1;
    struct inode *inode = kzalloc(sizeof(*inode));

    if (inode != NULL) {
        inode->ops = ops;
        inode->refs = 1;
        inode->links = 1;
        inode->mode = mode;
        inode->device = device;
        inode->ino = ++last_ino;
        inode->atime = wall_ns();
        inode->mtime = inode->atime;
        inode->ctime = inode->atime;
    }
    return inode;
}

struct inode *inode_get(struct inode *i)
{
    kassert(i->refs > 0);
    i->refs++;
    return i;
}

void inode_put(struct inode *i)
{
    if (i == NULL) {
        return;
    }
    kassert(i->refs > 0);
    if (--i->refs == 0 && (i->ops->destroy == NULL || i->ops->destroy(i))) {
        kassert(i->locks == NULL);
        kfree(i->label);
        kfree(i);
    }
}

int inode_resize(struct inode *inode, uint64_t size)
{
    if (inode_is(inode, S_IFDIR)) {
        return -EISDIR;
    }
    return inode->ops->resize == NULL ? -EINVAL : inode->ops->resize(inode, size);
}

struct inode *inode_root(void) { return inode_get(root); }

int inode_may_exec(struct inode *i)
{
    return inode_is(i, S_IFREG) && (i->mode & 0111) != 0 && i->device == DEVICE_TMPFS ? 0 : -EACCES;
}

long inode_read(struct inode *i, void *to, size_t n, uint64_t offset)
{
    struct buffer buffer = {(uintptr_t)to, false};

    if (!inode_is(i, S_IFREG) || i->device != DEVICE_TMPFS) {
        return -EINVAL;
    }
    return store_read(&i->as.store, &buffer, n, offset);
}

uint64_t inode_size(struct inode *i)
{
    switch (i->mode & S_IFMT) {
    case S_IFREG: return i->device == DEVICE_TMPFS ? store_size(&i->as.store) : 0;
    case S_IFLNK: return i->device == DEVICE_TMPFS ? strlen(i->as.target) : 0;
    default: return 0;
    }
}

/* ---- walking --------------------------------------------------------------------------------- */

/* A walk on its way. */
struct steps {
    struct inode *dir; /* counted */
    char *path;        /* a kmalloc buffer of PATH_MAX bytes */
    char *rest;        /* what is left of it */
    unsigned links;
};

/* One component; "." and ".." too.  With a reference. */
static struct inode *step_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    if (length == 1 && name[0] == '.') {
        return inode_get(dir);
    }
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        return dir == root ? inode_get(dir) : dir->ops->parent(dir, error);
    }
    return dir->ops->lookup(dir, name, length, error);
}

/* Put the link's text in front of the rest of the path. */
static int steps_splice(struct steps *steps, struct inode *link)
{
    size_t rest = strlen(steps->rest);
    char *path = kmalloc(PATH_MAX);
    long n;

    if (path == NULL) {
        return -ENOMEM;
    }
    n = link->ops->link_text(link, path, PATH_MAX);
    if (n <= 0 || (size_t)n + 1 + rest + 1 > PATH_MAX) {
        kfree(path);
        return n < 0 ? (int)n : n == 0 ? -ENOENT : -ENAMETOOLONG;
    }
    path[n] = '/';
    memcpy(path + n + 1, steps->rest, rest + 1);
    if (rest == 0) {
        path[n] = '\0';
    }
    kfree(steps->path);
    steps->path = path;
    steps->rest = path;
    if (path[0] == '/') {
        inode_put(steps->dir);
        steps->dir = inode_get(root);
    }
    return 0;
}

/*
 * Go on behind a link.  0: *child is what it leads to; 1: the path has changed, walk on; or -E.
 * Consumes the reference to *child when it changes it.
 */
static int steps_follow(struct steps *steps, struct inode **child)
{
    struct inode *link = *child;
    int e = 0;

    if (++steps->links > LINKS_MAX) {
        return -ELOOP;
    }
    if (link->ops->follow != NULL) {
        struct inode *target = link->ops->follow(link, &e);
        if (target == NULL) {
            return e;
        }
        inode_put(link);
        *child = target;
        return 0;
    }
    e = steps_splice(steps, link);
    if (e != 0) {
        return e;
    }
    inode_put(link);
    *child = NULL;
    return 1;
}

/* Cut the next component off the rest: its start, with *length, *last and *slash set. */
static const char *steps_next(struct steps *steps, struct walk *out, bool *last)
{
    const char *name = steps->rest;
    char *end = steps->rest;

    while (*end != '\0' && *end != '/') {
        end++;
    }
    out->length = (size_t)(end - name);
    out->slash = *end == '/';
    while (*end == '/') {
        end++;
    }
    *last = *end == '\0';
    steps->rest = end;
    return name;
}

static bool name_is_special(const char *name, size_t length)
{
    return (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.');
}

/* Take one component.  0: walk on; 1: `out` is complete; or -E. */
static int steps_take(struct steps *steps, unsigned flags, struct walk *out)
{
    bool last;
    int e = 0;

    while (*steps->rest == '/') {
        steps->rest++;
    }
    if (*steps->rest == '\0') {
        /* "/", or a link that led to it. */
        out->inode = inode_get(steps->dir);
        out->special = true;
        return 1;
    }
    const char *name = steps_next(steps, out, &last);
    if (!inode_is(steps->dir, S_IFDIR)) {
        return -ENOTDIR;
    }
    if (out->length > FILE_NAME_MAX) {
        return -ENAMETOOLONG;
    }
    struct inode *child = step_lookup(steps->dir, name, out->length, &e);
    memcpy(out->name, name, out->length);
    out->name[out->length] = '\0';
    out->special = name_is_special(name, out->length);
    if (child == NULL) {
        return last && e == -ENOENT ? 1 : e;
    }
    if (inode_is(child, S_IFLNK) && (!last || (flags & WALK_FOLLOW) != 0 || out->slash)) {
        e = steps_follow(steps, &child);
        if (e != 0) {
            inode_put(e < 0 ? child : NULL);
            return e < 0 ? e : 0;
        }
    }
    if (last) {
        out->inode = child;
        return out->slash && !inode_is(child, S_IFDIR) ? -ENOTDIR : 1;
    }
    inode_put(steps->dir);
    steps->dir = child;
    return 0;
}

int walk_path(struct inode *start, const char *path, unsigned flags, struct walk *out)
{
    struct steps steps = {.path = kmalloc(PATH_MAX), .links = 0};
    int e = 0;

    out->parent = NULL;
    out->inode = NULL;
    if (steps.path == NULL) {
        return -ENOMEM;
    }
    if (path[0] == '\0' || strlcpy(steps.path, path, PATH_MAX) >= PATH_MAX) {
        kfree(steps.path);
        return path[0] == '\0' ? -ENOENT : -ENAMETOOLONG;
    }
    steps.rest = steps.path;
    steps.dir = inode_get(path[0] == '/' ? root : start);
    while (e == 0) {
        e = steps_take(&steps, flags, out);
    }
    kfree(steps.path);
    if (e < 0) {
        inode_put(out->inode);
        inode_put(steps.dir);
        out->inode = NULL;
        return e;
    }
    out->parent = steps.dir;
    return 0;
}

void walk_end(struct walk *walk)
{
    inode_put(walk->inode);
    inode_put(walk->parent);
    walk->inode = NULL;
    walk->parent = NULL;
}

struct inode *inode_lookup(const char *path, int *error)
{
    struct walk *walk = kmalloc(sizeof(*walk));
    struct inode *found = NULL;

    if (walk == NULL) {
        *error = -ENOMEM;
        return NULL;
    }
    *error = walk_path(current == NULL || current->cwd == NULL ? root : current->cwd, path,
                       WALK_FOLLOW, walk);
    if (*error == 0) {
        found = walk->inode == NULL ? NULL : inode_get(walk->inode);
        *error = found == NULL ? -ENOENT : 0;
        walk_end(walk);
    }
    kfree(walk);
    return found;
}

/* ---- from an inode back to a path ------------------------------------------------------------ */

/* The name of `dir` in its parent: tmpfs keeps it there, /proc's directories are numbers or known.
 */
static const char *directory_name(const struct inode *parent, const struct inode *dir)
{
    static struct entry_view view;

    if (tmpfs_owns(parent)) {
        return tmpfs_name_of(parent, dir);
    }
    view.cookie = 0;
    while (parent->ops->entry((struct inode *)parent, view.cookie, &view)) {
        if (view.ino == dir->ino) {
            return view.name;
        }
    }
    return NULL;
}

long directory_path(struct inode *dir, char *to, size_t size)
{
    size_t at = size;
    int e = 0;

    if (size < 2) {
        return -ERANGE;
    }
    to[--at] = '\0';
    struct inode *here = inode_get(dir);
    while (here != root && e == 0) {
        struct inode *parent = here->ops->parent(here, &e);
        const char *name = parent == NULL ? NULL : directory_name(parent, here);
        size_t n = name == NULL ? 0 : strlen(name);
        if (name == NULL) {
            e = -ENOENT;
        } else if (n + 1 > at) {
            e = -ERANGE;
        } else {
            at -= n;
            memcpy(to + at, name, n);
            to[--at] = '/';
        }
        inode_put(here);
        here = parent;
        if (parent == NULL) {
            break;
        }
    }
    inode_put(here);
    if (e != 0) {
        return e;
    }
    if (to[at] == '\0') {
        to[--at] = '/';
    }
    memmove(to, to + at, size - at);
    return (long)(size - at);
}

/* Put a name behind a directory's path, of which directory_path said `n`.  As directory_path. */
static long path_append(char *to, long n, size_t size, const char *name)
{
    size_t length = strlen(name);

    if (n < 0) {
        return n;
    }
    size_t used = n == 2 ? 0 : (size_t)n - 1;
    if (used + 1 + length + 1 > size) {
        return -ERANGE;
    }
    to[used] = '/';
    memcpy(to + used + 1, name, length + 1);
    return (long)(used + length + 2);
}

long inode_path(struct inode *inode, char *to, size_t size)
{
    if (inode_is(inode, S_IFDIR)) {
        return directory_path(inode, to, size);
    }
    if (inode->named_in != NULL) {
        long used = directory_path(inode->named_in, to, size);
        return path_append(to, used, size, tmpfs_name_of(inode->named_in, inode));
    }
    int n = inode->label != NULL ? ksnprintf(to, size, "/%s (deleted)", inode->label)
                                 : ksnprintf(to, size, "/#%lu (deleted)", inode->ino);
    return (size_t)n < size ? n + 1 : -ERANGE;
}

/* The absolute path of what `walk` found.  As directory_path. */
static long walk_result_path(struct walk *walk, char *to, size_t size)
{
    if (inode_is(walk->inode, S_IFDIR)) {
        return directory_path(walk->inode, to, size);
    }
    return path_append(to, directory_path(walk->parent, to, size), size, walk->name);
}

char *path_resolve(const char *path, int *error)
{
    struct inode *start = current == NULL || current->cwd == NULL ? root : current->cwd;
    char *result = kmalloc(PATH_MAX);
    struct walk walk;

    *error = result == NULL ? -ENOMEM : walk_path(start, path, WALK_FOLLOW, &walk);
    if (*error == 0) {
        long n = walk.inode == NULL ? -ENOENT : walk_result_path(&walk, result, PATH_MAX);
        *error = n < 0 ? (int)n : 0;
        walk_end(&walk);
    }
    if (*error != 0) {
        kfree(result);
        return NULL;
    }
    return result;
}

/* ---- the first names ------------------------------------------------------------------------- */

/* Give `inode` (whose reference is consumed; null: memory had run out) a name, unless it has one.
 */
static void name_add(struct inode *dir, const char *name, struct inode *inode)
{
    int e = 0;
    struct inode *there = dir->ops->lookup(dir, name, strlen(name), &e);

    if (inode == NULL || (there == NULL && tmpfs_insert(dir, name, strlen(name), inode) != 0)) {
        panic("no memory for /%s", name);
    }
    inode_put(there);
    inode_put(inode);
}

static void devices_create(struct inode *dev)
{
    static const struct {
        const char *name;
        uint64_t number;
    } devices[] = {
        {"null", DEVICE_NULL},       {"zero", DEVICE_ZERO},       {"full", DEVICE_FULL},
        {"random", DEVICE_RANDOM},   {"urandom", DEVICE_URANDOM}, {"tty", DEVICE_TTY},
        {"console", DEVICE_CONSOLE},
    };
    int e = 0;

    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        struct inode *inode = tmpfs_create(S_IFCHR | 0666, &e);
        if (inode != NULL) {
            inode->rdev = devices[i].number;
        }
        name_add(dev, devices[i].name, inode);
    }
    name_add(dev, "shm", tmpfs_create(S_IFDIR | 01777, &e));
    name_add(dev, "fd", tmpfs_create_link("/proc/self/fd", 13, &e));
    name_add(dev, "stdin", tmpfs_create_link("/proc/self/fd/0", 15, &e));
    name_add(dev, "stdout", tmpfs_create_link("/proc/self/fd/1", 15, &e));
    name_add(dev, "stderr", tmpfs_create_link("/proc/self/fd/2", 15, &e));
}

/* A directory of that name below `dir`, made unless it is there; null only if `dir` is. */
static struct inode *directory_below(struct inode *dir, const char *name)
{
    int e = 0;
    struct inode *found = dir->ops->lookup(dir, name, strlen(name), &e);

    if (found == NULL) {
        name_add(dir, name, tmpfs_create(S_IFDIR | 0755, &e));
        found = dir->ops->lookup(dir, name, strlen(name), &e);
    }
    inode_put(dir);
    return found;
}

/* What programs read to count the processors. */
static void sys_add(void)
{
    static const char *const names[] = {"online", "possible", "present"};
    static const char first[] = "0\n";
    struct inode *dir = directory_below(inode_get(root), "sys");
    int e = 0;

    dir = directory_below(directory_below(directory_below(dir, "devices"), "system"), "cpu");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct inode *file = tmpfs_create(S_IFREG | 0444, &e);
        struct buffer from = {(uintptr_t)first, false};
        if (file != NULL) {
            (void)store_write(&file->as.store, &from, sizeof(first) - 1, 0);
        }
        name_add(dir, names[i], file);
    }
    inode_put(directory_below(dir, "cpu0"));
}

/* The archive may bring an empty directory to hold the place. */
static void proc_add(void)
{
    int e = 0;
    struct inode *there = root->ops->lookup(root, "proc", 4, &e);

    if (there != NULL && tmpfs_owns(there) && tmpfs_is_empty(there)) {
        tmpfs_remove(root, "proc", 4);
    }
    inode_put(there);
    name_add(root, "proc", proc_root_create());
}

void vfs_init(struct blk *archive)
{
    int e = 0;

    root = tmpfs_create(S_IFDIR | 0755, &e);
    if (root == NULL) {
        panic("no memory for the root directory");
    }
    root->links = 2;
    root->as.directory.parent = root;
    if (archive != NULL) {
        stores_begin(archive);
        cpio_unpack(root, archive);
    }
    name_add(root, "dev", tmpfs_create(S_IFDIR | 0755, &e));
    name_add(root, "tmp", tmpfs_create(S_IFDIR | 01777, &e));
    proc_add();
    sys_add();
    struct inode *dev = root->ops->lookup(root, "dev", 3, &e);
    if (dev == NULL || !inode_is(dev, S_IFDIR)) {
        panic("/dev is not a directory");
    }
    devices_create(dev);
    inode_put(dev);
}
