/*
 * The ISA pvpanic device, port 505h: a guest whose operating system panics writes what happened. A
 * read gives the events the device understands. Linux's driver finds it through ACPI (_HID
 * QEMU0001); the bits are those of linux/include/uapi/misc/pvpanic.h. Callers hold the device lock.
 */
#ifndef DEVICES_PVPANIC_H
#define DEVICES_PVPANIC_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "mmu/bus.h"

#include <stdint.h>

#define PVPANIC_PORT 0x505

#define PVPANIC_PANICKED     0x01 /* the guest panicked and does nothing about it itself */
#define PVPANIC_CRASH_LOADED 0x02 /* it panicked and goes on into its crash kernel */
#define PVPANIC_SHUTDOWN     0x04 /* an orderly shutdown is under way */
#define PVPANIC_EVENTS       (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED | PVPANIC_SHUTDOWN)

struct pvpanic {
    struct bus *bus;
    struct log *log;
    /* events: one or more of the bits above. May be NULL. */
    void (*notify)(void *opaque, uint8_t events);
    void *opaque;
};

/* NULL and err if the port is taken. notify is called from inside the write. */
struct pvpanic *pvpanic_create(struct bus *bus, struct log *log,
                               void (*notify)(void *opaque, uint8_t events), void *opaque,
                               struct error *err);
/* It has no state: nothing to reset, an empty section to save. */
void pvpanic_reset(struct pvpanic *p);
void pvpanic_serialize(struct pvpanic *p, struct state *s);
void pvpanic_destroy(struct pvpanic *p);

#endif
