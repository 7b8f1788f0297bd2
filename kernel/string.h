/* SPDX-License-Identifier: MIT */
/*
 * The part of C's <string.h> that the kernel has.  The contracts are C's.
 */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

/* Copy at most size - 1 bytes of `from` and end `to` with a 0; returns strlen(from), as BSD's. */
size_t strlcpy(char *to, const char *from, size_t size);

#endif
