/* SPDX-License-Identifier: MIT */
/*
 * What /proc/PID says about mappings: maps, smaps, smaps_rollup, statm, and the lines of status, in
 * Linux's words.
 *
 * Which pages are a process's own, and which it has with others, is not in its tables: they are
 * shared whole.  So smaps counts.  It goes over all pages of all processes first, and counts for
 * each frame how often it is mapped; the page of a region is shared if that is more than once, and
 * a part of one over that many is its share (Pss).  The sum of all shares over all processes is
 * exactly the memory that is mapped.  Where there is no memory for the counts, each page counts as
 * mapped once.
 *
 * A private page that has been written is dirty, as on Linux without swap; a page of a file is if
 * its section says so.  The zero page is nobody's and is not resident.
 */
#include "procfs.h"

#include "process.h"

/* ---- how often a frame is mapped ------------------------------------------------------------- */

enum {
    PART = PAGE_SIZE / 2, /* counts in one frame */
    PARTS = PAGE_SIZE / sizeof(void *),
};

/* Counts by frame number, in frames that are made when they are needed; null: no memory. */
struct mapped_counts {
    uint16_t **parts;
};

/* The count of a frame, null when it cannot be kept or, without `make`, was not. */
static uint16_t *count_of(const struct mapped_counts *counts, pfn_t pfn, bool make)
{
    uint16_t **part = counts->parts + pfn / PART;

    if (counts->parts == NULL || pfn / PART >= PARTS) {
        return NULL;
    }
    if (*part == NULL && make) {
        *part = frame_alloc();
    }
    return *part == NULL ? NULL : &(*part)[pfn % PART];
}

static bool is_resident(enum quire_page_kind kind)
{
    return kind != QUIRE_PAGE_EMPTY && kind != QUIRE_PAGE_GUARD && kind != QUIRE_PAGE_ZERO;
}

static void count_space(const struct mapped_counts *counts, struct quire_space *space)
{
    struct quire_pages run = {.end = 0};
    struct quire_page page;

    while (quire_next_pages(space, run.end, USER_HIGH, &run) == QUIRE_OK) {
        for (vaddr_t at = run.start; is_resident(run.kind) && at < run.end; at += PAGE_SIZE) {
            quire_page(space, at, &page);
            uint16_t *count =
                page.resident && is_resident(page.kind) ? count_of(counts, page.pfn, true) : NULL;
            if (count != NULL && *count < UINT16_MAX) {
                (*count)++;
            }
        }
    }
}

/* Has a process before this one the same memory (vfork)? */
static bool mm_seen(const struct proc *p)
{
    for (struct proc *each = proc_next(NULL); each != p; each = proc_next(each)) {
        if (each->mm == p->mm) {
            return true;
        }
    }
    return false;
}

static void counts_begin(struct mapped_counts *counts)
{
    counts->parts = frame_alloc();
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p)) {
        if (p->mm != NULL && !mm_seen(p)) {
            count_space(counts, p->mm->space);
        }
    }
}

static void counts_end(struct mapped_counts *counts)
{
    for (unsigned i = 0; counts->parts != NULL && i < PARTS; i++) {
        frame_free(counts->parts[i]);
    }
    frame_free(counts->parts);
}

static unsigned count_get(const struct mapped_counts *counts, pfn_t pfn)
{
    const uint16_t *count = count_of(counts, pfn, false);

    return count == NULL || *count == 0 ? 1 : *count;
}

/* ---- regions --------------------------------------------------------------------------------- */

/* The file that a region shows, or null: none, or shared memory without a name. */
static struct inode *region_inode(const struct quire_region *r)
{
    return r->section == NULL ? NULL : quire_section_cookie(r->section);
}

/* Shared memory, or a file that is nothing but memory. */
static bool region_is_shmem(const struct quire_region *r)
{
    const struct inode *inode = region_inode(r);

    return r->section != NULL && (inode == NULL || inode->as.store.image == 0);
}

static bool region_is_stack(const struct mm *mm, const struct quire_region *r)
{
    return r->start < mm->stack_high && r->end > mm->stack_low;
}

/* What Linux calls memory that is no file's, or null. */
static const char *region_name(const struct mm *mm, const struct quire_region *r)
{
    if (r->section != NULL) {
        return "/dev/zero (deleted)";
    }
    if (mm->brk_end > mm->brk_start && r->start < mm->brk_end && r->end > mm->brk_start) {
        return "[heap]";
    }
    return region_is_stack(mm, r) ? "[stack]" : NULL;
}

/* The head of a line of maps; Linux begins names in column 73. */
static void print_head(struct text *text, const struct quire_region *r, const struct inode *inode,
                       const char *name)
{
    uint64_t before = store_size(&text->store);

    text_print(text, "%08lx-%08lx %c%c%c%c %08lx 00:%02lx %lu ", r->start, r->end,
               (r->prot & QUIRE_READ) != 0 ? 'r' : '-', (r->prot & QUIRE_WRITE) != 0 ? 'w' : '-',
               (r->prot & QUIRE_EXEC) != 0 ? 'x' : '-',
               (r->flags & QUIRE_REGION_SHARED) != 0 ? 's' : 'p',
               r->section != NULL ? r->offset : 0, inode != NULL ? inode->device : 0,
               inode != NULL ? inode->ino : 0);
    if (name != NULL) {
        int used = (int)(store_size(&text->store) - before);
        text_print(text, "%*s", used < 73 ? 73 - used : 0, "");
        text_append(text, name, strlen(name));
    }
    text_print(text, "\n");
}

/* The line of one region, by way of `path`, which has PATH_MAX bytes. */
static void print_region(struct text *text, const struct mm *mm, const struct quire_region *r,
                         char *path)
{
    struct inode *inode = region_inode(r);
    const char *name = region_name(mm, r);

    if (inode != NULL) {
        name = inode_path(inode, path, PATH_MAX) > 0 ? path : NULL;
    }
    print_head(text, r, inode, name);
}

void print_maps(struct text *text, const struct proc *p)
{
    struct quire_region r = {.end = 0};
    char *path = kmalloc(PATH_MAX);

    while (path != NULL && p->mm != NULL && quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        print_region(text, p->mm, &r, path);
    }
    kfree(path);
}

/* ---- sums ------------------------------------------------------------------------------------ */

struct memory_sum memory_sum(const struct proc *p)
{
    struct memory_sum m = {0};
    struct quire_region r = {.end = 0};
    struct quire_usage u;

    while (p->mm != NULL && quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        uint64_t pages = (r.end - r.start) / PAGE_SIZE;
        bool stack = region_is_stack(p->mm, &r);
        quire_space_usage(p->mm->space, r.start, r.end, &u);
        m.size += pages;
        uint64_t own = u.pages_private + u.pages_shared;
        uint64_t out = u.pages_out < own ? u.pages_out : own;
        m.anonymous += own - out;
        m.swapped += out;
        *(region_is_shmem(&r) ? &m.shmem : &m.file) += u.pages_section;
        m.locked += mm_locked(p->mm, &r) ? pages : 0;
        m.stack += stack ? pages : 0;
        m.text += (r.prot & QUIRE_EXEC) != 0 && (r.prot & QUIRE_WRITE) == 0 ? pages : 0;
        if (!stack && (r.prot & QUIRE_WRITE) != 0 && (r.flags & QUIRE_REGION_SHARED) == 0) {
            m.data += pages;
        }
    }
    return m;
}

void print_status_memory(struct text *text, const struct proc *p)
{
    struct memory_sum m = memory_sum(p);
    struct quire_usage u;

    if (p->mm == NULL) {
        return;
    }
    quire_space_usage(p->mm->space, 0, USER_END, &u);
    const struct {
        const char *name;
        uint64_t pages;
    } lines[] = {
        {"VmSize", m.size},
        {"VmLck", m.locked},
        {"VmPin", 0},
        {"VmRSS", m.anonymous + m.file + m.shmem},
        {"RssAnon", m.anonymous},
        {"RssFile", m.file},
        {"RssShmem", m.shmem},
        {"VmData", m.data},
        {"VmStk", m.stack},
        {"VmExe", m.text},
        {"VmPTE", u.tables_private + u.tables_shared},
        {"VmSwap", m.swapped},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        text_print(text, "%s:\t%8lu kB\n", lines[i].name, kib(lines[i].pages));
    }
}

void print_statm(struct text *text, const struct proc *p)
{
    struct memory_sum m = memory_sum(p);

    text_print(text, "%lu %lu %lu %lu 0 %lu 0\n", m.size, m.anonymous + m.file + m.shmem,
               m.file + m.shmem, m.text, m.data + m.stack);
}

/* ---- smaps ----------------------------------------------------------------------------------- */

/* The pages of a region, or of all.  Shares are in 2^-12 bytes, as on Linux. */
struct smap {
    uint64_t rss, anonymous, locked, swapped;
    uint64_t shared_clean, shared_dirty, private_clean, private_dirty;
    uint64_t pss, pss_dirty, pss_anonymous, pss_file, pss_shmem;
};

static void smap_page(struct smap *s, const struct quire_page *page, unsigned users, bool shmem)
{
    bool own = page->kind != QUIRE_PAGE_SECTION;
    bool dirty = own || page->dirty;
    uint64_t share = ((uint64_t)PAGE_SIZE << 12) / users;

    s->rss++;
    s->anonymous += own;
    s->shared_clean += users > 1 && !dirty;
    s->shared_dirty += users > 1 && dirty;
    s->private_clean += users == 1 && !dirty;
    s->private_dirty += users == 1 && dirty;
    s->pss += share;
    s->pss_dirty += dirty ? share : 0;
    *(own ? &s->pss_anonymous : shmem ? &s->pss_shmem : &s->pss_file) += share;
}

static void smap_region(struct smap *s, const struct mm *mm, const struct quire_region *r,
                        const struct mapped_counts *counts)
{
    struct quire_pages run = {.end = r->start};
    struct quire_page page;
    uint64_t before = s->pss;

    while (quire_next_pages(mm->space, run.end, r->end, &run) == QUIRE_OK) {
        for (vaddr_t at = run.start; is_resident(run.kind) && at < run.end; at += PAGE_SIZE) {
            quire_page(mm->space, at, &page);
            s->swapped += is_resident(page.kind) && !page.resident;
            if (page.resident && is_resident(page.kind)) {
                smap_page(s, &page, count_get(counts, page.pfn), region_is_shmem(r));
            }
        }
    }
    s->locked += mm_locked(mm, r) ? s->pss - before : 0;
}

static void print_kib(struct text *text, const char *name, uint64_t number)
{
    int colon = (int)strlen(name) + 1;

    text_print(text, "%s:%*lu kB\n", name, 24 - colon, number);
}

static uint64_t share_kib(uint64_t share) { return share >> 22; }

/* The lines that a region and the whole have; `all`: the whole. */
static void print_smap(struct text *text, const struct smap *s, bool all)
{
    static const char *const none[] = {"LazyFree",      "AnonHugePages",  "ShmemPmdMapped",
                                       "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb"};

    print_kib(text, "Rss", kib(s->rss));
    print_kib(text, "Pss", share_kib(s->pss));
    print_kib(text, "Pss_Dirty", share_kib(s->pss_dirty));
    if (all) {
        print_kib(text, "Pss_Anon", share_kib(s->pss_anonymous));
        print_kib(text, "Pss_File", share_kib(s->pss_file));
        print_kib(text, "Pss_Shmem", share_kib(s->pss_shmem));
    }
    print_kib(text, "Shared_Clean", kib(s->shared_clean));
    print_kib(text, "Shared_Dirty", kib(s->shared_dirty));
    print_kib(text, "Private_Clean", kib(s->private_clean));
    print_kib(text, "Private_Dirty", kib(s->private_dirty));
    print_kib(text, "Referenced", kib(s->rss));
    print_kib(text, "Anonymous", kib(s->anonymous));
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        print_kib(text, none[i], 0);
    }
    print_kib(text, "Swap", kib(s->swapped));
    print_kib(text, "SwapPss", kib(s->swapped));
    print_kib(text, "Locked", share_kib(s->locked));
}

/* Two letters for each thing that a region is or may be. */
static void print_flags(struct text *text, const struct mm *mm, const struct quire_region *r)
{
    bool shared = (r->flags & QUIRE_REGION_SHARED) != 0;
    bool may_write = (r->flags & QUIRE_REGION_READ_ONLY) == 0;
    const struct {
        bool is;
        const char *letters;
    } flags[] = {
        {(r->prot & QUIRE_READ) != 0, "rd"},
        {(r->prot & QUIRE_WRITE) != 0, "wr"},
        {(r->prot & QUIRE_EXEC) != 0, "ex"},
        {shared && may_write, "sh"},
        {true, "mr"},
        {may_write, "mw"},
        {true, "me"},
        {shared, "ms"},
        {(r->flags & QUIRE_REGION_GROWS_DOWN) != 0, "gd"},
        {mm_locked(mm, r), "lo"},
        {(r->flags & QUIRE_REGION_FORK_OMIT) != 0, "dc"},
        {(r->prot & QUIRE_WRITE) != 0 && !shared, "ac"},
        {(r->flags & QUIRE_REGION_FORK_WIPE) != 0, "wf"},
    };

    text_print(text, "THPeligible:    0\nVmFlags: ");
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (flags[i].is) {
            text_print(text, "%s ", flags[i].letters);
        }
    }
    text_print(text, "\n");
}

void print_smaps(struct text *text, const struct proc *p)
{
    struct quire_region r = {.end = 0};
    char *path = p->mm == NULL ? NULL : kmalloc(PATH_MAX);
    struct mapped_counts counts;

    if (path == NULL) {
        return;
    }
    counts_begin(&counts);
    while (quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        struct smap s = {0};
        smap_region(&s, p->mm, &r, &counts);
        print_region(text, p->mm, &r, path);
        print_kib(text, "Size", (r.end - r.start) / 1024);
        print_kib(text, "KernelPageSize", PAGE_SIZE / 1024);
        print_kib(text, "MMUPageSize", PAGE_SIZE / 1024);
        print_smap(text, &s, false);
        print_flags(text, p->mm, &r);
    }
    counts_end(&counts);
    kfree(path);
}

void print_smaps_rollup(struct text *text, const struct proc *p)
{
    struct quire_region r = {.end = 0};
    struct quire_region all = {.end = 0};
    struct mapped_counts counts;
    struct smap s = {0};

    if (p->mm == NULL || quire_query(p->mm->space, 0, &all) != QUIRE_OK) {
        return;
    }
    counts_begin(&counts);
    while (quire_query(p->mm->space, r.end, &r) == QUIRE_OK) {
        smap_region(&s, p->mm, &r, &counts);
    }
    counts_end(&counts);
    print_head(text, &(struct quire_region){.start = all.start, .end = r.end}, NULL, "[rollup]");
    print_smap(text, &s, true);
}
