/*
 * Moves: between XMM or MMX registers, general registers and memory, masked and non-temporal
 * stores, sign masks, EMMS. Non-temporal hints have no effect. Source: Intel SDM volume 2.
 */
#include "cpu/sse_vec.h"

union vec xmm_load_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear)
{
    uint64_t q[2];

    mem_load128(cpu, i, linear, q);
    return vec_from64(q[0], q[1]);
}

void xmm_raise_misaligned(struct vcpu *cpu, const struct insn *i)
{
    cpu_raise_code(cpu, i, EXC_GP, 0);
}

/* ---- 128 bits: MOVAPS, MOVAPD, MOVDQA (a), MOVUPS, MOVUPD, MOVDQU (u) --------------------- */

OP(mova_x_r)
{
    xmm_set(cpu, i->reg, xmm_get(cpu, i->rm));
    NEXT;
}

OP(mova_x_m)
{
    xmm_set(cpu, i->reg, xmm_read_aligned(cpu, i));
    NEXT;
}

OP(movu_x_r)
{
    xmm_set(cpu, i->reg, xmm_get(cpu, i->rm));
    NEXT;
}

OP(movu_x_m)
{
    xmm_set(cpu, i->reg, xmm_read(cpu, i));
    NEXT;
}

OP(mova_store_r)
{
    xmm_set(cpu, i->rm, xmm_get(cpu, i->reg));
    NEXT;
}

OP(mova_store_m)
{
    mem_write128_aligned(cpu, i, cpu->vreg[i->reg].q);
    NEXT;
}

OP(movu_store_r)
{
    xmm_set(cpu, i->rm, xmm_get(cpu, i->reg));
    NEXT;
}

OP(movu_store_m)
{
    mem_write128(cpu, i, cpu->vreg[i->reg].q);
    NEXT;
}

/* ---- Scalars: a load from memory clears the rest, a register move leaves it --------------- */

OP(movss_r)
{
    VREG_D(cpu->vreg[i->reg], 0) = VREG_D(cpu->vreg[i->rm], 0);
    NEXT;
}

OP(movss_m)
{
    xmm_set(cpu, i->reg, vec_from64(mem_read32(cpu, i), 0));
    NEXT;
}

OP(movss_store_r)
{
    VREG_D(cpu->vreg[i->rm], 0) = VREG_D(cpu->vreg[i->reg], 0);
    NEXT;
}

OP(movss_store_m)
{
    mem_write32(cpu, i, VREG_D(cpu->vreg[i->reg], 0));
    NEXT;
}

OP(movsd_x_r)
{
    cpu->vreg[i->reg].q[0] = cpu->vreg[i->rm].q[0];
    NEXT;
}

OP(movsd_x_m)
{
    xmm_set(cpu, i->reg, vec_from64(mem_read64(cpu, i), 0));
    NEXT;
}

OP(movsd_x_store_r)
{
    cpu->vreg[i->rm].q[0] = cpu->vreg[i->reg].q[0];
    NEXT;
}

OP(movsd_x_store_m)
{
    mem_write64(cpu, i, cpu->vreg[i->reg].q[0]);
    NEXT;
}

/* MOVQ clears the upper half in either form. */
OP(movq_x_m)
{
    xmm_set(cpu, i->reg, vec_from64(mem_read64(cpu, i), 0));
    NEXT;
}

OP(movq_x_r)
{
    xmm_set(cpu, i->reg, vec_from64(cpu->vreg[i->rm].q[0], 0));
    NEXT;
}

OP(movq_store_r)
{
    xmm_set(cpu, i->rm, vec_from64(cpu->vreg[i->reg].q[0], 0));
    NEXT;
}

/* Also MOVLPS, MOVLPD. */
OP(movq_store_m)
{
    mem_write64(cpu, i, cpu->vreg[i->reg].q[0]);
    NEXT;
}

/* ---- Halves ------------------------------------------------------------------------------- */

OP(movlps)
{
    cpu->vreg[i->reg].q[0] = mem_read64(cpu, i);
    NEXT;
}

OP(movhps)
{
    cpu->vreg[i->reg].q[1] = mem_read64(cpu, i);
    NEXT;
}

OP(movhps_store)
{
    mem_write64(cpu, i, cpu->vreg[i->reg].q[1]);
    NEXT;
}

OP(movhlps)
{
    cpu->vreg[i->reg].q[0] = cpu->vreg[i->rm].q[1];
    NEXT;
}

OP(movlhps)
{
    cpu->vreg[i->reg].q[1] = cpu->vreg[i->rm].q[0];
    NEXT;
}

/* ---- General registers and memory: MOVD, MOVQ --------------------------------------------- */

OP(movd_x_r32)
{
    xmm_set(cpu, i->reg, vec_from64(reg_get32(cpu, i->rm), 0));
    NEXT;
}

OP(movd_x_r64)
{
    xmm_set(cpu, i->reg, vec_from64(reg_get64(cpu, i->rm), 0));
    NEXT;
}

OP(movd_x_m32)
{
    xmm_set(cpu, i->reg, vec_from64(mem_read32(cpu, i), 0));
    NEXT;
}

OP(movd_x_m64)
{
    xmm_set(cpu, i->reg, vec_from64(mem_read64(cpu, i), 0));
    NEXT;
}

OP(movd_x_store_r32)
{
    reg_set32(cpu, i->rm, (uint32_t)cpu->vreg[i->reg].q[0]);
    NEXT;
}

OP(movd_x_store_r64)
{
    reg_set64(cpu, i->rm, cpu->vreg[i->reg].q[0]);
    NEXT;
}

OP(movd_x_store_m32)
{
    mem_write32(cpu, i, (uint32_t)cpu->vreg[i->reg].q[0]);
    NEXT;
}

OP(movd_x_store_m64)
{
    mem_write64(cpu, i, cpu->vreg[i->reg].q[0]);
    NEXT;
}

/* ---- Masks of sign bits ------------------------------------------------------------------- */

/* The top bit of each byte, gathered into eight bits. */
static inline unsigned sign_bits(uint64_t q)
{
    return (unsigned)(((q & 0x8080808080808080) * 0x0002040810204081) >> 56);
}

OP(pmovmskb_x)
{
    const uint64_t *q = cpu->vreg[i->rm].q;

    reg_set64(cpu, i->reg, sign_bits(q[0]) | sign_bits(q[1]) << 8);
    NEXT;
}

OP(pmovmskb_mm)
{
    uint64_t q = mmx_get(cpu, i->rm);

    fpu_mmx_enter(cpu, i);
    reg_set64(cpu, i->reg, sign_bits(q));
    NEXT;
}

OP(movmskps)
{
    const uint64_t *q = cpu->vreg[i->rm].q;

    reg_set64(cpu, i->reg,
              ((q[0] >> 31) & 1) | (q[0] >> 63) << 1 | ((q[1] >> 31) & 1) << 2 | (q[1] >> 63) << 3);
    NEXT;
}

OP(movmskpd)
{
    const uint64_t *q = cpu->vreg[i->rm].q;

    reg_set64(cpu, i->reg, q[0] >> 63 | (q[1] >> 63) << 1);
    NEXT;
}

/* ---- Stores under a mask ------------------------------------------------------------------ */

/* Stores the bytes of data whose mask byte has its top bit set at DS:rDI (or the segment of the
 * override). Only these bytes can fault. */
static void store_masked(struct vcpu *cpu, const struct insn *i, union vec data, union vec mask,
                         unsigned size)
{
    uint64_t offset = cpu->gpr[GPR_RDI], width = ~0ull, linear[16];

    if (i->flags & INSN_A32)
        width = 0xffffffff;
    else if (i->flags & INSN_A16)
        width = 0xffff;
    for (unsigned n = 0; n < size; n++) {
        if (!(VREG_B(mask, n) & 0x80))
            continue;
        linear[n] = mem_linear_at(cpu, i, i->seg, (offset + n) & width, 1, MMU_WRITE);
        mem_probe_write(cpu, i, linear[n], 1);
    }
    for (unsigned n = 0; n < size; n++)
        if (VREG_B(mask, n) & 0x80)
            mem_store8(cpu, i, linear[n], VREG_B(data, n));
}

OP(maskmovdqu)
{
    store_masked(cpu, i, xmm_get(cpu, i->reg), xmm_get(cpu, i->rm), 16);
    NEXT;
}

OP(maskmovq)
{
    mmx_check(cpu, i);
    store_masked(cpu, i, vec_from64(mmx_get(cpu, i->reg), 0), vec_from64(mmx_get(cpu, i->rm), 0),
                 8);
    fpu_mmx_enter(cpu, i);
    NEXT;
}
