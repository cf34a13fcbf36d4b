#include "frontend/monitor_server.h"

#include "base/check.h"
#include "base/host/host.h"
#include "frontend/socket_address.h"
#include "machine/debug.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a client that reads nothing may leave unread; the rest is lost. */
#define UNSENT_MAX (16u << 20)

#define TICK_MS 100

union stream {
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct listener {
    struct listener *next;
    struct monitor_server *server;
    union stream handle;
    bool is_pipe;
    char path[SOCKET_PATH_SIZE]; /* to be removed */
};

/* One on a socket, or on a back end. */
struct connection {
    struct connection *next;
    struct monitor_server *server;
    struct monitor_client client;
    union stream handle;
    struct backend *backend; /* NULL: a socket */
    bool closing;
    char input[4096];
};

struct monitor_server {
    uv_loop_t *loop;
    struct machine *machine;
    const struct report_tools *tools;
    uv_async_t parked; /* from the run loop: the machine has stopped */
    uv_timer_t tick;   /* active while a client follows events */
    struct listener *listeners;
    struct connection *connections;
    unsigned handles; /* not yet closed */
    bool stopping;
};

/* --- Life of handles --- */

static void handle_closed(struct monitor_server *s)
{
    s->handles--;
    if (s->handles == 0 && s->stopping)
        free(s);
}

static void async_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    struct monitor_server *s = l->server;

    free(l);
    handle_closed(s);
}

static void connection_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct monitor_server *s = c->server;

    for (struct connection **p = &s->connections; *p != NULL; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            break;
        }
    }
    free(c);
    handle_closed(s);
}

static void init_stream(struct monitor_server *s, bool is_pipe, union stream *handle, void *data)
{
    if (is_pipe)
        uv_pipe_init(s->loop, &handle->pipe, 0);
    else
        uv_tcp_init(s->loop, &handle->tcp);
    handle->stream.data = data;
    s->handles++;
}

/* The client has gone. */
static void disconnect(struct connection *c)
{
    if (c->closing)
        return;
    c->closing = true;
    monitor_client_end(&c->client);
    if (c->backend == NULL)
        uv_close((uv_handle_t *)&c->handle, connection_closed);
}

/* --- Output --- */

static void send_to_socket(void *opaque, const void *bytes, size_t count)
{
    struct connection *c = opaque;

    if (c->closing || count == 0 || uv_stream_get_write_queue_size(&c->handle.stream) > UNSENT_MAX)
        return;
    socket_send(&c->handle.stream, bytes, count);
}

static void send_to_backend(void *opaque, const void *bytes, size_t count)
{
    struct connection *c = opaque;

    backend_write(c->backend, bytes, count);
}

/* --- Input --- */

static void on_tick(uv_timer_t *timer)
{
    struct monitor_server *s = timer->data;
    bool follows = false;

    for (struct connection *c = s->connections; c != NULL; c = c->next) {
        if (c->closing || c->client.monitor.wait != MONITOR_FOLLOW)
            continue;
        follows = true;
        monitor_client_tick(&c->client);
    }
    if (!follows)
        uv_timer_stop(timer);
}

static void take_input(struct connection *c, const void *bytes, size_t count)
{
    struct monitor_server *s = c->server;

    monitor_client_input(&c->client, bytes, count);
    if (c->client.monitor.wait == MONITOR_FOLLOW && !uv_is_active((uv_handle_t *)&s->tick))
        uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

/* --- Sockets --- */

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct connection *c = handle->data;

    (void)size;
    *buffer = uv_buf_init(c->input, sizeof(c->input));
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;

    if (c->closing)
        return;
    if (count > 0)
        take_input(c, buffer->base, (size_t)count);
    if (count < 0)
        disconnect(c);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    struct monitor_server *s = l->server;
    struct connection *c;

    if (status != 0)
        return;
    c = host_alloc(sizeof(*c));
    c->server = s;
    c->next = s->connections;
    s->connections = c;
    init_stream(s, l->is_pipe, &c->handle, c);
    if (uv_accept(stream, &c->handle.stream) != 0) {
        c->closing = true;
        uv_close((uv_handle_t *)&c->handle, connection_closed);
        return;
    }
    if (!l->is_pipe)
        uv_tcp_nodelay(&c->handle.tcp, 1);
    monitor_client_begin(&c->client, s->machine, s->tools, -1, send_to_socket, c);
    uv_read_start(&c->handle.stream, give_buffer, received);
}

bool monitor_server_listen(struct monitor_server *s, const char *address, struct error *err)
{
    struct socket_address a;
    struct listener *l;
    int status;

    if (!socket_address_parse(address, &a, err))
        return false;
    l = host_alloc(sizeof(*l));
    l->server = s;
    l->is_pipe = a.is_pipe;
    l->next = s->listeners;
    s->listeners = l;
    init_stream(s, a.is_pipe, &l->handle, l);
    status = socket_address_bind(&a, &l->handle.stream);
    if (status == 0 && a.is_pipe)
        strcpy(l->path, a.path);
    if (status == 0)
        status = uv_listen(&l->handle.stream, 8, on_connection);
    return status == 0 || error_set(err, "-monitor %s: %s", address, uv_strerror(status));
}

/* --- Terminals --- */

static void backend_input(void *opaque, const void *bytes, size_t count)
{
    struct connection *c = opaque;

    if (!c->closing)
        take_input(c, bytes, count);
}

static struct connection *find_connection(struct monitor_server *s, const struct backend *b)
{
    for (struct connection *c = s->connections; c != NULL; c = c->next)
        if (c->backend == b)
            return c;
    return NULL;
}

void monitor_server_toggle(struct monitor_server *s, struct backend *b)
{
    struct connection *c = find_connection(s, b);

    if (c == NULL) {
        c = host_alloc(sizeof(*c));
        c->server = s;
        c->backend = b;
        c->next = s->connections;
        s->connections = c;
        backend_divert(b, backend_input, c);
        monitor_client_begin(&c->client, s->machine, s->tools, backend_terminal(b), send_to_backend,
                             c);
    } else if (b->diverted != NULL) {
        monitor_client_leave(&c->client);
        backend_divert(b, NULL, NULL);
        backend_write(b, "\n", 1);
    } else {
        backend_divert(b, backend_input, c);
        backend_write(b, "\n", 1);
        monitor_client_enter(&c->client);
    }
}

/* --- The machine --- */

/* On the run loop's thread, with the device lock held. */
static void machine_parked(void *opaque)
{
    struct monitor_server *s = opaque;

    uv_async_send(&s->parked);
}

static void on_parked(uv_async_t *async)
{
    struct monitor_server *s = async->data;

    for (struct connection *c = s->connections; c != NULL; c = c->next) {
        if (!c->closing)
            monitor_client_parked(&c->client);
    }
}

struct monitor_server *monitor_server_create(uv_loop_t *loop, struct machine *machine,
                                             const struct report_tools *tools)
{
    struct monitor_server *s = host_alloc(sizeof(*s));

    s->loop = loop;
    s->machine = machine;
    s->tools = tools;
    uv_async_init(loop, &s->parked, on_parked);
    s->parked.data = s;
    uv_timer_init(loop, &s->tick);
    s->tick.data = s;
    s->handles = 2;
    machine_debug_attach(machine, MACHINE_TOOL_MONITOR, machine_parked, s);
    return s;
}

void monitor_server_ended(struct monitor_server *s, const char *text)
{
    if (s == NULL)
        return;
    for (struct connection *c = s->connections; c != NULL; c = c->next) {
        if (!c->closing)
            monitor_client_ended(&c->client, text);
    }
}

void monitor_server_stop(struct monitor_server *s)
{
    struct connection *c;

    if (s == NULL)
        return;
    s->stopping = true;
    machine_debug_detach(s->machine, MACHINE_TOOL_MONITOR);
    for (struct connection **p = &s->connections; (c = *p) != NULL;) {
        disconnect(c);
        if (c->backend == NULL) {
            p = &c->next;
            continue;
        }
        *p = c->next;
        backend_divert(c->backend, NULL, NULL);
        free(c);
    }
    for (struct listener *l = s->listeners, *after; l != NULL; l = after) {
        after = l->next;
        if (l->path[0] != '\0')
            unlink(l->path);
        uv_close((uv_handle_t *)&l->handle, listener_closed);
    }
    s->listeners = NULL;
    uv_close((uv_handle_t *)&s->parked, async_closed);
    uv_close((uv_handle_t *)&s->tick, async_closed);
}
