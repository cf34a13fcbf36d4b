/*
 * A debugger's hold on a machine: stops, steps, breakpoints, registers and memory. Nothing here is
 * visible to the guest: breakpoints live in the emulator (cpu/debug.h), memory is read without page
 * walks that set A or D.
 *
 * Processors have numbers from 0 on. All stop together. Points are for all of them; registers,
 * translations and hardware errors (and machine/inspect.h) are of the one that is looked at:
 * machine_debug_select.
 *
 * Threads: the event-loop thread, without the device lock. Everything below "parked" needs the
 * machine to be parked: stopped, with its run loop waiting; or held for a moment (machine_hold).
 */
#ifndef MACHINE_DEBUG_H
#define MACHINE_DEBUG_H

#include "machine/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum machine_stop_kind {
    MACHINE_STOP_REQUEST, /* machine_stop, or the guest's own power-off with no_shutdown */
    MACHINE_STOP_STEP,
    MACHINE_STOP_BREAKPOINT,
    MACHINE_STOP_WRITE, /* watchpoints: after the access */
    MACHINE_STOP_READ,
    MACHINE_STOP_ACCESS,
    MACHINE_STOP_IO,
    MACHINE_STOP_TRIPLE_FAULT, /* continuing does what the machine does about it */
    MACHINE_STOP_UNTIL,        /* machine_debug_until */
    MACHINE_STOP_EVENT,        /* machine/mmu_breaks.h; address: number of the breakpoint */
};

/* Who holds the machine: each has points of its own and is told of stops. */
enum machine_tool {
    MACHINE_TOOL_GDB,
    MACHINE_TOOL_MONITOR,
    MACHINE_TOOL_COUNT,
};

struct machine_stop_reason {
    enum machine_stop_kind kind;
    uint64_t address; /* of the breakpoint, or what was accessed */
    unsigned processor; /* the one that stopped the machine, or whose turn it was when asked to */
    uint64_t stop;      /* how many stops there have been with this one */
};

/* From now on `parked` is called whenever the run loop has stopped, on its thread and with the
 * device lock held: it only passes the word on. With GDB a triple fault stops the machine first. */
void machine_debug_attach(struct machine *m, enum machine_tool tool,
                          void (*parked)(void *opaque), void *opaque);

/* Removes every point of the tool that is left. The machine stays stopped if it is. */
void machine_debug_detach(struct machine *m, enum machine_tool tool);

/* Is the machine parked, and why? */
bool machine_debug_parked(struct machine *m, struct machine_stop_reason *why);

/*
 * Between the two the processor runs nothing, so that what follows below can be called on a running
 * machine, too. Its time goes on: for moments only. Waits for the end of a slice of the run loop;
 * within machine_host.poll and wait (deterministic) there is none, and a hold changes nothing in
 * the run. Not nested.
 */
void machine_hold(struct machine *m);
void machine_release(struct machine *m);

unsigned machine_processor_count(const struct machine *m);

/* The count of instructions at which the machine stops, and the virtual time in ns; UINT64_MAX:
 * none. One that has been reached stops it at once when it continues. The next stop, whatever its
 * reason, forgets both. */
void machine_debug_until(struct machine *m, uint64_t instructions, uint64_t ns);

/* --- Parked --- */

#define MACHINE_PROCESSOR_STOPPED UINT32_MAX

/* From now on the processor with this number is looked at; MACHINE_PROCESSOR_STOPPED: the one that
 * stopped the machine, which is what every stop selects anew. Lasts until the machine goes on, or
 * machine_release. False: there is no such processor, nothing changed. */
bool machine_debug_select(struct machine *m, unsigned processor);
unsigned machine_debug_selected(const struct machine *m);

/* What the processor that is looked at does: "running", "halted" (HLT, MWAIT), "waiting for
 * start-up" (after INIT). */
const char *machine_debug_state(const struct machine *m);

/* Lets the machine run until the processor that is looked at has run `count` instructions, at least
 * one; the others stand still. Without `interrupts` none is taken before each, so that a step stays
 * in the code that is looked at. Where it sleeps: as struct machine_resume says. */
void machine_debug_step(struct machine *m, uint64_t count, bool interrupts);

/*
 * How processors go on, until the next stop. Those that stand run nothing, and take interrupts when
 * they go on; devices and time do not stand.
 *
 * A step of a processor that sleeps: while all others stand it is over at once, and nothing has run
 * (a sleeper might wait for ever for one that stands). Otherwise the machine goes on until it wakes
 * and has run its instruction, or somebody stops the machine; so does the only processor of a
 * machine. If those that may run all sleep and nothing can wake them, the machine stops as if asked
 * to.
 */
struct machine_resume {
    bool stands[MACHINE_VCPU_MAX]; /* of each processor; not of the one that steps */
    uint64_t steps;   /* instructions of `stepper` before the machine stops; 0: no end */
    unsigned stepper; /* where others run, it waits for its turn first */
    bool interrupts;  /* it takes them before each */
};

/* At least one processor does not stand. */
void machine_debug_resume(struct machine *m, const struct machine_resume *r);

enum machine_point_kind {
    MACHINE_POINT_EXECUTE,
    MACHINE_POINT_WRITE,
    MACHINE_POINT_READ,
    MACHINE_POINT_ACCESS,
};

struct machine_point {
    enum machine_point_kind kind;
    enum machine_tool tool;
    bool physical; /* MACHINE_POINT_EXECUTE: a guest physical address */
    bool any_root; /* else only while CR3 has this root */
    uint64_t root;
    uint64_t address; /* linear, or physical */
    uint64_t length;  /* bytes watched; 1 to 4096 */
};

/* False: no such point to remove, or one that cannot be watched. */
bool machine_debug_add(struct machine *m, const struct machine_point *point);
bool machine_debug_remove(struct machine *m, const struct machine_point *point);

/* Point n of the tool; false after the last. */
bool machine_debug_point(struct machine *m, enum machine_tool tool, unsigned n,
                         struct machine_point *point);

/* Memory as a supervisor's access would see it (linear), or physical. Answers how many bytes were
 * there; stops at the first that is not mapped, or is a device. Writing honours watches: changed
 * code is decoded again. ROM is not written. */
size_t machine_debug_read(struct machine *m, uint64_t address, bool physical, void *bytes,
                          size_t count);
size_t machine_debug_write(struct machine *m, uint64_t address, bool physical, const void *bytes,
                           size_t count);

/* Registers, named and laid out as GDB's target descriptions name them: feature after feature, in
 * the order of the features' registers. */
struct machine_register {
    const char *feature; /* "org.gnu.gdb.i386.core" */
    const char *name;
    const char *type;  /* "int64", "i386_eflags", ... */
    const char *group; /* or NULL */
    uint16_t bits;
};

#define MACHINE_REGISTER_BYTES_MAX 32

unsigned machine_register_count(void);
const struct machine_register *machine_register_info(unsigned n);

/* bits / 8 bytes, little-endian. Setting changes what a debugger may change: general registers,
 * RIP, flags, x87, vector and opmask registers, segment bases; false for the rest. */
void machine_register_get(struct machine *m, unsigned n, uint8_t *bytes);
bool machine_register_set(struct machine *m, unsigned n, const uint8_t *bytes);

/* A hardware error happens now, of the processor that is looked at. */
struct machine_error {
    unsigned bank;
    uint64_t status, addr, misc; /* as in the bank's registers (SDM 3B 16.3.2) */
    uint64_t mcg_status;         /* RIPV, EIPV of IA32_MCG_STATUS */
};

enum machine_error_outcome {
    MACHINE_ERROR_NO_BANK,
    MACHINE_ERROR_LOGGED,
    MACHINE_ERROR_RAISED,   /* the guest's next event is #MC */
    MACHINE_ERROR_SHUTDOWN, /* it cannot take #MC: shutdown when it goes on */
};

enum machine_error_outcome machine_inject_error(struct machine *m, const struct machine_error *e);

/* An NMI, to the processor that is looked at; taken when it goes on and has none in service. */
void machine_inject_nmi(struct machine *m);

bool machine_translate(struct machine *m, uint64_t address, uint64_t *physical);

#endif
