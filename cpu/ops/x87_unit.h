/*
 * The arithmetic unit behind the x87 instructions, twice: x87_host_* runs on the x87 of an x86-64
 * host, x87_soft_* on cpu/softfloat.h and, for the transcendental functions, on series over
 * 128-bit significands. Both give the same bits, but for the last ones of transcendental results.
 * X87_UNIT(name) names both for an op, which takes the host's while X87_FAST(cpu). What is exact in
 * integers anyway (loads, FPREM, FSCALE, FXTRACT, FRNDINT) uses the soft-float on every host.
 *
 * All functions write the masked response to *r (which may be an operand) and return what happened
 * as status word bits: SW_IE to SW_PE, C1 (rounded up), C2 where an instruction defines it; those
 * of the host any older flags of the guest besides. An unmasked overflow or underflow gives the
 * result with the adjusted exponent (SDM 1 8.5.4, 8.5.5). Stack faults are the caller's business.
 *
 * Precision of the soft transcendental functions: at most 0.51 units in the last place in the
 * chosen rounding, so a bit closer than the 1 unit of real processors, whose last bits differ.
 * Trigonometric arguments are reduced with the 66-bit pi of SDM 1 8.3.8.
 */
#ifndef CPU_OPS_X87_UNIT_H
#define CPU_OPS_X87_UNIT_H

#include "cpu/fpu.h"

/* With the guest's control word. */
typedef uint16_t x87_unary_fn(uint16_t control, struct float80 *r, const struct float80 *a);
typedef uint16_t x87_binary_fn(uint16_t control, struct float80 *r, const struct float80 *a,
                               const struct float80 *b);

/* a + b, a - b, a * b, a / b, square root. */
x87_binary_fn x87_soft_add, x87_soft_sub, x87_soft_mul, x87_soft_div;
x87_unary_fn x87_soft_sqrt;

/* b * log2(a), b * log2(a + 1), arctan(b / a). */
#define X87_FUNCTIONS_OF_TWO(X) X(yl2x) X(yl2xp1) X(patan)

/* 2^a - 1; trigonometry: |a| >= 2^63 sets C2 and leaves *r alone. ptan writes the tangent
 * to r[0] and 1 to r[1], sincos the sine and the cosine; a NaN stands in both. */
#define X87_FUNCTIONS(X) X(2xm1) X(sin) X(cos) X(ptan) X(sincos)

/* The host's, which want the guest's environment loaded (fpu_host_enter). */
#define X(name) x87_binary_fn x87_soft_##name, x87_host_##name;
X87_FUNCTIONS_OF_TWO(X)
#undef X
#define X(name) x87_unary_fn x87_soft_##name, x87_host_##name;
X87_FUNCTIONS(X)
#undef X

/* The host's arithmetic, without a control word: the guest's is loaded. Only while X87_FAST. */
typedef unsigned x87_host_binary_fn(struct float80 *r, const struct float80 *a,
                                    const struct float80 *b);
#include "cpu/ops/x87_host.h"

#if defined(__x86_64__)
#define X87_FAST(cpu)  likely((cpu)->x87_fast)
#define X87_UNIT(name) x87_host_##name, x87_soft_##name
#define X87_FUNCTION(cpu, name)                                                                    \
    ((cpu)->host_fpu_loaded && !(cpu)->fpu_soft ? x87_host_##name : x87_soft_##name)
#else
#define X87_FAST(cpu)           false
#define X87_UNIT(name)          NULL, x87_soft_##name
#define X87_FUNCTION(cpu, name) x87_soft_##name
#endif

/* An environment with the rounding, precision and masks of a control word. */
struct softfloat_env;
struct softfloat_env x87_env(uint16_t control);

/* Flags of an environment after an operation, and C1, as status word bits. */
uint16_t x87_env_status(const struct softfloat_env *env);

#endif
