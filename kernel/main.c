/* SPDX-License-Identifier: MIT */
/*
 * From the first C instruction to the first program, and the answers that quire asks of its host.
 *
 * Boot options: init=PATH (default /init, then /bin/sh), bench (the same as init=/bin/bench quiet),
 * quiet, mem=MIB (use no more memory than this), conformance, disks (run that suite and end), check
 * (run the auditor at the end; what it finds fails the run). Whatever else holds a '=' goes into
 * init's environment, as with Linux.
 */
#include "blk.h"
#include "disks.h"
#include "process.h"
#include "swap.h"
#include "vfs.h"

#include <quire/host.h>

enum { WORDS_MAX = 32 };
enum { PURGE_MAPPED = 512, PURGE_LEAST = 128 }; /* frames */

static char words[512];
static const char *init_environment[WORDS_MAX + 3] = {"HOME=/",
                                                      "PATH=/bin:/sbin:/usr/bin:/usr/sbin"};
static const char *init_path;
static bool quiet, check_at_end, conformance, disks;

/* ---- what quire asks ------------------------------------------------------------------------- */

/* One processor. */
uint32_t host_cpu(void *host)
{
    (void)host;
    return 0;
}

/*
 * What came out of the archive can come again: first what no program maps.  The rest may be what
 * the program that lacks a frame runs on, and must come again at once.  If there is so little of it
 * that reading would be all that goes on, memory has run out, and somebody dies of it (victim.c).
 */
bool host_need_frames(void *host, uint32_t frames)
{
    (void)host;
    return stores_purge(frames, false) > 0 || stores_purge(PURGE_MAPPED, true) >= PURGE_LEAST;
}

/* Memory is promised without a limit. */
bool host_need_commit(void *host, uint64_t pages)
{
    (void)host;
    (void)pages;
    return false;
}

/* Kernel code is not preempted, so one call at a time is in quire. */
void host_wait(void *host, const void *key)
{
    (void)host;
    (void)key;
    panic("quire waits for another processor");
}

/* Nobody else could use the processor: kernel code is not preempted. */
void host_wait_io(void *host, struct quire_section *section)
{
    (void)host;
    (void)section;
    if (!blk_poll())
        blk_pause();
}

void host_report(void *host, const char *line)
{
    (void)host;
    kprintf("quire: check: %s\n", line);
}

void host_panic(const char *what, const char *file, int line)
{
    panic("%s, %s:%d", what, file, line);
}

/* ---- the end --------------------------------------------------------------------------------- */

void kernel_end(bool success)
{
    unsigned found = 0;

    if (check_at_end) {
        found = quire_check(quire);
        kprintf("quire: check: %u findings\n", found);
    }
    machine_exit(success && found == 0 ? EXIT_OK : EXIT_FAILED);
}

/* ---- boot ------------------------------------------------------------------------------------ */

static void bench_choose(void)
{
    init_path = "/bin/bench";
    quiet = true;
}

static void options_read(void)
{
    unsigned count = 2;
    char *s = words;

    strlcpy(words, kernel_command_line(), sizeof words);
    while (*s) {
        char *word = s;

        while (*s && *s != ' ')
            s++;
        if (*s)
            *s++ = 0;
        if (strncmp(word, "init=", 5) == 0)
            init_path = word + 5;
        else if (strcmp(word, "quiet") == 0)
            quiet = true;
        else if (strcmp(word, "check") == 0)
            check_at_end = true;
        else if (strcmp(word, "conformance") == 0)
            conformance = true;
        else if (strcmp(word, "disks") == 0)
            disks = true;
        else if (strcmp(word, "bench") == 0)
            bench_choose();
        else if (strchr(word, '=') && count < WORDS_MAX + 2)
            init_environment[count++] = word;
    }
}

/* Process 1, with the console open, ready to load a program into. */
static struct proc *init_create(void)
{
    struct proc *p = process_create();

    if (!p)
        panic("no memory for init");
    p->files = files_create();
    if (!p->files)
        panic("no memory for init's files");
    p->pid = pid_find_free();
    kassert(p->pid == INIT_PID);
    p->pgid = p->sid = INIT_PID;
    p->cwd = inode_root();
    p->umask = 022;
    memset(p->signals, 0, sizeof *p->signals);
    limits_begin(p);
    process_prepare(p);
    sched_add(p);
    return p;
}

static long init_exec(const char *path)
{
    const char *const argv[] = {path, NULL};

    return exec_program(
        &(struct exec_request){.path = path, .kernel_argv = argv, .kernel_envp = init_environment});
}

static void init_load(void)
{
    static const char *const paths[] = {"/init", "/sbin/init", "/bin/sh", NULL};
    long error = -ENOENT;

    if (init_path) {
        error = init_exec(init_path);
        if (error)
            panic("cannot run init %s: error %ld", init_path, -error);
        return;
    }
    for (int i = 0; paths[i] && error; i++)
        error = init_exec(paths[i]);
    if (error)
        panic("no init found: error %ld", -error);
}

/* The root file system's archive: what the loader has put into memory, or a disk that can only be
 * read. */
static struct blk *archive_find(void)
{
    size_t size;
    const void *initrd = memory_initrd(&size);

    if (size > 0)
        return blk_of_memory(initrd, size);
    for (unsigned i = 0; blk_get(i); i++) {
        if (blk_read_only(blk_get(i)))
            return blk_get(i);
    }
    return NULL;
}

_Noreturn void kernel_main(uint32_t start_info)
{
    struct proc *init;
    struct blk *archive;

    serial_init();
    memory_init(start_info);
    options_read();
    cpu_init();
    clock_init();
    if (conformance)
        conformance_boot();
    blk_init();
    if (disks)
        kernel_end(disks_run() == 0);
    swap_begin();
    archive = archive_find();
    vfs_init(archive);
    if (!quiet)
        kprintf("quire: %u frames free, archive %lu KiB\n", quire_free_frames(quire),
                archive ? blk_size(archive) >> 10 : 0);
    serial_listen();
    init = init_create();
    current = init;
    init_load();
    sched_start(init);
}
