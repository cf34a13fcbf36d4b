/*
 * PCI: a 440FX-like host bridge (8086:1237, function 00:00.0) with configuration mechanism #1, bus
 * 0 with up to 256 functions, and a PIIX3-like ISA bridge (8086:7000, function 00:01.0) that
 * routes interrupts and holds the reset control register. There are no further buses.
 *
 *   CF8h  CONFADD: dword only; narrower accesses go elsewhere (CF9h is the reset control register)
 *   CFCh  CONFDATA: byte, word and dword at CFCh..CFFh select the bytes of the dword in CONFADD
 *   CF9h  RC, byte only: a 0 to 1 step of bit 2 resets; bit 1 says if all chips or the CPU only
 *
 * PCI Local Bus Specification 2.3 (3.2.2.3.2 mechanism #1, 6.1 header, 6.2.5 base addresses);
 * 82441FX and 82371SB (PIIX3) datasheets. Every call wants the machine's device lock.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include "base/error.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/irq.h"
#include "mmu/bus.h"

#include <stdbool.h>
#include <stdint.h>

#define PCI_PORT       0xcf8
#define PCI_PORT_COUNT 8

/* RC: the reset control register, 82371SB datasheet 2.5.4.3 */
#define PCI_RESET_PORT 0xcf9
#define PCI_RESET_HARD 0x02 /* SRST: a reset is a hard one */
#define PCI_RESET_CPU  0x04 /* RCPU: a 0 to 1 step resets */

/* The ISA bridge, and where its configuration space routes PIRQA#..PIRQD#: a byte each. */
#define PCI_ISA_DEVFN      PCI_DEVFN(1, 0)
#define PCI_PIRQRC         0x60
#define PCI_PIRQRC_DISABLE 0x80
#define PCI_PIRQRC_IRQ     0x0f

/* Header registers, specification chapter 6.1. */
#define PCI_VENDOR_ID           0x00
#define PCI_DEVICE_ID           0x02
#define PCI_COMMAND             0x04
#define PCI_STATUS              0x06
#define PCI_REVISION_ID         0x08
#define PCI_CLASS_PROG          0x09
#define PCI_CLASS_DEVICE        0x0a
#define PCI_HEADER_TYPE         0x0e
#define PCI_BASE_ADDRESS_0      0x10
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID        0x2e
#define PCI_ROM_ADDRESS         0x30
#define PCI_CAPABILITY_LIST     0x34
#define PCI_INTERRUPT_LINE      0x3c
#define PCI_INTERRUPT_PIN       0x3d

#define PCI_COMMAND_IO           0x0001
#define PCI_COMMAND_MEMORY       0x0002
#define PCI_COMMAND_MASTER       0x0004
#define PCI_COMMAND_SERR         0x0100
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_STATUS_INTERRUPT 0x0008
#define PCI_STATUS_CAP_LIST  0x0010
#define PCI_STATUS_ERRORS    0xf900 /* the bits that a write of one clears */

/* SMRAM, system management RAM control, 82441FX datasheet 3.2.22 */
#define PCI_SMRAM_OPEN   0x40 /* seen outside of SMM, too */
#define PCI_SMRAM_CLOSE  0x20 /* data accesses go to the display even in SMM */
#define PCI_SMRAM_LOCK   0x10 /* OPEN is off, all but CLOSE is read-only until reset */
#define PCI_SMRAM_ENABLE 0x08

#define PCI_DEVFN(device, function) ((uint8_t)((device) << 3 | (function)))

#define PCI_CONFIG_SIZE 256
#define PCI_BAR_COUNT   7 /* six base addresses and the expansion ROM */
#define PCI_BAR_ROM     6

enum pci_bar_kind {
    PCI_BAR_NONE,
    PCI_BAR_IO,    /* size 4 to 256 */
    PCI_BAR_MEM32, /* size 16 bytes to 2 GiB; for PCI_BAR_ROM 2 KiB to 16 MiB */
    PCI_BAR_MEM32_PREFETCH,
    PCI_BAR_MEM64, /* takes this index and the next; size 16 bytes to 2^40 */
    PCI_BAR_MEM64_PREFETCH,
};

struct pci_host;

struct pci_bar {
    enum pci_bar_kind kind;
    uint64_t size;                    /* bytes, a power of two */
    const struct bus_region_ops *ops; /* NULL: the owner maps it, see bar_moved */
    void *device;                     /* for ops */
    bool mapped;                      /* it answers on the bus now */
    uint64_t base;                    /* where, while mapped */
};

/* One function; embedded in its owner's struct, zeroed before pci_function_init. */
struct pci_function {
    const char *name;                          /* static, for messages */
    struct log *log;                           /* the host's, set by pci_add_function */
    struct pci_host *host;                     /* set by pci_add_function */
    uint8_t devfn;                             /* device number << 3 | function number */
    uint8_t config[PCI_CONFIG_SIZE];           /* what a read returns */
    uint8_t reset_values[PCI_CONFIG_SIZE];     /* what config becomes at reset */
    uint8_t writable[PCI_CONFIG_SIZE];         /* bits that the guest may write */
    uint8_t write_one_clears[PCI_CONFIG_SIZE]; /* bits that the guest clears by writing ones */
    struct pci_bar bars[PCI_BAR_COUNT];
    bool intx;              /* the device asserts its interrupt pin */
    uint8_t capability_end; /* the first offset free for a capability */
    void *device;           /* the owner, for its use in the callbacks below */

    /* All optional. read: called before config bytes [offset, offset + size) are read, to bring
     * them up to date. written: called after a write to them took effect (BARs are already moved).
     * bar_moved: a BAR without ops now starts at base (mapped) or no longer answers. */
    void (*config_read)(struct pci_function *f, unsigned offset, unsigned size);
    void (*config_written)(struct pci_function *f, unsigned offset, unsigned size);
    void (*bar_moved)(struct pci_function *f, unsigned bar, uint64_t base, bool mapped);
};

/* What the chips are connected to. Unused members may be zero. */
struct pci_wiring {
    /* IRQ0..IRQ15 as routed by PIRQRC: levels, the OR of all PIRQs routed to that IRQ. A machine
     * that has another device on the same IRQ combines the two itself. */
    struct irq_line irq[16];
    /* PIRQA#..PIRQD# themselves, for an I/O APIC that gives them their own pins. */
    struct irq_line pirq[4];
    /* RC (CF9h): hard resets the whole machine, otherwise only the processors. Called from inside
     * the write, so the machine only takes note and resets once the instruction is over. */
    void (*reset)(void *opaque, bool hard);
    /* PAM (59h-5Fh): reads and writes of [base, base + size) below 1 MiB now go to RAM (true) or to
     * the ROM behind the bridge (false). */
    void (*shadow)(void *opaque, uint32_t base, uint32_t size, bool read_ram, bool write_ram);
    /* SMRAM (72h) now has this value: who sees the RAM at A0000h to BFFFFh. */
    void (*smram)(void *opaque, uint8_t value);
    void *opaque;
};

struct pci_host {
    struct bus *bus;
    struct log *log;
    struct pci_wiring wiring;
    uint32_t config_address;             /* CONFADD */
    uint8_t reset_control;               /* RC bits 1 and 3 */
    bool irq_level[16];                  /* what wiring.irq was last told */
    bool pirq_level[4];                  /* what wiring.pirq was last told */
    uint8_t shadow[13];                  /* what wiring.shadow was last told, by PAM field:
                                            bit 0 reads, bit 1 writes go to RAM */
    uint8_t smram;                       /* what wiring.smram was last told; 0: nothing yet */
    struct pci_function *functions[256]; /* by devfn; NULL: nobody answers, reads are all ones */
    struct pci_function bridge;          /* 00:00.0, the 440FX */
    struct pci_function isa;             /* 00:01.0, the PIIX3 */
};

/* Ports CF8h..CFFh, host bridge and ISA bridge, in reset state. The wiring is copied. */
struct pci_host *pci_create(struct bus *bus, struct log *log, const struct pci_wiring *wiring,
                            struct error *err);
/* Resets the host, both bridges and the configuration space of every function on the bus (BARs are
 * unmapped, INTx released); the owners reset the rest of their functions. */
void pci_reset(struct pci_host *h);
void pci_destroy(struct pci_host *h);
/* Saves or loads host and bridges, and nothing of other functions: see pci_function_serialize. A
 * load drives no interrupt line: whoever listens loads the levels itself. It does tell shadow. */
void pci_serialize(struct pci_host *h, struct state *s);

/* Makes a function with its header: interrupt_pin 0 means none, 1 to 4 INTA#..INTD#; class_code is
 * base class << 16 | sub-class << 8 | interface. The subsystem is 1AF4:1100, which is how the
 * distribution's firmware recognises an emulated board. Command and status, interrupt line and
 * capabilities behave as the specification says; all else is read only until made writable. */
void pci_function_init(struct pci_function *f, const char *name, uint16_t vendor, uint16_t device,
                       uint8_t revision, uint32_t class_code, uint8_t interrupt_pin);

/* Little-endian registers: value now and after reset, and the bits that the guest may write. */
void pci_set_u8(struct pci_function *f, unsigned offset, uint8_t value, uint8_t writable);
void pci_set_u16(struct pci_function *f, unsigned offset, uint16_t value, uint16_t writable);
void pci_set_u32(struct pci_function *f, unsigned offset, uint32_t value, uint32_t writable);

/* The owner's reads and changes of its registers; masks and reset values are not touched. */
uint16_t pci_get_u16(const struct pci_function *f, unsigned offset);
uint32_t pci_get_u32(const struct pci_function *f, unsigned offset);
void pci_put_u16(struct pci_function *f, unsigned offset, uint16_t value);
void pci_put_u32(struct pci_function *f, unsigned offset, uint32_t value);

/* Declares a base address register; ops may be NULL, then bar_moved is told. A BAR answers while
 * its space is enabled in PCI_COMMAND, its base is not 0 and the range is free on the bus. */
void pci_set_bar(struct pci_function *f, unsigned bar, enum pci_bar_kind kind, uint64_t size,
                 const struct bus_region_ops *ops, void *device);

/* Appends a capability of `length` bytes (id and next pointer included, at least 2), zero and read
 * only; returns its offset, or 0 when the space from 40h to FFh is used up. */
unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned length);

/* Puts the function on bus 0; an error if the place is taken. Function 0 of a device becomes
 * multi-function as soon as another one is added, in any order. */
bool pci_add_function(struct pci_host *h, struct pci_function *f, uint8_t devfn, struct error *err);
/* Unmaps its BARs and releases its interrupt. */
void pci_remove_function(struct pci_function *f);

/* The PIRQ (0 to 3) that INTA#..INTD# (pin 0 to 3) of a device is wired to, as on boards with this
 * chip set. */
static inline unsigned pci_pirq(unsigned device, unsigned pin)
{
    return (device - 1 + pin) & 3;
}

/* The owner's level on its interrupt pin. */
void pci_set_intx(struct pci_function *f, bool level);

/* Whether the guest allows the function to do DMA. */
static inline bool pci_bus_master(const struct pci_function *f)
{
    return (f->config[PCI_COMMAND] & PCI_COMMAND_MASTER) != 0;
}

/* Back to reset values; BARs unmapped, INTx released. pci_reset does it for all functions. */
void pci_function_reset(struct pci_function *f);

/* Saves or loads configuration space and interrupt level, as part of the owner's section, and maps
 * the BARs as loaded. Only bits that the guest could have written are taken from the stream. */
void pci_function_serialize(struct pci_function *f, struct state *s);

/* Configuration accesses as the guest makes them; size 1, 2 or 4, not beyond offset 255. */
uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *f, unsigned offset, uint32_t value, unsigned size);

#endif
