/*
 * SSE floating-point arithmetic and comparison: ADD, SUB, MUL, DIV, MIN, MAX, SQRT, RCP, RSQRT,
 * CMP, COMI, UCOMI, ROUND, ADDSUB, HADD, HSUB, DP. Logic on floating-point registers is PAND and
 * kin. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/sse_fp.h"

/* Sources by type: the register, and what the memory form reads. */
#define SOURCE_ps xmm_read_aligned(cpu, i)
#define SOURCE_pd xmm_read_aligned(cpu, i)
#define SOURCE_ss vec_from64(mem_read32(cpu, i), 0)
#define SOURCE_sd vec_from64(mem_read64(cpu, i), 0)

/* op_<name><type>_r and _m; `run` is an expression of source, d (the destination) and i->imm. */
#define FP_OP(name, type, run)                                                                     \
    OP(name##type##_r)                                                                             \
    {                                                                                              \
        union vec d = xmm_get(cpu, i->reg), source = xmm_get(cpu, i->rm);                          \
        xmm_set(cpu, i->reg, run);                                                                 \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##type##_m)                                                                             \
    {                                                                                              \
        union vec source = SOURCE_##type, d = xmm_get(cpu, i->reg);                                \
        xmm_set(cpu, i->reg, run);                                                                 \
        NEXT;                                                                                      \
    }

/* The same in AVX: op_v<name><type>_x_r and _x_m, d being the register in vvvv; and of 256 bits,
 * op_v<name><type>_y_r and _y_m, where source, d and the value of `run` are pairs. */
#define READ_ss(cpu, i) vec_from64(mem_read32(cpu, i), 0)
#define READ_sd(cpu, i) vec_from64(mem_read64(cpu, i), 0)
#define READ_ps         xmm_read
#define READ_pd         xmm_read
#define VFP_OP(name, type, run)                                                                    \
    VEX_FORMS(v##name##type##_x, union vec, xmm_get, READ_##type,                                  \
              union vec d = xmm_get(cpu, i->vvvv);                                                 \
              xmm_set_clear(cpu, i->reg, run))
#define VFP_OP_Y(name, type, run)                                                                  \
    VEX_Y(v##name##type, struct vec2 d = ymm_get(cpu, i->vvvv); ymm_set(cpu, i->reg, run))

#define FP_BOTH(name, type, run)                                                                   \
    FP_OP(name, type, run)                                                                         \
    VFP_OP(name, type, run)

#define FP_PACKED(name, type)                                                                      \
    FP_BOTH(name, type, SSE_FP(name##type, d, source, 0))                                          \
    VFP_OP_Y(name, type, SSE_FP_2(name##type, d, source, 0))

#define FP_OPS(name)                                                                               \
    FP_PACKED(name, ps)                                                                            \
    FP_PACKED(name, pd)                                                                            \
    FP_BOTH(name, ss, SSE_FP(name##ss, d, source, 0))                                              \
    FP_BOTH(name, sd, SSE_FP(name##sd, d, source, 0))

SSE_FP_ARITHMETIC(FP_OPS)

#define QUIET_2(name)                                                                              \
    ((struct vec2){SSE_FP_QUIET(name, d.l, source.l), SSE_FP_QUIET(name, d.h, source.h)})
FP_BOTH(rcp, ps, SSE_FP_QUIET(rcpps, d, source))
FP_BOTH(rcp, ss, SSE_FP_QUIET(rcpss, d, source))
FP_BOTH(rsqrt, ps, SSE_FP_QUIET(rsqrtps, d, source))
FP_BOTH(rsqrt, ss, SSE_FP_QUIET(rsqrtss, d, source))
VFP_OP_Y(rcp, ps, QUIET_2(rcpps))
VFP_OP_Y(rsqrt, ps, QUIET_2(rsqrtps))

FP_PACKED(addsub, ps)
FP_PACKED(addsub, pd)

FP_OP(cmp, ps, SSE_FP(cmpps, d, source, (unsigned)i->imm))
FP_OP(cmp, pd, SSE_FP(cmppd, d, source, (unsigned)i->imm))
FP_OP(cmp, ss, SSE_FP(cmpss, d, source, (unsigned)i->imm))
FP_OP(cmp, sd, SSE_FP(cmpsd, d, source, (unsigned)i->imm))

/* In AVX there are 32 predicates. */
#define FP_COMPARE(type) VFP_OP(cmp, type, SSE_FP(vcmp##type, d, source, (unsigned)i->imm))
FP_COMPARE(ps)
FP_COMPARE(pd)
FP_COMPARE(ss)
FP_COMPARE(sd)
VFP_OP_Y(cmp, ps, SSE_FP_2(vcmpps, d, source, (unsigned)i->imm))
VFP_OP_Y(cmp, pd, SSE_FP_2(vcmppd, d, source, (unsigned)i->imm))

/* Not a host operation: SSE4.1, and the host's needs the rounding as an immediate. */
FP_BOTH(round, ps, sse_fp_checked(cpu, i, sse_soft_roundps, d, source, (unsigned)i->imm))
FP_BOTH(round, pd, sse_fp_checked(cpu, i, sse_soft_roundpd, d, source, (unsigned)i->imm))
FP_BOTH(round, ss, sse_fp_checked(cpu, i, sse_soft_roundss, d, source, (unsigned)i->imm))
FP_BOTH(round, sd, sse_fp_checked(cpu, i, sse_soft_roundsd, d, source, (unsigned)i->imm))
VFP_OP_Y(round, ps, sse_fp_checked_2(cpu, i, sse_soft_roundps, d, source, (unsigned)i->imm))
VFP_OP_Y(round, pd, sse_fp_checked_2(cpu, i, sse_soft_roundpd, d, source, (unsigned)i->imm))

/* ---- Comparisons that set EFLAGS ---------------------------------------------------------- */

/* ZF, PF and CF from the result of a comparison; the others are cleared. */
static inline void set_flags(struct vcpu *cpu, union vec r)
{
    flags_set(cpu, (uint32_t)r.vq[0]);
}

#define FP_FLAGS(name, type)                                                                       \
    OP(name##type##_r)                                                                             \
    {                                                                                              \
        union vec d = xmm_get(cpu, i->reg), source = xmm_get(cpu, i->rm);                          \
        set_flags(cpu, SSE_FP(name##type, d, source, 0));                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##type##_m)                                                                             \
    {                                                                                              \
        union vec source = SOURCE_##type, d = xmm_get(cpu, i->reg);                                \
        set_flags(cpu, SSE_FP(name##type, d, source, 0));                                          \
        NEXT;                                                                                      \
    }

FP_FLAGS(comi, ss)
FP_FLAGS(comi, sd)
FP_FLAGS(ucomi, ss)
FP_FLAGS(ucomi, sd)

/* ---- Horizontal --------------------------------------------------------------------------- */

/* Lanes 0 and 2, and 1 and 3, of a then b. */
VEC_FN even_singles(union vec a, union vec b)
{
    return vec_from64((uint32_t)a.vq[0] | a.vq[1] << 32, (uint32_t)b.vq[0] | b.vq[1] << 32);
}

VEC_FN odd_singles(union vec a, union vec b)
{
    return vec_from64(a.vq[0] >> 32 | (a.vq[1] >> 32) << 32, b.vq[0] >> 32 | (b.vq[1] >> 32) << 32);
}

VEC_FN even_doubles(union vec a, union vec b)
{
    return vec_from64(a.vq[0], b.vq[0]);
}

VEC_FN odd_doubles(union vec a, union vec b)
{
    return vec_from64(a.vq[1], b.vq[1]);
}

FP_BOTH(hadd, ps, SSE_FP(addps, even_singles(d, source), odd_singles(d, source), 0))
FP_BOTH(hsub, ps, SSE_FP(subps, even_singles(d, source), odd_singles(d, source), 0))
FP_BOTH(hadd, pd, SSE_FP(addpd, even_doubles(d, source), odd_doubles(d, source), 0))
FP_BOTH(hsub, pd, SSE_FP(subpd, even_doubles(d, source), odd_doubles(d, source), 0))

#define PAIRS(select) ((struct vec2){select(d.l, source.l), select(d.h, source.h)})
VFP_OP_Y(hadd, ps, SSE_FP_2(addps, PAIRS(even_singles), PAIRS(odd_singles), 0))
VFP_OP_Y(hsub, ps, SSE_FP_2(subps, PAIRS(even_singles), PAIRS(odd_singles), 0))
VFP_OP_Y(hadd, pd, SSE_FP_2(addpd, PAIRS(even_doubles), PAIRS(odd_doubles), 0))
VFP_OP_Y(hsub, pd, SSE_FP_2(subpd, PAIRS(even_doubles), PAIRS(odd_doubles), 0))

/* ---- Dot products ------------------------------------------------------------------------- */

/* All bits of the 32-bit lanes whose bit in mask is set. */
VEC_FN lanes_of(unsigned mask)
{
    union vec r;

    for (unsigned n = 0; n < 4; n++)
        VREG_D(r, n) = 0 - ((mask >> n) & 1);
    return r;
}

/* Products of the lanes chosen by imm 7-4 (else 0), then sums of neighbours, then their sum: three
 * steps, each with its exceptions. */
static inline union vec dpps(struct vcpu *cpu, const struct insn *i, union vec a, union vec b)
{
    union vec chosen = lanes_of((uint8_t)i->imm >> 4), zero = vec_from64(0, 0), r, even, odd;
    uint64_t sum;

    a.vq &= chosen.vq;
    b.vq &= chosen.vq;
    r = SSE_FP(mulps, a, b, 0);
    even = even_singles(r, zero);
    odd = odd_singles(r, zero);
    r = SSE_FP(addps, even, odd, 0);
    even = vec_from64((uint32_t)r.vq[0], 0);
    odd = vec_from64(r.vq[0] >> 32, 0);
    r = SSE_FP(addps, even, odd, 0);
    sum = (uint32_t)r.vq[0] | r.vq[0] << 32;
    chosen = lanes_of(i->imm & 15);
    return (union vec){.vq = (vec_u64){sum, sum} & chosen.vq};
}

static inline union vec dppd(struct vcpu *cpu, const struct insn *i, union vec a, union vec b)
{
    unsigned imm = (unsigned)i->imm;
    union vec chosen = vec_from64(imm & 16 ? ~0ull : 0, imm & 32 ? ~0ull : 0), r;

    a.vq &= chosen.vq;
    b.vq &= chosen.vq;
    r = SSE_FP(mulpd, a, b, 0);
    r = SSE_FP(addpd, vec_from64(r.vq[0], 0), vec_from64(r.vq[1], 0), 0);
    return vec_from64(imm & 1 ? r.vq[0] : 0, imm & 2 ? r.vq[0] : 0);
}

FP_BOTH(dp, ps, dpps(cpu, i, d, source))
FP_BOTH(dp, pd, dppd(cpu, i, d, source))

/* VDPPS of 256 bits: each step is taken in both halves before its exceptions are looked at. */
VEC2_FN dpps_2(struct vcpu *cpu, const struct insn *i, struct vec2 a, struct vec2 b)
{
    const union vec chosen = lanes_of((uint8_t)i->imm >> 4), zero = vec_from64(0, 0);
    const union vec kept = lanes_of(i->imm & 15);
    struct vec2 r, even, odd;

    a = (struct vec2){{.vq = a.l.vq & chosen.vq}, {.vq = a.h.vq & chosen.vq}};
    b = (struct vec2){{.vq = b.l.vq & chosen.vq}, {.vq = b.h.vq & chosen.vq}};
    r = SSE_FP_2(mulps, a, b, 0);
    even = (struct vec2){even_singles(r.l, zero), even_singles(r.h, zero)};
    odd = (struct vec2){odd_singles(r.l, zero), odd_singles(r.h, zero)};
    r = SSE_FP_2(addps, even, odd, 0);
    even = (struct vec2){vec_from64((uint32_t)r.l.vq[0], 0), vec_from64((uint32_t)r.h.vq[0], 0)};
    odd = (struct vec2){vec_from64(r.l.vq[0] >> 32, 0), vec_from64(r.h.vq[0] >> 32, 0)};
    r = SSE_FP_2(addps, even, odd, 0);
    r.l.vq = (vec_u64){0, 0} + (uint32_t)r.l.vq[0] * 0x100000001u;
    r.h.vq = (vec_u64){0, 0} + (uint32_t)r.h.vq[0] * 0x100000001u;
    return (struct vec2){{.vq = r.l.vq & kept.vq}, {.vq = r.h.vq & kept.vq}};
}

VFP_OP_Y(dp, ps, dpps_2(cpu, i, d, source))
