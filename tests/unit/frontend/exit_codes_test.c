/* The exit statuses are a contract: what they are, and that the documentation says so. */
#include "frontend/exit_codes.h"

#include "base/host/host.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static int status(enum machine_end end, uint32_t value, uint64_t gaps)
{
    const struct machine_result r = {.end = end, .value = value};

    return exit_status_of(&r, gaps);
}

START_TEST(each_end_has_its_status)
{
    ck_assert_int_eq(status(MACHINE_END_POWER_OFF, 0, 0), 0);
    ck_assert_int_eq(status(MACHINE_END_RESET, 0, 0), 0);
    ck_assert_int_eq(status(MACHINE_END_QUIT, 0, 0), 0);
    ck_assert_int_eq(status(MACHINE_END_PANIC, 0, 0), 3);
    ck_assert_int_eq(status(MACHINE_END_TIMEOUT, 0, 0), 4);
    ck_assert_int_eq(status(MACHINE_END_GUEST_TIMEOUT, 0, 0), 5);
    ck_assert_int_eq(status(MACHINE_END_TRIPLE_FAULT, 0, 0), 9);
    ck_assert_int_eq(status(MACHINE_END_HALTED, 0, 0), 10);
    ck_assert_int_eq(status(MACHINE_END_BROKEN, 0, 0), 125);
    ck_assert_int_eq(status(MACHINE_END_INTERRUPTED, 2, 0), 130);
    ck_assert_int_eq(status(MACHINE_END_INTERRUPTED, 15, 0), 143);
    ck_assert_int_eq(EXIT_STATUS_USAGE, 2);
}
END_TEST

START_TEST(a_guest_that_died_of_a_missing_instruction_is_a_gap)
{
    ck_assert_int_eq(status(MACHINE_END_TRIPLE_FAULT, 0, 1), 8);
    ck_assert_int_eq(status(MACHINE_END_HALTED, 0, 1), 8);
    ck_assert_int_eq(status(MACHINE_END_POWER_OFF, 0, 1), 0); /* it did not die of it */
    ck_assert_int_eq(status(MACHINE_END_PANIC, 0, 1), 3);
}
END_TEST

START_TEST(a_guest_chooses_its_own_status)
{
    ck_assert_int_eq(status(MACHINE_END_DEBUG_EXIT, 0x21 << 1 | 1, 0), 0x43);
    ck_assert_int_eq(status(MACHINE_END_DEBUG_EXIT, 0xff << 1 | 1, 0), 0xff);
    ck_assert_int_eq(status(MACHINE_END_EXIT_PORT, 0, 0), 0);
    ck_assert_int_eq(status(MACHINE_END_EXIT_PORT, 77, 0), 77);
    ck_assert_int_eq(status(MACHINE_END_EXIT_PORT, 256, 0), 255);
    ck_assert_int_eq(status(MACHINE_END_EXIT_PORT, 0xffffffff, 0), 255);
}
END_TEST

/* docs/exit-codes.md has exactly the rows of frontend/exit_codes.def. */
START_TEST(the_documentation_has_the_same_table)
{
    const char *root = getenv("GNOMON_SOURCE");
    char path[4096], row[512], *text;
    unsigned rows = 0, found = 0;
    size_t length;

    snprintf(path, sizeof(path), "%s/docs/exit-codes.md", root != NULL ? root : ".");
    text = host_read_file(path, 1 << 20, &length, NULL);
    ck_assert_msg(text != NULL, "%s", path);
    text = realloc(text, length + 1);
    text[length] = '\0';
#define X(name, number, meaning)                                                                   \
    rows++;                                                                                        \
    snprintf(row, sizeof(row), "\n| %d | %s |\n", number, meaning);                                \
    ck_assert_msg(strstr(text, row) != NULL, "%s is missing in %s", row, path);
#include "frontend/exit_codes.def"
#undef X
    for (const char *p = text; (p = strstr(p, "\n| ")) != NULL; p++)
        found += p[3] >= '0' && p[3] <= '9';
    ck_assert_uint_eq(found, rows);
    free(text);
}
END_TEST

START_TEST(the_table_is_printed_for_help)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    exit_status_print(out);
    fclose(out);
#define X(name, number, meaning) ck_assert_ptr_nonnull(strstr(text, meaning));
#include "frontend/exit_codes.def"
#undef X
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("exit_codes");

    tcase_add_test(tc, each_end_has_its_status);
    tcase_add_test(tc, a_guest_that_died_of_a_missing_instruction_is_a_gap);
    tcase_add_test(tc, a_guest_chooses_its_own_status);
    tcase_add_test(tc, the_documentation_has_the_same_table);
    tcase_add_test(tc, the_table_is_printed_for_help);
    return run_suite("exit_codes", tc);
}
