/* SPDX-License-Identifier: MIT */
/*
 * Into the kernel and out of it: traps, interrupts, system calls, the switch between two kernel
 * stacks, and the only instructions that touch a program's memory.
 *
 * Every way in leaves the same struct trap_frame (cpu.h) on the process's kernel stack and every
 * way out is trap_return.  A return is always an iretq, which restores all of the state and has no
 * trap of its own for addresses that sysret would choke on.
 *
 * With one CPU, the two words that `syscall` needs (where the kernel stack is, where to put the
 * user's rsp) are plain variables and GS stays the program's.
 */
    .text

    .macro SAVE
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm

    .globl syscall_entry
syscall_entry:
    movq %rsp, syscall_user_rsp(%rip)
    movq syscall_kernel_rsp(%rip), %rsp
    pushq $0x1b
    pushq syscall_user_rsp(%rip)
    pushq %r11
    pushq $0x23
    pushq %rcx
    pushq $0
    pushq $256
    SAVE
    movq %rsp, %rdi
    call syscall_handle
    jmp trap_return

trap_common:
    clac                        /* a program can set AC itself */
    SAVE
    cld
    movq %rsp, %rdi
    call trap_handle
    /* fall through */

    .globl trap_return
trap_return:
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    addq $16, %rsp
    iretq

/* The first instructions of a new process: its frame lies on top of its stack. */
    .globl process_first
process_first:
    movq %rsp, %rdi
    call process_started
    jmp trap_return

/* What a C function expects to find again. */
    .macro PUSH_CALLEE_SAVED
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm
    .macro POP_CALLEE_SAVED
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    .endm

/* void context_switch(uint64_t *save, uint64_t load) */
    .globl context_switch
context_switch:
    PUSH_CALLEE_SAVED
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    POP_CALLEE_SAVED
    ret

/*
 * void user_execute(uint64_t rip): go to user mode at rip, with interrupts off and no stack.
 * user_execute_end, called on any other kernel stack, makes it return.
 */
    .globl user_execute, user_execute_end
user_execute:
    PUSH_CALLEE_SAVED
    movq %rsp, user_execute_rsp(%rip)
    pushq $0x1b
    pushq $0
    pushq $2
    pushq $0x23
    pushq %rdi
    iretq
user_execute_end:
    movq user_execute_rsp(%rip), %rsp
    POP_CALLEE_SAVED
    ret

/*
 * A fault at an address in [user_access_start, user_access_end) that quire_fault cannot resolve
 * goes on at user_access_failed (see trap.c) with the same registers.
 */
    .globl user_access_start, user_access_end, user_access_failed
user_access_start:

/* size_t user_copy(void *to, const void *from, size_t n): the number of bytes not copied. */
    .globl user_copy
user_copy:
    stac
    movq %rdx, %rcx
    movl %edx, %eax
    shrq $3, %rcx
    rep movsq
    movl %eax, %ecx
    andl $7, %ecx
    rep movsb
    clac
    xorl %eax, %eax
    ret

/*
 * long user_string(char *to, const char *from, size_t max): the length before the 0, or max; < 0:
 * fault.
 */
    .globl user_string
user_string:
    stac
    xorl %eax, %eax
1:  cmpq %rdx, %rax
    jae 2f
    movb (%rsi, %rax), %cl
    movb %cl, (%rdi, %rax)
    testb %cl, %cl
    jz 2f
    incq %rax
    jmp 1b
2:  clac
    ret
user_access_end:

user_access_failed:
    clac
    movq $-1, %rax
    ret

/* Vectors 0..47: one stub each, 16 bytes apart. */
    .align 16
    .globl trap_stubs
trap_stubs:
    vector = 0
    .rept 48
    .align 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    vector = vector + 1
    .endr

    .data
    .align 8
    .globl syscall_kernel_rsp
syscall_kernel_rsp: .quad 0
syscall_user_rsp:   .quad 0
user_execute_rsp:   .quad 0

    .section .note.GNU-stack, "", @progbits
