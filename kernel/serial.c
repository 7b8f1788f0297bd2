/* SPDX-License-Identifier: MIT */
/*
 * The first serial port: the console.  Output waits for the transmitter; input comes by interrupt
 * and goes to the tty.  The interrupt drains the receiver, so that one lost edge does not silence
 * the line.
 */
#include "cpu.h"

enum {
    COM1 = 0x3f8,
    DATA = COM1,
    ENABLE = COM1 + 1,
    FIFO = COM1 + 2,
    LINE = COM1 + 3,
    MODEM = COM1 + 4,
    STATUS = COM1 + 5,
    STATUS_RECEIVED = 1,
    STATUS_EMPTY = 0x20,
};

void serial_init(void)
{
    out8(ENABLE, 0);
    out8(LINE, 0x80);
    out8(DATA, 1); /* 115200 */
    out8(ENABLE, 0);
    out8(LINE, 3); /* 8 bits, no parity, one stop bit */
    out8(FIFO, 0x07);
    out8(MODEM, 0x0b);
}

/* Let the line interrupt; the tty must be ready. */
void serial_listen(void)
{
    out8(ENABLE, 1);
    irq_enable(IRQ_SERIAL);
}

void serial_interrupt(void)
{
    while (in8(STATUS) & STATUS_RECEIVED)
        tty_input(in8(DATA));
}

void console_write(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        while (!(in8(STATUS) & STATUS_EMPTY))
            __asm__ volatile("pause");
        out8(DATA, (uint8_t)bytes[i]);
    }
}
