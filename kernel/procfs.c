/* SPDX-License-Identifier: MIT */
/*
 * The names of /proc.
 *
 * Nothing is stored: an inode of /proc is made when a path leads to it and says only which node of
 * which process it is, so one that outlives its process finds nobody and answers ESRCH.  A text is
 * written whole when a read begins at its start, into a store that lasts as long as the open file,
 * so that a reader in small steps sees one state.
 *
 * Directories are tables of nodes (proctext.c has them), except that /proc goes on with a directory
 * for each process, and /proc/PID/fd has a link for each open file.  Such a link leads to the file
 * itself, since a pipe has no path.
 *
 * Inode numbers follow from what the inode stands for, so that the same thing has the same number
 * however often it is looked up.
 */
#include "procfs.h"

enum {
    INO_ROOT = 1,
    INO_QUIRE = 2,
    INO_NODES = 16,       /* nodes of /proc */
    INO_QUIRE_NODES = 64, /* nodes of /proc/quire */
    INO_FD_DIRECTORY = 256,
    INO_FDS = 512,
    COOKIE_PIDS = 1000, /* /proc's processes come behind its fixed names */
};

/* ---- the names ------------------------------------------------------------------------------- */

static const struct inode_ops root_ops, quire_ops, pid_ops, fds_ops, text_ops, link_ops,
    fd_link_ops;

static struct inode *proc_inode(const struct inode_ops *ops, uint32_t mode, uint64_t ino, int pid,
                                int *error)
{
    struct inode *inode = inode_create(ops, DEVICE_PROC, mode);

    *error = -ENOMEM;
    if (inode != NULL) {
        inode->ino = ino;
        inode->as.proc.pid = pid;
        inode->links = (mode & S_IFMT) == S_IFDIR ? 2 : 1;
    }
    return inode;
}

/* Inode numbers of a process's things start here. */
static uint64_t pid_ino(int pid) { return (uint64_t)(pid + 1) << 12; }

struct inode *proc_root_create(void)
{
    int e = 0;

    proc_clock_start();
    return proc_inode(&root_ops, S_IFDIR | 0555, INO_ROOT, 0, &e);
}

static bool name_is(const char *name, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(name, wanted, length) == 0;
}

/* The number that the name is, or -1. */
static int name_number(const char *name, size_t length)
{
    int n = 0;

    for (size_t i = 0; i < length; i++) {
        if (name[i] < '0' || name[i] > '9' || n > 999999 || (i > 0 && name[0] == '0')) {
            return -1;
        }
        n = n * 10 + (name[i] - '0');
    }
    return length == 0 ? -1 : n;
}

static struct inode *node_inode(const struct proc_node *node, uint64_t ino, int pid, int *error)
{
    uint32_t mode = node->link != NULL          ? S_IFLNK | 0777
                    : node->file == NULL        ? S_IFREG | 0444
                    : node->file->write == NULL ? S_IFREG | 0400
                                                : S_IFREG | 0600;
    struct inode *inode =
        proc_inode(node->link != NULL ? &link_ops : &text_ops, mode, ino, pid, error);

    if (inode != NULL) {
        inode->as.proc.node = node;
    }
    return inode;
}

/* One of a table's nodes by name; null and *error otherwise. */
static struct inode *nodes_lookup(const struct proc_node *nodes, size_t count, uint64_t ino,
                                  int pid, const char *name, size_t length, int *error)
{
    for (size_t i = 0; i < count; i++) {
        if (name_is(name, length, nodes[i].name)) {
            return node_inode(&nodes[i], ino + i, pid, error);
        }
    }
    *error = -ENOENT;
    return NULL;
}

static struct inode *pid_directory(int pid, int *error)
{
    return proc_inode(&pid_ops, S_IFDIR | 0555, pid_ino(pid), pid, error);
}

static struct inode *root_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    int pid = name_number(name, length);

    (void)dir;
    if (pid >= 0) {
        *error = -ENOENT;
        return proc_find(pid) == NULL ? NULL : pid_directory(pid, error);
    }
    if (name_is(name, length, "quire")) {
        return proc_inode(&quire_ops, S_IFDIR | 0555, INO_QUIRE, 0, error);
    }
    return nodes_lookup(proc_root_nodes, proc_root_count, INO_NODES, 0, name, length, error);
}

static struct inode *quire_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    (void)dir;
    return nodes_lookup(proc_quire_nodes, proc_quire_count, INO_QUIRE_NODES, 0, name, length,
                        error);
}

static struct inode *pid_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    int pid = dir->as.proc.pid;

    *error = -ENOENT;
    if (proc_find(pid) == NULL) {
        return NULL;
    }
    if (name_is(name, length, "fd")) {
        return proc_inode(&fds_ops, S_IFDIR | 0500, pid_ino(pid) + INO_FD_DIRECTORY, pid, error);
    }
    return nodes_lookup(proc_pid_nodes, proc_pid_count, pid_ino(pid) + 1, pid, name, length, error);
}

/* The open file that a /proc/PID/fd inode is about, or null. */
static struct file *fd_file(int pid, int fd)
{
    struct proc *p = proc_find(pid);

    return p == NULL ? NULL : descriptor_peek(p, fd);
}

static struct inode *fds_lookup(struct inode *dir, const char *name, size_t length, int *error)
{
    int pid = dir->as.proc.pid;
    int fd = name_number(name, length);

    *error = -ENOENT;
    if (fd < 0 || fd_file(pid, fd) == NULL) {
        return NULL;
    }
    struct inode *inode =
        proc_inode(&fd_link_ops, S_IFLNK | 0700, pid_ino(pid) + INO_FDS + (uint64_t)fd, pid, error);
    if (inode != NULL) {
        inode->as.proc.fd = fd;
    }
    return inode;
}

static struct inode *above_root(struct inode *dir, int *error)
{
    (void)dir;
    (void)error;
    return inode_root();
}

static struct inode *above_first(struct inode *dir, int *error)
{
    (void)dir;
    return inode_lookup("/proc", error);
}

static struct inode *above_fds(struct inode *dir, int *error)
{
    return pid_directory(dir->as.proc.pid, error);
}

static void view_set(struct entry_view *view, uint64_t cookie, uint64_t ino, uint32_t mode)
{
    view->cookie = cookie;
    view->ino = ino;
    view->mode = mode;
}

/* Entry number `after` (from 0) of a table, if there is one. */
static bool nodes_entry(const struct proc_node *nodes, size_t count, uint64_t ino, uint64_t after,
                        struct entry_view *out)
{
    if (after >= count) {
        return false;
    }
    view_set(out, after + 1, ino + after, nodes[after].link != NULL ? S_IFLNK : S_IFREG);
    strlcpy(out->name, nodes[after].name, sizeof(out->name));
    return true;
}

static bool root_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    int least = 0;

    (void)dir;
    if (nodes_entry(proc_root_nodes, proc_root_count, INO_NODES, after, out)) {
        return true;
    }
    if (after == proc_root_count) {
        view_set(out, after + 1, INO_QUIRE, S_IFDIR);
        strlcpy(out->name, "quire", sizeof(out->name));
        return true;
    }
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p)) {
        if ((uint64_t)p->pid + COOKIE_PIDS > after && (least == 0 || p->pid < least)) {
            least = p->pid;
        }
    }
    if (least == 0) {
        return false;
    }
    view_set(out, (uint64_t)least + COOKIE_PIDS, pid_ino(least), S_IFDIR);
    ksnprintf(out->name, sizeof(out->name), "%d", least);
    return true;
}

static bool quire_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    (void)dir;
    return nodes_entry(proc_quire_nodes, proc_quire_count, INO_QUIRE_NODES, after, out);
}

static bool pid_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    int pid = dir->as.proc.pid;

    if (after == proc_pid_count) {
        view_set(out, after + 1, pid_ino(pid) + INO_FD_DIRECTORY, S_IFDIR);
        strlcpy(out->name, "fd", sizeof(out->name));
        return true;
    }
    return nodes_entry(proc_pid_nodes, proc_pid_count, pid_ino(pid) + 1, after, out);
}

static bool fds_entry(struct inode *dir, uint64_t after, struct entry_view *out)
{
    int pid = dir->as.proc.pid;

    for (int fd = (int)(after < OPEN_MAX ? after : OPEN_MAX); fd < OPEN_MAX; fd++) {
        if (fd_file(pid, fd) != NULL) {
            view_set(out, (uint64_t)fd + 1, pid_ino(pid) + INO_FDS + (uint64_t)fd, S_IFLNK);
            ksnprintf(out->name, sizeof(out->name), "%d", fd);
            return true;
        }
    }
    return false;
}

/* ---- links ----------------------------------------------------------------------------------- */

static long proc_link_text(struct inode *link, char *to, size_t size)
{
    struct proc *p = link->as.proc.pid == 0 ? current : proc_find(link->as.proc.pid);

    return p == NULL ? -ENOENT : link->as.proc.node->link(p, to, size);
}

static struct inode *fd_link_follow(struct inode *link, int *error)
{
    struct file *file = fd_file(link->as.proc.pid, link->as.proc.fd);

    *error = -ENOENT;
    return file == NULL ? NULL : inode_get(file->inode);
}

static long fd_link_text(struct inode *link, char *to, size_t size)
{
    struct file *file = fd_file(link->as.proc.pid, link->as.proc.fd);
    char text[48];

    if (file == NULL) {
        return -ENOENT;
    }
    if (inode_is(file->inode, S_IFCHR)) {
        const char *name = file->inode->rdev == DEVICE_CONSOLE ? "/dev/console"
                           : file->inode->rdev == DEVICE_NULL  ? "/dev/null"
                                                               : "/dev/tty";
        return proc_link_copy(name, to, size);
    }
    if (!inode_is(file->inode, S_IFIFO)) {
        long n = inode_path(file->inode, to, size);
        return n < 0 ? n : n - 1;
    }
    ksnprintf(text, sizeof(text), "pipe:[%lu]", file->inode->ino);
    return proc_link_copy(text, to, size);
}

/* ---- open texts ------------------------------------------------------------------------------ */

static long text_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    struct text *text = file->data;
    struct inode *inode = file->inode;
    const struct proc *p = inode->as.proc.pid == 0 ? current : proc_find(inode->as.proc.pid);

    if (offset == 0) {
        if (p == NULL) {
            return -ESRCH;
        }
        (void)store_resize(&text->store, 0);
        inode->as.proc.node->print(text, p);
    }
    return store_read(&text->store, to, n, offset);
}

static void text_release(struct file *file)
{
    struct text *text = file->data;

    store_end(&text->store);
    kfree(text);
}

static const struct file_ops text_file_ops = {
    .seekable = true,
    .read = text_read,
    .release = text_release,
};

static int text_open(struct inode *inode, struct file *file)
{
    if (inode->as.proc.node->file != NULL) {
        file->ops = inode->as.proc.node->file;
        return 0;
    }
    if ((file->flags & O_ACCMODE) != O_RDONLY) {
        return -EACCES;
    }
    file->data = kzalloc(sizeof(struct text));
    if (file->data == NULL) {
        return -ENOMEM;
    }
    file->ops = &text_file_ops;
    return 0;
}

static long proc_directory_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    (void)file;
    (void)to;
    (void)n;
    (void)offset;
    return -EISDIR;
}

static int proc_directory_open(struct inode *dir, struct file *file)
{
    static const struct file_ops ops = {.seekable = true, .read = proc_directory_read};

    (void)dir;
    file->ops = &ops;
    return 0;
}

static const struct inode_ops root_ops = {
    .lookup = root_lookup,
    .parent = above_root,
    .entry = root_entry,
    .open = proc_directory_open,
};

static const struct inode_ops quire_ops = {
    .lookup = quire_lookup,
    .parent = above_first,
    .entry = quire_entry,
    .open = proc_directory_open,
};

static const struct inode_ops pid_ops = {
    .lookup = pid_lookup,
    .parent = above_first,
    .entry = pid_entry,
    .open = proc_directory_open,
};

static const struct inode_ops fds_ops = {
    .lookup = fds_lookup,
    .parent = above_fds,
    .entry = fds_entry,
    .open = proc_directory_open,
};

static const struct inode_ops text_ops = {.open = text_open};
static const struct inode_ops link_ops = {.link_text = proc_link_text};
static const struct inode_ops fd_link_ops = {.link_text = fd_link_text, .follow = fd_link_follow};
