#include "tests/mmu/driver.h"

/* An access as it was asked for. */
struct request {
    uint64_t linear;
    unsigned size;
    enum mmu_access access;
    enum tlb_view view;
    enum oracle_who who;
};

static struct request request_of(const struct driver *d, uint64_t linear, unsigned size,
                                 enum mmu_access access, bool system)
{
    const struct mmu_context *m = d->v->m;
    struct request q = {linear, size, access, m->view, ORACLE_IMPLICIT};

    if (system)
        q.view = TLB_VIEW_SUPERVISOR;
    else
        q.who = m->cpl == 3 ? ORACLE_USER : (m->ac ? ORACLE_AC : ORACLE_SUPERVISOR);
    return q;
}

/* --- Operations --- */

static void begin(struct driver *d)
{
    d->code_writes = 0;
    d->stale = false;
    model_begin(d);
}

/* Whatever a look-up cache may use now must be legal. */
static void check_lookups(struct driver *d)
{
    struct vcpu_model *v = d->v;
    struct request q = request_of(d, 0, 1, MMU_FETCH, false);
    struct oracle_cpu cpu = model_processor(d);
    bool user = v->m->view == TLB_VIEW_USER;

    for (unsigned i = 0; i < MIN(v->lookup_count, LOOKUP_MAX); i++) {
        const struct lookup *l = &v->lookups[i];
        struct oracle_answer now;

        if (user != (l->view == TLB_VIEW_USER) || l->epoch != v->m->code_epoch)
            continue;
        d->lookups++;
        REQUIRE(d, model_machine(d, l->physical) == l->machine);
        now = oracle_access(&cpu, l->page, ORACLE_FETCH, q.who);
        if (now.end == ORACLE_TRANSLATED && now.physical == l->physical && !model_unmarked(d, &now))
            continue;
        TRACE(d, "  look-up of %#llx at %#llx, by the tables %u at %#llx\n",
              (unsigned long long)l->page, (unsigned long long)l->physical, now.end,
              (unsigned long long)now.physical);
        REQUIRE(d, model_was_legal(d, l->page, l->physical, ORACLE_FETCH, q.who));
    }
}

static void end(struct driver *d)
{
    d->operations++;
    d->full = d->v->count > HISTORY_MAX - HISTORY_ROOM;
    check_lookups(d);
    model_compare(d, false);
}

/* --- Accesses --- */

/* The byte in memory, or in the device; false: nothing can be stored there. */
static bool is_now(const struct driver *d, uint64_t physical, uint8_t *byte)
{
    if (model_in_device(d, physical))
        *byte = d->device[physical & 0xfff];
    else if (model_kind(d, physical) == FRAME_RAM)
        *byte = guest_load8(machine_memory_host(d->r.memory, mpa(model_machine(d, physical))));
    else
        return false;
    return true;
}

/* Does memory hold the bits that the walk sets? All or none of them are new. */
static bool bits_in_memory(const struct driver *d, const struct oracle_answer *a)
{
    for (unsigned i = 0; i < a->update_count; i++) {
        const struct oracle_update *u = &a->update[i];
        uint8_t low;

        if (is_now(d, u->physical, &low) && (~low & u->value & 0x60) != 0)
            return false;
    }
    return true;
}

/*
 * Were the bits set? Of an access to two pages the number of walks does not tell which of them was
 * walked for, but memory does, unless the access itself has overwritten the entry.
 */
static bool marked(const struct driver *d, const struct oracle_answer *a)
{
    for (unsigned i = 0; i < a->update_count && d->pages > 1; i++) {
        const struct oracle_update *u = &a->update[i];
        uint8_t low, other;

        if (!is_now(d, u->physical, &low))
            continue;
        other = (uint8_t)((low ^ model_byte(d, u->physical)) & ~0x60);
        if (other != 0 ? d->walks < d->pages : (~low & u->value & 0x60) != 0)
            return false;
    }
    return d->walks != 0;
}

/* A page of an access that has gone well: where it went must be legal. */
static uint64_t check_place(struct driver *d, const struct request *q, uint64_t linear)
{
    enum oracle_kind kind = oracle_kind_of(q->access);
    struct oracle_cpu cpu = model_processor(d);
    struct oracle_answer now = oracle_access(&cpu, linear, kind, q->who);
    struct mmu_fault fault;
    struct tlb_place place;
    bool old;

    REQUIRE(d, tlb_translate(d->v->m, linear, q->access, q->view, &place, &fault) == MMU_OK);
    TRACE(d, "  %#llx is at %#llx, by the tables %u at %#llx\n", (unsigned long long)linear,
          (unsigned long long)place.gpa.v, now.end, (unsigned long long)now.physical);
    d->now = now;
    old = model_was_legal(d, linear, place.gpa.v, kind, q->who);
    if (now.end == ORACLE_TRANSLATED && now.physical == place.gpa.v && (!old || marked(d, &now))) {
        model_mark(d, &now);
        model_remember(d, linear, &now);
    } else {
        REQUIRE(d, old);
        d->stale |= now.end != ORACLE_TRANSLATED || now.physical != place.gpa.v;
    }
    REQUIRE(d, (place.host == NULL) == (model_kind(d, place.gpa.v) == FRAME_HOLE));
    REQUIRE(d, place.host == NULL || place.mpa.v == model_machine(d, place.gpa.v));
    return place.gpa.v;
}

static void check_fault(struct driver *d, const struct request *q, uint64_t linear,
                        const struct mmu_fault *fault)
{
    struct oracle_cpu cpu = model_processor(d);
    struct oracle_answer now = oracle_access(&cpu, linear, oracle_kind_of(q->access), q->who);

    d->now = now;
    REQUIRE(d, now.end == ORACLE_FAULT);
    REQUIRE(d, now.error == fault->error_code);
    REQUIRE(d, linear == fault->address.v);
    model_forget(d->v, true, false, model_pcid(d->v->m), &linear);
}

/* The page was translated and then not accessed: A and D bits may have been set. */
static void settle(struct driver *d, const struct request *q, uint64_t linear)
{
    struct oracle_cpu cpu = model_processor(d);
    struct oracle_answer now = oracle_access(&cpu, linear, oracle_kind_of(q->access), q->who);

    if (now.end == ORACLE_TRANSLATED && bits_in_memory(d, &now)) {
        model_mark(d, &now);
        model_remember(d, linear, &now);
    }
}

static const struct frame *frame_behind(const struct driver *d, uint64_t physical)
{
    return machine_memory_frame(d->r.memory, mpa(model_machine(d, physical)));
}

/* Compares what was loaded, or stores into the mirror. */
static void check_data(struct driver *d, const struct request *q, const uint64_t place[2],
                       unsigned first, uint64_t value)
{
    for (unsigned i = 0; i < q->size; i++) {
        unsigned piece = i >= first;
        uint64_t at = place[piece] + (piece ? i - first : i);
        enum frame_kind kind = model_kind(d, at);
        uint8_t byte = (uint8_t)(value >> 8 * i);

        if (q->access == MMU_WRITE && kind == FRAME_RAM &&
            (frame_behind(d, at)->watch & FRAME_WATCH_CODE))
            REQUIRE(d, d->code_writes > 0);
        if (q->access == MMU_WRITE && (kind == FRAME_RAM || model_in_device(d, at)))
            model_write(d, at, &byte, 1);
        else if (q->access == MMU_READ)
            REQUIRE(d, byte == model_byte(d, at));
    }
}

static uint64_t following_page(const struct driver *d, uint64_t linear)
{
    uint64_t page = (linear & PAGE_MASK) + PAGE_SIZE;

    return d->v->m->efer & EFER_LMA ? page : page & 0xffffffff;
}

static void finish_access(struct driver *d, const struct request *q, enum mmu_status status,
                          const struct mmu_fault *fault, uint64_t value, bool has_data)
{
    unsigned room = PAGE_SIZE - (q->linear & 0xfff), first = MIN(room, q->size);
    uint64_t second = following_page(d, q->linear), place[2] = {0, 0};
    bool crosses = room < q->size;
    struct oracle_cpu cpu = model_processor(d);

    if (crosses) {
        model_foresee(d, q->linear, oracle_kind_of(q->access), q->who);
        model_foresee(d, second, oracle_kind_of(q->access), q->who);
    }
    model_follow(d);
    d->pages = crosses ? 2 : 1;
    TRACE(d, "cpu%u: access %u of %#llx, %u bytes, by %u: status %u, value %#llx\n", d->v->m->vcpu,
          q->access, (unsigned long long)q->linear, q->size, q->who, status,
          (unsigned long long)value);
    if (status == MMU_NOT_CANONICAL) {
        REQUIRE(d,
                !oracle_canonical(&cpu, q->linear) || (crosses && !oracle_canonical(&cpu, second)));
        return;
    }
    if (status == MMU_RESTART) {
        REQUIRE(d, d->v->m->exact && !d->v->m->exact_point);
        settle(d, q, q->linear);
        if (crosses)
            settle(d, q, second);
        return;
    }
    if (status == MMU_PAGE_FAULT && fault->address.v == q->linear) {
        /* The walk for the second page may have taken a patch by which the first is gone. */
        if (crosses && model_coherent(d->v))
            settle(d, q, second);
        check_fault(d, q, q->linear, fault);
        return;
    }
    if (status == MMU_PAGE_FAULT) {
        REQUIRE(d, crosses);
        settle(d, q, q->linear); /* what it used may be gone: both may lie in one large page */
        check_fault(d, q, second, fault);
        return;
    }
    d->place = place[0] = check_place(d, q, q->linear);
    if (crosses)
        place[1] = check_place(d, q, second);
    if (has_data)
        check_data(d, q, place, first, value);
}

/* The guest physical page that a slot holds. */
static uint64_t page_in_slot(const struct mmu_context *m, uint64_t linear, enum tlb_view view)
{
    const struct tlb_table *table = &tlb_owner(m->tlb, view)->tables[view];

    return table->side[(linear >> 12) & (TLB_SIZE - 1)].to.page.v;
}

/* A hit of the inlined probe must be legal without any walk. */
static void check_fast_path(struct driver *d, const struct request *q)
{
    struct mmu_context *m = d->v->m;
    struct oracle_cpu cpu = model_processor(d);
    enum oracle_kind kind = oracle_kind_of(q->access);
    const uint8_t *host;
    struct oracle_answer now;
    uint64_t physical;

    if (q->view != m->view)
        return;
    host = q->access == MMU_READ    ? tlb_find_read(m, q->linear, q->size)
           : q->access == MMU_WRITE ? tlb_find_write(m, q->linear, q->size)
                                    : tlb_find_exec(m, q->linear);
    if (host == NULL)
        return;
    physical = page_in_slot(m, q->linear, q->view) | (q->linear & 0xfff);
    REQUIRE(d, model_machine(d, physical) == (uint64_t)(host - d->r.memory->base));
    if (q->access == MMU_WRITE) {
        REQUIRE(d, model_kind(d, physical) == FRAME_RAM);
        REQUIRE(d, frame_behind(d, physical)->watch == 0);
    }
    now = oracle_access(&cpu, q->linear, kind, q->who);
    if (now.end == ORACLE_TRANSLATED && now.physical == physical && !model_unmarked(d, &now))
        return;
    TRACE(d, "  fast: %#llx at %#llx, by the tables %u at %#llx\n", (unsigned long long)q->linear,
          (unsigned long long)physical, now.end, (unsigned long long)now.physical);
    REQUIRE(d, model_was_legal(d, q->linear, physical, kind, q->who));
}

enum mmu_status driver_load(struct driver *d, uint64_t linear, unsigned size, bool system,
                            uint64_t *value)
{
    struct request q = request_of(d, linear, size, MMU_READ, system);
    struct mmu_fault fault;
    enum mmu_status status;

    begin(d);
    *value = 0;
    check_fast_path(d, &q);
    if (system)
        status = mmu_load_system(d->v->m, gva(linear), size, value, &fault);
    else
        status = mmu_load(d->v->m, gva(linear), size, value, &fault);
    finish_access(d, &q, status, &fault, *value, true);
    end(d);
    return status;
}

enum mmu_status driver_store(struct driver *d, uint64_t linear, unsigned size, bool system,
                             uint64_t value)
{
    struct request q = request_of(d, linear, size, MMU_WRITE, system);
    struct mmu_fault fault;
    enum mmu_status status;

    begin(d);
    check_fast_path(d, &q);
    if (system)
        status = mmu_store_system(d->v->m, gva(linear), size, value, &fault);
    else
        status = mmu_store(d->v->m, gva(linear), size, value, &fault);
    finish_access(d, &q, status, &fault, value, true);
    end(d);
    return status;
}

enum mmu_status driver_probe(struct driver *d, uint64_t linear, unsigned size, bool write)
{
    struct request q = request_of(d, linear, size, write ? MMU_WRITE : MMU_READ, false);
    struct mmu_fault fault;
    enum mmu_status status;

    begin(d);
    if (write)
        status = mmu_probe_write(d->v->m, gva(linear), size, &fault);
    else
        status = mmu_probe_read(d->v->m, gva(linear), size, &fault);
    finish_access(d, &q, status, &fault, 0, false);
    end(d);
    return status;
}

enum mmu_status driver_exchange(struct driver *d, uint64_t linear, unsigned size,
                                uint64_t *expected, uint64_t desired)
{
    struct request q = request_of(d, linear, size, MMU_WRITE, false);
    uint64_t wanted = *expected & size_mask(size);
    struct mmu_fault fault;
    enum mmu_status status;

    begin(d);
    status = mmu_compare_exchange(d->v->m, gva(linear), size, expected, desired, &fault);
    /* What was found is compared with the mirror as what a load finds, then it is written. */
    finish_access(d, &q, status, &fault, *expected == wanted ? desired : *expected,
                  status == MMU_OK);
    end(d);
    return status;
}

enum mmu_status driver_fetch(struct driver *d, uint64_t linear)
{
    struct vcpu_model *v = d->v;
    struct request q = request_of(d, linear, 1, MMU_FETCH, false);
    struct mmu_fault fault;
    enum mmu_status status;
    const uint8_t *host = NULL;
    mpa_t where = mpa(0);

    begin(d);
    check_fast_path(d, &q);
    status = mmu_fetch(v->m, gva(linear), &host, &where, &fault);
    finish_access(d, &q, status, &fault, 0, false);
    /* Code outside memory is not kept. */
    REQUIRE(d, status != MMU_OK || host == NULL || where.v == model_machine(d, d->place));
    if (status == MMU_OK && host != NULL)
        v->lookups[v->lookup_count++ % LOOKUP_MAX] = (struct lookup){
            .page = linear & PAGE_MASK,
            .physical = d->place & PAGE_MASK,
            .machine = where.v & PAGE_MASK,
            .epoch = v->m->code_epoch,
            .view = v->m->view,
        };
    end(d);
    return status;
}

void driver_dma(struct driver *d, uint64_t physical, const void *bytes, unsigned size)
{
    begin(d);
    TRACE(d, "DMA: %u bytes at %#llx\n", size, (unsigned long long)physical);
    bus_write(d->r.bus, gpa(physical), bytes, size);
    if (model_kind(d, physical) == FRAME_RAM || model_in_device(d, physical))
        model_write(d, physical, bytes, size);
    end(d);
}

void driver_write_physical(struct driver *d, uint64_t physical, const void *bytes, unsigned size)
{
    begin(d);
    TRACE(d, "cpu%u: %u bytes at physical %#llx\n", d->v->m->vcpu, size,
          (unsigned long long)physical);
    mmu_write_physical(d->v->m, gpa(physical), bytes, size);
    if (model_kind(d, physical) == FRAME_RAM || model_in_device(d, physical))
        model_write(d, physical, bytes, size);
    end(d);
}

/* --- Registers and invalidations --- */

static void end_event(struct driver *d)
{
    model_follow(d);
    end(d);
}

bool driver_control(struct driver *d, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    struct vcpu_model *v = d->v;
    uint64_t old = v->m->cr4;
    struct oracle_cpu before, after;

    begin(d);
    if ((cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA) &&
        !mmu_load_pdptes(v->m, v->m->cr3))
        return false;
    before = oracle_of(v->m);
    TRACE(d, "cpu%u: CR0 %#llx CR4 %#llx EFER %#llx\n", v->m->vcpu, (unsigned long long)cr0,
          (unsigned long long)cr4, (unsigned long long)efer);
    mmu_set_control(v->m, cr0, cr4, efer);
    after = oracle_of(v->m);
    /* SDM 3A 4.10.4.1; the width of the mode changes without paging only. */
    if (before.mode != after.mode || ((old ^ cr4) & CR4_PGE) || (old & ~cr4 & CR4_PCIDE))
        model_forget(v, true, true, 0, NULL);
    else if (~old & cr4 & CR4_SMEP)
        model_forget(v, false, false, model_pcid(v->m), NULL);
    end_event(d);
    return true;
}

bool driver_cr3(struct driver *d, uint64_t cr3, bool keep)
{
    struct vcpu_model *v = d->v;

    begin(d);
    if (oracle_mode_of(v->m) == ORACLE_PAE && !mmu_load_pdptes(v->m, cr3))
        return false;
    TRACE(d, "cpu%u: CR3 %#llx, keep %u\n", v->m->vcpu, (unsigned long long)cr3, keep);
    mmu_set_cr3(v->m, cr3, keep);
    if (!keep)
        model_forget(v, false, false, model_pcid(v->m), NULL);
    end_event(d);
    return true;
}

void driver_invlpg(struct driver *d, uint64_t linear)
{
    begin(d);
    TRACE(d, "cpu%u: INVLPG %#llx\n", d->v->m->vcpu, (unsigned long long)linear);
    mmu_invlpg(d->v->m, gva(linear));
    model_forget(d->v, true, false, model_pcid(d->v->m), &linear);
    end_event(d);
}

void driver_invpcid(struct driver *d, unsigned type, uint16_t pcid, uint64_t linear)
{
    begin(d);
    TRACE(d, "cpu%u: INVPCID %u, %u, %#llx\n", d->v->m->vcpu, type, pcid,
          (unsigned long long)linear);
    mmu_invpcid(d->v->m, type, pcid, gva(linear));
    model_forget(d->v, type == 2, type >= 2, pcid, type == 0 ? &linear : NULL);
    end_event(d);
}

void driver_privilege(struct driver *d, unsigned cpl, bool ac)
{
    begin(d);
    TRACE(d, "cpu%u: CPL %u, AC %u\n", d->v->m->vcpu, cpl, ac);
    mmu_set_privilege(d->v->m, cpl, ac);
    end_event(d);
}

void driver_pkru(struct driver *d, uint32_t pkru)
{
    begin(d);
    TRACE(d, "cpu%u: PKRU %#x\n", d->v->m->vcpu, pkru);
    mmu_set_pkru(d->v->m, pkru);
    end_event(d);
}

/* Nothing is kept: what may be used is what the tables say. */
static void end_drop(struct driver *d)
{
    d->v->count = 0;
    model_take_instant(d, d->v);
    end_event(d);
}

void driver_a20(struct driver *d, bool enabled)
{
    bool was = d->v->m->a20_mask == UINT64_MAX;

    begin(d);
    TRACE(d, "cpu%u: A20 %u\n", d->v->m->vcpu, enabled);
    mmu_set_a20(d->v->m, enabled);
    if (was != enabled)
        end_drop(d);
    else
        end_event(d);
}

void driver_exact(struct driver *d, bool exact, bool exact_point)
{
    d->v->m->exact = exact;
    d->v->m->exact_point = exact_point;
}

void driver_flush_all(struct driver *d)
{
    begin(d);
    TRACE(d, "cpu%u: drops everything\n", d->v->m->vcpu);
    mmu_flush_all(d->v->m);
    end_drop(d);
}

void driver_watch(struct driver *d, uint64_t physical, uint32_t watch, bool on)
{
    mpa_t frame = mpa(model_machine(d, physical));

    begin(d);
    if (frame.v != MODEL_NOWHERE && on)
        mmu_frame_watch(d->v->m, frame, watch);
    else if (frame.v != MODEL_NOWHERE)
        mmu_frame_unwatch(d->v->m, frame, watch);
    end_event(d);
}

void driver_p2m(struct driver *d, uint64_t page, uint16_t frame)
{
    begin(d);
    TRACE(d, "page %#llx leads to frame %#x\n", (unsigned long long)page, frame);
    model_map(d, page, frame);
    end(d);
}

void driver_move_page(struct driver *d, uint64_t page, uint16_t frame)
{
    mpa_t to = mpa((uint64_t)frame << 12);
    uint8_t bytes[PAGE_SIZE];

    begin(d);
    TRACE(d, "page %#llx moves to frame %#x\n", (unsigned long long)page, frame);
    memcpy(bytes, d->mirror + model_machine(d, page), PAGE_SIZE);
    machine_memory_prepare_write(d->r.memory, to);
    guest_copy_in(machine_memory_host(d->r.memory, to), bytes, PAGE_SIZE);
    machine_memory_finish_write(d->r.memory, PATCH_OTHERS, to, PAGE_SIZE);
    model_write_machine(d, to.v, bytes, PAGE_SIZE);
    model_map(d, page, frame);
    end(d);
}

void driver_select(struct driver *d, unsigned vcpu)
{
    TRACE(d, "cpu%u goes on\n", vcpu);
    d->v = &d->vcpu[vcpu];
}
