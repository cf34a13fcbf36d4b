/*
 * CPU models: what CPUID says, which features are on. A model never claims what Gnomon does not
 * have. Source: Intel SDM volume 2A, "CPUID".
 */
#ifndef CPU_CPUID_H
#define CPU_CPUID_H

#include "cpu/cpu.h"

#define CPU_VENDOR_AMD "AuthenticAMD"

struct cpu_model {
    const char *name;        /* as in -cpu */
    const char *description; /* one line for -cpu help */
    const char *vendor;      /* 12 characters */
    const char *brand;       /* up to 47 characters */
    uint32_t signature;      /* leaf 1 EAX: family, model, stepping */
    uint8_t physical_bits;   /* MAXPHYADDR */
    uint64_t features[(FEATURE_COUNT + 63) / 64]; /* bit n: enum cpu_feature n */
};

/* All models, in the order of -cpu help; the first is the default. */
extern const struct cpu_model cpu_models[];
extern const unsigned cpu_model_count;

/* A model by "name[,+feature][,-feature]..."; on success *out is filled (it points to no memory of
 * spec's). The error names the bad part. */
bool cpu_model_parse(const char *spec, struct cpu_model *out, struct error *err);

/* CPUID as the guest sees it now (OSXSAVE and the like follow the control registers). */
void cpu_cpuid(struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* For cpu_cpuid (cpu/cpuid_topology.c): completes a leaf with the processor's place among others:
 * leaves 1, 4 and Bh; for AMD models 1, Bh, 80000001h, 80000005h, 80000006h, 80000008h, 8000001Dh
 * and 8000001Eh. One processor alone has none, and nothing changes. */
void cpuid_add_topology(const struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* The highest extended leaf, if it is `max` without such leaves. */
uint32_t cpuid_topology_extended_max(const struct vcpu *cpu, uint32_t max);

#endif
