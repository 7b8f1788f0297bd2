/* SPDX-License-Identifier: MIT */
/*
 * Disks: virtio's block devices (Virtual I/O Device, version 1.0, section 5.2), and memory that
 * passes for one.
 *
 * A request is a chain of descriptors: what is wanted and from which sector on, the pieces of
 * memory, one byte for the answer.  The descriptors are dealt out for good, CHAIN to each request,
 * so that a head that comes back names its request.  Requests come back in any order.  When all are
 * on their way, whoever wants one more waits for one to come back.
 *
 * A read need not begin or end with a sector, since files in an archive do not: a scrap of memory
 * that nobody looks at takes what comes before and behind, and the pages get the rest as it is to
 * lie in them.
 *
 * A device is asked whether it is done (blk_poll) when somebody waits for a transfer, and at each
 * tick of the clock for those that nobody waits for.  Kernel code is not preempted, so whoever
 * waits holds the processor; an interrupt would have nobody to wake.
 *
 * What is written is with the device when its answer comes; whether it outlives a loss of power is
 * the device's affair.  A page file need not, and nothing else here is written.
 */
#include "blk.h"

#include "cpu.h"
#include "virtio.h"

enum {
    DISKS = 8,
    SECTOR = 512,
    CHAIN = QUIRE_IO_PAGES + 4, /* the head, both scraps, the answer */
    REQUESTS = VIRTIO_QUEUE_MAX / CHAIN,
    TYPE_READ = 0,
    TYPE_WRITE = 1,
    SPIN = 1000,
    ANSWER_OK = 0,
    ANSWER_NONE = 0xff,
};
#define FEATURE_READ_ONLY (UINT64_C(1) << 5)
#define FEATURE_FLUSH (UINT64_C(1) << 9) /* unless we know of it, each write is also flushed */

/* What the device reads and writes itself begins with `type`. */
struct request {
    struct quire_io *io; /* null: the request is free */
    uint32_t type, reserved;
    uint64_t sector;
    uint8_t answer;
};
enum { HEAD_SIZE = 16 };

/* In a frame of its own, as the device must find its parts. */
struct blk {
    const uint8_t *memory; /* not a device */
    uint64_t size;         /* bytes */
    bool read_only;
    struct virtio device;
    struct request requests[REQUESTS];
    uint8_t scrap[SECTOR];
};
_Static_assert(sizeof(struct blk) <= PAGE_SIZE, "a frame holds a disk");

static struct blk *disks[DISKS];
static unsigned disk_count;

uint64_t blk_size(const struct blk *b) { return b->size; }

bool blk_read_only(const struct blk *b) { return b->read_only; }

struct blk *blk_get(unsigned i) { return i < disk_count ? disks[i] : NULL; }

/* ---- finding them ---------------------------------------------------------------------------- */

static uint64_t device_size(const struct virtio *v)
{
    volatile const uint32_t *sectors = v->config;

    return (sectors[0] | (uint64_t)sectors[1] << 32) * SECTOR;
}

uint64_t blk_room(void)
{
    struct virtio device;
    uint64_t room = 0;

    for (unsigned f = 0; f < PCI_FUNCTIONS; f++) {
        if (virtio_open(&device, (pci_t)f, VIRTIO_BLOCK) &&
            !(virtio_features(&device) & FEATURE_READ_ONLY))
            room += device_size(&device);
    }
    return room;
}

static bool disk_begin(struct blk *b)
{
    uint64_t features;

    if (!virtio_begin(&b->device, FEATURE_READ_ONLY | FEATURE_FLUSH, &features))
        return false;
    b->size = device_size(&b->device);
    b->read_only = features & FEATURE_READ_ONLY;
    return b->device.size >= CHAIN;
}

void blk_init(void)
{
    struct virtio device;

    for (unsigned f = 0; f < PCI_FUNCTIONS && disk_count < DISKS; f++) {
        if (!virtio_open(&device, (pci_t)f, VIRTIO_BLOCK))
            continue;
        struct blk *b = frame_alloc();

        if (!b)
            return;
        b->device = device;
        if (disk_begin(b)) {
            disks[disk_count++] = b;
        } else {
            kprintf("disk at %#x: cannot be used\n", f);
            frame_free(b);
        }
    }
}

struct blk *blk_of_memory(const void *bytes, uint64_t size)
{
    struct blk *b = kzalloc(sizeof *b);

    if (b) {
        b->memory = bytes;
        b->size = size;
        b->read_only = true;
    }
    return b;
}

/* ---- one transfer ---------------------------------------------------------------------------- */

/* Bytes of the i-th page that belong to a transfer of so many. */
static uint32_t page_part(uint64_t bytes, uint32_t i)
{
    uint64_t start = (uint64_t)i * PAGE_SIZE;
    uint64_t left = start < bytes ? bytes - start : 0;

    return left < PAGE_SIZE ? (uint32_t)left : PAGE_SIZE;
}

/* A chain that is being written down. */
struct chain {
    struct virtio_descriptor *descriptors; /* of the request */
    uint16_t first, count;
};

static void chain_add(struct chain *c, const void *memory, uint32_t length, uint16_t flags)
{
    if (length == 0)
        return;
    kassert(c->count < CHAIN);
    c->descriptors[c->count] = (struct virtio_descriptor){
        .address = physical_of(memory),
        .length = length,
        .flags = flags | VIRTIO_NEXT,
        .next = (uint16_t)(c->first + c->count + 1),
    };
    c->count++;
}

static void request_send(struct blk *b, unsigned i, uint64_t at, uint64_t bytes)
{
    struct request *r = &b->requests[i];
    const struct quire_io *io = r->io;
    uint16_t way = io->write ? 0 : VIRTIO_WRITE;
    uint32_t before = (uint32_t)(at % SECTOR);
    uint32_t behind = (uint32_t)(-(at + bytes) % SECTOR);
    struct chain c = {&b->device.descriptors[i * CHAIN], (uint16_t)(i * CHAIN), 0};

    r->type = io->write ? TYPE_WRITE : TYPE_READ;
    r->sector = at / SECTOR;
    r->answer = ANSWER_NONE;
    chain_add(&c, &r->type, HEAD_SIZE, 0);
    chain_add(&c, b->scrap, before, way);
    for (uint32_t page = 0; page < io->pages; page++)
        chain_add(&c, frame_address(io->frames[page]), page_part(bytes, page), way);
    chain_add(&c, b->scrap, behind, way);
    chain_add(&c, &r->answer, 1, VIRTIO_WRITE);
    c.descriptors[c.count - 1].flags = VIRTIO_WRITE;
    virtio_offer(&b->device, c.first);
}

void blk_pause(void)
{
    for (int i = 0; i < SPIN; i++)
        __asm__ volatile("" : : : "memory");
}

static bool disk_poll(struct blk *b)
{
    uint16_t head;
    bool some = false;

    while (virtio_take(&b->device, &head)) {
        struct request *r = &b->requests[head / CHAIN];
        struct quire_io *io = r->io;

        kassert(head % CHAIN == 0 && head / CHAIN < REQUESTS);
        kassert(io);
        r->io = NULL;
        quire_io_done(io, r->answer == ANSWER_OK);
        some = true;
    }
    return some;
}

/* A free request. */
static unsigned request_find(struct blk *b)
{
    unsigned count = b->device.size / CHAIN;

    for (;;) {
        for (unsigned i = 0; i < count; i++) {
            if (!b->requests[i].io)
                return i;
        }
        while (!disk_poll(b))
            blk_pause();
    }
}

static void memory_copy(const struct blk *b, const struct quire_io *io, uint64_t at, uint64_t bytes)
{
    for (uint32_t page = 0; page < io->pages; page++)
        memcpy(frame_address(io->frames[page]), b->memory + at + (uint64_t)page * PAGE_SIZE,
               page_part(bytes, page));
}

void blk_transfer(struct blk *b, struct quire_io *io, uint64_t at, uint64_t bytes)
{
    kassert(bytes <= (uint64_t)io->pages * PAGE_SIZE);
    kassert(!io->write || (at % SECTOR == 0 && bytes % SECTOR == 0));
    if (at > b->size || bytes > b->size - at || (io->write && b->read_only)) {
        quire_io_done(io, false);
        return;
    }
    for (uint32_t page = 0; page < io->pages && !io->write; page++) {
        uint32_t part = page_part(bytes, page);

        memset((uint8_t *)frame_address(io->frames[page]) + part, 0, PAGE_SIZE - part);
    }
    if (b->memory && bytes > 0)
        memory_copy(b, io, at, bytes);
    if (b->memory || bytes == 0) {
        quire_io_done(io, true);
        return;
    }
    unsigned i = request_find(b);

    b->requests[i].io = io;
    request_send(b, i, at, bytes);
}

static void whole_start(void *cookie, struct quire_io *io)
{
    struct blk *b = cookie;
    uint64_t bytes = (uint64_t)io->pages * PAGE_SIZE;
    uint64_t left = io->offset < b->size ? b->size - io->offset : 0;

    blk_transfer(b, io, io->offset, bytes < left ? bytes : left);
}

const struct quire_pager blk_pager = {.start = whole_start, .stable = true};

bool blk_poll(void)
{
    bool some = false;

    for (unsigned i = 0; i < disk_count; i++)
        some |= disk_poll(disks[i]);
    return some;
}

static bool is_waiting(void)
{
    for (unsigned i = 0; i < disk_count; i++) {
        for (unsigned k = 0; k < REQUESTS; k++) {
            if (disks[i]->requests[k].io)
                return true;
        }
    }
    return false;
}

bool blk_wait(void)
{
    if (!is_waiting())
        return false;
    while (!blk_poll())
        blk_pause();
    return true;
}
