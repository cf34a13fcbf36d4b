#include "devices/debugport.h"

#include "base/bits.h"
#include "base/host/host.h"

#include <stdlib.h>

static uint64_t debugport_read(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return DEBUGPORT_READBACK;
}

static void debugport_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct debugport *d = device;
    uint8_t byte = (uint8_t)value;

    (void)offset;
    (void)size;
    if (d->chardev != NULL)
        d->chardev->send(d->chardev, &byte, 1);
}

static const struct bus_region_ops debugport_ops = {"debug console", debugport_read,
                                                    debugport_write, 1};

struct debugport *debugport_create(struct bus *bus, uint16_t port, struct chardev *chardev,
                                   struct error *err)
{
    struct debugport *d = host_alloc(sizeof(*d));

    d->bus = bus;
    d->port = port;
    d->chardev = chardev;
    if (!bus_add_ports(bus, port, 1, &debugport_ops, d, err)) {
        free(d);
        return NULL;
    }
    return d;
}

void debugport_reset(struct debugport *d)
{
    (void)d;
}

void debugport_serialize(struct debugport *d, struct state *s)
{
    (void)d;
    state_section(s, "debugport", 1);
}

void debugport_destroy(struct debugport *d)
{
    if (d == NULL)
        return;
    bus_remove_ports(d->bus, d->port);
    free(d);
}

static uint64_t exitport_read(void *device, uint64_t offset, unsigned size)
{
    struct exitport *e = device;

    if (e->kind == EXITPORT_ISA_DEBUG)
        return 0;
    return (EXITPORT_SIGNATURE >> 8 * offset) & size_mask(size);
}

static void exitport_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct exitport *e = device;
    uint32_t status = (uint32_t)(value & size_mask(size));

    if (e->kind == EXITPORT_ISA_DEBUG) {
        status = status << 1 | 1;
    } else if (offset != 0) {
        LOG(e->log, LOG_GUEST_ERROR, "exit port: write at offset %u is ignored\n",
            (unsigned)offset);
        return;
    }
    LOG(e->log, LOG_DEVICE, "exit port: status %x\n", (unsigned)status);
    if (e->exit != NULL)
        e->exit(e->opaque, status);
}

static const struct bus_region_ops exitport_ops = {"exit port", exitport_read, exitport_write, 4};

static struct exitport *create_exit(struct bus *bus, struct log *log, const struct exitport *values,
                                    struct error *err)
{
    struct exitport *e = host_alloc(sizeof(*e));

    *e = *values;
    e->bus = bus;
    e->log = log;
    if (!bus_add_ports(bus, e->base, e->count, &exitport_ops, e, err)) {
        free(e);
        return NULL;
    }
    return e;
}

struct exitport *exitport_create_isa_debug(struct bus *bus, struct log *log, uint16_t base,
                                           unsigned count,
                                           void (*exit)(void *opaque, uint32_t status),
                                           void *opaque, struct error *err)
{
    struct exitport values = {
        .kind = EXITPORT_ISA_DEBUG, .base = base, .count = count, .exit = exit};

    values.opaque = opaque;
    if (count < 1 || count > 4 || base + count > 0x10000) {
        error_set(err, "isa-debug-exit: iobase 0x%x with iosize %u; it takes 1 to 4 ports", base,
                  count);
        return NULL;
    }
    return create_exit(bus, log, &values, err);
}

struct exitport *exitport_create(struct bus *bus, struct log *log,
                                 void (*exit)(void *opaque, uint32_t status), void *opaque,
                                 struct error *err)
{
    struct exitport values = {.kind = EXITPORT_OWN, .base = EXITPORT_BASE, .count = 4};

    values.exit = exit;
    values.opaque = opaque;
    return create_exit(bus, log, &values, err);
}

void exitport_reset(struct exitport *e)
{
    (void)e;
}

void exitport_serialize(struct exitport *e, struct state *s)
{
    (void)e;
    state_section(s, "exitport", 1);
}

void exitport_destroy(struct exitport *e)
{
    if (e == NULL)
        return;
    bus_remove_ports(e->bus, e->base);
    free(e);
}
