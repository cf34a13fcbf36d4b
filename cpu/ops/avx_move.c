/*
 * Moves of AVX: whole registers, scalars, halves, single lanes, masks of signs; VZEROUPPER and
 * VZEROALL. A destination's bits beyond the result are cleared. Non-temporal hints have no effect.
 * Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/avx_vec.h"
#include "cpu/mode.h"

union vec ymm_load_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear)
{
    uint64_t low[2];

    mem_probe_read(cpu, i, linear, 32);
    mem_load128(cpu, i, linear, low);
    mem_load128(cpu, i, linear + 16, cpu->vec_high);
    return vec_from64(low[0], low[1]);
}

static inline void ymm_store(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                             const uint64_t q[4])
{
    uint64_t *p = tlb_find_write(&cpu->mmu, linear, 32);

    if (likely(p != NULL)) {
        for (unsigned n = 0; n < 4; n++)
            guest_store64(p + n, q[n]);
        return;
    }
    mem_probe_write(cpu, i, linear, 32);
    for (unsigned n = 0; n < 4; n++)
        mem_store64(cpu, i, linear + 8 * n, q[n]);
}

/* Linear address of the memory operand of `size` bytes; #GP(0) unless aligned to them. */
static inline uint64_t aligned_operand(struct vcpu *cpu, const struct insn *i, unsigned size,
                                       enum mmu_access access)
{
    uint64_t linear = mem_linear(cpu, i, size, access);

    if (unlikely(linear & (size - 1)))
        xmm_raise_misaligned(cpu, i);
    return linear;
}

/* ---- 128 and 256 bits: VMOVAPS and kin (a), VMOVUPS and kin (u) --------------------------- */

VEX_X(vmovu, xmm_set_clear(cpu, i->reg, source))
VEX_Y(vmovu, ymm_set(cpu, i->reg, source))

/* op_<name>: a load or store of `size` bytes by `run`, aligned. */
#define ALIGNED(name, size, access, run)                                                           \
    OP(name)                                                                                       \
    {                                                                                              \
        uint64_t linear = aligned_operand(cpu, i, size, access);                                   \
        run;                                                                                       \
        NEXT;                                                                                      \
    }
#define LOAD_X  xmm_set_clear(cpu, i->reg, xmm_load(cpu, i, linear))
#define LOAD_Y  ymm_set(cpu, i->reg, ymm_load(cpu, i, linear))
#define STORE_X mem_store128(cpu, i, linear, cpu->vreg[i->reg].q)
#define STORE_Y ymm_store(cpu, i, linear, cpu->vreg[i->reg].q)

VEC_FN xmm_load(struct vcpu *cpu, const struct insn *i, uint64_t linear)
{
    const uint64_t *p = tlb_find_read(&cpu->mmu, linear, 16);

    if (likely(p != NULL))
        return vec_from64(guest_load64(p), guest_load64(p + 1));
    return xmm_load_slow(cpu, i, linear);
}

/* op_<name>: between registers, source and destination by field. */
#define BETWEEN(name, set, get, to, from)                                                          \
    OP(name)                                                                                       \
    {                                                                                              \
        set(cpu, i->to, get(cpu, i->from));                                                        \
        NEXT;                                                                                      \
    }

BETWEEN(vmova_x_r, xmm_set_clear, xmm_get, reg, rm)
BETWEEN(vmova_y_r, ymm_set, ymm_get, reg, rm)
BETWEEN(vmova_store_x_r, xmm_set_clear, xmm_get, rm, reg)
BETWEEN(vmova_store_y_r, ymm_set, ymm_get, rm, reg)
BETWEEN(vmovu_store_x_r, xmm_set_clear, xmm_get, rm, reg)
BETWEEN(vmovu_store_y_r, ymm_set, ymm_get, rm, reg)
ALIGNED(vmova_x_m, 16, MMU_READ, LOAD_X)
ALIGNED(vmova_y_m, 32, MMU_READ, LOAD_Y)
ALIGNED(vmovntdqa_x, 16, MMU_READ, LOAD_X)
ALIGNED(vmovntdqa_y, 32, MMU_READ, LOAD_Y)
ALIGNED(vmova_store_x_m, 16, MMU_WRITE, STORE_X)
ALIGNED(vmova_store_y_m, 32, MMU_WRITE, STORE_Y)
ALIGNED(vmovnt_x, 16, MMU_WRITE, STORE_X)
ALIGNED(vmovnt_y, 32, MMU_WRITE, STORE_Y)

OP(vmovu_store_x_m)
{
    mem_write128(cpu, i, cpu->vreg[i->reg].q);
    NEXT;
}

OP(vmovu_store_y_m)
{
    ymm_store(cpu, i, mem_linear(cpu, i, 32, MMU_WRITE), cpu->vreg[i->reg].q);
    NEXT;
}

OP(vlddqu_x)
{
    xmm_set_clear(cpu, i->reg, xmm_read(cpu, i));
    NEXT;
}

OP(vlddqu_y)
{
    ymm_set(cpu, i->reg, ymm_read(cpu, i));
    NEXT;
}

/* ---- Scalars and halves: the rest comes from the register in vvvv ------------------------- */

/* The low 32 bits of `low`, the rest of `rest`. */
VEC_FN low_dword(union vec low, union vec rest)
{
    rest.vq[0] = (uint32_t)low.vq[0] | (rest.vq[0] >> 32) << 32;
    return rest;
}

#define SCALAR(name, to, from)                                                                     \
    OP(vmovss##name)                                                                               \
    {                                                                                              \
        xmm_set_clear(cpu, i->to, low_dword(xmm_get(cpu, i->from), xmm_get(cpu, i->vvvv)));        \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(vmovsd##name)                                                                               \
    {                                                                                              \
        xmm_set_clear(cpu, i->to, vec_from64(cpu->vreg[i->from].q[0], cpu->vreg[i->vvvv].q[1]));   \
        NEXT;                                                                                      \
    }
SCALAR(, reg, rm)
SCALAR(_store, rm, reg)

/* op_<name>: the destination's 128 bits are set to low and high. */
#define SET_128(name, to, low, high)                                                               \
    OP(name)                                                                                       \
    {                                                                                              \
        xmm_set_clear(cpu, i->to, vec_from64(low, high));                                          \
        NEXT;                                                                                      \
    }
SET_128(vmovss_load, reg, mem_read32(cpu, i), 0)
SET_128(vmovsd_load, reg, mem_read64(cpu, i), 0)
SET_128(vmovq_m, reg, mem_read64(cpu, i), 0)
SET_128(vmovq_r, reg, cpu->vreg[i->rm].q[0], 0)
SET_128(vmovq_store_r, rm, cpu->vreg[i->reg].q[0], 0)
SET_128(vmovd_r32, reg, reg_get32(cpu, i->rm), 0)
SET_128(vmovd_r64, reg, reg_get64(cpu, i->rm), 0)
SET_128(vmovd_m32, reg, mem_read32(cpu, i), 0)
SET_128(vmovd_m64, reg, mem_read64(cpu, i), 0)
SET_128(vmovlps, reg, mem_read64(cpu, i), cpu->vreg[i->vvvv].q[1])
SET_128(vmovhps, reg, cpu->vreg[i->vvvv].q[0], mem_read64(cpu, i))
SET_128(vmovhlps, reg, cpu->vreg[i->rm].q[1], cpu->vreg[i->vvvv].q[1])
SET_128(vmovlhps, reg, cpu->vreg[i->vvvv].q[0], cpu->vreg[i->rm].q[0])

OP(vmovq_store_m)
{
    mem_write64(cpu, i, cpu->vreg[i->reg].q[0]);
    NEXT;
}

/* ---- One lane in -------------------------------------------------------------------------- */

/* op_<name>: lane `lane` of the destination is `value`, the others are those of vvvv. */
#define INSERT(name, lane, value)                                                                  \
    OP(name)                                                                                       \
    {                                                                                              \
        union vec d = xmm_get(cpu, i->vvvv);                                                       \
        lane = value;                                                                              \
        xmm_set_clear(cpu, i->reg, d);                                                             \
        NEXT;                                                                                      \
    }
INSERT(vpinsrb, VREG_B(d, i->imm & 15),
       i->flags &INSN_MEM ? mem_read8(cpu, i) : (uint8_t)cpu->gpr[i->rm])
INSERT(vpinsrw, VREG_W(d, i->imm & 7),
       i->flags &INSN_MEM ? mem_read16(cpu, i) : (uint16_t)cpu->gpr[i->rm])
INSERT(vpinsr_r32, VREG_D(d, i->imm & 3), (uint32_t)cpu->gpr[i->rm])
INSERT(vpinsr_m32, VREG_D(d, i->imm & 3), mem_read32(cpu, i))
INSERT(vpinsr_r64, d.q[i->imm & 1], cpu->gpr[i->rm])
INSERT(vpinsr_m64, d.q[i->imm & 1], mem_read64(cpu, i))

/* imm: 7-6 source lane (register only), 5-4 destination lane, 3-0 lanes to clear. */
OP(vinsertps)
{
    unsigned imm = (uint8_t)i->imm;
    union vec d = xmm_get(cpu, i->vvvv);

    VREG_D(d, (imm >> 4) & 3) =
        i->flags & INSN_MEM ? mem_read32(cpu, i) : VREG_D(cpu->vreg[i->rm], imm >> 6);
    for (unsigned n = 0; n < 4; n++)
        if (imm & (1u << n))
            VREG_D(d, n) = 0;
    xmm_set_clear(cpu, i->reg, d);
    NEXT;
}

/* ---- Masks of sign bits ------------------------------------------------------------------- */

/* The top bits of the bytes, dwords or quads of q, from bit 0 on. */
static inline unsigned byte_signs(uint64_t q)
{
    return (unsigned)(((q & 0x8080808080808080) * 0x0002040810204081) >> 56);
}

static inline unsigned dword_signs(uint64_t q)
{
    return (unsigned)((q >> 31 & 1) | q >> 63 << 1);
}

static inline unsigned quad_signs(uint64_t q)
{
    return (unsigned)(q >> 63);
}

#define SIGNS(name, signs, per_quad)                                                               \
    OP(name##_x)                                                                                   \
    {                                                                                              \
        const uint64_t *q = cpu->vreg[i->rm].q;                                                    \
        reg_set64(cpu, i->reg, signs(q[0]) | signs(q[1]) << (per_quad));                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_y)                                                                                   \
    {                                                                                              \
        const uint64_t *q = cpu->vreg[i->rm].q;                                                    \
        reg_set64(cpu, i->reg,                                                                     \
                  signs(q[0]) | signs(q[1]) << (per_quad) | signs(q[2]) << (2 * (per_quad)) |      \
                      signs(q[3]) << (3 * (per_quad)));                                            \
        NEXT;                                                                                      \
    }
SIGNS(vpmovmskb, byte_signs, 8)
SIGNS(vmovmskps, dword_signs, 2)
SIGNS(vmovmskpd, quad_signs, 1)

/* ---- Clearing ----------------------------------------------------------------------------- */

/* From quad `first` of every register that the mode has. */
static inline void clear_from(struct vcpu *cpu, unsigned first)
{
    unsigned count = cpu->mode & MODE_64 ? 16 : 8;

    for (unsigned n = 0; n < count; n++)
        memset(cpu->vreg[n].q + first, 0, (8 - first) * sizeof(cpu->vreg[n].q[0]));
}

OP(vzeroupper)
{
    clear_from(cpu, 2);
    NEXT;
}

OP(vzeroall)
{
    clear_from(cpu, 0);
    NEXT;
}
