/* MOV, MOVZX, MOVSX, MOVSXD, MOVBE, LEA, BSWAP, SETcc, CMOVcc, XLAT. */
#include "cpu/ops/alu.h"
#include "cpu/ops/operand.h"

/* Linear address of a moffs operand: the offset is the immediate. */
static inline uint64_t moffs_linear(struct vcpu *cpu, const struct insn *i, unsigned size,
                                    enum mmu_access access)
{
    if (likely(i->flags & INSN_FLAT))
        return (uint64_t)i->imm + cpu->seg[i->seg].base;
    return mem_segment_linear(cpu, i, i->seg, (uint64_t)i->imm, size, access);
}

#define MOV_FORMS(bits)                                                                            \
    OP(mov_EG_r##bits)                                                                             \
    {                                                                                              \
        reg_set##bits(cpu, i->rm, reg_get##bits(cpu, i->reg));                                     \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_EG_m##bits)                                                                             \
    {                                                                                              \
        mem_write##bits(cpu, i, reg_get##bits(cpu, i->reg));                                       \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_GE_r##bits)                                                                             \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, reg_get##bits(cpu, i->rm));                                     \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_GE_m##bits)                                                                             \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, mem_read##bits(cpu, i));                                        \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_EI_r##bits)                                                                             \
    {                                                                                              \
        reg_set##bits(cpu, i->rm, (uint##bits##_t)i->imm);                                         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_EI_m##bits)                                                                             \
    {                                                                                              \
        mem_write##bits(cpu, i, (uint##bits##_t)i->imm);                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_ZI_##bits)                                                                              \
    {                                                                                              \
        reg_set##bits(cpu, i->rm, (uint##bits##_t)i->imm);                                         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_AO_m##bits)                                                                             \
    {                                                                                              \
        uint64_t linear = moffs_linear(cpu, i, bits / 8, MMU_READ);                                \
        reg_set##bits(cpu, ACCUMULATOR_##bits, mem_load##bits(cpu, i, linear));                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(mov_OA_m##bits)                                                                             \
    {                                                                                              \
        uint64_t linear = moffs_linear(cpu, i, bits / 8, MMU_WRITE);                               \
        mem_store##bits(cpu, i, linear, reg_get##bits(cpu, ACCUMULATOR_##bits));                   \
        NEXT;                                                                                      \
    }                                                                                              \
    FAST_READ(mov_GE_m##bits, bits / 8, reg_set##bits(cpu, i->reg, guest_load##bits(p)))           \
    FAST_WRITE(mov_EG_m##bits, bits / 8, guest_store##bits(p, reg_get##bits(cpu, i->reg)))         \
    FAST_WRITE(mov_EI_m##bits, bits / 8, guest_store##bits(p, (uint##bits##_t)i->imm))

MOV_FORMS(8)
MOV_FORMS(16)
MOV_FORMS(32)
MOV_FORMS(64)

/* MOVZX and MOVSX from `from` to `to` bits; op_<name>_r32 extends to 32. */
#define EXTEND_FORMS(name, from, to, type)                                                         \
    OP(name##_r##to)                                                                               \
    {                                                                                              \
        reg_set##to(cpu, i->reg, (uint##to##_t)(type)reg_get##from(cpu, i->rm));                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m##to)                                                                               \
    {                                                                                              \
        reg_set##to(cpu, i->reg, (uint##to##_t)(type)mem_read##from(cpu, i));                      \
        NEXT;                                                                                      \
    }                                                                                              \
    FAST_READ(name##_m##to, from / 8,                                                              \
              reg_set##to(cpu, i->reg, (uint##to##_t)(type)guest_load##from(p)))

EXTEND_FORMS(movzx_GEb, 8, 16, uint8_t)
EXTEND_FORMS(movzx_GEb, 8, 32, uint8_t)
EXTEND_FORMS(movzx_GEb, 8, 64, uint8_t)
EXTEND_FORMS(movzx_GEw, 16, 16, uint16_t)
EXTEND_FORMS(movzx_GEw, 16, 32, uint16_t)
EXTEND_FORMS(movzx_GEw, 16, 64, uint16_t)
EXTEND_FORMS(movsx_GEb, 8, 16, int8_t)
EXTEND_FORMS(movsx_GEb, 8, 32, int8_t)
EXTEND_FORMS(movsx_GEb, 8, 64, int8_t)
EXTEND_FORMS(movsx_GEw, 16, 16, int16_t)
EXTEND_FORMS(movsx_GEw, 16, 32, int16_t)
EXTEND_FORMS(movsx_GEw, 16, 64, int16_t)
/* MOVSXD without REX.W is a plain move; with 66 the source is a word (SDM 2B "MOVSX/MOVSXD"). */
EXTEND_FORMS(movsxd_GE, 16, 16, uint16_t)
EXTEND_FORMS(movsxd_GE, 32, 32, uint32_t)
EXTEND_FORMS(movsxd_GE, 32, 64, int32_t)

#define LEA_FORM(bits, kind)                                                                       \
    OP(lea_m##bits##_##kind)                                                                       \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)FAST_LINEAR_##kind);                            \
        NEXT;                                                                                      \
    }

#define MOVBE_FORMS(bits)                                                                          \
    OP(movbe_GM_m##bits)                                                                           \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, __builtin_bswap##bits(mem_read##bits(cpu, i)));                 \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(movbe_MG_m##bits)                                                                           \
    {                                                                                              \
        mem_write##bits(cpu, i, __builtin_bswap##bits(reg_get##bits(cpu, i->reg)));                \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(lea_m##bits)                                                                                \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)insn_ea(cpu, i));                               \
        NEXT;                                                                                      \
    }                                                                                              \
    LEA_FORM(bits, b) LEA_FORM(bits, x)

MOVBE_FORMS(16)
MOVBE_FORMS(32)
MOVBE_FORMS(64)

/* Undefined for 16-bit operands; processors give 0. */
OP(bswap_16)
{
    reg_set16(cpu, i->rm, 0);
    NEXT;
}

OP(bswap_32)
{
    reg_set32(cpu, i->rm, __builtin_bswap32(reg_get32(cpu, i->rm)));
    NEXT;
}

OP(bswap_64)
{
    reg_set64(cpu, i->rm, __builtin_bswap64(reg_get64(cpu, i->rm)));
    NEXT;
}

/* CMOVcc reads its source, and clears the upper half of a 32-bit destination, whatever the
 * condition (SDM 2A "CMOVcc"). */
#define CMOV_FORMS(name, cc, bits)                                                                 \
    OP(cmov##name##_r##bits)                                                                       \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, i->reg), b = reg_get##bits(cpu, i->rm);              \
        reg_set##bits(cpu, i->reg, flags_condition(cpu, cc) ? b : a);                              \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(cmov##name##_m##bits)                                                                       \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, i->reg), b = mem_read##bits(cpu, i);                 \
        reg_set##bits(cpu, i->reg, flags_condition(cpu, cc) ? b : a);                              \
        NEXT;                                                                                      \
    }

#define CONDITION_FORMS(name, cc)                                                                  \
    OP(set##name##_r8)                                                                             \
    {                                                                                              \
        reg_set8(cpu, i->rm, flags_condition(cpu, cc));                                            \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(set##name##_m8)                                                                             \
    {                                                                                              \
        mem_write8(cpu, i, flags_condition(cpu, cc));                                              \
        NEXT;                                                                                      \
    }                                                                                              \
    CMOV_FORMS(name, cc, 16)                                                                       \
    CMOV_FORMS(name, cc, 32)                                                                       \
    CMOV_FORMS(name, cc, 64)

CONDITION_FORMS(o, 0)
CONDITION_FORMS(no, 1)
CONDITION_FORMS(b, 2)
CONDITION_FORMS(ae, 3)
CONDITION_FORMS(e, 4)
CONDITION_FORMS(ne, 5)
CONDITION_FORMS(be, 6)
CONDITION_FORMS(a, 7)
CONDITION_FORMS(s, 8)
CONDITION_FORMS(ns, 9)
CONDITION_FORMS(p, 10)
CONDITION_FORMS(np, 11)
CONDITION_FORMS(l, 12)
CONDITION_FORMS(ge, 13)
CONDITION_FORMS(le, 14)
CONDITION_FORMS(g, 15)

OP(xlat)
{
    uint64_t offset = (cpu->gpr[GPR_RBX] + reg_get8(cpu, REG_AL)) & address_mask(i);

    reg_set8(cpu, REG_AL, mem_load8(cpu, i, mem_linear_at(cpu, i, i->seg, offset, 1, MMU_READ)));
    NEXT;
}
