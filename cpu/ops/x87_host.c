/*
 * Transcendental functions on the host's x87, with the guest's rounding and all exceptions masked
 * there. Unlike the arithmetic in x87_host.h they also serve guests that unmask exceptions, and so
 * they begin and end without flags.
 */
#include "cpu/ops/x87_unit.h"

#if defined(__x86_64__)

/* What an operation is to hand back: its flags, C1 and C2, nothing of the host's TOP. */
static inline uint16_t host_end(uint16_t status)
{
    if (status & SW_EXCEPTIONS)
        __asm__ volatile("fnclex");
    return status & (SW_EXCEPTIONS | SW_C1 | SW_C2);
}

/* The host's answer is the masked one, which does not do if overflow or underflow is unmasked and
 * happens, or if the result is tiny, which the host passes in silence when it is exact. */
static inline bool wants_soft(uint16_t control, uint16_t status, const struct float80 *r)
{
    if ((control & (SW_OE | SW_UE)) == (SW_OE | SW_UE))
        return false;
    return (status & (SW_OE | SW_UE)) || ((r->sign_exponent & 0x7fff) == 0 && r->significand != 0);
}

#define OF_TWO(name, instruction)                                                                  \
    uint16_t x87_host_##name(uint16_t control, struct float80 *r, const struct float80 *a,         \
                             const struct float80 *b)                                              \
    {                                                                                              \
        struct float80 own;                                                                        \
        uint16_t status;                                                                           \
        __asm__ volatile("fnclex\n\tfldt %[b]\n\tfldt %[a]\n\t" instruction                        \
                         "\n\tfnstsw %[sw]\n\tfstpt %[r]"                                          \
                         : [r] "=m"(own), [sw] "=&a"(status)                                       \
                         : [a] "m"(*a), [b] "m"(*b)                                                \
                         : "st", "st(1)");                                                         \
        status = host_end(status);                                                                 \
        if (wants_soft(control, status, &own))                                                     \
            return x87_soft_##name(control, r, a, b);                                              \
        *r = own;                                                                                  \
        return status;                                                                             \
    }

OF_TWO(yl2x, "fyl2x")
OF_TWO(yl2xp1, "fyl2xp1")
OF_TWO(patan, "fpatan")

#define OF_ONE(name, instruction)                                                                  \
    uint16_t x87_host_##name(uint16_t control, struct float80 *r, const struct float80 *a)         \
    {                                                                                              \
        struct float80 own;                                                                        \
        uint16_t status;                                                                           \
        __asm__ volatile("fnclex\n\tfldt %[a]\n\t" instruction "\n\tfnstsw %[sw]\n\tfstpt %[r]"    \
                         : [r] "=m"(own), [sw] "=&a"(status)                                       \
                         : [a] "m"(*a)                                                             \
                         : "st");                                                                  \
        status = host_end(status);                                                                 \
        if (wants_soft(control, status, &own))                                                     \
            return x87_soft_##name(control, r, a);                                                 \
        *r = own;                                                                                  \
        return status;                                                                             \
    }

OF_ONE(2xm1, "f2xm1")
OF_ONE(sin, "fsin")
OF_ONE(cos, "fcos")

/* FPTAN and FSINCOS push a second result, unless the operand is out of range (C2). */
#define PAIR(name, instruction)                                                                    \
    uint16_t x87_host_##name(uint16_t control, struct float80 *r, const struct float80 *a)         \
    {                                                                                              \
        struct float80 x = *a, first, second;                                                      \
        uint16_t status;                                                                           \
        __asm__ volatile("fnclex\n\tfldt %[a]\n\t" instruction "\n\tfnstsw %[sw]\n\t"              \
                         "testl $0x400, %k[sw]\n\tjnz 1f\n\tfstpt %[second]\n\t1: fstpt %[first]"  \
                         : [first] "=m"(first), [second] "=m"(second), [sw] "=&a"(status)          \
                         : [a] "m"(x)                                                              \
                         : "st", "st(1)", "cc");                                                   \
        status = host_end(status);                                                                 \
        if (status & SW_C2)                                                                        \
            return status;                                                                         \
        if (wants_soft(control, status, &first))                                                   \
            return x87_soft_##name(control, r, &x);                                                \
        r[0] = first;                                                                              \
        r[1] = second;                                                                             \
        return status;                                                                             \
    }

PAIR(ptan, "fptan")
PAIR(sincos, "fsincos")

#endif
