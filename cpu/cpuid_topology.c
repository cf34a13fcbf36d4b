/*
 * What CPUID says about several processors: how APIC ids are made, and who shares which cache.
 * Source: Intel SDM 2A, "CPUID"; 3A 9.9.3 to 9.9.5; AMD APM 3, appendix E.4 and E.5.
 */
#include "cpu/cpuid.h"

#include "base/bits.h"

#include <string.h>

enum { EAX, EBX, ECX, EDX };

enum cache_type { CACHE_DATA = 1, CACHE_CODE, CACHE_UNIFIED };

/* Nobody sees them but guests that look: there is no model of caches behind this. */
static const struct cache {
    enum cache_type type;
    uint8_t level, ways;
    bool of_socket; /* shared by all of the socket; else by the threads of a core */
    uint32_t sets;
} caches[] = {
    {CACHE_DATA, 1, 8, false, 64},       /* 32 KiB */
    {CACHE_CODE, 1, 8, false, 64},       /* 32 KiB */
    {CACHE_UNIFIED, 2, 16, false, 1024}, /* 1 MiB */
    {CACHE_UNIFIED, 3, 16, true, 16384}, /* 16 MiB */
};

#define LINE_SIZE        64u
#define CORES_OF_LEAF_4  64u /* its field has six bits; more are in leaf 0Bh only */
#define INITIALIZES_SELF BIT(8)
#define INCLUSIVE        BIT(1)

/* Leaf 0Bh: types of levels */
#define LEVEL_THREAD 1u
#define LEVEL_CORE   2u

/* Associativity of 16 ways in 80000006h (APM 3, table E-4) */
#define AMD_WAYS_16 8u

static bool is_amd(const struct vcpu *cpu)
{
    return strcmp(cpu->model->vendor, CPU_VENDOR_AMD) == 0;
}

/* How many cores the ids of a socket have room for. */
static uint32_t core_ids(const struct cpu_topology *t)
{
    return BIT(cpu_topology_socket_shift(t) - cpu_topology_core_shift(t));
}

/* Leaves 4 and 8000001Dh; the latter without the number of cores. Sharers and cores are counted by
 * ids, gaps included. */
static void describe_cache(const struct cpu_topology *t, uint32_t leaf, uint32_t subleaf,
                           uint32_t out[4])
{
    unsigned core = cpu_topology_core_shift(t), socket = cpu_topology_socket_shift(t);
    const struct cache *c;

    if (subleaf >= ARRAY_SIZE(caches))
        return;
    c = &caches[subleaf];
    out[EAX] = (uint32_t)c->type | (uint32_t)c->level << 5 | INITIALIZES_SELF |
               (BIT(c->of_socket ? socket : core) - 1) << 14;
    if (leaf == 4)
        out[EAX] |= (MIN(core_ids(t), CORES_OF_LEAF_4) - 1) << 26;
    out[EBX] = (LINE_SIZE - 1) | (c->ways - 1u) << 22;
    out[ECX] = c->sets - 1;
    out[EDX] = c->of_socket ? INCLUSIVE : 0;
}

/* Leaf 0Bh: level 0 is the threads of a core, level 1 all of the socket. */
static void describe_level(const struct vcpu *cpu, uint32_t subleaf, uint32_t out[4])
{
    const struct cpu_topology *t = &cpu->topology;

    out[ECX] = subleaf & 0xff;
    out[EDX] = cpu->apic_id;
    if (subleaf == 0) {
        out[EAX] = cpu_topology_core_shift(t);
        out[EBX] = MAX(t->threads, 1u);
        out[ECX] |= LEVEL_THREAD << 8;
    } else if (subleaf == 1) {
        out[EAX] = cpu_topology_socket_shift(t);
        out[EBX] = cpu_topology_per_socket(t);
        out[ECX] |= LEVEL_CORE << 8;
    }
}

/* Leaf 1: Intel counts the ids that a socket has room for, AMD its processors. */
static void describe_socket(const struct vcpu *cpu, uint32_t out[4])
{
    unsigned count = cpu_topology_per_socket(&cpu->topology);

    if (count == 1)
        return;
    if (!is_amd(cpu))
        count = 1u << cpu_topology_socket_shift(&cpu->topology);
    out[EBX] = (out[EBX] & ~(0xffu << 16)) | MIN(count, 0xffu) << 16;
    out[EDX] |= BIT(28); /* HTT */
}

/* L1 caches, 80000005h; L2 and L3, 80000006h. */
static void describe_amd_caches(uint32_t leaf, uint32_t out[4])
{
    for (unsigned n = 0; n < ARRAY_SIZE(caches); n++) {
        const struct cache *c = &caches[n];
        uint32_t kib = c->sets * c->ways * LINE_SIZE / 1024;
        uint32_t tag = 1u << 8 | LINE_SIZE; /* lines per tag, bytes of a line */

        if (c->level == 1 && leaf == 0x80000005u)
            out[c->type == CACHE_DATA ? ECX : EDX] = kib << 24 | (uint32_t)c->ways << 16 | tag;
        if (c->level == 2 && leaf == 0x80000006u)
            out[ECX] = kib << 16 | AMD_WAYS_16 << 12 | tag;
        if (c->level == 3 && leaf == 0x80000006u)
            out[EDX] = kib / 512 << 18 | AMD_WAYS_16 << 12 | tag;
    }
}

static void describe_amd(const struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    const struct cpu_topology *t = &cpu->topology;
    unsigned socket_shift = cpu_topology_socket_shift(t);
    unsigned per_socket = cpu_topology_per_socket(t);

    switch (leaf) {
    case 0x80000001u:
        out[ECX] |= BIT(22);                     /* TopologyExtensions */
        out[ECX] |= per_socket > 1 ? BIT(1) : 0; /* CmpLegacy */
        break;
    case 0x80000005u:
    case 0x80000006u:
        describe_amd_caches(leaf, out);
        break;
    case 0x80000008u:
        out[ECX] |= socket_shift << 12 | (MIN(per_socket, 0x100u) - 1);
        break;
    case 0x8000001du:
        describe_cache(t, leaf, subleaf, out);
        break;
    case 0x8000001eu: /* each socket is a node */
        out[EAX] = cpu->apic_id;
        out[EBX] = (MIN(MAX(t->threads, 1u), 0x100u) - 1) << 8 |
                   ((cpu->apic_id >> cpu_topology_core_shift(t)) % core_ids(t) & 0xff);
        out[ECX] = cpu->apic_id >> socket_shift & 0xff;
        break;
    }
}

uint32_t cpuid_topology_extended_max(const struct vcpu *cpu, uint32_t max)
{
    return is_amd(cpu) && cpu_topology_count(&cpu->topology) > 1 ? 0x8000001eu : max;
}

void cpuid_add_topology(const struct vcpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    if (cpu_topology_count(&cpu->topology) == 1)
        return;
    switch (leaf) {
    case 1:
        describe_socket(cpu, out);
        break;
    case 4:
        if (!is_amd(cpu))
            describe_cache(&cpu->topology, leaf, subleaf, out);
        break;
    case 0xb:
        describe_level(cpu, subleaf, out);
        break;
    default:
        if (is_amd(cpu))
            describe_amd(cpu, leaf, subleaf, out);
        break;
    }
}
