/*
 * Transcendental functions of finite numbers, by argument reduction and power series over 128-bit
 * significands. Relative errors stay below 2^-110, so that a later rounding to 64 bits is the right
 * one but in about one case of 2^45. Results are never exact numbers in disguise: their lowest bit
 * is set, so that rounding sees them as inexact.
 * Source for argument reduction: Intel SDM volume 1, 8.3.8.
 */
#ifndef CPU_SOFTFLOAT_SERIES_H
#define CPU_SOFTFLOAT_SERIES_H

#include "cpu/softfloat_core.h"

/* 2^x - 1 for |x| <= 1. */
struct sf_number sf_exp2m1(struct sf_number x);

/* log2(x) for x > 0; exact for powers of two, where m is 0 for log2(1). */
struct sf_number sf_log2(struct sf_number x);

/* log2(1 + x) for x > -1. */
struct sf_number sf_log2p1(struct sf_number x);

/* The angle of the point (x, y), neither 0, in (-pi, pi). */
struct sf_number sf_atan2(struct sf_number y, struct sf_number x);

/* pi * quarters / 4 for quarters 1 to 4. */
struct sf_number sf_pi_quarters(unsigned quarters);

/* Sine, cosine and tangent for |x| < 2^63. */
void sf_sincos(struct sf_number x, struct sf_number *sine, struct sf_number *cosine);
struct sf_number sf_tan(struct sf_number x);

/* a * b rounded to 128 bits; inexactness is not marked. */
struct sf_number sf_multiply(struct sf_number a, struct sf_number b);

#endif
