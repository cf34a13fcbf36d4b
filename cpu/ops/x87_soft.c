/*
 * x87 arithmetic on cpu/softfloat.h: special operands of the transcendental functions, and their
 * finite ones through cpu/softfloat_series.h.
 * Source: Intel SDM volume 2, tables of "FYL2X", "FYL2XP1", "FPATAN", "FSIN", "F2XM1".
 */
#include "cpu/ops/x87_unit.h"
#include "cpu/softfloat_series.h"

struct softfloat_env x87_env(uint16_t control)
{
    static const uint8_t precisions[] = {24, 64, 53, 64};

    return (struct softfloat_env){
        .rounding = (control & CW_RC) >> CW_RC_SHIFT,
        .precision = precisions[(control & CW_PC) >> CW_PC_SHIFT],
        .unmasked = ~control & CW_MASKS,
    };
}

uint16_t x87_env_status(const struct softfloat_env *env)
{
    return env->flags | (env->rounded_up ? SW_C1 : 0);
}

#define ARITHMETIC(name)                                                                           \
    uint16_t x87_soft_##name(uint16_t control, struct float80 *r, const struct float80 *a,         \
                             const struct float80 *b)                                              \
    {                                                                                              \
        struct softfloat_env env = x87_env(control);                                               \
        *r = sf80_##name(&env, *a, *b);                                                            \
        return x87_env_status(&env);                                                               \
    }

ARITHMETIC(add)
ARITHMETIC(sub)
ARITHMETIC(mul)
ARITHMETIC(div)

uint16_t x87_soft_sqrt(uint16_t control, struct float80 *r, const struct float80 *a)
{
    struct softfloat_env env = x87_env(control);

    *r = sf80_sqrt(&env, *a);
    return x87_env_status(&env);
}

/* --- Results by kind --- */

static struct sf_value invalid(struct softfloat_env *env)
{
    env->flags |= SOFTFLOAT_INVALID;
    return (struct sf_value){.kind = SF_QNAN};
}

static struct sf_value special(enum sf_kind kind, bool sign)
{
    return (struct sf_value){.kind = kind, .n.sign = sign};
}

static struct sf_value finite_value(struct sf_number n)
{
    return (struct sf_value){.kind = n.m == 0 ? SF_ZERO : SF_FINITE, .n = n};
}

static struct sf_value angle(unsigned quarters, bool sign)
{
    struct sf_value v = finite_value(sf_pi_quarters(quarters));

    v.n.sign = sign;
    return v;
}

static void note_denormals(struct softfloat_env *env, const struct sf_value *a,
                           const struct sf_value *b)
{
    if (a->denormal || b->denormal)
        env->flags |= SOFTFLOAT_DENORMAL;
}

/* y times a logarithm that is marked as inexact, or 0. */
static struct sf_value scale_logarithm(const struct sf_value *y, struct sf_number logarithm)
{
    struct sf_value v = finite_value(logarithm);

    if (v.kind == SF_FINITE) {
        v.n = sf_multiply(logarithm, y->n);
        v.n.m |= logarithm.m & 1;
    } else {
        v.n.sign ^= y->n.sign;
    }
    return v;
}

/* --- Functions of two operands; neither is a NaN --- */

/* y * log2(x) */
static struct sf_value yl2x(struct softfloat_env *env, const struct sf_value *x,
                            const struct sf_value *y)
{
    static const struct sf_value one = {.n = {.m = (u128)1 << 127}, .kind = SF_FINITE};
    bool sign = y->n.sign;
    enum softfloat_relation to_one;

    if (x->kind != SF_ZERO && x->n.sign)
        return invalid(env);
    if (x->kind == SF_ZERO) {
        if (y->kind == SF_ZERO)
            return invalid(env);
        if (y->kind == SF_FINITE)
            env->flags |= SOFTFLOAT_ZERO_DIVIDE;
        return special(SF_INFINITE, !sign);
    }
    to_one = sf_value_relation(x, &one);
    if ((x->kind == SF_INFINITE && y->kind == SF_ZERO) ||
        (y->kind == SF_INFINITE && to_one == SOFTFLOAT_EQUAL))
        return invalid(env);
    note_denormals(env, x, y);
    if (y->kind == SF_FINITE && x->kind == SF_FINITE)
        return scale_logarithm(y, sf_log2(x->n));
    sign ^= to_one == SOFTFLOAT_LESS;
    return special(y->kind == SF_ZERO ? SF_ZERO : SF_INFINITE, sign);
}

/* y * log2(x + 1) */
static struct sf_value yl2xp1(struct softfloat_env *env, const struct sf_value *x,
                              const struct sf_value *y)
{
    bool sign = x->n.sign ^ y->n.sign;

    if ((x->kind == SF_ZERO && y->kind == SF_INFINITE) ||
        (x->kind == SF_INFINITE && (y->kind == SF_ZERO || x->n.sign)))
        return invalid(env);
    /* -1 and below are outside the documented range. */
    if (x->kind == SF_FINITE && x->n.sign && x->n.exp >= 0)
        return invalid(env);
    note_denormals(env, x, y);
    if (x->kind == SF_FINITE && y->kind == SF_FINITE)
        return scale_logarithm(y, sf_log2p1(x->n));
    if (x->kind == SF_ZERO || y->kind == SF_ZERO)
        return special(SF_ZERO, sign);
    return special(SF_INFINITE, sign);
}

/* arctan(y / x), in the quadrant of (x, y) */
static struct sf_value patan(struct softfloat_env *env, const struct sf_value *x,
                             const struct sf_value *y)
{
    bool sign = y->n.sign, left = x->n.sign;

    note_denormals(env, x, y);
    if (y->kind == SF_INFINITE)
        return angle(x->kind != SF_INFINITE ? 2 : left ? 3 : 1, sign);
    if (y->kind == SF_ZERO || x->kind == SF_INFINITE)
        return left ? angle(4, sign) : special(SF_ZERO, sign);
    if (x->kind == SF_ZERO)
        return angle(2, sign);
    return finite_value(sf_atan2(y->n, x->n));
}

#define TWO_OPERANDS(name)                                                                         \
    uint16_t x87_soft_##name(uint16_t control, struct float80 *r, const struct float80 *a,         \
                             const struct float80 *b)                                              \
    {                                                                                              \
        struct softfloat_env env = x87_env(control);                                               \
        struct sf_value va = sf80_unpack(*a), vb = sf80_unpack(*b), v;                             \
        if (sf_is_nan(&va) || sf_is_nan(&vb)) {                                                    \
            *r = sf80_propagate(&env, *a, *b);                                                     \
            return x87_env_status(&env);                                                           \
        }                                                                                          \
        v = name(&env, &va, &vb);                                                                  \
        *r = sf80_finish(&env, &v, 64);                                                            \
        return x87_env_status(&env);                                                               \
    }

TWO_OPERANDS(yl2x)
TWO_OPERANDS(yl2xp1)
TWO_OPERANDS(patan)

/* --- Functions of one operand --- */

uint16_t x87_soft_2xm1(uint16_t control, struct float80 *r, const struct float80 *a)
{
    struct softfloat_env env = x87_env(control);
    struct sf_value v = sf80_unpack(*a);

    if (sf_is_nan(&v)) {
        *r = sf80_propagate(&env, *a, *a);
        return x87_env_status(&env);
    }
    note_denormals(&env, &v, &v);
    if (v.kind == SF_INFINITE && v.n.sign) {
        v = sf_from_magnitude(true, 1);
    } else if (v.kind == SF_FINITE && v.n.exp == 0 && v.n.sign && v.n.m << 1 == 0) {
        v.n.exp = -1; /* 2^-1 - 1 */
    } else if (v.kind == SF_FINITE && v.n.exp < 0) {
        v.n = sf_exp2m1(v.n);
    } /* else 0, 1 and infinity are their own results; beyond 1 there is none: the operand stays */
    *r = sf80_finish(&env, &v, 64);
    return x87_env_status(&env);
}

enum trigonometric { SINE, COSINE, TANGENT, SINE_AND_COSINE };

static uint16_t trigonometric(uint16_t control, struct float80 *r, const struct float80 *a,
                              enum trigonometric what)
{
    struct softfloat_env env = x87_env(control);
    struct sf_value v = sf80_unpack(*a), s = v, c = sf_from_magnitude(false, 1);
    struct sf_number sine, cosine;
    uint16_t status;

    if (sf_is_nan(&v) || v.kind == SF_INFINITE) {
        if (v.kind == SF_INFINITE)
            env.flags |= SOFTFLOAT_INVALID;
        r[0] = v.kind == SF_INFINITE ? SF80_DEFAULT_NAN : sf80_propagate(&env, *a, *a);
        if (what == SINE_AND_COSINE || what == TANGENT)
            r[1] = r[0];
        return x87_env_status(&env);
    }
    if (v.kind == SF_FINITE && v.n.exp >= 63)
        return SW_C2;
    note_denormals(&env, &v, &v);
    if (v.kind == SF_FINITE) {
        sf_sincos(v.n, &sine, &cosine);
        s = finite_value(what == TANGENT ? sf_tan(v.n) : sine);
        c = finite_value(cosine);
    }
    r[0] = sf80_finish(&env, what == COSINE ? &c : &s, 64);
    status = x87_env_status(&env);
    if (what == TANGENT)
        r[1] = (struct float80){BIT64(63), 0x3fff};
    if (what == SINE_AND_COSINE) {
        /* C1 tells of the last one rounded. */
        r[1] = sf80_finish(&env, &c, 64);
        status = x87_env_status(&env);
    }
    return status;
}

uint16_t x87_soft_sin(uint16_t control, struct float80 *r, const struct float80 *a)
{
    return trigonometric(control, r, a, SINE);
}

uint16_t x87_soft_cos(uint16_t control, struct float80 *r, const struct float80 *a)
{
    return trigonometric(control, r, a, COSINE);
}

uint16_t x87_soft_ptan(uint16_t control, struct float80 *r, const struct float80 *a)
{
    return trigonometric(control, r, a, TANGENT);
}

uint16_t x87_soft_sincos(uint16_t control, struct float80 *r, const struct float80 *a)
{
    return trigonometric(control, r, a, SINE_AND_COSINE);
}
