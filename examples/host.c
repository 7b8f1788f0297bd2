/* SPDX-License-Identifier: MIT */
/*
 * The smallest host that a program on an operating system can give quire.
 *
 * The examples link it; copy it as the start of your own.  A kernel's version
 * has the same seven functions: see docs/porting.md for what each may and must do.
 *
 * Nothing here can free memory, so an operation that runs out of frames returns QUIRE_NO_MEMORY at
 * once.  Slices of long operations follow each other without a pause.  Every thread says that it is
 * CPU 0, which is right for any number of them, and as fast as can be for one: calls take turns.  A
 * thread that meets another's word lets the scheduler run somebody else and looks again.
 */
#define _POSIX_C_SOURCE 200809L
#include <quire/host.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

uint32_t host_cpu(void *host)
{
    (void)host;
    return 0;
}

bool host_need_frames(void *host, uint32_t frames)
{
    (void)host;
    (void)frames;
    return false;
}

bool host_need_commit(void *host, uint64_t pages)
{
    (void)host;
    (void)pages;
    return false;
}

void host_yield(void *host) { (void)host; }

void host_wait(void *host, const void *key)
{
    (void)host;
    (void)key;
    sched_yield();
}

void host_wait_io(void *host, struct quire_section *section)
{
    (void)host;
    (void)section;
    sched_yield();
}

void host_report(void *host, const char *line)
{
    (void)host;
    fprintf(stderr, "quire: %s\n", line);
}

_Noreturn void host_panic(const char *what, const char *file, int line)
{
    fprintf(stderr, "quire: broken: %s, %s:%d\n", what, file, line);
    abort();
}
