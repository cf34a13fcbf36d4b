/*
 * ACPI tables of a machine that starts without firmware: RSDP (revision 2), RSDT, XSDT, FADT, FACS,
 * DSDT, MADT and, with an HPET, HPET. They describe what machine/wiring.c builds; docs/acpi.md
 * shows them. ACPI specification 6.4; HPET table: IA-PC HPET specification 1.0a, 3.2.4.
 */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include "base/addr.h"
#include "base/error.h"
#include "machine/loader.h"

#include <stdbool.h>

/* Where the tables lie: all of it is to be reserved in the memory map handed to the guest. */
#define ACPI_TABLES_BASE 0xe0000u
#define ACPI_TABLES_SIZE 0x10000u

/* Writes the tables through target->bus (bus_load) and says where the RSDP is. The same target
 * gives the same bytes. False and err when they do not fit (more than 255 processors, or
 * APIC ids above 254). */
bool acpi_install(const struct loader_target *target, gpa_t *rsdp, struct error *err);

#endif
