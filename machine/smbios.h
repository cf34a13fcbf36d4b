/*
 * SMBIOS structures of a machine that starts without firmware: who made it (Gnomon), its processors
 * and its memory. System Management BIOS Reference Specification 3.0 (DMTF DSP0134), with the
 * 64-bit entry point ("_SM3_") and, for older guests, the 32-bit one ("_SM_", version 2.8).
 */
#ifndef MACHINE_SMBIOS_H
#define MACHINE_SMBIOS_H

#include "base/addr.h"
#include "base/error.h"
#include "machine/loader.h"

#include <stdbool.h>

/* Where entry points and structures lie: guests search here for the entry points. */
#define SMBIOS_BASE 0xf0000u
#define SMBIOS_SIZE 0x10000u

/* Writes both entry points and the structures through target->bus (bus_load) and says where the
 * 64-bit entry point is. False and err when they do not fit (more than 255 sockets). */
bool smbios_install(const struct loader_target *target, gpa_t *anchor, struct error *err);

#endif
