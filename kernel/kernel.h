/* SPDX-License-Identifier: MIT */
/*
 * The demonstration kernel, as its two halves see each other: processes (sched, process, exec,
 * signal, trap) and files (vfs, tmpfs, file, pipe, tty, device, procfs).
 *
 * One CPU.  Interrupts are off whenever kernel code runs, except in the idle loop, and kernel code
 * is never preempted: between two sleeps everything is atomic, so nothing here takes a lock.  A
 * process gives the CPU away only in sleep_on* and on the way back to user mode.  Interrupt
 * handlers (tty_input among them) run on top of user mode or the idle loop, never on top of kernel
 * code.
 *
 * Memory comes from quire: frame_alloc for pages, kmalloc for records.  Both can fail at any time;
 * every caller returns -ENOMEM and undoes what it did.  copy_in and copy_out never sleep.
 *
 * A call is `long sys_NAME(const uint64_t *a)`: a[0]..a[5] are the six arguments; it returns a
 * result or -E. A call that a signal interrupted returns -EINTR; syscall.c knows which calls
 * restart by themselves.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <quire/quire.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "errno.h"
#include "string.h"

enum {
    PAGE_SIZE = 4096,
    PATH_MAX = 4096, /* with the 0 */
    NAME_LENGTH = 16,
};

/* ---- print.c, serial.c ----------------------------------------------------------------------- */

/* Bytes to the serial line exactly as they are (the tty makes "\r\n" itself). */
void console_write(const char *bytes, size_t n);

/* %d %i %u %x %X %o %c %s %p %% with flags 0 - + space #, width, precision (both also *), h hh l ll
 * z t j. */
int kvsnprintf(char *to, size_t size, const char *format, va_list list);
__attribute__((format(printf, 3, 4))) int ksnprintf(char *to, size_t size, const char *format, ...);
/* To the console; "\n" goes out as "\r\n".  At most 512 bytes a call. */
__attribute__((format(printf, 1, 2))) void kprintf(const char *format, ...);

/* Say what, and end the machine with a failing status. */
__attribute__((format(printf, 1, 2))) _Noreturn void panic(const char *format, ...);
#define kassert(x) ((x) ? (void)0 : panic("assertion %s, %s:%d", #x, __FILE__, __LINE__))

/* End the machine: QEMU exits with status (code << 1) | 1. */
_Noreturn void machine_exit(unsigned code);

/* ---- memory.c, kmem.c ------------------------------------------------------------------------ */

extern struct quire *quire; /* the manager of all frames */

void *frame_alloc(void);        /* one zeroed page, or null */
void frame_free(void *page);    /* null is fine */
void *frame_address(pfn_t pfn); /* where the kernel sees it */
uint64_t frames_total(void);    /* all that quire has, free or not */

void *kmalloc(size_t size); /* up to KMALLOC_MAX bytes, 16-byte aligned, not zeroed; or null */
void *kzalloc(size_t size); /* zeroed */
void kfree(void *p);        /* null is fine */
enum { KMALLOC_MAX = 4096 };

void random_fill(void *to, size_t n);

/* ---- usercopy.c: the current process's memory ------------------------------------------------ */

/* All or -EFAULT (some bytes may have been copied); any address is safe. */
int copy_in(void *to, uintptr_t user, size_t n);
int copy_out(uintptr_t user, const void *from, size_t n);
/* A string with its 0 into `to`; its length, -EFAULT, or -ENAMETOOLONG if max bytes held no 0. */
long copy_in_string(char *to, uintptr_t user, size_t max);

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t now_ns(void);  /* since boot */
uint64_t wall_ns(void); /* since 1970 */

/* ---- processes ------------------------------------------------------------------------------- */

struct files; /* a table of open files: file.c */
struct inode; /* vfs.h */
struct blk;   /* blk.h */

enum proc_state {
    PROC_FREE,
    PROC_EMBRYO, /* being made */
    PROC_READY,
    PROC_RUNNING,
    PROC_SLEEPING,
    PROC_STOPPED, /* by a signal */
    PROC_ZOMBIE,
};

/* An address space with what Linux's calls remember of it; shared by a vfork child and its parent.
 */
/* What mlockall asked of mappings to come. */
enum mm_lock { MM_LOCK_NOT, MM_LOCK_ON_FAULT, MM_LOCK_NOW };

struct mm {
    struct quire_space *space;
    unsigned users;
    uintptr_t brk_start, brk_end; /* [start, end), end as the program asked for it */
    uintptr_t stack_low, stack_high;
    uintptr_t arg_start, arg_end, env_start, env_end; /* the strings, for /proc */
    uint64_t pages_mapped; /* in all regions together; counted when somebody asks: mm_pages */
    bool pages_counted;
    uint64_t lock_name; /* the name of this mm's locked regions (sysadvise.c) */
    enum mm_lock lock_next;
};

struct waitq {
    struct proc *first;
};

struct proc_signals;
struct trap_frame;

enum { RLIMIT_STACK = 3, RLIMIT_NOFILE = 7, RLIMIT_MEMLOCK = 8, RLIMITS = 16 };

struct proc {
    int pid, pgid, sid;
    struct proc *parent; /* null for init alone */
    enum proc_state state;
    int exit_status; /* as wait4 reports it; valid for a zombie */

    /* Files' fields: fork copies them through files_fork and inode_get, exit gives them up. */
    struct files *files;
    struct inode *cwd;
    unsigned umask;

    struct mm *mm; /* null in a zombie */
    char name[NAME_LENGTH];
    char *exe; /* the path given to execve (kmalloc), or null */

    uint64_t start_ns, user_ns, system_ns, child_user_ns, child_system_ns;
    uint64_t minor_faults, switches;
    uint64_t limits[RLIMITS][2]; /* what it may use, and how far it may raise that */

    /* sched.c, signal.c, process.c alone below. */
    struct proc *next_all, *next_ready, *next_wait;
    struct waitq *waiting_on;         /* the queue that a sleeper is on, or null */
    bool deaf;                        /* the sleep does not end for signals */
    bool timed_out;                   /* the sleep ended by its deadline */
    uint64_t wake_at;                 /* now_ns at which a sleep ends; 0: no deadline */
    uint64_t run_since;               /* time-stamp counter when it last got the CPU */
    uint64_t call_since;              /* the same for the current system call's time on the CPU */
    uint64_t run_cycles, call_cycles; /* in all, and within system calls */
    bool in_call;
    bool exiting;
    struct waitq child_wait; /* it sleeps here for its children */
    struct waitq vfork_wait;
    bool vfork_waiting;                /* it waits until its vfork child execs or exits */
    struct proc *vfork_parent;         /* the one that waits for this process so */
    bool stop_report, continue_report; /* changed and not told to the parent yet */
    int stop_signal;
    void *stack;              /* low end of the kernel stack */
    uint64_t kernel_rsp;      /* while it does not run */
    struct trap_frame *frame; /* the program's registers, at the top of the kernel stack */
    uint64_t fs_base;
    void *fpu; /* the fxsave area, behind this record */
    uint64_t clear_child_tid, set_child_tid;
    struct proc_signals *signals; /* null once it exits */
    uint64_t alarm_at, alarm_interval;
    bool no_memory; /* it dies for want of memory: victim.c */
    bool stand_in;  /* not a process: see conformance.c */
};

extern struct proc *current;

/* All processes, zombies too, in order of age: proc_next(null) is the first; null at the end. */
struct proc *proc_next(struct proc *after);
struct proc *proc_find(int pid);              /* or null */
char proc_state_letter(const struct proc *p); /* 'R', 'S', 'T', 'Z' */

/*
 * Sleep until wake_all(q).  0, or -EINTR when a signal is or becomes pending.  Waking says nothing
 * about the condition: `while (!condition) if ((e = sleep_on(q)) != 0) return e;`.
 */
int sleep_on(struct waitq *q);
/* The same, or -ETIMEDOUT once now_ns() reaches `deadline` (0: no deadline). */
int sleep_on_until(struct waitq *q, uint64_t deadline);
/* Sleep until wake_all is called on any queue whatever: for poll and select. */
int sleep_on_any(uint64_t deadline);
void wake_all(struct waitq *q); /* also from interrupt handlers */

bool signal_pending(void); /* for current: one that is neither blocked nor ignored */
void signal_send(struct proc *p, int sig);
void signal_send_group(int pgid, int sig);
/* Is `sig` blocked or ignored by current?  (A background process that reads from the tty: SIGTTIN
 * or -EIO.) */
bool signal_refused(int sig);
/* Install a temporary mask for ppoll/pselect; it lasts until the call returns (and its handler
 * ran). */
void signal_mask_for_call(uint64_t mask);

enum {
    SIGHUP = 1,
    SIGINT,
    SIGQUIT,
    SIGILL,
    SIGTRAP,
    SIGABRT,
    SIGBUS,
    SIGFPE,
    SIGKILL,
    SIGUSR1,
    SIGSEGV,
    SIGUSR2,
    SIGPIPE,
    SIGALRM,
    SIGTERM,
    SIGSTKFLT,
    SIGCHLD,
    SIGCONT,
    SIGSTOP,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    SIGURG,
    SIGXCPU,
    SIGXFSZ,
    SIGVTALRM,
    SIGPROF,
    SIGWINCH,
    SIGIO,
    SIGPWR,
    SIGSYS,
    SIGNAL_COUNT = 65, /* numbers 1..64 */
};

/* The pages of all regions of `mm`. */
uint64_t mm_pages(struct mm *mm);

/* ---- what quire says, as 0 or -E (status.c) -------------------------------------------------- */

long mm_error(enum quire_status status);          /* as a call says it that maps */
long mm_protect_error(enum quire_status status);  /* mprotect */
long mm_populate_error(enum quire_status status); /* madvise */
long mm_lock_error(enum quire_status status);     /* mlock */
long file_error(enum quire_status status);        /* one that reads or writes a file */

/* ---- what /proc shows ------------------------------------------------------------------------ */

/* One fork, as measured around quire_space_fork and around the whole call. */
struct fork_record {
    int parent, child;
    bool vfork;            /* no space was made */
    uint64_t quire_cycles; /* time-stamp counter over quire_space_fork alone */
    uint64_t call_cycles;  /* over the whole of fork in the parent */
    uint64_t frames_quire; /* frames that quire_space_fork took */
    uint64_t frames_call;  /* frames that the whole call took (kernel stack and records) */
    uint64_t pages_mapped; /* in the parent's regions */
};

enum { FORK_RECORDS = 256 };
/* The i-th of the last FORK_RECORDS forks, 0 the oldest that is kept; false past the end. */
bool fork_record_get(unsigned i, struct fork_record *out);
uint64_t fork_count(void);

enum { SYSCALL_NUMBERS = 512 };
/* How often call number `nr` was made, and how often it was answered with ENOSYS for want of it. */
uint64_t syscall_count(unsigned nr);
uint64_t syscall_unknown(unsigned nr); /* nr == SYSCALL_NUMBERS: all larger numbers together */
const char *syscall_name(unsigned nr); /* or null */

uint64_t timer_ticks(void);
uint64_t idle_ns(void);
const char *kernel_command_line(void);

/* ---- what the process half needs of the files half ------------------------------------------- */

/* The root file system out of the cpio (newc) archive on a disk, or null: an empty one; called
 * once, when kmalloc works. */
void vfs_init(struct blk *archive);

/* A character from the serial line; called from the interrupt handler. */
void tty_input(int c);

struct files *files_create(void);              /* 0, 1, 2 are the console; or null */
struct files *files_fork(struct files *files); /* a copy that shares the open files; or null */
void files_exec(struct files *files);          /* close those with close-on-exec */
void files_destroy(struct files *files);

struct inode *inode_root(void);           /* with a reference */
struct inode *inode_get(struct inode *i); /* one more reference; returns i */
void inode_put(struct inode *i);
/* Follow `path` (from current->cwd if relative), links too; with a reference, or null and *error =
 * -E. */
struct inode *inode_lookup(const char *path, int *error);
/* 0 if current may execute it (a regular file with an x bit), else -EACCES. */
int inode_may_exec(struct inode *i);
/* Read from a regular file; bytes read (0 at the end), or -E. */
long inode_read(struct inode *i, void *to, size_t n, uint64_t offset);
uint64_t inode_size(struct inode *i);

/* sysfile.c, poll.c */
#define SYSCALL(name) long sys_##name(const uint64_t *a)
SYSCALL(read);
SYSCALL(write);
SYSCALL(readv);
SYSCALL(writev);
SYSCALL(pread64);
SYSCALL(pwrite64);
SYSCALL(preadv);
SYSCALL(pwritev);
SYSCALL(preadv2);
SYSCALL(pwritev2);
SYSCALL(close_range);
SYSCALL(fallocate);
SYSCALL(fadvise64);
SYSCALL(readahead);
SYSCALL(open);
SYSCALL(openat);
SYSCALL(creat);
SYSCALL(close);
SYSCALL(lseek);
SYSCALL(stat);
SYSCALL(lstat);
SYSCALL(fstat);
SYSCALL(newfstatat);
SYSCALL(statfs);
SYSCALL(fstatfs);
SYSCALL(access);
SYSCALL(faccessat);
SYSCALL(faccessat2);
SYSCALL(dup);
SYSCALL(dup2);
SYSCALL(dup3);
SYSCALL(fcntl);
SYSCALL(flock);
SYSCALL(memfd_create);
SYSCALL(pipe);
SYSCALL(pipe2);
SYSCALL(getdents64);
SYSCALL(mkdir);
SYSCALL(mkdirat);
SYSCALL(mknod);
SYSCALL(mknodat);
SYSCALL(rmdir);
SYSCALL(unlink);
SYSCALL(unlinkat);
SYSCALL(rename);
SYSCALL(renameat);
SYSCALL(renameat2);
SYSCALL(link);
SYSCALL(linkat);
SYSCALL(symlink);
SYSCALL(symlinkat);
SYSCALL(readlink);
SYSCALL(readlinkat);
SYSCALL(chdir);
SYSCALL(fchdir);
SYSCALL(getcwd);
SYSCALL(chmod);
SYSCALL(fchmod);
SYSCALL(fchmodat);
SYSCALL(chown);
SYSCALL(fchown);
SYSCALL(lchown);
SYSCALL(fchownat);
SYSCALL(utimensat);
SYSCALL(umask);
SYSCALL(truncate);
SYSCALL(ftruncate);
SYSCALL(ioctl);
SYSCALL(poll);
SYSCALL(ppoll);
SYSCALL(select);
SYSCALL(pselect6);
SYSCALL(sync);
SYSCALL(fsync);
SYSCALL(fdatasync);
SYSCALL(sendfile);
SYSCALL(copy_file_range);
SYSCALL(splice);
SYSCALL(xattr_refused);
SYSCALL(listxattr);

#endif
