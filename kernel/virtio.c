/* SPDX-License-Identifier: MIT */
/*
 * The virtio transport over PCI (Virtual I/O Device, version 1.0, sections 2.4, 3.1 and 4.1).
 *
 * A device shows where its registers are by capabilities of PCI's vendor kind: which base address
 * register, and how far behind it.  It is begun by a short dialogue: reset, "I have seen you", "I
 * can drive you", the features that both sides know, the addresses of the queue, "go".
 *
 * A queue is three arrays in our memory: descriptors, each a piece of memory and perhaps the next
 * of its chain; heads of chains that we offer, a ring that only we write; and the heads that come
 * back, a ring that only the device writes, in the order in which it is done and not in which they
 * were offered.  Both rings have a count that runs on and wraps at 16 bits.
 *
 * Nobody is interrupted: this kernel looks for what came back when it waits, and at each tick
 * (blk.c says why).  On this machine stores are seen in their order, so the compiler is all that
 * must be held back.
 */
#include "virtio.h"

#include "cpu.h"

enum {
    VENDOR = 0x1af4,
    DEVICE_OLD = 0x1000, /* and the kind, less one: knows the older way too */
    DEVICE_NEW = 0x1040, /* and the kind */
    CAPABILITY_VENDOR = 9,
    PART_COMMON = 1, /* the values of a capability's fourth byte */
    PART_NOTIFY = 2,
    PART_CONFIG = 4,
    STATUS_SEEN = 1,
    STATUS_DRIVER = 2,
    STATUS_GO = 4,
    STATUS_AGREED = 8,
    STATUS_FAILED = 128,
    NO_INTERRUPT = 1,
    USED_OFFSET = 1024, /* of the returning ring in the page of the rings */
};
#define FEATURE_VERSION_1 (UINT64_C(1) << 32)

struct virtio_common {
    uint32_t device_feature_select, device_feature;
    uint32_t driver_feature_select, driver_feature;
    uint16_t config_vector, queue_count;
    uint8_t status, generation;
    uint16_t queue_select, queue_size, queue_vector, queue_enable, queue_door;
    uint32_t descriptors[2], offered[2], used[2]; /* low half first */
};
_Static_assert(sizeof(struct virtio_common) == 56, "the registers of section 4.1.4.3");

struct virtio_offered {
    uint16_t flags, count;
    uint16_t heads[VIRTIO_QUEUE_MAX];
};

struct virtio_used {
    uint16_t flags, count;
    struct {
        uint32_t head, length;
    } chains[VIRTIO_QUEUE_MAX];
};
_Static_assert(sizeof(struct virtio_descriptor) * VIRTIO_QUEUE_MAX <= PAGE_SIZE, "one page");
_Static_assert(sizeof(struct virtio_offered) <= USED_OFFSET, "the first ring");
_Static_assert(USED_OFFSET + sizeof(struct virtio_used) <= PAGE_SIZE, "both rings in one page");

/* The registers of one part, or null; *capability is where it was found. */
static volatile void *part_find(pci_t f, uint8_t part, unsigned *capability)
{
    for (unsigned at = 0; (at = pci_capability(f, at, CAPABILITY_VENDOR)) != 0;) {
        if (pci_read8(f, at + 3) != part)
            continue;
        volatile uint8_t *memory = pci_memory(f, pci_read8(f, at + 4));

        *capability = at;
        return memory ? memory + pci_read(f, at + 8) : NULL;
    }
    return NULL;
}

bool virtio_open(struct virtio *v, pci_t f, uint16_t kind)
{
    uint32_t id = pci_id(f);
    unsigned at;
    volatile uint8_t *doors;

    if (id != ((uint32_t)(DEVICE_NEW + kind) << 16 | VENDOR) &&
        id != ((uint32_t)(DEVICE_OLD + kind - 1) << 16 | VENDOR))
        return false;
    pci_enable(f);
    v->common = part_find(f, PART_COMMON, &at);
    v->config = part_find(f, PART_CONFIG, &at);
    doors = part_find(f, PART_NOTIFY, &at);
    if (!v->common || !v->config || !doors)
        return false;
    v->common->status = 0;
    while (v->common->status != 0)
        __asm__ volatile("pause");
    v->common->queue_select = 0;
    v->door = (volatile uint16_t *)(volatile void *)(doors +
                                                     v->common->queue_door * pci_read(f, at + 16));
    return true;
}

uint64_t virtio_features(const struct virtio *v)
{
    volatile struct virtio_common *common = v->common;
    uint64_t low;

    common->device_feature_select = 0;
    low = common->device_feature;
    common->device_feature_select = 1;
    return (uint64_t)common->device_feature << 32 | low;
}

static bool features_agree(volatile struct virtio_common *common, uint64_t features)
{
    common->driver_feature_select = 0;
    common->driver_feature = (uint32_t)features;
    common->driver_feature_select = 1;
    common->driver_feature = (uint32_t)(features >> 32);
    common->status = STATUS_SEEN | STATUS_DRIVER | STATUS_AGREED;
    return features & FEATURE_VERSION_1 && common->status & STATUS_AGREED;
}

static void address_set(volatile uint32_t *halves, const void *memory)
{
    uint64_t address = physical_of(memory);

    halves[0] = (uint32_t)address;
    halves[1] = (uint32_t)(address >> 32);
}

static bool queue_begin(struct virtio *v)
{
    uint8_t *rings = frame_alloc();

    v->descriptors = frame_alloc();
    if (!rings || !v->descriptors) {
        frame_free(rings);
        frame_free(v->descriptors);
        return false;
    }
    v->offered = (void *)rings;
    v->used = (void *)(rings + USED_OFFSET);
    v->offered->flags = NO_INTERRUPT;
    v->taken = 0;
    v->size = v->common->queue_size < VIRTIO_QUEUE_MAX ? v->common->queue_size : VIRTIO_QUEUE_MAX;
    v->common->queue_size = v->size;
    address_set(v->common->descriptors, v->descriptors);
    address_set(v->common->offered, v->offered);
    address_set(v->common->used, v->used);
    v->common->queue_enable = 1;
    return true;
}

bool virtio_begin(struct virtio *v, uint64_t wanted, uint64_t *got)
{
    v->common->status = STATUS_SEEN;
    v->common->status = STATUS_SEEN | STATUS_DRIVER;
    *got = virtio_features(v) & (wanted | FEATURE_VERSION_1);
    if (!features_agree(v->common, *got) || !queue_begin(v)) {
        v->common->status = STATUS_FAILED;
        return false;
    }
    v->common->status = STATUS_SEEN | STATUS_DRIVER | STATUS_AGREED | STATUS_GO;
    return true;
}

void virtio_offer(struct virtio *v, uint16_t head)
{
    uint16_t count = v->offered->count;

    v->offered->heads[count % v->size] = head;
    __atomic_store_n(&v->offered->count, (uint16_t)(count + 1), __ATOMIC_RELEASE);
    *v->door = 0;
}

bool virtio_take(struct virtio *v, uint16_t *head)
{
    if (__atomic_load_n(&v->used->count, __ATOMIC_ACQUIRE) == v->taken)
        return false;
    *head = (uint16_t)v->used->chains[v->taken % v->size].head;
    v->taken++;
    return true;
}
