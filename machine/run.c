/*
 * The run loop. It alternates between slices of guest instructions, without the device lock, and a
 * look at timers and requests, with it.
 *
 *   deterministic  a slice ends exactly at the next timer's deadline, at the target and at the
 *                  guest timeout; a device that arms an earlier timer cuts it short
 *   parallel       slices are short, and timers are looked at between them; HLT sleeps on a
 *                  condition until the next deadline or a wake-up, so an idle guest costs nothing
 *
 * Several processors have threads of their own in parallel mode (crew.c): here they are started,
 * and stopped when something is asked for. In deterministic mode, and while a debugger steps, they
 * take turns on this thread: one runs until it has had its turn, sleeps, or waits for another
 * (PAUSE). Deterministic time is the sum of what all have retired.
 */
#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"
#include "base/random.h"
#include "machine/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* Longest slices, in instructions: how far a look at the outside can be away. */
#define SLICE_DETERMINISTIC 1000000
#define SLICE_PARALLEL      10000

/* Turns of processors that share the thread, in instructions, if nobody says otherwise. */
#define TURN_LEAST 5000u
#define TURN_MOST  9999u

/* Host time between two calls of machine_host.poll. */
#define POLL_INTERVAL_NS 4000000ull

/* A processor that sleeps with interrupts off for that long will not wake any more: only an NMI or
 * INIT could wake it, and who waits for one waits for a near one. */
#define DEAD_SLEEP_NS NS_PER_SECOND

/* --- Requests --- */

void machine_wake_locked(struct machine *m)
{
    pthread_cond_broadcast(&m->wake);
}

void machine_request_locked(struct machine *m, uint32_t request)
{
    m->requests |= request;
    if (m->crew.go)
        machine_crew_ask_rest(m);
    else if (m->cpu != NULL)
        vcpu_signal(m->cpu, VCPU_PENDING_EXIT, 0);
    machine_wake_locked(m);
}

void machine_end_locked(struct machine *m, enum machine_end end, uint32_t value, const char *format,
                        ...)
{
    va_list args;

    if (m->result.end != MACHINE_END_NONE && m->result.end != MACHINE_END_TARGET)
        return;
    m->result.end = end;
    m->result.value = value;
    va_start(args, format);
    vsnprintf(m->result.text, sizeof(m->result.text), format, args);
    va_end(args);
    machine_request_locked(m, MACHINE_REQUEST_END);
}

void machine_request_reset_locked(struct machine *m)
{
    machine_request_locked(m, MACHINE_REQUEST_RESET);
}

void machine_request_power_off_locked(struct machine *m)
{
    if (m->config.no_shutdown)
        machine_request_locked(m, MACHINE_REQUEST_STOP);
    else
        machine_end_locked(m, MACHINE_END_POWER_OFF, 0, "the guest powered off");
}

void machine_quit(struct machine *m, enum machine_end end, uint32_t value)
{
    machine_lock(m);
    if (end == MACHINE_END_TIMEOUT)
        machine_end_locked(m, end, value, "the time given by --timeout is over");
    else if (end == MACHINE_END_INTERRUPTED)
        machine_end_locked(m, end, value, "ended by signal %u", value);
    else
        machine_end_locked(m, end, value, "asked to end");
    machine_unlock(m);
}

void machine_stop(struct machine *m)
{
    machine_lock(m);
    machine_request_locked(m, MACHINE_REQUEST_STOP);
    machine_unlock(m);
}

void machine_continue(struct machine *m)
{
    machine_lock(m);
    m->requests &= ~MACHINE_REQUEST_STOP;
    m->debug.is_parked = false;
    machine_wake_locked(m);
    machine_unlock(m);
}

void machine_reset(struct machine *m)
{
    machine_lock(m);
    machine_request_reset_locked(m);
    machine_unlock(m);
}

void machine_power_button(struct machine *m)
{
    machine_lock(m);
    pm_power_button(m->pm);
    machine_unlock(m);
}

bool machine_stopped(struct machine *m)
{
    bool stopped;

    machine_lock(m);
    stopped = (m->requests & MACHINE_REQUEST_STOP) != 0;
    machine_unlock(m);
    return stopped;
}

void machine_look(struct machine *m)
{
    machine_lock(m);
    machine_request_locked(m, MACHINE_REQUEST_LOOK);
    machine_unlock(m);
}

void machine_kick(struct machine *m)
{
    machine_lock(m);
    machine_wake_locked(m);
    machine_unlock(m);
}

void machine_deadline_moved(void *opaque)
{
    struct machine *m = opaque;

    if (m->config.deterministic)
        vcpu_signal(m->cpu, VCPU_PENDING_EXIT, 0); /* the slice was cut for a later deadline */
    else if (m->clock.next_deadline < m->waits_until)
        machine_wake_locked(m);
}

/* --- Waiting --- */

/* Waits for a wake-up, `ns` at most (CLOCK_NEVER: for ever); gives the lock away meanwhile. */
static void wait_locked(struct machine *m, uint64_t ns)
{
    struct timespec until;
    uint64_t t;

    if (ns == CLOCK_NEVER) {
        pthread_cond_wait(&m->wake, &m->device_lock);
        return;
    }
    t = host_monotonic_ns() + MIN(ns, 3600 * NS_PER_SECOND);
    until.tv_sec = (time_t)(t / NS_PER_SECOND);
    until.tv_nsec = (long)(t % NS_PER_SECOND);
    pthread_cond_timedwait(&m->wake, &m->device_lock, &until);
}

static void wait_host(struct machine *m, uint64_t ns)
{
    if (!m->config.deterministic) {
        wait_locked(m, ns);
        return;
    }
    CHECK(m->config.host.wait != NULL);
    machine_unlock(m);
    m->config.host.wait(m->config.host.opaque, ns);
    machine_lock(m);
}

static bool input_possible(const struct machine *m)
{
    const struct machine_host *h = &m->config.host;

    if (m->config.deterministic && h->wait == NULL)
        return false;
    return h->input_possible != NULL && h->input_possible(h->opaque);
}

static void serve_look(struct machine *m)
{
    m->requests &= ~MACHINE_REQUEST_LOOK;
    if (m->config.host.look == NULL)
        return;
    machine_unlock(m);
    m->config.host.look(m->config.host.opaque);
    machine_lock(m);
}

static void park(struct machine *m)
{
    m->debug.is_parked = true;
    machine_debug_rest(m);
    m->debug.until_instructions = m->debug.until_ns = UINT64_MAX;
    for (unsigned n = 0; n < MACHINE_TOOL_COUNT; n++) {
        const struct machine_listener *l = &m->debug.listeners[n];

        if (l->parked != NULL)
            l->parked(l->opaque);
    }
}

/* Stopped: time stands still until somebody asks for something else. */
static void stay_stopped(struct machine *m)
{
    clock_stop(&m->clock);
    park(m);
    while ((m->requests & MACHINE_REQUEST_STOP) && !(m->requests & MACHINE_REQUEST_END)) {
        if (!m->debug.is_parked) { /* continued, and stopped again before anything ran */
            m->debug.why = (struct machine_stop_reason){.kind = MACHINE_STOP_REQUEST};
            park(m);
        }
        if (m->requests & MACHINE_REQUEST_LOOK) {
            serve_look(m);
            continue;
        }
        if (m->config.deterministic && m->config.host.wait == NULL) {
            machine_end_locked(m, MACHINE_END_QUIT, 0, "stopped, with nobody to continue it");
            break;
        }
        wait_host(m, CLOCK_NEVER);
    }
    m->debug.is_parked = false;
    m->debug.selected = NULL;
    m->debug.why = (struct machine_stop_reason){.kind = MACHINE_STOP_REQUEST};
    clock_start(&m->clock);
}

static void stop_for_debugger(struct machine *m, enum machine_stop_kind kind, uint64_t address)
{
    m->debug.steps = 0;
    m->debug.why = (struct machine_stop_reason){.kind = kind, .address = address};
    machine_request_locked(m, MACHINE_REQUEST_STOP);
}

/* A point of the debugger's was reached. */
static void point_reached(struct machine *m)
{
    static const uint8_t kinds[] = {
        [DEBUG_EXEC] = MACHINE_STOP_BREAKPOINT, [DEBUG_WRITE] = MACHINE_STOP_WRITE,
        [DEBUG_READ] = MACHINE_STOP_READ,       [DEBUG_ACCESS] = MACHINE_STOP_ACCESS,
        [DEBUG_IO] = MACHINE_STOP_IO,
    };
    const struct debug_stop *stop = &m->cpu->debug.stop;

    stop_for_debugger(m, kinds[stop->kind], stop->address);
}

/* --- Idle --- */

/* When the guest timeout ends the run, in virtual time. */
static uint64_t timeout_limit(const struct machine *m)
{
    return m->config.guest_timeout_ns != 0 ? m->config.guest_timeout_ns : CLOCK_NEVER;
}

/* How far virtual time may go: to the guest timeout, or to where a debugger wants a stop. */
static uint64_t time_limit(const struct machine *m)
{
    return MIN(timeout_limit(m), m->debug.until_ns);
}

/* Stops the machine where machine_debug_until says. */
static bool until_reached(struct machine *m)
{
    if (m->clock.instructions < m->debug.until_instructions &&
        (m->debug.until_ns == CLOCK_NEVER || clock_now(&m->clock) < m->debug.until_ns))
        return false;
    m->debug.until_instructions = m->debug.until_ns = UINT64_MAX;
    stop_for_debugger(m, MACHINE_STOP_UNTIL, 0);
    return true;
}

static bool guest_timeout_locked(struct machine *m)
{
    if (clock_now(&m->clock) >= timeout_limit(m)) {
        machine_end_locked(m, MACHINE_END_GUEST_TIMEOUT, 0,
                           "the virtual time given by --guest-timeout is over");
        return true;
    }
    if (m->config.guest_timeout_instructions != 0 &&
        m->clock.instructions >= m->config.guest_timeout_instructions) {
        machine_end_locked(m, MACHINE_END_GUEST_TIMEOUT, 0,
                           "the instructions given by --guest-timeout have run");
        return true;
    }
    return false;
}

/* Could an interrupt wake one of the processors, which all sleep? */
static bool interrupts_wake(const struct machine *m)
{
    for (unsigned n = 0; n < m->processor_count; n++) {
        const struct vcpu *cpu = m->processors[n].vcpu;

        if (!(cpu->attention & VCPU_ATTENTION_STARTUP) && (vcpu_rflags(cpu) & EFLAGS_IF))
            return true;
    }
    return false;
}

bool machine_goes_on(const struct machine *m)
{
    return (interrupts_wake(m) || machine_debug_any_stands(m)) &&
           (m->clock.next_deadline != CLOCK_NEVER || input_possible(m));
}

/* Ends the run if the halted processors can never go on. `dead_since`: since when they have been
 * asleep with interrupts off, or CLOCK_NEVER. */
static bool sleeps_for_ever(struct machine *m, uint64_t *dead_since)
{
    uint64_t now = clock_now(&m->clock);

    if (machine_goes_on(m)) {
        *dead_since = CLOCK_NEVER;
        return false;
    }
    if (machine_debug_any_stands(m)) { /* it could do something, but is not to */
        stop_for_debugger(m, MACHINE_STOP_REQUEST, 0);
        return true;
    }
    if (interrupts_wake(m)) {
        machine_end_locked(m, MACHINE_END_HALTED, 0,
                           "the guest sleeps, and no timer or input is left to wake it");
        return true;
    }
    if (*dead_since == CLOCK_NEVER)
        *dead_since = now;
    if (m->clock.next_deadline != CLOCK_NEVER && now - *dead_since < DEAD_SLEEP_NS)
        return false;
    machine_end_locked(m, MACHINE_END_HALTED, 0,
                       "the guest halted the processor with interrupts off");
    return true;
}

/* Time jumps to the next deadline, or to the guest timeout if that comes first. */
static void skip_idle(struct machine *m, uint64_t next)
{
    uint64_t now = clock_now(&m->clock);
    uint64_t to = MIN(next, time_limit(m));

    if (to == CLOCK_NEVER) {
        wait_host(m, CLOCK_NEVER);
        return;
    }
    if (m->config.idle_sleeps && m->config.host.wait != NULL && to > now) {
        uint64_t start = host_monotonic_ns(), slept;

        wait_host(m, to - now);
        slept = host_monotonic_ns() - start;
        to = MIN(to, now + slept); /* input came first */
    }
    clock_skip_to(&m->clock, to);
}

/* Until the next timer is due, virtual time is over, or somebody wakes. */
static void wait_for_timers(struct machine *m)
{
    uint64_t now = clock_now(&m->clock), next = MIN(m->clock.next_deadline, time_limit(m));

    m->waits_until = next;
    if (next > now)
        wait_locked(m, next == CLOCK_NEVER ? CLOCK_NEVER : next - now);
}

/* Nobody runs: all sleep, but for those that a debugger keeps from running. */
static bool all_asleep(const struct machine *m)
{
    for (unsigned n = 0; n < m->processor_count; n++)
        if (!m->processors[n].stands && !vcpu_asleep(m->processors[n].vcpu))
            return false;
    return true;
}

/* All processors sleep: lets time pass until something wakes one, or a request comes. */
static void idle(struct machine *m)
{
    uint64_t dead_since = CLOCK_NEVER;

    while (m->requests == 0 && all_asleep(m)) {
        if (sleeps_for_ever(m, &dead_since) || guest_timeout_locked(m) || until_reached(m))
            break;
        if (m->config.deterministic) {
            skip_idle(m, m->clock.next_deadline);
            machine_poll_locked(m);
        } else {
            wait_for_timers(m);
        }
        clock_run_due(&m->clock);
    }
}

/* --- Turns --- */

/* The length of a turn; another one each time, so that the order of what processors do varies. */
static uint64_t turn_length(struct machine *m)
{
    bool given = m->config.turn_most != 0;
    unsigned least = given ? m->config.turn_least : TURN_LEAST;
    unsigned most = given ? m->config.turn_most : TURN_MOST;

    return least + (random_next(&m->turn.state) >> 33) % (most - least + 1u);
}

/* The turn of the next processor that is awake. */
static void next_turn(struct machine *m)
{
    unsigned count = m->processor_count, n = m->cpu->index;
    struct vcpu *sleeper = NULL;

    for (unsigned k = 1; k <= count; k++) {
        struct machine_processor *p = &m->processors[(n + k) % count];

        if (p->stands)
            continue;
        if (!vcpu_asleep(p->vcpu)) {
            m->cpu = p->vcpu;
            m->turn.left = turn_length(m);
            return;
        }
        sleeper = p->vcpu;
    }
    if (m->processors[n].stands)
        m->cpu = sleeper;
}

/* Gives the thread to the next processor that is awake, if this one has had its turn or sleeps; or
 * to the one that steps alone. */
static void take_turns(struct machine *m)
{
    unsigned count = m->processor_count;

    if (m->debug.steps > 0 && !m->debug.others_run)
        m->cpu = m->processors[m->debug.stepper].vcpu;
    else if (count > 1 &&
             (m->turn.left == 0 || vcpu_asleep(m->cpu) || m->processors[m->cpu->index].stands))
        next_turn(m);
}

/* --- Slices --- */

/* Nothing changes while somebody looks at the processor. */
static void stand_by(struct machine *m)
{
    while (m->debug.held)
        wait_locked(m, CLOCK_NEVER);
}

void machine_poll_locked(struct machine *m)
{
    uint64_t now;

    if (m->config.host.poll == NULL)
        return;
    now = host_monotonic_ns();
    if (now - m->last_poll < POLL_INTERVAL_NS)
        return;
    m->last_poll = now;
    machine_unlock(m);
    m->config.host.poll(m->config.host.opaque);
    machine_lock(m);
}

/* Instructions until `limit` has been reached, at most `most`. */
static uint64_t until(uint64_t limit, uint64_t now, uint64_t most)
{
    return limit > now ? MIN(limit - now, most) : 0;
}

static uint64_t slice_length(struct machine *m)
{
    uint64_t done = m->clock.instructions;
    uint64_t n = m->config.deterministic ? SLICE_DETERMINISTIC : SLICE_PARALLEL;
    uint64_t now, step;

    if (m->processor_count > 1 && !machine_debug_steps(m))
        n = MIN(n, MAX(m->turn.left, 1));
    if (machine_debug_steps(m) || machine_events_exact(m))
        n = 1;
    n = until(m->target, done, n);
    n = until(m->debug.until_instructions, done, n);
    if (m->config.guest_timeout_instructions != 0)
        n = until(m->config.guest_timeout_instructions, done, n);
    if (!m->config.deterministic)
        return n;
    now = clock_now(&m->clock);
    step = 1ull << m->clock.shift;
    if (time_limit(m) != CLOCK_NEVER)
        n = MIN(n, (until(time_limit(m), now, UINT64_MAX - step) + step - 1) / step);
    /* A timer that is always due must not keep the guest from running. */
    return n == 0 ? 0 : MAX(clock_instructions_until_deadline(&m->clock, n), 1);
}

static void triple_fault(struct machine *m)
{
    if (m->debug.listeners[MACHINE_TOOL_GDB].parked != NULL && m->debug.fallen == NULL) {
        m->debug.fallen = m->cpu;
        stop_for_debugger(m, MACHINE_STOP_TRIPLE_FAULT, m->cpu->rip);
        return;
    }
    if (m->debug.fallen != NULL)
        m->cpu = m->debug.fallen;
    m->debug.fallen = NULL;
    if (m->config.triple_fault_resets) {
        machine_request_reset_locked(m);
        return;
    }
    machine_end_locked(m, MACHINE_END_TRIPLE_FAULT, 0, "%s", m->cpu->shutdown);
}

/* Stops the machine if an MMU event asked for that. */
static bool event_hit(struct machine *m)
{
    unsigned number = machine_events_take_hit(m);

    if (number == 0)
        return false;
    stop_for_debugger(m, MACHINE_STOP_EVENT, number);
    return true;
}

static enum vcpu_exit run_processor(struct machine *m, uint64_t length)
{
    struct vcpu *cpu = m->cpu;
    uint64_t before = cpu->instructions;
    enum vcpu_exit exit;

    m->debug.in_slice = true;
    cpu->clock_lead = m->clock.instructions - before;
    machine_unlock(m);
    exit = vcpu_run(cpu, length);
    machine_lock(m);
    m->debug.in_slice = false;
    m->clock.instructions = cpu->instructions + cpu->clock_lead;
    m->turn.left -= MIN(m->turn.left, cpu->instructions - before);
    if (exit == VCPU_EXIT_YIELD)
        m->turn.left = 0;
    if (m->debug.held) {
        machine_wake_locked(m);
        stand_by(m);
    }
    return exit;
}

/* What a processor has stopped for when it ran on a thread of its own, if anything. */
static bool take_exit_of(struct machine *m, struct machine_processor *p)
{
    enum vcpu_exit exit = p->exit;

    if (exit == VCPU_EXIT_BUDGET)
        return false;
    p->exit = VCPU_EXIT_BUDGET;
    m->cpu = p->vcpu;
    if (exit == VCPU_EXIT_SHUTDOWN)
        triple_fault(m);
    else
        point_reached(m);
    return true;
}

/* One slice and what follows from how it ended. The device lock is held outside the slice. */
static void run_slice(struct machine *m)
{
    uint64_t length, before;
    enum vcpu_exit exit;
    bool step, stepped;

    stand_by(m);
    if (until_reached(m) || event_hit(m))
        return;
    if (m->debug.fallen != NULL) {
        triple_fault(m);
        return;
    }
    take_turns(m);
    if (take_exit_of(m, &m->processors[m->cpu->index]))
        return;
    if (machine_debug_step_sleeps(m)) {
        stop_for_debugger(m, MACHINE_STOP_STEP, 0);
        return;
    }
    length = slice_length(m);
    before = m->cpu->instructions;
    step = machine_debug_steps(m);
    if (length == 0)
        return;
    if (step && !m->debug.step_interrupts && !(m->cpu->attention & VCPU_ATTENTION_HALTED))
        m->cpu->attention |= VCPU_ATTENTION_SHADOW;
    exit = run_processor(m, length);
    stepped = step && m->cpu->instructions != before;
    event_hit(m);
    clock_run_due(&m->clock);
    if (exit == VCPU_EXIT_HALTED && all_asleep(m) && !(stepped && m->processor_count > 1))
        idle(m);
    else if (exit == VCPU_EXIT_SHUTDOWN)
        triple_fault(m);
    else if (exit == VCPU_EXIT_DEBUG)
        point_reached(m);
    if (stepped && m->debug.steps > 0 && --m->debug.steps == 0)
        stop_for_debugger(m, MACHINE_STOP_STEP, 0);
}

/* --- The crew --- */

/* Do the processors run on threads of their own? */
static bool crew_fits(const struct machine *m)
{
    return !m->config.deterministic && m->processor_count > 1 && m->debug.steps == 0 &&
           !machine_events_exact(m) && !m->crew.failed;
}

/* What one of them has stopped for. */
static bool take_exit(struct machine *m)
{
    for (unsigned n = 0; n < m->processor_count; n++)
        if (take_exit_of(m, &m->processors[n]))
            return true;
    return false;
}

/* While the crew is at work: timers, and waiting for what comes. */
static void attend_crew(struct machine *m)
{
    m->crew.dead_since = CLOCK_NEVER;
    while (m->crew.go) {
        clock_run_due(&m->clock);
        if (guest_timeout_locked(m) || until_reached(m) || !m->crew.go)
            return;
        if (m->crew.running == 0 && all_asleep(m) && sleeps_for_ever(m, &m->crew.dead_since))
            return;
        wait_for_timers(m);
    }
}

static void run_crew(struct machine *m)
{
    stand_by(m);
    if (m->requests != 0 || until_reached(m) || event_hit(m) || take_exit(m))
        return;
    if (m->debug.fallen != NULL) {
        triple_fault(m);
        return;
    }
    if (machine_crew_start(m))
        attend_crew(m);
    else
        m->crew.failed = true;
    machine_crew_rest(m);
}

static void reset_locked(struct machine *m)
{
    struct error err = {0};

    m->requests &= ~MACHINE_REQUEST_RESET;
    m->debug.fallen = NULL;
    for (unsigned n = 0; n < m->processor_count; n++)
        m->processors[n].exit = VCPU_EXIT_BUDGET;
    if (m->config.no_reboot) {
        machine_end_locked(m, MACHINE_END_RESET, 0, "the guest asked for a reset (-no-reboot)");
        return;
    }
    if (!machine_reset_locked(m, &err))
        machine_end_locked(m, MACHINE_END_BROKEN, 0, "reset: %.240s", err.text);
}

/* True if the loop is to end. */
static bool serve_requests(struct machine *m)
{
    stand_by(m);
    if (m->requests & MACHINE_REQUEST_END)
        return true;
    if (m->requests & MACHINE_REQUEST_LOOK)
        serve_look(m);
    if (m->requests & MACHINE_REQUEST_DETACH)
        machine_debug_drop_points(m);
    if (m->requests & MACHINE_REQUEST_RESET)
        reset_locked(m);
    if (m->requests & MACHINE_REQUEST_STOP)
        stay_stopped(m);
    if (!(m->requests & MACHINE_REQUEST_END) && !guest_timeout_locked(m) &&
        m->clock.instructions >= m->target)
        machine_end_locked(m, MACHINE_END_TARGET, 0, "the instructions asked for have run");
    return (m->requests & MACHINE_REQUEST_END) != 0;
}

void machine_run(struct machine *m, uint64_t instructions, struct machine_result *result)
{
    machine_lock(m);
    m->target = instructions;
    if (m->result.end == MACHINE_END_TARGET) {
        m->result.end = MACHINE_END_NONE;
        m->requests &= ~MACHINE_REQUEST_END;
    }
    clock_start(&m->clock);
    while (!serve_requests(m)) {
        if (crew_fits(m))
            run_crew(m);
        else
            run_slice(m);
        if (m->config.deterministic)
            machine_poll_locked(m);
    }
    machine_crew_leave(m);
    clock_stop(&m->clock);
    *result = m->result;
    machine_unlock(m);
}
