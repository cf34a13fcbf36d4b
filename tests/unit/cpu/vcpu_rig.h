/*
 * A whole processor with RAM and run loop, without a machine: what tests of interrupts, faults and
 * breakpoints run on. tests/unit/cpu/op_rig.h is for single instructions.
 */
#ifndef TESTS_UNIT_CPU_VCPU_RIG_H
#define TESTS_UNIT_CPU_VCPU_RIG_H

#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "mmu/bus.h"
#include "mmu/memory.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define RIG_RAM_SIZE 0x100000u

struct vcpu_rig {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct vcpu *cpu;
};

static inline struct vcpu *vcpu_rig_create_cpu(struct vcpu_rig *rig,
                                               const struct vcpu_platform *platform)
{
    struct cpu_model model;
    struct error err = {0};

    ck_assert(cpu_model_parse("max", &model, &err));
    const struct vcpu_config config = {
        .model = &model,
        .bus = rig->bus,
        .memory = rig->memory,
        .clock = &rig->clock,
        .log = &rig->log,
        .tsc_hz = NS_PER_SECOND,
        .platform = platform == NULL ? (struct vcpu_platform){0} : *platform,
    };
    return vcpu_create(&config);
}

/* A processor after power-on, with RIG_RAM_SIZE of RAM; devices may lie in as much behind it. */
static inline void vcpu_rig_open(struct vcpu_rig *rig, const struct vcpu_platform *platform)
{
    struct error err = {0};

    log_init(&rig->log);
    clock_init(&rig->clock, CLOCK_DETERMINISTIC, 0);
    rig->memory = machine_memory_create(2 * RIG_RAM_SIZE, &err);
    ck_assert_ptr_nonnull(rig->memory);
    ck_assert(machine_memory_add(rig->memory, mpa(0), RIG_RAM_SIZE, FRAME_RAM, &err));
    rig->bus = bus_create(rig->memory, &rig->log);
    rig->cpu = vcpu_rig_create_cpu(rig, platform);
}

static inline void vcpu_rig_close(struct vcpu_rig *rig)
{
    vcpu_destroy(rig->cpu);
    bus_destroy(rig->bus);
    machine_memory_destroy(rig->memory);
}

/* Real mode, as a program finds it: all segments at 0. */
static inline void vcpu_rig_start_real(struct vcpu_rig *rig, uint64_t ip, uint64_t sp)
{
    for (unsigned n = 0; n < SEG_NONE; n++)
        vcpu_set_segment(rig->cpu, n, 0, 0, 0xffff,
                         SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED |
                             (n == SEG_CS ? SEGMENT_CODE : 0));
    rig->cpu->idtr = (struct descriptor_table){0, 0x3ff};
    rig->cpu->gpr[GPR_RSP] = sp;
    rig->cpu->rip = ip;
}

static inline void vcpu_rig_put(struct vcpu_rig *rig, uint64_t address, const void *bytes,
                                size_t size)
{
    bus_write(rig->bus, gpa(address), bytes, size);
}

/* Real mode's vector: 0000:handler. */
static inline void vcpu_rig_set_vector(struct vcpu_rig *rig, unsigned vector, uint16_t handler)
{
    const uint8_t entry[4] = {(uint8_t)handler, (uint8_t)(handler >> 8)};

    bus_write(rig->bus, gpa(vector * 4u), entry, 4);
}

/* 16-bit word n of the stack. */
static inline uint16_t vcpu_rig_stack(struct vcpu_rig *rig, unsigned n)
{
    uint8_t b[2];

    bus_read(rig->bus, gpa(rig->cpu->gpr[GPR_RSP] + 2 * n), b, 2);
    return (uint16_t)(b[0] | b[1] << 8);
}

#endif
