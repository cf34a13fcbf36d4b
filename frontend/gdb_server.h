/*
 * The socket on which a debugger finds the machine: -gdb tcp::1234, -gdb unix:PATH. One client at a
 * time; more are refused. A TCP port without a host listens on the loopback address only: who can
 * reach it owns the guest.
 */
#ifndef FRONTEND_GDB_SERVER_H
#define FRONTEND_GDB_SERVER_H

#include "base/bits.h" /* before uv.h, which brings its own MIN */
#include "base/error.h"
#include "frontend/gdb_session.h"

#include <stdbool.h>
#include <uv.h>

struct gdb_server;

/* Is the address well-formed? */
bool gdb_server_check(const char *address, struct error *err);

/* Listens. NULL and err if that cannot be. */
struct gdb_server *gdb_server_start(uv_loop_t *loop, const char *address, struct machine *machine,
                                    const struct report_tools *tools, struct error *err);

/* The run has ended: a waiting client is told the exit status. */
void gdb_server_ended(struct gdb_server *g, int status);

/* Closes the handles; the memory goes when the loop has run once more. NULL is ignored. */
void gdb_server_stop(struct gdb_server *g);

#endif
