/* Flat images: raw bytes at a fixed address, nothing else. */
#include "base/addr.h"
#include "cpu/cpu.h"
#include "machine/loader_internal.h"

#define FLAT16_ADDRESS 0x7c00u
#define FIRST_DISK     0x80

static bool boot16(struct loader *l)
{
    size_t room = LOADER_LEGACY_END - FLAT16_ADDRESS;

    if (l->kernel->length > room)
        return error_set(l->err, "%s: has %zu bytes, and a 16-bit flat image %zu at most",
                         l->kernel->name, l->kernel->length, room);
    if (!loader_put(l, FLAT16_ADDRESS, l->kernel->bytes, l->kernel->length))
        return false;
    loader_enter16(l, FLAT16_ADDRESS, FLAT16_ADDRESS);
    l->target->cpu->gpr[GPR_RDX] = FIRST_DISK;
    return true;
}

bool loader_flat_boot(struct loader *l, enum loader_entry entry)
{
    if (l->initrd != NULL)
        return error_set(l->err, "%s: a flat image takes no initrd", l->initrd->name);
    if (l->append[0] != '\0')
        return error_set(l->err, "%s: a flat image takes no command line", l->kernel->name);
    if (entry == LOADER_ENTRY_FLAT16)
        return boot16(l);
    return loader_claim(l, LOADER_HIGH, l->kernel->length, "the flat image") &&
           loader_put(l, LOADER_HIGH, l->kernel->bytes, l->kernel->length) &&
           (entry == LOADER_ENTRY_FLAT64 ? loader_enter64(l, LOADER_HIGH)
                                         : loader_enter32(l, LOADER_HIGH));
}
