/*
 * The keyboard controller of a PC/AT with the PS/2 auxiliary port: data port 60h, status and
 * command port 64h, IRQ1 and IRQ12, A20 gate and processor reset behind its output port; a keyboard
 * and a mouse (ps2.h) are plugged in. IBM PS/2 Hardware Interface Technical Reference, "Keyboard
 * and Auxiliary Device Controller"; Intel 8042 (UPI-41A).
 *
 * The controller answers its own commands at once. A byte from keyboard or mouse takes
 * I8042_BYTE_NS to arrive after the buffer was read, as on a real wire: an interrupt handler that
 * reads port 60h twice gets the same byte twice. An answer of the controller goes before a device's
 * byte that waits in the buffer; that one returns when the answer has been read. After reset the
 * controller is as firmware leaves it: both interrupts and translation on, A20 passes. Passwords
 * (A4h-A6h) and diagnostic dumps do not exist. Callers hold the device lock.
 */
#ifndef DEVICES_I8042_H
#define DEVICES_I8042_H

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "devices/ps2.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define I8042_DATA_PORT    0x60
#define I8042_STATUS_PORT  0x64
#define I8042_COMMAND_PORT 0x64

#define I8042_BYTE_NS 500000ull

/* Status register. */
#define I8042_STATUS_OBF     0x01 /* output buffer full: port 60h has a byte */
#define I8042_STATUS_IBF     0x02 /* input buffer full: never, all is taken at once */
#define I8042_STATUS_SYS     0x04 /* self test passed */
#define I8042_STATUS_COMMAND 0x08 /* the last write was to port 64h */
#define I8042_STATUS_UNLOCK  0x10 /* the keyboard lock is open */
#define I8042_STATUS_AUX     0x20 /* the byte in the output buffer is the mouse's */

/* Command byte, RAM byte 0. */
#define I8042_CTR_KBD_INT     0x01
#define I8042_CTR_AUX_INT     0x02
#define I8042_CTR_SYS         0x04
#define I8042_CTR_KBD_DISABLE 0x10
#define I8042_CTR_AUX_DISABLE 0x20
#define I8042_CTR_TRANSLATE   0x40

/* Output port. */
#define I8042_OUT_RESET 0x01 /* 0: the processor is held in reset */
#define I8042_OUT_A20   0x02

struct i8042_wiring {
    struct irq_line irq1;        /* keyboard */
    struct irq_line irq12;       /* mouse */
    struct irq_line a20;         /* level 1: A20 passes, as far as this device is concerned */
    void (*reset)(void *opaque); /* of the processor; called from inside the write; may be NULL */
    void *opaque;
};

struct i8042 {
    struct bus *bus;
    struct log *log;
    struct clock *clock;
    struct i8042_wiring wiring;
    bool irq1_level;  /* what the lines carry now */
    bool irq12_level;

    uint8_t ram[32];      /* byte 0 is the command byte */
    uint8_t output_port;  /* I8042_OUT_RESET and I8042_OUT_A20 */
    uint8_t command;      /* waits for its data byte; 0: none */
    bool last_was_command;

    uint8_t output;       /* the output buffer; keeps its value when read */
    bool full;            /* OBF */
    bool aux;             /* the byte came from the mouse, or as if from it */
    bool answer;          /* the byte is the controller's own */
    uint8_t held;         /* a device's byte that an answer displaced */
    bool held_full;
    bool held_aux;
    bool break_prefix;    /* translation: F0h was seen */

    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    struct timer byte;    /* "i8042.byte": a device's byte arrives */
};

/* Registers both ports, in reset state, and drives a20 to 1. The wiring is copied. NULL and err if
 * a port is taken. */
struct i8042 *i8042_create(struct bus *bus, struct log *log, struct clock *clock,
                           const struct i8042_wiring *wiring, struct error *err);
void i8042_reset(struct i8042 *k);
void i8042_destroy(struct i8042 *k);

/* A key goes down (also again, while it repeats) or up. The scan code is that of set 1 without the
 * break bit: 01h to 7Fh, E001h to E07Fh for extended keys, E11Dh for Pause. Lost when the guest
 * does not read. */
void i8042_key(struct i8042 *k, bool down, uint16_t scancode);

/* The mouse moved by dx to the right and dy down, the wheel turned by dz towards the user, and
 * buttons (PS2_MOUSE_*) are pressed now. */
void i8042_mouse(struct i8042 *k, int dx, int dy, int dz, uint8_t buttons);

/* A load drives neither interrupt lines nor A20: the listeners load their own state. */
void i8042_serialize(struct i8042 *k, struct state *s);

#endif
