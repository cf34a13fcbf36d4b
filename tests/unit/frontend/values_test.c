/* Values of options: numbers, sizes, times, dates, lists, and the nearest spelling. */
#include "frontend/values.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct error err;

static void setup(void)
{
    err = (struct error){0};
}

START_TEST(sizes_have_binary_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        {"512", 512ull << 20},    {"1G", 1ull << 30}, {"1g", 1ull << 30}, {"1.5G", 3ull << 29},
        {"2048M", 2048ull << 20}, {"64k", 64 << 10},  {"1T", 1ull << 40}, {"100B", 100},
        {"1GiB", 1ull << 30}};
    uint64_t size;

    for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
        ck_assert_msg(value_size("-m", rows[n].text, 1 << 20, &size, &err), "%s", err.text);
        ck_assert_uint_eq(size, rows[n].bytes);
    }
}
END_TEST

START_TEST(bad_sizes_are_named)
{
    static const char *const rows[] = {"", "x", "-1", "1X", "G", "1GG", "99999999T", " 1"};
    uint64_t size;

    for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
        err = (struct error){0};
        ck_assert_msg(!value_size("-m", rows[n], 1 << 20, &size, &err), "%s", rows[n]);
        ck_assert_ptr_nonnull(strstr(err.text, "-m"));
        ck_assert_ptr_nonnull(strstr(err.text, rows[n]));
    }
}
END_TEST

START_TEST(times_have_units_and_are_seconds_without)
{
    uint64_t ns;

    ck_assert(value_time("t", "5", &ns, &err));
    ck_assert_uint_eq(ns, 5000000000u);
    ck_assert(value_time("t", "0.25", &ns, &err));
    ck_assert_uint_eq(ns, 250000000u);
    ck_assert(value_time("t", "90s", &ns, &err));
    ck_assert_uint_eq(ns, 90000000000u);
    ck_assert(value_time("t", "3m", &ns, &err));
    ck_assert_uint_eq(ns, 180000000000u);
    ck_assert(value_time("t", "20ms", &ns, &err));
    ck_assert_uint_eq(ns, 20000000u);
    ck_assert(!value_time("t", "5 s", &ns, &err));
}
END_TEST

START_TEST(guest_time_is_seconds_or_instructions)
{
    uint64_t ns, count;

    ck_assert(value_guest_time("t", "5s", &ns, &count, &err));
    ck_assert_uint_eq(ns, 5000000000u);
    ck_assert_uint_eq(count, 0);
    ck_assert(value_guest_time("t", "1e9", &ns, &count, &err));
    ck_assert_uint_eq(count, 1000000000u);
    ck_assert_uint_eq(ns, 0);
    ck_assert(value_guest_time("t", "200Mi", &ns, &count, &err));
    ck_assert_uint_eq(count, 200000000u);
    ck_assert(value_guest_time("t", "5000000", &ns, &count, &err));
    ck_assert_uint_eq(count, 5000000u);
    ck_assert(value_guest_time("t", "12i", &ns, &count, &err));
    ck_assert_uint_eq(count, 12);
}
END_TEST

START_TEST(a_small_guest_time_without_a_unit_is_refused_with_both_spellings)
{
    uint64_t ns, count;

    ck_assert(!value_guest_time("t", "60", &ns, &count, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "60s"));
    ck_assert_ptr_nonnull(strstr(err.text, "60i"));
}
END_TEST

START_TEST(numbers_are_decimal_or_hexadecimal_and_bounded)
{
    uint64_t v;

    ck_assert(value_number("n", "0xf4", 255, &v, &err));
    ck_assert_uint_eq(v, 0xf4);
    ck_assert(value_number("n", "255", 255, &v, &err));
    ck_assert(!value_number("n", "256", 255, &v, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "255 at most"));
    ck_assert(!value_number("n", "-1", 255, &v, NULL));
    ck_assert(!value_number("n", "1x", 255, &v, NULL));
    ck_assert(!value_number("n", "99999999999999999999", UINT64_MAX, &v, NULL));
}
END_TEST

START_TEST(dates_are_utc)
{
    int64_t seconds;

    ck_assert(value_date("d", "2024-02-29", &seconds, &err));
    ck_assert_int_eq(seconds, 1709164800);
    ck_assert(value_date("d", "2024-02-29T12:00:01", &seconds, &err));
    ck_assert_int_eq(seconds, 1709164800 + 12 * 3600 + 1);
    ck_assert(value_date("d", "utc", &seconds, &err));
    ck_assert(!value_date("d", "tomorrow", &seconds, &err));
}
END_TEST

START_TEST(list_elements_end_at_single_commas)
{
    const char *text = "a,b=1,,2,,,c,";
    char element[8];

    ck_assert(value_next(&text, element, sizeof(element), &err));
    ck_assert_str_eq(element, "a");
    ck_assert(value_next(&text, element, sizeof(element), &err));
    ck_assert_str_eq(element, "b=1,2,");
    ck_assert(value_next(&text, element, sizeof(element), &err));
    ck_assert_str_eq(element, "c");
    ck_assert(!value_next(&text, element, sizeof(element), &err));
    ck_assert(!err.set);
    text = "much too long";
    ck_assert(!value_next(&text, element, sizeof(element), &err));
    ck_assert(err.set);
}
END_TEST

START_TEST(distance_counts_changes_and_exchanges)
{
    ck_assert_uint_eq(value_distance("kernel", "kernel"), 0);
    ck_assert_uint_eq(value_distance("kernle", "kernel"), 1);
    ck_assert_uint_eq(value_distance("kernl", "kernel"), 1);
    ck_assert_uint_eq(value_distance("", "abc"), 3);
    ck_assert_uint_eq(value_distance("abc", "xyz"), 3);
}
END_TEST

static const char *word(const void *opaque, size_t n)
{
    static const char *const words[] = {"kernel", "initrd", "append"};

    (void)opaque;
    return n < 3 ? words[n] : NULL;
}

START_TEST(the_nearest_word_is_offered_or_else_all)
{
    ck_assert(!value_unknown(&err, "-x", "inirtd", word, NULL));
    ck_assert_str_eq(err.text, "-x: unknown 'inirtd'; did you mean 'initrd'?");
    err = (struct error){0};
    ck_assert(!value_unknown(&err, "-x", "zzzzzz", word, NULL));
    ck_assert_str_eq(err.text, "-x: unknown 'zzzzzz'; valid: kernel, initrd, append");
}
END_TEST

START_TEST(no_text_is_too_long)
{
    char text[3000];
    uint64_t v;
    bool b;

    memset(text, '9', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert(!value_size("x", text, 1, &v, NULL));
    ck_assert(!value_number("x", text, UINT64_MAX, &v, NULL));
    ck_assert(!value_time("x", text, &v, NULL));
    ck_assert(!value_switch("x", text, &b, NULL));
    ck_assert(!value_unknown(&err, "x", text, word, NULL));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("values");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, sizes_have_binary_units);
    tcase_add_test(tc, bad_sizes_are_named);
    tcase_add_test(tc, times_have_units_and_are_seconds_without);
    tcase_add_test(tc, guest_time_is_seconds_or_instructions);
    tcase_add_test(tc, a_small_guest_time_without_a_unit_is_refused_with_both_spellings);
    tcase_add_test(tc, numbers_are_decimal_or_hexadecimal_and_bounded);
    tcase_add_test(tc, dates_are_utc);
    tcase_add_test(tc, list_elements_end_at_single_commas);
    tcase_add_test(tc, distance_counts_changes_and_exchanges);
    tcase_add_test(tc, the_nearest_word_is_offered_or_else_all);
    tcase_add_test(tc, no_text_is_too_long);
    return run_suite("values", tc);
}
