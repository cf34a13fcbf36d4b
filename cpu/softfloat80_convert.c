/*
 * Double extended precision: what x87 loads and stores.
 * Source: Intel SDM volume 1, 4.7 (packed decimal), 4.8.3, table 8-10 (responses to invalid).
 */
#include "cpu/softfloat_core.h"

#include <string.h>

#define BCD_DIGITS 18
#define BCD_LIMIT  999999999999999999ull

static struct float80 pack(bool sign, unsigned exponent, uint64_t significand)
{
    return (struct float80){significand, (uint16_t)((unsigned)sign << 15 | exponent)};
}

/* A smaller format in 64 bits, significand field at the top of `fraction`, to f80. */
static struct float80 widen(struct softfloat_env *env, bool sign, int32_t exponent, int32_t top,
                            int32_t bias, uint64_t fraction)
{
    if (exponent == top) {
        if (fraction != 0 && !(fraction >> 63))
            env->flags |= SOFTFLOAT_INVALID;
        return pack(sign, 0x7fff, BIT64(63) | (fraction != 0 ? BIT64(62) : 0) | fraction >> 1);
    }
    if (exponent == 0) {
        unsigned shift;

        if (fraction == 0)
            return pack(sign, 0, 0);
        env->flags |= SOFTFLOAT_DENORMAL;
        shift = (unsigned)__builtin_clzll(fraction);
        return pack(sign, (unsigned)(16383 - bias - (int32_t)shift), fraction << shift);
    }
    return pack(sign, (unsigned)(exponent - bias + 16383), BIT64(63) | fraction >> 1);
}

struct float80 sf32_to_f80(struct softfloat_env *env, uint32_t a)
{
    return widen(env, a >> 31, (a >> 23) & 0xff, 0xff, 127, (uint64_t)a << 41);
}

struct float80 sf64_to_f80(struct softfloat_env *env, uint64_t a)
{
    return widen(env, a >> 63, (a >> 52) & 0x7ff, 0x7ff, 1023, a << 12);
}

struct float80 sf80_from_i64(int64_t a)
{
    uint64_t magnitude = a < 0 ? -(uint64_t)a : (uint64_t)a;
    unsigned shift;

    if (magnitude == 0)
        return pack(false, 0, 0);
    shift = (unsigned)__builtin_clzll(magnitude);
    return pack(a < 0, 16383 + 63 - shift, magnitude << shift);
}

/* To a format of `bits` significand bits; denormals set no flag of their own here. */
static uint64_t narrow(struct softfloat_env *env, struct float80 a, unsigned bits, int32_t bias)
{
    struct sf_value v = sf80_unpack(a);
    unsigned width = bits == 24 ? 32 : 64;
    uint64_t sign = (uint64_t)v.n.sign << (width - 1);
    uint64_t infinity = (uint64_t)(2 * bias + 1) << (bits - 1);
    struct sf_rounded r;

    env->rounded_up = false;
    switch (v.kind) {
    case SF_ZERO:
        return sign;
    case SF_INFINITE:
        return sign | infinity;
    case SF_FINITE:
        break;
    default:
        a = sf80_propagate(env, a, a);
        return (uint64_t)(a.sign_exponent >> 15) << (width - 1) | infinity |
               (a.significand << 1) >> (65 - bits);
    }
    r = sf_round(&v.n, bits, 1 - bias, env->rounding);
    if (r.exp > bias) {
        env->flags |= SOFTFLOAT_OVERFLOW | SOFTFLOAT_INEXACT;
        env->rounded_up = sf_overflow_is_infinite(v.n.sign, env->rounding);
        return sign | (infinity - !env->rounded_up);
    }
    if (r.tiny && (r.inexact || (env->unmasked & SOFTFLOAT_UNDERFLOW)))
        env->flags |= SOFTFLOAT_UNDERFLOW;
    if (r.inexact)
        env->flags |= SOFTFLOAT_INEXACT;
    env->rounded_up = r.up;
    if (r.sig >> 63)
        sign |= (uint64_t)(r.exp + bias) << (bits - 1);
    return sign | (r.sig << 1) >> (65 - bits);
}

uint32_t sf80_to_f32(struct softfloat_env *env, struct float80 a)
{
    return (uint32_t)narrow(env, a, 24, 127);
}

uint64_t sf80_to_f64(struct softfloat_env *env, struct float80 a)
{
    return narrow(env, a, 53, 1023);
}

int16_t sf80_to_i16(struct softfloat_env *env, struct float80 a, enum softfloat_rounding rounding)
{
    struct sf_value v = sf80_unpack(a);

    return (int16_t)sf_to_signed(env, &v, rounding, 16);
}

int32_t sf80_to_i32(struct softfloat_env *env, struct float80 a, enum softfloat_rounding rounding)
{
    struct sf_value v = sf80_unpack(a);

    return (int32_t)sf_to_signed(env, &v, rounding, 32);
}

int64_t sf80_to_i64(struct softfloat_env *env, struct float80 a, enum softfloat_rounding rounding)
{
    struct sf_value v = sf80_unpack(a);

    return sf_to_signed(env, &v, rounding, 64);
}

struct float80 sf80_from_bcd(const uint8_t bcd[10])
{
    struct float80 a;
    uint64_t magnitude = 0;

    /* Digits above 9 count as what they are; 18 of them still fit 63 bits. */
    for (unsigned n = BCD_DIGITS / 2; n-- > 0;)
        magnitude = magnitude * 100 + (bcd[n] >> 4) * 10u + (bcd[n] & 15);
    a = sf80_from_i64((int64_t)magnitude);
    if (bcd[9] & 0x80)
        a.sign_exponent |= 0x8000;
    return a;
}

void sf80_to_bcd(struct softfloat_env *env, struct float80 a, uint8_t bcd[10])
{
    static const uint8_t indefinite[10] = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
    struct sf_value v = sf80_unpack(a);
    uint64_t magnitude;

    env->rounded_up = false;
    if (v.kind > SF_FINITE || !sf_to_magnitude(env, &v, env->rounding, BCD_LIMIT, &magnitude)) {
        env->flags |= SOFTFLOAT_INVALID;
        memcpy(bcd, indefinite, sizeof(indefinite));
        return;
    }
    for (unsigned n = 0; n < BCD_DIGITS / 2; n++) {
        bcd[n] = (uint8_t)(magnitude % 10 | (magnitude / 10 % 10) << 4);
        magnitude /= 100;
    }
    bcd[9] = v.n.sign ? 0x80 : 0;
}
