/*
 * Status flags by the host's; x86-64 hosts only. An arithmetic op repeats its operation for the
 * flags and stores what LAHF and SETO say in vcpu.flags_word: the low byte of EFLAGS in bits 8 to
 * 15, OF in bit 0. Bits 9, 11 and 13, and 1 to 7, have no meaning. LAHF in 64-bit mode is in every
 * processor since 2006 (CPUID 80000001h, ECX bit 0).
 * Source: Intel SDM volume 2, LAHF.
 */
#ifndef CPU_FLAGS_HOST_H
#define CPU_FLAGS_HOST_H

#include "cpu/cpu.h"

#define FLAGS_WORD_OF BIT(0)
#define FLAGS_WORD_CF BIT(8)
#define FLAGS_WORD_PF BIT(10)
#define FLAGS_WORD_AF BIT(12)
#define FLAGS_WORD_ZF BIT(14)
#define FLAGS_WORD_SF BIT(15)

#define FLAGS_LOW_BYTE (EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF)

#define FLAG_DEFINE(name, bit)                                                                     \
    static inline bool flag_##name(const struct vcpu *cpu)                                         \
    {                                                                                              \
        return cpu->flags_word & (bit);                                                            \
    }
FLAG_DEFINE(cf, FLAGS_WORD_CF)
FLAG_DEFINE(of, FLAGS_WORD_OF)
FLAG_DEFINE(af, FLAGS_WORD_AF)
FLAG_DEFINE(zf, FLAGS_WORD_ZF)
FLAG_DEFINE(sf, FLAGS_WORD_SF)
FLAG_DEFINE(pf, FLAGS_WORD_PF)
#undef FLAG_DEFINE

static inline uint32_t flags_get(const struct vcpu *cpu)
{
    return (cpu->flags_word >> 8 & FLAGS_LOW_BYTE) | (uint32_t)flag_of(cpu) * EFLAGS_OF;
}

static inline void flags_set(struct vcpu *cpu, uint32_t f)
{
    cpu->flags_word = (uint16_t)((f & FLAGS_LOW_BYTE) << 8 | (f & EFLAGS_OF ? FLAGS_WORD_OF : 0));
}

/* An instruction of two operands whose flags are wanted. */
#define FLAGS_BINARY(name, instruction, bits)                                                      \
    static inline void flags_##name##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,    \
                                          uint##bits##_t r)                                        \
    {                                                                                              \
        uint16_t word;                                                                             \
        (void)r;                                                                                   \
        __asm__(instruction " %[b], %[a]\n\tlahf\n\tseto %%al"                                    \
                : "=&a"(word), [a] "+r"(a)                                                         \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        cpu->flags_word = word;                                                                    \
    }

/* The same with a carry, which is the difference between r and what it would be without. */
#define FLAGS_CARRY(name, instruction, carry, bits)                                                \
    static inline void flags_##name##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,    \
                                          uint##bits##_t r)                                        \
    {                                                                                              \
        uint8_t c = (uint8_t)(carry);                                                              \
        uint16_t word;                                                                             \
        __asm__("addb $255, %[c]\n\t" instruction " %[b], %[a]\n\tlahf\n\tseto %%al"              \
                : "=&a"(word), [a] "+r"(a), [c] "+r"(c)                                            \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        cpu->flags_word = word;                                                                    \
    }

/* INC and DEC keep the carry that BT has brought. */
#define FLAGS_UNARY(name, bits)                                                                    \
    static inline void flags_##name##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t r)    \
    {                                                                                              \
        uint32_t old = cpu->flags_word;                                                            \
        uint16_t word;                                                                             \
        (void)r;                                                                                   \
        __asm__("btl $8, %[old]\n\t" #name " %[a]\n\tlahf\n\tseto %%al"                           \
                : "=&a"(word), [a] "+r"(a)                                                         \
                : [old] "r"(old)                                                                   \
                : "cc");                                                                           \
        cpu->flags_word = word;                                                                    \
    }

/* SF, ZF and PF of r; the others clear, as after a comparison with 0. */
#define FLAGS_RESULT(bits)                                                                         \
    static inline uint16_t flags_of_result##bits(uint##bits##_t r)                                 \
    {                                                                                              \
        uint16_t word = 0;                                                                         \
        __asm__("cmp $0, %[r]\n\tlahf" : "+&a"(word) : [r] "r"(r) : "cc");                         \
        return word;                                                                               \
    }                                                                                              \
    static inline void flags_logic##bits(struct vcpu *cpu, uint##bits##_t r)                       \
    {                                                                                              \
        cpu->flags_word = flags_of_result##bits(r);                                                \
    }                                                                                              \
    static inline void flags_result_co##bits(struct vcpu *cpu, uint##bits##_t r, bool cf, bool of) \
    {                                                                                              \
        cpu->flags_word = (uint16_t)(flags_of_result##bits(r) | cf * FLAGS_WORD_CF | of);          \
    }

#define FLAGS_DEFINE(bits)                                                                         \
    FLAGS_BINARY(add, "add", bits)                                                                 \
    FLAGS_BINARY(sub, "cmp", bits)                                                                 \
    FLAGS_CARRY(adc, "adc", r - a - b, bits)                                                       \
    FLAGS_CARRY(sbb, "sbb", a - b - r, bits)                                                       \
    FLAGS_UNARY(inc, bits)                                                                         \
    FLAGS_UNARY(dec, bits)                                                                         \
    FLAGS_RESULT(bits)

FLAGS_DEFINE(8)
FLAGS_DEFINE(16)
FLAGS_DEFINE(32)
FLAGS_DEFINE(64)
#undef FLAGS_DEFINE
#undef FLAGS_BINARY
#undef FLAGS_CARRY
#undef FLAGS_UNARY
#undef FLAGS_RESULT

static inline void flags_set_co(struct vcpu *cpu, bool cf, bool of)
{
    cpu->flags_word = (uint16_t)((cpu->flags_word & ~(FLAGS_WORD_CF | FLAGS_WORD_OF)) |
                                 cf * FLAGS_WORD_CF | of);
}

#endif
