/*
 * What hangs on the two PS/2 plugs: a keyboard (scan code sets 1 and 2) and a mouse (3 buttons, or
 * wheel and 5 buttons once the host asked for them). Each takes command bytes from the host, and
 * has bytes for it: replies first, then what the user did. The keyboard controller (i8042.h) owns
 * both and moves the bytes; nothing here knows of time or interrupts. IBM PS/2 Hardware Interface
 * Technical Reference, "Keyboard" and "Mouse"; wheel extension: Microsoft IntelliMouse.
 * Callers hold the device lock.
 */
#ifndef DEVICES_PS2_H
#define DEVICES_PS2_H

#include "base/log.h"
#include "base/state.h"

#include <stdbool.h>
#include <stdint.h>

#define PS2_QUEUE_SIZE 32u

#define PS2_ACK    0xfa
#define PS2_RESEND 0xfe
#define PS2_BAT_OK 0xaa /* basic assurance test passed */

/* Commands that both understand. */
#define PS2_IDENTIFY     0xf2
#define PS2_RATE         0xf3 /* + rate */
#define PS2_ENABLE       0xf4
#define PS2_DISABLE      0xf5
#define PS2_SET_DEFAULTS 0xf6
#define PS2_REPEAT_LAST  0xfe
#define PS2_RESET        0xff

struct ps2_queue {
    uint8_t bytes[PS2_QUEUE_SIZE];
    uint8_t head;  /* index of the oldest byte */
    uint8_t count; /* bytes held */
};

void ps2_queue_clear(struct ps2_queue *q);
/* False, and nothing added, if not all fit. */
bool ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned count);
/* The queue is not empty. */
uint8_t ps2_queue_take(struct ps2_queue *q);
void ps2_queue_serialize(struct ps2_queue *q, struct state *s);

struct ps2_keyboard {
    struct log *log;
    struct ps2_queue replies;
    struct ps2_queue keys;    /* scan codes not yet sent */
    uint8_t command;          /* waits for its argument; 0: none */
    uint8_t last;             /* the byte sent last, for PS2_REPEAT_LAST */
    uint8_t scan_set;         /* 1 or 2 */
    uint8_t leds;             /* bit 0 scroll lock, 1 num lock, 2 caps lock */
    uint8_t typematic;        /* as set by PS2_RATE; repeats come from the front end */
    bool scanning;            /* keys are reported */
};

void ps2_keyboard_init(struct ps2_keyboard *k, struct log *log);
/* Power-on without the BAT byte: firmware has consumed it, or asks for it by PS2_RESET. */
void ps2_keyboard_reset(struct ps2_keyboard *k);
/* A byte from the host. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte);
/* True if a byte for the host waits; then take gives it. */
bool ps2_keyboard_ready(const struct ps2_keyboard *k);
uint8_t ps2_keyboard_take(struct ps2_keyboard *k);
/* See i8042_key. */
void ps2_keyboard_key(struct ps2_keyboard *k, bool down, uint16_t scancode);
void ps2_keyboard_serialize(struct ps2_keyboard *k, struct state *s);

/* What the keyboard controller makes of a byte from the keyboard when it translates set 2 into set
 * 1: itself for command replies and prefixes. */
uint8_t ps2_translate(uint8_t byte);

#define PS2_MOUSE_LEFT   0x01
#define PS2_MOUSE_RIGHT  0x02
#define PS2_MOUSE_MIDDLE 0x04
#define PS2_MOUSE_FOURTH 0x08
#define PS2_MOUSE_FIFTH  0x10

struct ps2_mouse {
    struct log *log;
    struct ps2_queue replies;
    struct ps2_queue packets; /* movement reports not yet sent */
    uint8_t command;          /* waits for its argument; 0: none */
    uint8_t last;             /* the byte sent last, for PS2_REPEAT_LAST */
    uint8_t id;               /* 0 plain, 3 wheel, 4 wheel and five buttons */
    uint8_t rates[2];         /* the sample rates set before the last one: asks for 3, 4 */
    uint8_t sample_rate;      /* reports per second as set; the plug's speed is the limit */
    uint8_t resolution;       /* 0 to 3 */
    bool scaling;             /* 2:1 in stream mode */
    bool remote;              /* reports on request only */
    bool wrap;                /* echo mode */
    bool reporting;           /* stream mode sends reports */
    uint8_t buttons;          /* PS2_MOUSE_* now */
    uint8_t reported_buttons; /* as in the last report */
    int32_t x;                /* movement not yet reported: right is positive */
    int32_t y;                /* away from the user is positive */
    int32_t z;                /* wheel, towards the user is positive */
};

void ps2_mouse_init(struct ps2_mouse *m, struct log *log);
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
bool ps2_mouse_ready(const struct ps2_mouse *m);
uint8_t ps2_mouse_take(struct ps2_mouse *m);
/* See i8042_mouse. */
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons);
void ps2_mouse_serialize(struct ps2_mouse *m, struct state *s);

#endif
