/*
 * Commands for people who look at a parked machine: typed after "monitor" in GDB. One command a
 * line; the answer goes to a stream. Reading changes nothing in the guest.
 */
#ifndef FRONTEND_MONITOR_H
#define FRONTEND_MONITOR_H

#include "machine/machine.h"
#include "machine/report.h"

#include <stdbool.h>
#include <stdio.h>

struct monitor {
    struct machine *machine;
    const struct report_tools *tools;
    bool physical;        /* the debugger's memory accesses are physical */
    bool step_interrupts; /* a single step takes interrupts */
};

/* Runs a line. An unknown or malformed one is answered with what would be right. */
void monitor_command(struct monitor *monitor, const char *line, FILE *out);

#endif
