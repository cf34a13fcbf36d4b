/* Finds and starts processors, and lets them run functions. */
#include "smp.h"

#define STACK_SIZE       4096
#define FAULT_STACK_SIZE 2048
#define ICR_INIT         0x500
#define ICR_STARTUP      0x600
#define ICR_ASSERT       0x4000
#define ICR_LEVEL        0x8000
#define ICR_PENDING      0x1000
#define SETTLE_PAUSES    (cpu_count > 64 ? 10u : cpu_count > 8 ? 100u : 500u)
#define MADT_LAPIC       0
#define MADT_X2APIC      9
#define MADT_ENABLED     1
#define MADT_STRUCTURES  44

_Static_assert(offsetof(struct cpu, stack_top) == CPU_STACK_TOP, "smp.S");
_Static_assert(offsetof(struct cpu, resume) == CPU_RESUME, "smp.S, PROBE");
_Static_assert(sizeof(struct startup) == 96, "smp.S");

/* smp.S */
extern const uint8_t smp_trampoline[], smp_trampoline_end[], smp_gate[], smp_note[];
extern char smp_stubs[];

#define OF_PROCESSORS __attribute__((section(".bss.processors"), aligned(16))) /* link.ld */

struct cpu cpus[CPU_MAX] OF_PROCESSORS;
unsigned cpu_count;
volatile unsigned startup_count;
volatile bool smp_stop;
volatile uint64_t smp_gate_address;
static uint8_t stacks[CPU_MAX][STACK_SIZE] OF_PROCESSORS;
static uint8_t fault_stacks[CPU_MAX][FAULT_STACK_SIZE] OF_PROCESSORS;
static struct gate64 ap_idt[256] __attribute__((aligned(8)));

/* ---- Local APIC ---- */

bool x2apic_on(void)
{
    return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC;
}

uint32_t apic_get(unsigned reg)
{
    return x2apic_on() ? (uint32_t)rdmsr(X2APIC(reg)) : APIC(reg);
}

void apic_set(unsigned reg, uint32_t value)
{
    if (x2apic_on())
        wrmsr(X2APIC(reg), value);
    else
        APIC(reg) = value;
}

uint32_t apic_initial_id(void)
{
    return cpuid(0, 0).a >= 0xb && cpuid(0xb, 0).b != 0 ? cpuid(0xb, 0).d : cpuid(1, 0).b >> 24;
}

uint32_t apic_own_id(void)
{
    return x2apic_on() ? apic_get(APIC_ID) : APIC(APIC_ID) >> 24;
}

bool ipi_send(uint32_t destination, uint32_t low)
{
    if (x2apic_on()) {
        asm volatile("mfence\n lfence" ::: "memory"); /* WRMSR of the ICR orders nothing */
        wrmsr(X2APIC(APIC_ICR), (uint64_t)destination << 32 | low);
        return true;
    }
    APIC(APIC_ICR_HIGH) = destination << 24;
    APIC(APIC_ICR) = low;
    return WAIT_FOR(!(APIC(APIC_ICR) & ICR_PENDING));
}

bool ipi_to(unsigned cpu, unsigned vector)
{
    return ipi_send(cpus[cpu].apic_id, ICR_ASSERT | vector);
}

static void apic_enable(unsigned index)
{
    apic_set(APIC_SVR, 0x1ff);
    apic_set(APIC_TPR, 0);
    if (x2apic_on())
        return;
    APIC(APIC_DFR) = 0xffffffff;
    APIC(APIC_LDR) = index < 8 ? 1u << (24 + index) : 0;
}

/* ---- Events ---- */

static void note_interrupt(struct cpu *cpu, unsigned vector)
{
    cpu->taken[vector]++;
    if (cpu->order_count < sizeof(cpu->order))
        cpu->order[cpu->order_count] = (uint8_t)vector;
    cpu->order_count++;
}

static void note_trap(volatile struct trap *t, const struct frame *f)
{
    t->vector = f->vector;
    t->error = f->error;
    t->ip = f->ip;
    t->cs = f->cs;
    t->flags = f->flags;
    t->sp = f->sp;
    t->ss = f->ss;
    t->cr2 = read_cr2();
}

bool smp_event(struct frame *f)
{
    struct cpu *cpu = this_cpu();

    if (cpu->hook != NULL && cpu->hook(f))
        return true;
    if (f->vector == NMI) {
        note_interrupt(cpu, NMI);
        return true;
    }
    if (f->vector >= 0x20 && f->vector != VECTOR_RETURN) {
        note_interrupt(cpu, (unsigned)f->vector);
        if (!cpu->keep_service)
            apic_set(APIC_EOI, 0);
        return true;
    }
    if (cpu->resume == 0)
        return false;
    note_trap(&cpu->fault, f);
    f->ip = cpu->resume;
    return true;
}

/* Called by every stub. */
void smp_handle(struct frame *f)
{
    struct cpu *cpu = this_cpu();

    if (smp_event(f))
        return;
    note_trap(&cpu->event, f);
    cpu->state = CPU_DEAD;
    for (;;)
        asm volatile("cli\n hlt");
}

/* ---- ACPI: the list of processors ---- */

static bool same(const uint8_t *text, const char *with)
{
    for (; *with != '\0'; with++, text++)
        if (*text != (uint8_t)*with)
            return false;
    return true;
}

/* A number in memory that has no alignment. */
static uint32_t word_at(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static const uint8_t *acpi_table(const char *signature)
{
    const uint8_t *p = (const uint8_t *)0xe0000ul;

    while ((unsigned long)p < 0x100000 && !same(p, "RSD PTR "))
        p += 16;
    if ((unsigned long)p >= 0x100000)
        return NULL;
    p = (const uint8_t *)(unsigned long)word_at(p + 16);
    for (unsigned at = 36; at < word_at(p + 4); at += 4) {
        const uint8_t *table = (const uint8_t *)(unsigned long)word_at(p + at);

        if (same(table, signature))
            return table;
    }
    return NULL;
}

static void find_processors(void)
{
    const uint8_t *madt = acpi_table("APIC");
    uint32_t own = apic_initial_id();

    cpus[0].apic_id = own;
    cpu_count = 1;
    if (madt == NULL)
        return;
    for (unsigned at = MADT_STRUCTURES; at < word_at(madt + 4); at += madt[at + 1]) {
        const uint8_t *p = madt + at;
        bool wide = p[0] == MADT_X2APIC;
        uint32_t id = wide ? word_at(p + 4) : p[3];

        if ((p[0] != MADT_LAPIC && !wide) || !(p[wide ? 8 : 4] & MADT_ENABLED) || id == own ||
            cpu_count == CPU_MAX)
            continue;
        cpus[cpu_count++].apic_id = id;
    }
}

/* ---- Starting ---- */

void smp_place_trampoline(unsigned vector)
{
    uint8_t *page = (uint8_t *)((unsigned long)vector << 12);

    for (unsigned n = 0; n < (unsigned)(smp_trampoline_end - smp_trampoline); n++)
        page[n] = smp_trampoline[n];
}

/* Called by the trampoline with its address, one processor at a time, on a stack that all share. */
struct cpu *smp_identify(const uint8_t *trampoline)
{
    uint32_t id = apic_initial_id();
    const uint8_t *note = trampoline + (unsigned long)smp_note;

    smp_gate_address = (uint64_t)trampoline + (unsigned long)smp_gate;
    startup_count++;
    for (unsigned n = 1; n < cpu_count; n++) {
        if (cpus[n].apic_id != id)
            continue;
        for (unsigned at = 0; at < sizeof(struct startup); at++)
            ((uint8_t *)&cpus[n].startup)[at] = note[at];
        return &cpus[n];
    }
    return NULL;
}

static void note_apic(struct startup_apic *a)
{
    a->base = rdmsr(MSR_APIC_BASE);
    a->id = apic_own_id();
    a->version = apic_get(APIC_VERSION);
    a->tpr = apic_get(APIC_TPR);
    a->ldr = apic_get(APIC_LDR);
    a->dfr = x2apic_on() ? 0xffffffff : APIC(APIC_DFR);
    a->svr = apic_get(APIC_SVR);
    a->lvt_timer = apic_get(APIC_LVT_TIMER);
    a->lvt_error = apic_get(APIC_LVT_ERROR);
    a->icr = apic_get(APIC_ICR);
    a->initial_count = apic_get(APIC_COUNT);
    a->irr = a->isr = 0;
    for (unsigned n = 0; n < 8; n++) {
        a->irr |= apic_get(APIC_IRR + 16 * n);
        a->isr |= apic_get(APIC_ISR + 16 * n);
    }
}

static void load_tables(struct cpu *cpu)
{
    struct table_pointer tables = {sizeof(cpu->gdt) - 1, (unsigned long)cpu->gdt};
    struct table_pointer gates = {sizeof(ap_idt) - 1, (unsigned long)ap_idt};
    uint64_t tss_at = (uint64_t)cpu->tss,
             ist = (uint64_t)fault_stacks[cpu->index] + FAULT_STACK_SIZE;

    cpu->gdt[SEL_CODE / 8] = FLAT_CODE64(0);
    cpu->gdt[SEL_DATA / 8] = FLAT_DATA(0);
    cpu->gdt[SEL_TSS / 8] = descriptor((uint32_t)tss_at, sizeof(cpu->tss) - 1, ACC_P | ACC_TSS, 0);
    cpu->gdt[SEL_TSS / 8 + 1] = tss_at >> 32;
    for (unsigned n = 0; n < 8; n++)
        cpu->tss[36 + n] = (uint8_t)(ist >> (8 * n)); /* IST1 */
    cpu->tss[102] = sizeof(cpu->tss);                 /* no I/O bitmap */
    asm volatile("lgdt %0" : : "m"(tables));
    asm volatile("lidt %0" : : "m"(gates));
    asm volatile("lldt %w0\n ltr %w1" : : "r"(0), "r"(SEL_TSS));
    wrmsr(MSR_GS_BASE, (uint64_t)cpu);
}

/* A processor on its own stack; the lock of the trampoline is open. */
_Noreturn void smp_main(struct cpu *cpu)
{
    note_apic(&cpu->startup_apic);
    load_tables(cpu);
    apic_enable(cpu->index);
    cpu->function = NULL;
    cpu->starts++;
    cpu->state = CPU_IDLE;
    for (;;) {
        while (cpu->function == NULL)
            smp_pause();
        cpu->function(cpu->argument);
        asm volatile("cli");
        cpu->function = NULL;
        cpu->state = CPU_IDLE;
    }
}

void smp_init(unsigned cpu)
{
    EXPECT(ipi_send(cpus[cpu].apic_id, ICR_INIT | ICR_ASSERT));
    cpus[cpu].state = CPU_OFF;
}

void smp_sipi(unsigned cpu, unsigned vector)
{
    EXPECT(ipi_send(cpus[cpu].apic_id, ICR_STARTUP | ICR_ASSERT | vector));
}

bool smp_await(unsigned cpu)
{
    if (WAIT_FOR(cpus[cpu].state == CPU_IDLE))
        return true;
    context("processor %u", cpu);
    EXPECT_EQ(cpus[cpu].state, CPU_IDLE);
    if (cpus[cpu].state == CPU_DEAD)
        print("processor %u: vector %lx error %lx at %lx, cr2 %lx\n", cpu, cpus[cpu].event.vector,
              cpus[cpu].event.error, cpus[cpu].event.ip, cpus[cpu].event.cr2);
    return false;
}

static void prepare(void)
{
    for (unsigned vector = 0; vector < 256; vector++) {
        uint64_t address = (uint64_t)(smp_stubs + 16 * vector);

        ap_idt[vector].low = gate(SEL_CODE, (uint32_t)address, ACC_P | ACC_INT, vector == DF);
        ap_idt[vector].high = address >> 32;
    }
    if (cpu_count == 0) {
        find_processors();
        smp_place_trampoline(SMP_VECTOR);
    }
    for (unsigned n = 0; n < cpu_count; n++) {
        cpus[n].self = &cpus[n];
        cpus[n].index = n;
        cpus[n].stack_top = (uint64_t)stacks[n] + STACK_SIZE;
    }
    cpus[0].state = CPU_RUNS;
    cpus[0].resume = 0;
    wrmsr(MSR_GS_BASE, (uint64_t)&cpus[0]);
    apic_enable(0);
    trap_hook = smp_event;
    EXPECT(cpu_count >= 2); /* this program wants several */
}

bool smp_begin(void)
{
    bool all = true;

    prepare();
    for (unsigned n = 1; n < cpu_count; n++) {
        if (cpus[n].state != CPU_IDLE) {
            smp_init(n);
            smp_place_trampoline(SMP_VECTOR); /* its lock, too */
            smp_settle();
            smp_sipi(n, SMP_VECTOR);
            smp_sipi(n, SMP_VECTOR);
            all = smp_await(n) && all;
        }
    }
    smp_stop = false;
    for (unsigned n = 0; n < cpu_count; n++) {
        cpus[n].hook = NULL;
        cpus[n].keep_service = false;
        cpus[n].order_count = 0;
        for (unsigned vector = 0; vector < 256; vector++)
            cpus[n].taken[vector] = 0;
    }
    return all;
}

/* ---- Running ---- */

void smp_start(unsigned cpu, void (*function)(void *), void *argument)
{
    cpus[cpu].argument = argument;
    cpus[cpu].state = CPU_RUNS;
    cpus[cpu].function = function;
}

bool smp_wait(unsigned cpu)
{
    return smp_await(cpu);
}

bool smp_call(unsigned cpu, void (*function)(void *), void *argument)
{
    smp_start(cpu, function, argument);
    return smp_wait(cpu);
}

bool smp_all(unsigned count, void (*function)(void *), void *argument)
{
    bool all = true;

    for (unsigned n = 1; n < count; n++)
        smp_start(n, function, argument);
    function(argument);
    for (unsigned n = 1; n < count; n++)
        all = smp_wait(n) && all;
    return all;
}

void barrier_wait(struct barrier *b, unsigned count)
{
    unsigned phase = b->phase;

    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_SEQ_CST) == count) {
        b->arrived = 0;
        __atomic_store_n(&b->phase, phase + 1, __ATOMIC_SEQ_CST);
        return;
    }
    (void)WAIT_FOR(b->phase != phase);
}

void smp_settle(void)
{
    for (unsigned n = 0; n < SETTLE_PAUSES; n++)
        smp_pause();
}
