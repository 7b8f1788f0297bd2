/* SPDX-License-Identifier: MIT */
/*
 * The host functions and test hooks behind world.h.
 *
 * A world's block is laid out once, by world_layout, which both test_world_size and
 * test_world_create call: machine first, then the arena, then the frames from a page boundary on.
 * The host answers "no" to host_need_frames unless the test says otherwise, so that running out of
 * memory is a status and never a loop.
 *
 * What several threads count together they count by atomic additions.  Shared words are accessed
 * directly; a program that wants to see or to delay accesses defines the three functions itself,
 * which are weak here.
 */
#define _GNU_SOURCE
#include "world.h"

#include <quire/host.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MICRO (QUIRE_ADDRESS_BITS < 32)

struct test_failure test_failure;
jmp_buf *test_panic_catch;
char test_panic_text[TEST_REPORT_MAX];
void (*test_touch)(const void *address, bool write);
_Thread_local uint32_t test_cpu;

#define COUNT(counter) __atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED)

/* ---- what core asks of its host -------------------------------------------------------------- */

uint32_t host_cpu(void *host)
{
    struct test_world *world = host;

    return world->cpu_number ? world->cpu_number(world) : test_cpu;
}

bool host_need_frames(void *host, uint32_t frames)
{
    struct test_world *world = host;

    COUNT(world->need_calls);
    __atomic_store_n(&world->need_frames_last, frames, __ATOMIC_RELAXED);
    return world->need_frames && world->need_frames(world, frames);
}

bool host_need_commit(void *host, uint64_t pages)
{
    struct test_world *world = host;

    COUNT(world->need_commit_calls);
    return world->need_commit && world->need_commit(world, pages);
}

void host_yield(void *host)
{
    struct test_world *world = host;

    COUNT(world->yields);
    if (world->yield)
        world->yield(world);
}

/* One thread: a word that is seen to be another's here will never change. */
void host_wait(void *host, const void *key)
{
    struct test_world *world = host;

    if (world->wait)
        world->wait(world, key);
    else if (world->options.threads)
        sched_yield();
    else
        host_panic("a lock is held by nobody else", __FILE__, __LINE__);
}

void host_wait_io(void *host, struct quire_section *section)
{
    struct test_world *world = host;

    if (world->wait_io)
        world->wait_io(world, section);
    else if (world->options.threads)
        sched_yield();
    else
        host_panic("a transfer that nobody will end", __FILE__, __LINE__);
}

void host_report(void *host, const char *line)
{
    struct test_world *world = host;

    COUNT(world->reports);
    snprintf(world->report, sizeof world->report, "%s", line);
    if (world->reported)
        world->reported(world, line);
    if (!world->quiet)
        fprintf(stderr, "report: %s\n", line);
}

void host_panic(const char *what, const char *file, int line)
{
    snprintf(test_panic_text, sizeof test_panic_text, "%s:%d: %s", file, line, what);
    if (test_panic_catch)
        longjmp(*test_panic_catch, 1);
    fprintf(stderr, "panic: %s\n", test_panic_text);
    abort();
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static _Thread_local bool made_to_fail;

void test_failure_set(uint64_t at, bool from_then_on, uint32_t sites)
{
    made_to_fail = false;
    test_failure.at = at;
    test_failure.from_then_on = from_then_on;
    test_failure.sites = sites;
    test_failure.passed = 0;
    test_failure.failed = 0;
}

bool test_failure_pass(struct test_failure *failure)
{
    uint64_t passed = COUNT(failure->passed) + 1;
    bool fails =
        failure->at && (failure->from_then_on ? passed >= failure->at : passed == failure->at);

    if (fails)
        COUNT(failure->failed);
    return fails;
}

#ifdef QUIRE_TEST
enum qi_canary qi_test_canary;

bool qi_test_failed(void)
{
    bool failed = made_to_fail;

    made_to_fail = false;
    return failed;
}

bool qi_test_fail(enum qi_site site)
{
    struct test_failure *f = &test_failure;

    COUNT(f->by_site[site]);
    if ((f->sites && !(f->sites & (1u << site))) || !test_failure_pass(f))
        return false;
    COUNT(f->failed_by_site[site]);
    made_to_fail = true;
    return true;
}

__attribute__((weak)) uint64_t qi_test_load(const void *address, unsigned size)
{
    if (test_touch)
        test_touch(address, false);
    return size == 1 ? __atomic_load_n((const uint8_t *)address, __ATOMIC_ACQUIRE)
           : size == sizeof(uint64_t)
               ? __atomic_load_n((const uint64_t *)address, __ATOMIC_ACQUIRE)
               : __atomic_load_n((const uint32_t *)address, __ATOMIC_ACQUIRE);
}

__attribute__((weak)) void qi_test_store(void *address, uint64_t value, unsigned size)
{
    if (test_touch)
        test_touch(address, true);
    if (size == 1)
        __atomic_store_n((uint8_t *)address, (uint8_t)value, __ATOMIC_RELEASE);
    else if (size == sizeof(uint64_t))
        __atomic_store_n((uint64_t *)address, value, __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint32_t *)address, (uint32_t)value, __ATOMIC_RELEASE);
}

__attribute__((weak)) void qi_test_touch(const void *address, unsigned size)
{
    (void)size;
    if (test_touch)
        test_touch(address, true);
}

__attribute__((weak)) void qi_test_touch_all(const void *address, bool write)
{
    if (test_touch)
        test_touch(address, write);
}
#endif

/* ---- worlds ---------------------------------------------------------------------------------- */

static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

static void options_default(struct test_options *to, const struct test_options *from)
{
    *to = from ? *from : (struct test_options){0};
    if (!to->frames)
        to->frames = MICRO ? 64 : 4096;
    if (!to->first_frame)
        to->first_frame = 16;
    if (!to->max_spaces)
        to->max_spaces = MICRO ? 8 : 1024;
    if (!to->colours)
        to->colours = 1;
    if (!to->cpus)
        to->cpus = 1;
    if (!to->callers)
        to->callers = to->cpus;
    if (!to->held)
        to->held = MICRO ? 256 : 4096;
}

static struct soft_config machine_config(const struct test_options *o)
{
    return (struct soft_config){
        .cpus = o->cpus,
        .threads = o->threads,
        .held = o->held,
        .first_frame = o->first_frame,
        .frame_count = o->frames,
    };
}

struct layout {
    size_t arena, arena_size, frames, size; /* offsets from the block, and sizes */
};

static struct layout world_layout(const struct test_options *o, struct quire_config *config)
{
    struct soft_config machine = machine_config(o);
    struct layout l;

    *config = (struct quire_config){
        .first_frame = o->first_frame,
        .frame_count = o->frames,
        .max_spaces = o->max_spaces,
        .cpus = o->callers,
        .colours = o->colours,
        .reserve = o->reserve,
        .max_pins = o->max_pins,
        .max_sections = o->max_sections,
        .max_transfers = o->max_transfers,
        .fault_around = o->fault_around,
        .max_slots = o->max_slots,
        .keep_free = o->keep_free,
        .policy = o->policy,
        .low_memory = o->low_memory,
        .commit_limit = o->commit_limit,
        .stack_gap = o->stack_gap,
        .low = o->low,
        .high = o->high,
        .trace = o->trace,
        .direct_map = (void *)4096, /* quire_arena_size may insist that there is one */
    };
    l.arena = round_up(soft_machine_size(&machine), 64);
    l.arena_size = quire_arena_size(config);
    if (!l.arena_size) {
        fprintf(stderr, "test_world: quire_arena_size refuses the configuration\n");
        abort();
    }
    l.frames = round_up(l.arena + l.arena_size, 4096);
    l.size = l.frames + (size_t)o->frames * QUIRE_PAGE_SIZE;
    return l;
}

size_t test_world_size(const struct test_options *options)
{
    struct test_options o;
    struct quire_config config;

    options_default(&o, options);
    return world_layout(&o, &config).size;
}

static void must(enum quire_status status, const char *what)
{
    if (status == QUIRE_OK)
        return;
    fprintf(stderr, "test_world: %s: %s\n", what, quire_status_name(status));
    abort();
}

static void block_get(struct test_world *world, size_t size)
{
    world->block_size = size;
    world->block = world->options.block;
    if (world->block && world->options.block_size >= size) {
        memset(world->block, 0, size);
        return;
    }
    world->block = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (world->options.block || world->block == MAP_FAILED) {
        fprintf(stderr, "test_world: no block of %zu bytes\n", size);
        abort();
    }
    world->block_mapped = true;
}

void test_world_create(struct test_world *world, const struct test_options *options)
{
    struct soft_config machine;
    struct layout l;

    *world = (struct test_world){0};
    options_default(&world->options, options);
    l = world_layout(&world->options, &world->config);
    block_get(world, l.size);
    world->arena = world->block + l.arena;
    world->frames = world->block + l.frames;

    machine = machine_config(&world->options);
    machine.direct_map = world->frames;
    machine.host = world;
    world->machine = soft_machine_init(world->block, &machine);
    for (uint32_t i = 0; i < world->options.cpus && i < TEST_CPUS; i++)
        world->cpu[i] = &world->machine->cpus[i];

    world->config.arena = world->arena;
    world->config.arena_size = l.arena_size;
    world->config.direct_map = world->frames;
    world->config.host = world;
    world->config.machine = world->machine;
    must(quire_create(&world->config, &world->q), "quire_create");
    if (!world->options.no_frames)
        must(quire_add_frames(world->q, world->options.first_frame, world->options.frames),
             "quire_add_frames");
}

void test_world_destroy(struct test_world *world)
{
    if (world->block_mapped)
        munmap(world->block, world->block_size);
    *world = (struct test_world){0};
}

void test_world_snapshot(const struct test_world *world, void *memory)
{
    memcpy(memory, world->block, world->block_size);
}

void test_world_restore(struct test_world *world, const void *memory)
{
    memcpy(world->block, memory, world->block_size);
}

void *test_world_copy(const struct test_world *world)
{
    void *memory = malloc(world->block_size);

    if (!memory)
        abort();
    test_world_snapshot(world, memory);
    return memory;
}

bool test_world_unchanged(const struct test_world *world, const void *copy)
{
    size_t skip = (size_t)(world->arena - world->block);

    return memcmp(world->arena, (const unsigned char *)copy + skip, world->block_size - skip) == 0;
}

unsigned test_world_findings(struct test_world *world)
{
    return quire_check(world->q) + soft_check(world->machine);
}

void test_world_audit(struct test_world *world, const char *where)
{
    unsigned findings = test_world_findings(world);

    if (!findings && !world->machine->violations)
        return;
    fprintf(stderr, "audit: %u findings, %llu violations seen by the machine, %s\n", findings,
            (unsigned long long)world->machine->violations, where);
    abort();
}

/* ---- accesses -------------------------------------------------------------------------------- */

void test_run(struct test_world *world, uint32_t cpu, struct quire_space *space)
{
    if (world->cpu[cpu]->space != space)
        soft_cpu_run(world->cpu[cpu], world->q, space);
}

void test_end(struct test_world *world, struct quire_space *space)
{
    for (uint32_t i = 0; i < world->machine->cpu_count; i++) {
        if (world->machine->cpus[i].space == space)
            soft_cpu_run(&world->machine->cpus[i], world->q, NULL);
    }
    quire_space_destroy(space);
}

/* CPU 0 for one access in `space`. */
static struct soft_cpu *access_begin(struct test_world *world, struct quire_space *space)
{
    test_run(world, 0, space);
    if (world->options.threads)
        soft_cpu_enter(world->cpu[0]);
    return world->cpu[0];
}

static enum quire_status access_end(struct test_world *world, enum quire_status status)
{
    if (world->options.threads)
        soft_cpu_leave(world->cpu[0]);
    return status;
}

enum quire_status test_load(struct test_world *world, struct quire_space *space, vaddr_t address,
                            uint8_t *out)
{
    struct soft_cpu *cpu = access_begin(world, space);

    return access_end(world, soft_load(cpu, address, out, 1));
}

enum quire_status test_store(struct test_world *world, struct quire_space *space, vaddr_t address,
                             uint8_t value)
{
    struct soft_cpu *cpu = access_begin(world, space);

    return access_end(world, soft_store(cpu, address, &value, 1));
}

enum quire_status test_fetch(struct test_world *world, struct quire_space *space, vaddr_t address)
{
    struct soft_cpu *cpu = access_begin(world, space);

    return access_end(world, soft_fetch(cpu, address, NULL));
}
