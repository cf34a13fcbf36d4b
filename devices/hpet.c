#include "devices/hpet.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Registers, 64 bits each: specification table 2 */
#define GCAP_ID     0x000
#define GEN_CONF    0x010
#define GINTR_STA   0x020
#define MAIN_CNT    0x0f0
#define TIMER_FIRST 0x100
#define TIMER_SIZE  0x020
#define TN_CONF     0x00
#define TN_COMP     0x08
#define TN_FSB      0x10

/* GEN_CONF */
#define ENABLE_CNF 1u
#define LEG_RT_CNF 2u
/* Tn_CONF */
#define TN_INT_TYPE    0x0002u /* 1: level */
#define TN_INT_ENB     0x0004u
#define TN_TYPE        0x0008u /* 1: periodic */
#define TN_PER_INT_CAP 0x0010u
#define TN_SIZE_CAP    0x0020u
#define TN_VAL_SET     0x0040u
#define TN_32MODE      0x0100u
#define TN_INT_ROUTE   0x3e00u
#define TN_ROUTE_SHIFT 9
#define TN_WRITABLE    (TN_INT_TYPE | TN_INT_ENB | TN_TYPE | TN_VAL_SET | TN_32MODE | TN_INT_ROUTE)

#define FS_PER_NS 1000000u

/* Periods below this are merged: no guest can take interrupts any faster. */
#define SHORTEST_PERIOD_NS 1000

/* Ticks of the counter since count_ns. */
static uint64_t hpet_ticks(const struct hpet *h, uint64_t now)
{
    if (!h->enabled || now < h->count_ns)
        return 0;
    return mul_div(now - h->count_ns, FS_PER_NS, HPET_PERIOD_FS);
}

static uint64_t hpet_counter(const struct hpet *h, uint64_t now)
{
    return h->count + hpet_ticks(h, now);
}

/* The first ns at which the counter has made so many ticks since count_ns, or CLOCK_NEVER. */
static uint64_t hpet_ns_of_ticks(const struct hpet *h, unsigned __int128 ticks)
{
    unsigned __int128 ns;

    if (ticks > UINT64_MAX)
        return CLOCK_NEVER;
    ns = (ticks * HPET_PERIOD_FS + FS_PER_NS - 1) / FS_PER_NS + h->count_ns;
    return ns < CLOCK_NEVER ? (uint64_t)ns : CLOCK_NEVER;
}

/* --- Interrupt wires --- */

/* Where the timer's interrupt goes now; NULL if nowhere. */
static const struct irq_line *timer_wire(const struct hpet_timer *t)
{
    const struct hpet *h = t->hpet;
    unsigned pin = (t->config & TN_INT_ROUTE) >> TN_ROUTE_SHIFT;

    if (!h->enabled || !(t->config & TN_INT_ENB))
        return NULL;
    if (h->legacy && t->index == 0)
        return &h->wiring.irq0;
    if (h->legacy && t->index == 1)
        return &h->wiring.irq8;
    if (pin >= HPET_PIN_COUNT || !(h->wiring.route_capability & BIT(pin)))
        return NULL;
    return &h->wiring.pins[pin];
}

static void wire_set(const struct irq_line *wire, bool level)
{
    if (wire != NULL)
        irq_set(wire, level);
}

/* After a configuration change: the old wire falls unless it is still the one in use. */
static void timer_rewire(struct hpet_timer *t, const struct irq_line *before, bool was_level)
{
    const struct irq_line *after = timer_wire(t);
    bool is_level = (t->config & TN_INT_TYPE) != 0;

    if (before != after || was_level != is_level)
        wire_set(before, false);
    if (is_level)
        wire_set(after, (t->hpet->status & BIT(t->index)) != 0);
}

/* The comparator matched. */
static void timer_signal(struct hpet_timer *t)
{
    if (t->config & TN_INT_TYPE) {
        t->hpet->status |= BIT(t->index); /* also when the interrupt is not enabled */
        wire_set(timer_wire(t), true);
    } else {
        wire_set(timer_wire(t), false);
        wire_set(timer_wire(t), true);
    }
}

/* --- Comparators --- */

static uint64_t timer_width(const struct hpet_timer *t)
{
    return t->config & TN_32MODE ? 0xffffffff : UINT64_MAX;
}

static bool timer_is_periodic(const struct hpet_timer *t)
{
    return (t->config & TN_TYPE) && t->period != 0;
}

/* Arms the timer at the next match if an interrupt would come of it; else a match is noticed when
 * somebody looks. */
static void timer_wait(struct hpet_timer *t)
{
    if (timer_wire(t) != NULL)
        timer_arm(&t->timer, t->due);
    else
        timer_cancel(&t->timer);
}

/* Sets the next match, and the timer if somebody waits for it. `inclusive`: a comparator that
 * equals the counter matches at once. */
static void timer_schedule(struct hpet_timer *t, uint64_t now, bool inclusive)
{
    const struct hpet *h = t->hpet;
    uint64_t distance = t->comparator - hpet_counter(h, now);
    unsigned __int128 ticks;

    t->due = CLOCK_NEVER;
    if (h->enabled) {
        /* Equal and done: once more when the counter has gone round. */
        ticks = distance & timer_width(t);
        if (ticks == 0 && !inclusive)
            ticks = (unsigned __int128)timer_width(t) + 1;
        t->due = hpet_ns_of_ticks(h, hpet_ticks(h, now) + ticks);
        if (timer_is_periodic(t) && mul_div(MIN(t->period, SHORTEST_PERIOD_NS), HPET_PERIOD_FS,
                                            FS_PER_NS) < SHORTEST_PERIOD_NS)
            t->due = MAX(t->due, now + SHORTEST_PERIOD_NS);
    }
    timer_wait(t);
}

/* Accounts for a match that has happened. */
static void timer_sync(struct hpet_timer *t, uint64_t now)
{
    uint64_t behind;

    if (!t->hpet->enabled || now < t->due)
        return;
    if (timer_is_periodic(t)) {
        behind = (hpet_counter(t->hpet, now) - t->comparator) & timer_width(t);
        t->comparator += (behind / t->period + 1) * t->period;
        t->comparator &= timer_width(t);
    }
    timer_schedule(t, now, false);
    timer_signal(t);
}

static void timer_fire(void *opaque, uint64_t now)
{
    struct hpet_timer *t = opaque;
    uint64_t present = clock_now(t->hpet->clock);

    (void)now;
    timer_sync(t, present);
    if (timer_wire(t) != NULL)
        timer_arm(&t->timer, MAX(t->due, present + 1));
}

static void hpet_sync(struct hpet *h, uint64_t now)
{
    for (unsigned i = 0; i < h->wiring.timer_count; i++)
        timer_sync(&h->timers[i], now);
}

/* --- Registers: value holds the bits of mask; a register keeps its other bits --- */

static uint64_t merge(uint64_t old, uint64_t value, uint64_t mask)
{
    return (old & ~mask) | (value & mask);
}

static void hpet_set_legacy(struct hpet *h, bool on)
{
    if (h->wiring.legacy != NULL)
        h->wiring.legacy(h->wiring.legacy_opaque, on);
}

static void hpet_write_gen_conf(struct hpet *h, uint64_t value, uint64_t mask, uint64_t now)
{
    uint64_t conf =
        merge((h->enabled ? ENABLE_CNF : 0) | (h->legacy ? LEG_RT_CNF : 0), value, mask);
    const struct irq_line *before[HPET_TIMER_MAX];
    bool was_legacy = h->legacy, was_enabled = h->enabled;

    for (unsigned i = 0; i < h->wiring.timer_count; i++)
        before[i] = timer_wire(&h->timers[i]);
    if (((conf & ENABLE_CNF) != 0) != was_enabled) {
        h->count = hpet_counter(h, now);
        h->count_ns = now;
        h->enabled = !was_enabled;
    }
    h->legacy = (conf & LEG_RT_CNF) != 0;
    if (h->legacy && !was_legacy)
        hpet_set_legacy(h, true);
    for (unsigned i = 0; i < h->wiring.timer_count; i++) {
        struct hpet_timer *t = &h->timers[i];
        timer_rewire(t, before[i], (t->config & TN_INT_TYPE) != 0);
        if (h->enabled != was_enabled)
            timer_schedule(t, now, true);
        else
            timer_wait(t);
    }
    if (!h->legacy && was_legacy)
        hpet_set_legacy(h, false);
}

static void hpet_write_status(struct hpet *h, uint64_t ones)
{
    for (unsigned i = 0; i < h->wiring.timer_count; i++) {
        struct hpet_timer *t = &h->timers[i];
        if (!(ones & BIT(i)) || !(t->config & TN_INT_TYPE))
            continue;
        h->status &= ~BIT(i);
        wire_set(timer_wire(t), false);
    }
}

static void hpet_write_counter(struct hpet *h, uint64_t value, uint64_t mask, uint64_t now)
{
    if (h->enabled)
        LOG(h->log, LOG_GUEST_ERROR, "hpet: the main counter is written while it runs\n");
    h->count = merge(hpet_counter(h, now), value, mask);
    h->count_ns = now;
    for (unsigned i = 0; i < h->wiring.timer_count; i++)
        timer_schedule(&h->timers[i], now, true);
}

static void timer_write_conf(struct hpet_timer *t, uint64_t value, uint64_t mask, uint64_t now)
{
    const struct irq_line *before = timer_wire(t);
    bool was_level = (t->config & TN_INT_TYPE) != 0;
    uint32_t conf = merge(t->config, value, mask & TN_WRITABLE);
    unsigned pin = (conf & TN_INT_ROUTE) >> TN_ROUTE_SHIFT;

    if (!(t->hpet->wiring.route_capability & BIT64(pin))) /* reads back as it was: no such route */
        conf = (conf & ~TN_INT_ROUTE) | (t->config & TN_INT_ROUTE);
    t->config = conf;
    t->comparator &= timer_width(t);
    t->period &= timer_width(t);
    if (!(conf & TN_INT_TYPE))
        t->hpet->status &= ~BIT(t->index);
    timer_rewire(t, before, was_level);
    /* What matched has been accounted for: only a match still to come counts. */
    timer_schedule(t, now, false);
}

/* 2.3.9.2.2: in periodic mode a write sets the period, with VAL_SET the accumulator too. */
static void timer_write_comparator(struct hpet_timer *t, uint64_t value, uint64_t mask,
                                   uint64_t now)
{
    uint64_t width = timer_width(t);

    if (!(t->config & TN_TYPE) || (t->config & TN_VAL_SET))
        t->comparator = merge(t->comparator, value, mask) & width;
    if (t->config & TN_TYPE)
        t->period = merge(t->period, value, mask) & width;
    t->config &= ~TN_VAL_SET;
    timer_schedule(t, now, true);
}

static uint64_t hpet_read_register(struct hpet *h, unsigned reg, uint64_t now)
{
    const struct hpet_timer *t;

    switch (reg) {
    case GCAP_ID:
        return HPET_ID(h->wiring.timer_count) | (uint64_t)HPET_PERIOD_FS << 32;
    case GEN_CONF:
        return (h->enabled ? ENABLE_CNF : 0) | (h->legacy ? LEG_RT_CNF : 0);
    case GINTR_STA:
        return h->status;
    case MAIN_CNT:
        return hpet_counter(h, now);
    }
    if (reg < TIMER_FIRST || (reg - TIMER_FIRST) / TIMER_SIZE >= h->wiring.timer_count)
        return 0;
    t = &h->timers[(reg - TIMER_FIRST) / TIMER_SIZE];
    switch (reg % TIMER_SIZE) {
    case TN_CONF:
        return (t->config & ~TN_VAL_SET) | TN_PER_INT_CAP | TN_SIZE_CAP |
               (uint64_t)h->wiring.route_capability << 32;
    case TN_COMP:
        return t->comparator;
    default: /* TN_FSB: not supported */
        return 0;
    }
}

static void hpet_write_register(struct hpet *h, unsigned reg, uint64_t value, uint64_t mask,
                                uint64_t now)
{
    unsigned index = (reg - TIMER_FIRST) / TIMER_SIZE;

    if (reg == GEN_CONF)
        hpet_write_gen_conf(h, value, mask, now);
    else if (reg == GINTR_STA)
        hpet_write_status(h, value & mask);
    else if (reg == MAIN_CNT)
        hpet_write_counter(h, value, mask, now);
    else if (reg >= TIMER_FIRST && index < h->wiring.timer_count && reg % TIMER_SIZE == TN_CONF)
        timer_write_conf(&h->timers[index], value, mask, now);
    else if (reg >= TIMER_FIRST && index < h->wiring.timer_count && reg % TIMER_SIZE == TN_COMP)
        timer_write_comparator(&h->timers[index], value, mask, now);
    else
        LOG(h->log, LOG_GUEST_ERROR, "hpet: write of read-only or reserved register %03x\n", reg);
}

static uint64_t hpet_read(void *device, uint64_t offset, unsigned size)
{
    struct hpet *h = device;
    uint64_t now = clock_now(h->clock);

    hpet_sync(h, now);
    return hpet_read_register(h, offset & ~7u, now) >> 8 * (offset & 7) & size_mask(size);
}

static void hpet_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct hpet *h = device;
    uint64_t now = clock_now(h->clock);
    unsigned shift = 8 * (offset & 7);

    hpet_sync(h, now);
    if (size < 4 || offset % size != 0) { /* 2.1: aligned dwords and qwords only */
        LOG(h->log, LOG_GUEST_ERROR, "hpet: write of %u bytes at %03x\n", size, (unsigned)offset);
        return;
    }
    hpet_write_register(h, offset & ~7u, value << shift, size_mask(size) << shift, now);
}

static const struct bus_region_ops hpet_ops = {"hpet", hpet_read, hpet_write, 8};

struct hpet *hpet_create(struct bus *bus, struct log *log, struct clock *clock,
                         const struct hpet_config *config, struct error *err)
{
    struct hpet *h = host_alloc(sizeof(*h));

    CHECK(config->timer_count >= 3 && config->timer_count <= HPET_TIMER_MAX);
    CHECK(config->route_capability < BIT(HPET_PIN_COUNT));
    h->bus = bus;
    h->log = log;
    h->clock = clock;
    h->wiring = *config;
    if (!bus_add_mmio(bus, gpa(HPET_BASE), HPET_SIZE, &hpet_ops, h, err)) {
        free(h);
        return NULL;
    }
    for (unsigned i = 0; i < config->timer_count; i++) {
        struct hpet_timer *t = &h->timers[i];
        t->hpet = h;
        t->index = i;
        snprintf(t->name, sizeof(t->name), "hpet.timer%u", i);
        timer_init(&t->timer, clock, t->name, timer_fire, t);
    }
    hpet_reset(h);
    return h;
}

void hpet_destroy(struct hpet *h)
{
    if (h == NULL)
        return;
    for (unsigned i = 0; i < h->wiring.timer_count; i++)
        timer_destroy(&h->timers[i].timer);
    bus_remove_mmio(h->bus, gpa(HPET_BASE));
    free(h);
}

void hpet_reset(struct hpet *h)
{
    bool was_legacy = h->legacy;

    for (unsigned i = 0; i < h->wiring.timer_count; i++) {
        struct hpet_timer *t = &h->timers[i];
        wire_set(timer_wire(t), false);
        timer_cancel(&t->timer);
        t->config = 0;
        t->comparator = UINT64_MAX; /* 2.3.8: the reset value of a comparator is all ones */
        t->period = 0;
        t->due = CLOCK_NEVER;
    }
    h->enabled = false;
    h->legacy = false;
    h->status = 0;
    h->count = 0;
    h->count_ns = 0;
    if (was_legacy)
        hpet_set_legacy(h, false);
}

void hpet_serialize(struct hpet *h, struct state *s)
{
    uint32_t timer_count = h->wiring.timer_count;

    state_section(s, "hpet", 1);
    state_u32(s, &timer_count);
    state_check(s, timer_count == h->wiring.timer_count, "the HPET has another number of timers");
    state_bool(s, &h->enabled);
    state_bool(s, &h->legacy);
    state_u32(s, &h->status);
    state_u64(s, &h->count);
    state_u64(s, &h->count_ns);
    state_check(s, h->status < BIT(h->wiring.timer_count), "the HPET's status has too many bits");
    for (unsigned i = 0; i < h->wiring.timer_count; i++) {
        struct hpet_timer *t = &h->timers[i];
        state_u32(s, &t->config);
        state_u64(s, &t->comparator);
        state_u64(s, &t->period);
        state_u64(s, &t->due);
        state_check(s, (t->config & ~TN_WRITABLE) == 0, "an HPET timer holds reserved bits");
        state_check(s, t->comparator <= timer_width(t) && t->period <= timer_width(t),
                    "an HPET comparator is wider than its timer");
        timer_serialize(&t->timer, s);
    }
}
