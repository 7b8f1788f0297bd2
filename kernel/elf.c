/* SPDX-License-Identifier: MIT */
/*
 * Program files: ELF programs, position-independent or not, and the interpreter (the dynamic
 * linker) that a program can ask for.
 *
 * A segment is a private mapping of its file, as mmap makes it, so that what nobody writes is in
 * memory once for all programs and comes out of the file when it is first touched.  What a segment
 * has beyond its bytes in the file reads as zeros: the rest of the last page is cleared, and behind
 * it lies anonymous memory.
 *
 * Nothing in the file is trusted: every size is checked against the file and against what a space
 * may map, and sums are never formed before their parts are known to fit.  Segments must not share
 * a page.
 *
 * A position-independent file goes to the place that its caller names, or to any that is free.  A
 * failure leaves a half-filled space, which the caller gives up as a whole.
 */
#include "process.h"
#include "vfs.h"

enum {
    SEGMENTS_MAX = 64,
    ET_EXEC = 2,
    ET_DYN = 3,
    EM_X86_64 = 62,
    PT_LOAD = 1,
    PT_INTERP = 3,
    PF_X = 1,
    PF_W = 2,
    PF_R = 4,
};
#define LOAD_HIGH (USER_HIGH - STACK_BYTES - STACK_GUARD)

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static long status_error(enum quire_status status)
{
    return status == QUIRE_NO_MEMORY || status == QUIRE_TOO_MANY_SPACES ? -ENOMEM : -ENOEXEC;
}

static long segments_read(struct elf *elf)
{
    size_t size = elf->phnum * sizeof(struct elf_segment);
    long n;

    elf->segments = kmalloc(size);
    if (!elf->segments)
        return -ENOMEM;
    n = inode_read(elf->inode, elf->segments, size, elf->phoff);
    return n < 0 ? n : n == (long)size ? 0 : -ENOEXEC;
}

long elf_open(struct elf *elf, struct inode *inode)
{
    static const uint8_t ident[7] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    struct elf_header h;
    long n = inode_read(inode, &h, sizeof h, 0);

    if (n < 0)
        return n;
    if (n != (long)sizeof h || memcmp(h.ident, ident, sizeof ident) != 0)
        return -ENOEXEC;
    if ((h.type != ET_EXEC && h.type != ET_DYN) || h.machine != EM_X86_64)
        return -ENOEXEC;
    if (h.phentsize != sizeof(struct elf_segment) || h.phnum == 0 || h.phnum > SEGMENTS_MAX)
        return -ENOEXEC;
    elf->inode = inode;
    elf->moves = h.type == ET_DYN;
    elf->entry = h.entry;
    elf->phoff = h.phoff;
    elf->phnum = h.phnum;
    elf->phentsize = h.phentsize;
    return segments_read(elf);
}

void elf_close(struct elf *elf)
{
    kfree(elf->segments);
    elf->segments = NULL;
}

static uint32_t segment_prot(const struct elf_segment *s)
{
    return (s->flags & PF_R ? (uint32_t)QUIRE_READ : 0) |
           (s->flags & PF_W ? (uint32_t)QUIRE_WRITE : 0) |
           (s->flags & PF_X ? (uint32_t)QUIRE_EXEC : 0);
}

long elf_interpreter(const struct elf *elf, char *path)
{
    for (unsigned i = 0; i < elf->phnum; i++) {
        const struct elf_segment *s = &elf->segments[i];
        long n;

        if (s->type != PT_INTERP)
            continue;
        if (s->filesz < 2 || s->filesz > PATH_MAX)
            return -ENOEXEC;
        n = inode_read(elf->inode, path, s->filesz, s->offset);
        if (n != (long)s->filesz || path[n - 1] != 0)
            return n < 0 ? n : -ENOEXEC;
        return 1;
    }
    return 0;
}

static bool segment_ok(const struct elf *elf, const struct elf_segment *s)
{
    uint64_t size = inode_size(elf->inode);

    return s->filesz <= s->memsz && s->offset <= size && s->filesz <= size - s->offset &&
           s->vaddr < LOAD_HIGH && s->memsz < LOAD_HIGH - s->vaddr &&
           (s->offset - s->vaddr) % PAGE_SIZE == 0;
}

static uint64_t page_down(uint64_t n) { return n & -(uint64_t)PAGE_SIZE; }
static uint64_t page_up(uint64_t n) { return page_down(n + PAGE_SIZE - 1); }

/* Where the file's pages begin and end, counted from its base.  0 or -E. */
static long extent(const struct elf *elf, uint64_t *low, uint64_t *high)
{
    *low = UINT64_MAX;
    *high = 0;
    for (unsigned i = 0; i < elf->phnum; i++) {
        const struct elf_segment *s = &elf->segments[i];

        if (s->type != PT_LOAD || s->memsz == 0)
            continue;
        if (!segment_ok(elf, s))
            return -ENOEXEC;
        if (page_down(s->vaddr) < *low)
            *low = page_down(s->vaddr);
        if (page_up(s->vaddr + s->memsz) > *high)
            *high = page_up(s->vaddr + s->memsz);
    }
    return *high == 0 ? -ENOEXEC : 0;
}

/* Decide elf->base: 0, or what puts the file's first page at `place` or into a gap. */
static long base_choose(struct elf *elf, struct quire_space *space, uint64_t place)
{
    uint64_t low, high;
    vaddr_t address = place;
    enum quire_status status;
    long error = extent(elf, &low, &high);

    if (error)
        return error;
    if (!elf->moves)
        return low >= USER_LOW ? 0 : -ENOEXEC;
    if (address == 0) {
        status = quire_map(space, &address, high - low, QUIRE_NONE, 0);
        if (status == QUIRE_OK)
            status = quire_unmap(space, address, high - low);
        if (status != QUIRE_OK)
            return status_error(status);
    }
    if (high - low > LOAD_HIGH - address)
        return -ENOEXEC;
    elf->base = address - low;
    return 0;
}

/* The zeros behind a segment's bytes: the rest of their last page, and whole pages. */
static long segment_zeros(struct quire_space *space, const struct elf_segment *s, uint64_t start,
                          char *page)
{
    uint64_t end = start + s->filesz, pages = page_up(end), high = page_up(start + s->memsz);
    enum quire_status status = QUIRE_OK;

    if (s->filesz == 0)
        pages = page_down(start);
    else if (s->memsz > s->filesz && end < pages && s->flags & PF_W) {
        memset(page, 0, pages - end);
        status = quire_write(space, end, page, pages - end, NULL);
    }
    if (status == QUIRE_OK && high > pages)
        status = quire_map(space, &pages, high - pages, segment_prot(s), QUIRE_MAP_FIXED);
    return status == QUIRE_OK ? 0 : status_error(status);
}

static long segment_load(struct elf *elf, struct quire_space *space, char *page,
                         const struct elf_segment *s)
{
    uint64_t start = elf->base + s->vaddr;
    vaddr_t low = page_down(start);
    enum quire_status status;
    long error;

    if (s->filesz > 0) {
        struct file_view view = {.inode = elf->inode,
                                 .offset = page_down(s->offset),
                                 .length = page_up(start + s->filesz) - low,
                                 .prot = segment_prot(s)};

        status = file_map(space, &low, &view, QUIRE_MAP_FIXED);
        if (status != QUIRE_OK)
            return status_error(status);
    }
    error = segment_zeros(space, s, start, page);
    if (error)
        return error;
    if (page_up(start + s->memsz) > elf->end)
        elf->end = page_up(start + s->memsz);
    if (elf->phoff >= s->offset && elf->phoff - s->offset < s->filesz)
        elf->phdr = start + (elf->phoff - s->offset);
    return 0;
}

long elf_load(struct elf *elf, struct quire_space *space, uint64_t place, char *page)
{
    long error = base_choose(elf, space, place);

    for (unsigned i = 0; i < elf->phnum && !error; i++) {
        if (elf->segments[i].type == PT_LOAD && elf->segments[i].memsz > 0)
            error = segment_load(elf, space, page, &elf->segments[i]);
    }
    if (!error && elf->entry >= USER_HIGH - elf->base)
        error = -ENOEXEC;
    elf->entry += elf->base;
    return error;
}
