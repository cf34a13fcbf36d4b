#include "frontend/gdb_server.h"

#include "base/check.h"
#include "base/host/host.h"
#include "machine/debug.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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
    unsigned handles;                                       /* not yet closed */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of the socket, to be removed */
    struct machine *machine;
    const struct report_tools *tools;
    struct gdb_session session;
    char input[4096];
};

struct address {
    bool is_pipe;
    char host[64];
    int port;
    const char *path;
};

/* "tcp:[HOST]:PORT", "unix:PATH"; options that QEMU knows may follow a comma: server, wait. */
static bool parse_address(const char *text, struct address *a, struct error *err)
{
    const char *colon;
    char *end;
    long port;

    *a = (struct address){.path = text + 5};
    if (strncmp(text, "unix:", 5) == 0) {
        a->is_pipe = true;
        if (*a->path == '\0' || strlen(a->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return error_set(err, "'%s': a path of 1 to %zu bytes follows unix:", text,
                             sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
        return true;
    }
    colon = strrchr(text, ':');
    if (strncmp(text, "tcp:", 4) != 0 || colon == NULL || colon < text + 4)
        return error_set(err, "'%s': expected tcp:[HOST]:PORT or unix:PATH", text);
    if ((size_t)(colon - text - 4) >= sizeof(a->host))
        return error_set(err, "'%s': the host's name is too long", text);
    memcpy(a->host, text + 4, (size_t)(colon - text - 4));
    port = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || (*end != '\0' && *end != ',') || port < 1 || port > 65535)
        return error_set(err, "'%s': a port from 1 to 65535 follows the last colon", text);
    a->port = (int)port;
    if (a->host[0] == '\0')
        strcpy(a->host, "127.0.0.1");
    if (strcmp(a->host, "localhost") == 0)
        strcpy(a->host, "127.0.0.1");
    return true;
}

bool gdb_server_check(const char *address, struct error *err)
{
    struct address a;

    return parse_address(address, &a, err);
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
    machine_debug_detach(g->machine);
    gdb_session_end(&g->session);
    if (!g->stopping)
        machine_continue(g->machine);
    uv_close((uv_handle_t *)&g->client, handle_closed);
}

struct output {
    uv_write_t request;
    char bytes[];
};

static void sent(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void send_bytes(void *opaque, const void *bytes, size_t count)
{
    struct gdb_server *g = opaque;
    struct output *o;
    uv_buf_t buffer;

    if (g->closing || count == 0)
        return;
    o = host_alloc(sizeof(*o) + count);
    memcpy(o->bytes, bytes, count);
    buffer = uv_buf_init(o->bytes, (unsigned)count);
    if (uv_write(&o->request, &g->client.stream, &buffer, 1, sent) != 0)
        free(o);
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
    machine_debug_attach(g->machine, machine_parked, g);
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

static int bind_listener(struct gdb_server *g, const struct address *a)
{
    struct sockaddr_in in;
    int status;

    if (a->is_pipe) {
        status = uv_pipe_bind(&g->listener.pipe, a->path);
        if (status == 0)
            strcpy(g->path, a->path);
        return status;
    }
    status = uv_ip4_addr(a->host, a->port, &in);
    return status != 0 ? status : uv_tcp_bind(&g->listener.tcp, (const struct sockaddr *)&in, 0);
}

struct gdb_server *gdb_server_start(uv_loop_t *loop, const char *address, struct machine *machine,
                                    const struct report_tools *tools, struct error *err)
{
    struct gdb_server *g;
    struct address a;
    int status;

    if (!parse_address(address, &a, err))
        return NULL;
    g = host_alloc(sizeof(*g));
    g->is_pipe = a.is_pipe;
    g->machine = machine;
    g->tools = tools;
    init_stream(g, loop, &g->listener.stream);
    uv_async_init(loop, &g->parked, on_parked);
    g->parked.data = g;
    g->handles++;
    status = bind_listener(g, &a);
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
