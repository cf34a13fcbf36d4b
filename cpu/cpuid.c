#include "cpu/cpuid.h"

#include "cpu/fpu.h"
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

/* Feature sets are lists, F(NAME) F(NAME)..., from which the words of a model's mask are made. */
#define FEATURE_IN_0(name) | (FEATURE_##name < 64 ? BIT64(FEATURE_##name % 64) : 0)
#define FEATURE_IN_1(name) | (FEATURE_##name >= 64 ? BIT64(FEATURE_##name % 64) : 0)
#define FEATURE_WORDS(LIST)                                                                        \
    {                                                                                              \
        0 LIST(FEATURE_IN_0), 0 LIST(FEATURE_IN_1)                                                 \
    }
_Static_assert(FEATURE_COUNT > 64 && FEATURE_COUNT <= 128, "the model table has two words");

/* clang-format off */
/* What every 64-bit system program expects. */
#define FEATURES_V1(F)                                                                             \
    F(BASE)                                                                                        \
    F(FPU) F(TSC) F(MSR) F(CX8) F(SEP) F(CMOV) F(CLFSH) F(MMX) F(FXSR) F(SSE) F(SSE2) F(SYSCALL)   \
        F(NX) F(LM)
#define FEATURES_V2(F)                                                                             \
    FEATURES_V1(F) F(SSE3) F(SSSE3) F(CX16) F(SSE4_1) F(SSE4_2) F(POPCNT) F(LAHF64)
#define FEATURES_V3(F)                                                                             \
    FEATURES_V2(F) F(XSAVE) F(AVX) F(AVX2) F(BMI1) F(BMI2) F(F16C) F(FMA) F(LZCNT) F(MOVBE)
/* What systems since 2013 share besides. */
#define FEATURES_SYSTEM(F)                                                                         \
    F(VME) F(MONITOR)                                                                              \
    F(X2APIC) F(TSC_DEADLINE) F(RDRAND) F(FSGSBASE) F(SMEP) F(ERMS) F(RDTSCP) F(PDPE1GB)           \
        F(XSAVEOPT) F(AES) F(PCLMULQDQ)
/* All that is implemented and of use under the present MMU policy. */
#define FEATURES_GNOMON(F)                                                                         \
    FEATURES_V3(F) FEATURES_SYSTEM(F) F(RDSEED) F(SMAP) F(UMIP) F(RDPID) F(CLFLUSHOPT) F(CLWB)     \
    F(PREFETCHW) F(ADX) F(SHA) F(GFNI) F(VAES) F(VPCLMULQDQ) F(MOVDIRI) F(MOVDIR64B) F(SERIALIZE)  \
    F(XSAVEC) F(XGETBV1) F(XSAVES)
#define FEATURES_V4_ONLY(F) F(AVX512F) F(AVX512BW) F(AVX512CD) F(AVX512DQ) F(AVX512VL)
#define FEATURES_V4(F)      FEATURES_V3(F) FEATURES_V4_ONLY(F)
#define FEATURES_MAX(F)                                                                            \
    FEATURES_GNOMON(F) F(PCID) F(INVPCID) F(PKU) F(LA57) F(WBNOINVD) F(TSC_ADJUST)                 \
    FEATURES_V4_ONLY(F)                                                                            \
    F(AVX512IFMA) F(AVX512VBMI) F(AVX512VBMI2) F(AVX512VNNI) F(AVX512BITALG) F(AVX512VPOPCNTDQ) \
    F(AVX512BF16)
#define FEATURES_QEMU64(F)  FEATURES_V1(F) F(SSE3) F(CX16) F(LAHF64)
#define FEATURES_HASWELL(F) FEATURES_V3(F) FEATURES_SYSTEM(F) F(PCID) F(INVPCID)
#define FEATURES_SKYLAKE(F)                                                                        \
    FEATURES_HASWELL(F)                                                                            \
    F(RDSEED) F(ADX) F(SMAP) F(CLFLUSHOPT) F(PREFETCHW) F(XSAVEC) F(XGETBV1) F(XSAVES)
#define FEATURES_SKYLAKE_SERVER(F) FEATURES_SKYLAKE(F) FEATURES_V4_ONLY(F) F(CLWB) F(PKU)
#define FEATURES_EPYC(F)                                                                           \
    FEATURES_V3(F)                                                                                 \
    FEATURES_SYSTEM(F) F(RDSEED) F(ADX) F(SMAP) F(CLFLUSHOPT) F(PREFETCHW) F(SHA) F(XSAVEC)        \
        F(XGETBV1) F(XSAVES)

#define SIGNATURE 0x000206a7u /* family 6, model 2Ah, stepping 7 */
#define INTEL     "GenuineIntel"
#define AMD       CPU_VENDOR_AMD
#define BRAND     "Gnomon Virtual CPU"

const struct cpu_model cpu_models[] = {
    {"gnomon", "default: x86-64-v3 with the system features that are implemented", INTEL, BRAND,
     SIGNATURE, 40, FEATURE_WORDS(FEATURES_GNOMON)},
    {"qemu64", "x86-64 baseline, close to the QEMU model of that name", INTEL, BRAND,
     SIGNATURE, 40, FEATURE_WORDS(FEATURES_QEMU64)},
    {"x86-64-v1", "x86-64 baseline", INTEL, BRAND, SIGNATURE, 40, FEATURE_WORDS(FEATURES_V1)},
    {"x86-64-v2", "x86-64-v2: SSE4.2, POPCNT, CMPXCHG16B", INTEL, BRAND, SIGNATURE, 40,
     FEATURE_WORDS(FEATURES_V2)},
    {"x86-64-v3", "x86-64-v3: AVX2, BMI2, FMA, F16C, MOVBE", INTEL, BRAND, 0x000306c3u, 40,
     FEATURE_WORDS(FEATURES_V3)},
    {"x86-64-v4", "x86-64-v4: AVX-512 F, BW, CD, DQ, VL", INTEL, BRAND, 0x00050654u, 46,
     FEATURE_WORDS(FEATURES_V4)},
    {"Haswell", "Intel, 2013: AVX2, FMA", INTEL, "Intel Core Processor (Haswell)", 0x000306c3u, 39,
     FEATURE_WORDS(FEATURES_HASWELL)},
    {"Skylake-Client", "Intel, 2015: Haswell with SMAP, ADX, XSAVES", INTEL,
     "Intel Core Processor (Skylake)", 0x000506e3u, 39, FEATURE_WORDS(FEATURES_SKYLAKE)},
    {"Skylake-Server", "Intel, 2017: Skylake with AVX-512", INTEL,
     "Intel Xeon Processor (Skylake)", 0x00050654u, 46, FEATURE_WORDS(FEATURES_SKYLAKE_SERVER)},
    {"EPYC", "AMD, 2017: AVX2, SHA", AMD, "AMD EPYC Processor", 0x00800f12u, 48,
     FEATURE_WORDS(FEATURES_EPYC)},
    {"max", "everything that is implemented", INTEL, BRAND, SIGNATURE, 46,
     FEATURE_WORDS(FEATURES_MAX)},
};
/* clang-format on */

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

/* What needs what. */
static const struct dependency {
    uint16_t feature, needs; /* enum cpu_feature */
} dependencies[] = {
    {FEATURE_AVX, FEATURE_XSAVE},
    {FEATURE_XSAVEOPT, FEATURE_XSAVE},
    {FEATURE_XSAVEC, FEATURE_XSAVE},
    {FEATURE_XGETBV1, FEATURE_XSAVE},
    {FEATURE_XSAVES, FEATURE_XSAVE},
    {FEATURE_XSAVES, FEATURE_XSAVEC},
    {FEATURE_AVX2, FEATURE_AVX},
    {FEATURE_FMA, FEATURE_AVX},
    {FEATURE_F16C, FEATURE_AVX},
    {FEATURE_VAES, FEATURE_AVX2},
    {FEATURE_VAES, FEATURE_AES},
    {FEATURE_VPCLMULQDQ, FEATURE_AVX2},
    {FEATURE_VPCLMULQDQ, FEATURE_PCLMULQDQ},
    {FEATURE_AVX512F, FEATURE_AVX2},
    {FEATURE_AVX512F, FEATURE_FMA},
    {FEATURE_AVX512F, FEATURE_F16C},
    {FEATURE_AVX512VL, FEATURE_AVX512F},
    {FEATURE_AVX512CD, FEATURE_AVX512F},
    {FEATURE_AVX512DQ, FEATURE_AVX512F},
    {FEATURE_AVX512BW, FEATURE_AVX512F},
    {FEATURE_AVX512IFMA, FEATURE_AVX512F},
    {FEATURE_AVX512VBMI, FEATURE_AVX512BW},
    {FEATURE_AVX512VBMI2, FEATURE_AVX512BW},
    {FEATURE_AVX512VNNI, FEATURE_AVX512F},
    {FEATURE_AVX512BITALG, FEATURE_AVX512BW},
    {FEATURE_AVX512VPOPCNTDQ, FEATURE_AVX512F},
    {FEATURE_AVX512BF16, FEATURE_AVX512BW},
};

static bool set_has(const uint64_t *set, unsigned f)
{
    return (set[f / 64] >> (f % 64)) & 1;
}

/* What `-feature` takes away goes with all that needs it; what `+feature` asks for brings what it
 * needs, but not what was taken away. */
static bool settle_dependencies(struct cpu_model *model, uint64_t *asked, const uint64_t *removed,
                                struct error *err)
{
    bool again = true;

    while (again) {
        again = false;
        for (unsigned n = 0; n < ARRAY_SIZE(dependencies); n++) {
            unsigned f = dependencies[n].feature, needs = dependencies[n].needs;

            if (!set_has(model->features, f) || set_has(model->features, needs))
                continue;
            again = true;
            if (!set_has(asked, f)) {
                model->features[f / 64] &= ~BIT64(f % 64);
                continue;
            }
            if (set_has(removed, needs))
                return error_set(err, "-cpu: '%s' needs '%s'", feature_rows[f].word,
                                 feature_rows[needs].word);
            model->features[needs / 64] |= BIT64(needs % 64);
            asked[needs / 64] |= BIT64(needs % 64);
        }
    }
    return true;
}

bool cpu_model_parse(const char *spec, struct cpu_model *out, struct error *err)
{
    size_t length = strcspn(spec, ",");
    const struct cpu_model *base = model_find(spec, length);
    uint64_t asked[ARRAY_SIZE(out->features)] = {0}, removed[ARRAY_SIZE(out->features)] = {0};

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
        (on ? asked : removed)[f / 64] |= BIT64(f % 64);
        (on ? removed : asked)[f / 64] &= ~BIT64(f % 64);
    }
    return settle_dependencies(out, asked, removed, err);
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
    out[EBX] = cpu->apic_id << 24 | 1u << 16 | 8u << 8; /* one logical, 64-byte CLFLUSH */
    /* Always there: DE PSE PAE MCE APIC MTRR PGE MCA PAT PSE36. */
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
    out[EAX] = cpu_has(cpu, FEATURE_AVX512BF16); /* the last subleaf */
    out[EDX] = BIT(29);                          /* IA32_ARCH_CAPABILITIES */
    if (cpu->mmu.cr4 & CR4_PKE)
        out[ECX] |= BIT(4); /* OSPKE */
}

/* Leaf 0Dh: extended state (SDM 1 13.2). */
static void leaf_d(struct vcpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    uint64_t supported = fpu_xcr0_supported(cpu);

    if (!cpu_has(cpu, FEATURE_XSAVE))
        return;
    switch (subleaf) {
    case 0:
        out[EAX] = (uint32_t)supported;
        out[EDX] = (uint32_t)(supported >> 32);
        out[EBX] = fpu_xsave_size(cpu->xcr0, false);
        out[ECX] = fpu_xsave_size(supported, false);
        break;
    case 1: /* the features in EAX, and what XSAVES would write now */
        if (cpu_has(cpu, FEATURE_XSAVEC))
            out[EBX] = fpu_xsave_size(cpu->xcr0 | cpu->xss, true);
        break;
    case XSAVE_AVX:
    case XSAVE_OPMASK:
    case XSAVE_ZMM_HI256:
    case XSAVE_HI16_ZMM:
        if (supported >> subleaf & 1) {
            out[EAX] = fpu_xsave_component_size(subleaf);
            out[EBX] = fpu_xsave_offset(subleaf, 0);
        }
        break;
    }
}

#define EXTENDED_MAX 0x80000008u /* of one processor */

static void leaf_extended(struct vcpu *cpu, uint32_t leaf, uint32_t out[4])
{
    char brand[48] = {0};
    unsigned at = (leaf - 0x80000002u) * 16;

    switch (leaf) {
    case 0x80000000u:
        out[EAX] = cpuid_topology_extended_max(cpu, EXTENDED_MAX);
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
    if ((leaf > 0x16 && leaf < 0x40000000u) ||
        leaf > cpuid_topology_extended_max(cpu, EXTENDED_MAX))
        leaf = 0x16;
    if (leaf >= 0x80000000u)
        leaf_extended(cpu, leaf, out);
    else
        leaf_basic(cpu, leaf, subleaf, out);
    add_features(cpu, leaf, leaf == 7 || leaf == 0xd ? subleaf : 0, out);
    cpuid_add_topology(cpu, leaf, subleaf, out);
}
