/* SPDX-License-Identifier: MIT */
/*
 * Frames: who has which, and the lists of those that nobody has.
 *
 * The database is one array of 32-byte records, indexed by frame number from the lowest that
 * the embedder will ever add; holes in physical memory cost their records and nothing else.  A
 * record says what its frame is (enum qi_frame_state) and holds the few words that state needs.
 *
 * Free frames are kept by colour, the low bits of the frame number: two frames of one colour
 * compete for the same lines of a physically indexed cache, and a copy that takes its source's
 * colour leaves a program's layout in the cache as it was.  The preference never searches: the
 * colour's list, or the next that is not empty. Zeroed frames are kept apart, so that an idle
 * loop can prepare what a demand-zero fault needs.
 *
 * Nothing here waits or fails by surprise.  An operation asks qi_frame_available for the whole
 * number it can need, before it changes anything, and then takes frames that are known to be
 * there (reserve, then commit).  The last few frames (config.reserve) are kept for operations
 * that free memory in the end: cutting a hole out of a shared table must not fail because there
 * is no memory.
 *
 * Locks: the manager's, throughout.
 */
#include "frame.h"

void qi_frames_init(struct qi_frames *f, const struct quire_config *config, void *records)
{
    memset(f, 0, sizeof *f);
    f->records = records;
    f->first = config->first_frame;
    f->count = config->frame_count;
    f->direct = (unsigned char *)config->direct_map - ((uint64_t)f->first << QUIRE_PAGE_SHIFT);
    f->colours = config->colours ? config->colours : 1;
    f->reserve = config->reserve;
    for (unsigned i = 0; i < QUIRE_COLOURS_MAX; i++)
        f->list[0][i].head = f->list[1][i].head = QI_NO_FRAME;
    memset(f->records, 0, (size_t)f->count * sizeof f->records[0]);
    f->by_state[QI_FRAME_ABSENT] = f->count;
}

static void list_push(struct qi_frames *f, pfn_t pfn)
{
    struct qi_frame *r = frame_record(f, pfn);
    struct qi_list *list = &f->list[r->state == QI_FRAME_ZEROED][frame_colour(f, pfn)];
    r->next = list->head;
    r->prev = QI_NO_FRAME;
    if (list->head != QI_NO_FRAME)
        frame_record(f, list->head)->prev = pfn;
    list->head = pfn;
    f->free++;
}

enum quire_status qi_frame_add(struct qi_frames *f, pfn_t first, uint32_t count)
{
    if (count == 0)
        return QUIRE_ZERO_LENGTH;
    if (first < f->first || (uint64_t)(first - f->first) + count > f->count)
        return QUIRE_OUT_OF_RANGE;
    for (uint32_t i = 0; i < count; i++)
        if (frame_record(f, first + i)->state != QI_FRAME_ABSENT)
            return QUIRE_OVERLAPS;
    /* From the top down, so that the lists start with the lowest frames. */
    for (uint32_t i = count; i-- > 0;) {
        qi_frame_set_state(f, first + i, QI_FRAME_FREE);
        list_push(f, first + i);
    }
    f->added += count;
    return QUIRE_OK;
}

/* A list that has a frame, of `colour` or the next that has one; null: none of this kind has. */
static struct qi_list *list_find(struct qi_frames *f, bool zeroed, uint32_t colour)
{
    for (uint32_t i = 0; i < f->colours; i++) {
        struct qi_list *list = &f->list[zeroed][(colour + i) & (f->colours - 1)];
        if (list->head != QI_NO_FRAME)
            return list;
    }
    return NULL;
}

static pfn_t list_pop(struct qi_frames *f, struct qi_list *list)
{
    pfn_t pfn = list->head;
    list->head = frame_record(f, pfn)->next;
    if (list->head != QI_NO_FRAME)
        frame_record(f, list->head)->prev = QI_NO_FRAME;
    f->free--;
    return pfn;
}

pfn_t qi_frame_alloc(struct qi_frames *f, enum qi_frame_state state, enum qi_frame_want want,
                     uint32_t colour)
{
    bool zeroed = want == QI_WANT_ZEROED;
    struct qi_list *list = list_find(f, zeroed, colour);
    if (!list)
        list = list_find(f, !zeroed, colour);
    qi_assert(list != NULL);
    pfn_t pfn = list_pop(f, list);
    struct qi_frame *r = frame_record(f, pfn);
    bool clear = zeroed && r->state != QI_FRAME_ZEROED;
    f->by_state[r->state]--;
    f->by_state[state]++;
    *r = (struct qi_frame){
        .state = (uint8_t)state, .next = QI_NO_FRAME, .prev = QI_NO_FRAME, .side = QI_NO_FRAME};
    if (clear && !(state == QI_FRAME_DATA && QI_CANARY(QI_CANARY_FREE_WITHOUT_ZEROING)))
        memset(frame_memory(f, pfn), 0, QUIRE_PAGE_SIZE);
    return pfn;
}

void qi_frame_free(struct qi_frames *f, pfn_t pfn)
{
    struct qi_frame *r = frame_record(f, pfn);
    qi_assert(r->state > QI_FRAME_ZEROED && r->state != QI_FRAME_ZERO_PAGE);
    qi_frame_set_state(f, pfn, QI_FRAME_FREE);
    list_push(f, pfn);
}

bool qi_frame_zero_one(struct qi_frames *f)
{
    struct qi_list *list = list_find(f, false, 0);
    if (!list)
        return false;
    pfn_t pfn = list_pop(f, list);
    memset(frame_memory(f, pfn), 0, QUIRE_PAGE_SIZE);
    qi_frame_set_state(f, pfn, QI_FRAME_ZEROED);
    list_push(f, pfn);
    return true;
}
