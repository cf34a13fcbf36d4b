/*
 * x87 loads, stores, rounding, scaling, remainders and transcendental functions on a bare vCPU.
 * Expected values: the manual, and a multiple-precision library.
 */
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

#define ONE          F80(0x3fff, 0x8000000000000000)
#define MINUS_ONE    F80(0xbfff, 0x8000000000000000)
#define HALF         F80(0x3ffe, 0x8000000000000000)
#define TWO_AND_HALF F80(0x4000, 0xa000000000000000)
#define THREE        F80(0x4000, 0xc000000000000000)
#define THIRD        F80(0x3ffd, 0xaaaaaaaaaaaaaaab)

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

/* ---- Loads and stores ------------------------------------------------------------------------ */

START_TEST(loads_widen_every_format)
{
    static const struct {
        uint8_t opcode, modrm;
        uint64_t memory;
        struct float80 value;
        unsigned status;
    } rows[] = {
        {0xd9, 0x03, 0x40490fdb, F80(0x4000, 0xc90fdb0000000000), 0},
        {0xd9, 0x03, 0x80000000, F80(0x8000, 0), 0},
        {0xd9, 0x03, 0x00000001, F80(0x3f6a, 0x8000000000000000), SW_DE},
        {0xd9, 0x03, 0xff800000, F80(0xffff, 0x8000000000000000), 0},
        {0xd9, 0x03, 0x7fa00000, F80(0x7fff, 0xe000000000000000), SW_IE},
        {0xdd, 0x03, 0xbfd3333333333333, F80(0xbffd, 0x9999999999999800), 0},
        {0xdd, 0x03, 0x000fffffffffffff, F80(0x3c00, 0xfffffffffffff000), SW_DE},
        {0xdd, 0x03, 0x7ff0000000000001, F80(0x7fff, 0xc000000000000800), SW_IE},
        {0xdf, 0x03, 0x8000, F80(0xc00e, 0x8000000000000000), 0},
        {0xdb, 0x03, 0x7fffffff, F80(0x401d, 0xfffffffe00000000), 0},
        {0xdf, 0x2b, 0x8000000000000000, F80(0xc03e, 0x8000000000000000), 0},
        {0xdf, 0x2b, 0, F80(0, 0), 0},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        uint8_t code[] = {rows[n].opcode, rows[n].modrm};

        rig_start(rig, _i, CW_INIT);
        guest_store64(rig_operand(rig), rows[n].memory);
        rig_run(rig, code, sizeof(code));
        rig_check_float80("loaded", *rig_st(rig, 0), rows[n].value);
        ck_assert_uint_eq(rig_status(rig), rows[n].status);
    }
}
END_TEST

START_TEST(a_load_of_80_bits_takes_them_as_they_are)
{
    const struct float80 signalling = F80(0xffff, 0x8000000000000001);

    rig_start(rig, _i, CW_INIT);
    guest_store64(rig_operand(rig), signalling.significand);
    guest_store16(rig_operand(rig) + 8, signalling.sign_exponent);
    RIG_RUN(rig, 0xdb, 0x2b);
    rig_check_float80("loaded", *rig_st(rig, 0), signalling);
    ck_assert_uint_eq(rig_status(rig), 0);
    memset(rig_operand(rig), 0, 10);
    RIG_RUN(rig, 0xdb, 0x3b);
    ck_assert_uint_eq(guest_load64(rig_operand(rig)), signalling.significand);
    ck_assert_uint_eq(guest_load16(rig_operand(rig) + 8), signalling.sign_exponent);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0);
}
END_TEST

#define OLD 0x5555555555555555ull

START_TEST(stores_narrow_to_every_format)
{
    static const struct {
        uint8_t opcode, modrm;
        uint16_t control;
        struct float80 value;
        uint64_t memory;
        unsigned status;
    } rows[] = {
        {0xd9, 0x13, 0x37f, THIRD, 0x555555553eaaaaab, SW_PE | SW_C1},
        {0xd9, 0x13, 0x77f, THIRD, 0x555555553eaaaaaa, SW_PE},
        {0xdd, 0x13, 0x37f, THIRD, 0x3fd5555555555555, SW_PE},
        {0xdd, 0x13, 0xb7f, THIRD, 0x3fd5555555555556, SW_PE | SW_C1},
        {0xd9, 0x13, 0x37f, F80(0x47ff, 0x8000000000000000), 0x555555557f800000,
         SW_OE | SW_PE | SW_C1},
        {0xd9, 0x13, 0x37f, F80(0x3f69, 0x8000000000000000), 0x5555555500000000, SW_UE | SW_PE},
        {0xd9, 0x13, 0x37f, F80(0x3f6a, 0x8000000000000000), 0x5555555500000001, 0},
        {0xd9, 0x13, 0x37f, F80(0x7fff, 0x8000000000000001), 0x555555557fc00000, SW_IE},
        {0xdf, 0x13, 0x37f, TWO_AND_HALF, 0x5555555555550002, SW_PE},
        {0xdf, 0x13, 0xb7f, TWO_AND_HALF, 0x5555555555550003, SW_PE | SW_C1},
        {0xdb, 0x13, 0x37f, F80(0xc01e, 0x8000000000000000), 0x5555555580000000, 0},
        {0xdb, 0x13, 0x37f, F80(0x401e, 0x8000000000000000), 0x5555555580000000, SW_IE},
        {0xdf, 0x3b, 0x37f, F80(0x403d, 0xfffffffffffffffe), 0x7fffffffffffffff, 0},
        {0xdf, 0x3b, 0x37f, F80(0x403e, 0x8000000000000000), 0x8000000000000000, SW_IE},
        {0xdb, 0x0b, 0xb7f, TWO_AND_HALF, 0x5555555500000002, SW_PE}, /* fisttp */
        {0xd9, 0x13, 0x37e, F80(0x7fff, 0x8000000000000001), OLD, SW_IE | SW_ES | SW_B},
        {0xd9, 0x13, 0x377, F80(0x47ff, 0x8000000000000000), OLD, SW_OE | SW_ES | SW_B},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        uint8_t code[] = {rows[n].opcode, rows[n].modrm};

        rig_start(rig, _i, rows[n].control);
        rig_push(rig, rows[n].value);
        guest_store64(rig_operand(rig), OLD);
        rig_run(rig, code, sizeof(code));
        ck_assert_msg(guest_load64(rig_operand(rig)) == rows[n].memory, "row %u: %016llx", n,
                      (unsigned long long)guest_load64(rig_operand(rig)));
        ck_assert_msg(rig_status(rig) == rows[n].status, "row %u: %04x", n, rig_status(rig));
    }
}
END_TEST

START_TEST(packed_decimal_has_eighteen_digits)
{
    static const uint8_t digits[10] = {0x78, 0x56, 0x34, 0x12, 0x90, 0x78, 0x56, 0x34, 0x12, 0x80};
    static const uint8_t indefinite[10] = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};

    rig_start(rig, _i, CW_INIT);
    memcpy(rig_operand(rig), digits, 10);
    RIG_RUN(rig, 0xdf, 0x23); /* fbld: -123456789012345678 */
    rig_check_float80("loaded", *rig_st(rig, 0), (struct float80)F80(0xc037, 0xdb4da5d31879a700));
    memset(rig_operand(rig), 0, 10);
    RIG_RUN(rig, 0xdf, 0x33); /* fbstp */
    ck_assert_mem_eq(rig_operand(rig), digits, 10);
    rig_push(rig, (struct float80)F80(0x403a, 0xde0b6b3a76400000)); /* 10^18 */
    RIG_RUN(rig, 0xdf, 0x33);
    ck_assert_mem_eq(rig_operand(rig), indefinite, 10);
    ck_assert_uint_eq(rig_status(rig) & SW_IE, SW_IE);
}
END_TEST

START_TEST(constants_are_rounded_as_asked)
{
    static const struct {
        uint8_t modrm;
        uint16_t exponent;
        uint64_t nearest, down, up;
    } rows[] = {
        {0xe8, 0x3fff, 0x8000000000000000, 0x8000000000000000, 0x8000000000000000},
        {0xe9, 0x4000, 0xd49a784bcd1b8afe, 0xd49a784bcd1b8afe, 0xd49a784bcd1b8aff},
        {0xea, 0x3fff, 0xb8aa3b295c17f0bc, 0xb8aa3b295c17f0bb, 0xb8aa3b295c17f0bc},
        {0xeb, 0x4000, 0xc90fdaa22168c235, 0xc90fdaa22168c234, 0xc90fdaa22168c235},
        {0xec, 0x3ffd, 0x9a209a84fbcff799, 0x9a209a84fbcff798, 0x9a209a84fbcff799},
        {0xed, 0x3ffe, 0xb17217f7d1cf79ac, 0xb17217f7d1cf79ab, 0xb17217f7d1cf79ac},
        {0xee, 0x0000, 0, 0, 0},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++)
        for (unsigned rounding = 0; rounding < 4; rounding++) {
            uint8_t code[] = {0xd9, rows[n].modrm};
            uint64_t value = rounding == 0   ? rows[n].nearest
                             : rounding == 2 ? rows[n].up
                                             : rows[n].down;

            rig_start(rig, _i, (uint16_t)(CW_INIT | rounding << CW_RC_SHIFT));
            rig_run(rig, code, sizeof(code));
            rig_check_float80("constant", *rig_st(rig, 0),
                              (struct float80)F80(rows[n].exponent, value));
            ck_assert_uint_eq(rig_status(rig), 0);
        }
}
END_TEST

/* ---- Functions ------------------------------------------------------------------------------- */

/* D9 modrm with ST = a, ST(1) = b; expected: what stands in ST afterwards. */
struct function {
    const char *name;
    uint8_t modrm;
    uint16_t control;
    struct float80 a, b, result;
    unsigned status;
};

static void check_function(const struct function *f, int soft)
{
    uint8_t code[] = {0xd9, f->modrm};

    rig_start(rig, soft, f->control);
    rig_push(rig, f->b);
    rig_push(rig, f->a);
    rig_run(rig, code, sizeof(code));
    ck_assert_int_eq(rig->raised, -1);
    rig_check_float80(f->name, *rig_st(rig, 0), f->result);
    ck_assert_msg(rig_status(rig) == f->status, "%s: status %04x, not %04x", f->name,
                  rig_status(rig), f->status);
}

START_TEST(exact_functions_give_result_and_conditions)
{
    static const struct function rows[] = {
        {"sqrt 2 up", 0xfa, 0xb7f, F80(0x4000, 0x8000000000000000), ONE,
         F80(0x3fff, 0xb504f333f9de6485), SW_PE | SW_C1},
        {"sqrt 2 in 53 bits", 0xfa, 0x27f, F80(0x4000, 0x8000000000000000), ONE,
         F80(0x3fff, 0xb504f333f9de6800), SW_PE | SW_C1},
        {"sqrt -1", 0xfa, 0x37f, MINUS_ONE, ONE, DEFAULT_NAN, SW_IE},
        {"sqrt -0", 0xfa, 0x37f, F80(0x8000, 0), ONE, F80(0x8000, 0), 0},
        {"abs", 0xe1, 0x37f, MINUS_ONE, ONE, ONE, 0},
        {"chs", 0xe0, 0x37f, ONE, ONE, MINUS_ONE, 0},
        {"round 2.5", 0xfc, 0x37f, TWO_AND_HALF, ONE, F80(0x4000, 0x8000000000000000), SW_PE},
        {"round 2.5 up", 0xfc, 0xb7f, TWO_AND_HALF, ONE, F80(0x4000, 0xc000000000000000),
         SW_PE | SW_C1},
        {"1 * 2^2.5", 0xfd, 0x37f, ONE, TWO_AND_HALF, F80(0x4001, 0x8000000000000000), 0},
        {"1 * 2^-1", 0xfd, 0x37f, ONE, MINUS_ONE, HALF, 0},
        {"1 * 2^(2^15)", 0xfd, 0x37f, ONE, F80(0x400e, 0x8000000000000000),
         F80(0x7fff, 0x8000000000000000), SW_OE | SW_PE | SW_C1},
        {"2.5 rem 1", 0xf8, 0x37f, TWO_AND_HALF, ONE, HALF, SW_C3},
        {"2.5 rem1 1", 0xf5, 0x37f, TWO_AND_HALF, ONE, HALF, SW_C3},
        {"2.5 rem 3", 0xf8, 0x37f, TWO_AND_HALF, THREE, TWO_AND_HALF, 0},
        {"2.5 rem1 3", 0xf5, 0x37f, TWO_AND_HALF, THREE, F80(0xbffe, 0x8000000000000000), SW_C1},
        {"1 rem 0", 0xf8, 0x37f, ONE, F80(0, 0), DEFAULT_NAN, SW_IE},
        {"significand of 2.5", 0xf4, 0x37f, TWO_AND_HALF, ONE, F80(0x3fff, 0xa000000000000000), 0},
        {"significand of 0", 0xf4, 0x37f, F80(0, 0), ONE, F80(0, 0), SW_ZE},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++)
        check_function(&rows[n], _i);
}
END_TEST

START_TEST(fxtract_leaves_the_exponent_below)
{
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, (struct float80)F80(0x4000, 0xa000000000000000));
    RIG_RUN(rig, 0xd9, 0xf4);
    rig_check_float80("exponent", *rig_st(rig, 1), ONE);
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, (struct float80)F80(0x8000, 0));
    RIG_RUN(rig, 0xd9, 0xf4);
    rig_check_float80("of zero", *rig_st(rig, 1), (struct float80)F80(0xffff, BIT64(63)));
}
END_TEST

START_TEST(a_remainder_of_far_exponents_takes_several_steps)
{
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, THREE);
    rig_push(rig, (struct float80)F80(0x3fff + 100, 0x8000000000000000)); /* 2^100 */
    for (unsigned steps = 0;; steps++) {
        ck_assert_uint_lt(steps, 8);
        RIG_RUN(rig, 0xd9, 0xf8);
        if (!(rig_status(rig) & SW_C2))
            break;
    }
    rig_check_float80("2^100 rem 3", *rig_st(rig, 0), ONE);
}
END_TEST

/* The last place is each processor's own: this one within two of the exact value. */
static void check_close(const char *name, struct float80 is, struct float80 wanted)
{
    ck_assert_msg(is.sign_exponent == wanted.sign_exponent &&
                      is.significand - wanted.significand + 2 <= 4,
                  "%s: %04x:%016llx, not %04x:%016llx", name, is.sign_exponent,
                  (unsigned long long)is.significand, wanted.sign_exponent,
                  (unsigned long long)wanted.significand);
}

START_TEST(transcendental_functions_are_close)
{
    static const struct function rows[] = {
        {"2^.5 - 1", 0xf0, 0x37f, HALF, ONE, F80(0x3ffd, 0xd413cccfe7799211), 0},
        {"2^-.5 - 1", 0xf0, 0x37f, F80(0xbffe, 0x8000000000000000), ONE,
         F80(0xbffd, 0x95f619980c4336f7), 0},
        {"sin 1", 0xfe, 0x37f, ONE, ONE, F80(0x3ffe, 0xd76aa47848677021), 0},
        {"cos 1", 0xff, 0x37f, ONE, ONE, F80(0x3ffe, 0x8a51407da8345c92), 0},
        {"atan 1/3", 0xf3, 0x37f, THREE, ONE, F80(0x3ffd, 0xa4bc7d1934f70924), 0},
        {"atan 1/-3", 0xf3, 0x37f, F80(0xc000, 0xc000000000000000), ONE,
         F80(0x4000, 0xb4784afefac9e110), 0},
        {"3 log 10", 0xf1, 0x37f, F80(0x4002, 0xa000000000000000), THREE,
         F80(0x4002, 0x9f73da38d9d4a83f), 0},
        {"3 log (1 + 2^-10)", 0xf9, 0x37f, F80(0x3ff5, 0x8000000000000000), THREE,
         F80(0x3ff7, 0x8a6e5f4b97b9f8be), 0},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        uint8_t code[] = {0xd9, rows[n].modrm};

        rig_start(rig, _i, rows[n].control);
        rig_push(rig, rows[n].b);
        rig_push(rig, rows[n].a);
        rig_run(rig, code, sizeof(code));
        check_close(rows[n].name, *rig_st(rig, 0), rows[n].result);
        ck_assert_uint_eq(rig_status(rig) & ~SW_C1, SW_PE);
    }
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, ONE);
    RIG_RUN(rig, 0xd9, 0xf2); /* fptan */
    rig_check_float80("1", *rig_st(rig, 0), ONE);
    check_close("tan 1", *rig_st(rig, 1), (struct float80)F80(0x3fff, 0xc75922e5f71d2dc5));
    *rig_st(rig, 1) = ONE;
    RIG_RUN(rig, 0xdd, 0xd8);
    RIG_RUN(rig, 0xd9, 0xfb); /* fsincos */
    check_close("cos 1", *rig_st(rig, 0), (struct float80)F80(0x3ffe, 0x8a51407da8345c92));
    check_close("sin 1", *rig_st(rig, 1), (struct float80)F80(0x3ffe, 0xd76aa47848677021));
}
END_TEST

START_TEST(special_operands_of_transcendental_functions)
{
    static const struct function rows[] = {
        {"atan 1/0", 0xf3, 0x37f, F80(0, 0), ONE, F80(0x3fff, 0xc90fdaa22168c235), SW_PE | SW_C1},
        {"atan 0/1", 0xf3, 0x37f, ONE, F80(0, 0), F80(0, 0), 0},
        {"1 log 0", 0xf1, 0x37f, F80(0, 0), ONE, F80(0xffff, 0x8000000000000000), SW_ZE},
        {"1 log -1", 0xf1, 0x37f, MINUS_ONE, ONE, DEFAULT_NAN, SW_IE},
        {"0 log 0", 0xf1, 0x37f, F80(0, 0), F80(0, 0), DEFAULT_NAN, SW_IE},
        {"sin 0", 0xfe, 0x37f, F80(0x8000, 0), ONE, F80(0x8000, 0), 0},
        {"sin infinity", 0xfe, 0x37f, F80(0x7fff, 0x8000000000000000), ONE, DEFAULT_NAN, SW_IE},
        {"sin 2^63", 0xfe, 0x37f, F80(0x403e, 0x8000000000000000), ONE,
         F80(0x403e, 0x8000000000000000), SW_C2},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        struct function f = rows[n];

        if (f.status & SW_PE) { /* its rounding is the processor's own */
            uint8_t code[] = {0xd9, f.modrm};

            rig_start(rig, _i, f.control);
            rig_push(rig, f.b);
            rig_push(rig, f.a);
            rig_run(rig, code, sizeof(code));
            check_close(f.name, *rig_st(rig, 0), f.result);
        } else {
            check_function(&f, _i);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("x87 functions");

    tcase_add_checked_fixture(tc, setup, teardown);
    /* 0: on the host's unit, where there is one; 1: in the soft-float. */
    tcase_add_loop_test(tc, loads_widen_every_format, 0, 2);
    tcase_add_loop_test(tc, a_load_of_80_bits_takes_them_as_they_are, 0, 2);
    tcase_add_loop_test(tc, stores_narrow_to_every_format, 0, 2);
    tcase_add_loop_test(tc, packed_decimal_has_eighteen_digits, 0, 2);
    tcase_add_loop_test(tc, constants_are_rounded_as_asked, 0, 2);
    tcase_add_loop_test(tc, exact_functions_give_result_and_conditions, 0, 2);
    tcase_add_loop_test(tc, fxtract_leaves_the_exponent_below, 0, 2);
    tcase_add_loop_test(tc, a_remainder_of_far_exponents_takes_several_steps, 0, 2);
    tcase_add_loop_test(tc, transcendental_functions_are_close, 0, 2);
    tcase_add_loop_test(tc, special_operands_of_transcendental_functions, 0, 2);
    return run_suite("x87 functions", tc);
}
