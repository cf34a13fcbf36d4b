/*
 * Floating point of EVEX encoding: arithmetic, fused multiplication and addition, comparison, and
 * the functions that only AVX-512 has. Only elements that the mask selects are computed, since only
 * their exceptions count. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/ops/avx512.h"
#include "cpu/softfloat_avx512.h"
#include "cpu/sse_fp.h"

/* Kernels over selected elements: x, y, z as in EVEX_LANES; op_evex_<name>p<t> and s<t>. */
#define FP_RUN(name, bytes, expression)                                                            \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        struct softfloat_env *env = &e->env;                                                       \
        for (unsigned n = 0; n < e->lanes; n++) {                                                  \
            UINT_##bytes x = LANE_##bytes(e->a, n), y = LANE_##bytes(e->b, n);                     \
            UINT_##bytes z = LANE_##bytes(e->d, n);                                                \
            (void)x;                                                                               \
            (void)z;                                                                               \
            if (e->mask >> n & 1)                                                                  \
                LANE_##bytes(e->r, n) = (UINT_##bytes)(expression);                                \
        }                                                                                          \
    }
#define FP_PACKED(name, kernel_run, bytes)                                                         \
    EVEX_OP(name, .run = kernel_run, .lane = bytes, .source = bytes, .wide = bytes)
#define FP_SCALAR(name, kernel_run, bytes)                                                         \
    EVEX_OP(name, .run = kernel_run, .lane = bytes, .source = bytes)

/* Of both precisions, packed and scalar. */
#define FP(name, single, twice)                                                                    \
    FP_RUN(name##ps, 4, single)                                                                    \
    FP_PACKED(name##ps, run_##name##ps, 4)                                                         \
    FP_SCALAR(name##ss, run_##name##ps, 4)                                                         \
    FP_RUN(name##pd, 8, twice)                                                                     \
    FP_PACKED(name##pd, run_##name##pd, 8)                                                         \
    FP_SCALAR(name##sd, run_##name##pd, 8)
/* The same of functions with the format as argument. */
#define FP_X(name, function, ...)                                                                  \
    FP(name, function(&sfx_single, env, __VA_ARGS__), function(&sfx_double, env, __VA_ARGS__))

/* ---- Arithmetic --------------------------------------------------------------------------- */

FP(vadd, sf32_add(env, x, y), sf64_add(env, x, y))
FP(vsub, sf32_sub(env, x, y), sf64_sub(env, x, y))
FP(vmul, sf32_mul(env, x, y), sf64_mul(env, x, y))
FP(vdiv, sf32_div(env, x, y), sf64_div(env, x, y))
FP(vmin, sf32_min(env, x, y), sf64_min(env, x, y))
FP(vmax, sf32_max(env, x, y), sf64_max(env, x, y))
FP(vsqrt, sf32_sqrt(env, y), sf64_sqrt(env, y))

FP_X(vgetexp, sfx_getexp, y)
FP_X(vgetmant, sfx_getmant, y, e->imm)
FP_X(vrndscale, sfx_rndscale, y, e->imm)
FP_X(vreduce, sfx_reduce, y, e->imm)
FP_X(vrange, sfx_range, x, y, e->imm)
FP_X(vscalef, sfx_scalef, x, y)
FP_X(vfixupimm, sfx_fixup, z, x, (uint32_t)y, e->imm)
FP_X(vrcp14, sfx_rcp14, y)
FP_X(vrsqrt14, sfx_rsqrt14, y)

/* ---- Fused multiplication and addition ---------------------------------------------------- */

/* negate: enum softfloat_muladd; the three orders of operands. */
#define FMA_ORDER(name, a, b, c, negate)                                                           \
    FP_RUN(name##ps, 4, sf32_muladd(env, a, b, c, negate))                                         \
    FP_PACKED(name##ps, run_##name##ps, 4)                                                         \
    EVEX_OP(name##ss, .run = run_##name##ps, .lane = 4, .source = 4, .keeps = true)                \
    FP_RUN(name##pd, 8, sf64_muladd(env, a, b, c, negate))                                         \
    FP_PACKED(name##pd, run_##name##pd, 8)                                                         \
    EVEX_OP(name##sd, .run = run_##name##pd, .lane = 8, .source = 8, .keeps = true)
#define FMA(name, negate)                                                                          \
    FMA_ORDER(name##132, z, y, x, negate)                                                          \
    FMA_ORDER(name##213, x, z, y, negate)                                                          \
    FMA_ORDER(name##231, x, y, z, negate)
FMA(vfmadd, 0)
FMA(vfmsub, SOFTFLOAT_NEGATE_ADDEND)
FMA(vfnmadd, SOFTFLOAT_NEGATE_PRODUCT)
FMA(vfnmsub, SOFTFLOAT_NEGATE_PRODUCT | SOFTFLOAT_NEGATE_ADDEND)

/* Subtraction in even elements, or in odd ones; packed only. */
#define FMA_TURNS_ORDER(name, a, b, c, negate)                                                     \
    FP_RUN(name##ps, 4, sf32_muladd(env, a, b, c, negate))                                         \
    FP_PACKED(name##ps, run_##name##ps, 4)                                                         \
    FP_RUN(name##pd, 8, sf64_muladd(env, a, b, c, negate))                                         \
    FP_PACKED(name##pd, run_##name##pd, 8)
#define FMA_TURNS(name, negate)                                                                    \
    FMA_TURNS_ORDER(name##132, z, y, x, negate)                                                    \
    FMA_TURNS_ORDER(name##213, x, z, y, negate)                                                    \
    FMA_TURNS_ORDER(name##231, x, y, z, negate)
FMA_TURNS(vfmaddsub, n & 1 ? 0 : SOFTFLOAT_NEGATE_ADDEND)
FMA_TURNS(vfmsubadd, n & 1 ? SOFTFLOAT_NEGATE_ADDEND : 0)

/* ---- Comparison --------------------------------------------------------------------------- */

static bool holds32(struct softfloat_env *env, uint32_t x, uint32_t y, unsigned imm)
{
    return sse_soft_vcmpss(env, vec_from64(x, 0), vec_from64(y, 0), imm & 31).q[0] & 1;
}

static bool holds64(struct softfloat_env *env, uint64_t x, uint64_t y, unsigned imm)
{
    return sse_soft_vcmpsd(env, vec_from64(x, 0), vec_from64(y, 0), imm & 31).q[0] & 1;
}

#define FP_TEST(name, bytes, packed, scalar, condition)                                            \
    static void run_##name##packed(struct evex *e)                                                 \
    {                                                                                              \
        struct softfloat_env *env = &e->env;                                                       \
        for (unsigned n = 0; n < e->lanes; n++) {                                                  \
            UINT_##bytes x = LANE_##bytes(e->a, n), y = LANE_##bytes(e->b, n);                     \
            (void)x;                                                                               \
            if (e->mask >> n & 1)                                                                  \
                e->k |= (uint64_t)(condition) << n;                                                \
        }                                                                                          \
    }                                                                                              \
    EVEX_OP(name##packed, .run = run_##name##packed, .lane = bytes, .source = bytes,               \
            .wide = bytes, .to = EVEX_TO_K)                                                        \
    EVEX_OP(name##scalar, .run = run_##name##packed, .lane = bytes, .source = bytes,               \
            .to = EVEX_TO_K)
FP_TEST(vcmp, 4, ps, ss, holds32(env, x, y, e->imm))
FP_TEST(vcmp, 8, pd, sd, holds64(env, x, y, e->imm))
FP_TEST(vfpclass, 4, ps, ss, sfx_class(&sfx_single, env, y, e->imm))
FP_TEST(vfpclass, 8, pd, sd, sfx_class(&sfx_double, env, y, e->imm))

/* Flags as sse_fp.h has them; the first operand is V. */
#define FP_FLAGS(name)                                                                             \
    static void run_v##name(struct evex *e)                                                        \
    {                                                                                              \
        e->k =                                                                                     \
            sse_soft_##name(&e->env, vec_from64(e->d.q[0], 0), vec_from64(e->b.q[0], 0), 0).q[0];  \
    }                                                                                              \
    EVEX_OP(v##name, .run = run_v##name, .lane = 8, .to = EVEX_TO_FLAGS)
FP_FLAGS(comiss)
FP_FLAGS(ucomiss)
FP_FLAGS(comisd)
FP_FLAGS(ucomisd)
