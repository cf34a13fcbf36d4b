#include "cpu/mode.h"

#include "cpu/v86.h"

/* Base 0, limit 4 GiB, present, and usable the way its register is used without a check. */
static bool flat_data(const struct segment *s)
{
    return s->usable && s->base == 0 && s->limit == UINT32_MAX &&
           (s->attributes & (SEGMENT_CODE | SEGMENT_EXPAND_DOWN | SEGMENT_WRITABLE)) ==
               SEGMENT_WRITABLE;
}

static bool flat_segments(const struct vcpu *cpu)
{
    return cpu->seg[SEG_CS].base == 0 && cpu->seg[SEG_CS].limit == UINT32_MAX &&
           flat_data(&cpu->seg[SEG_SS]) && flat_data(&cpu->seg[SEG_DS]) &&
           flat_data(&cpu->seg[SEG_ES]);
}

/* #AC for misaligned operands (SDM 3A 6.15, "Alignment Check"): looked for on the slow path. */
static bool checks_alignment(const struct vcpu *cpu)
{
    return cpu->mmu.cpl == 3 && (cpu->mmu.cr0 & CR0_AM) && (cpu->eflags & EFLAGS_AC);
}

static bool avx_enabled(const struct vcpu *cpu)
{
    const uint64_t needed = XSTATE_SSE | XSTATE_AVX;

    return (cpu->mmu.cr4 & CR4_OSXSAVE) && (cpu->xcr0 & needed) == needed;
}

void mode_update(struct vcpu *cpu)
{
    const struct mmu_context *m = &cpu->mmu;
    uint16_t cs = cpu->seg[SEG_CS].attributes;
    uint32_t mode = 0;
    bool prot = m->cr0 & CR0_PE;

    if (prot)
        mode |= cpu->eflags & EFLAGS_VM ? MODE_V86 : MODE_PROT;
    if (m->efer & EFER_LMA)
        mode |= MODE_LONG;
    if ((mode & MODE_LONG) && (cs & SEGMENT_LONG)) {
        mode |= MODE_64 | MODE_FLAT;
    } else {
        mode |= cs & SEGMENT_DB ? MODE_CS32 : 0;
        mode |= cpu->seg[SEG_SS].attributes & SEGMENT_DB ? MODE_SS32 : 0;
        /* The flat fast path relies on 32-bit offsets and stacks. */
        if ((mode & (MODE_CS32 | MODE_SS32)) == (MODE_CS32 | MODE_SS32) && flat_segments(cpu))
            mode |= MODE_FLAT;
    }
    mode |= m->cpl == 0 ? MODE_CPL0 : m->cpl == 3 ? MODE_CPL3 : 0;
    mode |= m->cr0 & CR0_EM ? MODE_EM : 0;
    mode |= m->cr0 & CR0_TS ? MODE_TS : 0;
    mode |= m->cr0 & CR0_MP ? MODE_MP : 0;
    mode |= m->cr4 & CR4_OSFXSR ? MODE_OSFXSR : 0;
    mode |= m->cr4 & CR4_OSXSAVE ? MODE_OSXSAVE : 0;
    if (avx_enabled(cpu)) {
        mode |= MODE_AVX;
        mode |= (cpu->xcr0 & XSTATE_AVX512) == XSTATE_AVX512 ? MODE_AVX512 : 0;
    }
    cpu->mode = mode;
    cpu->ip_mask = mode & MODE_64 ? UINT64_MAX : UINT32_MAX;
    /* Blocks that were looked up under a higher limit may reach beyond this one. */
    if (unlikely(cpu->seg[SEG_CS].limit < cpu->code_limit))
        mmu_end_lookups(&cpu->mmu);
    cpu->code_limit = cpu->seg[SEG_CS].limit;
    if (cpu->eflags & EFLAGS_TF)
        cpu->attention |= VCPU_ATTENTION_TRAP;
    else
        cpu->attention &= ~VCPU_ATTENTION_TRAP;
    if (unlikely(v86_interrupt_waits(cpu)))
        cpu->attention |= VCPU_ATTENTION_VIRTUAL;
    else
        cpu->attention &= ~VCPU_ATTENTION_VIRTUAL;
    /* RF matters where execution points are; elsewhere it ends at once instead of with the next
     * instruction, which spares every return from a fault a look-up. */
    if (cpu->debug.exec_count == 0)
        cpu->eflags &= ~EFLAGS_RF;
    else if (cpu->eflags & EFLAGS_RF)
        cpu->attention |= VCPU_ATTENTION_RESUME;
    else
        cpu->attention &= ~VCPU_ATTENTION_RESUME;
    mmu_set_privilege(&cpu->mmu, m->cpl, cpu->eflags & EFLAGS_AC);
    if (unlikely(checks_alignment(cpu) != m->all_slow))
        mmu_set_all_slow(&cpu->mmu, !m->all_slow);
}
