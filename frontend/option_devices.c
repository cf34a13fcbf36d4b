/* Options of the group "Terminal and devices". */
#include "base/bits.h"
#include "frontend/option_handlers.h"
#include "frontend/properties.h"
#include "frontend/socket_address.h"
#include "frontend/values.h"

#include <string.h>

#define WORD_SIZE 64

#define PVPANIC_PORT 0x505

/* --- Back ends --- */

static const char *backend_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"stdio", "mon:stdio", "file:PATH", "pty",
                                        "null",  "none",      "chardev:ID"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

/* The word before ':' of back ends that other programs have. */
static bool backend_is_elsewhere(const char *value)
{
    char word[WORD_SIZE];

    snprintf(word, sizeof(word), "%.*s", (int)MIN(strcspn(value, ":"), sizeof(word) - 1), value);
    return word_in(word, "tcp|udp|telnet|websocket|unix|pipe|vc|tty|socket|msmouse|braille|parport"
                         "|spicevmc|ringbuf|serial");
}

bool options_parse_backend(const char *what, const char *value, struct backend_spec *spec,
                           struct error *err)
{
    static const struct {
        const char *word;
        bool prefix; /* the rest is the path */
        struct backend_spec spec;
    } rows[] = {
        {"stdio", false, {.kind = BACKEND_STDIO, .signal = true}},
        {"mon:stdio", false, {.kind = BACKEND_STDIO, .mux = true}},
        {"file:", true, {.kind = BACKEND_FILE}},
        {"pty", false, {.kind = BACKEND_PTY}},
        {"null", false, {.kind = BACKEND_NULL}},
        {"none", false, {.kind = BACKEND_NONE}},
        {"/dev/null", false, {.kind = BACKEND_NULL}},
        {"chardev:", true, {.kind = BACKEND_NAMED}},
    };

    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        size_t length = strlen(rows[n].word);

        if (rows[n].prefix ? strncmp(value, rows[n].word, length) != 0
                           : strcmp(value, rows[n].word) != 0)
            continue;
        *spec = rows[n].spec;
        if (rows[n].prefix)
            spec->path = value + length;
        if (rows[n].prefix && value[length] == '\0')
            return error_set(err, "%s: nothing follows '%s'", what, value);
        return true;
    }
    if (backend_is_elsewhere(value))
        return error_set(err,
                         "%s: '%s' is not there yet; valid: stdio, mon:stdio, file:PATH, pty, "
                         "null, none, chardev:ID",
                         what, value);
    return value_unknown(err, what, value, backend_word, NULL);
}

bool opt_nographic(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->nographic = true;
    return true;
}

bool opt_display(struct options *o, const char *value, struct error *err)
{
    if (strcmp(value, "none") != 0)
        return error_set(err, "-display: '%s' is not there yet; valid: none", value);
    o->display_none = true;
    return true;
}

bool opt_nodefaults(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->no_defaults = true;
    return true;
}

static struct backend_spec *next_serial(struct options *o, struct error *err)
{
    if (o->serial_count < MACHINE_SERIAL_COUNT)
        return &o->serial[o->serial_count++];
    error_set(err, "-serial: a PC has %d serial ports at most", MACHINE_SERIAL_COUNT);
    return NULL;
}

bool opt_serial(struct options *o, const char *value, struct error *err)
{
    struct backend_spec *spec = next_serial(o, err);

    return spec != NULL && options_parse_backend("-serial", value, spec, err);
}

bool opt_debugcon(struct options *o, const char *value, struct error *err)
{
    o->machine.debugcon_port = 0xe9;
    return options_parse_backend("-debugcon", value, &o->debugcon, err);
}

bool opt_echr(struct options *o, const char *value, struct error *err)
{
    uint64_t byte;

    if (!value_number("-echr", value, 255, &byte, err))
        return false;
    o->escape = (uint8_t)byte;
    return true;
}

/* --- -chardev: the properties go to the last one --- */

static struct named_backend *last_chardev(struct options *o)
{
    return &o->chardevs[o->chardev_count - 1];
}

static bool set_chardev_id(struct options *o, const char *what, const char *value,
                           struct error *err)
{
    (void)what, (void)err;
    last_chardev(o)->id = options_own(o, value);
    return true;
}

static bool set_chardev_path(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)what, (void)err;
    last_chardev(o)->spec.path = options_own(o, value);
    return true;
}

static bool set_chardev_host(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)what, (void)err;
    last_chardev(o)->host = options_own(o, value);
    return true;
}

static bool set_chardev_port(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)what, (void)err;
    last_chardev(o)->port = options_own(o, value);
    return true;
}

static bool set_chardev_server(struct options *o, const char *what, const char *value,
                               struct error *err)
{
    return value_switch(what, value, &last_chardev(o)->server, err);
}

static bool set_chardev_mux(struct options *o, const char *what, const char *value,
                            struct error *err)
{
    return value_switch(what, value, &last_chardev(o)->spec.mux, err);
}

static bool set_chardev_signal(struct options *o, const char *what, const char *value,
                               struct error *err)
{
    return value_switch(what, value, &last_chardev(o)->spec.signal, err);
}

static bool set_chardev_append(struct options *o, const char *what, const char *value,
                               struct error *err)
{
    return value_switch(what, value, &last_chardev(o)->spec.append, err);
}

static bool set_chardev_log(struct options *o, const char *what, const char *value,
                            struct error *err)
{
    (void)what, (void)err;
    last_chardev(o)->spec.log = options_own(o, value);
    return true;
}

static bool set_chardev_log_append(struct options *o, const char *what, const char *value,
                                   struct error *err)
{
    return value_switch(what, value, &last_chardev(o)->spec.log_append, err);
}

static const char *chardev_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"stdio", "file", "pty", "null", "socket"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

static bool set_chardev_kind(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    struct backend_spec *spec = &last_chardev(o)->spec;

    if (strcmp(value, "file") == 0) {
        spec->kind = BACKEND_FILE;
        return true;
    }
    if (strcmp(value, "socket") == 0) {
        spec->kind = BACKEND_SOCKET;
        return true;
    }
    if (word_in(value, "stdio|pty|null"))
        return options_parse_backend(what, value, spec, err);
    if (backend_is_elsewhere(value))
        return error_set(err, "%s: '%s' is not there yet; valid: stdio, file, pty, null, socket",
                         what, value);
    return value_unknown(err, what, value, chardev_word, NULL);
}

/* "unix:PATH" or "tcp:HOST:PORT" out of the properties. */
static bool complete_socket(struct options *o, struct named_backend *c, const char *value,
                            struct error *err)
{
    char address[SOCKET_PATH_SIZE + 8];
    struct socket_address a;
    int length;

    if (!c->server)
        return error_set(err, "-chardev: '%s': only server=on is there", value);
    if ((c->spec.path != NULL) == (c->port != NULL))
        return error_set(err, "-chardev: '%s': either path=... or port=... belongs there", value);
    length = c->spec.path != NULL ? snprintf(address, sizeof(address), "unix:%s", c->spec.path)
                                  : snprintf(address, sizeof(address), "tcp:%s:%s",
                                             c->host != NULL ? c->host : "", c->port);
    if (length < 0 || (size_t)length >= sizeof(address))
        return error_set(err, "-chardev: '%s': the address is too long", value);
    c->spec.path = options_own(o, address);
    return socket_address_parse(address, &a, err) || error_prefix(err, "-chardev");
}

bool opt_chardev(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"id", set_chardev_id, NULL},
        {"path", set_chardev_path, NULL},
        {"mux", set_chardev_mux, NULL},
        {"signal", set_chardev_signal, NULL},
        {"append", set_chardev_append, NULL},
        {"logfile", set_chardev_log, NULL},
        {"logappend", set_chardev_log_append, NULL},
        {"host", set_chardev_host, NULL},
        {"port", set_chardev_port, NULL},
        {"server", set_chardev_server, NULL},
        {"wait", NULL, "off"},
        {"nowait", NULL, "on"},
    };
    struct named_backend *c;

    if (o->chardev_count == CHARDEV_MAX)
        return error_set(err, "-chardev: %d at most", CHARDEV_MAX);
    c = &o->chardevs[o->chardev_count++];
    if (!properties_set_first(o, "-chardev", value, set_chardev_kind, properties,
                              ARRAY_SIZE(properties), err))
        return false;
    if (c->spec.kind == BACKEND_NONE)
        return error_set(err, "-chardev: '%s' does not begin with stdio, file, pty, null or socket",
                         value);
    if (c->id == NULL)
        return error_set(err, "-chardev: '%s': id=... is missing", value);
    if (c->spec.kind == BACKEND_FILE && c->spec.path == NULL)
        return error_set(err, "-chardev: '%s': path=... is missing", value);
    return c->spec.kind != BACKEND_SOCKET || complete_socket(o, c, value, err);
}

const struct backend_spec *options_chardev(const struct options *o, const char *id,
                                           struct error *err)
{
    for (unsigned n = 0; n < o->chardev_count; n++) {
        if (strcmp(o->chardevs[n].id, id) == 0)
            return &o->chardevs[n].spec;
    }
    error_set(err, "there is no -chardev with id=%s", id);
    return NULL;
}

/* --- -device --- */

static bool set_port(const char *what, const char *value, uint16_t *port, struct error *err)
{
    uint64_t number;

    if (!value_number(what, value, 0xffff, &number, err))
        return false;
    *port = (uint16_t)number;
    return true;
}

static bool set_debug_exit_base(struct options *o, const char *what, const char *value,
                                struct error *err)
{
    return set_port(what, value, &o->machine.debug_exit_port, err);
}

static bool set_debug_exit_size(struct options *o, const char *what, const char *value,
                                struct error *err)
{
    uint64_t size;

    if (!value_number(what, value, 4, &size, err))
        return false;
    if (size == 0)
        return error_set(err, "%s: 1 to 4 ports", what);
    o->machine.debug_exit_size = (uint16_t)size;
    return true;
}

static bool set_pvpanic_port(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    uint16_t port;

    (void)o;
    if (!set_port(what, value, &port, err))
        return false;
    return port == PVPANIC_PORT || error_set(err, "%s: only %#x is possible", what, PVPANIC_PORT);
}

static bool set_debugcon_port(struct options *o, const char *what, const char *value,
                              struct error *err)
{
    return set_port(what, value, &o->machine.debugcon_port, err);
}

static bool set_debugcon_chardev(struct options *o, const char *what, const char *value,
                                 struct error *err)
{
    (void)what, (void)err;
    o->debugcon = (struct backend_spec){.kind = BACKEND_NAMED, .path = options_own(o, value)};
    return true;
}

static bool set_serial_chardev(struct options *o, const char *what, const char *value,
                               struct error *err)
{
    (void)what, (void)err;
    o->serial[o->serial_count - 1].path = options_own(o, value);
    return true;
}

static const struct property debug_exit_properties[] = {{"iobase", set_debug_exit_base, NULL},
                                                        {"iosize", set_debug_exit_size, NULL}};
static const struct property pvpanic_properties[] = {{"ioport", set_pvpanic_port, NULL}};
static const struct property debugcon_properties[] = {{"iobase", set_debugcon_port, NULL},
                                                      {"chardev", set_debugcon_chardev, NULL}};
static const struct property serial_properties[] = {{"chardev", set_serial_chardev, NULL},
                                                    {"id", property_ignore, NULL}};

static bool add_debug_exit(struct options *o, struct error *err)
{
    (void)err;
    o->machine.debug_exit = true;
    o->machine.debug_exit_port = 0x501;
    o->machine.debug_exit_size = 2;
    return true;
}

static bool add_exit(struct options *o, struct error *err)
{
    (void)err;
    o->machine.exit_port = true;
    return true;
}

static bool add_pvpanic(struct options *o, struct error *err)
{
    (void)err;
    o->machine.pvpanic = true;
    return true;
}

static bool add_debugcon(struct options *o, struct error *err)
{
    (void)err;
    o->machine.debugcon_port = 0xe9;
    return true;
}

static bool check_debugcon(const struct options *o, struct error *err)
{
    return o->debugcon.kind == BACKEND_NAMED ||
           error_set(err, "-device isa-debugcon: chardev=... is missing");
}

static bool add_serial(struct options *o, struct error *err)
{
    struct backend_spec *spec = next_serial(o, err);

    if (spec == NULL)
        return false;
    spec->kind = BACKEND_NAMED;
    return true;
}

static bool check_serial(const struct options *o, struct error *err)
{
    return o->serial[o->serial_count - 1].path != NULL ||
           error_set(err, "-device isa-serial: chardev=... is missing");
}

static const struct device_row {
    const char *name;
    const char *help;
    bool (*add)(struct options *o, struct error *err);
    bool (*check)(const struct options *o, struct error *err); /* after the properties, or NULL */
    const struct property *properties;
    size_t count;
} device_rows[] = {
    {"isa-debug-exit", "iobase=PORT,iosize=N: a write of v ends with status (v << 1 | 1) & 255",
     add_debug_exit, NULL, debug_exit_properties, ARRAY_SIZE(debug_exit_properties)},
    {"gnomon-exit", "port 5F0h: a write of v ends with status v (255 if it is larger)", add_exit,
     NULL, NULL, 0},
    {"pvpanic", "ioport=PORT: the guest reports a panic, status 3", add_pvpanic, NULL,
     pvpanic_properties, ARRAY_SIZE(pvpanic_properties)},
    {"isa-debugcon", "iobase=PORT,chardev=ID: like -debugcon", add_debugcon, check_debugcon,
     debugcon_properties, ARRAY_SIZE(debugcon_properties)},
    {"isa-serial", "chardev=ID: the next serial port, like -serial chardev:ID", add_serial,
     check_serial, serial_properties, ARRAY_SIZE(serial_properties)},
};

static const char *device_word(const void *opaque, size_t n)
{
    (void)opaque;
    return n < ARRAY_SIZE(device_rows) ? device_rows[n].name : NULL;
}

static bool unknown_device(const char *name, struct error *err)
{
    struct error unknown = {0};

    value_unknown(&unknown, "-device", name, device_word, NULL);
    return error_set(err, "%s (-device help explains; others are not there yet)", unknown.text);
}

bool opt_device(struct options *o, const char *value, struct error *err)
{
    char name[WORD_SIZE], what[WORD_SIZE + 16];

    if (!value_next(&value, name, sizeof(name), err))
        return err->set ? false : error_set(err, "-device: the value is empty");
    if (word_in(name, "help|?")) {
        for (size_t n = 0; n < ARRAY_SIZE(device_rows); n++)
            fprintf(o->out, "%-16s %s\n", device_rows[n].name, device_rows[n].help);
        o->done = true;
        return true;
    }
    for (size_t n = 0; n < ARRAY_SIZE(device_rows); n++) {
        const struct device_row *row = &device_rows[n];

        if (strcmp(row->name, name) != 0)
            continue;
        snprintf(what, sizeof(what), "-device %s", name);
        return row->add(o, err) &&
               properties_set(o, what, value, row->properties, row->count, err) &&
               (row->check == NULL || row->check(o, err));
    }
    return unknown_device(name, err);
}
