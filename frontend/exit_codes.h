/*
 * Exit statuses of the program and how the end of a run becomes one. A guest can choose its own:
 * isa-debug-exit gives (value << 1 | 1) & 255, as with QEMU; the 32-bit exit port gives its value,
 * or 255 for values above 255.
 */
#ifndef FRONTEND_EXIT_CODES_H
#define FRONTEND_EXIT_CODES_H

#include "machine/machine.h"

#include <stdint.h>
#include <stdio.h>

enum exit_status {
#define X(name, status, text) EXIT_STATUS_##name = status,
#include "frontend/exit_codes.def"
#undef X
};

/* gap_count: instructions the guest used and Gnomon does not have (machine_gap_count). */
int exit_status_of(const struct machine_result *result, uint64_t gap_count);

/* The table, for -help. */
void exit_status_print(FILE *out);

#endif
