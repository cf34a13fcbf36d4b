/* RDMSR and WRMSR, from the rows of cpu/msr.def. */
#include "base/log.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/mode.h"
#include "cpu/system.h"

/* IA32_ARCH_CAPABILITIES: none of the speculation defects exist here, since nothing speculates:
 * RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
 * PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO (SDM volume 4, table 2-2). */
#define MSR_ARCH_CAPABILITIES                                                                      \
    (BIT64(0) | BIT64(3) | BIT64(4) | BIT64(5) | BIT64(6) | BIT64(8) | BIT64(13) | BIT64(14) |     \
     BIT64(15) | BIT64(20) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(62))

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_ADJUST   0x3bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_XSS          0xda0u
#define MSR_TSC_AUX      0xc0000103u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST  0x8ffu

static uint64_t msr_tsc_read(struct vcpu *cpu)
{
    return vcpu_tsc(cpu);
}

static bool msr_tsc_write(struct vcpu *cpu, uint64_t value)
{
    uint64_t delta = value - vcpu_tsc(cpu);

    cpu->tsc_offset += delta;
    cpu->msr.tsc_adjust += delta;
    return true;
}

static bool msr_tsc_adjust_write(struct vcpu *cpu, uint64_t value)
{
    cpu->tsc_offset += value - cpu->msr.tsc_adjust;
    cpu->msr.tsc_adjust = value;
    return true;
}

static bool msr_pat_write(struct vcpu *cpu, uint64_t value)
{
    for (unsigned n = 0; n < 8; n++) {
        unsigned type = (value >> (8 * n)) & 0xff;

        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    cpu->msr.pat = value;
    return true;
}

uint64_t cpu_efer_known(const struct vcpu *cpu)
{
    uint64_t known = 0;

    known |= cpu_has(cpu, FEATURE_SYSCALL) ? EFER_SCE : 0;
    known |= cpu_has(cpu, FEATURE_LM) ? EFER_LME | EFER_LMA : 0;
    known |= cpu_has(cpu, FEATURE_NX) ? EFER_NXE : 0;
    return known;
}

static bool msr_efer_write(struct vcpu *cpu, uint64_t value)
{
    uint64_t old = cpu->mmu.efer;

    if (value & ~cpu_efer_known(cpu))
        return false;
    if (((value ^ old) & EFER_LME) && (cpu->mmu.cr0 & CR0_PG))
        return false;
    value = (value & ~EFER_LMA) | (old & EFER_LMA);
    mmu_set_control(&cpu->mmu, cpu->mmu.cr0, cpu->mmu.cr4, value);
    mode_update(cpu);
    return true;
}

static bool msr_debugctl_write(struct vcpu *cpu, uint64_t value)
{
    if (value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF))
        return false;
    cpu->msr.debugctl = value;
    debug_control_changed(cpu);
    return true;
}

/* No supervisor state component exists. */
static bool msr_xss_write(struct vcpu *cpu, uint64_t value)
{
    return cpu_has(cpu, FEATURE_XSAVES) && value == 0;
}

/* ---- Memory type range registers (SDM 3A 12.11.2): reserved bits and types are refused ---- */

static bool memory_type(uint64_t type)
{
    return type <= 6 && type != 2 && type != 3;
}

static bool mtrr_base(const struct vcpu *cpu, uint64_t value)
{
    return memory_type(value & 0xff) && (value & 0xf00) == 0 &&
           value >> cpu->model->physical_bits == 0;
}

static bool mtrr_mask(const struct vcpu *cpu, uint64_t value)
{
    return (value & 0x7ff) == 0 && value >> cpu->model->physical_bits == 0;
}

static bool mtrr_fixed(uint64_t value)
{
    for (unsigned n = 0; n < 8; n++)
        if (!memory_type(value >> (8 * n) & 0xff))
            return false;
    return true;
}

static bool mtrr_default(uint64_t value)
{
    return memory_type(value & 0xff) && (value & ~0xcffull) == 0;
}

struct msr_row {
    uint32_t index;
    const char *name;
    uint64_t (*read)(struct vcpu *cpu);
    bool (*write)(struct vcpu *cpu, uint64_t value);
};

/* First pass: the accessors that rows describe. */
#define READ_FIELD(name, f)                                                                        \
    static uint64_t read_##name(struct vcpu *cpu)                                                  \
    {                                                                                              \
        return cpu->f;                                                                             \
    }
#define READ_CONST(name, n)                                                                        \
    static uint64_t read_##name(struct vcpu *cpu)                                                  \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return n;                                                                                  \
    }
#define READ_CALL(name, fn)                                                                        \
    static uint64_t read_##name(struct vcpu *cpu)                                                  \
    {                                                                                              \
        return msr_##fn##_read(cpu);                                                               \
    }
#define WRITE_BODY(name, condition, effect)                                                        \
    static bool write_##name(struct vcpu *cpu, uint64_t value)                                     \
    {                                                                                              \
        (void)cpu, (void)value;                                                                    \
        if (!(condition))                                                                          \
            return false;                                                                          \
        effect;                                                                                    \
        return true;                                                                               \
    }
#define WRITE_ANY(name, f)     WRITE_BODY(name, true, cpu->f = value)
#define WRITE_CANON(name, f)   WRITE_BODY(name, cpu_canonical_base(cpu, value), cpu->f = value)
#define WRITE_MASK(name, f, m) WRITE_BODY(name, (value & ~(uint64_t)(m)) == 0, cpu->f = value)
#define WRITE_ONES(name, f)    WRITE_BODY(name, value + 1 <= 1, cpu->f = value)
#define WRITE_BASE(name, f)    WRITE_BODY(name, mtrr_base(cpu, value), cpu->f = value)
#define WRITE_RANGE(name, f)   WRITE_BODY(name, mtrr_mask(cpu, value), cpu->f = value)
#define WRITE_TYPES(name, f)   WRITE_BODY(name, mtrr_fixed(value), cpu->f = value)
#define WRITE_DEFAULT(name, f) WRITE_BODY(name, mtrr_default(value), cpu->f = value)
#define WRITE_CALL(name, fn)   WRITE_BODY(name, msr_##fn##_write(cpu, value), (void)0)
#define WRITE_IGNORE_(name)    WRITE_BODY(name, true, (void)0)
#define WRITE_REFUSE_(name)    WRITE_BODY(name, false, (void)0)

/* Each column is a word that takes the name of its row: FIELD(f) becomes READ_FIELD(name, f). */
#define FIELD(f)                      FIELD, f
#define CONST(n)                      CONST, n
#define CALL(fn)                      CALL, fn
#define ANY(f)                        ANY, f
#define CANON(f)                      CANON, f
#define MASK(f, m)                    MASK, f, m
#define ZERO_OR_ONES(f)               ONES, f
#define BASE(f)                       BASE, f
#define RANGE(f)                      RANGE, f
#define TYPES(f)                      TYPES, f
#define DEFAULT(f)                    DEFAULT, f
#define IGNORE                        IGNORE_
#define REFUSE                        REFUSE_
#define READ_EXPAND(name, kind, ...)  READ_##kind(name, __VA_ARGS__)
#define READ_OF(name, ...)            READ_EXPAND(name, __VA_ARGS__)
#define WRITE_EXPAND(name, kind, ...) WRITE_##kind(name __VA_OPT__(, ) __VA_ARGS__)
#define WRITE_OF(name, ...)           WRITE_EXPAND(name, __VA_ARGS__)

#define MSR(index, name, r, w)                                                                     \
    READ_OF(name, r)                                                                               \
    WRITE_OF(name, w)
#include "cpu/msr.def"
#undef MSR

/* Second pass: the table. */
#define MSR(index, name, r, w) {index, #name, read_##name, write_##name},
static const struct msr_row msr_rows[] = {
#include "cpu/msr.def"
};

static const struct msr_row *msr_find(uint32_t index)
{
    unsigned low = 0, high = ARRAY_SIZE(msr_rows);

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (msr_rows[middle].index == index)
            return &msr_rows[middle];
        if (msr_rows[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* MSRs that come with a CPUID feature. */
static bool msr_there(const struct vcpu *cpu, uint32_t index)
{
    switch (index) {
    case MSR_TSC_ADJUST:
        return cpu_has(cpu, FEATURE_TSC_ADJUST);
    case MSR_XSS:
        return cpu_has(cpu, FEATURE_XSAVES);
    case MSR_TSC_AUX:
        return cpu_has(cpu, FEATURE_RDTSCP) || cpu_has(cpu, FEATURE_RDPID);
    default:
        return true;
    }
}

static bool in_apic(uint32_t index)
{
    return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
           (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

bool cpu_read_msr(struct vcpu *cpu, uint32_t index, uint64_t *value)
{
    const struct msr_row *row = msr_find(index);

    if (in_apic(index) && cpu->platform.apic_msr_read != NULL &&
        cpu->platform.apic_msr_read(cpu->platform.opaque, index, value))
        return true;
    if (row == NULL || !msr_there(cpu, index)) {
        LOG(cpu->log, LOG_GUEST_ERROR, "cpu%u: RDMSR of unknown MSR %#x at %#llx\n", cpu->index,
            index, (unsigned long long)cpu->rip);
        return false;
    }
    *value = row->read(cpu);
    return true;
}

bool cpu_write_msr(struct vcpu *cpu, uint32_t index, uint64_t value)
{
    const struct msr_row *row = msr_find(index);

    if (in_apic(index) && cpu->platform.apic_msr_write != NULL &&
        cpu->platform.apic_msr_write(cpu->platform.opaque, index, value))
        return true;
    if (row == NULL || !msr_there(cpu, index) || !row->write(cpu, value)) {
        LOG(cpu->log, LOG_GUEST_ERROR, "cpu%u: WRMSR %#x = %#llx refused at %#llx\n", cpu->index,
            index, (unsigned long long)value, (unsigned long long)cpu->rip);
        return false;
    }
    return true;
}
