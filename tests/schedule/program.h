/* SPDX-License-Identifier: MIT */
/*
 * Programs: a start state, and for each CPU a few operations.
 *
 * As text, which is also how a failing one is printed:
 *
 *     start=forked A:w0,fork B:r0 tso=2 tlb=eager irq=open frames=stocked
 *
 * One word for each CPU: the space that it runs at first, then its operations.  The operations work
 * on the space that the CPU runs.
 */
#ifndef SCHEDULE_PROGRAM_H
#define SCHEDULE_PROGRAM_H

#include "machine.h"

enum op_kind {
    OP_LOAD, /* the guest's: page `page` */
    OP_STORE,
    OP_READ, /* quire_read, quire_write */
    OP_WRITE,
    OP_FORK,  /* the child is named after the operation */
    OP_TWIN,  /* fork, and destroy the child */
    OP_EXIT,  /* destroy space `slot`, which nobody runs */
    OP_ENTER, /* run space `slot` */
    OP_UNMAP, /* pages [page, page + count) */
    OP_MAP,
    OP_PROTECT,
    OP_DISCARD,
    OP_GUARD,
    OP_UNGUARD,
    OP_DECOMMIT,
    OP_COMMIT,     /* with protection `prot` */
    OP_ADVISE,     /* what fork does: `prot` is an enum quire_advice */
    OP_STACK,      /* map one page that grows down */
    OP_LIMIT,      /* the space may have `count` more copies; 255: any number */
    OP_FORCE_READ, /* as a debugger */
    OP_FORCE_WRITE,
    OP_DIFF,      /* from space `slot` */
    OP_DIFF_MARK, /* .. which is made anew */
    OP_MOVE,      /* leaf 0 to leaf 1 */
    OP_POPULATE,
    OP_PIN, /* for writing; what this CPU pinned before is let go */
    OP_PULL,
    OP_WORK,
    OP_ZERO,         /* ahead */
    OP_CHECK,        /* the auditor, with others under way */
    OP_LOOK,         /* statistics, usage, page, query */
    OP_TAKE,         /* a frame, and give it back */
    OP_SECTION_READ, /* quire_section_read, quire_section_write */
    OP_SECTION_WRITE,
    OP_SYNC,            /* `prot`: QUIRE_SYNC_START, or 0 */
    OP_PURGE,           /* what is mapped too */
    OP_RESIZE,          /* to `count` pages */
    OP_SECTION_DISCARD, /* of the section itself */
    OP_SEAL,            /* `prot`: the seals */
    OP_END,             /* a transfer: the oldest, or, `prot`, the newest */
    OP_FAIL,            /* the next transfer that ends fails: a read, or, `prot`, a write */
    OP_OUT,             /* advice that pages leave */
    OP_NEED,            /* advice that they come */
    OP_BALANCE,         /* one step */
    OP_STEAL,           /* pages on standby lose their frames */
    OP_CLONE,           /* page `page` becomes the same one of the next leaf, */
    OP_CLONE_TO,        /* .. or of space `slot` */
    OP_VIEW,    /* start states only: of the section, on the first leaf; `prot`: 1 if private */
    OP_HOG,     /* start states only: take frames until `count` are free */
    OP_FORK_TO, /* start states only: the child is space `slot` */
    OP_CREATE,  /* start states only: space `slot`, mapped as A is */
    OP_KIND_COUNT
};

struct op {
    const char *name;
    uint8_t kind; /* enum op_kind */
    uint8_t page, count, prot, slot;
    bool variant; /* the same as another, at another place */
};

extern const struct op ops[];
extern const unsigned op_count; /* those that programs may use */
/* It moves pages from or to a page file, and is for start states that have one only. */
bool op_pages(const struct op *op);

struct program {
    uint8_t start, cpus;
    struct machine_mode mode;
    uint8_t slot[CPUS_MAX];
    uint8_t count[CPUS_MAX];
    uint8_t op[CPUS_MAX][OPS_MAX];
};

enum section_kind { NO_SECTION, OF_FILE, OF_MEMORY };

struct start {
    const char *name;
    const char *script;        /* words "A.w0": an operation of a space, by CPU 0 */
    uint8_t spaces;            /* A, B, .. that there are in the end */
    bool few;                  /* operations may run out of frames */
    bool left[3];              /* .. but these are gone again */
    enum section_kind section; /* there is one, and operations work on it */
    bool paged;                /* there is a page file, and operations page */
    bool pairs; /* every pair of operations is explored from here; if paged, with one that pages */
};
extern const struct start starts[];
extern const unsigned start_count;

/* Programs that contain this word of their text are not valid; for going on beyond a finding. */
void program_leave_out(const char *word);
/* True: the operations keep the rules of quire.h, for instance use no space that another destroys.
 */
bool program_valid(const struct program *program);
void program_print(const struct program *program, char *text, size_t size);
/* False: the text is no program. */
bool program_parse(struct program *program, const char *text);

/* Make the world of the program, ready to run. */
void program_begin(const struct program *program);
/* The same program again, after world_restore. */
void program_use(const struct program *program);
/*
 * All CPUs are done: everything that can be said about the result.  Destroys the world.  The
 * findings go to sim.failure.
 */
void program_judge(const struct program *program);

/* What the last run that was judged has seen, for people. */
void program_describe(const struct program *program);

/* The number of the operation among those of all CPUs, and the space that it makes. */
unsigned op_number(const struct program *program, unsigned cpu, unsigned index);
enum { SLOT_CHILD = 3 };

/* The operation of CPU `cpu`, in the world; a value that it stores, or loads into. */
enum quire_status op_run(unsigned cpu, const struct op *op, unsigned child, uint64_t *value);

/* ---- what it should have done: oracle.c ------------------------------------------------------ */

/* A space without tables: for each of its first pages, protection (NO_REGION: none), flags,
 * content, and a number that changes when the page may get a frame of its own. */
enum { NO_REGION = 255, ORACLE_PAGES = 20 };
enum { PAGE_GUARD = 1, PAGE_RESERVED = 2, PAGE_OMIT = 4, PAGE_WIPE = 8, PAGE_GROWS = 16 };
/* A view: the content is the section's; of a private one, until it is copied. */
enum { PAGE_SHARED = 32, PAGE_PRIVATE = 64, PAGE_COPIED = 128 };
struct oracle_space {
    bool live;
    bool limited; /* a write may be refused for the copies that it needs */
    bool vague;   /* pages are pinned, or were: who has which frames is not told here */
    uint8_t prot[ORACLE_PAGES], flags[ORACLE_PAGES];
    uint16_t stamp[ORACLE_PAGES];
    uint64_t value[ORACLE_PAGES];
};
struct oracle {
    struct oracle_space space[SLOTS];
    uint8_t runs[CPUS_MAX]; /* the slot that each CPU runs */
    uint16_t stamps;        /* given out */
    /* The section: its content and what the pager has of it, its size in pages, seals; may reads or
     * writes have failed; and is the sync of a CPU under way, after it has stored what there was?
     */
    uint64_t file[FILE_PAGES], stored[FILE_PAGES];
    bool has_pager, had_shared; /* shared: there was a view */
    uint8_t pages, seals;
    bool sealing; /* the seal that is under way may be seen */
    bool failing[2], paged;
    bool half[CPUS_MAX];
    /* A clone may read, and write later: rights and regions change.  What was read. */
    bool clones_copy;
    uint64_t read[CPUS_MAX];
};
/* A space with one writable region over everything. */
void oracle_create(struct oracle_space *space);
enum { LEAF_PAGES = 4 };
enum quire_status oracle_run(struct oracle *o, unsigned cpu, const struct op *op, unsigned child,
                             uint64_t *value);
/* May the operation end in this other way too, and change nothing?  Asked before oracle_run. */
bool oracle_may_refuse(const struct oracle *o, unsigned cpu, const struct op *op,
                       enum quire_status status);
/*
 * An access may make a stack larger, or a private view's page its own, some time before it is made,
 * or refused after all: the first half of it, once more whenever another operation has undone it.
 * False: there is none.
 */
bool oracle_grow(struct oracle *o, unsigned cpu, const struct op *op);
/* Pages that the operation may give frames of their own before it has its effect, or without. */
uint64_t oracle_prepares(const struct op *op);
/* May a difference be `bits`, where oracle_run found what it found, and others prepared pages? */
bool oracle_may_differ(uint64_t found, uint64_t bits, uint64_t prepared);

/* What is left in the end, of each space and page: what an access says, and the content. */
struct ending {
    bool live[SLOTS];
    uint8_t load[SLOTS][TOUCHED], store[SLOTS][TOUCHED]; /* enum quire_status */
    uint64_t value[SLOTS][TOUCHED];
    uint64_t file[FILE_PAGES]; /* stored by the pager, after a last sync */
};
void oracle_ending(const struct oracle *o, struct ending *out);

#endif
