#include "base/host/host.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)

START_TEST(committed_memory_reads_zero_and_keeps_what_is_written)
{
    struct error err = {0};
    uint8_t *base = host_reserve(64 * MIB, &err);

    ck_assert_msg(base != NULL, "%s", err.text);
    ck_assert_msg(host_commit(base, 16 * MIB, 8 * MIB, &err), "%s", err.text);
    ck_assert_uint_eq(base[16 * MIB], 0);
    ck_assert_uint_eq(base[24 * MIB - 1], 0);
    base[20 * MIB] = 0x5a;
    ck_assert_uint_eq(base[20 * MIB], 0x5a);
    host_release(base, 64 * MIB);
}
END_TEST

START_TEST(discarded_pages_read_zero_and_stay_accessible)
{
    struct error err = {0};
    uint8_t *base = host_reserve(4 * MIB, &err);

    ck_assert(host_commit(base, 0, 4 * MIB, &err));
    memset(base, 0xff, 4 * MIB);
    host_discard(base + MIB, MIB);
    ck_assert_uint_eq(base[MIB - 1], 0xff);
    ck_assert_uint_eq(base[MIB], 0);
    ck_assert_uint_eq(base[2 * MIB - 1], 0);
    ck_assert_uint_eq(base[2 * MIB], 0xff);
    base[MIB] = 1;
    ck_assert_uint_eq(base[MIB], 1);
    host_release(base, 4 * MIB);
}
END_TEST

START_TEST(a_discard_smaller_than_a_host_page_touches_nothing_else)
{
    struct error err = {0};
    uint8_t *base = host_reserve(MIB, &err);

    ck_assert(host_commit(base, 0, MIB, &err));
    memset(base, 0xff, MIB);
    host_discard(base + 100, 200);
    ck_assert_uint_eq(base[99], 0xff);
    ck_assert_uint_eq(base[100], 0);
    ck_assert_uint_eq(base[299], 0);
    ck_assert_uint_eq(base[300], 0xff);
    host_release(base, MIB);
}
END_TEST

START_TEST(lazy_memory_can_be_far_larger_than_the_host)
{
    size_t size = (size_t)64 << 30;
    uint8_t *memory = host_alloc_lazy(size);

    memory[0] = 1;
    memory[size - 1] = 2;
    ck_assert_uint_eq(memory[size / 2], 0);
    host_discard(memory, MIB);
    ck_assert_uint_eq(memory[0], 0);
    host_free_lazy(memory, size);
}
END_TEST

START_TEST(a_reservation_the_host_cannot_give_is_an_error)
{
    struct error err = {0};

    ck_assert_ptr_null(host_reserve((size_t)1 << 62, &err));
    ck_assert(err.set);
}
END_TEST

START_TEST(monotonic_time_does_not_go_back)
{
    uint64_t a = host_monotonic_ns();

    ck_assert_uint_ge(host_monotonic_ns(), a);
    ck_assert_int_gt(host_wall_seconds(), 1600000000);
}
END_TEST

/* A new file of `size` bytes; its name is left in path. */
static void make_file(char path[static 32], size_t size)
{
    int fd;

    strcpy(path, "/tmp/gnomon-test-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(write(fd, &(char){(char)i}, 1), 1);
    close(fd);
}

START_TEST(there_is_a_processor_to_run_on)
{
    ck_assert_uint_ge(host_processor_count(), 1);
    ck_assert_uint_lt(host_processor_count(), 1u << 16);
}
END_TEST

START_TEST(a_file_is_read_whole)
{
    char path[32];
    struct error err = {0};
    size_t length = 0;
    uint8_t *bytes;

    make_file(path, 1000);
    bytes = host_read_file(path, 1000, &length, &err);
    unlink(path);
    ck_assert_msg(bytes != NULL, "%s", err.text);
    ck_assert_uint_eq(length, 1000);
    ck_assert_uint_eq(bytes[999], 999 & 0xff);
    free(bytes);
}
END_TEST

START_TEST(an_empty_file_is_not_an_error)
{
    char path[32];
    size_t length = 1;
    uint8_t *bytes;

    make_file(path, 0);
    bytes = host_read_file(path, 0, &length, NULL);
    unlink(path);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(length, 0);
    free(bytes);
}
END_TEST

START_TEST(a_file_above_the_limit_is_an_error_that_names_it)
{
    char path[32];
    struct error err = {0};
    size_t length;

    make_file(path, 101);
    ck_assert_ptr_null(host_read_file(path, 100, &length, &err));
    unlink(path);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_ptr_nonnull(strstr(err.text, "larger than 100 bytes"));
}
END_TEST

START_TEST(a_file_whose_size_is_not_known_is_read_to_its_end)
{
    size_t length = 0;
    void *bytes = host_read_file("/proc/self/maps", MIB, &length, NULL);

    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_gt(length, 0);
    free(bytes);
}
END_TEST

START_TEST(a_missing_file_and_a_directory_are_errors)
{
    struct error err = {0}, err2 = {0};
    size_t length;

    ck_assert_ptr_null(host_read_file("/nonexistent/file", 10, &length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/file"));
    ck_assert_ptr_null(host_read_file("/", 10, &length, &err2));
    ck_assert(err2.set);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("host");

    tcase_add_test(tc, committed_memory_reads_zero_and_keeps_what_is_written);
    tcase_add_test(tc, discarded_pages_read_zero_and_stay_accessible);
    tcase_add_test(tc, a_discard_smaller_than_a_host_page_touches_nothing_else);
    tcase_add_test(tc, lazy_memory_can_be_far_larger_than_the_host);
    tcase_add_test(tc, a_reservation_the_host_cannot_give_is_an_error);
    tcase_add_test(tc, monotonic_time_does_not_go_back);
    tcase_add_test(tc, there_is_a_processor_to_run_on);
    tcase_add_test(tc, a_file_is_read_whole);
    tcase_add_test(tc, an_empty_file_is_not_an_error);
    tcase_add_test(tc, a_file_above_the_limit_is_an_error_that_names_it);
    tcase_add_test(tc, a_file_whose_size_is_not_known_is_read_to_its_end);
    tcase_add_test(tc, a_missing_file_and_a_directory_are_errors);
    return run_suite("host", tc);
}
