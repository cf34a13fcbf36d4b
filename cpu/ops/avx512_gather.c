/* VGATHER, VPGATHER, VSCATTER, VPSCATTER under an opmask. Source: Intel SDM volume 2, there. */
#include "cpu/ops/avx512.h"

/* Linear address of the element that lane n of the index register names. */
static uint64_t element_linear(struct vcpu *cpu, const struct insn *i, unsigned n,
                               unsigned index_bytes, unsigned bytes, enum mmu_access access)
{
    const union vreg *v = &cpu->vreg[i->index];
    uint64_t index = index_bytes == 4 ? (uint64_t)(int64_t)(int32_t)VREG_D(*v, n) : v->q[n];
    uint64_t ea = cpu->gpr[i->base] + (index << i->scale) + (uint64_t)(int64_t)i->disp;

    if (i->flags & INSN_A32)
        ea = (uint32_t)ea;
    return mem_linear_at(cpu, i, i->seg, ea, bytes, access);
}

static inline unsigned lane_count(const struct insn *i, unsigned index_bytes, unsigned bytes)
{
    unsigned length = 16u << (i->imm >> EVEX_LENGTH & 3);

    return length / (bytes > index_bytes ? bytes : index_bytes);
}

/*
 * Lanes are done from the lowest on; each is complete, its mask bit cleared, before the next can
 * fault, so that the instruction goes on there when it is run again.
 */
static inline void gather(struct vcpu *cpu, const struct insn *i, unsigned index_bytes,
                          unsigned bytes)
{
    uint64_t *mask = &cpu->opmask[i->imm >> EVEX_MASK & 7];
    union vreg *r = &cpu->vreg[i->reg];
    unsigned lanes = lane_count(i, index_bytes, bytes), used = lanes * bytes / 8;

    if (i->reg == i->index)
        cpu_raise(cpu, i, EXC_UD);
    for (unsigned n = 0; n < lanes; n++) {
        uint64_t linear;

        if (!(*mask >> n & 1))
            continue;
        linear = element_linear(cpu, i, n, index_bytes, bytes, MMU_READ);
        if (bytes == 4)
            VREG_D(*r, n) = mem_load32(cpu, i, linear);
        else
            r->q[n] = mem_load64(cpu, i, linear);
        *mask &= ~BIT64(n);
        memset(r->q + used, 0, sizeof(*r) - used * 8);
    }
    memset(r->q + used, 0, sizeof(*r) - used * 8);
    *mask = 0;
}

static inline void scatter(struct vcpu *cpu, const struct insn *i, unsigned index_bytes,
                           unsigned bytes)
{
    uint64_t *mask = &cpu->opmask[i->imm >> EVEX_MASK & 7];
    const union vreg *data = &cpu->vreg[i->reg];
    unsigned lanes = lane_count(i, index_bytes, bytes);

    for (unsigned n = 0; n < lanes; n++) {
        uint64_t linear;

        if (!(*mask >> n & 1))
            continue;
        linear = element_linear(cpu, i, n, index_bytes, bytes, MMU_WRITE);
        if (bytes == 4)
            mem_store32(cpu, i, linear, VREG_D(*data, n));
        else
            mem_store64(cpu, i, linear, data->q[n]);
        *mask &= ~BIT64(n);
    }
    *mask = 0;
}

#define GATHER_SCATTER(letters, index_bytes, bytes)                                                \
    static __attribute__((noinline)) void gather_##letters(struct vcpu *cpu, const struct insn *i) \
    {                                                                                              \
        gather(cpu, i, index_bytes, bytes);                                                        \
    }                                                                                              \
    OP(evex_gather##letters)                                                                       \
    {                                                                                              \
        gather_##letters(cpu, i);                                                                  \
        NEXT;                                                                                      \
    }                                                                                              \
    static                                                                                         \
        __attribute__((noinline)) void scatter_##letters(struct vcpu *cpu, const struct insn *i)   \
    {                                                                                              \
        scatter(cpu, i, index_bytes, bytes);                                                       \
    }                                                                                              \
    OP(evex_scatter##letters)                                                                      \
    {                                                                                              \
        scatter_##letters(cpu, i);                                                                 \
        NEXT;                                                                                      \
    }
GATHER_SCATTER(dd, 4, 4)
GATHER_SCATTER(dq, 4, 8)
GATHER_SCATTER(qd, 8, 4)
GATHER_SCATTER(qq, 8, 8)
