/* Builds a machine, resets it, takes it apart. */
#include "machine/internal.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"
#include "mmu/p2m.h"
#include "mmu/safepoint.h"

#include <stdlib.h>
#include <time.h>

void machine_lock(struct machine *m)
{
    pthread_mutex_lock(&m->device_lock);
}

void machine_unlock(struct machine *m)
{
    pthread_mutex_unlock(&m->device_lock);
}

static void init_locks(struct machine *m)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&m->device_lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attributes);
    for (unsigned n = 0; n < MACHINE_VCPU_MAX; n++)
        sem_init(&m->processors[n].wake, 0, 0);
    pthread_condattr_destroy(&attributes);
}

static bool add_smram(struct machine *m, struct error *err)
{
    return machine_memory_add(m->memory, mpa(LEGACY_HOLE_START),
                              LEGACY_HOLE_END - LEGACY_HOLE_START, FRAME_SMRAM, err);
}

static bool add_ram(struct machine *m, uint64_t start, uint64_t end, struct error *err)
{
    return machine_memory_add(m->memory, mpa(start), end - start, FRAME_RAM, err);
}

/* RAM from 0 to 3 GiB with the hole of the display, the rest from 4 GiB on. */
static bool create_memory(struct machine *m, struct error *err)
{
    uint64_t size = align_up(m->config.memory_size, 1 << 20);
    uint64_t low = MIN(size, RAM_LOW_END), high = size - low;
    uint64_t end = high > 0 ? RAM_HIGH_START + high : low;

    if (size < MACHINE_MEMORY_MIN || size > MACHINE_MEMORY_MAX ||
        end > BIT64(m->model.physical_bits))
        return error_set(err, "%llu MiB of RAM do not fit the processor's %u address bits",
                         (unsigned long long)(size >> 20), m->model.physical_bits);
    m->config.memory_size = size;
    m->memory = machine_memory_create(end, err);
    if (m->memory == NULL)
        return false;
    m->bus = bus_create(m->memory, m->log);
    return add_ram(m, 0, LEGACY_HOLE_START, err) && add_smram(m, err) &&
           add_ram(m, LEGACY_HOLE_END, low, err) &&
           (high == 0 || add_ram(m, RAM_HIGH_START, end, err));
}

/* Before anybody has loaded anything. */
static void create_p2m(struct machine *m)
{
    switch (m->config.p2m) {
    case MACHINE_P2M_BARE:
        break;
    case MACHINE_P2M_IDENTITY:
        bus_set_p2m(m->bus, p2m_create_identity(m->memory));
        break;
    case MACHINE_P2M_SCATTER:
        bus_set_p2m(m->bus, p2m_create_scattered(m->memory, m->config.seed));
        break;
    }
}

static void create_processor(struct machine *m, unsigned n)
{
    struct machine_processor *p = &m->processors[n];
    const struct vcpu_config config = {
        .index = n,
        .topology = &m->config.smp.topology,
        .model = &m->model,
        .bus = m->bus,
        .memory = m->memory,
        .clock = &m->clock,
        .log = m->log,
        .tsc_hz = MACHINE_TSC_HZ,
        .platform = machine_platform(p),
    };

    p->machine = m;
    p->vcpu = vcpu_create(&config);
    p->vcpu->yields = m->config.smp.count > 1;
    mmu_configure(&p->vcpu->mmu, m->config.mmu.spaces != 0 ? &m->config.mmu : &mmu_default_options);
    mmu_delay_answers(&p->vcpu->mmu, m->config.mmu_delay, m->config.seed + n);
    p->vcpu->random_state ^= m->config.seed * 0xbf58476d1ce4e5b9ull;
}

static void create_processors(struct machine *m)
{
    m->processor_count = MAX(m->config.smp.count, 1u);
    CHECK(m->processor_count <= MACHINE_VCPU_MAX);
    for (unsigned n = 0; n < m->processor_count; n++)
        create_processor(m, n);
    m->cpu = m->processors[0].vcpu;
    m->memory->parallel = m->processor_count > 1 && !m->config.deterministic;
    m->turn.state = m->config.seed;
    m->clock.deadline_moved = machine_deadline_moved;
    m->clock.deadline_opaque = m;
}

/* Memory sizes where firmware leaves them: what old software asks for. */
static void fill_cmos(struct machine *m)
{
    uint64_t size = m->config.memory_size, low = MIN(size, RAM_LOW_END);
    uint64_t extended = MIN((low - (1 << 20)) >> 10, 0xffff);
    uint64_t above_16m = low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0;
    uint64_t above_4g = (size - low) >> 16;
    const struct {
        uint8_t index;
        uint64_t value; /* 16 bits, low byte first */
    } words[] = {
        {0x15, 640}, {0x17, extended}, {0x30, extended}, {0x34, above_16m}, {0x5b, above_4g},
    };

    for (size_t n = 0; n < ARRAY_SIZE(words); n++) {
        rtc_set_cmos(m->rtc, words[n].index, (uint8_t)words[n].value);
        rtc_set_cmos(m->rtc, words[n].index + 1, (uint8_t)(words[n].value >> 8));
    }
    rtc_set_cmos(m->rtc, 0x5d, (uint8_t)(above_4g >> 16));
}

static bool build(struct machine *m, struct error *err)
{
    if (!cpu_model_parse(m->config.cpu != NULL ? m->config.cpu : cpu_models[0].name, &m->model,
                         err))
        return false;
    clock_init(&m->clock, m->config.deterministic ? CLOCK_DETERMINISTIC : CLOCK_PARALLEL,
               m->config.deterministic ? m->config.icount_shift : 0);
    if (!create_memory(m, err))
        return false;
    create_p2m(m);
    create_processors(m);
    if (!machine_wire(m, err))
        return false;
    fill_cmos(m);
    return machine_reset_locked(m, err);
}

struct machine *machine_create(const struct machine_config *config, struct error *err)
{
    struct machine *m = host_alloc(sizeof(*m));
    bool ok;

    m->config = *config;
    m->log = config->log;
    m->debug.until_instructions = m->debug.until_ns = UINT64_MAX;
    init_locks(m);
    machine_lock(m);
    ok = build(m, err);
    machine_unlock(m);
    if (!ok) {
        machine_destroy(m);
        return NULL;
    }
    return m;
}

void machine_destroy(struct machine *m)
{
    if (m == NULL)
        return;
    machine_events_destroy(m);
    machine_lock(m);
    for (unsigned n = 0; n < m->processor_count; n++) {
        if (m->processors[n].lapic != NULL)
            lapic_destroy(m->processors[n].lapic);
        m->processors[n].lapic = NULL;
    }
#define X(type, prefix, field)                                                                     \
    if (m->field != NULL)                                                                          \
        prefix##_destroy(m->field);                                                                \
    m->field = NULL;
    MACHINE_DEVICES(X)
#undef X
    machine_unlock(m);
    for (unsigned n = 0; n < m->processor_count; n++)
        vcpu_destroy(m->processors[n].vcpu);
    if (m->bus != NULL)
        bus_destroy(m->bus);
    if (m->memory != NULL)
        machine_memory_destroy(m->memory);
    for (unsigned n = 0; n < MACHINE_VCPU_MAX; n++)
        sem_destroy(&m->processors[n].wake);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->device_lock);
    free(m);
}

static void reset_processor(struct machine_processor *p)
{
    vcpu_signal(p->vcpu, 0,
                VCPU_PENDING_NMI | VCPU_PENDING_INIT | VCPU_PENDING_SMI | VCPU_PENDING_STARTUP);
    vcpu_reset(p->vcpu, false);
    lapic_reset(p->lapic);
    lapic_set_tsc_offset(p->lapic, p->vcpu->tsc_offset);
}

bool machine_reset_locked(struct machine *m, struct error *err)
{
    m->cpu = m->processors[0].vcpu;
    m->turn.left = 0;
    for (unsigned n = 0; n < m->processor_count; n++)
        reset_processor(&m->processors[n]);
#define X(type, prefix, field)                                                                     \
    if (m->field != NULL)                                                                          \
        prefix##_reset(m->field);
    MACHINE_DEVICES(X)
#undef X
    machine_map_lapics(m);
    m->a20_sources |= BIT(A20_I8042); /* as firmware leaves it */
    machine_update_a20(m);
    machine_update_smram(m);
    return machine_boot(m, err);
}

void machine_send_break(struct machine *m, unsigned serial)
{
    struct uart *const ports[MACHINE_SERIAL_COUNT] = {m->com1, m->com2, m->com3, m->com4};

    machine_lock(m);
    if (serial < MACHINE_SERIAL_COUNT && ports[serial] != NULL)
        uart_receive_break(ports[serial]);
    machine_unlock(m);
}

uint64_t machine_instructions(const struct machine *m)
{
    return m->clock.instructions;
}

uint64_t machine_time(const struct machine *m)
{
    return clock_now(&m->clock);
}

uint64_t machine_gap_count(const struct machine *m)
{
    uint64_t count = 0;

    for (unsigned n = 0; n < m->processor_count; n++)
        count += m->processors[n].vcpu->gap_count;
    return count;
}

void machine_print_cpu_models(FILE *out)
{
    for (unsigned n = 0; n < cpu_model_count; n++)
        fprintf(out, "%-12s %s\n", cpu_models[n].name, cpu_models[n].description);
}

const char *machine_cpu_model(unsigned n)
{
    return n < cpu_model_count ? cpu_models[n].name : NULL;
}

const char *machine_cpu_feature(unsigned n)
{
    static const char *const words[] = {
#define X(name, word, leaf, subleaf, reg, bit) word,
        CPU_FEATURES(X)
#undef X
    };

    n++; /* feature 0 has no name */
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

bool machine_check_cpu(const char *spec, struct error *err)
{
    struct cpu_model model;

    return cpu_model_parse(spec, &model, err);
}
