#include "cpu/system.h"

#include "cpu/flags.h"
#include "cpu/mem.h"
#include "cpu/mode.h"

_Noreturn static void raise_gp(struct vcpu *cpu)
{
    cpu_raise_code(cpu, NULL, EXC_GP, 0);
}

void cpu_set_cpl(struct vcpu *cpu, unsigned cpl)
{
    cpu->mmu.cpl = (uint8_t)cpl;
    mode_update(cpu);
}

void cpu_write_eflags(struct vcpu *cpu, uint32_t value, uint32_t mask)
{
    uint32_t keep = mask & ~(EFLAGS_STATUS | EFLAGS_ONE);

    keep &= EFLAGS_TF | EFLAGS_IF | EFLAGS_DF | EFLAGS_IOPL | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM |
            EFLAGS_AC | EFLAGS_VIF | EFLAGS_VIP | EFLAGS_ID;
    cpu->eflags = (cpu->eflags & ~keep) | (value & keep) | EFLAGS_ONE;
    if (mask & EFLAGS_STATUS)
        flags_update(cpu, mask & EFLAGS_STATUS, value);
    mode_update(cpu);
}

/* PAE paging (not long mode) keeps its four top entries in registers; they are checked when they
 * are loaded (SDM 3A 4.4.1). */
static void load_pdptes(struct vcpu *cpu, uint64_t cr3)
{
    if (!mmu_load_pdptes(&cpu->mmu, cr3))
        raise_gp(cpu);
}

static bool uses_pdptes(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* Entering and leaving paging with EFER.LME switches long mode (SDM 3A 9.8.5). */
static uint64_t efer_after_cr0(struct vcpu *cpu, uint64_t value)
{
    uint64_t efer = cpu->mmu.efer, old = cpu->mmu.cr0;

    if ((value & CR0_PG) && !(old & CR0_PG) && (efer & EFER_LME)) {
        if (!(cpu->mmu.cr4 & CR4_PAE) || (cpu->seg[SEG_CS].attributes & SEGMENT_LONG))
            raise_gp(cpu);
        return efer | EFER_LMA;
    }
    if (!(value & CR0_PG) && (old & CR0_PG) && (efer & EFER_LMA)) {
        if (cpu->mode & MODE_64)
            raise_gp(cpu);
        return efer & ~EFER_LMA;
    }
    return efer;
}

uint64_t cpu_cr0_known(void)
{
    return CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |
           CR0_PG;
}

void cpu_write_cr0(struct vcpu *cpu, uint64_t value)
{
    uint64_t old = cpu->mmu.cr0, efer;

    if (value >> 32)
        raise_gp(cpu);
    value = (value & cpu_cr0_known()) | CR0_ET;
    if ((value & CR0_PG) && !(value & CR0_PE))
        raise_gp(cpu);
    if ((value & CR0_NW) && !(value & CR0_CD))
        raise_gp(cpu);
    if (!(value & CR0_PG) && (cpu->mmu.cr4 & CR4_PCIDE))
        raise_gp(cpu);
    efer = efer_after_cr0(cpu, value);
    if (uses_pdptes(value, cpu->mmu.cr4, efer) && ((value ^ old) & (CR0_PG | CR0_CD | CR0_NW)))
        load_pdptes(cpu, cpu->mmu.cr3);
    mmu_set_control(&cpu->mmu, value, cpu->mmu.cr4, efer);
    mode_update(cpu);
}

void cpu_write_cr3(struct vcpu *cpu, uint64_t value)
{
    uint64_t reserved = ~(BIT64(cpu->mmu.physical_bits) - 1);
    bool keep = false;

    if (cpu->mmu.cr4 & CR4_PCIDE) {
        keep = value >> 63;
        value &= ~BIT64(63);
    }
    if (cpu->mode & MODE_LONG) {
        if (value & reserved)
            raise_gp(cpu);
    } else {
        value = (uint32_t)value;
    }
    if (uses_pdptes(cpu->mmu.cr0, cpu->mmu.cr4, cpu->mmu.efer))
        load_pdptes(cpu, value);
    mmu_set_cr3(&cpu->mmu, value, keep);
}

uint64_t cpu_cr4_known(const struct vcpu *cpu)
{
    static const struct {
        uint64_t bit;
        enum cpu_feature feature;
    } gated[] = {
        {CR4_OSFXSR, FEATURE_FXSR},       {CR4_OSXMMEXCPT, FEATURE_SSE}, {CR4_UMIP, FEATURE_UMIP},
        {CR4_LA57, FEATURE_LA57},         {CR4_PCIDE, FEATURE_PCID},     {CR4_SMEP, FEATURE_SMEP},
        {CR4_FSGSBASE, FEATURE_FSGSBASE}, {CR4_OSXSAVE, FEATURE_XSAVE},  {CR4_SMAP, FEATURE_SMAP},
        {CR4_PKE, FEATURE_PKU},           {CR4_VME, FEATURE_VME},        {CR4_PVI, FEATURE_VME},
    };
    uint64_t known = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE;

    for (unsigned n = 0; n < ARRAY_SIZE(gated); n++)
        if (cpu_has(cpu, gated[n].feature))
            known |= gated[n].bit;
    return known;
}

void cpu_write_cr4(struct vcpu *cpu, uint64_t value)
{
    uint64_t old = cpu->mmu.cr4, changed = value ^ old;

    if (value & ~cpu_cr4_known(cpu))
        raise_gp(cpu);
    if ((cpu->mode & MODE_LONG) && (!(value & CR4_PAE) || (changed & CR4_LA57)))
        raise_gp(cpu);
    if ((value & CR4_PCIDE) && !(old & CR4_PCIDE) &&
        (!(cpu->mode & MODE_LONG) || (cpu->mmu.cr3 & 0xfff) != 0))
        raise_gp(cpu);
    if (uses_pdptes(cpu->mmu.cr0, value, cpu->mmu.efer) &&
        (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)))
        load_pdptes(cpu, cpu->mmu.cr3);
    mmu_set_control(&cpu->mmu, cpu->mmu.cr0, value, cpu->mmu.efer);
    mode_update(cpu);
}

uint64_t cpu_read_cr8(struct vcpu *cpu)
{
    if (cpu->platform.cr8_read != NULL)
        return cpu->platform.cr8_read(cpu->platform.opaque);
    return cpu->cr8_shadow;
}

void cpu_write_cr8(struct vcpu *cpu, uint64_t value)
{
    if (value & ~15ull)
        raise_gp(cpu);
    cpu->cr8_shadow = (uint8_t)value;
    if (cpu->platform.cr8_write != NULL)
        cpu->platform.cr8_write(cpu->platform.opaque, (uint8_t)value);
}

/* The I/O permission bitmap of the TSS (SDM 1 19.5.2). */
static bool bitmap_allows(struct vcpu *cpu, uint16_t port, unsigned size)
{
    uint64_t map, offset, bits;

    if ((cpu->tr.attributes & SEGMENT_TYPE) < 9 || cpu->tr.limit < 0x67)
        return false;
    map = mem_load_system(cpu, cpu->tr.base + 0x66, 2);
    offset = map + port / 8u;
    if (offset + 1 > cpu->tr.limit)
        return false;
    bits = mem_load_system(cpu, cpu->tr.base + offset, 2);
    return ((bits >> (port & 7)) & (BIT(size) - 1)) == 0;
}

void cpu_check_io(struct vcpu *cpu, const struct insn *i, uint16_t port, unsigned size)
{
    unsigned iopl = (cpu->eflags & EFLAGS_IOPL) >> 12;

    cpu->current = i;
    if (!(cpu->mmu.cr0 & CR0_PE))
        return;
    if ((cpu->mode & MODE_V86) || cpu_cpl(cpu) > iopl)
        if (!bitmap_allows(cpu, port, size))
            cpu_raise_code(cpu, i, EXC_GP, 0);
}
