#include "cpu/cpuid.h"

#include "cpu/mode.h"

#include <string.h>
#include <strings.h>

enum { EAX, EBX, ECX, EDX };

struct feature_row {
    const char *word;
    uint32_t leaf, subleaf;
    uint8_t reg, bit;
};

static const struct feature_row feature_rows[FEATURE_COUNT] = {
#define X(name, word, leaf, subleaf, reg, bit) {word, leaf, subleaf, reg, bit},
    CPU_FEATURES(X)
#undef X
};

#define F1(name) BIT64(FEATURE_##name % 64)
_Static_assert(FEATURE_COUNT <= 64, "the model table's masks hold 64 features");

/* What every 64-bit system program expects. */
#define FEATURES_V1                                                                                \
    (F1(BASE) | F1(FPU) | F1(TSC) | F1(MSR) | F1(CX8) | F1(SEP) | F1(CMOV) | F1(CLFSH) | F1(MMX) | \
     F1(FXSR) | F1(SSE) | F1(SSE2) | F1(SYSCALL) | F1(NX) | F1(LM))
#define FEATURES_V2                                                                                \
    (FEATURES_V1 | F1(SSE3) | F1(SSSE3) | F1(CX16) | F1(SSE4_1) | F1(SSE4_2) | F1(POPCNT) |        \
     F1(LAHF64))
/* All that is implemented and of use under the present MMU policy. */
#define FEATURES_GNOMON                                                                            \
    (FEATURES_V2 | F1(MONITOR) | F1(X2APIC) | F1(MOVBE) | F1(TSC_DEADLINE) | F1(XSAVE) |           \
     F1(RDRAND) | F1(FSGSBASE) | F1(SMEP) | F1(ERMS) | F1(RDSEED) | F1(SMAP) | F1(UMIP) |          \
     F1(RDPID) | F1(XSAVEOPT) | F1(CLFLUSHOPT) | F1(CLWB) | F1(PREFETCHW) | F1(PDPE1GB) |          \
     F1(RDTSCP) | F1(BMI1) | F1(BMI2) | F1(ADX) | F1(LZCNT))
#define FEATURES_MAX                                                                               \
    (FEATURES_GNOMON | F1(PCID) | F1(INVPCID) | F1(PKU) | F1(LA57) | F1(MOVDIRI) | F1(MOVDIR64B) | \
     F1(SERIALIZE) | F1(WBNOINVD))

#define SIGNATURE 0x000206a7u /* family 6, model 2Ah, stepping 7 */

const struct cpu_model cpu_models[] = {
    {"gnomon",
     "default: x86-64-v2 with the system features that are implemented",
     "GenuineIntel",
     "Gnomon Virtual CPU",
     SIGNATURE,
     40,
     {FEATURES_GNOMON}},
    {"qemu64",
     "x86-64 baseline, close to the QEMU model of that name",
     "GenuineIntel",
     "Gnomon Virtual CPU",
     SIGNATURE,
     40,
     {FEATURES_V1 | F1(SSE3) | F1(CX16) | F1(LAHF64)}},
    {"x86-64-v1",
     "x86-64 baseline",
     "GenuineIntel",
     "Gnomon Virtual CPU",
     SIGNATURE,
     40,
     {FEATURES_V1}},
    {"x86-64-v2",
     "x86-64-v2: SSE4.2, POPCNT, CMPXCHG16B",
     "GenuineIntel",
     "Gnomon Virtual CPU",
     SIGNATURE,
     40,
     {FEATURES_V2}},
    {"max",
     "everything that is implemented",
     "GenuineIntel",
     "Gnomon Virtual CPU",
     SIGNATURE,
     46,
     {FEATURES_MAX}},
};

const unsigned cpu_model_count = ARRAY_SIZE(cpu_models);

static const struct cpu_model *model_find(const char *name, size_t length)
{
    for (unsigned n = 0; n < cpu_model_count; n++)
        if (strlen(cpu_models[n].name) == length &&
            strncasecmp(cpu_models[n].name, name, length) == 0)
            return &cpu_models[n];
    return NULL;
}

/* Number of the feature that the word names; '_' and '-' and '.' are alike. FEATURE_COUNT: none. */
static unsigned feature_find(const char *word, size_t length)
{
    for (unsigned n = 1; n < FEATURE_COUNT; n++) {
        const char *candidate = feature_rows[n].word;
        size_t k = 0;

        if (strlen(candidate) != length)
            continue;
        while (k < length && (candidate[k] == word[k] || (strchr("-_.", candidate[k]) != NULL &&
                                                          strchr("-_.", word[k]) != NULL)))
            k++;
        if (k == length)
            return n;
    }
    return FEATURE_COUNT;
}

bool cpu_model_parse(const char *spec, struct cpu_model *out, struct error *err)
{
    size_t length = strcspn(spec, ",");
    const struct cpu_model *base = model_find(spec, length);

    if (base == NULL)
        return error_set(err, "-cpu: unknown model '%.*s' (-cpu help lists them)", (int)length,
                         spec);
    *out = *base;
    for (spec += length; *spec != '\0'; spec += length) {
        bool on;
        unsigned f;

        spec++;
        length = strcspn(spec, ",");
        on = *spec == '+';
        if (length < 2 || (*spec != '+' && *spec != '-'))
            return error_set(err, "-cpu: '%.*s': expected +feature or -feature", (int)length, spec);
        f = feature_find(spec + 1, length - 1);
        if (f == FEATURE_COUNT)
            return error_set(err, "-cpu: Gnomon has no feature '%.*s' (-cpu help lists them)",
                             (int)length - 1, spec + 1);
        out->features[f / 64] &= ~BIT64(f % 64);
        out->features[f / 64] |= (uint64_t)on << (f % 64);
    }
    return true;
}

static void add_features(const struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    for (unsigned n = 1; n < FEATURE_COUNT; n++)
        if (feature_rows[n].leaf == leaf && feature_rows[n].subleaf == subleaf && cpu_has(cpu, n))
            out[feature_rows[n].reg] |= BIT(feature_rows[n].bit);
}

static uint32_t text32(const char *text, unsigned at)
{
    uint32_t v = 0;

    for (unsigned n = 0; n < 4; n++)
        v |= (uint32_t)(uint8_t)text[at + n] << (8 * n);
    return v;
}

static void leaf_1(struct vcpu *cpu, uint32_t out[4])
{
    out[EAX] = cpu->model->signature;
    out[EBX] = cpu->index << 24 | 1u << 16 | 8u << 8; /* APIC id, one logical, 64-byte CLFLUSH */
    /* Always there: DE PSE PAE MCE APIC MTRR PGE MCA PAT PSE36 (VME is not implemented). */
    out[EDX] = BIT(2) | BIT(3) | BIT(6) | BIT(7) | BIT(9) | BIT(12) | BIT(13) | BIT(14) | BIT(16) |
               BIT(17);
    out[ECX] = BIT(31); /* a hypervisor is present */
    if (cpu->mmu.cr4 & CR4_OSXSAVE)
        out[ECX] |= BIT(27);
}

static void leaf_7(struct vcpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    if (subleaf != 0)
        return;
    out[EDX] = BIT(29); /* IA32_ARCH_CAPABILITIES */
    if (cpu->mmu.cr4 & CR4_PKE)
        out[ECX] |= BIT(4); /* OSPKE */
}

/* Leaf 0Dh: extended state. Only x87 and SSE exist yet (SDM 1 13.2). */
static void leaf_d(struct vcpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    if (!cpu_has(cpu, FEATURE_XSAVE) || subleaf != 0)
        return;
    out[EAX] = 3;
    out[EBX] = out[ECX] = 576; /* legacy area and header */
}

static void leaf_extended(struct vcpu *cpu, uint32_t leaf, uint32_t out[4])
{
    char brand[48] = {0};
    unsigned at = (leaf - 0x80000002u) * 16;

    switch (leaf) {
    case 0x80000000u:
        out[EAX] = 0x80000008u;
        break;
    case 0x80000002u:
    case 0x80000003u:
    case 0x80000004u:
        strncpy(brand, cpu->model->brand, sizeof(brand) - 1);
        for (unsigned n = 0; n < 4; n++)
            out[n] = text32(brand, at + 4 * n);
        break;
    case 0x80000007u:
        out[EDX] = BIT(8); /* invariant TSC */
        break;
    case 0x80000008u:
        out[EAX] = cpu->model->physical_bits | (cpu_has(cpu, FEATURE_LA57) ? 57u : 48u) << 8;
        break;
    }
}

static void leaf_basic(struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    switch (leaf) {
    case 0:
        out[EAX] = 0x16;
        out[EBX] = text32(cpu->model->vendor, 0);
        out[EDX] = text32(cpu->model->vendor, 4);
        out[ECX] = text32(cpu->model->vendor, 8);
        break;
    case 1:
        leaf_1(cpu, out);
        break;
    case 2: /* cache and TLB descriptors: see leaf 4 */
        out[EAX] = 0x00feff01;
        break;
    case 5: /* MONITOR line sizes */
        if (cpu_has(cpu, FEATURE_MONITOR)) {
            out[EAX] = out[EBX] = 64;
            out[ECX] = 3;
        }
        break;
    case 7:
        leaf_7(cpu, subleaf, out);
        break;
    case 0xd:
        leaf_d(cpu, subleaf, out);
        break;
    case 0x15: /* TSC and APIC timer clocks: no calibration needed */
        out[EAX] = out[EBX] = 1;
        out[ECX] = (uint32_t)cpu->tsc_hz;
        break;
    case 0x16:
        out[EAX] = out[EBX] = (uint32_t)(cpu->tsc_hz / 1000000);
        out[ECX] = 100;
        break;
    }
}

void cpu_cpuid(struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0, 4 * sizeof(out[0]));
    if (leaf == 0x40000000u) {
        out[EAX] = leaf;
        out[EBX] = text32("GnomonGnomon", 0);
        out[ECX] = text32("GnomonGnomon", 4);
        out[EDX] = text32("GnomonGnomon", 8);
        return;
    }
    /* Beyond the highest leaf Intel processors answer with the highest basic one. */
    if ((leaf > 0x16 && leaf < 0x40000000u) || leaf > 0x80000008u)
        leaf = 0x16;
    if (leaf >= 0x80000000u)
        leaf_extended(cpu, leaf, out);
    else
        leaf_basic(cpu, leaf, subleaf, out);
    add_features(cpu, leaf, leaf == 7 || leaf == 0xd ? subleaf : 0, out);
}
