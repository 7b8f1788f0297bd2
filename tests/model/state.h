/* SPDX-License-Identifier: MIT */
/*
 * What the files of the model share: the world, its spaces and pins, and how they choose, judge and
 * compare.
 *
 *   model.c         worlds: begin, choose an operation, compare, end
 *   choose.c        random addresses, lengths, spaces
 *   judge.c         statuses, and what the host answers
 *   compare.c       regions, bytes and counts against the oracle
 *   op_region.c     map, unmap, protect, commit, discard, guard, advise, name, move
 *   op_page.c       loads, stores, fetches, copies, faults
 *   op_pin.c        pins, and the device that uses them
 *   op_space.c      fork, create, destroy, limits, frames, bad arguments
 *   op_clone.c      clones of ranges
 *   op_look.c       differences and attribution
 *   op_section.c    sections: open, view, read, write, sync, resize, discard, purge, seal, close
 *   section.c       what a section and its file hold, and what is left of it
 *   paging.c        page files, and pages that leave while nobody looks
 */
#ifndef TESTS_MODEL_STATE_H
#define TESTS_MODEL_STATE_H

#include "model.h"
#include "oracle.h"
#include "pager.h"

#include <setjmp.h>

#define MICRO (QUIRE_ADDRESS_BITS < 32)
/* Pages of a space, where all of them can be looked at. */
#define PAGES_ALL (MICRO ? UINT64_C(1) << (QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT) : 0)

/* Under the sanitizers an audit takes longer than most operations, and is not what they are for. */
#ifdef __SANITIZE_ADDRESS__
enum { MICRO_AUDIT_EVERY = 8 };
#else
enum { MICRO_AUDIT_EVERY = 1 };
#endif

typedef unsigned long long llu;

enum {
    SPACES_MAX = 8,
    TAKEN_MAX = 32,
    PINS_MAX = 12,
    PIN_PAGES_MAX = 6,
    SECTIONS_MAX = 4,
    PAGEFILES_MAX = 2,
    HEARERS = 2,
    BULK_MAX = 5 * QUIRE_PAGE_SIZE,
    LOCK_MAX = 4 * QUIRE_PAGE_SIZE,
    AUDIT_EVERY = MICRO ? MICRO_AUDIT_EVERY : 64,
    SWEEP_EVERY = MICRO ? 16 : 64,
    REGIONS_KEPT = ORACLE_REGIONS_MAX - 48,
    PAGES_KEPT = ORACLE_PAGES_MAX - 32,
    GUARDS_KEPT = ORACLE_RANGES_MAX - 16,
};

struct model_space {
    struct quire_space *space; /* null: free */
    uint32_t owner;            /* number of the space since the world began */
    struct oracle *oracle;
    uint64_t commit_limit;
    /* Of frames that copying may cost, and how many were surely, and at most, spent of them. */
    uint64_t copies_limit, copies_least, copies_most;
    /* What may differ from the other space with the same number, not 0: its mark, or it is one. */
    uint64_t pair;
    struct oracle_ranges touched;
    bool unlocked; /* pages of locked ranges may be out: they were when they came to be locked */
};

struct model_section {
    bool live;                     /* there is a handle, or a view, or a transfer */
    struct quire_section *section; /* null: the handle is closed */
    struct oracle_section oracle;
    struct test_file file; /* without bytes: shared memory */
    unsigned char disk[ORACLE_SECTION_PAGES * QUIRE_PAGE_SIZE];
    bool changed[ORACLE_SECTION_PAGES]; /* pages that may count as changed */
    uint32_t seals;
    uint64_t heard[HEARERS]; /* what each caller of sync remembers */
};

struct model_pagefile {
    struct quire_pagefile *file; /* null: there is none */
    struct test_file device;
    unsigned char *bytes;
    uint64_t size;
    bool checksum;
};

struct model_pin {
    bool live;
    uint32_t access;
    struct quire_pin pin;
    struct quire_run runs[PIN_PAGES_MAX];
    unsigned pages;
    struct {
        struct model_space *m;         /* whose own page it is; null: not, or unmapped since */
        struct model_section *section; /* whose page it is; the same */
        uint64_t number;               /* of the page in that space or section */
        pfn_t pfn;
    } page[PIN_PAGES_MAX];
};

struct model {
    struct model_result *result;
    struct test_world world;
    bool trace;
    uint64_t random, seed, op;
    struct model_space spaces[SPACES_MAX];
    struct model_pin pins[PINS_MAX];
    struct quire_pin stale; /* a handle that is dead, if stale.runs is not null */
    struct model_section sections[SECTIONS_MAX];
    struct model_pagefile pagefiles[PAGEFILES_MAX];
    unsigned live, max_spaces, live_pins, max_pins, max_sections;
    /* Reads that failed, ever and before this operation; and may it meet pages that are to be read?
     */
    uint64_t failed_reads, failed_before;
    uint64_t purges; /* by the host */
    bool reads;
    bool alone; /* no operation within this one, which holds up those on the same section */
    uint32_t io_failing; /* percent of transfers */
    bool io_late;
    uint32_t max_slots, page_failing; /* the same of page files */
    bool page_late;
    bool scarce;  /* so few frames that two pages may not be had together */
    bool kept_in; /* something may be locked in memory */
    uint32_t owners;
    uint64_t pairs;
    vaddr_t low, high;
    uint32_t frames_at_start, reserve;
    uint64_t commit_limit, stack_gap;
    pfn_t taken[TAKEN_MAX];
    unsigned taken_count;
    /* The spaces that an operation, and one made from within it, are in: not to be destroyed. */
    struct model_space *busy, *busy_mark, *busy_outside;
    bool host_helps, interferes, injecting;
    bool no_wait;             /* the call may not ask the host */
    bool at_once;             /* it takes what is free, and asks nobody */
    bool commit_refused;      /* the host was asked for a promise, and said no */
    uint64_t free_when_asked; /* frames that were free when the host was asked last */
    char doing[200];
    jmp_buf out;
};
extern struct model M;

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void doing(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- choose.c ------------------------------------------------------------------------------ */

uint32_t below(uint32_t n);
bool chance(uint32_t percent);
vaddr_t some_address(void);
/* An address that is mapped, most of the time, and often so that `access` is allowed. */
vaddr_t some_mapped_address(const struct oracle *o, uint32_t access);
/* A length that is often a few pages, sometimes a whole table or more. */
uint64_t some_length(void);
/* Often where a table that size begins, so that the range covers it. */
vaddr_t some_start(vaddr_t at, uint64_t length);
uint32_t some_prot(void);
struct model_space *some_space(void);
struct model_space *free_place(void);
struct model_space *model_of(const struct quire_space *space);

/* ---- judge.c ------------------------------------------------------------------------------- */

/* Every frame that one fault can take: a copy of each table, a side frame, and the page. */
enum { FAULT_FRAMES = QUIRE_LEVELS + 2 };
/* And what a page of a section can take beyond that: its tables, and a side frame. */
enum { VIEW_FRAMES = QUIRE_LEVELS + 2 };

/*
 * What a change of regions can take: the nodes of the new tree (all of them at worst, and some on
 * the way), the root, and at two edges a table a level and a side frame.
 */
uint64_t change_frames(const struct oracle *o); /* op_region.c */
uint64_t frames_free(void);
uint64_t committed(void);
/*
 * Compare a status; true: the operation was done.  `need`: frames that justify QUIRE_NO_MEMORY.
 * What the oracle does not know is settled here: whether memory was short, or a promise.
 */
bool judge(enum quire_status got, enum quire_status wanted, uint64_t need, bool urgent);
/* The same for what copies pages in `m`, and may be refused for their number. */
bool judge_copies(const struct model_space *m, enum quire_status got, enum quire_status wanted,
                  uint64_t need);
/* A space that was destroyed; a new one in a free place. */
void space_gone(struct model_space *m);
struct model_space *space_come(struct quire_space *space);
/* What the host of the world answers. */
void host_begin(void);

/* ---- compare.c ----------------------------------------------------------------------------- */

void compare_page(const struct model_space *m, uint64_t number);
void compare_regions(const struct model_space *m);
void compare_all(void);
/* The pages of [low, low + length), few of them, in all spaces. */
void compare_touched(vaddr_t low, uint64_t length);
/* quire_check, soft_check, and the counts that the oracle knows. */
void audit(void);

/* ---- sections: section.c ------------------------------------------------------------------- */

/* Of a view; null: private memory. */
struct model_section *section_shown(const struct oracle_region *r);
/* Is there a view of it? */
bool section_viewed(const struct model_section *s);
/* Its page is in memory, which a closed section does not say. */
bool section_has(const struct model_section *s, uint64_t page);
bool section_paged(const struct model_section *s);
/* Pages that are promised to all of them; and how many there are. */
uint64_t sections_charge(void);
unsigned sections_live(void);
/* A page that left memory forgets what lay beyond the end of the section. */
void sections_settle(void);
/* Those without handle and views have gone; and are those that must? */
void sections_gone(void);
void compare_sections(void);
/* After a write, or a pin: pages of private views that are the space's own now, and those of shared
 * ones that may count as changed. */
void views_written(struct model_space *m, vaddr_t low, uint64_t length);
/* End a transfer that waits; false: none does. */
bool transfer_end(void);
/* The host's: wait for one. */
void wait_io(struct test_world *world, struct quire_section *section);
/* What can be freed of clean pages. */
bool sections_purge(void);
void sections_end(void);

/* ---- paging: paging.c ---------------------------------------------------------------------- */

void paging_begin(void);
void paging_end(void);
/* Which devices answer late, from now on. */
void paging_settle(void);
/* A call is at it, for which all others would wait. */
bool paging_working(void);
/* Something that nobody may see. */
void paging_background(void);
/* Frames that can be had: at once, or else when what is on its way out has been written. */
uint64_t paging_at_hand(bool at_once);
/* The bytes of a page of a space that is not in memory; and of one of a section: null if it has
 * never had any. */
const unsigned char *paging_bytes(const struct model_space *m, vaddr_t address);
const unsigned char *paging_section_bytes(const struct model_section *s, uint64_t page);
/* What counts as clean is what the device has. */
void compare_slots(void);
/* End a transfer of a page file; false: none waits. */
bool page_transfer_end(void);
void op_paging(struct model_space *m);

/* ---- operations ---------------------------------------------------------------------------- */

/* What regions of [low, high) forbid that views may be. */
enum quire_status views_status(const struct oracle_map *map, vaddr_t low, vaddr_t high);
enum quire_status map_status(const struct model_space *m, vaddr_t hint, uint64_t length,
                             uint32_t flags, vaddr_t *place);
enum quire_status promise_status(const struct model_space *m, const struct oracle_map *map);
uint64_t tables_over(uint64_t length);
uint32_t whole_prot(uint32_t prot);
/* What was mapped at `place` is now `map`'s. */
void mapped(struct model_space *m, const struct oracle_map *map, vaddr_t place, uint64_t length);
void op_section(struct model_space *m);

/* One that another made room for, on another space. */
void operation_within(void);

/* Spaces that have grown too rich for the oracle lose a part. */
void trim(struct model_space *m);
void op_map(struct model_space *m);
void op_unmap(struct model_space *m);
void op_protect(struct model_space *m);
void op_commit(struct model_space *m);
void op_decommit(struct model_space *m);
void op_discard(struct model_space *m);
void op_guard(struct model_space *m);
void op_unguard(struct model_space *m);
void op_advise(struct model_space *m);
void op_name(struct model_space *m);
void op_move(struct model_space *m);
void op_lock(struct model_space *m);
void op_unlock(struct model_space *m);

void op_access(uint32_t access);
void op_bulk(struct model_space *m, uint32_t access);
void op_force(struct model_space *m);
void op_fault(struct model_space *m);
void op_populate(struct model_space *m);
void op_clone(struct model_space *m);

void op_pin(struct model_space *m);
void op_unpin(void);
void op_device(void);
/* The pinned pages of the range are nobody's any more; or they are elsewhere. */
void pins_lose(const struct model_space *m, vaddr_t low, vaddr_t high);
void pins_move(const struct model_space *m, vaddr_t from, vaddr_t to, uint64_t length);
/* The pinned pages of a space differ from those of a child. */
void pins_touch(struct model_space *m);
void pins_end(void);
/* Frames that only pins keep. */
unsigned pins_orphans(void);
/* The pinned pages [first, end) of a section leave it. */
void pins_leave(const struct model_section *s, uint64_t first, uint64_t end);
/* Is the page of the section pinned? */
bool pins_hold(const struct model_section *s, uint64_t page);
/* Pinned pages of a space, once for each pin. */
unsigned pins_pages(const struct model_space *m);

/* Frames that a fork of the space can take; and what it makes of it in the end. */
uint64_t fork_frames(const struct model_space *m);
void fork_done(struct model_space *parent, struct quire_space *child);
/* After a call that makes a space: was it right about there being room for one? */
enum quire_status room_status(enum quire_status got);
void op_fork(struct model_space *m);
void op_create(void);
void op_destroy(struct model_space *m);
void op_limit(struct model_space *m);
void op_pull(struct model_space *m);
void op_work(void);
void op_frames(void);
void op_switch(void);
void op_bad(struct model_space *m);

void op_diff(struct model_space *m);
void op_diff_and_mark(struct model_space *m);
void op_attribute(void);
/* Parent and child differ from now on in what is touched, and in nothing else. */
void pair_begin(struct model_space *parent, struct model_space *child);
void pair_touch(struct model_space *m, vaddr_t low, uint64_t length);

/* ---- pages: op_page.c ---------------------------------------------------------------------- */

/* Short of memory, of a promise, or of copies: what the oracle does not know. */
bool cut_short(enum quire_status got);
void stamp(const struct model_space *m, unsigned char *bytes, uint64_t length);

/* An access of several pages, as the oracle sees it. */
struct reach {
    uint64_t bytes;           /* that are accessible from the start */
    enum quire_status status; /* of the next one; QUIRE_OK: there is none */
    struct oracle_map map;    /* of the space afterwards, with stacks grown */
    unsigned grown;           /* stacks that grow, and the page down to which each does */
    vaddr_t growth[2 * ORACLE_REGIONS_MAX];
};
void reach(struct reach *r, const struct model_space *m, vaddr_t address, uint64_t length,
           uint32_t access);
/* One page more of it: its status. */
enum quire_status reach_page(struct reach *r, const struct model_space *m, vaddr_t page,
                             uint32_t access);
/* Frames that each page of it can take. */
uint64_t reach_frames(const struct reach *r, const struct model_space *m);
/* After the access: has the stack grown? */
void reach_settle(const struct reach *r, struct model_space *m);

#endif
