/* SPDX-License-Identifier: MIT */
/*
 * The tests, by file.  Each is run in a process of its own, forked off the driver (usertests.c); a
 * test that returns has passed, one that fails calls test_failed.
 */
#ifndef USERTESTS_H
#define USERTESTS_H

#include "user.h"

/* True on quire's kernel: tests that could hurt a bigger system, or that read /proc/quire, ask. */
bool on_quire(void);

/* Free frames of memory, as /proc/quire/counters has it; 0 where there is none. */
long frames_free(void);

/* A file of at most 64 KiB, mostly of /proc, whole; null where there is none.  The next call writes
 * over it. */
const char *file_text(const char *path);
/* The number behind the first `label` and blanks; where it ends, or null: there is no such label.
 */
const char *number_find(const char *text, const char *label, long *number);

/* What one access at an address did, tried in a forked child. */
enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_JUMP };
/* 0: it went through.  Otherwise the signal that ended the child. */
int access_try(uint64_t address, enum access access);

/*
 * Wait for `pid`, but kill it when it is still there after `ms`.  `end` is the read end of a pipe
 * whose write end the child holds (and nobody else).  Returns the wait4 status.
 */
int child_watch(int pid, int end, int ms, bool *killed);

/* Use up the stack.  It ends by a signal. */
unsigned stack_run_away(unsigned n);

/* A file in memory of so many pages, the i-th of which begins with the byte first + i, or all zeros
 * and nothing in memory for first = 0; and a mapping of one. */
int memory_file(const char *name, uint64_t pages, uint8_t first);
uint8_t *file_view(int fd, uint64_t pages, int prot, int flags);

/* One byte of a file. */
uint8_t byte_at(int fd, uint64_t offset);
void byte_put(int fd, uint64_t offset, uint8_t byte);

/* madvise of pages. */
long advise(const void *at, uint64_t pages, int advice);
/* Of at most so many pages, a character for each, as a string that the next call writes over. */
enum { SHOWN_MAX = 16 };
/* Which are there, says mincore: 1 or 0. */
const char *core_of(const void *at, unsigned pages);
/* The same by pagemap: s when a file or others have it too, o when it is out, in a page file. */
const char *map_of(const void *at, unsigned pages);

/* The line of a mapping in a text of maps or smaps, behind its addresses.  Ends the test if there
 * is none. */
const char *line_of(const char *text, const void *at, uint64_t pages);
/* The number of KiB behind `label`, at or after `from`. */
long kib_of(const char *from, const char *label);

/* How an access in a child faulted at this address: one of these, or 0: it did not; 1: elsewhere.
 */
enum {
    BUS_BEYOND = SIGBUS << 3 | BUS_ADRERR,
    SEGV_FORBIDDEN = SIGSEGV << 3 | SEGV_ACCERR,
    SEGV_NOTHING = SIGSEGV << 3 | SEGV_MAPERR,
};
int fault_of(const volatile uint8_t *at, bool write);

/* process.c */
void test_exit_codes(void);
void test_fork_many(void);
void test_fork_tree(void);
void test_wait_variants(void);
void test_orphans(void);
void test_vfork(void);
void test_exec_arguments(void);
void test_exec_errors(void);

/* cow.c */
void test_cow_child_writes(void);
void test_cow_parent_writes(void);
void test_refork_before_write(void);
void test_readonly_then_writable(void);
void test_fork_of_fork_of_fork(void);
void test_remap_while_twin_lives(void);
void test_copyout_states(void);
void test_copyout_fork_between(void);
void test_protect_forked(void);
void test_protect_none_and_back(void);
void test_many_sharers(void);
void test_sparse_fork(void);
void test_deep_generations(void);

/* memory.c */
void test_brk(void);
void test_map_holes(void);
void test_unmap_unmaps(void);
void test_unmap_zeroes(void);
void test_map_arguments(void);
void test_unmap_arguments(void);
void test_protect_arguments(void);
void test_runaway_stack(void);
void test_noexec(void);
void test_out_of_memory(void);
void test_out_of_memory_forked(void);
void test_out_of_memory_parent(void);

/* signal.c */
void test_segv_details(void);
void test_segv_on_forked(void);
void test_alternate_stack(void);
void test_signal_mask(void);
void test_restart(void);
void test_sigchld(void);
void test_signal_group(void);
void test_reset_hand(void);
void test_bad_handlers(void);
void test_handler_loop(void);
void test_stop_after_interrupt(void);

/* file.c */
void test_pipe_end_of_file(void);
void test_pipe_sigpipe(void);
void test_pipe_blocking(void);
void test_pipe_nonblocking(void);
void test_pipe_atomic(void);
void test_dup_shares_offset(void);
void test_append(void);
void test_unlinked_file(void);
void test_bad_descriptors(void);
void test_close_on_exec(void);
void test_big_file(void);
void test_longest_file(void);
void test_full_disk(void);
void test_names(void);
void test_directory_reading(void);
void test_poll(void);

/* view.c */
void test_view_agrees(void);
void test_view_offsets(void);
void test_view_truncated(void);
void test_view_generations(void);
void test_shared_memory(void);
void test_seals(void);

/* advice.c */
void test_sync(void);
void test_advice(void);
void test_advice_fork(void);
void test_residence(void);
void test_locking(void);
void test_populate(void);
void test_remap_views(void);

/* look.c */
void test_other_memory(void);
void test_memory_file(void);
void test_maps_text(void);
void test_smaps(void);

/* paging.c */
void test_paging_out(void);
void test_paging_back(void);
void test_paging_locked(void);
void test_paging_views(void);
void test_paging_fork(void);
void test_reading_fails(void);

/* secret.c */
void test_secrets_freed(void);
void test_secrets_living(void);
void test_read_only_file(void);

/* abuse.c */
void test_wild_pointers(void);
void test_jumps(void);
void test_elf_cut(void);
void test_elf_flipped(void);
void test_fork_bomb(void);

#endif
