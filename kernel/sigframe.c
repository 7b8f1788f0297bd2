/* SPDX-License-Identifier: MIT */
/*
 * The frame on a program's stack that a handler runs on: Linux's x86-64 rt_sigframe.
 *
 *   (stack, less the red zone)
 *   512 bytes of FPU state           at a multiple of 64
 *   siginfo, mask, machine context   <- %rsi, %rdx point into these
 *   return address: the restorer     <- %rsp of the handler, 8 less than a multiple of 16
 *
 * handler_enter writes it and sends the program to its handler, on the alternate stack if the
 * program has one and asked for it.  The restorer calls rt_sigreturn, which takes everything back
 * out of the frame.  By then the frame is the program's own bytes: flags and selectors are forced
 * to what a program may have, the FPU state is cleaned, and user_return looks at the address.
 */
#include "process.h"

enum {
    SA_RESTORER = 0x4000000,
    SA_ONSTACK = 0x8000000,
    SA_NODEFER = 0x40000000,
    SS_ONSTACK = 1,
    SS_DISABLE = 2,
    RED_ZONE = 128,
};
#define SA_RESETHAND 0x80000000u

struct machine_context {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
        rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, cr2, fpu, reserved[8];
};

struct user_stack {
    uint64_t base;
    uint32_t flags, padding;
    uint64_t size;
};

struct signal_frame {
    uint64_t restorer;
    uint64_t flags, link;
    struct user_stack stack;
    struct machine_context machine;
    uint64_t mask;
    struct user_siginfo info;
};
_Static_assert(sizeof(struct machine_context) == 256, "struct sigcontext_64");
_Static_assert(sizeof(struct signal_frame) == 440, "struct rt_sigframe");

static bool on_alt_stack(const struct proc_signals *s, uint64_t rsp)
{
    return s->alt_size != 0 && rsp - s->alt_base <= s->alt_size && rsp != s->alt_base;
}

static void frame_fill(struct signal_frame *u, const struct trap_frame *f, int sig,
                       const struct signal_info *info)
{
    const struct proc_signals *s = current->signals;
    struct machine_context *m = &u->machine;

    *u = (struct signal_frame){.flags = 6};
    u->stack = (struct user_stack){s->alt_base, s->alt_size ? on_alt_stack(s, f->rsp) : SS_DISABLE,
                                   0, s->alt_size};
    *m = (struct machine_context){
        .r8 = f->r8,
        .r9 = f->r9,
        .r10 = f->r10,
        .r11 = f->r11,
        .r12 = f->r12,
        .r13 = f->r13,
        .r14 = f->r14,
        .r15 = f->r15,
        .rdi = f->rdi,
        .rsi = f->rsi,
        .rbp = f->rbp,
        .rbx = f->rbx,
        .rdx = f->rdx,
        .rax = f->rax,
        .rcx = f->rcx,
        .rsp = f->rsp,
        .rip = f->rip,
        .rflags = f->rflags,
        .cs = SELECTOR_USER_CODE,
        .ss = SELECTOR_USER_DATA,
        .error = s->last_error,
        .trap = s->last_trap,
        .cr2 = info->address,
    };
    u->info.number = sig;
    u->info.code = info->code;
    if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP) {
        u->info.u.address = info->address;
    }
    if (info->code <= 0 || sig == SIGCHLD) {
        u->info.u.child.pid = info->pid;
        u->info.u.child.uid = info->uid;
        u->info.u.child.status = info->status;
    }
}

/*
 * A handler outside of a program's addresses must not be left to the jump: user_return would answer
 * it with another SIGSEGV, and with SA_NODEFER and an alternate stack go round for ever.
 */
bool handler_enter(struct trap_frame *f, int sig, const struct signal_info *info)
{
    struct proc_signals *s = current->signals;
    struct signal_action action = s->actions[sig - 1];
    struct signal_frame u;
    uint64_t sp = f->rsp - RED_ZONE, fpu;

    if (!(action.flags & SA_RESTORER) || action.handler >= USER_HIGH)
        return false;
    if (action.flags & SA_ONSTACK && s->alt_size && !on_alt_stack(s, f->rsp))
        sp = s->alt_base + s->alt_size;
    fpu = (sp - FPU_SIZE) & ~UINT64_C(63);
    sp = ((fpu - sizeof u) & ~UINT64_C(15)) - 8;
    frame_fill(&u, f, sig, info);
    u.restorer = action.restorer;
    u.machine.fpu = fpu;
    u.mask = s->restore_blocked ? s->saved_blocked : s->blocked;
    u.machine.old_mask = u.mask;
    fpu_save(current->fpu);
    if (copy_out(fpu, current->fpu, FPU_SIZE) || copy_out(sp, &u, sizeof u))
        return false;
    s->restore_blocked = false;
    s->blocked |= action.mask;
    if (!(action.flags & SA_NODEFER))
        s->blocked |= signal_bit(sig);
    s->blocked &= ~UNBLOCKABLE;
    if (action.flags & SA_RESETHAND)
        s->actions[sig - 1].handler = HANDLER_DEFAULT;
    f->rdi = (uint64_t)sig;
    f->rsi = sp + offsetof(struct signal_frame, info);
    f->rdx = sp + offsetof(struct signal_frame, flags);
    f->rax = 0;
    f->rsp = sp;
    f->rip = action.handler;
    f->rflags &= ~(uint64_t)(RFLAGS_DF | RFLAGS_TF);
    return true;
}

long sys_rt_sigreturn(const uint64_t *a)
{
    struct trap_frame *f = current->frame;
    struct signal_frame u;
    const struct machine_context *m = &u.machine;

    (void)a;
    if (copy_in(&u, f->rsp - 8, sizeof u) || (m->fpu && copy_in(current->fpu, m->fpu, FPU_SIZE))) {
        signal_force(SIGSEGV, SI_KERNEL, 0);
        return 0;
    }
    if (m->fpu) {
        fpu_sanitize(current->fpu);
        fpu_load(current->fpu);
    }
    *f = (struct trap_frame){
        .r8 = m->r8,
        .r9 = m->r9,
        .r10 = m->r10,
        .r11 = m->r11,
        .r12 = m->r12,
        .r13 = m->r13,
        .r14 = m->r14,
        .r15 = m->r15,
        .rdi = m->rdi,
        .rsi = m->rsi,
        .rbp = m->rbp,
        .rbx = m->rbx,
        .rdx = m->rdx,
        .rax = m->rax,
        .rcx = m->rcx,
        .rsp = m->rsp,
        .rip = m->rip,
        .rflags = (m->rflags & RFLAGS_USER) | RFLAGS_FIXED | RFLAGS_IF,
        .cs = SELECTOR_USER_CODE,
        .ss = SELECTOR_USER_DATA,
        .vector = SYSCALL_VECTOR,
    };
    current->signals->blocked = u.mask & ~UNBLOCKABLE;
    return (long)m->rax;
}

long sys_sigaltstack(const uint64_t *a)
{
    struct proc_signals *s = current->signals;
    bool busy = on_alt_stack(s, current->frame->rsp);
    struct user_stack old = {s->alt_base, s->alt_size ? busy : SS_DISABLE, 0, s->alt_size};
    struct user_stack new;

    if (a[0]) {
        if (copy_in(&new, a[0], sizeof new))
            return -EFAULT;
        if (busy)
            return -EPERM;
        if (new.flags & ~(uint32_t)(SS_DISABLE | SS_ONSTACK))
            return -EINVAL;
        if (!(new.flags &SS_DISABLE) && new.size < SIGNAL_STACK_MIN)
            return -ENOMEM;
    }
    if (a[1] && copy_out(a[1], &old, sizeof old))
        return -EFAULT;
    if (a[0]) {
        s->alt_base = new.flags &SS_DISABLE ? 0 : new.base;
        s->alt_size = new.flags &SS_DISABLE ? 0 : new.size;
    }
    return 0;
}
