/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite: what core expects of a machine, the same source on each of them.
 *
 * A port links conformance.c, fills in struct conformance and calls conformance_run, which needs
 * about 70 free frames (40 in the micro geometry), no other space that changes meanwhile, and no C
 * library beyond mem*.
 */
#ifndef TESTS_MACHINE_CONFORMANCE_H
#define TESTS_MACHINE_CONFORMANCE_H

#include <quire/machine.h>
#include <quire/quire.h>

#include <stdbool.h>
#include <stdint.h>

struct conformance {
    void *context; /* for the functions below */
    struct quire *q;
    void *machine; /* config.machine of q */
    vaddr_t base;  /* suite may map [base, base + CONFORMANCE_SPAN), a multiple of the span */
    /* Bytes that can be executed: fetching them at any address returns at once. */
    const uint8_t *code;
    uint32_t code_size;

    /* Make this CPU run `space` (quire_space_activate and what the port needs besides); may be
     * null. */
    void (*run)(void *context, struct quire_space *space);
    /*
     * One attempt at a user access of one byte in the space that runs, without calling quire_fault:
     * true if the machine allowed it.  QUIRE_WRITE stores *byte, QUIRE_READ loads to it, QUIRE_EXEC
     * executes the code there.
     */
    bool (*attempt)(void *context, vaddr_t address, uint32_t access, uint8_t *byte);
    /* The same two for a second CPU; null: there is none. */
    void (*run_other)(void *context, struct quire_space *space);
    bool (*attempt_other)(void *context, vaddr_t address, uint32_t access, uint8_t *byte);
    /* Make the identifiers of spaces run out soon; null: the machine has none. */
    void (*wear)(void *context);
    /* The frame through the direct map. */
    void *(*frame)(void *context, pfn_t pfn);
    /* quire_check, and whatever the machine itself can check: the number of findings. */
    unsigned (*audit)(void *context);
    /* One line of text without an end of line. */
    void (*print)(void *context, const char *line);
};

/* What the suite maps lies in a range of this many bytes: four leaf tables. */
#define CONFORMANCE_SPAN (UINT64_C(4) << (QUIRE_PAGE_SHIFT + QUIRE_TABLE_SHIFT))

/*
 * Run all cases; prints one line for each failure ("conformance: CASE line N: EXPRESSION") and one
 * at the end.  Returns the number of failed cases.
 */
unsigned conformance_run(const struct conformance *machine);

#endif
