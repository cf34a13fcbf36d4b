/*
 * Packed integers, element by element: arithmetic, logic, comparison, shifts, counts. Source: Intel
 * SDM volume 2, each by its name.
 */
#include "cpu/ops/avx512.h"

/* ---- Logic -------------------------------------------------------------------------------- */

/* The letter tells what the mask governs; floating-point names share the kernels. */
#define LOGIC(name, expression)                                                                    \
    EVEX_UNSIGNED(name##d, 4, expression)                                                          \
    EVEX_UNSIGNED(name##q, 8, expression)
LOGIC(vpand, (x & y))
LOGIC(vpandn, ~x &y)
LOGIC(vpor, x | y)
LOGIC(vpxor, x ^ y)

/* Bit n of imm is the result where the bits of the three operands make up the number n. */
static uint64_t ternary(uint64_t z, uint64_t x, uint64_t y, unsigned imm)
{
    uint64_t r = 0;

    for (unsigned n = 0; n < 8; n++)
        if (imm >> n & 1)
            r |= (n & 4 ? z : ~z) & (n & 2 ? x : ~x) & (n & 1 ? y : ~y);
    return r;
}
LOGIC(vpternlog, ternary(z, x, y, e->imm))

/* ---- Arithmetic --------------------------------------------------------------------------- */

#define ALL_SIZES(KIND, name, expression)                                                          \
    KIND(name##b, 1, expression)                                                                   \
    KIND(name##w, 2, expression)                                                                   \
    KIND(name##d, 4, expression)                                                                   \
    KIND(name##q, 8, expression)
ALL_SIZES(EVEX_UNSIGNED, vpadd, x + y)
ALL_SIZES(EVEX_UNSIGNED, vpsub, x - y)
ALL_SIZES(EVEX_SIGNED, vpabs, y < 0 ? 0 - (uint64_t)y : (uint64_t)y)
ALL_SIZES(EVEX_SIGNED, vpmins, x < y ? x : y)
ALL_SIZES(EVEX_SIGNED, vpmaxs, x > y ? x : y)
ALL_SIZES(EVEX_UNSIGNED, vpminu, x < y ? x : y)
ALL_SIZES(EVEX_UNSIGNED, vpmaxu, x > y ? x : y)

static inline int saturate(int v, int least, int greatest)
{
    return v < least ? least : v > greatest ? greatest : v;
}

EVEX_SIGNED(vpaddsb, 1, saturate(x + y, INT8_MIN, INT8_MAX))
EVEX_SIGNED(vpaddsw, 2, saturate(x + y, INT16_MIN, INT16_MAX))
EVEX_SIGNED(vpsubsb, 1, saturate(x - y, INT8_MIN, INT8_MAX))
EVEX_SIGNED(vpsubsw, 2, saturate(x - y, INT16_MIN, INT16_MAX))
EVEX_UNSIGNED(vpaddusb, 1, saturate(x + y, 0, UINT8_MAX))
EVEX_UNSIGNED(vpaddusw, 2, saturate(x + y, 0, UINT16_MAX))
EVEX_UNSIGNED(vpsubusb, 1, saturate(x - y, 0, UINT8_MAX))
EVEX_UNSIGNED(vpsubusw, 2, saturate(x - y, 0, UINT16_MAX))
EVEX_UNSIGNED(vpavgb, 1, (x + y + 1) >> 1)
EVEX_UNSIGNED(vpavgw, 2, (x + y + 1) >> 1)

EVEX_UNSIGNED(vpmullw, 2, (uint32_t)x *y)
EVEX_UNSIGNED(vpmulld, 4, x *y)
EVEX_UNSIGNED(vpmullq, 8, x *y)
EVEX_SIGNED(vpmulhw, 2, (x * y) >> 16)
EVEX_UNSIGNED(vpmulhuw, 2, ((uint32_t)x * y) >> 16)
EVEX_SIGNED(vpmulhrsw, 2, (((x * y) >> 14) + 1) >> 1)
EVEX_UNSIGNED(vpmuludq, 8, (uint64_t)(uint32_t)x *(uint32_t)y)
EVEX_SIGNED(vpmuldq, 8, (int64_t)(int32_t)x *(int32_t)y)

/* Products of neighbours, added; of unsigned bytes of H with signed ones of W, saturated. */
EVEX_LANES_FROM(vpmaddwd, 4, 0, uint32_t,
                (uint32_t)((int16_t)x *(int16_t)y) +
                    (uint32_t)((int16_t)(x >> 16) * (int16_t)(y >> 16)))
EVEX_LANES_FROM(vpmaddubsw, 2, 0, uint16_t,
                saturate((uint8_t)x *(int8_t)y + (x >> 8) * (int8_t)(y >> 8), INT16_MIN, INT16_MAX))

static uint64_t sum_of_differences(uint64_t x, uint64_t y)
{
    uint64_t sum = 0;

    for (unsigned shift = 0; shift < 64; shift += 8) {
        int difference = (uint8_t)(x >> shift) - (uint8_t)(y >> shift);

        sum += (unsigned)(difference < 0 ? -difference : difference);
    }
    return sum;
}
EVEX_LANES_FROM(vpsadbw, 8, 0, uint64_t, sum_of_differences(x, y))

/* ---- Comparison --------------------------------------------------------------------------- */

#define COMPARE(letter, bytes)                                                                     \
    EVEX_TEST(vpcmpeq##letter, bytes, UINT_##bytes, x == y)                                        \
    EVEX_TEST(vpcmpgt##letter, bytes, SINT_##bytes, x > y)                                         \
    EVEX_TEST(vptestm##letter, bytes, UINT_##bytes, (x & y) != 0)                                  \
    EVEX_TEST(vptestnm##letter, bytes, UINT_##bytes, (x & y) == 0)                                 \
    EVEX_TEST(vpcmp##letter, bytes, SINT_##bytes, relation(x < y, x == y, e->imm))                 \
    EVEX_TEST(vpcmpu##letter, bytes, UINT_##bytes, relation(x < y, x == y, e->imm))

/* EQ, LT, LE, false and their negations. */
static inline bool relation(bool less, bool equal, unsigned imm)
{
    const bool holds[4] = {equal, less, less || equal, false};

    return holds[imm & 3] ^ !!(imm & 4);
}
COMPARE(b, 1)
COMPARE(w, 2)
COMPARE(d, 4)
COMPARE(q, 8)

/* ---- Shifts and rotations ----------------------------------------------------------------- */

/* By the element of W, by the low quad of W (128 bits, whatever the length), by imm. Counts that
 * are too large give 0, or copies of the sign. */
#define SHIFT(name, bytes, KIND, expression)                                                       \
    static inline uint64_t shift_##name(KIND##_##bytes v, uint64_t count)                          \
    {                                                                                              \
        const unsigned bits = 8 * bytes;                                                           \
        return (uint64_t)(expression);                                                             \
    }                                                                                              \
    static void run_v##name(struct evex *e)                                                        \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            LANE_##bytes(e->r, n) =                                                                \
                (UINT_##bytes)shift_##name((KIND##_##bytes)LANE_##bytes(e->a, n), e->b.q[0]);      \
    }                                                                                              \
    EVEX_OP(v##name, .run = run_v##name, .lane = bytes, .wide = bytes)                             \
    static void run_v##name##_imm(struct evex *e)                                                  \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            LANE_##bytes(e->r, n) =                                                                \
                (UINT_##bytes)shift_##name((KIND##_##bytes)LANE_##bytes(e->b, n), e->imm);         \
    }                                                                                              \
    EVEX_OP(v##name##_imm, .run = run_v##name##_imm, .lane = bytes, .source = bytes,               \
            .wide = bytes, .to = EVEX_TO_H)
#define SHIFT_BY_LANE(name, letter, bytes, KIND)                                                   \
    EVEX_UNSIGNED(v##name##v##letter, bytes, shift_##name##letter((KIND##_##bytes)x, y))
#define SHIFT_ALL(letter, bytes)                                                                   \
    SHIFT(psll##letter, bytes, UINT, count < bits ? (uint64_t)v << count : 0)                      \
    SHIFT(psrl##letter, bytes, UINT, count < bits ? v >> count : 0)                                \
    SHIFT(psra##letter, bytes, SINT, v >> (count < bits ? count : bits - 1))                       \
    SHIFT_BY_LANE(psll, letter, bytes, UINT)                                                       \
    SHIFT_BY_LANE(psrl, letter, bytes, UINT)                                                       \
    SHIFT_BY_LANE(psra, letter, bytes, SINT)
SHIFT_ALL(w, 2)
SHIFT_ALL(d, 4)
SHIFT_ALL(q, 8)

#define ROTATE(letter, bytes)                                                                      \
    static inline UINT_##bytes rotate_##letter(UINT_##bytes v, unsigned count)                     \
    {                                                                                              \
        count %= 8 * bytes;                                                                        \
        return count == 0 ? v : v << count | v >> (8 * bytes - count);                             \
    }                                                                                              \
    EVEX_UNSIGNED(vprolv##letter, bytes, rotate_##letter(x, (unsigned)y))                          \
    EVEX_UNSIGNED(vprorv##letter, bytes, rotate_##letter(x, 0u - (unsigned)y))                     \
    ROTATE_IMM(vprol##letter, letter, bytes, e->imm)                                               \
    ROTATE_IMM(vpror##letter, letter, bytes, 0u - e->imm)
#define ROTATE_IMM(name, letter, bytes, count)                                                     \
    static void run_##name(struct evex *e)                                                         \
    {                                                                                              \
        for (unsigned n = 0; n < e->lanes; n++)                                                    \
            LANE_##bytes(e->r, n) = rotate_##letter(LANE_##bytes(e->b, n), count);                 \
    }                                                                                              \
    EVEX_OP(name, .run = run_##name, .lane = bytes, .source = bytes, .wide = bytes, .to = EVEX_TO_H)
ROTATE(d, 4)
ROTATE(q, 8)

/* Two elements end to end, shifted by imm or by a third: VBMI2. */
#define DOUBLE_SHIFT(letter, bytes)                                                                \
    static inline UINT_##bytes shift_double_##letter(UINT_##bytes high, UINT_##bytes low,          \
                                                     unsigned count)                               \
    {                                                                                              \
        count %= 8 * bytes;                                                                        \
        return count == 0 ? high                                                                   \
                          : (UINT_##bytes)((uint64_t)high << count | low >> (8 * bytes - count));  \
    }                                                                                              \
    static inline UINT_##bytes shift_double_right_##letter(UINT_##bytes low, UINT_##bytes high,    \
                                                           unsigned count)                         \
    {                                                                                              \
        count %= 8 * bytes;                                                                        \
        return count == 0 ? low                                                                    \
                          : (UINT_##bytes)(low >> count | (uint64_t)high << (8 * bytes - count));  \
    }                                                                                              \
    EVEX_UNSIGNED(vpshld##letter, bytes, shift_double_##letter(x, y, e->imm))                      \
    EVEX_UNSIGNED(vpshrd##letter, bytes, shift_double_right_##letter(x, y, e->imm))                \
    EVEX_UNSIGNED(vpshldv##letter, bytes, shift_double_##letter(z, x, (unsigned)y))                \
    EVEX_UNSIGNED(vpshrdv##letter, bytes, shift_double_right_##letter(z, x, (unsigned)y))
DOUBLE_SHIFT(w, 2)
DOUBLE_SHIFT(d, 4)
DOUBLE_SHIFT(q, 8)

/* ---- Counts, bits, conflicts -------------------------------------------------------------- */

ALL_SIZES(EVEX_UNSIGNED, vpopcnt, __builtin_popcountll(y))
EVEX_UNSIGNED(vplzcntd, 4, y == 0 ? 32 : __builtin_clz(y))
EVEX_UNSIGNED(vplzcntq, 8, y == 0 ? 64 : __builtin_clzll(y))

/* Bit k: element k below this one is equal to it. */
#define CONFLICT(name, bytes)                                                                      \
    static uint64_t equals_##name(const struct evex *e, unsigned n)                                \
    {                                                                                              \
        uint64_t r = 0;                                                                            \
        for (unsigned k = 0; k < n; k++)                                                           \
            r |= (uint64_t)(LANE_##bytes(e->b, k) == LANE_##bytes(e->b, n)) << k;                  \
        return r;                                                                                  \
    }                                                                                              \
    EVEX_LANES_FROM(name, bytes, 0, UINT_##bytes, equals_##name(e, n))
CONFLICT(vpconflictd, 4)
CONFLICT(vpconflictq, 8)

/* Bits of H that the bytes of W choose within each quad. */
static void run_vpshufbitqmb(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes; n++)
        e->k |= (e->a.q[n / 8] >> (VREG_B(e->b, n) & 63) & 1) << n;
}
EVEX_OP(vpshufbitqmb, .run = run_vpshufbitqmb, .lane = 1, .source = 1, .wide = 1, .to = EVEX_TO_K)

/* Eight bits from eight places of a quad, that the bytes of H name. */
static uint64_t multishift(uint64_t control, uint64_t v)
{
    uint64_t r = 0;

    for (unsigned shift = 0; shift < 64; shift += 8) {
        unsigned count = control >> shift & 63;
        uint64_t rotated = count == 0 ? v : v >> count | v << (64 - count);

        r |= (rotated & 0xff) << shift;
    }
    return r;
}

/* The mask governs bytes, broadcasts are of quads. */
static void run_vpmultishiftqb(struct evex *e)
{
    for (unsigned n = 0; n < e->lanes / 8; n++)
        e->r.q[n] = multishift(e->a.q[n], e->b.q[n]);
}
EVEX_OP(vpmultishiftqb, .run = run_vpmultishiftqb, .lane = 1, .wide = 1)

/* ---- Sums of products: IFMA, VNNI --------------------------------------------------------- */

__extension__ typedef unsigned __int128 product;

static uint64_t product_52(uint64_t x, uint64_t y, unsigned shift)
{
    const uint64_t mask = BIT64(52) - 1;

    return (uint64_t)((product)(x & mask) * (y & mask) >> shift) & mask;
}
EVEX_UNSIGNED(vpmadd52luq, 8, z + product_52(x, y, 0))
EVEX_UNSIGNED(vpmadd52huq, 8, z + product_52(x, y, 52))

/* z + four products of an unsigned byte of x and a signed one of y. */
static int64_t dot_bytes(uint32_t z, uint32_t x, uint32_t y)
{
    int64_t sum = (int32_t)z;

    for (unsigned shift = 0; shift < 32; shift += 8)
        sum += (uint8_t)(x >> shift) * (int8_t)(y >> shift);
    return sum;
}

/* z + two products of words. */
static int64_t dot_words(uint32_t z, uint32_t x, uint32_t y)
{
    return (int64_t)(int32_t)z + (int16_t)x * (int16_t)y +
           (int64_t)((int16_t)(x >> 16) * (int16_t)(y >> 16));
}

static uint32_t saturate_32(int64_t v)
{
    return (uint32_t)(v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v);
}
EVEX_UNSIGNED(vpdpbusd, 4, dot_bytes(z, x, y))
EVEX_UNSIGNED(vpdpbusds, 4, saturate_32(dot_bytes(z, x, y)))
EVEX_UNSIGNED(vpdpwssd, 4, dot_words(z, x, y))
EVEX_UNSIGNED(vpdpwssds, 4, saturate_32(dot_words(z, x, y)))
