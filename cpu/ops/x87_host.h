/*
 * x87 arithmetic by the host's instructions; x86-64 hosts only. The guest's rounding and precision
 * are in the host's control word with all exceptions masked, and so they are here: for ops while
 * vcpu.x87_fast. Every function leaves the host's stack empty and returns its status word: flags
 * collect there, which does no harm since the guest's status word has them all (cpu/fpu.h). C1 is
 * read before anything is popped that the instruction itself has not.
 * Included by cpu/ops/x87_unit.h.
 */
#ifndef CPU_OPS_X87_HOST_H
#define CPU_OPS_X87_HOST_H

#include "cpu/ops/x87_unit.h"

#if defined(__x86_64__)

#define X87_HOST_BINARY(name, instruction, pop)                                                    \
    static inline unsigned x87_host_##name(struct float80 *r, const struct float80 *a,             \
                                           const struct float80 *b)                                \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" instruction "\n\tfnstsw %[sw]\n\t" pop       \
                         "fstpt %[r]"                                                              \
                         : [r] "=m"(*r), [sw] "=&a"(status)                                        \
                         : [a] "m"(*a), [b] "m"(*b)                                                \
                         : "st", "st(1)");                                                         \
        return status;                                                                             \
    }

static inline unsigned x87_host_sqrt(struct float80 *r, const struct float80 *a)
{
    uint16_t status;

    __asm__ volatile("fldt %[a]\n\tfsqrt\n\tfnstsw %[sw]\n\tfstpt %[r]"
                     : [r] "=m"(*r), [sw] "=&a"(status)
                     : [a] "m"(*a)
                     : "st");
    return status;
}

/* *st = *st op operand: m32 and m64 are floating-point numbers, i16 and i32 integers. */
#define X87_HOST_OPERAND(name, instruction, type)                                                  \
    static inline unsigned x87_host_##name(struct float80 *st, type operand)                       \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__ volatile("fldt %[st]\n\t" instruction " %[operand]\n\tfnstsw %[sw]\n\tfstpt %[st]" \
                         : [st] "+m"(*st), [sw] "=&a"(status)                                      \
                         : [operand] "m"(operand)                                                  \
                         : "st");                                                                  \
        return status;                                                                             \
    }
/* *value = *st, converted. */
#define X87_HOST_STORE(name, instruction, type)                                                    \
    static inline unsigned x87_host_##name(const struct float80 *st, type *value)                  \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__ volatile("fldt %[st]\n\t" instruction " %[value]\n\tfnstsw %[sw]"                  \
                         : [value] "=m"(*value), [sw] "=&a"(status)                                \
                         : [st] "m"(*st)                                                           \
                         : "st");                                                                  \
        return status;                                                                             \
    }

/* Compares a with b: C3, C2 and C0 as FCOM or FUCOM (quiet) set them. */
static inline unsigned x87_host_compare(const struct float80 *a, const struct float80 *b,
                                        bool quiet)
{
    uint16_t status;

    if (quiet)
        __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\tfucompp\n\tfnstsw %[sw]"
                         : [sw] "=a"(status)
                         : [a] "m"(*a), [b] "m"(*b)
                         : "st", "st(1)");
    else
        __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\tfcompp\n\tfnstsw %[sw]"
                         : [sw] "=a"(status)
                         : [a] "m"(*a), [b] "m"(*b)
                         : "st", "st(1)");
    return status;
}

#else /* declared, but never called: X87_FAST is false */

#define X87_HOST_BINARY(name, instruction, pop) x87_host_binary_fn x87_host_##name;
#define X87_HOST_OPERAND(name, instruction, type)                                                  \
    unsigned x87_host_##name(struct float80 *st, type operand);
#define X87_HOST_STORE(name, instruction, type)                                                    \
    unsigned x87_host_##name(const struct float80 *st, type *value);
unsigned x87_host_sqrt(struct float80 *r, const struct float80 *a);
unsigned x87_host_compare(const struct float80 *a, const struct float80 *b, bool quiet);

#endif

X87_HOST_BINARY(add, "faddp", "")
X87_HOST_BINARY(sub, "fsub %%st(1), %%st", "fstp %%st(1)\n\t")
X87_HOST_BINARY(mul, "fmulp", "")
X87_HOST_BINARY(div, "fdiv %%st(1), %%st", "fstp %%st(1)\n\t")

#define X87_HOST_OPERANDS(name)                                                                    \
    X87_HOST_OPERAND(f##name##_m32, "f" #name "s", uint32_t)                                       \
    X87_HOST_OPERAND(f##name##_m64, "f" #name "l", uint64_t)                                       \
    X87_HOST_OPERAND(f##name##_i16, "fi" #name "s", uint16_t)                                      \
    X87_HOST_OPERAND(f##name##_i32, "fi" #name "l", uint32_t)

X87_HOST_OPERANDS(add)
X87_HOST_OPERANDS(mul)
X87_HOST_OPERANDS(sub)
X87_HOST_OPERANDS(subr)
X87_HOST_OPERANDS(div)
X87_HOST_OPERANDS(divr)

X87_HOST_STORE(to_f32, "fstps", uint32_t)
X87_HOST_STORE(to_f64, "fstpl", uint64_t)
X87_HOST_STORE(to_i16, "fistps", uint16_t)
X87_HOST_STORE(to_i32, "fistpl", uint32_t)
X87_HOST_STORE(to_i64, "fistpll", uint64_t)

#undef X87_HOST_BINARY
#undef X87_HOST_OPERAND
#undef X87_HOST_OPERANDS
#undef X87_HOST_STORE

#endif
