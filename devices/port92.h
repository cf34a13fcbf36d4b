/*
 * System control port A, port 92h (PS/2; 82371SB (PIIX3) datasheet 2.5.4.2): bit 0 resets the
 * processor on a 0 to 1 step (INIT), bit 1 is one of the two switches of the A20 gate, the others
 * are kept as written. The machine combines both switches: A20 passes if this one or the keyboard
 * controller's is on. Callers hold the device lock.
 */
#ifndef DEVICES_PORT92_H
#define DEVICES_PORT92_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdint.h>

#define PORT92            0x92
#define PORT92_FAST_RESET 0x01
#define PORT92_A20        0x02

struct port92 {
    struct bus *bus;
    struct log *log;
    struct irq_line a20;         /* level 1: A20 passes */
    void (*reset)(void *opaque); /* fast reset of the processor; may be NULL */
    void *opaque;                /* for reset */
    uint8_t value;               /* the register */
};

/* Registers the port in reset state: A20 off here. reset is called from inside the write, so the
 * machine takes note and resets once the instruction is over. NULL and err if the port is taken. */
struct port92 *port92_create(struct bus *bus, struct log *log, struct irq_line a20,
                             void (*reset)(void *opaque), void *opaque, struct error *err);
void port92_reset(struct port92 *p);
void port92_destroy(struct port92 *p);

/* A load drives no line; the machine restores the A20 gate itself. */
void port92_serialize(struct port92 *p, struct state *s);

#endif
