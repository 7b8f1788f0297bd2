/* SPDX-License-Identifier: MIT */
/*
 * Virtio devices, version 1.0, on the PCI bus: what a driver needs to begin one, and its queue.
 */
#ifndef KERNEL_VIRTIO_H
#define KERNEL_VIRTIO_H

#include "pci.h"

enum { VIRTIO_BLOCK = 2, VIRTIO_QUEUE_MAX = 256 };

/* A piece of physical memory in a chain; `write`: the device fills it. */
struct virtio_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
enum { VIRTIO_NEXT = 1, VIRTIO_WRITE = 2 };

struct virtio_common; /* the registers that all devices have (virtio.c) */

/*
 * A device with one queue.  The descriptors are the driver's to divide: a chain that it has offered
 * is the device's until virtio_take returns its head.
 */
struct virtio {
    volatile struct virtio_common *common;
    volatile void *config;   /* what devices of its kind have besides */
    volatile uint16_t *door; /* tells it of new chains */
    struct virtio_descriptor *descriptors;
    struct virtio_offered *offered; /* heads on their way to the device */
    struct virtio_used *used;       /* and back */
    uint16_t size;                  /* of all three */
    uint16_t taken;                 /* heads that came back, so far */
};

/* Is there a device of this kind at f?  Its registers, if so, and it has been reset. */
bool virtio_open(struct virtio *v, pci_t f, uint16_t kind);
uint64_t virtio_features(const struct virtio *v); /* those that the device offers */
/*
 * Agree on features (those of `wanted` that it has; *got) and begin.  False: it does not want to,
 * or there is no memory; it is left alone then.
 */
bool virtio_begin(struct virtio *v, uint64_t wanted, uint64_t *got);
/* Offer the chain that begins with descriptor `head`. */
void virtio_offer(struct virtio *v, uint16_t head);
/* A chain that the device is done with; false: none now. */
bool virtio_take(struct virtio *v, uint16_t *head);

#endif
