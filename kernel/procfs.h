/* SPDX-License-Identifier: MIT */
/*
 * Between the names of /proc (procfs.c) and what stands behind them (proctext.c).
 */
#ifndef KERNEL_PROCFS_H
#define KERNEL_PROCFS_H

#include "vfs.h"

/* What one open file shows, written whole when a read begins at its start. */
struct text {
    struct store store;
};

/*
 * A name in /proc: a text (print), a link (link: its target, at most size bytes, without a 0), or
 * a file that is neither.
 */
struct proc_node {
    const char *name;
    void (*print)(struct text *text, const struct proc *p);
    long (*link)(struct proc *p, char *to, size_t size);
    const struct file_ops *file;
};

/* The nodes of /proc, of /proc/quire, and of each /proc/PID. */
extern const struct proc_node proc_root_nodes[], proc_quire_nodes[], proc_pid_nodes[];
extern const size_t proc_root_count, proc_quire_count, proc_pid_count;

/* ---- texts (proctext.c) ---------------------------------------------------------------------- */

/* When memory has run out the text is cut short. */
void text_append(struct text *text, const char *bytes, size_t n);
/* Append, at most 255 bytes. */
__attribute__((format(printf, 2, 3))) void text_print(struct text *text, const char *format, ...);

static inline uint64_t kib(uint64_t frames) { return frames * (PAGE_SIZE / 1024); }

#define USER_END (1ull << 47)

/* ---- memory (procmaps.c) --------------------------------------------------------------------- */

/* What a process has, in pages. */
struct memory_sum {
    uint64_t size;                   /* of all regions */
    uint64_t anonymous, file, shmem; /* in memory */
    uint64_t swapped;                /* not in memory */
    uint64_t locked, data, stack, text;
};
struct memory_sum memory_sum(const struct proc *p);
void print_maps(struct text *text, const struct proc *p);
void print_smaps(struct text *text, const struct proc *p);
void print_smaps_rollup(struct text *text, const struct proc *p);
void print_status_memory(struct text *text, const struct proc *p); /* the lines Vm and Rss */
void print_statm(struct text *text, const struct proc *p);

/* ---- procmem.c ------------------------------------------------------------------------------- */

extern const struct file_ops proc_mem_ops, proc_pagemap_ops;

/* ---------------------------------------------------------------------------------------------- */

/* A link's text from a string, null or empty meaning that there is none (-ENOENT). */
long proc_link_copy(const char *text, char *to, size_t size);

/* Begin to compare the time-stamp counter with the clock. */
void proc_clock_start(void);

#endif
