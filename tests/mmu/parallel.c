/* Runs: a thread for each vCPU, for the device and for the monitor; or all by turns on one. */
#include "tests/mmu/parallel.h"

#include "mmu/guest_access.h"
#include "mmu/p2m.h"
#include "mmu/safepoint.h"
#include "mmu/tlb.h"
#include "mmu/walk.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- The monitor --- */

/* Pages of the VM, and frames that none of them has. */
struct monitor {
    struct world *world;
    struct actor *dice; /* nobody's vCPU */
    uint64_t frame[PAGES * VERSIONS];
    uint64_t shared_frame;
    uint64_t spare[SPARES];
};

/* Nobody finds the old frame any more when that is done. */
void parallel_move(struct actor *a, uint64_t page, uint64_t *frame, uint64_t *spare, bool whole)
{
    struct machine_memory *memory = a->world->memory;
    uint64_t old = *frame;
    uint8_t *from = machine_memory_host(memory, mpa(old));
    uint8_t *to = machine_memory_host(memory, mpa(*spare));

    for (unsigned n = 0; n < PAGE_SIZE; n += whole ? 8 : PAGE_SIZE - 8) {
        guest_store32(to + n, guest_load32(from + n));
        guest_store32(to + n + 4, guest_load32(from + n + 4));
        if (!whole && n > 0)
            break;
    }
    if (!p2m_set(bus_p2m(a->world->bus), gpa(page), mpa(*spare), NULL))
        parallel_fail(a, "no page at %#" PRIx64, page);
    *frame = *spare;
    *spare = old;
    a->deeds[DEED_MOVE]++;
    guest_store64(from, 0); /* an old frame, or a table without entries */
    guest_store64(from + 8, 0);
    guest_store64(from + PAGE_SIZE - 8, 0);
}

static void move(struct monitor *mon, uint64_t page, uint64_t *frame, bool whole)
{
    parallel_move(mon->dice, page, frame, &mon->spare[parallel_draw(mon->dice, SPARES)], whole);
}

/* Returns how often it moved a page. */
static void *run_monitor(void *opaque)
{
    struct world *w = opaque;
    struct actor dice = {.world = w, .number = 99, .random = w->seed + 99};
    struct monitor mon = {.world = w, .dice = &dice, .shared_frame = w->shared_table};

    for (unsigned n = 0; n < PAGES * VERSIONS; n++)
        mon.frame[n] = parallel_frame(w, n / VERSIONS, n % VERSIONS);
    for (unsigned n = 0; n < SPARES; n++)
        mon.spare[n] = SPARES_START + n * PAGE_SIZE;
    while (!atomic_load(&w->over)) {
        unsigned page = (unsigned)parallel_draw(&dice, PAGES);
        unsigned n = page * VERSIONS + (unsigned)(atomic_load(&w->leaf[page].started) % VERSIONS);

        dice.step++;
        pthread_mutex_lock(&w->devices); /* as whoever changes what devices reach */
        if (w->shared_table != 0 && parallel_draw(&dice, 4) == 0)
            move(&mon, w->shared_table, &mon.shared_frame, true);
        else
            move(&mon, parallel_frame(w, page, n % VERSIONS), &mon.frame[n], false);
        pthread_mutex_unlock(&w->devices);
        for (uint64_t wait = parallel_draw(&dice, 64); wait > 0; wait--)
            sched_yield();
    }
    return (void *)(uintptr_t)dice.deeds[DEED_MOVE];
}

/* --- Threads --- */

static void finish_jobs(struct actor *a)
{
    while (a->job.kind != JOB_NONE)
        parallel_own(a);
}

static void *run_vcpu(void *opaque)
{
    struct actor *a = opaque;

    mmu_unpark(&a->m);
    while (a->step < a->world->steps)
        parallel_act(a);
    finish_jobs(a);
    mmu_park(&a->m);
    atomic_fetch_sub(&a->world->running, 1);
    return NULL;
}

static void *run_device(void *opaque)
{
    struct actor *a = opaque;

    while (!atomic_load(&a->world->over) || a->job.kind != JOB_NONE) {
        pthread_mutex_lock(&a->world->devices);
        if (!atomic_load(&a->world->over))
            parallel_device_act(a);
        else
            parallel_own(a);
        pthread_mutex_unlock(&a->world->devices);
        sched_yield();
    }
    return NULL;
}

/* Where a thread happens to be, the others overtake it. */
static void pause_here(int signal_number)
{
    static const struct timespec moment = {.tv_nsec = 1000};

    (void)signal_number;
    nanosleep(&moment, NULL);
}

/* Stops one thread after the other between any two instructions: the windows between threads are a
 * few instructions wide. */
static void disturb(struct world *w, const pthread_t *thread, unsigned count)
{
    struct actor dice = {.world = w, .number = 98, .random = w->seed + 98};

    while (atomic_load(&w->running) > 0) {
        pthread_kill(thread[parallel_draw(&dice, count)], SIGUSR1);
        pause_here(0);
    }
}

static void run_threads(struct world *w)
{
    struct sigaction stop = {.sa_handler = pause_here, .sa_flags = SA_RESTART}, old;
    unsigned vcpus = w->plan->vcpus, count = 0;
    pthread_t thread[VCPUS_MAX + 2];
    void *moves = NULL;

    sigaction(SIGUSR1, &stop, &old);
    atomic_store(&w->running, vcpus);
    for (; count < vcpus; count++)
        pthread_create(&thread[count], NULL, run_vcpu, &w->actor[count]);
    pthread_create(&thread[count++], NULL, run_device, &w->actor[vcpus]);
    if (parallel_has(w, PARALLEL_MOVES))
        pthread_create(&thread[count++], NULL, run_monitor, w);
    disturb(w, thread, count);
    atomic_store(&w->over, true);
    for (unsigned n = 0; n < count; n++)
        pthread_join(thread[n], &moves); /* in the end, of the monitor or of the device */
    w->actor[vcpus].deeds[DEED_MOVE] += (uintptr_t)moves;
    sigaction(SIGUSR1, &old, NULL);
}

static void run_turns(struct world *w)
{
    struct actor *dice = &w->actor[w->plan->vcpus];

    for (unsigned n = 0; n < w->plan->vcpus; n++)
        mmu_unpark(&w->actor[n].m);
    for (uint64_t step = 0; step < w->steps * w->plan->vcpus; step++) {
        unsigned n = (unsigned)parallel_draw(dice, w->plan->vcpus * 4 + 1);

        if (n == w->plan->vcpus * 4)
            parallel_device_act(dice);
        else
            parallel_act(&w->actor[n / 4]);
    }
    for (unsigned n = 0; n <= w->plan->vcpus; n++) {
        finish_jobs(&w->actor[n]);
        if (n < w->plan->vcpus)
            mmu_park(&w->actor[n].m);
    }
}

/* --- Runs --- */

static const char *const deed_text[DEEDS] = {
    "load",   "store",  "fetch",  "fast",     "crossing", "exchange",   "probe",      "fault",
    "denied", "old",    "unsure", "unmarked", "event",    "fast-write", "slow-write", "leaf",
    "link",   "unlink", "flood",  "clear",    "count",    "count-held", "answer",     "park",
    "move",   "large",  "decode", "execute",  "old-code", "serialise",  "write-code",
};

static void report(const struct world *w)
{
    printf("%s:", w->plan->name);
    for (unsigned d = 0; d < DEEDS; d++) {
        uint64_t sum = 0;

        for (unsigned n = 0; n <= w->plan->vcpus; n++)
            sum += w->actor[n].deeds[d];
        printf(" %s %" PRIu64, deed_text[d], sum);
    }
    for (unsigned n = 0; n < w->plan->vcpus; n++) {
        const struct mmu_stats *s = &w->actor[n].m.stats;

        printf("\n  cpu%u: walks %" PRIu64 " shadow fills %" PRIu64 " patches %" PRIu64
               " applied %" PRIu64 " rederived %" PRIu64 " frames dropped %" PRIu64
               " rebuilds %" PRIu64 " asked %" PRIu64 " transient %" PRIu64,
               n, w->actor[n].m.walks, s->shadow_fills, s->patches_taken, s->patches_applied,
               s->patches_rederived, s->frames_dropped, s->rebuilds,
               mmu_times_asked(&w->actor[n].m), w->actor[n].m.tlb->transient_fills);
    }
    printf("\n");
}

void parallel_run(const struct parallel_plan *plan, uint64_t seed, uint64_t steps)
{
    struct world *w = parallel_create(plan, seed, steps);

    if (plan->one_thread)
        run_turns(w);
    else
        run_threads(w);
    for (unsigned n = 0; n < plan->vcpus; n++)
        parallel_check_all(&w->actor[n]);
    parallel_check_counters(w);
    if (getenv("GNOMON_VERBOSE") != NULL)
        report(w);
    parallel_destroy(w);
}
