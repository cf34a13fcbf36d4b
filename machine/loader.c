#include "machine/loader.h"

#include "base/addr.h"
#include "base/bits.h"
#include "base/host/host.h"
#include "machine/acpi.h"
#include "machine/le.h"
#include "machine/loader_internal.h"
#include "machine/smbios.h"

#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT (4ull << 30)

/* BIOS data area: offsets from 400h. */
#define BDA_SERIAL_PORTS 0x00
#define BDA_EBDA_SEGMENT 0x0e
#define BDA_MEMORY_KIB   0x13
#define BDA_SIZE         0x100

static const struct {
    const char *word;
    enum loader_entry entry;
} entry_words[] = {
    {"direct", LOADER_ENTRY_AUTO},   {"bzimage", LOADER_ENTRY_BZIMAGE},
    {"flat16", LOADER_ENTRY_FLAT16}, {"flat32", LOADER_ENTRY_FLAT32},
    {"flat64", LOADER_ENTRY_FLAT64},
};

bool loader_parse_entry(const char *word, enum loader_entry *entry, struct error *err)
{
    for (unsigned n = 0; n < ARRAY_SIZE(entry_words); n++) {
        if (strcmp(word, entry_words[n].word) == 0) {
            *entry = entry_words[n].entry;
            return true;
        }
    }
    return error_set(err, "kernel-entry is direct, bzimage, flat16, flat32 or flat64, not '%s'",
                     word);
}

/* Interrupt vectors, BIOS data area and its extension, as far as somebody looks at them. */
static bool put_bios_data(struct loader *l)
{
    static const uint16_t com_ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    uint8_t bda[BDA_SIZE] = {0}, ebda[LOADER_LEGACY_END - LOADER_EBDA] = {1};

    for (unsigned n = 0; n < ARRAY_SIZE(com_ports); n++) {
        if (l->target->serial_ports & BIT(n))
            le16_put(bda + BDA_SERIAL_PORTS + 2 * n, com_ports[n]);
    }
    le16_put(bda + BDA_EBDA_SEGMENT, LOADER_EBDA >> 4);
    le16_put(bda + BDA_MEMORY_KIB, LOADER_EBDA >> 10);
    return loader_clear(l, 0, LOADER_BDA) && loader_put(l, LOADER_BDA, bda, sizeof(bda)) &&
           loader_put(l, LOADER_EBDA, ebda, sizeof(ebda));
}

/* What firmware leaves below 1 MiB. */
static bool put_firmware_tables(struct loader *l)
{
    gpa_t rsdp, anchor;

    if (!put_bios_data(l) || !acpi_install(l->target, &rsdp, l->err) ||
        !smbios_install(l->target, &anchor, l->err))
        return false;
    l->rsdp = rsdp.v;
    return true;
}

static bool boot_elf(struct loader *l)
{
    struct loader_elf elf;
    uint64_t entry;

    if (!loader_elf_open(l, l->kernel, &elf))
        return false;
    if (loader_elf_pvh_entry(&elf, &entry))
        return loader_pvh_boot(l, &elf, entry);
    if (loader_multiboot_is(l->kernel))
        return loader_multiboot_boot(l);
    return error_set(l->err,
                     "%s: an ELF file with neither a Xen PHYS32_ENTRY note (Linux: CONFIG_PVH) nor "
                     "a multiboot header; boot the bzImage instead",
                     l->kernel->name);
}

static bool boot(struct loader *l, enum loader_entry entry)
{
    loader_enter_firmware(l);
    if (entry != LOADER_ENTRY_AUTO && entry != LOADER_ENTRY_BZIMAGE)
        return loader_flat_boot(l, entry);
    if (!put_firmware_tables(l))
        return false;
    if (loader_elf_is(l->kernel))
        return boot_elf(l);
    if (loader_linux_is(l->kernel))
        return loader_linux_boot(l, entry == LOADER_ENTRY_AUTO);
    if (loader_multiboot_is(l->kernel))
        return loader_multiboot_boot(l);
    return error_set(l->err,
                     "%s: neither a Linux bzImage nor an ELF file nor a multiboot kernel (flat "
                     "images need -machine kernel-entry=flat16, flat32 or flat64)",
                     l->kernel->name);
}

bool loader_boot_memory(const struct loader_target *target, const struct loader_file *kernel,
                        const struct loader_file *initrd, const char *append,
                        enum loader_entry entry, struct error *err)
{
    struct error own = {0};
    struct loader l = {
        .target = target,
        .kernel = kernel,
        .initrd = initrd,
        .append = append != NULL ? append : "",
        .err = err != NULL ? err : &own,
    };

    if (kernel->length == 0)
        return error_set(err, "%s: the file is empty", kernel->name);
    if (initrd != NULL && initrd->length == 0)
        return error_set(err, "%s: the file is empty", initrd->name);
    return boot(&l, entry);
}

bool loader_boot(const struct loader_target *target, const struct boot_options *options,
                 struct error *err)
{
    struct loader_file kernel = {.name = options->kernel}, initrd = {.name = options->initrd};
    void *kernel_bytes, *initrd_bytes = NULL;
    bool ok = false;

    kernel_bytes = host_read_file(options->kernel, FILE_LIMIT, &kernel.length, err);
    if (kernel_bytes == NULL)
        return false;
    if (options->initrd != NULL)
        initrd_bytes = host_read_file(options->initrd, FILE_LIMIT, &initrd.length, err);
    if (options->initrd == NULL || initrd_bytes != NULL) {
        kernel.bytes = kernel_bytes;
        initrd.bytes = initrd_bytes;
        ok = loader_boot_memory(target, &kernel, initrd_bytes != NULL ? &initrd : NULL,
                                options->append, options->entry, err);
    }
    free(kernel_bytes);
    free(initrd_bytes);
    return ok;
}
