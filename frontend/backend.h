/*
 * Back ends of character devices: where a serial port's bytes go to and come from. Each is a struct
 * chardev (devices/chardev.h) for its device, and a few file descriptors watched by the event loop.
 *
 *   output  written at once when the descriptor takes it; what it does not take waits in a queue
 *           that the event loop drains, so that a vCPU thread never blocks in here. A queue of
 *           BACKEND_QUEUE_MAX bytes that nobody reads drops the rest, and says so at the end
 *   input   read when it arrives and handed to the device as far as it can receive; a pipe or file
 *           is then not read further until it can. A terminal is always read, for its quit keys
 *
 * Threads: send and ready come with the device lock held, on any thread; all else is called on the
 * event-loop thread without it.
 */
#ifndef FRONTEND_BACKEND_H
#define FRONTEND_BACKEND_H

#include "base/bits.h" /* before uv.h, which brings its own MIN */
#include "base/error.h"
#include "devices/chardev.h"
#include "frontend/keys.h"
#include "frontend/options.h"
#include "machine/machine.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define BACKEND_QUEUE_MAX (16u << 20)
#define BACKEND_INPUT_MAX 4096u

struct backend {
    struct chardev chardev;
    struct backend_spec spec;
    unsigned serial;           /* which serial port it serves, for KEY_BREAK */
    struct machine *machine;   /* set by backend_start; NULL before and after */
    uv_loop_t *loop;
    void (*key)(void *opaque, struct backend *b, enum key_action action); /* quit keys */
    void *opaque;

    int in, out;               /* descriptors, -1: none */
    int log;                   /* gets a copy of the output, -1: none */
    bool log_failed;
    bool own_fds;              /* close them at the end */
    int slave;                 /* pty: held open, so that the master never sees a hang-up */
    bool terminal;             /* `in` is a terminal: its input may be dropped, never waits */
    bool pollable;             /* `in` can be polled; else (a file) it is always readable */

    /* Input, event loop. */
    uv_poll_t poll;
    uv_idle_t idle;            /* in place of poll for files */
    uv_async_t wake;           /* from ready and send: look again */
    uv_timer_t flush;          /* output waits */
    bool handles;              /* the four are initialised */
    bool reading;              /* poll or idle is active */
    struct keys keys;
    /* While this is set input goes here, not to the device: the monitor. */
    void (*diverted)(void *opaque, const void *bytes, size_t count);
    void *diverted_opaque;
    uint8_t input[BACKEND_INPUT_MAX]; /* read, and not yet taken by the device */
    unsigned input_count;
    atomic_bool input_open;    /* more may come */

    /* Output; device lock. */
    uint8_t *queue;
    size_t queue_size, queue_count;
    uint64_t dropped;          /* bytes */
    _Atomic uint64_t sent;     /* bytes that the device sent; any thread */
    bool broken;               /* the other end is gone: everything is dropped */
};

/* Opens what the spec names (not BACKEND_NONE or _NAMED). The chardev can take output at once. */
bool backend_open(struct backend *b, const struct backend_spec *spec, const char *label,
                  struct error *err);

/* Begins to read; `key` is called for quit keys. The loop must run or be polled from then on. */
void backend_start(struct backend *b, uv_loop_t *loop, struct machine *machine,
                   void (*key)(void *opaque, struct backend *b, enum key_action action),
                   void *opaque);

/* From now on input goes to `input`, on the event-loop thread and without the device lock; NULL: to
 * the device again. */
void backend_divert(struct backend *b,
                    void (*input)(void *opaque, const void *bytes, size_t count), void *opaque);

/* Writes as the device would. Without the device lock. */
void backend_write(struct backend *b, const void *bytes, size_t count);

/* The descriptor of the terminal whose keys come in, or -1. */
int backend_terminal(const struct backend *b);

/* Closes the loop's handles; they are gone when the loop has run once more. */
void backend_stop(struct backend *b);

/* Writes what waits, for up to a few seconds, and closes. No machine runs. */
void backend_close(struct backend *b);

#endif
