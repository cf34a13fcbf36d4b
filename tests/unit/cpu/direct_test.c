/* MOVDIRI and MOVDIR64B, which few hosts have to compare with. */
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

#define TARGET_OFFSET 0x240u /* aligned to 64 */

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
    for (unsigned n = 0; n < 256; n++)
        rig->page[RIG_OFFSET + n] = (uint8_t)(n ^ 0x5a);
    rig->cpu.gpr[GPR_RCX] = RIG_PAGE + TARGET_OFFSET;
}

static void teardown(void)
{
    rig_destroy(rig);
}

static void check_target(unsigned offset)
{
    for (unsigned n = 0; n < 64; n++)
        ck_assert_uint_eq(rig->page[offset + n], n ^ 0x5a);
}

START_TEST(movdiri_stores_4_or_8_bytes)
{
    rig->cpu.gpr[GPR_RCX] = 0x8877665544332211;
    RIG_RUN(rig, 0x0f, 0x38, 0xf9, 0x0b); /* movdiri [rbx], ecx */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(guest_load32(rig->page + RIG_OFFSET), 0x44332211);
    ck_assert_uint_eq(rig->page[RIG_OFFSET + 4], 4 ^ 0x5a);
    RIG_RUN(rig, 0x48, 0x0f, 0x38, 0xf9, 0x0b);
    ck_assert_uint_eq(guest_load64(rig->page + RIG_OFFSET), 0x8877665544332211);
}
END_TEST

START_TEST(movdir64b_copies_64_bytes_to_the_address_in_its_register)
{
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xf8, 0x0b); /* movdir64b rcx, [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    check_target(TARGET_OFFSET);
    ck_assert_uint_eq(rig->page[TARGET_OFFSET - 1], 0);
    ck_assert_uint_eq(rig->page[TARGET_OFFSET + 64], 0);
}
END_TEST

START_TEST(movdir64b_takes_its_address_size_and_no_override_for_the_target)
{
    rig->cpu.gpr[GPR_RCX] |= 0xdeadbeef00000000;
    rig->cpu.seg[SEG_FS].base = 0;
    RIG_RUN(rig, 0x67, 0x66, 0x0f, 0x38, 0xf8, 0x0b);
    ck_assert_int_eq(rig->raised, -1);
    check_target(TARGET_OFFSET);
    rig->cpu.gpr[GPR_RCX] = RIG_PAGE + TARGET_OFFSET + 64;
    rig->cpu.gpr[GPR_RBX] = 0;
    rig->cpu.seg[SEG_FS].base = RIG_OPERAND;
    RIG_RUN(rig, 0x64, 0x66, 0x0f, 0x38, 0xf8, 0x0b); /* movdir64b rcx, fs:[rbx] */
    ck_assert_int_eq(rig->raised, -1);
    check_target(TARGET_OFFSET + 64);
}
END_TEST

START_TEST(movdir64b_wants_a_target_aligned_to_64)
{
    rig->cpu.gpr[GPR_RCX] += 8;
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xf8, 0x0b);
    ck_assert_int_eq(rig->raised, EXC_GP);
    ck_assert_uint_eq(rig->page[TARGET_OFFSET + 8], 0);
}
END_TEST

START_TEST(the_source_of_movdir64b_may_overlap_its_target)
{
    rig->cpu.gpr[GPR_RCX] = RIG_PAGE + RIG_OFFSET;
    rig->cpu.gpr[GPR_RBX] += 32;
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xf8, 0x0b);
    ck_assert_int_eq(rig->raised, -1);
    for (unsigned n = 0; n < 64; n++)
        ck_assert_uint_eq(rig->page[RIG_OFFSET + n], (n + 32) ^ 0x5a);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("direct");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, movdiri_stores_4_or_8_bytes);
    tcase_add_test(tc, movdir64b_copies_64_bytes_to_the_address_in_its_register);
    tcase_add_test(tc, movdir64b_takes_its_address_size_and_no_override_for_the_target);
    tcase_add_test(tc, movdir64b_wants_a_target_aligned_to_64);
    tcase_add_test(tc, the_source_of_movdir64b_may_overlap_its_target);
    return run_suite("direct", tc);
}
