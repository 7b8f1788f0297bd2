/* SPDX-License-Identifier: MIT */
/*
 * Are the tests any good?
 *
 * core/hook.h has a number of deliberate bugs ("canaries").  For each, every kind of test is run
 * with that bug compiled in and switched on, each in a process of its own: the exhaustive search
 * (narrow, then wide), the model, and the failure loops, all cut down to about a second.  A
 * finding, a panic, a crash or an endless loop counts as found.  The table says who found what,
 * and the shortest evidence; a canary that nobody finds fails this test.  The same runs without a
 * bug must find nothing.
 */
#define _GNU_SOURCE
#include "hook.h"
#include "inject.h"
#include "model.h"
#include "search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const names[QI_CANARY_COUNT] = {
    [QI_CANARY_NONE] = "none",
    [QI_CANARY_UNSHARE_LEAVES_W] = "unshare leaves W (H1)",
    [QI_CANARY_NO_PUSH_DOWN] = "no push-down (H2)",
    [QI_CANARY_LOOSEN_SHARED] = "loosen in a shared table (H3)",
    [QI_CANARY_NO_TABLE_FLUSH] = "no flush of a table (H4)",
    [QI_CANARY_DEAD_TABLE_BORROWS] = "a dead table borrows (H5)",
    [QI_CANARY_BUSY_LOOKS_EMPTY] = "busy looks empty (H8)",
    [QI_CANARY_UNHIDE_IN_PLACE] = "unhide in place (H15)",
    [QI_CANARY_DISCARD_IN_PLACE] = "discard in place (H26)",
    [QI_CANARY_REUSE_IGNORES_SHARE] = "reuse ignores share",
    [QI_CANARY_FROZEN_IS_EXCLUSIVE] = "frozen is exclusive",
    [QI_CANARY_NO_COPY_FLUSH] = "no flush at copy",
    [QI_CANARY_NO_FORK_FLUSH] = "no flush at fork",
    [QI_CANARY_NO_PROTECT_FLUSH] = "no flush at protect",
    [QI_CANARY_ZERO_PAGE_WRITABLE] = "zero page writable (H13)",
    [QI_CANARY_COPY_KEEPS_USE] = "copy keeps the use",
    [QI_CANARY_FAILURE_LEAKS] = "a failure leaks",
    [QI_CANARY_CUT_KEEPS_PAGE] = "cut keeps a page",
    [QI_CANARY_DIRTY_LOST] = "dirty is lost",
    [QI_CANARY_FREE_WITHOUT_ZEROING] = "fresh page not zeroed",
};

enum { TEXT_MAX = 700, MODEL_WORLDS = 8, MODEL_OPS = 5000 };

/* What a detector found, in words; empty: nothing. */
typedef void detector(char *text, size_t size);

static void by_search(char *text, size_t size)
{
    static struct search_result r;
    struct search_options o = {.seconds = 1e9, .max_depth = 5, .max_states = 200000};

    search_run(&o, &r);
    if (!r.failed) {
        o.wide = true;
        o.max_depth = 4;
        search_run(&o, &r);
    }
    if (r.failed)
        snprintf(text, size, "%s: %s (transition %llu)", r.sequence, r.why,
                 (unsigned long long)r.transitions + 1);
}

static void by_model(char *text, size_t size)
{
    static struct model_result r;

    for (uint64_t seed = 1; seed <= MODEL_WORLDS && !r.failed; seed++) {
        struct model_options o = {.seed = seed, .ops = MODEL_OPS};

        model_run(&o, &r);
        if (r.failed)
            snprintf(text, size, "seed %llu, %s", (unsigned long long)seed, r.why);
    }
}

static void by_inject(char *text, size_t size)
{
    static struct inject_result r;
    struct inject_options o = {.random = 30};

    inject_run(&o, &r);
    if (r.failed)
        snprintf(text, size, "run %llu, %s", (unsigned long long)r.runs + 1, r.why);
}

static const struct {
    const char *name;
    detector *run;
} detectors[] = {{"search", by_search}, {"model", by_model}, {"inject", by_inject}};
enum { DETECTORS = sizeof detectors / sizeof detectors[0] };

/* In a process of its own: whatever a bug does there, it does not do here. */
static void detect(detector *run, enum qi_canary canary, char *text, size_t size)
{
    int ends[2], status;
    ssize_t n;
    pid_t child;

    fflush(stdout);
    if (pipe(ends) != 0 || (child = fork()) < 0) {
        perror("canary");
        exit(2);
    }
    if (child == 0) {
        char found[TEXT_MAX] = "";

        close(ends[0]);
        qi_test_canary = canary;
        run(found, sizeof found);
        _exit(write(ends[1], found, strlen(found)) == (ssize_t)strlen(found) ? 0 : 1);
    }
    close(ends[1]);
    n = read(ends[0], text, size - 1);
    text[n > 0 ? n : 0] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (text[0] == 0 && status != 0)
        snprintf(text, size, "it crashed");
}

int main(void)
{
    unsigned found = 0, missed = 0, by[DETECTORS] = {0};

    printf("  %-30s %-7s %-7s %-7s %s\n", "canary", "search", "model", "inject", "evidence");
    for (unsigned canary = QI_CANARY_NONE; canary < QI_CANARY_COUNT; canary++) {
        char text[TEXT_MAX], first[TEXT_MAX] = "";
        bool hit[DETECTORS];

        for (unsigned d = 0; d < DETECTORS; d++) {
            detect(detectors[d].run, (enum qi_canary)canary, text, sizeof text);
            hit[d] = text[0] != 0;
            by[d] += hit[d];
            if (hit[d] && !first[0])
                snprintf(first, sizeof first, "%s", text);
        }
        printf("  %-30s %-7s %-7s %-7s %.200s\n", names[canary], hit[0] ? "found" : "-",
               hit[1] ? "found" : "-", hit[2] ? "found" : "-", first);
        if (canary == QI_CANARY_NONE ? first[0] != 0 : first[0] == 0) {
            fprintf(stderr, "FAILED canary %u (%s): %s\n", canary, names[canary],
                    first[0] ? "found something without a bug" : "nobody finds it");
            missed++;
        }
        found += canary != QI_CANARY_NONE && first[0] != 0;
    }
    if (missed > 0)
        return 1;
    printf("canary: ok (%u of %u found; search %u, model %u, inject %u)\n", found,
           (unsigned)QI_CANARY_COUNT - 1, by[0], by[1], by[2]);
    return 0;
}
