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

/* A name in /proc: a text (print) or a link (link: its target, at most size bytes, without a 0). */
struct proc_node {
    const char *name;
    void (*print)(struct text *text, const struct proc *p);
    long (*link)(struct proc *p, char *to, size_t size);
};

/* The nodes of /proc, of /proc/quire, and of each /proc/PID. */
extern const struct proc_node proc_root_nodes[], proc_quire_nodes[], proc_pid_nodes[];
extern const size_t proc_root_count, proc_quire_count, proc_pid_count;

/* A link's text from a string, null or empty meaning that there is none (-ENOENT). */
long proc_link_copy(const char *text, char *to, size_t size);

/* Begin to compare the time-stamp counter with the clock. */
void proc_clock_start(void);

#endif
