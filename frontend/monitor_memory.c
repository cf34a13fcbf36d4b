/* Commands that look at memory and its translation. */
#include "base/bits.h"
#include "frontend/monitor_commands.h"
#include "machine/debug.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define UNITS_MAX 65536 /* of one x */

void monitor_run_walk(struct call *c)
{
    struct machine_walk w = {.any_root = true};

    if (!monitor_number(c, c->words[1], &w.address))
        return;
    for (unsigned n = 2; n < c->count; n++) {
        if (monitor_word_is(c, n, "write")) {
            w.access = 1;
        } else if (monitor_word_is(c, n, "fetch")) {
            w.access = 2;
        } else if (monitor_word_is(c, n, "user")) {
            w.user = true;
        } else if (monitor_word_is(c, n, "cr3") && n + 1 < c->count) {
            if (!monitor_number(c, c->words[++n], &w.root))
                return;
            w.any_root = false;
        } else if (!monitor_word_is(c, n, "read")) {
            monitor_usage(c);
            return;
        }
    }
    machine_print_walk(c->monitor->machine, c->out, &w);
}

void monitor_run_maps(struct call *c)
{
    struct machine_filter f;

    if (monitor_filter(c, 1, false, &f))
        machine_print_maps(c->monitor->machine, c->out, &f);
}

void monitor_run_tlb(struct call *c)
{
    struct machine_filter f;

    if (monitor_filter(c, 1, true, &f))
        machine_print_tlb(c->monitor->machine, c->out, &f);
}

void monitor_run_shadow(struct call *c)
{
    uint64_t address;

    if (monitor_number(c, c->words[1], &address))
        machine_print_shadow(c->monitor->machine, c->out, address);
}

void monitor_run_spaces(struct call *c)
{
    machine_print_spaces(c->monitor->machine, c->out);
}

void monitor_run_frames(struct call *c)
{
    uint64_t address;

    if (monitor_number(c, c->words[1], &address))
        machine_print_frame(c->monitor->machine, c->out, address);
}

void monitor_run_gva2gpa(struct call *c)
{
    uint64_t address, physical;

    if (!monitor_number(c, c->words[1], &address))
        return;
    if (machine_translate(c->monitor->machine, address, &physical))
        fprintf(c->out, "gpa: %#" PRIx64 "\n", physical);
    else
        fprintf(c->out, "Unmapped\n");
}

void monitor_run_print(struct call *c)
{
    uint64_t sum = 0, value;

    for (unsigned n = 1; n < c->count; n++) {
        if (!monitor_number(c, c->words[n], &value))
            return;
        sum += value;
    }
    fprintf(c->out, "%#" PRIx64 "\n", sum);
}

/* --- x and xp --- */

struct format {
    uint64_t count;
    char letter;   /* x, d, u, o, c or i */
    unsigned size; /* bytes of a unit */
};

static unsigned unit_size(char letter)
{
    return letter == 'b' ? 1 : letter == 'h' ? 2 : letter == 'w' ? 4 : letter == 'g' ? 8 : 0;
}

/* "/16xb": count, format and unit; each may be missing. */
static bool read_format(const char *word, struct format *f)
{
    const char *p = word + (*word == '/');
    char *end;

    *f = (struct format){.count = 1};
    if (isdigit((unsigned char)*p)) {
        f->count = strtoull(p, &end, 10);
        p = end;
    }
    for (; *p != '\0'; p++) {
        if (strchr("xduoci", *p) != NULL && f->letter == '\0')
            f->letter = *p;
        else if (unit_size(*p) != 0 && f->size == 0)
            f->size = unit_size(*p);
        else
            return false;
    }
    f->letter = f->letter != '\0' ? f->letter : 'x';
    f->size = f->size != 0 ? f->size : f->letter == 'c' ? 1 : 4;
    return f->count <= UNITS_MAX;
}

static void print_character(FILE *out, uint64_t value)
{
    if (value >= ' ' && value < 0x7f && value != '\'' && value != '\\')
        fprintf(out, " '%c'", (int)value);
    else
        fprintf(out, " '\\x%02" PRIx64 "'", value);
}

static void print_unit(FILE *out, uint64_t value, const struct format *f)
{
    unsigned unused = 64 - 8 * f->size;

    switch (f->letter) {
    case 'd':
        fprintf(out, " %" PRId64, (int64_t)(value << unused) >> unused);
        break;
    case 'u':
        fprintf(out, " %" PRIu64, value);
        break;
    case 'o':
        fprintf(out, " %#" PRIo64, value);
        break;
    case 'c':
        print_character(out, value);
        break;
    default:
        fprintf(out, " 0x%0*" PRIx64, (int)f->size * 2, value);
        break;
    }
}

/* Why there is nothing to read. */
static void tell_missing(struct call *c, uint64_t address, bool physical)
{
    struct machine *m = c->monitor->machine;
    uint64_t where = address;
    const char *device;

    fprintf(c->out, "Cannot access memory at %#" PRIx64 ": ", address);
    if (!physical && !machine_translate(m, address, &where)) {
        fprintf(c->out, "not mapped\n");
        return;
    }
    device = machine_device_at(m, where);
    if (device != NULL)
        fprintf(c->out, "registers of a device (%s), which a read might change\n", device);
    else
        fprintf(c->out, "there is no memory at physical %#" PRIx64 "\n", where);
}

static void dump_units(struct call *c, const struct format *f, uint64_t address, bool physical)
{
    unsigned per_line = f->size == 1 ? 8 : 16 / f->size;

    for (uint64_t n = 0; n < f->count; n++, address += f->size) {
        uint8_t bytes[8] = {0};
        uint64_t value = 0;
        size_t done = machine_debug_read(c->monitor->machine, address, physical, bytes, f->size);

        if (done < f->size) {
            if (n % per_line != 0)
                fputc('\n', c->out);
            tell_missing(c, address + done, physical);
            return;
        }
        if (n % per_line == 0)
            fprintf(c->out, "%016" PRIx64 ":", address);
        for (unsigned k = f->size; k-- > 0;)
            value = value << 8 | bytes[k];
        print_unit(c->out, value, f);
        if (n % per_line == per_line - 1 || n + 1 == f->count)
            fputc('\n', c->out);
    }
}

static void dump(struct call *c, bool physical)
{
    struct format f;
    uint64_t address;

    if (!read_format(c->count > 2 ? c->words[1] : "/1xw", &f)) {
        fprintf(c->out,
                "'%s': a count up to %u, a format of x d u o c i, a unit of b h w g; as in /16xb\n",
                c->words[1], UNITS_MAX);
        return;
    }
    if (!monitor_number(c, c->words[c->count - 1], &address))
        return;
    if (f.letter != 'i')
        dump_units(c, &f, address, physical);
    else if (!machine_print_instructions(c->monitor->machine, c->out, address, physical, f.count,
                                         c->monitor->tools))
        tell_missing(c, address, physical);
}

void monitor_run_x(struct call *c)
{
    dump(c, false);
}

void monitor_run_xp(struct call *c)
{
    dump(c, true);
}
