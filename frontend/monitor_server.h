/*
 * Where the monitor is reached: sockets that it listens on, and terminals. Any number of clients at
 * a time; they come and go, and the machine does not mind. Breakpoints stay when a client goes.
 */
#ifndef FRONTEND_MONITOR_SERVER_H
#define FRONTEND_MONITOR_SERVER_H

#include "base/bits.h" /* before uv.h, which brings its own MIN */
#include "base/error.h"
#include "frontend/backend.h"
#include "frontend/monitor_client.h"

#include <stdbool.h>
#include <uv.h>

struct monitor_server;

struct monitor_server *monitor_server_create(uv_loop_t *loop, struct machine *machine,
                                             const struct report_tools *tools);

/* Listens at an address (socket_address.h). */
bool monitor_server_listen(struct monitor_server *s, const char *address, struct error *err);

/* The keys of the back end, which has been started, go to a monitor instead of its device, and its
 * terminal shows what that says: until the next call. */
void monitor_server_toggle(struct monitor_server *s, struct backend *b);

/* The run has ended; `text` says why. */
void monitor_server_ended(struct monitor_server *s, const char *text);

/* Closes the handles; the memory goes when the loop has run once more. NULL is ignored. */
void monitor_server_stop(struct monitor_server *s);

#endif
