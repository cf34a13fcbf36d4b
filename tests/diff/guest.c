/* Runs cases on a vCPU: a small 64-bit machine whose IDT leads every exception to a HLT. */
#include "diff.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/flags.h"
#include "cpu/fpu.h"
#include "cpu/mode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_SIZE 0x100000u

/* The kernel part lies where no random user pointer hits it. */
#define KERNEL_BASE 0xffffc00000000000ull

/* Guest physical layout; the kernel part is mapped at KERNEL_BASE, for the supervisor. */
enum layout {
    PHYS_PML4 = 0x1000,
    PHYS_PDPT = 0x2000,
    PHYS_PD = 0x3000,
    PHYS_PT_LOW = 0x4000,
    PHYS_PT_CODE = 0x5000,
    PHYS_PT_DATA = 0x6000,
    PHYS_GDT = 0x7000,
    PHYS_IDT = 0x8000,
    PHYS_TSS = 0x9000,
    PHYS_HANDLERS = 0xa000, /* 16 bytes each: HLT */
    PHYS_STACK_TOP = 0xc000,
    PHYS_PDPT_KERNEL = 0xd000,
    PHYS_PD_KERNEL = 0xe000,
    PHYS_LDT = 0x10000,
    PHYS_CODE = 0x20000,
    PHYS_DATA = 0x80000,
    KERNEL_PAGES = 32,
};

_Static_assert(PHYS_LDT + LDT_COUNT * 8 <= PHYS_CODE, "the table fits");
_Static_assert(PHYS_CODE + CODE_SIZE <= PHYS_DATA, "the code fits");

/* As Linux's, whose descriptors these are for user programs. */
#define SELECTOR_KERNEL_CODE 0x10
#define SELECTOR_TSS         0x40
#define DESCRIPTOR_CODE32    0x00cffb000000ffffull
#define DESCRIPTOR_DATA      0x00cff3000000ffffull
#define DESCRIPTOR_CODE64    0x00affb000000ffffull

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_AD 0x60ull
#define PTE_NX BIT64(63)

struct guest {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct vcpu *cpu;
    const uint8_t *image; /* what the data pages hold between cases */
    uint8_t *data;        /* the data pages */
};

static void put(struct guest *g, uint64_t address, const void *bytes, size_t length)
{
    bus_write(g->bus, gpa(address), bytes, length);
}

static void put64(struct guest *g, uint64_t address, uint64_t v)
{
    v = htole64(v);
    put(g, address, &v, 8);
}

static void build_tables(struct guest *g)
{
    const uint64_t user = PTE_P | PTE_W | PTE_U | PTE_AD, kernel = PTE_P | PTE_W | PTE_AD;

    put64(g, PHYS_PML4, PHYS_PDPT | user);
    put64(g, PHYS_PDPT, PHYS_PD | user);
    put64(g, PHYS_PML4 + bits_get(KERNEL_BASE, 39, 9) * 8, PHYS_PDPT_KERNEL | kernel);
    put64(g, PHYS_PDPT_KERNEL, PHYS_PD_KERNEL | kernel);
    put64(g, PHYS_PD_KERNEL, PHYS_PT_LOW | kernel);
    put64(g, PHYS_PD + (CODE_BASE >> 21) * 8, PHYS_PT_CODE | user);
    put64(g, PHYS_PD + (DATA_BASE >> 21) * 8, PHYS_PT_DATA | user);
    for (unsigned n = 0; n < KERNEL_PAGES; n++)
        put64(g, PHYS_PT_LOW + n * 8, (uint64_t)n * 4096 | kernel);
    for (unsigned n = 0; n < CODE_SIZE / 4096; n++)
        put64(g, PHYS_PT_CODE + n * 8, (PHYS_CODE + n * 4096ull) | user);
    for (unsigned n = 0; n < DATA_SIZE / 4096; n++)
        put64(g, PHYS_PT_DATA + n * 8, (PHYS_DATA + n * 4096ull) | user | PTE_NX);
}

static uint64_t local_descriptor(unsigned n)
{
    struct diff_segment s = layout_segment(n);
    unsigned type = (s.code ? 8 : 0) | (s.down ? 4 : 0) | (s.writable ? 2 : 0) | 1;

    return (s.limit & 0xffff) | (uint64_t)(s.base & 0xffffff) << 16 | (uint64_t)type << 40 |
           (uint64_t)0x70 << 40 | (uint64_t)s.present << 47 | (uint64_t)(s.limit >> 16) << 48 |
           BIT64(52) /* AVL */ | (uint64_t)s.big << 54 | (uint64_t)(s.base >> 24) << 56;
}

static void build_descriptors(struct guest *g)
{
    put64(g, PHYS_GDT + 0x08, 0x00cf9b000000ffffull); /* kernel code, 32-bit */
    put64(g, PHYS_GDT + SELECTOR_KERNEL_CODE, 0x00af9b000000ffffull);
    put64(g, PHYS_GDT + 0x18, 0x00cf93000000ffffull); /* kernel data */
    put64(g, PHYS_GDT + (SELECTOR_CODE32 & ~7), DESCRIPTOR_CODE32);
    put64(g, PHYS_GDT + (SELECTOR_DATA & ~7), DESCRIPTOR_DATA);
    put64(g, PHYS_GDT + (SELECTOR_CODE64 & ~7), DESCRIPTOR_CODE64);
    put64(g, PHYS_TSS + 4, KERNEL_BASE + PHYS_STACK_TOP);
    put(g, PHYS_TSS + 0x66, "\x68", 1); /* no I/O permission bitmap */
    for (unsigned n = 0; n < LDT_COUNT; n++)
        put64(g, PHYS_LDT + n * 8, local_descriptor(n));
    for (unsigned n = 0; n < 32; n++) {
        uint64_t handler = PHYS_HANDLERS + n * 16;
        uint64_t type = 0x8eull | (n == 3 || n == 4 ? 0x60 : 0); /* INT3 and INTO may */

        put64(g, PHYS_IDT + n * 16,
              (handler & 0xffff) | (uint64_t)SELECTOR_KERNEL_CODE << 16 | type << 40);
        put64(g, PHYS_IDT + n * 16 + 8, KERNEL_BASE >> 32);
        put(g, handler, "\xf4", 1);
    }
}

static void set_tables(struct vcpu *cpu)
{
    cpu->gdtr = (struct descriptor_table){KERNEL_BASE + PHYS_GDT, 0x7f};
    cpu->idtr = (struct descriptor_table){KERNEL_BASE + PHYS_IDT, 0x1ff};
    cpu->tr = (struct segment){
        .base = KERNEL_BASE + PHYS_TSS,
        .limit = 0x67,
        .selector = SELECTOR_TSS,
        .attributes = SEGMENT_PRESENT | 11,
        .usable = true,
    };
    cpu->ldtr = (struct segment){
        .base = KERNEL_BASE + PHYS_LDT,
        .limit = LDT_COUNT * 8 - 1,
        .selector = 0x50,
        .attributes = SEGMENT_PRESENT | 2,
        .usable = true,
    };
}

struct guest *guest_create(void)
{
    struct guest *g = calloc(1, sizeof(*g));
    struct cpu_model model;
    struct error err = {0};

    log_init(&g->log);
    if (getenv("DIFF_LOG") != NULL)
        g->log.mask = LOG_INT | LOG_GUEST_ERROR;
    clock_init(&g->clock, CLOCK_DETERMINISTIC, 0);
    g->memory = machine_memory_create(RAM_SIZE, &err);
    if (g->memory == NULL || !machine_memory_add(g->memory, mpa(0), RAM_SIZE, FRAME_RAM, &err) ||
        !cpu_model_parse(host_has_feature(FEATURE_LA57) ? "max" : "max,-la57", &model, &err)) {
        fprintf(stderr, "diff: %s\n", err.text);
        exit(1);
    }
    g->bus = bus_create(g->memory, &g->log);
    struct vcpu_config config = {
        .model = &model,
        .bus = g->bus,
        .memory = g->memory,
        .clock = &g->clock,
        .log = &g->log,
        .tsc_hz = NS_PER_SECOND,
    };
    g->data = machine_memory_host(g->memory, mpa(PHYS_DATA));
    g->cpu = vcpu_create(&config);
    build_tables(g);
    build_descriptors(g);
    set_tables(g->cpu);
    g->cpu->xcr0 = host_has_feature(FEATURE_AVX) ? 7 : 3;
    if (host_has_feature(FEATURE_AVX512F))
        g->cpu->xcr0 |= XSTATE_AVX512;
    vcpu_set_control(g->cpu, CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG | CR0_ET | CR0_AM,
                     PHYS_PML4,
                     CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
                         (host_has_fsgsbase() ? CR4_FSGSBASE : 0),
                     EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    return g;
}

void guest_destroy(struct guest *g)
{
    vcpu_destroy(g->cpu);
    bus_destroy(g->bus);
    machine_memory_destroy(g->memory);
    free(g);
}

void guest_load(struct guest *g, const struct diff_case *cases, unsigned first, unsigned count,
                const uint8_t *image)
{
    uint8_t slot[SLOT_SIZE];

    for (unsigned n = first; n < first + count; n++) {
        memset(slot, 0xcc, SLOT_SIZE);
        memcpy(slot + SLOT_ENTRY, cases[n].code, cases[n].length);
        put(g, PHYS_CODE + n * SLOT_SIZE, slot, SLOT_SIZE);
    }
    g->image = image;
    memcpy(g->data, image, DATA_SIZE);
}

static void install_segment(struct vcpu *cpu, enum segment_index n, uint16_t selector)
{
    struct segment *s = &cpu->seg[n];
    uint64_t raw = 0;

    *s = (struct segment){.selector = selector};
    if (selector < 4)
        return;
    if (selector & 4) {
        struct diff_segment local = layout_segment(selector >> 3);

        raw = local_descriptor(selector >> 3);
        s->base = local.base;
        s->limit = local.limit;
    } else {
        raw = selector == SELECTOR_CODE64   ? DESCRIPTOR_CODE64
              : selector == SELECTOR_CODE32 ? DESCRIPTOR_CODE32
                                            : DESCRIPTOR_DATA;
        s->limit = UINT32_MAX;
    }
    s->attributes = (uint16_t)(raw >> 40 & 0xf0ff);
    s->usable = true;
}

static void install(struct guest *g, struct diff_case *c, unsigned slot)
{
    struct vcpu *cpu = g->cpu;
    struct diff_state *s = &c->in;

    memcpy(cpu->gpr, s->gpr, 16 * sizeof(cpu->gpr[0]));
    cpu->rip = case_entry(c, slot);
    cpu->attention = 0;
    cpu->mmu.cpl = 3;
    for (unsigned n = 0; n < SEG_NONE; n++)
        install_segment(cpu, n, s->selector[n]);
    cpu->seg[SEG_FS].base = s->fs_base;
    cpu->seg[SEG_GS].base = s->gs_base;
    mode_update(cpu);
    vcpu_set_rflags(cpu, s->rflags);
    for (unsigned n = 0; n < 32; n++)
        for (unsigned q = 0; q < 8; q++)
            cpu->vreg[n].q[q] = *diff_quad(s, n, q);
    memcpy(cpu->opmask, s->opmask, sizeof(cpu->opmask));
    fpu_mxcsr_write(cpu, s->mxcsr);
    cpu->x87.control = s->fcw;
    cpu->x87.top = (s->fsw >> 11) & 7;
    cpu->x87.status = s->fsw & ~0x3800;
    cpu->x87.valid = s->ftw;
    cpu->x87.opcode = s->fop;
    cpu->x87.ip = s->fip;
    cpu->x87.dp = s->fdp;
    cpu->x87.cs = cpu->x87.ds = 0;
    for (unsigned n = 0; n < 8; n++) {
        struct float80 *r = &cpu->x87.r[(cpu->x87.top + n) & 7];

        r->significand = s->st[n].significand;
        r->sign_exponent = s->st[n].sign_exponent;
    }
    for (unsigned n = 0; n < c->patch_count; n++)
        memcpy(g->data + c->patch[n].offset, c->bytes + c->patch[n].bytes, c->patch[n].size);
}

/* The frame that the exception pushed: [error code] RIP CS RFLAGS RSP SS. */
static void read_frame(struct guest *g, struct diff_state *s)
{
    uint64_t frame[6];
    unsigned at = 0;

    bus_read(g->bus, gpa(g->cpu->gpr[GPR_RSP] - KERNEL_BASE), frame, sizeof(frame));
    if (KERNEL_BASE + PHYS_STACK_TOP - g->cpu->gpr[GPR_RSP] == 48)
        s->error_code = (uint32_t)le64toh(frame[at++]);
    s->rip = le64toh(frame[at]);
    s->selector[SEG_CS] = (uint16_t)le64toh(frame[at + 1]);
    s->rflags = le64toh(frame[at + 2]);
    s->gpr[GPR_RSP] = le64toh(frame[at + 3]);
    s->selector[SEG_SS] = (uint16_t)le64toh(frame[at + 4]);
}

void guest_run(struct guest *g, struct diff_case *c, unsigned slot, bool soft,
               struct diff_result *r)
{
    struct vcpu *cpu = g->cpu;
    struct diff_state *s = &r->out;
    enum vcpu_exit exit;

    install(g, c, slot);
    memset(s, 0, sizeof(*s));
    r->soft = cpu->fpu_soft = soft;
    exit = vcpu_run(cpu, 100000);
    memcpy(s->gpr, cpu->gpr, 16 * sizeof(cpu->gpr[0]));
    s->rip = cpu->rip;
    for (unsigned n = 0; n < SEG_NONE; n++)
        s->selector[n] = cpu->seg[n].selector;
    s->fs_base = cpu->seg[SEG_FS].base;
    s->gs_base = cpu->seg[SEG_GS].base;
    s->vector = 255; /* did not end in an exception */
    if (exit == VCPU_EXIT_HALTED) {
        s->vector = (uint8_t)((cpu->rip - KERNEL_BASE - PHYS_HANDLERS) / 16);
        read_frame(g, s);
        s->cr2 = s->vector == 14 ? cpu->cr2 : 0;
    }
    for (unsigned n = 0; n < 32; n++)
        for (unsigned q = 0; q < 8; q++)
            *diff_quad(s, n, q) = cpu->vreg[n].q[q];
    memcpy(s->opmask, cpu->opmask, sizeof(s->opmask));
    s->mxcsr = fpu_mxcsr_read(cpu);
    s->fcw = cpu->x87.control;
    s->fsw = (uint16_t)((cpu->x87.status & ~0x3800) | cpu->x87.top << 11);
    s->ftw = cpu->x87.valid;
    s->fop = cpu->x87.opcode;
    s->fip = cpu->x87.ip;
    s->fdp = cpu->x87.dp;
    for (unsigned n = 0; n < 8; n++) {
        s->st[n].significand = cpu->x87.r[(cpu->x87.top + n) & 7].significand;
        s->st[n].sign_exponent = cpu->x87.r[(cpu->x87.top + n) & 7].sign_exponent;
    }
    r->data = g->data;
}

void guest_clean(struct guest *g)
{
    for (unsigned n = 0; n < DATA_SIZE; n += 8 * LINE_SIZE)
        if (memcmp(g->data + n, g->image + n, 8 * LINE_SIZE) != 0)
            memcpy(g->data + n, g->image + n, 8 * LINE_SIZE);
}
