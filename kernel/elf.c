/* SPDX-License-Identifier: MIT */
/*
 * Program files: static ELF programs, position-independent or not.
 *
 * Nothing in the file is trusted: every size is checked against the file and against what a space
 * may map, sums are never formed before their parts are known to fit, and bytes are only ever moved
 * by quire_write.  Each segment is mapped writable, filled, and given its own protection then; what
 * a segment has beyond its bytes in the file reads as zeros without being filled.  Two segments in
 * one page, and programs that ask for an interpreter, are refused.
 *
 * A failure leaves a half-filled space, which the caller gives up as a whole.
 */
#include "process.h"

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
#define DYN_BASE UINT64_C(0x555555554000)
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

long elf_open(struct elf *elf, struct inode *inode)
{
    static const uint8_t ident[7] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    struct elf_header h;
    long n = inode_read(inode, &h, sizeof h, 0);
    size_t size;

    if (n < 0)
        return n;
    if (n != (long)sizeof h || memcmp(h.ident, ident, sizeof ident) != 0)
        return -ENOEXEC;
    if ((h.type != ET_EXEC && h.type != ET_DYN) || h.machine != EM_X86_64)
        return -ENOEXEC;
    if (h.phentsize != sizeof(struct elf_segment) || h.phnum == 0 || h.phnum > SEGMENTS_MAX)
        return -ENOEXEC;
    elf->base = h.type == ET_DYN ? DYN_BASE : 0;
    if (h.entry >= USER_HIGH - elf->base)
        return -ENOEXEC;
    elf->inode = inode;
    elf->entry = elf->base + h.entry;
    elf->phoff = h.phoff;
    elf->phnum = h.phnum;
    elf->phentsize = h.phentsize;
    size = h.phnum * sizeof(struct elf_segment);
    elf->segments = kmalloc(size);
    if (!elf->segments)
        return -ENOMEM;
    n = inode_read(inode, elf->segments, size, h.phoff);
    return n < 0 ? n : n == (long)size ? 0 : -ENOEXEC;
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

static bool segment_ok(const struct elf *elf, const struct elf_segment *s)
{
    uint64_t size = inode_size(elf->inode);

    return s->filesz <= s->memsz && s->offset <= size && s->filesz <= size - s->offset &&
           s->vaddr < LOAD_HIGH - elf->base && s->memsz < LOAD_HIGH - elf->base - s->vaddr &&
           s->vaddr + elf->base >= USER_LOW;
}

static long segment_fill(const struct elf *elf, struct quire_space *space, char *page,
                         const struct elf_segment *s)
{
    uint64_t done = 0;

    while (done < s->filesz) {
        uint64_t address = elf->base + s->vaddr + done;
        size_t piece = PAGE_SIZE - address % PAGE_SIZE;
        enum quire_status status;
        long n;

        if (piece > s->filesz - done)
            piece = s->filesz - done;
        n = inode_read(elf->inode, page, piece, s->offset + done);
        if (n != (long)piece)
            return n < 0 ? n : -ENOEXEC;
        status = quire_write(space, address, page, piece, NULL);
        if (status != QUIRE_OK)
            return status_error(status);
        done += piece;
    }
    return 0;
}

static long segment_load(struct elf *elf, struct quire_space *space, char *page,
                         const struct elf_segment *s)
{
    const uint32_t writable = QUIRE_READ | QUIRE_WRITE;
    uint64_t low, high;
    enum quire_status status;
    long error;

    if (!segment_ok(elf, s))
        return -ENOEXEC;
    if (s->memsz == 0)
        return 0;
    low = (elf->base + s->vaddr) & -(uint64_t)PAGE_SIZE;
    high = (elf->base + s->vaddr + s->memsz + PAGE_SIZE - 1) & -(uint64_t)PAGE_SIZE;
    status = quire_map(space, &low, high - low, writable, QUIRE_MAP_FIXED);
    if (status != QUIRE_OK)
        return status_error(status);
    error = segment_fill(elf, space, page, s);
    if (error)
        return error;
    if (segment_prot(s) != writable) {
        status = quire_protect(space, low, high - low, segment_prot(s));
        if (status != QUIRE_OK)
            return status_error(status);
    }
    if (high > elf->end)
        elf->end = high;
    if (elf->phoff >= s->offset && elf->phoff - s->offset < s->filesz)
        elf->phdr = elf->base + s->vaddr + (elf->phoff - s->offset);
    return 0;
}

long elf_load(struct elf *elf, struct quire_space *space, char *page)
{
    for (unsigned i = 0; i < elf->phnum; i++) {
        const struct elf_segment *s = &elf->segments[i];
        long error;

        if (s->type == PT_INTERP)
            return -ENOEXEC;
        if (s->type != PT_LOAD)
            continue;
        error = segment_load(elf, space, page, s);
        if (error)
            return error;
    }
    return elf->end == 0 ? -ENOEXEC : 0;
}
