#include "cpu/softfloat_avx512.h"

#include "base/bits.h"

const struct sfx_format sfx_single = {23, 31, 127}, sfx_double = {52, 63, 1023};

/* ---- Formats ------------------------------------------------------------------------------ */

static uint64_t fraction_mask(const struct sfx_format *f)
{
    return BIT64(f->fraction_bits) - 1;
}

static uint64_t sign_mask(const struct sfx_format *f)
{
    return BIT64(f->sign_bit);
}

static uint64_t infinity(const struct sfx_format *f)
{
    return (sign_mask(f) - 1) & ~fraction_mask(f);
}

static uint64_t quiet_bit(const struct sfx_format *f)
{
    return BIT64(f->fraction_bits - 1);
}

static uint64_t default_nan(const struct sfx_format *f)
{
    return sign_mask(f) | infinity(f) | quiet_bit(f);
}

/* 2^exponent, in the normal range. */
static uint64_t power(const struct sfx_format *f, int32_t exponent)
{
    return (uint64_t)(exponent + f->bias) << f->fraction_bits;
}

static uint64_t magnitude(const struct sfx_format *f, uint64_t a)
{
    return a & (sign_mask(f) - 1);
}

static bool is_nan(const struct sfx_format *f, uint64_t a)
{
    return magnitude(f, a) > infinity(f);
}

static bool is_signalling(const struct sfx_format *f, uint64_t a)
{
    return is_nan(f, a) && !(a & quiet_bit(f));
}

static bool is_infinite(const struct sfx_format *f, uint64_t a)
{
    return magnitude(f, a) == infinity(f);
}

static bool is_denormal(const struct sfx_format *f, uint64_t a)
{
    return magnitude(f, a) != 0 && magnitude(f, a) <= fraction_mask(f);
}

/* The operand as DAZ makes it. */
static uint64_t flushed(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a)
{
    return env->daz && is_denormal(f, a) ? a & sign_mask(f) : a;
}

/* A NaN operand as result. */
static uint64_t quieted(const struct sfx_format *f, struct softfloat_env *env, uint64_t a)
{
    if (is_signalling(f, a))
        env->flags |= SOFTFLOAT_INVALID;
    return a | quiet_bit(f);
}

static uint64_t invalid(const struct sfx_format *f, struct softfloat_env *env)
{
    env->flags |= SOFTFLOAT_INVALID;
    return default_nan(f);
}

/* A finite number but zero: significand with the leading bit at fraction_bits, and exponent. */
struct parts {
    uint64_t significand;
    int32_t exponent;
};

static struct parts take_apart(const struct sfx_format *f, uint64_t a)
{
    struct parts p = {a & fraction_mask(f),
                      (int32_t)(magnitude(f, a) >> f->fraction_bits) - f->bias};

    if (p.exponent != -f->bias) {
        p.significand |= BIT64(f->fraction_bits);
        return p;
    }
    p.exponent++;
    while (!(p.significand >> f->fraction_bits)) {
        p.significand <<= 1;
        p.exponent--;
    }
    return p;
}

static uint64_t from_i32(const struct sfx_format *f, struct softfloat_env *env, int32_t v)
{
    return f->sign_bit == 31 ? sf32_from_i32(env, v) : sf64_from_i32(env, v);
}

/* ---- Exponent and significand ------------------------------------------------------------- */

uint64_t sfx_getexp(const struct sfx_format *f, struct softfloat_env *env, uint64_t a)
{
    if (is_nan(f, a))
        return quieted(f, env, a);
    if (is_infinite(f, a))
        return infinity(f);
    a = flushed(f, env, a);
    if (magnitude(f, a) == 0)
        return sign_mask(f) | infinity(f);
    if (is_denormal(f, a))
        env->flags |= SOFTFLOAT_DENORMAL;
    return from_i32(f, env, take_apart(f, a).exponent);
}

uint64_t sfx_getmant(const struct sfx_format *f, struct softfloat_env *env, uint64_t a,
                     unsigned imm)
{
    uint64_t sign = imm & 4 ? 0 : a & sign_mask(f);
    struct parts p;
    bool down;

    if (is_nan(f, a))
        return quieted(f, env, a);
    a = flushed(f, env, a);
    if (magnitude(f, a) == 0)
        return sign | power(f, 0);
    if ((a & sign_mask(f)) && (imm & 8))
        return invalid(f, env);
    if (is_infinite(f, a))
        return sign | power(f, 0);
    if (is_denormal(f, a))
        env->flags |= SOFTFLOAT_DENORMAL;
    p = take_apart(f, a);
    switch (imm & 3) {
    case 0: /* [1, 2) */
        down = false;
        break;
    case 1: /* [1/2, 2) */
        down = p.exponent & 1;
        break;
    case 2: /* [1/2, 1) */
        down = true;
        break;
    default: /* [3/4, 3/2) */
        down = p.significand & quiet_bit(f);
        break;
    }
    return sign | power(f, down ? -1 : 0) | (p.significand & fraction_mask(f));
}

/* ---- Rounding to binary places ------------------------------------------------------------ */

static bool rounds_up(uint64_t rest, uint64_t half, bool odd, bool negative, unsigned rounding)
{
    switch (rounding) {
    case SOFTFLOAT_NEAREST:
        return rest > half || (rest == half && odd);
    case SOFTFLOAT_DOWN:
        return negative && rest != 0;
    case SOFTFLOAT_UP:
        return !negative && rest != 0;
    default:
        return false;
    }
}

/* a, finite, rounded to a multiple of 2^-places. */
static uint64_t round_places(const struct sfx_format *f, uint64_t a, int32_t places,
                             unsigned rounding, bool *inexact)
{
    uint64_t sign = a & sign_mask(f), kept, rest, half;
    struct parts p;
    int32_t drop;

    *inexact = false;
    if (magnitude(f, a) == 0)
        return a;
    p = take_apart(f, a);
    drop = (int32_t)f->fraction_bits - p.exponent - places; /* bits below 2^-places */
    if (drop <= 0)
        return a;
    *inexact = true;
    if (drop > (int32_t)f->fraction_bits + 1) /* less than a half */
        return rounds_up(1, 2, false, sign != 0, rounding) ? sign | power(f, -places) : sign;
    half = BIT64(drop - 1);
    rest = p.significand & (BIT64(drop) - 1);
    kept = p.significand >> drop;
    *inexact = rest != 0;
    kept += rounds_up(rest, half, kept & 1, sign != 0, rounding);
    if (kept == 0)
        return sign;
    p.exponent = (int32_t)(63 - __builtin_clzll(kept));
    return sign | power(f, p.exponent - places) |
           (kept << (f->fraction_bits - (unsigned)p.exponent) & fraction_mask(f));
}

static unsigned rounding_of(const struct softfloat_env *env, unsigned imm)
{
    return imm & 4 ? env->rounding : imm & 3;
}

uint64_t sfx_rndscale(const struct sfx_format *f, struct softfloat_env *env, uint64_t a,
                      unsigned imm)
{
    bool inexact;

    if (is_nan(f, a))
        return quieted(f, env, a);
    if (is_infinite(f, a))
        return a;
    a = round_places(f, flushed(f, env, a), (int32_t)(imm >> 4), rounding_of(env, imm), &inexact);
    if (inexact && !(imm & 8))
        env->flags |= SOFTFLOAT_INEXACT;
    return a;
}

uint64_t sfx_reduce(const struct sfx_format *f, struct softfloat_env *env, uint64_t a, unsigned imm)
{
    struct softfloat_env plain = {.rounding = (uint8_t)rounding_of(env, imm)};
    uint64_t rounded;
    bool inexact;

    if (is_nan(f, a))
        return quieted(f, env, a);
    if (is_infinite(f, a))
        return 0;
    a = flushed(f, env, a);
    rounded = round_places(f, a, (int32_t)(imm >> 4), plain.rounding, &inexact);
    if (inexact && !(imm & 8))
        env->flags |= SOFTFLOAT_INEXACT;
    a = f->sign_bit == 31 ? sf32_sub(&plain, (uint32_t)a, (uint32_t)rounded)
                          : sf64_sub(&plain, a, rounded);
    return env->ftz && !(env->unmasked & SOFTFLOAT_UNDERFLOW) && is_denormal(f, a)
               ? a & sign_mask(f)
               : a;
}

/* ---- Range, scale ------------------------------------------------------------------------- */

/* a <= b; -0 is less than +0. */
static bool less_or_equal(const struct sfx_format *f, uint64_t a, uint64_t b)
{
    bool negative = a & sign_mask(f);

    if ((a ^ b) & sign_mask(f))
        return negative;
    return negative ? magnitude(f, a) >= magnitude(f, b) : magnitude(f, a) <= magnitude(f, b);
}

static uint64_t pick(const struct sfx_format *f, uint64_t a, uint64_t b, unsigned imm)
{
    bool lower = less_or_equal(f, a, b);

    /* Of equal magnitudes the negative one is the minimum. */
    if ((imm & 2) && magnitude(f, a) != magnitude(f, b))
        lower = magnitude(f, a) < magnitude(f, b);
    return lower ^ (imm & 1) ? a : b;
}

uint64_t sfx_range(const struct sfx_format *f, struct softfloat_env *env, uint64_t a, uint64_t b,
                   unsigned imm)
{
    uint64_t sign, r;

    if (is_signalling(f, a))
        return quieted(f, env, a);
    if (is_signalling(f, b))
        return quieted(f, env, b);
    a = flushed(f, env, a);
    b = flushed(f, env, b);
    if (is_nan(f, b)) {
        r = a;
    } else if (is_nan(f, a)) {
        r = b;
    } else {
        if (is_denormal(f, a) || is_denormal(f, b))
            env->flags |= SOFTFLOAT_DENORMAL;
        r = pick(f, a, b, imm);
    }
    switch (imm >> 2 & 3) {
    case 0:
        sign = a & sign_mask(f);
        break;
    case 1:
        return r;
    case 2:
        sign = 0;
        break;
    default:
        sign = sign_mask(f);
        break;
    }
    return magnitude(f, r) | sign;
}

/* floor(b), as far as it matters. */
static int32_t floor_of(const struct sfx_format *f, uint64_t b)
{
    const int32_t limit = 1 << 16;
    struct parts p;
    int64_t v;

    if (magnitude(f, b) == 0)
        return 0;
    p = take_apart(f, b);
    if (p.exponent > 15)
        return b & sign_mask(f) ? -limit : limit;
    if (p.exponent < 0)
        return b & sign_mask(f) ? -1 : 0;
    v = (int64_t)(p.significand >> (f->fraction_bits - (unsigned)p.exponent));
    if ((b & sign_mask(f)) &&
        (p.significand & (BIT64(f->fraction_bits - (unsigned)p.exponent) - 1)))
        v++;
    return (int32_t)(b & sign_mask(f) ? -v : v);
}

/* a * 2^exponent of a finite a, rounded once: the last step is a multiplication that may leave the
 * range, the ones before are exact. */
static uint64_t scale(const struct sfx_format *f, struct softfloat_env *env, uint64_t a,
                      int32_t exponent)
{
    const int32_t limit = 4 * f->bias;
    struct parts p = take_apart(f, a);
    uint64_t number, factor;

    exponent = exponent > limit ? limit : exponent < -limit ? -limit : exponent;
    exponent += p.exponent;
    if (is_denormal(f, a))
        env->flags |= SOFTFLOAT_DENORMAL;
    /* number: in [1, 2), or near the end of the range that the exponent lies beyond. */
    number = (a & sign_mask(f)) | power(f, 0) | (p.significand & fraction_mask(f));
    if (exponent > f->bias) {
        number += (uint64_t)f->bias << f->fraction_bits;
        exponent = exponent - f->bias > f->bias ? f->bias : exponent - f->bias;
    } else if (exponent < 1 - f->bias) {
        number -= (uint64_t)(f->bias - 1) << f->fraction_bits;
        exponent += f->bias - 1;
        if (exponent < 2 - f->bias)
            exponent = 2 - f->bias;
    }
    factor = power(f, exponent);
    return f->sign_bit == 31 ? sf32_mul(env, (uint32_t)number, (uint32_t)factor)
                             : sf64_mul(env, number, factor);
}

uint64_t sfx_scalef(const struct sfx_format *f, struct softfloat_env *env, uint64_t a, uint64_t b)
{
    bool shrinks = b & sign_mask(f);

    a = flushed(f, env, a);
    b = flushed(f, env, b);
    if (is_nan(f, a)) {
        if (is_signalling(f, b))
            env->flags |= SOFTFLOAT_INVALID;
        if (!is_signalling(f, a) && is_infinite(f, b))
            return shrinks ? 0 : infinity(f);
        return quieted(f, env, a);
    }
    if (is_nan(f, b))
        return quieted(f, env, b);
    if (is_infinite(f, b)) {
        if (shrinks ? is_infinite(f, a) : magnitude(f, a) == 0)
            return invalid(f, env);
        if (is_denormal(f, a))
            env->flags |= SOFTFLOAT_DENORMAL;
        return (a & sign_mask(f)) | (shrinks ? 0 : infinity(f));
    }
    if (is_infinite(f, a) || magnitude(f, a) == 0)
        return a;
    return scale(f, env, a, floor_of(f, b));
}

/* ---- Classes ------------------------------------------------------------------------------ */

enum fixup_class {
    FIXUP_QNAN,
    FIXUP_SNAN,
    FIXUP_ZERO,
    FIXUP_ONE,
    FIXUP_NEGATIVE_INFINITY,
    FIXUP_POSITIVE_INFINITY,
    FIXUP_NEGATIVE,
    FIXUP_POSITIVE,
};

static enum fixup_class fixup_class(const struct sfx_format *f, uint64_t a)
{
    bool negative = a & sign_mask(f);

    if (is_nan(f, a))
        return is_signalling(f, a) ? FIXUP_SNAN : FIXUP_QNAN;
    if (magnitude(f, a) == 0)
        return FIXUP_ZERO;
    if (a == power(f, 0))
        return FIXUP_ONE;
    if (is_infinite(f, a))
        return negative ? FIXUP_NEGATIVE_INFINITY : FIXUP_POSITIVE_INFINITY;
    return negative ? FIXUP_NEGATIVE : FIXUP_POSITIVE;
}

static void fixup_flags(struct softfloat_env *env, enum fixup_class class, unsigned imm)
{
    static const uint8_t invalid_bits[] = {
        [FIXUP_QNAN] = 0,
        [FIXUP_SNAN] = BIT(4),
        [FIXUP_ZERO] = BIT(1),
        [FIXUP_ONE] = BIT(3),
        [FIXUP_NEGATIVE_INFINITY] = BIT(5),
        [FIXUP_POSITIVE_INFINITY] = BIT(7),
        [FIXUP_NEGATIVE] = BIT(6),
        [FIXUP_POSITIVE] = 0,
    };

    if (imm & invalid_bits[class])
        env->flags |= SOFTFLOAT_INVALID;
    if ((class == FIXUP_ZERO && (imm & BIT(0))) || (class == FIXUP_ONE && (imm & BIT(2))))
        env->flags |= SOFTFLOAT_ZERO_DIVIDE;
}

uint64_t sfx_fixup(const struct sfx_format *f, struct softfloat_env *env, uint64_t destination,
                   uint64_t a, uint32_t table, unsigned imm)
{
    enum fixup_class class;
    uint64_t sign = sign_mask(f);

    a = flushed(f, env, a);
    class = fixup_class(f, a);
    fixup_flags(env, class, imm);
    switch (table >> (4 * class) & 15) {
    case 0:
        return destination;
    case 1:
        return a;
    case 2: /* a number becomes a NaN, too */
        return a | infinity(f) | quiet_bit(f);
    case 3:
        return default_nan(f);
    case 4:
        return sign | infinity(f);
    case 5:
        return infinity(f);
    case 6:
        return (a & sign) | infinity(f);
    case 7:
        return sign;
    case 8:
        return 0;
    case 9:
        return sign | power(f, 0);
    case 10:
        return power(f, 0);
    case 11:
        return power(f, -1);
    case 12: /* 90 = 1.40625 * 2^6 */
        return power(f, 6) | 13ull << (f->fraction_bits - 5);
    case 13: /* pi / 2 */
        return f->sign_bit == 31 ? 0x3fc90fdb : 0x3ff921fb54442d18;
    case 14:
        return infinity(f) - 1;
    default:
        return sign | (infinity(f) - 1);
    }
}

bool sfx_class(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a,
               unsigned imm)
{
    bool negative = a & sign_mask(f);

    a = flushed(f, env, a);
    if (is_nan(f, a))
        return imm & (is_signalling(f, a) ? BIT(7) : BIT(0));
    if (magnitude(f, a) == 0)
        return imm & (negative ? BIT(2) : BIT(1));
    if (is_infinite(f, a))
        return imm & (negative ? BIT(4) : BIT(3));
    return ((imm & BIT(5)) && is_denormal(f, a)) || ((imm & BIT(6)) && negative);
}

/* ---- Approximations ----------------------------------------------------------------------- */

/*
 * The significand of the result, 16 bits, comes from one line for each 64th part of the operands:
 * (base * 128 - slope * x) / 512, where x is the next ten bits of the operand's significand. The
 * lines were measured on a processor by AMD: each is the only one, with integers of this size, that
 * goes through all 1024 results of its part. Published tables of Intel's results are the same, all
 * of them those of a program that SDM 2C refers to ("VRCP14PS", "VRSQRT14PS").
 */
struct line {
    uint32_t base;
    uint16_t slope;
};

/* Of 1 / a, for a between 1 and 2. */
static const struct line reciprocals[64] = {
    {262130, 1009}, {254060, 977}, {246244, 949}, {238656, 921}, {231286, 893}, {224142, 869},
    {217190, 843},  {210444, 821}, {203876, 797}, {197496, 777}, {191280, 755}, {185236, 735},
    {179352, 717},  {173622, 699}, {168034, 681}, {162584, 663}, {157278, 647}, {152098, 631},
    {147052, 617},  {142118, 601}, {137306, 587}, {132606, 573}, {128020, 561}, {123530, 547},
    {119148, 535},  {114864, 523}, {110682, 513}, {106580, 501}, {102574, 491}, {98650, 479},
    {94812, 469},   {91054, 459},  {87380, 451},  {83774, 441},  {80248, 433},  {76784, 423},
    {73396, 415},   {70074, 407},  {66816, 399},  {63622, 391},  {60496, 385},  {57418, 377},
    {54402, 369},   {51446, 363},  {48546, 357},  {45690, 349},  {42892, 343},  {40144, 337},
    {37446, 331},   {34794, 325},  {32188, 319},  {29636, 315},  {27116, 309},  {24642, 303},
    {22216, 299},   {19822, 293},  {17476, 289},  {15166, 285},  {12890, 279},  {10662, 275},
    {8466, 271},    {6302, 267},   {4170, 263},   {2070, 259},
};

/* Of 1 / sqrt(a), for a between 1 and 2, and between 2 and 4. */
static const struct line roots[2][32] = {
    {
        {262121, 1001}, {254113, 955}, {246469, 915}, {239154, 877}, {232142, 841}, {225415, 807},
        {218957, 775},  {212753, 747}, {206778, 719}, {201025, 693}, {195479, 669}, {190132, 647},
        {184962, 625},  {179962, 603}, {175135, 585}, {170459, 567}, {165927, 549}, {161539, 533},
        {157279, 517},  {153144, 501}, {149133, 487}, {145235, 473}, {141448, 461}, {137763, 449},
        {134175, 437},  {130683, 425}, {127286, 415}, {123966, 403}, {120735, 393}, {117590, 385},
        {114511, 375},  {111514, 367},
    },
    {
        {108565, 707}, {102905, 675}, {97500, 647}, {92324, 619}, {87372, 595}, {82615, 571},
        {78049, 549},  {73657, 527},  {69437, 509}, {65371, 491}, {61445, 473}, {57661, 457},
        {54005, 441},  {50474, 427},  {47057, 413}, {43755, 401}, {40551, 389}, {37443, 377},
        {34431, 365},  {31513, 355},  {28675, 345}, {25918, 335}, {23236, 325}, {20632, 317},
        {18098, 309},  {15629, 301},  {13223, 293}, {10878, 285}, {8597, 279},  {6365, 271},
        {4192, 265},   {2070, 259},
    },
};

/* The 16 bits below the leading one of the result, for operand bits `index`. */
static uint64_t on_line(const struct line *lines, uint64_t index)
{
    const struct line *l = &lines[index >> 10];

    return (l->base * 128 - l->slope * (uint32_t)(index & 1023)) >> 9;
}

/* 2^exponent * 1.fraction, of 16 bits; those get lost neither by rounding nor by underflow. */
static uint64_t approximation(const struct sfx_format *f, const struct softfloat_env *env,
                              int32_t exponent, uint64_t fraction)
{
    uint64_t significand = (BIT64(16) | fraction) << (f->fraction_bits - 16);

    if (exponent > f->bias)
        return infinity(f);
    if (exponent > -f->bias)
        return power(f, exponent) + (significand & fraction_mask(f));
    return env->ftz ? 0 : significand >> (1 - f->bias - exponent);
}

uint64_t sfx_rcp14(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a)
{
    uint64_t sign = a & sign_mask(f), fraction;
    struct parts p;

    if (is_nan(f, a))
        return a | quiet_bit(f);
    a = flushed(f, env, a);
    if (magnitude(f, a) == 0)
        return sign | infinity(f);
    if (is_infinite(f, a))
        return sign;
    p = take_apart(f, a);
    fraction = p.significand & fraction_mask(f);
    if (fraction == 0) /* a power of two */
        return sign | approximation(f, env, -p.exponent, 0);
    return sign | approximation(f, env, -p.exponent - 1,
                                on_line(reciprocals, fraction >> (f->fraction_bits - 16)));
}

uint64_t sfx_rsqrt14(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a)
{
    uint64_t fraction;
    struct parts p;
    bool odd;

    if (is_nan(f, a))
        return a | quiet_bit(f);
    a = flushed(f, env, a);
    if (magnitude(f, a) == 0)
        return a | infinity(f);
    if (a & sign_mask(f))
        return default_nan(f);
    if (is_infinite(f, a))
        return 0;
    p = take_apart(f, a);
    odd = p.exponent & 1;
    p.exponent = (p.exponent - odd) / 2;
    fraction = p.significand & fraction_mask(f);
    if (fraction == 0 && !odd)
        return approximation(f, env, -p.exponent, 0);
    return approximation(f, env, -p.exponent - 1,
                         on_line(roots[odd], fraction >> (f->fraction_bits - 15)));
}
