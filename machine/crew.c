/*
 * The crew: in parallel mode each of several processors runs on a thread of its own. The thread of
 * machine_run starts and stops them all and looks after timers and requests meanwhile; it runs
 * processors itself, in turns, while a debugger steps (run.c).
 *
 * A member's thread sleeps while its processor does, and while the crew is to rest. Everything here
 * has the device lock, which is given away in vcpu_run and while waiting; but anybody may wake.
 */
#include "base/bits.h"
#include "base/host/host.h"
#include "machine/internal.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Instructions between two looks at the outside, where nobody asks for one. */
#define SLICE 1000000u

/* Looking for a wake-up, in ns of the host: for how long, and the least that a look takes if others
 * have had the host's processor meanwhile. So many sleeps at most then go without. */
#define LOOK_NS         100000u
#define LOOK_LONG_NS    20000u
#define LOOK_PAUSE_MOST 63u

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

/* Is another one there to wake it, and has the host a processor that none of the crew needs? */
static bool may_look(const struct machine_crew *crew)
{
    unsigned running = atomic_load(&crew->running);

    return running > 0 && running + atomic_load(&crew->looking) <= crew->host_processors;
}

/* For the host to put a thread to sleep and to wake it again takes longer than many a guest needs
 * to answer an interrupt of another processor. Where others want the host's processor looks take
 * long: twice as many sleeps go without as the last time, half as many after a success. */
static void look(struct machine_processor *p, uint64_t begin)
{
    struct machine_crew *crew = &p->machine->crew;
    uint64_t now = begin, last;

    atomic_fetch_add(&crew->looking, 1);
    while (atomic_load(&p->sleep) == MACHINE_LOOKS && now - begin < LOOK_NS && may_look(crew)) {
        last = now;
        sched_yield();
        now = host_monotonic_ns();
        if (now - last > LOOK_LONG_NS) {
            p->look_pause = MIN(2 * p->look_pause + 1, LOOK_PAUSE_MOST);
            p->look_after = p->look_pause;
            break;
        }
    }
    atomic_fetch_sub(&crew->looking, 1);
}

/* Without the device lock. It looks only after a short sleep: who is idle costs nothing. */
static void await_wake(struct machine_processor *p)
{
    uint64_t begin = host_monotonic_ns();
    unsigned looks = MACHINE_LOOKS;

    if (p->look_after == 0)
        look(p, begin);
    else
        p->look_after--;
    if (atomic_compare_exchange_strong(&p->sleep, &looks, MACHINE_SLEEPS))
        sem_wait(&p->wake);
    else if (p->look_after == 0)
        p->look_pause /= 2;
    if (host_monotonic_ns() - begin > LOOK_NS)
        p->look_after = MAX(p->look_after, 1);
}

/*
 * No wake-up is lost. Who has something for it sets that first and then makes it awake; it says
 * that it is not awake any more and then looks whether there is something: one of the two sees what
 * the other did. It becomes asleep only if nobody has made it awake since, and whoever makes it
 * awake from there, one alone, posts the semaphore that it waits for. A wake-up that nobody needs
 * any more costs one more look.
 */
static void sleep_member(struct machine_processor *p)
{
    struct machine *m = p->machine;

    atomic_store(&p->sleep, MACHINE_LOOKS);
    if (!may_run(p) && !m->crew.leaves) {
        machine_unlock(m);
        await_wake(p);
        machine_lock(m);
    }
    atomic_store(&p->sleep, MACHINE_AWAKE);
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
    if (atomic_exchange(&p->sleep, MACHINE_AWAKE) == MACHINE_SLEEPS)
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
    if (m->crew.count == 0)
        m->crew.host_processors = host_processor_count();
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
