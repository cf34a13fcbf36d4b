/*
 * Permutations, broadcasts, insertion and extraction of 128 bits, and shifts by a count for each
 * lane: what AVX and AVX2 have beyond SSE. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/avx_vec.h"

/* ---- Broadcasts --------------------------------------------------------------------------- */

/* The pattern is a quad that holds the lane in all its places. */
#define BROADCAST(letter, bits, factor)                                                            \
    static inline uint64_t pattern_##letter(uint64_t lane)                                         \
    {                                                                                              \
        return (uint##bits##_t)lane * (uint64_t)(factor);                                          \
    }                                                                                              \
    VEX_FORMS(vbroadcast##letter##_x, uint64_t, low_quad, mem_read##bits,                          \
              uint64_t q = pattern_##letter(source);                                               \
              xmm_set_clear(cpu, i->reg, vec_from64(q, q)))                                        \
    VEX_FORMS(vbroadcast##letter##_y, uint64_t, low_quad, mem_read##bits,                          \
              uint64_t q = pattern_##letter(source);                                               \
              union vec v = vec_from64(q, q); ymm_set(cpu, i->reg, (struct vec2){v, v}))

static inline uint64_t low_quad(const struct vcpu *cpu, unsigned n)
{
    return cpu->vreg[n].q[0];
}

BROADCAST(b, 8, 0x0101010101010101)
BROADCAST(w, 16, 0x0001000100010001)
BROADCAST(d, 32, 0x0000000100000001)
BROADCAST(q, 64, 1)

OP(vbroadcast128)
{
    union vec v = xmm_read(cpu, i);

    ymm_set(cpu, i->reg, (struct vec2){v, v});
    NEXT;
}

/* ---- 128 bits in, out, about -------------------------------------------------------------- */

OP(vinsert128)
{
    union vec v = xmm_operand_any(cpu, i);
    struct vec2 d = ymm_get(cpu, i->vvvv);

    if (i->imm & 1)
        d.h = v;
    else
        d.l = v;
    ymm_set(cpu, i->reg, d);
    NEXT;
}

OP(vextract128)
{
    const uint64_t *q = cpu->vreg[i->reg].q + 2 * (i->imm & 1);

    if (i->flags & INSN_MEM)
        mem_write128(cpu, i, q);
    else
        xmm_set_clear(cpu, i->rm, vec_from64(q[0], q[1]));
    NEXT;
}

/* Four bits of imm choose each half: 3 clears it, 1 source or vvvv, 0 which half. */
VEC_FN choose_half(struct vec2 a, struct vec2 b, unsigned imm)
{
    if (imm & 8)
        return vec_from64(0, 0);
    if (imm & 2)
        return imm & 1 ? b.h : b.l;
    return imm & 1 ? a.h : a.l;
}

OP(vperm2128)
{
    struct vec2 b = ymm_operand(cpu, i), a = ymm_get(cpu, i->vvvv), r;

    r.l = choose_half(a, b, (unsigned)i->imm);
    r.h = choose_half(a, b, (unsigned)i->imm >> 4);
    ymm_set(cpu, i->reg, r);
    NEXT;
}

/* ---- Permutations ------------------------------------------------------------------------- */

/* VPERMD and VPERMPS: vvvv holds the lane numbers. */
OP(vpermd)
{
    struct vec2 source = ymm_operand(cpu, i), index = ymm_get(cpu, i->vvvv), r;

    for (unsigned n = 0; n < 4; n++) {
        unsigned low = VREG_D(index.l, n) & 7, high = VREG_D(index.h, n) & 7;

        VREG_D(r.l, n) = low & 4 ? VREG_D(source.h, low & 3) : VREG_D(source.l, low & 3);
        VREG_D(r.h, n) = high & 4 ? VREG_D(source.h, high & 3) : VREG_D(source.l, high & 3);
    }
    ymm_set(cpu, i->reg, r);
    NEXT;
}

/* VPERMQ and VPERMPD: two bits of imm for each quad. */
OP(vpermq)
{
    struct vec2 s = ymm_operand(cpu, i);
    unsigned imm = (uint8_t)i->imm;
    const uint64_t q[4] = {s.l.vq[0], s.l.vq[1], s.h.vq[0], s.h.vq[1]};

    s.l = vec_from64(q[imm & 3], q[(imm >> 2) & 3]);
    s.h = vec_from64(q[(imm >> 4) & 3], q[imm >> 6]);
    ymm_set(cpu, i->reg, s);
    NEXT;
}

/* VPERMILPS, VPERMILPD: within 128 bits, by a vector or by imm. */
VEC_FN vec_permilps(union vec a, union vec b, unsigned size)
{
    union vec r;

    (void)size;
    for (unsigned n = 0; n < 4; n++)
        VREG_D(r, n) = VREG_D(a, VREG_D(b, n) & 3);
    return r;
}

VEC_FN vec_permilpd(union vec a, union vec b, unsigned size)
{
    (void)size;
    return vec_from64(b.vq[0] & 2 ? a.vq[1] : a.vq[0], b.vq[1] & 2 ? a.vq[1] : a.vq[0]);
}

VEC_FN vec_permilps_imm(union vec a, union vec b, unsigned imm, unsigned size)
{
    union vec r;

    (void)a;
    (void)size;
    for (unsigned n = 0; n < 4; n++)
        VREG_D(r, n) = VREG_D(b, (imm >> (2 * n)) & 3);
    return r;
}

VEC_FN vec_permilpd_imm(union vec a, union vec b, unsigned imm, unsigned size)
{
    (void)a;
    (void)size;
    return vec_from64(imm & 1 ? b.vq[1] : b.vq[0], imm & 2 ? b.vq[1] : b.vq[0]);
}

VEX_OP(permilps)
VEX_OP(permilpd)
VEX_IMM(permilps_imm, 0)
VEX_IMM(permilpd_imm, 2)

/* ---- Shifts by lane ----------------------------------------------------------------------- */

#define SHIFT_BY_LANE(name, LANE, lanes, T, expression)                                            \
    VEC_FN vec_##name(union vec a, union vec b, unsigned size)                                     \
    {                                                                                              \
        union vec r;                                                                               \
        (void)size;                                                                                \
        for (unsigned n = 0; n < (lanes); n++) {                                                   \
            T x = (T)LANE(a, n);                                                                   \
            __typeof__(LANE(b, n)) count = LANE(b, n);                                             \
            LANE(r, n) = (__typeof__(LANE(r, n)))(expression);                                     \
        }                                                                                          \
        return r;                                                                                  \
    }                                                                                              \
    VEX_OP(name)

#define LANE_Q(v, n) ((v).q[n])
SHIFT_BY_LANE(psllvd, VREG_D, 4, uint32_t, count < 32 ? x << count : 0)
SHIFT_BY_LANE(psrlvd, VREG_D, 4, uint32_t, count < 32 ? x >> count : 0)
SHIFT_BY_LANE(psravd, VREG_D, 4, int32_t, x >> (count < 32 ? count : 31))
SHIFT_BY_LANE(psllvq, LANE_Q, 2, uint64_t, count < 64 ? x << count : 0)
SHIFT_BY_LANE(psrlvq, LANE_Q, 2, uint64_t, count < 64 ? x >> count : 0)
