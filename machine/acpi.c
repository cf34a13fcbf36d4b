#include "machine/acpi.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"
#include "devices/hpet.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pci.h"
#include "devices/pm.h"
#include "devices/rtc.h"
#include "machine/acpi_dsdt.h"
#include "machine/board.h"
#include "machine/le.h"
#include "mmu/bus.h"

#include <stdlib.h>
#include <string.h>

#define OEM_ID           "GNOMON"
#define OEM_TABLE_ID     "GNOMONPC"
#define OEM_REVISION     1
#define CREATOR_ID       "GNMN"
#define CREATOR_REVISION 1

/* Table sizes; specification 5.2 */
#define RSDP_SIZE       36
#define RSDP_SIZE_REV0  20
#define HEADER_SIZE     36
#define FACS_SIZE       64
#define FADT_SIZE       276
#define HPET_TABLE_SIZE 56
#define MADT_SIZE       (44 + 12 + 2 * 10 + 6 + 12) /* and the processors */

#define HEADER_LENGTH   4
#define HEADER_CHECKSUM 9

/* Generic address structure, 5.2.3.2: address spaces and access sizes */
#define GAS_MEMORY 0
#define GAS_IO     1
#define GAS_BYTE   1
#define GAS_WORD   2
#define GAS_DWORD  3

/* FADT flags, table 5.10 */
#define FADT_WBINVD              BIT(0)
#define FADT_PROC_C1             BIT(2)
#define FADT_SLP_BUTTON          BIT(5) /* there is none in the fixed hardware */
#define FADT_FIX_RTC             BIT(6) /* the RTC wakes nobody by way of the fixed hardware */
#define FADT_RESET_REG_SUPPORTED BIT(10)

/* FADT IAPC_BOOT_ARCH, table 5.11 */
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_8042           BIT(1)
#define BOOT_NO_VGA         BIT(2)

/* Latencies that say that C2 and C3 do not exist. */
#define NO_C2_LATENCY 101
#define NO_C3_LATENCY 1001

/* MADT structures, 5.2.12 */
#define MADT_PCAT_COMPAT    1
#define MADT_LAPIC          0
#define MADT_IOAPIC         1
#define MADT_OVERRIDE       2
#define MADT_LAPIC_NMI      4
#define MADT_X2APIC         9
#define MADT_X2APIC_NMI     10
#define MADT_ENABLED        1
#define MADT_ALL_PROCESSORS 0xff /* of structures that have bytes for them */
#define MADT_AS_THE_BUS     0x0
#define MADT_HIGH_LEVEL     0xd

#define PROCESSOR_MAX 1024 /* that many have room */

/* The area that is being filled. */
struct tables {
    uint8_t *bytes;
    size_t used;
};

/* Where `length` zero bytes come to lie; NULL: no room. */
static uint8_t *allocate(struct tables *t, size_t length, size_t alignment)
{
    size_t start = align_up(t->used, alignment);

    if (start > ACPI_TABLES_SIZE || length > ACPI_TABLES_SIZE - start)
        return NULL;
    t->used = start + length;
    return t->bytes + start;
}

static uint32_t address_of(const struct tables *t, const uint8_t *table)
{
    return ACPI_TABLES_BASE + (uint32_t)(table - t->bytes);
}

static uint8_t checksum(const uint8_t *bytes, size_t length)
{
    unsigned sum = 0;

    for (size_t i = 0; i < length; i++)
        sum += bytes[i];
    return (uint8_t)-sum;
}

/* System description table header, 5.2.6; the rest of the table is already there. */
static void finish_table(uint8_t *p, const char *signature, uint8_t revision, size_t length)
{
    memcpy(p, signature, 4);
    le32_put(p + HEADER_LENGTH, (uint32_t)length);
    p[8] = revision;
    memcpy(p + 10, OEM_ID, 6);
    memcpy(p + 16, OEM_TABLE_ID, 8);
    le32_put(p + 24, OEM_REVISION);
    memcpy(p + 28, CREATOR_ID, 4);
    le32_put(p + 32, CREATOR_REVISION);
    p[HEADER_CHECKSUM] = checksum(p, length);
}

static void put_gas(uint8_t *p, uint8_t space, unsigned bytes, uint8_t access, uint64_t address)
{
    p[0] = space;
    p[1] = (uint8_t)(bytes * 8);
    p[3] = access;
    le64_put(p + 4, address);
}

static uint8_t *write_facs(struct tables *t)
{
    uint8_t *p = allocate(t, FACS_SIZE, 64);

    if (p == NULL)
        return NULL;
    memcpy(p, "FACS", 4);
    le32_put(p + HEADER_LENGTH, FACS_SIZE);
    p[32] = 2; /* version */
    return p;
}

static uint8_t *write_dsdt(struct tables *t, const struct loader_target *target)
{
    uint8_t *p = allocate(t, HEADER_SIZE, 16);
    struct aml a;

    if (p == NULL)
        return NULL;
    aml_init(&a, p + HEADER_SIZE, ACPI_TABLES_SIZE - t->used);
    acpi_dsdt_write(&a, target);
    if (!aml_finish(&a))
        return NULL;
    t->used += a.length;
    finish_table(p, "DSDT", 2, HEADER_SIZE + a.length); /* 2: integers have 64 bits */
    return p;
}

/* The power management blocks; 32-bit port number, and the same as a generic address. */
static void put_fadt_block(uint8_t *fadt, unsigned offset, unsigned x_offset, uint16_t port,
                           unsigned size, uint8_t access)
{
    le32_put(fadt + offset, port);
    put_gas(fadt + x_offset, GAS_IO, size, access, port);
}

/* Table 5.9; offsets are the specification's. */
static uint8_t *write_fadt(struct tables *t, const struct loader_target *target, uint32_t facs,
                           uint32_t dsdt)
{
    uint8_t *p = allocate(t, FADT_SIZE, 16);

    if (p == NULL)
        return NULL;
    le32_put(p + 36, facs); /* X_FIRMWARE_CTRL stays 0: it is for tables above 4 GiB */
    le32_put(p + 40, dsdt);
    le64_put(p + 140, dsdt);
    le16_put(p + 46, PM_SCI_IRQ);
    le32_put(p + 48, PM_SMI_CMD);
    p[52] = PM_ACPI_ENABLE;
    p[53] = PM_ACPI_DISABLE;

    put_fadt_block(p, 56, 148, target->pm_base + PM1_STS, PM1_CNT - PM1_STS, GAS_WORD);
    put_fadt_block(p, 64, 172, target->pm_base + PM1_CNT, 2, GAS_WORD);
    put_fadt_block(p, 76, 208, target->pm_base + PM_TMR, 4, GAS_DWORD);
    put_fadt_block(p, 80, 220, target->pm_base + PM_GPSTS, PM_GPE_PORT_COUNT, GAS_BYTE);
    p[88] = PM1_CNT - PM1_STS;
    p[89] = 2;
    p[91] = 4;
    p[92] = PM_GPE_PORT_COUNT;

    le16_put(p + 96, NO_C2_LATENCY);
    le16_put(p + 98, NO_C3_LATENCY);
    p[108] = RTC_CENTURY;
    le16_put(p + 109, (uint16_t)(BOOT_8042 | BOOT_NO_VGA |
                                 (target->serial_ports != 0 ? BOOT_LEGACY_DEVICES : 0)));
    le32_put(p + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
                          FADT_RESET_REG_SUPPORTED);
    put_gas(p + 116, GAS_IO, 1, GAS_BYTE, PCI_RESET_PORT);
    p[128] = PCI_RESET_HARD | PCI_RESET_CPU;
    p[131] = 4; /* minor version */
    finish_table(p, "FACP", 6, FADT_SIZE);
    return p;
}

/* A structure of the MADT, behind those that are there. */
static uint8_t *add_structure(uint8_t *madt, size_t *length, uint8_t type, uint8_t size)
{
    uint8_t *p = madt + *length;

    p[0] = type;
    p[1] = size;
    *length += size;
    return p;
}

static void add_override(uint8_t *madt, size_t *length, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    uint8_t *p = add_structure(madt, length, MADT_OVERRIDE, 10);

    p[3] = irq;
    le32_put(p + 4, gsi);
    le16_put(p + 8, flags);
}

/* Ids that a byte can name must be named by one (5.2.12.12). */
static void add_processor(uint8_t *madt, size_t *length, uint32_t uid, uint32_t id)
{
    uint8_t *p;

    if (id <= LAPIC_ID_LAST) {
        p = add_structure(madt, length, MADT_LAPIC, 8);
        p[2] = (uint8_t)uid; /* not above the id */
        p[3] = (uint8_t)id;
        le32_put(p + 4, MADT_ENABLED);
    } else {
        p = add_structure(madt, length, MADT_X2APIC, 16);
        le32_put(p + 4, id);
        le32_put(p + 8, MADT_ENABLED);
        le32_put(p + 12, uid);
    }
}

/* LINT1 of all processors. */
static void add_nmis(uint8_t *madt, size_t *length, bool x2apic)
{
    uint8_t *p = add_structure(madt, length, MADT_LAPIC_NMI, 6);

    p[2] = MADT_ALL_PROCESSORS;
    le16_put(p + 3, MADT_AS_THE_BUS);
    p[5] = 1;
    if (!x2apic)
        return;
    p = add_structure(madt, length, MADT_X2APIC_NMI, 12);
    le16_put(p + 2, MADT_AS_THE_BUS);
    le32_put(p + 4, UINT32_MAX);
    p[8] = 1;
}

static uint8_t *write_madt(struct tables *t, const struct loader_target *target)
{
    unsigned cpu_count = cpu_topology_count(&target->topology);
    size_t room = MADT_SIZE + 16u * cpu_count, length = 44;
    uint8_t *madt = allocate(t, room, 16), *p;
    uint32_t id = 0;

    if (madt == NULL)
        return NULL;
    le32_put(madt + 36, LAPIC_DEFAULT_BASE);
    le32_put(madt + 40, MADT_PCAT_COMPAT);
    for (unsigned n = 0; n < cpu_count; n++) {
        id = cpu_topology_apic_id(&target->topology, n);
        add_processor(madt, &length, n, id);
    }
    p = add_structure(madt, &length, MADT_IOAPIC, 12); /* its id after reset is 0 */
    le32_put(p + 4, IOAPIC_BASE);
    add_override(madt, &length, PIT_IRQ, PIT_IOAPIC_PIN, MADT_AS_THE_BUS);
    add_override(madt, &length, PM_SCI_IRQ, PM_SCI_IRQ, MADT_HIGH_LEVEL);
    add_nmis(madt, &length, id > LAPIC_ID_LAST);
    finish_table(madt, "APIC", 5, length);
    t->used -= room - length;
    return madt;
}

static uint8_t *write_hpet_table(struct tables *t)
{
    uint8_t *p = allocate(t, HPET_TABLE_SIZE, 16);

    if (p == NULL)
        return NULL;
    le32_put(p + 36, HPET_ID(HPET_TIMER_COUNT));
    put_gas(p + 40, GAS_MEMORY, 8, 0, HPET_BASE);
    finish_table(p, "HPET", 1, HPET_TABLE_SIZE);
    return p;
}

/* A table of pointers, 4 or 8 bytes wide each. */
static uint8_t *write_root(struct tables *t, const char *signature, unsigned width,
                           const uint32_t *addresses, unsigned count)
{
    size_t length = HEADER_SIZE + (size_t)width * count;
    uint8_t *p = allocate(t, length, 16);

    if (p == NULL)
        return NULL;
    for (unsigned i = 0; i < count; i++)
        le32_put(p + HEADER_SIZE + (size_t)width * i, addresses[i]);
    finish_table(p, signature, 1, length);
    return p;
}

/* 5.2.5.3 */
static void fill_rsdp(uint8_t *p, uint32_t rsdt, uint32_t xsdt)
{
    memcpy(p, "RSD PTR ", 8);
    memcpy(p + 9, OEM_ID, 6);
    p[15] = 2;
    le32_put(p + 16, rsdt);
    p[8] = checksum(p, RSDP_SIZE_REV0);
    le32_put(p + 20, RSDP_SIZE);
    le64_put(p + 24, xsdt);
    p[32] = checksum(p, RSDP_SIZE);
}

/* False: no room. */
static bool write_tables(struct tables *t, const struct loader_target *target)
{
    uint8_t *rsdp = allocate(t, RSDP_SIZE, 16);
    uint8_t *facs = write_facs(t);
    uint8_t *dsdt = write_dsdt(t, target);
    uint8_t *tables[3], *rsdt, *xsdt;
    uint32_t addresses[ARRAY_SIZE(tables)];
    unsigned count = 2;

    if (rsdp == NULL || facs == NULL || dsdt == NULL)
        return false;
    tables[0] = write_fadt(t, target, address_of(t, facs), address_of(t, dsdt));
    tables[1] = write_madt(t, target);
    if (target->hpet)
        tables[count++] = write_hpet_table(t);
    for (unsigned i = 0; i < count; i++) {
        if (tables[i] == NULL)
            return false;
        addresses[i] = address_of(t, tables[i]);
    }
    rsdt = write_root(t, "RSDT", 4, addresses, count);
    xsdt = write_root(t, "XSDT", 8, addresses, count);
    if (rsdt == NULL || xsdt == NULL)
        return false;
    fill_rsdp(rsdp, address_of(t, rsdt), address_of(t, xsdt));
    return true;
}

bool acpi_install(const struct loader_target *target, gpa_t *rsdp, struct error *err)
{
    unsigned cpu_count = cpu_topology_count(&target->topology);
    struct tables t = {0};
    bool ok;

    if (cpu_count > PROCESSOR_MAX)
        return error_set(err, "ACPI tables: %u processors, %u at most", cpu_count, PROCESSOR_MAX);
    t.bytes = host_alloc(ACPI_TABLES_SIZE);
    CHECK(write_tables(&t, target));
    ok = bus_load(target->bus, gpa(ACPI_TABLES_BASE), t.bytes, t.used);
    free(t.bytes);
    if (!ok)
        return error_set(err, "ACPI tables: there is no memory at %#x", ACPI_TABLES_BASE);
    *rsdp = gpa(ACPI_TABLES_BASE);
    return true;
}
