/*
 * Opmask registers: KMOV, logic, shifts, tests (VEX-encoded), and what moves between them and
 * vectors. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/ops/avx512.h"

/* op_k<name>{b,w,d,q}: Kg = expression of a (Kv) and b (Km). */
#define MASK_OP(name, expression)                                                                  \
    MASK_OP_BITS(name##b, 8, expression)                                                           \
    MASK_OP_BITS(name##w, 16, expression)                                                          \
    MASK_OP_BITS(name##d, 32, expression)                                                          \
    MASK_OP_BITS(name##q, 64, expression)
#define MASK_OP_BITS(name, bits, expression)                                                       \
    OP(name)                                                                                       \
    {                                                                                              \
        uint##bits##_t a = (uint##bits##_t)cpu->opmask[i->vvvv & 7];                               \
        uint##bits##_t b = (uint##bits##_t)cpu->opmask[i->rm];                                     \
        const unsigned width = bits;                                                               \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        (void)width;                                                                               \
        cpu->opmask[i->reg] = (uint##bits##_t)(expression);                                        \
        NEXT;                                                                                      \
    }

MASK_OP(kand, (a & b))
MASK_OP(kandn, ~a &b)
MASK_OP(kor, a | b)
MASK_OP(kxor, a ^ b)
MASK_OP(kxnor, ~(a ^ b))
MASK_OP(knot, ~b)
MASK_OP(kadd, a + b)
MASK_OP(kmov, b)

/* Counts beyond the width give 0. */
static inline uint64_t shift_left(uint64_t v, unsigned count, unsigned width)
{
    return count < width ? v << count : 0;
}

static inline uint64_t shift_right(uint64_t v, unsigned count, unsigned width)
{
    return count < width ? v >> count : 0;
}
MASK_OP(kshiftl, shift_left(b, (uint8_t)i->imm, width))
MASK_OP(kshiftr, shift_right(b, (uint8_t)i->imm, width))

#define MASK_UNPACK(name, bits)                                                                    \
    OP(name)                                                                                       \
    {                                                                                              \
        uint64_t low = cpu->opmask[i->rm] & (BIT64(bits) - 1);                                     \
        uint64_t high = cpu->opmask[i->vvvv & 7] & (BIT64(bits) - 1);                              \
        cpu->opmask[i->reg] = high << (bits) | low;                                                \
        NEXT;                                                                                      \
    }
MASK_UNPACK(kunpckbw, 8)
MASK_UNPACK(kunpckwd, 16)
MASK_UNPACK(kunpckdq, 32)

/* ZF: `zero` is 0; CF: `carry` is. The other status flags are cleared. */
#define MASK_TEST_BITS(name, bits, zero, carry)                                                    \
    OP(name)                                                                                       \
    {                                                                                              \
        uint##bits##_t a = (uint##bits##_t)cpu->opmask[i->reg];                                    \
        uint##bits##_t b = (uint##bits##_t)cpu->opmask[i->rm];                                     \
        bool zf = (uint##bits##_t)(zero) == 0, cf = (uint##bits##_t)(carry) == 0;                  \
        flags_set(cpu, (zf ? EFLAGS_ZF : 0) | (cf ? EFLAGS_CF : 0));                               \
        NEXT;                                                                                      \
    }
#define MASK_TEST(name, zero, carry)                                                               \
    MASK_TEST_BITS(name##b, 8, zero, carry)                                                        \
    MASK_TEST_BITS(name##w, 16, zero, carry)                                                       \
    MASK_TEST_BITS(name##d, 32, zero, carry)                                                       \
    MASK_TEST_BITS(name##q, 64, zero, carry)
MASK_TEST(kortest, a | b, ~(a | b))
MASK_TEST(ktest, (a & b), ~a &b)

/* Between masks, memory and general registers. */
#define MASK_MOVES(letter, bits)                                                                   \
    OP(kmov##letter##_load)                                                                        \
    {                                                                                              \
        cpu->opmask[i->reg] = mem_read##bits(cpu, i);                                              \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(kmov##letter##_store)                                                                       \
    {                                                                                              \
        mem_write##bits(cpu, i, (uint##bits##_t)cpu->opmask[i->reg]);                              \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(kmov##letter##_from)                                                                        \
    {                                                                                              \
        cpu->opmask[i->reg] = (uint##bits##_t)cpu->gpr[i->rm];                                     \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(kmov##letter##_to)                                                                          \
    {                                                                                              \
        reg_set64(cpu, i->reg, (uint##bits##_t)cpu->opmask[i->rm]);                                \
        NEXT;                                                                                      \
    }
MASK_MOVES(b, 8)
MASK_MOVES(w, 16)
MASK_MOVES(d, 32)
MASK_MOVES(q, 64)

/* ---- Vectors ------------------------------------------------------------------------------ */

/* VPMOVM2x: all ones for each bit that is set; VPMOVx2M: the sign bits. */
#define MASK_VECTOR(letter, bytes)                                                                 \
    static void run_vpmovm2##letter(struct evex *e)                                                \
    {                                                                                              \
        uint64_t bits = e->cpu->opmask[e->i->rm];                                                  \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            LANE_##bytes(e->r, n) = (UINT_##bytes)(0 - (bits >> n & 1));                           \
    }                                                                                              \
    EVEX_OP(vpmovm2##letter, .run = run_vpmovm2##letter, .lane = bytes, .wide = bytes)             \
    static void run_vpmov##letter##2m(struct evex * e)                                             \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            e->k |= (uint64_t)(LANE_##bytes(e->b, n) >> (8 * bytes - 1)) << n;                     \
    }                                                                                              \
    EVEX_OP(vpmov##letter##2m, .run = run_vpmov##letter##2m, .lane = bytes, .wide = bytes,         \
            .to = EVEX_TO_K)
MASK_VECTOR(b, 1)
MASK_VECTOR(w, 2)
MASK_VECTOR(d, 4)
MASK_VECTOR(q, 8)

/* VPBROADCASTMB2Q, VPBROADCASTMW2D: the mask as a number, in every element. */
static void run_vpbroadcastmb2q(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes; n++)
        e->r.q[n] = (uint8_t)e->cpu->opmask[e->i->rm];
}
EVEX_OP(vpbroadcastmb2q, .run = run_vpbroadcastmb2q, .lane = 8, .wide = 8)

static void run_vpbroadcastmw2d(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes; n++)
        VREG_D(e->r, n) = (uint16_t)e->cpu->opmask[e->i->rm];
}
EVEX_OP(vpbroadcastmw2d, .run = run_vpbroadcastmw2d, .lane = 4, .wide = 4)
