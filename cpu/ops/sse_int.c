/*
 * Packed integer arithmetic, logic and comparison, MMX and XMM: PADD, PSUB, PMUL, PMADD, PAND,
 * PCMP, PMIN, PMAX, PAVG, PSAD, PABS, PSIGN and kin. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/sse_vec.h"

typedef char vec_chars __attribute__((vector_size(16))); /* what the compiler's builtins take */

/* A function that treats every lane alike: r = expression of a and b, vectors of lane `field`. */
#define LANEWISE(name, field, expression)                                                          \
    VEC_FN vec_##name(union vec x, union vec y, unsigned size)                                     \
    {                                                                                              \
        __typeof__(x.field) a = x.field, b = y.field;                                              \
        union vec r;                                                                               \
        (void)size;                                                                                \
        (void)a;                                                                                   \
        r.field = (__typeof__(r.field))(expression);                                               \
        return r;                                                                                  \
    }

/* A loop over lanes of type T: r lane n = expression of a and b. */
#define LANE_LOOP(name, LANE, T, expression)                                                       \
    VEC_FN vec_##name(union vec x, union vec y, unsigned size)                                     \
    {                                                                                              \
        union vec r = {.vq = {0, 0}};                                                              \
        for (unsigned n = 0; n < size / sizeof(T); n++) {                                          \
            T a = (T)LANE(x, n), b = (T)LANE(y, n);                                                \
            (void)a;                                                                               \
            LANE(r, n) = (__typeof__(LANE(r, n)))(expression);                                     \
        }                                                                                          \
        return r;                                                                                  \
    }

/* ---- Logic -------------------------------------------------------------------------------- */

LANEWISE(pand, vq, (a & b))
LANEWISE(pandn, vq, ~a &b)
LANEWISE(por, vq, a | b)
LANEWISE(pxor, vq, a ^ b)
VEC_OP(pand)
VEC_OP(pandn)
VEC_OP(por)
VEC_OP(pxor)

/* ---- Wrapping addition and subtraction ---------------------------------------------------- */

LANEWISE(paddb, vb, a + b)
LANEWISE(paddw, vw, a + b)
LANEWISE(paddd, vd, a + b)
LANEWISE(paddq, vq, a + b)
LANEWISE(psubb, vb, a - b)
LANEWISE(psubw, vw, a - b)
LANEWISE(psubd, vd, a - b)
LANEWISE(psubq, vq, a - b)
VEC_OP(paddb)
VEC_OP(paddw)
VEC_OP(paddd)
VEC_OP(paddq)
VEC_OP(psubb)
VEC_OP(psubw)
VEC_OP(psubd)
VEC_OP(psubq)

/* ---- Saturating --------------------------------------------------------------------------- */

LANEWISE(paddusb, vb, (a + b) | (vec_u8)((vec_u8)(a + b) < a))
LANEWISE(paddusw, vw, (a + b) | (vec_u16)((vec_u16)(a + b) < a))
LANEWISE(psubusb, vb, (a - b) & (vec_u8)(a > b))
LANEWISE(psubusw, vw, (a - b) & (vec_u16)(a > b))
VEC_OP(paddusb)
VEC_OP(paddusw)
VEC_OP(psubusb)
VEC_OP(psubusw)

/* Signed: where the wrapped sum overflowed, the largest number of a's sign. */
#define SATURATING(name, u, s, U, S, MAX_LANE, sum, overflow)                                      \
    VEC_FN vec_##name(union vec x, union vec y, unsigned size)                                     \
    {                                                                                              \
        U a = x.u, b = y.u, r = sum;                                                               \
        union vec wrapped = {.u = r}, limit, mask;                                                 \
        (void)size;                                                                                \
        limit.u = (U)((S)a < (S){0}) ^ (U)((U){0} + MAX_LANE);                                     \
        mask.s = (S)((S)(overflow) < (S){0});                                                      \
        return vec_select(mask, limit, wrapped);                                                   \
    }

SATURATING(paddsb, vb, sb, vec_u8, vec_s8, 0x7f, a + b, ~(a ^ b) & (a ^ r))
SATURATING(paddsw, vw, sw, vec_u16, vec_s16, 0x7fff, a + b, ~(a ^ b) & (a ^ r))
SATURATING(psubsb, vb, sb, vec_u8, vec_s8, 0x7f, a - b, (a ^ b) & (a ^ r))
SATURATING(psubsw, vw, sw, vec_u16, vec_s16, 0x7fff, a - b, (a ^ b) & (a ^ r))
VEC_OP(paddsb)
VEC_OP(paddsw)
VEC_OP(psubsb)
VEC_OP(psubsw)

/* ---- Comparison --------------------------------------------------------------------------- */

LANEWISE(pcmpeqb, vb, a == b)
LANEWISE(pcmpeqw, vw, a == b)
LANEWISE(pcmpeqd, vd, a == b)
LANEWISE(pcmpeqq, vq, a == b)
LANEWISE(pcmpgtb, sb, a > b)
LANEWISE(pcmpgtw, sw, a > b)
LANEWISE(pcmpgtd, sd, a > b)
LANEWISE(pcmpgtq, sq, a > b)
VEC_OP(pcmpeqb)
VEC_OP(pcmpeqw)
VEC_OP(pcmpeqd)
VEC_OP_X(pcmpeqq)
VEC_OP(pcmpgtb)
VEC_OP(pcmpgtw)
VEC_OP(pcmpgtd)
VEC_OP_X(pcmpgtq)

/* ---- Minimum, maximum, average ------------------------------------------------------------ */

#define MINMAX(type, field)                                                                        \
    VEC_FN vec_pmin##type(union vec a, union vec b, unsigned size)                                 \
    {                                                                                              \
        union vec mask = {.field = (__typeof__(a.field))(a.field < b.field)};                      \
        (void)size;                                                                                \
        return vec_select(mask, a, b);                                                             \
    }                                                                                              \
    VEC_FN vec_pmax##type(union vec a, union vec b, unsigned size)                                 \
    {                                                                                              \
        union vec mask = {.field = (__typeof__(a.field))(a.field > b.field)};                      \
        (void)size;                                                                                \
        return vec_select(mask, a, b);                                                             \
    }

MINMAX(ub, vb)
MINMAX(uw, vw)
MINMAX(ud, vd)
MINMAX(sb, sb)
MINMAX(sw, sw)
MINMAX(sd, sd)
VEC_OP(pminub)
VEC_OP(pmaxub)
VEC_OP(pminsw)
VEC_OP(pmaxsw)
VEC_OP_X(pminuw)
VEC_OP_X(pmaxuw)
VEC_OP_X(pminud)
VEC_OP_X(pmaxud)
VEC_OP_X(pminsb)
VEC_OP_X(pmaxsb)
VEC_OP_X(pminsd)
VEC_OP_X(pmaxsd)

LANEWISE(pavgb, vb, (a | b) - ((a ^ b) >> 1))
LANEWISE(pavgw, vw, (a | b) - ((a ^ b) >> 1))
VEC_OP(pavgb)
VEC_OP(pavgw)

/* ---- Multiplication ----------------------------------------------------------------------- */

LANEWISE(pmullw, vw, (a * b))
LANEWISE(pmulld, vd, (a * b))
LANE_LOOP(pmulhw, VREG_W, int16_t, (a * b) >> 16)
LANE_LOOP(pmulhuw, VREG_W, uint16_t, ((uint32_t)a * b) >> 16)
LANE_LOOP(pmulhrsw, VREG_W, int16_t, (((a * b) >> 14) + 1) >> 1)
VEC_OP(pmullw)
VEC_OP_X(pmulld)
VEC_OP(pmulhw)
VEC_OP(pmulhuw)
VEC_OP(pmulhrsw)

VEC_FN vec_pmuludq(union vec a, union vec b, unsigned size)
{
    (void)size;
    return vec_from64((uint64_t)(uint32_t)a.vq[0] * (uint32_t)b.vq[0],
                      (uint64_t)(uint32_t)a.vq[1] * (uint32_t)b.vq[1]);
}
VEC_OP(pmuludq)

VEC_FN vec_pmuldq(union vec a, union vec b, unsigned size)
{
    (void)size;
    return vec_from64((uint64_t)((int64_t)(int32_t)a.vq[0] * (int32_t)b.vq[0]),
                      (uint64_t)((int64_t)(int32_t)a.vq[1] * (int32_t)b.vq[1]));
}
VEC_OP_X(pmuldq)

/* Products of neighbours are added; only four times -32768 wraps, to 0x80000000. */
VEC_FN vec_pmaddwd(union vec a, union vec b, unsigned size)
{
    union vec r = {.vq = {0, 0}};

#if defined(__SSE2__)
    (void)size; /* what is above an MMX operand is 0 */
    r.sd = __builtin_ia32_pmaddwd128(a.sw, b.sw);
    return r;
#endif
    for (unsigned n = 0; n < size / 4; n++) {
        int32_t low = (int16_t)VREG_W(a, 2 * n) * (int16_t)VREG_W(b, 2 * n);
        int32_t high = (int16_t)VREG_W(a, 2 * n + 1) * (int16_t)VREG_W(b, 2 * n + 1);

        VREG_D(r, n) = (uint32_t)low + (uint32_t)high;
    }
    return r;
}
VEC_OP(pmaddwd)

static inline uint16_t saturate_s16(int32_t v)
{
    return (uint16_t)(v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v);
}

/* Unsigned bytes of the destination times signed bytes of the source. */
VEC_FN vec_pmaddubsw(union vec a, union vec b, unsigned size)
{
    union vec r = {.vq = {0, 0}};

    for (unsigned n = 0; n < size / 2; n++)
        VREG_W(r, n) = saturate_s16(VREG_B(a, 2 * n) * (int8_t)VREG_B(b, 2 * n) +
                                    VREG_B(a, 2 * n + 1) * (int8_t)VREG_B(b, 2 * n + 1));
    return r;
}
VEC_OP(pmaddubsw)

/* ---- Sums of absolute differences --------------------------------------------------------- */

VEC_FN vec_psadbw(union vec a, union vec b, unsigned size)
{
    uint64_t sums[2] = {0, 0};
    union vec low, high, difference;

#if defined(__SSE2__)
    (void)size;
    return (union vec){.sq = (vec_s64)__builtin_ia32_psadbw128((vec_chars)a.vb, (vec_chars)b.vb)};
#endif
    low = vec_pminub(a, b, size);
    high = vec_pmaxub(a, b, size);
    difference.vb = high.vb - low.vb;
    for (unsigned n = 0; n < size / 8; n++) {
        uint64_t q = difference.vq[n];

        /* Four 16-bit sums of two bytes, then their sum in the top 16 bits. */
        q = (q & 0x00ff00ff00ff00ff) + ((q >> 8) & 0x00ff00ff00ff00ff);
        sums[n] = (q * 0x0001000100010001) >> 48;
    }
    return vec_from64(sums[0], sums[1]);
}
VEC_OP(psadbw)

/* Eight sums of four absolute differences: a group of the source against eight shifted groups of
 * the destination. */
VEC_FN vec_mpsadbw(union vec a, union vec b, unsigned imm, unsigned size)
{
    unsigned from_a = imm & 4, from_b = (imm & 3) * 4;
    union vec r = {.vq = {0, 0}};

    (void)size;
    for (unsigned n = 0; n < 8; n++) {
        unsigned sum = 0;

        for (unsigned k = 0; k < 4; k++) {
            int difference = VREG_B(a, from_a + n + k) - VREG_B(b, from_b + k);

            sum += (unsigned)(difference < 0 ? -difference : difference);
        }
        VREG_W(r, n) = (uint16_t)sum;
    }
    return r;
}
VEC_IMM_X(mpsadbw)
VEX_IMM(mpsadbw, 3)

/* The smallest word in lane 0, its lane number in lane 1. */
VEC_FN vec_phminposuw(union vec a, union vec b, unsigned size)
{
    unsigned best = 0;

    (void)a;
    (void)size;
    for (unsigned n = 1; n < 8; n++)
        if (VREG_W(b, n) < VREG_W(b, best))
            best = n;
    return vec_from64(VREG_W(b, best) | best << 16, 0);
}
VEC_SSE_X(phminposuw)
VEX_OP_X(phminposuw)

/* ---- Absolute value and sign -------------------------------------------------------------- */

#define ABS_SIGN(type, u, s, U, S)                                                                 \
    VEC_FN vec_pabs##type(union vec a, union vec b, unsigned size)                                 \
    {                                                                                              \
        U negative = (U)(b.s < (S){0});                                                            \
        (void)a;                                                                                   \
        (void)size;                                                                                \
        return (union vec){.u = (b.u ^ negative) - negative};                                      \
    }                                                                                              \
    VEC_FN vec_psign##type(union vec a, union vec b, unsigned size)                                \
    {                                                                                              \
        U negative = (U)(b.s < (S){0}), zero = (U)(b.s == (S){0});                                 \
        (void)size;                                                                                \
        return (union vec){.u = ((a.u ^ negative) - negative) & ~zero};                            \
    }

ABS_SIGN(b, vb, sb, vec_u8, vec_s8)
ABS_SIGN(w, vw, sw, vec_u16, vec_s16)
ABS_SIGN(d, vd, sd, vec_u32, vec_s32)
VEC_OP(pabsb)
VEC_OP(pabsw)
VEC_OP(pabsd)
VEC_OP(psignb)
VEC_OP(psignw)
VEC_OP(psignd)

/* ---- Horizontal addition and subtraction --------------------------------------------------- */

/* Neighbours of the destination make the lower half, those of the source the upper. */
#define HORIZONTAL(name, LANE, T, expression)                                                      \
    VEC_FN vec_##name(union vec a, union vec b, unsigned size)                                     \
    {                                                                                              \
        unsigned half = size / sizeof(T) / 2;                                                      \
        union vec r = {.vq = {0, 0}};                                                              \
        for (unsigned n = 0; n < half; n++) {                                                      \
            T x = (T)LANE(a, 2 * n), y = (T)LANE(a, 2 * n + 1);                                    \
            LANE(r, n) = (__typeof__(LANE(r, n)))(expression);                                     \
            x = (T)LANE(b, 2 * n);                                                                 \
            y = (T)LANE(b, 2 * n + 1);                                                             \
            LANE(r, half + n) = (__typeof__(LANE(r, n)))(expression);                              \
        }                                                                                          \
        return r;                                                                                  \
    }                                                                                              \
    VEC_OP(name)

HORIZONTAL(phaddw, VREG_W, uint16_t, x + y)
HORIZONTAL(phaddd, VREG_D, uint32_t, x + y)
HORIZONTAL(phaddsw, VREG_W, int16_t, saturate_s16(x + y))
HORIZONTAL(phsubw, VREG_W, uint16_t, x - y)
HORIZONTAL(phsubd, VREG_D, uint32_t, x - y)
HORIZONTAL(phsubsw, VREG_W, int16_t, saturate_s16(x - y))

/* ---- PTEST -------------------------------------------------------------------------------- */

/* ZF: no bit in both; CF: no bit of the source alone. */
static inline void test_flags(struct vcpu *cpu, vec_u64 both, vec_u64 only)
{
    bool zf = (both[0] | both[1]) == 0, cf = (only[0] | only[1]) == 0;

    flags_set(cpu, (zf ? EFLAGS_ZF : 0) | (cf ? EFLAGS_CF : 0));
}

OP(ptest)
{
    union vec d = xmm_get(cpu, i->reg), s = xmm_operand(cpu, i);

    test_flags(cpu, d.vq & s.vq, ~d.vq & s.vq);
    NEXT;
}

VEX_X(vptest, union vec d = xmm_get(cpu, i->reg);
      test_flags(cpu, d.vq &source.vq, ~d.vq &source.vq))
VEX_Y(vptest, struct vec2 d = ymm_get(cpu, i->reg);
      test_flags(cpu, (d.l.vq & source.l.vq) | (d.h.vq & source.h.vq),
                 (~d.l.vq & source.l.vq) | (~d.h.vq & source.h.vq)))

/* VTESTPS and VTESTPD look at the lanes' signs only. */
#define TEST_SIGNS(name, sign)                                                                     \
    VEX_X(name, union vec d = xmm_get(cpu, i->reg); const vec_u64 signs = {sign, sign};            \
          test_flags(cpu, d.vq & source.vq & signs, ~d.vq & source.vq & signs))                    \
    VEX_Y(name, struct vec2 d = ymm_get(cpu, i->reg); const vec_u64 signs = {sign, sign};          \
          test_flags(cpu, ((d.l.vq & source.l.vq) | (d.h.vq & source.h.vq)) & signs,               \
                     ((~d.l.vq & source.l.vq) | (~d.h.vq & source.h.vq)) & signs))

TEST_SIGNS(vtestps, 0x8000000080000000)
TEST_SIGNS(vtestpd, 0x8000000000000000)
