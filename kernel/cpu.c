/* SPDX-License-Identifier: MIT */
/*
 * The processor's own tables and switches: descriptors, the task state that says where the kernel
 * stack is, the interrupt table, the system call registers, the old interrupt controller, the FPU.
 *
 * Control bits: WP (the kernel's writes to a shared page fault as a program's do), SMEP and SMAP
 * (the kernel neither runs nor touches a program's pages, save between stac and clac in trap.S),
 * NX, and PGE for the kernel's half.  OSXSAVE stays off, so programs see SSE2 and no more, and 512
 * bytes hold their state.  FSGSBASE stays off too: the FS base changes by arch_prctl alone, and the
 * kernel knows it.
 *
 * Double faults and NMIs run on stacks of their own: the first is what a kernel stack that ran
 * into its guard page ends in.
 */
#include "cpu.h"

struct descriptor_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, zero;
};

struct task_state {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed));

enum {
    GATES = 48,
    EMERGENCY_STACK = 4096,
    IST_DOUBLE_FAULT = 1,
    IST_NMI = 2,
    GATE_INTERRUPT = 0x8e,
    GATE_INTERRUPT_USER = 0xee,
    CR4_OSFXSR = 1 << 9,
    CR4_OSXMMEXCPT = 1 << 10,
    CR4_PCIDE = 1 << 17,
    CR4_SMEP = 1 << 20,
    CR4_SMAP = 1 << 21,
    CR0_EM = 1 << 2,
    PIC1 = 0x20,
    PIC2 = 0xa0,
    PIC_EOI = 0x20,
};

static uint64_t gdt[7] = {
    0,
    0x00af9b000000ffff, /* kernel code */
    0x00cf93000000ffff, /* kernel data */
    0x00cff3000000ffff, /* user data */
    0x00affb000000ffff, /* user code */
    0,                  /* task state, two words */
    0,
};
static struct gate idt[GATES] __attribute__((aligned(16)));
static struct task_state tss;
static uint8_t double_fault_stack[EMERGENCY_STACK] __attribute__((aligned(16)));
static uint8_t nmi_stack[EMERGENCY_STACK] __attribute__((aligned(16)));
static uint8_t fpu_initial[FPU_SIZE] __attribute__((aligned(16)));

static void gdt_load(void)
{
    uint64_t base = (uint64_t)(uintptr_t)&tss;
    struct descriptor_pointer pointer = {sizeof gdt - 1, (uint64_t)(uintptr_t)gdt};

    tss.ist[IST_DOUBLE_FAULT - 1] = (uint64_t)(uintptr_t)(double_fault_stack + EMERGENCY_STACK);
    tss.ist[IST_NMI - 1] = (uint64_t)(uintptr_t)(nmi_stack + EMERGENCY_STACK);
    tss.io_map = sizeof tss;
    gdt[5] = (sizeof tss - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
             (base >> 24 & 0xff) << 56;
    gdt[6] = base >> 32;
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\tmovl %2, %%eax\n\t"
                     "movl %%eax, %%ss\n\t"
                     "ltr %w3"
                     :
                     : "m"(pointer), "i"(SELECTOR_KERNEL_CODE), "i"(SELECTOR_KERNEL_DATA),
                       "r"(SELECTOR_TSS)
                     : "rax", "memory");
}

static void idt_load(void)
{
    struct descriptor_pointer pointer = {sizeof idt - 1, (uint64_t)(uintptr_t)idt};

    for (unsigned i = 0; i < GATES; i++) {
        uint64_t stub = (uint64_t)(uintptr_t)trap_stubs + i * 16;
        bool user = i == VECTOR_BREAKPOINT || i == VECTOR_OVERFLOW;

        idt[i] = (struct gate){
            .offset_low = (uint16_t)stub,
            .selector = SELECTOR_KERNEL_CODE,
            .type = user ? GATE_INTERRUPT_USER : GATE_INTERRUPT,
            .offset_middle = (uint16_t)(stub >> 16),
            .offset_high = (uint32_t)(stub >> 32),
        };
    }
    idt[VECTOR_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
    idt[VECTOR_NMI].ist = IST_NMI;
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void syscall_init(void)
{
    msr_write(0xc0000081,
              (uint64_t)SELECTOR_KERNEL_DATA << 48 | (uint64_t)SELECTOR_KERNEL_CODE << 32); /* STAR
                                                                                             */
    msr_write(0xc0000082, (uint64_t)(uintptr_t)syscall_entry); /* LSTAR */
    msr_write(0xc0000083, (uint64_t)(uintptr_t)syscall_entry); /* CSTAR */
    msr_write(0xc0000084, 0x257fd5 & ~UINT64_C(2));            /* FMASK: all, IF among them */
    msr_write(0x174, 0);                                       /* no sysenter */
}

/* Both controllers at vectors 32..47, everything masked but the cascade. */
static void pic_init(void)
{
    out8(PIC1, 0x11);
    out8(PIC2, 0x11);
    out8(PIC1 + 1, VECTOR_IRQ);
    out8(PIC2 + 1, VECTOR_IRQ + 8);
    out8(PIC1 + 1, 4);
    out8(PIC2 + 1, 2);
    out8(PIC1 + 1, 1);
    out8(PIC2 + 1, 1);
    out8(PIC1 + 1, 0xfb);
    out8(PIC2 + 1, 0xff);
}

/*
 * Let the old controller through the local one, whose first pin some firmware leaves masked:
 * software enable in the spurious vector's register, ExtINT in the first pin's.
 */
static void local_apic_wire(void)
{
    enum { BASE_MSR = 0x1b, SPURIOUS = 0xf0, PIN0 = 0x350, ENABLE = 0x12f, EXTINT = 0x700 };
    volatile uint8_t *apic = direct(msr_read(BASE_MSR) & UINT64_C(0xffffff000));

    *(volatile uint32_t *)(apic + SPURIOUS) = ENABLE;
    *(volatile uint32_t *)(apic + PIN0) = EXTINT;
}

static void cpuid(uint32_t leaf, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(0));
}

/* CPUID leaf 1's EDX, which is what Linux passes as AT_HWCAP. */
uint64_t cpu_hwcap(void)
{
    uint32_t a, b, c, d;

    cpuid(1, &a, &b, &c, &d);
    return d;
}

static void cr4_set(uint64_t bits)
{
    uint64_t cr4;

    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | bits) : "memory");
}

bool cpu_identifiers_on(void)
{
    uint32_t a, b, c, d;

    cpuid(1, &a, &b, &c, &d);
    if (!(c & 1u << 17))
        return false;
    cr4_set(CR4_PCIDE);
    return true;
}

static void control_init(void)
{
    uint32_t a, b, c, d;
    uint64_t cr0;

    cpuid(7, &a, &b, &c, &d);
    if (!(b & 1u << 7) || !(b & 1u << 20))
        panic("this kernel needs a processor with SMEP and SMAP (qemu: -cpu max)");
    cr4_set(CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_SMEP | CR4_SMAP);
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    cr0 = (cr0 & ~(uint64_t)CR0_EM) | 2;
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
    __asm__ volatile("fninit");
    fpu_save(fpu_initial);
    memset(fpu_initial + 32, 0, FPU_SIZE - 32);
    fpu_initial[24] = 0x80; /* MXCSR: all exceptions masked */
    fpu_initial[25] = 0x1f;
}

void cpu_init(void)
{
    gdt_load();
    idt_load();
    syscall_init();
    control_init();
    pic_init();
    local_apic_wire();
}

void cpu_set_stack(uint64_t top)
{
    tss.rsp[0] = top;
    syscall_kernel_rsp = top;
}

void cpu_set_fs(uint64_t base) { msr_write(0xc0000100, base); }

void fpu_clean(void *area) { memcpy(area, fpu_initial, FPU_SIZE); }

void fpu_sanitize(void *area)
{
    uint32_t mxcsr;

    memcpy(&mxcsr, (uint8_t *)area + 24, 4);
    mxcsr &= 0xffff; /* a reserved bit would fault in the kernel */
    memcpy((uint8_t *)area + 24, &mxcsr, 4);
}

void irq_end(unsigned irq)
{
    if (irq >= 8)
        out8(PIC2, PIC_EOI);
    out8(PIC1, PIC_EOI);
}

void irq_enable(unsigned irq)
{
    uint16_t port = irq >= 8 ? PIC2 + 1 : PIC1 + 1;

    out8(port, (uint8_t)(in8(port) & ~(1u << (irq & 7))));
}

void cpu_breathe(void) { __asm__ volatile("sti; nop; cli" : : : "memory"); }

void cpu_idle(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }
