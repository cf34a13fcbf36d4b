/* The option table, its parser and -help. The handlers are in option_handlers.c. */
#include "frontend/options.h"

#include "base/bits.h"
#include "base/host/host.h"
#include "frontend/exit_codes.h"
#include "frontend/option_handlers.h"
#include "frontend/values.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_SILENCE_NS (60 * 1000000000ull)

enum row_kind { ROW_GROUP, ROW_OPTION, ROW_ALIAS, ROW_ACCEPT, ROW_LATER, ROW_NEVER };

struct row {
    enum row_kind kind;
    const char *name;
    const char *syntax; /* NULL: the option takes no value */
    option_fn *handler;
    const char *text; /* help; for an alias the option meant */
};

static const struct row rows[] = {
#define GROUP(title)                        {ROW_GROUP, NULL, NULL, NULL, title},
#define OPTION(name, syntax, handler, help) {ROW_OPTION, name, syntax, handler, help},
#define ALIAS(name, option)                 {ROW_ALIAS, name, NULL, NULL, option},
#define ACCEPT(name, syntax, why)           {ROW_ACCEPT, name, syntax, NULL, why},
#define LATER(name, syntax, what)           {ROW_LATER, name, syntax, NULL, what},
#define NEVER(name, syntax, why)            {ROW_NEVER, name, syntax, NULL, why},
#include "frontend/options.def"
#undef GROUP
#undef OPTION
#undef ALIAS
#undef ACCEPT
#undef LATER
#undef NEVER
};

struct owned_text {
    struct owned_text *next;
    char text[];
};

const char *options_own(struct options *o, const char *text)
{
    size_t size = strlen(text) + 1;
    struct owned_text *t = host_alloc(sizeof(*t) + size);

    memcpy(t->text, text, size);
    t->next = o->owned;
    o->owned = t;
    return t->text;
}

void options_destroy(struct options *o)
{
    while (o->owned != NULL) {
        struct owned_text *next = o->owned->next;

        free(o->owned);
        o->owned = next;
    }
}

static const struct row *row_find(const char *name)
{
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        if (rows[n].kind == ROW_GROUP || strcmp(rows[n].name, name) != 0)
            continue;
        return rows[n].kind == ROW_ALIAS ? row_find(rows[n].text) : &rows[n];
    }
    return NULL;
}

/* The words for value_nearest: names of options that work. */
static const char *option_word(const void *opaque, size_t n)
{
    (void)opaque;
    for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
        if (rows[k].kind == ROW_OPTION && n-- == 0)
            return rows[k].name;
    }
    return NULL;
}

static bool unknown_option(const char *argument, const char *name, struct error *err)
{
    const char *nearest = value_nearest(name, option_word, NULL);

    if (nearest != NULL)
        return error_set(err, "unknown option '%s'; did you mean '-%s'?", argument, nearest);
    return error_set(err, "unknown option '%s'; -help lists all", argument);
}

static bool apply(struct options *o, const struct row *row, const char *value, struct error *err)
{
    switch (row->kind) {
    case ROW_OPTION:
        return row->handler(o, value, err);
    case ROW_ACCEPT:
        if (row->syntax != NULL && strcmp(row->syntax, "none") == 0 && strcmp(value, "none") != 0)
            return error_set(err, "-%s %s: only 'none' is possible: %s", row->name, value,
                             row->text);
        return true;
    case ROW_NEVER:
        return error_set(err, "-%s: %s", row->name, row->text);
    default:
        return error_set(err, "-%s: not there yet: %s", row->name, row->text);
    }
}

bool options_parse(struct options *o, int argc, char *const *argv, FILE *out, struct error *err)
{
    memset(o, 0, sizeof(*o));
    o->out = out;
    o->machine.memory_size = 128ull << 20;
    o->machine.hpet = true;
    o->machine.mmu = mmu_default_options;
    o->silence_ns = DEFAULT_SILENCE_NS;
    for (int n = 1; n < argc && !o->done; n++) {
        const char *name = argv[n], *value = NULL, *equals;
        const struct row *row;
        char word[64];

        if (name[0] != '-' || name[1] == '\0')
            return error_set(err,
                             "'%s' is no option (disk images are not there yet; a kernel is "
                             "given with -kernel)",
                             name);
        name += name[1] == '-' ? 2 : 1;
        equals = strchr(name, '=');
        snprintf(word, sizeof(word), "%.*s", equals ? (int)(equals - name) : (int)sizeof(word) - 1,
                 name);
        row = row_find(word);
        if (row == NULL)
            return unknown_option(argv[n], word, err);
        if (equals != NULL) {
            value = equals + 1;
            if (row->syntax == NULL)
                return error_set(err, "-%s takes no value", row->name);
        } else if (row->syntax != NULL) {
            if (++n == argc)
                return error_set(err, "-%s wants a value: -%s %s", row->name, row->name,
                                 row->syntax);
            value = argv[n];
        }
        if (!apply(o, row, value, err))
            return false;
    }
    return o->done ||
           (options_check_accel(o, err) && options_check_mon(o, err) && options_check_smp(o, err));
}

/* The help of one option: its syntax, then the text in a column of its own. */
static void print_option(FILE *out, const struct row *row)
{
    const char *text = row->text, *end;
    int column = fprintf(out, "  -%s%s%s", row->name, row->syntax != NULL ? " " : "",
                         row->syntax != NULL ? row->syntax : "");

    if (column > 21)
        fprintf(out, "\n%*s", column = 22, "");
    for (;; text = end + 1) {
        end = text + strcspn(text, "\n");
        fprintf(out, "%*s%.*s\n", 22 - column, "", (int)(end - text), text);
        column = 0;
        if (*end == '\0')
            break;
    }
}

static void print_names(FILE *out, enum row_kind kind)
{
    int column = 0;

    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        if (rows[n].kind != kind)
            continue;
        if (column > 80)
            column = fprintf(out, "\n") - 1;
        column += fprintf(out, " -%s", rows[n].name);
    }
    fprintf(out, "\n");
}

void options_print_help(FILE *out)
{
    fprintf(out, "usage: gnomon [-option [value]]...\n"
                 "Runs a PC with an x86-64 processor. Example:\n"
                 "  gnomon -nographic -kernel vmlinuz -initrd initrd.gz -append console=ttyS0\n");
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        if (rows[n].kind == ROW_GROUP)
            fprintf(out, "\n%s:\n", rows[n].text);
        else if (rows[n].kind == ROW_OPTION)
            print_option(out, &rows[n]);
    }
    fprintf(out, "\nAccepted without effect:");
    print_names(out, ROW_ACCEPT);
    fprintf(out, "Known, but not there yet:");
    print_names(out, ROW_LATER);
    fprintf(out, "\nExit status:\n");
    exit_status_print(out);
}
