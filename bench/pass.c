/* SPDX-License-Identifier: MIT */
/*
 * Passes (pass.h).
 */
#include "pass.h"

#include <stdlib.h>

double pass_stores(const struct pass *pass, struct quire_space *space)
{
    (void)space;
    return time_stores(pass->first, pass->step, pass->count);
}

double pass_loads(const struct pass *pass, struct quire_space *space)
{
    struct watch watch = watch_start();
    uint8_t byte;

    (void)space;
    for (unsigned i = 0; i < pass->count; i++)
        must(soft_load(world.cpu[0], pass->first + i * pass->step, &byte, 1));
    return watch_stop(watch);
}

static double time_faults(const struct pass *pass, struct quire_space *space, uint32_t access)
{
    struct watch watch = watch_start();

    for (unsigned i = 0; i < pass->count; i++)
        must(quire_fault(space, pass->first + i * pass->step, access));
    return watch_stop(watch);
}

double pass_write_faults(const struct pass *pass, struct quire_space *space)
{
    return time_faults(pass, space, QUIRE_WRITE);
}

double pass_read_faults(const struct pass *pass, struct quire_space *space)
{
    return time_faults(pass, space, QUIRE_READ);
}

static void *array(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    expect(memory != NULL, "no memory");
    return memory;
}

void pass_run(const struct pass *pass, struct quire_space **parent)
{
    double *whole = array(pass->rounds, sizeof *whole);
    double *plain = array(pass->rounds, sizeof *plain);
    unsigned char **from = array(pass->count, sizeof *from);
    pfn_t *spare = array(pass->count, sizeof *spare);

    for (unsigned i = 0; i < pass->count; i++) {
        from[i] = bytes_of(*parent, pass->first + i * pass->step);
        must(quire_frame_take(world.q, &spare[i]));
    }
    for (unsigned round = 0; round < pass->rounds; round++) {
        struct quire_space *space = pass->make(pass, parent);
        struct watch watch;

        test_run(&world, 0, space);
        whole[round] = pass->time(pass, space);
        if (space != *parent)
            test_end(&world, space);
        watch = watch_start();
        for (unsigned i = 0; i < pass->count; i++)
            copy_bytes(frame_bytes(spare[i]), from[i], QUIRE_PAGE_SIZE);
        plain[round] = watch_stop(watch);
    }
    figure_over_copy(pass->name, median(whole, pass->rounds) / pass->count,
                     median(plain, pass->rounds) / pass->count);
    for (unsigned i = 0; i < pass->count; i++)
        quire_frame_give(world.q, spare[i]);
    free(whole);
    free(plain);
    free(from);
    free(spare);
}
