/* Where a server listens: "tcp:[HOST]:PORT", "unix:PATH"; and how it sends. Without a host only
 * this machine is let in: who reaches the socket owns the guest. */
#ifndef FRONTEND_SOCKET_ADDRESS_H
#define FRONTEND_SOCKET_ADDRESS_H

#include "base/bits.h" /* before uv.h, which brings its own MIN */
#include "base/error.h"

#include <stdbool.h>
#include <uv.h>

#define SOCKET_PATH_SIZE 108 /* of a Unix socket, with its end */

struct socket_address {
    bool is_pipe;
    char host[64];
    int port;
    char path[SOCKET_PATH_SIZE];
};

/* Options that QEMU knows (server, nowait) may follow a port, after a comma. */
bool socket_address_parse(const char *text, struct socket_address *a, struct error *err);

/* Binds an initialised uv_pipe_t or uv_tcp_t; a status of libuv. A Unix socket that a process left
 * behind when it died is replaced. */
int socket_address_bind(const struct socket_address *a, uv_stream_t *stream);

/* Sends a copy of the bytes to a client; what cannot be sent is lost with the connection. */
void socket_send(uv_stream_t *stream, const void *bytes, size_t count);

#endif
