/* SPDX-License-Identifier: MIT */
/*
 * The character devices that need no hardware, by Linux's numbers:
 *
 *     null     reads as an empty file, swallows what is written
 *     zero     reads as zeros without end
 *     full     the same, but writing finds no space: for testing how programs take that
 *     random   bytes from the kernel's generator, which never makes a reader wait;
 *     urandom  the same
 *
 * A read is produced piece by piece straight into the program's memory.  Kernel code is not
 * preempted, so one call produces a bounded amount and the program asks again, as it must anyway.
 *
 * The console and /dev/tty are tty.c's; opening is dispatched here, by device number.
 */
#include "vfs.h"

/* One call produces at most this much, as interrupts are off meanwhile. */
enum { PRODUCE_MAX = 16 << 20 };

static long null_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    (void)file;
    (void)to;
    (void)n;
    (void)offset;
    return 0;
}

static long null_write(struct file *file, struct buffer *from, size_t n, uint64_t offset)
{
    (void)file;
    (void)from;
    (void)offset;
    return (long)n;
}

static long full_write(struct file *file, struct buffer *from, size_t n, uint64_t offset)
{
    (void)file;
    (void)from;
    (void)n;
    (void)offset;
    return -ENOSPC;
}

/* Produce n bytes in pieces of up to 256, zeros or random. */
static long produce(struct buffer *to, size_t n, bool random)
{
    uint8_t piece[256];
    size_t done = 0;

    n = n < PRODUCE_MAX ? n : PRODUCE_MAX;
    while (done < n) {
        size_t part = n - done < sizeof(piece) ? n - done : sizeof(piece);
        int e;
        if (random) {
            random_fill(piece, part);
            e = buffer_put(to, piece, part);
        } else {
            part = n - done < PAGE_SIZE ? n - done : PAGE_SIZE;
            e = buffer_put_zeros(to, part);
        }
        if (e != 0) {
            return done > 0 ? (long)done : e;
        }
        done += part;
    }
    return (long)done;
}

static long zero_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    (void)file;
    (void)offset;
    return produce(to, n, false);
}

static long random_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    (void)file;
    (void)offset;
    return produce(to, n, true);
}

int device_open(struct inode *inode, struct file *file)
{
    static const struct file_ops null_ops = {true, null_read, null_write, NULL, NULL, NULL};
    static const struct file_ops zero_ops = {true, zero_read, null_write, NULL, NULL, NULL};
    static const struct file_ops full_ops = {true, zero_read, full_write, NULL, NULL, NULL};
    static const struct file_ops random_ops = {true, random_read, null_write, NULL, NULL, NULL};

    switch (inode->rdev) {
    case DEVICE_NULL: file->ops = &null_ops; return 0;
    case DEVICE_ZERO: file->ops = &zero_ops; return 0;
    case DEVICE_FULL: file->ops = &full_ops; return 0;
    case DEVICE_RANDOM:
    case DEVICE_URANDOM: file->ops = &random_ops; return 0;
    case DEVICE_TTY:
    case DEVICE_CONSOLE: return tty_open(inode, file);
    default: return -ENXIO;
    }
}
