#include "machine/debug.h"

#include "base/check.h"
#include "cpu/debug.h"
#include "machine/internal.h"
#include "mmu/guest_access.h"
#include "mmu/p2m.h"
#include "mmu/walk.h"

#include <string.h>

#define POINT_LENGTH_MAX 4096

/* --- Stops --- */

void machine_debug_attach(struct machine *m, enum machine_tool tool, void (*parked)(void *opaque),
                          void *opaque)
{
    machine_lock(m);
    m->debug.listeners[tool] = (struct machine_listener){.parked = parked, .opaque = opaque};
    machine_unlock(m);
}

static void drop_points(struct machine *m, enum machine_tool tool)
{
    m->debug.leaving &= ~BIT(tool);
    for (unsigned k = 0; k < m->processor_count; k++) {
        struct vcpu *cpu = m->processors[k].vcpu;

        for (unsigned n = cpu->debug.count; n-- > 0;) {
            struct debug_point p = cpu->debug.points[n];

            if (p.owner == DEBUG_HOST + tool)
                debug_remove(cpu, &p);
        }
    }
}

void machine_debug_drop_points(struct machine *m)
{
    m->requests &= ~MACHINE_REQUEST_DETACH;
    for (unsigned tool = 0; tool < MACHINE_TOOL_COUNT; tool++) {
        if (m->debug.leaving & BIT(tool))
            drop_points(m, (enum machine_tool)tool);
    }
}

void machine_debug_detach(struct machine *m, enum machine_tool tool)
{
    machine_lock(m);
    m->debug.listeners[tool].parked = NULL;
    m->debug.steps = 0;
    if (m->debug.is_parked) {
        drop_points(m, tool);
    } else {
        m->debug.leaving |= BIT(tool);
        machine_request_locked(m, MACHINE_REQUEST_DETACH);
    }
    machine_unlock(m);
}

void machine_hold(struct machine *m)
{
    machine_lock(m);
    CHECK(!m->debug.held);
    m->debug.held = true;
    machine_crew_rest(m);
    while (m->debug.in_slice) {
        vcpu_signal(m->cpu, VCPU_PENDING_EXIT, 0);
        pthread_cond_wait(&m->wake, &m->device_lock);
    }
    machine_unlock(m);
}

void machine_release(struct machine *m)
{
    machine_lock(m);
    CHECK(m->debug.held);
    m->debug.held = false;
    m->debug.selected = NULL;
    machine_wake_locked(m);
    machine_unlock(m);
}

bool machine_debug_parked(struct machine *m, struct machine_stop_reason *why)
{
    bool parked;

    machine_lock(m);
    parked = m->debug.is_parked;
    *why = m->debug.why;
    why->processor = m->cpu->index;
    why->stop = m->debug.stops;
    machine_unlock(m);
    return parked;
}

/* --- The processor that is looked at --- */

unsigned machine_processor_count(const struct machine *m)
{
    return m->processor_count;
}

bool machine_debug_select(struct machine *m, unsigned processor)
{
    if (processor == MACHINE_PROCESSOR_STOPPED)
        m->debug.selected = NULL;
    else if (processor < m->processor_count)
        m->debug.selected = m->processors[processor].vcpu;
    else
        return false;
    return true;
}

unsigned machine_debug_selected(const struct machine *m)
{
    return machine_looked_at(m)->index;
}

const char *machine_processor_word(const struct vcpu *cpu)
{
    return cpu->attention & VCPU_ATTENTION_STARTUP  ? "waiting for start-up"
           : cpu->attention & VCPU_ATTENTION_HALTED ? "halted"
                                                    : "running";
}

const char *machine_debug_state(const struct machine *m)
{
    return machine_processor_word(machine_looked_at(m));
}

/* --- Going on --- */

void machine_debug_rest(struct machine *m)
{
    m->debug.stops++;
    m->debug.steps = 0;
    m->debug.selected = NULL;
    for (unsigned n = 0; n < m->processor_count; n++)
        m->processors[n].stands = false;
}

bool machine_debug_any_stands(const struct machine *m)
{
    for (unsigned n = 0; n < m->processor_count; n++)
        if (m->processors[n].stands)
            return true;
    return false;
}

bool machine_debug_step_sleeps(const struct machine *m)
{
    return machine_debug_steps(m) && m->processor_count > 1 && !m->debug.others_run &&
           vcpu_asleep(m->cpu);
}

static void resume_locked(struct machine *m)
{
    m->debug.is_parked = false;
    m->requests &= ~MACHINE_REQUEST_STOP;
    machine_wake_locked(m);
}

void machine_debug_resume(struct machine *m, const struct machine_resume *r)
{
    unsigned running = 0;

    machine_lock(m);
    m->debug.others_run = false;
    for (unsigned n = 0; n < m->processor_count; n++) {
        m->processors[n].stands = r->stands[n];
        running += !r->stands[n];
        m->debug.others_run |= n != r->stepper && !r->stands[n];
    }
    CHECK(running > 0 && (r->steps == 0 || !r->stands[r->stepper]));
    m->debug.steps = r->steps;
    m->debug.stepper = r->stepper;
    m->debug.step_interrupts = r->interrupts;
    if (r->steps > 0 && m->debug.others_run)
        m->turn.left = 0;
    resume_locked(m);
    machine_unlock(m);
}

void machine_debug_step(struct machine *m, uint64_t count, bool interrupts)
{
    struct machine_resume r = {
        .steps = MAX(count, 1u),
        .stepper = machine_debug_selected(m),
        .interrupts = interrupts,
    };

    for (unsigned n = 0; n < m->processor_count; n++)
        r.stands[n] = n != r.stepper;
    machine_debug_resume(m, &r);
}

void machine_debug_until(struct machine *m, uint64_t instructions, uint64_t ns)
{
    machine_lock(m);
    m->debug.until_instructions = instructions;
    m->debug.until_ns = ns;
    machine_request_locked(m, 0); /* the slice that runs may be too long */
    machine_unlock(m);
}

/* --- Points --- */

static bool convert(const struct machine_point *point, struct debug_point *out)
{
    static const uint8_t kinds[] = {
        [MACHINE_POINT_EXECUTE] = DEBUG_EXEC,
        [MACHINE_POINT_WRITE] = DEBUG_WRITE,
        [MACHINE_POINT_READ] = DEBUG_READ,
        [MACHINE_POINT_ACCESS] = DEBUG_ACCESS,
    };
    bool execute = point->kind == MACHINE_POINT_EXECUTE;

    if (point->length < 1 || point->length > POINT_LENGTH_MAX ||
        point->address + point->length < point->address || (point->physical && !execute))
        return false;
    *out = (struct debug_point){
        .address = point->address,
        .length = execute ? 1 : point->length,
        .cr3 = point->any_root ? DEBUG_ANY_CR3 : point->root & PAGE_MASK,
        .kind = kinds[point->kind],
        .owner = (uint8_t)(DEBUG_HOST + point->tool),
        .physical = point->physical,
    };
    return true;
}

bool machine_debug_add(struct machine *m, const struct machine_point *point)
{
    struct debug_point p;

    if (!convert(point, &p))
        return false;
    machine_lock(m);
    for (unsigned n = 0; n < m->processor_count; n++)
        debug_add(m->processors[n].vcpu, &p);
    machine_unlock(m);
    return true;
}

bool machine_debug_remove(struct machine *m, const struct machine_point *point)
{
    struct debug_point p;
    bool found = false;

    if (!convert(point, &p))
        return false;
    machine_lock(m);
    for (unsigned n = 0; n < m->processor_count; n++)
        found = debug_remove(m->processors[n].vcpu, &p);
    machine_unlock(m);
    return found;
}

bool machine_debug_point(struct machine *m, enum machine_tool tool, unsigned n,
                         struct machine_point *point)
{
    const struct debug *d = &m->cpu->debug;

    for (unsigned k = 0; k < d->count; k++) {
        const struct debug_point *p = &d->points[k];

        if (p->owner != DEBUG_HOST + tool || n-- > 0)
            continue;
        *point = (struct machine_point){
            .kind = p->kind == DEBUG_EXEC    ? MACHINE_POINT_EXECUTE
                    : p->kind == DEBUG_WRITE ? MACHINE_POINT_WRITE
                    : p->kind == DEBUG_READ  ? MACHINE_POINT_READ
                                             : MACHINE_POINT_ACCESS,
            .tool = tool,
            .physical = p->physical,
            .any_root = p->cr3 == DEBUG_ANY_CR3,
            .root = p->cr3,
            .address = p->address,
            .length = p->length,
        };
        return true;
    }
    return false;
}

/* --- Memory --- */

bool machine_translate(struct machine *m, uint64_t address, uint64_t *physical)
{
    struct mmu_walk w;

    mmu_walk_inspect(&machine_looked_at(m)->mmu, gva(address), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
    if (w.outcome != WALK_OK && w.outcome != WALK_DENIED)
        return false;
    *physical = w.mapping.page.v | (address & ~PAGE_MASK);
    return true;
}

/* Physical and machine address of a byte in RAM or ROM, and how many of the following are there
 * with it. */
static size_t find_memory(struct machine *m, uint64_t address, bool physical, size_t count,
                          uint64_t *where, mpa_t *at)
{
    size_t in_page = MIN(count, PAGE_SIZE - (address & ~PAGE_MASK));

    *where = address;
    if (!physical && !machine_translate(m, address, where))
        return 0;
    if (!p2m_find(bus_p2m(m->bus), gpa(*where), at))
        return 0;
    return machine_memory_contains(m->memory, *at, in_page) ? in_page : 0;
}

size_t machine_debug_read(struct machine *m, uint64_t address, bool physical, void *bytes,
                          size_t count)
{
    uint8_t *out = bytes;
    size_t done = 0, part;
    uint64_t where;
    mpa_t at;

    while (done < count &&
           (part = find_memory(m, address + done, physical, count - done, &where, &at)) > 0) {
        const uint8_t *host = machine_memory_host(m->memory, at);

        for (size_t n = 0; n < part; n++)
            out[done + n] = guest_load8(host + n);
        done += part;
    }
    return done;
}

size_t machine_debug_write(struct machine *m, uint64_t address, bool physical, const void *bytes,
                           size_t count)
{
    const uint8_t *in = bytes;
    size_t done = 0, part;
    uint64_t where;
    mpa_t at;

    machine_lock(m);
    while (done < count &&
           (part = find_memory(m, address + done, physical, count - done, &where, &at)) > 0 &&
           machine_memory_kind(m->memory, at) == FRAME_RAM) {
        bus_write(m->bus, gpa(where), in + done, part);
        done += part;
    }
    machine_unlock(m);
    return done;
}

/* --- Hardware errors --- */

enum machine_error_outcome machine_inject_error(struct machine *m, const struct machine_error *e)
{
    const struct mce_error error = {
        .bank = e->bank,
        .status = e->status,
        .addr = e->addr,
        .misc = e->misc,
        .ripv = e->mcg_status & MCG_STATUS_RIPV,
        .eipv = e->mcg_status & MCG_STATUS_EIPV,
    };
    enum mce_outcome outcome;

    machine_lock(m);
    outcome = mce_inject(machine_looked_at(m), &error);
    machine_wake_processor(&m->processors[machine_looked_at(m)->index]);
    machine_unlock(m);
    switch (outcome) {
    case MCE_LOGGED:
        return MACHINE_ERROR_LOGGED;
    case MCE_RAISED:
        return MACHINE_ERROR_RAISED;
    case MCE_SHUTDOWN:
        return MACHINE_ERROR_SHUTDOWN;
    case MCE_NO_BANK:
        break;
    }
    return MACHINE_ERROR_NO_BANK;
}

void machine_inject_nmi(struct machine *m)
{
    machine_lock(m);
    vcpu_signal(machine_looked_at(m), VCPU_PENDING_NMI, 0);
    machine_wake_processor(&m->processors[machine_looked_at(m)->index]);
    machine_unlock(m);
}
