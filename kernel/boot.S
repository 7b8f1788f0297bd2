/* SPDX-License-Identifier: MIT */
/*
 * From the PVH entry (32 bits, no paging, %ebx: physical address of the start info) to
 * kernel_main() in the upper half.  The tables made here map the first gigabyte three times: where
 * it is, at KERNEL_BASE, and in the direct map; kernel_map() (memory.c) takes the first away and
 * refines the others.
 *
 * A processor without the features that the tables need would end in a triple fault, which says
 * nothing; so it is asked first, and a line on the serial port names what is missing.  The other
 * features are asked for in C (cpu.c).
 */
#define KERNEL_BASE 0xffffffff80000000
#define PHYS(x) ((x) - KERNEL_BASE)

    .section .note.Xen, "a"
    .align 4
    .long 4             /* size of the name */
    .long 8             /* size of the value */
    .long 18            /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad PHYS(pvh_entry)

    .section .bss
    .align 4096
    .globl boot_root, boot_low, boot_direct, boot_high, boot_stack
boot_root:   .skip 4096
boot_low:    .skip 4096     /* level 3: 1 GiB pages */
boot_direct: .skip 4096     /* level 3: 1 GiB pages */
boot_high:   .skip 4096     /* level 3 of the last 512 GiB */
boot_stack:  .skip 16384
boot_stack_end:

    .section .text.boot, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    movl $PHYS(boot_stack_end), %esp
    movl %ebx, %edi             /* cpuid takes %ebx */

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    movl $PHYS(no_long_mode), %esi
    jb complain
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc complain
    movl $PHYS(no_nx), %esi
    btl $20, %edx
    jnc complain
    movl $PHYS(no_large_pages), %esi
    btl $26, %edx
    jnc complain

    /* bss is zero already: the loader clears it. */
    movl $(PHYS(boot_low) + 3), PHYS(boot_root)
    movl $(PHYS(boot_direct) + 3), PHYS(boot_root) + 256 * 8
    movl $(PHYS(boot_high) + 3), PHYS(boot_root) + 511 * 8
    movl $0x83, PHYS(boot_low)
    movl $0x83, PHYS(boot_direct)
    movl $0x83, PHYS(boot_high) + 510 * 8

    movl $0xb0, %eax            /* PAE, PGE, PSE */
    movl %eax, %cr4
    movl $PHYS(boot_root), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      /* EFER: long mode, no-execute, syscall */
    rdmsr
    orl $0x901, %eax
    wrmsr
    movl $0x80010033, %eax      /* PG, WP, NE, ET, MP, PE */
    movl %eax, %cr0
    lgdtl PHYS(boot_gdt_pointer)
    ljmpl $8, $PHYS(long_entry)

/* The text at %esi to the serial port, as the firmware left it, and the end as panic() makes it. */
complain:
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    movw $0x3f8, %dx
    lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp complain
2:  movl $44, %eax              /* EXIT_PANIC */
    movw $0xf4, %dx
    outl %eax, %dx
3:  hlt
    jmp 3b

no_long_mode:
    .asciz "quire: this kernel needs a 64-bit processor (qemu: -cpu max)\r\n"
no_nx:
    .asciz "quire: this kernel needs a processor with no-execute pages (qemu: -cpu max)\r\n"
no_large_pages:
    .asciz "quire: this kernel needs a processor with 1 GiB pages (qemu: -cpu max)\r\n"

    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long PHYS(boot_gdt)

    .code64
long_entry:
    movabsq $upper_entry, %rax
    jmp *%rax
upper_entry:
    movl $16, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movq $boot_stack_end, %rsp
    xorl %ebp, %ebp
    call kernel_main            /* %edi: the start info, since pvh_entry */
1:  hlt
    jmp 1b

    .section .note.GNU-stack, "", @progbits
