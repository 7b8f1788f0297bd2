/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus, as drivers see it: functions of devices, and the 256 bytes that configure each.
 */
#ifndef KERNEL_PCI_H
#define KERNEL_PCI_H

#include "kernel.h"

/* One function of one device on bus 0: device * 8 + function. */
typedef uint8_t pci_t;
enum { PCI_FUNCTIONS = 256 };

uint32_t pci_id(pci_t f);                    /* device << 16 | vendor; all ones: nobody there */
uint32_t pci_read(pci_t f, unsigned offset); /* the aligned word that holds the byte */
uint8_t pci_read8(pci_t f, unsigned offset);
/* The next capability with this id behind offset `after` (0: the first); 0: there is none. */
unsigned pci_capability(pci_t f, unsigned after, uint8_t id);
/* The memory behind a base address register, or null: none, or none that the kernel can reach. */
volatile void *pci_memory(pci_t f, unsigned bar);
void pci_enable(pci_t f); /* it answers to its memory, and reads and writes ours */

#endif
