/*
 * The fields of an event record as one table, for everything that names them: the filter language,
 * the text templates of events.def and the JSON writers. Internal to mmu/.
 */
#ifndef MMU_EVENT_FIELDS_H
#define MMU_EVENT_FIELDS_H

#include "mmu/events.h"

enum event_style {
    EVENT_DECIMAL,
    EVENT_HEX,
    EVENT_WORD,   /* one of the field's words */
    EVENT_RIGHTS, /* "uwx", a dash for each that is missing */
};

struct event_field {
    const char *name;  /* in filters, templates and JSON */
    uint32_t bit;      /* FIELD_*, or 0: every record has it */
    uint16_t offset;   /* in struct mmu_event */
    uint8_t size;      /* 1, 4 or 8 */
    uint8_t style;     /* enum event_style */
    /* EVENT_WORD: the word of a value, NULL beyond the last. */
    const char *(*word)(unsigned value);
};

/* The field of that name (length characters), or NULL. */
const struct event_field *event_field_find(const char *name, size_t length);

/* Field number n in the order of output, or NULL after the last. */
const struct event_field *event_field_at(unsigned n);

uint64_t event_field_value(const struct event_field *f, const struct mmu_event *e);

#endif
