#include "cpu/debug.h"

#include "base/check.h"
#include "base/host/host.h"
#include "cpu/block.h"
#include "cpu/cpu.h"
#include "mmu/p2m.h"

#include <stdlib.h>

/* DR7: enables, and R/W and LEN of point n (SDM 3B 17.2.4). */
static bool dr_enabled(uint64_t dr7, unsigned n)
{
    return (dr7 >> (2 * n)) & 3;
}

static uint8_t dr_kind(const struct vcpu *cpu, unsigned n)
{
    switch ((cpu->dr[7] >> (16 + 4 * n)) & 3) {
    case 0:
        return DEBUG_EXEC;
    case 1:
        return DEBUG_WRITE;
    case 2:
        return cpu->mmu.cr4 & CR4_DE ? DEBUG_IO : DEBUG_NONE;
    default:
        return DEBUG_ACCESS;
    }
}

static unsigned dr_length(const struct vcpu *cpu, unsigned n)
{
    static const uint8_t lengths[4] = {1, 2, 8, 4};

    return lengths[(cpu->dr[7] >> (18 + 4 * n)) & 3];
}

static void append(struct debug *d, const struct debug_point *point)
{
    if (d->count == d->capacity) {
        struct debug_point *more;

        d->capacity = d->capacity * 2 + 8;
        more = realloc(d->points, d->capacity * sizeof(*more));
        CHECK(more != NULL);
        d->points = more;
    }
    d->points[d->count++] = *point;
}

static bool is_data(const struct debug_point *p)
{
    return p->kind == DEBUG_WRITE || p->kind == DEBUG_READ || p->kind == DEBUG_ACCESS;
}

/* Takes every page with a data point off the TLB's fast path. */
static void slow_pages_update(struct vcpu *cpu)
{
    struct debug *d = &cpu->debug;
    unsigned n = 0;

    free(d->slow_pages);
    d->slow_pages = NULL;
    for (unsigned k = 0; k < d->count; k++) {
        const struct debug_point *p = &d->points[k];
        uint64_t first = p->address & PAGE_MASK, last = (p->address + p->length - 1) & PAGE_MASK;
        unsigned pages = (unsigned)((last - first) >> PAGE_SHIFT) + 1;

        if (!is_data(p))
            continue;
        d->slow_pages = realloc(d->slow_pages, (n + pages) * sizeof(*d->slow_pages));
        CHECK(d->slow_pages != NULL);
        for (unsigned page = 0; page < pages; page++)
            d->slow_pages[n++] = first + (uint64_t)page * PAGE_SIZE;
    }
    mmu_set_slow_pages(&cpu->mmu, d->slow_pages, n);
}

/* Everything that follows from the list of points. */
static void points_changed(struct vcpu *cpu, bool exec, bool data)
{
    struct debug *d = &cpu->debug;

    d->exec_count = d->data_count = d->io_count = 0;
    for (unsigned n = 0; n < d->count; n++) {
        d->exec_count += d->points[n].kind == DEBUG_EXEC;
        d->data_count += is_data(&d->points[n]);
        d->io_count += d->points[n].kind == DEBUG_IO;
    }
    if (exec)
        vcpu_signal(cpu, VCPU_PENDING_DROP, 0);
    if (data)
        slow_pages_update(cpu);
}

void debug_add(struct vcpu *cpu, const struct debug_point *point)
{
    append(&cpu->debug, point);
    points_changed(cpu, point->kind == DEBUG_EXEC, is_data(point));
}

static bool same_point(const struct debug_point *a, const struct debug_point *b)
{
    return a->address == b->address && a->length == b->length && a->cr3 == b->cr3 &&
           a->kind == b->kind && a->owner == b->owner && a->physical == b->physical;
}

bool debug_remove(struct vcpu *cpu, const struct debug_point *point)
{
    struct debug *d = &cpu->debug;

    for (unsigned n = 0; n < d->count; n++) {
        if (same_point(&d->points[n], point)) {
            d->points[n] = d->points[--d->count];
            points_changed(cpu, point->kind == DEBUG_EXEC, is_data(point));
            return true;
        }
    }
    return false;
}

void debug_registers_changed(struct vcpu *cpu)
{
    struct debug *d = &cpu->debug;
    bool exec = false, data = false;
    unsigned kept = 0;

    for (unsigned n = 0; n < d->count; n++) {
        if (d->points[n].owner >= DEBUG_HOST) {
            d->points[kept++] = d->points[n];
        } else {
            exec |= d->points[n].kind == DEBUG_EXEC;
            data |= is_data(&d->points[n]);
        }
    }
    d->count = kept;
    for (unsigned n = 0; n < 4; n++) {
        struct debug_point p = {.kind = dr_kind(cpu, n), .owner = (uint8_t)n, .cr3 = DEBUG_ANY_CR3};

        if (!dr_enabled(cpu->dr[7], n) || p.kind == DEBUG_NONE)
            continue;
        p.length = p.kind == DEBUG_EXEC ? 1 : dr_length(cpu, n);
        p.address = cpu->dr[n] & ~(p.length - 1);
        append(d, &p);
        exec |= p.kind == DEBUG_EXEC;
        data |= is_data(&p);
    }
    points_changed(cpu, exec, data);
}

void debug_destroy(struct vcpu *cpu)
{
    free(cpu->debug.points);
    free(cpu->debug.slow_pages);
}

bool debug_exec_at(const struct vcpu *cpu, unsigned offset)
{
    const struct debug *d = &cpu->debug;

    if (likely(d->exec_count == 0))
        return false;
    for (unsigned n = 0; n < d->count; n++)
        if (d->points[n].kind == DEBUG_EXEC && (d->points[n].address & (PAGE_SIZE - 1)) == offset)
            return true;
    return false;
}

static bool in_context(const struct vcpu *cpu, const struct debug_point *p)
{
    return p->cr3 == DEBUG_ANY_CR3 || ((p->cr3 ^ cpu->mmu.cr3) & PAGE_MASK) == 0;
}

static void exec_hit(struct vcpu *cpu, uint32_t points)
{
    if (points == 0 || (cpu->eflags & EFLAGS_RF) || (cpu->attention & VCPU_ATTENTION_SHADOW_SS))
        return;
    cpu->dr[6] |= points;
    cpu_raise(cpu, NULL, EXC_DB);
}

void debug_exec_early(struct vcpu *cpu, uint64_t linear)
{
    const struct debug *d = &cpu->debug;
    uint32_t guest = 0;

    if (likely(d->exec_count == 0))
        return;
    for (unsigned n = 0; n < d->count; n++) {
        const struct debug_point *p = &d->points[n];

        if (p->kind != DEBUG_EXEC)
            continue;
        if (p->owner >= DEBUG_HOST)
            return;
        if (p->address == linear)
            guest |= BIT(p->owner);
    }
    exec_hit(cpu, guest);
}

/* Is the point at the block's first instruction? */
static bool is_at(const struct vcpu *cpu, const struct debug_point *p, const struct block *b,
                  uint64_t linear)
{
    mpa_t at;

    if (!p->physical)
        return p->address == linear;
    return p2m_find(cpu->mmu.p2m, gpa(p->address), &at) && at.v == b->address;
}

bool debug_exec(struct vcpu *cpu, const struct block *b)
{
    struct debug *d = &cpu->debug;
    uint64_t linear = cpu->rip + cpu->seg[SEG_CS].base, now = vcpu_instructions(cpu);
    uint32_t guest = 0;
    bool host = false;

    if (!(cpu->mode & MODE_64))
        linear = (uint32_t)linear;
    for (unsigned n = 0; n < d->count; n++) {
        const struct debug_point *p = &d->points[n];

        if (p->kind != DEBUG_EXEC || !is_at(cpu, p, b, linear) || !in_context(cpu, p))
            continue;
        if (p->owner >= DEBUG_HOST)
            host = true;
        else
            guest |= BIT(p->owner);
    }
    if (host && d->passed != now) {
        d->passed = now;
        d->stop = (struct debug_stop){DEBUG_EXEC, linear};
        return true;
    }
    exec_hit(cpu, guest);
    return false;
}

static bool data_hit(const struct vcpu *cpu, const struct debug_point *p, uint64_t linear,
                     unsigned size, bool write)
{
    return (p->kind == DEBUG_ACCESS || p->kind == (write ? DEBUG_WRITE : DEBUG_READ)) &&
           linear < p->address + p->length && p->address < linear + size && in_context(cpu, p);
}

static void note_hit(struct vcpu *cpu, const struct debug_point *p, uint64_t address)
{
    cpu->attention |= VCPU_ATTENTION_DEBUG;
    if (p->owner >= DEBUG_HOST)
        cpu->debug.stop = (struct debug_stop){p->kind, MAX(address, p->address)};
    else
        cpu->debug.hits |= BIT(p->owner);
}

void debug_data(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size, bool write)
{
    const struct debug *d = &cpu->debug;

    for (unsigned n = 0; n < d->count; n++) {
        const struct debug_point *p = &d->points[n];

        if (!data_hit(cpu, p, linear, size, write))
            continue;
        if (cpu->block != NULL && !(cpu->block->mode & MODE_SINGLE))
            cpu_restart(cpu, i);
        note_hit(cpu, p, linear);
    }
}

void debug_io(struct vcpu *cpu, uint16_t port, unsigned size)
{
    const struct debug *d = &cpu->debug;

    for (unsigned n = 0; n < d->count; n++) {
        const struct debug_point *p = &d->points[n];

        if (p->kind == DEBUG_IO && port + size > p->address && port < p->address + p->length)
            note_hit(cpu, p, port);
    }
}

void debug_control_changed(struct vcpu *cpu)
{
    cpu->attention &= ~VCPU_ATTENTION_RECORD;
    if (cpu->msr.debugctl & DEBUGCTL_LBR)
        cpu->attention |= VCPU_ATTENTION_RECORD;
}

void debug_record_branch(struct vcpu *cpu, uint64_t from, uint64_t to)
{
    cpu->msr.last_branch_from = from;
    cpu->msr.last_branch_to = to;
}

void debug_record_event(struct vcpu *cpu, uint64_t from)
{
    if (likely(!(cpu->msr.debugctl & DEBUGCTL_LBR)))
        return;
    cpu->msr.last_int_from = cpu->msr.last_branch_from;
    cpu->msr.last_int_to = cpu->msr.last_branch_to;
    debug_record_branch(cpu, from, cpu->rip);
}

void debug_control_stop(struct vcpu *cpu)
{
    cpu->msr.debugctl &= ~(DEBUGCTL_LBR | DEBUGCTL_BTF);
    debug_control_changed(cpu);
}
