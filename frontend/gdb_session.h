/*
 * One client of the remote protocol: bytes in, bytes out, a machine behind. It knows nothing of
 * sockets. Event-loop thread, without the device lock.
 *
 * A processor is a thread; its id is the processor's number and 1. All stop together. Registers and
 * translations are those of the thread chosen by H g, kept in monitor.cpu; after a stop of the one
 * that stopped.
 */
#ifndef FRONTEND_GDB_SESSION_H
#define FRONTEND_GDB_SESSION_H

#include "frontend/gdb_packet.h"
#include "frontend/monitor.h"
#include "machine/machine.h"

#include <stdbool.h>
#include <stddef.h>

#define GDB_ANY UINT32_MAX       /* thread 0 */
#define GDB_ALL (UINT32_MAX - 1) /* thread -1 */

struct gdb_session {
    struct machine *machine;
    struct monitor monitor;
    void (*send)(void *opaque, const void *bytes, size_t count);
    void *opaque;

    struct gdb_parser parser;
    struct gdb_reply description; /* target.xml */
    struct gdb_reply last;        /* the last framed packet, for a client that asks again */
    bool no_ack;
    unsigned stepper; /* H c: what `c` and `s` are about: GDB_ANY, GDB_ALL, or a processor */
    bool waiting;  /* the client waits for a stop */
    bool detached; /* it has said good-bye: close the connection */
};

/* The machine is asked to stop; the client's first question is answered when it has. */
void gdb_session_begin(struct gdb_session *s, struct machine *machine,
                       const struct report_tools *tools,
                       void (*send)(void *opaque, const void *bytes, size_t count), void *opaque);

void gdb_session_input(struct gdb_session *s, const void *bytes, size_t count);

/* The machine has parked: tells the client if it waits. */
void gdb_session_parked(struct gdb_session *s);

/* The run has ended: tells the client. */
void gdb_session_ended(struct gdb_session *s, int status);

/* The client has gone: points are removed, and the machine goes on. */
void gdb_session_end(struct gdb_session *s);

#endif
