/*
 * The AML of the DSDT: the soft-off state, the PCI root with interrupt routing, what sits on the
 * ISA bus, processors. docs/acpi.md shows it as a tree.
 */
#ifndef MACHINE_ACPI_DSDT_H
#define MACHINE_ACPI_DSDT_H

#include "machine/acpi_aml.h"
#include "machine/loader.h"

/* Appends all of it; nothing is open before or after. */
void acpi_dsdt_write(struct aml *a, const struct loader_target *target);

#endif
