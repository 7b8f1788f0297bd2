/* SPDX-License-Identifier: MIT */
/*
 * What the embedder provides besides a machine.  `host` is config.host.
 */
#ifndef QUIRE_HOST_H
#define QUIRE_HOST_H

#include <quire/quire.h>

/*
 * The CPU, or thread, that is calling: a number below config.cpus.  Two calls that are in progress
 * at once should get different ones; if they do not, one waits for the other, and all is still
 * right.  Asked at the start of a call, and again after every wait.  Never called while config.cpus
 * is 1.
 */
uint32_t host_cpu(void *host);

/*
 * An operation needs `frames` free frames together and they are not there.  Called with nothing
 * held: the host may destroy spaces (not the one whose call is waiting), give frames back, or sleep
 * until something else did. True: try again. False: nothing can be freed; the operation returns
 * QUIRE_NO_MEMORY.
 */
bool host_need_frames(void *host, uint32_t frames);

/*
 * An operation wants to promise `pages` more pages than config.commit_limit allows.  Called with
 * nothing held.  True: something was given up, try again.  False: the operation returns
 * QUIRE_NO_COMMIT.
 */
bool host_need_commit(void *host, uint64_t pages);

/*
 * Between two slices of a long operation, or while another call changes what this one needs, with
 * nothing held: let others run.  May do nothing if no other thread can be in quire.
 */
void host_yield(void *host);

/*
 * The word at `key` was seen to be another CPU's for the moment.  Return when it may have changed:
 * after a pause, or after letting another thread run; too early is harmless.  Whoever holds a word
 * neither sleeps nor waits for memory or a device, so the wait is short.  While waiting, go on
 * taking flush requests of other CPUs.  Never called while one CPU at a time is in quire.
 */
void host_wait(void *host, const void *key);

/*
 * Sleep until quire_io_done has been called for some transfer of `section` (null: of any section,
 * or page file); too early is harmless. Called with nothing held, after the transfer was begun: if
 * it may have ended meanwhile, return at once.  While waiting, go on taking flush requests of other
 * CPUs.  Never called while every pager ends its transfers before `start` returns and one CPU at a
 * time is in quire.
 */
void host_wait_io(void *host, struct quire_section *section);

/* One finding of quire_check, as one line of text without an end of line. */
void host_report(void *host, const char *line);

/* An invariant inside quire is broken (never a caller's or a program's mistake).  Does not return.
 */
_Noreturn void host_panic(const char *what, const char *file, int line);

#endif
