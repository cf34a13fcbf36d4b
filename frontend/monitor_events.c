/* Commands about the MMU's events: listing, following, tracing, breakpoints. */
#include "base/bits.h"
#include "frontend/monitor_commands.h"
#include "frontend/values.h"
#include "machine/debug.h"
#include "machine/events.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LIST_DEFAULT 20
#define FOLLOW_MOST  500 /* records of one look */

/* What the line says from word n on; "" if nothing. */
static const char *rest(const struct call *c, unsigned n)
{
    return n < c->count ? c->line + c->at[n] : "";
}

static void tell(struct call *c, const struct error *err)
{
    fprintf(c->out, "%s\n", err->text);
}

static void print_event(FILE *out, const struct mmu_event *e)
{
    mmu_event_print(out, e, MMU_SINK_TEXT);
    fputc('\n', out);
}

/* --- events --- */

static void switch_on(struct call *c, const char *filter)
{
    struct error err = {0};

    if (machine_events_record(c->monitor->machine, filter, &err))
        fputs("events are recorded\n", c->out);
    else
        tell(c, &err);
}

static void print_counts(struct call *c)
{
    uint64_t sum = 0;

    for (unsigned n = 0; n < MMU_EVENT_COUNT; n++) {
        enum mmu_event_kind kind = (enum mmu_event_kind)n;
        uint64_t count = machine_events_count(c->monitor->machine, kind);

        if (count > 0)
            fprintf(c->out, "%-14s %" PRIu64 "\n", mmu_event_info(kind)->word, count);
        sum += count;
    }
    fprintf(c->out, "%-14s %" PRIu64 "\n", "all", sum);
}

/* The last `most` that pass. */
static void list(struct call *c, uint64_t most, const struct mmu_filter *filter)
{
    const struct machine *m = c->monitor->machine;
    uint64_t oldest = machine_events_oldest(m), end = machine_events_end(m), first = end;

    if (!machine_events_recording(m))
        fputs("nothing is recorded now; 'events on [FILTER]' does that\n", c->out);
    for (uint64_t found = 0; first > oldest && found < most; first--)
        found += mmu_filter_passes(filter, machine_events_at(m, first - 1));
    for (; first < end; first++) {
        const struct mmu_event *e = machine_events_at(m, first);

        if (mmu_filter_passes(filter, e))
            print_event(c->out, e);
    }
}

/* [N] [if EXPRESSION] */
static void list_words(struct call *c)
{
    struct mmu_filter *filter = NULL;
    uint64_t most = LIST_DEFAULT;
    struct error err = {0};
    unsigned n = 1;

    if (n < c->count && !monitor_word_is(c, n, "if") && !monitor_number(c, c->words[n++], &most))
        return;
    if (n < c->count && (!monitor_word_is(c, n, "if") || n + 1 == c->count)) {
        monitor_usage(c);
        return;
    }
    if (n < c->count) {
        filter = mmu_filter_create(rest(c, n + 1), &err);
        if (filter == NULL) {
            tell(c, &err);
            return;
        }
    }
    list(c, most, filter);
    mmu_filter_destroy(filter);
}

void monitor_run_events(struct call *c)
{
    if (monitor_word_is(c, 1, "on") || monitor_word_is(c, 1, "filter")) {
        switch_on(c, rest(c, 2));
    } else if (monitor_word_is(c, 1, "off")) {
        machine_events_pause(c->monitor->machine);
        fputs("events are no longer recorded\n", c->out);
    } else if (monitor_word_is(c, 1, "count")) {
        print_counts(c);
    } else if (monitor_word_is(c, 1, "follow")) {
        if (c->monitor->in_gdb) {
            fputs("not in GDB, where the machine stands: 'events' lists\n", c->out);
            return;
        }
        if (!machine_events_recording(c->monitor->machine))
            switch_on(c, rest(c, 2));
        if (!machine_events_recording(c->monitor->machine))
            return;
        c->monitor->followed = machine_events_end(c->monitor->machine);
        c->monitor->wait = MONITOR_FOLLOW;
    } else {
        list_words(c);
    }
}

void monitor_follow(struct monitor *monitor, FILE *out)
{
    uint64_t oldest, end;

    if (monitor->wait != MONITOR_FOLLOW)
        return;
    machine_hold(monitor->machine);
    end = machine_events_end(monitor->machine);
    oldest =
        MAX(machine_events_oldest(monitor->machine), end > FOLLOW_MOST ? end - FOLLOW_MOST : 0);
    if (monitor->followed < oldest) {
        fprintf(out, "... %" PRIu64 " not shown\n", oldest - monitor->followed);
        monitor->followed = oldest;
    }
    for (; monitor->followed < end; monitor->followed++)
        print_event(out, machine_events_at(monitor->machine, monitor->followed));
    machine_release(monitor->machine);
}

/* --- trace FILE [FORMAT] [FILTER], trace off --- */

void monitor_run_trace(struct call *c)
{
    struct error err = {0};
    enum mmu_sink_format format;
    const char *word = "text";
    unsigned n = 2;

    if (monitor_word_is(c, 1, "off") && c->count == 2) {
        if (machine_trace_end(c->monitor->machine, &err))
            fputs("no trace is written\n", c->out);
        else
            tell(c, &err);
        return;
    }
    if (strcmp(c->words[1], "-") == 0 || c->monitor->no_files) {
        fputs("a trace cannot go there\n", c->out);
        return;
    }
    if (n < c->count && mmu_sink_format_from_word(c->words[n], &format, NULL))
        word = c->words[n++];
    if (machine_trace_mmu(c->monitor->machine, rest(c, n), c->words[1], word, &err))
        fprintf(c->out, "events go to %s\n", c->words[1]);
    else
        tell(c, &err);
}

/* --- Breakpoints --- */

static const char *kind_word(const void *opaque, size_t n)
{
    (void)opaque;
    return n < MMU_EVENT_COUNT    ? mmu_event_info((enum mmu_event_kind)n)->word
           : n == MMU_EVENT_COUNT ? "any"
                                  : NULL;
}

static bool known_kind(struct call *c, const char *word)
{
    struct error err = {0};

    if (strcmp(word, "any") == 0)
        return true;
    for (unsigned n = 0; n < MMU_EVENT_COUNT; n++) {
        const struct mmu_event_info *info = mmu_event_info((enum mmu_event_kind)n);

        if (strcmp(info->word, word) == 0 || strcmp(info->group, word) == 0)
            return true;
    }
    value_unknown(&err, "kind", word, kind_word, NULL);
    tell(c, &err);
    return false;
}

/* KIND [exact] [if EXPRESSION], from word n on: the number of the breakpoint, or 0. */
static unsigned add_break(struct call *c, unsigned n, bool once)
{
    char text[MACHINE_EVENT_TEXT];
    const char *kind = c->words[n], *expression = "";
    struct error err = {0};
    bool exact = monitor_word_is(c, n + 1, "exact");
    unsigned number;
    int length;

    if (!known_kind(c, kind))
        return 0;
    n += exact ? 2 : 1;
    if (n < c->count && (!monitor_word_is(c, n, "if") || n + 1 == c->count)) {
        fputs("what follows the kind is: [exact] [if EXPRESSION]\n", c->out);
        return 0;
    }
    if (n < c->count) {
        struct mmu_filter *alone;

        expression = rest(c, n + 1);
        alone = mmu_filter_create(expression, &err); /* so that columns are the user's */
        if (alone == NULL) {
            tell(c, &err);
            return 0;
        }
        mmu_filter_destroy(alone);
    }
    if (strcmp(kind, "any") == 0)
        length = snprintf(text, sizeof(text), "%s", expression);
    else
        length = snprintf(text, sizeof(text), *expression != '\0' ? "kind==%s && (%s)" : "kind==%s",
                          kind, expression);
    if (length < 0 || (size_t)length >= sizeof(text)) {
        fputs("that filter is too long\n", c->out);
        return 0;
    }
    number = machine_event_break_add(c->monitor->machine, text, once, exact, &err);
    if (number == 0)
        tell(c, &err);
    return number;
}

void monitor_break_mmu(struct call *c)
{
    unsigned number;

    if (c->count < 3) {
        fputs("break mmu KIND [exact] [if EXPRESSION]\n", c->out);
        return;
    }
    number = add_break(c, 2, false);
    if (number > 0)
        fprintf(c->out, "MMU breakpoint %u\n", number);
}

void monitor_delete_mmu(struct call *c)
{
    struct machine_event_break b;
    uint64_t number;

    if (c->count != 3) {
        fputs("delete mmu NUMBER, delete mmu all\n", c->out);
        return;
    }
    if (monitor_word_is(c, 2, "all")) {
        while (machine_event_break_at(c->monitor->machine, 0, &b))
            machine_event_break_remove(c->monitor->machine, b.number);
        return;
    }
    if (!monitor_number(c, c->words[2], &number))
        return;
    if (number > UINT32_MAX || !machine_event_break_remove(c->monitor->machine, (unsigned)number))
        fprintf(c->out, "there is no MMU breakpoint %" PRIu64 "\n", number);
}

unsigned monitor_list_mmu(struct call *c)
{
    struct machine_event_break b;
    unsigned n = 0;

    for (; machine_event_break_at(c->monitor->machine, n, &b); n++)
        fprintf(c->out, "mmu %u%s%s: %s, %" PRIu64 " hits\n", b.number, b.once ? " once" : "",
                b.exact ? " exact" : "", b.text[0] != '\0' ? b.text : "any", b.hits);
    return n;
}

/* Lets the machine run to the event of a breakpoint that goes with it. */
static void run_to(struct call *c, unsigned number)
{
    if (c->monitor->in_gdb) {
        fputs("it stops there after 'continue'\n", c->out);
        return;
    }
    c->monitor->once = number;
    c->monitor->wait = MONITOR_WAIT_STOP;
    machine_continue(c->monitor->machine);
}

void monitor_step_mmu(struct call *c)
{
    struct error err = {0};
    unsigned number = machine_event_break_add(c->monitor->machine, "", true, true, &err);

    if (number == 0)
        tell(c, &err);
    else
        run_to(c, number);
}

void monitor_run_wait_for(struct call *c)
{
    unsigned number = add_break(c, 1, true);

    if (number > 0)
        run_to(c, number);
}
