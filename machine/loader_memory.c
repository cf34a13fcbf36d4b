/* Guest memory during a boot: who takes what, and the parts that several protocols need. */
#include "base/bits.h"
#include "base/log.h"
#include "machine/loader_internal.h"
#include "mmu/bus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MIB 0x100000u

static bool in_ram(const struct loader_target *t, uint64_t start, uint64_t size)
{
    const struct {
        uint64_t start, end;
    } ram[] = {
        {0, LOADER_EBDA},
        {LOADER_HIGH, t->ram_below_4g},
        {LOADER_4G, LOADER_4G + t->ram_above_4g},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(ram); n++) {
        if (start >= ram[n].start && start <= ram[n].end && size <= ram[n].end - start)
            return true;
    }
    return false;
}

/* The claim that the range overlaps, or NULL. */
static const struct loader_claim *find_overlap(const struct loader *l, uint64_t start,
                                               uint64_t size)
{
    for (unsigned n = 0; n < l->claim_count; n++) {
        const struct loader_claim *c = &l->claims[n];

        if (start < c->end && c->start < start + size)
            return c;
    }
    return NULL;
}

static bool fail_no_ram(struct loader *l, uint64_t start, uint64_t size, const char *what)
{
    uint64_t ram = l->target->ram_below_4g + l->target->ram_above_4g;

    return error_set(l->err,
                     "%s: %s (address %#" PRIx64 ", %" PRIu64 " bytes) is not in the machine's "
                     "%" PRIu64 " MiB of memory%s",
                     l->kernel->name, what, start, size, ram / MIB,
                     start >= LOADER_HIGH ? "; a larger -m may help" : "");
}

bool loader_claim(struct loader *l, uint64_t start, uint64_t size, const char *what)
{
    const struct loader_claim *other;
    struct loader_claim *c = &l->claims[l->claim_count];

    if (size == 0)
        return true;
    if (!in_ram(l->target, start, size))
        return fail_no_ram(l, start, size, what);
    other = find_overlap(l, start, size);
    if (other != NULL)
        return error_set(l->err,
                         "%s: %s (address %#" PRIx64 ", %" PRIu64 " bytes) overlaps %s (address "
                         "%#" PRIx64 ", %" PRIu64 " bytes)",
                         l->kernel->name, what, start, size, other->what, other->start,
                         other->end - other->start);
    if (l->claim_count == LOADER_CLAIM_MAX)
        return error_set(l->err, "%s: more than %u parts to load", l->kernel->name,
                         LOADER_CLAIM_MAX);
    l->claim_count++;
    c->start = start;
    c->end = start + size;
    snprintf(c->what, sizeof(c->what), "%s", what);
    LOG(l->target->log, LOG_LOADER, "loader: %#" PRIx64 "-%#" PRIx64 " %s\n", start,
        start + size - 1, what);
    return true;
}

bool loader_put(struct loader *l, uint64_t address, const void *bytes, size_t length)
{
    if (bus_load(l->target->bus, gpa(address), bytes, length))
        return true;
    return error_set(l->err, "%s: no memory at %#" PRIx64 " to %#" PRIx64, l->kernel->name, address,
                     address + length - 1);
}

bool loader_clear(struct loader *l, uint64_t address, uint64_t length)
{
    static const uint8_t zeroes[65536];

    while (length > 0) {
        size_t part = (size_t)MIN(length, sizeof(zeroes));

        if (!loader_put(l, address, zeroes, part))
            return false;
        address += part;
        length -= part;
    }
    return true;
}

unsigned loader_memory_map(const struct loader *l, struct loader_range map[LOADER_MAP_MAX])
{
    const struct loader_target *t = l->target;
    const struct loader_range all[LOADER_MAP_MAX] = {
        {0, LOADER_EBDA, LOADER_RANGE_RAM},
        {LOADER_EBDA, LOADER_LEGACY_END - LOADER_EBDA, LOADER_RANGE_RESERVED},
        {LOADER_ACPI, LOADER_HIGH - LOADER_ACPI, LOADER_RANGE_RESERVED},
        {LOADER_HIGH, t->ram_below_4g - LOADER_HIGH, LOADER_RANGE_RAM},
        {LOADER_4G, t->ram_above_4g, LOADER_RANGE_RAM},
    };
    unsigned count = 0;

    for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
        if (all[n].size > 0)
            map[count++] = all[n];
    }
    return count;
}

/* The highest page aligned free place of l->initrd in [start, end); 0: none. */
static uint64_t find_place(const struct loader *l, uint64_t start, uint64_t end)
{
    uint64_t size = l->initrd->length;

    while (end > start && size <= end - start) {
        uint64_t place = align_down(end - size, PAGE_SIZE);
        const struct loader_claim *c = find_overlap(l, place, size);

        if (place < start)
            break;
        if (c == NULL)
            return place;
        end = c->start;
    }
    return 0;
}

bool loader_put_initrd(struct loader *l, uint64_t last, bool high)
{
    const struct loader_target *t = l->target;
    uint64_t place;

    if (l->initrd == NULL)
        return true;
    place = find_place(l, LOADER_HIGH, MIN(t->ram_below_4g, last + 1));
    if (place == 0 && high)
        place = find_place(l, LOADER_4G, LOADER_4G + t->ram_above_4g);
    if (place == 0)
        return error_set(l->err,
                         "%s: no room for its %zu bytes in the machine's memory below %#" PRIx64
                         "; a larger -m may help",
                         l->initrd->name, l->initrd->length, MIN(t->ram_below_4g, last + 1));
    l->initrd_address = place;
    return loader_claim(l, place, l->initrd->length, "the initrd") &&
           loader_put(l, place, l->initrd->bytes, l->initrd->length);
}

bool loader_put_command_line(struct loader *l, const char *program, size_t limit)
{
    const char *blank = program != NULL && l->append[0] != '\0' ? " " : "";
    const char *const parts[] = {program != NULL ? program : "", blank, l->append};
    uint64_t at = LOADER_COMMAND_LINE;
    size_t length = 0;

    for (unsigned n = 0; n < ARRAY_SIZE(parts); n++)
        length += strlen(parts[n]);
    if (length > MIN(limit, LOADER_COMMAND_LINE_SIZE - 1))
        return error_set(l->err,
                         "%s: the command line has %zu characters and this kernel takes %zu at "
                         "most",
                         l->kernel->name, length, MIN(limit, LOADER_COMMAND_LINE_SIZE - 1));
    for (unsigned n = 0; n < ARRAY_SIZE(parts); n++) {
        if (!loader_put(l, at, parts[n], strlen(parts[n])))
            return false;
        at += strlen(parts[n]);
    }
    return loader_put(l, at, "", 1);
}
