#include "devices/pci_internal.h"

#include "base/bits.h"
#include "base/check.h"

#include <string.h>

#define SUBSYSTEM_VENDOR 0x1af4
#define SUBSYSTEM_ID     0x1100

#define HEADER_MULTI_FUNCTION 0x80

/* Low bits of base address registers, specification 6.2.5.1 and 6.2.5.2. */
#define BAR_IO_SPACE        0x1
#define BAR_MEMORY_64       0x4
#define BAR_MEMORY_PREFETCH 0x8
#define BAR_ROM_ENABLE      0x1

#define FIRST_CAPABILITY 0x40

#define MEMORY_LIMIT_32 (1ull << 32)
#define MEMORY_LIMIT_64 (1ull << 52) /* no processor addresses more */
#define PORT_LIMIT      0x10000ull

#define NOT_MAPPED UINT64_MAX

static const struct bar_type {
    uint8_t fixed;  /* the read-only low bits */
    bool io;        /* I/O space */
    bool wide;      /* 64 bits: the next register holds the high half */
    uint64_t limit; /* the last byte lies below */
} bar_types[] = {
    [PCI_BAR_IO] = {BAR_IO_SPACE, true, false, PORT_LIMIT},
    [PCI_BAR_MEM32] = {0, false, false, MEMORY_LIMIT_32},
    [PCI_BAR_MEM32_PREFETCH] = {BAR_MEMORY_PREFETCH, false, false, MEMORY_LIMIT_32},
    [PCI_BAR_MEM64] = {BAR_MEMORY_64, false, true, MEMORY_LIMIT_64},
    [PCI_BAR_MEM64_PREFETCH] = {BAR_MEMORY_64 | BAR_MEMORY_PREFETCH, false, true, MEMORY_LIMIT_64},
};

static void put(uint8_t *bytes, uint32_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get(const uint8_t *bytes, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

static void define(struct pci_function *f, unsigned offset, uint32_t value, uint32_t writable,
                   unsigned size)
{
    CHECK(offset + size <= PCI_CONFIG_SIZE);
    put(&f->config[offset], value, size);
    put(&f->reset_values[offset], value, size);
    put(&f->writable[offset], writable, size);
}

void pci_set_u8(struct pci_function *f, unsigned offset, uint8_t value, uint8_t writable)
{
    define(f, offset, value, writable, 1);
}

void pci_set_u16(struct pci_function *f, unsigned offset, uint16_t value, uint16_t writable)
{
    define(f, offset, value, writable, 2);
}

void pci_set_u32(struct pci_function *f, unsigned offset, uint32_t value, uint32_t writable)
{
    define(f, offset, value, writable, 4);
}

uint16_t pci_get_u16(const struct pci_function *f, unsigned offset)
{
    CHECK(offset + 2 <= PCI_CONFIG_SIZE);
    return (uint16_t)get(&f->config[offset], 2);
}

uint32_t pci_get_u32(const struct pci_function *f, unsigned offset)
{
    CHECK(offset + 4 <= PCI_CONFIG_SIZE);
    return get(&f->config[offset], 4);
}

void pci_put_u16(struct pci_function *f, unsigned offset, uint16_t value)
{
    CHECK(offset + 2 <= PCI_CONFIG_SIZE);
    put(&f->config[offset], value, 2);
}

void pci_put_u32(struct pci_function *f, unsigned offset, uint32_t value)
{
    CHECK(offset + 4 <= PCI_CONFIG_SIZE);
    put(&f->config[offset], value, 4);
}

void pci_function_init(struct pci_function *f, const char *name, uint16_t vendor, uint16_t device,
                       uint8_t revision, uint32_t class_code, uint8_t interrupt_pin)
{
    CHECK(interrupt_pin <= 4);
    f->name = name;
    f->capability_end = FIRST_CAPABILITY;
    pci_set_u16(f, PCI_VENDOR_ID, vendor, 0);
    pci_set_u16(f, PCI_DEVICE_ID, device, 0);
    pci_set_u16(f, PCI_COMMAND, 0, 0x0547);
    put(&f->write_one_clears[PCI_STATUS], PCI_STATUS_ERRORS, 2);
    pci_set_u32(f, PCI_REVISION_ID, class_code << 8 | revision, 0);
    pci_set_u16(f, 0x0c, 0, 0xffff); /* cache line size, latency timer */
    pci_set_u16(f, PCI_SUBSYSTEM_VENDOR_ID, SUBSYSTEM_VENDOR, 0);
    pci_set_u16(f, PCI_SUBSYSTEM_ID, SUBSYSTEM_ID, 0);
    pci_set_u8(f, PCI_INTERRUPT_LINE, 0, 0xff);
    pci_set_u8(f, PCI_INTERRUPT_PIN, interrupt_pin, 0);
}

static unsigned bar_offset(unsigned bar)
{
    return bar == PCI_BAR_ROM ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * bar;
}

static void check_bar(unsigned bar, enum pci_bar_kind kind, uint64_t size)
{
    CHECK(bar < PCI_BAR_COUNT && kind != PCI_BAR_NONE);
    CHECK((size & (size - 1)) == 0);
    if (bar == PCI_BAR_ROM) {
        CHECK(kind == PCI_BAR_MEM32 && size >= 2048 && size <= 1u << 24);
        return;
    }
    if (bar_types[kind].wide)
        CHECK(bar < 5 && size >= 16 && size <= 1ull << 40);
    else if (bar_types[kind].io)
        CHECK(size >= 4 && size <= 256);
    else
        CHECK(size >= 16 && size <= 1u << 31);
}

void pci_set_bar(struct pci_function *f, unsigned bar, enum pci_bar_kind kind, uint64_t size,
                 const struct bus_region_ops *ops, void *device)
{
    uint64_t address_bits = ~(size - 1);

    check_bar(bar, kind, size);
    CHECK(ops == NULL || !bar_types[kind].io || ops->max_size <= 4);
    f->bars[bar] = (struct pci_bar){.kind = kind, .size = size, .ops = ops, .device = device};
    if (bar == PCI_BAR_ROM)
        pci_set_u32(f, PCI_ROM_ADDRESS, 0, (uint32_t)address_bits | BAR_ROM_ENABLE);
    else
        pci_set_u32(f, bar_offset(bar), bar_types[kind].fixed, (uint32_t)address_bits);
    if (bar_types[kind].wide)
        pci_set_u32(f, bar_offset(bar + 1), 0, (uint32_t)(address_bits >> 32));
}

unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned length)
{
    unsigned offset = f->capability_end;
    unsigned size = (unsigned)align_up(length, 4);

    CHECK(length >= 2);
    /* The last four bytes stay unused, so that capability_end fits its byte. */
    if (offset + size > PCI_CONFIG_SIZE - 4)
        return 0;
    f->capability_end = (uint8_t)(offset + size);
    pci_set_u8(f, offset, id, 0);
    pci_set_u8(f, offset + 1, f->config[PCI_CAPABILITY_LIST], 0);
    pci_set_u8(f, PCI_CAPABILITY_LIST, (uint8_t)offset, 0);
    f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    f->reset_values[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return offset;
}

/* Where the guest wants the BAR now, or NOT_MAPPED. */
static uint64_t bar_wanted(const struct pci_function *f, unsigned index)
{
    const struct pci_bar *bar = &f->bars[index];
    const struct bar_type *type = &bar_types[bar->kind];
    uint64_t base;
    uint8_t enable;

    if (bar->kind == PCI_BAR_NONE)
        return NOT_MAPPED;
    enable = type->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    if (!(f->config[PCI_COMMAND] & enable))
        return NOT_MAPPED;
    if (index == PCI_BAR_ROM && !(f->config[PCI_ROM_ADDRESS] & BAR_ROM_ENABLE))
        return NOT_MAPPED;
    base = pci_get_u32(f, bar_offset(index));
    if (type->wide)
        base |= (uint64_t)pci_get_u32(f, bar_offset(index + 1)) << 32;
    base = align_down(base, bar->size);
    if (base == 0 || base > type->limit - bar->size)
        return NOT_MAPPED;
    return base;
}

static void unmap_bar(struct pci_function *f, unsigned index)
{
    struct pci_bar *bar = &f->bars[index];

    bar->mapped = false;
    if (bar->ops == NULL) {
        if (f->bar_moved != NULL)
            f->bar_moved(f, index, bar->base, false);
    } else if (bar_types[bar->kind].io) {
        bus_remove_ports(f->host->bus, (uint16_t)bar->base);
    } else {
        bus_remove_mmio(f->host->bus, gpa(bar->base));
    }
}

static void map_bar(struct pci_function *f, unsigned index, uint64_t base)
{
    struct pci_bar *bar = &f->bars[index];
    struct bus *bus = f->host->bus;
    struct error err = {0};

    if (bar->ops == NULL)
        bar->mapped = true;
    else if (bar_types[bar->kind].io)
        bar->mapped =
            bus_add_ports(bus, (uint16_t)base, (unsigned)bar->size, bar->ops, bar->device, &err);
    else
        bar->mapped = bus_add_mmio(bus, gpa(base), bar->size, bar->ops, bar->device, &err);
    if (!bar->mapped) {
        LOG(f->log, LOG_GUEST_ERROR, "pci: BAR %u of %s stays unmapped: %s\n", index, f->name,
            err.text);
        return;
    }
    bar->base = base;
    if (bar->ops == NULL && f->bar_moved != NULL)
        f->bar_moved(f, index, base, true);
}

/* Brings the bus in line with all BARs. First everything leaves that is in the wrong place, then
 * what is missing arrives: thus a BAR that found its place taken gets it once it is free. */
static void update_bars(struct pci_host *h)
{
    for (unsigned n = 0; n < ARRAY_SIZE(h->functions); n++) {
        struct pci_function *f = h->functions[n];
        for (unsigned i = 0; f != NULL && i < PCI_BAR_COUNT; i++) {
            if (f->bars[i].mapped && f->bars[i].base != bar_wanted(f, i))
                unmap_bar(f, i);
        }
    }
    for (unsigned n = 0; n < ARRAY_SIZE(h->functions); n++) {
        struct pci_function *f = h->functions[n];
        for (unsigned i = 0; f != NULL && i < PCI_BAR_COUNT; i++) {
            uint64_t base = bar_wanted(f, i);
            if (!f->bars[i].mapped && base != NOT_MAPPED)
                map_bar(f, i, base);
        }
    }
}

bool pci_add_function(struct pci_host *h, struct pci_function *f, uint8_t devfn, struct error *err)
{
    unsigned first = devfn & ~7u;

    if (h->functions[devfn] != NULL)
        return error_set(err, "PCI function 00:%02x.%u is taken by %s, no place for %s", devfn >> 3,
                         devfn & 7u, h->functions[devfn]->name, f->name);
    f->host = h;
    f->log = h->log;
    f->devfn = devfn;
    h->functions[devfn] = f;
    for (unsigned other = first + 1; other < first + 8 && h->functions[first] != NULL; other++) {
        if (h->functions[other] == NULL)
            continue;
        h->functions[first]->config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
        h->functions[first]->reset_values[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNCTION;
    }
    update_bars(h);
    pci_update_interrupts(h);
    return true;
}

void pci_remove_function(struct pci_function *f)
{
    struct pci_host *h = f->host;

    if (h == NULL)
        return;
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        if (f->bars[i].mapped)
            unmap_bar(f, i);
    }
    CHECK(h->functions[f->devfn] == f);
    h->functions[f->devfn] = NULL;
    f->host = NULL;
    update_bars(h);
    pci_update_interrupts(h);
}

static void show_intx(struct pci_function *f)
{
    f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    if (f->intx)
        f->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
}

void pci_set_intx(struct pci_function *f, bool level)
{
    if (f->intx == level)
        return;
    f->intx = level;
    show_intx(f);
    if (f->host != NULL)
        pci_update_interrupts(f->host);
}

void pci_function_reset(struct pci_function *f)
{
    memcpy(f->config, f->reset_values, sizeof(f->config));
    f->intx = false;
    if (f->host != NULL) {
        update_bars(f->host);
        pci_update_interrupts(f->host);
    }
}

/* The writable bits of what was loaded; the rest is the function's own. */
static void take_loaded(struct pci_function *f, const uint8_t *loaded)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t mask = f->writable[i] | f->write_one_clears[i];
        f->config[i] = (uint8_t)((f->config[i] & ~mask) | (loaded[i] & mask));
    }
    show_intx(f);
    if (f->host != NULL)
        update_bars(f->host);
}

void pci_function_serialize(struct pci_function *f, struct state *s)
{
    uint8_t bytes[PCI_CONFIG_SIZE];

    memcpy(bytes, f->config, sizeof(bytes));
    state_bytes(s, bytes, sizeof(bytes));
    state_bool(s, &f->intx);
    state_check(s, memcmp(bytes, f->config, 4) == 0, "a PCI function of another kind was saved");
    if (state_is_loading(s) && !state_failed(s))
        take_loaded(f, bytes);
}

uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    CHECK(offset + size <= PCI_CONFIG_SIZE);
    if (f->config_read != NULL)
        f->config_read(f, offset, size);
    return get(&f->config[offset], size);
}

static bool touches(unsigned offset, unsigned size, unsigned first, unsigned end)
{
    return offset < end && offset + size > first;
}

void pci_config_write(struct pci_function *f, unsigned offset, uint32_t value, unsigned size)
{
    CHECK(offset + size <= PCI_CONFIG_SIZE);
    for (unsigned i = 0; i < size; i++) {
        uint8_t *byte = &f->config[offset + i];
        uint8_t mask = f->writable[offset + i];
        uint8_t written = (uint8_t)(value >> 8 * i);
        *byte = (uint8_t)((*byte & ~mask) | (written & mask));
        *byte &= (uint8_t) ~(written & f->write_one_clears[offset + i]);
    }
    if (f->host != NULL) {
        if (touches(offset, size, PCI_COMMAND, PCI_STATUS) ||
            touches(offset, size, PCI_BASE_ADDRESS_0, 0x28) ||
            touches(offset, size, PCI_ROM_ADDRESS, 0x34))
            update_bars(f->host);
        if (touches(offset, size, PCI_COMMAND, PCI_STATUS))
            pci_update_interrupts(f->host);
    }
    if (f->config_written != NULL)
        f->config_written(f, offset, size);
}
