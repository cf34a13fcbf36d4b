/*
 * Boot loaders: puts a kernel file into guest memory and sets the processor to its entry point, as
 * firmware and boot loader would have left it. The file's content says what it is:
 *
 *   bzImage     Linux/x86 boot protocol (Documentation/arch/x86/boot.rst). The compressed kernel in
 *               it is decompressed on the host and entered directly, at the address it was linked
 *               for (so without KASLR); with LOADER_ENTRY_BZIMAGE the guest decompresses it itself
 *   ELF         with a Xen PHYS32_ENTRY note: PVH (xen/include/public/arch-x86/hvm/start_info.h)
 *   multiboot   header in the first 8 KiB: Multiboot Specification 0.6.96, ELF or a.out kludge
 *   flat        only when asked for: the file is copied to a fixed address and entered there
 *
 * ACPI tables and SMBIOS are written below 1 MiB for all but flat images. All input is hostile: a
 * file that is damaged, too big or nonsense becomes an error that names it. Guest memory below 1
 * MiB is used as drawn in machine/loader_internal.h.
 */
#ifndef MACHINE_LOADER_H
#define MACHINE_LOADER_H

#include "base/error.h"
#include "cpu/topology.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct log;
struct vcpu;

/* The machine to boot. RAM lies at [0, a0000h), [c0000h, ram_below_4g) and
 * [4 GiB, 4 GiB + ram_above_4g); the loader writes through bus_load, so c0000h to fffffh may as
 * well be ROM. */
struct loader_target {
    struct bus *bus;
    struct vcpu *cpu;      /* the boot processor, just reset */
    struct log *log;       /* LOG_LOADER says what went where; never NULL */
    uint64_t ram_below_4g; /* where RAM ends below 4 GiB: 1 MiB to c0000000h, page aligned */
    uint64_t ram_above_4g; /* bytes of RAM from 4 GiB on, page aligned, may be 0 */
    struct cpu_topology topology; /* its processors; zeroed: one */
    bool hpet;             /* there is an HPET at its standard place */
    uint16_t pm_base;      /* ports of the ACPI power management block (PM_DEFAULT_BASE) */
    uint16_t pvpanic_port; /* 0: none */
    uint8_t serial_ports;  /* bit n: COMn+1 is there, at its standard ports and IRQ */
    uint64_t seed;         /* of the random bytes that Linux is handed (SETUP_RNG_SEED) */
};

enum loader_entry {
    LOADER_ENTRY_AUTO,    /* by content; bzImages are decompressed on the host */
    LOADER_ENTRY_BZIMAGE, /* by content; bzImages decompress themselves in the guest */
    LOADER_ENTRY_FLAT16,  /* raw file at 7c00h, real mode, CS:IP 0000:7c00, DL 80h, SP 7c00h */
    LOADER_ENTRY_FLAT32,  /* raw file at 100000h, protected mode, flat segments, no paging,
                             ESP 9f000h */
    LOADER_ENTRY_FLAT64,  /* raw file at 100000h, long mode, the low 4 GiB identity mapped,
                             RSP 9f000h */
};

struct boot_options {
    const char *kernel; /* file; required */
    const char *initrd; /* file, or NULL */
    const char *append; /* kernel command line, or NULL */
    enum loader_entry entry;
};

/* Reads the files, fills memory, sets the processor. On failure memory and processor are in no
 * particular state. Call it again after each reset: processor reset, memory as the guest left it.
 */
bool loader_boot(const struct loader_target *target, const struct boot_options *options,
                 struct error *err);

/* A file's content, in memory. */
struct loader_file {
    const char *name; /* for messages */
    const uint8_t *bytes;
    size_t length;
};

/* The same with the files already in memory; initrd and append may be NULL. */
bool loader_boot_memory(const struct loader_target *target, const struct loader_file *kernel,
                        const struct loader_file *initrd, const char *append,
                        enum loader_entry entry, struct error *err);

/* The word of "-machine kernel-entry=": direct, bzimage, flat16, flat32, flat64. */
bool loader_parse_entry(const char *word, enum loader_entry *entry, struct error *err);

#endif
