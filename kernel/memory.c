/* SPDX-License-Identifier: MIT */
/*
 * Physical memory and the kernel's half of the address space.
 *
 * The loader's memory map says which frames exist.  Three things stay outside quire: the boot
 * image, the initrd, and the arena that holds quire's records.  Everything else above 1 MiB is
 * quire's, and the kernel asks quire for each frame it needs after that (frame_alloc, stack_alloc).
 *
 * The kernel's half is made once:
 *
 *   DIRECT_MAP    all physical memory, 1 GiB pages, writable, not executable
 *   KERNEL_BASE   the image, one leaf table: text executes, rodata is read, data is written
 *   STACK_WINDOW  kernel stacks, eight pages apart: four unmapped, four mapped
 *
 * and mmu_root_init puts its two root entries into every root that quire makes.  The leaf tables of
 * the stack window are static, so those entries never change, and a stack mapped here is seen from
 * every space at once.
 */
#include "blk.h"
#include "cpu.h"
#include "swap.h"

#include "mmu.h"

#include <quire/host.h>

enum {
    RANGES = 32,
    STACK_SLOTS = 1024,
    SLOT_PAGES = 8,
    SLOT_TABLES = STACK_SLOTS * SLOT_PAGES / 512,
    MAX_SPACES = 2 * STACK_SLOTS,
    MAX_SECTIONS = 16384,
    RESERVE_FRAMES = 64,
    COMMAND_LINE = 512,
    PTE_PRESENT = 1,
    PTE_WRITE = 2,
    PTE_LARGE = 0x80,
    PTE_GLOBAL = 0x100,
};
#define PTE_NX (UINT64_C(1) << 63)
#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)
#define LAST_GIB UINT64_C(512)

/* The PVH start info (Xen's public/arch-x86/hvm/start_info.h). */
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp, map;
    uint32_t map_entries, reserved;
};
struct start_module {
    uint64_t address, size, command_line, reserved;
};
struct start_map_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};
enum { START_MAGIC = 0x336ec578, START_RAM = 1 };

struct range {
    uint64_t low, high; /* physical addresses */
};

extern uint64_t boot_root[512], boot_direct[512], boot_high[512];
extern char image_start[], text_end[], rodata_end[], image_end[];

struct quire *quire;
static struct mmu machine;
static struct range ram[RANGES]; /* page aligned, above 1 MiB */
static unsigned ram_count;
static struct range initrd;
static uint64_t frames_added;
static char command_line[COMMAND_LINE];

static uint64_t image_directory[512] __attribute__((aligned(4096)));
static uint64_t image_table[512] __attribute__((aligned(4096)));
static uint64_t stack_tables[SLOT_TABLES * 512] __attribute__((aligned(4096)));
static uint8_t stack_used[STACK_SLOTS];
static unsigned stack_next; /* where to look first */

static uint64_t image_physical(const void *p) { return (uint64_t)(uintptr_t)p - KERNEL_BASE; }

const char *kernel_command_line(void) { return command_line; }

void *memory_machine(void) { return &machine; }

const void *memory_initrd(size_t *size)
{
    *size = initrd.high - initrd.low;
    return direct(initrd.low);
}

static void start_info_read(uint32_t physical)
{
    const struct start_info *info = direct(physical);
    const struct start_map_entry *map;

    if (info->magic != START_MAGIC)
        panic("no PVH start info at %#x", physical);
    if (info->command_line)
        strlcpy(command_line, direct(info->command_line), sizeof command_line);
    if (info->module_count) {
        const struct start_module *module = direct(info->modules);

        initrd = (struct range){module->address, module->address + module->size};
    }
    if (info->version < 1 || !info->map)
        panic("the loader gave no memory map");
    map = direct(info->map);
    for (uint32_t i = 0; i < info->map_entries && ram_count < RANGES; i++) {
        uint64_t low = (map[i].address + PAGE_SIZE - 1) & -(uint64_t)PAGE_SIZE;
        uint64_t high = (map[i].address + map[i].size) & -(uint64_t)PAGE_SIZE;

        if (low < MIB)
            low = MIB;
        if (map[i].type == START_RAM && low < high && high <= LAST_GIB * GIB)
            ram[ram_count++] = (struct range){low, high};
    }
}

static uint64_t ram_end(void)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < ram_count; i++)
        end = ram[i].high > end ? ram[i].high : end;
    return end;
}

/* Replace what boot.S mapped by what the opening comment says. */
static void kernel_map(void)
{
    /* The first 4 GiB always: devices live there. */
    uint64_t end = ram_end() > 4 * GIB ? ram_end() : 4 * GIB;

    for (uint64_t g = 0; g < 512; g++) {
        boot_direct[g] =
            g * GIB < end ? g * GIB | PTE_PRESENT | PTE_WRITE | PTE_LARGE | PTE_GLOBAL | PTE_NX : 0;
    }
    for (char *p = image_start; p < image_end; p += PAGE_SIZE) {
        uint64_t bits = PTE_PRESENT | PTE_GLOBAL;

        if (p >= text_end)
            bits |= PTE_NX;
        if (p >= rodata_end)
            bits |= PTE_WRITE;
        image_table[image_physical(p) >> 12 & 511] = image_physical(p) | bits;
    }
    image_directory[image_physical(image_start) >> 21] =
        image_physical(image_table) | PTE_PRESENT | PTE_WRITE;
    for (unsigned i = 0; i < SLOT_TABLES; i++) {
        image_directory[(STACK_WINDOW - KERNEL_BASE) / (2 * MIB) + i] =
            image_physical(stack_tables + i * 512) | PTE_PRESENT | PTE_WRITE;
    }
    boot_high[510] = image_physical(image_directory) | PTE_PRESENT | PTE_WRITE;
    boot_root[0] = 0;
    machine.kernel_root = boot_root;
    machine.kernel_cr3 = image_physical(boot_root);
    __asm__ volatile("mov %0, %%cr3" : : "r"(machine.kernel_cr3) : "memory");
    machine.tagged = cpu_identifiers_on();
}

/* Take `hole` out of the list of memory. */
static void ram_remove(struct range hole)
{
    unsigned count = ram_count;

    hole.low &= -(uint64_t)PAGE_SIZE;
    hole.high = (hole.high + PAGE_SIZE - 1) & -(uint64_t)PAGE_SIZE;
    for (unsigned i = 0; i < count; i++) {
        struct range r = ram[i];

        if (hole.high <= r.low || hole.low >= r.high)
            continue;
        ram[i].high = hole.low > r.low ? hole.low : r.low;
        if (hole.high < r.high) {
            if (ram_count == RANGES)
                panic("the memory map has too many pieces");
            ram[ram_count++] = (struct range){hole.high, r.high};
        }
    }
}

static struct range ram_place(uint64_t size)
{
    for (unsigned i = 0; i < ram_count; i++) {
        if (ram[i].high - ram[i].low >= size) {
            struct range r = {ram[i].high - size, ram[i].high};

            r.low &= -(uint64_t)PAGE_SIZE;
            return r;
        }
    }
    panic("no memory for quire's records (%u KiB)", (unsigned)(size >> 10));
}

/* The value of `mem=` (frames to use, in MiB) in frames, or all. */
static uint64_t frame_limit(void)
{
    uint64_t mib = 0;

    for (const char *s = command_line; *s; s++) {
        if (strncmp(s, "mem=", 4) == 0 && (s == command_line || s[-1] == ' ')) {
            for (s += 4; *s >= '0' && *s <= '9'; s++)
                mib = mib * 10 + (unsigned)(*s - '0');
            return mib * (MIB / PAGE_SIZE);
        }
    }
    return UINT64_MAX;
}

static void quire_start(void)
{
    struct quire_config config = {
        .first_frame = MIB / PAGE_SIZE,
        .frame_count = (uint32_t)(ram_end() / PAGE_SIZE - MIB / PAGE_SIZE),
        .direct_map = direct(MIB),
        .max_spaces = MAX_SPACES,
        .max_sections = MAX_SECTIONS,
        .reserve = RESERVE_FRAMES,
        .max_slots = (uint32_t)(blk_room() / PAGE_SIZE),
        .low_memory = swap_wanted,
        .low = USER_LOW,
        .high = USER_HIGH,
        .machine = &machine,
    };
    uint64_t left = frame_limit();
    struct range arena;
    enum quire_status status;

    ram_remove((struct range){image_physical(image_start), image_physical(image_end)});
    if (initrd.high)
        ram_remove(initrd);
    config.arena_size = quire_arena_size(&config);
    arena = ram_place(config.arena_size);
    config.arena = direct(arena.low);
    ram_remove(arena);
    status = quire_create(&config, &quire);
    if (status != QUIRE_OK)
        panic("quire_create: %s", quire_status_name(status));
    for (unsigned i = 0; i < ram_count; i++) {
        uint64_t count = (ram[i].high - ram[i].low) / PAGE_SIZE;

        count = count < left ? count : left;
        if (count == 0)
            continue;
        left -= count;
        frames_added += count;
        status = quire_add_frames(quire, (pfn_t)(ram[i].low / PAGE_SIZE), (uint32_t)count);
        if (status != QUIRE_OK)
            panic("quire_add_frames: %s", quire_status_name(status));
    }
}

void memory_init(uint32_t start_info)
{
    start_info_read(start_info);
    kernel_map();
    quire_start();
}

uint64_t frames_total(void) { return frames_added; }

void *frame_address(pfn_t pfn) { return direct((uint64_t)pfn * PAGE_SIZE); }

/* A frame for the kernel itself, if pages can be got rid of for it. */
static bool frame_take(pfn_t *pfn)
{
    while (quire_frame_take(quire, pfn) != QUIRE_OK) {
        if (!swap_relieve())
            return false;
    }
    return true;
}

void *frame_alloc_dirty(void)
{
    pfn_t pfn;

    return frame_take(&pfn) ? frame_address(pfn) : NULL;
}

void *frame_alloc(void)
{
    void *page = frame_alloc_dirty();

    if (page)
        memset(page, 0, PAGE_SIZE);
    return page;
}

void frame_free(void *page)
{
    if (page)
        quire_frame_give(quire, (pfn_t)(((uint64_t)(uintptr_t)page - DIRECT_MAP) / PAGE_SIZE));
}

static uint64_t *stack_entry(unsigned slot, unsigned page)
{
    return &stack_tables[slot * SLOT_PAGES + page];
}

static void stack_unmap(unsigned slot)
{
    for (unsigned page = SLOT_PAGES - STACK_SIZE / PAGE_SIZE; page < SLOT_PAGES; page++) {
        uint64_t entry = *stack_entry(slot, page);
        uint64_t address = STACK_WINDOW + ((uint64_t)slot * SLOT_PAGES + page) * PAGE_SIZE;

        if (!entry)
            continue;
        *stack_entry(slot, page) = 0;
        __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
        quire_frame_give(quire, (pfn_t)((entry & ~PTE_NX) / PAGE_SIZE));
    }
    stack_used[slot] = 0;
}

void *stack_alloc(void)
{
    unsigned slot = stack_next;

    while (stack_used[slot]) {
        slot = (slot + 1) % STACK_SLOTS;
        if (slot == stack_next)
            return NULL;
    }
    stack_next = (slot + 1) % STACK_SLOTS;
    stack_used[slot] = 1;
    for (unsigned page = SLOT_PAGES - STACK_SIZE / PAGE_SIZE; page < SLOT_PAGES; page++) {
        pfn_t pfn;

        if (!frame_take(&pfn)) {
            stack_unmap(slot);
            return NULL;
        }
        *stack_entry(slot, page) =
            (uint64_t)pfn * PAGE_SIZE | PTE_PRESENT | PTE_WRITE | PTE_GLOBAL | PTE_NX;
    }
    return (void *)(uintptr_t)(STACK_WINDOW + ((uint64_t)slot + 1) * SLOT_PAGES * PAGE_SIZE -
                               STACK_SIZE);
}

void stack_free(void *stack)
{
    if (stack) {
        stack_unmap(
            (unsigned)(((uint64_t)(uintptr_t)stack - STACK_WINDOW) / (SLOT_PAGES * PAGE_SIZE)));
    }
}

bool stack_guard_hit(uint64_t address)
{
    uint64_t offset = address - STACK_WINDOW;

    return offset < (uint64_t)STACK_SLOTS * SLOT_PAGES * PAGE_SIZE &&
           offset / PAGE_SIZE % SLOT_PAGES < SLOT_PAGES - STACK_SIZE / PAGE_SIZE;
}
