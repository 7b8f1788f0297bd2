/* SPDX-License-Identifier: MIT */
/*
 * What a test program needs of the world without a C library: Linux's x86-64 system calls as
 * functions that return the kernel's own result (a negative errno on failure), the structures and
 * numbers they take, a few string functions, and print.
 *
 * The numbers are Linux's, so that every program here also runs on Linux, where the tests of
 * behaviour must pass as they do on quire's kernel.
 */
#ifndef USER_H
#define USER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SYS_read = 0,
    SYS_write = 1,
    SYS_open = 2,
    SYS_close = 3,
    SYS_lseek = 8,
    SYS_poll = 7,
    SYS_mmap = 9,
    SYS_mprotect = 10,
    SYS_munmap = 11,
    SYS_brk = 12,
    SYS_rt_sigaction = 13,
    SYS_rt_sigprocmask = 14,
    SYS_rt_sigreturn = 15,
    SYS_pread64 = 17,
    SYS_pwrite64 = 18,
    SYS_mremap = 25,
    SYS_msync = 26,
    SYS_mincore = 27,
    SYS_madvise = 28,
    SYS_dup = 32,
    SYS_dup2 = 33,
    SYS_pause = 34,
    SYS_nanosleep = 35,
    SYS_getpid = 39,
    SYS_fork = 57,
    SYS_vfork = 58,
    SYS_execve = 59,
    SYS_exit = 60,
    SYS_wait4 = 61,
    SYS_kill = 62,
    SYS_fcntl = 72,
    SYS_ftruncate = 77,
    SYS_rename = 82,
    SYS_mkdir = 83,
    SYS_rmdir = 84,
    SYS_link = 86,
    SYS_unlink = 87,
    SYS_symlink = 88,
    SYS_mlock = 149,
    SYS_munlock = 150,
    SYS_mlockall = 151,
    SYS_munlockall = 152,
    SYS_getppid = 110,
    SYS_setpgid = 109,
    SYS_sigaltstack = 131,
    SYS_getdents64 = 217,
    SYS_clock_gettime = 228,
    SYS_exit_group = 231,
    SYS_pipe2 = 293,
    SYS_prlimit64 = 302,
    SYS_process_vm_readv = 310,
    SYS_process_vm_writev = 311,
    SYS_memfd_create = 319,
    SYS_mlock2 = 325,
};

enum {
    EPERM = 1,
    ENOENT = 2,
    ESRCH = 3,
    EINTR = 4,
    EIO = 5,
    E2BIG = 7,
    ENOEXEC = 8,
    EBADF = 9,
    ECHILD = 10,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    ENOTDIR = 20,
    EISDIR = 21,
    EINVAL = 22,
    EFBIG = 27,
    ENOSPC = 28,
    EPIPE = 32,
    ENOSYS = 38,
    ENOTEMPTY = 39,
    ELOOP = 40,
};

enum {
    PROT_NONE = 0,
    PROT_READ = 1,
    PROT_WRITE = 2,
    PROT_EXEC = 4,
    PROT_RW = PROT_READ | PROT_WRITE,
    MAP_SHARED = 1,
    MAP_PRIVATE = 2,
    MAP_FIXED = 16,
    MAP_ANONYMOUS = 32,
    MAP_POPULATE = 0x8000,
    MREMAP_MAYMOVE = 1,
    MREMAP_FIXED = 2,
    MS_ASYNC = 1,
    MS_INVALIDATE = 2,
    MS_SYNC = 4,
    MCL_CURRENT = 1,
    MCL_FUTURE = 2,
    MCL_ONFAULT = 4,
    MFD_ALLOW_SEALING = 2,
    F_ADD_SEALS = 1033,
    F_GET_SEALS = 1034,
    F_SEAL_SEAL = 1,
    F_SEAL_SHRINK = 2,
    F_SEAL_GROW = 4,
    F_SEAL_WRITE = 8,
    F_SEAL_FUTURE_WRITE = 16,
    O_RDONLY = 0,
    O_WRONLY = 1,
    O_RDWR = 2,
    O_CREAT = 0100,
    O_TRUNC = 01000,
    O_APPEND = 02000,
    O_NONBLOCK = 04000,
    O_CLOEXEC = 02000000,
    WNOHANG = 1,
    WUNTRACED = 2,
};

enum {
    MADV_NORMAL = 0,
    MADV_RANDOM = 1,
    MADV_WILLNEED = 3,
    MADV_DONTNEED = 4,
    MADV_FREE = 8,
    MADV_REMOVE = 9,
    MADV_DONTFORK = 10,
    MADV_DOFORK = 11,
    MADV_WIPEONFORK = 18,
    MADV_KEEPONFORK = 19,
    MADV_COLD = 20,
    MADV_PAGEOUT = 21,
    MADV_POPULATE_READ = 22,
    MADV_POPULATE_WRITE = 23,
    MADV_DONTNEED_LOCKED = 24,
};

enum {
    SIGHUP = 1,
    SIGINT = 2,
    SIGILL = 4,
    SIGBUS = 7,
    SIGKILL = 9,
    SIGUSR1 = 10,
    SIGSEGV = 11,
    SIGUSR2 = 12,
    SIGPIPE = 13,
    SIGALRM = 14,
    SIGTERM = 15,
    SIGCHLD = 17,
    SIGCONT = 18,
    SIGSTOP = 19,
    SIG_DFL = 0,
    SIG_IGN = 1,
    SIG_BLOCK = 0,
    SIG_UNBLOCK = 1,
    SIG_SETMASK = 2,
    SA_NOCLDSTOP = 1,
    SA_SIGINFO = 4,
    SA_RESTORER = 0x04000000,
    SA_ONSTACK = 0x08000000,
    SA_RESTART = 0x10000000,
    SA_NODEFER = 0x40000000,
    SEGV_MAPERR = 1,
    SEGV_ACCERR = 2,
    BUS_ADRERR = 2,
};

#define SA_RESETHAND 0x80000000u

enum { PAGE = 4096 };

/* The head of Linux's siginfo_t; `address` is si_addr of a fault. */
struct siginfo {
    int signo, error, code, pad;
    uint64_t address;
    uint8_t rest[104];
};

struct sigaction {
    uint64_t handler, flags, restorer, mask;
};

struct sigstack {
    uint64_t base;
    int flags, pad;
    uint64_t size;
};

struct timespec {
    int64_t seconds, nanoseconds;
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE long call6(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                         uint64_t f)
{
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

ALWAYS_INLINE long call3(long number, uint64_t a, uint64_t b, uint64_t c)
{
    return call6(number, a, b, c, 0, 0, 0);
}

static inline uint64_t address_of(const volatile void *p) { return (uint64_t)(uintptr_t)p; }

static inline void *pointer_to(uint64_t address) { return (void *)(uintptr_t)address; }

static inline long sys_read(int fd, volatile void *to, uint64_t length)
{
    return call3(SYS_read, (uint64_t)fd, address_of(to), length);
}

static inline long sys_write(int fd, const volatile void *from, uint64_t length)
{
    return call3(SYS_write, (uint64_t)fd, address_of(from), length);
}

static inline long sys_open(const char *path, int flags, int mode)
{
    return call3(SYS_open, address_of(path), (uint64_t)flags, (uint64_t)mode);
}

static inline long sys_close(int fd) { return call3(SYS_close, (uint64_t)fd, 0, 0); }

static inline long sys_lseek(int fd, int64_t offset, int whence)
{
    return call3(SYS_lseek, (uint64_t)fd, (uint64_t)offset, (uint64_t)whence);
}

static inline long sys_pread(int fd, volatile void *to, uint64_t length, uint64_t offset)
{
    return call6(SYS_pread64, (uint64_t)fd, address_of(to), length, offset, 0, 0);
}

static inline long sys_pwrite(int fd, const volatile void *from, uint64_t length, uint64_t offset)
{
    return call6(SYS_pwrite64, (uint64_t)fd, address_of(from), length, offset, 0, 0);
}

static inline long sys_ftruncate(int fd, uint64_t length)
{
    return call3(SYS_ftruncate, (uint64_t)fd, length, 0);
}

static inline long sys_mmap(uint64_t address, uint64_t length, int prot, int flags)
{
    return call6(SYS_mmap, address, length, (uint64_t)prot, (uint64_t)flags, (uint64_t)-1, 0);
}

static inline long sys_munmap(uint64_t address, uint64_t length)
{
    return call3(SYS_munmap, address, length, 0);
}

static inline long sys_mprotect(uint64_t address, uint64_t length, int prot)
{
    return call3(SYS_mprotect, address, length, (uint64_t)prot);
}

static inline uint64_t sys_brk(uint64_t end) { return (uint64_t)call3(SYS_brk, end, 0, 0); }

static inline int sys_fork(void) { return (int)call3(SYS_fork, 0, 0, 0); }

static inline int sys_getpid(void) { return (int)call3(SYS_getpid, 0, 0, 0); }

static inline long sys_kill(int pid, int signal)
{
    return call3(SYS_kill, (uint64_t)(int64_t)pid, (uint64_t)signal, 0);
}

static inline int sys_wait4(int pid, int *status, int options)
{
    return (int)call6(SYS_wait4, (uint64_t)(int64_t)pid, address_of(status), (uint64_t)options, 0,
                      0, 0);
}

static inline long sys_pipe2(int ends[2], int flags)
{
    return call3(SYS_pipe2, address_of(ends), (uint64_t)flags, 0);
}

static inline long sys_unlink(const char *path)
{
    return call3(SYS_unlink, address_of(path), 0, 0);
}

static inline long sys_execve(const char *path, char *const argv[], char *const envp[])
{
    return call3(SYS_execve, address_of(path), address_of(argv), address_of(envp));
}

static inline _Noreturn void sys_exit(int code)
{
    for (;;) {
        (void)call3(SYS_exit_group, (uint64_t)code, 0, 0);
    }
}

/* How wait4 says that a child ended. */
static inline bool ended_by_exit(int status, int code) { return status == (code & 0xff) << 8; }

static inline bool ended_by_signal(int status, int signal) { return (status & 0x7f) == signal; }

size_t string_length(const char *s);
bool string_equal(const char *a, const char *b);
bool string_starts(const char *s, const char *prefix);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
void *memmove(void *to, const void *from, size_t length);

/* Formatted text to standard output: %s %d %u %x %c, with l for 64 bits.  One write a call. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sleep without signals' help. */
void sleep_ms(int ms);
int64_t clock_ms(void);

/* Set a handler (or SIG_DFL, SIG_IGN).  The restorer that x86-64 demands is added. */
void signal_set(int signal, uint64_t handler, uint64_t flags);
typedef void (*signal_handler)(int signal, struct siginfo *info, void *context);
static inline void signal_catch(int signal, signal_handler handler, uint64_t flags)
{
    signal_set(signal, (uint64_t)(uintptr_t)handler, flags | SA_SIGINFO);
}

/* Fresh zeroed memory; ends the program when there is none. */
uint8_t *pages_map(uint64_t count);
/* The same that children share. */
uint8_t *pages_share(uint64_t count);

/* Wait for `pid` and return its wait4 status; a failing wait4 ends the program. */
int child_wait(int pid);

/* fork that ends the test when it fails. */
int child_fork(void);

/* End the program: the test has failed at this line. */
_Noreturn void test_failed(const char *file, int line, const char *what, long value);

#define EXPECT(condition)                                   \
    do {                                                    \
        if (!(condition)) {                                 \
            test_failed(__FILE__, __LINE__, #condition, 0); \
        }                                                   \
    } while (0)

/* The two sides are equal; prints the left one when they are not. */
#define EXPECT_EQUAL(left, right)                                              \
    do {                                                                       \
        long expect_left = (long)(left);                                       \
        if (expect_left != (long)(right)) {                                    \
            test_failed(__FILE__, __LINE__, #left " == " #right, expect_left); \
        }                                                                      \
    } while (0)

#endif
