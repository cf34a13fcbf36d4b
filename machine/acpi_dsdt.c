#include "machine/acpi_dsdt.h"

#include "base/bits.h"
#include "base/check.h"
#include "devices/hpet.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "devices/pci.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/pm.h"
#include "devices/port92.h"
#include "devices/pvpanic.h"
#include "devices/rtc.h"
#include "devices/uart.h"
#include "machine/board.h"

#include <stdio.h>

/* _STA, 6.3.7: present, enabled, shown to the user, working */
#define STA_WORKS    0x0f
#define STA_HIDDEN   0x0b
#define STA_DISABLED 0x09

/* ISA interrupts that a PIRQ may be routed to: no ISA device has them. */
#define LINK_IRQS (BIT(5) | BIT(10) | BIT(11))

#define PCI_DEVICE_COUNT 32
#define PCI_PIN_COUNT    4

/* Display memory; in the PCI memory space as far as the chip set is concerned. */
#define VGA_WINDOW_FIRST 0xa0000u
#define VGA_WINDOW_LAST  0xbffffu

/* --- Sleeping --- */

/* The types are those of PM1a_CNT and PM1b_CNT; the latter is not there. */
static void write_soft_off(struct aml *a)
{
    aml_name(a, "\\_S5");
    aml_package(a, 4);
    aml_integer(a, PM_SUS_TYP_S5);
    aml_integer(a, PM_SUS_TYP_S5);
    aml_integer(a, 0);
    aml_integer(a, 0);
    aml_end(a);
}

/* --- Interrupts of PCI --- */

static void link_name(char name[AML_NAME_SIZE + 1], const char *prefix, unsigned pirq)
{
    snprintf(name, AML_NAME_SIZE + 1, "%.3s%c", prefix, (char)('A' + pirq % 4));
}

/* The guest tells which interrupt controllers it uses: 0 the PIC, 1 the I/O APIC; 5.8.1. */
static void write_pic_method(struct aml *a)
{
    aml_name_integer(a, "\\PICM", 0);
    aml_method(a, "\\_PIC", 1, false);
    aml_store(a);
    aml_argument(a, 0);
    aml_path(a, "\\PICM");
    aml_end(a);
}

/* One element of _PRT, 6.2.13: a link device, or a pin of the I/O APIC. */
static void write_route(struct aml *a, unsigned device, unsigned pin, bool apic)
{
    unsigned pirq = pci_pirq(device, pin);
    char name[AML_NAME_SIZE + 1];

    aml_package(a, 4);
    aml_integer(a, device << 16 | 0xffff);
    aml_integer(a, pin);
    if (apic) {
        aml_integer(a, 0);
        aml_integer(a, PIRQ_FIRST_PIN + pirq);
    } else {
        link_name(name, "LNK", pirq);
        aml_path(a, name);
        aml_integer(a, 0);
    }
    aml_end(a);
}

static void write_routes(struct aml *a, const char *name, bool apic)
{
    aml_name(a, name);
    aml_package(a, PCI_DEVICE_COUNT * PCI_PIN_COUNT);
    for (unsigned device = 0; device < PCI_DEVICE_COUNT; device++) {
        for (unsigned pin = 0; pin < PCI_PIN_COUNT; pin++)
            write_route(a, device, pin, apic);
    }
    aml_end(a);
}

static void write_prt(struct aml *a)
{
    write_routes(a, "PRTP", false);
    write_routes(a, "PRTA", true);
    aml_method(a, "_PRT", 0, false);
    aml_if(a);
    aml_path(a, "\\PICM");
    aml_return(a);
    aml_path(a, "PRTA");
    aml_else(a);
    aml_return(a);
    aml_path(a, "PRTP");
    aml_end(a);
    aml_end(a);
}

/* Expression: the routing register and a mask. */
static void write_masked(struct aml *a, const char *route, uint8_t mask)
{
    aml_operation(a, AML_AND);
    aml_path(a, route);
    aml_integer(a, mask);
    aml_integer(a, 0);
}

/* CreateWordField(buffer, the mask of its IRQ descriptor, IRQM); the caller names the buffer by
 * Local0 or Arg0. */
static void write_mask_field(struct aml *a, bool argument)
{
    aml_create_word_field(a);
    if (argument)
        aml_argument(a, 0);
    else
        aml_local(a, 0);
    aml_integer(a, AML_IRQ_MASK_OFFSET);
    aml_path(a, "IRQM");
}

static void write_link_crs(struct aml *a, const char *route)
{
    aml_method(a, "_CRS", 0, true);
    aml_store(a);
    aml_resources(a);
    aml_irq_level(a, 0);
    aml_resources_end(a);
    aml_local(a, 0);
    write_mask_field(a, false);
    aml_if(a);
    aml_not(a);
    write_masked(a, route, PCI_PIRQRC_DISABLE);
    aml_operation(a, AML_SHIFT_LEFT);
    aml_integer(a, 1);
    write_masked(a, route, PCI_PIRQRC_IRQ);
    aml_path(a, "IRQM");
    aml_end(a);
    aml_return(a);
    aml_local(a, 0);
    aml_end(a);
}

static void write_link_srs(struct aml *a, const char *route)
{
    aml_method(a, "_SRS", 1, true);
    write_mask_field(a, true);
    aml_find_set_right_bit(a); /* counts from 1 */
    aml_path(a, "IRQM");
    aml_local(a, 0);
    aml_operation(a, AML_SUBTRACT);
    aml_local(a, 0);
    aml_integer(a, 1);
    aml_path(a, route);
    aml_end(a);
}

/* The routing of one PIRQ to ISA interrupts, 6.2.4 and 6.2.17. */
static void write_link(struct aml *a, unsigned pirq)
{
    char name[AML_NAME_SIZE + 1], field[AML_NAME_SIZE + 1], route[24];

    link_name(name, "LNK", pirq);
    link_name(field, "PRQ", pirq);
    snprintf(route, sizeof(route), "\\_SB.PCI0.ISA.%s", field);
    aml_device(a, name);
    aml_name_eisa_id(a, "_HID", "PNP0C0F");
    aml_name_integer(a, "_UID", pirq);
    aml_name(a, "_PRS");
    aml_resources(a);
    aml_irq_level(a, LINK_IRQS);
    aml_resources_end(a);

    aml_method(a, "_STA", 0, false);
    aml_if(a);
    write_masked(a, route, PCI_PIRQRC_DISABLE);
    aml_return(a);
    aml_integer(a, STA_DISABLED);
    aml_else(a);
    aml_return(a);
    aml_integer(a, STA_HIDDEN);
    aml_end(a);
    aml_end(a);

    aml_method(a, "_DIS", 0, false);
    aml_operation(a, AML_OR);
    aml_path(a, route);
    aml_integer(a, PCI_PIRQRC_DISABLE);
    aml_path(a, route);
    aml_end(a);

    write_link_crs(a, route);
    write_link_srs(a, route);
    aml_end(a);
}

/* --- The ISA bus --- */

/* Opens a device with its identifier and its _CRS; closed by close_isa_device. */
static void open_isa_device(struct aml *a, const char *name, const char *id)
{
    aml_device(a, name);
    aml_name_eisa_id(a, "_HID", id);
    aml_name(a, "_CRS");
    aml_resources(a);
}

static void close_isa_device(struct aml *a)
{
    aml_resources_end(a);
    aml_end(a);
}

static void write_legacy_devices(struct aml *a)
{
    open_isa_device(a, "PIC", "PNP0000");
    aml_io(a, PIC_MASTER_PORT, PIC_PORT_COUNT);
    aml_io(a, PIC_SLAVE_PORT, PIC_PORT_COUNT);
    aml_io(a, PIC_ELCR_PORT, PIC_PORT_COUNT);
    close_isa_device(a);

    open_isa_device(a, "PIT", "PNP0100");
    aml_io(a, PIT_PORT, PIT_PORT_COUNT);
    aml_irq_edge(a, BIT(PIT_IRQ));
    close_isa_device(a);

    open_isa_device(a, "SPKR", "PNP0800");
    aml_io(a, PIT_PORT_B, 1);
    close_isa_device(a);

    open_isa_device(a, "RTC", "PNP0B00");
    aml_io(a, RTC_PORT, RTC_PORT_COUNT);
    aml_irq_edge(a, BIT(RTC_IRQ));
    close_isa_device(a);

    open_isa_device(a, "KBD", "PNP0303");
    aml_io(a, I8042_DATA_PORT, 1);
    aml_io(a, I8042_STATUS_PORT, 1);
    aml_irq_edge(a, BIT(KEYBOARD_IRQ));
    close_isa_device(a);

    open_isa_device(a, "MOU", "PNP0F13");
    aml_irq_edge(a, BIT(MOUSE_IRQ));
    close_isa_device(a);
}

static void write_serial_ports(struct aml *a, uint8_t present)
{
    static const struct board_serial rows[] = BOARD_SERIAL_PORTS;
    char name[AML_NAME_SIZE + 1];

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        if (!(present & BIT(n)))
            continue;
        snprintf(name, sizeof(name), "COM%u", n + 1);
        aml_device(a, name);
        aml_name_eisa_id(a, "_HID", "PNP0501");
        aml_name_integer(a, "_UID", n + 1);
        aml_name(a, "_CRS");
        aml_resources(a);
        aml_io(a, rows[n].port, UART_PORT_COUNT);
        aml_irq_edge(a, (uint16_t)BIT(rows[n].irq));
        close_isa_device(a);
    }
}

/* Ports that no other device claims and nobody else may be given. */
static void write_board_resources(struct aml *a, uint16_t pm_base)
{
    open_isa_device(a, "BRD", "PNP0C02");
    aml_io(a, pm_base, PM_PORT_COUNT);
    aml_io(a, PM_GPE_ALIAS, PM_GPE_PORT_COUNT);
    aml_io(a, PM_SMI_CMD, PM_SMI_PORT_COUNT);
    aml_io(a, PORT92, 1);
    close_isa_device(a);
}

static void write_pvpanic(struct aml *a, uint16_t port)
{
    aml_device(a, "PVPN");
    aml_name_string(a, "_HID", "QEMU0001");
    aml_name_integer(a, "_STA", STA_WORKS);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_io(a, port, 1);
    close_isa_device(a);
}

static void write_isa(struct aml *a, const struct loader_target *target)
{
    char name[AML_NAME_SIZE + 1];

    aml_device(a, "ISA");
    aml_name_integer(a, "_ADR", (PCI_ISA_DEVFN >> 3) << 16 | (PCI_ISA_DEVFN & 7));
    aml_pci_config_region(a, "PRQR", PCI_PIRQRC, 4);
    aml_field(a, "PRQR");
    for (unsigned pirq = 0; pirq < 4; pirq++) {
        link_name(name, "PRQ", pirq);
        aml_field_unit(a, name, 8);
    }
    aml_end(a);
    write_legacy_devices(a);
    write_serial_ports(a, target->serial_ports);
    write_board_resources(a, target->pm_base);
    if (target->pvpanic_port != 0)
        write_pvpanic(a, target->pvpanic_port);
    aml_end(a);
}

/* --- The root --- */

static void write_pci(struct aml *a, const struct loader_target *target)
{
    aml_device(a, "PCI0");
    aml_name_eisa_id(a, "_HID", "PNP0A03");
    aml_name_integer(a, "_UID", 0);
    aml_name_integer(a, "_BBN", 0); /* the bus below */
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_bus_window(a, 0, 0);
    aml_io(a, PCI_PORT, PCI_PORT_COUNT);
    aml_io_window(a, 0, PCI_PORT - 1);
    aml_io_window(a, PCI_PORT + PCI_PORT_COUNT, 0xffff);
    aml_memory_window(a, VGA_WINDOW_FIRST, VGA_WINDOW_LAST, true);
    aml_memory_window(a, (uint32_t)target->ram_below_4g, IOAPIC_BASE - 1, false);
    aml_resources_end(a);
    write_isa(a, target);
    for (unsigned pirq = 0; pirq < 4; pirq++)
        write_link(a, pirq);
    write_prt(a);
    aml_end(a);
}

static void write_hpet(struct aml *a)
{
    aml_device(a, "HPET");
    aml_name_eisa_id(a, "_HID", "PNP0103");
    aml_name_integer(a, "_UID", 0);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_memory32(a, HPET_BASE, HPET_SIZE, false);
    aml_resources_end(a);
    aml_end(a);
}

/* The _UIDs are those of the MADT. */
static void write_processors(struct aml *a, unsigned count)
{
    char name[AML_NAME_SIZE + 1];

    for (unsigned n = 0; n < count; n++) {
        snprintf(name, sizeof(name), "C%03X", n & 0xfff);
        aml_device(a, name);
        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_integer(a, "_UID", n);
        aml_end(a);
    }
}

void acpi_dsdt_write(struct aml *a, const struct loader_target *target)
{
    CHECK(target->ram_below_4g < IOAPIC_BASE);
    write_soft_off(a);
    write_pic_method(a);
    aml_scope(a, "\\_SB");
    write_pci(a, target);
    if (target->hpet)
        write_hpet(a);
    write_processors(a, cpu_topology_count(&target->topology));
    aml_end(a);
}
