/*
 * SSE floating-point operations on whole vectors. Each exists as a portable function on
 * cpu/softfloat.h (sse_soft_*) and, on x86-64 hosts, as the host's own instruction (sse_host_*),
 * bit for bit and flag for flag the same. SSE_FP picks: the host's while the guest masks all
 * exceptions, as nearly all do (vcpu.sse_fast); else the portable one, with the exceptions raised
 * as the manual orders. Source: Intel SDM volume 1, 11.5; volume 2, each by its name.
 *
 * All take (destination, source, immediate) and return the new destination. A result that is no
 * vector stands in quad 0: an integer, or for comparisons ZF, PF and CF at their places in EFLAGS.
 */
#ifndef CPU_SSE_FP_H
#define CPU_SSE_FP_H

#include "cpu/softfloat.h"
#include "cpu/sse_vec.h"

/* name X(add): exists as addps, addpd, addss and addsd. */
#define SSE_FP_ARITHMETIC(X) X(add) X(sub) X(mul) X(div) X(min) X(max) X(sqrt)

/* Comparison with predicate imm, 0 to 7: CMPxx. */
#define SSE_FP_COMPARE(X) X(cmpps) X(cmppd) X(cmpss) X(cmpsd)

/* Comparison with one of the 32 predicates of AVX. */
#define AVX_FP_COMPARE(X) X(vcmpps) X(vcmppd) X(vcmpss) X(vcmpsd)

/* Conversions: the name of the instruction; from and to integer registers 32 and 64 bits wide. */
#define SSE_FP_CONVERT(X)                                                                          \
    X(cvtps2pd)                                                                                    \
    X(cvtpd2ps)                                                                                    \
    X(cvtss2sd)                                                                                    \
    X(cvtsd2ss) X(cvtdq2ps) X(cvtdq2pd) X(cvtps2dq) X(cvttps2dq) X(cvtpd2dq) X(cvttpd2dq)
#define SSE_FP_FROM_INTEGER(X) X(cvtsi2ss) X(cvtsi2sd)
#define SSE_FP_TO_INTEGER(X)                                                                       \
    X(cvtss2si32)                                                                                  \
    X(cvtss2si64)                                                                                  \
    X(cvttss2si32) X(cvttss2si64) X(cvtsd2si32) X(cvtsd2si64) X(cvttsd2si32) X(cvttsd2si64)

/* Comparisons that set flags. */
#define SSE_FP_FLAGS(X) X(comiss) X(ucomiss) X(comisd) X(ucomisd)

typedef union vec sse_soft_fn(struct softfloat_env *env, union vec a, union vec b, unsigned imm);

#define SSE_DECLARE(name) sse_soft_fn sse_soft_##name;
#define SSE_DECLARE_4(name)                                                                        \
    SSE_DECLARE(name##ps) SSE_DECLARE(name##pd) SSE_DECLARE(name##ss) SSE_DECLARE(name##sd)
SSE_FP_ARITHMETIC(SSE_DECLARE_4)
SSE_FP_COMPARE(SSE_DECLARE)
AVX_FP_COMPARE(SSE_DECLARE)
SSE_FP_CONVERT(SSE_DECLARE)
SSE_FP_FROM_INTEGER(SSE_DECLARE)
SSE_FP_TO_INTEGER(SSE_DECLARE)
SSE_FP_FLAGS(SSE_DECLARE)
/* Lanes alternate, subtraction first. */
SSE_DECLARE(addsubps)
SSE_DECLARE(addsubpd)
/* imm as in the instruction: 1-0 RC, 2 RC of MXCSR instead, 3 no precision exception. */
SSE_DECLARE(roundps)
SSE_DECLARE(roundpd)
SSE_DECLARE(roundss)
SSE_DECLARE(roundsd)
/* Approximations: relative error at most 1.5 * 2^-12, no exceptions. Processors differ in the bits,
 * and so do these from the host's. */
SSE_DECLARE(rcpps)
SSE_DECLARE(rcpss)
SSE_DECLARE(rsqrtps)
SSE_DECLARE(rsqrtss)

/* Sets sticky flags; raises #XM (#UD without CR4.OSXMMEXCPT) if an exception is unmasked. */
void sse_fp_report(struct vcpu *cpu, const struct insn *i, unsigned flags);

/* Runs fn with the guest's MXCSR, sets sticky flags, raises #XM (#UD without CR4.OSXMMEXCPT) if an
 * unmasked exception came: then only the flags have changed (SDM 1 11.5.2, 11.5.3). Bare vectors
 * travel in registers, unions would not. */
vec_u64 sse_fp_run_soft(struct vcpu *cpu, const struct insn *i, sse_soft_fn *fn, vec_u64 a,
                        vec_u64 b, unsigned imm);

VEC_FN sse_fp_checked(struct vcpu *cpu, const struct insn *i, sse_soft_fn *fn, union vec a,
                      union vec b, unsigned imm)
{
    return (union vec){.vq = sse_fp_run_soft(cpu, i, fn, a.vq, b.vq, imm)};
}

/* Both halves of 256 bits, their exceptions together. The lower half of the result is returned, the
 * upper is in vcpu.vec_high. */
vec_u64 sse_fp_run_soft_2(struct vcpu *cpu, const struct insn *i, sse_soft_fn *fn, vec_u64 a_low,
                          vec_u64 a_high, vec_u64 b_low, vec_u64 b_high, unsigned imm);

VEC2_FN sse_fp_checked_2(struct vcpu *cpu, const struct insn *i, sse_soft_fn *fn, struct vec2 a,
                         struct vec2 b, unsigned imm)
{
    struct vec2 r;

    r.l.vq = sse_fp_run_soft_2(cpu, i, fn, a.l.vq, a.h.vq, b.l.vq, b.h.vq, imm);
    r.h = vec_high(cpu);
    return r;
}

#if defined(__x86_64__)
#include "cpu/sse_host.h"
/* The operation by its name, in an op function (cpu and i as there). */
#define SSE_FP(name, a, b, imm)                                                                    \
    (likely(cpu->sse_fast) ? sse_host_##name(a, b, imm)                                            \
                           : sse_fp_checked(cpu, i, sse_soft_##name, a, b, imm))
/* On pairs. */
#define SSE_FP_2(name, a, b, imm)                                                                  \
    (likely(cpu->sse_fast)                                                                         \
         ? (struct vec2){sse_host_##name((a).l, (b).l, imm), sse_host_##name((a).h, (b).h, imm)}   \
         : sse_fp_checked_2(cpu, i, sse_soft_##name, a, b, imm))
/* Like SSE_FP for operations that cannot fault. */
#define SSE_FP_QUIET(name, a, b)                                                                   \
    (likely(!cpu->fpu_soft) ? sse_host_##name(a, b, 0)                                             \
                            : sse_fp_checked(cpu, i, sse_soft_##name, a, b, 0))
#else
#define SSE_FP_2(name, a, b, imm) sse_fp_checked_2(cpu, i, sse_soft_##name, a, b, imm)
#define SSE_FP(name, a, b, imm)   sse_fp_checked(cpu, i, sse_soft_##name, a, b, imm)
#define SSE_FP_QUIET(name, a, b)  sse_fp_checked(cpu, i, sse_soft_##name, a, b, 0)
#endif

#endif
