/* AND, OR, XOR, TEST, NOT. */
#include "cpu/ops/alu.h"

#define LOGIC_VALUES(bits)                                                                         \
    static inline uint##bits##_t and_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 uint##bits##_t b)                                 \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return a & b;                                                                              \
    }                                                                                              \
    static inline uint##bits##_t or_value##bits(const struct vcpu *cpu, uint##bits##_t a,          \
                                                uint##bits##_t b)                                  \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return a | b;                                                                              \
    }                                                                                              \
    static inline uint##bits##_t xor_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 uint##bits##_t b)                                 \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return a ^ b;                                                                              \
    }                                                                                              \
    static inline void and_flags##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,       \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        flags_logic##bits(cpu, r);                                                                 \
    }                                                                                              \
    static inline uint##bits##_t not_value##bits(uint##bits##_t a)                                 \
    {                                                                                              \
        return (uint##bits##_t) ~a;                                                                \
    }                                                                                              \
    static inline void not_flags##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t r)       \
    {                                                                                              \
        (void)cpu;                                                                                 \
        (void)a;                                                                                   \
        (void)r;                                                                                   \
    }

LOGIC_VALUES(8)
LOGIC_VALUES(16)
LOGIC_VALUES(32)
LOGIC_VALUES(64)

#define or_flags8    and_flags8
#define or_flags16   and_flags16
#define or_flags32   and_flags32
#define or_flags64   and_flags64
#define xor_flags8   and_flags8
#define xor_flags16  and_flags16
#define xor_flags32  and_flags32
#define xor_flags64  and_flags64
#define test_flags8  and_flags8
#define test_flags16 and_flags16
#define test_flags32 and_flags32
#define test_flags64 and_flags64
#define test_value8  and_value8
#define test_value16 and_value16
#define test_value32 and_value32
#define test_value64 and_value64

ALU_ALL(ALU_WRITE_FORMS, and)
ALU_ALL(ALU_WRITE_FORMS, or)
ALU_ALL(ALU_WRITE_FORMS, xor)
ALU_ALL(ALU_READ_FORMS, test)
ALU_ALL(UNARY_FORMS, not )
