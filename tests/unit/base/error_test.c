#include "base/error.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(error_set_records_the_message_and_returns_false)
{
    struct error err = {0};

    ck_assert(!error_set(&err, "cannot open '%s'", "a.img"));
    ck_assert(err.set);
    ck_assert_str_eq(err.text, "cannot open 'a.img'");
}
END_TEST

START_TEST(the_first_message_wins)
{
    struct error err = {0};

    error_set(&err, "first");
    error_set(&err, "second");
    ck_assert_str_eq(err.text, "first");
}
END_TEST

START_TEST(a_caller_that_does_not_care_passes_null)
{
    ck_assert(!error_set(NULL, "lost"));
    ck_assert(!error_prefix(NULL, "lost"));
}
END_TEST

START_TEST(a_prefix_goes_before_the_message)
{
    struct error err = {0};

    error_set(&err, "no such file");
    ck_assert(!error_prefix(&err, "drive %d", 1));
    ck_assert_str_eq(err.text, "drive 1: no such file");
}
END_TEST

START_TEST(a_prefix_without_a_message_changes_nothing)
{
    struct error err = {0};

    error_prefix(&err, "drive 1");
    ck_assert(!err.set);
    ck_assert_str_eq(err.text, "");
}
END_TEST

START_TEST(control_characters_of_a_name_do_not_reach_the_terminal)
{
    struct error err = {0};

    error_set(&err, "bad name '%s'", "a\n\033[2Jb");
    ck_assert_str_eq(err.text, "bad name 'a??[2Jb'");
}
END_TEST

START_TEST(a_long_message_is_cut_between_characters)
{
    struct error err = {0};
    char name[2048];

    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    memcpy(name + sizeof(err.text) - 2, "\xc3\xa4", 2); /* the cut splits this one */
    error_set(&err, "%s", name);
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 2);
}
END_TEST

START_TEST(a_long_prefix_fits_too)
{
    struct error err = {0};
    char name[2048];

    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    error_set(&err, "%s", name);
    error_prefix(&err, "%s", name);
    ck_assert_uint_lt(strlen(err.text), sizeof(err.text));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("error");

    tcase_add_test(tc, error_set_records_the_message_and_returns_false);
    tcase_add_test(tc, the_first_message_wins);
    tcase_add_test(tc, a_caller_that_does_not_care_passes_null);
    tcase_add_test(tc, a_prefix_goes_before_the_message);
    tcase_add_test(tc, a_prefix_without_a_message_changes_nothing);
    tcase_add_test(tc, control_characters_of_a_name_do_not_reach_the_terminal);
    tcase_add_test(tc, a_long_message_is_cut_between_characters);
    tcase_add_test(tc, a_long_prefix_fits_too);
    return run_suite("error", tc);
}
