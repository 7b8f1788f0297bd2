/* SPDX-License-Identifier: MIT */
/*
 * The floor under the test programs: where a program starts, how it prints, and the helpers that
 * nearly every test wants.
 *
 * _start finds argc, argv and envp on the stack as the kernel left them, and calls user_main.  The
 * stack is aligned by hand, since the kernel promises alignment at _start and a C function expects
 * it after a call.  print collects a whole line in a buffer on the stack and writes it at once, so
 * that lines of several processes do not mix.
 */
#include "user.h"

int user_main(int argc, char **argv, char **envp);

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call user_start\n"
        "    ud2\n"
        ".globl signal_return\n"
        "signal_return:\n"
        "    mov $15, %eax\n"
        "    syscall\n"
        "    ud2\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");

void signal_return(void);
_Noreturn void user_start(uint64_t *stack);

_Noreturn void user_start(uint64_t *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);

    sys_exit(user_main(argc, argv, argv + argc + 1));
}

size_t string_length(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0') {
        n++;
    }
    return n;
}

bool string_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool string_starts(const char *s, const char *prefix)
{
    while (*prefix != '\0') {
        if (*s++ != *prefix++) {
            return false;
        }
    }
    return true;
}

/* In assembly, because a compiler may turn a loop that copies into a call of memcpy. */
void *memcpy(void *to, const void *from, size_t length)
{
    void *t = to;

    __asm__ volatile("rep movsb" : "+D"(t), "+S"(from), "+c"(length) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if (t < f) {
        return memcpy(to, from, length);
    }
    t += length - 1;
    f += length - 1;
    __asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(t), "+S"(f), "+c"(length) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    void *t = to;

    __asm__ volatile("rep stosb" : "+D"(t), "+c"(length) : "a"(byte) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
    const uint8_t *x = a;
    const uint8_t *y = b;

    for (size_t i = 0; i < length; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

struct line {
    char text[512];
    size_t used;
};

static void line_char(struct line *line, char c)
{
    if (line->used < sizeof(line->text)) {
        line->text[line->used++] = c;
    }
}

static void line_number(struct line *line, uint64_t value, unsigned base)
{
    char digits[24];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (n > 0) {
        line_char(line, digits[--n]);
    }
}

static void line_signed(struct line *line, int64_t value)
{
    if (value < 0) {
        line_char(line, '-');
    }
    line_number(line, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

void print(const char *format, ...)
{
    struct line line = {.used = 0};
    va_list args;

    va_start(args, format);
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            line_char(&line, *format);
            continue;
        }
        bool wide = format[1] == 'l';
        format += wide ? 2 : 1;
        switch (*format) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s != '\0'; s++) {
                line_char(&line, *s);
            }
            break;
        case 'c': line_char(&line, (char)va_arg(args, int)); break;
        case 'd': line_signed(&line, wide ? va_arg(args, long) : va_arg(args, int)); break;
        default:
            line_number(&line, wide ? va_arg(args, unsigned long) : va_arg(args, unsigned),
                        *format == 'x' ? 16 : 10);
            break;
        }
    }
    va_end(args);
    (void)sys_write(1, line.text, line.used);
}

void sleep_ms(int ms)
{
    struct timespec wait = {ms / 1000, (int64_t)(ms % 1000) * 1000000};

    (void)call3(SYS_nanosleep, address_of(&wait), address_of(&wait), 0);
}

int64_t clock_ms(void)
{
    struct timespec now = {0, 0};

    (void)call3(SYS_clock_gettime, 1, address_of(&now), 0);
    return now.seconds * 1000 + now.nanoseconds / 1000000;
}

void signal_set(int signal, uint64_t handler, uint64_t flags)
{
    struct sigaction action = {handler, flags | SA_RESTORER, (uint64_t)(uintptr_t)signal_return, 0};

    EXPECT_EQUAL(call6(SYS_rt_sigaction, (uint64_t)signal, address_of(&action), 0, 8, 0, 0), 0);
}

static uint8_t *memory_map(uint64_t count, int flags)
{
    long at = sys_mmap(0, count * PAGE, PROT_RW, flags | MAP_ANONYMOUS);

    EXPECT(at > 0);
    return pointer_to((uint64_t)at);
}

uint8_t *pages_map(uint64_t count) { return memory_map(count, MAP_PRIVATE); }

uint8_t *pages_share(uint64_t count) { return memory_map(count, MAP_SHARED); }

int child_wait(int pid)
{
    int status = -1;
    int got;

    do {
        got = sys_wait4(pid, &status, 0);
    } while (got == -EINTR);
    EXPECT_EQUAL(got, pid);
    return status;
}

int child_fork(void)
{
    int pid = sys_fork();

    EXPECT(pid >= 0);
    return pid;
}

_Noreturn void test_failed(const char *file, int line, const char *what, long value)
{
    print("  %s:%d: %s (is %ld)\n", file, line, what, value);
    sys_exit(1);
}
