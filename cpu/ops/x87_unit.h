/*
 * The arithmetic unit behind the x87 instructions, twice: x87_host_* runs on the x87 of an x86-64
 * host, x87_soft_* on cpu/softfloat.h and, for the transcendental functions, on series over
 * 128-bit significands. X87(name) is the one the ops use, chosen when building; where both exist,
 * tests compare them. What is exact in integers anyway (loads, stores, comparisons, FPREM, FSCALE,
 * FXTRACT, FRNDINT) uses the soft-float on every host.
 *
 * All functions take the guest's control word, write the masked response to *r (which may be an
 * operand) and return what happened as status word bits: SW_IE to SW_PE, C1 (rounded up), C2 where
 * an instruction defines it. An unmasked overflow or underflow gives the result with the adjusted
 * exponent (SDM 1 8.5.4, 8.5.5). Stack faults are the caller's business.
 *
 * Precision of the soft transcendental functions: at most 0.51 units in the last place in the
 * chosen rounding, so a bit closer than the 1 unit of real processors, whose last bits differ.
 * Trigonometric arguments are reduced with the 66-bit pi of SDM 1 8.3.8.
 */
#ifndef CPU_OPS_X87_UNIT_H
#define CPU_OPS_X87_UNIT_H

#include "cpu/cpu.h"

typedef uint16_t x87_unary_fn(uint16_t control, struct float80 *r, const struct float80 *a);
typedef uint16_t x87_binary_fn(uint16_t control, struct float80 *r, const struct float80 *a,
                               const struct float80 *b);

/* a + b, a - b, a * b, a / b; b * log2(a), b * log2(a + 1), arctan(b / a). */
#define X87_BINARIES(X) X(add) X(sub) X(mul) X(div) X(yl2x) X(yl2xp1) X(patan)

/* The square root; 2^a - 1; trigonometry: |a| >= 2^63 sets C2 and leaves *r alone. ptan gives the
 * tangent; sincos writes the sine to r[0] and the cosine to r[1]. */
#define X87_UNARIES(X) X(sqrt) X(2xm1) X(sin) X(cos) X(ptan) X(sincos)

#define X(name) x87_binary_fn x87_host_##name, x87_soft_##name;
X87_BINARIES(X)
#undef X
#define X(name) x87_unary_fn x87_host_##name, x87_soft_##name;
X87_UNARIES(X)
#undef X

#if defined(__x86_64__)
#define X87(name) x87_host_##name
#else
#define X87(name) x87_soft_##name
#endif

/* An environment with the rounding, precision and masks of a control word. */
struct softfloat_env;
struct softfloat_env x87_env(uint16_t control);

/* Flags of an environment after an operation, and C1, as status word bits. */
uint16_t x87_env_status(const struct softfloat_env *env);

#endif
