/*
 * Virtual time of one machine, in nanoseconds since it was created, and the named timers on it.
 *
 *   parallel       time follows the host's monotonic clock, and stands still while stopped
 *   deterministic  time is retired instructions << shift, plus what idle phases skipped: the same
 *                  run gives the same time at the same instruction, whatever the host does
 *
 * Every delayed effect in the machine is a struct timer, embedded in its owner; the clock lists
 * them for the debugger. Callers hold the machine's device lock around every call, except that
 * clock_now may be called by the vCPU thread without it.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/state.h"

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SECOND 1000000000ull
#define CLOCK_NEVER   UINT64_MAX

enum clock_mode { CLOCK_PARALLEL, CLOCK_DETERMINISTIC };

struct timer {
    const char *name;                         /* "pit.irq0"; static string, unique per clock */
    uint64_t deadline;                        /* virtual ns, or CLOCK_NEVER: not armed */
    void (*fire)(void *opaque, uint64_t now); /* now >= deadline; may arm the timer again */
    void *opaque;
    struct clock *clock;
    struct timer *next; /* all timers of the clock, in the order of registration */
};

struct clock {
    enum clock_mode mode;
    unsigned shift;         /* deterministic: one instruction is 1 << shift nanoseconds */
    uint64_t instructions;  /* deterministic: retired so far; the vCPU loop keeps it up to date
                               before anything that can read the clock */
    uint64_t skipped;       /* deterministic: ns that idle phases jumped over */
    bool running;           /* parallel: false while the machine is stopped */
    uint64_t host_origin;   /* parallel: host ns that corresponds to virtual 0 */
    uint64_t stopped_at;    /* parallel: virtual ns at which the machine was stopped */
    struct timer *timers;   /* registration order */
    uint64_t next_deadline; /* smallest deadline, CLOCK_NEVER if none */
    void (*deadline_moved)(
        void *opaque); /* called when next_deadline became earlier; may be NULL */
    void *deadline_opaque;
};

/* Starts at virtual time 0, stopped in parallel mode until clock_start. */
void clock_init(struct clock *c, enum clock_mode mode, unsigned shift);
void clock_start(struct clock *c);
void clock_stop(struct clock *c);

/* Virtual nanoseconds. Never goes back. */
uint64_t clock_now(const struct clock *c);

/* Deterministic: how many more instructions may retire before the next deadline is due (0 if one
 * is due now), at most `limit`. Parallel: `limit`, or 0 if one is due now. */
uint64_t clock_instructions_until_deadline(const struct clock *c, uint64_t limit);

/* Deterministic: time jumps to t (no effect if t is in the past). The machine is idle. */
void clock_skip_to(struct clock *c, uint64_t t);

/* Fires every timer that is due, earliest deadline first, registration order among equals. */
void clock_run_due(struct clock *c);

/* Registers a timer, not armed. The timer must stay where it is until timer_destroy. */
void timer_init(struct timer *t, struct clock *c, const char *name,
                void (*fire)(void *opaque, uint64_t now), void *opaque);
void timer_destroy(struct timer *t);

/* Arms (or moves) the timer to an absolute virtual time; a time in the past fires at once, at the
 * next clock_run_due. */
void timer_arm(struct timer *t, uint64_t deadline);
void timer_cancel(struct timer *t);

static inline bool timer_armed(const struct timer *t)
{
    return t->deadline != CLOCK_NEVER;
}

/* Saves or loads whether and when the timer is armed; part of its owner's section. */
void timer_serialize(struct timer *t, struct state *s);

/* Saves or loads mode-independent time: after a load clock_now continues from the saved value. */
void clock_serialize(struct clock *c, struct state *s);

/* a * b / c without overflow in between; c != 0, the quotient must fit 64 bits. */
static inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    return (uint64_t)((unsigned __int128)a * b / c);
}

#endif
