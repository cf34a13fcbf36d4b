/*
 * x87 arithmetic on the host's x87, with the guest's rounding and precision and all exceptions
 * masked. Between two operations the host's control word is the one of the psABI and its flags are
 * clear, so that in the usual case nothing but the operation itself is left to do.
 */
#include "cpu/fpu.h"
#include "cpu/ops/x87_unit.h"

#if defined(__x86_64__)

static inline uint16_t host_begin(uint16_t control)
{
    uint16_t host = control | CW_MASKS | CW_RESERVED, old;

    __asm__ volatile("fnstsw %0" : "=a"(old));
    if (unlikely(old & (SW_EXCEPTIONS | SW_SF)))
        __asm__ volatile("fnclex");
    if (host != CW_INIT)
        __asm__ volatile("fldcw %0" : : "m"(host));
    return host;
}

/* What an operation is to hand back: its flags, C1 and C2, nothing of the host's TOP. */
static inline uint16_t host_end(uint16_t host, uint16_t status)
{
    static const uint16_t standard = CW_INIT;

    if (host != CW_INIT)
        __asm__ volatile("fldcw %0" : : "m"(standard));
    if (status & SW_EXCEPTIONS)
        __asm__ volatile("fnclex");
    return status & (SW_EXCEPTIONS | SW_C1 | SW_C2);
}

/* The host's answer is the masked one. With overflow or underflow unmasked it goes to a place of
 * its own first: operands are still needed if those exceptions happen, or if the result is tiny,
 * which the host passes in silence when it is exact. */
static inline bool is_masked(uint16_t control)
{
    return likely((control & (SW_OE | SW_UE)) == (SW_OE | SW_UE));
}

static inline bool wants_soft(uint16_t status, const struct float80 *r)
{
    return (status & (SW_OE | SW_UE)) ||
           ((r->sign_exponent & 0x7fff) == 0 && r->significand != 0);
}

#define ARITHMETIC(name, instruction, pop)                                                         \
    uint16_t x87_host_##name(uint16_t control, struct float80 *r, const struct float80 *a,         \
                             const struct float80 *b)                                              \
    {                                                                                              \
        struct float80 own, *out = is_masked(control) ? r : &own;                                  \
        uint16_t host = host_begin(control), status;                                               \
        __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" instruction "\n\tfnstsw %[sw]\n\t" pop       \
                         "fstpt %[r]"                                                              \
                         : [r] "=m"(*out), [sw] "=&a"(status)                                      \
                         : [a] "m"(*a), [b] "m"(*b)                                                \
                         : "st", "st(1)");                                                         \
        status = host_end(host, status);                                                           \
        if (likely(out == r))                                                                      \
            return status;                                                                         \
        if (wants_soft(status, out))                                                               \
            return x87_soft_##name(control, r, a, b);                                              \
        *r = own;                                                                                  \
        return status;                                                                             \
    }

/* ST(0) = a, ST(1) = b. C1 is read before anything is popped that the instruction has not. */
ARITHMETIC(add, "faddp", "")
ARITHMETIC(sub, "fsub %%st(1), %%st", "fstp %%st(1)\n\t")
ARITHMETIC(mul, "fmulp", "")
ARITHMETIC(div, "fdiv %%st(1), %%st", "fstp %%st(1)\n\t")
ARITHMETIC(yl2x, "fyl2x", "")
ARITHMETIC(yl2xp1, "fyl2xp1", "")
ARITHMETIC(patan, "fpatan", "")

#define FUNCTION(name, instruction)                                                                \
    uint16_t x87_host_##name(uint16_t control, struct float80 *r, const struct float80 *a)         \
    {                                                                                              \
        struct float80 own, *out = is_masked(control) ? r : &own;                                  \
        uint16_t host = host_begin(control), status;                                               \
        __asm__ volatile("fldt %[a]\n\t" instruction "\n\tfnstsw %[sw]\n\tfstpt %[r]"              \
                         : [r] "=m"(*out), [sw] "=&a"(status)                                      \
                         : [a] "m"(*a)                                                             \
                         : "st");                                                                  \
        status = host_end(host, status);                                                           \
        if (likely(out == r))                                                                      \
            return status;                                                                         \
        if (wants_soft(status, out))                                                               \
            return x87_soft_##name(control, r, a);                                                 \
        *r = own;                                                                                  \
        return status;                                                                             \
    }

FUNCTION(sqrt, "fsqrt")
FUNCTION(2xm1, "f2xm1")
FUNCTION(sin, "fsin")
FUNCTION(cos, "fcos")

/* FPTAN and FSINCOS push a second result, unless the operand is out of range (C2). */
#define PAIR(name, instruction, count)                                                             \
    uint16_t x87_host_##name(uint16_t control, struct float80 *r, const struct float80 *a)         \
    {                                                                                              \
        struct float80 x = *a, first, second;                                                      \
        uint16_t host = host_begin(control), status;                                               \
        __asm__ volatile("fldt %[a]\n\t" instruction "\n\tfnstsw %[sw]\n\t"                        \
                         "testl $0x400, %k[sw]\n\tjnz 1f\n\tfstpt %[second]\n\t1: fstpt %[first]"  \
                         : [first] "=m"(first), [second] "=m"(second), [sw] "=&a"(status)          \
                         : [a] "m"(x)                                                              \
                         : "st", "st(1)", "cc");                                                   \
        status = host_end(host, status);                                                           \
        if (status & SW_C2)                                                                        \
            return status;                                                                         \
        if (!is_masked(control) && wants_soft(status, &first))                                     \
            return x87_soft_##name(control, r, &x);                                                \
        r[0] = first;                                                                              \
        if (count == 2)                                                                            \
            r[1] = second;                                                                         \
        return status;                                                                             \
    }

PAIR(ptan, "fptan", 1)
PAIR(sincos, "fsincos", 2)

#endif
