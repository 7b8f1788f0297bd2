/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite on the software machine.
 *
 * A world of two CPUs; an attempt is soft_try, and every byte can be executed.  Once one thread is
 * both CPUs; once CPU 1 has a thread of its own, which is entered all the time and does what it is
 * told, so that flushes have to ask it.  Built with both TLBs: the production one must meet the
 * same contract as the one that forgets nothing.
 */
#include "conformance.h"
#include "world.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* What the thread of CPU 1 is told to do; it does it and says NOTHING. */
enum order { NOTHING, RUN, TRY, END };

struct port {
    struct test_world world;
    pthread_t thread;
    uint32_t order; /* enum order; the fields below are the thread's while it is not NOTHING */
    struct quire_space *space;
    vaddr_t address;
    uint32_t access;
    uint8_t *byte;
    bool allowed;
};

static void run(void *context, struct quire_space *space)
{
    struct port *port = context;

    test_run(&port->world, 0, space);
}

static bool attempt(void *context, vaddr_t address, uint32_t access, uint8_t *byte)
{
    struct port *port = context;
    struct soft_cpu *cpu = port->world.cpu[0];
    bool allowed;

    soft_cpu_enter(cpu);
    allowed = soft_try(cpu, address, access, byte);
    soft_cpu_leave(cpu);
    return allowed;
}

static void obey(struct port *port)
{
    struct soft_cpu *cpu = port->world.cpu[1];

    switch ((enum order)__atomic_load_n(&port->order, __ATOMIC_ACQUIRE)) {
    case RUN: soft_cpu_run(cpu, port->world.q, port->space); break;
    case TRY: port->allowed = soft_try(cpu, port->address, port->access, port->byte); break;
    case END: break;
    case NOTHING: return;
    }
    __atomic_store_n(&port->order, NOTHING, __ATOMIC_RELEASE);
}

/* CPU 1 is entered all the time. */
static void *other_main(void *context)
{
    struct port *port = context;
    struct soft_cpu *cpu = port->world.cpu[1];

    test_cpu = 1;
    soft_cpu_enter(cpu);
    while (__atomic_load_n(&port->order, __ATOMIC_ACQUIRE) != END) {
        obey(port);
        soft_cpu_poll(cpu);
        sched_yield();
    }
    soft_cpu_leave(cpu);
    return NULL;
}

static void tell(struct port *port, enum order order)
{
    __atomic_store_n(&port->order, order, __ATOMIC_RELEASE);
    if (!port->world.options.threads)
        obey(port);
    while (order != END && __atomic_load_n(&port->order, __ATOMIC_ACQUIRE) != NOTHING)
        sched_yield();
}

static void run_other(void *context, struct quire_space *space)
{
    struct port *port = context;

    port->space = space;
    tell(port, RUN);
}

static bool attempt_other(void *context, vaddr_t address, uint32_t access, uint8_t *byte)
{
    struct port *port = context;

    port->address = address;
    port->access = access;
    port->byte = byte;
    tell(port, TRY);
    return port->allowed;
}

#ifndef QUIRE_TEST
/* Three are left. */
static void wear(void *context)
{
    struct port *port = context;
    const unsigned shift = QUIRE_ADDRESS_BITS - QUIRE_PAGE_SHIFT;

    port->world.cpu[0]->last_tag = ((UINT64_MAX >> shift) - 3) << shift;
}
#endif

static void *frame(void *context, pfn_t pfn)
{
    const struct test_world *world = &((struct port *)context)->world;

    return world->frames + (size_t)(pfn - world->config.first_frame) * QUIRE_PAGE_SIZE;
}

static unsigned audit(void *context)
{
    struct test_world *world = &((struct port *)context)->world;
    unsigned findings = test_world_findings(world) + (unsigned)world->machine->violations;

    world->machine->violations = 0;
    return findings;
}

static void print(void *context, const char *line)
{
    (void)context;
    puts(line);
}

static unsigned conform(bool threads)
{
    static const uint8_t code[] = {0xc3};
    static struct port port;
    struct conformance conformance = {
        .context = &port,
        .base = 2 * CONFORMANCE_SPAN,
        .code = code,
        .code_size = sizeof code,
        .run = run,
        .attempt = attempt,
        .run_other = run_other,
        .attempt_other = attempt_other,
        .frame = frame,
        .audit = audit,
        .print = print,
    };
    unsigned failed;

#ifndef QUIRE_TEST
    conformance.wear = wear;
#endif
    test_world_create(&port.world, &(struct test_options){.cpus = 2, .threads = threads});
    conformance.q = port.world.q;
    conformance.machine = port.world.machine;
    if (threads && pthread_create(&port.thread, NULL, other_main, &port) != 0)
        abort();
    failed = conformance_run(&conformance);
    if (threads) {
        tell(&port, END);
        pthread_join(port.thread, NULL);
    }
    test_world_destroy(&port.world);
    return failed;
}

int main(void) { return conform(false) + conform(true) != 0; }
