/* SPDX-License-Identifier: MIT */
/*
 * pagetrace [--window PAGES]: the memory accesses of a program, as a page reference trace.
 *
 *     valgrind --tool=lackey --trace-mem=yes --log-fd=9 PROGRAM 9>&1 >/dev/null | pagetrace >FILE
 *
 * Reads the lines of valgrind's lackey (" S 1ffefffe58,8": store; L load, M load and store, I
 * instruction), passes over all others, and writes the pages, reduced (reduce.h) for memories of
 * at least 32 pages or as many as are given.  Accesses that cross the end of a page count for the
 * first one; accesses inside system calls are not seen.
 *
 * The working set, of which memory sizes can be fractions, is Denning's: how many distinct pages
 * the program uses within so many accesses (TAU, some milliseconds of a processor), on average
 * over its run.  It can only be counted here, where every access passes.
 */
#include "reduce.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_SHIFT = 12, TAU = 10000000, SLOTS_FIRST = 1 << 16 };

/* When each page was last seen: an open hash table; key 0 is empty, page p has key p + 1. */
struct last_seen {
    uint64_t *key, *period;
    size_t slots, used;
};

static size_t slot_of(const struct last_seen *seen, uint64_t key)
{
    size_t slot = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (seen->slots - 1);

    while (seen->key[slot] && seen->key[slot] != key)
        slot = (slot + 1) & (seen->slots - 1);
    return slot;
}

static void grow(struct last_seen *seen)
{
    struct last_seen old = *seen;

    seen->slots = old.slots ? 2 * old.slots : SLOTS_FIRST;
    seen->key = trace_memory(seen->slots, sizeof *seen->key);
    seen->period = trace_memory(seen->slots, sizeof *seen->period);
    for (size_t i = 0; i < old.slots; i++)
        if (old.key[i]) {
            size_t slot = slot_of(seen, old.key[i]);
            seen->key[slot] = old.key[i];
            seen->period[slot] = old.period[i];
        }
    free(old.key);
    free(old.period);
}

/* Is this the first access to the page in this period?  Periods are counted from 1. */
static bool first_in(struct last_seen *seen, uint64_t page, uint64_t period)
{
    if (2 * seen->used >= seen->slots)
        grow(seen);
    size_t slot = slot_of(seen, page + 1);
    seen->used += seen->key[slot] == 0;
    seen->key[slot] = page + 1;
    bool first = seen->period[slot] != period;
    seen->period[slot] = period;
    return first;
}

/* One line of lackey's: false if it is none. */
static bool access_parse(const char *line, uint64_t *page, bool *written)
{
    bool instruction = line[0] == 'I' && line[1] == ' ' && line[2] == ' ';

    if (!instruction && (line[0] != ' ' || !line[1] || !strchr("SLM", line[1]) || line[2] != ' '))
        return false;
    char *end;
    uint64_t address = strtoull(line + 3, &end, 16);
    if (end == line + 3 || *end != ',')
        return false;
    *page = address >> PAGE_SHIFT;
    *written = line[1] == 'S' || line[1] == 'M';
    return true;
}

static void record(struct reduce *reduce, struct trace *trace)
{
    char line[256];
    struct last_seen seen = {0};
    uint64_t page, in_periods = 0;
    bool written;

    while (fgets(line, sizeof line, stdin)) {
        if (!access_parse(line, &page, &written))
            continue;
        in_periods += first_in(&seen, page, trace->accesses / TAU + 1);
        trace->accesses++;
        reduce_add(reduce, page, written);
    }
    /* The last period is as good as whole if it is all there is. */
    double periods = trace->accesses < TAU ? 1 : (double)trace->accesses / TAU;
    trace->working = (uint32_t)((double)in_periods / periods);
    free(seen.key);
    free(seen.period);
}

/* From the smallest window to the one that is wanted: most references go in the first step. */
static void record_reduced(struct trace *trace, uint32_t window)
{
    enum { STEPS = 3 };
    static const uint32_t windows[STEPS - 1] = {4, 24};
    static struct reduce step[STEPS];

    reduce_begin(&step[STEPS - 1], trace, window);
    for (unsigned i = STEPS - 1; i-- > 0;)
        reduce_into(&step[i], &step[i + 1], window < windows[i] ? window : windows[i]);
    record(&step[0], trace);
    reduce_end(&step[0]);
}

int main(int argc, char **argv)
{
    struct trace trace = {0};
    int window = 32;

    if (argc == 3 && strcmp(argv[1], "--window") == 0)
        window = atoi(argv[2]);
    else if (argc != 1)
        window = 0;
    if (window < 1 || window > REDUCE_WINDOW_MAX) {
        fprintf(stderr, "pagetrace [--window 1..%d] <lackey's lines >trace\n", REDUCE_WINDOW_MAX);
        return 2;
    }
    record_reduced(&trace, (uint32_t)window);
    bool ok = trace_write(&trace, stdout);
    fprintf(stderr, "pagetrace: %llu accesses, %zu references\n",
            (unsigned long long)trace.accesses, trace.count);
    trace_free(&trace);
    return ok ? 0 : 1;
}
