/* SPDX-License-Identifier: MIT */
/*
 * The bits of entries: what no call tells, and a machine would read.
 *
 * That a page is dirty is said by its own entry, by the machine's bit or the folded one.  The entry
 * of a borrower says nothing of it: it has none of an owner's bits.
 */
#include "unit.h"

#include "table.h"

enum { OWNERS = ENTRY_OWN | ENTRY_WRITE | ENTRY_DIRTY | ENTRY_FOLDED };

static entry_t *slot_of(struct unit *u, struct quire_space *space, vaddr_t address)
{
    struct qi_look look = qi_table_look(space, address);

    CHECK(look.level == 1);
    return &table_entries(u->w.q, look.table)[entry_index(address, 1)];
}

/*
 * Goal: what is written past the machine sets the bits that the machine would have set.  Method: a
 * page that is writable, and has not been written since; quire_write.
 */
static void written_past_the_machine(void)
{
    struct unit u;
    struct quire_space *space;

    begin(&u);
    space = space_new(&u);
    map(&u, space, 0, LEAF, RW);
    put_each(&u, space, 2);
    protect(&u, space, 0, PAGE(1), R);
    CHECK((*slot_of(&u, space, 0) & OWNERS) == (ENTRY_OWN | ENTRY_FOLDED));
    protect(&u, space, 0, PAGE(1), RW);
    end(&u, fork_of(&u, space));
    put(&u, space, PAGE(1), 3);
    CHECK((*slot_of(&u, space, 0) & OWNERS) == (ENTRY_OWN | ENTRY_WRITE | ENTRY_FOLDED));
    *slot_of(&u, space, 0) &= ~ENTRY_ACCESSED;
    CHECK_OK(quire_write(space, 0, "\4", 1, NULL));
    CHECK((*slot_of(&u, space, 0) & OWNERS) == OWNERS);
    CHECK(*slot_of(&u, space, 0) & ENTRY_ACCESSED);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: each kind of entry has its owner's bits and no others.  Method: a borrowed page, and one
 * that is copied for the child because it is pinned, beside the pinned one.
 */
static void owners_bits(void)
{
    struct unit u;
    struct quire_space *parent, *child;
    struct quire_run run;
    struct quire_pin pin;

    begin_with(&u, &(struct test_options){.max_pins = 1});
    parent = space_new(&u);
    map(&u, parent, 0, LEAF, RW);
    put_each(&u, parent, 3);
    protect(&u, parent, PAGE(1), PAGE(1), R);
    CHECK_OK(quire_pin(parent, PAGE(2), PAGE(1), QUIRE_WRITE, &run, 1, &pin));
    CHECK((*slot_of(&u, parent, 0) & OWNERS) == (OWNERS & ~ENTRY_FOLDED));
    child = fork_of(&u, parent);
    CHECK((*slot_of(&u, child, 0) & OWNERS) == 0);
    CHECK((*slot_of(&u, child, PAGE(1)) & OWNERS) == 0);
    CHECK((*slot_of(&u, child, PAGE(2)) & OWNERS) == (ENTRY_OWN | ENTRY_FOLDED));
    CHECK((*slot_of(&u, parent, 0) & OWNERS) == 0);
    CHECK((*slot_of(&u, parent, PAGE(2)) & OWNERS) == (ENTRY_OWN | ENTRY_FOLDED));
    put(&u, child, 0, 4);
    CHECK((*slot_of(&u, child, 0) & OWNERS) == (OWNERS & ~ENTRY_FOLDED));
    end(&u, child);
    CHECK(quire_space_pull(parent) == 2);
    audit(&u);
    CHECK((*slot_of(&u, parent, 0) & OWNERS) == (ENTRY_OWN | ENTRY_FOLDED));
    CHECK_OK(quire_unpin(u.w.q, &pin));
    end(&u, parent);
    finish(&u);
}

CHECK_MAIN("unit.bits", TEST(written_past_the_machine), TEST(owners_bits))
