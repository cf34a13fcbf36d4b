/* A processor's life: creation, reset, snapshots, what loaders and reports need. */
#include "cpu/cpu.h"

#include "base/check.h"
#include "base/host/host.h"
#include "base/log.h"
#include "cpu/block.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/flags.h"
#include "cpu/fpu.h"
#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/smm.h"
#include "cpu/system.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ATTENTION_HITS_SHIFT 16 /* in snapshots; above every VCPU_ATTENTION bit */

#define PAT_RESET 0x0007040600070406ull

/* Segments after RESET (SDM 3A table 9-1). */
static void reset_segments(struct vcpu *cpu)
{
    uint16_t data = SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED;

    for (unsigned n = 0; n < SEG_NONE; n++)
        cpu->seg[n] = (struct segment){.limit = 0xffff, .attributes = data, .usable = true};
    cpu->seg[SEG_NONE] = (struct segment){.limit = UINT32_MAX, .attributes = data, .usable = true};
    cpu->seg[SEG_CS].selector = 0xf000;
    cpu->seg[SEG_CS].base = 0xffff0000;
    cpu->seg[SEG_CS].attributes |= SEGMENT_CODE;
    cpu->gdtr = (struct descriptor_table){.limit = 0xffff};
    cpu->idtr = (struct descriptor_table){.limit = 0xffff};
    cpu->ldtr = (struct segment){.limit = 0xffff, .attributes = SEGMENT_PRESENT | 2};
    cpu->tr = (struct segment){.limit = 0xffff, .attributes = SEGMENT_PRESENT | 11};
}

static void reset_power_on(struct vcpu *cpu)
{
    struct mce_bank banks[MCE_BANK_COUNT];

    memcpy(banks, cpu->msr.mc, sizeof(banks));
    memset(&cpu->msr, 0, sizeof(cpu->msr));
    for (unsigned n = 0; n < MCE_BANK_COUNT; n++) { /* a reset keeps the log */
        cpu->msr.mc[n] = banks[n];
        cpu->msr.mc[n].ctl = 0;
    }
    cpu->msr.pat = PAT_RESET;
    cpu->msr.misc_enable = BIT(0); /* fast strings */
    cpu->msr.mtrr_def_type = 0;
    cpu->tsc_offset = 0;
    cpu->smm = false;
    cpu->smbase = SMM_BASE_RESET;
    cpu->smi_count = 0;
    memset(cpu->vreg, 0, sizeof(cpu->vreg));
    memset(cpu->opmask, 0, sizeof(cpu->opmask));
    memset(&cpu->x87, 0, sizeof(cpu->x87));
    cpu->x87.control = 0x40;
    cpu->x87.valid = 0xff;
    cpu->x87_error_pin = cpu->x87_ignore = false;
    cpu->mxcsr = MXCSR_RESET;
    cpu->xcr0 = 1;
}

void vcpu_reset(struct vcpu *cpu, bool init)
{
    uint64_t cr0 = CR0_ET;

    if (!init)
        reset_power_on(cpu);
    if (init)
        cr0 |= cpu->mmu.cr0 & (CR0_CD | CR0_NW);
    else
        cr0 |= CR0_CD | CR0_NW;
    memset(cpu->gpr, 0, sizeof(cpu->gpr));
    cpu->gpr[GPR_8192] = 8192;
    cpu->gpr[GPR_RDX] = cpu->model->signature;
    flags_set(cpu, 0);
    cpu->eflags = EFLAGS_ONE;
    cpu->rip = 0xfff0;
    reset_segments(cpu);
    cpu->cr2 = 0;
    memset(cpu->dr, 0, sizeof(cpu->dr));
    cpu->dr[6] = 0xffff0ff0;
    cpu->dr[7] = 0x400;
    cpu->attention = cpu->application ? VCPU_ATTENTION_STARTUP : 0;
    cpu->monitor_waits = false;
    cpu->debug.hits = cpu->smm_hits = 0;
    cpu->nmi_blocked = cpu->delivering = false;
    cpu->event_ext = 0;
    cpu->monitor_address = cpu->monitor_at = UINT64_MAX;
    cpu->mmu.cpl = 0;
    cpu->block = NULL;
    mem_note_place(cpu, NULL);
    vcpu_set_control(cpu, cr0, 0, 0, 0);
    debug_registers_changed(cpu);
    debug_control_changed(cpu);
    if (cpu_topology_count(&cpu->topology) > 1)
        LOG(cpu->log, LOG_RESET, "cpu%u: %s\n", cpu->index, init ? "INIT" : "reset");
    if (log_on(cpu->log, LOG_RESET))
        vcpu_dump(cpu, cpu->log->stream);
}

static void interrupt(struct mmu_context *m)
{
    vcpu_signal(vcpu_of(m), VCPU_PENDING_SAFEPOINT, 0);
}

static void lock_devices(struct mmu_context *m)
{
    const struct vcpu *cpu = vcpu_of(m);

    cpu->platform.lock(cpu->platform.opaque);
}

static void unlock_devices(struct mmu_context *m)
{
    const struct vcpu *cpu = vcpu_of(m);

    cpu->platform.unlock(cpu->platform.opaque);
}

static bool own_read(struct mmu_context *m, unsigned offset, unsigned size, uint64_t *value)
{
    const struct vcpu *cpu = vcpu_of(m);

    return cpu->platform.own_read(cpu->platform.opaque, offset, size, value);
}

static bool own_write(struct mmu_context *m, unsigned offset, unsigned size, uint64_t value)
{
    const struct vcpu *cpu = vcpu_of(m);

    return cpu->platform.own_write(cpu->platform.opaque, offset, size, value);
}

struct vcpu *vcpu_create(const struct vcpu_config *config)
{
    struct vcpu *cpu = host_alloc_lazy(sizeof(*cpu));
    struct cpu_model *model = host_alloc(sizeof(*model));

    *model = *config->model;
    cpu->model = model;
    cpu->index = config->index;
    cpu->application = config->index != 0;
    if (config->topology != NULL)
        cpu->topology = *config->topology;
    cpu->apic_id = cpu_topology_apic_id(&cpu->topology, cpu->index);
    cpu->clock = config->clock;
    cpu->log = config->log;
    cpu->tsc_hz = config->tsc_hz;
    cpu->platform = config->platform;
    memcpy(cpu->features, model->features, sizeof(cpu->features));
    cpu->random_state = 0x9e3779b97f4a7c15ull + config->index;
    mmu_init(&cpu->mmu, config->bus, config->memory, config->log, config->index);
    cpu->mmu.exact = true;
    cpu->mmu.interrupt = interrupt;
    cpu->mmu.lock = config->platform.lock != NULL ? lock_devices : NULL;
    cpu->mmu.unlock = config->platform.unlock != NULL ? unlock_devices : NULL;
    cpu->mmu.own_read = own_read;
    cpu->mmu.own_write = own_write;
    cpu->mmu.physical_bits = model->physical_bits;
    cpu->mmu.gib_pages = cpu_has(cpu, FEATURE_PDPE1GB);
    cpu->decoder = decoder_create();
    cpu->blocks = block_cache_create(cpu);
    vcpu_reset(cpu, false);
    return cpu;
}

void vcpu_destroy(struct vcpu *cpu)
{
    if (cpu == NULL)
        return;
    block_cache_destroy(cpu->blocks);
    cpu->blocks = NULL;
    decoder_destroy((struct decoder *)cpu->decoder);
    debug_destroy(cpu);
    mmu_destroy(&cpu->mmu);
    free((struct cpu_model *)cpu->model);
    host_free_lazy(cpu, sizeof(*cpu));
}

uint64_t vcpu_tsc(struct vcpu *cpu)
{
    return mul_div(clock_now(cpu->clock), cpu->tsc_hz, NS_PER_SECOND) + cpu->tsc_offset;
}

uint64_t vcpu_rflags(const struct vcpu *cpu)
{
    return cpu->eflags | flags_get(cpu);
}

void vcpu_drop_derived(struct vcpu *cpu)
{
    block_cache_drop(cpu);
    mmu_flush_all(&cpu->mmu);
}

void vcpu_set_segment(struct vcpu *cpu, enum segment_index n, uint16_t selector, uint64_t base,
                      uint32_t limit, uint16_t attributes)
{
    cpu->seg[n] = (struct segment){
        .base = base,
        .limit = limit,
        .selector = selector,
        .attributes = attributes,
        .usable = true,
    };
    mode_update(cpu);
}

void vcpu_set_control(struct vcpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
    mmu_set_control(&cpu->mmu, cr0, cr4, efer);
    mmu_set_cr3(&cpu->mmu, cr3, false);
    mode_update(cpu);
}

void vcpu_set_rflags(struct vcpu *cpu, uint64_t rflags)
{
    cpu_write_eflags(cpu, (uint32_t)rflags, ~0u);
}

static void serialize_segment(struct segment *s, struct state *st)
{
    state_u64(st, &s->base);
    state_u32(st, &s->limit);
    state_u16(st, &s->selector);
    state_u16(st, &s->attributes);
    state_bool(st, &s->usable);
}

static void serialize_table(struct descriptor_table *t, struct state *s)
{
    state_u64(s, &t->base);
    state_u16(s, &t->limit);
}

static void serialize_control(struct vcpu *cpu, struct state *s)
{
    struct mmu_context *m = &cpu->mmu;
    uint64_t cr0 = m->cr0, cr3 = m->cr3, cr4 = m->cr4, efer = m->efer, a20 = m->a20_mask;
    uint8_t cpl = m->cpl;
    uint32_t pkru = m->pkru;

    state_u64(s, &cr0);
    state_u64(s, &cr3);
    state_u64(s, &cr4);
    state_u64(s, &efer);
    state_u64(s, &a20);
    state_u8(s, &cpl);
    state_u32(s, &pkru);
    for (unsigned n = 0; n < 4; n++)
        state_u64(s, &m->pdpte[n]);
    state_check(s, cpl <= 3, "cpu: CPL above 3");
    if (!state_is_loading(s) || state_failed(s))
        return;
    m->cpl = cpl;
    mmu_set_a20(m, a20 == UINT64_MAX);
    mmu_set_pkru(m, pkru);
    vcpu_set_control(cpu, cr0, cr3, cr4, efer);
}

static void serialize_msrs(struct vcpu *cpu, struct state *s)
{
    uint64_t *words = (uint64_t *)&cpu->msr;

    _Static_assert(sizeof(cpu->msr) % sizeof(uint64_t) == 0, "MSRs are 64-bit words");
    for (unsigned n = 0; n < sizeof(cpu->msr) / sizeof(uint64_t); n++)
        state_u64(s, &words[n]);
}

static void serialize_monitor(struct vcpu *cpu, struct state *s)
{
    state_u64(s, &cpu->monitor_address);
    state_u64(s, &cpu->monitor_at);
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->monitor_line); n++)
        state_u64(s, &cpu->monitor_line[n]);
    state_bool(s, &cpu->monitor_waits);
    state_check(s,
                !cpu->monitor_waits ||
                    machine_memory_contains(cpu->mmu.memory, mpa(cpu->monitor_at),
                                            sizeof(cpu->monitor_line)),
                "cpu: MWAIT waits for what is no RAM");
}

static void serialize_smm(struct vcpu *cpu, struct state *s)
{
    state_bool(s, &cpu->smm);
    state_u32(s, &cpu->smbase);
    state_u32(s, &cpu->smm_hits);
    state_u64(s, &cpu->smi_count);
    state_u64(s, &cpu->io.rip);
    state_u64(s, &cpu->io.rcx);
    state_u64(s, &cpu->io.rsi);
    state_u64(s, &cpu->io.rdi);
    state_u64(s, &cpu->io.end);
    state_u32(s, &cpu->io.info);
}

/* After the registers: hits that MOV SS keeps back lie in the upper bits of the word. */
static void restore_attention(struct vcpu *cpu, uint32_t attention)
{
    uint32_t resume = cpu->eflags & EFLAGS_RF;

    cpu->attention =
        attention & (VCPU_ATTENTION_HALTED | VCPU_ATTENTION_SHADOW | VCPU_ATTENTION_SHADOW_SS |
                     VCPU_ATTENTION_DEBUG | VCPU_ATTENTION_STARTUP);
    cpu->debug.hits = attention >> ATTENTION_HITS_SHIFT;
    cpu->block = NULL;
    debug_registers_changed(cpu);
    debug_control_changed(cpu);
    mode_update(cpu);
    cpu->eflags |= resume; /* between two parts of a repeated instruction */
    cpu->attention |= resume != 0 ? VCPU_ATTENTION_RESUME : 0;
}

void vcpu_serialize(struct vcpu *cpu, struct state *s)
{
    uint32_t flags = flags_get(cpu), pending = atomic_load(&cpu->pending);
    uint8_t startup = atomic_load(&cpu->startup_vector);
    /* Whether an instruction must run singly is no architectural state; RF is in EFLAGS, LBR in
     * IA32_DEBUGCTL. */
    uint32_t attention =
        cpu->attention & ~(VCPU_ATTENTION_SINGLE | VCPU_ATTENTION_RESUME | VCPU_ATTENTION_RECORD);

    attention |= cpu->debug.hits << ATTENTION_HITS_SHIFT;
    state_section(s, "vcpu", 6);
    for (unsigned n = 0; n < 16; n++)
        state_u64(s, &cpu->gpr[n]);
    state_u64(s, &cpu->rip);
    state_u32(s, &cpu->eflags);
    state_u32(s, &flags);
    for (unsigned n = 0; n < SEG_NONE; n++)
        serialize_segment(&cpu->seg[n], s);
    serialize_segment(&cpu->ldtr, s);
    serialize_segment(&cpu->tr, s);
    serialize_table(&cpu->gdtr, s);
    serialize_table(&cpu->idtr, s);
    state_u64(s, &cpu->cr2);
    for (unsigned n = 0; n < 8; n++)
        state_u64(s, &cpu->dr[n]);
    serialize_msrs(cpu, s);
    state_u32(s, &pending);
    state_u32(s, &attention);
    serialize_monitor(cpu, s);
    state_u8(s, &startup);
    state_u8(s, &cpu->cr8_shadow);
    state_bool(s, &cpu->nmi_blocked);
    serialize_smm(cpu, s);
    state_u64(s, &cpu->instructions);
    state_u64(s, &cpu->tsc_offset);
    state_u64(s, &cpu->random_state);
    serialize_control(cpu, s);
    fpu_serialize(cpu, s);
    if (!state_is_loading(s) || state_failed(s))
        return;
    flags_set(cpu, flags);
    atomic_store(&cpu->pending, pending);
    atomic_store(&cpu->startup_vector, startup);
    restore_attention(cpu, attention);
    vcpu_drop_derived(cpu);
}

static void dump_segment(FILE *out, const char *name, const struct segment *s)
{
    fprintf(out, "%s=%04x %016" PRIx64 " %08x %04x%s\n", name, s->selector, s->base, s->limit,
            s->attributes, s->usable ? "" : " (null)");
}

void vcpu_dump(const struct vcpu *cpu, FILE *out)
{
    static const char *const names[16] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                          "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
    static const char *const segments[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    const struct mmu_context *m = &cpu->mmu;

    for (unsigned n = 0; n < 16; n++)
        fprintf(out, "%s=%016" PRIx64 "%s", names[n], cpu->gpr[n], n % 4 == 3 ? "\n" : " ");
    fprintf(out, "RIP=%016" PRIx64 " RFL=%08" PRIx64 " CPL=%u %s HLT=%u INSNS=%" PRIu64 "\n",
            cpu->rip, vcpu_rflags(cpu), m->cpl,
            cpu->mode & MODE_64     ? "64-bit"
            : cpu->mode & MODE_LONG ? "compatibility"
            : cpu->mode & MODE_V86  ? "virtual-8086"
            : cpu->mode & MODE_PROT ? "protected"
                                    : "real",
            cpu->attention & VCPU_ATTENTION_HALTED, vcpu_instructions(cpu));
    for (unsigned n = 0; n < 6; n++)
        dump_segment(out, segments[n], &cpu->seg[n]);
    dump_segment(out, "LDT", &cpu->ldtr);
    dump_segment(out, "TR", &cpu->tr);
    fprintf(out, "GDT=%016" PRIx64 " %04x IDT=%016" PRIx64 " %04x\n", cpu->gdtr.base,
            cpu->gdtr.limit, cpu->idtr.base, cpu->idtr.limit);
    fprintf(out,
            "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64
            " EFER=%04" PRIx64 "\n",
            m->cr0, cpu->cr2, m->cr3, m->cr4, m->efer);
    fprintf(out, "FSbase=%016" PRIx64 " GSbase=%016" PRIx64 " KGSbase=%016" PRIx64 "\n",
            cpu->seg[SEG_FS].base, cpu->seg[SEG_GS].base, cpu->msr.kernel_gs_base);
}

void vcpu_report_gaps(const struct vcpu *cpu, FILE *out)
{
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->gaps) && cpu->gaps[n].count > 0; n++) {
        fprintf(out, "gnomon: not implemented:");
        for (unsigned k = 0; k < cpu->gaps[n].length; k++)
            fprintf(out, " %02x", cpu->gaps[n].bytes[k]);
        fprintf(out, " at %#" PRIx64 ": raised #UD %" PRIu64 " times\n", cpu->gaps[n].rip,
                cpu->gaps[n].count);
    }
}
