#include "values.h"

#include "base/bits.h"

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

unsigned random_below(uint64_t *state, unsigned n)
{
    return (unsigned)(random_next(state) % n);
}

uint64_t value_integer(uint64_t *random)
{
    static const uint64_t corners[] = {
        0,
        1,
        2,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x7fffffffffffffff,
        0x8000000000000000,
        UINT64_MAX,
        0x0f0f0f0f0f0f0f0f,
    };
    uint64_t v = random_next(random);

    switch (random_below(random, 5)) {
    case 0:
        return corners[v % ARRAY_SIZE(corners)];
    case 1:
        return v & 0xff;
    case 2:
        return (uint64_t)(int64_t)(int32_t)v;
    default:
        return v;
    }
}

/* ---- Floating point ------------------------------------------------------------------------ */

struct value_theme value_theme(enum value_kind kind, uint64_t *random)
{
    /* Around one, where integers end, where the formats end, and where products of two leave them
     * or sums lose one side. */
    static const int16_t exponents[] = {
        0,    0,     0,     1,      -1,     7,   15,   31,    63,    24,    53,     64,   -24,
        127,  -126,  -149,  63,     -63,    -75, 1023, -1022, -1074, 511,   -511,   -538, 16383,
        8191, -8191, -8223, -16382, -16445, 100, -100, 1000,  -1000, 10000, -10000,
    };
    struct value_theme theme = {.kind = kind};

    theme.exponent = exponents[random_below(random, ARRAY_SIZE(exponents))];
    if (kind == VALUE_MIXED)
        theme.kind = (enum value_kind)random_below(random, VALUE_MIXED);
    if (theme.kind == VALUE_SINGLE && (theme.exponent > 200 || theme.exponent < -200))
        theme.exponent %= 128;
    if (theme.kind == VALUE_DOUBLE && (theme.exponent > 2000 || theme.exponent < -2000))
        theme.exponent %= 1024;
    return theme;
}

/* A fraction in the upper bits of 64: few bits, long runs, halves of what narrower formats keep. */
static uint64_t fraction(uint64_t *random)
{
    static const uint8_t kept[] = {10, 22, 23, 24, 51, 52, 53, 62};
    uint64_t v = random_next(random);
    unsigned bit = 63 - kept[random_below(random, ARRAY_SIZE(kept))];

    switch (random_below(random, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX << (v & 63);
    case 2:
        return UINT64_MAX >> (v & 63);
    case 3:
        return 1ull << (v & 63);
    case 4: /* exactly, or next to, a tie */
        return ((v << bit << 1) | 1ull << bit) + random_below(random, 3) - 1;
    case 5:
        return v & 0xffffffffff000000;
    default:
        return v;
    }
}

enum float_class { CLASS_ZERO, CLASS_DENORMAL, CLASS_INFINITE, CLASS_NAN, CLASS_NORMAL };

static enum float_class class_of(uint64_t *random)
{
    unsigned n = random_below(random, 24);

    return n < CLASS_NORMAL ? (enum float_class)n : CLASS_NORMAL;
}

/* Near the theme mostly; else anywhere. */
static int exponent_near(const struct value_theme *theme, int bias, uint64_t *random)
{
    uint64_t v = random_next(random);

    switch (v >> 60) {
    case 0:
    case 1:
        return (int)(v % (unsigned)(2 * bias)) - bias;
    case 2:
    case 3:
    case 4:
        return theme->exponent + (int)(v % 140) - 70;
    case 5:
    case 6:
        return (int)(v % 9) - 4;
    default:
        return theme->exponent + (int)(v % 7) - 3;
    }
}

/* An IEEE format of `exponent_bits` and `fraction_bits`. */
static uint64_t ieee(const struct value_theme *theme, unsigned exponent_bits,
                     unsigned fraction_bits, uint64_t *random)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    uint64_t f = fraction(random) >> (64 - fraction_bits);
    uint64_t sign = random_next(random) & 1 ? 1ull << (exponent_bits + fraction_bits) : 0;
    int exponent;

    switch (class_of(random)) {
    case CLASS_ZERO:
        return sign;
    case CLASS_DENORMAL:
        return sign | f;
    case CLASS_INFINITE:
        return sign | (uint64_t)(2 * bias + 1) << fraction_bits;
    case CLASS_NAN:
        return sign | (uint64_t)(2 * bias + 1) << fraction_bits | f;
    default:
        break;
    }
    exponent = exponent_near(theme, bias, random) + bias;
    exponent = exponent < 0 ? 0 : exponent > 2 * bias ? 2 * bias : exponent;
    return sign | (uint64_t)exponent << fraction_bits | f;
}

uint32_t value_single(const struct value_theme *theme, uint64_t *random)
{
    return (uint32_t)ieee(theme, 8, 23, random);
}

uint64_t value_double(const struct value_theme *theme, uint64_t *random)
{
    return ieee(theme, 11, 52, random);
}

uint64_t value_lane(const struct value_theme *theme, uint64_t *random)
{
    if (theme->kind == VALUE_SINGLE)
        return value_single(theme, random) | (uint64_t)value_single(theme, random) << 32;
    if (theme->kind == VALUE_DOUBLE)
        return value_double(theme, random);
    return value_integer(random);
}

struct diff_float80 value_extended(const struct value_theme *theme, uint64_t *random)
{
    const uint64_t integer_bit = 1ull << 63;
    struct diff_float80 v = {.significand = fraction(random) >> 1 | integer_bit};
    int exponent = 0;

    switch (class_of(random)) {
    case CLASS_ZERO:
        v.significand = 0;
        break;
    case CLASS_DENORMAL: /* or a pseudo-denormal */
        if (random_below(random, 4) != 0)
            v.significand &= ~integer_bit;
        break;
    case CLASS_INFINITE:
        v.significand = integer_bit;
        exponent = 0x7fff;
        break;
    case CLASS_NAN:
        exponent = 0x7fff;
        break;
    default:
        exponent = exponent_near(theme, 0x3fff, random) + 0x3fff;
        exponent = exponent < 0 ? 0 : exponent > 0x7ffe ? 0x7ffe : exponent;
        break;
    }
    if (random_below(random, 48) == 0)
        v.significand ^= integer_bit; /* no format of today */
    v.sign_exponent = (uint16_t)(exponent | (int)(random_next(random) & 0x8000));
    return v;
}

void value_decimal(uint8_t bcd[10], uint64_t *random)
{
    bool any = random_below(random, 8) == 0;

    for (unsigned n = 0; n < 10; n++) {
        unsigned v = (unsigned)random_next(random);

        bcd[n] = (uint8_t)(any ? v : (v >> 8) % 10 << 4 | (v >> 16) % 10);
        if (v % 16 == 0 && !any)
            bcd[n] = 0;
    }
    if (random_below(random, 4) != 0)
        bcd[9] &= 0x80;
}

uint16_t value_selector(unsigned slot, uint64_t *random)
{
    static const uint16_t global[] = {
        0, SELECTOR_CODE32, SELECTOR_DATA, SELECTOR_CODE64, 0x10, 0x08, 0x18, 0x103};
    unsigned n = random_below(random, 16), v;

    if (n < LDT_SLOTS)
        v = LDT_SELECTOR(n);
    else if (n < LDT_SLOTS + 2)
        v = LDT_SELECTOR(LDT_SLOTS + 2 * slot + (n & 1));
    else if (n < 15)
        v = global[random_below(random, ARRAY_SIZE(global))];
    else
        v = random_below(random, 2) ? LDT_SELECTOR(LDT_COUNT + random_below(random, 100))
                                    : 0x80u + (random_next(random) & 0xff78);
    if (random_below(random, 8) == 0)
        v ^= 1u + random_below(random, 3);
    return (uint16_t)v;
}
