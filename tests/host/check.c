/* SPDX-License-Identifier: MIT */
/*
 * Running the tests of one program (see check.h).
 *
 * The line of a failure names the program and the test, because programs are built once for each
 * geometry: the id is the path of the program as it was called and the test's name.
 *
 * In the test build the environment variable QUIRE_CANARY is the number of a deliberate bug to run
 * with (core/hook.h).
 */
#include "check.h"

#include "hook.h"

const char *check_program, *check_name;
char check_figures[256];

static const char *called_as;

void check_failed(const char *file, int line, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "FAILED %s.%s at %s:%d: %s; again: %s %s\n", check_program, check_name, file,
            line, what, called_as, check_name);
    exit(1);
}

void check_status_failed(const char *file, int line, const char *what, enum quire_status got,
                         enum quire_status wanted)
{
    char text[400];

    snprintf(text, sizeof text, "%s is %s, not %s", what, quire_status_name(got),
             quire_status_name(wanted));
    check_failed(file, line, text);
}

static int wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], name))
            return 1;
    }
    return argc < 2;
}

int check_main(const char *program, const struct check_test *tests, unsigned count, int argc,
               char **argv)
{
    unsigned ran = 0;

#ifdef QUIRE_TEST
    if (getenv("QUIRE_CANARY"))
        qi_test_canary = (enum qi_canary)atoi(getenv("QUIRE_CANARY"));
#endif
    check_program = program;
    called_as = argv[0];
    for (unsigned i = 0; i < count; i++) {
        if (!wanted(tests[i].name, argc, argv))
            continue;
        check_name = tests[i].name;
        check_figures[0] = 0;
        tests[i].run();
        printf("%s.%s: ok%s%s%s\n", program, check_name, check_figures[0] ? " (" : "",
               check_figures, check_figures[0] ? ")" : "");
        ran++;
    }
    if (ran)
        return 0;
    fprintf(stderr, "%s: no such test\n", program);
    return 2;
}
