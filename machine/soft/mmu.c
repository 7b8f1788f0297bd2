/* SPDX-License-Identifier: MIT */
/*
 * The software MMU: walks, accesses, and what core asks of a machine.
 *
 * An access is: look into the TLB; otherwise walk the tables from the root (or, in the test build,
 * from the lowest table that this CPU still holds a pointer to); otherwise call quire_fault and
 * begin again.
 *
 *     soft_load  -> resolve page(s) -> find in TLB
 *                                   -> walk (A, D set in the leaf entry) -> fill TLB
 *                                   -> quire_fault -> begin again
 *
 * An access that crosses a page boundary resolves both pages and moves bytes only when both were
 * found without a fault in between, because resolving the second may flush the first (an unshare of
 * their common table, for one).
 *
 * Walks take no lock, as hardware does: they read entries by single atomic loads and set ACCESSED
 * and DIRTY by compare-and-swap, so that an entry which core changes meanwhile is never overwritten
 * with an older one.  What a walk reads stays a table until the CPU polls, because core frees
 * nothing before its flush has returned.  The CPU is out while quire_fault runs.
 */
#include "tlb.h"

#include <quire/host.h>
#include <quire/machine.h>

/*
 * How often one page of one access may fault: more than any sequence of reasons to refuse it.  With
 * threads others may take away what a fault gave before the access is tried again, and no number is
 * wrong; this one would take minutes.
 */
enum { FAULTS_MAX = 2 * QUIRE_LEVELS + 4, FAULTS_MAX_THREADS = 1 << 24 };

static int faults_max(const struct soft_machine *machine)
{
    return machine->threads ? FAULTS_MAX_THREADS : FAULTS_MAX;
}

/* ---- machines and CPUs ----------------------------------------------------------------------- */

static size_t cpus_end(const struct soft_config *config)
{
    size_t size = sizeof(struct soft_machine) + config->cpus * sizeof(struct soft_cpu);

    return (size + 63) & ~(size_t)63;
}

size_t soft_machine_size(const struct soft_config *config)
{
    return cpus_end(config) + config->cpus * ((soft_tlb_size(config) + 63) & ~(size_t)63);
}

struct soft_machine *soft_machine_init(void *memory, const struct soft_config *config)
{
    struct soft_machine *machine = memory;
    unsigned char *tlb = (unsigned char *)memory + cpus_end(config);

    memset(memory, 0, soft_machine_size(config));
    machine->direct_map = config->direct_map;
    machine->first_frame = config->first_frame;
    machine->frame_count = config->frame_count;
    machine->cpu_count = config->cpus;
    machine->threads = config->threads;
    machine->held = config->held;
    machine->host = config->host;
    for (uint32_t i = 0; i < config->cpus; i++) {
        struct soft_cpu *cpu = &machine->cpus[i];

        cpu->machine = machine;
        cpu->index = i;
        soft_cpu_init(cpu);
        soft_tlb_init(cpu, tlb);
        tlb += (soft_tlb_size(config) + 63) & ~(size_t)63;
    }
    return machine;
}

unsigned soft_check(struct soft_machine *machine)
{
    unsigned findings = 0;

    for (uint32_t i = 0; i < machine->cpu_count; i++) {
        struct soft_cpu *cpu = &machine->cpus[i];

        if (cpu->space && cpu->root != quire_space_root(cpu->space)) {
            soft_violation(cpu, "runs a root table that is not its space's", 0, QUIRE_LEVELS);
            findings++;
        }
        findings += soft_tlb_check(cpu);
    }
    return findings;
}

static char *text_put(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    return to;
}

static char *text_put_hex(char *to, uint64_t n)
{
    int shift = 60;

    to = text_put(to, "0x");
    while (shift && !(n >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[(n >> shift) & 15];
    return to;
}

/* `what` is one of the short constant texts in this folder: 160 bytes hold the line. */
void soft_violation(struct soft_cpu *cpu, const char *what, vaddr_t address, uint32_t level)
{
    char line[160];
    char *end = text_put(line, "soft: cpu ");

    end = text_put_hex(end, cpu->index);
    end = text_put(end, " address ");
    end = text_put_hex(end, address);
    end = text_put(end, " level ");
    end = text_put_hex(end, level);
    end = text_put(end, ": ");
    end = text_put(end, what);
    *end = 0;
    __atomic_fetch_add(&cpu->machine->violations, 1, __ATOMIC_RELAXED);
    host_report(cpu->machine->host, line);
}

/* ---- walks ----------------------------------------------------------------------------------- */

entry_t *soft_step(struct soft_machine *machine, struct soft_path *path, vaddr_t address)
{
    entry_t *slot, e;
    pfn_t pfn;

    if (!soft_is_frame(machine, path->pfn))
        return NULL;
    slot = soft_slot_at(machine, path->pfn, address, path->level);
    e = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    pfn = (pfn_t)((e & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT);
    if (!(e & ENTRY_PRESENT) || !soft_is_frame(machine, pfn))
        return NULL;
    path->pfn = pfn;
    path->level--;
    path->write = path->write && (e & ENTRY_WRITE);
    path->exec = path->exec && entry_exec(e);
    return slot;
}

bool soft_look(struct soft_machine *machine, struct quire_space *space, vaddr_t address,
               uint32_t level, struct soft_path *out)
{
    struct soft_path path = {quire_space_root(space), QUIRE_LEVELS, true, true};

    if (address >= MMU_ADDRESS_END)
        return false;
    while (path.level > level) {
        if (!soft_step(machine, &path, address))
            return false;
    }
    *out = path;
    return true;
}

static bool path_allows(const struct soft_path *path, uint32_t access)
{
    return access == QUIRE_WRITE ? path->write : access == QUIRE_EXEC ? path->exec : true;
}

/*
 * Set ACCESSED, and for a write DIRTY, in the entry of a page.  False: core changed the entry since
 * the walk read it, so that the page is not there any more or may not be written.
 */
static bool leaf_mark(entry_t *slot, const struct soft_path *page, uint32_t access)
{
    entry_t e = __atomic_load_n(slot, __ATOMIC_RELAXED);
    entry_t bits = ENTRY_ACCESSED | (access == QUIRE_WRITE ? ENTRY_DIRTY : 0);

    do {
        if (!(e & ENTRY_PRESENT) || (e & ENTRY_PAYLOAD_MASK) >> ENTRY_PAYLOAD_SHIFT != page->pfn)
            return false;
        if (access == QUIRE_WRITE && !(e & ENTRY_WRITE))
            return false;
        if ((e & bits) == bits)
            return true;
    } while (!__atomic_compare_exchange_n(slot, &e, e | bits, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    return true;
}

/* Walk to the page at `address` and remember it.  Null: refused. */
static unsigned char *walk(struct soft_cpu *cpu, vaddr_t address, uint32_t access)
{
    struct soft_machine *machine = cpu->machine;
    struct soft_path path = {cpu->root, QUIRE_LEVELS, true, true};
    entry_t *slot = NULL;

    cpu->walks++;
    if (address >= MMU_ADDRESS_END)
        return NULL;
    soft_tlb_start(cpu, address, &path);
    while (path.level > 0) {
        slot = soft_step(machine, &path, address);
        if (!slot)
            return NULL;
        if (path.level > 0)
            soft_tlb_keep(cpu, address, &path);
    }
    if (!path_allows(&path, access) || !leaf_mark(slot, &path, access))
        return NULL;
    /* Without DIRTY in the entry the TLB may not allow a write: the first one has to walk and set
     * it. */
    path.write = path.write && (__atomic_load_n(slot, __ATOMIC_RELAXED) & ENTRY_DIRTY);
    soft_tlb_fill(cpu, address, &path);
    return soft_frame(machine, path.pfn);
}

/* ---- accesses -------------------------------------------------------------------------------- */

/*
 * The bytes of the page that holds `address`, for `access`.  *faulted is set where quire_fault was
 * called: what was resolved before may be gone.
 */
static enum quire_status resolve(struct soft_cpu *cpu, vaddr_t address, uint32_t access,
                                 unsigned char **bytes, bool *faulted)
{
    *bytes = soft_tlb_find(cpu, address, access);
    if (!*bytes)
        *bytes = walk(cpu, address, access);
    for (int i = 0; !*bytes; i++) {
        enum quire_status status;
        bool was_in;

        if (i == faults_max(cpu->machine)) {
            soft_violation(cpu, "the fault says QUIRE_OK and the tables still refuse", address, 0);
            return QUIRE_STATUS_COUNT;
        }
        cpu->faults++;
        *faulted = true;
        was_in = soft_cpu_pause(cpu);
        status = quire_fault(cpu->space, address, access);
        soft_cpu_resume(cpu, was_in);
        if (status != QUIRE_OK)
            return status;
        soft_tlb_refused(cpu, address);
        *bytes = walk(cpu, address, access);
    }
    return QUIRE_OK;
}

/* One access in up to two pieces, which lie in neighbouring pages. */
struct pieces {
    unsigned char *bytes[2];
    uint32_t size[2];
};

static enum quire_status resolve_all(struct soft_cpu *cpu, vaddr_t address, uint32_t size,
                                     uint32_t access, struct pieces *out)
{
    uint32_t offset = (uint32_t)(address & (QUIRE_PAGE_SIZE - 1));
    bool faulted;

    if (!cpu->space)
        return QUIRE_NOT_MAPPED;
    if (address + size < address)
        return QUIRE_WRAPS;
    out->size[0] = offset + size <= QUIRE_PAGE_SIZE ? size : QUIRE_PAGE_SIZE - offset;
    out->size[1] = size - out->size[0];
    for (int i = 0; i < faults_max(cpu->machine); i++) {
        enum quire_status status = QUIRE_OK;

        faulted = false;
        for (int n = 0; n < 2 && status == QUIRE_OK && out->size[n]; n++)
            status = resolve(cpu, n ? address + out->size[0] : address, access, &out->bytes[n],
                             &faulted);
        if (status != QUIRE_OK)
            return status;
        if (!faulted || !out->size[1]) {
            out->bytes[0] += offset;
            return QUIRE_OK;
        }
    }
    soft_violation(cpu, "two pages take each other away", address, 0);
    return QUIRE_STATUS_COUNT;
}

enum quire_status soft_load_slow(struct soft_cpu *cpu, vaddr_t address, void *to, uint32_t size)
{
    struct pieces from;
    enum quire_status status = resolve_all(cpu, address, size, QUIRE_READ, &from);

    if (status != QUIRE_OK)
        return status;
    memcpy(to, from.bytes[0], from.size[0]);
    if (from.size[1])
        memcpy((unsigned char *)to + from.size[0], from.bytes[1], from.size[1]);
    return QUIRE_OK;
}

enum quire_status soft_store_slow(struct soft_cpu *cpu, vaddr_t address, const void *from,
                                  uint32_t size)
{
    struct pieces to;
    enum quire_status status = resolve_all(cpu, address, size, QUIRE_WRITE, &to);

    if (status != QUIRE_OK)
        return status;
    memcpy(to.bytes[0], from, to.size[0]);
    if (to.size[1])
        memcpy(to.bytes[1], (const unsigned char *)from + to.size[0], to.size[1]);
    return QUIRE_OK;
}

enum quire_status soft_fetch(struct soft_cpu *cpu, vaddr_t address, uint8_t *to)
{
    struct pieces from;
    enum quire_status status = resolve_all(cpu, address, 1, QUIRE_EXEC, &from);

    if (status == QUIRE_OK && to)
        *to = *from.bytes[0];
    return status;
}

bool soft_try(struct soft_cpu *cpu, vaddr_t address, uint32_t access, uint8_t *byte)
{
    unsigned char *bytes;

    if (!cpu->space)
        return false;
    bytes = soft_tlb_find(cpu, address, access);
    if (!bytes)
        bytes = walk(cpu, address, access);
    if (!bytes) {
        soft_tlb_refused(cpu, address);
        return false;
    }
    bytes += address & (QUIRE_PAGE_SIZE - 1);
    if (access == QUIRE_WRITE)
        *bytes = *byte;
    else
        *byte = *bytes;
    return true;
}

/* ---- what core asks of a machine ------------------------------------------------------------- */

/* A space has every root entry, and nothing of the machine lies in them. */
void mmu_root_init(void *machine, uint64_t *root)
{
    (void)machine;
    (void)root;
}

void mmu_activate(void *machine, struct quire_space *space, pfn_t root)
{
    soft_cpus_run(machine, space, root);
}

static void flush(struct soft_machine *machine, const struct soft_flush *what)
{
#ifdef QUIRE_TEST
    if (machine->on_flush)
        machine->on_flush(machine, what->space, what->low, what->high);
#endif
    soft_cpus_flush(machine, what);
}

void mmu_flush_page(void *machine, struct quire_space *space, vaddr_t address)
{
    flush(machine,
          &(struct soft_flush){SOFT_FLUSH_PAGE, space, address, address + QUIRE_PAGE_SIZE, 0});
}

void mmu_flush_range(void *machine, struct quire_space *space, vaddr_t low, vaddr_t high)
{
    flush(machine, &(struct soft_flush){SOFT_FLUSH_RANGE, space, low, high, 0});
}

void mmu_flush_space(void *machine, struct quire_space *space, pfn_t root)
{
    flush(machine, &(struct soft_flush){SOFT_FLUSH_SPACE, space, 0, MMU_ADDRESS_END, root});
}

void mmu_flush_all(void *machine)
{
    flush(machine, &(struct soft_flush){SOFT_FLUSH_ALL, NULL, 0, MMU_ADDRESS_END, 0});
}
