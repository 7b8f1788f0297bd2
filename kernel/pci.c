/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus: who is there, and where the firmware has put its memory.
 *
 * Bus 0 alone, by the two ports that every PC has; QEMU's devices are there unless they are told to
 * be elsewhere.  The firmware has given every device its addresses, and they are taken as they are;
 * the kernel's direct map covers the first 4 GiB, in which firmware puts everything small.
 */
#include "pci.h"

#include "cpu.h"

enum {
    CONFIG_ADDRESS = 0xcf8,
    CONFIG_DATA = 0xcfc,
    OFFSET_COMMAND = 4,
    OFFSET_STATUS = 6,
    OFFSET_BARS = 0x10,
    OFFSET_CAPABILITIES = 0x34,
    COMMAND_MEMORY = 2,
    COMMAND_MASTER = 4,
    STATUS_CAPABILITIES = 0x10,
    BAR_IO = 1,
    BAR_64 = 4,
    CAPABILITIES_MAX = 48, /* that fit; a ring of them ends here */
};

static void address_select(pci_t f, unsigned offset)
{
    out32(CONFIG_ADDRESS, 0x80000000u | (uint32_t)f << 8 | (offset & 0xfc));
}

uint32_t pci_read(pci_t f, unsigned offset)
{
    address_select(f, offset);
    return in32(CONFIG_DATA);
}

uint8_t pci_read8(pci_t f, unsigned offset)
{
    return (uint8_t)(pci_read(f, offset) >> (offset & 3) * 8);
}

uint32_t pci_id(pci_t f) { return pci_read(f, 0); }

unsigned pci_capability(pci_t f, unsigned after, uint8_t id)
{
    unsigned at = after ? after + 1 : OFFSET_CAPABILITIES;

    if (!(pci_read8(f, OFFSET_STATUS) & STATUS_CAPABILITIES))
        return 0;
    for (unsigned i = 0; i < CAPABILITIES_MAX; i++) {
        unsigned next = pci_read8(f, at) & 0xfc;

        if (next == 0 || pci_read8(f, next) == id)
            return next;
        at = next + 1;
    }
    return 0;
}

volatile void *pci_memory(pci_t f, unsigned bar)
{
    uint32_t low = pci_read(f, OFFSET_BARS + bar * 4);

    if (low & BAR_IO || (low & -16u) == 0)
        return NULL;
    if (low & BAR_64 && pci_read(f, OFFSET_BARS + bar * 4 + 4) != 0)
        return NULL;
    return direct(low & -16u);
}

void pci_enable(pci_t f)
{
    uint32_t command = pci_read(f, OFFSET_COMMAND) & 0xffff; /* status: zeros change nothing */

    address_select(f, OFFSET_COMMAND);
    out32(CONFIG_DATA, command | COMMAND_MEMORY | COMMAND_MASTER);
}
