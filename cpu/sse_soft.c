/* SSE floating-point operations in integers (cpu/sse_fp.h). */
#include "cpu/sse_fp.h"

#define LANE_Q(v, n) ((v).q[n])

/* ---- Exceptions --------------------------------------------------------------------------- */

/* Found before the result is computed; they come before the others (SDM 1 11.5.2). */
#define BEFORE_COMPUTATION (SOFTFLOAT_INVALID | SOFTFLOAT_DENORMAL | SOFTFLOAT_ZERO_DIVIDE)

void sse_fp_report(struct vcpu *cpu, const struct insn *i, unsigned flags)
{
    unsigned unmasked = ~(cpu->mxcsr >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS;
    uint32_t mxcsr = fpu_mxcsr_read(cpu);

    if (flags & BEFORE_COMPUTATION & unmasked)
        flags &= BEFORE_COMPUTATION;
    if (flags & ~mxcsr)
        fpu_mxcsr_write(cpu, mxcsr | flags);
    if (flags & unmasked)
        cpu_raise(cpu, i, (cpu->mmu.cr4 & CR4_OSXMMEXCPT) ? EXC_XM : EXC_UD);
}

vec_u64 sse_fp_run_soft(struct vcpu *cpu, const struct insn *i, sse_soft_fn *fn, vec_u64 a,
                        vec_u64 b, unsigned imm)
{
    struct softfloat_env env = softfloat_env_mxcsr(cpu->mxcsr);
    union vec r = fn(&env, (union vec){.vq = a}, (union vec){.vq = b}, imm);

    if (env.flags != 0)
        sse_fp_report(cpu, i, env.flags);
    return r.vq;
}

vec_u64 sse_fp_run_soft_2(struct vcpu *cpu, const struct insn *i, sse_soft_fn *fn, vec_u64 a_low,
                          vec_u64 a_high, vec_u64 b_low, vec_u64 b_high, unsigned imm)
{
    struct softfloat_env env = softfloat_env_mxcsr(cpu->mxcsr);
    union vec low = fn(&env, (union vec){.vq = a_low}, (union vec){.vq = b_low}, imm);
    union vec high = fn(&env, (union vec){.vq = a_high}, (union vec){.vq = b_high}, imm);

    if (env.flags != 0)
        sse_fp_report(cpu, i, env.flags);
    cpu->vec_high[0] = high.vq[0];
    cpu->vec_high[1] = high.vq[1];
    return low.vq;
}

/* ---- Lane by lane ------------------------------------------------------------------------- */

/* sse_soft_<name>: the first `lanes` lanes of the destination are replaced; x and y are the lanes
 * of destination and source. */
#define SOFT(name, LANE, lanes, expression)                                                        \
    union vec sse_soft_##name(struct softfloat_env *env, union vec a, union vec b, unsigned imm)   \
    {                                                                                              \
        (void)imm;                                                                                 \
        for (unsigned n = 0; n < (lanes); n++) {                                                   \
            __typeof__(LANE(a, n)) x = LANE(a, n), y = LANE(b, n);                                 \
            (void)x;                                                                               \
            LANE(a, n) = expression;                                                               \
        }                                                                                          \
        return a;                                                                                  \
    }

#define SOFT_BINARY(name)                                                                          \
    SOFT(name##ps, VREG_D, 4, sf32_##name(env, x, y))                                              \
    SOFT(name##ss, VREG_D, 1, sf32_##name(env, x, y))                                              \
    SOFT(name##pd, LANE_Q, 2, sf64_##name(env, x, y))                                              \
    SOFT(name##sd, LANE_Q, 1, sf64_##name(env, x, y))

SOFT_BINARY(add)
SOFT_BINARY(sub)
SOFT_BINARY(mul)
SOFT_BINARY(div)
SOFT_BINARY(min)
SOFT_BINARY(max)

SOFT(sqrtps, VREG_D, 4, sf32_sqrt(env, y))
SOFT(sqrtss, VREG_D, 1, sf32_sqrt(env, y))
SOFT(sqrtpd, LANE_Q, 2, sf64_sqrt(env, y))
SOFT(sqrtsd, LANE_Q, 1, sf64_sqrt(env, y))

SOFT(addsubps, VREG_D, 4, n & 1 ? sf32_add(env, x, y) : sf32_sub(env, x, y))
SOFT(addsubpd, LANE_Q, 2, n & 1 ? sf64_add(env, x, y) : sf64_sub(env, x, y))

static enum softfloat_rounding rounding_of(const struct softfloat_env *env, unsigned imm)
{
    return imm & 4 ? env->rounding : imm & 3;
}

SOFT(roundps, VREG_D, 4, sf32_round_to_int(env, y, rounding_of(env, imm), imm & 8))
SOFT(roundss, VREG_D, 1, sf32_round_to_int(env, y, rounding_of(env, imm), imm & 8))
SOFT(roundpd, LANE_Q, 2, sf64_round_to_int(env, y, rounding_of(env, imm), imm & 8))
SOFT(roundsd, LANE_Q, 1, sf64_round_to_int(env, y, rounding_of(env, imm), imm & 8))

/* ---- Comparison --------------------------------------------------------------------------- */

/* EQ, UNORD and their negations mind only signalling NaNs. */
static bool predicate_quiet(unsigned predicate)
{
    return (predicate & 3) == 0 || (predicate & 3) == 3;
}

static bool predicate_holds(unsigned predicate, enum softfloat_relation r)
{
    bool holds;

    switch (predicate & 3) {
    case 0:
        holds = r == SOFTFLOAT_EQUAL;
        break;
    case 1:
        holds = r == SOFTFLOAT_LESS;
        break;
    case 2:
        holds = r == SOFTFLOAT_LESS || r == SOFTFLOAT_EQUAL;
        break;
    default:
        holds = r == SOFTFLOAT_UNORDERED;
        break;
    }
    return holds ^ !!(predicate & 4);
}

static uint32_t compare32(struct softfloat_env *env, uint32_t a, uint32_t b, unsigned imm)
{
    return predicate_holds(imm, sf32_compare(env, a, b, predicate_quiet(imm))) ? ~0u : 0;
}

static uint64_t compare64(struct softfloat_env *env, uint64_t a, uint64_t b, unsigned imm)
{
    return predicate_holds(imm, sf64_compare(env, a, b, predicate_quiet(imm))) ? ~0ull : 0;
}

SOFT(cmpps, VREG_D, 4, compare32(env, x, y, imm))
SOFT(cmpss, VREG_D, 1, compare32(env, x, y, imm))
SOFT(cmppd, LANE_Q, 2, compare64(env, x, y, imm))
SOFT(cmpsd, LANE_Q, 1, compare64(env, x, y, imm))

/* The predicates of AVX: for which relations they hold, bits in the order below; those from 16 on
 * are the same with the opposite view on quiet NaNs. */
#define HOLDS_LESS      1
#define HOLDS_EQUAL     2
#define HOLDS_GREATER   4
#define HOLDS_UNORDERED 8

static bool avx_predicate_holds(unsigned predicate, enum softfloat_relation r)
{
    static const uint8_t relations[16] = {2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15};
    unsigned bit = r == SOFTFLOAT_LESS      ? HOLDS_LESS
                   : r == SOFTFLOAT_EQUAL   ? HOLDS_EQUAL
                   : r == SOFTFLOAT_GREATER ? HOLDS_GREATER
                                            : HOLDS_UNORDERED;

    return relations[predicate & 15] & bit;
}

static uint32_t avx_compare32(struct softfloat_env *env, uint32_t a, uint32_t b, unsigned imm)
{
    bool quiet = predicate_quiet(imm) ^ !!(imm & 16);

    return avx_predicate_holds(imm, sf32_compare(env, a, b, quiet)) ? ~0u : 0;
}

static uint64_t avx_compare64(struct softfloat_env *env, uint64_t a, uint64_t b, unsigned imm)
{
    bool quiet = predicate_quiet(imm) ^ !!(imm & 16);

    return avx_predicate_holds(imm, sf64_compare(env, a, b, quiet)) ? ~0ull : 0;
}

SOFT(vcmpps, VREG_D, 4, avx_compare32(env, x, y, imm))
SOFT(vcmpss, VREG_D, 1, avx_compare32(env, x, y, imm))
SOFT(vcmppd, LANE_Q, 2, avx_compare64(env, x, y, imm))
SOFT(vcmpsd, LANE_Q, 1, avx_compare64(env, x, y, imm))

static uint64_t relation_flags(enum softfloat_relation r)
{
    switch (r) {
    case SOFTFLOAT_LESS:
        return EFLAGS_CF;
    case SOFTFLOAT_EQUAL:
        return EFLAGS_ZF;
    case SOFTFLOAT_GREATER:
        return 0;
    default:
        return EFLAGS_ZF | EFLAGS_PF | EFLAGS_CF;
    }
}

/* sse_soft_<name> with a result in quad 0. */
#define SOFT_RESULT(name, expression)                                                              \
    union vec sse_soft_##name(struct softfloat_env *env, union vec a, union vec b, unsigned imm)   \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)imm;                                                                                 \
        return vec_from64(expression, 0);                                                          \
    }

SOFT_RESULT(comiss, relation_flags(sf32_compare(env, VREG_D(a, 0), VREG_D(b, 0), false)))
SOFT_RESULT(ucomiss, relation_flags(sf32_compare(env, VREG_D(a, 0), VREG_D(b, 0), true)))
SOFT_RESULT(comisd, relation_flags(sf64_compare(env, a.q[0], b.q[0], false)))
SOFT_RESULT(ucomisd, relation_flags(sf64_compare(env, a.q[0], b.q[0], true)))

/* ---- Conversion --------------------------------------------------------------------------- */

SOFT_RESULT(cvtss2si32, (uint32_t)sf32_to_i32(env, VREG_D(b, 0), env->rounding))
SOFT_RESULT(cvtss2si64, (uint64_t)sf32_to_i64(env, VREG_D(b, 0), env->rounding))
SOFT_RESULT(cvttss2si32, (uint32_t)sf32_to_i32(env, VREG_D(b, 0), SOFTFLOAT_ZERO))
SOFT_RESULT(cvttss2si64, (uint64_t)sf32_to_i64(env, VREG_D(b, 0), SOFTFLOAT_ZERO))
SOFT_RESULT(cvtsd2si32, (uint32_t)sf64_to_i32(env, b.q[0], env->rounding))
SOFT_RESULT(cvtsd2si64, (uint64_t)sf64_to_i64(env, b.q[0], env->rounding))
SOFT_RESULT(cvttsd2si32, (uint32_t)sf64_to_i32(env, b.q[0], SOFTFLOAT_ZERO))
SOFT_RESULT(cvttsd2si64, (uint64_t)sf64_to_i64(env, b.q[0], SOFTFLOAT_ZERO))

/* Lane n of the destination from lane n of the source, of another width; the rest as in `first`. */
#define SOFT_CONVERT(name, TO, FROM, lanes, first, expression)                                     \
    union vec sse_soft_##name(struct softfloat_env *env, union vec a, union vec b, unsigned imm)   \
    {                                                                                              \
        union vec r = first;                                                                       \
        (void)a;                                                                                   \
        (void)imm;                                                                                 \
        for (unsigned n = 0; n < (lanes); n++) {                                                   \
            __typeof__(FROM(b, n)) x = FROM(b, n);                                                 \
            TO(r, n) = (__typeof__(TO(r, n)))(expression);                                         \
        }                                                                                          \
        return r;                                                                                  \
    }

#define CLEAR vec_from64(0, 0)
SOFT_CONVERT(cvtps2pd, LANE_Q, VREG_D, 2, CLEAR, sf32_to_f64(env, x))
SOFT_CONVERT(cvtpd2ps, VREG_D, LANE_Q, 2, CLEAR, sf64_to_f32(env, x))
SOFT_CONVERT(cvtss2sd, LANE_Q, VREG_D, 1, a, sf32_to_f64(env, x))
SOFT_CONVERT(cvtsd2ss, VREG_D, LANE_Q, 1, a, sf64_to_f32(env, x))
SOFT_CONVERT(cvtdq2ps, VREG_D, VREG_D, 4, CLEAR, sf32_from_i32(env, (int32_t)x))
SOFT_CONVERT(cvtdq2pd, LANE_Q, VREG_D, 2, CLEAR, sf64_from_i32(env, (int32_t)x))
SOFT_CONVERT(cvtps2dq, VREG_D, VREG_D, 4, CLEAR, sf32_to_i32(env, x, env->rounding))
SOFT_CONVERT(cvttps2dq, VREG_D, VREG_D, 4, CLEAR, sf32_to_i32(env, x, SOFTFLOAT_ZERO))
SOFT_CONVERT(cvtpd2dq, VREG_D, LANE_Q, 2, CLEAR, sf64_to_i32(env, x, env->rounding))
SOFT_CONVERT(cvttpd2dq, VREG_D, LANE_Q, 2, CLEAR, sf64_to_i32(env, x, SOFTFLOAT_ZERO))
SOFT_CONVERT(cvtsi2ss, VREG_D, LANE_Q, 1, a, sf32_from_i64(env, (int64_t)x))
SOFT_CONVERT(cvtsi2sd, LANE_Q, LANE_Q, 1, a, sf64_from_i64(env, (int64_t)x))

/* ---- Approximations ----------------------------------------------------------------------- */

#define ONE_32      0x3f800000u
#define SIGN_32     0x80000000u
#define INFINITY_32 0x7f800000u

/* Rounded to nearest, without a trace in the environment; denormals are zeros on both sides. */
static struct softfloat_env quiet_env(void)
{
    return (struct softfloat_env){.rounding = SOFTFLOAT_NEAREST, .daz = true, .ftz = true};
}

/* The significand's top 12 of 24 bits, as the instructions give. */
static uint32_t shorten(uint32_t v)
{
    return (v & INFINITY_32) == INFINITY_32 ? v : v & ~0xfffu;
}

static uint32_t reciprocal(uint32_t x)
{
    struct softfloat_env env = quiet_env();

    return shorten(sf32_div(&env, ONE_32, x));
}

static uint32_t reciprocal_root(uint32_t x)
{
    struct softfloat_env env = quiet_env();

    if ((x & INFINITY_32) == 0)
        return (x & SIGN_32) | INFINITY_32;
    return shorten(sf32_div(&env, ONE_32, sf32_sqrt(&env, x)));
}

SOFT(rcpps, VREG_D, 4, ((void)env, reciprocal(y)))
SOFT(rcpss, VREG_D, 1, ((void)env, reciprocal(y)))
SOFT(rsqrtps, VREG_D, 4, ((void)env, reciprocal_root(y)))
SOFT(rsqrtss, VREG_D, 1, ((void)env, reciprocal_root(y)))
