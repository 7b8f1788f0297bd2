/* SPDX-License-Identifier: MIT */
/*
 * A store: a row of bytes that grows, kept in frames taken from quire one at a time.
 *
 * Two levels of pointers, a frame each, reach 1 GiB.  A null pointer at either level is a hole and
 * reads as zeros, so a store that was only made long costs nothing.  Files of the root file system
 * keep their bytes so, and the text of a /proc file while it is open.
 *
 * A bounded store (a file) takes no frame when few are left: a full disk should be an error for who
 * fills it, and not the end of some program that has touched its stack.
 *
 * When frames run out in the middle of a write, what was written before stays and is counted, as a
 * full disk would do it; the error is for the write that could not even begin.
 */
#include "vfs.h"

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

static void *store_frame(const struct store *s, uint64_t page)
{
    void **leaf = s->index == NULL ? NULL : s->index[page / STORE_FANOUT];

    return leaf == NULL ? NULL : leaf[page % STORE_FANOUT];
}

/* Is what is left for programs alone? */
static bool store_is_full(const struct store *s)
{
    static uint64_t spare;
    struct quire_stats stats;

    if (spare == 0) {
        quire_stats(quire, &stats);
        spare = stats.frames / STORE_SPARE;
    }
    return s->bounded && quire_free_frames(quire) < spare;
}

/* The frame of `page`, made if there is none; null when memory has run out. */
static void *store_frame_make(struct store *s, uint64_t page)
{
    if (store_frame(s, page) == NULL && store_is_full(s)) {
        return NULL;
    }
    if (s->index == NULL) {
        s->index = frame_alloc();
        if (s->index == NULL) {
            return NULL;
        }
        s->frames++;
    }
    void ***leaf = (void ***)&s->index[page / STORE_FANOUT];
    if (*leaf == NULL) {
        *leaf = frame_alloc();
        if (*leaf == NULL) {
            return NULL;
        }
        s->frames++;
    }
    void **slot = &(*leaf)[page % STORE_FANOUT];
    if (*slot == NULL) {
        *slot = frame_alloc();
        if (*slot != NULL) {
            s->frames++;
        }
    }
    return *slot;
}

static size_t page_part(uint64_t offset, size_t left)
{
    size_t room = PAGE_SIZE - (size_t)(offset % PAGE_SIZE);

    return left < room ? left : room;
}

long store_read(const struct store *s, struct buffer *to, size_t n, uint64_t offset)
{
    size_t done = 0;

    if (offset >= s->size) {
        return 0;
    }
    if (n > s->size - offset) {
        n = (size_t)(s->size - offset);
    }
    while (done < n) {
        uint64_t at = offset + done;
        size_t part = page_part(at, n - done);
        const uint8_t *frame = store_frame(s, at / PAGE_SIZE);
        int e = frame == NULL ? buffer_put_zeros(to, part)
                              : buffer_put(to, frame + at % PAGE_SIZE, part);
        if (e != 0) {
            return done > 0 ? (long)done : e;
        }
        done += part;
    }
    return (long)done;
}

long store_write(struct store *s, struct buffer *from, size_t n, uint64_t offset)
{
    size_t done = 0;
    int e = 0;

    if (offset >= STORE_MAX) {
        return n == 0 ? 0 : -EFBIG;
    }
    if (n > STORE_MAX - offset) {
        n = (size_t)(STORE_MAX - offset);
    }
    while (done < n) {
        uint64_t at = offset + done;
        size_t part = page_part(at, n - done);
        uint8_t *frame = store_frame_make(s, at / PAGE_SIZE);
        e = frame == NULL ? -ENOSPC : buffer_get(from, frame + at % PAGE_SIZE, part);
        if (e != 0) {
            /* A copy that failed half way leaves nothing behind the end of the store. */
            if (frame != NULL && at >= s->size) {
                memset(frame + at % PAGE_SIZE, 0, part);
            } else if (frame != NULL && at + part > s->size) {
                memset(frame + s->size % PAGE_SIZE, 0, (size_t)(at + part - s->size));
            }
            break;
        }
        done += part;
        if (at + part > s->size) {
            s->size = at + part;
        }
    }
    return done > 0 ? (long)done : e;
}

/* Free the data frames from `page` on, and the pointer frames that are empty then. */
static void store_free_from(struct store *s, uint64_t page)
{
    if (s->index == NULL) {
        return;
    }
    for (uint64_t i = page / STORE_FANOUT; i < STORE_FANOUT; i++) {
        void **leaf = s->index[i];
        uint64_t low = i == page / STORE_FANOUT ? page % STORE_FANOUT : 0;
        if (leaf == NULL) {
            continue;
        }
        for (uint64_t j = low; j < STORE_FANOUT; j++) {
            if (leaf[j] != NULL) {
                frame_free(leaf[j]);
                leaf[j] = NULL;
                s->frames--;
            }
        }
        if (low == 0) {
            frame_free(leaf);
            s->index[i] = NULL;
            s->frames--;
        }
    }
    if (page == 0) {
        frame_free(s->index);
        s->index = NULL;
        s->frames--;
    }
}

int store_resize(struct store *s, uint64_t size)
{
    if (size > STORE_MAX) {
        return -EFBIG;
    }
    if (size <= s->size) {
        /* The cut page, if one is cut, may grow again and must show zeros then. */
        uint8_t *frame = size % PAGE_SIZE == 0 ? NULL : store_frame(s, size / PAGE_SIZE);
        if (frame != NULL) {
            memset(frame + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
        }
        store_free_from(s, (size + PAGE_SIZE - 1) / PAGE_SIZE);
    }
    s->size = size;
    return 0;
}
