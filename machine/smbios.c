#include "machine/smbios.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"
#include "cpu/cpuid.h"
#include "machine/le.h"
#include "mmu/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANUFACTURER "Gnomon"
#define PRODUCT      "Gnomon PC"

/* Of the tables, as there is no firmware; guests distrust tables from before 2008. */
#define TABLES_VERSION "1.0"
#define TABLES_DATE    "11/21/2026"

/* Entry points, specification 5.2; both lie on 16-byte boundaries. */
#define ENTRY64_SIZE      0x18
#define ENTRY32_SIZE      0x1f
#define ENTRY32_OFFSET    0x20
#define STRUCTURES_OFFSET 0x40

#define INTERMEDIATE_OFFSET 0x10 /* of "_DMI_" in the 32-bit one */
#define INTERMEDIATE_SIZE   0x0f

#define SOCKET_MAX 512

/* Handles */
#define HANDLE_BIOS           0x0000
#define HANDLE_SYSTEM         0x0100
#define HANDLE_CHASSIS        0x0300
#define HANDLE_PROCESSOR      0x0400
#define HANDLE_MEMORY_ARRAY   0x1000
#define HANDLE_MEMORY_DEVICE  0x1100
#define HANDLE_MAPPED_ADDRESS 0x1300
#define HANDLE_BOOT           0x2000
#define HANDLE_END            0x7f00
#define NO_HANDLE             0xfffe

/* 7.1.1, 7.1.2 */
#define BIOS_PCI           BIT64(7)
#define BIOS_EXT1_ACPI     0x01
#define BIOS_EXT2_VIRTUAL  0x10
#define BIOS_NO_CONTROLLER 0xff

/* Values of enumerations that say what can be said of a machine that is none. */
#define OTHER   1
#define UNKNOWN 2
#define SAFE    3

#define WAKE_UP_POWER_SWITCH 6
#define PROCESSOR_CENTRAL    3
#define PROCESSOR_ENABLED    0x41 /* socket populated, enabled */
#define PROCESSOR_64BIT      0x0004
#define PROCESSOR_CORES      0x0008 /* several */
#define PROCESSOR_THREADS    0x0010 /* several in a core */
#define NO_CACHE             0xffff
#define LOCATION_BOARD       3
#define USE_SYSTEM_MEMORY    3
#define ECC_NONE             3
#define FORM_DIMM            9
#define MEMORY_TYPE_RAM      7
#define MEMORY_DETAIL_OTHER  0x0002
#define SIZE_EXTENDED        0x7fffu
#define KIB_EXTENDED         0x80000000u
#define ADDRESS_EXTENDED     0xffffffffu

/* The structures, one after another; a structure's strings follow its formatted area. */
struct structures {
    uint8_t *bytes;
    size_t size;
    size_t used;
    size_t start;   /* of the structure that is being made */
    size_t largest; /* structure, with its strings */
    unsigned count;
    uint8_t strings; /* of the structure that is being made */
};

/* The formatted area of a new structure, zero but for its header. */
static uint8_t *begin(struct structures *s, uint8_t type, uint8_t length, uint16_t handle)
{
    uint8_t *p = s->bytes + s->used;

    CHECK(length <= s->size - s->used);
    s->start = s->used;
    s->used += length;
    s->strings = 0;
    p[0] = type;
    p[1] = length;
    le16_put(p + 2, handle);
    return p;
}

/* The number of a string in the structure that is being made. */
static uint8_t string(struct structures *s, const char *text)
{
    size_t length = strlen(text) + 1;

    if (length == 1)
        return 0; /* there is none */
    CHECK(length <= s->size - s->used);
    memcpy(s->bytes + s->used, text, length);
    s->used += length;
    return ++s->strings;
}

/* The zero byte that ends the strings; two if there are none. */
static void end(struct structures *s)
{
    size_t length = s->strings == 0 ? 2 : 1;

    CHECK(length <= s->size - s->used);
    s->used += length;
    s->largest = MAX(s->largest, s->used - s->start);
    s->count++;
}

/* 7.1 */
static void write_bios(struct structures *s)
{
    uint8_t *p = begin(s, 0, 0x18, HANDLE_BIOS);

    p[0x04] = string(s, MANUFACTURER);
    p[0x05] = string(s, TABLES_VERSION);
    p[0x08] = string(s, TABLES_DATE);
    le64_put(p + 0x0a, BIOS_PCI);
    p[0x12] = BIOS_EXT1_ACPI;
    p[0x13] = BIOS_EXT2_VIRTUAL;
    p[0x14] = 1;
    p[0x16] = BIOS_NO_CONTROLLER;
    p[0x17] = BIOS_NO_CONTROLLER;
    end(s);
}

/* 7.2; a UUID of zeros is none. */
static void write_system(struct structures *s)
{
    uint8_t *p = begin(s, 1, 0x1b, HANDLE_SYSTEM);

    p[0x04] = string(s, MANUFACTURER);
    p[0x05] = string(s, PRODUCT);
    p[0x06] = string(s, TABLES_VERSION);
    p[0x18] = WAKE_UP_POWER_SWITCH;
    end(s);
}

/* 7.4 */
static void write_chassis(struct structures *s)
{
    uint8_t *p = begin(s, 3, 0x16, HANDLE_CHASSIS);

    p[0x04] = string(s, MANUFACTURER);
    p[0x05] = OTHER;
    p[0x09] = SAFE;
    p[0x0a] = SAFE;
    p[0x0b] = SAFE;
    p[0x0c] = UNKNOWN;
    end(s);
}

/* Registers of CPUID leaves as text, blanks at its ends taken away. */
static void cpuid_text(struct vcpu *cpu, const uint32_t *leaves, unsigned count,
                       const uint8_t order[4], unsigned registers, char *text)
{
    char *start = text, *out = text;
    uint32_t r[4];

    for (unsigned i = 0; i < count; i++) {
        cpu_cpuid(cpu, leaves[i], 0, r);
        for (unsigned k = 0; k < registers; k++, out += 4)
            le32_put((uint8_t *)out, r[order[k]]);
    }
    *out = 0;
    while (*start == ' ')
        start++;
    memmove(text, start, strlen(start) + 1);
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
        text[n - 1] = 0;
}

/* Cores and threads of a socket: bytes, FFh for many, and words with the real number. */
static void put_counts(uint8_t *p, const struct cpu_topology *t)
{
    unsigned threads = cpu_topology_per_socket(t), cores = MAX(t->cores, 1u);
    const unsigned counts[3] = {cores, cores, threads}; /* those enabled are the second */
    uint16_t characteristics = PROCESSOR_64BIT;

    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        p[0x23 + i] = (uint8_t)MIN(counts[i], 0xffu);
        le16_put(p + 0x2a + 2 * i, (uint16_t)counts[i]);
    }
    if (cores > 1)
        characteristics |= PROCESSOR_CORES;
    if (threads > cores)
        characteristics |= PROCESSOR_THREADS;
    le16_put(p + 0x26, characteristics);
}

/* 7.5: a socket. Speeds are unknown: they are the host's. */
static void write_processor(struct structures *s, struct vcpu *cpu, const struct cpu_topology *t,
                            unsigned n)
{
    static const uint32_t vendor_leaf[] = {0};
    static const uint32_t brand_leaves[] = {0x80000002, 0x80000003, 0x80000004};
    static const uint8_t vendor_order[4] = {1, 3, 2}; /* EBX, EDX, ECX */
    static const uint8_t brand_order[4] = {0, 1, 2, 3};
    uint8_t *p = begin(s, 4, 0x30, (uint16_t)(HANDLE_PROCESSOR + n));
    char text[64];
    uint32_t r[4];

    snprintf(text, sizeof(text), "CPU %u", n);
    p[0x04] = string(s, text);
    p[0x05] = PROCESSOR_CENTRAL;
    p[0x06] = OTHER;
    cpuid_text(cpu, vendor_leaf, ARRAY_SIZE(vendor_leaf), vendor_order, 3, text);
    p[0x07] = string(s, text);
    cpu_cpuid(cpu, 1, 0, r);
    le32_put(p + 0x08, r[0]);
    le32_put(p + 0x0c, r[3]);
    cpuid_text(cpu, brand_leaves, ARRAY_SIZE(brand_leaves), brand_order, 4, text);
    p[0x10] = string(s, text);
    p[0x18] = PROCESSOR_ENABLED;
    p[0x19] = OTHER;
    le16_put(p + 0x1a, NO_CACHE);
    le16_put(p + 0x1c, NO_CACHE);
    le16_put(p + 0x1e, NO_CACHE);
    le16_put(p + 0x28, OTHER);
    put_counts(p, t);
    end(s);
}

/* 7.17 */
static void write_memory_array(struct structures *s, uint64_t size)
{
    uint8_t *p = begin(s, 16, 0x17, HANDLE_MEMORY_ARRAY);

    p[0x04] = LOCATION_BOARD;
    p[0x05] = USE_SYSTEM_MEMORY;
    p[0x06] = ECC_NONE;
    if (size >> 10 < KIB_EXTENDED) {
        le32_put(p + 0x07, (uint32_t)(size >> 10));
    } else {
        le32_put(p + 0x07, KIB_EXTENDED);
        le64_put(p + 0x0f, size);
    }
    le16_put(p + 0x0b, NO_HANDLE);
    le16_put(p + 0x0d, 1);
    end(s);
}

/* 7.18; sizes in MiB. */
static void write_memory_device(struct structures *s, uint64_t size)
{
    uint8_t *p = begin(s, 17, 0x28, HANDLE_MEMORY_DEVICE);
    uint32_t mib = (uint32_t)(size >> 20);

    le16_put(p + 0x04, HANDLE_MEMORY_ARRAY);
    le16_put(p + 0x06, NO_HANDLE);
    le16_put(p + 0x08, 64);
    le16_put(p + 0x0a, 64);
    if (mib < SIZE_EXTENDED) {
        le16_put(p + 0x0c, (uint16_t)mib);
    } else {
        le16_put(p + 0x0c, SIZE_EXTENDED);
        le32_put(p + 0x1c, mib);
    }
    p[0x0e] = FORM_DIMM;
    p[0x10] = string(s, "DIMM 0");
    p[0x12] = MEMORY_TYPE_RAM;
    le16_put(p + 0x13, MEMORY_DETAIL_OTHER);
    p[0x17] = string(s, MANUFACTURER);
    end(s);
}

/* 7.20; addresses in KiB, the end included, or in bytes if they are too high for that. */
static void write_mapped_address(struct structures *s, unsigned n, uint64_t start, uint64_t size)
{
    uint8_t *p = begin(s, 19, 0x1f, (uint16_t)(HANDLE_MAPPED_ADDRESS + n));
    uint64_t last = start + size - 1;

    if (last >> 10 < ADDRESS_EXTENDED) {
        le32_put(p + 0x04, (uint32_t)(start >> 10));
        le32_put(p + 0x08, (uint32_t)(last >> 10));
    } else {
        le32_put(p + 0x04, ADDRESS_EXTENDED);
        le32_put(p + 0x08, ADDRESS_EXTENDED);
        le64_put(p + 0x0f, start);
        le64_put(p + 0x17, last);
    }
    le16_put(p + 0x0c, HANDLE_MEMORY_ARRAY);
    p[0x0e] = 1;
    end(s);
}

static void write_structures(struct structures *s, const struct loader_target *target)
{
    uint64_t size = target->ram_below_4g + target->ram_above_4g;

    write_bios(s);
    write_system(s);
    write_chassis(s);
    for (unsigned n = 0; n < MAX(target->topology.sockets, 1u); n++)
        write_processor(s, target->cpu, &target->topology, n);
    write_memory_array(s, size);
    write_memory_device(s, size);
    write_mapped_address(s, 0, 0, target->ram_below_4g);
    if (target->ram_above_4g != 0)
        write_mapped_address(s, 1, 1ull << 32, target->ram_above_4g);
    begin(s, 32, 0x0b, HANDLE_BOOT); /* 7.33: no errors */
    end(s);
    begin(s, 127, 0x04, HANDLE_END);
    end(s);
}

static uint8_t checksum(const uint8_t *bytes, size_t length)
{
    unsigned sum = 0;

    for (size_t i = 0; i < length; i++)
        sum += bytes[i];
    return (uint8_t)-sum;
}

/* 5.2.2 */
static void write_entry64(uint8_t *p, const struct structures *s)
{
    memcpy(p, "_SM3_", 5);
    p[0x06] = ENTRY64_SIZE;
    p[0x07] = 3; /* version 3.0 */
    p[0x0a] = 1; /* of the entry point */
    le32_put(p + 0x0c, (uint32_t)s->used);
    le64_put(p + 0x10, SMBIOS_BASE + STRUCTURES_OFFSET);
    p[0x05] = checksum(p, ENTRY64_SIZE);
}

/* 5.2.1 */
static void write_entry32(uint8_t *p, const struct structures *s)
{
    uint8_t *dmi = p + INTERMEDIATE_OFFSET;

    memcpy(p, "_SM_", 4);
    p[0x05] = ENTRY32_SIZE;
    p[0x06] = 2; /* version 2.8 */
    p[0x07] = 8;
    le16_put(p + 0x08, (uint16_t)s->largest);
    memcpy(dmi, "_DMI_", 5);
    le16_put(p + 0x16, (uint16_t)s->used);
    le32_put(p + 0x18, SMBIOS_BASE + STRUCTURES_OFFSET);
    le16_put(p + 0x1c, (uint16_t)s->count);
    p[0x1e] = 0x28;
    dmi[5] = checksum(dmi, INTERMEDIATE_SIZE);
    p[0x04] = checksum(p, ENTRY32_SIZE);
}

bool smbios_install(const struct loader_target *target, gpa_t *anchor, struct error *err)
{
    struct structures s = {0};
    uint8_t *bytes;
    bool ok;

    if (target->topology.sockets > SOCKET_MAX)
        return error_set(err, "SMBIOS: %u sockets, %u at most", target->topology.sockets,
                         SOCKET_MAX);
    bytes = host_alloc(SMBIOS_SIZE);
    s.bytes = bytes + STRUCTURES_OFFSET;
    s.size = SMBIOS_SIZE - STRUCTURES_OFFSET;
    write_structures(&s, target);
    write_entry64(bytes, &s);
    write_entry32(bytes + ENTRY32_OFFSET, &s);
    ok = bus_load(target->bus, gpa(SMBIOS_BASE), bytes, STRUCTURES_OFFSET + s.used);
    free(bytes);
    if (!ok)
        return error_set(err, "SMBIOS: there is no memory at %#x", SMBIOS_BASE);
    *anchor = gpa(SMBIOS_BASE);
    return true;
}
