#include "mmu/event_fields.h"

#include "mmu/mmu.h"

#include <string.h>

static const struct mmu_event_info kinds[] = {
#define MMU_EVENT(id, group, word, fields, format, manual)                                         \
    [MMU_EVENT_##id] = {word, #group, fields, format, manual},
#include "mmu/events.def"
};

static const char *const causes[] = {
#define MMU_CAUSE(id, word) [MMU_CAUSE_##id] = word,
#include "mmu/events.def"
};

static const char *const accesses[] = {
    [MMU_READ] = "read",
    [MMU_WRITE] = "write",
    [MMU_FETCH] = "fetch",
};

static const char *const views[] = {
    [TLB_VIEW_SUPERVISOR] = "supervisor",
    [TLB_VIEW_SUPERVISOR_AC] = "supervisor_ac",
    [TLB_VIEW_USER] = "user",
};

const struct mmu_event_info *mmu_event_info(enum mmu_event_kind kind)
{
    return &kinds[kind];
}

const char *mmu_cause_word(enum mmu_event_cause cause)
{
    return causes[cause];
}

static const char *kind_word(unsigned value)
{
    return value < ARRAY_SIZE(kinds) ? kinds[value].word : NULL;
}

static const char *cause_word(unsigned value)
{
    return value < ARRAY_SIZE(causes) ? causes[value] : NULL;
}

static const char *access_word(unsigned value)
{
    return value < ARRAY_SIZE(accesses) ? accesses[value] : NULL;
}

static const char *view_word(unsigned value)
{
    return value < ARRAY_SIZE(views) ? views[value] : NULL;
}

#define FIELD(name, bit, member, style, word)                                                      \
    {                                                                                              \
        name, bit, offsetof(struct mmu_event, member), sizeof(((struct mmu_event *)NULL)->member), \
            style, word                                                                            \
    }

static const struct event_field fields[] = {
    FIELD("kind", 0, kind, EVENT_WORD, kind_word),
    FIELD("vcpu", 0, vcpu, EVENT_DECIMAL, NULL),
    FIELD("instructions", 0, instructions, EVENT_DECIMAL, NULL),
    FIELD("rip", 0, rip, EVENT_HEX, NULL),
    FIELD("cr3", 0, cr3, EVENT_HEX, NULL),
    FIELD("access", FIELD_ACCESS, access, EVENT_WORD, access_word),
    FIELD("view", FIELD_VIEW, view, EVENT_WORD, view_word),
    FIELD("va", FIELD_VA, gva, EVENT_HEX, NULL),
    FIELD("gpa", FIELD_GPA, gpa, EVENT_HEX, NULL),
    FIELD("mpa", FIELD_MPA, mpa, EVENT_HEX, NULL),
    FIELD("level", FIELD_LEVEL, level, EVENT_DECIMAL, NULL),
    FIELD("old", FIELD_OLD, old_entry, EVENT_HEX, NULL),
    FIELD("new", FIELD_NEW, new_entry, EVENT_HEX, NULL),
    FIELD("cause", FIELD_CAUSE, cause, EVENT_WORD, cause_word),
    FIELD("error", FIELD_ERROR, error, EVENT_HEX, NULL),
    FIELD("rights", FIELD_RIGHTS, rights, EVENT_RIGHTS, NULL),
    FIELD("shift", FIELD_SHIFT, shift, EVENT_DECIMAL, NULL),
    FIELD("count", FIELD_COUNT, count, EVENT_DECIMAL, NULL),
};

const struct event_field *event_field_at(unsigned n)
{
    return n < ARRAY_SIZE(fields) ? &fields[n] : NULL;
}

const struct event_field *event_field_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        if (strlen(fields[i].name) == length && memcmp(fields[i].name, name, length) == 0)
            return &fields[i];
    return NULL;
}

uint64_t event_field_value(const struct event_field *f, const struct mmu_event *e)
{
    const void *at = (const char *)e + f->offset;

    switch (f->size) {
    case 1:
        return *(const uint8_t *)at;
    case 2:
        return *(const uint16_t *)at;
    case 4:
        return *(const uint32_t *)at;
    default:
        return *(const uint64_t *)at;
    }
}
