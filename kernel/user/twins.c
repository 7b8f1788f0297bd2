/* SPDX-License-Identifier: MIT */
/*
 * A parent and a child that write the same pages.
 *
 * twins PAGES: fill that many pages, fork, let both write to every page at the same time, and
 * have each find what it wrote itself.  Exit status 0 when both did.
 */
#include "user.h"

int user_main(int argc, char **argv, char **envp);

static unsigned number_of(const char *text)
{
    unsigned n = 0;

    while (*text >= '0' && *text <= '9') {
        n = n * 10 + (unsigned)(*text++ - '0');
    }
    return n;
}

/* Write `who` into every page, in three passes, and count the pages that hold anything else. */
static unsigned pages_write(volatile uint8_t *at, unsigned pages, uint8_t who)
{
    unsigned strange = 0;

    for (unsigned pass = 0; pass < 3; pass++) {
        for (unsigned i = 0; i < pages; i++) {
            uint8_t before = at[i * PAGE + pass];
            strange += before != 1;
            at[i * PAGE + pass] = who;
        }
    }
    for (unsigned i = 0; i < pages; i++) {
        strange += at[i * PAGE] != who || at[i * PAGE + 1] != who || at[i * PAGE + 2] != who;
    }
    return strange;
}

int user_main(int argc, char **argv, char **envp)
{
    unsigned pages = argc > 1 ? number_of(argv[1]) : 1024;

    (void)envp;
    if (pages == 0 || pages > 1 << 16) {
        print("usage: twins PAGES\n");
        return 2;
    }
    uint8_t *at = pages_map(pages);
    for (unsigned i = 0; i < pages; i++) {
        memset(at + i * PAGE, 1, 3);
    }
    int pid = child_fork();
    unsigned strange = pages_write(at, pages, pid == 0 ? 'c' : 'p');
    if (pid == 0) {
        sys_exit(strange == 0 ? 0 : 1);
    }
    int status = child_wait(pid);
    print("   %u pages written by both; wrong in the parent: %u; in the child: %s\n", pages,
          strange, ended_by_exit(status, 0) ? "0" : "some");
    return strange == 0 && ended_by_exit(status, 0) ? 0 : 1;
}
