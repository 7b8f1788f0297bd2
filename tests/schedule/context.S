/* SPDX-License-Identifier: MIT */
/*
 * Switching between coroutines.
 *
 * context_switch(save, load): push what a C function must preserve, keep the stack pointer at
 * *save, and go on with the stack whose pointer is `load`, which was left here in the same way (or
 * prepared to look so, see context_prepare in machine.c).  Nothing else has to be kept: the code on
 * these stacks uses no floating point modes and no thread-local state.
 */
    .text
    .globl context_switch
    .type context_switch, @function
    .p2align 4
context_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size context_switch, . - context_switch
    .section .note.GNU-stack, "", @progbits
