/*
 * The floating-point functions that only AVX-512 has, in integers, single and double precision: bit
 * for bit and flag for flag. As in cpu/softfloat.h, values are passed as bits, a single in the
 * lower half. Source: Intel SDM volume 2C, each by the name of its instruction.
 */
#ifndef CPU_SOFTFLOAT_AVX512_H
#define CPU_SOFTFLOAT_AVX512_H

#include "cpu/softfloat.h"

/* The formats. */
struct sfx_format {
    unsigned fraction_bits; /* stored bits of the significand */
    unsigned sign_bit;      /* position */
    int32_t bias;
};
extern const struct sfx_format sfx_single, sfx_double;

/* VGETEXP: the unbiased exponent of a, as a number. */
uint64_t sfx_getexp(const struct sfx_format *f, struct softfloat_env *env, uint64_t a);
/* VGETMANT: the significand of a in the interval of imm[1:0], with the sign of imm[3:2]. */
uint64_t sfx_getmant(const struct sfx_format *f, struct softfloat_env *env, uint64_t a,
                     unsigned imm);
/* VRNDSCALE: a rounded to imm[7:4] binary places; imm[3:0] as in ROUNDPS. */
uint64_t sfx_rndscale(const struct sfx_format *f, struct softfloat_env *env, uint64_t a,
                      unsigned imm);
/* VREDUCE: a less a rounded so. */
uint64_t sfx_reduce(const struct sfx_format *f, struct softfloat_env *env, uint64_t a,
                    unsigned imm);
/* VRANGE: minimum or maximum by imm[1:0], sign by imm[3:2]. */
uint64_t sfx_range(const struct sfx_format *f, struct softfloat_env *env, uint64_t a, uint64_t b,
                   unsigned imm);
/* VSCALEF: a * 2^floor(b). */
uint64_t sfx_scalef(const struct sfx_format *f, struct softfloat_env *env, uint64_t a, uint64_t b);
/* VFIXUPIMM: what the table says for the class of a; imm: which classes raise exceptions. */
uint64_t sfx_fixup(const struct sfx_format *f, struct softfloat_env *env, uint64_t destination,
                   uint64_t a, uint32_t table, unsigned imm);
/* VFPCLASS: is a in one of the classes of imm? */
bool sfx_class(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a,
               unsigned imm);
/* VRCP14, VRSQRT14: within 2^-14, no flags; the bits that processors give. */
uint64_t sfx_rcp14(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a);
uint64_t sfx_rsqrt14(const struct sfx_format *f, const struct softfloat_env *env, uint64_t a);

#endif
