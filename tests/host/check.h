/* SPDX-License-Identifier: MIT */
/*
 * A test program is a table of named functions.
 *
 *     CHECK_MAIN("unit.fork", TEST(nested), TEST(orders))
 *
 * Without arguments all run; with arguments those whose names are given.  The first failed CHECK
 * prints one line that says how to run that test alone, and ends the program with status 1.
 */
#ifndef TESTS_HOST_CHECK_H
#define TESTS_HOST_CHECK_H

#include <quire/quire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_test {
    const char *name;
    void (*run)(void);
};

extern const char *check_program, *check_name; /* what runs now */
extern char check_figures[256];                /* printed after "ok": a test may fill it */

_Noreturn void check_failed(const char *file, int line, const char *what);
_Noreturn void check_status_failed(const char *file, int line, const char *what,
                                   enum quire_status got, enum quire_status wanted);
int check_main(const char *program, const struct check_test *tests, unsigned count, int argc,
               char **argv);

#define CHECK(expression)                                  \
    do {                                                   \
        if (!(expression))                                 \
            check_failed(__FILE__, __LINE__, #expression); \
    } while (0)

#define CHECK_STATUS(expression, wanted)                                               \
    do {                                                                               \
        enum quire_status check_got = (expression);                                    \
        if (check_got != (wanted))                                                     \
            check_status_failed(__FILE__, __LINE__, #expression, check_got, (wanted)); \
    } while (0)

#define CHECK_OK(expression) CHECK_STATUS(expression, QUIRE_OK)

#define FIGURES(...) snprintf(check_figures, sizeof check_figures, __VA_ARGS__)

#define TEST(function)      \
    {                       \
#function, function \
    }

#define CHECK_MAIN(program, ...)                                                       \
    int main(int argc, char **argv)                                                    \
    {                                                                                  \
        static const struct check_test tests[] = {__VA_ARGS__};                        \
        return check_main(program, tests, sizeof tests / sizeof tests[0], argc, argv); \
    }

#endif
