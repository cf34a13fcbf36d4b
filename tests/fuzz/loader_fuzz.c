/*
 * A kernel file is hostile input: the first byte of the input chooses how it is booted (bits 0-2:
 * entry; bit 3: with an initrd; bit 4: with a command line), the rest is the file. A boot either
 * leaves the processor at an address in RAM or fails with a message that names a file.
 */
#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpuid.h"
#include "machine/loader.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            __builtin_trap();                                                                      \
    } while (0)

#define RAM_LOW    (16ull << 20)
#define RAM_HIGH   (2ull << 20)
#define HIGH_START (1ull << 32)

#define INITRD_SIZE 8192

static void boot(const struct loader_target *target, const uint8_t *data, size_t size)
{
    static const uint8_t initrd_bytes[INITRD_SIZE] = {1, 2, 3};
    const struct loader_file kernel = {"kernel", data + 1, size - 1};
    const struct loader_file initrd = {"initrd", initrd_bytes, INITRD_SIZE};
    enum loader_entry entry = data[0] % 8 % (LOADER_ENTRY_FLAT64 + 1);
    const struct vcpu *cpu = target->cpu;
    struct error err = {0};

    if (loader_boot_memory(target, &kernel, data[0] & BIT(3) ? &initrd : NULL,
                           data[0] & BIT(4) ? "console=ttyS0 quiet" : NULL, entry, &err)) {
        MUST(cpu->rip < RAM_LOW);
        MUST(cpu->seg[SEG_CS].base == 0);
        MUST(cpu->mmu.cr0 & CR0_PE || entry == LOADER_ENTRY_FLAT16);
    } else {
        MUST(strncmp(err.text, "kernel: ", 8) == 0 || strncmp(err.text, "initrd: ", 8) == 0);
    }
}

/* One machine for all inputs: loaders are called again after each reset, on memory as it is. */
static struct {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct loader_target target;
} machine;

static void destroy_machine(void)
{
    vcpu_destroy(machine.target.cpu);
    bus_destroy(machine.target.bus);
    machine_memory_destroy(machine.memory);
}

static void create_machine(void)
{
    struct machine_memory *memory = machine_memory_create(HIGH_START + RAM_HIGH, NULL);
    struct vcpu_config config = {.model = &cpu_models[0], .tsc_hz = 1000000000};

    log_init(&machine.log);
    clock_init(&machine.clock, CLOCK_DETERMINISTIC, 0);
    MUST(memory != NULL && machine_memory_add(memory, mpa(0), 0xa0000, FRAME_RAM, NULL) &&
         machine_memory_add(memory, mpa(0xc0000), RAM_LOW - 0xc0000, FRAME_RAM, NULL) &&
         machine_memory_add(memory, mpa(HIGH_START), RAM_HIGH, FRAME_RAM, NULL));
    machine.memory = config.memory = memory;
    config.clock = &machine.clock;
    config.log = &machine.log;
    config.bus = bus_create(memory, &machine.log);
    machine.target = (struct loader_target){
        .bus = config.bus,
        .cpu = vcpu_create(&config),
        .log = &machine.log,
        .ram_below_4g = RAM_LOW,
        .ram_above_4g = RAM_HIGH,
        .pm_base = 0x600,
    };
    atexit(destroy_machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (machine.memory == NULL)
        create_machine();
    if (size == 0)
        return 0;
    vcpu_reset(machine.target.cpu, false);
    boot(&machine.target, data, size);
    return 0;
}
