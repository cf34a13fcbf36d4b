#include "cpu/softfloat_series.h"

#define U128(high, low) ((u128)(high) << 64 | (low))

static const struct sf_number one = {U128(0x8000000000000000, 0), 0, false};
static const struct sf_number two = {U128(0x8000000000000000, 0), 1, false};
static const struct sf_number ln2 = {U128(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af), -1, false};
static const struct sf_number log2_e = {U128(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88), 0, false};
static const struct sf_number pi = {U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), 1, false};

/* arctan(n / 8) */
static const struct sf_number arctan_eighths[9] = {
    {0},
    {U128(0xfeadd4d5617b6e32, 0xc897989f3e888ef7), -4, false},
    {U128(0xfadbafc96406eb15, 0x6dc79ef5f7a217e5), -3, false},
    {U128(0xb7b0ca0f26f78473, 0x8aa32122dcfe4483), -2, false},
    {U128(0xed63382b0dda7b45, 0x6fe445ecbc3a8d03), -2, false},
    {U128(0x8f005d5ef7f59f9b, 0x5c835e1665c43747), -1, false},
    {U128(0xa4bc7d1934f70924, 0x19a87f2a457dac9e), -1, false},
    {U128(0xb8053e2bc2319e73, 0xcb2da55210a4443d), -1, false},
    {U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), -1, false},
};

/* pi / 2 is 66 bits of pi, in units of 2^-65: the constant of the x87's argument reduction. */
#define HALF_PI_66        U128(0x3, 0x243f6a8885a308d3)
#define HALF_PI_UNIT_LOG2 65

struct sf_number sf_multiply(struct sf_number a, struct sf_number b)
{
    uint64_t a1 = (uint64_t)(a.m >> 64), a0 = (uint64_t)a.m;
    uint64_t b1 = (uint64_t)(b.m >> 64), b0 = (uint64_t)b.m;
    u128 low = (u128)a0 * b0, x = (u128)a1 * b0, y = (u128)a0 * b1;
    u128 middle = (low >> 64) + (uint64_t)x + (uint64_t)y;
    struct sf_number r = {
        .m = (u128)a1 * b1 + (x >> 64) + (y >> 64) + (middle >> 64),
        .exp = a.exp + b.exp + 1,
        .sign = a.sign ^ b.sign,
    };

    /* One bit more of the product if the upper half is not normalised. */
    if (r.m != 0 && !(r.m >> 127)) {
        r.m = r.m << 1 | ((middle >> 63) & 1);
        r.exp--;
    }
    return r;
}

static struct sf_number divide(struct sf_number a, struct sf_number b)
{
    struct sf_number r = {.exp = a.exp - b.exp, .sign = a.sign ^ b.sign};
    u128 rest = a.m;
    bool carry = false;

    if (rest < b.m) {
        carry = rest >> 127;
        rest <<= 1;
        r.exp--;
    }
    for (int n = 0; n < 128; n++) {
        r.m <<= 1;
        if (carry || rest >= b.m) {
            rest -= b.m;
            r.m |= 1;
        }
        carry = rest >> 127;
        rest <<= 1;
    }
    return r;
}

static struct sf_number divide_small(struct sf_number a, unsigned n)
{
    a.m /= n;
    sf_normalise(&a);
    return a;
}

static struct sf_number negate(struct sf_number a)
{
    a.sign ^= 1;
    return a;
}

static struct sf_number subtract(struct sf_number a, struct sf_number b)
{
    return sf_number_add(a, negate(b));
}

static struct sf_number mark_inexact(struct sf_number a)
{
    a.m |= 1;
    return a;
}

/*
 * first + sum of terms, where term k is term k - 1 times x divided by divisor(k). The first two
 * terms are always taken: the second gives the direction of a result that is all but the first.
 */
static struct sf_number sum_series(struct sf_number first, struct sf_number x,
                                   unsigned (*divisor)(unsigned k))
{
    struct sf_number sum = first, term = first;

    for (unsigned k = 1; k < 64; k++) {
        term = divide_small(sf_multiply(term, x), divisor(k));
        sum = sf_number_add(sum, term);
        if (term.exp < sum.exp - 128)
            break;
    }
    return sum;
}

/* Sum of first * x^k / (2k + 1). */
static struct sf_number sum_odd(struct sf_number first, struct sf_number x)
{
    struct sf_number sum = first, power = first;

    for (unsigned k = 1; k < 64; k++) {
        struct sf_number term;

        power = sf_multiply(power, x);
        term = divide_small(power, 2 * k + 1);
        sum = sf_number_add(sum, term);
        if (term.exp < sum.exp - 128)
            break;
    }
    return sum;
}

static unsigned divisor_exp(unsigned k)
{
    return k + 1;
}

static unsigned divisor_sin(unsigned k)
{
    return 2 * k * (2 * k + 1);
}

static unsigned divisor_cos(unsigned k)
{
    return 2 * k * (2 * k - 1);
}

struct sf_number sf_exp2m1(struct sf_number x)
{
    struct sf_number y = sf_multiply(x, ln2);

    return mark_inexact(sum_series(y, y, divisor_exp));
}

/* log2((1 + s) / (1 - s)) = 2 artanh(s) / ln 2 */
static struct sf_number log2_ratio(struct sf_number s)
{
    struct sf_number r = sf_multiply(sum_odd(s, sf_multiply(s, s)), log2_e);

    r.exp++;
    return mark_inexact(r);
}

struct sf_number sf_log2(struct sf_number x)
{
    struct sf_number whole, part;

    whole = sf_from_magnitude(x.exp < 0, (uint64_t)(x.exp < 0 ? -(int64_t)x.exp : x.exp)).n;
    x.exp = 0;
    /* sqrt(2) and above: take half, so that the logarithm stays within half of 0. */
    if (x.m >= U128(0xb504f333f9de6484, 0)) {
        x.exp--;
        whole = whole.m != 0 ? sf_number_add(whole, one) : one;
    }
    part = subtract(x, one);
    if (part.m == 0)
        return whole;
    part = log2_ratio(divide(part, sf_number_add(x, one)));
    return whole.m != 0 ? mark_inexact(sf_number_add(whole, part)) : part;
}

struct sf_number sf_log2p1(struct sf_number x)
{
    /* From 1/4 on there is nothing to lose in 1 + x. */
    if (x.exp >= -2)
        return sf_log2(sf_number_add(one, x));
    return log2_ratio(divide(x, sf_number_add(two, x)));
}

/* arctan(t) for 0 < t <= 1 */
static struct sf_number arctan(struct sf_number t)
{
    struct sf_number center, rest = t, square;
    unsigned eighths = 0;

    if (t.exp >= -4)
        eighths = (unsigned)((t.m >> (123 - t.exp)) + 1) >> 1;
    if (eighths != 0) {
        center = sf_from_magnitude(false, eighths).n;
        center.exp -= 3;
        rest = subtract(t, center);
        if (rest.m == 0)
            return arctan_eighths[eighths];
        rest = divide(rest, sf_number_add(one, sf_multiply(t, center)));
    }
    square = sf_multiply(rest, rest);
    rest = sum_odd(rest, negate(square));
    return eighths != 0 ? sf_number_add(arctan_eighths[eighths], rest) : rest;
}

struct sf_number sf_atan2(struct sf_number y, struct sf_number x)
{
    bool negative_y = y.sign, negative_x = x.sign, steep;
    struct sf_number r;

    x.sign = y.sign = false;
    steep = y.exp > x.exp || (y.exp == x.exp && y.m > x.m);
    r = arctan(steep ? divide(x, y) : divide(y, x));
    if (steep)
        r = subtract(sf_pi_quarters(2), r);
    if (negative_x)
        r = subtract(pi, r);
    r.sign = negative_y;
    return mark_inexact(r);
}

struct sf_number sf_pi_quarters(unsigned quarters)
{
    struct sf_number r = pi;

    r.exp -= 2;
    if (quarters == 3)
        return mark_inexact(subtract(pi, r));
    r.exp += quarters == 4 ? 2 : (int32_t)quarters - 1;
    return mark_inexact(r);
}

/* x = quadrant * pi/2 + the rest returned, which is at most pi/4 in magnitude. x is not negative.
 */
static struct sf_number reduce(struct sf_number x, unsigned *quadrant)
{
    u128 rest = x.m >> 64;
    unsigned q = 0;

    *quadrant = 0;
    if (x.exp < -1)
        return x;
    for (int32_t n = 0; n <= x.exp + HALF_PI_UNIT_LOG2 - 63; n++) {
        if (n > 0)
            rest <<= 1;
        q <<= 1;
        if (rest >= HALF_PI_66) {
            rest -= HALF_PI_66;
            q |= 1;
        }
    }
    x.sign = 2 * rest > HALF_PI_66;
    if (x.sign) {
        rest = HALF_PI_66 - rest;
        q++;
    }
    *quadrant = q & 3;
    x.m = rest;
    x.exp = 127 - HALF_PI_UNIT_LOG2;
    sf_normalise(&x);
    return x;
}

void sf_sincos(struct sf_number x, struct sf_number *sine, struct sf_number *cosine)
{
    bool negative = x.sign;
    unsigned quadrant;
    struct sf_number r, s, c, square;

    x.sign = false;
    r = reduce(x, &quadrant);
    square = negate(sf_multiply(r, r));
    s = mark_inexact(sum_series(r, square, divisor_sin));
    c = mark_inexact(sum_series(one, square, divisor_cos));
    *sine = quadrant & 1 ? c : s;
    *cosine = quadrant & 1 ? s : c;
    sine->sign ^= negative ^ (quadrant >> 1);
    cosine->sign ^= quadrant == 1 || quadrant == 2;
}

struct sf_number sf_tan(struct sf_number x)
{
    struct sf_number s, c;

    /* Small: x + x^3 / 3. The quotient would lose the direction in which the rest lies. */
    if (x.exp < -40)
        return mark_inexact(sf_number_add(x, divide_small(sf_multiply(x, sf_multiply(x, x)), 3)));
    sf_sincos(x, &s, &c);
    return mark_inexact(divide(s, c));
}
