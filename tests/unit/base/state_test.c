#include "base/state.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct thing {
    bool flag;
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    uint8_t bytes[5];
};

static void thing_serialize(struct thing *t, struct state *s)
{
    state_section(s, "thing", 3);
    state_bool(s, &t->flag);
    state_u8(s, &t->a);
    state_u16(s, &t->b);
    state_u32(s, &t->c);
    state_u64(s, &t->d);
    state_bytes(s, t->bytes, sizeof(t->bytes));
}

static const struct thing sample = {true, 1, 0x2345, 0x6789abcd, 0xfedcba9876543210, "abcd"};

/* The bytes of a saved sample, in a copy whose end the address sanitizer knows. */
static uint8_t *save_sample(size_t *length)
{
    struct state *s = state_create_saving();
    struct thing t = sample;
    uint8_t *copy;
    const void *bytes;

    thing_serialize(&t, s);
    ck_assert(state_finish(s, NULL));
    bytes = state_data(s, length);
    copy = malloc(*length);
    memcpy(copy, bytes, *length);
    state_destroy(s);
    return copy;
}

START_TEST(a_sealed_stream_that_was_changed_anywhere_fails)
{
    struct state *s = state_create_saving();
    struct thing t = sample;
    uint8_t bytes[256];
    const void *saved;
    size_t length;

    thing_serialize(&t, s);
    state_seal(s);
    saved = state_data(s, &length);
    memcpy(bytes, saved, length);
    state_destroy(s);
    for (size_t n = 0; n <= 2 * length; n++) {
        size_t cut = n < length ? n : length;

        if (n >= length && n < 2 * length)
            bytes[n - length] ^= 0x10;
        s = state_create_loading(bytes, cut);
        state_verify_seal(s);
        thing_serialize(&t, s);
        ck_assert(state_finish(s, NULL) == (n == 2 * length));
        state_destroy(s);
        if (n >= length && n < 2 * length)
            bytes[n - length] ^= 0x10;
    }
    ck_assert_int_eq(memcmp(&t.d, &sample.d, sizeof(t.d)), 0);
}
END_TEST

START_TEST(what_was_saved_is_what_is_loaded)
{
    size_t length;
    uint8_t *bytes = save_sample(&length);
    struct state *s = state_create_loading(bytes, length);
    struct error err = {0};
    struct thing t;

    memset(&t, 0xee, sizeof(t));
    ck_assert(state_is_loading(s));
    thing_serialize(&t, s);
    ck_assert(state_finish(s, &err));
    ck_assert(t.flag);
    ck_assert_uint_eq(t.a, sample.a);
    ck_assert_uint_eq(t.b, sample.b);
    ck_assert_uint_eq(t.c, sample.c);
    ck_assert_uint_eq(t.d, sample.d);
    ck_assert_mem_eq(t.bytes, sample.bytes, sizeof(t.bytes));
    state_destroy(s);
    free(bytes);
}
END_TEST

START_TEST(the_format_is_little_endian_on_every_host)
{
    static const uint8_t expected[] = {
        'G',  'N',  'S',  'T',  5,    't',  'h',  'i',  'n',  'g',  3,    0,
        0,    0,    1,    1,    0x45, 0x23, 0xcd, 0xab, 0x89, 0x67, 0x10, 0x32,
        0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 'a',  'b',  'c',  'd',  0,
    };
    size_t length;
    uint8_t *bytes = save_sample(&length);

    ck_assert_uint_eq(length, sizeof(expected));
    ck_assert_mem_eq(bytes, expected, length);
    free(bytes);
}
END_TEST

START_TEST(a_stream_cut_anywhere_fails_and_leaves_zeroes)
{
    size_t length;
    uint8_t *bytes = save_sample(&length);

    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = malloc(cut + 1);
        struct error err = {0};
        struct thing t;
        struct state *s;

        memcpy(part, bytes, cut);
        part = realloc(part, cut > 0 ? cut : 1);
        memset(&t, 0xee, sizeof(t));
        s = state_create_loading(part, cut);
        thing_serialize(&t, s);
        ck_assert(state_failed(s));
        ck_assert(!state_finish(s, &err));
        ck_assert(err.set);
        ck_assert_uint_eq(t.bytes[0], 0);
        state_destroy(s);
        free(part);
    }
    free(bytes);
}
END_TEST

START_TEST(left_over_bytes_fail_the_stream)
{
    size_t length;
    uint8_t *bytes = save_sample(&length);
    struct error err = {0};
    struct state *s;
    struct thing t;

    bytes = realloc(bytes, length + 1);
    bytes[length] = 0;
    s = state_create_loading(bytes, length + 1);
    thing_serialize(&t, s);
    ck_assert(!state_failed(s));
    ck_assert(!state_finish(s, &err));
    state_destroy(s);
    free(bytes);
}
END_TEST

START_TEST(another_section_name_is_refused_and_both_are_named)
{
    size_t length;
    uint8_t *bytes = save_sample(&length);
    struct state *s = state_create_loading(bytes, length);
    struct error err = {0};

    state_section(s, "pit", 3);
    ck_assert(!state_finish(s, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "'thing'"));
    ck_assert_ptr_nonnull(strstr(err.text, "'pit'"));
    state_destroy(s);
    free(bytes);
}
END_TEST

START_TEST(another_section_version_is_refused)
{
    size_t length;
    uint8_t *bytes = save_sample(&length);
    struct state *s = state_create_loading(bytes, length);
    struct error err = {0};

    state_section(s, "thing", 4);
    ck_assert(!state_finish(s, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "version 3"));
    state_destroy(s);
    free(bytes);
}
END_TEST

START_TEST(a_flag_other_than_0_and_1_is_refused)
{
    static const uint8_t two[] = {2};
    struct state *s = state_create_loading(two, sizeof(two));
    bool flag = true;

    state_bool(s, &flag);
    ck_assert(state_failed(s));
    ck_assert(!flag);
    state_destroy(s);
}
END_TEST

START_TEST(a_failed_range_check_fails_the_stream_with_its_reason)
{
    static const uint8_t bytes[] = {9, 7};
    struct state *s = state_create_loading(bytes, sizeof(bytes));
    struct error err = {0};
    uint8_t v;

    state_u8(s, &v);
    state_check(s, v < 8, "the channel is out of range");
    state_u8(s, &v);
    ck_assert_uint_eq(v, 0);
    ck_assert(!state_finish(s, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "the channel is out of range"));
    state_destroy(s);
}
END_TEST

START_TEST(a_saving_stream_ignores_range_checks)
{
    struct state *s = state_create_saving();

    state_check(s, false, "not asked");
    ck_assert(state_finish(s, NULL));
    state_destroy(s);
}
END_TEST

START_TEST(the_buffer_grows_as_needed)
{
    static uint8_t block[100000], back[100000];
    struct state *s = state_create_saving();
    struct state *in;
    size_t length;
    const void *bytes;

    memset(block, 0x5a, sizeof(block));
    for (int i = 0; i < 20; i++)
        state_bytes(s, block, sizeof(block));
    bytes = state_data(s, &length);
    ck_assert_uint_eq(length, 20 * sizeof(block));
    in = state_create_loading(bytes, length);
    for (int i = 0; i < 20; i++)
        state_bytes(in, back, sizeof(back));
    ck_assert(state_finish(in, NULL));
    ck_assert_mem_eq(back, block, sizeof(block));
    state_destroy(in);
    state_destroy(s);
}
END_TEST

START_TEST(random_damage_never_reads_outside_the_stream)
{
    const char *given = getenv("GNOMON_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    size_t length;
    uint8_t *bytes = save_sample(&length);
    struct thing t;

    printf("GNOMON_SEED=%u\n", seed);
    srand(seed);
    for (int i = 0; i < 10000; i++) {
        size_t at = (size_t)rand() % length;
        uint8_t old = bytes[at];
        struct state *s = state_create_loading(bytes, length);
        bytes[at] = (uint8_t)rand();
        thing_serialize(&t, s);
        state_finish(s, NULL);
        state_destroy(s);
        bytes[at] = old;
    }
    free(bytes);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("state");

    tcase_add_test(tc, a_sealed_stream_that_was_changed_anywhere_fails);
    tcase_add_test(tc, what_was_saved_is_what_is_loaded);
    tcase_add_test(tc, the_format_is_little_endian_on_every_host);
    tcase_add_test(tc, a_stream_cut_anywhere_fails_and_leaves_zeroes);
    tcase_add_test(tc, left_over_bytes_fail_the_stream);
    tcase_add_test(tc, another_section_name_is_refused_and_both_are_named);
    tcase_add_test(tc, another_section_version_is_refused);
    tcase_add_test(tc, a_flag_other_than_0_and_1_is_refused);
    tcase_add_test(tc, a_failed_range_check_fails_the_stream_with_its_reason);
    tcase_add_test(tc, a_saving_stream_ignores_range_checks);
    tcase_add_test(tc, the_buffer_grows_as_needed);
    tcase_add_test(tc, random_damage_never_reads_outside_the_stream);
    return run_suite("state", tc);
}
