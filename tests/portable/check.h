/*
 * The part of the unit-test library "check" that the tests use, for hosts that library is not
 * installed for (the cross builds). Same names, same meaning; each test runs in a child process.
 */
#ifndef TESTS_PORTABLE_CHECK_H
#define TESTS_PORTABLE_CHECK_H

#include <math.h>
#include <stdint.h>
#include <string.h>

struct ck_test {
    const char *name;
    void (*run)(int i);
};

typedef struct tcase TCase;
typedef struct suite Suite;
typedef struct srunner SRunner;

enum print_output { CK_SILENT, CK_MINIMAL, CK_NORMAL, CK_VERBOSE, CK_ENV };
enum fork_status { CK_FORK, CK_NOFORK };

Suite *suite_create(const char *name);
TCase *tcase_create(const char *name);
SRunner *srunner_create(Suite *suite);
void suite_add_tcase(Suite *suite, TCase *tc);
void srunner_add_suite(SRunner *runner, Suite *suite);
void srunner_set_fork_status(SRunner *runner, enum fork_status status);
void srunner_run_all(SRunner *runner, enum print_output mode);
int srunner_ntests_failed(SRunner *runner);
int srunner_ntests_run(SRunner *runner);
void srunner_free(SRunner *runner);

void tcase_set_timeout(TCase *tc, double seconds);
void tcase_add_checked_fixture(TCase *tc, void (*setup)(void), void (*teardown)(void));
void tcase_add_unchecked_fixture(TCase *tc, void (*setup)(void), void (*teardown)(void));

/* Adds runs start <= i < end; the child must end with the signal (0: none) and exit status. */
void ck_add(TCase *tc, const struct ck_test *test, int signal, int status, int start, int end);

/* Prints where and why, and ends the child. */
_Noreturn void ck_failed(const char *file, int line, const char *expression, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

#define tcase_add_test(tc, test)                 ck_add((tc), (test), 0, 0, 0, 1)
#define tcase_add_test_raise_signal(tc, test, s) ck_add((tc), (test), (s), 0, 0, 1)
#define tcase_add_exit_test(tc, test, e)         ck_add((tc), (test), 0, (e), 0, 1)
#define tcase_add_loop_test(tc, test, s, e)      ck_add((tc), (test), 0, 0, (s), (e))
#define tcase_add_loop_test_raise_signal(tc, test, sig, s, e)                                      \
    ck_add((tc), (test), (sig), 0, (s), (e))

#define START_TEST(name)                                                                           \
    static void name##_run(int _i);                                                                \
    static const struct ck_test name##_test = {#name, name##_run};                                 \
    static const struct ck_test *const name = &name##_test;                                        \
    static void name##_run(int _i __attribute__((unused)))
#define END_TEST

#define ck_assert_msg(expression, ...)                                                             \
    do {                                                                                           \
        if (!(expression))                                                                         \
            ck_failed(__FILE__, __LINE__, #expression, __VA_ARGS__);                               \
    } while (0)
#define ck_assert(expression)    ck_assert_msg(expression, "%s", "")
#define ck_abort_msg(...)        ck_failed(__FILE__, __LINE__, "abort", __VA_ARGS__)
#define ck_abort()               ck_abort_msg("%s", "")
#define fail_if(expression, ...) ck_assert_msg(!(expression), "%s", "")

#define CK_COMPARE(type, format, x, op, y)                                                         \
    do {                                                                                           \
        type ck_x = (x);                                                                           \
        type ck_y = (y);                                                                           \
        if (!(ck_x op ck_y))                                                                       \
            ck_failed(__FILE__, __LINE__, #x " " #op " " #y, format " against " format, ck_x,      \
                      ck_y);                                                                       \
    } while (0)

#define ck_assert_int_eq(x, y) CK_COMPARE(intmax_t, "%jd", x, ==, y)
#define ck_assert_int_ne(x, y) CK_COMPARE(intmax_t, "%jd", x, !=, y)
#define ck_assert_int_lt(x, y) CK_COMPARE(intmax_t, "%jd", x, <, y)
#define ck_assert_int_le(x, y) CK_COMPARE(intmax_t, "%jd", x, <=, y)
#define ck_assert_int_gt(x, y) CK_COMPARE(intmax_t, "%jd", x, >, y)
#define ck_assert_int_ge(x, y) CK_COMPARE(intmax_t, "%jd", x, >=, y)

#define ck_assert_uint_eq(x, y) CK_COMPARE(uintmax_t, "%ju", x, ==, y)
#define ck_assert_uint_ne(x, y) CK_COMPARE(uintmax_t, "%ju", x, !=, y)
#define ck_assert_uint_lt(x, y) CK_COMPARE(uintmax_t, "%ju", x, <, y)
#define ck_assert_uint_le(x, y) CK_COMPARE(uintmax_t, "%ju", x, <=, y)
#define ck_assert_uint_gt(x, y) CK_COMPARE(uintmax_t, "%ju", x, >, y)
#define ck_assert_uint_ge(x, y) CK_COMPARE(uintmax_t, "%ju", x, >=, y)

#define ck_assert_ptr_eq(x, y)   CK_COMPARE(const void *, "%p", x, ==, y)
#define ck_assert_ptr_ne(x, y)   CK_COMPARE(const void *, "%p", x, !=, y)
#define ck_assert_ptr_null(x)    CK_COMPARE(const void *, "%p", x, ==, NULL)
#define ck_assert_ptr_nonnull(x) CK_COMPARE(const void *, "%p", x, !=, NULL)

#define CK_COMPARE_FLOAT(x, op, y)       CK_COMPARE(long double, "%Lg", x, op, y)
#define ck_assert_double_eq(x, y)        CK_COMPARE_FLOAT(x, ==, y)
#define ck_assert_double_ne(x, y)        CK_COMPARE_FLOAT(x, !=, y)
#define ck_assert_double_lt(x, y)        CK_COMPARE_FLOAT(x, <, y)
#define ck_assert_double_gt(x, y)        CK_COMPARE_FLOAT(x, >, y)
#define ck_assert_double_nan(x)          ck_assert(isnan(x))
#define ck_assert_double_infinite(x)     ck_assert(isinf(x))
#define ck_assert_double_eq_tol(x, y, t) ck_assert(fabs((double)(x) - (double)(y)) < (t))
#define ck_assert_float_eq(x, y)         CK_COMPARE_FLOAT(x, ==, y)
#define ck_assert_float_eq_tol(x, y, t)  ck_assert_double_eq_tol(x, y, t)
#define ck_assert_ldouble_eq(x, y)       CK_COMPARE_FLOAT(x, ==, y)
#define ck_assert_float_nan(x)           ck_assert(isnan(x))

#define CK_COMPARE_STR(x, op, y)                                                                   \
    do {                                                                                           \
        const char *ck_x = (x);                                                                    \
        const char *ck_y = (y);                                                                    \
        if (!(strcmp(ck_x, ck_y) op 0))                                                            \
            ck_failed(__FILE__, __LINE__, #x " " #op " " #y, "'%s' against '%s'", ck_x, ck_y);     \
    } while (0)
#define ck_assert_str_eq(x, y) CK_COMPARE_STR(x, ==, y)
#define ck_assert_str_ne(x, y) CK_COMPARE_STR(x, !=, y)

#define ck_assert_mem_eq(x, y, n) ck_assert(memcmp((x), (y), (n)) == 0)
#define ck_assert_mem_ne(x, y, n) ck_assert(memcmp((x), (y), (n)) != 0)

#endif
