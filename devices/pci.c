#include "devices/pci_internal.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

/* CONFADD, 82441FX datasheet 3.1.1 */
#define CONFADD_ENABLE 0x80000000u
#define CONFADD_MASK   0x80fffffcu

/* RC, 82371SB datasheet 2.5.4.3 */
#define RC_OFFSET      (PCI_RESET_PORT - PCI_PORT)
#define RC_FULL        0x08
#define RC_STORED_BITS (PCI_RESET_HARD | PCI_RESET_CPU | RC_FULL)

/* 440FX configuration registers, 82441FX datasheet 3.2 */
#define PAM0           0x59
#define PAM_COUNT      7
#define SMRAM          0x72
#define SMRAM_WRITABLE (PCI_SMRAM_OPEN | PCI_SMRAM_CLOSE | PCI_SMRAM_LOCK | PCI_SMRAM_ENABLE)

/* PIIX3 configuration registers, 82371SB datasheet 2.2 */
#define IORT   0x4c
#define XBCS   0x4e
#define TOM    0x69
#define MBDMA0 0x76
#define DLC    0x82

/* IRQs that PIRQRC can name; the others are reserved. */
#define ROUTABLE_IRQS 0xdef8u

/* The address ranges of the PAM fields, in the order of struct pci_host.shadow. */
static const struct {
    uint32_t base;
    uint32_t size;
    uint8_t reg; /* offset from PAM0 */
    uint8_t low; /* bit number of the field's read enable; write enable is one above */
} pam_fields[] = {
    {0xf0000, 0x10000, 0, 4}, {0xc0000, 0x4000, 1, 0}, {0xc4000, 0x4000, 1, 4},
    {0xc8000, 0x4000, 2, 0},  {0xcc000, 0x4000, 2, 4}, {0xd0000, 0x4000, 3, 0},
    {0xd4000, 0x4000, 3, 4},  {0xd8000, 0x4000, 4, 0}, {0xdc000, 0x4000, 4, 4},
    {0xe0000, 0x4000, 5, 0},  {0xe4000, 0x4000, 5, 4}, {0xe8000, 0x4000, 6, 0},
    {0xec000, 0x4000, 6, 4},
};

/* Tells the machine about each PAM field that changed. */
static void update_shadow(struct pci_host *h)
{
    _Static_assert(ARRAY_SIZE(pam_fields) == sizeof(h->shadow), "one entry per field");

    for (unsigned i = 0; i < ARRAY_SIZE(pam_fields); i++) {
        uint8_t now = h->bridge.config[PAM0 + pam_fields[i].reg] >> pam_fields[i].low & 3;
        if (now == h->shadow[i])
            continue;
        h->shadow[i] = now;
        if (h->wiring.shadow != NULL)
            h->wiring.shadow(h->wiring.opaque, pam_fields[i].base, pam_fields[i].size, now & 1,
                             now & 2);
    }
}

/* Serves the lock, and tells the machine about the register if it changed. */
static void update_smram(struct pci_host *h)
{
    uint8_t *reg = &h->bridge.config[SMRAM];

    if (*reg & PCI_SMRAM_LOCK) {
        *reg &= (uint8_t)~PCI_SMRAM_OPEN;
        h->bridge.writable[SMRAM] = PCI_SMRAM_CLOSE;
    }
    if (*reg == h->smram)
        return;
    h->smram = *reg;
    if (h->wiring.smram != NULL)
        h->wiring.smram(h->wiring.opaque, h->smram);
}

/* After a reset, or before a load, the lock is open. */
static void unlock_smram(struct pci_host *h)
{
    h->bridge.writable[SMRAM] = SMRAM_WRITABLE;
}

static void bridge_written(struct pci_function *f, unsigned offset, unsigned size)
{
    if (offset <= SMRAM && offset + size > SMRAM)
        update_smram(f->host);
    update_shadow(f->host);
}

static void isa_written(struct pci_function *f, unsigned offset, unsigned size)
{
    if (offset < PCI_PIRQRC + 4 && offset + size > PCI_PIRQRC)
        pci_update_interrupts(f->host);
}

/* The PIRQ that the function asserts, or -1. */
static int function_pirq(const struct pci_function *f)
{
    unsigned pin = f->config[PCI_INTERRUPT_PIN];

    if (!f->intx || pin == 0 || (pci_get_u16(f, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE))
        return -1;
    return (int)pci_pirq(f->devfn >> 3, pin - 1);
}

void pci_update_interrupts(struct pci_host *h)
{
    uint32_t pirqs = 0, irqs = 0;

    for (unsigned n = 0; n < ARRAY_SIZE(h->functions); n++) {
        int pirq = h->functions[n] != NULL ? function_pirq(h->functions[n]) : -1;
        if (pirq >= 0)
            pirqs |= BIT(pirq);
    }
    for (unsigned i = 0; i < 4; i++) {
        uint8_t route = h->isa.config[PCI_PIRQRC + i];
        if ((pirqs & BIT(i)) && !(route & PCI_PIRQRC_DISABLE))
            irqs |= BIT(route & PCI_PIRQRC_IRQ) & ROUTABLE_IRQS;
    }
    for (unsigned i = 0; i < 4; i++) {
        bool level = (pirqs & BIT(i)) != 0;
        if (level != h->pirq_level[i]) {
            h->pirq_level[i] = level;
            irq_set(&h->wiring.pirq[i], level);
        }
    }
    for (unsigned i = 0; i < 16; i++) {
        bool level = (irqs & BIT(i)) != 0;
        if (level != h->irq_level[i]) {
            h->irq_level[i] = level;
            irq_set(&h->wiring.irq[i], level);
        }
    }
}

/* The function that CONFADD selects, or NULL. */
static struct pci_function *selected_function(const struct pci_host *h)
{
    if (!(h->config_address & CONFADD_ENABLE) || bits_get(h->config_address, 16, 8) != 0)
        return NULL;
    return h->functions[bits_get(h->config_address, 8, 8)];
}

static uint64_t host_read(void *device, uint64_t offset, unsigned size)
{
    struct pci_host *h = device;
    struct pci_function *f;

    if (offset == 0 && size == 4)
        return h->config_address;
    if (offset == RC_OFFSET && size == 1)
        return h->reset_control;
    if (offset < 4 || offset + size > PCI_PORT_COUNT) {
        LOG(h->log, LOG_GUEST_ERROR, "pci: %u byte read of port %x\n", size,
            (unsigned)(PCI_PORT + offset));
        return size_mask(size);
    }
    f = selected_function(h);
    if (f == NULL)
        return size_mask(size); /* master abort */
    return pci_config_read(f, (h->config_address & 0xfc) + (unsigned)(offset & 3), size);
}

static void write_reset_control(struct pci_host *h, uint8_t value)
{
    uint8_t old = h->reset_control;

    h->reset_control = value & RC_STORED_BITS;
    if ((value & PCI_RESET_CPU) && !(old & PCI_RESET_CPU)) {
        LOG(h->log, LOG_DEVICE, "pci: %s reset through port CF9\n",
            value & PCI_RESET_HARD ? "hard" : "soft");
        if (h->wiring.reset != NULL)
            h->wiring.reset(h->wiring.opaque, (value & PCI_RESET_HARD) != 0);
    }
}

static void host_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_host *h = device;
    struct pci_function *f;

    if (offset == 0 && size == 4) {
        h->config_address = (uint32_t)value & CONFADD_MASK;
    } else if (offset == RC_OFFSET && size == 1) {
        write_reset_control(h, (uint8_t)value);
    } else if (offset < 4 || offset + size > PCI_PORT_COUNT) {
        LOG(h->log, LOG_GUEST_ERROR, "pci: %u byte write of port %x\n", size,
            (unsigned)(PCI_PORT + offset));
    } else {
        f = selected_function(h);
        if (f != NULL)
            pci_config_write(f, (h->config_address & 0xfc) + (unsigned)(offset & 3),
                             (uint32_t)value, size);
    }
}

static const struct bus_region_ops host_ops = {"pci", host_read, host_write, 4};

static void init_bridge(struct pci_function *f)
{
    pci_function_init(f, "440FX", 0x8086, 0x1237, 2, 0x060000, 0);
    pci_set_u16(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, PCI_COMMAND_SERR);
    pci_set_u16(f, PCI_STATUS, 0x0280, 0);
    pci_set_u8(f, PAM0, 0, 0x30);
    for (unsigned i = 1; i < PAM_COUNT; i++)
        pci_set_u8(f, PAM0 + i, 0, 0x33);
    pci_set_u8(f, SMRAM, 0x02, SMRAM_WRITABLE);
    f->config_written = bridge_written;
}

static void init_isa(struct pci_function *f)
{
    pci_function_init(f, "PIIX3", 0x8086, 0x7000, 0, 0x060100, 0);
    pci_set_u16(f, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
                PCI_COMMAND_SERR);
    pci_set_u16(f, PCI_STATUS, 0x0200, 0);
    pci_set_u8(f, IORT, 0x4d, 0x7f);
    pci_set_u16(f, XBCS, 0x0003, 0x01ff);
    for (unsigned i = 0; i < 4; i++)
        pci_set_u8(f, PCI_PIRQRC + i, PCI_PIRQRC_DISABLE, PCI_PIRQRC_DISABLE | PCI_PIRQRC_IRQ);
    pci_set_u8(f, TOM, 0x02, 0xfe);
    pci_set_u16(f, MBDMA0, 0x0404, 0x8787);
    pci_set_u8(f, DLC, 0x00, 0x0f);
    f->config_written = isa_written;
}

struct pci_host *pci_create(struct bus *bus, struct log *log, const struct pci_wiring *wiring,
                            struct error *err)
{
    struct pci_host *h = host_alloc(sizeof(*h));

    h->bus = bus;
    h->log = log;
    h->wiring = *wiring;
    if (!bus_add_ports(bus, PCI_PORT, PCI_PORT_COUNT, &host_ops, h, err)) {
        free(h);
        return NULL;
    }
    init_bridge(&h->bridge);
    init_isa(&h->isa);
    CHECK(pci_add_function(h, &h->bridge, PCI_DEVFN(0, 0), NULL));
    CHECK(pci_add_function(h, &h->isa, PCI_ISA_DEVFN, NULL));
    return h;
}

void pci_reset(struct pci_host *h)
{
    h->config_address = 0;
    h->reset_control = 0;
    for (unsigned n = 0; n < ARRAY_SIZE(h->functions); n++) {
        if (h->functions[n] != NULL)
            pci_function_reset(h->functions[n]);
    }
    unlock_smram(h);
    update_shadow(h);
    update_smram(h);
}

void pci_destroy(struct pci_host *h)
{
    if (h == NULL)
        return;
    for (unsigned n = 0; n < ARRAY_SIZE(h->functions); n++) {
        if (h->functions[n] != NULL)
            pci_remove_function(h->functions[n]);
    }
    bus_remove_ports(h->bus, PCI_PORT);
    free(h);
}

void pci_serialize(struct pci_host *h, struct state *s)
{
    state_section(s, "pci", 1);
    state_u32(s, &h->config_address);
    state_check(s, (h->config_address & ~CONFADD_MASK) == 0, "CONFADD has reserved bits");
    state_u8(s, &h->reset_control);
    state_check(s, (h->reset_control & ~RC_STORED_BITS) == 0, "RC has reserved bits");
    for (unsigned i = 0; i < ARRAY_SIZE(h->irq_level); i++)
        state_bool(s, &h->irq_level[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(h->pirq_level); i++)
        state_bool(s, &h->pirq_level[i]);
    if (state_is_loading(s))
        unlock_smram(h);
    pci_function_serialize(&h->bridge, s);
    pci_function_serialize(&h->isa, s);
    if (!state_is_loading(s))
        return;
    update_smram(h);
    if (!state_failed(s))
        update_shadow(h);
}
