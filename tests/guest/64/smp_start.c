/*
 * Processors start: INIT, SIPI, what they find then, and what does not start them (SDM 3A 8.4, 9.1,
 * table 9-1, 10.4.7.3, 10.6.1).
 */
#include "smp.h"

#define ICR_INIT    0x500
#define ICR_STARTUP 0x600
#define ICR_ASSERT  0x4000
#define ICR_LEVEL   0x8000

#define OTHER_VECTOR 0x0b

/* ---- Who is there ---- */

struct identity {
    uint32_t initial, extended, apic, count;
    uint64_t base;
};

static struct identity identities[CPU_MAX];

static void identify(void *unused)
{
    struct identity *i = &identities[this_cpu()->index];

    (void)unused;
    i->initial = cpuid(1, 0).b >> 24;
    i->count = cpuid(1, 0).b >> 16 & 0xff;
    i->extended = apic_initial_id();
    i->apic = apic_own_id();
    i->base = rdmsr(MSR_APIC_BASE);
}

static void identity(void)
{
    if (!smp_begin())
        return;
    smp_all(cpu_count, identify, NULL);
    for (unsigned n = 0; n < cpu_count; n++) {
        context("processor %u", n);
        EXPECT_EQ(identities[n].initial, cpus[n].apic_id & 0xff);
        EXPECT_EQ(identities[n].extended, cpus[n].apic_id);
        EXPECT_EQ(identities[n].apic, cpus[n].apic_id);
        EXPECT_EQ(identities[n].base & APIC_BASE_BSP, n == 0 ? APIC_BASE_BSP : 0);
        EXPECT(identities[n].base & APIC_BASE_ENABLE);
        EXPECT_EQ(identities[n].base >> 12, 0xfee00);
        for (unsigned m = 0; m < n; m++)
            EXPECT(identities[m].extended != identities[n].extended);
    }
}

/* Everybody that there is answers INIT and SIPI to all but self, and the tables name them all. */
static void all_at_once(void)
{
    unsigned before;

    if (!smp_begin())
        return;
    before = startup_count;
    for (unsigned n = 1; n < cpu_count; n++)
        cpus[n].state = CPU_OFF;
    EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT));
    smp_settle();
    EXPECT_EQ(startup_count, before);
    EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | ICR_STARTUP | SMP_VECTOR));
    smp_settle();
    EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | ICR_STARTUP | SMP_VECTOR));
    for (unsigned n = 1; n < cpu_count; n++)
        smp_await(n);
    smp_settle();
    EXPECT_EQ(startup_count - before, cpu_count - 1);
}

/* ---- What they find ---- */

static void expect_startup(const struct cpu *cpu, unsigned vector)
{
    const struct startup *s = &cpu->startup;

    EXPECT_EQ(s->cs, vector << 8); /* and IP 0: else it would not be here */
    EXPECT_EQ(s->ds, 0);
    EXPECT_EQ(s->es, 0);
    EXPECT_EQ(s->fs, 0);
    EXPECT_EQ(s->gs, 0);
    EXPECT_EQ(s->ss, 0);
    EXPECT_EQ(s->eax, 0);
    EXPECT_EQ(s->ebx, 0);
    EXPECT_EQ(s->ecx, 0);
    EXPECT_EQ(s->edx, cpuid(1, 0).a);
    EXPECT_EQ(s->esi, 0);
    EXPECT_EQ(s->edi, 0);
    EXPECT_EQ(s->ebp, 0);
    EXPECT_EQ(s->esp, 0);
    /* CF is the trampoline's; BTS leaves OF, SF, AF and PF open. */
    EXPECT_EQ(s->flags & ~(uint32_t)(FL_CF | FL_OF | FL_SF | FL_AF | FL_PF), 2);
    EXPECT_EQ(s->cr0 & ~(uint32_t)(CR0_CD | CR0_NW), 0x10); /* INIT leaves CD and NW */
    EXPECT_EQ(s->cr2, 0);
    EXPECT_EQ(s->cr3, 0);
    EXPECT_EQ(s->cr4, 0);
    EXPECT_EQ(s->dr6, 0xffff0ff0);
    EXPECT_EQ(s->dr7, 0x400);
    for (unsigned n = 0; n < 6; n++) {
        EXPECT_EQ(s->gdtr[n], n < 2 ? 0xff : 0);
        EXPECT_EQ(s->idtr[n], n < 2 ? 0xff : 0);
    }
}

/* Leaves something in every register that INIT has to clear. */
static void dirty(void *ready)
{
    uint64_t flags = read_flags() | FL_ID | FL_AC | FL_NT;

    asm volatile("mov %0, %%cr2" : : "r"(0x12345678ull));
    asm volatile("mov %0, %%dr0\n mov %1, %%dr7\n mov %2, %%dr6"
                 :
                 : "r"(0x1000ull), "r"(0x403ull), "r"(0xffff0fffull));
    write_cr4(read_cr4() | CR4_PGE | CR4_DE | CR4_OSFXSR);
    apic_set(APIC_TPR, 0x50);
    apic_set(APIC_LVT_TIMER, 0x41);
    apic_set(APIC_LVT_ERROR, 0x42);
    apic_set(APIC_ICR, ICR_SELF | 0x43); /* pending for ever: IF is clear */
    asm volatile("push %1\n popf\n movb $1, (%2)\n mov %0, %%rcx\n mov %0, %%rbx\n"
                 "mov %0, %%rsi\n mov %0, %%rdi\n mov %0, %%rbp\n 1: pause\n jmp 1b"
                 :
                 : "a"(~0ull), "c"(flags), "d"(ready)
                 : "memory");
    __builtin_unreachable();
}

static void registers(void)
{
    static volatile bool ready;

    if (!smp_begin())
        return;
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        const struct startup_apic *a = &cpus[n].startup_apic;

        context("processor %u", n);
        expect_startup(&cpus[n], SMP_VECTOR);
        ready = false;
        smp_start(n, dirty, (void *)&ready);
        EXPECT(WAIT_FOR(ready));
        smp_init(n);
        smp_settle();
        smp_sipi(n, SMP_VECTOR);
        if (!smp_await(n))
            continue;
        context("processor %u, again", n);
        expect_startup(&cpus[n], SMP_VECTOR);
        context("local APIC %u", n);
        EXPECT_EQ(a->base, 0xfee00000 | APIC_BASE_ENABLE);
        EXPECT_EQ(a->id, cpus[n].apic_id);
        EXPECT_EQ(a->tpr, 0);
        EXPECT_EQ(a->ldr, 0);
        EXPECT_EQ(a->dfr, 0xffffffff);
        EXPECT_EQ(a->svr & 0x1ff, 0xff);
        EXPECT_EQ(a->lvt_timer, LVT_MASKED);
        EXPECT_EQ(a->lvt_error, LVT_MASKED);
        EXPECT_EQ(a->icr, 0);
        EXPECT_EQ(a->initial_count, 0);
        EXPECT_EQ(a->irr, 0);
        EXPECT_EQ(a->isr, 0);
    }
}

/* ---- What starts them, and what does not ---- */

static volatile uint64_t counter;

static void count_for_ever(void *unused)
{
    (void)unused;
    for (;;) {
        counter++;
        smp_pause();
    }
}

static void count_until_stop(void *unused)
{
    (void)unused;
    while (!smp_stop) {
        counter++;
        smp_pause();
    }
}

/* Does the counter move? */
static bool counting(void)
{
    uint64_t before = counter;

    return WAIT_FOR(counter > before + 10);
}

/* It does not, for a while. */
static bool frozen(void)
{
    uint64_t before;

    smp_settle(); /* what was on its way */
    before = counter;
    for (unsigned n = 0; n < 5; n++)
        smp_settle();
    return counter == before;
}

static void ignored(void)
{
    if (!smp_begin())
        return;
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        unsigned starts = startup_count;

        smp_stop = false;
        smp_start(n, count_until_stop, NULL);
        EXPECT(counting());
        context("a SIPI to processor %u, which runs", n);
        smp_sipi(n, SMP_VECTOR);
        smp_settle();
        EXPECT(counting());
        context("INIT level de-assert to processor %u", n);
        EXPECT(ipi_send(cpus[n].apic_id, ICR_INIT | ICR_LEVEL));
        smp_settle();
        EXPECT(counting());
        smp_stop = true;
        smp_wait(n);
        EXPECT_EQ(startup_count, starts);
        context("processor %u is as it was", n);
        smp_stop = true;
        smp_call(n, count_until_stop, NULL);
    }
    context("a SIPI to oneself");
    EXPECT(ipi_send(cpus[0].apic_id, ICR_STARTUP | ICR_ASSERT | SMP_VECTOR));
    smp_settle();
}

static void init_and_elsewhere(void)
{
    if (!smp_begin())
        return;
    smp_place_trampoline(OTHER_VECTOR);
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        unsigned starts = startup_count, own = cpus[n].starts;

        context("processor %u", n);
        smp_start(n, count_for_ever, NULL);
        EXPECT(counting());
        smp_init(n);
        EXPECT(frozen());
        context("processor %u, an interrupt and an NMI while it waits for SIPI", n);
        EXPECT(ipi_to(n, 0x44));
        EXPECT(frozen());
        EXPECT_EQ(startup_count, starts);
        EXPECT_EQ(cpus[n].taken[0x44], 0);
        context("processor %u at another vector", n);
        smp_sipi(n, OTHER_VECTOR);
        if (!smp_await(n))
            continue;
        expect_startup(&cpus[n], OTHER_VECTOR);
        EXPECT_EQ(startup_count, starts + 1);
        EXPECT_EQ(cpus[n].starts, own + 1);
        context("processor %u, several INITs and SIPIs", n);
        smp_init(n);
        smp_init(n);
        smp_settle();
        smp_sipi(n, OTHER_VECTOR);
        smp_sipi(n, OTHER_VECTOR);
        smp_await(n);
        smp_settle();
        EXPECT_EQ(cpus[n].startup.cs, OTHER_VECTOR << 8);
        EXPECT_EQ(startup_count, starts + 2);
    }
}

static void halt_for_ever(void *ready)
{
    *(volatile bool *)ready = true;
    for (;;)
        asm volatile("cli\n hlt");
}

static void halted(void)
{
    static volatile bool ready;

    if (!smp_begin())
        return;
    for (unsigned n = 1; n < cpu_count; n = smp_next(n)) {
        unsigned own = cpus[n].starts;

        context("processor %u", n);
        ready = false;
        smp_start(n, halt_for_ever, (void *)&ready);
        EXPECT(WAIT_FOR(ready));
        smp_settle();
        context("a SIPI to processor %u, which is in HLT", n);
        smp_sipi(n, SMP_VECTOR);
        smp_settle();
        EXPECT_EQ(cpus[n].starts, own);
        context("INIT and SIPI to processor %u, which is in HLT", n);
        smp_init(n);
        smp_settle();
        smp_sipi(n, SMP_VECTOR);
        smp_await(n);
        EXPECT_EQ(cpus[n].starts, own + 1);
    }
}

/* A processor other than the first one starts another. */
static void start_last(void *unused)
{
    uint32_t id = cpus[cpu_count - 1].apic_id;

    (void)unused;
    ipi_send(id, ICR_INIT | ICR_ASSERT);
    smp_settle();
    ipi_send(id, ICR_STARTUP | ICR_ASSERT | SMP_VECTOR);
}

static void by_another(void)
{
    unsigned last = cpu_count - 1, own;

    if (!smp_begin())
        return;
    if (cpu_count < 3) {
        skip("two processors");
        return;
    }
    own = cpus[last].starts;
    cpus[last].state = CPU_OFF;
    smp_call(1, start_last, NULL);
    smp_await(last);
    EXPECT_EQ(cpus[last].starts, own + 1);
}

const struct test_case cases[] = {
    {"identity", identity},
    {"all at once", all_at_once},
    {"registers after SIPI", registers},
    {"SIPI and de-assert to one that runs", ignored},
    {"INIT and SIPI to another vector", init_and_elsewhere},
    {"HLT", halted},
    {"started by another", by_another},
};
PROGRAM("smp_start");
