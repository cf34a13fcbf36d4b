#include "frontend/backend.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define FLUSH_INTERVAL_MS 10
#define CLOSE_PATIENCE_MS 5000

/* --- Output --- */

static bool writable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, timeout_ms) == 1;
}

/* Writes what the descriptor takes without blocking; returns how many bytes are done with. A pipe
 * that polls as writable takes PIPE_BUF (4096) bytes. */
static size_t write_some(struct backend *b, const uint8_t *bytes, size_t count, int timeout_ms)
{
    size_t done = 0;

    while (done < count && !b->broken) {
        ssize_t n;

        if (!writable(b->out, timeout_ms))
            break;
        n = write(b->out, bytes + done, MIN(count - done, 4096));
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n < 0 && errno != EINTR)
            b->broken = true;
    }
    return b->broken ? count : done;
}

static void enqueue(struct backend *b, const uint8_t *bytes, size_t count)
{
    if (b->spec.kind == BACKEND_PTY || b->queue_count + count > BACKEND_QUEUE_MAX) {
        b->dropped += count; /* nobody looks at the pty */
        return;
    }
    if (b->queue_count + count > b->queue_size) {
        b->queue_size = MAX(2 * b->queue_size, b->queue_count + count + 4096);
        b->queue = realloc(b->queue, b->queue_size);
        CHECK(b->queue != NULL);
    }
    memcpy(b->queue + b->queue_count, bytes, count);
    b->queue_count += count;
}

static void backend_send(struct chardev *c, const uint8_t *bytes, size_t count)
{
    struct backend *b = container_of(c, struct backend, chardev);
    size_t done = 0;

    atomic_fetch_add_explicit(&b->sent, count, memory_order_relaxed);
    if (b->log >= 0 && write(b->log, bytes, count) < 0)
        b->log_failed = true;
    if (b->out < 0 || b->broken)
        return;
    if (b->queue_count == 0)
        done = write_some(b, bytes, count, 0);
    if (done == count)
        return;
    enqueue(b, bytes + done, count - done);
    if (b->handles)
        uv_async_send(&b->wake);
}

void backend_write(struct backend *b, const void *bytes, size_t count)
{
    if (b->machine != NULL)
        machine_lock(b->machine);
    backend_send(&b->chardev, bytes, count);
    if (b->machine != NULL)
        machine_unlock(b->machine);
}

/* Device lock held, or no machine. */
static void drain(struct backend *b, int timeout_ms)
{
    size_t done;

    if (b->queue_count == 0)
        return;
    done = write_some(b, b->queue, b->queue_count, timeout_ms);
    memmove(b->queue, b->queue + done, b->queue_count - done);
    b->queue_count -= done;
}

/* --- Input --- */

static void on_readable(uv_poll_t *handle, int status, int events);
static void on_idle(uv_idle_t *handle);

static void read_start(struct backend *b)
{
    if (b->reading || !atomic_load(&b->input_open))
        return;
    b->reading = true;
    if (b->pollable)
        uv_poll_start(&b->poll, UV_READABLE, on_readable);
    else
        uv_idle_start(&b->idle, on_idle);
}

static void read_stop(struct backend *b)
{
    if (!b->reading)
        return;
    b->reading = false;
    if (b->pollable)
        uv_poll_stop(&b->poll);
    else
        uv_idle_stop(&b->idle);
}

static void input_end(struct backend *b)
{
    read_stop(b);
    atomic_store(&b->input_open, false);
    machine_kick(b->machine);
}

/* Hands the device what it can take. */
static void deliver(struct backend *b)
{
    struct chardev *c = &b->chardev;
    size_t n = 0;

    if (b->input_count == 0)
        return;
    machine_lock(b->machine);
    if (c->receive != NULL) {
        n = MIN(c->can_receive(c->device), b->input_count);
        if (n > 0)
            c->receive(c->device, b->input, n);
    } else {
        n = b->input_count; /* nobody listens */
    }
    machine_unlock(b->machine);
    memmove(b->input, b->input + n, b->input_count - n);
    b->input_count -= (unsigned)n;
}

static void take_byte(struct backend *b, uint8_t byte)
{
    enum key_action action = KEY_BYTE;

    if (b->spec.mux)
        action = keys_filter(&b->keys, &byte);
    if (action == KEY_BYTE && b->diverted != NULL)
        b->diverted(b->diverted_opaque, &byte, 1);
    else if (action == KEY_BYTE && b->input_count < BACKEND_INPUT_MAX)
        b->input[b->input_count++] = byte;
    else if (action > KEY_BYTE && b->key != NULL)
        b->key(b->opaque, b, action);
}

static void read_input(struct backend *b)
{
    uint8_t buffer[256];
    size_t room = sizeof(buffer);
    ssize_t n;

    if (!b->terminal)
        room = MIN(room, BACKEND_INPUT_MAX - b->input_count);
    n = read(b->in, buffer, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        input_end(b);
        return;
    }
    for (ssize_t k = 0; k < n; k++)
        take_byte(b, buffer[k]);
    deliver(b);
    if (b->input_count > 0 && !b->terminal)
        read_stop(b);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct backend *b = handle->data;

    (void)events;
    if (status < 0)
        input_end(b);
    else
        read_input(b);
}

static void on_idle(uv_idle_t *handle)
{
    read_input(handle->data);
}

void backend_divert(struct backend *b, void (*input)(void *opaque, const void *bytes, size_t count),
                    void *opaque)
{
    b->diverted = input;
    b->diverted_opaque = opaque;
}

int backend_terminal(const struct backend *b)
{
    return b->terminal ? b->in : b->spec.kind == BACKEND_PTY ? b->slave : -1;
}

static void on_flush(uv_timer_t *timer)
{
    struct backend *b = timer->data;

    machine_lock(b->machine);
    drain(b, 0);
    if (b->queue_count == 0)
        uv_timer_stop(timer);
    machine_unlock(b->machine);
}

/* ready or send asked for a look. */
static void on_wake(uv_async_t *async)
{
    struct backend *b = async->data;

    deliver(b);
    if (b->input_count == 0)
        read_start(b);
    machine_lock(b->machine);
    if (b->queue_count > 0 && !uv_is_active((uv_handle_t *)&b->flush))
        uv_timer_start(&b->flush, on_flush, 0, FLUSH_INTERVAL_MS);
    machine_unlock(b->machine);
}

static void backend_ready(struct chardev *c)
{
    struct backend *b = container_of(c, struct backend, chardev);

    if (b->handles)
        uv_async_send(&b->wake);
}

/* --- Life --- */

/* -1 and err if it cannot be opened. */
static int open_file(const char *path, bool append, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);

    if (fd < 0)
        error_set(err, "cannot write %s: %s", path, strerror(errno));
    return fd;
}

static bool open_pty(struct backend *b, const char *label, struct error *err)
{
    struct termios t;
    const char *name;

    b->in = b->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    b->own_fds = true;
    if (b->in < 0 || grantpt(b->in) != 0 || unlockpt(b->in) != 0 || (name = ptsname(b->in)) == NULL)
        return error_set(err, "%s: no pseudo-terminal: %s", label, strerror(errno));
    b->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (b->slave < 0 || tcgetattr(b->slave, &t) != 0)
        return error_set(err, "%s: %s: %s", label, name, strerror(errno));
    cfmakeraw(&t);
    tcsetattr(b->slave, TCSANOW, &t);
    fcntl(b->in, F_SETFL, O_NONBLOCK);
    fprintf(stderr, "gnomon: %s is %s\n", label, name);
    return true;
}

static void open_stdio(struct backend *b)
{
    b->in = STDIN_FILENO;
    b->out = STDOUT_FILENO;
    b->terminal = isatty(b->in);
}

bool backend_open(struct backend *b, const struct backend_spec *spec, const char *label,
                  struct error *err)
{
    memset(b, 0, sizeof(*b));
    b->spec = *spec;
    b->in = b->out = b->slave = b->log = -1;
    b->chardev.send = backend_send;
    b->chardev.ready = backend_ready;
    switch (spec->kind) {
    case BACKEND_FILE:
        b->own_fds = true;
        b->out = open_file(spec->path, spec->append, err);
        if (b->out < 0)
            return false;
        break;
    case BACKEND_PTY:
        if (!open_pty(b, label, err))
            return false;
        break;
    case BACKEND_STDIO:
        open_stdio(b);
        break;
    default:
        break;
    }
    atomic_store(&b->input_open, b->in >= 0);
    if (spec->log != NULL)
        b->log = open_file(spec->log, spec->log_append, err);
    return spec->log == NULL || b->log >= 0;
}

/* Files and devices like /dev/null cannot be polled, only read. A terminal in the background must
 * not be read at all. */
static void input_init(struct backend *b)
{
    struct stat st;
    int flags = fcntl(b->in, F_GETFL);

    b->pollable = fstat(b->in, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) &&
                  uv_poll_init(b->loop, &b->poll, b->in) == 0;
    fcntl(b->in, F_SETFL, flags); /* libuv made it non-blocking, also for those who share it */
    if (b->spec.kind == BACKEND_STDIO && b->terminal && tcgetpgrp(b->in) != getpgrp())
        atomic_store(&b->input_open, false);
}

void backend_start(struct backend *b, uv_loop_t *loop, struct machine *machine,
                   void (*key)(void *opaque, struct backend *b, enum key_action action),
                   void *opaque)
{
    b->loop = loop;
    b->machine = machine;
    b->key = key;
    b->opaque = opaque;
    if (b->in >= 0 && atomic_load(&b->input_open))
        input_init(b);
    uv_idle_init(loop, &b->idle);
    uv_timer_init(loop, &b->flush);
    uv_async_init(loop, &b->wake, on_wake);
    b->poll.data = b->idle.data = b->flush.data = b->wake.data = b;
    machine_lock(machine);
    b->handles = true;
    machine_unlock(machine);
    read_start(b);
}

void backend_stop(struct backend *b)
{
    if (!b->handles)
        return;
    machine_lock(b->machine);
    b->handles = false;
    machine_unlock(b->machine);
    read_stop(b);
    if (b->pollable)
        uv_close((uv_handle_t *)&b->poll, NULL);
    uv_close((uv_handle_t *)&b->idle, NULL);
    uv_close((uv_handle_t *)&b->flush, NULL);
    uv_close((uv_handle_t *)&b->wake, NULL);
}

void backend_close(struct backend *b)
{
    drain(b, CLOSE_PATIENCE_MS);
    b->dropped += b->queue_count;
    if (b->dropped > 0 && b->spec.kind != BACKEND_PTY)
        fprintf(stderr, "gnomon: %llu bytes of output were dropped: nobody read them\n",
                (unsigned long long)b->dropped);
    if (b->log_failed)
        fprintf(stderr, "gnomon: %s could not be written\n", b->spec.log);
    free(b->queue);
    b->queue = NULL;
    b->queue_count = b->queue_size = 0;
    if (b->own_fds && b->in >= 0)
        close(b->in);
    if (b->own_fds && b->out >= 0 && b->out != b->in)
        close(b->out);
    if (b->slave >= 0)
        close(b->slave);
    if (b->log >= 0)
        close(b->log);
    b->in = b->out = b->slave = b->log = -1;
}
