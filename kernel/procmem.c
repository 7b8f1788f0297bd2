/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/mem and /proc/PID/pagemap: the files about a process that are not texts.
 *
 * A position in mem is an address.  Reading and writing go through as a debugger's do, whatever the
 * protection of the mapping says (QUIRE_FORCE): what is written to a private page becomes the
 * process's own copy, and a shared mapping that may not be written refuses (EIO), so no file is
 * changed by who may not write it.
 *
 * pagemap has eight bytes for each page, in Linux's format: bit 63, the page is there; 61, it is a
 * file's or shared memory's; 56, it is this process's alone; 0 to 54, its frame.
 */
#include "procfs.h"

#include "process.h"

/* The space of the process that an open file is about, held; or null.  Free it with mm_put. */
static struct mm *file_mm(const struct file *file)
{
    struct proc *p = proc_find(file->inode->as.proc.pid);

    if (p == NULL || p->mm == NULL) {
        return NULL;
    }
    p->mm->users++;
    return p->mm;
}

/* At most a page of it, by way of a frame.  Bytes or -E. */
static long piece_copy(struct mm *mm, struct buffer *b, size_t n, vaddr_t at, uint32_t access)
{
    void *frame = frame_alloc_dirty();
    size_t done = 0;
    int e = frame == NULL ? -ENOMEM : 0;

    if (e == 0 && access == QUIRE_WRITE) {
        e = buffer_get(b, frame, n);
    }
    if (e == 0 && quire_access(mm->space, at, frame, n, access | QUIRE_FORCE, &done) != QUIRE_OK) {
        e = -EIO;
    }
    if (e == 0 && access == QUIRE_READ) {
        e = buffer_put(b, frame, n);
    }
    frame_free(frame);
    return e == 0 ? (long)n : e;
}

static long memory_copy(struct file *file, struct buffer *b, size_t n, uint64_t at, uint32_t access)
{
    struct mm *mm = file_mm(file);
    size_t done = 0;
    long e = 0;

    while (mm != NULL && done < n && e >= 0) {
        size_t room = PAGE_SIZE - (size_t)((at + done) % PAGE_SIZE);
        size_t part = n - done < room ? n - done : room;
        e = piece_copy(mm, b, part, at + done, access);
        done += e > 0 ? part : 0;
    }
    if (mm != NULL) {
        mm_put(mm);
    }
    return done > 0 ? (long)done : e;
}

static long mem_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    return memory_copy(file, to, n, offset, QUIRE_READ);
}

static long mem_write(struct file *file, struct buffer *from, size_t n, uint64_t offset)
{
    return memory_copy(file, from, n, offset, QUIRE_WRITE);
}

const struct file_ops proc_mem_ops = {
    .seekable = true,
    .read = mem_read,
    .write = mem_write,
};

static uint64_t page_word(struct quire_space *space, vaddr_t at)
{
    struct quire_page page;

    quire_page(space, at, &page);
    if (page.kind == QUIRE_PAGE_EMPTY || page.kind == QUIRE_PAGE_GUARD) {
        return 0;
    }
    if (!page.resident) {
        return UINT64_C(1) << 62; /* where in a page file is nobody's affair */
    }
    return UINT64_C(1) << 63 | (uint64_t)(page.kind == QUIRE_PAGE_SECTION) << 61 |
           (uint64_t)(page.kind == QUIRE_PAGE_PRIVATE) << 56 | page.pfn;
}

static long pagemap_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    struct mm *mm = file_mm(file);
    size_t done = 0;
    int e = 0;

    if (n % 8 != 0 || offset % 8 != 0) {
        e = -EINVAL;
    }
    while (mm != NULL && e == 0 && done < n && (offset + done) / 8 < USER_HIGH / PAGE_SIZE) {
        uint64_t words[64];
        size_t count = 0;
        for (; count < 64 && done + count * 8 < n; count++) {
            uint64_t page = (offset + done) / 8 + count;
            words[count] =
                page < USER_HIGH / PAGE_SIZE ? page_word(mm->space, page * PAGE_SIZE) : 0;
        }
        e = buffer_put(to, words, count * 8);
        done += e == 0 ? count * 8 : 0;
    }
    if (mm != NULL) {
        mm_put(mm);
    }
    return done > 0 ? (long)done : e;
}

const struct file_ops proc_pagemap_ops = {
    .seekable = true,
    .read = pagemap_read,
};
