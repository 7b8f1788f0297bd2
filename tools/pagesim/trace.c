/* SPDX-License-Identifier: MIT */
/*
 * Reading, writing and numbering of traces (trace.h has the format).
 *
 * What is read is not trusted: a count only bounds the loop, and memory grows with what was really
 * there.
 */
#include "trace.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'q', 'u', 'i', 'r', 'e', 'p', 't', '1'};

void *trace_memory(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);

    if (!memory) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

void trace_add(struct trace *trace, uint64_t address, bool written)
{
    if (trace->count == trace->room) {
        trace->room = trace->room ? 2 * trace->room : 4096;
        uint64_t *raw = trace_memory(trace->room, sizeof *raw);
        if (trace->count)
            memcpy(raw, trace->raw, trace->count * sizeof *raw);
        free(trace->raw);
        trace->raw = raw;
    }
    trace->raw[trace->count++] = address << 1 | written;
}

static int address_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint32_t address_number(const struct trace *trace, uint64_t address)
{
    const uint64_t *found =
        bsearch(&address, trace->address, trace->pages, sizeof address, address_compare);

    return (uint32_t)(found - trace->address);
}

void trace_number(struct trace *trace)
{
    trace->address = trace_memory(trace->count, sizeof *trace->address);
    trace->reference = trace_memory(trace->count, sizeof *trace->reference);
    for (size_t i = 0; i < trace->count; i++)
        trace->address[i] = trace->raw[i] >> 1;
    qsort(trace->address, trace->count, sizeof *trace->address, address_compare);
    trace->pages = 0;
    for (size_t i = 0; i < trace->count; i++)
        if (i == 0 || trace->address[i] != trace->address[trace->pages - 1])
            trace->address[trace->pages++] = trace->address[i];
    for (size_t i = 0; i < trace->count; i++)
        trace->reference[i] = address_number(trace, trace->raw[i] >> 1) << 1 | (trace->raw[i] & 1);
    free(trace->raw);
    trace->raw = NULL;
}

void trace_free(struct trace *trace)
{
    free(trace->address);
    free(trace->raw);
    free(trace->reference);
    *trace = (struct trace){0};
}

static bool varint_read(FILE *file, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        int byte = getc(file);
        if (byte == EOF)
            return false;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static void varint_write(FILE *file, uint64_t value)
{
    for (; value > 127; value >>= 7)
        putc((int)(value & 127) | 128, file);
    putc((int)value, file);
}

bool trace_read(struct trace *trace, FILE *file)
{
    char begin[sizeof magic];
    uint64_t window, working, count, token, more, page = 0;

    *trace = (struct trace){0};
    if (fread(begin, sizeof begin, 1, file) != 1 || memcmp(begin, magic, sizeof magic) != 0)
        return false;
    if (!varint_read(file, &window) || !varint_read(file, &trace->accesses) ||
        !varint_read(file, &working) || !varint_read(file, &count))
        return false;
    trace->window = (uint32_t)window;
    trace->working = (uint32_t)working;
    while (trace->count < count) {
        more = 0;
        if (!varint_read(file, &token) || ((token & 1) && !varint_read(file, &more)) ||
            more >= count - trace->count) {
            trace_free(trace);
            return false;
        }
        uint64_t step = token >> 3 ^ -(token >> 2 & 1);
        for (more++; more; more--)
            trace_add(trace, page += step, token >> 1 & 1);
    }
    trace_number(trace);
    return true;
}

bool trace_write(const struct trace *trace, FILE *file)
{
    uint64_t page = 0;

    fwrite(magic, sizeof magic, 1, file);
    varint_write(file, trace->window);
    varint_write(file, trace->accesses);
    varint_write(file, trace->working);
    varint_write(file, trace->count);
    for (size_t i = 0, next; i < trace->count; i = next) {
        uint64_t step = (trace->raw[i] >> 1) - page, written = trace->raw[i] & 1;
        page += step;
        for (next = i + 1; next < trace->count; next++, page += step)
            if (trace->raw[next] != ((page + step) << 1 | written))
                break;
        uint64_t zigzag = step << 1 ^ -(step >> 63);
        varint_write(file, zigzag << 2 | written << 1 | (next > i + 1));
        if (next > i + 1)
            varint_write(file, next - i - 1);
    }
    return fflush(file) == 0 && !ferror(file);
}

bool trace_open(struct trace *trace, const char *name)
{
    size_t length = strlen(name);
    bool packed = length > 3 && strcmp(name + length - 3, ".xz") == 0;
    char command[512];

    if (packed && (size_t)snprintf(command, sizeof command, "xz -dc '%s'", name) >= sizeof command)
        return false;
    FILE *file = packed ? popen(command, "r") : fopen(name, "rb");
    if (!file)
        return false;
    bool ok = trace_read(trace, file);
    if (packed)
        pclose(file);
    else
        fclose(file);
    return ok;
}
