/*
 * Three local APICs whose messages reach each other, for the tests of the local APIC. The tests
 * act on the first one, of the boot processor, unless a name ends in _of.
 */
#ifndef TESTS_LAPIC_BENCH_H
#define TESTS_LAPIC_BENCH_H

#include "devices/lapic.h"

#include "tests/unit/devices/irqchip_bench.h"

#include <string.h>

#define BENCH_CPUS 3
#define TSC_HZ    2400000000ull

enum { ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0 };
enum { SVR = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280 };
enum { ICR = 0x300, ICR2 = 0x310, LVTT = 0x320, LVTPC = 0x340, LVT0 = 0x350, LVT1 = 0x360 };
enum { LVTERR = 0x370, TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0 };

/* Processors and what reached them. */
struct cpu {
    struct lapic *lapic;
    struct wire intr;
    unsigned nmi_count, smi_count, init_count, startup_count, eoi_count;
    uint8_t startup_vector, eoi_vector;
};

static struct bench bench;
static struct cpu cpus[BENCH_CPUS];
static struct lapic *l; /* of the boot processor */

static inline void on_send(void *opaque, const struct apic_message *message)
{
    for (unsigned i = 0; i < BENCH_CPUS; i++) {
        if (message->exclude_sender && opaque == &cpus[i])
            continue;
        if (lapic_accepts(cpus[i].lapic, message))
            lapic_deliver(cpus[i].lapic, message);
    }
}

static inline void on_eoi(void *opaque, uint8_t vector)
{
    struct cpu *cpu = opaque;

    cpu->eoi_count++;
    cpu->eoi_vector = vector;
}

static inline void on_nmi(void *opaque)
{
    ((struct cpu *)opaque)->nmi_count++;
}

static inline void on_smi(void *opaque)
{
    ((struct cpu *)opaque)->smi_count++;
}

static inline void on_init(void *opaque)
{
    struct cpu *cpu = opaque;

    cpu->init_count++;
    lapic_init(cpu->lapic);
}

static inline void on_startup(void *opaque, uint8_t vector)
{
    struct cpu *cpu = opaque;

    cpu->startup_count++;
    cpu->startup_vector = vector;
}

static inline void setup(void)
{
    bench_init(&bench);
    memset(cpus, 0, sizeof(cpus));
    for (unsigned i = 0; i < BENCH_CPUS; i++) {
        struct lapic_config config = {
            .id = i,
            .boot_processor = i == 0,
            .physical_address_bits = 40,
            .tsc_hz = TSC_HZ,
            .bus_hz = LAPIC_BUS_HZ,
            .x2apic = true,
            .tsc_deadline = true,
            .eoi_suppression = true,
        };
        struct lapic_callbacks callbacks = {
            .opaque = &cpus[i],
            .send = on_send,
            .eoi = on_eoi,
            .nmi = on_nmi,
            .smi = on_smi,
            .init = on_init,
            .startup = on_startup,
        };
        cpus[i].lapic =
            lapic_create(&bench.log, &bench.clock, &config, &callbacks, wire_line(&cpus[i].intr));
    }
    l = cpus[0].lapic;
}

static inline void teardown(void)
{
    for (unsigned i = 0; i < BENCH_CPUS; i++)
        lapic_destroy(cpus[i].lapic);
    bench_done(&bench);
}

static inline uint32_t get_of(unsigned cpu, unsigned offset)
{
    return lapic_mmio_ops.read(cpus[cpu].lapic, offset, 4);
}

static inline void put_of(unsigned cpu, unsigned offset, uint32_t value)
{
    lapic_mmio_ops.write(cpus[cpu].lapic, offset, value, 4);
}

static inline uint32_t get(unsigned offset)
{
    return get_of(0, offset);
}

static inline void put(unsigned offset, uint32_t value)
{
    put_of(0, offset, value);
}

static inline void enable_all(void)
{
    for (unsigned i = 0; i < BENCH_CPUS; i++)
        put_of(i, SVR, 0x1ff);
}

static inline void fixed(uint8_t vector, bool level_triggered)
{
    struct apic_message message = {
        .vector = vector, .level_triggered = level_triggered, .assert = true};

    lapic_deliver(l, &message);
}

static inline bool wrmsr(uint32_t msr, uint64_t value)
{
    return lapic_msr_write(l, msr, value);
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t value = 0;

    ck_assert(lapic_msr_read(l, msr, &value));
    return value;
}

static inline void enter_x2apic(void)
{
    ck_assert(wrmsr(MSR_IA32_APIC_BASE, rdmsr(MSR_IA32_APIC_BASE) | APIC_BASE_EXTD));
}

#endif
