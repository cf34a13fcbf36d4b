#include "frontend/socket_address.h"

#include "base/host/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(SOCKET_PATH_SIZE <= sizeof(((struct sockaddr_un *)0)->sun_path), "too long");

bool socket_address_parse(const char *text, struct socket_address *a, struct error *err)
{
    const char *colon;
    char *end;
    long port;

    *a = (struct socket_address){.is_pipe = strncmp(text, "unix:", 5) == 0};
    if (a->is_pipe) {
        if (text[5] == '\0' || strlen(text + 5) >= sizeof(a->path))
            return error_set(err, "'%s': a path of 1 to %zu bytes follows unix:", text,
                             sizeof(a->path) - 1);
        strcpy(a->path, text + 5);
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
    if (a->host[0] == '\0' || strcmp(a->host, "localhost") == 0)
        strcpy(a->host, "127.0.0.1");
    return true;
}

/* A socket that a process left behind when it died: nobody answers there. */
static bool is_stale(const struct socket_address *a)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale;

    strcpy(un.sun_path, a->path);
    stale = fd >= 0 && connect(fd, (const struct sockaddr *)&un, sizeof(un)) != 0 &&
            errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

int socket_address_bind(const struct socket_address *a, uv_stream_t *stream)
{
    struct sockaddr_in in;
    int status;

    if (a->is_pipe) {
        status = uv_pipe_bind((uv_pipe_t *)stream, a->path);
        if (status != UV_EADDRINUSE || !is_stale(a) || unlink(a->path) != 0)
            return status;
        return uv_pipe_bind((uv_pipe_t *)stream, a->path);
    }
    status = uv_ip4_addr(a->host, a->port, &in);
    return status != 0 ? status : uv_tcp_bind((uv_tcp_t *)stream, (const struct sockaddr *)&in, 0);
}

/* --- Sending --- */

struct output {
    uv_write_t request;
    char bytes[];
};

static void sent(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

void socket_send(uv_stream_t *stream, const void *bytes, size_t count)
{
    struct output *o = host_alloc(sizeof(*o) + count);
    uv_buf_t buffer;

    memcpy(o->bytes, bytes, count);
    buffer = uv_buf_init(o->bytes, (unsigned)count);
    if (uv_write(&o->request, stream, &buffer, 1, sent) != 0)
        free(o);
}
