/* SPDX-License-Identifier: MIT */
/*
 * Small records out of frames: a slab allocator with seven sizes.
 *
 * A slab is one frame: a header, then objects of one size; free objects are linked through their
 * first word.  Slabs with a free object are on their size's list; a slab without any is on no list,
 * and one that becomes wholly free goes back to quire unless it is the only one on its list.
 * Objects never start on a page boundary, because the header is there; larger requests get a whole
 * frame, which always does.  That is how kfree tells them apart.
 */
#include "cpu.h"

enum { SIZES = 7 };

struct slab {
    struct slab *next, *previous;
    void *free;
    uint16_t size_index, used;
    uint32_t unused;
};

enum { SLAB_ROOM = PAGE_SIZE - (int)sizeof(struct slab) };

static const uint16_t sizes[SIZES] = {32, 64, 128, 256, 496, 1008, SLAB_ROOM / 2 / 16 * 16};
static struct slab *partial[SIZES];

static void list_insert(struct slab *s)
{
    struct slab **head = &partial[s->size_index];

    s->previous = NULL;
    s->next = *head;
    if (*head)
        (*head)->previous = s;
    *head = s;
}

static void list_remove(struct slab *s)
{
    if (s->previous)
        s->previous->next = s->next;
    else
        partial[s->size_index] = s->next;
    if (s->next)
        s->next->previous = s->previous;
}

static struct slab *slab_create(unsigned index)
{
    struct slab *s = frame_alloc_dirty();
    size_t size = sizes[index];

    if (!s)
        return NULL;
    *s = (struct slab){.size_index = (uint16_t)index};
    for (size_t i = SLAB_ROOM / size; i-- > 0;) {
        void **object = (void **)(void *)((char *)(s + 1) + i * size);

        *object = s->free;
        s->free = object;
    }
    list_insert(s);
    return s;
}

void *kmalloc(size_t size)
{
    unsigned index = 0;
    struct slab *s;
    void **object;

    if (size > KMALLOC_MAX)
        return NULL;
    while (index < SIZES && size > sizes[index])
        index++;
    if (index == SIZES)
        return frame_alloc_dirty();
    s = partial[index] ? partial[index] : slab_create(index);
    if (!s)
        return NULL;
    object = s->free;
    s->free = *object;
    s->used++;
    if (!s->free)
        list_remove(s);
    return object;
}

void *kzalloc(size_t size)
{
    void *p = kmalloc(size);

    if (p)
        memset(p, 0, size);
    return p;
}

void kfree(void *p)
{
    uintptr_t offset = (uintptr_t)p % PAGE_SIZE;
    struct slab *s = (struct slab *)((uintptr_t)p - offset);

    if (!p)
        return;
    if (offset == 0) {
        frame_free(p);
        return;
    }
    kassert(s->used > 0);
    kassert((offset - sizeof *s) % sizes[s->size_index] == 0);
    if (!s->free)
        list_insert(s);
    *(void **)p = s->free;
    s->free = p;
    if (--s->used == 0 && (s->next || s->previous)) {
        list_remove(s);
        frame_free(s);
    }
}
