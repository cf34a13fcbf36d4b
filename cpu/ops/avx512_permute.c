/*
 * Permutations of EVEX encoding: within 128 bits, across the register, out of two registers;
 * packing and unpacking. Masks suppress no faults of these. Source: Intel SDM volume 2, each by its
 * name.
 */
#include "cpu/ops/avx512.h"

/* Element n of the result; `per` elements make 128 bits, and `base` is the first of n's. */
#define PERMUTE(name, bytes, expression)                                                           \
    static inline UINT_##bytes element_##name(const struct evex *e, unsigned n)                    \
    {                                                                                              \
        const unsigned per = 16 / bytes, base = n & ~(per - 1);                                    \
        (void)per;                                                                                 \
        (void)base;                                                                                \
        return (UINT_##bytes)(expression);                                                         \
    }                                                                                              \
    EVEX_LANES_FROM(name, bytes, 0, UINT_##bytes, element_##name(e, n))
#define A(bytes, n) LANE_##bytes(e->a, n)
#define B(bytes, n) LANE_##bytes(e->b, n)
#define D(bytes, n) LANE_##bytes(e->d, n)

/* ---- Within 128 bits ---------------------------------------------------------------------- */

/* The lower (or upper) halves of both operands, element by element in turns. */
#define UNPACK(type, low, high, bytes)                                                             \
    PERMUTE(low, bytes, n & 1 ? B(bytes, base + n % per / 2) : A(bytes, base + n % per / 2))       \
    PERMUTE(high, bytes,                                                                           \
            n & 1 ? B(bytes, base + (n % per + per) / 2) : A(bytes, base + (n % per + per) / 2))
UNPACK(b, vpunpcklbw, vpunpckhbw, 1)
UNPACK(w, vpunpcklwd, vpunpckhwd, 2)
UNPACK(d, vpunpckldq, vpunpckhdq, 4)
UNPACK(q, vpunpcklqdq, vpunpckhqdq, 8)

/* Twice as wide elements, saturated: those of H, then those of W. */
static inline int32_t limit(int32_t v, int32_t least, int32_t greatest)
{
    return v < least ? least : v > greatest ? greatest : v;
}
#define PACK(name, bytes, FROM, least, greatest)                                                   \
    PERMUTE(name, bytes,                                                                           \
            limit((SINT_##FROM)(n % per < per / 2 ? A(FROM, base / 2 + n % (per / 2))              \
                                                  : B(FROM, base / 2 + n % (per / 2))),            \
                  least, greatest))
PACK(vpacksswb, 1, 2, INT8_MIN, INT8_MAX)
PACK(vpackuswb, 1, 2, 0, UINT8_MAX)
PACK(vpackssdw, 2, 4, INT16_MIN, INT16_MAX)
PACK(vpackusdw, 2, 4, 0, UINT16_MAX)

/* Two bits of imm for each element of 128 bits, or one. */
#define TWO_BITS(n) (e->imm >> (2 * ((n)&3)) & 3)
#define ONE_BIT(n)  (e->imm >> (n)&1)
PERMUTE(vpshufb, 1, B(1, n) & 0x80 ? 0 : A(1, base + B(1, n) % 16))
PERMUTE(vpshufd, 4, B(4, base + TWO_BITS(n)))
PERMUTE(vpshuflw, 2, n & 4 ? B(2, n) : B(2, base + TWO_BITS(n)))
PERMUTE(vpshufhw, 2, n & 4 ? B(2, base + 4 + TWO_BITS(n)) : B(2, n))
PERMUTE(vshufps, 4, n & 2 ? B(4, base + TWO_BITS(n)) : A(4, base + TWO_BITS(n)))
PERMUTE(vshufpd, 8, n & 1 ? B(8, base + ONE_BIT(n)) : A(8, base + ONE_BIT(n)))
PERMUTE(vpermilps, 4, A(4, base + B(4, n) % 4))
PERMUTE(vpermilpd, 8, A(8, base + (B(8, n) >> 1 & 1)))
PERMUTE(vpermilpd_imm, 8, B(8, base + ONE_BIT(n)))

/* Bytes of H above W, from byte imm on. */
static inline uint8_t align_byte(const struct evex *e, unsigned base, unsigned k)
{
    return k < 16 ? B(1, base + k) : k < 32 ? A(1, base + k - 16) : 0;
}
PERMUTE(vpalignr, 1, align_byte(e, base, n % 16 + e->imm))

/* Shifts of 128 bits by bytes: imm, result in H. */
#define BYTE_SHIFT(name, expression)                                                               \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            VREG_B(e->r, n) = expression;                                                          \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = 1, .wide = 1, .to = EVEX_TO_H)
BYTE_SHIFT(vpslldq, n % 16 < e->imm ? 0 : B(1, n - e->imm))
BYTE_SHIFT(vpsrldq, n % 16 + e->imm > 15 ? 0 : B(1, n + e->imm))

/* ---- Across the register ------------------------------------------------------------------ */

#define ACROSS(letter, bytes)                                                                      \
    PERMUTE(vperm##letter, bytes, B(bytes, A(bytes, n) % e->lanes))                                \
    PERMUTE(vpermi2##letter, bytes,                                                                \
            D(bytes, n) & e->lanes ? B(bytes, D(bytes, n) % e->lanes)                              \
                                   : A(bytes, D(bytes, n) % e->lanes))                             \
    PERMUTE(vpermt2##letter, bytes,                                                                \
            A(bytes, n) & e->lanes ? B(bytes, A(bytes, n) % e->lanes)                              \
                                   : D(bytes, A(bytes, n) % e->lanes))
ACROSS(b, 1)
ACROSS(w, 2)
ACROSS(d, 4)
ACROSS(q, 8)
PERMUTE(vpermq_imm, 8, B(8, (n & ~3u) + TWO_BITS(n)))

/* VALIGND, VALIGNQ: elements of H above W, from element imm on. */
#define ALIGN(name, bytes)                                                                         \
    PERMUTE(name, bytes,                                                                           \
            n + e->imm % e->lanes < e->lanes ? B(bytes, n + e->imm % e->lanes)                     \
                                             : A(bytes, n + e->imm % e->lanes - e->lanes))
ALIGN(valignd, 4)
ALIGN(valignq, 8)

/* Blocks of 128 bits, the lower half of the result out of H, the upper out of W. */
static inline unsigned block(const struct evex *e, unsigned n)
{
    return e->length == 64 ? TWO_BITS(n) : ONE_BIT(n);
}
#define SHUFFLE_BLOCKS(name, bytes)                                                                \
    PERMUTE(name, bytes,                                                                           \
            n < e->lanes / 2 ? A(bytes, block(e, n / per) * per + n % per)                         \
                             : B(bytes, block(e, n / per) * per + n % per))
SHUFFLE_BLOCKS(vshuf32x4, 4)
SHUFFLE_BLOCKS(vshuf64x2, 8)

/* VDBPSADBW: sums of four differences of bytes; imm first chooses blocks of W. */
static uint16_t sum_of_four(const struct evex *e, unsigned n)
{
    unsigned base = (n & ~7u) * 2, place = n % 8, sum = 0;
    unsigned from_a = base + (place & 4) * 2 + (place & 2) * 2; /* groups of four, each twice */

    for (unsigned k = 0; k < 4; k++) {
        unsigned at = (place & 4) * 2 + (place & 3) + k; /* in the shuffled W */
        unsigned quarter = e->imm >> (2 * (at / 4)) & 3;
        int difference = A(1, from_a + k) - B(1, base + quarter * 4 + at % 4);

        sum += (unsigned)(difference < 0 ? -difference : difference);
    }
    return (uint16_t)sum;
}
PERMUTE(vdbpsadbw, 2, sum_of_four(e, n))
