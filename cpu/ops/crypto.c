/*
 * AES, carry-less multiplication, SHA and GFNI, in plain integers. Source: Intel SDM volume 2, each
 * by its name; FIPS 197 (AES), FIPS 180-4 (SHA).
 */
#include "cpu/ops/avx512.h"

/* Functions of two vectors that are too long to be part of their op functions: vec_<name> calls
 * <name>_run. Bare vectors travel in registers. */
#define OUT_OF_LINE(name)                                                                          \
    VEC_FN vec_##name(union vec a, union vec b, unsigned size)                                     \
    {                                                                                              \
        (void)size;                                                                                \
        return (union vec){.vq = name##_run(a.vq, b.vq)};                                          \
    }
#define OUT_OF_LINE_IMM(name)                                                                      \
    VEC_FN vec_##name(union vec a, union vec b, unsigned imm, unsigned size)                       \
    {                                                                                              \
        (void)size;                                                                                \
        return (union vec){.vq = name##_run(a.vq, b.vq, imm)};                                     \
    }
#define NOINLINE static __attribute__((noinline)) vec_u64

/* ---- AES ---------------------------------------------------------------------------------- */

static const uint8_t sbox[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

static const uint8_t inverse_sbox[256] = {
    0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb,
    0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87, 0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb,
    0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
    0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25,
    0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16, 0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92,
    0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
    0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06,
    0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02, 0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b,
    0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
    0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e,
    0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89, 0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b,
    0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
    0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f,
    0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d, 0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef,
    0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
    0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
};

static inline uint32_t rotate_right(uint32_t v, unsigned n)
{
    return v >> n | v << (32 - n);
}

static inline uint32_t rotate_left(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

/* Each byte times x in GF(2^8). */
static inline uint32_t times_x(uint32_t v)
{
    return (v & 0x7f7f7f7f) << 1 ^ ((v >> 7) & 0x01010101) * 0x1b;
}

/* A column, row 0 in the lowest byte. */
static inline uint32_t mix_column(uint32_t v)
{
    return times_x(v ^ rotate_right(v, 8)) ^ rotate_right(v, 8) ^ rotate_right(v, 16) ^
           rotate_right(v, 24);
}

static inline uint32_t unmix_column(uint32_t v)
{
    return mix_column(v ^ times_x(times_x(v ^ rotate_right(v, 16))));
}

/* Column c of the state with its rows shifted by `step` columns each and substituted. */
static inline uint32_t shifted_column(union vec state, unsigned c, unsigned step,
                                      const uint8_t *box)
{
    uint32_t v = 0;

    for (unsigned r = 0; r < 4; r++)
        v |= (uint32_t)box[VREG_B(state, r + 4 * ((c + step * r) & 3))] << (8 * r);
    return v;
}

/* <name>_run: a round with `column` applied to the columns (v), then the key. */
#define AES_ROUND(name, step, box, column)                                                         \
    NOINLINE name##_run(vec_u64 a, vec_u64 key)                                                    \
    {                                                                                              \
        union vec state = {.vq = a}, r;                                                            \
        for (unsigned c = 0; c < 4; c++) {                                                         \
            uint32_t v = shifted_column(state, c, step, box);                                      \
            VREG_D(r, c) = column;                                                                 \
        }                                                                                          \
        return r.vq ^ key;                                                                         \
    }                                                                                              \
    OUT_OF_LINE(name)                                                                              \
    VEC_OP_X(name)

AES_ROUND(aesenc, 1, sbox, mix_column(v))
AES_ROUND(aesenclast, 1, sbox, v)
AES_ROUND(aesdec, 3, inverse_sbox, unmix_column(v))
AES_ROUND(aesdeclast, 3, inverse_sbox, v)

VEC_FN vec_aesimc(union vec a, union vec b, unsigned size)
{
    (void)a;
    (void)size;
    for (unsigned c = 0; c < 4; c++)
        VREG_D(b, c) = unmix_column(VREG_D(b, c));
    return b;
}
VEC_SSE_X(aesimc)
VEX_OP_X(aesimc)

static inline uint32_t substitute(uint32_t v)
{
    return sbox[v & 0xff] | (uint32_t)sbox[v >> 8 & 0xff] << 8 |
           (uint32_t)sbox[v >> 16 & 0xff] << 16 | (uint32_t)sbox[v >> 24] << 24;
}

VEC_FN vec_aeskeygenassist(union vec a, union vec b, unsigned imm, unsigned size)
{
    uint32_t low = substitute(VREG_D(b, 1)), high = substitute(VREG_D(b, 3));

    (void)a;
    (void)size;
    return vec_from64(low | (uint64_t)(rotate_right(low, 8) ^ imm) << 32,
                      high | (uint64_t)(rotate_right(high, 8) ^ imm) << 32);
}
VEC_IMM_X(aeskeygenassist)
VEX_X(vaeskeygenassist,
      xmm_set_clear(cpu, i->reg, vec_aeskeygenassist(source, source, (uint8_t)i->imm, 16)))

/* ---- Carry-less multiplication ------------------------------------------------------------ */

/* Four bits of y at a time, by multiples of x; the top bits that these lose are added at the end.
 */
NOINLINE pclmulqdq_run(vec_u64 a, vec_u64 b, unsigned imm)
{
    uint64_t x = a[imm & 1], y = b[(imm >> 4) & 1], low = 0, high = 0, multiples[16];

    multiples[0] = 0;
    multiples[1] = x;
    for (unsigned n = 2; n < 16; n += 2) {
        multiples[n] = multiples[n / 2] << 1;
        multiples[n + 1] = multiples[n] ^ x;
    }
    for (int shift = 60; shift >= 0; shift -= 4) {
        high = high << 4 | low >> 60;
        low = low << 4 ^ multiples[(y >> shift) & 15];
    }
    /* Bits 63 to 61 of x, shifted by one to three within a group of four. */
    high ^= (0 - (x >> 63)) & ((y & 0xeeeeeeeeeeeeeeee) >> 1);
    high ^= (0 - (x >> 62 & 1)) & ((y & 0xcccccccccccccccc) >> 2);
    high ^= (0 - (x >> 61 & 1)) & ((y & 0x8888888888888888) >> 3);
    return (vec_u64){low, high};
}
OUT_OF_LINE_IMM(pclmulqdq)
VEC_IMM_X(pclmulqdq)
VEX_IMM(pclmulqdq, 0)

/* ---- SHA-1 -------------------------------------------------------------------------------- */

/* The working variables and message words stand with the first in lane 3. */

/* The function of a group of rounds (imm), and its constant. */
static inline uint32_t sha1_function(unsigned imm, uint32_t b, uint32_t c, uint32_t d)
{
    switch (imm & 3) {
    case 0:
        return ((b & c) ^ (~b & d)) + 0x5a827999;
    case 1:
        return (b ^ c ^ d) + 0x6ed9eba1;
    case 2:
        return ((b & c) ^ (b & d) ^ (c & d)) + 0x8f1bbcdc;
    default:
        return (b ^ c ^ d) + 0xca62c1d6;
    }
}

NOINLINE sha1rnds4_run(vec_u64 x, vec_u64 y, unsigned imm)
{
    union vec s = {.vq = x}, w = {.vq = y};
    uint32_t a = VREG_D(s, 3), b = VREG_D(s, 2), c = VREG_D(s, 1), d = VREG_D(s, 0), e = 0;

    for (unsigned n = 0; n < 4; n++) { /* the first word has E added already */
        uint32_t next = sha1_function(imm, b, c, d) + rotate_left(a, 5) + VREG_D(w, 3 - n) + e;

        e = d;
        d = c;
        c = rotate_left(b, 30);
        b = a;
        a = next;
    }
    return vec_from64(d | (uint64_t)c << 32, b | (uint64_t)a << 32).vq;
}
OUT_OF_LINE_IMM(sha1rnds4)
VEC_IMM_X(sha1rnds4)

VEC_FN vec_sha1nexte(union vec a, union vec b, unsigned size)
{
    (void)size;
    VREG_D(b, 3) += rotate_left(VREG_D(a, 3), 30);
    return b;
}
VEC_SSE_X(sha1nexte)

VEC_FN vec_sha1msg1(union vec a, union vec b, unsigned size)
{
    (void)size;
    return vec_from64(a.vq[0] ^ b.vq[1], a.vq[1] ^ a.vq[0]);
}
VEC_SSE_X(sha1msg1)

VEC_FN vec_sha1msg2(union vec a, union vec b, unsigned size)
{
    union vec r;

    (void)size;
    for (unsigned n = 3; n > 0; n--)
        VREG_D(r, n) = rotate_left(VREG_D(a, n) ^ VREG_D(b, n - 1), 1);
    VREG_D(r, 0) = rotate_left(VREG_D(a, 0) ^ VREG_D(r, 3), 1);
    return r;
}
VEC_SSE_X(sha1msg2)

/* ---- SHA-256 ------------------------------------------------------------------------------ */

static inline uint32_t three_rotations(uint32_t v, unsigned x, unsigned y, unsigned z)
{
    return rotate_right(v, x) ^ rotate_right(v, y) ^ rotate_right(v, z);
}

static inline uint32_t sigma0(uint32_t v)
{
    return rotate_right(v, 7) ^ rotate_right(v, 18) ^ v >> 3;
}

static inline uint32_t sigma1(uint32_t v)
{
    return rotate_right(v, 17) ^ rotate_right(v, 19) ^ v >> 10;
}

/* x holds C, D, G, H and y A, B, E, F, from lane 3 down; two words with constants in wk. */
NOINLINE sha256rnds2_run(vec_u64 x, vec_u64 y, uint64_t wk)
{
    union vec s = {.vq = x}, t = {.vq = y};
    uint32_t a = VREG_D(t, 3), b = VREG_D(t, 2), c = VREG_D(s, 3), d = VREG_D(s, 2);
    uint32_t e = VREG_D(t, 1), f = VREG_D(t, 0), g = VREG_D(s, 1), h = VREG_D(s, 0);

    for (unsigned n = 0; n < 2; n++) {
        uint32_t sum =
            ((e & f) ^ (~e & g)) + three_rotations(e, 6, 11, 25) + (uint32_t)(wk >> (32 * n)) + h;
        uint32_t next = sum + ((a & b) ^ (a & c) ^ (b & c)) + three_rotations(a, 2, 13, 22);

        h = g;
        g = f;
        f = e;
        e = sum + d;
        d = c;
        c = b;
        b = a;
        a = next;
    }
    return vec_from64(f | (uint64_t)e << 32, b | (uint64_t)a << 32).vq;
}

OP(sha256rnds2)
{
    union vec source = xmm_operand(cpu, i);
    vec_u64 r = sha256rnds2_run(xmm_get(cpu, i->reg).vq, source.vq, cpu->vreg[0].q[0]);

    xmm_set(cpu, i->reg, (union vec){.vq = r});
    NEXT;
}

VEC_FN vec_sha256msg1(union vec a, union vec b, unsigned size)
{
    (void)size;
    for (unsigned n = 0; n < 3; n++)
        VREG_D(a, n) += sigma0(VREG_D(a, n + 1));
    VREG_D(a, 3) += sigma0(VREG_D(b, 0));
    return a;
}
VEC_SSE_X(sha256msg1)

VEC_FN vec_sha256msg2(union vec a, union vec b, unsigned size)
{
    (void)size;
    VREG_D(a, 0) += sigma1(VREG_D(b, 2));
    VREG_D(a, 1) += sigma1(VREG_D(b, 3));
    VREG_D(a, 2) += sigma1(VREG_D(a, 0));
    VREG_D(a, 3) += sigma1(VREG_D(a, 1));
    return a;
}
VEC_SSE_X(sha256msg2)

/* ---- GF(2^8) ------------------------------------------------------------------------------ */

/* Multiplicative inverses; 0 for 0. */
static const uint8_t inverses[256] = {
    0x00, 0x01, 0x8d, 0xf6, 0xcb, 0x52, 0x7b, 0xd1, 0xe8, 0x4f, 0x29, 0xc0, 0xb0, 0xe1, 0xe5, 0xc7,
    0x74, 0xb4, 0xaa, 0x4b, 0x99, 0x2b, 0x60, 0x5f, 0x58, 0x3f, 0xfd, 0xcc, 0xff, 0x40, 0xee, 0xb2,
    0x3a, 0x6e, 0x5a, 0xf1, 0x55, 0x4d, 0xa8, 0xc9, 0xc1, 0x0a, 0x98, 0x15, 0x30, 0x44, 0xa2, 0xc2,
    0x2c, 0x45, 0x92, 0x6c, 0xf3, 0x39, 0x66, 0x42, 0xf2, 0x35, 0x20, 0x6f, 0x77, 0xbb, 0x59, 0x19,
    0x1d, 0xfe, 0x37, 0x67, 0x2d, 0x31, 0xf5, 0x69, 0xa7, 0x64, 0xab, 0x13, 0x54, 0x25, 0xe9, 0x09,
    0xed, 0x5c, 0x05, 0xca, 0x4c, 0x24, 0x87, 0xbf, 0x18, 0x3e, 0x22, 0xf0, 0x51, 0xec, 0x61, 0x17,
    0x16, 0x5e, 0xaf, 0xd3, 0x49, 0xa6, 0x36, 0x43, 0xf4, 0x47, 0x91, 0xdf, 0x33, 0x93, 0x21, 0x3b,
    0x79, 0xb7, 0x97, 0x85, 0x10, 0xb5, 0xba, 0x3c, 0xb6, 0x70, 0xd0, 0x06, 0xa1, 0xfa, 0x81, 0x82,
    0x83, 0x7e, 0x7f, 0x80, 0x96, 0x73, 0xbe, 0x56, 0x9b, 0x9e, 0x95, 0xd9, 0xf7, 0x02, 0xb9, 0xa4,
    0xde, 0x6a, 0x32, 0x6d, 0xd8, 0x8a, 0x84, 0x72, 0x2a, 0x14, 0x9f, 0x88, 0xf9, 0xdc, 0x89, 0x9a,
    0xfb, 0x7c, 0x2e, 0xc3, 0x8f, 0xb8, 0x65, 0x48, 0x26, 0xc8, 0x12, 0x4a, 0xce, 0xe7, 0xd2, 0x62,
    0x0c, 0xe0, 0x1f, 0xef, 0x11, 0x75, 0x78, 0x71, 0xa5, 0x8e, 0x76, 0x3d, 0xbd, 0xbc, 0x86, 0x57,
    0x0b, 0x28, 0x2f, 0xa3, 0xda, 0xd4, 0xe4, 0x0f, 0xa9, 0x27, 0x53, 0x04, 0x1b, 0xfc, 0xac, 0xe6,
    0x7a, 0x07, 0xae, 0x63, 0xc5, 0xdb, 0xe2, 0xea, 0x94, 0x8b, 0xc4, 0xd5, 0x9d, 0xf8, 0x90, 0x6b,
    0xb1, 0x0d, 0xd6, 0xeb, 0xc6, 0x0e, 0xcf, 0xad, 0x08, 0x4e, 0xd7, 0xe3, 0x5d, 0x50, 0x1e, 0xb3,
    0x5b, 0x23, 0x38, 0x34, 0x68, 0x46, 0x03, 0x8c, 0xdd, 0x9c, 0x7d, 0xa0, 0xcd, 0x1a, 0x41, 0x1c,
};

VEC_FN vec_gf2p8mulb(union vec a, union vec b, unsigned size)
{
    union vec r = {.vq = {0, 0}};

    (void)size;
    for (unsigned n = 8; n-- > 0;) {
        vec_u8 carry = (vec_u8)(r.sb < (vec_s8){0}), bit = (vec_u8)((vec_s8)(b.vb << (7 - n)) < 0);

        r.vb = (r.vb + r.vb) ^ (carry & 0x1b) ^ (bit & a.vb);
    }
    return r;
}
VEC_OP_X(gf2p8mulb)

/* Bit n of the result: parity of the byte and row 7 - n of the matrix, plus bit n of imm. */
static inline uint8_t affine_byte(uint64_t matrix, uint8_t byte, unsigned imm)
{
    uint64_t products = matrix & byte * 0x0101010101010101u;
    unsigned r = 0;

    products ^= products >> 4;
    products ^= products >> 2;
    products ^= products >> 1;
    for (unsigned n = 0; n < 8; n++)
        r |= (unsigned)(products >> (8 * (7 - n)) & 1) << n;
    return (uint8_t)(r ^ imm);
}

NOINLINE gf2p8affineqb_run(vec_u64 a, vec_u64 b, unsigned imm)
{
    union vec r = {.vq = a};

    for (unsigned n = 0; n < 16; n++)
        VREG_B(r, n) = affine_byte(b[n / 8], VREG_B(r, n), imm);
    return r.vq;
}

NOINLINE gf2p8affineinvqb_run(vec_u64 a, vec_u64 b, unsigned imm)
{
    union vec r = {.vq = a};

    for (unsigned n = 0; n < 16; n++)
        VREG_B(r, n) = affine_byte(b[n / 8], inverses[VREG_B(r, n)], imm);
    return r.vq;
}

OUT_OF_LINE_IMM(gf2p8affineqb)
OUT_OF_LINE_IMM(gf2p8affineinvqb)
VEC_IMM_X(gf2p8affineqb)
VEC_IMM_X(gf2p8affineinvqb)
VEX_IMM(gf2p8affineqb, 0)
VEX_IMM(gf2p8affineinvqb, 0)

/* ---- EVEX --------------------------------------------------------------------------------- */

EVEX_128(vaesenc, 8, 0, vec_aesenc(a, b, 16))
EVEX_128(vaesenclast, 8, 0, vec_aesenclast(a, b, 16))
EVEX_128(vaesdec, 8, 0, vec_aesdec(a, b, 16))
EVEX_128(vaesdeclast, 8, 0, vec_aesdeclast(a, b, 16))
EVEX_128(vpclmulqdq, 8, 0, vec_pclmulqdq(a, b, e->imm, 16))
EVEX_128(vgf2p8mulb, 1, 1, vec_gf2p8mulb(a, b, 16))
EVEX_128(vgf2p8affineqb, 1, 0, vec_gf2p8affineqb(a, b, e->imm, 16))
EVEX_128(vgf2p8affineinvqb, 1, 0, vec_gf2p8affineinvqb(a, b, e->imm, 16))
