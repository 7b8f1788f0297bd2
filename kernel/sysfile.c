/* SPDX-License-Identifier: MIT */
/*
 * The system calls on open files: reading, writing, descriptors, positions, directories' contents.
 * Calls that take names are in sysname.c.
 *
 * Each call takes a reference to the open file for as long as it runs, since a read can sleep.
 * Transfers go between the file and the program's memory directly, through a struct buffer that
 * checks every address when it is used; no call trusts one, and none copies more than a page at a
 * time into the kernel.
 */
#include "vfs.h"

enum {
    SEEK_SET = 0,
    SEEK_CUR = 1,
    SEEK_END = 2,
    SEEK_DATA = 3,
    SEEK_HOLE = 4,
    VECTORS_MAX = 1024,
};

/* ---- reading and writing --------------------------------------------------------------------- */

/* Where a transfer happens: at the file's own offset (and moves it), or at a given one. */
struct place {
    bool own;
    uint64_t offset;
};

/* The file, if the descriptor is open in the needed way; or null. */
static struct file *file_for(uint64_t fd, bool write)
{
    struct file *file = descriptor_peek(current, (int)fd);
    unsigned refused = write ? O_RDONLY : O_WRONLY;

    if (file == NULL || (file->flags & O_PATH) != 0 || (file->flags & O_ACCMODE) == refused) {
        return NULL;
    }
    return file_get(file);
}

static long transfer(struct file *file, struct buffer *buffer, uint64_t n, struct place *place,
                     bool write)
{
    uint64_t offset = place->own ? file->offset : place->offset;
    long done;

    if (n > TRANSFER_MAX) {
        n = TRANSFER_MAX;
    }
    if (write && (file->flags & O_APPEND) != 0) {
        offset = inode_size(file->inode);
    }
    if (write) {
        done = file->ops->write == NULL ? -EINVAL : file->ops->write(file, buffer, n, offset);
    } else {
        done = file->ops->read == NULL ? -EINVAL : file->ops->read(file, buffer, n, offset);
    }
    if (done > 0 && file->ops->seekable) {
        if (place->own) {
            file->offset = offset + (uint64_t)done;
        } else {
            place->offset += (uint64_t)done;
        }
    }
    return done;
}

static long call_transfer(uint64_t fd, uintptr_t user, uint64_t n, struct place place, bool write)
{
    struct file *file = file_for(fd, write);
    struct buffer buffer = {user, true};

    if (file == NULL) {
        return -EBADF;
    }
    long done =
        place.own || file->ops->seekable ? transfer(file, &buffer, n, &place, write) : -ESPIPE;
    file_put(file);
    return done;
}

static long call_vector(const uint64_t *a, struct place place, bool write)
{
    struct file *file = file_for(a[0], write);
    struct {
        uint64_t base, length;
    } vector;
    long done = 0;
    long e = file == NULL                              ? -EBADF
             : !place.own && !file->ops->seekable      ? -ESPIPE
             : a[2] > VECTORS_MAX                      ? -EINVAL
             : !place.own && (int64_t)place.offset < 0 ? -EINVAL
                                                       : 0;

    for (uint64_t i = 0; e >= 0 && i < a[2]; i++) {
        if (copy_in(&vector, a[1] + i * sizeof(vector), sizeof(vector)) != 0) {
            e = -EFAULT;
            break;
        }
        if ((int64_t)vector.length < 0) {
            e = -EINVAL;
            break;
        }
        if (vector.length == 0) {
            continue;
        }
        struct buffer buffer = {vector.base, true};
        e = transfer(file, &buffer, vector.length, &place, write);
        done += e > 0 ? e : 0;
        /*
         * Waiting for the second part when the first has come would be wrong; and a call that has
         * moved as much as one may ends, since nobody else runs meanwhile.
         */
        if (e < (long)vector.length || done >= TRANSFER_MAX) {
            break;
        }
    }
    file_put(file);
    return done > 0 ? done : e;
}

SYSCALL(read) { return call_transfer(a[0], a[1], a[2], (struct place){true, 0}, false); }

SYSCALL(write) { return call_transfer(a[0], a[1], a[2], (struct place){true, 0}, true); }

SYSCALL(readv) { return call_vector(a, (struct place){true, 0}, false); }

SYSCALL(writev) { return call_vector(a, (struct place){true, 0}, true); }

SYSCALL(preadv) { return call_vector(a, (struct place){false, a[3]}, false); }

SYSCALL(pwritev) { return call_vector(a, (struct place){false, a[3]}, true); }

/* With flags: all of them are wishes that may be refused; an offset of -1 is the file's own. */
SYSCALL(preadv2)
{
    return a[5] != 0 ? -EOPNOTSUPP : call_vector(a, (struct place){~a[3] == 0, a[3]}, false);
}

SYSCALL(pwritev2)
{
    return a[5] != 0 ? -EOPNOTSUPP : call_vector(a, (struct place){~a[3] == 0, a[3]}, true);
}

SYSCALL(pread64)
{
    if ((int64_t)a[3] < 0) {
        return -EINVAL;
    }
    return call_transfer(a[0], a[1], a[2], (struct place){false, a[3]}, false);
}

SYSCALL(pwrite64)
{
    if ((int64_t)a[3] < 0) {
        return -EINVAL;
    }
    return call_transfer(a[0], a[1], a[2], (struct place){false, a[3]}, true);
}

/* A copy from one file to another. */
struct copy {
    struct file *in, *out;
    struct place from, to;
    uint64_t count;
};

/* Copy up to c->count bytes by way of `page`. */
static long files_copy(struct copy *c, void *page)
{
    struct file *in = c->in, *out = c->out;
    struct place *from = &c->from;
    uint64_t count = c->count < TRANSFER_MAX ? c->count : TRANSFER_MAX;
    uint64_t done = 0;
    long e = 0;

    while (done < count) {
        uint64_t before = from->own ? in->offset : from->offset;
        struct buffer to = {(uintptr_t)page, false};
        uint64_t part = count - done < PAGE_SIZE ? count - done : PAGE_SIZE;
        long got = transfer(in, &to, part, from, false);
        if (got <= 0) {
            e = got;
            break;
        }
        struct buffer source = {(uintptr_t)page, false};
        long put = transfer(out, &source, (uint64_t)got, &c->to, true);
        if (put < got) {
            /* What was read and could not be written is read again next time. */
            uint64_t after = before + (put > 0 ? (uint64_t)put : 0);
            *(from->own ? &in->offset : &from->offset) = after;
            done += put > 0 ? (uint64_t)put : 0;
            e = put;
            break;
        }
        done += (uint64_t)put;
    }
    return done > 0 ? (long)done : e;
}

/* An offset that a program gives or not, out of its memory.  0 or -E. */
static long place_read(uintptr_t user, struct place *place)
{
    place->own = user == 0;
    if (user != 0 && copy_in(&place->offset, user, sizeof(place->offset)) != 0) {
        return -EFAULT;
    }
    return (int64_t)place->offset < 0 ? -EINVAL : 0;
}

/* Copy, and tell the program where its offsets are then. */
static long copy_run(struct copy *c, uintptr_t from, uintptr_t to)
{
    void *page = frame_alloc();
    long result = page == NULL ? -ENOMEM : place_read(from, &c->from);

    if (result == 0) {
        result = place_read(to, &c->to);
    }
    if (result == 0) {
        result = files_copy(c, page);
        if ((from != 0 && copy_out(from, &c->from.offset, sizeof(c->from.offset)) != 0) ||
            (to != 0 && copy_out(to, &c->to.offset, sizeof(c->to.offset)) != 0)) {
            result = -EFAULT;
        }
    }
    frame_free(page);
    return result;
}

SYSCALL(sendfile)
{
    struct copy c = {.out = file_for(a[0], true), .in = file_for(a[1], false), .count = a[3]};
    long result = -EBADF;

    if (c.in != NULL && c.out != NULL) {
        result = !c.in->ops->seekable || !inode_is(c.in->inode, S_IFREG) ? -EINVAL
                                                                         : copy_run(&c, a[2], 0);
    }
    file_put(c.in);
    file_put(c.out);
    return result;
}

/* Would the copy read what it writes? */
static bool copy_overlaps(const struct copy *c, uintptr_t from, uintptr_t to)
{
    struct place read = {0}, write = {0};

    if (c->in->inode != c->out->inode || place_read(from, &read) != 0 ||
        place_read(to, &write) != 0) {
        return false;
    }
    uint64_t low = read.own ? c->in->offset : read.offset;
    uint64_t high = write.own ? c->out->offset : write.offset;
    return (low < high ? high - low : low - high) < c->count;
}

SYSCALL(copy_file_range)
{
    struct copy c = {.in = file_for(a[0], false), .out = file_for(a[2], true), .count = a[4]};
    long result = -EBADF;

    if (c.in != NULL && c.out != NULL && (c.out->flags & O_APPEND) == 0) {
        result = !inode_is(c.in->inode, S_IFREG) || !inode_is(c.out->inode, S_IFREG) || a[5] != 0 ||
                         copy_overlaps(&c, a[1], a[3])
                     ? -EINVAL
                     : copy_run(&c, a[1], a[3]);
    }
    file_put(c.in);
    file_put(c.out);
    return result;
}

/* No file here gives its pages to a pipe; programs that hear so copy. */
SYSCALL(splice)
{
    (void)a;
    return -EINVAL;
}

/* ---- positions --------------------------------------------------------------------- */

/* Where the next data or hole is: a file counts as data up to its end. */
static long seek_to_kind(struct file *file, uint64_t offset, bool hole)
{
    uint64_t size = inode_size(file->inode);

    if (offset >= size) {
        return -ENXIO;
    }
    file->offset = hole ? size : offset;
    return (long)file->offset;
}

SYSCALL(lseek)
{
    struct file *file = descriptor_peek(current, (int)a[0]);
    int64_t base;

    if (file == NULL || (file->flags & O_PATH) != 0) {
        return -EBADF;
    }
    if (!file->ops->seekable) {
        return -ESPIPE;
    }
    switch ((int)a[2]) {
    case SEEK_SET: base = 0; break;
    case SEEK_CUR: base = (int64_t)file->offset; break;
    case SEEK_DATA:
    case SEEK_HOLE: return seek_to_kind(file, a[1], (int)a[2] == SEEK_HOLE);
    case SEEK_END: base = (int64_t)inode_size(file->inode); break;
    default: return -EINVAL;
    }
    int64_t to;
    if (__builtin_add_overflow(base, (int64_t)a[1], &to)) {
        return -EOVERFLOW;
    }
    if (to < 0) {
        return -EINVAL;
    }
    file->offset = (uint64_t)to;
    return to;
}

SYSCALL(sync)
{
    (void)a;
    return 0;
}

SYSCALL(fsync)
{
    struct file *file = descriptor_peek(current, (int)a[0]);

    if (file == NULL) {
        return -EBADF;
    }
    return inode_is(file->inode, S_IFREG) || inode_is(file->inode, S_IFDIR) ? 0 : -EINVAL;
}

SYSCALL(fdatasync) { return sys_fsync(a); }

/* ---- descriptors ----------------------------------------------------------------------------- */

SYSCALL(close) { return descriptor_close((int)a[0]); }

SYSCALL(close_range)
{
    enum { UNSHARE = 2, CLOEXEC = 4 };

    if (a[0] > a[1] || (a[2] & ~(uint64_t)(UNSHARE | CLOEXEC)) != 0) {
        return -EINVAL;
    }
    for (uint64_t fd = a[0]; fd <= a[1] && fd < OPEN_MAX; fd++) {
        if (descriptor_peek(current, (int)fd) == NULL) {
            continue;
        }
        if ((a[2] & CLOEXEC) != 0) {
            descriptor_set_close_on_exec((int)fd, true);
        } else {
            (void)descriptor_close((int)fd);
        }
    }
    return 0;
}

SYSCALL(dup)
{
    struct file *file = descriptor_get((int)a[0]);

    return file == NULL ? -EBADF : descriptor_install(file, false, 0);
}

SYSCALL(dup2)
{
    struct file *file = descriptor_get((int)a[0]);

    if (file == NULL) {
        return -EBADF;
    }
    if ((int)a[0] == (int)a[1]) {
        file_put(file);
        return (int)a[1];
    }
    return descriptor_replace((int)a[1], file, false);
}

SYSCALL(dup3)
{
    struct file *file = descriptor_get((int)a[0]);

    if (file == NULL) {
        return -EBADF;
    }
    if ((int)a[0] == (int)a[1] || (a[2] & ~(uint64_t)O_CLOEXEC) != 0) {
        file_put(file);
        return -EINVAL;
    }
    return descriptor_replace((int)a[1], file, (a[2] & O_CLOEXEC) != 0);
}

static long descriptor_duplicate(int fd, uint64_t low, bool close_on_exec)
{
    if (low >= OPEN_MAX) {
        return -EINVAL;
    }
    return descriptor_install(descriptor_get(fd), close_on_exec, (int)low);
}

static long descriptor_lock(int fd, int command, uintptr_t user)
{
    struct file *file = descriptor_get(fd);
    long e = (file->flags & O_PATH) != 0 ? -EBADF : lock_fcntl(file, command, user);

    file_put(file);
    return e;
}

SYSCALL(fcntl)
{
    enum {
        F_DUPFD = 0,
        F_GETFD = 1,
        F_SETFD = 2,
        F_GETFL = 3,
        F_SETFL = 4,
        F_GETOWN = 9,
        F_DUPFD_CLOEXEC = 1030,
        F_GETPIPE_SZ = 1032,
        FD_CLOEXEC = 1,
        CHANGEABLE = O_APPEND | O_NONBLOCK,
        PIPE_CAPACITY = 65536,
    };
    int fd = (int)a[0];
    struct file *file = descriptor_peek(current, fd);

    if (file == NULL) {
        return -EBADF;
    }
    switch ((int)a[1]) {
    case F_DUPFD: return descriptor_duplicate(fd, a[2], false);
    case F_DUPFD_CLOEXEC: return descriptor_duplicate(fd, a[2], true);
    case F_GETFD: return descriptor_close_on_exec(fd) ? FD_CLOEXEC : 0;
    case F_SETFD: descriptor_set_close_on_exec(fd, (a[2] & FD_CLOEXEC) != 0); return 0;
    case F_GETFL: return file->flags;
    case F_SETFL:
        file->flags = (file->flags & ~(uint32_t)CHANGEABLE) | ((uint32_t)a[2] & CHANGEABLE);
        return 0;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return descriptor_lock(fd, (int)a[1], a[2]);
    case F_ADD_SEALS:
    case F_GET_SEALS: return seals_fcntl(file, (int)a[1], a[2]);
    case F_GETOWN: return 0;
    case F_GETPIPE_SZ: return inode_is(file->inode, S_IFIFO) ? PIPE_CAPACITY : -EBADF;
    default: return -EINVAL;
    }
}

SYSCALL(ioctl)
{
    enum { FIONBIO = 0x5421, FIONCLEX = 0x5450, FIOCLEX = 0x5451 };
    int fd = (int)a[0];
    struct file *file = descriptor_get(fd);
    unsigned request = (unsigned)a[1];
    long result = 0;
    int on;

    if (file == NULL || (file->flags & O_PATH) != 0) {
        file_put(file);
        return -EBADF;
    }
    if (request == FIOCLEX || request == FIONCLEX) {
        descriptor_set_close_on_exec(fd, request == FIOCLEX);
    } else if (request == FIONBIO) {
        result = copy_in(&on, a[2], sizeof(on));
        if (result == 0) {
            file->flags = on != 0 ? file->flags | O_NONBLOCK : file->flags & ~(uint32_t)O_NONBLOCK;
        }
    } else {
        result = file->ops->ioctl == NULL ? -ENOTTY : file->ops->ioctl(file, request, a[2]);
    }
    file_put(file);
    return result;
}

static long pipe_call(uintptr_t user, uint64_t flags)
{
    struct file *reader;
    struct file *writer;
    int ends[2];

    if ((flags & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK)) != 0) {
        return -EINVAL;
    }
    int e = pipe_create(&reader, &writer, (unsigned)flags);
    if (e != 0) {
        return e;
    }
    ends[0] = descriptor_install(reader, (flags & O_CLOEXEC) != 0, 0);
    if (ends[0] < 0) {
        file_put(writer);
        return ends[0];
    }
    ends[1] = descriptor_install(writer, (flags & O_CLOEXEC) != 0, 0);
    e = ends[1] < 0 ? ends[1] : copy_out(user, ends, sizeof(ends));
    if (e != 0) {
        (void)descriptor_close(ends[0]);
        (void)descriptor_close(ends[1]);
    }
    return e;
}

SYSCALL(pipe) { return pipe_call(a[0], 0); }

SYSCALL(pipe2) { return pipe_call(a[0], a[1]); }

/* ---- directories ----------------------------------------------------------------------------- */

/* getdents64's record; the name, its 0 and padding to 8 bytes follow. */
struct directory_record {
    uint64_t ino;
    uint64_t offset;
    uint16_t length;
    uint8_t type;
    char name[FILE_NAME_MAX + 1 + 8];
} __attribute__((packed));

enum { RECORD_HEAD = offsetof(struct directory_record, name) };

/*
 * The entry at position `at` of a directory: 0 is ".", 1 is "..", and 2 + c is the first entry
 * behind cookie c.  The view's cookie is the position after it.
 */
static bool entry_at(struct inode *dir, uint64_t at, struct entry_view *view)
{
    int e = 0;

    if (at >= 2) {
        bool found = dir->ops->entry(dir, at - 2, view);
        view->cookie += 2;
        return found;
    }
    struct inode *inode = at == 0 ? inode_get(dir) : dir->ops->parent(dir, &e);
    memcpy(view->name, "..", 3);
    view->name[at + 1] = '\0';
    view->ino = inode == NULL ? dir->ino : inode->ino;
    view->mode = S_IFDIR;
    view->cookie = at + 1;
    inode_put(inode);
    return true;
}

static void record_fill(struct directory_record *record, const struct entry_view *view)
{
    size_t n = strlen(view->name);

    memset(record, 0, sizeof(*record));
    record->ino = view->ino;
    record->offset = view->cookie;
    record->length = (uint16_t)((RECORD_HEAD + n + 1 + 7) & ~(size_t)7);
    record->type = (uint8_t)((view->mode & S_IFMT) >> 12);
    memcpy(record->name, view->name, n + 1);
}

SYSCALL(getdents64)
{
    struct file *file = descriptor_peek(current, (int)a[0]);
    struct buffer to = {a[1], true};
    uint64_t left = (uint32_t)a[2];
    struct {
        struct entry_view view;
        struct directory_record record;
    } * work;
    long done = 0;
    long e = 0;

    if (file == NULL || (file->flags & O_PATH) != 0) {
        return -EBADF;
    }
    if (!inode_is(file->inode, S_IFDIR)) {
        return -ENOTDIR;
    }
    work = kmalloc(sizeof(*work));
    if (work == NULL) {
        return -ENOMEM;
    }
    while (entry_at(file->inode, file->offset, &work->view)) {
        record_fill(&work->record, &work->view);
        if (work->record.length > left) {
            e = -EINVAL;
            break;
        }
        if (buffer_put(&to, &work->record, work->record.length) != 0) {
            e = -EFAULT;
            break;
        }
        left -= work->record.length;
        done += work->record.length;
        file->offset = work->view.cookie;
    }
    kfree(work);
    return done > 0 ? done : e;
}
