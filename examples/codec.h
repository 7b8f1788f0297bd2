/* SPDX-License-Identifier: MIT */
/*
 * A codec for compressed stores, over the LZ4 library of the operating system.  See codec.c.
 */
#ifndef EXAMPLES_CODEC_H
#define EXAMPLES_CODEC_H

#include <quire/quire.h>

/* The codec; its functions take no cookie. */
struct quire_codec lz4_codec(void);

#endif
