/*
 * What the tests of interrupt chips and timers stand on: a bus, a deterministic clock that a test
 * moves by hand, and wires that count their edges.
 */
#ifndef TESTS_IRQCHIP_BENCH_H
#define TESTS_IRQCHIP_BENCH_H

#include "base/clock.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <check.h>
#include <stdlib.h>

struct bench {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
};

struct wire {
    bool level;
    unsigned rises;
};

static inline void bench_init(struct bench *b)
{
    struct error err = {0};

    log_init(&b->log);
    clock_init(&b->clock, CLOCK_DETERMINISTIC, 0);
    b->memory = machine_memory_create(1 << 20, &err);
    ck_assert_msg(b->memory != NULL, "%s", err.text);
    b->bus = bus_create(b->memory, &b->log);
}

static inline void bench_done(struct bench *b)
{
    bus_destroy(b->bus);
    machine_memory_destroy(b->memory);
}

/* Time passes until t, each timer at its deadline. */
static inline void bench_run_to(struct bench *b, uint64_t t)
{
    while (b->clock.next_deadline <= t) {
        clock_skip_to(&b->clock, b->clock.next_deadline);
        clock_run_due(&b->clock);
    }
    clock_skip_to(&b->clock, t);
}

static inline void bench_run(struct bench *b, uint64_t ns)
{
    bench_run_to(b, clock_now(&b->clock) + ns);
}

static inline void wire_listen(void *listener, unsigned pin, bool level)
{
    struct wire *w = (struct wire *)listener + pin;

    w->rises += level && !w->level;
    w->level = level;
}

static inline struct irq_line wire_line(struct wire *w)
{
    return (struct irq_line){wire_listen, w, 0};
}

static inline uint8_t in8(struct bench *b, uint16_t port)
{
    return bus_port_read(b->bus, port, 1);
}

static inline void out8(struct bench *b, uint16_t port, uint8_t value)
{
    bus_port_write(b->bus, port, value, 1);
}

static inline uint32_t read32(struct bench *b, uint64_t address)
{
    return bus_mmio_read(b->bus, gpa(address), 4);
}

static inline void write32(struct bench *b, uint64_t address, uint32_t value)
{
    bus_mmio_write(b->bus, gpa(address), value, 4);
}

/* Saves with one call of a serialize function, gives the bytes. */
#define BENCH_SAVE(saving, call)                                                                   \
    do {                                                                                           \
        (saving) = state_create_saving();                                                          \
        struct state *s = (saving);                                                                \
        call;                                                                                      \
        ck_assert(state_finish(s, NULL));                                                          \
    } while (0)

/* Loads what BENCH_SAVE saved with one call; ok says whether it was taken. */
#define BENCH_LOAD(saving, call, ok)                                                               \
    do {                                                                                           \
        size_t length;                                                                             \
        const void *bytes = state_data((saving), &length);                                         \
        struct state *s = state_create_loading(bytes, length);                                     \
        call;                                                                                      \
        (ok) = state_finish(s, NULL);                                                              \
        state_destroy(s);                                                                          \
    } while (0)

/* Loads `rounds` random distortions of what was saved; none may do harm. */
#define BENCH_LOAD_DISTORTED(saving, call, after)                                                  \
    do {                                                                                           \
        const char *env = getenv("GNOMON_SEED");                                                   \
        unsigned seed = env != NULL ? (unsigned)strtoul(env, NULL, 0) : 1;                         \
        size_t length;                                                                             \
        const uint8_t *bytes = state_data((saving), &length);                                      \
        uint8_t *copy = malloc(length);                                                            \
        printf("GNOMON_SEED=%u\n", seed);                                                          \
        for (unsigned round = 0; round < 2000; round++) {                                          \
            memcpy(copy, bytes, length);                                                           \
            for (int n = rand_r(&seed) % 4; n >= 0; n--)                                           \
                copy[(unsigned)rand_r(&seed) % length] = (uint8_t)rand_r(&seed);                   \
            struct state *s = state_create_loading(copy, length);                                  \
            call;                                                                                  \
            state_finish(s, NULL);                                                                 \
            state_destroy(s);                                                                      \
            after;                                                                                 \
        }                                                                                          \
        free(copy);                                                                                \
    } while (0)

#endif
