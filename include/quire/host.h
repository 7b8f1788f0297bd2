/* SPDX-License-Identifier: MIT */
/*
 * What the embedder provides besides a machine.  `host` is config.host.
 */
#ifndef QUIRE_HOST_H
#define QUIRE_HOST_H

#include <quire/quire.h>

/*
 * An operation needs `frames` free frames together and they are not there.  Called with nothing
 * held: the host may destroy spaces (not the one whose call is waiting), give frames back, or sleep
 * until something else did. True: try again. False: nothing can be freed; the operation returns
 * QUIRE_NO_MEMORY.
 */
bool host_need_frames(void *host, uint32_t frames);

/* Between two slices of a long operation, with nothing held: let others run.  May do nothing. */
void host_yield(void *host);

/*
 * The lock word at `key` was seen held.  Return when it may have changed (spin, or sleep until
 * host_wake with this key).  While waiting, go on taking flush requests of other CPUs.  Never
 * called on one CPU unless the host lets another thread run while a quire call is in progress.
 */
void host_wait(void *host, const uint32_t *key);
void host_wake(void *host, const uint32_t *key);

/* One finding of quire_check, as one line of text without an end of line. */
void host_report(void *host, const char *line);

/* An invariant inside quire is broken (never a caller's or a program's mistake).  Does not return.
 */
_Noreturn void host_panic(const char *what, const char *file, int line);

#endif
