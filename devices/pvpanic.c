#include "devices/pvpanic.h"

#include "base/host/host.h"

#include <stdlib.h>

static uint64_t pvpanic_read(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return PVPANIC_EVENTS;
}

static void pvpanic_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct pvpanic *p = device;
    uint8_t events = value & PVPANIC_EVENTS;

    (void)offset;
    (void)size;
    if (value & ~(uint64_t)PVPANIC_EVENTS)
        LOG(p->log, LOG_GUEST_ERROR, "pvpanic: unknown events %02x\n", (unsigned)value);
    if (events != 0 && p->notify != NULL)
        p->notify(p->opaque, events);
}

static const struct bus_region_ops pvpanic_ops = {"pvpanic", pvpanic_read, pvpanic_write, 1};

struct pvpanic *pvpanic_create(struct bus *bus, struct log *log,
                               void (*notify)(void *opaque, uint8_t events), void *opaque,
                               struct error *err)
{
    struct pvpanic *p = host_alloc(sizeof(*p));

    p->bus = bus;
    p->log = log;
    p->notify = notify;
    p->opaque = opaque;
    if (!bus_add_ports(bus, PVPANIC_PORT, 1, &pvpanic_ops, p, err)) {
        free(p);
        return NULL;
    }
    return p;
}

void pvpanic_reset(struct pvpanic *p)
{
    (void)p;
}

void pvpanic_serialize(struct pvpanic *p, struct state *s)
{
    (void)p;
    state_section(s, "pvpanic", 1);
}

void pvpanic_destroy(struct pvpanic *p)
{
    if (p == NULL)
        return;
    bus_remove_ports(p->bus, PVPANIC_PORT);
    free(p);
}
