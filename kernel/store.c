/* SPDX-License-Identifier: MIT */
/*
 * A store: a row of bytes that grows, kept in a section of quire.
 *
 * Files of the root file system keep their bytes so, and a /proc file its text while it is open.
 * What reads and writes move and what mappings of the file show are the same pages.
 *
 * The section is made when the store's bytes are first wanted.  A file of the initial archive has a
 * pager, which reads pages from the archive's disk when somebody first wants them; what the file
 * was cut to once is all that it has of the archive, so that what was cut off never comes back. All
 * other stores are memory and nothing else.  A section can outlive the last name and the last open
 * file, as long as it is mapped: it holds the inode then, and lets it go when it goes itself.
 *
 * When memory runs out, pages of archive's files that nobody has changed go first (stores_purge),
 * and of these those that no program maps (main.c).
 * A bounded store (a file) takes no frame when few are left: a full disk should be an error for who
 * fills it, and not the end of some program that has touched its stack.
 *
 * When frames run out in the middle of a write, what was written before stays and is counted, as a
 * full disk would do it; the error is for the write that could not even begin.
 */
#include "blk.h"
#include "vfs.h"

/* Bytes on their way between a program and a section: neither is looked at while the other is. */
static uint8_t bounce[4 * PAGE_SIZE];

int buffer_put(struct buffer *to, const void *from, size_t n)
{
    if (!to->user) {
        memcpy((void *)to->at, from, n);
    } else if (copy_out(to->at, from, n) != 0) {
        return -EFAULT;
    }
    to->at += n;
    return 0;
}

int buffer_get(struct buffer *from, void *to, size_t n)
{
    if (!from->user) {
        memcpy(to, (const void *)from->at, n);
    } else if (copy_in(to, from->at, n) != 0) {
        return -EFAULT;
    }
    from->at += n;
    return 0;
}

int buffer_put_zeros(struct buffer *to, size_t n)
{
    static const uint8_t zeros[512];

    while (n > 0) {
        size_t part = n < sizeof(zeros) ? n : sizeof(zeros);
        if (buffer_put(to, zeros, part) != 0) {
            return -EFAULT;
        }
        n -= part;
    }
    return 0;
}

/* ---- sections -------------------------------------------------------------------------------- */

enum { PURGE_FRAMES = 256 }; /* to give up at a time, for a file that grows */

static struct blk *archive;

void stores_begin(struct blk *disk) { archive = disk; }

/* The pages of an archive's file; what lies behind its bytes is zeros. */
static void image_start(void *cookie, struct quire_io *io)
{
    const struct store *s = &((struct inode *)cookie)->as.store;
    uint64_t bytes = (uint64_t)io->pages * PAGE_SIZE;
    uint64_t left = io->offset < s->image_size ? s->image_size - io->offset : 0;

    kassert(!io->write);
    blk_transfer(archive, io, s->image + io->offset, bytes < left ? bytes : left);
}

static void inode_let_go(void *cookie) { inode_put(cookie); }

static const struct quire_pager image_pager = {
    .start = image_start, .gone = inode_let_go, .stable = true};
static const struct quire_pager memory_pager = {.gone = inode_let_go};

void store_begin(struct store *s, struct inode *inode, uint64_t image, uint64_t size)
{
    s->inode = inode;
    s->image = image;
    s->image_size = size;
}

/* The stores whose section has a pager: what they have in memory can come again. */
static struct store *images;

static void images_remove(struct store *s)
{
    struct store **link = &images;

    while (*link != s) {
        link = &(*link)->next_image;
    }
    *link = s->next_image;
}

uint64_t stores_purge(uint64_t frames, bool mapped)
{
    static bool busy;
    uint64_t gone = 0;

    if (busy) {
        return 0;
    }
    busy = true;
    for (struct store *s = images; s != NULL && gone < frames; s = s->next_image) {
        gone += quire_section_purge(s->section, 0, store_size(s), mapped);
    }
    busy = false;
    return gone;
}

int store_section(struct store *s, struct quire_section **out)
{
    const struct quire_pager *pager = s->inode == NULL ? NULL
                                      : s->image == 0  ? &memory_pager
                                                       : &image_pager;
    enum quire_status status = QUIRE_OK;

    if (s->section == NULL) {
        status = quire_section_create(quire, s->image_size, pager, s->inode, &s->section);
        if (status == QUIRE_OK && pager == &image_pager) {
            s->next_image = images;
            images = s;
        }
    }
    *out = s->section;
    return status == QUIRE_OK ? 0 : -ENOSPC;
}

void store_end(struct store *s)
{
    struct quire_section *section = s->section;

    if (section != NULL && s->image != 0) {
        images_remove(s);
    }
    s->section = NULL;
    if (section != NULL) {
        quire_section_close(section);
    }
}

uint64_t store_size(const struct store *s)
{
    return s->section == NULL ? s->image_size : quire_section_size(s->section);
}

uint64_t store_pages(const struct store *s)
{
    struct quire_section_info info;

    if (s->section == NULL) {
        return (s->image_size + PAGE_SIZE - 1) / PAGE_SIZE;
    }
    quire_section_info(s->section, &info);
    return info.resident;
}

/* Is what is left, here and in page files, for programs alone, and the page one more? */
static bool store_is_full(const struct store *s, uint64_t offset)
{
    struct quire_stats stats;

    if (!s->bounded || quire_free_frames(quire) >= frames_total() / STORE_SPARE) {
        return false;
    }
    quire_stats(quire, &stats);
    return stats.frames_free + stats.slots - stats.slots_used < frames_total() / STORE_SPARE &&
           !quire_section_resident(s->section, offset) && stores_purge(PURGE_FRAMES, false) == 0;
}

/* ---- reading and writing --------------------------------------------------------------------- */

/* Some bytes out of the section, all of which it has.  0 or -E. */
static int piece_read(struct quire_section *section, struct buffer *to, size_t n, uint64_t offset)
{
    void *into = to->user ? bounce : (void *)to->at;
    enum quire_status status = quire_section_read(section, offset, into, n, 0, NULL);

    if (status != QUIRE_OK) {
        return (int)mm_error(status);
    }
    if (to->user) {
        return buffer_put(to, bounce, n);
    }
    to->at += n;
    return 0;
}

long store_read(struct store *s, struct buffer *to, size_t n, uint64_t offset)
{
    struct quire_section *section;
    uint64_t size = store_size(s);
    size_t done = 0;
    int e = 0;

    if (offset >= size || n == 0) {
        return 0;
    }
    if (n > size - offset) {
        n = (size_t)(size - offset);
    }
    e = store_section(s, &section);
    while (done < n && e == 0) {
        size_t part = n - done < sizeof(bounce) ? n - done : sizeof(bounce);
        e = piece_read(section, to, part, offset + done);
        done += e == 0 ? part : 0;
    }
    return done > 0 ? (long)done : e;
}

/* Some bytes of one page into the section, which is long enough.  0 or -E. */
static int piece_write(const struct store *s, struct buffer *from, size_t n, uint64_t offset)
{
    if (store_is_full(s, offset)) {
        return -ENOSPC;
    }
    int e = buffer_get(from, bounce, n);
    return e != 0 ? e
                  : (int)file_error(quire_section_write(s->section, offset, bounce, n, 0, NULL));
}

long store_write(struct store *s, struct buffer *from, size_t n, uint64_t offset)
{
    uint64_t size = store_size(s);
    size_t done = 0;

    if (offset >= STORE_MAX || n == 0) {
        return n == 0 ? 0 : -EFBIG;
    }
    if (n > STORE_MAX - offset) {
        n = (size_t)(STORE_MAX - offset);
    }
    int e = offset + n > size ? store_resize(s, offset + n) : store_section(s, &s->section);
    while (done < n && e == 0) {
        size_t room = PAGE_SIZE - (size_t)((offset + done) % PAGE_SIZE);
        size_t part = n - done < room ? n - done : room;
        e = piece_write(s, from, part, offset + done);
        done += e == 0 ? part : 0;
    }
    if (done < n && offset + n > size && store_size(s) == offset + n) {
        /* What could not be written is not there; to cut takes no memory. */
        uint64_t end = done > 0 && offset + done > size ? offset + done : size;
        (void)store_resize(s, end);
    }
    return done > 0 ? (long)done : e;
}

int store_resize(struct store *s, uint64_t size)
{
    struct quire_section *section;

    if (size > STORE_MAX) {
        return -EFBIG;
    }
    if (size == store_size(s)) {
        return 0;
    }
    int e = store_section(s, &section);
    if (e == 0) {
        e = (int)file_error(quire_section_resize(section, size));
    }
    if (e == 0 && size < s->image_size) {
        s->image_size = size;
    }
    return e;
}
