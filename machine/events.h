/*
 * The events of a machine's MMU for several listeners at a time, each with a filter (mmu/events.h)
 * of its own: a file, a ring that a person looks at, and breakpoints. With none of them the MMU
 * pays what it pays without events. Listening changes nothing in the run; stopping does no more
 * than a stop by hand.
 *
 * Threads: the machine is parked or held (machine/debug.h), or machine_run does not run.
 */
#ifndef MACHINE_EVENTS_H
#define MACHINE_EVENTS_H

#include "base/error.h"
#include "machine/machine.h"
#include "mmu/events.h"

#include <stdbool.h>
#include <stdint.h>

/* --- Recording; the trace to a file is in machine/machine.h --- */

/* From now on the newest records that pass the filter (NULL or "": all) are kept, and all are
 * counted; what was kept stays. False and err, and nothing changed, if the filter is wrong. */
bool machine_events_record(struct machine *m, const char *filter, struct error *err);

/* Keeps no more; what is there can still be looked at. */
void machine_events_pause(struct machine *m);
bool machine_events_recording(const struct machine *m);

/* Records have numbers from 0; [oldest, end) are held. */
uint64_t machine_events_oldest(const struct machine *m);
uint64_t machine_events_end(const struct machine *m);
const struct mmu_event *machine_events_at(const struct machine *m, uint64_t n);

/* How many of a kind have been recorded. */
uint64_t machine_events_count(const struct machine *m, enum mmu_event_kind kind);

/* --- Breakpoints --- */

#define MACHINE_EVENT_BREAKS 32
#define MACHINE_EVENT_TEXT   256

struct machine_event_break {
    unsigned number; /* from 1, never used again */
    bool once;       /* goes with the next stop that it causes */
    bool exact;
    uint64_t hits;
    char text[MACHINE_EVENT_TEXT]; /* the filter */
};

/*
 * Stops the machine at an event that passes the filter: with `exact` behind the very instruction
 * that caused it, for which every instruction is run alone; else at the end of the block of
 * instructions it is in. Before the handler's first instruction if it is a fault. Answers
 * the number; 0 and err if the filter is wrong or there are too many.
 */
unsigned machine_event_break_add(struct machine *m, const char *filter, bool once, bool exact,
                                 struct error *err);

/* False: there is no such breakpoint. */
bool machine_event_break_remove(struct machine *m, unsigned number);

/* Breakpoint n of all, as long as there is one. */
bool machine_event_break_at(const struct machine *m, unsigned n, struct machine_event_break *out);

/* The event of the last stop for one; NULL: there was none. */
const struct mmu_event *machine_event_hit(const struct machine *m);

#endif
