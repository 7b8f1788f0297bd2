/* SPDX-License-Identifier: MIT */
/*
 * Are the tests any good?
 *
 * core/hook.h has a number of deliberate bugs ("canaries").  For each, every kind of test is run
 * with that bug compiled in and switched on, each in a process of its own: the exhaustive search
 * (narrow, then wide, then over sections), the model, and the failure loops, all cut down to about
 * a second.  A finding, a panic, a crash or an endless loop counts as found.  The table says who
 * found what, and the shortest evidence; a canary that nobody finds fails this test.  The same runs
 * without a bug must find nothing.
 *
 *     test_canary_canary_micro SCHEDULE EVERY UNIT...
 *
 * takes the program of the schedule explorers, and those of the unit tests that find what no
 * explorer meets soon enough; `make proof` tries every canary, `make test` one in EVERY.
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
    [QI_CANARY_PIN_WITHOUT_HINT] = "pin without a hint (H10)",
    [QI_CANARY_ROOT_BUSY_IGNORED] = "busy root ignored",
    [QI_CANARY_READERS_NOT_AWAITED] = "readers not awaited",
    [QI_CANARY_WRITER_NOT_SEEN] = "writer not seen",
    [QI_CANARY_LEAF_NOT_LOCKED] = "leaf not locked",
    [QI_CANARY_LENDER_NOT_LOCKED] = "lender not locked",
    [QI_CANARY_COPY_BEFORE_FLUSH] = "copied before flush (row 12)",
    [QI_CANARY_RELEASE_BEFORE_FLUSH] = "released before flush (row 21)",
    [QI_CANARY_FORK_BEFORE_FAULTS] = "fork among faults (row 32)",
    [QI_CANARY_PROMISE_KEPT] = "promise kept by the dead",
    [QI_CANARY_CHILD_NOT_CHARGED] = "child not charged (row 43)",
    [QI_CANARY_OMIT_IGNORED] = "omit ignored (H21)",
    [QI_CANARY_WIPE_IGNORED] = "wipe ignored (H21)",
    [QI_CANARY_MOVE_NO_FLUSH] = "no flush at move (row 16)",
    [QI_CANARY_PIN_LOST_BY_UNMAP] = "pin lost by unmap (H11)",
    [QI_CANARY_UNPIN_TWICE] = "unpinned twice (row 30)",
    [QI_CANARY_PULL_SHARED] = "pull of a shared home (H17)",
    [QI_CANARY_DIFF_BY_TABLE_ONLY] = "pages not compared (row 60)",
    [QI_CANARY_FORCE_GRANTS_WRITE] = "force grants write (row 70)",
    [QI_CANARY_COPIES_UNLIMITED] = "copies unlimited",
    [QI_CANARY_RESERVED_IS_MEMORY] = "reserved is memory",
    [QI_CANARY_STACK_WITHOUT_GAP] = "stack without gap",
    [QI_CANARY_SHARE_BEFORE_BUSY] = "parents counted before busy",
    [QI_CANARY_NO_LIMBO] = "no limbo for freed frames",
    [QI_CANARY_SHARED_READ_NOT_LOCKED] = "shared read without lock",
    [QI_CANARY_ROOT_BEFORE_FLUSH] = "root before flush",
    [QI_CANARY_FAILED_WRITE_CLEAN] = "failed write is clean (row 55)",
    [QI_CANARY_SYNC_LEAVES_WRITABLE] = "sync leaves W (H14)",
    [QI_CANARY_VIEW_NOT_DIRTY] = "view not dirty (H14)",
    [QI_CANARY_CUT_KEEPS_VIEWS] = "cut keeps views",
    [QI_CANARY_TAIL_NOT_CLEARED] = "tail not cleared",
    [QI_CANARY_VIEWS_NOT_FLUSHED] = "left-out views not flushed",
    [QI_CANARY_PRIVATE_WRITES_FILE] = "private view writes the file",
    [QI_CANARY_CLONE_NO_FLUSH] = "no flush at clone",
    [QI_CANARY_PINNED_WRITTEN] = "pinned page written back (H12)",
    [QI_CANARY_LEAVES_UNFLUSHED] = "no flush when a page leaves",
    [QI_CANARY_LEAVES_CLEAN] = "changes lost when a page leaves",
    [QI_CANARY_PINNED_LEAVES] = "pinned page leaves (H11)",
    [QI_CANARY_LOCKED_LEAVES] = "locked page leaves",
    [QI_CANARY_LENT_LEAVES] = "lent page leaves",
    [QI_CANARY_SLOT_FREE_TOO_EARLY] = "slot free during its transfer",
    [QI_CANARY_UNWRITTEN_IS_CLEAN] = "unwritten page keeps its slot",
    [QI_CANARY_UNREAD_IS_THERE] = "page there that was not read",
    [QI_CANARY_UNWRITTEN_IS_STANDBY] = "failed page write forgotten",
    [QI_CANARY_OUT_BELOW_HIDDEN] = "page out below a hidden entry",
    [QI_CANARY_LIMBO_NOT_AWAITED] = "limbo not awaited",
};

enum { TEXT_MAX = 700, MODEL_WORLDS = 16, MODEL_OPS = 5000 };

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
    for (unsigned kind = SEARCH_MEMORY; !r.failed && kind <= SEARCH_FILE; kind++) {
        o = (struct search_options){.seconds = 1e9,
                                    .max_depth = 4,
                                    .max_states = 200000,
                                    .sections = (enum search_sections)kind};
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

/* The program that explores schedules of several CPUs; null: not asked. */
static const char *schedule;

/* The last line of a command that says with its status that it found something. */
static void by_command(const char *command, char *text, size_t size)
{
    FILE *said = popen(command, "r");

    while (said && fgets(text, (int)size, said))
        ;
    if (!said || pclose(said) == 0)
        text[0] = 0;
    text[strcspn(text, "\n")] = 0;
}

static void by_schedules(const char *which, char *text, size_t size)
{
    char command[600];

    snprintf(command, sizeof command, "%s %s --canary %d 2>&1", schedule, which,
             (int)qi_test_canary);
    by_command(command, text, size);
}

/* The programs of unit tests, up to a null. */
static char **units;

static void by_unit(char *text, size_t size)
{
    char command[600];

    for (char **unit = units; *unit && text[0] == 0; unit++) {
        snprintf(command, sizeof command, "QUIRE_CANARY=%d %s 2>&1", (int)qi_test_canary, *unit);
        by_command(command, text, size);
    }
}

static void by_schedule(char *text, size_t size)
{
    if (schedule)
        by_schedules("--aimed --pct 1000000000 --seconds 15", text, size);
    if (schedule && text[0] == 0)
        by_schedules("--random 1000000000 --pct 1000000000 --seconds 8", text, size);
}

static const struct {
    const char *name;
    detector *run;
} detectors[] = {{"search", by_search},
                 {"model", by_model},
                 {"inject", by_inject},
                 {"unit", by_unit},
                 {"schedule", by_schedule}};
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

/* Who finds it: the number of a detector, and how; DETECTORS: nobody. */
static unsigned finder(enum qi_canary canary, char *text)
{
    for (unsigned d = 0; d < DETECTORS; d++) {
        detect(detectors[d].run, canary, text, TEXT_MAX);
        if (text[0] != 0)
            return d;
    }
    return DETECTORS;
}

int main(int argc, char **argv)
{
    unsigned found = 0, tried = 0, missed = 0, every = argc > 2 ? (unsigned)atoi(argv[2]) : 1;

    if (every == 0)
        every = 1;
    schedule = argc > 1 ? argv[1] : NULL;
    units = argc > 3 ? argv + 3 : argv + argc;
    for (unsigned canary = QI_CANARY_NONE; canary < QI_CANARY_COUNT; canary += every) {
        char text[TEXT_MAX];
        unsigned by = finder((enum qi_canary)canary, text);
        bool wanted = canary != QI_CANARY_NONE;

        printf("  %-32s %-9s %.200s\n", names[canary], by < DETECTORS ? detectors[by].name : "-",
               text);
        if ((by < DETECTORS) != wanted) {
            fprintf(stderr, "FAILED canary %u (%s): %s\n", canary, names[canary],
                    wanted ? "nobody finds it" : text);
            missed++;
        }
        found += by < DETECTORS && wanted;
        tried += wanted;
    }
    printf("[proof] canaries %u\n[proof] canaries_found %u\n", tried, found);
    if (missed > 0)
        return 1;
    printf("canary: ok (%u of %u found)\n", found, tried);
    return 0;
}
