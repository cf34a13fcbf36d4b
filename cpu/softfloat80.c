/*
 * Double extended precision: x87 arithmetic.
 * Source: Intel SDM volume 1, 4.2.2, 8.1.5.2 (precision control), 8.2.2 (unsupported encodings),
 * 8.5 (exceptions), table 4-7 (NaNs).
 */
#include "cpu/softfloat_core.h"

#define EXPONENT_MASK 0x7fff
#define BIAS          16383
#define EMIN          (1 - BIAS)
#define EMAX          BIAS
#define UNIT_BIT      BIT64(63)
#define QUIET_BIT     BIT64(62)
#define WRAP          24576 /* exponent adjustment of unmasked responses, SDM 1 8.5.4, 8.5.5 */

struct sf_value sf80_unpack(struct float80 a)
{
    int32_t exponent = a.sign_exponent & EXPONENT_MASK;
    struct sf_value v = {.kind = SF_FINITE, .n.sign = a.sign_exponent >> 15};

    v.n.m = (u128)a.significand << 64;
    if (exponent == EXPONENT_MASK) {
        if (!(a.significand & UNIT_BIT))
            v.kind = SF_UNSUPPORTED;
        else if (a.significand == UNIT_BIT)
            v.kind = SF_INFINITE;
        else
            v.kind = a.significand & QUIET_BIT ? SF_QNAN : SF_SNAN;
    } else if (exponent == 0) {
        v.kind = a.significand == 0 ? SF_ZERO : SF_FINITE;
        v.denormal = a.significand != 0;
        v.n.exp = EMIN;
        sf_normalise(&v.n);
    } else {
        if (!(a.significand & UNIT_BIT))
            v.kind = SF_UNSUPPORTED;
        v.n.exp = exponent - BIAS;
    }
    return v;
}

enum sf80_class sf80_classify(struct float80 a)
{
    struct sf_value v = sf80_unpack(a);

    switch (v.kind) {
    case SF_ZERO:
        return SF80_ZERO;
    case SF_FINITE:
        return v.denormal ? SF80_DENORMAL : SF80_NORMAL;
    case SF_INFINITE:
        return SF80_INFINITY;
    case SF_QNAN:
        return SF80_QNAN;
    case SF_SNAN:
        return SF80_SNAN;
    default:
        return SF80_UNSUPPORTED;
    }
}

static struct float80 pack(bool sign, int32_t exponent, uint64_t significand)
{
    return (struct float80){significand, (uint16_t)((unsigned)sign << 15 | (unsigned)exponent)};
}

static struct float80 zero(bool sign)
{
    return pack(sign, 0, 0);
}

static struct float80 infinity(bool sign)
{
    return pack(sign, EXPONENT_MASK, UNIT_BIT);
}

static struct float80 default_nan(struct softfloat_env *env)
{
    env->flags |= SOFTFLOAT_INVALID;
    return SF80_DEFAULT_NAN;
}

struct float80 sf80_propagate(struct softfloat_env *env, struct float80 a, struct float80 b)
{
    struct sf_value va = sf80_unpack(a), vb = sf80_unpack(b);
    bool take_a;

    env->rounded_up = false;
    if (va.kind == SF_UNSUPPORTED || vb.kind == SF_UNSUPPORTED)
        return default_nan(env);
    if (va.kind == SF_SNAN || vb.kind == SF_SNAN)
        env->flags |= SOFTFLOAT_INVALID;
    if (!sf_is_nan(&vb))
        take_a = true;
    else if (!sf_is_nan(&va))
        take_a = false;
    else if (va.kind != vb.kind)
        take_a = va.kind == SF_QNAN;
    else if (a.significand != b.significand)
        take_a = a.significand > b.significand;
    else
        take_a = !va.n.sign;
    if (!take_a)
        a = b;
    a.significand |= QUIET_BIT;
    return a;
}

static unsigned precision_of(const struct softfloat_env *env)
{
    return env->precision != 0 ? env->precision : 64;
}

/* The result of an overflow; r is rounded without regard for the range. */
static struct float80 overflowed(struct softfloat_env *env, const struct sf_rounded *r, bool sign,
                                 unsigned precision)
{
    env->flags |= SOFTFLOAT_OVERFLOW;
    if (env->unmasked & SOFTFLOAT_OVERFLOW) {
        if (r->inexact)
            env->flags |= SOFTFLOAT_INEXACT;
        if (r->exp - WRAP <= EMAX) {
            env->rounded_up = r->up;
            return pack(sign, r->exp - WRAP + BIAS, r->sig);
        }
        /* Too far even so (FSCALE only): as if masked, whatever the rounding. */
        env->flags |= SOFTFLOAT_INEXACT;
        env->rounded_up = true;
        return infinity(sign);
    }
    env->flags |= SOFTFLOAT_INEXACT;
    env->rounded_up = sf_overflow_is_infinite(sign, env->rounding);
    if (env->rounded_up)
        return infinity(sign);
    return pack(sign, EMAX + BIAS, ~0ull << (64 - precision));
}

struct float80 sf80_finish(struct softfloat_env *env, const struct sf_value *v, unsigned precision)
{
    bool sign = v->n.sign;
    struct sf_rounded r;

    env->rounded_up = false;
    switch (v->kind) {
    case SF_ZERO:
        return zero(sign);
    case SF_INFINITE:
        return infinity(sign);
    case SF_FINITE:
        break;
    default:
        return SF80_DEFAULT_NAN;
    }
    r = sf_round(&v->n, precision, EMIN, env->rounding);
    if (r.exp > EMAX)
        return overflowed(env, &r, sign, precision);
    if (r.tiny && (env->unmasked & SOFTFLOAT_UNDERFLOW)) {
        /* Rounded as if the exponent had no lower end, then brought into range. */
        r = sf_round(&v->n, precision, INT32_MIN / 2, env->rounding);
        r.exp += WRAP;
        env->flags |= SOFTFLOAT_UNDERFLOW;
        if (r.exp < EMIN) { /* likewise */
            env->flags |= SOFTFLOAT_INEXACT;
            return zero(sign);
        }
    } else if (r.tiny && r.inexact) {
        env->flags |= SOFTFLOAT_UNDERFLOW;
    }
    if (r.inexact)
        env->flags |= SOFTFLOAT_INEXACT;
    env->rounded_up = r.up;
    return pack(sign, r.sig >> 63 ? r.exp + BIAS : 0, r.sig);
}

enum operation { ADD, SUB, MUL, DIV };

static struct float80 binary(struct softfloat_env *env, struct float80 a, struct float80 b,
                             enum operation operation)
{
    struct sf_value va = sf80_unpack(a), vb = sf80_unpack(b), r;

    if (sf_is_nan(&va) || sf_is_nan(&vb))
        return sf80_propagate(env, a, b);
    switch (operation) {
    case SUB:
        vb.n.sign ^= 1;
        r = sf_value_add(env, &va, &vb);
        break;
    case MUL:
        r = sf_value_mul(env, &va, &vb);
        break;
    case DIV:
        r = sf_value_div(env, &va, &vb);
        break;
    default:
        r = sf_value_add(env, &va, &vb);
        break;
    }
    return sf80_finish(env, &r, precision_of(env));
}

struct float80 sf80_add(struct softfloat_env *env, struct float80 a, struct float80 b)
{
    return binary(env, a, b, ADD);
}

struct float80 sf80_sub(struct softfloat_env *env, struct float80 a, struct float80 b)
{
    return binary(env, a, b, SUB);
}

struct float80 sf80_mul(struct softfloat_env *env, struct float80 a, struct float80 b)
{
    return binary(env, a, b, MUL);
}

struct float80 sf80_div(struct softfloat_env *env, struct float80 a, struct float80 b)
{
    return binary(env, a, b, DIV);
}

struct float80 sf80_sqrt(struct softfloat_env *env, struct float80 a)
{
    struct sf_value v = sf80_unpack(a);

    if (sf_is_nan(&v))
        return sf80_propagate(env, a, a);
    v = sf_value_sqrt(env, &v);
    return sf80_finish(env, &v, precision_of(env));
}

enum softfloat_relation sf80_compare(struct softfloat_env *env, struct float80 a, struct float80 b,
                                     bool quiet)
{
    struct sf_value va = sf80_unpack(a), vb = sf80_unpack(b);

    if (sf_is_nan(&va) || sf_is_nan(&vb)) {
        if (!quiet || va.kind > SF_QNAN || vb.kind > SF_QNAN)
            env->flags |= SOFTFLOAT_INVALID;
        return SOFTFLOAT_UNORDERED;
    }
    if (va.denormal || vb.denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
    return sf_value_relation(&va, &vb);
}

struct float80 sf80_round_to_int(struct softfloat_env *env, struct float80 a)
{
    struct sf_value v = sf80_unpack(a);
    bool up;

    if (sf_is_nan(&v))
        return sf80_propagate(env, a, a);
    if (v.denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
    sf_value_round_to_int(env, &v, env->rounding, false);
    up = env->rounded_up;
    a = sf80_finish(env, &v, 64);
    env->rounded_up = up;
    return a;
}

/* A number of 64 significant bits that is exact in f80. */
static struct float80 pack_exact(struct softfloat_env *env, const struct sf_number *n)
{
    struct sf_value v = {.n = *n, .kind = n->m == 0 ? SF_ZERO : SF_FINITE};

    return sf80_finish(env, &v, 64);
}

/* Long division x / y of normalised significands, `distance` + 1 quotient bits; the remainder is in
 * units of the last bit of x * 2^-distance. */
static uint64_t divide_long(uint64_t x, uint64_t y, int32_t distance, uint64_t *remainder)
{
    uint64_t quotient = 0;
    u128 rest = x;

    for (int32_t n = 0; n <= distance; n++) {
        rest <<= n > 0;
        quotient <<= 1;
        if (rest >= y) {
            rest -= y;
            quotient |= 1;
        }
    }
    *remainder = (uint64_t)rest;
    return quotient;
}

/* The division of finite a by finite b. */
static struct sf_number remainder_of(struct sf_number a, const struct sf_number *b, bool nearest,
                                     unsigned *quotient, bool *partial)
{
    uint64_t x = (uint64_t)(a.m >> 64), y = (uint64_t)(b->m >> 64), q, rest;
    int32_t distance = a.exp - b->exp;

    if (distance < 0) {
        /* The quotient is 0, or 1 if a is more than half of b. */
        if (nearest && distance == -1 && x > y) {
            *quotient = 1;
            a.m = (((u128)y << 1) - x) << 64;
            a.sign ^= 1;
            sf_normalise(&a);
        }
        return a;
    }
    *partial = distance >= 64;
    if (*partial)
        distance = 32 + (distance & 31); /* a free choice, SDM 2A "FPREM" */
    q = divide_long(x, y, distance, &rest);
    a.exp -= distance;
    if (!*partial) {
        if (nearest && (rest > y - rest || (rest == y - rest && (q & 1)))) {
            rest = y - rest;
            a.sign ^= 1;
            q++;
        }
        *quotient = q & 7;
    }
    a.m = (u128)rest << 64;
    sf_normalise(&a);
    return a;
}

struct float80 sf80_remainder(struct softfloat_env *env, struct float80 a, struct float80 b,
                              bool nearest, unsigned *quotient, bool *partial)
{
    struct sf_value va = sf80_unpack(a), vb = sf80_unpack(b);
    struct sf_number r;

    *quotient = 0;
    *partial = false;
    if (sf_is_nan(&va) || sf_is_nan(&vb))
        return sf80_propagate(env, a, b);
    env->rounded_up = false;
    if (va.kind == SF_INFINITE || vb.kind == SF_ZERO)
        return default_nan(env);
    if (va.denormal || vb.denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
    if (va.kind == SF_ZERO || vb.kind == SF_INFINITE)
        return sf80_finish(env, &va, 64);
    r = remainder_of(va.n, &vb.n, nearest, quotient, partial);
    return pack_exact(env, &r);
}

struct float80 sf80_scale(struct softfloat_env *env, struct float80 a, struct float80 b)
{
    struct sf_value va = sf80_unpack(a), vb = sf80_unpack(b);
    int32_t by = 0;

    if (sf_is_nan(&va) || sf_is_nan(&vb))
        return sf80_propagate(env, a, b);
    env->rounded_up = false;
    if (vb.kind == SF_INFINITE) {
        if (va.kind == (vb.n.sign ? SF_INFINITE : SF_ZERO))
            return default_nan(env);
        if (va.denormal)
            env->flags |= SOFTFLOAT_DENORMAL;
        return vb.n.sign ? zero(va.n.sign) : infinity(va.n.sign);
    }
    if (va.denormal || vb.denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
    if (va.kind != SF_FINITE)
        return a;
    if (vb.kind == SF_FINITE && vb.n.exp >= 0) {
        /* 2^17 is beyond every pair of exponents. */
        by = vb.n.exp > 16 ? 1 << 17 : (int32_t)(vb.n.m >> (127 - vb.n.exp));
        if (vb.n.sign)
            by = -by;
    }
    va.n.exp += by;
    return sf80_finish(env, &va, 64);
}

struct float80 sf80_extract(struct softfloat_env *env, struct float80 a, struct float80 *exponent)
{
    struct sf_value v = sf80_unpack(a);

    env->rounded_up = false;
    switch (v.kind) {
    case SF_ZERO:
        env->flags |= SOFTFLOAT_ZERO_DIVIDE;
        *exponent = infinity(true);
        return a;
    case SF_INFINITE:
        *exponent = infinity(false);
        return a;
    case SF_FINITE:
        break;
    default:
        *exponent = sf80_propagate(env, a, a);
        return *exponent;
    }
    if (v.denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
    *exponent = sf80_from_i64(v.n.exp);
    v.n.exp = 0;
    return pack_exact(env, &v.n);
}
