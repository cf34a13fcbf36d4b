/*
 * Decoder and interpreter on any bytes in any mode. The input is a struct recipe (mode, control
 * bits, registers), then the code. The same program runs twice from the same state: once in long
 * slices, where blocks and chains are used, and once with a budget of one instruction each, with a
 * save and load somewhere; everything a guest can see must be equal in the end. A device is mapped
 * whose answers depend on the time and on all that happened to it, so that a repeated, forgotten or
 * misdated access shows.
 */
#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/state.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/fpu.h"
#include "cpu/mode.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Asked by the leak checker, which does not look into a vCPU's pages: all that hangs on them would
 * seem lost. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "detect_leaks=0";
}

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

/* Exceptions count as instructions, and up to three can follow the last one of a slice: a trap, a
 * fault of its delivery, a double fault. */
#define SLACK 3

enum kind { REAL, VIRTUAL_8086, PROTECTED_16, PROTECTED_32, COMPATIBILITY, LONG_64, KIND_COUNT };

enum recipe_bits {
    AT_CPL3 = 1 << 0,
    WITH_PAGING = 1 << 1, /* where there is a choice */
    WITH_PAE = 1 << 2,
    TABLES_MAPPED = 1 << 3,    /* the guest may change its page tables */
    HANDLERS_IN_CODE = 1 << 4, /* exceptions lead into the fuzzed code, not to HLT */
    SMALL_DATA = 1 << 5,       /* DS does not begin at 0 */
    WITH_INTERRUPTS = 1 << 6,
    WITH_NMI = 1 << 7,
};

/* The first bytes of an input. */
struct recipe {
    uint8_t kind;
    uint8_t how;      /* enum recipe_bits */
    uint8_t cr0, cr4; /* bit n: the n-th of cr0_bits, cr4_bits */
    uint8_t eflags[3];
    uint8_t start[2]; /* offset of RIP in the code */
    uint8_t budget;   /* instructions, beyond 8 */
    uint8_t slice;    /* length of the first run's slices, in instructions; 0: all */
    uint8_t save_at;  /* instruction before which the second run saves and loads */
    uint8_t mxcsr[2], fcw[2], x87_valid, x87_top;
    uint8_t seed;
    uint8_t gpr[16][2]; /* index into gpr_bases, signed offset */
};

static const uint64_t cr0_bits[8] = {CR0_WP, CR0_EM, CR0_TS, CR0_MP, CR0_NE, CR0_AM, CR0_CD};
static const uint64_t cr4_bits[8] = {CR4_SMEP, CR4_SMAP,     CR4_PKE, CR4_TSD,
                                     CR4_UMIP, CR4_FSGSBASE, CR4_PGE, CR4_DE};

/* Guest physical addresses; with paging also linear ones. */
enum layout {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x3000,
    TSS_OTHER = 0x3800,
    LDT = 0x3c00,
    ROOT = 0x4000, /* page directory or PML4 */
    PDPT = 0x5000, /* or the page table of 32-bit paging */
    PD = 0x6000,
    PT = 0x7000,
    CODE = 0x8000, /* two pages */
    STACK_TOP = 0xaff0,
    DATA = 0xb000, /* up to RAM_END */
    RAM_END = 0x10000,
    ROM = 0x10000,
    HOLE = 0x11000,
    DEVICE = 0x12000,
    MEMORY_SIZE = 0x20000,
    HANDLERS = 0x400,
};

#define CODE_SIZE    0x2000u
#define SELECTOR_TSS 0x70

/* What registers may hold: pages and their ends, corners, numbers that system instructions like. */
static const uint64_t gpr_bases[] = {
    0,
    CODE,
    CODE + 0x1000,
    0xa800,
    DATA,
    DATA + 0x1000,
    0xd000,  /* read-only */
    0xe000,  /* supervisor */
    0xf000,  /* not executable */
    0x10000, /* the code once more (with paging), or ROM */
    0x11000, /* not present, or a hole */
    0x12000, /* reserved bit, or the device */
    0x13000, /* ROM */
    0x14000, /* hole */
    0x15000, /* device */
    0x16000, /* beyond memory */
    0x17000, /* neither accessed nor dirty */
    0x18000, /* protection key 1 */
    PT,
    GDT,
    TSS + 0x68,
    0x200000 + CODE, /* large page */
    0x400000 + DATA,
    1,
    8,
    0x80,
    0x7fff,
    0x8000,
    0xffff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x7fffffffffffffff,
    0x8000000000000000,
    0x0000800000000000,
    0xffffffffffff8000,
    0x5555555555555555,
    0xc0000080, /* MSRs */
    0xc0000100,
    0x174,
    0x3b, /* selectors */
    0x43,
    0x80,
    0x88,
};

/* --- The device --- */

struct probe {
    struct clock *clock;
    uint64_t seen; /* digest of all accesses with their times */
};

static void probe_note(struct probe *p, uint64_t what)
{
    p->seen = (p->seen ^ what ^ clock_now(p->clock) << 32) * 0x9e3779b97f4a7c15ull;
    p->seen ^= p->seen >> 29;
}

static uint64_t probe_read(void *device, uint64_t offset, unsigned size)
{
    struct probe *p = device;

    probe_note(p, offset << 8 | size);
    return p->seen & size_mask(size);
}

static void probe_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    probe_note(device, value ^ (offset << 8 | size | 0x80));
}

static const struct bus_region_ops probe_ops = {"probe", probe_read, probe_write, 8};
static const struct bus_region_ops port_ops = {"ports", probe_read, probe_write, 4};

/* --- The guest --- */

struct guest {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct vcpu *cpu;
    struct probe probe;
    unsigned interrupts;    /* still to come */
    struct state *power_on; /* of the processor */
};

/* Some interrupts, then the wire goes down. */
static int acknowledge(void *opaque)
{
    struct guest *g = opaque;

    MUST(g->interrupts > 0);
    if (--g->interrupts == 0)
        vcpu_signal(g->cpu, 0, VCPU_PENDING_INTR);
    return 0x20 + (int)g->interrupts;
}

/* Nothing is derived from memory yet. */
static void put(struct guest *g, uint64_t address, const void *bytes, size_t length)
{
    MUST(machine_memory_contains(g->memory, mpa(address), length));
    memcpy(machine_memory_host(g->memory, mpa(address)), bytes, length);
}

static void put64(struct guest *g, uint64_t address, uint64_t v)
{
    v = htole64(v);
    put(g, address, &v, 8);
}

static void put_descriptors(struct guest *g, const struct recipe *r)
{
    static const uint64_t gdt[] = {
        0,
        0x00af9b000000ffff, /* 08 code64 */
        0x00cf93000000ffff, /* 10 data */
        0x00cf9b000000ffff, /* 18 code32 */
        0x00009b000000ffff, /* 20 code16 */
        0x000093000000ffff, /* 28 data16 */
        0x00cffb000000ffff, /* 33 user code32 */
        0x00cff3000000ffff, /* 3b user data */
        0x00affb000000ffff, /* 43 user code64 */
        0x0000fb000000ffff, /* 4b user code16 */
        0x0040f70000007fff, /* 53 expand-down above 32 KiB */
        0x0040f100b0000fff, /* 5b read-only, the page at DATA */
        0x00cf9f000000ffff, /* 60 conforming code32 */
        0x00cf73000000ffff, /* 6b not present */
        0x00008b0030000067, /* 70 TSS in use, */
        0,                  /*    wide in long mode */
        0x0000890038000067, /* 80 another TSS */
        0x0000ec0200188100, /* 8b call gate to 18 */
        0x0000ec0000088200, /* 93 call gate to 08, */
        0,                  /*    wide */
        0x0000e50000800000, /* a3 task gate to 80 */
        0x000082003c00003f, /* a8 LDT */
        0,                  /*    wide */
        0x0000e60000208300, /* bb interrupt gate, out of place */
        0x000081003800002b, /* c0 16-bit TSS */
        0x0000e40100208400, /* cb 16-bit call gate */
    };
    static const uint64_t other_tss[] = {
        [0] = (uint64_t)STACK_TOP << 32,
        [1] = 0x10,                       /* ESP0, SS0 */
        [3] = (uint64_t)ROOT << 32,       /* CR3 */
        [4] = CODE + 0x40 + (2ull << 32), /* EIP, EFLAGS */
        [7] = 0xa800,                     /* ESP */
        [9] = 0x10 + (0x18ull << 32),     /* ES, CS */
        [10] = 0x10 + (0x10ull << 32),    /* SS, DS */
    };
    bool wide = r->kind >= COMPATIBILITY, real = r->kind == REAL;
    uint64_t selector = wide ? 0x08 : r->kind == PROTECTED_16 ? 0x20 : 0x18;

    for (unsigned n = 0; n < ARRAY_SIZE(gdt); n++)
        put64(g, GDT + 8 * n, gdt[n]);
    for (unsigned n = 0; n < 8; n++)
        put64(g, LDT + 8 * n, gdt[n + 2]);
    for (unsigned n = 0; n < ARRAY_SIZE(other_tss); n++)
        put64(g, TSS_OTHER + 8 * n, other_tss[n]);
    for (unsigned n = 0; n < 48; n++) {
        uint64_t to = r->how & HANDLERS_IN_CODE ? CODE + 64 * n : HANDLERS + n;
        uint64_t type = n == 3 || n == 4 ? 0xef : 0x8e;

        if (real)
            put(g, n * 4, &(uint32_t){htole32((uint32_t)to)}, 4);
        else
            put64(g, IDT + n * (wide ? 16 : 8), to | selector << 16 | type << 40);
        put(g, HANDLERS + n, "\xf4", 1);
    }
    if (wide) {
        put64(g, TSS + 4, STACK_TOP);
        put64(g, TSS + 0x24, STACK_TOP - 0x400);
    } else {
        put64(g, TSS + 4, STACK_TOP | 0x10ull << 32);
    }
}

static void put_tables(struct guest *g, const struct recipe *r)
{
    const uint64_t user = 0x67, kernel = 0x63, reserved = BIT64(51), nx = BIT64(63);
    bool wide = r->kind >= COMPATIBILITY, pae = wide || (r->how & WITH_PAE);
    uint64_t pages[32] = {0};

    for (unsigned n = 0; n < 16; n++)
        pages[n] = (uint64_t)n << 12 | (n < 8 || n == 14 ? kernel : user);
    for (unsigned n = 4; n < 8; n++)
        pages[n] &= r->how & TABLES_MAPPED ? ~0ull : 0;
    pages[0xd] &= ~2ull;
    pages[0xf] |= pae ? nx : 0;
    pages[0x10] = CODE | user;
    pages[0x12] = pae ? DATA | user | reserved : 0;
    pages[0x13] = ROM | user;
    pages[0x14] = HOLE | user;
    pages[0x15] = DEVICE | user;
    pages[0x16] = 0x7654000 | user;
    pages[0x17] = DATA | 7;
    pages[0x18] = DATA | user | (pae ? BIT64(59) : 0);
    if (pae) {
        put64(g, ROOT, PDPT | user);
        put64(g, PDPT, PD | (wide ? user : 1));
        put64(g, PD, PT | user);
        put64(g, PD + 8, 0x80 | user); /* 2 MiB at 0 */
        put64(g, PD + 16, 0x80 | user);
    } else {
        put64(g, ROOT, PDPT | user | (0x80ull | user) << 32); /* 4 MiB at 0 */
    }
    for (unsigned n = 0; n < ARRAY_SIZE(pages); n++) {
        if (pae)
            put64(g, PT + 8 * n, pages[n]);
        else
            put(g, PDPT + 4 * n, &(uint32_t){htole32((uint32_t)pages[n])}, 4);
    }
}

static void put_segments(struct vcpu *cpu, const struct recipe *r)
{
    const uint16_t flat = SEGMENT_DB | SEGMENT_GRANULARITY;
    bool user = cpu->mmu.cpl == 3, big = r->kind >= PROTECTED_32;
    uint16_t rights = (uint16_t)(SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED |
                                 (unsigned)cpu->mmu.cpl << SEGMENT_DPL_SHIFT | (big ? flat : 0));
    uint16_t code = rights | SEGMENT_CODE, data = user ? 0x3b : 0x10, cs = user ? 0x33 : 0x18;
    uint32_t limit = big ? UINT32_MAX : 0xffff;

    if (r->kind == LONG_64) {
        code = (uint16_t)((code & ~SEGMENT_DB) | SEGMENT_LONG);
        cs = user ? 0x43 : 0x08;
    } else if (r->kind == PROTECTED_16) {
        cs = user ? 0x4b : 0x20;
    } else if (r->kind < PROTECTED_16) {
        cs = data = 0;
    }
    for (unsigned n = 0; n < SEG_NONE; n++)
        vcpu_set_segment(cpu, n, data, 0, limit, rights);
    vcpu_set_segment(cpu, SEG_CS, cs, 0, limit, code);
    if (r->how & SMALL_DATA) {
        bool real = r->kind < PROTECTED_16;

        vcpu_set_segment(cpu, SEG_DS, real ? 0xb00 : 0x5b, DATA, real ? 0xffff : 0xfff,
                         real ? rights : (uint16_t)(rights & ~(SEGMENT_WRITABLE | flat)));
        cpu->seg[SEG_FS].base = cpu->seg[SEG_GS].base = DATA + 0x800;
    }
    cpu->gdtr = (struct descriptor_table){GDT, 26 * 8 - 1};
    cpu->idtr = (struct descriptor_table){r->kind == REAL ? 0 : IDT, 0x2ff};
    cpu->ldtr = (struct segment){LDT, 0x3f, 0xa8, SEGMENT_PRESENT | 2, true};
    cpu->tr = (struct segment){TSS, 0x67, SELECTOR_TSS, SEGMENT_PRESENT | 11, true};
}

static void put_control(struct vcpu *cpu, const struct recipe *r)
{
    uint32_t extended[4];
    bool wide = r->kind >= COMPATIBILITY, paging = wide || (r->how & WITH_PAGING);
    uint64_t cr0 = CR0_ET, cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PSE, efer = 0;

    for (unsigned n = 0; n < 8; n++) {
        cr0 |= r->cr0 >> n & 1 ? cr0_bits[n] : 0;
        cr4 |= r->cr4 >> n & 1 ? cr4_bits[n] : 0;
    }
    if (r->kind != REAL)
        cr0 |= CR0_PE | (paging ? CR0_PG : 0);
    if (wide || (r->how & WITH_PAE)) {
        cr4 |= CR4_PAE;
        efer = EFER_NXE | EFER_SCE;
    }
    if (wide)
        efer |= EFER_LME | EFER_LMA;
    else
        cr4 &= ~CR4_PKE;
    cpu_cpuid(cpu, 0xd, 0, extended);
    cpu->xcr0 = extended[0]; /* all that there is */
    cpu->mmu.cpl = r->kind == VIRTUAL_8086 || (r->kind != REAL && (r->how & AT_CPL3)) ? 3 : 0;
    vcpu_set_control(cpu, cr0, wide ? ROOT : r->how & WITH_PAE ? PDPT : ROOT, cr4, efer);
    if (!wide && (r->how & WITH_PAE) && (cr0 & CR0_PG))
        MUST(mmu_load_pdptes(&cpu->mmu, PDPT));
    put_segments(cpu, r);
    cpu->eflags = 0;
    vcpu_set_rflags(cpu, (r->eflags[0] | r->eflags[1] << 8 | (r->eflags[2] & 0x05) << 16 | 2 |
                          (r->kind == VIRTUAL_8086 ? EFLAGS_VM : 0)) &
                             ~0x8028u);
}

static void put_registers(struct guest *g, const struct recipe *r)
{
    static const uint64_t numbers[] = {
        0x3ff0000000000000, 0x7ff0000000000000, 0x7ff8000000000001, 0x0000000000000001,
        0xbf8000003f800000, 0x7f8000007fc00000, 0x4059000000000000, 0x8000000000000000,
    };
    struct vcpu *cpu = g->cpu;

    for (unsigned n = 0; n < 16; n++)
        cpu->gpr[n] = gpr_bases[r->gpr[n][0] % ARRAY_SIZE(gpr_bases)] +
                      (uint64_t)(int64_t)(int8_t)r->gpr[n][1];
    if (r->kind != LONG_64)
        for (unsigned n = 0; n < 16; n++)
            cpu->gpr[n] = n < 8 ? (uint32_t)cpu->gpr[n] : 0;
    for (unsigned n = 0; n < 16; n++)
        for (unsigned k = 0; k < 2; k++)
            cpu->vreg[n].q[k] = numbers[(r->seed + n * 3 + k * 5) % ARRAY_SIZE(numbers)] + n;
    for (unsigned n = 0; n < 8; n++) {
        cpu->x87.r[n].significand = BIT64(63) | numbers[(r->seed + n) % ARRAY_SIZE(numbers)];
        cpu->x87.r[n].sign_exponent = (uint16_t)(0x3ffd + n * (r->seed & 0x7f));
    }
    cpu->x87.valid = r->x87_valid;
    cpu->x87.top = r->x87_top & 7;
    fpu_x87_set_control(cpu, (uint16_t)(r->fcw[0] | r->fcw[1] << 8));
    fpu_mxcsr_write(cpu, (r->mxcsr[0] | (uint32_t)r->mxcsr[1] << 8) ^ MXCSR_RESET);
    cpu->rip = CODE + (r->start[0] | (unsigned)r->start[1] << 8) % CODE_SIZE;
}

/* --- Saved states --- */

static struct state *save(struct guest *g)
{
    struct state *s = state_create_saving();

    vcpu_serialize(g->cpu, s);
    MUST(state_finish(s, NULL));
    return s;
}

static void load(struct guest *g, const struct state *saved)
{
    size_t length;
    const void *bytes = state_data(saved, &length);
    struct state *loading = state_create_loading(bytes, length);

    vcpu_serialize(g->cpu, loading);
    MUST(state_finish(loading, NULL));
    state_destroy(loading);
}

static bool same_state(const struct state *a, const struct state *b)
{
    size_t length_a, length_b;
    const void *bytes_a = state_data(a, &length_a), *bytes_b = state_data(b, &length_b);

    return length_a == length_b && memcmp(bytes_a, bytes_b, length_a) == 0;
}

/* A guest as after power-on; made once, since making one costs more than a run. */
static struct guest *guest_create(void)
{
    struct guest *g = calloc(1, sizeof(*g));
    struct vcpu_config config = {.tsc_hz = NS_PER_SECOND, .platform = {.acknowledge = acknowledge}};
    struct cpu_model model;

    MUST(g != NULL && cpu_model_parse("max", &model, NULL));
    log_init(&g->log);
    clock_init(&g->clock, CLOCK_DETERMINISTIC, 0);
    g->memory = machine_memory_create(MEMORY_SIZE, NULL);
    MUST(machine_memory_add(g->memory, mpa(0), RAM_END, FRAME_RAM, NULL));
    MUST(machine_memory_add(g->memory, mpa(ROM), PAGE_SIZE, FRAME_ROM, NULL));
    g->bus = bus_create(g->memory, &g->log);
    g->probe.clock = &g->clock;
    MUST(bus_add_mmio(g->bus, gpa(DEVICE), PAGE_SIZE, &probe_ops, &g->probe, NULL));
    MUST(bus_add_ports(g->bus, 0x70, 16, &port_ops, &g->probe, NULL));
    config.model = &model;
    config.bus = g->bus;
    config.memory = g->memory;
    config.clock = &g->clock;
    config.log = &g->log;
    config.platform.opaque = g;
    g->cpu = vcpu_create(&config);
    g->power_on = save(g);
    return g;
}

static void guest_begin(struct guest *g, const struct recipe *r, const uint8_t *code, size_t length)
{
    static const uint8_t halts[CODE_SIZE] = {[0 ... CODE_SIZE - 1] = 0xf4};
    uint64_t numbers[128], start;

    g->clock.instructions = 0;
    g->probe.seen = 0;
    load(g, g->power_on);
    memset(machine_memory_host(g->memory, mpa(0)), 0, ROM + PAGE_SIZE);
    put_descriptors(g, r);
    put_tables(g, r);
    put(g, CODE, halts, CODE_SIZE);
    for (unsigned n = 0; n < ARRAY_SIZE(numbers); n++)
        numbers[n] = htole64((n + r->seed) * 0x9e3779b97f4a7c15ull);
    for (uint64_t a = DATA; a < RAM_END; a += sizeof(numbers))
        put(g, a, numbers, sizeof(numbers));
    put_control(g->cpu, r);
    put_registers(g, r);
    start = g->cpu->rip;
    put(g, start, code, MIN(length, CODE + CODE_SIZE - start));
    put(g, ROM, code, MIN(length, PAGE_SIZE));
    g->interrupts = r->how & WITH_INTERRUPTS ? 1 + r->seed % 8 : 0;
    vcpu_signal(g->cpu,
                (g->interrupts > 0 ? VCPU_PENDING_INTR : 0) |
                    (r->how & WITH_NMI ? VCPU_PENDING_NMI : 0),
                0);
}

/* --- What must hold --- */

static void check_derived(struct vcpu *cpu)
{
    uint32_t mode = cpu->mode, attention = cpu->attention;
    uint64_t ip_mask = cpu->ip_mask;
    struct tlb_entry *table = cpu->mmu.table;
    bool ac = cpu->mmu.ac;

    mode_update(cpu);
    MUST(cpu->mode == mode && cpu->attention == attention && cpu->ip_mask == ip_mask);
    MUST(cpu->mmu.table == table && cpu->mmu.ac == ac);
}

static void check_invariants(struct vcpu *cpu)
{
    const struct mmu_context *m = &cpu->mmu;
    const uint32_t reserved = ~0x003f7fd7u;

    check_derived(cpu);
    MUST(cpu->gpr[GPR_ZERO] == 0 && cpu->seg[SEG_NONE].base == 0);
    MUST((cpu->rip & ~cpu->ip_mask) == 0);
    MUST((cpu->mode & MODE_64) == 0 || sign_extend(cpu->rip, 47) == cpu->rip);
    MUST((cpu->eflags & (reserved | EFLAGS_STATUS)) == 0 && (cpu->eflags & EFLAGS_ONE));
    MUST(cpu->x87.top < 8 && (cpu->x87.status & SW_TOP) == 0 && (cpu->mxcsr >> 16) == 0);
    MUST((m->cr0 & CR0_PE) || !(m->cr0 & CR0_PG));
    MUST(!!(m->efer & EFER_LMA) == ((m->efer & EFER_LME) && (m->cr0 & CR0_PG)));
    MUST(!(m->efer & EFER_LMA) || (m->cr4 & CR4_PAE));
    if (!(m->cr0 & CR0_PE))
        MUST(m->cpl == 0);
    else if (cpu->eflags & EFLAGS_VM)
        MUST(m->cpl == 3 && !(m->efer & EFER_LMA));
    else
        MUST(m->cpl == ((cpu->seg[SEG_SS].attributes >> SEGMENT_DPL_SHIFT) & 3));
    MUST(!cpu->host_fpu_loaded && cpu->block == NULL && !m->exact_point && !cpu->delivering);
}

static enum vcpu_exit run(struct guest *g, uint64_t budget)
{
    uint64_t before = g->cpu->instructions;
    enum vcpu_exit exit = vcpu_run(g->cpu, budget);

    g->clock.instructions = g->cpu->instructions;
    MUST(g->cpu->instructions - before <= budget + SLACK);
    MUST(exit != VCPU_EXIT_BUDGET || g->cpu->instructions - before >= budget);
    MUST(exit != VCPU_EXIT_REQUEST);
    check_invariants(g->cpu);
    return exit;
}

static void save_and_load(struct guest *g)
{
    struct state *saved = save(g), *again;

    load(g, saved);
    check_invariants(g->cpu);
    again = save(g);
    MUST(same_state(saved, again));
    state_destroy(again);
    state_destroy(saved);
}

/* Long slices. Returns how the last one ended. */
static enum vcpu_exit run_whole(struct guest *g, const struct recipe *r, uint64_t end)
{
    uint64_t slice = r->slice == 0 ? end : r->slice;
    enum vcpu_exit exit = VCPU_EXIT_BUDGET;

    while (exit == VCPU_EXIT_BUDGET && g->cpu->instructions < end)
        exit = run(g, MIN(slice, end - g->cpu->instructions));
    return exit;
}

/* One instruction at a time. A load drops stale translations, so there is none where the guest may
 * have made some. */
static enum vcpu_exit run_stepwise(struct guest *g, const struct recipe *r, uint64_t end)
{
    uint64_t cr3 = g->cpu->mmu.cr3, cr0 = g->cpu->mmu.cr0;
    bool tables_kept = !(r->how & TABLES_MAPPED), loaded = false;
    enum vcpu_exit exit = VCPU_EXIT_BUDGET;

    while (exit == VCPU_EXIT_BUDGET && g->cpu->instructions < end) {
        if (((cr0 ^ g->cpu->mmu.cr0) & CR0_PG) || cr3 != g->cpu->mmu.cr3)
            tables_kept = false;
        if (!loaded && tables_kept && g->cpu->instructions >= r->save_at) {
            save_and_load(g);
            loaded = true;
        }
        exit = run(g, 1);
    }
    return exit;
}

static void compare(struct guest *a, struct guest *b)
{
    struct state *state_a = save(a), *state_b = save(b);
    const uint8_t *memory_a = machine_memory_host(a->memory, mpa(0));
    const uint8_t *memory_b = machine_memory_host(b->memory, mpa(0));
    bool same = same_state(state_a, state_b) && a->probe.seen == b->probe.seen &&
                a->interrupts == b->interrupts;
    unsigned at = 0;

    if (memcmp(memory_a, memory_b, ROM + PAGE_SIZE) != 0) {
        while (memory_a[at] == memory_b[at])
            at++;
        fprintf(stderr, "memory differs at %#x: %02x, %02x\n", at, memory_a[at], memory_b[at]);
        same = false;
    }
    if (!same) {
        fprintf(stderr, "in blocks:\n");
        vcpu_dump(a->cpu, stderr);
        fprintf(stderr, "one by one:\n");
        vcpu_dump(b->cpu, stderr);
        fprintf(stderr, "device %#llx, %#llx\n", (unsigned long long)a->probe.seen,
                (unsigned long long)b->probe.seen);
        MUST(false);
    }
    state_destroy(state_a);
    state_destroy(state_b);
}

/* --- The decoder alone --- */

/* Decodes from a buffer of exactly `available` bytes. */
static enum decode_result decode(struct vcpu *cpu, const uint8_t *bytes, unsigned available,
                                 unsigned offset, struct insn *out, uint32_t *attrs)
{
    uint8_t *copy = malloc(available);
    enum decode_result result;

    MUST(copy != NULL);
    memcpy(copy, bytes, available);
    result = decode_insn(cpu, cpu->mode, copy, available, offset, out, attrs);
    free(copy);
    return result;
}

static void check_decoder(struct vcpu *cpu, const uint8_t *code, unsigned length)
{
    for (unsigned at = 0; at < MIN(length, 64u); at++) {
        struct insn i, other;
        uint32_t attrs, other_attrs;
        unsigned available = length - at, offset = 0xff0 & (at * 0x130), size;
        enum decode_result result = decode(cpu, code + at, available, offset, &i, &attrs);

        MUST(result != DECODE_TOO_LONG || available >= INSN_MAX_LENGTH);
        MUST(result != DECODE_MORE || available < INSN_MAX_LENGTH);
        if (result != DECODE_OK)
            continue;
        size = (uint16_t)(i.ip_next - offset);
        MUST(size >= 1 && size <= INSN_MAX_LENGTH && size <= available && i.op != NULL);
        result = decode(cpu, code + at, size, offset, &other, &other_attrs);
        MUST(result == DECODE_OK && attrs == other_attrs && memcmp(&i, &other, sizeof(i)) == 0);
        if (size > 1)
            MUST(decode(cpu, code + at, size - 1, offset, &other, &other_attrs) == DECODE_MORE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guest *whole, *steps;
    struct recipe r = {0};
    const uint8_t *code = data + MIN(size, sizeof(r));
    size_t length = size - MIN(size, sizeof(r));
    uint64_t end;

    if (whole == NULL) {
        whole = guest_create();
        steps = guest_create();
    }
    if (size > 0)
        memcpy(&r, data, MIN(size, sizeof(r)));
    r.kind %= KIND_COUNT;
    end = 8u + r.budget;
    guest_begin(whole, &r, code, length);
    guest_begin(steps, &r, code, length);
    check_decoder(steps->cpu, code, (unsigned)length);
    MUST(run_whole(whole, &r, end) == run_stepwise(steps, &r, end));
    compare(whole, steps);
    return 0;
}
