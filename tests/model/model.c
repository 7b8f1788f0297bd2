/* SPDX-License-Identifier: MIT */
/*
 * Random operations against the model.
 *
 * A world has some spaces, each beside an oracle (oracle.h: a list of regions, bytes, guards), and
 * some virtual CPUs, each running some space or none with a TLB that forgets nothing on its own.
 * Each step is one operation out of op_*.c: everything that quire.h declares, with good arguments
 * and bad ones.  The status has to be what the oracle says, and so have the bytes.
 *
 * Every byte that is stored tells who wrote it and when: a store writes its space's number and the
 * number of the operation, over and over, so that a byte in the wrong place names its origin.
 *
 * Memory and promises.  Worlds have from few frames to many, and some a limit on promises.
 * Where the oracle can not know, judge.c asks whether a refusal was justified; otherwise the call
 * must succeed.  After a refusal the oracle is as it was, so the comparison shows that the space
 * is.  Sometimes the host, asked for frames or a promise, destroys another space or gives frames
 * back, and the operation starts again.  In half of the worlds another operation is done on another
 * space while one waits or drops what was shared, slice by slice.
 *
 * Sections.  Most worlds have some: bytes in memory, which views and reads must agree on, and bytes
 * in a file behind them.  Transfers fail and wait in some worlds, and end in any order; only where
 * a read has failed may an access.  What is not in memory has to be in the file; what was written
 * back has to be there after a sync that says so.
 *
 * Paging.  Most worlds have page files; pages are sent away and come back between operations and
 * within them, and the oracle knows nothing of that (paging.c).  A share of these has so few frames
 * that what is in use exceeds memory many times, and most calls make room for themselves.
 *
 * After each operation in the micro geometry (under sanitizers: every 8), and every 64 in the real
 * one: quire_check, soft_check, promises and pins, the regions of the space, and the pages that the
 * operation touched, in all spaces.  Every 16 operations (real: 64) all bytes of all spaces.  At
 * the end all spaces and pins go, and every frame must be free again.
 */
#define _GNU_SOURCE
#include "state.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct model M;

void fail(const char *format, ...)
{
    va_list args;
    int n =
        snprintf(M.result->why, sizeof M.result->why, "operation %llu, %s: ", (llu)M.op, M.doing);

    va_start(args, format);
    vsnprintf(M.result->why + n, sizeof M.result->why - (size_t)n, format, args);
    va_end(args);
    M.result->failed = true;
    longjmp(M.out, 1);
}

void doing(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(M.doing, sizeof M.doing, format, args);
    va_end(args);
    if (M.trace)
        printf("  %llu%s %s\n", (llu)M.op, M.busy_outside ? " within:" : "", M.doing);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void on_regions(struct model_space *m)
{
    switch (below(13)) {
    case 0:
    case 1: op_unmap(m); break;
    case 2:
    case 3:
    case 4: op_protect(m); break;
    case 5: op_commit(m); break;
    case 6: op_decommit(m); break;
    case 7: op_discard(m); break;
    case 8: op_guard(m); break;
    case 9: op_unguard(m); break;
    case 10: op_advise(m); break;
    case 11: op_name(m); break;
    default: op_move(m);
    }
}

static void on_pages(struct model_space *m)
{
    switch (below(12)) {
    case 0:
    case 1: op_bulk(m, QUIRE_READ); break;
    case 2:
    case 3:
    case 4: op_bulk(m, QUIRE_WRITE); break;
    case 5: op_force(m); break;
    case 6: op_fault(m); break;
    case 7: op_populate(m); break;
    case 8:
    case 9: op_clone(m); break;
    default: op_pin(m);
    }
}

static void on_spaces(struct model_space *m)
{
    switch (below(8)) {
    case 0: op_limit(m); break;
    case 1: op_pull(m); break;
    case 2: op_work(); break;
    case 3:
    case 4: op_diff(m); break;
    case 5: op_diff_and_mark(m); break;
    case 6: op_attribute(); break;
    default: op_frames();
    }
}

static void operation(void)
{
    struct model_space *m = some_space();
    uint32_t n = below(100);

    M.busy = m;
    M.free_when_asked = UINT64_MAX;
    M.commit_refused = M.no_wait = M.at_once = false;
    M.reads = M.max_slots > 0; /* any page may be out */
    M.failed_before = M.failed_reads;
    test_cpu = below(M.world.machine->cpu_count);
    sections_settle();
    paging_settle();
    trim(m);
    if (M.max_slots > 0 && chance(30))
        paging_background();
    if (M.max_slots > 0 && chance(12))
        op_paging(m);
    else if (M.max_sections > 0 && chance(22))
        op_section(m);
    else if (m->oracle->map.count == 0 && chance(70))
        op_map(m);
    else if (n < 24)
        op_access(QUIRE_WRITE);
    else if (n < 37)
        op_access(QUIRE_READ);
    else if (n < 40)
        op_access(QUIRE_EXEC);
    else if (n < 48)
        op_map(m);
    else if (n < 60)
        on_regions(m);
    else if (n < 71)
        on_pages(m);
    else if (n < 75 && M.live_pins > 0)
        chance(60) ? op_device() : op_unpin();
    else if (n < 82)
        op_fork(m);
    else if (n < 87 && M.live > 1)
        op_destroy(m);
    else if (n < 92)
        op_switch();
    else if (n < 98)
        on_spaces(m);
    else if (n < 99)
        op_create();
    else
        op_bad(m);
    M.busy = NULL;
}

/* What it does must not change what the operation outside has seen of a section already. */
static void op_within_write(struct model_space *m)
{
    for (unsigned i = 0; i < m->oracle->map.count; i++) {
        if (m->oracle->map.region[i].flags & QUIRE_REGION_SHARED)
            return;
    }
    op_bulk(m, QUIRE_WRITE);
}

/*
 * An operation while another one waits for memory or lets others run: on another space, and not by
 * a CPU, which may be in the middle of an access.
 */
void operation_within(void)
{
    struct model_space *m = M.live > 0 ? some_space() : NULL;
    char outside[sizeof M.doing];
    uint64_t free_when_asked = M.free_when_asked;
    uint32_t cpu = test_cpu;
    bool refused = M.commit_refused, reads = M.reads;

    if (!m || !M.interferes || M.alone || !M.busy || M.busy_outside || m == M.busy ||
        m == M.busy_mark || paging_working() || chance(50))
        return;
    memcpy(outside, M.doing, sizeof outside);
    M.busy_outside = M.busy;
    M.busy = m;
    M.free_when_asked = UINT64_MAX;
    M.commit_refused = false;
    test_cpu = below(M.world.machine->cpu_count);
    trim(m);
    if (M.max_slots > 0 && chance(30))
        paging_background();
    switch (below(8)) {
    case 0: op_map(m); break;
    case 1: op_unmap(m); break;
    case 2: op_protect(m); break;
    case 3: op_fork(m); break;
    case 4: op_bulk(m, QUIRE_READ); break;
    case 5: op_discard(m); break;
    case 6: op_move(m); break;
    default: op_within_write(m);
    }
    M.result->within++;
    M.busy = M.busy_outside;
    M.busy_outside = NULL;
    M.free_when_asked = free_when_asked;
    M.commit_refused = refused;
    M.reads = reads;
    test_cpu = cpu;
    memcpy(M.doing, outside, sizeof outside);
}

/* ---- worlds ---------------------------------------------------------------------------------- */

/* Percent of the worlds with page files that have hardly any frames: what is used in them exceeds
 * memory many times. */
enum { SCARCE = 25 };

/* What the options leave to the world's seed. */
static struct test_options some_options(bool *scarce)
{
    struct test_options o = {
        .frames = MICRO ? 24 + below(140) : 64 + below(900),
        .max_spaces = chance(90) ? 3 + below(SPACES_MAX - 2) : 1 + below(2),
        .colours = 1u << below(3),
        .reserve = chance(50) ? 0 : below(MICRO ? 4 : 16),
        .cpus = 1 + below(3),
        .held = MICRO ? 128 : 512,
        .max_pins = chance(80) ? 1 + below(PINS_MAX) : 0,
        .stack_gap = (uint64_t)below(4) << QUIRE_PAGE_SHIFT,
        .max_sections = chance(80) ? 1 + below(SECTIONS_MAX) : 0,
        .max_transfers = chance(50) ? 0 : 1 + below(4),
        .fault_around = chance(50) ? 0 : 1u << below(5),
    };

    if (chance(75)) {
        *scarce = chance(SCARCE);
        o.frames = MICRO ? 300 + below(300) : 600 + below(600);
        if (*scarce)
            o.frames = MICRO ? 24 + below(140) : 64 + below(200);
        o.max_slots = MICRO ? 8 * (1 + below(24)) : 64 * (1 + below(8));
        o.keep_free = chance(50) ? 0 : 1 + below(8);
    }

    if (chance(40)) {
        o.low = MICRO ? (vaddr_t)below(8) << QUIRE_PAGE_SHIFT : 0x10000;
        o.high = MICRO ? (vaddr_t)(40 + below(24)) << QUIRE_PAGE_SHIFT : UINT64_C(1) << 46;
    }
    if (chance(40))
        o.commit_limit = MICRO ? 20 + below(150) : 2000 + below(10000);
    return o;
}

/* Everything about a world follows from its seed. */
static void world_begin(void)
{
    struct test_options o = some_options(&M.scarce);

    M.host_helps = chance(40);
    M.interferes = chance(50);
    M.injecting = chance(40);
    M.io_failing = chance(40) ? 5 + below(40) : 0;
    M.io_late = chance(60);
    M.page_failing = chance(40) ? 5 + below(40) : 0;
    M.page_late = chance(60);
    M.max_slots = o.max_slots;
    test_world_create(&M.world, &o);
    host_begin();
    /* Once more, in an arena and frames that are not zeroed: nobody promised that. */
    memset(M.world.arena, 0xa5, M.world.config.arena_size);
    memset(M.world.frames, 0x5a, (size_t)o.frames << QUIRE_PAGE_SHIFT);
    if (quire_create(&M.world.config, &M.world.q) != QUIRE_OK ||
        quire_add_frames(M.world.q, M.world.config.first_frame, o.frames) != QUIRE_OK)
        fail("no manager in an arena that is not zeroed");
    M.low = o.low;
    M.high = o.high ? o.high : UINT64_C(1) << QUIRE_ADDRESS_BITS;
    M.max_spaces = o.max_spaces;
    M.max_pins = o.max_pins;
    M.max_sections = o.max_sections;
    M.reserve = o.reserve;
    M.commit_limit = o.commit_limit;
    M.stack_gap = o.stack_gap;
    M.frames_at_start = (uint32_t)frames_free();
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        M.spaces[i] = (struct model_space){.oracle = malloc(sizeof(struct oracle))};
        if (!M.spaces[i].oracle)
            abort();
        oracle_clear(M.spaces[i].oracle);
    }
    paging_begin();
}

static void world_end(void)
{
    doing("destroying all");
    for (unsigned i = 0; i < SPACES_MAX; i++) {
        if (M.spaces[i].space)
            space_gone(&M.spaces[i]);
    }
    sections_end();
    pins_end();
    while (M.taken_count > 0)
        quire_frame_give(M.world.q, M.taken[--M.taken_count]);
    paging_end();
    audit();
    if (frames_free() != M.frames_at_start)
        fail("%llu frames are free, not %u", (llu)frames_free(), M.frames_at_start);
}

static void world_run(uint64_t ops)
{
    for (M.op = 1; M.op <= ops; M.op++) {
        if (M.live == 0)
            op_create();
        if (M.live == 0)
            continue;
        /* Where pages can leave, one that does is a reason to try again: that would not end. */
        if (M.injecting && chance(5))
            test_failure_set(1 + below(3), M.max_slots == 0 && chance(50), 0);
        operation();
        test_failure_set(0, false, 0);
        if ((M.op & 255) == 0)
            alarm(120);
        if (M.op % AUDIT_EVERY == 0)
            audit();
        if (M.op % SWEEP_EVERY == 0)
            compare_all();
        M.result->ops++;
    }
    sections_settle();
    doing("the last comparison");
    audit();
    compare_all();
    struct quire_stats stats;
    quire_stats(M.world.q, &stats);
    M.result->copies += stats.copies;
    M.result->reuses += stats.reuses;
    M.result->trimmed += stats.trimmed;
    M.result->soft_faults += stats.soft_faults;
    M.result->stolen += stats.stolen;
    M.result->paged_in += stats.paged_in;
    M.result->paged_out += stats.paged_out;
    world_end();
}

static void on_signal(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(number, SIG_DFL);
    fail("%s", number == SIGALRM ? "an operation does not end" : "core crashed");
}

void model_run(const struct model_options *options, struct model_result *result)
{
    jmp_buf panic;

    M = (struct model){
        .result = result, .seed = options->seed, .random = options->seed, .trace = options->trace};
    test_cpu = 0;
    test_failure_set(0, false, 0);
    signal(SIGALRM, on_signal);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
#endif
    if (setjmp(M.out) == 0) {
        doing("beginning");
        if (setjmp(panic) != 0)
            fail("panic: %s", test_panic_text);
        test_panic_catch = &panic;
        world_begin();
        world_run(options->ops);
    }
    alarm(0);
    test_panic_catch = NULL;
    test_failure_set(0, false, 0);
    for (unsigned i = 0; i < SPACES_MAX; i++)
        free(M.spaces[i].oracle);
    for (unsigned i = 0; i < PAGEFILES_MAX; i++)
        free(M.pagefiles[i].bytes);
    test_world_destroy(&M.world);
}
