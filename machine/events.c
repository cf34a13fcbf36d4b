/* MMU events: from the processor's context to trace, ring and breakpoints. */
#include "machine/events.h"

#include "base/check.h"
#include "base/host/host.h"
#include "machine/internal.h"

#include <stdlib.h>
#include <string.h>

#define RING_RECORDS 65536

struct event_break {
    struct machine_event_break info;
    struct mmu_filter *filter;
};

struct machine_events {
    struct machine *machine;
    struct mmu_events *source; /* what the context points to: hands on what anybody wants */
    struct mmu_events *trace;  /* to a file; NULL: none */
    struct mmu_events *ring;   /* NULL: never recorded */
    bool recording;
    struct event_break breaks[MACHINE_EVENT_BREAKS];
    unsigned break_count, numbered, exact;
    struct mmu_event hit;
    unsigned hit_number;      /* of the breakpoint; 0: none yet */
    _Atomic bool hit_pending; /* the machine has not stopped for it yet */
};

/* mmu_events.notify of the source: on the vCPU's thread, or its stand-in's; one at a time. */
static void spread(void *opaque, const struct mmu_event *e)
{
    struct machine_events *ev = opaque;

    if (ev->trace != NULL)
        mmu_events_offer(ev->trace, e);
    if (ev->recording)
        mmu_events_offer(ev->ring, e);
    for (unsigned n = 0; n < ev->break_count; n++) {
        struct event_break *b = &ev->breaks[n];

        if (!(mmu_filter_kinds(b->filter) >> e->kind & 1) || !mmu_filter_passes(b->filter, e))
            continue;
        b->info.hits++;
        if (ev->hit_pending)
            continue;
        ev->hit = *e;
        ev->hit_number = b->info.number;
        ev->hit_pending = true;
        for (unsigned k = 0; k < ev->machine->processor_count; k++)
            vcpu_signal(ev->machine->processors[k].vcpu, VCPU_PENDING_EXIT, 0);
    }
}

static struct machine_events *events_of(struct machine *m)
{
    if (m->events != NULL)
        return m->events;
    m->events = host_alloc(sizeof(*m->events));
    m->events->machine = m;
    m->events->source = mmu_events_create(1);
    m->events->source->notify = spread;
    m->events->source->notify_opaque = m->events;
    return m->events;
}

/* The context's mask is what all want together. */
static void update(struct machine_events *ev)
{
    uint64_t mask = 0;

    if (ev->trace != NULL)
        mask |= ev->trace->mask;
    if (ev->recording)
        mask |= ev->ring->mask;
    ev->exact = 0;
    for (unsigned n = 0; n < ev->break_count; n++) {
        mask |= mmu_filter_kinds(ev->breaks[n].filter);
        ev->exact += ev->breaks[n].info.exact;
    }
    ev->source->mask = mask;
    for (unsigned n = 0; n < ev->machine->processor_count; n++)
        ev->machine->processors[n].vcpu->mmu.events = mask != 0 ? ev->source : NULL;
}

/* --- Trace --- */

bool machine_trace_mmu(struct machine *m, const char *filter, const char *path, const char *format,
                       struct error *err)
{
    struct machine_events *ev = events_of(m);
    enum mmu_sink_format sink;
    struct mmu_events *trace;

    if (!mmu_sink_format_from_word(format, &sink, err))
        return false;
    trace = mmu_events_create(1);
    if (!mmu_events_set_filter(trace, filter, err) || !machine_trace_end(m, err) ||
        !mmu_events_open_sink(trace, path, sink, err)) {
        mmu_events_close(trace, NULL);
        return false;
    }
    ev->trace = trace;
    update(ev);
    return true;
}

bool machine_trace_end(struct machine *m, struct error *err)
{
    struct mmu_events *trace;

    if (m->events == NULL || m->events->trace == NULL)
        return true;
    trace = m->events->trace;
    m->events->trace = NULL;
    update(m->events);
    return mmu_events_close(trace, err);
}

/* --- Recording --- */

bool machine_events_record(struct machine *m, const char *filter, struct error *err)
{
    struct machine_events *ev = events_of(m);

    if (ev->ring == NULL)
        ev->ring = mmu_events_create(RING_RECORDS);
    if (!mmu_events_set_filter(ev->ring, filter, err))
        return false;
    ev->recording = true;
    update(ev);
    return true;
}

void machine_events_pause(struct machine *m)
{
    if (m->events == NULL)
        return;
    m->events->recording = false;
    update(m->events);
}

bool machine_events_recording(const struct machine *m)
{
    return m->events != NULL && m->events->recording;
}

static const struct mmu_events *ring_of(const struct machine *m)
{
    return m->events != NULL ? m->events->ring : NULL;
}

uint64_t machine_events_oldest(const struct machine *m)
{
    return ring_of(m) != NULL ? ring_oldest(&ring_of(m)->ring) : 0;
}

uint64_t machine_events_end(const struct machine *m)
{
    return ring_of(m) != NULL ? ring_of(m)->ring.written : 0;
}

const struct mmu_event *machine_events_at(const struct machine *m, uint64_t n)
{
    return ring_of(m) != NULL ? ring_at(&ring_of(m)->ring, n) : NULL;
}

uint64_t machine_events_count(const struct machine *m, enum mmu_event_kind kind)
{
    return ring_of(m) != NULL ? ring_of(m)->counts[kind] : 0;
}

/* --- Breakpoints --- */

unsigned machine_event_break_add(struct machine *m, const char *filter, bool once, bool exact,
                                 struct error *err)
{
    struct machine_events *ev = events_of(m);
    struct event_break *b = &ev->breaks[ev->break_count];
    struct mmu_filter *compiled = NULL;

    if (ev->break_count == MACHINE_EVENT_BREAKS) {
        error_set(err, "there can be %d breakpoints at MMU events", MACHINE_EVENT_BREAKS);
        return 0;
    }
    if (filter[strspn(filter, " \t")] != '\0') {
        compiled = mmu_filter_create(filter, err);
        if (compiled == NULL)
            return 0;
    }
    *b = (struct event_break){.info = {.number = ++ev->numbered, .once = once, .exact = exact},
                              .filter = compiled};
    snprintf(b->info.text, sizeof(b->info.text), "%s", filter);
    ev->break_count++;
    update(ev);
    return b->info.number;
}

bool machine_event_break_remove(struct machine *m, unsigned number)
{
    struct machine_events *ev = m->events;

    for (unsigned n = 0; ev != NULL && n < ev->break_count; n++) {
        if (ev->breaks[n].info.number != number)
            continue;
        mmu_filter_destroy(ev->breaks[n].filter);
        memmove(&ev->breaks[n], &ev->breaks[n + 1],
                (--ev->break_count - n) * sizeof(ev->breaks[0]));
        update(ev);
        return true;
    }
    return false;
}

bool machine_event_break_at(const struct machine *m, unsigned n, struct machine_event_break *out)
{
    if (m->events == NULL || n >= m->events->break_count)
        return false;
    *out = m->events->breaks[n].info;
    return true;
}

const struct mmu_event *machine_event_hit(const struct machine *m)
{
    return m->events != NULL && m->events->hit_number != 0 ? &m->events->hit : NULL;
}

/* --- For the run loop --- */

bool machine_events_exact(const struct machine *m)
{
    return m->events != NULL && m->events->exact > 0;
}

bool machine_events_hit_waits(const struct machine *m)
{
    return m->events != NULL && m->events->hit_pending;
}

unsigned machine_events_take_hit(struct machine *m)
{
    struct machine_events *ev = m->events;
    unsigned number;

    if (ev == NULL || !ev->hit_pending)
        return 0;
    ev->hit_pending = false;
    number = ev->hit_number;
    for (unsigned n = 0; n < ev->break_count; n++) {
        if (ev->breaks[n].info.number == number && ev->breaks[n].info.once) {
            machine_event_break_remove(m, number);
            break;
        }
    }
    return number;
}

void machine_events_destroy(struct machine *m)
{
    struct machine_events *ev = m->events;

    if (ev == NULL)
        return;
    machine_trace_end(m, NULL);
    while (ev->break_count > 0)
        machine_event_break_remove(m, ev->breaks[0].info.number);
    for (unsigned n = 0; n < m->processor_count; n++)
        m->processors[n].vcpu->mmu.events = NULL;
    mmu_events_close(ev->ring, NULL);
    mmu_events_close(ev->source, NULL);
    m->events = NULL;
    free(ev);
}
