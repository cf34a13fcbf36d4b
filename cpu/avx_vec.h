/*
 * AVX operands as op functions see them: pairs of 16-byte values, access to XMM and YMM registers
 * by the rules of VEX (the rest of the register is cleared, memory may be misaligned), and macros
 * that make op functions of the functions on 16-byte values that SSE has. Included by
 * cpu/sse_vec.h. Source: Intel SDM volume 1, chapter 14; volume 2A, 2.3.
 */
#ifndef CPU_AVX_VEC_H
#define CPU_AVX_VEC_H

#include "cpu/sse_vec.h"

/* A 256-bit value. */
struct vec2 {
    union vec l, h;
};

/* A function on pairs that is always part of its op function. */
#define VEC2_FN static inline __attribute__((always_inline)) struct vec2

VEC2_FN ymm_get(const struct vcpu *cpu, unsigned n)
{
    struct vec2 v;

    memcpy(&v.l, cpu->vreg[n].q, sizeof(v.l));
    memcpy(&v.h, cpu->vreg[n].q + 2, sizeof(v.h));
    return v;
}

/* Bits above 255 are cleared. */
static inline void ymm_set(struct vcpu *cpu, unsigned n, struct vec2 v)
{
    const vec_u64 zero = {0, 0};
    uint64_t *q = cpu->vreg[n].q;

    memcpy(q, &v.l, sizeof(v.l));
    memcpy(q + 2, &v.h, sizeof(v.h));
    memcpy(q + 4, &zero, sizeof(zero));
    memcpy(q + 6, &zero, sizeof(zero));
}

/* Bits above 127 are cleared. */
static inline void xmm_set_clear(struct vcpu *cpu, unsigned n, union vec v)
{
    ymm_set(cpu, n, (struct vec2){v, {.vq = {0, 0}}});
}

/* 32 bytes at linear that the TLB does not know: the lower half is returned, the upper is in
 * vcpu.vec_high. */
union vec ymm_load_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear);

static inline union vec vec_high(const struct vcpu *cpu)
{
    return vec_from64(cpu->vec_high[0], cpu->vec_high[1]);
}

VEC2_FN ymm_load(struct vcpu *cpu, const struct insn *i, uint64_t linear)
{
    const uint64_t *p = tlb_find_read(&cpu->mmu, linear, 32);
    struct vec2 v;

    if (likely(p != NULL)) {
        v.l = vec_from64(guest_load64(p), guest_load64(p + 1));
        v.h = vec_from64(guest_load64(p + 2), guest_load64(p + 3));
        return v;
    }
    v.l = ymm_load_slow(cpu, i, linear);
    v.h = vec_high(cpu);
    return v;
}

/* The memory operand, 32 bytes at any address. */
VEC2_FN ymm_read(struct vcpu *cpu, const struct insn *i)
{
    return ymm_load(cpu, i, mem_linear(cpu, i, 32, MMU_READ));
}

/* The W operand: register, or memory at any address. */
static inline union vec xmm_operand_any(struct vcpu *cpu, const struct insn *i)
{
    return i->flags & INSN_MEM ? xmm_read(cpu, i) : xmm_get(cpu, i->rm);
}

static inline struct vec2 ymm_operand(struct vcpu *cpu, const struct insn *i)
{
    return i->flags & INSN_MEM ? ymm_read(cpu, i) : ymm_get(cpu, i->rm);
}

/* ---- Op functions ------------------------------------------------------------------------- */

/* op_<name>_r and _m of `body`, in which `source` is the W operand. */
#define VEX_FORMS(name, type, get, read, ...)                                                      \
    OP(name##_r)                                                                                   \
    {                                                                                              \
        type source = get(cpu, i->rm);                                                             \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m)                                                                                   \
    {                                                                                              \
        type source = read(cpu, i);                                                                \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }
#define VEX_X(name, ...) VEX_FORMS(name##_x, union vec, xmm_get, xmm_read, __VA_ARGS__)
#define VEX_Y(name, ...) VEX_FORMS(name##_y, struct vec2, ymm_get, ymm_read, __VA_ARGS__)

/* op_v<name>_{x,y}_{r,m}: V = f(H, W) of vec_<name>(a, b, size), for each half. */
#define VEX_OP_X(name)                                                                             \
    VEX_X(v##name, xmm_set_clear(cpu, i->reg, vec_##name(xmm_get(cpu, i->vvvv), source, 16)))
#define VEX_OP(name)                                                                               \
    VEX_OP_X(name)                                                                                 \
    VEX_Y(v##name, struct vec2 a = ymm_get(cpu, i->vvvv); a.l = vec_##name(a.l, source.l, 16);     \
          a.h = vec_##name(a.h, source.h, 16); ymm_set(cpu, i->reg, a))

/* The same of vec_<name>(a, b, immediate, size); the upper half takes the immediate's bits from
 * `shift` on. */
#define VEX_IMM(name, shift)                                                                       \
    VEX_X(v##name, xmm_set_clear(cpu, i->reg,                                                      \
                                 vec_##name(xmm_get(cpu, i->vvvv), source, (uint8_t)i->imm, 16)))  \
    VEX_Y(v##name, unsigned imm = (uint8_t)i->imm; struct vec2 a = ymm_get(cpu, i->vvvv);          \
          a.l = vec_##name(a.l, source.l, imm, 16);                                                \
          a.h = vec_##name(a.h, source.h, imm >> (shift), 16); ymm_set(cpu, i->reg, a))

#endif
