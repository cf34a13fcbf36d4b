/*
 * Ports by which a guest talks to the emulator itself, each a device of its own:
 *
 *   debug console  one byte-wide port; each byte written goes to a chardev, a read gives E9h, by
 *                  which software recognises it. Port E9h as in Bochs, 402h for SeaBIOS messages.
 *   debug exit     1 to 4 ports (isa-debug-exit): a write ends the machine, and the process exits
 *                  with (value << 1) | 1, so never with 0. Usual places: F4h, 501h.
 *   exit port      the project's own, 4 ports at 5F0h: a write of 1, 2 or 4 bytes at its base ends
 *                  the machine, and the process exits with the value & FFh; the report has all of
 *                  it. A dword read gives 4D4F4E47h ("GNOM"), by which a guest recognises it.
 *
 * 5F0h lies between fw_cfg (510h-51Bh) and the ACPI registers (600h-63Fh); nothing else claims it.
 * Callers hold the device lock.
 */
#ifndef DEVICES_DEBUGPORT_H
#define DEVICES_DEBUGPORT_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/chardev.h"
#include "mmu/bus.h"

#include <stdint.h>

#define DEBUGPORT_BOCHS    0xe9
#define DEBUGPORT_SEABIOS  0x402
#define DEBUGPORT_READBACK 0xe9

#define EXITPORT_BASE      0x5f0
#define EXITPORT_SIGNATURE 0x4d4f4e47u

struct debugport {
    struct bus *bus;
    uint16_t port;
    struct chardev *chardev; /* NULL: output is dropped */
};

/* NULL and err if the port is taken. The chardev's device side is not used: nothing is received. */
struct debugport *debugport_create(struct bus *bus, uint16_t port, struct chardev *chardev,
                                   struct error *err);
/* There is nothing to reset and nothing to save; both exist so that all devices look alike. */
void debugport_reset(struct debugport *d);
void debugport_serialize(struct debugport *d, struct state *s);
void debugport_destroy(struct debugport *d);

enum exitport_kind { EXITPORT_ISA_DEBUG, EXITPORT_OWN };

struct exitport {
    struct bus *bus;
    struct log *log;
    enum exitport_kind kind;
    uint16_t base;
    unsigned count; /* ports */
    /* The guest ends the machine: status is the process's exit status before it is cut to 8 bits
     * ((value << 1) | 1, or the value). Called from inside the write; the machine stops after the
     * instruction. */
    void (*exit)(void *opaque, uint32_t status);
    void *opaque;
};

/* isa-debug-exit at ports [base, base + count), count 1 to 4: an error otherwise, or if taken. A
 * read gives 0. */
struct exitport *exitport_create_isa_debug(struct bus *bus, struct log *log, uint16_t base,
                                           unsigned count,
                                           void (*exit)(void *opaque, uint32_t status),
                                           void *opaque, struct error *err);

/* The project's own exit port at EXITPORT_BASE. */
struct exitport *exitport_create(struct bus *bus, struct log *log,
                                 void (*exit)(void *opaque, uint32_t status), void *opaque,
                                 struct error *err);
/* No state: as for debugport. */
void exitport_reset(struct exitport *e);
void exitport_serialize(struct exitport *e, struct state *s);
void exitport_destroy(struct exitport *e);

#endif
