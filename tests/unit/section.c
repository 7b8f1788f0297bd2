/* SPDX-License-Identifier: MIT */
/*
 * Sections and views: shared memory and files, mapped and read, written and written back, cut off
 * and forgotten.
 */
#include "file.h"

/* Goal: views, at any page offset, and reads see one file; a shared view's store is everybody's. */
static void one_file(void)
{
    struct fixture f;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    view(&f, f.space, PAGE(8), 2, R, QUIRE_MAP_SHARED, 1);
    view(&f, f.space, PAGE(12), 3, RW, 0, 0);
    for (unsigned n = 0; n < 4; n++)
        CHECK(get(&f.u, f.space, PAGE(1 + n)) == stored(n));
    CHECK(get(&f.u, f.space, PAGE(8)) == stored(1));
    CHECK(get(&f.u, f.space, PAGE(13)) == stored(1));
    put(&f.u, f.space, PAGE(2), 7);
    CHECK(get(&f.u, f.space, PAGE(8)) == 7);
    CHECK(get(&f.u, f.space, PAGE(13)) == 7); /* private, but not written */
    CHECK(file_byte(&f, PAGE(1)) == 7);
    file_put(&f, PAGE(1) + 1, 9);
    CHECK(get(&f.u, f.space, PAGE(2) + 1) == 9);
    CHECK(get(&f.u, f.space, PAGE(8) + 1) == 9);
    CHECK_STATUS(test_store(&f.u.w, f.space, PAGE(8), 1), QUIRE_PROTECTED);
    fixture_finish(&f);
}

/* Goal: a private view writes a page of its own, mapped before or not; discard shows the file. */
static void private_copies(void)
{
    struct fixture f;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 4, RW, 0, 0);
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    put(&f.u, f.space, PAGE(1), 1);
    put(&f.u, f.space, PAGE(2), 2);
    CHECK(get(&f.u, f.space, PAGE(1)) == 1);
    CHECK(get(&f.u, f.space, PAGE(1) + 1) == disk[1]);
    CHECK(file_byte(&f, 0) == stored(0));
    CHECK(file_byte(&f, PAGE(1)) == stored(1));
    file_put(&f, 0, 50);
    CHECK(get(&f.u, f.space, PAGE(1)) == 1);
    CHECK_OK(quire_discard(f.space, PAGE(1), PAGE(4)));
    CHECK(get(&f.u, f.space, PAGE(1)) == 50);
    CHECK(get(&f.u, f.space, PAGE(2)) == stored(1));
    fixture_finish(&f);
}

/* Goal: fork shares what is shared, copies what is private, at any depth, and forgets nothing. */
static void forked(void)
{
    struct fixture f;
    struct quire_space *child, *grandchild;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 3, RW, QUIRE_MAP_SHARED, 0);
    view(&f, f.space, PAGE(4), 3, RW, 0, 0);
    map(&f.u, f.space, PAGE(8), PAGE(1), RW);
    put(&f.u, f.space, PAGE(8), 8);
    put(&f.u, f.space, PAGE(1), 1);
    put(&f.u, f.space, PAGE(4), 4);
    CHECK(get(&f.u, f.space, PAGE(5)) == stored(1));
    child = fork_of(&f.u, f.space);
    grandchild = fork_of(&f.u, child);
    put(&f.u, child, PAGE(2), 2);
    CHECK(get(&f.u, f.space, PAGE(2)) == 2);
    CHECK(get(&f.u, grandchild, PAGE(2)) == 2);
    CHECK(get(&f.u, grandchild, PAGE(4)) == 4);
    CHECK(get(&f.u, grandchild, PAGE(5)) == 2); /* not written: the file's */
    put(&f.u, grandchild, PAGE(4), 44);
    put(&f.u, f.space, PAGE(5), 55);
    CHECK(get(&f.u, child, PAGE(4)) == 4);
    CHECK(get(&f.u, child, PAGE(5)) == 2);
    end(&f.u, child);
    put(&f.u, f.space, PAGE(1), 11);
    CHECK(get(&f.u, grandchild, PAGE(1)) == 11);
    CHECK(get(&f.u, grandchild, PAGE(8)) == 8);
    end(&f.u, grandchild);
    fixture_finish(&f);
}

/* Goal: written back is what was changed, once; a failed write is told once to each, and not lost.
 */
static void written_back(void)
{
    struct fixture f;
    uint64_t mine = 0, yours = 0;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 3, RW, QUIRE_MAP_SHARED, 0);
    put(&f.u, f.space, PAGE(1), 1);
    file_put(&f, PAGE(2), 3);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, &mine));
    CHECK(disk[0] == 1 && disk[PAGE(2)] == 3);
    CHECK(f.file.pages_written == 2);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, &mine));
    CHECK(f.file.pages_written == 2 && stats_of(&f.u).pages_written == 2);
    put(&f.u, f.space, PAGE(1), 2); /* through a view that could write before */
    f.file.fail_writes = true;
    CHECK_STATUS(quire_section_sync(f.section, 0, PAGE(1), 0, &mine), QUIRE_IO_ERROR);
    CHECK(disk[0] == 1);
    f.file.fail_writes = false;
    CHECK_STATUS(quire_section_sync(f.section, 0, 0, 0, &yours), QUIRE_IO_ERROR);
    CHECK_OK(quire_section_sync(f.section, 0, 0, 0, &yours));
    CHECK_OK(quire_section_sync(f.section, 0, PAGE(1), 0, &mine));
    CHECK(disk[0] == 2);
    fixture_finish(&f);
}

/* Goal: beyond the end is beyond; copies stay; what comes back is zeros. */
static void cut_off(void)
{
    struct fixture f;
    struct quire_space *child;
    uint8_t byte;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    view(&f, f.space, PAGE(5), 4, RW, 0, 0);
    for (unsigned n = 0; n < 4; n++)
        put(&f.u, f.space, PAGE(1 + n) + 5, 5);
    put(&f.u, f.space, PAGE(7), 70);
    CHECK(get(&f.u, f.space, PAGE(8)) == stored(3));
    child = fork_of(&f.u, f.space);
    CHECK_OK(quire_section_resize(f.section, PAGE(1) + 3));
    audit(&f.u);
    CHECK_STATUS(test_load(&f.u.w, f.space, PAGE(3), &byte), QUIRE_BEYOND_END);
    CHECK_STATUS(test_load(&f.u.w, child, PAGE(4), &byte), QUIRE_BEYOND_END);
    CHECK_STATUS(test_load(&f.u.w, child, PAGE(8), &byte), QUIRE_BEYOND_END);
    CHECK_STATUS(test_store(&f.u.w, child, PAGE(8), 1), QUIRE_BEYOND_END);
    CHECK(get(&f.u, f.space, PAGE(7)) == 70);
    CHECK(get(&f.u, child, PAGE(7)) == 70);
    CHECK(get(&f.u, f.space, PAGE(2)) == stored(1));
    CHECK(get(&f.u, f.space, PAGE(2) + 5) == 0);
    put(&f.u, f.space, PAGE(2) + 6, 6); /* behind the end, in its page */
    CHECK_OK(quire_section_resize(f.section, PAGE(4)));
    CHECK(get(&f.u, f.space, PAGE(2) + 6) == 0);
    memset(disk + PAGE(2), 0, PAGE(2));
    CHECK(get(&f.u, child, PAGE(3)) == 0);
    CHECK(get(&f.u, child, PAGE(8)) == 0);
    end(&f.u, child);
    fixture_finish(&f);
}

/* Goal: a read that fails is that access's error and nobody else's; the next one tries again. */
static void failed_reads(void)
{
    struct fixture f;
    uint8_t byte;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 4, RW, 0, 0);
    f.file.fail_reads = true;
    CHECK_STATUS(test_load(&f.u.w, f.space, PAGE(1), &byte), QUIRE_IO_ERROR);
    CHECK_STATUS(test_store(&f.u.w, f.space, PAGE(2), 1), QUIRE_IO_ERROR);
    CHECK_STATUS(quire_section_read(f.section, 0, &byte, 1, 0, NULL), QUIRE_IO_ERROR);
    audit(&f.u);
    f.file.fail_reads = false;
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    CHECK_STATUS(quire_fault(f.space, PAGE(1), R), QUIRE_OK);
    fixture_finish(&f);
}

static void end_one(struct test_world *world, struct quire_section *section)
{
    struct test_file *file = world->context;

    (void)section;
    CHECK(file->waiting_count > 0);
    test_file_end(file, file->waiting_count - 1);
}

/* Goal: a pager may take its time: waiters wait, others go on, and nobody waits who may not. */
static void late(void)
{
    struct fixture f;

    fixture_begin(&f);
    f.u.w.context = &f.file;
    f.u.w.wait_io = end_one;
    f.file.late = true;
    view(&f, f.space, PAGE(1), 4, RW, QUIRE_MAP_SHARED, 0);
    CHECK_STATUS(quire_fault(f.space, PAGE(1), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(f.file.waiting_count == 1);
    CHECK_STATUS(quire_fault(f.space, PAGE(1), R | QUIRE_NO_WAIT), QUIRE_WOULD_WAIT);
    CHECK(f.file.waiting_count == 1);
    audit(&f.u);
    test_file_end(&f.file, 0);
    CHECK_OK(quire_fault(f.space, PAGE(1), R | QUIRE_NO_WAIT));
    CHECK(get(&f.u, f.space, PAGE(2)) == stored(1));
    put(&f.u, f.space, PAGE(1), 1);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, QUIRE_SYNC_START, NULL));
    CHECK(f.file.waiting_count == 1);
    put(&f.u, f.space, PAGE(1), 2); /* while it is being written */
    audit(&f.u);
    CHECK_OK(quire_section_sync(f.section, 0, UINT64_MAX, 0, NULL));
    CHECK(disk[0] == 2);
    CHECK(f.file.waiting_count == 0);
    fixture_finish(&f);
}

/* Goal: shared memory has no pager: zeros, promised, gone with its last view. */
static void shared_memory(void)
{
    struct unit u;
    struct quire_section *section;
    struct quire_space *a, *b;
    vaddr_t at = PAGE(1), there = PAGE(9);

    begin_with(&u, &(struct test_options){.max_sections = 1, .commit_limit = 16});
    CHECK_STATUS(quire_section_create(u.w.q, PAGE(17), NULL, NULL, &section), QUIRE_NO_COMMIT);
    CHECK_OK(quire_section_create(u.w.q, PAGE(4), NULL, NULL, &section));
    CHECK(stats_of(&u).committed == 4);
    CHECK_STATUS(quire_section_create(u.w.q, PAGE(1), NULL, NULL, &section),
                 QUIRE_TOO_MANY_SECTIONS);
    a = space_new(&u);
    b = space_new(&u);
    CHECK_OK(quire_map_view(a, &at, PAGE(4), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section, 0));
    CHECK_OK(quire_map_view(b, &there, PAGE(3), RW, QUIRE_MAP_FIXED | QUIRE_MAP_SHARED, section,
                            PAGE(1)));
    quire_section_close(section);
    CHECK(get(&u, b, there) == 0);
    put(&u, a, at + PAGE(1), 3);
    CHECK(get(&u, b, there) == 3);
    end(&u, a);
    CHECK(get(&u, b, there) == 3);
    end(&u, b);
    CHECK(stats_of(&u).committed == 0);
    CHECK(stats_of(&u).sections == 0);
    finish(&u);
}

/* Goal: a seal is for good, and is not given while it would break a promise. */
static void seals(void)
{
    struct fixture f;
    vaddr_t at = PAGE(9);
    uint8_t byte = 1;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 2, RW, QUIRE_MAP_SHARED, 0);
    CHECK_STATUS(quire_section_seal(f.section, QUIRE_SEAL_WRITE), QUIRE_HAS_WRITERS);
    CHECK_STATUS(quire_section_seal(f.section, 8), QUIRE_BAD_FLAGS);
    protect(&f.u, f.space, PAGE(1), PAGE(2), R);
    CHECK_OK(quire_section_seal(f.section, QUIRE_SEAL_WRITE | QUIRE_SEAL_GROW));
    CHECK_STATUS(quire_protect(f.space, PAGE(1), PAGE(1), RW), QUIRE_SEALED);
    CHECK_STATUS(quire_map_view(f.space, &at, PAGE(1), RW, QUIRE_MAP_SHARED, f.section, 0),
                 QUIRE_SEALED);
    CHECK_STATUS(quire_section_write(f.section, 0, &byte, 1, 0, NULL), QUIRE_SEALED);
    CHECK_STATUS(quire_section_resize(f.section, sizeof disk + 1), QUIRE_SEALED);
    CHECK_OK(quire_section_resize(f.section, PAGE(3)));
    CHECK_OK(quire_section_seal(f.section, QUIRE_SEAL_SHRINK));
    CHECK_OK(quire_section_resize(f.section, PAGE(3))); /* neither */
    view(&f, f.space, PAGE(5), 2, RW, 0, 0);
    put(&f.u, f.space, PAGE(5), 1);
    CHECK(file_byte(&f, 0) == stored(0));
    fixture_finish(&f);
}

/* Goal: clean pages that nobody maps can be had back; with `mapped`, those too. */
static void purged(void)
{
    struct fixture f;
    struct quire_section_info info;

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 8, RW, QUIRE_MAP_SHARED, 0);
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    CHECK(get(&f.u, f.space, PAGE(6)) == stored(5));
    put(&f.u, f.space, PAGE(2), 2);
    quire_section_info(f.section, &info);
    CHECK(info.dirty == 1 && info.mapped >= 3 && info.resident >= info.mapped && info.views == 1);
    (void)quire_section_purge(f.section, 0, UINT64_MAX, false);
    audit(&f.u);
    quire_section_info(f.section, &info);
    CHECK(info.resident == info.mapped);
    CHECK(quire_section_purge(f.section, 0, UINT64_MAX, true) == info.resident - 1);
    audit(&f.u);
    CHECK(quire_section_resident(f.section, PAGE(1)));
    CHECK(!quire_section_resident(f.section, 0));
    CHECK(get(&f.u, f.space, PAGE(1)) == stored(0));
    CHECK(get(&f.u, f.space, PAGE(2)) == 2);
    CHECK_OK(quire_section_discard(f.section, PAGE(1), PAGE(1)));
    CHECK(get(&f.u, f.space, PAGE(2)) == stored(1));
    fixture_finish(&f);
}

/* Goal: what is not in the range, or of another section, stays mapped. */
static void purged_in_part(void)
{
    struct fixture f;
    struct quire_section_info info;
    struct quire_section *other;
    struct test_file file;
    vaddr_t at = PAGE(5); /* behind the last page of the first one */

    fixture_begin(&f);
    test_file_init(&file, &f.u.w, disk, sizeof disk);
    CHECK_OK(test_file_open(&file, PAGE(4), &other));
    CHECK_OK(quire_map_view(f.space, &at, PAGE(4), R, QUIRE_MAP_FIXED, other, 0));
    view(&f, f.space, PAGE(1), 4, R, 0, 0);
    for (unsigned n = 0; n < 4; n++) {
        CHECK(get(&f.u, f.space, PAGE(1 + n)) == stored(n));
        CHECK(get(&f.u, f.space, PAGE(5 + n)) == stored(n));
    }
    CHECK(quire_section_purge(f.section, PAGE(1), PAGE(1), true) == 1);
    CHECK(quire_section_purge(f.section, PAGE(4), PAGE(2), true) == 0);
    audit(&f.u);
    quire_section_info(f.section, &info);
    CHECK(info.mapped == 3 && !quire_section_resident(f.section, PAGE(1)));
    quire_section_info(other, &info);
    CHECK(info.mapped == 4);
    quire_section_close(other);
    fixture_finish(&f);
}

/* Goal: shared memory is not forgotten while it is wanted, and nothing is nothing. */
static void memory_is_kept(void)
{
    struct unit u;
    struct quire_section *memory;
    uint8_t byte = 5;

    begin_with(&u, &(struct test_options){.max_sections = 1});
    CHECK_OK(quire_section_create(u.w.q, PAGE(4), NULL, NULL, &memory));
    CHECK_OK(quire_section_write(memory, 0, &byte, 1, 0, NULL));
    CHECK(quire_section_purge(memory, 0, UINT64_MAX, true) == 0);
    CHECK_OK(quire_section_discard(memory, 0, 0));
    CHECK_OK(quire_section_discard(memory, 1, PAGE(1) - 1)); /* no whole page */
    byte = 0;
    CHECK_OK(quire_section_read(memory, 0, &byte, 1, 0, NULL));
    CHECK(byte == 5);
    CHECK_OK(quire_section_write(memory, PAGE(1), &byte, 1, 0, NULL));
    for (unsigned n = 0; n < 2; n++) { /* there, and then not */
        CHECK_OK(quire_section_discard(memory, 0, PAGE(1)));
        CHECK_OK(quire_section_read(memory, 0, &byte, 1, 0, NULL));
        CHECK(byte == 0 && !quire_section_resident(memory, 0));
    }
    CHECK_OK(quire_section_read(memory, PAGE(1), &byte, 1, 0, NULL));
    CHECK(byte == 5);
    quire_section_close(memory);
    finish(&u);
}

/* Goal: a debugger reads what is not mapped, and writes a copy; a shared view he obeys. */
static void forced(void)
{
    struct fixture f;
    uint8_t bytes[2];

    fixture_begin(&f);
    view(&f, f.space, PAGE(1), 2, QUIRE_NONE, 0, 0);
    view(&f, f.space, PAGE(5), 2, R, QUIRE_MAP_SHARED | QUIRE_MAP_READ_ONLY, 1);
    CHECK_OK(quire_access(f.space, PAGE(1) + 1, bytes, 1, R | QUIRE_FORCE, NULL));
    CHECK(bytes[0] == disk[1]);
    bytes[0] = 77;
    CHECK_OK(quire_access(f.space, PAGE(1) + 1, bytes, 1, W | QUIRE_FORCE, NULL));
    CHECK_OK(quire_access(f.space, PAGE(1) + 1, bytes + 1, 1, R | QUIRE_FORCE, NULL));
    CHECK(bytes[1] == 77);
    CHECK(file_byte(&f, 1) == disk[1]);
    CHECK_STATUS(quire_access(f.space, PAGE(5), bytes, 1, W | QUIRE_FORCE, NULL), QUIRE_PROTECTED);
    CHECK_OK(quire_access(f.space, PAGE(5), bytes, 1, R | QUIRE_FORCE, NULL));
    CHECK(bytes[0] == stored(1));
    CHECK_STATUS(quire_protect(f.space, PAGE(5), PAGE(1), RW), QUIRE_PROTECTED);
    fixture_finish(&f);
}

CHECK_MAIN("unit.section", TEST(one_file), TEST(private_copies), TEST(forked), TEST(written_back),
           TEST(cut_off), TEST(failed_reads), TEST(late), TEST(shared_memory), TEST(seals),
           TEST(purged), TEST(purged_in_part), TEST(memory_is_kept), TEST(forced))
