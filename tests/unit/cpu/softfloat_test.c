/* The soft-float against the host's SSE and x87 units, and against known answers on other hosts. */
#include "base/bits.h"
#include "cpu/softfloat.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__)

/* Sanitizers look at the code, not at the numbers: they get a part of the cases. */
#if !defined(__has_feature)
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) ||                           \
    __has_feature(thread_sanitizer)
#define RANDOM_CASES 1000
#define CORNER_STEP  7
#else
#define RANDOM_CASES 40000
#define CORNER_STEP  1
#endif

/* xorshift64*: small, and the same on every host. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

static uint64_t seed(void)
{
    const char *text = getenv("GNOMON_SEED");
    uint64_t s = text != NULL ? strtoull(text, NULL, 0) : 0x9e3779b97f4a7c15ull;

    printf("GNOMON_SEED=%#llx\n", (unsigned long long)s);
    return s != 0 ? s : 1;
}

static const uint32_t corners32[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x00000003, 0x00400000, 0x007fffff, 0x807fffff,
    0x00800000, 0x80800000, 0x00800001, 0x00ffffff, 0x01000000, 0x33800000, 0x33800001, 0x34000000,
    0x3effffff, 0x3f000000, 0x3f000001, 0x3f7fffff, 0x3f800000, 0xbf800000, 0x3f800001, 0x3fc00000,
    0x40000000, 0x40200000, 0x4b000001, 0x4b7fffff, 0x4b800000, 0x4effffff, 0x4f000000, 0xcf000000,
    0xcf000001, 0x4f7fffff, 0x4f800000, 0x5effffff, 0x5f000000, 0xdf000000, 0x5f7fffff, 0x5f800000,
    0x7e800000, 0x7f000000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xffbfffff,
    0x7fc00000, 0xffc00001, 0x7fffffff, 0x7fa00000,
};

static const uint64_t corners64[] = {
    0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x8000000000000001,
    0x0008000000000000, 0x000fffffffffffff, 0x800fffffffffffff, 0x0010000000000000,
    0x8010000000000000, 0x0010000000000001, 0x001fffffffffffff, 0x0020000000000000,
    0x36a0000000000000, 0x369fffffffffffff, 0x36a0000000000001, 0x380fffffe0000000,
    0x380ffffff0000000, 0x380fffffefffffff, 0x3810000000000000, 0x3ca0000000000000,
    0x3ca0000000000001, 0x3fdfffffffffffff, 0x3fe0000000000000, 0x3fe0000000000001,
    0x3fefffffffffffff, 0x3ff0000000000000, 0xbff0000000000000, 0x3ff0000000000001,
    0x3ff8000000000000, 0x4000000000000000, 0x4004000000000000, 0x41dfffffffc00000,
    0x41dfffffffe00000, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000100000,
    0xc1e0000000200000, 0x41efffffffe00000, 0x41f0000000000000, 0x433fffffffffffff,
    0x4340000000000000, 0x43dfffffffffffff, 0x43e0000000000000, 0xc3e0000000000000,
    0x43f0000000000000, 0x47efffffe0000000, 0x47effffff0000000, 0x47efffffefffffff,
    0x7fe0000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000,
    0xfff0000000000000, 0x7ff0000000000001, 0xfff7ffffffffffff, 0x7ff8000000000000,
    0xfff8000000000001, 0x7fffffffffffffff,
};

static const struct float80 corners80[] = {
    {0x0000000000000000, 0x0000}, {0x0000000000000000, 0x8000}, {0x0000000000000001, 0x0000},
    {0x0000000000000001, 0x8000}, {0x4000000000000000, 0x0000}, {0x7fffffffffffffff, 0x0000},
    {0x8000000000000000, 0x0000}, {0x8000000000000001, 0x8000}, {0xffffffffffffffff, 0x0000},
    {0x8000000000000000, 0x0001}, {0x8000000000000001, 0x0001}, {0xffffffffffffffff, 0x8001},
    {0x8000000000000000, 0x0002}, {0x7fffffffffffffff, 0x0001}, {0x0000000000000000, 0x3fff},
    {0x4000000000000000, 0x7ffe}, {0x8000000000000000, 0x3c01}, {0xfffffffffffff800, 0x3c00},
    {0xfffffffffffffc00, 0x3c00}, {0x8000000000000000, 0x3c00}, {0xfffffffffffff7ff, 0x3c00},
    {0x8000000000000000, 0x3bcd}, {0x8000000000000000, 0x3bcc}, {0x8000000000000001, 0x3bcc},
    {0x8000000000000000, 0x3f81}, {0xffffff0000000000, 0x3f80}, {0xffffff8000000000, 0x3f80},
    {0x8000000000000000, 0x3f6a}, {0x8000000000000000, 0x3f69}, {0x8000000000000000, 0x3fbe},
    {0x8000000000000000, 0x3ffd}, {0x8000000000000001, 0x3ffd}, {0x8000000000000000, 0x3ffe},
    {0xffffffffffffffff, 0x3ffd}, {0xffffffffffffffff, 0x3ffe}, {0x8000000000000000, 0x3fff},
    {0x8000000000000000, 0xbfff}, {0x8000000000000001, 0x3fff}, {0xc000000000000000, 0x3fff},
    {0x8000008000000000, 0x3fff}, {0x8000018000000000, 0x3fff}, {0x8000000000000400, 0x3fff},
    {0x8000000000000c00, 0x3fff}, {0xffffffffffffffff, 0x3fff}, {0x8000000000000000, 0x4000},
    {0xa000000000000000, 0x4000}, {0xfffe000000000000, 0x400d}, {0xffff000000000000, 0x400d},
    {0x8000000000000000, 0xc00e}, {0x8000800000000000, 0xc00e}, {0x8001000000000000, 0xc00e},
    {0xffffffff00000000, 0x401d}, {0xfffffffe00000000, 0x401d}, {0x8000000000000000, 0xc01e},
    {0xffffffffffffffff, 0x403d}, {0xfffffffffffffffe, 0x403d}, {0x8000000000000000, 0xc03e},
    {0x8000000000000001, 0xc03e}, {0xde0b6b3a763ffff0, 0x403a}, {0xde0b6b3a763ffff8, 0x403a},
    {0xde0b6b3a76400000, 0x403a}, {0x8000000000000000, 0x400e}, {0x8000000000000000, 0xc00e},
    {0xffff000000000000, 0x400c}, {0xfffffe8000000000, 0x407e}, {0xffffff0000000000, 0x407e},
    {0xffffff8000000000, 0x407e}, {0xfffffffffffff800, 0x43fe}, {0xfffffffffffffc00, 0x43fe},
    {0x8000000000000000, 0x7ffe}, {0xffffffffffffffff, 0x7ffe}, {0xffffffffffffffff, 0xfffe},
    {0x8000000000000000, 0x7fff}, {0x8000000000000000, 0xffff}, {0x8000000000000001, 0x7fff},
    {0xbfffffffffffffff, 0xffff}, {0xc000000000000000, 0xffff}, {0xc000000000000001, 0x7fff},
    {0xffffffffffffffff, 0x7fff}, {0x0000000000000000, 0x7fff}, {0x4000000000000000, 0xffff},
    {0xa000000000000000, 0x7fff},
};

/* ---- Values ------------------------------------------------------------------------------- */

/* Bits with few or many ones, so that exact results and ties are common. */
static uint64_t random_fraction(uint64_t *state)
{
    uint64_t r = next_random(state);

    switch (next_random(state) % 4) {
    case 0:
        return r;
    case 1:
        return r << (next_random(state) % 64);
    case 2:
        return r >> (next_random(state) % 64) << (next_random(state) % 64);
    default:
        return ~(r >> (next_random(state) % 64));
    }
}

static uint64_t random_exponent(uint64_t *state, uint64_t bias)
{
    uint64_t r = next_random(state);

    switch (r % 8) {
    case 0:
        return (r >> 8) % 4;
    case 1:
        return 2 * bias + 1 - (r >> 8) % 4;
    case 2:
    case 3:
        return (r >> 8) % (2 * bias + 2);
    case 4:
        return bias / 2 + (r >> 8) % 70 - 35;
    default:
        return bias + (r >> 8) % 140 - 70;
    }
}

static uint32_t pick32(uint64_t *state)
{
    uint64_t r = next_random(state);

    if (r % 16 == 0)
        return corners32[(r >> 8) % ARRAY_SIZE(corners32)];
    return (uint32_t)((r >> 40 & 1) << 31 | (random_exponent(state, 127) & 0xff) << 23 |
                      random_fraction(state) >> 41);
}

static uint64_t pick64(uint64_t *state)
{
    uint64_t r = next_random(state);

    if (r % 16 == 0)
        return corners64[(r >> 8) % ARRAY_SIZE(corners64)];
    return (r >> 40 & 1) << 63 | (random_exponent(state, 1023) & 0x7ff) << 52 |
           random_fraction(state) >> 12;
}

static struct float80 pick80(uint64_t *state)
{
    uint64_t r = next_random(state);
    struct float80 a;

    if (r % 16 == 0)
        return corners80[(r >> 8) % ARRAY_SIZE(corners80)];
    a.significand = random_fraction(state);
    if (r % 64 != 1)
        a.significand |= BIT64(63);
    a.sign_exponent = (uint16_t)((r >> 40 & 1) << 15 | (random_exponent(state, 16383) & 0x7fff));
    if ((a.sign_exponent & 0x7fff) == 0)
        a.significand &= next_random(state) % 4 ? ~BIT64(63) : ~0ull;
    return a;
}

/* ---- SSE ---------------------------------------------------------------------------------- */

/* Runs one instruction: r = op(a, b) on the low lanes, flags collected. c is for FMA. */
#define HOST_SSE(name, instruction)                                                                \
    static uint64_t host_##name(uint32_t mxcsr, uint64_t a, uint64_t b, uint64_t c,                \
                                uint32_t *flags)                                                   \
    {                                                                                              \
        uint32_t out, saved = 0x1f80;                                                              \
        uint64_t r;                                                                                \
        __asm__ volatile("movq %[a], %%xmm0\n\tmovq %[b], %%xmm1\n\tmovq %[c], %%xmm2\n\t"         \
                         "ldmxcsr %[in]\n\t" instruction "\n\tstmxcsr %[out]\n\t"                  \
                         "ldmxcsr %[saved]\n\tmovq %%xmm0, %[r]"                                   \
                         : [r] "=r"(r), [out] "=m"(out)                                            \
                         : [a] "r"(a), [b] "r"(b), [c] "r"(c), [in] "m"(mxcsr), [saved] "m"(saved) \
                         : "xmm0", "xmm1", "xmm2", "rax", "cc");                                   \
        *flags = out & 0x3f;                                                                       \
        return r;                                                                                  \
    }

/* Soft counterparts have one shape: 64-bit values of which the op uses what it wants. */
#define SOFT(name, expression)                                                                     \
    static uint64_t soft_##name(struct softfloat_env *env, uint64_t a, uint64_t b, uint64_t c)     \
    {                                                                                              \
        (void)a, (void)b, (void)c;                                                                 \
        return (uint64_t)(expression);                                                             \
    }

#define TO_INT(r) "\n\tmovl %%eax, %%eax\n\tmovq %%rax, %%xmm0" r
#define RELATION                                                                                   \
    "\n\tmovl $2, %%eax\n\tjp 1f\n\tseta %%al\n\tmovzbl %%al, %%eax\n\t"                           \
    "sbbl $0, %%eax\n\t1:\n\tmovq %%rax, %%xmm0"

/* name, instruction, what the soft-float does, bits of operand, bits of result */
#define SSE_OPS(X)                                                                                 \
    X(addss, "addss %%xmm1, %%xmm0", sf32_add(env, (uint32_t)a, (uint32_t)b), 32, 32)              \
    X(subss, "subss %%xmm1, %%xmm0", sf32_sub(env, (uint32_t)a, (uint32_t)b), 32, 32)              \
    X(mulss, "mulss %%xmm1, %%xmm0", sf32_mul(env, (uint32_t)a, (uint32_t)b), 32, 32)              \
    X(divss, "divss %%xmm1, %%xmm0", sf32_div(env, (uint32_t)a, (uint32_t)b), 32, 32)              \
    X(minss, "minss %%xmm1, %%xmm0", sf32_min(env, (uint32_t)a, (uint32_t)b), 32, 32)              \
    X(maxss, "maxss %%xmm1, %%xmm0", sf32_max(env, (uint32_t)a, (uint32_t)b), 32, 32)              \
    X(sqrtss, "sqrtss %%xmm1, %%xmm0", sf32_sqrt(env, (uint32_t)b), 32, 32)                        \
    X(addsd, "addsd %%xmm1, %%xmm0", sf64_add(env, a, b), 64, 64)                                  \
    X(subsd, "subsd %%xmm1, %%xmm0", sf64_sub(env, a, b), 64, 64)                                  \
    X(mulsd, "mulsd %%xmm1, %%xmm0", sf64_mul(env, a, b), 64, 64)                                  \
    X(divsd, "divsd %%xmm1, %%xmm0", sf64_div(env, a, b), 64, 64)                                  \
    X(minsd, "minsd %%xmm1, %%xmm0", sf64_min(env, a, b), 64, 64)                                  \
    X(maxsd, "maxsd %%xmm1, %%xmm0", sf64_max(env, a, b), 64, 64)                                  \
    X(sqrtsd, "sqrtsd %%xmm1, %%xmm0", sf64_sqrt(env, b), 64, 64)                                  \
    X(comiss, "comiss %%xmm1, %%xmm0" RELATION,                                                    \
      sf32_compare(env, (uint32_t)a, (uint32_t)b, false), 32, 32)                                  \
    X(ucomiss, "ucomiss %%xmm1, %%xmm0" RELATION,                                                  \
      sf32_compare(env, (uint32_t)a, (uint32_t)b, true), 32, 32)                                   \
    X(comisd, "comisd %%xmm1, %%xmm0" RELATION, sf64_compare(env, a, b, false), 64, 32)            \
    X(ucomisd, "ucomisd %%xmm1, %%xmm0" RELATION, sf64_compare(env, a, b, true), 64, 32)           \
    X(cvtss2sd, "cvtss2sd %%xmm1, %%xmm0", sf32_to_f64(env, (uint32_t)b), 32, 64)                  \
    X(cvtsd2ss, "cvtsd2ss %%xmm1, %%xmm0", sf64_to_f32(env, b), 64, 32)                            \
    X(cvtss2si, "cvtss2sil %%xmm1, %%eax" TO_INT(""),                                              \
      sf32_to_i32(env, (uint32_t)b, env->rounding), 32, 32)                                        \
    X(cvtss2siq, "cvtss2siq %%xmm1, %%rax\n\tmovq %%rax, %%xmm0",                                  \
      sf32_to_i64(env, (uint32_t)b, env->rounding), 32, 64)                                        \
    X(cvttss2si, "cvttss2sil %%xmm1, %%eax" TO_INT(""),                                            \
      sf32_to_i32(env, (uint32_t)b, SOFTFLOAT_ZERO), 32, 32)                                       \
    X(cvtsd2si, "cvtsd2sil %%xmm1, %%eax" TO_INT(""), sf64_to_i32(env, b, env->rounding), 64, 32)  \
    X(cvtsd2siq, "cvtsd2siq %%xmm1, %%rax\n\tmovq %%rax, %%xmm0",                                  \
      sf64_to_i64(env, b, env->rounding), 64, 64)                                                  \
    X(cvttsd2siq, "cvttsd2siq %%xmm1, %%rax\n\tmovq %%rax, %%xmm0",                                \
      sf64_to_i64(env, b, SOFTFLOAT_ZERO), 64, 64)                                                 \
    X(cvtsi2ss, "cvtsi2ssl %k[b], %%xmm0", sf32_from_i32(env, (int32_t)b), 64, 32)                 \
    X(cvtsi2ssq, "cvtsi2ssq %[b], %%xmm0", sf32_from_i64(env, (int64_t)b), 64, 32)                 \
    X(cvtsi2sd, "cvtsi2sdl %k[b], %%xmm0", sf64_from_i32(env, (int32_t)b), 64, 64)                 \
    X(cvtsi2sdq, "cvtsi2sdq %[b], %%xmm0", sf64_from_i64(env, (int64_t)b), 64, 64)

#define SSE41_OPS(X)                                                                               \
    X(roundss, "roundss $4, %%xmm1, %%xmm0",                                                       \
      sf32_round_to_int(env, (uint32_t)b, env->rounding, false), 32, 32)                           \
    X(roundss_up, "roundss $10, %%xmm1, %%xmm0",                                                   \
      sf32_round_to_int(env, (uint32_t)b, SOFTFLOAT_UP, true), 32, 32)                             \
    X(roundsd, "roundsd $4, %%xmm1, %%xmm0", sf64_round_to_int(env, b, env->rounding, false), 64,  \
      64)                                                                                          \
    X(roundsd_down, "roundsd $9, %%xmm1, %%xmm0", sf64_round_to_int(env, b, SOFTFLOAT_DOWN, true), \
      64, 64)

#define FMA_OPS(X)                                                                                 \
    X(vfmadd213ss, "vfmadd213ss %%xmm2, %%xmm1, %%xmm0",                                           \
      sf32_muladd(env, (uint32_t)b, (uint32_t)a, (uint32_t)c, 0), 32, 32)                          \
    X(vfmsub213ss, "vfmsub213ss %%xmm2, %%xmm1, %%xmm0",                                           \
      sf32_muladd(env, (uint32_t)b, (uint32_t)a, (uint32_t)c, SOFTFLOAT_NEGATE_ADDEND), 32, 32)    \
    X(vfmadd213sd, "vfmadd213sd %%xmm2, %%xmm1, %%xmm0", sf64_muladd(env, b, a, c, 0), 64, 64)     \
    X(vfnmadd213sd, "vfnmadd213sd %%xmm2, %%xmm1, %%xmm0",                                         \
      sf64_muladd(env, b, a, c, SOFTFLOAT_NEGATE_PRODUCT), 64, 64)

#define F16C_OPS(X)                                                                                \
    X(vcvtph2ps, "movzwl %w[b], %%eax\n\tmovd %%eax, %%xmm1\n\tvcvtph2ps %%xmm1, %%xmm0",          \
      sf16_to_f32(env, (uint16_t)b), 64, 32)                                                       \
    X(vcvtps2ph, "vcvtps2ph $4, %%xmm1, %%xmm0", sf32_to_f16(env, (uint32_t)b, env->rounding), 32, \
      16)

#define X(name, instruction, expression, from, to)                                                 \
    HOST_SSE(name, instruction)                                                                    \
    SOFT(name, expression)
SSE_OPS(X)
SSE41_OPS(X)
FMA_OPS(X)
F16C_OPS(X)
#undef X

struct sse_op {
    const char *name;
    uint64_t (*host)(uint32_t mxcsr, uint64_t a, uint64_t b, uint64_t c, uint32_t *flags);
    uint64_t (*soft)(struct softfloat_env *env, uint64_t a, uint64_t b, uint64_t c);
    unsigned from, to;
};

#define X(name, instruction, expression, from, to) {#name, host_##name, soft_##name, from, to},
static const struct sse_op sse_ops[] = {SSE_OPS(X)};
static const struct sse_op sse41_ops[] = {SSE41_OPS(X)};
static const struct sse_op fma_ops[] = {FMA_OPS(X)};
static const struct sse_op f16c_ops[] = {F16C_OPS(X)};
#undef X

static void compare_sse(const struct sse_op *op, uint32_t mxcsr, uint64_t a, uint64_t b, uint64_t c)
{
    struct softfloat_env env = softfloat_env_mxcsr(mxcsr);
    uint64_t mask = UINT64_MAX >> (64 - op->to), host, soft;
    uint32_t flags;

    host = op->host(mxcsr, a, b, c, &flags) & mask;
    soft = op->soft(&env, a, b, c) & mask;
    ck_assert_msg(host == soft && flags == env.flags,
                  "%s mxcsr %#x of %#llx %#llx %#llx: host %#llx flags %#x, soft %#llx flags %#x",
                  op->name, mxcsr, (unsigned long long)a, (unsigned long long)b,
                  (unsigned long long)c, (unsigned long long)host, flags, (unsigned long long)soft,
                  env.flags);
}

/* All roundings with DAZ and FTZ in every combination. */
static uint32_t mxcsr_of(unsigned n)
{
    return 0x1f80 | (n & 3) << 13 | (n & 4 ? 0x40u : 0) | (n & 8 ? 0x8000u : 0);
}

static uint64_t corner(const struct sse_op *op, unsigned n)
{
    return op->from == 32 ? corners32[n] : corners64[n];
}

static void compare_sse_all(const struct sse_op *op, uint64_t *state)
{
    unsigned count = op->from == 32 ? ARRAY_SIZE(corners32) : ARRAY_SIZE(corners64);

    for (unsigned n = 0; n < 16; n++)
        for (unsigned a = 0; a < count; a++)
            for (unsigned b = a % CORNER_STEP; b < count; b += CORNER_STEP)
                compare_sse(op, mxcsr_of(n), corner(op, a), corner(op, b),
                            corner(op, (a + b) % count));
    for (unsigned n = 0; n < RANDOM_CASES; n++) {
        uint64_t v[3];

        for (unsigned k = 0; k < 3; k++)
            v[k] = op->from == 32 ? pick32(state) : pick64(state);
        if (n % 8 == 0) /* integers of all sizes */
            v[1] = random_fraction(state) >> (64 - op->from);
        compare_sse(op, mxcsr_of((unsigned)next_random(state)), v[0], v[1], v[2]);
    }
}

START_TEST(sse_operations_give_the_host_s_results_and_flags)
{
    uint64_t state = seed();

    compare_sse_all(&sse_ops[_i], &state);
}
END_TEST

START_TEST(rounding_instructions_give_the_host_s_results_and_flags)
{
    uint64_t state = seed();

    if (__builtin_cpu_supports("sse4.1"))
        compare_sse_all(&sse41_ops[_i], &state);
}
END_TEST

START_TEST(fused_multiplications_give_the_host_s_results_and_flags)
{
    uint64_t state = seed();

    if (__builtin_cpu_supports("fma"))
        compare_sse_all(&fma_ops[_i], &state);
}
END_TEST

START_TEST(half_precision_conversions_give_the_host_s_results_and_flags)
{
    uint64_t state = seed();

    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2"))
        compare_sse_all(&f16c_ops[_i], &state);
}
END_TEST

/* ---- x87 ---------------------------------------------------------------------------------- */

#define C0 0x0100
#define C1 0x0200
#define C2 0x0400
#define C3 0x4000

/* Runs one instruction with ST0 = a, ST1 = b; *status receives flags and condition bits. */
#define HOST_X87(name, instruction, store)                                                         \
    static struct float80 host_##name(uint16_t cw, struct float80 a, struct float80 b,             \
                                      uint16_t *status)                                            \
    {                                                                                              \
        struct float80 r = {0};                                                                    \
        uint16_t sw;                                                                               \
        __asm__ volatile(                                                                          \
            "fninit\n\tfldcw %[cw]\n\tfldt %[b]\n\tfldt %[a]\n\tfnclex\n\t" instruction            \
            "\n\tfnstsw %[sw]\n\t" store "\n\tfninit"                                              \
            : [r] "+m"(r), [sw] "=m"(sw)                                                           \
            : [a] "m"(a), [b] "m"(b), [cw] "m"(cw));                                               \
        *status = sw & (0x3f | C0 | C1 | C2 | C3);                                                 \
        return r;                                                                                  \
    }

#define SOFT_X87(name, statement)                                                                  \
    static struct float80 soft_##name(struct softfloat_env *env, struct float80 a,                 \
                                      struct float80 b, uint16_t *bits)                            \
    {                                                                                              \
        struct float80 r = {0};                                                                    \
        (void)env, (void)a, (void)b;                                                               \
        *bits = 0;                                                                                 \
        statement;                                                                                 \
        return r;                                                                                  \
    }

static uint16_t relation_bits(enum softfloat_relation r)
{
    static const uint16_t bits[] = {C0, 0, 0, 0};

    return r == SOFTFLOAT_UNORDERED ? C0 | C2 | C3 : r == SOFTFLOAT_EQUAL ? C3 : bits[r + 1];
}

static uint16_t quotient_bits(unsigned q, bool partial)
{
    return (uint16_t)((q & 4 ? C0 : 0) | (q & 2 ? C3 : 0) | (q & 1 ? C1 : 0) | (partial ? C2 : 0));
}

static struct float80 remainder_soft(struct softfloat_env *env, struct float80 a, struct float80 b,
                                     bool nearest, uint16_t *bits)
{
    unsigned quotient;
    bool partial;
    struct float80 r = sf80_remainder(env, a, b, nearest, &quotient, &partial);

    *bits = quotient_bits(quotient, partial);
    return r;
}

static uint16_t class_bits(struct float80 a)
{
    static const uint16_t bits[] = {
        [SF80_UNSUPPORTED] = 0,    [SF80_QNAN] = C0, [SF80_SNAN] = C0,          [SF80_NORMAL] = C2,
        [SF80_INFINITY] = C2 | C0, [SF80_ZERO] = C3, [SF80_DENORMAL] = C3 | C2,
    };

    return bits[sf80_classify(a)] | (a.sign_exponent & 0x8000 ? C1 : 0);
}

static uint64_t low_bits(uint64_t v, unsigned bits)
{
    return v & (UINT64_MAX >> (64 - bits));
}

static void bcd_soft(struct softfloat_env *env, struct float80 a, struct float80 *r)
{
    uint8_t bcd[10];

    sf80_to_bcd(env, a, bcd);
    for (unsigned n = 0; n < 8; n++)
        r->significand |= (uint64_t)bcd[n] << (8 * n);
    r->sign_exponent = (uint16_t)(bcd[8] | bcd[9] << 8);
}

static struct float80 bcd_load(struct float80 a)
{
    uint8_t bcd[10];

    for (unsigned n = 0; n < 8; n++)
        bcd[n] = (uint8_t)(a.significand >> (8 * n));
    bcd[8] = (uint8_t)a.sign_exponent;
    bcd[9] = (uint8_t)(a.sign_exponent >> 8);
    return sf80_from_bcd(bcd);
}

#define POP_R "fstpt %[r]"

/* name, instruction, how its result is stored, what the soft-float does */
#define X87_OPS(X)                                                                                 \
    X(fadd, "fadd %%st(1), %%st", POP_R, r = sf80_add(env, a, b))                                  \
    X(fsub, "fsub %%st(1), %%st", POP_R, r = sf80_sub(env, a, b))                                  \
    X(fmul, "fmul %%st(1), %%st", POP_R, r = sf80_mul(env, a, b))                                  \
    X(fdiv, "fdiv %%st(1), %%st", POP_R, r = sf80_div(env, a, b))                                  \
    X(fsqrt, "fsqrt", POP_R, r = sf80_sqrt(env, a))                                                \
    X(frndint, "frndint", POP_R, r = sf80_round_to_int(env, a))                                    \
    X(fscale, "fscale", POP_R, r = sf80_scale(env, a, b))                                          \
    X(fxtract, "fxtract", POP_R, r = sf80_extract(env, a, &b))                                     \
    X(fxtract_exponent, "fxtract", "fstp %%st(0)\n\tfstpt %[r]", sf80_extract(env, a, &r))         \
    X(fprem, "fprem", POP_R, r = remainder_soft(env, a, b, false, bits))                           \
    X(fprem1, "fprem1", POP_R, r = remainder_soft(env, a, b, true, bits))                          \
    X(fcom, "fcom %%st(1)", "", *bits = relation_bits(sf80_compare(env, a, b, false)))             \
    X(fucom, "fucom %%st(1)", "", *bits = relation_bits(sf80_compare(env, a, b, true)))            \
    X(fxam, "fxam", "", *bits = class_bits(a))                                                     \
    X(fsts, "fsts %[r]", "", r.significand = sf80_to_f32(env, a))                                  \
    X(fstl, "fstl %[r]", "", r.significand = sf80_to_f64(env, a))                                  \
    X(fist16, "fists %[r]", "",                                                                    \
      r.significand = low_bits((uint64_t)sf80_to_i16(env, a, env->rounding), 16))                  \
    X(fist32, "fistl %[r]", "",                                                                    \
      r.significand = low_bits((uint64_t)sf80_to_i32(env, a, env->rounding), 32))                  \
    X(fist64, "fistpll %[r]", "", r.significand = (uint64_t)sf80_to_i64(env, a, env->rounding))    \
    X(fisttp64, "fisttpll %[r]", "",                                                               \
      r.significand = (uint64_t)sf80_to_i64(env, a, SOFTFLOAT_ZERO))                               \
    X(fbstp, "fbstp %[r]", "", bcd_soft(env, a, &r))                                               \
    X(flds, "fstp %%st\n\tflds %[a]", POP_R, r = sf32_to_f80(env, (uint32_t)a.significand))        \
    X(fldl, "fstp %%st\n\tfldl %[a]", POP_R, r = sf64_to_f80(env, a.significand))                  \
    X(fildll, "fstp %%st\n\tfildll %[a]", POP_R, r = sf80_from_i64((int64_t)a.significand))        \
    X(fbld, "fstp %%st\n\tfbld %[a]", POP_R, r = bcd_load(a))

#define X(name, instruction, store, statement)                                                     \
    HOST_X87(name, instruction, store)                                                             \
    SOFT_X87(name, statement)
X87_OPS(X)
#undef X

struct x87_op {
    const char *name;
    struct float80 (*host)(uint16_t cw, struct float80 a, struct float80 b, uint16_t *status);
    struct float80 (*soft)(struct softfloat_env *env, struct float80 a, struct float80 b,
                           uint16_t *bits);
};

static const struct x87_op x87_ops[] = {
#define X(name, instruction, store, statement) {#name, host_##name, soft_##name},
    X87_OPS(X)
#undef X
};

static void compare_x87(const struct x87_op *op, unsigned variant, struct float80 a,
                        struct float80 b)
{
    static const uint8_t precisions[] = {24, 64, 53, 64};
    unsigned pc = (variant >> 2) & 3;
    uint16_t cw = (uint16_t)(0x003f | (pc == 1 ? 3 : pc) << 8 | (variant & 3) << 10);
    struct softfloat_env env = {
        .rounding = variant & 3,
        .precision = precisions[pc],
    };
    uint16_t status, bits;
    struct float80 host = op->host(cw, a, b, &status), soft = op->soft(&env, a, b, &bits);

    bits |= env.flags | (env.rounded_up ? C1 : 0);
    ck_assert_msg(host.significand == soft.significand &&
                      host.sign_exponent == soft.sign_exponent && status == bits,
                  "%s cw %#x of %04x:%016llx %04x:%016llx: host %04x:%016llx status %#x, soft "
                  "%04x:%016llx status %#x",
                  op->name, cw, a.sign_exponent, (unsigned long long)a.significand, b.sign_exponent,
                  (unsigned long long)b.significand, host.sign_exponent,
                  (unsigned long long)host.significand, status, soft.sign_exponent,
                  (unsigned long long)soft.significand, bits);
}

START_TEST(x87_operations_give_the_host_s_results_flags_and_conditions)
{
    const struct x87_op *op = &x87_ops[_i];
    uint64_t state = seed();

    for (unsigned variant = 0; variant < 16; variant++)
        for (unsigned a = 0; a < ARRAY_SIZE(corners80); a++)
            for (unsigned b = a % CORNER_STEP; b < ARRAY_SIZE(corners80); b += CORNER_STEP)
                compare_x87(op, variant, corners80[a], corners80[b]);
    for (unsigned n = 0; n < RANDOM_CASES; n++) {
        struct float80 a = pick80(&state), b = pick80(&state);

        if (n % 4 == 0) /* operands whose exponents are near */
            b.sign_exponent = a.sign_exponent ^ (next_random(&state) & 3);
        compare_x87(op, (unsigned)next_random(&state), a, b);
    }
}
END_TEST

static void add_host_tests(TCase *tc)
{
    tcase_add_loop_test(tc, sse_operations_give_the_host_s_results_and_flags, 0,
                        ARRAY_SIZE(sse_ops));
    tcase_add_loop_test(tc, rounding_instructions_give_the_host_s_results_and_flags, 0,
                        ARRAY_SIZE(sse41_ops));
    tcase_add_loop_test(tc, fused_multiplications_give_the_host_s_results_and_flags, 0,
                        ARRAY_SIZE(fma_ops));
    tcase_add_loop_test(tc, half_precision_conversions_give_the_host_s_results_and_flags, 0,
                        ARRAY_SIZE(f16c_ops));
    tcase_add_loop_test(tc, x87_operations_give_the_host_s_results_flags_and_conditions, 0,
                        ARRAY_SIZE(x87_ops));
}

#else

static void add_host_tests(TCase *tc)
{
    (void)tc;
}

#endif

/* ---- Known answers, for every host --------------------------------------------------------- */

START_TEST(single_precision_thirds_round_as_asked)
{
    static const uint32_t third[] = {0x3eaaaaab, 0x3eaaaaaa, 0x3eaaaaab, 0x3eaaaaaa};
    struct softfloat_env env = {.rounding = (uint8_t)_i};

    ck_assert_uint_eq(sf32_div(&env, 0x3f800000, 0x40400000), third[_i]);
    ck_assert_uint_eq(env.flags, SOFTFLOAT_INEXACT);
}
END_TEST

START_TEST(double_precision_square_root_of_two_is_right)
{
    struct softfloat_env env = {0};

    ck_assert_uint_eq(sf64_sqrt(&env, 0x4000000000000000), 0x3ff6a09e667f3bcd);
    ck_assert_uint_eq(env.flags, SOFTFLOAT_INEXACT);
}
END_TEST

START_TEST(infinity_minus_infinity_is_invalid_and_the_default_nan)
{
    struct softfloat_env env = {0};

    ck_assert_uint_eq(sf64_sub(&env, 0x7ff0000000000000, 0x7ff0000000000000), SF64_DEFAULT_NAN);
    ck_assert_uint_eq(env.flags, SOFTFLOAT_INVALID);
}
END_TEST

START_TEST(sse_takes_the_first_nan_and_quiets_it)
{
    struct softfloat_env env = {0};

    ck_assert_uint_eq(sf32_add(&env, 0x7f800001, 0x7fffffff), 0x7fc00001);
    ck_assert_uint_eq(env.flags, SOFTFLOAT_INVALID);
}
END_TEST

START_TEST(x87_takes_the_nan_with_the_larger_significand)
{
    struct softfloat_env env = {0};
    struct float80 a = {0xc000000000000001, 0x7fff}, b = {0xc000000000000002, 0xffff};
    struct float80 r = sf80_add(&env, a, b);

    ck_assert_uint_eq(r.significand, b.significand);
    ck_assert_uint_eq(r.sign_exponent, b.sign_exponent);
    ck_assert_uint_eq(env.flags, 0);
}
END_TEST

START_TEST(an_exact_tiny_result_underflows_only_if_unmasked)
{
    struct softfloat_env masked = {0}, unmasked = {.unmasked = SOFTFLOAT_UNDERFLOW};

    ck_assert_uint_eq(sf32_mul(&masked, 0x00800000, 0x3f000000), 0x00400000);
    ck_assert_uint_eq(masked.flags, 0);
    sf32_mul(&unmasked, 0x00800000, 0x3f000000);
    ck_assert_uint_eq(unmasked.flags, SOFTFLOAT_UNDERFLOW);
}
END_TEST

START_TEST(an_unmasked_x87_overflow_wraps_the_exponent)
{
    struct softfloat_env env = {.unmasked = SOFTFLOAT_OVERFLOW};
    struct float80 a = {0x8000000000000000, 0x7ffe};
    struct float80 r = sf80_mul(&env, a, a);

    ck_assert_uint_eq(r.significand, 0x8000000000000000);
    ck_assert_uint_eq(r.sign_exponent, 0x7ffe + 0x7ffe - 0x3fff - 24576);
    ck_assert_uint_eq(env.flags, SOFTFLOAT_OVERFLOW);
}
END_TEST

START_TEST(an_unmasked_x87_underflow_wraps_the_exponent_and_keeps_all_bits)
{
    struct softfloat_env env = {.unmasked = SOFTFLOAT_UNDERFLOW};
    struct float80 a = {0xffffffffffffffff, 0x0001}, b = {0x8000000000000000, 0x3ff0};
    struct float80 r = sf80_mul(&env, a, b);

    ck_assert_uint_eq(r.significand, 0xffffffffffffffff);
    ck_assert_uint_eq(r.sign_exponent, 1 + 0x3ff0 - 0x3fff + 24576);
    ck_assert_uint_eq(env.flags, SOFTFLOAT_UNDERFLOW);
}
END_TEST

START_TEST(a_remainder_of_far_exponents_comes_in_steps)
{
    struct softfloat_env env = {0};
    struct float80 a = {0x8000000000000000, 0x3fff + 200}, b = {0xc000000000000000, 0x3fff};
    unsigned quotient, steps = 0;
    bool partial = true;

    for (; partial && steps < 10; steps++)
        a = sf80_remainder(&env, a, b, false, &quotient, &partial);
    /* 2^200 = 1 (mod 3), so 2^200 mod 1.5 = 1 */
    ck_assert_uint_eq(a.significand, 0x8000000000000000);
    ck_assert_uint_eq(a.sign_exponent, 0x3fff);
    ck_assert_uint_gt(steps, 1);
    ck_assert_uint_eq(env.flags, 0);
}
END_TEST

START_TEST(packed_decimal_goes_out_and_comes_back)
{
    static const uint8_t want[10] = {0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0, 0x80};
    struct softfloat_env env = {0};
    uint8_t bcd[10];
    struct float80 r;

    sf80_to_bcd(&env, sf80_from_i64(-12345678), bcd);
    ck_assert_int_eq(memcmp(bcd, want, sizeof(want)), 0);
    r = sf80_from_bcd(bcd);
    ck_assert_int_eq(sf80_to_i32(&env, r, SOFTFLOAT_NEAREST), -12345678);
    ck_assert_uint_eq(env.flags, 0);
}
END_TEST

static void add_known_answers(TCase *tc)
{
    tcase_add_loop_test(tc, single_precision_thirds_round_as_asked, 0, 4);
    tcase_add_test(tc, double_precision_square_root_of_two_is_right);
    tcase_add_test(tc, infinity_minus_infinity_is_invalid_and_the_default_nan);
    tcase_add_test(tc, sse_takes_the_first_nan_and_quiets_it);
    tcase_add_test(tc, x87_takes_the_nan_with_the_larger_significand);
    tcase_add_test(tc, an_exact_tiny_result_underflows_only_if_unmasked);
    tcase_add_test(tc, an_unmasked_x87_overflow_wraps_the_exponent);
    tcase_add_test(tc, an_unmasked_x87_underflow_wraps_the_exponent_and_keeps_all_bits);
    tcase_add_test(tc, a_remainder_of_far_exponents_comes_in_steps);
    tcase_add_test(tc, packed_decimal_goes_out_and_comes_back);
}

int main(void)
{
    Suite *suite = suite_create("softfloat");
    TCase *known = tcase_create("known answers"), *host = tcase_create("host");

    add_known_answers(known);
    suite_add_tcase(suite, known);
    add_host_tests(host);
    suite_add_tcase(suite, host);
    return run_all(suite);
}
