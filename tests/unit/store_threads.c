/* SPDX-License-Identifier: MIT */
/*
 * A compressed store, called by several threads at once.
 *
 * Goal: each page reads as it was last written, whatever the others do, and every unit and record
 * comes back.  Method: each worker has pages, frames and transfers of its own; they share the
 * store, which has too few lanes, records and units for all of them.  The device is a thread that
 * ends transfers in any order.  Under the thread sanitizer, no two threads touch the same bytes
 * without a word between them.
 */
#include "store.h"

#include <pthread.h>
#include <sched.h>

enum { WORKERS = 4, OWN = FILE_PAGES / WORKERS, QUEUE = 64, STEPS = 600 };

struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t seed;
    enum content content[OWN];
    uint64_t numbers[OWN];
    uint64_t compared;
};

static struct worker workers[WORKERS];
/* ---- the device ------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    struct quire_io *queue[QUEUE];
    unsigned count;
    uint64_t ended;
    bool over;
} device = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void device_start(void *cookie, struct quire_io *io)
{
    (void)cookie;
    pthread_mutex_lock(&device.lock);
    CHECK(device.count < QUEUE);
    device.queue[device.count++] = io;
    pthread_mutex_unlock(&device.lock);
}

static void *device_main(void *argument)
{
    uint64_t random = 1;

    for (;;) {
        struct quire_io *io = NULL;

        pthread_mutex_lock(&device.lock);
        if (device.count > 0) {
            unsigned which = (unsigned)(test_random(&random) % device.count);

            io = device.queue[which];
            device.queue[which] = device.queue[--device.count];
        }
        bool over = device.over;
        pthread_mutex_unlock(&device.lock);
        if (!io && over)
            return argument;
        for (uint32_t i = 0; io && i < io->pages; i++) {
            uint8_t *frame = rig.frames[io->frames[i] - FIRST_FRAME];
            uint8_t *stored = rig.disk + io->offset + OFFSET(i);

            memcpy(io->write ? stored : frame, io->write ? frame : stored, QUIRE_PAGE_SIZE);
        }
        if (io) {
            device.ended++;
            quire_io_done(io, true);
        } else
            sched_yield();
    }
}

/* ---- the workers ----------------------------------------------------------------------------- */

static void step(struct worker *w)
{
    bool write = test_random(&w->seed) % 2;
    uint32_t first = (uint32_t)(test_random(&w->seed) % OWN);
    uint32_t pages = 1 + (uint32_t)(test_random(&w->seed) % (OWN - first));
    uint32_t frame = w->number * QUIRE_IO_PAGES;
    struct transfer t;

    for (uint32_t i = 0; write && i < pages; i++) {
        w->content[first + i] = (enum content)(test_random(&w->seed) % 3);
        w->numbers[first + i] = test_random(&w->seed);
        page_make(rig.frames[frame + i], w->content[first + i], w->numbers[first + i]);
    }
    transfer_begin(&t, write, w->number * OWN + first, frame, pages);
    while (!__atomic_load_n(&t.ended, __ATOMIC_ACQUIRE))
        sched_yield();
    CHECK(t.ok);
    for (uint32_t i = 0; !write && i < pages; i++)
        CHECK(page_is(rig.frames[frame + i], w->content[first + i], w->numbers[first + i]));
    w->compared += write ? 0 : pages;
    if (!write && test_random(&w->seed) % 4 == 0)
        info();
}

static void *worker_main(void *argument)
{
    for (unsigned i = 0; i < STEPS; i++)
        step(argument);
    return argument;
}

static void threads(void)
{
    static const struct quire_pager pager = {.start = device_start, .stable = true};
    pthread_t device_thread;
    uint64_t compared = 0;

    rig_begin();
    rig.w.options.threads = true;
    rig.config.pager = &pager;
    rig.config.lanes = 2;
    rig.config.transfers = 3;
    rig_open(2 * QUIRE_PAGE_SIZE / UNIT);
    CHECK(pthread_create(&device_thread, NULL, device_main, NULL) == 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.number = i, .seed = 100 + i};
        CHECK(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        compared += workers[i].compared;
    }
    pthread_mutex_lock(&device.lock);
    device.over = true;
    pthread_mutex_unlock(&device.lock);
    pthread_join(device_thread, NULL);
    FIGURES("%llu pages compared, %llu transfers of the device, %llu found no room",
            (unsigned long long)compared, (unsigned long long)device.ended,
            (unsigned long long)info().no_room);
    CHECK(compared > 0 && device.ended > 0 && info().no_room > 0);
    quire_store_pager.forget(rig.store, 0, FILE_PAGES);
    CHECK(info().used == 0 && info().pages == 0);
}

CHECK_MAIN("unit.store_threads", TEST(threads))
