#include "devices/ioapic.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

/* Memory-mapped registers, offsets in the page */
#define IOREGSEL 0x00
#define IOWIN    0x10
#define EOIR     0x40
/* Indirect registers */
#define IOAPICID  0x00
#define IOAPICVER 0x01
#define IOAPICARB 0x02
#define IOREDTBL  0x10 /* two for each pin, low half first */

#define ID_SHIFT       24
#define RTE_DEST_SHIFT 56
#define RTE_WRITABLE   0xff0000000001afffull /* not delivery status and remote IRR */

static bool rte_is_level(uint64_t rte)
{
    unsigned mode = bits_get(rte, 8, 3);

    /* Table in 3.2.4: the other modes are treated as edge triggered. */
    return (rte & IOAPIC_RTE_LEVEL) && mode <= APIC_DELIVERY_LOWEST;
}

static void pin_deliver(struct ioapic *ioapic, unsigned pin)
{
    uint64_t rte = ioapic->rte[pin];
    uint32_t destination = rte >> RTE_DEST_SHIFT;
    bool logical = (rte & IOAPIC_RTE_LOGICAL) != 0;
    struct apic_message message = {
        .vector = rte & IOAPIC_RTE_VECTOR,
        .delivery_mode = bits_get(rte, 8, 3),
        .logical = logical,
        .level_triggered = rte_is_level(rte),
        .assert = true,
        .destination = !logical && destination == 0xff ? APIC_DESTINATION_ALL : destination,
    };

    LOG(ioapic->log, LOG_INT, "ioapic: pin %u sends vector %02x mode %u to %02x\n", pin,
        message.vector, message.delivery_mode, destination);
    ioapic->deliver(ioapic->deliver_opaque, &message);
}

/* A level pin that is high, not masked and not in service sends its message. */
static void pin_evaluate_level(struct ioapic *ioapic, unsigned pin)
{
    uint64_t rte = ioapic->rte[pin];

    if (!rte_is_level(rte) || (rte & (IOAPIC_RTE_MASK | IOAPIC_RTE_REMOTE_IRR)) ||
        !(ioapic->lines & BIT(pin)))
        return;
    ioapic->rte[pin] |= IOAPIC_RTE_REMOTE_IRR;
    pin_deliver(ioapic, pin);
}

void ioapic_set_irq(void *opaque, unsigned pin, bool level)
{
    struct ioapic *ioapic = opaque;
    bool before;

    CHECK(pin < IOAPIC_PIN_COUNT);
    before = (ioapic->lines & BIT(pin)) != 0;
    ioapic->lines = level ? ioapic->lines | BIT(pin) : ioapic->lines & ~BIT(pin);
    if (rte_is_level(ioapic->rte[pin]))
        pin_evaluate_level(ioapic, pin);
    else if (level && !before && !(ioapic->rte[pin] & IOAPIC_RTE_MASK))
        pin_deliver(ioapic, pin); /* edges on a masked pin are lost: 3.2.4, interrupt mask */
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++) {
        if ((ioapic->rte[pin] & IOAPIC_RTE_VECTOR) != vector ||
            !(ioapic->rte[pin] & IOAPIC_RTE_REMOTE_IRR))
            continue;
        ioapic->rte[pin] &= ~IOAPIC_RTE_REMOTE_IRR;
        pin_evaluate_level(ioapic, pin);
    }
}

static uint32_t ioapic_read_register(struct ioapic *ioapic)
{
    unsigned index = ioapic->select;

    if (index >= IOREDTBL && index < IOREDTBL + 2 * IOAPIC_PIN_COUNT)
        return ioapic->rte[(index - IOREDTBL) / 2] >> (index & 1 ? 32 : 0);
    switch (index) {
    case IOAPICID:
    case IOAPICARB:
        return (uint32_t)ioapic->id << ID_SHIFT;
    case IOAPICVER:
        return IOAPIC_VERSION | (IOAPIC_PIN_COUNT - 1) << 16;
    default:
        LOG(ioapic->log, LOG_GUEST_ERROR, "ioapic: read of register %02x\n", index);
        return 0;
    }
}

static void ioapic_write_rte(struct ioapic *ioapic, unsigned index, uint32_t value)
{
    unsigned pin = (index - IOREDTBL) / 2;
    unsigned shift = index & 1 ? 32 : 0;
    uint64_t writable = RTE_WRITABLE & (0xffffffffull << shift);
    uint64_t rte = (ioapic->rte[pin] & ~writable) | ((uint64_t)value << shift & writable);

    if (!rte_is_level(rte)) /* an edge-triggered pin has no remote IRR */
        rte &= ~IOAPIC_RTE_REMOTE_IRR;
    ioapic->rte[pin] = rte;
    pin_evaluate_level(ioapic, pin);
}

static void ioapic_write_register(struct ioapic *ioapic, uint32_t value)
{
    unsigned index = ioapic->select;

    if (index >= IOREDTBL && index < IOREDTBL + 2 * IOAPIC_PIN_COUNT)
        ioapic_write_rte(ioapic, index, value);
    else if (index == IOAPICID)
        ioapic->id = value >> ID_SHIFT & 0x0f;
    else
        LOG(ioapic->log, LOG_GUEST_ERROR, "ioapic: write of register %02x\n", index);
}

/* The registers are dwords; of the index register the low byte alone may be accessed. */
static uint64_t ioapic_read(void *device, uint64_t offset, unsigned size)
{
    struct ioapic *ioapic = device;

    if (offset == IOREGSEL)
        return ioapic->select;
    if (offset == IOWIN)
        return ioapic_read_register(ioapic) & size_mask(size);
    LOG(ioapic->log, LOG_GUEST_ERROR, "ioapic: read at %03x\n", (unsigned)offset);
    return 0;
}

static void ioapic_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct ioapic *ioapic = device;

    if (offset == IOREGSEL)
        ioapic->select = value;
    else if (offset == IOWIN && size == 4)
        ioapic_write_register(ioapic, value);
    else if (offset == EOIR)
        ioapic_eoi(ioapic, value);
    else
        LOG(ioapic->log, LOG_GUEST_ERROR, "ioapic: write of %u bytes at %03x\n", size,
            (unsigned)offset);
}

static const struct bus_region_ops ioapic_ops = {"ioapic", ioapic_read, ioapic_write, 4};

struct ioapic *ioapic_create(struct bus *bus, struct log *log,
                             void (*deliver)(void *opaque, const struct apic_message *message),
                             void *opaque, struct error *err)
{
    struct ioapic *ioapic = host_alloc(sizeof(*ioapic));

    ioapic->bus = bus;
    ioapic->log = log;
    ioapic->deliver = deliver;
    ioapic->deliver_opaque = opaque;
    ioapic_reset(ioapic);
    if (!bus_add_mmio(bus, gpa(IOAPIC_BASE), IOAPIC_SIZE, &ioapic_ops, ioapic, err)) {
        free(ioapic);
        return NULL;
    }
    return ioapic;
}

void ioapic_destroy(struct ioapic *ioapic)
{
    if (ioapic == NULL)
        return;
    bus_remove_mmio(ioapic->bus, gpa(IOAPIC_BASE));
    free(ioapic);
}

void ioapic_reset(struct ioapic *ioapic)
{
    ioapic->select = 0;
    ioapic->id = 0;
    for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++)
        ioapic->rte[pin] = IOAPIC_RTE_MASK;
}

void ioapic_serialize(struct ioapic *ioapic, struct state *s)
{
    state_section(s, "ioapic", 1);
    state_u8(s, &ioapic->select);
    state_u8(s, &ioapic->id);
    state_u32(s, &ioapic->lines);
    state_check(s, ioapic->id < 16, "the id of the I/O APIC is out of range");
    state_check(s, ioapic->lines < BIT(IOAPIC_PIN_COUNT), "the I/O APIC has too many pins");
    for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++) {
        state_u64(s, &ioapic->rte[pin]);
        state_check(s, (ioapic->rte[pin] & ~(RTE_WRITABLE | IOAPIC_RTE_REMOTE_IRR)) == 0,
                    "a redirection entry holds reserved bits");
    }
}
