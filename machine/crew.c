/*
 * The crew: in parallel mode each of several processors runs on a thread of its own. The thread of
 * machine_run starts and stops them all and looks after timers and requests meanwhile; it runs
 * processors itself, in turns, while a debugger steps (run.c).
 *
 * A member's thread sleeps while its processor does, and while the crew is to rest. Everything here
 * has the device lock, which is given away in vcpu_run and while waiting; but anybody may wake.
 */
#include "base/bits.h"
#include "machine/internal.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Instructions between two looks at the outside, where nobody asks for one. */
#define SLICE 1000000u

/* How far a member may go by itself. */
static uint64_t slice_of(const struct machine *m)
{
    uint64_t done = m->clock.instructions, n = SLICE;

    n = MIN(n, m->target - MIN(m->target, done));
    n = MIN(n, m->debug.until_instructions - MIN(m->debug.until_instructions, done));
    if (m->config.guest_timeout_instructions != 0)
        n = MIN(n, m->config.guest_timeout_instructions -
                       MIN(m->config.guest_timeout_instructions, done));
    return n;
}

/* Could it run now? */
static bool may_run(const struct machine_processor *p)
{
    return p->machine->crew.go && !p->stands && slice_of(p->machine) > 0 && !vcpu_asleep(p->vcpu);
}

/* Who has something for it sets that first and looks then whether it sleeps; it does both in the
 * other order. A wake-up that nobody needs any more costs one more look. */
static void sleep_member(struct machine_processor *p)
{
    struct machine *m = p->machine;

    atomic_store(&p->sleeps, true);
    if (!may_run(p) && !m->crew.leaves) {
        machine_unlock(m);
        sem_wait(&p->wake);
        machine_lock(m);
    }
    atomic_store(&p->sleeps, false);
}

/* Without the device lock. PAUSE gives the host's processor to whom the guest may be waiting for.
 */
static enum vcpu_exit run(struct vcpu *cpu, uint64_t most)
{
    uint64_t end = cpu->instructions + most;
    enum vcpu_exit exit;

    while ((exit = vcpu_run(cpu, end - cpu->instructions)) == VCPU_EXIT_YIELD &&
           cpu->instructions < end)
        sched_yield();
    return exit;
}

static void run_member(struct machine_processor *p, uint64_t most)
{
    struct machine *m = p->machine;
    uint64_t before = p->vcpu->instructions;
    enum vcpu_exit exit;

    p->runs = true;
    m->crew.running++;
    m->crew.dead_since = CLOCK_NEVER;
    p->vcpu->clock_lead = 0;
    machine_unlock(m);
    exit = run(p->vcpu, most);
    machine_lock(m);
    p->runs = false;
    m->crew.running--;
    m->clock.instructions += p->vcpu->instructions - before;
    if (exit == VCPU_EXIT_SHUTDOWN || exit == VCPU_EXIT_DEBUG)
        p->exit = exit;
    if (p->exit != VCPU_EXIT_BUDGET || machine_events_hit_waits(m) || slice_of(m) == 0)
        machine_crew_ask_rest(m);
    if (m->crew.running == 0 && (!m->crew.go || !machine_goes_on(m)))
        machine_wake_locked(m);
}

static void *member(void *opaque)
{
    struct machine_processor *p = opaque;
    struct machine *m = p->machine;

    machine_lock(m);
    while (!m->crew.leaves) {
        if (may_run(p))
            run_member(p, slice_of(m));
        else
            sleep_member(p);
    }
    machine_unlock(m);
    return NULL;
}

static void wake_member(struct machine_processor *p)
{
    if (atomic_exchange(&p->sleeps, false))
        sem_post(&p->wake);
}

void machine_wake_processor(struct machine_processor *p)
{
    wake_member(p);
    if (!p->machine->crew.go)
        machine_wake_locked(p->machine);
}

static void wake_members(struct machine *m)
{
    for (unsigned n = 0; n < m->crew.count; n++)
        wake_member(&m->processors[n]);
}

bool machine_crew_start(struct machine *m)
{
    while (m->crew.count < m->processor_count) {
        struct machine_processor *p = &m->processors[m->crew.count];
        int error = pthread_create(&p->thread, NULL, member, p);

        if (error != 0) {
            fprintf(stderr, "gnomon: no thread for processor %u: %s; all take turns on one\n",
                    m->crew.count, strerror(error));
            return false;
        }
        m->crew.count++;
    }
    m->crew.go = true;
    wake_members(m);
    return true;
}

void machine_crew_ask_rest(struct machine *m)
{
    if (!m->crew.go)
        return;
    m->crew.go = false;
    for (unsigned n = 0; n < m->crew.count; n++)
        if (m->processors[n].runs)
            vcpu_signal(m->processors[n].vcpu, VCPU_PENDING_EXIT, 0);
    machine_wake_locked(m);
}

void machine_crew_rest(struct machine *m)
{
    machine_crew_ask_rest(m);
    while (m->crew.running > 0)
        pthread_cond_wait(&m->wake, &m->device_lock);
}

void machine_crew_leave(struct machine *m)
{
    machine_crew_rest(m);
    m->crew.leaves = true;
    wake_members(m);
    machine_unlock(m);
    for (unsigned n = 0; n < m->crew.count; n++)
        pthread_join(m->processors[n].thread, NULL);
    machine_lock(m);
    m->crew = (struct machine_crew){0};
}

bool machine_runs_elsewhere(const struct machine_processor *p)
{
    return p->runs && !pthread_equal(p->thread, pthread_self());
}
