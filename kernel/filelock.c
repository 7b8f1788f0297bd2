/* SPDX-License-Identifier: MIT */
/*
 * Advisory locks on files, of Linux's three kinds:
 *
 *   fcntl F_SETLK    a range of bytes, owned by the process (its table of open files): any close of
 *                    the file gives it up, fork does not inherit it, exec keeps it
 *   F_OFD_SETLK      a range of bytes, owned by the open file: the last close gives it up
 *   flock            the whole file, owned by the open file; the other two do not see it
 *
 * Each inode has a list of records, one for each range that one owner holds in one way; an owner's
 * records do not overlap.  Changing a range first takes what it covers off the owner's records,
 * which can cut one in two, then adds a record for the new state.  Both need at most one record
 * each, taken before anything changes.
 *
 * Who waits for a lock sleeps on one queue with all others and looks again when any is given up.
 * Before F_SETLKW sleeps it follows who waits for whom, and does not close a circle.
 */
#include "vfs.h"

enum {
    F_RDLCK = 0,
    F_WRLCK = 1,
    F_UNLCK = 2,
    LOCK_SH = 1,
    LOCK_EX = 2,
    LOCK_NB = 4,
    LOCK_UN = 8,
    CIRCLE_MAX = 64, /* steps that are followed from one waiter to the next */
};

struct file_lock {
    struct file_lock *next;
    const void *owner;   /* struct files or struct file */
    uint64_t start, end; /* bytes [start, end] */
    int pid;             /* what F_GETLK tells; -1 for locks of open files */
    bool whole;          /* flock's */
    bool exclusive;
};

/* Linux's struct flock. */
struct user_lock {
    int16_t type, whence;
    int32_t pad;
    int64_t start, length;
    int32_t pid, pad2;
};

static struct waitq lock_waiters;

/* Everybody who waits for a process's lock: to find circles. */
struct lock_waiter {
    struct lock_waiter *next;
    const struct inode *inode;
    const struct file_lock *wanted;
};
static struct lock_waiter *waiters;

static bool overlaps(const struct file_lock *a, const struct file_lock *b)
{
    return a->start <= b->end && b->start <= a->end;
}

/* The first lock that stands against `wanted`, or null. */
static const struct file_lock *conflict(const struct inode *inode, const struct file_lock *wanted)
{
    for (const struct file_lock *l = inode->locks; l != NULL; l = l->next) {
        if (l->whole == wanted->whole && l->owner != wanted->owner &&
            (l->exclusive || wanted->exclusive) && overlaps(l, wanted)) {
            return l;
        }
    }
    return NULL;
}

/* Take the range off the owner's records; `spare` becomes the second half of one that is cut, or is
 * returned. */
static struct file_lock *owned_cut(struct inode *inode, const struct file_lock *wanted,
                                   struct file_lock *spare)
{
    struct file_lock **link = &inode->locks;

    while (*link != NULL) {
        struct file_lock *l = *link;
        if (l->owner != wanted->owner || l->whole != wanted->whole || !overlaps(l, wanted)) {
            link = &l->next;
        } else if (l->start >= wanted->start && l->end <= wanted->end) {
            *link = l->next;
            kfree(l);
        } else if (l->start < wanted->start && l->end > wanted->end) {
            *spare = *l;
            spare->start = wanted->end + 1;
            l->end = wanted->start - 1;
            l->next = spare;
            return NULL;
        } else if (l->start < wanted->start) {
            l->end = wanted->start - 1;
            link = &l->next;
        } else {
            l->start = wanted->end + 1;
            link = &l->next;
        }
    }
    return spare;
}

/* Make the owner hold the range as `wanted` says, or not at all. */
static int lock_apply(struct inode *inode, const struct file_lock *wanted, bool hold)
{
    struct file_lock *spare = kmalloc(sizeof(*spare));
    struct file_lock *held = hold ? kmalloc(sizeof(*held)) : NULL;

    if (spare == NULL || (hold && held == NULL)) {
        kfree(spare);
        kfree(held);
        return -ENOLCK;
    }
    kfree(owned_cut(inode, wanted, spare));
    if (hold) {
        *held = *wanted;
        held->next = inode->locks;
        inode->locks = held;
    }
    wake_all(&lock_waiters);
    return 0;
}

void locks_release(struct inode *inode, const void *owner)
{
    struct file_lock **link = &inode->locks;
    bool any = false;

    while (*link != NULL) {
        struct file_lock *l = *link;
        if (l->owner == owner) {
            *link = l->next;
            kfree(l);
            any = true;
        } else {
            link = &l->next;
        }
    }
    if (any) {
        wake_all(&lock_waiters);
    }
}

static const struct lock_waiter *waiter_find(const void *owner)
{
    const struct lock_waiter *w = waiters;

    while (w != NULL && w->wanted->owner != owner) {
        w = w->next;
    }
    return w;
}

/* Does the one in the way of `wanted` wait for another, and so on, back to its owner? */
static bool circle(const struct inode *inode, const struct file_lock *wanted)
{
    const struct file_lock *in_the_way = conflict(inode, wanted);

    for (int steps = 0; in_the_way != NULL && steps < CIRCLE_MAX; steps++) {
        const struct lock_waiter *w = waiter_find(in_the_way->owner);
        if (w == NULL) {
            return false;
        }
        in_the_way = conflict(w->inode, w->wanted);
        if (in_the_way != NULL && in_the_way->owner == wanted->owner) {
            return true;
        }
    }
    return false;
}

static void waiter_remove(struct lock_waiter *me)
{
    struct lock_waiter **link = &waiters;

    while (*link != me) {
        link = &(*link)->next;
    }
    *link = me->next;
}

static int lock_take(struct inode *inode, const struct file_lock *wanted, bool wait)
{
    struct lock_waiter me = {.inode = inode, .wanted = wanted};
    int e = 0;

    while (conflict(inode, wanted) != NULL && e == 0) {
        if (!wait) {
            return -EAGAIN;
        }
        if (wanted->pid >= 0 && circle(inode, wanted)) {
            return -EDEADLK;
        }
        me.next = waiters;
        waiters = &me;
        e = sleep_on(&lock_waiters);
        waiter_remove(&me);
    }
    return e != 0 ? e : lock_apply(inode, wanted, true);
}

/* The bytes that a program's record names, counted from the start of the file.  0 or -E. */
static int range_read(const struct file *file, const struct user_lock *user, struct file_lock *lock)
{
    int64_t base = user->whence == 0   ? 0
                   : user->whence == 1 ? (int64_t)file->offset
                                       : (int64_t)inode_size(file->inode);
    int64_t start;
    int64_t end = INT64_MAX;

    if (user->whence < 0 || user->whence > 2) {
        return -EINVAL;
    }
    if (__builtin_add_overflow(base, user->start, &start)) {
        return -EOVERFLOW;
    }
    if (user->length > 0 && __builtin_add_overflow(start, user->length - 1, &end)) {
        return -EOVERFLOW;
    }
    if (user->length < 0) {
        end = start - 1;
        start += user->length;
    }
    if (start < 0) {
        return -EINVAL;
    }
    lock->start = (uint64_t)start;
    lock->end = (uint64_t)end;
    return 0;
}

/* F_GETLK: what stands in the way, as the program counts it. */
static void lock_tell(const struct inode *inode, const struct file_lock *wanted,
                      struct user_lock *user)
{
    const struct file_lock *l = conflict(inode, wanted);

    if (l == NULL) {
        user->type = F_UNLCK;
        return;
    }
    user->type = l->exclusive ? F_WRLCK : F_RDLCK;
    user->whence = 0;
    user->start = (int64_t)l->start;
    user->length = l->end == INT64_MAX ? 0 : (int64_t)(l->end - l->start + 1);
    user->pid = l->pid;
}

long lock_fcntl(struct file *file, int command, uintptr_t user)
{
    bool ofd = command >= F_OFD_GETLK;
    int what = ofd ? command - F_OFD_GETLK + F_GETLK : command;
    struct file_lock lock = {.owner = ofd ? (const void *)file : current->files,
                             .pid = ofd ? -1 : current->pid};
    struct user_lock u;
    unsigned mode = file->flags & O_ACCMODE;

    if (copy_in(&u, user, sizeof(u)) != 0) {
        return -EFAULT;
    }
    int e = range_read(file, &u, &lock);
    if (e == 0 && (u.type < F_RDLCK || u.type > F_UNLCK || (ofd && u.pid != 0))) {
        e = -EINVAL;
    }
    if (e != 0) {
        return e;
    }
    lock.exclusive = u.type == F_WRLCK;
    if (what == F_GETLK) {
        if (u.type == F_UNLCK) {
            return -EINVAL;
        }
        lock_tell(file->inode, &lock, &u);
        return copy_out(user, &u, sizeof(u));
    }
    if (u.type == F_UNLCK) {
        return lock_apply(file->inode, &lock, false);
    }
    if (mode == (lock.exclusive ? O_RDONLY : O_WRONLY)) {
        return -EBADF;
    }
    return lock_take(file->inode, &lock, what == F_SETLKW);
}

SYSCALL(flock)
{
    struct file *file = descriptor_get((int)a[0]);
    struct file_lock lock = {.owner = file, .pid = -1, .whole = true, .end = INT64_MAX};
    uint64_t operation = a[1] & ~(uint64_t)LOCK_NB;
    long e = -EINVAL;

    if (file == NULL) {
        return -EBADF;
    }
    lock.exclusive = operation == LOCK_EX;
    if (operation == LOCK_UN) {
        e = lock_apply(file->inode, &lock, false);
    } else if (operation == LOCK_SH || operation == LOCK_EX) {
        /* Changing a lock gives the old one up first, as Linux does. */
        e = lock_apply(file->inode, &lock, false);
        e = e != 0 ? e : lock_take(file->inode, &lock, (a[1] & LOCK_NB) == 0);
    }
    file_put(file);
    return e;
}
