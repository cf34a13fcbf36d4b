/*
 * I/O APIC after the 82093AA, with the EOI register of its successors (version 20h): 24 pins, each
 * with a redirection entry that says which message a signal on it becomes. 82093AA datasheet
 * (290566), chapter 3; EOI register: ICH9 datasheet 13.5.1. Pins carry logical levels, so the
 * polarity bit is kept and not interpreted. Callers hold the device lock.
 */
#ifndef DEVICES_IOAPIC_H
#define DEVICES_IOAPIC_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/apic_message.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define IOAPIC_BASE      0xfec00000u
#define IOAPIC_SIZE      0x1000u
#define IOAPIC_PIN_COUNT 24
#define IOAPIC_VERSION   0x20

/* Bits of a redirection entry, datasheet 3.2.4. */
#define IOAPIC_RTE_VECTOR        0xffull
#define IOAPIC_RTE_DELIVERY_MODE 0x700ull
#define IOAPIC_RTE_LOGICAL       0x800ull
#define IOAPIC_RTE_POLARITY      0x2000ull
#define IOAPIC_RTE_REMOTE_IRR    0x4000ull /* a local APIC has accepted it and not ended it */
#define IOAPIC_RTE_LEVEL         0x8000ull
#define IOAPIC_RTE_MASK          0x10000ull

struct ioapic {
    struct bus *bus;
    struct log *log;
    void (*deliver)(void *opaque, const struct apic_message *message);
    void *deliver_opaque;
    uint8_t select;                 /* IOREGSEL */
    uint8_t id;                     /* IOAPICID bits 27:24 */
    uint32_t lines;                 /* levels of the pins now */
    uint64_t rte[IOAPIC_PIN_COUNT]; /* IOREDTBL */
};

/* Registers the MMIO page; deliver is called for each message, with the device lock held, and may
 * call back (ioapic_eoi). NULL and err if the addresses are taken. */
struct ioapic *ioapic_create(struct bus *bus, struct log *log,
                             void (*deliver)(void *opaque, const struct apic_message *message),
                             void *opaque, struct error *err);

/* Unregisters the page; the bus must still exist. */
void ioapic_destroy(struct ioapic *ioapic);

/* All pins masked, id 0. The levels of the pins are kept. */
void ioapic_reset(struct ioapic *ioapic);

/* Pin (0 to 23) carries level now. Fits irq_line.set. */
void ioapic_set_irq(void *ioapic, unsigned pin, bool level);

/* A local APIC ended a level-triggered interrupt with this vector: pins with it may signal anew. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

void ioapic_serialize(struct ioapic *ioapic, struct state *s);

#endif
