/* SPDX-License-Identifier: MIT */
/*
 * Frames: who has which, and where those are that nobody has.
 *
 * The database is one array of 32-byte records, indexed by frame number from the lowest that
 * the embedder will ever add; holes in physical memory cost their records and nothing else.  A
 * record says what its frame is (enum qi_frame_state) and holds the few words that state needs.
 *
 *            qi_frame_alloc               qi_frame_free
 *      cache --------------> in use --------------> limbo --(all others' calls have ended)--> cache
 *        ^ |                                                                                     |
 *        | +---- too many, or the reserve is short ----> lists <---------------------------------+
 *        +------------- a batch, when a call needs more than the cache holds ----+
 *
 * Every CPU has a cache of free frames, so that taking and freeing one touches nothing that
 * another CPU writes; the lists behind the caches are visited in batches.  A call asks once, before
 * it changes anything, for all the frames that it can need (qi_frames_reserve); then they lie in
 * the cache of its own CPU, where nobody else can take them.  What other CPUs keep is not lost to a
 * call that finds too little: it lets go of everything, gathers, and begins again.
 *
 * Limbo.  Calls walk tables without locks, so a call that is in progress may be looking at a table
 * that another has just taken out of the tree, or at a page that another has just replaced.  Such a
 * frame is free, but not to be used before those calls have ended.  Each claim carries the epoch in
 * which its call began; a limbo that is closed begins a new epoch, and is over when no claim is
 * older (Fraser: Practical lock-freedom, 2004).  To see that, the claims of all other CPUs have to
 * be looked at, so a CPU does it when it keeps more frames so than its cache may.  Region nodes and
 * side frames are looked at under holds and locks only, and need none; with one CPU there is no
 * limbo at all.
 *
 * Free frames are kept by colour, the low bits of the frame number: two frames of one colour
 * compete for the same lines of a physically indexed cache, and a copy that takes its source's
 * colour leaves a program's layout in the cache as it was.  The preference never searches: the
 * colour's list, or the next that is not empty.  Zeroed frames are kept apart, so that an idle
 * loop can prepare what a demand-zero fault needs.
 *
 * The last few frames (config.reserve) stay on the lists for operations that free memory in the
 * end: cutting a hole out of a shared table must not fail because there is no memory.
 */
#include "space.h"

/* Frames that move between a cache and the lists at once; and the most that a call leaves behind.
 */
enum { BATCH = QUIRE_TABLE_ENTRIES > 16 ? 32 : 2, CACHE_MAX = 4 * BATCH };

void qi_frames_init(struct qi_frames *f, const struct quire_config *config, void *records)
{
    f->records = records;
    f->first = config->first_frame;
    f->count = config->frame_count;
    f->direct = (unsigned char *)config->direct_map - ((uint64_t)f->first << QUIRE_PAGE_SHIFT);
    f->colours = config->colours ? config->colours : 1;
    f->reserve = config->reserve;
    f->limbo_max = CACHE_MAX;
    for (unsigned i = 0; i < QUIRE_COLOURS_MAX; i++)
        f->list[0][i] = f->list[1][i] = QI_NO_FRAME;
    memset(f->records, 0, (size_t)f->count * sizeof f->records[0]);
}

static inline void record_set_state(struct qi_cpu *cpu, struct qi_frame *r,
                                    enum qi_frame_state state)
{
    frame_count_state(cpu, (enum qi_frame_state)r->state, UINT32_MAX);
    frame_count_state(cpu, state, 1);
    qi_store(&r->state, (uint8_t)state);
}

void qi_frame_set_state(struct qi_cpu *cpu, pfn_t pfn, enum qi_frame_state state)
{
    record_set_state(cpu, frame_record(&cpu->q->frames, pfn), state);
}

static void chain_push(struct qi_frames *f, pfn_t *head, pfn_t pfn)
{
    frame_record(f, pfn)->next = *head;
    *head = pfn;
}

static pfn_t chain_pop(struct qi_frames *f, pfn_t *head)
{
    pfn_t pfn = *head;
    *head = frame_record(f, pfn)->next;
    return pfn;
}

/* The chain of a colour, of this kind or, if that is empty, of the other. */
static inline pfn_t *chain_of(pfn_t heads[2][QUIRE_COLOURS_MAX], bool zeroed, uint32_t colour)
{
    return &heads[heads[zeroed][colour] == QI_NO_FRAME ? !zeroed : zeroed][colour];
}

/* The same of `colour` or the next that has a frame.  There is one. */
static pfn_t *chain_find(const struct qi_frames *f, pfn_t heads[2][QUIRE_COLOURS_MAX], bool zeroed,
                         uint32_t colour)
{
    for (uint32_t i = 0;; i++) {
        qi_assert(i < f->colours); /* a frame was reserved */
        pfn_t *head = chain_of(heads, zeroed, (colour + i) & (f->colours - 1));
        if (*head != QI_NO_FRAME)
            return head;
    }
}

/* The chain of `to` that has the kind and the colour of a chain of `from`. */
static pfn_t *chain_like(pfn_t to[2][QUIRE_COLOURS_MAX], pfn_t from[2][QUIRE_COLOURS_MAX],
                         const pfn_t *chain)
{
    size_t n = (size_t)(chain - from[0]);
    return &to[n / QUIRE_COLOURS_MAX][n % QUIRE_COLOURS_MAX];
}

/* The first frames of a chain, `most` at most, go to another; returns how many those are. */
static uint32_t chain_move(struct qi_frames *f, pfn_t *to, pfn_t *from, uint32_t most)
{
    pfn_t first = *from;
    struct qi_frame *last = frame_record(f, first);
    uint32_t count = 1;
    for (; count < most && last->next != QI_NO_FRAME; count++)
        last = frame_record(f, last->next);
    *from = last->next;
    last->next = *to;
    *to = first;
    return count;
}

/*
 * Between a cache and the lists: `count` frames, which are there.  Each colour gives its part in
 * turn; if the chains are to be mixed, so do those of zeroed frames.
 */
static void chains_move(struct qi_cpu *cpu, pfn_t to[2][QUIRE_COLOURS_MAX],
                        pfn_t from[2][QUIRE_COLOURS_MAX], uint32_t count, bool mixed)
{
    struct qi_frames *f = &cpu->q->frames;
    uint32_t part = count / (f->colours * (1 + mixed)) + 1;
    for (bool zeroed = false; count > 0; zeroed = mixed && !zeroed) {
        pfn_t *head = chain_find(f, from, zeroed, qi_frame_any_colour(cpu) >> mixed);
        count -= chain_move(f, chain_like(to, from, head), head, part < count ? part : count);
    }
}

/* ---- the lists ----------------------------------------------------------------------------- */

static void list_push(struct qi_frames *f, pfn_t pfn, bool zeroed)
{
    chain_push(f, &f->list[zeroed][frame_colour(f, pfn)], pfn);
    qi_store(&f->free, f->free + 1);
}

enum quire_status qi_frame_add(struct qi_cpu *cpu, pfn_t first, uint32_t count)
{
    struct qi_frames *f = &cpu->q->frames;
    if (count == 0)
        return QUIRE_ZERO_LENGTH;
    if (first < f->first || (uint64_t)(first - f->first) + count > f->count)
        return QUIRE_OUT_OF_RANGE;
    for (uint32_t i = 0; i < count; i++)
        if (frame_record(f, first + i)->state != QI_FRAME_ABSENT)
            return QUIRE_OVERLAPS;
    lock_take(cpu, &f->lock, QI_RANK_LIST);
    /* From the top down, so that the lists start with the lowest frames. */
    for (uint32_t i = count; i-- > 0;) {
        qi_frame_set_state(cpu, first + i, QI_FRAME_FREE);
        list_push(f, first + i, false);
    }
    f->added += count;
    lock_drop(cpu, &f->lock, QI_RANK_LIST);
    return QUIRE_OK;
}

bool qi_frame_zero_one(struct qi_cpu *cpu)
{
    struct qi_frames *f = &cpu->q->frames;
    lock_take(cpu, &f->lock, QI_RANK_LIST);
    uint32_t colour = 0;
    while (colour < f->colours && f->list[0][colour] == QI_NO_FRAME)
        colour++;
    bool found = colour < f->colours;
    pfn_t pfn = found ? chain_pop(f, &f->list[0][colour]) : QI_NO_FRAME;
    qi_store(&f->free, f->free - found);
    lock_drop(cpu, &f->lock, QI_RANK_LIST);
    if (!found)
        return false;
    memset(frame_memory(f, pfn), 0, QUIRE_PAGE_SIZE);
    qi_frame_set_state(cpu, pfn, QI_FRAME_ZEROED);
    lock_take(cpu, &f->lock, QI_RANK_LIST);
    list_push(f, pfn, true);
    lock_drop(cpu, &f->lock, QI_RANK_LIST);
    return true;
}

/* ---- the cache of a CPU -------------------------------------------------------------------- */

static inline void cache_push(struct qi_cpu *cpu, pfn_t pfn)
{
    struct qi_frames *f = &cpu->q->frames;
    chain_push(f, &cpu->cache.head[0][frame_colour(f, pfn)], pfn);
    qi_store(&cpu->cache.count, cpu->cache.count + 1);
    cpu->unsettled = true;
}

/* So many frames came from the lists, whose lock is held. */
static void cache_count(struct qi_cpu *cpu, uint32_t count)
{
    struct qi_frames *f = &cpu->q->frames;
    qi_store(&f->free, f->free - count);
    qi_store(&cpu->cache.count, cpu->cache.count + count);
    cpu->unsettled = true;
}

/* The cache has no frame of this colour, but the lists may: fetch some.  A chain that has one now,
 * or one of another colour. */
static pfn_t *cache_fetch(struct qi_cpu *cpu, uint32_t colour)
{
    struct qi_frames *f = &cpu->q->frames;
    lock_take(cpu, &f->lock, QI_RANK_LIST);
    pfn_t *head = chain_of(f->list, false, colour);
    pfn_t *same = chain_like(cpu->cache.head, f->list, head);
    uint32_t most = f->free > f->reserve ? f->free - f->reserve : 0;
    if (*head != QI_NO_FRAME && most > 0)
        cache_count(cpu, chain_move(f, same, head, most < BATCH ? most : BATCH));
    lock_drop(cpu, &f->lock, QI_RANK_LIST);
    return chain_find(f, cpu->cache.head, false, colour);
}

bool qi_frames_fetch(struct qi_cpu *cpu, uint32_t need, bool urgent)
{
    struct qi_frames *f = &cpu->q->frames;
    lock_take(cpu, &f->lock, QI_RANK_LIST);
    uint32_t kept = urgent ? 0 : f->reserve;
    uint32_t free = f->free > kept ? f->free - kept : 0;
    uint32_t missing = need - cpu->cache.count;
    if (free >= missing) {
        uint32_t count = missing > BATCH ? missing : free < BATCH ? free : BATCH;
        chains_move(cpu, cpu->cache.head, f->list, count, true);
        cache_count(cpu, count);
    }
    lock_drop(cpu, &f->lock, QI_RANK_LIST);
    if (cpu->q->paging.low_memory && free < qi_frames_goal(cpu->q))
        cpu->q->paging.low_memory(cpu->q->host);
    return free >= missing;
}

pfn_t qi_frame_alloc(struct qi_cpu *cpu, enum qi_frame_state state, enum qi_frame_want want,
                     uint32_t colour)
{
    struct qi_frames *f = &cpu->q->frames;
    bool zeroed = want == QI_WANT_ZEROED;
    colour &= f->colours - 1;
    pfn_t *head = chain_of(cpu->cache.head, zeroed, colour);
    if (qi_rarely(*head == QI_NO_FRAME))
        head = cache_fetch(cpu, colour);
    pfn_t pfn = *head;
    struct qi_frame *r = frame_record(f, pfn);
    *head = r->next;
    qi_store(&cpu->cache.count, cpu->cache.count - 1);
    bool clear = zeroed && r->state != QI_FRAME_ZEROED;
    record_set_state(cpu, r, state);
    *r = (struct qi_frame){
        .state = (uint8_t)state, .next = QI_NO_FRAME, .prev = QI_NO_FRAME, .side = QI_NO_FRAME};
    if (clear && !(state == QI_FRAME_DATA && QI_CANARY(QI_CANARY_FREE_WITHOUT_ZEROING)))
        memset(frame_memory(f, pfn), 0, QUIRE_PAGE_SIZE);
    return pfn;
}

void qi_frame_free(struct qi_cpu *cpu, pfn_t pfn)
{
    struct qi_frames *f = &cpu->q->frames;
    struct qi_frame *r = frame_record(f, pfn);
    bool walked = 1u << r->state & (1u << QI_FRAME_DATA | 1u << QI_FRAME_TABLE |
                                    1u << QI_FRAME_DYING | 1u << QI_FRAME_SECTION);
    qi_assert(r->state > QI_FRAME_ZEROED && r->state != QI_FRAME_ZERO_PAGE);
    record_set_state(cpu, r, QI_FRAME_FREE);
    if (cpu->alone || !walked || QI_CANARY(QI_CANARY_NO_LIMBO)) {
        cache_push(cpu, pfn);
        return;
    }
    chain_push(f, &cpu->limbo[0].head, pfn);
    qi_store(&cpu->limbo[0].count, cpu->limbo[0].count + 1);
    cpu->unsettled = true;
}

/* A page that is pinned is promised until it goes; true: it is pinned still. */
static bool orphan(struct qi_cpu *cpu, struct qi_frame *r)
{
    struct quire *q = cpu->q;
    lock_take(cpu, &q->lock, QI_RANK_LIST);
    bool pinned = qi_add(&r->share, QI_ORPHAN) != 0;
    q->committed += pinned;
    lock_drop(cpu, &q->lock, QI_RANK_LIST);
    return pinned;
}

/* The same of a page that keeps a slot. */
static __attribute__((noinline)) void page_release_kept(struct qi_cpu *cpu, pfn_t pfn)
{
    struct qi_frame *r = frame_record(&cpu->q->frames, pfn);
    qi_paged_release(cpu, r->side);
    r->side = QI_NO_FRAME;
    qi_page_release(cpu, pfn);
}

void qi_page_release(struct qi_cpu *cpu, pfn_t pfn)
{
    struct qi_frame *r = frame_record(&cpu->q->frames, pfn);
    if (qi_rarely(r->side != QI_NO_FRAME)) {
        page_release_kept(cpu, pfn);
        return;
    }
    qi_store(&r->home, QI_NO_HOME);
    if (qi_load(&r->share) != 0 && !QI_CANARY(QI_CANARY_PIN_LOST_BY_UNMAP) && orphan(cpu, r))
        return;
    qi_frame_free(cpu, pfn);
}

/* ---- limbo --------------------------------------------------------------------------------- */

/* Every call of another CPU that was in progress when the limbo was closed has ended. */
static bool limbo_over(const struct qi_cpu *cpu)
{
    const struct quire *q = cpu->q;
    for (uint32_t i = 0; i < q->cpu_count; i++) {
        if (&q->cpus[i] != cpu && !claim_newer(qi_load_now(&q->cpus[i].claim), cpu->limbo[1].epoch))
            return false;
    }
    return true;
}

static bool limbo_large(const struct qi_cpu *cpu)
{
    return cpu->limbo[0].count + cpu->limbo[1].count > cpu->q->frames.limbo_max;
}

static void limbo_close(struct qi_cpu *cpu)
{
    cpu->limbo[1].head = cpu->limbo[0].head;
    cpu->limbo[0].head = QI_NO_FRAME;
    cpu->limbo[1].epoch = qi_add(&cpu->q->epoch, 1);
    qi_store(&cpu->limbo[1].count, cpu->limbo[0].count);
    qi_store(&cpu->limbo[0].count, 0u);
}

static void limbo_empty(struct qi_cpu *cpu)
{
    struct qi_limbo *limbo = &cpu->limbo[1];
    for (; limbo->count > 0; qi_store(&limbo->count, limbo->count - 1))
        cache_push(cpu, chain_pop(&cpu->q->frames, &limbo->head));
}

static void cache_give(struct qi_cpu *cpu, uint32_t count)
{
    struct qi_frames *f = &cpu->q->frames;
    if (count == 0)
        return;
    lock_take(cpu, &f->lock, QI_RANK_LIST);
    chains_move(cpu, f->list, cpu->cache.head, count, false);
    cache_count(cpu, 0 - count);
    lock_drop(cpu, &f->lock, QI_RANK_LIST);
}

void qi_frames_settle(struct qi_cpu *cpu)
{
    const struct qi_frames *f = &cpu->q->frames;
    if (limbo_large(cpu) && (limbo_over(cpu) || QI_CANARY(QI_CANARY_LIMBO_NOT_AWAITED)))
        limbo_empty(cpu);
    if (cpu->limbo[0].count >= BATCH && cpu->limbo[1].count == 0)
        limbo_close(cpu);
    uint32_t give = cpu->cache.count > CACHE_MAX ? cpu->cache.count - CACHE_MAX / 2 : 0;
    if (f->reserve > 0) {
        uint32_t free = qi_load(&f->free);
        uint32_t lack = free < f->reserve ? f->reserve - free : 0;
        if (lack > cpu->cache.count)
            lack = cpu->cache.count;
        give = lack > give ? lack : give;
    }
    cache_give(cpu, give);
    cpu->unsettled = limbo_large(cpu);
}

/* Everything that one CPU keeps goes to the lists; true: there was something. */
static bool gather_from(struct qi_cpu *cpu)
{
    qi_claim(cpu, CLAIM_OUTSIDE);
    for (unsigned n = 0; n < 2; n++) {
        if (cpu->limbo[1].count == 0 && cpu->limbo[0].count > 0)
            limbo_close(cpu);
        while (!limbo_over(cpu))
            host_wait(cpu->host, &cpu->claim);
        limbo_empty(cpu);
    }
    uint32_t count = cpu->cache.count;
    cache_give(cpu, count);
    qi_leave(cpu);
    return count > 0;
}

/* Frames of standby pages, when there are too few others; true: there were some. */
static bool gather_standby(struct quire *q, uint32_t need, bool urgent)
{
    uint32_t wanted = need + (urgent ? 0 : q->frames.reserve), free = qi_load(&q->frames.free);
    if (free >= wanted || qi_standby_count(&q->paging) == 0)
        return false;
    struct qi_cpu *cpu = qi_enter(q);
    uint32_t count = qi_paged_steal(cpu, wanted - free + BATCH);
    cache_give(cpu, cpu->cache.count);
    qi_leave(cpu);
    return count > 0;
}

bool qi_frames_there(const struct quire *q, uint32_t need, bool urgent)
{
    return qi_load(&q->frames.free) >= (uint64_t)need + (urgent ? 0 : q->frames.reserve);
}

bool qi_frames_gather(struct quire *q, uint32_t need, bool urgent)
{
    bool found = false;
    for (uint32_t i = 0; i < q->cpu_count && q->cpu_count > 1; i++) {
        struct qi_cpu *cpu = &q->cpus[i];
        if (qi_load(&cpu->cache.count) > 0 || qi_load(&cpu->limbo[0].count) > 0 ||
            qi_load(&cpu->limbo[1].count) > 0)
            found |= gather_from(cpu);
    }
    found |= gather_standby(q, need, urgent);
    return found && qi_frames_there(q, need, urgent);
}

uint32_t qi_frames_in_state(const struct quire *q, enum qi_frame_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->cpu_count; i++)
        count += __atomic_load_n(&q->cpus[i].by_state[state], __ATOMIC_RELAXED);
    return count;
}

uint32_t qi_frames_near(const struct qi_cpu *cpu)
{
    const struct qi_frames *f = &cpu->q->frames;
    uint32_t free = qi_load(&f->free);
    return cpu->cache.count + (free > f->reserve ? free - f->reserve : 0);
}

uint32_t qi_frames_available(const struct quire *q)
{
    uint32_t free = qi_frames_in_state(q, QI_FRAME_FREE) + qi_frames_in_state(q, QI_FRAME_ZEROED);
    return free > q->frames.reserve ? free - q->frames.reserve : 0;
}
