/* The processor as loaders leave it at a kernel's entry. Source: Intel SDM volume 3A, 2.5, 3.4.5,
 * 4.5, 11.11. */
#include "base/addr.h"
#include "base/bits.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "machine/le.h"
#include "machine/loader_internal.h"

#include <inttypes.h>

#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18

#define DESCRIPTOR_CODE32 0x00cf9b000000ffffull
#define DESCRIPTOR_CODE64 0x00af9b000000ffffull
#define DESCRIPTOR_DATA   0x00cf93000000ffffull
#define GDT_ENTRIES       4

#define PAGE_PRESENT    BIT64(0)
#define PAGE_WRITABLE   BIT64(1)
#define PAGE_LARGE      BIT64(7)
#define PAGE_ENTRIES    512u
#define LARGE_PAGE_SIZE 0x200000ull

/* The 32-bit TSS that PVH wants in TR ends with its last defined field. */
#define TSS_LIMIT 0x67

#define MTRR_WRITE_BACK 0x0606060606060606ull
#define MTRR_ENABLE     (BIT64(11) | BIT64(10)) /* all, and the fixed ranges */
#define MTRR_DEFAULT_WB 6u
#define MTRR_VALID      BIT64(11)

void loader_enter_firmware(struct loader *l)
{
    struct vcpu *cpu = l->target->cpu;
    struct vcpu_msrs *msr = &cpu->msr;
    uint64_t hole = LOADER_4G - LOADER_RAM_LOW_LIMIT;

    /* Everything is write-back but display memory and the window for devices below 4 GiB. */
    for (unsigned n = 0; n < ARRAY_SIZE(msr->mtrr_fixed); n++)
        msr->mtrr_fixed[n] = MTRR_WRITE_BACK;
    msr->mtrr_fixed[2] = 0; /* a0000h to bffffh */
    msr->mtrr_base[0] = LOADER_RAM_LOW_LIMIT;
    msr->mtrr_mask[0] = ((BIT64(cpu->mmu.physical_bits) - 1) & ~(hole - 1)) | MTRR_VALID;
    msr->mtrr_def_type = MTRR_ENABLE | MTRR_DEFAULT_WB;
}

static void log_entry(const struct loader *l, const char *mode)
{
    LOG(l->target->log, LOG_LOADER, "loader: %s: entered at %#" PRIx64 " in %s mode\n",
        l->kernel->name, l->target->cpu->rip, mode);
}

/* Registers but for those that carry something to the kernel. */
static void set_plain(struct vcpu *cpu, uint64_t rip, uint64_t rsp)
{
    for (unsigned n = 0; n < 16; n++)
        cpu->gpr[n] = 0;
    cpu->gpr[GPR_RSP] = rsp;
    cpu->rip = rip;
    vcpu_set_rflags(cpu, EFLAGS_ONE);
}

static void set_segments(struct vcpu *cpu, uint16_t code, uint32_t code_size)
{
    static const enum segment_index data[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};
    uint16_t common = SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED;
    bool flat = code != 0;
    uint32_t limit = flat ? UINT32_MAX : 0xffff;
    uint16_t large = flat ? SEGMENT_GRANULARITY : 0;

    for (unsigned n = 0; n < ARRAY_SIZE(data); n++)
        vcpu_set_segment(cpu, data[n], flat ? SELECTOR_DATA : 0, 0, limit,
                         (uint16_t)(common | large | (flat ? SEGMENT_DB : 0)));
    vcpu_set_segment(cpu, SEG_CS, code, 0, limit,
                     (uint16_t)(common | large | SEGMENT_CODE | code_size));
}

void loader_enter16(struct loader *l, uint16_t ip, uint16_t sp)
{
    struct vcpu *cpu = l->target->cpu;

    vcpu_set_control(cpu, CR0_ET, 0, 0, 0);
    cpu->idtr = (struct descriptor_table){.base = 0, .limit = 0x3ff};
    set_segments(cpu, 0, 0);
    set_plain(cpu, ip, sp);
    log_entry(l, "real");
}

/* The GDT, and tables that say so. An empty IDT: an exception before the kernel's own is fatal. */
static bool put_tables(struct loader *l, uint64_t code)
{
    struct vcpu *cpu = l->target->cpu;
    uint8_t gdt[8 * GDT_ENTRIES] = {0};

    le64_put(gdt + SELECTOR_CODE, code);
    le64_put(gdt + SELECTOR_DATA, DESCRIPTOR_DATA);
    cpu->gdtr = (struct descriptor_table){.base = LOADER_GDT, .limit = sizeof(gdt) - 1};
    cpu->idtr = (struct descriptor_table){.base = 0, .limit = 0};
    cpu->tr.limit = TSS_LIMIT;
    return loader_put(l, LOADER_GDT, gdt, sizeof(gdt));
}

bool loader_enter32(struct loader *l, uint32_t eip)
{
    struct vcpu *cpu = l->target->cpu;

    if (!put_tables(l, DESCRIPTOR_CODE32))
        return false;
    vcpu_set_control(cpu, CR0_PE | CR0_ET, 0, 0, 0);
    set_segments(cpu, SELECTOR_CODE, SEGMENT_DB);
    set_plain(cpu, eip, LOADER_STACK);
    log_entry(l, "protected");
    return true;
}

static bool put_page_tables(struct loader *l)
{
    uint64_t flags = PAGE_PRESENT | PAGE_WRITABLE;
    uint64_t pdpt = LOADER_PAGE_TABLES + PAGE_SIZE, directories = pdpt + PAGE_SIZE;
    uint8_t page[PAGE_SIZE] = {0};

    le64_put(page, pdpt | flags);
    if (!loader_put(l, LOADER_PAGE_TABLES, page, sizeof(page)))
        return false;
    for (unsigned n = 0; n < 4; n++)
        le64_put(page + 8 * n, (directories + n * PAGE_SIZE) | flags);
    if (!loader_put(l, pdpt, page, sizeof(page)))
        return false;
    for (unsigned n = 0; n < 4; n++) {
        for (unsigned k = 0; k < PAGE_ENTRIES; k++)
            le64_put(page + 8 * k, (n * PAGE_ENTRIES + k) * LARGE_PAGE_SIZE | flags | PAGE_LARGE);
        if (!loader_put(l, directories + n * PAGE_SIZE, page, sizeof(page)))
            return false;
    }
    return true;
}

bool loader_enter64(struct loader *l, uint64_t rip)
{
    struct vcpu *cpu = l->target->cpu;

    if (!cpu_has(cpu, FEATURE_LM))
        return error_set(l->err, "%s: is 64-bit code, and this processor model has no long mode",
                         l->kernel->name);
    if (!put_tables(l, DESCRIPTOR_CODE64) || !put_page_tables(l))
        return false;
    vcpu_set_control(cpu, CR0_PE | CR0_ET | CR0_PG, LOADER_PAGE_TABLES, CR4_PAE,
                     EFER_LME | EFER_LMA);
    set_segments(cpu, SELECTOR_CODE, SEGMENT_LONG);
    set_plain(cpu, rip, LOADER_STACK);
    log_entry(l, "long");
    return true;
}
