/* Multiboot kernels (Multiboot Specification 0.6.96), ELF files and those whose header says where
 * the file goes ("a.out kludge"). */
#include "base/addr.h"
#include "base/bits.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "machine/le.h"
#include "machine/loader_internal.h"

#include <inttypes.h>
#include <string.h>

#define HEADER_MAGIC   0x1badb002u
#define HEADER_SEARCH  8192u /* the header lies in the first bytes, 4-byte aligned */
#define HEADER_SIZE    12u
#define ADDRESSES_SIZE 20u
#define LOADER_MAGIC   0x2badb002u

/* Flags of the header; those up to 15 are to be understood. */
#define HEADER_PAGE_ALIGN  BIT(0) /* modules: always so here */
#define HEADER_MEMORY_INFO BIT(1) /* always there */
#define HEADER_VIDEO       BIT(2) /* a wish: there is no display */
#define HEADER_ADDRESSES   BIT(16)
#define HEADER_REQUIRED    0xffffu

/* Flags of the information: which fields are valid. */
#define INFO_MEMORY       BIT(0)
#define INFO_COMMAND_LINE BIT(2)
#define INFO_MODULES      BIT(3)
#define INFO_MEMORY_MAP   BIT(6)
#define INFO_LOADER_NAME  BIT(9)
#define INFO_SIZE         120

#define MODULE_SIZE    16
#define MAP_ENTRY_SIZE 24 /* its first field, the size of the rest, included */

/* What the information points to. */
#define MODULES_ADDRESS     LOADER_TABLES
#define MAP_ADDRESS         (LOADER_TABLES + 0x100)
#define LOADER_NAME_ADDRESS (LOADER_TABLES + 0x200)
#define MODULE_NAME_ADDRESS (LOADER_TABLES + 0x300)
#define MODULE_NAME_SIZE    (LOADER_TABLES_SIZE - 0x300)

static const char loader_name[] = "Gnomon";

/* The offset of the header in the file; false: there is none. */
static bool find_header(const struct loader_file *file, size_t *offset)
{
    size_t end = MIN(file->length, HEADER_SEARCH);

    for (size_t n = 0; n + HEADER_SIZE <= end; n += 4) {
        const uint8_t *p = file->bytes + n;

        if (le32_get(p) == HEADER_MAGIC && le32_get(p) + le32_get(p + 4) + le32_get(p + 8) == 0) {
            *offset = n;
            return true;
        }
    }
    return false;
}

bool loader_multiboot_is(const struct loader_file *file)
{
    size_t offset;

    return find_header(file, &offset);
}

/* The file goes to where the header's fields say. */
static bool load_by_addresses(struct loader *l, size_t header, uint32_t *entry)
{
    const struct loader_file *file = l->kernel;
    const uint8_t *p = file->bytes + header + HEADER_SIZE;
    uint32_t header_address, start, end, bss_end;
    uint64_t length, offset;

    if (file->length - header < HEADER_SIZE + ADDRESSES_SIZE)
        return error_set(l->err, "%s: truncated: it ends within the multiboot header", file->name);
    header_address = le32_get(p);
    start = le32_get(p + 4);
    end = le32_get(p + 8);
    bss_end = le32_get(p + 12);
    *entry = le32_get(p + 16);
    if (start > header_address || header_address - start > header)
        return error_set(l->err,
                         "%s: multiboot header: load_addr %#x does not go with header_addr "
                         "%#x",
                         file->name, start, header_address);
    offset = header - (header_address - start);
    length = end != 0 ? (uint64_t)end - start : file->length - offset;
    if ((end != 0 && end < start) || length > file->length - offset)
        return error_set(l->err, "%s: multiboot header: load_end_addr %#x is not in the file",
                         file->name, end);
    if (bss_end != 0 && bss_end < start + length)
        return error_set(l->err, "%s: multiboot header: bss_end_addr %#x is below load_end_addr",
                         file->name, bss_end);
    if (*entry < start || *entry - start >= length)
        return error_set(l->err,
                         "%s: multiboot header: entry_addr %#x is outside of what is loaded",
                         file->name, *entry);
    return loader_claim(l, start, MAX(bss_end, start + length) - start, "the kernel") &&
           loader_put(l, start, file->bytes + offset, (size_t)length) &&
           loader_clear(l, start + length, bss_end != 0 ? bss_end - (start + length) : 0);
}

/* Kernels are entered at a physical address; many name the virtual one of the same place. */
static bool load_elf(struct loader *l, uint32_t *entry)
{
    struct loader_elf elf;
    uint64_t physical;

    if (!loader_elf_is(l->kernel))
        return error_set(l->err,
                         "%s: neither an ELF file nor does its multiboot header say where "
                         "it goes (flags, bit 16)",
                         l->kernel->name);
    if (!loader_elf_open(l, l->kernel, &elf) || !loader_elf_load(l, &elf))
        return false;
    physical = loader_elf_physical(&elf, elf.entry);
    if (physical > UINT32_MAX || !loader_elf_loaded(&elf, physical))
        return error_set(l->err, "%s: its entry %#" PRIx64 " is outside of what is loaded",
                         l->kernel->name, elf.entry);
    *entry = (uint32_t)physical;
    return true;
}

static bool put_memory_map(struct loader *l, uint8_t *info)
{
    struct loader_range map[LOADER_MAP_MAX];
    unsigned count = loader_memory_map(l, map);
    uint8_t entries[LOADER_MAP_MAX * MAP_ENTRY_SIZE] = {0};

    for (unsigned n = 0; n < count; n++) {
        uint8_t *entry = entries + n * MAP_ENTRY_SIZE;

        le32_put(entry, MAP_ENTRY_SIZE - 4);
        le64_put(entry + 4, map[n].start);
        le64_put(entry + 12, map[n].size);
        le32_put(entry + 20, map[n].type);
    }
    le32_put(info + 4, LOADER_EBDA >> 10);
    le32_put(info + 8, (uint32_t)((l->target->ram_below_4g - LOADER_HIGH) >> 10));
    le32_put(info + 44, count * MAP_ENTRY_SIZE);
    le32_put(info + 48, MAP_ADDRESS);
    return loader_put(l, MAP_ADDRESS, entries, sizeof(entries));
}

/* The initrd is the only module; its string is its file's name. */
static bool put_module(struct loader *l, uint8_t *info)
{
    uint8_t module[MODULE_SIZE] = {0};
    size_t length;

    if (l->initrd == NULL)
        return true;
    length = strnlen(l->initrd->name, MODULE_NAME_SIZE - 1);
    le32_put(module, (uint32_t)l->initrd_address);
    le32_put(module + 4, (uint32_t)(l->initrd_address + l->initrd->length));
    le32_put(module + 8, MODULE_NAME_ADDRESS);
    le32_put(info + 20, 1);
    le32_put(info + 24, MODULES_ADDRESS);
    return loader_put(l, MODULES_ADDRESS, module, sizeof(module)) &&
           loader_put(l, MODULE_NAME_ADDRESS, l->initrd->name, length) &&
           loader_put(l, MODULE_NAME_ADDRESS + length, "", 1);
}

static bool put_info(struct loader *l)
{
    uint8_t info[INFO_SIZE] = {0};

    le32_put(info, INFO_MEMORY | INFO_COMMAND_LINE | INFO_MEMORY_MAP | INFO_LOADER_NAME |
                       (l->initrd != NULL ? INFO_MODULES : 0));
    le32_put(info + 16, LOADER_COMMAND_LINE);
    le32_put(info + 64, LOADER_NAME_ADDRESS);
    return put_memory_map(l, info) && put_module(l, info) &&
           loader_put(l, LOADER_NAME_ADDRESS, loader_name, sizeof(loader_name)) &&
           loader_put(l, LOADER_PARAMETERS, info, sizeof(info));
}

bool loader_multiboot_boot(struct loader *l)
{
    size_t header = 0;
    uint32_t flags, unknown, entry = 0;

    if (!find_header(l->kernel, &header))
        return error_set(l->err, "%s: no multiboot header", l->kernel->name);
    flags = le32_get(l->kernel->bytes + header + 4);
    unknown = flags & HEADER_REQUIRED & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY_INFO | HEADER_VIDEO);
    if (unknown != 0)
        return error_set(l->err, "%s: multiboot header: it requires what is not known (flags %#x)",
                         l->kernel->name, unknown);
    if (flags & HEADER_VIDEO)
        LOG(l->target->log, LOG_LOADER, "loader: %s: wants a video mode; there is no display\n",
            l->kernel->name);
    if (!loader_claim(l, LOADER_GDT, PAGE_SIZE, "the GDT") ||
        !loader_claim(l, LOADER_PARAMETERS, PAGE_SIZE, "the multiboot information") ||
        !loader_claim(l, LOADER_TABLES, LOADER_TABLES_SIZE, "the multiboot tables") ||
        !loader_claim(l, LOADER_COMMAND_LINE, LOADER_COMMAND_LINE_SIZE, "the command line") ||
        !(flags & HEADER_ADDRESSES ? load_by_addresses(l, header, &entry) : load_elf(l, &entry)) ||
        !loader_put_initrd(l, UINT32_MAX, false) ||
        !loader_put_command_line(l, l->kernel->name, LOADER_COMMAND_LINE_SIZE - 1) ||
        !put_info(l) || !loader_enter32(l, entry))
        return false;
    l->target->cpu->gpr[GPR_RAX] = LOADER_MAGIC;
    l->target->cpu->gpr[GPR_RBX] = LOADER_PARAMETERS;
    return true;
}
