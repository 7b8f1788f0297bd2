/* SPDX-License-Identifier: MIT */
/*
 * quire on real page walks of several CPUs, with nothing else.
 *
 * An image for QEMU: CPU 0 comes up as the demonstration kernel does (kernel/boot.S), starts the
 * others by INIT and SIPI, and then all of them
 *
 *   1. play the sequence of trace.c, taking turns: whose turn it is not halts, and is interrupted
 *      when it is, or when a flush asks for something.  A line every so many operations says the
 *      hash, which the soft machine must say as well (soft_main.c);
 *   2. run freely (free.c); then the auditor looks.
 *
 * Spaces are the lower half.  There is no user mode: with CR0.WP on and SMAP off, ring 0 loads and
 * stores through a space's own entries and faults as a program does, and page_fault asks
 * quire_fault.  Interrupts are on in all of this, quire's calls and faults among them.
 *
 * The command line is `cpus=N seed=N ops=N every=N rounds=N`.
 */
#include "bare.h"

#include "cpu.h"
#include "entry.h"

#include <quire/host.h>

enum {
    MIB = 1 << 20,
    ARENA = 8 * MIB, /* physical addresses; the image ends before */
    ARENA_SIZE = 8 * MIB,
    FRAMES_FIRST = 16 * MIB / (int)QUIRE_PAGE_SIZE,
    FRAMES = 16384,
    TRAMPOLINE = 0x8000,
    STACK = 32768,
    VECTOR = 0x40,
    VECTOR_SPURIOUS = 0xff,
    TRIES = 1000, /* faults of one access */
    MSR_GS_BASE = (int)0xc0000101,
    APIC = (int)0xfee00000,
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_COMMAND = 0x300,
    APIC_TARGET = 0x310,
    APIC_BUSY = 0x1000,
    APIC_INIT = 0x4500,
    APIC_START = 0x4600,
    COM1 = 0x3f8,
    PIC_MASKS = 0x21,
};

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line;
};

extern uint64_t boot_root[512], boot_direct[512];
extern char trampoline[], trampoline_end[], access_start[], access_end[], access_failed[];
extern void page_fault_entry(void), interrupt_entry(void), other_entry(void);
extern bool access_load(uint64_t address, uint64_t *word),
    access_store(uint64_t address, uint64_t word);

struct quire *q;
struct bare_cpu bare_cpus[MMU_CPUS];
uint64_t cpu_stack; /* where the CPU that starts next finds its stack */

static uint64_t cpus = 1, seed = 1, ops = 6000, every = 500, free_rounds = 200;
static struct mmu machine;
static uint8_t stacks[MMU_CPUS][STACK] __attribute__((aligned(16)));
static uint64_t idt[256][2];
static uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};
static struct trace trace;
static uint32_t started, turn, trace_over, free_ready, free_done;

/* ---- what it says ---------------------------------------------------------------------------- */

static void say_text(const char *text)
{
    for (; *text; text++) {
        while (!(in8(COM1 + 5) & 0x20))
            __builtin_ia32_pause();
        out8(COM1, (uint8_t)*text);
    }
}

static void say_number(uint64_t n, unsigned base, unsigned digits)
{
    char text[24], *p = text + sizeof text;

    *--p = 0;
    do {
        *--p = "0123456789abcdef"[n % base];
        n /= base;
    } while (n || p > text + sizeof text - 1 - digits);
    say_text(p);
}

void say(const char *text, uint64_t n)
{
    say_text(text);
    say_text(" ");
    say_number(n, 10, 1);
    say_text("\n");
}

static _Noreturn void end(uint32_t code)
{
    __asm__ volatile("outl %0, %w1" : : "a"(code), "d"(0xf4));
    for (;;)
        __asm__ volatile("cli; hlt");
}

_Noreturn void fail(const char *what, uint64_t n)
{
    say_text("FAILED cpu");
    say_number(me()->index, 10, 1);
    say_text(": ");
    say(what, n);
    end(EXIT_FAILED);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static volatile uint32_t *apic(unsigned at) { return direct((uint32_t)APIC + at); }

static void apic_send(uint32_t cpu, uint32_t command)
{
    while (*apic(APIC_COMMAND) & APIC_BUSY)
        __builtin_ia32_pause();
    *apic(APIC_TARGET) = cpu << 24;
    *apic(APIC_COMMAND) = command;
}

static void cpus_interrupt(uint64_t targets)
{
    for (; targets; targets &= targets - 1)
        apic_send((uint32_t)__builtin_ctzll(targets), VECTOR);
}

static void cpus_interrupt_others(void)
{
    cpus_interrupt(((UINT64_C(1) << cpus) - 1) & ~(UINT64_C(1) << me()->index));
}

static uint32_t cpu_current(void) { return me()->index; }

void interrupt(void);
void interrupt(void)
{
    *apic(APIC_EOI) = 0;
    mmu_answer(&machine);
}

void trap_other(uint64_t a, uint64_t b);
void trap_other(uint64_t a, uint64_t b)
{
    say("trap", a);
    fail("trap", b);
}

/* An access of a space, or a bug. */
void page_fault(uint64_t error, uint64_t *rip);
void page_fault(uint64_t error, uint64_t *rip)
{
    uint64_t address;
    struct bare_cpu *cpu = me();

    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    if (*rip < (uint64_t)(uintptr_t)access_start || *rip >= (uint64_t)(uintptr_t)access_end) {
        say("rip", *rip);
        fail("page fault at", address);
    }
    if (++cpu->tries > TRIES)
        fail("the tables refuse for ever", address);
    __asm__ volatile("sti");
    cpu->status = quire_fault(cpu->space, address, error & 2 ? QUIRE_WRITE : QUIRE_READ);
    __asm__ volatile("cli" : : : "memory");
    if (cpu->status != QUIRE_OK)
        *rip = (uint64_t)(uintptr_t)access_failed;
}

/* ---- accesses -------------------------------------------------------------------------------- */

void cpu_run(struct quire_space *space)
{
    if (me()->space == space)
        return;
    quire_space_activate(q, space);
    me()->space = space;
}

enum quire_status cpu_load(vaddr_t address, uint64_t *word)
{
    me()->tries = 0;
    return access_load(address, word) ? QUIRE_OK : me()->status;
}

enum quire_status cpu_store(vaddr_t address, uint64_t word)
{
    me()->tries = 0;
    return access_store(address, word) ? QUIRE_OK : me()->status;
}

/* ---- what quire asks ------------------------------------------------------------------------- */

uint32_t host_cpu(void *host)
{
    (void)host;
    return me()->index;
}

bool host_need_frames(void *host, uint32_t frames)
{
    (void)host;
    fail("no memory for", frames);
}

bool host_need_commit(void *host, uint64_t pages)
{
    (void)host;
    (void)pages;
    return false;
}

void host_yield(void *host) { (void)host; }

/*
 * Interrupts are on, and bring the requests of other CPUs.  It looks for them by hand as well: with
 * four CPUs, QEMU 7.2 was seen to leave one pending in the local controller for seconds.
 */
void host_wait(void *host, const void *key)
{
    (void)host;
    (void)key;
    mmu_answer(&machine);
    __builtin_ia32_pause();
}

void host_wait_io(void *host, struct quire_section *section)
{
    (void)section;
    host_wait(host, NULL);
}

void host_report(void *host, const char *line)
{
    (void)host;
    say_text(line);
    say_text("\n");
}

_Noreturn void host_panic(const char *what, const char *file, int line)
{
    say_text(what);
    say_text(" in ");
    say_text(file);
    fail(" line", (uint64_t)line);
}

/* ---- the sequence ---------------------------------------------------------------------------- */

/* A CPU of the sequence is this one, whatever its number. */
static void trace_run(unsigned cpu, struct quire_space *space)
{
    (void)cpu;
    cpu_run(space);
}

static enum quire_status trace_load(unsigned cpu, struct quire_space *space, vaddr_t address,
                                    uint64_t *word)
{
    trace_run(cpu, space);
    return cpu_load(address, word);
}

static enum quire_status trace_store(unsigned cpu, struct quire_space *space, vaddr_t address,
                                     uint64_t word)
{
    trace_run(cpu, space);
    return cpu_store(address, word);
}

static void trace_turn(void)
{
    while (trace.done < ops && trace.cpu % cpus == me()->index) {
        trace_step(&trace);
        if (trace.done % every == 0) {
            say_text("trace ");
            say_number(trace.done, 10, 1);
            say_text(" ");
            say_number(trace_look(&trace), 16, 16);
            say_text("\n");
        }
    }
    __atomic_store_n(&trace_over, trace.done >= ops, __ATOMIC_RELEASE);
    __atomic_store_n(&turn, trace.cpu % (uint32_t)cpus, __ATOMIC_RELEASE);
    cpus_interrupt_others();
}

/* Halt until it is this CPU's turn, or the sequence is over. */
static bool trace_wait(void)
{
    bool over;

    __asm__ volatile("cli" : : : "memory");
    while (!(over = __atomic_load_n(&trace_over, __ATOMIC_ACQUIRE)) &&
           __atomic_load_n(&turn, __ATOMIC_ACQUIRE) != me()->index)
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    __asm__ volatile("sti" : : : "memory");
    return !over;
}

/* ---- from the start to the end --------------------------------------------------------------- */

static void gate_set(unsigned vector, void (*entry)(void))
{
    uint64_t to = (uint64_t)(uintptr_t)entry;

    idt[vector][0] =
        (to & 0xffff) | UINT64_C(8) << 16 | UINT64_C(0x8e) << 40 | (to >> 16 & 0xffff) << 48;
    idt[vector][1] = to >> 32;
}

/* Turn identifiers of spaces on; false: this processor has none. */
static bool identifiers_on(void)
{
    uint32_t a = 1, b, c = 0, d;
    uint64_t cr4;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(c & 1u << 17))
        return false;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1u << 17) : "memory");
    return true;
}

/* What each CPU has of its own: tables, %gs, its local interrupt controller. */
static void cpu_begin(uint32_t index)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) g = {sizeof gdt - 1, (uint64_t)(uintptr_t)gdt},
                              i = {sizeof idt - 1, (uint64_t)(uintptr_t)idt};

    __asm__ volatile("lgdt %0; lidt %1" : : "m"(g), "m"(i));
    bare_cpus[index].self = &bare_cpus[index];
    bare_cpus[index].index = index;
    msr_write((uint32_t)MSR_GS_BASE, (uint64_t)(uintptr_t)&bare_cpus[index]);
    *apic(APIC_SPURIOUS) = 0x100 | VECTOR_SPURIOUS;
    machine.tagged = identifiers_on(); /* all of them have it, or none */
    __asm__ volatile("sti" : : : "memory");
}

/* All CPUs. */
static void cpu_work(void)
{
    while (trace_wait())
        trace_turn();
    cpu_run(NULL);
    if (me()->index == 0)
        free_begin((uint32_t)cpus);
    __atomic_fetch_add(&free_ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&free_ready, __ATOMIC_ACQUIRE) < cpus)
        __builtin_ia32_pause();
    free_run(free_rounds);
    __atomic_fetch_add(&free_done, 1, __ATOMIC_SEQ_CST);
}

_Noreturn void cpu_main(void);
_Noreturn void cpu_main(void)
{
    cpu_begin(started);
    __atomic_store_n(&started, started + 1, __ATOMIC_RELEASE);
    cpu_work();
    for (;;)
        __asm__ volatile("hlt");
}

static void pause_long(void)
{
    for (unsigned i = 0; i < 100000; i++)
        __builtin_ia32_pause();
}

static void cpus_start(void)
{
    memcpy(direct(TRAMPOLINE), trampoline, (size_t)(trampoline_end - trampoline));
    for (started = 1; __atomic_load_n(&started, __ATOMIC_ACQUIRE) < cpus;) {
        uint32_t index = started;

        cpu_stack = (uint64_t)(uintptr_t)stacks[index] + STACK;
        apic_send(index, APIC_INIT);
        pause_long();
        apic_send(index, APIC_START | TRAMPOLINE >> 12);
        while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) == index)
            __builtin_ia32_pause();
    }
    boot_root[0] = 0;
}

static void option_read(const char *line, const char *name, uint64_t *value)
{
    for (; *line; line++) {
        size_t n = strlen(name);

        if (strncmp(line, name, n) != 0)
            continue;
        for (*value = 0, line += n; *line >= '0' && *line <= '9'; line++)
            *value = *value * 10 + (uint64_t)(*line - '0');
        return;
    }
}

static void options_read(uint32_t physical)
{
    const struct start_info *info = direct(physical);
    const char *line = direct(info->command_line);

    option_read(line, "cpus=", &cpus);
    option_read(line, "seed=", &seed);
    option_read(line, "ops=", &ops);
    option_read(line, "every=", &every);
    option_read(line, "rounds=", &free_rounds);
}

static void quire_begin(void)
{
    struct quire_config config = {
        .arena = direct(ARENA),
        .arena_size = ARENA_SIZE,
        .first_frame = FRAMES_FIRST,
        .frame_count = FRAMES,
        .direct_map = direct((uint64_t)FRAMES_FIRST * QUIRE_PAGE_SIZE),
        .max_spaces = 16,
        .max_sections = 2,
        .reserve = 64,
        .cpus = (uint32_t)cpus,
        .machine = &machine,
    };

    machine.kernel_root = boot_root;
    machine.kernel_cr3 = (uint64_t)(uintptr_t)boot_root - KERNEL_BASE;
    machine.current = cpu_current;
    machine.interrupt = cpus_interrupt;
    if (quire_create(&config, &q) != QUIRE_OK ||
        quire_add_frames(q, FRAMES_FIRST, FRAMES) != QUIRE_OK)
        fail("quire_create", 0);
}

static void traffic_say(void)
{
    uint64_t interrupted = 0, pages = 0, all = 0;

    for (unsigned i = 0; i < cpus; i++) {
        interrupted += machine.cpus[i].interrupted;
        pages += machine.cpus[i].flushed_pages;
        all += machine.cpus[i].flushed_all;
    }
    say("CPUs asked to forget:", interrupted);
    say("pages forgotten:", pages);
    say("times all was forgotten:", all);
    if (cpus > 1 && ops && !interrupted)
        fail("no CPU was ever asked to forget", 0);
}

void kernel_main(uint32_t start_info);
void kernel_main(uint32_t start_info)
{
    for (unsigned g = 1; g < 4; g++) /* devices */
        boot_direct[g] = (uint64_t)g << 30 | 0x93;
    for (unsigned i = 0; i < 256; i++)
        gate_set(i, i == VECTOR ? interrupt_entry : i == 14 ? page_fault_entry : other_entry);
    out8(PIC_MASKS, 0xff);
    out8(PIC_MASKS + 0x80, 0xff);
    options_read(start_info);
    cpu_begin(0);
    quire_begin();
    trace = (struct trace){.q = q, .run = trace_run, .load = trace_load, .store = trace_store};
    trace_begin(&trace, seed);
    cpus_start();
    cpu_run(NULL);
    cpu_work();
    while (__atomic_load_n(&free_done, __ATOMIC_ACQUIRE) < cpus)
        __builtin_ia32_pause();
    free_end();
    traffic_say();
    end(EXIT_OK);
}
