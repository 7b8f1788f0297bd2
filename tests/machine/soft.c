/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite on the software machine.
 *
 * One world, CPU 0; an attempt is soft_try, and every byte can be executed.  Built with both TLBs:
 * the production one must meet the same contract as the one that forgets nothing.
 */
#include "conformance.h"
#include "world.h"

#include <stdio.h>

static void run(void *context, struct quire_space *space)
{
    struct test_world *world = context;

    test_run(world, 0, space);
}

static bool attempt(void *context, vaddr_t address, uint32_t access, uint8_t *byte)
{
    struct test_world *world = context;

    return soft_try(world->cpu[0], address, access, byte);
}

static void *frame(void *context, pfn_t pfn)
{
    struct test_world *world = context;

    return world->frames + (size_t)(pfn - world->config.first_frame) * QUIRE_PAGE_SIZE;
}

static unsigned audit(void *context)
{
    struct test_world *world = context;
    unsigned findings = test_world_findings(world) + (unsigned)world->machine->violations;

    world->machine->violations = 0;
    return findings;
}

static void print(void *context, const char *line)
{
    (void)context;
    puts(line);
}

int main(void)
{
    static const uint8_t code[] = {0xc3};
    struct test_world world;
    struct conformance conformance = {
        .context = &world,
        .base = 2 * CONFORMANCE_SPAN,
        .code = code,
        .code_size = sizeof code,
        .run = run,
        .attempt = attempt,
        .frame = frame,
        .audit = audit,
        .print = print,
    };
    unsigned failed;

    test_world_create(&world, NULL);
    conformance.q = world.q;
    conformance.machine = world.machine;
    failed = conformance_run(&conformance);
    test_world_destroy(&world);
    return failed != 0;
}
