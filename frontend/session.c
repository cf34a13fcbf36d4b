/*
 * One run of the program: options, back ends, machine, event loop, and the end with its report and
 * exit status.
 */
#include "frontend/session.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/host/host.h"
#include "base/log.h"
#include "frontend/backend.h"
#include "frontend/disassemble.h"
#include "frontend/exit_codes.h"
#include "frontend/gdb_server.h"
#include "frontend/monitor_server.h"
#include "frontend/options.h"
#include "frontend/terminal.h"
#include "machine/machine.h"
#include "machine/report.h"
#include "machine/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* The date that a deterministic machine shows at start: 2024-01-01. */
#define DETERMINISTIC_EPOCH 1704067200

/* Serial ports, the debug console, monitors. */
#define BACKEND_DEBUGCON MACHINE_SERIAL_COUNT
#define BACKEND_MONITOR  (BACKEND_DEBUGCON + 1)
#define BACKEND_COUNT    (BACKEND_MONITOR + OPTIONS_MONITOR_MAX)

#define SILENCE_TICKS 4

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT, SIGUSR1, SIGUSR2};

struct session {
    struct options options;
    struct log log;
    FILE *log_stream; /* -D; NULL: standard error */
    bool pidfile_written;
    struct backend backends[BACKEND_COUNT];
    bool backend_used[BACKEND_COUNT];
    struct machine *machine;
    struct symbols *symbols;
    struct report_tools tools;
    struct machine_result result;
    uint64_t start_ns; /* host time at which the machine began to run */

    uv_loop_t loop;
    uv_signal_t signals[ARRAY_SIZE(watched_signals)];
    uv_timer_t timeout;       /* --timeout */
    uv_timer_t patience;      /* deterministic: bounds machine_host.wait */
    uv_timer_t silence;       /* --silence */
    uint64_t sent;            /* bytes of output at the last look of `silence` */
    unsigned silent;          /* its ticks since then */
    atomic_bool silence_told; /* the report asked for is about a silence */
    struct gdb_server *gdb;   /* NULL: no -gdb */
    struct monitor_server *monitors;
    uv_async_t done; /* parallel: the vCPU thread has ended */
    bool loop_open;
    pthread_t vcpu_thread;
};

/* --- Back ends --- */

/* Opens back end n; *out is its chardev, or NULL for none. */
static bool open_backend(struct session *s, unsigned n, const struct backend_spec *spec,
                         const char *label, struct chardev **out, struct error *err)
{
    *out = NULL;
    if (spec->kind == BACKEND_NAMED)
        spec = options_chardev(&s->options, spec->path, err);
    if (spec == NULL)
        return false;
    if (spec->kind == BACKEND_NONE)
        return true;
    if (spec->kind == BACKEND_SOCKET)
        return error_set(err, "%s: sockets are there for monitors only", label);
    if (!backend_open(&s->backends[n], spec, label, err)) {
        backend_close(&s->backends[n]);
        return false;
    }
    if (n == BACKEND_DEBUGCON && !s->backends[n].own_fds)
        atomic_store(&s->backends[n].input_open, false); /* output only: leave input to a port */
    s->backends[n].serial = n;
    s->backends[n].keys.escape = s->options.escape;
    s->backend_used[n] = true;
    *out = &s->backends[n].chardev;
    return true;
}

static bool monitor_has_stdio(const struct options *o)
{
    for (unsigned n = 0; n < o->monitor_count; n++) {
        if (o->monitors[n].kind == BACKEND_STDIO)
            return true;
    }
    return false;
}

/* Without -serial the first port goes to the terminal: there is no window yet. */
static void default_serial(struct options *o)
{
    if (o->serial_count > 0 || o->no_defaults)
        return;
    o->serial_count = 1;
    if (monitor_has_stdio(o)) {
        o->serial[0].kind = BACKEND_NULL;
        return;
    }
    if (o->nographic || !o->display_none)
        o->serial[0] = (struct backend_spec){.kind = BACKEND_STDIO, .mux = true};
    else
        o->serial[0].kind = BACKEND_NULL;
    if (!o->nographic && !o->display_none)
        fprintf(stderr, "gnomon: there is no window yet: going on as with -nographic\n");
}

/* Those that have a back end of their own, which is no socket; NULL for others. */
static const struct backend_spec *own_monitor(const struct options *o, unsigned n)
{
    const struct backend_spec *spec = &o->monitors[n];

    if (options_monitor_shared(o, spec))
        return NULL;
    if (spec->kind == BACKEND_NAMED)
        spec = options_chardev(o, spec->path, NULL);
    return spec == NULL || spec->kind == BACKEND_SOCKET || spec->kind == BACKEND_NULL ? NULL : spec;
}

static bool open_monitors(struct session *s, unsigned *readers, struct error *err)
{
    for (unsigned n = 0; n < s->options.monitor_count; n++) {
        const struct backend_spec *spec = own_monitor(&s->options, n);
        struct chardev *unused;

        if (spec == NULL)
            continue;
        if (!open_backend(s, BACKEND_MONITOR + n, spec, "monitor", &unused, err))
            return false;
        *readers += spec->kind == BACKEND_STDIO;
    }
    return true;
}

static bool open_backends(struct session *s, struct error *err)
{
    static const char *const labels[] = {"serial port 1", "serial port 2", "serial port 3",
                                         "serial port 4"};
    struct options *o = &s->options;
    const struct backend_spec *spec;
    unsigned readers = 0;

    default_serial(o);
    for (unsigned n = 0; n < o->serial_count; n++) {
        if (!open_backend(s, n, &o->serial[n], labels[n], &o->machine.serial[n], err))
            return false;
        spec = &s->backends[n].spec;
        readers += s->backend_used[n] && spec->kind == BACKEND_STDIO;
    }
    if (!open_monitors(s, &readers, err))
        return false;
    if (readers > 1)
        return error_set(err, "-serial: only one port can use stdio, or one monitor");
    return open_backend(s, BACKEND_DEBUGCON, &o->debugcon, "debug console", &o->machine.debugcon,
                        err);
}

static struct backend *terminal_backend(struct session *s)
{
    for (unsigned n = 0; n < BACKEND_COUNT; n++) {
        if (s->backend_used[n] && s->backends[n].spec.kind == BACKEND_STDIO &&
            n != BACKEND_DEBUGCON)
            return &s->backends[n];
    }
    return NULL;
}

/* machine_host.input_possible; any thread. */
static bool input_possible(void *opaque)
{
    struct session *s = opaque;

    for (unsigned n = 0; n < MACHINE_SERIAL_COUNT; n++) {
        if (s->backend_used[n] && atomic_load(&s->backends[n].input_open))
            return true;
    }
    return false;
}

/* --- Events --- */

static void toggle_pause(struct session *s)
{
    bool stopped = machine_stopped(s->machine);

    fprintf(stderr, "\r\ngnomon: %s\r\n", stopped ? "continued" : "stopped");
    if (stopped)
        machine_continue(s->machine);
    else
        machine_stop(s->machine);
}

static void on_key(void *opaque, struct backend *b, enum key_action action)
{
    struct session *s = opaque;

    switch (action) {
    case KEY_QUIT:
        machine_quit(s->machine, MACHINE_END_QUIT, 0);
        break;
    case KEY_HELP:
        fputs(keys_help, stderr);
        break;
    case KEY_BREAK:
        machine_send_break(s->machine, b->serial);
        break;
    case KEY_MONITOR:
        if (b->serial < MACHINE_SERIAL_COUNT)
            monitor_server_toggle(s->monitors, b);
        break;
    case KEY_PAUSE:
        toggle_pause(s);
        break;
    case KEY_REPORT:
        machine_look(s->machine);
        break;
    case KEY_NONE:
    case KEY_BYTE:
        break;
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct session *s = handle->data;

    if (number == SIGCONT)
        terminal_again();
    else if (number == SIGUSR1)
        machine_continue(s->machine);
    else if (number == SIGUSR2)
        machine_look(s->machine);
    else
        machine_quit(s->machine, MACHINE_END_INTERRUPTED, (uint32_t)number);
}

/* machine_host.look: somebody wants to know where the guest is. */
static void host_look(void *opaque)
{
    struct session *s = opaque;
    char place[128];

    machine_describe_place(s->machine, s->symbols, place, sizeof(place));
    if (atomic_exchange(&s->silence_told, false))
        fprintf(stderr, "gnomon: no output for %g s (--silence)\n",
                (double)s->options.silence_ns / 1e9);
    machine_report(s->machine, stderr, &s->tools);
    fprintf(stderr, "gnomon: the guest is at %s\n", place);
}

/* A person who sits at a terminal sees the silence. */
static bool watches_silence(struct session *s)
{
    bool output = false;

    for (unsigned n = 0; n < BACKEND_COUNT; n++) {
        if (!s->backend_used[n])
            continue;
        if (s->backends[n].terminal || s->backends[n].spec.kind == BACKEND_PTY)
            return false;
        output = true;
    }
    return output && s->options.silence_ns > 0;
}

/* SILENCE_TICKS times in the time that is too long a silence: one report each. */
static void on_silence(uv_timer_t *timer)
{
    struct session *s = timer->data;
    uint64_t sent = 0;

    for (unsigned n = 0; n < BACKEND_COUNT; n++)
        sent += atomic_load_explicit(&s->backends[n].sent, memory_order_relaxed);
    if (sent != s->sent || machine_stopped(s->machine)) {
        s->sent = sent;
        s->silent = 0;
    } else if (s->silent <= SILENCE_TICKS && ++s->silent == SILENCE_TICKS) {
        atomic_store(&s->silence_told, true);
        machine_look(s->machine);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct session *s = timer->data;

    machine_quit(s->machine, MACHINE_END_TIMEOUT, 0);
}

static void on_patience(uv_timer_t *timer)
{
    (void)timer; /* the loop has come round, that is all */
}

static void on_done(uv_async_t *async)
{
    uv_stop(async->loop);
}

static bool open_monitor_server(struct session *s, struct error *err)
{
    const struct options *o = &s->options;

    s->monitors = monitor_server_create(&s->loop, s->machine, &s->tools);
    for (unsigned n = 0; n < o->monitor_count; n++) {
        const struct backend_spec *spec = &o->monitors[n];

        if (s->backend_used[BACKEND_MONITOR + n])
            monitor_server_toggle(s->monitors, &s->backends[BACKEND_MONITOR + n]);
        if (spec->kind == BACKEND_NAMED)
            spec = options_chardev(o, spec->path, err);
        if (spec == NULL ||
            (spec->kind == BACKEND_SOCKET && !monitor_server_listen(s->monitors, spec->path, err)))
            return false;
    }
    return true;
}

static bool open_loop(struct session *s, struct error *err)
{
    uv_loop_init(&s->loop);
    s->loop_open = true;
    for (unsigned n = 0; n < ARRAY_SIZE(watched_signals); n++) {
        uv_signal_init(&s->loop, &s->signals[n]);
        s->signals[n].data = s;
        uv_signal_start(&s->signals[n], on_signal, watched_signals[n]);
    }
    uv_timer_init(&s->loop, &s->timeout);
    uv_timer_init(&s->loop, &s->patience);
    uv_timer_init(&s->loop, &s->silence);
    uv_async_init(&s->loop, &s->done, on_done);
    s->timeout.data = s;
    if (s->options.timeout_ns > 0)
        uv_timer_start(&s->timeout, on_timeout, (s->options.timeout_ns + 999999) / 1000000, 0);
    s->silence.data = s;
    if (watches_silence(s)) {
        uint64_t ms = MAX(s->options.silence_ns / SILENCE_TICKS / 1000000, 1);

        uv_timer_start(&s->silence, on_silence, ms, ms);
    }
    for (unsigned n = 0; n < BACKEND_COUNT; n++) {
        if (s->backend_used[n])
            backend_start(&s->backends[n], &s->loop, s->machine, on_key, s);
    }
    if (!open_monitor_server(s, err))
        return false;
    if (s->options.gdb == NULL)
        return true;
    s->gdb = gdb_server_start(&s->loop, s->options.gdb, s->machine, &s->tools, err);
    return s->gdb != NULL;
}

static void close_loop(struct session *s)
{
    if (!s->loop_open)
        return;
    for (unsigned n = 0; n < ARRAY_SIZE(watched_signals); n++)
        uv_close((uv_handle_t *)&s->signals[n], NULL);
    uv_close((uv_handle_t *)&s->timeout, NULL);
    uv_close((uv_handle_t *)&s->patience, NULL);
    uv_close((uv_handle_t *)&s->silence, NULL);
    uv_close((uv_handle_t *)&s->done, NULL);
    gdb_server_stop(s->gdb);
    monitor_server_stop(s->monitors);
    for (unsigned n = 0; n < BACKEND_COUNT; n++) {
        if (s->backend_used[n])
            backend_stop(&s->backends[n]);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    s->loop_open = false;
}

/* --- Running --- */

/* machine_host.poll and .wait: deterministic mode runs the loop from inside machine_run. */
static void host_poll(void *opaque)
{
    struct session *s = opaque;

    uv_run(&s->loop, UV_RUN_NOWAIT);
}

static void host_wait(void *opaque, uint64_t ns)
{
    struct session *s = opaque;

    if (ns < 1000000) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        return;
    }
    if (ns != CLOCK_NEVER)
        uv_timer_start(&s->patience, on_patience, ns / 1000000, 0);
    uv_run(&s->loop, UV_RUN_ONCE);
    uv_timer_stop(&s->patience);
}

static void *vcpu_main(void *opaque)
{
    struct session *s = opaque;

    machine_run(s->machine, UINT64_MAX, &s->result);
    uv_async_send(&s->done);
    return NULL;
}

static bool run_parallel(struct session *s, struct error *err)
{
    sigset_t all, old;
    int status;

    sigfillset(&all); /* signals are for this thread */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    status = pthread_create(&s->vcpu_thread, NULL, vcpu_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (status != 0)
        return error_set(err, "no thread for the virtual processor: %s", strerror(status));
    uv_run(&s->loop, UV_RUN_DEFAULT);
    pthread_join(s->vcpu_thread, NULL);
    return true;
}

static bool run(struct session *s, struct error *err)
{
    struct backend *t = terminal_backend(s);
    bool ok = true;

    if (!open_loop(s, err)) {
        close_loop(s);
        return false;
    }
    if (t != NULL)
        terminal_raw(!t->spec.signal);
    if (s->options.start_stopped) {
        fprintf(stderr, "gnomon: stopped (-S); %s%sSIGUSR1 to process %ld%s continues\r\n",
                s->options.gdb != NULL ? "the debugger or " : "",
                s->options.monitor_count > 0 ? "the monitor or " : "", (long)getpid(),
                t != NULL && t->spec.mux ? ", or Ctrl-A p," : "");
        machine_stop(s->machine);
    }
    if (s->options.machine.deterministic)
        machine_run(s->machine, UINT64_MAX, &s->result);
    else
        ok = run_parallel(s, err);
    terminal_restore();
    if (ok)
        monitor_server_ended(s->monitors, s->result.text);
    if (ok)
        gdb_server_ended(s->gdb, exit_status_of(&s->result, machine_gap_count(s->machine)));
    close_loop(s);
    return ok;
}

/* --- Start and end --- */

static uint64_t host_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = host_monotonic_ns();
    return seed;
}

static void complete_config(struct session *s)
{
    struct machine_config *c = &s->options.machine;

    if (!s->options.rtc_given)
        c->rtc_start = c->deterministic ? DETERMINISTIC_EPOCH : host_wall_seconds();
    if (!s->options.seed_given && !c->deterministic)
        c->seed = host_seed();
    c->log = &s->log;
    s->tools = (struct report_tools){.disassemble = disassemble, .symbols = s->symbols};
    c->tools = &s->tools;
    c->host =
        (struct machine_host){.opaque = s, .input_possible = input_possible, .look = host_look};
    if (c->deterministic) {
        c->host.poll = host_poll;
        c->host.wait = host_wait;
    }
}

static bool open_log(struct session *s, struct error *err)
{
    log_init(&s->log);
    s->log.mask = s->options.log_mask;
    if (s->options.log_file == NULL)
        return true;
    s->log_stream = fopen(s->options.log_file, "we");
    if (s->log_stream == NULL)
        return error_set(err, "-D: cannot write %s: %s", s->options.log_file, strerror(errno));
    setvbuf(s->log_stream, NULL, _IOLBF, 1 << 16); /* whole lines, also after a crash */
    s->log.stream = s->log_stream;
    return true;
}

static bool write_pidfile(struct session *s, struct error *err)
{
    FILE *file;

    if (s->options.pidfile == NULL)
        return true;
    file = fopen(s->options.pidfile, "we");
    if (file != NULL && fprintf(file, "%ld\n", (long)getpid()) > 0 && fclose(file) == 0) {
        s->pidfile_written = true;
        return true;
    }
    return error_set(err, "-pidfile: cannot write %s: %s", s->options.pidfile, strerror(errno));
}

/* Everything that can fail because of the user. */
static bool prepare(struct session *s, struct error *err)
{
    if (!open_log(s, err) || !write_pidfile(s, err))
        return false;
    if (s->options.symbols != NULL) {
        s->symbols = symbols_read(s->options.symbols, err);
        if (s->symbols == NULL)
            return error_prefix(err, "-symbols");
    }
    if (!open_backends(s, err))
        return false;
    complete_config(s);
    s->machine = machine_create(&s->options.machine, err);
    if (s->machine == NULL)
        return false;
    if (s->options.trace_filter == NULL)
        return true;
    if (!machine_trace_mmu(s->machine, s->options.trace_filter, s->options.trace_file,
                           s->options.trace_format, err))
        return error_prefix(err, "-trace");
    return true;
}

static void finish(struct session *s)
{
    struct error err = {0};

    for (unsigned n = 0; n < BACKEND_COUNT; n++) {
        if (s->backend_used[n])
            backend_close(&s->backends[n]);
    }
    if (s->machine != NULL && !machine_trace_end(s->machine, &err))
        fprintf(stderr, "gnomon: -trace: %s\n", err.text);
    machine_destroy(s->machine);
    symbols_destroy(s->symbols);
    if (s->log_stream != NULL)
        fclose(s->log_stream);
    if (s->pidfile_written)
        unlink(s->options.pidfile);
    options_destroy(&s->options);
}

/* Ends that leave a question behind get a report. */
static bool wants_report(enum machine_end end)
{
    return end == MACHINE_END_TRIPLE_FAULT || end == MACHINE_END_HALTED ||
           end == MACHINE_END_TIMEOUT || end == MACHINE_END_GUEST_TIMEOUT ||
           end == MACHINE_END_PANIC || end == MACHINE_END_BROKEN;
}

/* Says on standard error why the run ended. */
static int tell_end(struct session *s)
{
    const struct machine_result *r = &s->result;
    char place[128] = "";

    if (wants_report(r->end)) {
        machine_report(s->machine, stderr, &s->tools);
        machine_describe_place(s->machine, s->symbols, place, sizeof(place));
    }
    machine_report_gaps(s->machine, stderr);
    if (log_on(&s->log, LOG_STATS))
        machine_report_stats(s->machine, s->log.stream);
    if (log_on(&s->log, LOG_MMU_STATS))
        machine_report_mmus(s->machine, s->log.stream);
    if (r->end != MACHINE_END_POWER_OFF)
        fprintf(stderr, "gnomon: %s%s%s%s%s\n", s->options.name != NULL ? s->options.name : "",
                s->options.name != NULL ? ": " : "", r->text, place[0] != '\0' ? ", at " : "",
                place);
    return exit_status_of(r, machine_gap_count(s->machine));
}

/* A stream that is closed would become the first file that is opened. */
static void fill_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int session_main(int argc, char *const *argv)
{
    struct session *s = host_alloc(sizeof(*s));
    struct error err = {0};
    int status = EXIT_STATUS_USAGE;

    fill_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    if (!options_parse(&s->options, argc, argv, stdout, &err)) {
        fprintf(stderr, "gnomon: %s\n", err.text);
    } else if (s->options.done) {
        status = fflush(stdout) == 0 ? EXIT_STATUS_SUCCESS : EXIT_STATUS_INTERNAL;
    } else if (!prepare(s, &err)) {
        fprintf(stderr, "gnomon: %s\n", err.text);
    } else if (!run(s, &err)) {
        fprintf(stderr, "gnomon: %s\n", err.text);
        status = EXIT_STATUS_INTERNAL;
    } else {
        status = tell_end(s);
    }
    finish(s);
    free(s);
    return status;
}
