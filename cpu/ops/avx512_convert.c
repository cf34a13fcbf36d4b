/*
 * Conversions of EVEX encoding, between floating-point formats and from and to integers, signed and
 * unsigned. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/ops/avx512.h"
#include "cpu/sse_fp.h"

/* One element: by the scalar instruction of SSE (as cpu/sse_fp.h names it) with x in its source, on
 * the host's unit if that may be taken and the instruction has no rounding of its own; else `soft`.
 */
#if defined(__x86_64__)
#define BY_HOST(insn, x, soft)                                                                     \
    (e->cpu->sse_fast && !e->quiet                                                                 \
         ? sse_host_##insn(vec_from64(0, 0), vec_from64((uint64_t)(x), 0), 0).q[0]                 \
         : (soft))
#else
#define BY_HOST(insn, x, soft) (soft)
#endif

/* Elements of TO bytes from such of FROM bytes: x; narrower results fill the lower part. */
#define CONVERT(name, TO, FROM, expression)                                                        \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        struct softfloat_env *env = &e->env;                                                       \
        for (unsigned n = 0; n < e->lanes; n++) {                                                  \
            UINT_##FROM x = LANE_##FROM(e->b, n);                                                  \
            if (e->mask >> n & 1)                                                                  \
                LANE_##TO(e->r, n) = (UINT_##TO)(expression);                                      \
        }                                                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = TO, .source = FROM, .wide = TO > FROM ? TO : FROM)

CONVERT(vcvtps2pd, 8, 4, BY_HOST(cvtss2sd, x, sf32_to_f64(env, x)))
CONVERT(vcvtpd2ps, 4, 8, BY_HOST(cvtsd2ss, x, sf64_to_f32(env, x)))
CONVERT(vcvtph2ps, 4, 2, sf16_to_f32(env, x))

CONVERT(vcvtdq2ps, 4, 4, BY_HOST(cvtsi2ss, (int32_t)x, sf32_from_i32(env, (int32_t)x)))
CONVERT(vcvtudq2ps, 4, 4, BY_HOST(cvtsi2ss, x, sf32_from_u32(env, x)))
CONVERT(vcvtqq2ps, 4, 8, BY_HOST(cvtsi2ss, x, sf32_from_i64(env, (int64_t)x)))
CONVERT(vcvtuqq2ps, 4, 8, sf32_from_u64(env, x))
CONVERT(vcvtdq2pd, 8, 4, BY_HOST(cvtsi2sd, (int32_t)x, sf64_from_i32(env, (int32_t)x)))
CONVERT(vcvtudq2pd, 8, 4, BY_HOST(cvtsi2sd, x, sf64_from_u32(env, x)))
CONVERT(vcvtqq2pd, 8, 8, BY_HOST(cvtsi2sd, x, sf64_from_i64(env, (int64_t)x)))
CONVERT(vcvtuqq2pd, 8, 8, sf64_from_u64(env, x))

/* By the rounding in force, and truncated. */
#define TO_INTEGER(suffix, FROM, FLOAT, TO, kind)                                                  \
    CONVERT(vcvt##suffix, TO, FROM, FLOAT##_to_##kind(env, x, env->rounding))                      \
    CONVERT(vcvtt##suffix, TO, FROM, FLOAT##_to_##kind(env, x, SOFTFLOAT_ZERO))
/* Those that SSE has. */
#define TO_SIGNED(suffix, insn, FROM, FLOAT, TO, kind)                                             \
    CONVERT(vcvt##suffix, TO, FROM,                                                                \
            BY_HOST(cvt##insn, x, (UINT_##TO)FLOAT##_to_##kind(env, x, env->rounding)))            \
    CONVERT(vcvtt##suffix, TO, FROM,                                                               \
            BY_HOST(cvtt##insn, x, (UINT_##TO)FLOAT##_to_##kind(env, x, SOFTFLOAT_ZERO)))
TO_SIGNED(ps2dq, ss2si32, 4, sf32, 4, i32)
TO_INTEGER(ps2udq, 4, sf32, 4, u32)
TO_SIGNED(ps2qq, ss2si64, 4, sf32, 8, i64)
TO_INTEGER(ps2uqq, 4, sf32, 8, u64)
TO_SIGNED(pd2dq, sd2si32, 8, sf64, 4, i32)
TO_INTEGER(pd2udq, 8, sf64, 4, u32)
TO_SIGNED(pd2qq, sd2si64, 8, sf64, 8, i64)
TO_INTEGER(pd2uqq, 8, sf64, 8, u64)

/* Rounding by imm[1:0], or by MXCSR. */
static void run_vcvtps2ph(struct evex *e)
{
    unsigned rounding = e->imm & 4 ? e->env.rounding : e->imm & 3;

    for (unsigned n = 0; n < e->lanes; n++)
        if (e->mask >> n & 1)
            VREG_W(e->r, n) = sf32_to_f16(&e->env, VREG_D(e->b, n), rounding);
}
EVEX_OP(vcvtps2ph, .run = run_vcvtps2ph, .lane = 2, .wide = 4, .to = EVEX_TO_W)

/* ---- Scalars ------------------------------------------------------------------------------ */

#define CONVERT_SCALAR(name, TO, FROM, expression, ...)                                            \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        struct softfloat_env *env = &e->env;                                                       \
        UINT_##FROM x = LANE_##FROM(e->b, 0);                                                      \
        if (e->mask & 1)                                                                           \
            LANE_##TO(e->r, 0) = (UINT_##TO)(expression);                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = TO, .source = FROM, ##__VA_ARGS__)
CONVERT_SCALAR(vcvtss2sd, 8, 4, BY_HOST(cvtss2sd, x, sf32_to_f64(env, x)))
CONVERT_SCALAR(vcvtsd2ss, 4, 8, BY_HOST(cvtsd2ss, x, sf64_to_f32(env, x)))
CONVERT_SCALAR(vcvtsi2ss32, 4, 4, BY_HOST(cvtsi2ss, (int32_t)x, sf32_from_i32(env, (int32_t)x)),
               .general = true)
CONVERT_SCALAR(vcvtsi2ss64, 4, 8, BY_HOST(cvtsi2ss, x, sf32_from_i64(env, (int64_t)x)),
               .general = true)
CONVERT_SCALAR(vcvtsi2sd32, 8, 4, BY_HOST(cvtsi2sd, (int32_t)x, sf64_from_i32(env, (int32_t)x)),
               .general = true)
CONVERT_SCALAR(vcvtsi2sd64, 8, 8, BY_HOST(cvtsi2sd, x, sf64_from_i64(env, (int64_t)x)),
               .general = true)
CONVERT_SCALAR(vcvtusi2ss32, 4, 4, BY_HOST(cvtsi2ss, x, sf32_from_u32(env, x)), .general = true)
CONVERT_SCALAR(vcvtusi2ss64, 4, 8, sf32_from_u64(env, x), .general = true)
CONVERT_SCALAR(vcvtusi2sd32, 8, 4, BY_HOST(cvtsi2sd, x, sf64_from_u32(env, x)), .general = true)
CONVERT_SCALAR(vcvtusi2sd64, 8, 8, sf64_from_u64(env, x), .general = true)

/* To general registers. */
#define TO_GENERAL_ONE(name, FROM, T, expression)                                                  \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        struct softfloat_env *env = &e->env;                                                       \
        UINT_##FROM x = LANE_##FROM(e->b, 0);                                                      \
        e->k = (T)(expression);                                                                    \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = FROM, .source = FROM, .to = EVEX_TO_G)
#define TO_GENERAL(type, FROM, FLOAT, integer, T, kind)                                            \
    TO_GENERAL_ONE(vcvt##type##2##integer, FROM, T, FLOAT##_to_##kind(env, x, env->rounding))      \
    TO_GENERAL_ONE(vcvtt##type##2##integer, FROM, T, FLOAT##_to_##kind(env, x, SOFTFLOAT_ZERO))
#define TO_GENERAL_SIGNED(type, FROM, FLOAT, integer, T, kind)                                     \
    TO_GENERAL_ONE(vcvt##type##2##integer, FROM, T,                                                \
                   BY_HOST(cvt##type##2##integer, x, (T)FLOAT##_to_##kind(env, x, env->rounding))) \
    TO_GENERAL_ONE(                                                                                \
        vcvtt##type##2##integer, FROM, T,                                                          \
        BY_HOST(cvtt##type##2##integer, x, (T)FLOAT##_to_##kind(env, x, SOFTFLOAT_ZERO)))
TO_GENERAL_SIGNED(ss, 4, sf32, si32, uint32_t, i32)
TO_GENERAL_SIGNED(ss, 4, sf32, si64, uint64_t, i64)
TO_GENERAL(ss, 4, sf32, usi32, uint32_t, u32)
TO_GENERAL(ss, 4, sf32, usi64, uint64_t, u64)
TO_GENERAL_SIGNED(sd, 8, sf64, si32, uint32_t, i32)
TO_GENERAL_SIGNED(sd, 8, sf64, si64, uint64_t, i64)
TO_GENERAL(sd, 8, sf64, usi32, uint32_t, u32)
TO_GENERAL(sd, 8, sf64, usi64, uint64_t, u64)
