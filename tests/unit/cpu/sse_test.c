/*
 * MMX and SSE instructions on a bare vCPU. Expected values are from the manual or computed by hand;
 * tests/diff holds every row against the host's processor.
 */
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

/* ---- Floating point, on the host's unit and in the soft-float -------------------------------- */

/* xmm1 = op(xmm1, xmm2): their low quads, and what comes of them. */
struct floating {
    const char *name;
    uint8_t code[6];
    uint8_t length;
    uint16_t mxcsr;
    uint64_t a, b, result;
    uint16_t flags; /* of MXCSR afterwards */
};

#define IE 0x01
#define DE 0x02
#define ZE 0x04
#define OE 0x08
#define UE 0x10
#define PE 0x20

#define SS(op) {0xf3, 0x0f, op, 0xca}, 4
#define SD(op) {0xf2, 0x0f, op, 0xca}, 4
#define PS(op) {0x0f, op, 0xca}, 3

static const struct floating floating[] = {
    {"1 / 3", SS(0x5e), 0x1f80, 0x3f800000, 0x40400000, 0x3eaaaaab, PE},
    {"1 / 3 down", SS(0x5e), 0x3f80, 0x3f800000, 0x40400000, 0x3eaaaaaa, PE},
    {"1 / 3 up", SD(0x5e), 0x5f80, 0x3ff0000000000000, 0x4008000000000000, 0x3fd5555555555556, PE},
    {"1 / 3 cut", SD(0x5e), 0x7f80, 0x3ff0000000000000, 0x4008000000000000, 0x3fd5555555555555, PE},
    {"upper lanes stay", SS(0x58), 0x1f80, 0xdeadbeef3f800000, 0x3f800000, 0xdeadbeef40000000, 0},
    {"two lanes", PS(0x58), 0x1f80, 0x3f80000040000000, 0x3f80000040400000, 0x4000000040a00000, 0},
    {"largest * 2", SS(0x59), 0x1f80, 0x7f7fffff, 0x40000000, 0x7f800000, OE | PE},
    {"largest * 2 cut", SS(0x59), 0x7f80, 0x7f7fffff, 0x40000000, 0x7f7fffff, OE | PE},
    {"least / 3", SS(0x5e), 0x1f80, 0x00800000, 0x40400000, 0x002aaaab, UE | PE},
    {"least / 3 flushed", SS(0x5e), 0x9f80, 0x80800000, 0x40400000, 0x80000000, UE | PE},
    {"least / 2", SS(0x5e), 0x1f80, 0x00800000, 0x40000000, 0x00400000, 0},
    {"denormal + 0", SS(0x58), 0x1f80, 0x00000001, 0, 0x00000001, DE},
    {"denormal + 0 under DAZ", SS(0x58), 0x1fc0, 0x80000001, 0x80000000, 0x80000000, 0},
    {"1 / 0", SD(0x5e), 0x1f80, 0x3ff0000000000000, 0x8000000000000000, 0xfff0000000000000, ZE},
    {"0 / 0", SD(0x5e), 0x1f80, 0, 0, 0xfff8000000000000, IE},
    {"sqrt -1", SS(0x51), 0x1f80, 0, 0xbf800000, 0xffc00000, IE},
    {"sqrt -0", SS(0x51), 0x1f80, 0, 0x80000000, 0x80000000, 0},
    {"NaN + signalling NaN", SS(0x58), 0x1f80, 0x7fc00001, 0x7f800002, 0x7fc00001, IE},
    {"1 + signalling NaN", SS(0x58), 0x1f80, 0x3f800000, 0x7f800002, 0x7fc00002, IE},
    {"min of zeros", SS(0x5d), 0x1f80, 0x80000000, 0x00000000, 0x00000000, 0},
    {"max with NaN", SS(0x5f), 0x1f80, 0x7fc00001, 0x3f800000, 0x3f800000, IE},
    {"sticky", SS(0x58), 0x1f84, 0x3f800000, 0x3f800000, 0x40000000, ZE},
    {"unequal", {0xf3, 0x0f, 0xc2, 0xca, 4}, 5, 0x1f80, 0x7fc00000, 0x7fc00000, 0xffffffff, 0},
    {"less than NaN", {0xf3, 0x0f, 0xc2, 0xca, 1}, 5, 0x1f80, 0x3f800000, 0x7fc00000, 0, IE},
    {"ordered", {0xf2, 0x0f, 0xc2, 0xca, 7}, 5, 0x1f80, 0, 0x7fefffffffffffff, UINT64_MAX, 0},
    {"single to double", {0xf3, 0x0f, 0x5a, 0xca}, 4, 0x1f80, 0, 0x3eaaaaab, 0x3fd5555560000000, 0},
    {"double to single",
     {0xf2, 0x0f, 0x5a, 0xca},
     4,
     0x1f80,
     0,
     0x3fd5555555555555,
     0x3eaaaaab,
     PE},
    {"NaN to single", {0xf2, 0x0f, 0x5a, 0xca}, 4, 0x1f80, 0, 0x7ff0000020000000, 0x7fc00001, IE},
    {"singles to integers",
     {0x66, 0x0f, 0x5b, 0xca},
     4,
     0x1f80,
     0,
     0x4f000000c0200000,
     0x80000000fffffffe,
     IE | PE},
    {"singles cut",
     {0xf3, 0x0f, 0x5b, 0xca},
     4,
     0x5f80,
     0,
     0x3ff00000bff00000,
     0x00000001ffffffff,
     PE},
    {"integers to singles",
     {0x0f, 0x5b, 0xca},
     3,
     0x1f80,
     0,
     0x01000001ffffffff,
     0x4b800000bf800000,
     PE},
    {"round to even",
     {0x66, 0x0f, 0x3a, 0x0b, 0xca, 0x00},
     6,
     0x5f80,
     0,
     0x4004000000000000,
     0x4000000000000000,
     PE},
    {"round as MXCSR says",
     {0x66, 0x0f, 0x3a, 0x0b, 0xca, 0x04},
     6,
     0x5f80,
     0,
     0x4004000000000000,
     0x4008000000000000,
     PE},
    {"round quietly",
     {0x66, 0x0f, 0x3a, 0x0a, 0xca, 0x09},
     6,
     0x1f80,
     0,
     0xc0200000,
     0xc0400000,
     0},
    {"difference and sum",
     {0xf2, 0x0f, 0xd0, 0xca},
     4,
     0x1f80,
     0x3f80000040000000,
     0x3f8000003f800000,
     0x400000003f800000,
     0},
};

START_TEST(floating_point_gives_result_and_flags)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->fpu_soft = _i;
    for (unsigned n = 0; n < ARRAY_SIZE(floating); n++) {
        const struct floating *f = &floating[n];

        cpu->mxcsr = f->mxcsr;
        cpu->vreg[1] = (union vreg){.q = {f->a, f->a}};
        cpu->vreg[2] = (union vreg){.q = {f->b, f->b}};
        rig_run(rig, f->code, f->length);
        ck_assert_msg(rig->raised == -1, "%s: raised %d", f->name, rig->raised);
        ck_assert_msg(cpu->vreg[1].q[0] == f->result, "%s: %016llx, not %016llx", f->name,
                      (unsigned long long)cpu->vreg[1].q[0], (unsigned long long)f->result);
        ck_assert_msg((cpu->mxcsr & MXCSR_FLAGS) == f->flags, "%s: mxcsr %04x", f->name,
                      cpu->mxcsr);
        ck_assert_uint_eq(cpu->mxcsr & ~MXCSR_FLAGS, f->mxcsr & ~MXCSR_FLAGS);
    }
}
END_TEST

START_TEST(unmasked_exceptions_change_nothing_but_the_flags)
{
    static const struct {
        uint8_t code[4];
        uint16_t mxcsr;
        uint64_t a, b;
        uint16_t flags;
    } rows[] = {
        {{0xf3, 0x0f, 0x5e, 0xca}, 0x1d80, 0x3f800000, 0, ZE},
        {{0xf3, 0x0f, 0x59, 0xca}, 0x1b80, 0x7f7fffff, 0x40000000, OE | PE},
        {{0xf3, 0x0f, 0x5e, 0xca}, 0x1780, 0x00800000, 0x40000000, UE}, /* tiny but exact */
        {{0xf3, 0x0f, 0x5e, 0xca}, 0x0f80, 0x3f800000, 0x40400000, PE},
        {{0xf3, 0x0f, 0x58, 0xca}, 0x1e80, 0x00000001, 0x3f800000, DE}, /* before inexactness */
        /* Lane 0 is invalid, lane 1 inexact: what comes before the computation comes alone. */
        {{0x0f, 0x5e, 0xca, 0x90}, 0x1f00, 0x3f80000000000000, 0x4040000000000000, IE},
    };
    struct vcpu *cpu = &rig->cpu;

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        cpu->mxcsr = rows[n].mxcsr;
        cpu->vreg[1] = (union vreg){.q = {rows[n].a, 0x3f8000003f800000}};
        cpu->vreg[2] = (union vreg){.q = {rows[n].b, 0x3f8000003f800000}};
        rig_run(rig, rows[n].code, 4);
        ck_assert_int_eq(rig->raised, EXC_XM);
        ck_assert_uint_eq(cpu->vreg[1].q[0], rows[n].a);
        ck_assert_msg((cpu->mxcsr & MXCSR_FLAGS) == rows[n].flags, "row %u: %04x", n, cpu->mxcsr);
    }
}
END_TEST

START_TEST(comparisons_set_eflags)
{
    static const struct {
        uint64_t a, b;
        uint32_t flags;
        uint16_t ordered, unordered; /* MXCSR flags of COMISD and UCOMISD */
    } rows[] = {
        {0x3ff0000000000000, 0x4000000000000000, EFLAGS_CF, 0, 0},
        {0x4000000000000000, 0x3ff0000000000000, 0, 0, 0},
        {0x8000000000000000, 0x0000000000000000, EFLAGS_ZF, 0, 0},
        {0x7ff8000000000000, 0, EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF, IE, 0},
        {0, 0x7ff0000000000001, EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF, IE, IE},
    };
    struct vcpu *cpu = &rig->cpu;

    cpu->fpu_soft = _i;
    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        cpu->vreg[1].q[0] = rows[n].a;
        cpu->vreg[2].q[0] = rows[n].b;
        cpu->mxcsr = MXCSR_RESET;
        flags_set(cpu, EFLAGS_OF | EFLAGS_SF | EFLAGS_AF);
        RIG_RUN(rig, 0x66, 0x0f, 0x2f, 0xca);
        ck_assert_uint_eq(flags_get(cpu), rows[n].flags);
        ck_assert_uint_eq(cpu->mxcsr, MXCSR_RESET | rows[n].ordered);
        cpu->mxcsr = MXCSR_RESET;
        RIG_RUN(rig, 0x66, 0x0f, 0x2e, 0xca);
        ck_assert_uint_eq(flags_get(cpu), rows[n].flags);
        ck_assert_uint_eq(cpu->mxcsr, MXCSR_RESET | rows[n].unordered);
    }
}
END_TEST

START_TEST(conversions_to_general_registers)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->fpu_soft = _i;
    cpu->vreg[2].q[0] = 0xc004000000000000; /* -2.5 */
    cpu->gpr[GPR_RCX] = UINT64_MAX;
    RIG_RUN(rig, 0xf2, 0x0f, 0x2d, 0xca); /* cvtsd2si ecx, xmm2 */
    ck_assert_uint_eq(cpu->gpr[GPR_RCX], 0xfffffffe);
    RIG_RUN(rig, 0xf2, 0x48, 0x0f, 0x2d, 0xca);
    ck_assert_uint_eq(cpu->gpr[GPR_RCX], 0xfffffffffffffffe);
    cpu->vreg[2].q[0] = 0x41e0000000000000; /* 2^31 */
    RIG_RUN(rig, 0xf2, 0x0f, 0x2c, 0xca);
    ck_assert_uint_eq(cpu->gpr[GPR_RCX], 0x80000000);
    ck_assert_uint_eq(cpu->mxcsr & MXCSR_FLAGS, IE | PE);
    RIG_RUN(rig, 0xf2, 0x48, 0x0f, 0x2c, 0xca);
    ck_assert_uint_eq(cpu->gpr[GPR_RCX], 0x80000000);
    cpu->gpr[GPR_RDX] = 0x8000000000000001;
    RIG_RUN(rig, 0xf3, 0x48, 0x0f, 0x2a, 0xca); /* cvtsi2ss xmm1, rdx */
    ck_assert_uint_eq(cpu->vreg[1].q[0], 0xdf000000);
    RIG_RUN(rig, 0xf3, 0x0f, 0x2a, 0xca); /* of edx */
    ck_assert_uint_eq(cpu->vreg[1].q[0], 0x3f800000);
}
END_TEST

START_TEST(approximations_are_close_and_quiet)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->fpu_soft = _i;
    cpu->vreg[2] = (union vreg){.q = {0x4040000000000001, 0x7f80000080000000}};
    RIG_RUN(rig, 0x0f, 0x53, 0xca); /* rcpps: of a denormal, 3, -0, infinity */
    ck_assert_uint_eq(VREG_D(cpu->vreg[1], 0), 0x7f800000);
    ck_assert_uint_lt(VREG_D(cpu->vreg[1], 1) - 0x3eaaa000, 0x2000);
    ck_assert_uint_eq(VREG_D(cpu->vreg[1], 2), 0xff800000);
    ck_assert_uint_eq(VREG_D(cpu->vreg[1], 3), 0);
    cpu->vreg[2] = (union vreg){.q = {0x40800000bf800000, 0x7fc0000100000000}};
    RIG_RUN(rig, 0x0f, 0x52, 0xca); /* rsqrtps: of -1, 4, 0, NaN */
    ck_assert_uint_eq(VREG_D(cpu->vreg[1], 0), 0xffc00000);
    ck_assert_uint_lt(VREG_D(cpu->vreg[1], 1) - 0x3efff000, 0x2000);
    ck_assert_uint_eq(VREG_D(cpu->vreg[1], 2), 0x7f800000);
    ck_assert_uint_eq(VREG_D(cpu->vreg[1], 3), 0x7fc00001);
    ck_assert_uint_eq(cpu->mxcsr, MXCSR_RESET);
}
END_TEST

/* ---- Integers -------------------------------------------------------------------------------- */

/* One of each kind: lanes in their order, saturation, counts, shuffles, strings. */
static const struct integer {
    const char *name;
    uint8_t code[6];
    uint8_t length;
    uint64_t a[2], b[2], result[2];
} integer[] = {
#define PX(op)       {0x66, 0x0f, op, 0xca}, 4
#define P38(op)      {0x66, 0x0f, 0x38, op, 0xca}, 5
#define P3A(op, imm) {0x66, 0x0f, 0x3a, op, 0xca, imm}, 6
    {"paddsb", PX(0xec), {0x7f80010203040506, 0}, {0x01ff010101010101, 0}, {0x7f80020304050607, 0}},
    {"psubusw",
     PX(0xd9),
     {0x0001000200030004, 1},
     {0x0002000100010005, 0},
     {0x0000000100020000, 1}},
    {"pmaddwd",
     PX(0xf5),
     {0x0002000380008000, 0},
     {0x0005000780008000, 0},
     {0x0000001f80000000, 0}},
    {"pmulhuw",
     PX(0xe4),
     {0xffff800000020001, 0},
     {0xffff000280008000, 0},
     {0xfffe000100010000, 0}},
    {"psadbw", PX(0xf6), {0x00ff00ff00ff00ff, 1}, {0, 0x0a}, {0x3fc, 0x09}},
    {"packuswb",
     PX(0x67),
     {0x0100fffe007f00ff, 0},
     {0x0001000200030004, 0x0005000600070008},
     {0x00000000ff007fff, 0x0506070801020304}},
    {"punpcklwd",
     PX(0x61),
     {0x4444333322221111, 0},
     {0x8888777766665555, 0},
     {0x6666222255551111, 0x8888444477773333}},
    {"psllq by 64", PX(0xf3), {1, 1}, {64, 0}, {0, 0}},
    {"psrad by 40", PX(0xe2), {0x8000000070000000, 0}, {40, 0}, {0xffffffff00000000, 0}},
    {"psrldq 3",
     {0x66, 0x0f, 0x73, 0xd9, 0x03},
     5,
     {0x0706050403020100, 0x0f0e0d0c0b0a0908},
     {0, 0},
     {0x0a09080706050403, 0x0000000f0e0d0c0b}},
    {"pshufd",
     {0x66, 0x0f, 0x70, 0xca, 0x1b},
     5,
     {0, 0},
     {0x1111111100000000, 0x3333333322222222},
     {0x2222222233333333, 0x0000000011111111}},
    {"pshufb",
     P38(0x00),
     {0x0706050403020100, 0x0f0e0d0c0b0a0908},
     {0x8001020304050f0f, 0x0000000000000080},
     {0x0001020304050f0f, 0x0000000000000000}},
    {"palignr 5",
     P3A(0x0f, 5),
     {0x1716151413121110, 0x1f1e1d1c1b1a1918},
     {0x0706050403020100, 0x0f0e0d0c0b0a0908},
     {0x0c0b0a0908070605, 0x14131211100f0e0d}},
    {"pmulhrsw",
     P38(0x0b),
     {0x4000800080007fff, 0},
     {0x4000800000017fff, 0},
     {0x20008000ffff7ffe, 0}},
    {"phaddw",
     P38(0x01),
     {0x0004000300020001, 0x0008000700060005},
     {0x0001000100010001, 0x7fff7fff80008000},
     {0x000f000b00070003, 0xfffe000000020002}},
    {"pmovsxbw",
     P38(0x20),
     {0, 0},
     {0x8001ff7f00fe0280, 0},
     {0x0000fffe0002ff80, 0xff800001ffff007f}},
    {"pminud",
     P38(0x3b),
     {0xffffffff00000001, 5},
     {0x7fffffff00000002, 3},
     {0x7fffffff00000001, 3}},
    {"phminposuw", P38(0x41), {0, 0}, {0x0005000400070009, 0x0004ffff00080006}, {0x00020004, 0}},
    {"mpsadbw",
     P3A(0x42, 0),
     {0x0706050403020100, 0x0f0e0d0c0b0a0908},
     {0x03020100, 0},
     {0x000c000800040000, 0x001c001800140010}},
    {"pblendw", P3A(0x0e, 0x0f), {1, 2}, {3, 4}, {3, 2}},
    {"pcmpgtq", P38(0x37), {1, 0x8000000000000000}, {0, 0}, {UINT64_MAX, 0}},
};

START_TEST(integer_vectors)
{
    struct vcpu *cpu = &rig->cpu;

    for (unsigned n = 0; n < ARRAY_SIZE(integer); n++) {
        const struct integer *row = &integer[n];

        memcpy(cpu->vreg[1].q, row->a, 16);
        memcpy(cpu->vreg[2].q, row->b, 16);
        rig_run(rig, row->code, row->length);
        ck_assert_int_eq(rig->raised, -1);
        ck_assert_msg(memcmp(cpu->vreg[1].q, row->result, 16) == 0, "%s: %016llx%016llx", row->name,
                      (unsigned long long)cpu->vreg[1].q[1], (unsigned long long)cpu->vreg[1].q[0]);
    }
}
END_TEST

START_TEST(string_comparison_finds_a_substring)
{
    struct vcpu *cpu = &rig->cpu;

    memcpy(cpu->vreg[1].q, (uint64_t[]){0x0000000000646c72, 0}, 16);                  /* "rld" */
    memcpy(cpu->vreg[2].q, (uint64_t[]){0x6f77206f6c6c6568, 0x0000000000646c72}, 16); /* hello.. */
    RIG_RUN(rig, 0x66, 0x0f, 0x3a, 0x63, 0xca, 0x0c); /* pcmpistri xmm1, xmm2: equal ordered */
    ck_assert_uint_eq(cpu->gpr[GPR_RCX], 8);
    ck_assert_uint_eq(flags_get(cpu), EFLAGS_CF | EFLAGS_ZF | EFLAGS_SF);
}
END_TEST

START_TEST(aligned_operands_must_be_aligned)
{
    rig->cpu.vreg[1].q[0] = 7;
    RIG_RUN(rig, 0x0f, 0x28, 0x4b, 0x08); /* movaps xmm1, [rbx + 8] */
    ck_assert_int_eq(rig->raised, EXC_GP);
    ck_assert_uint_eq(rig->cpu.vreg[1].q[0], 7);
    RIG_RUN(rig, 0x0f, 0x10, 0x4b, 0x08); /* movups */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(rig->cpu.vreg[1].q[0], 0);
}
END_TEST

/* ---- MMX ------------------------------------------------------------------------------------- */

START_TEST(an_mmx_instruction_fills_the_x87_stack_and_emms_empties_it)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->x87.top = 5;
    cpu->x87.valid = 0x20;
    cpu->x87.r[1].significand = 0x7f80010203040506;
    cpu->x87.r[2].significand = 0x01ff010101010101;
    RIG_RUN(rig, 0x0f, 0xec, 0xca); /* paddsb mm1, mm2 */
    ck_assert_uint_eq(cpu->x87.r[1].significand, 0x7f80020304050607);
    ck_assert_uint_eq(cpu->x87.r[1].sign_exponent, 0xffff);
    ck_assert_uint_eq(cpu->x87.top, 0);
    ck_assert_uint_eq(cpu->x87.valid, 0xff);
    RIG_RUN(rig, 0x0f, 0x77); /* emms */
    ck_assert_uint_eq(cpu->x87.valid, 0);
    ck_assert_uint_eq(cpu->x87.r[1].significand, 0x7f80020304050607);
}
END_TEST

START_TEST(conversions_with_mmx_registers_enter_mmx_state_even_if_they_fault)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->x87.top = 3;
    cpu->mxcsr = 0x0f80;
    cpu->x87.r[2].significand = 0x01000001;
    RIG_RUN(rig, 0x0f, 0x2a, 0xca); /* cvtpi2ps xmm1, mm2 */
    ck_assert_int_eq(rig->raised, EXC_XM);
    ck_assert_uint_eq(cpu->x87.top, 0);
    ck_assert_uint_eq(cpu->x87.valid, 0xff);
    cpu->mxcsr = MXCSR_RESET;
    cpu->x87.top = 3;
    guest_store64(rig_operand(rig), 0x00000001ffffffff);
    RIG_RUN(rig, 0x66, 0x0f, 0x2a, 0x0b); /* cvtpi2pd xmm1, [rbx]: no MMX register */
    ck_assert_uint_eq(cpu->vreg[1].q[0], 0xbff0000000000000);
    ck_assert_uint_eq(cpu->vreg[1].q[1], 0x3ff0000000000000);
    ck_assert_uint_eq(cpu->x87.top, 3);
}
END_TEST

/* ---- Gates ----------------------------------------------------------------------------------- */

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
    TCase *tc = tcase_create("sse");

    tcase_add_checked_fixture(tc, setup, teardown);
    /* 0: on the host's unit, where there is one; 1: in the soft-float. */
    tcase_add_loop_test(tc, floating_point_gives_result_and_flags, 0, 2);
    tcase_add_test(tc, unmasked_exceptions_change_nothing_but_the_flags);
    tcase_add_loop_test(tc, comparisons_set_eflags, 0, 2);
    tcase_add_loop_test(tc, conversions_to_general_registers, 0, 2);
    tcase_add_loop_test(tc, approximations_are_close_and_quiet, 0, 2);
    tcase_add_test(tc, integer_vectors);
    tcase_add_test(tc, string_comparison_finds_a_substring);
    tcase_add_test(tc, aligned_operands_must_be_aligned);
    tcase_add_test(tc, an_mmx_instruction_fills_the_x87_stack_and_emms_empties_it);
    tcase_add_test(tc, conversions_with_mmx_registers_enter_mmx_state_even_if_they_fault);
    tcase_add_test(tc, without_osxmmexcpt_an_unmasked_exception_is_an_invalid_opcode);
    tcase_add_test(tc, rex_does_not_reach_mmx_registers);
    tcase_add_test(tc, a_pending_x87_exception_comes_before_an_mmx_instruction);
    tcase_add_test(tc, sse_wants_osfxsr_but_mmx_does_not);
    return run_suite("sse", tc);
}
