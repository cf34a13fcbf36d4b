/*
 * MMX and SSE instructions on a bare vCPU. Expected values are from the manual or computed by hand;
 * tests/diff holds every row against the host's processor.
 */
#include "tests/unit/cpu/op_rig.h"

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

START_TEST(without_osxmmexcpt_an_unmasked_exception_is_an_invalid_opcode)
{
    rig->cpu.mmu.cr4 &= ~CR4_OSXMMEXCPT;
    rig->cpu.mxcsr = 0x1f00;
    rig->cpu.vreg[1].q[0] = 0x7f800000;
    rig->cpu.vreg[2].q[0] = 0xff800000;
    RIG_RUN(rig, 0x0f, 0x58, 0xca); /* addps xmm1, xmm2 */
    ck_assert_int_eq(rig->raised, EXC_UD);
    ck_assert_uint_eq(rig->cpu.mxcsr, 0x1f01);
}
END_TEST

START_TEST(rex_does_not_reach_mmx_registers)
{
    rig->cpu.x87.r[2].significand = 0x1234;
    RIG_RUN(rig, 0x45, 0x0f, 0x6f, 0xca); /* movq mm1, mm2 with REX.R and REX.B */
    ck_assert_uint_eq(rig->cpu.x87.r[1].significand, 0x1234);
    ck_assert_uint_eq(rig->cpu.x87.r[1].sign_exponent, 0xffff);
}
END_TEST

START_TEST(a_pending_x87_exception_comes_before_an_mmx_instruction)
{
    rig->cpu.x87.control = 0x37b;
    fpu_x87_set_status(&rig->cpu, SW_ZE);
    rig->cpu.x87.valid = 0x80;
    RIG_RUN(rig, 0x0f, 0xef, 0x0b); /* pxor mm1, [rbx] */
    ck_assert_int_eq(rig->raised, EXC_MF);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0x80);
}
END_TEST

/* The op function that bytes decode to in 64-bit mode with the given FPU bits of the mode word. */
static op_fn *decoded_op(const char *bytes, unsigned length, uint32_t mode)
{
    struct insn i;
    uint32_t attrs;

    memset(&i, 0, sizeof(i));
    ck_assert_int_eq(decode_insn(&rig->cpu, MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT | mode,
                                 (const uint8_t *)bytes, length, 0, &i, &attrs),
                     DECODE_OK);
    return i.op;
}

START_TEST(sse_wants_osfxsr_but_mmx_does_not)
{
    ck_assert(decoded_op("\x66\x0f\xef\xca", 4, 0) == op_ud);
    ck_assert(decoded_op("\x66\x0f\xef\xca", 4, MODE_OSFXSR) != op_ud);
    ck_assert(decoded_op("\x0f\xef\xca", 3, 0) != op_ud);
    ck_assert(decoded_op("\x0f\xef\xca", 3, MODE_EM) == op_ud);
    ck_assert(decoded_op("\x0f\xef\xca", 3, MODE_TS) == op_nm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sse");
    TCase *tc = tcase_create("sse");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, without_osxmmexcpt_an_unmasked_exception_is_an_invalid_opcode);
    tcase_add_test(tc, rex_does_not_reach_mmx_registers);
    tcase_add_test(tc, a_pending_x87_exception_comes_before_an_mmx_instruction);
    tcase_add_test(tc, sse_wants_osfxsr_but_mmx_does_not);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
