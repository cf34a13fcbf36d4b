/*
 * Parts of a machine as text, for people: page walks, mappings, TLB, memory map, interrupts,
 * instructions. Nothing here changes anything in the guest: no A or D bit, no TLB fill, no read of
 * a device. What a processor has of its own is of the one that is looked at (machine_debug_select).
 *
 * Threads: as the parked part of machine/debug.h: the machine is parked or held. The device lock is
 * taken inside where devices are looked at.
 */
#ifndef MACHINE_INSPECT_H
#define MACHINE_INSPECT_H

#include "machine/machine.h"
#include "machine/report.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Rights that a listing asks for: enum machine_right bits. */
enum machine_right {
    MACHINE_RIGHT_WRITE = 1 << 0,
    MACHINE_RIGHT_USER = 1 << 1,
    MACHINE_RIGHT_EXECUTE = 1 << 2,
    MACHINE_RIGHT_GLOBAL = 1 << 3,
};

#define MACHINE_ANY_SPACE UINT32_MAX

/* Which lines of a listing are wanted. */
struct machine_filter {
    uint64_t first, last;         /* linear addresses, both included */
    uint8_t must, must_not;       /* rights that must, and must not, be there */
    uint8_t views;                /* bit n: view n (enum tlb_view); tlb only */
    bool any_root;                /* the current root, else: */
    uint64_t root;                /* a value of CR3 */
    bool every_space;             /* tlb: all that are kept, else: */
    uint32_t space;               /* tlb: its number, MACHINE_ANY_SPACE: by the root */
    bool physical;                /* maps: ranges end where physical addresses do not follow */
    uint64_t most;                /* lines */
    uint64_t budget;              /* maps: page walks */
};

void machine_print_registers(struct machine *m, FILE *out);

/* The walk of an access: 0 read, 1 write, 2 fetch; as a supervisor or user. root as in a filter. */
struct machine_walk {
    uint64_t address;
    unsigned access;
    bool user;
    bool any_root;
    uint64_t root;
};
void machine_print_walk(struct machine *m, FILE *out, const struct machine_walk *walk);

/* The mappings of a root, neighbours of the same rights merged. */
void machine_print_maps(struct machine *m, FILE *out, const struct machine_filter *filter);

/* What the TLB holds now, of the spaces that are asked for. */
void machine_print_tlb(struct machine *m, FILE *out, const struct machine_filter *filter);

/* What is derived from the guest's tables: mmu/inspect.h. */
void machine_print_shadow(struct machine *m, FILE *out, uint64_t address);
void machine_print_spaces(struct machine *m, FILE *out);
void machine_print_frame(struct machine *m, FILE *out, uint64_t address);

/* RAM, ROM, devices' registers and ports. */
void machine_print_memory_map(struct machine *m, FILE *out);

/* What waits in the interrupt controllers, of all processors, and the timers. */
void machine_print_interrupts(struct machine *m, FILE *out);

/* The registers of a local APIC. */
void machine_print_lapic(struct machine *m, FILE *out);

/* One line for each processor: where it is, what it does. '*': the one that is looked at. */
void machine_print_processors(struct machine *m, FILE *out, const struct symbols *symbols);

/* Running or stopped, and why; instructions and virtual time. */
void machine_print_status(struct machine *m, FILE *out);

/* "=> 0x...: instruction": what comes next. */
void machine_print_next(struct machine *m, FILE *out, const struct report_tools *tools);

/* `count` instructions at a linear address, as the processor's mode now is, or at a physical one.
 * False if there is no memory for the next one. */
bool machine_print_instructions(struct machine *m, FILE *out, uint64_t address, bool physical,
                                uint64_t count, const struct report_tools *tools);

/* What is at a physical address where machine_debug_read finds no memory: the name of the device,
 * or NULL for nothing. */
const char *machine_device_at(struct machine *m, uint64_t physical);

#endif
