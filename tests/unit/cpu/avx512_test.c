/*
 * AVX-512 on a bare vCPU: gates, masks, lengths, broadcasts and displacements, faults that masks
 * suppress, embedded rounding, compression, XSAVE images. tests/diff holds every row against the
 * host's processor; this program runs on hosts of other architectures, too.
 */
#include "tests/unit/cpu/op_rig.h"

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
    rig->cpu.xcr0 = 0xe7;
    rig->cpu.mode |= MODE_AVX512;
}

static void teardown(void)
{
    rig_destroy(rig);
}

/* Every quad of a register gets its own value. */
static void fill(unsigned n, uint64_t first)
{
    for (unsigned k = 0; k < 8; k++)
        rig->cpu.vreg[n].q[k] = first + k;
}

static op_fn *decoded(const char *bytes, unsigned length, uint32_t mode)
{
    struct insn i;
    uint32_t attrs;

    memset(&i, 0, sizeof(i));
    ck_assert_int_eq(decode_insn(&rig->cpu, mode, (const uint8_t *)bytes, length, 0, &i, &attrs),
                     DECODE_OK);
    return i.op;
}

#define MODES (MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT | MODE_AVX)

/* vpaddd zmm0, zmm1, zmm2 and its kin */
START_TEST(evex_wants_its_state_and_its_lengths)
{
    ck_assert(decoded("\x62\xf1\x75\x48\xfe\xc2", 6, MODES | MODE_AVX512) != op_ud);
    ck_assert(decoded("\x62\xf1\x75\x48\xfe\xc2", 6, MODES) == op_ud);
    ck_assert(decoded("\x62\xf1\x75\x48\xfe\xc2", 6, MODES | MODE_AVX512 | MODE_TS) == op_nm);
    ck_assert(decoded("\x62\xf1\x75\x28\xfe\xc2", 6, MODES | MODE_AVX512) != op_ud);
    rig->cpu.features[FEATURE_AVX512VL / 64] &= ~BIT64(FEATURE_AVX512VL % 64);
    ck_assert(decoded("\x62\xf1\x75\x28\xfe\xc2", 6, MODES | MODE_AVX512) == op_ud);
}
END_TEST

START_TEST(evex_fields_that_have_no_meaning_are_refused)
{
    const uint32_t mode = MODES | MODE_AVX512;

    ck_assert(decoded("\x62\xf1\x75\xc8\xfe\xc2", 6, mode) == op_ud); /* z without a mask */
    ck_assert(decoded("\x62\xf1\x75\xc9\xfe\xc2", 6, mode) != op_ud);
    ck_assert(decoded("\x62\xf1\x75\x58\xfe\xc2", 6, mode) == op_ud); /* b of registers */
    ck_assert(decoded("\x62\xf1\x75\x68\xfe\xc2", 6, mode) == op_ud); /* L'L */
    ck_assert(decoded("\x62\xf1\x7e\xc9\x7f\x03", 6, mode) == op_ud); /* z of a store */
    ck_assert(decoded("\x62\xf1\x71\x48\xfe\xc2", 6, mode) == op_ud); /* a bit that must be set */
}
END_TEST

START_TEST(bound_is_not_taken_for_evex)
{
    const uint32_t mode = MODE_PROT | MODE_CS32 | MODE_SS32 | MODE_FLAT | MODE_AVX | MODE_AVX512;

    ck_assert(decoded("\x62\x03", 2, mode) != op_ud); /* bound eax, [ebx] */
    ck_assert(decoded("\x62\xf1\x75\x48\xfe\xc2", 6, mode) != op_ud);
}
END_TEST

START_TEST(masks_merge_or_clear)
{
    rig->cpu.opmask[1] = 0x5;
    fill(0, 100);
    fill(1, 10);
    fill(2, 20);
    RIG_RUN(rig, 0x62, 0xf1, 0xf5, 0x49, 0xd4, 0xc2); /* vpaddq zmm0{k1}, zmm1, zmm2 */
    ck_assert_uint_eq(rig->cpu.vreg[0].q[0], 30);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[1], 101);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[2], 34);
    RIG_RUN(rig, 0x62, 0xf1, 0xf5, 0xa9, 0xd4, 0xc2); /* vpaddq ymm0{k1}{z}, ymm1, ymm2 */
    ck_assert_uint_eq(rig->cpu.vreg[0].q[1], 0);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[2], 34);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[4], 0);
}
END_TEST

START_TEST(displacements_count_operands)
{
    fill(1, 0);
    guest_store32(rig_operand(rig) + 4, 7);
    guest_store64(rig_operand(rig) + 64, 9);
    RIG_RUN(rig, 0x62, 0xf1, 0x75, 0x58, 0xfe, 0x43, 0x01); /* vpaddd zmm0, zmm1, [rbx+4]{1to16} */
    ck_assert_uint_eq(rig->cpu.vreg[0].q[7], 0x70000000e);
    RIG_RUN(rig, 0x62, 0xf1, 0x75, 0x48, 0xfe, 0x43, 0x01); /* vpaddd zmm0, zmm1, [rbx+64] */
    ck_assert_uint_eq(rig->cpu.vreg[0].q[0], 9);
}
END_TEST

START_TEST(elements_that_the_mask_leaves_out_do_not_fault)
{
    rig->cpu.gpr[GPR_RBX] = RIG_PAGE + 4096 - 4;
    guest_store32(rig->page + 4092, 0x12345678);
    rig->cpu.opmask[1] = 1;
    fill(0, 1);
    RIG_RUN(rig, 0x62, 0xf1, 0x7e, 0xc9, 0x6f, 0x03); /* vmovdqu32 zmm0{k1}{z}, [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[0], 0x12345678);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[7], 0);
}
END_TEST

START_TEST(rounding_in_the_instruction_raises_no_flag)
{
    rig->cpu.vreg[1].q[0] = 0x3f800000;               /* 1 */
    rig->cpu.vreg[2].q[0] = 0x30800000;               /* 2^-30 */
    RIG_RUN(rig, 0x62, 0xf1, 0x76, 0x58, 0x58, 0xc2); /* vaddss xmm0, xmm1, xmm2, {ru-sae} */
    ck_assert_uint_eq(rig->cpu.vreg[0].q[0], 0x3f800001);
    RIG_RUN(rig, 0x62, 0xf1, 0x76, 0x38, 0x58, 0xc2); /* {rd-sae} */
    ck_assert_uint_eq(rig->cpu.vreg[0].q[0], 0x3f800000);
    ck_assert_uint_eq(rig->cpu.mxcsr & MXCSR_FLAGS, 0);
    RIG_RUN(rig, 0x62, 0xf1, 0x76, 0x08, 0x58, 0xc2); /* as MXCSR says */
    ck_assert_uint_eq(rig->cpu.mxcsr & MXCSR_FLAGS, SOFTFLOAT_INEXACT);
}
END_TEST

START_TEST(compression_stores_selected_elements_only)
{
    fill(0, 0x100);
    rig->cpu.opmask[1] = 0x84;
    guest_store64(rig_operand(rig) + 16, 55);
    RIG_RUN(rig, 0x62, 0xf2, 0xfd, 0x49, 0x8b, 0x03); /* vpcompressq [rbx]{k1}, zmm0 */
    ck_assert_uint_eq(guest_load64(rig_operand(rig)), 0x102);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 8), 0x107);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 16), 55);
}
END_TEST

START_TEST(three_operands_by_truth_table)
{
    rig->cpu.vreg[16].q[0] = 0xf0;
    rig->cpu.vreg[17].q[0] = 0xcc;
    rig->cpu.vreg[18].q[0] = 0xaa;
    /* vpternlogq xmm16, xmm17, xmm18, 0x96: the exclusive or of all */
    RIG_RUN(rig, 0x62, 0xa3, 0xf5, 0x00, 0x25, 0xc2, 0x96);
    ck_assert_uint_eq(rig->cpu.vreg[16].q[0], 0x96);
}
END_TEST

static void set_state(void)
{
    rig->cpu.xcr0 = 0xe7;
    rig->cpu.opmask[1] = 0x1111;
    fill(0, 0x200);
    fill(16, 0x300);
    rig->cpu.gpr[GPR_RAX] = 0xe0;
    rig->cpu.gpr[GPR_RDX] = 0;
}

START_TEST(xsave_images_hold_the_three_components)
{
    set_state();
    RIG_RUN(rig, 0x0f, 0xae, 0x23); /* xsave [rbx] */
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 512), 0xe0);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 1088 + 8), 0x1111);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 1152), 0x204);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 1664 + 56), 0x307);
    RIG_RUN(rig, 0x0f, 0xc7, 0x23); /* xsavec [rbx] */
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 520), BIT64(63) | 0xe0);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 576 + 8), 0x1111);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 640), 0x204);
    ck_assert_uint_eq(guest_load64(rig_operand(rig) + 1152), 0x300);
    rig->cpu.opmask[1] = 0;
    fill(0, 0);
    fill(16, 0);
    RIG_RUN(rig, 0x0f, 0xae, 0x2b); /* xrstor [rbx] */
    ck_assert_uint_eq(rig->cpu.opmask[1], 0x1111);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[3], 3);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[4], 0x204);
    ck_assert_uint_eq(rig->cpu.vreg[16].q[7], 0x307);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("avx512");
    TCase *tc = tcase_create("avx512");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, evex_wants_its_state_and_its_lengths);
    tcase_add_test(tc, evex_fields_that_have_no_meaning_are_refused);
    tcase_add_test(tc, bound_is_not_taken_for_evex);
    tcase_add_test(tc, masks_merge_or_clear);
    tcase_add_test(tc, displacements_count_operands);
    tcase_add_test(tc, elements_that_the_mask_leaves_out_do_not_fault);
    tcase_add_test(tc, rounding_in_the_instruction_raises_no_flag);
    tcase_add_test(tc, compression_stores_selected_elements_only);
    tcase_add_test(tc, three_operands_by_truth_table);
    tcase_add_test(tc, xsave_images_hold_the_three_components);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
