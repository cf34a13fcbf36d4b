#include "machine/decompress.h"

#include "base/bits.h"
#include "machine/le.h"

#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define TRAILER_SIZE 4

/* Kernels are packed with dictionaries of at most 128 MiB. */
#define LZMA_MEMORY_LIMIT (256ull << 20)

#define LZ4_MAGIC_SIZE 4
#define LZ4_BLOCK_MAX  (8u << 20)

struct buffer {
    const uint8_t *in;
    size_t in_length; /* without the trailer, except for gzip */
    uint8_t *out;
    size_t out_length; /* as the trailer says */
};

static bool damaged(struct error *err, const char *format, const char *why)
{
    return error_set(err, "the %s payload is damaged (%s)", format, why);
}

static bool short_output(struct error *err, const char *format)
{
    return damaged(err, format, "its content has not the size that its last bytes say");
}

static bool unpack_gzip(const struct buffer *b, struct error *err)
{
    z_stream z = {0};
    int status;

    if (b->in_length > UINT_MAX || b->out_length > UINT_MAX)
        return damaged(err, "gzip", "too large");
    z.next_in = (uint8_t *)b->in;
    z.avail_in = (unsigned)b->in_length;
    z.next_out = b->out;
    z.avail_out = (unsigned)b->out_length;
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return error_set(err, "out of memory");
    status = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (status != Z_STREAM_END)
        return damaged(err, "gzip", z.msg != NULL ? z.msg : "it ends early or is too long");
    return z.avail_out == 0 || short_output(err, "gzip");
}

static bool unpack_zstd(const struct buffer *b, struct error *err)
{
    size_t length = ZSTD_decompress(b->out, b->out_length, b->in, b->in_length);

    if (ZSTD_isError(length))
        return damaged(err, "zstd", ZSTD_getErrorName(length));
    return length == b->out_length || short_output(err, "zstd");
}

static const char *lzma_reason(lzma_ret status)
{
    switch (status) {
    case LZMA_MEM_ERROR:
        return "out of memory";
    case LZMA_MEMLIMIT_ERROR:
        return "its dictionary is too large";
    case LZMA_FORMAT_ERROR:
    case LZMA_OPTIONS_ERROR:
        return "its header is invalid or of an unknown kind";
    case LZMA_OK:
    case LZMA_BUF_ERROR:
        return "it ends early or is too long";
    default:
        return "its data is invalid";
    }
}

static bool unpack_xz(const struct buffer *b, struct error *err)
{
    uint64_t memory = LZMA_MEMORY_LIMIT;
    size_t in = 0, out = 0;
    lzma_ret status = lzma_stream_buffer_decode(&memory, 0, NULL, b->in, &in, b->in_length, b->out,
                                                &out, b->out_length);

    if (status != LZMA_OK)
        return damaged(err, "xz", lzma_reason(status));
    return out == b->out_length || short_output(err, "xz");
}

static bool unpack_lzma(const struct buffer *b, struct error *err)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_ret status = lzma_alone_decoder(&stream, LZMA_MEMORY_LIMIT);

    stream.next_in = b->in;
    stream.avail_in = b->in_length;
    stream.next_out = b->out;
    stream.avail_out = b->out_length;
    if (status == LZMA_OK)
        status = lzma_code(&stream, LZMA_FINISH);
    lzma_end(&stream);
    if (status != LZMA_STREAM_END)
        return damaged(err, "lzma", lzma_reason(status));
    return stream.avail_out == 0 || short_output(err, "lzma");
}

/* After the magic number: blocks of at most 8 MiB of content, each after its compressed size. */
static bool unpack_lz4(const struct buffer *b, struct error *err)
{
    size_t in = LZ4_MAGIC_SIZE, out = 0;

    while (out < b->out_length) {
        size_t room = MIN(b->out_length - out, LZ4_BLOCK_MAX);
        size_t size;
        int written;

        if (b->in_length - in < 4)
            return damaged(err, "lz4", "it ends early");
        size = le32_get(b->in + in);
        in += 4;
        if (size == 0 || size > b->in_length - in || size > INT_MAX)
            return damaged(err, "lz4", "a block reaches beyond its end");
        written = LZ4_decompress_safe((const char *)b->in + in, (char *)b->out + out, (int)size,
                                      (int)room);
        if (written <= 0)
            return damaged(err, "lz4", "its data is invalid");
        in += size;
        out += (size_t)written;
    }
    return in == b->in_length || short_output(err, "lz4");
}

static const struct format {
    const char *name;
    uint8_t magic[6];
    unsigned magic_length;
    unsigned trailer; /* bytes at the end that are not the format's own */
    bool (*unpack)(const struct buffer *b, struct error *err);
} formats[] = {
    {"gzip", {0x1f, 0x8b}, 2, 0, unpack_gzip},
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, TRAILER_SIZE, unpack_zstd},
    {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, TRAILER_SIZE, unpack_xz},
    {"lzma", {0x5d, 0, 0}, 3, TRAILER_SIZE, unpack_lzma},
    {"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, TRAILER_SIZE, unpack_lz4},
};

static const struct format *find_format(const uint8_t *payload, size_t length)
{
    for (size_t n = 0; n < ARRAY_SIZE(formats); n++) {
        const struct format *f = &formats[n];

        if (length >= f->magic_length && memcmp(payload, f->magic, f->magic_length) == 0)
            return f;
    }
    return NULL;
}

const char *decompress_format(const uint8_t *payload, size_t length)
{
    const struct format *f = find_format(payload, length);

    return f != NULL ? f->name : NULL;
}

uint8_t *decompress_payload(const uint8_t *payload, size_t length, size_t limit,
                            size_t *content_length, struct error *err)
{
    const struct format *f = find_format(payload, length);
    struct buffer b = {.in = payload};

    if (f == NULL) {
        error_set(err, "the payload's compression is unknown");
        return NULL;
    }
    if (length < f->magic_length + TRAILER_SIZE) {
        damaged(err, f->name, "it ends early");
        return NULL;
    }
    b.in_length = length - f->trailer;
    b.out_length = le32_get(payload + length - TRAILER_SIZE);
    if (b.out_length == 0 || b.out_length > limit) {
        error_set(err, "the %s payload says that it unpacks to %zu bytes, and %zu is the limit",
                  f->name, b.out_length, limit);
        return NULL;
    }
    b.out = malloc(b.out_length);
    if (b.out == NULL) {
        error_set(err, "no memory for a payload of %zu bytes", b.out_length);
        return NULL;
    }
    if (!f->unpack(&b, err)) {
        free(b.out);
        return NULL;
    }
    *content_length = b.out_length;
    return b.out;
}
