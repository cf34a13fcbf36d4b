/*
 * The coprocessor error logic of a PC: FERR# of the processor becomes IRQ 13, and a write to port
 * F0h takes the interrupt back and answers with IGNNE# until FERR# falls. 82371SB (PIIX3) datasheet
 * 2.5.1.1; SDM volume 1, 8.7.2 and appendix D. XBCS bit 5, which turns it on in the chip, is not
 * looked at: firmware leaves it on. Callers hold the device lock.
 */
#ifndef DEVICES_FERR_H
#define DEVICES_FERR_H

#include "base/error.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define FERR_PORT 0xf0
#define FERR_IRQ  13

struct ferr {
    struct bus *bus;
    struct irq_line irq;             /* IRQ13: a level, up until port F0h is written */
    void (*ignne)(void *opaque);     /* IGNNE# goes active: the processor ignores the error if there
                                        is one. May be NULL */
    void *opaque;
    bool level;                      /* what irq carries */
};

/* NULL and err if the port is taken. ignne is called from inside the write. */
struct ferr *ferr_create(struct bus *bus, struct irq_line irq, void (*ignne)(void *opaque),
                         void *opaque, struct error *err);
void ferr_reset(struct ferr *f);
void ferr_destroy(struct ferr *f);

/* FERR# rises. */
void ferr_raise(struct ferr *f);

/* A load drives no interrupt line: the interrupt controller loads its own inputs. */
void ferr_serialize(struct ferr *f, struct state *s);

#endif
