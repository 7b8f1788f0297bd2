/* SPDX-License-Identifier: MIT */
/*
 * quire: a virtual memory manager that you link.
 *
 * A *manager* (struct quire) owns frames of physical memory and hands them out as the pages of
 * *spaces*.  A space is a list of *regions* (what the program asked for) and a tree of *tables*
 * (what the machine walks).  Fork shares the tree; the first write below a shared table copies
 * what that write needs and nothing else.
 *
 * Every function may be called from any CPU.  A call on a space holds it *shared* (faults, copies,
 * pins: many at once) or *exclusively* (what changes regions, fork, destroy); its comment says
 * which if it is not the latter.  On any status but QUIRE_OK nothing has changed that a program in
 * the space could see.  "May wait" means that host_need_frames, host_need_commit or host_yield can
 * be called, with nothing held; host_wait, for another CPU to leave a word, can be called by all.
 *
 * All addresses and lengths are in bytes; a range is [address, address + length).
 */
#ifndef QUIRE_QUIRE_H
#define QUIRE_QUIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Geometry: constants of the build.  The real one is the default; tests also build a micro one
 * (64-byte pages, 4 entries a table, 3 levels) in which every state can be visited.
 */
#ifndef QUIRE_PAGE_SHIFT
#define QUIRE_PAGE_SHIFT 12
#endif
#ifndef QUIRE_TABLE_SHIFT
#define QUIRE_TABLE_SHIFT 9
#endif
#ifndef QUIRE_LEVELS
#define QUIRE_LEVELS 4
#endif

#define QUIRE_PAGE_SIZE (1u << QUIRE_PAGE_SHIFT)
#define QUIRE_TABLE_ENTRIES (1u << QUIRE_TABLE_SHIFT)
/* Bits of an address that the tree translates: 48 in the real geometry, 12 in the micro one. */
#define QUIRE_ADDRESS_BITS (QUIRE_PAGE_SHIFT + QUIRE_LEVELS * QUIRE_TABLE_SHIFT)

typedef uint64_t vaddr_t; /* an address in a space */
typedef uint32_t pfn_t;   /* a frame number: physical address >> QUIRE_PAGE_SHIFT; below 2^31 */

struct quire;          /* one manager */
struct quire_space;    /* one address space */
struct quire_section;  /* one memory object: shared memory, or a file in memory */
struct quire_pagefile; /* a device that pages go to when memory is short */

#define QUIRE_WARN_UNUSED __attribute__((warn_unused_result))

enum quire_status {
    QUIRE_OK,
    QUIRE_MISALIGNED,   /* an address or length is not a multiple of the page size */
    QUIRE_ZERO_LENGTH,  /* a length of 0 */
    QUIRE_WRAPS,        /* address + length passes the end of the number range */
    QUIRE_OUT_OF_RANGE, /* the range leaves what a space may map (config low..high), or frames leave
                           the arena */
    QUIRE_BAD_FLAGS,    /* unknown or contradictory flag, protection or access bits */
    QUIRE_BAD_CONFIG,   /* quire_create: a field of the configuration makes no sense */
    QUIRE_OVERLAPS,     /* a fixed range is already mapped, or frames were already added */
    QUIRE_NOT_MAPPED,   /* no region there (for a kernel: SIGSEGV, SEGV_MAPERR) */
    QUIRE_PROTECTED,    /* the region forbids this access (for a kernel: SIGSEGV, SEGV_ACCERR) */
    QUIRE_NO_ADDRESSES, /* no gap of that length between the regions */
    QUIRE_NO_MEMORY,    /* too few free frames, and the host says nothing can be freed */
    QUIRE_TOO_MANY_SPACES, /* config max_spaces are live */
    QUIRE_NOT_COMMITTED,   /* addresses are reserved there, but no memory (for a kernel: SIGSEGV) */
    QUIRE_GUARDED,         /* a guard page (for a kernel: SIGSEGV, SEGV_ACCERR) */
    QUIRE_NO_COMMIT,       /* config commit_limit, or the limit of the space, would be passed */
    QUIRE_COPY_LIMIT,      /* the space may not have more copies (quire_space_limit) */
    QUIRE_WOULD_WAIT,      /* QUIRE_NO_WAIT was asked, and the call would have to wait for memory */
    QUIRE_TOO_MANY_PINS,   /* config max_pins handles are live, or `capacity` runs are too few */
    QUIRE_BAD_PIN,         /* the handle is not live: never pinned, or unpinned already */
    QUIRE_BEYOND_END,  /* a view reaches further than its section does now (for a kernel: SIGBUS) */
    QUIRE_IO_ERROR,    /* the pager could not read or write (for a kernel: SIGBUS, or EIO) */
    QUIRE_SEALED,      /* quire_section_seal forbade it for good (for a kernel: EPERM) */
    QUIRE_HAS_WRITERS, /* shared views that may be written stand in the way (EBUSY) */
    QUIRE_TOO_MANY_SECTIONS,  /* config max_sections are live */
    QUIRE_TOO_MANY_PAGEFILES, /* QUIRE_PAGEFILES are in use, or config max_slots are given away */
    QUIRE_STATUS_COUNT
};

/* The name of a status ("QUIRE_OK"); "?" for a number that is none.  Takes no lock. */
const char *quire_status_name(enum quire_status status);

/* Protection of a region, and the kind of an access.  WRITE and EXEC each imply READ in a
 * protection. */
enum {
    QUIRE_NONE = 0,
    QUIRE_READ = 1,
    QUIRE_WRITE = 2,
    QUIRE_EXEC = 4,
};
/* With the kind of an access. */
enum {
    QUIRE_NO_WAIT = 16, /* QUIRE_WOULD_WAIT instead of waiting for memory */
    QUIRE_FORCE = 32,   /* quire_access: as a debugger, whatever the region's protection says */
};

/* ---- the manager --------------------------------------------------------------------------- */

enum quire_event {
    QUIRE_EVENT_FORK,    /* a: the child (struct quire_space *) */
    QUIRE_EVENT_COPY,    /* a: address, b: pfn of the copy */
    QUIRE_EVENT_REUSE,   /* a: address, b: pfn */
    QUIRE_EVENT_ZERO,    /* a: address, b: pfn of the fresh zeroed frame */
    QUIRE_EVENT_UPGRADE, /* a: address, b: pfn */
    QUIRE_EVENT_UNSHARE, /* a: address, b: level of the table (1: leaf) */
    QUIRE_EVENT_VIEW,    /* a: address, b: pfn of the section's page */
    QUIRE_EVENT_REFUSED, /* a: address, b: enum quire_status */
    QUIRE_EVENT_DESTROY,
};

struct quire_config {
    void *arena;       /* memory for all records, aligned to 64; quire_arena_size() says how much */
    size_t arena_size; /* bytes */
    pfn_t first_frame; /* the lowest frame number that will ever be added */
    uint32_t frame_count;  /* frame numbers spanned, holes included: 32 bytes of arena each */
    void *direct_map;      /* where frame first_frame is readable and writable; the others follow
                              linearly */
    uint32_t max_spaces;   /* spaces that can live at once; bounds every count inside, so they never
                              wrap */
    uint32_t cpus;         /* what host_cpu returns is below it; 0 means 1 */
    uint32_t max_pins;     /* pin handles that can live at once; may be 0 */
    uint32_t max_sections; /* sections that can live at once, below 2^24; may be 0 */
    uint32_t max_transfers; /* that can be in progress at once; 0 means 16 */
    uint32_t fault_around; /* pages that one fault on a view may map, a power of two, where they are
                              in memory already; 0 means 16, 1: only its own */
    uint32_t max_slots;    /* pages that all page files together have room for, below 2^31: 13 bytes
                              of arena each; 0: nothing is paged out */
    uint32_t keep_free;    /* quire_balance sees to it that so many frames are free or on the
                              standby list; 0 means a 64th of those that were added */
    const struct quire_policy *policy; /* which pages leave first; null: quire_policy_aging */
    /* Called when free frames fall below keep_free, if not null; with locks held, must not call
     * quire: wake whoever calls quire_balance. */
    void (*low_memory)(void *host);
    uint64_t commit_limit; /* pages that may be promised to private writable regions; 0: no limit
                              (overcommit) */
    uint64_t stack_gap;    /* bytes that stay free below a region that grows down */
    uint32_t colours;  /* cache colours of frames, a power of two up to QUIRE_COLOURS_MAX; 0 means 1
                        */
    uint32_t reserve;  /* frames that only unmapping may take */
    vaddr_t low, high; /* what a space may map: [low, high), page aligned; high 0: all the machine
                          offers */
    void *host;        /* handed to every host_ function */
    void *machine;     /* handed to every mmu_ function */
    /* Called with locks held, if not null; must not call quire. */
    void (*trace)(void *host, enum quire_event event, struct quire_space *space, uint64_t a,
                  uint64_t b);
};

enum { QUIRE_COLOURS_MAX = 64 };

/* Bytes of arena that this configuration needs (arena, arena_size are not read); 0 if it is not
 * valid. */
size_t quire_arena_size(const struct quire_config *config);

/*
 * Make a manager in config->arena.  It has no frames yet.  Errors: QUIRE_BAD_CONFIG.
 */
QUIRE_WARN_UNUSED enum quire_status quire_create(const struct quire_config *config,
                                                 struct quire **out);

/*
 * Hand over `count` frames from `first` on.  They belong to quire from now on; their contents are
 * not read.  Errors: QUIRE_ZERO_LENGTH, QUIRE_OUT_OF_RANGE, QUIRE_OVERLAPS.
 */
QUIRE_WARN_UNUSED enum quire_status quire_add_frames(struct quire *q, pfn_t first, uint32_t count);

/* Free frames that an ordinary operation can have now (the reserve is not counted). */
uint32_t quire_free_frames(struct quire *q);

/*
 * One frame for the embedder's own use (a kernel stack, a disk buffer); its content is undefined.
 * Errors: QUIRE_NO_MEMORY.  Does not wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_frame_take(struct quire *q, pfn_t *out);
/* Give back a frame from quire_frame_take. */
void quire_frame_give(struct quire *q, pfn_t pfn);

/* Zero up to `count` free frames ahead of time, for an idle loop.  Returns how many were zeroed. */
uint32_t quire_zero_ahead(struct quire *q, uint32_t count);

/* ---- spaces -------------------------------------------------------------------------------- */

/* An empty space.  Errors: QUIRE_TOO_MANY_SPACES, QUIRE_NO_MEMORY (one frame).  May wait. */
QUIRE_WARN_UNUSED enum quire_status quire_space_create(struct quire *q, struct quire_space **out);

/*
 * A child that equals `parent` at the instant of the call, in constant time: no page and no
 * table is copied, no frame is allocated.  Exceptions, each at the cost of its own pages and the
 * tables above them: ranges that the child does not get or gets empty (quire_advise), and pages
 * that are pinned, which are copied for the child now.  Errors: QUIRE_TOO_MANY_SPACES;
 * QUIRE_NO_COMMIT (config.commit_limit, the child's promise included); QUIRE_NO_MEMORY (only with
 * exceptions).  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_space_fork(struct quire_space *parent,
                                                     struct quire_space **out);

/*
 * End a space.  It must run on no CPU, and no other call on it may be in progress, one that waits
 * for memory included.  What it shares is left in one step; what was its own is freed in slices of
 * bounded length with host_yield between them.  May wait (host_yield only); cannot fail.
 */
void quire_space_destroy(struct quire_space *space);

/* Make this CPU run `space`, or no space (null: the machine's empty one).  See mmu_activate. */
void quire_space_activate(struct quire *q, struct quire_space *space);

/*
 * Limits of a space, and of every child forked from it afterwards; UINT64_MAX: none, as at first.
 * `commit`: pages of its private writable regions (passing it is QUIRE_NO_COMMIT, for the program
 * that maps).  `copies`: frames that copying pages which it shares may cost it from now on
 * (QUIRE_COPY_LIMIT, for a write that could cost more than is left: what it may need is taken
 * before it begins, and what it did not need given back).  Lowering a limit below what is used
 * refuses only what comes later.
 */
void quire_space_limit(struct quire_space *space, uint64_t commit, uint64_t copies);

/*
 * Take over the pages of which this space is the last user, though they still have their home in a
 * table that no space walks any more (design.md, H17): the aging pass does it for every space from
 * time to time, so that tables which are kept for a few pages go away.  Returns how many pages were
 * taken.  Yields between slices.
 */
uint64_t quire_space_pull(struct quire_space *space);

/*
 * Free at most `slices` pieces (a table, or some region nodes) of what destroyed spaces, unmapped
 * ranges and left tables have put off; a piece takes a few microseconds.  True: there is more.
 * Any CPU may call it at any time, for instance a worker.  Every fork does some slices itself.
 */
bool quire_work(struct quire *q, uint32_t slices);

/* The frame number of the root table at this moment; a write fault or fork can change it. */
pfn_t quire_space_root(const struct quire_space *space); /* takes no lock */
/* The manager that the space belongs to.  Takes no lock. */
struct quire *quire_space_manager(const struct quire_space *space);

/* ---- regions ------------------------------------------------------------------------------- */

enum {
    QUIRE_MAP_FIXED = 1,      /* exactly at *address; QUIRE_OVERLAPS if anything is mapped there */
    QUIRE_MAP_REPLACE = 2,    /* with FIXED: what is mapped there goes first, in the same step */
    QUIRE_MAP_RESERVE = 4,    /* addresses only: no memory is promised, and every access is
                                 QUIRE_NOT_COMMITTED, until quire_commit */
    QUIRE_MAP_GROWS_DOWN = 8, /* a stack: an access below it, nearer to it than to the region below,
                                 makes it larger, down to config.stack_gap above that region */
    QUIRE_MAP_SHARED = 16,    /* quire_map_view: writes go to the section, not to a copy */
    QUIRE_MAP_READ_ONLY = 32, /* quire_map_view, with SHARED: nothing makes it writable later; that
                                 is QUIRE_PROTECTED.  For a file that was opened for reading */
};

/*
 * Map `length` bytes of private memory that reads as zeros.  *address is the place
 * (QUIRE_MAP_FIXED) or a hint: taken if that range is free, otherwise the highest gap that
 * fits.  On success *address is where it is.  Errors: QUIRE_MISALIGNED, QUIRE_ZERO_LENGTH,
 * QUIRE_WRAPS, QUIRE_OUT_OF_RANGE, QUIRE_BAD_FLAGS, QUIRE_OVERLAPS, QUIRE_NO_ADDRESSES,
 * QUIRE_NO_MEMORY, QUIRE_NO_COMMIT.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_map(struct quire_space *space, vaddr_t *address,
                                              uint64_t length, uint32_t prot, uint32_t flags);

/*
 * Unmap whatever is mapped in the range; holes are no error.  Errors: QUIRE_MISALIGNED,
 * QUIRE_ZERO_LENGTH, QUIRE_WRAPS, QUIRE_OUT_OF_RANGE, QUIRE_NO_MEMORY (cutting a shared table
 * or a region in two takes memory; the reserve may be used for it).  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_unmap(struct quire_space *space, vaddr_t address,
                                                uint64_t length);

/*
 * Change the protection of the whole range, which must be mapped without a hole.  When it
 * returns no CPU can use a right that was taken away.  Errors: as quire_unmap, QUIRE_BAD_FLAGS,
 * QUIRE_NOT_MAPPED, QUIRE_NO_COMMIT (it becomes writable for the first time).  May wait.
 *
 * Taking rights away from a long range, discarding and guarding one are done in parts from its
 * start on, of so many tables each, between which other calls on the space run.  An error before
 * the first part has changed nothing, as everywhere; later there are only two, when another call
 * unmapped some of the range meanwhile, or when memory ran out, and they leave the parts that were
 * changed.
 */
QUIRE_WARN_UNUSED enum quire_status quire_protect(struct quire_space *space, vaddr_t address,
                                                  uint64_t length, uint32_t prot);

/*
 * Promise memory to reserved addresses, which get protection `prot` and read as zeros; pages that
 * are committed already only change their protection.  The range must be mapped without a hole.
 * Errors: as quire_protect, QUIRE_NO_COMMIT.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_commit(struct quire_space *space, vaddr_t address,
                                                 uint64_t length, uint32_t prot);
/* The opposite: pages and promise go, the addresses stay reserved.  Errors: as quire_protect. */
QUIRE_WARN_UNUSED enum quire_status quire_decommit(struct quire_space *space, vaddr_t address,
                                                   uint64_t length);

/*
 * Give up the pages of the range, which reads as zeros afterwards; regions stay.  Holes are no
 * error.  Guards stay.  Errors: as quire_unmap.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_discard(struct quire_space *space, vaddr_t address,
                                                  uint64_t length);

/*
 * Make every page of the range a guard: its content goes, and every access is QUIRE_GUARDED until
 * quire_unguard, after which it reads as zeros.  Regions are not split: a guard is an entry of a
 * table, and costs the tables above it.  Children inherit guards.  The range must be mapped without
 * a hole.  Errors: as quire_protect.  May wait.  Source of the idea: Linux 6.13,
 * MADV_GUARD_INSTALL.
 */
QUIRE_WARN_UNUSED enum quire_status quire_guard(struct quire_space *space, vaddr_t address,
                                                uint64_t length);
QUIRE_WARN_UNUSED enum quire_status quire_unguard(struct quire_space *space, vaddr_t address,
                                                  uint64_t length);

enum quire_advice {
    QUIRE_FORK_INHERIT, /* the child gets the range, as at first */
    QUIRE_FORK_OMIT,    /* the child does not have it */
    QUIRE_FORK_WIPE,    /* the child has it, and it reads as zeros */
    QUIRE_ADVICE_COUNT
};
/* What fork does with the range, which must be mapped without a hole.  Errors: as quire_protect. */
QUIRE_WARN_UNUSED enum quire_status quire_advise(struct quire_space *space, vaddr_t address,
                                                 uint64_t length, enum quire_advice advice);

/*
 * Give the regions of the range a name, a number that is the embedder's own (0: none, as at first).
 * Neighbours with different names are not merged.  Errors: as quire_protect.
 */
QUIRE_WARN_UNUSED enum quire_status quire_name(struct quire_space *space, vaddr_t address,
                                               uint64_t length, uint64_t name);

enum {
    QUIRE_MOVE_ANYWHERE = 1, /* if it can not grow where it is, to the place that quire_map finds */
    QUIRE_MOVE_FIXED = 2, /* to *to, which must not touch the old range; what is there goes first */
};
/*
 * Move a range and make it `new_length` bytes long.  Pages keep their frames: entries move, and
 * where both places lie alike in their tables, whole tables do.  What is cut off at the end is
 * unmapped; what is added continues the last region.  On success *to is where the range is.
 * The old range must be mapped without a hole.  Errors: as quire_map, QUIRE_NOT_MAPPED;
 * QUIRE_NO_ADDRESSES (it can not grow in place, and ANYWHERE was not given).  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_move(struct quire_space *space, vaddr_t from,
                                               uint64_t old_length, vaddr_t *to,
                                               uint64_t new_length, uint32_t flags);

enum {
    QUIRE_REGION_RESERVED = 1, /* QUIRE_MAP_RESERVE, not committed since */
    QUIRE_REGION_GROWS_DOWN = 2,
    QUIRE_REGION_FORK_OMIT = 4,
    QUIRE_REGION_FORK_WIPE = 8,
    QUIRE_REGION_SHARED = 32,    /* a view: writes go to the section */
    QUIRE_REGION_READ_ONLY = 64, /* QUIRE_MAP_READ_ONLY */
    QUIRE_REGION_LOCKED = 128,   /* quire_lock */
};
struct quire_region {
    vaddr_t start, end; /* [start, end) */
    uint32_t prot;
    uint32_t flags; /* QUIRE_REGION_ */
    uint64_t name;
    struct quire_section *section; /* of a view; null: private memory */
    uint64_t offset;               /* in the section, of `start`; bytes */
};

/* The first region that ends above `address`.  Errors: QUIRE_NOT_MAPPED (there is none). */
QUIRE_WARN_UNUSED enum quire_status quire_query(struct quire_space *space, vaddr_t address,
                                                struct quire_region *out);

/* ---- sections ------------------------------------------------------------------------------ */

/*
 * A section is a sequence of bytes in memory, of any length: shared memory, which is all there is
 * of it, or what is in memory of something that a *pager* reads and writes, such as a file.
 * Programs see it through *views* (quire_map_view), the embedder through quire_section_read and
 * _write; both work on the same pages, so they always agree.  Its pages are read from the pager
 * when they are first wanted, and written back when they are told to (quire_section_sync).
 *
 * What a private view has not written is the section's, and changes with it; what it has written
 * is its own for good, whatever becomes of the section.
 */

enum { QUIRE_IO_PAGES = 32 };

/*
 * A transfer of neighbouring pages between a section and its pager.  It is quire's, and lasts until
 * quire_io_done.  Reading: the frames are nobody else's; all of them are to be filled (what lies
 * beyond the section's end is cleared by quire).  Writing: their content is to be stored, up to the
 * section's end, behind which views may have written what nobody shall read when the section grows;
 * it may change meanwhile, and is then written again by a later transfer.
 */
struct quire_io {
    struct quire_section *section; /* null: a page file's */
    void *cookie;                  /* of the section, or page file */
    uint64_t offset;               /* of the first page, in bytes */
    uint32_t pages;                /* up to QUIRE_IO_PAGES */
    bool write;
    bool no_wait; /* a call with QUIRE_NO_WAIT begins it: `start` must not sleep */
    pfn_t frames[QUIRE_IO_PAGES];
    /* Null in a manager's transfers.  Else it was begun by somebody else, who is to be told. */
    void (*ended)(struct quire_io *io, bool ok);
    /* quire's */
    struct quire_pagefile *file;
    uint32_t slot, wanted;
    struct quire_waiter *waiter;
    struct quire_io *next;
    uint32_t parts;  /* in a store: that have not ended; shared word */
    uint32_t failed; /* some of them; shared word */
};

struct quire_pager {
    /*
     * Begin a transfer.  It ends with quire_io_done, called here or later, once.  Called with
     * nothing held; may sleep, unless io->no_wait; must not access memory that is mapped from the
     * section; to write, must not need frames of quire's, for it may be the search for some that
     * writes.  Null: there is no pager, the section is shared memory.
     */
    void (*start)(void *cookie, struct quire_io *io);
    /* The section has gone: no handle, no view, no transfer is left.  May be null.  Called with
     * nothing held. */
    void (*gone)(void *cookie);
    /* What it has stored does not change but by what quire writes: a page may be forgotten while it
     * is mapped, and read again. */
    bool stable;
    /* Of a page file: what these pages hold is not wanted any more, and no transfer of them is in
     * progress.  May be null.  Called with locks held: must not call quire, nor wait for more than
     * a lock like those. */
    void (*forget)(void *cookie, uint64_t offset, uint32_t pages);
};

/*
 * A transfer has ended.  Any CPU may call it, but for one that interrupted a call of quire, and one
 * that holds what `start` or host_wait_io may wait for.  If a read failed, the accesses that waited
 * for it fail with QUIRE_IO_ERROR, and the next one tries again; if a write did, its pages are
 * changed pages still, and quire_section_sync reports it.  What moved in part has failed.
 * Afterwards wake those that sleep in host_wait_io.
 */
void quire_io_done(struct quire_io *io, bool ok);

/*
 * A section of `size` bytes, with one handle, for the caller.  `pager` (null: shared memory) must
 * outlive it; `cookie` is handed to it.  Shared memory reads as zeros at first, and all of it is
 * promised (config.commit_limit).  Errors: QUIRE_TOO_MANY_SECTIONS, QUIRE_OUT_OF_RANGE (more than a
 * tree of QUIRE_LEVELS levels spans), QUIRE_NO_COMMIT.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_section_create(struct quire *q, uint64_t size,
                                                         const struct quire_pager *pager,
                                                         void *cookie, struct quire_section **out);
/*
 * Give up the handle.  The section lives on while there are views of it; then its pages go, those
 * that were not written back too: who wants the file keeps the handle until there are no views
 * (quire_section_info) and a sync has gone well.
 */
void quire_section_close(struct quire_section *section);

/* Takes no lock. */
uint64_t quire_section_size(const struct quire_section *section);
void *quire_section_cookie(const struct quire_section *section);

/*
 * Copy bytes out of, or into, the section, up to its end: *done (may be null) is how many, also on
 * error.  Each page is copied in one step.  The other buffer must not lie in a space of quire's
 * own.  access: 0, or QUIRE_NO_WAIT.  Errors: QUIRE_IO_ERROR, QUIRE_SEALED (writing),
 * QUIRE_NO_MEMORY, QUIRE_WOULD_WAIT.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_section_read(struct quire_section *section,
                                                       uint64_t offset, void *to, size_t length,
                                                       uint32_t access, size_t *done);
QUIRE_WARN_UNUSED enum quire_status quire_section_write(struct quire_section *section,
                                                        uint64_t offset, const void *from,
                                                        size_t length, uint32_t access,
                                                        size_t *done);

/*
 * Make it longer or shorter.  What is added reads as zeros, in the last page of before too.  Beyond
 * a new end, views are QUIRE_BEYOND_END as soon as the call returns, but for pages that a private
 * view has written, which stay; it waits for transfers of what is cut off.  Errors, with nothing
 * changed: QUIRE_SEALED, QUIRE_OUT_OF_RANGE, QUIRE_NO_COMMIT, QUIRE_NO_MEMORY, QUIRE_IO_ERROR (a
 * last page that has to be cleared could not be read).  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_section_resize(struct quire_section *section,
                                                         uint64_t size);

/*
 * Forget the pages that lie wholly in the range: shared memory reads as zeros there again, and what
 * a pager has is read again.  A page that is pinned is from then on only the pin's.  Accesses
 * through views wait until the call has ended, which waits for transfers of these pages.  Errors:
 * QUIRE_SEALED (write), QUIRE_NO_MEMORY.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_section_discard(struct quire_section *section,
                                                          uint64_t offset, uint64_t length);

enum {
    QUIRE_SYNC_START = 1, /* only begin to write */
};
/*
 * Write the changed pages of the range back to the pager, and wait until they, and those that were
 * being written already, have been.  `errors` (may be null) is the caller's memory of failed
 * writes, 0 at first: QUIRE_IO_ERROR if any transfer has failed since the call that left it there,
 * so each caller with a memory of its own learns of each failure once.  The pages stay changed, and
 * the next call tries them again.  Errors: QUIRE_IO_ERROR, QUIRE_NO_MEMORY.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_section_sync(struct quire_section *section,
                                                       uint64_t offset, uint64_t length,
                                                       uint32_t flags, uint64_t *errors);

/* Begin to read what is not in memory of the range, and wait for nothing but memory. */
void quire_section_fetch(struct quire_section *section, uint64_t offset, uint64_t length);

/*
 * Free the pages of the range that are unchanged and neither mapped nor pinned; with `mapped`,
 * those that are mapped too, whose views will ask for them again.  Returns how many went.  May
 * wait.
 */
uint64_t quire_section_purge(struct quire_section *section, uint64_t offset, uint64_t length,
                             bool mapped);

enum {
    QUIRE_SEAL_WRITE = 1, /* neither quire_section_write nor a shared view changes it any more */
    QUIRE_SEAL_SHRINK = 2,
    QUIRE_SEAL_GROW = 4,
};
/*
 * Forbid for good; seals add up.  Errors: QUIRE_BAD_FLAGS, QUIRE_HAS_WRITERS (SEAL_WRITE while some
 * shared view is writable, or a page pinned, which changes nothing).  Waits for other calls. Source
 * of the idea: Linux, memfd_create.
 */
QUIRE_WARN_UNUSED enum quire_status quire_section_seal(struct quire_section *section,
                                                       uint32_t seals);

struct quire_section_info {
    uint64_t size;
    uint64_t resident, dirty, mapped; /* pages */
    uint64_t views;                   /* regions, those of forked spaces that share them once */
    uint32_t seals;
};
void quire_section_info(struct quire_section *section, struct quire_section_info *out);
/* Is the page at `offset` in memory? */
bool quire_section_resident(const struct quire_section *section, uint64_t offset);

/*
 * Map `length` bytes of the section from `offset` (a multiple of the page size) on, as quire_map
 * maps private memory; flags besides those of quire_map but RESERVE and GROWS_DOWN: SHARED,
 * READ_ONLY.  The range may reach beyond the section's end, where every access is QUIRE_BEYOND_END
 * until it grows.  Errors: those of quire_map; QUIRE_SEALED (SHARED and writable).  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_map_view(struct quire_space *space, vaddr_t *address,
                                                   uint64_t length, uint32_t prot, uint32_t flags,
                                                   struct quire_section *section, uint64_t offset);

/* ---- faults and copies --------------------------------------------------------------------- */

/*
 * Resolve one access (exactly one of QUIRE_READ, QUIRE_WRITE, QUIRE_EXEC; with QUIRE_NO_WAIT or
 * without) at `address`, so that the same access tried again can succeed.  Holds the space shared.
 * Errors, each of which leaves the state unchanged: QUIRE_BAD_FLAGS, QUIRE_NOT_MAPPED,
 * QUIRE_PROTECTED, QUIRE_NOT_COMMITTED, QUIRE_GUARDED, QUIRE_NO_MEMORY (host_need_frames said no),
 * QUIRE_WOULD_WAIT, QUIRE_COPY_LIMIT, QUIRE_NO_COMMIT (a stack that grows), QUIRE_BEYOND_END,
 * QUIRE_IO_ERROR.  May wait, unless QUIRE_NO_WAIT is given.
 */
QUIRE_WARN_UNUSED enum quire_status quire_fault(struct quire_space *space, vaddr_t address,
                                                uint32_t access);

/*
 * Copy bytes out of, or into, a space through the same path that the program's own accesses take.
 * *done (may be null) is the number of bytes copied, also on error.  The other buffer must not lie
 * in a space of quire's own: it is read or written with locks held.  Errors: QUIRE_WRAPS, and those
 * of quire_fault.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_read(struct quire_space *space, vaddr_t address, void *to,
                                               size_t length, size_t *done);
QUIRE_WARN_UNUSED enum quire_status quire_write(struct quire_space *space, vaddr_t address,
                                                const void *from, size_t length, size_t *done);

/*
 * The general form: QUIRE_READ copies into `buffer`, QUIRE_WRITE out of it; with QUIRE_NO_WAIT; and
 * with QUIRE_FORCE, which reads and writes pages that the region's protection forbids to: a write
 * then makes the page the space's own without making it writable, as a debugger that sets a
 * breakpoint wants.  Holds the space shared, a page at a time.  Errors: those of quire_fault.
 */
QUIRE_WARN_UNUSED enum quire_status quire_access(struct quire_space *space, vaddr_t address,
                                                 void *buffer, size_t length, uint32_t access,
                                                 size_t *done);

/*
 * Resolve `access` ahead of time for every page of the range.  Stops at the first page where
 * that is refused; *done (may be null) is the number of bytes resolved.  Holds the space shared, a
 * page at a time.  Errors: those of a range and of quire_fault.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_populate(struct quire_space *space, vaddr_t address,
                                                   uint64_t length, uint32_t access,
                                                   uint64_t *done);

/*
 * Make [target, target + length) of `to` a copy of [source, source + length) of `from`, without
 * copying: pages are shared until either side writes them.  For large messages and reads.  What can
 * not be shared (pages of sections, tables with pinned pages, parts of views, both ranges in one
 * table) is copied; into pinned pages too, which stay pinned.  The source must be readable, the
 * target writable, neither has a hole; *done (may be null) is how far it came.  Each run of pages
 * in one table is one step.  Two spaces of one manager, or one space and ranges that do not touch.
 * Errors: those of a range, QUIRE_OVERLAPS, QUIRE_BAD_FLAGS (two managers), and those of quire_read
 * and quire_write.  May wait.  Source of the idea: Mach, vm_copy.
 */
QUIRE_WARN_UNUSED enum quire_status quire_clone(struct quire_space *from, vaddr_t source,
                                                struct quire_space *to, vaddr_t target,
                                                uint64_t length, uint64_t *done);

/* ---- pins ---------------------------------------------------------------------------------- */

/* Frames first .. first + count - 1. */
struct quire_run {
    pfn_t first;
    uint32_t count;
};
/* A handle: made by quire_pin, dead after quire_unpin.  The fields are quire's. */
struct quire_pin {
    struct quire_run *runs;
    uint32_t run_count, pages;
    uint32_t slot, serial;
};
/*
 * Hold the frames of [address, address + length) (any alignment; whole pages are pinned) for a
 * device or a copy that reads them (QUIRE_READ) or writes them (QUIRE_WRITE), across regions that
 * all allow it.  Every page becomes the space's own first, also for a read.  A pinned page is not
 * copied by its owner's write, not reused, and stays with its owner at fork, where the child gets a
 * copy; unmapped, it lives until the last unpin.  The frames are written to runs[0..capacity), in
 * order, neighbours in one run; the array belongs to the pin until quire_unpin.  Holds the space
 * shared.  Errors, with nothing pinned: those of quire_fault, QUIRE_ZERO_LENGTH, QUIRE_WRAPS,
 * QUIRE_TOO_MANY_PINS.  May wait unless QUIRE_NO_WAIT is given.
 */
QUIRE_WARN_UNUSED enum quire_status quire_pin(struct quire_space *space, vaddr_t address,
                                              uint64_t length, uint32_t access,
                                              struct quire_run *runs, uint32_t capacity,
                                              struct quire_pin *out);
/* Let go.  The space may be gone.  Errors: QUIRE_BAD_PIN, which changes nothing. */
QUIRE_WARN_UNUSED enum quire_status quire_unpin(struct quire *q, struct quire_pin *pin);

/* ---- paging -------------------------------------------------------------------------------- */

/*
 * A page that has not been used for long leaves memory for a page file, and comes back when it is
 * wanted, whoever shares it and however.  Between the two it is on a list: *standby*, if the page
 * file has its content, so that its frame can be given to another at once; *modified*, if it has to
 * be written first.  An access to a page on a list takes it back without any transfer (a *soft
 * fault*).  Pages of sections with a pager go back to the pager, shared memory goes as private
 * memory does.
 *
 * What must stay: pinned pages, and those of ranges that are locked (quire_lock).
 *
 * Work is done by quire_balance, which an idle loop or a thread of the embedder's calls; whoever
 * finds no memory at all does it himself.  Paging out takes no memory.  After Denning's working
 * sets (CACM 11, 1968) and the page lists of VMS (Levy and Lipman, Computer 15, 1982).
 */

/*
 * Which pages leave first.  A *pass* visits every page in memory, once however many spaces share
 * it, and asks whether it was used since the last one.
 */
struct quire_policy {
    const char *name;
    /* The age (0 young .. 7) that a page of this age gets, by whether it was used.  A page that has
     * come, or come back, is 0 until its first visit.  Any CPU; must not call quire. */
    uint8_t (*age)(uint8_t age, bool used);
    /* A page of this age or more may leave.  Where too few have it, a lower one does. */
    uint8_t old;
};
extern const struct quire_policy quire_policy_aging, quire_policy_clock;

enum { QUIRE_PAGEFILES = 8, QUIRE_PAGEFILE_CHECKSUM = 1 };

/*
 * Page to a device of `size` bytes.  `pager` (start, and forget if it likes; it must outlive the
 * file) is handed transfers as a section's, with io->section null and io->offset in the device; it
 * must not need memory from quire for a write.  Of several page files those with the highest
 * `priority` fill first.  QUIRE_PAGEFILE_CHECKSUM: what is read is compared with a checksum of what
 * was written.
 *
 * A write that fails leaves its pages in memory, modified.  A read that fails, or whose checksum is
 * wrong, gives the access that wanted it QUIRE_IO_ERROR; the next one tries again.
 * Errors: QUIRE_TOO_MANY_PAGEFILES, QUIRE_BAD_FLAGS, QUIRE_ZERO_LENGTH (less than one page).
 */
QUIRE_WARN_UNUSED enum quire_status quire_pagefile_add(struct quire *q,
                                                       const struct quire_pager *pager,
                                                       void *cookie, uint64_t size, int priority,
                                                       uint32_t flags, struct quire_pagefile **out);
/* The device has become larger: `size` bytes.  Errors: QUIRE_TOO_MANY_PAGEFILES (max_slots),
 * QUIRE_OUT_OF_RANGE (it has become smaller; nothing changes). */
QUIRE_WARN_UNUSED enum quire_status quire_pagefile_grow(struct quire_pagefile *file, uint64_t size);
/*
 * Bring back every page, and use the file no more: its handle ends.  Errors, after which it is in
 * use as before: QUIRE_NO_MEMORY, QUIRE_IO_ERROR.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_pagefile_remove(struct quire_pagefile *file);
struct quire_pagefile_info {
    uint64_t slots, used; /* pages that it has room for; that have a place in it */
};
void quire_pagefile_info(struct quire_pagefile *file, struct quire_pagefile_info *out);

/*
 * One step of a worker, of bounded length: age some pages, take some out of use, begin to write
 * some.  True: there is more to do now; false: enough is free, nothing can be done before a
 * transfer ends, or writes go on failing (each call tries once more).  Any CPU may call it.  Holds
 * all CPUs out of quire while it looks at one table.
 */
bool quire_balance(struct quire *q);
/* One whole pass that takes nothing out of use.  Yields between slices. */
void quire_age(struct quire *q);

enum quire_page_advice {
    QUIRE_PAGES_COLD, /* they will not be used soon: they leave before others */
    QUIRE_PAGES_OUT,  /* the same, and now, but for what other spaces may be using */
    QUIRE_PAGES_NEED, /* they will be used soon: reading begins, and is not waited for */
    QUIRE_PAGE_ADVICE_COUNT
};
/* Errors: as quire_unmap, and QUIRE_BAD_FLAGS.  What is not mapped, or is locked, is passed over.
 */
QUIRE_WARN_UNUSED enum quire_status quire_advise_pages(struct quire_space *space, vaddr_t address,
                                                       uint64_t length,
                                                       enum quire_page_advice advice);

/*
 * Keep a range in memory from now on, what it will get later too; and end that.  Locking brings
 * what is not there, as reading it would (in private memory that was never written, zero pages).
 * Whoever shares a locked page, it stays where it is; one that was out when a clone brought it
 * comes with the first access.  A child does not inherit it.  Errors: as quire_protect, and those
 * of a fault.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_lock(struct quire_space *space, vaddr_t address,
                                               uint64_t length);
QUIRE_WARN_UNUSED enum quire_status quire_unlock(struct quire_space *space, vaddr_t address,
                                                 uint64_t length);
/*
 * The working set of a space, in pages: while it has `least` or fewer in memory, none of them
 * leaves; it never has many more than `most` (a few at most, for a moment), for its own pages leave
 * first.  0 and UINT64_MAX, as at first: no limit.  A page that is shared counts for each.
 * Errors: QUIRE_OUT_OF_RANGE (most is below least, or below 16).
 */
QUIRE_WARN_UNUSED enum quire_status quire_space_working_set(struct quire_space *space,
                                                            uint64_t least, uint64_t most);

/* ---- compressed store ---------------------------------------------------------------------- */

/*
 * A store keeps pages compressed in memory, in front of a page file's device or instead of one: it
 * is the pager that quire_pagefile_add is given.  What shrinks enough stays in the store, as long
 * as there is room; all else goes on to the device.  core/store.c has the details.
 *
 * No two transfers of one page may overlap, and a page that is being written must not change: a
 * page file promises both.  A store and what it keeps go when the embedder stops using them.
 */
struct quire_store;

/* A pair of functions of the embedder's.  Any CPU may call them; they must not call quire. */
struct quire_codec {
    /* Compress a page into at most `room` bytes at `to`; returns how many, or 0: it takes more. */
    size_t (*compress)(void *cookie, void *scratch, const void *page, void *to, size_t room);
    /* And back; false: these bytes do not make a page. */
    bool (*decompress)(void *cookie, void *scratch, const void *from, size_t length, void *page);
    size_t scratch; /* bytes of working memory that a call gets, aligned to 64; may be 0 */
};

struct quire_store_config {
    void *memory;       /* for everything, aligned to 64 */
    size_t memory_size; /* quire_store_size, and room for what it keeps */
    uint64_t size;      /* bytes of the page file, as quire_pagefile_add is told */
    const struct quire_codec *codec;
    void *codec_cookie;
    const struct quire_pager *pager; /* the device of the page file; null: there is none, and a
                                        write that finds no room in the store fails */
    void *cookie;                    /* of the device */
    void *direct_map;                /* these two as in struct quire_config */
    pfn_t first_frame;
    void *host;         /* handed to host_wait and host_wait_io */
    uint32_t lanes;     /* pages that can be compressed at once, up to 1024; 0 means 1 */
    uint32_t transfers; /* to the device at once, up to 65,536; 0 means 16 */
};

/*
 * Bytes of memory that a store of this configuration needs for itself (memory and memory_size are
 * not read); 0 if it is not valid.  It keeps what fits in the rest.
 */
size_t quire_store_size(const struct quire_store_config *config);
/* Make a store, with nothing in it, in config->memory.  Errors: QUIRE_BAD_CONFIG. */
QUIRE_WARN_UNUSED enum quire_status quire_store_create(const struct quire_store_config *config,
                                                       struct quire_store **out);
/* The pager of every store; its cookie is the store. */
extern const struct quire_pager quire_store_pager;

struct quire_store_info {
    uint64_t pages, words; /* now in the store: compressed; kept as one word each */
    uint64_t bytes;        /* that the former were compressed to */
    uint64_t used, room;   /* bytes of memory that this takes, and that there are for it */
    /* Pages so far.  Written: */
    uint64_t kept;
    uint64_t too_large; /* passed on, because they do not shrink enough */
    uint64_t no_room;   /* passed on, because the store is full */
    /* Read: */
    uint64_t found, missed;
    uint64_t damaged; /* that could not be decompressed */
};
void quire_store_info(struct quire_store *store, struct quire_store_info *out);

/* ---- looking ------------------------------------------------------------------------------- */

struct quire_stats {
    /* Faults by how they ended. */
    uint64_t faults;     /* all of them */
    uint64_t zero_maps;  /* the zero page mapped, for a read */
    uint64_t zero_fills; /* a fresh zeroed frame, for a write */
    uint64_t copies;     /* a shared page written: the writer got its own */
    uint64_t reuses;     /* the last sharer took the page uncopied */
    uint64_t upgrades;   /* the page was exclusive already and only the W bit was missing */
    uint64_t loosened;   /* read or execute permission restored */
    uint64_t spurious;   /* nothing was missing (a stale translation) */
    uint64_t unmapped;   /* refused: QUIRE_NOT_MAPPED */
    uint64_t forbidden;  /* refused: QUIRE_PROTECTED */
    uint64_t no_memory;  /* refused: QUIRE_NO_MEMORY */
    uint64_t refused;    /* refused for another reason */
    uint64_t views;      /* pages of sections mapped, those around the faulting one included */
    /* Sections. */
    uint64_t pages_read, pages_written; /* by pagers */
    uint64_t read_errors, write_errors; /* transfers that failed */
    uint64_t sections;                  /* now */
    /* Paging.  Pages: */
    uint64_t trimmed;             /* that left a working set */
    uint64_t soft_faults;         /* that came back from a list */
    uint64_t paged_in, paged_out; /* read from page files, written to them */
    uint64_t paged_around;        /* of those read, the neighbours of what was wanted */
    uint64_t stolen;              /* whose frame was given to another */
    uint64_t purged;              /* of sections with a pager, that were forgotten */
    uint64_t page_read_errors, page_write_errors;  /* transfers that failed */
    uint64_t standby, modified, slots, slots_used; /* now */
    /* Tables. */
    uint64_t unshared[QUIRE_LEVELS + 1]; /* by level: [1] leaves .. [QUIRE_LEVELS] roots */
    uint64_t pushed_down;                /* tables taken back uncopied by their last user */
    uint64_t hidden;                     /* shared subtrees hidden by quire_protect */
    uint64_t pulled;                     /* homes taken over by quire_space_pull */
    uint64_t committed;                  /* pages promised now; counted always, limited or not */
    uint64_t pins, pages_pinned;         /* handles now; pages pinned now, once for each handle */
    /* Spaces. */
    uint64_t forks, spaces; /* forks ever; spaces now */
    /* Frames, now. */
    uint64_t frames, frames_free, frames_data, frames_table, frames_side, frames_node, frames_taken;
    uint64_t frames_listed;   /* of pages on standby and modified lists, and under transfer */
    uint64_t table_share_sum; /* parents of all tables together; above frames_table where shared */
};
void quire_stats(struct quire *q, struct quire_stats *out);

/* What a walk over [low, high) of the tree of one space finds now. */
struct quire_usage {
    uint64_t pages_private; /* in a table of this space alone, and its own */
    uint64_t pages_shared;  /* reached through a table that other spaces use too, or lent or
                               borrowed */
    uint64_t pages_zero;    /* entries that map the zero page */
    uint64_t pages_section; /* of sections, in views */
    uint64_t pages_out;     /* those of the first two that are not in memory, or on a list */
    uint64_t tables_private, tables_shared;
};
void quire_space_usage(struct quire_space *space, vaddr_t low, vaddr_t high,
                       struct quire_usage *out);

enum quire_page_kind {
    QUIRE_PAGE_EMPTY,    /* never touched */
    QUIRE_PAGE_ZERO,     /* the zero page */
    QUIRE_PAGE_PRIVATE,  /* its own frame, in a table of this space alone */
    QUIRE_PAGE_SHARED,   /* its home is in a table that others use or borrow from */
    QUIRE_PAGE_BORROWED, /* its home is in another table */
    QUIRE_PAGE_GUARD,    /* quire_guard */
    QUIRE_PAGE_SECTION,  /* a page of the section that is viewed there */
    QUIRE_PAGE_KIND_COUNT
};
struct quire_page {
    enum quire_page_kind kind;
    pfn_t pfn;                           /* valid unless EMPTY or GUARD */
    bool readable, writable, executable; /* what the machine would allow now, without a fault */
    bool dirty;
    bool resident; /* in memory; else pfn is not valid, and an access waits for the page file */
    uint8_t age;   /* of a resident page: 0 young .. 7, as its last visit left it (quire_policy); */
    bool used;     /* .. and whether it was used since, as the bits of entries know */
};
/* What the tree holds for the page at `address` (any address; unaligned is rounded down). */
void quire_page(struct quire_space *space, vaddr_t address, struct quire_page *out);

/* A run of pages of one kind. */
struct quire_pages {
    vaddr_t start, end; /* [start, end) */
    enum quire_page_kind kind;
};
/*
 * The first run of pages that are not EMPTY at or above the page of `address`, cut off at `high`.
 * Empty subtrees are passed in one step.  Errors: QUIRE_NOT_MAPPED (there is none).
 */
QUIRE_WARN_UNUSED enum quire_status quire_next_pages(struct quire_space *space, vaddr_t address,
                                                     vaddr_t high, struct quire_pages *out);

/*
 * The dirty log.  A mark is a child that nobody runs (quire_space_fork); what the space has changed
 * since is what differs from it.  Bit i of bits[] (64 in each word, caller's memory, written
 * entirely) is set if the content of page low / QUIRE_PAGE_SIZE + i may differ; pages that were
 * discarded, unmapped, moved or mapped since are among them, resident or not.  With page files a
 * page that nobody has written may be among them too, rarely: what is compared is where a page is,
 * not its bytes.  Subtrees that are still shared are passed in one step.  Holds both spaces.
 * Errors: those of a range; QUIRE_BAD_FLAGS (one space twice, or two managers).
 */
QUIRE_WARN_UNUSED enum quire_status quire_diff(struct quire_space *space, struct quire_space *mark,
                                               vaddr_t low, uint64_t length, uint64_t *bits);
/*
 * The same, and *mark becomes a mark of this instant, in the same step: no write is lost between
 * two calls, and none is reported twice.  Errors: those of quire_diff and of quire_space_fork, with
 * *mark as it was.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_diff_and_mark(struct quire_space *space,
                                                        struct quire_space **mark, vaddr_t low,
                                                        uint64_t length, uint64_t *bits);

/*
 * Who pays for what is shared.  Calls `each` once for every live space with its part of all pages,
 * tables and side frames, in units of 2^-32 frames: a table's part is split evenly among its
 * parents, a page's among its users, upwards to the spaces.  The parts sum exactly to the frames
 * that spaces can reach, whose number is returned.  Stops all other calls, so `each` must not call
 * quire; visits every table once for each space that reaches it.
 */
uint64_t quire_attribute(struct quire *q,
                         void (*each)(void *context, struct quire_space *space, uint64_t part),
                         void *context);

/*
 * The auditor: recount everything from nothing and compare it with every count and rule; each
 * difference is one line to host_report.  Returns the number of differences.  Stops all other
 * calls; costs a walk over all tables of all spaces.
 */
unsigned quire_check(struct quire *q);

#endif
