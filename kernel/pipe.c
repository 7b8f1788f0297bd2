/* SPDX-License-Identifier: MIT */
/*
 * Pipes: a ring of 64 KiB between processes, in up to sixteen frames.
 *
 * `head` counts the bytes ever written and `tail` the bytes ever read; their difference is what is
 * in the pipe, and both taken modulo the capacity are places in the ring.  A frame is taken from
 * quire when the first byte goes into its part of the ring.  When the pipe runs empty both counts
 * return to 0, so that a pipe that never holds much keeps to its first frame.
 *
 * A write of at most 4096 bytes goes in whole or waits (or fails, non-blocking): never mixed with
 * another's.  Readers and writers are counted by open files; the last writer's end is end of file,
 * the last reader's end is SIGPIPE.
 *
 * A pipe with a name (a FIFO) is the same, made when the name is opened and gone with its last open
 * file.
 */
#include "vfs.h"

enum { PIPE_SIZE = 65536, PIPE_ATOMIC = 4096, PIPE_FRAMES = PIPE_SIZE / PAGE_SIZE };

struct pipe {
    uint8_t *frames[PIPE_FRAMES];
    uint64_t head, tail;
    unsigned readers, writers;
    uint64_t reader_openings, writer_openings; /* of a name, ever */
    struct inode *inode;                       /* not counted: the open files hold it */
    struct waitq waiters;
};

static size_t pipe_used(const struct pipe *p) { return (size_t)(p->head - p->tail); }

/* How many of n bytes lie in one frame at position `at` of the ring. */
static size_t pipe_part(uint64_t at, size_t n)
{
    size_t room = PAGE_SIZE - (size_t)(at % PAGE_SIZE);

    return n < room ? n : room;
}

static uint8_t *pipe_place(struct pipe *p, uint64_t at)
{
    uint8_t **frame = &p->frames[at % PIPE_SIZE / PAGE_SIZE];

    if (*frame == NULL) {
        *frame = frame_alloc();
    }
    return *frame == NULL ? NULL : *frame + at % PAGE_SIZE;
}

static long pipe_take(struct pipe *p, struct buffer *to, size_t n)
{
    size_t done = 0;

    while (done < n && pipe_used(p) > 0) {
        size_t part = pipe_part(p->tail, n - done < pipe_used(p) ? n - done : pipe_used(p));
        if (buffer_put(to, pipe_place(p, p->tail), part) != 0) {
            return done > 0 ? (long)done : -EFAULT;
        }
        p->tail += part;
        done += part;
    }
    if (p->head == p->tail) {
        p->head = 0;
        p->tail = 0;
    }
    return (long)done;
}

static long pipe_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    struct pipe *p = file->data;

    (void)offset;
    if (n == 0) {
        return 0;
    }
    while (pipe_used(p) == 0) {
        if (p->writers == 0) {
            return 0;
        }
        if ((file->flags & O_NONBLOCK) != 0) {
            return -EAGAIN;
        }
        int e = sleep_on(&p->waiters);
        if (e != 0) {
            return e;
        }
    }
    long done = pipe_take(p, to, n);
    if (done > 0) {
        wake_all(&p->waiters);
    }
    return done;
}

/* Put in up to n bytes, as many as there is room; or -E. */
static long pipe_give(struct pipe *p, struct buffer *from, size_t n)
{
    uint64_t start = p->head;
    size_t done = 0;

    while (done < n && pipe_used(p) < PIPE_SIZE) {
        size_t room = PIPE_SIZE - pipe_used(p);
        size_t part = pipe_part(p->head, n - done < room ? n - done : room);
        uint8_t *place = pipe_place(p, p->head);
        int e = place == NULL ? -ENOMEM : buffer_get(from, place, part);
        if (e != 0) {
            /* What should be atomic leaves no part behind. */
            if (n <= PIPE_ATOMIC) {
                p->head = start;
                return e;
            }
            return done > 0 ? (long)done : e;
        }
        p->head += part;
        done += part;
    }
    return (long)done;
}

static long pipe_write(struct file *file, struct buffer *from, size_t n, uint64_t offset)
{
    struct pipe *p = file->data;
    size_t need = n <= PIPE_ATOMIC ? n : 1;
    size_t done = 0;
    long e = 0;

    (void)offset;
    while (done < n) {
        if (p->readers == 0) {
            signal_send(current, SIGPIPE);
            e = -EPIPE;
            break;
        }
        if (PIPE_SIZE - pipe_used(p) >= need) {
            e = pipe_give(p, from, n - done);
            if (e < 0) {
                break;
            }
            done += (size_t)e;
            wake_all(&p->waiters);
            continue;
        }
        e = (file->flags & O_NONBLOCK) != 0 ? -EAGAIN : sleep_on(&p->waiters);
        if (e != 0) {
            break;
        }
    }
    return done > 0 ? (long)done : e;
}

static unsigned pipe_poll(struct file *file)
{
    struct pipe *p = file->data;
    unsigned ready = 0;

    if ((file->flags & O_ACCMODE) != O_WRONLY) {
        ready |= (pipe_used(p) > 0 ? POLLIN : 0) | (p->writers == 0 ? POLLHUP : 0);
    }
    if ((file->flags & O_ACCMODE) != O_RDONLY) {
        ready |= PIPE_SIZE - pipe_used(p) >= PIPE_ATOMIC ? POLLOUT : 0;
        ready |= p->readers == 0 ? POLLERR : 0;
    }
    return ready;
}

static long pipe_ioctl(struct file *file, unsigned request, uintptr_t argument)
{
    enum { FIONREAD = 0x541b };
    int used = (int)pipe_used(file->data);

    return request == FIONREAD ? copy_out(argument, &used, sizeof(used)) : -ENOTTY;
}

static void pipe_release(struct file *file)
{
    struct pipe *p = file->data;

    p->readers -= (file->flags & O_ACCMODE) != O_WRONLY;
    p->writers -= (file->flags & O_ACCMODE) != O_RDONLY;
    wake_all(&p->waiters);
    if (p->readers + p->writers == 0) {
        for (int i = 0; i < PIPE_FRAMES; i++) {
            frame_free(p->frames[i]);
        }
        p->inode->as.pipe = NULL;
        kfree(p);
    }
}

static const struct file_ops pipe_ops = {
    .seekable = false,
    .read = pipe_read,
    .write = pipe_write,
    .ioctl = pipe_ioctl,
    .poll = pipe_poll,
    .release = pipe_release,
};

static void pipe_attach(struct pipe *p, struct file *file)
{
    file->ops = &pipe_ops;
    file->data = p;
    p->readers += (file->flags & O_ACCMODE) != O_WRONLY;
    p->writers += (file->flags & O_ACCMODE) != O_RDONLY;
}

/* Another open file over a pipe that somebody has open: /proc/self/fd/N. */
static int pipe_open(struct inode *inode, struct file *file)
{
    if (inode->as.pipe == NULL) {
        return -ENXIO;
    }
    pipe_attach(inode->as.pipe, file);
    return 0;
}

/* The first open file over a name makes the pipe. */
static int fifo_make(struct inode *inode)
{
    if (inode->as.pipe != NULL) {
        return 0;
    }
    inode->as.pipe = kzalloc(sizeof(*inode->as.pipe));
    if (inode->as.pipe == NULL) {
        return -ENOMEM;
    }
    inode->as.pipe->inode = inode;
    return 0;
}

/*
 * Each side waits until the other side has been opened, even if it has gone since: so the openings
 * are counted, not the open files.
 */
int fifo_open(struct inode *inode, struct file *file)
{
    unsigned mode = file->flags & O_ACCMODE;
    int e = fifo_make(inode);

    if (e != 0) {
        return e;
    }
    struct pipe *p = inode->as.pipe;
    bool writes = mode == O_WRONLY;
    if (writes && (file->flags & O_NONBLOCK) != 0 && p->readers == 0) {
        if (p->writers == 0) {
            inode->as.pipe = NULL;
            kfree(p);
        }
        return -ENXIO;
    }
    pipe_attach(p, file);
    p->reader_openings += mode != O_WRONLY;
    p->writer_openings += mode != O_RDONLY;
    wake_all(&p->waiters);
    const uint64_t *other = writes ? &p->reader_openings : &p->writer_openings;
    uint64_t before = *other;
    while (mode != O_RDWR && (file->flags & O_NONBLOCK) == 0 && e == 0 && *other == before &&
           (writes ? p->readers : p->writers) == 0) {
        e = sleep_on(&p->waiters);
    }
    if (e != 0) {
        pipe_release(file);
    }
    return e;
}

static const struct inode_ops pipe_inode_ops = {
    .open = pipe_open,
};

int pipe_create(struct file **reader, struct file **writer, unsigned flags)
{
    struct inode *inode = inode_create(&pipe_inode_ops, DEVICE_PIPE, S_IFIFO | 0600);
    struct pipe *p = kzalloc(sizeof(*p));
    int e = -ENFILE;

    *reader = NULL;
    *writer = NULL;
    if (inode != NULL && p != NULL) {
        inode->as.pipe = p;
        p->inode = inode;
        *reader = file_open(inode, O_RDONLY | (flags & O_NONBLOCK), &e);
    }
    if (*reader == NULL) {
        kfree(p);
        inode_put(inode);
        return e;
    }
    *writer = file_open(inode, O_WRONLY | (flags & O_NONBLOCK), &e);
    inode_put(inode);
    if (*writer == NULL) {
        /* The reader was the pipe's only open file, and takes the pipe along. */
        file_put(*reader);
        *reader = NULL;
        return e;
    }
    return 0;
}
