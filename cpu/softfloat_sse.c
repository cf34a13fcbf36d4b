/*
 * Single and double precision (and the conversions of half precision) with the rules of SSE. One
 * set of functions serves the formats: they work on the bits in a uint64_t and a description of the
 * format, which the compiler propagates.
 * Source: Intel SDM volume 1, 4.8, 10.2.3, 11.5.2, appendix E.
 */
#include "cpu/softfloat_core.h"

struct format {
    unsigned fraction_bits; /* stored bits of the significand */
    unsigned sign_bit;      /* position */
    int32_t bias;
};

static const struct format half = {10, 15, 15}, single = {23, 31, 127}, twice = {52, 63, 1023};

static inline uint64_t fraction_mask(const struct format *f)
{
    return BIT64(f->fraction_bits) - 1;
}

static inline uint64_t quiet_bit(const struct format *f)
{
    return BIT64(f->fraction_bits - 1);
}

static inline uint64_t infinity(const struct format *f)
{
    return (BIT64(f->sign_bit) - 1) & ~fraction_mask(f);
}

static inline uint64_t default_nan(const struct format *f)
{
    return BIT64(f->sign_bit) | infinity(f) | quiet_bit(f);
}

static inline uint64_t sign_of(const struct format *f, bool sign)
{
    return (uint64_t)sign << f->sign_bit;
}

static inline struct sf_value unpack(const struct format *f, const struct softfloat_env *env,
                                     uint64_t a)
{
    uint64_t fraction = a & fraction_mask(f);
    int32_t exponent = (int32_t)((a & infinity(f)) >> f->fraction_bits);
    struct sf_value v = {.kind = SF_FINITE, .n.sign = (a >> f->sign_bit) & 1};

    if ((a & infinity(f)) == infinity(f)) {
        v.kind = fraction == 0 ? SF_INFINITE : a & quiet_bit(f) ? SF_QNAN : SF_SNAN;
    } else if (exponent == 0) {
        if (fraction == 0 || env->daz) {
            v.kind = SF_ZERO;
            return v;
        }
        v.denormal = true;
        v.n.m = (u128)fraction << (127 - f->fraction_bits);
        v.n.exp = 1 - f->bias;
        sf_normalise(&v.n);
    } else {
        v.n.m = (u128)(fraction | BIT64(f->fraction_bits)) << (127 - f->fraction_bits);
        v.n.exp = exponent - f->bias;
    }
    return v;
}

/* Rounds and packs a result that is no NaN but perhaps the default one. */
static inline uint64_t finish(const struct format *f, struct softfloat_env *env,
                              const struct sf_value *v)
{
    uint64_t sign = sign_of(f, v->n.sign);
    struct sf_rounded r;

    env->rounded_up = false;
    switch (v->kind) {
    case SF_ZERO:
        return sign;
    case SF_INFINITE:
        return sign | infinity(f);
    case SF_FINITE:
        break;
    default:
        return default_nan(f);
    }
    r = sf_round(&v->n, f->fraction_bits + 1, 1 - f->bias, env->rounding);
    if (r.exp > f->bias) {
        env->flags |= SOFTFLOAT_OVERFLOW | SOFTFLOAT_INEXACT;
        env->rounded_up = sf_overflow_is_infinite(v->n.sign, env->rounding);
        return sign | (infinity(f) - !env->rounded_up);
    }
    if (r.tiny && env->ftz && !(env->unmasked & SOFTFLOAT_UNDERFLOW)) {
        env->flags |= SOFTFLOAT_UNDERFLOW | SOFTFLOAT_INEXACT;
        return sign;
    }
    if (r.tiny && (r.inexact || (env->unmasked & SOFTFLOAT_UNDERFLOW)))
        env->flags |= SOFTFLOAT_UNDERFLOW;
    if (r.inexact)
        env->flags |= SOFTFLOAT_INEXACT;
    env->rounded_up = r.up;
    if (r.sig >> 63)
        sign |= (uint64_t)(r.exp + f->bias) << f->fraction_bits;
    return sign | ((r.sig >> (63 - f->fraction_bits)) & fraction_mask(f));
}

/* The first operand that is a NaN, quieted (SDM 1 table 4-7). */
static inline uint64_t propagate(const struct format *f, struct softfloat_env *env, uint64_t a,
                                 const struct sf_value *va, uint64_t b, const struct sf_value *vb)
{
    if (va->kind == SF_SNAN || vb->kind == SF_SNAN)
        env->flags |= SOFTFLOAT_INVALID;
    return (sf_is_nan(va) ? a : b) | quiet_bit(f);
}

enum operation { ADD, SUB, MUL, DIV };

static inline uint64_t binary(const struct format *f, struct softfloat_env *env, uint64_t a,
                              uint64_t b, enum operation operation)
{
    struct sf_value va = unpack(f, env, a), vb = unpack(f, env, b), r;

    if (sf_is_nan(&va) || sf_is_nan(&vb))
        return propagate(f, env, a, &va, b, &vb);
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
    return finish(f, env, &r);
}

static inline uint64_t square_root(const struct format *f, struct softfloat_env *env, uint64_t a)
{
    struct sf_value v = unpack(f, env, a);

    if (sf_is_nan(&v))
        return propagate(f, env, a, &v, a, &v);
    v = sf_value_sqrt(env, &v);
    return finish(f, env, &v);
}

static inline enum softfloat_relation compare(const struct format *f, struct softfloat_env *env,
                                              uint64_t a, uint64_t b, bool quiet)
{
    struct sf_value va = unpack(f, env, a), vb = unpack(f, env, b);

    if (sf_is_nan(&va) || sf_is_nan(&vb)) {
        if (!quiet || va.kind == SF_SNAN || vb.kind == SF_SNAN)
            env->flags |= SOFTFLOAT_INVALID;
        return SOFTFLOAT_UNORDERED;
    }
    if (va.denormal || vb.denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
    return sf_value_relation(&va, &vb);
}

/* MINxx (want LESS) and MAXxx (want GREATER): a if the relation holds, else b. */
static inline uint64_t select(const struct format *f, struct softfloat_env *env, uint64_t a,
                              uint64_t b, enum softfloat_relation want)
{
    enum softfloat_relation relation = compare(f, env, a, b, false);
    uint64_t r = relation == want ? a : b;

    /* Under DAZ a denormal is read as a zero, and so it comes out as one. */
    if (env->daz && (r & infinity(f)) == 0)
        r &= BIT64(f->sign_bit);
    return r;
}

static inline uint64_t muladd(const struct format *f, struct softfloat_env *env, uint64_t a,
                              uint64_t b, uint64_t c, unsigned negate)
{
    struct sf_value va = unpack(f, env, a), vb = unpack(f, env, b), vc = unpack(f, env, c), r;
    uint8_t flags;

    if (sf_is_nan(&va) || sf_is_nan(&vb) || sf_is_nan(&vc)) {
        if (va.kind == SF_SNAN || vb.kind == SF_SNAN || vc.kind == SF_SNAN)
            env->flags |= SOFTFLOAT_INVALID;
        return (sf_is_nan(&va) ? a : sf_is_nan(&vb) ? b : c) | quiet_bit(f);
    }
    if (negate & SOFTFLOAT_NEGATE_PRODUCT)
        va.n.sign ^= 1;
    if (negate & SOFTFLOAT_NEGATE_ADDEND)
        vc.n.sign ^= 1;
    flags = env->flags;
    r = sf_value_mul(env, &va, &vb);
    if (r.kind != SF_QNAN)
        r = sf_value_add(env, &r, &vc);
    if (r.kind == SF_QNAN) /* before denormals are looked at */
        env->flags = flags | SOFTFLOAT_INVALID;
    return finish(f, env, &r);
}

static inline uint64_t round_to_int(const struct format *f, struct softfloat_env *env, uint64_t a,
                                    unsigned rounding, bool suppress_inexact)
{
    struct sf_value v = unpack(f, env, a);

    if (sf_is_nan(&v))
        return propagate(f, env, a, &v, a, &v);
    sf_value_round_to_int(env, &v, rounding, suppress_inexact);
    return finish(f, env, &v);
}

/* Between formats; NaNs keep the upper part of their fraction. */
static inline uint64_t convert(const struct format *from, const struct format *to,
                               struct softfloat_env *env, uint64_t a, bool report_denormals)
{
    struct sf_value v = unpack(from, env, a);

    if (sf_is_nan(&v)) {
        uint64_t fraction = (a & fraction_mask(from)) << (63 - from->fraction_bits);

        if (v.kind == SF_SNAN)
            env->flags |= SOFTFLOAT_INVALID;
        return sign_of(to, v.n.sign) | infinity(to) | quiet_bit(to) |
               (fraction >> (63 - to->fraction_bits));
    }
    if (v.denormal && report_denormals)
        env->flags |= SOFTFLOAT_DENORMAL;
    return finish(to, env, &v);
}

static inline uint64_t from_integer(const struct format *f, struct softfloat_env *env, bool sign,
                                    uint64_t magnitude)
{
    struct sf_value v = sf_from_magnitude(sign, magnitude);

    return finish(f, env, &v);
}

static inline uint64_t magnitude_of(int64_t a)
{
    return a < 0 ? -(uint64_t)a : (uint64_t)a;
}

/* The functions of one format: n bits, their type, the format. */
#define DEFINE(n, format)                                                                          \
    uint##n##_t sf##n##_add(struct softfloat_env *env, uint##n##_t a, uint##n##_t b)               \
    {                                                                                              \
        return (uint##n##_t)binary(&format, env, a, b, ADD);                                       \
    }                                                                                              \
    uint##n##_t sf##n##_sub(struct softfloat_env *env, uint##n##_t a, uint##n##_t b)               \
    {                                                                                              \
        return (uint##n##_t)binary(&format, env, a, b, SUB);                                       \
    }                                                                                              \
    uint##n##_t sf##n##_mul(struct softfloat_env *env, uint##n##_t a, uint##n##_t b)               \
    {                                                                                              \
        return (uint##n##_t)binary(&format, env, a, b, MUL);                                       \
    }                                                                                              \
    uint##n##_t sf##n##_div(struct softfloat_env *env, uint##n##_t a, uint##n##_t b)               \
    {                                                                                              \
        return (uint##n##_t)binary(&format, env, a, b, DIV);                                       \
    }                                                                                              \
    uint##n##_t sf##n##_sqrt(struct softfloat_env *env, uint##n##_t a)                             \
    {                                                                                              \
        return (uint##n##_t)square_root(&format, env, a);                                          \
    }                                                                                              \
    uint##n##_t sf##n##_min(struct softfloat_env *env, uint##n##_t a, uint##n##_t b)               \
    {                                                                                              \
        return (uint##n##_t)select(&format, env, a, b, SOFTFLOAT_LESS);                            \
    }                                                                                              \
    uint##n##_t sf##n##_max(struct softfloat_env *env, uint##n##_t a, uint##n##_t b)               \
    {                                                                                              \
        return (uint##n##_t)select(&format, env, a, b, SOFTFLOAT_GREATER);                         \
    }                                                                                              \
    uint##n##_t sf##n##_muladd(struct softfloat_env *env, uint##n##_t a, uint##n##_t b,            \
                               uint##n##_t c, unsigned negate)                                     \
    {                                                                                              \
        return (uint##n##_t)muladd(&format, env, a, b, c, negate);                                 \
    }                                                                                              \
    enum softfloat_relation sf##n##_compare(struct softfloat_env *env, uint##n##_t a,              \
                                            uint##n##_t b, bool quiet)                             \
    {                                                                                              \
        return compare(&format, env, a, b, quiet);                                                 \
    }                                                                                              \
    uint##n##_t sf##n##_round_to_int(struct softfloat_env *env, uint##n##_t a,                     \
                                     enum softfloat_rounding rounding, bool suppress_inexact)      \
    {                                                                                              \
        return (uint##n##_t)round_to_int(&format, env, a, rounding, suppress_inexact);             \
    }                                                                                              \
    int32_t sf##n##_to_i32(struct softfloat_env *env, uint##n##_t a,                               \
                           enum softfloat_rounding rounding)                                       \
    {                                                                                              \
        struct sf_value v = unpack(&format, env, a);                                               \
        return (int32_t)sf_to_signed(env, &v, rounding, 32);                                       \
    }                                                                                              \
    int64_t sf##n##_to_i64(struct softfloat_env *env, uint##n##_t a,                               \
                           enum softfloat_rounding rounding)                                       \
    {                                                                                              \
        struct sf_value v = unpack(&format, env, a);                                               \
        return sf_to_signed(env, &v, rounding, 64);                                                \
    }                                                                                              \
    uint32_t sf##n##_to_u32(struct softfloat_env *env, uint##n##_t a,                              \
                            enum softfloat_rounding rounding)                                      \
    {                                                                                              \
        struct sf_value v = unpack(&format, env, a);                                               \
        return (uint32_t)sf_to_unsigned(env, &v, rounding, 32);                                    \
    }                                                                                              \
    uint64_t sf##n##_to_u64(struct softfloat_env *env, uint##n##_t a,                              \
                            enum softfloat_rounding rounding)                                      \
    {                                                                                              \
        struct sf_value v = unpack(&format, env, a);                                               \
        return sf_to_unsigned(env, &v, rounding, 64);                                              \
    }                                                                                              \
    uint##n##_t sf##n##_from_i32(struct softfloat_env *env, int32_t a)                             \
    {                                                                                              \
        return (uint##n##_t)from_integer(&format, env, a < 0, magnitude_of(a));                    \
    }                                                                                              \
    uint##n##_t sf##n##_from_i64(struct softfloat_env *env, int64_t a)                             \
    {                                                                                              \
        return (uint##n##_t)from_integer(&format, env, a < 0, magnitude_of(a));                    \
    }                                                                                              \
    uint##n##_t sf##n##_from_u32(struct softfloat_env *env, uint32_t a)                            \
    {                                                                                              \
        return (uint##n##_t)from_integer(&format, env, false, a);                                  \
    }                                                                                              \
    uint##n##_t sf##n##_from_u64(struct softfloat_env *env, uint64_t a)                            \
    {                                                                                              \
        return (uint##n##_t)from_integer(&format, env, false, a);                                  \
    }

DEFINE(32, single)
DEFINE(64, twice)
#undef DEFINE

uint64_t sf32_to_f64(struct softfloat_env *env, uint32_t a)
{
    return convert(&single, &twice, env, a, true);
}

uint32_t sf64_to_f32(struct softfloat_env *env, uint64_t a)
{
    return (uint32_t)convert(&twice, &single, env, a, true);
}

uint32_t sf16_to_f32(struct softfloat_env *env, uint16_t a)
{
    struct softfloat_env plain = {0};
    uint32_t r = (uint32_t)convert(&half, &single, &plain, a, false);

    env->flags |= plain.flags;
    return r;
}

uint16_t sf32_to_f16(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding)
{
    struct softfloat_env plain = *env;
    uint16_t r;

    plain.rounding = (uint8_t)rounding;
    plain.ftz = false;
    r = (uint16_t)convert(&single, &half, &plain, a, true);
    env->flags = plain.flags;
    return r;
}
