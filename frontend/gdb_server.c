#include "frontend/gdb_server.h"

#include "base/check.h"
#include "base/host/host.h"
#include "frontend/socket_address.h"
#include "machine/debug.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct gdb_server {
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener, client;
    uv_async_t parked; /* from the run loop: the machine has stopped */
    bool is_pipe;
    bool connected; /* `client` is open */
    bool closing;   /* it is being closed */
    bool next;      /* another client waits for that */
    bool stopping;
    unsigned handles;            /* not yet closed */
    char path[SOCKET_PATH_SIZE]; /* of the socket, to be removed */
    struct machine *machine;
    const struct report_tools *tools;
    struct gdb_session session;
    char input[4096];
};

bool gdb_server_check(const char *address, struct error *err)
{
    struct socket_address a;

    return socket_address_parse(address, &a, err);
}

static void take_client(struct gdb_server *g);

static void handle_closed(uv_handle_t *handle)
{
    struct gdb_server *g = handle->data;

    g->handles--;
    if (handle == (uv_handle_t *)&g->client) {
        g->connected = g->closing = false;
        if (g->next && !g->stopping)
            take_client(g);
    }
    if (g->handles == 0 && g->stopping)
        free(g);
}

/* The client has gone or is sent away. */
static void disconnect(struct gdb_server *g)
{
    if (!g->connected || g->closing)
        return;
    g->closing = true;
    machine_debug_detach(g->machine, MACHINE_TOOL_GDB);
    gdb_session_end(&g->session);
    if (!g->stopping)
        machine_continue(g->machine);
    uv_close((uv_handle_t *)&g->client, handle_closed);
}

static void send_bytes(void *opaque, const void *bytes, size_t count)
{
    struct gdb_server *g = opaque;

    if (g->closing || count == 0)
        return;
    socket_send(&g->client.stream, bytes, count);
}

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct gdb_server *g = handle->data;

    (void)size;
    *buffer = uv_buf_init(g->input, sizeof(g->input));
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct gdb_server *g = stream->data;

    if (count > 0)
        gdb_session_input(&g->session, buffer->base, (size_t)count);
    if (count < 0 || g->session.detached)
        disconnect(g);
}

/* On the run loop's thread, with the device lock held. */
static void machine_parked(void *opaque)
{
    struct gdb_server *g = opaque;

    uv_async_send(&g->parked);
}

static void on_parked(uv_async_t *async)
{
    struct gdb_server *g = async->data;

    if (g->connected && !g->closing)
        gdb_session_parked(&g->session);
}

static void init_stream(struct gdb_server *g, uv_loop_t *loop, uv_stream_t *stream)
{
    if (g->is_pipe)
        uv_pipe_init(loop, (uv_pipe_t *)stream, 0);
    else
        uv_tcp_init(loop, (uv_tcp_t *)stream);
    stream->data = g;
    g->handles++;
}

static void refused(uv_handle_t *handle)
{
    free(handle);
}

/* A second client: its connection is taken and closed. */
static void refuse(struct gdb_server *g)
{
    uv_stream_t *stream = host_alloc(g->is_pipe ? sizeof(uv_pipe_t) : sizeof(uv_tcp_t));

    if (g->is_pipe)
        uv_pipe_init(g->listener.stream.loop, (uv_pipe_t *)stream, 0);
    else
        uv_tcp_init(g->listener.stream.loop, (uv_tcp_t *)stream);
    uv_accept(&g->listener.stream, stream);
    uv_close((uv_handle_t *)stream, refused);
}

/* The connection has ended, though we have not been told yet. */
static bool client_left(struct gdb_server *g)
{
    uv_os_fd_t fd;
    char byte;

    return uv_fileno((uv_handle_t *)&g->client, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void take_client(struct gdb_server *g)
{
    g->next = false;
    init_stream(g, g->listener.stream.loop, &g->client.stream);
    g->connected = true;
    if (uv_accept(&g->listener.stream, &g->client.stream) != 0) {
        g->closing = true;
        uv_close((uv_handle_t *)&g->client, handle_closed);
        return;
    }
    if (!g->is_pipe)
        uv_tcp_nodelay(&g->client.tcp, 1);
    machine_debug_attach(g->machine, MACHINE_TOOL_GDB, machine_parked, g);
    gdb_session_begin(&g->session, g->machine, g->tools, send_bytes, g);
    uv_read_start(&g->client.stream, give_buffer, received);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct gdb_server *g = listener->data;

    if (status != 0)
        return;
    if (g->connected && !g->closing && client_left(g))
        disconnect(g);
    if (!g->connected)
        take_client(g);
    else if (g->closing)
        g->next = true;
    else
        refuse(g);
}

struct gdb_server *gdb_server_start(uv_loop_t *loop, const char *address, struct machine *machine,
                                    const struct report_tools *tools, struct error *err)
{
    struct gdb_server *g;
    struct socket_address a;
    int status;

    if (!socket_address_parse(address, &a, err))
        return NULL;
    g = host_alloc(sizeof(*g));
    g->is_pipe = a.is_pipe;
    g->machine = machine;
    g->tools = tools;
    init_stream(g, loop, &g->listener.stream);
    uv_async_init(loop, &g->parked, on_parked);
    g->parked.data = g;
    g->handles++;
    status = socket_address_bind(&a, &g->listener.stream);
    if (status == 0 && a.is_pipe)
        strcpy(g->path, a.path);
    if (status == 0)
        status = uv_listen(&g->listener.stream, 4, on_connection);
    if (status != 0) {
        error_set(err, "-gdb %s: %s", address, uv_strerror(status));
        gdb_server_stop(g);
        return NULL;
    }
    return g;
}

void gdb_server_ended(struct gdb_server *g, int status)
{
    if (g != NULL && g->connected && !g->closing)
        gdb_session_ended(&g->session, status);
}

void gdb_server_stop(struct gdb_server *g)
{
    if (g == NULL)
        return;
    g->stopping = true;
    disconnect(g);
    if (g->path[0] != '\0')
        unlink(g->path);
    uv_close((uv_handle_t *)&g->listener, handle_closed);
    uv_close((uv_handle_t *)&g->parked, handle_closed);
}
