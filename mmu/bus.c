#include "mmu/bus.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"
#include "base/log.h"
#include "mmu/guest_access.h"
#include "mmu/memory.h"
#include "mmu/mmu.h"
#include "mmu/p2m.h"
#include "mmu/patch.h"

#include <stdlib.h>
#include <string.h>

#define PORT_COUNT 65536u

struct region {
    uint64_t base; /* of the MMIO space, or a port */
    uint64_t size; /* bytes, or ports; base + size does not wrap */
    const struct bus_region_ops *ops;
    void *device;
};

struct bus {
    struct machine_memory *memory;
    struct p2m *p2m; /* NULL: bare */
    struct log *log;
    struct region *mmio; /* sorted by base, no two overlap */
    unsigned mmio_count;
    unsigned mmio_capacity;
    unsigned last;         /* index of the MMIO region that answered last: a guess */
    struct region **ports; /* PORT_COUNT pointers, NULL where nobody answers */
    uint64_t unclaimed;
};

struct bus *bus_create(struct machine_memory *memory, struct log *log)
{
    struct bus *bus = host_alloc(sizeof(*bus));

    bus->memory = memory;
    bus->log = log;
    bus->ports = host_alloc_lazy(PORT_COUNT * sizeof(*bus->ports));
    return bus;
}

void bus_destroy(struct bus *bus)
{
    if (bus == NULL)
        return;
    for (unsigned port = 0; port < PORT_COUNT; port++)
        bus_remove_ports(bus, (uint16_t)port);
    p2m_destroy(bus->p2m);
    host_free_lazy(bus->ports, PORT_COUNT * sizeof(*bus->ports));
    free(bus->mmio);
    free(bus);
}

void bus_set_p2m(struct bus *bus, struct p2m *p2m)
{
    struct p2m *old = bus->p2m;

    CHECK(p2m == NULL || (p2m->bus == NULL && p2m->memory == bus->memory));
    bus->p2m = p2m;
    if (p2m != NULL)
        p2m->bus = bus;
    for (unsigned n = 0; n < bus->memory->context_end; n++) {
        struct mmu_context *m = bus->memory->contexts[n];

        if (m == NULL || m->bus != bus)
            continue;
        mmu_flush_all(m);
        m->p2m = p2m;
    }
    p2m_destroy(old);
}

struct p2m *bus_p2m(const struct bus *bus)
{
    return bus->p2m;
}

uint64_t bus_unclaimed_count(const struct bus *bus)
{
    return bus->unclaimed;
}

static void unclaimed(struct bus *bus, const char *what, uint64_t address, uint64_t size)
{
    bus->unclaimed++;
    if (bus->log != NULL)
        LOG(bus->log, LOG_GUEST_ERROR, "bus: nobody answers a %s of %llu bytes at %#llx\n", what,
            (unsigned long long)size, (unsigned long long)address);
}

/* The index of the first region that ends above the address; mmio_count if there is none. */
static unsigned region_after(const struct bus *bus, uint64_t address)
{
    unsigned low = 0, high = bus->mmio_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct region *r = &bus->mmio[middle];

        if (address - r->base < r->size || address < r->base)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The region that holds the address, or NULL. */
static struct region *region_at(struct bus *bus, uint64_t address)
{
    unsigned i = bus->last;

    if (i < bus->mmio_count && address - bus->mmio[i].base < bus->mmio[i].size)
        return &bus->mmio[i];
    i = region_after(bus, address);
    if (i == bus->mmio_count || address < bus->mmio[i].base)
        return NULL;
    bus->last = i;
    return &bus->mmio[i];
}

/* What a device or DMA sees there, never SMRAM; and at which machine address. */
static enum frame_kind kind_at(const struct bus *bus, uint64_t address, mpa_t *at)
{
    enum frame_kind kind;

    if (!p2m_find(bus->p2m, gpa(address), at))
        return FRAME_HOLE;
    kind = machine_memory_kind(bus->memory, *at);
    return kind == FRAME_SMRAM ? FRAME_HOLE : kind;
}

/* Where the VM's map leads to memory for the first time at or behind the address; UINT64_MAX:
 * nowhere below `end`. */
static uint64_t next_mapped(const struct bus *bus, uint64_t address, uint64_t end)
{
    mpa_t at;

    end = MIN(end, bus->p2m->pages << PAGE_SHIFT);
    for (uint64_t a = address; a < end; a = (a & PAGE_MASK) + PAGE_SIZE)
        if (kind_at(bus, a, &at) != FRAME_HOLE)
            return a;
    return UINT64_MAX;
}

/* Does some page of [base, base + size) hold RAM or ROM? */
static bool overlaps_memory(const struct bus *bus, uint64_t base, uint64_t size)
{
    const struct machine_memory *m = bus->memory;

    if (bus->p2m != NULL)
        return next_mapped(bus, base, base + size) != UINT64_MAX;
    for (unsigned i = 0; i < m->range_count; i++) {
        uint64_t start = m->ranges[i].start.v;

        if (m->ranges[i].kind != FRAME_SMRAM && base < start + m->ranges[i].size &&
            start < base + size)
            return true;
    }
    return false;
}

bool bus_add_mmio(struct bus *bus, gpa_t base, uint64_t size, const struct bus_region_ops *ops,
                  void *device, struct error *err)
{
    unsigned at = region_after(bus, base.v);

    CHECK(ops->max_size == 1 || ops->max_size == 2 || ops->max_size == 4 || ops->max_size == 8);
    if (size == 0 || base.v + size < base.v)
        return error_set(err, "%s at %#llx: a region of %#llx bytes is empty or too large",
                         ops->name, (unsigned long long)base.v, (unsigned long long)size);
    if (overlaps_memory(bus, base.v, size))
        return error_set(err, "%s at %#llx, %#llx bytes: overlaps RAM or ROM", ops->name,
                         (unsigned long long)base.v, (unsigned long long)size);
    if (at < bus->mmio_count && bus->mmio[at].base < base.v + size)
        return error_set(err, "%s at %#llx, %#llx bytes: overlaps %s at %#llx", ops->name,
                         (unsigned long long)base.v, (unsigned long long)size,
                         bus->mmio[at].ops->name, (unsigned long long)bus->mmio[at].base);
    if (bus->mmio_count == bus->mmio_capacity) {
        bus->mmio_capacity = MAX(16u, bus->mmio_capacity * 2);
        bus->mmio = realloc(bus->mmio, bus->mmio_capacity * sizeof(*bus->mmio));
        CHECK(bus->mmio != NULL);
    }
    memmove(&bus->mmio[at + 1], &bus->mmio[at], (bus->mmio_count - at) * sizeof(*bus->mmio));
    bus->mmio[at] = (struct region){base.v, size, ops, device};
    bus->mmio_count++;
    return true;
}

void bus_remove_mmio(struct bus *bus, gpa_t base)
{
    unsigned at = region_after(bus, base.v);

    if (at == bus->mmio_count || bus->mmio[at].base != base.v)
        return;
    bus->mmio_count--;
    memmove(&bus->mmio[at], &bus->mmio[at + 1], (bus->mmio_count - at) * sizeof(*bus->mmio));
}

bool bus_add_ports(struct bus *bus, uint16_t first, unsigned count,
                   const struct bus_region_ops *ops, void *device, struct error *err)
{
    struct region *r;

    CHECK(ops->max_size == 1 || ops->max_size == 2 || ops->max_size == 4);
    if (count == 0 || first + count > PORT_COUNT)
        return error_set(err, "%s at port %#x: %u ports do not fit", ops->name, first, count);
    for (unsigned port = first; port < first + count; port++)
        if (bus->ports[port] != NULL)
            return error_set(err, "%s at ports %#x to %#x: overlaps %s at port %#x", ops->name,
                             first, first + count - 1, bus->ports[port]->ops->name, port);
    r = host_alloc(sizeof(*r));
    *r = (struct region){first, count, ops, device};
    for (unsigned port = first; port < first + count; port++)
        bus->ports[port] = r;
    return true;
}

void bus_remove_ports(struct bus *bus, uint16_t first)
{
    struct region *r = bus->ports[first];

    if (r == NULL || r->base != first)
        return;
    for (unsigned port = first; port < first + r->size; port++)
        bus->ports[port] = NULL;
    free(r);
}

/* The widest naturally aligned piece at `offset` of at most `limit` and `most` bytes. */
static unsigned piece_size(uint64_t offset, unsigned limit, uint64_t most)
{
    unsigned size = limit;

    while (size > most || (offset & (size - 1)) != 0)
        size /= 2;
    return size;
}

/* --- Ports --- */

/* The region of a port and the width of the piece to hand to it; NULL: nobody, one byte. */
static const struct region *port_piece(const struct bus *bus, unsigned port, unsigned left,
                                       unsigned *size)
{
    const struct region *r = port < PORT_COUNT ? bus->ports[port] : NULL;
    uint64_t room;

    *size = 1;
    if (r == NULL)
        return NULL;
    room = r->base + r->size - port;
    if (left <= r->ops->max_size && left <= room && (left & (left - 1)) == 0)
        *size = left;
    else
        *size = piece_size(port, r->ops->max_size, MIN(left, room));
    return r;
}

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size)
{
    uint32_t value = 0;
    bool answered = false;

    for (unsigned done = 0, n; done < size; done += n) {
        const struct region *r = port_piece(bus, port + done, size - done, &n);
        uint64_t piece = UINT64_MAX;

        if (r != NULL) {
            piece = r->ops->read(r->device, port + done - r->base, n);
            answered = true;
        }
        value |= (uint32_t)((piece & size_mask(n)) << 8 * done);
    }
    if (!answered)
        unclaimed(bus, "port read", port, size);
    return value;
}

void bus_port_write(struct bus *bus, uint16_t port, uint32_t value, unsigned size)
{
    bool answered = false;

    for (unsigned done = 0, n; done < size; done += n) {
        const struct region *r = port_piece(bus, port + done, size - done, &n);

        if (r == NULL)
            continue;
        r->ops->write(r->device, port + done - r->base, value >> 8 * done & size_mask(n), n);
        answered = true;
    }
    if (!answered)
        unclaimed(bus, "port write", port, size);
}

/* --- Memory and MMIO --- */

/* Bytes from a hole's address to the next region or memory, at most length. */
static uint64_t hole_length(const struct bus *bus, uint64_t address, uint64_t length)
{
    const struct machine_memory *m = bus->memory;
    unsigned next = region_after(bus, address);

    if (next < bus->mmio_count)
        length = MIN(length, bus->mmio[next].base - address);
    if (bus->p2m != NULL) {
        uint64_t mapped = next_mapped(bus, address, address + length);

        return mapped != UINT64_MAX ? mapped - address : length;
    }
    for (unsigned i = 0; i < m->range_count; i++)
        if (m->ranges[i].kind != FRAME_SMRAM && m->ranges[i].start.v > address)
            length = MIN(length, m->ranges[i].start.v - address);
    return length;
}

static uint64_t region_read(const struct region *r, uint64_t address, unsigned size)
{
    return r->ops->read(r->device, address - r->base, size) & size_mask(size);
}

/* Reads up to 8 bytes of a region's contents at the address; returns how many. */
static unsigned read_piece(const struct region *r, uint64_t address, uint64_t length, void *buffer)
{
    uint64_t offset = address - r->base;
    unsigned n = piece_size(offset, r->ops->max_size, MIN(length, r->size - offset));
    uint64_t value = htole64(region_read(r, address, n));

    memcpy(buffer, &value, n);
    return n;
}

static unsigned write_piece(const struct region *r, uint64_t address, uint64_t length,
                            const void *buffer)
{
    uint64_t offset = address - r->base, value = 0;
    unsigned n = piece_size(offset, r->ops->max_size, MIN(length, r->size - offset));

    memcpy(&value, buffer, n);
    r->ops->write(r->device, offset, le64toh(value), n);
    return n;
}

/* Bytes from the address to the end of its page, at most length. */
static uint64_t page_room(uint64_t address, uint64_t length)
{
    return MIN(length, PAGE_SIZE - (address & ~PAGE_MASK));
}

/* Bytes from the address to the top of the address space, at most length. */
static uint64_t clip_top(uint64_t address, uint64_t length)
{
    return address != 0 ? MIN(length, 0 - address) : length;
}

bool bus_read(struct bus *bus, gpa_t addr, void *buffer, size_t length)
{
    uint8_t *out = buffer;
    uint64_t a = addr.v, left = clip_top(a, length), n;
    bool answered = left == length;

    memset(out + left, 0xff, length - left);
    for (; left > 0; a += n, out += n, left -= n) {
        const struct region *r;
        mpa_t at;

        if (kind_at(bus, a, &at) != FRAME_HOLE) {
            n = page_room(a, left);
            guest_copy_out(out, machine_memory_host(bus->memory, at), n);
            continue;
        }
        r = region_at(bus, a);
        if (r != NULL) {
            n = read_piece(r, a, left, out);
            continue;
        }
        n = hole_length(bus, a, left);
        memset(out, 0xff, n);
        unclaimed(bus, "read", a, n);
        answered = false;
    }
    return answered;
}

/* to_rom: ROM takes the bytes; else it ignores them. */
static bool write_all(struct bus *bus, uint64_t a, const uint8_t *in, size_t length, bool to_rom)
{
    uint64_t left = clip_top(a, length), n;
    bool answered = left == length;

    for (; left > 0; a += n, in += n, left -= n) {
        mpa_t at;
        enum frame_kind kind = kind_at(bus, a, &at);
        const struct region *r;

        if (kind != FRAME_HOLE) {
            n = page_room(a, left);
            if (kind == FRAME_ROM && !to_rom)
                continue;
            machine_memory_prepare_write(bus->memory, at);
            machine_memory_device_begin(bus->memory, at, (unsigned)n);
            guest_copy_in(machine_memory_host(bus->memory, at), in, n);
            machine_memory_finish_write(bus->memory, PATCH_EVENT_LOOP, at, (unsigned)n);
            machine_memory_device_end(bus->memory);
            continue;
        }
        r = region_at(bus, a);
        if (r != NULL) {
            n = write_piece(r, a, left, in);
            continue;
        }
        n = hole_length(bus, a, left);
        unclaimed(bus, "write", a, n);
        answered = false;
    }
    return answered;
}

bool bus_write(struct bus *bus, gpa_t addr, const void *buffer, size_t length)
{
    return write_all(bus, addr.v, buffer, length, false);
}

bool bus_load(struct bus *bus, gpa_t addr, const void *buffer, size_t length)
{
    return write_all(bus, addr.v, buffer, length, true);
}

/* True if the region takes the access as it is. */
static bool takes_whole(const struct region *r, uint64_t address, unsigned size)
{
    uint64_t offset = address - r->base;

    return size <= r->ops->max_size && (offset & (size - 1)) == 0 && size <= r->size - offset;
}

uint64_t bus_mmio_read(struct bus *bus, gpa_t addr, unsigned size)
{
    const struct region *r = region_at(bus, addr.v);
    uint64_t value = 0;

    if (likely(r != NULL && takes_whole(r, addr.v, size)))
        return region_read(r, addr.v, size);
    bus_read(bus, addr, &value, size);
    return le64toh(value);
}

void bus_mmio_write(struct bus *bus, gpa_t addr, uint64_t value, unsigned size)
{
    const struct region *r = region_at(bus, addr.v);

    if (likely(r != NULL && takes_whole(r, addr.v, size))) {
        r->ops->write(r->device, addr.v - r->base, value & size_mask(size), size);
        return;
    }
    value = htole64(value);
    bus_write(bus, addr, &value, size);
}

/* --- For people --- */

static struct bus_region_info region_info(const struct region *r)
{
    return (struct bus_region_info){.name = r->ops->name, .base = r->base, .size = r->size};
}

bool bus_mmio_region(const struct bus *bus, unsigned n, struct bus_region_info *info)
{
    if (n >= bus->mmio_count)
        return false;
    *info = region_info(&bus->mmio[n]);
    return true;
}

bool bus_port_region(const struct bus *bus, uint32_t *cursor, struct bus_region_info *info)
{
    while (*cursor < PORT_COUNT && bus->ports[*cursor] == NULL)
        ++*cursor;
    if (*cursor >= PORT_COUNT)
        return false;
    *info = region_info(bus->ports[*cursor]);
    *cursor = (uint32_t)(info->base + info->size);
    return true;
}
