/* ADD, ADC, SUB, SBB, CMP, NEG, INC, DEC. */
#include "cpu/ops/alu.h"

#define ARITH_VALUES(bits)                                                                         \
    static inline uint##bits##_t add_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 uint##bits##_t b)                                 \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return (uint##bits##_t)(a + b);                                                            \
    }                                                                                              \
    static inline uint##bits##_t adc_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 uint##bits##_t b)                                 \
    {                                                                                              \
        return (uint##bits##_t)(a + b + flag_cf(cpu));                                             \
    }                                                                                              \
    static inline uint##bits##_t sub_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 uint##bits##_t b)                                 \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return (uint##bits##_t)(a - b);                                                            \
    }                                                                                              \
    static inline uint##bits##_t sbb_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 uint##bits##_t b)                                 \
    {                                                                                              \
        return (uint##bits##_t)(a - b - flag_cf(cpu));                                             \
    }                                                                                              \
    static inline uint##bits##_t neg_value##bits(uint##bits##_t a)                                 \
    {                                                                                              \
        return (uint##bits##_t)(0 - a);                                                            \
    }                                                                                              \
    static inline void neg_flags##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t r)       \
    {                                                                                              \
        flags_sub##bits(cpu, 0, a, r);                                                             \
    }                                                                                              \
    static inline uint##bits##_t inc_value##bits(uint##bits##_t a)                                 \
    {                                                                                              \
        return (uint##bits##_t)(a + 1);                                                            \
    }                                                                                              \
    static inline uint##bits##_t dec_value##bits(uint##bits##_t a)                                 \
    {                                                                                              \
        return (uint##bits##_t)(a - 1);                                                            \
    }

ARITH_VALUES(8)
ARITH_VALUES(16)
ARITH_VALUES(32)
ARITH_VALUES(64)

#define add_flags8  flags_add8
#define add_flags16 flags_add16
#define add_flags32 flags_add32
#define add_flags64 flags_add64
#define adc_flags8  flags_adc8
#define adc_flags16 flags_adc16
#define adc_flags32 flags_adc32
#define adc_flags64 flags_adc64
#define sub_flags8  flags_sub8
#define sub_flags16 flags_sub16
#define sub_flags32 flags_sub32
#define sub_flags64 flags_sub64
#define sbb_flags8  flags_sbb8
#define sbb_flags16 flags_sbb16
#define sbb_flags32 flags_sbb32
#define sbb_flags64 flags_sbb64
#define cmp_flags8  flags_sub8
#define cmp_flags16 flags_sub16
#define cmp_flags32 flags_sub32
#define cmp_flags64 flags_sub64
#define cmp_value8  sub_value8
#define cmp_value16 sub_value16
#define cmp_value32 sub_value32
#define cmp_value64 sub_value64
#define inc_flags8  flags_inc8
#define inc_flags16 flags_inc16
#define inc_flags32 flags_inc32
#define inc_flags64 flags_inc64
#define dec_flags8  flags_dec8
#define dec_flags16 flags_dec16
#define dec_flags32 flags_dec32
#define dec_flags64 flags_dec64

ALU_ALL(ALU_WRITE_FORMS, add)
ALU_ALL(ALU_WRITE_FORMS, adc)
ALU_ALL(ALU_WRITE_FORMS, sub)
ALU_ALL(ALU_WRITE_FORMS, sbb)
ALU_ALL(ALU_READ_FORMS, cmp)
ALU_ALL(UNARY_FORMS, neg)
ALU_ALL(UNARY_FORMS, inc)
ALU_ALL(UNARY_FORMS, dec)
