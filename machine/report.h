/*
 * What is told about a guest that died, or that somebody looks at: registers, control registers and
 * tables, the last exceptions, the page walk of the faulting address, the blocks that ran last with
 * their instructions, and the timers. Reads the guest's memory without leaving a trace in it.
 * All of that is of one processor: the one that ended the run, or that is looked at
 * (machine_debug_select). Of others there is a short block each.
 *
 * All of it while machine_run does not run, or inside machine_host.look.
 */
#ifndef MACHINE_REPORT_H
#define MACHINE_REPORT_H

#include "machine/machine.h"
#include "machine/symbols.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct report_tools {
    /* Writes the instruction at `bytes` as text and returns its length; 0 if it is none. bits: 16,
     * 32 or 64. NULL: bytes are shown in hexadecimal only. */
    size_t (*disassemble)(void *opaque, const uint8_t *bytes, size_t count, uint64_t address,
                          unsigned bits, char *text, size_t size);
    void *opaque;
    const struct symbols *symbols; /* NULL: no names */
};

void machine_report(struct machine *m, FILE *out, const struct report_tools *tools);

/* "0x... name+0x1", with "(asleep)" after HLT: where the guest is, for one-line messages. */
void machine_describe_place(struct machine *m, const struct symbols *symbols, char *text,
                            size_t size);

/* Counters of the run, for -d stats. */
void machine_report_stats(struct machine *m, FILE *out);

/* Counters of the MMU of the processor that is looked at; of all, for -d mmu-stats. */
void machine_report_mmu(struct machine *m, FILE *out);
void machine_report_mmus(struct machine *m, FILE *out);

/* Names the instructions the guest used and Gnomon does not have, if any. */
void machine_report_gaps(struct machine *m, FILE *out);

#endif
