/*
 * A whole PC: built from a description, run until something ends it, stopped, saved, restored,
 * reported on. The front end needs no more than this header (and machine/report.h).
 *
 *   parallel       machine_run has a host thread of its own, virtual time follows the host's clock;
 *                  the other calls come from the front end's event-loop thread meanwhile
 *   deterministic  one thread does everything: machine_run calls machine_host.poll now and then;
 *                  virtual time is derived from retired instructions, idle phases are skipped
 *
 * Locks: there is one, the device lock. It guards all devices, the bus, the clock's timers, and the
 * requests to the run loop; chardev callbacks run with it held. Nobody blocks while holding it.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "cpu/topology.h"
#include "machine/loader.h"
#include "mmu/mmu.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct chardev;
struct machine;
struct report_tools;

#define MACHINE_SERIAL_COUNT 4
#define MACHINE_MEMORY_MIN   (1ull << 20)
#define MACHINE_MEMORY_MAX   (1ull << 40)

/* The map from guest physical pages to machine frames (mmu/p2m.h) that a machine starts with. */
enum machine_p2m {
    MACHINE_P2M_BARE,     /* none */
    MACHINE_P2M_IDENTITY, /* each page at home */
    MACHINE_P2M_SCATTER,  /* RAM pages permuted, by the seed of the configuration: for tests */
};

/* Processors; all zero: one. */
struct machine_smp {
    struct cpu_topology topology;
    unsigned count; /* cpu_topology_count(&topology); MACHINE_VCPU_MAX (mmu/memory.h) at most */
};

/* What the machine asks of its surroundings; any pointer may be NULL. */
struct machine_host {
    void *opaque;
    /* Deterministic: called by machine_run every few milliseconds of host time, without the device
     * lock: handles input, signals and host timeouts that wait, and returns at once. */
    void (*poll)(void *opaque);
    /* Deterministic: the same, but waits for something to handle, up to ns (UINT64_MAX: for ever).
     * Called when the guest is idle with nothing to skip to, or the machine is stopped. */
    void (*wait)(void *opaque, uint64_t ns);
    /* Could input still arrive and wake a guest that sleeps with no timer armed? Called with the
     * device lock held, on any thread. NULL: no. */
    bool (*input_possible)(void *opaque);
    /* Called once after each machine_look, on the thread of machine_run, between two instructions
     * and without the device lock: the place to call machine_report. */
    void (*look)(void *opaque);
};

struct machine_config {
    uint64_t memory_size;    /* bytes of RAM, rounded up to MiB; MACHINE_MEMORY_MIN to _MAX */
    const char *cpu;         /* as in -cpu, or NULL for the default model */
    struct machine_smp smp;
    struct mmu_options mmu;  /* policies of every vCPU's MMU; all zero: mmu_default_options */
    unsigned mmu_delay;      /* safepoints by which write tags are given up late, at most */
    enum machine_p2m p2m;
    bool deterministic;      /* else parallel */
    /* Instructions of a turn, where processors share a thread; both 0: 5000 to 9999. */
    unsigned turn_least, turn_most;
    unsigned icount_shift;   /* deterministic: an instruction takes 1 << shift ns; 0 to 10 */
    bool idle_sleeps;        /* deterministic: skipped time is also waited for on the host */
    bool hpet;               /* there is an HPET */
    int64_t rtc_start;       /* what the real-time clock shows at start, seconds since 1970 */
    uint64_t seed;           /* of RDRAND, MACHINE_P2M_SCATTER, turns and delays */

    const char *kernel;      /* file to boot */
    const char *initrd;      /* file, or NULL */
    const char *append;      /* kernel command line, or NULL */
    enum loader_entry kernel_entry; /* what the file is, and who decompresses it */

    bool no_reboot;            /* a reset ends the run */
    bool no_shutdown;          /* a power-off stops the machine instead of ending the run */
    bool triple_fault_resets;  /* else a triple fault ends the run */

    struct chardev *serial[MACHINE_SERIAL_COUNT]; /* COM1 to COM4; NULL: the port is not there */
    struct chardev *debugcon;  /* byte port 'debugcon_port' (E9h); NULL: not there */
    uint16_t debugcon_port;
    bool debug_exit;           /* isa-debug-exit at these ports */
    uint16_t debug_exit_port;
    uint16_t debug_exit_size;  /* 1 to 4 ports */
    bool exit_port;            /* the port (5F0h) that ends the run with a full 32-bit value */
    bool pvpanic;              /* the port (505h) where a guest reports that it panicked */

    uint64_t guest_timeout_ns;           /* virtual time that ends the run; 0: none */
    uint64_t guest_timeout_instructions; /* the same in instructions; 0: none */

    struct log *log;           /* must outlive the machine, like every string and chardev here */
    const struct report_tools *tools; /* for -d in_asm and exec; NULL: bytes without names */
    struct machine_host host;
};

/* Why a run ended; frontend/exit_codes.def gives each its exit status. */
enum machine_end {
    MACHINE_END_NONE,          /* it has not */
    MACHINE_END_POWER_OFF,     /* the guest went to S5 */
    MACHINE_END_RESET,         /* the guest asked for a reset, with no_reboot */
    MACHINE_END_DEBUG_EXIT,    /* write of v to isa-debug-exit; value: v << 1 | 1 */
    MACHINE_END_EXIT_PORT,     /* write to the 32-bit exit port; value: what was written */
    MACHINE_END_PANIC,         /* the guest reported a panic (pvpanic) */
    MACHINE_END_TRIPLE_FAULT,
    MACHINE_END_HALTED,        /* HLT, and nothing is left that could wake the processor */
    MACHINE_END_GUEST_TIMEOUT, /* guest_timeout_ns or _instructions reached */
    MACHINE_END_TIMEOUT,       /* the front end's wall-clock timeout */
    MACHINE_END_QUIT,          /* the user quit */
    MACHINE_END_INTERRUPTED,   /* a signal of the host; value: its number */
    MACHINE_END_BROKEN,        /* the machine could not be started again after a reset; text */
    MACHINE_END_TARGET,        /* the instruction count that machine_run was given */
};

struct machine_result {
    enum machine_end end;
    uint32_t value; /* see enum machine_end */
    char text[256]; /* what happened, one line for people: "triple fault at 0x..." */
};

/* Builds the machine, loads the kernel, and leaves it ready to run, its time at 0. NULL and err
 * when the description asks for what there is not. */
struct machine *machine_create(const struct machine_config *config, struct error *err);

/* Not while machine_run runs. */
void machine_destroy(struct machine *m);

/* Runs until something ends it, or (deterministic) until exactly `instructions` have retired since
 * creation; UINT64_MAX: no such end. After MACHINE_END_TARGET it can be called again. */
void machine_run(struct machine *m, uint64_t instructions, struct machine_result *result);

/* --- Any thread, without the device lock, also while machine_run runs --- */

/* Ends the run for the reason given; the first reason wins. */
void machine_quit(struct machine *m, enum machine_end end, uint32_t value);

/* Stops the virtual processor and time, and lets them continue. The stop takes effect within a
 * slice of the run loop. */
void machine_stop(struct machine *m);
void machine_continue(struct machine *m);
bool machine_stopped(struct machine *m);

/* The reset button, and the power button: what the latter does is the guest's decision. */
void machine_reset(struct machine *m);
void machine_power_button(struct machine *m);

/* Asks for a call of machine_host.look; also while the machine is stopped or the guest sleeps. */
void machine_look(struct machine *m);

/* Makes the run loop look at machine_host.input_possible again. */
void machine_kick(struct machine *m);

/* The device lock, for calls of chardev functions. */
void machine_lock(struct machine *m);
void machine_unlock(struct machine *m);

/* Holds the line of a serial port (0: COM1) in the break state for a character. */
void machine_send_break(struct machine *m, unsigned serial);

/* --- While machine_run does not run --- */

/* Writes MMU events to a file ("-": standard output) from now on: those that pass the filter
 * (mmu/events.h; NULL or "": all), as "text", "json" or "chrome". Ends a trace that was written
 * before. Also while the machine is parked or held (machine/debug.h), as the next one. */
bool machine_trace_mmu(struct machine *m, const char *filter, const char *path, const char *format,
                       struct error *err);

/* Completes the file. False and err if it could not be written. Without a trace nothing happens. */
bool machine_trace_end(struct machine *m, struct error *err);

/* Retired instructions, and virtual time in ns. */
uint64_t machine_instructions(const struct machine *m);
uint64_t machine_time(const struct machine *m);

/* Hash over RAM, and over everything that machine_save writes. */
uint64_t machine_memory_state_hash(struct machine *m);
uint64_t machine_state_hash(struct machine *m);

/* Saves everything: memory, processor, devices, time; drops derived state, so that this machine
 * and a restored one go on alike. The caller calls state_finish. */
void machine_save(struct machine *m, struct state *s);

/* Loads into a machine of the same configuration. After a failure the machine can only be
 * destroyed. */
bool machine_load(struct machine *m, struct state *s, struct error *err);

/* Instructions that the guest used and Gnomon does not have (each raised #UD). */
uint64_t machine_gap_count(const struct machine *m);

/* The names of -cpu, one a line with its description. */
void machine_print_cpu_models(FILE *out);

/* Name of model or feature number n of -cpu, NULL after the last. */
const char *machine_cpu_model(unsigned n);
const char *machine_cpu_feature(unsigned n);

/* Is there such a processor? The error names the bad part. */
bool machine_check_cpu(const char *spec, struct error *err);

#endif
