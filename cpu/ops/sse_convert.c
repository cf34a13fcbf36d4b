/*
 * Conversions between single, double and integers, in XMM, MMX and general registers.
 * Source: Intel SDM volume 2, CVTxx2yy; volume 1, 11.5.
 */
#include "cpu/sse_fp.h"

/* op_<name>_r and _m of a conversion between vectors; `read` is the memory form's source. */
#define CONVERT(name, read)                                                                        \
    OP(name##_r)                                                                                   \
    {                                                                                              \
        union vec d = xmm_get(cpu, i->reg), source = xmm_get(cpu, i->rm);                          \
        xmm_set(cpu, i->reg, SSE_FP(name, d, source, 0));                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m)                                                                                   \
    {                                                                                              \
        union vec source = read, d = xmm_get(cpu, i->reg);                                         \
        xmm_set(cpu, i->reg, SSE_FP(name, d, source, 0));                                          \
        NEXT;                                                                                      \
    }

#define MEMORY_32 vec_from64(mem_read32(cpu, i), 0)
#define MEMORY_64 vec_from64(mem_read64(cpu, i), 0)
CONVERT(cvtps2pd, MEMORY_64)
CONVERT(cvtpd2ps, xmm_read_aligned(cpu, i))
CONVERT(cvtss2sd, MEMORY_32)
CONVERT(cvtsd2ss, MEMORY_64)
CONVERT(cvtdq2ps, xmm_read_aligned(cpu, i))
CONVERT(cvtdq2pd, MEMORY_64)
CONVERT(cvtps2dq, xmm_read_aligned(cpu, i))
CONVERT(cvttps2dq, xmm_read_aligned(cpu, i))
CONVERT(cvtpd2dq, xmm_read_aligned(cpu, i))
CONVERT(cvttpd2dq, xmm_read_aligned(cpu, i))

/* In AVX scalars take the rest of the destination from the register in vvvv. */
#define VCONVERT(name, read)                                                                       \
    OP(v##name##_x_r)                                                                              \
    {                                                                                              \
        union vec d = xmm_get(cpu, i->vvvv), source = xmm_get(cpu, i->rm);                         \
        xmm_set_clear(cpu, i->reg, SSE_FP(name, d, source, 0));                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_x_m)                                                                              \
    {                                                                                              \
        union vec source = read, d = xmm_get(cpu, i->vvvv);                                        \
        xmm_set_clear(cpu, i->reg, SSE_FP(name, d, source, 0));                                    \
        NEXT;                                                                                      \
    }
VCONVERT(cvtps2pd, MEMORY_64)
VCONVERT(cvtpd2ps, xmm_read(cpu, i))
VCONVERT(cvtss2sd, MEMORY_32)
VCONVERT(cvtsd2ss, MEMORY_64)
VCONVERT(cvtdq2ps, xmm_read(cpu, i))
VCONVERT(cvtdq2pd, MEMORY_64)
VCONVERT(cvtps2dq, xmm_read(cpu, i))
VCONVERT(cvttps2dq, xmm_read(cpu, i))
VCONVERT(cvtpd2dq, xmm_read(cpu, i))
VCONVERT(cvttpd2dq, xmm_read(cpu, i))

/* 256 bits: of lanes of one width, to wider and to narrower lanes. */
VEX_Y(vcvtdq2ps, ymm_set(cpu, i->reg, SSE_FP_2(cvtdq2ps, source, source, 0)))
VEX_Y(vcvtps2dq, ymm_set(cpu, i->reg, SSE_FP_2(cvtps2dq, source, source, 0)))
VEX_Y(vcvttps2dq, ymm_set(cpu, i->reg, SSE_FP_2(cvttps2dq, source, source, 0)))

#define VCONVERT_UP(name)                                                                          \
    VEX_FORMS(v##name##_y, union vec, xmm_get, xmm_read,                                           \
              struct vec2 pair = {source, vec_from64(source.vq[1], 0)};                            \
              ymm_set(cpu, i->reg, SSE_FP_2(name, pair, pair, 0)))
#define VCONVERT_DOWN(name)                                                                        \
    VEX_Y(v##name, struct vec2 r = SSE_FP_2(name, source, source, 0);                              \
          xmm_set_clear(cpu, i->reg, vec_from64(r.l.vq[0], r.h.vq[0])))
VCONVERT_UP(cvtps2pd)
VCONVERT_UP(cvtdq2pd)
VCONVERT_DOWN(cvtpd2ps)
VCONVERT_DOWN(cvtpd2dq)
VCONVERT_DOWN(cvttpd2dq)

/* ---- General registers -------------------------------------------------------------------- */

#define FROM_INTEGER(name, suffix, value)                                                          \
    OP(name##_##suffix)                                                                            \
    {                                                                                              \
        union vec source = vec_from64((uint64_t)(value), 0), d = xmm_get(cpu, i->reg);             \
        xmm_set(cpu, i->reg, SSE_FP(name, d, source, 0));                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_##suffix)                                                                         \
    {                                                                                              \
        union vec source = vec_from64((uint64_t)(value), 0), d = xmm_get(cpu, i->vvvv);            \
        xmm_set_clear(cpu, i->reg, SSE_FP(name, d, source, 0));                                    \
        NEXT;                                                                                      \
    }
#define FROM_INTEGERS(name)                                                                        \
    FROM_INTEGER(name, r32, (int64_t)(int32_t)reg_get32(cpu, i->rm))                               \
    FROM_INTEGER(name, r64, reg_get64(cpu, i->rm))                                                 \
    FROM_INTEGER(name, m32, (int64_t)(int32_t)mem_read32(cpu, i))                                  \
    FROM_INTEGER(name, m64, mem_read64(cpu, i))
SSE_FP_FROM_INTEGER(FROM_INTEGERS)

#define TO_INTEGER(name, bits, suffix, read)                                                       \
    OP(name##_##suffix##bits)                                                                      \
    {                                                                                              \
        union vec source = read;                                                                   \
        reg_set64(cpu, i->reg, SSE_FP(name##bits, source, source, 0).vq[0]);                       \
        NEXT;                                                                                      \
    }
#define TO_INTEGERS(name, memory)                                                                  \
    TO_INTEGER(name, 32, r, xmm_get(cpu, i->rm))                                                   \
    TO_INTEGER(name, 64, r, xmm_get(cpu, i->rm))                                                   \
    TO_INTEGER(name, 32, m, memory)                                                                \
    TO_INTEGER(name, 64, m, memory)
TO_INTEGERS(cvtss2si, MEMORY_32)
TO_INTEGERS(cvttss2si, MEMORY_32)
TO_INTEGERS(cvtsd2si, MEMORY_64)
TO_INTEGERS(cvttsd2si, MEMORY_64)

/* ---- MMX registers ------------------------------------------------------------------------ */

/* MMX state is entered before the conversion may raise #XM, and stays entered then. From memory
 * CVTPI2xx do not touch the x87 or MMX state. */
#define FROM_MMX(name, run)                                                                        \
    OP(name##_r)                                                                                   \
    {                                                                                              \
        union vec source = vec_from64(mmx_get(cpu, i->rm), 0), r;                                  \
        fpu_mmx_enter(cpu, i);                                                                     \
        r = SSE_FP(run, source, source, 0);                                                        \
        name##_result(cpu, i, r);                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m)                                                                                   \
    {                                                                                              \
        union vec source = MEMORY_64;                                                              \
        name##_result(cpu, i, SSE_FP(run, source, source, 0));                                     \
        NEXT;                                                                                      \
    }

static inline void cvtpi2ps_result(struct vcpu *cpu, const struct insn *i, union vec r)
{
    cpu->vreg[i->reg].q[0] = r.vq[0];
}

static inline void cvtpi2pd_result(struct vcpu *cpu, const struct insn *i, union vec r)
{
    xmm_set(cpu, i->reg, r);
}

FROM_MMX(cvtpi2ps, cvtdq2ps)
FROM_MMX(cvtpi2pd, cvtdq2pd)

/* To an MMX register. Of singles only two lanes are looked at: zeros above set no flags. */
#define TO_MMX(name, run, read)                                                                    \
    OP(name)                                                                                       \
    {                                                                                              \
        union vec source, r;                                                                       \
        mmx_check(cpu, i);                                                                         \
        source = read;                                                                             \
        fpu_mmx_enter(cpu, i);                                                                     \
        r = SSE_FP(run, source, source, 0);                                                        \
        mmx_set(cpu, i->reg, r.vq[0]);                                                             \
        NEXT;                                                                                      \
    }

#define TWO_SINGLES vec_from64(xmm_operand64(cpu, i).vq[0], 0)
TO_MMX(cvtps2pi, cvtps2dq, TWO_SINGLES)
TO_MMX(cvttps2pi, cvttps2dq, TWO_SINGLES)
TO_MMX(cvtpd2pi, cvtpd2dq, xmm_operand(cpu, i))
TO_MMX(cvttpd2pi, cvttpd2dq, xmm_operand(cpu, i))
