/*
 * Delivery of exceptions and interrupts: real mode, protected mode (16- and 32-bit gates, task
 * gates), virtual-8086 and long mode, and what happens when delivery itself faults (double fault,
 * shutdown). Source: Intel SDM volume 3A, chapter 6; AMD APM volume 2, chapter 8.
 */
#ifndef CPU_EXCEPTION_H
#define CPU_EXCEPTION_H

#include "cpu/cpu.h"

enum event_kind {
    EVENT_EXCEPTION, /* raised by an instruction: RIP and RF as the manual says for faults */
    EVENT_INTERRUPT, /* external interrupt or NMI */
    EVENT_SOFTWARE,  /* INT n, INT3, INTO: gate DPL is checked */
    EVENT_ICEBP,     /* INT1: like software, without the DPL check */
};

struct event {
    enum event_kind kind;
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint64_t return_rip; /* pushed as RIP */
};

/* Error code bit: the event came from outside the program (SDM 3A 6.13). */
#define ERROR_EXT 1u
#define ERROR_IDT 2u

/* Delivers; afterwards vcpu.rip is the handler. May raise (cpu_raise_code) on the way, with nothing
 * of the program's registers changed. */
void event_deliver(struct vcpu *cpu, const struct event *e);

/* What follows when `second` is raised while `first` was being delivered (SDM 3A table 6-5). */
enum fault_merge { MERGE_SERIAL, MERGE_DOUBLE_FAULT, MERGE_SHUTDOWN };
enum fault_merge fault_merge(bool delivering, uint8_t first, uint8_t second);

/* True if the exception pushes an error code. */
bool exception_has_error_code(uint8_t vector);

#endif
