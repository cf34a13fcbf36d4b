/*
 * The address bus of one VM: which guest physical addresses are RAM, ROM or a device's registers
 * (MMIO), and which I/O ports a device answers. Vcpu slow paths and DMA meet here. Devices
 * register regions when the machine is built; accesses come with the device lock held.
 *
 * An access nobody answers reads as all ones and writes nothing; it is counted, and logged under
 * guest_errors. Accesses are split, low address first, where they are wider than a region allows or
 * reach past its end. MMIO pieces are always naturally aligned (a device never sees four bytes at
 * offset 2); a port access that is not wider than the region allows arrives as it is, aligned or
 * not. Narrow accesses are not widened.
 *
 * RAM and ROM lie where the VM's map (mmu/p2m.h) has them, at GPA = MPA without one; memory comes
 * before devices. All functions run with the device lock held (or from the only thread); a
 * region's functions may add and remove regions, their own included.
 */
#ifndef MMU_BUS_H
#define MMU_BUS_H

#include "base/addr.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct log;
struct machine_memory;
struct p2m;

/* A device's view of one of its regions. Offsets count from the region's base. */
struct bus_region_ops {
    const char *name; /* "hpet", "pit"; static */
    /* size is 1, 2, 4 or 8 bytes, never beyond max_size; the value is in the low bits. */
    uint64_t (*read)(void *device, uint64_t offset, unsigned size);
    void (*write)(void *device, uint64_t offset, uint64_t value, unsigned size);
    unsigned max_size; /* widest access the device takes: 1, 2, 4 or 8 */
};

/* log may be NULL. */
struct bus *bus_create(struct machine_memory *memory, struct log *log);
void bus_destroy(struct bus *bus);

/* Gives the VM another map, or none (NULL); the bus owns it from now on and destroys the one that
 * it had. The vCPUs, between two instructions, drop all that they have derived. */
void bus_set_p2m(struct bus *bus, struct p2m *p2m);

/* NULL: bare. */
struct p2m *bus_p2m(const struct bus *bus);

/* Registers [base, base + size) of the MMIO space; must not overlap RAM, ROM or another region
 * (an overlap is an error that names both). base and size need not be page aligned. */
bool bus_add_mmio(struct bus *bus, gpa_t base, uint64_t size, const struct bus_region_ops *ops,
                  void *device, struct error *err);

/* Removes the region registered at exactly this base, if there is one. For BARs that move. */
void bus_remove_mmio(struct bus *bus, gpa_t base);

/* Registers ports [first, first + count); overlap is an error that names both devices. */
bool bus_add_ports(struct bus *bus, uint16_t first, unsigned count,
                   const struct bus_region_ops *ops, void *device, struct error *err);
void bus_remove_ports(struct bus *bus, uint16_t first);

/* IN and OUT: size is 1, 2 or 4. A wide access to byte-wide devices splits into bytes. */
uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size);
void bus_port_write(struct bus *bus, uint16_t port, uint32_t value, unsigned size);

/* A vCPU's access to MMIO: size is 1, 2, 4 or 8. On RAM and ROM as bus_read and bus_write. */
uint64_t bus_mmio_read(struct bus *bus, gpa_t addr, unsigned size);
void bus_mmio_write(struct bus *bus, gpa_t addr, uint64_t value, unsigned size);

/* DMA and loaders: copies between a buffer and guest physical memory, whatever lies there. Writes
 * honour watches (code is invalidated, tables posted), ROM ignores them. Returns false if some byte
 * had nobody to answer it. */
bool bus_read(struct bus *bus, gpa_t addr, void *buffer, size_t length);
bool bus_write(struct bus *bus, gpa_t addr, const void *buffer, size_t length);

/* Loader only: like bus_write, but writes ROM too. */
bool bus_load(struct bus *bus, gpa_t addr, const void *buffer, size_t length);

/* Accesses that nobody answered since creation: for the exit report. */
uint64_t bus_unclaimed_count(const struct bus *bus);

/* For people: MMIO region n, or (ports) that of the first port at or behind *cursor with a region,
 * which moves behind it. False after the last. */
struct bus_region_info {
    const char *name;
    uint64_t base, size; /* bytes, or ports */
};
bool bus_mmio_region(const struct bus *bus, unsigned n, struct bus_region_info *info);
bool bus_port_region(const struct bus *bus, uint32_t *cursor, struct bus_region_info *info);

#endif
