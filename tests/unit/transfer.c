/* SPDX-License-Identifier: MIT */
/*
 * quire_read and quire_write: a kernel's copies take the path that the program's own accesses take.
 */
#include "unit.h"

enum { SPAN = 5 * QUIRE_PAGE_SIZE };

/*
 * Goal: any offset and length, across pages and leaves, equals an array.  Method: random transfers
 * around a leaf boundary, through quire and through the CPU by turns, against a byte array.
 */
static void any_offset_and_length(void)
{
    static uint8_t model[SPAN], bytes[SPAN];
    struct unit u;
    struct quire_space *space;
    vaddr_t base = LEAF - 2 * QUIRE_PAGE_SIZE;
    uint64_t random = 3;

    begin(&u);
    memset(model, 0, sizeof model);
    space = space_new(&u);
    map(&u, space, base, SPAN, RW);
    for (int step = 0; step < 3000; step++) {
        size_t at = test_random(&random) % SPAN, done = 0;
        size_t length = test_random(&random) % (SPAN - at + 1);

        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)test_random(&random);
        if (step % 3 == 0) {
            CHECK_OK(quire_write(space, base + at, bytes, length, &done));
            CHECK(done == length);
            memcpy(model + at, bytes, length);
        } else if (step % 3 == 1) {
            CHECK_OK(quire_read(space, base + at, bytes, length, &done));
            CHECK(done == length);
            CHECK(memcmp(bytes, model + at, length) == 0);
        } else {
            uint8_t got;

            at = at < SPAN - 1 ? at : SPAN - 1;
            CHECK_OK(test_load(&u.w, space, base + at, &got));
            CHECK(got == model[at]);
            CHECK_OK(test_store(&u.w, space, base + at, bytes[0]));
            model[at] = bytes[0];
        }
        if (step % 32 == 0)
            audit(&u);
    }
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a transfer that meets a hole or a forbidden page says how far it came.  Method: ranges that
 * end in each, in the first, second and third page; the bytes before are moved, those after are
 * not.
 */
static void partial(void)
{
    static uint8_t bytes[SPAN];
    struct unit u;
    struct quire_space *space;
    size_t done;

    begin(&u);
    space = space_new(&u);
    map(&u, space, PAGE(1), PAGE(2), RW);
    map(&u, space, PAGE(3), PAGE(1), R);
    memset(bytes, 5, sizeof bytes);
    done = 99;
    CHECK_STATUS(quire_write(space, 0, bytes, 10, &done), QUIRE_NOT_MAPPED);
    CHECK(done == 0);
    CHECK_STATUS(quire_write(space, PAGE(2) - 3, bytes, SPAN, &done), QUIRE_PROTECTED);
    CHECK(done == 3 + QUIRE_PAGE_SIZE);
    CHECK(get(&u, space, PAGE(3) - 1) == 5);
    CHECK(get(&u, space, PAGE(2) - 4) == 0);
    CHECK_STATUS(quire_read(space, PAGE(3) + 1, bytes, SPAN, &done), QUIRE_NOT_MAPPED);
    CHECK(done == QUIRE_PAGE_SIZE - 1);
    CHECK_STATUS(quire_write(space, PAGE(3), bytes, 1, NULL), QUIRE_PROTECTED);
    CHECK_STATUS(quire_read(space, UINT64_MAX - 3, bytes, 8, &done), QUIRE_WRAPS);
    CHECK(done == 0);
    CHECK_STATUS(quire_read(space, MMU_ADDRESS_END - 1, bytes, 2, &done), QUIRE_NOT_MAPPED);
    CHECK_OK(quire_read(space, PAGE(1), bytes, 0, &done));
    CHECK(done == 0);
    CHECK_STATUS(quire_write(space, UINT64_MAX / 2, bytes, 1, &done), QUIRE_NOT_MAPPED);
    audit(&u);
    end(&u, space);
    finish(&u);
}

/*
 * Goal: a copy by the kernel breaks sharing as a store does.  Method: quire_write in parent and
 * child over shared, borrowed and zero pages, with the CPU reading the other side through
 * translations it already holds.
 */
static void breaks_sharing(void)
{
    struct unit u;
    struct quire_space *parent, *child;
    uint8_t two[2] = {8, 9}, got[2];

    begin_with(&u, &(struct test_options){.cpus = 2});
    parent = space_new(&u);
    map(&u, parent, 0, PAGE(4), RW);
    put(&u, parent, PAGE(1) - 1, 1);
    (void)get(&u, parent, PAGE(1));
    child = fork_of(&u, parent);
    test_run(&u.w, 0, parent);
    test_run(&u.w, 1, child);
    CHECK_OK(soft_load(u.w.cpu[0], PAGE(1) - 1, got, 2));
    CHECK(got[0] == 1 && got[1] == 0);
    CHECK_OK(soft_load(u.w.cpu[1], PAGE(1) - 1, got, 2));
    CHECK_OK(quire_write(child, PAGE(1) - 1, two, 2, NULL));
    audit(&u);
    CHECK_OK(soft_load(u.w.cpu[0], PAGE(1) - 1, got, 2));
    CHECK(got[0] == 1 && got[1] == 0);
    CHECK_OK(soft_load(u.w.cpu[1], PAGE(1) - 1, got, 2));
    CHECK(got[0] == 8 && got[1] == 9);
    two[0] = 4;
    CHECK_OK(quire_write(parent, PAGE(1) - 1, two, 1, NULL));
    audit(&u);
    CHECK_OK(soft_load(u.w.cpu[0], PAGE(1) - 1, got, 1));
    CHECK(got[0] == 4);
    CHECK_OK(soft_load(u.w.cpu[1], PAGE(1) - 1, got, 1));
    CHECK(got[0] == 8);
    end(&u, parent);
    end(&u, child);
    finish(&u);
}

CHECK_MAIN("unit.transfer", TEST(any_offset_and_length), TEST(partial), TEST(breaks_sharing))
