/*
 * Interrupts between threads: senders deliver to a local APIC while its processor acknowledges,
 * ends, masks and unmasks, all without a lock. Nobody goes on before his interrupt has been
 * taken, so that a lost one hangs the test. The pin is the processor's, which clears it too.
 */
#include "devices/lapic.h"
#include "tests/unit/devices/irqchip_bench.h"
#include "tests/unit/run_suite.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#define SENDERS 3
#define ROUNDS  5000u
#define VECTORS 8 /* of each sender */

enum { SVR = 0xf0, EOI = 0xb0, LVT0 = 0x350 };

static struct bench bench;
static struct lapic *l;
static atomic_bool pin;
static atomic_uint taken[256], finished; /* finished: threads */

/* Sometimes late, as by a thread that the host has stopped: what it says may be over. */
static void pin_set(void *listener, unsigned number, bool level)
{
    static atomic_uint calls;

    (void)listener, (void)number;
    if (atomic_fetch_add(&calls, 1) % 5 == 0)
        sched_yield();
    atomic_store(&pin, level);
}

static void no_message(void *opaque, const struct apic_message *message)
{
    (void)opaque, (void)message;
}

static void no_vector(void *opaque, uint8_t vector)
{
    (void)opaque, (void)vector;
}

static void nothing(void *opaque)
{
    (void)opaque;
}

/* In different classes of priority, so that they block each other. */
static uint8_t vector_of(unsigned sender, unsigned n)
{
    return (uint8_t)(0x20 + 0x18 * (n % VECTORS) + sender);
}

static void await_taken(uint8_t vector, unsigned times)
{
    while (atomic_load(&taken[vector]) < times)
        sched_yield();
}

/* Two at once, every third time. */
static void *send(void *opaque)
{
    unsigned me = (unsigned)(uintptr_t)opaque, counts[256] = {0};

    for (unsigned n = 0; n < ROUNDS; n++) {
        uint8_t vectors[2] = {vector_of(me, n), vector_of(me, n + 3)};
        unsigned count = n % 3 == 0 ? 2 : 1;

        for (unsigned k = 0; k < count; k++) {
            const struct apic_message message = {.vector = vectors[k], .assert = true};

            counts[vectors[k]]++;
            lapic_deliver(l, &message);
        }
        for (unsigned k = 0; k < count; k++)
            await_taken(vectors[k], counts[vectors[k]]);
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

/* A wire that rises for every interrupt; by the lock's owner, of which there is one. */
static void *pull(void *opaque)
{
    (void)opaque;
    for (unsigned n = 1; n <= ROUNDS; n++) {
        lapic_set_lint(l, 0, true);
        await_taken(0x1f, n);
        lapic_set_lint(l, 0, false);
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

/* Masks for a while, now and then. */
static void mask(void)
{
    static unsigned state = 1;

    state = state * 1664525 + 1013904223;
    if (state >> 29 != 0)
        return;
    lapic_set_tpr(l, (uint8_t)(state >> 16));
    if (state >> 28 == 0)
        sched_yield();
    lapic_set_tpr(l, 0);
}

/* False: it was announced for nothing. */
static bool take(void)
{
    int vector;

    ck_assert(lapic_try_acknowledge(l, &vector));
    if (vector == LAPIC_ACK_NONE)
        return false;
    atomic_fetch_add(&taken[vector], 1);
    mask();
    ck_assert(lapic_try_mmio_write(l, EOI, 4, 0));
    return true;
}

/* The processor does nothing but what the pin asks for: with one sender, nobody else mends what is
 * lost. */
static void serve(void *(*const senders[])(void *), unsigned count)
{
    pthread_t threads[SENDERS + 1];
    unsigned stale = 0;

    for (unsigned n = 0; n < count; n++)
        ck_assert_int_eq(pthread_create(&threads[n], NULL, senders[n], (void *)(uintptr_t)n), 0);
    while (atomic_load(&finished) < count) {
        if (atomic_load(&pin))
            stale += !take();
        else
            sched_yield();
    }
    for (unsigned n = 0; n < count; n++)
        pthread_join(threads[n], NULL);
    lapic_check_intr(l);
    ck_assert(!atomic_load(&pin));
    ck_assert(!lapic_intr(l));
    if (getenv("GNOMON_VERBOSE") != NULL)
        printf("%u times announced for nothing\n", stale);
}

START_TEST(nothing_of_one_thread_is_lost)
{
    serve((void *(*const[])(void *)){send}, 1);
}
END_TEST

START_TEST(nothing_of_several_threads_is_lost)
{
    serve((void *(*const[])(void *)){send, send, send, pull}, SENDERS + 1);
}
END_TEST

static void setup(void)
{
    const struct lapic_config config = {
        .physical_address_bits = 40,
        .tsc_hz = NS_PER_SECOND,
        .bus_hz = LAPIC_BUS_HZ,
    };
    const struct lapic_callbacks callbacks = {
        .send = no_message,
        .eoi = no_vector,
        .nmi = nothing,
        .smi = nothing,
        .init = nothing,
        .startup = no_vector,
    };

    bench_init(&bench);
    l = lapic_create(&bench.log, &bench.clock, &config, &callbacks,
                     (struct irq_line){.set = pin_set});
    lapic_mmio_ops.write(l, SVR, 0x1ff, 4);
    lapic_mmio_ops.write(l, LVT0, 0x1f, 4); /* fixed, edge */
}

static void teardown(void)
{
    lapic_destroy(l);
    bench_done(&bench);
}

int main(void)
{
    TCase *tc = tcase_create("interrupts");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, nothing_of_one_thread_is_lost);
    tcase_add_test(tc, nothing_of_several_threads_is_lost);
    return run_suite("lapic_threads", tc);
}
