#include "base/log.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct log open_log(char **text, size_t *length)
{
    struct log log;

    log_init(&log);
    log.stream = open_memstream(text, length);
    ck_assert_ptr_nonnull(log.stream);
    return log;
}

START_TEST(a_new_log_writes_nothing)
{
    struct log log;

    log_init(&log);
    ck_assert_uint_eq(log.mask, 0);
    ck_assert_ptr_eq(log.stream, stderr);
    ck_assert(!log_on(&log, ~0u));
}
END_TEST

START_TEST(a_record_of_an_enabled_category_is_written)
{
    char *text = NULL;
    size_t length;
    struct log log = open_log(&text, &length);

    log.mask = LOG_DEVICE | LOG_MMU;
    LOG(&log, LOG_DEVICE, "pit: channel %d\n", 2);
    fclose(log.stream);
    ck_assert_str_eq(text, "pit: channel 2\n");
    free(text);
}
END_TEST

START_TEST(a_record_of_a_disabled_category_is_not_written)
{
    char *text = NULL;
    size_t length;
    struct log log = open_log(&text, &length);

    log.mask = LOG_MMU;
    LOG(&log, LOG_DEVICE, "pit\n");
    log_write(&log, LOG_UNIMP, "x\n");
    fclose(log.stream);
    ck_assert_uint_eq(length, 0);
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("log");

    tcase_add_test(tc, a_new_log_writes_nothing);
    tcase_add_test(tc, a_record_of_an_enabled_category_is_written);
    tcase_add_test(tc, a_record_of_a_disabled_category_is_not_written);
    return run_suite("log", tc);
}
