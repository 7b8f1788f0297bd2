/* SPDX-License-Identifier: MIT */
/*
 * Counters, and the names of statuses: for tools, tests and people.
 *
 * What has happened is counted where it happens, by the CPU on which it does (struct qi_cpu), so
 * that counting shares no line of memory.  A frame can change its state on one CPU and change it
 * back on another, and a promise can be made here and given up there: one CPU's figure means
 * nothing, and may be below zero; the sum of all, modulo the width of the counter, is exact at an
 * instant at which no call is in progress.  So the sum is taken with all calls stopped.
 *
 * The sum of the tables' shares is counted nowhere, and found by a pass over all frame records.
 *
 * Locks: all calls stopped, so everything is read plainly.
 */
#include "pin.h"

const char *quire_status_name(enum quire_status status)
{
    static const char *const names[QUIRE_STATUS_COUNT] = {
        [QUIRE_OK] = "QUIRE_OK",
        [QUIRE_MISALIGNED] = "QUIRE_MISALIGNED",
        [QUIRE_ZERO_LENGTH] = "QUIRE_ZERO_LENGTH",
        [QUIRE_WRAPS] = "QUIRE_WRAPS",
        [QUIRE_OUT_OF_RANGE] = "QUIRE_OUT_OF_RANGE",
        [QUIRE_BAD_FLAGS] = "QUIRE_BAD_FLAGS",
        [QUIRE_BAD_CONFIG] = "QUIRE_BAD_CONFIG",
        [QUIRE_OVERLAPS] = "QUIRE_OVERLAPS",
        [QUIRE_NOT_MAPPED] = "QUIRE_NOT_MAPPED",
        [QUIRE_PROTECTED] = "QUIRE_PROTECTED",
        [QUIRE_NO_ADDRESSES] = "QUIRE_NO_ADDRESSES",
        [QUIRE_NO_MEMORY] = "QUIRE_NO_MEMORY",
        [QUIRE_TOO_MANY_SPACES] = "QUIRE_TOO_MANY_SPACES",
        [QUIRE_NOT_COMMITTED] = "QUIRE_NOT_COMMITTED",
        [QUIRE_GUARDED] = "QUIRE_GUARDED",
        [QUIRE_NO_COMMIT] = "QUIRE_NO_COMMIT",
        [QUIRE_COPY_LIMIT] = "QUIRE_COPY_LIMIT",
        [QUIRE_WOULD_WAIT] = "QUIRE_WOULD_WAIT",
        [QUIRE_TOO_MANY_PINS] = "QUIRE_TOO_MANY_PINS",
        [QUIRE_BAD_PIN] = "QUIRE_BAD_PIN",
        [QUIRE_BEYOND_END] = "QUIRE_BEYOND_END",
        [QUIRE_IO_ERROR] = "QUIRE_IO_ERROR",
        [QUIRE_SEALED] = "QUIRE_SEALED",
        [QUIRE_HAS_WRITERS] = "QUIRE_HAS_WRITERS",
        [QUIRE_TOO_MANY_SECTIONS] = "QUIRE_TOO_MANY_SECTIONS",
        [QUIRE_TOO_MANY_PAGEFILES] = "QUIRE_TOO_MANY_PAGEFILES",
    };
    return (unsigned)status < QUIRE_STATUS_COUNT ? names[status] : "?";
}

/* The counters of all CPUs, number by number: struct quire_stats holds nothing else. */
static void counters_add(struct quire_stats *sum, const struct quire_stats *of)
{
    _Static_assert(sizeof *sum % sizeof(uint64_t) == 0, "only 64-bit counters");
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)of;
    for (size_t i = 0; i < sizeof *sum / sizeof(uint64_t); i++)
        to[i] += from[i];
}

static uint64_t share_sum(const struct qi_frames *f)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->records[i].state == QI_FRAME_TABLE)
            sum += f->records[i].share;
    return sum;
}

static void pins_count(const struct quire *q, struct quire_stats *out)
{
    for (uint32_t i = 0; i < q->max_pins; i++) {
        out->pins += q->pins[i].pages > 0;
        out->pages_pinned += q->pins[i].pages;
    }
}

void quire_stats(struct quire *q, struct quire_stats *out)
{
    const struct qi_frames *f = &q->frames;
    uint32_t by_state[QI_FRAME_STATES] = {0};
    *out = (struct quire_stats){0};
    qi_stop_all(q);
    for (uint32_t i = 0; i < q->cpu_count; i++) {
        counters_add(out, &q->cpus[i].stats);
        for (unsigned s = 0; s < QI_FRAME_STATES; s++)
            by_state[s] += q->cpus[i].by_state[s];
    }
    out->committed = q->committed;
    pins_count(q, out);
    out->spaces = q->live_spaces;
    out->sections = q->live_sections;
    out->standby = qi_standby_count(&q->paging);
    out->modified = q->paging.modified.count;
    out->slots = q->paging.total;
    out->slots_used = q->paging.used;
    out->frames = f->added;
    out->table_share_sum = share_sum(f);
    qi_go_all(q);
    out->frames_free = by_state[QI_FRAME_FREE] + by_state[QI_FRAME_ZEROED];
    out->frames_data = by_state[QI_FRAME_DATA];
    out->frames_table =
        by_state[QI_FRAME_TABLE] + by_state[QI_FRAME_DYING] + by_state[QI_FRAME_SECTION];
    out->frames_side = by_state[QI_FRAME_SIDE];
    out->frames_node = by_state[QI_FRAME_NODES];
    out->frames_listed = by_state[QI_FRAME_LISTED];
    out->frames_taken = by_state[QI_FRAME_TAKEN];
}
