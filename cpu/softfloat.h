/*
 * Floating-point arithmetic in integers: what x86 computes, bit for bit and flag for flag, on any
 * host. sf32_*, sf64_* follow SSE (first-operand NaN rule, DAZ, FTZ), sf80_* follow x87 (larger
 * significand rule, precision control, unsupported encodings). Values are passed as their bits.
 * Tininess is detected after rounding. Nothing here touches a processor: all state is in the
 * environment passed in, sticky flags included.
 *
 * A caller that serves unmasked exceptions looks at the flags afterwards and drops the result.
 * Source: Intel SDM volume 1, chapter 4.8-4.9, 8.5, 11.5, appendix E; IEEE 754.
 */
#ifndef CPU_SOFTFLOAT_H
#define CPU_SOFTFLOAT_H

#include "cpu/cpu.h"

#include <stdbool.h>
#include <stdint.h>

/* RC of MXCSR and of the x87 control word. */
enum softfloat_rounding {
    SOFTFLOAT_NEAREST, /* ties to even */
    SOFTFLOAT_DOWN,
    SOFTFLOAT_UP,
    SOFTFLOAT_ZERO,
};

/* Flags as in MXCSR and the x87 status word. */
enum softfloat_flags {
    SOFTFLOAT_INVALID = 1 << 0,
    SOFTFLOAT_DENORMAL = 1 << 1,
    SOFTFLOAT_ZERO_DIVIDE = 1 << 2,
    SOFTFLOAT_OVERFLOW = 1 << 3,
    SOFTFLOAT_UNDERFLOW = 1 << 4,
    SOFTFLOAT_INEXACT = 1 << 5,
};

enum softfloat_relation {
    SOFTFLOAT_LESS = -1,
    SOFTFLOAT_EQUAL = 0,
    SOFTFLOAT_GREATER = 1,
    SOFTFLOAT_UNORDERED = 2,
};

/* Negations of sf*_muladd, by operand; NaNs pass through unchanged. */
enum softfloat_muladd {
    SOFTFLOAT_NEGATE_PRODUCT = 1 << 0,
    SOFTFLOAT_NEGATE_ADDEND = 1 << 1,
};

struct softfloat_env {
    uint8_t rounding;  /* enum softfloat_rounding */
    uint8_t flags;     /* enum softfloat_flags, sticky: operations only add to it */
    uint8_t unmasked;  /* flags whose exception is not masked. UNDERFLOW: an exact tiny result sets
                          the flag too and FTZ is off. For sf80 arithmetic also: the result of an
                          unmasked over- or underflow has its exponent adjusted by 24576 */
    uint8_t precision; /* sf80 add, sub, mul, div, sqrt: significand bits, 24, 53 or 64 (also 0) */
    bool daz;          /* sf16/32/64: denormal operands count as zeros */
    bool ftz;          /* sf32/64: tiny results become zeros */
    bool rounded_up;   /* set by the last operation that rounds: the magnitude grew (x87 C1) */
};

/* An environment with the control bits of an MXCSR and no flags. */
static inline struct softfloat_env softfloat_env_mxcsr(uint32_t mxcsr)
{
    return (struct softfloat_env){
        .rounding = (mxcsr >> 13) & 3,
        .unmasked = ~(mxcsr >> 7) & 0x3f,
        .precision = 64,
        .daz = (mxcsr >> 6) & 1,
        .ftz = (mxcsr >> 15) & 1,
    };
}

/* The default NaNs (SDM 1 table 4-3: "QNaN floating-point indefinite"). */
#define SF16_DEFAULT_NAN 0xfe00u
#define SF32_DEFAULT_NAN 0xffc00000u
#define SF64_DEFAULT_NAN 0xfff8000000000000ull
#define SF80_DEFAULT_NAN ((struct float80){0xc000000000000000ull, 0xffff})

/* Integer results of invalid conversions: "integer indefinite". Unsigned forms give all ones. */
#define SF_INDEFINITE_I16 ((int16_t)INT16_MIN)
#define SF_INDEFINITE_I32 INT32_MIN
#define SF_INDEFINITE_I64 INT64_MIN

/* ---- Single precision, as ADDSS and friends ----------------------------------------------- */

uint32_t sf32_add(struct softfloat_env *env, uint32_t a, uint32_t b);
uint32_t sf32_sub(struct softfloat_env *env, uint32_t a, uint32_t b);
uint32_t sf32_mul(struct softfloat_env *env, uint32_t a, uint32_t b);
uint32_t sf32_div(struct softfloat_env *env, uint32_t a, uint32_t b);
uint32_t sf32_sqrt(struct softfloat_env *env, uint32_t a);
/* MINSS, MAXSS: b (unchanged) if either is a NaN (INVALID, quiet ones too) or both are zeros. */
uint32_t sf32_min(struct softfloat_env *env, uint32_t a, uint32_t b);
uint32_t sf32_max(struct softfloat_env *env, uint32_t a, uint32_t b);
/* a * b + c, rounded once; negate is a set of enum softfloat_muladd. NaN priority a, b, c. */
uint32_t sf32_muladd(struct softfloat_env *env, uint32_t a, uint32_t b, uint32_t c,
                     unsigned negate);
/* quiet: INVALID only for signalling NaNs (UCOMISS, CMPEQSS), else for any NaN (COMISS, CMPLTSS) */
enum softfloat_relation sf32_compare(struct softfloat_env *env, uint32_t a, uint32_t b, bool quiet);
/* ROUNDSS: to an integral value in the rounding given; exact: do not set INEXACT. */
uint32_t sf32_round_to_int(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding,
                           bool suppress_inexact);

uint64_t sf32_to_f64(struct softfloat_env *env, uint32_t a);
/* To integers, in the rounding given (env->rounding for CVTSS2SI, SOFTFLOAT_ZERO for CVTTSS2SI). */
int32_t sf32_to_i32(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding);
int64_t sf32_to_i64(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding);
uint32_t sf32_to_u32(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding);
uint64_t sf32_to_u64(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding);
uint32_t sf32_from_i32(struct softfloat_env *env, int32_t a);
uint32_t sf32_from_i64(struct softfloat_env *env, int64_t a);
uint32_t sf32_from_u32(struct softfloat_env *env, uint32_t a);
uint32_t sf32_from_u64(struct softfloat_env *env, uint64_t a);

/* ---- Double precision, as ADDSD and friends ----------------------------------------------- */

uint64_t sf64_add(struct softfloat_env *env, uint64_t a, uint64_t b);
uint64_t sf64_sub(struct softfloat_env *env, uint64_t a, uint64_t b);
uint64_t sf64_mul(struct softfloat_env *env, uint64_t a, uint64_t b);
uint64_t sf64_div(struct softfloat_env *env, uint64_t a, uint64_t b);
uint64_t sf64_sqrt(struct softfloat_env *env, uint64_t a);
uint64_t sf64_min(struct softfloat_env *env, uint64_t a, uint64_t b);
uint64_t sf64_max(struct softfloat_env *env, uint64_t a, uint64_t b);
uint64_t sf64_muladd(struct softfloat_env *env, uint64_t a, uint64_t b, uint64_t c,
                     unsigned negate);
enum softfloat_relation sf64_compare(struct softfloat_env *env, uint64_t a, uint64_t b, bool quiet);
uint64_t sf64_round_to_int(struct softfloat_env *env, uint64_t a, enum softfloat_rounding rounding,
                           bool suppress_inexact);

uint32_t sf64_to_f32(struct softfloat_env *env, uint64_t a);
int32_t sf64_to_i32(struct softfloat_env *env, uint64_t a, enum softfloat_rounding rounding);
int64_t sf64_to_i64(struct softfloat_env *env, uint64_t a, enum softfloat_rounding rounding);
uint32_t sf64_to_u32(struct softfloat_env *env, uint64_t a, enum softfloat_rounding rounding);
uint64_t sf64_to_u64(struct softfloat_env *env, uint64_t a, enum softfloat_rounding rounding);
uint64_t sf64_from_i32(struct softfloat_env *env, int32_t a);
uint64_t sf64_from_i64(struct softfloat_env *env, int64_t a);
uint64_t sf64_from_u32(struct softfloat_env *env, uint32_t a);
uint64_t sf64_from_u64(struct softfloat_env *env, uint64_t a);

/* ---- Half precision: conversions only (F16C) ---------------------------------------------- */

/* VCVTPH2PS: DAZ does not apply, denormals set no flag. */
uint32_t sf16_to_f32(struct softfloat_env *env, uint16_t a);
/* VCVTPS2PH: FTZ does not apply. */
uint16_t sf32_to_f16(struct softfloat_env *env, uint32_t a, enum softfloat_rounding rounding);

/* ---- Double extended precision, as x87 ----------------------------------------------------- */

struct float80 sf80_add(struct softfloat_env *env, struct float80 a, struct float80 b);
struct float80 sf80_sub(struct softfloat_env *env, struct float80 a, struct float80 b);
struct float80 sf80_mul(struct softfloat_env *env, struct float80 a, struct float80 b);
struct float80 sf80_div(struct softfloat_env *env, struct float80 a, struct float80 b);
struct float80 sf80_sqrt(struct softfloat_env *env, struct float80 a);
enum softfloat_relation sf80_compare(struct softfloat_env *env, struct float80 a, struct float80 b,
                                     bool quiet);
/* FRNDINT, in env->rounding. */
struct float80 sf80_round_to_int(struct softfloat_env *env, struct float80 a);

/* FPREM (nearest false: quotient truncated) and FPREM1 (rounded to nearest). One step of the
 * instruction: when the exponents are 64 or more apart it only reduces, and *partial is true;
 * else *quotient receives the low three bits of the quotient. */
struct float80 sf80_remainder(struct softfloat_env *env, struct float80 a, struct float80 b,
                              bool nearest, unsigned *quotient, bool *partial);
/* FSCALE: a * 2^(b truncated). */
struct float80 sf80_scale(struct softfloat_env *env, struct float80 a, struct float80 b);
/* FXTRACT: returns the significand of a, *exponent its unbiased exponent as a float. */
struct float80 sf80_extract(struct softfloat_env *env, struct float80 a, struct float80 *exponent);

/* Loads and stores. sf32_to_f80 and sf64_to_f80 quiet a signalling NaN with INVALID and report
 * denormals with DENORMAL; daz does not apply. */
struct float80 sf32_to_f80(struct softfloat_env *env, uint32_t a);
struct float80 sf64_to_f80(struct softfloat_env *env, uint64_t a);
struct float80 sf80_from_i64(int64_t a);
uint32_t sf80_to_f32(struct softfloat_env *env, struct float80 a);
uint64_t sf80_to_f64(struct softfloat_env *env, struct float80 a);
int16_t sf80_to_i16(struct softfloat_env *env, struct float80 a, enum softfloat_rounding rounding);
int32_t sf80_to_i32(struct softfloat_env *env, struct float80 a, enum softfloat_rounding rounding);
int64_t sf80_to_i64(struct softfloat_env *env, struct float80 a, enum softfloat_rounding rounding);
/* Packed decimal of FBLD and FBSTP: 18 digits, then a byte with the sign in bit 7. */
struct float80 sf80_from_bcd(const uint8_t bcd[10]);
void sf80_to_bcd(struct softfloat_env *env, struct float80 a, uint8_t bcd[10]);

/* Classes of an f80, for FXAM and for whoever asks. */
enum sf80_class {
    SF80_UNSUPPORTED, /* unnormal, pseudo-NaN, pseudo-infinity */
    SF80_QNAN,
    SF80_SNAN,
    SF80_NORMAL,
    SF80_INFINITY,
    SF80_ZERO,
    SF80_DENORMAL, /* pseudo-denormals too */
};
enum sf80_class sf80_classify(struct float80 a);

#endif
