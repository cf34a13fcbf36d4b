/* The quit keys of a multiplexed terminal. */
#include "frontend/keys.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct keys keys;

static void setup(void)
{
    keys = (struct keys){0};
}

/* What the guest gets of the text; the last action that is none is kept. */
static enum key_action type(const char *text, char *guest)
{
    enum key_action last = KEY_NONE;

    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)*text;
        enum key_action action = keys_filter(&keys, &byte);

        if (action == KEY_BYTE)
            *guest++ = (char)byte;
        else if (action != KEY_NONE)
            last = action;
    }
    *guest = '\0';
    return last;
}

START_TEST(plain_keys_are_for_the_guest)
{
    char guest[32];

    ck_assert_int_eq(type("ls x\r\003\x7f", guest), KEY_NONE);
    ck_assert_str_eq(guest, "ls x\r\003\x7f");
}
END_TEST

START_TEST(ctrl_a_and_a_key_is_a_command)
{
    static const struct {
        const char *text;
        enum key_action action;
    } rows[] = {{"\001x", KEY_QUIT},  {"\001X", KEY_QUIT},   {"\001h", KEY_HELP},
                {"\001?", KEY_HELP},  {"\001b", KEY_BREAK},  {"\001c", KEY_MONITOR},
                {"\001p", KEY_PAUSE}, {"\001r", KEY_REPORT}, {"\001q", KEY_NONE}};
    char guest[8];

    for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
        ck_assert_int_eq(type(rows[n].text, guest), rows[n].action);
        ck_assert_str_eq(guest, "");
    }
}
END_TEST

START_TEST(ctrl_a_twice_sends_one)
{
    char guest[8];

    ck_assert_int_eq(type("a\001\001x", guest), KEY_NONE);
    ck_assert_str_eq(guest, "a\001x");
}
END_TEST

START_TEST(another_escape_leaves_ctrl_a_to_the_guest)
{
    char guest[8];

    keys.escape = 0x14;
    ck_assert_int_eq(type("\001x\024x", guest), KEY_QUIT);
    ck_assert_str_eq(guest, "\001x");
}
END_TEST

START_TEST(the_help_names_every_command)
{
    static const char *const words[] = {"Ctrl-A h", "Ctrl-A x", "Ctrl-A p",
                                        "Ctrl-A r", "Ctrl-A b", "Ctrl-A Ctrl-A"};

    for (size_t n = 0; n < sizeof(words) / sizeof(words[0]); n++)
        ck_assert_ptr_nonnull(strstr(keys_help, words[n]));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("keys");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, plain_keys_are_for_the_guest);
    tcase_add_test(tc, ctrl_a_and_a_key_is_a_command);
    tcase_add_test(tc, ctrl_a_twice_sends_one);
    tcase_add_test(tc, another_escape_leaves_ctrl_a_to_the_guest);
    tcase_add_test(tc, the_help_names_every_command);
    return run_suite("keys", tc);
}
