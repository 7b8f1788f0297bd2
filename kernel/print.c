/* SPDX-License-Identifier: MIT */
/*
 * Formatted text: the integer and string part of C's printf, and the two ways to use it.  Nothing
 * here allocates, so it works in a panic.
 */
#include "cpu.h"

struct sink {
    char *to;
    size_t size, length;
};

struct spec {
    bool left, zero, alternate, upper;
    char sign;            /* 0, '+' or ' ' */
    int width, precision; /* precision < 0: none */
};

static void sink_put(struct sink *s, char c)
{
    if (s->length + 1 < s->size)
        s->to[s->length] = c;
    s->length++;
}

static void sink_pad(struct sink *s, char c, int n)
{
    while (n-- > 0)
        sink_put(s, c);
}

static void put_text(struct sink *s, const struct spec *p, const char *text)
{
    size_t max = p->precision >= 0 ? (size_t)p->precision : SIZE_MAX;
    size_t n;

    if (!text)
        text = "(null)";
    n = strnlen(text, max);
    if (!p->left)
        sink_pad(s, ' ', p->width - (int)n);
    for (size_t i = 0; i < n; i++)
        sink_put(s, text[i]);
    if (p->left)
        sink_pad(s, ' ', p->width - (int)n);
}

static void put_number(struct sink *s, const struct spec *p, uint64_t value, unsigned base,
                       char sign)
{
    const char *digits = p->upper ? "0123456789ABCDEF" : "0123456789abcdef";
    const char *prefix = p->alternate && base == 16 && value ? (p->upper ? "0X" : "0x") : "";
    char text[24];
    int n = 0, zeros = 0, total;

    do {
        text[n++] = digits[value % base];
        value /= base;
    } while (value);
    if (p->precision > n)
        zeros = p->precision - n;
    total = n + zeros + (sign ? 1 : 0) + (int)strlen(prefix);
    if (p->zero && !p->left && p->precision < 0 && p->width > total) {
        zeros += p->width - total;
        total = p->width;
    }
    if (!p->left)
        sink_pad(s, ' ', p->width - total);
    if (sign)
        sink_put(s, sign);
    for (; *prefix; prefix++)
        sink_put(s, *prefix);
    sink_pad(s, '0', zeros);
    while (n > 0)
        sink_put(s, text[--n]);
    if (p->left)
        sink_pad(s, ' ', p->width - total);
}

static const char *parse_number(const char *f, int *out, va_list *list)
{
    if (*f == '*') {
        *out = va_arg(*list, int);
        return f + 1;
    }
    for (*out = 0; *f >= '0' && *f <= '9'; f++)
        *out = *out * 10 + (*f - '0');
    return f;
}

static const char *parse_spec(const char *f, struct spec *p, va_list *list)
{
    *p = (struct spec){.precision = -1};
    for (;; f++) {
        if (*f == '-')
            p->left = true;
        else if (*f == '0')
            p->zero = true;
        else if (*f == '#')
            p->alternate = true;
        else if (*f == '+')
            p->sign = '+';
        else if (*f == ' ' && !p->sign)
            p->sign = ' ';
        else
            break;
    }
    f = parse_number(f, &p->width, list);
    if (p->width < 0) {
        p->left = true;
        p->width = -p->width;
    }
    if (*f == '.')
        f = parse_number(f + 1, &p->precision, list);
    return f;
}

/* Skip a length modifier; bytes of the argument, which is passed as int or as a 64-bit word. */
static const char *parse_length(const char *f, unsigned *bytes)
{
    *bytes = 4;
    for (;; f++) {
        if (*f == 'h')
            *bytes /= 2;
        else if (*f == 'l' || *f == 'z' || *f == 't' || *f == 'j')
            *bytes = 8;
        else
            return f;
    }
}

static uint64_t unsigned_argument(va_list *list, unsigned bytes)
{
    if (bytes == 8)
        return va_arg(*list, uint64_t);
    uint32_t value = va_arg(*list, unsigned);
    return bytes == 4 ? value : bytes == 2 ? (uint16_t)value : (uint8_t)value;
}

static void put_signed(struct sink *s, const struct spec *p, va_list *list, unsigned bytes)
{
    uint64_t raw = unsigned_argument(list, bytes);
    int64_t value = bytes == 8   ? (int64_t)raw
                    : bytes == 4 ? (int32_t)raw
                    : bytes == 2 ? (int16_t)raw
                                 : (int8_t)raw;

    put_number(s, p, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0 ? '-' : p->sign);
}

static void put_argument(struct sink *s, struct spec *p, char kind, va_list *list, unsigned bytes)
{
    char one[2] = {0, 0};

    switch (kind) {
    case 'd':
    case 'i': put_signed(s, p, list, bytes); break;
    case 'u': put_number(s, p, unsigned_argument(list, bytes), 10, 0); break;
    case 'o': put_number(s, p, unsigned_argument(list, bytes), 8, 0); break;
    case 'X':
        p->upper = true;
        put_number(s, p, unsigned_argument(list, bytes), 16, 0);
        break;
    case 'x': put_number(s, p, unsigned_argument(list, bytes), 16, 0); break;
    case 'p':
        p->alternate = true;
        put_number(s, p, (uintptr_t)va_arg(*list, void *), 16, 0);
        break;
    case 'c':
        one[0] = (char)va_arg(*list, int);
        put_text(s, p, one);
        break;
    case 's': put_text(s, p, va_arg(*list, const char *)); break;
    default: sink_put(s, kind); break;
    }
}

/* C's vsnprintf for the conversions that kernel.h lists. */
int kvsnprintf(char *to, size_t size, const char *format, va_list list)
{
    struct sink s = {to, size, 0};
    va_list arguments;

    va_copy(arguments, list);
    for (const char *f = format; *f; f++) {
        struct spec p;
        unsigned bytes;

        if (*f != '%') {
            sink_put(&s, *f);
            continue;
        }
        f = parse_length(parse_spec(f + 1, &p, &arguments), &bytes);
        if (!*f)
            break;
        put_argument(&s, &p, *f, &arguments, bytes);
    }
    va_end(arguments);
    if (size)
        to[s.length < size ? s.length : size - 1] = 0;
    return (int)s.length;
}

int ksnprintf(char *to, size_t size, const char *format, ...)
{
    va_list list;
    int n;

    va_start(list, format);
    n = kvsnprintf(to, size, format, list);
    va_end(list);
    return n;
}

static void console_vprint(const char *format, va_list list)
{
    char text[512];

    kvsnprintf(text, sizeof text, format, list);
    for (const char *s = text; *s; s++) {
        if (*s == '\n')
            console_write("\r", 1);
        console_write(s, 1);
    }
}

void kprintf(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    console_vprint(format, list);
    va_end(list);
}

void machine_exit(unsigned code)
{
    out32(0xf4, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void panic(const char *format, ...)
{
    va_list list;

    kprintf("\nquire kernel panic: ");
    va_start(list, format);
    console_vprint(format, list);
    va_end(list);
    kprintf("\n");
    machine_exit(EXIT_PANIC);
}
