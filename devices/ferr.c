#include "devices/ferr.h"

#include "base/bits.h"
#include "base/host/host.h"

#include <stdlib.h>

static void set_level(struct ferr *f, bool level)
{
    if (level == f->level)
        return;
    f->level = level;
    irq_set(&f->irq, level);
}

static uint64_t ferr_read(void *device, uint64_t offset, unsigned size)
{
    (void)device, (void)offset;
    return size_mask(size); /* write only */
}

static void ferr_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct ferr *f = device;

    (void)offset, (void)value, (void)size;
    set_level(f, false);
    if (f->ignne != NULL)
        f->ignne(f->opaque);
}

static const struct bus_region_ops ferr_ops = {"ferr", ferr_read, ferr_write, 1};

struct ferr *ferr_create(struct bus *bus, struct irq_line irq, void (*ignne)(void *opaque),
                         void *opaque, struct error *err)
{
    struct ferr *f = host_alloc(sizeof(*f));

    f->bus = bus;
    f->irq = irq;
    f->ignne = ignne;
    f->opaque = opaque;
    if (!bus_add_ports(bus, FERR_PORT, 1, &ferr_ops, f, err)) {
        free(f);
        return NULL;
    }
    return f;
}

void ferr_raise(struct ferr *f)
{
    set_level(f, true);
}

void ferr_reset(struct ferr *f)
{
    set_level(f, false);
}

void ferr_destroy(struct ferr *f)
{
    if (f == NULL)
        return;
    bus_remove_ports(f->bus, FERR_PORT);
    free(f);
}

void ferr_serialize(struct ferr *f, struct state *s)
{
    state_section(s, "ferr", 1);
    state_bool(s, &f->level);
}
