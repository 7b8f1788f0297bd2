/* SPDX-License-Identifier: MIT */
/*
 * The tests of disks (disks.c), for the kernel that runs them.
 */
#ifndef TESTS_KERNEL_DISKS_H
#define TESTS_KERNEL_DISKS_H

/* Run them on the first disk that can be written, whose content they replace; failures. */
unsigned disks_run(void);

#endif
