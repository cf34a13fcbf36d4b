/*
 * Floating point of EVEX encoding: arithmetic, fused multiplication and addition, comparison, and
 * the functions that only AVX-512 has. Only elements that the mask selects are computed, since only
 * their exceptions count. Arithmetic, fused or not, and comparison run on the host's unit where SSE
 * does (cpu/sse_fp.h), unless the instruction has a rounding of its own. Source: Intel SDM volume
 * 2, each by its name.
 */
#include "cpu/ops/avx512.h"
#include "cpu/softfloat_avx512.h"
#include "cpu/sse_fp.h"

/* ---- On the host's unit ------------------------------------------------------------------- */

/* Operands for the host, which computes 16 bytes at a time: elements that the mask leaves out, and
 * those behind the only one of a scalar, become 1, which raises no flag in any operation here. */
struct host_operands {
    union vreg x, y, z;
    unsigned parts; /* of 16 bytes */
};

static void fill(union vreg *v, uint64_t mask, unsigned bytes, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        if (mask >> n & 1)
            continue;
        if (bytes == 4)
            VREG_D(*v, n) = 0x3f800000;
        else
            v->q[n] = 0x3ff0000000000000;
    }
}

static inline void host_operands(const struct evex *e, struct host_operands *o, unsigned bytes)
{
    unsigned count;

    o->parts = (e->lanes * bytes + 15) / 16;
    o->x = e->a;
    o->y = e->b;
    o->z = e->d;
    count = o->parts * 16 / bytes;
    if (e->mask == BIT64(count) - 1)
        return;
    fill(&o->x, e->mask, bytes, count);
    fill(&o->y, e->mask, bytes, count);
    fill(&o->z, e->mask, bytes, count);
}

static inline union vec part(const union vreg *v, unsigned n)
{
    union vec r;

    memcpy(&r, &v->q[2 * n], sizeof(r));
    return r;
}

static inline void set_part(union vreg *v, unsigned n, union vec r)
{
    memcpy(&v->q[2 * n], &r, sizeof(r));
}

/* host_<name>: runs the kernel by an expression of x, y and z, of 16 bytes each; false: it does
 * not, and has done nothing. fast: the field of vcpu that says whether the host's unit may be
 * taken. */
#if defined(__x86_64__)
#define HOST_RUN(name, bytes, fast, expression)                                                    \
    static bool host_##name(struct evex *e)                                                        \
    {                                                                                              \
        struct host_operands o;                                                                    \
        if (!e->cpu->fast || e->quiet)                                                             \
            return false;                                                                          \
        host_operands(e, &o, bytes);                                                               \
        for (unsigned n = 0; n < o.parts; n++) {                                                   \
            union vec x = part(&o.x, n), y = part(&o.y, n), z = part(&o.z, n);                     \
            (void)x;                                                                               \
            (void)z;                                                                               \
            set_part(&e->r, n, expression);                                                        \
        }                                                                                          \
        return true;                                                                               \
    }
/* Its flags collect in the host's MXCSR: hence volatile (cpu/sse_host.h). */
#define FMA_HOST(name)                                                                             \
    VEC_FN fma_host_##name(union vec first, union vec second, union vec third)                     \
    {                                                                                              \
        __asm__ volatile(#name " %2, %1, %0" : "+x"(first.vq) : "x"(second.vq), "x"(third.vq));    \
        return first;                                                                              \
    }
#else
#define HOST_RUN(name, bytes, fast, expression)                                                    \
    static bool host_##name(struct evex *e)                                                        \
    {                                                                                              \
        (void)e;                                                                                   \
        return false;                                                                              \
    }
#define FMA_HOST(name)
#endif

/* ---- Kernels ------------------------------------------------------------------------------ */

/* Kernels over selected elements: x, y, z as in EVEX_LANES; op_evex_<name>p<t> and s<t>. */
#define FP_RUN(name, bytes, expression) FP_LOOP(run_##name, bytes, expression)
#define FP_LOOP(name, bytes, expression)                                                           \
    static void name(struct evex *e)                                                               \
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
/* The same with an expression for the host. */
#define FP_RUN_HOST(name, bytes, fast, host, expression)                                           \
    HOST_RUN(name, bytes, fast, host)                                                              \
    FP_LOOP(soft_##name, bytes, expression)                                                        \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        if (!host_##name(e))                                                                       \
            soft_##name(e);                                                                        \
    }
#define FP_PACKED(name, kernel_run, bytes)                                                         \
    EVEX_OP(name, .run = kernel_run, .lane = bytes, .source = bytes, .wide = bytes)
#define FP_SCALAR(name, kernel_run, bytes)                                                         \
    EVEX_OP(name, .run = kernel_run, .lane = bytes, .source = bytes)

/* Of both precisions, packed and scalar. */
#define FP_OPS(name)                                                                               \
    FP_PACKED(name##ps, run_##name##ps, 4)                                                         \
    FP_SCALAR(name##ss, run_##name##ps, 4)                                                         \
    FP_PACKED(name##pd, run_##name##pd, 8)                                                         \
    FP_SCALAR(name##sd, run_##name##pd, 8)
#define FP(name, single, twice)                                                                    \
    FP_RUN(name##ps, 4, single)                                                                    \
    FP_RUN(name##pd, 8, twice)                                                                     \
    FP_OPS(name)
#define FP_HOST(name, insn, single, twice)                                                         \
    FP_RUN_HOST(name##ps, 4, sse_fast, sse_host_##insn##ps(x, y, 0), single)                       \
    FP_RUN_HOST(name##pd, 8, sse_fast, sse_host_##insn##pd(x, y, 0), twice)                        \
    FP_OPS(name)
/* The same of functions with the format as argument. */
#define FP_X(name, function, ...)                                                                  \
    FP(name, function(&sfx_single, env, __VA_ARGS__), function(&sfx_double, env, __VA_ARGS__))

/* ---- Arithmetic --------------------------------------------------------------------------- */

FP_HOST(vadd, add, sf32_add(env, x, y), sf64_add(env, x, y))
FP_HOST(vsub, sub, sf32_sub(env, x, y), sf64_sub(env, x, y))
FP_HOST(vmul, mul, sf32_mul(env, x, y), sf64_mul(env, x, y))
FP_HOST(vdiv, div, sf32_div(env, x, y), sf64_div(env, x, y))
FP_HOST(vmin, min, sf32_min(env, x, y), sf64_min(env, x, y))
FP_HOST(vmax, max, sf32_max(env, x, y), sf64_max(env, x, y))
FP_HOST(vsqrt, sqrt, sf32_sqrt(env, y), sf64_sqrt(env, y))

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
#define FMA_RUN(name, a, b, c, negate)                                                             \
    FMA_HOST(name##ps)                                                                             \
    FP_RUN_HOST(name##ps, 4, fma_fast, fma_host_##name##ps(z, x, y),                               \
                sf32_muladd(env, a, b, c, negate))                                                 \
    FP_PACKED(name##ps, run_##name##ps, 4)                                                         \
    FMA_HOST(name##pd)                                                                             \
    FP_RUN_HOST(name##pd, 8, fma_fast, fma_host_##name##pd(z, x, y),                               \
                sf64_muladd(env, a, b, c, negate))                                                 \
    FP_PACKED(name##pd, run_##name##pd, 8)
#define FMA_ORDER(name, a, b, c, negate)                                                           \
    FMA_RUN(name, a, b, c, negate)                                                                 \
    EVEX_OP(name##ss, .run = run_##name##ps, .lane = 4, .source = 4, .keeps = true)                \
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
#define FMA_TURNS(name, negate)                                                                    \
    FMA_RUN(name##132, z, y, x, negate)                                                            \
    FMA_RUN(name##213, x, z, y, negate)                                                            \
    FMA_RUN(name##231, x, y, z, negate)
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

static bool no_host(struct evex *e)
{
    (void)e;
    return false;
}

#define FP_TEST(name, bytes, packed, scalar, host, condition)                                      \
    static void run_##name##packed(struct evex *e)                                                 \
    {                                                                                              \
        struct softfloat_env *env = &e->env;                                                       \
        if (host(e)) {                                                                             \
            for (unsigned n = 0; n < e->lanes; n++)                                                \
                e->k |= (uint64_t)(LANE_##bytes(e->r, n) & e->mask >> n & 1) << n;                 \
            return;                                                                                \
        }                                                                                          \
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
HOST_RUN(vcmpps, 4, sse_fast, sse_host_vcmpps(x, y, e->imm & 31))
HOST_RUN(vcmppd, 8, sse_fast, sse_host_vcmppd(x, y, e->imm & 31))
FP_TEST(vcmp, 4, ps, ss, host_vcmpps, holds32(env, x, y, e->imm))
FP_TEST(vcmp, 8, pd, sd, host_vcmppd, holds64(env, x, y, e->imm))
FP_TEST(vfpclass, 4, ps, ss, no_host, sfx_class(&sfx_single, env, y, e->imm))
FP_TEST(vfpclass, 8, pd, sd, no_host, sfx_class(&sfx_double, env, y, e->imm))

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
