/* ELF files (System V ABI, generic and x86-64 supplements) and PVH, the way Xen starts hardware
 * virtualised guests (docs/misc/pvh.pandoc and start_info.h of Xen). */
#include "base/addr.h"
#include "base/bits.h"
#include "cpu/cpu.h"
#include "machine/le.h"
#include "machine/loader_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ELF_CLASS_64      2
#define ELF_LITTLE_ENDIAN 1
#define ELF_LOAD          1
#define ELF_NOTE          4

/* Xen's notes (public/elfnote.h). */
#define NOTE_NAME         "Xen"
#define NOTE_PHYS32_ENTRY 18
#define NOTE_HEADER       12

#define START_INFO_MAGIC   0x336ec578
#define START_INFO_SIZE    56
#define START_INFO_MODULES LOADER_TABLES
#define START_INFO_MAP     (LOADER_TABLES + 0x100)
#define MODULE_SIZE        32
#define MAP_ENTRY_SIZE     24

bool loader_elf_is(const struct loader_file *file)
{
    return file->length >= 4 && memcmp(file->bytes, "\177ELF", 4) == 0;
}

static bool fail(struct loader *l, const char *what)
{
    return error_set(l->err, "%s: damaged ELF file: %s", l->kernel->name, what);
}

bool loader_elf_open(struct loader *l, const struct loader_file *file, struct loader_elf *elf)
{
    const uint8_t *p = file->bytes;

    if (file->length < 52 || (p[4] == ELF_CLASS_64 && file->length < 64))
        return fail(l, "it ends within the file header");
    *elf = (struct loader_elf){.file = file, .wide = p[4] == ELF_CLASS_64};
    if ((p[4] != ELF_CLASS_64 && p[4] != 1) || p[5] != ELF_LITTLE_ENDIAN)
        return fail(l, "e_ident says neither 32 nor 64 bits, or not little endian");
    elf->machine = le16_get(p + 18);
    if (elf->machine != ELF_MACHINE_386 && elf->machine != ELF_MACHINE_X86_64)
        return error_set(l->err, "%s: ELF file for another processor (e_machine is %u)",
                         l->kernel->name, elf->machine);
    elf->entry = elf->wide ? le64_get(p + 24) : le32_get(p + 24);
    elf->headers = elf->wide ? le64_get(p + 32) : le32_get(p + 28);
    elf->step = le16_get(p + (elf->wide ? 54 : 42));
    elf->count = le16_get(p + (elf->wide ? 56 : 44));
    if (elf->count == 0)
        return fail(l, "no program headers (e_phnum is 0): is it an object file?");
    if (elf->step < (elf->wide ? 56 : 32))
        return fail(l, "program headers are too small (e_phentsize)");
    if (elf->headers > file->length || elf->count * elf->step > file->length - elf->headers)
        return fail(l, "the program headers (e_phoff, e_phnum) reach beyond its end");
    return true;
}

struct loader_segment loader_elf_segment(const struct loader_elf *elf, unsigned n)
{
    const uint8_t *p = elf->file->bytes + elf->headers + (uint64_t)n * elf->step;

    if (elf->wide)
        return (struct loader_segment){
            .type = le32_get(p),
            .offset = le64_get(p + 8),
            .virtual = le64_get(p + 16),
            .physical = le64_get(p + 24),
            .file_size = le64_get(p + 32),
            .memory_size = le64_get(p + 40),
        };
    return (struct loader_segment){
        .type = le32_get(p),
        .offset = le32_get(p + 4),
        .virtual = le32_get(p + 8),
        .physical = le32_get(p + 12),
        .file_size = le32_get(p + 16),
        .memory_size = le32_get(p + 20),
    };
}

static bool in_file(const struct loader_elf *elf, const struct loader_segment *s)
{
    return s->offset <= elf->file->length && s->file_size <= elf->file->length - s->offset;
}

static bool load_segment(struct loader *l, const struct loader_elf *elf, unsigned n)
{
    struct loader_segment s = loader_elf_segment(elf, n);
    char what[32];

    snprintf(what, sizeof(what), "ELF segment %u", n);
    if (!in_file(elf, &s))
        return error_set(l->err,
                         "%s: damaged ELF file: segment %u (p_offset %#" PRIx64 ", p_filesz "
                         "%" PRIu64 ") reaches beyond its end",
                         l->kernel->name, n, s.offset, s.file_size);
    if (s.file_size > s.memory_size)
        return error_set(l->err, "%s: damaged ELF file: p_filesz of segment %u is above p_memsz",
                         l->kernel->name, n);
    return loader_claim(l, s.physical, s.memory_size, what) &&
           loader_put(l, s.physical, elf->file->bytes + s.offset, (size_t)s.file_size) &&
           loader_clear(l, s.physical + s.file_size, s.memory_size - s.file_size);
}

bool loader_elf_load(struct loader *l, const struct loader_elf *elf)
{
    bool any = false;

    for (unsigned n = 0; n < elf->count; n++) {
        struct loader_segment s = loader_elf_segment(elf, n);

        if (s.type != ELF_LOAD || s.memory_size == 0)
            continue;
        if (!load_segment(l, elf, n))
            return false;
        any = true;
    }
    return any || fail(l, "nothing to load in it (no PT_LOAD segment)");
}

bool loader_elf_loaded(const struct loader_elf *elf, uint64_t physical)
{
    for (unsigned n = 0; n < elf->count; n++) {
        struct loader_segment s = loader_elf_segment(elf, n);

        if (s.type == ELF_LOAD && physical >= s.physical && physical - s.physical < s.file_size)
            return true;
    }
    return false;
}

uint64_t loader_elf_physical(const struct loader_elf *elf, uint64_t address)
{
    for (unsigned n = 0; n < elf->count; n++) {
        struct loader_segment s = loader_elf_segment(elf, n);

        if (s.type == ELF_LOAD && address >= s.virtual && address - s.virtual < s.file_size)
            return address - s.virtual + s.physical;
    }
    return address;
}

/* A segment of notes: each has the sizes of name and descriptor, a type, and both, padded to 4. */
static bool find_in_notes(const uint8_t *p, uint64_t length, uint64_t *entry)
{
    while (length >= NOTE_HEADER) {
        uint64_t name = align_up(le32_get(p), 4), size = le32_get(p + 4);
        uint64_t room = length - NOTE_HEADER;

        if (name > room || size > room - name)
            return false;
        if (le32_get(p + 8) == NOTE_PHYS32_ENTRY && le32_get(p) == sizeof(NOTE_NAME) &&
            memcmp(p + NOTE_HEADER, NOTE_NAME, sizeof(NOTE_NAME)) == 0 &&
            (size == 4 || size == 8)) {
            p += NOTE_HEADER + name;
            *entry = size == 8 ? le64_get(p) : le32_get(p);
            return true;
        }
        size = MIN(NOTE_HEADER + name + align_up(size, 4), length);
        p += size;
        length -= size;
    }
    return false;
}

bool loader_elf_pvh_entry(const struct loader_elf *elf, uint64_t *entry)
{
    for (unsigned n = 0; n < elf->count; n++) {
        struct loader_segment s = loader_elf_segment(elf, n);

        if (s.type == ELF_NOTE && in_file(elf, &s) &&
            find_in_notes(elf->file->bytes + s.offset, s.file_size, entry))
            return true;
    }
    return false;
}

static bool put_start_info(struct loader *l)
{
    struct loader_range map[LOADER_MAP_MAX];
    unsigned count = loader_memory_map(l, map);
    uint8_t info[START_INFO_SIZE] = {0}, module[MODULE_SIZE] = {0};
    uint8_t entries[LOADER_MAP_MAX * MAP_ENTRY_SIZE] = {0};

    for (unsigned n = 0; n < count; n++) {
        le64_put(entries + n * MAP_ENTRY_SIZE, map[n].start);
        le64_put(entries + n * MAP_ENTRY_SIZE + 8, map[n].size);
        le32_put(entries + n * MAP_ENTRY_SIZE + 16, map[n].type);
    }
    le32_put(info, START_INFO_MAGIC);
    le32_put(info + 4, 1); /* version: there is a memory map */
    le64_put(info + 24, LOADER_COMMAND_LINE);
    le64_put(info + 32, l->rsdp);
    le64_put(info + 40, START_INFO_MAP);
    le32_put(info + 48, count);
    if (l->initrd != NULL) {
        le32_put(info + 12, 1);
        le64_put(info + 16, START_INFO_MODULES);
        le64_put(module, l->initrd_address);
        le64_put(module + 8, l->initrd->length);
    }
    return loader_put(l, LOADER_PARAMETERS, info, sizeof(info)) &&
           loader_put(l, START_INFO_MODULES, module, sizeof(module)) &&
           loader_put(l, START_INFO_MAP, entries, sizeof(entries));
}

bool loader_pvh_boot(struct loader *l, const struct loader_elf *elf, uint64_t entry)
{
    if (!loader_claim(l, LOADER_GDT, PAGE_SIZE, "the GDT") ||
        !loader_claim(l, LOADER_PARAMETERS, PAGE_SIZE, "start_info") ||
        !loader_claim(l, LOADER_TABLES, LOADER_TABLES_SIZE, "what start_info points to") ||
        !loader_claim(l, LOADER_COMMAND_LINE, LOADER_COMMAND_LINE_SIZE, "the command line") ||
        !loader_elf_load(l, elf))
        return false;
    if (entry > UINT32_MAX || !loader_elf_loaded(elf, entry))
        return error_set(l->err,
                         "%s: its PHYS32_ENTRY note names an entry (%#" PRIx64
                         ") outside of what is loaded",
                         l->kernel->name, entry);
    if (!loader_put_initrd(l, UINT32_MAX, false) ||
        !loader_put_command_line(l, NULL, LOADER_COMMAND_LINE_SIZE - 1) || !put_start_info(l) ||
        !loader_enter32(l, (uint32_t)entry))
        return false;
    l->target->cpu->gpr[GPR_RBX] = LOADER_PARAMETERS;
    return true;
}
