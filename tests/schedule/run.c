/* SPDX-License-Identifier: MIT */
/*
 * Carrying out decisions: what is possible, what is checked after each, and when a run has ended.
 *
 * A CPU that waits (host_wait) goes on when another has stored something.  Where nothing else can
 * happen at all it may look once more, for what it waits for may have happened before it began to
 * wait; if then still nothing was stored, the run is deadlocked.
 */
#define _GNU_SOURCE
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct trace trace;
static const char kind_letters[] = "rdkfx";

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what is possible ---------------------------------------------------------------------- */

static bool can_run(const struct cpu *cpu)
{
    switch ((enum cpu_state)cpu->state) {
    case CPU_RUNS: return true;
    case CPU_WAITS: return cpu->woken;
    case CPU_FLUSHES: return cpu->unacked == 0;
    case CPU_STALLS: return machine_buffered(cpu) < sim.mode.depth;
    case CPU_DONE: break;
    }
    return false;
}

bool run_possible(const struct decision *d)
{
    const struct world *w = sim.world;
    if (d->cpu >= w->cpu_count)
        return false;
    const struct cpu *cpu = &w->cpu[d->cpu];
    switch ((enum decision_kind)d->kind) {
    case DECIDE_RUN: return can_run(cpu);
    case DECIDE_DRAIN: return cpu->store_count > 0;
    case DECIDE_INTERRUPT: return machine_interruptible(cpu);
    case DECIDE_FILL: return cpu->space && d->n < TOUCHED;
    case DECIDE_FORGET: return cpu->held_count > 0;
    }
    return false;
}

static unsigned options_now(struct decision *out)
{
    const struct world *w = sim.world;
    unsigned count = 0;
    for (unsigned i = 0; i < w->cpu_count; i++) {
        const struct cpu *cpu = &w->cpu[i];
        uint16_t next = (uint16_t)(w->history.drained[i] + 1);
        if (can_run(cpu))
            out[count++] = (struct decision){DECIDE_RUN, (uint8_t)i, 1};
        if (cpu->store_count > 0)
            out[count++] = (struct decision){DECIDE_DRAIN, (uint8_t)i, next};
        if (machine_interruptible(cpu))
            out[count++] = (struct decision){DECIDE_INTERRUPT, (uint8_t)i, 0};
    }
    return count;
}

/* Where nothing is possible, let those look once more that have not yet. */
static void wake_waiting(void)
{
    struct decision options[OPTIONS_MAX];
    struct world *w = sim.world;
    if (options_now(options) > 0)
        return;
    for (unsigned i = 0; i < w->cpu_count; i++) {
        struct cpu *cpu = &w->cpu[i];
        if (cpu->state == CPU_WAITS && !cpu->tried_again)
            cpu->woken = cpu->tried_again = true;
    }
}

unsigned run_options(struct decision *out)
{
    const struct world *w = sim.world;
    unsigned done = 0, count = options_now(out);
    for (unsigned i = 0; count == 0 && i < w->cpu_count; i++)
        done += w->cpu[i].state == CPU_DONE;
    if (count == 0 && done < w->cpu_count)
        fail("deadlock: every CPU waits for another, done are", done);
    return count;
}

/* ---- carrying out -------------------------------------------------------------------------- */

static void decide_run(struct cpu *cpu, struct decision *d)
{
    unsigned ended = cpu->ops_ended;
    machine_run(cpu, d->n);
    d->n = (uint16_t)(sim.passed + !sim.gave_way);
    trace.points += sim.passed;
    if (sim.failure[0])
        return;
    if (cpu->state == CPU_DONE)
        cpu->sp = NULL;
    else if (cpu->ops_ended != ended)
        context_clean(cpu);
}

static void decide(struct decision *d)
{
    struct cpu *cpu = &sim.world->cpu[d->cpu];
    switch ((enum decision_kind)d->kind) {
    case DECIDE_RUN: decide_run(cpu, d); break;
    case DECIDE_DRAIN:
        do
            machine_drain(cpu);
        while (cpu->store_count > 0 &&
               (cpu->store[0].local || sim.world->history.drained[d->cpu] < d->n));
        d->n = (uint16_t)sim.world->history.drained[d->cpu];
        break;
    case DECIDE_INTERRUPT: machine_interrupt(cpu); break;
    case DECIDE_FILL: machine_fill(cpu, touched[d->n]); break;
    case DECIDE_FORGET: machine_forget(cpu); break;
    }
}

static void describe(const struct decision *d)
{
    printf("  %c%u.%u\n", kind_letters[d->kind], d->cpu, d->n);
    machine_describe();
}

void run_settle(void)
{
    if (!sim.changed)
        return;
    sim.changed = false;
    if (sim.mode.eager)
        machine_refill();
    machine_check();
    machine_check_quiet();
}

void run_apply(const struct decision *wanted)
{
    struct decision d = *wanted;
    uint32_t at = trace.count;
    if (at == DECISIONS_MAX || trace.points > POINTS_MAX)
        fail("the run does not end, points", trace.points);
    trace.decision[at] = d; /* in case it fails half way */
    trace.count++;
    decide(&trace.decision[at]);
    if (sim.verbose)
        describe(&trace.decision[at]);
    if (sim.failure[0])
        longjmp(sim.direct, 1);
    if (sim.world->cpu[d.cpu].state != CPU_RUNS)
        wake_waiting();
    run_settle();
}

/*
 * Interrupts first; then whoever can run, in turn; then what is buffered, which comes first when
 * all who ran had to wait.
 */
static unsigned finish_rank(const struct decision *d, unsigned last, unsigned waited)
{
    static const uint8_t by_kind[] = {
        [DECIDE_RUN] = CPUS_MAX, [DECIDE_DRAIN] = 2 * CPUS_MAX, [DECIDE_INTERRUPT] = 0};
    if (d->kind == DECIDE_DRAIN && waited >= CPUS_MAX)
        return 0;
    return by_kind[d->kind] + (d->cpu + CPUS_MAX - last - 1) % CPUS_MAX;
}

void run_finish(void)
{
    struct decision options[OPTIONS_MAX];
    unsigned count, last = CPUS_MAX - 1, waited = 0;
    while ((count = run_options(options)) > 0) {
        struct decision *best = &options[0];
        for (unsigned i = 1; i < count; i++)
            if (finish_rank(&options[i], last, waited) < finish_rank(best, last, waited))
                best = &options[i];
        if (best->kind == DECIDE_RUN) {
            best->n = POINTS_MAX;
            last = best->cpu;
        }
        run_apply(best);
        waited = sim.world->cpu[best->cpu].state == CPU_WAITS ? waited + 1 : 0;
    }
}

/* An access outside of all memory ends the run as any other finding does. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    snprintf(sim.failure, TEXT_MAX, "an access outside of memory, at %p", info->si_addr);
    longjmp(sim.direct, 1);
}

static void faults_catch(void)
{
    static char stack[1 << 16];
    static bool done;
    struct sigaction action = {.sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    if (done)
        return;
    done = true;
    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

bool run_guarded(void (*body)(void *context), void *context)
{
    faults_catch();
    sim.failure[0] = 0;
    if (setjmp(sim.direct)) {
        sim.cpu = NULL;
        return false;
    }
    body(context);
    return sim.failure[0] == 0;
}

/* ---- text ---------------------------------------------------------------------------------- */

void trace_print(char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < trace.count && at + 16 < size; i++) {
        const struct decision *d = &trace.decision[i];
        bool number = d->kind != DECIDE_INTERRUPT && d->kind != DECIDE_FORGET;
        at += (size_t)snprintf(text + at, size - at, "%s%c%u", i ? " " : "", kind_letters[d->kind],
                               d->cpu);
        if (number)
            at += (size_t)snprintf(text + at, size - at, ".%u", d->n);
    }
}

unsigned trace_parse(const char *text, struct decision *out, unsigned max)
{
    unsigned count = 0;
    for (text += strspn(text, " "); *text && count < max; text += strspn(text, " ")) {
        const char *letter = strchr(kind_letters, text[0]);
        size_t n = strcspn(text, " ");
        if (letter) {
            const char *dot = memchr(text, '.', n);
            out[count++] =
                (struct decision){(uint8_t)(letter - kind_letters), (uint8_t)atoi(text + 1),
                                  (uint16_t)(dot ? atoi(dot + 1) : 0)};
        }
        text += n;
    }
    return count;
}
