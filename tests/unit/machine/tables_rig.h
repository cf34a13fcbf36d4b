/*
 * A machine as the boot loaders see it, for tests of the tables that they write: bus, RAM where the
 * tables go, a processor, and a target that a test may change before it installs them.
 */
#ifndef TESTS_UNIT_MACHINE_TABLES_RIG_H
#define TESTS_UNIT_MACHINE_TABLES_RIG_H

#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpuid.h"
#include "machine/le.h"
#include "machine/loader.h"
#include "mmu/bus.h"
#include "mmu/memory.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define TABLES_RIG_START 0xe0000u
#define TABLES_RIG_SIZE  0x20000u

struct tables_rig {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct loader_target target;
    uint8_t *bytes; /* RAM from TABLES_RIG_START on, after tables_rig_read */
};

static inline void tables_rig_create(struct tables_rig *r)
{
    struct vcpu_config config = {.model = &cpu_models[0], .tsc_hz = 1000000000};

    memset(r, 0, sizeof(*r));
    log_init(&r->log);
    clock_init(&r->clock, CLOCK_DETERMINISTIC, 0);
    r->memory = machine_memory_create(1 << 20, NULL);
    ck_assert(r->memory != NULL);
    ck_assert(
        machine_memory_add(r->memory, mpa(TABLES_RIG_START), TABLES_RIG_SIZE, FRAME_RAM, NULL));
    r->bus = bus_create(r->memory, &r->log);
    config.bus = r->bus;
    config.memory = r->memory;
    config.clock = &r->clock;
    config.log = &r->log;
    r->target = (struct loader_target){
        .bus = r->bus,
        .cpu = vcpu_create(&config),
        .log = &r->log,
        .ram_below_4g = 512 << 20,
        .hpet = true,
        .pm_base = 0x600,
        .pvpanic_port = 0x505,
        .serial_ports = 0x0f,
    };
    r->bytes = malloc(TABLES_RIG_SIZE);
    ck_assert(r->bytes != NULL);
}

static inline void tables_rig_destroy(struct tables_rig *r)
{
    free(r->bytes);
    vcpu_destroy(r->target.cpu);
    bus_destroy(r->bus);
    machine_memory_destroy(r->memory);
}

static inline void tables_rig_read(struct tables_rig *r)
{
    ck_assert(bus_read(r->bus, gpa(TABLES_RIG_START), r->bytes, TABLES_RIG_SIZE));
}

/* The bytes at a guest physical address where `length` of them lie in the tables' area. */
static inline const uint8_t *tables_rig_at(const struct tables_rig *r, uint64_t address,
                                           size_t length)
{
    ck_assert_uint_ge(address, TABLES_RIG_START);
    ck_assert_uint_le(address + length, TABLES_RIG_START + TABLES_RIG_SIZE);
    return r->bytes + (address - TABLES_RIG_START);
}

static inline uint8_t tables_rig_sum(const uint8_t *bytes, size_t length)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum;
}

/* A number that a script hands over. */
static inline uint64_t tables_rig_number(const char *name)
{
    const char *text = getenv(name);

    ck_assert_msg(text != NULL, "%s is not set", name);
    return strtoull(text, NULL, 0);
}

static inline void tables_rig_from_environment(struct tables_rig *r)
{
    r->target.ram_below_4g = tables_rig_number("TABLES_BELOW");
    r->target.ram_above_4g = tables_rig_number("TABLES_ABOVE");
    r->target.topology.sockets = (unsigned)tables_rig_number("TABLES_SOCKETS");
    r->target.topology.cores = (unsigned)tables_rig_number("TABLES_CORES");
    r->target.topology.threads = (unsigned)tables_rig_number("TABLES_THREADS");
}

#endif
