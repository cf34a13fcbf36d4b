/* Numbers with a 128-bit significand: the part of the soft-float that all formats share. */
#include "cpu/softfloat_core.h"

struct sf_number sf_number_add(struct sf_number a, struct sf_number b)
{
    struct sf_number r;
    u128 x, y;

    if (a.exp < b.exp) {
        r = a;
        a = b;
        b = r;
    }
    /* One bit of room for the carry. */
    x = sf_shift_right_jam(a.m, 1);
    y = sf_shift_right_jam(b.m, 1 + (unsigned)(a.exp - b.exp));
    r.exp = a.exp + 1;
    r.sign = a.sign;
    if (a.sign == b.sign) {
        r.m = x + y;
    } else if (x >= y) {
        r.m = x - y;
    } else {
        r.m = y - x;
        r.sign = b.sign;
    }
    sf_normalise(&r);
    return r;
}

struct sf_number sf_number_mul(struct sf_number a, struct sf_number b)
{
    struct sf_number r = {
        .m = (u128)(uint64_t)(a.m >> 64) * (uint64_t)(b.m >> 64),
        .exp = a.exp + b.exp + 1,
        .sign = a.sign ^ b.sign,
    };

    sf_normalise(&r);
    return r;
}

struct sf_number sf_number_div(struct sf_number a, struct sf_number b)
{
    uint64_t dividend = (uint64_t)(a.m >> 64), divisor = (uint64_t)(b.m >> 64);
    bool below = dividend < divisor;
    u128 scaled = (u128)dividend << (below ? 64 : 63);
    uint64_t rest = (uint64_t)(scaled % divisor);
    u128 twice = (u128)rest << 1;
    struct sf_number r = {
        .m = (scaled / divisor) << 64,
        .exp = a.exp - b.exp - below,
        .sign = a.sign ^ b.sign,
    };

    if (twice >= divisor) {
        r.m |= (u128)1 << 63;
        twice -= divisor;
    }
    r.m |= twice != 0;
    return r;
}

struct sf_number sf_number_sqrt(struct sf_number a)
{
    /* An even exponent, and the significand as an integer in [2^126, 2^128). */
    u128 rest = a.exp & 1 ? a.m : a.m >> 1;
    u128 root = 0;
    struct sf_number r = {.exp = (a.exp - (a.exp & 1)) / 2};

    /* Digit by digit: root collects the bits, doubled as the method wants it. */
    for (u128 bit = (u128)1 << 126; bit != 0; bit >>= 2) {
        if (rest >= root + bit) {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    r.m = root << 64;
    /* The remainder tells where the root lies between this integer and the next; never halfway. */
    if (rest > root)
        r.m |= (u128)1 << 63;
    r.m |= rest != 0;
    return r;
}

static struct sf_value invalid(struct softfloat_env *env)
{
    env->flags |= SOFTFLOAT_INVALID;
    return (struct sf_value){.kind = SF_QNAN};
}

static void note_denormals(struct softfloat_env *env, const struct sf_value *a,
                           const struct sf_value *b)
{
    if (a->denormal || b->denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
}

struct sf_value sf_value_add(struct softfloat_env *env, const struct sf_value *a,
                             const struct sf_value *b)
{
    struct sf_value r = {.kind = SF_FINITE};

    if (a->kind == SF_INFINITE && b->kind == SF_INFINITE && a->n.sign != b->n.sign)
        return invalid(env);
    note_denormals(env, a, b);
    if (a->kind == SF_INFINITE || b->kind == SF_INFINITE)
        return a->kind == SF_INFINITE ? *a : *b;
    if (a->kind == SF_ZERO && b->kind == SF_ZERO) {
        r = *a;
        if (a->n.sign != b->n.sign)
            r.n.sign = env->rounding == SOFTFLOAT_DOWN;
        return r;
    }
    if (a->kind == SF_ZERO)
        return *b;
    if (b->kind == SF_ZERO)
        return *a;
    r.n = sf_number_add(a->n, b->n);
    if (r.n.m == 0) {
        r.kind = SF_ZERO;
        r.n.sign = env->rounding == SOFTFLOAT_DOWN;
    }
    return r;
}

struct sf_value sf_value_mul(struct softfloat_env *env, const struct sf_value *a,
                             const struct sf_value *b)
{
    struct sf_value r = {.kind = SF_FINITE, .n.sign = a->n.sign ^ b->n.sign};

    if ((a->kind == SF_INFINITE && b->kind == SF_ZERO) ||
        (a->kind == SF_ZERO && b->kind == SF_INFINITE))
        return invalid(env);
    note_denormals(env, a, b);
    if (a->kind == SF_INFINITE || b->kind == SF_INFINITE)
        r.kind = SF_INFINITE;
    else if (a->kind == SF_ZERO || b->kind == SF_ZERO)
        r.kind = SF_ZERO;
    else
        r.n = sf_number_mul(a->n, b->n);
    return r;
}

struct sf_value sf_value_div(struct softfloat_env *env, const struct sf_value *a,
                             const struct sf_value *b)
{
    struct sf_value r = {.kind = SF_FINITE, .n.sign = a->n.sign ^ b->n.sign};

    if (a->kind == b->kind && a->kind != SF_FINITE)
        return invalid(env);
    if (a->kind == SF_FINITE && b->kind == SF_ZERO) {
        env->flags |= SOFTFLOAT_ZERO_DIVIDE;
        r.kind = SF_INFINITE;
        return r;
    }
    note_denormals(env, a, b);
    if (a->kind == SF_INFINITE)
        r.kind = SF_INFINITE;
    else if (a->kind == SF_ZERO || b->kind == SF_INFINITE)
        r.kind = SF_ZERO;
    else
        r.n = sf_number_div(a->n, b->n);
    return r;
}

struct sf_value sf_value_sqrt(struct softfloat_env *env, const struct sf_value *a)
{
    struct sf_value r = *a;

    if (a->kind == SF_ZERO)
        return r;
    if (a->n.sign)
        return invalid(env);
    note_denormals(env, a, a);
    if (a->kind == SF_FINITE)
        r.n = sf_number_sqrt(a->n);
    return r;
}

/* Compares magnitudes: -1, 0, 1. */
static int magnitude_relation(const struct sf_value *a, const struct sf_value *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1; /* zero, finite, infinite */
    if (a->kind != SF_FINITE)
        return 0;
    if (a->n.exp != b->n.exp)
        return a->n.exp < b->n.exp ? -1 : 1;
    return a->n.m < b->n.m ? -1 : a->n.m > b->n.m;
}

enum softfloat_relation sf_value_relation(const struct sf_value *a, const struct sf_value *b)
{
    int r;

    if (a->kind == SF_ZERO && b->kind == SF_ZERO)
        return SOFTFLOAT_EQUAL;
    if (a->n.sign != b->n.sign)
        return a->n.sign ? SOFTFLOAT_LESS : SOFTFLOAT_GREATER;
    r = magnitude_relation(a, b);
    return (enum softfloat_relation)(a->n.sign ? -r : r);
}

struct sf_rounded sf_round(const struct sf_number *n, unsigned precision, int32_t emin,
                           unsigned rounding)
{
    struct sf_rounded r = {.exp = n->exp};
    uint64_t unit = 1ull << (64 - precision), kept = ~(unit - 1);
    u128 m = n->m, rest;

    if (n->exp < emin) {
        /* Just below the least normal number, rounding may still reach it. */
        r.tiny = n->exp < emin - 1 || ~(uint64_t)(m >> 64) & kept ||
                 !sf_rounds_up(m << precision, true, n->sign, rounding);
        m = sf_shift_right_jam(m, (unsigned)(emin - n->exp));
        r.exp = emin;
    }
    r.sig = (uint64_t)(m >> 64) & kept;
    rest = m << precision;
    r.inexact = rest != 0;
    r.up = sf_rounds_up(rest, r.sig & unit, n->sign, rounding);
    if (r.up) {
        r.sig += unit;
        if (r.sig == 0) {
            r.sig = 1ull << 63;
            r.exp++;
        }
    }
    return r;
}

bool sf_to_magnitude(struct softfloat_env *env, const struct sf_value *v, unsigned rounding,
                     uint64_t limit, uint64_t *magnitude)
{
    u128 whole = 0, rest;

    *magnitude = 0;
    if (v->kind == SF_ZERO)
        return true;
    if (v->n.exp > 63)
        return false;
    if (v->n.exp >= 0) {
        whole = v->n.m >> (127 - v->n.exp);
        rest = v->n.m << (v->n.exp + 1);
    } else {
        rest = sf_shift_right_jam(v->n.m, (unsigned)(-1 - v->n.exp));
    }
    if (sf_rounds_up(rest, whole & 1, v->n.sign, rounding)) {
        whole++;
        env->rounded_up = true;
    }
    if (whole > limit) {
        env->rounded_up = false;
        return false;
    }
    if (rest != 0)
        env->flags |= SOFTFLOAT_INEXACT;
    *magnitude = (uint64_t)whole;
    return true;
}

int64_t sf_to_signed(struct softfloat_env *env, const struct sf_value *v, unsigned rounding,
                     unsigned bits)
{
    uint64_t limit = (1ull << (bits - 1)) - 1 + v->n.sign, magnitude;

    env->rounded_up = false;
    if (v->kind > SF_FINITE || !sf_to_magnitude(env, v, rounding, limit, &magnitude)) {
        env->flags |= SOFTFLOAT_INVALID;
        return -(int64_t)(1ull << (bits - 2)) * 2;
    }
    return (int64_t)(v->n.sign ? -magnitude : magnitude);
}

uint64_t sf_to_unsigned(struct softfloat_env *env, const struct sf_value *v, unsigned rounding,
                        unsigned bits)
{
    uint64_t max = UINT64_MAX >> (64 - bits), magnitude;

    env->rounded_up = false;
    if (v->kind > SF_FINITE ||
        !sf_to_magnitude(env, v, rounding, v->n.sign ? 0 : max, &magnitude)) {
        env->flags |= SOFTFLOAT_INVALID;
        return max;
    }
    return magnitude;
}

struct sf_value sf_from_magnitude(bool sign, uint64_t magnitude)
{
    struct sf_value v = {.n = {.m = magnitude, .exp = 127, .sign = sign}, .kind = SF_FINITE};

    if (magnitude == 0)
        v.kind = SF_ZERO;
    sf_normalise(&v.n);
    return v;
}

void sf_value_round_to_int(struct softfloat_env *env, struct sf_value *v, unsigned rounding,
                           bool suppress_inexact)
{
    uint8_t flags = env->flags;
    uint64_t magnitude;

    env->rounded_up = false;
    /* From 2^63 on everything that has 64 bits is integral. */
    if (v->kind != SF_FINITE || v->n.exp >= 63)
        return;
    sf_to_magnitude(env, v, rounding, UINT64_MAX, &magnitude);
    if (suppress_inexact)
        env->flags = flags;
    *v = sf_from_magnitude(v->n.sign, magnitude);
}
