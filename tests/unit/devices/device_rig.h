/*
 * What a device under test is plugged into: the real bus, log and clock (deterministic, so that a
 * test says what time it is), and small recorders for interrupt lines and byte streams.
 */
#ifndef TESTS_UNIT_DEVICES_DEVICE_RIG_H
#define TESTS_UNIT_DEVICES_DEVICE_RIG_H

#include "base/clock.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/chardev.h"
#include "devices/irq.h"
#include "mmu/bus.h"
#include "mmu/memory.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct log log;
    struct clock clock;
    struct machine_memory *memory; /* 64 KiB of RAM, for DMA */
    struct bus *bus;
};

static inline void rig_create(struct rig *r)
{
    log_init(&r->log);
    clock_init(&r->clock, CLOCK_DETERMINISTIC, 0);
    r->memory = machine_memory_create(1 << 20, NULL);
    ck_assert(r->memory != NULL);
    r->bus = bus_create(r->memory, &r->log);
    ck_assert(r->bus != NULL);
}

static inline void rig_destroy(struct rig *r)
{
    bus_destroy(r->bus);
    machine_memory_destroy(r->memory);
}

static inline uint8_t rig_in(struct rig *r, uint16_t port)
{
    return (uint8_t)bus_port_read(r->bus, port, 1);
}

static inline void rig_out(struct rig *r, uint16_t port, uint8_t value)
{
    bus_port_write(r->bus, port, value, 1);
}

/* Lets virtual time pass and fires what is due on the way, each timer at its own time. */
static inline void rig_advance(struct rig *r, uint64_t ns)
{
    uint64_t end = clock_now(&r->clock) + ns;

    while (r->clock.next_deadline <= end) {
        clock_skip_to(&r->clock, r->clock.next_deadline);
        clock_run_due(&r->clock);
    }
    clock_skip_to(&r->clock, end);
}

/* An interrupt controller that remembers: pins 0 to 15. */
struct rig_irq {
    bool level[16];
    unsigned rises[16]; /* 0 to 1 steps of each pin */
};

static inline void rig_irq_set(void *listener, unsigned pin, bool level)
{
    struct rig_irq *irq = listener;

    if (level && !irq->level[pin])
        irq->rises[pin]++;
    irq->level[pin] = level;
}

static inline struct irq_line rig_line(struct rig_irq *irq, unsigned pin)
{
    return (struct irq_line){rig_irq_set, irq, pin};
}

/* A byte stream that keeps what the device sends. */
struct rig_chardev {
    struct chardev c;
    uint8_t sent[8192];
    size_t sent_count;
    unsigned ready_count; /* how often the device said that it can take more */
};

static inline void rig_chardev_send(struct chardev *c, const uint8_t *bytes, size_t count)
{
    struct rig_chardev *rc = (struct rig_chardev *)c;

    ck_assert(rc->sent_count + count <= sizeof(rc->sent));
    memcpy(rc->sent + rc->sent_count, bytes, count);
    rc->sent_count += count;
}

static inline void rig_chardev_ready(struct chardev *c)
{
    ((struct rig_chardev *)c)->ready_count++;
}

static inline void rig_chardev_init(struct rig_chardev *rc)
{
    memset(rc, 0, sizeof(*rc));
    rc->c.send = rig_chardev_send;
    rc->c.ready = rig_chardev_ready;
}

/* Offers bytes as a front end does; returns how many the device took. */
static inline size_t rig_chardev_offer(struct rig_chardev *rc, const char *text)
{
    size_t count = strlen(text), room = rc->c.can_receive(rc->c.device);

    count = count < room ? count : room;
    if (count > 0)
        rc->c.receive(rc->c.device, (const uint8_t *)text, count);
    return count;
}

/* A stream that holds what serialize saved. */
static inline struct state *rig_save(void (*serialize)(void *device, struct state *s), void *device)
{
    struct state *s = state_create_saving();

    serialize(device, s);
    ck_assert(state_finish(s, NULL));
    return s;
}

/* Loads from the bytes of a saved stream, all but the last `cut`; frees the stream. True if the
 * load succeeded. */
static inline bool rig_load(void (*serialize)(void *device, struct state *s), void *device,
                            struct state *saved, size_t cut)
{
    size_t length;
    const void *bytes = state_data(saved, &length);
    struct state *s = state_create_loading(bytes, length - cut);
    bool good;

    serialize(device, s);
    good = state_finish(s, NULL);
    state_destroy(s);
    state_destroy(saved);
    return good;
}

#endif
