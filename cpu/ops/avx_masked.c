/*
 * Moves and loads of some lanes: VMASKMOV, VPMASKMOV, VGATHER, VPGATHER. Lanes that the mask leaves
 * out are not accessed and cannot fault. Source: Intel SDM volume 2, each by its name.
 */
#include "cpu/avx_vec.h"

/* Is the top bit of lane n of a mask register set? bytes: of a lane. */
static inline bool lane_chosen(const union vreg *mask, unsigned n, unsigned bytes)
{
    return bytes == 4 ? VREG_D(*mask, n) >> 31 : mask->q[n] >> 63;
}

/* Linear address of byte `offset` of the memory operand. */
static uint64_t lane_linear(struct vcpu *cpu, const struct insn *i, unsigned offset, unsigned bytes,
                            enum mmu_access access)
{
    uint64_t ea = insn_ea(cpu, i) + offset;

    if (i->flags & (INSN_A32 | INSN_A16))
        ea = i->flags & INSN_A32 ? (uint32_t)ea : (uint16_t)ea;
    return mem_linear_at(cpu, i, i->seg, ea, bytes, access);
}

/* ---- VMASKMOV ----------------------------------------------------------------------------- */

static inline void masked_load(struct vcpu *cpu, const struct insn *i, unsigned lanes,
                               unsigned bytes)
{
    const union vreg *mask = &cpu->vreg[i->vvvv];
    union vreg r = {.q = {0}};

    for (unsigned n = 0; n < lanes; n++) {
        if (!lane_chosen(mask, n, bytes))
            continue;
        if (bytes == 4)
            VREG_D(r, n) = mem_load32(cpu, i, lane_linear(cpu, i, 4 * n, 4, MMU_READ));
        else
            r.q[n] = mem_load64(cpu, i, lane_linear(cpu, i, 8 * n, 8, MMU_READ));
    }
    cpu->vreg[i->reg] = r;
}

static inline void masked_store(struct vcpu *cpu, const struct insn *i, unsigned lanes,
                                unsigned bytes)
{
    const union vreg *mask = &cpu->vreg[i->vvvv], *data = &cpu->vreg[i->reg];
    uint64_t linear[8];

    for (unsigned n = 0; n < lanes; n++) {
        if (!lane_chosen(mask, n, bytes))
            continue;
        linear[n] = lane_linear(cpu, i, bytes * n, bytes, MMU_WRITE);
        if (unlikely(tlb_find_write(&cpu->mmu, linear[n], bytes) == NULL))
            mem_probe_write(cpu, i, linear[n], bytes);
    }
    for (unsigned n = 0; n < lanes; n++) {
        if (!lane_chosen(mask, n, bytes))
            continue;
        if (bytes == 4)
            mem_store32(cpu, i, linear[n], VREG_D(*data, n));
        else
            mem_store64(cpu, i, linear[n], data->q[n]);
    }
}

/* The work is done out of line: it has its locals in memory, and ops end in tail calls. */
#define OUT_OF_LINE(name, ...)                                                                     \
    static __attribute__((noinline)) void name##_run(struct vcpu *cpu, const struct insn *i)       \
    {                                                                                              \
        __VA_ARGS__;                                                                               \
    }                                                                                              \
    OP(name)                                                                                       \
    {                                                                                              \
        name##_run(cpu, i);                                                                        \
        NEXT;                                                                                      \
    }

OUT_OF_LINE(vmaskmov_d_x, masked_load(cpu, i, 4, 4))
OUT_OF_LINE(vmaskmov_d_y, masked_load(cpu, i, 8, 4))
OUT_OF_LINE(vmaskmov_q_x, masked_load(cpu, i, 2, 8))
OUT_OF_LINE(vmaskmov_q_y, masked_load(cpu, i, 4, 8))
OUT_OF_LINE(vmaskmov_d_store_x, masked_store(cpu, i, 4, 4))
OUT_OF_LINE(vmaskmov_d_store_y, masked_store(cpu, i, 8, 4))
OUT_OF_LINE(vmaskmov_q_store_x, masked_store(cpu, i, 2, 8))
OUT_OF_LINE(vmaskmov_q_store_y, masked_store(cpu, i, 4, 8))

/* ---- Gathers ------------------------------------------------------------------------------ */

/* Linear address of the element that lane n of the index register names. */
static uint64_t element_linear(struct vcpu *cpu, const struct insn *i, unsigned n,
                               unsigned index_bytes, unsigned bytes)
{
    const union vreg *v = &cpu->vreg[i->index];
    uint64_t index = index_bytes == 4 ? (uint64_t)(int64_t)(int32_t)VREG_D(*v, n) : v->q[n];
    uint64_t ea = cpu->gpr[i->base] + (index << i->scale) + (uint64_t)(int64_t)i->disp;

    if (i->flags & INSN_A32)
        ea = (uint32_t)ea;
    return mem_linear_at(cpu, i, i->seg, ea, bytes, MMU_READ);
}

/*
 * Lanes are loaded from the lowest on; each is complete, its mask cleared, before the next can
 * fault, so that the instruction goes on there when it is run again. The masks are set to all ones
 * or zeros first. With registers that are not all different it raises #UD.
 */
static inline void gather(struct vcpu *cpu, const struct insn *i, unsigned lanes,
                          unsigned index_bytes, unsigned bytes)
{
    union vreg *mask = &cpu->vreg[i->vvvv], *r = &cpu->vreg[i->reg];
    unsigned clear_from;

    if (i->reg == i->index || i->reg == i->vvvv || i->index == i->vvvv)
        cpu_raise(cpu, i, EXC_UD);
    for (unsigned n = 0; n < lanes; n++) {
        if (bytes == 4)
            VREG_D(*mask, n) = 0 - (VREG_D(*mask, n) >> 31);
        else
            mask->q[n] = 0 - (mask->q[n] >> 63);
    }
    for (unsigned n = 0; n < lanes; n++) {
        uint64_t linear;

        if (!lane_chosen(mask, n, bytes))
            continue;
        linear = element_linear(cpu, i, n, index_bytes, bytes);
        if (bytes == 4) {
            VREG_D(*r, n) = mem_load32(cpu, i, linear);
            VREG_D(*mask, n) = 0;
        } else {
            r->q[n] = mem_load64(cpu, i, linear);
            mask->q[n] = 0;
        }
    }
    /* Two dwords are less than the register of 128 bits: the rest is cleared, too. */
    clear_from = lanes * bytes / 8;
    memset(r->q + clear_from, 0, sizeof(*r) - clear_from * 8);
    memset(mask->q, 0, sizeof(*mask));
}

OUT_OF_LINE(vgatherdd_x, gather(cpu, i, 4, 4, 4))
OUT_OF_LINE(vgatherdd_y, gather(cpu, i, 8, 4, 4))
OUT_OF_LINE(vgatherdq_x, gather(cpu, i, 2, 4, 8))
OUT_OF_LINE(vgatherdq_y, gather(cpu, i, 4, 4, 8))
OUT_OF_LINE(vgatherqd_x, gather(cpu, i, 2, 8, 4))
OUT_OF_LINE(vgatherqd_y, gather(cpu, i, 4, 8, 4))
OUT_OF_LINE(vgatherqq_x, gather(cpu, i, 2, 8, 8))
OUT_OF_LINE(vgatherqq_y, gather(cpu, i, 4, 8, 8))
