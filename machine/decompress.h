/*
 * Decompression of Linux kernel payloads: gzip, zstd, xz, lzma (the old .lzma format) and lz4 (the
 * legacy frame format). A payload ends with the size of its content as 4 bytes, little endian; for
 * gzip these are part of the format, for the others the kernel's build appends them.
 */
#ifndef MACHINE_DECOMPRESS_H
#define MACHINE_DECOMPRESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The format of the payload by its first bytes, in words ("gzip"); NULL: not one of these. */
const char *decompress_format(const uint8_t *payload, size_t length);

/* The content, of *content_length bytes (1 to limit), to be freed with free(). NULL and err when
 * the format is unknown, the data is damaged, or the content is larger than limit. */
uint8_t *decompress_payload(const uint8_t *payload, size_t length, size_t limit,
                            size_t *content_length, struct error *err);

#endif
