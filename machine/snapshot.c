/*
 * Saving and restoring a whole machine. Sections in order: machine, clock, processor, memory, p2m
 * if there is one, each device; the list of devices is that of internal.h.
 */
#include "machine/internal.h"

#include "base/bits.h"
#include "mmu/p2m.h"

#include <string.h>

/* What must be the same in both machines, and the wires between devices. */
static void serialize_machine(struct machine *m, struct state *s)
{
    uint64_t memory_size = m->config.memory_size;
    const struct cpu_topology *t = &m->config.smp.topology;
    uint32_t turn = m->cpu->index;
    uint32_t arrangement[] = {m->processor_count, t->sockets, t->cores, t->threads};
    char model[64] = {0}, loaded[sizeof(model)];

    state_section(s, "machine", 2);
    for (unsigned n = 0; n < ARRAY_SIZE(arrangement); n++) {
        uint32_t found = arrangement[n];

        state_u32(s, &found);
        state_check(s, found == arrangement[n], "another arrangement of processors");
    }
    state_u32(s, &turn);
    state_check(s, turn < m->processor_count, "the turn of a processor that there is not");
    if (!state_failed(s))
        m->cpu = m->processors[turn].vcpu;
    state_u64(s, &m->turn.left);
    state_u64(s, &m->turn.state);
    state_u64(s, &memory_size);
    state_check(s, memory_size == m->config.memory_size, "another size of RAM");
    strncpy(model, m->model.name, sizeof(model) - 1);
    memcpy(loaded, model, sizeof(model));
    state_bytes(s, loaded, sizeof(loaded));
    state_check(s, memcmp(loaded, model, sizeof(model)) == 0, "another processor model");
    for (unsigned n = 0; n < 2; n++) {
        uint64_t features = n < ARRAY_SIZE(m->model.features) ? m->model.features[n] : 0;
        uint64_t found = features;

        state_u64(s, &found);
        state_check(s, found == features, "other processor features");
    }
    state_bytes(s, m->irq_sources, sizeof(m->irq_sources));
    state_u8(s, &m->a20_sources);
}

static void serialize_all(struct machine *m, struct state *s)
{
    serialize_machine(m, s);
    clock_serialize(&m->clock, s);
    for (unsigned n = 0; n < m->processor_count; n++) {
        vcpu_serialize(m->processors[n].vcpu, s);
        lapic_serialize(m->processors[n].lapic, s);
    }
    machine_memory_serialize(m->memory, s);
    if (bus_p2m(m->bus) != NULL) /* both machines are bare, or none is */
        p2m_serialize(bus_p2m(m->bus), s);
#define X(type, prefix, field)                                                                     \
    {                                                                                              \
        bool there = m->field != NULL;                                                             \
        state_section(s, "has-" #field, 1);                                                        \
        state_bool(s, &there);                                                                     \
        state_check(s, there == (m->field != NULL), "only one machine has this device");           \
        if (m->field != NULL)                                                                      \
            prefix##_serialize(m->field, s);                                                       \
    }
    MACHINE_DEVICES(X)
#undef X
}

void machine_save(struct machine *m, struct state *s)
{
    machine_lock(m);
    for (unsigned n = 0; n < m->processor_count; n++) {
        vcpu_signal(m->processors[n].vcpu, 0,
                    VCPU_PENDING_EXIT | VCPU_PENDING_RESET | VCPU_PENDING_SAFEPOINT);
        vcpu_drop_derived(m->processors[n].vcpu);
    }
    serialize_all(m, s);
    state_seal(s);
    machine_unlock(m);
}

/* Input that waits outside is offered again. */
static void offer_input(struct machine *m)
{
    for (unsigned n = 0; n < MACHINE_SERIAL_COUNT; n++) {
        struct chardev *c = m->config.serial[n];

        if (c != NULL && c->ready != NULL)
            c->ready(c);
    }
}

bool machine_load(struct machine *m, struct state *s, struct error *err)
{
    bool ok;

    machine_lock(m);
    m->clock.deadline_moved = NULL; /* timers move without anything being run */
    state_verify_seal(s);
    if (!state_failed(s))
        serialize_all(m, s);
    m->clock.deadline_moved = machine_deadline_moved;
    ok = state_finish(s, err);
    if (ok) {
        m->clock.instructions = 0;
        for (unsigned n = 0; n < m->processor_count; n++) {
            m->clock.instructions += m->processors[n].vcpu->instructions;
            vcpu_drop_derived(m->processors[n].vcpu);
        }
        machine_map_lapics(m);
        machine_update_a20(m);
        machine_update_smram(m);
        offer_input(m);
    }
    machine_unlock(m);
    return ok;
}

uint64_t machine_memory_state_hash(struct machine *m)
{
    return machine_memory_hash(m->memory);
}

uint64_t machine_state_hash(struct machine *m)
{
    struct state *s = state_create_saving();
    const void *bytes;
    size_t length;
    uint64_t hash;

    machine_save(m, s);
    bytes = state_data(s, &length);
    hash = state_checksum(bytes, length);
    state_destroy(s);
    return hash;
}
