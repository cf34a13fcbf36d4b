/*
 * A machine as the boot loaders see it (bus, RAM, a processor just reset), and files for them, made
 * here: ELF files of one or a few segments. Guest code is given as bytes, so that the tests run on
 * any host.
 */
#ifndef TESTS_UNIT_MACHINE_LOADER_RIG_H
#define TESTS_UNIT_MACHINE_LOADER_RIG_H

#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpuid.h"
#include "machine/le.h"
#include "machine/loader.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MIB 0x100000ull

struct loader_rig {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct loader_target target;
    struct loader_file initrd; /* length 0: none */
    const char *append;
    struct error err; /* of the last boot */
};

/* low and high: MiB of RAM below and above 4 GiB; cpu: its model, as in -cpu. */
static inline void loader_rig_create(struct loader_rig *r, uint64_t low, uint64_t high,
                                     const char *cpu)
{
    struct vcpu_config config = {.tsc_hz = 1000000000};
    struct cpu_model model;

    memset(r, 0, sizeof(*r));
    log_init(&r->log);
    clock_init(&r->clock, CLOCK_DETERMINISTIC, 0);
    r->memory = machine_memory_create(high > 0 ? 4096 * MIB + high * MIB : low * MIB, NULL);
    ck_assert(machine_memory_add(r->memory, mpa(0), 0xa0000, FRAME_RAM, NULL));
    ck_assert(machine_memory_add(r->memory, mpa(0xc0000), low * MIB - 0xc0000, FRAME_RAM, NULL));
    if (high > 0)
        ck_assert(machine_memory_add(r->memory, mpa(4096 * MIB), high * MIB, FRAME_RAM, NULL));
    r->bus = bus_create(r->memory, &r->log);
    ck_assert(cpu_model_parse(cpu, &model, NULL));
    config.model = &model;
    config.bus = r->bus;
    config.memory = r->memory;
    config.clock = &r->clock;
    config.log = &r->log;
    r->target = (struct loader_target){
        .bus = r->bus,
        .cpu = vcpu_create(&config),
        .log = &r->log,
        .ram_below_4g = low * MIB,
        .ram_above_4g = high * MIB,
        .pm_base = 0x600,
        .serial_ports = 0x3,
        .seed = 1,
    };
}

static inline void loader_rig_destroy(struct loader_rig *r)
{
    vcpu_destroy(r->target.cpu);
    bus_destroy(r->bus);
    machine_memory_destroy(r->memory);
}

/* Boots the bytes with the rig's initrd and command line. */
static inline bool loader_rig_boot(struct loader_rig *r, const void *kernel, size_t length,
                                   enum loader_entry entry)
{
    const struct loader_file file = {.name = "kernel", .bytes = kernel, .length = length};

    r->err = (struct error){0};
    vcpu_reset(r->target.cpu, false);
    return loader_boot_memory(&r->target, &file, r->initrd.length > 0 ? &r->initrd : NULL,
                              r->append, entry, &r->err);
}

/* The boot fails with an error that names the file and holds these words. */
#define ck_assert_refused(r, kernel, length, entry, words)                                         \
    do {                                                                                           \
        ck_assert(!loader_rig_boot((r), (kernel), (length), (entry)));                             \
        ck_assert_msg(strstr((r)->err.text, (words)) != NULL, "'%s' is not in: %s", (words),       \
                      (r)->err.text);                                                              \
        ck_assert_msg(strncmp((r)->err.text, "kernel:", 7) == 0, "%s", (r)->err.text);             \
    } while (0)

#define ck_assert_booted(r, kernel, length, entry)                                                 \
    do {                                                                                           \
        bool booted_ = loader_rig_boot((r), (kernel), (length), (entry));                          \
        ck_assert_msg(booted_, "%s", (r)->err.text);                                               \
    } while (0)

/* Runs to the next HLT. */
static inline void loader_rig_run(struct loader_rig *r)
{
    ck_assert_int_eq(vcpu_run(r->target.cpu, 1000), VCPU_EXIT_HALTED);
}

static inline void loader_rig_read(struct loader_rig *r, uint64_t address, void *bytes,
                                   size_t length)
{
    ck_assert(bus_read(r->bus, gpa(address), bytes, length));
}

static inline uint64_t loader_rig_number(struct loader_rig *r, uint64_t address, unsigned size)
{
    uint8_t bytes[8] = {0};

    loader_rig_read(r, address, bytes, size);
    return le64_get(bytes);
}

/* Text of up to 255 bytes; the next call overwrites buffer. */
static inline const char *loader_rig_text(struct loader_rig *r, uint64_t address, char buffer[256])
{
    loader_rig_read(r, address, buffer, 255);
    buffer[255] = '\0';
    return buffer;
}

/* ---- Files ---- */

struct file {
    uint8_t bytes[65536];
    size_t length;
};

static inline void file_put(struct file *f, size_t offset, const void *bytes, size_t length)
{
    ck_assert_uint_le(offset + length, sizeof(f->bytes));
    memcpy(f->bytes + offset, bytes, length);
    if (f->length < offset + length)
        f->length = offset + length;
}

static inline void file_number(struct file *f, size_t offset, unsigned size, uint64_t value)
{
    uint8_t bytes[8];

    le64_put(bytes, value);
    file_put(f, offset, bytes, size);
}

enum { ELF_LOAD = 1, ELF_NOTE = 4 };
enum { ELF_386 = 3, ELF_X86_64 = 62 };

/* Offsets of fields in the file header, and of program header n. */
static inline unsigned elf_entry(void)
{
    return 24;
}

static inline unsigned elf_program_header(bool wide, unsigned n)
{
    return wide ? 64 + n * 56 : 52 + n * 32;
}

/* A file header for `count` program headers, which elf_segment fills. */
static inline void elf_begin(struct file *f, bool wide, unsigned machine, uint64_t entry,
                             unsigned count)
{
    static const uint8_t ident[16] = {0x7f, 'E', 'L', 'F', 1, 1, 1};

    memset(f, 0, sizeof(*f));
    file_put(f, 0, ident, sizeof(ident));
    f->bytes[4] = wide ? 2 : 1;
    file_number(f, 16, 2, 2);
    file_number(f, 18, 2, machine);
    file_number(f, elf_entry(), wide ? 8 : 4, entry);
    file_number(f, wide ? 32 : 28, wide ? 8 : 4, elf_program_header(wide, 0));
    file_number(f, wide ? 54 : 42, 2, wide ? 56 : 32);
    file_number(f, wide ? 56 : 44, 2, count);
    f->length = 0x200;
}

/* Appends the content at a 16-byte boundary and describes it in program header n. */
static inline void elf_segment(struct file *f, unsigned n, uint32_t type, uint64_t virtual,
                               uint64_t physical, const void *bytes, size_t length,
                               uint64_t memory_size)
{
    bool wide = f->bytes[4] == 2;
    unsigned size = wide ? 8 : 4, at = elf_program_header(wide, n);
    uint64_t offset = (f->length + 15) & ~15ull;

    file_number(f, at, 4, type);
    at += wide ? 8 : 4;
    file_number(f, at, size, offset);
    file_number(f, at + size, size, virtual);
    file_number(f, at + 2 * size, size, physical);
    file_number(f, at + 3 * size, size, length);
    file_number(f, at + 4 * size, size, memory_size);
    file_put(f, offset, bytes, length);
}

/* ---- Guest code: stores what the loader put into registers, and halts ---- */

#define STUB_RESULT 0x600u

/* mov [600h], rsi; mov [608h], rsp; hlt. In 32-bit mode it would store elsewhere. */
static const uint8_t stub64[] = {0x48, 0x89, 0x34, 0x25, 0x00, 0x06, 0x00, 0x00, 0x48,
                                 0x89, 0x24, 0x25, 0x08, 0x06, 0x00, 0x00, 0xf4};

/* mov [600h], esi; mov [604h], eax; mov [608h], ebx; hlt. In 64-bit mode the first is relative to
 * RIP. */
static const uint8_t stub32[] = {0x89, 0x35, 0x00, 0x06, 0x00, 0x00, 0xa3, 0x04, 0x06,
                                 0x00, 0x00, 0x89, 0x1d, 0x08, 0x06, 0x00, 0x00, 0xf4};

#endif
