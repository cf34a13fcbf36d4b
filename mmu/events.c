/* The event ring, its sink, and the three formats. */
#include "mmu/events.h"

#include "base/host/host.h"
#include "mmu/event_fields.h"
#include "mmu/mmu.h"
#include "mmu/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mmu_events *mmu_events_create(uint64_t capacity)
{
    struct mmu_events *ev = host_alloc(sizeof(*ev));

    pthread_mutex_init(&ev->lock, NULL);
    ev->mask = MMU_EVENTS_ALL;
    ring_init(&ev->ring, sizeof(struct mmu_event), capacity);
    return ev;
}

bool mmu_events_set_filter(struct mmu_events *ev, const char *text, struct error *err)
{
    struct mmu_filter *filter = NULL;

    if (text != NULL && text[strspn(text, " \t")] != '\0') {
        filter = mmu_filter_create(text, err);
        if (filter == NULL)
            return false;
    }
    mmu_filter_destroy(ev->filter);
    ev->filter = filter;
    ev->mask = mmu_filter_kinds(filter);
    return true;
}

/* --- Sink --- */

static bool close_sink(struct mmu_events *ev, struct error *err)
{
    bool ok;

    if (ev->sink == NULL)
        return true;
    if (ev->format == MMU_SINK_CHROME)
        fputs(ev->sink_empty ? "[]\n" : "\n]\n", ev->sink);
    ok = fflush(ev->sink) == 0 && !ferror(ev->sink);
    if (!ev->sink_is_stdout && fclose(ev->sink) != 0)
        ok = false;
    ev->sink = NULL;
    if (!ok)
        return error_set(err, "MMU events: the file could not be written completely");
    return true;
}

bool mmu_events_open_sink(struct mmu_events *ev, const char *path, enum mmu_sink_format format,
                          struct error *err)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *file = to_stdout ? stdout : fopen(path, "w");

    if (file == NULL)
        return error_set(err, "MMU events: cannot open '%s': %s", path, strerror(errno));
    if (!close_sink(ev, err)) {
        if (!to_stdout)
            fclose(file);
        return false;
    }
    ev->sink = file;
    ev->sink_is_stdout = to_stdout;
    ev->sink_empty = true;
    ev->format = format;
    return true;
}

bool mmu_events_close(struct mmu_events *ev, struct error *err)
{
    bool ok;

    if (ev == NULL)
        return true;
    ok = close_sink(ev, err);
    mmu_filter_destroy(ev->filter);
    ring_destroy(&ev->ring);
    pthread_mutex_destroy(&ev->lock);
    free(ev);
    return ok;
}

bool mmu_sink_format_from_word(const char *word, enum mmu_sink_format *format, struct error *err)
{
    static const char *const words[] = {
        [MMU_SINK_TEXT] = "text",
        [MMU_SINK_JSON] = "json",
        [MMU_SINK_CHROME] = "chrome",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        if (strcmp(word, words[i]) != 0)
            continue;
        *format = (enum mmu_sink_format)i;
        return true;
    }
    return error_set(err, "MMU events: no format '%s'; there are text, json and chrome", word);
}

static void write_sink(struct mmu_events *ev, const struct mmu_event *e)
{
    if (ev->format == MMU_SINK_CHROME)
        fputs(ev->sink_empty ? "[\n" : ",\n", ev->sink);
    mmu_event_print(ev->sink, e, ev->format);
    if (ev->format != MMU_SINK_CHROME)
        fputc('\n', ev->sink);
    ev->sink_empty = false;
}

void mmu_events_offer(struct mmu_events *ev, const struct mmu_event *e)
{
    struct mmu_event *kept;

    if (!(ev->mask >> e->kind & 1) || !mmu_filter_passes(ev->filter, e))
        return;
    ev->counts[e->kind]++;
    kept = ring_push(&ev->ring);
    *kept = *e;
    kept->sequence = ev->ring.written - 1;
    if (ev->sink != NULL)
        write_sink(ev, kept);
    if (ev->notify != NULL)
        ev->notify(ev->notify_opaque, kept);
}

void mmu_event_emit(const struct mmu_context *m, struct mmu_event *e)
{
    e->instructions = m->origin_instructions;
    e->rip = m->origin_rip;
    e->cr3 = m->cr3;
    e->vcpu = (uint16_t)m->vcpu;
    pthread_mutex_lock(&m->events->lock);
    mmu_events_offer(m->events, e);
    pthread_mutex_unlock(&m->events->lock);
}

/* --- Formats --- */

static void print_value(FILE *out, const struct event_field *f, const struct mmu_event *e)
{
    uint64_t value = event_field_value(f, e);
    const char *word;

    switch (f->style) {
    case EVENT_WORD:
        word = f->word((unsigned)value);
        fputs(word != NULL ? word : "?", out);
        break;
    case EVENT_RIGHTS:
        fprintf(out, "%c%c%c", value & WALK_USER ? 'u' : '-', value & WALK_WRITABLE ? 'w' : '-',
                value & WALK_EXECUTABLE ? 'x' : '-');
        break;
    case EVENT_HEX:
        fprintf(out, "0x%llx", (unsigned long long)value);
        break;
    default:
        fprintf(out, "%llu", (unsigned long long)value);
        break;
    }
}

/* The kind's template, with {field} replaced. */
static void print_text(FILE *out, const struct mmu_event *e)
{
    const struct mmu_event_info *info = mmu_event_info((enum mmu_event_kind)e->kind);

    fprintf(out, "%llu cpu%u 0x%llx %s ", (unsigned long long)e->instructions, e->vcpu,
            (unsigned long long)e->rip, info->word);
    for (const char *p = info->format; *p != '\0'; p++) {
        size_t length = *p == '{' ? strcspn(p + 1, "}") : 0;
        const struct event_field *f = length > 0 ? event_field_find(p + 1, length) : NULL;

        if (f == NULL) {
            fputc(*p, out);
            continue;
        }
        print_value(out, f, e);
        p += length + 1;
    }
}

/* "name":value for every field of the kind, with commas between. */
static void print_members(FILE *out, const struct mmu_event *e, const char *separator)
{
    uint32_t has = mmu_event_info((enum mmu_event_kind)e->kind)->fields;
    const struct event_field *f;

    for (unsigned i = 0; (f = event_field_at(i)) != NULL; i++) {
        const char *quote = f->style == EVENT_DECIMAL ? "" : "\"";

        if (f->bit != 0 && !(has & f->bit))
            continue;
        fprintf(out, "%s\"%s\":%s", separator, f->name, quote);
        print_value(out, f, e);
        fputs(quote, out);
        separator = ",";
    }
}

/* Trace Event Format: a walk is a slice, everything else an instant. */
static void print_chrome(FILE *out, const struct mmu_event *e)
{
    const struct mmu_event_info *info = mmu_event_info((enum mmu_event_kind)e->kind);
    const char *name = info->word, *phase = "i\",\"s\":\"t";

    if (e->kind == MMU_EVENT_WALK_START || e->kind == MMU_EVENT_WALK_END) {
        name = info->group;
        phase = e->kind == MMU_EVENT_WALK_START ? "B" : "E";
    }
    fprintf(out,
            "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"%s\",\"ts\":%llu,\"pid\":0,\"tid\":%u,"
            "\"args\":{",
            name, info->group, phase, (unsigned long long)e->instructions, e->vcpu);
    print_members(out, e, "");
    fputs("}}", out);
}

void mmu_event_print(FILE *out, const struct mmu_event *e, enum mmu_sink_format format)
{
    switch (format) {
    case MMU_SINK_TEXT:
        print_text(out, e);
        break;
    case MMU_SINK_JSON:
        fprintf(out, "{\"sequence\":%llu", (unsigned long long)e->sequence);
        print_members(out, e, ",");
        fputc('}', out);
        break;
    case MMU_SINK_CHROME:
        print_chrome(out, e);
        break;
    }
}
