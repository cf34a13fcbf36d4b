/*
 * Packed shifts, MMX and XMM: PSLL, PSRL, PSRA by register, memory or immediate, PSLLDQ, PSRLDQ,
 * PALIGNR. A count that is too large gives 0, or copies of the sign. Source: Intel SDM volume 2.
 */
#include "cpu/sse_vec.h"

#define SHIFT_LOGIC(name, field, bits, operator)                                                   \
    VEC_FN shift_##name(union vec a, uint64_t count)                                               \
    {                                                                                              \
        if (unlikely(count >= (bits)))                                                             \
            return vec_from64(0, 0);                                                               \
        a.field = a.field operator(unsigned) count;                                                \
        return a;                                                                                  \
    }

#define SHIFT_ARITHMETIC(name, field, bits)                                                        \
    VEC_FN shift_##name(union vec a, uint64_t count)                                               \
    {                                                                                              \
        a.field = a.field >> (unsigned)MIN(count, (bits)-1);                                       \
        return a;                                                                                  \
    }

/* The count is the low 64 bits of the source, which has 128 bits in all forms; those by immediate
 * shift the register in rm. */
#define SHIFT_OPS(name)                                                                            \
    VEC_FN vec_##name(union vec a, union vec b, unsigned size)                                     \
    {                                                                                              \
        (void)size;                                                                                \
        return shift_##name(a, b.vq[0]);                                                           \
    }                                                                                              \
    VEC_SSE_X(name)                                                                                \
    VEC_OP_MM_BITS(name, 64)                                                                       \
    VEX_FORMS(v##name##_x, union vec, xmm_get, xmm_read,                                           \
              xmm_set_clear(cpu, i->reg, shift_##name(xmm_get(cpu, i->vvvv), source.vq[0])))       \
    VEX_FORMS(v##name##_y, union vec, xmm_get, xmm_read, struct vec2 a = ymm_get(cpu, i->vvvv);    \
              a.l = shift_##name(a.l, source.vq[0]); a.h = shift_##name(a.h, source.vq[0]);        \
              ymm_set(cpu, i->reg, a))                                                             \
    OP(v##name##_imm_x)                                                                            \
    {                                                                                              \
        xmm_set_clear(cpu, i->vvvv, shift_##name(xmm_get(cpu, i->rm), (uint8_t)i->imm));           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(v##name##_imm_y)                                                                            \
    {                                                                                              \
        struct vec2 a = ymm_get(cpu, i->rm);                                                       \
        a.l = shift_##name(a.l, (uint8_t)i->imm);                                                  \
        a.h = shift_##name(a.h, (uint8_t)i->imm);                                                  \
        ymm_set(cpu, i->vvvv, a);                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_imm_x)                                                                               \
    {                                                                                              \
        xmm_set(cpu, i->rm, shift_##name(xmm_get(cpu, i->rm), (uint8_t)i->imm));                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_imm_mm)                                                                              \
    {                                                                                              \
        union vec a = vec_from64(mmx_get(cpu, i->rm), 0);                                          \
        fpu_mmx_enter(cpu, i);                                                                     \
        mmx_set(cpu, i->rm, shift_##name(a, (uint8_t)i->imm).vq[0]);                               \
        NEXT;                                                                                      \
    }

SHIFT_LOGIC(psllw, vw, 16, <<)
SHIFT_LOGIC(pslld, vd, 32, <<)
SHIFT_LOGIC(psllq, vq, 64, <<)
SHIFT_LOGIC(psrlw, vw, 16, >>)
SHIFT_LOGIC(psrld, vd, 32, >>)
SHIFT_LOGIC(psrlq, vq, 64, >>)
SHIFT_ARITHMETIC(psraw, sw, 16)
SHIFT_ARITHMETIC(psrad, sd, 32)
SHIFT_OPS(psllw)
SHIFT_OPS(pslld)
SHIFT_OPS(psllq)
SHIFT_OPS(psrlw)
SHIFT_OPS(psrld)
SHIFT_OPS(psrlq)
SHIFT_OPS(psraw)
SHIFT_OPS(psrad)

/* ---- Byte shifts of the whole register ---------------------------------------------------- */

static inline unsigned __int128 whole(union vec a)
{
    return (unsigned __int128)a.vq[1] << 64 | a.vq[0];
}

VEC_FN vec_from128(unsigned __int128 v)
{
    return vec_from64((uint64_t)v, (uint64_t)(v >> 64));
}

/* Right by `bytes`, which may be as large as it likes. */
VEC_FN bytes_right(union vec a, unsigned bytes)
{
    return bytes > 15 ? vec_from64(0, 0) : vec_from128(whole(a) >> (8 * bytes));
}

VEC_FN bytes_left(union vec a, unsigned bytes)
{
    return bytes > 15 ? vec_from64(0, 0) : vec_from128(whole(a) << (8 * bytes));
}

OP(pslldq)
{
    xmm_set(cpu, i->rm, bytes_left(xmm_get(cpu, i->rm), (uint8_t)i->imm));
    NEXT;
}

OP(psrldq)
{
    xmm_set(cpu, i->rm, bytes_right(xmm_get(cpu, i->rm), (uint8_t)i->imm));
    NEXT;
}

#define BYTES_VEX(name, shift)                                                                     \
    OP(name##_x)                                                                                   \
    {                                                                                              \
        xmm_set_clear(cpu, i->vvvv, shift(xmm_get(cpu, i->rm), (uint8_t)i->imm));                  \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_y)                                                                                   \
    {                                                                                              \
        struct vec2 a = ymm_get(cpu, i->rm);                                                       \
        a.l = shift(a.l, (uint8_t)i->imm);                                                         \
        a.h = shift(a.h, (uint8_t)i->imm);                                                         \
        ymm_set(cpu, i->vvvv, a);                                                                  \
        NEXT;                                                                                      \
    }
BYTES_VEX(vpslldq, bytes_left)
BYTES_VEX(vpsrldq, bytes_right)

/* Destination above source, shifted right by bytes. */
VEC_FN vec_palignr(union vec a, union vec b, unsigned imm, unsigned size)
{
    union vec low, high;

    if (size == 8)
        return bytes_right(vec_from64(b.vq[0], a.vq[0]), imm);
    if (imm >= 16)
        return bytes_right(a, imm - 16);
    low = bytes_right(b, imm);
    high = bytes_left(a, 16 - imm);
    low.vq |= high.vq;
    return low;
}
VEC_IMM_X(palignr)
VEX_IMM(palignr, 0)
VEC_IMM_MM(palignr)
