/* Options of the groups Boot, Run, Looking inside and Information. */
#include "frontend/gdb_server.h"
#include "frontend/option_handlers.h"

#include "base/bits.h"
#include "base/log.h"
#include "frontend/properties.h"
#include "frontend/values.h"

#include <string.h>

#ifndef GNOMON_VERSION
#define GNOMON_VERSION "development"
#endif

#define WORD_SIZE 256

static bool set_text(const char **field, const char *value)
{
    *field = value;
    return true;
}

/* --- Boot --- */

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

/* --- Run --- */

bool opt_gdb(struct options *o, const char *value, struct error *err)
{
    o->gdb = value;
    return strcmp(value, "none") == 0 ? (o->gdb = NULL, true) : gdb_server_check(value, err);
}

bool opt_gdb_default(struct options *o, const char *value, struct error *err)
{
    (void)value;
    return opt_gdb(o, "tcp::1234", err);
}

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

static bool set_action_reboot(struct options *o, const char *what, const char *value,
                              struct error *err)
{
    o->machine.no_reboot = strcmp(value, "shutdown") == 0;
    return word_in(value, "shutdown|reset") ||
           error_set(err, "%s: '%s' is neither 'reset' nor 'shutdown'", what, value);
}

static bool set_action_shutdown(struct options *o, const char *what, const char *value,
                                struct error *err)
{
    o->machine.no_shutdown = strcmp(value, "pause") == 0;
    return word_in(value, "poweroff|pause") ||
           error_set(err, "%s: '%s' is neither 'poweroff' nor 'pause'", what, value);
}

bool opt_action(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {{"reboot", set_action_reboot, NULL},
                                                 {"shutdown", set_action_shutdown, NULL},
                                                 {"panic", NULL, "exit-failure"},
                                                 {"watchdog", property_ignore, NULL}};

    return properties_set(o, "-action", value, properties, ARRAY_SIZE(properties), err);
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

bool opt_silence(struct options *o, const char *value, struct error *err)
{
    return value_time("--silence", value, &o->silence_ns, err);
}

bool opt_pidfile(struct options *o, const char *value, struct error *err)
{
    (void)err;
    return set_text(&o->pidfile, value);
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

static bool list_log_items(struct options *o)
{
    for (size_t n = 0; n < ARRAY_SIZE(log_items); n++)
        fprintf(o->out, "%-14s %s\n", log_items[n].word, log_items[n].help);
    fprintf(o->out, "%-14s %s\n", "all", "all of these");
    o->done = true;
    return true;
}

/* The error names the nearest item, and all. */
static bool unknown_log_item(const char *word, struct error *err)
{
    const char *nearest = value_nearest(word, log_word, NULL);
    char all[256] = "";
    size_t used = 0;

    for (size_t n = 0; n < ARRAY_SIZE(log_items) && used < sizeof(all); n++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s, ", log_items[n].word);
    if (nearest == NULL)
        return error_set(err, "-d: unknown '%s'; valid: %sall", word, all);
    return error_set(err, "-d: unknown '%s'; did you mean '%s'? Valid: %sall", word, nearest, all);
}

bool opt_log(struct options *o, const char *value, struct error *err)
{
    char word[WORD_SIZE];

    while (value_next(&value, word, sizeof(word), err)) {
        uint32_t mask = 0;

        if (word_in(word, "help|?"))
            return list_log_items(o);
        for (size_t n = 0; n < ARRAY_SIZE(log_items); n++) {
            if (strcmp(log_items[n].word, word) == 0 || strcmp(word, "all") == 0)
                mask |= log_items[n].mask;
        }
        if (mask == 0)
            return unknown_log_item(word, err);
        o->log_mask |= mask;
    }
    return !err->set;
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

static const char *format_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"text", "json", "chrome"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

static bool set_trace_format(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    for (size_t n = 0; format_word(NULL, n) != NULL; n++) {
        if (strcmp(format_word(NULL, n), value) == 0)
            return set_text(&o->trace_format, format_word(NULL, n));
    }
    return value_unknown(err, what, value, format_word, NULL);
}

bool opt_trace(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {{"file", set_trace_file, NULL},
                                                 {"format", set_trace_format, NULL}};
    char subject[WORD_SIZE];

    if (!value_next(&value, subject, sizeof(subject), err))
        return err->set ? false : error_set(err, "-trace: the value is empty");
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
