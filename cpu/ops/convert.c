/* CBW and its kin, CWD and its kin, and moves and changes of single flags. */
#include "cpu/ops/alu.h"

OP(cbw_16)
{
    reg_set16(cpu, GPR_RAX, (uint16_t)(int8_t)reg_get8(cpu, REG_AL));
    NEXT;
}

OP(cbw_32)
{
    reg_set32(cpu, GPR_RAX, (uint32_t)(int16_t)reg_get16(cpu, GPR_RAX));
    NEXT;
}

OP(cbw_64)
{
    reg_set64(cpu, GPR_RAX, (uint64_t)(int32_t)reg_get32(cpu, GPR_RAX));
    NEXT;
}

OP(cwd_16)
{
    reg_set16(cpu, GPR_RDX, reg_get16(cpu, GPR_RAX) >> 15 ? 0xffff : 0);
    NEXT;
}

OP(cwd_32)
{
    reg_set32(cpu, GPR_RDX, reg_get32(cpu, GPR_RAX) >> 31 ? UINT32_MAX : 0);
    NEXT;
}

OP(cwd_64)
{
    reg_set64(cpu, GPR_RDX, reg_get64(cpu, GPR_RAX) >> 63 ? UINT64_MAX : 0);
    NEXT;
}

#define LAHF_FLAGS (EFLAGS_SF | EFLAGS_ZF | EFLAGS_AF | EFLAGS_PF | EFLAGS_CF)

OP(lahf)
{
    reg_set8(cpu, REG_AH, (uint8_t)((flags_get(cpu) & LAHF_FLAGS) | EFLAGS_ONE));
    NEXT;
}

OP(sahf)
{
    flags_update(cpu, LAHF_FLAGS, reg_get8(cpu, REG_AH));
    NEXT;
}

OP(clc)
{
    flags_set_cf(cpu, false);
    NEXT;
}

OP(stc)
{
    flags_set_cf(cpu, true);
    NEXT;
}

OP(cmc)
{
    flags_set_cf(cpu, !flag_cf(cpu));
    NEXT;
}

OP(cld)
{
    cpu->eflags &= ~EFLAGS_DF;
    NEXT;
}

OP(std)
{
    cpu->eflags |= EFLAGS_DF;
    NEXT;
}

/* SALC, an undocumented neighbour of XLAT: AL = CF ? 0xff : 0. */
OP(salc)
{
    reg_set8(cpu, REG_AL, flag_cf(cpu) ? 0xff : 0);
    NEXT;
}
