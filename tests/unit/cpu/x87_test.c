/*
 * x87 instructions on a bare vCPU. Expected values are from the manual or computed by hand;
 * tests/diff holds every row against the host's processor.
 */
#include "tests/unit/cpu/op_rig.h"

static const struct float80 one = {0x8000000000000000, 0x3fff};
static const struct float80 three = {0xc000000000000000, 0x4000};

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

static struct float80 *st(unsigned n)
{
    return &rig->cpu.x87.r[(rig->cpu.x87.top + n) & 7];
}

static void push(struct float80 value)
{
    struct x87 *x = &rig->cpu.x87;

    x->top = (x->top - 1) & 7;
    x->r[x->top] = value;
    x->valid |= (uint8_t)(1u << x->top);
}

#define ck_assert_float80(value, exponent, fraction)                                               \
    do {                                                                                           \
        ck_assert_uint_eq((value).sign_exponent, (exponent));                                      \
        ck_assert_uint_eq((value).significand, (fraction));                                        \
    } while (0)

START_TEST(a_third_rounds_to_each_precision)
{
    static const struct {
        uint16_t control;
        uint64_t fraction;
    } rows[] = {
        {0x037f, 0xaaaaaaaaaaaaaaab},
        {0x027f, 0xaaaaaaaaaaaaa800},
        {0x007f, 0xaaaaab0000000000},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        fpu_x87_init(&rig->cpu);
        fpu_x87_set_control(&rig->cpu, rows[n].control);
        push(one);
        push(three);
        RIG_RUN(rig, 0xde, 0xf9); /* fdivp st1, st0 */
        ck_assert_int_eq(rig->raised, -1);
        ck_assert_float80(*st(0), 0x3ffd, rows[n].fraction);
        ck_assert_uint_eq(rig->cpu.x87.valid, 0x80);
    }
}
END_TEST

START_TEST(an_empty_register_is_a_stack_underflow)
{
    RIG_RUN(rig, 0xd8, 0xc1); /* fadd st0, st1 */
    ck_assert_float80(*st(0), 0xffff, 0xc000000000000000);
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), SW_IE | SW_SF);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("x87");
    TCase *tc = tcase_create("x87");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_third_rounds_to_each_precision);
    tcase_add_test(tc, an_empty_register_is_a_stack_underflow);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
