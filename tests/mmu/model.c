#include "tests/mmu/model.h"

#include "mmu/p2m.h"

void model_require(const struct driver *d, bool condition, const char *text, const char *file,
                   int line)
{
    const struct mmu_context *m = d->v->m;

    if (condition)
        return;
    fprintf(stderr, "%s:%d: not true: %s\nvcpu %u, CR0 %llx CR3 %llx CR4 %llx EFER %llx\n", file,
            line, text, m->vcpu, (unsigned long long)m->cr0, (unsigned long long)m->cr3,
            (unsigned long long)m->cr4, (unsigned long long)m->efer);
    if (d->failed != NULL)
        d->failed(d->failed_opaque);
    __builtin_trap();
}

/* --- Sets of frames --- */

static void set_add(struct frame_list *s, uint64_t frame)
{
    if (s->in[frame])
        return;
    s->in[frame] = true;
    s->list[s->count++] = (uint16_t)frame;
}

static void set_clear(struct frame_list *s)
{
    for (unsigned i = 0; i < s->count; i++)
        s->in[s->list[i]] = false;
    s->count = 0;
}

/* --- The machine --- */

static uint64_t device_read(void *device, uint64_t offset, unsigned size)
{
    const struct driver *d = device;

    return guest_load(d->device + offset, size);
}

static void device_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct driver *d = device;

    guest_store(d->device + offset, value, size);
}

uint8_t model_byte(const struct driver *d, uint64_t physical)
{
    if (model_in_device(d, physical))
        return d->registers[physical & 0xfff];
    return model_kind(d, physical) == FRAME_HOLE ? 0xff : d->mirror[model_machine(d, physical)];
}

static uint64_t mirror_read(void *opaque, uint64_t physical, unsigned size)
{
    const struct driver *d = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)model_byte(d, physical + i) << 8 * i;
    return value;
}

static void code_changed(struct mmu_context *m, mpa_t address, unsigned length)
{
    size_t inside = m->vcpu == 0 ? offsetof(struct driver, r.m) : offsetof(struct driver, r.other);
    struct driver *d = (struct driver *)((char *)m - inside);

    (void)address, (void)length;
    d->code_writes++;
}

struct oracle_cpu model_processor(struct driver *d)
{
    struct oracle_cpu cpu = oracle_of(d->v->m);

    cpu.read = mirror_read;
    cpu.opaque = d;
    return cpu;
}

/* The VM is bare. */
static void reset_map(struct driver *d)
{
    bus_set_p2m(d->r.bus, NULL);
    for (unsigned page = 0; page < ARRAY_SIZE(d->map); page++)
        d->map[page] = machine_memory_kind(d->r.memory, mpa((uint64_t)page << 12)) != FRAME_HOLE
                           ? (uint16_t)page
                           : MODEL_NO_FRAME;
}

struct driver *model_create(void)
{
    static const struct bus_region_ops ops = {"model", device_read, device_write, 8};
    struct driver *d = calloc(1, sizeof(*d));

    if (d == NULL || !rig_create(&d->r))
        abort();
    bus_remove_mmio(d->r.bus, gpa(RIG_IO));
    bus_add_mmio(d->r.bus, gpa(RIG_IO), 4096, &ops, d, NULL);
    d->mirror = calloc(1, MODEL_MEMORY);
    d->vcpu[0].instant = calloc(1, MODEL_MEMORY);
    d->vcpu[1].instant = calloc(1, MODEL_MEMORY);
    if (d->mirror == NULL || d->vcpu[0].instant == NULL || d->vcpu[1].instant == NULL)
        abort();
    d->vcpu[0].m = &d->r.m;
    d->vcpu[1].m = &d->r.other;
    d->window_period = 1;
    d->trace = getenv("GNOMON_FUZZ_TRACE") != NULL;
    d->r.memory->code_changed = code_changed;
    reset_map(d);
    model_reset(d);
    return d;
}

void model_destroy(struct driver *d)
{
    rig_destroy(&d->r);
    free(d->vcpu[0].instant);
    free(d->vcpu[1].instant);
    free(d->mirror);
    free(d);
}

static void reset_vcpu(struct driver *d, struct vcpu_model *v)
{
    struct mmu_context *m = v->m;

    v->count = v->lookup_count = 0;
    m->a20_mask = UINT64_MAX;
    m->exact = m->exact_point = false;
    memset(m->pdpte, 0, sizeof(m->pdpte));
    mmu_set_control(m, 1, 0, 0);
    mmu_set_cr3(m, 0, false);
    mmu_set_pkru(m, 0);
    mmu_set_privilege(m, 0, false);
    mmu_flush_all(m);
    model_take_instant(d, v);
}

void model_map(struct driver *d, uint64_t page, uint16_t frame)
{
    bool bare = bus_p2m(d->r.bus) == NULL;

    if (bare)
        bus_set_p2m(d->r.bus, p2m_create_identity(d->r.memory));
    else if (d->map[page >> 12] == frame)
        return;
    d->map[page >> 12] = frame;
    if (frame == MODEL_NO_FRAME) {
        REQUIRE(d, p2m_remove(bus_p2m(d->r.bus), gpa(page), NULL));
    } else {
        set_add(&d->touched, frame);
        REQUIRE(d, p2m_set(bus_p2m(d->r.bus), gpa(page), mpa((uint64_t)frame << 12), NULL));
    }
    for (unsigned i = 0; i < 2; i++) { /* what the tables say, through the new map */
        struct vcpu_model *v = &d->vcpu[i];

        model_forget(v, bare || !model_coherent(v), true, 0, NULL);
        model_take_instant(d, v);
    }
}

void model_reset(struct driver *d)
{
    static const uint8_t zeroes[PAGE_SIZE];

    if (bus_p2m(d->r.bus) != NULL)
        reset_map(d);
    mmu_flush_all(d->vcpu[0].m);
    mmu_flush_all(d->vcpu[1].m);
    for (unsigned i = 0; i < d->touched.count; i++) {
        uint64_t page = (uint64_t)d->touched.list[i] << 12;

        if (model_kind(d, page) != FRAME_RAM)
            continue;
        model_poke(d, page, zeroes, PAGE_SIZE);
        atomic_store(&machine_memory_frame(d->r.memory, mpa(page))->watch, 0);
    }
    set_clear(&d->changed);
    set_clear(&d->touched);
    for (unsigned i = 0; i < d->window; i++)
        atomic_store(&machine_memory_frame(d->r.memory, mpa(i << 12))->watch, 0);
    memset(d->device, 0, sizeof(d->device));
    memset(d->registers, 0, sizeof(d->registers));
    d->v = &d->vcpu[0];
    d->full = false;
    d->operations = 0;
    reset_vcpu(d, &d->vcpu[0]);
    reset_vcpu(d, &d->vcpu[1]);
}

void model_write(struct driver *d, uint64_t physical, const void *bytes, unsigned size)
{
    if (model_in_device(d, physical))
        memcpy(d->registers + (physical & 0xfff), bytes, size);
    else
        model_write_machine(d, model_machine(d, physical), bytes, size);
}

void model_write_machine(struct driver *d, uint64_t at, const void *bytes, unsigned size)
{
    memcpy(d->mirror + at, bytes, size);
    set_add(&d->touched, at >> 12);
    set_add(&d->changed, at >> 12);
    set_add(&d->vcpu[0].behind, at >> 12);
    set_add(&d->vcpu[1].behind, at >> 12);
}

void model_poke(struct driver *d, uint64_t physical, const void *bytes, unsigned size)
{
    model_write(d, physical, bytes, size);
    if (model_in_device(d, physical))
        memcpy(d->device + (physical & 0xfff), bytes, size);
    else
        memcpy(machine_memory_host(d->r.memory, mpa(model_machine(d, physical))), bytes, size);
}

static void compare_frame(const struct driver *d, uint64_t frame)
{
    const uint8_t *is = d->r.memory->base + (frame << 12), *should = d->mirror + (frame << 12);

    if (memcmp(is, should, PAGE_SIZE) == 0)
        return;
    for (unsigned at = 0; at < PAGE_SIZE; at += 8)
        if (memcmp(is + at, should + at, 8) != 0)
            fprintf(stderr, "at %#llx: %#llx, should be %#llx\n",
                    (unsigned long long)(frame << 12 | at),
                    (unsigned long long)guest_load64(is + at),
                    (unsigned long long)guest_load64(should + at));
    REQUIRE(d, !"memory is not what it should be");
}

void model_compare(struct driver *d, bool everything)
{
    const struct frame_list *frames = everything ? &d->touched : &d->changed;

    REQUIRE(d, memcmp(d->device, d->registers, sizeof(d->device)) == 0);
    for (unsigned i = 0; i < frames->count; i++)
        compare_frame(d, frames->list[i]);
    if (everything || d->operations % d->window_period == 0)
        for (unsigned i = 0; i < d->window; i++)
            compare_frame(d, i);
    for (uint64_t frame = RIG_ROM >> 12; everything && frame < MODEL_FRAMES; frame++)
        compare_frame(d, frame);
    set_clear(&d->changed);
}

/* --- The instant --- */

void model_begin(struct driver *d)
{
    struct vcpu_model *v = d->v;

    v->walks = v->m->walks;
    v->events = v->m->stats.events;
    v->consumptions = v->m->stats.consumptions;
}

void model_take_instant(struct driver *d, struct vcpu_model *v)
{
    for (unsigned i = 0; i < v->behind.count; i++) {
        uint64_t page = (uint64_t)v->behind.list[i] << 12;

        memcpy(v->instant + page, d->mirror + page, PAGE_SIZE);
    }
    set_clear(&v->behind);
}

void model_follow(struct driver *d)
{
    struct vcpu_model *v = d->v;
    bool event = v->m->stats.events != v->events;

    d->walks = v->m->walks - v->walks;
    if (!model_coherent(v))
        return;
    if (event) /* whatever else is kept is what the tables say */
        model_forget(v, false, true, 0, NULL);
    if (event || d->walks > 0 || v->m->stats.consumptions != v->consumptions)
        model_take_instant(d, v);
}

/* --- History --- */

static bool covers(const struct cached *c, uint64_t linear)
{
    return linear >> c->page.page_bits == c->base >> c->page.page_bits;
}

static uint64_t cached_physical(const struct driver *d, const struct cached *c, uint64_t linear)
{
    return (c->page.physical + (linear - c->base)) & d->v->m->a20_mask;
}

static bool in_history(struct driver *d, uint64_t linear, uint64_t physical, enum oracle_kind kind,
                       enum oracle_who who, bool globals_only)
{
    const struct oracle_cpu cpu = model_processor(d);
    uint16_t pcid = model_pcid(d->v->m);

    for (unsigned i = 0; i < d->v->count; i++) {
        const struct cached *c = &d->v->history[i];

        if (covers(c, linear) && (c->page.global || (c->pcid == pcid && !globals_only)) &&
            cached_physical(d, c, linear) == physical &&
            oracle_allowed(&cpu, kind, who, &c->page) && (kind != ORACLE_STORE || c->page.dirty))
            return true;
    }
    return false;
}

static bool is_known(const struct vcpu_model *v, const struct cached *c)
{
    for (unsigned i = 0; i < v->count; i++) {
        const struct cached *k = &v->history[i];

        if (k->base == c->base && k->pcid == c->pcid && k->page.physical == c->page.physical &&
            k->page.page_bits == c->page.page_bits && k->page.user == c->page.user &&
            k->page.writable == c->page.writable && k->page.executable == c->page.executable &&
            k->page.global == c->page.global && k->page.dirty == c->page.dirty &&
            k->page.key == c->page.key)
            return true;
    }
    return false;
}

void model_remember(struct driver *d, uint64_t linear, const struct oracle_answer *a)
{
    uint64_t inside = linear & (BIT64(a->page_bits) - 1);
    struct cached c = {.base = linear - inside, .pcid = model_pcid(d->v->m), .page = *a};

    /* Behind the A20 gate the base may lie elsewhere than the masked address says. */
    c.page.physical -= inside & d->v->m->a20_mask;
    if (is_known(d->v, &c))
        return;
    REQUIRE(d, d->v->count < HISTORY_MAX);
    d->v->history[d->v->count++] = c;
}

void model_forget(struct vcpu_model *v, bool globals, bool any_pcid, uint16_t pcid,
                  const uint64_t *linear)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < v->count; i++) {
        const struct cached *c = &v->history[i];
        bool goes = (c->page.global ? globals : any_pcid || c->pcid == pcid) &&
                    (linear == NULL || covers(c, *linear));

        if (!goes)
            v->history[kept++] = *c;
    }
    v->count = kept;
}

/* --- What coherent policies may use --- */

static uint64_t instant_read(void *opaque, uint64_t physical, unsigned size)
{
    const struct driver *d = opaque;
    uint64_t value = 0;

    if (model_kind(d, physical) == FRAME_HOLE)
        return mirror_read(opaque, physical, size);
    memcpy(&value, d->v->instant + model_machine(d, physical), size);
    return le64toh(value);
}

/*
 * Could a processor have translated the page on speculation when patches were last taken? Then it
 * is legal until the next event (SDM 3A 4.10.2.3): no A bit was missing then, nor D for a store,
 * but in ROM, where nobody can set them.
 */
static bool was_so(struct driver *d, uint64_t linear, uint64_t physical, enum oracle_kind kind,
                   enum oracle_who who, struct oracle_answer *a)
{
    const struct oracle_cpu cpu = model_processor(d);
    struct oracle_cpu then = cpu;

    then.read = instant_read;
    then.pkru = 0; /* whatever is allowed */
    then.smap = false;
    *a = oracle_access(&then, linear, ORACLE_LOAD, ORACLE_SUPERVISOR);
    if (a->end == ORACLE_TRANSLATED && a->entries > 0 &&
        model_kind(d, a->entry_at[a->entries - 1]) != FRAME_RAM)
        a->dirty = true;
    return a->end == ORACLE_TRANSLATED && !model_unmarked(d, a) && a->physical == physical &&
           oracle_allowed(&cpu, kind, who, a) && (kind != ORACLE_STORE || a->dirty);
}

void model_foresee(struct driver *d, uint64_t linear, enum oracle_kind kind, enum oracle_who who)
{
    struct oracle_cpu then = model_processor(d);
    struct oracle_answer a;

    then.read = instant_read;
    a = oracle_access(&then, linear, kind, who);
    if (model_coherent(d->v) && a.end == ORACLE_TRANSLATED)
        (void)model_was_legal(d, linear, a.physical, kind, who);
}

bool model_was_legal(struct driver *d, uint64_t linear, uint64_t physical, enum oracle_kind kind,
                     enum oracle_who who)
{
    bool supervisor = who == ORACLE_IMPLICIT || d->v->m->view == TLB_VIEW_SUPERVISOR;
    struct oracle_answer a;

    if (!model_coherent(d->v))
        return in_history(d, linear, physical, kind, who, false);
    if (was_so(d, linear, physical, kind, who, &a)) {
        if (a.global && supervisor)
            model_remember(d, linear, &a); /* common to all spaces from now on */
        return true;
    }
    if (d->v->m->tlb->transient_count > 0)
        return in_history(d, linear, physical, kind, who, false);
    return supervisor && in_history(d, linear, physical, kind, who, true);
}

/* --- A and D bits --- */

bool model_unmarked(const struct driver *d, const struct oracle_answer *a)
{
    for (unsigned i = 0; i < a->update_count; i++)
        if (model_kind(d, a->update[i].physical) == FRAME_RAM)
            return true;
    return false;
}

void model_mark(struct driver *d, const struct oracle_answer *a)
{
    for (unsigned i = 0; i < a->update_count; i++) {
        const struct oracle_update *u = &a->update[i];
        uint64_t value = htole64(u->value);

        if (model_kind(d, u->physical) == FRAME_ROM)
            continue;
        if (model_kind(d, u->physical) == FRAME_RAM || model_in_device(d, u->physical))
            model_write(d, u->physical, &value, u->size);
        if (model_kind(d, u->physical) == FRAME_RAM)
            memcpy(d->v->instant + model_machine(d, u->physical), &value, u->size);
    }
}
