/*
 * SSE floating-point operations by the host's instructions; x86-64 hosts only, and of their
 * instructions only what every one has (SSE2). The guest's rounding, DAZ and FTZ are in the host's
 * MXCSR with all exceptions masked (fpu_host_enter), and sticky flags collect there: hence
 * volatile, the compiler must neither move nor merge nor drop these. Included by cpu/sse_fp.h.
 */
#ifndef CPU_SSE_HOST_H
#define CPU_SSE_HOST_H

#include "cpu/sse_fp.h"

/* destination = insn(destination, source). */
#define SSE_HOST(name)                                                                             \
    VEC_FN sse_host_##name(union vec a, union vec b, unsigned imm)                                 \
    {                                                                                              \
        (void)imm;                                                                                 \
        __asm__ volatile(#name " %1, %0" : "+x"(a.vq) : "x"(b.vq));                                \
        return a;                                                                                  \
    }
#define SSE_HOST_4(name) SSE_HOST(name##ps) SSE_HOST(name##pd) SSE_HOST(name##ss) SSE_HOST(name##sd)

SSE_FP_ARITHMETIC(SSE_HOST_4)
SSE_FP_CONVERT(SSE_HOST)
SSE_HOST(rcpps)
SSE_HOST(rcpss)
SSE_HOST(rsqrtps)
SSE_HOST(rsqrtss)

/* The predicate is an immediate of the instruction. */
#define SSE_HOST_PREDICATE(name, n)                                                                \
    case n:                                                                                        \
        __asm__ volatile(#name " $" #n ", %1, %0" : "+x"(a.vq) : "x"(b.vq));                       \
        break;
#define SSE_HOST_COMPARE(name)                                                                     \
    VEC_FN sse_host_##name(union vec a, union vec b, unsigned imm)                                 \
    {                                                                                              \
        switch (imm & 7) {                                                                         \
            SSE_HOST_PREDICATE(name, 0)                                                            \
            SSE_HOST_PREDICATE(name, 1)                                                            \
            SSE_HOST_PREDICATE(name, 2)                                                            \
            SSE_HOST_PREDICATE(name, 3)                                                            \
            SSE_HOST_PREDICATE(name, 4)                                                            \
            SSE_HOST_PREDICATE(name, 5)                                                            \
            SSE_HOST_PREDICATE(name, 6)                                                            \
            SSE_HOST_PREDICATE(name, 7)                                                            \
        }                                                                                          \
        return a;                                                                                  \
    }
SSE_FP_COMPARE(SSE_HOST_COMPARE)

/*
 * The 32 predicates of AVX by those of SSE: GT and kin with swapped operands; EQ_UQ and kin by a
 * comparison for order, too. The second sixteen differ in what they make of quiet NaNs: those that
 * are to signal them are preceded by a comparison that does; those that are not see zeros in their
 * place.
 */
#define AVX_HOST_COMPARE(type, low, high)                                                          \
    static __attribute__((noinline, unused))                                                       \
    vec_u64 avx_host_cmp##type(vec_u64 x, vec_u64 y, unsigned imm)                                 \
    {                                                                                              \
        const vec_u64 lanes = {low, high}, none = {0, 0};                                          \
        vec_u64 ordered = ~none, rest = x;                                                         \
        union vec a = {.vq = x}, b = {.vq = y}, r;                                                 \
        bool quiet = (imm & 3) == 0 || (imm & 3) == 3;                                             \
        if ((imm & 16) && quiet)                                                                   \
            sse_host_cmp##type(a, b, 1);                                                           \
        if (((imm & 16) && !quiet) || (quiet && (imm & 8))) {                                      \
            ordered = sse_host_cmp##type(a, b, 7).vq;                                              \
            a.vq = x & ordered;                                                                    \
            b.vq = y & ordered;                                                                    \
        }                                                                                          \
        switch (imm & 15) {                                                                        \
        case 8: /* EQ or unordered */                                                              \
            r.vq = sse_host_cmp##type(a, b, 0).vq | ~ordered;                                      \
            break;                                                                                 \
        case 9:                                                                                    \
            r.vq = sse_host_cmp##type(b, a, 6).vq | ~ordered;                                      \
            break;                                                                                 \
        case 10:                                                                                   \
            r.vq = sse_host_cmp##type(b, a, 5).vq | ~ordered;                                      \
            break;                                                                                 \
        case 11:                                                                                   \
            r.vq = none;                                                                           \
            break;                                                                                 \
        case 12: /* NEQ and ordered */                                                             \
            r.vq = sse_host_cmp##type(a, b, 4).vq & ordered;                                       \
            break;                                                                                 \
        case 13:                                                                                   \
            r.vq = sse_host_cmp##type(b, a, 2).vq & ordered;                                       \
            break;                                                                                 \
        case 14:                                                                                   \
            r.vq = sse_host_cmp##type(b, a, 1).vq & ordered;                                       \
            break;                                                                                 \
        case 15:                                                                                   \
            r.vq = ~none;                                                                          \
            break;                                                                                 \
        default:                                                                                   \
            r = sse_host_cmp##type(a, b, imm);                                                     \
            r.vq = imm & 4 ? r.vq | ~ordered : r.vq & ordered;                                     \
            break;                                                                                 \
        }                                                                                          \
        return (r.vq & lanes) | (rest & ~lanes);                                                   \
    }                                                                                              \
    VEC_FN sse_host_vcmp##type(union vec a, union vec b, unsigned imm)                             \
    {                                                                                              \
        return (union vec){.vq = avx_host_cmp##type(a.vq, b.vq, imm)};                             \
    }
AVX_HOST_COMPARE(ps, ~0ull, ~0ull)
AVX_HOST_COMPARE(pd, ~0ull, ~0ull)
AVX_HOST_COMPARE(ss, 0xffffffff, 0)
AVX_HOST_COMPARE(sd, ~0ull, 0)

/* The integer, sign-extended, in quad 0 of the source. */
#define SSE_HOST_FROM_INTEGER(name)                                                                \
    VEC_FN sse_host_##name(union vec a, union vec b, unsigned imm)                                 \
    {                                                                                              \
        (void)imm;                                                                                 \
        __asm__ volatile(#name "q %1, %0" : "+x"(a.vq) : "r"(b.vq[0]));                            \
        return a;                                                                                  \
    }
SSE_FP_FROM_INTEGER(SSE_HOST_FROM_INTEGER)

#define SSE_HOST_TO_INTEGER(name, insn, T)                                                         \
    VEC_FN sse_host_##name(union vec a, union vec b, unsigned imm)                                 \
    {                                                                                              \
        T result;                                                                                  \
        (void)a;                                                                                   \
        (void)imm;                                                                                 \
        __asm__ volatile(#insn " %1, %0" : "=r"(result) : "x"(b.vq));                              \
        return vec_from64(result, 0);                                                              \
    }
SSE_HOST_TO_INTEGER(cvtss2si32, cvtss2si, uint32_t)
SSE_HOST_TO_INTEGER(cvtss2si64, cvtss2si, uint64_t)
SSE_HOST_TO_INTEGER(cvttss2si32, cvttss2si, uint32_t)
SSE_HOST_TO_INTEGER(cvttss2si64, cvttss2si, uint64_t)
SSE_HOST_TO_INTEGER(cvtsd2si32, cvtsd2si, uint32_t)
SSE_HOST_TO_INTEGER(cvtsd2si64, cvtsd2si, uint64_t)
SSE_HOST_TO_INTEGER(cvttsd2si32, cvttsd2si, uint32_t)
SSE_HOST_TO_INTEGER(cvttsd2si64, cvttsd2si, uint64_t)

#define SSE_HOST_FLAGS(name)                                                                       \
    VEC_FN sse_host_##name(union vec a, union vec b, unsigned imm)                                 \
    {                                                                                              \
        bool zf, pf, cf;                                                                           \
        (void)imm;                                                                                 \
        __asm__ volatile(#name " %4, %3"                                                           \
                         : "=@ccz"(zf), "=@ccp"(pf), "=@ccc"(cf)                                   \
                         : "x"(a.vq), "x"(b.vq));                                                  \
        return vec_from64((uint64_t)(zf * EFLAGS_ZF | pf * EFLAGS_PF | cf * EFLAGS_CF), 0);        \
    }
SSE_FP_FLAGS(SSE_HOST_FLAGS)

/* ADDSUB is SSE3: both operations, each with zeros in the other's lanes, which set no flags. */
#define SSE_HOST_ADDSUB(type, low, high)                                                           \
    VEC_FN sse_host_addsub##type(union vec a, union vec b, unsigned imm)                           \
    {                                                                                              \
        const union vec even = {.vq = {low, high}};                                                \
        union vec difference, sum;                                                                 \
        difference = sse_host_sub##type((union vec){.vq = a.vq & even.vq},                         \
                                        (union vec){.vq = b.vq & even.vq}, imm);                   \
        sum = sse_host_add##type((union vec){.vq = a.vq & ~even.vq},                               \
                                 (union vec){.vq = b.vq & ~even.vq}, imm);                         \
        return vec_select(even, difference, sum);                                                  \
    }
SSE_HOST_ADDSUB(ps, 0xffffffff, 0xffffffff)
SSE_HOST_ADDSUB(pd, ~0ull, 0)

#endif
