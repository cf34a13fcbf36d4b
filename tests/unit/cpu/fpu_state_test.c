/*
 * Images of the floating-point state in memory, and the control registers: FNSTENV to XRSTOR,
 * MXCSR, XCR0, on a bare vCPU. Layouts: Intel SDM 1 8.1.10, 10.5.1, 13.4.
 */
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

static const struct float80 one = F80(0x3fff, 0x8000000000000000);
static const struct float80 denormal = F80(0x0000, 0x0000000000000002);

static struct rig *rig;

/* A unit in which every field has a value of its own: TOP 5, ST0 to ST2 hold 1, 0 and a denormal.
 */
static void setup(void)
{
    struct x87 *x;

    rig = rig_create();
    rig_start(rig, false, 0x037f);
    rig_push(rig, denormal);
    rig_push(rig, (struct float80){0});
    rig_push(rig, one);
    x = &rig->cpu.x87;
    fpu_x87_set_status(&rig->cpu, fpu_x87_status(&rig->cpu) | SW_C2 | SW_PE);
    x->opcode = 0x5a3;
    x->ip = 0x1122334455;
    x->dp = 0x6677889900;
    x->cs = 0x33;
    x->ds = 0x2b;
    memset(rig_operand(rig), 0x55, 1024);
}

static void teardown(void)
{
    rig_destroy(rig);
}

#define STATUS (5u << SW_TOP_SHIFT | SW_C2 | SW_PE)
#define TAGS   0x93ffu /* R7 special, R6 zero, R5 valid */

static uint16_t word(unsigned offset)
{
    return guest_load16(rig_operand(rig) + offset);
}

static uint32_t dword(unsigned offset)
{
    return guest_load32(rig_operand(rig) + offset);
}

static uint64_t qword(unsigned offset)
{
    return guest_load64(rig_operand(rig) + offset);
}

/* Real-address mode: DS starts at the page, BX points to the operand. */
static void enter_real_mode(void)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->mode = MODE_OSFXSR | MODE_CPL0;
    cpu->ip_mask = 0xffff;
    cpu->mmu.cr0 = CR0_NE;
    cpu->gpr[GPR_RBX] = RIG_OFFSET;
    cpu->seg[SEG_DS] = (struct segment){
        .base = RIG_PAGE,
        .limit = 0xffff,
        .attributes = SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED,
        .usable = true,
    };
}

/* ---- FNSTENV, FLDENV, FNSAVE, FRSTOR --------------------------------------------------------- */

START_TEST(the_environment_in_the_32_bit_protected_format)
{
    RIG_RUN(rig, 0xd9, 0x33); /* fnstenv [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(word(0), 0x037f);
    ck_assert_uint_eq(word(4), STATUS);
    ck_assert_uint_eq(word(8), TAGS);
    ck_assert_uint_eq(dword(12), 0x22334455);
    ck_assert_uint_eq(dword(16), 0x05a30033);
    ck_assert_uint_eq(dword(20), 0x77889900);
    ck_assert_uint_eq(word(24), 0x2b);
    ck_assert_uint_eq(dword(28), 0x55555555);
}
END_TEST

START_TEST(the_environment_in_the_16_bit_protected_format)
{
    RIG_RUN(rig, 0x66, 0xd9, 0x33);
    ck_assert_uint_eq(word(0), 0x037f);
    ck_assert_uint_eq(word(2), STATUS);
    ck_assert_uint_eq(word(4), TAGS);
    ck_assert_uint_eq(word(6), 0x4455);
    ck_assert_uint_eq(word(8), 0x33);
    ck_assert_uint_eq(word(10), 0x9900);
    ck_assert_uint_eq(word(12), 0x2b);
    ck_assert_uint_eq(word(14), 0x5555);
}
END_TEST

START_TEST(the_environment_in_the_16_bit_real_format)
{
    enter_real_mode();
    rig->cpu.x87.ip = 0x4455;
    rig->cpu.x87.dp = 0x9900;
    rig->cpu.x87.cs = 0x1230;
    rig->cpu.x87.ds = 0xf000;
    RIG_RUN(rig, 0xd9, 0x37); /* fnstenv [bx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(word(4), TAGS);
    ck_assert_uint_eq(word(6), 0x6755); /* 12300 + 4455 */
    ck_assert_uint_eq(word(8), 0x15a3);
    ck_assert_uint_eq(word(10), 0x9900); /* f0000 + 9900 */
    ck_assert_uint_eq(word(12), 0xf000);
    ck_assert_uint_eq(word(14), 0x5555);
}
END_TEST

START_TEST(the_environment_in_the_32_bit_real_format)
{
    enter_real_mode();
    rig->cpu.x87.ip = 0x4455;
    rig->cpu.x87.dp = 0x9900;
    rig->cpu.x87.cs = 0x1230;
    rig->cpu.x87.ds = 0xf000;
    RIG_RUN(rig, 0x66, 0xd9, 0x37);
    ck_assert_uint_eq(word(8), TAGS);
    ck_assert_uint_eq(word(12), 0x6755);
    ck_assert_uint_eq(dword(16), 0x000015a3);
    ck_assert_uint_eq(word(20), 0x9900);
    ck_assert_uint_eq(dword(24), 0x0000f000);
    ck_assert_uint_eq(dword(28), 0x55555555);
}
END_TEST

START_TEST(storing_the_environment_masks_all_exceptions)
{
    fpu_x87_set_control(&rig->cpu, 0x0340);
    ck_assert_uint_eq(rig_status(rig) & SW_ES, SW_ES);
    RIG_RUN(rig, 0xd9, 0x33);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(word(4) & SW_ES, SW_ES);
    ck_assert_uint_eq(rig->cpu.x87.control, 0x037f);
    ck_assert_uint_eq(rig_status(rig) & SW_ES, 0);
}
END_TEST

START_TEST(an_environment_comes_back)
{
    struct x87 before = rig->cpu.x87;

    RIG_RUN(rig, 0xd9, 0x33);
    RIG_RUN(rig, 0xdb, 0xe3); /* fninit */
    ck_assert_uint_eq(rig->cpu.x87.control, 0x37f);
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), 0);
    RIG_RUN(rig, 0xd9, 0x23); /* fldenv [rbx] */
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), STATUS);
    ck_assert_uint_eq(rig->cpu.x87.valid, before.valid);
    ck_assert_uint_eq(rig->cpu.x87.opcode, before.opcode);
    ck_assert_uint_eq(rig->cpu.x87.ip, (uint32_t)before.ip);
    ck_assert_uint_eq(rig->cpu.x87.cs, before.cs);
    rig_check_float80("st0", *rig_st(rig, 0), one);
}
END_TEST

START_TEST(an_environment_may_bring_a_pending_exception)
{
    RIG_RUN(rig, 0xd9, 0x33);
    guest_store16(rig_operand(rig), 0x035f);
    RIG_RUN(rig, 0xd9, 0x23);
    ck_assert_int_eq(rig->raised, -1);
    RIG_RUN(rig, 0x9b); /* fwait */
    ck_assert_int_eq(rig->raised, EXC_MF);
}
END_TEST

START_TEST(saving_the_state_initialises_and_restoring_brings_it_back)
{
    RIG_RUN(rig, 0xdd, 0x33); /* fnsave [rbx] */
    ck_assert_uint_eq(word(8), TAGS);
    ck_assert_uint_eq(qword(28), one.significand);
    ck_assert_uint_eq(word(36), one.sign_exponent);
    ck_assert_uint_eq(qword(48), denormal.significand);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0);
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), 0);
    memset(rig->cpu.x87.r, 0, sizeof(rig->cpu.x87.r));
    RIG_RUN(rig, 0xdd, 0x23); /* frstor [rbx] */
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), STATUS);
    rig_check_float80("st0", *rig_st(rig, 0), one);
    rig_check_float80("st2", *rig_st(rig, 2), denormal);
    ck_assert_uint_eq(fpu_x87_tags(&rig->cpu), TAGS);
}
END_TEST

/* ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------- */

START_TEST(fxsave_has_the_layout_of_the_manual)
{
    rig->cpu.mxcsr = 0x9fc1;
    for (unsigned n = 0; n < 16; n++)
        rig->cpu.vreg[n].q[0] = n + 1;
    RIG_RUN(rig, 0x0f, 0xae, 0x03);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(word(0), 0x037f);
    ck_assert_uint_eq(word(2), STATUS);
    ck_assert_uint_eq(word(4), 0xe0);
    ck_assert_uint_eq(word(6), 0x5a3);
    ck_assert_uint_eq(dword(8), 0x22334455);
    ck_assert_uint_eq(word(12), 0x33);
    ck_assert_uint_eq(dword(16), 0x77889900);
    ck_assert_uint_eq(word(20), 0x2b);
    ck_assert_uint_eq(dword(24), 0x9fc1);
    ck_assert_uint_eq(dword(28), 0xffff);
    ck_assert_uint_eq(qword(32), one.significand);
    ck_assert_uint_eq(word(40), one.sign_exponent);
    ck_assert_uint_eq(qword(160), 1);
    ck_assert_uint_eq(qword(160 + 15 * 16), 16);
    ck_assert_uint_eq(qword(464), 0x5555555555555555);
    RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x03); /* fxsave64 */
    ck_assert_uint_eq(qword(8), 0x1122334455);
    ck_assert_uint_eq(qword(16), 0x6677889900);
}
END_TEST

START_TEST(fxrstor_brings_everything_back)
{
    RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x03);
    rig->cpu.vreg[3].q[1] = 7;
    RIG_RUN(rig, 0xdb, 0xe3);
    rig->cpu.mxcsr = 0x1f80;
    guest_store32(rig_operand(rig) + 24, 0x7f80);
    guest_store64(rig_operand(rig) + 160 + 3 * 16 + 8, 0xabcd);
    RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x0b);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), STATUS);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0xe0);
    ck_assert_uint_eq(rig->cpu.x87.ip, 0x1122334455);
    ck_assert_uint_eq(rig->cpu.mxcsr, 0x7f80);
    ck_assert_uint_eq(rig->cpu.vreg[3].q[1], 0xabcd);
    rig_check_float80("st0", *rig_st(rig, 0), one);
}
END_TEST

START_TEST(fxrstor_refuses_reserved_bits_and_bad_alignment)
{
    struct x87 before = rig->cpu.x87;

    RIG_RUN(rig, 0x0f, 0xae, 0x03);
    guest_store32(rig_operand(rig) + 24, 0x10000);
    guest_store16(rig_operand(rig), 0x0040);
    RIG_RUN(rig, 0x0f, 0xae, 0x0b);
    ck_assert_int_eq(rig->raised, EXC_GP);
    ck_assert_uint_eq(rig->cpu.x87.control, before.control);
    RIG_RUN(rig, 0x0f, 0xae, 0x4b, 0x08);
    ck_assert_int_eq(rig->raised, EXC_GP);
}
END_TEST

START_TEST(ldmxcsr_refuses_reserved_bits)
{
    guest_store32(rig_operand(rig), 0x10000);
    RIG_RUN(rig, 0x0f, 0xae, 0x13);
    ck_assert_int_eq(rig->raised, EXC_GP);
    guest_store32(rig_operand(rig), 0xffff);
    RIG_RUN(rig, 0x0f, 0xae, 0x13);
    ck_assert_int_eq(rig->raised, -1);
    RIG_RUN(rig, 0x0f, 0xae, 0x5b, 0x04); /* stmxcsr [rbx + 4] */
    ck_assert_uint_eq(dword(4), 0xffff);
}
END_TEST

/* ---- XSAVE, XRSTOR --------------------------------------------------------------------------- */

static void request(uint64_t components)
{
    rig->cpu.gpr[GPR_RAX] = (uint32_t)components;
    rig->cpu.gpr[GPR_RDX] = components >> 32;
}

START_TEST(xsave_writes_what_is_asked_for_and_the_header)
{
    guest_store64(rig_operand(rig) + 512, 2);
    request(1);
    RIG_RUN(rig, 0x0f, 0xae, 0x23);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(qword(512), 3); /* SSE as it was */
    ck_assert_uint_eq(qword(32), one.significand);
    ck_assert_uint_eq(dword(24), 0x55555555);
    ck_assert_uint_eq(qword(160), 0x5555555555555555);
    request(2);
    RIG_RUN(rig, 0x0f, 0xae, 0x23);
    ck_assert_uint_eq(qword(512), 1); /* in its initial state */
    ck_assert_uint_eq(dword(24), 0x1f80);
    ck_assert_uint_eq(qword(160), 0);
}
END_TEST

START_TEST(xsaveopt_leaves_out_what_is_initial)
{
    guest_store64(rig_operand(rig) + 512, 0);
    request(3);
    RIG_RUN(rig, 0x0f, 0xae, 0x33);
    ck_assert_uint_eq(qword(512), 1);
    ck_assert_uint_eq(qword(160), 0x5555555555555555);
    ck_assert_uint_eq(dword(24), 0x1f80);
}
END_TEST

START_TEST(xrstor_initialises_what_the_header_lacks)
{
    memset(rig_operand(rig), 0, 1024);
    guest_store32(rig_operand(rig) + 24, 0x3f80);
    guest_store64(rig_operand(rig) + 512, 2);
    guest_store64(rig_operand(rig) + 160, 0x1234);
    request(3);
    RIG_RUN(rig, 0x0f, 0xae, 0x2b);
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.x87.control, 0x37f);
    ck_assert_uint_eq(rig->cpu.x87.valid, 0);
    ck_assert_uint_eq(fpu_x87_status(&rig->cpu), 0);
    rig_check_float80("st0", *rig_st(rig, 0), (struct float80){0});
    ck_assert_uint_eq(rig->cpu.mxcsr, 0x3f80);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[0], 0x1234);
}
END_TEST

START_TEST(xrstor_refuses_bad_headers)
{
    static const struct {
        unsigned offset;
        uint64_t value;
    } rows[] = {{512, BIT64(62)}, {520, BIT64(63) | BIT64(62)}, {520, 1}, {528, 1}, {24, 0x10000}};

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        memset(rig_operand(rig), 0, 1024);
        guest_store64(rig_operand(rig) + rows[n].offset, rows[n].value);
        request(3);
        RIG_RUN(rig, 0x0f, 0xae, 0x2b);
        ck_assert_int_eq(rig->raised, EXC_GP);
        ck_assert_uint_eq(fpu_x87_status(&rig->cpu), STATUS);
    }
    RIG_RUN(rig, 0x0f, 0xae, 0x6b, 0x10); /* 16 bytes off */
    ck_assert_int_eq(rig->raised, EXC_GP);
}
END_TEST

START_TEST(xcr0_is_read_and_refuses_what_cannot_be)
{
    rig->cpu.gpr[GPR_RCX] = 0;
    RIG_RUN(rig, 0x0f, 0x01, 0xd0); /* xgetbv */
    ck_assert_uint_eq(rig->cpu.gpr[GPR_RAX], 3);
    ck_assert_uint_eq(rig->cpu.gpr[GPR_RDX], 0);
    request(2);                     /* without x87 */
    RIG_RUN(rig, 0x0f, 0x01, 0xd1); /* xsetbv */
    ck_assert_int_eq(rig->raised, EXC_GP);
    request(5); /* AVX without SSE */
    RIG_RUN(rig, 0x0f, 0x01, 0xd1);
    ck_assert_int_eq(rig->raised, EXC_GP);
    rig->cpu.gpr[GPR_RCX] = 5;
    RIG_RUN(rig, 0x0f, 0x01, 0xd0);
    ck_assert_int_eq(rig->raised, EXC_GP);
    rig->cpu.mmu.cr4 &= ~CR4_OSXSAVE;
    rig->cpu.gpr[GPR_RCX] = 0;
    RIG_RUN(rig, 0x0f, 0x01, 0xd0);
    ck_assert_int_eq(rig->raised, EXC_UD);
}
END_TEST

/* ---- Gates ----------------------------------------------------------------------------------- */

START_TEST(cr0_sends_x87_instructions_to_handlers)
{
    rig->cpu.mode |= MODE_EM;
    RIG_RUN(rig, 0xd9, 0xe8); /* fld1 */
    ck_assert_int_eq(rig->raised, EXC_NM);
    RIG_RUN(rig, 0x9b); /* fwait: EM does not matter */
    ck_assert_int_eq(rig->raised, -1);
    rig->cpu.mode = (rig->cpu.mode & ~(uint32_t)MODE_EM) | MODE_TS;
    RIG_RUN(rig, 0xd9, 0xe8);
    ck_assert_int_eq(rig->raised, EXC_NM);
    RIG_RUN(rig, 0x9b);
    ck_assert_int_eq(rig->raised, -1);
    rig->cpu.mode |= MODE_MP;
    RIG_RUN(rig, 0x9b);
    ck_assert_int_eq(rig->raised, EXC_NM);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("fpu state");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_environment_in_the_32_bit_protected_format);
    tcase_add_test(tc, the_environment_in_the_16_bit_protected_format);
    tcase_add_test(tc, the_environment_in_the_16_bit_real_format);
    tcase_add_test(tc, the_environment_in_the_32_bit_real_format);
    tcase_add_test(tc, storing_the_environment_masks_all_exceptions);
    tcase_add_test(tc, an_environment_comes_back);
    tcase_add_test(tc, an_environment_may_bring_a_pending_exception);
    tcase_add_test(tc, saving_the_state_initialises_and_restoring_brings_it_back);
    tcase_add_test(tc, fxsave_has_the_layout_of_the_manual);
    tcase_add_test(tc, fxrstor_brings_everything_back);
    tcase_add_test(tc, fxrstor_refuses_reserved_bits_and_bad_alignment);
    tcase_add_test(tc, ldmxcsr_refuses_reserved_bits);
    tcase_add_test(tc, xsave_writes_what_is_asked_for_and_the_header);
    tcase_add_test(tc, xsaveopt_leaves_out_what_is_initial);
    tcase_add_test(tc, xrstor_initialises_what_the_header_lacks);
    tcase_add_test(tc, xrstor_refuses_bad_headers);
    tcase_add_test(tc, xcr0_is_read_and_refuses_what_cannot_be);
    tcase_add_test(tc, cr0_sends_x87_instructions_to_handlers);
    return run_suite("fpu state", tc);
}
