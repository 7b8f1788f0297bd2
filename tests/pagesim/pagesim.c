/* SPDX-License-Identifier: MIT */
/*
 * The simulator against what can be known without it.
 *
 * Reference strings from textbooks, whose page-ins under the optimum and LRU were computed by hand;
 * small random traces, on which the optimum is found by trying all choices; and the rules that hold
 * on every trace: nobody beats the optimum, and dropping references changes neither bound.
 */
#include "bounds.h"
#include "check.h"
#include "paging.h"
#include "reduce.h"

enum { SMALL_PAGES = 5, SMALL_LENGTH = 24, SMALL_TRACES = 400, LARGE_TRACES = 40 };

static uint32_t random_below(uint32_t limit)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % limit;
}

/* A trace of one-digit pages: "1231", all reads. */
static struct trace digits(const char *pages)
{
    struct trace trace = {.window = 1};

    for (; *pages; pages++)
        trace_add(&trace, (uint64_t)(*pages - '0'), false);
    trace_number(&trace);
    return trace;
}

/* Pages in phases: each has a place that it keeps near to, with excursions; a third are writes. */
static struct trace phases(uint32_t pages, uint32_t length)
{
    struct trace trace = {.window = 1};
    uint32_t place = 0;

    for (uint32_t i = 0; i < length; i++) {
        if (random_below(pages * 4) == 0)
            place = random_below(pages);
        uint32_t reach = random_below(8) ? 1 + pages / 4 : pages;
        trace_add(&trace, (place + random_below(reach)) % pages, random_below(3) == 0);
    }
    return trace;
}

/* With so many frames to be at hand, leaves of four pages, and no neighbours. */
static struct paging_result run_small(const struct trace *trace, const struct quire_policy *policy,
                                      uint32_t frames, uint32_t keep)
{
    struct paging_config config = {policy, frames, keep, 4, 1, 1};

    return paging_run(trace, &config);
}

/*
 * Goal: the bounds are those of the books (page-ins are faults but for the first of each page).
 * Method: Belady's string, with which FIFO has 9 and 10 faults, and Silberschatz's.
 */
static void textbook(void)
{
    struct trace belady = digits("123412512345"), other = digits("70120304230321201701");

    CHECK(bounds_optimum(&belady, 3) == 7 - 5);
    CHECK(bounds_lru(&belady, 3) == 10 - 5);
    CHECK(bounds_optimum(&belady, 4) == 6 - 5);
    CHECK(bounds_lru(&belady, 4) == 8 - 5);
    CHECK(bounds_optimum(&belady, 5) == 0);
    CHECK(bounds_lru(&belady, 5) == 0);
    CHECK(bounds_optimum(&other, 3) == 9 - 6);
    CHECK(bounds_lru(&other, 3) == 12 - 6);
    trace_free(&belady);
    trace_free(&other);
}

/* The fewest faults from reference i on with these pages in memory, trying every choice. */
static uint32_t fewest(const struct trace *trace, size_t i, uint32_t resident, uint32_t frames,
                       uint8_t known[SMALL_LENGTH][1 << SMALL_PAGES])
{
    if (i == trace->count)
        return 0;
    if (known[i][resident])
        return known[i][resident] - 1u;
    uint32_t page = 1u << (trace->reference[i] >> 1), best = UINT32_MAX;
    if (resident & page) {
        best = fewest(trace, i + 1, resident, frames, known);
    } else if ((uint32_t)__builtin_popcount(resident) < frames) {
        best = 1 + fewest(trace, i + 1, resident | page, frames, known);
    } else {
        for (uint32_t out = 1; out <= resident; out <<= 1) {
            if (!(resident & out))
                continue;
            uint32_t faults = 1 + fewest(trace, i + 1, (resident & ~out) | page, frames, known);
            best = faults < best ? faults : best;
        }
    }
    known[i][resident] = (uint8_t)(best + 1);
    return best;
}

/* Goal: the optimum is the least that there is.  Method: all choices, on small traces. */
static void optimum_is_least(void)
{
    for (unsigned i = 0; i < SMALL_TRACES; i++) {
        struct trace trace = phases(SMALL_PAGES, SMALL_LENGTH);
        trace_number(&trace);
        for (uint32_t frames = 1; frames <= SMALL_PAGES; frames++) {
            uint8_t known[SMALL_LENGTH][1 << SMALL_PAGES] = {0};
            CHECK(bounds_optimum(&trace, frames) + trace.pages ==
                  fewest(&trace, 0, 0, frames, known));
        }
        trace_free(&trace);
    }
}

/*
 * Goal: the mechanics are those that paging.c draws.  Method: the clock with three frames, of which
 * one must be at hand when a fault begins, followed by hand.
 */
static void clock_by_hand(void)
{
    struct trace trace = digits("12341");
    struct paging_result result = run_small(&trace, &quire_policy_clock, 3, 1);

    /*
     * 1, 2 and 3 come.  4 finds no frame: all three were used, and the pass lets nothing leave; the
     * next finds them unused, and all leave, for they are in one leaf.  4 takes the frame of 1.  1
     * is read, into the frame of 2.
     */
    CHECK(result.reads == 1 && result.pages == 1 && result.soft == 0);
    CHECK(result.visits == 6 && result.written == 3);
    trace_free(&trace);

    trace = digits("1234343");
    result = run_small(&trace, &quire_policy_clock, 3, 1);
    /* The same, and 3 comes back from the standby list; it was never out. */
    CHECK(result.reads == 0 && result.soft == 1 && result.visits == 6);
    trace_free(&trace);
}

static uint8_t unused_is_one(uint8_t age, bool used)
{
    (void)age;
    return used ? 0 : 1;
}

/*
 * Goal: a pass that lets nothing leave is followed by one that is content with half the age; a page
 * that was used stays, whatever the age.  Method: a policy that calls nothing as old as it wants,
 * and two rounds by hand: 0, 4 and 8 are in leaves of their own.
 */
static void old_is_lowered(void)
{
    const struct quire_policy choosy = {"choosy", unused_is_one, 4};
    struct trace trace = digits("1234");
    struct paging_result result = run_small(&trace, &choosy, 3, 1);

    /* 4 finds no frame: a pass of used pages, one that wants 2 and sees 1, and one that wants 1. */
    CHECK(result.visits == 9 && result.written == 3);
    trace_free(&trace);

    trace = digits("0481454");
    result = run_small(&trace, &quire_policy_clock, 3, 1);
    /*
     * 1 finds no frame: a pass of used pages, and 0 leaves.  5 finds none: the pass goes on with 4,
     * which was used since, and 8 leaves.
     */
    CHECK(result.reads == 0 && result.soft == 0);
    CHECK(result.visits == 6 && result.written == 2);
    trace_free(&trace);
}

/* The pages 0 to 31, twice, in a memory of 24 of which 17 are to be at hand. */
static struct paging_result two_rounds(bool written, uint32_t cluster)
{
    struct trace trace = {.window = 1};
    struct paging_config config = {&quire_policy_clock, 24, 17, 4, 1, cluster};

    for (uint64_t i = 0; i < 64; i++)
        trace_add(&trace, i % 32, written);
    trace_number(&trace);
    struct paging_result result = paging_run(&trace, &config);
    trace_free(&trace);
    return result;
}

/*
 * Goal: a page is written when it leaves first, and again only if it was changed; pages that left
 * together are read together.  Method: rounds over more pages than there is memory for.
 */
static void slots_and_neighbours(void)
{
    struct paging_result read = two_rounds(false, 1), written = two_rounds(true, 1);
    struct paging_result around = two_rounds(false, 8);

    CHECK(read.written <= 32 && read.reads == 32 && read.soft == 0);
    CHECK(written.written > 32 && written.reads == read.reads);
    CHECK(read.pages == read.reads && read.wasted == 0);
    CHECK(around.reads == 4 && around.pages == 32 && around.wasted == 0);
    CHECK(around.soft == 28);
}

/*
 * Goal: neighbours that nobody wants are the first to go.  Method: when 0 to 31 were used, 0 to 7
 * are out.  0 is read with its neighbours, and 8 to 15 go; 8 is read with its own, for whom those
 * of 0 go, and 20 is still there.
 */
static void neighbours_go_first(void)
{
    struct trace trace = {.window = 1};
    struct paging_config config = {&quire_policy_clock, 24, 17, 4, 1, 8};

    for (uint64_t i = 0; i < 32; i++)
        trace_add(&trace, i, false);
    trace_add(&trace, 0, false);
    trace_add(&trace, 8, false);
    trace_add(&trace, 20, false);
    trace_number(&trace);
    struct paging_result result = paging_run(&trace, &config);
    CHECK(result.reads == 2 && result.pages == 16);
    CHECK(result.wasted == 7 && result.soft == 1);
    trace_free(&trace);
}

/*
 * Goal: no policy reads fewer pages than the optimum, with neighbours or without, and in a memory
 * that is large enough none reads any.  Method: random traces, every policy, many sizes and marks.
 */
static void nobody_beats_the_optimum(void)
{
    static const struct quire_policy *const policies[] = {&quire_policy_aging, &quire_policy_clock};

    for (unsigned i = 0; i < LARGE_TRACES; i++) {
        struct trace trace = phases(64, 3000);
        trace_number(&trace);
        for (uint32_t frames = 16; frames <= 72; frames += 8) {
            uint64_t optimum = bounds_optimum(&trace, frames);
            CHECK(bounds_lru(&trace, frames) >= optimum);
            CHECK(frames < 64 || optimum == 0);
            for (unsigned p = 0; p < 2; p++) {
                struct paging_result alone =
                    run_small(&trace, policies[p], frames, 1 + random_below(4));
                struct paging_config config = {policies[p], frames, 8, 16, 1 + (i & 1), 3};
                struct paging_result around = paging_run(&trace, &config);
                CHECK(alone.reads >= optimum && alone.pages == alone.reads);
                CHECK(around.pages >= optimum && around.reads <= around.pages);
                CHECK(frames < 72 || (alone.reads == 0 && around.reads == 0));
            }
        }
        trace_free(&trace);
    }
}

/*
 * Goal: dropping references changes no bound of a memory of `window` pages or more, whether it is
 * done in one step or in two.  Method: random traces, every memory.
 */
static void reduction_is_exact(void)
{
    static struct reduce first, second;
    size_t before = 0, after = 0;

    for (unsigned i = 0; i < LARGE_TRACES; i++) {
        struct trace whole = phases(40, 4000), reduced = {0};
        uint32_t window = 1 + random_below(32);
        reduce_begin(&second, &reduced, window);
        reduce_into(&first, &second, (window + 1) / 2);
        for (size_t r = 0; r < whole.count; r++)
            reduce_add(i & 1 ? &first : &second, whole.raw[r] >> 1, whole.raw[r] & 1);
        reduce_end(i & 1 ? &first : &second);
        trace_number(&whole);
        trace_number(&reduced);
        CHECK(reduced.window == window && reduced.pages == whole.pages);
        for (uint32_t frames = window; frames <= 40; frames++) {
            CHECK(bounds_optimum(&whole, frames) == bounds_optimum(&reduced, frames));
            CHECK(bounds_lru(&whole, frames) == bounds_lru(&reduced, frames));
        }
        before += whole.count;
        after += reduced.count;
        trace_free(&whole);
        trace_free(&reduced);
    }
    CHECK(after < before / 2);
    FIGURES("%zu of %zu references left", after, before);
}

/*
 * Goal: what is written is what is read, and what is cut off, or holds more than it says, is
 * refused. Method: every length; a run that is longer than the trace.
 */
static void files(void)
{
    static const char run_of_three[] = "quirept1\1\3\1\2\5\2";
    struct trace written = phases(300, 500), read;
    char bytes[8192];

    written.window = 7;
    written.working = 300;
    written.accesses = 1ull << 40;
    for (uint64_t i = 0; i < 100; i++)
        trace_add(&written, (1ull << 40) - i * 3, i > 50);
    FILE *file = tmpfile();
    CHECK(file && trace_write(&written, file));
    rewind(file);
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    CHECK(length > 0 && length < sizeof bytes);
    trace_number(&written);
    for (size_t cut = 1; cut <= length; cut++) {
        file = fmemopen(bytes, cut, "rb");
        CHECK(trace_read(&read, file) == (cut == length));
        fclose(file);
    }
    CHECK(read.window == 7 && read.working == 300 && read.accesses == 1ull << 40);
    CHECK(read.count == 600 && read.pages == written.pages);
    CHECK(memcmp(read.address, written.address, read.pages * sizeof *read.address) == 0);
    CHECK(memcmp(read.reference, written.reference, read.count * sizeof *read.reference) == 0);
    trace_free(&read);
    trace_free(&written);
    file = fmemopen((void *)(uintptr_t)run_of_three, sizeof run_of_three - 1, "rb");
    CHECK(!trace_read(&read, file));
    fclose(file);
}

CHECK_MAIN("pagesim", TEST(textbook), TEST(optimum_is_least), TEST(clock_by_hand),
           TEST(old_is_lowered), TEST(slots_and_neighbours), TEST(neighbours_go_first),
           TEST(nobody_beats_the_optimum), TEST(reduction_is_exact), TEST(files))
