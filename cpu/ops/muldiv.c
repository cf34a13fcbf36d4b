/*
 * MUL, IMUL, DIV, IDIV. SF, ZF, AF and PF after a multiplication are undefined in the manual, as
 * all flags after a division are: multiplications set them by the low half, divisions leave them
 * alone.
 */
#include "cpu/ops/alu.h"

typedef unsigned __int128 uint128_t;
typedef __int128 int128_t;

/* uint64_t's wide type is uint128_t, and so on. */
#define WIDE_8   uint16_t
#define WIDE_16  uint32_t
#define WIDE_32  uint64_t
#define WIDE_64  uint128_t
#define SWIDE_8  int16_t
#define SWIDE_16 int32_t
#define SWIDE_32 int64_t
#define SWIDE_64 int128_t

/* AX, DX:AX, EDX:EAX or RDX:RAX from its halves. */
#define PAIR_ACCESS(bits)                                                                          \
    static inline void pair_set##bits(struct vcpu *cpu, uint##bits##_t low, uint##bits##_t high)   \
    {                                                                                              \
        reg_set##bits(cpu, ACCUMULATOR_##bits, low);                                               \
        reg_set##bits(cpu, UPPER_##bits, high);                                                    \
    }                                                                                              \
    static inline WIDE_##bits pair_get##bits(const struct vcpu *cpu)                               \
    {                                                                                              \
        return (WIDE_##bits)((WIDE_##bits)reg_get##bits(cpu, UPPER_##bits) << bits |               \
                             reg_get##bits(cpu, ACCUMULATOR_##bits));                              \
    }

PAIR_ACCESS(8)
PAIR_ACCESS(16)
PAIR_ACCESS(32)
PAIR_ACCESS(64)

#define MULTIPLY(bits)                                                                             \
    static inline void mul##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t b)         \
    {                                                                                              \
        WIDE_##bits p = (WIDE_##bits)((WIDE_##bits)reg_get##bits(cpu, ACCUMULATOR_##bits) * b);    \
        uint##bits##_t low = (uint##bits##_t)p, high = (uint##bits##_t)(p >> bits);                \
        (void)i;                                                                                   \
        pair_set##bits(cpu, low, high);                                                            \
        flags_result_co##bits(cpu, low, high != 0, high != 0);                                     \
    }                                                                                              \
    static inline void imul##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t b)        \
    {                                                                                              \
        SWIDE_##bits a = (int##bits##_t)reg_get##bits(cpu, ACCUMULATOR_##bits);                    \
        SWIDE_##bits p = (SWIDE_##bits)(a * (int##bits##_t)b);                                     \
        bool over = p != (int##bits##_t)p;                                                         \
        (void)i;                                                                                   \
        pair_set##bits(cpu, (uint##bits##_t)p, (uint##bits##_t)(p >> bits));                       \
        flags_result_co##bits(cpu, (uint##bits##_t)p, over, over);                                 \
    }

MULTIPLY(8)
MULTIPLY(16)
MULTIPLY(32)
MULTIPLY(64)

/*
 * Division by magnitudes, so that no C division overflows. #DE if the divisor is 0 or the quotient
 * does not fit (SDM 2A "DIV", "IDIV").
 */
#define DIVIDE(bits)                                                                               \
    static inline void div##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t b)         \
    {                                                                                              \
        WIDE_##bits a = pair_get##bits(cpu);                                                       \
        uint##bits##_t low = (uint##bits##_t)a, high = (uint##bits##_t)(a >> bits);                \
        if (high >= b)                                                                             \
            cpu_raise(cpu, i, EXC_DE);                                                             \
        if (high == 0)                                                                             \
            pair_set##bits(cpu, low / b, low % b);                                                 \
        else                                                                                       \
            pair_set##bits(cpu, (uint##bits##_t)(a / b), (uint##bits##_t)(a % b));                 \
    }                                                                                              \
    static inline void idiv##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t b)        \
    {                                                                                              \
        WIDE_##bits a = pair_get##bits(cpu), quotient, rest, limit;                                \
        bool a_negative = (SWIDE_##bits)a < 0, b_negative = (int##bits##_t)b < 0;                  \
        WIDE_##bits divisor = b_negative ? (uint##bits##_t)(0 - b) : b;                            \
        if (divisor == 0)                                                                          \
            cpu_raise(cpu, i, EXC_DE);                                                             \
        if (a_negative)                                                                            \
            a = (WIDE_##bits)(0 - a);                                                              \
        if (a >> bits == 0) {                                                                      \
            quotient = (uint##bits##_t)a / (uint##bits##_t)divisor;                                \
            rest = (uint##bits##_t)a % (uint##bits##_t)divisor;                                    \
        } else {                                                                                   \
            quotient = a / divisor;                                                                \
            rest = a % divisor;                                                                    \
        }                                                                                          \
        limit = (WIDE_##bits)((WIDE_##bits)1 << (bits - 1));                                       \
        if (quotient > limit || (quotient == limit && a_negative == b_negative))                   \
            cpu_raise(cpu, i, EXC_DE);                                                             \
        pair_set##bits(cpu, (uint##bits##_t)(a_negative != b_negative ? 0 - quotient : quotient),  \
                       (uint##bits##_t)(a_negative ? 0 - rest : rest));                            \
    }

DIVIDE(8)
DIVIDE(16)
DIVIDE(32)
DIVIDE(64)

#define ONE_OPERAND(name, bits)                                                                    \
    OP(name##_r##bits)                                                                             \
    {                                                                                              \
        name##bits(cpu, i, reg_get##bits(cpu, i->rm));                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m##bits)                                                                             \
    {                                                                                              \
        name##bits(cpu, i, mem_read##bits(cpu, i));                                                \
        NEXT;                                                                                      \
    }

ALU_ALL(ONE_OPERAND, mul)
ALU_ALL(ONE_OPERAND, imul)
ALU_ALL(ONE_OPERAND, div)
ALU_ALL(ONE_OPERAND, idiv)

/* The two- and three-operand forms, IMUL G,E and IMUL G,E,I: the product cut to the operand size.
 */
#define IMUL_FORMS(bits)                                                                           \
    static inline void imul_to##bits(struct vcpu *cpu, unsigned n, uint##bits##_t a,               \
                                     uint##bits##_t b)                                             \
    {                                                                                              \
        SWIDE_##bits p = (SWIDE_##bits)((SWIDE_##bits)(int##bits##_t)a * (int##bits##_t)b);        \
        bool over = p != (int##bits##_t)p;                                                         \
        reg_set##bits(cpu, n, (uint##bits##_t)p);                                                  \
        flags_result_co##bits(cpu, (uint##bits##_t)p, over, over);                                 \
    }                                                                                              \
    OP(imul_GE_r##bits)                                                                            \
    {                                                                                              \
        imul_to##bits(cpu, i->reg, reg_get##bits(cpu, i->reg), reg_get##bits(cpu, i->rm));         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(imul_GE_m##bits)                                                                            \
    {                                                                                              \
        imul_to##bits(cpu, i->reg, reg_get##bits(cpu, i->reg), mem_read##bits(cpu, i));            \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(imul_GEI_r##bits)                                                                           \
    {                                                                                              \
        imul_to##bits(cpu, i->reg, reg_get##bits(cpu, i->rm), (uint##bits##_t)i->imm);             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(imul_GEI_m##bits)                                                                           \
    {                                                                                              \
        imul_to##bits(cpu, i->reg, mem_read##bits(cpu, i), (uint##bits##_t)i->imm);                \
        NEXT;                                                                                      \
    }

IMUL_FORMS(16)
IMUL_FORMS(32)
IMUL_FORMS(64)
