/* SPDX-License-Identifier: MIT */
/*
 * The simulated machine: some CPUs as coroutines, one block of memory.
 *
 * Everything that a run can change lies in the block, at one address for the life of the program:
 * history, CPUs with TLBs and store buffers, the manager's arena, the frames, and at the end the
 * stacks of the coroutines.  Going back to an earlier moment is copying the block back; two moments
 * are the same if all but the history is (world_hash).
 *
 *     | history | machine, CPUs | arena | frames | stack 0 | stack 1 | ...
 *
 * A CPU runs until it has passed `budget` points: accesses to shared words inside the library
 * (core/hook.h), and the guest's own accesses, one point for each level of a walk and one for the
 * data.  Then, or where it has to wait, it gives way to the explorer (run.h), which may let
 *
 *   another CPU run                 a CPU's oldest buffered store become visible
 *   a CPU take its interrupts       a CPU walk to a page that nobody asked for
 *   a CPU forget what it holds
 *
 * Store buffers (TSO): stores of the library and of the guest become visible later, in order; their
 * own CPU sees them at once.  An atomic operation, a flush and an interrupt empty the buffer. While
 * a CPU runs, memory is as it sees it, its buffered stores included, and when it gives way they are
 * taken back: so what the library reads without a hook is right too.
 */
#ifndef SCHEDULE_MACHINE_H
#define SCHEDULE_MACHINE_H

#include "table.h"

#include <setjmp.h>
#include <stddef.h>

enum {
    CPUS_MAX = 4,
    OPS_MAX = 3,     /* of one CPU's program */
    PAGES = 64,      /* of the address space */
    TOUCHED = 4,     /* pages that programs touch */
    SLOTS = 16,      /* names of spaces: A, B, C, and one for each operation */
    HELD_MAX = 48,   /* translations and table pointers of one CPU */
    STORES_MAX = 24, /* stores in one buffer */
    FRAMES = 64,
    FRAME_WORDS = FRAMES * QUIRE_PAGE_SIZE / 8,
    FIRST_FRAME = 16,
    STACK_SIZE = 6144,
    TAKEN_MAX = FRAMES,
    FILE_PAGES = 4, /* of the section */
    IO_MAX = 16,
    SLOTS_PAGED = 16, /* of the page file */
    TEXT_MAX = 240,
};

/* Page numbers: two in one leaf, one in the next leaf, one under another upper table. */
extern const uint8_t touched[TOUCHED];

enum cpu_state {
    CPU_RUNS,    /* can go on */
    CPU_WAITS,   /* in host_wait: until another CPU has stored something */
    CPU_FLUSHES, /* until all CPUs have taken its flush */
    CPU_STALLS,  /* its store buffer is full */
    CPU_DONE,    /* its program has ended; it still takes interrupts */
};

/* A translation (level 0), or a pointer to a table of `level`, for addresses from `page` on. */
struct held {
    uint8_t level, page, write, exec;
    pfn_t pfn;
};

struct buffered {
    void *at;
    uint64_t value;
    uint64_t before; /* while its CPU runs: what the others see */
    uint32_t size;
    bool local; /* nobody else ever looks at this word */
};

/* A flush request: pages [low, high) of the space, or of every one if it is null; then run with
 * `root`, unless QI_NO_FRAME. */
struct flush {
    struct quire_space *space;
    uint32_t low, high;
    pfn_t root;
};

/* How one operation of a program ended. */
struct result {
    uint64_t value;          /* of a load */
    uint8_t status;          /* enum quire_status */
    uint8_t after[CPUS_MAX]; /* operations of each CPU that had ended when it began */
};

struct cpu {
    void *sp;
    struct quire_space *space; /* null: runs none */
    pfn_t root;                /* of space, as the machine was told last */
    uint8_t state;             /* enum cpu_state */
    uint8_t slot;              /* of space */
    uint8_t ops_ended;         /* operations of the program */
    uint8_t ops_seen;          /* of these, those whose stores are all visible */
    bool woken;                /* WAITS: somebody stored something */
    bool tried_again;          /* it went on waiting though nothing was stored meanwhile */
    uint8_t yields;            /* of its operation, see host_yield */
    bool in_instruction, in_quire;
    uint8_t unacked, pending; /* CPUs, one bit each: that must take my flush; whose flush I must */
    uint8_t held_count, store_count;
    const void *key; /* WAITS: for a store to this word; null: to any */
    void *changing;  /* the word, its value and size, before an atomic operation under way */
    uint64_t changing_from;
    uint64_t changing_size;
    struct flush request[CPUS_MAX];     /* by who asked */
    uint64_t watched[FRAME_WORDS / 64]; /* words that decide what it may hold, see machine_fill */
    struct held held[HELD_MAX];
    struct buffered store[STORES_MAX];
    struct result result[OPS_MAX];
};

/* What happened so far: part of a snapshot, not of what tells two moments apart. */
struct history {
    uint32_t drained[CPUS_MAX]; /* stores that became visible */
    uint32_t interrupts[CPUS_MAX];
    uint32_t forgotten; /* translations for which there was no room */
};

struct world {
    struct history history;
    _Alignas(64) uint64_t from_here; /* world_hash begins here */
    struct quire *q;
    struct quire_space *space[SLOTS]; /* null: none of this name */
    struct quire_pin pin[CPUS_MAX];
    struct quire_run pin_run[CPUS_MAX][4];
    struct quire_section *section;   /* null: the start state has none */
    struct quire_io *io[IO_MAX];     /* transfers that the pager has begun; null: none */
    uint32_t io_ending;              /* those that are no longer there, and have not ended yet */
    uint64_t file[FILE_PAGES];       /* the first word of each page, as the pager has stored it */
    struct quire_pagefile *pagefile; /* null: the start state has none */
    uint64_t paged_out[SLOTS_PAGED]; /* the first word of each page that it has */
    bool failing[2];   /* the next transfer that ends fails: of those that read, write */
    bool failed_write; /* some did */
    pfn_t taken[TAKEN_MAX];
    uint32_t taken_count;
    uint32_t cpu_count;
    uint32_t free_at_start; /* free frames before there was any space */
    struct cpu cpu[];
};

/* How the machine behaves; set by whoever starts a run, constant during it. */
struct machine_mode {
    bool tso;      /* store buffers */
    bool eager;    /* every CPU holds at once all that it may hold */
    bool stocked;  /* every CPU begins with free frames of its own, see program.c */
    bool masked;   /* interrupts are taken between instructions and while waiting only */
    uint8_t depth; /* of store buffers */
};

/* Through a hook. */
enum access { ACCESS_LOAD, ACCESS_STORE, ACCESS_CHANGE };

/* Outside of the block: where the simulation stands. */
struct simulation {
    struct world *world;
    struct cpu *cpu;     /* whose coroutine runs; null: the explorer does, hooks do nothing */
    void *explorer;      /* its stack pointer */
    unsigned direct_cpu; /* that the explorer's own calls are made on */
    struct machine_mode mode;
    int budget;      /* points until the running CPU gives way */
    bool coarse;     /* .. of which only those count where it is about to change something */
    bool stepwise;   /* each point that counts ends a step, see run_settle */
    bool stepped;    /* it has not given way, but made a step */
    uint32_t passed; /* points since it began to run */
    uint32_t spent;  /* those that counted */
    bool gave_way;   /* it stopped because the budget was spent */
    bool yielded;    /* a CPU let others run; for whoever asks */
    bool halt;       /* set by step_over: the CPU goes no further for now */
    bool changed;    /* a table may have changed since the last look at it */
    uint8_t refill;  /* CPUs, one bit each, that may hold something else now */
    bool tracking;   /* words are sorted into local and shared ones, see share.c */
    /* If not null: told of each hook, with the size of a store; see conflicts.c. */
    void (*counter)(const void *address, enum access access, unsigned size);
    /* If not null: told of steps within a run; `store`: one became visible. */
    void (*step_over)(bool store);
    bool verbose;           /* accesses are noted, for machine_describe */
    jmp_buf direct;         /* where a failure of the explorer's own calls goes */
    char failure[TEXT_MAX]; /* empty: none */
    uint64_t interrupts;    /* flush requests sent, ever */
};
extern struct simulation sim;

/* ---- the block ----------------------------------------------------------------------------- */

/* A new world with `cpus` CPUs and room for so many slots, without spaces.  Every CPU would run
 * `body` with its number. */
void world_create(unsigned cpus, unsigned slots);
/* Start, or start again, the coroutine of a CPU. */
void context_prepare(struct cpu *cpu, void (*body)(void));
/* Zero what calls that have returned left below the stack pointer. */
void context_clean(struct cpu *cpu);
/* Bytes that a snapshot can need at most; take one; go back to it. */
size_t world_snapshot_max(void);
size_t world_snapshot(void *to);
void world_restore(const void *from);
/* 64 bits that stand for the state of everything. */
uint64_t world_hash(void);
/* Offset of an address in the block below the stacks; SIZE_MAX if it is elsewhere. */
size_t world_offset(const void *address);
size_t world_size(void);
bool world_in_frames(const void *address);
/* The number of a word in the frames. */
size_t world_frame_word(const void *address);
unsigned cpu_index(const struct cpu *cpu);

/* ---- a CPU's side -------------------------------------------------------------------------- */

/* One access of the guest to the first word of `page`.  Retries after faults. */
enum quire_status guest_access(struct cpu *cpu, unsigned page, bool write, uint64_t *value);
/* End a transfer that the pager has begun, the oldest or the newest; false: there is none. */
bool pager_end(bool newest);
/* The pager is looked at, or changed, by the running CPU. */
void machine_note_pager(void);
/* So many more transfers are being ended; negative: have ended. */
void machine_io_ending(int32_t change);
/* The running coroutine gives way, in this state. */
void cpu_leave(struct cpu *cpu, enum cpu_state state);
/* The frame's bytes. */
void *machine_frame(pfn_t pfn);

/* ---- the explorer's side ------------------------------------------------------------------- */

/*
 * While sim.stepwise a CPU that goes on past a point has made a step: what run_apply does after a
 * decision is done there too, through run_settle.  If sim.step_over is set, it is told of each such
 * step, and what the CPU has stored becomes visible at once, as a step of its own.
 */
void run_settle(void);

/* Let a CPU run: `budget` points at most. */
void machine_run(struct cpu *cpu, int budget);
/* The oldest buffered store becomes visible; the same for all of them. */
void machine_drain(struct cpu *cpu);
void machine_drain_all(struct cpu *cpu);
/* Stores in the buffer that somebody else could see. */
unsigned machine_buffered(const struct cpu *cpu);
/* Take all flush requests. */
void machine_interrupt(struct cpu *cpu);
bool machine_interruptible(const struct cpu *cpu);
/* Hold everything that a walk to `page` can find now; all touched pages of all CPUs; or of those
 * for which that has changed since. */
void machine_fill(struct cpu *cpu, unsigned page);
void machine_fill_all(void);
void machine_refill(void);
void machine_forget(struct cpu *cpu);
/* What no moment may show; what a moment in which nobody is in the library may not. */
void machine_check(void);
void machine_check_quiet(void);

/* For people: what CPUs did, while sim.verbose, and what they hold. */
void machine_describe(void);

/*
 * Something is wrong: note it, with a number that says where, and go back to the explorer.  Formats
 * nothing, for it is called on small stacks.
 */
_Noreturn void fail(const char *what, uint64_t number);

/* ---- words that only one CPU looks at, and what a step touches: share.c ----------------- */

enum { WALKER = CPUS_MAX }; /* reads what every CPU's walks may read */

void share_reset(void);
/* An access by CPU `who` to `size` bytes, 1, 4 or 8; true: others look at them too. */
bool share_access(const void *address, unsigned size, bool write, unsigned who);
/* Is what a CPU waits for, by its address, among the bytes that were stored? */
bool share_within(const void *key, const void *address, unsigned size);
/* A word was found to be shared that was not known to be: what was explored is void. */
extern bool share_grew;

/* What steps touch besides words, one of each for each CPU. */
enum object { OBJECT_TLB, OBJECT_REQUESTS, OBJECT_ENDS, OBJECT_PAGER, OBJECTS };
/* What a step, or several, touched.  Two steps of which neither writes what the other touches come
 * to the same in both orders. */
enum { NOTE_WORDS = 4 };
struct notes {
    uint64_t read[NOTE_WORDS], written[NOTE_WORDS];
};
/* Of the step under way. */
extern struct notes step_notes;
void step_note(const void *address, unsigned size, bool write);
void step_note_object(enum object object, unsigned cpu, bool write);

static inline bool notes_conflict(const struct notes *a, const struct notes *b)
{
    uint64_t both = 0;
    for (unsigned i = 0; i < NOTE_WORDS; i++)
        both |= (a->written[i] & (b->read[i] | b->written[i])) | (a->read[i] & b->written[i]);
    return both != 0;
}
static inline void notes_join(struct notes *a, const struct notes *b)
{
    for (unsigned i = 0; i < NOTE_WORDS; i++) {
        a->read[i] |= b->read[i];
        a->written[i] |= b->written[i];
    }
}

#endif
