/*
 * Decimal adjustments: AAA, AAS, AAM, AAD, DAA, DAS; and BOUND. None exists in 64-bit mode. Flags
 * that the manual leaves undefined follow the result, as processors do.
 * Source: SDM 2A, each by its name.
 */
#include "cpu/ops/alu.h"

/* SF, ZF, PF by AL, then AF and CF. */
static void adjusted_flags(struct vcpu *cpu, bool af, bool cf)
{
    flags_logic8(cpu, reg_get8(cpu, REG_AL));
    flags_update(cpu, EFLAGS_AF | EFLAGS_CF, (af ? EFLAGS_AF : 0) | (cf ? EFLAGS_CF : 0));
}

static bool low_digit_over(const struct vcpu *cpu)
{
    return (reg_get8(cpu, REG_AL) & 15) > 9 || flag_af(cpu);
}

OP(aaa)
{
    bool adjust = low_digit_over(cpu);

    if (adjust)
        reg_set16(cpu, GPR_RAX, (uint16_t)(reg_get16(cpu, GPR_RAX) + 0x106));
    reg_set8(cpu, REG_AL, reg_get8(cpu, REG_AL) & 15);
    adjusted_flags(cpu, adjust, adjust);
    NEXT;
}

OP(aas)
{
    bool adjust = low_digit_over(cpu);

    if (adjust)
        reg_set16(cpu, GPR_RAX, (uint16_t)(reg_get16(cpu, GPR_RAX) - 0x106));
    reg_set8(cpu, REG_AL, reg_get8(cpu, REG_AL) & 15);
    adjusted_flags(cpu, adjust, adjust);
    NEXT;
}

OP(aam)
{
    uint8_t base = (uint8_t)i->imm, al = reg_get8(cpu, REG_AL);

    if (base == 0)
        cpu_raise(cpu, i, EXC_DE);
    reg_set8(cpu, REG_AH, al / base);
    reg_set8(cpu, REG_AL, al % base);
    flags_logic8(cpu, al % base);
    NEXT;
}

OP(aad)
{
    uint8_t al = (uint8_t)(reg_get8(cpu, REG_AL) + reg_get8(cpu, REG_AH) * (uint8_t)i->imm);

    reg_set16(cpu, GPR_RAX, al);
    flags_logic8(cpu, al);
    NEXT;
}

OP(daa)
{
    uint8_t al = reg_get8(cpu, REG_AL), add = 0;
    bool af = low_digit_over(cpu), cf = al > 0x99 || flag_cf(cpu);

    if (af)
        add += 6;
    if (cf)
        add += 0x60;
    reg_set8(cpu, REG_AL, (uint8_t)(al + add));
    adjusted_flags(cpu, af, cf);
    NEXT;
}

OP(das)
{
    uint8_t al = reg_get8(cpu, REG_AL), subtract = 0;
    bool af = low_digit_over(cpu), high = al > 0x99 || flag_cf(cpu), cf = high;

    if (af) {
        subtract += 6;
        cf = cf || al < 6;
    }
    if (high)
        subtract += 0x60;
    reg_set8(cpu, REG_AL, (uint8_t)(al - subtract));
    adjusted_flags(cpu, af, cf);
    NEXT;
}

/* #BR unless bounds[0] <= index <= bounds[1], signed; the bounds are adjacent in memory. */
OP(bound_m16)
{
    uint64_t linear = mem_linear(cpu, i, 4, MMU_READ);
    int16_t index = (int16_t)reg_get16(cpu, i->reg);
    int16_t low = (int16_t)mem_load16(cpu, i, linear);
    int16_t high = (int16_t)mem_load16(cpu, i, linear + 2);

    if (index < low || index > high)
        cpu_raise(cpu, i, EXC_BR);
    NEXT;
}

OP(bound_m32)
{
    uint64_t linear = mem_linear(cpu, i, 8, MMU_READ);
    int32_t index = (int32_t)reg_get32(cpu, i->reg);
    int32_t low = (int32_t)mem_load32(cpu, i, linear);
    int32_t high = (int32_t)mem_load32(cpu, i, linear + 4);

    if (index < low || index > high)
        cpu_raise(cpu, i, EXC_BR);
    NEXT;
}

/* Not in 64-bit mode. */
OP(bound_m64)
{
    cpu_raise(cpu, i, EXC_UD);
}
