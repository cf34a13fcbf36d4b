/*
 * High precision event timer at FED00000h: one 64-bit up counter of 100 MHz and three or four
 * comparators, each one-shot or periodic, 32 or 64 bits, edge or level, routed to I/O APIC pins or,
 * in legacy replacement mode, in the place of the PIT (IRQ 0) and the RTC (IRQ 8). Without FSB
 * (message) delivery. IA-PC HPET specification 1.0a, chapter 2.
 *
 * The counter is a function of the clock, exactly 10 ns a tick. An edge is passed on as low, high,
 * and the wire rests high, so that an 8259A, which forgets a request that drops, sees it too.
 * Callers hold the device lock.
 */
#ifndef DEVICES_HPET_H
#define DEVICES_HPET_H

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define HPET_BASE 0xfed00000u
#define HPET_SIZE 0x400u

/* GCAP_ID 31:0: vendor 8086h, legacy replacement, 64-bit counter, number of timers, revision 1 */
#define HPET_ID(timer_count) (0x8086a001u | ((timer_count)-1u) << 8)

#define HPET_PERIOD_FS 10000000u /* COUNTER_CLK_PERIOD: femtoseconds per tick, at most 100 ns */
#define HPET_TIMER_MAX 4
#define HPET_PIN_COUNT 24

struct hpet_config {
    unsigned timer_count;                 /* 3 or 4 */
    uint32_t route_capability;            /* Tn_INT_ROUTE_CAP: the pins that the timers may use */
    struct irq_line pins[HPET_PIN_COUNT]; /* inputs of the I/O APIC */
    struct irq_line irq0; /* legacy replacement: timer 0 (PIC input 0, I/O APIC pin 2) */
    struct irq_line irq8; /* legacy replacement: timer 1 (PIC input 8, I/O APIC pin 8) */
    void (*legacy)(void *opaque, bool on); /* PIT and RTC are to be disconnected (on) or back;
                                              may be NULL */
    void *legacy_opaque;
};

struct hpet_timer {
    struct hpet *hpet;
    unsigned index;
    struct timer timer;  /* armed at `due` while the timer may interrupt */
    char name[24];       /* "hpet.timer0" */
    uint32_t config;     /* Tn_CONF, bits that a guest can write; VAL_SET until used */
    uint64_t comparator; /* Tn_COMP */
    uint64_t period;     /* what periodic mode adds at each match; 0: nothing */
    uint64_t due;        /* virtual ns of the next match, CLOCK_NEVER while halted */
};

struct hpet {
    struct bus *bus;
    struct log *log;
    struct clock *clock;
    struct hpet_config wiring;
    bool enabled;      /* GEN_CONF bit 0: the counter runs, timers may interrupt */
    bool legacy;       /* GEN_CONF bit 1: legacy replacement routes */
    uint32_t status;   /* GINTR_STA: bit n, level-triggered timer n is active */
    uint64_t count;    /* MAIN_CNT at count_ns; while halted: always */
    uint64_t count_ns; /* virtual ns from which the counter runs on */
    struct hpet_timer timers[HPET_TIMER_MAX];
};

/* Registers the MMIO block; NULL and err if the addresses are taken. */
struct hpet *hpet_create(struct bus *bus, struct log *log, struct clock *clock,
                         const struct hpet_config *config, struct error *err);

/* Unregisters block and timers; bus and clock must still exist. */
void hpet_destroy(struct hpet *hpet);

/* Halted at zero, legacy replacement off. */
void hpet_reset(struct hpet *hpet);

void hpet_serialize(struct hpet *hpet, struct state *s);

#endif
