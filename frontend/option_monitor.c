/* -monitor and -mon. */
#include "base/bits.h"
#include "frontend/option_handlers.h"
#include "frontend/properties.h"
#include "frontend/socket_address.h"

#include <string.h>

static struct backend_spec *next_monitor(struct options *o, const char *what, struct error *err)
{
    if (o->monitor_count < OPTIONS_MONITOR_MAX)
        return &o->monitors[o->monitor_count++];
    error_set(err, "%s: %d monitors at most", what, OPTIONS_MONITOR_MAX);
    return NULL;
}

static struct backend_spec *last_monitor(struct options *o)
{
    return &o->monitors[o->monitor_count - 1];
}

/* What stands before the properties: a back end, or the address of a socket. */
static bool set_monitor(struct options *o, const char *what, const char *value, struct error *err)
{
    struct backend_spec *spec = last_monitor(o);
    struct socket_address a;

    if (strncmp(value, "unix:", 5) == 0 || strncmp(value, "tcp:", 4) == 0) {
        *spec = (struct backend_spec){.kind = BACKEND_SOCKET, .path = options_own(o, value)};
        return socket_address_parse(value, &a, err) || error_prefix(err, "%s", what);
    }
    if (!options_parse_backend(what, value, spec, err))
        return false;
    if (spec->path != NULL)
        spec->path = options_own(o, spec->path);
    return true;
}

bool opt_monitor(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"server", NULL, "on"}, {"wait", NULL, "off"}, {"nowait", NULL, "on"}};

    if (next_monitor(o, "-monitor", err) == NULL)
        return false;
    if (!properties_set_first(o, "-monitor", value, set_monitor, properties, ARRAY_SIZE(properties),
                              err))
        return false;
    if (last_monitor(o)->kind == BACKEND_NONE || last_monitor(o)->kind == BACKEND_NULL)
        o->monitor_count--;
    return true;
}

static bool set_mon_chardev(struct options *o, const char *what, const char *value,
                            struct error *err)
{
    (void)what, (void)err;
    *last_monitor(o) = (struct backend_spec){.kind = BACKEND_NAMED, .path = options_own(o, value)};
    return true;
}

static bool set_mon_mode(struct options *o, const char *what, const char *value, struct error *err)
{
    (void)o;
    return strcmp(value, "readline") == 0 ||
           error_set(err, "%s: '%s' is not there yet; valid: readline", what, value);
}

bool opt_mon(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"chardev", set_mon_chardev, NULL}, {"mode", set_mon_mode, NULL}, {"pretty", NULL, "off"}};

    if (next_monitor(o, "-mon", err) == NULL ||
        !properties_set_first(o, "-mon", value, set_mon_chardev, properties, ARRAY_SIZE(properties),
                              err))
        return false;
    return last_monitor(o)->kind == BACKEND_NAMED ||
           error_set(err, "-mon: '%s': chardev=... is missing", value);
}

/* Has a serial port the chardev of that name? */
static bool serial_has(const struct options *o, const char *id)
{
    for (unsigned n = 0; n < o->serial_count; n++) {
        if (o->serial[n].kind == BACKEND_NAMED && strcmp(o->serial[n].path, id) == 0)
            return true;
    }
    return false;
}

bool options_monitor_shared(const struct options *o, const struct backend_spec *spec)
{
    if (spec->kind == BACKEND_NAMED)
        return serial_has(o, spec->path);
    for (unsigned n = 0; n < o->serial_count; n++) {
        if (spec->kind == BACKEND_STDIO && spec->mux && o->serial[n].kind == BACKEND_STDIO &&
            o->serial[n].mux)
            return true;
    }
    return false;
}

bool options_check_mon(const struct options *o, struct error *err)
{
    for (unsigned n = 0; n < o->monitor_count; n++) {
        const struct backend_spec *spec = &o->monitors[n], *named;

        if (spec->kind != BACKEND_NAMED)
            continue;
        named = options_chardev(o, spec->path, err);
        if (named == NULL)
            return error_prefix(err, "-mon");
        if (!named->mux && serial_has(o, spec->path))
            return error_set(err, "-mon: a serial port has chardev=%s, too: it needs mux=on",
                             spec->path);
    }
    return true;
}
