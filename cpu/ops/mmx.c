/*
 * Moves of MMX registers, and EMMS. MMX arithmetic stands with its XMM counterpart in sse_*.c.
 * Source: Intel SDM volume 1, 9.5; volume 2.
 */
#include "cpu/sse_vec.h"

/* MMX state, then the registers empty. */
OP(emms)
{
    fpu_mmx_enter(cpu, i);
    cpu->x87.valid = 0;
    NEXT;
}

OP(movq_mm_r)
{
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, mmx_get(cpu, i->rm));
    NEXT;
}

OP(movq_mm_m)
{
    uint64_t v;

    mmx_check(cpu, i);
    v = mem_read64(cpu, i);
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, v);
    NEXT;
}

OP(movq_mm_store_r)
{
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->rm, mmx_get(cpu, i->reg));
    NEXT;
}

/* Also MOVNTQ. */
OP(movq_mm_store_m)
{
    mmx_check(cpu, i);
    mem_write64(cpu, i, mmx_get(cpu, i->reg));
    fpu_mmx_enter(cpu, i);
    NEXT;
}

OP(movd_mm_r32)
{
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, reg_get32(cpu, i->rm));
    NEXT;
}

OP(movd_mm_r64)
{
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, reg_get64(cpu, i->rm));
    NEXT;
}

OP(movd_mm_m32)
{
    uint32_t v;

    mmx_check(cpu, i);
    v = mem_read32(cpu, i);
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, v);
    NEXT;
}

OP(movd_mm_m64)
{
    uint64_t v;

    mmx_check(cpu, i);
    v = mem_read64(cpu, i);
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, v);
    NEXT;
}

OP(movd_mm_store_r32)
{
    fpu_mmx_enter(cpu, i);
    reg_set32(cpu, i->rm, (uint32_t)mmx_get(cpu, i->reg));
    NEXT;
}

OP(movd_mm_store_r64)
{
    fpu_mmx_enter(cpu, i);
    reg_set64(cpu, i->rm, mmx_get(cpu, i->reg));
    NEXT;
}

OP(movd_mm_store_m32)
{
    mmx_check(cpu, i);
    mem_write32(cpu, i, (uint32_t)mmx_get(cpu, i->reg));
    fpu_mmx_enter(cpu, i);
    NEXT;
}

OP(movd_mm_store_m64)
{
    mmx_check(cpu, i);
    mem_write64(cpu, i, mmx_get(cpu, i->reg));
    fpu_mmx_enter(cpu, i);
    NEXT;
}

OP(movq2dq)
{
    fpu_mmx_enter(cpu, i);
    xmm_set(cpu, i->reg, vec_from64(mmx_get(cpu, i->rm), 0));
    NEXT;
}

OP(movdq2q)
{
    fpu_mmx_enter(cpu, i);
    mmx_set(cpu, i->reg, cpu->vreg[i->rm].q[0]);
    NEXT;
}
