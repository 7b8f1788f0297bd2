/* SPDX-License-Identifier: MIT */
/*
 * How the other CPUs come up, the three ways into traps, and the accesses that may fault.
 *
 * CPU 0 comes through kernel/boot.S.  It copies `trampoline` to TRAMPOLINE, below 1 MiB, where the
 * others start in real mode; they go to long mode in one step, with the tables that CPU 0 has, and
 * call cpu_main on the stack that CPU 0 laid out in cpu_stack.
 */
#define KERNEL_BASE 0xffffffff80000000
#define PHYS(x) ((x) - KERNEL_BASE)
#define TRAMPOLINE 0x8000
#define AT(x) (TRAMPOLINE + (x) - trampoline)

    .section .rodata
    .globl trampoline, trampoline_end
    .code16
    .balign 16
trampoline:
    cli
    lgdtl %cs:gdt_pointer - trampoline
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $24, $AT(start32)
    .code32
start32:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $0xb0, %eax            /* PAE, PGE, PSE */
    movl %eax, %cr4
    movl $PHYS(boot_root), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      /* EFER: long mode, no-execute */
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010033, %eax      /* PG, WP, NE, ET, MP, PE */
    movl %eax, %cr0
    ljmpl $8, $AT(start64)
    .code64
start64:
    movabsq $upper_start, %rax
    jmp *%rax
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cf9b000000ffff
gdt_pointer:
    .word . - gdt - 1
    .long AT(gdt)
trampoline_end:

    .text
upper_start:
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq cpu_stack(%rip), %rsp
    xorl %ebp, %ebp
    call cpu_main
1:  hlt
    jmp 1b

    .macro SAVE
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    .endm
    .macro RESTORE
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    .endm

/* void page_fault(uint64_t error, uint64_t *rip) */
    .globl page_fault_entry
page_fault_entry:
    SAVE
    cld
    movq 72(%rsp), %rdi
    leaq 80(%rsp), %rsi
    pushq %rbp
    movq %rsp, %rbp
    andq $-16, %rsp
    call page_fault
    movq %rbp, %rsp
    popq %rbp
    RESTORE
    addq $8, %rsp
    iretq

    .globl interrupt_entry
interrupt_entry:
    SAVE
    cld
    pushq %rbp
    movq %rsp, %rbp
    andq $-16, %rsp
    call interrupt
    movq %rbp, %rsp
    popq %rbp
    RESTORE
    iretq

/* Every other vector: (%rsp) is the address, or an error code with the address above it. */
    .globl other_entry
other_entry:
    movq (%rsp), %rdi
    movq 8(%rsp), %rsi
    andq $-16, %rsp
    call trap_other

/* bool access_load(uint64_t address, uint64_t *word), access_store(uint64_t address, uint64_t
 * word): false if page_fault sent it to access_failed. */
    .globl access_load, access_store, access_start, access_end, access_failed
access_start:
access_load:
    movq (%rdi), %rax
    movq %rax, (%rsi)
    movl $1, %eax
    ret
access_store:
    movq %rsi, (%rdi)
    movl $1, %eax
    ret
access_end:
access_failed:
    xorl %eax, %eax
    ret

    .section .note.GNU-stack, "", @progbits
