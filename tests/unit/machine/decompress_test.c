/* Payloads as kernel builds make them: the formats' own libraries pack, then the size follows. */
#include "machine/decompress.h"

#include "base/bits.h"
#include "machine/le.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define CONTENT_MAX (9u << 20) /* more than one block of lz4 */
#define PACKED_MAX  (CONTENT_MAX + (1u << 20))
#define LZ4_BLOCK   (8u << 20)

static uint8_t *content, *packed;

/* Half of it repeats, half does not. */
static void setup(void)
{
    uint32_t x = 1;

    content = malloc(CONTENT_MAX);
    packed = malloc(PACKED_MAX);
    for (size_t n = 0; n < CONTENT_MAX; n++) {
        x = x * 1664525 + 1013904223;
        content[n] = n & 4096 ? (uint8_t)(x >> 24) : (uint8_t)n;
    }
}

static void teardown(void)
{
    free(content);
    free(packed);
}

static size_t pack_gzip(size_t length)
{
    z_stream z = {.next_in = content,
                  .avail_in = (unsigned)length,
                  .next_out = packed,
                  .avail_out = PACKED_MAX};

    ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return PACKED_MAX - z.avail_out;
}

/* From a pipe: the frame does not tell the size. */
static size_t pack_zstd(size_t length)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = {content, length, 0};
    ZSTD_outBuffer out = {packed, PACKED_MAX, 0};

    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
    ck_assert_uint_eq(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(context);
    return out.pos;
}

/* With the filter for x86 code. */
static size_t pack_xz(size_t length)
{
    lzma_options_lzma options;
    lzma_filter filters[] = {
        {LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    size_t size = 0;

    ck_assert(!lzma_lzma_preset(&options, 0));
    ck_assert_int_eq(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, content, length,
                                               packed, &size, PACKED_MAX),
                     LZMA_OK);
    return size;
}

static size_t pack_lzma(size_t length)
{
    lzma_options_lzma options;
    lzma_stream stream = LZMA_STREAM_INIT;

    ck_assert(!lzma_lzma_preset(&options, 0));
    ck_assert_int_eq(lzma_alone_encoder(&stream, &options), LZMA_OK);
    stream.next_in = content;
    stream.avail_in = length;
    stream.next_out = packed;
    stream.avail_out = PACKED_MAX;
    ck_assert_int_eq(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
    lzma_end(&stream);
    return PACKED_MAX - stream.avail_out;
}

static size_t pack_lz4(size_t length)
{
    size_t used = 4;

    le32_put(packed, 0x184c2102);
    for (size_t at = 0; at < length; at += LZ4_BLOCK) {
        int part = (int)MIN(length - at, LZ4_BLOCK);
        int size = LZ4_compress_default((const char *)content + at, (char *)packed + used + 4, part,
                                        (int)(PACKED_MAX - used - 4));

        ck_assert_int_gt(size, 0);
        le32_put(packed + used, (uint32_t)size);
        used += 4 + (size_t)size;
    }
    return used;
}

static const struct {
    const char *name;
    size_t (*pack)(size_t length);
    bool trailer; /* the build appends the size */
} formats[] = {
    {"gzip", pack_gzip, false}, {"zstd", pack_zstd, true}, {"xz", pack_xz, true},
    {"lzma", pack_lzma, true},  {"lz4", pack_lz4, true},
};

/* Packs the first bytes of the content; returns the payload's length. */
static size_t pack(unsigned format, size_t length)
{
    size_t size = formats[format].pack(length);

    if (formats[format].trailer) {
        le32_put(packed + size, (uint32_t)length);
        size += 4;
    }
    return size;
}

/* decompress_payload on a copy of exactly this length, so that sanitizers see reads beyond. */
static uint8_t *unpack(size_t length, size_t limit, size_t *size, struct error *err)
{
    uint8_t *copy = malloc(length > 0 ? length : 1), *result;

    memcpy(copy, packed, length);
    result = decompress_payload(copy, length, limit, size, err);
    free(copy);
    return result;
}

static void check_refused(size_t length, size_t limit, const char *words)
{
    struct error err = {0};
    size_t size;

    ck_assert_ptr_null(unpack(length, limit, &size, &err));
    ck_assert_msg(strstr(err.text, words) != NULL, "'%s' is not in: %s", words, err.text);
}

START_TEST(each_format_gives_back_what_was_packed)
{
    static const size_t lengths[] = {1, 4096, 100000};

    for (unsigned n = 0; n < ARRAY_SIZE(lengths); n++) {
        size_t length = pack((unsigned)_i, lengths[n]), size = 0;
        struct error err = {0};
        uint8_t *result;

        ck_assert_str_eq(decompress_format(packed, length), formats[_i].name);
        result = unpack(length, lengths[n], &size, &err);
        ck_assert_msg(result != NULL, "%s", err.text);
        ck_assert_uint_eq(size, lengths[n]);
        ck_assert_mem_eq(result, content, size);
        free(result);
    }
}
END_TEST

START_TEST(lz4_goes_on_after_8_mib)
{
    size_t length = pack_lz4(CONTENT_MAX), size = 0;
    uint8_t *result;

    le32_put(packed + length, CONTENT_MAX);
    result = unpack(length + 4, CONTENT_MAX, &size, NULL);
    ck_assert_ptr_nonnull(result);
    ck_assert_uint_eq(size, CONTENT_MAX);
    ck_assert_int_eq(memcmp(result, content, CONTENT_MAX), 0);
    free(result);
}
END_TEST

START_TEST(content_above_the_limit_is_refused)
{
    size_t length = pack((unsigned)_i, 5000);

    check_refused(length, 4999, "unpacks to 5000 bytes, and 4999 is the limit");
}
END_TEST

START_TEST(a_wrong_size_at_the_end_is_refused)
{
    size_t length = pack((unsigned)_i, 5000);

    le32_put(packed + length - 4, 4999);
    check_refused(length, 1 << 20, "damaged");
    le32_put(packed + length - 4, 5001);
    check_refused(length, 1 << 20, "damaged");
    le32_put(packed + length - 4, 0);
    check_refused(length, 1 << 20, "unpacks to 0 bytes");
}
END_TEST

/* The size stays right: the loss is noticed anyway. */
START_TEST(a_payload_that_ends_early_is_refused)
{
    size_t length = pack((unsigned)_i, 5000);

    for (size_t cut = 1; cut < length; cut += cut < 32 ? 1 : 97) {
        pack((unsigned)_i, 5000);
        if (length - cut >= 4)
            le32_put(packed + length - cut - 4, 5000);
        check_refused(length - cut, 1 << 20, "payload");
    }
}
END_TEST

/* Any result is right but a wrong length. */
START_TEST(damaged_bytes_never_do_harm)
{
    size_t length = pack((unsigned)_i, 5000);

    for (size_t n = 0; n < length - 4; n += n < 64 ? 1 : 61) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct error err = {0};
            size_t size = 5000;
            uint8_t *result;

            packed[n] ^= (uint8_t)(1u << bit);
            result = unpack(length, 1 << 20, &size, &err);
            packed[n] ^= (uint8_t)(1u << bit);
            ck_assert_uint_eq(size, 5000);
            ck_assert(result != NULL || strlen(err.text) > 0);
            free(result);
        }
    }
}
END_TEST

START_TEST(what_is_no_payload_has_no_format)
{
    memcpy(packed, "BZh91AY&SY", 11);
    ck_assert_ptr_null(decompress_format(packed, 11));
    ck_assert_ptr_null(decompress_format(packed, 0));
    check_refused(11, 100, "unknown");
    pack(1, 100);
    ck_assert_ptr_null(decompress_format(packed, 3));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("payloads");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, each_format_gives_back_what_was_packed, 0, ARRAY_SIZE(formats));
    tcase_add_test(tc, lz4_goes_on_after_8_mib);
    tcase_add_loop_test(tc, content_above_the_limit_is_refused, 0, ARRAY_SIZE(formats));
    tcase_add_loop_test(tc, a_wrong_size_at_the_end_is_refused, 0, ARRAY_SIZE(formats));
    tcase_add_loop_test(tc, a_payload_that_ends_early_is_refused, 0, ARRAY_SIZE(formats));
    tcase_add_loop_test(tc, damaged_bytes_never_do_harm, 0, ARRAY_SIZE(formats));
    tcase_add_test(tc, what_is_no_payload_has_no_format);
    return run_suite("decompress", tc);
}
