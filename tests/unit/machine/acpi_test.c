/*
 * Without arguments: reads the tables back. With --dump: writes each of them to <signature>.dat in
 * the current folder, for acpi_iasl.sh; TABLES_BELOW, TABLES_ABOVE (bytes of RAM), TABLES_SOCKETS,
 * TABLES_CORES and TABLES_THREADS in the environment describe the machine.
 */
#include "machine/acpi.h"

#include "base/bits.h"
#include "devices/hpet.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pm.h"
#include "devices/pvpanic.h"
#include "machine/board.h"
#include "tests/unit/machine/tables_rig.h"

#include <stdio.h>

#define HEADER_SIZE 36
#define TABLE_MAX   16

struct fixture {
    struct tables_rig rig;
    uint64_t rsdp;
    const uint8_t *tables[TABLE_MAX]; /* those of the XSDT, then the DSDT */
    unsigned count;
};

/* A table with the common header, its checksum looked at. */
static const uint8_t *table_at(const struct tables_rig *r, uint64_t address)
{
    uint32_t length = le32_get(tables_rig_at(r, address, HEADER_SIZE) + 4);
    const uint8_t *p = tables_rig_at(r, address, length);

    ck_assert_uint_ge(length, HEADER_SIZE);
    ck_assert_uint_eq(tables_rig_sum(p, length), 0);
    ck_assert_mem_eq(p + 10, "GNOMON", 6);
    return p;
}

static const uint8_t *find(const struct fixture *f, const char *signature)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (memcmp(f->tables[i], signature, 4) == 0)
            return f->tables[i];
    }
    return NULL;
}

static const uint8_t *need(const struct fixture *f, const char *signature)
{
    const uint8_t *p = find(f, signature);

    ck_assert_msg(p != NULL, "there is no %s", signature);
    return p;
}

/* Installs what rig.target describes and finds the tables as a guest does. */
static void install(struct fixture *f)
{
    struct error err = {0};
    const uint8_t *rsdp, *xsdt;
    gpa_t at;

    ck_assert_msg(acpi_install(&f->rig.target, &at, &err), "%s", err.text);
    tables_rig_read(&f->rig);
    f->rsdp = at.v;
    rsdp = tables_rig_at(&f->rig, f->rsdp, 36);
    xsdt = table_at(&f->rig, le64_get(rsdp + 24));
    f->count = 0;
    for (uint32_t offset = HEADER_SIZE; offset < le32_get(xsdt + 4); offset += 8) {
        ck_assert_uint_lt(f->count, TABLE_MAX - 1);
        f->tables[f->count++] = table_at(&f->rig, le64_get(xsdt + offset));
    }
    f->tables[f->count] = table_at(&f->rig, le32_get(need(f, "FACP") + 40));
    f->count++;
}

static void fixture_create(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    tables_rig_create(&f->rig);
}

static void fixture_destroy(struct fixture *f)
{
    tables_rig_destroy(&f->rig);
}

/* --- The namespace --- */

struct span {
    const uint8_t *start, *end;
};

static bool span_contains(struct span s, const void *bytes, size_t length)
{
    for (const uint8_t *p = s.start; p + length <= s.end; p++) {
        if (memcmp(p, bytes, length) == 0)
            return true;
    }
    return false;
}

static struct span aml_of(const struct fixture *f)
{
    const uint8_t *dsdt = need(f, "DSDT");

    return (struct span){dsdt + HEADER_SIZE, dsdt + le32_get(dsdt + 4)};
}

/* What lies inside the device with this name; empty if there is none. */
static struct span device(const struct fixture *f, const char *name)
{
    struct span all = aml_of(f);

    for (const uint8_t *p = all.start; p + 10 <= all.end; p++) {
        unsigned width = 1 + (p[2] >> 6), length = p[2] & (width == 1 ? 0x3f : 0x0f);

        if (p[0] != 0x5b || p[1] != 0x82 || memcmp(p + 2 + width, name, 4) != 0)
            continue;
        for (unsigned i = 1; i < width; i++)
            length |= (unsigned)p[2 + i] << (8 * i - 4);
        ck_assert(p + 2 + length <= all.end);
        return (struct span){p + 2 + width + 4, p + 2 + length};
    }
    return (struct span){all.start, all.start};
}

static bool has_device(const struct fixture *f, const char *name)
{
    struct span s = device(f, name);

    return s.end > s.start;
}

static bool has_io(const struct fixture *f, const char *name, uint16_t port, uint8_t count)
{
    const uint8_t low = (uint8_t)port, high = (uint8_t)(port >> 8);
    const uint8_t io[] = {0x47, 1, low, high, low, high, 1, count};

    return span_contains(device(f, name), io, sizeof(io));
}

static bool has_irq(const struct fixture *f, const char *name, unsigned irq)
{
    const uint8_t descriptor[] = {0x22, (uint8_t)BIT(irq), (uint8_t)(BIT(irq) >> 8)};

    return span_contains(device(f, name), descriptor, sizeof(descriptor));
}

START_TEST(the_root_pointer_leads_to_every_table)
{
    struct fixture f;
    const uint8_t *rsdp, *rsdt, *xsdt;

    fixture_create(&f);
    install(&f);
    ck_assert_uint_eq(f.rsdp % 16, 0);
    ck_assert_uint_ge(f.rsdp, ACPI_TABLES_BASE);
    rsdp = tables_rig_at(&f.rig, f.rsdp, 36);
    ck_assert_mem_eq(rsdp, "RSD PTR ", 8);
    ck_assert_uint_eq(rsdp[15], 2);
    ck_assert_uint_eq(tables_rig_sum(rsdp, 20), 0);
    ck_assert_uint_eq(le32_get(rsdp + 20), 36);
    ck_assert_uint_eq(tables_rig_sum(rsdp, 36), 0);
    rsdt = table_at(&f.rig, le32_get(rsdp + 16));
    xsdt = table_at(&f.rig, le64_get(rsdp + 24));
    ck_assert_mem_eq(rsdt, "RSDT", 4);
    ck_assert_mem_eq(xsdt, "XSDT", 4);
    ck_assert_uint_eq(le32_get(rsdt + 4), HEADER_SIZE + 3 * 4);
    ck_assert_uint_eq(le32_get(xsdt + 4), HEADER_SIZE + 3 * 8);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(le32_get(rsdt + HEADER_SIZE + 4 * i),
                          le64_get(xsdt + HEADER_SIZE + 8 * i));
    ck_assert(find(&f, "APIC") != NULL && find(&f, "HPET") != NULL);
    fixture_destroy(&f);
}
END_TEST

START_TEST(everything_lies_in_the_reserved_area)
{
    struct fixture f;
    static const uint8_t zeros[0x10000];

    fixture_create(&f);
    f.rig.target.topology.sockets = 1024;
    install(&f);
    ck_assert_mem_eq(tables_rig_at(&f.rig, ACPI_TABLES_BASE + ACPI_TABLES_SIZE, 0x10000), zeros,
                     0x10000);
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_fadt_says_where_power_management_is)
{
    struct fixture f;
    const uint8_t *p;
    static const struct {
        unsigned offset, x_offset, length_offset;
        uint16_t port;
        uint8_t length;
    } blocks[] = {
        {56, 148, 88, PM1_STS, 4},
        {64, 172, 89, PM1_CNT, 2},
        {76, 208, 91, PM_TMR, 4},
        {80, 220, 92, PM_GPSTS, 4},
    };

    fixture_create(&f);
    f.rig.target.pm_base = 0xb000;
    install(&f);
    p = need(&f, "FACP");
    ck_assert_uint_eq(le32_get(p + 4), 276);
    for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++) {
        ck_assert_uint_eq(le32_get(p + blocks[i].offset), 0xb000u + blocks[i].port);
        ck_assert_uint_eq(le64_get(p + blocks[i].x_offset + 4), 0xb000u + blocks[i].port);
        ck_assert_uint_eq(p[blocks[i].x_offset], 1);
        ck_assert_uint_eq(p[blocks[i].x_offset + 1], 8 * blocks[i].length);
        ck_assert_uint_eq(p[blocks[i].length_offset], blocks[i].length);
    }
    ck_assert_uint_eq(le16_get(p + 46), PM_SCI_IRQ);
    ck_assert_uint_eq(le32_get(p + 48), PM_SMI_CMD);
    ck_assert_uint_eq(p[52], PM_ACPI_ENABLE);
    ck_assert_uint_eq(p[53], PM_ACPI_DISABLE);
    ck_assert_uint_eq(le64_get(p + 140), le32_get(p + 40));
    ck_assert(has_io(&f, "BRD_", 0xb000, PM_PORT_COUNT));
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_reset_register_is_the_one_of_the_isa_bridge)
{
    struct fixture f;
    static const uint8_t expected[] = {1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 6};

    fixture_create(&f);
    install(&f);
    ck_assert_mem_eq(need(&f, "FACP") + 116, expected, sizeof(expected));
    ck_assert(le32_get(need(&f, "FACP") + 112) & BIT(10));
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_facs_is_aligned_and_known_to_the_fadt)
{
    struct fixture f;
    uint32_t address;

    fixture_create(&f);
    install(&f);
    address = le32_get(need(&f, "FACP") + 36);
    ck_assert_uint_eq(address % 64, 0);
    ck_assert_mem_eq(tables_rig_at(&f.rig, address, 64), "FACS", 4);
    ck_assert_uint_eq(le32_get(tables_rig_at(&f.rig, address, 64) + 4), 64);
    ck_assert_uint_eq(le64_get(need(&f, "FACP") + 132), 0);
    fixture_destroy(&f);
}
END_TEST

START_TEST(boot_flags_follow_the_serial_ports)
{
    struct fixture f;

    fixture_create(&f);
    install(&f);
    ck_assert_uint_eq(le16_get(need(&f, "FACP") + 109), 0x07);
    f.rig.target.serial_ports = 0;
    install(&f);
    ck_assert_uint_eq(le16_get(need(&f, "FACP") + 109), 0x06);
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_madt_lists_processors_and_interrupts)
{
    struct fixture f;
    const uint8_t *p, *end;
    unsigned lapics = 0, ioapics = 0, overrides = 0, nmis = 0;

    fixture_create(&f);
    f.rig.target.topology.sockets = 5;
    install(&f);
    p = need(&f, "APIC");
    end = p + le32_get(p + 4);
    ck_assert_uint_eq(le32_get(p + 36), LAPIC_DEFAULT_BASE);
    ck_assert_uint_eq(le32_get(p + 40), 1);
    for (p += 44; p < end; p += p[1]) {
        ck_assert_uint_ge(p[1], 2);
        ck_assert(p + p[1] <= end);
        if (p[0] == 0) {
            ck_assert_uint_eq(p[2], lapics);
            ck_assert_uint_eq(p[3], lapics);
            ck_assert_uint_eq(le32_get(p + 4), 1);
            lapics++;
        } else if (p[0] == 1) {
            ck_assert_uint_eq(le32_get(p + 4), IOAPIC_BASE);
            ck_assert_uint_eq(le32_get(p + 8), 0);
            ioapics++;
        } else if (p[0] == 2) {
            bool sci = p[3] == PM_SCI_IRQ;

            ck_assert(sci || p[3] == PIT_IRQ);
            ck_assert_uint_eq(le32_get(p + 4), sci ? PM_SCI_IRQ : PIT_IOAPIC_PIN);
            ck_assert_uint_eq(le16_get(p + 8), sci ? 0x0d : 0);
            overrides++;
        } else {
            ck_assert_uint_eq(p[0], 4);
            ck_assert_uint_eq(p[2], 0xff);
            ck_assert_uint_eq(p[5], 1);
            nmis++;
        }
    }
    ck_assert_ptr_eq(p, end);
    ck_assert_uint_eq(lapics, 5);
    ck_assert_uint_eq(ioapics, 1);
    ck_assert_uint_eq(overrides, 2);
    ck_assert_uint_eq(nmis, 1);
    fixture_destroy(&f);
}
END_TEST

/* Sockets begin at powers of two, and so do cores; uids have no gaps. */
START_TEST(the_madt_has_the_apic_ids_of_the_topology)
{
    static const uint8_t ids[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};
    struct fixture f;
    const uint8_t *p;

    fixture_create(&f);
    f.rig.target.topology = (struct cpu_topology){2, 3, 2};
    install(&f);
    p = need(&f, "APIC") + 44;
    for (unsigned n = 0; n < ARRAY_SIZE(ids); n++, p += 8) {
        const uint8_t expected[8] = {0, 8, (uint8_t)n, ids[n], 1, 0, 0, 0};

        ck_assert_mem_eq(p, expected, sizeof(expected));
    }
    ck_assert_uint_eq(p[0], 1); /* the I/O APIC follows */
    ck_assert(has_device(&f, "C00B"));
    ck_assert(!has_device(&f, "C00C"));
    fixture_destroy(&f);
}
END_TEST

/* From id 255 on, which the xAPIC cannot name, structures of the x2APIC; and LINT1 of those. */
START_TEST(high_apic_ids_are_of_the_x2apic)
{
    static const struct cpu_topology arrangements[] = {{100, 3, 1}, {1, 300, 1}};
    static const uint8_t nmis[18] = {4, 6, 0xff, 0, 0, 1, 10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1};
    struct fixture f;
    const uint8_t *p, *end;
    unsigned count = 0;

    fixture_create(&f);
    f.rig.target.topology = arrangements[_i];
    install(&f);
    p = need(&f, "APIC");
    end = p + le32_get(p + 4);
    for (p += 44; p[0] == 0 || p[0] == 9; p += p[1], count++) {
        uint32_t id = cpu_topology_apic_id(&f.rig.target.topology, count);

        ck_assert_uint_eq(p[0], id < 255 ? 0 : 9);
        ck_assert_uint_eq(p[1], id < 255 ? 8 : 16);
        ck_assert_uint_eq(id < 255 ? p[3] : le32_get(p + 4), id);
        ck_assert_uint_eq(id < 255 ? p[2] : le32_get(p + 12), count);
        ck_assert_uint_eq(le32_get(p + (id < 255 ? 4 : 8)), 1);
    }
    ck_assert_uint_eq(count, 300);
    ck_assert_mem_eq(end - sizeof(nmis), nmis, sizeof(nmis));
    fixture_destroy(&f);
}
END_TEST

START_TEST(an_hpet_has_a_table_and_a_device)
{
    struct fixture f;
    const uint8_t *p;

    fixture_create(&f);
    install(&f);
    p = need(&f, "HPET");
    ck_assert_uint_eq(le32_get(p + 36), HPET_ID(HPET_TIMER_COUNT));
    ck_assert_uint_eq(p[40], 0);
    ck_assert_uint_eq(le64_get(p + 44), HPET_BASE);
    ck_assert(has_device(&f, "HPET"));
    f.rig.target.hpet = false;
    install(&f);
    ck_assert(find(&f, "HPET") == NULL);
    ck_assert(!has_device(&f, "HPET"));
    fixture_destroy(&f);
}
END_TEST

START_TEST(soft_off_is_type_0)
{
    struct fixture f;
    static const uint8_t s5[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0};

    fixture_create(&f);
    install(&f);
    ck_assert(span_contains(aml_of(&f), s5, sizeof(s5)));
    fixture_destroy(&f);
}
END_TEST

START_TEST(serial_ports_are_there_or_not)
{
    struct fixture f;

    fixture_create(&f);
    install(&f);
    ck_assert(has_io(&f, "COM1", 0x3f8, 8) && has_irq(&f, "COM1", 4));
    ck_assert(has_io(&f, "COM2", 0x2f8, 8) && has_irq(&f, "COM2", 3));
    ck_assert(has_io(&f, "COM3", 0x3e8, 8) && has_irq(&f, "COM3", 4));
    ck_assert(has_io(&f, "COM4", 0x2e8, 8) && has_irq(&f, "COM4", 3));
    f.rig.target.serial_ports = 0x02;
    install(&f);
    ck_assert(!has_device(&f, "COM1"));
    ck_assert(has_device(&f, "COM2"));
    ck_assert(!has_device(&f, "COM3"));
    ck_assert(!has_device(&f, "COM4"));
    fixture_destroy(&f);
}
END_TEST

START_TEST(legacy_devices_have_their_ports)
{
    struct fixture f;

    fixture_create(&f);
    install(&f);
    ck_assert(has_io(&f, "KBD_", 0x60, 1) && has_io(&f, "KBD_", 0x64, 1));
    ck_assert(has_irq(&f, "KBD_", 1));
    ck_assert(has_irq(&f, "MOU_", 12));
    ck_assert(has_io(&f, "RTC_", 0x70, 4) && has_irq(&f, "RTC_", 8));
    ck_assert(has_io(&f, "PIT_", 0x40, 4) && has_irq(&f, "PIT_", 0));
    ck_assert(has_io(&f, "PIC_", 0x20, 2) && has_io(&f, "PIC_", 0xa0, 2));
    ck_assert(has_io(&f, "BRD_", 0xafe0, 4));
    fixture_destroy(&f);
}
END_TEST

START_TEST(pvpanic_is_there_or_not)
{
    struct fixture f;

    fixture_create(&f);
    install(&f);
    ck_assert(has_io(&f, "PVPN", PVPANIC_PORT, 1));
    ck_assert(span_contains(device(&f, "PVPN"), "QEMU0001", 9));
    f.rig.target.pvpanic_port = 0;
    install(&f);
    ck_assert(!has_device(&f, "PVPN"));
    fixture_destroy(&f);
}
END_TEST

START_TEST(processors_have_the_uids_of_the_madt)
{
    struct fixture f;
    static const uint8_t uid[] = {0x08, '_', 'U', 'I', 'D', 0x0a, 0xfe};

    fixture_create(&f);
    f.rig.target.topology.sockets = 255;
    install(&f);
    ck_assert(span_contains(device(&f, "C0FE"), uid, sizeof(uid)));
    ck_assert(!has_device(&f, "C0FF"));
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_memory_window_begins_where_ram_ends)
{
    static const uint32_t sizes[] = {1u << 20, 64u << 20, 512u << 20, 0xc0000000u};
    struct fixture f;

    fixture_create(&f);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint8_t window[26] = {0x87, 23, 0, 0, 0x0c, 1};

        f.rig.target.ram_below_4g = sizes[i];
        install(&f);
        le32_put(window + 10, sizes[i]);
        le32_put(window + 14, 0xfebfffff);
        le32_put(window + 22, 0xfec00000 - sizes[i]);
        ck_assert(span_contains(device(&f, "PCI0"), window, sizeof(window)));
    }
    fixture_destroy(&f);
}
END_TEST

START_TEST(pins_of_pci_devices_lead_to_the_pins_that_are_wired)
{
    struct fixture f;
    /* INTA# of device 3 is PIRQC#. */
    static const uint8_t apic[] = {0x0c, 0xff, 0xff, 3, 0, 0, 0, 0x0a, 18};
    static const uint8_t link[] = {0x0c, 0xff, 0xff, 3, 0, 0, 'L', 'N', 'K', 'C', 0};
    /* INTD# of device 31 is PIRQB#. */
    static const uint8_t last[] = {0x0c, 0xff, 0xff, 31, 0, 0x0a, 3, 0, 0x0a, 17};

    fixture_create(&f);
    install(&f);
    ck_assert(span_contains(device(&f, "PCI0"), apic, sizeof(apic)));
    ck_assert(span_contains(device(&f, "PCI0"), link, sizeof(link)));
    ck_assert(span_contains(device(&f, "PCI0"), last, sizeof(last)));
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_same_target_gives_the_same_bytes)
{
    struct fixture f;
    uint8_t *first;

    fixture_create(&f);
    install(&f);
    first = malloc(TABLES_RIG_SIZE);
    ck_assert(first != NULL);
    memcpy(first, f.rig.bytes, TABLES_RIG_SIZE);
    install(&f);
    ck_assert_mem_eq(first, f.rig.bytes, TABLES_RIG_SIZE);
    free(first);
    fixture_destroy(&f);
}
END_TEST

START_TEST(too_many_processors_are_an_error)
{
    struct fixture f;
    struct error err = {0};
    gpa_t at;

    fixture_create(&f);
    f.rig.target.topology.sockets = 1025;
    ck_assert(!acpi_install(&f.rig.target, &at, &err));
    ck_assert(strstr(err.text, "1025 processors") != NULL);
    fixture_destroy(&f);
}
END_TEST

START_TEST(a_machine_without_memory_there_is_an_error)
{
    struct fixture f;
    struct error err = {0};
    struct machine_memory *empty = machine_memory_create(1 << 20, NULL);
    struct bus *bus = bus_create(empty, NULL);
    gpa_t at;

    fixture_create(&f);
    f.rig.target.bus = bus;
    ck_assert(!acpi_install(&f.rig.target, &at, &err));
    ck_assert(err.set);
    bus_destroy(bus);
    machine_memory_destroy(empty);
    fixture_destroy(&f);
}
END_TEST

static void dump_table(const uint8_t *p)
{
    char name[16];
    FILE *file;

    snprintf(name, sizeof(name), "%.4s.dat", (const char *)p);
    file = fopen(name, "wb");
    ck_assert_msg(file != NULL, "%s cannot be written", name);
    ck_assert_uint_eq(fwrite(p, 1, le32_get(p + 4), file), le32_get(p + 4));
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(dump)
{
    struct fixture f;
    const uint8_t *rsdp;

    fixture_create(&f);
    tables_rig_from_environment(&f.rig);
    install(&f);
    rsdp = tables_rig_at(&f.rig, f.rsdp, 36);
    dump_table(table_at(&f.rig, le32_get(rsdp + 16)));
    dump_table(table_at(&f.rig, le64_get(rsdp + 24)));
    dump_table(tables_rig_at(&f.rig, le32_get(need(&f, "FACP") + 36), 64));
    for (unsigned i = 0; i < f.count; i++)
        dump_table(f.tables[i]);
    fixture_destroy(&f);
}
END_TEST

int main(int argc, char **argv)
{
    TCase *tc = tcase_create("acpi");

    if (argc == 2 && strcmp(argv[1], "--dump") == 0) {
        tcase_add_test(tc, dump);
        return run_suite("acpi", tc);
    }
    tcase_add_test(tc, the_root_pointer_leads_to_every_table);
    tcase_add_test(tc, everything_lies_in_the_reserved_area);
    tcase_add_test(tc, the_fadt_says_where_power_management_is);
    tcase_add_test(tc, the_reset_register_is_the_one_of_the_isa_bridge);
    tcase_add_test(tc, the_facs_is_aligned_and_known_to_the_fadt);
    tcase_add_test(tc, boot_flags_follow_the_serial_ports);
    tcase_add_test(tc, the_madt_lists_processors_and_interrupts);
    tcase_add_test(tc, the_madt_has_the_apic_ids_of_the_topology);
    tcase_add_loop_test(tc, high_apic_ids_are_of_the_x2apic, 0, 2);
    tcase_add_test(tc, an_hpet_has_a_table_and_a_device);
    tcase_add_test(tc, soft_off_is_type_0);
    tcase_add_test(tc, serial_ports_are_there_or_not);
    tcase_add_test(tc, legacy_devices_have_their_ports);
    tcase_add_test(tc, pvpanic_is_there_or_not);
    tcase_add_test(tc, processors_have_the_uids_of_the_madt);
    tcase_add_test(tc, the_memory_window_begins_where_ram_ends);
    tcase_add_test(tc, pins_of_pci_devices_lead_to_the_pins_that_are_wired);
    tcase_add_test(tc, the_same_target_gives_the_same_bytes);
    tcase_add_test(tc, too_many_processors_are_an_error);
    tcase_add_test(tc, a_machine_without_memory_there_is_an_error);
    return run_suite("acpi", tc);
}
