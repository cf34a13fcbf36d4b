/*
 * Fused multiplication and addition (FMA), and conversions of half precision (F16C). On hosts that
 * have FMA the host's own instruction does the work while the guest masks all exceptions, in the
 * same form, since the forms differ in which NaN they let pass. Source: Intel SDM volume 1, 14.5;
 * volume 2, each by its name.
 */
#include "cpu/sse_fp.h"

/* ---- In integers -------------------------------------------------------------------------- */

/* What an instruction is: what it negates (enum softfloat_muladd) in even and in odd lanes, how
 * many lanes of 128 bits it computes, their width, and the order of its operands. */
#define FMA_EVEN(kind)  ((kind)&3)
#define FMA_ODD(kind)   ((kind) >> 2 & 3)
#define FMA_LANES(kind) ((kind) >> 4 & 15)

enum fma_kind {
    KIND_fmadd = 0,
    KIND_fmsub = SOFTFLOAT_NEGATE_ADDEND * 5,
    KIND_fnmadd = SOFTFLOAT_NEGATE_PRODUCT * 5,
    KIND_fnmsub = (SOFTFLOAT_NEGATE_PRODUCT | SOFTFLOAT_NEGATE_ADDEND) * 5,
    KIND_fmaddsub = SOFTFLOAT_NEGATE_ADDEND,
    KIND_fmsubadd = SOFTFLOAT_NEGATE_ADDEND << 2,
    FMA_DOUBLES = 0x100,
    FMA_WIDE = 0x200, /* both halves of 256 bits */
    FMA_132 = 0,      /* first * third + second; the first is the destination */
    FMA_213 = 0x400,  /* second * first + third */
    FMA_231 = 0x800,  /* second * third + first */
    TYPE_ps = 4 << 4,
    TYPE_pd = 2 << 4 | FMA_DOUBLES,
    TYPE_ss = 1 << 4,
    TYPE_sd = 1 << 4 | FMA_DOUBLES,
};

/* Replaces the lanes of `first` that the instruction computes. */
static union vec fma_lanes(struct softfloat_env *env, union vec first, union vec second,
                           union vec third, unsigned kind)
{
    union vec a = kind & (FMA_213 | FMA_231) ? second : first;
    union vec b = kind & FMA_213 ? first : third;
    union vec c = kind & FMA_213 ? third : kind & FMA_231 ? first : second;

    for (unsigned n = 0; n < FMA_LANES(kind); n++) {
        unsigned negate = n & 1 ? FMA_ODD(kind) : FMA_EVEN(kind);

        if (kind & FMA_DOUBLES)
            first.q[n] = sf64_muladd(env, a.q[n], b.q[n], c.q[n], negate);
        else
            VREG_D(first, n) = sf32_muladd(env, VREG_D(a, n), VREG_D(b, n), VREG_D(c, n), negate);
    }
    return first;
}

/* The whole instruction, with the W operand given. */
static __attribute__((noinline)) void fma_soft(struct vcpu *cpu, const struct insn *i, vec_u64 low,
                                               vec_u64 high, unsigned kind)
{
    struct softfloat_env env = softfloat_env_mxcsr(cpu->mxcsr);
    struct vec2 first = ymm_get(cpu, i->reg), second = ymm_get(cpu, i->vvvv);

    first.l = fma_lanes(&env, first.l, second.l, (union vec){.vq = low}, kind);
    if (kind & FMA_WIDE)
        first.h = fma_lanes(&env, first.h, second.h, (union vec){.vq = high}, kind);
    else
        first.h = vec_from64(0, 0);
    if (env.flags != 0)
        sse_fp_report(cpu, i, env.flags);
    ymm_set(cpu, i->reg, first);
}

/* ---- On the host's unit ------------------------------------------------------------------- */

#if defined(__x86_64__)
/* Its flags collect in the host's MXCSR: hence volatile (cpu/sse_host.h). */
#define FMA_HOST(name)                                                                             \
    VEC_FN fma_host_##name(union vec first, union vec second, union vec third)                     \
    {                                                                                              \
        __asm__ volatile("v" #name " %2, %1, %0"                                                   \
                         : "+x"(first.vq)                                                          \
                         : "x"(second.vq), "x"(third.vq));                                         \
        return first;                                                                              \
    }
#else
#define FMA_HOST(name)                                                                             \
    VEC_FN fma_host_##name(union vec first, union vec second, union vec third)                     \
    {                                                                                              \
        (void)second;                                                                              \
        (void)third;                                                                               \
        return first; /* not reached: vcpu.fma_fast is false */                                    \
    }
#endif

/* ---- Op functions ------------------------------------------------------------------------- */

#define FMA_128(name, type, suffix, read, kind)                                                    \
    FMA_HOST(name##type)                                                                           \
    VEX_FORMS(v##name##type##suffix, union vec, xmm_get, read,                                     \
              if (likely(cpu->fma_fast)) xmm_set_clear(                                            \
                  cpu, i->reg,                                                                     \
                  fma_host_##name##type(xmm_get(cpu, i->reg), xmm_get(cpu, i->vvvv), source));     \
              else fma_soft(cpu, i, source.vq, (vec_u64){0, 0}, (kind) | TYPE_##type))

#define FMA_256(name, type, kind)                                                                  \
    VEX_Y(                                                                                         \
        v##name##type, struct vec2 first = ymm_get(cpu, i->reg);                                   \
        struct vec2 second = ymm_get(cpu, i->vvvv); if (likely(cpu->fma_fast)) {                   \
            first.l = fma_host_##name##type(first.l, second.l, source.l);                          \
            first.h = fma_host_##name##type(first.h, second.h, source.h);                          \
            ymm_set(cpu, i->reg, first);                                                           \
        } else fma_soft(cpu, i, source.l.vq, source.h.vq, (kind) | TYPE_##type | FMA_WIDE))

VEC_FN read_single(struct vcpu *cpu, const struct insn *i)
{
    return vec_from64(mem_read32(cpu, i), 0);
}

VEC_FN read_double(struct vcpu *cpu, const struct insn *i)
{
    return vec_from64(mem_read64(cpu, i), 0);
}

#define FMA_PACKED(name, kind)                                                                     \
    FMA_128(name, ps, _x, xmm_read, kind)                                                          \
    FMA_128(name, pd, _x, xmm_read, kind)                                                          \
    FMA_256(name, ps, kind)                                                                        \
    FMA_256(name, pd, kind)
#define FMA_ALL(name, kind)                                                                        \
    FMA_PACKED(name, kind)                                                                         \
    FMA_128(name, ss, , read_single, kind)                                                         \
    FMA_128(name, sd, , read_double, kind)
#define FMA_FORMS(FMA, name)                                                                       \
    FMA(name##132, KIND_##name | FMA_132)                                                          \
    FMA(name##213, KIND_##name | FMA_213)                                                          \
    FMA(name##231, KIND_##name | FMA_231)

FMA_FORMS(FMA_ALL, fmadd)
FMA_FORMS(FMA_ALL, fmsub)
FMA_FORMS(FMA_ALL, fnmadd)
FMA_FORMS(FMA_ALL, fnmsub)
FMA_FORMS(FMA_PACKED, fmaddsub)
FMA_FORMS(FMA_PACKED, fmsubadd)

/* ---- Half precision ----------------------------------------------------------------------- */

static union vec cvtph2ps(struct softfloat_env *env, union vec a, union vec b, unsigned imm)
{
    (void)imm;
    for (unsigned n = 0; n < 4; n++)
        VREG_D(a, n) = sf16_to_f32(env, VREG_W(b, n));
    return a;
}

/* imm: 1-0 rounding, 2 that of MXCSR instead. */
static union vec cvtps2ph(struct softfloat_env *env, union vec a, union vec b, unsigned imm)
{
    (void)a;
    a = vec_from64(0, 0);
    for (unsigned n = 0; n < 4; n++)
        VREG_W(a, n) = sf32_to_f16(env, VREG_D(b, n), imm & 4 ? env->rounding : imm & 3);
    return a;
}

VEX_FORMS(vcvtph2ps_x, union vec, xmm_get, read_double,
          xmm_set_clear(cpu, i->reg, sse_fp_checked(cpu, i, cvtph2ps, source, source, 0)))
VEX_FORMS(vcvtph2ps_y, union vec, xmm_get, xmm_read,
          struct vec2 s = {source, vec_from64(source.vq[1], 0)};
          ymm_set(cpu, i->reg, sse_fp_checked_2(cpu, i, cvtph2ps, s, s, 0)))

OP(vcvtps2ph_x_r)
{
    union vec s = xmm_get(cpu, i->reg);

    xmm_set_clear(cpu, i->rm, sse_fp_checked(cpu, i, cvtps2ph, s, s, (unsigned)i->imm));
    NEXT;
}

OP(vcvtps2ph_y_r)
{
    struct vec2 s = ymm_get(cpu, i->reg);

    s = sse_fp_checked_2(cpu, i, cvtps2ph, s, s, (unsigned)i->imm);
    xmm_set_clear(cpu, i->rm, vec_from64(s.l.vq[0], s.h.vq[0]));
    NEXT;
}

/* The operand's fault comes before the exceptions of the conversion. */
OP(vcvtps2ph_x_m)
{
    union vec s = xmm_get(cpu, i->reg);
    uint64_t linear = mem_linear(cpu, i, 8, MMU_WRITE);

    mem_probe_write(cpu, i, linear, 8);
    s = sse_fp_checked(cpu, i, cvtps2ph, s, s, (unsigned)i->imm);
    mem_store64(cpu, i, linear, s.vq[0]);
    NEXT;
}

OP(vcvtps2ph_y_m)
{
    struct vec2 s = ymm_get(cpu, i->reg);
    uint64_t linear = mem_linear(cpu, i, 16, MMU_WRITE);

    mem_probe_write(cpu, i, linear, 16);
    mem_probe_write(cpu, i, linear, 8); /* for its alignment check */
    s = sse_fp_checked_2(cpu, i, cvtps2ph, s, s, (unsigned)i->imm);
    mem_store64(cpu, i, linear, s.l.vq[0]);
    mem_store64(cpu, i, linear + 8, s.h.vq[0]);
    NEXT;
}
