/*
 * MMX and SSE operands as op functions see them: a 16-byte value with its lanes, access to XMM and
 * MMX registers and to vector operands in memory, and macros that make op functions of a function
 * on such values. An MMX value is the lower half of a 16-byte value; one body serves both.
 * Source: Intel SDM volume 1, chapters 9 to 12.
 */
#ifndef CPU_SSE_VEC_H
#define CPU_SSE_VEC_H

#include "cpu/fpu.h"
#include "cpu/ops/ops.h"

#include <string.h>

typedef uint8_t vec_u8 __attribute__((vector_size(16)));
typedef int8_t vec_s8 __attribute__((vector_size(16)));
typedef uint16_t vec_u16 __attribute__((vector_size(16)));
typedef int16_t vec_s16 __attribute__((vector_size(16)));
typedef uint32_t vec_u32 __attribute__((vector_size(16)));
typedef int32_t vec_s32 __attribute__((vector_size(16)));
typedef uint64_t vec_u64 __attribute__((vector_size(16)));
typedef int64_t vec_s64 __attribute__((vector_size(16)));

/* Single lanes: q[n], and VREG_B/W/D(v, n) of cpu/cpu.h, which count from the guest's lane 0 on
 * hosts of either byte order. The vector members hold the lanes in the host's order: use them for
 * operations that treat every lane alike, and LANE_FLIP for the rest. */
union vec {
    vec_u64 vq;
    vec_s64 sq;
    vec_u32 vd;
    vec_s32 sd;
    vec_u16 vw;
    vec_s16 sw;
    vec_u8 vb;
    vec_s8 sb;
    uint64_t q[2];
    uint32_t d_[4];
    uint16_t w_[8];
    uint8_t b_[16];
};

/* A function on vectors that is always part of its op function; `size`, where there is one, is 8
 * for MMX and 16 for XMM. */
#define VEC_FN static inline __attribute__((always_inline)) union vec

VEC_FN vec_from64(uint64_t low, uint64_t high)
{
    return (union vec){.vq = {low, high}};
}

/* a where mask has ones, b elsewhere. */
VEC_FN vec_select(union vec mask, union vec a, union vec b)
{
    return (union vec){.vq = (a.vq & mask.vq) | (b.vq & ~mask.vq)};
}

/* ---- XMM registers and 128-bit memory operands ------------------------------------------- */

static inline union vec xmm_get(const struct vcpu *cpu, unsigned n)
{
    union vec v;

    memcpy(&v, cpu->vreg[n].q, sizeof(v));
    return v;
}

/* Bits above 127 of the register stay: legacy SSE. */
static inline void xmm_set(struct vcpu *cpu, unsigned n, union vec v)
{
    memcpy(cpu->vreg[n].q, &v, sizeof(v));
}

/* 16 bytes at linear that the TLB does not know, or that are misaligned. By value, so that the op
 * functions have no locals in memory and can end in a tail call. */
union vec xmm_load_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear);
_Noreturn void xmm_raise_misaligned(struct vcpu *cpu, const struct insn *i);

/* The memory operand, 16 bytes; #GP(0) unless aligned. */
VEC_FN xmm_read_aligned(struct vcpu *cpu, const struct insn *i)
{
    uint64_t linear = mem_linear(cpu, i, 16, MMU_READ);
    const void *p = tlb_find_read(&cpu->mmu, linear, 16);

    if (unlikely(linear & 15))
        xmm_raise_misaligned(cpu, i);
    if (likely(p != NULL))
        return vec_from64(guest_load64(p), guest_load64((const uint8_t *)p + 8));
    return xmm_load_slow(cpu, i, linear);
}

/* The memory operand, 16 bytes at any address. */
VEC_FN xmm_read(struct vcpu *cpu, const struct insn *i)
{
    uint64_t linear = mem_linear(cpu, i, 16, MMU_READ);
    const void *p = tlb_find_read(&cpu->mmu, linear, 16);

    if (likely(p != NULL))
        return vec_from64(guest_load64(p), guest_load64((const uint8_t *)p + 8));
    return xmm_load_slow(cpu, i, linear);
}

/* The W operand of 16 bytes: register, or aligned memory. */
static inline union vec xmm_operand(struct vcpu *cpu, const struct insn *i)
{
    return i->flags & INSN_MEM ? xmm_read_aligned(cpu, i) : xmm_get(cpu, i->rm);
}

/* The W operand of which only the low 8 or 4 bytes matter; above them 0 if it is in memory. */
static inline union vec xmm_operand64(struct vcpu *cpu, const struct insn *i)
{
    return i->flags & INSN_MEM ? vec_from64(mem_read64(cpu, i), 0) : xmm_get(cpu, i->rm);
}

static inline union vec xmm_operand32(struct vcpu *cpu, const struct insn *i)
{
    return i->flags & INSN_MEM ? vec_from64(mem_read32(cpu, i), 0) : xmm_get(cpu, i->rm);
}

/* ---- MMX registers ------------------------------------------------------------------------ */

/* An MMX instruction first looks at pending x87 exceptions (mmx_check), then reads its operands,
 * and only when nothing can fault any more enters MMX state: fpu_mmx_enter (SDM 1 9.5). MMX
 * register numbers have three bits, whatever REX says. */
static inline void mmx_check(struct vcpu *cpu, const struct insn *i)
{
    if (unlikely(cpu->x87.status & SW_ES))
        fpu_raise_pending(cpu, i);
}

static inline uint64_t mmx_get(const struct vcpu *cpu, unsigned n)
{
    return cpu->x87.r[n & 7].significand;
}

static inline void mmx_set(struct vcpu *cpu, unsigned n, uint64_t v)
{
    cpu->x87.r[n & 7].significand = v;
    cpu->x87.r[n & 7].sign_exponent = 0xffff;
}

/* The Q operand, MMX register or 8 bytes of memory; the instruction is in MMX state afterwards. */
static inline uint64_t mmx_operand(struct vcpu *cpu, const struct insn *i)
{
    uint64_t v;

    mmx_check(cpu, i);
    v = i->flags & INSN_MEM ? mem_read64(cpu, i) : mmx_get(cpu, i->rm);
    fpu_mmx_enter(cpu, i);
    return v;
}

/* ---- Op functions of vec_<name>(destination, source, size) -------------------------------- */

/* op_<name>_x_r and _x_m: V = f(V, W); memory must be aligned. */
#define VEC_SSE_X(name)                                                                            \
    OP(name##_x_r)                                                                                 \
    {                                                                                              \
        xmm_set(cpu, i->reg, vec_##name(xmm_get(cpu, i->reg), xmm_get(cpu, i->rm), 16));           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_x_m)                                                                                 \
    {                                                                                              \
        union vec source = xmm_read_aligned(cpu, i);                                               \
        xmm_set(cpu, i->reg, vec_##name(xmm_get(cpu, i->reg), source, 16));                        \
        NEXT;                                                                                      \
    }

/* op_<name>_mm_r and _mm_m: P = f(P, Q); `bits` of memory are read. */
#define VEC_OP_MM_BITS(name, bits)                                                                 \
    OP(name##_mm_r)                                                                                \
    {                                                                                              \
        union vec d = vec_from64(mmx_get(cpu, i->reg), 0);                                         \
        union vec s = vec_from64(mmx_get(cpu, i->rm), 0);                                          \
        fpu_mmx_enter(cpu, i);                                                                     \
        mmx_set(cpu, i->reg, vec_##name(d, s, 8).vq[0]);                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_mm_m)                                                                                \
    {                                                                                              \
        union vec d = vec_from64(mmx_get(cpu, i->reg), 0), s;                                      \
        mmx_check(cpu, i);                                                                         \
        s = vec_from64(mem_read##bits(cpu, i), 0);                                                 \
        fpu_mmx_enter(cpu, i);                                                                     \
        mmx_set(cpu, i->reg, vec_##name(d, s, 8).vq[0]);                                           \
        NEXT;                                                                                      \
    }

/* XMM, and the same in AVX (cpu/avx_vec.h). */
#define VEC_OP_X(name)                                                                             \
    VEC_SSE_X(name)                                                                                \
    VEX_OP(name)

/* MMX, too. */
#define VEC_OP(name)                                                                               \
    VEC_OP_X(name)                                                                                 \
    VEC_OP_MM_BITS(name, 64)

/* op_<name>_x_r and _x_m of vec_<name>(destination, source, immediate, size). */
#define VEC_IMM_X(name)                                                                            \
    OP(name##_x_r)                                                                                 \
    {                                                                                              \
        xmm_set(cpu, i->reg,                                                                       \
                vec_##name(xmm_get(cpu, i->reg), xmm_get(cpu, i->rm), (uint8_t)i->imm, 16));       \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_x_m)                                                                                 \
    {                                                                                              \
        union vec source = xmm_read_aligned(cpu, i);                                               \
        xmm_set(cpu, i->reg, vec_##name(xmm_get(cpu, i->reg), source, (uint8_t)i->imm, 16));       \
        NEXT;                                                                                      \
    }

/* op_<name>_mm_r and _mm_m of the same. */
#define VEC_IMM_MM(name)                                                                           \
    OP(name##_mm_r)                                                                                \
    {                                                                                              \
        union vec d = vec_from64(mmx_get(cpu, i->reg), 0);                                         \
        union vec s = vec_from64(mmx_get(cpu, i->rm), 0);                                          \
        fpu_mmx_enter(cpu, i);                                                                     \
        mmx_set(cpu, i->reg, vec_##name(d, s, (uint8_t)i->imm, 8).vq[0]);                          \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_mm_m)                                                                                \
    {                                                                                              \
        union vec d = vec_from64(mmx_get(cpu, i->reg), 0), s;                                      \
        mmx_check(cpu, i);                                                                         \
        s = vec_from64(mem_read64(cpu, i), 0);                                                     \
        fpu_mmx_enter(cpu, i);                                                                     \
        mmx_set(cpu, i->reg, vec_##name(d, s, (uint8_t)i->imm, 8).vq[0]);                          \
        NEXT;                                                                                      \
    }

#include "cpu/avx_vec.h"

#endif
