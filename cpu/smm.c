#include "cpu/smm.h"

#include "base/log.h"
#include "cpu/flags.h"
#include "cpu/mode.h"
#include "cpu/system.h"

#include <string.h>

#define HANDLER  0x8000u  /* of SMBASE */
#define AREA     0xfe00u  /* of SMBASE: the save area, 512 bytes to SMBASE + FFFFh */
#define REVISION 0x30064u /* bit 17: SMBASE relocation, bit 16: I/O instruction restart */

/* Real-address data segments of 4 GiB. */
#define SMM_ATTRIBUTES                                                                             \
    (SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED | SEGMENT_GRANULARITY)

/* All that the save area holds. */
struct image {
    struct segment seg[SEG_NONE], ldtr, tr;
    struct descriptor_table gdtr, idtr;
    uint64_t gpr[16], rip, rflags, dr6, dr7, cr0, cr3, cr4, efer;
    uint64_t io_rip, io_rcx, io_rsi, io_rdi;
    uint64_t io_info, io_restart, halted, nmi_blocked, revision, smbase;
};

/* The bytes of the area, and the direction in which fields are copied. */
struct area {
    uint8_t bytes[512];
    bool save;
};

/* One little-endian field; offset as in the manual's table: from SMBASE. */
static void field(struct area *a, unsigned offset, unsigned size, uint64_t *value)
{
    uint8_t *p = a->bytes + (offset - AREA);

    if (!a->save)
        *value = 0;
    for (unsigned n = 0; n < size; n++) {
        if (a->save)
            p[n] = (uint8_t)(*value >> (8 * n));
        else
            *value |= (uint64_t)p[n] << (8 * n);
    }
}

/* A null selector's register is one that is not present. */
static void segment_field(struct area *a, unsigned offset, struct segment *s)
{
    uint64_t selector = s->selector, limit = s->limit, base = s->base;
    uint64_t attributes = s->usable ? s->attributes : s->attributes & ~(uint64_t)SEGMENT_PRESENT;

    field(a, offset, 2, &selector);
    field(a, offset + 2, 2, &attributes);
    field(a, offset + 4, 4, &limit);
    field(a, offset + 8, 8, &base);
    *s = (struct segment){
        .base = base,
        .limit = (uint32_t)limit,
        .selector = (uint16_t)selector,
        .attributes = (uint16_t)(attributes & 0xf0ff),
        .usable = attributes & SEGMENT_PRESENT,
    };
}

static void table_field(struct area *a, unsigned offset, struct descriptor_table *t)
{
    uint64_t limit = t->limit, base = t->base;

    field(a, offset + 4, 4, &limit);
    field(a, offset + 8, 8, &base);
    *t = (struct descriptor_table){.base = base, .limit = (uint16_t)limit};
}

/* AMD APM volume 2, table 10-1. */
static void copy_fields(struct area *a, struct image *m)
{
    for (unsigned n = 0; n < SEG_NONE; n++)
        segment_field(a, 0xfe00 + 16 * n, &m->seg[n]);
    table_field(a, 0xfe60, &m->gdtr);
    segment_field(a, 0xfe70, &m->ldtr);
    table_field(a, 0xfe80, &m->idtr);
    segment_field(a, 0xfe90, &m->tr);
    field(a, 0xfea0, 8, &m->io_rip);
    field(a, 0xfea8, 8, &m->io_rcx);
    field(a, 0xfeb0, 8, &m->io_rsi);
    field(a, 0xfeb8, 8, &m->io_rdi);
    field(a, 0xfec0, 4, &m->io_info);
    field(a, 0xfec8, 1, &m->io_restart);
    field(a, 0xfec9, 1, &m->halted);
    field(a, 0xfeca, 1, &m->nmi_blocked);
    field(a, 0xfed0, 8, &m->efer);
    field(a, 0xfefc, 4, &m->revision);
    field(a, 0xff00, 4, &m->smbase);
    field(a, 0xff48, 8, &m->cr4);
    field(a, 0xff50, 8, &m->cr3);
    field(a, 0xff58, 8, &m->cr0);
    field(a, 0xff60, 8, &m->dr7);
    field(a, 0xff68, 8, &m->dr6);
    field(a, 0xff70, 8, &m->rflags);
    field(a, 0xff78, 8, &m->rip);
    for (unsigned n = 0; n < 16; n++) /* R15 lowest, RAX highest; in the order of their numbers */
        field(a, 0xfff8 - 8 * n, 8, &m->gpr[n]);
}

/* ---- Entry ---- */

static void fill_image(const struct vcpu *cpu, struct image *m)
{
    *m = (struct image){
        .ldtr = cpu->ldtr,
        .tr = cpu->tr,
        .gdtr = cpu->gdtr,
        .idtr = cpu->idtr,
        .rip = cpu->rip,
        .rflags = vcpu_rflags(cpu),
        .dr6 = cpu->dr[6],
        .dr7 = cpu->dr[7],
        .cr0 = cpu->mmu.cr0,
        .cr3 = cpu->mmu.cr3,
        .cr4 = cpu->mmu.cr4,
        .efer = cpu->mmu.efer,
        .halted = (cpu->attention & VCPU_ATTENTION_HALTED) != 0,
        .nmi_blocked = cpu->nmi_blocked,
        .revision = REVISION,
        .smbase = cpu->smbase,
    };
    memcpy(m->seg, cpu->seg, sizeof(m->seg));
    memcpy(m->gpr, cpu->gpr, sizeof(m->gpr));
    if (cpu->io.end == vcpu_instructions(cpu)) { /* the SMI came with this instruction */
        m->io_rip = cpu->io.rip;
        m->io_rcx = cpu->io.rcx;
        m->io_rsi = cpu->io.rsi;
        m->io_rdi = cpu->io.rdi;
        m->io_info = cpu->io.info;
    }
}

/* APM 2 10.3.3, SDM 3C table 32-4. */
static void enter_handler(struct vcpu *cpu)
{
    uint64_t cr0 = cpu->mmu.cr0 & ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);

    for (unsigned n = 0; n < SEG_NONE; n++)
        cpu->seg[n] = (struct segment){
            .limit = UINT32_MAX,
            .attributes = SMM_ATTRIBUTES,
            .usable = true,
        };
    cpu->seg[SEG_CS].selector = (uint16_t)(cpu->smbase >> 4);
    cpu->seg[SEG_CS].base = cpu->smbase;
    cpu->smm_hits = cpu->debug.hits;
    cpu->debug.hits = 0;
    cpu->attention &= ~(VCPU_ATTENTION_HALTED | VCPU_ATTENTION_DEBUG);
    flags_set(cpu, 0);
    cpu->eflags = EFLAGS_ONE;
    cpu->rip = HANDLER;
    cpu->dr[7] = 0x400;
    cpu->mmu.cpl = 0;
    vcpu_set_control(cpu, cr0, cpu->mmu.cr3, 0, 0);
    debug_registers_changed(cpu);
}

/* SMIACT#: the chipset shows or hides SMRAM, and A20M# is disregarded in SMM. */
static void set_smm(struct vcpu *cpu, bool smm)
{
    cpu->smm = smm;
    if (cpu->platform.smm != NULL)
        cpu->platform.smm(cpu->platform.opaque, smm);
}

void smm_enter(struct vcpu *cpu)
{
    struct area a = {.save = true};
    struct image m;

    vcpu_set_clock(cpu);
    LOG(cpu->log, LOG_INT, "cpu%u: SMI at %#llx, instruction %llu\n", cpu->index,
        (unsigned long long)cpu->rip, (unsigned long long)vcpu_instructions(cpu));
    vcpu_signal(cpu, 0, VCPU_PENDING_SMI);
    fill_image(cpu, &m);
    cpu->smi_count++;
    cpu->nmi_blocked = true;
    set_smm(cpu, true);
    mmu_read_physical(&cpu->mmu, gpa((uint64_t)cpu->smbase + AREA), a.bytes, sizeof(a.bytes));
    copy_fields(&a, &m);
    mmu_write_physical(&cpu->mmu, gpa((uint64_t)cpu->smbase + AREA), a.bytes, sizeof(a.bytes));
    enter_handler(cpu);
}

/* ---- RSM ---- */

static bool is_long(const struct image *m)
{
    return m->efer & EFER_LMA;
}

/* Could the processor have been in this state? (APM 2 10.3.6, SDM 3C 32.4.1) */
static bool is_consistent(const struct vcpu *cpu, const struct image *m)
{
    uint16_t cs = m->seg[SEG_CS].attributes;

    if ((m->cr0 | m->dr6 | m->dr7) >> 32)
        return false;
    if (((m->cr0 & CR0_PG) && !(m->cr0 & CR0_PE)) || ((m->cr0 & CR0_NW) && !(m->cr0 & CR0_CD)))
        return false;
    if ((m->cr4 & ~cpu_cr4_known(cpu)) || (m->efer & ~cpu_efer_known(cpu)))
        return false;
    if (is_long(m) != ((m->efer & EFER_LME) && (m->cr0 & CR0_PG)))
        return false;
    if (!is_long(m))
        return !(m->cr4 & CR4_PCIDE);
    if (m->cr3 & ~(BIT64(cpu->mmu.physical_bits) - 1))
        return false;
    return (m->cr4 & CR4_PAE) && !(m->rflags & EFLAGS_VM) &&
           (cs & (SEGMENT_LONG | SEGMENT_DB)) != (SEGMENT_LONG | SEGMENT_DB);
}

static unsigned image_cpl(const struct image *m)
{
    if (!(m->cr0 & CR0_PE))
        return 0;
    return m->rflags & EFLAGS_VM ? 3 : m->seg[SEG_SS].attributes >> SEGMENT_DPL_SHIFT & 3;
}

static void load_image(struct vcpu *cpu, const struct image *m)
{
    uint32_t flags = (uint32_t)m->rflags;

    if (!(m->cr0 & CR0_PE))
        flags &= ~EFLAGS_VM;
    cpu->ldtr = m->ldtr;
    cpu->tr = m->tr;
    cpu->gdtr = m->gdtr;
    cpu->idtr = m->idtr;
    memcpy(cpu->seg, m->seg, sizeof(m->seg));
    memcpy(cpu->gpr, m->gpr, sizeof(m->gpr));
    cpu->rip = m->rip;
    cpu->dr[6] = (m->dr6 & 0xe00f) | 0xffff0ff0;
    cpu->dr[7] = (m->dr7 & 0xffff2bff) | 0x400;
    cpu->mmu.cpl = (uint8_t)image_cpl(m);
    cpu->eflags = flags & ~EFLAGS_STATUS;
    vcpu_set_control(cpu, (m->cr0 & cpu_cr0_known()) | CR0_ET, m->cr3, m->cr4, m->efer);
    cpu_write_eflags(cpu, flags, ~0u);
    debug_registers_changed(cpu);
}

/* Traps that the last instruction before the SMI has earned: SMI comes first (SDM 3A table 6-2). */
static void restore_hits(struct vcpu *cpu)
{
    cpu->debug.hits |= cpu->smm_hits;
    cpu->smm_hits = 0;
    if (cpu->debug.hits != 0)
        cpu->attention |= VCPU_ATTENTION_DEBUG;
}

/* The instruction that brought the SMI is to run again, if the handler asks for it; its registers
 * are those from before. It will earn its traps then. */
static void restart_io(struct vcpu *cpu, const struct image *m)
{
    if (m->io_restart != 0xff || !(m->io_info & BIT(1)))
        return;
    cpu->smm_hits = 0;
    cpu->rip = m->io_rip;
    cpu->gpr[GPR_RCX] = m->io_rcx;
    cpu->gpr[GPR_RSI] = m->io_rsi;
    cpu->gpr[GPR_RDI] = m->io_rdi;
}

void smm_leave(struct vcpu *cpu, const struct insn *i)
{
    struct area a = {.save = false};
    struct image m = {0};

    cpu_sync_time(cpu, i);
    mmu_read_physical(&cpu->mmu, gpa((uint64_t)cpu->smbase + AREA), a.bytes, sizeof(a.bytes));
    copy_fields(&a, &m);
    if (!is_consistent(cpu, &m))
        cpu_shutdown(cpu, i, "RSM: the save area holds an impossible state");
    cpu->smbase = (uint32_t)m.smbase;
    cpu->nmi_blocked = m.nmi_blocked & 1;
    set_smm(cpu, false);
    load_image(cpu, &m);
    mmu_flush_all(&cpu->mmu);
    if ((m.cr0 & CR0_PG) && (m.cr4 & CR4_PAE) && !is_long(&m) && !mmu_load_pdptes(&cpu->mmu, m.cr3))
        cpu_shutdown(cpu, i, "RSM: a page directory pointer has a reserved bit set");
    restart_io(cpu, &m);
    restore_hits(cpu);
    if (m.halted & 1)
        cpu->attention |= VCPU_ATTENTION_HALTED;
}
