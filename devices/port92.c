#include "devices/port92.h"

#include "base/host/host.h"

#include <stdlib.h>

static uint64_t port92_read(void *device, uint64_t offset, unsigned size)
{
    struct port92 *p = device;

    (void)offset;
    (void)size;
    return p->value;
}

static void port92_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct port92 *p = device;
    uint8_t old = p->value;

    (void)offset;
    (void)size;
    p->value = (uint8_t)value;
    if ((old ^ p->value) & PORT92_A20)
        irq_set(&p->a20, (p->value & PORT92_A20) != 0);
    if ((p->value & ~old) & PORT92_FAST_RESET) {
        LOG(p->log, LOG_DEVICE, "port92: fast reset\n");
        if (p->reset != NULL)
            p->reset(p->opaque);
    }
}

static const struct bus_region_ops port92_ops = {"port92", port92_read, port92_write, 1};

struct port92 *port92_create(struct bus *bus, struct log *log, struct irq_line a20,
                             void (*reset)(void *opaque), void *opaque, struct error *err)
{
    struct port92 *p = host_alloc(sizeof(*p));

    p->bus = bus;
    p->log = log;
    p->a20 = a20;
    p->reset = reset;
    p->opaque = opaque;
    if (!bus_add_ports(bus, PORT92, 1, &port92_ops, p, err)) {
        free(p);
        return NULL;
    }
    return p;
}

void port92_reset(struct port92 *p)
{
    if (p->value & PORT92_A20)
        irq_set(&p->a20, false);
    p->value = 0;
}

void port92_destroy(struct port92 *p)
{
    if (p == NULL)
        return;
    bus_remove_ports(p->bus, PORT92);
    free(p);
}

void port92_serialize(struct port92 *p, struct state *s)
{
    state_section(s, "port92", 1);
    state_u8(s, &p->value);
}
