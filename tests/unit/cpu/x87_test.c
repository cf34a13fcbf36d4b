/*
 * x87 instructions on a bare vCPU, on the host's unit and in the soft-float. Expected values are
 * from the manual or computed by hand or with a multiple-precision library; tests/diff holds every
 * row against the host's processor.
 */
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

#define ONE            F80(0x3fff, 0x8000000000000000)
#define THREE          F80(0x4000, 0xc000000000000000)
#define ZERO           F80(0, 0)
#define PLUS_INFINITY  F80(0x7fff, 0x8000000000000000)
#define QUIET_NAN      F80(0x7fff, 0xc000000000001234)
#define SIGNALLING_NAN F80(0x7fff, 0x8000000000000001)
#define LARGEST        F80(0x7ffe, 0xffffffffffffffff)
#define LEAST_NORMAL   F80(0x0001, 0x8000000000000000)
#define DENORMAL       F80(0x0000, 0x0000000000000002)
#define UNNORMAL       F80(0x4000, 0x4000000000000000)

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

/* D8 /op with ST = a and ST(1) = b; expected: ST, and the status word. */
struct arithmetic {
    const char *name;
    uint8_t modrm; /* D8 xx: ST = ST op ST(1) */
    uint16_t control;
    struct float80 a, b, result;
    unsigned status;
};

#define FADD  0xc1
#define FMUL  0xc9
#define FSUB  0xe1
#define FSUBR 0xe9
#define FDIV  0xf1
#define FDIVR 0xf9

static const struct arithmetic arithmetic[] = {
    {"1 / 3", FDIV, 0x37f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaaaaab), SW_PE | SW_C1},
    {"1 / 3 down", FDIV, 0x77f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaaaaaa), SW_PE},
    {"1 / 3 up", FDIV, 0xb7f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaaaaab), SW_PE | SW_C1},
    {"1 / 3 cut", FDIV, 0xf7f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaaaaaa), SW_PE},
    {"1 / 3 in 53 bits", FDIV, 0x27f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaaa800), SW_PE},
    {"1 / 3 in 53 bits up", FDIV, 0xa7f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaab000),
     SW_PE | SW_C1},
    {"1 / 3 in 24 bits", FDIV, 0x07f, ONE, THREE, F80(0x3ffd, 0xaaaaab0000000000), SW_PE | SW_C1},
    {"3 / 1 reversed", FDIVR, 0x37f, THREE, ONE, F80(0x3ffd, 0xaaaaaaaaaaaaaaab), SW_PE | SW_C1},
    {"3 + 1", FADD, 0x37f, THREE, ONE, F80(0x4001, 0x8000000000000000), 0},
    {"3 - 1", FSUB, 0x37f, THREE, ONE, F80(0x4000, 0x8000000000000000), 0},
    {"1 - 3", FSUBR, 0x37f, THREE, ONE, F80(0xc000, 0x8000000000000000), 0},
    {"3 * 3", FMUL, 0x37f, THREE, THREE, F80(0x4002, 0x9000000000000000), 0},
    {"1 - 1", FSUB, 0x37f, ONE, ONE, F80(0, 0), 0},
    {"1 - 1 down", FSUB, 0x77f, ONE, ONE, F80(0x8000, 0), 0},
    {"1 + a little", FADD, 0x37f, ONE, LEAST_NORMAL, F80(0x3fff, 0x8000000000000000), SW_PE},
    {"1 + a little up", FADD, 0xb7f, ONE, LEAST_NORMAL, F80(0x3fff, 0x8000000000000001),
     SW_PE | SW_C1},
    {"infinity - infinity", FSUB, 0x37f, PLUS_INFINITY, PLUS_INFINITY, DEFAULT_NAN, SW_IE},
    {"0 * infinity", FMUL, 0x37f, ZERO, PLUS_INFINITY, DEFAULT_NAN, SW_IE},
    {"0 / 0", FDIV, 0x37f, ZERO, ZERO, DEFAULT_NAN, SW_IE},
    {"1 / 0", FDIV, 0x37f, ONE, ZERO, F80(0x7fff, 0x8000000000000000), SW_ZE},
    {"largest + largest", FADD, 0x37f, LARGEST, LARGEST, F80(0x7fff, 0x8000000000000000),
     SW_OE | SW_PE | SW_C1},
    {"largest + largest cut", FADD, 0xf7f, LARGEST, LARGEST, F80(0x7ffe, 0xffffffffffffffff),
     SW_OE | SW_PE},
    {"least / 3", FDIV, 0x37f, LEAST_NORMAL, THREE, F80(0, 0x2aaaaaaaaaaaaaab),
     SW_UE | SW_PE | SW_C1},
    {"denormal + denormal", FADD, 0x37f, DENORMAL, DENORMAL, F80(0, 4), SW_DE},
    {"1 + denormal", FADD, 0x37f, ONE, DENORMAL, F80(0x3fff, 0x8000000000000000), SW_DE | SW_PE},
    {"quiet NaN + 1", FADD, 0x37f, QUIET_NAN, ONE, F80(0x7fff, 0xc000000000001234), 0},
    {"signalling NaN + 1", FADD, 0x37f, SIGNALLING_NAN, ONE, F80(0x7fff, 0xc000000000000001),
     SW_IE},
    {"signalling NaN + quiet NaN", FADD, 0x37f, SIGNALLING_NAN, QUIET_NAN,
     F80(0x7fff, 0xc000000000001234), SW_IE},
    {"unnormal + 1", FADD, 0x37f, UNNORMAL, ONE, DEFAULT_NAN, SW_IE},
    /* Unmasked: pre-computation exceptions keep the operand, the others adjust the exponent. */
    {"0 / 0, unmasked", FDIV, 0x37e, ZERO, ZERO, ZERO, SW_IE | SW_ES | SW_B},
    {"1 / 0, unmasked", FDIV, 0x37b, ONE, ZERO, ONE, SW_ZE | SW_ES | SW_B},
    {"1 + denormal, unmasked", FADD, 0x37d, ONE, DENORMAL, ONE, SW_DE | SW_ES | SW_B},
    {"largest + largest, unmasked", FADD, 0x377, LARGEST, LARGEST, F80(0x1fff, 0xffffffffffffffff),
     SW_OE | SW_ES | SW_B},
    {"least / 3, unmasked", FDIV, 0x36f, LEAST_NORMAL, THREE, F80(0x5fff, 0xaaaaaaaaaaaaaaab),
     SW_UE | SW_PE | SW_C1 | SW_ES | SW_B},
    {"1 / 3, unmasked", FDIV, 0x35f, ONE, THREE, F80(0x3ffd, 0xaaaaaaaaaaaaaaab),
     SW_PE | SW_C1 | SW_ES | SW_B},
};

START_TEST(arithmetic_gives_result_and_flags)
{
    for (unsigned n = 0; n < ARRAY_SIZE(arithmetic); n++) {
        const struct arithmetic *row = &arithmetic[n];
        uint8_t code[] = {0xd8, row->modrm};

        rig_start(rig, _i, row->control);
        rig_push(rig, row->b);
        rig_push(rig, row->a);
        rig_run(rig, code, sizeof(code));
        ck_assert_int_eq(rig->raised, -1);
        rig_check_float80(row->name, *rig_st(rig, 0), row->result);
        ck_assert_msg(rig_status(rig) == row->status, "%s: status %04x, not %04x", row->name,
                      rig_status(rig), row->status);
    }
}
END_TEST

START_TEST(the_reverse_forms_write_the_other_register)
{
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, THREE);
    rig_push(rig, ONE);
    RIG_RUN(rig, 0xdc, 0xe1); /* fsubr st1, st0: st1 = st0 - st1 */
    rig_check_float80("st1", *rig_st(rig, 1), (struct float80)F80(0xc000, 0x8000000000000000));
    rig_check_float80("st0", *rig_st(rig, 0), ONE);
    RIG_RUN(rig, 0xde, 0xe9); /* fsubp st1, st0: st1 = st1 - st0, pop */
    rig_check_float80("st0", *rig_st(rig, 0), (struct float80)F80(0xc000, 0xc000000000000000));
    ck_assert_uint_eq(rig->cpu.x87.valid, 0x80);
    ck_assert_uint_eq(rig->cpu.x87.top, 7);
}
END_TEST

START_TEST(operands_in_memory_are_widened)
{
    static const struct {
        uint8_t opcode;
        uint64_t memory;
        struct float80 result;
        unsigned status;
    } rows[] = {
        {0xd8, 0x3fc00000, F80(0x4000, 0xa000000000000000), 0},         /* 1.5, single */
        {0xdc, 0x3ff8000000000000, F80(0x4000, 0xa000000000000000), 0}, /* 1.5, double */
        {0xde, 0xfffe, F80(0xbfff, 0x8000000000000000), 0},             /* -2, word */
        {0xda, 0xfffffffe, F80(0xbfff, 0x8000000000000000), 0},         /* -2, doubleword */
        {0xd8, 0x00000001, F80(0x3fff, 0x8000000000000000), SW_DE | SW_PE},
        {0xdc, 0x0000000000000001, F80(0x3fff, 0x8000000000000000), SW_DE | SW_PE},
        {0xd8, 0x7f800001, F80(0x7fff, 0xc000010000000000), SW_IE},
        {0xdc, 0xfff8000000000001, F80(0xffff, 0xc000000000000800), 0},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        uint8_t code[] = {rows[n].opcode, 0x03}; /* fadd [rbx] */

        rig_start(rig, _i, CW_INIT);
        rig_push(rig, ONE);
        guest_store64(rig_operand(rig), rows[n].memory);
        rig_run(rig, code, sizeof(code));
        rig_check_float80("1 + operand", *rig_st(rig, 0), rows[n].result);
        ck_assert_uint_eq(rig_status(rig), rows[n].status);
    }
}
END_TEST

START_TEST(a_pending_exception_waits_for_the_next_waiting_instruction)
{
    rig_start(rig, _i, 0x37b);
    rig_push(rig, ZERO);
    rig_push(rig, ONE);
    RIG_RUN(rig, 0xd8, 0xf1); /* fdiv st0, st1 */
    ck_assert_int_eq(rig->raised, -1);
    RIG_RUN(rig, 0xdf, 0xe0); /* fnstsw ax */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.gpr[GPR_RAX], (6u << SW_TOP_SHIFT) | SW_ZE | SW_ES | SW_B);
    RIG_RUN(rig, 0xd9, 0xe0); /* fchs */
    ck_assert_int_eq(rig->raised, EXC_MF);
    rig_check_float80("unchanged", *rig_st(rig, 0), ONE);
    RIG_RUN(rig, 0xdb, 0xe2); /* fnclex */
    RIG_RUN(rig, 0xd9, 0xe0);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig_st(rig, 0)->sign_exponent, 0xbfff);
}
END_TEST

START_TEST(unmasking_a_set_flag_makes_it_pending)
{
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, THREE);
    rig_push(rig, ONE);
    RIG_RUN(rig, 0xd8, 0xf1);
    ck_assert_uint_eq(rig_status(rig) & (SW_PE | SW_ES), SW_PE);
    guest_store16(rig_operand(rig), 0x35f);
    RIG_RUN(rig, 0xd9, 0x2b); /* fldcw [rbx] */
    ck_assert_uint_eq(rig_status(rig) & (SW_PE | SW_ES | SW_B), SW_PE | SW_ES | SW_B);
    RIG_RUN(rig, 0x9b); /* fwait */
    ck_assert_int_eq(rig->raised, EXC_MF);
}
END_TEST

START_TEST(without_cr0_ne_and_a_chipset_nothing_stops)
{
    rig_start(rig, _i, 0x37b);
    rig->cpu.mmu.cr0 &= ~CR0_NE;
    fpu_x87_set_status(&rig->cpu, SW_ZE);
    RIG_RUN(rig, 0x9b);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig_status(rig) & SW_ES, SW_ES);
}
END_TEST

/* ---- The stack ------------------------------------------------------------------------------- */

START_TEST(an_empty_register_is_a_stack_underflow)
{
    rig_start(rig, _i, CW_INIT);
    RIG_RUN(rig, 0xd8, 0xc1); /* fadd st0, st1 */
    rig_check_float80("default NaN", *rig_st(rig, 0), SF80_DEFAULT_NAN);
    ck_assert_uint_eq(rig_status(rig), SW_IE | SW_SF);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0x01);
}
END_TEST

START_TEST(a_full_stack_overflows)
{
    rig_start(rig, _i, CW_INIT);
    for (unsigned n = 0; n < 8; n++)
        rig_push(rig, ONE);
    RIG_RUN(rig, 0xd9, 0xee); /* fldz */
    rig_check_float80("default NaN", *rig_st(rig, 0), SF80_DEFAULT_NAN);
    ck_assert_uint_eq(rig_status(rig), SW_IE | SW_SF | SW_C1);
    ck_assert_uint_eq(rig->cpu.x87.top, 7);
}
END_TEST

START_TEST(an_unmasked_stack_fault_changes_nothing)
{
    rig_start(rig, _i, 0x37e);
    for (unsigned n = 0; n < 8; n++)
        rig_push(rig, ONE);
    RIG_RUN(rig, 0xd9, 0xee);
    rig_check_float80("st0", *rig_st(rig, 0), ONE);
    ck_assert_uint_eq(rig_status(rig), SW_IE | SW_SF | SW_C1 | SW_ES | SW_B);
    ck_assert_uint_eq(rig->cpu.x87.top, 0);
}
END_TEST

START_TEST(free_and_pointer_instructions_touch_only_tags_and_top)
{
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, THREE);
    rig_push(rig, ONE);
    RIG_RUN(rig, 0xdd, 0xc1); /* ffree st1 */
    ck_assert_uint_eq(rig->cpu.x87.valid, 0x40);
    RIG_RUN(rig, 0xd9, 0xf7); /* fincstp */
    ck_assert_uint_eq(rig->cpu.x87.top, 7);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0x40);
    RIG_RUN(rig, 0xd9, 0xf6); /* fdecstp */
    ck_assert_uint_eq(rig->cpu.x87.top, 6);
    RIG_RUN(rig, 0xdf, 0xc0); /* ffreep st0 */
    ck_assert_uint_eq(rig->cpu.x87.top, 7);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0);
    ck_assert_uint_eq(rig_status(rig) & SW_IE, 0);
}
END_TEST

START_TEST(exchange_and_conditional_moves)
{
    rig_start(rig, _i, CW_INIT);
    rig_push(rig, THREE);
    rig_push(rig, ONE);
    RIG_RUN(rig, 0xd9, 0xc9); /* fxch st1 */
    rig_check_float80("st0", *rig_st(rig, 0), THREE);
    rig_check_float80("st1", *rig_st(rig, 1), ONE);
    flags_set(&rig->cpu, 0);
    RIG_RUN(rig, 0xda, 0xc9); /* fcmove st0, st1 */
    rig_check_float80("not moved", *rig_st(rig, 0), THREE);
    flags_set(&rig->cpu, EFLAGS_ZF);
    RIG_RUN(rig, 0xda, 0xc9);
    rig_check_float80("moved", *rig_st(rig, 0), ONE);
    RIG_RUN(rig, 0xdb, 0xc2); /* fcmovnb st0, st2: empty */
    rig_check_float80("underflow", *rig_st(rig, 0), SF80_DEFAULT_NAN);
}
END_TEST

START_TEST(the_last_instruction_leaves_its_pointers)
{
    struct x87 *x = &rig->cpu.x87;

    rig_start(rig, _i, CW_INIT);
    rig->cpu.gpr[GPR_IP_BASE] = 0x7000;
    rig->cpu.seg[SEG_CS].selector = 0x33;
    rig->cpu.seg[SEG_DS].selector = 0x2b;
    RIG_RUN(rig, 0xdd, 0x03); /* fld m64 */
    ck_assert_uint_eq(x->opcode, 0x503);
    ck_assert_uint_eq(x->ip, 0x7000 + RIG_CODE);
    ck_assert_uint_eq(x->dp, RIG_OPERAND);
    ck_assert_uint_eq(x->cs, 0x33);
    ck_assert_uint_eq(x->ds, 0x2b);
    RIG_RUN(rig, 0xdb, 0xe2); /* fnclex, a control instruction */
    ck_assert_uint_eq(x->opcode, 0x503);
}
END_TEST

/* ---- Comparison ------------------------------------------------------------------------------ */

START_TEST(comparisons_set_conditions_or_eflags)
{
    static const struct {
        struct float80 a, b;
        unsigned conditions, flags;
        bool ordered_invalid, unordered_invalid;
    } rows[] = {
        {ONE, THREE, SW_C0, EFLAGS_CF, false, false},
        {THREE, ONE, 0, 0, false, false},
        {ONE, ONE, SW_C3, EFLAGS_ZF, false, false},
        {QUIET_NAN, ONE, SW_C3 | SW_C2 | SW_C0, EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF, true, false},
        {ONE, SIGNALLING_NAN, SW_C3 | SW_C2 | SW_C0, EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF, true, true},
        {UNNORMAL, ONE, SW_C3 | SW_C2 | SW_C0, EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF, true, true},
    };
    static const uint8_t codes[][2] = {{0xd8, 0xd1}, {0xdd, 0xe1}, {0xdb, 0xf1}, {0xdb, 0xe9}};

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++)
        for (unsigned k = 0; k < 4; k++) { /* fcom, fucom, fcomi, fucomi */
            bool invalid = k & 1 ? rows[n].unordered_invalid : rows[n].ordered_invalid;

            rig_start(rig, _i, CW_INIT);
            flags_set(&rig->cpu, EFLAGS_OF | EFLAGS_SF | EFLAGS_AF);
            rig_push(rig, rows[n].b);
            rig_push(rig, rows[n].a);
            rig_run(rig, codes[k], 2);
            ck_assert_uint_eq(rig_status(rig),
                              (invalid ? SW_IE : 0) | (k < 2 ? rows[n].conditions : 0));
            if (k >= 2)
                ck_assert_uint_eq(flags_get(&rig->cpu), rows[n].flags);
        }
}
END_TEST

START_TEST(fxam_names_every_class)
{
    static const struct {
        struct float80 value;
        unsigned conditions;
    } rows[] = {
        {UNNORMAL, 0},
        {QUIET_NAN, SW_C0},
        {SIGNALLING_NAN, SW_C0},
        {ONE, SW_C2},
        {F80(0xffff, 0x8000000000000000), SW_C2 | SW_C0 | SW_C1},
        {F80(0x8000, 0), SW_C3 | SW_C1},
        {DENORMAL, SW_C3 | SW_C2},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        rig_start(rig, _i, CW_INIT);
        rig_push(rig, rows[n].value);
        RIG_RUN(rig, 0xd9, 0xe5);
        ck_assert_uint_eq(rig_status(rig), rows[n].conditions);
    }
    rig_start(rig, _i, CW_INIT);
    rig->cpu.x87.r[0].sign_exponent = 0x8000;
    RIG_RUN(rig, 0xd9, 0xe5); /* empty: the sign still shows */
    ck_assert_uint_eq(rig_status(rig), SW_C3 | SW_C0 | SW_C1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("x87");

    tcase_add_checked_fixture(tc, setup, teardown);
    /* 0: on the host's unit, where there is one; 1: in the soft-float. */
    tcase_add_loop_test(tc, arithmetic_gives_result_and_flags, 0, 2);
    tcase_add_loop_test(tc, the_reverse_forms_write_the_other_register, 0, 2);
    tcase_add_loop_test(tc, operands_in_memory_are_widened, 0, 2);
    tcase_add_loop_test(tc, a_pending_exception_waits_for_the_next_waiting_instruction, 0, 2);
    tcase_add_loop_test(tc, unmasking_a_set_flag_makes_it_pending, 0, 2);
    tcase_add_test(tc, without_cr0_ne_and_a_chipset_nothing_stops);
    tcase_add_loop_test(tc, an_empty_register_is_a_stack_underflow, 0, 2);
    tcase_add_test(tc, a_full_stack_overflows);
    tcase_add_test(tc, an_unmasked_stack_fault_changes_nothing);
    tcase_add_test(tc, free_and_pointer_instructions_touch_only_tags_and_top);
    tcase_add_test(tc, exchange_and_conditional_moves);
    tcase_add_test(tc, the_last_instruction_leaves_its_pointers);
    tcase_add_loop_test(tc, comparisons_set_conditions_or_eflags, 0, 2);
    tcase_add_test(tc, fxam_names_every_class);
    return run_suite("x87", tc);
}
