/*
 * What the formats of cpu/softfloat.h share: numbers with a 128-bit significand, their arithmetic
 * (exact but for a sticky lowest bit) and the one rounding step. Only for cpu/softfloat*.c and the
 * x87 functions.
 * Source: Intel SDM volume 1, 4.8.4 (rounding), 4.9.1.5 (tininess).
 */
#ifndef CPU_SOFTFLOAT_CORE_H
#define CPU_SOFTFLOAT_CORE_H

#include "cpu/softfloat.h"

__extension__ typedef unsigned __int128 u128;

/* sign * m / 2^127 * 2^exp. Normalised: bit 127 of m is set; m is 0 only where a comment says so */
struct sf_number {
    u128 m;
    int32_t exp;
    bool sign;
};

enum sf_kind {
    SF_ZERO,
    SF_FINITE, /* not zero; n is normalised */
    SF_INFINITE,
    SF_QNAN,
    SF_SNAN,
    SF_UNSUPPORTED, /* f80 only */
};

/* An operand taken apart, or a result before it is rounded. n.sign is valid for every kind. */
struct sf_value {
    struct sf_number n;
    enum sf_kind kind;
    bool denormal; /* operand: denormal or pseudo-denormal */
};

static inline bool sf_is_nan(const struct sf_value *v)
{
    return v->kind >= SF_QNAN;
}

/* m >> n; bits shifted out leave a mark in bit 0. */
static inline u128 sf_shift_right_jam(u128 m, unsigned n)
{
    if (n == 0)
        return m;
    if (n >= 128)
        return m != 0;
    return (m >> n) | ((m << (128 - n)) != 0);
}

/* Leading zeros of m, which is not 0. */
static inline unsigned sf_leading_zeros(u128 m)
{
    uint64_t high = (uint64_t)(m >> 64);

    return high != 0 ? (unsigned)__builtin_clzll(high)
                     : 64 + (unsigned)__builtin_clzll((uint64_t)m);
}

/* Shifts m up until bit 127 is set; a zero stays as it is. */
static inline void sf_normalise(struct sf_number *n)
{
    unsigned shift;

    if (n->m == 0)
        return;
    shift = sf_leading_zeros(n->m);
    n->m <<= shift;
    n->exp -= (int32_t)shift;
}

/* a + b of normalised numbers. Rounds correctly later if the significands have at most 126 bits.
 * m of the result is 0 if they cancel. */
struct sf_number sf_number_add(struct sf_number a, struct sf_number b);

/* Product of significands of up to 64 bits: exact. */
struct sf_number sf_number_mul(struct sf_number a, struct sf_number b);

/* Quotient and square root of 64-bit significands: 64 bits, a rounding bit and a sticky bit. */
struct sf_number sf_number_div(struct sf_number a, struct sf_number b);
struct sf_number sf_number_sqrt(struct sf_number a);

/* The same on operands of every kind but NaNs: special cases, INVALID, ZERO_DIVIDE and DENORMAL.
 * Kind SF_QNAN in the result stands for the default NaN. */
struct sf_value sf_value_add(struct softfloat_env *env, const struct sf_value *a,
                             const struct sf_value *b);
struct sf_value sf_value_mul(struct softfloat_env *env, const struct sf_value *a,
                             const struct sf_value *b);
struct sf_value sf_value_div(struct softfloat_env *env, const struct sf_value *a,
                             const struct sf_value *b);
struct sf_value sf_value_sqrt(struct softfloat_env *env, const struct sf_value *a);

/* Relation of two operands that are no NaNs. */
enum softfloat_relation sf_value_relation(const struct sf_value *a, const struct sf_value *b);

struct sf_rounded {
    uint64_t sig; /* bit 63 has the weight 2^exp; it is clear only in denormals and zeros */
    int32_t exp;
    bool inexact;
    bool up;   /* the magnitude grew */
    bool tiny; /* after rounding to unlimited exponent range, below 2^emin */
};

/* Rounds a normalised number to `precision` bits (1 to 64) with 2^emin the least normal number. */
struct sf_rounded sf_round(const struct sf_number *n, unsigned precision, int32_t emin,
                           unsigned rounding);

/* Does rounding grow a magnitude whose kept part ends in bit `odd` and whose dropped part, as a
 * fraction of 2^128, is rest? */
static inline bool sf_rounds_up(u128 rest, bool odd, bool sign, unsigned rounding)
{
    const u128 half = (u128)1 << 127;

    switch (rounding) {
    case SOFTFLOAT_NEAREST:
        return rest > half || (rest == half && odd);
    case SOFTFLOAT_DOWN:
        return sign && rest != 0;
    case SOFTFLOAT_UP:
        return !sign && rest != 0;
    default:
        return false;
    }
}

/* True if an overflow in this rounding gives infinity, false: the largest finite number. */
static inline bool sf_overflow_is_infinite(bool sign, unsigned rounding)
{
    return rounding == SOFTFLOAT_NEAREST ||
           rounding == (sign ? SOFTFLOAT_DOWN : SOFTFLOAT_UP);
}

/* Integer conversion: false if |v| rounded does not fit `limit`; sets *magnitude, INEXACT and
 * rounded_up otherwise. v is finite or zero. */
bool sf_to_magnitude(struct softfloat_env *env, const struct sf_value *v, unsigned rounding,
                     uint64_t limit, uint64_t *magnitude);

/* Signed and unsigned integers of `bits` bits out of any operand; invalid: INVALID and the
 * indefinite value. */
int64_t sf_to_signed(struct softfloat_env *env, const struct sf_value *v, unsigned rounding,
                     unsigned bits);
uint64_t sf_to_unsigned(struct softfloat_env *env, const struct sf_value *v, unsigned rounding,
                        unsigned bits);

/* An integer as a value. */
struct sf_value sf_from_magnitude(bool sign, uint64_t magnitude);

/* A finite value rounded to an integral one; the sign of zeros is kept. Sets INEXACT unless
 * suppressed, and rounded_up. */
void sf_value_round_to_int(struct softfloat_env *env, struct sf_value *v, unsigned rounding,
                           bool suppress_inexact);

/* f80 operands. */
struct sf_value sf80_unpack(struct float80 a);
/* Rounds to f80 with `precision` significand bits: flags, unmasked responses, rounded_up. */
struct float80 sf80_finish(struct softfloat_env *env, const struct sf_value *v, unsigned precision);
/* NaN result of x87 operations with a NaN or unsupported operand (SDM 1 table 4-7); b may be a
 * copy of a. Sets INVALID where due. */
struct float80 sf80_propagate(struct softfloat_env *env, struct float80 a, struct float80 b);

#endif
