/*
 * The quit keys of a multiplexed terminal: Ctrl-A and a second key. Everything else goes to the
 * guest. Pure; the owner acts on what keys_filter returns.
 */
#ifndef FRONTEND_KEYS_H
#define FRONTEND_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_action {
    KEY_NONE,    /* the byte was taken, nothing to do */
    KEY_BYTE,    /* the byte is for the guest */
    KEY_QUIT,    /* Ctrl-A x */
    KEY_HELP,    /* Ctrl-A h, Ctrl-A ? */
    KEY_BREAK,   /* Ctrl-A b: a break on the serial line */
    KEY_MONITOR, /* Ctrl-A c */
    KEY_PAUSE,   /* Ctrl-A p: stop or continue the machine */
    KEY_REPORT,  /* Ctrl-A r: where the guest is */
};

struct keys {
    bool prefix;    /* the escape was the last byte */
    uint8_t escape; /* in place of Ctrl-A; 0: Ctrl-A */
};

/* Looks at the next byte of input. KEY_BYTE: *byte is for the guest (Ctrl-A Ctrl-A gives one
 * Ctrl-A). Ctrl-A and a key without meaning are both dropped. */
enum key_action keys_filter(struct keys *k, uint8_t *byte);

/* What Ctrl-A h prints; lines end in "\r\n" as the terminal is raw. */
extern const char keys_help[];

#endif
