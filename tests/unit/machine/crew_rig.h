/*
 * For tests of machines with several processors by the host's clock, each processor on a thread of
 * its own. What a guest leaves behind does not depend on how they share time, and no guest is ended
 * by time.
 */
#ifndef TESTS_UNIT_MACHINE_CREW_RIG_H
#define TESTS_UNIT_MACHINE_CREW_RIG_H

#include "tests/unit/machine/crew_guests.h"
#include "tests/unit/machine/machine_rig.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

static struct rig rig;
static unsigned count; /* of processors; those of the test are 2 to 4 */

/* The thread of machine_run, and what it tells. */
static pthread_t run_thread;
static sem_t news; /* posted for each stop, and at the end */
static atomic_bool ended;
static struct machine_stop_reason why; /* of the stop that next_stop found */

/* --- Runs --- */

static inline void create(void)
{
    rig.config.deterministic = false;
    rig.config.smp = (struct machine_smp){{1, count, 1}, count};
    rig.config.exit_port = true;
    rig_create(&rig);
}

/* The guest and how many processors it has. */
#define CREATE(guest, processors)                                                                  \
    do {                                                                                           \
        RIG64(&rig, guest);                                                                        \
        count = (unsigned)(processors);                                                            \
        create();                                                                                  \
    } while (0)

static void parked(void *opaque)
{
    (void)opaque;
    sem_post(&news);
}

static void *run(void *opaque)
{
    (void)opaque;
    rig_run(&rig, UINT64_MAX);
    atomic_store(&ended, true);
    sem_post(&news);
    return NULL;
}

/* machine_run on a thread of its own. */
static inline void begin(void)
{
    sem_init(&news, 0, 0);
    atomic_store(&ended, false);
    machine_debug_attach(rig.machine, MACHINE_TOOL_MONITOR, parked, NULL);
    ck_assert_int_eq(pthread_create(&run_thread, NULL, run, NULL), 0);
}

/* Waits for the next stop; false: the run has ended. */
static inline bool next_stop(void)
{
    while (sem_wait(&news) != 0)
        ;
    return !atomic_load(&ended) && machine_debug_parked(rig.machine, &why);
}

static inline void ends(enum machine_end end)
{
    pthread_join(run_thread, NULL);
    ck_assert_msg(rig.result.end == end, "%d: %s", rig.result.end, rig.result.text);
}

/* Runs to the end, here. */
static inline void runs_to(enum machine_end end)
{
    rig_run(&rig, UINT64_MAX);
    ck_assert_msg(rig.result.end == end, "%d: %s", rig.result.end, rig.result.text);
}

/* --- What is in memory --- */

static inline uint64_t word(uint64_t address, unsigned bytes)
{
    uint8_t b[8] = {0};
    uint64_t value = 0;

    ck_assert_uint_eq(machine_debug_read(rig.machine, address, true, b, bytes), bytes);
    for (unsigned k = 8; k-- > 0;)
        value = value << 8 | b[k];
    return value;
}

static inline uint64_t own(unsigned processor)
{
    return word(OWN + 8 * processor, 8);
}

static inline uint64_t sum_of_own(void)
{
    uint64_t sum = 0;

    for (unsigned n = 0; n < count; n++)
        sum += own(n);
    return sum;
}

static inline void tell(void)
{
    ck_assert_uint_eq(machine_debug_write(rig.machine, TOLD, true, (const uint8_t[]){1}, 1), 1);
}

/* Held from now on, and all processors have counted since OWN was `before`. */
static inline void hold_after_progress(const uint64_t before[])
{
    unsigned n;

    for (;;) {
        machine_hold(rig.machine);
        for (n = 0; n < count && own(n) > before[n]; n++)
            ;
        if (n == count)
            return;
        machine_release(rig.machine);
        sched_yield();
    }
}

static inline void counted(void)
{
    ck_assert_uint_eq(word(COUNT, 8), (uint64_t)count * COUNTER_ROUNDS);
    ck_assert_uint_eq(word(GUARDED, 8), (uint64_t)count * COUNTER_ROUNDS);
    ck_assert_uint_eq(word(GUARDED + 8, 8), (uint64_t)count * COUNTER_ROUNDS);
    for (unsigned n = 0; n < count; n++)
        ck_assert_uint_eq(own(n), COUNTER_ROUNDS);
}

#endif
