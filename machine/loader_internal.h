/*
 * What the boot loaders share: one boot in progress, guest memory and who claimed it, the parts
 * that several protocols need. Nobody else includes it.
 *
 *   loader.c         which loader takes the file     loader_linux.c      Linux/x86 boot protocol
 *   loader_memory.c  claims, memory map, initrd      loader_elf.c        ELF files, PVH
 *   loader_entry.c   the processor at the entry      loader_multiboot.c  Multiboot 1
 *
 * Guest memory below 1 MiB after a boot other than flat:
 *
 *   00000  +------------------------------------------------------+
 *          | interrupt vectors (zero); BIOS data area at 400h     |
 *   07000  +------------------------------------------------------+
 *          | GDT: 10h code, 18h data                              |
 *   08000  +------------------------------------------------------+
 *          | page tables: PML4, PDPT, 4 directories of 2 MiB pages|  64-bit entries only
 *   10000  +------------------------------------------------------+
 *          | boot_params, start_info or multiboot information     |
 *   11000  +------------------------------------------------------+
 *          | what these point to: random seed, memory map, modules|
 *   12000  +------------------------------------------------------+
 *          | free                                                 |
 *   20000  +------------------------------------------------------+
 *          | command line                                         |
 *   30000  +------------------------------------------------------+
 *          | free; 32-bit stack below 9f000h                      |
 *   9fc00  +------------------------------------------------------+
 *          | extended BIOS data area: its size in KiB             |  reserved
 *   a0000  +------------------------------------------------------+
 *          | display memory                                       |
 *   c0000  +------------------------------------------------------+
 *          | RAM that is not in the memory map                    |
 *   e0000  +------------------------------------------------------+
 *          | ACPI tables                                          |  reserved
 *   f0000  +------------------------------------------------------+
 *          | SMBIOS                                               |  reserved
 *  100000  +------------------------------------------------------+
 *
 * Flat images find the GDT (32- and 64-bit ones) and the page tables (64-bit ones) there too.
 */
#ifndef MACHINE_LOADER_INTERNAL_H
#define MACHINE_LOADER_INTERNAL_H

#include "base/error.h"
#include "machine/acpi.h"
#include "machine/loader.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOADER_BDA           0x400u
#define LOADER_GDT           0x7000u
#define LOADER_PAGE_TABLES   0x8000u
#define LOADER_PARAMETERS    0x10000u
#define LOADER_TABLES        0x11000u
#define LOADER_COMMAND_LINE  0x20000u
#define LOADER_STACK         0x9f000u
#define LOADER_EBDA          0x9fc00u
#define LOADER_LEGACY_END    0xa0000u
#define LOADER_ACPI          ACPI_TABLES_BASE /* SMBIOS follows */
#define LOADER_HIGH          0x100000u
#define LOADER_RAM_LOW_LIMIT 0xc0000000ull /* RAM below 4 GiB never reaches further */
#define LOADER_4G            0x100000000ull

#define LOADER_TABLES_SIZE       0x1000u
#define LOADER_COMMAND_LINE_SIZE 0x10000u /* with the zero at its end */

#define LOADER_CLAIM_MAX 40

/* Part of guest memory that is taken. */
struct loader_claim {
    uint64_t start, end; /* end: first address behind it */
    char what[32];
};

/* One boot. Functions return false after they have set *err. */
struct loader {
    const struct loader_target *target;
    const struct loader_file *kernel;
    const struct loader_file *initrd; /* NULL: none */
    const char *append;               /* never NULL */
    struct error *err;
    uint64_t rsdp;           /* address of the ACPI root pointer; 0: none */
    uint64_t initrd_address; /* once it is placed */
    struct loader_claim claims[LOADER_CLAIM_MAX];
    unsigned claim_count;
};

/* --- loader_memory.c --- */

/* Takes [start, start + size), which must be RAM that is in the memory map and not yet taken.
 * Nothing is taken when size is 0. what names it in messages. */
bool loader_claim(struct loader *l, uint64_t start, uint64_t size, const char *what);

/* Copies into memory, or clears it; the range is claimed or below 1 MiB. */
bool loader_put(struct loader *l, uint64_t address, const void *bytes, size_t length);
bool loader_clear(struct loader *l, uint64_t address, uint64_t length);

/* The same numbers as in the memory maps of all protocols. */
enum loader_range_type { LOADER_RANGE_RAM = 1, LOADER_RANGE_RESERVED = 2 };

struct loader_range {
    uint64_t start, size;
    enum loader_range_type type;
};

#define LOADER_MAP_MAX 6

/* The memory map for the guest, sorted; returns the number of ranges. */
unsigned loader_memory_map(const struct loader *l, struct loader_range map[LOADER_MAP_MAX]);

/* Puts the initrd page aligned as high as possible: its last byte below 4 GiB at `last` at most,
 * or, if it does not fit there and `high` allows it, above 4 GiB. Without an initrd nothing
 * happens. */
bool loader_put_initrd(struct loader *l, uint64_t last, bool high);

/* Puts `program` (may be NULL), a blank and the command line to LOADER_COMMAND_LINE; they have to
 * be `limit` bytes at most, not counting the zero at the end. */
bool loader_put_command_line(struct loader *l, const char *program, size_t limit);

/* --- loader_entry.c --- */

/* State that firmware leaves behind whatever is booted: memory types (MTRRs). */
void loader_enter_firmware(struct loader *l);

/* Real mode at 0:ip. */
void loader_enter16(struct loader *l, uint16_t ip, uint16_t sp);

/* Protected mode without paging, flat segments, interrupts off. */
bool loader_enter32(struct loader *l, uint32_t eip);

/* Long mode, low 4 GiB identity mapped, interrupts off. Fails on processors without long mode. */
bool loader_enter64(struct loader *l, uint64_t rip);

/* --- loader_elf.c --- */

#define ELF_MACHINE_386    3
#define ELF_MACHINE_X86_64 62

struct loader_elf {
    const struct loader_file *file;
    bool wide;        /* ELFCLASS64 */
    uint16_t machine; /* ELF_MACHINE_* or another */
    uint64_t entry;
    uint64_t headers;     /* file offset of the program headers */
    unsigned step, count; /* size and number of them */
};

struct loader_segment {
    uint32_t type;
    uint64_t offset, file_size; /* in the file */
    uint64_t virtual, physical, memory_size;
};

bool loader_elf_is(const struct loader_file *file);

/* Checks the file header and that the program headers are in the file. */
bool loader_elf_open(struct loader *l, const struct loader_file *file, struct loader_elf *elf);

/* Program header n < elf->count. */
struct loader_segment loader_elf_segment(const struct loader_elf *elf, unsigned n);

/* Claims and fills all PT_LOAD segments at their physical addresses. */
bool loader_elf_load(struct loader *l, const struct loader_elf *elf);

/* True if file content was loaded to this physical address. */
bool loader_elf_loaded(const struct loader_elf *elf, uint64_t physical);

/* The physical address of a virtual one, by the loaded segments; address itself if none has it. */
uint64_t loader_elf_physical(const struct loader_elf *elf, uint64_t address);

/* The entry point of a Xen PHYS32_ENTRY note; false if the file has none. */
bool loader_elf_pvh_entry(const struct loader_elf *elf, uint64_t *entry);

/* --- The loaders: take l->kernel when it is theirs. --- */

bool loader_linux_is(const struct loader_file *file);
bool loader_multiboot_is(const struct loader_file *file);

/* unpack: decompress the kernel here if it holds a compressed ELF file. */
bool loader_linux_boot(struct loader *l, bool unpack);
bool loader_pvh_boot(struct loader *l, const struct loader_elf *elf, uint64_t entry);
bool loader_multiboot_boot(struct loader *l);
bool loader_flat_boot(struct loader *l, enum loader_entry entry);

#endif
