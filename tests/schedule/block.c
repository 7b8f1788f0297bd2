/* SPDX-License-Identifier: MIT */
/*
 * The one block: where everything lies, snapshots, and the hash of a moment.
 *
 * The block is mapped once, at a fixed address where that is free, so that pointers within it, on
 * the stacks too, are right after every restore and the same in every run of the program.  Of a
 * stack only the live part counts, from the stack pointer to the top; what lies below is left over
 * from calls that have returned.  Nor does count what the library only counts for its users.
 */
#define _GNU_SOURCE
#include "machine.h"
#include "space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCK_MAX = 1 << 20, LINE = 64, PIECE = 8 /* lines that are compared at once */ };
#define BLOCK_ADDRESS ((void *)(UINT64_C(1) << 40))

static unsigned char *block, *frames, *stacks;

static size_t lines(size_t n) { return (n + LINE - 1) & ~(size_t)(LINE - 1); }

static void block_map(void)
{
    block = mmap(BLOCK_ADDRESS, BLOCK_MAX, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block != MAP_FAILED)
        return;
    perror("schedule: no memory");
    exit(2);
}

static void must(enum quire_status status)
{
    if (status == QUIRE_OK)
        return;
    fprintf(stderr, "schedule: no world: %s\n", quire_status_name(status));
    exit(2);
}

static void hash_begin(void);

void world_create(unsigned cpus, unsigned slots)
{
    if (!block)
        block_map();
    struct world *w = (struct world *)block;
    struct quire_config config = {
        .first_frame = FIRST_FRAME,
        .frame_count = FRAMES,
        .max_sections = 1,
        .max_spaces = SLOTS,
        .cpus = cpus,
        .max_pins = CPUS_MAX,
        .max_slots = slots,
        .keep_free = slots ? FRAMES : 0, /* so balance always has something to do */
        .direct_map = block,             /* read by quire_arena_size only as present or not */
        .host = block,
        .machine = block,
    };
    size_t arena = lines(sizeof *w + cpus * sizeof w->cpu[0]);
    config.arena_size = quire_arena_size(&config);
    frames = block + lines(arena + config.arena_size);
    stacks = frames + (size_t)FRAMES * QUIRE_PAGE_SIZE;
    memset(block, 0, (size_t)(stacks - block) + cpus * STACK_SIZE);
    config.arena = block + arena;
    config.direct_map = frames;
    sim.world = w;
    sim.cpu = NULL;
    w->cpu_count = cpus;
    must(quire_create(&config, &w->q));
    must(quire_add_frames(w->q, FIRST_FRAME, FRAMES));
    w->free_at_start = quire_free_frames(w->q);
    for (unsigned i = 0; i < cpus; i++) {
        w->cpu[i].root = QI_NO_FRAME;
        w->cpu[i].state = CPU_DONE;
    }
    hash_begin();
}

size_t world_size(void) { return (size_t)(stacks - block); }

size_t world_offset(const void *address)
{
    const unsigned char *at = address;
    return at >= block && at < stacks ? (size_t)(at - block) : SIZE_MAX;
}

bool world_in_frames(const void *address)
{
    const unsigned char *at = address;
    return at >= frames && at < stacks;
}

size_t world_frame_word(const void *address)
{
    return (size_t)((const unsigned char *)address - frames) / 8;
}

unsigned cpu_index(const struct cpu *cpu) { return (unsigned)(cpu - sim.world->cpu); }

/* ---- stacks -------------------------------------------------------------------------------- */

static unsigned char *stack_top(const struct cpu *cpu)
{
    return stacks + (cpu_index(cpu) + 1) * STACK_SIZE;
}

void context_prepare(struct cpu *cpu, void (*body)(void))
{
    unsigned char *top = stack_top(cpu);
    memset(top - STACK_SIZE, 0, STACK_SIZE);
    /* As context_switch leaves a stack: six registers, and where to go on.  The word above is the
     * return address of body, which has none. */
    void (*entry)(void) = body;
    memcpy(top - 16, &entry, sizeof entry);
    cpu->sp = top - 16 - 6 * 8;
    cpu->state = CPU_RUNS;
}

/* Bytes of a stack that are live. */
static size_t stack_live(const struct cpu *cpu)
{
    if (cpu->state == CPU_DONE)
        return 0;
    size_t live = (size_t)(stack_top(cpu) - (unsigned char *)cpu->sp);
    /* The last word was never used, or there was not enough. */
    if (live > STACK_SIZE || *(const uint64_t *)(stack_top(cpu) - STACK_SIZE) != 0) {
        fprintf(stderr, "schedule: a stack of %d bytes is too small\n", STACK_SIZE);
        abort();
    }
    return live;
}

void context_clean(struct cpu *cpu)
{
    unsigned char *bottom = stack_top(cpu) - STACK_SIZE;
    memset(bottom, 0, (size_t)((unsigned char *)cpu->sp - bottom));
}

/* ---- snapshots ----------------------------------------------------------------------------- */

size_t world_snapshot_max(void) { return BLOCK_MAX / 8; }

size_t world_snapshot(void *to)
{
    unsigned char *out = to;
    memcpy(out, block, world_size());
    out += world_size();
    for (unsigned i = 0; i < sim.world->cpu_count; i++) {
        size_t live = stack_live(&sim.world->cpu[i]);
        memcpy(out, stack_top(&sim.world->cpu[i]) - live, live);
        out += live;
    }
    return (size_t)(out - (unsigned char *)to);
}

void world_restore(const void *from)
{
    const unsigned char *in = from;
    memcpy(block, in, world_size());
    in += world_size();
    for (unsigned i = 0; i < sim.world->cpu_count; i++) {
        size_t live = stack_live(&sim.world->cpu[i]);
        memcpy(stack_top(&sim.world->cpu[i]) - live, in, live);
        in += live;
    }
}

static const uint64_t secrets[4] = {UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db),
                                    UINT64_C(0x8ebc6af09c88c6e3), UINT64_C(0x589965cc75374cc3)};

__extension__ typedef unsigned __int128 wide;

static uint64_t mix(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* 64 bits of n bytes, a multiple of 8. */
static uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed)
{
    const uint64_t *in = bytes;
    uint64_t h[4] = {seed ^ secrets[0], seed ^ secrets[1], seed ^ secrets[2], seed ^ secrets[3]};
    for (; n >= 64; n -= 64, in += 8)
        for (unsigned i = 0; i < 4; i++)
            h[i] = mix(in[i * 2] ^ h[i], in[i * 2 + 1] ^ secrets[i]);
    for (; n > 0; n -= 8, in++)
        h[0] = mix(*in ^ h[0], secrets[1]);
    return mix(h[0] ^ secrets[0], h[1]) ^ mix(h[2] ^ secrets[1], h[3] ^ secrets[2]);
}

/*
 * Of the block below the stacks the hash is the sum of the hashes of its lines, and from one moment
 * to the next few lines change: what was hashed last is kept, and compared.
 */
static struct {
    bool begun;
    uint64_t sum, of_line[BLOCK_MAX / LINE];
    _Alignas(LINE) unsigned char content[BLOCK_MAX];
    _Alignas(LINE) unsigned char counts[BLOCK_MAX]; /* 0xff: this byte does; else 0 */
} hashed;

static void ignore(const void *address, size_t size)
{
    memset(hashed.counts + world_offset(address), 0, size);
}

/*
 * Statistics decide nothing, and whoever adds to them has done something else that counts.  Of
 * frames in each state the sum over all CPUs is asked for, and the records say it too.
 */
static void hash_begin(void)
{
    const struct quire *q = sim.world->q;
    hashed.begun = false;
    memset(hashed.counts, 0xff, world_size());
    for (unsigned i = 0; i < q->cpu_count; i++) {
        ignore(&q->cpus[i].stats, sizeof q->cpus[i].stats);
        ignore(q->cpus[i].by_state, sizeof q->cpus[i].by_state);
        if (q->frames.colours == 1)
            ignore(&q->cpus[i].next_colour, sizeof q->cpus[i].next_colour);
    }
}

static uint64_t line_hash(size_t i)
{
    const uint64_t *now = (const uint64_t *)(block + i * LINE);
    const uint64_t *counts = (const uint64_t *)(hashed.counts + i * LINE);
    uint64_t words[LINE / 8];
    for (unsigned n = 0; n < LINE / 8; n++)
        words[n] = now[n] & counts[n];
    return hash_bytes(words, LINE, i);
}

static void hash_line(size_t i)
{
    const unsigned char *now = block + i * LINE;
    if (hashed.begun && !memcmp(now, hashed.content + i * LINE, LINE))
        return;
    hashed.sum -= hashed.of_line[i];
    hashed.of_line[i] = line_hash(i);
    hashed.sum += hashed.of_line[i];
    memcpy(hashed.content + i * LINE, now, LINE);
}

static uint64_t hash_lines(size_t at, size_t end)
{
    if (!hashed.begun) {
        hashed.sum = 0;
        memset(hashed.of_line, 0, sizeof hashed.of_line);
    }
    for (; at < end; at += PIECE) {
        size_t stop = at + PIECE < end ? at + PIECE : end;
        if (hashed.begun &&
            !memcmp(block + at * LINE, hashed.content + at * LINE, (stop - at) * LINE))
            continue;
        for (size_t i = at; i < stop; i++)
            hash_line(i);
    }
    hashed.begun = true;
    return hashed.sum;
}

uint64_t world_hash(void)
{
    const struct world *w = sim.world;
    uint64_t h = hash_lines(offsetof(struct world, from_here) / LINE, world_size() / LINE);
    for (unsigned i = 0; i < w->cpu_count; i++) {
        size_t live = stack_live(&w->cpu[i]);
        h = hash_bytes(stack_top(&w->cpu[i]) - live, live, h);
    }
    return h;
}
