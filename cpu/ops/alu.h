/*
 * The forms of a two-operand arithmetic instruction, written once. A file that has
 *
 *     uint32_t add_value32(const struct vcpu *cpu, uint32_t a, uint32_t b);   // the result
 *     void add_flags32(struct vcpu *cpu, uint32_t a, uint32_t b, uint32_t r); // after the commit
 *
 * for all four widths says ALU_WRITE_FORMS(add, 8) and so on, and gets the op functions
 *   op_add_EG_r32, op_add_EG_m32   destination ModRM.rm, source ModRM.reg
 *   op_add_GE_r32, op_add_GE_m32   destination ModRM.reg, source ModRM.rm
 *   op_add_EI_r32, op_add_EI_m32   destination ModRM.rm, source immediate
 *   op_add_AI_32                   destination accumulator, source immediate
 * ALU_READ_FORMS makes the same for instructions that only set flags (CMP, TEST).
 */
#ifndef CPU_OPS_ALU_H
#define CPU_OPS_ALU_H

#include "cpu/ops/fast.h"
#include "cpu/ops/ops.h"

/* Byte registers with a fixed name, as byte offsets in vcpu.gpr. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define REG_AL 7
#define REG_AH 6
#define REG_CL 15
#else
#define REG_AL 0
#define REG_AH 1
#define REG_CL 8
#endif

/* The number of the accumulator for reg_get8 and its sisters. */
#define ACCUMULATOR_8  REG_AL
#define ACCUMULATOR_16 GPR_RAX
#define ACCUMULATOR_32 GPR_RAX
#define ACCUMULATOR_64 GPR_RAX

/* And of DX, EDX, RDX; AH for bytes: the upper half of a product or dividend. */
#define UPPER_8  REG_AH
#define UPPER_16 GPR_RDX
#define UPPER_32 GPR_RDX
#define UPPER_64 GPR_RDX

#define ALU_WRITE_FORMS(name, bits)                                                                \
    static inline void name##_to_reg##bits(struct vcpu *cpu, unsigned n, uint##bits##_t b)         \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, n);                                                  \
        uint##bits##_t r = name##_value##bits(cpu, a, b);                                          \
        reg_set##bits(cpu, n, r);                                                                  \
        name##_flags##bits(cpu, a, b, r);                                                          \
    }                                                                                              \
    static inline void name##_to_mem##bits(struct vcpu *cpu, const struct insn *i,                 \
                                           uint##bits##_t b)                                       \
    {                                                                                              \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin##bits(cpu, i, &m), r;                                     \
        do {                                                                                       \
            r = name##_value##bits(cpu, a, b);                                                     \
        } while (!mem_rmw_commit##bits(cpu, i, &m, &a, r));                                        \
        name##_flags##bits(cpu, a, b, r);                                                          \
    }                                                                                              \
    static inline void name##_to_host##bits(struct vcpu *cpu, void *p, uint##bits##_t b)           \
    {                                                                                              \
        uint##bits##_t a = guest_load##bits(p), r = name##_value##bits(cpu, a, b);                 \
        guest_store##bits(p, r);                                                                   \
        name##_flags##bits(cpu, a, b, r);                                                          \
    }                                                                                              \
    ALU_FORMS(name, bits, FAST_WRITE)

#define ALU_READ_FORMS(name, bits)                                                                 \
    static inline void name##_to_reg##bits(struct vcpu *cpu, unsigned n, uint##bits##_t b)         \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, n);                                                  \
        name##_flags##bits(cpu, a, b, name##_value##bits(cpu, a, b));                              \
    }                                                                                              \
    static inline void name##_to_mem##bits(struct vcpu *cpu, const struct insn *i,                 \
                                           uint##bits##_t b)                                       \
    {                                                                                              \
        uint##bits##_t a = mem_read##bits(cpu, i);                                                 \
        name##_flags##bits(cpu, a, b, name##_value##bits(cpu, a, b));                              \
    }                                                                                              \
    static inline void name##_to_host##bits(struct vcpu *cpu, const void *p, uint##bits##_t b)     \
    {                                                                                              \
        uint##bits##_t a = guest_load##bits(p);                                                    \
        name##_flags##bits(cpu, a, b, name##_value##bits(cpu, a, b));                              \
    }                                                                                              \
    ALU_FORMS(name, bits, FAST_READ)

#define ALU_FORMS(name, bits, fast)                                                                \
    OP(name##_EG_r##bits)                                                                          \
    {                                                                                              \
        name##_to_reg##bits(cpu, i->rm, reg_get##bits(cpu, i->reg));                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_EG_m##bits)                                                                          \
    {                                                                                              \
        name##_to_mem##bits(cpu, i, reg_get##bits(cpu, i->reg));                                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_GE_r##bits)                                                                          \
    {                                                                                              \
        name##_to_reg##bits(cpu, i->reg, reg_get##bits(cpu, i->rm));                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_GE_m##bits)                                                                          \
    {                                                                                              \
        name##_to_reg##bits(cpu, i->reg, mem_read##bits(cpu, i));                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_EI_r##bits)                                                                          \
    {                                                                                              \
        name##_to_reg##bits(cpu, i->rm, (uint##bits##_t)i->imm);                                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_EI_m##bits)                                                                          \
    {                                                                                              \
        name##_to_mem##bits(cpu, i, (uint##bits##_t)i->imm);                                       \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_AI_##bits)                                                                           \
    {                                                                                              \
        name##_to_reg##bits(cpu, ACCUMULATOR_##bits, (uint##bits##_t)i->imm);                      \
        NEXT;                                                                                      \
    }                                                                                              \
    fast(name##_EG_m##bits, bits / 8, name##_to_host##bits(cpu, p, reg_get##bits(cpu, i->reg)))    \
    fast(name##_EI_m##bits, bits / 8, name##_to_host##bits(cpu, p, (uint##bits##_t)i->imm))        \
    FAST_READ(name##_GE_m##bits, bits / 8,                                                         \
              name##_to_reg##bits(cpu, i->reg, guest_load##bits(p)))

/* The forms of a one-operand instruction (NOT, NEG, INC, DEC): name_value(cpu, a) and
 * name_flags(cpu, a, r) make op_name_r32, op_name_m32. */
#define UNARY_FORMS(name, bits)                                                                    \
    OP(name##_r##bits)                                                                             \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, i->rm);                                              \
        uint##bits##_t r = name##_value##bits(a);                                                  \
        reg_set##bits(cpu, i->rm, r);                                                              \
        name##_flags##bits(cpu, a, r);                                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m##bits)                                                                             \
    {                                                                                              \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin##bits(cpu, i, &m), r;                                     \
        do {                                                                                       \
            r = name##_value##bits(a);                                                             \
        } while (!mem_rmw_commit##bits(cpu, i, &m, &a, r));                                        \
        name##_flags##bits(cpu, a, r);                                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    static inline void name##_in_host##bits(struct vcpu *cpu, void *p)                             \
    {                                                                                              \
        uint##bits##_t a = guest_load##bits(p), r = name##_value##bits(a);                         \
        guest_store##bits(p, r);                                                                   \
        name##_flags##bits(cpu, a, r);                                                             \
    }                                                                                              \
    FAST_WRITE(name##_m##bits, bits / 8, name##_in_host##bits(cpu, p))

/* m(name, bits) for every width. */
#define ALU_ALL(m, name) m(name, 8) m(name, 16) m(name, 32) m(name, 64)

#endif
