/*
 * AVX-512 on a bare vCPU: gates, masks, lengths, broadcasts and displacements, faults that masks
 * suppress, embedded rounding, compression, XSAVE images. tests/diff holds every row against the
 * host's processor; this program runs on hosts of other architectures, too.
 */
#include "cpu/softfloat_avx512.h"
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

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

static float number(uint64_t bits)
{
    uint32_t word = (uint32_t)bits;
    float x;

    memcpy(&x, &word, sizeof(x));
    return x;
}

/* A finite single as a double: the same number. */
static uint64_t widened(uint64_t single)
{
    return ((single & 0x7fffffff) + (896ull << 23)) << 29;
}

/* Both octaves of VRSQRT14, each operand bit that counts; the sums are those of a processor. */
START_TEST(approximations_have_the_bits_of_a_processor)
{
    const struct softfloat_env env = {0};
    uint32_t sums[2] = {0};

    for (uint32_t n = 0; n < 1u << 17; n++) {
        uint32_t a = 0x3f800000 + (n << 7);
        uint64_t reciprocal = sfx_rcp14(&sfx_single, &env, a);
        uint64_t root = sfx_rsqrt14(&sfx_single, &env, a);
        double x = number(a), r = number(reciprocal), s = number(root);

        ck_assert_msg(r * x > 1 - 0x1p-14 && r * x < 1 + 0x1p-14, "1 / %g", x);
        ck_assert_msg(s * s * x > 1 - 0x1p-13 && s * s * x < 1 + 0x1p-13, "1 / sqrt(%g)", x);
        ck_assert_uint_eq(sfx_rcp14(&sfx_double, &env, widened(a)), widened(reciprocal));
        ck_assert_uint_eq(sfx_rsqrt14(&sfx_double, &env, widened(a)), widened(root));
        sums[0] = sums[0] * 31 + (uint32_t)(reciprocal >> 7);
        sums[1] = sums[1] * 31 + (uint32_t)(root >> 7);
    }
    ck_assert_uint_eq(sums[0], 0x5a22e104);
    ck_assert_uint_eq(sums[1], 0x9cfe8f3a);
}
END_TEST

START_TEST(approximations_at_the_ends_of_the_range)
{
    static const struct {
        uint32_t a, reciprocal, root;
        bool daz, ftz;
    } cases[] = {
        {0x3f800000, 0x3f800000, 0x3f800000, false, false}, /* 1 and a little more */
        {0x3f800001, 0x3f7ffe00, 0x3f7ffd00, false, false},
        {0xc0400000, 0xbeaaaa80, 0xffc00000, false, false},
        {0x00000000, 0x7f800000, 0x7f800000, false, false},
        {0x80000000, 0xff800000, 0xff800000, false, false},
        {0x7f800000, 0x00000000, 0x00000000, false, false},
        {0xff800000, 0x80000000, 0xffc00000, false, false},
        {0x7fa00000, 0x7fe00000, 0x7fe00000, false, false}, /* a signalling NaN */
        {0x00000001, 0x7f800000, 0x64b50280, false, false}, /* denormal operands */
        {0x00400000, 0x7f000000, 0x5f350280, false, false},
        {0x80200001, 0xff7ffe00, 0xffc00000, false, false},
        {0x00400000, 0x7f800000, 0x7f800000, true, false},
        {0x80200001, 0xff800000, 0xff800000, true, false},
        {0x7f000000, 0x00400000, 0x1fb50280, false, false}, /* denormal results */
        {0x7f7fffff, 0x00200000, 0x1f800000, false, false},
        {0x7e800001, 0x007fff00, 0x1ffffd00, false, false},
        {0x7e800001, 0x00000000, 0x1ffffd00, false, true},
    };

    for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
        const struct softfloat_env env = {.daz = cases[n].daz, .ftz = cases[n].ftz};
        uint32_t a = cases[n].a;

        ck_assert_msg(sfx_rcp14(&sfx_single, &env, a) == cases[n].reciprocal, "%08x", a);
        ck_assert_msg(sfx_rsqrt14(&sfx_single, &env, a) == cases[n].root, "%08x", a);
    }
}
END_TEST

START_TEST(bf16_rounds_to_nearest_and_knows_no_denormals)
{
    static const uint32_t singles[8] = {0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff,
                                        0x80000001, 0x007fffff, 0x7f800001, 0xff800000};
    static const uint16_t halves[8] = {0x3f80, 0x3f82, 0x3f81, 0x7f80,
                                       0x8000, 0x0000, 0x7fc0, 0xff80};

    for (unsigned n = 0; n < 8; n++)
        VREG_D(rig->cpu.vreg[1], n) = singles[n];
    RIG_RUN(rig, 0x62, 0xf2, 0x7e, 0x28, 0x72, 0xc1); /* vcvtneps2bf16 xmm0, ymm1 */
    for (unsigned n = 0; n < 8; n++)
        ck_assert_uint_eq(VREG_W(rig->cpu.vreg[0], n), halves[n]);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[2], 0);
    VREG_D(rig->cpu.vreg[0], 0) = 0x3f800000; /* 1 + 2 * 3 + 4 * 0.5 */
    VREG_D(rig->cpu.vreg[1], 0) = 0x40004080;
    VREG_D(rig->cpu.vreg[2], 0) = 0x40403f00;
    RIG_RUN(rig, 0x62, 0xf2, 0x76, 0x08, 0x52, 0xc2); /* vdpbf16ps xmm0, xmm1, xmm2 */
    ck_assert_uint_eq(VREG_D(rig->cpu.vreg[0], 0), 0x41100000);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("avx512");

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
    tcase_add_test(tc, approximations_have_the_bits_of_a_processor);
    tcase_add_test(tc, bf16_rounds_to_nearest_and_knows_no_denormals);
    tcase_add_test(tc, approximations_at_the_ends_of_the_range);
    return run_suite("avx512", tc);
}
