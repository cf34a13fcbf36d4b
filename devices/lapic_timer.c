/* The local APIC's timer: SDM volume 3, section "APIC Timer". */
#include "devices/lapic_internal.h"

#include "base/bits.h"

/* Periods below this are merged: no guest can take interrupts any faster. */
#define SHORTEST_PERIOD_NS 1000

static uint32_t timer_mode(const struct lapic *l)
{
    return l->lvt[LAPIC_LVT_TIMER] & LVT_TIMER_MODE;
}

/* Divide configuration register: 000b is 2, 001b is 4, up to 110b, 128; 111b is 1. */
static unsigned timer_divisor(const struct lapic *l)
{
    unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

    return 1u << ((code + 1) & 7);
}

/* Timer ticks since timer_start. */
static uint64_t timer_ticks(const struct lapic *l, uint64_t now)
{
    if (now < l->timer_start)
        return 0;
    return mul_div(now - l->timer_start, l->config.bus_hz, NS_PER_SECOND * timer_divisor(l));
}

/* a * b / c rounded up, or CLOCK_NEVER when it does not fit. */
static uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 q = ((unsigned __int128)a * b + c - 1) / c;

    return q < CLOCK_NEVER ? (uint64_t)q : CLOCK_NEVER;
}

/* The sum, or CLOCK_NEVER when it does not fit. */
static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a <= UINT64_MAX - b ? a + b : CLOCK_NEVER;
}

/* TSC of virtual time: without the guest's offset. */
static uint64_t base_tsc(const struct lapic *l, uint64_t now)
{
    return mul_div(now, l->config.tsc_hz, NS_PER_SECOND);
}

static void timer_signal(struct lapic *l)
{
    lapic_signal_lvt(l, LAPIC_LVT_TIMER);
}

static void sync_tsc_deadline(struct lapic *l, uint64_t now)
{
    if (l->tsc_deadline == 0 || base_tsc(l, now) + l->tsc_offset < l->tsc_deadline)
        return;
    l->tsc_deadline = 0;
    timer_signal(l);
}

void lapic_timer_sync(struct lapic *l)
{
    uint64_t now = clock_now(l->clock);
    uint64_t ticks;

    if (timer_mode(l) == LVT_TIMER_TSC_DEADLINE) {
        sync_tsc_deadline(l, now);
        return;
    }
    if (!l->timer_running)
        return;
    ticks = timer_ticks(l, now);
    if (ticks < l->timer_next)
        return;
    if (timer_mode(l) == LVT_TIMER_PERIODIC)
        l->timer_next += ((ticks - l->timer_next) / l->initial_count + 1) * l->initial_count;
    else
        l->timer_running = false;
    timer_signal(l);
}

static uint64_t deadline_of_count(const struct lapic *l, uint64_t now)
{
    uint64_t ns = mul_div_up(l->timer_next, NS_PER_SECOND * timer_divisor(l), l->config.bus_hz);
    uint64_t deadline = add_saturating(l->timer_start, ns);

    if (timer_mode(l) == LVT_TIMER_PERIODIC &&
        mul_div(l->initial_count, NS_PER_SECOND * timer_divisor(l), l->config.bus_hz) <
            SHORTEST_PERIOD_NS)
        deadline = MAX(deadline, now + SHORTEST_PERIOD_NS);
    return deadline;
}

static uint64_t deadline_of_tsc(const struct lapic *l, uint64_t now)
{
    uint64_t tsc = base_tsc(l, now);
    uint64_t left = l->tsc_deadline - (tsc + l->tsc_offset);

    if (tsc + l->tsc_offset >= l->tsc_deadline)
        return now; /* time has gone on since the sync */
    return mul_div_up(add_saturating(tsc, left), NS_PER_SECOND, l->config.tsc_hz);
}

void lapic_timer_arm(struct lapic *l)
{
    uint64_t now = clock_now(l->clock);
    uint64_t deadline = CLOCK_NEVER;

    if (l->lvt[LAPIC_LVT_TIMER] & LVT_MASK) {
        timer_cancel(&l->timer); /* expiries are seen when somebody looks */
        return;
    }
    if (timer_mode(l) == LVT_TIMER_TSC_DEADLINE) {
        if (l->tsc_deadline != 0)
            deadline = deadline_of_tsc(l, now);
    } else if (l->timer_running) {
        deadline = deadline_of_count(l, now);
    }
    timer_arm(&l->timer, deadline);
}

static void timer_fire(void *opaque, uint64_t now)
{
    struct lapic *l = opaque;

    (void)now;
    lapic_timer_sync(l);
    lapic_timer_arm(l);
}

uint32_t lapic_timer_current(const struct lapic *l)
{
    uint64_t ticks;

    if (timer_mode(l) == LVT_TIMER_TSC_DEADLINE || !l->timer_running)
        return 0;
    ticks = timer_ticks(l, clock_now(l->clock));
    if (ticks < l->timer_first)
        return l->timer_first - (uint32_t)ticks;
    if (timer_mode(l) != LVT_TIMER_PERIODIC)
        return 0;
    return l->initial_count - (uint32_t)((ticks - l->timer_first) % l->initial_count);
}

/* Counts on from `count` now. */
static void timer_start_from(struct lapic *l, uint32_t count)
{
    l->timer_running = count != 0;
    l->timer_start = clock_now(l->clock);
    l->timer_first = count;
    l->timer_next = count;
}

void lapic_timer_write_initial(struct lapic *l, uint32_t count)
{
    lapic_timer_sync(l);
    if (timer_mode(l) == LVT_TIMER_TSC_DEADLINE)
        return;
    l->initial_count = count;
    timer_start_from(l, count);
    lapic_timer_arm(l);
}

void lapic_timer_write_divide(struct lapic *l, uint32_t divide)
{
    uint32_t count;

    lapic_timer_sync(l);
    count = lapic_timer_current(l);
    l->divide = divide & 0xb;
    timer_start_from(l, count);
    lapic_timer_arm(l);
}

void lapic_timer_write_lvt(struct lapic *l, uint32_t lvt)
{
    uint32_t old_mode, count;

    lapic_timer_sync(l);
    old_mode = timer_mode(l);
    count = lapic_timer_current(l);
    l->lvt[LAPIC_LVT_TIMER] = lvt;
    if (timer_mode(l) != old_mode) {
        /* To and from TSC-deadline mode the timer is disarmed; else it counts on. */
        bool disarm = timer_mode(l) == LVT_TIMER_TSC_DEADLINE || old_mode == LVT_TIMER_TSC_DEADLINE;
        l->tsc_deadline = 0;
        timer_start_from(l, disarm ? 0 : count);
    }
    lapic_timer_arm(l);
}

uint64_t lapic_tsc_deadline_read(struct lapic *l)
{
    lapic_timer_sync(l);
    lapic_timer_arm(l);
    return l->tsc_deadline;
}

void lapic_tsc_deadline_write(struct lapic *l, uint64_t value)
{
    lapic_timer_sync(l);
    if (timer_mode(l) != LVT_TIMER_TSC_DEADLINE)
        return;
    l->tsc_deadline = value;
    lapic_timer_sync(l);
    lapic_timer_arm(l);
}

void lapic_set_tsc_offset(struct lapic *l, uint64_t offset)
{
    lapic_timer_sync(l);
    l->tsc_offset = offset;
    lapic_timer_sync(l);
    lapic_timer_arm(l);
}

void lapic_timer_init(struct lapic *l)
{
    timer_init(&l->timer, l->clock, l->timer_name, timer_fire, l);
}

void lapic_timer_stop(struct lapic *l)
{
    l->initial_count = 0;
    l->divide = 0;
    l->tsc_deadline = 0;
    timer_start_from(l, 0);
    timer_cancel(&l->timer);
}

void lapic_timer_serialize(struct lapic *l, struct state *s)
{
    state_u32(s, &l->initial_count);
    state_u32(s, &l->divide);
    state_bool(s, &l->timer_running);
    state_u64(s, &l->timer_start);
    state_u32(s, &l->timer_first);
    state_u64(s, &l->timer_next);
    state_u64(s, &l->tsc_deadline);
    state_u64(s, &l->tsc_offset);
    timer_serialize(&l->timer, s);
    state_check(s, (l->divide & ~0xbu) == 0, "the divider of a local APIC timer is out of range");
    state_check(s, !l->timer_running || (l->initial_count != 0 && l->timer_first != 0),
                "the count of a local APIC timer is zero");
    if (state_failed(s))
        l->timer_running = false;
}
