/* SPDX-License-Identifier: MIT */
/*
 * The sequence of trace.c on the soft machine, in a process: what the processor is compared with.
 *
 *     test_x86_64_trace_real SEED OPERATIONS EVERY
 *
 * prints a line `trace OPERATIONS HASH` every so many operations, as bare.c does.
 */
#include "check.h"
#include "trace.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

enum { FRAMES = 16384 };

static struct test_world world;

static void run(unsigned cpu, struct quire_space *space)
{
    if (world.cpu[cpu]->space != space)
        soft_cpu_run(world.cpu[cpu], world.q, space);
}

static enum quire_status load(unsigned cpu, struct quire_space *space, vaddr_t address,
                              uint64_t *word)
{
    run(cpu, space);
    return soft_load(world.cpu[cpu], address, word, sizeof *word);
}

static enum quire_status store(unsigned cpu, struct quire_space *space, vaddr_t address,
                               uint64_t word)
{
    run(cpu, space);
    return soft_store(world.cpu[cpu], address, &word, sizeof word);
}

int main(int argc, char **argv)
{
    uint64_t options[3] = {1, 6000, 500};
    static struct trace trace = {.run = run, .load = load, .store = store};

    CHECK(argc <= 4);
    for (int i = 1; i < argc; i++)
        options[i - 1] = strtoull(argv[i], NULL, 10);
    test_world_create(&world, &(struct test_options){.frames = FRAMES,
                                                     .max_spaces = 16,
                                                     .max_sections = 2,
                                                     .reserve = 64,
                                                     .cpus = TRACE_CPUS,
                                                     .callers = 1});
    trace.q = world.q;
    trace_begin(&trace, options[0]);
    while (trace.done < options[1]) {
        trace_step(&trace);
        if (trace.done % options[2] == 0)
            printf("trace %llu %016llx\n", (unsigned long long)trace.done,
                   (unsigned long long)trace_look(&trace));
    }
    test_world_audit(&world, "after the sequence");
    printf("%llu operations done, %llu refused\n", (unsigned long long)trace.tally,
           (unsigned long long)(trace.done - trace.tally));
    return 0;
}
