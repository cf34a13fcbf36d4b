/*
 * What the MMU did, event by event, for a person at a debugger. Every transition that matters is a
 * kind (mmu/events.def): fixed-size records go into a ring, and from there to a debugger, or to a
 * file as text, JSON lines or a Chrome trace. All events lie on slow paths: with no listener
 * (mmu_context.events is NULL) each costs one test of a pointer.
 *
 *   emit -> kind mask -> filter -> counters, ring -> sink (file), notify (breakpoint)
 *
 * One struct mmu_events may serve several vCPUs, which emit one at a time; everything else is for
 * times when none of them runs.
 */
#ifndef MMU_EVENTS_H
#define MMU_EVENTS_H

#include "base/bits.h"
#include "base/error.h"
#include "base/ring.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct mmu_context;
struct mmu_filter;

enum mmu_event_kind {
#define MMU_EVENT(id, group, word, fields, format, manual) MMU_EVENT_##id,
#include "mmu/events.def"
    MMU_EVENT_COUNT
};

enum mmu_event_cause {
#define MMU_CAUSE(id, word) MMU_CAUSE_##id,
#include "mmu/events.def"
    MMU_CAUSE_COUNT
};

/* Which fields of a record a kind uses, beyond those that every record has. */
enum mmu_event_field {
    FIELD_VA = 1 << 0,
    FIELD_GPA = 1 << 1,
    FIELD_MPA = 1 << 2,
    FIELD_OLD = 1 << 3,
    FIELD_NEW = 1 << 4,
    FIELD_LEVEL = 1 << 5,
    FIELD_CAUSE = 1 << 6,
    FIELD_ACCESS = 1 << 7,
    FIELD_VIEW = 1 << 8,
    FIELD_ERROR = 1 << 9,
    FIELD_RIGHTS = 1 << 10,
    FIELD_SHIFT = 1 << 11,
    FIELD_COUNT = 1 << 12,
};

struct mmu_event {
    uint64_t sequence;     /* counts the records that passed mask and filter, from 0 */
    uint64_t instructions; /* retired by all vCPUs together; in parallel, by this one */
    uint64_t rip;          /* of the instruction that caused it */
    uint64_t cr3;          /* as loaded at that moment */
    uint64_t gva;
    uint64_t gpa;       /* of the entry (walk steps) or of the page */
    uint64_t mpa;       /* of the frame or of the bytes written */
    uint64_t old_entry; /* raw entry or register before */
    uint64_t new_entry; /* after */
    uint32_t error;     /* enum pf_error bits */
    uint32_t count;     /* entries dropped, bytes written, watch bits, INVPCID type */
    uint8_t kind;       /* enum mmu_event_kind */
    uint8_t level;      /* of the table: 1 holds 4 KiB pages, 5 is a PML5 */
    uint8_t cause;      /* enum mmu_event_cause */
    uint8_t access;     /* enum mmu_access */
    uint8_t view;       /* enum tlb_view */
    uint8_t rights;     /* enum walk_rights bits, combined from the root down */
    uint8_t shift;      /* page size: 12, 21, 22 or 30 */
    uint16_t vcpu;
};

/* A row of events.def. */
struct mmu_event_info {
    const char *word;
    const char *group;
    uint32_t fields; /* enum mmu_event_field bits */
    const char *format;
    const char *manual;
};

enum mmu_sink_format {
    MMU_SINK_TEXT,   /* one line each, for people */
    MMU_SINK_JSON,   /* one JSON object a line */
    MMU_SINK_CHROME, /* one JSON document: chrome://tracing, Perfetto; time = instructions */
};

struct mmu_events {
    pthread_mutex_t lock; /* of all that follows, while vCPUs emit */
    uint64_t mask; /* bit n: kind n is wanted at all; MMU_EVENTS_ALL after creation */
    struct ring ring;
    struct mmu_filter *filter; /* NULL: everything passes */
    FILE *sink;                /* NULL: none */
    bool sink_is_stdout;       /* then it is not closed */
    enum mmu_sink_format format;
    bool sink_empty; /* nothing written yet */
    uint64_t counts[MMU_EVENT_COUNT]; /* records that passed mask and filter, per kind */
    /* Called for each record that passed, for breakpoints and live views; NULL: nobody. */
    void (*notify)(void *opaque, const struct mmu_event *e);
    void *notify_opaque;
};

#define MMU_EVENTS_ALL (BIT64(MMU_EVENT_COUNT) - 1)

/* Capacity counts records; it is rounded up to a power of two. The caller stores the result in
 * mmu_context.events, and takes it out there before closing it. */
struct mmu_events *mmu_events_create(uint64_t capacity);

/* Finishes and closes the sink and frees everything. False and err if the sink's file could not be
 * written completely. ev may be NULL. */
bool mmu_events_close(struct mmu_events *ev, struct error *err);

/*
 * Which events are wanted; NULL or "" for all. The kind mask follows from the expression where it
 * only depends on kinds. On an error the old filter stays. The language:
 *
 *   expression   comparisons joined with && and ||, negated with !, grouped with ( )
 *   comparison   field op value, op one of == != < <= > >= &  (& : a common bit)
 *                field in low-high (both included)
 *   fields       kind va gpa mpa old new level cause access view error rights shift count
 *                cr3 rip instructions vcpu
 *   values       numbers (decimal, 0x...), or the words of kind, cause, access and view (== and
 *                != only); letters of u, w, x for rights
 *
 * A comparison with a field that the kind does not have is false.
 *
 *   kind==walk && va in 0x400000-0x4fffff && level<=2
 */
bool mmu_events_set_filter(struct mmu_events *ev, const char *text, struct error *err);

/* Sends all further records to a file, "-" for standard output; closes a sink opened before. */
bool mmu_events_open_sink(struct mmu_events *ev, const char *path, enum mmu_sink_format format,
                          struct error *err);

/* "text", "json" or "chrome"; false and err if it is none of them. */
bool mmu_sink_format_from_word(const char *word, enum mmu_sink_format *format, struct error *err);

/* Writes one record in the format; chrome and JSON without separator or newline. */
void mmu_event_print(FILE *out, const struct mmu_event *e, enum mmu_sink_format format);

/* The row of a kind. */
const struct mmu_event_info *mmu_event_info(enum mmu_event_kind kind);
const char *mmu_cause_word(enum mmu_event_cause cause);

/* Does the record pass the filter? NULL passes everything. */
bool mmu_filter_passes(const struct mmu_filter *f, const struct mmu_event *e);

/* Compiles a filter expression; NULL and err if it is wrong. Freed with mmu_filter_destroy. */
struct mmu_filter *mmu_filter_create(const char *text, struct error *err);
void mmu_filter_destroy(struct mmu_filter *f);

/* The kinds that may pass, as in mmu_events.mask. */
uint64_t mmu_filter_kinds(const struct mmu_filter *f);

/* --- For mmu/ --- */

/* Hands a complete record on to a listener, if its mask and filter let it pass: ring, counts, sink,
 * notify. */
void mmu_events_offer(struct mmu_events *ev, const struct mmu_event *e);

/* Completes the record with origin and sequence and hands it on if it passes. */
void mmu_event_emit(const struct mmu_context *m, struct mmu_event *e);

static inline bool mmu_events_want(const struct mmu_events *ev, enum mmu_event_kind kind)
{
    return unlikely(ev != NULL) && (ev->mask >> kind & 1);
}

/* MMU_EMIT(m, WALK_STEP, .gva = ..., .level = ...): the fields are evaluated only if wanted. */
#define MMU_EMIT(m, id, ...)                                                                       \
    do {                                                                                           \
        if (mmu_events_want((m)->events, MMU_EVENT_##id))                                          \
            mmu_event_emit((m), &(struct mmu_event){.kind = MMU_EVENT_##id, __VA_ARGS__});         \
    } while (0)

#endif
