#include "base/clock.h"

#include "base/check.h"
#include "base/host/host.h"

#include <string.h>

/* A vCPU thread may look at these without the device lock: relaxed atomics, so never torn. */
#define LOAD(field)         __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* A saved time beyond this (146 years) is no time that a machine reached. */
#define TIME_LIMIT (1ull << 62)

void clock_init(struct clock *c, enum clock_mode mode, unsigned shift)
{
    CHECK(shift < 32);
    memset(c, 0, sizeof(*c));
    c->mode = mode;
    c->shift = shift;
    c->next_deadline = CLOCK_NEVER;
}

void clock_start(struct clock *c)
{
    if (c->mode != CLOCK_PARALLEL || c->running)
        return;
    STORE(c->host_origin, host_monotonic_ns() - c->stopped_at);
    __atomic_store_n(&c->running, true, __ATOMIC_RELEASE);
}

void clock_stop(struct clock *c)
{
    if (c->mode != CLOCK_PARALLEL || !c->running)
        return;
    STORE(c->stopped_at, clock_now(c));
    __atomic_store_n(&c->running, false, __ATOMIC_RELEASE);
}

uint64_t clock_now(const struct clock *c)
{
    if (c->mode == CLOCK_DETERMINISTIC)
        return (c->instructions << c->shift) + c->skipped;
    if (!__atomic_load_n(&c->running, __ATOMIC_ACQUIRE))
        return LOAD(c->stopped_at);
    return host_monotonic_ns() - LOAD(c->host_origin);
}

uint64_t clock_instructions_until_deadline(const struct clock *c, uint64_t limit)
{
    uint64_t now, left, instructions;

    if (c->next_deadline == CLOCK_NEVER)
        return limit;
    now = clock_now(c);
    if (now >= c->next_deadline)
        return 0;
    if (c->mode == CLOCK_PARALLEL)
        return limit;
    left = c->next_deadline - now;
    instructions = left >> c->shift;
    if (left & ((1ull << c->shift) - 1)) /* the instruction that crosses the deadline counts */
        instructions++;
    return MIN(instructions, limit);
}

void clock_skip_to(struct clock *c, uint64_t t)
{
    uint64_t now = clock_now(c);

    CHECK(c->mode == CLOCK_DETERMINISTIC && t != CLOCK_NEVER);
    if (t > now)
        c->skipped += t - now;
}

/* The armed timer to fire first: the earliest, the first registered among equals. */
static struct timer *first_timer(const struct clock *c)
{
    struct timer *first = NULL;

    for (struct timer *t = c->timers; t != NULL; t = t->next) {
        if (timer_armed(t) && (first == NULL || t->deadline < first->deadline))
            first = t;
    }
    return first;
}

static void set_deadline(struct timer *t, uint64_t deadline)
{
    struct clock *c = t->clock;
    uint64_t old = t->deadline;
    struct timer *first;

    t->deadline = deadline;
    if (deadline < c->next_deadline) {
        STORE(c->next_deadline, deadline);
        if (c->deadline_moved != NULL)
            c->deadline_moved(c->deadline_opaque);
    } else if (old == c->next_deadline && deadline != old) {
        first = first_timer(c);
        STORE(c->next_deadline, first != NULL ? first->deadline : CLOCK_NEVER);
    }
}

void clock_run_due(struct clock *c)
{
    uint64_t now;

    if (c->next_deadline == CLOCK_NEVER)
        return;
    now = clock_now(c); /* once: a slow host must not make this loop chase the time */
    while (c->next_deadline <= now) {
        struct timer *t = first_timer(c);
        set_deadline(t, CLOCK_NEVER);
        t->fire(t->opaque, now);
    }
}

void timer_init(struct timer *t, struct clock *c, const char *name,
                void (*fire)(void *opaque, uint64_t now), void *opaque)
{
    struct timer **link = &c->timers;

    t->name = name;
    t->deadline = CLOCK_NEVER;
    t->fire = fire;
    t->opaque = opaque;
    t->clock = c;
    t->next = NULL;
    for (; *link != NULL; link = &(*link)->next)
        CHECK(*link != t && strcmp((*link)->name, name) != 0);
    *link = t;
}

void timer_destroy(struct timer *t)
{
    struct timer **link;

    if (t->clock == NULL)
        return;
    timer_cancel(t);
    for (link = &t->clock->timers; *link != t; link = &(*link)->next)
        CHECK(*link != NULL);
    *link = t->next;
    t->clock = NULL;
}

void timer_arm(struct timer *t, uint64_t deadline)
{
    set_deadline(t, deadline);
}

void timer_cancel(struct timer *t)
{
    set_deadline(t, CLOCK_NEVER);
}

void timer_serialize(struct timer *t, struct state *s)
{
    uint64_t deadline = t->deadline;

    state_u64(s, &deadline);
    if (state_is_loading(s))
        set_deadline(t, state_failed(s) ? CLOCK_NEVER : deadline);
}

void clock_serialize(struct clock *c, struct state *s)
{
    uint64_t now = clock_now(c);
    uint64_t instructions = c->instructions;

    state_section(s, "clock", 1);
    state_u64(s, &now);
    state_u64(s, &instructions);
    state_check(s, now < TIME_LIMIT, "the time is out of range");
    if (!state_is_loading(s) || state_failed(s))
        return;
    /* The sum of clock_now is modulo 2^64, so any pair of saved numbers yields the saved time,
     * also when the stream was saved in the other mode or with another shift. */
    c->instructions = instructions;
    c->skipped = now - (instructions << c->shift);
    STORE(c->stopped_at, now);
    if (c->running)
        STORE(c->host_origin, host_monotonic_ns() - now);
}
