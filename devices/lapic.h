/*
 * The local APIC of one processor: xAPIC (a page of memory-mapped registers) and x2APIC (MSRs 800h
 * to 83Fh), version 14h with six local vector table entries. SDM volume 3, chapter "Advanced
 * Programmable Interrupt Controller (APIC)" (11, formerly 10); section names are given below.
 *
 *   PIC INTR --> LINT0 --+                     +--> intr, the processor's INTR pin
 *   NMI -------> LINT1 --+-- LVT -- IRR/ISR ---+
 *   messages from other APICs, the I/O APIC, MSI: lapic_deliver
 *
 * It knows no other processor: what leaves goes through struct lapic_callbacks, and the machine
 * routes it by asking lapic_accepts of every local APIC. Callbacks may deliver messages to the same
 * local APIC.
 *
 * Threads: interrupts travel without a lock. Any thread may call lapic_deliver, lapic_accepts,
 * lapic_takes_interrupts, lapic_arbitration_priority and lapic_intr; the processor's own also
 * lapic_try_*, lapic_tpr, lapic_set_tpr and lapic_check_intr. For everything else the caller holds
 * the machine's device lock, and registers are changed by the processor's own thread, or while it
 * does not run. Callbacks come with or without the lock, as the caller has it; eoi always with it.
 *
 * Deviation: after RESET and INIT the boot processor's LINT0 entry is already ExtINT and open, as
 * firmware would leave it (virtual wire mode), so that kernels started without firmware work.
 */
#ifndef DEVICES_LAPIC_H
#define DEVICES_LAPIC_H

#include "base/clock.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/apic_message.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LAPIC_DEFAULT_BASE 0xfee00000ull
#define LAPIC_PAGE_SIZE    0x1000u
#define LAPIC_ID_LAST      254u          /* what the xAPIC can name: FFh is everybody */
#define LAPIC_BUS_HZ       1000000000ull /* timer input before the divider */

#define MSR_IA32_APIC_BASE    0x1bu
#define MSR_IA32_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST      0x800u
#define MSR_X2APIC_LAST       0x8ffu

/* IA32_APIC_BASE */
#define APIC_BASE_BSP    0x100ull
#define APIC_BASE_EXTD   0x400ull
#define APIC_BASE_ENABLE 0x800ull

/* Results of lapic_acknowledge that are no vectors. */
#define LAPIC_ACK_NONE   (-1) /* the interrupt has gone */
#define LAPIC_ACK_EXTINT (-2) /* the vector comes from the PIC: call pic_acknowledge */

/* Local vector table entries, in the order of their registers (offset 320h + 10h * n). */
enum lapic_lvt {
    LAPIC_LVT_TIMER,
    LAPIC_LVT_THERMAL,
    LAPIC_LVT_PERFORMANCE,
    LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR,
    LAPIC_LVT_COUNT
};

struct lapic_config {
    uint32_t id;                    /* initial APIC ID */
    bool boot_processor;            /* IA32_APIC_BASE.BSP after reset */
    unsigned physical_address_bits; /* MAXPHYADDR: reserved bits of IA32_APIC_BASE; 36 to 52 */
    uint64_t tsc_hz;      /* TSC = virtual ns * tsc_hz / 10^9 + offset (lapic_set_tsc_offset) */
    uint64_t bus_hz;      /* timer input, LAPIC_BUS_HZ */
    bool x2apic;          /* CPUID.1:ECX.x2APIC */
    bool tsc_deadline;    /* CPUID.1:ECX.TSC_Deadline */
    bool eoi_suppression; /* version register bit 24: SVR bit 12 may be used */
};

/* What leaves the local APIC. None may be NULL. */
struct lapic_callbacks {
    void *opaque;
    /* An IPI: to every local APIC that accepts it, this one included unless exclude_sender. */
    void (*send)(void *opaque, const struct apic_message *message);
    /* A level-triggered interrupt ended: to all I/O APICs (ioapic_eoi). */
    void (*eoi)(void *opaque, uint8_t vector);
    /* To this processor. When it takes INIT, it calls lapic_init. */
    void (*nmi)(void *opaque);
    void (*smi)(void *opaque);
    void (*init)(void *opaque);
    void (*startup)(void *opaque, uint8_t vector); /* start at vector * 4096 */
};

struct lapic {
    struct log *log;
    struct clock *clock;
    struct lapic_config config;
    struct lapic_callbacks callbacks;
    struct irq_line intr;          /* to the processor */

    /* Atomic: what other threads look at, or change, while the processor runs. */
    _Atomic uint64_t apic_base;    /* IA32_APIC_BASE */
    _Atomic uint8_t id;            /* xAPIC ID register bits 31:24 */
    _Atomic uint8_t tpr;           /* task priority; bits 7:4 are CR8 */
    _Atomic uint8_t ldr;           /* xAPIC logical destination bits 31:24 */
    _Atomic uint8_t dfr;           /* destination format bits 31:28: 15 flat, 0 cluster */
    _Atomic uint32_t svr;          /* spurious interrupt vector */
    _Atomic uint32_t isr[8];       /* in service, bit vector % 32 of word vector / 32 */
    _Atomic uint32_t tmr[8];       /* trigger mode: 1 level */
    _Atomic uint32_t irr[8];       /* requested */
    uint32_t esr;                  /* error status as read */
    _Atomic uint32_t esr_pending;  /* errors since the last write of ESR */
    uint64_t icr;                  /* interrupt command; xAPIC: high half is offset 310h */
    _Atomic uint32_t lvt[LAPIC_LVT_COUNT]; /* local vector table */
    _Atomic bool lint[2];          /* levels of LINT0, LINT1 */
    _Atomic bool extint_message;   /* an ExtINT message waits for its acknowledgement */

    /* Timer, section "APIC Timer". The count is a function of the clock. */
    struct timer timer;     /* armed while an expiry would signal something */
    char timer_name[24];    /* "lapic0.timer" */
    uint32_t initial_count; /* as written */
    uint32_t divide;        /* divide configuration, bits 3, 1, 0 */
    bool timer_running;     /* one-shot, periodic: counting */
    uint64_t timer_start;   /* virtual ns from which ticks count */
    uint32_t timer_first;   /* the count at timer_start; not 0 while running */
    uint64_t timer_next;    /* tick, counted from timer_start, of the next expiry */
    uint64_t tsc_deadline;  /* IA32_TSC_DEADLINE; 0: not armed */
    uint64_t tsc_offset;    /* guest's TSC minus TSC of virtual time, modulo 2^64 */
};

/* One after power-on. Aborts when out of memory. The ids of all local APICs differ. */
struct lapic *lapic_create(struct log *log, struct clock *clock, const struct lapic_config *config,
                           const struct lapic_callbacks *callbacks, struct irq_line intr);

/* The clock must still exist. */
void lapic_destroy(struct lapic *lapic);

/* RESET: everything, IA32_APIC_BASE included. The levels of LINT0 and LINT1 are kept. */
void lapic_reset(struct lapic *lapic);

/* INIT, section "Local APIC State After an INIT Reset": id and IA32_APIC_BASE are kept. */
void lapic_init(struct lapic *lapic);

/* --- Registers, as the processor reaches them --- */

/* The xAPIC page; device is the struct lapic. The machine maps it, for accesses of its processor,
 * at lapic_base while lapic_mmio_enabled. */
extern const struct bus_region_ops lapic_mmio_ops;

/* Physical address of the page. */
static inline uint64_t lapic_base(const struct lapic *lapic)
{
    return lapic->apic_base & ~0xfffull & ~(~0ull << lapic->config.physical_address_bits);
}

/* IA32_APIC_BASE.EN; without it CPUID.1:EDX.APIC is 0. */
static inline bool lapic_enabled(const struct lapic *lapic)
{
    return (lapic->apic_base & APIC_BASE_ENABLE) != 0;
}

static inline bool lapic_x2apic_mode(const struct lapic *lapic)
{
    return (lapic->apic_base & APIC_BASE_EXTD) != 0;
}

static inline bool lapic_mmio_enabled(const struct lapic *lapic)
{
    return lapic_enabled(lapic) && !lapic_x2apic_mode(lapic);
}

/* RDMSR and WRMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE and 800h to 8FFh. False means #GP(0), and
 * nothing changed: sections "x2APIC Register Address Space", "Reserved Bit Checking". */
bool lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value);

/* IA32_APIC_BASE alone; a write refuses illegal state changes (figure "Local x2APIC State
 * Transitions"), returning false for #GP(0). The machine moves the page afterwards. */
bool lapic_apic_base_write(struct lapic *lapic, uint64_t value);

/* IA32_TSC_DEADLINE alone; section "TSC-Deadline Mode". */
uint64_t lapic_tsc_deadline_read(struct lapic *lapic);
void lapic_tsc_deadline_write(struct lapic *lapic, uint64_t value);

/* The guest wrote TSC or TSC_ADJUST: the new difference to TSC of virtual time, modulo 2^64. */
void lapic_set_tsc_offset(struct lapic *lapic, uint64_t offset);

/* The same for what a processor does all the time, without the device lock. False: it takes the
 * lock, or it is wrong; nothing has happened, and the functions above do it. */
bool lapic_try_mmio_read(struct lapic *lapic, uint64_t offset, unsigned size, uint64_t *value);
bool lapic_try_mmio_write(struct lapic *lapic, uint64_t offset, unsigned size, uint64_t value);
bool lapic_try_msr_read(struct lapic *lapic, uint32_t msr, uint64_t *value);
bool lapic_try_msr_write(struct lapic *lapic, uint32_t msr, uint64_t value);

/* Task priority register; CR8 is its bits 7:4. */
static inline uint8_t lapic_tpr(const struct lapic *lapic)
{
    return lapic->tpr;
}

void lapic_set_tpr(struct lapic *lapic, uint8_t tpr);

/* --- Interrupts --- */

/* LINT0 (pin 0) or LINT1 (pin 1) carries level now. Fits irq_line.set. */
void lapic_set_lint(void *lapic, unsigned pin, bool level);

/* An internal source signals: thermal sensor or performance counter overflow. */
void lapic_signal_lvt(struct lapic *lapic, enum lapic_lvt entry);

/* True if the message's destination names this local APIC: sections "Determining IPI
 * Destination", "Logical Destination Mode in x2APIC Mode". Never while globally disabled. */
bool lapic_accepts(const struct lapic *lapic, const struct apic_message *message);

/* Could it keep an interrupt? Not while the software has disabled it: such a one must not be chosen
 * for a lowest-priority message. Section "Local APIC State After It Has Been Software Disabled". */
bool lapic_takes_interrupts(const struct lapic *lapic);

/* What competes for a lowest-priority message: the smaller takes it. */
uint8_t lapic_arbitration_priority(const struct lapic *lapic);

/* Takes a message; the destination is not looked at. Lowest priority is as fixed. */
void lapic_deliver(struct lapic *lapic, const struct apic_message *message);

/* The processor takes the interrupt that intr announced: its vector, which is in service then; or
 * LAPIC_ACK_EXTINT, LAPIC_ACK_NONE. What is announced for nothing never reaches software, so there
 * is no spurious interrupt (section "Spurious Interrupt"). */
int lapic_acknowledge(struct lapic *lapic);

/* The same without the device lock. False: it takes the lock, and nothing has happened. */
bool lapic_try_acknowledge(struct lapic *lapic, int *vector);

/* Does something wait for the processor that it would be given now? */
bool lapic_intr(const struct lapic *lapic);

/* What arrives while the processor takes something else may raise intr late, for nothing: brings it
 * to lapic_intr. For who acts upon intr alone. */
void lapic_check_intr(struct lapic *lapic);

/* After a load neither intr nor any callback is called: the other ends load their own state. */
void lapic_serialize(struct lapic *lapic, struct state *s);

#endif
