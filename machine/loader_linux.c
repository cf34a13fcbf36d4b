/* Linux by its boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst). */
#include "base/addr.h"
#include "base/bits.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "machine/decompress.h"
#include "machine/le.h"
#include "machine/loader_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The setup header, at the same offsets in the file and in boot_params ("zero page"). */
enum setup_header {
    HDR_SETUP_SECTS = 0x1f1, /* first byte of the header */
    HDR_SYSSIZE = 0x1f4,     /* protected-mode code in units of 16 bytes */
    HDR_VID_MODE = 0x1fa,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_JUMP = 0x200, /* a short jump: its target is the end of the header */
    HDR_HEADER = 0x202,
    HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_CMD_LINE_PTR = 0x228,
    HDR_INITRD_ADDR_MAX = 0x22c,
    HDR_KERNEL_ALIGNMENT = 0x230,
    HDR_RELOCATABLE_KERNEL = 0x234,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_PAYLOAD_OFFSET = 0x248,
    HDR_PAYLOAD_LENGTH = 0x24c,
    HDR_SETUP_DATA = 0x250,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    HDR_LIMIT = 0x290, /* boot_params goes on with something else */
};

/* boot_params besides the header. */
enum boot_params {
    PARAMS_EXT_MEM_K = 0x002,
    PARAMS_ACPI_RSDP_ADDR = 0x070,
    PARAMS_EXT_RAMDISK_IMAGE = 0x0c0,
    PARAMS_EXT_RAMDISK_SIZE = 0x0c4,
    PARAMS_ALT_MEM_K = 0x1e0,
    PARAMS_E820_ENTRIES = 0x1e8,
    PARAMS_E820_TABLE = 0x2d0,
    PARAMS_SIZE = 0x1000,
};

#define E820_ENTRY_SIZE 20

#define LOADFLAG_LOADED_HIGH   0x01
#define LOADFLAG_KEEP_SEGMENTS 0x40
#define LOADFLAG_CAN_USE_HEAP  0x80
#define XLOADFLAG_KERNEL_64    0x01
#define XLOADFLAG_ABOVE_4G     0x02

#define LOADER_TYPE_UNDEFINED 0xff
#define VID_MODE_NORMAL       0xffff
#define INITRD_ADDR_MAX_OLD   0x37ffffff /* before protocol 2.03 */
#define CMDLINE_SIZE_OLD      255        /* before protocol 2.06 */
#define SECTOR_SIZE           512u
#define ENTRY64_OFFSET        0x200u

#define SETUP_RNG_SEED    9
#define SETUP_DATA_HEADER 16
#define SEED_SIZE         32

/* The parts of a bzImage, and what its header says; fields that its protocol version does not have
 * yet are as that version implies. */
struct image {
    const uint8_t *file;
    uint16_t version;
    const uint8_t *code; /* the protected-mode part */
    size_t code_length;
    uint32_t code32_start;
    uint32_t initrd_addr_max;
    uint32_t kernel_alignment;
    bool relocatable;
    uint16_t xloadflags;
    uint32_t cmdline_size;
    uint32_t payload_offset; /* in code */
    uint32_t payload_length; /* 0: no payload */
    uint64_t pref_address;
    uint32_t init_size;
};

bool loader_linux_is(const struct loader_file *file)
{
    return file->length >= HDR_VERSION + 2 && memcmp(file->bytes + HDR_HEADER, "HdrS", 4) == 0 &&
           le16_get(file->bytes + HDR_BOOT_FLAG) == 0xaa55;
}

static uint32_t field(const struct image *i, uint16_t since, unsigned offset, uint32_t before)
{
    return i->version >= since ? le32_get(i->file + offset) : before;
}

static void read_header(struct image *i)
{
    const uint8_t *p = i->file;

    i->code32_start = le32_get(p + HDR_CODE32_START);
    i->initrd_addr_max = field(i, 0x203, HDR_INITRD_ADDR_MAX, INITRD_ADDR_MAX_OLD);
    i->kernel_alignment = field(i, 0x205, HDR_KERNEL_ALIGNMENT, 0);
    i->relocatable = i->version >= 0x205 && p[HDR_RELOCATABLE_KERNEL] != 0;
    i->cmdline_size = field(i, 0x206, HDR_CMDLINE_SIZE, CMDLINE_SIZE_OLD);
    i->payload_offset = field(i, 0x208, HDR_PAYLOAD_OFFSET, 0);
    i->payload_length = field(i, 0x208, HDR_PAYLOAD_LENGTH, 0);
    i->pref_address = i->version >= 0x20a ? le64_get(p + HDR_PREF_ADDRESS) : 0;
    i->init_size = field(i, 0x20a, HDR_INIT_SIZE, 0);
    i->xloadflags = i->version >= 0x20c ? le16_get(p + HDR_XLOADFLAGS) : 0;
}

static bool open_image(struct loader *l, struct image *i)
{
    const struct loader_file *file = l->kernel;
    const uint8_t *p = file->bytes;
    unsigned sectors = p[HDR_SETUP_SECTS] != 0 ? p[HDR_SETUP_SECTS] : 4;
    size_t setup = (sectors + 1) * SECTOR_SIZE;
    uint64_t size = (uint64_t)le32_get(p + HDR_SYSSIZE) * 16;

    *i = (struct image){.file = p, .version = le16_get(p + HDR_VERSION)};
    if (i->version < 0x202)
        return error_set(l->err,
                         "%s: its boot protocol is %u.%02u (version); 2.02 and later can be booted",
                         file->name, i->version >> 8, i->version & 0xff);
    if (file->length <= setup)
        return error_set(l->err,
                         "%s: truncated: its setup code (setup_sects) has %zu bytes, the "
                         "file %zu",
                         file->name, setup, file->length);
    if (!(p[HDR_LOADFLAGS] & LOADFLAG_LOADED_HIGH))
        return error_set(l->err, "%s: a zImage (loadflags); only bzImages can be booted",
                         file->name);
    i->code = p + setup;
    i->code_length = file->length - setup;
    read_header(i);
    if (i->version >= 0x204 && size > align_up(i->code_length, 16))
        return error_set(
            l->err, "%s: truncated: its code (syssize) has %" PRIu64 " bytes, and %zu are there",
            file->name, size, i->code_length);
    if (i->payload_length != 0 && (i->payload_offset > i->code_length ||
                                   i->payload_length > i->code_length - i->payload_offset))
        return error_set(l->err,
                         "%s: its compressed kernel (payload_offset, payload_length) "
                         "reaches beyond its end",
                         file->name);
    return true;
}

static bool claim_low(struct loader *l)
{
    return loader_claim(l, LOADER_GDT, PAGE_SIZE, "the GDT") &&
           loader_claim(l, LOADER_PAGE_TABLES, 6 * PAGE_SIZE, "the page tables") &&
           loader_claim(l, LOADER_PARAMETERS, PARAMS_SIZE, "boot_params") &&
           loader_claim(l, LOADER_TABLES, LOADER_TABLES_SIZE, "setup_data") &&
           loader_claim(l, LOADER_COMMAND_LINE, LOADER_COMMAND_LINE_SIZE, "the command line");
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static bool put_seed(struct loader *l)
{
    uint64_t state = l->target->seed;
    uint8_t node[SETUP_DATA_HEADER + SEED_SIZE] = {0};

    le32_put(node + 8, SETUP_RNG_SEED);
    le32_put(node + 12, SEED_SIZE);
    for (unsigned n = 0; n < SEED_SIZE; n += 8)
        le64_put(node + SETUP_DATA_HEADER + n, next_random(&state));
    return loader_put(l, LOADER_TABLES, node, sizeof(node));
}

/* Memory size as BIOS calls report it, for kernels that do not look at e820. */
static void fill_memory_sizes(const struct loader *l, uint8_t *params)
{
    uint64_t above_1m = (l->target->ram_below_4g - LOADER_HIGH) >> 10;

    le16_put(params + PARAMS_EXT_MEM_K, (uint16_t)MIN(above_1m, 0xfc00));
    le32_put(params + PARAMS_ALT_MEM_K, (uint32_t)above_1m);
}

static void fill_e820(const struct loader *l, uint8_t *params)
{
    struct loader_range map[LOADER_MAP_MAX];
    unsigned count = loader_memory_map(l, map);

    params[PARAMS_E820_ENTRIES] = (uint8_t)count;
    for (unsigned n = 0; n < count; n++) {
        uint8_t *entry = params + PARAMS_E820_TABLE + n * E820_ENTRY_SIZE;

        le64_put(entry, map[n].start);
        le64_put(entry + 8, map[n].size);
        le32_put(entry + 16, map[n].type);
    }
}

/* screen_info stays zero: there is no display, and kernels then do not look for one. */
static bool put_params(struct loader *l, const struct image *i, uint64_t load_address)
{
    uint8_t params[PARAMS_SIZE] = {0};
    size_t header_end = MIN(HDR_HEADER + i->file[HDR_JUMP + 1], HDR_LIMIT);

    memcpy(params + HDR_SETUP_SECTS, i->file + HDR_SETUP_SECTS, header_end - HDR_SETUP_SECTS);
    le16_put(params + HDR_VID_MODE, VID_MODE_NORMAL);
    params[HDR_TYPE_OF_LOADER] = LOADER_TYPE_UNDEFINED;
    params[HDR_LOADFLAGS] &= (uint8_t) ~(LOADFLAG_KEEP_SEGMENTS | LOADFLAG_CAN_USE_HEAP);
    le32_put(params + HDR_CODE32_START, (uint32_t)load_address);
    le32_put(params + HDR_CMD_LINE_PTR, LOADER_COMMAND_LINE);
    if (l->initrd != NULL) {
        le32_put(params + HDR_RAMDISK_IMAGE, (uint32_t)l->initrd_address);
        le32_put(params + HDR_RAMDISK_SIZE, (uint32_t)l->initrd->length);
        le32_put(params + PARAMS_EXT_RAMDISK_IMAGE, (uint32_t)(l->initrd_address >> 32));
        le32_put(params + PARAMS_EXT_RAMDISK_SIZE, (uint32_t)((uint64_t)l->initrd->length >> 32));
    }
    if (i->version >= 0x209)
        le64_put(params + HDR_SETUP_DATA, LOADER_TABLES);
    le64_put(params + PARAMS_ACPI_RSDP_ADDR, l->rsdp);
    fill_memory_sizes(l, params);
    fill_e820(l, params);
    return put_seed(l) && loader_put(l, LOADER_PARAMETERS, params, sizeof(params));
}

/* The kernel is claimed; everything else, and off it goes. */
static bool finish(struct loader *l, const struct image *i, uint64_t load_address, bool wide,
                   uint64_t entry)
{
    bool high = wide && (i->xloadflags & XLOADFLAG_ABOVE_4G);

    if (!loader_put_initrd(l, i->initrd_addr_max, high) ||
        !loader_put_command_line(l, NULL, i->cmdline_size) || !put_params(l, i, load_address) ||
        !(wide ? loader_enter64(l, entry) : loader_enter32(l, (uint32_t)entry)))
        return false;
    l->target->cpu->gpr[GPR_RSI] = LOADER_PARAMETERS;
    return true;
}

static bool fits(const struct loader *l, uint64_t start, uint64_t size)
{
    return start >= LOADER_HIGH && start <= l->target->ram_below_4g &&
           size <= l->target->ram_below_4g - start;
}

/* The kernel as it is, to unpack itself. It runs at its preferred address if it cannot be moved,
 * and where it was put (aligned) if it can; there it needs init_size bytes. */
static bool boot_packed(struct loader *l, const struct image *i)
{
    uint64_t load = i->code32_start, run = load, size;
    bool wide = (i->xloadflags & XLOADFLAG_KERNEL_64) && cpu_has(l->target->cpu, FEATURE_LM);

    if (i->relocatable && fits(l, i->pref_address, MAX(i->init_size, i->code_length)))
        load = run = i->pref_address;
    else if (i->relocatable && i->kernel_alignment != 0)
        run = (load + i->kernel_alignment - 1) / i->kernel_alignment * i->kernel_alignment;
    else if (i->pref_address != 0)
        run = i->pref_address;
    size = MAX(load + i->code_length, run + i->init_size) - load;
    if (run < load || run > LOADER_4G)
        return error_set(l->err, "%s: pref_address %#" PRIx64 " makes no sense", l->kernel->name,
                         i->pref_address);
    return loader_claim(l, load, size, "the compressed kernel") &&
           loader_put(l, load, i->code, i->code_length) &&
           finish(l, i, load, wide, load + (wide ? ENTRY64_OFFSET : 0));
}

static bool boot_elf(struct loader *l, const struct image *i, const struct loader_file *file)
{
    struct loader_elf elf;

    if (!loader_elf_open(l, file, &elf) || !loader_elf_load(l, &elf))
        return false;
    if (!loader_elf_loaded(&elf, elf.entry))
        return error_set(l->err, "%s: its entry %#" PRIx64 " is outside of what is loaded",
                         l->kernel->name, elf.entry);
    return finish(l, i, i->code32_start, elf.wide, elf.entry);
}

/* The kernel in the payload, to be freed. It is larger in memory than as a file. */
static uint8_t *unpack_payload(struct loader *l, const struct image *i, size_t *length)
{
    const uint8_t *payload = i->code + i->payload_offset;
    uint64_t ram = l->target->ram_below_4g;
    uint32_t size = i->payload_length >= 4 ? le32_get(payload + i->payload_length - 4) : 0;
    uint8_t *content;

    if (size > ram) {
        error_set(l->err,
                  "%s: its kernel unpacks to %u bytes, which do not fit into the machine's "
                  "%" PRIu64 " MiB of memory; a larger -m may help",
                  l->kernel->name, size, ram >> 20);
        return NULL;
    }
    content = decompress_payload(payload, i->payload_length, (size_t)ram, length, l->err);
    if (content == NULL)
        error_prefix(l->err, "%s", l->kernel->name);
    return content;
}

static void log_image(const struct loader *l, const struct image *i, const char *how)
{
    LOG(l->target->log, LOG_LOADER, "loader: %s: boot protocol %x.%02x, %s\n", l->kernel->name,
        i->version >> 8, i->version & 0xff, how);
}

bool loader_linux_boot(struct loader *l, bool unpack)
{
    struct loader_file vmlinux = {.name = l->kernel->name};
    struct image i;
    uint8_t *content;
    const char *format;
    bool ok;

    if (!open_image(l, &i) || !claim_low(l))
        return false;
    format = decompress_format(i.code + i.payload_offset, i.payload_length);
    if (!unpack || format == NULL) {
        log_image(l, &i, unpack ? "no payload, or its compression is unknown" : "as it is");
        return boot_packed(l, &i);
    }
    content = unpack_payload(l, &i, &vmlinux.length);
    if (content == NULL)
        return false;
    vmlinux.bytes = content;
    log_image(l, &i, format);
    ok = loader_elf_is(&vmlinux) ? boot_elf(l, &i, &vmlinux) : boot_packed(l, &i);
    free(content);
    return ok;
}
