/* SPDX-License-Identifier: MIT */
/*
 * quire: a virtual memory manager that you link.
 *
 * A *manager* (struct quire) owns frames of physical memory and hands them out as the pages of
 * *spaces*.  A space is a list of *regions* (what the program asked for) and a tree of *tables*
 * (what the machine walks).  Fork shares the tree; the first write below a shared table copies
 * what that write needs and nothing else.
 *
 * Every function may be called from any CPU.  Unless its comment says otherwise it takes the
 * manager's lock, does not wait, and on any status but QUIRE_OK has changed nothing that a
 * program in the space could see.  "May wait" means that host_need_frames or host_yield can be
 * called, with no lock held.
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

struct quire;       /* one manager */
struct quire_space; /* one address space */

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

/* ---- the manager --------------------------------------------------------------------------- */

enum quire_event {
    QUIRE_EVENT_FORK,    /* a: the child (struct quire_space *) */
    QUIRE_EVENT_COPY,    /* a: address, b: pfn of the copy */
    QUIRE_EVENT_REUSE,   /* a: address, b: pfn */
    QUIRE_EVENT_ZERO,    /* a: address, b: pfn of the fresh zeroed frame */
    QUIRE_EVENT_UPGRADE, /* a: address, b: pfn */
    QUIRE_EVENT_UNSHARE, /* a: address, b: level of the table (1: leaf) */
    QUIRE_EVENT_REFUSED, /* a: address, b: enum quire_status */
    QUIRE_EVENT_DESTROY,
};

struct quire_config {
    void *arena;       /* memory for all records, aligned to 64; quire_arena_size() says how much */
    size_t arena_size; /* bytes */
    pfn_t first_frame; /* the lowest frame number that will ever be added */
    uint32_t frame_count; /* frame numbers spanned, holes included: 32 bytes of arena each */
    void *direct_map;     /* where frame first_frame is readable and writable; the others follow
                             linearly */
    uint32_t max_spaces;  /* spaces that can live at once; bounds every count inside, so they never
                             wrap */
    uint32_t colours;  /* cache colours of frames, a power of two up to QUIRE_COLOURS_MAX; 0 means 1
                        */
    uint32_t reserve;  /* frames that only unmapping may take */
    vaddr_t low, high; /* what a space may map: [low, high), page aligned; high 0: all the machine
                          offers */
    void *host;        /* handed to every host_ function */
    void *machine;     /* handed to every mmu_ function */
    /* Called with the manager's lock held, if not null; must not call quire. */
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
 * table is copied, no frame is allocated.  Errors: QUIRE_TOO_MANY_SPACES.
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

/* The frame number of the root table at this moment; a write fault or fork can change it. */
pfn_t quire_space_root(const struct quire_space *space); /* takes no lock */
/* The manager that the space belongs to.  Takes no lock. */
struct quire *quire_space_manager(const struct quire_space *space);

/* ---- regions ------------------------------------------------------------------------------- */

enum {
    QUIRE_MAP_FIXED = 1,   /* exactly at *address; QUIRE_OVERLAPS if anything is mapped there */
    QUIRE_MAP_REPLACE = 2, /* with FIXED: what is mapped there goes first, in the same step */
};

/*
 * Map `length` bytes of private memory that reads as zeros.  *address is the place
 * (QUIRE_MAP_FIXED) or a hint: taken if that range is free, otherwise the highest gap that
 * fits.  On success *address is where it is.  Errors: QUIRE_MISALIGNED, QUIRE_ZERO_LENGTH,
 * QUIRE_WRAPS, QUIRE_OUT_OF_RANGE, QUIRE_BAD_FLAGS, QUIRE_OVERLAPS, QUIRE_NO_ADDRESSES,
 * QUIRE_NO_MEMORY.  May wait.
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
 * QUIRE_NOT_MAPPED. May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_protect(struct quire_space *space, vaddr_t address,
                                                  uint64_t length, uint32_t prot);

struct quire_region {
    vaddr_t start, end; /* [start, end) */
    uint32_t prot;
};

/* The first region that ends above `address`.  Errors: QUIRE_NOT_MAPPED (there is none). */
QUIRE_WARN_UNUSED enum quire_status quire_query(struct quire_space *space, vaddr_t address,
                                                struct quire_region *out);

/* ---- faults and copies --------------------------------------------------------------------- */

/*
 * Resolve one access (exactly one of QUIRE_READ, QUIRE_WRITE, QUIRE_EXEC) at `address`, so that
 * the same access tried again can succeed.  Errors, each of which leaves the state unchanged:
 * QUIRE_BAD_FLAGS, QUIRE_NOT_MAPPED, QUIRE_PROTECTED, QUIRE_NO_MEMORY (host_need_frames said
 * no). May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_fault(struct quire_space *space, vaddr_t address,
                                                uint32_t access);

/*
 * Copy bytes out of, or into, a space through the same path that the program's own accesses take.
 * *done (may be null) is the number of bytes copied, also on error.  Errors: QUIRE_NOT_MAPPED,
 * QUIRE_PROTECTED, QUIRE_WRAPS, QUIRE_NO_MEMORY.  May wait.
 */
QUIRE_WARN_UNUSED enum quire_status quire_read(struct quire_space *space, vaddr_t address, void *to,
                                               size_t length, size_t *done);
QUIRE_WARN_UNUSED enum quire_status quire_write(struct quire_space *space, vaddr_t address,
                                                const void *from, size_t length, size_t *done);

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
    /* Tables. */
    uint64_t unshared[QUIRE_LEVELS + 1]; /* by level: [1] leaves .. [QUIRE_LEVELS] roots */
    uint64_t pushed_down;                /* tables taken back uncopied by their last user */
    uint64_t hidden;                     /* shared subtrees hidden by quire_protect */
    /* Spaces. */
    uint64_t forks, spaces; /* forks ever; spaces now */
    /* Frames, now. */
    uint64_t frames, frames_free, frames_data, frames_table, frames_side, frames_node, frames_taken;
    uint64_t table_share_sum; /* parents of all tables together; above frames_table where shared */
};
void quire_stats(struct quire *q, struct quire_stats *out);

/* Counters of one space since it was made, and what a walk over [low, high) of its tree finds now.
 */
struct quire_usage {
    uint64_t copies, reuses, unshared; /* since the space was made */
    uint64_t pages_private;            /* in a table of this space alone, and its own */
    uint64_t pages_shared; /* reached through a table that other spaces use too, or lent or borrowed
                            */
    uint64_t pages_zero;   /* entries that map the zero page */
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
    QUIRE_PAGE_KIND_COUNT
};
struct quire_page {
    enum quire_page_kind kind;
    pfn_t pfn;                           /* valid unless EMPTY */
    bool readable, writable, executable; /* what the machine would allow now, without a fault */
    bool dirty;
};
/* What the tree holds for the page at `address` (any address; unaligned is rounded down). */
void quire_page(struct quire_space *space, vaddr_t address, struct quire_page *out);

/*
 * The auditor: recount everything from nothing and compare it with every count and rule; each
 * difference is one line to host_report.  Returns the number of differences.  Holds the
 * manager's lock throughout; costs a walk over all tables of all spaces.
 */
unsigned quire_check(struct quire *q);

#endif
