/*
 * What the three files of the local APIC (lapic.c: interrupts, lapic_registers.c: register access,
 * lapic_timer.c: timer) offer each other. Nobody else includes it.
 */
#ifndef DEVICES_LAPIC_INTERNAL_H
#define DEVICES_LAPIC_INTERNAL_H

#include "devices/lapic.h"

/* Local vector table entry */
#define LVT_VECTOR             0xffu
#define LVT_MODE(lvt)          (((lvt) >> 8) & 7)
#define LVT_DELIVERY_MODE      0x700u
#define LVT_POLARITY           0x2000u
#define LVT_REMOTE_IRR         0x4000u
#define LVT_LEVEL              0x8000u
#define LVT_MASK               0x10000u
#define LVT_TIMER_MODE         0x60000u
#define LVT_TIMER_ONE_SHOT     0x00000u
#define LVT_TIMER_PERIODIC     0x20000u
#define LVT_TIMER_TSC_DEADLINE 0x40000u

/* Spurious interrupt vector register */
#define SVR_VECTOR       0xffu
#define SVR_ENABLE       0x100u
#define SVR_FOCUS        0x200u
#define SVR_EOI_SUPPRESS 0x1000u

/* Error status register */
#define ESR_SEND_ILLEGAL_VECTOR      0x20u
#define ESR_RECEIVED_ILLEGAL_VECTOR  0x40u
#define ESR_ILLEGAL_REGISTER_ADDRESS 0x80u

/* Vectors below are reserved: section "Valid Interrupt Vectors". */
#define LOWEST_LEGAL_VECTOR 16

static inline bool lapic_software_enabled(const struct lapic *l)
{
    return (l->svr & SVR_ENABLE) != 0;
}

/* lapic.c */
uint8_t lapic_ppr(const struct lapic *l);
bool lapic_try_end_of_interrupt(struct lapic *l);            /* false: it takes the lock */
void lapic_error(struct lapic *l, uint32_t esr_bit);         /* records and signals an error */
void lapic_end_of_interrupt(struct lapic *l);                /* a write of EOI */
void lapic_evaluate_lint(struct lapic *l, enum lapic_lvt e); /* level-triggered LINT entries */
void lapic_initialise_registers(struct lapic *l);            /* all but id and APIC_BASE */

/* lapic_timer.c */
void lapic_timer_init(struct lapic *l);
void lapic_timer_stop(struct lapic *l);              /* as after reset */
void lapic_timer_sync(struct lapic *l);              /* signals expiries up to now */
void lapic_timer_arm(struct lapic *l);               /* after a sync and any change */
uint32_t lapic_timer_current(const struct lapic *l); /* current count register */
void lapic_timer_write_initial(struct lapic *l, uint32_t count);
void lapic_timer_write_divide(struct lapic *l, uint32_t divide);
void lapic_timer_write_lvt(struct lapic *l, uint32_t lvt); /* the value to store, checked */
void lapic_timer_serialize(struct lapic *l, struct state *s);

#endif
