/*
 * One who uses the monitor as text: bytes in, bytes out, a prompt when the next line is awaited. It
 * knows nothing of sockets; on a terminal a line editor (line_editor.h) takes the keys.
 *
 *   input -> waiting bytes -> (editor) -> line -> monitor_command -> answer, prompt
 *
 * While a command waits for the machine, what is typed waits too; Ctrl-C ends the waiting.
 * Event-loop thread, without the device lock.
 */
#ifndef FRONTEND_MONITOR_CLIENT_H
#define FRONTEND_MONITOR_CLIENT_H

#include "frontend/monitor.h"

#include <stdbool.h>
#include <stddef.h>

struct line_editor;

#define MONITOR_PROMPT     "(gnomon) "
#define MONITOR_INPUT_MAX  (64u << 10) /* bytes that wait; more are dropped, and said so */

struct monitor_client {
    struct monitor monitor;
    void (*send)(void *opaque, const void *bytes, size_t count);
    void *opaque;
    struct line_editor *editor; /* NULL: lines come as they are */

    char *input; /* waiting bytes */
    size_t input_count, input_size;
    bool dropped;

    char line[MONITOR_LINE_MAX + 1];
    size_t line_count;
    bool too_long; /* the line goes on beyond that */
    bool was_return; /* the last byte was CR: a LF behind it belongs to it */
    bool busy;       /* input is being worked on */
};

/* Greets and asks for a line. `terminal` is the descriptor of a terminal whose keys come in here,
 * or -1. */
void monitor_client_begin(struct monitor_client *c, struct machine *machine,
                          const struct report_tools *tools, int terminal,
                          void (*send)(void *opaque, const void *bytes, size_t count),
                          void *opaque);

void monitor_client_input(struct monitor_client *c, const void *bytes, size_t count);

/* The machine has parked. */
void monitor_client_parked(struct monitor_client *c);

/* To be called some times a second while monitor.wait is MONITOR_FOLLOW. */
void monitor_client_tick(struct monitor_client *c);

/* The run has ended; `text` says why. */
void monitor_client_ended(struct monitor_client *c, const char *text);

/* The terminal's keys go elsewhere now, or come here again. */
void monitor_client_leave(struct monitor_client *c);
void monitor_client_enter(struct monitor_client *c);

void monitor_client_end(struct monitor_client *c);

#endif
