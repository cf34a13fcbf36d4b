/* In place of decompress.c in builds without libraries: payloads are known, and refused. */
#include "base/bits.h"
#include "machine/decompress.h"

#include <string.h>

static const struct {
    const char *name;
    uint8_t magic[6];
    unsigned magic_length;
} formats[] = {
    {"gzip", {0x1f, 0x8b}, 2},
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4},
    {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6},
    {"lzma", {0x5d, 0, 0}, 3},
    {"lz4", {0x02, 0x21, 0x4c, 0x18}, 4},
};

const char *decompress_format(const uint8_t *payload, size_t length)
{
    for (size_t n = 0; n < ARRAY_SIZE(formats); n++)
        if (length >= formats[n].magic_length &&
            memcmp(payload, formats[n].magic, formats[n].magic_length) == 0)
            return formats[n].name;
    return NULL;
}

uint8_t *decompress_payload(const uint8_t *payload, size_t length, size_t limit,
                            size_t *content_length, struct error *err)
{
    const char *format = decompress_format(payload, length);

    (void)limit;
    (void)content_length;
    if (format == NULL)
        error_set(err, "the payload's compression is unknown");
    else
        error_set(err, "this build has no libraries and cannot unpack a %s payload", format);
    return NULL;
}
