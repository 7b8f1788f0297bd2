/* SPDX-License-Identifier: MIT */
/*
 * Views of files whose pages are in memory, over m, the copy of one page.
 *
 *   soft.file_fault.ratio        a page is mapped by itself, and a load meets it: the call and the
 *                                fault; soft.file_fault.alone.ratio is only what happens within
 *                                quire_fault
 *   soft.file_fault_around.ratio the loads of all pages of a leaf in order, for each page: one
 *                                fault maps 16
 *   soft.file_cow.ratio          a private view's page is written after it was read; with
 *                                soft.file_cow_unread it never was; soft.file_cow.fault.ratio is
 *                                only what happens within quire_fault
 *   soft.file_read.ratio         read() of 1 MiB, for each page
 *   soft.file_read_mapped.ratio  the same bytes by way of a view: map, fault, copy, unmap
 *   soft.file_read.against_mapped.ratio
 *                                the former over the latter
 *   soft.file_map_1gib.us        mapping 1 GiB and a load of each page;
 *   soft.file_map_1gib_alone.us  with a fault for each page
 *   soft.fork_100_maps.ns        fork of a space that shows 100 ranges of 10 files, half of them
 *                                writable, and has written since its last fork
 *   soft.procs50.resident_ratio  memory of 50 processes of one program, over that of one;
 *   soft.procs50_forked.resident_ratio
 *                                where 49 are forks of the first, that wrote what a process writes
 *
 * The pager stores nothing: it answers at once with pages that begin with their own number, and no
 * figure includes it.
 */
#include "parts.h"
#include "pass.h"

#include <string.h>

enum { ENTRIES = QUIRE_TABLE_ENTRIES };

/* ---- files ----------------------------------------------------------------------------------- */

static void file_start(void *cookie, struct quire_io *io)
{
    (void)cookie;
    for (uint32_t i = 0; i < io->pages; i++) {
        uint64_t page = (io->offset >> QUIRE_PAGE_SHIFT) + i;

        memcpy(frame_bytes(io->frames[i]), &page, sizeof page);
    }
    quire_io_done(io, true);
}

/* A file, all of it in memory. */
static struct quire_section *file_new(uint64_t length)
{
    static const struct quire_pager pager = {.start = file_start, .stable = true};
    struct quire_section *file;
    struct quire_section_info info;

    must(quire_section_create(world.q, length, &pager, NULL, &file));
    quire_section_fetch(file, 0, length);
    quire_section_info(file, &info);
    expect(info.resident == length / QUIRE_PAGE_SIZE, "a file is not in memory");
    return file;
}

static void view(struct quire_space *space, vaddr_t address, uint64_t length, uint32_t prot,
                 struct quire_section *file, uint64_t offset)
{
    must(quire_map_view(space, &address, length, prot, QUIRE_MAP_FIXED, file, offset));
}

/* A load of the first word of each page of a range, which runs. */
static void look(vaddr_t address, uint64_t length, uint64_t offset)
{
    for (uint64_t i = 0; i < length; i += QUIRE_PAGE_SIZE) {
        uint64_t word;

        must(soft_load(world.cpu[0], address + i, &word, sizeof word));
        expect(word == (offset + i) / QUIRE_PAGE_SIZE, "a view does not show its file");
    }
}

/* ---- one page after the other ---------------------------------------------------------------- */

static struct quire_section *one_file; /* of a leaf and more */

/* A space whose path to the leaf at 0 is its own already: it has written the leaf's last page. */
static struct quire_space *space_with_leaf(void)
{
    struct quire_space *space = space_new();

    map(space, LEAF - QUIRE_PAGE_SIZE, QUIRE_PAGE_SIZE, RW);
    put(space, LEAF - QUIRE_PAGE_SIZE);
    return space;
}

static struct quire_space *make_unmapped(const struct pass *pass, struct quire_space **parent)
{
    (void)pass;
    (void)parent;
    return space_with_leaf();
}

/* The pages of the pass, each a region of its own where they do not touch. */
static struct quire_space *make_mapped(const struct pass *pass, struct quire_space **parent)
{
    struct quire_space *space = make_unmapped(pass, parent);

    for (unsigned i = 0; i < pass->count; i++)
        view(space, pass->first + i * pass->step, QUIRE_PAGE_SIZE, RW, one_file, PAGE(i));
    return space;
}

/* The same, and they have been read. */
static struct quire_space *make_read(const struct pass *pass, struct quire_space **parent)
{
    struct quire_space *space = make_mapped(pass, parent);

    test_run(&world, 0, space);
    for (unsigned i = 0; i < pass->count; i++)
        look(pass->first + i * pass->step, QUIRE_PAGE_SIZE, PAGE(i));
    return space;
}

static double time_maps_and_loads(const struct pass *pass, struct quire_space *space)
{
    struct watch watch = watch_start();
    uint8_t byte;

    for (unsigned i = 0; i < pass->count; i++) {
        vaddr_t address = pass->first + i * pass->step;

        view(space, address, QUIRE_PAGE_SIZE, RW, one_file, PAGE(i));
        must(soft_load(world.cpu[0], address, &byte, 1));
    }
    return watch_stop(watch);
}

static void bench_pages(void)
{
    enum { APART = ENTRIES / 2 - 1, DENSE = ENTRIES - 1 };
    static const struct pass passes[] = {
        {"soft.file_fault", make_unmapped, time_maps_and_loads, 0, PAGE(2), APART, 401},
        {"soft.file_fault.alone", make_mapped, pass_read_faults, 0, PAGE(2), APART, 401},
        {"soft.file_fault_around", make_mapped, pass_loads, 0, PAGE(1), DENSE, 201},
        {"soft.file_cow", make_read, pass_stores, 0, PAGE(1), DENSE, 201},
        {"soft.file_cow.fault", make_read, pass_write_faults, 0, PAGE(1), DENSE, 201},
        {"soft.file_cow_unread", make_mapped, pass_stores, 0, PAGE(1), DENSE, 201},
    };

    world_begin_with((struct test_options){.frames = 8 * ENTRIES, .max_sections = 8});
    one_file = file_new(LEAF);
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        struct quire_space *reader = make_read(&passes[i], NULL);

        pass_run(&passes[i], &reader);
        test_end(&world, reader);
    }
    quire_section_close(one_file);
    world_end();
}

/* ---- many pages ------------------------------------------------------------------------------ */

static unsigned char buffer[MIB];

/* A program that reads a file of 1 MiB through a view, into its buffer. */
static double time_mapped(struct quire_space *space, unsigned char *const *pages)
{
    struct watch watch = watch_start();

    view(space, 0, MIB, QUIRE_READ, one_file, 0);
    for (unsigned i = 0; i < MIB / QUIRE_PAGE_SIZE; i++) {
        uint8_t byte;

        must(soft_load(world.cpu[0], PAGE(i), &byte, 1));
        copy_bytes(buffer + PAGE(i), pages[i], QUIRE_PAGE_SIZE);
    }
    must(quire_unmap(space, 0, MIB));
    return watch_stop(watch);
}

static void bench_read(void)
{
    enum { ROUNDS = 801, PAGES = MIB / QUIRE_PAGE_SIZE };
    static double by_call[ROUNDS], mapped[ROUNDS], plain[ROUNDS];
    static unsigned char *pages[PAGES];
    struct quire_space *space;
    double copy;

    world_begin_with((struct test_options){.frames = 4 * PAGES, .max_sections = 8});
    one_file = file_new(MIB);
    space = space_with_leaf();
    view(space, 0, MIB, QUIRE_READ, one_file, 0);
    test_run(&world, 0, space);
    look(0, MIB, 0);
    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = bytes_of(space, PAGE(i));
    must(quire_unmap(space, 0, MIB));
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct watch watch = watch_start();
        size_t done;

        must(quire_section_read(one_file, 0, buffer, MIB, 0, &done));
        by_call[round] = watch_stop(watch) / PAGES;
        expect(done == MIB, "a file is shorter than it was");
        mapped[round] = time_mapped(space, pages) / PAGES;
        watch = watch_start();
        for (unsigned i = 0; i < PAGES; i++)
            copy_bytes(buffer + PAGE(i), pages[i], QUIRE_PAGE_SIZE);
        plain[round] = watch_stop(watch) / PAGES;
    }
    copy = median(plain, ROUNDS);
    figure_over_copy("soft.file_read", median(by_call, ROUNDS), copy);
    figure_over_copy("soft.file_read_mapped", median(mapped, ROUNDS), copy);
    figure("soft.file_read.against_mapped.ratio", median(by_call, ROUNDS) / median(mapped, ROUNDS),
           "ratio");
    test_end(&world, space);
    quire_section_close(one_file);
    world_end();
}

/* Nanoseconds of this thread, for what takes so long that others get the processor meanwhile. */
static double now_used(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* `around`: as in struct quire_config. */
static void bench_gib(const char *name, uint32_t around)
{
    enum { ROUNDS = 11 };
    static double samples[ROUNDS];

    world_begin_with((struct test_options){
        .frames = GIB / QUIRE_PAGE_SIZE + 8192, .max_sections = 8, .fault_around = around});
    one_file = file_new(GIB);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct quire_space *space = space_new();
        double start;

        test_run(&world, 0, space);
        start = now_used();
        view(space, 0, GIB, QUIRE_READ, one_file, 0);
        look(0, GIB, 0);
        samples[i] = (now_used() - start) / 1000;
        test_end(&world, space);
    }
    figure(name, median(samples, ROUNDS), "us");
    quire_section_close(one_file);
    world_end();
}

/* ---- programs -------------------------------------------------------------------------------- */

/* A process: so many files, each with code and with data of which some pages are written; a heap
 * and a stack.  About what a small dynamically linked program of Debian's is. */
enum { FILES = 3, CODE = 256, DATA = 16, WRITTEN = 8, HEAP = 32, STACK = 4, PROCESSES = 50 };

static struct quire_section *files[10];

static void files_open(unsigned count, uint64_t length)
{
    for (unsigned i = 0; i < count; i++)
        files[i] = file_new(length);
}

static void files_close(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        quire_section_close(files[i]);
}

static vaddr_t file_at(unsigned i) { return GIB + i * 8 * LEAF; }

/* What each process writes. */
static void process_write(struct quire_space *space)
{
    for (unsigned i = 0; i < FILES; i++)
        fill(space, file_at(i) + PAGE(CODE), PAGE(WRITTEN));
    fill(space, 0, PAGE(HEAP));
    fill(space, 2 * GIB, PAGE(STACK));
}

static struct quire_space *process_start(void)
{
    struct quire_space *space = space_new();

    for (unsigned i = 0; i < FILES; i++) {
        view(space, file_at(i), PAGE(CODE), QUIRE_READ | QUIRE_EXEC, files[i], 0);
        view(space, file_at(i) + PAGE(CODE), PAGE(DATA), RW, files[i], PAGE(CODE));
    }
    map(space, 0, PAGE(HEAP), RW);
    map(space, 2 * GIB, PAGE(STACK), RW);
    test_run(&world, 0, space);
    for (unsigned i = 0; i < FILES; i++)
        look(file_at(i), PAGE(CODE + DATA), 0);
    process_write(space);
    return space;
}

static void bench_processes(const char *name, bool forked)
{
    static struct quire_space *processes[PROCESSES];
    uint32_t before, one;

    world_begin_with(
        (struct test_options){.frames = 16 * 1024, .max_spaces = PROCESSES + 8, .max_sections = 8});
    before = frames_used();
    files_open(FILES, PAGE(CODE + DATA));
    processes[0] = process_start();
    one = frames_used() - before;
    for (unsigned i = 1; i < PROCESSES; i++) {
        processes[i] = forked ? fork_of(processes[0]) : process_start();
        process_write(processes[i]);
    }
    figure_part(name, "resident_ratio", (double)(frames_used() - before) / one, "ratio");
    figure_part(name, "one.pages", one, "pages");
    for (unsigned i = 0; i < PROCESSES; i++)
        test_end(&world, processes[i]);
    files_close(FILES);
    world_end();
}

static double fork_turn(struct subject *s)
{
    struct quire_space *child;
    struct watch watch;
    double ns;

    put(s->space, s->first);
    watch = watch_start();
    child = fork_of(s->space);
    ns = watch_stop(watch);
    quire_space_destroy(child);
    return ns;
}

static void bench_fork_maps(void)
{
    enum { MAPS = 100, LENGTH = 64 };
    static struct subject subject = {.first = 0};
    double ns;

    world_begin_with(
        (struct test_options){.frames = 16 * 1024, .max_spaces = 64, .max_sections = 16});
    files_open(10, PAGE(LENGTH));
    subject.space = space_new();
    map(subject.space, 0, QUIRE_PAGE_SIZE, RW);
    test_run(&world, 0, subject.space);
    for (unsigned i = 0; i < MAPS; i++) {
        vaddr_t at = file_at(i / 4) + i % 4 * PAGE(LENGTH);

        view(subject.space, at, PAGE(LENGTH), i & 1 ? RW : QUIRE_READ | QUIRE_EXEC, files[i % 10],
             0);
        look(at, PAGE(LENGTH), 0);
        if (i & 1)
            put(subject.space, at);
    }
    subjects_compare(&subject, 1, fork_turn, &ns);
    figure("soft.fork_100_maps.ns", ns, "ns");
    test_end(&world, subject.space);
    files_close(10);
    world_end();
}

void bench_file(void)
{
    bench_pages();
    bench_read();
    bench_gib("soft.file_map_1gib.us", 0);
    bench_gib("soft.file_map_1gib_alone.us", 1);
    bench_fork_maps();
    bench_processes("soft.procs50", false);
    bench_processes("soft.procs50_forked", true);
}
