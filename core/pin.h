/* SPDX-License-Identifier: MIT */
/*
 * Pins: handles over frames that a device uses.  See pin.c.
 */
#ifndef CORE_PIN_H
#define CORE_PIN_H

#include "fault.h"

/* One handle, of config.max_pins; under the manager's list lock. */
struct qi_pin {
    struct qi_pin *next_free;
    uint32_t pages;  /* 0: not live */
    uint32_t serial; /* of the live handle, or of the next one */
};

void qi_pins_init(struct quire *q);

/* ---- what fork and clones need ----------------------------------------------------------- */

/* The entry of a leaf is the home of a pinned page. */
bool qi_entry_pinned(const struct quire *q, entry_t e);
/* How many such entries a leaf of a space that is held exclusively has. */
uint32_t qi_leaf_pinned(const struct quire *q, pfn_t table);

/* ---- what fork needs ----------------------------------------------------------------------- */

/*
 * The first leaf at or above *at that holds pinned pages: *at becomes where it starts, and *pages
 * how many there are.  Follows the hints, and clears those that turn out wrong.  The space is held
 * exclusively.
 */
bool qi_pinned_leaf(struct quire_space *space, vaddr_t *at, uint32_t *pages);

/* Frames that qi_pins_fork will take. */
uint32_t qi_pins_need(struct quire_space *parent);
/*
 * Parent and child were made equal, and the parent's translations are gone: pinned pages stay with
 * the parent, in leaves of its own, and the child gets copies (H10).
 */
void qi_pins_fork(struct qi_cpu *cpu, struct quire_space *parent, struct quire_space *child);

#endif
