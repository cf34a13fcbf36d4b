/*
 * x87 functions of the registers on top: signs, rounding, remainders, scaling, transcendental
 * functions, constants. Source: Intel SDM volume 2A, under each name; volume 1, 8.3.7 to 8.3.10.
 */
#include "cpu/ops/x87.h"

/* ---- Signs --------------------------------------------------------------------------------- */

static inline void set_sign(struct vcpu *cpu, const struct insn *i, uint16_t and, uint16_t xor)
{
    struct float80 *st = x87_st(cpu, 0);

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (unlikely(x87_empty(cpu, 0))) {
        x87_underflow(cpu, 0);
        return;
    }
    x87_settle(cpu, 0, 0);
    st->sign_exponent = (st->sign_exponent & and) ^ xor;
}

OP(fchs)
{
    set_sign(cpu, i, 0xffff, 0x8000);
    NEXT;
}

OP(fabs)
{
    set_sign(cpu, i, 0x7fff, 0);
    NEXT;
}

/* ---- One operand, one result ---------------------------------------------------------------- */

static uint16_t round_to_int(uint16_t control, struct float80 *r, const struct float80 *a)
{
    struct softfloat_env env = x87_env(control);

    *r = sf80_round_to_int(&env, *a);
    return x87_env_status(&env);
}

/* ranged: an operand out of range sets C2 and stays, else C2 is cleared. */
static inline void replace(struct vcpu *cpu, const struct insn *i, x87_unary_fn *fn, bool ranged)
{
    struct float80 r = {0};
    unsigned happened;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (ranged)
        cpu->x87.status &= (uint16_t)~SW_C2;
    if (unlikely(x87_empty(cpu, 0))) {
        x87_underflow(cpu, 0);
        return;
    }
    happened = fn(cpu->x87.control, &r, x87_st(cpu, 0));
    if (ranged && (happened & SW_C2)) {
        x87_settle(cpu, 0, 0);
        cpu->x87.status |= SW_C2;
    } else if (x87_settle(cpu, happened, X87_BLOCKING)) {
        *x87_st(cpu, 0) = r;
    }
}

OP(fsqrt)
{
    if (X87_FAST(cpu) && likely(!x87_empty(cpu, 0))) {
        x87_note(cpu, i);
        x87_settle_masked(cpu, x87_host_sqrt(x87_st(cpu, 0), x87_st(cpu, 0)));
    } else {
        replace(cpu, i, x87_soft_sqrt, false);
    }
    NEXT;
}

OP(frndint)
{
    replace(cpu, i, round_to_int, false);
    NEXT;
}

OP(f2xm1)
{
    replace(cpu, i, X87_FUNCTION(cpu, 2xm1), false);
    NEXT;
}

OP(fsin)
{
    replace(cpu, i, X87_FUNCTION(cpu, sin), true);
    NEXT;
}

OP(fcos)
{
    replace(cpu, i, X87_FUNCTION(cpu, cos), true);
    NEXT;
}

/* ---- One operand, two results ---------------------------------------------------------------- */

static uint16_t extract(uint16_t control, struct float80 *r, const struct float80 *a)
{
    struct softfloat_env env = x87_env(control);

    r[1] = sf80_extract(&env, *a, &r[0]);
    return x87_env_status(&env);
}

/* The first result replaces ST, the second is pushed. */
static inline void replace_and_push(struct vcpu *cpu, const struct insn *i, x87_unary_fn *fn,
                                    bool ranged)
{
    struct float80 r[2] = {SF80_DEFAULT_NAN, SF80_DEFAULT_NAN};
    unsigned happened;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (ranged)
        cpu->x87.status &= (uint16_t)~SW_C2;
    if (unlikely(x87_empty(cpu, 0)))
        happened = X87_UNDERFLOW;
    else if (unlikely(!x87_empty(cpu, 7)))
        happened = X87_OVERFLOW;
    else
        happened = fn(cpu->x87.control, r, x87_st(cpu, 0));
    if (ranged && (happened & SW_C2)) {
        x87_settle(cpu, 0, 0);
        cpu->x87.status |= SW_C2;
    } else if (x87_settle(cpu, happened, X87_BLOCKING)) {
        x87_set(cpu, 0, r[0]);
        x87_push(cpu, r[1]);
    }
}

OP(fptan)
{
    replace_and_push(cpu, i, X87_FUNCTION(cpu, ptan), true);
    NEXT;
}

OP(fsincos)
{
    replace_and_push(cpu, i, X87_FUNCTION(cpu, sincos), true);
    NEXT;
}

OP(fxtract)
{
    replace_and_push(cpu, i, extract, false);
    NEXT;
}

/* ---- Two operands ---------------------------------------------------------------------------- */

static uint16_t scale(uint16_t control, struct float80 *r, const struct float80 *a,
                      const struct float80 *b)
{
    struct softfloat_env env = x87_env(control);

    *r = sf80_scale(&env, *a, *b);
    return x87_env_status(&env);
}

/* ST(dest) = fn(ST, ST(1)). */
static inline void combine(struct vcpu *cpu, const struct insn *i, x87_binary_fn *fn, unsigned dest,
                           unsigned pops)
{
    struct float80 r;
    bool stands;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (unlikely(x87_empty(cpu, 0) || x87_empty(cpu, 1))) {
        stands = x87_underflow(cpu, dest);
    } else {
        stands =
            x87_settle(cpu, fn(cpu->x87.control, &r, x87_st(cpu, 0), x87_st(cpu, 1)), X87_BLOCKING);
        if (stands)
            *x87_st(cpu, dest) = r;
    }
    if (stands)
        x87_pop(cpu, pops);
}

OP(fscale)
{
    combine(cpu, i, scale, 0, 0);
    NEXT;
}

OP(fyl2x)
{
    combine(cpu, i, X87_FUNCTION(cpu, yl2x), 1, 1);
    NEXT;
}

OP(fyl2xp1)
{
    combine(cpu, i, X87_FUNCTION(cpu, yl2xp1), 1, 1);
    NEXT;
}

OP(fpatan)
{
    combine(cpu, i, X87_FUNCTION(cpu, patan), 1, 1);
    NEXT;
}

/* C2: the reduction is not complete; else C0, C3, C1 are bits 2, 1, 0 of the quotient. */
static inline void remainder_of(struct vcpu *cpu, const struct insn *i, bool nearest)
{
    struct softfloat_env env = x87_env(cpu->x87.control);
    struct float80 r;
    unsigned quotient, conditions;
    bool partial;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    cpu->x87.status &= (uint16_t)~SW_C2;
    if (unlikely(x87_empty(cpu, 0) || x87_empty(cpu, 1))) {
        x87_underflow(cpu, 0);
        return;
    }
    r = sf80_remainder(&env, *x87_st(cpu, 0), *x87_st(cpu, 1), nearest, &quotient, &partial);
    if (!x87_settle(cpu, env.flags, X87_BLOCKING))
        return;
    *x87_st(cpu, 0) = r;
    if ((r.sign_exponent & 0x7fff) == 0x7fff) /* a NaN: there is no quotient */
        return;
    conditions = (quotient & 4 ? SW_C0 : 0) | (quotient & 2 ? SW_C3 : 0) | (partial ? SW_C2 : 0);
    x87_set_conditions(cpu, conditions);
    if (quotient & 1)
        cpu->x87.status |= SW_C1;
}

OP(fprem)
{
    remainder_of(cpu, i, false);
    NEXT;
}

OP(fprem1)
{
    remainder_of(cpu, i, true);
    NEXT;
}

/* ---- Constants ------------------------------------------------------------------------------- */

/* Rounded to nearest; the other roundings may want a neighbour. */
struct constant {
    struct float80 value;
    int8_t down, up; /* added to the significand for rounding down or to zero, and up */
};

static const struct constant one = {{0x8000000000000000, 0x3fff}, 0, 0};
static const struct constant log2_10 = {{0xd49a784bcd1b8afe, 0x4000}, 0, 1};
static const struct constant log2_e = {{0xb8aa3b295c17f0bc, 0x3fff}, -1, 0};
static const struct constant pi = {{0xc90fdaa22168c235, 0x4000}, -1, 0};
static const struct constant log10_2 = {{0x9a209a84fbcff799, 0x3ffd}, -1, 0};
static const struct constant ln_2 = {{0xb17217f7d1cf79ac, 0x3ffe}, -1, 0};
static const struct constant zero = {{0, 0}, 0, 0};

static void load_constant(struct vcpu *cpu, const struct insn *i, const struct constant *c)
{
    struct float80 value = c->value;
    unsigned rounding = (cpu->x87.control & CW_RC) >> CW_RC_SHIFT;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (rounding == SOFTFLOAT_UP)
        value.significand += (uint64_t)c->up;
    else if (rounding != SOFTFLOAT_NEAREST)
        value.significand += (uint64_t)(int64_t)c->down;
    if (unlikely(!x87_empty(cpu, 7))) {
        if (x87_settle(cpu, X87_OVERFLOW, X87_BLOCKING))
            x87_push(cpu, SF80_DEFAULT_NAN);
        return;
    }
    x87_settle(cpu, 0, 0);
    x87_push(cpu, value);
}

#define CONSTANT(name, c)                                                                          \
    OP(name)                                                                                       \
    {                                                                                              \
        load_constant(cpu, i, &c);                                                                 \
        NEXT;                                                                                      \
    }

CONSTANT(fld1, one)
CONSTANT(fldl2t, log2_10)
CONSTANT(fldl2e, log2_e)
CONSTANT(fldpi, pi)
CONSTANT(fldlg2, log10_2)
CONSTANT(fldln2, ln_2)
CONSTANT(fldz, zero)
