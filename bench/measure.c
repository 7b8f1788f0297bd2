/* SPDX-License-Identifier: MIT */
/*
 * Medians, the output, and the world (measure.h).
 */
#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_world world;
void *(*volatile copy_bytes)(void *to, const void *from, size_t length) = memcpy;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double median(double *samples, size_t count)
{
    size_t first = count * 2 / 5, last = count * 3 / 5;
    double sum = 0;

    qsort(samples, count, sizeof samples[0], compare);
    for (size_t i = first; i <= last; i++)
        sum += samples[i];
    return sum / (double)(last - first + 1);
}

void figure(const char *name, double value, const char *unit)
{
    bool soft = strncmp(name, "soft.", 5) == 0;

    printf("bench %s%s %.3f %s\n", soft ? BENCH_NAME : "", soft ? name + 4 : name, value, unit);
    fflush(stdout);
}

void figure_part(const char *name, const char *part, double value, const char *unit)
{
    char line[80];

    snprintf(line, sizeof line, "%s.%s", name, part);
    figure(line, value, unit);
}

void figure_over_copy(const char *name, double ns, double copy_ns)
{
    figure_part(name, "ratio", ns / copy_ns, "ratio");
    figure_part(name, "ns", ns, "ns");
    figure_part(name, "copy.ns", copy_ns, "ns");
}

void expect(bool true_or_wrong, const char *what)
{
    if (true_or_wrong)
        return;
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

void must(enum quire_status status) { expect(status == QUIRE_OK, quire_status_name(status)); }

/* ---- the world ------------------------------------------------------------------------------- */

void world_begin_with(struct test_options options)
{
    options.max_pins = 4;
    test_world_create(&world, &options);
}

void world_begin(uint32_t frames, uint32_t max_spaces)
{
    world_begin_with((struct test_options){.frames = frames, .max_spaces = max_spaces});
}

void world_end(void)
{
    expect(quire_check(world.q) == 0, "the auditor is not content");
    test_world_destroy(&world);
}

struct quire_space *space_new(void)
{
    struct quire_space *space;

    must(quire_space_create(world.q, &space));
    return space;
}

struct quire_space *fork_of(struct quire_space *parent)
{
    struct quire_space *child;

    must(quire_space_fork(parent, &child));
    return child;
}

void map(struct quire_space *space, vaddr_t address, uint64_t length, uint32_t prot)
{
    must(quire_map(space, &address, length, prot, QUIRE_MAP_FIXED));
}

void put(struct quire_space *space, vaddr_t address)
{
    must(test_store(&world, space, address, 1));
}

void fill(struct quire_space *space, vaddr_t address, uint64_t length)
{
    for (vaddr_t a = address; a < address + length; a += QUIRE_PAGE_SIZE)
        put(space, a);
}

void rest(void) { soft_cpu_run(world.cpu[0], world.q, NULL); }

uint32_t frames_used(void)
{
    struct quire_stats s;

    quire_stats(world.q, &s);
    return (uint32_t)(s.frames_data + s.frames_table + s.frames_side + s.frames_node);
}

unsigned char *frame_bytes(pfn_t pfn)
{
    return world.frames + (size_t)(pfn - world.config.first_frame) * QUIRE_PAGE_SIZE;
}

unsigned char *bytes_of(struct quire_space *space, vaddr_t address)
{
    struct quire_page page;

    quire_page(space, address, &page);
    return frame_bytes(page.pfn);
}

double time_stores(vaddr_t address, uint64_t step, unsigned count)
{
    struct watch watch = watch_start();
    uint8_t byte = 2;

    for (unsigned i = 0; i < count; i++, address += step)
        must(soft_store(world.cpu[0], address, &byte, 1));
    return watch_stop(watch);
}

/* ---- comparisons ----------------------------------------------------------------------------- */

double subjects_compare(struct subject *subjects, unsigned count, double (*turn)(struct subject *),
                        double *largest)
{
    double least = 1e300, most = 0;

    for (int block = 0; block < BLOCKS; block++)
        for (unsigned n = 0; n < count; n++)
            for (int i = 0; i < BLOCK; i++)
                subjects[n].samples[block * BLOCK + i] = turn(&subjects[n]);
    for (unsigned n = 0; n < count; n++) {
        double ns = median(subjects[n].samples, SAMPLES);

        least = ns < least ? ns : least;
        most = ns > most ? ns : most;
    }
    *largest = most;
    return most / least;
}
