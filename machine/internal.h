/*
 * What the files of machine/ know about a machine. Nobody else includes it.
 *
 *   machine.c   builds, resets and destroys it      wiring.c    connects devices and processor
 *   run.c       the run loop, requests to it        snapshot.c  saves and restores
 *   crew.c      threads of processors
 *   report.c    crash reports                       boot.c      puts a kernel into it
 *   trace.c     log records of blocks
 */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include "base/clock.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "devices/debugport.h"
#include "devices/ferr.h"
#include "devices/hpet.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pci.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/pm.h"
#include "devices/port92.h"
#include "devices/pvpanic.h"
#include "devices/rtc.h"
#include "devices/uart.h"
#include "machine/debug.h"
#include "machine/machine.h"
#include "machine/report.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* RAM ends here below 4 GiB; what does not fit goes on at 4 GiB. */
#define RAM_LOW_END    0xc0000000ull
#define RAM_HIGH_START 0x100000000ull

/* No RAM here but SMRAM: display memory. */
#define LEGACY_HOLE_START 0xa0000ull
#define LEGACY_HOLE_END   0xc0000ull

#define MACHINE_TSC_HZ 1000000000ull

/*
 * All devices: X(struct, prefix of its functions, field). Each has <prefix>_reset, _serialize and
 * _destroy; the field is NULL if this machine does not have it. Order: of resetting, saving and
 * destroying (a function on the PCI bus before the bus).
 */
#define MACHINE_DEVICES(X)                                                                         \
    X(pic, pic, pic)                                                                               \
    X(ioapic, ioapic, ioapic)                                                                      \
    X(pit, pit, pit)                                                                               \
    X(rtc, rtc, rtc)                                                                               \
    X(hpet, hpet, hpet)                                                                            \
    X(pm, pm, pm)                                                                                  \
    X(pci_host, pci, pci)                                                                          \
    X(i8042, i8042, i8042)                                                                         \
    X(ferr, ferr, ferr)                                                                            \
    X(port92, port92, port92)                                                                      \
    X(uart, uart, com1)                                                                            \
    X(uart, uart, com2)                                                                            \
    X(uart, uart, com3)                                                                            \
    X(uart, uart, com4)                                                                            \
    X(debugport, debugport, debugcon)                                                              \
    X(exitport, exitport, debug_exit)                                                              \
    X(exitport, exitport, exit_port)                                                               \
    X(pvpanic, pvpanic, pvpanic)

enum machine_request {
    MACHINE_REQUEST_END = 1 << 0, /* machine.result says why */
    MACHINE_REQUEST_RESET = 1 << 1,
    MACHINE_REQUEST_STOP = 1 << 2, /* stays set while the machine is stopped */
    MACHINE_REQUEST_LOOK = 1 << 3, /* machine_host.look is to be called */
    MACHINE_REQUEST_DETACH = 1 << 4, /* points of machine_debug.leaving are to be removed */
};

struct machine_listener {
    void (*parked)(void *opaque); /* NULL: there is none */
    void *opaque;
};

/* What debuggers on the host want; device lock. */
struct machine_debug {
    struct machine_listener listeners[MACHINE_TOOL_COUNT];
    uint32_t leaving;             /* bit enum machine_tool: its points are to be removed */
    bool is_parked;               /* the run loop waits in a stop */
    bool in_slice;                /* vcpu_run runs */
    bool held;                    /* it must not begin: machine_hold */
    struct vcpu *selected;        /* machine_debug_select; NULL: machine.cpu */
    uint64_t stops;               /* how often the machine was parked */
    uint64_t steps;               /* single instructions before the next stop; 0: runs freely */
    unsigned stepper;             /* the processor that runs them */
    bool others_run;              /* while it does */
    bool step_interrupts;
    uint64_t until_instructions, until_ns; /* machine_debug_until */
    struct vcpu *fallen;          /* stopped for its triple fault; now that happens. Or NULL */
    struct machine_stop_reason why;
};

/* Who may drive an ISA interrupt; the wire is the OR of all. */
enum irq_source {
    IRQ_SOURCE_ISA,  /* the device that the interrupt belongs to */
    IRQ_SOURCE_COM,  /* COM3 and COM4, on the lines of COM1 and COM2 */
    IRQ_SOURCE_PCI,  /* PIRQs, as routed by the ISA bridge */
    IRQ_SOURCE_HPET, /* legacy replacement */
    IRQ_SOURCE_SCI,
};

/* Who may hold the A20 gate open; it is closed if nobody does. */
enum a20_source { A20_PORT92, A20_I8042 };

/*
 * What the thread of a member of the crew does. It goes down this list itself; anybody may take it
 * back to the first, and posts its semaphore if it was at the last.
 */
enum machine_sleep {
    MACHINE_AWAKE,
    MACHINE_LOOKS,  /* for a wake-up, or is about to */
    MACHINE_SLEEPS, /* waits for the semaphore, or is about to */
};

/* A virtual processor and what belongs to it alone. */
struct machine_processor {
    struct machine *machine;
    struct vcpu *vcpu;
    struct lapic *lapic;
    uint64_t lapic_mapped; /* where its local APIC's page is on the bus; 0: nowhere */
    bool stands;           /* a debugger keeps it from running; device lock */

    /* As a member of the crew; device lock. */
    pthread_t thread;
    sem_t wake;
    atomic_uint sleep;   /* enum machine_sleep; without the lock */
    unsigned look_after; /* after so many sleeps it looks for a wake-up again; its thread's own */
    unsigned look_pause; /* how many they were the last time; its thread's own */
    bool runs;           /* its thread is in vcpu_run */
    enum vcpu_exit exit; /* _DEBUG or _SHUTDOWN: it stopped for that; nobody knows yet */
};

/* The threads of processors; device lock. */
struct machine_crew {
    unsigned count;           /* of threads that there are */
    atomic_uint running;      /* of them in vcpu_run; read without the lock, too */
    atomic_uint looking;      /* of them look for a wake-up; without the lock */
    unsigned host_processors; /* they may use so many; set before there are any */
    atomic_bool go;           /* they may run; else they are to rest */
    bool leaves;              /* they are to end */
    bool failed;              /* the host has no threads for them */
    uint64_t dead_since;      /* all were seen asleep for ever; CLOCK_NEVER: one has run since */
};

/* Whose turn it is to run, where several processors share the thread. */
struct machine_turn {
    uint64_t left;  /* instructions of it that are left */
    uint64_t state; /* of the generator of lengths; by the machine's seed */
};

struct machine {
    struct machine_config config;
    struct log *log;
    struct cpu_model model;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct machine_processor processors[MACHINE_VCPU_MAX];
    unsigned processor_count;
    struct vcpu *cpu; /* the one whose turn it is, or was when the machine stopped; device lock */
    struct machine_processor *accessor; /* who accesses a device, device lock; NULL: no processor */
    struct machine_turn turn;
    struct machine_crew crew;
#define X(type, prefix, field) struct type *field;
    MACHINE_DEVICES(X)
#undef X
    struct machine_events *events; /* NULL: nobody ever listened to the MMU */

    uint8_t irq_sources[16]; /* bit enum irq_source: who drives the wire high */
    uint8_t a20_sources;     /* bit enum a20_source: who holds it open */
    uint8_t smram;           /* register of the host bridge, PCI_SMRAM_* */

    pthread_mutex_t device_lock;
    pthread_cond_t wake;     /* with device_lock: there may be something to do */
    uint32_t requests;       /* enum machine_request bits; device_lock */
    struct machine_result result; /* device_lock */
    uint64_t waits_until;    /* while the run loop waits for timers: it looks by itself then */
    uint64_t target;         /* instruction count at which machine_run ends */
    uint64_t last_poll;      /* host ns */
    struct machine_debug debug;
};

/* --- run.c; the device lock is held --- */

/* Ends the run; the first reason wins. */
void machine_end_locked(struct machine *m, enum machine_end end, uint32_t value,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
void machine_request_locked(struct machine *m, uint32_t request);
void machine_request_reset_locked(struct machine *m);
void machine_request_power_off_locked(struct machine *m);

/* The run loop looks at requests and pending interrupts again. */
void machine_wake_locked(struct machine *m);

/* Deterministic: calls machine_host.poll if it is time; gives the lock away meanwhile. */
void machine_poll_locked(struct machine *m);

/* Nobody runs: will a timer or input wake somebody who can be woken? Who a debugger keeps from
 * running counts as such. */
bool machine_goes_on(const struct machine *m);

/* For clock.deadline_moved. */
void machine_deadline_moved(void *opaque);

/* --- crew.c; the device lock is held --- */

/* All processors run, each on its thread, until they are asked to rest. False if the host has no
 * threads for them. */
bool machine_crew_start(struct machine *m);

/* They are to rest: soon, or before this returns. */
void machine_crew_ask_rest(struct machine *m);
void machine_crew_rest(struct machine *m);

/* Ends the threads, if there are any. */
void machine_crew_leave(struct machine *m);

/* One of the processors, which may sleep, is to look at what is pending. Another processor's thread
 * needs no lock for that. */
void machine_wake_processor(struct machine_processor *p);

/* Does the processor run at this moment, on another thread than the caller's? */
bool machine_runs_elsewhere(const struct machine_processor *p);

/* --- debug.c --- */

/* Removes the points of the tools that have left. On the run loop's thread, or while it is parked;
 * the device lock is held. */
void machine_debug_drop_points(struct machine *m);

/* The machine has stopped: what debuggers asked for is done. The device lock is held. */
void machine_debug_rest(struct machine *m);

/* Is it the turn of a processor that steps? */
static inline bool machine_debug_steps(const struct machine *m)
{
    return m->debug.steps > 0 && m->cpu->index == m->debug.stepper;
}

/* Does a step come to nothing: of a processor that sleeps, while all others stand still? */
bool machine_debug_step_sleeps(const struct machine *m);

/* Does a debugger keep a processor from running? */
bool machine_debug_any_stands(const struct machine *m);

/* The processor that tools look at. */
static inline struct vcpu *machine_looked_at(const struct machine *m)
{
    return m->debug.selected != NULL ? m->debug.selected : m->cpu;
}

/* Any time: has a breakpoint's event come that nobody has taken yet? */
bool machine_events_hit_waits(const struct machine *m);

/* --- events.c; the processor does not run --- */

/* Must the machine stop behind the very instruction of an event? */
bool machine_events_exact(const struct machine *m);

/* The breakpoint whose event came since the last call, or 0. */
unsigned machine_events_take_hit(struct machine *m);

void machine_events_destroy(struct machine *m);

/* --- wiring.c --- */

/* Creates all devices and connects them. Those that were created when an error comes are left to
 * machine_destroy. */
bool machine_wire(struct machine *m, struct error *err);

/* What the processor calls; goes into vcpu_config. */
struct vcpu_platform machine_platform(struct machine_processor *p);

/* Puts the local APICs' pages where IA32_APIC_BASE says. */
void machine_map_lapics(struct machine *m);

/* The A20 gate as a20_sources say. */
void machine_update_a20(struct machine *m);

/* The processors see SMRAM as the host bridge and SMM say. */
void machine_update_smram(struct machine *m);

/* --- report.c --- */

/* The linear address of code at rip. */
uint64_t machine_code_address(const struct vcpu *cpu, uint64_t rip);

/* Writes the instructions of the guest's code in [address, address + length), as the processor sees
 * it, `most` at most, until one cannot be read. length 0: to the end of the block. */
void machine_print_code(struct machine *m, const struct vcpu *cpu, FILE *out, uint64_t address,
                        unsigned length, unsigned most, const struct report_tools *tools);

/* "running", "halted", "waiting for start-up". */
const char *machine_processor_word(const struct vcpu *cpu);

/* machine_describe_place of a processor. */
void machine_describe(const struct vcpu *cpu, const struct symbols *symbols, char *text,
                      size_t size);

/* How wide the code is that the processor runs: 16, 32 or 64. */
unsigned machine_code_bits(const struct vcpu *cpu);

/* What waits in a local APIC, in one line; what waits in the PICs; what is still to come. Device
 * lock. */
void machine_print_lapic_locked(const struct lapic *l, FILE *out);
void machine_print_pic_locked(struct machine *m, FILE *out);
void machine_print_timers_locked(struct machine *m, FILE *out);

/* --- trace.c --- */

/* vcpu_platform.trace_block. */
void machine_trace_block(void *opaque, unsigned length);

/* --- machine.c --- */

/* RESET of everything, and the kernel is loaded again. */
bool machine_reset_locked(struct machine *m, struct error *err);

/* --- boot.c --- */

/* Loads the kernel into memory and puts the processor at its entry. */
bool machine_boot(struct machine *m, struct error *err);

#endif
