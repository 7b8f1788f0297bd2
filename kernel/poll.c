/* SPDX-License-Identifier: MIT */
/*
 * Waiting for any of several files: poll, ppoll, select, pselect6.
 *
 * No file keeps a list of who polls it.  Whoever waits here sleeps until anything in the kernel
 * wakes anybody (sleep_on_any), looks at its files again, and goes on waiting if nothing changed.
 * That is wasteful with hundreds of waiters, and right with a shell's few.
 */
#include "vfs.h"

struct poll_entry {
    int fd;
    int16_t events, revents;
};

struct time_spec {
    int64_t seconds, fraction;
};

/* select's three sets, a bit for each descriptor. */
struct select_sets {
    uint64_t in[OPEN_MAX / 64], out[OPEN_MAX / 64], except[OPEN_MAX / 64];
};

/* A moment from a length of time; 0 (no deadline) when that is beyond reach. */
static uint64_t deadline_in(uint64_t ns)
{
    uint64_t at = now_ns() + ns;

    return at < ns ? 0 : at == 0 ? 1 : at;
}

/* Read a length of time whose fraction counts `unit` nanoseconds.  0 or -E; *none if user is null.
 */
static int deadline_get(uintptr_t user, uint64_t unit, bool *none, uint64_t *deadline)
{
    struct time_spec t;

    *deadline = 0;
    *none = user == 0;
    if (user == 0) {
        return 0;
    }
    if (copy_in(&t, user, sizeof(t)) != 0) {
        return -EFAULT;
    }
    if (t.seconds < 0 || t.fraction < 0 || (uint64_t)t.fraction >= 1000000000u / unit) {
        return -EINVAL;
    }
    /* Beyond three hundred years nobody is there to notice. */
    if (t.seconds < 10000000000) {
        *deadline = deadline_in((uint64_t)t.seconds * 1000000000u + (uint64_t)t.fraction * unit);
    } else {
        *none = true;
    }
    return 0;
}

static int poll_look(struct poll_entry *entries, size_t n)
{
    int ready = 0;

    for (size_t i = 0; i < n; i++) {
        struct file *file = entries[i].fd < 0 ? NULL : descriptor_peek(current, entries[i].fd);
        unsigned events = (uint16_t)entries[i].events | POLLERR | POLLHUP | POLLNVAL;
        unsigned found = entries[i].fd < 0 ? 0 : file == NULL ? POLLNVAL : file_poll(file);
        entries[i].revents = (int16_t)(found & events);
        ready += entries[i].revents != 0;
    }
    return ready;
}

/* The common part of both: a deadline of 0 with `forever` false cannot be, deadline_in sees to it.
 */
static long poll_wait(uintptr_t user, uint64_t n, bool forever, uint64_t deadline)
{
    struct poll_entry *entries = NULL;
    long result = 0;

    if (n > OPEN_MAX) {
        return -EINVAL;
    }
    size_t size = (size_t)n * sizeof(*entries);
    if (n > 0) {
        entries = kmalloc(size);
        if (entries == NULL) {
            return -ENOMEM;
        }
        if (copy_in(entries, user, size) != 0) {
            kfree(entries);
            return -EFAULT;
        }
    }
    for (;;) {
        result = poll_look(entries, n);
        if (result != 0 || (!forever && now_ns() >= deadline)) {
            break;
        }
        result = sleep_on_any(forever ? 0 : deadline);
        if (result != 0 && result != -ETIMEDOUT) {
            break;
        }
    }
    if (result >= 0 && n > 0 && copy_out(user, entries, size) != 0) {
        result = -EFAULT;
    }
    kfree(entries);
    return result;
}

SYSCALL(poll)
{
    int ms = (int)a[2];

    return poll_wait(a[0], a[1], ms < 0, ms < 0 ? 0 : deadline_in((uint64_t)ms * 1000000u));
}

SYSCALL(ppoll)
{
    uint64_t deadline;
    uint64_t mask;
    bool none;
    int e = deadline_get(a[2], 1, &none, &deadline);

    if (e != 0) {
        return e;
    }
    if (a[3] != 0) {
        if (a[4] != sizeof(mask)) {
            return -EINVAL;
        }
        if (copy_in(&mask, a[3], sizeof(mask)) != 0) {
            return -EFAULT;
        }
        signal_mask_for_call(mask);
    }
    return poll_wait(a[0], a[1], none, deadline);
}

static bool set_has(const uint64_t *set, unsigned fd)
{
    return (set[fd / 64] >> (fd % 64) & 1) != 0;
}

/* What of `wanted` is ready now, into `found`; how many bits that is, or -EBADF. */
static int select_look(const struct select_sets *wanted, struct select_sets *found, unsigned n)
{
    int ready = 0;

    memset(found, 0, sizeof(*found));
    for (unsigned fd = 0; fd < n; fd++) {
        uint64_t bit = 1ull << (fd % 64);
        bool in = set_has(wanted->in, fd);
        bool out = set_has(wanted->out, fd);
        if (!in && !out && !set_has(wanted->except, fd)) {
            continue;
        }
        struct file *file = descriptor_peek(current, (int)fd);
        if (file == NULL) {
            return -EBADF;
        }
        unsigned events = file_poll(file);
        if (in && (events & (POLLIN | POLLHUP | POLLERR)) != 0) {
            found->in[fd / 64] |= bit;
            ready++;
        }
        if (out && (events & (POLLOUT | POLLERR)) != 0) {
            found->out[fd / 64] |= bit;
            ready++;
        }
    }
    return ready;
}

/* Move the program's three sets in or out; each may be null. */
static int sets_copy(struct select_sets *sets, const uint64_t *a, unsigned n, bool out)
{
    size_t size = (size_t)(n + 63) / 64 * 8;
    uint64_t *each[3] = {sets->in, sets->out, sets->except};

    for (int i = 0; i < 3; i++) {
        uintptr_t user = a[1 + i];
        if (user == 0 || size == 0) {
            continue;
        }
        if ((out ? copy_out(user, each[i], size) : copy_in(each[i], user, size)) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

static long select_wait(const uint64_t *a, bool forever, uint64_t deadline)
{
    struct select_sets wanted;
    struct select_sets found;
    int count = (int)a[0];
    long result;

    if (count < 0) {
        return -EINVAL;
    }
    unsigned n = count < OPEN_MAX ? (unsigned)count : OPEN_MAX;
    memset(&wanted, 0, sizeof(wanted));
    if (sets_copy(&wanted, a, n, false) != 0) {
        return -EFAULT;
    }
    for (;;) {
        result = select_look(&wanted, &found, n);
        if (result != 0 || (!forever && now_ns() >= deadline)) {
            break;
        }
        result = sleep_on_any(forever ? 0 : deadline);
        if (result != 0 && result != -ETIMEDOUT) {
            break;
        }
    }
    if (result >= 0 && sets_copy(&found, a, n, true) != 0) {
        result = -EFAULT;
    }
    return result;
}

SYSCALL(select)
{
    uint64_t deadline;
    bool none;
    int e = deadline_get(a[4], 1000, &none, &deadline);

    return e != 0 ? e : select_wait(a, none, deadline);
}

SYSCALL(pselect6)
{
    struct {
        uint64_t mask, size;
    } masked;
    uint64_t mask;
    uint64_t deadline;
    bool none;
    int e = deadline_get(a[4], 1, &none, &deadline);

    if (e != 0) {
        return e;
    }
    if (a[5] != 0) {
        if (copy_in(&masked, a[5], sizeof(masked)) != 0) {
            return -EFAULT;
        }
        if (masked.mask != 0) {
            if (masked.size != sizeof(mask)) {
                return -EINVAL;
            }
            if (copy_in(&mask, masked.mask, sizeof(mask)) != 0) {
                return -EFAULT;
            }
            signal_mask_for_call(mask);
        }
    }
    return select_wait(a, none, deadline);
}
