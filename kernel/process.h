/* SPDX-License-Identifier: MIT */
/*
 * The process half's own interfaces: scheduling, processes, signals, program loading, time.
 */
#ifndef KERNEL_PROCESS_H
#define KERNEL_PROCESS_H

#include "cpu.h"

enum {
    INIT_PID = 1,
    PID_LIMIT = 32768,
    USER_ID = 0, /* every program is root */
    STACK_BYTES = 8 << 20,
    STACK_GUARD = 1 << 20,
    SIGNAL_STACK_MIN = 2048, /* the least an alternate signal stack may have */
};

/* ---- sched.c */
void sched_add(struct proc *p);    /* a new process: to the list of all */
void sched_remove(struct proc *p); /* a dead one: from it */
void sched_ready(struct proc *p);  /* may run from now on */
void sched_wake(struct proc *p);   /* end its sleep, whatever for; no-op if it does not sleep */
/* Give up the CPU; the caller has set current->state.  Returns when it runs again. */
void schedule(void);
void sched_yield_cpu(void); /* let the others run first */
void sched_tick(void);      /* the timer: deadlines, alarms, and time for somebody else */
void sched_account(void);   /* bring current's times up to date */
void sched_start(struct proc *first) __attribute__((noreturn));
void sleep_deaf(struct waitq *q); /* as sleep_on, but signals do not end it */
void sched_bury(struct proc *p);  /* free a process that still stands on its own stack, once it does
                                     not */
extern bool sched_wanted;         /* somebody else should run */

/* ---- process.c */
struct proc *process_create(void); /* an embryo without memory, files, or a word in its signals; or
                                      null */
void process_free(struct proc *p);
void process_prepare(struct proc *p);    /* p->frame is what it will return to */
_Noreturn void process_exit(int status); /* status as wait4 reports it */
void process_report(struct proc *p);     /* tell the parent that p stopped or continued */
struct mm *mm_create(void);
void mm_put(struct mm *mm); /* must not be the running one */
void vfork_release(struct proc *p);
int pid_find_free(void);

/* ---- victim.c */
/* Quire has no frame for a fault of current: kill somebody, and let those run who will give theirs
 * back. */
void victim_choose(void);

/* ---- elf.c */
/* A program file that is being loaded.  All zeros before elf_open. */
struct elf {
    struct inode *inode; /* the caller's */
    struct elf_segment *segments;
    bool moves;            /* position-independent */
    uint64_t base;         /* by elf_load: what addresses in the file are relative to */
    uint64_t entry, phoff; /* entry: from the base, and after elf_load its address */
    uint64_t phdr, end;    /* where its headers are, and the end of its last page: by elf_load */
    uint16_t phnum, phentsize; /* of its headers */
};
/* Where programs go that can go anywhere; interpreters go into a gap instead. */
#define PROGRAM_PLACE UINT64_C(0x555555554000)

/* Read the headers.  0 or -E; elf_close either way. */
long elf_open(struct elf *elf, struct inode *inode);
/* The interpreter it asks for, into path[PATH_MAX]: 1, or 0 if it asks for none, or -E. */
long elf_interpreter(const struct elf *elf, char *path);
/*
 * Map the segments, by way of `page`; one that can go anywhere goes to `place`, or with 0 into a
 * gap.  0 or -E, and then the space is half filled.
 */
long elf_load(struct elf *elf, struct quire_space *space, uint64_t place, char *page);
void elf_close(struct elf *elf);

/* ---- sysproc.c */
void limits_begin(struct proc *p); /* the first process's */

/* ---- exec.c */
/* Load `path` with these arguments into a new space and make it current's.  0 or -E with nothing
 * changed. */
struct exec_request {
    const char *path;
    uintptr_t argv, envp;                                /* in the program's memory */
    const char *const *kernel_argv, *const *kernel_envp; /* or here, null-terminated (init) */
};
long exec_program(const struct exec_request *request);

/* ---- futex.c */
void futex_wake(uint64_t address); /* one that waits for the word there, if there is one */

/* ---- signal.c */
struct signal_action {
    uint64_t handler, flags, restorer, mask;
};

struct signal_info {
    int32_t code, pid, status;
    uint32_t uid;
    uint64_t address;
};

/* The same as programs see it: Linux's siginfo_t. */
struct user_siginfo {
    int32_t number, error, code, padding;
    union {
        uint8_t bytes[112]; /* first, so that an initializer clears all of it */
        struct {
            int32_t pid;
            uint32_t uid;
            int32_t status;
        } child;
        uint64_t address;
    } u;
};
_Static_assert(sizeof(struct user_siginfo) == 128, "siginfo_t");

/* What a process has of signals; a frame of its own. */
struct proc_signals {
    uint64_t pending, blocked;
    uint64_t saved_blocked; /* what goes back when the call ends */
    bool restore_blocked;
    bool restart;     /* the call that is ending was interrupted and may restart after a handler */
    bool interrupted; /* the call that is ending was interrupted */
    uint64_t alt_base, alt_size;
    uint32_t alt_flags;
    uint32_t last_trap, last_error; /* for the next frame's machine context */
    struct signal_action actions[64];
    struct signal_info infos[64];
};

enum {
    SI_USER = 0,
    SI_KERNEL = 0x80,
    SI_TKILL = -6,
    CLD_EXITED = 1,
    CLD_KILLED = 2,
    CLD_DUMPED = 3,
    CLD_STOPPED = 5,
    CLD_CONTINUED = 6,
    SEGV_MAPERR = 1,
    SEGV_ACCERR = 2,
};

void signal_send_info(struct proc *p, int sig, const struct signal_info *info);
/* A fault of the running program: delivered even if blocked or ignored (then it kills). */
void signal_force(int sig, int code, uint64_t address);
void signal_deliver(struct trap_frame *f); /* on the way to user mode, when something is pending */
void signals_exec(struct proc_signals *s);
bool signal_ignored_by(const struct proc *p, int sig);

static inline uint64_t signal_bit(int sig) { return UINT64_C(1) << (sig - 1); }

/* No mask holds these back. */
#define UNBLOCKABLE (signal_bit(SIGKILL) | signal_bit(SIGSTOP))
#define HANDLER_DEFAULT UINT64_C(0)
#define HANDLER_IGNORE UINT64_C(1)

/* ---- sigframe.c */
/*
 * Make the program run its handler for `sig` when it goes on.  False, with nothing changed but some
 * bytes of the program's stack, if that cannot take the frame or the handler is nowhere a program
 * can be.
 */
bool handler_enter(struct trap_frame *f, int sig, const struct signal_info *info);

void process_started(struct trap_frame *f);

/* ---- conformance.c */
_Noreturn void conformance_boot(void);

/* ---- main.c */
_Noreturn void kernel_main(uint32_t start_info); /* from boot.S */
/* The machine ends, after the auditor if the boot options ask for it. */
_Noreturn void kernel_end(bool success);

/* ---- syscall.c */
void syscall_handle(struct trap_frame *f);

/* ---- trap.c */
void trap_handle(struct trap_frame *f);
void user_return(struct trap_frame *f);

/* ---- sysadvise.c */
void mm_start(struct mm *mm); /* nothing is locked in it, though what it was forked from may be */
/* Remember of current's mappings that they are locked. */
void mm_lock(vaddr_t address, uint64_t length);
/* The same, and make them present; both as far as it goes. */
void mm_lock_now(vaddr_t address, uint64_t length);
/* Make current's pages present for what their regions allow; one that allows nothing stays. */
enum quire_status mm_populate(vaddr_t address, uint64_t length);

/* Is the region one of those that are locked? */
static inline bool mm_locked(const struct mm *mm, const struct quire_region *region)
{
    return region->name == mm->lock_name;
}

/* ---- sysmm.c */

/* Round up to pages; 0 if that wraps. */
static inline uint64_t pages_up(uint64_t length)
{
    return (length + PAGE_SIZE - 1) & -(uint64_t)PAGE_SIZE;
}

/* Can a program have these addresses? */
static inline bool range_ok(uint64_t address, uint64_t length)
{
    return address <= USER_HIGH && length <= USER_HIGH - address;
}

/* ---- systime.c */
void fill_rusage(void *to, uint64_t user_ns, uint64_t system_ns, uint64_t faults);

/* ---- syscall.c's own half of the table */
SYSCALL(fork);
SYSCALL(vfork);
SYSCALL(clone);
SYSCALL(execve);
SYSCALL(exit);
SYSCALL(exit_group);
SYSCALL(wait4);
SYSCALL(waitid);
SYSCALL(getpid);
SYSCALL(getppid);
SYSCALL(gettid);
SYSCALL(getuid);
SYSCALL(setuid);
SYSCALL(getresuid);
SYSCALL(getgroups);
SYSCALL(setpgid);
SYSCALL(getpgid);
SYSCALL(getpgrp);
SYSCALL(setsid);
SYSCALL(getsid);
SYSCALL(uname);
SYSCALL(sethostname);
SYSCALL(arch_prctl);
SYSCALL(prctl);
SYSCALL(set_tid_address);
SYSCALL(set_robust_list);
SYSCALL(prlimit64);
SYSCALL(getrlimit);
SYSCALL(setrlimit);
SYSCALL(sysinfo);
SYSCALL(sched_yield);
SYSCALL(sched_getaffinity);
SYSCALL(sched_setaffinity);
SYSCALL(sched_getscheduler);
SYSCALL(sched_setscheduler);
SYSCALL(sched_getparam);
SYSCALL(sched_get_priority_max);
SYSCALL(sched_get_priority_min);
SYSCALL(getcpu);
SYSCALL(capget);
SYSCALL(capset);
SYSCALL(personality);
SYSCALL(getrandom);
SYSCALL(reboot);
SYSCALL(getpriority);
SYSCALL(setpriority);

SYSCALL(brk);
SYSCALL(mmap);
SYSCALL(munmap);
SYSCALL(mprotect);
SYSCALL(madvise);
SYSCALL(mremap);
SYSCALL(msync);
SYSCALL(remap_file_pages);
SYSCALL(futex);
SYSCALL(mlock);
SYSCALL(mlock2);
SYSCALL(munlock);
SYSCALL(mlockall);
SYSCALL(munlockall);
SYSCALL(mincore);
SYSCALL(process_vm_readv);
SYSCALL(process_vm_writev);

SYSCALL(rt_sigaction);
SYSCALL(rt_sigprocmask);
SYSCALL(rt_sigreturn);
SYSCALL(rt_sigsuspend);
SYSCALL(rt_sigpending);
SYSCALL(rt_sigtimedwait);
SYSCALL(sigaltstack);
SYSCALL(kill);
SYSCALL(tkill);
SYSCALL(tgkill);
SYSCALL(pause);

SYSCALL(clock_gettime);
SYSCALL(clock_getres);
SYSCALL(clock_nanosleep);
SYSCALL(nanosleep);
SYSCALL(gettimeofday);
SYSCALL(time);
SYSCALL(times);
SYSCALL(getrusage);
SYSCALL(alarm);
SYSCALL(setitimer);
SYSCALL(getitimer);

#endif
