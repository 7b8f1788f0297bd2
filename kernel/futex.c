/* SPDX-License-Identifier: MIT */
/*
 * futex: sleeping until somebody says that a word of memory has changed.
 *
 * A word is known by where its bytes are, not by its address: in a shared mapping by the section
 * and the offset in it, so that processes which map it at different places meet; in private memory
 * by the address space and the address.  Waiters are on one list, each a record on its own kernel
 * stack; kernel code is not preempted, so looking at the word and beginning to sleep are one step.
 */
#include "process.h"

enum {
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_REQUEUE = 3,
    FUTEX_CMP_REQUEUE = 4,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_PRIVATE = 128,
    FUTEX_REALTIME = 256,
};
#define ANY_BIT UINT32_MAX

/* Where a word is.  The object is a section or a struct mm. */
struct place {
    const void *object;
    uint64_t offset;
};

struct waiter {
    struct waiter *next;
    struct place place;
    uint32_t bits;
    bool woken;
    struct waitq queue;
};

static struct waiter *waiters;

static long place_find(uint64_t address, bool private, struct place *out)
{
    struct quire_region region;

    if (address % 4)
        return -EINVAL;
    if (!range_ok(address, 4))
        return -EFAULT;
    *out = (struct place){current->mm, address};
    if (private)
        return 0;
    if (quire_query(current->mm->space, address, &region) == QUIRE_OK && region.start <= address &&
        region.flags & QUIRE_REGION_SHARED)
        *out = (struct place){region.section, region.offset + (address - region.start)};
    return 0;
}

static bool same(const struct place *a, const struct place *b)
{
    return a->object == b->object && a->offset == b->offset;
}

static void waiter_remove(struct waiter *me)
{
    struct waiter **link = &waiters;

    while (*link != me)
        link = &(*link)->next;
    *link = me->next;
}

/* Those that came first are at the end of the list, and are woken first. */
static struct waiter *waiter_find(const struct place *place, uint32_t bits)
{
    struct waiter *found = NULL;

    for (struct waiter *w = waiters; w; w = w->next) {
        if (!w->woken && same(&w->place, place) && w->bits & bits)
            found = w;
    }
    return found;
}

static long wake(const struct place *place, uint64_t count, uint32_t bits)
{
    struct waiter *w;
    long woken = 0;

    while ((uint64_t)woken < count && (w = waiter_find(place, bits)) != NULL) {
        w->woken = true;
        wake_all(&w->queue);
        woken++;
    }
    return woken;
}

void futex_wake(uint64_t address)
{
    struct place place;

    if (place_find(address, false, &place) == 0)
        (void)wake(&place, 1, ANY_BIT);
}

/* The moment that the caller gave, in now_ns; 0: none.  Only FUTEX_WAIT counts from now. */
static long deadline_read(uintptr_t user, unsigned op, uint64_t *deadline)
{
    uint64_t t[2], ns, now = op & FUTEX_REALTIME ? wall_ns() : now_ns();

    *deadline = 0;
    if (!user)
        return 0;
    if (copy_in(t, user, sizeof t))
        return -EFAULT;
    if ((int64_t)t[0] < 0 || t[1] >= 1000000000)
        return -EINVAL;
    if (t[0] > UINT32_MAX)
        return 0;
    ns = t[0] * 1000000000 + t[1];
    if ((op & 127) == FUTEX_WAIT)
        *deadline = now_ns() + ns;
    else
        *deadline = now_ns() + (ns > now ? ns - now : 0);
    return 0;
}

static long word_read(uint64_t address, uint32_t *value)
{
    return copy_in(value, address, sizeof *value);
}

static long wait(const struct place *place, const uint64_t *a, uint32_t bits)
{
    struct waiter me = {.next = waiters, .place = *place, .bits = bits};
    uint64_t deadline;
    uint32_t value;
    long error = deadline_read(a[3], (unsigned)a[1], &deadline);

    if (!error)
        error = word_read(a[0], &value);
    if (error)
        return error;
    if (value != (uint32_t)a[2])
        return -EAGAIN;
    if (bits == 0)
        return -EINVAL;
    waiters = &me;
    while (!me.woken && !error)
        error = sleep_on_until(&me.queue, deadline);
    waiter_remove(&me);
    return me.woken ? 0 : error;
}

/* Wake some, and let others wait for another word instead. */
static long requeue(const struct place *from, const uint64_t *a, bool compare)
{
    struct place to;
    struct waiter *w;
    uint32_t value;
    long woken, moved = 0, error = place_find(a[4], (a[1] & FUTEX_PRIVATE) != 0, &to);

    if (!error && compare)
        error = word_read(a[0], &value);
    if (error)
        return error;
    if (compare && value != (uint32_t)a[5])
        return -EAGAIN;
    woken = wake(from, (uint32_t)a[2], ANY_BIT);
    while (!same(from, &to) && (uint64_t)moved < (uint32_t)a[3] &&
           (w = waiter_find(from, ANY_BIT)) != NULL) {
        w->place = to;
        moved++;
    }
    return compare ? woken + moved : woken;
}

long sys_futex(const uint64_t *a)
{
    struct place place;
    long error = place_find(a[0], (a[1] & FUTEX_PRIVATE) != 0, &place);

    if (error)
        return error;
    switch (a[1] & 127) {
    case FUTEX_WAIT: return wait(&place, a, ANY_BIT);
    case FUTEX_WAIT_BITSET: return wait(&place, a, (uint32_t)a[5]);
    case FUTEX_WAKE: return wake(&place, (uint32_t)a[2], ANY_BIT);
    case FUTEX_WAKE_BITSET:
        return (uint32_t)a[5] ? wake(&place, (uint32_t)a[2], (uint32_t)a[5]) : -EINVAL;
    case FUTEX_REQUEUE: return requeue(&place, a, false);
    case FUTEX_CMP_REQUEUE: return requeue(&place, a, true);
    default: return -ENOSYS;
    }
}
