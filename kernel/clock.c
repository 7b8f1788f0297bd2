/* SPDX-License-Identifier: MIT */
/*
 * Time: the time-stamp counter for reading it, the old interval timer for interrupts, the real-time
 * clock for the date at boot.
 *
 * The counter's rate is measured once against channel 2 of the interval timer, over 10 ms.
 */
#include "cpu.h"

enum {
    PIT_HZ = 1193182,
    PIT_0 = 0x40,
    PIT_2 = 0x42,
    PIT_COMMAND = 0x43,
    PIT_GATE = 0x61,
    CMOS_INDEX = 0x70,
    CMOS_DATA = 0x71,
    CALIBRATE_MS = 10,
};
#define NS_PER_SECOND UINT64_C(1000000000)

static uint64_t tsc_start;
static uint64_t ns_per_cycle; /* times 2^32 */
static uint64_t boot_wall_ns;
static uint64_t ticks;

uint64_t timer_ticks(void) { return ticks; }

void clock_tick(void) { ticks++; }

uint64_t clock_cycles_to_ns(uint64_t cycles)
{
    return (uint64_t)(((unsigned __int128)cycles * ns_per_cycle) >> 32);
}

uint64_t now_ns(void) { return clock_cycles_to_ns(tsc_read() - tsc_start); }

uint64_t wall_ns(void) { return boot_wall_ns + now_ns(); }

static void tsc_measure(void)
{
    unsigned count = PIT_HZ * CALIBRATE_MS / 1000;
    uint64_t start, cycles;

    out8(PIT_GATE, (uint8_t)((in8(PIT_GATE) & ~2u) | 1u));
    out8(PIT_COMMAND, 0xb0); /* channel 2, one shot */
    out8(PIT_2, count & 0xff);
    out8(PIT_2, (uint8_t)(count >> 8));
    start = tsc_read();
    while (!(in8(PIT_GATE) & 0x20))
        __asm__ volatile("pause");
    cycles = tsc_read() - start;
    tsc_start = start;
    if (cycles == 0)
        cycles = 1;
    ns_per_cycle = ((uint64_t)CALIBRATE_MS * 1000000 << 32) / cycles;
}

static unsigned cmos(uint8_t index)
{
    out8(CMOS_INDEX, index);
    return in8(CMOS_DATA);
}

static unsigned from_bcd(unsigned value) { return (value >> 4) * 10 + (value & 15); }

/* Days from 1970-01-01 to a date of the years 2000 to 2099. */
static uint64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
    static const uint16_t before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t days =
        10957 + (uint64_t)year * 365 + (year + 3) / 4 + before[(month - 1) % 12] + day - 1;

    return days + (month > 2 && year % 4 == 0 ? 1 : 0);
}

static void date_read(void)
{
    unsigned second, minute, hour, day, month, year;

    do {
        while (cmos(10) & 0x80)
            __asm__ volatile("pause");
        second = cmos(0);
        minute = cmos(2);
        hour = cmos(4);
        day = cmos(7);
        month = cmos(8);
        year = cmos(9);
    } while (second != cmos(0));
    if (!(cmos(11) & 4)) {
        second = from_bcd(second);
        minute = from_bcd(minute);
        hour = from_bcd(hour & 0x7f);
        day = from_bcd(day);
        month = from_bcd(month);
        year = from_bcd(year);
    }
    boot_wall_ns =
        (days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) *
        NS_PER_SECOND;
}

void clock_init(void)
{
    unsigned divisor = PIT_HZ / TICKS_PER_SECOND;

    tsc_measure();
    date_read();
    out8(PIT_COMMAND, 0x34); /* channel 0, periodic */
    out8(PIT_0, divisor & 0xff);
    out8(PIT_0, (uint8_t)(divisor >> 8));
    irq_enable(IRQ_TIMER);
}
