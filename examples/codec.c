/* SPDX-License-Identifier: MIT */
/*
 * LZ4 for a compressed store: what a program on an operating system hands in.
 *
 * The library is the system's (Debian: liblz4-dev); link with -llz4.  Its working memory is 16 KiB
 * for each page that is compressed at once, more than a kernel's stack likes, so it is told to use
 * what the store gives it.
 */
#include "codec.h"

#include <lz4.h>

static size_t compress(void *cookie, void *scratch, const void *page, void *to, size_t room)
{
    (void)cookie;
    return (size_t)LZ4_compress_fast_extState(scratch, page, to, (int)QUIRE_PAGE_SIZE, (int)room,
                                              1);
}

static bool decompress(void *cookie, void *scratch, const void *from, size_t length, void *page)
{
    (void)cookie;
    (void)scratch;
    return LZ4_decompress_safe(from, page, (int)length, (int)QUIRE_PAGE_SIZE) ==
           (int)QUIRE_PAGE_SIZE;
}

struct quire_codec lz4_codec(void)
{
    return (struct quire_codec){compress, decompress, (size_t)LZ4_sizeofState()};
}
