/* SPDX-License-Identifier: MIT */
/*
 * A device over memory, which ends its transfers at once, or late and in any order.
 *
 * It stores in words, as the workers do, so that a page which is written while a program stores in
 * it holds each word old or new.
 */
#define _GNU_SOURCE
#include "threads.h"

#include <time.h>

enum { QUEUE = 64 };

static struct {
    bool late;
    pthread_mutex_t lock;
    struct quire_io *queue[QUEUE];
    unsigned queued;
} device = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A device reads and writes memory without asking who else does. */
__attribute__((no_sanitize("thread"))) static void copy_words(volatile uint64_t *to,
                                                              const volatile uint64_t *from)
{
    for (unsigned i = 0; i < QUIRE_PAGE_SIZE / sizeof *to; i++)
        to[i] = from[i];
}

static void transfer(struct quire_io *io)
{
    const struct quire_config *c = &world.config;

    for (uint32_t i = 0; i < io->pages; i++) {
        uint64_t *page =
            (void *)((uint8_t *)c->direct_map + PAGE((uint64_t)(io->frames[i] - c->first_frame)));
        uint64_t *stored = (void *)((uint8_t *)io->cookie + io->offset + PAGE(i));

        copy_words(io->write ? stored : page, io->write ? page : stored);
    }
    quire_io_done(io, true);
}

static void start(void *cookie, struct quire_io *io)
{
    bool queued = false;

    (void)cookie;
    if (device.late) {
        pthread_mutex_lock(&device.lock);
        queued = device.queued < QUEUE;
        if (queued)
            device.queue[device.queued++] = io;
        pthread_mutex_unlock(&device.lock);
    }
    if (!queued)
        transfer(io);
}

const struct quire_pager device_pager = {.start = start, .stable = true};

/* End one transfer, any of those that wait. */
static bool device_work(struct worker *w)
{
    struct quire_io *io = NULL;

    pthread_mutex_lock(&device.lock);
    if (device.queued > 0) {
        unsigned i = below(w, device.queued);

        io = device.queue[i];
        device.queue[i] = device.queue[--device.queued];
    }
    pthread_mutex_unlock(&device.lock);
    if (io)
        transfer(io);
    return io != NULL;
}

/* There are fewer processors than threads, and the device needs one. */
static void sleep_a_little(struct test_world *w, struct quire_section *section)
{
    (void)w, (void)section;
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

void device_begin(bool late)
{
    device.late = late;
    world.wait_io = sleep_a_little;
}

/* Until the others have said that they have finished. */
static void device_serve(struct worker *w, uint32_t others)
{
    /* Who has ended has queued what it had, so that is asked before the queue is. */
    for (bool last = false; !last; sched_yield()) {
        last = said() == others;
        while (device_work(w))
            sched_yield();
    }
}

void device_round(struct worker *w, void (*manage)(struct worker *w),
                  void (*each)(struct worker *w))
{
    if (w->number == DEVICE) {
        device_serve(w, WORKERS - 1);
        return;
    }
    if (w->number == 0) {
        while (said() < WORKERS - 2)
            manage(w);
    } else {
        run(w, spaces[w->number]);
        each(w);
        run(w, NULL);
        soft_cpu_leave(w->cpu);
    }
    __atomic_fetch_add(&said_last, 1, __ATOMIC_ACQ_REL);
}
