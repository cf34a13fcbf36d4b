/* What each option of options.def does. */
#include "frontend/option_handlers.h"

#include "base/bits.h"
#include "base/log.h"
#include "frontend/values.h"

#include <string.h>

#ifndef GNOMON_VERSION
#define GNOMON_VERSION "development"
#endif

#define WORD_SIZE 256

#define PVPANIC_PORT 0x505

/* --- Lists of properties: NAME=VALUE,... --- */

struct property {
    const char *name;
    bool (*set)(struct options *o, const char *what, const char *value, struct error *err);
};

struct property_list {
    const char *what; /* "-machine" */
    const struct property *rows;
    size_t count;
};

static const char *property_word(const void *opaque, size_t n)
{
    const struct property_list *list = opaque;

    return n < list->count ? list->rows[n].name : NULL;
}

/* Sets the property that the element "name=value" names; a lone name means name=on. */
static bool property_set(struct options *o, const struct property_list *list, char *element,
                         struct error *err)
{
    char *value = strchr(element, '=');
    char what[WORD_SIZE];

    if (value != NULL)
        *value++ = '\0';
    for (size_t n = 0; n < list->count; n++) {
        if (strcmp(list->rows[n].name, element) != 0)
            continue;
        snprintf(what, sizeof(what), "%s: %s", list->what, list->rows[n].name);
        return list->rows[n].set(o, what, value != NULL ? value : "on", err);
    }
    return value_unknown(err, list->what, element, property_word, list);
}

/* The rest of a list, after what stands first. */
static bool properties_set(struct options *o, const char *what, const char *text,
                           const struct property *rows, size_t count, struct error *err)
{
    const struct property_list list = {what, rows, count};
    char element[4096];

    while (value_next(&text, element, sizeof(element), err)) {
        if (!property_set(o, &list, element, err))
            return false;
    }
    return err == NULL || !err->set;
}

static bool set_ignored(struct options *o, const char *what, const char *value, struct error *err)
{
    (void)o, (void)what, (void)value, (void)err;
    return true;
}

/* --- Boot --- */

static bool set_text(const char **field, const char *value)
{
    *field = value;
    return true;
}

bool opt_kernel(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->machine.kernel, value);
}

bool opt_initrd(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->machine.initrd, value);
}

bool opt_append(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->machine.append, value);
}

bool opt_symbols(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->symbols, value);
}

bool opt_firmware_dir(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->firmware_dir, value);
}

/* --- Machine --- */

static bool set_kernel_entry(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    struct error unknown = {0};

    if (loader_parse_entry(value, &o->machine.kernel_entry, &unknown))
        return true;
    return error_set(err, "%s: %s", what, unknown.text);
}

static bool set_triple_fault(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    o->machine.triple_fault_resets = strcmp(value, "reset") == 0;
    if (o->machine.triple_fault_resets || strcmp(value, "exit") == 0)
        return true;
    return error_set(err, "%s: '%s' is neither 'exit' nor 'reset'", what, value);
}

static bool set_hpet(struct options *o, const char *what, const char *value, struct error *err)
{
    return value_switch(what, value, &o->machine.hpet, err);
}

static const char *accel_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"interp"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

/* "kvm:tcg" asks for the first that is there; software emulation is what we have. */
static bool set_accel(struct options *o, const char *what, const char *value, struct error *err)
{
    char name[32];

    (void)o;
    for (const char *p = value;; p++) {
        size_t length = strcspn(p, ":");

        snprintf(name, sizeof(name), "%.*s", (int)MIN(length, sizeof(name) - 1), p);
        if (strcmp(name, "interp") == 0 || strcmp(name, "tcg") == 0)
            return true;
        p += length;
        if (*p == '\0')
            break;
    }
    if (strcmp(name, "kvm") == 0)
        return error_set(err, "%s: 'kvm': Gnomon never uses hardware virtualization; valid: interp",
                         what);
    return value_unknown(err, what, name, accel_word, NULL);
}

static bool set_machine_type(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)o;
    if (strncmp(value, "pc", 2) == 0 || strncmp(value, "q35", 3) == 0)
        return true;
    return error_set(err, "%s: unknown machine '%s'; valid: pc, q35", what, value);
}

static const struct property machine_properties[] = {
    {"type", set_machine_type},
    {"kernel-entry", set_kernel_entry},
    {"triple-fault", set_triple_fault},
    {"hpet", set_hpet},
    {"accel", set_accel},
};

bool opt_machine(struct options *o, const char *value, struct error *err)
{
    char first[WORD_SIZE];
    const char *rest = value;

    if (strcmp(value, "help") == 0) {
        fprintf(o->out, "pc   (default) PCI PC\nq35  the same for now\n");
        o->done = true;
        return true;
    }
    if (!value_next(&rest, first, sizeof(first), err))
        return error_set(err, "-machine: no value");
    if (strchr(first, '=') == NULL) {
        if (!set_machine_type(o, "-machine", first, err))
            return false;
        value = rest;
    }
    return properties_set(o, "-machine", value, machine_properties, ARRAY_SIZE(machine_properties),
                          err);
}

static bool set_memory(struct options *o, const char *what, const char *value, struct error *err)
{
    uint64_t size;

    if (!value_size(what, value, 1 << 20, &size, err))
        return false;
    if (size < MACHINE_MEMORY_MIN || size > MACHINE_MEMORY_MAX)
        return error_set(err, "%s: %s: RAM is between 1M and 1024G", what, value);
    o->machine.memory_size = size;
    return true;
}

static bool set_hotplug(struct options *o, const char *what, const char *value, struct error *err)
{
    (void)o, (void)value;
    return error_set(err, "%s: memory cannot be added to a running machine", what);
}

bool opt_memory(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"size", set_memory}, {"slots", set_hotplug}, {"maxmem", set_hotplug}};

    if (strchr(value, '=') == NULL && strchr(value, ',') == NULL)
        return set_memory(o, "-m", value, err);
    return properties_set(o, "-m", value, properties, ARRAY_SIZE(properties), err);
}

/* Any count of processors, sockets, cores or threads: one for now. */
static bool set_processors(struct options *o, const char *what, const char *value,
                           struct error *err)
{
    uint64_t count;

    (void)o;
    if (!value_number(what, value, UINT32_MAX, &count, err))
        return false;
    if (count != 1)
        return error_set(err, "%s: %s: only 1 processor for now", what, value);
    return true;
}

bool opt_smp(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"cpus", set_processors},  {"maxcpus", set_processors}, {"sockets", set_processors},
        {"cores", set_processors}, {"threads", set_processors}, {"dies", set_processors},
    };
    char first[WORD_SIZE];
    const char *rest = value;

    if (!value_next(&rest, first, sizeof(first), err))
        return error_set(err, "-smp: no value");
    if (strchr(first, '=') == NULL) {
        if (!set_processors(o, "-smp", first, err))
            return false;
        value = rest;
    }
    return properties_set(o, "-smp", value, properties, ARRAY_SIZE(properties), err);
}

bool opt_cpu(struct options *o, const char *value, struct error *err)
{
    if (strcmp(value, "help") == 0 || strcmp(value, "?") == 0) {
        machine_print_cpu_models(o->out);
        o->done = true;
        return true;
    }
    o->machine.cpu = value;
    return machine_check_cpu(value, err);
}

bool opt_accel(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {{"accel", set_accel},
                                                 {"thread", set_ignored},
                                                 {"tb-size", set_ignored},
                                                 {"split-wx", set_ignored},
                                                 {"one-insn-per-tb", set_ignored}};
    char first[WORD_SIZE];
    const char *rest = value;

    if (!value_next(&rest, first, sizeof(first), err))
        return error_set(err, "-accel: no value");
    if (strchr(first, '=') == NULL) {
        if (!set_accel(o, "-accel", first, err))
            return false;
        value = rest;
    }
    return properties_set(o, "-accel", value, properties, ARRAY_SIZE(properties), err);
}

static bool set_icount_shift(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    uint64_t shift = 3;

    if (strcmp(value, "auto") != 0 && !value_number(what, value, 10, &shift, err))
        return false;
    o->machine.icount_shift = (unsigned)shift;
    return true;
}

static bool set_icount_sleep(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    return value_switch(what, value, &o->machine.idle_sleeps, err);
}

bool opt_icount(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"shift", set_icount_shift}, {"sleep", set_icount_sleep}, {"align", set_ignored}};
    char first[WORD_SIZE];
    const char *rest = value;

    o->machine.deterministic = true;
    o->machine.icount_shift = 3;
    if (!value_next(&rest, first, sizeof(first), err))
        return error_set(err, "-icount: no value");
    if (strchr(first, '=') == NULL) {
        if (!set_icount_shift(o, "-icount: shift", first, err))
            return false;
        value = rest;
    }
    return properties_set(o, "-icount", value, properties, ARRAY_SIZE(properties), err);
}

static bool set_rtc_base(struct options *o, const char *what, const char *value, struct error *err)
{
    o->rtc_given = true;
    return value_date(what, value, &o->machine.rtc_start, err);
}

bool opt_rtc(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"base", set_rtc_base}, {"clock", set_ignored}, {"driftfix", set_ignored}};

    return properties_set(o, "-rtc", value, properties, ARRAY_SIZE(properties), err);
}

bool opt_seed(struct options *o, const char *value, struct error *err)
{
    o->seed_given = true;
    return value_number("-seed", value, UINT64_MAX, &o->machine.seed, err);
}

bool opt_no_hpet(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->machine.hpet = false;
    return true;
}

bool opt_name(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->name, value);
}

/* --- Terminal and devices --- */

static const char *backend_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"stdio", "mon:stdio", "file:PATH", "pty",
                                        "null",  "none",      "chardev:ID"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

static bool parse_backend(const char *what, const char *value, struct backend_spec *spec,
                          struct error *err)
{
    static const struct {
        const char *word;
        bool prefix; /* the rest is the path */
        struct backend_spec spec;
    } rows[] = {
        {"stdio", false, {.kind = BACKEND_STDIO}},
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

bool opt_serial(struct options *o, const char *value, struct error *err)
{
    if (o->serial_count == MACHINE_SERIAL_COUNT)
        return error_set(err, "-serial: a PC has %d serial ports at most", MACHINE_SERIAL_COUNT);
    return parse_backend("-serial", value, &o->serial[o->serial_count++], err);
}

bool opt_debugcon(struct options *o, const char *value, struct error *err)
{
    o->machine.debugcon_port = 0xe9;
    return parse_backend("-debugcon", value, &o->debugcon, err);
}

bool opt_monitor(struct options *o, const char *value, struct error *err)
{
    (void)o;
    if (strcmp(value, "none") == 0 || strcmp(value, "null") == 0 || strcmp(value, "/dev/null") == 0)
        return true;
    return error_set(err, "-monitor: '%s': there is no monitor yet; valid: none, null", value);
}

/* -chardev: the properties go to the last one. */
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

static bool set_chardev_mux(struct options *o, const char *what, const char *value,
                            struct error *err)
{
    return value_switch(what, value, &last_chardev(o)->spec.mux, err);
}

bool opt_chardev(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"id", set_chardev_id},  {"path", set_chardev_path}, {"mux", set_chardev_mux},
        {"signal", set_ignored}, {"append", set_ignored},
    };
    char kind[WORD_SIZE];
    struct named_backend *c;

    if (o->chardev_count == CHARDEV_MAX)
        return error_set(err, "-chardev: %d at most", CHARDEV_MAX);
    c = &o->chardevs[o->chardev_count++];
    if (!value_next(&value, kind, sizeof(kind), err))
        return error_set(err, "-chardev: no value");
    if (strcmp(kind, "file") == 0)
        c->spec.kind = BACKEND_FILE;
    else if (strchr(kind, ':') != NULL || strcmp(kind, "none") == 0 ||
             !parse_backend("-chardev", kind, &c->spec, NULL))
        return error_set(err, "-chardev: unknown '%s'; valid: stdio, file, pty, null", kind);
    if (!properties_set(o, "-chardev", value, properties, ARRAY_SIZE(properties), err))
        return false;
    if (c->id == NULL)
        return error_set(err, "-chardev %s: id=... is missing", kind);
    if (c->spec.kind == BACKEND_FILE && c->spec.path == NULL)
        return error_set(err, "-chardev file: path=... is missing");
    return true;
}

/* -device */

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

static const struct property debug_exit_properties[] = {{"iobase", set_debug_exit_base},
                                                        {"iosize", set_debug_exit_size}};
static const struct property pvpanic_properties[] = {{"ioport", set_pvpanic_port}};
static const struct property debugcon_properties[] = {{"iobase", set_debugcon_port},
                                                      {"chardev", set_debugcon_chardev}};

static void add_debug_exit(struct options *o)
{
    o->machine.debug_exit = true;
    o->machine.debug_exit_port = 0x501;
    o->machine.debug_exit_size = 2;
}

static void add_exit(struct options *o)
{
    o->machine.exit_port = true;
}

static void add_pvpanic(struct options *o)
{
    o->machine.pvpanic = true;
}

static void add_debugcon(struct options *o)
{
    o->machine.debugcon_port = 0xe9;
}

static const struct device_row {
    const char *name;
    const char *help;
    void (*add)(struct options *o);
    const struct property *properties;
    size_t count;
} device_rows[] = {
    {"isa-debug-exit", "iobase=PORT,iosize=N: a write of v ends with status (v << 1 | 1) & 255",
     add_debug_exit, debug_exit_properties, ARRAY_SIZE(debug_exit_properties)},
    {"gnomon-exit", "port 5F0h: a write of v ends with status v (255 if it is larger)", add_exit,
     NULL, 0},
    {"pvpanic", "ioport=PORT: the guest reports a panic, status 3", add_pvpanic, pvpanic_properties,
     ARRAY_SIZE(pvpanic_properties)},
    {"isa-debugcon", "iobase=PORT,chardev=ID: like -debugcon", add_debugcon, debugcon_properties,
     ARRAY_SIZE(debugcon_properties)},
};

static const char *device_word(const void *opaque, size_t n)
{
    (void)opaque;
    return n < ARRAY_SIZE(device_rows) ? device_rows[n].name : NULL;
}

bool opt_device(struct options *o, const char *value, struct error *err)
{
    char name[WORD_SIZE], what[WORD_SIZE + 16];

    if (!value_next(&value, name, sizeof(name), err))
        return error_set(err, "-device: no value");
    if (strcmp(name, "help") == 0) {
        for (size_t n = 0; n < ARRAY_SIZE(device_rows); n++)
            fprintf(o->out, "%-16s %s\n", device_rows[n].name, device_rows[n].help);
        o->done = true;
        return true;
    }
    for (size_t n = 0; n < ARRAY_SIZE(device_rows); n++) {
        if (strcmp(device_rows[n].name, name) != 0)
            continue;
        device_rows[n].add(o);
        snprintf(what, sizeof(what), "-device %s", name);
        return properties_set(o, what, value, device_rows[n].properties, device_rows[n].count, err);
    }
    return value_unknown(err, "-device", name, device_word, NULL);
}

/* --- Run --- */

bool opt_stopped(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->start_stopped = true;
    return true;
}

bool opt_no_reboot(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->machine.no_reboot = true;
    return true;
}

bool opt_no_shutdown(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->machine.no_shutdown = true;
    return true;
}

bool opt_timeout(struct options *o, const char *value, struct error *err)
{
    return value_time("--timeout", value, &o->timeout_ns, err);
}

bool opt_guest_timeout(struct options *o, const char *value, struct error *err)
{
    return value_guest_time("--guest-timeout", value, &o->machine.guest_timeout_ns,
                            &o->machine.guest_timeout_instructions, err);
}

/* --- Looking inside --- */

static const struct {
    const char *word;
    uint32_t mask;
    const char *help;
} log_items[] = {
#define X(name, word, help) {word, LOG_##name, help},
    LOG_CATEGORIES(X)
#undef X
};

static const char *log_word(const void *opaque, size_t n)
{
    (void)opaque;
    return n < ARRAY_SIZE(log_items) ? log_items[n].word : NULL;
}

bool opt_log(struct options *o, const char *value, struct error *err)
{
    char word[WORD_SIZE];

    while (value_next(&value, word, sizeof(word), err)) {
        size_t n = 0;

        if (strcmp(word, "help") == 0) {
            for (; n < ARRAY_SIZE(log_items); n++)
                fprintf(o->out, "%-14s %s\n", log_items[n].word, log_items[n].help);
            o->done = true;
            return true;
        }
        while (n < ARRAY_SIZE(log_items) && strcmp(log_items[n].word, word) != 0)
            n++;
        if (n == ARRAY_SIZE(log_items))
            return value_unknown(err, "-d", word, log_word, NULL);
        o->log_mask |= log_items[n].mask;
    }
    return err == NULL || !err->set;
}

bool opt_log_file(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->log_file, value);
}

static bool set_trace_file(struct options *o, const char *what, const char *value,
                           struct error *err)
{
    (void)what, (void)err;
    o->trace_file = options_own(o, value);
    return true;
}

static bool set_trace_format(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    static const char *const words[] = {"text", "json", "chrome"};

    for (unsigned n = 0; n < ARRAY_SIZE(words); n++) {
        if (strcmp(words[n], value) == 0) {
            o->trace_format = words[n];
            return true;
        }
    }
    return error_set(err, "%s: '%s' is none of text, json, chrome", what, value);
}

bool opt_trace(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {{"file", set_trace_file},
                                                 {"format", set_trace_format}};
    char subject[WORD_SIZE];

    if (!value_next(&value, subject, sizeof(subject), err))
        return error_set(err, "-trace: no value");
    if (strcmp(subject, "mmu") != 0 && strncmp(subject, "mmu:", 4) != 0)
        return error_set(err, "-trace: unknown '%s'; valid: mmu, mmu:FILTER", subject);
    o->trace_format = "text";
    o->trace_filter = subject[3] == ':' ? options_own(o, subject + 4) : "";
    if (!properties_set(o, "-trace", value, properties, ARRAY_SIZE(properties), err))
        return false;
    if (o->trace_file == NULL)
        return error_set(err, "-trace: file=... is missing");
    return true;
}

/* --- Information --- */

bool opt_help(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    options_print_help(o->out);
    o->done = true;
    return true;
}

bool opt_version(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    fprintf(o->out, "Gnomon %s\n", GNOMON_VERSION);
    o->done = true;
    return true;
}
